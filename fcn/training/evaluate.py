"""Evaluation: one confusion matrix per head over a whole split."""

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor

from fcn.data.sample import VOID, SegmentationDataset
from fcn.environment import is_main_process
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.training.checkpoint import Stopped
from fcn.training.distributed import agree, launch_fabric
from fcn.training.execution import FORMATS, memory_format
from fcn.training.gpu import loading_processes, pins_memory
from fcn.training.loader import prefetch


@torch.no_grad()
def evaluate(
    net: FCN | LateFusion,
    dataset: SegmentationDataset,
    *,
    device: str = "auto",
    log: Callable[[str], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    workers: int | None = None,
) -> dict[str, ConfusionMatrix]:
    """One confusion matrix per head of ``net``, over images at their original sizes.

    Under ``torchrun`` each process takes its share of the images and all return the sum.
    ``workers``: see :func:`~fcn.training.gpu.loading_processes`. Raises Stopped, in all processes,
    when ``stop`` returns True in one; ValueError if the classes of net and data set differ.
    """
    heads = scored_heads(net, dataset)
    fabric = launch_fabric(device)
    net.to(fabric.device).eval()
    passes = len(dataset) // fabric.world_size
    layout = memory_format(net, dataset, passes, 1, fabric, log or (lambda line: None))
    net.to(memory_format=FORMATS[layout])
    matrices = {
        head: ConfusionMatrix(len(dataset.heads[head]), VOID, fabric.device) for head in heads
    }
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    stopped = False
    workers = loading_processes(dataset, fabric.device, workers)
    pin = pins_memory(dataset, fabric.device)
    with closing(prefetch(dataset.__getitem__, mine, workers, pin)) as samples:
        for i, sample in zip(mine, samples, strict=True):
            scores = net(fabric.to_device(sample.image[None]).float() / 255)
            for head, score in by_head(scores, heads).items():
                truth = fabric.to_device(sample.labels[head][None])
                matrices[head].update(truth, score.max(dim=1).indices)  # argmax is slower
            if log is not None and is_main_process() and i % 50 < fabric.world_size and i >= 50:
                log(f"scored {i} of {len(dataset)} images")
            if stopped := i < mine[-1] and stop():
                break
    if any(agree(fabric, stopped)):
        raise Stopped("while scoring the images")
    for matrix in matrices.values():
        matrix.matrix = fabric.all_reduce(matrix.matrix, reduce_op="sum")  # type: ignore[assignment]
    return matrices


def scored_heads(net: FCN | LateFusion, dataset: SegmentationDataset) -> list[str]:
    """The heads of ``dataset`` that ``net`` scores; a single-task net scores the first.

    Raises ValueError if their numbers of classes differ.
    """
    classes = {next(iter(dataset.heads)): net.classes["scores"]} if net.single else net.classes
    for head, number in classes.items():
        known = len(dataset.heads.get(head, ()))
        if number != known:
            raise ValueError(
                f'the net scores {number} classes for "{head}", but {dataset.name} has {known}'
            )
    return list(classes)


def by_head(scores: Tensor | dict[str, Tensor], heads: list[str]) -> dict[str, Tensor]:
    """The scores as a dictionary by head, for single-task nets too."""
    return scores if isinstance(scores, dict) else {heads[0]: scores}
