"""Your own photos and label maps: two folders and a list of classes.

::

    photos/NAME.jpg      any size; JPEG, PNG, WebP, BMP, TIFF, AVIF or, with pillow-heif, HEIC
    labels/NAME.png      same size; class labels, void 255; or colours of classes; PNG, TIFF, BMP,
                         GIF or lossless WebP
    classes.txt          one class per line, in label order from 0; optional colour: sky #9ecae1

Predictions are drawn in these colours. :mod:`fcn.data.class_lists` has the other forms of the list,
:mod:`fcn.data.label_maps` the rules by which label maps are read.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fcn.data import label_maps
from fcn.data import photos as photo_files
from fcn.data.class_lists import OWN, read_classes
from fcn.data.label_maps import Grey, check_sides, grey_kind, may_be_mask, read_label_map
from fcn.data.photos import HEIC, PHOTOS, header_size, opening
from fcn.data.reading import Problem, check_choice, raise_all
from fcn.data.sample import VOID, Sample, SegmentationDataset, list_checksum, validation_part

SPLITS = ("all", "train", "val")
_SYSTEM_FILES = re.compile(r"(?i)\..*|thumbs\.db|desktop\.ini|__macosx|.*:zone\.identifier")


class Folder(SegmentationDataset):
    """The photos in one folder with the label maps of the same names in another.

    ``split``: ``all``; or ``val``, a fixed tenth but at least one photo, and ``train``, the rest.
    ``side``: photos whose longer side exceeds it are scaled down, with their labels. ``palette``:
    C x 3, uint8, RGB, or None if the list of classes has no colours. Files that operating systems
    leave behind (``.DS_Store``, ``Thumbs.db``) are ignored. Names that differ only in the Unicode
    form of their accents are the same.

    Raises FileNotFoundError or ValueError for everything that is wrong with the folders; if there
    is more than one problem, each is a note of the exception.
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
        problems: list[Problem] | None = None,
    ) -> None:
        """With a list of ``problems``, append those of single files there instead of raising."""
        check_choice("a folder", "split", split, SPLITS)
        if side is not None and side < 32:
            raise ValueError(f"side is {side}: give at least 32 pixels")
        self.split, self.side, self._list = "all", side, Path(classes)
        self.classes = read_classes(classes)
        self.heads = {"semantic": self.classes.names}
        self.palette = self.classes.palette
        found: list[Problem] = [] if problems is None else problems
        self._root = Path(photos)
        self._photos, stems = _files(self._root, "photos", PHOTOS + HEIC, found)
        self._labels, mapped = _files(Path(labels), "label maps", label_maps.ENDINGS, found)
        _check_pairs(self._photos, mapped, "label map", Path(labels), ".png", found)
        _check_pairs(self._labels, stems, "photo", self._root, ".*", found)
        if problems is None:
            raise_all(
                found, f"{self._root} and their label maps: {len(found)} files cannot be used:"
            )
        self.names = sorted(self._photos.keys() & self._labels.keys())
        if split != "all":
            held_out = self.tenth()
            self.names = [name for name in self.names if (name in held_out) == (split == "val")]
            self.split = split

    def tenth(self) -> set[str]:
        """A fixed tenth of the names, at least one. Raises ValueError if it has only one."""
        if len(self.names) < 2:
            only = self.files(0)[0]
            raise ValueError(f"{only}: the only photo; give two or more, one to hold out")
        return validation_part(self.names) or {self.names[0]}

    def __getitem__(self, index: int) -> Sample:
        return self._read(self.names[index])[0]

    def _read(self, name: str) -> tuple[Sample, list[str]]:
        """A sample and what there is to note about its files."""
        path = self._labels[name]
        with opening(self._photos[name]) as image:  # sizes first: pixels can cost gigabytes
            size = header_size(image)
        found = read_label_map(path, self.classes, self._list, size, lambda: self._greys)
        pixels, orientation, brightened = photo_files.read(self._photos[name])
        check_sides(path, found, pixels.shape[:2], orientation)
        labels = found.labels
        if self.side is not None:
            pixels, labels = _shrunk(pixels, labels, self.side)
        notes = {
            "photo": orientation > 1,
            "map": found.orientation > 1,
            "bits": brightened,
            "transparent": found.transparent,
        }
        photo = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
        sample = Sample(photo, {"semantic": torch.from_numpy(labels).long()}, name)
        return sample, [note for note, true in notes.items() if true]

    @cached_property
    def _greys(self) -> Grey:
        """The meaning of greys in the label maps of all splits."""
        return grey_kind(self.classes, self._labels.values())

    def files(self, index: int) -> list[Path]:
        return [self._photos[self.names[index]], self._labels[self.names[index]]]

    @cached_property
    def contents(self) -> str:
        """As of the base class, and of how the label maps are read."""
        return list_checksum([super().contents, repr(self.classes), self._greys])


