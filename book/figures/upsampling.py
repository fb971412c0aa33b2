"""Chapter 4: interpolation as stamped tents, transposed convolution and its filters, alignment, borders, learning."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fcn.geometry import ReceptiveField
from figures import grids, style

TINTS = ("#8da0cb", "#e0a458", "#7fb69a", "#d98a94")
INK = style.COLOURS["loss"]


def tents(values: ArrayLike, factor: int) -> Figure:
    """Linear interpolation of ``values``, ``factor`` (even) times finer: each value stamps a tent, and tents add up."""
    heights = np.asarray(values, float)
    centres = factor * np.arange(len(heights)) + (factor - 1) / 2
    pixels = np.arange(factor * len(heights))
    line = np.linspace(
        -0.5, pixels[-1] + 0.5, 40 * len(pixels) + 1
    )  # meets every centre

    def tent(x: NDArray, i: int) -> NDArray:
        return heights[i] * np.clip(1 - np.abs(x - centres[i]) / factor, 0, None)

    figure, axes = plt.subplots(figsize=(7.4, 3.0))
    for i, (centre, tint) in enumerate(zip(centres, cycle(TINTS), strict=False)):
        axes.fill_between(line, tent(line, i), color=tint, alpha=0.35, linewidth=0)
        axes.plot(line, tent(line, i), color=tint, linewidth=1.2)
        axes.plot(
            [centre, centre],
            [0, heights[i]],
            color=tint,
            linewidth=3,
            solid_capstyle="round",
        )
    axes.plot(
        line,
        np.sum([tent(line, i) for i in range(len(heights))], axis=0),
        color=INK,
        linewidth=1,
    )
    total = np.sum([tent(pixels, i) for i in range(len(heights))], axis=0)
    axes.plot(
        pixels,
        total,
        "o",
        color=INK,
        markersize=4,
        label="the tents' sum, at the pixels",
    )
    axes.plot(
        [], [], color=TINTS[0], linewidth=3, label="a cell, and the tent that it stamps"
    )
    axes.set(
        xlabel="pixel", xticks=pixels[:: factor // 2], ylabel="score", ylim=(0, None)
    )
    axes.legend(loc="upper center", ncol=2, bbox_to_anchor=(0.5, 1.18))
    return figure


def stamps(values: ArrayLike, kernel: ArrayLike, stride: int) -> Figure:
    """A transposed convolution: each cell of ``values`` (2 x 2) stamps ``kernel`` (k x k), and the stamps add up."""
    cells, weights = np.asarray(values), np.asarray(kernel)
    side = stride * (len(cells) - 1) + len(weights)
    indices = list(np.ndindex(cells.shape))
    tints = dict(zip(indices, TINTS, strict=True))

    def covers(cell: tuple[int, ...], row: int, column: int) -> bool:
        return all(
            0 <= p - stride * c < len(weights)
            for p, c in zip((row, column), cell, strict=True)
        )

    def tint(row: int, column: int) -> grids.Colour:
        over = [to_rgb(tints[cell]) for cell in indices if covers(cell, row, column)]
        return tuple(np.mean(over, axis=0)) if over else "white"

    printed = []
    for cell in indices:
        stamp = np.full((side, side), np.nan)
        row, column = (stride * c for c in cell)
        stamp[row : row + len(weights), column : column + len(weights)] = (
            cells[cell] * weights
        )
        printed.append(stamp)

    gap = 0.9
    width = len(indices) * side + (len(indices) - 1) * gap
    figure, axes = plt.subplots(figsize=(7.6, 7.6 * (2 * side + 3.4) / width))
    left = (width - (len(cells) + len(weights) + side + 5)) / 2
    middle = side / 2
    grids.draw(
        axes,
        cells,
        (left, middle - 1),
        "cells",
        colour=lambda r, c: tints[r, c],
        fontsize=10,
    )
    left += len(cells) + 2.5
    grids.sign(axes, (left - 1.25, middle), r"$\ast^\top$")
    grids.draw(axes, weights, (left, middle - len(weights) / 2), "filter", fontsize=9)
    left += len(weights) + 2.5
    grids.sign(axes, (left - 1.25, middle), "=")
    grids.draw(
        axes,
        np.nansum(printed, axis=0),
        (left, 0),
        "the sum of the four stamps",
        colour=tint,
        fontsize=9,
    )
    below = side + 2
    for i, (cell, stamp) in enumerate(zip(indices, printed, strict=True)):
        corner = (i * (side + gap), below)
        tinted = partial(
            lambda cell, r, c: tints[cell] if covers(cell, r, c) else "white", cell
        )
        grids.draw(
            axes, stamp, corner, f"{cells[cell]:g} × filter", colour=tinted, fontsize=9
        )
        if i:
            grids.sign(axes, (corner[0] - gap / 2, below + middle), "+")
    grids.finish(axes, width, below + side)
    return figure


def matrices(matrix: ArrayLike) -> Figure:
    """A convolution along one axis as a matrix, and its transpose."""
    values = np.asarray(matrix, float)
    rows, columns = values.shape
    marked = np.where(values == 0, np.nan, values)
    figure, axes = plt.subplots(figsize=(7.0, 4.2))
    middle, left = columns / 2, columns + 4.2

    def draw(numbers: NDArray, corner: tuple[float, float], title: str) -> None:
        grids.draw(
            axes,
            numbers,
            corner,
            title,
            colour=lambda r, c: "white" if np.isnan(numbers[r, c]) else TINTS[0],
        )

    draw(marked, (1.2, middle - rows / 2), "convolution: fine to coarse")
    draw(marked.T, (left, 0), "transposed: coarse to fine")
    label = {"ha": "center", "va": "center", "fontsize": 10, "color": INK}
    axes.text(
        1.2 + columns / 2, middle + rows / 2 + 0.6, f"{columns} fine cells in", **label
    )
    axes.text(0.6, middle, f"{rows} coarse cells out", rotation=90, **label)
    axes.text(left + rows / 2, columns + 0.6, f"{rows} coarse in", **label)
    axes.text(left - 0.6, middle, f"{columns} fine cells out", rotation=90, **label)
    grids.finish(axes, left + rows, columns + 0.9)
    return figure


def filters(even: ArrayLike, odd: ArrayLike) -> Figure:
    """The bilinear filters of one factor, with an even and with an odd number of taps: profiles and pictures."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 2.7), width_ratios=[1.7, 1, 1])
    factor = len(np.asarray(even)) // 2
    axes[0].plot([-factor, 0, factor], [0, 1, 0], color="#c9ccd1", linewidth=2)
    for values, picture, marker, tint in zip(
        (even, odd), axes[1:], "os", ("8s", "paper"), strict=True
    ):
        taps = len(np.asarray(values))
        profile = np.sqrt(
            np.diag(values)
        )  # the filter is the product of its profile with itself
        places = np.arange(taps) - (taps - 1) / 2
        axes[0].plot(
            places,
            profile,
            marker,
            color=style.COLOURS[tint],
            markersize=6,
            label=f"{taps} taps",
        )
        style.show(picture, np.asarray(values), f"{taps} × {taps}", vmin=0, vmax=1)
    axes[0].set(
        xlabel="fine cells from the centre of the coarse cell",
        ylabel="weight",
        ylim=(0, 1.05),
    )
    axes[0].legend(loc="upper left")
    return figure


