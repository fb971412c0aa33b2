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
from PIL.PngImagePlugin import PngInfo

from fcn.data.palettes import Palette, voc_palette
from fcn.data.photos import opening
from fcn.environment import atomic_write, check_writable, writing
from fcn.predict import geotiff
from fcn.predict import photo as photos
from fcn.predict.enlarge import Labels, joined
from fcn.predict.legend import Named, Shares, nearest, page_size, sheet
from fcn.predict.photo import Photo
from fcn.predict.segmenter import Segmenter

LABELS, RASTER_LABELS, OVERLAY = RESULTS = (".labels.png", ".labels.tif", ".overlay.png")
OTHERS = "by another net or --side; give the same, or another"  # folder or archive of results
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
    """The share of each class in ``labels`` (H x W), in percent, largest first; without void."""
    counts = np.bincount(np.asarray(labels).ravel(), minlength=len(classes))
    return shares_of(counts[: len(classes)], classes)


def shares_of(counts: NDArray[np.integer[Any]], classes: Sequence[str]) -> Shares:
    """The share of each class in percent, largest first, from its number of pixels."""
    total = max(1, counts.sum())
    found = [(name, 100 * n / total) for name, n in zip(classes, counts.tolist(), strict=True) if n]
    return sorted(found, key=lambda pair: -pair[1])


@dataclass(frozen=True)
class Mark:
    """The origin of files, which they name: the net's checksum and the side of the photos."""

    net: str
    side: int | None

    def text(self, photo: Path) -> str:
        """The mark of a photo's files: one line of ASCII."""
        return json.dumps({"net": self.net, "side": self.side, "photo": photo.name})

    def on(self, path: Path, photo: Path, option: str) -> bool:
        """True if a file is of ``photo``, or has no mark; False if of another one, or damaged.

        Raises ValueError, naming ``option``, if another net or side made it.
        """
        try:
            if path.name.endswith(RASTER_LABELS):
                text = geotiff.mark_of(path)
            else:
                with opening(path) as picture:
                    text = str(picture.info.get(geotiff.MARK, ""))
            found = dict(json.loads(text or "{}"))
        except (ValueError, TypeError):
            return False
        if found and (found.get("net"), found.get("side")) != (self.net, self.side):
            raise ValueError(f"{path}: {OTHERS} {option}")
        return not found or found.get("photo") == photo.name


class Files:
    """``STEM.labels.png`` (palette) and ``STEM.overlay.png`` in a folder, for each photo.

    The labels of a raster with a georeference become a GeoTIFF, ``STEM.labels.tif``.
    """

    def __init__(self, out: Path, overlay: bool = True, mark: Mark | None = None) -> None:
        self.out, self.overlay, self.mark = out, overlay, mark

    def paths(self, stem: Path, raster: bool = False) -> tuple[Path, ...]:
        """The files of one photo."""
        kinds = [RASTER_LABELS if raster else LABELS, *[OVERLAY] * self.overlay]
        return tuple(self.out / stem.parent / f"{stem.name}{kind}" for kind in kinds)

    def exist(self, photo: Path, stem: Path) -> bool:
        """True if a photo's files are there. Raises ValueError if by another net or side."""
        kinds = [self.paths(stem, raster) for raster in (False, True)]
        return any(all(_made(path, photo, self.mark, "--out") for path in paths) for paths in kinds)

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result:
        """Write a photo's files. Raises ValueError if the folder is not writable."""
        paths = self.paths(stem, photo.raster is not None)
        check_folder(paths[0].parent, "--out")
        seen = Seen(photo, net.classes)
        strips = seen.passing(strips)
        mark = self.mark.text(photo.path) if self.mark else ""
        if photo.raster is not None:
            photo.raster.save(paths[0], strips, net.palette, mark)
        else:
            save(paths[0], label_map(joined(strips, photo.height), net.palette), mark)
        found = shares_of(seen.counts, net.classes)
        if self.overlay and photo.page is not None:
            page = page_size(photo.height, photo.width)[0]
            save(paths[1], sheet(page, photo.page, seen.page, net, found), mark)
        return Result(photo.path, paths, found, (photo.height, photo.width))


