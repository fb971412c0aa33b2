"""NYUDv2 (Silberman et al. 2012) with the 40 classes of Gupta et al. (2013): 1449 indoor photos with depth.

Section 5 of the paper and its Table 4. The folder is laid out as in the authors' release::

    data/images/img_N.png       the photo
    data/hha/img_N.png          depth encoded as three channels: horizontal disparity, height above ground, angle
    data/depth/img_N.png        depth itself, 16 bits, in millimetres, its holes filled
    segmentation/img_N.mat      its variable segmentation: 0 void, 1..40 the classes

The lists are those of the authors' release: 795 photos to train on, of which 381 are ``train`` and 414 ``val``, and
654 to test.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fcn.data.label_files import read_mat
from fcn.data.palettes import PALETTES
from fcn.data.reading import (
    checked_files,
    checked_folder,
    checked_labels,
    checked_names,
    read_list,
    read_photo,
)
from fcn.data.sample import VOID, ListedDataset, Sample
from fcn.preprocessing import MEAN_LOG_DEPTH

MEAN_BGR = (116.190, 97.203, 92.318)
"""Mean colour, blue, green, red in 0..255, as in the authors' release."""

CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes", "ceiling", "books",
    "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard", "person", "night stand",
    "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip

PALETTE = PALETTES["nyud"]
"""A colour a class, C x 3, RGB."""

SPLITS = ("trainval", "train", "val", "test")
INPUTS = {
    "rgb": ("images",),
    "hha": ("hha",),
    "rgbd": ("images", "depth"),
    "rgb-hha": ("images", "hha"),
}
"""What a net is given, and the folders below ``data`` that it lies in."""
_LISTS = Path(__file__).parent / "lists"


class Nyud(ListedDataset):
    """NYUDv2 in the layout of the authors' release.

    ``split``: ``trainval`` (795), ``train`` (381), ``val`` (414) or ``test`` (654); ``names`` takes other numbers in
    place of the split's. ``inputs`` says what an image is:

    * ``rgb``: uint8, 3 x H x W, the photo;
    * ``hha``: uint8, 3 x H x W, in the order of the files;
    * ``rgb-hha``: uint8, 6 x H x W, the photo and HHA, for late fusion;
    * ``rgbd``: float32, 4 x H x W, the photo in 0..255 and the natural logarithm of depth in millimetres, for early
      fusion. Pixels without a depth get the mean, ``MEAN_LOG_DEPTH``.

    Raises FileNotFoundError where a folder or a file is missing and ValueError for a split or inputs that do not exist,
    an empty list, and, on reading, for files that do not hold what they should.
    """

    name = "nyud"
    heads: dict[str, tuple[str, ...]] = {"semantic": CLASSES}

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        inputs: str = "rgb",
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        if inputs not in INPUTS:
            raise ValueError(f"NYUDv2 has no inputs '{inputs}'; choose one of {', '.join(INPUTS)}")
        self.split, self.inputs = split, inputs
        self.names = (
            split_names(split) if names is None else checked_names(names, "Nyud(names=...)")
        )
        self.root = checked_folder(root, "NYUDv2")
        files = [f"img_{name}" for name in self.names]
        for part in INPUTS[inputs]:
            checked_files(
                checked_folder(self.root / "data" / part, f"NYUDv2's {part}"), files, ".png"
            )
        checked_files(checked_folder(self.root / "segmentation", "NYUDv2's labels"), files, ".mat")

    def __getitem__(self, index: int) -> Sample:
        """``image`` as ``inputs`` says; ``labels["semantic"]`` int64, H x W, void 255."""
        name = self.names[index]
        parts = [self._read(part, name) for part in INPUTS[self.inputs]]
        if parts[0].shape[1:] != parts[-1].shape[1:]:
            sizes = " and ".join(" x ".join(map(str, part.shape[1:])) for part in parts)
            raise ValueError(
                f"{self.root}: the files of img_{name} differ in size ({sizes}); unpack NYUDv2 again"
            )
        image = torch.cat(parts)  # float32 as soon as one part is
        path = self.root / "segmentation" / f"img_{name}.mat"
        stored = read_mat(path, "segmentation", "NYUDv2").astype(np.int64)
        labels = checked_labels(
            np.where(stored == 0, VOID, stored - 1),
            size=(image.shape[1], image.shape[2]), num_classes=len(CLASSES), file=path,
        )  # fmt: skip
        return Sample(image, {"semantic": labels}, name)

    def _read(self, part: str, name: str) -> Tensor:
        path = self.root / "data" / part / f"img_{name}.png"
        return _read_log_depth(path) if part == "depth" else read_photo(path)


def _read_log_depth(path: Path) -> Tensor:
    """The natural logarithm of depth in millimetres, float32, 1 x H x W; the mean where a pixel has none."""
    try:
        with Image.open(path) as opened:
            depth = np.array(opened)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{path}: cannot be read as a depth image ({type(error).__name__}); unpack it again"
        ) from None
    if depth.ndim != 2 or depth.min() < 0:
        raise ValueError(
            f"{path}: no depth image, which has one number, 0 or more, a pixel; unpack NYUDv2 again"
        )
    known = depth > 0
    logarithm = np.where(known, np.log(np.where(known, depth, 1)), MEAN_LOG_DEPTH)
    return torch.from_numpy(logarithm.astype(np.float32))[None]


def split_names(split: str) -> list[str]:
    """The numbers of a split's photos, in order. Raises ValueError for a split that is none."""
    if split not in SPLITS:
        raise ValueError(f"NYUDv2 has no split '{split}'; choose one of {', '.join(SPLITS)}")
    if split == "trainval":
        return split_names("train") + split_names("val")
    return read_list(_LISTS / f"nyud_{split}.txt")
