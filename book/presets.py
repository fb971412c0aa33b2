"""The parameters of a chapter, checked, and the experiments that its preset runs.

read    demonstrations that take seconds, and tables from the records. The site shows this.
smoke   the demonstrations, some smaller, and each of the chapter's experiments for two steps on
        tiny data sets
small   the demonstrations at a convincing size, minutes on a CPU
paper   the experiments of the chapter's own tables and figures, on the real data
"""

import atexit
import difflib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args

import pandas as pd
import torch
from IPython.display import DisplayHandle, display
from numpy.typing import ArrayLike

from fcn.environment import resolve_device
from fcn.replication import smoke, snapshots
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import Purpose, Record, load_records, read

PRESETS = ("read", "smoke", "small", "paper")
BOOK = Path(__file__).resolve().parent
COMMITTED = BOOK.parent / "results"
LARGEST_SEED = 2**32 - 1  # NumPy's
OPTIONS = {
    "--data": "data_root",
    "--weights": "weights_root",
    "--out": "runs_dir",
    "--results": "results_dir",
}
"""Options of the command line that messages name, and the parameters of the chapters."""
COLUMNS = ("run", "seed", "purpose", "images seen", "minutes", "mean IU", "record")


class ParameterError(ValueError):
    """A parameter has a value that the chapter does not take; a notebook shows one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Settings:
    """The checked parameters of a chapter; those that it does not declare have their defaults.

    ``data`` and ``weights`` are None if no folder is given and the environment names none.
    """

    preset: str = "read"
    experiments: tuple[str, ...] = ()
    data: Path | None = None
    weights: Path | None = None
    device: str = "cpu"
    seed: int = 0
    results: Path = COMMITTED
    runs: Path = COMMITTED.parent / "runs"

    def records(self) -> list[Record]:
        """The committed records and those in ``results``; of two for the same run, the committed one."""
        found = load_records(COMMITTED)
        if self.results != COMMITTED and self.results.is_dir():
            names = {record.file_name for record in found}
            found += [
                record
                for record in load_records(self.results)
                if record.file_name not in names
            ]
        purposes = get_args(Purpose)
        return sorted(
            found,
            key=lambda one: (one.experiment, purposes.index(one.purpose), one.seed),
        )

    def snapshot(
        self,
        name: str,
        compute: Callable[[], Mapping[str, ArrayLike]],
        available: bool,
        files: Iterable[str | Path] = (),
    ) -> tuple[snapshots.Arrays, bool]:
        """The arrays of a figure by name, and True if they were computed just now.

        They are computed if their ``files`` are ``available``, and loaded otherwise. With the preset
        ``paper``, computed ones are saved in ``results``, unless a snapshot of that name is there.
        """
        if available and self.preset == "paper" and not self._has(name):
            snapshots.save(name, compute, self.results, files)
            return snapshots.load(name, self.results), True
        replace = available and os.environ.get("FCN_SNAPSHOT") == "1"
        folder = self.results if replace else self.folder_of(name)
        return snapshots.compute_or_load(name, compute, available, folder, files)

    def source(self, name: str, is_live: bool) -> str:
        """One line that tells a reader where the arrays of a figure come from."""
        return snapshots.source(name, is_live, self.folder_of(name))

    def run(self, names: Sequence[str], small: Sequence[str] = ()) -> pd.DataFrame:
        """Run the experiments ``names`` as the preset says; returns one row for each run made now.

        ``read`` runs nothing; ``small`` only those that ``small`` names, always from the beginning, with
        records and nets below ``runs``; ``smoke`` runs all, shrunk, in a folder that is deleted at
        the end; ``paper`` runs what has no record. ``experiments`` narrows the names. A run that fails
        is reported in one line. Raises ParameterError if ``experiments`` has another name.
        """
        for name in self.experiments:
            if name not in names:
                refuse_experiment(name, names)
        offered = {"read": (), "smoke": names, "small": small, "paper": names}[
            self.preset
        ]
        chosen = [
            EXPERIMENTS[name]
            for name in offered
            if name in (self.experiments or offered)
        ]
        if not chosen:
            return pd.DataFrame(columns=COLUMNS)
        from fcn.replication.run import run_queue  # takes seconds to import

        progress = Progress()
        options: dict[str, Any] = {"data": self.data, "weights_root": self.weights}
        options |= {"out": self.runs, "results": self.results, "recorded": [COMMITTED]}
        if self.preset in ("smoke", "small"):
            folder = _temporary(self.runs / self.preset)
            options |= {"out": folder, "results": folder / "results", "recorded": []}
        if self.preset == "smoke":
            options |= {"change": smoke.shrink, "data": folder / "data"}
            for data_set in {experiment.dataset for experiment in chosen}:
                smoke.write_data(data_set, folder / "data")
        try:
            run_queue(
                chosen,
                [self.seed],
                device=self.device,
                log=progress.log,
                done=progress.done,
                **options,
            )
        except ValueError as error:  # a folder that cannot be written to
            raise ParameterError(as_parameters(str(error))) from None
        return pd.DataFrame(progress.rows, columns=COLUMNS)

    def _has(self, name: str) -> bool:
        return (self.results / "snapshots" / f"{name}.npz").is_file()

    def folder_of(self, name: str) -> Path:
        """The folder of a snapshot: ``results``, or the committed one if it is not there."""
        return self.results if self._has(name) else COMMITTED


class Progress:
    """Shows one line per run, which is updated in place while it trains; collects the new records."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self._stem = ""
        self._line: DisplayHandle | None = None

    def log(self, line: str) -> None:
        """Show a line of the log: it replaces the previous one of the same run."""
        stem, _, message = line.partition(": ")
        if ".seed" not in stem or " " in stem:  # a line from within the run
            stem, message = self._stem, line
        if message.startswith("wrote the record"):  # shown by ``done``
            return
        if message.startswith("failed"):
            message = as_parameters(message)
        text = {"text/plain": f"{stem}: {message}" if stem else message}
        if stem == self._stem and self._line:
            self._line.update(text, raw=True)
        else:
            self._stem, self._line = stem, display(text, raw=True, display_id=True)

    def done(self, path: Path) -> None:
        """Show and collect a new record."""
        record = read(path)
        minutes, mean_iu = (
            round(record.seconds / 60, 1),
            round(record.scores["mean_iu"], 1),
        )
        self.log(
            f"{path.stem}: mean IU {mean_iu}, {minutes} minutes, recorded in {path.name}"
        )
        values = (
            record.experiment,
            record.seed,
            record.purpose,
            record.images_seen,
            minutes,
            mean_iu,
            path.name,
        )
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))


