"""Buildings, trees, poles, cars and boats of a procedural scene, each at ``x`` metres to the right and ``z`` ahead."""

import math

import numpy as np

from fcn.data.synthetic.canvas import Array, Canvas, Window, clip01, ellipse, mix, rectangle, rgb, smoothstep
from fcn.data.synthetic.palette import BARK, BOAT, BUILDING, CAR, LAMPLIGHT, PAINT, PLASTER, POLE, TILES, TREE, choose


def shadow(canvas: Canvas, x: float, row: float, rx: float, ry: float, strength: float = 0.4) -> None:
    """A soft dark patch on the ground; it changes no label."""
    window = canvas.window(x - rx, max(row - ry, canvas.camera.horizon), x + rx, row + ry)
    if window is None or rx < 0.5:
        return
    q = ((window.x - x) / rx) ** 2 + ((window.y - row) / max(ry, 0.7)) ** 2
    canvas.paint(window, strength * clip01(1 - q), (0.05, 0.06, 0.08), None, 1.0)


# ---------------------------------------------------------------------------------------------------------- buildings


def panes(a: Array, b: Array, wide: float, high: float, size_a: Array | float, size_b: Array | float) -> Array:
    """Windows in a wall: 1 inside, at ``a`` metres along and ``b`` up, one each ``wide`` by ``high`` metres."""
    across = (0.26 - np.abs(a / wide % 1 - 0.5)) * wide * size_a
    up = (0.30 - np.abs(b / high % 1 - 0.5)) * high * size_b
    return clip01(across + 0.5) * clip01(up + 0.5)


def glass(canvas: Canvas, wall: Array, cover: Array, a: Array, b: Array, wide: float, high: float, seed: int) -> Array:
    """The wall's colour with its windows: dark panes that mirror some sky; when the lamps are lit, some glow."""
    lot = canvas.noise.lot(np.floor(a / wide).astype(np.int64) + seed, 7 * np.floor(b / high).astype(np.int64) + seed)
    pane = mix((0.16, 0.20, 0.26), rgb(canvas.light.zenith) * 0.8, 0.55 * lot)
    if canvas.light.lamps:
        lit = rgb(LAMPLIGHT) / canvas.tint
        pane = mix(pane, lit, (lot > 0.55).astype(np.float32))
    return mix(wall, pane, cover * 0.9)


def block(
    canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, wide: float, deep: float, high: float
) -> None:
    """A building with a flat roof, its front at ``z`` and, where it can be seen, its side that recedes from there."""
    camera = canvas.camera
    wall, seed = choose(rng, PLASTER), int(rng.integers(64))
    pitch, storey = float(rng.uniform(2.2, 3.4)), float(rng.uniform(3.0, 3.6))
    glazed = rng.random() < 0.3 and high > 18
    if glazed:
        wall, pitch = choose(rng, ((0.46, 0.54, 0.60), (0.38, 0.44, 0.50))), 1.6

    def paint(
        window: Window, cover: Array, a: Array, b: Array, size: Array | float, shade: float, z: Array | float
    ) -> None:
        openings = panes(a, b, pitch, storey, size, size) * (b < high - 0.6) * (b > 0.8)
        streaks = 0.94 + 0.12 * canvas.noise.field(b / 5, a / 3)
        colour = glass(canvas, wall * streaks, openings, a, b, pitch, storey, seed)
        colour = colour * (1 + 0.12 * (b > high - 0.5).astype(np.float32))  # the edge of the roof
        canvas.paint(window, cover, colour * np.float32(shade), BUILDING, z)

    # The side turned towards the camera's axis; a building across the axis shows none.
    edge = x - math.copysign(wide / 2, x)
    if edge * x > 0:
        ends = camera.column(edge, z), camera.column(edge, z + deep)
        window = canvas.window(min(ends), camera.row(z, high), max(ends), camera.row(z))
        if window is not None:
            off = np.maximum(np.abs(window.x - camera.centre), 0.5)
            at = np.clip(camera.focal * abs(edge) / off, z, z + deep)  # the depth of each column of the side
            scale = camera.focal / at
            top, bottom = (camera.horizon + (camera.height - v) * scale for v in (high, 0.0))
            up = camera.height - (window.y - camera.horizon) / scale
            cover = rectangle(window, min(ends), top, max(ends), bottom)
            shade = 0.92 - 0.16 * math.copysign(1, edge) * canvas.light.side
            paint(window, cover, at, up, scale, shade, np.broadcast_to(at, cover.shape))
    size = camera.scale(z)
    left, right = camera.column(x - wide / 2, z), camera.column(x + wide / 2, z)
    window = canvas.window(left, camera.row(z, high), right, camera.row(z))
    if window is not None:
        along, up = (window.x - left) / size, (camera.row(z) - window.y) / size
        cover = rectangle(window, left, camera.row(z, high), right, camera.row(z))
        paint(window, cover, along, up, size, 0.8, z)


