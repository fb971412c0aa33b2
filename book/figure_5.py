"""Figure 5 (section 3.4): the runs that sample the loss, and their comparison, for chapters 11 and 12."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fcn.training.record import Record

EXPERIMENTS = {
    keep: f"sift-flow-googlenet-32s-keep{round(100 * keep)}"
    for keep in (1.0, 0.5, 0.25)
}
CONTROL = "sift-flow-googlenet-32s-keep100-batch32"  # all cells, in batches as large as the quarter's
LAST = 0.2  # the part of a run over which the loss is averaged: one point of a curve says little

Runs = Mapping[float, Record]


def find(records: Sequence[Record], seed: int = 0) -> dict[float, Record]:
    """Runs of Figure 5, by the probability of keeping a cell; missing runs are left out."""
    by_name = {
        (r.experiment, r.seed): r for r in reversed(records)
    }  # the final run if there are several purposes
    return {
        keep: by_name[name, seed]
        for keep, name in EXPERIMENTS.items()
        if (name, seed) in by_name
    }


def not_run(runs: Runs) -> str:
    """One line for each run of Figure 5 without a record: the command that makes it."""
    return "\n".join(
        f"not run: python -m fcn train {name}"
        for keep, name in EXPERIMENTS.items()
        if keep not in runs
    )


def compared(runs: Runs) -> pd.DataFrame:
    """Mean loss ± standard error of the runs at equal iterations and at equal numbers of images.

    Equal iterations are those of the shortest run; equal images those of the run that saw fewest.
    """
    steps, images = common(runs)
    rows = {
        f"{100 * keep:g} %": {
            "batch": run.recipe["batch_size"],
            "iterations": f"{curve(run, 'step')[-1]:.0f}",
            "images": run.images_seen,
            f"loss at {steps:.0f} iterations": "{:.3f} ± {:.3f}".format(
                *level(run, "step", steps)
            ),
            f"loss at {images:.0f} images": "{:.3f} ± {:.3f}".format(
                *level(run, "images", images)
            ),
        }
        for keep, run in runs.items()
    }
    return pd.DataFrame(rows).T.rename_axis("kept")


def level(run: Record, key: str, end: float) -> tuple[float, float]:
    """Mean loss over the last fifth before ``end`` (``key``: step or images), and its standard error.

    Raises ValueError if fewer than three points of the curve are in that range.
    """
    x, loss = curve(run, key), curve(run, "loss")
    part = loss[(x > (1 - LAST) * end) & (x <= end)]
    if len(part) < 3:
        raise ValueError(
            f"{run.file_name}: {len(part)} points of the curve in the last fifth before {end:g} {key}"
        )
    return float(part.mean()), float(part.std(ddof=1) / math.sqrt(len(part)))


def difference(run: Record, other: Record, key: str, end: float) -> tuple[float, float]:
    """Loss of ``run`` less that of ``other``, in percent of the latter, and this difference in standard errors."""
    (one, error), (reference, its_error) = level(run, key, end), level(other, key, end)
    return 100 * (one - reference) / reference, (one - reference) / math.hypot(
        error, its_error
    )


def values(runs: Runs) -> dict[str, float]:
    """The numbers in the sentences on Figure 5: the iterations and images that all runs reach, and by how many percent
    the loss is lower with 50 % and with 25 % of the cells after as many; empty unless all three runs are there.
    """
    if len(runs) < len(EXPERIMENTS):
        return {}
    steps, images = common(runs)
    found = {"common_steps": steps, "common_images": images}
    for keep in (0.5, 0.25):
        for key, end in (("step", steps), ("images", images)):
            percent, _ = difference(runs[keep], runs[1.0], key, end)
            found[f"keep{100 * keep:.0f}_{key}"] = -percent
    return found


def control_values(
    runs: Runs, records: Sequence[Record], seed: int = 0
) -> dict[str, float]:
    """The numbers in the sentences on ``CONTROL``: the iterations that it and the quarter reach, their losses, and by
    how many percent these differ; empty unless both are there.
    """
    wanted = CONTROL, seed, "final"
    controls = (r for r in records if (r.experiment, r.seed, r.purpose) == wanted)
    control = next(controls, None)
    if control is None or 0.25 not in runs:
        return {}
    quarter = runs[0.25]
    steps, _ = common({1.0: control, 0.25: quarter})
    percent, _ = difference(quarter, control, "step", steps)
    found = {"control_steps": steps, "quarter_less_control": abs(percent)}
    for name, run in (("control", control), ("quarter", quarter)):
        found[f"{name}_loss"], found[f"{name}_error"] = level(run, "step", steps)
    return found


def common(runs: Runs) -> tuple[float, float]:
    """The iterations and the images that all runs reach."""
    steps, images = (
        min(curve(run, key)[-1] for run in runs.values()) for key in ("step", "images")
    )
    return float(steps), float(images)


def curve(run: Record, key: str) -> NDArray[np.float64]:
    return np.array([dict(point)[key] for point in run.curve], dtype=float)
