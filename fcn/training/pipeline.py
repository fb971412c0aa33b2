"""From a net and its data to a record: train, save, evaluate the saved net, write the record."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from fcn import models
from fcn.data.sample import SegmentationDataset
from fcn.environment import PROJECT, atomic_write, check_writable, is_main_process, sha256
from fcn.models import FCN, LateFusion
from fcn.training import provenance, record, signals
from fcn.training.checkpoint import exclusive
from fcn.training.distributed import broadcast
from fcn.training.evaluate import evaluate, scored_heads
from fcn.training.gpu import Resident
from fcn.training.loop import train
from fcn.training.memory import in_memory
from fcn.training.recipe import Recipe
from fcn.training.record import Head, Plan, Record, Weights


def train_and_record(
    net: FCN | LateFusion,
    train_set: SegmentationDataset,
    test_set: SegmentationDataset,
    plan: Plan,
    *,
    weights: Path,
    results: Path,
    device: str,
    metadata: dict[str, str] | None = None,
    identity: Mapping[str, Any] = {},
    held_out: Sequence[str] = (),
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = print,
    **options: Any,
) -> Record:
    """Train ``net``, save it as ``weights``, evaluate that file, write the record to ``results``.

    Seed torch before building the net. ``weights`` is a .safetensors file; ``metadata`` is added to
    it. The checkpoint is next to it until the record is written; ``identity`` is what it must agree
    with beyond what ``plan`` and ``train_set`` tell. ``held_out``: names that are listed next to
    it, too. ``options`` are those of :func:`~fcn.training.loop.train`: ``checkpoint_every``,
    ``capture``.

    Raises what ``train`` raises; ``signals.Interrupted``, at a checkpoint, on a signal; before it,
    ValueError for a folder that is not writable, OSError for a checkpoint without ``resume``, for
    an earlier record and if another process has the run; ValueError, and nothing is saved, if the
    net has learned nothing (a demonstration of two steps may).
    """
    if not isinstance(test_set, Resident):
        test_set = in_memory(test_set)  # if it fits, all files are read: bad ones are found now
    check_writable(weights.parent, "--out")
    check_writable(results, "--results")
    environment = provenance.environment(device)
    heads = {head: train_set.heads[head] for head in scored_heads(net, train_set)}
    checkpoint = weights.with_suffix(".checkpoint")
    alone = exclusive(checkpoint) if is_main_process() else nullcontext()
    with alone, signals.interruptible() as interrupted:

        def stopping() -> bool:
            return interrupted() or stop()

        earlier = results / plan.file_name  # by another process, perhaps, until a moment ago
        if broadcast(earlier.is_file(), device):
            raise FileExistsError(f"{earlier}: exists; to run it anew, move that file")
        if broadcast(checkpoint.is_file() and not resume, device):
            raise FileExistsError(f"{checkpoint}: exists; continue it with --resume, or delete it")
        start = plan.initial_weights
        run = train(
            net,
            train_set,
            Recipe(**plan.recipe),
            seed=plan.seed,
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            stop=stopping,
            log=log,
            identity={
                "start": start and start.name,
                "start weights": start and start.checksum,
                "class names": heads,
                "images and labels": train_set.contents,
                **identity,
            },
            **options,
        )
        if plan.purpose != "demonstration" and not has_learned(net):
            if is_main_process():
                checkpoint.unlink(missing_ok=True)
            raise ValueError(
                f"{weights}: not saved, for its score layers are still zero after {run.step} "
                "steps; train longer or at a higher rate"
            )
        if is_main_process():
            about = {"dataset": train_set.name, "experiment": plan.experiment}
            models.save(net, weights, {"classes": json.dumps(heads)} | about | (metadata or {}))
        broadcast(None, device)  # the others wait until it is saved
        matrices = evaluate(
            models.load(weights),
            test_set,
            device=device,
            log=log,
            stop=stopping,
        )
        kept = weights.resolve()
        entries = dict(plan)
        if kept.is_relative_to(PROJECT / "weights"):
            entries["weights"] = Weights(kept.relative_to(PROJECT).as_posix(), sha256(kept))
        written = Record(
            **entries,
            images_seen=run.images_seen,
            seconds=round(run.seconds, 1),
            heads={head: Head.scored(names, matrices[head]) for head, names in heads.items()},
            curve=run.curve,
            execution=run.execution,
            **environment,
        )
        if is_main_process():
            if held_out:
                with atomic_write(weights.with_suffix(".held-out.txt")) as partial:
                    partial.write_text("".join(f"{name}\n" for name in held_out), encoding="utf-8")
            record.write(written, results)  # the last file: with it, a run is finished
            checkpoint.unlink(missing_ok=True)
    return written


def has_learned(net: FCN | LateFusion) -> bool:
    """False if all score layers are zero in 16 bits, as before training: one class everywhere."""
    return any(
        bool(parameter.half().any())
        for name, parameter in net.named_parameters()
        if name.split(".")[-2].startswith("score")
    )
