"""Figures of the SIFT Flow chapter: the data, the recorded runs, predictions."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from figures import style
from figures.photos import resized
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from torch import Tensor

from fcn.data.sample import Sample
from fcn.data.sift_flow import GEOMETRIC, GEOMETRY, SEMANTIC
from fcn.models import FCN
from fcn.replication.paper import METRICS, Row
from fcn.replication.tables import COLUMNS, MEASURED
from fcn.training.record import Head, Record

GEOMETRIC_PALETTE = np.array([(164, 204, 232), (156, 176, 92), (186, 112, 88)], np.uint8)  # sky, horizontal, vertical
TUNED = "#8c3b6b"


# The data


def frequencies(shares: pd.DataFrame) -> Figure:
    """The share of the labelled pixels of each class, in percent: a bar for the training images, a dot for the test
    images. ``shares`` has the index SEMANTIC and the columns ``train`` and ``test``."""
    ordered = shares.sort_values("train")
    colours = [GEOMETRIC_PALETTE[GEOMETRIC.index(GEOMETRY[name])] / 255 for name in ordered.index]
    figure, axes = plt.subplots(figsize=(7, 6.6))
    rows = np.arange(len(ordered))
    axes.barh(rows, ordered["train"], color=colours, height=0.72)
    present = ordered["test"].to_numpy() > 0
    axes.plot(ordered["test"][present], rows[present], "o", color="black", markersize=4)
    axes.set(xscale="log", xlabel="share of the labelled pixels, % (logarithmic)", ylim=(-0.7, len(rows) - 0.3))
    axes.set_yticks(rows, ordered.index)
    for row, here in zip(rows, present, strict=True):
        if not here:
            axes.text(
                ordered["train"].iloc[row] * 1.15, float(row), "absent from the test images", va="center", fontsize=9
            )
    bars = [Patch(color=GEOMETRIC_PALETTE[i] / 255, label=f"training, {name}") for i, name in enumerate(GEOMETRIC)]
    dot = Line2D([], [], marker="o", linestyle="", color="black", markersize=4, label="test")
    axes.legend(handles=[*bars, dot], loc="lower right")
    return figure


def two_label_sets(samples: Sequence[Sample], classes: Sequence[str], palette: NDArray[np.uint8]) -> Figure:
    """Each sample's photo and its two label maps side by side, with the legends of both heads below."""
    figure, axes = plt.subplots(len(samples), 3, figsize=(7.5, 2.5 * len(samples) + 0.9), squeeze=False)
    for row, sample in zip(axes, samples, strict=True):
        semantic, geometric = sample.labels["semantic"], sample.labels["geometric"]
        style.show(row[0], sample.image)
        style.show(row[1], style.colour(semantic, palette))
        style.show(row[2], style.colour(geometric, GEOMETRIC_PALETTE))
    for column, title in zip(axes[0], ("image", "semantic labels", "geometric labels"), strict=True):
        column.set_title(title)
    present = sorted({c for s in samples for c in s.labels["semantic"].unique().tolist()} - {255})
    handles = [Patch(color=palette[c] / 255, label=classes[c]) for c in present]
    handles += [Patch(color=style.colour(np.array([[255]]), palette)[0, 0] / 255, label="void")]
    figure.legend(handles=handles, loc="outside lower left", ncols=4, title="semantic", alignment="left")
    handles = [Patch(color=GEOMETRIC_PALETTE[i] / 255, label=name) for i, name in enumerate(GEOMETRIC)]
    figure.legend(handles=handles, loc="outside lower right", title="geometric", alignment="left")
    return figure


# The runs


