"""The machine: atomic writes, checksums, the data and weight folders, the device."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to: it takes the place of ``path`` at the end, and goes after an error.

    The folder is made if need be. Raises OSError, naming ``path``, where the disk is full or takes no such file.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own for a full disk
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise OSError(f"{path}: cannot be written ({reason}); make room, or choose another folder") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sha256(path: str | Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal digits. Raises FileNotFoundError where there is none."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PROJECT = Path(__file__).parents[1]


def resolve_device(name: str) -> str:
    """The device as torch calls it. Raises ValueError where there is none of that name on this machine."""
    found = torch.accelerator.current_accelerator(check_available=True)
    here = {"cpu": "cpu", "auto": found.type if found else "cpu"} | ({found.type: found.type} if found else {})
    if name not in here:
        raise ValueError(f"--device {name}: not on this machine; choose one of {', '.join(here)}")
    return here[name]


def check_writable(folder: Path, option: str) -> None:
    """Make ``folder`` where it is missing. Raises ValueError, naming it and ``option``, where it takes no files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{folder}: cannot be written to ({error.strerror}); name another folder with {option}"
        ) from None


def folder_of(given: Path | None, variable: str, option: str = "") -> Path:
    path = given or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    mend = f"name it with {option}, or set {variable}" if option else f"set {variable} to the folder of the weights"
    if path is None:
        raise FileNotFoundError(f"no folder given: {mend}")
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; {mend}")
    return path