def house(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float) -> None:
    """A house: a wall with windows and a door under a pitched roof with a chimney."""
    wide, high, roof = float(rng.uniform(7, 12)), float(rng.uniform(3.0, 5.6)), float(rng.uniform(2.2, 3.6))
    wall, tiles = choose(rng, PLASTER), choose(rng, TILES)
    chimney, seed, slant = float(rng.uniform(-0.3, 0.3)), int(rng.integers(64)), float(rng.uniform(0.0, 0.25))
    camera = canvas.camera
    size, base = camera.scale(z), camera.row(z)
    middle = camera.column(x, z)
    left, right, eaves = middle - wide / 2 * size, middle + wide / 2 * size, base - high * size
    shadow(canvas, middle - canvas.light.side * 2 * size, base, wide * 0.62 * size, 0.5 * size)
    window = canvas.window(left - size, eaves - (roof + 1.2) * size, right + size, base)
    if window is None:
        return
    pipe = middle + chimney * wide * size
    stack = rectangle(window, pipe - 0.45 * size, eaves - (roof + 0.9) * size, pipe + 0.45 * size, eaves)
    canvas.paint(window, stack, wall * np.float32(0.7), BUILDING, z)
    along, up = (window.x - left) / size, (base - window.y) / size
    openings = panes(along, up, wide / 3.0, 2.8, size, size)
    colour = glass(canvas, wall, openings, along, up, wide / 3.0, 2.8, seed)
    colour = colour * (1 - 0.12 * canvas.light.side * (along / wide - 0.5))
    canvas.paint(window, rectangle(window, left, eaves, right, base), colour, BUILDING, z)
    door = rectangle(window, middle - 0.55 * size, base - 2.1 * size, middle + 0.55 * size, base)
    canvas.paint(window, door, tiles * np.float32(0.6), BUILDING, z)
    rise = clip01((eaves - window.y) / (roof * size))
    inset = rise * (0.12 + slant) * wide * size
    slope = rectangle(
        window, left - 0.5 * size + inset, eaves - roof * size, right + 0.5 * size - inset, eaves + 0.2 * size
    )
    courses = 0.9 + 0.2 * canvas.noise.field((eaves - window.y) / size * 3, window.x / size)
    canvas.paint(window, slope, tiles * (courses * (0.85 + 0.3 * rise)), BUILDING, z)


def lighthouse(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float) -> None:
    """A white tower with red bands and a lamp."""
    high = float(rng.uniform(14, 20))
    camera = canvas.camera
    size, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    top = base - high * size
    window = canvas.window(middle - 3 * size, top - 3 * size, middle + 3 * size, base)
    if window is None:
        return
    up = (base - window.y) / (high * size)
    half = (2.1 - 0.9 * clip01(up)) * size
    bands = ((up * 5) % 2 > 1).astype(np.float32)
    colour = mix((0.93, 0.93, 0.90), (0.75, 0.18, 0.15), bands)
    round_ = 1 + 0.25 * canvas.light.side * np.clip((window.x - middle) / half, -1, 1)
    cover = rectangle(window, middle - half, top, middle + half, base)
    canvas.paint(window, cover, colour * round_, BUILDING, z)
    lamp = rectangle(window, middle - 0.8 * size, top - 1.8 * size, middle + 0.8 * size, top)
    canvas.paint(window, lamp, LAMPLIGHT, BUILDING, z, glow=True)
    cap = ellipse(window, middle, top - 1.8 * size, 1.3 * size, 0.8 * size)
    canvas.paint(window, cap, (0.55, 0.14, 0.12), BUILDING, z)


