"""SIFT Flow (Liu et al. 2011; Tighe and Lazebnik 2010): 2688 outdoor photos, 33 semantic and 3 geometric classes.

Section 5 of the paper and its Table 5. The folder is laid out as it was published::

    Images/COLLECTION/NAME.jpg            COLLECTION = spatial_envelope_256x256_static_8outdoorcategories
    SemanticLabels/COLLECTION/NAME.mat    its variable S: 0 void, 1..33 the classes
    GeoLabels/COLLECTION/NAME.mat         its variable S: -1 void, 1 sky, 2 horizontal, 3 vertical

Where ``GeoLabels`` is absent, the geometric labels follow from the semantic ones by ``GEOMETRY`` below.

The lists are those of the authors' release: 2486 photos to train on (2488 less two that carry no labels) and 200 to
test. A tenth of the 2486, drawn once by :func:`draw_validation` and shipped, is there to choose recipes on.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
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

COLLECTION = "spatial_envelope_256x256_static_8outdoorcategories"
"""The name of the folder inside Images, SemanticLabels and GeoLabels."""

MEAN_BGR = (114.578, 115.294, 108.353)
"""Mean colour of the training photos, blue, green, red in 0..255, as in the authors' release."""

GEOMETRIC = ("sky", "horizontal", "vertical")

# What each class is in space: the sky and the bodies in it; ground and water, which one could stand or float on;
# and everything that rises from them. The order is that of the labels. Three choices are not obvious: a staircase is
# ground, since one walks on it; rocks, mostly cliffs and boulders here, stand up; a bridge shows its side. This table
# is our reading of the classes; it has not been compared with the published maps, which may differ in such cases.
GEOMETRY = {
    "awning": "vertical",
    "balcony": "vertical",
    "bird": "vertical",
    "boat": "vertical",
    "bridge": "vertical",
    "building": "vertical",
    "bus": "vertical",
    "car": "vertical",
    "cow": "vertical",
    "crosswalk": "horizontal",
    "desert": "horizontal",
    "door": "vertical",
    "fence": "vertical",
    "field": "horizontal",
    "grass": "horizontal",
    "moon": "sky",
    "mountain": "vertical",
    "person": "vertical",
    "plant": "vertical",
    "pole": "vertical",
    "river": "horizontal",
    "road": "horizontal",
    "rock": "vertical",
    "sand": "horizontal",
    "sea": "horizontal",
    "sidewalk": "horizontal",
    "sign": "vertical",
    "sky": "sky",
    "staircase": "horizontal",
    "streetlight": "vertical",
    "sun": "sky",
    "tree": "vertical",
    "window": "vertical",
}

SEMANTIC = tuple(GEOMETRY)

PALETTE = PALETTES["sift-flow"]

SPLITS = ("trainval", "train", "val", "test")
_LISTS = Path(__file__).parent / "lists"
_GEOMETRY_OF_LABEL = np.full(256, VOID, np.uint8)
_GEOMETRY_OF_LABEL[: len(SEMANTIC)] = [GEOMETRIC.index(GEOMETRY[name]) for name in SEMANTIC]


