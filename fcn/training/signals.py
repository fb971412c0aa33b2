"""Signals that ask a run to stop at a checkpoint.

SIGINT (Ctrl-C), SIGTERM and SIGUSR1 (schedulers of clusters), SIGHUP (the terminal was closed) and
SIGQUIT.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

EXIT_STATUS = 75  # EX_TEMPFAIL: the same command continues
NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP", "SIGQUIT")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]  # fewer on Windows
REPEATED = 1.0  # seconds: launchers send a signal to a process and then to its group


class Interrupted(KeyboardInterrupt):
    """Raised when a signal has stopped a run."""


class _Request:
    """The signal that was received, if any; whether the code that runs now asks for it."""

    received: signal.Signals | None = None
    time = 0.0
    polled = False


_request = _Request()
_before: dict[int, Any] = {}  # the handlers that ours replace


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a ``stop``, which returns True once a signal was received.

    A signal raises :class:`Interrupted` at once, until the first call of ``stop``; from then on
    instead of Stopped and at the next :func:`check`, so that steps and files are finished first.
    What finishes without either was not interrupted: its caller must not discard it. A second
    signal, a second later or more, ends the process. Contexts can be nested.

    Does nothing outside the main thread and for signals that already have a handler.
    """
    main = threading.current_thread() is threading.main_thread()
    default = (signal.SIG_DFL, signal.default_int_handler)
    mine = [number for number in SIGNALS if main and signal.getsignal(number) in default]
    for number in mine:
        _before[number] = signal.signal(number, _handle)
    try:
        yield _stop
    except Exception as error:
        from fcn.training.checkpoint import Stopped  # imports torch

        if isinstance(error, Stopped):
            check(error)
        raise
    finally:
        _request.polled = False
        for number in mine:
            signal.signal(number, _before.pop(number))
        if not _before:
            _request.received = None


def check(where: object = "") -> None:
    """Raise :class:`Interrupted` if a signal was received."""
    if _request.received is not None:
        raise Interrupted(
            f"stopped by {_request.received.name} {where}".rstrip()
            + "; the same command with --resume continues"
        )


def _stop() -> bool:
    _request.polled = True
    return _request.received is not None


def _handle(number: int, _: object) -> None:
    if _request.received is None:
        _request.received, _request.time = signal.Signals(number), time.monotonic()
        if not _request.polled:
            check()
    elif time.monotonic() - _request.time > REPEATED:
        signal.signal(number, _before[number])
        signal.raise_signal(number)
