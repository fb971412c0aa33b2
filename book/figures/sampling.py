"""Section 3.4: sampling the loss, and Figure 5 from the records."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from fcn.training.record import Record
from figures import style
from figures.shared import draw_loss

EXPERIMENTS = {keep: f"sift-flow-googlenet-32s-keep{round(100 * keep)}" for keep in (1.0, 0.5, 0.25)}
CONTROL = "sift-flow-googlenet-32s-keep100-batch32"  # all cells, in batches as large as the quarter's
TINTS = {1.0: "#444b54", 0.5: "#b0722b", 0.25: "#1b7f79"}
LAST = 0.2  # the part of a run over which the loss is averaged: one point of a curve says little

Runs = Mapping[float, Record]


def find(records: Sequence[Record], seed: int = 0) -> dict[float, Record]:
    """Runs of Figure 5, by the probability of keeping a cell; missing runs are left out."""
    by_name = {(r.experiment, r.seed): r for r in reversed(records)}  # of several purposes the final one
    return {keep: by_name[name, seed] for keep, name in EXPERIMENTS.items() if (name, seed) in by_name}


def not_run(runs: Runs) -> str:
    """One line for each run of Figure 5 without a record: the command that makes it."""
    return "\n".join(f"not run: python -m fcn train {name}" for keep, name in EXPERIMENTS.items() if keep not in runs)


# The records


def curves(runs: Runs) -> Figure:
    """Figure 5: training loss against iterations and against images."""
    figure, panels = plt.subplots(1, 2, figsize=(7.6, 3.5), sharey=True)
    for axes, key, label in zip(panels, ("step", "images"), ("iterations", "images processed"), strict=True):
        for keep, run in runs.items():
            draw_loss(axes, _curve(run, key), _curve(run, "loss"), TINTS[keep], f"{100 * keep:g} % of the cells")
        axes.set(xlabel=label, xlim=(0, None))
        axes.ticklabel_format(axis="x", scilimits=(-3, 6))
    panels[0].set_ylabel("training loss (nats)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def compared(runs: Runs) -> pd.DataFrame:
    """Mean loss ± standard error of the runs at equal iterations and at equal numbers of images.

    Equal iterations are those of the shortest run; equal images those of the run that saw fewest.
    """
    steps, images = common(runs)
    rows = {
        f"{100 * keep:g} %": {
            "batch": run.recipe["batch_size"],
            "iterations": f"{_curve(run, 'step')[-1]:.0f}",
            "images": run.images_seen,
            f"loss at {steps:.0f} iterations": "{:.3f} ± {:.3f}".format(*level(run, "step", steps)),
            f"loss at {images:.0f} images": "{:.3f} ± {:.3f}".format(*level(run, "images", images)),
        }
        for keep, run in runs.items()
    }
    return pd.DataFrame(rows).T.rename_axis("kept")


def level(run: Record, key: str, end: float) -> tuple[float, float]:
    """Mean loss over the last fifth before ``end`` (``key``: step or images), and its standard error.

    Raises ValueError if fewer than three points of the curve lie there.
    """
    x, loss = _curve(run, key), _curve(run, "loss")
    part = loss[(x > (1 - LAST) * end) & (x <= end)]
    if len(part) < 3:
        raise ValueError(f"{run.file_name}: {len(part)} points of the curve in the last fifth before {end:g} {key}")
    return float(part.mean()), float(part.std(ddof=1) / math.sqrt(len(part)))


def difference(run: Record, other: Record, key: str, end: float) -> tuple[float, float]:
    """Loss of ``run`` less that of ``other``, in percent of the latter, and this difference in standard errors."""
    (one, error), (reference, its_error) = level(run, key, end), level(other, key, end)
    return 100 * (one - reference) / reference, (one - reference) / math.hypot(error, its_error)


def common(runs: Runs) -> tuple[float, float]:
    """The iterations and the images that all runs reach."""
    steps, images = (min(_curve(run, key)[-1] for run in runs.values()) for key in ("step", "images"))
    return float(steps), float(images)


def _curve(run: Record, key: str) -> NDArray[np.float64]:
    return np.array([dict(point)[key] for point in run.curve], dtype=float)


# The live demonstrations


def windows(image: ArrayLike, size: int, stride: int, cells: tuple[int, int]) -> Figure:
    """Windows of ``cells`` (rows, columns) on an image (H x W x 3), and the number of windows that hold each pixel."""
    picture = np.asarray(image)
    often = np.zeros(picture.shape[:2], int)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4))
    style.show(left, picture, "windows of the cells")
    for i, j in np.ndindex(cells):
        often[i * stride : i * stride + size, j * stride : j * stride + size] += 1
        marked = (i, j) in ((0, 0), (cells[0] - 1, cells[1] - 1))
        look = {"ec": style.HIGHLIGHT, "lw": 2, "zorder": 2} if marked else {"ec": "white", "lw": 0.6, "alpha": 0.5}
        left.add_patch(Rectangle((j * stride - 0.5, i * stride - 0.5), size, size, fill=False, **look))
    shown = right.imshow(often, cmap="mako", vmin=0)
    right.set_title("windows that hold a pixel")
    right.set_axis_off()
    figure.colorbar(shown, ax=right, shrink=0.85)
    return figure


def noise(
    spread: Mapping[float, float], formula: Mapping[float, float], gradient: Mapping[str, Mapping[float, float]]
) -> Figure:
    """Noise of sampling against the share of cells kept.

    Left, the standard deviation of the sampled loss in percent of the loss: ``spread`` as measured, and ``formula``.
    Right, the variance of a batch's gradient relative to that of whole images, for each way of batching.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.4))
    left.plot(list(formula), list(formula.values()), color="#9aa0a6", lw=2, label="formula")
    left.plot(list(spread), list(spread.values()), "o", color="#1b7f79", label="measured")
    left.set(title="the loss of one batch", ylabel="standard deviation (% of the loss)")
    for (title, values), tint in zip(gradient.items(), ("#b0722b", "#1b7f79"), strict=False):
        right.plot(list(values), list(values.values()), "o-", color=tint, label=title)
    right.set(title="the gradient of a batch", ylabel="variance (whole images = 1)", ylim=(0, None))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="share of the cells kept")
        ticks = sorted({*spread, 1.0})
        axes.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
        axes.minorticks_off()
        axes.legend()
    return figure