# -------------------------------------------------------------------------------------------------------------- trees


def leafy(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, high: float, leaf: Array) -> None:
    """A tree with a trunk and a crown of round puffs, lit from the side of the sun."""
    count = 7
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 0.8, count)
    reach, size = rng.uniform(0.3, 0.62, count), rng.uniform(0.42, 0.60, count)
    shift, lean = float(rng.uniform(0, 60)), float(rng.uniform(0.75, 1.1))
    camera = canvas.camera
    scale, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    ry, centre = 0.34 * high * scale, base - 0.63 * high * scale
    rx = ry * lean
    shadow(canvas, middle - canvas.light.side * 0.25 * high * scale, base, 1.2 * rx, 0.09 * high * scale)
    window = canvas.window(middle - 1.25 * rx, centre - 1.25 * ry, middle + 1.25 * rx, base)
    if window is None:
        return
    half = max(0.035 * high * scale, 0.7) * (1 + 0.5 * smoothstep(window.y, base - 0.12 * high * scale, base))
    trunk = rectangle(window, middle - half, centre, middle + half, base)
    round_ = 0.95 + 0.35 * canvas.light.side * np.clip((window.x - middle) / half, -1, 1)
    canvas.paint(window, trunk, rgb(BARK) * round_, TREE, z)
    u, v = (window.x - middle) / rx, (window.y - centre) / ry
    cx = np.append(reach * np.cos(angle), 0).astype(np.float32)[:, None, None]
    cy = np.append(reach * np.sin(angle), 0).astype(np.float32)[:, None, None]
    r = np.append(size, 0.62).astype(np.float32)[:, None, None]
    du, dv = (u - cx) / r, (v - cy) / r
    q = np.sqrt(du * du + dv * dv)
    nearest = q.argmin(0)[None]
    inside = np.take_along_axis(q, nearest, 0)[0]
    facing = np.take_along_axis(du * (0.7 * canvas.light.side) - dv * 0.7, nearest, 0)[0]
    tufts = canvas.noise.field(v * 5 + shift, u * 5) - 0.5
    leaves = canvas.noise.field(v * 17, u * 17 + shift) - 0.5
    cover = clip01((1 - inside + 0.5 * tufts + 0.25 * leaves) * 0.5 * ry + 0.5)
    tone = np.clip(0.92 + 0.30 * facing - 0.22 * v + 0.6 * tufts + 0.5 * leaves, 0.35, 1.7)
    canvas.paint(window, cover, leaf * tone, TREE, z)


def conifer(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, high: float, leaf: Array) -> None:
    """A fir: tiers of boughs on a trunk."""
    tiers, shift, slim = int(rng.integers(4, 7)), float(rng.uniform(0, 60)), float(rng.uniform(0.17, 0.23))
    camera = canvas.camera
    scale, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    top, skirt = base - high * scale, base - 0.10 * high * scale
    rx = slim * high * scale
    shadow(canvas, middle - canvas.light.side * 0.2 * high * scale, base, 1.2 * rx, 0.06 * high * scale)
    window = canvas.window(middle - 1.3 * rx, top, middle + 1.3 * rx, base)
    if window is None:
        return
    half = max(0.02 * high * scale, 0.7)
    canvas.paint(window, rectangle(window, middle - half, skirt - 2, middle + half, base), BARK, TREE, z)
    down = clip01((window.y - top) / max(skirt - top, 1e-3))
    tier = down * tiers % 1
    tufts = canvas.noise.field(down * 14 + shift, (window.x - middle) / rx * 4) - 0.5
    half_width = rx * down * (0.62 + 0.38 * tier) * (1 + 0.45 * tufts) + 0.35
    cover = clip01(half_width - np.abs(window.x - middle) + 0.5) * rectangle(
        window, middle - 2 * rx, top, middle + 2 * rx, skirt
    )
    side = canvas.light.side * np.clip((window.x - middle) / np.maximum(half_width, 0.5), -1, 1)
    tone = np.clip(0.78 + 0.35 * side + 0.35 * (tier - 0.4) + 0.6 * tufts, 0.35, 1.6)
    canvas.paint(window, cover, leaf * tone, TREE, z)


