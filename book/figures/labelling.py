"""Chapter 2: label maps, void, the confusion matrix, and metrics of imperfect predictions."""

from collections.abc import Mapping, Sequence
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from scipy import ndimage

from fcn.data.sample import VOID
from figures import style
from figures.shared import apart
from figures.style import (
    COLOURS,
    FAINT,
    INK,
    WRONG,
    Names,
    Palette,
    colour,
    name_points,
    show,
)

CENTRED = {"ha": "center", "va": "center"}


def boxes(
    labels: np.ndarray, wanted: Sequence[int], least: int = 40
) -> list[tuple[int, slice, slice]]:
    """Class, rows and columns of each connected piece of the ``wanted`` classes that has at least ``least`` pixels."""
    found = []
    for c in wanted:
        pieces, _ = ndimage.label(labels == c)
        for i, (rows, columns) in enumerate(ndimage.find_objects(pieces), start=1):
            if (pieces[rows, columns] == i).sum() >= least:
                found.append((c, rows, columns))
    return found


def tasks(
    image: np.ndarray,
    labels: np.ndarray,
    names: Names,
    palette: Palette,
    things: Sequence[int],
) -> Figure:
    """One photo (H x W x 3) and its classification, detection and segmentation."""
    figure, grid = plt.subplots(2, 2, figsize=(6.4, 5.4))
    titles = ("the photo", "classification: what", "detection: what, in which box")
    for axes, title, alpha in zip(grid.flat, titles, (1, 0.2, 0.45), strict=False):
        show(axes, image, title)
        axes.images[0].set_alpha(alpha)
    text = "\n".join(names[c] for c in style.classes_in(labels))
    grid[0, 1].text(
        0.5,
        0.5,
        text,
        transform=grid[0, 1].transAxes,
        fontsize=12,
        color=INK,
        **CENTRED,
    )
    for c, rows, columns in boxes(labels, things):
        corner = (columns.start - 0.5, rows.start - 0.5)
        width, height = columns.stop - columns.start, rows.stop - rows.start
        grid[1, 0].add_patch(
            Rectangle(
                corner, width, height, fill=False, ec=palette[c] / 255 * 0.85, lw=2
            )
        )
    show(grid[1, 1], colour(labels, palette), "segmentation: what, pixel by pixel")
    style.class_legend(figure, names, palette, [labels], columns=5)
    return figure


