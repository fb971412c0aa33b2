"""Chapter 13: your own data set, and predictions for its held-out photos."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from fcn.data.sample import Sample
from figures.style import FAINT, WRONG, Names, Palette, class_legend, colour, show


def pairs(samples: Sequence[Sample], names: Names, palette: Palette) -> Figure:
    """Photos of any size at one scale, and their label maps below."""
    tall = max(sample.image.shape[1] for sample in samples)
    wide = [sample.image.shape[2] for sample in samples]
    inches = 7 / sum(wide)
    figure, rows = plt.subplots(
        2, len(samples), figsize=(7, 2 * tall * inches + 0.75), width_ratios=wide
    )
    for sample, photo, below in zip(samples, *rows, strict=True):
        show(photo, sample.image, sample.name)
        show(below, colour(sample.labels["semantic"], palette))
        for axes in (photo, below):
            axes.set_ylim(tall - 0.5, -0.5)
    class_legend(
        figure,
        names,
        palette,
        [sample.labels["semantic"] for sample in samples],
        columns=5,
    )
    return figure


def balance(shares: Sequence[float], names: Names, palette: Palette) -> Figure:
    """Share of the labelled pixels per class, in percent (logarithmic), largest first."""
    order = [i for i in np.argsort(shares)[::-1] if shares[i] > 0]
    figure, axes = plt.subplots(figsize=(6.4, 0.27 * len(order) + 0.8))
    heights = [shares[i] for i in order]
    bars = axes.barh(
        [names[i] for i in order],
        heights,
        color=palette[order] / 255,
        edgecolor=FAINT,
        lw=0.6,
    )
    axes.bar_label(bars, [f"{value:.1f}" for value in heights], padding=3, fontsize=9)
    axes.set(
        xscale="log",
        xlabel="share of the labelled pixels, %",
        xlim=(min(heights) / 2, 1.6 * max(heights)),
    )
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter("{x:g}")
    return figure


def predictions(
    samples: Sequence[Sample], found: Sequence[Tensor], names: Names, palette: Palette
) -> Figure:
    """One row per photo: the photo, its labels, the prediction ``found`` (H x W), and the wrong pixels."""
    figure, rows = plt.subplots(len(samples), 4, figsize=(7, 1.55 * len(samples) + 0.8))
    for row, sample, prediction in zip(
        np.atleast_2d(rows), samples, found, strict=True
    ):
        labels = sample.labels["semantic"]
        wrong = (prediction != labels) & (labels < len(names))
        pale = (
            255
            - (255 - sample.image.float().mean(0).numpy()[..., None].repeat(3, 2))
            * 0.35
        )
        pale[wrong.numpy()] = 255 * np.array(to_rgb(WRONG))
        show(row[0], sample.image)
        show(row[1], colour(labels, palette))
        show(row[2], colour(prediction, palette))
        show(row[3], pale.astype(np.uint8))
    for axes, title in zip(
        np.atleast_2d(rows)[0], ("photo", "labels", "prediction", "wrong"), strict=True
    ):
        axes.set_title(title)
    class_legend(
        figure,
        names,
        palette,
        [*found, *(s.labels["semantic"] for s in samples)],
        columns=5,
    )
    return figure
