"""Atomic writes, devices and folders."""

import os
import platform
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from fcn import environment
from fcn.environment import atomic_write, replacing, writing


def half_write(path: Path, error: BaseException) -> None:
    with atomic_write(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("write failed"),
        SafetensorError("I/O error"),
    ],
)
def test_after_an_error_the_old_file_stands_alone_and_the_message_names_it(
    tmp_path: Path, error: Exception
) -> None:
    path = tmp_path / "net"
    path.write_text("old")
    with pytest.raises(OSError, match=r"net: cannot be written .*; free some space"):
        half_write(path, error)
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert path.read_text() == "old"


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        half_write(tmp_path / "net", KeyboardInterrupt())
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with (
        pytest.raises(OSError, match=r"runs/net: cannot be written"),
        atomic_write(tmp_path / "runs" / "net"),
    ):
        pass


def test_partial_files_of_processes_that_ended_are_deleted(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = platform.node()
    names = {
        f".a.png.{here}-{ended.pid}.fcn.partial": False,
        f".a.png.{here}-{os.getpid()}.fcn.partial": True,  # of a thread, perhaps
        f".a.png.other-{here}-{ended.pid}.fcn.partial": True,
        f".a.png.{ended.pid}.partial": True,
        ".old.other-1.fcn.partial": False,
        ".old.partial": True,
        "a.partial": True,
    }
    for name in names:
        (tmp_path / name).write_text("half")
    long_ago = time.time() - 2 * environment.DAY
    for name in (".old.other-1.fcn.partial", ".old.partial"):  # the second is not ours
        os.utime(tmp_path / name, (long_ago, long_ago))
    with atomic_write(tmp_path / "b.png") as partial:
        partial.write_text("whole")
    kept = {name for name, stays in names.items() if stays}
    assert {path.name for path in tmp_path.iterdir()} == kept | {"b.png"}


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".png")
    with atomic_write(path) as partial:
        partial.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with (
        pytest.raises(OSError, match=r"cannot be written .*; choose a shorter name"),
        atomic_write(tmp_path / ("x" * 300)) as partial,
    ):
        partial.write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_content_and_name_are_on_the_disk_in_the_right_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def fsync(number: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda *_: done.append("rename"))
    with atomic_write(tmp_path / "a") as partial:
        partial.write_text("whole")
    assert done == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory"), BrokenPipeError(32, "Broken pipe")]
)
def test_a_file_is_not_blamed_for_what_happens_while_it_is_open(
    tmp_path: Path, error: Exception
) -> None:
    path = tmp_path / "net"
    path.write_text("old")

    def write() -> None:
        with replacing(path, lambda new: open(new, "w")) as file:
            file.write("half")
            raise error

    with pytest.raises(type(error)) as found:
        write()
    assert found.value is error
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert path.read_text() == "old"


FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


@FULL
@pytest.mark.parametrize("characters", [20, 200_000])  # in a buffer until the end, or too many
def test_a_disk_that_is_full_names_the_file_that_is_open(tmp_path: Path, characters: int) -> None:
    path = tmp_path / "net"
    with (
        pytest.raises(OSError, match=r"net: cannot be written \(No space left .*; free some space"),
        replacing(path, lambda _: open("/dev/full", "w")) as file,
        writing(path),
    ):
        file.write("a" * characters)


@FULL
def test_what_torch_raises_on_a_full_disk_is_one_of_them() -> None:
    with pytest.raises((OSError, RuntimeError)):
        torch.save(torch.zeros(1 << 16), "/dev/full")
