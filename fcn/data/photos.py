"""Read photos as arrays, with numpy and Pillow only.

Raises FileNotFoundError for missing files and ValueError for invalid ones. Every message is one
line that names the file and the remedy.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif")
HEIC = (".heic", ".heif", ".hif")  # read by pillow-heif, from the extra "formats"
REMEDY = "download or save it again"
DEPTHS = (8, 10, 12, 14, 16)  # bits per pixel that cameras and microscopes use
RARE = 10_000  # of this many values, one may exceed the bits that the others use: it is saturated
NEW_SUBFILE_TYPE, REDUCED_OR_MASK = 254, 0b101  # a tag of TIFF, and two of its bits


class Photo(NamedTuple):
    """A photo as decoded.

    ``pixels``: uint8, H x W x 3, RGB, upright. ``orientation``: the EXIF orientation that was
    applied; 1 is none. ``brightened``: it has 16 bits per pixel and uses only the lower ones.
    """

    pixels: NDArray[np.uint8]
    orientation: int = 1
    brightened: bool = False


class Unusable(ValueError):
    """An intact file that is of no use here. Its message names the remedy, but not the file."""


@contextmanager
def decoding(path: str | Path, kind: str, remedy: str) -> Iterator[None]:
    """Turn the errors of opening and decoding with Pillow into FileNotFoundError or ValueError."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such {kind}; check the path, or {remedy}") from None
    except Image.DecompressionBombError as error:
        pixels, limit = (int(n) / 1e6 for n in re.findall(r"\d+", str(error))[:2])
        problem = f"a {kind} of {pixels:,.0f} megapixels, more than {limit:,.0f}"
        raise ValueError(f"{path}: {problem}; shrink it, or cut it into parts") from None
    except Unusable as error:
        raise ValueError(f"{path}: {error}") from None
    except PermissionError as error:
        raise PermissionError(f"{path}: cannot be opened ({error.strerror})") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "its format is unknown or its content damaged"
        raise ValueError(f"{path}: cannot be read as a {kind} ({reason}); {remedy}") from None


@contextmanager
def opening(path: str | Path, kind: str = "photo", remedy: str = REMEDY) -> Iterator[Image.Image]:
    """A picture whose header is read and whose pixels are not, with the errors of `decoding`.

    Raises ValueError for a file of several pictures, such as a stack of slices or an animation.
    """
    with decoding(path, kind, remedy):
        _enable_heic(path)
        # A file, not its path: Pillow misplaces the rows of a TIFF on its side if it can map it.
        with open(path, "rb") as file, Image.open(file) as opened:
            _check_single(opened, kind)
            yield opened


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation: 1, upright; 2..4, mirrored or upside down; 5..8, on its side."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(1, 9) else 1


def header_size(image: Image.Image) -> tuple[int, int]:
    """Height and width by the header alone: upright, unless a PNG's EXIF follows its pixels."""
    late = image.format == "PNG" and "exif" not in image.info
    done = image.format == "TIFF"  # Pillow applies a TIFF's orientation as it decodes it
    return (image.height, image.width) if late or done else upright_size(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width of a picture once its EXIF orientation is applied."""
    width, height = image.size
    return (width, height) if orientation_of(image) > 4 else (height, width)


def read(path: str | Path) -> Photo:
    """A photo as RGB, rotated according to its EXIF orientation.

    Grey, palette and CMYK photos become RGB, and transparent pixels are shown on white. Grey photos
    of 16 bits keep the upper eight of those that they use (:func:`used_bits`). Colour photos of 16
    bits that use only the lower 14 or fewer are refused, since Pillow decodes no more than the
    upper eight.
    """
    with opening(path) as opened:
        deep = ";16" in raw_mode(opened)
        orientation = orientation_of(opened)
        ImageOps.exif_transpose(opened, in_place=True)
        if opened.mode == "F":
            raise Unusable("floating-point pixels of unknown range; save it with 8 bits per pixel")
        if opened.mode.startswith("I"):
            grey, bits = _eight_bits(np.asarray(opened))
            return Photo(np.repeat(grey[..., None], 3, axis=2), orientation, bits < 16)
        pixels = np.array(as_rgb(opened))
        if deep and _holds(6, pixels):
            raise Unusable(
                "its 16-bit pixels use only the lower 14 bits or fewer, so it would be read as "
                "nearly black; save it with 8 bits per channel"
            )
        return Photo(pixels, orientation)


def read_pixels(path: str | Path) -> NDArray[np.uint8]:
    """The pixels of a photo, uint8, H x W x 3, RGB, upright; see :func:`read`."""
    return read(path).pixels


def as_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def used_bits(values: NDArray[np.integer]) -> int:
    """The smallest of DEPTHS that holds ``values``, 0 to 65535, except for one in 10,000."""
    return next(bits for bits in DEPTHS if _holds(bits, values))


def _holds(bits: int, values: NDArray[np.integer]) -> bool:
    return bool(np.count_nonzero(values > (1 << bits) - 1) * RARE <= values.size)


def _eight_bits(grey: NDArray[np.integer]) -> tuple[NDArray[np.uint8], int]:
    """Grey pixels of 16 bits as eight, and the number of bits that they use."""
    if int(grey.min()) < 0 or int(grey.max()) > 0xFFFF:
        raise Unusable("32-bit pixels of unknown range; save it with 8 bits per pixel")
    bits = used_bits(grey)
    eight = np.empty(grey.shape, np.uint8)
    for row, pixels in zip(eight, grey, strict=True):  # by row, to bound memory
        row[:] = (pixels.astype(np.uint16) >> (bits - 8)).clip(max=255)
    return eight, bits


def _check_single(image: Image.Image, kind: str) -> None:
    """Raise Unusable if a file holds several pictures, of which only the first would be read.

    PNG, MPO and HEIF files pass: their first or primary picture is the one that viewers show.
    """
    if not getattr(image, "is_animated", False) or image.format in ("PNG", "MPO", "HEIF"):
        return
    pictures = _pages(image) if image.format == "TIFF" else getattr(image, "n_frames", 1)
    if pictures > 1:
        raise Unusable(f"a {image.format} file of {pictures} pictures; save one {kind} per file")


def _pages(tiff: Any) -> int:
    """The pages of an opened TIFF, without thumbnails, pyramid levels and masks."""
    pages = 1
    for page in count(1):
        with suppress(Exception):  # pixels that Pillow cannot decode: the tags suffice
            tiff.seek(page)
        if tiff.tell() != page:
            break
        subfile = tiff.tag_v2.get(NEW_SUBFILE_TYPE, 0)
        pages += not (isinstance(subfile, int) and subfile & REDUCED_OR_MASK)
    tiff.seek(0)
    return pages


def raw_mode(image: Image.Image) -> str:
    """The arrangement of the stored pixels in Pillow's words, such as "L;4" or "RGB;16B"."""
    tile = getattr(image, "tile", ())
    if not tile:
        return ""
    arguments = tile[0][3]
    return arguments if isinstance(arguments, str) else str((arguments or ("",))[0])


def _enable_heic(path: str | Path) -> None:
    """Let Pillow open HEIC, if the file is one, as its first bytes say."""
    with open(path, "rb") as file:
        start = file.read(32)
    brands = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")
    if start[4:8] != b"ftyp" or not any(brand in start[8:] for brand in brands):
        return
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        raise Unusable(
            "HEIC needs pillow-heif; install it with: pip install 'fcn-book[formats]', or save "
            "the photo as JPEG"
        ) from None
    register_heif_opener()
