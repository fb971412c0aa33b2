"""Packing data sets into parts of limited size, and unpacking."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pack
import pytest

from fcn.environment import sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of odd sizes, one with a long name."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    for i in range(40):
        folder = root / ("sift-flow" if i % 2 else "pascal") / ("x" * (130 if i == 7 else 3))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.bin").write_bytes(rng.bytes(rng.integers(20_000)))
    return root


def contents(root: Path) -> dict[Path, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name[0] != ".")
    return {path.relative_to(root): path.read_bytes() for path in files}


def test_parts_hold_every_file_and_none_is_too_large(folder: Path, tmp_path: Path) -> None:
    limit = 0.05
    parts = pack.pack(folder, tmp_path / "parts", limit=limit)
    assert len(parts) > 5
    assert all(path.stat().st_size <= limit * pack.MIB for path in parts)
    assert (tmp_path / "parts" / pack.LIST).is_file()
    assert contents(pack.unpack(tmp_path / "parts", tmp_path / "there")) == contents(folder)
    again = pack.pack(folder, tmp_path / "again", limit=limit)
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in parts]
    with pytest.raises(ValueError, match="at most 60 MiB"):
        pack.pack(folder, tmp_path / "parts", limit=61)
    with pytest.raises(ValueError, match="larger than a part"):
        pack.pack(folder, tmp_path / "parts", limit=0.01)


def test_parts_may_arrive_one_by_one(folder: Path, tmp_path: Path) -> None:
    parts = pack.pack(folder, tmp_path / "parts", ["sift-flow"], limit=0.08)
    carried, there = tmp_path / "carried", tmp_path / "there"
    carried.mkdir()
    shutil.copy(tmp_path / "parts" / pack.LIST, carried)
    for number, part in enumerate(parts, start=1):
        shutil.copy(part, carried)
        if number < len(parts):
            with pytest.raises(FileNotFoundError, match=parts[-1].name):
                pack.unpack(carried, there)
        else:
            pack.unpack(carried, there)
        (carried / part.name).unlink()  # no longer needed
    packed = {path: data for path, data in contents(folder).items() if path.parts[0] == "sift-flow"}
    assert contents(there) == packed


def test_a_damaged_part_is_refused(folder: Path, tmp_path: Path) -> None:
    first = pack.pack(folder, tmp_path / "parts", limit=0.08)[0]
    first.write_bytes(first.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"part-000\.tar: damaged"):
        pack.unpack(tmp_path / "parts", tmp_path / "there")
    (tmp_path / "parts" / pack.LIST).write_text("[]")
    with pytest.raises(ValueError, match="not a list of parts"):
        pack.unpack(tmp_path / "parts", tmp_path / "there")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        pack.pack(folder, tmp_path / "parts", ["nowhere"])


@pytest.mark.parametrize("name", ["../part-000.tar", "/part-000.tar", "x", "part-000.tar\n"])
def test_a_list_of_parts_that_leads_elsewhere_is_refused(
    name: str, folder: Path, tmp_path: Path
) -> None:
    pack.pack(folder, tmp_path / "parts")
    path = tmp_path / "parts" / pack.LIST
    path.write_text(path.read_text().replace('"part-000.tar"', json.dumps(name)))
    with pytest.raises(ValueError, match="not a list of parts"):
        pack.unpack(tmp_path / "parts", tmp_path / "there")


def test_a_part_that_leads_outside_is_refused(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    with tarfile.open(parts / "part-000.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
    entry = {"name": "part-000.tar", "sha256": sha256(parts / "part-000.tar")}
    (parts / pack.LIST).write_text(json.dumps({"parts": [entry]}))
    with pytest.raises(ValueError, match=r"part-000\.tar: '\.\./evil' would be outside"):
        pack.unpack(parts, tmp_path / "there")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["parts", "part-000.tar", pack.LIST, "there"]
    )


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(pack.__file__), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    parts, there = tmp_path / "parts", tmp_path / "there"
    packed = run("pack", folder, parts, "pascal", "--limit", 0.1)
    assert packed.returncode == 0
    assert len(packed.stdout.splitlines()) == len(list(parts.glob("*.tar")))
    assert run("unpack", parts, there).stdout == f"unpacked into {there}\n"
    assert {path.parts[0] for path in contents(there)} == {"pascal"}
    failed = run("unpack", tmp_path / "nowhere", there)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "no list of parts" in failed.stderr
