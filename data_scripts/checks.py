"""Shared by the scripts: the command line, checks of lists and files, counts, class shares."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fetch
import numpy as np
import scipy.io
from PIL import Image

from fcn.environment import atomic_write

CAFFEMODEL_STARTS = (b"\x0a", b"\x12", b"\xa2")
"""First bytes of a NetParameter: field 1 (name), 2 (layers, old) or 100 (layer)."""
VOID = 255
LISTS = Path(__file__).parents[1] / "fcn" / "data" / "lists"
"""The lists of the authors' release, shipped with the package."""


def run(
    prepare: Callable[..., None], description: str, options: argparse.ArgumentParser | None = None
) -> None:
    """The command line of a data set: ``--data DIR`` and further options, passed by name.

    Errors are one line on standard error, with exit status 2.
    """
    parser = argparse.ArgumentParser(
        description=description.splitlines()[0], parents=[options] if options else []
    )
    _add_folder(parser, "--data", "FCN_DATA", "data")
    arguments = vars(parser.parse_args())
    with errors_in_one_line():
        prepare(**arguments)


def run_weights(weights: dict[str, fetch.Published], description: str) -> None:
    """The command line of a set of weights: ``[NAME ...] [--weights DIR]``."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(weights)} (default: all)"
    )
    _add_folder(parser, "--weights", "FCN_WEIGHTS", "data/weights")
    arguments = parser.parse_args()
    with errors_in_one_line():
        for name in arguments.names:
            if name not in weights:
                raise ValueError(f"no weights '{name}'; choose from {', '.join(weights)}")
        prepare_weights(
            {name: weights[name] for name in arguments.names or weights}, arguments.weights
        )


def _add_folder(parser: argparse.ArgumentParser, option: str, variable: str, default: str) -> None:
    parser.add_argument(
        option,
        type=Path,
        metavar="DIR",
        default=Path(os.environ.get(variable) or default),
        help=f"target folder (default: {variable} or ./{default})",
    )


def prepare_weights(weights: dict[str, fetch.Published], folder: Path) -> None:
    """Download what is missing. Failed downloads are reported at the end, after all others."""
    failures = []
    for name, file in weights.items():
        try:
            path = fetch.download(file, folder)
        except fetch.DownloadError as error:
            failures.append(str(error))
            print(f"{name}: missing; {error}")
            continue
        # A .caffemodel is a message whose first field is the net's name or its layers.
        with path.open("rb") as weights_file:
            start = weights_file.read(1)
        if start not in CAFFEMODEL_STARTS:
            raise ValueError(f"{path}: not a .caffemodel; delete it and run this again")
        print(f"{name}: {path}, {path.stat().st_size / 1e6:.0f} MB")
    if failures:
        raise fetch.DownloadError(
            f"{len(failures)} of {len(weights)} files are missing; the first: {failures[0]}"
        )


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Report errors of the data, the disk or the network in one line, with exit status 2."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit("stopped; run this again to continue")
    except (OSError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def matlab(path: Path, variable: str) -> np.ndarray:
    """A variable of a MATLAB file. Raises ValueError if it is missing or the file is unreadable."""
    try:
        return scipy.io.loadmat(path, variable_names=[variable])[variable]
    except KeyError:
        raise ValueError(f"{path}: no variable {variable}; not a file of this data set") from None
    except Exception as error:  # scipy raises many kinds of error for a truncated file
        raise ValueError(
            f"{path}: cannot be read as a MATLAB file ({type(error).__name__})"
        ) from None


def label_map(path: Path) -> np.ndarray:
    """A label map stored as a PNG, H x W. Raises ValueError if it is another file or damaged."""
    try:
        with Image.open(path) as image:
            if max(image.size) > 4096:  # a thousandfold of its size in memory
                raise ValueError(f"{image.size[0]} x {image.size[1]} pixels")
            return np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path}: cannot be read as a label map ({reason}); move the data set's folder away "
            "and run this again"
        ) from None


def read_list(path: Path) -> list[str]:
    """The names in a text file. Raises FileNotFoundError, and ValueError if a name is repeated."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list; move its folder away and run this again")
    try:
        names = path.read_text(encoding="utf-8").split()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: damaged; move its folder away and run this again") from None
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: lists an image twice; move its folder away and run this again")
    return names


