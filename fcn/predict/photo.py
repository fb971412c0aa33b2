"""Photos of any size, read in bounded memory: shrunk to be scored, and for the overlay's page.

Photos up to ``LARGE`` pixels are those of ``fcn.data.photos``. Larger JPEGs are decoded at an
eighth, a quarter or half their size where that suffices; other files in strips; those with a
georeference in windows (``fcn.predict.geotiff``). A large photo that is scored at its own size is
kept on the disk, to be read in windows, too.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from fcn.data import photos
from fcn.data.photos import as_rgb
from fcn.predict import geotiff
from fcn.predict.enlarge import Labels
from fcn.predict.legend import page_size
from fcn.predict.nets import Pixels
from fcn.predict.segmenter import View, scaled_size

LARGE = 2**24  # pixels
STRIP = 2**22  # pixels converted at a time
SEPARATE = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # modes read in strips
FLIPPED = (3, 4, 7, 8)  # EXIF orientations whose rows, once on their side if so, are reversed
_TURNS = Lock()


@dataclass(frozen=True)
class Photo:
    """A photo, ready to be segmented; its whole size is ``height`` x ``width``.

    ``shrunk``: what the net sees; ``page``: the picture above the overlay's legend, if wanted.
    """

    path: Path
    height: int
    width: int
    shrunk: View
    page: Pixels | None = None
    raster: geotiff.Raster | None = None

    def masked(self, strips: Iterable[Labels]) -> Iterable[Labels]:
        """The photo's labels H x W, some rows at a time, void where it has no data.

        Raises :class:`geotiff.Unreadable` if that turns out to be damaged.
        """
        return self.raster.masked(strips) if self.raster else strips


def read(path: Path, side: int | None = 512, page: bool = True) -> Photo:
    """Read a photo, its longer side shrunk to ``side`` pixels; None: at its own size.

    Raises FileNotFoundError for missing files and ValueError for invalid ones; the windows of a
    large raster may raise it later.
    """
    if raster := geotiff.find(path):
        height, width = raster.height, raster.width
        size = scaled_size(height, width, side)
        late = size == (height, width) and height * width > LARGE
        view: View = raster if late else raster.shrunk(*size)
        drawn = raster.shrunk(*page_size(height, width)[1:]) if page else None
        return Photo(path, height, width, view, drawn, raster)
    if _large(path):
        with _TURNS:
            return _read_large(path, side, page)
    pixels = photos.read_pixels(path)
    own = pixels.shape[0], pixels.shape[1]
    shrunk: View = _resized(pixels, size := scaled_size(*own, side), Image.Resampling.BILINEAR)
    if size == own and own[0] * own[1] > LARGE:
        shrunk = stored = _Stored(pixels.shape)
        stored[:] = pixels
    drawn = _resized(pixels, page_size(*own)[1:], Image.Resampling.BICUBIC) if page else None
    return Photo(path, *own, shrunk, drawn)


def _large(path: Path) -> bool:
    """True if this module decodes a photo, to judge by its header."""
    try:
        with photos.opening(path) as photo:
            deep = ";16" in photos.raw_mode(photo)  # scaled by the bits in use
            return photo.width * photo.height > LARGE and photo.mode in SEPARATE and not deep
    except (OSError, ValueError):
        return False  # read_pixels reads it, or says what is wrong


def _read_large(path: Path, side: int | None, page: bool) -> Photo:
    with photos.opening(path) as opened:
        if opened.format not in ("JPEG", "MPO"):
            opened.load()  # a PNG's orientation may follow its pixels, a TIFF's is applied to them
        orientation = photos.orientation_of(opened)
        own = height, width = photos.upright_size(opened)
        wanted = [(scaled_size(*own, side), Image.Resampling.BILINEAR)]
        least = [own if wanted[0][0] == own else tuple(2 * n for n in wanted[0][0])]
        if page:
            wanted.append((page_size(*own)[1:], Image.Resampling.BICUBIC))
            least.append(wanted[1][0])
        most = tuple(map(max, zip(*least, strict=True)))
        opened.draft(None, most if orientation > 4 else most[::-1])  # only JPEGs can
        opened.load()
        rows = photos.upright_size(opened)[0]
        shapes = [(rows, size[1], 3) for size, _ in wanted]
        made: list[Any] = [np.empty(shape, np.uint8) for shape in shapes]
        if wanted[0][0] == own:
            made[0] = _Stored(shapes[0])
        top = 0
        for band in _bands(opened, orientation):  # along rows now, along columns later: as Pillow
            for narrow, (size, resample) in zip(made, wanted, strict=True):
                across = _resized(band, (len(band), size[1]), resample)
                narrow[top : top + len(band)] = across
            top += len(band)
    shrunk, *drawn = (_resized(m, *how) for m, how in zip(made, wanted, strict=True))
    return Photo(path, height, width, shrunk, drawn[0] if drawn else None)


class _Stored:
    """The pixels of a photo, H x W x 3, in a file that goes with the object."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.file = tempfile.TemporaryFile(prefix="fcn-")  # noqa: SIM115 (closed in __del__)

    def __setitem__(self, rows: slice, pixels: Pixels) -> None:
        """Store ``rows``, which follow those that were stored before."""
        try:
            for row in pixels:
                self.file.write(row.tobytes())
            self.file.flush()
        except OSError as error:
            where = f"{tempfile.gettempdir()}, {error.strerror}"
            raise MemoryError(f"no room for its pixels in {where}; set TMPDIR") from None

    def __getitem__(self, part: tuple[slice, slice]) -> Pixels:
        return np.array(np.memmap(self.file, np.uint8, "r", shape=self.shape)[part])

    def __del__(self) -> None:
        self.file.close()


def _bands(image: Image.Image, orientation: int) -> Iterator[Pixels]:
    """The rows of a picture as it is shown, RGB, some at a time."""
    height, width = photos.upright_size(image)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        first, last = (height - bottom, height - top) if orientation in FLIPPED else (top, bottom)
        box = (first, 0, last, width) if orientation > 4 else (0, first, width, last)
        yield upright(np.asarray(as_rgb(image.crop(box))), orientation)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """A view of the pixels, rotated and mirrored as an EXIF ``orientation`` (1 to 8) asks."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    if orientation in FLIPPED:
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _resized(pixels: Pixels, size: tuple[int, int], resample: Image.Resampling) -> Pixels:
    """The pixels at ``size``, height and width."""
    if size == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resample))
