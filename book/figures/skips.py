"""Chapter 5: receptive fields of the skips, training curves, errors near borders, scores of each stream."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from fcn.geometry import ReceptiveField
from figures.style import (
    COLOURS,
    INK,
    ByStride,
    Names,
    Palette,
    class_legend,
    colour,
    show,
)

LONGER = "32s, longer"  # the control: trained as long as all stages together
SERIES = {
    **{name: COLOURS[name] for name in ("32s", "16s", "8s")},
    LONGER: COLOURS["paper"],
}
TAPS = {
    32: "#e4572e",
    16: "#f3c300",
    8: "#1b7f79",
}  # on a photo: stronger than the book's own


def taps(
    image: np.ndarray, fields: Mapping[int, ReceptiveField], centre: tuple[int, int]
) -> Figure:
    """Receptive fields (by stride) of the cells nearest to ``centre`` (row, column), and centres of cells around it."""
    width = image.shape[1]
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.8 * image.shape[0] / width + 0.6))
    part = np.array([image.shape[0], width]) // 3  # height and width of the right panel
    top, left = np.array(centre) - part // 2
    show(axes[0], image, "what: the receptive field of one cell", alpha=0.7)
    show(axes[1], image, "where: the centres of the cells", alpha=0.5)
    axes[0].set(xlim=(0, width), ylim=(image.shape[0], 0))
    axes[1].set(xlim=(left, left + part[1]), ylim=(top + part[0], top))
    axes[0].add_patch(
        Rectangle((left, top), *part[::-1], fill=False, ec=INK, lw=1, ls="--")
    )
    for stride, tint in TAPS.items():
        field = fields[stride]
        rows, columns = (
            np.arange(float(field.offset), size, stride) for size in image.shape[:2]
        )
        row, column = (
            line[np.abs(line - at).argmin()]
            for line, at in zip((rows, columns), centre, strict=True)
        )
        for edge, line in (("white", 4), (tint, 2)):
            corner = (column - field.size / 2, row - field.size / 2)
            axes[0].add_patch(
                Rectangle(corner, field.size, field.size, fill=False, ec=edge, lw=line)
            )
        area = {32: 110, 16: 45, 8: 12}[stride]
        axes[1].scatter(
            *np.meshgrid(columns, rows),
            s=area,
            color=tint,
            edgecolor="white",
            lw=0.6,
            zorder=2 + stride,
        )
    keys = [
        Patch(color=tint, label=f"stride {s}, sees {fields[s].size} px")
        for s, tint in TAPS.items()
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def training(
    nets: Mapping[
        str, Sequence[tuple[int, Sequence[Mapping[str, float]], Sequence[float]]]
    ],
) -> Figure:
    """Loss against images seen, {net: [(images seen before, training curve, fixed losses), ...]}; grey: a new stage.

    The training loss is faint. The loss on fixed images is bold, and has one value more: before the first step.
    """
    figure, axes = plt.subplots(figsize=(7, 3.8))
    for name, stages in nets.items():
        for i, (before, curve, fixed) in enumerate(stages):
            seen = [before, *(before + point["images"] for point in curve)]
            axes.plot(
                seen[1:],
                [point["loss"] for point in curve],
                color=SERIES[name],
                lw=0.8,
                alpha=0.3,
            )
            dashes, label = (
                "--" if name == LONGER else "-",
                None if i else f"FCN-{name}",
            )
            axes.plot(seen, fixed, dashes, color=SERIES[name], lw=2, label=label)
            if before:
                axes.axvline(before, color="0.8", lw=0.8, zorder=0)
    axes.set(
        xlabel="images seen",
        ylabel="loss, nats per pixel",
        xlim=(0, None),
        ylim=(0, None),
    )
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    return figure


def against_distance(errors: Mapping[str, np.ndarray], share: np.ndarray) -> Figure:
    """Error of each net at 1, 2, ... pixels from the nearest border, and the ``share`` of these pixels; in percent."""
    figure, (axes, below) = plt.subplots(
        2, 1, figsize=(6.4, 4.4), sharex=True, height_ratios=(3, 1)
    )
    distance = np.arange(1, len(share) + 1)
    for name, error in errors.items():
        dashes = "--" if name == LONGER else "-"
        axes.plot(
            distance,
            error,
            dashes,
            color=SERIES[name],
            lw=2,
            marker="o",
            ms=4,
            label=f"FCN-{name}",
        )
    axes.set(ylabel="pixels wrong (%)", ylim=(0, None))
    axes.legend()
    below.bar(distance, share, color="#c9ced2", width=0.8)
    labels = [*map(str, distance[:-1]), f"{distance[-1]}+"]
    below.set_xticks(distance, labels)
    below.set(
        xlabel="distance from the nearest border between classes (pixels)",
        ylabel="share of\nthe pixels (%)",
    )
    return figure


def streams(
    image: np.ndarray,
    labels: np.ndarray,
    scores: ByStride,
    classes: Sequence[int],
    names: Names,
    palette: Palette,
) -> Figure:
    """Label maps of the streams, {stride: C x H x W at the pixels}, and of their sum, then scores of ``classes``.

    The mean over the classes, which changes no label, is subtracted. Red is for the class, blue against it.
    """
    parts = {
        f"stride {s}": scores[s] - scores[s].mean(0)
        for s in sorted(scores, reverse=True)
    }
    parts["sum"] = np.sum([*parts.values()], 0)
    rows = len(classes) + 1
    figure, axes = plt.subplots(
        rows, len(parts) + 1, figsize=(7.6, 1.6 * rows + 0.9), squeeze=False
    )
    show(axes[0, 0], image, "image")
    for axis, (title, score) in zip(axes[0, 1:], parts.items(), strict=True):
        show(
            axis,
            colour(score.argmax(0).astype(np.uint8), palette),
            title if title == "sum" else f"{title} alone",
        )
    for row, c in zip(axes[1:], classes, strict=True):
        show(
            row[0],
            np.where((labels == c)[..., None], palette[c], 235).astype(np.uint8),
            names[c],
        )
        largest = max(np.abs(score[c]).max() for score in parts.values())
        for axis, score in zip(row[1:], parts.values(), strict=True):
            show(axis, score[c], cmap="RdBu_r", vmin=-largest, vmax=largest)
    class_legend(figure, names, palette, [score.argmax(0) for score in parts.values()])
    return figure
