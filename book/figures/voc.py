"""The figures of the chapter on PASCAL VOC, and a label map drawn in its manner."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from figures import style
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor, nn

from fcn.data.sample import VOID
from fcn.data.voc import CLASSES, PALETTE
from fcn.training.record import Head

WRONG_COLOUR = (200, 40, 60)

# Corners (x, y) of what NASA's portrait of Eileen Collins shows, drawn by hand on the photo of 512 x 512 pixels.
_PERSON = (
    (153, 90), (155, 75), (158, 55), (175, 42), (195, 32), (215, 20), (238, 16), (262, 22), (282, 38), (296, 60),
    (301, 85), (297, 108), (288, 122), (276, 134), (266, 137), (260, 155), (256, 172), (275, 187), (295, 210),
    (303, 235), (320, 245), (338, 262), (348, 285), (356, 315), (362, 345), (350, 352), (325, 370), (300, 395),
    (285, 425), (278, 460), (278, 511), (50, 511), (35, 495), (28, 470), (24, 440), (20, 410), (22, 385), (25, 360),
    (26, 340), (32, 310), (40, 290), (50, 270), (62, 250), (78, 235), (100, 218), (114, 207), (114, 188), (124, 172),
    (138, 160), (160, 151), (184, 149), (181, 132), (172, 126), (168, 116), (157, 105),
)  # fmt: skip
_HELMET = (
    (350, 352), (375, 345), (400, 343), (430, 350), (455, 370), (475, 395), (490, 425), (496, 455), (505, 460),
    (511, 480), (511, 511), (278, 511), (278, 460), (285, 425), (300, 395), (325, 370),
)  # fmt: skip


def drawn_labels(reach: int = 2) -> Tensor:
    """A label map of the photo ``astronaut`` as VOC would have it: 512 x 512, int64.

    The person is a person, the rest background, the helmet left open: void. So is what lies within ``reach`` pixels
    of the line between two of them.
    """
    canvas = Image.new("L", (512, 512))
    draw = ImageDraw.Draw(canvas)
    draw.polygon(_PERSON, fill=CLASSES.index("person"))
    draw.polygon(_HELMET, fill=VOID)
    return with_border(torch.from_numpy(np.array(canvas, np.int64)), reach)


def with_border(labels: Tensor, reach: int) -> Tensor:
    """The label map (H x W) with all pixels void that have another label within ``reach`` rows and columns."""
    window = 2 * reach + 1
    border = maximum_filter(labels.numpy(), window) != minimum_filter(labels.numpy(), window)
    return labels.masked_fill(torch.from_numpy(border), VOID)


def frequencies(shares: pd.DataFrame) -> Figure:
    """The share of each class in the labelled pixels, percent, a row a class and a column a split, most frequent above;
    logarithmic, so that a class without a pixel has no dot."""
    ordered = shares.sort_values(shares.columns[0], ascending=False)
    figure, axes = plt.subplots(figsize=(7, 4.8))
    rows = np.arange(len(ordered))
    tints = (style.COLOURS["8s"], style.COLOURS["paper"], style.COLOURS["others"])
    for (split, column), tint, shape in zip(ordered.items(), tints, "osD", strict=False):
        seen = column.to_numpy() > 0
        axes.scatter(column[seen], rows[seen], color=tint, marker=shape, s=30, label=str(split), zorder=3)
    axes.set_xscale("log")
    ticks = (0.01, 0.1, 1, 10, 100)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(rows, ordered.index)
    axes.set(xlabel="share of the labelled pixels, % (logarithmic)", ylim=(len(rows) - 0.5, -0.5))
    axes.grid(axis="y", color="#e6e8ea", lw=0.8)
    axes.legend(loc="lower right")
    return figure


def sizes(heights: NDArray[np.integer], widths: NDArray[np.integer]) -> Figure:
    """Photos by width and height, pixels: a dot a size, its area the number of photos of that size."""
    pairs, count = np.unique(np.stack([widths, heights]), axis=1, return_counts=True)
    figure, axes = plt.subplots(figsize=(5.4, 4.6))
    axes.scatter(pairs[0], pairs[1], s=6 + count, color=style.COLOURS["8s"], alpha=0.5, linewidth=0)
    for (width, height), n in zip(pairs.T, count, strict=True):
        if n >= 0.05 * count.sum():
            tall = height > width
            axes.annotate(
                f"{width} x {height}: {n} photos", (width, height), textcoords="offset points", fontsize=9, va="center",
                xytext=(0, -20) if tall else (-22, 0), ha="center" if tall else "right",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
            )  # fmt: skip
    axes.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(90, 540), ylim=(90, 540), aspect="equal")
    return figure


def drawing(photo: Tensor, labels: Tensor, answers: Mapping[str, Tensor], detail: tuple[slice, slice]) -> Figure:
    """The photo (3 x H x W), its label map (H x W) and a ``detail`` of that, by rows and columns; below them up to
    three answers (H x W) by name. Red is wrong and counted; pale is void, where nothing is right or wrong."""
    figure, axes = plt.subplots(2, 3, figsize=(7.6, 5.8))
    for axis in axes.flat:
        axis.set_axis_off()
    style.show(axes[0, 0], photo, "photo")
    style.show(axes[0, 1], style.colour(labels, PALETTE), "label map")
    style.show(axes[0, 2], style.colour(labels[detail], PALETTE), "a detail of it")
    void = (labels == VOID).numpy()
    for axis, (name, answer) in zip(axes[1], answers.items(), strict=False):
        picture = style.colour(answer, PALETTE)
        picture[((answer != labels) & (labels != VOID)).numpy()] = WRONG_COLOUR
        picture[void] = 0.35 * picture[void] + 0.65 * 255
        style.show(axis, picture, name)
    present = [c for c in torch.unique(labels).tolist() if c != VOID]
    keys = [Patch(color=PALETTE[c] / 255, label=CLASSES[c]) for c in present]
    keys += [Patch(color=np.array(style.VOID_COLOUR) / 255, label="void (pale: not counted)"),
             Patch(color=np.array(WRONG_COLOUR) / 255, label="wrong, and counted")]  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    return figure


def per_class(heads: Mapping[str, Head], classes: Sequence[str]) -> Figure:
    """The IU of ``classes`` for each of ``heads``, by the name of its net, as groups of bars."""
    figure, axes = plt.subplots(figsize=(7.6, 3.4))
    tints = [style.COLOURS["paper"], style.COLOURS["32s"], style.COLOURS["16s"], style.COLOURS["8s"]]
    width = 0.8 / len(heads)
    for i, ((name, head), tint) in enumerate(zip(heads.items(), tints[-len(heads) :], strict=True)):
        values = [head.metrics.iu_per_class[head.classes.index(c)] or 0 for c in classes]
        axes.bar(np.arange(len(classes)) + width * (i - (len(heads) - 1) / 2), values, width, color=tint, label=name)
    axes.set_xticks(range(len(classes)), classes)
    axes.set(ylabel="IU, %", ylim=(0, 100))
    axes.legend(ncols=len(heads), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@torch.no_grad()
def probabilities(net: nn.Module, photo: Tensor) -> Tensor:
    """Softmax probabilities, C x H x W, of a photo, 1 x 3 x H x W, RGB in 0..1, by a net of one head."""
    scores = net(photo)
    return (next(iter(scores.values())) if isinstance(scores, dict) else scores)[0].softmax(0)


def predictions(photos: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Figure:
    """For each photo (1 x 3 x H x W): itself, the class of each pixel, and how probable the net holds it.

    ``found`` holds what ``probabilities`` returned. Below each row the classes with at least 1 % of its pixels.
    """
    tall = [image.shape[-2] / image.shape[-1] for image in photos.values()]
    figure = plt.figure(figsize=(8, sum(2.6 * t for t in tall) + 0.55 * len(photos)))
    strips = figure.subfigures(len(photos), 1, height_ratios=[t + 0.2 for t in tall], squeeze=False)[:, 0]
    for strip, (name, image) in zip(strips, photos.items(), strict=True):
        axes = strip.subplots(1, 3)
        certain, labels = found[name].max(0)
        style.show(axes[0], image[0], name)
        style.show(axes[1], style.colour(labels, PALETTE), "class")
        style.probability(axes[2], certain)
        style.largest_classes(strip, labels, CLASSES, PALETTE)
    return figure
