"""A data set held on the device as bytes: batches are put together, mirrored, shifted and scaled there.

Every photo and label map is decoded once, at the start, by the readers of the data set, and copied to the device. From
then on a training step asks for a batch by the numbers of its images and how each is to be changed: one small table of
whole numbers goes to the device, and everything else happens there, so that a step never waits for its input.

The changes are those of ``fcn.transforms``, drawn in the same way from the same seeds: mirrored and shifted images come
out equal to the last bit, and scaled photos, which a CPU rounds once more on the way, to one or two levels of 255.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from fcn.data.augment import AUGMENTATIONS, GREY, RandomScale, RandomShift
from fcn.data.sample import VOID, ListedDataset, Sample, SegmentationDataset


@dataclass(frozen=True)
class Change:
    """How one image is changed: mirrored or not, brought to another size, and moved within its frame, in that order.

    ``size`` is (height, width) in pixels after scaling; ``start`` the place of the frame's upper left corner in the
    scaled image, (down, right), below zero where the frame begins before the image does.
    """

    mirrored: bool
    size: tuple[int, int]
    start: tuple[int, int]


class Resident(ListedDataset):
    """All samples of ``dataset``, or the ``first`` so many, as bytes on ``device``, and batches of them.

    Photos of several sizes are kept in the upper left corner of a frame for the largest, beside grey and void, as
    ``fcn.training.collate`` pads a batch. Memory: 3 bytes a pixel and 1 more for each head. Raises ValueError as the
    data set does where a file does not hold what it should, and where a photo has other than three channels.
    """

    def __init__(
        self, dataset: SegmentationDataset, device: torch.device | str = "cpu", first: int | None = None
    ) -> None:
        self.name, self.split, self.heads = dataset.name, dataset.split, dataset.heads
        self.names = list(dataset.names)[:first]
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            samples = list(pool.map(lambda i: _bytes(dataset[i]), range(len(self.names))))
        self.sizes = [(image.shape[1], image.shape[2]) for image, _ in samples]
        frame = tuple(max(side) for side in zip(*self.sizes, strict=True))
        self.images = torch.full((len(samples), 3, *frame), GREY, dtype=torch.uint8)
        self.labels = {h: torch.full((len(samples), *frame), VOID, dtype=torch.uint8) for h in self.heads}
        for i, (image, labels) in enumerate(samples):
            height, width = self.sizes[i]
            self.images[i, :, :height, :width] = image
            for head, label in labels.items():
                self.labels[head][i, :height, :width] = label
        self.images = self.images.to(device)
        self.labels = {head: labels.to(device) for head, labels in self.labels.items()}

    @property
    def device(self) -> torch.device:
        """Where the bytes lie."""
        return self.images.device

    @property
    def one_size(self) -> bool:
        """Whether every photo has the same size, so that all batches have."""
        return len(set(self.sizes)) == 1

    def __getitem__(self, index: int) -> Sample:
        """``image`` uint8, 3 x H x W, and ``labels`` int64, H x W, void 255, both on the device, at their own size."""
        height, width = self.sizes[index]
        labels = {head: labels[index, :height, :width].long() for head, labels in self.labels.items()}
        return Sample(self.images[index, :, :height, :width].clone(), labels, self.names[index])

    def draw(self, augment: str, index: int, seed: int) -> Change:
        """How image ``index`` is changed: what ``fcn.transforms`` draws for ``augment`` where torch has this seed.

        Raises ValueError for a change that is not known here.
        """
        height, width = self.sizes[index]
        if augment == "none":
            return Change(False, (height, width), (0, 0))
        if augment not in AUGMENTATIONS or not augment.startswith("mirror"):
            raise ValueError(f'augmentation "{augment}" cannot be carried out on the device: choose another')
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            mirrored = bool(torch.rand(1) < 0.5)
            change = Change(mirrored, (height, width), (0, 0))
            for transform in AUGMENTATIONS[augment].transforms[1:]:
                change = _DRAWN[type(transform)](transform, change)
            return change

    def batch(self, indices: Sequence[int], changes: Sequence[Change]) -> tuple[Tensor, dict[str, Tensor]]:
        """Images (N x 3 x H x W, uint8) and labels ({head: N x H x W, int64}) on the device, as ``collate`` has them.

        H and W are those of the largest image of the batch; what lies beyond an image is grey and void.
        """
        sizes = [self.sizes[i] for i in indices]
        plan = [
            (i, change.mirrored, *size, *change.size, *change.start)
            for i, size, change in zip(indices, sizes, changes, strict=True)
        ]
        index, mirrored, height, width, tall, wide, down, right = (
            torch.tensor(plan).to(self.device, non_blocking=True).T[..., None]
        )
        rows = _Axis(height, tall, down, torch.zeros_like(mirrored), max(h for h, _ in sizes))
        columns = _Axis(width, wide, right, mirrored, max(w for _, w in sizes))
        inside = rows.inside[:, :, None] & columns.inside[:, None, :]
        picture, row, column = index[..., None], rows.nearest[:, :, None], columns.nearest[:, None, :]
        labels = {
            head: torch.where(inside, held[picture, row, column], VOID).long() for head, held in self.labels.items()
        }
        if all(size == change.size for size, change in zip(sizes, changes, strict=True)):
            images = self.images[picture, :, row, column].permute(0, 3, 1, 2)
        else:
            held = self.images[index[:, 0]].float()
            images = rows.weights(held.shape[2])[:, None] @ held @ columns.weights(held.shape[3])[:, None].mT
            images = images.round().clamp(0, 255).to(torch.uint8)
        return torch.where(inside[:, None], images, GREY), labels


class _Axis:
    """Where along one axis the pixels of a batch's frames come from.

    All arguments but ``frame``, the number of pixels to fill, are N x 1: the length of each image, that after scaling,
    where the frame starts in the scaled image, and whether the image is mirrored.
    """

    def __init__(self, length: Tensor, scaled: Tensor, start: Tensor, mirrored: Tensor, frame: int) -> None:
        place = torch.arange(frame, device=length.device)[None]
        self.length, self.mirrored = length, mirrored.bool()
        self.place = place + start
        self.inside = (place < length) & (self.place >= 0) & (self.place < scaled)
        self.scale = length.float() / scaled.float()
        nearest = ((self.place + 0.5) * self.scale).floor().long()
        nearest = nearest.clamp(min=0).minimum(length - 1)
        self.nearest = torch.where(self.mirrored, length - 1 - nearest, nearest)

    def weights(self, pixels: int) -> Tensor:
        """N x frame x pixels: the share of each of an image's pixels in a pixel of the frame, by linear interpolation,
        over a wider triangle where the image shrinks (torch's ``antialias``)."""
        source = torch.arange(pixels, device=self.length.device)[None, None]
        mirrored = torch.where(self.mirrored[..., None], self.length[..., None] - 1 - source, source)
        centre = ((self.place + 0.5) * self.scale)[..., None]
        reach = self.scale.clamp(min=1)[..., None]
        weights = (1 - (mirrored + 0.5 - centre).abs() / reach).clamp(min=0)
        weights = weights * (source < self.length[..., None])
        return weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-9)


def _shifted(transform: RandomShift, change: Change) -> Change:
    drawn = transform.make_params([])
    return Change(change.mirrored, change.size, (-drawn["down"], -drawn["right"]))


def _scaled(transform: RandomScale, change: Change) -> Change:
    drawn = transform.make_params([])
    new = tuple(max(1, round(side * drawn["factor"])) for side in change.size)
    spare = tuple(side - scaled for side, scaled in zip(change.size, new, strict=True))
    left, top = (round(drawn[along] * abs(s)) for along, s in (("across", spare[1]), ("down", spare[0])))
    sign = -1 if max(spare) > 0 else 1  # a smaller image lies inside the frame, a larger one is cut by it
    return Change(change.mirrored, (new[0], new[1]), (sign * top, sign * left))


_DRAWN: dict[type, Callable[..., Change]] = {RandomShift: _shifted, RandomScale: _scaled}


def _bytes(sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
    if len(sample.image) != 3:
        raise ValueError(f"{sample.name}: {len(sample.image)} channels; only colour photos can be held as bytes here")
    return sample.image, {head: labels.to(torch.uint8) for head, labels in sample.labels.items()}
