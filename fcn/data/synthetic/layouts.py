"""Layouts of procedural scenes: random arrangements of terrain and objects."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from fcn.data.synthetic import objects, palette, terrain
from fcn.data.synthetic.canvas import Canvas, clip01, rgb
from fcn.data.synthetic.palette import choose


class Stage:
    """A canvas, the season, and objects to paint."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas, self.rng = canvas, canvas.rng
        autumn = self.rng.random() < 0.22
        self.leaves = "autumn" if autumn else "leaves"
        self.grass = choose(self.rng, "stubble" if autumn else "grass", 0.03)
        self.objects: list[tuple[float, Callable[[], None]]] = []

    def put(self, paint: Callable[..., None], x: float, z: float, **settings: Any) -> None:
        """Add an object that begins at ``z`` and is ``deep`` metres deep, by default 0."""
        back = z + settings.get("deep", 0.0)
        self.objects.append((back, partial(paint, self.canvas, x, z, **settings)))

    def tree(
        self, x: float, z: float, firs: float = 0.25, low: float = 5, high: float = 10
    ) -> None:
        """Add a tree between ``low`` and ``high`` metres, a fir with probability ``firs``."""
        fir = self.rng.random() < firs
        leaf = choose(self.rng, "needles" if fir else self.leaves, 0.03)
        tall = self.rng.uniform(low, high) * (1.15 if fir else 1.0)
        self.put(objects.conifer if fir else objects.leafy, x, z, high=tall, leaf=leaf)

    def paint(self) -> None:
        """Paint the objects, the farthest first."""
        for _, paint in sorted(self.objects, key=lambda item: -item[0]):
            paint()
        self.objects.clear()

    def mountains(self, low: float, high: float, ranges: int = 1, chance: float = 1) -> None:
        """Paint ranges of mountains, the first between ``low`` and ``high`` image heights tall."""
        if chance < 1 and self.rng.random() >= chance:
            return
        peak, rock = self.rng.uniform(low, high), choose(self.rng, "rock")
        snow = self.rng.uniform(0.35, 0.6) if self.rng.random() < 0.5 and peak > 0.2 else 0.0
        for i in range(ranges):
            height, shade = peak * (1 - 0.28 * i), 1 - 0.08 * i
            terrain.ridge(self.canvas, height, 3400 / 1.8**i, rock * shade, 0.0 if i else snow)

    def side(self) -> float:
        """A random side: left (-1) or right (1)."""
        return (-1.0, 1.0)[self.rng.integers(2)]

    def distances(self, low: int, high: int, near: float, far: float) -> Iterator[float]:
        """Yield ``low`` to ``high`` - 1 random distances between ``near`` and ``far``."""
        for _ in range(self.rng.integers(low, high)):
            yield self.rng.uniform(near, far)

    def across(self, share: float, z: float) -> float:
        """The x of a point at this share of the image's width, ``z`` ahead."""
        camera = self.canvas.camera
        return (share * self.canvas.width - camera.centre) * z / camera.focal


def coast(stage: Stage) -> None:
    """The sea to one side; with distance, the water's edge recedes to that side."""
    canvas, rng = stage.canvas, stage.rng
    stage.mountains(0.06, 0.16, chance=0.55)
    side, near, slope = stage.side(), rng.uniform(1.5, 6), rng.uniform(0.05, 0.6)
    rough, shift = rng.uniform(0.3, 0.8), rng.uniform(0, 60)

    def edge(z: Any) -> Any:
        return near - slope * (z - 8)  # metres to that side

    terrain.ground(canvas, stage.grass, flowers=25)
    _, zs, xs = terrain.below_horizon(canvas)
    m = canvas.camera.focal / zs
    wobble = (canvas.noise.line(zs[:, 0] / 9, 3, shift)[:, None] - 0.5) * 7
    out = (side * xs - edge(zs) + wobble) / np.sqrt(1 + slope**2) * m  # pixels beyond the edge
    terrain.strip(canvas, clip01(out + 4.0 * m + 0.5), (0.82, 0.74, 0.56), palette.GROUND)
    terrain.strip(canvas, clip01(out + 1.2 * m + 0.5), (0.64, 0.56, 0.42), palette.GROUND)
    terrain.water(canvas, clip01(out + 0.5), rough)
    foam = clip01(1 - np.abs(out - 0.5 * m) / np.maximum(0.45 * m, 0.6))
    terrain.strip(canvas, foam * np.clip(m / 2, 0, 0.85), (0.95, 0.96, 0.96), None)
    for z in stage.distances(1, 6, 22, 80):
        stage.put(objects.sailboat, side * (edge(z) + rng.uniform(4, 60)), z)
    for z in stage.distances(3, 9, 10, 60):
        share = rng.uniform(0, 1)
        beach, frame = edge(z) - 7, side * stage.across(0.5 - 0.55 * side, z)
        stage.tree(side * (frame + share * (beach - frame)), z, firs=0.4)
        if beach <= frame:  # out of view
            stage.objects.pop()
    if rng.random() < 0.45:
        z = rng.uniform(40, 70)
        stage.put(objects.lighthouse, side * (edge(z) - 9), z)
    elif rng.random() < 0.5:
        z = rng.uniform(30, 50)
        stage.put(objects.house, side * (edge(z) - 12), z)


