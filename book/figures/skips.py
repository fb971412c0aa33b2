"""Chapter 5: what a coarse stride loses, what each tap sees, and what the skips bring back."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from figures.style import COLOURS, colour, legend, show
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from fcn.data.sample import VOID
from fcn.geometry import ReceptiveField

LONGER = "32s, longer"  # the control: it trains as long as all stages together
SERIES = {**{name: COLOURS[name] for name in ("32s", "16s", "8s")}, LONGER: COLOURS["paper"]}


def labellings(
    images: Sequence[np.ndarray], columns: Mapping[str, Sequence[np.ndarray]], names: Sequence[str], palette: np.ndarray
) -> Figure:
    """A row for each image (H x W x 3): the image, then its label map (H x W) in each of ``columns``, by title."""
    wide = len(columns) + 1
    figure, axes = plt.subplots(len(images), wide, figsize=(7.6, 7.6 / wide * len(images) + 0.9), squeeze=False)
    present: set[int] = set()
    for i, (image, row) in enumerate(zip(images, axes, strict=True)):
        show(row[0], image, "image" if i == 0 else "")
        for axis, (title, maps) in zip(row[1:], columns.items(), strict=True):
            show(axis, colour(maps[i], palette), title if i == 0 else "")
            present |= {*np.unique(maps[i]).tolist()}
    _class_legend(figure, names, palette, present)
    return figure


def taps(image: np.ndarray, fields: Mapping[int, ReceptiveField], centre: tuple[int, int]) -> Figure:
    """What one cell of each tap sees of ``image`` (H x W x 3), and where its cells lie.

    Left the receptive fields of the cells nearest to ``centre`` (row, column); right the centres of all cells in the
    part of the image around it.
    """
    width = image.shape[1]
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.8 * image.shape[0] / width + 0.6))
    part = np.array([image.shape[0], width]) // 3  # height and width of what the right side shows
    top, left = np.array(centre) - part // 2
    show(axes[0], image, "what: the receptive field of one cell")
    show(axes[1], image, "where: the centres of the cells")
    axes[0].set(xlim=(0, width), ylim=(image.shape[0], 0))
    axes[1].set(xlim=(left, left + part[1]), ylim=(top + part[0], top))
    axes[0].images[0].set_alpha(0.7)
    axes[1].images[0].set_alpha(0.5)
    axes[0].add_patch(Rectangle((left, top), *part[::-1], fill=False, ec="#2f353b", lw=1, ls="--"))
    for stride, tint in _TAPS.items():
        field = fields[stride]
        rows, columns = (np.arange(float(field.offset), size, stride) for size in image.shape[:2])
        row, column = (line[np.abs(line - at).argmin()] for line, at in zip((rows, columns), centre, strict=True))
        for edge, line in (("white", 4), (tint, 2)):
            corner = (column - field.size / 2, row - field.size / 2)
            axes[0].add_patch(Rectangle(corner, field.size, field.size, fill=False, ec=edge, lw=line))
        area = {32: 110, 16: 45, 8: 12}[stride]
        axes[1].scatter(*np.meshgrid(columns, rows), s=area, color=tint, edgecolor="white", lw=0.6, zorder=2 + stride)
    keys = [Patch(color=tint, label=f"stride {s}, sees {fields[s].size} px") for s, tint in _TAPS.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=3)
    return figure


def losses(runs: Mapping[str, Sequence[tuple[int, Sequence[Mapping[str, float]]]]]) -> Figure:
    """Training loss against images seen: for each net its runs, each the images seen before it and its curve."""
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    for name, stages in runs.items():
        for i, (before, curve) in enumerate(stages):
            seen = before + np.array([point["images"] for point in curve])
            loss = np.array([point["loss"] for point in curve])
            axes.plot(seen, loss, color=SERIES[name], alpha=0.25, lw=1)
            axes.plot(seen, _smooth(loss), color=SERIES[name], lw=2, label=None if i else f"FCN-{name}")
    axes.set(xlabel="images seen, all stages", ylabel="training loss (nats a pixel)", ylim=(0, None))
    axes.legend()
    return figure


def per_class(
    columns: Mapping[str, Sequence[float | None]], names: Sequence[str], tints: Mapping[str, str], label: str = "IU (%)"
) -> Figure:
    """IU of each class, a dot for each of ``columns``, classes in order of the last one, and the mean at the top."""
    rows = {name: [values[i] for values in columns.values()] for i, name in enumerate(names)}
    counted = {name: [float(v) for v in row if v is not None] for name, row in rows.items() if None not in row}
    order = sorted(counted, key=lambda name: counted[name][-1])
    table = np.array([*(counted[name] for name in order), np.mean([*counted.values()], 0)])
    heights = np.arange(len(table)) + (np.arange(len(table)) == len(order)) * 0.4
    figure, axes = plt.subplots(figsize=(6.4, 0.33 * len(table) + 1.1))
    axes.hlines(heights, table.min(1), table.max(1), color="#d5d8db", lw=3, zorder=1)
    for i, title in enumerate(columns):
        axes.scatter(table[:, i], heights, s=52, color=tints[title], label=title, zorder=2 + i)
    axes.set_yticks(heights, [*order, "mean IU"])
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set(xlabel=label, xlim=(-2, 102))
    axes.grid(axis="x", color="#eceeef")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(columns), handletextpad=0.1)
    return figure


def against_distance(errors: Mapping[str, np.ndarray], share: np.ndarray) -> Figure:
    """The error of each net at 1, 2, ... pixels from the nearest border; below, their ``share``; in percent."""
    figure, (axes, below) = plt.subplots(2, 1, figsize=(6.4, 4.4), sharex=True, height_ratios=(3, 1))
    distance = np.arange(1, len(share) + 1)
    for name, error in errors.items():
        dashes = "--" if name == LONGER else "-"
        axes.plot(distance, error, dashes, color=SERIES[name], lw=2, marker="o", ms=4, label=f"FCN-{name}")
    axes.set(ylabel="pixels wrong (%)", ylim=(0, None))
    axes.legend()
    below.bar(distance, share, color="#c9ced2", width=0.8)
    labels = [*map(str, distance[:-1]), f"{distance[-1]}+"]
    below.set_xticks(distance, labels)
    below.set(xlabel="distance from the nearest border between classes (pixels)", ylabel="share of\nthe pixels (%)")
    return figure


def streams(
    image: np.ndarray,
    labels: np.ndarray,
    scores: Mapping[int, np.ndarray],
    classes: Sequence[int],
    names: Sequence[str],
    palette: np.ndarray,
) -> Figure:
    """What each stream adds: the labels it would give alone, then its scores for some ``classes``, and the sum.

    ``scores`` holds for each stride C x H x W at the pixels. What all classes share changes no label, so the mean over
    the classes is taken off first. One scale a row: red for the class, blue against it.
    """
    parts = {f"stride {s}": scores[s] - scores[s].mean(0) for s in sorted(scores, reverse=True)}
    parts["sum"] = np.sum([*parts.values()], 0)
    figure, axes = plt.subplots(
        len(classes) + 1, len(parts) + 1, figsize=(7.6, 1.6 * (len(classes) + 1) + 0.9), squeeze=False
    )
    show(axes[0, 0], image, "image")
    for axis, (title, score) in zip(axes[0, 1:], parts.items(), strict=True):
        show(axis, colour(score.argmax(0).astype(np.uint8), palette), title if title == "sum" else f"{title} alone")
    for row, c in zip(axes[1:], classes, strict=True):
        show(row[0], np.where((labels == c)[..., None], palette[c], 235).astype(np.uint8), names[c])
        largest = max(np.abs(score[c]).max() for score in parts.values())
        for axis, score in zip(row[1:], parts.values(), strict=True):
            axis.imshow(score[c], cmap="RdBu_r", vmin=-largest, vmax=largest)
            axis.set_axis_off()
    present = {*np.unique([score.argmax(0) for score in parts.values()]).tolist()}
    _class_legend(figure, names, palette, present)
    return figure


_TAPS = {32: "#e4572e", 16: "#f3c300", 8: "#1b7f79"}  # on a photo: stronger than the book's own


def _smooth(values: np.ndarray, width: int = 9) -> np.ndarray:
    """The mean of each value and those up to ``width // 2`` places away on either side, as far as there are any."""
    return np.array([values[max(0, i - width // 2) : i + width // 2 + 1].mean() for i in range(len(values))])


def _class_legend(figure: Figure, names: Sequence[str], palette: np.ndarray, present: set[int]) -> None:
    """The classes ``present`` below the whole figure."""
    shown = sorted(present - {VOID})
    more = {"columnspacing": 1.2, "handlelength": 1.2}
    legend(figure, names, palette, shown, loc="outside lower center", ncols=min(len(shown), 6), **more)
