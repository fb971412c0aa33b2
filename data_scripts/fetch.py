"""Download a published file: mirrors, resuming, checksum, progress bar.

pooch handles the temporary file, the checksum and the final rename; :class:`_Resuming` adds
resuming: ``NAME.part`` keeps what has arrived, and a later run continues from there.
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
from rich.progress import (
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

CHUNK = 1 << 14
"""Bytes read at a time: at most this many are lost if a connection breaks."""
TIMEOUT = (20, 60)
"""Seconds to wait for a connection and for the next bytes."""
FRUITLESS_TRIES = 3
"""Broken connections in a row without new bytes before an address is given up."""
PAUSE = 2.0
"""Seconds before the first retry of a broken connection; doubles with each retry."""

pooch.get_logger().setLevel(logging.WARNING)


@dataclass(frozen=True)
class Published:
    """A published file: name, addresses, and checksum (``md5:...``) if one is known."""

    name: str
    addresses: tuple[str, ...]
    checksum: str | None = None


class DownloadError(OSError):
    """No address provided the file."""


class NoSpaceError(OSError):
    """The disk has too little free space."""


class _Refused(Exception):
    """An address answered, but without the file."""


def download(file: Published, folder: Path, *, to_unpack: bool = False) -> Path:
    """The path of the file in ``folder``, downloaded unless it is already there.

    ``to_unpack``: require space for the content too, estimated as the size of the archive.

    Raises ValueError if the existing file is a different one; DownloadError if no address provides
    the file, saying where to put it by hand; NoSpaceError before a download that would not fit.
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
            checksum = pooch.file_hash(str(path))
            print(f"{file.name}: no published checksum to compare; sha256:{checksum}")
        return path
    raise DownloadError(
        f"{file.name}: download failed ({'; '.join(reasons)}); get it by hand, put it at "
        f"{path.absolute()} and run this again"
    )


def _check_existing(file: Published, path: Path) -> None:
    if file.checksum is None:
        return
    algorithm, expected = file.checksum.split(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != expected:
        raise ValueError(
            f"{path}: not the published file ({algorithm} {found}, published {expected}); move it "
            f"away and run this again"
        )


def _retrieve(file: Published, address: str, folder: Path, to_unpack: bool) -> None:
    """Try one address; if a resumed file has the wrong checksum, once more from the beginning."""
    for last_try in (False, True):
        downloader = _Resuming(file, folder / f"{file.name}.part", to_unpack)
        try:
            pooch.retrieve(
                address, file.checksum, fname=file.name, path=folder, downloader=downloader
            )
            return
        except requests.RequestException:  # some are ValueErrors too
            raise
        except ValueError:  # pooch: the checksum differs
            if last_try or not downloader.resumed:
                raise _Refused(f"not the published file, expected {file.checksum}") from None


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
    """A downloader for pooch that keeps what has arrived and continues from there."""

    def __init__(self, file: Published, part: Path, to_unpack: bool) -> None:
        self.file, self.part, self.to_unpack = file, part, to_unpack
        self.note = part.with_name(part.name + ".json")  # address and version of the part
        self.resumed = False

    def __call__(self, address: str, output_file: str, _pooch: object) -> None:
        longest, fruitless = self._size(), 0
        while True:
            try:
                self._continue(address)
                break
            except (
                requests.ConnectionError,
                requests.exceptions.ChunkedEncodingError,
                requests.Timeout,
            ) as error:
                if self._size() > longest:
                    longest, fruitless = self._size(), 0
                else:
                    fruitless += 1
                if longest == 0:
                    raise  # never connected: waiting is useless
                if fruitless == FRUITLESS_TRIES:
                    raise _CutShort(f"the connection broke after {self._size():,} bytes") from error
                time.sleep(PAUSE * 2**fruitless)
        self.note.unlink(missing_ok=True)
        os.replace(self.part, output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _continue(self, address: str) -> None:
        headers = {"Accept-Encoding": "identity"}
        here = self._size()
        if here and (version := self._version_to_resume(address)) is not None:
            headers["Range"] = f"bytes={here}-"
            if version:
                headers["If-Range"] = version
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # the server has no further bytes
                if _total(answer) != here:
                    self.part.unlink()
                    raise _CutShort("the existing part was longer than the file")
                return
            if answer.status_code not in (200, 206):
                raise _Refused(f"HTTP {answer.status_code}")
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise _Refused("a web page instead of the file")
            begin = _first_byte(answer) if answer.status_code == 206 else 0
            if begin not in (0, here):
                raise _Refused(f"asked for bytes from {here:,}, received bytes from {begin:,}")
            self._write(answer, address, begin)

    def _version_to_resume(self, address: str) -> str | None:
        """The version of the part; '' if only the checksum can identify it; None to start over."""
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
            needed = total * (2 if self.to_unpack else 1) - begin
            require_space(self.part.parent, needed, self.file.name)
        if begin == 0:
            etag = answer.headers.get("ETag", "")
            if not etag or etag.startswith("W/"):
                etag = answer.headers.get("Last-Modified", "")
            self.note.write_text(json.dumps({"address": address, "version": etag}))
        self.resumed = self.resumed or begin > 0
        description = TextColumn("{task.description}")
        columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with (
            Progress(
                description, *columns, console=Console(stderr=True), transient=True
            ) as progress,
            self.part.open("ab" if begin else "wb") as part,
        ):
            task = progress.add_task(self.file.name, total=total, completed=begin)
            for chunk in answer.iter_content(CHUNK):
                part.write(chunk)
                progress.advance(task, len(chunk))
            part.flush()
            os.fsync(part.fileno())
        if total is not None and self._size() != total:
            raise _CutShort(f"{self._size():,} of {total:,} bytes arrived")


def _first_byte(answer: requests.Response) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _total(answer: requests.Response) -> int:
    found = re.match(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise NoSpaceError if the disk of ``folder`` has fewer than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoSpaceError(
            f"{what}: needs {needed / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; "
            f"free some space or choose a folder on another disk"
        )