def lake(stage: Stage) -> None:
    """A lake in front of mountains, with trees at its near shore."""
    canvas, rng, camera = stage.canvas, stage.rng, stage.canvas.camera
    stage.mountains(0.16, 0.34, ranges=int(rng.integers(1, 4)))
    leaf = choose(rng, stage.leaves) * 0.8
    terrain.treeline(canvas, rng.uniform(12, 26), 260, leaf)
    terrain.ground(canvas, stage.grass, flowers=int(rng.integers(0, 60)))
    near, tilt, shift = rng.uniform(11, 20), rng.uniform(-0.35, 0.35), rng.uniform(0, 60)
    brush, _, _ = terrain.below_horizon(canvas)
    bay = canvas.noise.line(canvas.columns / canvas.height * 2.2, 3, shift) - 0.5
    shore = 0.10 * bay + tilt * (brush.x / canvas.width - 0.5)
    shore = camera.row(near) + canvas.height * shore
    mask = clip01(shore - brush.y + 0.5) * clip01(brush.y - camera.row(240) + 0.5)
    terrain.water(canvas, mask, rng.uniform(0.1, 0.4))
    for z in stage.distances(0, 4, 26, 90):
        stage.put(objects.sailboat, stage.across(rng.uniform(0.1, 0.9), z), z)
    for z in stage.distances(2, 6, 11, 18):
        share = rng.uniform(-0.05, 0.3)
        stage.tree(stage.across(share if rng.random() < 0.5 else 1 - share, z), z)


def country(stage: Stage) -> None:
    """Hills, a meadow or a field, houses, and perhaps a road with cars and wires."""
    canvas, rng, grass = stage.canvas, stage.rng, stage.grass
    stage.mountains(0.06, 0.16, chance=0.4)
    for i in (1, 2):
        terrain.hill(canvas, 0.16 / i, 900 / i, grass * rng.uniform(0.85, 1.15))
    height, leaf = rng.uniform(8, 16), choose(rng, stage.leaves) * 0.85
    terrain.treeline(canvas, height, 220, leaf)
    furrows = rng.random() < 0.45
    terrain.ground(canvas, grass, furrows, flowers=0 if furrows else int(rng.integers(0, 90)))
    half, bend = rng.uniform(2.4, 3.4), rng.uniform(-22, 22)
    paved = rng.random() < 0.7
    if paved:
        terrain.road(canvas, half, bend)
        for z in stage.distances(0, 4, 9, 40):
            lane = stage.side()
            x = bend * (z / 100) ** 2 + lane * half / 2
            stage.put(objects.car, x, z, oncoming=lane < 0)
        if rng.random() < 0.75:
            side, first = stage.side(), rng.uniform(9, 14)
            for k in range(6):
                z = first + 17 * k
                x = side * (half + 2.2) + bend * (z / 100) ** 2
                stage.put(objects.wire_pole, x, z, following=z + 17 if k < 5 else None)

    def off_road(x: float, gap: float) -> float:
        return x + (math.copysign(half + gap, x) if paved and abs(x) < half + gap else 0.0)

    for z in stage.distances(1, 4, 26, 75):
        stage.put(objects.house, off_road(stage.across(rng.uniform(0, 1), z), 9), z)
    for z in stage.distances(4, 11, 13, 90):
        stage.tree(off_road(stage.across(rng.uniform(-0.05, 1.05), z), 4), z)


