"""Profiles of a training step and of an evaluation; the time and memory of commands."""

import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import scipy.io
import torch
from PIL import Image
from torch import Tensor

from fcn.data import sift_flow
from fcn.data.sift_flow import SiftFlow
from fcn.data.synthetic.outdoor import Scenes
from fcn.environment import PROJECT
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN
from fcn.replication import smoke
from fcn.replication.benchmark import measure
from fcn.replication.benchmark.record import Command, Part, Profile
from fcn.training import loop
from fcn.training.evaluate import evaluate
from fcn.training.loader import prefetch
from fcn.training.memory import InMemory
from fcn.training.recipe import TUNED
from fcn.upsampling import CoarseScores

HEADS = {head: len(names) for head, names in SiftFlow.heads.items()}


class Laps:
    """Times of the parts of repeated work; ``lap`` ends a part, when the device has finished it."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.start()

    def start(self) -> None:
        measure.wait(self.device)
        self.last = time.perf_counter()

    def lap(self, name: str) -> None:
        before = self.last
        self.start()
        self.seconds[name].append(self.last - before)

    def parts(self, warm_up: int = 0) -> list[Part]:
        return [Part(name, times[warm_up:]) for name, times in self.seconds.items()]


@contextmanager
def painted_sift_flow(size: int) -> Iterator[Path]:
    """A folder with eight painted scenes, ``size`` pixels wide and high, as SIFT Flow's files."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / SiftFlow.name
        smoke.write_data(SiftFlow.name, root.parent)
        scenes = Scenes(len(smoke.NAMES), (size, size))
        for i, name in enumerate(smoke.NAMES):
            sample = scenes[i]
            photo = root / "Images" / sift_flow.COLLECTION / f"{name}.jpg"
            Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(photo)
            labels = sample.labels["semantic"].numpy() + 1  # 256, void, becomes 0
            stored = {"S": labels.astype("uint8")}
            scipy.io.savemat(root / "SemanticLabels" / sift_flow.COLLECTION / f"{name}.mat", stored)
        yield root


