"""Checkpoints: the state of a run, labelled with what makes it that run, and locked by it."""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from fcn.environment import atomic_write, machine_fault
from fcn.pretrained import intact

CHECKSUM = re.compile(r"[0-9a-f]{64}( \+ [0-9a-f]{64})*")
ENTRIES = {"identity", "net", "optimizer", "ema", "run", "losses"}


class Stopped(Exception):
    """Raised when a run was asked to stop and has written its checkpoint."""


def write_checkpoint(path: Path, identity: Mapping[str, Any], state: dict[str, Any]) -> None:
    """Write ``state`` atomically, labelled with the ``identity`` of its run."""
    with atomic_write(path) as partial:
        torch.save({"identity": dict(identity)} | state, partial)


def read_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The state saved by the run with this ``identity``: nested settings, and checksums.

    Raises ValueError if the file is damaged, or another run's: the message names what differs.
    """
    with damaged(path):
        if not intact(path):
            raise ValueError("a checksum differs")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not state.keys() >= ENTRIES:
            raise ValueError("entries are missing")
        differences = list(_differences(state["identity"], identity))
    if differences:
        raise ValueError(
            f"{path}: from another run: {', '.join(differences)}; "
            "resume with the saved settings, or delete it to start again"
        )
    return state


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Turn the dozen types of errors that a damaged checkpoint causes into a ValueError."""
    try:
        yield
    except Exception as error:
        if machine_fault(error):
            raise
        remedy = "delete it to start again"
        raise ValueError(f"{path}: not a complete checkpoint; {remedy}") from error


def tidy(weights: Path, record: Path) -> None:
    """Delete what a run has left that was killed after it wrote its net and then its ``record``."""
    checkpoint = weights.with_suffix(".checkpoint")
    if not (checkpoint.is_file() or checkpoint.with_suffix(".lock").is_file()):
        return
    with suppress(OSError), exclusive(checkpoint):  # refused if it is running still
        files = [path for path in (checkpoint, weights, record) if path.is_file()]
        times = [path.stat().st_mtime_ns for path in files]
        if len(files) == 3 and times == sorted(times):  # not one that was begun anew
            checkpoint.unlink()


def _differences(
    saved: Mapping[str, Any], given: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    for name in {**given, **saved}:
        old, new = saved.get(name), given.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{name} ")
        elif old != new and all(CHECKSUM.fullmatch(str(value)) for value in (old, new)):
            yield f"other {prefix}{name}"
        elif old != new:
            yield f"{prefix}{name} was {_short(old)} and is {_short(new)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


@contextmanager
def exclusive(checkpoint: Path) -> Iterator[None]:
    """Lock the run with this checkpoint, and delete what a killed process left half written.

    The lock ends with the process. Raises OSError if another process has it.
    """
    stem = checkpoint.stem
    path = checkpoint.with_suffix(".lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        holder = ""
        with suppress(OSError):  # it may end now, and delete the file
            holder = f" ({path.read_text(encoding='utf-8')})"
        raise OSError(f"{stem} is already running here{holder}; see {path}") from None
    try:
        path.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        # Those of other machines, too, which atomic_write keeps for a day: we have the lock.
        for kind in ("checkpoint", "safetensors"):
            for left in path.parent.glob(f".{stem}.{kind}.*.partial"):
                left.unlink()
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
