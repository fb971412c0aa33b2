"""Checkpoints: every damage is refused in one line, differences are named, runs are locked."""

import os
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from fcn.training.checkpoint import exclusive, read_checkpoint, write_checkpoint

IDENTITY = {
    "recipe": {"learning_rate": 0.1, "epochs": 2},
    "seed": 0,
    "class names": {"semantic": ("sky", "sea")},
    "start": None,
    "start weights": None,
    "images and labels": "a" * 64,
}
STATE = {
    "net": {"weight": torch.arange(300.0)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []},
    "ema": [torch.ones(30)],
    "run": {"step": 3, "images_seen": 6, "seconds": 1.5, "curve": []},
    "losses": [0.5, 0.25],
}


@pytest.fixture
def path(tmp_path) -> Path:
    write_checkpoint(tmp_path / "a.checkpoint", IDENTITY, STATE)
    return tmp_path / "a.checkpoint"


def test_a_checkpoint_holds_what_was_saved(path):
    assert str(read_checkpoint(path, IDENTITY)) == str({"identity": IDENTITY} | STATE)


def test_a_flipped_bit_changes_nothing_or_is_refused(path):
    whole = path.read_bytes()
    rng, refused = random.Random(0), []
    saved = str(read_checkpoint(path, IDENTITY))
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert str(read_checkpoint(path, IDENTITY)) == saved
        except ValueError as error:
            refused.append(str(error))
    path.write_bytes(whole)
    assert all(re.fullmatch(f"{path}: [^\n]+", line) for line in refused)
    with zipfile.ZipFile(path) as archive:
        content = sum(entry.file_size for entry in archive.infolist())
    assert len(refused) > 300 * content / len(whole) / 2


def test_only_a_part_of_the_file_is_refused(path):
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="not a complete checkpoint; delete it to start"):
            read_checkpoint(path, IDENTITY)


def test_too_little_memory_is_not_blamed_on_the_checkpoint(path, monkeypatch):
    def exhausted(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(torch, "load", exhausted)
    with pytest.raises(RuntimeError, match="allocate memory"):
        read_checkpoint(path, IDENTITY)


@pytest.mark.parametrize("state", [None, [], {}, {"identity": {}}, {"identity": 3} | STATE])
def test_something_else_is_refused(path, state):
    torch.save(state, path)
    with pytest.raises(ValueError, match="not a complete checkpoint"):
        read_checkpoint(path, IDENTITY)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        (
            {"recipe": {"learning_rate": 0.2, "epochs": 2}},
            "recipe learning_rate was 0.1 and is 0.2",
        ),
        (
            {"class names": {"semantic": ("sky", "land")}},
            "class names semantic was ('sky', 'sea') and is ('sky', 'land')",
        ),
        ({"images and labels": "b" * 64}, "other images and labels"),
        ({"input size": 32}, "input size was None and is 32"),
        (
            {"seed": 1, "start": "a.safetensors", "start weights": "c" * 64},
            f"seed was 0 and is 1, start was None and is 'a.safetensors', "
            f"start weights was None and is '{'c' * 58}…",
        ),
    ],
)
def test_another_run_is_refused_with_all_that_differs(path, change, says):
    with pytest.raises(ValueError, match=re.escape(f"{path}: from another run: {says}; resume")):
        read_checkpoint(path, IDENTITY | change)


HOLDER = """
import sys
from pathlib import Path
from fcn.training.checkpoint import exclusive
with exclusive(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def gone(*_, **__):
    raise FileNotFoundError


def test_a_run_is_locked_until_its_process_ends_however_it_ends(tmp_path, monkeypatch):
    checkpoint = tmp_path / "a.seed0.checkpoint"
    partial = tmp_path / f".a.seed0.safetensors.{os.getpid()}.partial"
    others = [tmp_path / ".a.seed0.validation.checkpoint.1.partial", tmp_path / ".a.partial"]
    command = [sys.executable, "-c", HOLDER, str(checkpoint)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as holder:
        assert holder.stdout.readline() == "locked\n"
        for path in (partial, *others):
            path.write_text("half")
        says = rf"a\.seed0 is already running here \(process {holder.pid} on .+\)"
        with pytest.raises(OSError, match=says), exclusive(checkpoint):
            pytest.fail("both run")
        with monkeypatch.context() as late:
            late.setattr(Path, "read_text", gone)
            with pytest.raises(OSError, match=r"a\.seed0 is .* here; see"), exclusive(checkpoint):
                pytest.fail("both run")
        with exclusive(tmp_path / "a.seed1.checkpoint"):
            pass
        assert partial.exists()
        holder.kill()
    with exclusive(checkpoint):
        assert not partial.exists()
    assert sorted(tmp_path.iterdir()) == sorted(others)