def highland(stage: Stage) -> None:
    """High mountains and firs."""
    canvas, rng = stage.canvas, stage.rng
    stage.mountains(0.28, 0.42, ranges=int(rng.integers(2, 4)))
    terrain.hill(canvas, 0.10, 700, stage.grass * 0.9)
    terrain.treeline(canvas, 22, 330, rgb((0.14, 0.28, 0.18)))
    terrain.ground(canvas, stage.grass, flowers=int(rng.integers(0, 80)))
    for z in stage.distances(5, 14, 12, 100):
        share = rng.beta(0.7, 0.7) * 1.1 - 0.05
        stage.tree(stage.across(share, z), z, firs=0.85, low=6, high=11)
    if rng.random() < 0.5:
        z = rng.uniform(24, 50)
        stage.put(objects.house, stage.across(rng.uniform(0.2, 0.8), z), z)


def street(stage: Stage) -> None:
    """A straight street between two rows of buildings, with lamps, trees and cars."""
    canvas, rng = stage.canvas, stage.rng
    stage.mountains(0.08, 0.18, chance=0.4)
    terrain.treeline(canvas, 9, 200, choose(rng, stage.leaves))
    terrain.ground(canvas, stage.grass)
    half, pavement = rng.uniform(3.2, 4.2), rng.uniform(1.8, 2.8)
    terrain.road(canvas, half, bend=0.0, pavement=pavement)
    tall = rng.uniform(9, 22)
    for side in (-1.0, 1.0):
        z, setback = rng.uniform(4, 9), half + pavement + rng.uniform(0.0, 2.5)
        while z < 150:
            deep, wide = rng.uniform(9, 18), rng.uniform(10, 16)
            high = tall * rng.uniform(0.5, 1.25)
            if rng.random() > 0.12:
                x = side * (setback + wide / 2)
                stage.put(objects.block, x, z, wide=wide, deep=deep, high=high)
            z += deep + (rng.uniform(0, 6) if rng.random() < 0.3 else 0.0)
        lamps, trees, first = rng.random() < 0.75, rng.random() < 0.6, rng.uniform(8, 16)
        for z in (first + 18 * k for k in range(6)):
            if lamps:
                stage.put(objects.lamppost, side * (half + 0.4), z)
            if trees:
                stage.tree(side * (half + 0.8 * pavement), z + 8, firs=0.0, low=4.0, high=6.5)
    for lane in (-1.0, 1.0):
        z = rng.uniform(8, 26)
        for _ in range(rng.integers(1, 4)):
            stage.put(objects.car, lane * half / 2, z, oncoming=lane < 0)
            z += rng.uniform(7, 22)


def town(stage: Stage) -> None:
    """A skyline behind a park, and perhaps a river."""
    canvas, rng, camera = stage.canvas, stage.rng, stage.canvas.camera
    stage.mountains(0.10, 0.2, chance=0.4)
    for z in stage.distances(14, 24, 190, 420):
        high = rng.uniform(12, 55) * (1.6 if rng.random() < 0.15 else 1.0)
        x, wide = stage.across(rng.uniform(-0.05, 1.05), z), rng.uniform(14, 34)
        stage.put(objects.block, x, z, wide=wide, deep=18.0, high=high)
    stage.paint()
    height, leaf = rng.uniform(7, 12), choose(rng, stage.leaves)
    terrain.treeline(canvas, height, 150, leaf)
    terrain.ground(canvas, stage.grass, flowers=int(rng.integers(0, 50)))
    river = rng.random() < 0.5
    brush, zs, xs = terrain.below_horizon(canvas)
    if river:
        near = camera.row(rng.uniform(18, 30))
        wobble = (canvas.noise.line(canvas.columns / canvas.height * 2, 2, 3.0) - 0.5) * 0.04
        bank = near + canvas.height * wobble
        mask = clip01(brush.y - camera.row(135.0) + 0.5) * clip01(bank - brush.y + 0.5)
        terrain.water(canvas, mask, rng.uniform(0.15, 0.4))
    # A path across; foreshortened, its width shrinks with the square of the distance.
    path = (2.0 - np.abs(zs - 12.0 - 0.08 * xs)) * camera.focal * camera.height / zs**2
    terrain.strip(canvas, clip01(path + 0.5), (0.66, 0.62, 0.56), palette.ROAD)
    for k in range(rng.integers(1, 4)):
        z = 15.5 + 3.0 * k
        stage.put(objects.lamppost, stage.across(rng.uniform(0, 1), z), z, high=5.5)
    for z in stage.distances(2, 7, 15.5, 22 if river else 70):
        share = rng.beta(0.6, 0.6) * 1.2 - 0.1
        stage.tree(stage.across(share, z), z, firs=0.15)


LAYOUTS = {f.__name__: f for f in (coast, lake, country, highland, street, town)}
