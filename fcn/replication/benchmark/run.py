"""Run the benchmark: every peer in turn, in one process, with equal threads."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import torch

from fcn.cpu.allocator import keep_freed_memory
from fcn.environment import check_writable
from fcn.replication.benchmark import measure, peers
from fcn.replication.benchmark.peers import Peers, Unavailable, variants, workloads
from fcn.replication.benchmark.record import (
    Benchmark,
    Case,
    Precision,
    Variant,
    Workload,
    quartiles,
    targets,
)
from fcn.training.gpu import WARM_UP
from fcn.training.provenance import environment

PACKAGES = ("onnxruntime", "opencv-python-headless")
QUICK_WIDTH = 1 / 16


def benchmark(
    device: str = "cpu",
    *,
    save: Path | None = None,
    quick: bool = False,
    only: str = "",
    rounds: int | None = None,
    minutes: float | None = None,
) -> Iterator[str]:
    """Measure, and yield the lines of a report. ``save``: results folder for the record.

    Raises ValueError if ``save`` is not writable or no case matches ``only``.
    """
    if save:
        check_writable(save, "--save")
    found = measured(device, quick=quick, only=only, rounds=rounds, minutes=minutes, log=print)
    yield from report(found)
    if save:
        yield f"wrote {found.save(save)}"


def measured(
    device: str = "cpu",
    *,
    quick: bool = False,
    only: str = "",
    rounds: int | None = None,
    minutes: float | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Benchmark:
    """Measure the cases whose names contain ``only``; with ``only``, no profiles or commands.

    ``quick``: narrow nets, tiny photos, two rounds and nothing compiled, to try the code.
    ``rounds``: trials of every case; by default fewer for slower ones. After ``minutes`` no case is
    started; the record names those left out. About ten minutes on two CPU cores. Raises ValueError
    if no case matches.
    """
    start, made_with = time.perf_counter(), environment(device)
    if device == "cpu":
        keep_freed_memory()  # as our commands do; it serves the peers as well
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            made_with["versions"][name] = metadata.version(name)
    end = float("inf") if minutes is None else start + 60 * minutes
    session = _Session(device, quick, rounds, end, log)
    for work in workloads(device, quick):
        session.measure(work, only)
    if not session.cases:
        raise ValueError(f"--only {only}: no case that ran has this text in its name")
    found = Benchmark(
        device=device,
        threads=torch.get_num_threads(),
        rates=session.rates,
        cases=session.cases,
        profiles=[],
        commands=[],
        skipped=session.skipped,
        total=0,
        **made_with,
    )
    if not only:
        from fcn.replication.benchmark import profiles  # torchvision takes seconds to import

        size, batch, width = (64, 2, QUICK_WIDTH) if quick else (256, 8, 1.0)
        try:
            with profiles.painted_sift_flow(size) as root:
                log("where the time goes")
                steps, repeats = (2, 2) if quick else (8, 5)
                found.profiles.append(profiles.training(root, device, width, batch, steps))
                found.profiles.append(profiles.evaluation(root, device, width, repeats))
            found.commands.extend(profiles.commands(1 if quick else 3, quick))
        except RuntimeError as error:
            found.skipped.append(f"profiles and commands: {_reason(error)}")
    found.total = time.perf_counter() - start
    return found


def _reason(error: Exception) -> str:
    """The first line of its message or, without one, its type."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class _Session:
    """The cases so far."""

    def __init__(
        self, device: str, quick: bool, rounds: int | None, end: float, log: Callable[[str], None]
    ) -> None:
        self.device, self.quick, self.rounds, self.end, self.log = device, quick, rounds, end, log
        self.peers = Peers(device, QUICK_WIDTH if quick else 1.0)
        names: tuple[Precision, ...] = ("float32", "bf16")
        if device == "cuda":
            names = ("float32", "tf32", "bf16")
        side = 256 if quick else None
        self.products = [measure.Product(name, device, side) for name in names]
        self.rates: dict[Precision, list[float]] = {name: [] for name in names}
        for _ in range(3):
            self.measure_rates()
        for trials in self.rates.values():
            del trials[0]  # warm-up
        self.cases: list[Case] = []
        self.skipped: list[str] = []

    def measure_rates(self) -> None:
        for one in self.products:
            self.rates[one.name].append(one.rate())

    def measure(self, work: Workload, only: str) -> None:
        """Build the variants of ``work`` one after the other, then time them in turn."""
        trials: dict[Variant, peers.Trial] = {}
        firsts: dict[Variant, tuple[float, float | None]] = {}
        for variant in variants(work, self.device):
            if only.lower() not in f"{work}: {variant}".lower():
                continue
            try:
                self.check(variant)
                self.log(f"{work}: {variant}")
                memory, start = measure.Memory(self.device), time.perf_counter()
                trials[variant] = trial = self.peers.trial(work, variant)
                trial()
                measure.wait(self.device)
                first = time.perf_counter() - start
                firsts[variant] = first, memory.peak(trial)
                for _ in range(WARM_UP if variant.mode == "captured" else 0):
                    trial()
            except Exception as error:
                expected = isinstance(error, (Unavailable, torch.OutOfMemoryError))
                if not expected and variant in (Variant(), Variant("padded port")):
                    raise
                trials.pop(variant, None)
                self.skipped.append(f"{work}: {variant}: {_reason(error)}")
                self.log("skipped " + self.skipped[-1])
        times: dict[Variant, list[float]] = {variant: [] for variant in trials}
        for _ in range(self.rounds_of(work) if trials else 0):
            for variant, trial in trials.items():
                times[variant].append(measure.seconds(trial, self.device))
            self.measure_rates()
        for variant, seconds in times.items():
            counted = self.peers.operations(work, variant)
            self.cases.append(Case(work, variant, seconds, *firsts[variant], counted))

    def check(self, variant: Variant) -> None:
        if time.perf_counter() > self.end:
            raise Unavailable("the time was up")
        if self.quick and variant.mode == "compiled":
            raise Unavailable("takes too long for --quick")
        if self.device == "cpu" and variant.precision == "bf16":
            rates = {name: max(self.rates[name]) / 1e9 for name in ("float32", "bf16")}
            if rates["bf16"] < rates["float32"]:
                speeds = f"{rates['bf16']:.0f} against {rates['float32']:.0f} GFLOP/s"
                raise Unavailable(f"this CPU is slower in bf16 than in float32, {speeds}")

    def rounds_of(self, work: Workload) -> int:
        if self.rounds or self.quick:
            return self.rounds or 2
        if self.device != "cpu":
            return 20
        few = 5 if (work.task, work.batch) == ("forward", 1) else 3
        judged = (work.net, work.height, work.batch) == ("vgg16", 375, 1)
        return 2 * few - 1 if judged else few


