"""From a net and its data to a record: train, save, evaluate the saved net, write the record."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcn import models
from fcn.data.sample import SegmentationDataset
from fcn.environment import PROJECT, check_writable, resolve_device, sha256
from fcn.models import FCN, LateFusion
from fcn.training import provenance, record
from fcn.training.checkpoint import interruptible
from fcn.training.evaluate import evaluate, is_main_process, scored_heads, wait
from fcn.training.loop import train
from fcn.training.recipe import Recipe
from fcn.training.record import Data, Deviation, Head, InitialWeights, Paper, Record, Split, Weights


def train_and_record(
    net: FCN | LateFusion,
    train_set: SegmentationDataset,
    test_set: SegmentationDataset,
    recipe: Recipe,
    *,
    experiment: str,
    purpose: record.Purpose,
    dataset: str,
    net_settings: dict[str, Any],
    initial_weights: InitialWeights | None,
    deviations: tuple[Deviation, ...],
    weights: Path,
    results: Path,
    paper: Paper | None = None,
    metadata: dict[str, str] | None = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    checkpoint_every: float = 120.0,
    capture: bool = False,
    stop: Callable[[], bool] | None = None,
    log: Callable[[str], None] = print,
) -> Record:
    """Train ``net``, save it as ``weights``, evaluate that file, write the record to ``results``.

    Seed torch before building the net. ``weights`` is a .safetensors file; ``metadata`` is added to
    it. The checkpoint is next to it until the record is written. ``resume``, ``checkpoint_every``,
    ``capture`` and ``stop`` are those of :func:`~fcn.training.loop.train`; the other settings go
    into the record.

    Raises what ``train`` raises; ValueError, before it, for a folder that is not writable.
    """
    device = resolve_device(device)
    check_writable(weights.parent, "--out")
    check_writable(results, "--results")
    environment = provenance.environment(device)
    heads = {head: train_set.heads[head] for head in scored_heads(net, train_set)}
    checkpoint = weights.with_suffix(".checkpoint")
    with interruptible(log) as interrupted:
        run = train(
            net,
            train_set,
            recipe,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            checkpoint_every=checkpoint_every,
            capture=capture,
            stop=lambda: interrupted() or (stop is not None and stop()),
            log=log,
        )
    if is_main_process():
        about = {"dataset": train_set.name, "experiment": experiment}
        models.save(net, weights, {"classes": json.dumps(heads)} | about | (metadata or {}))
    wait()
    matrices = evaluate(models.load(weights), test_set, device=device, log=log)
    kept = weights.resolve()
    written = Record(
        experiment=experiment,
        purpose=purpose,
        paper=paper,
        seed=seed,
        deviations=deviations,
        dataset=Data(dataset, *(Split(d.split, len(d), d.checksum) for d in (train_set, test_set))),
        initial_weights=initial_weights,
        weights=Weights(kept.relative_to(PROJECT).as_posix(), sha256(kept))
        if kept.is_relative_to(PROJECT / "weights")
        else None,
        net=net_settings,
        recipe=asdict(recipe),
        images_seen=run.images_seen,
        seconds=round(run.seconds, 1),
        heads={head: Head.scored(names, matrices[head]) for head, names in heads.items()},
        curve=run.curve,
        **environment,
    )
    if is_main_process():
        record.write(written, results)
        checkpoint.unlink(missing_ok=True)
    return written
