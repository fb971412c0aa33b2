"""Procedural outdoor scenes: photos of no place, with exact labels, that need no download.

A scene is painted from far to near on flat ground before a camera, at a moment of the day, as one of six kinds:
coast, lake, country, highland, street, town. Its labels and its depth are exact: every pixel is labelled, except that
where two classes meet, the farther one gives up a border of void, a pixel wide (two from 192 pixels on), as the
outlines of PASCAL VOC are void. Thin things, trunks, poles and masts, keep their pixels: they are what a coarse
stride loses.

A scene follows from (seed, split, index) alone and keeps its shape at any size, in the same frame; other machines may
round a colour otherwise.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcn.data.sample import VOID, ListedDataset, Sample
from fcn.data.synthetic import terrain
from fcn.data.synthetic.canvas import Array, Camera, Canvas, Light, Noise
from fcn.data.synthetic.layouts import KINDS
from fcn.data.synthetic.palette import CLASSES

GEOMETRIC = ("sky", "horizontal", "vertical")

GEOMETRY = {
    "sky": "sky",
    "mountain": "vertical",
    "water": "horizontal",
    "ground": "horizontal",
    "road": "horizontal",
    "building": "vertical",
    "tree": "vertical",
    "pole": "vertical",
    "car": "vertical",
    "boat": "vertical",
}

PALETTE = np.array(
    [
        (158, 202, 225),  # sky
        (140, 125, 150),  # mountain
        (62, 124, 166),  # water
        (178, 196, 104),  # ground
        (112, 112, 116),  # road
        (202, 132, 98),  # building
        (60, 118, 66),  # tree
        (240, 196, 60),  # pole
        (180, 44, 56),  # car
        (248, 240, 226),  # boat
    ],
    np.uint8,
)
"""A colour a class, C x 3, RGB."""

SPLITS = ("train", "val", "test")

# Zenith, horizon, sun, the tint of what it lights, clouds; visibility in metres, lamps lit, the sun's place (drawn).
_LIGHTS = {
    "day": Light((0.24, 0.47, 0.80), (0.76, 0.87, 0.95), (1.0, 0.97, 0.86), (1.00, 0.98, 0.94), (0.98, 0.98, 0.98),
                 4500, False, (0, 0)),
    "morning": Light((0.42, 0.60, 0.84), (0.98, 0.90, 0.78), (1.0, 0.93, 0.74), (1.00, 0.93, 0.82), (1.0, 0.96, 0.91),
                     3200, False, (0, 0)),
    "evening": Light((0.30, 0.37, 0.62), (0.98, 0.73, 0.50), (1.0, 0.82, 0.52), (0.95, 0.76, 0.60), (0.96, 0.68, 0.58),
                     3600, False, (0, 0)),
    "overcast": Light((0.62, 0.68, 0.74), (0.84, 0.87, 0.89), (0.9, 0.92, 0.92), (0.84, 0.87, 0.89), (0.90, 0.91, 0.92),
                      2800, False, (0, 0)),
    "dusk": Light((0.15, 0.19, 0.40), (0.86, 0.56, 0.54), (1.0, 0.66, 0.48), (0.56, 0.52, 0.62), (0.60, 0.42, 0.52),
                  3500, True, (0, 0)),
}  # fmt: skip
_MOODS = (("day", 0.42), ("morning", 0.18), ("evening", 0.18), ("overcast", 0.12), ("dusk", 0.10))
_GEOMETRY_OF_LABEL = np.full(256, VOID, np.uint8)
_GEOMETRY_OF_LABEL[: len(CLASSES)] = [GEOMETRIC.index(GEOMETRY[name]) for name in CLASSES]


class Scene(NamedTuple):
    """All that is known of a scene. ``image`` uint8, 3 x H x W, RGB; ``semantic`` and ``geometric`` int64, H x W, void
    255; ``depth`` float32, H x W, metres along the camera's axis, with 10 km for the sky; ``kind`` and ``mood``."""

    image: Tensor
    semantic: Tensor
    geometric: Tensor
    depth: Tensor
    kind: str
    mood: str


