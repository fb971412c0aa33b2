"""The training loop (section 4.3).

All randomness is a function of the seed and a position: the order of the images, augmentation,
dropout. A run that is killed and resumed is therefore the same as one that is not, and no generator
state has to be saved.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fcn.data.sample import VOID, SegmentationDataset
from fcn.losses import balanced_weights, multi_head_loss
from fcn.models import FCN, LateFusion
from fcn.training.checkpoint import Stopped, read_checkpoint, write_checkpoint
from fcn.training.evaluate import by_head, launch_fabric, scored_heads
from fcn.training.gpu import Resident, captured_step
from fcn.training.loader import Batch, Positions, batches, mix
from fcn.training.optimizer import freeze, optimizer_for, set_rate
from fcn.training.recipe import Recipe
from fcn.training.record import Point

CURVE_POINTS = 200  # approximate


class Diverged(ArithmeticError):
    """Raised when the loss becomes NaN or infinite."""


@dataclass
class Run:
    """The progress of a run.

    ``curve`` has one point per stretch of steps: its last step, the images seen by then, the mean
    loss of the stretch (summed over heads; nats per pixel, or per batch if the recipe sums) and the
    learning rate at its end.
    """

    step: int
    steps: int
    images_seen: int
    seconds: float
    curve: list[Point]


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
    """Train ``net`` in place.

    Writes ``checkpoint`` every ``checkpoint_every`` seconds and at the end. With ``resume`` the run
    continues from it, on a CPU to the same bits as an uninterrupted run. ``stop_after`` ends the
    run after that many steps of its schedule. Under ``torchrun`` each process takes its share of
    every batch. ``capture`` launches each step as one CUDA graph, if the data set is on the device
    (:class:`~fcn.training.gpu.Resident`) and its images have one size.

    Raises Stopped, at a checkpoint, when ``stop`` returns True between two steps; Diverged when the
    loss is not finite; FileNotFoundError if there is no checkpoint to resume from; ValueError if it
    belongs to another run, if the classes of net and data set differ, or if the batch does not
    divide among the processes.
    """
    heads = scored_heads(net, dataset)
    fabric = launch_fabric(device, recipe.precision)
    if recipe.batch_size % fabric.world_size:
        raise ValueError(
            f"batch_size {recipe.batch_size} does not divide among {fabric.world_size} processes"
        )
    freeze(net, recipe)
    net.to(fabric.device).to(memory_format=torch.channels_last)
    fused = fabric.device.type == "cuda"
    model, optimizer = fabric.setup(net, optimizer_for(net, recipe, fused=fused))
    weights = [parameter.detach() for parameter in net.parameters()]
    averages = [weight.clone() for weight in weights] if recipe.ema else []
    update_averages = get_ema_multi_avg_fn(recipe.ema)

    steps = max(1, round(recipe.epochs * len(dataset) / recipe.batch_size))
    last = steps if stop_after is None else min(steps, stop_after)
    stretch = max(1, steps // CURVE_POINTS)
    run = Run(0, steps, 0, 0.0, [])
    losses: list[Tensor] = []  # of the stretch, on the device: reading them would make it wait
    identity = {
        "recipe": asdict(recipe),
        "seed": seed,
        "dataset": dataset.checksum,
        "net": net.settings,
    }
    if resume:
        state = read_checkpoint(checkpoint, identity)
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        for average, saved in zip(averages, state["ema"], strict=True):
            average.copy_(saved)
        run = Run(**state["run"])
        losses = [torch.tensor(loss, device=fabric.device) for loss in state["losses"]]

    def save() -> None:
        if checkpoint is not None and fabric.is_global_zero:
            state = {
                "net": net.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": averages,
                "run": asdict(run),
                "losses": _numbers(losses),
            }
            write_checkpoint(checkpoint, identity, state)

    class_weights = _class_weights(dataset, heads, fabric.device) if recipe.balance else None
    positions = Positions(run.step, last, recipe, fabric)
    parts = positions.parts  # of a batch of one process
    # Caffe adds the gradients of a batch; fabric averages them over processes.
    scale = fabric.world_size if recipe.reduction == "sum" else 1 / parts

    def train_step(batch: list[Batch]) -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros((), device=fabric.device)
        for i, (images, labels) in enumerate(batch):
            with fabric.no_backward_sync(model, enabled=i < len(batch) - 1):
                inputs = fabric.to_device(images).contiguous(memory_format=torch.channels_last)
                scores = by_head(model(inputs.float() / 255), heads)
                truth = {head: fabric.to_device(labels[head]) for head in heads}
                loss = multi_head_loss(
                    scores, truth, recipe.reduction, recipe.keep, weights=class_weights
                )
                fabric.backward(loss * scale)
                total += loss.detach()
        if recipe.clip:
            fabric.clip_gradients(model, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
        optimizer.step()
        return total if recipe.reduction == "sum" else total / parts

    step: Callable[[list[Batch]], Tensor] = train_step
    one_size = isinstance(dataset, Resident) and dataset.one_size
    if capture and one_size and parts == 1 and fabric.world_size == 1:
        step = captured_step(train_step, heads, optimizer, recipe.steady, log)

    model.train()
    supply = batches(dataset, recipe, seed, positions, pin_memory=device == "cuda")
    started = saved = time.perf_counter()
    earlier, first = run.seconds, run.step
    while run.step < last:
        rate = recipe.rate_at((run.step + 1) * recipe.batch_size / len(dataset))
        set_rate(optimizer, rate)
        torch.manual_seed(mix(seed, run.step, fabric.global_rank + 1))  # dropout, loss sampling
        losses.append(step([next(supply) for _ in range(parts)]))
        if averages:
            update_averages(averages, weights, None)
        run.step += 1
        run.images_seen += recipe.batch_size
        run.seconds = earlier + time.perf_counter() - started
        if run.step % stretch == 0 or run.step == steps:
            numbers = _numbers(losses)
            _check_finite(numbers, run, rate)
            losses.clear()
            mean = sum(numbers) / len(numbers)
            run.curve.append(
                {"step": run.step, "images": run.images_seen, "loss": mean, "learning_rate": rate}
            )
            if fabric.is_global_zero:
                speed = (run.step - first) / (run.seconds - earlier)
                log(
                    f"step {run.step}/{steps}  loss {mean:.4f}  rate {rate:.3g}  "
                    f"{speed * recipe.batch_size:.1f} images/s  "
                    f"{(steps - run.step) / speed / 60:.0f} min left"
                )
        if time.perf_counter() - saved > checkpoint_every:
            _check_finite(_numbers(losses), run, rate)  # never save what has diverged
            save()
            saved = time.perf_counter()
        if stop is not None and run.step < last and stop():
            save()
            raise Stopped(f"at step {run.step} of {steps}")
    save()
    if run.step == steps:
        for weight, average in zip(weights, averages, strict=False):
            weight.copy_(average)
    net.eval()
    return run


def _class_weights(
    dataset: SegmentationDataset, heads: list[str], device: torch.device
) -> dict[str, Tensor]:
    """The balanced weights of each head's classes, from the labels of the whole data set."""
    pixels = {head: torch.zeros(len(dataset.heads[head]), dtype=torch.int64) for head in heads}
    for i in range(len(dataset)):
        labels = dataset[i].labels
        for head, counts in pixels.items():
            found = labels[head][labels[head] != VOID].cpu()
            counts += torch.bincount(found, minlength=len(counts))
    return {head: balanced_weights(counts).to(device) for head, counts in pixels.items()}


def _numbers(losses: list[Tensor]) -> list[float]:
    """The losses as numbers, in one transfer from the device."""
    return torch.stack(losses).tolist() if losses else []


def _check_finite(losses: list[float], run: Run, rate: float) -> None:
    """Raise Diverged, naming the first of the last steps whose loss is not finite."""
    for ago, loss in zip(range(len(losses), 0, -1), losses, strict=True):
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {run.step - ago} of {run.steps}, at a learning rate "
                f"of {rate:g}: lower the rate, warm it up or clip the gradient"
            )
