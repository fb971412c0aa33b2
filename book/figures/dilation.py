"""Section 3.2: shifted nets and the dilated net, a dilated filter, padded borders, the cost of dense scores."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from figures import grids, style

SHIFTS = ("#1b7f79", "#b0722b", "#5b6fa8", "#8c3b6b")  # one per shift of a small net
LABELS = {
    "dilated": "dilated",
    "shift-and-stitch": "shift-and-stitch",
    "FCN": "FCN-32s, 16s, 8s: then upsampled",
}
NETS = {"alexnet": "#b0722b", "vgg16": "#5b6fa8", "googlenet": "#1b7f79"}


def connections(
    layers: Sequence[tuple[int, int]], names: style.Names, pixels: int
) -> Figure:
    """A net in one dimension, [(kernel, stride), ...], for each shift of its input and, last, dilated."""
    stride = int(np.prod([s for _, s in layers]))
    titles = [f"shifted by {shift}" for shift in range(stride)] + [
        "dilated, all strides 1"
    ]
    figure, panels = plt.subplots(1, stride + 1, figsize=(7, 2.9), sharey=True)
    for panel, title in enumerate(titles):
        axes = panels[panel]
        for shift in range(stride) if panel == stride else [panel]:
            _connected(axes, layers, pixels, shift, stride)
        axes.scatter(
            range(pixels),
            np.zeros(pixels),
            s=26,
            facecolor="white",
            edgecolor=style.INK,
            zorder=4,
        )
        axes.set(
            title=title,
            xlim=(-0.8, pixels - 0.2),
            ylim=(-0.4, len(layers) + 0.4),
            xlabel="pixel",
        )
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks(range(0, pixels, 2))
    panels[0].set_yticks(range(len(names)), names)
    return figure


def _connected(
    axes: Axes, layers: Sequence[tuple[int, int]], pixels: int, shift: int, stride: int
) -> None:
    """Cells of one shift, each with lines to its inputs."""
    tint = SHIFTS[shift % len(SHIFTS)]
    step, offset, cells = (
        1,
        0.0,
        pixels,
    )  # of the dense map below; a filter reads every step-th cell of it
    for height, (kernel, s) in enumerate(layers):
        above = cells - (kernel - 1) * step
        centre = offset + (kernel - 1) * step / 2
        places = range(shift % (step * s), above, step * s)
        for j in places:
            for t in range(kernel):
                axes.plot(
                    [j + t * step + offset, j + centre],
                    [height, height + 1],
                    color=tint,
                    lw=1,
                    zorder=1,
                )
        axes.scatter(
            [j + centre for j in places],
            [height + 1] * len(places),
            s=40,
            color=tint,
            zorder=3,
        )
        step, offset, cells = step * s, centre, above


def dilated_filter(filters: ArrayLike, stride: int) -> Figure:
    """A filter (k x k), and the same with ``stride`` - 1 rows and columns of zeros between its rows and columns."""
    small = np.asarray(filters)
    large = np.zeros([stride * (n - 1) + 1 for n in small.shape])
    large[::stride, ::stride] = small
    figure, axes = plt.subplots(figsize=(4.6, 2.4))
    side, wide = len(small), len(large)
    grids.draw(axes, small, (0, (wide - side) / 2), "f")
    grids.sign(axes, (side + 0.8, wide / 2), "→")

    def tint(i: int, j: int) -> str:
        return grids.PAPER if i % stride == j % stride == 0 else "white"

    grids.draw(
        axes,
        large,
        (side + 1.6, 0),
        f"f ', for a stride of {stride} removed",
        colour=tint,
    )
    grids.finish(axes, side + 1.6 + wide, wide)
    return figure


def borders(image: ArrayLike, differences: Mapping[str, ArrayLike]) -> Figure:
    """An image (H x W x 3) and maps of the relative difference of two nets' scores, on one logarithmic scale."""
    figure, axes = plt.subplots(
        1, len(differences) + 1, figsize=(7, 7 / (len(differences) + 1) + 0.5)
    )
    style.show(axes[0], np.asarray(image), "the image")
    axes[0].set_axis_on()
    axes[0].set(xticks=[], yticks=[])
    for axis, (title, values) in zip(axes[1:], differences.items(), strict=True):
        shown = axis.imshow(
            np.log10(np.maximum(np.asarray(values), 1e-8)), cmap="mako", vmin=-8, vmax=0
        )
        axis.set_title(title)
        axis.set(xticks=[], yticks=[])
    bar = figure.colorbar(
        shown, ax=axes[1:].tolist(), shrink=0.85, ticks=[-8, -6, -4, -2, 0]
    )
    bar.set_ticklabels(["0", "$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "1"])
    bar.set_label("difference / size of the scores")
    return figure


def costs(
    counts: Mapping[str, Mapping[str, Mapping[int, float]]], label: str
) -> Figure:
    """Costs of each net, one panel per net, against the stride of its scores: {net: {way: {stride: cost}}}."""
    size = (min(2.8 + 1.6 * len(counts), 7), 3.3)
    figure, panels = plt.subplots(
        1, len(counts), figsize=size, sharey=True, squeeze=False
    )
    for axes, (net, ways) in zip(panels[0], counts.items(), strict=True):
        for way, values in ways.items():
            strides = sorted(values, reverse=True)
            heights = [values[s] for s in strides]
            axes.plot(np.log2(strides), heights, **_look(way, NETS[net]))
        axes.set(
            title=net, yscale="log", xlabel="stride of the scores", xlim=(5.4, -0.4)
        )
        axes.set_xticks(range(6), [f"{2**power}" for power in range(6)])
        axes.grid(axis="y", color="#eceeef")
    panels[0, 0].set_ylabel(label)
    present = [way for way in LABELS if any(way in ways for ways in counts.values())]
    keys = [
        Line2D([], [], label=LABELS[way], **_look(way, style.COLOURS["loss"]))
        for way in present
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def _look(way: str, tint: str) -> dict[str, str]:
    if way == "FCN":
        return {"marker": "D", "linestyle": "", "color": style.HIGHLIGHT}
    if way == "dilated":
        return {"marker": "o", "linestyle": "-", "color": tint}
    return {"marker": "s", "linestyle": ":", "color": tint, "mfc": "white"}
