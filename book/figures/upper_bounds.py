"""Chapter 10: ground truth on a coarse grid, and the upper bound for a net."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from fcn.data.sample import VOID
from fcn.replication.upper_bounds import FACTORS, PAPER, PROTOCOLS
from figures.style import (
    COLOURS,
    VOID_COLOUR,
    ByStride,
    Names,
    Palette,
    class_legend,
    colour,
    ink_on,
    name_points,
    show,
    write_numbers,
)

_WRONG = (196, 52, 45)
_WAYS = {
    ("vote", "bilinear"): COLOURS["8s"],
    ("vote", "repeat"): COLOURS["16s"],
    ("mean", "bilinear"): "#33383f",
    ("sample", "bilinear"): COLOURS["paper"],
    ("sample", "repeat"): "#d9b382",
}
_VOIDS = {"void an error": "-", "void left out": ":", "void abstains": "--"}


def round_trips(
    image: np.ndarray,
    labels: np.ndarray,
    cells: ByStride,
    back: ByStride,
    names: Names,
    palette: Palette,
) -> Figure:
    """A scene and its labels, then for each factor the ``cells``, the labels ``back`` at the pixels, and the errors."""
    figure, axes = plt.subplots(3, len(cells) + 1, figsize=(7.6, 4.6))
    show(axes[0, 0], image, "image")
    show(axes[1, 0], colour(labels, palette), "ground truth")
    axes[2, 0].set_axis_off()
    keys = [
        Patch(color=np.array(_WRONG) / 255, label="wrong"),
        Patch(color=np.array(VOID_COLOUR) / 255, label="void"),
    ]
    axes[2, 0].legend(handles=keys, loc="center")
    for column, factor in zip(axes[:, 1:].T, cells, strict=True):
        show(column[0], colour(cells[factor], palette), f"1/{factor}")
        show(column[1], colour(back[factor], palette))
        wrong = np.full((*labels.shape, 3), 255, np.uint8)
        wrong[labels == VOID] = VOID_COLOUR
        wrong[(labels != VOID) & (back[factor] != labels)] = _WRONG
        show(
            column[2],
            wrong,
            f"{100 * (back[factor] != labels)[labels != VOID].mean():.1f} % wrong",
        )
    class_legend(figure, names, palette, [labels], columns=len(names))
    return figure


def against_paper(mean_iu: NDArray[np.floating]) -> Figure:
    """Mean IU (protocols x factors x 2, predicted void an error and left out) less the paper's, in points."""
    figure, axes = plt.subplots(figsize=(7.4, 4.2))
    axes.axhline(0, color=COLOURS["loss"], lw=1)
    places, paper = np.arange(len(FACTORS)), np.array(list(PAPER.values()))
    for i, protocol in enumerate(PROTOCOLS):
        voids = (
            ["void abstains"]
            if protocol.void == "abstains"
            else ["void an error", "void left out"]
        )
        for column, void in enumerate(voids):
            nearest = (protocol.down, protocol.up, void) == (
                "vote",
                "bilinear",
                "void an error",
            )
            size = {"lw": 3, "ms": 6} if nearest else {"lw": 1.4, "ms": 3}
            tint = _WAYS[protocol.down, protocol.up]
            axes.plot(
                places,
                mean_iu[i, :, column] - paper,
                _VOIDS[void],
                color=tint,
                marker="o",
                **size,
            )
    axes.set_xticks(places, [f"1/{factor}" for factor in FACTORS])
    axes.set(xlabel="scale of the grid", ylabel="mean IU less the paper's (points)")
    axes.grid(axis="y", color="0.92")
    ways = [
        Line2D([], [], color=tint, lw=2, label=f"{down}, {up}")
        for (down, up), tint in _WAYS.items()
    ]
    dashes = [
        Line2D([], [], color="black", ls=style, label=name)
        for name, style in _VOIDS.items()
    ]
    figure.legend(handles=[*ways, *dashes], loc="outside right upper")
    return figure


def stripes(
    widths: Sequence[int],
    left: Mapping[str, NDArray[np.floating]],
    shades: Mapping[str, str],
    factor: int,
) -> Figure:
    """IU of a stripe, in percent, against its width in pixels at one ``factor``, one line per way of coarsening."""
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    for name, iu in left.items():
        line, width = (
            ("--", 1.6)
            if name.startswith("sample")
            else ("-", 6 if name == "vote, repeat" else 2)
        )
        axes.plot(
            widths, iu, line, lw=width, color=shades[name], label=name
        )  # wide below narrow: two nearly agree
    axes.axvline(factor, color="0.7", lw=1)
    axes.text(factor, 4, " a cell", color="0.4", fontsize=9)
    axes.set(
        xlabel="width of the stripe (pixels)",
        ylabel="IU of the stripe (%)",
        ylim=(0, 102),
        xlim=(0, None),
    )
    axes.grid(color="0.93")
    axes.legend(loc="lower right")
    return figure


def per_class(iu: NDArray[np.floating], names: Names) -> Figure:
    """IU of each class at each factor (F x C, percent) as a coloured table, classes in order of their IU at 1/32."""
    order = np.argsort(iu[FACTORS.index(32)])[::-1]
    figure, axes = plt.subplots(figsize=(6.2, 6.6))
    axes.imshow(iu[:, order].T, cmap="mako", vmin=0, vmax=100, aspect="auto")
    write_numbers(
        axes,
        iu[:, order].T,
        "{:.0f}".format,
        lambda value: "white" if value < 55 else "black",
        9,
    )
    axes.set_xticks(range(len(FACTORS)), [f"1/{factor}" for factor in FACTORS])
    axes.set_yticks(range(len(order)), [names[label] for label in order])
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    return figure


def against_border(
    near: NDArray[np.floating], iu: NDArray[np.floating], names: Names, factor: int
) -> Figure:
    """IU per class at ``factor`` against the share of its pixels within half a cell of another label, in percent."""
    figure, axes = plt.subplots(figsize=(6.6, 4.2))
    axes.scatter(near, iu, s=42, color=COLOURS["8s"], zorder=3)
    axes.set(
        xlabel=f"pixels within {factor // 2} px of another label (% of the class)",
        ylabel=f"IU at 1/{factor} (%)",
    )
    axes.margins(x=0.12, y=0.06)
    axes.grid(color="0.93")
    name_points(axes, list(zip(near.tolist(), iu.tolist(), strict=True)), names, size=9)
    return figure


def headroom(reached: Mapping[int, float], bound: Mapping[int, float]) -> Figure:
    """Mean IU of a net at each stride, and the upper bound at that scale, in percent."""
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    rows = np.arange(len(reached))[::-1]
    tints = [COLOURS[f"{s}s"] for s in reached]
    for values, tint in (
        ([bound[s] for s in reached], ["#dfe4e6"] * len(rows)),
        ([*reached.values()], tints),
    ):
        bars = axes.barh(rows, values, color=tint, height=0.62)
        labels = axes.bar_label(bars, fmt="{:.1f}", padding=-30, fontsize=10)
        for label, shade in zip(labels, tint, strict=True):
            label.set_color(ink_on(shade))
    axes.set_yticks(rows, [f"FCN-{s}s" for s in reached])
    axes.set(xlabel="mean IU (%)", xlim=(0, 100))
    axes.tick_params(axis="y", length=0)
    return figure
