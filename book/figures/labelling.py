"""Chapter 2: label maps, void, the confusion matrix and what the metrics make of imperfect predictions."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from figures.style import COLOURS, colour, legend, show
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from scipy import ndimage

from fcn.data.sample import VOID

INK, FAINT, WRONG = "#2f353b", "#69727b", "#b5404a"


def boxes(labels: np.ndarray, wanted: Sequence[int], least: int = 40) -> list[tuple[int, slice, slice]]:
    """The class, rows and columns of each connected piece, of at least so many pixels, of the ``wanted`` classes."""
    found = []
    for c in wanted:
        pieces, _ = ndimage.label(labels == c)
        for i, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            if (pieces[rows, columns] == i).sum() >= least:
                found.append((c, rows, columns))
    return found


def tasks(
    image: np.ndarray, labels: np.ndarray, names: Sequence[str], palette: np.ndarray, things: Sequence[int]
) -> Figure:
    """One photo (H x W x 3) and what classification, detection and segmentation say of it."""
    figure, grid = plt.subplots(2, 2, figsize=(6.4, 5.4))
    titles = ("the photo", "classification: what", "detection: what, in which box")
    for axes, title in zip(grid.flat, titles, strict=False):
        show(axes, image, title)
    present = [c for c in range(len(names)) if (labels == c).any()]
    grid[0, 1].images[0].set_alpha(0.2)
    text = "\n".join(names[c] for c in present)
    grid[0, 1].text(0.5, 0.5, text, transform=grid[0, 1].transAxes, ha="center", va="center", fontsize=12, color=INK)
    grid[1, 0].images[0].set_alpha(0.45)
    for c, rows, columns in boxes(labels, things):
        corner = (columns.start - 0.5, rows.start - 0.5)
        width, height = columns.stop - columns.start, rows.stop - rows.start
        grid[1, 0].add_patch(Rectangle(corner, width, height, fill=False, ec=palette[c] / 255 * 0.85, lw=2))
    show(grid[1, 1], colour(labels, palette), "segmentation: what, pixel by pixel")
    legend(figure, names, palette, present, loc="outside lower center", ncols=min(5, len(present)))
    return figure


def zoom(image: np.ndarray, labels: np.ndarray, palette: np.ndarray, corner: tuple[int, int], side: int) -> Figure:
    """A label map, and a square of ``side`` pixels of it, from ``corner`` (row, column) on, as the numbers it holds."""
    figure, (whole, part) = plt.subplots(1, 2, figsize=(6.4, 3.0), width_ratios=(1.28, 1))
    row, column = corner
    show(whole, colour(labels, palette), "a label map")
    whole.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, ec=INK, lw=2))
    cut = labels[row : row + side, column : column + side]
    show(part, colour(cut, palette), f"{side} × {side} of its numbers")
    for (i, j), value in np.ndenumerate(cut):
        dark = value != VOID and palette[value].mean() < 140
        part.text(j, i, "·" if value == VOID else str(value), ha="center", va="center", fontsize=9,
                  color="white" if dark else INK)  # fmt: skip
    return figure


def by_hand(
    truth: np.ndarray, prediction: np.ndarray, matrix: np.ndarray, names: Sequence[str], palette: np.ndarray
) -> Figure:
    """A tiny ground truth and prediction, and the confusion matrix that counts their pairs."""
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(6.4, 2.75), width_ratios=(1, 1, 1.1), layout=ConstrainedLayoutEngine(wspace=0.08)
    )
    for axes, labels, title in ((left, truth, "ground truth"), (middle, prediction, "prediction")):
        _numbered(axes, labels, names, palette)
        axes.set_title(title)
    for i, j in np.argwhere((truth != prediction) & (truth != VOID)):
        middle.add_patch(Rectangle((j - 0.44, i - 0.44), 0.88, 0.88, fill=False, ec=WRONG, lw=2.2))
    counts(right, matrix, names, palette)
    right.set_title("confusion matrix")
    return figure


def unions(truth: np.ndarray, prediction: np.ndarray, names: Sequence[str], palette: np.ndarray) -> Figure:
    """For each class the cells of intersection and union: right, missed, and claimed wrongly. Void takes no part."""
    figure, row = plt.subplots(1, len(names), figsize=(6.8, 2.7))
    for c, axes in enumerate(row):
        true, claimed = truth == c, (prediction == c) & (truth != VOID)
        picture = np.full((*truth.shape, 3), 250, np.uint8)
        picture[true & claimed] = palette[c]
        axes.imshow(picture)
        right = INK if palette[c].mean() > 140 else "white"
        marks = ((true & claimed, "✓", right), (true & ~claimed, "missed", INK), (claimed & ~true, "wrong", WRONG))
        for mask, sign, tint in marks:
            for i, j in np.argwhere(mask):
                frame = Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, ec=palette[c] / 255, lw=2, clip_on=False)
                axes.add_patch(frame)
                axes.text(j, i, sign, ha="center", va="center", fontsize=9 if len(sign) > 1 else 12, color=tint)
        hit, union = (true & claimed).sum(), (true | claimed).sum()
        axes.set_title(f"{names[c]}: {hit} of {union}")
        _cell_lines(axes, truth.shape)
    return figure


def counts(axes: Axes, matrix: np.ndarray, names: Sequence[str], palette: np.ndarray) -> None:
    """A small confusion matrix with its numbers: rows ground truth, columns predictions, the right ones in colour."""
    size = len(names)
    for (i, j), n in np.ndenumerate(matrix):
        face = palette[i] / 255 if i == j else ("#f4dcdc" if n else "#fafafa")
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fc=face, ec="white", lw=2))
        light = i == j and palette[i].mean() < 140
        axes.text(j, i, str(n), ha="center", va="center", fontsize=12, color="white" if light else INK)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def predictions(
    image: np.ndarray, truth: np.ndarray, guesses: Mapping[str, tuple[np.ndarray, str]], names: Sequence[str],
    palette: np.ndarray,
) -> Figure:  # fmt: skip
    """A photo, its labels, and predictions of them, each with a line of text below it."""
    panels = [("photo", image, ""), ("ground truth", colour(truth, palette), "")]
    panels += [(name, colour(guess, palette), below) for name, (guess, below) in guesses.items()]
    rows = len(panels) // 2 + 1  # the last place is the legend's
    figure, grid = plt.subplots(rows, 2, figsize=(6.4, 2.8 * rows), layout=ConstrainedLayoutEngine(hspace=0.05))
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, picture, below) in zip(grid.flat, panels, strict=False):
        show(axes, picture, title)
        axes.text(0.5, -0.03, below, transform=axes.transAxes, ha="center", va="top", fontsize=9.5, color=FAINT)
    everything = np.concatenate([truth.flat, *(guess.flat for guess, _ in guesses.values())])
    shown = [int(c) for c in np.unique(everything) if c != VOID]
    legend(grid.flat[-1], names, palette, shown, loc="center", ncols=2, fontsize=10)
    return figure


def shifts(pixels: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Each metric against the distance, in pixels, by which the labels were shifted to make the prediction."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    tints = [COLOURS["others"], COLOURS["32s"], COLOURS["8s"], COLOURS["paper"], WRONG]
    for (name, values), tint in zip(curves.items(), tints, strict=False):
        thin = name.startswith("IU of")
        axes.plot(pixels, values, color=tint, lw=1.6 if thin else 2.2, ls="--" if thin else "-", marker=".", ms=6)
    ends = _spread([values[-1] for values in curves.values()], 7.5)
    for (name, _), y, tint in zip(curves.items(), ends, tints, strict=False):
        axes.annotate(name, (pixels[-1], y), (8, 0), textcoords="offset points", va="center", fontsize=10, color=tint)
    axes.set_xlabel("shift, pixels")
    axes.set_ylabel("percent")
    axes.set_ylim(0, 102)
    axes.set_xlim(-0.2, pixels[-1])
    return figure


def rare_and_frequent(
    share: Sequence[float], iu: Sequence[float | None], lines: Mapping[str, float], names: Sequence[str],
    palette: np.ndarray,
) -> Figure:  # fmt: skip
    """IU of each class (percent) against its share of the labelled pixels (percent, logarithmic), and two means."""
    figure, axes = plt.subplots(figsize=(6.4, 3.9))
    for (label, value), style in zip(lines.items(), ("-", "--"), strict=True):
        axes.axhline(value, color=FAINT, lw=1.2, ls=style, zorder=1)
        axes.annotate(f"{label} {value:.1f}", (0, value), (5, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=10, color=FAINT)  # fmt: skip
    points = [(c, x, y) for c, (x, y) in enumerate(zip(share, iu, strict=True)) if y is not None]
    for c, x, y in points:
        axes.scatter(x, y, s=110, color=palette[c] / 255, ec=INK, lw=0.8, zorder=3)
        away = {(40 * math.log10(u / x), v - y) for k, u, v in points if k != c}  # in units of about one percent of IU
        near = min(away, key=lambda d: math.hypot(*d))
        below = near[1] > 0 and math.hypot(*near) < 15  # the name goes to the side where the nearest is not
        axes.annotate(names[c], (x, y), (0, -8 if below else 7), textcoords="offset points", ha="center",
                      va="top" if below else "bottom", fontsize=9.5,
                      path_effects=[withStroke(linewidth=3, foreground="white")])  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("share of the labelled pixels, percent")
    axes.set_ylabel("IU, percent")
    axes.set_ylim(0, 102)
    axes.set_xlim(right=max(share) * 2.2)
    return figure


def per_image(values: Sequence[float], mean: float, pooled: float) -> Figure:
    """How the mean IU of single images is spread, its average, and the mean IU of all images' pixels together."""
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    axes.hist(values, bins=list(range(0, 101, 5)), color="#cfd8df", ec="white")
    top = axes.get_ylim()[1]
    for value, other, name, tint in (
        (mean, pooled, "mean over images", COLOURS["paper"]), (pooled, mean, "one matrix", COLOURS["8s"])
    ):  # fmt: skip
        axes.axvline(value, color=tint, lw=2.2)
        align = "left" if value > other else "right"
        axes.annotate(f"{name}: {value:.1f}", (value, top), (5 if align == "left" else -5, 4), ha=align,
                      textcoords="offset points", fontsize=10, color=tint, weight="bold")  # fmt: skip
    axes.set_ylim(0, top)
    axes.set_xlabel("mean IU of one image, percent")
    axes.set_ylabel("images")
    return figure


