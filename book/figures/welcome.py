"""Chapter 1: a timeline of nets, a fully connected layer as a convolution, the FCN in one figure."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import (
    Circle,
    FancyArrowPatch,
    FancyBboxPatch,
    Polygon,
    Rectangle,
)

from fcn.data.sample import VOID
from figures.shared import apart
from figures.style import COLOURS, FAINT, INK, WRONG, Palette, colour

Point = tuple[float, float]

# Year and month of the first publication: those in the arXiv number, else those of the conference or journal.
CLASSIFIERS = {
    "AlexNet": (2012, 12),
    "VGG16": (2014, 9),
    "GoogLeNet": (2014, 9),
    "ResNet-152": (2015, 12),
}
DENSE = {  # with the classifiers whose layers a dense net used, in the paper that introduced it
    "Farabet et al.": (2013, 8, "a convnet, then superpixels", ()),
    "R-CNN": (2013, 11, "a convnet on proposed boxes", ("AlexNet",)),
    "OverFeat": (2013, 12, "a convnet slid over the image", ()),
    "SDS": (2014, 7, "R-CNN with proposed masks", ()),
    "FCN": (
        2014,
        11,
        "pixels in, pixels out, one net",
        ("AlexNet", "VGG16", "GoogLeNet"),
    ),
    "DeepLab": (2014, 12, "dilation instead of stride", ("VGG16",)),
    "DeconvNet": (2015, 5, "a decoder as deep as its encoder", ("VGG16",)),
    "U-Net": (2015, 5, "a deep decoder, not pretrained", ()),
    "DeepLab v2": (2016, 6, "dilated ResNet-101", ("ResNet-152",)),
}


def timeline(size: Mapping[str, tuple[int, float]]) -> Figure:
    """Classifiers, with ``size`` (layers, millions of parameters), and the dense nets built on them, by year."""
    figure, axes = plt.subplots(figsize=(6.4, 6.6))
    left, right = 0.0, 2.3
    places: dict[str, Point] = {}
    for x, works in ((left, CLASSIFIERS), (right, DENSE)):
        ys = apart([_months(*when[:2]) for when in works.values()], 3.1)
        places |= {name: (x, y) for name, y in zip(works, ys, strict=True)}

    for target, (*_, sources) in DENSE.items():
        look: dict[str, Any] = {
            "arrowstyle": "-|>",
            "mutation_scale": 9,
            "connectionstyle": "arc3,rad=-0.06",
        }
        look |= (
            {"lw": 2.0, "color": COLOURS["8s"]}
            if target == "FCN"
            else {"lw": 0.9, "color": "#c3c8cd"}
        )
        for source in sources:
            arrow = FancyArrowPatch(
                places[source], places[target], shrinkA=4, shrinkB=7, zorder=1, **look
            )
            axes.add_patch(arrow)
    for name in CLASSIFIERS:
        layers, millions = size[name]
        x, y = places[name]
        axes.scatter(
            x, y, s=7 * millions, color=COLOURS["32s"], ec="white", lw=1, zorder=3
        )
        axes.text(
            x - 0.42,
            y,
            name,
            ha="right",
            va="bottom",
            fontsize=10,
            weight="bold",
            color=INK,
        )
        axes.text(
            x - 0.42,
            y + 0.2,
            f"{layers} layers, {millions:.0f} M",
            ha="right",
            va="top",
            fontsize=9.5,
            color=FAINT,
        )
    for name, (*_, what, _) in DENSE.items():
        x, y = places[name]
        main = name == "FCN"
        axes.scatter(
            x,
            y,
            s=130 if main else 45,
            color=COLOURS["8s" if main else "others"],
            ec="white",
            zorder=3,
        )
        tint = COLOURS["8s"] if main else INK
        axes.text(
            x + 0.17,
            y,
            name,
            va="bottom",
            fontsize=12 if main else 10,
            weight="bold",
            color=tint,
        )
        axes.text(
            x + 0.17,
            y + 0.2,
            what,
            va="top",
            fontsize=9.5,
            color=FAINT,
            linespacing=1.1,
        )

    top = _months(2012, 9)
    axes.text(
        left,
        top,
        "one answer for an image",
        ha="center",
        fontsize=10,
        color=INK,
        style="italic",
    )
    axes.text(
        right + 0.9,
        top,
        "an answer for each place",
        ha="center",
        fontsize=10,
        color=INK,
        style="italic",
    )
    for year in range(2013, 2017):
        axes.axhline(_months(year, 1), color="#e6e9eb", lw=0.8, zorder=0)
        axes.text(
            -2.35, _months(year, 1), str(year), fontsize=9.5, color=FAINT, va="bottom"
        )
    axes.set(xlim=(-2.4, 4.9), ylim=(_months(2016, 9), top - 1))
    axes.set_axis_off()
    return figure


def _months(year: int, month: int) -> float:
    return 12.0 * (year - 2012) + month - 1


def coarse_labels(labels: np.ndarray, stride: int) -> np.ndarray:
    """Most frequent class of each ``stride`` x ``stride`` block of a label map; void has no vote unless it is alone."""
    rows, columns = labels.shape[0] // stride, labels.shape[1] // stride
    blocks = (
        labels.reshape(rows, stride, columns, stride)
        .swapaxes(1, 2)
        .reshape(rows * columns, -1)
    )
    votes = np.stack(
        [np.bincount(block, minlength=VOID + 1)[: VOID + 1] for block in blocks]
    )
    votes[:, VOID] = 0
    return np.where(votes.any(1), votes.argmax(1), VOID).reshape(rows, columns)


def architecture(
    image: np.ndarray,
    labels: np.ndarray,
    palette: Palette,
    names: Mapping[int, str],
    channels: Mapping[int, int],
) -> Figure:
    """FCN-32s, 16s and 8s: the backbone above, score layers below its maps, fused from right to left, upsampled.

    ``image`` H x W x 3 and ``labels`` H x W of one scene, sides multiples of 32; ``names`` and ``channels`` of the
    backbone's maps at strides 8, 16 and 32. The small maps are the scene's own labels at each stride.
    """
    figure, axes = _canvas(6.4, 5.75)
    columns = {8: 46.4, 16: 67.3, 32: 88.2}
    maps, scores, fuse = 73.0, 48.0, 24.5

    _text(axes, 12, 87.5, "image", weight="bold")
    _text(
        axes,
        66,
        87.5,
        "backbone: a classifier, convolutional throughout",
        weight="bold",
    )
    _picture(axes, image, (12, maps), 22)

    slabs = {
        2: (28.0, 1.2),
        4: (34.6, 1.8),
        8: (columns[8], 2.8),
        16: (columns[16], 4.4),
        32: (columns[32], 7.5),
    }
    right = 23.4
    for stride, (x, thick) in slabs.items():
        side = (
            16.5 * stride**-0.42
        )  # not to scale: a half each time would leave nothing to see
        _arrow(axes, (right, maps), (x - thick / 2 - 0.5, maps))
        right = (
            _slab(axes, (x, maps), side, thick, COLOURS.get(f"{stride}s", "#c3c8cd"))
            + 0.4
        )
        if stride in names:
            _text(axes, x, maps + 9.4, f"stride {stride}", weight="bold")
            _text(
                axes,
                x,
                maps + 6.6,
                f"{names[stride]}, {channels[stride]} maps",
                color=FAINT,
            )

    for stride, x in columns.items():
        tint = COLOURS[f"{stride}s"]
        _arrow(axes, (x, maps - 8.25 * stride**-0.42 - 0.6), (x, scores + 7.0), tint)
        _text(axes, x + 1.2, scores + 12.2, "score\n1×1 conv", ha="left")
        cells = coarse_labels(labels, stride)
        _picture(
            axes,
            colour(cells, palette),
            (x, scores),
            17,
            tint,
            3 / max(cells.shape) ** 0.9,
        )
        if stride < 32:
            _arrow(axes, (x, scores - 6.9), (x, fuse + 2.6), tint)
            _text(axes, x + 1.2, (scores + fuse) / 2 - 2, "skip", ha="left")
            axes.add_patch(
                Circle((x, fuse), 2.1, fc="white", ec=tint, lw=1.8, zorder=5)
            )
            _text(axes, x, fuse, "+", fontsize=13, weight="bold", zorder=6)

    x32, x16, x8 = columns[32], columns[16], columns[8]
    _path(axes, [(x32, scores - 6.9), (x32, fuse), (x16 + 2.6, fuse)], COLOURS["32s"])
    _path(axes, [(x16 - 2.2, fuse), (x8 + 2.6, fuse)], COLOURS["16s"])
    _path(axes, [(x8 - 2.2, fuse), (23.6, fuse)], COLOURS["8s"])
    for x, stride in (((x32 + x16) / 2, 32), ((x16 + x8) / 2, 16)):
        _upsampling(axes, (x, fuse), 2, COLOURS[f"{stride}s"])
    _text(axes, 34, fuse + 3.5, "FCN-8s", color=COLOURS["8s"], weight="bold")
    _upsampling(axes, (34, fuse), 8, COLOURS["8s"])
    for stride, y, start, target in (
        (16, 10.0, (x16, fuse - 2.2), 14.0),
        (32, 3.5, (x32, fuse), 7.0),
    ):
        tint = COLOURS[f"{stride}s"]
        _text(axes, 39, y + 2, f"FCN-{stride}s", ha="left", color=tint, weight="bold")
        _path(
            axes,
            [start, (start[0], y), (target, y), (target, fuse - 8.9)],
            tint,
            dashed=True,
        )
        _upsampling(axes, (34, y), stride, tint)

    _picture(axes, colour(labels, palette), (12, fuse), 22)
    _text(
        axes, 13, fuse + 12.6, "a score for each class\nat every pixel", weight="bold"
    )
    return figure


def fully_connected(image: np.ndarray, kernel: int = 6) -> Figure:
    """A fully connected layer on a map of its own size, on that of a wider ``image``, and as a convolution."""
    figure, axes = _canvas(6.4, 5.0)
    block = image.shape[0] // kernel  # a cell is the mean colour of a block
    wide = image[: kernel * block, : image.shape[1] // block * block]
    cells = wide.reshape(kernel, block, -1, block, 3).mean((1, 3)) / 255
    height, left = 15.4, 25.5
    step = height / kernel
    end = left + cells.shape[1] * step
    for middle, photo, grid, title in (
        (
            66.0,
            image[:, : image.shape[0]],
            cells[:, :kernel],
            "the size it was made for: cells and weights match",
        ),
        (38.6, image, cells, "a wider image: more cells than weights"),
        (
            11.2,
            image,
            cells,
            "the same weights as a convolution: any size, scores with a place",
        ),
    ):
        width = height * photo.shape[1] / photo.shape[0]
        _text(axes, 0, middle + 10.6, title, ha="left", weight="bold")
        _picture(axes, photo, (width / 2, middle), width)
        _arrow(axes, (width + 0.6, middle), (left - 0.6, middle))
        _picture(
            axes,
            grid,
            (left + grid.shape[1] * step / 2, middle),
            grid.shape[1] * step,
            "none",
            0.8,
        )
        _text(
            axes,
            left,
            middle - height / 2 - 2,
            f"{kernel} × {grid.shape[1]} cells",
            ha="left",
            color=FAINT,
        )
        if "convolution" not in title:
            _arrow(axes, (left + grid.shape[1] * step + 0.6, middle), (56.4, middle))
            _flattened(axes, grid, (57, middle), kernel * kernel)
            continue
        places = cells.shape[1] - kernel + 1
        last = (left + (places - 1) * step, middle - height / 2)
        axes.add_patch(
            Rectangle(
                last, height, height, fill=False, ec=COLOURS["8s"], lw=3, zorder=5
            )
        )
        _arrow(axes, (end + 0.6, middle), (56.4, middle), COLOURS["8s"])
        for i in range(places):
            shade = COLOURS["8s"] if i == places - 1 else "#a9d1cc"
            axes.add_patch(
                Rectangle(
                    (57 + i * 5, middle - 2.5), 5, 5, fc=shade, ec="white", lw=1.5
                )
            )
        _text(
            axes,
            57,
            middle + 5.2,
            f"{kernel} × {kernel} kernel, {places} places",
            ha="left",
        )
        _text(
            axes,
            57,
            middle - 4.9,
            f"1 × {places} scores for each class",
            ha="left",
            color=FAINT,
        )
    return figure


def _flattened(
    axes: Axes, grid: np.ndarray, at: tuple[float, float], weights: int
) -> None:
    """The map's cells in one row above a matrix of ``weights`` columns; cells without a column are marked."""
    flat, (x, y), step, rows = grid.reshape(-1, 3), at, 28.0 / weights, 5
    for i, shade in enumerate(flat):
        axes.add_patch(
            Rectangle((x + i * step, y + 2.6), step, 3.6, fc=shade, ec="none")
        )
    axes.add_patch(
        Rectangle(
            (x, y - 6.2), weights * step, rows * 1.4, fc="#dfe9e8", ec=INK, lw=0.8
        )
    )
    for row in range(1, rows):
        axes.plot(
            [x, x + weights * step], [y - 6.2 + row * 1.4] * 2, color="white", lw=1
        )
    _text(axes, x, y + 8.2, f"flattened: {len(flat)}", ha="left")
    _text(axes, x, y - 8.2, f"{weights} columns of weights", ha="left", color=FAINT)
    end, more = x + weights * step, (len(flat) - weights) * step
    if more > 0:
        axes.add_patch(
            Rectangle(
                (end, y - 6.2), more, 12.4, fc="none", ec=WRONG, lw=1.4, ls=(0, (3, 2))
            )
        )
        _text(axes, end + more / 2, y - 2.6, "no\nweights", color=WRONG)
    else:
        _arrow(axes, (end + 0.8, y - 2.7), (end + 4.6, y - 2.7))
        for row in range(rows):
            axes.add_patch(
                Rectangle(
                    (end + 5.2, y - 6.2 + row * 1.4), 1.4, 1.4, fc=INK, ec="white"
                )
            )
        _text(axes, end + 7.2, y - 2.7, "score\nper\nclass", ha="left")


