"""Download a published file: several addresses, resumed where it broke off, checked, with progress.

pooch does the bookkeeping (a temporary file beside the target, the checksum, the rename at the end); what it lacks is
resuming, which :class:`_Resuming` adds. What has arrived lies in ``NAME.part``, so that a later run goes on from there.
"""

import json
import logging
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

CHUNK = 1 << 14
"""Bytes read at a time: less than that is lost where a connection breaks."""
TIMEOUT = (20, 60)
"""Seconds to wait for a connection, and for the next bytes."""
FRUITLESS_TRIES = 3
"""So many broken connections in a row that brought nothing new end the attempt at an address."""
PAUSE = 2.0
"""Seconds before a broken connection is tried again; twice as long after the next."""

pooch.get_logger().setLevel(logging.WARNING)


@dataclass(frozen=True)
class Published:
    """A file as its authors publish it: its name, where it lies, and its checksum (``md5:...``) where one is known."""

    name: str
    addresses: tuple[str, ...]
    checksum: str | None = None


class DownloadError(OSError):
    """No address gave the file."""


class NoSpaceError(OSError):
    """The disk holds too little free space."""


class _Refused(Exception):
    """An address answered, but not with the file."""


def download(file: Published, folder: Path, *, to_unpack: bool = False) -> Path:
    """The path of the file in ``folder``, downloaded unless it lies there, by an earlier run or put by hand.

    ``to_unpack``: room is needed for what the file holds too, which takes at least as much as the file.

    Raises ValueError where the file that lies there is another one, DownloadError where no address gives the file, with
    the place to put it by hand, and NoSpaceError before a download that would not fit.
    """
    path = folder / file.name
    if path.is_file():
        _check_existing(file, path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    reasons = []
    for address in file.addresses:
        print(f"{file.name}: downloading from {address}", flush=True)
        try:
            _retrieve(file, address, folder, to_unpack)
        except (requests.RequestException, _Refused) as error:
            reasons.append(f"{address}: {_reason(error)}")
            continue
        if file.checksum is None:
            print(f"{file.name}: no published checksum is known; sha256:{pooch.file_hash(str(path))}")
        return path
    raise DownloadError(
        f"{file.name}: no address gave it ({'; '.join(reasons)}); get it by hand, put it at {path.absolute()} "
        f"and run this again"
    )


def _check_existing(file: Published, path: Path) -> None:
    if file.checksum is None:
        return
    algorithm, expected = file.checksum.split(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != expected:
        raise ValueError(
            f"{path}: is not the published file ({algorithm} {found}, published {expected}), it is cut short, corrupt "
            f"or another; move it away and run this again"
        )


def _retrieve(file: Published, address: str, folder: Path, to_unpack: bool) -> None:
    """One address; once more from the beginning where a resumed file turns out to be patched of two."""
    for last_try in (False, True):
        downloader = _Resuming(file, folder / f"{file.name}.part", to_unpack)
        try:
            pooch.retrieve(address, file.checksum, fname=file.name, path=folder, downloader=downloader)
            return
        except requests.RequestException:  # some of which are a ValueError too
            raise
        except ValueError:  # pooch: the checksum differs
            if last_try or not downloader.resumed:
                raise _Refused(f"what it gave is not the published file, {file.checksum} is expected") from None


def _reason(error: Exception) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, _CutShort):
        return str(error)
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error) or type(error).__name__


class _CutShort(requests.ConnectionError):
    """The connection ended before the file did."""


class _Resuming:
    """A downloader for pooch that keeps what has arrived and goes on from there."""

    def __init__(self, file: Published, part: Path, to_unpack: bool) -> None:
        self.file, self.part, self.to_unpack = file, part, to_unpack
        self.note = part.with_name(part.name + ".json")  # where the part came from, and which version of the file
        self.resumed = False

    def __call__(self, address: str, output_file: str, _pooch: object) -> None:
        longest, fruitless = self._size(), 0
        while True:
            try:
                self._go_on(address)
                break
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, requests.Timeout) as error:
                if self._size() > longest:
                    longest, fruitless = self._size(), 0
                else:
                    fruitless += 1
                if longest == 0:
                    raise  # never reached: no use in waiting
                if fruitless == FRUITLESS_TRIES:
                    raise _CutShort(f"the connection broke after {self._size():,} bytes") from error
                time.sleep(PAUSE * 2**fruitless)
        self.note.unlink(missing_ok=True)
        os.replace(self.part, output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _go_on(self, address: str) -> None:
        headers = {"Accept-Encoding": "identity"}
        here = self._size()
        if here and (version := self._version_to_resume(address)) is not None:
            headers["Range"] = f"bytes={here}-"
            if version:
                headers["If-Range"] = version
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # the server has nothing beyond what is here
                if _total(answer) != here:
                    self.part.unlink()
                    raise _CutShort("the part that lay here was longer than the file")
                return
            if answer.status_code not in (200, 206):
                raise _Refused(f"HTTP {answer.status_code}")
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise _Refused("it gave a web page in place of the file")
            begin = _first_byte(answer) if answer.status_code == 206 else 0
            if begin not in (0, here):
                raise _Refused(f"asked for the bytes from {here:,} on, it gave those from {begin:,} on")
            self._write(answer, address, begin)

    def _version_to_resume(self, address: str) -> str | None:
        """The version that the part belongs to, '' where only the checksum will tell, None where to start over."""
        try:
            note = json.loads(self.note.read_text())
        except (OSError, ValueError):
            note = {}
        if note.get("address") == address and note.get("version"):
            return str(note["version"])
        return "" if self.file.checksum else None

    def _write(self, answer: requests.Response, address: str, begin: int) -> None:
        length = answer.headers.get("Content-Length", "")
        total = begin + int(length) if length.isdigit() else None
        if total is not None:
            require_space(self.part.parent, total * (2 if self.to_unpack else 1) - begin, self.file.name)
        if begin == 0:
            etag = answer.headers.get("ETag", "")
            version = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
            self.note.write_text(json.dumps({"address": address, "version": version}))
        self.resumed = self.resumed or begin > 0
        columns = (TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with (
            Progress(*columns, console=Console(stderr=True), transient=True) as progress,
            self.part.open("ab" if begin else "wb") as part,
        ):
            task = progress.add_task(self.file.name, total=total, completed=begin)
            for chunk in answer.iter_content(CHUNK):
                part.write(chunk)
                progress.advance(task, len(chunk))
        if total is not None and self._size() != total:
            raise _CutShort(f"{self._size():,} of {total:,} bytes came")


def _first_byte(answer: requests.Response) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _total(answer: requests.Response) -> int:
    found = re.match(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raises NoSpaceError where the disk of ``folder`` has fewer than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"{what}: needs {needed / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; "
            f"free some space or name a folder on another disk"
        )