# ------------------------------------------------------------------------------------------- poles, cars and boats


def lamppost(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, high: float = 6.5) -> None:
    """A street lamp whose arm reaches towards the middle of the road."""
    camera = canvas.camera
    scale, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    top, arm = base - high * scale, math.copysign((1.2 + 0.6 * rng.random()) * scale, -x)
    window = canvas.window(middle - abs(arm) - scale, top - scale, middle + abs(arm) + scale, base)
    if window is None:
        return
    steel = (0.24, 0.26, 0.28)
    half = max(0.10 * scale, 0.75)
    canvas.paint(window, rectangle(window, middle - half, top, middle + half, base), steel, POLE, z)
    ends = sorted((middle, middle + arm))
    canvas.paint(window, rectangle(window, ends[0], top - half, ends[1], top + half), steel, POLE, z)
    head = ellipse(window, middle + arm, top + half, max(0.42 * scale, 1.0), max(0.2 * scale, 0.8))
    canvas.paint(window, head, LAMPLIGHT if canvas.light.lamps else (0.9, 0.9, 0.86), POLE, z, glow=canvas.light.lamps)


def wire_pole(
    canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, following: float | None, high: float = 8.0
) -> None:
    """A wooden pole with a crossbar; its wires sag to the ``following`` pole, which stands farther off."""
    tone = float(rng.uniform(0.8, 1.1))
    camera = canvas.camera
    scale, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    top = base - high * scale
    wood = rgb((0.34, 0.27, 0.21)) * tone
    if following is not None:
        ends = middle, camera.column(x, following)
        for side in (-0.9, 0.9):
            near_x, far_x = ends[0] + side * scale, ends[1] + side * camera.scale(following)
            near_y, far_y = top + 0.6 * scale, camera.row(following, high - 0.6)
            window = canvas.window(
                min(near_x, far_x), min(near_y, far_y), max(near_x, far_x), max(near_y, far_y) + scale
            )
            if window is None or abs(near_x - far_x) < 1:
                continue
            t = clip01((window.x - near_x) / (far_x - near_x))
            line = near_y + (far_y - near_y) * t + 2.2 * t * (1 - t) * (1 - 0.6 * t) * scale
            between = (window.x > min(near_x, far_x)) & (window.x < max(near_x, far_x))
            steep = np.sqrt(1 + ((far_y - near_y) / (far_x - near_x)) ** 2)
            cover = 0.45 * clip01(1 - np.abs(window.y - line) / steep) * between
            canvas.paint(window, cover, (0.12, 0.12, 0.13), None, z)
    window = canvas.window(middle - 1.3 * scale, top, middle + 1.3 * scale, base)
    if window is None:
        return
    half = max(0.13 * scale, 0.75)
    canvas.paint(window, rectangle(window, middle - half, top, middle + half, base), wood, POLE, z)
    bar = max(0.09 * scale, 0.6)
    row = top + 0.8 * scale
    canvas.paint(
        window, rectangle(window, middle - 1.1 * scale, row - bar, middle + 1.1 * scale, row + bar), wood, POLE, z
    )


