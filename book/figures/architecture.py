"""Chapter 1: the FCN in one figure, and why a fully connected layer wants one size of image."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from figures.style import COLOURS, colour
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from fcn.data.sample import VOID

INK, FAINT, WRONG = "#2f353b", "#69727b", "#b5404a"


def coarse_labels(labels: np.ndarray, stride: int) -> np.ndarray:
    """The most frequent class of each ``stride`` x ``stride`` block of a label map (H x W, void 255 has no vote).

    H and W are multiples of ``stride``. A block that is void throughout stays void.
    """
    rows, columns = labels.shape[0] // stride, labels.shape[1] // stride
    blocks = labels.reshape(rows, stride, columns, stride).swapaxes(1, 2).reshape(rows * columns, -1)
    votes = np.stack([np.bincount(block, minlength=VOID + 1)[: VOID + 1] for block in blocks])
    votes[:, VOID] = 0
    return np.where(votes.any(1), votes.argmax(1), VOID).reshape(rows, columns)


def architecture(
    image: np.ndarray, labels: np.ndarray, palette: np.ndarray, names: Mapping[int, str], channels: Mapping[int, int]
) -> Figure:
    """FCN-32s, 16s and 8s: the trunk above, score layers below its maps, fused from right to left, upsampled to pixels.

    ``image`` H x W x 3 and ``labels`` H x W of one scene, sides multiples of 32; ``names`` and ``channels`` of the
    trunk's maps at strides 8, 16 and 32. The small maps are the scene's own labels at each stride: the best that
    scores of so many cells could say.
    """
    figure, axes = _canvas(6.4, 5.75)
    columns = {8: 46.4, 16: 67.3, 32: 88.2}
    trunk, scores, fuse = 73.0, 48.0, 24.5

    _text(axes, 12, 87.5, "image", weight="bold")
    _text(axes, 66, 87.5, "trunk: a classifier, convolutional throughout", weight="bold")
    _picture(axes, image, (12, trunk), 22)

    slabs = {2: (28.0, 1.2), 4: (34.6, 1.8), 8: (columns[8], 2.8), 16: (columns[16], 4.4), 32: (columns[32], 7.5)}
    right = 23.4
    for stride, (x, thick) in slabs.items():
        side = 16.5 * stride**-0.42  # not to scale: a half each time would leave nothing to see
        _arrow(axes, (right, trunk), (x - thick / 2 - 0.5, trunk))
        right = _slab(axes, (x, trunk), side, thick, COLOURS.get(f"{stride}s", "#c3c8cd")) + 0.4
        if stride in names:
            _text(axes, x, trunk + 9.4, f"stride {stride}", weight="bold")
            _text(axes, x, trunk + 6.6, f"{names[stride]}, {channels[stride]} maps", color=FAINT)

    for stride, x in columns.items():
        tint = COLOURS[f"{stride}s"]
        _arrow(axes, (x, trunk - 8.25 * stride**-0.42 - 0.6), (x, scores + 7.0), tint)
        _text(axes, x + 1.2, scores + 12.2, "score\n1×1 conv", ha="left")
        cells = coarse_labels(labels, stride)
        _picture(axes, colour(cells, palette), (x, scores), 17, grid=cells.shape, edge=tint)
        if stride < 32:
            _arrow(axes, (x, scores - 6.9), (x, fuse + 2.6), tint)
            _text(axes, x + 1.2, (scores + fuse) / 2 - 2, "skip", ha="left")
            _plus(axes, (x, fuse), tint)

    x32, x16, x8 = columns[32], columns[16], columns[8]
    _path(axes, [(x32, scores - 6.9), (x32, fuse), (x16 + 2.6, fuse)], COLOURS["32s"])
    _path(axes, [(x16 - 2.2, fuse), (x8 + 2.6, fuse)], COLOURS["16s"])
    _path(axes, [(x8 - 2.2, fuse), (23.6, fuse)], COLOURS["8s"])
    for x, y, factor, stride in (
        ((x32 + x16) / 2, fuse, 2, 32), ((x16 + x8) / 2, fuse, 2, 16),
        (34.0, fuse, 8, 8), (34.0, 10.0, 16, 16), (34.0, 3.5, 32, 32),
    ):  # fmt: skip
        if factor > 2:
            _text(axes, x + 5 * (factor > 8), y + 3.5 - 1.5 * (factor > 8), f"FCN-{stride}s",
                  ha="left" if factor > 8 else "center", color=COLOURS[f"{stride}s"], weight="bold")  # fmt: skip
        if factor > 8:
            start = (x16, fuse - 2.2) if stride == 16 else (x32, fuse)
            target = 14.0 if stride == 16 else 7.0
            lane = [start, (start[0], y), (target, y), (target, fuse - 8.9)]
            _path(axes, lane, COLOURS[f"{stride}s"], dashed=True)
        _upsampling(axes, (x, y), factor, COLOURS[f"{stride}s"])

    _picture(axes, colour(labels, palette), (12, fuse), 22)
    _text(axes, 13, fuse + 12.6, "a score for each class\nat every pixel", weight="bold")
    return figure


def fully_connected(image: np.ndarray, kernel: int = 7) -> Figure:
    """A fully connected layer on a map of its own size, on a wider map, and the same weights as a convolution.

    ``image`` H x W x 3, wider than high; its height stands for the classifier's input. The map's cells are the mean
    colours of the image's blocks, so that the eye can follow where each cell goes.
    """
    figure, axes = _canvas(6.4, 5.0)
    block = image.shape[0] // kernel
    wide = image[: kernel * block, : image.shape[1] // block * block]
    cells = wide.reshape(kernel, block, -1, block, 3).mean((1, 3)) / 255
    height, left = 15.4, 25.5
    step = height / kernel
    end = left + cells.shape[1] * step

    for middle, photo, grid, title in (
        (66.0, image[:, : image.shape[0]], cells[:, :kernel], "the size it was made for: cells and weights match"),
        (38.6, image, cells, "a wider image: more cells than weights"),
        (11.2, image, cells, "the same weights as a convolution: any size, scores with a place"),
    ):
        width = height * photo.shape[1] / photo.shape[0]
        _text(axes, 0, middle + 10.6, title, ha="left", weight="bold")
        _picture(axes, photo, (width / 2, middle), width)
        _arrow(axes, (width + 0.6, middle), (left - 0.6, middle))
        _cells(axes, grid, (left, middle - height / 2), step)
        _text(axes, left, middle - height / 2 - 2, f"{kernel} × {grid.shape[1]} cells", ha="left", color=FAINT)
        if "convolution" not in title:
            _arrow(axes, (left + grid.shape[1] * step + 0.6, middle), (56.4, middle))
            _flattened(axes, grid, (57, middle), kernel * kernel)
            continue
        places = cells.shape[1] - kernel + 1
        last = (left + (places - 1) * step, middle - height / 2)
        axes.add_patch(Rectangle(last, height, height, fill=False, ec=COLOURS["8s"], lw=3, zorder=5))
        _arrow(axes, (end + 0.6, middle), (56.4, middle), COLOURS["8s"])
        for i in range(places):
            shade = COLOURS["8s"] if i == places - 1 else "#a9d1cc"
            axes.add_patch(Rectangle((57 + i * 5, middle - 2.5), 5, 5, fc=shade, ec="white", lw=1.5))
        _text(axes, 57, middle + 5.2, f"{kernel} × {kernel} kernel, {places} places", ha="left")
        _text(axes, 57, middle - 4.9, f"1 × {places} scores for each class", ha="left", color=FAINT)
    return figure


def _flattened(axes: Axes, grid: np.ndarray, at: tuple[float, float], weights: int) -> None:
    """The map's cells in one row above a matrix that has ``weights`` columns; what is left over is marked."""
    flat = grid.reshape(-1, 3)
    x, y = at
    step = 28.0 / weights
    rows = 5
    for i, shade in enumerate(flat):
        axes.add_patch(Rectangle((x + i * step, y + 2.6), step, 3.6, fc=shade, ec="none"))
    axes.add_patch(Rectangle((x, y - 6.2), weights * step, rows * 1.4, fc="#dfe9e8", ec=INK, lw=0.8))
    for row in range(1, rows):
        axes.plot([x, x + weights * step], [y - 6.2 + row * 1.4] * 2, color="white", lw=1)
    _text(axes, x, y + 8.2, f"flattened: {len(flat)}", ha="left")
    _text(axes, x, y - 8.2, f"{weights} columns of weights", ha="left", color=FAINT)
    if len(flat) > weights:
        end = x + weights * step
        axes.add_patch(
            Rectangle((end, y - 6.2), (len(flat) - weights) * step, 12.4, fc="none", ec=WRONG, lw=1.4, ls=(0, (3, 2)))
        )
        _text(axes, end + (len(flat) - weights) * step / 2, y - 2.6, "no\nweights", color=WRONG)
    else:
        _arrow(axes, (x + weights * step + 0.8, y - 2.7), (x + weights * step + 4.6, y - 2.7))
        for row in range(rows):
            axes.add_patch(Rectangle((x + weights * step + 5.2, y - 6.2 + row * 1.4), 1.4, 1.4, fc=INK, ec="white"))
        _text(axes, x + weights * step + 7.2, y - 2.7, "one\nscore\na class", ha="left")


