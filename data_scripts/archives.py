"""Unpack tar and zip archives, completely or not at all, with nothing written outside the target.

Only folders and regular files are created. A hard link becomes a copy of its file; a symbolic link
that stays inside is skipped; an archive with a name or link that leads outside, a device or a pipe
is rejected, and so is one that unpacks to much more than its own size. Owners, modes and times are
not restored.
"""

import errno
import os
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from fetch import NoSpaceError, require_space

from fcn.environment import sync_folder

RESERVE = 64 << 20
"""Bytes to leave free on the disk."""

_TEMPORARY = ".unpacking-"

Wanted = Callable[[PurePosixPath], bool]
_NAMES = {errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EILSEQ}
"""Errors that the names in an archive cause: too long, or a file in place of a folder."""

LARGEST = 200
"""The most that an archive may take unpacked, in times its own size; label maps take a few."""
SMALL = 64 << 20
"""Bytes that any archive may take unpacked."""


def _everything(_: PurePosixPath) -> bool:
    return True


@contextmanager
def unpacked(
    archive: Path, parent: Path, wanted: Wanted = _everything, *, log: bool = True
) -> Iterator[Path]:
    """Yield a temporary folder, created in ``parent``, with the content of the archive.

    It is deleted at the end; :func:`place` moves files out of it. ``wanted`` selects files by their
    path in the archive. Raises ValueError if the archive is truncated, corrupt, too large unpacked
    or would write outside the folder, and NoSpaceError.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{_TEMPORARY}{archive.name}"
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed run
    if log:
        print(f"{archive.name}: unpacking", flush=True)
    try:
        content = folder / "content"
        content.mkdir(parents=True)
        _unpack(archive, content, wanted)
        yield content
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(found: Path, target: Path) -> None:
    """Move a file or folder into place, atomically. Raises FileExistsError if the target exists."""
    if target.exists():
        raise FileExistsError(f"{target}: already exists; move it away and run this again")
    target.parent.mkdir(parents=True, exist_ok=True)
    if hasattr(os, "sync"):  # not on Windows
        os.sync()  # a loss of power must not leave the folder with empty files
    os.replace(found, target)
    sync_folder(target.parent)


def find(folder: Path, *patterns: str) -> Path:
    """The topmost folder, at or below ``folder``, that contains all the given glob patterns.

    Raises ValueError if there is none.
    """
    folders = sorted(
        (Path(found) for found, _, _ in os.walk(folder)), key=lambda path: (len(path.parts), path)
    )
    for candidate in folders:
        if all(any(candidate.glob(pattern)) for pattern in patterns):
            return candidate
    archive = folder.parent.name.removeprefix(_TEMPORARY)
    raise ValueError(
        f"{archive}: contains no folder with {', '.join(patterns)}, so it is not the data set's "
        f"archive; delete it and run this again"
    )


def _unpack(archive: Path, target: Path, wanted: Wanted) -> None:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened_zip:
                _unpack_zip(opened_zip, target, wanted, _Size(archive))
        else:
            with tarfile.open(archive) as opened_tar:
                _unpack_tar(opened_tar, target, wanted, _Size(archive))
    except _Refused as error:
        raise ValueError(
            f"{archive}: {error}; nothing was unpacked, do not trust this file"
        ) from None
    except Exception as error:  # the two modules raise a dozen types for a damaged archive
        # An OSError without a number, such as gzip's, is due to the content of the archive.
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, NoSpaceError | MemoryError) or (number and number not in _NAMES):
            raise
        raise ValueError(
            f"{archive}: cannot be unpacked, truncated, corrupt or not an archive "
            f"({_reason(error)}); delete it and run this again"
        ) from None


def _reason(error: Exception) -> str:
    strerror = getattr(error, "strerror", None)
    return strerror.lower() if strerror else type(error).__name__


class _Refused(Exception):
    """An archive with a member outside the target, or larger than an honest one can be."""


class _Size:
    """The size of an archive and of what is unpacked from it, in bytes."""

    def __init__(self, archive: Path) -> None:
        self.most = max(SMALL, LARGEST * archive.stat().st_size)
        self.unpacked = 0

    def add(self, size: int) -> None:
        self.unpacked += size
        if self.unpacked > self.most:
            raise _Refused(f"it would take more than {self.most:,} bytes unpacked")


def _unpack_tar(archive: tarfile.TarFile, target: Path, wanted: Wanted, size: _Size) -> None:
    for member in archive:
        size.add(member.size)
        path = _inside(member.name)
        if member.issym():
            _inside(member.linkname, path.parent)
        elif member.islnk():
            _inside(member.linkname)
        elif not (member.isreg() or member.isdir()):
            raise _Refused(f"'{member.name}' is a device or a pipe")
        if not wanted(path) or member.isdir() or member.issym():
            continue
        try:
            content = archive.extractfile(member)
        except KeyError:
            raise tarfile.ReadError(f"'{member.name}' is a link to a missing file") from None
        if content is None:
            raise tarfile.ReadError(f"'{member.name}' is not a link to a file")
        with content:
            written = _write(content, target / path, member.size)
        if member.islnk():  # a copy, however many there are
            size.add(written)
        elif written != member.size:
            raise tarfile.ReadError(f"'{member.name}' is incomplete")
    # Where tarfile stops, at a damaged header, too, only zeros may follow. A compressed archive has
    # its checksum at the very end.
    assert archive.fileobj
    archive.fileobj.seek(archive.offset)
    rest = archive.fileobj.read(tarfile.BLOCKSIZE)
    if len(rest) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("no end of the archive")
    while rest:
        if any(rest):
            raise tarfile.ReadError("a damaged header")
        rest = archive.fileobj.read(1 << 20)


def _unpack_zip(archive: zipfile.ZipFile, target: Path, wanted: Wanted, size: _Size) -> None:
    for member in archive.infolist():
        size.add(member.file_size)
        path = _inside(member.filename)
        mode = member.external_attr >> 16
        if stat.S_ISLNK(mode):
            with archive.open(member) as content:
                _inside(content.read(4096).decode(errors="replace"), path.parent)
        elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _Refused(f"'{member.filename}' is a device or a pipe")
        if not wanted(path) or member.is_dir() or stat.S_ISLNK(mode):
            continue
        with archive.open(member) as content:
            if _write(content, target / path, member.file_size) != member.file_size:
                raise zipfile.BadZipFile(f"'{member.filename}' is incomplete")


def _inside(name: str, folder: PurePosixPath | None = None) -> PurePosixPath:
    """The path of ``name`` in the target; for a link, relative to its ``folder``, possibly upwards.

    Raises _Refused if it leads out of the target.
    """
    slashed = name.replace("\\", "/")  # the separator in some archives made on Windows
    if slashed.startswith("/") or re.match("[A-Za-z]:", slashed) or "\0" in slashed:
        raise _Refused(f"'{name}' would be outside the target")
    parts = list(folder.parts) if folder else []
    for part in slashed.split("/"):
        if part == "..":
            if folder is None or not parts:
                raise _Refused(f"'{name}' would be outside the target")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return PurePosixPath(*parts)


def _write(content: IO[bytes], path: Path, size: int) -> int:
    """Write a file of about ``size`` bytes; returns the number that it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    require_space(path.parent, size + RESERVE, path.name)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        return file.tell()
