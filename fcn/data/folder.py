"""Photos and label maps of one's own: two folders and a list of classes.

::

    photos/NAME.jpg      any size; .jpg, .jpeg, .png, .webp, .bmp, .tif or .tiff
    labels/NAME.png      of the photo's size: grey or palette, the label of each pixel, void 255; or colours (RGB)
    classes.txt          a class a line in the order of the labels, from 0 on, and if you like its colour: sky #9ecae1

Colours are what predictions are painted in, and what label maps in colours are read by; a line ``void #rrggbb`` gives
the colour that void has in those, and is no class. A tenth of the photos, chosen by their names, is held out.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fcn.data.reading import checked_labels, read_photo
from fcn.data.sample import VOID, ListedDataset, Sample, validation_part

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
SPLITS = ("all", "train", "val")
_LEFT_BY_SYSTEMS = re.compile(r"\..*|thumbs\.db|desktop\.ini|__macosx|.*:zone\.identifier", re.IGNORECASE)
_INDICES = ("P", "L", "1", "I", "I;16")  # Pillow's modes of one number a pixel


Colour = tuple[int, int, int]


class Classes(NamedTuple):
    """A list of classes: their ``names`` in the order of the labels, and the ``palette`` (C x 3, uint8, RGB) and the
    colour of ``void`` in label maps of colours, where the list gives them."""

    names: tuple[str, ...]
    palette: NDArray[np.uint8] | None
    void: Colour | None


class Folder(ListedDataset):
    """The photos in one folder with the label maps of the same names in another.

    ``classes``: the text file that names the classes. ``split``: ``all`` of the photos; or ``val``, a fixed tenth but
    at least one photo, and ``train``, the others. Where the longer side of a photo exceeds ``side`` pixels, photo and
    labels are read at that size. ``palette`` is C x 3, uint8, RGB, or None where the list of classes has no colours.
    What operating systems leave in folders (``.DS_Store``, ``Thumbs.db``) is ignored.

    Raises FileNotFoundError where a folder or one of a pair of files is missing, and ValueError, naming the file, for
    a list of classes or a folder that holds what it should not, for a split that does not exist and, on reading, for
    files that cannot be read, differ in size or hold labels or colours outside the classes.
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
        if split not in SPLITS:
            raise ValueError(f"a folder has no split '{split}'; choose one of {', '.join(SPLITS)}")
        if side is not None and side < 32:
            raise ValueError(f"side is {side}: give at least 32 pixels")
        self.split, self.side, self._list = split, side, Path(classes)
        self.classes = read_classes(classes)
        self.heads = {"semantic": self.classes.names}
        self.palette = self.classes.palette
        self._photos = _files(photos, "photos", PHOTOS, "save it as JPEG or PNG, or move it away")
        self._labels = _files(labels, "label maps", (".png",), "save label maps as PNG, which keeps every label")
        _check_pairs(self._photos, self._labels, Path(photos), Path(labels))
        self.names = _split_names(sorted(self._photos), split, Path(photos))

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, RGB; ``labels["semantic"]`` int64, H x W, void 255."""
        name = self.names[index]
        image = read_photo(self._photos[name])
        path = self._labels[name]
        labels = checked_labels(
            _read_map(path, self.classes, self._list),
            size=(image.shape[1], image.shape[2]), num_classes=len(self.classes.names), file=path,
            mend=f"correct it, or {self._list}, whose first class has label 0",
        )  # fmt: skip
        return Sample(*_at_most(self.side, image, labels), name)


def read_classes(path: str | Path) -> Classes:
    """The list of classes in a text file.

    Raises FileNotFoundError where there is no such file; ValueError where it is no text, names fewer than two classes
    or more than 255, a class or a colour twice, and where some lines have a colour and others none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of classes; give a text file that names one class a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # Windows' editors begin a file with a mark
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8; give one that names one class a line") from None
    entries = [_entry(line.strip(), path) for line in lines if line.strip()]
    colours = [_hex(colour) for _, colour in entries if colour is not None]
    for what, values in (("class", [name for name, _ in entries]), ("colour", colours)):
        if twice := next((value for i, value in enumerate(values) if value in values[:i]), None):
            raise ValueError(f"{path}: the {what} '{twice}' is there twice; give each line a {what} of its own")
    if colours and len(colours) < len(entries):
        without = next(name for name, colour in entries if colour is None)
        raise ValueError(f"{path}: '{without}' has no colour but others have; give one to every class, or to none")
    void = dict(entries).get("void")
    named = [(name, colour) for name, colour in entries if name != "void"]
    if void is None and len(named) < len(entries):
        raise ValueError(f"{path}: 'void' is no class but label {VOID}; remove it, and count the labels without it")
    if not 2 <= len(named) <= VOID:
        raise ValueError(f"{path}: the number of classes is {len(named)}; name 2 (background is one) to {VOID}")
    palette = np.array([colour for _, colour in named], np.uint8) if colours else None
    return Classes(tuple(name for name, _ in named), palette, void)


