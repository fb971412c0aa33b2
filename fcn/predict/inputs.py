"""The photos of a command: files, folders, patterns, lists; and the names of their results.

Nothing here keeps the names of all photos in memory, so a list may have millions.
"""

import os
import re
import sqlite3
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from glob import has_magic, iglob
from io import BufferedIOBase
from itertools import count
from pathlib import Path, PurePath
from typing import NamedTuple, cast

from fcn.predict.output import RESULTS

SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif"),
    *(".heic", ".heif", ".hif", ".gif", ".ppm", ".pgm", ".jp2"),
}
STDIN = "-"


class Source(NamedTuple):
    """A photo and the path of its results, without suffix, relative to the output folder."""

    photo: Path
    stem: Path


class Inputs:
    """The photos that ``arguments`` name, in order; iterable again, except for standard input.

    An argument is a file, a folder (with all folders in it), a pattern such as ``'a/**/*.jpg'``,
    ``@FILE`` (a list, one path per line) or ``-`` (a list on standard input). ``out``: results in
    it are no photos. Raises FileNotFoundError for missing lists.
    """

    def __init__(self, arguments: Sequence[str], out: Path) -> None:
        self.arguments, self.out = arguments, out
        self.lists = [a for a in arguments if a.startswith("@") and not Path(a).exists()]
        for name in self.lists:
            if not Path(name[1:]).is_file():
                raise FileNotFoundError(f"{name[1:]}: no such list of photos; give one per line")

    @property
    def again(self) -> bool:
        """True if the photos can be counted before the first is read."""
        return STDIN not in self.arguments

    @property
    def single(self) -> bool:
        """True if there is one argument, and it is a file or wrong."""
        return (
            len(self.arguments) == 1
            and self.arguments[0] != STDIN
            and not self.lists
            and not Path(self.arguments[0]).is_dir()
            and not self._pattern(self.arguments[0])
        )

    def __iter__(self) -> Iterator[Source]:
        with closing(_Names()) as names:
            for photo, wanted in self._found():
                if stem := names.claim(photo, wanted):
                    yield Source(photo, stem)

    def count(self) -> int:
        """The number of photos, those listed twice counted twice."""
        return sum(1 for _ in self._found())

    def _found(self) -> Iterator[tuple[Path, PurePath]]:
        """Each photo with the path that its results mirror."""
        for argument in self.arguments:
            path = Path(argument)
            if argument == STDIN:
                yield from (
                    (p, relative(p)) for p in _lines(cast(BufferedIOBase, sys.stdin.buffer))
                )
            elif argument in self.lists:
                with open(argument[1:], "rb") as lines:
                    yield from ((p, relative(p)) for p in _lines(lines))
            elif path.is_dir():
                yield from _below(path, self.out)
            elif self._pattern(argument):
                root = _root(argument)
                for name in iglob(argument, recursive=True):
                    if os.path.isfile(name) and not name.endswith(RESULTS):
                        yield Path(name), PurePath(os.path.relpath(name, root))
            else:
                yield path, PurePath(path.name)

    @staticmethod
    def _pattern(argument: str) -> bool:
        return has_magic(argument) and not os.path.lexists(argument)


def _lines(stream: BufferedIOBase) -> Iterator[Path]:
    """The paths in a list: one per line, or separated by NUL, as ``find -print0`` writes them."""
    rest = stream.read(3).removeprefix(b"\xef\xbb\xbf")
    while chunk := stream.read1(1 << 13):
        *parts, rest = re.split(rb"[\n\0]", rest + chunk)
        yield from (Path(os.fsdecode(part.rstrip(b"\r"))) for part in parts if part.strip())
    yield from (Path(os.fsdecode(part)) for part in re.split(rb"[\n\0]", rest) if part.strip())


def _below(folder: Path, out: Path) -> Iterator[tuple[Path, PurePath]]:
    """The photos in a folder and the folders in it, by name, without hidden files and results.

    A link to a folder is followed, unless that folder is searched anyway or contains this one.
    """
    root, seen = folder.resolve(), set()
    skipped = out.resolve() if out.resolve() != root else None

    def wanted(path: Path) -> bool:
        target = path.resolve()
        anyway = target.is_relative_to(root) or root.is_relative_to(target)
        return target != skipped and not (path.is_symlink() and anyway)

    for parent, folders, files in os.walk(folder, followlinks=True):
        if (here := Path(parent).resolve()) in seen:
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and wanted(Path(parent) / name)
        )
        for name in sorted(files):
            hidden = name.startswith(".") or name.endswith(RESULTS)
            if PurePath(name).suffix.lower() in SUFFIXES and not hidden:
                path = Path(parent) / name
                yield path, path.relative_to(folder)


def _root(pattern: str) -> str:
    """The folders of a pattern before the first that has a wildcard."""
    parts = PurePath(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if has_magic(part))
    return str(PurePath(*parts[:fixed])) if fixed else "."


def relative(path: Path) -> PurePath:
    """A path as one below another folder: without its root, ``..`` as ``__``, ``.`` as ``_``."""
    parts = path.parts[1:] if path.anchor else path.parts
    return PurePath(*("__" if part == ".." else part for part in parts or ("_",)))


class _Names:
    """The names that are taken, in a file on the disk."""

    def __init__(self) -> None:
        self.base = sqlite3.connect("", isolation_level=None)  # goes with the process
        self.base.execute("PRAGMA journal_mode = OFF")
        self.base.execute("PRAGMA synchronous = OFF")
        self.base.execute("CREATE TABLE name (name BLOB PRIMARY KEY) WITHOUT ROWID")
        self.base.execute("BEGIN")

    def claim(self, photo: Path, wanted: PurePath) -> Path | None:
        """A name for the results of a photo that no other has; None if it was there before.

        The wanted one without its suffix; or with its folders, with its suffix, with a number.
        """
        if not self._new(b"photo " + os.fsencode(os.path.abspath(photo))):
            return None
        whole = relative(photo)
        for name in (wanted.with_suffix(""), whole.with_suffix(""), wanted, whole):
            if self._new(b"result " + _folded(name)):
                return Path(name)
        for i in count(2):
            if self._new(b"result " + _folded(name := whole.with_name(f"{whole.name}-{i}"))):
                return Path(name)
        return None

    def _new(self, key: bytes) -> bool:
        return self.base.execute("INSERT OR IGNORE INTO name VALUES (?)", (key,)).rowcount == 1

    def close(self) -> None:
        self.base.close()


def _folded(name: PurePath) -> bytes:
    """One key for all names that are the same file on some file system."""
    return os.fsencode(unicodedata.normalize("NFC", str(name)).casefold())