def loss_curves(staged: Mapping[str, Record], tuned: Record | None) -> Figure:
    """The training loss against images seen; ``staged`` maps "32s", "16s" and "8s" to their runs, drawn one after
    the other, since each went on from the one before. Thin: as recorded; bold: a running mean."""
    figure, axes = plt.subplots(figsize=(7, 3.8))
    before, top = 0.0, 0.0
    for stride, record in staged.items():
        x, y = _points(record)
        axes.plot(x + before, y, color=style.COLOURS[stride], linewidth=0.6, alpha=0.45)
        axes.plot(x + before, _running_mean(y), color=style.COLOURS[stride], linewidth=2, label=f"short, {stride}")
        before += record.images_seen
        top = max(top, np.quantile(y, 0.98))
        axes.axvline(before, color="0.8", linewidth=0.8, zorder=0)
    if tuned is not None:
        x, y = _points(tuned)
        axes.plot(x, y, color=TUNED, linewidth=0.6, alpha=0.45)
        axes.plot(x, _running_mean(y), color=TUNED, linewidth=2, label="tuned, 8s at once")
        top = max(top, np.quantile(y, 0.98))
    axes.set(xlabel="images seen", ylabel="loss of both heads, nats a pixel", xlim=(0, None), ylim=(0, 1.05 * top))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend()
    return figure


def _points(record: Record) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array([p["images"] for p in record.curve]), np.array([p["loss"] for p in record.curve])


def _running_mean(y: NDArray[np.float64], points: int = 9) -> NDArray[np.float64]:
    """The mean over ``points`` neighbours, over fewer at the ends."""
    return pd.Series(y).rolling(points, center=True, min_periods=1).mean().to_numpy()


