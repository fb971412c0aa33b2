"""How long a forward pass takes: the forward times of Tables 1 and 3, measured on the machine at hand.

    python -m fcn.speed                     the paper's nets on a 500 x 500 image, 20 trials each, on the CPU
    python -m fcn.speed --device cuda       the same on a GPU
    python -m fcn.speed --record results    the same, kept as results/recorded/forward-times (or -cuda)

Weights are random: no layer here takes longer for one number than for another.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, update_wrapper
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fcn.models import FCN
from fcn.replication.paper import TABLES
from fcn.training.provenance import hardware

SIZE = (500, 500)  # of the image, and how often it is scored: as in Table 1 of the paper
TRIALS = 20

PAPER = {
    row.label: row.metrics["forward_ms"]
    for row in TABLES
    if row.label.startswith("FCN") and "forward_ms" in row.metrics
}
"""The paper's forward times on a K40c, milliseconds, by net: three at stride 32 in Table 1, FCN-8s in Table 3."""
NETS = {
    "FCN-AlexNet": ("alexnet", 32), "FCN-VGG16": ("vgg16", 32), "FCN-GoogLeNet": ("googlenet", 32),
    "FCN-8s": ("vgg16", 8),
}  # fmt: skip
"""Trunk and stride of the nets in ``PAPER``."""
ALIGNMENTS = ("tight", "reference")


@dataclass(frozen=True)
class Times:
    """The milliseconds of each trial, in order."""

    trials: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the trials took longer."""
        return statistics.median(self.trials)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between these two lies the middle half of the trials."""
        low, high = np.percentile(self.trials, (25, 75))
        return float(low), float(high)


def forward_ms(
    net: nn.Module,
    size: tuple[int, int] = SIZE,
    trials: int = TRIALS,
    device: str | torch.device = "cpu",
    warm_up: int = 3,
    channels: int = 3,
) -> Times:
    """Time ``net`` on one random image, 1 x ``channels`` x H x W of ``size`` (H, W), after ``warm_up`` passes.

    What is timed is the pass alone, in evaluation mode and without gradients, in the net's own precision, on an image
    that already lies on ``device``; on a device that works through a queue, until the queue is empty. The net is moved
    there and left there. Raises ValueError where ``trials`` is below 1.
    """
    if trials < 1:
        raise ValueError(f"trials: at least one pass is timed, not {trials}")
    device = torch.device(device)
    image = torch.rand(1, channels, *size, device=device)
    net.to(device)

    def wait() -> None:
        if device.type != "cpu":
            torch.accelerator.synchronize()

    taken = []
    with _evaluating(net), torch.inference_mode():
        for trial in range(-warm_up, trials):
            wait()
            begun = time.perf_counter()
            net(image)
            wait()
            if trial >= 0:
                taken.append(1000 * (time.perf_counter() - begun))
    return Times(tuple(taken))


def forward_times(
    device: str = "cpu", size: tuple[int, int] = SIZE, trials: int = TRIALS
) -> dict[str, NDArray[np.generic]]:
    """Milliseconds of 20 forward passes, one image of 500 x 500, for each of the paper's nets in both alignments.

    ``milliseconds`` is a row for each entry of ``nets`` and ``alignments``, a column for each trial; ``hardware`` and
    ``threads`` say where.
    """
    rows = [(name, alignment) for name in NETS for alignment in ALIGNMENTS]
    taken = []
    for name, alignment in rows:
        net = FCN(*NETS[name], 21, alignment=alignment)
        taken.append(forward_ms(net, size, trials, device).trials)
    nets, alignments = zip(*rows, strict=True)
    return {
        "nets": np.array(nets), "alignments": np.array(alignments), "milliseconds": np.array(taken),
        "hardware": np.array(hardware(device)), "threads": np.array(torch.get_num_threads()),
    }  # fmt: skip


def lines(found: dict[str, NDArray[np.generic]]) -> Iterator[str]:
    """What :func:`forward_times` found, a line a net, beside the paper's time."""
    yield f"{found['hardware']}, {found['threads']} threads; milliseconds: median (middle half), the paper's on a K40c"
    for name, alignment, trials in zip(
        found["nets"], found["alignments"], found["milliseconds"], strict=True
    ):
        times = Times(tuple(trials))
        low, high = times.quartiles
        yield f"{name:14}{alignment:11}{times.median:8.1f} ({low:.1f} to {high:.1f}){PAPER[name]:8g}"


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and with ``--record`` keep what was measured."""
    from fcn import environment
    from fcn.replication import snapshots

    parser = argparse.ArgumentParser(
        prog="python -m fcn.speed", description="Forward times of the paper's nets."
    )
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda", "mps" or "auto"')
    parser.add_argument(
        "--record", type=Path, metavar="RESULTS", help="folder of results that keeps the times"
    )
    given = parser.parse_args(arguments)
    try:
        device = environment.resolve_device(given.device)
    except ValueError as error:
        parser.error(str(error))
    compute = update_wrapper(partial(forward_times, device, SIZE, TRIALS), forward_times)
    if given.record:
        environment.check_writable(given.record, "--record")
        name = "forward-times" + (f"-{device}" if device != "cpu" else "")
        snapshots.record(name, compute, given.record)
        found, _ = snapshots.recorded(name, compute, False, given.record)
    else:
        found = compute()
    print(*lines(found), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