# Drawing helpers


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes that fill the figure, 100 units wide, with square units."""
    figure = plt.figure(figsize=(width, height), layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, 100.5), ylim=(0, 101 * height / width))
    axes.set_axis_off()
    return figure, axes


def _text(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    usual: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "fontsize": 9.5,
        "color": INK,
        "linespacing": 1.1,
    }
    axes.text(x, y, text, **(usual | options))


def _arrow(axes: Axes, start: Point, end: Point, tint: str = INK) -> None:
    shape: dict[str, Any] = {
        "arrowstyle": "-|>",
        "mutation_scale": 9,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.add_patch(FancyArrowPatch(start, end, lw=1.3, color=tint, **shape))


def _path(axes: Axes, points: list[Point], tint: str, dashed: bool = False) -> None:
    """A line along ``points`` that ends in an arrow."""
    before, end = np.array(points[-2]), np.array(points[-1])
    neck = end - (end - before) / np.linalg.norm(end - before) * 1.5
    xs, ys = zip(*points[:-1], tuple(neck), strict=True)
    axes.plot(
        xs,
        ys,
        color=tint,
        lw=1.6,
        ls=(0, (4, 2)) if dashed else "-",
        solid_joinstyle="round",
    )
    _arrow(axes, tuple(neck), tuple(end), tint)


def _picture(
    axes: Axes,
    image: np.ndarray,
    centre: Point,
    width: float,
    edge: str = INK,
    lines: float = 0.0,
) -> None:
    """An image of this width around a centre, with ``lines`` of this width between its pixels."""
    height = width * image.shape[0] / image.shape[1]
    left, bottom = centre[0] - width / 2, centre[1] - height / 2
    axes.imshow(
        image,
        extent=(left, left + width, bottom, bottom + height),
        aspect="auto",
        zorder=2,
    )
    if lines:
        look: dict[str, Any] = {"colors": "white", "lw": lines, "zorder": 3}
        axes.hlines(
            np.linspace(bottom, bottom + height, image.shape[0] + 1),
            left,
            left + width,
            **look,
        )
        axes.vlines(
            np.linspace(left, left + width, image.shape[1] + 1),
            bottom,
            bottom + height,
            **look,
        )
    axes.add_patch(
        Rectangle((left, bottom), width, height, fill=False, ec=edge, lw=1.2, zorder=4)
    )


def _slab(axes: Axes, centre: Point, side: float, thick: float, tint: str) -> float:
    """A stack of square maps seen from the side; its thickness shows the channels. Returns the x of its right edge."""
    base = np.array(to_rgb(tint))
    lean = 0.18 * side  # how far the sides run to the back, to the right and upwards
    left, right = centre[0] - thick / 2, centre[0] + thick / 2
    low, high = centre[1] - side / 2, centre[1] + side / 2
    front = [(left, low), (right, low), (right, high), (left, high)]
    top = [
        (left, high),
        (right, high),
        (right + lean, high + lean),
        (left + lean, high + lean),
    ]
    flank = [
        (right, low),
        (right + lean, low + lean),
        (right + lean, high + lean),
        (right, high),
    ]
    for corners, shade in (
        (front, base),
        (top, base + (1 - base) * 0.45),
        (flank, base * 0.78),
    ):
        axes.add_patch(
            Polygon(
                corners,
                closed=True,
                fc=shade,
                ec="white",
                lw=0.7,
                joinstyle="round",
                zorder=2,
            )
        )
    return right + lean


def _upsampling(axes: Axes, centre: Point, factor: int, tint: str) -> None:
    """The box of an upsampling layer."""
    x, y = centre
    shape = "round,pad=0,rounding_size=0.9"
    axes.add_patch(
        FancyBboxPatch(
            (x - 3, y - 1.9),
            6,
            3.8,
            boxstyle=shape,
            fc=tint,
            ec="white",
            lw=1,
            zorder=5,
        )
    )
    _text(axes, x, y - 0.1, f"×{factor}", color="white", weight="bold", zorder=6)
