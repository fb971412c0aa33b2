"""The picture of the README: two free photos and what the shipped net makes of them.

python -m figures.readme            writes book/assets/results.png
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from figures import style
from figures.photos import photo
from matplotlib.figure import Figure

from fcn.predict import Segmenter, shares

PROJECT = Path(__file__).parents[2]
NET = PROJECT / "weights" / "sift-flow-googlenet-8s-tuned.seed0.safetensors"
PICTURE = PROJECT / "book" / "assets" / "results.png"


def results(net: Path, names: tuple[str, ...] = ("china", "rocket")) -> Figure:
    """Each photo above its label map by the net in a file, with the classes that cover at least one percent."""
    style.use()
    segmenter = Segmenter(net)
    photos = {name: (photo(name)[0] * 255).to(torch.uint8) for name in names}
    ratios = [image.shape[-1] / image.shape[-2] for image in photos.values()]
    figure, axes = plt.subplots(2, len(names), figsize=(8, 2 * 8 / sum(ratios) + 0.5), width_ratios=ratios)
    present: dict[str, None] = {}
    for column, image in zip(axes.T, photos.values(), strict=True):
        labels = segmenter(image)
        style.show(column[0], image)
        style.show(column[1], style.colour(labels, segmenter.palette))
        present |= dict.fromkeys(name for name, share in shares(labels, segmenter.classes) if share >= 1)
    index = segmenter.classes.index
    style.legend(figure, segmenter.classes, segmenter.palette, [index(name) for name in present],
                 loc="outside lower center", ncols=6)  # fmt: skip
    return figure


if __name__ == "__main__":
    results(NET).savefig(PICTURE, dpi=110)
