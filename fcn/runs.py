"""From an experiment of the catalogue to a record: data, net, training, scores, files."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fcn import models, records, reference, training, weights
from fcn.datasets import SegmentationDataset, validation_part
from fcn.datasets.nyud import INPUTS, Nyud
from fcn.datasets.pascal_context import PascalContext
from fcn.datasets.sbd import Sbd
from fcn.datasets.scenes import Scenes
from fcn.datasets.sift_flow import SiftFlow
from fcn.datasets.voc import Voc
from fcn.experiments import Experiment
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion

PROJECT = Path(__file__).parents[1]
SPLITS = {"final": ("trainval", "test"), "validation": ("train", "val"), "demonstration": ("train", "test")}
DATASETS = (
    "sift-flow", "scenes", "voc", "voc-2011-labels", "voc2011", "voc-subset", "pascal-context-59", "pascal-context-33",
    *(f"nyud-{inputs}" for inputs in INPUTS),
)  # fmt: skip


Loader = Callable[..., SegmentationDataset]
"""Makes a data set, of the photos given as ``names`` or of all of its split."""


def dataset(name: str, split: str, data: Path | None = None, *, cache: bool = True) -> SegmentationDataset:
    """The data set ``name`` from its folder below ``data``, by default below the folder that FCN_DATA names.

    ``split``: ``trainval`` and ``test``, what final runs train and are scored on, or ``train`` and ``val``, the two
    parts of ``trainval``. The names are those of the catalogue; ``voc-subset`` is the part of VOC 2012 named in its
    lists ``train_with_photos`` and ``val_with_photos``. SIFT Flow is decoded once and kept in memory, by ``cache``.

    Raises FileNotFoundError where the folder is missing, and ValueError for a data set that has no loader.
    """
    if name == "scenes":
        return Scenes(800 if split == "train" else 100, split=split)
    if name not in DATASETS:
        raise ValueError(f'data set "{name}" has no loader; choose one of {", ".join(DATASETS)}')
    folder = _folder(data, "FCN_DATA", "--data")
    if name == "sift-flow":
        return SiftFlow(folder / name, split, cache=cache)
    if name.startswith("nyud-"):
        return Nyud(folder / "nyud", split, name.removeprefix("nyud-"))
    trained_on, scored_on = _pascal(name, folder)
    if split == "test":
        return scored_on()
    whole = trained_on()
    if split == "trainval":
        return whole
    held_out = validation_part(whole.names)
    part = trained_on(names=[n for n in whole.names if (n in held_out) == (split == "val")])
    part.split = f"{whole.split}, " + ("the tenth held out" if split == "val" else "without the tenth held out")
    return part


def _pascal(name: str, folder: Path) -> tuple[Loader, Loader]:
    """What makes the training and the scored part of a data set of PASCAL's photos."""
    years = folder / "pascal" / "VOCdevkit"

    def voc(year: int, split: str) -> Loader:
        return partial(Voc, years / f"VOC{year}", split)

    def context(split: str) -> Loader:
        task = int(name.removeprefix("pascal-context-"))
        return partial(PascalContext, folder / "pascal-context", split, task, voc=years / "VOC2010")

    if name.startswith("pascal-context-"):
        return context("train"), context("val")
    if name == "voc2011":
        return voc(2011, "train"), voc(2011, "val")
    if name == "voc-subset":
        return voc(2012, "train_with_photos"), voc(2012, "val_with_photos")
    labels_of = 2011 if name == "voc-2011-labels" else 2012
    return partial(Sbd, folder / "sbd" / "benchmark_RELEASE" / "dataset", "train"), voc(labels_of, "seg11valid")


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


