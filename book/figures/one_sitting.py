"""Chapter 16: the four steps of an FCN, 1x1 convolutions in GoogLeNet, skips of FCN-8s and of U-Net."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from figures import style
from figures.shared import grouped_bars
from figures.style import COLOURS, Image, Names, Palette

_LEVELS = (1, 2, 4, 8, 16, 32)  # strides, from top to bottom


def four_steps(
    photo: Image,
    features: np.ndarray,
    label_maps: Sequence[Image],
    score: Image,
    names: Names,
    palette: Palette,
) -> Figure:
    """A photo (3 x H x W), its ``features`` (C x h x w), label maps of cells and of pixels, one class's ``score``."""
    cells, labels = label_maps
    figure, grid = plt.subplots(2, 3, figsize=(7, 4.1))
    largest = features.std((1, 2)).argsort()[-4:]
    four = [
        np.pad(features[c] / features[c].max(), 1, constant_values=np.nan)
        for c in largest
    ]
    mosaic = np.vstack([np.hstack(four[:2]), np.hstack(four[2:])])
    style.show(grid[0, 0], photo, "photo")
    style.show(grid[0, 1], mosaic, "1. features of the cells", cmap="mako")
    style.show(grid[0, 2], style.colour(cells, palette), "2. classes of the cells")
    style.show(grid[1, 0], score, "3. upsampled score", cmap="mako")
    style.show(grid[1, 1], style.colour(labels, palette), "4. segmentation")
    grid[1, 2].set_axis_off()
    style.legend(
        grid[1, 2], names, palette, style.classes_in(cells, labels), loc="center"
    )
    return figure


def reductions(counts: Mapping[str, Mapping[str, float]]) -> Figure:
    """Multiplications (10^9) of GoogLeNet's inceptions: {way: {block: number}}."""
    figure, axes = plt.subplots(figsize=(6.4, 3.4))
    tints = dict(zip(counts, (COLOURS["others"], COLOURS["ours"]), strict=True))
    grouped_bars(
        axes.bar, {way: [*blocks.values()] for way, blocks in counts.items()}, tints
    )
    blocks = [*next(iter(counts.values()))]
    axes.set_xticks(range(len(blocks)), blocks)
    axes.tick_params(axis="x", length=0)
    axes.set(xlabel="inception", ylabel="multiplications (10$^9$)")
    axes.legend()
    return figure


def ladders() -> Figure:
    """FCN-8s and U-Net side by side: maps by stride on the way down and up, and the skips between them."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.9), sharey=True)
    _ladder(left, "FCN-8s: scores, added", up=(32, 16, 8), scored=True)
    _ladder(right, "U-Net: features, joined", up=(16, 8, 4, 2, 1), scored=False)
    left.text(2.55, -1.5, "8×", ha="left", fontsize=10, color=style.INK)
    for axes in (left, right):
        axes.set(xlim=(-0.95, 3.2), ylim=(-5.5, 0.9))
        axes.set_axis_off()
    for row, stride in enumerate(_LEVELS):
        left.text(
            -0.95,
            -row,
            f"1/{stride}" if row else "pixels",
            va="center",
            fontsize=9.5,
            color=style.FAINT,
        )
    return figure


def _ladder(axes: Axes, title: str, up: Sequence[int], scored: bool) -> None:
    """Maps on the way down on the left; on the right those of the strides ``up``, class scores if ``scored``."""
    axes.set_title(title)
    deepest = up[0]
    down = [stride for stride in _LEVELS if stride <= deepest]
    places = {("down", stride): (0.5, -float(_LEVELS.index(stride))) for stride in down}
    places |= {
        ("up", stride): (2.4, -float(_LEVELS.index(stride))) for stride in {*up, 1}
    }
    for (side, stride), (x, y) in places.items():
        wide = 1.15 - 0.16 * _LEVELS.index(stride)
        tint = (
            COLOURS.get(f"{stride}s", COLOURS["8s"])
            if scored and side == "up"
            else "#c3c8cd"
        )
        axes.add_patch(
            Rectangle(
                (x - wide / 2, y - 0.22),
                wide,
                0.44,
                fc=tint,
                ec=style.INK,
                lw=0.8,
                zorder=3,
            )
        )
    for coarse, fine in zip(down[1:], down, strict=False):
        _arrow(axes, places["down", fine], places["down", coarse], style.INK)
    for coarse, fine in zip(up, [*up[1:], 1], strict=True):
        if coarse != fine:
            _arrow(axes, places["up", coarse], places["up", fine], style.INK)
    for stride in up:
        tint = style.INK if stride == deepest else style.HIGHLIGHT
        _arrow(axes, places["down", stride], places["up", stride], tint, across=True)


def _arrow(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    tint: str,
    across: bool = False,
) -> None:
    """An arrow between two boxes, ``across`` or from one stride to another."""
    row = -start[1]
    margin = (
        (0.6 - 0.08 * row, 0.0)
        if across
        else (0.0, 0.25 if end[1] > start[1] else -0.25)
    )
    first = (start[0] + margin[0], start[1] + margin[1])
    last = (end[0] - margin[0], end[1] - margin[1])
    shape = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(
        FancyArrowPatch(
            first, last, color=tint, lw=1.6 if across else 1.1, zorder=2, **shape
        )
    )
