"""Chapter 8: rooms in colour and depth, the three channels of HHA, early and late fusion."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray

from figures.shared import score_bars
from figures.style import Names, Palette, class_legend, colour, show
from rooms import Room

_CHANNELS = (
    ("horizontal disparity", "310 / z, z in m"),
    ("height above ground", "cm"),
    ("angle", "degrees + 38"),
)
_INPUT, _NET, _SCORES = "#f1e6d6", "#dceceb", "#e6e3ee"


def room(one: Room, names: Names, palette: Palette) -> Figure:
    """A room's photo, its labels and its depth in metres."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.6))
    show(axes[0], one.image, "photo")
    show(axes[1], colour(one.labels, palette), "labels")
    drawn = show(axes[2], one.depth, "depth", cmap="mako_r")
    figure.colorbar(drawn, ax=axes[2], label="m", shrink=0.75)
    class_legend(figure, names, palette, [one.labels], columns=7)
    return figure


def channels(encoded: NDArray[np.uint8]) -> Figure:
    """Channels of an HHA image (H x W x 3), each with its scale."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.2))
    for axis, channel, (title, unit) in zip(
        axes, np.moveaxis(encoded, -1, 0), _CHANNELS, strict=True
    ):
        drawn = show(axis, channel, title, cmap="mako", vmin=0, vmax=255)
        bar = figure.colorbar(drawn, ax=axis, shrink=0.75, ticks=[0, 128, 255])
        bar.set_label(unit, fontsize=9)
    return figure


def angles(encoded: Mapping[str, NDArray[np.uint8]]) -> Figure:
    """Angle channel of HHA images, in degrees from gravity; titles name the direction of gravity that was used."""
    figure, axes = plt.subplots(1, len(encoded), figsize=(7.6, 2.3))
    for axis, (title, image) in zip(axes, encoded.items(), strict=True):
        drawn = show(
            axis, image[..., 2].astype(float) - 38, title, cmap="mako", vmin=0, vmax=180
        )
    figure.colorbar(
        drawn, ax=axes, shrink=0.75, ticks=[0, 90, 180], label="angle (degrees)"
    )
    return figure


def fusions() -> Figure:
    """Early fusion, one net of four channels, and late fusion, two nets whose scores are averaged."""
    figure, axes = plt.subplots(figsize=(7.6, 3.0))
    axes.set(xlim=(0, 100), ylim=(0, 42))
    axes.set_axis_off()
    _box(axes, 2, 31, 22, 9, "colour + log depth\n4 channels", _INPUT)
    _box(axes, 36, 31, 24, 9, "one backbone, one head", _NET)
    _box(axes, 80, 31, 18, 9, "scores", _SCORES)
    _arrow(axes, (24, 35.5), (36, 35.5))
    _arrow(axes, (60, 35.5), (80, 35.5))
    for y, name in ((13, "colour\n3 channels"), (1, "HHA\n3 channels")):
        _box(axes, 2, y, 22, 9, name, _INPUT)
        _box(axes, 36, y, 24, 9, "backbone and head", _NET)
        _arrow(axes, (24, y + 4.5), (36, y + 4.5))
        _arrow(axes, (60, y + 4.5), (80, 11.5))
    _box(axes, 80, 7, 18, 9, "mean of\nthe scores", _SCORES)
    axes.text(2, 41, "early fusion", fontsize=10, weight="bold", va="bottom")
    axes.text(2, 23, "late fusion", fontsize=10, weight="bold", va="bottom")
    return figure


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, tint: str
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=1.2",
            fc=tint,
            ec="0.5",
        )
    )
    axes.text(
        x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9.5
    )


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=12,
            color="0.4",
            shrinkA=2,
            shrinkB=2,
        )
    )


def table_4(rows: Sequence[tuple[str, float]]) -> Figure:
    """Mean IU of the published rows (label, percent), in the order of the table."""
    figure, axes = plt.subplots(figsize=(6.4, 0.42 * len(rows) + 0.9))
    score_bars(axes, rows)
    axes.set_xlabel("mean IU (%), as published")
    return figure