# ------------------------------------------------------------------------------------------------------- small strokes


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes that fill the figure, 100 units wide, with square units."""
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.5, 100.5)
    axes.set_ylim(0, 101 * height / width)
    axes.set_axis_off()
    return figure, axes


def _text(axes: Axes, x: float, y: float, text: str, **more: Any) -> None:
    usual: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9.5, "color": INK, "linespacing": 1.1}
    axes.text(x, y, text, **(usual | more))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK) -> None:
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, lw=1.3, color=color, **style))


def _path(axes: Axes, points: list[tuple[float, float]], color: str, dashed: bool = False) -> None:
    """A line along ``points`` that ends in an arrow."""
    style = (0, (4, 2)) if dashed else "-"
    xs, ys = zip(*points[:-1], strict=True)
    axes.plot(xs, ys, color=color, lw=1.6, ls=style, solid_joinstyle="round")
    before, end = np.array(points[-2]), np.array(points[-1])
    neck = end - (end - before) / np.linalg.norm(end - before) * 1.5
    axes.plot([before[0], neck[0]], [before[1], neck[1]], color=color, lw=1.6, ls=style)
    _arrow(axes, tuple(neck), tuple(end), color)


def _picture(
    axes: Axes, image: np.ndarray, centre: tuple[float, float], width: float,
    grid: tuple[int, int] | None = None, edge: str = INK,
) -> None:  # fmt: skip
    """An image of this width around a centre, with the lines between the ``grid``'s rows and columns."""
    height = width * image.shape[0] / image.shape[1]
    left, bottom = centre[0] - width / 2, centre[1] - height / 2
    axes.imshow(image, extent=(left, left + width, bottom, bottom + height), aspect="auto", zorder=2)
    if grid is not None:
        lines: dict[str, Any] = {"colors": "white", "lw": 3 / max(grid) ** 0.9, "zorder": 3}
        axes.hlines(np.linspace(bottom, bottom + height, grid[0] + 1), left, left + width, **lines)
        axes.vlines(np.linspace(left, left + width, grid[1] + 1), bottom, bottom + height, **lines)
    axes.add_patch(Rectangle((left, bottom), width, height, fill=False, ec=edge, lw=1.2, zorder=4))


