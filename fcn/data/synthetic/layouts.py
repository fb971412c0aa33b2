"""The six kinds of procedural scene: what lies where, by chance."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from fcn.data.synthetic import objects, terrain
from fcn.data.synthetic.canvas import Array, Canvas, clip01, rgb
from fcn.data.synthetic.palette import AUTUMN, GRASS, GROUND, LEAVES, ROAD, STUBBLE, Colour, choose

Item = tuple[float, Callable[[], None]]


def _draw(items: list[Item]) -> None:
    """Far things first."""
    for _, draw in sorted(items, key=lambda item: -item[0]):
        draw()


def _across(canvas: Canvas, share: float, z: float) -> float:
    """The x in metres of what is seen at a share of the image's width, ``z`` ahead."""
    return (share * canvas.width - canvas.camera.centre) * z / canvas.camera.focal


def _foliage(rng: np.random.Generator) -> tuple[tuple[Colour, ...], Array]:
    """The colours of the season's leaves and its grass."""
    autumn = rng.random() < 0.22
    return (AUTUMN if autumn else LEAVES), choose(rng, STUBBLE if autumn else GRASS, 0.03)


def _tree(
    canvas: Canvas,
    rng: np.random.Generator,
    leaves: tuple[Colour, ...],
    *,
    x: float,
    z: float,
    firs: float = 0.25,
    high: tuple[float, float] = (5.0, 10.0),
) -> Item:
    fir = rng.random() < firs
    leaf = choose(rng, ((0.14, 0.28, 0.18), (0.18, 0.32, 0.18), (0.12, 0.26, 0.22)) if fir else leaves, 0.03)
    paint = objects.conifer if fir else objects.leafy
    return z, partial(paint, canvas, rng, x=x, z=z, high=float(rng.uniform(*high)) * (1.15 if fir else 1.0), leaf=leaf)


def _mountains(canvas: Canvas, rng: np.random.Generator, count: int, peak: float) -> None:
    rock = choose(rng, ((0.40, 0.40, 0.44), (0.44, 0.38, 0.36), (0.34, 0.40, 0.38)))
    snow = float(rng.uniform(0.35, 0.6)) if rng.random() < 0.5 and peak > 0.2 else 0.0
    for i in range(count):
        terrain.ridge(canvas, rng, peak=peak * (1 - 0.28 * i), depth=3400 / 1.8**i, rock=rock * (1 - 0.08 * i), snow=snow)
        snow = 0.0  # on the farthest and highest only


def _coast(canvas: Canvas, rng: np.random.Generator) -> None:
    leaves, grass = _foliage(rng)
    if rng.random() < 0.55:
        _mountains(canvas, rng, 1, float(rng.uniform(0.06, 0.16)))
    side, near, slope = float(rng.choice([-1.0, 1.0])), float(rng.uniform(1.5, 6)), float(rng.uniform(0.05, 0.6))
    rough, shift = float(rng.uniform(0.3, 0.8)), float(rng.uniform(0, 60))
    items: list[Item] = []
    # The shore runs away to one side: on the other of the line x = near - slope (z - 8) lies water.
    terrain.ground(canvas, rng, grass, flowers=25)
    _, z, x = terrain.below_horizon(canvas)
    size = canvas.camera.focal / z
    wobble = (canvas.noise.line(z[:, 0] / 9, octaves=3, shift=shift)[:, None] - 0.5) * 7
    out = side * x - (near - slope * (z - 8)) + wobble  # metres beyond the water's edge
    inland = out / np.sqrt(1 + slope**2) * size
    terrain.strip(canvas, clip01(inland + 4.0 * size + 0.5), (0.82, 0.74, 0.56), GROUND)
    terrain.strip(canvas, clip01(inland + 1.2 * size + 0.5), (0.64, 0.56, 0.42), GROUND)
    terrain.water(canvas, rng, clip01(inland + 0.5), rough)
    foam = clip01(1 - np.abs(inland - 0.5 * size) / np.maximum(0.45 * size, 0.6))
    terrain.strip(canvas, foam * np.clip(size / 2, 0, 0.85), (0.95, 0.96, 0.96), None)
    for _ in range(rng.integers(1, 6)):
        z0 = float(rng.uniform(22, 80))
        x0 = side * (near - slope * (z0 - 8) + float(rng.uniform(4, 60)))
        items.append((z0, partial(objects.sailboat, canvas, rng, x=x0, z=z0)))
    for _ in range(rng.integers(3, 9)):
        z0, share = float(rng.uniform(10, 60)), float(rng.uniform(0, 1))
        beach, frame = near - slope * (z0 - 8) - 7, side * _across(canvas, 0.5 - 0.55 * side, z0)
        tree = _tree(canvas, rng, leaves, x=side * (frame + share * (beach - frame)), z=z0, firs=0.4)
        if beach > frame:
            items.append(tree)
    if rng.random() < 0.45:
        z0 = float(rng.uniform(40, 70))
        items.append((z0, partial(objects.lighthouse, canvas, rng, x=side * (near - slope * (z0 - 8) - 9), z=z0)))
    elif rng.random() < 0.5:
        z0 = float(rng.uniform(30, 50))
        items.append((z0, partial(objects.house, canvas, rng, x=side * (near - slope * (z0 - 8) - 12), z=z0)))
    _draw(items)


