"""The speedrun: the paper's mean IU on SIFT Flow in as few seconds as possible, and its ledger.

Rules. The data are SIFT Flow's 2486 training and 200 test images; the net starts from ImageNet
weights of GoogLeNet. The target is the paper's FCN-16s on VGG16. A row counts if the mean of its
seeds is above the target by a one-sided t-test: at least three seeds and p below 0.05 on a CPU,
five and 0.01 on a GPU. Choices are made on the validation split; the test images are scored once
per run. The clock runs from the first to the last training step, of all stages if there are
several. ImageNet weights and decoded images are in memory by then; everything else that a run
computes, such as features of frozen layers, is included.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch
from scipy.stats import t
from torch.utils.flop_counter import FlopCounterMode

from fcn import models
from fcn.replication import paper, tables
from fcn.replication.catalogue import EXPERIMENTS, SPEEDRUN
from fcn.replication.cost import images, size_of
from fcn.replication.experiment import Experiment
from fcn.training.features import LaterLayers
from fcn.training.optimizer import parameter_groups
from fcn.training.recipe import Recipe
from fcn.training.record import Record

TARGET = paper.row("Table 5", "FCN-16s").metrics["mean_iu"]
"""Mean IU to beat, in percent."""
CPU, GPU = (3, 0.05), (5, 0.01)
"""Seeds at least, and the p value to stay below."""


@dataclass(frozen=True)
class Attempt:
    """A row of the ledger: what it changes in the row before it, and its runs, on CPUs or on GPUs.

    ``stages`` has the records of each seed, in the order of training; the last one is scored.
    """

    experiment: str
    change: str
    stages: tuple[tuple[Record, ...], ...]

    @property
    def runs(self) -> list[Record]:
        """The last stage of each seed."""
        return [stages[-1] for stages in self.stages]

    @property
    def scores(self) -> list[float]:
        """Mean IU of each seed, in percent."""
        return [run.scores["mean_iu"] for run in self.runs]

    @property
    def seconds(self) -> float:
        """Of all stages, the mean over the seeds; NaN without a run."""
        totals = [sum(run.seconds for run in stages) for stages in self.stages]
        return statistics.fmean(totals) if totals else math.nan

    @property
    def p_value(self) -> float:
        """Of a one-sided t-test of the mean against ``TARGET``; NaN below two seeds."""
        if len(self.runs) < 2:
            return math.nan
        error = statistics.stdev(self.scores) / math.sqrt(len(self.runs))
        if error == 0:
            return float(statistics.fmean(self.scores) <= TARGET)
        return float(t.sf((statistics.fmean(self.scores) - TARGET) / error, len(self.runs) - 1))

    @property
    def counts(self) -> bool:
        """True if the runs satisfy the rules for their hardware."""
        seeds, level = GPU if self.on_gpu else CPU
        return len(self.runs) >= seeds and self.p_value < level

    @property
    def hardware(self) -> str:
        """The machines of its runs, or "-"."""
        return "; ".join(dict.fromkeys(run.hardware for run in self.runs)) or tables.ABSENT

    @property
    def on_gpu(self) -> bool:
        """True if it ran on a GPU."""
        return any(_on_gpu(run) for run in self.runs)


def attempts(records: Sequence[Record]) -> list[Attempt]:
    """The rows of the ledger in order, with their runs: those on CPUs before those on GPUs."""
    rows = []
    for name, change in SPEEDRUN.items():
        on_cpu, on_gpu = (
            _seeds(name, [run for run in records if _on_gpu(run) == gpu]) for gpu in (False, True)
        )
        kinds = [found for found in (on_cpu, on_gpu) if found] or [()]
        rows += [Attempt(name, change, found) for found in kinds]
    return rows


def _seeds(name: str, records: Sequence[Record]) -> tuple[tuple[Record, ...], ...]:
    """The stages of each seed that has a record of all of them."""
    stages = [{run.seed: run for run in tables.final(records, one.name)} for one in stages_of(name)]
    seeds = sorted(set.intersection(*map(set, stages)))
    return tuple(tuple(runs[seed] for runs in stages) for seed in seeds)


def _on_gpu(run: Record) -> bool:
    return "NVIDIA" in run.hardware


def stages_of(name: str) -> list[Experiment]:
    """The experiment and those that it starts from, in the order of training."""
    one = EXPERIMENTS[name]
    return [*(stage for start in one.start for stage in stages_of(start)), one]


def ledger(records: Sequence[Record]) -> pd.DataFrame:
    """One row per attempt: change, seconds, mean IU, seeds, p value, images, work and hardware."""
    rows = []
    for one in attempts(records):
        stages = stages_of(one.experiment)
        spread = f" ± {statistics.stdev(one.scores):.2f}" if len(one.scores) > 1 else ""
        score = f"{statistics.fmean(one.scores):.2f}{spread}" if one.runs else tables.NOT_RUN
        rows.append(
            {
                "change": one.change,
                "seconds": f"{one.seconds:,.0f}" if one.runs else tables.ABSENT,
                "mean IU": score,
                "seeds": len(one.runs),
                "p": _shown(one.p_value),
                "counts": "yes" if one.counts else "no",
                "images": f"{sum(map(images, stages)):,.0f}",
                "PFLOP": f"{sum(map(operations, stages)) / 1e15:.2f}",
                "hardware": one.hardware,
            }
        )
    return pd.DataFrame(rows, [one.experiment for one in attempts(records)])


def _shown(p: float) -> str:
    if math.isnan(p):
        return tables.ABSENT
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def operations(experiment: Experiment) -> float:
    """Floating-point operations of the convolutions in a run, forward and backward.

    The features of frozen layers count once for each image, mirrored copy and size.
    """
    recipe = experiment.recipe
    height, width = size_of(experiment)
    epochs = {2: min(recipe.small, recipe.epochs), 1: max(0, recipe.epochs - recipe.small)}
    copies = 1 if recipe.augment == "none" else 2
    total = 0.0
    for factor, length in epochs.items():
        if not length:
            continue
        first, step = _counted(experiment, (height // factor, width // factor))
        passes = min(length, copies) if recipe.frozen else length
        total += images(experiment) / recipe.epochs * (passes * first + length * step)
    return total


def _counted(experiment: Experiment, size: tuple[int, int]) -> tuple[int, int]:
    """Operations per image of the frozen layers, and of a training step without them."""
    settings = json.dumps(experiment.settings | {"heads": {"semantic": 33, "geometric": 3}})
    return _of_a_net(settings, experiment.recipe.frozen, experiment.recipe.fixed_trunk, size)


@cache
def _of_a_net(
    settings: str, frozen: str, fixed_trunk: bool, size: tuple[int, int]
) -> tuple[int, int]:
    first, recipe = 0, Recipe(learning_rate=1, frozen=frozen, fixed_trunk=fixed_trunk)
    with torch.device("meta"):
        net = models.build(json.loads(settings))
        parameter_groups(net, recipe)  # freezes layers
        images = torch.empty(1, 3, *size)
        if frozen:
            later = LaterLayers(net, frozen)
            with FlopCounterMode(display=False) as counter:
                features = later.features(images)
            first = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            scores = later(features, size, False) if frozen else net(images, False)
            torch.stack([head.cells.sum() for head in scores.values()]).sum().backward()
    return first, counter.get_total_flops()
