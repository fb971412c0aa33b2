"""Which run starts when, on how many processes, within a budget of minutes; nothing that is finished is ever lost.

A record is written whole at the end of its run, and a run that is stopped leaves a checkpoint from which the next call
goes on. So an interrupt, at any moment, costs at most what was computed since the last checkpoint.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from statistics import median
from typing import Any

import torch

from fcn.gpu.together import processes
from fcn.gpu.worker import Job, Place, work
from fcn.runs import PROJECT

RESERVE = 30.0  # seconds of the budget that are kept for checkpoints and for the scores of nets that are done
WORTH_STARTING = 1.0  # minutes: a run that cannot end is started, to be checkpointed, with no less than this left
STATUS_EVERY = 60.0  # seconds
DEATHS = 2  # of its process, after which a run counts as failed


@dataclass
class Outcome:
    """What a call came to: the jobs recorded by it, stopped at a checkpoint, failed, and never started."""

    recorded: list[Job] = field(default_factory=list)
    stopped: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: list[Job] = field(default_factory=list)
    interrupted: bool = False


def choose(ready: Sequence[Job], minutes: Callable[[Job], float], left: float) -> Job | None:
    """The first of ``ready``, in order of worth, that ends within ``left`` minutes; where none does, the first of all,
    which will be checkpointed; and none where there is too little time for either."""
    ending = [job for job in ready if minutes(job) <= left]
    if ending:
        return ending[0]
    return ready[0] if ready and left >= WORTH_STARTING else None


class _Worker:
    """A process at work, the job it is on and what it last said."""

    def __init__(self, place: Place, workers: int) -> None:
        context = processes()
        self.connection, theirs = context.Pipe()
        threads = max(1, torch.get_num_threads() // workers)
        self.process = context.Process(target=work, args=(theirs, place, threads))  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.said = ""
        self.began, self.share = 0.0, 1.0

    def start(self, job: Job, deadline: float, share: float) -> None:
        self.job, self.said, self.began, self.share = job, "", time.time(), share
        self.connection.send((job, deadline))

    def hear(self) -> tuple[str, str] | None:
        """What the process says next; None where it has died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            return None

    def close(self) -> None:
        with suppress(OSError):
            self.connection.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def record(
    jobs: Sequence[Job], place: Place, *, minutes: float, workers: int, log: Callable[[str], None] = print
) -> Outcome:
    """Make the records of ``jobs``, in order of worth, for ``minutes`` at most, ``workers`` at a time.

    Passed over: what ``place.results`` holds already, and what has failed before, until its ``.failed`` file is
    removed. A run whose net starts from another's waits for it. SIGINT and SIGTERM save what runs and end the call.
    """
    began = time.time()
    budget = 60 * minutes
    deadline = began + budget - min(RESERVE, budget / 10)
    outcome = Outcome()
    todo = []
    for job in jobs:
        if place.record(job).is_file():
            log(f"recorded already: {job.stem}")
        elif place.failure(job).is_file():
            outcome.failed[job.stem] = place.failure(job).read_text(encoding="utf-8").strip()
            log(f"failed before: {job.stem}: {outcome.failed[job.stem]}; remove {place.failure(job)} to try again")
        else:
            todo.append(job)
    crew: list[_Worker] = []
    paces: list[float] = []  # minutes taken over minutes estimated, of the runs that ended
    deaths: dict[str, int] = {}
    said = began

    def needed(job: Job) -> float:
        return job.minutes * _share_left(place, job) * (median(paces) if paces else 1.0)

    with _told() as told:
        try:
            while True:
                over = told() or time.time() >= deadline
                busy = [worker for worker in crew if worker.job is not None]
                while not over and len(busy) < workers:
                    chosen = choose([j for j in todo if _ready(place, j)], needed, (deadline - time.time()) / 60)
                    if chosen is None:
                        break
                    idle = next((worker for worker in crew if worker.job is None), None)
                    if idle is None:
                        idle = _Worker(place, workers)
                        crew.append(idle)
                    todo.remove(chosen)
                    idle.start(chosen, deadline, _share_left(place, chosen))
                    busy.append(idle)
                    resumed = " from its checkpoint" if place.checkpoint(chosen).is_file() else ""
                    log(f"started: {chosen.stem}{resumed}, {(deadline - time.time()) / 60:.1f} min left")
                if not busy:
                    break
                if told():
                    for worker in busy:
                        worker.process.terminate()  # SIGTERM: it saves and says so
                if time.time() > deadline + 2 * RESERVE:
                    break
                for ready in wait([worker.connection for worker in busy], timeout=0.5):
                    worker = next(w for w in busy if w.connection is ready)
                    _note(worker, worker.hear(), place, outcome, todo, paces, deaths, log)
                crew = [worker for worker in crew if worker.process.is_alive() or worker.job is not None]
                if time.time() - said > STATUS_EVERY:
                    said = time.time()
                    for worker in crew:
                        log(f"  {worker.job.stem}: {worker.said}" if worker.job else "  a process waits for a job")
        finally:
            for worker in crew:
                if worker.job is not None:  # out of time: its last checkpoint counts
                    worker.process.kill()
                    outcome.stopped.append(worker.job)
                worker.close()
        outcome.interrupted = told()
    outcome.waiting = todo
    return outcome


def _note(
    worker: _Worker, answer: tuple[str, str] | None, place: Place, outcome: Outcome, todo: list[Job],
    paces: list[float], deaths: dict[str, int], log: Callable[[str], None],
) -> None:  # fmt: skip
    """Take down what a worker said of its job."""
    job = worker.job
    assert job is not None
    if answer is None:  # its process died: out of memory, or killed
        worker.process.join(timeout=5)
        deaths[job.stem] = deaths.get(job.stem, 0) + 1
        reason = f"its process ended with {worker.process.exitcode}"
        worker.close()
        if deaths[job.stem] < DEATHS:
            log(f"again: {job.stem}, {reason}")
            todo.insert(0, job)
        else:
            place.failure(job).write_text(reason + "\n", encoding="utf-8")
            outcome.failed[job.stem] = reason
            log(f"failed: {job.stem}: {reason}")
        worker.job = None
        return
    kind, text = answer
    if kind == "log":
        worker.said = text
        return
    taken = (time.time() - worker.began) / 60
    worker.job = None
    if kind == "recorded":
        outcome.recorded.append(job)
        paces.append(taken / max(job.minutes * worker.share, 1e-6))
    elif kind == "stopped":
        outcome.stopped.append(job)
    else:
        outcome.failed[job.stem] = text
    log(f"{kind}: {job.stem} after {taken:.1f} min: {text}")


def _ready(place: Place, job: Job) -> bool:
    """Whether the nets that the job starts from are recorded and at hand."""
    for start in job.experiment.start:
        stem = f"{start}.seed{job.seed}"
        kept = any((folder / f"{stem}.safetensors").is_file() for folder in (place.out, PROJECT / "weights"))
        if not (kept and (place.results / f"{stem}.json").is_file()):
            return False
    return True


def _share_left(place: Place, job: Job) -> float:
    """The share of its steps that a job has before it."""
    path = place.checkpoint(job)
    if not path.is_file():
        return 1.0
    try:
        run = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["run"]
        return max(0.0, 1 - run["step"] / run["steps"])
    except Exception:  # the run itself will say what is wrong with it
        return 1.0


@contextmanager
def _told() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come; both are as they were afterwards."""
    came: list[int] = []
    earlier: dict[int, Any] = {
        number: signal.signal(number, lambda n, _: came.append(n)) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
