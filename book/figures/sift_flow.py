"""Chapter 6: the data of SIFT Flow, and its results next to the paper's."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from fcn.data.sample import Sample
from fcn.data.sift_flow import GEOMETRIC, GEOMETRY
from fcn.replication.paper import METRICS, Row
from fcn.replication.tables import COLUMNS, MEASURED
from fcn.training.record import Head
from figures import style
from figures.shared import frequency_bars, grouped_bars

GEOMETRIC_PALETTE = np.array(
    [(164, 204, 232), (156, 176, 92), (186, 112, 88)], np.uint8
)  # sky, horizontal, vertical
LINES = {
    **{f"short, {stride}": style.COLOURS[stride] for stride in ("32s", "16s", "8s")},
    "tuned, 8s": style.TUNED,
}


def frequencies(shares: pd.DataFrame) -> Figure:
    """Share of the labelled pixels per class (rows), in percent: bars for column ``train``, dots for ``test``."""
    figure, axes = plt.subplots(figsize=(7, 6.6))
    tints = {
        name: GEOMETRIC_PALETTE[GEOMETRIC.index(place)] / 255
        for name, place in GEOMETRY.items()
    }
    ordered = shares.loc[frequency_bars(axes, shares["train"].to_dict(), tints)]
    for row, (train, test) in enumerate(
        zip(ordered["train"], ordered["test"], strict=True)
    ):
        if test > 0:
            axes.plot(test, row, "o", color="black", markersize=4)
        else:
            axes.text(
                train * 1.15,
                row,
                "absent from the test images",
                va="center",
                fontsize=9,
            )
    axes.set_xlabel("share of the labelled pixels, % (logarithmic)")
    bars = [
        Patch(color=GEOMETRIC_PALETTE[i] / 255, label=f"training, {name}")
        for i, name in enumerate(GEOMETRIC)
    ]
    dot = Line2D(
        [], [], marker="o", linestyle="", color="black", markersize=4, label="test"
    )
    axes.legend(handles=[*bars, dot], loc="lower right")
    return figure


def two_label_sets(
    samples: Sequence[Sample], classes: Sequence[str], palette: style.Palette
) -> Figure:
    """Each sample's photo and its two label maps, with the legends of both heads below."""
    figure, axes = plt.subplots(
        len(samples), 3, figsize=(7.5, 2.5 * len(samples) + 0.9), squeeze=False
    )
    for row, sample in zip(axes, samples, strict=True):
        style.show(row[0], sample.image)
        style.show(row[1], style.colour(sample.labels["semantic"], palette))
        style.show(row[2], style.colour(sample.labels["geometric"], GEOMETRIC_PALETTE))
    for column, title in zip(
        axes[0], ("image", "semantic labels", "geometric labels"), strict=True
    ):
        column.set_title(title)
    present = style.classes_in(*(sample.labels["semantic"] for sample in samples))
    handles = [Patch(color=palette[c] / 255, label=classes[c]) for c in present]
    handles += [Patch(color=np.array(style.VOID_COLOUR) / 255, label="void")]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=4,
        title="semantic",
        alignment="left",
    )
    handles = [
        Patch(color=GEOMETRIC_PALETTE[i] / 255, label=name)
        for i, name in enumerate(GEOMETRIC)
    ]
    figure.legend(
        handles=handles, loc="outside lower right", title="geometric", alignment="left"
    )
    return figure


def table_5(
    published: Sequence[Row], reference: str, ours: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Every number of Table 5 as a dot, one line per metric, with ours, {label of ``LINES``: scores in percent}."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    earlier = {
        "marker": "o",
        "linestyle": "",
        "color": style.COLOURS["others"],
        "markersize": 7,
        "alpha": 0.7,
    }
    paper = {
        "marker": "D",
        "linestyle": "",
        "color": style.COLOURS["paper"],
        "markersize": 7,
    }
    for line, metric in enumerate(MEASURED):
        for row in published:
            if metric in row.metrics:
                axes.plot(
                    row.metrics[metric],
                    -line,
                    **(paper if row.label == reference else earlier),
                )
        for step, (label, values) in enumerate(ours.items(), start=1):
            if metric in values:
                axes.plot(
                    values[metric],
                    -line - 0.16 * step,
                    "o",
                    color=LINES[label],
                    markersize=7,
                )
    axes.set(xlabel="%", ylim=(-len(MEASURED) + 0.45, 0.45))
    axes.set_yticks(-np.arange(len(MEASURED)), [COLUMNS[metric] for metric in MEASURED])
    axes.grid(axis="x", color="0.9")
    handles = [Line2D([], [], label="earlier methods", **earlier)]
    handles += [Line2D([], [], label=f"the paper's {reference}, VGG16", **paper)]
    handles += [
        Line2D([], [], marker="o", linestyle="", color=LINES[label], label=label)
        for label in ours
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def skips(
    published: Mapping[str, Mapping[str, float]],
    ours: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Gain in each metric over the coarsest net, {stride: scores in percent}, coarse to fine: published and ours."""
    figure, panels = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True)
    panels[0].set_title("paper: VGG16, PASCAL VOC")
    panels[1].set_title("this project: GoogLeNet, SIFT Flow")
    for axes, values in zip(panels, (published, ours), strict=True):
        coarsest = values[next(iter(values))]
        for metric, (shade, marker) in zip(METRICS, style.SERIES, strict=False):
            gain = [values[stride][metric] - coarsest[metric] for stride in values]
            axes.plot(
                list(values), gain, f"{marker}-", color=shade, label=COLUMNS[metric]
            )
        axes.set(xlabel="stride of the finest scores", xlim=(-0.3, 2.3))
        axes.grid(axis="y", color="0.9")
    panels[0].set_ylabel("points above FCN-32s")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4
    )
    return figure


def iu_per_class(heads: Mapping[str, Head], shares: pd.Series) -> Figure:
    """IU of each class in the scored images, most frequent at the top, one bar for each of ``heads``."""
    first = next(iter(heads.values()))
    present = {
        name
        for name, iu in zip(first.classes, first.iu_per_class, strict=True)
        if iu is not None
    }
    names = [
        name for name in shares.sort_values(ascending=False).index if name in present
    ]
    figure, axes = plt.subplots(figsize=(7, 7.2))
    order = [first.classes.index(name) for name in names]
    grouped_bars(
        axes.barh,
        {
            label: [head.iu_per_class[c] or 0.0 for c in order]
            for label, head in heads.items()
        },
        LINES,
    )
    for label, head in heads.items():
        axes.axvline(
            head.metrics.mean_iu, color=LINES[label], linewidth=1, linestyle="--"
        )
    percent = {
        name: f"{share:.2g} %" if share >= 0.01 else "< 0.01 %"
        for name, share in shares.items()
    }
    axes.set_yticks(
        np.arange(len(names)), [f"{name}  {percent[name]}" for name in names]
    )
    axes.set(
        xlabel="IU, % (dashed: the mean)", xlim=(0, 100), ylim=(len(names) - 0.4, -0.6)
    )
    axes.legend(loc="lower right")
    return figure
