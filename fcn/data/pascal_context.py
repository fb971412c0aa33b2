"""PASCAL-Context (Mottaghi et al. 2014): full labels of the VOC 2010 photos, 59 or 33 classes.

Section 5 of the paper, Table 6. Two folders in their official layouts::

    pascal-context/trainval/NAME.mat                variable LabelMap: 1..459, all classes
    pascal-context/33_context_labels/NAME.png       0 background, 1..33 classes of the task
    VOCdevkit/VOC2010/JPEGImages/NAME.jpg
    VOCdevkit/VOC2010/ImageSets/Main/SPLIT.txt      train (4998), val (5105)

As in the authors' release, the 59 classes are selected from the 459 by name; three names differ
(``SAME``). Everything else is background: a class in the release, whose nets have 60 outputs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcn.data import reading
from fcn.data.palettes import PALETTES
from fcn.data.sample import VOID, Sample, SegmentationDataset

ALL = tuple(reading.read_list(reading.LISTS / "pascal_context_459.txt"))
"""The 459 classes: label ``i`` of a LabelMap is ``ALL[i - 1]``."""
CLASSES = {n: tuple(reading.read_list(reading.LISTS / f"pascal_context_{n}.txt")) for n in (59, 33)}
"""The classes of each task in label order, without background."""
SAME = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
"""Task classes that have a different name among the 459."""
PALETTE = PALETTES["pascal-context"]


def task_of_all(task: int) -> NDArray[np.uint8]:
    """For each label 0..459 of a LabelMap the label of the task, 0 background; uint8, 460."""
    labels = np.zeros(len(ALL) + 1, np.uint8)
    for label, name in enumerate(CLASSES[task], start=1):
        labels[1 + ALL.index(SAME.get(name, name))] = label
    return labels


class PascalContext(SegmentationDataset):
    """PASCAL-Context in its official layout.

    ``root``: the folder ``pascal-context``; ``voc``: that of VOC 2010, by default
    ``pascal/VOCdevkit/VOC2010`` next to it. ``task``: 59 or 33 classes. ``split``: ``train`` or
    ``val``; ``names`` replaces its photos. ``background``: if True, pixels without a class form
    the first class, as in the authors' release; otherwise they are void.

    The 33 classes are read from ``33_context_labels`` or, without it, selected from the 459 by
    name, which has not been compared with the published maps; ``labels_are_derived`` is then True.
    """

    name = "pascal-context"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        task: int = 59,
        *,
        voc: str | Path | None = None,
        background: bool = True,
        names: Sequence[str] | None = None,
    ) -> None:
        if task not in CLASSES:
            raise ValueError(f"PASCAL-Context has no task of {task} classes; choose 59 or 33")
        reading.check_choice("PASCAL-Context", "split", split, ("train", "val"))
        self.split, self.task, self.background = split, task, background
        self.heads = {"semantic": ("background",) * background + CLASSES[task]}
        self.root = reading.checked_folder(root, "PASCAL-Context")
        voc = voc or self.root.parent / "pascal" / "VOCdevkit" / "VOC2010"
        self.voc = reading.checked_folder(voc, "VOC 2010")
        if names is None:
            names = reading.read_list(self.voc / "ImageSets" / "Main" / f"{split}.txt")
        self.names = names = reading.checked_names(names, "names")
        photos, maps = self.voc / "JPEGImages", self.root / "33_context_labels"
        self._photos = reading.checked_files(photos, names, "{}.jpg", "photos of VOC 2010")
        self.labels_are_derived = task == 59 or not maps.is_dir()
        folder, file = (
            (self.root / "trainval", "{}.mat") if self.labels_are_derived else (maps, "{}.png")
        )
        self._labels = reading.checked_files(folder, names, file, "label maps")
        self._task_of_all = task_of_all(task)

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image, path = reading.read_photo(self._photos[name]), self._labels[name]
        if self.labels_are_derived:
            of_all = reading.read_mat(path, "LabelMap", "PASCAL-Context").astype(np.int64)
            if of_all.min() < 0 or of_all.max() > len(ALL):
                outside = f"its LabelMap has labels outside 0..{len(ALL)}"
                raise ValueError(f"{path}: {outside}; unpack the data set again")
            stored = self._task_of_all[of_all]
        else:
            stored = reading.read_png(path)
        labels = reading.checked_labels(stored, 1 + self.task, path, image.shape[1:])
        if not self.background:
            labels = (labels - 1).masked_fill(labels == 0, VOID)
        return Sample(image, {"semantic": labels}, name)

    def files(self, index: int) -> list[Path]:
        return [self._photos[self.names[index]], self._labels[self.names[index]]]