def _lake(canvas: Canvas, rng: np.random.Generator) -> None:
    leaves, grass = _foliage(rng)
    _mountains(canvas, rng, int(rng.integers(1, 4)), float(rng.uniform(0.16, 0.34)))
    leaf = choose(rng, leaves)
    terrain.treeline(canvas, rng, height=float(rng.uniform(12, 26)), depth=260, leaf=leaf * np.float32(0.8))
    terrain.ground(canvas, rng, grass, flowers=int(rng.integers(0, 60)))
    near, tilt, shift = float(rng.uniform(11, 20)), float(rng.uniform(-0.35, 0.35)), float(rng.uniform(0, 60))
    window, _, _ = terrain.below_horizon(canvas)
    bay = canvas.noise.line(window.x[0] / canvas.height * 2.2, octaves=3, shift=shift)[None, :] - 0.5
    shore = canvas.camera.row(near) + canvas.height * (0.10 * bay + tilt * (window.x / canvas.width - 0.5))
    far = canvas.camera.row(240)
    mask = clip01(shore - window.y + 0.5) * clip01(window.y - far + 0.5)
    terrain.water(canvas, rng, mask, float(rng.uniform(0.1, 0.4)))
    items: list[Item] = []
    for _ in range(rng.integers(0, 4)):
        z0 = float(rng.uniform(26, 90))
        items.append(
            (z0, partial(objects.sailboat, canvas, rng, x=_across(canvas, float(rng.uniform(0.1, 0.9)), z0), z=z0))
        )
    for _ in range(rng.integers(2, 6)):
        z0 = float(rng.uniform(11, 18))
        edge = float(rng.uniform(-0.05, 0.3))
        items.append(_tree(canvas, rng, leaves, x=_across(canvas, edge if rng.random() < 0.5 else 1 - edge, z0), z=z0))
    _draw(items)


