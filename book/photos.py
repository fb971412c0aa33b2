"""Free photos for the book, shipped with scikit-image and scikit-learn.

Chelsea the cat (Stefan van der Walt), coffee (Rachel Michetti), the rocket (SpaceX), the photographer (Lav Varshney)
and the astronaut Eileen Collins (NASA) are in the public domain or under CC0; "china" (danielbuechele) and "flower"
(vultilion), both from Flickr, are under CC BY 2.0.
"""

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

PHOTOS = {
    "chelsea": ("skimage.data", "chelsea.png"),
    "coffee": ("skimage.data", "coffee.png"),
    "rocket": ("skimage.data", "rocket.jpg"),
    "camera": ("skimage.data", "camera.png"),
    "astronaut": ("skimage.data", "astronaut.png"),
    "china": ("sklearn.datasets.images", "china.jpg"),
    "flower": ("sklearn.datasets.images", "flower.jpg"),
}


def photo(name: str) -> Tensor:
    """The photo called ``name``: 1 x 3 x H x W, RGB in 0..1. Raises ValueError for a name not in ``PHOTOS``."""
    if name not in PHOTOS:
        raise ValueError(
            f'no photo is called "{name}": choose one of {", ".join(PHOTOS)}'
        )
    package, file = PHOTOS[name]
    # Not with scikit-image's loader, which imports a downloader and its progress bars.
    with (files(package) / file).open("rb") as opened:
        pixels = np.array(Image.open(opened).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """N x C x H x W resized to ``size`` (height, width) with antialiasing."""
    return F.interpolate(image, size=size, mode="bilinear", antialias=True).clamp(0, 1)


def filled(image: Tensor, size: tuple[int, int]) -> Tensor:
    """N x C x H x W cropped at the centre to the proportions of ``size`` and resized to it."""
    scale = max(size[0] / image.shape[2], size[1] / image.shape[3])
    image = resized(
        image,
        (
            max(size[0], round(image.shape[2] * scale)),
            max(size[1], round(image.shape[3] * scale)),
        ),
    )
    top, left = (image.shape[2] - size[0]) // 2, (image.shape[3] - size[1]) // 2
    return image[..., top : top + size[0], left : left + size[1]]


def sheet(rows: Sequence[Sequence[str]], tile: tuple[int, int] = (300, 450)) -> Tensor:
    """Photos by name in rows, each filling a tile of (height, width) pixels: 1 x 3 x H x W."""
    return torch.cat(
        [torch.cat([filled(photo(name), tile) for name in row], dim=3) for row in rows],
        dim=2,
    )
