"""The cost of training the experiments: multiply-adds from the nets, hours from assumed rates.

Assumptions, none of them measured: a training step costs three forward passes (one if only the
heads are trained), also with frozen layers, which cost less; skips cost nothing, which is right to
one per cent; a GPU sustains a share of its peak that is given as a range; photos have the size in
``SIZES``. Scoring the test images is left out. The hours of the runs that have a record are
measured.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from fcn import models
from fcn.replication.catalogue import EXPERIMENTS, IMAGES, of_dataset
from fcn.replication.experiment import Experiment
from fcn.training.record import Record, find

SIZES = {"sift-flow": (256, 256), "scenes": (64, 64), "nyud": (425, 560), "": (375, 500)}
"""Height and width by the beginning of a data set's name; PASCAL's photos are mostly 375 x 500."""
H100 = 989e12
"""Dense bfloat16 peak of an H100 SXM by its data sheet, in operations per second."""
UTILIZATION = (0.1, 0.4)
"""The share of the peak that training sustains: an assumption, as a range."""


def multiply_adds(experiment: Experiment) -> float:
    """Multiply-adds of one forward pass on one image, of the net without skips, 21 classes."""
    net = experiment.net, experiment.width, experiment.alignment, experiment.inputs
    return _counted(*net, size_of(experiment))


def size_of(experiment: Experiment) -> tuple[int, int]:
    """Height and width of the photos that the experiment trains on."""
    height, width = of_dataset(experiment.dataset, SIZES)
    return height, width


def images(experiment: Experiment) -> float:
    """Images seen in training."""
    return experiment.recipe.epochs * of_dataset(experiment.dataset, IMAGES)


def costs(
    records: Iterable[Record], utilization: tuple[float, float] = UTILIZATION
) -> pd.DataFrame:
    """One row per experiment, with one seed each: work, GPU hours as a range, measured hours.

    ``exaflops`` are 10^18 operations, two for each multiply-add. ``gpu_hours_low`` and ``_high``
    are those of one H100 at the larger and the smaller ``utilization``. ``measured_hours`` are
    those of the record with the lowest seed on its ``hardware``; missing without a record.
    """
    records, rows = list(records), []
    for experiment in EXPERIMENTS.values():
        passes = 1 if experiment.recipe.fixed_trunk else 3
        work = 2 * multiply_adds(experiment) * passes * images(experiment)
        low, high = (work / H100 / share / 3600 for share in sorted(utilization, reverse=True))
        done = find(records, experiment.name, experiment.purpose)[:1]
        rows.append(
            {
                "experiment": experiment.name,
                "table": experiment.paper[0] if experiment.paper else "one change",
                "images": images(experiment),
                "exaflops": work / 1e18,
                "gpu_hours_low": low,
                "gpu_hours_high": high,
                "measured_hours": done[0].seconds / 3600 if done else None,
                "hardware": done[0].hardware if done else None,
            }
        )
    return pd.DataFrame(rows).set_index("experiment")


def by_table(costs: pd.DataFrame) -> pd.DataFrame:
    """The sums of :func:`costs` over the experiments of each table, and over all."""
    grouped = costs.groupby("table")
    counted = {"experiments": grouped.size(), "recorded": grouped["measured_hours"].count()}
    table = pd.concat([pd.DataFrame(counted), grouped.sum(numeric_only=True)], axis=1)
    table.loc["all"] = table.sum()
    return table.astype({"experiments": int, "recorded": int})


@cache
def _counted(net: str, width: float, alignment: str, inputs: str, size: tuple[int, int]) -> float:
    inputs = "rgb" if inputs == "hha" else inputs
    settings: dict[str, Any] = {
        "net": net,
        "width": width,
        "alignment": alignment,
        "inputs": inputs,
        "stride": 32,
    }
    channels = {"rgbd": 4, "rgb-hha": 6}.get(inputs, 3)
    with torch.device("meta"), torch.no_grad():
        built = models.build(settings | {"heads": {"semantic": 21}})
        with FlopCounterMode(display=False) as counter:
            built(torch.empty(1, channels, *size))
    return counter.get_total_flops() / 2
