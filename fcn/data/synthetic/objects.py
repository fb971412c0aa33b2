"""Objects of procedural scenes: buildings, trees, poles, cars and boats.

They are ``x`` metres to the right of the camera and ``z`` ahead. ``m`` is a metre in pixels at that
distance, ``middle`` and ``base`` are the column and row of the foot.
"""

import math

import numpy as np

from fcn.data.synthetic import palette
from fcn.data.synthetic.canvas import Array, Brush, Canvas, Number, clip01, mix, rgb, smoothstep
from fcn.data.synthetic.palette import choose


def _shadow(canvas: Canvas, x: float, y: float, rx: float, ry: float, dark: float = 0.4) -> None:
    """A soft dark patch on the ground, unless it is tiny; labels do not change."""
    if rx < 0.5:
        return
    brush = canvas.brush(None, 1.0, (x - rx, max(y - ry, canvas.camera.horizon), x + rx, y + ry))
    q = ((brush.x - x) / rx) ** 2 + ((brush.y - y) / max(ry, 0.7)) ** 2
    brush.paint(dark * clip01(1 - q), (0.05, 0.06, 0.08))


def _with_windows(
    brush: Brush, wall: Array, along: Array, up: Array, grid: tuple[float, float, int], m: Number
) -> Array:
    """A wall's colour with windows: dark panes that mirror some sky, some of them lit at dusk.

    ``along`` and ``up`` are metres in the wall; the grid has a width, a height and a random seed.
    """
    wide, high, seed = grid
    light, a, b = brush.canvas.light, along / wide, up / high
    across = clip01((0.26 - np.abs(a % 1 - 0.5)) * wide * m + 0.5)
    cover = across * clip01((0.30 - np.abs(b % 1 - 0.5)) * high * m + 0.5)
    column, storey = (np.floor(v).astype(np.int64) for v in (a, b))
    lot = brush.canvas.noise.lot(column + seed, 7 * storey + seed)
    pane = mix((0.16, 0.20, 0.26), rgb(light.zenith) * 0.8, 0.55 * lot)
    if light.lamps:
        lit = rgb(palette.LAMPLIGHT) / brush.canvas.tint
        pane = mix(pane, lit, (lot > 0.55).astype(np.float32))
    return mix(wall, pane, cover * 0.9)


def block(canvas: Canvas, x: float, z: float, wide: float, deep: float, high: float) -> None:
    """A building with a flat roof; its front is at ``z``."""
    rng, camera = canvas.rng, canvas.camera
    wall, seed = choose(rng, "plaster"), int(rng.integers(64))
    grid = rng.uniform(2.2, 3.4), rng.uniform(3.0, 3.6), seed
    if rng.random() < 0.3 and high > 18:
        wall, grid = choose(rng, "glass"), (1.6, *grid[1:])

    def face(brush: Brush, cover: Array, along: Array, up: Array, m: Number, shade: float) -> None:
        streaked = wall * (0.94 + 0.12 * canvas.noise.field(up / 5, along / 3))
        windows = _with_windows(brush, streaked, along, up, grid, m)
        colour = np.where((up < high - 0.6) & (up > 0.8), windows, streaked)
        colour = colour * (1 + 0.12 * (up > high - 0.5).astype(np.float32))  # the edge of the roof
        brush.paint(cover, colour * shade)

    # The side that faces the camera's axis; a building across the axis shows none.
    base, roof, edge = camera.row(z), camera.row(z, high), x - math.copysign(wide / 2, x)
    if edge * x > 0:
        left, right = sorted((camera.column(edge, z), camera.column(edge, z + deep)))
        brush = canvas.brush(palette.BUILDING, z, (left, roof, right, base))
        off = np.maximum(np.abs(brush.x - camera.centre), 0.5)
        depth = np.clip(camera.focal * abs(edge) / off, z, z + deep)  # of each column
        m = camera.focal / depth
        top, bottom = (camera.horizon + (camera.height - v) * m for v in (high, 0.0))
        cover = brush.rectangle((left, top, right, bottom))
        up = camera.height - (brush.y - camera.horizon) / m
        shade = 0.92 - 0.16 * math.copysign(1, edge) * canvas.light.side
        face(brush._replace(depth=depth), cover, depth, up, m, shade)

    front = camera.column(x - wide / 2, z), roof, camera.column(x + wide / 2, z), base
    brush, scale = canvas.brush(palette.BUILDING, z, front), camera.focal / z
    along, up = (brush.x - front[0]) / scale, (base - brush.y) / scale
    face(brush, brush.rectangle(front), along, up, scale, 0.8)


