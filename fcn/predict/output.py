"""Files of predictions: label maps, overlays, archives of label maps, VOC's submission."""

import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from fcn.data.palettes import Palette, voc_palette
from fcn.environment import atomic_write, check_writable
from fcn.predict import photo as photos
from fcn.predict.enlarge import Labels, joined
from fcn.predict.legend import Named, Shares, nearest, page_size, sheet
from fcn.predict.photo import Photo
from fcn.predict.segmenter import Segmenter

# The folder that PASCAL VOC's test server expects; comp6 allows other training data.
SUBMISSION = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")


@dataclass(frozen=True)
class Result:
    """A segmented photo: its files, the share of each class in percent, or what went wrong."""

    photo: Path
    files: tuple[Path, ...] = ()
    shares: Shares = ()  # type: ignore[assignment]
    size: tuple[int, int] = (0, 0)  # height, width
    error: str = ""

    def json(self) -> str:
        """One line of ASCII."""
        line: dict[str, Any] = {"photo": str(self.photo)}
        if self.error:
            return json.dumps(line | {"error": self.error})
        line |= {"height": self.size[0], "width": self.size[1], "files": [*map(str, self.files)]}
        return json.dumps(line | {"shares": dict(self.shares)})


def shares(labels: ArrayLike, classes: Sequence[str]) -> Shares:
    """The share of pixels of each class in ``labels`` (H x W), in percent, largest first."""
    return shares_of(np.bincount(np.asarray(labels).ravel(), minlength=len(classes)), classes)


def shares_of(counts: NDArray[np.integer[Any]], classes: Sequence[str]) -> Shares:
    """The share of each class in percent, largest first, from its number of pixels."""
    total = max(1, counts.sum())
    found = [(name, 100 * n / total) for name, n in zip(classes, counts.tolist(), strict=True) if n]
    return sorted(found, key=lambda pair: -pair[1])


class Files:
    """``STEM.labels.png`` (palette) and ``STEM.overlay.png`` in a folder, for each photo.

    The labels of a raster with a georeference become a GeoTIFF, ``STEM.labels.tif``.
    """

    def __init__(self, out: Path, overlay: bool = True) -> None:
        self.out, self.overlay = out, overlay

    def paths(self, stem: Path, raster: bool = False) -> tuple[Path, ...]:
        """The files of one photo."""
        kinds = ["labels.tif" if raster else "labels.png", *["overlay.png"] * self.overlay]
        return tuple(self.out / stem.parent / f"{stem.name}.{kind}" for kind in kinds)

    def exist(self, stem: Path) -> bool:
        """True if a photo's files are there."""
        return any(all(p.is_file() for p in self.paths(stem, kind)) for kind in (False, True))

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result:
        """Write a photo's files. Raises ValueError if the folder is not writable."""
        paths = self.paths(stem, photo.raster is not None)
        check_folder(paths[0].parent, "--out")
        seen = Seen(photo, net.classes)
        if photo.raster is not None:
            masked = photo.raster.masked(strips)
            photo.raster.save(paths[0], seen.passing(masked), net.palette)
        else:
            save(paths[0], label_map(joined(seen.passing(strips), photo.height), net.palette))
        found = shares_of(seen.counts, net.classes)
        if self.overlay and photo.page is not None:
            page = page_size(photo.height, photo.width)[0]
            save(paths[1], sheet(page, photo.page, seen.page, net, found))
        return Result(photo.path, paths, found, (photo.height, photo.width))


class Submission:
    """Label maps in the folder that PASCAL VOC's test server expects, below ``out``.

    The server accepts an archive of the folder ``results`` with one palette PNG per photo, of the
    same size: 0 background, 1..20 objects, in VOC's colours. Raises ValueError if the net's
    classes are not VOC's.
    """

    overlay = False

    def __init__(self, out: Path, net: Named) -> None:
        from fcn.data.voc import CLASSES  # imports torch

        if net.classes != [*CLASSES]:
            own, theirs = (f"{len(c)} classes, {c[0]} to {c[-1]}" for c in (net.classes, CLASSES))
            problem = f"PASCAL VOC's test server expects {theirs}; this net has {own}"
            raise ValueError(
                f"--submission: {problem}; give --weights trained on PASCAL VOC or SBD"
            )
        self.out = out
        self.names: set[str] = set()

    def path(self, stem: Path) -> Path:
        """The file of a photo."""
        return self.out / SUBMISSION / f"{stem.name}.png"

    def exist(self, stem: Path) -> bool:
        """True if a photo's file is there."""
        return self.path(stem).is_file()

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result:
        """Write a photo's label map.

        Raises ValueError if the folder is not writable, or for a second photo of one name.
        """
        path = self.path(stem)
        if stem.name != photo.path.stem or stem.name in self.names:
            problem = f'another photo is named "{photo.path.stem}", too'
            raise ValueError(f"{photo.path}: {problem}; give one photo per name to --submission")
        self.names.add(stem.name)
        check_folder(path.parent, "--submission")
        labels = joined(strips, photo.height)
        save(path, label_map(labels, voc_palette(256)))
        return Result(photo.path, (path,), shares(labels, net.classes), labels.shape)


