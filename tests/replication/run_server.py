"""Runs the command line in processes of its own that need no imports: forked from this one.

Reads one request per line, a JSON object: ``folder``, ``arguments``; ``processes`` if they are
started as torchrun does it; ``every``, the seconds between checkpoints; ``largest``, the bytes that
a file may have. Writes the number of the process, and its exit status when it ended.
"""

import json
import os
import resource
import signal
import sys
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning_fabric  # noqa: F401
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import fcn.replication.run  # noqa: F401
from fcn.__main__ import main
from fcn.data.synthetic import outdoor
from fcn.environment import PROJECT
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training import finetune, pipeline  # noqa: F401
from fcn.training.memory import InMemory
from fcn.training.signals import SIGNALS

STEPS, IMAGES = 72, 200
"""Of the additional experiment: a narrow net on 12 small scenes, scored on 200."""


def add_experiment() -> None:
    demo, scenes = EXPERIMENTS["scenes-googlenet-8s-demo"], outdoor.Scenes
    recipe = replace(demo.recipe, epochs=STEPS / 6, batch_size=2, augment="mirror")
    EXPERIMENTS["quick"] = replace(demo, name="quick", width=0.05, recipe=recipe)
    counts = {"train": 12, "test": IMAGES}
    painted = {split: InMemory(scenes(n, (32, 32), split=split)) for split, n in counts.items()}
    outdoor.Scenes = lambda _, split: painted[split]


def prepare(address: str) -> None:
    """Download and unpack a data set, as the scripts do it."""
    sys.path.append(str(PROJECT / "data_scripts"))
    import archives
    import fetch

    if not Path("data/set").is_dir():
        published = fetch.Published("set.tar", (address,))
        archive = fetch.download(published, Path("downloads"), to_unpack=True)
        with archives.unpacked(archive, Path("data")) as folder:
            archives.place(archives.find(folder, "*.jpg"), Path("data/set"))


def command_line(arguments: list[str]) -> None:
    if arguments[0] == "prepare":
        prepare(*arguments[1:])
        return
    sys.argv = ["fcn", *arguments]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def worker(arguments: list[str]) -> None:
    """One of the processes of torchrun: a new program would not have the launcher's handlers."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line(arguments)


def launch(processes: int, arguments: list[str]) -> None:
    config = LaunchConfig(
        1,
        1,
        processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
        run_id="test",
        max_restarts=0,
    )
    elastic_launch(config, worker)(arguments)


def child(
    folder: str,
    arguments: list[str],
    processes: int = 0,
    every: float | None = None,
    largest: int | None = None,
) -> int:
    """What the process does; returns its exit status."""
    os.setsid()
    if every is not None:
        pipeline.train = partial(pipeline.train, checkpoint_every=every)
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    try:
        if processes:
            launch(processes, arguments)
        else:
            command_line(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def serve() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if not pid:
            os._exit(child(**json.loads(line)))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    add_experiment()
    serve() if sys.argv[1:] == ["serve"] else main()
