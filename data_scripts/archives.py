"""Unpack tar and zip archives so that nothing lands outside the target, whatever the archive holds, and whole or not
at all.

Only folders and regular files are ever made. A hard link becomes a copy of its file; a symbolic link that stays inside
is left out; a name or a link that leads outside, a device or a pipe makes the whole archive refused. Owners, modes and
times of the archive are not carried over.
"""

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from fetch import NoSpaceError, require_space

RESERVE = 64 << 20
"""Bytes that unpacking leaves free."""

_TEMPORARY = ".unpacking-"

Wanted = Callable[[PurePosixPath], bool]
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError)


def _everything(_: PurePosixPath) -> bool:
    return True


@contextmanager
def unpacked(archive: Path, beside: Path, wanted: Wanted = _everything) -> Iterator[Path]:
    """A temporary folder in ``beside`` with what the archive holds; gone at the end but for what :func:`place` moved.

    ``wanted`` chooses among the files by their paths in the archive.

    Raises ValueError where the archive is cut short or corrupt, or would write outside, and NoSpaceError.
    """
    beside.mkdir(parents=True, exist_ok=True)
    folder = beside / f"{_TEMPORARY}{archive.name}"
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    print(f"{archive.name}: unpacking", flush=True)
    try:
        content = folder / "content"
        content.mkdir(parents=True)
        _unpack(archive, content, wanted)
        yield content
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(found: Path, target: Path) -> None:
    """Move a file or folder to where it shall lie, in one step. Raises FileExistsError where something lies there."""
    if target.exists():
        raise FileExistsError(f"{target}: lies there already; move it away and run this again")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(found, target)


def find(folder: Path, *holds: str) -> Path:
    """The uppermost folder, ``folder`` or one inside, that holds all of the given paths, which may have wildcards.

    Raises ValueError where there is none.
    """
    folders = sorted((Path(found) for found, _, _ in os.walk(folder)), key=lambda path: (len(path.parts), path))
    for candidate in folders:
        if all(any(candidate.glob(pattern)) for pattern in holds):
            return candidate
    archive = folder.parent.name.removeprefix(_TEMPORARY)
    raise ValueError(
        f"{archive}: holds no folder with {', '.join(holds)}, so it is not the data set's archive; "
        f"delete it and run this again"
    )


def _unpack(archive: Path, target: Path, wanted: Wanted) -> None:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened_zip:
                _unpack_zip(opened_zip, target, wanted)
        else:
            with tarfile.open(archive) as opened_tar:
                _unpack_tar(opened_tar, target, wanted)
    except _Outside as error:
        raise ValueError(f"{archive}: {error}; nothing was unpacked, do not trust this file") from None
    except (*_BROKEN, OSError) as error:
        # Of the system's errors only those without a number, such as gzip's, speak of the archive's content.
        if isinstance(error, NoSpaceError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise ValueError(
            f"{archive}: cannot be unpacked, it is cut short, corrupt or no archive ({type(error).__name__}); "
            f"delete it and run this again"
        ) from None


class _Outside(Exception):
    """A member that would reach outside the target."""


def _unpack_tar(archive: tarfile.TarFile, target: Path, wanted: Wanted) -> None:
    for member in archive:
        path = _inside(member.name)
        if member.issym():
            _inside(member.linkname, path.parent)
        elif member.islnk():
            _inside(member.linkname)
        elif not (member.isreg() or member.isdir()):
            raise _Outside(f"'{member.name}' is a device or a pipe")
        if not wanted(path) or member.isdir() or member.issym():
            continue
        try:
            content = archive.extractfile(member)
        except KeyError:
            raise tarfile.ReadError(f"'{member.name}' is a link to what is not there") from None
        if content is None:
            raise tarfile.ReadError(f"'{member.name}' is a link to no file")
        with content:
            _write(content, target / path, member.size)
    # To the very end, where a compressed archive keeps its checksum.
    while archive.fileobj and archive.fileobj.read(1 << 20):
        pass


def _unpack_zip(archive: zipfile.ZipFile, target: Path, wanted: Wanted) -> None:
    for member in archive.infolist():
        path = _inside(member.filename)
        mode = member.external_attr >> 16
        if stat.S_ISLNK(mode):
            with archive.open(member) as content:
                _inside(content.read(4096).decode(errors="replace"), path.parent)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _Outside(f"'{member.filename}' is a device or a pipe")
        if not wanted(path) or member.is_dir() or stat.S_ISLNK(mode):
            continue
        with archive.open(member) as content:
            _write(content, target / path, member.file_size)


def _inside(name: str, folder: PurePosixPath | None = None) -> PurePosixPath:
    """The path that ``name`` has in the target; for a link, seen from its ``folder``, in which it may lead upwards.

    Raises _Outside where it leads out of the target.
    """
    slashed = name.replace("\\", "/")  # a separator on Windows, and in some archives made there
    if slashed.startswith("/") or re.match("[A-Za-z]:", slashed) or "\0" in slashed:
        raise _Outside(f"'{name}' would lie outside the target")
    parts = list(folder.parts) if folder else []
    for part in slashed.split("/"):
        if part == "..":
            if folder is None or not parts:
                raise _Outside(f"'{name}' would lie outside the target")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return PurePosixPath(*parts)


def _write(content: IO[bytes], path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    require_space(path.parent, size + RESERVE, path.name)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
