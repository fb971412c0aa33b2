"""Semantic Boundaries Dataset (Hariharan et al. 2011): more VOC 2011 photos with its 20 classes.

In section 5 the paper trains on its 8498 training photos and scores on ``seg11valid`` of
:mod:`fcn.data.voc`; the two are disjoint. ``benchmark_RELEASE/dataset`` of the official archive::

    img/NAME.jpg
    cls/NAME.mat            struct GTcls, field Segmentation: 0 background, 1..20 classes
    train.txt, val.txt      8498 and 2857 names

No pixel is void: outlines belong to the objects.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcn.data import reading
from fcn.data.sample import Sample, SegmentationDataset
from fcn.data.voc import CLASSES


class Sbd(SegmentationDataset):
    """SBD; ``root`` is the folder ``benchmark_RELEASE/dataset``.

    ``split``: ``train`` or ``val``; ``names`` replaces its photos. (torchvision's ``SBDataset``
    reads official lists only.)
    """

    name = "sbd"
    heads = {"semantic": CLASSES}

    def __init__(
        self, root: str | Path, split: str = "train", *, names: Sequence[str] | None = None
    ) -> None:
        reading.check_choice("SBD", "split", split, ("train", "val"))
        self.split, self.root = split, reading.checked_folder(root, "SBD")
        listed = reading.read_list(self.root / f"{split}.txt") if names is None else names
        self.names = names = reading.checked_names(listed, "names")
        self._photos = reading.checked_files(self.root / "img", names, "{}.jpg", "photos of SBD")
        self._labels = reading.checked_files(self.root / "cls", names, "{}.mat", "labels of SBD")

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image, path = reading.read_photo(self._photos[name]), self._labels[name]
        struct = reading.read_mat(path, "GTcls", "SBD")
        if "Segmentation" not in (struct.dtype.names or ()) or struct.size != 1:
            fault = "no Segmentation in GTcls, so not a label map of SBD"
            raise ValueError(f"{path}: {fault}; unpack it again")
        stored = np.asarray(struct["Segmentation"].item(), np.int64)
        labels = reading.checked_labels(stored, len(CLASSES), path, image.shape[1:])
        return Sample(image, {"semantic": labels}, name)

    def files(self, index: int) -> list[Path]:
        return [self._photos[self.names[index]], self._labels[self.names[index]]]
