"""Execution of a net on a machine: the precision and the memory format that are fast there.

Convolutions in bfloat16 are twice as fast as in float32 on a CPU that has instructions for them,
and several times slower on one that has none; whether channels last is faster depends on the net
as well. Precision follows from the CPU, the memory format from a probe. Rounding differs: a resumed
run continues with both as it began, except that bfloat16 becomes float32 where it would be slow.
"""

import os
import platform
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fcn.cpu.allocator import keep_freed_memory
from fcn.data.sample import SegmentationDataset
from fcn.environment import is_main_process, resolve_device
from fcn.training.distributed import broadcast
from fcn.training.record import Execution, MemoryFormat, Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FORMATS: dict[MemoryFormat, torch.memory_format] = {
    "channels_last": torch.channels_last,
    "contiguous": torch.contiguous_format,
}
# A probe takes four or six passes of an image or two. It must pay, and noise must not decide.
PASSES = 200  # at least, to probe at all
LONG = 60.0  # seconds that the passes must take, at least, for contiguous
GAIN = 1.1  # by which contiguous must be faster
SECONDS = 3.0  # after which there is no third pass
PIXELS = 1 << 17  # of the images, at most, if there are several
WIDE = ("BF16", "FP16", "AMX", "AVX10", "ALL", "DEFAULT")  # oneDNN's names of what has bfloat16


def executed_precision(asked: Precision, device: str, log: Callable[[str], None]) -> Precision:
    """``asked``, or float32 where bfloat16 would be slow: then the log says so.

    All processes agree.
    """
    slow = asked != "32-true" and resolve_device(device) == "cpu" and not has_fast_bfloat16()
    slow = broadcast(slow, device)
    if slow and is_main_process():
        log("float32 instead of bfloat16, for which this CPU has no instructions it may use")
    return "32-true" if slow else asked


def has_fast_bfloat16() -> bool:
    """True if the CPU multiplies in bfloat16 and neither ATen nor oneDNN are kept from it.

    ATEN_CPU_CAPABILITY and ONEDNN_MAX_CPU_ISA (or DNNL_MAX_CPU_ISA) may restrict them to the
    instructions of older CPUs, so that results do not depend on the machine.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    names = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
    limit = next((os.environ[name] for name in names if os.environ.get(name)), "ALL").upper()
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not any(w in limit for w in WIDE):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def pinned_format() -> MemoryFormat | None:
    """The memory format that FCN_MEMORY_FORMAT asks for. Raises ValueError if there is no such."""
    match os.environ.get("FCN_MEMORY_FORMAT"):
        case None | "":
            return None
        case "channels_last" | "contiguous" as name:
            return name
        case other:
            raise ValueError(
                f"FCN_MEMORY_FORMAT is {other}: choose one of {', '.join(FORMATS)}, or unset it"
            )


def memory_format(
    net: nn.Module,
    dataset: SegmentationDataset,
    passes: int,
    images: int,
    fabric: "Fabric",
    log: Callable[[str], None],
) -> MemoryFormat:
    """The faster memory format for ``passes`` passes of ``images`` each; all processes agree.

    ``net`` is on its device; in training mode a pass is forward and backward. On a CPU it is probed
    with the first image, in copies if it is small, if that pays. Otherwise the format is channels
    last. FCN_MEMORY_FORMAT takes precedence. The weights, their gradients and the state of the
    random number generator do not change.
    """
    found = pinned_format() or "channels_last"
    probed = fabric.device.type == "cpu" and passes >= PASSES and not pinned_format()
    if probed and fabric.is_global_zero:
        image = dataset[0].image
        number = max(1, min(images, PIXELS // image[0].numel()))
        seconds = probe(net, image.expand(number, *image.shape), fabric)
        if passes * seconds["channels_last"] > LONG:
            if seconds["channels_last"] > GAIN * seconds["contiguous"]:
                found = "contiguous"
            measured = ", ".join(f"{name} {s:.3f} s" for name, s in seconds.items())
            log(f"memory format: {found} (a pass takes {measured})")
    return fabric.broadcast(found)


def probe(net: nn.Module, images: Tensor, fabric: "Fabric") -> dict[MemoryFormat, float]:
    """The seconds of the fastest pass in each memory format. ``images``: uint8, N x 3 x H x W."""
    seconds: dict[MemoryFormat, float] = dict.fromkeys(FORMATS, float("inf"))
    end = time.perf_counter() + SECONDS
    with torch.random.fork_rng(devices=[]):  # dropout
        for repeat in range(3):
            if repeat == 2 and time.perf_counter() > end:
                break
            for name, layout in FORMATS.items():
                net.to(memory_format=layout)
                inputs = images.contiguous(memory_format=layout).float() / 255
                started = time.perf_counter()
                _pass(net, inputs, fabric)
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def _pass(net: nn.Module, inputs: Tensor, fabric: "Fabric") -> None:
    learning = [p for p in net.parameters() if p.requires_grad] if net.training else []
    with torch.set_grad_enabled(bool(learning)), fabric.autocast():
        scores = net(inputs)
    if learning:
        maps = scores.values() if isinstance(scores, dict) else [scores]
        total = torch.stack([one.float().mean() for one in maps]).sum()
        torch.autograd.grad(total, learning, allow_unused=True)  # leaves no gradients


def executed(precision: Precision, layout: MemoryFormat, device: torch.device) -> Execution:
    """The record's entry; from now on, a process that trains on the CPU keeps freed memory."""
    allocator = keep_freed_memory() if device.type == "cpu" else "the device's"
    return Execution(precision, layout, torch.get_num_threads(), allocator)