def as_parameters(message: str) -> str:
    """The message with parameters instead of the options of the command line."""
    for option, parameter in OPTIONS.items():
        message = message.replace(option, f"-p {parameter}")
    return message + " (-p weights_root FOLDER)" * message.endswith(
        "no such weight file; check the path"
    )


def check(
    *,
    preset: object = "read",
    experiments: object = (),
    offered: str = ".*",
    data_root: object = None,
    weights_root: object = None,
    device: object = "cpu",
    seed: object = 0,
    results_dir: object = COMMITTED,
    runs_dir: object = COMMITTED.parent / "runs",
) -> Settings:
    """Check the parameters that a chapter declares. Raises ParameterError for a bad value.

    ``offered`` is a pattern of the names that ``experiments`` may have. Relative folders start from
    ``book/``. An empty ``data_root`` or ``weights_root`` is the folder of FCN_DATA or FCN_WEIGHTS.
    ``read`` and ``smoke`` compute with one thread, so that their numbers repeat; ``small`` and
    ``paper`` use all cores.
    """
    if preset not in PRESETS:
        _refuse("preset", preset, f"choose one of {', '.join(PRESETS)}")
    if (
        isinstance(seed, bool)
        or not isinstance(seed, int)
        or not 0 <= seed <= LARGEST_SEED
    ):
        _refuse("seed", seed, f"give a whole number from 0 to {LARGEST_SEED}")
    if not isinstance(device, str):
        _refuse("device", device, 'give "auto", "cpu", "cuda" or "mps"')
    try:
        device = resolve_device(device)
    except ValueError as error:
        _refuse("device", device, str(error).partition(": ")[2])
    settings = Settings(
        preset=str(preset),
        experiments=_names(experiments, str(preset), offered),
        data=_existing("data_root", data_root, "FCN_DATA"),
        weights=_existing("weights_root", weights_root, "FCN_WEIGHTS"),
        device=device,
        seed=seed,
        results=_new("results_dir", results_dir),
        runs=_new("runs_dir", runs_dir),
    )
    if preset in ("read", "smoke"):
        torch.set_num_threads(1)
    return settings


def _temporary(parent: Path) -> Path:
    """A new folder, deleted when Python ends."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(dir=parent)
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _refuse(name: str, value: object, remedy: str) -> NoReturn:
    raise ParameterError(f"{name} = {value!r}: {remedy}")


def _names(value: object, preset: str, offered: str) -> tuple[str, ...]:
    """The names in a list, or in a text with commas or spaces between them."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) for name in value
    ):
        _refuse("experiments", value, "give names of experiments, separated by spaces")
    names = [name for name in EXPERIMENTS if re.fullmatch(offered, name)]
    for name in value:
        if name not in names:
            refuse_experiment(name, names)
    if value and preset == "read":
        _refuse(
            "experiments",
            " ".join(value),
            'the preset "read" trains nothing; add -p preset paper',
        )
    return tuple(dict.fromkeys(value))


def refuse_experiment(name: str, names: Iterable[str]) -> NoReturn:
    """Raise ParameterError with those of ``names`` that are closest to ``name``."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=3) or names[:3]
    _refuse(
        "experiments",
        name,
        f"no experiment of this chapter; did you mean {' or '.join(near)}?",
    )


def _path(name: str, value: object) -> Path:
    if not isinstance(value, str | Path):
        _refuse(name, value, "give a folder")
    return (BOOK / Path(str(value)).expanduser()).resolve()


def _existing(name: str, value: object, variable: str) -> Path | None:
    """The folder given, or else that of the environment; None without either."""
    if value is None:
        return None
    if value == "":
        name, value = variable, os.environ.get(variable, "")
        if not value:
            return None
    path = _path(name, value)
    if not path.is_dir():
        _refuse(name, str(value), f"no such folder ({path})")
    return path


def _new(name: str, value: object) -> Path:
    """A folder that need not exist yet."""
    path = _path(name, value)
    if value == "" or (path.exists() and not path.is_dir()):
        _refuse(name, str(value), "give a folder, new or not")
    return path
