"""Where the time goes: a training step, an evaluation, the start of a command."""

import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import scipy.io
import torch
from PIL import Image

from fcn.data import sift_flow
from fcn.data.sift_flow import SiftFlow
from fcn.data.synthetic.outdoor import Scenes
from fcn.environment import PROJECT
from fcn.losses import multi_head_loss
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN
from fcn.replication import smoke
from fcn.replication.benchmark import measure
from fcn.replication.benchmark.record import Command, Part, Profile
from fcn.training.evaluate import evaluate
from fcn.training.gpu import loading_processes
from fcn.training.loader import load_batch, load_step, prefetch
from fcn.training.optimizer import optimizer_for, set_rate
from fcn.training.recipe import TUNED

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


def training(root: Path, device: str, width: float, batch: int, steps: int) -> Profile:
    """A training step of the tuned recipe of FCN-8s GoogLeNet, two heads, in float32.

    The steps are those of ``fcn.training.loop.train``, with a pause for the clock between parts.
    """
    dataset = SiftFlow(root, "trainval", cache=True)
    recipe = replace(TUNED, batch_size=batch, precision="32-true")
    net = FCN("googlenet", 8, heads=HEADS, width=width).to(device).train()
    net.to(memory_format=torch.channels_last)
    optimizer = optimizer_for(net, recipe)
    set_rate(optimizer, recipe.learning_rate)
    load = partial(load_step, partial(load_batch, dataset), len(dataset), recipe, 0, 0, 1)
    workers, warm_up = loading_processes(dataset, torch.device(device), None), 2
    laps = Laps(device)
    with closing(prefetch(load, range(warm_up + steps), workers, device == "cuda")) as batches:
        for [(photos, labels)] in batches:
            laps.lap("waiting for data")
            images = photos.to(device).contiguous(memory_format=torch.channels_last).float() / 255
            truth = {head: label.to(device) for head, label in labels.items()}
            coarse = net(images, upsample=False)
            laps.lap("forward")
            cells = {head: scores.cells for head, scores in coarse.items()}
            leaves = {head: cell.detach().requires_grad_() for head, cell in cells.items()}
            scores = {head: coarse[head]._replace(cells=leaf) for head, leaf in leaves.items()}
            if device != "cpu":
                scores = {head: one.upsampled() for head, one in scores.items()}
            multi_head_loss(scores, truth).backward()
            laps.lap("upsampling and loss")
            torch.autograd.backward([*cells.values()], [leaf.grad for leaf in leaves.values()])
            laps.lap("backward")
            torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            laps.lap("optimizer")
    settings = {"net": "FCN-8s GoogLeNet", "memory format": "channels last", "precision": "float32"}
    return Profile("training", batch, laps.parts(warm_up), settings)


def evaluation(root: Path, device: str, width: float, repeats: int) -> Profile:
    """Scoring photos with FCN-8s GoogLeNet, by ``fcn.training.evaluate.evaluate`` as it is."""
    dataset = SiftFlow(root, "trainval", cache=True)
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
