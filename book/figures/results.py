"""Chapter 12: our scores next to the paper's, and one change at a time."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fcn.replication.claims import MARGINS, Claim, Comparison
from fcn.replication.paper import Row
from fcn.replication.tables import COLUMNS, MEASURED
from figures import style


def against_paper(
    row: Row, ours: Mapping[str, Sequence[Mapping[str, float]]]
) -> Figure:
    """Scores, {experiment: [percent by metric, per seed]}, less a published row, in points; one dot per seed."""
    metrics = [metric for metric in MEASURED if metric in row.metrics]
    figure, axes = plt.subplots(
        figsize=(7, (0.3 + 0.1 * len(ours)) * len(metrics) + 1.5)
    )
    step = 0.7 / max(len(ours), 1)
    for number, (name, seeds) in enumerate(ours.items()):
        for line, metric in enumerate(metrics):
            x = [
                values[metric] - row.metrics[metric]
                for values in seeds
                if metric in values
            ]
            y = line + step * (number - (len(ours) - 1) / 2)
            label = name if line == 0 else None
            tint, marker = style.SERIES[number % len(style.SERIES)]
            axes.plot(x, [y] * len(x), marker, color=tint, markersize=7, label=label)
    axes.axvline(0, color=style.COLOURS["paper"], linewidth=1.5, zorder=0)
    axes.set_yticks(
        range(len(metrics)), [f"{COLUMNS[m]} ({row.metrics[m]:.1f})" for m in metrics]
    )
    axes.set(
        ylim=(len(metrics) - 0.5, -0.5),
        xlabel=f"points from {row.table}, {row.label} (its values in brackets)",
    )
    for line in range(1, len(metrics)):
        axes.axhline(line - 0.5, color="0.9", linewidth=0.8, zorder=0)
    figure.legend(loc="outside upper left", ncols=2)
    return figure


def one_change(comparisons: Sequence[Comparison]) -> Figure:
    """The effect of each change on its metric, in points, and where the paper puts it.

    A bar is the corrected confidence interval, which needs several seeds on both sides. Dots are
    filled where there is a verdict.
    """
    figure, axes = plt.subplots(figsize=(7.6, 0.36 * len(comparisons) + 1.7))
    ends = [one.difference + s * one.uncertain for one in comparisons for s in (-1, 1)]
    seen = [one.difference for one in comparisons]
    known = [one.claim.effect or 0.0 for one in comparisons]
    end = 1.05 * max(2.0, *(abs(x) for x in [*ends, *seen, *known] if math.isfinite(x)))
    for y, one in enumerate(comparisons):
        if one.claim.effect is None or one.claim.expected in ("same", "not higher"):
            low, high = _band(one.claim, end)
            axes.barh(
                y,
                high - low,
                0.8,
                low,
                color=style.COLOURS["paper"],
                alpha=0.2,
                zorder=0,
            )
        if one.claim.effect is not None:
            axes.plot(
                one.claim.effect, y, "D", color=style.COLOURS["paper"], markersize=6
            )
        ours = style.COLOURS["ours"]
        face = "white" if one.verdict.startswith("too early") else ours
        bar = one.uncertain if math.isfinite(one.uncertain) else None
        axes.errorbar(
            one.difference,
            y,
            xerr=bar,
            fmt="o",
            color=ours,
            markerfacecolor=face,
            capsize=3,
        )
    axes.axvline(0, color="0.4", linewidth=1, zorder=0)
    axes.set_yticks(range(len(comparisons)), [one.claim.change for one in comparisons])
    axes.set(xlim=(-end, end), ylim=(len(comparisons) - 0.5, -0.5))
    axes.set_xlabel("points with the change minus those without")
    axes.grid(axis="x", color="0.9")
    figure.legend(handles=_keys(), loc="outside upper left", ncols=2)
    return figure


def _band(claim: Claim, end: float) -> tuple[float, float]:
    """The differences that agree with a claim, in points, up to ``end``."""
    if claim.expected in ("same", "not higher"):
        margin = MARGINS[claim.metric]
        return (-margin if claim.expected == "same" else -end), margin
    return (0, end) if claim.expected == "higher" else (-end, 0)


def _keys() -> list[Line2D | Patch]:
    ours, paper = style.COLOURS["ours"], style.COLOURS["paper"]
    dot = {"marker": "o", "linestyle": "", "color": ours}
    return [
        Line2D([], [], markerfacecolor="white", label="here, too early to tell", **dot),
        Line2D([], [], label="here, with a verdict", **dot),
        Line2D(
            [], [], marker="D", linestyle="", color=paper, label="the paper's number"
        ),
        Patch(color=paper, alpha=0.2, label="where the paper's words put it"),
    ]


def coverage(frame: pd.DataFrame) -> Figure:
    """Experiments by table of the paper: how many have a record (``tables.coverage``)."""
    rows = frame.drop(index="all")
    figure, axes = plt.subplots(figsize=(7.6, 0.36 * len(rows) + 1.0))
    axes.barh(rows.index, rows["experiments"], color="0.9", label="not run")
    axes.barh(
        rows.index,
        rows["recorded"],
        color=style.COLOURS["ours"],
        label="with a final run",
    )
    for y, (_, row) in enumerate(rows.iterrows()):
        label = f"  {row['recorded']} of {row['experiments']}"
        axes.text(row["experiments"], y, label, va="center", fontsize="small")
    axes.set(xlabel="experiments", xlim=(0, 1.12 * rows["experiments"].max()))
    axes.invert_yaxis()
    figure.legend(loc="outside upper left", ncols=2)
    return figure