def centres(fields: Mapping[str, Mapping[int, ReceptiveField]], width: int) -> Figure:
    """Centres of cells, {net: {stride: field}}, in the first ``width`` pixels; hollow: those of a stretched map."""
    figure, axes = plt.subplots(figsize=(7.4, 3.6))
    rows: list[str] = []
    for net, maps in fields.items():
        for stride, field in sorted(maps.items()):
            cells, tint = (
                stride * np.arange(width // stride),
                style.COLOURS[f"{stride}s"],
            )
            y = np.full(len(cells), len(rows))
            axes.axhline(len(rows), color="#e3e5e8", linewidth=1, zorder=0)
            axes.plot(
                (stride - 1) / 2 + cells,
                y,
                "o",
                color=tint,
                markersize=8,
                fillstyle="none",
            )
            axes.plot(float(field.offset) + cells, y, "o", color=tint, markersize=5)
            rows.append(f"{net}, stride {stride}")
        rows.append("")
    axes.axvline(-0.5, color=INK, linewidth=1.5)
    axes.text(0.3, -1.0, "← the image's edge", fontsize=9, color=INK, va="center")
    axes.plot([], [], "o", color=INK, markersize=5, label="centre of a cell")
    axes.plot(
        [],
        [],
        "o",
        color=INK,
        markersize=8,
        fillstyle="none",
        label="its place in the stretched map",
    )
    axes.set(xlim=(-4, width + 4), ylim=(len(rows) - 1.4, -1.6), xlabel="pixel")
    axes.set_yticks(
        [i for i, row in enumerate(rows) if row], [row for row in rows if row]
    )
    axes.legend(loc="upper center", ncol=2, bbox_to_anchor=(0.45, -0.16))
    return figure


def shifted(
    image: Tensor,
    masks: Mapping[str, NDArray[np.bool_]],
    curves: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """Outlines of one class (H x W, by title) for several shifts, and mean IU: {"32s": [(pixels, percent), ...]}."""
    layout = [[*masks], ["curves"] * len(masks)]
    figure, panels = plt.subplot_mosaic(
        layout, figsize=(7.6, 5.6), height_ratios=[1.1, 1]
    )
    for title, mask in masks.items():
        style.show(panels[title], image, title)
        for colour, width in (("white", 2.6), (style.HIGHLIGHT, 1.4)):
            panels[title].contour(
                mask.astype(float), [0.5], colors=[colour], linewidths=width
            )
    axes = panels["curves"]
    for name, points in curves.items():
        x, y = zip(*points, strict=True)
        stride = int(name.rstrip("s"))
        axes.plot(
            x,
            y,
            "o-",
            color=style.COLOURS[name],
            markersize=4,
            label=f"stride {stride}",
        )
        half = np.interp(stride / 2, x, y)
        axes.plot(
            [stride / 2],
            [half],
            "o",
            color=style.COLOURS[name],
            markersize=10,
            fillstyle="none",
        )
    axes.plot(
        [], [], "o", color=INK, markersize=10, fillstyle="none", label="half a cell"
    )
    axes.set(
        xlabel="shift of the upsampled labels, right and down, in pixels",
        ylabel="mean IU, %",
        ylim=(0, 100),
    )
    axes.legend(loc="lower left", ncol=4)
    return figure


def borders(profiles: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """A score of 1 everywhere, upsampled: the first pixels of a row, {net: (plain, with the border repeated)}."""
    figure, axes = plt.subplots(figsize=(7.2, 2.8))
    for (name, (plain, _)), tint in zip(
        profiles.items(), ("32s", "paper", "8s"), strict=False
    ):
        axes.plot(
            np.asarray(plain),
            color=style.COLOURS[tint],
            linewidth=2,
            label=f"{name}, plain",
        )
    axes.plot(
        np.asarray([*profiles.values()][-1][1]),
        color=INK,
        linestyle="--",
        label="border cells repeated (all nets)",
    )
    axes.set(
        xlabel="pixels from the edge of the image",
        ylabel="upsampled score",
        ylim=(0, 1.1),
        xlim=(0, None),
    )
    axes.legend(loc="lower right")
    return figure


def learning(
    snapshots: Mapping[str, ArrayLike],
    errors: Mapping[str, float],
    curve: Sequence[float],
    baseline: float,
) -> Figure:
    """Filters (4 x 4) as they learn, the loss per step and that of the bilinear filter, errors on new maps."""
    figure = plt.figure(figsize=(7.6, 5.0))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.15], squeeze=False)[:, 0]
    limit = max(np.abs(np.asarray(values)).max() for values in snapshots.values())
    for axes, (title, values) in zip(
        upper.subplots(1, len(snapshots)), snapshots.items(), strict=True
    ):
        style.show(
            axes, np.asarray(values), title, cmap="vlag", vmin=-limit, vmax=limit
        )
        dark = partial(
            lambda limit, value: "white" if abs(value) > 0.7 * limit else "black", limit
        )
        style.write_numbers(
            axes, values, lambda value: f"{value:.2f}".replace("-", "−"), dark, 9
        )
    left, right = lower.subplots(1, 2, width_ratios=[1.3, 1])
    left.plot(curve, color=style.COLOURS["ours"], label="learned filter")
    left.axhline(
        baseline, color=style.COLOURS["paper"], linestyle="--", label="bilinear filter"
    )
    left.set(xlabel="step", ylabel="mean square error", ylim=(0, 4 * baseline))
    left.legend()
    tints = [style.COLOURS[c] for c in ("others", "paper", "ours")]
    bars = right.bar(list(errors), list(errors.values()), color=tints, width=0.6)
    right.bar_label(bars, fmt="{:.3f}", fontsize=9)
    right.set(ylabel="root mean square error", title="on label maps of new scenes")
    right.margins(y=0.15)
    return figure


def checkerboards(maps: Mapping[str, ArrayLike]) -> Figure:
    """The middle of a constant map after several transposed convolutions, by title."""
    figure, row = plt.subplots(1, len(maps), figsize=(7.6, 2.7))
    for axes, (title, values) in zip(row, maps.items(), strict=True):
        style.show(axes, np.asarray(values), title, cmap="mako", vmin=0, vmax=2)
    return figure
