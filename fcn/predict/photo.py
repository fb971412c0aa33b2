"""Photos of any size, read in bounded memory: shrunk to be scored, and for the overlay's page.

Photos up to ``LARGE`` pixels are those of ``fcn.data.photos``. Larger JPEGs are decoded at an
eighth, a quarter or half their size where that suffices; other files in strips; files with a
georeference in windows (``fcn.predict.geotiff``).
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcn.data import photos
from fcn.data.photos import as_rgb
from fcn.predict import geotiff
from fcn.predict.legend import page_size
from fcn.predict.nets import Pixels
from fcn.predict.segmenter import View, scaled_size

LARGE = 2**24  # pixels
STRIP = 2**22  # pixels converted at a time
SEPARATE = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # modes read in strips
EXIF_ORIENTATION = 0x0112
REMEDY = "download or save it again"
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


def read(path: Path, side: int | None = 512, page: bool = True) -> Photo:
    """Read a photo, its longer side shrunk to ``side`` pixels; None: at its own size.

    Raises FileNotFoundError for missing files and ValueError for invalid ones.
    """
    if raster := geotiff.find(path):
        height, width = raster.height, raster.width
        size = scaled_size(height, width, side)
        view: View = raster if size == (height, width) else raster.shrunk(*size)
        drawn = raster.shrunk(*page_size(height, width)[1:]) if page else None
        return Photo(path, height, width, view, drawn, raster)
    with ExitStack() as stack:
        header = _header(path)
        if header.large:
            stack.enter_context(_TURNS)  # a large photo is in memory twice while it is read
            pixels = _read_large(path, header, side, page)
            own = header.upright
        else:
            pixels = photos.read_pixels(path)
            own = pixels.shape[0], pixels.shape[1]
        shrunk = _resized(pixels, scaled_size(*own, side), Image.Resampling.BILINEAR)
        drawn = _resized(pixels, page_size(*own)[1:], Image.Resampling.BICUBIC) if page else None
    return Photo(path, *own, shrunk, drawn)


class _Header(NamedTuple):
    """Height and width of the stored pixels; ``large``: these are read by this module."""

    height: int = 0
    width: int = 0
    orientation: int = 1
    large: bool = False

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the photo as it is shown."""
        turned = self.orientation in (5, 6, 7, 8)
        return (self.width, self.height) if turned else (self.height, self.width)


def _header(path: Path) -> _Header:
    """What Pillow alone finds in a photo's header; nothing, if it cannot read it."""
    try:
        with photos.decoding(path, "photo", REMEDY), Image.open(path) as photo:
            large = photo.width * photo.height > LARGE and photo.mode in SEPARATE
            large &= ";16" not in str(photo.tile)  # scaled by their largest value
            orientation = photo.getexif().get(EXIF_ORIENTATION, 1)
            return _Header(photo.height, photo.width, orientation, large)
    except (OSError, ValueError):
        return _Header()  # read_pixels reads it, or says what is wrong


def _read_large(path: Path, header: _Header, side: int | None, page: bool) -> Pixels:
    """The pixels of a large photo, at least as many as are needed, upright."""
    own = header.upright
    height, width = scaled_size(*own, side)
    if (height, width) != own:
        height, width = 2 * height, 2 * width
    if page:
        _, rows, columns = page_size(*own)
        height, width = max(height, rows), max(width, columns)
    if own != (header.height, header.width):
        height, width = width, height
    with photos.decoding(path, "photo", REMEDY), Image.open(path) as opened:
        opened.draft(None, (width, height))  # only JPEGs can
        opened.load()
        pixels = np.empty((opened.height, opened.width, 3), np.uint8)
        rows = max(1, STRIP // opened.width)
        for top in range(0, opened.height, rows):
            bottom = min(opened.height, top + rows)
            strip = opened.crop((0, top, opened.width, bottom))
            pixels[top:bottom] = np.asarray(as_rgb(strip))
    return upright(pixels, header.orientation)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """A view of the pixels, rotated and mirrored as an EXIF ``orientation`` (1 to 8) asks."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _resized(pixels: Pixels, size: tuple[int, int], resample: Image.Resampling) -> Pixels:
    """The pixels at ``size``, height and width."""
    if size == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size[::-1], resample))
