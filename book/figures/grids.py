"""Small maps drawn as squares with numbers, for worked examples."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from figures.style import HIGHLIGHT

PAPER, GRID = "#f7f5f0", "#b9b4a8"

Point = tuple[float, float]
Colour = str | tuple[float, ...]
Fill = Colour | Callable[[int, int], Colour]  # of all cells, or by row and column


def draw(
    axes: Axes,
    numbers: ArrayLike,
    corner: Point,
    title: str = "",
    colour: Fill = PAPER,
    fontsize: float = 11,
) -> Point:
    """Draw a map (h x w, NaN is blank) with its upper left ``corner`` (x, y), in units of cells; returns w and h."""
    values = np.asarray(numbers)
    left, top = corner
    for (row, column), value in np.ndenumerate(values):
        fill = colour(row, column) if callable(colour) else colour
        square = Rectangle(
            (left + column, top + row),
            1,
            1,
            facecolor=fill,
            edgecolor=GRID,
            linewidth=0.8,
        )
        axes.add_patch(square)
        if not np.isnan(value):
            text = f"{value:g}".replace("-", "−")
            axes.text(
                left + column + 0.5,
                top + row + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=fontsize,
            )
    axes.text(
        left + values.shape[1] / 2,
        top - 0.25,
        title,
        ha="center",
        va="bottom",
        fontsize=10,
    )
    return values.shape[1], values.shape[0]


def frame(axes: Axes, corner: Point, side: float) -> None:
    """Frame ``side`` x ``side`` cells with this upper left corner."""
    axes.add_patch(
        Rectangle(
            corner, side, side, fill=False, edgecolor=HIGHLIGHT, linewidth=2.5, zorder=3
        )
    )


def sign(axes: Axes, place: Point, text: str) -> None:
    """A sign between two maps."""
    axes.text(*place, text, ha="center", va="center", fontsize=18)


def finish(axes: Axes, width: float, height: float) -> None:
    """Set the limits of the drawing, with room for the titles above."""
    axes.set(xlim=(-0.1, width + 0.1), ylim=(height + 0.1, -1.1), aspect="equal")
    axes.set_axis_off()
