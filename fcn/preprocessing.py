"""Input preprocessing: RGB in [0, 1] to mean-subtracted BGR in [0, 255], as Caffe models expect.

The paper's classifiers were trained on BGR minus ImageNet's mean pixel, so ours convert inputs.
"""

from typing import Literal

import torch
from torch import Tensor

Inputs = Literal["rgb", "hha", "rgbd"]

MEAN_BGR = (104.00699, 116.66877, 122.67892)  # ImageNet's mean pixel, as in the authors' VOC nets
MEAN_HHA = (132.431, 94.076, 118.477)  # of NYUDv2's HHA files, in their order, as released
MEAN_LOG_DEPTH = 7.844  # of the natural logarithm of NYUDv2's depth in mm, as in the release

MEANS: dict[Inputs, tuple[float, ...]] = {
    "rgb": MEAN_BGR,
    "hha": MEAN_HHA,  # not colours, so not reversed (section 5, NYUDv2)
    "rgbd": (*MEAN_BGR, MEAN_LOG_DEPTH),  # early fusion: depth as a fourth channel
}


def as_caffe(images: Tensor, inputs: Inputs, mean: Tensor) -> Tensor:
    """``images`` (N x C x H x W, divided by 255) as BGR in [0, 255] minus ``mean``."""
    x = images.to(mean.dtype)
    if inputs == "rgb":
        x = x.flip(1)
    elif inputs == "rgbd":
        x = torch.cat((x[:, :3].flip(1), x[:, 3:]), dim=1)
    return x * 255 - mean.view(1, -1, 1, 1)
