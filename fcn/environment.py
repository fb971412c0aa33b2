"""The local machine: its folders, atomic writes, checksums, the device."""

import errno
import hashlib
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
INSTALLED = (PACKAGE / "weights").is_dir()
"""Whether this is the package of a wheel, which holds the default net, and not a checkout."""
KEPT_NETS = (PACKAGE if INSTALLED else PROJECT) / "weights"
"""The nets that come with the project; with a wheel, only the default."""
RESULTS = Path("results") if INSTALLED else PROJECT / "results"
"""The records of the project; those of an installed package go below the current folder."""
LONGEST_NAME = 255  # bytes, on the usual file systems
DAY = 24 * 3600  # seconds
_MACHINE = {errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT}

File = TypeVar("File")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` on success and is deleted on error.

    For a body that only writes: its errors, too, become an OSError that names ``path``. Others use
    :func:`replacing`.
    """
    with replacing(path, nullcontext) as partial, writing(path):
        yield partial


@contextmanager
def replacing(path: Path, create: Callable[[Path], AbstractContextManager[File]]) -> Iterator[File]:
    """Yield the file that ``create`` opens; it replaces ``path`` on success, is deleted on error.

    Its content is on the disk before it replaces ``path``, and so is its name at the end: a loss of
    power leaves either file whole. Creates the folder if necessary, and deletes what processes of
    this machine that were killed have left in it. Raises OSError, naming ``path``, if the file
    cannot be created, closed or renamed; the body writes to it within :func:`writing`.
    """
    own = f".{platform.node()}-{os.getpid()}.fcn.partial"
    partial = path.with_name(f".{_shortened(path.name, LONGEST_NAME - len(own) - 1)}{own}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear(path.parent.resolve())
            manager = create(partial)
            file = manager.__enter__()
        try:
            yield file
        except BaseException:
            with suppress(Exception):  # it cannot be closed either if the disk is full
                manager.__exit__(*sys.exc_info())
            raise
        with writing(path):
            manager.__exit__(None, None, None)
            with open(partial, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(partial, path)
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of writing a file into an OSError that names ``path`` and the remedy."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk can raise all three
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        remedy = "free some space or choose another folder"
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            remedy = "choose a shorter name"
        raise OSError(f"{path}: cannot be written ({reason}); {remedy}") from error


def _shortened(name: str, length: int) -> str:
    """The beginning of ``name``, at most ``length`` bytes of it."""
    return os.fsencode(name)[: max(0, length)].decode(errors="ignore")


@lru_cache(maxsize=1024)  # once per process and folder, which may have a million files
def _clear(folder: Path) -> None:
    """Delete the partial files of processes that have ended, or are of another day."""
    mark = re.compile(rf"\..*\.{re.escape(platform.node())}-(\d+)\.fcn\.partial", re.DOTALL)
    for left in folder.glob(".*.fcn.partial"):
        with suppress(OSError):
            ours = mark.fullmatch(left.name)
            if (ours and not _runs(int(ours[1]))) or time.time() - left.stat().st_mtime > DAY:
                left.unlink()


def _runs(pid: int) -> bool:
    """True if there is a process of this number, whoever owns it."""
    if os.name == "nt":  # there, signal 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def sync_folder(folder: Path) -> None:
    """Write the names of the files in ``folder`` to the disk, where the system can."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(opened)
    finally:
        os.close(opened)


def machine_fault(error: BaseException) -> bool:
    """True if the machine caused ``error``, not the content of a file: memory, rights, the disk."""
    if isinstance(error, OSError):
        return isinstance(error, PermissionError) or error.errno in _MACHINE
    words = ("allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in words)


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: Path, option: str) -> None:
    """Create ``folder`` if necessary. Raises ValueError, naming ``option``, if it is read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = f"cannot be written to ({error.strerror})"
        raise ValueError(f"{folder}: {reason}; choose another with {option}") from None


def folder_of(given: Path | None, variable: str, option: str = "") -> Path:
    """``given``, or else the folder that the environment variable ``variable`` names.

    Raises FileNotFoundError, naming ``variable`` and ``option``, if there is no such folder.
    """
    path = given or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    hint = f"use {option} or set {variable}" if option else f"set {variable} to the weights' folder"
    if path is None:
        raise FileNotFoundError(f"no folder given; {hint}")
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; {hint}")
    return path


def cores() -> int:
    """The number of threads to compute with: OMP_NUM_THREADS, or the cores this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if wanted.isdigit() and int(wanted):
        return int(wanted)
    return available_cores()


def is_main_process() -> bool:
    """True in the process that writes the files: the first under ``torchrun``, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_device(name: str) -> str:
    """The torch device: "auto", "cpu", "cuda" or "mps". Raises ValueError if not available."""
    if name == "cpu":
        return name
    import torch  # slow to import

    found = torch.accelerator.current_accelerator(check_available=True)
    best = found.type if found else "cpu"
    available = {"cpu": "cpu", "auto": best, best: best}
    if name not in available:
        raise ValueError(f"--device {name}: not available; choose one of {', '.join(available)}")
    return available[name]
