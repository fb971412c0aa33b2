"""Samples and the data set protocol."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor
from torch.utils.data import Dataset

VOID = 255
"""The label of pixels that have none: it enters neither loss nor metrics."""


class Sample(NamedTuple):
    """One photo with its label maps.

    ``image``: uint8, 3 x H x W, RGB; ``labels``: for each head int64, H x W, void 255; ``name``: as in the list.
    """

    image: Tensor
    labels: dict[str, Tensor]
    name: str


class SegmentationDataset(Protocol):
    """What training, evaluation and figures need of a data set."""

    name: str
    split: str
    heads: dict[str, tuple[str, ...]]
    names: list[str]

    @property
    def checksum(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class ListedDataset(Dataset[Sample]):
    """A data set that is a list of names: its length, and the checksum that tells it from another."""

    names: list[str]

    @property
    def checksum(self) -> str:
        """SHA-256 of the list of names."""
        return list_checksum(self.names)

    def __len__(self) -> int:
        return len(self.names)


def list_checksum(names: Sequence[str]) -> str:
    """SHA-256, in hexadecimal, of the names joined by line feeds: tells one list of images from another."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def validation_part(names: Sequence[str]) -> set[str]:
    """A tenth of a list of training images, to choose recipes on: those whose names have the lowest SHA-256.

    As good as chance and the same everywhere, for data sets that have no such part of their own.
    """
    return set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[: round(len(names) / 10)])
