"""Which images a training step sees: their order, how each is changed, and the share of every process, by position."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fcn.data.augment import GREY, augmentation
from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.training.gpu import Resident
from fcn.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Batch = tuple[Tensor, dict[str, Tensor]]
"""Images (N x 3 x H x W, uint8) and labels ({head: N x H x W})."""


def batches(
    dataset: SegmentationDataset, recipe: Recipe, seed: int, positions: Iterable[list[int]], pin_memory: bool = False
) -> Iterator[Batch]:
    """The batches at ``positions``: put together on the device where the data set lies there, otherwise here."""
    schedule = Schedule(dataset, recipe, seed)
    if isinstance(dataset, Resident):
        return _on_device(dataset, schedule, recipe.augment, positions)
    # Begun here and now: it draws a number that it does not need, and must not take it from a step's dropout.
    return iter(DataLoader(schedule, batch_sampler=positions, collate_fn=collate, pin_memory=pin_memory))


def _on_device(
    dataset: Resident, schedule: "Schedule", augment: str, positions: Iterable[list[int]]
) -> Iterator[Batch]:
    for members in positions:
        indices = [schedule.index(position) for position in members]
        changes = [
            dataset.draw(augment, index, schedule.seed_of(position))
            for index, position in zip(indices, members, strict=True)
        ]
        yield dataset.batch(indices, changes)


def collate(samples: list[Sample]) -> Batch:
    """A batch of images (N x 3 x H x W, uint8) and labels ({head: N x H x W}); smaller ones are padded with void."""
    height = max(s.image.shape[-2] for s in samples)
    width = max(s.image.shape[-1] for s in samples)

    def fill(x: Tensor, value: int) -> Tensor:
        return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    images = torch.stack([fill(s.image, GREY) for s in samples])
    return images, {h: torch.stack([fill(s.labels[h], VOID) for s in samples]) for h in samples[0].labels}


class Schedule(Dataset[Sample]):
    """The run's images by position: number ``p`` is an image of epoch p // n, changed as the recipe says."""

    def __init__(self, dataset: SegmentationDataset, recipe: Recipe, seed: int) -> None:
        self.dataset, self.seed, self.replacement = dataset, seed, recipe.replacement
        self.augment = augmentation(recipe.augment)
        self.epoch, self.order = -1, [0]

    def index(self, position: int) -> int:
        """The number of the image at a position."""
        n = len(self.dataset)
        epoch = position // n
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, epoch, 0))
            draw = torch.randint(n, (n,), generator=generator) if self.replacement else None
            self.order = (draw if draw is not None else torch.randperm(n, generator=generator)).tolist()
            self.epoch = epoch
        return self.order[position % n]

    def seed_of(self, position: int) -> int:
        """The seed from which the change at a position is drawn."""
        return mix(self.seed, position, 1 << 16)

    def __getitem__(self, position: int) -> Sample:
        sample = self.dataset[self.index(position)]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed_of(position))
            return self.augment(sample)


class Positions(Sampler[list[int]]):
    """For each step the positions of this process's share of the batch, in the ``parts`` that are scored at a time."""

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
    """One seed out of several numbers, different for different ones."""
    for number in numbers:
        seed = (seed * 6364136223846793005 + number * 1442695040888963407 + 1) % (1 << 63)
    return seed
