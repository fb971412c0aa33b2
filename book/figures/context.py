"""Chapter 9: PASCAL-Context's classes and tasks, its published results, and what a small net makes of a toy of it."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from figures.style import COLOURS
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

_TASKS = ("#1b7f79", "#8cbdb6", "#e3e6e8")  # in both tasks, in that of 59 alone, in neither


def waffle(in_both: int, in_first: int, of_all: int) -> Figure:
    """A square a class: those ``in_both`` tasks, those ``in_first`` alone, and the rest ``of_all``."""
    columns = 27
    shades = np.repeat([0, 1, 2], [in_both, in_first, of_all - in_both - in_first]).astype(float)
    grid = np.full(-(-of_all // columns) * columns, np.nan)
    grid[:of_all] = shades
    figure, axes = plt.subplots(figsize=(6.4, 3.9))
    axes.pcolormesh(
        grid.reshape(-1, columns)[::-1], cmap=ListedColormap(_TASKS), vmin=-0.5, vmax=2.5, edgecolor="white", lw=2
    )
    axes.set_aspect("equal")
    axes.set_axis_off()
    names = ("in the tasks of 59 and 33", "in that of 59 alone", "background in both")
    counts = (in_both, in_first, of_all - in_both - in_first)
    keys = [Patch(color=c, label=f"{n}: {k}") for c, n, k in zip(_TASKS, names, counts, strict=True)]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, columnspacing=1)
    return figure


def table_6(rows: Mapping[str, Sequence[tuple[str, float]]]) -> Figure:
    """Mean IU by task: for each its rows (label, percent), the FCNs in the paper's colour, others grey."""
    figure, panels = plt.subplots(1, len(rows), figsize=(7.6, 2.9), sharex=True)
    for axes, (task, values) in zip(panels, rows.items(), strict=True):
        places = np.arange(len(values))[::-1]
        tints = [COLOURS["paper"] if label.startswith("FCN") else COLOURS["others"] for label, _ in values]
        axes.barh(places, [value for _, value in values], color=tints, height=0.62)
        for place, (_, value) in zip(places, values, strict=True):
            axes.text(value + 0.8, place, f"{value:.1f}", va="center", fontsize=9)
        axes.set_yticks(places, [label for label, _ in values])
        axes.tick_params(axis="y", length=0)
        axes.set(title=task, xlabel="mean IU (%)", xlim=(0, 64))
    return figure


def frequencies(shares: Mapping[str, float], tints: Mapping[str, str], kinds: Mapping[str, str]) -> Figure:
    """The share of the pixels of each class, in percent, on a logarithmic axis; ``kinds`` says what each class is and
    ``tints`` the colour of that."""
    ordered = sorted(shares, key=lambda name: shares[name])
    figure, axes = plt.subplots(figsize=(6.6, 0.3 * len(ordered) + 1))
    places = np.arange(len(ordered))
    axes.barh(places, [shares[name] for name in ordered], color=[tints[kinds[name]] for name in ordered], height=0.7)
    axes.set_yticks(places, ordered)
    axes.set(xscale="log", xlabel="share of the pixels, % (logarithmic)")
    axes.tick_params(axis="y", length=0)
    axes.legend(handles=[Patch(color=tint, label=kind) for kind, tint in tints.items()], loc="lower right")
    return figure
