"""Checkpoints, and stopping at one on Ctrl-C."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fcn.environment import atomic_write

ENTRIES = {"identity", "net", "optimizer", "ema", "run", "losses"}


class Stopped(Exception):
    """Raised when a run was asked to stop and has written its checkpoint."""


def write_checkpoint(path: Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write ``state`` atomically, labelled with the ``identity`` of its run."""
    with atomic_write(path) as partial:
        torch.save({"identity": identity} | state, partial)


def read_checkpoint(path: Path | None, identity: dict[str, Any]) -> dict[str, Any]:
    """The state saved by the run with this ``identity``.

    Raises FileNotFoundError if it is missing, ValueError if it is damaged or another run's.
    """
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint to resume; start the run without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception:  # torch raises a dozen types for a file it cannot read
        state = None
    if not isinstance(state, dict) or not state.keys() >= ENTRIES:
        remedy = "remove it and start the run without --resume"
        raise ValueError(f"{path}: not a complete checkpoint; {remedy}")
    if state["identity"] != identity:
        raise ValueError(f"{path}: from another run (its recipe, seed, data or net differs)")
    return state


@contextmanager
def interruptible(log: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yield a ``stop`` for :func:`~fcn.training.loop.train` that turns True on Ctrl-C.

    The step finishes and its checkpoint is written before KeyboardInterrupt is raised; a second
    Ctrl-C raises it at once. Does nothing if SIGINT already has a handler, outside the main thread,
    and in a run of several processes, which would stop at different steps.
    """
    interrupted = threading.Event()

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted.set()

    active = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
        and threading.current_thread() is threading.main_thread()
        and "WORLD_SIZE" not in os.environ
    )
    try:
        if active:
            signal.signal(signal.SIGINT, handle)
        yield interrupted.is_set
    except Stopped:
        if not interrupted.is_set():
            raise
    finally:
        if active:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted.is_set():
        log("interrupted; the same command with --resume continues from the checkpoint")
        raise KeyboardInterrupt
