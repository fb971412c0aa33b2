"""Pack data sets into tar files of limited size, for a machine that cannot download, and unpack.

    python data_scripts/pack.py pack DATA PARTS [FOLDER ...]   DATA/FOLDER to PARTS/part-000.tar ...
    python data_scripts/pack.py unpack PARTS DATA              the reverse, verifying checksums

Files keep their content and official layout; they are not compressed, since photos and label maps
already are. ``PARTS/parts.json`` lists the size and SHA-256 of each part. The terms of the data
sets apply to the parts too: keep them out of version control.
"""

import argparse
import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import archives

from fcn.environment import atomic_write, sha256

MIB = 1 << 20
LIMIT = 60.0  # MiB, the largest part
LIST = "parts.json"


def pack(data: Path, parts: Path, folders: Sequence[str] = (), limit: float = LIMIT) -> list[Path]:
    """Pack ``folders`` below ``data``, by default all, into tar files of at most ``limit`` MiB.

    The same files always yield the same parts. Raises FileNotFoundError for a folder that is
    missing or empty, and ValueError for a limit above 60 MiB or a file larger than a part.
    """
    if not 0 < limit <= LIMIT:
        raise ValueError(f"parts of {limit:g} MiB: give a limit above 0 and at most {LIMIT:g} MiB")
    written: list[dict[str, Any]] = []
    for number, files in enumerate(_shares(data, _files(data, folders), int(limit * MIB))):
        path = parts / f"part-{number:03d}.tar"
        with (
            atomic_write(path) as partial,
            tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as archive,
        ):
            for file in files:
                entry = tarfile.TarInfo(file.relative_to(data).as_posix())  # no owner, no date
                entry.size = file.stat().st_size
                with file.open("rb") as content:
                    archive.addfile(entry, content)
        size, checksum = path.stat().st_size, sha256(path)
        written.append({"name": path.name, "bytes": size, "files": len(files), "sha256": checksum})
    with atomic_write(parts / LIST) as partial:
        partial.write_text(json.dumps({"parts": written}, indent=1) + "\n", encoding="utf-8")
    return [parts / part["name"] for part in written]


def unpack(parts: Path, data: Path) -> Path:
    """Unpack parts into ``data``, in their original layout, and return ``data``.

    Parts unpacked before are skipped, so they may arrive one by one. Raises FileNotFoundError,
    naming the parts still missing, and ValueError for a damaged part.
    """
    listed = _listed(parts)
    data.mkdir(parents=True, exist_ok=True)
    missing = []
    for part in listed:
        path, done = parts / part["name"], data / f".{part['name']}.{part['sha256'][:16]}"
        if done.is_file():
            continue
        if not path.is_file():
            missing.append(part["name"])
            continue
        if sha256(path) != part["sha256"]:
            raise ValueError(f"{path}: damaged, its SHA-256 differs; transfer it again")
        with archives.unpacked(path, data, log=False) as folder:
            for file in sorted(file for file in folder.rglob("*") if file.is_file()):
                target = data / file.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)  # whole, at every moment
            if hasattr(os, "sync"):  # not on Windows
                os.sync()
        done.touch()
    if missing:
        raise FileNotFoundError(f"{parts}: {', '.join(missing)} missing; add them and unpack again")
    return data


def _files(data: Path, folders: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for folder in [data / name for name in folders] or [data]:
        below = sorted(path for path in folder.rglob("*") if path.is_file())
        if not below:
            raise FileNotFoundError(f"{folder}: no such folder, or no file in it; check the path")
        found += below
    return found


def _shares(data: Path, files: Sequence[Path], largest: int) -> Iterator[list[Path]]:
    """Yield the files in order, as many at a time as fit into one part."""
    block, end = tarfile.BLOCKSIZE, tarfile.RECORDSIZE  # empty blocks fill up the last record
    share: list[Path] = []
    size = end
    for file in files:
        # A header, two or more further blocks for a long name, and the content in whole blocks.
        name = len(file.relative_to(data).as_posix().encode())
        long_name = block * (2 + name // block) if name > 99 else 0
        needed = block + long_name + -(-file.stat().st_size // block) * block
        if end + needed > largest:
            raise ValueError(f"{file}: larger than a part; raise the limit or leave it out")
        if share and size + needed > largest - end:
            yield share
            share, size = [], end
        share.append(file)
        size += needed
    yield share


def _listed(parts: Path) -> list[dict[str, Any]]:
    path = parts / LIST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no list of parts; give the folder written by pack")
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["parts"]
        if all(
            re.fullmatch(r"part-\d{3,}\.tar", part["name"], re.ASCII)
            and re.fullmatch("[0-9a-f]{64}", part["sha256"])
            for part in listed
        ):
            return listed
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise ValueError(f"{path}: not a list of parts; pack the data again")


def main() -> None:
    """The command line; invalid input is one line on standard error with exit status 2."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="pack data sets into parts")
    packing.add_argument("data", type=Path, metavar="DATA")
    packing.add_argument("parts", type=Path, metavar="PARTS")
    packing.add_argument("folders", nargs="*", metavar="FOLDER", help="below DATA; default: all")
    packing.add_argument("--limit", type=float, default=LIMIT, help="MiB, the largest part")
    unpacking = commands.add_parser("unpack", help="unpack the parts that have arrived")
    unpacking.add_argument("parts", type=Path, metavar="PARTS")
    unpacking.add_argument("data", type=Path, metavar="DATA")
    given = parser.parse_args()
    try:
        if given.command == "unpack":
            print(f"unpacked into {unpack(given.parts, given.data)}")
            return
        for path in pack(given.data, given.parts, given.folders, given.limit):
            print(f"{path}  {path.stat().st_size / MIB:.1f} MiB")
    except (OSError, ValueError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
