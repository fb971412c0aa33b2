"""Augmentation of a photo together with its labels, by torchvision's transforms (v2).

The paper mirrors its training images at random and shifts them by up to 32 pixels, the coarsest
stride, and sees no noticeable improvement (section 4.3). Uncovered pixels are void in the labels
and grey in the photo. Random numbers come from torch's global generator.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from fcn.data.sample import GREY, VOID, Sample


class RandomShift(v2.Transform):
    """Shift by up to ``pixels`` along each axis; the size is unchanged. 32 pixels in the paper."""

    def __init__(self, pixels: int = 32) -> None:
        super().__init__()
        self.pixels = pixels

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a shift to the right and one down: whole pixels, all equally likely."""
        right, down = torch.randint(-self.pixels, self.pixels + 1, (2,)).tolist()
        return {"right": right, "down": down}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Shift one image or label map."""
        height, width = inpt.shape[-2:]
        right, down = params["right"], params["down"]
        border = [max(right, 0), max(down, 0), max(-right, 0), max(-down, 0)]
        fill = VOID if isinstance(inpt, tv_tensors.Mask) else GREY
        return F.crop(F.pad(inpt, border, fill=fill), border[3], border[2], height, width)


class AlternateFlip(v2.Transform):
    """Mirror if the seed of torch's generator is odd: loaders number the epochs of an image."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Mirror by the seed, without drawing a number."""
        return {"mirrored": torch.initial_seed() % 2 == 1}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Mirror one image or label map, or return it unchanged."""
        mirrored: Tensor = F.horizontal_flip(inpt) if params["mirrored"] else inpt
        return mirrored


class Compose:
    """A chain of torchvision transforms that maps a sample to a sample, all heads included."""

    def __init__(self, *transforms: v2.Transform) -> None:
        self.transforms = transforms

    def __call__(self, sample: Sample) -> Sample:
        """The augmented sample: image uint8, 3 x H x W; labels int64, H x W, void 255."""
        image: Any = tv_tensors.Image(sample.image)
        labels: Any = {head: tv_tensors.Mask(label) for head, label in sample.labels.items()}
        for transform in self.transforms:
            image, labels = transform(image, labels)
        plain = {head: label.as_subclass(Tensor) for head, label in labels.items()}
        return Sample(image.as_subclass(Tensor), plain, sample.name)


AUGMENTATIONS: dict[str, Compose] = {
    "none": Compose(),
    "mirror": Compose(v2.RandomHorizontalFlip()),
    "alternate": Compose(AlternateFlip()),  # mirrored in every other epoch
    "mirror+jitter": Compose(v2.RandomHorizontalFlip(), RandomShift(32)),
}


def augmentation(name: str) -> Compose:
    """The augmentation of that name. Raises ValueError if there is none."""
    if name not in AUGMENTATIONS:
        raise ValueError(f'unknown augmentation "{name}": choose one of {", ".join(AUGMENTATIONS)}')
    return AUGMENTATIONS[name]