class SiftFlow(ListedDataset):
    """SIFT Flow in its official layout, with both heads.

    ``root`` holds ``Images``, ``SemanticLabels`` and, where one has it, ``GeoLabels``. ``split``: ``trainval`` (2486),
    ``test`` (200), or ``val`` (249 of the 2486) and ``train`` (the other 2237). ``names`` takes other photos in place
    of the split's. ``cache`` decodes everything once, at the start, and keeps it in memory (5 bytes a pixel, 0.8 GB
    for ``trainval``); it serves a DataLoader without workers, or with forked ones.

    ``geometry_is_derived`` tells whether the geometric labels follow from the semantic ones.

    Raises FileNotFoundError where the folder or a file is missing and ValueError for a split that does not exist, an
    empty list, and, on reading, for files that do not hold what they should.
    """

    name = "sift-flow"
    heads = {"semantic": SEMANTIC, "geometric": GEOMETRIC}

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        *,
        names: Sequence[str] | None = None,
        cache: bool = False,
    ) -> None:
        self.split = split
        self.names = (
            split_names(split) if names is None else checked_names(names, "SiftFlow(names=...)")
        )
        self.root = checked_folder(root, "SIFT Flow")
        self._images = checked_folder(self.root / "Images" / COLLECTION, "SIFT Flow's photos")
        self._semantic = checked_folder(
            self.root / "SemanticLabels" / COLLECTION, "SIFT Flow's semantic labels"
        )
        self._geometric = self.root / "GeoLabels" / COLLECTION
        self.geometry_is_derived = not self._geometric.is_dir()
        checked_files(self._images, self.names, ".jpg")
        checked_files(self._semantic, self.names, ".mat")
        if not self.geometry_is_derived:
            checked_files(self._geometric, self.names, ".mat")
        self._cache = [self._read(i) for i in range(len(self))] if cache else None

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, RGB; ``labels`` for ``semantic`` and ``geometric`` int64, H x W, void 255."""
        image, labels, name = self._read(index) if self._cache is None else self._cache[index]
        # A copy of the image, so that what a caller does to it in place never reaches the cache.
        return Sample(image.clone(), {head: label.long() for head, label in labels.items()}, name)

    def _read(self, index: int) -> Sample:
        name = self.names[index]
        image = read_photo(self._images / f"{name}.jpg")
        return Sample(image, self._labels(name, (image.shape[1], image.shape[2])), name)

    def _labels(self, name: str, size: tuple[int, int] | None = None) -> dict[str, Tensor]:
        """Both label maps of a photo as uint8, checked; against the photo's size where it is known."""
        semantic = _read_labels(self._semantic / f"{name}.mat", len(SEMANTIC), size, void=(0,))
        if self.geometry_is_derived:
            geometric = torch.from_numpy(_GEOMETRY_OF_LABEL[semantic.numpy()])
        else:
            shape = (semantic.shape[0], semantic.shape[1])
            geometric = _read_labels(
                self._geometric / f"{name}.mat", len(GEOMETRIC), shape, void=(-1, 0)
            )
        return {"semantic": semantic, "geometric": geometric}

    def class_frequencies(self, head: str = "semantic") -> dict[str, float]:
        """The share of the split's pixels that each class of a head has, in percent, and under ``void`` the rest."""
        counts = torch.zeros(VOID + 1, dtype=torch.int64)
        for i, name in enumerate(self.names):
            labels = self._labels(name) if self._cache is None else self._cache[i].labels
            counts += torch.bincount(labels[head].flatten(), minlength=VOID + 1)
        share = 100 * counts.double() / counts.sum()
        return {name: share[c].item() for c, name in enumerate(self.heads[head])} | {
            "void": share[VOID].item()
        }


def _read_labels(
    path: Path, num_classes: int, size: tuple[int, int] | None, void: tuple[int, ...]
) -> Tensor:
    """The variable S of a .mat file, whose classes count from 1, as uint8 labels that count from 0, void 255."""
    stored = read_mat(path, "S", "SIFT Flow").astype(np.int64)
    labels = np.where(np.isin(stored, void), VOID, stored - 1)
    return checked_labels(labels, size=size or labels.shape, num_classes=num_classes, file=path).to(
        torch.uint8
    )


def split_names(split: str) -> list[str]:
    """The names of a split's photos, in order, without their ending. Raises ValueError for a split that is none."""
    if split not in SPLITS:
        raise ValueError(f"SIFT Flow has no split '{split}'; choose one of {', '.join(SPLITS)}")
    if split != "train":
        return read_list(_LISTS / f"sift_flow_{split}.txt")
    validation = set(split_names("val"))
    return [name for name in split_names("trainval") if name not in validation]


def scene(name: str) -> str:
    """The kind of scene that a photo's name begins with: ``coast_arnat59`` shows a coast."""
    return name.split("_")[0]


def draw_validation(names: Sequence[str], share: Fraction = Fraction(1, 10)) -> list[str]:
    """The rule by which the shipped validation list was drawn: a share of the photos, the same of every kind of scene.

    Each scene gives its share rounded down; those with the largest remainders give one more, until the whole comes to
    the share of all. Within a scene the photos are taken in the order of the SHA-256 of their names, which is as good
    as chance and the same everywhere. Returned in the order of ``names``.
    """
    scenes = Counter(scene(name) for name in names)
    exact = {kind: count * share for kind, count in sorted(scenes.items())}
    quota = {kind: int(number) for kind, number in exact.items()}
    left = round(len(names) * share) - sum(quota.values())
    for kind in sorted(exact, key=lambda kind: quota[kind] - exact[kind])[:left]:
        quota[kind] += 1
    drawn: set[str] = set()
    for kind, number in quota.items():
        of_kind = [name for name in names if scene(name) == kind]
        drawn.update(
            sorted(of_kind, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:number]
        )
    return [name for name in names if name in drawn]
