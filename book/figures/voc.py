"""Chapter 7: labels with a void border, class frequencies, photo sizes, IU on the subset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

from fcn.data.reading import read_png
from fcn.data.sample import VOID
from fcn.data.voc import CLASSES, PALETTE
from fcn.training.record import Head
from figures import style
from figures.shared import grouped_bars

WRONG_COLOUR = (200, 40, 60)
DRAWN = Path(__file__).parents[1] / "assets" / "astronaut-labels.png"


def drawn_labels(reach: int = 2) -> Tensor:
    """Our label map of the photo ``astronaut``, 512 x 512, int64: a person; void are the helmet and the borders."""
    return with_border(torch.from_numpy(read_png(DRAWN).astype(np.int64)), reach)


def with_border(labels: Tensor, reach: int) -> Tensor:
    """The label map (H x W) with void at every pixel that has another label within ``reach`` rows and columns."""
    window = 2 * reach + 1
    border = maximum_filter(labels.numpy(), window) != minimum_filter(
        labels.numpy(), window
    )
    return labels.masked_fill(torch.from_numpy(border), VOID)


def frequencies(shares: pd.DataFrame) -> Figure:
    """Share of the labelled pixels in percent (logarithmic), one row per class, one colour per split (column)."""
    ordered = shares.sort_values(shares.columns[0], ascending=False)
    figure, axes = plt.subplots(figsize=(7, 4.8))
    rows = np.arange(len(ordered))
    tints = (style.COLOURS["8s"], style.COLOURS["paper"])
    for (split, column), tint, shape in zip(ordered.items(), tints, "os", strict=True):
        seen = column.to_numpy() > 0
        axes.scatter(
            column[seen],
            rows[seen],
            color=tint,
            marker=shape,
            s=30,
            label=str(split),
            zorder=3,
        )
    ticks = (0.01, 0.1, 1, 10, 100)
    axes.set(
        xscale="log",
        xlabel="share of the labelled pixels, % (logarithmic)",
        ylim=(len(rows) - 0.5, -0.5),
    )
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(rows, ordered.index)
    axes.grid(axis="y", color="#e6e8ea", lw=0.8)
    axes.legend(loc="lower right")
    return figure


def sizes(heights: NDArray[np.integer], widths: NDArray[np.integer]) -> Figure:
    """Photos by width and height in pixels: one dot per size, its area the number of photos."""
    pairs, count = np.unique(np.stack([widths, heights]), axis=1, return_counts=True)
    figure, axes = plt.subplots(figsize=(5.4, 4.6))
    axes.scatter(
        pairs[0],
        pairs[1],
        s=6 + count,
        color=style.COLOURS["8s"],
        alpha=0.5,
        linewidth=0,
    )
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    for (width, height), n in zip(pairs.T, count, strict=True):
        if n >= 0.05 * count.sum():
            place = (
                {"xytext": (0, -20), "ha": "center"}
                if height > width
                else {"xytext": (-22, 0), "ha": "right"}
            )
            place |= {"textcoords": "offset points", "va": "center"}
            axes.annotate(
                f"{width} x {height}: {n} photos",
                (width, height),
                fontsize=9,
                bbox=box,
                **place,
            )
    axes.set(
        xlabel="width, pixels",
        ylabel="height, pixels",
        xlim=(90, 540),
        ylim=(90, 540),
        aspect="equal",
    )
    return figure


def labelled(photo: Tensor, labels: Tensor, detail: tuple[slice, slice]) -> Figure:
    """A photo (3 x H x W), its label map (H x W) and a ``detail`` of the map."""
    figure, axes = plt.subplots(1, 3, figsize=(7, 2.8))
    style.show(axes[0], photo, "photo")
    style.show(axes[1], style.colour(labels, PALETTE), "label map")
    style.show(axes[2], style.colour(labels[detail], PALETTE), "detail")
    _legend(figure, labels, {"void": style.VOID_COLOUR})
    return figure


def answers(labels: Tensor, given: Mapping[str, Tensor]) -> Figure:
    """Answers to a label map (H x W) by name: errors red, void pale."""
    figure, panels = plt.subplots(1, len(given), figsize=(7, 2.8), squeeze=False)
    void = (labels == VOID).numpy()
    for axes, (name, answer) in zip(panels[0], given.items(), strict=True):
        picture = style.colour(answer, PALETTE)
        picture[((answer != labels) & (labels != VOID)).numpy()] = WRONG_COLOUR
        picture[void] = 0.35 * picture[void] + 0.65 * 255
        style.show(axes, picture, name)
    _legend(
        figure,
        labels,
        {"wrong": WRONG_COLOUR, "void (pale): not counted": style.VOID_COLOUR},
    )
    return figure


def _legend(
    figure: Figure, labels: Tensor, more: Mapping[str, tuple[int, int, int]]
) -> None:
    """A legend below the figure: the classes of a label map, and ``more`` colours."""
    colours = {CLASSES[c]: PALETTE[c] for c in style.classes_in(labels)} | dict(more)
    keys = [
        Patch(color=np.array(colour) / 255, label=name)
        for name, colour in colours.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))


def per_class(heads: Mapping[str, Head], classes: Sequence[str]) -> Figure:
    """IU of ``classes`` for each of ``heads``, by the name of its net, as groups of bars."""
    figure, axes = plt.subplots(figsize=(7, 3.4))
    tints = [
        style.COLOURS["paper"],
        style.COLOURS["32s"],
        style.COLOURS["16s"],
        style.COLOURS["8s"],
    ]
    groups = {
        net: [head.iu_per_class[head.classes.index(c)] or 0 for c in classes]
        for net, head in heads.items()
    }
    grouped_bars(axes.bar, groups, dict(zip(heads, tints[-len(heads) :], strict=True)))
    axes.set_xticks(range(len(classes)), classes)
    axes.set(ylabel="IU, %", ylim=(0, 100))
    axes.legend(ncols=len(heads), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure
