"""Look of all figures: colours, fonts, images without axes, label maps with a legend."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from matplotlib_inline.backend_inline import set_matplotlib_formats
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fcn.data.sample import VOID

# One colour per quantity that the book compares throughout. They differ in lightness where hues look alike to readers
# who confuse red and green.
COLOURS = {
    "32s": "#9ebfe6",
    "16s": "#4a8fc2",
    "8s": "#1b7f79",
    "paper": "#b0722b",
    "ours": "#1b7f79",
    "others": "#9aa0a6",
    "loss": "#33383f",
}
TUNED = "#e69f00"  # the tuned recipe of chapter 6
INK, FAINT, WRONG, HIGHLIGHT = "#2f353b", "#69727b", "#b5404a", "#d1495b"
VOID_COLOUR = (235, 235, 235)
SERIES = (
    ("#0072b2", "o"),
    ("#d55e00", "s"),
    ("#009e73", "D"),
    ("#cc79a7", "^"),
    ("#e69f00", "v"),
    ("#56b4e9", "P"),
)
"""Colours of Okabe and Ito, each with a marker, for series without a colour of their own."""

_LEADER = {"arrowstyle": "-", "color": FAINT, "lw": 0.7, "shrinkA": 0, "shrinkB": 3}

Palette = NDArray[np.uint8]  # C x 3, RGB
Names = Sequence[str]  # of C classes
Image = Tensor | np.ndarray
ByStride = Mapping[int, np.ndarray]


def use() -> None:
    """Set the style of the book; every chapter calls it once, after its imports."""
    sns.set_theme(context="notebook", style="ticks", palette=list(COLOURS.values()))
    plt.style.use(Path(__file__).with_name("book.mplstyle"))
    if get_ipython():
        set_matplotlib_formats(
            "retina"
        )  # two pixels of a picture per pixel of the page


def colour(labels: Image, palette: Palette) -> NDArray[np.uint8]:
    """A label map (H x W, void 255) in the colours of ``palette``: H x W x 3, uint8."""
    table = np.full((256, 3), VOID_COLOUR, np.uint8)
    table[: len(palette)] = palette
    table[VOID] = VOID_COLOUR
    return table[np.asarray(labels)]


def show(axes: Axes, image: Image, title: str = "", **options: Any) -> AxesImage:
    """An image (3 x H x W tensor, uint8 or 0..1, or an H x W x 3 array) or a map of numbers, without ticks or frame."""
    array = np.asarray(image)
    axes.set_title(title)
    axes.set_axis_off()
    return axes.imshow(
        np.moveaxis(array, 0, -1)
        if isinstance(image, Tensor) and array.ndim == 3
        else array,
        **options,
    )


def classes_in(*label_maps: Image) -> list[int]:
    """Classes present in the label maps, in ascending order, void left out."""
    return sorted(
        {int(c) for labels in label_maps for c in np.unique(np.asarray(labels))}
        - {VOID}
    )


def name_points(
    axes: Axes, points: Sequence[tuple[float, float]], names: Names, size: float = 9.5
) -> None:
    """Write each name next to its point where it covers neither a point nor a name; leave it out if it has no room.

    A line joins a name that stands off to its point. Call it last: it depends on the limits and the size of the axes.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # lays the axes out
    radius = 5 * figure.dpi / 72
    centres = axes.transData.transform(points)
    taken = [
        Bbox.from_bounds(x - radius, y - radius, 2 * radius, 2 * radius)
        for x, y in centres
    ]
    places = (((7, 0), "left", "center"), ((0, 6), "center", "bottom"), ((0, -6), "center", "top"),
              ((-7, 0), "right", "center"), ((9, 11), "left", "bottom"), ((9, -11), "left", "top"),
              ((-9, 11), "right", "bottom"), ((-9, -11), "right", "top"))  # fmt: skip
    edge = [withStroke(linewidth=3, foreground="white")]
    for point, name in sorted(zip(points, names, strict=True)):
        for offset, across, up in places:
            text = axes.annotate(
                name,
                point,
                offset,
                textcoords="offset points",
                ha=across,
                va=up,
                fontsize=size,
            )
            text.set_path_effects(edge)
            box = text.get_window_extent()
            if (
                axes.bbox.containsx(box.x0)
                and axes.bbox.containsx(box.x1)
                and not box.count_overlaps(taken)
            ):
                taken.append(box)
                if all(offset):
                    axes.annotate(
                        "",
                        point,
                        offset,
                        textcoords="offset points",
                        arrowprops=_LEADER,
                    )
                break
            text.remove()


def ink_on(tint: str) -> str:
    """White or black, whichever is easier to read on this colour (relative luminance of WCAG 2)."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in to_rgb(tint)
    )
    return "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 else "black"


def write_numbers(
    axes: Axes,
    values: ArrayLike,
    text: Callable[[Any], str],
    tint: Callable[[Any], str],
    size: float,
) -> None:
    """Write each of the values (h x w) into its cell of an image."""
    for (row, column), value in np.ndenumerate(np.asarray(values)):
        axes.text(
            column,
            row,
            text(value),
            ha="center",
            va="center",
            fontsize=size,
            color=tint(value),
        )


def legend(
    on: Axes | Figure,
    names: Names,
    palette: Palette,
    present: Iterable[int],
    **options: Any,
) -> None:
    """A legend of the classes ``present``, each with its colour, for axes or for a whole figure."""
    on.legend(
        handles=[
            Patch(color=np.asarray(palette[c]) / 255, label=names[c]) for c in present
        ],
        **options,
    )


def largest_classes(
    on: SubFigure, labels: Tensor, names: Names, palette: Palette
) -> None:
    """A legend below ``on``: the largest classes of ``labels`` (H x W) with at least 1 % of the pixels, at most six."""
    share = 100 * labels.flatten().bincount(minlength=len(names)) / labels.numel()
    shown = [c for c in share.argsort(descending=True).tolist() if share[c] >= 1][:6]
    keys = [
        Patch(color=palette[c] / 255, label=f"{names[c]} {share[c]:.0f} %")
        for c in shown
    ]
    on.legend(
        handles=keys,
        loc="outside lower left",
        ncols=6,
        columnspacing=1.0,
        handlelength=1.2,
    )


def class_legend(
    figure: Figure,
    names: Names,
    palette: Palette,
    label_maps: Iterable[Image],
    columns: int = 6,
) -> None:
    """A legend below the figure of the classes in the label maps."""
    present = classes_in(*label_maps)
    legend(
        figure,
        names,
        palette,
        present,
        loc="outside lower center",
        ncols=min(len(present), columns),
        columnspacing=1.2,
        handlelength=1.2,
    )
