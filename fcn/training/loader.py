"""Data loading: shuffling, augmentation and sharding, all determined by the seed and a position."""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fcn.data.augment import GREY, augmentation
from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.training.recipe import Recipe

Batch = tuple[Tensor, dict[str, Tensor]]
"""Images (N x 3 x H x W, uint8) and labels ({head: N x H x W})."""


class Schedule(Dataset[Sample]):
    """The images of a run by position: ``p`` is an image of epoch p // n, augmented."""

    def __init__(self, dataset: SegmentationDataset, recipe: Recipe, seed: int) -> None:
        self.dataset, self.recipe, self.seed = dataset, recipe, seed
        self.augment = augmentation(recipe.augment)
        self.epoch, self.order = -1, [0]

    def index(self, position: int) -> int:
        """The index of the image at a position."""
        n = len(self.dataset)
        epoch = position // n
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, epoch, 0))
            if self.recipe.replacement:
                self.order = torch.randint(n, (n,), generator=generator).tolist()
            else:
                self.order = torch.randperm(n, generator=generator).tolist()
            self.epoch = epoch
        return self.order[position % n]

    def seed_of(self, position: int) -> int:
        """The seed of the augmentation at a position."""
        return mix(self.seed, position, 1 << 16)

    def __getitem__(self, position: int) -> Sample:
        sample = self.dataset[self.index(position)]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed_of(position))
            return self.augment(sample)


class Positions:
    """The positions of each forward pass: ``parts`` per step and process, at most a micro-batch."""

    def __init__(self, first: int, last: int, recipe: Recipe, rank: int, processes: int) -> None:
        self.steps, self.batch = range(first, last), recipe.batch_size
        self.rank, self.processes = rank, processes
        share = self.batch // processes
        self.size = min(recipe.micro_batch or share, share)
        self.parts = -(-share // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            mine = range(step * self.batch + self.rank, (step + 1) * self.batch, self.processes)
            for start in range(0, len(mine), self.size):
                yield list(mine[start : start + self.size])


def batches(schedule: Schedule, positions: Iterable[list[int]], pin: bool) -> Iterator[Batch]:
    """The batches at ``positions``, in pinned memory if ``pin``."""
    # iter() draws a seed that it does not need: here, not among the draws of a step.
    return iter(DataLoader(schedule, batch_sampler=positions, collate_fn=collate, pin_memory=pin))


def collate(samples: list[Sample]) -> Batch:
    """Stack samples; smaller ones are padded with grey and void at the bottom and right."""
    height = max(s.image.shape[-2] for s in samples)
    width = max(s.image.shape[-1] for s in samples)

    def pad(x: Tensor, value: int) -> Tensor:
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    images = torch.stack([pad(s.image, GREY) for s in samples])
    heads = samples[0].labels
    return images, {h: torch.stack([pad(s.labels[h], VOID) for s in samples]) for h in heads}


def mix(seed: int, *numbers: int) -> int:
    """One seed from several numbers."""
    for number in numbers:
        seed = (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % (1 << 63)
    return seed
