"""Chapter 3: a fully connected layer as a convolution, its map of answers, and its cost."""

from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fcn.geometry import ReceptiveField
from figures import grids, style


def windows(
    values: ArrayLike, kernel: ArrayLike, scores: ArrayLike, cell: tuple[int, int]
) -> Figure:
    """A map, the weights of a fully connected layer as a kernel, and a score per window; the one of ``cell`` framed."""
    maps = [
        ("a larger map", values),
        ("the weights", kernel),
        ("one score per window", scores),
    ]
    height = max(len(np.asarray(numbers)) for _, numbers in maps)
    figure, axes = plt.subplots(figsize=(7.2, 2.6))
    left = 0.0
    for (title, numbers), between in zip(maps, ("∗", "=", ""), strict=True):
        top = (height - len(np.asarray(numbers))) / 2
        width, _ = grids.draw(axes, numbers, (left, top), title)
        if title != "the weights":
            side = len(np.asarray(kernel)) if title == "a larger map" else 1
            grids.frame(axes, (left + cell[1], top + cell[0]), side)
        grids.sign(axes, (left + width + 0.6, height / 2), between)
        left += width + (1.2 if between else 0)
    grids.finish(axes, left, height)
    return figure


def guesses(photo: Tensor, names: style.Names, probabilities: ArrayLike) -> Figure:
    """A photo (3 x H x W, 0..1) next to its most likely classes and their probabilities (0..1)."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.2, 2.6), width_ratios=[1, 1.2]
    )
    style.show(left, photo, "the classifier's input")
    bars = right.barh(
        names, np.asarray(probabilities), color=style.COLOURS["ours"], height=0.6
    )
    right.invert_yaxis()
    right.set(title="its answer", xlabel="probability", xlim=(0, 1))
    right.bar_label(bars, fmt="{:.2f}", padding=4, fontsize=9)
    return figure


def answers(
    photo: Tensor,
    field: ReceptiveField,
    window: int,
    heat: ArrayLike,
    names: NDArray[np.str_],
    sure: ArrayLike,
) -> Figure:
    """Two views of a map of answers over a photo (3 x H x W, 0..1): the surest classes, and one heatmap.

    Cell i is centred on pixel ``field.stride * i + field.offset``; ``window`` is the classifier's input size in pixels.
    ``heat`` (h x w) is the probability of some classes, ``names`` the likeliest class, ``sure`` its probability.
    """
    heat, sure = np.asarray(heat), np.asarray(sure)
    height, width = photo.shape[-2:]
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(7.6, 7.6 * 2.12 * height / width)
    )
    rows, columns = (field_centres(field, cells) for cells in heat.shape)

    style.show(top, photo, "the surest cells")
    named: list[tuple[float, float]] = []
    for place in np.argsort(-sure, axis=None):
        r, c = np.unravel_index(place, sure.shape)
        if sure[r, c] <= 0.5:
            break
        if all(
            abs(columns[c] - x) > 0.2 * width or abs(rows[r] - y) > 0.15 * height
            for x, y in named
        ):
            named.append((float(columns[c]), float(rows[r])))
            top.plot(
                columns[c],
                rows[r],
                "o",
                color="white",
                markersize=4,
                markeredgecolor="black",
            )
            name = str(names[r, c]).replace(" ", "\n")
            text = top.text(
                columns[c],
                rows[r] - 14,
                name,
                ha="center",
                va="bottom",
                color="white",
                linespacing=0.95,
            )
            text.set(
                fontsize=10,
                path_effects=[effects.withStroke(linewidth=2.5, foreground="black")],
            )

    style.show(
        bottom,
        photo.mean(0, keepdim=True).expand(3, -1, -1) * 0.6 + 0.3,
        "the probability of a cat",
    )
    half = float(field.stride) / 2
    extent = (columns[0] - half, columns[-1] + half, rows[-1] + half, rows[0] - half)
    drawn = bottom.imshow(
        heat, extent=extent, cmap="rocket", vmin=0, vmax=1, alpha=0.25 + 0.6 * heat
    )
    r, c = np.unravel_index(heat.argmax(), heat.shape)
    corner = (columns[c] - window / 2, rows[r] - window / 2)
    bottom.add_patch(
        Rectangle(
            corner,
            window,
            window,
            fill=False,
            edgecolor="white",
            linestyle="--",
            linewidth=1.5,
        )
    )
    bottom.plot(
        columns[c], rows[r], "o", color="white", markersize=5, markeredgecolor="black"
    )
    bottom.set(xlim=top.get_xlim(), ylim=top.get_ylim())
    figure.colorbar(
        drawn,
        ax=bottom,
        orientation="horizontal",
        fraction=0.06,
        pad=0.03,
        label="probability",
        aspect=50,
    )
    return figure


def field_centres(field: ReceptiveField, cells: int) -> NDArray[np.floating]:
    """Centres of the first ``cells`` cells of a map, in pixels along one axis."""
    return float(field.offset) + float(field.stride) * np.arange(cells)


def costs(
    counted: Mapping[str, Sequence[float]], ratios: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Multiply-adds, {way: (convolutions, fully connected)} in 10^9, and speed-ups, {pass: {source: ratio}}."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(7.6, 3.0), width_ratios=[1, 1.25]
    )
    low, high = zip(*counted.values(), strict=True)
    left.bar(
        list(counted), low, color=style.COLOURS["8s"], width=0.55, label="convolutions"
    )
    bars = left.bar(
        list(counted),
        high,
        bottom=low,
        color=style.COLOURS["32s"],
        width=0.55,
        label="fc6, fc7, fc8",
    )
    left.bar_label(
        bars, [f"{sum(of_way):.1f}" for of_way in counted.values()], fontsize=9
    )
    left.set(title="counted", ylabel="multiply-adds (10$^9$)")
    left.legend(loc="upper left")
    left.margins(y=0.15)

    for shift, (kind, tint) in enumerate(
        {"counted": "others", "this machine": "ours", "the paper": "paper"}.items()
    ):
        found = [
            (place + (shift - 1) * 0.26, of[kind])
            for place, of in enumerate(ratios.values())
            if kind in of
        ]
        bars = right.bar(
            *zip(*found, strict=True), width=0.24, color=style.COLOURS[tint], label=kind
        )
        right.bar_label(bars, fmt="{:.1f}", fontsize=9)
    right.axhline(1, color="black", linewidth=0.8, linestyle=":")
    right.set_xticks(range(len(ratios)), [*ratios])
    right.set(title="dense evaluation pays", ylabel="times as fast as patch by patch")
    right.legend(
        loc="upper center",
        ncol=3,
        bbox_to_anchor=(0.5, -0.1),
        columnspacing=1,
        handlelength=1.2,
    )
    right.margins(y=0.15)
    return figure