class Scenes(ListedDataset):
    """``count`` procedural scenes of ``size`` (height, width) with both heads, of 10 and 3 classes.

    Splits never share a scene. Raises ValueError for a count below 1, a size below 1 x 1, a negative seed or a split
    that does not exist.
    """

    name = "scenes"
    heads = {"semantic": CLASSES, "geometric": GEOMETRIC}

    def __init__(self, count: int, size: tuple[int, int] = (128, 128), seed: int = 0, split: str = "train") -> None:
        if count < 1:
            raise ValueError(f"Scenes(count={count}): the list of scenes is empty; ask for at least one")
        if min(size) < 1:
            raise ValueError(f"Scenes(size={size}): no such image; give a height and a width of at least 1 pixel")
        if seed < 0:
            raise ValueError(f"Scenes(seed={seed}): give a seed of 0 or more")
        if split not in SPLITS:
            raise ValueError(f"scenes have no split '{split}'; choose one of {', '.join(SPLITS)}")
        self.split, self.size, self.seed = split, size, seed
        self.names = [f"{split}-{seed}-{size[0]}x{size[1]}-{i:05d}" for i in range(count)]

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, RGB; ``labels`` for ``semantic`` and ``geometric`` int64, H x W, void 255."""
        scene = self.scene(index)
        return Sample(scene.image, {"semantic": scene.semantic, "geometric": scene.geometric}, self.names[index])

    def scene(self, index: int) -> Scene:
        """The scene with all that is known of it. Raises IndexError past the end of the list."""
        index = range(len(self))[index]
        return paint_scene(np.random.default_rng([self.seed, SPLITS.index(self.split), index]), self.size)

    def depth(self, index: int) -> Tensor:
        """The depth of a scene in metres, float32, H x W; 10 km for the sky."""
        return self.scene(index).depth


def paint_scene(rng: np.random.Generator, size: tuple[int, int]) -> Scene:
    """A scene of ``size`` (height, width); all that happens by chance comes from ``rng``."""
    kind = list(KINDS)[rng.integers(len(KINDS))]
    mood = str(rng.choice([name for name, _ in _MOODS], p=[share for _, share in _MOODS]))
    horizon = float(rng.uniform(*(0.50, 0.60) if kind == "street" else (0.40, 0.54)))
    low = mood in ("morning", "evening", "dusk")
    sun_at = (
        float(rng.uniform(-0.2, 1.2)),
        horizon * float(rng.uniform(0.62, 0.92) if low else rng.uniform(-0.3, 0.5)),
    )
    camera = Camera(
        focal=1.05 * size[0],
        height=float(rng.uniform(1.9, 2.8) if kind == "street" else rng.uniform(2.8, 5.0)),
        horizon=horizon * size[0],
        centre=size[1] * float(rng.uniform(0.36, 0.64)),
    )
    light = replace(_LIGHTS[mood], sun_at=sun_at)
    canvas = Canvas(size, camera, light, Noise(rng))
    terrain.sky(canvas, rng, cloudiness=0.95 if mood == "overcast" else float(rng.beta(1.6, 1.6)))
    KINDS[kind](canvas, rng)

    grain = np.random.default_rng(rng.integers(2**32)).standard_normal(size, dtype=np.float32) * np.float32(0.008)
    image = np.clip((canvas.colour + grain) * 255 + 0.5, 0, 255).astype(np.uint8)
    semantic = with_void_border(canvas.label, canvas.depth, width=1 if min(size) < 192 else 2)
    return Scene(
        torch.from_numpy(image),
        torch.from_numpy(semantic.astype(np.int64)),
        torch.from_numpy(_GEOMETRY_OF_LABEL[semantic].astype(np.int64)),
        torch.from_numpy(canvas.depth),
        kind,
        mood,
    )


def with_void_border(label: NDArray[np.uint8], depth: Array, width: int) -> NDArray[np.uint8]:
    """The labels, void where a nearer pixel of another class lies within ``width`` pixels (up, down, left or right)."""
    bordered = label.copy()
    for step in range(1, width + 1):
        for axis in (0, 1):
            everything = (slice(None),) * axis
            a, b = (*everything, slice(step, None)), (*everything, slice(None, -step))
            differ = label[a] != label[b]
            farther = depth[a] >= depth[b]
            bordered[a][differ & farther] = VOID
            bordered[b][differ & ~farther] = VOID
    return bordered
