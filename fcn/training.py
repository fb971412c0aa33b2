"""Training and evaluation: one loop, checkpoints that resume bit for bit, one confusion matrix (section 4.3).

All randomness is a function of the seed and of a position: which image comes when, how it is mirrored, which units
drop out. A run that is killed and resumed therefore sees what an uninterrupted one sees, and no generator's state has
to be kept.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fcn.batches import Positions, batches, collate, mix
from fcn.datasets import VOID, SegmentationDataset
from fcn.files import whole
from fcn.losses import balanced_weights
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.solver import RunningMean, Solver, optimizer_for, prepare
from fcn.step import Step, by_head

__all__ = ["Diverged", "Run", "Solver", "Stopped", "collate", "evaluate", "interruptible", "train"]

if TYPE_CHECKING:
    from lightning.fabric import Fabric


CURVE_POINTS = 200  # about as many


class Diverged(ArithmeticError):
    """The loss is not finite any more."""


class Stopped(Exception):
    """The run was told to stop, and stands at a checkpoint."""


@dataclass
class Run:
    """What a training run has come to: where it stands and the loss on the way there.

    ``curve`` holds, for each stretch of steps, the step it ends at, the images seen by then, the mean loss of the
    stretch (of the heads together, in nats a pixel, or a batch where the solver sums) and the learning rate at its end.
    """

    step: int
    steps: int
    images_seen: int
    seconds: float
    curve: list[dict[str, float]]


def train(
    net: FCN | LateFusion,
    dataset: SegmentationDataset,
    solver: Solver,
    *,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    resume: bool = False,
    checkpoint_every: float = 120.0,
    log: Callable[[str], None] = print,
    stop_after: int | None = None,
    stop: Callable[[], bool] | None = None,
    capture: bool = False,
) -> Run:
    """Train ``net`` in place on ``dataset`` as ``solver`` says, and return how it went.

    A ``checkpoint`` file is written every ``checkpoint_every`` seconds and at the end; with ``resume`` the run goes on
    from it, to the same weights, bit for bit on a CPU, as a run without the stop. ``stop_after`` ends the run after so
    many steps of its schedule. Under ``torchrun`` each process takes its share of every batch. ``capture`` launches
    each step as one CUDA graph, where the data set lies on the device (``fcn.datasets.resident``) and its images are of
    one size. Losses are read once a point of the curve, so that a GPU need not wait for them at every step.

    Raises Stopped, after writing the checkpoint, when ``stop`` says so between two steps; Diverged, naming the step and
    the rate, when the loss is not finite; FileNotFoundError where there is no checkpoint to resume from, and ValueError
    where it belongs to another run, where the net's classes are not the data set's, or where the batch does not divide
    among the processes.
    """
    heads = _scored_heads(net, dataset)
    fabric = _fabric(device, solver.precision)
    if solver.batch_size % fabric.world_size:
        raise ValueError(f"batch_size {solver.batch_size} does not divide among {fabric.world_size} processes")
    prepare(net, solver)
    net.to(fabric.device).to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(net, optimizer_for(net, solver, fused=fabric.device.type == "cuda"))
    average = RunningMean(net, solver.average)

    steps = max(1, round(solver.epochs * len(dataset) / solver.batch_size))
    last = steps if stop_after is None else min(steps, stop_after)
    every = max(1, steps // CURVE_POINTS)
    run = Run(0, steps, 0, 0.0, [])
    losses: list[Tensor] = []  # since the last point of the curve
    identity = {"solver": asdict(solver), "seed": seed, "dataset": dataset.checksum, "net": net.settings}
    if resume:
        state = _read_checkpoint(checkpoint, identity)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        average.load(state["average"])
        run = Run(**state["run"])
        losses = [torch.tensor(loss, device=fabric.device) for loss in state["losses"]]

    def save() -> None:
        if checkpoint is not None and fabric.is_global_zero:
            state = {"identity": identity, "net": net.state_dict(), "optimizer": optimizer.state_dict(),
                     "average": average.held, "run": asdict(run), "losses": _numbers(losses)}  # fmt: skip
            with whole(checkpoint) as partial:
                torch.save(state, partial)

    model.train()
    weights = {head: fabric.to_device(w) for head, w in _balanced(dataset, heads).items()} if solver.balance else None
    positions = Positions(run.step, last, solver, fabric)
    supply = batches(dataset, solver, seed, positions, pin_memory=device == "cuda")
    capture = capture and getattr(dataset, "one_size", False)
    step = Step(fabric, model, optimizer, solver, heads, weights, positions.parts, log if capture else None)
    started = saved = time.perf_counter()
    earlier, first = run.seconds, run.step
    while run.step < last:
        rate = solver.rate_at((run.step + 1) * solver.batch_size / len(dataset))
        torch.manual_seed(mix(seed, run.step, fabric.global_rank + 1))  # dropout and loss sampling
        losses.append(step(supply, rate))
        average.update()
        run.step += 1
        run.images_seen += solver.batch_size
        run.seconds = earlier + time.perf_counter() - started
        if run.step % every == 0 or run.step == steps:
            stretch = _numbers(losses)
            _check_finite(stretch, run, rate)
            mean = sum(stretch) / len(stretch)
            losses.clear()
            run.curve.append({"step": run.step, "images": run.images_seen, "loss": mean, "learning_rate": rate})
            if fabric.is_global_zero:
                speed = (run.step - first) / (run.seconds - earlier)
                log(
                    f"step {run.step}/{steps}  loss {mean:.4f}  rate {rate:.3g}  "
                    f"{speed * solver.batch_size:.1f} images/s  {(steps - run.step) / speed / 60:.0f} min left"
                )
        if time.perf_counter() - saved > checkpoint_every:
            _check_finite(_numbers(losses), run, rate)  # what has diverged is worth no checkpoint
            save()
            saved = time.perf_counter()
        if stop is not None and run.step < last and stop():
            save()
            raise Stopped(f"at step {run.step} of {steps}")
    save()
    if run.step == steps:
        average.keep()
    net.eval()
    return run


@contextmanager
def interruptible(log: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """A ``stop`` for :func:`train`, under which Ctrl-C lets the step end and its checkpoint be written.

    KeyboardInterrupt is raised then; at once at a second Ctrl-C. Left alone: an interrupt that something else handles
    already, and runs of several processes, which would end at different steps.
    """
    told: list[int] = []

    def note(number: int, _: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        told.append(number)

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler and "WORLD_SIZE" not in os.environ
    ours = ours and threading.current_thread() is threading.main_thread()
    try:
        if ours:
            signal.signal(signal.SIGINT, note)
        yield lambda: bool(told)
    except Stopped:
        if not told:
            raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if told:
        log("interrupted; the same command with --resume goes on from the checkpoint")
        raise KeyboardInterrupt


@torch.no_grad()
def evaluate(
    net: FCN | LateFusion,
    dataset: SegmentationDataset,
    *,
    device: str = "auto",
    precision: str = "32-true",
    log: Callable[[str], None] | None = None,
) -> dict[str, ConfusionMatrix]:
    """One confusion matrix for each head of ``net`` over the whole of ``dataset``, image by image at its own size.

    Under ``torchrun`` each process takes its share of the images, and all return the matrices of the whole. Raises
    ValueError where the net's classes are not the data set's.
    """
    heads = _scored_heads(net, dataset)
    fabric = _fabric(device, precision)
    net.to(fabric.device).to(memory_format=torch.channels_last).eval()
    matrices = {head: ConfusionMatrix(len(dataset.heads[head]), VOID, fabric.device) for head in heads}
    for i in range(fabric.global_rank, len(dataset), fabric.world_size):
        sample = dataset[i]
        with fabric.autocast():
            scores = net(fabric.to_device(sample.image[None]).float() / 255)
        for head, score in by_head(scores, heads).items():
            matrices[head].update(fabric.to_device(sample.labels[head][None]), score.argmax(dim=1))
        if log is not None and (i + 1) % 50 == 0:
            log(f"scored {i + 1} of {len(dataset)} images")
    for matrix in matrices.values():
        matrix.matrix = fabric.all_reduce(matrix.matrix, reduce_op="sum")  # type: ignore[assignment]
    return matrices


def seed_everything(seed: int) -> None:
    """Seed what is drawn outside the training loop: the weights of layers that start at random."""
    torch.manual_seed(seed)


def is_main_process() -> bool:
    """Whether this process writes the files: the first of several under ``torchrun``, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def wait() -> None:
    """Wait for the other processes, where there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def _fabric(device: str, precision: str) -> "Fabric":
    from lightning.fabric import Fabric  # takes longer to import than all the rest together

    many = int(os.environ.get("WORLD_SIZE", "1")) > 1
    fabric = Fabric(
        accelerator=device,
        devices=int(os.environ["LOCAL_WORLD_SIZE"]) if many else 1,
        strategy="ddp" if many else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _balanced(dataset: SegmentationDataset, heads: list[str]) -> dict[str, Tensor]:
    """The weights of each head's classes that make them count alike, from the labels of the whole data set."""
    pixels = {head: torch.zeros(len(dataset.heads[head]), dtype=torch.int64) for head in heads}
    for i in range(len(dataset)):
        labels = dataset[i].labels
        for head in heads:
            pixels[head] += torch.bincount(labels[head][labels[head] != VOID], minlength=len(pixels[head]))
    return {head: balanced_weights(counts) for head, counts in pixels.items()}


