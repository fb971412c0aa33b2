"""Changes to a photo and its labels together, by torchvision's transforms (v2): mirroring, shifts, changes of scale.

The paper mirrors its training images at random and shifts them by up to 32 pixels, the coarsest scale of prediction,
and sees no noticeable gain (section 4.3). What a change uncovers is void in the labels and grey in the photo.

Everything is drawn from torch's own generator, so that ``torch.manual_seed`` repeats it, or from one that is passed.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from fcn.data.sample import VOID, Sample

GREY = 114
"""What a photo shows beyond its border: near the mean of photos, which the nets subtract."""


def _pad(x: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    return F.pad(x, [left, top, right, bottom], fill=VOID if isinstance(x, tv_tensors.Mask) else GREY)


class RandomShift(v2.Transform):
    """Moves the image by up to ``pixels`` along each axis; its size stays. ``pixels``: 32 in the paper."""

    def __init__(self, pixels: int = 32) -> None:
        super().__init__()
        self.pixels = pixels

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw a shift to the right and one down, whole pixels, each as likely as any other."""
        right, down = torch.randint(-self.pixels, self.pixels + 1, (2,)).tolist()
        return {"right": right, "down": down}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Move one image or label map."""
        height, width = inpt.shape[-2:]
        right, down = params["right"], params["down"]
        padded = _pad(inpt, max(right, 0), max(down, 0), max(-right, 0), max(-down, 0))
        return F.crop(padded, max(-down, 0), max(-right, 0), height, width)


class RandomScale(v2.Transform):
    """Scales the image by a factor between ``low`` and ``high`` (evenly in its logarithm) about a place of its own.

    Its size stays: a larger image is cropped and a smaller one padded, at a random place. Photos are resampled
    bilinearly and labels by the nearest neighbour, with the same pixel centres.
    """

    def __init__(self, low: float = 0.5, high: float = 2.0) -> None:
        super().__init__()
        if not 0 < low <= high:
            raise ValueError(f"RandomScale({low}, {high}): give two factors above 0, the lower one first")
        self.low, self.high = low, high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the factor, and where between the two borders the image lies."""
        exponent, across, down = torch.rand(3).tolist()
        return {"factor": self.low * (self.high / self.low) ** exponent, "across": across, "down": down}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        """Scale one image or label map."""
        height, width = inpt.shape[-2:]
        new_height, new_width = (max(1, round(side * params["factor"])) for side in (height, width))
        nearest = isinstance(inpt, tv_tensors.Mask)
        mode = InterpolationMode.NEAREST_EXACT if nearest else InterpolationMode.BILINEAR
        # As a plain tensor: torchvision 0.26 takes other pixel centres for what it knows to be labels.
        plain = inpt.as_subclass(Tensor).reshape(-1, height, width)
        resized = F.resize(plain, [new_height, new_width], interpolation=mode, antialias=not nearest)
        scaled = tv_tensors.wrap(resized.reshape(*inpt.shape[:-2], new_height, new_width), like=inpt)
        spare_height, spare_width = height - new_height, width - new_width
        left, top = round(params["across"] * abs(spare_width)), round(params["down"] * abs(spare_height))
        if spare_width > 0 or spare_height > 0:
            return _pad(scaled, left, top, spare_width - left, spare_height - top)
        return F.crop(scaled, top, left, height, width)


class Compose:
    """Transforms of torchvision's v2, one after the other, from sample to sample: every head changes with its photo.

    Called with a ``generator``, they draw from it alone and torch's own stays as it was.
    """

    def __init__(self, *transforms: v2.Transform) -> None:
        self.transforms = transforms

    def __call__(self, sample: Sample, generator: torch.Generator | None = None) -> Sample:
        """The changed sample: its image uint8, 3 x H x W, its labels int64, H x W, void 255."""
        if generator is not None:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
                return self(sample)
        image: Any = tv_tensors.Image(sample.image)
        labels: Any = {head: tv_tensors.Mask(label) for head, label in sample.labels.items()}
        for transform in self.transforms:
            image, labels = transform(image, labels)
        return Sample(
            image.as_subclass(Tensor), {head: label.as_subclass(Tensor) for head, label in labels.items()}, sample.name
        )


AUGMENTATIONS: dict[str, Compose] = {
    "none": Compose(),
    "mirror": Compose(v2.RandomHorizontalFlip()),
    "mirror+jitter": Compose(v2.RandomHorizontalFlip(), RandomShift(32)),
    "mirror+scale": Compose(v2.RandomHorizontalFlip(), RandomScale(0.5, 2.0)),
}


def augmentation(name: str) -> Callable[[Sample], Sample]:
    """The change called ``name``. Raises ValueError for a name that none has."""
    if name not in AUGMENTATIONS:
        raise ValueError(f'unknown augmentation "{name}": choose one of {", ".join(AUGMENTATIONS)}')
    return AUGMENTATIONS[name]
