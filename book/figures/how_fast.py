"""Chapter 14: seconds per photo of our nets and their peers, and the parts of a training step."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fcn.replication.benchmark.record import (
    Benchmark,
    Case,
    Profile,
    Variant,
    quartiles,
)
from figures import style

LABELS = {
    Variant("padded port"): "padded PyTorch port",
    Variant("fcn_resnet50"): "torchvision fcn_resnet50",
    Variant("OpenCV"): "OpenCV, authors' net",
    Variant("ONNX Runtime"): "ONNX Runtime, our export",
    Variant(): "ours",
    Variant(memory_format="channels last"): "ours, channels last",
    Variant(alignment="reference"): 'ours, "reference"',
    Variant(mode="compiled"): "ours, compiled",
}
"""The variants of the picture; the table has all."""


def seconds_per_photo(found: Benchmark) -> Figure:
    """Bars of the medians for a forward pass and a training step, quartiles as lines, slowest first."""
    panels = {task: _shown(found.main(task)) for task in ("forward", "training step")}
    panels = {task: cases for task, cases in panels.items() if cases}
    rows = [len(cases) for cases in panels.values()]
    figure, column = plt.subplots(
        len(panels),
        1,
        figsize=(7, 0.3 * sum(rows) + 0.9 * len(rows)),
        height_ratios=rows,
        layout=ConstrainedLayoutEngine(hspace=0.08),  # room above the second title
        squeeze=False,
    )
    for axes, (task, cases) in zip(column[:, 0], panels.items(), strict=True):
        for y, case in enumerate(cases):
            low, median, high = quartiles(case.seconds)
            ours = "ours" if case.variant.peer == "ours" else "others"
            axes.barh(y, median, color=style.COLOURS[ours], height=0.7)
            axes.plot([low, high], [y, y], color=style.INK, lw=1.2)
            end = {
                "xytext": (4, 0),
                "textcoords": "offset points",
                "va": "center",
                "fontsize": 9,
            }
            axes.annotate(f"{median:.3g} s", (max(high, median), y), **end)
        axes.set_yticks(range(len(cases)), [LABELS[case.variant] for case in cases])
        axes.tick_params(axis="y", length=0)
        axes.set(title=task, ylim=(len(cases) - 0.4, -0.6))
        axes.margins(x=0.15)
    column[-1, 0].set_xlabel("seconds per photo")
    return figure


def parts(profiles: list[Profile]) -> Figure:
    """One bar per profile: the share of each part in percent; a legend names those too narrow for their names."""
    figure, axes = plt.subplots(figsize=(7, 0.75 * len(profiles) + 0.7))
    narrow = {}
    names = dict.fromkeys(part.name for one in profiles for part in one.parts)
    tints = dict(zip(names, sns.color_palette("Set2", len(names)), strict=True))
    for y, one in enumerate(profiles):
        left = 0.0
        for name, share in one.shares().items():
            bar = axes.barh(
                y, share, left=left, color=tints[name], edgecolor="white", height=0.6
            )
            if share > 4 + 0.6 * len(name):
                axes.text(
                    left + share / 2,
                    y,
                    f"{name}\n{share:.0f} %",
                    ha="center",
                    va="center",
                    fontsize=9,
                )
            else:
                narrow[name] = bar.patches[0]
            left += share
    axes.set_yticks(range(len(profiles)), [one.name for one in profiles])
    axes.set(xlabel="% of the time", xlim=(0, 100), ylim=(len(profiles) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    if narrow:
        figure.legend(
            [*narrow.values()], [*narrow], loc="outside lower center", ncols=3
        )
    return figure


def _shown(cases: dict[Variant, Case]) -> list[Case]:
    shown = [case for variant, case in cases.items() if variant in LABELS]
    return sorted(shown, key=lambda case: -case.median)