def car(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float, oncoming: bool) -> None:
    """A car on the road, from behind or from the front."""
    paint = choose(rng, PAINT)
    camera = canvas.camera
    scale, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    wide, high = 1.85 * scale, 1.5 * scale
    shadow(canvas, middle, base, 0.62 * wide, 0.2 * scale, 0.6)
    window = canvas.window(middle - wide / 2, base - high, middle + wide / 2, base)
    if window is None:
        return
    for side in (-1, 1):
        at = middle + side * 0.36 * wide
        wheel = rectangle(window, at - 0.11 * wide, base - 0.45 * scale, at + 0.11 * wide, base)
        canvas.paint(window, wheel, (0.06, 0.06, 0.07), CAR, z)
    up = clip01((base - window.y) / high)
    half = wide / 2 * np.where(up < 0.58, 1.0, 1.0 - 0.75 * (up - 0.58))
    body = rectangle(window, middle - half, base - high, middle + half, base - 0.22 * scale)
    tone = 0.72 + 0.45 * up + 0.1 * canvas.light.side * np.clip((window.x - middle) / wide, -1, 1)
    canvas.paint(window, body, paint * tone, CAR, z)
    pane = rectangle(window, middle - 0.78 * half, base - 0.93 * high, middle + 0.78 * half, base - 0.60 * high)
    canvas.paint(window, pane, (0.14, 0.18, 0.22), CAR, z)
    lights = (1.0, 0.95, 0.8) if oncoming else (0.85, 0.10, 0.08)
    for side in (-1, 1):
        at = middle + side * 0.40 * wide
        lamp = rectangle(window, at - 0.08 * wide, base - 0.55 * high, at + 0.08 * wide, base - 0.42 * high)
        canvas.paint(window, lamp, lights, CAR, z, glow=True)


def sailboat(canvas: Canvas, rng: np.random.Generator, *, x: float, z: float) -> None:
    """A boat with a mast and two sails, and its faint image in the water."""
    tack, high = (1.0, -1.0)[int(rng.integers(2))], float(rng.uniform(7, 10))
    cloth = choose(rng, ((0.96, 0.95, 0.92), (0.96, 0.95, 0.92), (0.86, 0.42, 0.28), (0.94, 0.86, 0.66)))
    hull = choose(rng, ((0.92, 0.92, 0.90), (0.20, 0.28, 0.44), (0.48, 0.28, 0.18)))
    camera = canvas.camera
    scale, base, middle = camera.scale(z), camera.row(z), camera.column(x, z)
    top, deck = base - high * scale, base - 0.8 * scale
    window = canvas.window(middle - 4 * scale, top, middle + 4 * scale, base + 0.5 * high * scale)
    if window is None:
        return
    image = rectangle(window, middle - 1.5 * scale, base, middle + 1.5 * scale, base + 0.5 * high * scale)
    fade = 0.3 * clip01(1 - (window.y - base) / (0.5 * high * scale))
    canvas.paint(window, image * fade, cloth, None, z)
    t = clip01((window.y - deck) / max(base - deck, 1e-3))
    sides = 3.0 * scale * (1 - 0.25 * t)
    canvas.paint(window, rectangle(window, middle - sides, deck, middle + sides, base), hull, BOAT, z)
    down = clip01((window.y - top) / max(deck - top, 1e-3))
    for reach, near, foot in ((2.6, 0.18, 0.96), (-2.0, 0.18, 0.90)):
        edge, mast = middle + tack * reach * scale * down, middle + tack * math.copysign(near, reach) * scale
        left, right = np.minimum(edge, mast), np.maximum(edge, mast)
        sail = rectangle(window, left, top + 0.06 * (deck - top), right, top + foot * (deck - top))
        shade = 1 - 0.16 * clip01((window.x - middle) * tack / (3 * scale))
        canvas.paint(window, sail, cloth * shade, BOAT, z)
    half = max(0.07 * scale, 0.6)
    canvas.paint(window, rectangle(window, middle - half, top, middle + half, base), (0.30, 0.24, 0.20), BOAT, z)
