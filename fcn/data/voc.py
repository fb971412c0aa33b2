"""PASCAL VOC (Everingham et al. 2010), segmentation: 20 object classes and background.

Section 5 of the paper, Tables 1 to 3. The official layout of one year::

    VOCdevkit/VOC2012/JPEGImages/NAME.jpg                   up to 500 x 500
    VOCdevkit/VOC2012/SegmentationClass/NAME.png            palette: 0 background, 1..20, 255 void
    VOCdevkit/VOC2012/ImageSets/Segmentation/SPLIT.txt      train, val, trainval

Void marks ambiguous pixels and the outlines of objects, about five pixels wide.

``seg11valid`` ships with this package: the 736 photos of VOC 2011 val that are not among SBD's
training photos. On these the paper scores nets trained on SBD.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fcn.data import reading
from fcn.data.palettes import PALETTES
from fcn.data.sample import Sample, SegmentationDataset

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
PALETTE = PALETTES["voc"]
SEG11VALID = reading.LISTS / "voc_seg11valid.txt"


class Voc(SegmentationDataset):
    """PASCAL VOC of one year; ``root`` is the year's folder, such as ``VOCdevkit/VOC2012``.

    ``split``: ``seg11valid`` (736) or a list in ``ImageSets/Segmentation``, official (VOC 2012:
    train 1464, val 1449, trainval; VOC 2011: train 1112, val 1111) or your own. ``names`` replaces
    the photos of the split. A year without photos uses those of VOC 2012 next to it, which include
    all earlier ones. (torchvision's ``VOCSegmentation`` reads official lists only.)
    """

    name = "voc"
    heads = {"semantic": CLASSES}

    def __init__(
        self, root: str | Path, split: str = "train", *, names: Sequence[str] | None = None
    ) -> None:
        self.split, self.root = split, reading.checked_folder(root, "PASCAL VOC")
        listed = split_names(root, split) if names is None else names
        self.names = reading.checked_names(listed, "names")
        photos = self.root / "JPEGImages"
        if not photos.is_dir():
            photos = self.root.parent / "VOC2012" / "JPEGImages"
        self._photos = reading.checked_files(photos, self.names, "{}.jpg", "photos of VOC")
        self._labels = reading.checked_files(
            self.root / "SegmentationClass", self.names, "{}.png", "label maps of VOC"
        )

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image = reading.read_photo(self._photos[name])
        return Sample(image, {"semantic": read_labels(self.root, name, image.shape[1:])}, name)

    def files(self, index: int) -> list[Path]:
        return [self._photos[self.names[index]], self._labels[self.names[index]]]


def read_labels(root: str | Path, name: str, size: tuple[int, ...] | None = None) -> Tensor:
    """The label map of a photo, int64, H x W, void 255, from a year's folder."""
    path = Path(root) / "SegmentationClass" / f"{name}.png"
    return reading.checked_labels(reading.read_png(path), len(CLASSES), path, size)


def split_names(root: str | Path, split: str) -> list[str]:
    """The names of a split's photos in order. ``seg11valid`` ships with this package, too."""
    lists = Path(root) / "ImageSets" / "Segmentation"
    if split == "seg11valid":
        return reading.own_or_shipped(lists / "seg11valid.txt", SEG11VALID)
    folder = reading.checked_folder(lists, "lists of VOC")
    path = folder / f"{split}.txt"
    if not path.is_file():
        others = ", ".join(sorted({"seg11valid", *(file.stem for file in folder.glob("*.txt"))}))
        raise FileNotFoundError(f"{path}: no such split; choose one of {others}")
    return reading.read_list(path)
