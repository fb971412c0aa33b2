"""PASCAL-Context (Mottaghi et al. 2014): the photos of VOC 2010 labelled in full, and its tasks of 59 and 33 classes.

Section 5 of the paper and its Table 6. Two folders, each laid out as it was published::

    pascal-context/trainval/NAME.mat                its variable LabelMap: 1..459 the classes of all
    pascal-context/33_context_labels/NAME.png       0 background, 1..33 the classes of the task
    VOCdevkit/VOC2010/JPEGImages/NAME.jpg
    VOCdevkit/VOC2010/ImageSets/Main/SPLIT.txt      train (4998), val (5105)

The 59 classes are picked from the 459 by name, as the authors' release does. Three names differ between the two
lists, and one of them misleads: ``clothes`` of the 59 is ``cloth`` of the 459, ``bedcloth`` is ``bedclothes``, and
``diningtable`` is ``table``.

What belongs to none of a task's classes is background: a class in the authors' release, whose nets have 60 outputs.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from fcn.data.label_files import read_mat, read_png
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

_LISTS = Path(__file__).parent / "lists"
ALL = tuple(read_list(_LISTS / "pascal_context_459.txt"))
"""The 459 classes: label ``i`` of a LabelMap is ``ALL[i - 1]``."""
CLASSES = {task: tuple(read_list(_LISTS / f"pascal_context_{task}.txt")) for task in (59, 33)}
"""The classes of each task, in the order of its labels, without background."""
SAME = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
"""What classes of a task are called among the 459, where the names differ."""
PALETTE = PALETTES["pascal-context"]
"""A colour a class, C x 3, RGB, background first."""
SPLITS = ("train", "val")


def task_of_all(task: int) -> np.ndarray:
    """For each label 0..459 of a LabelMap the label of the task: 0 background, 1..``task`` its classes; uint8, 460."""
    labels = np.zeros(len(ALL) + 1, np.uint8)
    for label, name in enumerate(CLASSES[task], start=1):
        labels[1 + ALL.index(SAME.get(name, name))] = label
    return labels


class PascalContext(ListedDataset):
    """PASCAL-Context in its official layout.

    ``root`` is the folder ``pascal-context``, ``voc`` that of VOC 2010, by default beside it in
    ``pascal/VOCdevkit/VOC2010``. ``task``: 59 or 33 classes. ``split``: ``train`` (4998) or ``val`` (5105); ``names``
    takes other photos in place of the split's. ``background`` says whether what belongs to no class is a class of its
    own, the first, as in the authors' release, or void.

    The 33 classes are read from ``33_context_labels`` and, where that is absent, picked from the 459 by name like the
    59; ``labels_are_derived`` tells which. The latter has not been compared with the published maps of 33.

    Raises FileNotFoundError where a folder, a list or a file is missing and ValueError for a task or split that does
    not exist, an empty list, and, on reading, for files that do not hold what they should.
    """

    name = "pascal-context"

    def __init__(
        self, root: str | Path, split: str = "train", task: int = 59, *, voc: str | Path | None = None,
        background: bool = True, names: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        if task not in CLASSES:
            raise ValueError(f"PASCAL-Context has no task of {task} classes; choose one of 59, 33")
        if split not in SPLITS:
            raise ValueError(
                f"PASCAL-Context has no split '{split}'; choose one of {', '.join(SPLITS)}"
            )
        self.split, self.task, self.background = split, task, background
        self.heads: dict[str, tuple[str, ...]] = {
            "semantic": ("background",) * background + CLASSES[task]
        }
        self.root = checked_folder(root, "PASCAL-Context")
        self.voc = checked_folder(
            voc or self.root.parent / "pascal" / "VOCdevkit" / "VOC2010", "VOC 2010"
        )
        if names is None:
            self.names = read_list(self.voc / "ImageSets" / "Main" / f"{split}.txt")
        else:
            self.names = checked_names(names, "PascalContext(names=...)")
        checked_files(
            checked_folder(self.voc / "JPEGImages", "VOC 2010's photos"), self.names, ".jpg"
        )
        published = self.root / "33_context_labels"
        self.labels_are_derived = task == 59 or not published.is_dir()
        self._labels = checked_folder(
            self.root / "trainval" if self.labels_are_derived else published, "label maps"
        )
        checked_files(self._labels, self.names, ".mat" if self.labels_are_derived else ".png")
        self._task_of_all = task_of_all(task)

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, RGB; ``labels["semantic"]`` int64, H x W, void 255."""
        name = self.names[index]
        image = read_photo(self.voc / "JPEGImages" / f"{name}.jpg")
        labels = self._read_labels(name, (image.shape[1], image.shape[2]))
        if not self.background:
            labels = (labels - 1).masked_fill(labels == 0, VOID)
        return Sample(image, {"semantic": labels}, name)

    def _read_labels(self, name: str, size: tuple[int, int]) -> Tensor:
        """0 background, 1.. the classes of the task."""
        if not self.labels_are_derived:
            path = self._labels / f"{name}.png"
            return checked_labels(read_png(path), size=size, num_classes=1 + self.task, file=path)
        path = self._labels / f"{name}.mat"
        stored = read_mat(path, "LabelMap", "PASCAL-Context").astype(np.int64)
        if stored.min() < 0 or stored.max() > len(ALL):
            raise ValueError(
                f"{path}: its LabelMap holds labels outside 0..{len(ALL)}; unpack PASCAL-Context again"
            )
        return checked_labels(
            self._task_of_all[stored], size=size, num_classes=1 + self.task, file=path
        )
