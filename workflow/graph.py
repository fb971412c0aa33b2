"""The replication as a graph: the jobs that the Snakefile makes rules of, from the catalogue.

``start`` is the edge between two runs, and the record of a run is its output. A run that has a
record is done: it has no rule, so nothing can run it again or delete its record.
"""

import ast
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fcn.replication.catalogue import EXPERIMENTS, find
from fcn.replication.experiment import Experiment
from fcn.replication.paper import TITLES

PROJECT = Path(__file__).resolve().parents[1]
FETCHED = {
    "voc2012": ("voc.py", "pascal/VOCdevkit/VOC2012"),
    "voc2011": ("voc.py --with-2011", "pascal/VOCdevkit/VOC2011"),
    "sbd": ("sbd.py", "sbd/benchmark_RELEASE"),
    "nyud": ("nyud.py", "nyud"),
    "sift-flow": ("sift_flow.py", "sift-flow"),
    "pascal-context": ("pascal_context.py", "pascal-context"),
}
"""The script that fetches a data set, and the folder that it creates in the data folder."""
DATASETS = {"voc": ("voc2012", "sbd"), "voc2011": ("voc2011",), "sift-flow": ("sift-flow",)}
"""The parts of FETCHED that the runs on a data set need; others by the beginning of their name."""
IMAGENET = {
    "alexnet": ("caffenet", "bvlc_reference_caffenet.caffemodel"),
    "vgg16": ("vgg16", "VGG_ILSVRC_16_layers.caffemodel"),
    "googlenet": ("googlenet", "bvlc_googlenet.caffemodel"),
}
"""ImageNet weights by backbone: the name that the script takes, and the file."""
RELEASED = {
    "fcn32s-heavy-pascal": ("voc-fcn32s", "voc-vgg16-32s-heavy"),
    "fcn16s-heavy-pascal": ("voc-fcn16s", "voc-vgg16-16s-heavy"),
    "fcn8s-heavy-pascal": ("voc-fcn8s", "voc-vgg16-8s-heavy"),
    "fcn8s-atonce-pascal": ("voc-fcn8s-atonce", "voc-vgg16-8s-heavy-at-once"),
    "fcn-alexnet-pascal": ("voc-fcn-alexnet", "voc-alexnet-32s-release"),
    "siftflow-fcn32s-heavy": ("siftflow-fcn32s", "sift-flow-vgg16-32s-heavy"),
    "siftflow-fcn16s-heavy": ("siftflow-fcn16s", "sift-flow-vgg16-16s-heavy"),
    "siftflow-fcn8s-heavy": ("siftflow-fcn8s", "sift-flow-vgg16-8s-heavy"),
    "pascalcontext-fcn32s-heavy": ("pascalcontext-fcn32s", "pascal-context-59-vgg16-32s-heavy"),
    "pascalcontext-fcn16s-heavy": ("pascalcontext-fcn16s", "pascal-context-59-vgg16-16s-heavy"),
    "pascalcontext-fcn8s-heavy": ("pascalcontext-fcn8s", "pascal-context-59-vgg16-8s-heavy"),
    "nyud-fcn32s-color-heavy": ("nyud-fcn32s-color", "nyud-vgg16-32s-rgb"),
    "nyud-fcn32s-hha-heavy": ("nyud-fcn32s-hha", "nyud-vgg16-32s-hha"),
    "nyud-fcn32s-color-hha-heavy": ("nyud-fcn32s-color-hha", "nyud-vgg16-32s-rgb-hha"),
}
"""The authors' nets: the name that the script takes, and the experiment with their data."""
CHAPTERS = {
    "01_welcome": r".*",
    "04_upsampling": r"sift-flow-.*",
    "05_skips": r"sift-flow-.*",
    "06_sift_flow": r"sift-flow-.*",
    "07_pascal_voc": r"voc.*",
    "08_nyudv2": r"nyud-.*",
    "09_pascal_context": r"pascal-context-.*",
    "11_patches_shifts_stitches": r".*-(keep|sampled)\d+.*",
    "12_results": r".*",
    "15_speedrun": r"sift-flow-.*",
    "16_in_one_sitting": r"sift-flow-.*",
}
"""The experiments whose records a chapter reads, as patterns; other chapters read none."""
TABLES = {title.lower().replace(" ", ""): title for title in TITLES}  # table5: Table 5
MEMORY = {"vgg16": 24_000, "alexnet": 24_000}  # MB that a training job asks for; 12 GB for others


