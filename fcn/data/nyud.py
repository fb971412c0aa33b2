"""NYUDv2 (Silberman et al. 2012), 40 classes (Gupta et al. 2013): 1449 indoor photos with depth.

Section 5 of the paper, Table 4. The layout of the authors' release::

    data/images/img_N.png       photo
    data/hha/img_N.png          depth as three channels: disparity, height above ground, angle
    data/depth/img_N.png        depth in millimetres, 16 bits, holes filled
    segmentation/img_N.mat      variable segmentation: 0 void, 1..40 classes
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcn.data import reading
from fcn.data.palettes import PALETTES
from fcn.data.photos import decoding
from fcn.data.sample import Sample, SegmentationDataset
from fcn.preprocessing import MEAN_LOG_DEPTH

MEAN_BGR = (116.190, 97.203, 92.318)
"""Mean colour, BGR in 0..255, as in the authors' release."""

CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
    "floor mat", "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel",
    "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip
PALETTE = PALETTES["nyud"]
SPLITS = ("trainval", "train", "val", "test")
INPUTS = {
    "rgb": ("images",),
    "hha": ("hha",),
    "rgbd": ("images", "depth"),
    "rgb-hha": ("images", "hha"),
}
"""Inputs of a net and the folders below ``data`` that provide them."""


class Nyud(SegmentationDataset):
    """NYUDv2 in the layout of the authors' release, with its lists.

    ``split``: ``trainval`` (795), ``train`` (381), ``val`` (414) or ``test`` (654); ``names``
    replaces its photos with others, given by number. ``inputs`` determines ``image``:

    * ``rgb``: uint8, 3 x H x W, the photo;
    * ``hha``: uint8, 3 x H x W, in the order of the files;
    * ``rgb-hha``: uint8, 6 x H x W, the photo and HHA, for late fusion;
    * ``rgbd``: float32, 4 x H x W, the photo in 0..255 and the natural logarithm of depth in
      millimetres, for early fusion. Unknown depth becomes the mean, ``MEAN_LOG_DEPTH``.
    """

    name = "nyud"
    heads = {"semantic": CLASSES}

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        inputs: str = "rgb",
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        reading.check_choice("NYUDv2", "inputs", inputs, INPUTS)
        self.split, self.root = split, reading.checked_folder(root, "NYUDv2")
        self.names = reading.checked_names(
            split_names(split, root) if names is None else names, "names"
        )

        def checked(folder: str, file: str, what: str) -> dict[str, Path]:
            return reading.checked_files(self.root / folder, self.names, file, f"{what} of NYUDv2")

        self._parts = [(p, checked(f"data/{p}", "img_{}.png", p)) for p in INPUTS[inputs]]
        self._labels = checked("segmentation", "img_{}.mat", "label maps")

    def __getitem__(self, index: int) -> Sample:
        name, readers = self.names[index], {"depth": _read_log_depth}
        parts = [readers.get(p, reading.read_photo)(files[name]) for p, files in self._parts]
        if parts[0].shape[1:] != parts[-1].shape[1:]:
            sizes = " and ".join(" x ".join(map(str, part.shape[1:])) for part in parts)
            fault = f"sizes of the files img_{name} differ ({sizes})"
            raise ValueError(f"{self.root}: {fault}; unpack NYUDv2 again")
        image = torch.cat(parts)  # float32 if one part is
        labels = reading.read_mat_labels(
            "segmentation", "NYUDv2", self._labels[name], len(CLASSES), image.shape[1:]
        )
        return Sample(image, {"semantic": labels}, name)

    def files(self, index: int) -> list[Path]:
        name = self.names[index]
        return [*(files[name] for _, files in self._parts), self._labels[name]]


def _read_log_depth(path: Path) -> Tensor:
    """The natural logarithm of depth in millimetres, float32, 1 x H x W; the mean if unknown."""
    with decoding(path, "depth image", "unpack NYUDv2 again"), Image.open(path) as opened:
        depth = np.array(opened)
        if depth.ndim != 2 or depth.min() < 0:
            raise ValueError("it must have one non-negative number per pixel")
    known = depth > 0
    logarithm = np.where(known, np.log(np.where(known, depth, 1)), MEAN_LOG_DEPTH)
    return torch.from_numpy(logarithm.astype(np.float32))[None]


def split_names(split: str, root: str | Path | None = None) -> list[str]:
    """The numbers of a split's photos in order. Raises ValueError for an unknown split.

    Lists in the folder ``root``, such as ``test.txt``, take precedence over ours.
    """
    reading.check_choice("NYUDv2", "split", split, SPLITS)
    if split == "trainval":
        return split_names("train", root) + split_names("val", root)
    own = Path(root or reading.LISTS) / f"{split}.txt"
    return reading.own_or_shipped(own, reading.LISTS / f"nyud_{split}.txt")
