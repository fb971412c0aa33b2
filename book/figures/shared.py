"""Figures and tables that several chapters share, and numbers for their sentences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from myst_nb import glue
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from figures import style
from figures.style import Image, Names, Palette
from photos import resized


def glue_values(**values: float | str) -> None:
    """Glue numbers (6 digits) and text for the roles ``{glue:text}`` of a chapter's prose; nothing is displayed."""
    for name, value in values.items():
        glue(
            name,
            value if isinstance(value, str) else float(f"{value:.6g}"),
            display=False,
        )


def points(one: float, other: float) -> float:
    """``one`` - ``other`` in points, from the two percentages as printed with one decimal."""
    return round(round(one, 1) - round(other, 1), 1) + 0.0  # never -0.0


def apart(values: Sequence[float], least: float) -> list[float]:
    """The values moved apart until neighbours differ by at least ``least``; their order is kept."""
    order = np.argsort(values, kind="stable")
    placed = np.asarray(values, float)[order]
    for _ in range(200):
        for i in range(len(placed) - 1):
            if (short := least - (placed[i + 1] - placed[i])) > 0:
                placed[i] -= short / 2
                placed[i + 1] += short / 2
    moved = np.empty(len(values))
    moved[order] = placed
    return moved.tolist()


def running_mean(values: ArrayLike, width: int = 9) -> NDArray[np.float64]:
    """Mean over ``width`` neighbours, over fewer at the ends."""
    return (
        pd.Series(np.asarray(values, float))
        .rolling(width, center=True, min_periods=1)
        .mean()
        .to_numpy()
    )


def draw_loss(
    axes: Axes, x: ArrayLike, loss: ArrayLike, tint: str, label: str | None = None
) -> None:
    """A loss curve, thin, and its running mean, bold."""
    axes.plot(x, loss, color=tint, lw=0.8, alpha=0.3)
    axes.plot(x, running_mean(loss), color=tint, lw=2, label=label)


def losses(
    runs: Mapping[str, Sequence[tuple[int, Sequence[Mapping[str, float]]]]],
    tints: Mapping[str, str],
    ylabel: str,
) -> Figure:
    """Training loss against images seen, {label: [(images seen before, curve), ...]}; grey: start of a later stage."""
    figure, axes = plt.subplots(figsize=(7, 3.8))
    top = 0.0
    for label, stages in runs.items():
        for i, (before, points_of) in enumerate(stages):
            loss = [point["loss"] for point in points_of]
            seen = [before + point["images"] for point in points_of]
            draw_loss(axes, seen, loss, tints[label], None if i else label)
            top = max(top, float(np.quantile(loss, 0.98)))
            if before:
                axes.axvline(before, color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="images seen", ylabel=ylabel, xlim=(0, None), ylim=(0, 1.05 * top))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    return figure


def score_bars(axes: Axes, rows: Sequence[tuple[str, float]]) -> None:
    """Bars of published scores (label, percent) from top to bottom: FCNs in the paper's colour, others grey."""
    places = range(len(rows) - 1, -1, -1)
    labels, values = zip(*rows, strict=True)
    tints = [
        style.COLOURS["paper" if label.startswith("FCN") else "others"]
        for label in labels
    ]
    bars = axes.barh(places, values, color=tints, height=0.62)
    axes.bar_label(bars, fmt="{:.1f}", padding=2, fontsize=9)
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1)


def grouped_bars(
    draw: Callable[..., Any],
    groups: Mapping[str, Sequence[float]],
    tints: Mapping[str, str],
) -> None:
    """Bars of several values per place, one colour per group; ``draw`` is the method ``bar`` or ``barh`` of axes."""
    thick = 0.8 / len(groups)
    for i, (label, values) in enumerate(groups.items()):
        at = np.arange(len(values)) + thick * (i - (len(groups) - 1) / 2)
        draw(at, values, thick, color=tints[label], label=label)


def frequency_bars(
    axes: Axes, shares: Mapping[str, float], tints: Mapping[str, Any]
) -> list[str]:
    """Bars of the share of the pixels per class, in percent (logarithmic); returns the classes, rarest first."""
    ordered = sorted(shares, key=lambda name: shares[name])
    axes.barh(
        range(len(ordered)),
        [shares[n] for n in ordered],
        color=[tints[n] for n in ordered],
        height=0.72,
    )
    axes.set_yticks(range(len(ordered)), ordered)
    axes.tick_params(axis="y", length=0)
    axes.set(xscale="log", ylim=(-0.7, len(ordered) - 0.3))
    return ordered