def side_by_side(published: Sequence[Row], reference: str, ours: Mapping[str, Mapping[str, float]]) -> Figure:
    """Every number of a table as a dot, a line for each metric: earlier methods grey, the row ``reference`` of the
    paper a diamond, and ours, {label: scores in percent}."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    colours = dict(zip(ours, (style.COLOURS["8s"], TUNED), strict=False))
    for line, metric in enumerate(MEASURED):
        for row in published:
            if metric in row.metrics:
                look = {"marker": "D", "color": style.COLOURS["paper"]} if row.label == reference else {
                    "marker": "o", "color": style.COLOURS["others"], "alpha": 0.7}  # fmt: skip
                axes.plot(row.metrics[metric], -line, markersize=7, linestyle="", **look)
        for step, (label, values) in enumerate(ours.items(), start=1):
            if metric in values:
                axes.plot(values[metric], -line - 0.16 * step, "o", color=colours[label], markersize=7)
    axes.set(xlabel="%", ylim=(-len(MEASURED) + 0.45, 0.45))
    axes.set_yticks(-np.arange(len(MEASURED)), [COLUMNS[metric] for metric in MEASURED])
    axes.grid(axis="x", color="0.9")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=style.COLOURS["others"], label="earlier methods"),
        Line2D([], [], marker="D", linestyle="", color=style.COLOURS["paper"], label=f"the paper's {reference}, VGG16"),
        *(Line2D([], [], marker="o", linestyle="", color=colours[label], label=label) for label in ours),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure


def skips(published: Mapping[str, Mapping[str, float]], ours: Mapping[str, Mapping[str, float]]) -> Figure:
    """What each metric gains over the coarsest net, {stride: scores in percent, coarse to fine}: left as published on
    PASCAL VOC, right as recorded on SIFT Flow."""
    figure, panels = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True)
    panels[0].set_title("paper: VGG16, PASCAL VOC")
    panels[1].set_title("this project: GoogLeNet, SIFT Flow")
    for axes, values in zip(panels, (published, ours), strict=True):
        coarsest = values[next(iter(values))]
        for metric, shade in zip(METRICS, ("#1b7f79", "#b0722b", "#8c3b6b", "#444b54"), strict=True):
            gain = [values[stride][metric] - coarsest[metric] for stride in values]
            axes.plot(list(values), gain, "o-", color=shade, label=COLUMNS[metric])
        axes.set(xlabel="stride of the finest scores", xlim=(-0.3, 2.3))
        axes.grid(axis="y", color="0.9")
    panels[0].set_ylabel("points above FCN-32s")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def iu_per_class(heads: Mapping[str, Head], shares: pd.Series) -> Figure:
    """The IU of each class that the scored images hold, most frequent class above, a bar for each of ``heads``."""
    first = next(iter(heads.values()))
    present = {name for name, iu in zip(first.classes, first.metrics.iu_per_class, strict=True) if iu is not None}
    names = [name for name in shares.sort_values(ascending=False).index if name in present]
    figure, axes = plt.subplots(figsize=(7, 7.2))
    thick = 0.8 / len(heads)
    for step, (label, head) in enumerate(heads.items()):
        iu = dict(zip(head.classes, head.metrics.iu_per_class, strict=True))
        at = np.arange(len(names)) + thick * (step - (len(heads) - 1) / 2)
        colour = TUNED if step else style.COLOURS["8s"]
        axes.barh(at, [iu[name] or 0.0 for name in names], height=thick, color=colour, label=label)
        axes.axvline(head.metrics.mean_iu, color=colour, linewidth=1, linestyle="--")
    axes.set_yticks(np.arange(len(names)), [f"{name}  {_percent(shares[name])}" for name in names])
    axes.set(xlabel="IU, % (dashed: the mean)", xlim=(0, 100), ylim=(len(names) - 0.4, -0.6))
    axes.legend(loc="lower right")
    return figure


def confusion(head: Head, shares: pd.Series) -> Figure:
    """The confusion matrix of the classes present, each row divided by its sum, most frequent class first."""
    matrix = np.array(head.confusion_matrix, dtype=float)
    order = [head.classes.index(name) for name in shares.sort_values(ascending=False).index]
    rows = [c for c in order if matrix[c].sum() > 0]
    part = 100 * matrix[np.ix_(rows, order)] / matrix[rows].sum(1, keepdims=True)
    figure, axes = plt.subplots(figsize=(8, 8.4))
    picture = axes.imshow(part, cmap="rocket_r", vmin=0, vmax=100)
    axes.set_yticks(range(len(rows)), [head.classes[c] for c in rows])
    axes.set_xticks(range(len(order)), [head.classes[c] for c in order], rotation=90)
    axes.set(xlabel="predicted class", ylabel="true class (frequent above, rare below)")
    for y, x in zip(*np.nonzero(part >= 20), strict=True):
        axes.text(x, y, f"{part[y, x]:.0f}", ha="center", va="center", fontsize=9,
                  color="white" if part[y, x] > 50 else "black")  # fmt: skip
    figure.colorbar(picture, label="% of the class's pixels", location="top", shrink=0.4, aspect=30, pad=0.01)
    return figure


# Predictions


@torch.no_grad()
def probabilities(net: FCN, photo: Tensor, side: int = 512) -> dict[str, Tensor]:
    """{head: C x h x w} softmax probabilities of a photo, 1 x 3 x H x W, RGB in 0..1; its longer side is reduced to
    ``side`` pixels where it is longer."""
    if max(photo.shape[-2:]) > side:
        scale = side / max(photo.shape[-2:])
        photo = resized(photo, (round(photo.shape[-2] * scale), round(photo.shape[-1] * scale)))
    return {head: scores[0].softmax(0) for head, scores in net(photo).items()}


def predictions(
    photos: Mapping[str, Tensor], found: Mapping[str, Mapping[str, Tensor]], palette: NDArray[np.uint8]
) -> Figure:
    """For each photo (1 x 3 x H x W): itself, its semantic classes, its geometry, and the probability of the class
    chosen; ``found`` holds what ``probabilities`` returned."""
    tall = [image.shape[-2] / image.shape[-1] for image in photos.values()]
    figure = plt.figure(figsize=(8, sum(2 * t for t in tall) + 0.5 * len(photos)))
    strips = figure.subfigures(len(photos), 1, height_ratios=[t + 0.25 for t in tall], squeeze=False)[:, 0]
    for strip, (name, image) in zip(strips, photos.items(), strict=True):
        axes = strip.subplots(1, 4)
        certain, semantic = found[name]["semantic"].max(0)
        style.show(axes[0], image[0], name)
        style.show(axes[1], style.colour(semantic, palette), "semantic")
        style.show(axes[2], style.colour(found[name]["geometric"].argmax(0), GEOMETRIC_PALETTE), "geometric")
        style.probability(axes[3], certain)
        style.largest_classes(strip, semantic, SEMANTIC, palette)
    return figure


def _percent(share: float) -> str:
    return f"{share:.2g} %" if share >= 0.01 else "< 0.01 %"
