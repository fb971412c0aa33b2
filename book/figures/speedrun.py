"""Chapter 15: mean IU against seconds, learning rates, and what was tried."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from fcn.replication.speedrun import TARGET, Attempt
from fcn.training.recipe import Recipe
from figures import style

LABELS = {
    "sift-flow-googlenet-8s-tuned": ("tuned, before the race", "below"),
    "sift-flow-googlenet-8s-speedrun-short": ("fewer epochs", "below"),
    "sift-flow-googlenet-8s-speedrun-frozen": ("frozen layers", "left"),
    "sift-flow-googlenet-8s-speedrun-weighted": ("class weights", "above"),
    "sift-flow-googlenet-8s-speedrun": ("score layers first", "right"),
    "sift-flow-googlenet-8s-speedrun-brief": ("then 3 epochs", "right"),
    "sift-flow-googlenet-8s-speedrun-direct": ("3 epochs alone", "below left"),
    "sift-flow-googlenet-8s-speedrun-unmirrored": ("not mirrored", "left"),
}
"""The name of each row and its place, where no other row is near."""
MARKERS = "osD^vP"  # one per machine
PLACES: dict[str, dict[str, Any]] = {
    "below": {"xytext": (0, -8), "ha": "center", "va": "top"},
    "below left": {"xytext": (6, -8), "ha": "right", "va": "top"},
    "above": {"xytext": (0, 8), "ha": "center", "va": "bottom"},
    "left": {"xytext": (-10, 0), "ha": "right", "va": "center"},
    "right": {"xytext": (10, 0), "ha": "left", "va": "center"},
}


def ledger(attempts: Sequence[Attempt]) -> Figure:
    """Mean IU of every seed against the seconds of its training, on a log axis; a line at the target.

    The seeds of a row are joined. Each machine has its own marker.
    """
    figure, axes = plt.subplots(figsize=(7, 3.6))
    axes.axhline(TARGET, color=style.COLOURS["paper"], lw=1.5)
    axes.annotate(
        f"the paper's FCN-16s on VGG16, {TARGET}",
        (1, TARGET),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 4),
        textcoords="offset points",
        ha="right",
        color=style.COLOURS["paper"],
        fontsize=9,
    )
    markers: dict[str, str] = {}
    for one in attempts:
        if not one.stages:
            continue
        seconds = [sum(stage.seconds for stage in stages) for stages in one.stages]
        tint = style.COLOURS["ours"] if one.counts else style.COLOURS["others"]
        marker = markers.setdefault(one.hardware, MARKERS[len(markers) % len(MARKERS)])
        joined = sorted(zip(one.scores, seconds, strict=True))
        axes.plot(
            [time for _, time in joined],
            [score for score, _ in joined],
            color=tint,
            lw=1.5,
            marker=marker,
            markersize=7,
            alpha=0.85,
        )
        name, place = LABELS[one.experiment]
        if one.on_gpu:
            name, place = f"{name}, on a GPU", "above"
        at = {
            "below": (float(np.mean(seconds)), min(one.scores)),
            "below left": (float(np.mean(seconds)), min(one.scores)),
            "above": (float(np.mean(seconds)), max(one.scores)),
            "left": (min(seconds), float(np.mean(one.scores))),
            "right": (max(seconds), min(one.scores)),
        }[place]
        axes.annotate(name, at, textcoords="offset points", fontsize=9, **PLACES[place])
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,.0f}"))
    axes.minorticks_off()
    axes.margins(x=0.18, y=0.25)
    axes.set(xlabel="seconds of training", ylabel="mean IU, %")
    figure.legend(
        handles=[
            Line2D(
                [], [], color=style.COLOURS["ours"], marker=marker, ls="", label=name
            )
            for name, marker in markers.items()
        ],
        loc="outside upper left",
        ncols=len(markers) or 1,
    )
    return figure


def rates(recipes: Mapping[str, Recipe], tints: Mapping[str, str]) -> Figure:
    """The learning rate over the epochs of each recipe, relative to its peak."""
    figure, axes = plt.subplots(figsize=(7, 2.4))
    for name, recipe in recipes.items():
        epochs = np.linspace(0, recipe.epochs, 200)
        rate = [recipe.rate_at(epoch) / recipe.learning_rate for epoch in epochs]
        axes.plot(epochs, rate, color=tints[name], lw=2, label=name)
    axes.set(xlabel="epoch", ylabel="rate / peak", ylim=(0, 1.08))
    figure.legend(loc="outside upper left", ncols=len(recipes))
    return figure
