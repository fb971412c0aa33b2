"""Run experiments: one with :func:`run`, many within a time budget with :func:`run_queue`."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fcn import models
from fcn.data.registry import dataset
from fcn.data.sample import SegmentationDataset
from fcn.environment import PROJECT, folder_of, resolve_device, sha256
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN, LateFusion
from fcn.replication import released
from fcn.replication.experiment import Experiment
from fcn.training.checkpoint import Stopped
from fcn.training.evaluate import evaluate
from fcn.training.gpu import Resident
from fcn.training.pipeline import train_and_record
from fcn.training.record import Data, Deviation, InitialWeights, Paper, Plan, Purpose

Log = Callable[[str], None]

SPLITS = {
    "final": ("trainval", "test"),
    "validation": ("train", "val"),
    "demonstration": ("train", "test"),
}


def run(
    experiment: Experiment,
    *,
    purpose: Purpose = "final",
    data: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    out: Path = Path("runs"),
    results: Path = Path("results"),
    deviations: tuple[Deviation, ...] = (),
    load: Callable[[str, str], SegmentationDataset] | None = None,
    **options: Any,
) -> Path:
    """Train, save and score ``experiment``; returns the path of its record.

    ``out`` receives the checkpoint and the net, ``results`` the record. ``deviations`` apply to
    this run alone. ``load`` replaces :func:`fcn.data.registry.dataset`. ``options`` are those of
    :func:`fcn.training.pipeline.train_and_record`: ``resume``, ``stop``, ``log`` ... Raises
    FileNotFoundError for missing data, weights or nets to start from, and what that raises.
    """
    device = resolve_device(device)
    if experiment.dataset == "scenes":
        purpose = "demonstration"
    load = load or partial(dataset, data=data)
    train_set, test_set = (load(experiment.dataset, split) for split in SPLITS[purpose])
    torch.manual_seed(seed)
    net = models.build(experiment.settings | {"heads": heads_of(experiment, train_set)})
    plan = Plan(
        experiment=experiment.name,
        purpose=purpose,
        paper=Paper(*experiment.paper) if experiment.paper else None,
        seed=seed,
        deviations=experiment.deviations + deviations,
        dataset=Data.of(experiment.dataset, train_set, test_set),
        initial_weights=initialize(net, experiment, seed, out),
        net=experiment.net_settings,
        recipe=asdict(experiment.recipe),
    )
    path = results / plan.file_name
    options |= {"weights": out / f"{path.stem}.safetensors", "results": results, "device": device}
    train_and_record(net, train_set, test_set, plan, **options)
    return path


def run_queue(
    experiments: Sequence[Experiment],
    seeds: Iterable[int] = (0,),
    *,
    minutes: float | None = None,
    purpose: Purpose = "final",
    data: Path | None = None,
    device: str = "auto",
    out: Path = Path("runs"),
    results: Path = Path("results"),
    log: Log = print,
    **options: Any,
) -> dict[str, str]:
    """Run the experiments in order, each with all seeds; returns the error of each failed run.

    Runs with a record are skipped, interrupted ones resume, a failed one is logged. When the
    ``minutes`` are up, the run stops at a checkpoint, from which the same call continues. On CUDA,
    data sets are resident, steps are captured as CUDA graphs, and convolutions are in bfloat16.
    ``options`` are those of :func:`run`. Raises ValueError for a missing device and for several
    processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a queue of runs needs a single process; under torchrun, name one run")
    device = resolve_device(device)
    cuda = device == "cuda"
    end = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    options |= {"load": lru_cache(maxsize=4)(partial(_resident if cuda else dataset, data=data))}
    options |= {"capture": cuda, "stop": lambda: time.monotonic() >= end, "log": log}
    options |= {"purpose": purpose, "device": device, "out": out, "results": results}
    failed: dict[str, str] = {}
    for e, seed in product(experiments, seeds):
        stem = _stem(e, seed, purpose)
        if (results / f"{stem}.json").is_file():
            log(f"{stem}: has a record, skipped")
            continue
        if time.monotonic() >= end:
            log(f"{stem}: not started, time is up")
            break
        resume = (out / f"{stem}.checkpoint").is_file()
        log(f"{stem}: {'resumed' if resume else 'started'}")
        if cuda:
            e = replace(e, recipe=replace(e.recipe, precision="bf16-mixed"))
            # The search for the fastest algorithm pays if all images have one size.
            torch.backends.cudnn.benchmark = e.dataset == "sift-flow"
            options["checkpoint_every"] = 45.0  # seconds: borrowed GPUs go without notice
        try:
            path = run(e, seed=seed, resume=resume, **options)
            log(f"{stem}: wrote the record {path}")
        except Stopped as stopped:
            log(f"{stem}: stopped {stopped}; the same command continues")
            break
        except Exception as error:  # one failed run does not end the queue
            failed[stem] = " ".join(str(error).split())
            log(f"{stem}: failed: {failed[stem]}")
    return failed


