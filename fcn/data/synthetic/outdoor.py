"""Procedural outdoor scenes: images with exact labels and depth that need no download.

A scene is painted from far to near on flat ground, at a time of day, in one of six layouts. Every
pixel is labelled, except that where two classes meet, the farther one gives up a border of void,
one pixel wide (two if sides are 192 or more), like the outlines in PASCAL VOC. Thin things keep
their pixels: they are what a coarse stride loses.

A scene depends on (seed, split, index) alone and keeps its shape at any size; other machines may
round colours differently.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcn.data.palettes import PALETTES
from fcn.data.reading import check_choice
from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.data.synthetic import terrain
from fcn.data.synthetic.canvas import Array, Camera, Canvas, Light, Rng
from fcn.data.synthetic.layouts import LAYOUTS, Stage
from fcn.data.synthetic.palette import CLASSES, COLOURS, GROUND, MOODS, ROAD, SKY, VISIBILITY, WATER

GEOMETRIC = ("sky", "horizontal", "vertical")
PALETTE = PALETTES["scenes"]
SPLITS = ("train", "val", "test")

_GEOMETRY_OF_LABEL = torch.full((256,), VOID)
_GEOMETRY_OF_LABEL[: len(CLASSES)] = GEOMETRIC.index("vertical")
_GEOMETRY_OF_LABEL[[WATER, GROUND, ROAD]] = GEOMETRIC.index("horizontal")
_GEOMETRY_OF_LABEL[SKY] = GEOMETRIC.index("sky")


class Scene(NamedTuple):
    """Image (uint8, 3 x H x W, RGB), labels (int64, H x W, void 255), layout and time of day.

    Depth (float32, H x W) is in metres along the camera's axis, 10 km for the sky.
    """

    image: Tensor
    semantic: Tensor
    geometric: Tensor
    depth: Tensor
    kind: str
    mood: str


class Scenes(SegmentationDataset):
    """``count`` procedural scenes of ``size`` (height, width); splits are disjoint."""

    name = "scenes"
    heads = {"semantic": CLASSES, "geometric": GEOMETRIC}

    def __init__(
        self, count: int, size: tuple[int, int] = (128, 128), seed: int = 0, split: str = "train"
    ) -> None:
        if count < 1:
            raise ValueError(f"Scenes(count={count}): the list of scenes is empty")
        if min(size) < 1:
            raise ValueError(f"Scenes(size={size}): height and width must be at least 1 pixel")
        if seed < 0:
            raise ValueError(f"Scenes(seed={seed}): the seed must not be negative")
        check_choice("Scenes", "split", split, SPLITS)
        self.split, self.size, self.seed = split, size, seed
        self.names = [f"{split}-{seed}-{size[0]}x{size[1]}-{i:05d}" for i in range(count)]

    def __getitem__(self, index: int) -> Sample:
        scene = self.scene(index)
        labels = {"semantic": scene.semantic, "geometric": scene.geometric}
        return Sample(scene.image, labels, self.names[index])

    def scene(self, index: int) -> Scene:
        number = range(len(self))[index]  # raises IndexError past the end
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), number])
        return paint_scene(rng, self.size)

    def depth(self, index: int) -> Tensor:
        return self.scene(index).depth


def paint_scene(rng: Rng, size: tuple[int, int]) -> Scene:
    """A random scene of ``size`` (height, width)."""
    kind = list(LAYOUTS)[rng.integers(len(LAYOUTS))]
    mood = str(rng.choice(list(MOODS), p=list(MOODS.values())))
    street, low_sun = kind == "street", mood in ("morning", "evening", "dusk")
    horizon = rng.uniform(0.50, 0.60) if street else rng.uniform(0.40, 0.54)
    sun_x = rng.uniform(-0.2, 1.2)
    sun_y = horizon * (rng.uniform(0.62, 0.92) if low_sun else rng.uniform(-0.3, 0.5))
    height = rng.uniform(1.9, 2.8) if street else rng.uniform(2.8, 5.0)
    centre = size[1] * rng.uniform(0.36, 0.64)
    camera = Camera(1.05 * size[0], height, horizon * size[0], centre)
    light = Light._make([*COLOURS[mood], VISIBILITY[mood], mood == "dusk", (sun_x, sun_y)])
    canvas = Canvas(size, camera, light, rng)
    terrain.sky(canvas, cloudiness=0.95 if mood == "overcast" else rng.beta(1.6, 1.6))
    stage = Stage(canvas)
    LAYOUTS[kind](stage)
    stage.paint()

    grain = np.random.default_rng(rng.integers(2**32)).standard_normal(size, dtype=np.float32)
    colour = canvas.colour + grain * np.float32(0.008)
    image = np.clip(colour * 255 + 0.5, 0, 255).astype(np.uint8)
    bordered = with_void_border(canvas.label, canvas.depth, width=1 if min(size) < 192 else 2)
    photo, semantic, depth = map(torch.from_numpy, (image, bordered.astype(np.int64), canvas.depth))
    return Scene(photo, semantic, _GEOMETRY_OF_LABEL[semantic], depth, kind, mood)


def with_void_border(label: NDArray[np.uint8], depth: Array, width: int) -> NDArray[np.uint8]:
    """The labels, void where a nearer pixel of another class is within ``width`` pixels."""
    bordered = label.copy()
    for step in range(1, width + 1):
        for a, b in (np.s_[step:], np.s_[:-step]), (np.s_[:, step:], np.s_[:, :-step]):
            differ, farther = label[a] != label[b], depth[a] >= depth[b]
            bordered[a][differ & farther] = VOID
            bordered[b][differ & ~farther] = VOID
    return bordered
