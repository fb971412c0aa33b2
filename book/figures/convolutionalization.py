"""Chapter 3: a fully connected layer as a convolution, its map of answers, and what that map costs."""

from collections.abc import Mapping, Sequence

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from figures import grids, style
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fcn.geometry import ReceptiveField


def windows(values: ArrayLike, kernel: ArrayLike, scores: ArrayLike, cell: tuple[int, int]) -> Figure:
    """A map, the weights of a fully connected layer laid out as a kernel, and the scores of every window of the map.

    ``values`` h x w, ``kernel`` k x k, ``scores`` (h - k + 1) x (w - k + 1); the window of one ``cell`` is framed.
    """
    maps = [("a larger map", values), ("the weights", kernel), ("a score a window", scores)]
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


def guesses(photo: Tensor, names: Sequence[str], probabilities: ArrayLike) -> Figure:
    """A photo (3 x H x W, 0..1) beside the most likely classes and their probabilities (0..1)."""
    figure = plt.figure(figsize=(7.2, 2.6))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    style.show(left, photo, "what the classifier is given")
    values = np.asarray(probabilities)
    right.barh(np.arange(len(values)), values, color=style.COLOURS["ours"], height=0.6)
    right.set_yticks(np.arange(len(values)), names)
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xlabel("probability")
    right.set_title("what it answers")
    for row, value in enumerate(values):
        right.text(value + 0.02, row, f"{value:.2f}", va="center", fontsize=9)
    return figure


def answers(
    photo: Tensor, field: ReceptiveField, window: int, heat: ArrayLike, names: NDArray[np.str_], sure: ArrayLike
) -> Figure:
    """Two views of one map of answers over a photo (3 x H x W, 0..1): the likeliest class here and there, and one heat.

    ``field`` places the cells: cell i is centred on pixel ``stride * i + offset``; ``window`` is the classifier's
    input size in pixels. ``heat`` h x w is the probability of the classes in question, ``names`` h x w the likeliest
    class of each cell and ``sure`` h x w its probability.
    """
    heat, sure = np.asarray(heat), np.asarray(sure)
    height, width = photo.shape[-2:]
    figure = plt.figure(figsize=(7.6, 7.6 * 2.12 * height / width))
    top, bottom = figure.subplots(2, 1)
    rows = field_centres(field, heat.shape[0])
    columns = field_centres(field, heat.shape[1])

    style.show(top, photo, "what the surest cells see")
    named: list[tuple[float, float]] = []
    for place in np.argsort(-sure, axis=None):
        r, c = np.unravel_index(place, sure.shape)
        if sure[r, c] <= 0.5:
            break
        if all(abs(columns[c] - x) > 0.2 * width or abs(rows[r] - y) > 0.15 * height for x, y in named):
            named.append((float(columns[c]), float(rows[r])))
            top.plot(columns[c], rows[r], "o", color="white", markersize=4, markeredgecolor="black")
            name = str(names[r, c]).replace(" ", "\n")
            text = top.text(columns[c], rows[r] - 14, name, ha="center", va="bottom", color="white", linespacing=0.95)
            text.set(fontsize=10, path_effects=[effects.withStroke(linewidth=2.5, foreground="black")])

    style.show(bottom, photo.mean(0, keepdim=True).expand(3, -1, -1) * 0.6 + 0.3, "the probability that it is a cat")
    half = float(field.stride) / 2
    extent = (columns[0] - half, columns[-1] + half, rows[-1] + half, rows[0] - half)
    drawn = bottom.imshow(heat, extent=extent, cmap="rocket", vmin=0, vmax=1, alpha=0.25 + 0.6 * heat)
    r, c = np.unravel_index(heat.argmax(), heat.shape)
    corner = (columns[c] - window / 2, rows[r] - window / 2)
    bottom.add_patch(Rectangle(corner, window, window, fill=False, edgecolor="white", linestyle="--", linewidth=1.5))
    bottom.plot(columns[c], rows[r], "o", color="white", markersize=5, markeredgecolor="black")
    bottom.set(xlim=top.get_xlim(), ylim=top.get_ylim())
    figure.colorbar(drawn, ax=bottom, orientation="horizontal", fraction=0.06, pad=0.03, label="probability", aspect=50)
    return figure