def report(found: Benchmark) -> Iterator[str]:
    """The lines of a report: every case, the profiles, the commands, and the verdicts."""
    rates = ", ".join(f"{found.rate(name) / 1e9:,.0f} in {name}" for name in found.rates)
    yield f"{found.hardware}, {found.threads} threads; matrix products: {rates} GFLOP/s"
    for work in found.workloads():
        cases = found.of(work)
        port = cases.get(Variant("padded port"))
        yield f"\n{work}: seconds, median (quartiles)"
        for variant, case in cases.items():
            low, median, high = quartiles(case.seconds)
            line = f"  {variant!s:44}{median:9.4f} ({low:.4f} to {high:.4f})"
            line += f"  port / this {port.median / median:5.2f}" if port else ""
            share = found.share(case)
            line += f"  {share:4.0f} % of the matrix rate" if share is not None else ""
            line += f"  {case.memory / 1e9:5.2f} GB" if case.memory is not None else ""
            yield line + f"  first {case.first:.1f} s"
    for one in found.profiles:
        shares = ", ".join(f"{name} {share:.1f} %" for name, share in one.shares().items())
        yield f"\n{one.name}: {one.images_per_second:.1f} images/s; {shares}"
    for command in found.commands:
        _, median, _ = quartiles(command.seconds)
        memory = f", {command.memory / 1e6:.0f} MB" if command.memory else ""
        yield f"fcn {command.command}: {median:.2f} s{memory}"
    yield ""
    for target in targets(found):
        value = "" if target.value is None else f"{target.value:.2f}"
        yield f"{target.verdict:12} {target.text}: {value} ({target.bound})"
    yield from found.skipped
    yield f"took {found.total / 60:.1f} minutes"
