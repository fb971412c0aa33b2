"""The graph of the replication, run for real at smoke size: killed, preempted, faulty, done."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import graph
import pytest

from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.run import name as name_of_run

if importlib.util.find_spec("snakemake") is None:
    pytest.skip("snakemake is missing: install the extra workflow", allow_module_level=True)

import psutil

ROOT = Path(__file__).parents[2]
CHAIN = ["sift-flow-googlenet-32s", "sift-flow-googlenet-16s"]
FAULTY_CHAIN = ["sift-flow-vgg16-32s", "sift-flow-vgg16-16s"]
SMOKE = Path("runs/smoke")
LIMIT = 900  # seconds, on a busy machine


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what the graph reads, so that the repository stays as it is."""
    copy = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("fcn", "workflow", "results"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    (copy / "book").mkdir()
    for chapter in (ROOT / "book").glob("[0-9][0-9]_*.py"):
        shutil.copy(chapter, copy / "book")
        (copy / "book" / chapter.with_suffix(".ipynb").name).touch()
    return copy


def start(checkout, *arguments, **config):
    """Snakemake with the laptop profile, in a process group of its own."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/laptop"]
    settings = [f"{key}={value}" for key, value in config.items()]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(checkout / ".cache")}
    return subprocess.Popen(
        [*command, *arguments, *(["--config", *settings] if settings else [])],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(checkout, *arguments, **config):
    """The output and the exit status of Snakemake."""
    return finish(start(checkout, *arguments, **config))


def finish(process):
    try:
        return process.communicate(timeout=LIMIT)[0], process.returncode
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition, process, seconds=LIMIT):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def trained(output):
    """The stems of the training jobs that an output announces."""
    return re.findall(r"train \S*/(\S+)\.json <-", output)


def stem(name, seed=0):
    return f"{name}.seed{seed}.demonstration"


def record(checkout, name):
    return checkout / SMOKE / "results" / f"{stem(name)}.json"


def log(checkout, name):
    return checkout / SMOKE / "logs" / f"{stem(name)}.log"


def read(path):
    return path.read_text() if path.exists() else ""


def identity(path):
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def test_in_a_fresh_clone_only_what_has_no_record_is_run(checkout):
    recorded = sorted((checkout / "results").glob("*.seed0*.json"))
    for age, path in enumerate(recorded):  # a clone gives files new times, in any order
        os.utime(path, ns=(0, time.time_ns() - 7 * age % 11 * 10**9))
    times = {path: identity(path) for path in recorded}
    output, status = run(checkout, "all", "--dry-run")
    assert status == 0, output
    stems = {name_of_run(experiment, 0) for experiment in EXPERIMENTS.values()}
    assert set(trained(output)) == stems - {path.stem for path in recorded}
    assert re.search(rf"^chapter +{len(graph.chapters())}$", output, re.MULTILINE)
    assert {path: identity(path) for path in recorded} == times


def test_a_record_that_another_process_writes_meanwhile_is_kept(checkout):
    first, second = CHAIN
    place = checkout / "shared" / "smoke"
    config = {"smoke": "true", "experiments": ",".join(CHAIN), "out": "shared"}
    process = start(checkout, "records", **config)
    wait_for((place / f"logs/{stem(first)}.log").exists, process)
    other = place / f"results/{stem(second)}.json"
    other.parent.mkdir(exist_ok=True)
    other.write_text("another process's")
    output, status = finish(process)
    assert status == 0, output
    assert trained(output) == [stem(first), stem(second)]
    assert other.read_text() == "another process's"


def preempt(process, name):
    """SIGTERM to the run of this experiment alone."""
    for child in psutil.Process(process.pid).children(recursive=True):
        if name in child.cmdline():
            child.terminate()


def test_only_what_is_unfinished_runs_again_and_a_faulty_run_stops_no_other(checkout):
    first, second = CHAIN
    faulty, after = FAULTY_CHAIN
    (checkout / SMOKE).mkdir(parents=True)
    (checkout / SMOKE / f"{stem(faulty)}.checkpoint").write_bytes(b"damaged")
    config = {"smoke": "true", "experiments": ",".join(CHAIN), "retries": 1}
    announced = []

    # The first run is preempted and resumes; during the second the graph is killed twice.
    for kind in (signal.SIGTERM, signal.SIGKILL):
        log(checkout, second).unlink(missing_ok=True)
        process = start(checkout, "records", **config)
        if kind == signal.SIGTERM:
            wait_for(lambda: "step" in read(log(checkout, first)), process)
            preempt(process, first)
        wait_for(log(checkout, second).exists, process)
        os.killpg(process.pid, kind)
        announced.append(trained(finish(process)[0]))
        assert not record(checkout, second).exists()
    assert "resumed" in read(log(checkout, first))
    known = identity(record(checkout, first))

    # Once more, and with a chain whose first run always fails.
    output, status = run(
        checkout, "records", **config | {"experiments": ",".join(CHAIN + FAULTY_CHAIN)}
    )
    assert status == 1, output
    assert announced == [[stem(first), stem(first), stem(second)], [stem(second)]]
    assert sorted(trained(output)) == sorted([stem(second), stem(faulty), stem(faulty)])
    assert record(checkout, second).is_file()
    assert identity(record(checkout, first)) == known
    assert "failed: " in read(log(checkout, faulty))
    assert output.count("Trying to restart job") == 1, output
    assert not record(checkout, faulty).exists()
    assert not record(checkout, after).exists()
    assert not log(checkout, after).exists()

    # Done stays done: after a changed comment in the package and in the graph, with every trigger.
    for changed in ("fcn/models.py", "fcn/training/loop.py", "workflow/Snakefile"):
        with (checkout / changed).open("a") as file:
            file.write("# a comment\n")
    for path in checkout.rglob("*.json"):
        os.utime(path)
    every = ("--rerun-triggers", "code", "input", "mtime", "params", "software-env")
    output, status = run(checkout, "records", "--dry-run", *every, **config | {"minutes": 60})
    assert "Nothing to be done" in output
