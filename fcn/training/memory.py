"""Decoded samples in main memory, so that training does not wait for JPEG and PNG files."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fcn.data.sample import Sample, SegmentationDataset
from fcn.training.distributed import processes_here

SHARE = 0.25  # of the available memory that samples may take
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class InMemory(SegmentationDataset):
    """The samples of ``dataset``, decoded once: 1 byte per pixel and channel, or head."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.name, self.split, self.heads = dataset.name, dataset.split, dataset.heads
        self.names, self.files = list(dataset.names), dataset.files  # type: ignore[method-assign]
        self._samples = decoded(dataset)

    def __getitem__(self, index: int) -> Sample:
        """A copy of the sample: image uint8, C x H x W; labels int64, H x W, void 255."""
        image, labels, name = self._samples[index]
        return Sample(image.clone(), {head: maps.long() for head, maps in labels.items()}, name)


def in_memory(dataset: SegmentationDataset) -> SegmentationDataset:
    """``dataset``, in memory if its samples fit into a quarter of what is available there."""
    if isinstance(dataset, InMemory):
        return dataset
    some = [dataset[i] for i in {0, len(dataset) // 2, len(dataset) - 1}]
    size = max(s.image.numel() + sum(y.numel() for y in s.labels.values()) for s in some)
    fits = size * len(dataset) * processes_here() <= SHARE * available_memory()
    return InMemory(dataset) if fits else dataset


def decoded(dataset: SegmentationDataset) -> list[Sample]:
    """All samples, with labels in uint8."""

    def read(index: int) -> Sample:
        sample = dataset[index]
        return sample._replace(labels={h: labels.byte() for h, labels in sample.labels.items()})

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(read, range(len(dataset))))


def available_memory() -> int:
    """Bytes of main memory for new programs, within the container's limit; 0 if unknown."""
    found = 0
    with suppress(OSError, StopIteration):  # Linux only
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail"))
    for limit in map(Path, LIMITS):
        with suppress(OSError, ValueError):  # no such file, or "max"
            found = min(found, int(limit.read_text()))
    return found