def _entry(line: str, path: Path) -> tuple[str, Colour | None]:
    """The name in a line, and the colour, if there is one."""
    name, *rest = re.split(r"(?:^|\s)#", line, maxsplit=1)
    name = "void" if name.strip().lower() == "void" else name.strip()
    if not rest:
        return name, None
    if not name or not re.fullmatch(r"[0-9a-fA-F]{6}", rest[0]):
        raise ValueError(f"{path}: '{line}' is no class with a colour; write it like this: sky #9ecae1")
    red, green, blue = bytes.fromhex(rest[0])
    return name, (red, green, blue)


def _files(folder: str | Path, what: str, endings: tuple[str, ...], mend: str) -> dict[str, Path]:
    """The files of a folder by their names without ending; an error where one is of another kind, or two share one."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of {what}; check the path")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _LEFT_BY_SYSTEMS.fullmatch(path.name):
            continue
        if path.is_dir():
            raise ValueError(f"{path}: a folder among the {what}; put all {what} side by side in {folder}")
        if path.suffix.lower() not in endings:
            raise ValueError(f"{path}: not one of the kinds of file read as {what} ({', '.join(endings)}); {mend}")
        if path.stem in found:
            raise ValueError(
                f"{path}: {found[path.stem].name} beside it has the same name; rename or remove one of them "
                "(label maps need a folder of their own)"
            )
        found[path.stem] = path
    if not found:
        raise ValueError(f"{folder}: holds no {what} ({', '.join(endings)}); check the path")
    return found


def _check_pairs(photos: dict[str, Path], labels: dict[str, Path], photo_folder: Path, label_folder: Path) -> None:
    pairs = (("label map", photos, labels, label_folder, ".png"), ("photo", labels, photos, photo_folder, ".*"))
    for what, these, others, folder, ending in pairs:
        if alone := [name for name in these if name not in others]:
            raise FileNotFoundError(
                f"{these[alone[0]]}: has no {what}, {folder / alone[0]}{ending} ({len(alone)} of {len(these)} have "
                f"none); add it, under the same name, or remove this file"
            )


def _split_names(names: list[str], split: str, folder: Path) -> list[str]:
    if split == "all":
        return names
    if len(names) < 2:
        raise ValueError(f"{folder}: one photo alone; give two at least, since one is held out to score the net on")
    held_out = validation_part(names) or {names[0]}
    return [name for name in names if (name in held_out) == (split == "val")]


def _read_map(path: Path, classes: Classes, listed_in: Path) -> NDArray[np.integer]:
    """A label map as it is stored, H x W; colours become the labels of the classes that have them."""
    try:
        with Image.open(path) as opened:
            if opened.format != "PNG":
                raise ValueError(f"it is a {opened.format} file under another name")
            if opened.mode in _INDICES:
                return np.array(opened).astype(np.int64)
            if opened.mode not in ("RGB", "RGBA"):
                raise ValueError(f"its pixels are neither labels nor colours, but {opened.mode}")
            colours = np.array(opened)[..., :3]
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as a label map ({reason}); save it as PNG, 8-bit grey, the label of each pixel"
        ) from None
    if classes.palette is None:
        raise ValueError(
            f"{path}: a label map in colours, and {listed_in} gives none; write a colour after each class "
            "(sky #9ecae1), or save the map as grey, the label of each pixel"
        )
    known = [*map(tuple, classes.palette.tolist()), *([classes.void] if classes.void else [])]
    labels = np.full(colours.shape[:2], -1, np.int64)
    codes = _code(colours)
    for label, colour in enumerate(known):
        labels[codes == _code(np.array(colour))] = label if label < len(classes.names) else VOID
    if (labels < 0).any():
        row, column = np.argwhere(labels < 0)[0]
        raise ValueError(
            f"{path}: the colour {_hex(colours[row, column])} at row {row}, column {column} is no class's in "
            f"{listed_in}; add it there (void #rrggbb for void), or save the map without smoothing"
        )
    return labels


def _code(colours: NDArray[np.integer]) -> NDArray[np.int64]:
    """One number a colour (..., 3)."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _hex(colour: Colour | NDArray[np.uint8]) -> str:
    return "#" + bytes(int(value) for value in colour).hex()


def _at_most(side: int | None, image: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Photo and labels with a longer side of at most ``side`` pixels: averaged colours, the nearest pixel's label."""
    height, width = labels.shape
    if side is not None and side < max(height, width):
        scale = side / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        smaller = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0]
        image = smaller.round().clamp(0, 255).to(image.dtype)
        labels = F.interpolate(labels[None, None].float(), size=size, mode="nearest-exact")[0, 0].long()
    return image, {"semantic": labels}