def _scored_heads(net: FCN | LateFusion, dataset: SegmentationDataset) -> list[str]:
    """The heads of ``dataset`` that ``net`` scores: a net for one task scores the first.

    Raises ValueError where their classes are not as many.
    """
    classes = {next(iter(dataset.heads)): net.classes["scores"]} if net.single else net.classes
    for head, number in classes.items():
        known = len(dataset.heads.get(head, ()))
        if number != known:
            raise ValueError(f'the net scores {number} classes for "{head}", of which {dataset.name} has {known}')
    return list(classes)


def _numbers(losses: list[Tensor]) -> list[float]:
    """The losses as numbers: all come over from the device together, which has to wait for it."""
    return torch.stack(losses).tolist() if losses else []


def _check_finite(losses: list[float], run: Run, rate: float) -> None:
    """Raises Diverged, naming the first of the last steps whose loss is not finite."""
    for ago, loss in zip(range(len(losses), 0, -1), losses, strict=True):
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {run.step - ago} of {run.steps}, at a learning rate of {rate:g}: "
                "lower the rate, warm it up or clip the gradient"
            )


def _read_checkpoint(path: Path | None, identity: dict[str, Any]) -> dict[str, Any]:
    """What ``train`` saved at ``path`` of the run with this ``identity``.

    Raises FileNotFoundError where there is none, and ValueError where it is no whole checkpoint or that of another run.
    """
    if path is None or not path.is_file():
        raise FileNotFoundError(f"{path}: no checkpoint to resume from; start the run without --resume")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception:  # torch raises a dozen kinds for a file that is cut short or foreign
        state = None
    if not isinstance(state, dict) or not {"identity", "net", "optimizer", "average", "run", "losses"} <= state.keys():
        raise ValueError(f"{path}: no whole checkpoint of a run; remove it and start the run without --resume")
    if state["identity"] != identity:
        raise ValueError(f"{path}: the checkpoint of another run (solver, seed, data or net differ)")
    return state
