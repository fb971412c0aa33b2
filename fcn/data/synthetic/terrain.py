"""Terrain of procedural scenes: sky, mountains, hills, woods, ground, water and roads."""

import math

import numpy as np

from fcn.data.synthetic import palette
from fcn.data.synthetic.canvas import Array, Brush, Canvas, Colour, clip01, mix, rgb, smoothstep


def sky(canvas: Canvas, cloudiness: float) -> None:
    """A gradient, a glowing sun, and clouds that shrink towards the horizon."""
    light, horizon, height = canvas.light, canvas.camera.horizon, canvas.height
    brush = canvas.brush(palette.SKY, canvas.depth, (0, 0, canvas.width, height))
    up = clip01((horizon - brush.y) / max(horizon, 1))
    colour = mix(light.horizon, light.zenith, up**0.65)

    sun_x, sun_y = light.sun_at[0] * canvas.width, light.sun_at[1] * height
    away = np.hypot(brush.x - sun_x, brush.y - sun_y) / height
    colour = mix(colour, light.sun, 0.75 * np.exp(-away * 5))
    colour = mix(colour, np.minimum(rgb(light.sun) + 0.12, 1), smoothstep(away, 0.050, 0.036))

    shift, far = canvas.rng.uniform(0, 60), 1 / (0.12 + up[:, 0])
    puffs = canvas.noise.plane(far * 3.2, canvas.columns / height * 3.0, 5, shift)
    thick = smoothstep(puffs, 0.66 - 0.3 * cloudiness, 0.86 - 0.3 * cloudiness)
    thick = thick * smoothstep(up, 0.03, 0.3)
    shade = puffs[np.maximum(np.arange(height) - max(1, height // 40), 0)] - puffs
    tone = rgb(light.cloud) * (1 - np.clip(0.10 + 1.6 * shade, 0, 0.3))
    brush.paint(1.0, mix(colour, tone, 0.9 * thick), glow=True)


def ridge(canvas: Canvas, peak: float, depth: float, rock: Array, snow: float) -> None:
    """Mountains, ``peak`` image heights above the horizon, their upper share ``snow`` white."""
    camera, noise, rng, height = canvas.camera, canvas.noise, canvas.rng, canvas.height
    shift, cells, x = rng.uniform(0, 60), rng.uniform(1.2, 2.2), canvas.columns / height
    broad = noise.line(x * cells, 2, shift)
    sharp = 1 - np.abs(2 * noise.line(x * cells * 1.7, 5, shift + 21, decay=0.55) - 1)
    top = camera.horizon - height * peak * (0.12 + 0.70 * broad + 0.75 * sharp**1.5)
    box = 0, top.min(), canvas.width, camera.horizon + 1
    brush = canvas.brush(palette.MOUNTAIN, depth, box)
    down = (brush.y - top) / height
    # Two sheared copies of one noise look like slopes that face left and right.
    at, v = x * 9 + shift, down * 7
    left, right = noise.field(v, at + down * 11), noise.field(v + 31, at - down * 11)
    relief = math.copysign(0.3 + 1.1 * abs(canvas.light.side), canvas.light.side)
    slope = 1 + relief * (right - left) + 0.5 * (right + left - 1)
    colour = rock * np.clip(slope, 0.45, 1.6)
    if snow:
        above = (camera.horizon - brush.y) / (height * peak * 1.1)
        white = smoothstep(above + 0.5 * (right - 0.5), 1 - snow, 1.12 - snow)
        colour = mix(colour, np.clip(slope, 0.70, 1.1) * rgb((0.93, 0.95, 0.98)), white)
    brush.paint(clip01(down * height + 0.5), colour)


def hill(canvas: Canvas, peak: float, depth: float, grass: Array) -> None:
    """A long rise of the ground, up to ``peak`` image heights above the horizon."""
    horizon, x = canvas.camera.horizon, canvas.columns / canvas.height
    rise = canvas.noise.line(x * 1.3, 2, canvas.rng.uniform(0, 60))
    top = horizon - canvas.height * peak * rise
    brush = canvas.brush(palette.GROUND, depth, (0, top.min(), canvas.width, horizon + 1))
    down = brush.y - top
    patches = canvas.noise.field(down / canvas.height * 22, x * 6)
    brush.paint(clip01(down + 0.5), grass * (0.82 + 0.36 * patches))


def treeline(canvas: Canvas, height: float, depth: float, leaf: Array) -> None:
    """The bumpy edge of a wood, up to ``height`` metres high, with gaps."""
    noise, shift, x = canvas.noise, canvas.rng.uniform(0, 60), canvas.columns / canvas.height
    scale, _, base = canvas.camera.foot(0, depth)
    bumps = 0.55 * noise.line(x * 3, 2, shift) + 0.45 * noise.line(x * 22, 2, shift + 9)
    gaps = smoothstep(noise.line(x * 1.1, 1, shift + 30), 0.18, 0.36)
    top = base - height * scale * (0.25 + 0.9 * bumps) * gaps
    brush = canvas.brush(palette.TREE, depth, (0, top.min(), canvas.width, base))
    tufts = noise.field((brush.y - top) / canvas.height * 40, x * 40)
    cover = brush.rectangle((0, top, canvas.width, base)) * (gaps > 0.02)
    brush.paint(cover, leaf * (0.55 + 0.8 * tufts))


def below_horizon(canvas: Canvas, label: int | None = None) -> tuple[Brush, Array, Array]:
    """A brush for the ground and its world coordinates z (h x 1) and x (h x w)."""
    camera = canvas.camera
    first = int((canvas.rows < camera.horizon + 0.6).sum())
    brush = canvas.brush(label, 0.0, (0, first + 1, canvas.width, canvas.height))
    z = camera.focal * camera.height / (brush.y - camera.horizon)
    return brush._replace(depth=z), z, (brush.x - camera.centre) * z / camera.focal


def ground(canvas: Canvas, grass: Array, furrows: bool = False, flowers: int = 0) -> None:
    """A meadow with flowers, or a ploughed field with furrows that meet at the horizon."""
    rng, noise, height, width = canvas.rng, canvas.noise, canvas.height, canvas.width
    pitch, shift = rng.uniform(1.6, 2.6), rng.uniform(0, 60)
    at = rng.uniform(0, 1, (flowers, 2))
    petals = palette.choose(rng, "petals")
    brush, z, x = below_horizon(canvas, palette.GROUND)
    scale = canvas.camera.focal / z
    patches, blades = noise.field(z / 9 + shift, x / 9), noise.field(z * 2.3, x * 3.1 + shift)
    colour = grass * (1 + 0.55 * (patches - 0.5) + 0.55 * (blades - 0.5) * clip01(scale / 8))
    if furrows:
        rows = 0.5 + 0.5 * np.cos(2 * np.pi * x / pitch)
        colour = mix(colour, (0.46, 0.36, 0.24), 0.75 * rows * clip01(scale * pitch / 4 - 0.6))
    brush.paint(1.0, colour)
    rows = np.clip(height * (1 - 0.35 * at[:, 0] ** 1.4), 0, height - 1).astype(int)
    columns = np.clip(at[:, 1] * width, 0, width - 1).astype(int)
    canvas.colour[:, rows, columns] = (petals * canvas.tint)[:, 0]


def water(canvas: Canvas, mask: Array, rough: float) -> None:
    """Water on the masked part of the ground, h x w; it mirrors what is already painted."""
    light, horizon, height = canvas.light, canvas.camera.horizon, canvas.height
    shift, u = canvas.rng.uniform(0, 60), canvas.columns / height
    brush, z, _ = below_horizon(canvas, palette.WATER)
    v, near = np.log(z[:, 0]), clip01(12 / z)
    waves = canvas.noise.plane(v * 11, u * 5, 3, shift) - 0.5
    swell = canvas.noise.plane(v * 26, u * 9, 2, shift + 5) - 0.5
    row = 2 * horizon - brush.y + height * rough * waves * (0.05 + 0.2 * near)
    row = np.minimum(np.maximum(row, 0), max(horizon - 1, 0)).astype(np.int64)
    mirrored = canvas.colour[:, row, np.arange(canvas.width)]
    colour = mix(mirrored, rgb((0.07, 0.27, 0.36)) * canvas.tint, 0.30 + 0.35 * near)
    colour = colour * (1 + 0.5 * rough * (waves + swell))
    beam = (brush.x - light.sun_at[0] * canvas.width) / (height * (0.04 + 0.12 * np.sqrt(near)))
    sparkle = np.exp(-(beam**2)) * smoothstep(waves + swell, -0.02, 0.25)
    brush.paint(mask, mix(colour, light.sun, 0.8 * sparkle), glow=True)


def strip(canvas: Canvas, mask: Array, colour: Colour, label: int | None) -> None:
    """One grainy colour on the masked part of the ground, h x w."""
    brush, z, x = below_horizon(canvas, label)
    brush.paint(mask, rgb(colour) * _grain(canvas, z, x))


def _grain(canvas: Canvas, z: Array, x: Array) -> Array:
    return 0.9 + 0.2 * canvas.noise.field(z * 1.7, x * 1.7)


def road(canvas: Canvas, half: float, bend: float, pavement: float = 0.0) -> None:
    """Asphalt with markings, ``half`` metres to each side, and pavements, up to the horizon."""
    grey = canvas.rng.uniform(0.30, 0.42)
    brush, z, x = below_horizon(canvas, palette.ROAD)
    scale = canvas.camera.focal / z
    off = np.abs(x - bend * (z / 100) ** 2)  # metres from the middle of the road

    def within(reach: float) -> Array:
        return clip01((reach - off) * scale + 0.5)

    asphalt = rgb((grey, grey, grey * 1.03)) * _grain(canvas, z, x)
    line = within(0.11) * (z % 7 < 3.2) * clip01(scale / 3)
    edge = (within(half - 0.25) - within(half - 0.45)) * clip01(scale / 5)
    colour = mix((0.62, 0.60, 0.57), asphalt, within(half))
    colour = mix(colour, (0.90, 0.90, 0.86), np.maximum(line, edge))
    brush.paint(within(half + pavement), colour)
