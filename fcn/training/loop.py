"""The training loop (section 4.3).

All randomness is a function of the seed and a position: the order of the images, augmentation,
dropout. A run that is killed and resumed therefore equals one that is not, and no generator state
has to be saved.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fcn.data.augment import augmentation
from fcn.data.sample import SegmentationDataset
from fcn.losses import balanced_weights, multi_head_loss
from fcn.models import FCN, LateFusion
from fcn.training.checkpoint import Stopped, damaged, read_checkpoint, write_checkpoint
from fcn.training.distributed import agree, all_reduce, broadcast, launch_fabric
from fcn.training.evaluate import by_head, scored_heads
from fcn.training.execution import FORMATS, executed, executed_precision, memory_format
from fcn.training.features import Features, LaterLayers
from fcn.training.gpu import Resident, Step, captured_step, loading_processes, pins_memory
from fcn.training.loader import (
    Batch,
    Loader,
    SizedLoader,
    load_batch,
    load_sized,
    load_step,
    mix,
    pixels_per_class,
    prefetch,
    splits_parts,
)
from fcn.training.memory import in_memory
from fcn.training.optimizer import optimizer_for, set_rate
from fcn.training.recipe import Recipe
from fcn.training.record import Execution, Point

CURVE_POINTS = 200  # approximate


class Diverged(ArithmeticError):
    """Raised when the loss becomes NaN or infinite."""


@dataclass
class Run:
    """The progress of a run.

    ``curve`` has one point per stretch of steps: its last step, the images seen by then, the mean
    loss of the stretch (summed over heads; nats per pixel, or per batch if the recipe sums) and the
    learning rate at its end. ``execution`` is null in checkpoints of older versions.
    """

    step: int
    images_seen: int
    seconds: float
    curve: list[Point]
    execution: Execution | None = None


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
    stop: Callable[[], bool] = lambda: False,
    capture: bool = False,
    identity: Mapping[str, Any] = {},
    workers: int | None = None,
) -> Run:
    """Train ``net`` in place; under ``torchrun``, several processes share every batch.

    Writes ``checkpoint`` every ``checkpoint_every`` seconds and at the end; with ``resume`` the run
    continues from it, if it exists, bit for bit on a CPU. ``identity`` says what else a checkpoint
    must agree with: the start weights, the content of the data set. ``capture`` launches each step
    as one CUDA graph, if the data set is :class:`~fcn.training.gpu.Resident`, has images of one
    size and is not shared among processes. ``workers`` are the processes that load the data (see
    :func:`~fcn.training.gpu.loading_processes`); the result is the same for any number. Precision
    and memory format are those that suit the machine, see ``fcn.training.execution``.

    Several processes compute the gradient and the loss that one would, on any number of nodes, even
    if their shares of a batch differ. Three things depend on the number of processes: the order of
    summation, and so rounding; dropout and sampled cells (``keep``), which each process draws for
    itself; and the padding of photos of different sizes, to the largest of a process's share.

    Raises Stopped, at a checkpoint and in all processes, when ``stop`` returns True in one;
    Diverged; ValueError if the checkpoint belongs to another run, if the classes of net and data
    set differ, if the augmentation is unknown, or if there are too many processes to share a batch.
    """
    augmentation(recipe.augment)
    heads = scored_heads(net, dataset)
    unused = net.settings.get("fusion") == "finest"  # the layers above the skip
    steps = max(1, round(recipe.epochs * len(dataset) / recipe.batch_size))
    stretch = max(1, steps // CURVE_POINTS)
    run, state = Run(0, 0, 0.0, []), None
    agreed = {"recipe": asdict(recipe), "seed": seed, "net": net.settings}
    agreed |= {"list of images": dataset.checksum, **identity}
    if recipe.schedule != "fixed" or recipe.warmup:  # in older versions, of its end
        agreed["rate of a step"] = "of its middle"
    if checkpoint is not None and broadcast(resume and checkpoint.is_file(), device):
        state = read_checkpoint(checkpoint, agreed)
        with damaged(checkpoint):
            run = TypeAdapter(Run).validate_python(state["run"], strict=False)

    began = run.execution
    precision = executed_precision(began.precision if began else recipe.precision, device, log)
    fabric = launch_fabric(device, precision, unused)
    processes, rank = fabric.world_size, fabric.global_rank
    split = splits_parts(recipe, processes)
    net.to(fabric.device).train()
    optimizer = optimizer_for(net, recipe)
    part = (recipe.micro_batch or recipe.batch_size) // (processes if split else 1)
    layout = began.memory_format if began else memory_format(net, dataset, steps, part, fabric, log)
    net.to(memory_format=FORMATS[layout])
    run.execution = executed(began.precision if began else precision, layout, fabric.device)
    trained = LaterLayers(net, recipe.frozen) if recipe.frozen else net
    model, optimizer = fabric.setup(trained, optimizer)
    weights = [parameter.detach() for parameter in net.parameters()]
    averages = [weight.clone() for weight in weights] if recipe.ema else []
    update_averages = get_ema_multi_avg_fn(recipe.ema)
    losses: list[Tensor] = []  # of the stretch, on the device: reading them would make it wait
    if checkpoint is not None and state is not None:
        with damaged(checkpoint):
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
            for average, kept in zip(averages, state["ema"], strict=True):
                average.copy_(kept)
            known = [float(loss) if rank == 0 else 0.0 for loss in state["losses"]]  # to be summed
            losses = [torch.tensor(loss, device=fabric.device) for loss in known]

    def read_losses() -> list[float]:  # in one transfer from the device
        if not losses:
            return []
        sums = torch.stack(losses)
        numbers: list[float] = (all_reduce(sums) if processes > 1 else sums).tolist()
        for ago, loss in zip(range(len(numbers), 0, -1), numbers, strict=True):
            if not math.isfinite(loss):
                raise diverged(f"loss is {loss}", run.step - ago)
        return numbers

    def diverged(what: str, updates: int) -> Diverged:
        if not updates:
            return Diverged(f"the {what} before the first step: check the weights it starts from")
        rate = recipe.rate_of(updates, steps)
        place = f"at step {updates} of {steps}, at a learning rate of {rate:g}"
        return Diverged(f"the {what} {place}: lower the rate")

    def save() -> None:
        numbers = read_losses()  # never save what has diverged
        if not all(weight.half().isfinite().all() for weight in weights):
            raise diverged("weights are NaN or beyond 16 bits", run.step)
        if checkpoint is not None and fabric.is_global_zero:
            state = {
                "net": net.state_dict(),
                "optimizer": optimizer.state_dict(),
                "ema": averages,
                "run": asdict(run),
                "losses": numbers,
            }
            write_checkpoint(checkpoint, agreed, state)

    resident = dataset if isinstance(dataset, Resident) else None
    workers = loading_processes(dataset, fabric.device, workers)
    if not resident and not workers and (steps - run.step) * recipe.batch_size >= len(dataset):
        dataset = in_memory(dataset)
    earlier, counting = run.seconds, time.perf_counter()
    pixels = pixels_per_class(dataset, log) if recipe.balance else {}
    class_weights = {
        head: balanced_weights(counts, recipe.balance).to(fabric.device)
        for head, counts in pixels.items()
    }
    earlier += time.perf_counter() - counting

    parts = recipe.batch_size // (recipe.micro_batch or recipe.batch_size)
    divisor = 1 if recipe.reduction == "sum" else parts
    options: dict[str, Any] = {"reduction": recipe.reduction, "keep": recipe.keep}
    options |= {"weights": class_weights} | ({"all_reduce": all_reduce} if split else {})

    def train_step(batch: list[Batch]) -> Tensor:  # gradients accumulate over parts of a batch
        # A mean is the mean of the parts' means, as in Caffe. Fabric averages over processes.
        optimizer.zero_grad()
        total = torch.zeros((), device=fabric.device)
        for i, (images, labels) in enumerate(batch):
            with fabric.no_backward_sync(model, enabled=i < len(batch) - 1):
                truth = {head: fabric.to_device(labels[head]) for head in heads}
                inputs: Any = fabric.to_device(images)
                if recipe.frozen:
                    scores = model(inputs, labels[heads[0]].shape[-2:], False)
                else:
                    inputs = inputs.contiguous(memory_format=FORMATS[layout])
                    scores = model(inputs.float() / 255, False)
                loss = multi_head_loss(by_head(scores, heads), truth, **options)
                fabric.backward(loss * (processes / divisor))
                total += loss.detach()
        if recipe.clip:
            fabric.clip_gradients(model, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
        optimizer.step()
        return total / divisor

    step: Step = train_step
    if capture and parts == processes == 1 and resident and resident.one_size:
        step = captured_step(train_step, heads, optimizer, log)

    model.train()
    load: Loader = resident.batch if resident else partial(load_batch, dataset)
    load_half: SizedLoader = partial(load_sized, load)
    if isinstance(trained, LaterLayers):
        own = (load_half, len(dataset), fabric.device, fabric.autocast)
        load_half, workers = Features(trained, *own).batch, 0
    load_mine = partial(load_step, load_half, len(dataset), recipe, seed, rank, processes)
    pin = pins_memory(dataset, fabric.device, features=bool(recipe.frozen))
    started = saved = time.perf_counter()
    before, first = run.seconds, run.step
    with closing(prefetch(load_mine, range(run.step, steps), workers, pin)) as batches:
        for batch in batches:
            rate = recipe.rate_of(run.step + 1, steps)
            set_rate(optimizer, rate)
            torch.manual_seed(mix(seed, run.step, rank + 1))  # dropout, loss sampling
            losses.append(step(batch))
            if averages:
                update_averages(averages, weights, None)
            run.step += 1
            run.images_seen += recipe.batch_size
            run.seconds = earlier + time.perf_counter() - started
            if run.step % stretch == 0 or run.step == steps:
                numbers = read_losses()
                losses.clear()
                mean = sum(numbers) / len(numbers)
                run.curve.append(
                    {
                        "step": run.step,
                        "images": run.images_seen,
                        "loss": mean,
                        "learning_rate": rate,
                    }
                )
                if fabric.is_global_zero:
                    speed = (run.step - first) / (run.seconds - before)
                    log(
                        f"step {run.step}/{steps}  loss {mean:.4f}  rate {rate:.3g}  "
                        f"{speed * recipe.batch_size:.1f} images/s  "
                        f"{(steps - run.step) / speed / 60:.0f} min left"
                    )
            if run.step == steps:
                break
            due = time.perf_counter() - saved > checkpoint_every
            due, stopping = agree(fabric, due, stop())
            if due or stopping:
                try:
                    save()
                except OSError as error:  # on a full disk, perhaps for a while
                    if stopping:
                        raise
                    log(f"no checkpoint at step {run.step}, training continues: {error}")
                saved = time.perf_counter()
            if stopping:
                fabric.barrier()  # no process ends before the checkpoint is written
                raise Stopped(f"at step {run.step} of {steps}")
    try:
        save()
    except OSError as error:  # a full disk may have room for the net
        log(f"no checkpoint of the last step: {error}")
    for weight, average in zip(weights, averages, strict=False):  # no averages without EMA
        weight.copy_(average)
    net.eval()
    return run
