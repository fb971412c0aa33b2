"""Clocks, memory, operation counts and the machine's own rate of matrix products."""

import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from fcn.replication.benchmark.record import Precision

SIDES = {"cpu": 2048, "cuda": 8192}  # of the square matrices: large enough for the full rate
STATUS = Path("/proc/self/statm")


def seconds(work: Callable[[], object], device: str) -> float:
    """The time of one call, until the device has finished it."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: str) -> None:
    """Wait for the device to finish its work."""
    if device != "cpu":
        torch.accelerator.synchronize()


class Memory:
    """The memory of a piece of work, in bytes, above that when this object was made.

    On a CPU the resident memory of the process, sampled every few milliseconds, after freed memory
    went back to the system; None where there is no ``/proc``. On CUDA what its allocator gave out.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        gc.collect()
        with suppress(OSError, AttributeError):  # glibc only
            ctypes.CDLL(None).malloc_trim(0)
        self.before = self._now()

    def peak(self, work: Callable[[], object]) -> float | None:
        """The largest memory while ``work`` runs; None if more was freed since ``before``."""
        if self.before is None:
            work()
            return None
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            work()
            wait(self.device)
            return torch.cuda.max_memory_allocated() - self.before
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
        seen, done = [self._now()], threading.Event()

        def sample() -> None:
            while not done.wait(0.003):
                seen.append(self._now())

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            work()
        finally:
            done.set()
            thread.join()
        more = float(max(one for one in seen if one is not None) - self.before)
        return more if more > 0 else None

    def _now(self) -> int | None:
        if self.device == "cuda":
            return torch.cuda.memory_allocated()
        if not STATUS.is_file() or sys.platform != "linux":
            return None
        return int(STATUS.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def precision(name: Precision, device: str) -> Iterator[None]:
    """Compute in ``name``: plain float32, float32 with tf32 products (CUDA), or bf16 autocast."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


class Product:
    """One large square matrix product; its rate is what a net can hope for."""

    def __init__(self, name: Precision, device: str, side: int | None = None) -> None:
        self.name, self.device = name, device
        self.side = side or SIDES.get(device, 2048)
        dtype = torch.bfloat16 if name == "bf16" else torch.float32
        self.matrix = torch.rand(self.side, self.side, device=device).to(dtype)

    def rate(self) -> float:
        """Operations per second of one product."""
        with precision("tf32" if self.name == "tf32" else "float32", self.device):
            return 2 * self.side**3 / seconds(lambda: self.matrix @ self.matrix, self.device)


class NoInit(TorchFunctionMode):
    """Skips torch.nn.init: weights that are copied afterwards need no random numbers first."""

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def operations(build: Callable[[], nn.Module], images: tuple[int, ...], training: bool) -> float:
    """Operations of one pass: two per multiplication of the convolutions and matrix products.

    ``images``: shape of the input. ``training``: with the backward pass of the pixel softmax loss.
    Counted on the meta device: nothing is computed.
    """
    with torch.device("meta"), NoInit():
        net = build()
        batch = torch.empty(images)
        labels = torch.empty(images[0], *images[2:], dtype=torch.int64)
        with torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
            scores: Tensor = net(batch)
            if training:
                F.cross_entropy(scores, labels, reduction="sum").backward()
    return float(counter.get_total_flops())