def _country(canvas: Canvas, rng: np.random.Generator) -> None:
    leaves, grass = _foliage(rng)
    if rng.random() < 0.4:
        _mountains(canvas, rng, 1, float(rng.uniform(0.06, 0.16)))
    for i in range(2):
        terrain.hill(
            canvas, rng, peak=0.16 / (i + 1), depth=900 / (i + 1), grass=grass * np.float32(rng.uniform(0.85, 1.15))
        )
    terrain.treeline(canvas, rng, height=float(rng.uniform(8, 16)), depth=220, leaf=choose(rng, leaves) * np.float32(0.85))
    furrows = rng.random() < 0.45
    terrain.ground(canvas, rng, grass, furrows=furrows, flowers=0 if furrows else int(rng.integers(0, 90)))
    half, bend = float(rng.uniform(2.4, 3.4)), float(rng.uniform(-22, 22))
    paved = rng.random() < 0.7
    items: list[Item] = []
    if paved:
        terrain.road(canvas, rng, half=half, bend=bend)
        for _ in range(rng.integers(0, 4)):
            z0, lane = float(rng.uniform(9, 40)), float(rng.choice([-1.0, 1.0]))
            x0 = bend * (z0 / 100) ** 2 + lane * half / 2
            items.append((z0, partial(objects.car, canvas, rng, x=x0, z=z0, oncoming=lane < 0)))
        if rng.random() < 0.75:
            side, first = float(rng.choice([-1.0, 1.0])), float(rng.uniform(9, 14))
            for k in range(6):
                z0 = first + 17 * k
                x0 = side * (half + 2.2) + bend * (z0 / 100) ** 2
                items.append(
                    (z0, partial(objects.wire_pole, canvas, rng, x=x0, z=z0, following=z0 + 17 if k < 5 else None))
                )
    for _ in range(rng.integers(1, 4)):
        z0 = float(rng.uniform(26, 75))
        x0 = _across(canvas, float(rng.uniform(0, 1)), z0)
        x0 += math.copysign(half + 9, x0) if paved and abs(x0) < half + 9 else 0.0
        items.append((z0, partial(objects.house, canvas, rng, x=x0, z=z0)))
    for _ in range(rng.integers(4, 11)):
        z0 = float(rng.uniform(13, 90))
        x0 = _across(canvas, float(rng.uniform(-0.05, 1.05)), z0)
        x0 += math.copysign(half + 4, x0) if paved and abs(x0) < half + 4 else 0.0
        items.append(_tree(canvas, rng, leaves, x=x0, z=z0))
    _draw(items)


def _highland(canvas: Canvas, rng: np.random.Generator) -> None:
    leaves, grass = _foliage(rng)
    _mountains(canvas, rng, int(rng.integers(2, 4)), float(rng.uniform(0.28, 0.42)))
    terrain.hill(canvas, rng, peak=0.10, depth=700, grass=grass * np.float32(0.9))
    terrain.treeline(canvas, rng, height=22, depth=330, leaf=rgb((0.14, 0.28, 0.18)))
    terrain.ground(canvas, rng, grass, flowers=int(rng.integers(0, 80)))
    items: list[Item] = []
    for _ in range(rng.integers(5, 14)):
        z0 = float(rng.uniform(12, 100))
        place = float(rng.beta(0.7, 0.7)) * 1.1 - 0.05
        items.append(_tree(canvas, rng, leaves, x=_across(canvas, place, z0), z=z0, firs=0.85, high=(6, 11)))
    if rng.random() < 0.5:
        z0 = float(rng.uniform(24, 50))
        items.append(
            (z0, partial(objects.house, canvas, rng, x=_across(canvas, float(rng.uniform(0.2, 0.8)), z0), z=z0))
        )
    _draw(items)


