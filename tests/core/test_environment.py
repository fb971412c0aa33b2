"""Atomic writes, devices and folders."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from fcn.environment import atomic_write


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_what_torch_raises_on_a_full_disk_is_one_of_them() -> None:
    with pytest.raises((OSError, RuntimeError)):
        torch.save(torch.zeros(1 << 16), "/dev/full")
