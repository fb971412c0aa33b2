"""Changes to a photo and its labels together, drawn from torch's generator: augmentation by name."""

from collections.abc import Callable

import torch

from fcn.datasets import Sample


def mirror(sample: Sample) -> Sample:
    """The sample, left and right exchanged in one case of two."""
    if torch.rand(()) < 0.5:
        return Sample(sample.image.flip(-1), {h: x.flip(-1) for h, x in sample.labels.items()}, sample.name)
    return sample


def augmentation(name: str) -> Callable[[Sample], Sample]:
    """The change called ``name``: "none" or "mirror". Raises ValueError for another name."""
    known: dict[str, Callable[[Sample], Sample]] = {"none": lambda sample: sample, "mirror": mirror}
    if name not in known:
        raise ValueError(f'unknown augmentation "{name}": choose one of {", ".join(known)}')
    return known[name]
