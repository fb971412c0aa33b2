"""Your own photos and label maps: two folders and a list of classes.

::

    photos/NAME.jpg      any size; .jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff
    labels/NAME.png      same size; grey or palette: class labels, void 255; or RGB: class colours
    classes.txt          one class per line, in label order from 0; optional colour: sky #9ecae1

Predictions are drawn in these colours, and RGB label maps are decoded by them. A line
``void #rrggbb`` sets the colour of void in RGB label maps; it is not a class.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fcn.data.photos import decoding
from fcn.data.reading import check_choice, checked_labels, read_lines, read_photo
from fcn.data.sample import VOID, Sample, SegmentationDataset, validation_part

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SPLITS = ("all", "train", "val")
_SYSTEM_FILES = re.compile(r"(?i)\..*|thumbs\.db|desktop\.ini|__macosx|.*:zone\.identifier")
_INDICES = ("P", "L", "1", "I", "I;16")  # Pillow's modes with one number per pixel

Colour = tuple[int, int, int]


class Classes(NamedTuple):
    """A list of classes: names in label order, palette (C x 3, uint8, RGB) and colour of void."""

    names: tuple[str, ...]
    palette: NDArray[np.uint8] | None
    void: Colour | None


class Folder(SegmentationDataset):
    """The photos in one folder with the label maps of the same names in another.

    ``split``: ``all``; or ``val``, a fixed tenth but at least one photo, and ``train``, the rest.
    ``side``: photos whose longer side exceeds it are scaled down, with their labels. ``palette``:
    C x 3, uint8, RGB, or None if the list of classes has no colours. Files that operating systems
    leave behind (``.DS_Store``, ``Thumbs.db``) are ignored.
    """

    name = "folder"

    def __init__(
        self,
        photos: str | Path,
        labels: str | Path,
        classes: str | Path,
        split: str = "all",
        *,
        side: int | None = None,
    ) -> None:
        check_choice("a folder", "split", split, SPLITS)
        if side is not None and side < 32:
            raise ValueError(f"side is {side}: give at least 32 pixels")
        self.split, self.side, self._list = split, side, Path(classes)
        self.classes = read_classes(classes)
        self.heads = {"semantic": self.classes.names}
        self.palette = self.classes.palette
        self._photos = _files(Path(photos), "photos", PHOTOS)
        self._labels = _files(Path(labels), "label maps", (".png",))
        _check_pairs(self._photos, self._labels, "label map", Path(labels), ".png")
        _check_pairs(self._labels, self._photos, "photo", Path(photos), ".*")
        self.names = sorted(self._photos)
        if split != "all":
            if len(self.names) < 2:
                raise ValueError(f"{photos}: only one photo; give two or more, one is held out")
            held_out = validation_part(self.names) or {self.names[0]}
            self.names = [name for name in self.names if (name in held_out) == (split == "val")]

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        image, path = read_photo(self._photos[name]), self._labels[name]
        stored = _read_map(path, self.classes, self._list)
        remedy = f"correct it or {self._list}, whose first class has label 0"
        labels = checked_labels(stored, len(self.classes.names), path, image.shape[1:], remedy)
        if self.side is not None:
            image, labels = _shrunk(image, labels, self.side)
        return Sample(image, {"semantic": labels}, name)

    def files(self, index: int) -> list[Path]:
        return [self._photos[self.names[index]], self._labels[self.names[index]]]


def read_classes(path: str | Path) -> Classes:
    """The list of classes in a text file."""
    entries = [_entry(line, path) for line in read_lines(path, "classes", "class")]
    colours = [_hex(colour) for _, colour in entries if colour is not None]
    for what, values in (("class", [name for name, _ in entries]), ("colour", colours)):
        if twice := next((value for i, value in enumerate(values) if value in values[:i]), None):
            raise ValueError(f"{path}: {what} '{twice}' appears twice; each must be unique")
    if colours and len(colours) < len(entries):
        without = next(name for name, colour in entries if colour is None)
        raise ValueError(
            f"{path}: '{without}' has no colour but others do; give all classes a colour or none"
        )
    void = dict(entries).get("void")
    named = [(name, colour) for name, colour in entries if name != "void"]
    if void is None and len(named) < len(entries):
        raise ValueError(
            f"{path}: 'void' is not a class but label {VOID}; remove it and do not count it"
        )
    if not 2 <= len(named) <= VOID:
        raise ValueError(
            f"{path}: the number of classes is {len(named)}; give 2 (background is one) to {VOID}"
        )
    palette = np.array([colour for _, colour in named], np.uint8) if colours else None
    return Classes(tuple(name for name, _ in named), palette, void)


def _entry(line: str, path: str | Path) -> tuple[str, Colour | None]:
    """The name on a line and its colour, if any."""
    name, *rest = re.split(r"(?:^|\s)#", line, maxsplit=1)
    name = "void" if name.strip().lower() == "void" else name.strip()
    if not rest:
        return name, None
    if not name or not re.fullmatch(r"[0-9a-fA-F]{6}", rest[0]):
        raise ValueError(f"{path}: '{line}' is not a class with a colour, such as: sky #9ecae1")
    red, green, blue = bytes.fromhex(rest[0])
    return name, (red, green, blue)


def _files(folder: Path, what: str, endings: tuple[str, ...]) -> dict[str, Path]:
    """The files in a folder by stem; raises for subfolders, other types and equal stems."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of {what}; check the path")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _SYSTEM_FILES.fullmatch(path.name):
            continue
        if path.is_dir():
            raise ValueError(f"{path}: a subfolder; put all {what} directly into {folder}")
        if path.suffix.lower() not in endings:
            raise ValueError(
                f"{path}: {what} must be {', '.join(endings)}; save it as PNG or remove it"
            )
        if path.stem in found:
            raise ValueError(
                f"{path}: same name as {found[path.stem].name}; rename or remove one of them "
                f"(label maps need their own folder)"
            )
        found[path.stem] = path
    if not found:
        raise ValueError(f"{folder}: contains no {what} ({', '.join(endings)}); check the path")
    return found


