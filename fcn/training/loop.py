"""Training and evaluation: one loop, checkpoints that resume bit for bit, one confusion matrix (section 4.3).

All randomness is a function of the seed and of a position: which image comes when, how it is mirrored, which units
drop out. A run that is killed and resumed therefore sees what an uninterrupted one sees, and no generator's state has
to be kept.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from fcn.data.sample import VOID, SegmentationDataset
from fcn.environment import atomic_write
from fcn.losses import balanced_weights
from fcn.models import FCN, LateFusion
from fcn.training.checkpoint import Stopped, read_checkpoint
from fcn.training.evaluate import launch_fabric, scored_heads
from fcn.training.loader import Positions, batches, mix
from fcn.training.optimizer import RunningMean, optimizer_for, prepare
from fcn.training.recipe import Recipe
from fcn.training.step import Step

CURVE_POINTS = 200  # about as many


class Diverged(ArithmeticError):
    """The loss is not finite any more."""




@dataclass
class Run:
    """What a training run has come to: where it stands and the loss on the way there.

    ``curve`` holds, for each stretch of steps, the step it ends at, the images seen by then, the mean loss of the
    stretch (of the heads together, in nats a pixel, or a batch where the recipe sums) and the learning rate at its end.
    """

    step: int
    steps: int
    images_seen: int
    seconds: float
    curve: list[dict[str, float]]


def train(
    net: FCN | LateFusion,
    dataset: SegmentationDataset,
    recipe: Recipe,
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
    """Train ``net`` in place on ``dataset`` as ``recipe`` says, and return how it went.

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
    heads = scored_heads(net, dataset)
    fabric = launch_fabric(device, recipe.precision)
    if recipe.batch_size % fabric.world_size:
        raise ValueError(f"batch_size {recipe.batch_size} does not divide among {fabric.world_size} processes")
    prepare(net, recipe)
    net.to(fabric.device).to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(net, optimizer_for(net, recipe, fused=fabric.device.type == "cuda"))
    average = RunningMean(net, recipe.average)

    steps = max(1, round(recipe.epochs * len(dataset) / recipe.batch_size))
    last = steps if stop_after is None else min(steps, stop_after)
    every = max(1, steps // CURVE_POINTS)
    run = Run(0, steps, 0, 0.0, [])
    losses: list[Tensor] = []  # since the last point of the curve
    identity = {"recipe": asdict(recipe), "seed": seed, "dataset": dataset.checksum, "net": net.settings}
    if resume:
        state = read_checkpoint(checkpoint, identity)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        average.load(state["average"])
        run = Run(**state["run"])
        losses = [torch.tensor(loss, device=fabric.device) for loss in state["losses"]]

    def save() -> None:
        if checkpoint is not None and fabric.is_global_zero:
            state = {"identity": identity, "net": net.state_dict(), "optimizer": optimizer.state_dict(),
                     "average": average.held, "run": asdict(run), "losses": _numbers(losses)}  # fmt: skip
            with atomic_write(checkpoint) as partial:
                torch.save(state, partial)

    model.train()
    weights = {head: fabric.to_device(w) for head, w in _balanced(dataset, heads).items()} if recipe.balance else None
    positions = Positions(run.step, last, recipe, fabric)
    supply = batches(dataset, recipe, seed, positions, pin_memory=device == "cuda")
    capture = capture and getattr(dataset, "one_size", False)
    step = Step(fabric, model, optimizer, recipe, heads, weights, positions.parts, log if capture else None)
    started = saved = time.perf_counter()
    earlier, first = run.seconds, run.step
    while run.step < last:
        rate = recipe.rate_at((run.step + 1) * recipe.batch_size / len(dataset))
        torch.manual_seed(mix(seed, run.step, fabric.global_rank + 1))  # dropout and loss sampling
        losses.append(step(supply, rate))
        average.update()
        run.step += 1
        run.images_seen += recipe.batch_size
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
                    f"{speed * recipe.batch_size:.1f} images/s  {(steps - run.step) / speed / 60:.0f} min left"
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














def _balanced(dataset: SegmentationDataset, heads: list[str]) -> dict[str, Tensor]:
    """The weights of each head's classes that make them count alike, from the labels of the whole data set."""
    pixels = {head: torch.zeros(len(dataset.heads[head]), dtype=torch.int64) for head in heads}
    for i in range(len(dataset)):
        labels = dataset[i].labels
        for head in heads:
            pixels[head] += torch.bincount(labels[head][labels[head] != VOID], minlength=len(pixels[head]))
    return {head: balanced_weights(counts) for head, counts in pixels.items()}




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


