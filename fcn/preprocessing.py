"""What a net is fed: the channels of an image, in Caffe's order and scale, minus their means.

Data sets give photos as RGB in 0..1, which every library understands. The weights of the paper's classifiers were
learned on BGR in 0..255 minus the mean of ImageNet's pixels, so that is what a net turns its images into.
"""

from typing import Literal

import torch
from torch import Tensor

Inputs = Literal["rgb", "hha", "rgbd"]

MEAN_BGR = (104.00699, 116.66877, 122.67892)  # of ImageNet's pixels, as the authors' VOC nets subtract it
MEAN_HHA = (132.431, 94.076, 118.477)  # of NYUDv2's HHA images, in the order of the files, as in the authors' release
MEAN_LOG_DEPTH = 7.844  # of the natural logarithm of NYUDv2's depth in millimetres, as in the authors' release

MEANS: dict[Inputs, tuple[float, ...]] = {
    "rgb": MEAN_BGR,
    "hha": MEAN_HHA,  # three channels that stand in no order of colours (section 5, NYUDv2)
    "rgbd": (*MEAN_BGR, MEAN_LOG_DEPTH),  # early fusion: depth as a fourth channel
}


def as_caffe(images: Tensor, inputs: Inputs, mean: Tensor) -> Tensor:
    """``images`` (N x C x H x W, the channels divided by 255) with colours as BGR in 0..255, minus ``mean``."""
    x = images.to(mean.dtype)
    if inputs == "rgb":
        x = x.flip(1)
    elif inputs == "rgbd":
        x = torch.cat((x[:, :3].flip(1), x[:, 3:]), dim=1)
    return x * 255 - mean.view(1, -1, 1, 1)
