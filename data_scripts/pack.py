"""Data sets as a few files of limited size, to be carried to a machine that cannot download them, and back to folders.

    python -m fcn.datasets.packed pack DATA PARTS [FOLDER...]     DATA/FOLDER... into PARTS/part-000.tar, ...
    python -m fcn.datasets.packed unpack PARTS DATA               and back, after comparing checksums

The files stay as they are, byte for byte, in their official layout: photos and label maps are compressed already. A
list, ``PARTS/parts.json``, holds the size and the SHA-256 of each part. The terms of the data sets hold for their parts
too: keep them out of version control.
"""

import hashlib
import json
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fcn.environment import atomic_write

MIB = 1 << 20
LIMIT = 60  # MiB, the largest part
LIST = "parts.json"
_BLOCK = tarfile.BLOCKSIZE


def pack(data: Path, parts: Path, folders: Sequence[str] = (), limit: float = LIMIT) -> list[Path]:
    """Pack ``folders`` below ``data`` (all of it by default) into tar files of at most ``limit`` MiB each.

    The same files give the same parts, whenever they were written. Raises FileNotFoundError where a folder is missing
    or holds no file, ValueError for a limit above 60 MiB and where a single file is larger than a part.
    """
    if not 0 < limit <= LIMIT:
        raise ValueError(f"parts of {limit:g} MiB: give a limit above 0 and of {LIMIT} MiB at most")
    largest = int(limit * MIB)
    written: list[dict[str, Any]] = []
    for number, files in enumerate(_shares(data, _files(data, folders), largest)):
        path = parts / f"part-{number:03d}.tar"
        with atomic_write(path) as partial, tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as archive:
            for file in files:
                entry = tarfile.TarInfo(file.relative_to(data).as_posix())  # no owner and no date: they are no data
                entry.size = file.stat().st_size
                with file.open("rb") as content:
                    archive.addfile(entry, content)
        written.append({"name": path.name, "bytes": path.stat().st_size, "files": len(files), "sha256": sha256(path)})
    with atomic_write(parts / LIST) as partial:
        partial.write_text(json.dumps({"parts": written}, indent=1) + "\n", encoding="utf-8")
    return [parts / part["name"] for part in written]


def unpack(parts: Path, data: Path) -> Path:
    """Unpack what ``pack`` made into ``data``, in the layout it was packed from, and return ``data``.

    Parts that ``data`` holds already are passed over, so that parts may arrive, and be unpacked, one by one: raises
    FileNotFoundError naming those still missing at the end, and ValueError where a part is not what was packed.
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
            raise ValueError(f"{path}: not the part that was packed (its SHA-256 differs); carry it over again")
        with tarfile.open(path) as archive:
            archive.extractall(data, filter="data")
        done.touch()
    if missing:
        raise FileNotFoundError(f"{parts}: still without {', '.join(missing)}; bring them and unpack again")
    return data


def is_packed(folder: Path) -> bool:
    """Whether ``folder`` holds parts, and not the data sets themselves."""
    return (folder / LIST).is_file()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _files(data: Path, folders: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for folder in [data / name for name in folders] or [data]:
        below = sorted(path for path in folder.rglob("*") if path.is_file())
        if not below:
            raise FileNotFoundError(f"{folder}: no such folder, or no file in it; name a folder of data")
        found += below
    return found


def _shares(data: Path, files: Sequence[Path], largest: int) -> Iterator[list[Path]]:
    """The files in turn, as many at a time as fit into a part."""
    end = tarfile.RECORDSIZE  # a tar file ends in empty blocks, filled up to a whole record
    share: list[Path] = []
    size = end
    for file in files:
        # A header, a second one and the name itself where it is long, and the content in whole blocks.
        name = len(file.relative_to(data).as_posix().encode())
        long_name = _BLOCK * (2 + name // _BLOCK) if name > 99 else 0
        needed = _BLOCK + long_name + -(-file.stat().st_size // _BLOCK) * _BLOCK
        if end + needed > largest:
            raise ValueError(f"{file}: larger than a part; raise the limit, or leave it out")
        if share and size + needed > largest - end:
            yield share
            share, size = [], end
        share.append(file)
        size += needed
    yield share


def _listed(parts: Path) -> list[dict[str, Any]]:
    path = parts / LIST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no list of parts; give the folder that pack wrote")
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["parts"]
        if all(isinstance(part[key], str) for part in listed for key in ("name", "sha256")):
            return listed
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path}: not a list of parts; pack the data again")


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Carry data sets.")


@app.command("pack")
def pack_command(
    data: Path,
    parts: Path,
    folders: Annotated[list[str] | None, typer.Argument(help="Folders below DATA; by default all.")] = None,
    limit: Annotated[float, typer.Option(help="MiB, the largest part.")] = LIMIT,
) -> None:
    """Pack data sets into parts."""
    for path in pack(data, parts, folders or (), limit):
        print(f"{path}  {path.stat().st_size / MIB:.1f} MiB")


@app.command("unpack")
def unpack_command(parts: Path, data: Path) -> None:
    """Unpack the parts that are there, and say which are missing."""
    print(f"unpacked into {unpack(parts, data)}")


def main() -> None:
    """The command line; bad input is one line on standard error and exit status 2."""
    try:
        app(standalone_mode=True)
    except (OSError, ValueError, tarfile.TarError) as error:
        print("fcn:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
