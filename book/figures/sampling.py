"""Section 3.4: Figure 5, windows of patches, and the noise of a sampled loss."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from figure_5 import Runs, curve
from figures import style
from figures.shared import draw_loss

TINTS = {1.0: "#444b54", 0.5: "#b0722b", 0.25: "#1b7f79"}


def curves(runs: Runs) -> Figure:
    """Figure 5: training loss against iterations and against images."""
    figure, panels = plt.subplots(1, 2, figsize=(7, 3.5), sharey=True)
    for axes, key, label in zip(
        panels, ("step", "images"), ("iterations", "images processed"), strict=True
    ):
        for keep, run in runs.items():
            draw_loss(
                axes,
                curve(run, key),
                curve(run, "loss"),
                TINTS[keep],
                f"{100 * keep:g} % of the cells",
            )
        axes.set(xlabel=label, xlim=(0, None))
        axes.ticklabel_format(axis="x", scilimits=(-3, 6))
    panels[0].set_ylabel("training loss (nats)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
    )
    return figure


def windows(image: ArrayLike, size: int, stride: int, cells: tuple[int, int]) -> Figure:
    """Windows of ``cells`` (rows, columns) on an image (H x W x 3), and the number of windows around each pixel."""
    picture = np.asarray(image)
    often = np.zeros(picture.shape[:2], int)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4))
    style.show(left, picture, "windows of the cells")
    for i, j in np.ndindex(cells):
        often[i * stride : i * stride + size, j * stride : j * stride + size] += 1
        marked = (i, j) in ((0, 0), (cells[0] - 1, cells[1] - 1))
        look = (
            {"ec": style.HIGHLIGHT, "lw": 2, "zorder": 2}
            if marked
            else {"ec": "white", "lw": 0.6, "alpha": 0.5}
        )
        left.add_patch(
            Rectangle(
                (j * stride - 0.5, i * stride - 0.5), size, size, fill=False, **look
            )
        )
    shown = style.show(right, often, "windows that hold a pixel", cmap="mako", vmin=0)
    figure.colorbar(shown, ax=right, shrink=0.85)
    return figure


def noise(
    spread: Mapping[float, float],
    formula: Mapping[float, float],
    gradient: Mapping[str, Mapping[float, float]],
) -> Figure:
    """Noise against the share of cells kept: standard deviation of the loss (%), relative variance of the gradient."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4))
    left.plot(
        list(formula), list(formula.values()), color="#9aa0a6", lw=2, label="formula"
    )
    left.plot(
        list(spread), list(spread.values()), "o", color="#1b7f79", label="measured"
    )
    left.set(title="the loss of one batch", ylabel="standard deviation (% of the loss)")
    for (title, values), tint in zip(
        gradient.items(), ("#b0722b", "#1b7f79"), strict=False
    ):
        right.plot(list(values), list(values.values()), "o-", color=tint, label=title)
    right.set(
        title="the gradient of a batch",
        ylabel="variance (whole images = 1)",
        ylim=(0, None),
    )
    for axes in (left, right):
        axes.set(xscale="log", xlabel="share of the cells kept")
        ticks = sorted({*spread, 1.0})
        axes.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
        axes.tick_params(axis="x", labelsize=8)  # "50 %" and "100 %" are neighbours
        axes.minorticks_off()
        axes.legend()
    return figure
