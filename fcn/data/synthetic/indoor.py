"""Procedural rooms with exact depth: a box, its furniture, and a camera that looks slightly down. Nothing to download.

A room is seen by casting a ray through each pixel and taking the nearest of a handful of boxes. Its depth, its labels
and the direction of gravity are therefore exact, and :mod:`fcn.datasets.hha` can be judged by them. The colours are
drawn by chance and say next to nothing of the class: what a room teaches is shape. ``write_nyud`` writes rooms in the
layout of NYUDv2, so that the code for real data can be followed without them.

The labels are some of NYUDv2's 40 classes, 0..39, void 255 along outlines, where depth jumps.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from fcn.data.hha import Camera, hha
from fcn.data.nyud import CLASSES
from fcn.data.sample import VOID

Floats = NDArray[np.float64]
Span = tuple[float, float]


class Room(NamedTuple):
    """``image`` uint8, H x W x 3, RGB; ``depth`` metres along the camera's axis, H x W; ``labels`` uint8, H x W, void
    255; the ``camera``; ``gravity`` in its coordinates, of length 1, and its ``height`` above the floor, metres."""

    image: NDArray[np.uint8]
    depth: Floats
    labels: NDArray[np.uint8]
    camera: Camera
    gravity: Floats
    height: float


class _Box(NamedTuple):
    """An axis-aligned box in the room: x to the right, y down from the camera, z ahead; metres."""

    label: str
    x: Span
    y: Span
    z: Span


def room(seed: int = 0, size: tuple[int, int] = (96, 128), pitch: float | None = None, roll: float = 0.0) -> Room:
    """A room that follows from ``seed`` alone, seen at ``size`` (height, width).

    The camera looks down by ``pitch`` degrees, by default something between 2 and 20, and is turned by ``roll``.
    """
    rng = np.random.default_rng(seed)
    drawn = float(rng.uniform(2, 20))
    height = float(rng.uniform(1.2, 1.6))
    boxes = _furnish(rng, height)
    camera = Camera(0.9 * size[1], 0.9 * size[1], (size[1] - 1) / 2, (size[0] - 1) / 2)
    turn = _turned(drawn if pitch is None else pitch, roll)
    x, y = camera.rays(size)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ turn.T
    depth, which, normal = _nearest(rays, boxes)
    image = _paint(rng, rays * depth[..., None], which, normal, boxes)
    labels = np.array([CLASSES.index(box.label) for box in boxes], np.uint8)[which]
    return Room(image, depth, _outlined(labels, which), camera, turn.T @ (0.0, 1.0, 0.0), height)


def _turned(pitch: float, roll: float) -> Floats:
    """The rotation from the camera's coordinates to the room's: first about its axis, then its nose down."""
    p, r = np.radians([pitch, roll])
    down = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return down @ about


def _furnish(rng: np.random.Generator, height: float) -> list[_Box]:
    """Floor, ceiling, walls, and what stands there and hangs on the wall behind."""
    left, right, back = -rng.uniform(1.4, 2.4), rng.uniform(1.4, 2.4), rng.uniform(3.4, 5.0)
    top = height - rng.uniform(2.4, 2.8)
    far, thick = 12.0, 0.1
    boxes = [
        _Box("floor", (-far, far), (height, height + thick), (-far, far)),
        _Box("ceiling", (-far, far), (top - thick, top), (-far, far)),
        _Box("wall", (-far, far), (top, height), (back, back + thick)),
        _Box("wall", (left - thick, left), (top, height), (-far, back)),
        _Box("wall", (right, right + thick), (top, height), (-far, back)),
    ]

    def standing(label: str, x: float, z: float, wide: float, deep: float, high: float) -> None:
        boxes.append(_Box(label, (x, x + wide), (height - high, height), (z, z + deep)))

    def hanging(label: str, wide: float, low: float, high: float) -> None:
        x = rng.uniform(left, right - wide)
        boxes.append(_Box(label, (x, x + wide), (height - high, height - low), (back - 0.04, back)))

    # The bed along one wall, the cabinet in the far corner of the other, the table and its chair between.
    bed, side = rng.uniform(0.9, 1.3), rng.random() < 0.5
    at = left if side else right - bed
    standing("bed", at, back - 2.0, bed, 2.0, rng.uniform(0.45, 0.6))
    mattress = boxes[-1].y[0]
    boxes.append(_Box("pillow", (at + 0.2, at + bed - 0.2), (mattress - 0.12, mattress), (back - 0.5, back - 0.05)))
    wide = rng.uniform(0.6, 1.0)
    standing("cabinet", right - wide if side else left, back - 0.5, wide, 0.5, rng.uniform(1.0, 1.9))
    x, z = rng.uniform(-0.6, 0.1) + (0.5 if side else -0.5), rng.uniform(1.9, 2.5)
    board = rng.uniform(0.68, 0.78)
    boxes.append(_Box("table", (x, x + 0.9), (height - board, height - board + 0.05), (z, z + 0.6)))
    for leg in ((x, z), (x + 0.84, z), (x, z + 0.54), (x + 0.84, z + 0.54)):
        standing("table", *leg, 0.06, 0.06, board)
    if rng.random() < 0.7:
        boxes.append(_Box("box", (x + 0.3, x + 0.6), (height - board - 0.25, height - board), (z + 0.2, z + 0.45)))
    hanging("picture", rng.uniform(0.4, 0.8), 1.4, 1.9)
    hanging("window", rng.uniform(0.7, 1.2), 1.0, 2.1) if rng.random() < 0.5 else hanging("door", 0.85, 0.0, 2.0)
    mat = rng.uniform(left, 0)
    boxes.append(_Box("floor mat", (mat, mat + 1.2), (height - 0.01, height), (1.6, 2.6)))
    return boxes


def _nearest(rays: Floats, boxes: Sequence[_Box]) -> tuple[Floats, NDArray[np.intp], Floats]:
    """For each ray, of length 1 along the camera's axis: the depth, the box it meets first, and its side's normal.

    A ray is inside a box between the last of the three pairs of sides it enters and the first that it leaves.
    """
    inverse = 1 / np.where(rays == 0, 1e-12, rays)
    depth = np.full(rays.shape[:2], np.inf)
    which, normal = np.zeros(rays.shape[:2], np.intp), np.zeros_like(rays)
    for number, box in enumerate(boxes):
        sides = [(low * inverse[..., i], high * inverse[..., i]) for i, (low, high) in enumerate(box[1:])]
        enters = [np.minimum(*pair) for pair in sides]
        enter = np.maximum(np.maximum(enters[0], enters[1]), enters[2])
        leave = np.minimum(np.minimum(*(np.maximum(*pair) for pair in sides[:2])), np.maximum(*sides[2]))
        seen = (enter > 0.05) & (enter < leave) & (enter < depth)
        depth[seen], which[seen] = enter[seen], number
        axis = np.stack([one[seen] for one in enters], -1).argmax(-1)
        normal[seen] = -np.sign(rays[seen]) * np.eye(3)[axis]
    return depth, which, normal


def _paint(
    rng: np.random.Generator, points: Floats, which: NDArray[np.intp], normal: Floats, boxes: Sequence[_Box]
) -> NDArray[np.uint8]:
    """A photo: a colour a box (walls share one), lit from above and in front, with stripes and noise."""
    colours = rng.uniform(0.25, 0.85, (len(boxes), 3))
    colours[3:5] = colours[2]
    light = np.array([0.3, -0.75, -0.6])
    shade = 0.62 + 0.38 * (normal @ light / np.linalg.norm(light))
    pitch = rng.uniform(4, 30, len(boxes))[which]  # stripes a metre, of any direction
    stripes = np.sin(pitch * np.einsum("hwc,hwc->hw", points, rng.normal(size=(len(boxes), 3))[which]))
    colour = colours[which] * shade[..., None] + 0.03 * stripes[..., None] + rng.normal(0, 0.015, normal.shape)
    return (255 * colour.clip(0, 1)).astype(np.uint8)


def _outlined(labels: NDArray[np.uint8], which: NDArray[np.intp]) -> NDArray[np.uint8]:
    """The labels, void where a pixel's right or lower neighbour shows another box of another label."""
    outlined = labels.copy()
    for axis in (0, 1):
        here = (slice(None),) * axis + (slice(None, -1),)
        there = (slice(None),) * axis + (slice(1, None),)
        outlined[here][(which[here] != which[there]) & (labels[here] != labels[there])] = VOID
    return outlined


def write_nyud(root: str | Path, rooms: Sequence[Room], first: int = 1) -> list[str]:
    """Write rooms below ``root`` in the layout of NYUDv2, numbered from ``first``; returns their numbers as names.

    Depth is stored in millimetres, HHA is computed from the exact depth, camera and gravity.
    """
    names = [str(first + i) for i in range(len(rooms))]
    for part in ("data/images", "data/hha", "data/depth", "segmentation"):
        (Path(root) / part).mkdir(parents=True, exist_ok=True)
    for name, one in zip(names, rooms, strict=True):
        pictures: dict[str, NDArray[Any]] = {
            "images": one.image,
            "hha": hha(one.depth, one.camera, one.gravity),
            "depth": np.rint(1000 * one.depth).astype(np.uint16),
        }
        for part, picture in pictures.items():
            Image.fromarray(picture).save(Path(root) / "data" / part / f"img_{name}.png")
        stored = np.where(one.labels == VOID, 0, one.labels + 1).astype(np.uint8)
        scipy.io.savemat(Path(root) / "segmentation" / f"img_{name}.mat", {"segmentation": stored})
    return names
