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
from fcn.environment import (
    KEPT_NETS,
    check_writable,
    folder_of,
    is_main_process,
    resolve_device,
    sha256,
)
from fcn.models import FCN, LateFusion
from fcn.replication import released
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.experiment import Experiment
from fcn.training import signals
from fcn.training.checkpoint import Stopped, tidy
from fcn.training.distributed import broadcast, processes
from fcn.training.evaluate import evaluate
from fcn.training.gpu import Resident
from fcn.training.pipeline import train_and_record
from fcn.training.record import Data, Deviation, Head, InitialWeights, Paper, Plan, Purpose

Log = Callable[[str], None]

SPLITS = {
    "final": ("trainval", "test"),
    "validation": ("train", "val"),
    "demonstration": ("train", "test"),
}


def run(
    experiment: Experiment,
    *,
    purpose: Purpose | None = None,
    data: Path | None = None,
    weights_root: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    out: Path = Path("runs"),
    results: Path = Path("results"),
    deviations: tuple[Deviation, ...] = (),
    load: Callable[[str, str], SegmentationDataset] | None = None,
    **options: Any,
) -> Path:
    """Train, save and score ``experiment``; returns the path of its record.

    ``purpose`` replaces the experiment's own, unless that is a demonstration. ``weights_root``: the
    folder of the ImageNet weights, by default FCN_WEIGHTS. ``out`` receives the checkpoint and the
    net, ``results`` the record. ``deviations`` apply to this run alone. ``load`` replaces
    :func:`fcn.data.registry.dataset`. ``options`` are those of
    :func:`fcn.training.pipeline.train_and_record`: ``resume``, ``stop``, ``log`` ... Raises
    FileNotFoundError for missing data, weights or nets to start from, and what that raises.
    """
    device = resolve_device(device)
    purpose = _purpose(experiment, purpose)
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
        initial_weights=initialize(net, experiment, seed, out, purpose, weights_root),
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
    purpose: Purpose | None = None,
    data: Path | None = None,
    device: str = "auto",
    out: Path = Path("runs"),
    results: Path = Path("results"),
    recorded: Sequence[Path] = (),
    change: Callable[[Experiment], Experiment] = lambda experiment: experiment,
    log: Log = print,
    done: Callable[[Path], None] = lambda path: None,
    resume: bool = True,
    **options: Any,
) -> dict[str, str]:
    """Run the experiments in order, each with all seeds; returns the error of each failed run.

    Runs with a record in ``results`` or in one of the folders ``recorded`` are skipped, interrupted
    ones resume, a failed one is logged. If an experiment starts from a net that is missing and has
    no record, that one runs first. ``change`` is applied to all of them. When the ``minutes`` are
    up, the run stops at a checkpoint, from which the same call continues. ``done`` receives the
    path of each new record. On CUDA, data sets are resident, steps are captured as CUDA graphs, and
    convolutions are in bfloat16. ``options`` are those of :func:`run`.

    Under ``torchrun`` an error ends all processes. Raises ValueError for a missing device and for a
    folder that is not writable.
    """
    device = resolve_device(device)
    check_writable(out, "--out")
    check_writable(results, "--results")
    cuda, alone = device == "cuda", processes() == 1
    log = log if is_main_process() else lambda line: None
    end = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    options |= {"load": lru_cache(maxsize=4)(partial(_resident if cuda else dataset, data=data))}
    options |= {"capture": cuda, "stop": lambda: time.monotonic() >= end, "log": log}
    options |= {"device": device, "out": out, "results": results}
    known = {e.name: change(e) for e in (*EXPERIMENTS.values(), *experiments)}
    failed: dict[str, str] = {}

    def record_of(stem: str) -> Path | None:
        paths = [folder / f"{stem}.json" for folder in (results, *recorded)]
        return broadcast(next((path for path in paths if path.is_file()), None), device)

    def skipped(stem: str) -> bool:
        if record := record_of(stem):
            if is_main_process():
                tidy(out / f"{stem}.safetensors", record)
            shown = os.path.relpath(record)
            log(f"{stem}: skipped, recorded in {shown}; to run it anew, move that file")
        return record is not None

    def attempt(e: Experiment, seed: int, purpose: Purpose) -> None:
        stem = _stem(e.name, seed, purpose)
        if stem in failed:  # a run that started from it came first
            return
        if skipped(stem):
            return
        if broadcast(time.monotonic() >= end, device):
            raise Stopped("")
        try:
            for start, net in zip(e.start, _starts(e, seed, out, purpose), strict=True):
                before = _stem(start, seed, purpose)
                if broadcast(net.is_file(), device):
                    continue
                if record := record_of(before):
                    raise FileNotFoundError(
                        f"{net}: missing, though {os.path.relpath(record)} exists; copy the net of "
                        "that run here, or train it again with other folders for records and nets"
                    )
                if start in known and before not in failed:
                    log(f"{stem}: starts from {before}, which runs first")
                    attempt(known[start], seed, purpose)
                if before in failed:
                    raise FileNotFoundError(f"starts from {before}, which failed")
            signals.check()  # the previous run was finished in spite of it
            log(f"{stem}: {'resumed' if (out / f'{stem}.checkpoint').is_file() else 'started'}")
            if cuda:
                e = replace(e, recipe=replace(e.recipe, precision="bf16-mixed"))
                options["checkpoint_every"] = 45.0  # seconds: borrowed GPUs go without notice
            path = run(e, seed=seed, purpose=purpose, resume=resume, **options)
            log(f"{stem}: wrote the record {path}")
            if is_main_process():
                done(path)
        except Stopped:
            raise
        except Exception as error:  # one failed run does not end the queue
            incomplete = isinstance(error, ModuleNotFoundError)  # as all the runs would find out
            if incomplete or not alone or os.environ.get("FCN_DEBUG"):
                raise
            if isinstance(error, FileExistsError) and skipped(stem):  # another process was faster
                return
            failed[stem] = " ".join(str(error).split()) or type(error).__name__
            log(f"{stem}: failed: {failed[stem]}")

    chosen = [known[experiment.name] for experiment in experiments]
    runs = [(e, seed, _purpose(e, purpose)) for e, seed in product(chosen, seeds)]
    try:
        with signals.interruptible():
            for e, seed, its in runs:
                attempt(e, seed, its)
    except Stopped as stopped:
        stems = [_stem(e.name, seed, its) for e, seed, its in runs]
        left = [stem for stem in stems if stem not in failed and not record_of(stem)]
        log(
            f"time is up{f' {stopped}'.rstrip()}: the same command continues with "
            f"{', '.join(left)} ({len(left)} of {len(runs)} runs)"
        )
    return failed