def house(canvas: Canvas, x: float, z: float) -> None:
    """A house with windows, a door, a pitched roof and a chimney."""
    rng, side = canvas.rng, canvas.light.side
    wide, high, roof = rng.uniform(7, 12), rng.uniform(3.0, 5.6), rng.uniform(2.2, 3.6)
    wall, tiles = choose(rng, "plaster"), choose(rng, "tiles")
    chimney, seed, slant = rng.uniform(-0.3, 0.3), int(rng.integers(64)), rng.uniform(0.0, 0.25)
    size = wide / 2 + 1, high + roof + 1.2
    brush, m, middle, base = canvas.upright(palette.BUILDING, x, z, *size)
    left, right, eaves = middle - wide / 2 * m, middle + wide / 2 * m, base - high * m
    _shadow(canvas, middle - side * 2 * m, base, wide * 0.62 * m, 0.5 * m)
    brush.bar(middle + chimney * wide * m, 0.45 * m, eaves - (roof + 0.9) * m, eaves, wall * 0.7)
    along, up = (brush.x - left) / m, (base - brush.y) / m
    colour = _with_windows(brush, wall, along, up, (wide / 3.0, 2.8, seed), m)
    colour = colour * (1 - 0.12 * side * (along / wide - 0.5))
    brush.paint(brush.rectangle((left, eaves, right, base)), colour)
    brush.bar(middle, 0.55 * m, base - 2.1 * m, base, tiles * 0.6)
    rise = clip01((eaves - brush.y) / (roof * m))
    inset = rise * (0.12 + slant) * wide * m
    slope = left - 0.5 * m + inset, eaves - roof * m, right + 0.5 * m - inset, eaves + 0.2 * m
    courses = 0.9 + 0.2 * canvas.noise.field((eaves - brush.y) / m * 3, brush.x / m)
    brush.paint(brush.rectangle(slope), tiles * (courses * (0.85 + 0.3 * rise)))


def lighthouse(canvas: Canvas, x: float, z: float) -> None:
    """A white tower with red bands and a lamp."""
    high = canvas.rng.uniform(14, 20)
    brush, m, middle, base = canvas.upright(palette.BUILDING, x, z, 3, high + 3)
    top = base - high * m
    up = (base - brush.y) / (high * m)
    half = (2.1 - 0.9 * clip01(up)) * m
    bands = ((up * 5) % 2 > 1).astype(np.float32)
    colour = mix((0.93, 0.93, 0.90), (0.75, 0.18, 0.15), bands)
    brush.bar(middle, half, top, base, colour * (1 + brush.rounded(0.25, middle, half)))
    brush.bar(middle, 0.8 * m, top - 1.8 * m, top, palette.LAMPLIGHT, True)
    brush.paint(brush.ellipse(middle, top - 1.8 * m, 1.3 * m, 0.8 * m), (0.55, 0.14, 0.12))


