"""Training and evaluation: one loop, checkpoints that resume bit for bit, one confusion matrix (section 4.3).

All randomness is a function of the seed and of a position: which image comes when, how it is mirrored, which units
drop out. A run that is killed and resumed therefore sees what an uninterrupted one sees, and no generator's state has
to be kept.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fcn.batches import Positions, batches, collate, mix
from fcn.capture import Captured
from fcn.datasets import VOID, SegmentationDataset
from fcn.files import whole
from fcn.losses import balanced_weights, multi_head_loss
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.solver import Solver, optimizer_for, prepare, set_rate

__all__ = ["Diverged", "Run", "Solver", "Stopped", "collate", "evaluate", "train"]

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
    one size. A GPU is asked for its losses once a point of the curve, and so never waits for them to be read.

    Raises Stopped, after writing the checkpoint, when ``stop`` says so between two steps; Diverged, naming the step and
    the rate, when the loss is not finite; FileNotFoundError where there is no checkpoint to resume from, and ValueError
    where it belongs to another run, where the net's classes are not the data set's, or where the batch does not divide
    among the processes.
    """
    heads = _scored_heads(net, dataset)
    fabric = _fabric(device, solver.precision)
    if solver.batch_size % fabric.world_size:
        raise ValueError(f"batch_size {solver.batch_size} does not divide among {fabric.world_size} processes")
    steps = max(1, round(solver.epochs * len(dataset) / solver.batch_size))
    run = Run(0, steps, 0, 0.0, [])
    losses: list[float | Tensor] = []  # since the last point of the curve
    prepare(net, solver)
    net.to(fabric.device).to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(net, optimizer_for(net, solver, fused=fabric.device.type == "cuda"))
    weights = {head: fabric.to_device(w) for head, w in _balanced(dataset, heads).items()} if solver.balance else None
    identity = {"solver": asdict(solver), "seed": seed, "dataset": dataset.checksum, "net": net.settings}
    if resume:
        if checkpoint is None or not checkpoint.is_file():
            raise FileNotFoundError(f"{checkpoint}: no checkpoint to resume from; start the run without --resume")
        state = _read_checkpoint(checkpoint)
        if state["identity"] != identity:
            raise ValueError(f"{checkpoint}: the checkpoint of another run (solver, seed, data or net differ)")
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        run = Run(**state["run"])
        losses = state["losses"]
    learned = [parameter.detach() for parameter in net.parameters()]
    average = [parameter.clone() for parameter in learned] if solver.average else []
    if resume:
        for held, kept in zip(average, state["average"] if average else (), strict=True):
            held.copy_(kept)

    def save() -> None:
        if checkpoint is not None and fabric.is_global_zero:
            state = {"identity": identity, "net": net.state_dict(), "optimizer": optimizer.state_dict(),
                     "average": average, "run": asdict(run), "losses": [float(loss) for loss in losses]}  # fmt: skip
            with whole(checkpoint) as partial:
                torch.save(state, partial)

    last = steps if stop_after is None else min(steps, stop_after)
    positions = Positions(run.step, last, solver, fabric)
    parts = positions.parts
    model.train()
    # A batch is scored in parts, one after the other or in as many processes, whose gradients are averaged between
    # processes and added up in one. A mean of pixels is that of the parts' means, as in Caffe; a sum has to stay one.
    share = fabric.world_size if solver.reduction == "sum" else 1 / parts

    def gradient(images: Tensor, *labels: Tensor) -> Tensor:
        """The loss of one part of a batch, in nats; its gradient is added to what there is."""
        images = images.contiguous(memory_format=torch.channels_last)
        scores = _by_head(model(images.float() / 255), heads)
        named = dict(zip(heads, labels, strict=True))
        loss = multi_head_loss(scores, named, solver.reduction, solver.keep, weights=weights)
        fabric.backward(loss * share)
        return loss.detach()

    def update() -> None:
        if solver.clip:
            fabric.clip_gradients(model, optimizer, max_norm=solver.clip, error_if_nonfinite=False)
        optimizer.step()

    def whole_step(images: Tensor, *labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = gradient(images, *labels)
        update()
        return loss

    def check(value: float, step: int) -> None:
        if not math.isfinite(value):
            raise Diverged(
                f"the loss is {value} at step {step} of {steps}, at a learning rate of {rate:g}: "
                "lower the rate, warm it up or clip the gradient"
            )

    capture = capture and parts == 1 and fabric.world_size == 1 and getattr(dataset, "one_size", False)
    captured = Captured(whole_step, log) if capture else None
    at_once = fabric.device.type == "cpu" and not capture  # elsewhere, asking for each loss would hold up the queue
    set_rate(optimizer, 0.0, tensor=capture and fabric.device.type == "cuda" and not solver.steady)
    every = max(1, steps // CURVE_POINTS)
    started = saved = time.perf_counter()
    earlier, first = run.seconds, run.step
    supply = batches(dataset, solver, seed, positions, pin_memory=device == "cuda")
    while run.step < last:
        rate = solver.rate_at((run.step + 1) * solver.batch_size / len(dataset))
        set_rate(optimizer, rate)
        torch.manual_seed(mix(seed, run.step, fabric.global_rank + 1))  # dropout and loss sampling
        value: float | Tensor = 0.0
        if captured is not None:
            images, labels = next(supply)
            value = captured(images, *(labels[head] for head in heads)).clone()
        else:
            optimizer.zero_grad()
            for part in range(parts):
                images, labels = next(supply)
                with fabric.no_backward_sync(model, enabled=part < parts - 1):
                    loss = gradient(fabric.to_device(images), *(fabric.to_device(labels[head]) for head in heads))
                value += (loss.item() if at_once else loss) / (1 if solver.reduction == "sum" else parts)
            if at_once:
                check(float(value), run.step)
            update()
        if average:
            torch._foreach_lerp_(average, learned, 1 - solver.average)

        run.step += 1
        run.images_seen += solver.batch_size
        run.seconds = earlier + time.perf_counter() - started
        losses.append(value)
        if run.step % every == 0 or run.step == steps:
            values = _numbers(losses, fabric.device)
            for ago, number in enumerate(reversed(values), start=1):
                check(number, run.step - ago)
            mean = sum(values) / len(values)
            run.curve.append({"step": run.step, "images": run.images_seen, "loss": mean, "learning_rate": rate})
            losses.clear()
            if fabric.is_global_zero:
                speed = (run.step - first) / (run.seconds - earlier)
                log(
                    f"step {run.step}/{steps}  loss {mean:.4f}  rate {rate:.3g}  "
                    f"{speed * solver.batch_size:.1f} images/s  {(steps - run.step) / speed / 60:.0f} min left"
                )
            if time.perf_counter() - saved > checkpoint_every:  # where no loss waits to be averaged
                save()
                saved = time.perf_counter()
        if stop is not None and run.step < last and stop():
            save()
            raise Stopped(f"at step {run.step} of {steps}")
    save()
    if run.step == steps:
        for parameter, mean_value in zip(learned, average, strict=False):
            parameter.copy_(mean_value)
    net.eval()
    return run


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
        for head, score in _by_head(scores, heads).items():
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


def _by_head(scores: Tensor | dict[str, Tensor], heads: list[str]) -> dict[str, Tensor]:
    """Scores by the name of their head; those of a net for one task have none."""
    return scores if isinstance(scores, dict) else {heads[0]: scores}


def _numbers(losses: list[float | Tensor], device: torch.device) -> list[float]:
    """The losses as numbers: those that still lie on the device come over together."""
    if all(isinstance(loss, float) for loss in losses):
        return [float(loss) for loss in losses]
    return torch.stack([torch.as_tensor(loss, device=device) for loss in losses]).tolist()


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """What ``train`` saved at ``path``. Raises ValueError where the file is no whole checkpoint."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception:  # torch raises a dozen kinds for a file that is cut short or foreign
        state = None
    if not isinstance(state, dict) or not {"identity", "net", "optimizer", "run", "losses"} <= state.keys():
        raise ValueError(f"{path}: no whole checkpoint of a run; remove it and start the run without --resume")
    return state
