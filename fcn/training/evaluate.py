"""Evaluation: one confusion matrix per head over a whole split."""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fcn.data.sample import VOID, SegmentationDataset
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@torch.no_grad()
def evaluate(
    net: FCN | LateFusion,
    dataset: SegmentationDataset,
    *,
    device: str = "auto",
    log: Callable[[str], None] | None = None,
) -> dict[str, ConfusionMatrix]:
    """One confusion matrix per head of ``net``, over images at their original sizes.

    Under ``torchrun`` each process takes its share of the images and all return the sum. Raises
    ValueError if the classes of net and data set differ.
    """
    heads = scored_heads(net, dataset)
    fabric = launch_fabric(device)
    net.to(fabric.device).to(memory_format=torch.channels_last).eval()
    matrices = {
        head: ConfusionMatrix(len(dataset.heads[head]), VOID, fabric.device) for head in heads
    }
    for i in range(fabric.global_rank, len(dataset), fabric.world_size):
        sample = dataset[i]
        scores = net(fabric.to_device(sample.image[None]).float() / 255)
        for head, score in by_head(scores, heads).items():
            matrices[head].update(fabric.to_device(sample.labels[head][None]), score.argmax(dim=1))
        if log is not None and (i + 1) % 50 == 0:
            log(f"scored {i + 1} of {len(dataset)} images")
    for matrix in matrices.values():
        matrix.matrix = fabric.all_reduce(matrix.matrix, reduce_op="sum")  # type: ignore[assignment]
    return matrices


def is_main_process() -> bool:
    """True in the process that writes the files: the first under ``torchrun``, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def launch_fabric(device: str, precision: str = "32-true") -> "Fabric":
    """Launch Fabric on one ``device``, or on one per process under ``torchrun``."""
    package = "lightning_fabric" if find_spec("lightning_fabric") else "lightning.fabric"
    Fabric = import_module(package).Fabric  # slow to import

    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    fabric = Fabric(
        accelerator=device,
        devices=int(os.environ["LOCAL_WORLD_SIZE"]) if many else 1,
        strategy="ddp" if many else "auto",
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
