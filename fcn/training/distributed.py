"""Several processes: launching them on their devices, and what they exchange.

``torchrun`` starts them and describes them in environment variables, such as WORLD_SIZE. A program
that it did not start is the only process.
"""

import logging
import os
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def processes() -> int:
    """The number of processes of this run, on all nodes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """The number of processes of this run on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def launch_fabric(device: str, precision: str = "32-true", unused: bool = False) -> "Fabric":
    """Launch Fabric on one ``device``, or on one per process under ``torchrun``.

    ``unused``: some parameters of the net get no gradient. Raises ValueError if the nodes have
    different numbers of processes, or if something else than torchrun started them.
    """
    package = "lightning_fabric" if find_spec("lightning_fabric") else "lightning.fabric"
    Fabric = import_module(package).Fabric  # slow to import
    logging.getLogger(package).setLevel(logging.WARNING)  # not a line about each precision

    world, local = processes(), processes_here()
    if world > 1 and "LOCAL_WORLD_SIZE" not in os.environ:
        raise ValueError(f"WORLD_SIZE is {world}: start several processes with torchrun")
    several = "ddp_find_unused_parameters_true" if unused else "ddp"
    nodes = int(os.environ.get("GROUP_WORLD_SIZE", world // local)) if world > 1 else 1
    if world != nodes * local:
        raise ValueError(
            f"{world} processes on {nodes} nodes, {local} of them here: start as many on each node"
        )
    fabric = Fabric(
        accelerator=device,
        devices=local if world > 1 else 1,
        num_nodes=nodes,
        strategy=several if world > 1 else "auto",
        precision=precision,
    )
    fabric.launch()
    return fabric


def broadcast(value: T, device: str) -> T:
    """The main process's ``value``, in every process."""
    if processes() == 1:
        return value
    agreed: T = launch_fabric(device).broadcast(value)
    return agreed


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