class _Known(torch.autograd.Function):
    """A loss whose gradients with respect to its inputs are known."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return (None, None, *(slope * gradient for gradient in ctx.gradients))


def training(root: Path, device: str, width: float, batch: int, steps: int) -> Profile:
    """Steps of the tuned recipe of FCN-8s GoogLeNet, by ``fcn.training.loop.train`` as it is.

    A clock stops between the parts; to separate the backward pass of the loss and the last
    upsampling from that of the net, the loss is differentiated with respect to the coarse scores
    first. On CUDA the steps are not captured.
    """
    dataset, warm_up = InMemory(SiftFlow(root, "trainval")), 2
    epochs = (warm_up + steps) * batch / len(dataset)
    # A random net must not learn: its scores would grow until softmax has denormal numbers.
    recipe = replace(TUNED, batch_size=batch, epochs=epochs, learning_rate=1e-8)
    net = FCN("googlenet", 8, heads=HEADS, width=width)
    laps, inner, launch = Laps(device), loop.multi_head_loss, loop.launch_fabric

    def loss(scores: dict[str, Any], truth: dict[str, Tensor], **options: Any) -> Tensor:
        laps.lap("forward")
        coarse = {head: one for head, one in scores.items() if isinstance(one, CoarseScores)}
        inputs = [one.cells if isinstance(one, CoarseScores) else one for one in scores.values()]
        leaves = [one.detach().requires_grad_() for one in inputs]
        for head, leaf in zip(scores, leaves, strict=True):
            scores[head] = coarse[head]._replace(cells=leaf) if head in coarse else leaf
        found: Tensor = inner(scores, truth, **options)
        gradients = torch.autograd.grad(found, leaves)
        laps.lap("upsampling and loss" if coarse else "loss")
        known: Tensor = _Known.apply(found.detach(), gradients, *inputs)
        return known

    def launched(*arguments: Any) -> Any:
        fabric: Any = launch(*arguments)
        backward = fabric.backward

        def timed_backward(found: Tensor) -> None:
            backward(found)
            laps.lap("backward")

        fabric.backward = timed_backward
        return fabric

    def batches(*arguments: Any) -> Iterator[Any]:
        with closing(prefetch(*arguments)) as loaded:
            laps.start()
            for one in loaded:
                laps.lap("waiting for data")
                yield one
                laps.lap("optimizer")

    patches: dict[str, Any] = {
        "multi_head_loss": loss,
        "launch_fabric": launched,
        "prefetch": batches,
    }
    with mock.patch.multiple(loop, **patches):
        done = loop.train(net, dataset, recipe, device=device, log=lambda line: None)
    settings = {"net": "FCN-8s GoogLeNet"}
    if done.execution:
        settings |= {name: str(value) for name, value in asdict(done.execution).items()}
    return Profile("training", batch, laps.parts(warm_up), settings)


def evaluation(root: Path, device: str, width: float, repeats: int) -> Profile:
    """Scoring photos with FCN-8s GoogLeNet, by ``fcn.training.evaluate.evaluate`` as it is."""
    dataset = InMemory(SiftFlow(root, "trainval"))
    net = FCN("googlenet", 8, heads=HEADS, width=width).to(device).eval()
    found: dict[str, list[float]] = defaultdict(list)
    update = ConfusionMatrix.update
    for _ in range(1 + repeats):
        laps = Laps(device)

        def timed_update(*arguments: object, laps: Laps = laps) -> None:
            laps.lap("rest")
            update(*arguments)  # type: ignore[arg-type]
            laps.lap("metric")

        before = net.register_forward_pre_hook(lambda *_, laps=laps: laps.lap("rest"))
        after = net.register_forward_hook(lambda *_, laps=laps: laps.lap("forward"))
        with mock.patch.object(ConfusionMatrix, "update", timed_update):
            evaluate(net, dataset, device=device)
        laps.lap("rest")
        before.remove()
        after.remove()
        for name, times in laps.seconds.items():
            found[name].append(sum(times))
    parts = [Part(name, times[1:]) for name, times in sorted(found.items())]
    return Profile("evaluation", len(dataset), parts, {"net": "FCN-8s GoogLeNet"})


def commands(rounds: int, quick: bool) -> Iterator[Command]:
    """Start to end of ``--help``, ``list``, and ``predict`` on one photo. Raises RuntimeError."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        scene = Scenes(1, (375, 500))[0].image
        Image.fromarray(scene.permute(1, 2, 0).numpy()).save(photo)
        lines: dict[str, Sequence[str | Path]] = {"--help": ["--help"]}
        if not quick:
            lines["list"] = ["list"]
            lines["predict PHOTO"] = ["predict", photo, "--out", Path(folder) / "out"]
        for name, arguments in lines.items():
            runs = [_run(arguments) for _ in range(rounds)]
            known = [memory for _, memory in runs if memory]
            yield Command(name, [seconds for seconds, _ in runs], max(known, default=None))


def _run(arguments: Sequence[str | Path]) -> tuple[float, float | None]:
    """Seconds and the largest resident memory of ``python -m fcn`` with these arguments."""
    start, peak = time.perf_counter(), None
    command = [sys.executable, "-m", "fcn", *map(str, arguments)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=PROJECT, **quiet)  # type: ignore[call-overload]
    while process.poll() is None:
        with suppress(OSError):  # no /proc, or the process has ended
            status = Path(f"/proc/{process.pid}/status").read_text()
            if line := re.search(r"VmHWM:\s*(\d+) kB", status):
                peak = 1024.0 * int(line[1])
        time.sleep(0.005)
    if process.returncode:
        raise RuntimeError(f"fcn {arguments[0]} ended with status {process.returncode}")
    return time.perf_counter() - start, peak
