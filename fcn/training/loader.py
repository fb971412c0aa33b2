"""Data loading: shuffling, augmentation and sharding, all determined by the seed and the step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from fcn.data.augment import GREY, augmentation
from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.training.recipe import Recipe

Batch = tuple[Tensor, dict[str, Tensor]]
"""Images (N x 3 x H x W, uint8) and labels ({head: N x H x W})."""


def schedule(
    images: int, recipe: Recipe, seed: int, steps: Iterable[int], rank: int, processes: int
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """For each step, the image indices and augmentation seeds of a process's forward passes.

    Each process takes every ``processes``-th image of a batch, at most a micro-batch at a time.
    """
    batch = recipe.batch_size
    share = batch // processes
    size = min(recipe.micro_batch or share, share)
    for step in steps:
        mine = range(step * batch + rank, (step + 1) * batch, processes)
        epochs = [_order(images, recipe.replacement, seed, p // images) for p in mine]
        indices = [order[p % images] for order, p in zip(epochs, mine, strict=True)]
        seeds = [mix(seed, p, 1 << 16) for p in mine]
        yield [(indices[i : i + size], seeds[i : i + size]) for i in range(0, share, size)]


@lru_cache(maxsize=2)  # a batch may contain the end of one epoch and the start of the next
def _order(images: int, replacement: bool, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(mix(seed, epoch, 0))
    if replacement:
        return torch.randint(images, (images,), generator=generator).tolist()
    return torch.randperm(images, generator=generator).tolist()


def load_batch(
    dataset: SegmentationDataset, indices: Sequence[int], augment: str, seeds: Sequence[int]
) -> Batch:
    """Load, augment and collate images. Raises ValueError for an unknown augmentation."""
    change = augmentation(augment)
    samples = []
    for index, seed in zip(indices, seeds, strict=True):
        sample = dataset[index]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            samples.append(change(sample))
    return collate(samples)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples; smaller ones are padded with grey and void at the bottom and right."""
    height = max(s.image.shape[-2] for s in samples)
    width = max(s.image.shape[-1] for s in samples)

    def pad(x: Tensor, value: int) -> Tensor:
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    images = torch.stack([pad(s.image, GREY) for s in samples])
    heads = samples[0].labels
    return images, {h: torch.stack([pad(s.labels[h], VOID) for s in samples]) for h in heads}


def pixels_per_class(dataset: SegmentationDataset, log: Callable[[str], None]) -> dict[str, Tensor]:
    """Count the labelled pixels of each class, by head. Reads, and so checks, every sample."""
    counts = {head: torch.zeros(VOID + 1, dtype=torch.int64) for head in dataset.heads}
    for i in range(len(dataset)):
        for head, labels in dataset[i].labels.items():
            counts[head] += torch.bincount(labels.flatten(), minlength=VOID + 1).cpu()
        if (i + 1) % 200 == 0:
            log(f"checked {i + 1} of {len(dataset)} photos and their labels")
    return {head: counts[head][: len(names)] for head, names in dataset.heads.items()}


def mix(seed: int, *numbers: int) -> int:
    """Derive one seed from several numbers."""
    for number in numbers:
        seed = (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % (1 << 63)
    return seed
