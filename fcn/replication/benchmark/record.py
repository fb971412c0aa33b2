"""The record of a benchmark, ``results/benchmarks/<machine>.json``: every trial of every net.

Times are in seconds, memory in bytes, operations count a multiplication and an addition as two.
"""

import json
import re
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from fcn.environment import atomic_write
from fcn.training.validation import one_line

STRICT = ConfigDict(extra="forbid")
FOLDER = "benchmarks"  # below the results folder
Task = Literal["forward", "training step"]
Precision = Literal["float32", "tf32", "bf16"]
Peer = Literal["ours", "padded port", "fcn_resnet50", "OpenCV", "ONNX Runtime"]
Times = Annotated[list[float], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Workload:
    """The work that several peers do in turn. ``net``: backbone; its scores are at ``stride``."""

    task: Task
    net: str
    stride: int
    height: int
    width: int
    batch: int

    def __str__(self) -> str:
        name = {"vgg16": "VGG16", "googlenet": "GoogLeNet", "alexnet": "AlexNet"}[self.net]
        size = f"{self.width}x{self.height}, batch {self.batch}"
        return f"{self.task}, FCN-{self.stride}s {name}, {size}"


@dataclass(frozen=True, config=STRICT)
class Variant:
    """One way to do the work. Settings that a peer does not offer keep their defaults."""

    peer: Peer = "ours"
    alignment: Literal["tight", "reference"] = "tight"
    upsampling: Literal["bilinear", "learned", "interpolate"] = "bilinear"
    memory_format: Literal["contiguous", "channels last"] = "contiguous"
    precision: Precision = "float32"
    mode: Literal["eager", "compiled", "captured"] = "eager"

    def __str__(self) -> str:
        plain = Variant(self.peer)
        if self.peer == "ONNX Runtime":
            return self.peer + ("" if self.alignment == "tight" else ", reference")
        names = ("alignment", "upsampling", "memory_format", "precision", "mode")
        shown = [getattr(self, n) for n in names if getattr(self, n) != getattr(plain, n)]
        return ", ".join([self.peer, *shown])


@dataclass(frozen=True, config=STRICT)
class Case:
    """The trials of one variant. ``first``: of the first result, compilation or export included.

    ``memory``: the largest resident memory while it works, less that before it was built;
    ``operations``: those of the convolutions and matrix products of one trial; None if unknown.
    """

    workload: Workload
    variant: Variant
    seconds: Times
    first: float
    memory: float | None
    operations: float | None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, config=STRICT)
class Part:
    """The seconds of one part of a repeated piece of work, such as the loss of a training step."""

    name: str
    seconds: Times


@dataclass(frozen=True, config=STRICT)
class Profile:
    """The times of the parts that make up a piece of work; ``images`` per repetition."""

    name: str
    images: int
    parts: list[Part]
    settings: dict[str, str] = Field(default_factory=dict)

    @property
    def total(self) -> float:
        return sum(statistics.median(part.seconds) for part in self.parts)

    @property
    def images_per_second(self) -> float:
        return self.images / self.total

    def shares(self) -> dict[str, float]:
        """Each part's share of the time, in percent."""
        return {p.name: 100 * statistics.median(p.seconds) / self.total for p in self.parts}


@dataclass(frozen=True, config=STRICT)
class Command:
    """A command line from start to end, in a process of its own; ``memory``: the largest."""

    command: str
    seconds: Times
    memory: float | None