def field_centres(field: ReceptiveField, cells: int) -> NDArray[np.floating]:
    """The pixels on which the first ``cells`` cells of a map are centred, along one axis."""
    return float(field.offset) + float(field.stride) * np.arange(cells)


def costs(counted: Mapping[str, Sequence[float]], ratios: Mapping[str, Mapping[str, float]]) -> Figure:
    """What dense evaluation saves: multiply-adds counted, and speed measured.

    ``counted``: for each way of computing the map, the multiply-adds (in thousand millions) of its convolutions and of
    its fully connected layers; ``ratios``: for "forward" and "backward" how many times as fast dense
    evaluation is, {"counted": ..., "this machine": ..., "the paper": ...}.
    """
    figure = plt.figure(figsize=(7.6, 3.0))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    ways = list(counted)
    convolutions = [counted[way][0] for way in ways]
    connected = [counted[way][1] for way in ways]
    left.bar(ways, convolutions, color=style.COLOURS["8s"], width=0.55, label="convolutions")
    left.bar(ways, connected, bottom=convolutions, color=style.COLOURS["32s"], width=0.55, label="fc6, fc7, fc8")
    for i, way in enumerate(ways):
        left.text(i, sum(counted[way]), f"{sum(counted[way]):.1f}", ha="center", va="bottom", fontsize=9)
    left.set_ylabel("multiply-adds, thousand millions")
    left.set_title("counted")
    left.legend(loc="upper left")
    left.margins(y=0.15)

    kinds = {"counted": "others", "this machine": "ours", "the paper": "paper"}
    passes = list(ratios)
    for k, (kind, colour) in enumerate(kinds.items()):
        places = [p + (k - 1) * 0.26 for p in range(len(passes)) if kind in ratios[passes[p]]]
        values = [ratios[p][kind] for p in passes if kind in ratios[p]]
        right.bar(places, values, width=0.24, color=style.COLOURS[colour], label=kind)
        for place, value in zip(places, values, strict=True):
            right.text(place, value, f"{value:.1f}", ha="center", va="bottom", fontsize=9)
    right.axhline(1, color="black", linewidth=0.8, linestyle=":")
    right.set_xticks(range(len(passes)), passes)
    right.set_ylabel("times as fast as patch by patch")
    right.set_title("dense evaluation pays")
    right.legend(loc="upper center", ncol=3, bbox_to_anchor=(0.5, -0.1), columnspacing=1, handlelength=1.2)
    right.margins(y=0.15)
    return figure


def pixels_alone(
    images: Sequence[Tensor], labels: Sequence[Tensor], guessed: Sequence[Tensor], palette: NDArray[np.uint8],
    names: Sequence[str], accuracy: float,
) -> Figure:  # fmt: skip
    """Photos, their labels, and what a net of 1x1 convolutions makes of them, one row a scene."""
    figure = plt.figure(figsize=(7.2, 2.35 * len(images) + 0.9))
    axes = figure.subplots(len(images), 3, squeeze=False)
    for row, (image, label, guess) in enumerate(zip(images, labels, guessed, strict=True)):
        style.show(axes[row, 0], image, "a new scene" if row == 0 else "")
        style.show(axes[row, 1], style.colour(label, palette), "its labels" if row == 0 else "")
        title = f"from each pixel's colour alone\n({accuracy:.0f} % of the pixels right)" if row == 0 else ""
        style.show(axes[row, 2], style.colour(guess, palette), title)
    present = sorted({int(c) for maps in (*labels, *guessed) for c in maps.unique() if c < len(names)})
    style.legend(figure, names, palette, present, loc="outside lower center", ncol=5)
    return figure