def per_class(
    columns: Mapping[str, Sequence[float | None]],
    names: Names,
    tints: Mapping[str, str],
    label: str = "IU (%)",
) -> Figure:
    """IU per class, one dot for each of ``columns``, sorted by the last one, with the mean at the top."""
    rows = {
        name: [values[i] for values in columns.values()] for i, name in enumerate(names)
    }
    counted = {
        name: [float(v) for v in row if v is not None]
        for name, row in rows.items()
        if None not in row
    }
    order = sorted(counted, key=lambda name: counted[name][-1])
    table = np.array(
        [*(counted[name] for name in order), np.mean([*counted.values()], 0)]
    )
    heights = np.arange(len(table)) + (np.arange(len(table)) == len(order)) * 0.4
    figure, axes = plt.subplots(figsize=(6.4, 0.33 * len(table) + 1.1))
    axes.hlines(heights, table.min(1), table.max(1), color="#d5d8db", lw=3, zorder=1)
    for i, title in enumerate(columns):
        axes.scatter(
            table[:, i], heights, s=52, color=tints[title], label=title, zorder=2 + i
        )
    axes.set_yticks(heights, [*order, "mean IU"])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set(xlabel=label, xlim=(-2, 102))
    axes.grid(axis="x", color="#eceeef")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(columns), handletextpad=0.1)
    return figure


def confusion(
    matrix: NDArray[np.integer],
    names: Names,
    order: Sequence[int] | None = None,
    least: float = 0.5,
) -> Figure:
    """Confusion in percent of the true class; columns are the classes in ``order``, rows those with a pixel."""
    columns = list(range(len(names))) if order is None else list(order)
    rows = [c for c in columns if matrix[c].sum() > 0]
    percent = 100 * matrix[np.ix_(rows, columns)] / matrix[rows].sum(1, keepdims=True)
    large = len(columns) > 20
    figure, axes = plt.subplots(figsize=(7.6, 8.4) if large else (6.0, 5.2))
    picture = axes.imshow(
        percent, cmap="Blues", norm=PowerNorm(0.5, 0, 170)
    )  # the root brings out small shares
    for y, x in zip(*np.nonzero(percent >= least), strict=True):
        tint = "white" if percent[y, x] > 45 else style.INK
        axes.text(
            x,
            y,
            f"{percent[y, x]:.0f}",
            ha="center",
            va="center",
            fontsize=9,
            color=tint,
        )
    turned = (
        {"rotation": 90}
        if large
        else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    )
    axes.set_xticks(range(len(columns)), [names[c] for c in columns], **turned)
    axes.set_yticks(range(len(rows)), [names[c] for c in rows])
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if large:
        bar = figure.colorbar(
            picture,
            label="% of the class's pixels",
            location="top",
            shrink=0.4,
            aspect=30,
            pad=0.01,
        )
        bar.ax.set_xlim(0, 100)
    return figure


def labellings(
    images: Sequence[Image],
    columns: Mapping[str, Sequence[Image]],
    names: Names,
    palette: Palette,
) -> Figure:
    """One row per image: the image, then its label map (H x W) in each of ``columns``, by title.

    Images are H x W x 3, or 3 x H x W tensors.
    """
    wide = len(columns) + 1
    shapes = [maps.shape for maps in next(iter(columns.values()))]
    tall = sum(7.6 / wide * h / w + 0.05 for h, w in shapes) + 1  # titles, legend
    figure, axes = plt.subplots(len(images), wide, figsize=(7.6, tall), squeeze=False)
    for i, (image, row) in enumerate(zip(images, axes, strict=True)):
        style.show(row[0], image, "image" if i == 0 else "")
        for axis, (title, maps) in zip(row[1:], columns.items(), strict=True):
            style.show(axis, style.colour(maps[i], palette), title if i == 0 else "")
    style.class_legend(
        figure, names, palette, [one for maps in columns.values() for one in maps]
    )
    return figure


@torch.no_grad()
def probabilities(net: nn.Module, photo: Tensor, side: int = 512) -> dict[str, Tensor]:
    """Softmax probabilities {head: C x h x w} of a photo (1 x 3 x H x W, 0..1), reduced to at most ``side`` pixels."""
    if (scale := side / max(photo.shape[-2:])) < 1:
        photo = resized(
            photo, (round(photo.shape[-2] * scale), round(photo.shape[-1] * scale))
        )
    return {head: scores[0].softmax(0) for head, scores in net(photo).items()}


def predictions(
    photos: Mapping[str, Tensor],
    found: Mapping[str, Mapping[str, Tensor]],
    heads: Mapping[str, Palette],
    names: Names,
) -> Figure:
    """Photos (1 x 3 x H x W), label maps of ``heads``, and the probability of the first, with classes ``names``."""
    tall = [image.shape[-2] / image.shape[-1] for image in photos.values()]
    wide = len(heads) + 2
    figure = plt.figure(
        figsize=(7.6, sum(7.6 * t / wide for t in tall) + 0.55 * len(photos))
    )
    strips = figure.subfigures(
        len(photos), 1, height_ratios=[t + 0.22 for t in tall], squeeze=False
    )[:, 0]
    for strip, (photo, image) in zip(strips, photos.items(), strict=True):
        axes = strip.subplots(1, wide)
        style.show(axes[0], image[0], photo)
        for axis, (head, palette) in zip(axes[1:], heads.items(), strict=False):
            style.show(
                axis,
                style.colour(found[photo][head].argmax(0), palette),
                head if len(heads) > 1 else "class",
            )
        first, palette = next(iter(heads.items()))
        certain, labels = found[photo][first].max(0)
        title = f"probability, mean {certain.mean():.2f}"
        style.show(axes[-1], certain, title, cmap="mako", vmin=0, vmax=1)
        style.largest_classes(strip, labels, names, palette)
    return figure