class Benchmark(BaseModel):
    """Everything measured in one process on one machine. ``skipped``: one line per case left out.

    ``rates``: operations per second of one large matrix product, by precision, measured in turn
    with the nets. ``total``: seconds that the whole benchmark took.
    """

    model_config = ConfigDict(extra="forbid")

    device: str
    hardware: str
    threads: int
    versions: dict[str, str]
    commit: str | None
    rates: dict[Precision, Times]
    cases: list[Case]
    profiles: list[Profile]
    commands: list[Command]
    skipped: list[str]
    total: float

    @property
    def file_name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.device} {self.hardware}".lower()) + ".json"

    def save(self, results: Path) -> Path:
        """Write the record below ``results``; returns its path."""
        path = results / FOLDER / self.file_name
        with atomic_write(path) as partial:
            entries = json.loads(self.model_dump_json(), parse_float=_rounded)
            partial.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ValueError, naming the file and the entry, if it is no record of a benchmark."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise ValueError(f"{path}: {one_line(error)}") from None

    def rate(self, precision: Precision) -> float:
        """Operations per second of a large matrix product."""
        return statistics.median(self.rates[precision])

    def share(self, case: Case) -> float | None:
        """The share of that rate which a case reaches, in percent."""
        if case.operations is None or case.variant.precision not in self.rates:
            return None
        return 100 * case.operations / case.median / self.rate(case.variant.precision)

    def workloads(self) -> list[Workload]:
        """In the order of measuring."""
        return list(dict.fromkeys(case.workload for case in self.cases))

    def of(self, workload: Workload) -> dict[Variant, Case]:
        """The cases of one workload."""
        return {case.variant: case for case in self.cases if case.workload == workload}

    def main(self, task: Task) -> dict[Variant, Case]:
        """The cases of the workload that the targets are about: FCN-8s VGG16, one photo."""
        for workload in self.workloads():
            if (workload.task, workload.net, workload.stride) == (task, "vgg16", 8):
                return self.of(workload)
        return {}

    def profile(self, name: str) -> Profile | None:
        return next((one for one in self.profiles if one.name == name), None)


@dataclass(frozen=True, config=STRICT)
class Target:
    """A goal, and what was measured: ``value`` is at least ``least`` or at most ``most``."""

    text: str
    value: float | None
    least: float | None = None
    most: float | None = None

    @property
    def bound(self) -> str:
        return f"at most {self.most:g}" if self.least is None else f"at least {self.least:g}"

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        low = self.least is None or self.value >= self.least
        high = self.most is None or self.value <= self.most
        return "reached" if low and high else "missed"


def fastest(cases: Iterable[Case]) -> Case:
    """The case with the smallest median."""
    return min(cases, key=lambda case: case.median)


def targets(found: Benchmark) -> Iterator[Target]:
    """The goals of this package's speed, judged by a record.

    "Ours" is the fastest variant in PyTorch with the default alignment in float32.
    """
    goals: tuple[tuple[Task, float], ...] = (("forward", 2.2), ("training step", 2.0))
    for task, least in goals:
        cases = found.main(task)
        plain = [c for v, c in cases.items() if v.peer == "ours" and v.precision == "float32"]
        ours = [c for c in plain if c.variant.alignment == "tight"]
        reference = [c for c in plain if c.variant.alignment == "reference"]
        port = [case for v, case in cases.items() if v == Variant("padded port")]
        onnx = [case for v, case in cases.items() if v == Variant("ONNX Runtime")]
        if task == "forward":
            yield Target("forward: time of ONNX Runtime / ours", _ratio(onnx, ours), least=1)
        yield Target(f"{task}: time of the padded port / ours", _ratio(port, ours), least=least)
        yield Target(
            f"{task}: time of the padded port / ours, reference", _ratio(port, reference), least=1
        )
    for profile, part, most in (
        ("training", "upsampling and loss", 10.0),
        ("training", "waiting for data", 3.0),
        ("evaluation", "metric", 2.0),
    ):
        one = found.profile(profile)
        share = one.shares().get(part) if one else None
        yield Target(f"{part}, % of {profile}", share, most=most)
    commands = {one.command.split()[0]: one for one in found.commands}
    for name, seconds, megabytes in (("--help", 1, None), ("list", 1, None), ("predict", 5, 700)):
        run = commands.get(name)
        median = statistics.median(run.seconds) if run else None
        yield Target(f"fcn {name}: seconds", median, most=seconds)
        if megabytes:
            memory = run.memory / 1e6 if run and run.memory else None
            yield Target(f"fcn {name}: megabytes", memory, most=megabytes)


def quartiles(trials: Iterable[float]) -> list[float]:
    """The first quartile, the median and the third quartile: all equal for a single trial."""
    values = [*trials]
    return statistics.quantiles(values, method="inclusive") if values[1:] else 3 * values


def load_benchmarks(results: Path) -> list[Benchmark]:
    """The records below a results folder, those of the CPU first."""
    found = [Benchmark.load(path) for path in sorted((results / FOLDER).glob("[!.]*.json"))]
    return sorted(found, key=lambda one: one.device != "cpu")


def _rounded(number: str) -> float:
    return float(f"{float(number):.5g}")


def _ratio(theirs: list[Case], ours: list[Case]) -> float | None:
    if not theirs or not ours:
        return None
    return fastest(theirs).median / fastest(ours).median
