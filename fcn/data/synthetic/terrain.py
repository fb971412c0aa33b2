"""Sky, mountains, hills and woods, ground, water and roads of a procedural scene."""

import math

import numpy as np

from fcn.data.synthetic.canvas import Array, Canvas, Window, clip01, mix, rectangle, rgb, smoothstep
from fcn.data.synthetic.palette import GROUND, MOUNTAIN, ROAD, SKY, TREE, WATER, Colour, choose

# ---------------------------------------------------------------------------------------------------------------- sky


def sky(canvas: Canvas, rng: np.random.Generator, cloudiness: float) -> None:
    """The gradient from horizon to zenith, the sun with its glow, and clouds that shrink towards the horizon."""
    light, horizon = canvas.light, canvas.camera.horizon
    everything = canvas.whole()
    up = clip01((horizon - everything.y) / max(horizon, 1))
    colour = mix(light.horizon, light.zenith, up**0.65)

    sun_x, sun_y = light.sun_at[0] * canvas.width, light.sun_at[1] * canvas.height
    away = np.hypot(everything.x - sun_x, everything.y - sun_y) / canvas.height
    colour = mix(colour, light.sun, 0.75 * np.exp(-away * 5))
    colour = mix(colour, np.minimum(rgb(light.sun) + 0.12, 1), smoothstep(away, 0.050, 0.036))

    shift = float(rng.uniform(0, 60))
    far = 1 / (0.12 + up[:, 0])
    puffs = canvas.noise.plane(far * 3.2, everything.x[0] / canvas.height * 3.0, octaves=5, shift=shift)
    thick = smoothstep(puffs, 0.66 - 0.3 * cloudiness, 0.86 - 0.3 * cloudiness) * smoothstep(up, 0.03, 0.3)
    shade = puffs[np.maximum(np.arange(canvas.height) - max(1, canvas.height // 40), 0)] - puffs
    tone = rgb(light.cloud) * (1 - np.clip(0.10 + 1.6 * shade, 0, 0.3))
    colour = mix(colour, tone, 0.9 * thick)
    canvas.paint(everything, np.ones(canvas.label.shape, np.float32), colour, SKY, canvas.depth, glow=True)


# ----------------------------------------------------------------------------------------------- what stands far away


def ridge(
    canvas: Canvas, rng: np.random.Generator, *, peak: float, depth: float, rock: Array, snow: float = 0.0
) -> None:
    """A range of mountains, ``peak`` of the image's height above the horizon, white down to a share ``snow`` of it."""
    camera, noise = canvas.camera, canvas.noise
    shift, cells = float(rng.uniform(0, 60)), float(rng.uniform(1.2, 2.2))
    x = (np.arange(canvas.width, dtype=np.float32) + 0.5) / canvas.height
    broad = noise.line(x * cells, octaves=2, shift=shift)
    sharp = 1 - np.abs(2 * noise.line(x * cells * 1.7, octaves=5, shift=shift + 21, decay=0.55) - 1)
    top = camera.horizon - canvas.height * peak * (0.12 + 0.70 * broad + 0.75 * sharp**1.5)
    window = canvas.window(0, float(top.min()), canvas.width, camera.horizon + 1)
    if window is None:
        return
    crest = top[window.at[1]][None, :]
    down = (window.y - crest) / canvas.height
    # Two sheared copies of one noise read as slopes that face left and right.
    at, v = window.x / canvas.height * 9 + shift, down * 7
    left, right = noise.field(v, at + down * 11), noise.field(v + 31, at - down * 11)
    slope = 1 + (0.3 + 1.1 * abs(canvas.light.side)) * math.copysign(1, canvas.light.side) * (right - left)
    slope += 0.5 * (right + left - 1)
    colour = rock * np.clip(slope, 0.45, 1.6)
    height = (camera.horizon - window.y) / (canvas.height * peak * 1.1)
    white = smoothstep(height + 0.5 * (right - 0.5), 1 - snow, 1.12 - snow) if snow else np.zeros_like(slope)
    colour = mix(colour, np.clip(slope, 0.70, 1.1) * rgb((0.93, 0.95, 0.98)), white)
    canvas.paint(window, clip01(down * canvas.height + 0.5), colour, MOUNTAIN, depth)


def hill(canvas: Canvas, rng: np.random.Generator, *, peak: float, depth: float, grass: Array) -> None:
    """A long rise of ground on the horizon."""
    camera, noise = canvas.camera, canvas.noise
    x = (np.arange(canvas.width, dtype=np.float32) + 0.5) / canvas.height
    top = camera.horizon - canvas.height * peak * noise.line(x * 1.3, octaves=2, shift=float(rng.uniform(0, 60)))
    window = canvas.window(0, float(top.min()), canvas.width, camera.horizon + 1)
    if window is None:
        return
    crest = top[window.at[1]][None, :]
    down = window.y - crest
    patches = noise.field(down / canvas.height * 22, window.x / canvas.height * 6)
    colour = grass * (0.82 + 0.36 * patches)
    canvas.paint(window, clip01(down + 0.5), colour, GROUND, depth)


def treeline(canvas: Canvas, rng: np.random.Generator, *, height: float, depth: float, leaf: Array) -> None:
    """The edge of a wood, ``height`` metres high: a bumpy outline, standing on the ground at its depth."""
    camera, noise = canvas.camera, canvas.noise
    shift, scale = float(rng.uniform(0, 60)), camera.scale(depth)
    x = (np.arange(canvas.width, dtype=np.float32) + 0.5) / canvas.height
    bumps = 0.55 * noise.line(x * 3, octaves=2, shift=shift) + 0.45 * noise.line(x * 22, octaves=2, shift=shift + 9)
    gaps = smoothstep(noise.line(x * 1.1, octaves=1, shift=shift + 30), 0.18, 0.36)
    base = camera.row(depth)
    top = base - height * scale * (0.25 + 0.9 * bumps) * gaps
    window = canvas.window(0, float(top.min()), canvas.width, base)
    if window is None:
        return
    crest = top[window.at[1]][None, :]
    tufts = noise.field((window.y - crest) / canvas.height * 40, window.x / canvas.height * 40)
    colour = leaf * (0.55 + 0.8 * tufts)
    cover = rectangle(window, 0, crest, canvas.width, base)
    canvas.paint(window, cover * (gaps[window.at[1]] > 0.02), colour, TREE, depth)


# ------------------------------------------------------------------------------------------------------------- ground


def below_horizon(canvas: Canvas) -> tuple[Window, Array, Array]:
    """The canvas below the horizon with the world coordinates of its pixels, z as a column and x as h x w."""
    camera, whole = canvas.camera, canvas.whole()
    start = int((whole.y < camera.horizon + 0.6).sum())
    window = Window((slice(start, None), slice(None)), whole.y[start:], whole.x)
    z = camera.focal * camera.height / (window.y - camera.horizon)
    return window, z, (window.x - camera.centre) * z / camera.focal


def ground(canvas: Canvas, rng: np.random.Generator, grass: Array, *, furrows: bool = False, flowers: int = 0) -> None:
    """A meadow, or a ploughed field whose furrows meet at the horizon, with flowers nearby."""
    pitch, shift = float(rng.uniform(1.6, 2.6)), float(rng.uniform(0, 60))
    at = rng.uniform(0, 1, (flowers, 2))
    petals = choose(rng, ((0.96, 0.90, 0.92), (0.92, 0.32, 0.26), (0.98, 0.84, 0.24), (0.70, 0.48, 0.82)))
    window, z, x = below_horizon(canvas)
    size = canvas.camera.focal / z
    patches = canvas.noise.field(z / 9 + shift, x / 9) - 0.5
    blades = canvas.noise.field(z * 2.3, x * 3.1 + shift) - 0.5
    tone = 1 + 0.55 * patches + 0.55 * blades * clip01(size / 8)
    colour = grass * tone
    if furrows:
        rows = 0.5 + 0.5 * np.cos(2 * np.pi * x / pitch)
        colour = mix(colour, (0.46, 0.36, 0.24), 0.75 * rows * clip01(size * pitch / 4 - 0.6))
    cover = np.ones(x.shape, np.float32)
    canvas.paint(window, cover, colour, GROUND, np.broadcast_to(z, x.shape))
    if flowers:
        row = canvas.height * (1 - 0.35 * at[:, 0] ** 1.4)
        rows = np.clip(row, 0, canvas.height - 1).astype(int)
        columns = np.clip(at[:, 1] * canvas.width, 0, canvas.width - 1).astype(int)
        canvas.colour[:, rows, columns] = (petals * canvas.tint)[:, 0]


def water(canvas: Canvas, rng: np.random.Generator, mask: Array, rough: float) -> None:
    """Water on a part (h x w, in 0..1) of what lies below the horizon; it mirrors what is painted above already."""
    shift = float(rng.uniform(0, 60))
    window, z, _ = below_horizon(canvas)
    waves = canvas.noise.plane(np.log(z[:, 0]) * 11, window.x[0] / canvas.height * 5, octaves=3, shift=shift) - 0.5
    swell = canvas.noise.plane(np.log(z[:, 0]) * 26, window.x[0] / canvas.height * 9, octaves=2, shift=shift + 5) - 0.5
    near = clip01(12 / z)
    row = 2 * canvas.camera.horizon - window.y + canvas.height * rough * waves * (0.05 + 0.2 * near)
    row = np.minimum(np.maximum(row, 0), max(canvas.camera.horizon - 1, 0)).astype(np.int64)
    mirrored = canvas.colour[:, row, np.arange(canvas.width)]
    colour = mix(mirrored, rgb((0.07, 0.27, 0.36)) * canvas.tint, 0.30 + 0.35 * near)
    colour = colour * (1 + 0.5 * rough * (waves + swell))
    beam = (window.x - canvas.light.sun_at[0] * canvas.width) / (canvas.height * (0.04 + 0.12 * np.sqrt(near)))
    sparkle = np.exp(-(beam**2)) * smoothstep(waves + swell, -0.02, 0.25)
    colour = mix(colour, canvas.light.sun, 0.8 * sparkle)
    canvas.paint(window, mask, colour, WATER, np.broadcast_to(z, row.shape), glow=True)


def strip(canvas: Canvas, mask: Array, colour: Colour, label: int | None) -> None:
    """One colour, with some grain, on a part (h x w, in 0..1) of what lies below the horizon."""
    window, z, x = below_horizon(canvas)
    tone = 0.9 + 0.2 * canvas.noise.field(z * 1.7, x * 1.7)
    canvas.paint(window, mask, rgb(colour) * tone, label, np.broadcast_to(z, x.shape))


def road(canvas: Canvas, rng: np.random.Generator, *, half: float, bend: float, pavement: float = 0.0) -> None:
    """Asphalt from the camera to the horizon, ``half`` of its width each way, marked, between two pavements or none."""
    grey = float(rng.uniform(0.30, 0.42))
    window, z, x = below_horizon(canvas)
    size = canvas.camera.focal / z
    off = np.abs(x - bend * (z / 100) ** 2)  # metres from the middle of the road

    def within(reach: float) -> Array:
        return clip01((reach - off) * size + 0.5)

    asphalt = rgb((grey, grey, grey * 1.03)) * (0.9 + 0.2 * canvas.noise.field(z * 1.7, x * 1.7))
    colour = mix((0.62, 0.60, 0.57), asphalt, within(half))
    line = within(0.11) * (z % 7 < 3.2) * clip01(size / 3)
    edge = (within(half - 0.25) - within(half - 0.45)) * clip01(size / 5)
    colour = mix(colour, (0.90, 0.90, 0.86), np.maximum(line, edge))
    canvas.paint(window, within(half + pavement), colour, ROAD, np.broadcast_to(z, x.shape))