def zoom(
    labels: np.ndarray, palette: Palette, corner: tuple[int, int], side: int
) -> Figure:
    """A label map, and the numbers in a square of ``side`` pixels with its upper left ``corner`` (row, column)."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(6.4, 3.0), width_ratios=(1.28, 1)
    )
    row, column = corner
    show(left, colour(labels, palette), "a label map")
    left.add_patch(
        Rectangle((column - 0.5, row - 0.5), side, side, fill=False, ec=INK, lw=2)
    )
    cut = labels[row : row + side, column : column + side]
    show(right, colour(cut, palette), f"{side} × {side} of its numbers")
    style.write_numbers(
        right, cut, lambda c: "·" if c == VOID else str(c), partial(_ink, palette), 9
    )
    return figure


def by_hand(
    truth: np.ndarray,
    prediction: np.ndarray,
    matrix: np.ndarray,
    names: Names,
    palette: Palette,
) -> Figure:
    """A tiny ground truth, its prediction, and the confusion matrix that counts their pairs."""
    layout = ConstrainedLayoutEngine(wspace=0.08)
    figure, panels = plt.subplots(
        1, 3, figsize=(6.4, 2.75), width_ratios=(1, 1, 1.1), layout=layout
    )
    left, middle, right = panels
    for axes, labels, title in (
        (left, truth, "ground truth"),
        (middle, prediction, "prediction"),
    ):
        _numbered(axes, labels, names, palette)
        axes.set_title(title)
    for i, j in np.argwhere((truth != prediction) & (truth != VOID)):
        middle.add_patch(
            Rectangle((j - 0.44, i - 0.44), 0.88, 0.88, fill=False, ec=WRONG, lw=2.2)
        )
    counts(right, matrix, names, palette)
    right.set_title("confusion matrix")
    return figure


def unions(
    truth: np.ndarray, prediction: np.ndarray, names: Names, palette: Palette
) -> Figure:
    """Cells of intersection and union per class: right, missed, or wrongly claimed. Void is left out."""
    figure, row = plt.subplots(1, len(names), figsize=(6.8, 2.7))
    for c, axes in enumerate(row):
        true, claimed = truth == c, (prediction == c) & (truth != VOID)
        picture = np.full((*truth.shape, 3), 250, np.uint8)
        picture[true & claimed] = palette[c]
        axes.imshow(picture)
        right, missed, wrong = true & claimed, true & ~claimed, claimed & ~true
        for mask, sign, tint in (
            (right, "✓", _ink(palette, c)),
            (missed, "missed", INK),
            (wrong, "wrong", WRONG),
        ):
            for i, j in np.argwhere(mask):
                frame = Rectangle(
                    (j - 0.5, i - 0.5),
                    1,
                    1,
                    fill=False,
                    ec=palette[c] / 255,
                    lw=2,
                    clip_on=False,
                )
                axes.add_patch(frame)
                axes.text(
                    j,
                    i,
                    sign,
                    fontsize=9 if len(sign) > 1 else 12,
                    color=tint,
                    **CENTRED,
                )
        axes.set_title(f"{names[c]}: {right.sum()} of {(true | claimed).sum()}")
        _cell_lines(axes, truth.shape)
    return figure


def counts(axes: Axes, matrix: np.ndarray, names: Names, palette: Palette) -> None:
    """A small confusion matrix of counts: rows are ground truth, columns predictions, correct ones in colour."""
    size = len(names)
    for (i, j), n in np.ndenumerate(matrix):
        face = palette[i] / 255 if i == j else ("#f4dcdc" if n else "#fafafa")
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fc=face, ec="white", lw=2))
        axes.text(
            j,
            i,
            str(n),
            fontsize=12,
            color=_ink(palette, i) if i == j else INK,
            **CENTRED,
        )
    axes.set(
        xlim=(-0.5, size - 0.5),
        ylim=(size - 0.5, -0.5),
        aspect="equal",
        xlabel="predicted",
        ylabel="true",
    )
    axes.set_xticks(range(size), names)
    axes.set_yticks(range(size), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def predictions(
    image: np.ndarray,
    truth: np.ndarray,
    guesses: Mapping[str, tuple[np.ndarray, str]],
    names: Names,
    palette: Palette,
) -> Figure:
    """A photo, its labels, and predictions of them, each with a line of text below it."""
    panels = [("photo", image, ""), ("ground truth", colour(truth, palette), "")]
    panels += [
        (name, colour(guess, palette), below)
        for name, (guess, below) in guesses.items()
    ]
    rows = len(panels) // 2 + 1  # the last place is the legend's
    figure, grid = plt.subplots(
        rows, 2, figsize=(6.4, 2.8 * rows), layout=ConstrainedLayoutEngine(hspace=0.05)
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, picture, below) in zip(grid.flat, panels, strict=False):
        show(axes, picture, title)
        axes.text(
            0.5,
            -0.03,
            below,
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=9.5,
            color=FAINT,
        )
    shown = style.classes_in(truth, *(guess for guess, _ in guesses.values()))
    style.legend(
        grid.flat[-1], names, palette, shown, loc="center", ncols=2, fontsize=10
    )
    return figure


def shifts(pixels: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Each metric against the shift, in pixels, between the labels and the prediction."""
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    tints = [COLOURS["others"], COLOURS["32s"], COLOURS["8s"], COLOURS["paper"], WRONG]
    for (name, values), tint in zip(curves.items(), tints, strict=False):
        thin = name.startswith("IU of")
        axes.plot(
            pixels,
            values,
            color=tint,
            lw=1.6 if thin else 2.2,
            ls="--" if thin else "-",
            marker=".",
            ms=6,
        )
    ends = apart([values[-1] for values in curves.values()], 7.5)
    for (name, _), y, tint in zip(curves.items(), ends, tints, strict=False):
        axes.annotate(
            name,
            (pixels[-1], y),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            color=tint,
        )
    axes.set(
        xlabel="shift, pixels", ylabel="percent", xlim=(-0.2, pixels[-1]), ylim=(0, 102)
    )
    return figure


