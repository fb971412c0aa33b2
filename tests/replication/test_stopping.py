"""Real processes that are stopped by signals, in training and in evaluation, and then continued."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fcn.training import record as records
from fcn.training.signals import EXIT_STATUS

# The command line with one more experiment: a narrow net on 24 small scenes, scored on 400.
PROGRAM = """
from dataclasses import replace
from fcn.__main__ import main
from fcn.data.synthetic import outdoor
from fcn.replication.catalogue import EXPERIMENTS
demo, Scenes = EXPERIMENTS["scenes-googlenet-8s-demo"], outdoor.Scenes
recipe = replace(demo.recipe, epochs=4, batch_size=2, augment="mirror")
EXPERIMENTS["quick"] = replace(demo, name="quick", width=0.05, recipe=recipe)
outdoor.Scenes = lambda _, split: Scenes(24 if split == "train" else 400, (32, 32), split=split)
main()
"""
STEM = "quick.seed0.demonstration"
COMMAND = ["train", "quick", "--device", "cpu", "--results", "results"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def started(folder: Path, *launcher: str, resume: bool = False) -> "subprocess.Popen[str]":
    """The command as a process in ``folder``."""
    folder.mkdir(exist_ok=True)
    program = folder / "quick.py"
    program.write_text(f"if __name__ == '__main__':{PROGRAM.replace(chr(10), chr(10) + '    ')}\n")
    python = [sys.executable, *(["-m", *launcher] if launcher else []), str(program)]
    command = [*python, *COMMAND, *(["--resume"] if resume else [])]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stopped(process: "subprocess.Popen[str]", at: str, number: signal.Signals) -> tuple[str, float]:
    """Send the signal at the log line that starts with ``at``; returns stderr and the seconds."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(at):
            break
    else:
        pytest.fail(f"no line {at}: {process.communicate()}")
    process.send_signal(number)
    sent = time.monotonic()
    _, err = process.communicate(timeout=60)
    return err, time.monotonic() - sent


def ended(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    ended(started(folder))
    return folder


def assert_same_run(folder: Path, other: Path) -> None:
    nets = [load_file(path / f"runs/{STEM}.safetensors") for path in (folder, other)]
    assert nets[0].keys() == nets[1].keys()
    assert all(torch.equal(tensor, nets[1][name]) for name, tensor in nets[0].items())
    first, second = (records.read(path / f"results/{STEM}.json") for path in (folder, other))
    assert first.heads == second.heads
    assert [p["loss"] for p in first.curve] == [p["loss"] for p in second.curve]


@pytest.mark.parametrize(
    ("number", "at", "where"),
    [
        (signal.SIGTERM, "step 5/48", "at step "),
        (signal.SIGINT, "step 7/48", "at step "),
        (signal.SIGUSR1, "scored 100 of 400", "while scoring the images"),
    ],
    ids=["SIGTERM", "SIGINT", "SIGUSR1"],
)
def test_a_stopped_run_continues_to_the_same_net(number, at, where, tmp_path, uninterrupted):
    folder = tmp_path / "stopped"
    process = started(folder)
    err, seconds = stopped(process, at, number)
    assert process.returncode == EXIT_STATUS == 75
    assert err.startswith(f"fcn: stopped by {number.name} {where}")
    assert err.endswith("the same command with --resume continues\n")
    assert err.count("\n") == 1
    assert seconds < 20  # on a busy machine: it is less than one
    files = sorted(path.name for path in (folder / "runs").iterdir())
    scoring = at.startswith("scored")
    assert files == [f"{STEM}.checkpoint"] + [f"{STEM}.safetensors"] * scoring
    assert not list((folder / "results").iterdir())
    out = ended(started(folder, resume=True))
    assert "step 1/48" not in out
    assert ("step " in out) != scoring  # goes straight to the evaluation
    assert_same_run(folder, uninterrupted)


def test_a_killed_run_leaves_no_lock_and_nothing_half_written(tmp_path, uninterrupted):
    folder = tmp_path / "killed"
    process = started(folder)
    err, _ = stopped(process, "step 5/48", signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, err
    assert [path.name for path in (folder / "runs").iterdir()] == [f"{STEM}.lock"]
    left = folder / "runs" / f".{STEM}.checkpoint.{process.pid}.partial"
    left.write_text("half")
    ended(started(folder, resume=True))
    assert [path.name for path in (folder / "runs").iterdir()] == [f"{STEM}.safetensors"]
    assert_same_run(folder, uninterrupted)


def test_torchrun_passes_the_signal_on_and_the_run_continues(tmp_path):
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
    process = started(tmp_path / "two", *launcher)
    err, seconds = stopped(process, "step 5/", signal.SIGTERM)
    assert process.returncode != 0  # that of torchrun
    assert "fcn: stopped by SIGTERM at step " in err
    assert seconds < 30
    assert (tmp_path / f"two/runs/{STEM}.checkpoint").is_file()
    out = ended(started(tmp_path / "two", *launcher, resume=True))
    assert "step 1/" not in out
    assert records.read(tmp_path / f"two/results/{STEM}.json").images_seen == 96
