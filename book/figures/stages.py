"""The paper's figure 4 with our nets: one photo, labelled by FCN-32s, FCN-16s and FCN-8s."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

import photos
from fcn.environment import PROJECT
from fcn.predict import Segmenter
from figures import style

STAGES = {
    f"FCN-{stride}s": PROJECT
    / "weights"
    / f"sift-flow-googlenet-{stride}s-short.seed0.safetensors"
    for stride in (32, 16, 8)
}
"""Nets trained in stages on SIFT Flow, each from the one before it (chapter 6)."""
SIDE = 384  # pixels of the longer side: SIFT Flow's photos have 256


def compared(names: Sequence[str], segmenters: Mapping[str, Segmenter]) -> Figure:
    """A row for each photo of ``photos.PHOTOS``: the photo and its label map by each net."""
    pixels = [
        np.round(255 * photos.photo(name)[0].permute(1, 2, 0).numpy()).astype(np.uint8)
        for name in names
    ]
    tall = [height / width for height, width, _ in (one.shape for one in pixels)]
    wide = len(segmenters) + 1
    figure, axes = plt.subplots(
        len(names),
        wide,
        figsize=(7.6, 7.6 / wide * sum(tall) + 1.2),
        squeeze=False,
        height_ratios=tall,
    )
    found = []
    for i, (photo, row) in enumerate(zip(pixels, axes, strict=True)):
        style.show(row[0], photo, "" if i else "photo")
        for axis, (title, segmenter) in zip(row[1:], segmenters.items(), strict=True):
            found.append(segmenter.labels(photo, SIDE))
            style.show(
                axis, style.colour(found[-1], segmenter.palette), "" if i else title
            )
    style.class_legend(figure, segmenter.classes, segmenter.palette, found)
    return figure


def staged(names: Sequence[str] = ("china", "rocket")) -> Figure:
    """``compared`` with the nets that were trained in stages."""
    return compared(names, {title: Segmenter(path) for title, path in STAGES.items()})