def rare_and_frequent(
    share: Sequence[float],
    iu: Sequence[float | None],
    lines: Mapping[str, float],
    names: Names,
    palette: Palette,
) -> Figure:
    """IU per class (percent) against its share of the labelled pixels (percent, logarithmic), and two means."""
    figure, axes = plt.subplots(figsize=(6.4, 3.9))
    for (label, value), dash in zip(lines.items(), ("-", "--"), strict=True):
        axes.axhline(
            value, color=FAINT, lw=1.2, ls=dash, zorder=1, label=f"{label} {value:.1f}"
        )
    figure.legend(loc="outside upper left", ncols=len(lines))
    points = {
        c: (x, y)
        for c, (x, y) in enumerate(zip(share, iu, strict=True))
        if y is not None
    }
    shares, values = zip(*points.values(), strict=True)
    axes.scatter(
        shares,
        values,
        s=110,
        color=[palette[c] / 255 for c in points],
        ec=INK,
        zorder=3,
    )
    axes.set(
        xscale="log",
        xlabel="share of the labelled pixels, percent",
        ylabel="IU, percent",
        ylim=(0, 102),
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(right=max(share) * 2.2)
    name_points(axes, list(points.values()), [names[c] for c in points])
    return figure


def per_image(values: Sequence[float], mean: float, pooled: float) -> Figure:
    """Histogram of the mean IU of single images, their average, and the mean IU of all pixels together."""
    figure, axes = plt.subplots(figsize=(6.4, 3.0))
    axes.hist(values, bins=list(range(0, 101, 5)), color="#cfd8df", ec="white")
    top = axes.get_ylim()[1]
    for value, name, tint in (
        (mean, "mean over images", COLOURS["paper"]),
        (pooled, "one matrix", COLOURS["8s"]),
    ):
        axes.axvline(value, color=tint, lw=2.2)
        right = value > min(mean, pooled)
        place = {
            "xytext": (5 if right else -5, 4),
            "ha": "left" if right else "right",
            "textcoords": "offset points",
        }
        axes.annotate(
            f"{name}: {value:.1f}",
            (value, top),
            fontsize=10,
            color=tint,
            weight="bold",
            **place,
        )
    axes.set(ylim=(0, top), xlabel="mean IU of one image, percent", ylabel="images")
    return figure


def losses(
    scores: np.ndarray,
    labels: np.ndarray,
    loss: np.ndarray,
    names: Names,
    palette: Palette,
    shown: Sequence[int],
) -> Figure:
    """Scores (C x H x W) of the classes ``shown``, the prediction, the labels and the loss per pixel, in nats."""
    figure, grid = plt.subplots(2, 3, figsize=(6.6, 3.8))
    for axes, c in zip(grid[0], shown, strict=True):
        show(
            axes,
            scores[c],
            f"score of {names[c]}",
            cmap="YlGnBu",
            vmin=0,
            vmax=scores.max(),
        )
    show(grid[1, 0], colour(scores.argmax(0), palette), "the best class")
    show(grid[1, 1], colour(labels, palette), "ground truth")
    show(
        grid[1, 2],
        np.where(labels == VOID, np.nan, loss),
        "loss, nats",
        cmap="magma_r",
        vmin=0,
        vmax=loss.max(),
    )
    for axes in grid[:, 2]:
        figure.colorbar(axes.images[0], ax=axes, shrink=0.8)
    return figure


def _ink(palette: Palette, label: int) -> str:
    """A text colour that can be read on the colour of a class or of void."""
    return "white" if label != VOID and palette[label].mean() < 140 else INK


def _numbered(axes: Axes, labels: np.ndarray, names: Names, palette: Palette) -> None:
    axes.imshow(colour(labels, palette))
    style.write_numbers(
        axes,
        labels,
        lambda c: "void" if c == VOID else names[c],
        partial(_ink, palette),
        9.5,
    )
    _cell_lines(axes, labels.shape)


def _cell_lines(axes: Axes, shape: tuple[int, ...]) -> None:
    for k in range(shape[0] + 1):
        axes.axhline(k - 0.5, color="#d5dadd", lw=0.8, zorder=0.5)
    for k in range(shape[1] + 1):
        axes.axvline(k - 0.5, color="#d5dadd", lw=0.8, zorder=0.5)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
