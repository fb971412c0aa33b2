"""Forward times of the paper's nets (Tables 1 and 3) on this machine."""

import statistics
import time
from collections.abc import Iterable, Iterator
from functools import partial, update_wrapper
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fcn.environment import check_writable
from fcn.models import FCN
from fcn.replication import snapshots
from fcn.replication.paper import TABLES
from fcn.training.provenance import hardware

SIZE, TRIALS = (500, 500), 20  # pixels of the image, trials: those of Table 1
NETS = {
    "FCN-AlexNet": ("alexnet", 32),
    "FCN-VGG16": ("vgg16", 32),
    "FCN-GoogLeNet": ("googlenet", 32),
    "FCN-8s": ("vgg16", 8),
}
"""Backbone and stride of the nets that the paper times."""
_TIMED = {row.label: row.metrics["forward_ms"] for row in TABLES if "forward_ms" in row.metrics}
PAPER = {name: _TIMED[name] for name in NETS}
"""The paper's forward times on a K40c, in milliseconds."""


def quartiles(trials: Iterable[float]) -> list[float]:
    """The first quartile, the median and the third quartile."""
    return statistics.quantiles(trials, method="inclusive")


def forward_ms(
    net: nn.Module,
    size: tuple[int, int] = SIZE,
    trials: int = TRIALS,
    device: str | torch.device = "cpu",
    warm_up: int = 3,
) -> list[float]:
    """Milliseconds of each pass of one random image, 1 x 3 x H x W, after ``warm_up`` passes.

    Only the pass is timed, in evaluation mode, without gradients, and until the device has finished
    it. The net moves to ``device``. Raises ValueError for ``trials`` below 1.
    """
    if trials < 1:
        raise ValueError(f"trials: at least one pass must be timed, not {trials}")

    def now() -> float:
        if torch.device(device).type != "cpu":
            torch.accelerator.synchronize()
        return 1000 * time.perf_counter()

    times, training = [], net.training
    net.to(device).eval()
    image = torch.rand(1, 3, *size, device=device)
    with torch.inference_mode():
        for _ in range(warm_up + trials):
            start = now()
            net(image)
            times.append(now() - start)
    net.train(training)
    return times[warm_up:]


def forward_times(device: str = "cpu") -> dict[str, NDArray[np.generic]]:
    """Milliseconds of 20 passes of one 500 x 500 image through the paper's nets, both alignments.

    ``milliseconds`` has a row for each entry of ``nets`` and ``alignments``, a column per trial;
    ``hardware`` and ``threads`` describe the machine.
    """
    pairs = [*product(NETS, ("tight", "reference"))]
    times = [forward_ms(FCN(*NETS[n], 21, alignment=a), SIZE, TRIALS, device) for n, a in pairs]
    return {
        "nets": np.array([net for net, _ in pairs]),
        "alignments": np.array([alignment for _, alignment in pairs]),
        "milliseconds": np.array(times),
        "hardware": np.array(hardware(device)),
        "threads": np.array(torch.get_num_threads()),
    }


def benchmark(device: str = "cpu", save: Path | None = None) -> Iterator[str]:
    """Measure, and yield one line per net with the paper's time next to ours.

    ``save`` is the results folder for a snapshot. Raises ValueError if it is not writable.
    """
    compute = update_wrapper(partial(forward_times, device), forward_times)
    if save:
        check_writable(save, "--save")
        name = "forward-times" + (f"-{device}" if device != "cpu" else "")
        snapshots.save(name, compute, save)
        found = snapshots.load(name, save)
    else:
        found = compute()
    where = f"{found['hardware']}, {found['threads']} threads"
    yield f"{where}; milliseconds: median (quartiles), the paper's on a K40c"
    rows = zip(found["nets"], found["alignments"], found["milliseconds"].tolist(), strict=True)
    for name, alignment, trials in rows:
        low, median, high = quartiles(trials)
        ours = f"{median:8.1f} ({low:.1f} to {high:.1f})"
        yield f"{name:14}{alignment:11}{ours}{PAPER[name]:8g}"
