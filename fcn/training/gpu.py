"""Fast training on a GPU: the data set resident on the device, steps captured as CUDA graphs.

Photos and label maps are decoded once. Batches are gathered, mirrored and shifted on the device,
equal to those of ``fcn.training.loader`` bit for bit.

A small net keeps a fast GPU waiting for the next kernel launch. A CUDA graph launches all kernels
of a step at once, in the same memory every time: shapes must not change, nothing may synchronize,
and what changes from step to step, such as the learning rate, must be a tensor.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from fcn.data.sample import GREY, VOID, Sample, SegmentationDataset
from fcn.environment import available_cores
from fcn.training.distributed import processes_here
from fcn.training.loader import Batch, collate
from fcn.training.memory import decoded

Step = Callable[[list[Batch]], Tensor]
"""A training step, from the parts of a batch to the loss."""

WARM_UP = 3  # calls before the capture: libraries choose algorithms, optimizers create their state


class Resident(SegmentationDataset):
    """The samples of ``dataset``, collated, as bytes on ``device``.

    Needs 3 bytes per pixel and 1 more per head. Raises ValueError for photos that are not RGB.
    """

    def __init__(self, dataset: SegmentationDataset, device: torch.device | str = "cpu") -> None:
        self.name, self.split, self.heads = dataset.name, dataset.split, dataset.heads
        self.names, self.contents = list(dataset.names), dataset.contents
        samples = decoded(dataset)
        for image, _, name in samples:
            if len(image) != 3:
                raise ValueError(f"{name}: {len(image)} channels; must be an RGB photo")
        self.sizes = [(sample.image.shape[1], sample.image.shape[2]) for sample in samples]
        self.one_size = len(set(self.sizes)) == 1  # of all photos, and so of all batches
        images, labels = collate(samples)
        self.images = images.to(device)
        self.labels = {head: label.to(device) for head, label in labels.items()}

    def __getitem__(self, index: int) -> Sample:
        """The sample on the device: image uint8, 3 x H x W; labels int64, H x W, void 255."""
        height, width = self.sizes[index]
        labels = {h: maps[index, :height, :width].long() for h, maps in self.labels.items()}
        image = self.images[index, :, :height, :width].clone()
        return Sample(image, labels, self.names[index])

    def batch(self, indices: Sequence[int], augment: str, seeds: Sequence[int]) -> Batch:
        """The augmented batch, on the device. See ``fcn.training.loader.load_batch``."""
        sizes = [self.sizes[i] for i in indices]
        changes = [draw(augment, seed) for seed in seeds]
        rules = [(i, *s, *change) for i, s, change in zip(indices, sizes, changes, strict=True)]
        device = self.images.device
        table = torch.tensor(rules).to(device, non_blocking=True)
        index, height, width, mirrored, right, down = table.T[..., None]  # each N x 1
        rows, row_inside = _source(max(h for h, _ in sizes), height, down)
        columns, column_inside = _source(max(w for _, w in sizes), width, right)
        columns = torch.where(mirrored.bool(), width - 1 - columns, columns)
        inside = row_inside[:, :, None] & column_inside[:, None, :]
        place = index[..., None], rows[:, :, None], columns[:, None, :]
        labels = {
            head: torch.where(inside, maps[place], VOID).long()
            for head, maps in self.labels.items()
        }
        images = self.images[place[0], :, place[1], place[2]].permute(0, 3, 1, 2)
        return torch.where(inside[:, None], images, GREY), labels


def draw(augment: str, seed: int) -> tuple[bool, int, int]:
    """The change that ``augment`` draws from ``seed``: mirrored, then shifted right and down.

    Raises ValueError for an augmentation that is unknown or not available on the device.
    """
    from torchvision.transforms.v2 import RandomHorizontalFlip  # takes seconds to import

    from fcn.data.augment import AlternateFlip, RandomShift, augmentation

    transforms = augmentation(augment).transforms
    mirrored, right, down = False, 0, 0
    if not transforms:
        return mirrored, right, down
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for transform in transforms:
            match transform:
                case RandomHorizontalFlip():
                    mirrored = bool(torch.rand(1) < transform.p)
                case AlternateFlip():
                    mirrored = transform.make_params([])["mirrored"]
                case RandomShift():
                    right, down = transform.make_params([]).values()
                case _:
                    raise ValueError(f'augmentation "{augment}" is not available on the device')
    return mirrored, right, down


def loading_processes(
    dataset: SegmentationDataset, device: torch.device, workers: int | None
) -> int:
    """The number of processes that load ``dataset`` for ``device``: ``workers``, if given.

    By default up to eight per GPU, as decoding photos takes longer than a step; none on a CPU,
    whose cores are busy with the step, and in a container with little shared memory, through which
    they pass batches. A :class:`Resident` data set needs none.
    """
    if isinstance(dataset, Resident):
        return 0
    if workers is not None or device.type != "cuda":
        return workers or 0
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).total < 2 << 30:
        return 0
    return min(8, available_cores() // processes_here())


def pins_memory(dataset: SegmentationDataset, device: torch.device, features: bool = False) -> bool:
    """True if batches wait in main memory for a CUDA ``device``: pinned, they are copied faster.

    Those of a :class:`Resident` data set, and ``features`` (``fcn.training.features``), are on the
    device, where nothing can be pinned.
    """
    return device.type == "cuda" and not isinstance(dataset, Resident) and not features


def _source(frame: int, length: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """For each of ``frame`` pixels along one axis: its source pixel, and whether it has one.

    ``length`` and ``shift`` are N x 1, the results N x frame.
    """
    place = torch.arange(frame, device=length.device)[None]
    source = place - shift
    inside = (place < length) & (source >= 0) & (source < length)
    return source.clamp(min=0).minimum(length - 1), inside


class Captured:
    """``function`` from tensors to a tensor, captured as a CUDA graph after ``WARM_UP`` calls.

    Every call runs ``function`` exactly once, so it may be a training step. Inputs of another shape
    and devices other than CUDA run it uncaptured, as does every call after a failed capture, which
    is logged. A replay overwrites the previous result.
    """

    def __init__(self, function: Callable[..., Tensor], log: Callable[[str], None]) -> None:
        self.function, self.log = function, log
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        if inputs[0].device.type != "cuda":
            return self.function(*inputs)
        self.calls += 1
        if self.calls == 1:
            self.stream = torch.cuda.Stream()
        if self.calls <= WARM_UP:  # on the stream that captures: allocations must belong to it
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                result = self.function(*inputs)
            torch.cuda.current_stream().wait_stream(self.stream)
            return result
        if self.calls == WARM_UP + 1:
            try:
                self.graph = self._capture(inputs)
            except RuntimeError as error:
                self.log(f"not captured, training is slower: {str(error).splitlines()[0]}")
        if self.graph is None or [x.shape for x in inputs] != [x.shape for x in self.inputs]:
            return self.function(*inputs)
        for static, new in zip(self.inputs, inputs, strict=True):
            static.copy_(new)
        self.graph.replay()
        return self.result

    def _capture(self, inputs: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        self.inputs = [x.clone() for x in inputs]
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            self.result = self.function(*self.inputs)
        return graph


def captured_step(
    step: Step,
    heads: list[str],
    optimizer: torch.optim.Optimizer,
    log: Callable[[str], None],
) -> Step:
    """``step`` for batches of one part, captured on CUDA, where learning rates become tensors."""
    for group in optimizer.param_groups:
        if group["params"][0].is_cuda:
            group["lr"] = group["params"][0].new_zeros(())
    keys: list[int] = []  # of features, which come as several maps

    def run(*inputs: Tensor) -> Tensor:
        maps, labels = inputs[: -len(heads)], inputs[-len(heads) :]
        images = dict(zip(keys, maps, strict=True)) if keys else maps[0]
        return step([(images, dict(zip(heads, labels, strict=True)))])

    captured = Captured(run, log)

    def replay(parts: list[Batch]) -> Tensor:
        [(images, labels)] = parts
        keys[:] = images if isinstance(images, dict) else []
        maps = images.values() if isinstance(images, dict) else [images]
        return captured(*maps, *(labels[head] for head in heads)).clone()

    return replay
