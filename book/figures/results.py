"""Chapter 12: our scores next to the paper's, and one change at a time."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fcn.replication.claims import SURE, Comparison
from fcn.replication.paper import Row
from fcn.replication.tables import COLUMNS, MEASURED
from figures import style

OUTCOMES = {"higher": style.COLOURS["ours"], "lower": style.COLOURS["paper"], "unclear": style.COLOURS["others"]}


def against_paper(row: Row, ours: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Scores, {experiment: [percent by metric, per seed]}, less a published row, in points; one dot per seed."""
    metrics = [metric for metric in MEASURED if metric in row.metrics]
    figure, axes = plt.subplots(figsize=(7, (0.3 + 0.1 * len(ours)) * len(metrics) + 1.5))
    shades = sns.color_palette("crest", len(ours))
    step = 0.7 / max(len(ours), 1)
    for number, (name, seeds) in enumerate(ours.items()):
        for line, metric in enumerate(metrics):
            x = [values[metric] - row.metrics[metric] for values in seeds if metric in values]
            y = line + step * (number - (len(ours) - 1) / 2)
            label = name if line == 0 else None
            axes.plot(x, [y] * len(x), "o", color=shades[number], markersize=7, alpha=0.85, label=label)
    axes.axvline(0, color=style.COLOURS["paper"], linewidth=1.5, zorder=0)
    axes.set_yticks(range(len(metrics)), [f"{COLUMNS[m]} ({row.metrics[m]:.1f})" for m in metrics])
    axes.set(ylim=(len(metrics) - 0.5, -0.5), xlabel=f"points from {row.table}, {row.label} (its values in brackets)")
    for line in range(1, len(metrics)):
        axes.axhline(line - 0.5, color="0.9", linewidth=0.8, zorder=0)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def one_change(comparisons: Sequence[Comparison]) -> Figure:
    """Effect of each change on its metric, in points, with its confidence interval; coloured by the outcome."""
    figure, axes = plt.subplots(figsize=(7, 0.36 * len(comparisons) + 1.5))
    y = np.arange(len(comparisons))
    for at, one in zip(y, comparisons, strict=True):
        axes.errorbar(one.difference, at, xerr=one.uncertain, fmt="o", color=OUTCOMES[one.outcome], capsize=3)
    axes.axvline(0, color="0.4", linewidth=1, zorder=0)
    axes.set_yticks(y, [one.claim.change for one in comparisons])
    label = f"points with the change less those without (bars: {100 * SURE:.0f} % interval)"
    axes.set(ylim=(len(y) - 0.5, -0.5), xlabel=label)
    axes.grid(axis="x", color="0.9")
    names = {"higher": "higher", "lower": "lower", "unclear": "no difference seen"}
    handles = [Line2D([], [], marker="o", linestyle="", color=OUTCOMES[key], label=text) for key, text in names.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure
