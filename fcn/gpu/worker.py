"""A process that makes one record after another on its share of the device, and stops when it is told to.

Several small nets at once are several such processes: each has its own data on the device, its own generator and its
own checkpoint, so that a run comes out the same alone and beside others, and none can take another one down.
"""

import os
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from fcn import runs, training
from fcn.datasets import SegmentationDataset, sift_flow
from fcn.datasets.resident import Resident
from fcn.experiments import Experiment

CHECKPOINT_EVERY = 45.0  # seconds: what a power cut costs at most


@dataclass(frozen=True)
class Job:
    """One run to record: an experiment, a seed, and the minutes it should take on a GPU of its own."""

    experiment: Experiment
    seed: int
    minutes: float

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{self.experiment.name}.seed{self.seed}"


@dataclass(frozen=True)
class Place:
    """Where jobs run: folders of data, weights, checkpoints and records, the device, and the size of a rehearsal.

    ``images`` above 0 takes that many images of each split and no more; ``capture`` launches steps as CUDA graphs.
    """

    data: Path
    weights: Path | None
    out: Path
    results: Path
    device: str
    images: int = 0
    capture: bool = True

    def checkpoint(self, job: Job) -> Path:
        """Where a job's checkpoint lies while it runs."""
        return self.out / f"{job.stem}.checkpoint"

    def record(self, job: Job) -> Path:
        """Where a job's record lies when it has been made."""
        return self.results / f"{job.stem}.json"

    def failure(self, job: Job) -> Path:
        """Where the reason lies why a job failed."""
        return self.out / f"{job.stem}.failed"


class _Stop:
    """True once a run has to save itself: at the deadline, at SIGTERM, or when the process that asked is gone."""

    def __init__(self) -> None:
        self.told = False
        self.deadline = float("inf")
        self.parent = os.getppid()
        signal.signal(signal.SIGTERM, self._tell)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent passes it on

    def _tell(self, *_: Any) -> None:
        self.told = True

    def __call__(self) -> bool:
        return self.told or time.time() > self.deadline or os.getppid() != self.parent


def work(connection: Connection, place: Place, threads: int) -> None:
    """Take (job, deadline) from the connection until there is none, and answer (outcome, text) to each.

    Outcomes: "recorded", "stopped" (at a checkpoint) and "failed"; text is the record's path or the reason. Lines of
    progress go to ``out/<stem>.log``, and the last one, as ("log", line), to the connection.
    """
    stop = _Stop()
    torch.set_num_threads(threads)
    if place.weights is not None:
        os.environ["FCN_WEIGHTS"] = str(place.weights)
    load = lru_cache(maxsize=4)(lambda name, split: held(name, split, place))
    while not stop():
        try:
            job, stop.deadline = connection.recv()
        except (EOFError, OSError, TypeError):  # the parent is gone, or has no more jobs
            return
        place.out.mkdir(parents=True, exist_ok=True)
        with (place.out / f"{job.stem}.log").open("a", encoding="utf-8", buffering=1) as lines:

            def say(kind: str, text: str) -> None:
                with suppress(OSError):  # a parent that is gone hears nothing: the run saves itself all the same
                    connection.send((kind, text))

            def log(line: str) -> None:
                lines.write(line + "\n")
                say("log", line)

            say(*_outcome(job, place, load, stop, log, lines))


def _outcome(job: Job, place: Place, load: Any, stop: _Stop, log: Any, lines: Any) -> tuple[str, str]:
    # Where images are of one size, the search for the fastest algorithm pays; for each new size it would be made anew.
    torch.backends.cudnn.benchmark = job.experiment.dataset == "sift-flow"
    try:
        path = runs.run(
            job.experiment, data=place.data, device=place.device, seed=job.seed, out=place.out, results=place.results,
            resume=place.checkpoint(job).is_file(), log=log, load=load, stop=stop,
            checkpoint_every=CHECKPOINT_EVERY, capture=place.capture,
        )  # fmt: skip
        return "recorded", str(path)
    except training.Stopped as stopped:
        return "stopped", str(stopped)
    except Exception as error:  # whatever one run dies of, the others go on
        traceback.print_exc(file=lines)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        place.failure(job).write_text(reason + "\n", encoding="utf-8")
        return "failed", reason
    finally:
        if place.device == "cuda":
            torch.cuda.empty_cache()  # for the nets beside this one


def held(name: str, split: str, place: Place) -> SegmentationDataset:
    """A data set as bytes on the device; of a rehearsal's size where there is one."""
    if place.images and name == "sift-flow":  # the others are not looked for: a rehearsal needs no whole data set
        few = sift_flow.split_names(split)[: place.images]
        return Resident(sift_flow.SiftFlow(place.data / name, split, names=few), place.device)
    return Resident(runs.dataset(name, split, place.data, cache=False), place.device, place.images or None)
