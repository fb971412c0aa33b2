"""The Semantic Boundaries Dataset (Hariharan et al. 2011): more of VOC 2011's photos labelled with its 20 classes.

Section 5 of the paper trains on its 8498 training photos and scores on ``seg11valid`` of :mod:`fcn.datasets.voc`,
which are not among them. The folder is ``benchmark_RELEASE/dataset`` of the published archive::

    img/NAME.jpg
    cls/NAME.mat            the struct GTcls, its field Segmentation: 0 background, 1..20 the classes
    train.txt, val.txt      8498 and 2857 names

Nothing is void: outlines belong to the objects.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fcn.data.label_files import read_mat
from fcn.data.reading import checked_files, checked_folder, checked_labels, checked_names, read_list, read_photo
from fcn.data.sample import ListedDataset, Sample
from fcn.data.voc import CLASSES

SPLITS = ("train", "val")


class Sbd(ListedDataset):
    """SBD in its official layout; ``root`` is the folder ``benchmark_RELEASE/dataset``.

    ``split``: ``train`` (8498) or ``val`` (2857). ``names`` takes other photos in place of the split's. torchvision's
    ``SBDataset`` reads the same folder, but none but the official lists.

    Raises FileNotFoundError where a folder, a list or a file is missing and ValueError for a split that does not
    exist, an empty list, and, on reading, for files that do not hold what they should.
    """

    name = "sbd"
    heads: dict[str, tuple[str, ...]] = {"semantic": CLASSES}

    def __init__(self, root: str | Path, split: str = "train", *, names: Sequence[str] | None = None) -> None:
        if split not in SPLITS:
            raise ValueError(f"SBD has no split '{split}'; choose one of {', '.join(SPLITS)}")
        self.split = split
        self.root = checked_folder(root, "SBD")
        self.names = read_list(self.root / f"{split}.txt") if names is None else checked_names(names, "Sbd(names=...)")
        checked_files(checked_folder(self.root / "img", "SBD's photos"), self.names, ".jpg")
        checked_files(checked_folder(self.root / "cls", "SBD's labels"), self.names, ".mat")

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, RGB; ``labels["semantic"]`` int64, H x W."""
        name = self.names[index]
        image = read_photo(self.root / "img" / f"{name}.jpg")
        labels = _read_labels(self.root / "cls" / f"{name}.mat", (image.shape[1], image.shape[2]))
        return Sample(image, {"semantic": labels}, name)


def _read_labels(path: Path, size: tuple[int, int]) -> Tensor:
    struct = read_mat(path, "GTcls", "SBD")
    if "Segmentation" not in (struct.dtype.names or ()) or struct.size != 1:
        raise ValueError(f"{path}: its GTcls holds no Segmentation, so it is no label map of SBD; unpack it again")
    labels = np.asarray(struct["Segmentation"].item(), np.int64)
    return checked_labels(labels, size=size, num_classes=len(CLASSES), file=path)
