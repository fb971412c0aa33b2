"""Write converted annotations as photos, label maps and a list of classes."""

import io
import re
import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from fcn.data.class_lists import Classes, hex_of
from fcn.data.palettes import voc_palette
from fcn.data.photos import HEIC, PHOTOS, opening, orientation_of, upright_size
from fcn.data.reading import Problem, raise_all
from fcn.data.sample import VOID

BACKGROUND = ("background", "_background_")
Labels = NDArray[np.uint8]
Paint = Callable[[Labels, dict[str, int]], None]
"""Draw a photo's shapes in its label map, H x W, with the labels of the classes."""


class Item(NamedTuple):
    """A photo, its file's name or content, and its shapes, for pixels of ``size``: height, width.

    ``size`` None is that of the upright photo.
    """

    name: str
    photo: Path | bytes
    size: tuple[int, int] | None
    paint: Paint


@dataclass
class Annotations:
    """The content of a tool's files. ``classes``: a complete list, background included."""

    source: Path
    names: Sequence[str]
    items: list[Item]
    colours: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    classes: Classes | None = None
    problems: list[Problem] = field(default_factory=list)


def write(found: Annotations, out: Path, unlabelled: str, log: Callable[[str], None]) -> list[str]:
    """Write all of it or nothing; returns the names of the classes."""
    names, rest = _names(found, unlabelled)
    palette, void = _palette(names, found)
    index = {name: label for label, name in enumerate(names)} | {"__ignore__": VOID}
    partial = out.with_name(f".{out.name}.partial")
    problems = list(found.problems)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for folder in ("photos", "labels"):
            (partial / folder).mkdir(parents=True)
        pixels, taken = np.zeros(VOID + 1, np.int64), set()
        for i, item in enumerate(found.items, 1):
            try:
                key = unicodedata.normalize("NFC", item.name).casefold()
                if key in taken:
                    raise ValueError(f"{item.name}: two photos would have this name; rename one")
                taken.add(key)
                labels = _painted(item, _copied(item, partial / "photos"), rest, index)
            except (FileNotFoundError, ValueError) as problem:
                problems.append(problem)
                continue
            picture = Image.fromarray(labels)
            picture.putpalette(_full(palette, void).tobytes())
            picture.save(partial / "labels" / f"{item.name}.png")
            pixels += np.bincount(labels.ravel(), minlength=VOID + 1)
            if i % 200 == 0:
                log(f"converted {i} of {len(found.items)} photos")
        if not found.items and not problems:
            problems.append(ValueError(f"{found.source}: contains no annotated photo"))
        raise_all(problems, f"{found.source}: {len(problems)} problems:")
        lines = [f"{n} {hex_of(c)}" for n, c in zip(names, palette, strict=True)]
        lines += [f"void {hex_of(void)}"]
        (partial / "classes.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if out.is_dir():
            out.rmdir()  # empty, unless something came in since
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if absent := [name for name, n in zip(names, pixels, strict=False) if not n]:
        log(f"no pixels of: {', '.join(absent)}")
    return names


def flat(name: str) -> str:
    """The name, without ending, of a photo that may be in a subfolder: ``a/b.jpg`` is ``a_b``.

    Raises ValueError for a path out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise ValueError(f"'{name}' is not inside the folder of photos; give a relative path")
    return "_".join(path.with_suffix("").parts)


def photo_in(folder: Path, name: str) -> Path:
    """The photo of this name in the folder. Raises FileNotFoundError."""
    path = folder / name.replace("\\", "/")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such photo; give their folder with --photos")
    return path


def polygon(labels: Labels, label: int, points: Sequence[Sequence[float]]) -> None:
    """Fill a polygon of (x, y), its outline included."""
    picture = Image.fromarray(labels)
    corners = [(float(x), float(y)) for x, y in points]
    if len(corners) < 3:
        raise ValueError(f"a polygon of {len(corners)} points, which has no area")
    if not np.abs(corners).max() < 1e6:
        raise ValueError("a polygon far outside the photo")
    ImageDraw.Draw(picture).polygon(corners, fill=label, outline=label)
    labels[:] = np.asarray(picture)


def ellipse(
    labels: Labels, label: int, centre: tuple[float, float], radii: tuple[float, float]
) -> None:
    """Fill an ellipse with its axes along the photo's sides."""
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    (x, y), (across, down) = centre, radii
    inside = ((columns - x) / max(across, 0.5)) ** 2 + ((rows - y) / max(down, 0.5)) ** 2 <= 1
    labels[inside] = label


def paste(labels: Labels, label: int, mask: NDArray[np.bool_], left: int, top: int) -> None:
    """Fill a mask whose upper left pixel is at (left, top); what is outside is cut off."""
    height, width = labels.shape
    y, x = max(0, top), max(0, left)
    part = mask[y - top : height - top, x - left : width - left]
    labels[y : y + part.shape[0], x : x + part.shape[1]][part] = label


def _names(found: Annotations, unlabelled: str) -> tuple[list[str], int]:
    """The names of the classes in order, and the label of pixels outside all shapes."""
    if found.classes is not None:
        names = list(found.classes.names)
    else:
        names = list(dict.fromkeys(found.names))
        if unlabelled == "background" and not any(name in BACKGROUND for name in names):
            names = ["background", *names]
    if not 2 <= len(names) <= VOID:
        raise ValueError(f"{found.source}: {len(names)} classes; 2 to {VOID} can be converted")
    if unlabelled == "void":
        return names, VOID
    rest = next((i for i, name in enumerate(names) if name in BACKGROUND), None)
    if rest is None:
        raise ValueError(
            "the list of classes has no background, the class of pixels outside all shapes; add "
            "it, or give --unlabelled void"
        )
    return names, rest


def _palette(
    names: list[str], found: Annotations
) -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
    """The colours of the classes and of void: the tool's, if they differ; or PASCAL VOC's."""
    void = (224, 224, 192)
    if found.classes is not None and found.classes.palette is not None:
        return found.classes.palette, found.classes.void or void
    own = [found.colours.get(name, (0, 0, 0) if name in BACKGROUND else None) for name in names]
    if found.colours and None not in own and len({*own, void}) == len(names) + 1:
        return np.array(own, np.uint8), void
    return voc_palette(len(names)), void


def _full(palette: NDArray[np.uint8], void: tuple[int, int, int]) -> NDArray[np.uint8]:
    full = np.zeros((VOID + 1, 3), np.uint8)
    full[: len(palette)], full[VOID] = palette, void
    return full


def _copied(item: Item, folder: Path) -> Path:
    """The copy of the photo."""
    if isinstance(item.photo, bytes):
        try:
            with Image.open(io.BytesIO(item.photo)) as image:
                ending = {"JPEG": ".jpg"}.get(image.format or "", f".{image.format}".lower())
        except (OSError, ValueError):
            raise ValueError(f"{item.name}: the photo inside its annotation is damaged") from None
    else:
        ending = item.photo.suffix
    if ending.lower() not in PHOTOS + HEIC:
        raise ValueError(f"{item.photo!s:.200}: photos must be {', '.join(PHOTOS)}; convert it")
    copy = folder / f"{item.name}{ending}"
    if isinstance(item.photo, bytes):
        copy.write_bytes(item.photo)
    else:
        shutil.copyfile(item.photo, copy)
    return copy


def _painted(item: Item, photo: Path, rest: int, index: dict[str, int]) -> Labels:
    """The label map of the photo, upright."""
    shown = item.name if isinstance(item.photo, bytes) else item.photo
    with opening(photo) as image:
        upright, orientation = upright_size(image), orientation_of(image)
    size = item.size or upright
    turned = size != upright and size == upright[::-1] and orientation > 4
    if size != upright and not turned:
        found, wanted = (f"{h} x {w}" for h, w in (size, upright))
        problem = f"it is {wanted} but its annotation is for {found} (height x width)"
        raise ValueError(f"{shown}: {problem}; give the photo that was annotated")
    labels = np.full(size, rest, np.uint8)
    try:
        item.paint(labels, index)
    except ValueError as problem:
        raise ValueError(f"{shown}: {problem}") from None
    if not turned:
        return labels
    picture = Image.fromarray(labels)  # of shapes that were drawn on the pixels as stored
    picture.getexif()[0x112] = orientation
    return np.array(ImageOps.exif_transpose(picture))