def _street(canvas: Canvas, rng: np.random.Generator) -> None:
    leaves, grass = _foliage(rng)
    if rng.random() < 0.4:
        _mountains(canvas, rng, 1, float(rng.uniform(0.08, 0.18)))
    terrain.treeline(canvas, rng, height=9, depth=200, leaf=choose(rng, leaves))
    terrain.ground(canvas, rng, grass)
    half, pavement = float(rng.uniform(3.2, 4.2)), float(rng.uniform(1.8, 2.8))
    terrain.road(canvas, rng, half=half, bend=0.0, pavement=pavement)
    items: list[Item] = []
    tall = float(rng.uniform(9, 22))
    for side in (-1.0, 1.0):
        z0 = float(rng.uniform(4, 9))
        setback = half + pavement + float(rng.uniform(0.0, 2.5))
        while z0 < 150:
            deep, wide = float(rng.uniform(9, 18)), float(rng.uniform(10, 16))
            high = tall * float(rng.uniform(0.5, 1.25))
            if rng.random() > 0.12:
                x0 = side * (setback + wide / 2)
                draw = partial(objects.block, canvas, rng, x=x0, z=z0, wide=wide, deep=deep, high=high)
                items.append((z0 + deep, draw))
            z0 += deep + (float(rng.uniform(0, 6)) if rng.random() < 0.3 else 0.0)
        lamps, trees = rng.random() < 0.75, rng.random() < 0.6
        first = float(rng.uniform(8, 16))
        for k in range(6):
            z1 = first + 18 * k
            if lamps:
                items.append((z1, partial(objects.lamppost, canvas, rng, x=side * (half + 0.4), z=z1)))
            if trees:
                x1, z2 = side * (half + 0.8 * pavement), z1 + 8
                items.append(_tree(canvas, rng, leaves, x=x1, z=z2, firs=0.0, high=(4.0, 6.5)))
    for lane in (-1.0, 1.0):
        z0 = float(rng.uniform(8, 26))
        for _ in range(rng.integers(1, 4)):
            items.append((z0, partial(objects.car, canvas, rng, x=lane * half / 2, z=z0, oncoming=lane < 0)))
            z0 += float(rng.uniform(7, 22))
    _draw(items)


def _town(canvas: Canvas, rng: np.random.Generator) -> None:
    leaves, grass = _foliage(rng)
    if rng.random() < 0.4:
        _mountains(canvas, rng, 1, float(rng.uniform(0.10, 0.2)))
    items: list[Item] = []
    for _ in range(rng.integers(14, 24)):
        z0 = float(rng.uniform(190, 420))
        high = float(rng.uniform(12, 55)) * (1.6 if rng.random() < 0.15 else 1.0)
        x0 = _across(canvas, float(rng.uniform(-0.05, 1.05)), z0)
        wide = float(rng.uniform(14, 34))
        items.append((z0, partial(objects.block, canvas, rng, x=x0, z=z0, wide=wide, deep=18.0, high=high)))
    _draw(items)
    terrain.treeline(canvas, rng, height=float(rng.uniform(7, 12)), depth=150, leaf=choose(rng, leaves))
    terrain.ground(canvas, rng, grass, flowers=int(rng.integers(0, 50)))
    river = rng.random() < 0.5
    window, z, x = terrain.below_horizon(canvas)
    if river:
        near, far = float(rng.uniform(18, 30)), 135.0
        wobble = (canvas.noise.line(window.x[0] / canvas.height * 2, octaves=2, shift=3.0)[None, :] - 0.5) * 0.04
        top, bottom = canvas.camera.row(far), canvas.camera.row(near) + canvas.height * wobble
        mask = clip01(window.y - top + 0.5) * clip01(bottom - window.y + 0.5)
        terrain.water(canvas, rng, mask, float(rng.uniform(0.15, 0.4)))
    # A path that crosses in front; seen from above, its width shrinks with the square of the distance.
    path = clip01((2.0 - np.abs(z - 12.0 - 0.08 * x)) * canvas.camera.focal * canvas.camera.height / z**2 + 0.5)
    terrain.strip(canvas, path, (0.66, 0.62, 0.56), ROAD)
    items = []
    for k in range(rng.integers(1, 4)):
        z0 = 15.5 + 3.0 * k
        x0 = _across(canvas, float(rng.uniform(0, 1)), z0)
        items.append((z0, partial(objects.lamppost, canvas, rng, x=x0, z=z0, high=5.5)))
    for _ in range(rng.integers(2, 7)):
        z0 = float(rng.uniform(15.5, 22 if river else 70))
        place = float(rng.beta(0.6, 0.6)) * 1.2 - 0.1
        items.append(_tree(canvas, rng, leaves, x=_across(canvas, place, z0), z=z0, firs=0.15))
    _draw(items)


KINDS: dict[str, Callable[[Canvas, np.random.Generator], None]] = {
    "coast": _coast,
    "lake": _lake,
    "country": _country,
    "highland": _highland,
    "street": _street,
    "town": _town,
}
