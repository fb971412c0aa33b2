"""Read photos as arrays, with numpy and Pillow only.

Raises FileNotFoundError for missing files and ValueError for invalid ones. Every message is one
line that names the file and the remedy.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


@contextmanager
def decoding(path: str | Path, kind: str, remedy: str) -> Iterator[None]:
    """Turn the errors of opening and decoding with Pillow into FileNotFoundError or ValueError."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such {kind}; check the path, or {remedy}") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: cannot be read as a {kind} ({reason}); {remedy}") from None


def read_pixels(path: str | Path) -> NDArray[np.uint8]:
    """A photo as uint8, H x W x 3, RGB, rotated according to its EXIF tag.

    Grey and palette photos become RGB, 16-bit ones keep their upper eight bits, and transparent
    pixels are shown on white.
    """
    with decoding(path, "photo", "download or save it again"), Image.open(path) as opened:
        return np.array(_as_rgb(ImageOps.exif_transpose(opened)))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels of unknown range; save it with 8 bits per channel")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
