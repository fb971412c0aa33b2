"""Data loading: shuffling, augmentation and sharding, all determined by the seed and the step."""

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fcn.data.sample import GREY, VOID, Sample, SegmentationDataset
from fcn.training.recipe import Recipe
from fcn.training.signals import SIGNALS

Batch = tuple[Any, dict[str, Tensor]]
"""Images (N x 3 x H x W, uint8), or features (``fcn.training.features``), and labels ({head: N x H
x W})."""

Loader = Callable[[Sequence[int], str, Sequence[int]], Batch]
"""The batch of these images, augmented in this way with one seed per image."""

SizedLoader = Callable[[Sequence[int], str, Sequence[int], bool], Batch]
"""The same; if the last argument is true, at half the size."""


def load_step(
    load: SizedLoader, images: int, recipe: Recipe, seed: int, rank: int, processes: int, step: int
) -> list[Batch]:
    """The parts of a step's batch that a process passes forward, one at a time.

    A part is a micro-batch. Process r of P takes the parts r, r + P, ...; of fewer parts than
    processes, each takes its share: the images r, r + P, ... of every part.
    """
    first, size = step * recipe.batch_size, recipe.micro_batch or recipe.batch_size
    parts = [range(p, p + size) for p in range(first, first + recipe.batch_size, size)]
    if splits_parts(recipe, processes):
        parts = [part[rank::processes] for part in parts]
    else:
        parts = parts[rank::processes]
    half = first < recipe.small * images
    batch = []
    for positions in parts:
        epochs = [_order(images, recipe.replacement, seed, p // images) for p in positions]
        indices = [order[p % images] for order, p in zip(epochs, positions, strict=True)]
        seeds = [mix(seed, p, 1 << 16) for p in positions]
        if recipe.augment == "alternate":  # from epoch to epoch, so every other number
            seeds = [
                (mix(seed, i, 1 << 17) >> 32) + p // images
                for i, p in zip(indices, positions, strict=True)
            ]
        batch.append(load(indices, recipe.augment, seeds, half))
    return batch


def load_sized(
    load: Loader, indices: Sequence[int], augment: str, seeds: Sequence[int], half: bool
) -> Batch:
    """``load``, then halve images (means of 2 x 2 pixels) and labels (every other pixel)."""
    images, labels = load(indices, augment, seeds)
    if not half:
        return images, labels
    smaller = F.avg_pool2d(images.float(), 2).round().byte()
    height, width = smaller.shape[-2:]
    return smaller, {h: y[..., ::2, ::2][..., :height, :width] for h, y in labels.items()}


def splits_parts(recipe: Recipe, processes: int) -> bool:
    """True if a batch has fewer parts than there are processes, which then share every part.

    Raises ValueError if a part has fewer images than there are processes, too.
    """
    size = recipe.micro_batch or recipe.batch_size
    parts = recipe.batch_size // size
    if max(parts, size) < processes:
        raise ValueError(
            f"a batch of {recipe.batch_size} images in {parts} parts of {size} cannot be shared by "
            f"{processes} processes; start at most {max(parts, size)}"
        )
    return parts < processes


class _Loaded(Dataset[Any]):
    def __init__(self, load: Callable[[int], Any]) -> None:
        self.load = load

    def __getitem__(self, index: int) -> Any:
        try:
            return self.load(index)
        except Exception as error:  # DataLoader would add a worker's traceback to the message
            return error


def prefetch(
    load: Callable[[int], Any], indices: Sequence[int], workers: int, pin_memory: bool
) -> Generator[Any]:
    """``load`` of each index, in order, called ahead of time in ``workers`` processes if any.

    Close the generator to end the processes. Raises what ``load`` raises.
    """
    items: DataLoader[Any] = DataLoader(
        _Loaded(load),
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        prefetch_factor=1 if workers else None,  # an item is a batch: more would fill the memory
        pin_memory=pin_memory,
        generator=torch.Generator(),  # of seeds that nothing uses: leave the global one alone
    )
    with _blocked_signals():
        loaded: Any = iter(items)
    try:
        for item in loaded:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        if workers:  # not when the last traceback is gone: Python would wait for them at its end
            loaded._shutdown_workers()
            for worker in loaded._workers:  # stuck in a read: it blocks the signal to terminate
                worker.kill()


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Processes started here never get the signals that stop a run: they may be sent to all, but
    are for the one that trains."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
    from fcn.data.augment import augmentation  # torchvision takes seconds to import

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