@dataclass(frozen=True)
class Settings:
    """The settings of ``--config``, checked.

    ``experiments``: names separated by commas or spaces, "all", or "recorded", which trains
    nothing. ``smoke`` runs each for two steps on tiny data. ``out`` receives notebooks, site and
    logs, ``nets`` checkpoints and nets (default: the same folder). ``minutes`` is the longest time
    of a training job on a cluster; what is unfinished then continues in the next of ``retries``.
    """

    experiments: str = "all"
    seeds: int = 1
    smoke: bool = False
    data: str = os.environ.get("FCN_DATA") or "data"
    weights: str = os.environ.get("FCN_WEIGHTS") or "data/weights"
    out: str = "runs"
    nets: str = ""
    results: str = "results"
    device: str = "auto"
    minutes: int = 1440
    retries: int = 3

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Settings":
        """The settings in Snakemake's ``config``. Raises ValueError for a bad name or value."""
        defaults = {field.name: field.default for field in fields(cls)}
        checked: dict[str, Any] = {}
        for name, value in config.items():
            if name not in defaults:
                raise ValueError(f'config: no setting "{name}"; choose from {", ".join(defaults)}')
            value = {"true": True, "false": False}.get(value, value)
            if type(value) is not type(defaults[name]):
                kind = {bool: "true or false", int: "a whole number", str: "text"}
                raise ValueError(f"config: {name}={value}: give {kind[type(defaults[name])]}")
            if type(value) is int and value < (name != "retries"):
                raise ValueError(f"config: {name}={value}: too small")
            checked[name] = value
        return cls(**checked)


@dataclass(frozen=True)
class Run:
    """One experiment with one seed: ``stem`` is the name of its record and of its net."""

    experiment: Experiment
    seed: int
    stem: str