class Submission:
    """Label maps in the folder that PASCAL VOC's test server expects, below ``out``.

    The server accepts an archive of the folder ``results`` with one palette PNG per photo, of the
    same size: 0 background, 1..20 objects, in VOC's colours. Raises ValueError if the net's
    classes are not VOC's.
    """

    overlay = False

    def __init__(self, out: Path, net: Named, mark: Mark | None = None) -> None:
        from fcn.data.voc import CLASSES  # imports torch

        if net.classes != [*CLASSES]:
            own, theirs = (f"{len(c)} classes, {c[0]} to {c[-1]}" for c in (net.classes, CLASSES))
            problem = f"PASCAL VOC's test server expects {theirs}; this net has {own}"
            raise ValueError(
                f"--submission: {problem}; give --weights trained on PASCAL VOC or SBD"
            )
        self.out, self.mark = out, mark
        self.photos: dict[str, Path] = {}  # by name

    def path(self, photo: Path, stem: Path) -> Path:
        """The file of a photo. Raises ValueError for a second photo of one name."""
        if stem.name != photo.stem or self.photos.setdefault(stem.name, photo) != photo:
            problem = f'another photo is named "{photo.stem}", too'
            raise ValueError(f"{photo}: {problem}; give one photo per name to --submission")
        return self.out / SUBMISSION / f"{stem.name}.png"

    def exist(self, photo: Path, stem: Path) -> bool:
        """True if a photo's file is there. Raises ValueError if by another net or side."""
        return _made(self.path(photo, stem), photo, self.mark, "--submission")

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result:
        """Write a photo's label map.

        Raises ValueError if the folder is not writable, or for a second photo of one name.
        """
        path = self.path(photo.path, stem)
        check_folder(path.parent, "--submission")
        labels = joined(strips, photo.height)
        mark = self.mark.text(photo.path) if self.mark else ""
        save(path, label_map(labels, voc_palette(256)), mark)
        return Result(photo.path, (path,), shares(labels, net.classes), labels.shape)


def _made(path: Path, photo: Path, mark: Mark | None, option: str) -> bool:
    return path.is_file() and (mark is None or mark.on(path, photo, option))


class Shard:
    """One archive of many label maps, with ``index.jsonl``: a line for each photo.

    It is written whole or not at all, so a run that was interrupted continues at the next one.
    """

    overlay = False
    INDEX = "index.jsonl"
    MADE_BY = "made_by.json"  # the net's SHA-256 and the side of the photos

    def __init__(self, archive: tarfile.TarFile, path: Path) -> None:
        self.archive, self.path, self.lock = archive, path, Lock()

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result:
        """Add a photo's label map to the archive."""
        labels = joined(strips, photo.height)
        name = stem.with_name(f"{stem.name}{LABELS}")
        self.add(name.as_posix(), png(label_map(labels, net.palette)))
        return Result(photo.path, (self.path / name,), shares(labels, net.classes), labels.shape)

    def add(self, name: str, content: bytes) -> None:
        """Add a file; threads take turns. Raises OSError, naming the archive, on a full disk."""
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        with self.lock, writing(self.path):
            self.archive.addfile(entry, io.BytesIO(content))

    @staticmethod
    def read(path: Path) -> tuple[Any, list[dict[str, Any]]]:
        """By which net an archive was made (None if it does not say), and the lines of its index.

        Raises ValueError if it is damaged.
        """
        try:
            with tarfile.open(path, "r:") as archive:
                known = Shard.MADE_BY in archive.getnames()
                file = archive.extractfile(Shard.MADE_BY) if known else None
                made_by = json.load(file) if file else None
                return made_by, [*map(json.loads, archive.extractfile(Shard.INDEX) or ())]
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
    result = _one(photo, segmenter, Files(out, mark=Mark(segmenter.checksum, side)), side)
    return [*result.files], result.shares


def submit(
    photo: Path, segmenter: Segmenter, out: Path, side: int | None = 512
) -> tuple[Path, Shares]:
    """Segment a photo for PASCAL VOC's test server: see :class:`Submission`.

    Returns the path of the label map and the share of each class.
    """
    to = Submission(out, segmenter, Mark(segmenter.checksum, side))
    result = _one(photo, segmenter, to, side)
    return result.files[0], result.shares


def _one(photo: Path, segmenter: Segmenter, to: Files | Submission, side: int | None) -> Result:
    read = photos.read(photo, side, to.overlay)
    strips = segmenter.strips(read.shrunk, read.height, read.width)
    return to.save(read, Path(photo.stem), read.masked(strips), segmenter)


def label_map(labels: Labels, colours: Palette) -> Image.Image:
    """A palette image of ``labels`` (H x W) in ``colours`` (C x 3, RGB); others, as void, in black.

    16-bit, without a palette, beyond 256 classes and if void is 65535.
    """
    largest = int(labels.max(initial=0))
    if len(colours) > 256 or largest > 255:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8, copy=False))
    if largest >= len(colours):  # a PNG has no more bits per pixel than its palette needs
        colours = np.pad(colours, ((0, 256 - len(colours)), (0, 0)))
    picture.putpalette(colours.tobytes())
    return picture


# For such pictures this strategy is several times as fast as Pillow's, with smaller files.
_PNG: dict[str, Any] = {"format": "PNG", "compress_level": 1, "compress_type": zlib.Z_RLE}


def save(path: Path, picture: Image.Image, mark: str = "") -> None:
    """Write a PNG, whole or not at all, with the text ``mark``."""
    texts = PngInfo()
    if mark:
        texts.add_text(geotiff.MARK, mark)
    with atomic_write(path) as partial:
        picture.save(partial, pnginfo=texts, **_PNG)


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, **_PNG)
    return buffer.getvalue()


@lru_cache(maxsize=1024)  # once per folder
def check_folder(folder: Path, option: str) -> None:
    """:func:`check_writable`, once."""
    check_writable(folder, option)
