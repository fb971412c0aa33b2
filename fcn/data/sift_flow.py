"""SIFT Flow (Liu et al. 2011; Tighe and Lazebnik 2010): outdoor photos, 33 + 3 classes.

Section 5 of the paper, Table 5. The official layout::

    Images/COLLECTION/NAME.jpg            COLLECTION: see below; 256 x 256
    SemanticLabels/COLLECTION/NAME.mat    variable S: 0 void, 1..33 classes
    GeoLabels/COLLECTION/NAME.mat         variable S: -1 void, 1 sky, 2 horizontal, 3 vertical

Without ``GeoLabels`` the geometric labels are derived from the semantic ones by ``GEOMETRY``.

The lists are those of the authors' release, which leaves out two of the 2488 training photos, as
they have no labels. For choosing recipes, a tenth of the rest is held out: the same share of each
kind of scene, in the order of the SHA-256 of the names.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from fcn.data import reading
from fcn.data.palettes import PALETTES
from fcn.data.sample import VOID, Sample, SegmentationDataset

COLLECTION = "spatial_envelope_256x256_static_8outdoorcategories"
"""The folder inside Images, SemanticLabels and GeoLabels."""

MEAN_BGR = (114.578, 115.294, 108.353)
"""Mean colour of the training photos, BGR in 0..255, as in the authors' release."""

GEOMETRIC = ("sky", "horizontal", "vertical")

# Sky and celestial bodies; ground and water; everything that rises from them. Three choices are
# not obvious: a staircase is ground, since people walk on it; rocks, mostly cliffs and boulders
# here, are vertical; a bridge shows its side. This is our reading of the classes and has not been
# compared with the published maps, which may differ in such cases.
_GROUPS = {
    "sky": "moon sky sun",
    "horizontal": "crosswalk desert field grass river road sand sea sidewalk staircase",
    "vertical": (
        "awning balcony bird boat bridge building bus car cow door fence mountain person plant "
        "pole rock sign streetlight tree window"
    ),
}
GEOMETRY = dict(sorted((name, group) for group, names in _GROUPS.items() for name in names.split()))
"""The geometric class of each semantic class."""

SEMANTIC = tuple(GEOMETRY)
PALETTE = PALETTES["sift-flow"]
SPLITS = ("trainval", "train", "val", "test")
_GEOMETRY_OF_LABEL = torch.full((256,), VOID)
_GEOMETRY_OF_LABEL[: len(SEMANTIC)] = torch.tensor([GEOMETRIC.index(g) for g in GEOMETRY.values()])


class SiftFlow(SegmentationDataset):
    """SIFT Flow in its official layout, with both heads.

    ``split``: ``trainval`` (2486), ``test`` (200), or ``val`` (249 of the 2486) and ``train`` (the
    other 2237); ``names`` replaces its photos. ``geometry_is_derived`` is True if the published
    geometric labels are missing.
    """

    name = "sift-flow"
    heads = {"semantic": SEMANTIC, "geometric": GEOMETRIC}

    def __init__(
        self,
        root: str | Path,
        split: str = "trainval",
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        self.split, self.root = split, reading.checked_folder(root, "SIFT Flow")
        self.names = reading.checked_names(
            split_names(split, root) if names is None else names, "names"
        )

        def checked(folder: str, file: str = "{}.mat") -> dict[str, Path]:
            path = self.root / folder / COLLECTION
            return reading.checked_files(path, self.names, file, f"{folder} of SIFT Flow")

        self._images, self._semantic = checked("Images", "{}.jpg"), checked("SemanticLabels")
        self.geometry_is_derived = not (self.root / "GeoLabels" / COLLECTION).is_dir()
        self._geometric = None if self.geometry_is_derived else checked("GeoLabels")

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image = reading.read_photo(self._images[name])
        read = partial(reading.read_mat_labels, "S", "SIFT Flow", size=image.shape[1:])
        semantic = read(self._semantic[name], len(SEMANTIC))
        if self._geometric is None:
            geometric = _GEOMETRY_OF_LABEL[semantic]
        else:
            geometric = read(self._geometric[name], len(GEOMETRIC), void=(-1, 0))
        return Sample(image, {"semantic": semantic, "geometric": geometric}, name)

    def files(self, index: int) -> list[Path]:
        parts = (self._images, self._semantic, self._geometric)
        return [part[self.names[index]] for part in parts if part is not None]


def split_names(split: str, root: str | Path | None = None) -> list[str]:
    """The names of a split's photos in order. Raises ValueError for an unknown split.

    Lists in the folder ``root``, such as ``test.txt``, take precedence over ours.
    """
    reading.check_choice("SIFT Flow", "split", split, SPLITS)
    if split != "train":
        shipped = reading.LISTS / f"sift_flow_{split}.txt"
        return reading.own_or_shipped(Path(root or reading.LISTS) / f"{split}.txt", shipped)
    validation = set(split_names("val", root))
    return [name for name in split_names("trainval", root) if name not in validation]


def scene(name: str) -> str:
    """The kind of scene, the first part of a photo's name: ``coast_arnat59`` shows a coast."""
    return name.split("_")[0]
