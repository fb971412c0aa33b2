"""PASCAL VOC (Everingham et al.), its segmentation task: 20 classes of objects and background.

Section 5 of the paper, Tables 1 to 3. A year's folder is laid out as it was published::

    VOCdevkit/VOC2012/JPEGImages/NAME.jpg
    VOCdevkit/VOC2012/SegmentationClass/NAME.png            palette: 0 background, 1..20 the classes, 255 void
    VOCdevkit/VOC2012/ImageSets/Segmentation/SPLIT.txt      train, val, trainval

Void is the outline of each object, some five pixels wide, and what the annotators left open. Photos are of any size up
to 500 x 500.

``seg11valid``, shipped with this package, is the part of VOC 2011 val on which the paper scores the nets that were
trained on SBD: the 736 photos that are not among SBD's training photos.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from fcn.data.label_files import read_png
from fcn.data.palettes import PALETTES, voc_palette
from fcn.data.reading import (
    checked_files,
    checked_folder,
    checked_labels,
    checked_names,
    read_list,
    read_photo,
)
from fcn.data.sample import ListedDataset, Sample

MEAN_BGR = (104.00699, 116.66877, 122.67892)
"""Mean colour of ImageNet's photos, blue, green, red in 0..255, which the authors' release subtracts here."""

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

SEG11VALID = Path(__file__).parent / "lists" / "voc_seg11valid.txt"


PALETTE = PALETTES["voc"]
palette = voc_palette


class Voc(ListedDataset):
    """PASCAL VOC of one year in its official layout; ``root`` is the year's folder, such as ``VOCdevkit/VOC2012``.

    ``split`` is ``seg11valid`` (736) or names a list in ``ImageSets/Segmentation``: of VOC 2012 ``train`` (1464),
    ``val`` (1449) and ``trainval``, of VOC 2011 ``train`` (1112) and ``val`` (1111), or one of your own. ``names``
    takes other photos in place of the split's. A folder without photos shares those of VOC 2012 beside it, which has
    all of the earlier years'.

    torchvision's ``VOCSegmentation`` reads the same folder, but none but the official lists.

    Raises FileNotFoundError where a folder, a list or a file is missing and ValueError for an empty list and, on
    reading, for files that do not hold what they should.
    """

    name = "voc"
    heads: dict[str, tuple[str, ...]] = {"semantic": CLASSES}

    def __init__(
        self, root: str | Path, split: str = "train", *, names: Sequence[str] | None = None
    ) -> None:
        self.split = split
        self.root = checked_folder(root, "PASCAL VOC")
        self.names = (
            split_names(self.root, split)
            if names is None
            else checked_names(names, "Voc(names=...)")
        )
        self._photos = self.root / "JPEGImages"
        if not self._photos.is_dir():
            self._photos = checked_folder(
                self.root.parent / "VOC2012" / "JPEGImages", "PASCAL VOC's photos"
            )
        checked_files(self._photos, self.names, ".jpg")
        checked_files(
            checked_folder(self.root / "SegmentationClass", "label maps"), self.names, ".png"
        )

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, RGB; ``labels["semantic"]`` int64, H x W, void 255."""
        name = self.names[index]
        image = read_photo(self._photos / f"{name}.jpg")
        return Sample(
            image,
            {"semantic": read_labels(self.root, name, (image.shape[1], image.shape[2]))},
            name,
        )


def read_labels(root: str | Path, name: str, size: tuple[int, int] | None = None) -> Tensor:
    """The label map of a photo, int64, H x W, void 255, from a year's folder; of the photo's ``size`` where given.

    Raises FileNotFoundError where there is none and ValueError where it does not hold what it should.
    """
    path = Path(root) / "SegmentationClass" / f"{name}.png"
    labels = read_png(path)
    return checked_labels(
        labels, size=size or (labels.shape[0], labels.shape[1]), num_classes=len(CLASSES), file=path
    )


def split_names(root: str | Path, split: str) -> list[str]:
    """The names of a split's photos, in order. Raises FileNotFoundError, naming those there are, for one that is none.

    ``seg11valid`` needs no file below ``root``.
    """
    if split == "seg11valid":
        return read_list(SEG11VALID)
    folder = checked_folder(Path(root) / "ImageSets" / "Segmentation", "PASCAL VOC's lists")
    path = folder / f"{split}.txt"
    if not path.is_file():
        others = ", ".join(sorted({"seg11valid", *(file.stem for file in folder.glob("*.txt"))}))
        raise FileNotFoundError(f"{path}: no such split; choose one of {others}")
    return read_list(path)
