"""Decoded samples in main memory, so that training does not wait for JPEG and PNG files."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from fcn.data.sample import Sample, SegmentationDataset
from fcn.environment import available_cores
from fcn.training.distributed import processes_here

SHARE = 0.25  # of the available memory that samples may take
LIMITS = {  # of a container, by version of Linux's control groups: the folder and its entries
    "/sys/fs/cgroup": ("memory.max", "memory.current", "inactive_file"),
    "/sys/fs/cgroup/memory": (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


class InMemory(SegmentationDataset):
    """The samples of ``dataset``, decoded once: 1 byte per pixel and channel, or head."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.name, self.split, self.heads = dataset.name, dataset.split, dataset.heads
        self.names, self._dataset = list(dataset.names), dataset
        self._samples = decoded(dataset)

    def files(self, index: int) -> list[Path]:
        return self._dataset.files(index)

    @cached_property
    def contents(self) -> str:
        return self._dataset.contents

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
    fits = size * len(dataset) <= SHARE * available_memory()
    return InMemory(dataset) if fits else dataset


def decoded(dataset: SegmentationDataset) -> list[Sample]:
    """All samples, with labels in uint8."""

    def read(index: int) -> Sample:
        sample = dataset[index]
        return sample._replace(labels={h: labels.byte() for h, labels in sample.labels.items()})

    with ThreadPoolExecutor(min(16, available_cores())) as pool:
        return list(pool.map(read, range(len(dataset))))


def available_memory() -> int:
    """Bytes of main memory that this process may still take; 0 if unknown.

    The processes of a run on this node share what is free, within the container's limit.
    """
    found = 0
    with suppress(OSError, StopIteration):  # Linux only
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail"))
    for folder, (limit, usage, cache) in LIMITS.items():
        with suppress(OSError, ValueError):  # no such file, or "max"
            total = int(Path(folder, limit).read_text())
            found = min(found, total)
            used = int(Path(folder, usage).read_text())
            stat = dict(map(str.split, Path(folder, "memory.stat").read_text().splitlines()))
            used -= int(stat.get(cache, 0))  # copies of files that the system can drop
            found = min(found, max(0, total - used))
    return found // processes_here()