def score(
    experiment: Experiment,
    file: Path,
    *,
    data: Path | None = None,
    device: str = "auto",
    purpose: Purpose = "final",
) -> dict[str, ConfusionMatrix]:
    """The confusion matrix of each head of a net on the test split of ``experiment``.

    ``file`` is a net of this package or a .caffemodel of the authors' release. Raises ValueError
    for a net with other classes or inputs than the data set, and for a missing device.
    """
    device = resolve_device(device)
    test_set = dataset(experiment.dataset, SPLITS[purpose][1], data)
    net = released.load(file, print) if file.suffix == ".caffemodel" else models.load(file)
    expected = heads_of(experiment, test_set)
    if net.classes != expected:
        raise ValueError(f"{file}: scores {net.classes}, but {experiment.dataset} has {expected}")
    if (inputs := net.settings["inputs"]) != experiment.inputs:
        raise ValueError(f"{file}: takes {inputs} images, unlike {experiment.dataset}")
    return evaluate(net, test_set, device=device)


def heads_of(experiment: Experiment, data: SegmentationDataset) -> dict[str, int]:
    """The classes of each head that the experiment trains: all of the data set's, or its task."""
    return {h: len(names) for h, names in data.heads.items() if experiment.task in ("", h)}


def initialize(
    net: FCN | LateFusion, experiment: Experiment, seed: int, out: Path
) -> InitialWeights | None:
    """Load the weights that the experiment starts from; returns their names and checksums.

    Raises FileNotFoundError, with the command to run, if a net to start from is missing.
    """
    paths: list[Path] = []
    if experiment.start:
        paths = [_net_of(start, experiment, seed, out) for start in experiment.start]
        net.upgrade_from(*map(models.load, paths))  # type: ignore[arg-type]
    elif experiment.initial_weights:
        paths = [folder_of(None, "FCN_WEIGHTS") / experiment.initial_weights]
        net.load_pretrained(paths[0])
    if experiment.random_scores:
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d) and name.rpartition(".")[2].startswith("score"):
                nn.init.normal_(layer.weight, std=0.01)
    if not paths:
        return None
    return InitialWeights(" + ".join(p.name for p in paths), " + ".join(map(sha256, paths)))


def _net_of(start: str, experiment: Experiment, seed: int, out: Path) -> Path:
    """The net of the experiment ``start``, in ``out`` or among the project's weights."""
    nets = [folder / f"{start}.seed{seed}.safetensors" for folder in (out, PROJECT / "weights")]
    if found := [net for net in nets if net.is_file()]:
        return found[0]
    advice = f"{experiment.name} starts from this net; first run python -m fcn train {start}"
    raise FileNotFoundError(f"{nets[0]}: {advice}")


def _stem(experiment: Experiment, seed: int, purpose: Purpose) -> str:
    if experiment.dataset == "scenes":
        purpose = "demonstration"
    return f"{experiment.name}.seed{seed}" + ("" if purpose == "final" else f".{purpose}")


def _resident(name: str, split: str, data: Path | None) -> SegmentationDataset:
    """The data set on the GPU, if it has three channels."""
    data_set = dataset(name, split, data, cache=False)
    if name.startswith("nyud-") and name != "nyud-rgb":
        return data_set
    return Resident(data_set, "cuda")
