"""Small arrays that a chapter shows: computed where its weights or data are at hand, read where they are not.

A reader without the ImageNet weights sees what this project computed with them. That lies in two files below the
folder of results: ``recorded/<name>.npz``, the arrays, and ``recorded/<name>.json``, which says what they are, from
which files, with which versions and with which code they were computed.
"""

import inspect
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fcn.environment import sha256
from fcn.training.provenance import environment

Arrays = dict[str, NDArray[Any]]
Compute = Callable[[], Mapping[str, ArrayLike]]

LARGEST = 64 * 1024  # bytes of one .npz: these files are read with the book, not downloaded apart


def recorded(
    name: str,
    compute: Compute,
    available: bool,
    results_dir: str | Path,
    files: Iterable[str | Path] = (),
) -> tuple[Arrays, bool]:
    """The arrays that ``compute`` returns, by name, and whether they were computed just now.

    ``available`` says whether the ``files`` that ``compute`` reads are at hand. If so it is called; if not, what
    ``record`` wrote below ``results_dir`` is read. A maintainer sets the environment variable ``FCN_RECORD=1`` to have
    what is computed written there as well.

    Raises FileNotFoundError where nothing is at hand and nothing was recorded, and ValueError, naming the file, where
    the arrays are not those that their description belongs to.
    """
    if not available:
        return _read(name, results_dir), False
    if os.environ.get("FCN_RECORD") == "1":
        record(name, compute, results_dir, files)
        return _read(name, results_dir), True
    return _computed(compute), True


def record(
    name: str, compute: Compute, results_dir: str | Path, files: Iterable[str | Path] = ()
) -> Path:
    """Compute the arrays and write them with their provenance below ``results_dir``; returns the path of the ``.npz``.

    The first line of ``compute``'s docstring says what the arrays are. ``files`` are recorded by name and SHA-256.
    Raises ValueError for a name that makes no file name, a ``compute`` without a docstring, and arrays that are too
    large or hold anything but numbers and text; nothing is written then.
    """
    path = _path(name, results_dir)
    if not compute.__doc__:
        raise ValueError(
            f'"{name}": say what is computed in the docstring of {compute.__qualname__}'
        )
    made_with = environment("cpu")  # before computing: the files of a checkout may change meanwhile
    arrays = _computed(compute)
    if bad := [key for key, array in arrays.items() if array.dtype.kind not in "biufU"]:
        raise ValueError(
            f'"{name}": {", ".join(bad)} hold neither numbers nor text; record plain arrays'
        )
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    if len(content) > LARGEST:
        raise ValueError(
            f'"{name}": {len(content)} bytes are more than {LARGEST}; record fewer or coarser arrays'
        )
    provenance = {
        "what": inspect.cleandoc(compute.__doc__).splitlines()[0],
        "computed_by": compute.__qualname__,
        "from": [{"name": Path(file).name, "sha256": sha256(file)} for file in files],
        "arrays": {
            key: f"{array.dtype} {' x '.join(map(str, array.shape))}"
            for key, array in arrays.items()
        },
        **made_with,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, content)
    provenance["sha256"] = sha256(path)
    _replace(path.with_suffix(".json"), (json.dumps(provenance, indent=1) + "\n").encode())
    return path


def provenance(name: str, results_dir: str | Path) -> dict[str, Any]:
    """What is known of recorded arrays: what they are, from which files, versions and code (the ``.json`` file).

    Raises FileNotFoundError where nothing was recorded, ValueError where the file does not describe the arrays.
    """
    path = _path(name, results_dir)
    about = path.with_suffix(".json")
    for file in (path, about):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: not recorded; take it from version control, or give another results_dir"
            )
    try:
        described = json.loads(about.read_text(encoding="utf-8"))
        checksum = described["sha256"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{about}: does not describe a recording; take it from version control again"
        ) from None
    if checksum != sha256(path):
        raise ValueError(
            f"{path}: not the arrays that {about.name} describes; take both from version control again"
        )
    return described


def source(name: str, is_live: bool, results_dir: str | Path) -> str:
    """One line that tells a reader which of the two a figure shows."""
    if is_live:
        return "Computed just now, on this machine."
    files = " and ".join(file["name"] for file in provenance(name, results_dir)["from"])
    return "Recorded by this project" + (f": {files} is not at hand here." if files else ".")


def _computed(compute: Compute) -> Arrays:
    return {key: np.asarray(values) for key, values in compute().items()}


def _read(name: str, results_dir: str | Path) -> Arrays:
    provenance(name, results_dir)  # the two files belong together
    with np.load(_path(name, results_dir), allow_pickle=False) as file:
        return dict(file)


def _path(name: str, results_dir: str | Path) -> Path:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(
            f'"{name}" names no recording: use lower-case words and numbers, joined by hyphens'
        )
    return Path(results_dir) / "recorded" / f"{name}.npz"


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
