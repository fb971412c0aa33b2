"""Samples, and the base class of the data sets, each of which is one module."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import Dataset

from fcn.environment import sha256

VOID = 255
"""Label of unlabelled pixels; ignored by the loss and the metrics."""
GREY = 114
"""Padding of photos: close to the mean colour that preprocessing subtracts."""


class Sample(NamedTuple):
    """A photo with its label maps.

    ``image``: uint8, 3 x H x W, RGB. ``labels``: for each head int64, H x W, void 255.
    """

    image: Tensor
    labels: dict[str, Tensor]
    name: str


class SegmentationDataset(Dataset[Sample]):
    """Base class of the data sets: named samples, which subclasses read in ``__getitem__``.

    ``heads``: for each task the class names in label order. ``names``: the sample names in order.

    Subclasses raise FileNotFoundError for a missing folder, list or file; ValueError for unknown
    options, an empty list and, on reading, for invalid files.
    """

    name: str
    split: str
    heads: dict[str, tuple[str, ...]]
    names: list[str]

    @property
    def checksum(self) -> str:
        """SHA-256 of the list of names."""
        return list_checksum(self.names)

    def files(self, index: int) -> list[Path]:
        """The files of a sample, images before label maps; none if its name determines it."""
        return []

    @cached_property
    def contents(self) -> str:
        """SHA-256 of the list of names, each followed by the SHA-256 of the sample's files."""

        def line(index: int) -> str:
            return " ".join([self.names[index], *map(sha256, self.files(index))])

        with ThreadPoolExecutor(8) as pool:
            return list_checksum(list(pool.map(line, range(len(self)))))

    def __len__(self) -> int:
        return len(self.names)


def list_checksum(names: Sequence[str]) -> str:
    """SHA-256, in hexadecimal, of the names joined by line feeds."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


def validation_part(names: Sequence[str]) -> set[str]:
    """A fixed tenth of a list of training images: the names with the lowest SHA-256."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return set(ordered[: round(len(names) / 10)])