def checked(
    photos: str | Path,
    labels: str | Path,
    classes: str | Path,
    *,
    side: int | None = None,
    log: Callable[[str], None] = print,
) -> tuple[Folder, dict[str, NDArray[np.int64]]]:
    """A folder of which every file has been read, and each sample's labelled pixels per class.

    Logs what may surprise: another tool's list of classes, masks of 0 and 255, rotated photos.
    Raises what :class:`Folder` raises, for all problems of all files at once.
    """
    problems: list[Problem] = []
    folder = Folder(photos, labels, classes, side=side, problems=problems)
    names = folder.classes.names
    if folder.classes.form != OWN:
        log(f"{classes}: read as {folder.classes.form}: {_span(folder)}")
    notes: Counter[str] = Counter()
    pixels = {}
    for i, name in enumerate(folder.names, 1):
        try:
            sample, seen = folder._read(name)
        except (OSError, ValueError) as problem:
            problems.append(problem)
            continue
        notes.update(seen)
        counts = np.bincount(sample.labels["semantic"].flatten(), minlength=VOID + 1)
        pixels[name] = counts[: len(names)]
        if i % 200 == 0:
            log(f"checked {i} of {len(folder)} photos and their labels")
    raise_all(problems, f"{photos} and their label maps: {len(problems)} files cannot be used:")
    for line in _notes(folder, notes):
        log(line)
    return folder, pixels


def _span(folder: Folder) -> str:
    names, values = folder.classes.names, folder.classes.values
    return f"{len(names)} classes, {names[0]} (label {values[0]}) to {names[-1]} ({values[-1]})"


def _notes(folder: Folder, counts: Counter[str]) -> list[str]:
    """A line about each kind of note."""
    of, names = f"of {len(folder)}", folder.classes.names
    lines = {
        "photo": f"{counts['photo']} {of} photos are rotated as their EXIF orientation says; check "
        "that their label maps are upright, too",
        "map": f"{counts['map']} {of} label maps are rotated as their EXIF orientation says",
        "bits": f"{counts['bits']} {of} photos have 16 bits and use the lower ones: brightened",
        "transparent": f"{counts['transparent']} {of} label maps are transparent in parts: void",
    }
    found = [line for note, line in lines.items() if counts[note]]
    if may_be_mask(folder.classes) and folder._greys == "mask":
        found.append(
            f"the label maps hold only 0 and {VOID}: read as '{names[0]}' and '{names[1]}'"
        )
    return found


def _files(
    folder: Path, what: str, endings: tuple[str, ...], problems: list[Problem]
) -> tuple[dict[str, Path], set[str]]:
    """The files in a folder by stem, and all stems; notes other types, equal stems, subfolders."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of {what}; check the path")
    found: dict[str, Path] = {}
    stems: set[str] = set()
    for path in sorted(folder.iterdir()):
        if _SYSTEM_FILES.fullmatch(path.name):
            continue
        stem = unicodedata.normalize("NFC", path.stem)
        if path.is_dir():
            problem = f"{path}: a subfolder; put all {what} directly into {folder}"
        elif path.suffix.lower() not in endings:
            lossy = path.suffix.lower() in PHOTOS + HEIC  # of label maps: photos may be such
            remedy = label_maps.LOSSY if lossy else "save it as PNG or remove it"
            problem = f"{path}: {what} must be {', '.join(endings)}; {remedy}"
        elif stem in found:
            problem = (
                f"{path}: same name as {found[stem].name}; rename or remove one of them "
                f"(label maps need their own folder)"
            )
        else:
            found[stem] = path
            problem = ""
        stems.add(stem)
        if problem:
            problems.append(ValueError(problem))
    if not stems:
        raise ValueError(f"{folder}: contains no {what} ({', '.join(endings)}); check the path")
    return found, stems


def _check_pairs(
    these: dict[str, Path],
    others: set[str],
    what: str,
    folder: Path,
    ending: str,
    problems: list[Problem],
) -> None:
    alone = [name for name in these if name not in others]
    for name in alone:
        problem = (
            f"{these[name]}: has no {what}, {folder / name}{ending} ({len(alone)} of "
            f"{len(these)} have none); add it, or remove this file"
        )
        problems.append(FileNotFoundError(problem))


def _shrunk(
    photo: NDArray[np.uint8], labels: NDArray[np.uint8], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Photo (antialiased) and labels (nearest) with a longer side of at most ``side`` pixels."""
    height, width = labels.shape
    scale = side / max(height, width)
    if scale >= 1:
        return photo, labels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smaller = Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR)
    nearest = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    return np.array(smaller), np.array(nearest)
