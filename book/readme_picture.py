"""The picture of the README: two free photos and their label maps by the shipped net."""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from fcn.predict import Segmenter, shares
from figures import style
from photos import photo

NET = (
    Path(__file__).parents[1]
    / "weights"
    / "sift-flow-googlenet-8s-tuned.seed0.safetensors"
)


def draw(path: Path) -> None:
    """Draw each photo above its label map, with the classes that cover at least one percent, into a PNG."""
    style.use()
    segmenter = Segmenter(NET)
    photos = [(photo(name)[0] * 255).to(torch.uint8) for name in ("china", "rocket")]
    ratios = [image.shape[-1] / image.shape[-2] for image in photos]
    figure, axes = plt.subplots(
        2, 2, figsize=(8, 2 * 8 / sum(ratios) + 0.5), width_ratios=ratios
    )
    present: dict[str, None] = {}
    for column, image in zip(axes.T, photos, strict=True):
        labels = segmenter(image)
        style.show(column[0], image)
        style.show(column[1], style.colour(labels, segmenter.palette))
        present |= dict.fromkeys(
            name for name, share in shares(labels, segmenter.classes) if share >= 1
        )
    shown = [segmenter.classes.index(name) for name in present]
    style.legend(
        figure,
        segmenter.classes,
        segmenter.palette,
        shown,
        loc="outside lower center",
        ncols=6,
    )
    figure.savefig(path, dpi=110)