def confusion(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """A confusion matrix by rows: where the pixels of each class went, in percent of the class."""
    figure, axes = plt.subplots(figsize=(6.0, 5.2))
    total = matrix.sum(1, keepdims=True)
    share = 100 * matrix / np.maximum(total, 1)
    axes.imshow(share**0.5, cmap="Blues", vmin=0, vmax=13)  # the root brings out small shares
    for (i, j), value in np.ndenumerate(share):
        if value >= 0.5:
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=9, color="white" if value > 45 else INK)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def losses(
    scores: np.ndarray, labels: np.ndarray, loss: np.ndarray, names: Sequence[str], palette: np.ndarray,
    shown: Sequence[int],
) -> Figure:  # fmt: skip
    """Scores (C x H x W) of the classes ``shown``, the prediction, the labels and the loss of each pixel, in nats."""
    figure, grid = plt.subplots(2, 3, figsize=(6.6, 3.8))
    for axes, c in zip(grid[0], shown, strict=True):
        show(axes, scores[c], f"score of {names[c]}")
        axes.images[0].set(cmap="YlGnBu", clim=(0, scores.max()))
    show(grid[1, 0], colour(scores.argmax(0), palette), "the best class")
    show(grid[1, 1], colour(labels, palette), "ground truth")
    show(grid[1, 2], np.ma.masked_where(labels == VOID, loss), "loss, nats")
    grid[1, 2].images[0].set(cmap="magma_r", clim=(0, loss.max()))
    for axes in grid[:, 2]:
        figure.colorbar(axes.images[0], ax=axes, shrink=0.8)
    return figure