def _cells(axes: Axes, colours: np.ndarray, corner: tuple[float, float], step: float) -> None:
    """A grid of coloured squares, h x w x 3, whose lower left corner is given."""
    height, width = colours.shape[:2]
    left, bottom = corner
    axes.imshow(colours, extent=(left, left + width * step, bottom, bottom + height * step), aspect="auto", zorder=1)
    lines: dict[str, Any] = {"colors": "white", "lw": 0.8, "zorder": 1.5}
    axes.hlines(bottom + np.arange(height + 1) * step, left, left + width * step, **lines)
    axes.vlines(left + np.arange(width + 1) * step, bottom, bottom + height * step, **lines)


def _slab(axes: Axes, centre: tuple[float, float], side: float, thick: float, color: str) -> float:
    """A stack of square maps seen from the side, as thick as it has channels; returns the x of its right edge."""
    base = np.array(to_rgb(color))
    lean = 0.18 * side  # how far the sides run to the back, to the right and upwards
    left, right = centre[0] - thick / 2, centre[0] + thick / 2
    low, high = centre[1] - side / 2, centre[1] + side / 2
    front = [(left, low), (right, low), (right, high), (left, high)]
    top = [(left, high), (right, high), (right + lean, high + lean), (left + lean, high + lean)]
    flank = [(right, low), (right + lean, low + lean), (right + lean, high + lean), (right, high)]
    for corners, shade in ((front, base), (top, base + (1 - base) * 0.45), (flank, base * 0.78)):
        axes.add_patch(Polygon(corners, closed=True, fc=shade, ec="white", lw=0.7, joinstyle="round", zorder=2))
    return right + lean


def _plus(axes: Axes, centre: tuple[float, float], color: str) -> None:
    axes.add_patch(Circle(centre, 2.1, fc="white", ec=color, lw=1.8, zorder=5))
    _text(axes, centre[0], centre[1], "+", fontsize=13, weight="bold", zorder=6)


def _upsampling(axes: Axes, centre: tuple[float, float], factor: int, color: str) -> None:
    """The box of an upsampling layer."""
    x, y = centre
    shape = "round,pad=0,rounding_size=0.9"
    axes.add_patch(FancyBboxPatch((x - 3, y - 1.9), 6, 3.8, boxstyle=shape, fc=color, ec="white", lw=1, zorder=5))
    _text(axes, x, y - 0.1, f"×{factor}", color="white", weight="bold", zorder=6)