class Shard:
    """One archive of many label maps, with ``index.jsonl``: a line for each photo.

    It is written whole or not at all, so a run that was interrupted continues at the next one.
    """

    overlay = False
    INDEX = "index.jsonl"
    MADE_BY = "made_by.json"  # the net's SHA-256 and the side of the photos

    def __init__(self, archive: tarfile.TarFile, path: Path) -> None:
        self.archive, self.path, self.lock = archive, path, Lock()

    def exist(self, stem: Path) -> bool:
        """False: the archive is new."""
        return False

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result:
        """Add a photo's label map to the archive."""
        labels = joined(strips, photo.height)
        name = stem.with_name(f"{stem.name}.labels.png")
        self.add(name.as_posix(), png(label_map(labels, net.palette)))
        return Result(photo.path, (self.path / name,), shares(labels, net.classes), labels.shape)

    def add(self, name: str, content: bytes) -> None:
        """Add a file; threads take turns."""
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        with self.lock:
            self.archive.addfile(entry, io.BytesIO(content))

    @staticmethod
    def made_by(path: Path) -> dict[str, Any] | None:
        """By which net an archive was made; None if it does not say."""
        try:
            with tarfile.open(path, "r:") as archive:
                return dict(json.load(archive.extractfile(Shard.MADE_BY)))  # type: ignore[arg-type]
        except (OSError, LookupError, ValueError, TypeError, tarfile.TarError):
            return None

    @staticmethod
    def index(path: Path) -> Iterator[dict[str, Any]]:
        """The lines of an archive's index. Raises ValueError if it is damaged."""
        try:
            with tarfile.open(path, "r:") as archive:
                yield from map(json.loads, archive.extractfile(Shard.INDEX) or ())
        except (OSError, LookupError, ValueError, tarfile.TarError):
            raise ValueError(f"{path}: not an archive of label maps; move it away") from None


class Seen:
    """What strips of labels leave behind as they pass: pixels per class, labels for the page."""

    def __init__(self, photo: Photo, classes: Sequence[str]) -> None:
        self.photo = photo
        self.counts = np.zeros(len(classes), np.int64)
        size = page_size(photo.height, photo.width)[1:]
        self.rows, self.columns = nearest(photo.height, size[0]), nearest(photo.width, size[1])
        self.page = np.zeros(size, np.min_scalar_type(len(classes)))

    def passing(self, strips: Iterable[Labels]) -> Iterator[Labels]:
        """The strips, unchanged."""
        top = 0
        for labels in strips:
            counts = np.bincount(labels.ravel(), minlength=len(self.counts))
            self.counts += counts[: len(self.counts)]  # void is no class
            first, last = np.searchsorted(self.rows, (top, top + len(labels)))
            self.page[first:last] = labels[self.rows[first:last] - top][:, self.columns]
            top += len(labels)
            yield labels


def write(
    photo: Path, segmenter: Segmenter, out: Path, side: int | None = 512
) -> tuple[list[Path], Shares]:
    """Segment a photo; write ``NAME.labels.png`` (palette) and ``NAME.overlay.png`` to ``out``.

    Returns the two paths and the share of each class. Raises ValueError if ``out`` is not writable.
    """
    result = _one(photo, segmenter, Files(out), side)
    return [*result.files], result.shares


def submit(
    photo: Path, segmenter: Segmenter, out: Path, side: int | None = 512
) -> tuple[Path, Shares]:
    """Segment a photo for PASCAL VOC's test server: see :class:`Submission`.

    Returns the path of the label map and the share of each class.
    """
    result = _one(photo, segmenter, Submission(out, segmenter), side)
    return result.files[0], result.shares


def _one(photo: Path, segmenter: Segmenter, to: Files | Submission, side: int | None) -> Result:
    read = photos.read(photo, side, to.overlay)
    strips = segmenter.strips(read.shrunk, read.height, read.width)
    return to.save(read, Path(photo.stem), strips, segmenter)


def label_map(labels: Labels, colours: Palette) -> Image.Image:
    """A palette image of ``labels`` (H x W) in ``colours`` (C x 3, RGB); 16-bit beyond 256."""
    if len(colours) > 256:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8, copy=False))
    picture.putpalette(colours.tobytes())
    return picture


# For such pictures this strategy is several times as fast as Pillow's, with smaller files.
_PNG: dict[str, Any] = {"format": "PNG", "compress_level": 1, "compress_type": zlib.Z_RLE}


def save(path: Path, picture: Image.Image) -> None:
    """Write a PNG, whole or not at all."""
    with atomic_write(path) as partial:
        picture.save(partial, **_PNG)


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, **_PNG)
    return buffer.getvalue()


@lru_cache(maxsize=1024)  # once per folder
def check_folder(folder: Path, option: str) -> None:
    """:func:`check_writable`, once."""
    check_writable(folder, option)
