"""The look that all figures share: colours, fonts, label maps in their palette with a legend."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from torch import Tensor

from fcn.data.sample import VOID

# One colour for each thing the book compares again and again.
COLOURS = {
    "32s": "#8da0cb", "16s": "#66a5ad", "8s": "#1b7f79",
    "paper": "#b0722b", "ours": "#1b7f79", "others": "#9aa0a6", "loss": "#444b54",
}  # fmt: skip
VOID_COLOUR = (235, 235, 235)


def use() -> None:
    """Set the style of the book; every chapter calls it once, after its imports."""
    sns.set_theme(context="notebook", style="ticks", palette=list(COLOURS.values()))
    plt.rcParams.update(
        {
            "figure.dpi": 110, "savefig.bbox": "tight", "figure.constrained_layout.use": True,
            "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.labelsize": 10,
            "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.frameon": False, "legend.fontsize": 9,
            "image.interpolation": "nearest", "image.cmap": "mako",
        }
    )  # fmt: skip


def colour(labels: Tensor | np.ndarray, palette: np.ndarray) -> np.ndarray:
    """A label map (H x W, void 255) in the colours of ``palette`` (C x 3, uint8): H x W x 3, uint8."""
    table = np.full((256, 3), VOID_COLOUR, np.uint8)
    table[: len(palette)] = palette
    table[VOID] = VOID_COLOUR
    return table[np.asarray(labels)]


def show(axes: Axes, image: Tensor | np.ndarray, title: str = "") -> None:
    """An image (3 x H x W tensor, uint8 or 0..1, or an H x W x 3 array) without ticks and frame."""
    array = np.asarray(image)
    axes.imshow(np.moveaxis(array, 0, -1) if isinstance(image, Tensor) and array.ndim == 3 else array)
    axes.set_title(title)
    axes.set_axis_off()


def legend(
    on: Axes | Figure, names: Sequence[str], palette: np.ndarray, present: Sequence[int] | None = None, **more: Any
) -> None:
    """A legend of the classes ``present`` (by default all), each with its colour, on axes or on a whole figure."""
    indices = range(len(names)) if present is None else present
    on.legend(handles=[Patch(color=tuple(np.asarray(palette[i]) / 255), label=names[i]) for i in indices], **more)


def probability(axes: Axes, certain: Tensor) -> None:
    """How probable a net holds the class that it chose, H x W in 0..1."""
    axes.imshow(certain.numpy(), cmap="mako", vmin=0, vmax=1)
    axes.set_title(f"probability, mean {certain.mean():.2f}")
    axes.set_axis_off()


def largest_classes(on: SubFigure, labels: Tensor, names: Sequence[str], palette: np.ndarray) -> None:
    """A legend below ``on`` of the classes with at least 1 % of ``labels`` (H x W), the six largest at most."""
    share = 100 * labels.flatten().bincount(minlength=len(names)) / labels.numel()
    shown = [c for c in share.argsort(descending=True).tolist() if share[c] >= 1][:6]
    keys = [Patch(color=palette[c] / 255, label=f"{names[c]} {share[c]:.0f} %") for c in shown]
    on.legend(handles=keys, loc="outside lower left", ncols=6, columnspacing=1.0, handlelength=1.2)