def score(
    experiment: Experiment,
    file: Path,
    *,
    data: Path | None = None,
    device: str = "auto",
    purpose: Purpose | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Head]:
    """The scores of each head of a net on the test split of ``experiment``.

    ``file`` is a net of this package or a .caffemodel of the authors' release. Raises ValueError
    for a net with other classes or inputs than the data set, and for a missing device.
    """
    device = resolve_device(device)
    test_set = dataset(experiment.dataset, SPLITS[_purpose(experiment, purpose)][1], data)
    net = released.load(file, log) if file.suffix == ".caffemodel" else models.load(file)
    expected = heads_of(experiment, test_set)
    if net.classes != expected:
        raise ValueError(f"{file}: scores {net.classes}, but {experiment.dataset} has {expected}")
    if (inputs := net.settings["inputs"]) != experiment.inputs:
        raise ValueError(f"{file}: takes {inputs} images, unlike {experiment.dataset}")
    matrices = evaluate(net, test_set, device=device)
    return {head: Head.scored(test_set.heads[head], matrix) for head, matrix in matrices.items()}


def heads_of(experiment: Experiment, data: SegmentationDataset) -> dict[str, int]:
    """The classes of each head that the experiment trains: all of the data set's, or its task."""
    return {h: len(names) for h, names in data.heads.items() if experiment.task in ("", h)}


def initialize(
    net: FCN | LateFusion,
    experiment: Experiment,
    seed: int,
    out: Path,
    purpose: Purpose = "final",
    weights_root: Path | None = None,
) -> InitialWeights | None:
    """Load the weights that the experiment starts from; returns their names and checksums.

    A validation run starts from a net that has not seen the validation images, either. Raises
    FileNotFoundError, with the command to run, if a net to start from is missing.
    """
    paths: list[Path] = []
    if experiment.start:
        paths = _starts(experiment, seed, out, purpose)
        for start, path in zip(experiment.start, paths, strict=True):
            if not path.is_file():
                command = f"python -m fcn train {start}"
                command += f" --{purpose}" * (purpose == "validation")
                fault = f"{experiment.name} starts from this net; first run {command}"
                raise FileNotFoundError(f"{path}: {fault}")
        net.upgrade_from(*map(models.load, paths))  # type: ignore[arg-type]
    elif experiment.initial_weights:
        folder = folder_of(weights_root, "FCN_WEIGHTS", "--weights")
        paths = [folder / experiment.initial_weights]
        net.load_pretrained(paths[0])
    if experiment.random_scores:
        for name, layer in net.named_modules():
            if isinstance(layer, nn.Conv2d) and name.rpartition(".")[2].startswith("score"):
                nn.init.normal_(layer.weight, std=0.01)
    if not paths:
        return None
    return InitialWeights(" + ".join(p.name for p in paths), " + ".join(map(sha256, paths)))


def name(experiment: Experiment, seed: int, purpose: Purpose | None = None) -> str:
    """The stem of a run's files: ``<experiment>.seed<N>``, then the purpose unless it is final."""
    return _stem(experiment.name, seed, _purpose(experiment, purpose))


def _stem(name: str, seed: int, purpose: Purpose) -> str:
    return f"{name}.seed{seed}" + ("" if purpose == "final" else f".{purpose}")


def _purpose(experiment: Experiment, purpose: Purpose | None) -> Purpose:
    own = experiment.purpose
    return own if own == "demonstration" or purpose is None else purpose


def _starts(experiment: Experiment, seed: int, out: Path, purpose: Purpose) -> list[Path]:
    """The nets that a run starts from, in ``out`` or among the project's weights."""
    stems = [_stem(start, seed, purpose) for start in experiment.start]
    places = [[folder / f"{stem}.safetensors" for folder in (out, KEPT_NETS)] for stem in stems]
    return [next((path for path in paths if path.is_file()), paths[0]) for paths in places]


def _resident(name: str, split: str, data: Path | None) -> SegmentationDataset:
    """The data set on the GPU, if it has three channels."""
    data_set = dataset(name, split, data)
    if name.startswith("nyud-") and name != "nyud-rgb":
        return data_set
    return Resident(data_set, "cuda")
