"""Photos of any size, read in bounded memory: shrunk to be scored, and for the overlay's page.

Photos up to ``LARGE`` pixels are those of ``fcn.data.photos``. Larger JPEGs are decoded at an
eighth, a quarter or half their size where that suffices; other files in strips; files with a
georeference in windows (``fcn.predict.geotiff``).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fcn.data import photos
from fcn.data.photos import _as_rgb
from fcn.predict import geotiff
from fcn.predict.legend import page_size
from fcn.predict.nets import Pixels
from fcn.predict.segmenter import View, scaled_size

LARGE = 2**24  # pixels
STRIP = 2**22  # pixels converted at a time
SEPARATE = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # modes read in strips
EXIF_ORIENTATION = 0x0112


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
    if (own := _own_size(path)) is None or own[0] * own[1] <= LARGE:
        pixels = photos.read_pixels(path)
        own = pixels.shape[0], pixels.shape[1]
    else:
        pixels, own = _read_large(path, own, side, page)
    shrunk = _resized(pixels, scaled_size(*own, side), Image.Resampling.BILINEAR)
    drawn = _resized(pixels, page_size(*own)[1:], Image.Resampling.BICUBIC) if page else None
    return Photo(path, *own, shrunk, drawn)


def _own_size(path: Path) -> tuple[int, int] | None:
    """Height and width in a photo's header; None if Pillow alone does not know the format."""
    try:
        with photos.decoding(path, "photo", "download or save it again"), Image.open(path) as photo:
            return photo.height, photo.width
    except (FileNotFoundError, ValueError):
        return None  # read_pixels reads it, or says what is wrong


def _read_large(
    path: Path, own: tuple[int, int], side: int | None, page: bool
) -> tuple[Pixels, tuple[int, int]]:
    """The pixels of a large photo, at least as many as are needed, and its upright size."""
    with photos.decoding(path, "photo", "download or save it again"), Image.open(path) as opened:
        orientation = opened.getexif().get(EXIF_ORIENTATION, 1)
        if opened.mode not in SEPARATE or ";16" in str(opened.tile):  # scaled as a whole
            pixels = photos.read_pixels(path)
            return pixels, (pixels.shape[0], pixels.shape[1])
        scaled = scaled_size(*own, side)
        needed = own if scaled == own else (2 * scaled[0], 2 * scaled[1])
        if page:
            needed = max(needed[0], page_size(*own)[1]), max(needed[1], page_size(*own)[2])
        opened.draft(None, needed[::-1])  # only JPEGs can
        opened.load()
        pixels = np.empty((opened.height, opened.width, 3), np.uint8)
        rows = max(1, STRIP // opened.width)
        for top in range(0, opened.height, rows):
            bottom = min(opened.height, top + rows)
            strip = opened.crop((0, top, opened.width, bottom))
            pixels[top:bottom] = np.asarray(_as_rgb(strip))
    return upright(pixels, orientation), own if orientation < 5 else own[::-1]


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
