"""Section 3.4: what sampling the loss does to loss and gradient, and Figure 5 from the recorded runs."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from figures import style
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from fcn.training.record import Record

EXPERIMENTS = {keep: f"sift-flow-googlenet-32s-keep{round(100 * keep)}" for keep in (1.0, 0.5, 0.25)}
CONTROL = "sift-flow-googlenet-32s-keep100-batch32"  # all cells, in batches as large as the quarter's
TINTS = {1.0: "#444b54", 0.5: "#b0722b", 0.25: "#1b7f79"}
LAST = 0.2  # the part of a run over which a loss is read off: one point of a curve says little
NOTABLE = 2.0  # standard errors

Runs = Mapping[float, Record]


def find(records: Sequence[Record], seed: int = 0) -> dict[float, Record]:
    """The recorded runs of Figure 5, by the probability of keeping a cell; what was not run is absent."""
    by_name = {(r.experiment, r.seed): r for r in reversed(records)}  # of several purposes the final one
    return {keep: by_name[name, seed] for keep, name in EXPERIMENTS.items() if (name, seed) in by_name}


def not_run(runs: Runs) -> str:
    """A line for each run of Figure 5 without a record: the command that makes it."""
    return "\n".join(f"not run: python -m fcn train {name}" for keep, name in EXPERIMENTS.items() if keep not in runs)


# The recorded runs


def curves(runs: Runs) -> Figure:
    """Figure 5: the training loss against iterations and against images. Thin: as recorded; bold: a running mean."""
    figure, panels = plt.subplots(1, 2, figsize=(7.6, 3.5), sharey=True)
    for axes, key, label in zip(panels, ("step", "images"), ("iterations", "images processed"), strict=True):
        for keep, run in runs.items():
            x, loss = _points(run, key), _points(run, "loss")
            smooth = pd.Series(loss).rolling(9, center=True, min_periods=1).mean()
            axes.plot(x, loss, color=TINTS[keep], lw=0.8, alpha=0.3)
            axes.plot(x, smooth, color=TINTS[keep], lw=2, label=f"{keep:.0%} of the cells".replace("%", " %"))
        axes.set(xlabel=label, xlim=(0, None))
        axes.ticklabel_format(axis="x", scilimits=(-3, 6))
    panels[0].set_ylabel("training loss (nats)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def compared(runs: Runs) -> pd.DataFrame:
    """The runs at equal iterations and at equal numbers of images: mean loss ± standard error, over the last fifth.

    Equal iterations are those of the shortest run; equal images those of the run that saw fewest.
    """
    steps, images = _common(runs)
    rows = {
        f"{100 * keep:g} %": {
            "batch": run.recipe["batch_size"],
            "iterations": f"{_points(run, 'step')[-1]:.0f}",
            "images": run.images_seen,
            f"loss at {steps:.0f} iterations": _plus_minus(level(run, "step", steps)),
            f"loss at {images:.0f} images": _plus_minus(level(run, "images", images)),
        }
        for keep, run in runs.items()
    }
    return pd.DataFrame(rows).T.rename_axis("kept")


def level(run: Record, key: str, end: float) -> tuple[float, float]:
    """The mean of the recorded losses in the last fifth before ``end`` (in steps or images, as ``key`` says), and its
    standard error, from the scatter of the points. Raises ValueError where fewer than three points lie there."""
    x, loss = _points(run, key), _points(run, "loss")
    part = loss[(x > (1 - LAST) * end) & (x <= end)]
    if len(part) < 3:
        raise ValueError(f"{run.file_name}: {len(part)} points of the curve in the last fifth before {end:g} {key}")
    return float(part.mean()), float(part.std(ddof=1) / math.sqrt(len(part)))


def conclusions(runs: Runs) -> str:
    """What the runs say, as Markdown: each sampled run against whole images, at equal iterations and equal images."""
    if 1.0 not in runs or len(runs) < 2:
        return "The comparison needs whole images and at least one sampled run; it is **not run**."
    steps, images = _common(runs)
    lines = []
    for key, end, what in (("step", steps, "iterations"), ("images", images, "images")):
        whole = level(runs[1.0], key, end)
        said = [f"{100 * keep:g} % {_against(level(run, key, end), whole)}" for keep, run in runs.items() if keep < 1]
        lines.append(f"- **After {end:.0f} {what}**, compared with whole images: " + "; ".join(said) + ".")
    return "\n".join(lines)


def control(records: Sequence[Record], runs: Runs, seed: int = 0) -> str:
    """The run with a quarter of the cells against that with all of them in batches as large, as Markdown."""
    whole = next((r for r in records if (r.experiment, r.seed) == (CONTROL, seed)), None)
    if whole is None or 0.25 not in runs:
        return f"The control is **not run**: `python -m fcn train {CONTROL}`."
    steps, _ = _common({1.0: whole, 0.25: runs[0.25]})
    found = level(whole, "step", steps), level(runs[0.25], "step", steps)
    return (
        f"After {steps:.0f} iterations with batches of {whole.recipe['batch_size']}: all cells "
        f"{_plus_minus(found[0])}, a quarter of them {_plus_minus(found[1])}. "
        f"The quarter {_against(found[1], found[0])}."
    )


def _against(one: tuple[float, float], other: tuple[float, float]) -> str:
    """How a loss lies to another, each with its standard error."""
    difference, error = one[0] - other[0], math.hypot(one[1], other[1])
    percent = f"{100 * abs(difference) / other[0]:.1f} %"
    if abs(difference) < NOTABLE * error:
        return f"has the same loss within the scatter of the curves (a difference of {percent})"
    return f"has a loss **{percent} {'lower' if difference < 0 else 'higher'}**"


def _common(runs: Runs) -> tuple[float, float]:
    """The iterations and the images that all runs reach."""
    steps, images = (min(_points(run, key)[-1] for run in runs.values()) for key in ("step", "images"))
    return float(steps), float(images)


def _points(run: Record, key: str) -> NDArray[np.float64]:
    return np.array([point[key] for point in run.curve], dtype=float)


def _plus_minus(value: tuple[float, float]) -> str:
    return f"{value[0]:.3f} ± {value[1]:.3f}"


# The live demonstrations


def windows(image: ArrayLike, size: int, stride: int, cells: tuple[int, int]) -> Figure:
    """The windows of ``cells`` (rows, columns) over an image (H x W x 3), and in how many of them each pixel lies."""
    picture = np.asarray(image)
    often = np.zeros(picture.shape[:2], int)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.4))
    style.show(left, picture, "windows of the cells")
    for i in range(cells[0]):
        for j in range(cells[1]):
            often[i * stride : i * stride + size, j * stride : j * stride + size] += 1
            corner = (j * stride - 0.5, i * stride - 0.5)
            left.add_patch(Rectangle(corner, size, size, fill=False, ec="white", lw=0.6, alpha=0.5))
    for i, j in ((0, 0), (cells[0] - 1, cells[1] - 1)):
        corner = (j * stride - 0.5, i * stride - 0.5)
        left.add_patch(Rectangle(corner, size, size, fill=False, ec="#d1495b", lw=2))
    shown = right.imshow(often, cmap="mako", vmin=0)
    right.set_title("windows that hold a pixel")
    right.set_axis_off()
    figure.colorbar(shown, ax=right, shrink=0.85)
    return figure


def noise(
    spread: Mapping[float, float], formula: Mapping[float, float], gradient: Mapping[str, Mapping[float, float]]
) -> Figure:
    """The noise that sampling adds, against the share of cells kept.

    Left, the standard deviation of the sampled loss, relative to the loss (percent): ``spread`` as measured and
    ``formula``. Right, the variance of a batch's gradient relative to that of whole images, for each way of batching.
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