# -------------------------------------------------------------------------------------------------------- small strokes


def _numbered(axes: Axes, labels: np.ndarray, names: Sequence[str], palette: np.ndarray) -> None:
    axes.imshow(colour(labels, palette))
    for (i, j), value in np.ndenumerate(labels):
        dark = value != VOID and palette[value].mean() < 140
        text = "void" if value == VOID else names[value]
        axes.text(j, i, text, ha="center", va="center", fontsize=9.5, color="white" if dark else INK)
    _cell_lines(axes, labels.shape)


def _cell_lines(axes: Axes, shape: tuple[int, ...]) -> None:
    for k in range(shape[0] + 1):
        axes.axhline(k - 0.5, color="#d5dadd", lw=0.8, zorder=0.5)
    for k in range(shape[1] + 1):
        axes.axvline(k - 0.5, color="#d5dadd", lw=0.8, zorder=0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _spread(values: Sequence[float], least: float) -> list[float]:
    """The values moved apart to at least so much, in their order, as little as a few rounds take."""
    order = np.argsort(values)
    placed = np.asarray(values, float)[order]
    for _ in range(100):
        for i in range(len(placed) - 1):
            if (short := least - (placed[i + 1] - placed[i])) > 0:
                placed[i] -= short / 2
                placed[i + 1] += short / 2
    back = np.empty(len(values))
    back[order] = placed
    return back.tolist()
