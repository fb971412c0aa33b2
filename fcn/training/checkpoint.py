"""Checkpoints and interruption."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    pass


class Stopped(Exception):
    """The run was told to stop, and stands at a checkpoint."""


@contextmanager
def interruptible(log: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """A ``stop`` for :func:`train`, under which Ctrl-C lets the step end and its checkpoint be written.

    KeyboardInterrupt is raised then; at once at a second Ctrl-C. Left alone: an interrupt that something else handles
    already, and runs of several processes, which would end at different steps.
    """
    told: list[int] = []

    def note(number: int, _: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        told.append(number)

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler and "WORLD_SIZE" not in os.environ
    ours = ours and threading.current_thread() is threading.main_thread()
    try:
        if ours:
            signal.signal(signal.SIGINT, note)
        yield lambda: bool(told)
    except Stopped:
        if not told:
            raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if told:
        log("interrupted; the same command with --resume goes on from the checkpoint")
        raise KeyboardInterrupt


def read_checkpoint(path: Path | None, identity: dict[str, Any]) -> dict[str, Any]:
    """What ``train`` saved at ``path`` of the run with this ``identity``.

    Raises FileNotFoundError where there is none, and ValueError where it is no whole checkpoint or that of another run.
    """
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint to resume from; start the run without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception:  # torch raises a dozen kinds for a file that is cut short or foreign
        state = None
    if not isinstance(state, dict) or not {"identity", "net", "optimizer", "average", "run", "losses"} <= state.keys():
        raise ValueError(f"{path}: no whole checkpoint of a run; remove it and start the run without --resume")
    if state["identity"] != identity:
        raise ValueError(f"{path}: the checkpoint of another run (recipe, seed, data or net differ)")
    return state