def initialise(net: FCN | LateFusion, experiment: Experiment, seed: int, out: Path) -> records.InitialWeights | None:
    """Give ``net`` the weights that the experiment starts from, and say which they are.

    Raises FileNotFoundError, with the command that makes it, where the net of the stage before is missing.
    """
    if experiment.start:
        paths = [_net_of(start, experiment, seed, out) for start in experiment.start]
        net.upgrade_from(*map(weights.load_model, paths))  # type: ignore[arg-type]
    elif experiment.initial_weights:
        paths = [_folder(None, "FCN_WEIGHTS") / experiment.initial_weights]
        net.load_pretrained(paths[0])
    else:
        paths = []
    if experiment.random_scores:
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d) and name.rpartition(".")[2].startswith("score"):
                nn.init.normal_(layer.weight, std=0.01)
    if not paths:
        return None
    return records.InitialWeights(" + ".join(p.name for p in paths), " + ".join(map(weights.sha256, paths)))


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
    departures: tuple[str, ...] = (),
    log: Callable[[str], None] = print,
    load: Callable[[str, str], SegmentationDataset] | None = None,
    **how: Any,
) -> Path:
    """Train, save, score and record ``experiment``; returns the record's path.

    ``out`` takes the checkpoint while it runs and the trained net at its end, in 16 bits: the net that is scored is
    the one that is kept. Nothing of the scored split is seen before. ``departures`` are those of this run alone.
    ``load`` takes the place of ``dataset``, and ``how`` goes to ``fcn.training.train``: when to stop, say.

    Raises ValueError, before the training, where a folder takes no files and where this machine has no such ``device``.
    """
    device = checked_device(device)
    if experiment.dataset == "scenes":
        purpose = "demonstration"
    load = load or partial(dataset, data=data)
    trained_on, scored_on = (load(experiment.dataset, split) for split in SPLITS[purpose])
    environment = records.environment(device)
    training.seed_everything(seed)
    heads = heads_of(experiment, trained_on)
    net = build(experiment, {head: len(names) for head, names in heads.items()})
    initial = initialise(net, experiment, seed, out)
    writable(out, "--out")
    writable(results, "--results")
    stem = f"{experiment.name}.seed{seed}" + ("" if purpose == "final" else f".{purpose}")
    checkpoint = out / f"{stem}.checkpoint"
    with training.interruptible(log) as stop:
        done = training.train(
            net,
            trained_on,
            experiment.solver,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            resume=resume,
            log=log,
            **{"stop": stop} | how,
        )
    kept = out / f"{stem}.safetensors"
    if training.is_main_process():
        weights.save(net, kept, describe(trained_on, experiment.name, heads))
    training.wait()
    net = weights.load_model(kept)
    matrices = training.evaluate(net, scored_on, device=device, log=log)
    inside = kept.resolve().is_relative_to(PROJECT / "weights")
    record = records.Record(
        experiment=experiment.name,
        purpose=purpose,
        paper=records.Paper(*experiment.paper) if experiment.paper else None,
        heads={head: records.Head.scored(names, matrices[head]) for head, names in heads.items()},
        solver=asdict(experiment.solver),
        seed=seed,
        images_seen=done.images_seen,
        curve=done.curve,
        dataset=records.Data(experiment.dataset, *(records.Split(d.split, len(d), d.checksum)
                                                   for d in (trained_on, scored_on))),
        initial_weights=initial,
        seconds=round(done.seconds, 1),
        departures=experiment.departures + departures,
        weights=records.Weights(f"weights/{kept.name}", weights.sha256(kept)) if inside else None,
        **environment,
    )  # fmt: skip
    path = results / record.file_name
    if training.is_main_process():
        path = records.write(record, results)
        checkpoint.unlink(missing_ok=True)
    return path


def describe(
    data: SegmentationDataset, experiment: str, heads: dict[str, tuple[str, ...]] | None = None
) -> dict[str, str]:
    """What a weight file says of itself beside its settings: the names of its classes, the data, the experiment."""
    return {"classes": json.dumps(heads or data.heads), "dataset": data.name, "experiment": experiment}


def score(experiment: Experiment, file: Path, *, data: Path | None = None, device: str = "auto",
          purpose: str = "final", log: Callable[[str], None] | None = None) -> dict[str, ConfusionMatrix]:  # fmt: skip
    """The confusion matrix of each head of the net in ``file`` on the experiment's test split.

    ``file`` is a net of this package or, as a .caffemodel, one of the authors' release. Raises ValueError where the
    net's classes or inputs are not the data set's, or this machine has no such ``device``.
    """
    device = checked_device(device)
    scored_on = dataset(experiment.dataset, SPLITS[purpose][1], data)
    net = reference.load(file, log or print) if file.suffix == ".caffemodel" else weights.load_model(file)
    expected = {head: len(names) for head, names in heads_of(experiment, scored_on).items()}
    if net.classes != expected:
        raise ValueError(f"{file}: a net for {net.classes}, but {experiment.dataset} has {expected}")
    if net.settings["inputs"] != experiment.inputs:
        raise ValueError(f"{file}: a net of {net.settings['inputs']} images, not of those of {experiment.dataset}")
    return training.evaluate(net, scored_on, device=device, log=log)


def checked_device(name: str) -> str:
    """The device as torch calls it. Raises ValueError where there is none of that name on this machine."""
    found = torch.accelerator.current_accelerator(check_available=True)
    here = {"cpu": "cpu", "auto": found.type if found else "cpu"} | ({found.type: found.type} if found else {})
    if name not in here:
        raise ValueError(f"--device {name}: not on this machine; choose one of {', '.join(here)}")
    return here[name]


def writable(folder: Path, option: str) -> None:
    """Make ``folder`` where it is missing. Raises ValueError, naming it and ``option``, where it takes no files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"{folder}: cannot be written to ({error.strerror}); name another folder with {option}"
        ) from None


def _folder(given: Path | None, variable: str, option: str = "") -> Path:
    path = given or (Path(os.environ[variable]) if os.environ.get(variable) else None)
    mend = f"name it with {option}, or set {variable}" if option else f"set {variable} to the folder of the weights"
    if path is None:
        raise FileNotFoundError(f"no folder given: {mend}")
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; {mend}")
    return path