def leafy(canvas: Canvas, x: float, z: float, high: float, leaf: Array) -> None:
    """A tree with a trunk and a crown of round puffs, lit from the side of the sun."""
    rng, side, count = canvas.rng, canvas.light.side, 7
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 0.8, count)
    reach, size = rng.uniform(0.3, 0.62, count), rng.uniform(0.42, 0.60, count)
    shift, lean = rng.uniform(0, 60), rng.uniform(0.75, 1.1)
    wide, tall = 1.25 * 0.34 * lean * high, (0.63 + 1.25 * 0.34) * high
    brush, m, middle, base = canvas.upright(palette.TREE, x, z, wide, tall)
    ry, centre = 0.34 * high * m, base - 0.63 * high * m
    rx = ry * lean
    _shadow(canvas, middle - side * 0.25 * high * m, base, 1.2 * rx, 0.09 * high * m)
    root = smoothstep(brush.y, base - 0.12 * high * m, base)
    half = max(0.035 * high * m, 0.7) * (1 + 0.5 * root)
    bark = rgb(palette.BARK) * (0.95 + brush.rounded(0.35, middle, half))
    brush.bar(middle, half, centre, base, bark)

    u, v = (brush.x - middle) / rx, (brush.y - centre) / ry
    puffs = [*reach * np.cos(angle), 0], [*reach * np.sin(angle), 0], [*size, 0.62]
    cx, cy, r = np.array(puffs, np.float32)[..., None, None]
    du, dv = (u - cx) / r, (v - cy) / r
    q = np.sqrt(du * du + dv * dv)
    nearest = q.argmin(0)[None]
    inside = np.take_along_axis(q, nearest, 0)[0]
    facing = np.take_along_axis(du * (0.7 * side) - dv * 0.7, nearest, 0)[0]
    tufts = canvas.noise.field(v * 5 + shift, u * 5) - 0.5
    leaves = canvas.noise.field(v * 17, u * 17 + shift) - 0.5
    cover = clip01((1 - inside + 0.5 * tufts + 0.25 * leaves) * 0.5 * ry + 0.5)
    tone = 0.92 + 0.30 * facing - 0.22 * v + 0.6 * tufts + 0.5 * leaves
    brush.paint(cover, leaf * np.clip(tone, 0.35, 1.7))


def conifer(canvas: Canvas, x: float, z: float, high: float, leaf: Array) -> None:
    """A fir: tiers of boughs on a trunk."""
    rng = canvas.rng
    tiers, shift, slim = int(rng.integers(4, 7)), rng.uniform(0, 60), rng.uniform(0.17, 0.23)
    brush, m, middle, base = canvas.upright(palette.TREE, x, z, 1.3 * slim * high, high)
    top, skirt, rx = base - high * m, base - 0.10 * high * m, slim * high * m
    _shadow(canvas, middle - canvas.light.side * 0.2 * high * m, base, 1.2 * rx, 0.06 * high * m)
    brush.bar(middle, max(0.02 * high * m, 0.7), skirt - 2, base, palette.BARK)
    down = clip01((brush.y - top) / max(skirt - top, 1e-3))
    tier = down * tiers % 1
    tufts = canvas.noise.field(down * 14 + shift, (brush.x - middle) / rx * 4) - 0.5
    half = rx * down * (0.62 + 0.38 * tier) * (1 + 0.45 * tufts) + 0.35
    cover = clip01(half - np.abs(brush.x - middle) + 0.5)
    cover = cover * brush.rectangle((middle - 2 * rx, top, middle + 2 * rx, skirt))
    side = brush.rounded(1.0, middle, np.maximum(half, 0.5))
    tone = np.clip(0.78 + 0.35 * side + 0.35 * (tier - 0.4) + 0.6 * tufts, 0.35, 1.6)
    brush.paint(cover, leaf * tone)


def lamppost(canvas: Canvas, x: float, z: float, high: float = 6.5) -> None:
    """A street lamp whose arm reaches towards the middle of the road."""
    steel, lamps = (0.24, 0.26, 0.28), canvas.light.lamps
    reach = 1.2 + 0.6 * canvas.rng.random()
    brush, m, middle, base = canvas.upright(palette.POLE, x, z, reach + 1, high + 1)
    top, half, arm = base - high * m, max(0.10 * m, 0.75), math.copysign(reach * m, -x)
    brush.bar(middle, half, top, base, steel)
    brush.bar(middle + arm / 2, abs(arm) / 2, top - half, top + half, steel)
    head = brush.ellipse(middle + arm, top + half, max(0.42 * m, 1.0), max(0.2 * m, 0.8))
    brush.paint(head, palette.LAMPLIGHT if lamps else (0.9, 0.9, 0.86), lamps)


def wire_pole(canvas: Canvas, x: float, z: float, following: float | None) -> None:
    """A wooden pole; its wires sag to the next one, ``following`` metres ahead of the camera."""
    wood = rgb((0.34, 0.27, 0.21)) * canvas.rng.uniform(0.8, 1.1)
    brush, m, middle, base = canvas.upright(palette.POLE, x, z, 1.3, 8.0)
    top = base - 8.0 * m
    if following is not None:
        far_m, far_middle, _ = canvas.camera.foot(x, following)
        y0, y1 = top + 0.6 * m, canvas.camera.row(following, 8.0 - 0.6)
        for side in (-0.9, 0.9):
            _wire(canvas, middle + side * m, y0, far_middle + side * far_m, y1, m, z)
    brush.bar(middle, max(0.13 * m, 0.75), top, base, wood)
    bar, row = max(0.09 * m, 0.6), top + 0.8 * m
    brush.bar(middle, 1.1 * m, row - bar, row + bar, wood)


