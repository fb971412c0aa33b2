"""Read photos, label maps and lists.

Raises FileNotFoundError for missing files and ValueError for invalid ones. Every message is one
line that names the file and the remedy.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fcn.data.photos import Unusable, decoding, read_pixels
from fcn.data.sample import VOID

Problem = OSError | ValueError
LISTED = 100  # problems that are listed at most
LISTS = Path(__file__).parent / "lists"
"""The lists that ship with the package."""
LONGEST = 200  # characters of a name
_NAME = re.compile(r"[^/\\\x00-\x1f]+")  # no path: it could lead outside the data set


def read_list(path: str | Path) -> list[str]:
    """The names in a text file. Raises ValueError if it is empty or contains a name twice."""
    return checked_names(read_lines(path, "images", "name"), path)


def own_or_shipped(own: Path, shipped: Path) -> list[str]:
    """The names in a data set's own list or, without one, in the list that this package ships."""
    return read_list(own if own.is_file() else shipped)


def read_lines(path: str | Path, content: str, item: str) -> list[str]:
    """The lines of a UTF-8 list of ``content``, one ``item`` per line, without blank ones."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such list of {content}; give one {item} per line")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # Windows editors write a BOM
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a UTF-8 text file; give one {item} per line") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def checked_names(names: Sequence[str], source: str | Path) -> list[str]:
    """The names as a list.

    Raises ValueError, naming ``source``, if it is empty, if a name is repeated or is no file name.
    """
    if not names:
        raise ValueError(f"{source}: the list of images is empty; give at least one name")
    if bad := [name for name in names if len(name) > LONGEST or not _NAME.fullmatch(name)]:
        shown = bad[0] if len(bad[0]) <= 60 else f"{bad[0][:59]}…"
        raise ValueError(f"{source}: {shown!r} is not the name of an image; list names, not paths")
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{source}: '{twice}' is listed twice; list each image once")
    return list(names)


def check_choice(owner: str, what: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError, listing the ``choices``, if ``value`` is not one of them."""
    if value not in choices:
        raise ValueError(f"{owner} has no {what} '{value}'; choose one of {', '.join(choices)}")


def raise_all(problems: Sequence[Problem], summary: str) -> None:
    """Raise the only problem, or one error with a note for each."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        missing = all(isinstance(problem, FileNotFoundError) for problem in problems)
        error = FileNotFoundError(summary) if missing else ValueError(summary)
        for problem in problems[:LISTED]:
            error.add_note(f"  {problem}")
        if len(problems) > LISTED:
            error.add_note(f"  and {len(problems) - LISTED} more")
        raise error


def checked_folder(folder: str | Path, what: str) -> Path:
    """The folder as a path. Raises FileNotFoundError, naming its content, if it does not exist."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: {what} not found; set FCN_DATA or --data to the folder that contains it"
        )
    return folder


def checked_files(folder: Path, names: Sequence[str], file: str, what: str) -> dict[str, Path]:
    """The path of each name's ``file``, such as ``img_{}.png``, in a folder.

    Raises FileNotFoundError with the first missing file and the number of missing files.
    """
    checked_folder(folder, what)
    files = {name: folder / file.format(name) for name in names}
    if missing := [path for path in files.values() if not path.is_file()]:
        raise FileNotFoundError(
            f"{missing[0]}: no such file ({len(missing)} of {len(names)} are missing); unpack the "
            f"data set again"
        )
    return files


def read_photo(path: str | Path) -> Tensor:
    """A photo as uint8, 3 x H x W, RGB: :func:`fcn.data.photos.read_pixels` as a tensor."""
    return torch.from_numpy(read_pixels(path)).permute(2, 0, 1).contiguous()


def read_png(path: str | Path, size: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """A label map stored as a palette or grey PNG, H x W: indices, not colours.

    Raises ValueError before it decodes any pixel if it is not of this ``size`` (height, width).
    """
    with decoding(path, "label map", "unpack the data set again"), Image.open(path) as opened:
        if size is not None and size != (opened.height, opened.width):
            raise Unusable(other_size((opened.height, opened.width), size))
        if opened.mode not in ("P", "L"):
            raise ValueError(f"its pixels are colours ({opened.mode}), not class indices")
        return np.array(opened)


def read_mat(path: str | Path, variable: str, dataset: str) -> NDArray[Any]:
    """A variable of a MATLAB file, as stored."""
    import scipy.io

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such label map; unpack {dataset} again")
    try:
        return scipy.io.loadmat(path, variable_names=[variable])[variable]
    except KeyError:
        raise ValueError(
            f"{path}: no variable {variable}, so not a label map of {dataset}; unpack it again"
        ) from None
    except Exception as error:  # scipy raises many kinds of error for a truncated file
        raise ValueError(
            f"{path}: cannot be read as a MATLAB file ({type(error).__name__}); it is truncated or "
            f"corrupt, unpack {dataset} again"
        ) from None


def read_mat_labels(
    variable: str,
    dataset: str,
    path: Path,
    num_classes: int,
    size: tuple[int, ...],
    void: tuple[int, ...] = (0,),
) -> Tensor:
    """A label map in a MATLAB file, which counts classes from 1, as :func:`checked_labels`."""
    stored = read_mat(path, variable, dataset).astype(np.int64)
    labels = np.where(np.isin(stored, void), VOID, stored - 1)
    return checked_labels(labels, num_classes, path, size)


def other_size(
    found: tuple[int, ...],
    wanted: tuple[int, ...],
    remedy: str = "; do not resize either, find the label map of this photo",
) -> str:
    """A message about a label map that is not as large as its photo."""
    these, those = (" x ".join(map(str, size)) for size in (found, wanted))
    return f"the label map is {these} but its photo is {those} (height x width){remedy}"


def checked_labels(
    labels: NDArray[Any],
    num_classes: int,
    file: str | Path,
    size: tuple[int, ...] | None = None,
    remedy: str = "check that the file belongs to this data set",
) -> Tensor:
    """A label map, H x W, void 255, as int64.

    Raises ValueError, naming ``file``, if its shape differs from ``size`` (height, width) or if a
    label is neither void nor in 0..num_classes-1.
    """
    if size is not None and labels.shape != size:
        raise ValueError(f"{file}: {other_size(labels.shape, size)}")
    outside = (labels != VOID) & ((labels < 0) | (labels >= num_classes))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        raise ValueError(
            f"{file}: label {labels[row, column]} at row {row}, column {column} is outside the "
            f"classes 0..{num_classes - 1} (void is {VOID}); {remedy}"
        )
    return torch.from_numpy(labels.astype(np.int64))