class Graph:
    """The jobs of a configuration. Paths are relative to the project, as the rules need them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.settings = settings = Settings.of(config)
        self.data, self.weights = Path(settings.data), Path(settings.weights)
        self.nets = Path(settings.nets or settings.out)
        self.out = Path(settings.out) / "smoke" if settings.smoke else Path(settings.out)
        self.results = self.out / "results" if settings.smoke else Path(settings.results)
        self.runs = {
            run.stem: run
            for experiment in EXPERIMENTS.values()
            for seed in range(settings.seeds)
            for run in [self._run(experiment, seed)]
        }
        names = settings.experiments.replace(",", " ").split()
        if names == ["all"]:
            names = list(EXPERIMENTS)
        if names == ["recorded"]:
            self.chosen = [run for run in self.runs.values() if self.recorded(run)]
        else:
            wanted = {find(name).name for name in names}
            self.chosen = [run for run in self.runs.values() if run.experiment.name in wanted]

    def _run(self, experiment: Experiment, seed: int) -> Run:
        purpose = "demonstration" if self.settings.smoke else experiment.purpose
        suffix = "" if purpose == "final" else f".{purpose}"
        return Run(experiment, seed, f"{experiment.name}.seed{seed}{suffix}")

    def record(self, run: Run) -> str:
        """The record: among the new results, or the committed one."""
        own = self.results / f"{run.stem}.json"
        committed = Path("results") / own.name
        is_committed = not self.settings.smoke and committed.is_file() and not own.is_file()
        return str(committed if is_committed else own)

    def recorded(self, run: Run) -> bool:
        """True if the run is done."""
        return Path(self.record(run)).is_file()

    def records(self, pattern: str = ".*", table: str = "") -> list[str]:
        """The records of the chosen runs whose experiments match, or belong to a table."""
        return [
            self.record(run)
            for run in self.chosen
            if re.fullmatch(pattern, run.experiment.name)
            and (not table or (run.experiment.paper or ("",))[0] == table)
        ]

    @property
    def open_stems(self) -> str:
        """A pattern of the runs without a record: the only ones that have a rule."""
        stems = [re.escape(run.stem) for run in self.runs.values() if not self.recorded(run)]
        return "|".join(stems) or "none"

    def inputs(self, stem: str) -> list[str]:
        """The runs that a run starts from, and the downloads that it needs."""
        experiment, seed = self.runs[stem].experiment, self.runs[stem].seed
        needed = [self.record(self._run(EXPERIMENTS[name], seed)) for name in experiment.start]
        if not self.settings.smoke:
            needed += self.data_of(experiment)
            if not experiment.start and not experiment.weights and experiment.width == 1:
                needed += self.imagenet(experiment.net)
        return needed

    def data_of(self, experiment: Experiment) -> list[str]:
        """The marks of the data sets that have to be fetched for an experiment."""
        name = experiment.dataset
        default = tuple(unit for unit in FETCHED if name.startswith(unit))
        return self.fetched(*DATASETS.get(name, default))

    def fetched(self, *units: str) -> list[str]:
        """The marks of those data sets whose folders are missing, so that they are fetched."""
        missing = [unit for unit in units if not (self.data / FETCHED[unit][1]).is_dir()]
        return [f"{self.out}/fetched/{unit}.txt" for unit in missing]

    def imagenet(self, net: str) -> list[str]:
        """The mark of the weights that have to be fetched, if their file is missing."""
        if net not in IMAGENET or (self.weights / IMAGENET[net][1]).is_file():
            return []
        return [f"{self.out}/fetched/{IMAGENET[net][0]}.txt"]

    def net_of(self, released: str) -> list[str]:
        """The mark of an authors' net that has to be fetched, if its file is missing."""
        if (self.weights / f"{released}.caffemodel").is_file():
            return []
        return [f"{self.out}/fetched/{RELEASED[released][0]}.txt"]

    def released_inputs(self, released: str) -> list[str]:
        """The downloads for scoring an authors' net: without SBD, whose photos are for training."""
        data = self.data_of(EXPERIMENTS[RELEASED[released][1]])
        return self.net_of(released) + [mark for mark in data if mark not in self.fetched("sbd")]

    def train(self, stem: str) -> str:
        """The command that trains and scores a run; the rule adds the folder of its record."""
        run, settings = self.runs[stem], self.settings
        arguments = [run.experiment.name, "--resume", "--seed", str(run.seed)]
        arguments += ["--device", settings.device]
        if settings.smoke:
            arguments += ["--out", str(self.nets), "--smoke"]
        else:
            arguments += ["--out", str(self.nets), "--data", str(self.data)]
            arguments += ["--weights", str(self.weights)]
        return _command("-m", "fcn", "train", *arguments)

    def evaluate(self, released: str) -> str:
        """The command that scores a net of the authors' release."""
        file = self.weights / f"{released}.caffemodel"
        arguments = [RELEASED[released][1], "--weights", str(file), "--data", str(self.data)]
        arguments += ["--device", self.settings.device]
        return _command("-m", "fcn", "evaluate", *arguments)

    def fetch(self, unit: str) -> str:
        """The command that fetches a data set."""
        script, *options = FETCHED[unit][0].split()
        return _command(f"data_scripts/{script}", *options, "--data", str(self.data))

    def fetch_weights(self, name: str) -> str:
        """The command that fetches ImageNet weights or a net of the authors' release."""
        own = name in {short for short, _ in IMAGENET.values()}
        script = "imagenet_weights.py" if own else "reference_weights.py"
        return _command(f"data_scripts/{script}", name, "--weights", str(self.weights))

    def chapter(self, name: str, target: str) -> str:
        """The command that runs a chapter with the records there are by then.

        The preset is "paper" where this trains nothing, for its other results on the real data.
        """
        source = (PROJECT / "book" / f"{name}.py").read_text(encoding="utf-8")
        offered = _offered(source)
        chosen = [
            run.experiment.name
            for run in self.chosen
            if offered and re.fullmatch(offered, run.experiment.name)
        ]
        trains = "\nexperiments = " in source
        settings = self.settings
        parameters = {
            "preset": "read" if settings.smoke or (trains and not chosen) else "paper",
            "experiments": " ".join(dict.fromkeys(chosen)),
            "data_root": str(self.data.resolve()) if self.data.is_dir() else "",
            "weights_root": str(self.weights.resolve()) if self.weights.is_dir() else "",
            "device": settings.device,
            "results_dir": str(self.results.resolve()),
            "runs_dir": str(self.nets.resolve()),
        }
        if parameters["preset"] == "read":
            parameters["experiments"] = ""
        given = {key: value for key, value in parameters.items() if f"\n{key} = " in source}
        options = [text for key, value in given.items() for text in ("-r", key, value)]
        arguments = [f"book/{name}.ipynb", target, "--cwd", "book", "-k", "python3"]
        return _command("-m", "papermill", *arguments, "--no-progress-bar", *options)


def _offered(source: str) -> str:
    """The pattern of the experiments that a chapter can run; empty if it runs none."""
    words = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.keyword))
    return next((ast.literal_eval(word.value) for word in words if word.arg == "offered"), "")


def chapters() -> list[str]:
    """The names of the chapters, in order."""
    return sorted(path.stem for path in (PROJECT / "book").glob("[0-9][0-9]_*.py"))


def _command(*arguments: str) -> str:
    return shlex.join([sys.executable, *arguments])