def write_list(path: Path, names: Sequence[str]) -> None:
    """Write a list of names, atomically, unless it exists."""
    if not path.is_file():
        with atomic_write(path) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def need_count(names: Sequence[str], expected: int, what: str) -> None:
    """Print the count. Raises ValueError if it is not the number of images in the data set."""
    if len(names) != expected:
        raise ValueError(
            f"{what}: {len(names)} images, expected {expected}; move it away and run this again"
        )
    print(f"  {what}: {expected} images")


def need_files(folder: Path, names: Iterable[str], suffix: str, prefix: str = "") -> None:
    """Raise FileNotFoundError, naming the first file and their number, if files are missing."""
    present = set(os.listdir(folder)) if folder.is_dir() else set()
    files = [f"{prefix}{name}{suffix}" for name in names]
    absent = [file for file in files if file not in present]
    if absent:
        raise FileNotFoundError(
            f"{folder / absent[0]}: no such file ({len(absent)} of {len(files)} are missing); "
            f"move the data set's folder away and run this again"
        )


def need_disjoint(some: Sequence[str], others: Sequence[str], what: str) -> None:
    """Raise ValueError if two lists share a name."""
    if shared := sorted(set(some) & set(others)):
        raise ValueError(
            f"{what}: share {len(shared)} images, such as {shared[0]}; they must be disjoint"
        )
    print(f"  {what}: disjoint")


def sample(names: Sequence[str], number: int = 100) -> list[str]:
    """Evenly spaced names, at most ``number``."""
    return (
        [names[i * len(names) // number] for i in range(number)]
        if len(names) > number
        else list(names)
    )


def class_shares(maps: Iterable[np.ndarray], num_classes: int, what: str) -> np.ndarray:
    """The percentage of pixels in each class and, last, in void: num_classes + 1 numbers.

    ``maps``: label maps, H x W, 0..num_classes-1 and void 255. Raises ValueError for other labels.
    """
    counts = np.zeros(VOID + 1, np.int64)
    for labels in maps:
        if labels.min() < 0 or labels.max() > VOID:
            raise ValueError(
                f"{what}: a label is outside 0..{VOID}; not label maps of this data set"
            )
        counts += np.bincount(labels.ravel(), minlength=VOID + 1)
    if counts[num_classes:VOID].any():
        label = num_classes + int(counts[num_classes:VOID].argmax())
        raise ValueError(
            f"{what}: label {label} is outside the {num_classes} classes; check the files"
        )
    return 100 * np.append(counts[:num_classes], counts[VOID]) / counts.sum()


def need_shares(
    shares: np.ndarray, classes: Sequence[str], expected: dict[str, float], what: str
) -> None:
    """Raise ValueError if a share differs by 0.1 % or more from this project's measurement."""
    named = dict(zip([*classes, "void"], shares, strict=True))
    for name, share in expected.items():
        if abs(named[name] - share) >= 0.1:
            raise ValueError(
                f"{what}: {name} has {named[name]:.2f} % of pixels, expected {share:.2f} %; wrong "
                f"label maps, move them away and run this again"
            )


def print_shares(shares: np.ndarray, classes: Sequence[str], what: str) -> None:
    """Print the shares of the classes in descending order."""
    print(f"  share of pixels in percent, {what}:")
    named = sorted(zip(shares, [*classes, "void"], strict=True), key=lambda pair: -pair[0])
    shown = [f"{name} {share:.1f}" for share, name in named if share >= 0.05]
    for i in range(0, len(shown), 8):
        print("    " + ", ".join(shown[i : i + 8]))