def _check_pairs(
    these: dict[str, Path], others: dict[str, Path], what: str, folder: Path, ending: str
) -> None:
    if alone := [name for name in these if name not in others]:
        raise FileNotFoundError(
            f"{these[alone[0]]}: has no {what}, {folder / alone[0]}{ending} ({len(alone)} of "
            f"{len(these)} have none); add it, or remove this file"
        )


def _read_map(path: Path, classes: Classes, source: Path) -> NDArray[np.int64]:
    """A label map as stored, H x W, with colours replaced by the labels of their classes."""
    remedy = "save it as an 8-bit grey PNG of class labels"
    with decoding(path, "label map", remedy), Image.open(path) as opened:
        if opened.format != "PNG":
            raise ValueError(f"it is a {opened.format} file with another extension")
        if opened.mode in _INDICES:
            return np.array(opened).astype(np.int64)
        if opened.mode not in ("RGB", "RGBA"):
            raise ValueError(f"its pixels are neither labels nor colours but {opened.mode}")
        colours = np.array(opened)[..., :3]
    if classes.palette is None:
        raise ValueError(
            f"{path}: a label map in colours, but {source} has none; add one to each class "
            f"(sky #9ecae1) or {remedy}"
        )
    known = dict(enumerate(classes.palette.tolist()))
    if classes.void:
        known[VOID] = classes.void
    place_values = np.array([1 << 16, 1 << 8, 1])
    codes = colours @ place_values
    labels = np.full(codes.shape, -1, np.int64)
    for label, colour in known.items():
        labels[codes == colour @ place_values] = label
    if (labels < 0).any():
        row, column = np.argwhere(labels < 0)[0]
        raise ValueError(
            f"{path}: colour {_hex(colours[row, column])} at row {row}, column {column} is not in "
            f"{source}; add it there (void #rrggbb for void) or save the map without smoothing"
        )
    return labels


def _hex(colour: Colour | NDArray[np.uint8]) -> str:
    return "#" + bytes(int(value) for value in colour).hex()


def _shrunk(image: Tensor, labels: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Photo (antialiased) and labels (nearest) with a longer side of at most ``side`` pixels."""
    scale = side / max(labels.shape)
    if scale >= 1:
        return image, labels
    size = [max(1, round(length * scale)) for length in labels.shape]
    smaller = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0]
    nearest = F.interpolate(labels[None, None].float(), size=size, mode="nearest-exact")[0, 0]
    return smaller.round().clamp(0, 255).to(image.dtype), nearest.long()
