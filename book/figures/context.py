"""Chapter 9: PASCAL-Context's classes and tasks, its published results, class frequencies."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from figures.shared import frequency_bars, score_bars

_TASKS = (
    "#1b7f79",
    "#8cbdb6",
    "#e3e6e8",
)  # in both tasks, in that of 59 alone, in neither


def waffle(in_both: int, in_first: int, of_all: int) -> Figure:
    """One square per class: those ``in_both`` tasks, those ``in_first`` alone, and the rest ``of_all``."""
    columns = 27
    counts = (in_both, in_first, of_all - in_both - in_first)
    grid = np.full(-(-of_all // columns) * columns, np.nan)
    grid[:of_all] = np.repeat([0.0, 1, 2], counts)
    figure, axes = plt.subplots(figsize=(6.4, 3.9))
    squares = grid.reshape(-1, columns)[::-1]
    axes.pcolormesh(
        squares,
        cmap=ListedColormap(_TASKS),
        vmin=-0.5,
        vmax=2.5,
        edgecolor="white",
        lw=2,
    )
    axes.set_aspect("equal")
    axes.set_axis_off()
    names = (
        "in the tasks of 59 and 33",
        "in the task of 59 only",
        "background in both",
    )
    keys = [
        Patch(color=c, label=f"{n}: {k}")
        for c, n, k in zip(_TASKS, names, counts, strict=True)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, columnspacing=1)
    return figure


def table_6(rows: Mapping[str, Sequence[tuple[str, float]]]) -> Figure:
    """Mean IU by task: {task: [(label, percent), ...]}."""
    figure, panels = plt.subplots(1, len(rows), figsize=(7, 2.9), sharex=True)
    for axes, (task, values) in zip(panels, rows.items(), strict=True):
        score_bars(axes, values)
        axes.set(title=task, xlabel="mean IU (%)", xlim=(0, 64))
    return figure


def frequencies(
    shares: Mapping[str, float], tints: Mapping[str, str], kinds: Mapping[str, str]
) -> Figure:
    """Share of the pixels per class in percent (logarithmic); ``tints`` by kind, ``kinds`` by class."""
    figure, axes = plt.subplots(figsize=(6.6, 0.3 * len(shares) + 1))
    frequency_bars(axes, shares, {name: tints[kinds[name]] for name in shares})
    axes.set_xlabel("share of the pixels, % (logarithmic)")
    axes.legend(
        handles=[Patch(color=tint, label=kind) for kind, tint in tints.items()],
        loc="lower right",
    )
    return figure