def _wire(canvas: Canvas, x0: float, y0: float, x1: float, y1: float, m: float, z: float) -> None:
    """A sagging wire from (x0, y0) to (x1, y1); labels do not change."""
    if abs(x0 - x1) < 1:
        return
    left, right = sorted((x0, x1))
    brush = canvas.brush(None, z, (left, min(y0, y1), right, max(y0, y1) + m))
    t = clip01((brush.x - x0) / (x1 - x0))
    line = y0 + (y1 - y0) * t + 2.2 * t * (1 - t) * (1 - 0.6 * t) * m
    steep = np.sqrt(1 + ((y1 - y0) / (x1 - x0)) ** 2)
    cover = 0.45 * clip01(1 - np.abs(brush.y - line) / steep)
    brush.paint(cover * ((brush.x > left) & (brush.x < right)), (0.12, 0.12, 0.13))


def car(canvas: Canvas, x: float, z: float, oncoming: bool) -> None:
    """A car on the road, from the front or from behind."""
    paint = choose(canvas.rng, "paint")
    lights = (1.0, 0.95, 0.8) if oncoming else (0.85, 0.10, 0.08)
    brush, m, middle, base = canvas.upright(palette.CAR, x, z, 1.85 / 2, 1.5)
    wide, high = 1.85 * m, 1.5 * m
    _shadow(canvas, middle, base, 0.62 * wide, 0.2 * m, 0.6)
    for wheel in (middle - 0.36 * wide, middle + 0.36 * wide):
        brush.bar(wheel, 0.11 * wide, base - 0.45 * m, base, (0.06, 0.06, 0.07))
    up = clip01((base - brush.y) / high)
    half = wide / 2 * np.where(up < 0.58, 1.0, 1.0 - 0.75 * (up - 0.58))
    tone = 0.72 + 0.45 * up + brush.rounded(0.1, middle, wide)
    brush.bar(middle, half, base - high, base - 0.22 * m, paint * tone)
    brush.bar(middle, 0.78 * half, base - 0.93 * high, base - 0.60 * high, (0.14, 0.18, 0.22))
    for lamp in (middle - 0.40 * wide, middle + 0.40 * wide):
        brush.bar(lamp, 0.08 * wide, base - 0.55 * high, base - 0.42 * high, lights, True)


def sailboat(canvas: Canvas, x: float, z: float) -> None:
    """A boat with a mast and two sails, and its faint reflection in the water."""
    rng = canvas.rng
    tack, high = (1.0, -1.0)[rng.integers(2)], rng.uniform(7, 10)
    cloth, hull = choose(rng, "sails"), choose(rng, "hulls")
    brush, m, middle, base = canvas.upright(palette.BOAT, x, z, 4, high, below=0.5 * high)
    top, deck, below = base - high * m, base - 0.8 * m, 0.5 * high * m
    reflection = brush.rectangle((middle - 1.5 * m, base, middle + 1.5 * m, base + below))
    fade = 0.3 * clip01(1 - (brush.y - base) / below)
    brush._replace(label=None).paint(reflection * fade, cloth)
    taper = 1 - 0.25 * clip01((brush.y - deck) / max(base - deck, 1e-3))
    brush.bar(middle, 3.0 * m * taper, deck, base, hull)
    down = clip01((brush.y - top) / max(deck - top, 1e-3))
    shade = 1 - 0.16 * clip01((brush.x - middle) * tack / (3 * m))
    for reach, near, foot in ((2.6, 0.18, 0.96), (-2.0, -0.18, 0.90)):
        edge, mast = middle + tack * reach * m * down, middle + tack * near * m
        left, right = np.minimum(edge, mast), np.maximum(edge, mast)
        sail = brush.rectangle((left, top + 0.06 * (deck - top), right, top + foot * (deck - top)))
        brush.paint(sail, cloth * shade)
    brush.bar(middle, max(0.07 * m, 0.6), top, base, (0.30, 0.24, 0.20))
