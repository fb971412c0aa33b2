"""Snapshots: small arrays that a chapter shows, computed if possible, loaded otherwise.

A snapshot is two files below the results folder: ``snapshots/<name>.npz``, the arrays, and
``<name>.json``, their provenance: description, input files, versions, code and hardware.
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

from fcn.environment import atomic_write, sha256
from fcn.training.provenance import environment

Arrays = dict[str, NDArray[Any]]
Compute = Callable[[], Mapping[str, ArrayLike]]

LARGEST = 64 * 1024  # bytes of an .npz: it is committed with the book


def compute_or_load(
    name: str,
    compute: Compute,
    available: bool,
    results: str | Path,
    files: Iterable[str | Path] = (),
) -> tuple[Arrays, bool]:
    """The arrays by name, and True if they were computed just now.

    ``compute`` is called if its ``files`` are ``available``; otherwise the snapshot is loaded.
    With ``FCN_SNAPSHOT=1`` in the environment, computed arrays are also saved. Raises what
    :func:`load` and :func:`save` raise.
    """
    if available and os.environ.get("FCN_SNAPSHOT") != "1":
        return _computed(compute), True
    if available:
        save(name, compute, results, files)
    return load(name, results), available


def save(
    name: str, compute: Compute, results: str | Path, files: Iterable[str | Path] = ()
) -> Path:
    """Compute the arrays and save them with their provenance; returns the path of the ``.npz``.

    The first line of ``compute``'s docstring describes the arrays; ``files`` are listed by name and
    SHA-256. Raises ValueError, and writes nothing, for a name that is no file name, a ``compute``
    without a docstring, and arrays that are too large or hold anything but numbers and text.
    """
    path = _path(name, results)
    if not compute.__doc__:
        raise ValueError(
            f'"{name}": describe the arrays in the docstring of {compute.__qualname__}'
        )
    made_with = environment("cpu")  # before computing: the checkout may change meanwhile
    arrays = _computed(compute)
    if bad := [key for key, array in arrays.items() if array.dtype.kind not in "biufU"]:
        raise ValueError(f'"{name}": {", ".join(bad)} hold neither numbers nor text')
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    if (size := buffer.tell()) > LARGEST:
        advice = "save fewer or coarser arrays"
        raise ValueError(f'"{name}": {size} bytes are more than {LARGEST}; {advice}')
    provenance = {
        "what": inspect.cleandoc(compute.__doc__).splitlines()[0],
        "computed_by": compute.__qualname__,
        "from": [{"name": Path(file).name, "sha256": sha256(file)} for file in files],
        "arrays": {k: f"{a.dtype} {' x '.join(map(str, a.shape))}" for k, a in arrays.items()},
        **made_with,
    }
    with atomic_write(path) as partial:
        partial.write_bytes(buffer.getvalue())
    text = json.dumps(provenance | {"sha256": sha256(path)}, indent=1)
    with atomic_write(path.with_suffix(".json")) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    return path


def load(name: str, results: str | Path) -> Arrays:
    """The arrays of a snapshot. Raises what :func:`provenance` raises."""
    provenance(name, results)  # checks that the two files belong together
    with np.load(_path(name, results), allow_pickle=False) as file:
        return dict(file)


def provenance(name: str, results: str | Path) -> dict[str, Any]:
    """The provenance of a snapshot: the content of its ``.json`` file.

    Raises FileNotFoundError if there is none, ValueError if it does not describe the arrays.
    """
    path = _path(name, results)
    about = path.with_suffix(".json")
    for file in (path, about):
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such snapshot; restore it from version control")
    try:
        described: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
        matches = described["sha256"] == sha256(path)
    except (ValueError, KeyError, TypeError):
        matches = False
    if not matches:
        wrong = f"not the arrays that {about.name} describes"
        raise ValueError(f"{path}: {wrong}; restore both from version control")
    return described


def source(name: str, is_live: bool, results: str | Path) -> str:
    """One line that tells a reader where the arrays of a figure come from."""
    if is_live:
        return "Computed just now, on this machine."
    files = [file["name"] for file in provenance(name, results)["from"]]
    missing = (
        f": {' and '.join(files)} {'are' if files[1:] else 'is'} missing here" if files else ""
    )
    return f"Computed earlier by this project{missing}."


def _computed(compute: Compute) -> Arrays:
    return {key: np.asarray(values) for key, values in compute().items()}


def _path(name: str, results: str | Path) -> Path:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f'"{name}": use lower-case words and numbers, joined by hyphens')
    return Path(results) / "snapshots" / f"{name}.npz"
