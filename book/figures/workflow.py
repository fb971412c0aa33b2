"""Chapter 12: the replication as a graph, from the catalogue."""

from collections.abc import Collection, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fcn.replication.experiment import Experiment
from figures.style import COLOURS, FAINT, INK

BANDS = {
    "sift-flow": ("SIFT Flow", "chapters 6, 11, 12, 15"),
    "voc": ("PASCAL VOC", "chapter 7"),
    "nyud": ("NYUDv2", "chapter 8"),
    "pascal-context": ("PASCAL-Context", "chapter 9"),
    "scenes": ("Scenes", "chapter 12"),
}
"""Data sets by the beginning of their names: title, and the chapters with their results."""
PER_ROW = 9  # runs that nothing starts from, in one row of dots
Place = tuple[float, float]


def places(
    experiments: Sequence[Experiment],
) -> tuple[dict[str, Place], dict[str, tuple[float, float]]]:
    """The dot of each experiment, (column, row), and the first and the last row of each band.

    A chain of stages runs from left to right, one column per stage, each branch on a row of its own. The
    experiments without stages are dots in rows below.
    """
    at: dict[str, Place] = {}
    bands: dict[str, tuple[float, float]] = {}
    row = 0.0
    for band in BANDS:
        first, own = row, [e for e in experiments if e.dataset.startswith(band)]
        starts = {name for e in own for name in e.start}
        singles = [e for e in own if not e.start and e.name not in starts]
        for root in (e for e in own if not e.start and e.name in starts):
            row = _branch(root.name, own, 0, row, at)
        for index, single in enumerate(singles):
            at[single.name] = (index % PER_ROW / 11, row + index // PER_ROW)
        row += -(-len(singles) // PER_ROW)
        bands[band] = (first, row - 1)
        row += 1
    return at, bands


def _branch(
    name: str,
    own: Sequence[Experiment],
    column: float,
    row: float,
    at: dict[str, Place],
) -> float:
    """Place an experiment and what starts from it; returns the next free row."""
    at[name] = (column, row)
    following = [e.name for e in own if name in e.start and e.name not in at]
    for child in following:
        row = _branch(child, own, column + 1, row, at)
    return row if following else row + 1


def graph(experiments: Sequence[Experiment], recorded: Collection[str]) -> Figure:
    """One dot per experiment, filled if its name is in ``recorded``; lines lead to the nets that start from it."""
    at, bands = places(experiments)
    rows = max(last for _, last in bands.values()) + 1
    figure, axes = plt.subplots(figsize=(7, 0.17 * rows + 0.9))
    for e in experiments:
        x, y = at[e.name]
        for start in e.start:
            axes.plot([at[start][0], x], [at[start][1], y], color=FAINT, lw=1, zorder=1)
        face = COLOURS["ours"] if e.name in recorded else "white"
        axes.scatter(
            x, y, s=42, facecolor=face, edgecolor=COLOURS["ours"], lw=1.2, zorder=2
        )
    for band, (first, last) in bands.items():
        title, chapters = BANDS[band]
        own = [e.name for e in experiments if e.dataset.startswith(band)]
        done = sum(name in recorded for name in own)
        text = f"{title}\n{done} of {len(own)}"
        axes.text(
            -0.35,
            (first + last) / 2,
            text,
            ha="right",
            va="center",
            fontsize=10,
            color=INK,
        )
        axes.text(
            2.35, (first + last) / 2, chapters, va="center", fontsize=10, color=INK
        )
        for x in (-0.22, 2.22):
            axes.plot([x, x], [first - 0.3, last + 0.3], color=INK, lw=1.5)
    for x, title in (
        (-0.35, "data and weights"),
        (0.4, "first stage"),
        (1, "second"),
        (2, "third"),
        (2.35, "records in"),
    ):
        aligned = {-0.35: "right", 2.35: "left"}.get(x, "center")
        axes.text(x, -1.3, title, ha=aligned, fontsize=10, color=FAINT)
    keys = [("with a record", COLOURS["ours"]), ("not run", "white")]
    dots = [
        Line2D(
            [],
            [],
            ls="",
            marker="o",
            color=COLOURS["ours"],
            markerfacecolor=face,
            label=label,
        )
        for label, face in keys
    ]
    figure.legend(handles=dots, loc="outside lower center", ncols=2)
    axes.set(xlim=(-1.3, 3.0), ylim=(rows, -1.8))
    axes.set_axis_off()
    return figure
