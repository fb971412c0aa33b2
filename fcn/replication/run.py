"""From an experiment of the catalogue to a record: data, net, training, scores, files."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from fcn import environment as environment_module
from fcn import models
from fcn import models as models_module
from fcn.data.registry import dataset
from fcn.data.sample import SegmentationDataset
from fcn.environment import PROJECT, check_writable, folder_of, resolve_device
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.replication import released
from fcn.replication.experiment import Experiment
from fcn.training import checkpoint as checkpoint_module
from fcn.training import evaluate, loop, provenance
from fcn.training import record as records

SPLITS = {
    "final": ("trainval", "test"),
    "validation": ("train", "val"),
    "demonstration": ("train", "test"),
}


def heads_of(experiment: Experiment, data: SegmentationDataset) -> dict[str, tuple[str, ...]]:
    """The heads of the data set that the experiment trains and scores: all of them, or its one task."""
    return {head: names for head, names in data.heads.items() if experiment.task in ("", head)}


def build(experiment: Experiment, heads: dict[str, int]) -> FCN | LateFusion:
    """The experiment's net, its trunk and scores as they are before any weights are read."""
    e = experiment
    return models.build({
        "net": e.net, "stride": e.stride, "heads": heads, "alignment": e.alignment, "upsampling": e.upsampling,
        "width": e.width, "inputs": e.inputs, "fusion": e.fusion, "scaled_skips": e.scaled_skips,
    })  # fmt: skip


def initialise(
    net: FCN | LateFusion, experiment: Experiment, seed: int, out: Path
) -> records.InitialWeights | None:
    """Give ``net`` the weights that the experiment starts from, and say which they are.

    Raises FileNotFoundError, with the command that makes it, where the net of the stage before is missing.
    """
    if experiment.start:
        paths = [_net_of(start, experiment, seed, out) for start in experiment.start]
        net.upgrade_from(*map(models_module.load, paths))  # type: ignore[arg-type]
    elif experiment.initial_weights:
        paths = [folder_of(None, "FCN_WEIGHTS") / experiment.initial_weights]
        net.load_pretrained(paths[0])
    else:
        paths = []
    if experiment.random_scores:
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d) and name.rpartition(".")[2].startswith("score"):
                nn.init.normal_(layer.weight, std=0.01)
    if not paths:
        return None
    return records.InitialWeights(
        " + ".join(p.name for p in paths), " + ".join(map(environment_module.sha256, paths))
    )


def _net_of(start: str, experiment: Experiment, seed: int, out: Path) -> Path:
    """The net that the experiment ``start`` produced, from ``out`` or among those that the project ships."""
    name = f"{start}.seed{seed}.safetensors"
    for folder in (out, PROJECT / "weights"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{out / name}: {experiment.name} goes on from this net; make it first: python -m fcn train {start}"
    )


def run(
    experiment: Experiment,
    *,
    purpose: str = "final",
    data: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    out: Path = Path("runs"),
    results: Path = Path("results"),
    deviations: tuple[str, ...] = (),
    log: Callable[[str], None] = print,
    load: Callable[[str, str], SegmentationDataset] | None = None,
    **how: Any,
) -> Path:
    """Train, save, score and record ``experiment``; returns the record's path.

    ``out`` takes the checkpoint while it runs and the trained net at its end, in 16 bits: the net that is scored is
    the one that is kept. Nothing of the scored split is seen before. ``deviations`` are those of this run alone.
    ``load`` takes the place of ``dataset``, and ``how`` goes to ``fcn.training.train``: when to stop, say.

    Raises ValueError, before the training, where a folder takes no files and where this machine has no such ``device``.
    """
    device = resolve_device(device)
    if experiment.dataset == "scenes":
        purpose = "demonstration"
    load = load or partial(dataset, data=data)
    trained_on, scored_on = (load(experiment.dataset, split) for split in SPLITS[purpose])
    environment = provenance.environment(device)
    evaluate.seed_everything(seed)
    heads = heads_of(experiment, trained_on)
    net = build(experiment, {head: len(names) for head, names in heads.items()})
    initial = initialise(net, experiment, seed, out)
    check_writable(out, "--out")
    check_writable(results, "--results")
    stem = f"{experiment.name}.seed{seed}" + ("" if purpose == "final" else f".{purpose}")
    checkpoint = out / f"{stem}.checkpoint"
    with checkpoint_module.interruptible(log) as stop:
        done = loop.train(
            net,
            trained_on,
            experiment.recipe,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            log=log,
            **{"stop": stop} | how,
        )
    kept = out / f"{stem}.safetensors"
    if evaluate.is_main_process():
        models_module.save(net, kept, describe(trained_on, experiment.name, heads))
    evaluate.wait()
    net = models_module.load(kept)
    matrices = evaluate.evaluate(net, scored_on, device=device, log=log)
    inside = kept.resolve().is_relative_to(PROJECT / "weights")
    record = records.Record(
        experiment=experiment.name,
        purpose=purpose,
        paper=records.Paper(*experiment.paper) if experiment.paper else None,
        heads={head: records.Head.scored(names, matrices[head]) for head, names in heads.items()},
        recipe=asdict(experiment.recipe),
        seed=seed,
        images_seen=done.images_seen,
        curve=done.curve,
        dataset=records.Data(experiment.dataset, *(records.Split(d.split, len(d), d.checksum)
                                                   for d in (trained_on, scored_on))),
        initial_weights=initial,
        seconds=round(done.seconds, 1),
        deviations=experiment.deviations + deviations,
        weights=records.Weights(f"weights/{kept.name}", environment_module.sha256(kept)) if inside else None,
        **environment,
    )  # fmt: skip
    path = results / record.file_name
    if evaluate.is_main_process():
        path = records.write(record, results)
        checkpoint.unlink(missing_ok=True)
    return path


def describe(
    data: SegmentationDataset, experiment: str, heads: dict[str, tuple[str, ...]] | None = None
) -> dict[str, str]:
    """What a weight file says of itself beside its settings: the names of its classes, the data, the experiment."""
    return {
        "classes": json.dumps(heads or data.heads),
        "dataset": data.name,
        "experiment": experiment,
    }


def score(experiment: Experiment, file: Path, *, data: Path | None = None, device: str = "auto",
          purpose: str = "final", log: Callable[[str], None] | None = None) -> dict[str, ConfusionMatrix]:  # fmt: skip
    """The confusion matrix of each head of the net in ``file`` on the experiment's test split.

    ``file`` is a net of this package or, as a .caffemodel, one of the authors' release. Raises ValueError where the
    net's classes or inputs are not the data set's, or this machine has no such ``device``.
    """
    device = resolve_device(device)
    scored_on = dataset(experiment.dataset, SPLITS[purpose][1], data)
    net = (
        released.load(file, log or print)
        if file.suffix == ".caffemodel"
        else models_module.load(file)
    )
    expected = {head: len(names) for head, names in heads_of(experiment, scored_on).items()}
    if net.classes != expected:
        raise ValueError(
            f"{file}: a net for {net.classes}, but {experiment.dataset} has {expected}"
        )
    if net.settings["inputs"] != experiment.inputs:
        raise ValueError(
            f"{file}: a net of {net.settings['inputs']} images, not of those of {experiment.dataset}"
        )
    return evaluate.evaluate(net, scored_on, device=device, log=log)
