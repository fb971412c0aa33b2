"""Real processes that are stopped by signals, in training and in evaluation, and then continued."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import run_server
import torch
from run_server import IMAGES, STEPS
from safetensors.torch import load_file

from fcn.environment import PROJECT
from fcn.training import record as records
from fcn.training.signals import EXIT_STATUS

STEM = "quick.seed0.demonstration"
COMMAND = ["train", "quick", "--device", "cpu", "--results", "results"]
PROGRAM = [sys.executable, run_server.__file__]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}
LIMIT = 300  # seconds, on a busy machine


class Run:
    """The command as a process in ``folder``; ``wait`` returns its exit status."""

    def __init__(self, pid, wait, folder):
        self.pid, self.folder = pid, folder
        self.status = ThreadPoolExecutor(1).submit(wait)

    def printed(self, name="stdout"):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self):
        """The exit status, and what was written to stderr."""
        try:
            return self.status.result(LIMIT), self.printed("stderr")
        finally:
            self.kill()

    def complete(self):
        """What a run printed that ends well."""
        status, errors = self.end()
        assert status == 0, errors
        return self.printed()

    def stop(self, at, number):
        """Send the signal at the line that starts with ``at``; returns status, stderr, seconds."""
        limit = time.monotonic() + LIMIT
        while f"\n{at}" not in f"\n{self.printed()}":
            if self.status.done() or time.monotonic() > limit:
                self.kill()
                pytest.fail(f"no line {at}: {self.printed()}{self.printed('stderr')}")
            time.sleep(0.002)
        os.kill(self.pid, number)
        sent = time.monotonic()
        return *self.end(), time.monotonic() - sent


@pytest.fixture(scope="module")
def start():
    """Starts a run in a process forked from one that has the imports."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*PROGRAM, "serve"], env=ENVIRONMENT, **pipes) as server:

        def line():
            return int(server.stdout.readline())

        def start(folder, *more, processes=0):
            folder.mkdir(exist_ok=True)
            given = {"folder": str(folder), "arguments": [*COMMAND, *more], "processes": processes}
            print(json.dumps(given), file=server.stdin, flush=True)
            return Run(line(), line, folder)

        yield start


def start_anew(folder):
    """Starts a run as a user does it."""
    folder.mkdir()
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        more = {"stdout": out, "stderr": err, "env": ENVIRONMENT, "start_new_session": True}
        process = subprocess.Popen([*PROGRAM, *COMMAND], cwd=folder, **more)
    return Run(process.pid, process.wait, folder)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, start) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    start(folder).complete()
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
        (signal.SIGTERM, f"step 5/{STEPS}", "at step "),
        (signal.SIGINT, f"step 7/{STEPS}", "at step "),
        (signal.SIGUSR1, f"scored 100 of {IMAGES}", "while scoring the images"),
    ],
    ids=["SIGTERM", "SIGINT", "SIGUSR1"],
)
def test_a_stopped_run_continues_to_the_same_net(number, at, where, tmp_path, start, uninterrupted):
    folder = tmp_path / "stopped"
    run = start_anew(folder) if number == signal.SIGTERM else start(folder)
    status, err, seconds = run.stop(at, number)
    assert status == EXIT_STATUS == 75, err
    assert err.startswith(f"fcn: stopped by {number.name} {where}")
    assert err.endswith("the same command with --resume continues\n")
    assert err.count("\n") == 1
    assert seconds < 20  # on a busy machine: it is less than one
    files = sorted(path.name for path in (folder / "runs").iterdir())
    scoring = at.startswith("scored")
    assert files == [f"{STEM}.checkpoint"] + [f"{STEM}.safetensors"] * scoring
    assert not list((folder / "results").iterdir())
    out = start(folder, "--resume").complete()
    assert f"step 1/{STEPS}" not in out
    assert ("step " in out) != scoring  # goes straight to the evaluation
    assert_same_run(folder, uninterrupted)


def test_a_killed_run_leaves_no_lock_and_nothing_half_written(tmp_path, start, uninterrupted):
    folder = tmp_path / "killed"
    run = start(folder)
    status, err, _ = run.stop(f"step 5/{STEPS}", signal.SIGKILL)
    assert status == -signal.SIGKILL, err
    assert [path.name for path in (folder / "runs").iterdir()] == [f"{STEM}.lock"]
    left = folder / "runs" / f".{STEM}.checkpoint.{run.pid}.partial"
    left.write_text("half")
    start(folder, "--resume").complete()
    assert [path.name for path in (folder / "runs").iterdir()] == [f"{STEM}.safetensors"]
    assert_same_run(folder, uninterrupted)


def test_torchrun_passes_the_signal_on_and_the_run_continues(tmp_path, start):
    folder = tmp_path / "two"
    status, err, seconds = start(folder, processes=2).stop("step 5/", signal.SIGTERM)
    assert status != 0  # that of torchrun
    assert "fcn: stopped by SIGTERM at step " in err
    assert seconds < 30
    assert (folder / f"runs/{STEM}.checkpoint").is_file()
    out = start(folder, "--resume", processes=2).complete()
    assert "step 1/" not in out
    assert records.read(folder / f"results/{STEM}.json").images_seen == 2 * STEPS
