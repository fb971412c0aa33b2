"""Procedural rooms with exact depth: a box, its furniture, and a camera that looks slightly down.

A ray through each pixel finds the nearest of a few boxes. Depth, labels and the direction of
gravity are therefore exact and serve as ground truth for :mod:`fcn.data.hha`. Colours are random
and say next to nothing about the class: a net must learn from shape. Labels are some of NYUDv2's
40 classes, 0..39, with void 255 along outlines, where depth jumps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from fcn.data.hha import Camera, Floats, hha
from fcn.data.nyud import CLASSES
from fcn.data.sample import VOID
from fcn.data.synthetic.canvas import Rng

Indices = NDArray[np.intp]
Labels = NDArray[np.uint8]
Span = tuple[float, float]
Box = tuple[str, Span, Span, Span]  # label; x to the right, y down, z ahead; metres


class Room(NamedTuple):
    """Image (uint8, H x W x 3, RGB), depth along the camera's axis and labels (H x W, void 255).

    ``gravity`` is a unit vector in camera coordinates, ``height`` the camera's; lengths in metres.
    """

    image: NDArray[np.uint8]
    depth: Floats
    labels: Labels
    camera: Camera
    gravity: Floats
    height: float


def room(
    seed: int = 0,
    size: tuple[int, int] = (96, 128),
    pitch: float | None = None,
    roll: float = 0.0,
) -> Room:
    """A random room; ``pitch``, 2 to 20 by default, and ``roll`` of the camera are in degrees."""
    rng = np.random.default_rng(seed)
    drawn, height = rng.uniform(2, 20), rng.uniform(1.2, 1.6)
    boxes = _furnish(rng, height)
    camera = Camera(0.9 * size[1], 0.9 * size[1], (size[1] - 1) / 2, (size[0] - 1) / 2)
    rotation = _rotation(drawn if pitch is None else pitch, roll)
    x, y = camera.rays(size)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ rotation.T
    depth, hit, normal = _nearest(rays, boxes)
    image = _paint(rng, len(boxes), rays * depth[..., None], hit, normal)
    labels = np.array([CLASSES.index(label) for label, *_ in boxes], np.uint8)[hit]
    return Room(
        image,
        depth,
        _outlined(labels, hit),
        camera,
        rotation.T @ (0.0, 1.0, 0.0),
        height,
    )


def _rotation(pitch: float, roll: float) -> Floats:
    """Rotation from camera to room coordinates: first the roll, then the pitch; degrees."""
    p, r = np.radians([pitch, roll])
    down = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    return down @ [[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]]


def _furnish(rng: Rng, height: float) -> list[Box]:
    """Floor, ceiling, walls, furniture, and what hangs on the wall at the back."""
    left, right, back = (
        -rng.uniform(1.4, 2.4),
        rng.uniform(1.4, 2.4),
        rng.uniform(3.4, 5.0),
    )
    top = height - rng.uniform(2.4, 2.8)
    far, thick = 12.0, 0.1
    boxes = [
        ("floor", (-far, far), (height, height + thick), (-far, far)),
        ("ceiling", (-far, far), (top - thick, top), (-far, far)),
        ("wall", (-far, far), (top, height), (back, back + thick)),
        ("wall", (left - thick, left), (top, height), (-far, back)),
        ("wall", (right, right + thick), (top, height), (-far, back)),
    ]

    def stand(
        label: str, x: float, z: float, wide: float, deep: float, high: float
    ) -> None:
        boxes.append((label, (x, x + wide), (height - high, height), (z, z + deep)))

    def hang(label: str, wide: float, low: float, high: float) -> None:
        x = rng.uniform(left, right - wide)
        boxes.append(
            (label, (x, x + wide), (height - high, height - low), (back - 0.04, back))
        )

    # The bed is along one wall, the cabinet in the far corner of the other, the table between them.
    bed, bed_left = rng.uniform(0.9, 1.3), rng.random() < 0.5
    x = left if bed_left else right - bed
    stand("bed", x, back - 2.0, bed, 2.0, rng.uniform(0.45, 0.6))
    y = boxes[-1][2][0]
    boxes.append(
        ("pillow", (x + 0.2, x + bed - 0.2), (y - 0.12, y), (back - 0.5, back - 0.05))
    )
    wide = rng.uniform(0.6, 1.0)
    x = right - wide if bed_left else left
    stand("cabinet", x, back - 0.5, wide, 0.5, rng.uniform(1.0, 1.9))
    x, z = rng.uniform(-0.6, 0.1) + (0.5 if bed_left else -0.5), rng.uniform(1.9, 2.5)
    board = rng.uniform(0.68, 0.78)
    y = height - board
    boxes.append(("table", (x, x + 0.9), (y, y + 0.05), (z, z + 0.6)))
    for leg in ((x, z), (x + 0.84, z), (x, z + 0.54), (x + 0.84, z + 0.54)):
        stand("table", *leg, 0.06, 0.06, board)
    if rng.random() < 0.7:
        boxes.append(("box", (x + 0.3, x + 0.6), (y - 0.25, y), (z + 0.2, z + 0.45)))
    hang("picture", rng.uniform(0.4, 0.8), 1.4, 1.9)
    if rng.random() < 0.5:
        hang("window", rng.uniform(0.7, 1.2), 1.0, 2.1)
    else:
        hang("door", 0.85, 0.0, 2.0)
    stand("floor mat", rng.uniform(left, 0), 1.6, 1.2, 1.0, 0.01)
    return boxes


def _nearest(rays: Floats, boxes: Sequence[Box]) -> tuple[Floats, Indices, Floats]:
    """For each ray, of length 1 along the camera's axis: depth, index of the box hit, normal there.

    A ray is inside a box between the last pair of sides it enters and the first that it leaves.
    """
    inverse = 1 / np.where(rays == 0, 1e-12, rays)
    depth = np.full(rays.shape[:2], np.inf)
    hit, normal = np.zeros(rays.shape[:2], np.intp), np.zeros_like(rays)
    for number, (_, *spans) in enumerate(boxes):
        low, high = np.array(spans).T
        sides = np.stack([low * inverse, high * inverse])
        enters, leaves = sides.min(0), sides.max(0)
        enter, leave = enters.max(-1), leaves.min(-1)
        seen = (enter > 0.05) & (enter < leave) & (enter < depth)
        depth[seen], hit[seen] = enter[seen], number
        normal[seen] = -np.sign(rays[seen]) * np.eye(3)[enters[seen].argmax(-1)]
    return depth, hit, normal


def _paint(
    rng: Rng, count: int, points: Floats, hit: Indices, normal: Floats
) -> Labels:
    """Random colours for ``count`` boxes, one for all walls, lit from above; stripes, noise."""
    colours = rng.uniform(0.25, 0.85, (count, 3))
    colours[3:5] = colours[2]
    light = np.array([0.3, -0.75, -0.6])
    shade = 0.62 + 0.38 * (normal @ light / np.linalg.norm(light))
    pitch = rng.uniform(4, 30, count)[hit]  # stripes per metre, in any direction
    stripes = np.sin(
        pitch * np.einsum("hwc,hwc->hw", points, rng.normal(size=(count, 3))[hit])
    )
    colour = colours[hit] * shade[..., None] + 0.03 * stripes[..., None]
    return (255 * (colour + rng.normal(0, 0.015, normal.shape)).clip(0, 1)).astype(
        np.uint8
    )


def _outlined(labels: Labels, hit: Indices) -> Labels:
    """The labels, void where the right or lower neighbour shows another box of another label."""
    outlined = labels.copy()
    for here, there in (np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:]):
        outlined[here][(hit[here] != hit[there]) & (labels[here] != labels[there])] = (
            VOID
        )
    return outlined


def write_nyud(root: str | Path, rooms: Sequence[Room], first: int = 1) -> list[str]:
    """Write rooms in the layout of NYUDv2, numbered from ``first``; returns their names.

    HHA is computed from the exact depth, camera and gravity.
    """
    root = Path(root)
    for part in ("data/images", "data/hha", "data/depth", "segmentation"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(rooms, first):
        encoded = hha(one.depth, one.camera, one.gravity)
        depth = np.rint(1000 * one.depth).astype(np.uint16)  # millimetres
        for part, picture in ("images", one.image), ("hha", encoded), ("depth", depth):
            Image.fromarray(picture).save(root / "data" / part / f"img_{number}.png")
        stored = np.where(one.labels == VOID, 0, one.labels + 1).astype(np.uint8)
        scipy.io.savemat(
            root / f"segmentation/img_{number}.mat", {"segmentation": stored}
        )
    return [str(first + i) for i in range(len(rooms))]
