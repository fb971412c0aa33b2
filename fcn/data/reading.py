"""Data sets: one module each, all of the same shape, and the checks that they share.

A data set is a ``torch.utils.data.Dataset`` of :class:`Sample`, with

* ``name`` and ``split``: what it is and which part of it,
* ``heads``: for each task the names of its classes, in the order of their labels,
* ``names``: the names of its samples, in order, and ``checksum``: the SHA-256 of that list.

Every check here raises one line that says what is wrong, in which file, and how to mend it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fcn.data.sample import VOID


def read_list(path: str | Path) -> list[str]:
    """The names in a text file, one a line, blank lines skipped.

    Raises FileNotFoundError where there is no such file and ValueError where it names nothing or a name twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of images; give a text file with one name a line")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8; give a list with one name a line") from None
    return checked_names([line.strip() for line in lines if line.strip()], path)




def checked_names(names: Sequence[str], source: str | Path) -> list[str]:
    """The names as a list. Raises ValueError where it is empty or names an image twice; ``source`` is named then."""
    if not names:
        raise ValueError(f"{source}: the list of images is empty; name at least one image, one a line")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{source}: '{twice}' is listed twice; name each image once")
    return list(names)


def checked_folder(folder: str | Path, what: str) -> Path:
    """The folder as a path. Raises FileNotFoundError that says what should lie there where there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder of {what}; set FCN_DATA, or --data, to the folder that contains it"
        )
    return folder


def checked_files(folder: Path, names: Sequence[str], suffix: str) -> None:
    """Raises FileNotFoundError that names the first absent ``folder/name+suffix`` and counts the rest."""
    absent = [name for name in names if not (folder / f"{name}{suffix}").is_file()]
    if absent:
        first = folder / f"{absent[0]}{suffix}"
        raise FileNotFoundError(
            f"{first}: no such file ({len(absent)} of {len(names)} are missing); unpack the data set again"
        )


def read_photo(path: str | Path) -> Tensor:
    """A photo as uint8, 3 x H x W, RGB, upright.

    Grey and palette photos become RGB, 16-bit ones keep their upper eight bits, what is transparent shows white, and
    the orientation that a camera noted in EXIF is carried out.

    Raises FileNotFoundError where there is no such file and ValueError where it cannot be decoded to its end.
    """
    path = Path(path)
    try:
        with Image.open(path) as opened:
            return torch.from_numpy(np.array(_as_rgb(ImageOps.exif_transpose(opened)))).permute(2, 0, 1).contiguous()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such photo; check the path") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as a photo, it is truncated, corrupt or no image ({reason}); "
            f"download or save it again"
        ) from None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are fractions, of no known range; save it with 8 bits a channel")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def checked_labels(
    labels: np.ndarray,
    *,
    size: tuple[int, int],
    num_classes: int,
    file: str | Path,
    mend: str = "check that the file belongs to this data set",
) -> Tensor:
    """A label map (H x W, integers, void 255) as int64, after two checks.

    Raises ValueError, naming ``file``, where it is not of the photo's ``size`` (height, width), and where a label is
    neither void nor one of ``num_classes`` classes.
    """
    if labels.shape != tuple(size):
        found = " x ".join(map(str, labels.shape))
        raise ValueError(
            f"{file}: the label map is {found} but its photo is {size[0]} x {size[1]} (height x width); "
            f"resize neither, find the map that belongs to the photo"
        )
    outside = (labels != VOID) & ((labels < 0) | (labels >= num_classes))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{file}: label {labels[row, column]} at row {row}, column {column} is outside the classes "
            f"0..{num_classes - 1} (void is {VOID}); {mend}"
        )
    return torch.from_numpy(labels.astype(np.int64))
