"""Data loading: shuffling, augmentation and sharding, all determined by the seed and a position."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fcn.data.augment import GREY, augmentation
from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.training.gpu import Resident, draw
from fcn.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, dict[str, Tensor]]
"""Images (N x 3 x H x W, uint8) and labels ({head: N x H x W})."""


def batches(
    dataset: SegmentationDataset,
    recipe: Recipe,
    seed: int,
    positions: Iterable[list[int]],
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """The batches at ``positions``, made on the device if the data set is there."""
    schedule = Schedule(dataset, recipe, seed)
    if isinstance(dataset, Resident):
        return _on_device(dataset, schedule, recipe.augment, positions)
    # iter() draws a seed it does not need: now, so that it does not disturb the dropout of a step.
    loader = DataLoader(
        schedule, batch_sampler=positions, collate_fn=collate, pin_memory=pin_memory
    )
    return iter(loader)


def _on_device(
    dataset: Resident, schedule: "Schedule", augment: str, positions: Iterable[list[int]]
) -> Iterator[Batch]:
    for members in positions:
        changes = [draw(augment, schedule.seed_of(position)) for position in members]
        yield dataset.batch([schedule.index(position) for position in members], changes)


def collate(samples: list[Sample]) -> Batch:
    """Stack samples into a batch; smaller ones are padded with grey and void."""
    height = max(s.image.shape[-2] for s in samples)
    width = max(s.image.shape[-1] for s in samples)

    def pad(x: Tensor, value: int) -> Tensor:
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    images = torch.stack([pad(s.image, GREY) for s in samples])
    heads = samples[0].labels
    return images, {h: torch.stack([pad(s.labels[h], VOID) for s in samples]) for h in heads}


class Schedule(Dataset[Sample]):
    """The images of a run by position: ``p`` is an image of epoch p // n, augmented."""

    def __init__(self, dataset: SegmentationDataset, recipe: Recipe, seed: int) -> None:
        self.dataset, self.seed, self.replacement = dataset, seed, recipe.replacement
        self.augment = augmentation(recipe.augment)
        self.epoch, self.order = -1, [0]

    def index(self, position: int) -> int:
        """The index of the image at a position."""
        n = len(self.dataset)
        epoch = position // n
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, epoch, 0))
            if self.replacement:
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


class Positions(Sampler[list[int]]):
    """The positions of each forward pass: ``parts`` per step and process, at most a micro-batch."""

    def __init__(self, first: int, last: int, recipe: Recipe, fabric: "Fabric") -> None:
        self.first, self.last, self.batch = first, last, recipe.batch_size
        self.rank, self.world = fabric.global_rank, fabric.world_size
        shared = self.batch // self.world
        self.size = min(recipe.micro_batch or shared, shared)
        self.parts = -(-shared // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            mine = [step * self.batch + i for i in range(self.rank, self.batch, self.world)]
            for start in range(0, len(mine), self.size):
                yield mine[start : start + self.size]

    def __len__(self) -> int:
        return (self.last - self.first) * self.parts


def mix(seed: int, *numbers: int) -> int:
    """One seed from several numbers."""
    for number in numbers:
        seed = (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % (1 << 63)
    return seed
