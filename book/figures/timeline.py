"""Chapter 1: from classifiers to dense prediction, on one axis of time."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from figures.style import COLOURS
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

INK, FAINT = "#2f353b", "#69727b"

# When a work was first public, year and month: those in its arXiv number, else those of the conference or journal.
CLASSIFIERS = {
    "AlexNet": (2012, 12),
    "VGG16": (2014, 9),
    "GoogLeNet": (2014, 9),
    "ResNet-152": (2015, 12),
}
DENSE = {
    "Farabet et al.": (2013, 8, "a convnet, then superpixels"),
    "R-CNN": (2013, 11, "a convnet on proposed boxes"),
    "OverFeat": (2013, 12, "a convnet slid over the image"),
    "SDS": (2014, 7, "R-CNN with proposed masks"),
    "FCN": (2014, 11, "pixels in, pixels out, one net"),
    "DeepLab": (2014, 12, "dilation in place of stride"),
    "DeconvNet, U-Net": (2015, 5, "decoders as deep as encoders"),
    "DeepLab v2": (2016, 6, "dilated ResNet-101"),
}
# Whose layers a dense net was built on, in the paper that introduced it.
BUILT_ON = (
    ("AlexNet", "R-CNN"), ("AlexNet", "FCN"), ("VGG16", "FCN"), ("GoogLeNet", "FCN"),
    ("VGG16", "DeepLab"), ("VGG16", "DeconvNet, U-Net"), ("ResNet-152", "DeepLab v2"),
)  # fmt: skip


def timeline(size: Mapping[str, tuple[int, float]]) -> Figure:
    """Classifiers on the left, dense nets on the right, years downwards; lines lead from a trunk to what stands on it.

    ``size`` gives for each classifier its layers with weights and its parameters in millions; discs have an area in
    proportion to the parameters.
    """
    figure, axes = plt.subplots(figsize=(6.4, 6.6))
    left, right = 0.0, 2.3
    places = {name: (left, _months(*when)) for name, when in CLASSIFIERS.items()}
    places |= {name: (right, _months(*when[:2])) for name, when in DENSE.items()}
    places = _apart(places, 3.1)

    for source, target in BUILT_ON:
        strong = target == "FCN"
        axes.add_patch(
            FancyArrowPatch(
                places[source], places[target], arrowstyle="-|>", mutation_scale=9, shrinkA=4, shrinkB=7, zorder=1,
                connectionstyle="arc3,rad=-0.06", lw=2 if strong else 0.9, color=COLOURS["8s"] if strong else "#c3c8cd",
            )
        )  # fmt: skip
    for name in CLASSIFIERS:
        layers, millions = size[name]
        x, y = places[name]
        axes.scatter(x, y, s=7 * millions, color=COLOURS["32s"], ec="white", lw=1, zorder=3)
        axes.text(x - 0.42, y, name, ha="right", va="bottom", fontsize=10, weight="bold", color=INK)
        below = f"{layers} layers, {millions:.0f} M"
        axes.text(x - 0.42, y + 0.2, below, ha="right", va="top", fontsize=9.5, color=FAINT)
    for name, (*_, what) in DENSE.items():
        x, y = places[name]
        main = name == "FCN"
        axes.scatter(x, y, s=130 if main else 45, color=COLOURS["8s" if main else "others"], ec="white", zorder=3)
        tint = COLOURS["8s"] if main else INK
        axes.text(x + 0.17, y, name, va="bottom", fontsize=12 if main else 10, weight="bold", color=tint)
        axes.text(x + 0.17, y + 0.2, what, va="top", fontsize=9.5, color=FAINT, linespacing=1.1)

    top = _months(2012, 9)
    axes.text(left, top, "one answer for an image", ha="center", fontsize=10, color=INK, style="italic")
    axes.text(right + 0.9, top, "an answer for each place", ha="center", fontsize=10, color=INK, style="italic")
    for year in range(2013, 2017):
        axes.axhline(_months(year, 1), color="#e6e9eb", lw=0.8, zorder=0)
        axes.text(-2.35, _months(year, 1), str(year), fontsize=9.5, color=FAINT, va="bottom")
    axes.set_xlim(-2.4, 4.9)
    axes.set_ylim(_months(2016, 9), top - 1)
    axes.set_axis_off()
    return figure


def _months(year: int, month: int) -> float:
    return 12.0 * (year - 2012) + month - 1


def _apart(places: dict[str, tuple[float, float]], least: float) -> dict[str, tuple[float, float]]:
    """The places with those of one column moved at least so many months apart, each as little as that takes."""
    moved: dict[str, tuple[float, float]] = {}
    for column in {x for x, _ in places.values()}:
        names = sorted((name for name, (x, _) in places.items() if x == column), key=lambda name: places[name][1])
        ys = [places[name][1] for name in names]
        for _ in range(200):
            for i in range(len(ys) - 1):
                if (short := least - (ys[i + 1] - ys[i])) > 0:
                    ys[i] -= short / 2
                    ys[i + 1] += short / 2
        moved |= {name: (column, y) for name, y in zip(names, ys, strict=True)}
    return moved
