"""Small maps drawn as squares with their numbers, for examples that fit on a page."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

PAPER, GRID, HIGHLIGHT = "#f7f5f0", "#b9b4a8", "#d1495b"

Colour = str | tuple[float, ...]


def draw(
    axes: Axes,
    numbers: ArrayLike,
    corner: tuple[float, float],
    title: str = "",
    *,
    colour: Callable[[int, int], Colour] | Colour = PAPER,
    fontsize: float = 11,
) -> tuple[float, float]:
    """Draw a map (h x w) with its upper left ``corner`` (x, y) there, one unit a cell, y downwards; returns w and h.

    A cell that is NaN stays blank. ``colour`` is of every cell, or a function of row and column. Call ``finish`` when
    all maps are drawn.
    """
    values = np.asarray(numbers)
    left, top = corner
    for (row, column), value in np.ndenumerate(values):
        fill = colour(row, column) if callable(colour) else colour
        square = Rectangle((left + column, top + row), 1, 1, facecolor=fill, edgecolor=GRID, linewidth=0.8)
        axes.add_patch(square)
        if not np.isnan(value):
            text = f"{value:g}".replace("-", "−")
            axes.text(left + column + 0.5, top + row + 0.5, text, ha="center", va="center", fontsize=fontsize)
    axes.text(left + values.shape[1] / 2, top - 0.25, title, ha="center", va="bottom", fontsize=10)
    return values.shape[1], values.shape[0]


def frame(axes: Axes, corner: tuple[float, float], side: float, colour: Colour = HIGHLIGHT) -> None:
    """Frame ``side`` x ``side`` cells from an upper left corner on."""
    axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2.5, zorder=3))


def sign(axes: Axes, place: tuple[float, float], text: str) -> None:
    """A sign between two maps."""
    axes.text(*place, text, ha="center", va="center", fontsize=18)


def finish(axes: Axes, width: float, height: float) -> None:
    """Show so many units from the origin on, with room for the titles above."""
    axes.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -1.1), aspect="equal")
    axes.set_axis_off()
