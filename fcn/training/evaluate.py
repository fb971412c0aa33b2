"""Evaluation: one confusion matrix per head over a whole split."""

import logging
import os
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fcn.data.sample import VOID, SegmentationDataset
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.training.checkpoint import Stopped
from fcn.training.gpu import Resident, loading_processes
from fcn.training.loader import prefetch

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    net.to(fabric.device).to(memory_format=torch.channels_last).eval()
    matrices = {
        head: ConfusionMatrix(len(dataset.heads[head]), VOID, fabric.device) for head in heads
    }
    mine = range(fabric.global_rank, len(dataset), fabric.world_size)
    stopped = False
    workers = loading_processes(dataset, fabric.device, workers)
    on_gpu = fabric.device.type == "cuda" and not isinstance(dataset, Resident)
    with closing(prefetch(dataset.__getitem__, mine, workers, on_gpu)) as samples:
        for i, sample in zip(mine, samples, strict=True):
            scores = net(fabric.to_device(sample.image[None]).float() / 255)
            for head, score in by_head(scores, heads).items():
                truth = fabric.to_device(sample.labels[head][None])
                matrices[head].update(truth, score.argmax(dim=1))
            if log is not None and is_main_process() and i % 50 < fabric.world_size and i >= 50:
                log(f"scored {i} of {len(dataset)} images")
            if stopped := i < mine[-1] and stop():
                break
    if any(agree(fabric, stopped)):
        raise Stopped("while scoring the images")
    for matrix in matrices.values():
        matrix.matrix = fabric.all_reduce(matrix.matrix, reduce_op="sum")  # type: ignore[assignment]
    return matrices


def all_reduce(count: Tensor) -> Tensor:
    """The sum of ``count`` over the processes, in place."""
    torch.distributed.all_reduce(count)
    return count


def agree(fabric: "Fabric", *flags: bool) -> list[bool]:
    """Each flag, true in all processes if it is true in one. Does not wait for a GPU."""
    if fabric.world_size == 1:
        return list(flags)
    reduced = torch.tensor(flags, dtype=torch.uint8)
    torch.distributed.all_reduce(reduced, torch.distributed.ReduceOp.MAX, _cpu_group())
    return [bool(flag) for flag in reduced.tolist()]


@lru_cache(maxsize=1)
def _cpu_group() -> Any:  # torch.distributed.ProcessGroup
    return torch.distributed.new_group(backend="gloo")


def is_main_process() -> bool:
    """True in the process that writes the files: the first under ``torchrun``, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def launch_fabric(device: str, precision: str = "32-true", unused: bool = False) -> "Fabric":
    """Launch Fabric on one ``device``, or on one per process under ``torchrun``.

    ``unused``: some parameters of the net get no gradient. Raises ValueError if the nodes have
    different numbers of processes, or if something else than torchrun started them.
    """
    package = "lightning_fabric" if find_spec("lightning_fabric") else "lightning.fabric"
    Fabric = import_module(package).Fabric  # slow to import
    logging.getLogger(package).setLevel(logging.WARNING)  # not a line about each precision

    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and "LOCAL_WORLD_SIZE" not in os.environ:
        raise ValueError(f"WORLD_SIZE is {world}: start several processes with torchrun")
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if world > 1 else 1
    several = "ddp_find_unused_parameters_true" if unused else "ddp"
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", world // local)) if world > 1 else 1
    if world != nodes * local:
        raise ValueError(
            f"{world} processes on {nodes} nodes, {local} of them here: start as many on each node"
        )
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=nodes,
        strategy=several if world > 1 else "auto",
        precision=precision,
    )
    fabric.launch()
    return fabric


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
