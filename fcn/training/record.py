"""What a recorded run holds, and reading and writing it: one JSON file a run, from which every table of the book reads.

A record says what was trained, on which images, by which settings, from which weights, with which code, where and for
how long; what it scored, as whole confusion matrices, from which every metric can be computed again; and how the run
departs from the paper. No record, no number.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Self

from fcn.environment import atomic_write
from fcn.metrics import ConfusionMatrix, Metrics

PURPOSES = {
    "final": "trained on all the training images, and its last weights scored once on the test split",
    "validation": "trained without the validation part of the training images, and scored on that part",
    "demonstration": "trained and scored on synthetic images: it stands in no column beside real ones",
}
CURVE_KEYS = ("step", "images", "loss", "learning_rate")
_BESIDE_METRICS = ("classes_counted", "iu_per_class")  # in a file, beside the four metrics
_WIDTH = 118
_KINDS: dict[str, type | tuple[type, ...]] = {  # of the entries that no class below checks
    "recipe": dict, "versions": dict, "curve": list, "deviations": list, "hardware": str, "seed": int,
    "images_seen": int, "seconds": (int, float),
}  # fmt: skip


@dataclass(frozen=True)
class Head:
    """How one head scored on the whole split.

    ``classes`` names the classes in the order of their labels; ``confusion_matrix`` is C x C pixels, rows = ground
    truth; ``metrics`` were computed from it (percent), and ``recomputed`` computes them again.
    """

    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[int, ...], ...]
    metrics: Metrics

    def __post_init__(self) -> None:
        sizes = {len(self.classes), len(self.confusion_matrix), len(self.metrics.iu_per_class)}
        if len(sizes | {len(row) for row in self.confusion_matrix}) > 1:
            raise ValueError(
                f"{len(self.classes)} classes need a square confusion matrix of as many rows and as many entries "
                f"in iu_per_class, not {len(self.confusion_matrix)} rows and {len(self.metrics.iu_per_class)} entries"
            )
        ConfusionMatrix.from_matrix(self.confusion_matrix, void=-1)  # raises where it counts no pixels
        known = [iu for iu in self.metrics.iu_per_class if iu is not None]
        for value in [*asdict(self.metrics).values(), *known]:
            if not isinstance(value, int | float | tuple):
                raise ValueError(f"metrics are numbers, in percent, not {value!r}")

    @classmethod
    def scored(cls, classes: Sequence[str], confusion: ConfusionMatrix) -> Self:
        """What to record of a head with these class names. Raises ValueError if no labelled pixel was counted."""
        rows = tuple(tuple(row) for row in confusion.matrix.tolist())
        return cls(tuple(classes), rows, confusion.metrics())

    def recomputed(self) -> Metrics:
        """The metrics, from the confusion matrix alone."""
        return ConfusionMatrix.from_matrix(self.confusion_matrix, void=-1).metrics()


@dataclass(frozen=True)
class Split:
    """A list of images: the name of the split, how many there are, and the SHA-256 of the list (``checksum``)."""

    split: str
    images: int
    checksum: str


@dataclass(frozen=True)
class Data:
    """The data set by name, the images trained on and the images scored."""

    name: str
    trained_on: Split
    scored_on: Split


@dataclass(frozen=True)
class Paper:
    """The place in the paper that a run stands beside: ``Paper("5", "FCN-16s")`` is a row of Table 5."""

    table: str
    row: str


@dataclass(frozen=True)
class InitialWeights:
    """The weights a run began with: a file's name, or a record's experiment, and the SHA-256 of the file."""

    name: str
    checksum: str


@dataclass(frozen=True)
class Weights:
    """The net a run produced: its path from the root of the project, with ``/``, and the SHA-256 of the file
    (``pooch.file_hash``). Raises ValueError for the path of one machine."""

    path: str
    sha256: str

    def __post_init__(self) -> None:
        if PurePosixPath(self.path).is_absolute() or PureWindowsPath(self.path).drive:
            raise ValueError(f"weights: {self.path} is a path of one machine; give it from the root of the project")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run. Times in seconds, metrics in percent, losses as the recipe reduces them.

    ``purpose`` is one of ``PURPOSES``; ``recipe`` holds every setting, as JSON values; ``curve`` holds points with the
    keys ``CURVE_KEYS``; ``deviations`` has one line for each deviation from the paper. ``commit`` is None where the
    code ran outside a checkout, ``initial_weights`` where the net began at random, ``paper`` where the run stands
    beside no row of the paper, and ``weights`` where the trained net was not kept.

    Raises ValueError for an unknown purpose, an experiment whose name makes no file name, no heads, a point of the
    curve with other keys, and for a final or validation run scored on the images it was trained on.
    """

    experiment: str
    purpose: str
    heads: dict[str, Head]
    recipe: dict[str, Any]
    seed: int
    images_seen: int
    curve: list[dict[str, float]]
    dataset: Data
    versions: dict[str, str]
    commit: str | None
    hardware: str
    seconds: float
    deviations: tuple[str, ...]
    initial_weights: InitialWeights | None
    paper: Paper | None = None
    weights: Weights | None = None

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES:
            raise ValueError(f"purpose is one of {', '.join(PURPOSES)}, not {self.purpose!r}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.experiment):
            raise ValueError(f"experiment {self.experiment!r}: a name is small letters, digits, - and _")
        if not self.heads:
            raise ValueError("heads: a record needs at least one scored head")
        for i, point in enumerate(self.curve):
            if set(point) != set(CURVE_KEYS):
                raise ValueError(f"curve[{i}] has the keys {', '.join(point)} in place of {', '.join(CURVE_KEYS)}")
        trained, scored = self.dataset.trained_on, self.dataset.scored_on
        if self.purpose != "demonstration" and (trained.split == scored.split or trained.checksum == scored.checksum):
            raise ValueError(f"dataset: a {self.purpose} run is not scored on the images it was trained on")

    @property
    def file_name(self) -> str:
        """``<experiment>.seed<N>.json``, with the purpose before ``.json`` unless it is final."""
        return f"{self.experiment}.seed{self.seed}{'' if self.purpose == 'final' else '.' + self.purpose}.json"


def write(record: Record, directory: str | Path) -> Path:
    """Write the record into the directory, made if need be, whole or not at all; returns the file's path.

    A record of the same experiment, seed and purpose is replaced. Raises ValueError for what JSON cannot hold.
    """
    directory = Path(directory)
    path = directory / record.file_name
    try:
        text = _layout(_to_json(record)) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the record cannot be written as JSON: {error}") from error
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def load(directory: str | Path) -> list[Record]:
    """Every record of a directory (files named ``*.seed*.json``), by experiment, purpose (final first) and seed.

    Raises FileNotFoundError if there is no such directory, and ValueError as ``read`` does.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such folder of records; give the project's results folder")
    records = [read(path) for path in directory.glob("*.seed*.json") if not path.name.startswith(".")]
    return sorted(records, key=lambda record: (record.experiment, list(PURPOSES).index(record.purpose), record.seed))


def read(path: str | Path) -> Record:
    """The record in one file. Raises ValueError, naming the file and what is wrong, for anything but a whole record
    under its own name; FileNotFoundError if there is none."""
    path = Path(path)
    mend = "take the file from version control again, or record the run again"
    try:
        record = _from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such record") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON, {error}; {mend}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not a whole record: {error}; {mend}") from error
    if path.name != record.file_name:
        raise ValueError(f"{path}: holds the record {record.file_name}; rename the file to that")
    return record


def find(records: Iterable[Record], experiment: str, purpose: str = "final") -> list[Record]:
    """The records of one experiment and purpose, by seed; an empty list where it was not run."""
    found = [record for record in records if (record.experiment, record.purpose) == (experiment, purpose)]
    return sorted(found, key=lambda record: record.seed)












def _to_json(record: Record) -> dict[str, Any]:
    """The record as JSON values, in the order in which a reader wants them."""
    data = asdict(record)
    for name, head in record.heads.items():
        metrics = asdict(head.metrics)
        beside = {key: metrics.pop(key) for key in _BESIDE_METRICS}
        tables = {"classes": head.classes, "confusion_matrix": head.confusion_matrix}
        data["heads"][name] = {"metrics": metrics, **beside, **tables}
    for point in data["curve"]:
        point |= {key: float(f"{point[key]:.6g}") for key in ("loss", "learning_rate")}
    first = ("experiment", "purpose", "paper", "seed", "deviations", "dataset", "initial_weights", "weights", "recipe")
    last = ("heads", "curve")
    middle = [key for key in data if key not in first + last]
    return {key: data[key] for key in (*first, *middle, *last)}


def _from_json(data: Any) -> Record:
    data = _checked(Record, data, "the record")
    dataset = _checked(Data, data["dataset"], "dataset")
    for part in ("trained_on", "scored_on"):
        dataset[part] = Split(**_checked(Split, dataset[part], f"dataset.{part}"))
    data["dataset"] = Data(**dataset)
    data["heads"] = {name: _head(head, f"heads.{name}") for name, head in _object(data["heads"], "heads").items()}
    for key, kind in _KINDS.items():
        if not isinstance(data[key], kind):
            raise ValueError(f"{key} is {data[key]!r}, of the wrong kind")
    data["deviations"] = tuple(data["deviations"])
    parts: dict[str, type] = {"paper": Paper, "initial_weights": InitialWeights, "weights": Weights}
    for key, cls in parts.items():
        if data.get(key) is not None:
            data[key] = cls(**_checked(cls, data[key], key))
    return Record(**data)


def _head(data: Any, where: str) -> Head:
    data = _object(data, where)
    metrics = _object(data.get("metrics"), f"{where}.metrics")
    metrics |= {key: data.pop(key) for key in _BESIDE_METRICS if key in data}
    data["metrics"] = Metrics(**_checked(Metrics, metrics, f"{where}.metrics"))
    data = _checked(Head, data, where)
    rows = tuple(tuple(row) for row in data["confusion_matrix"])
    return Head(tuple(data["classes"]), rows, replace(data["metrics"], iu_per_class=tuple(metrics["iu_per_class"])))


def _object(data: Any, where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not a JSON object")
    return dict(data)


def _checked(cls: type, data: Any, where: str) -> dict[str, Any]:
    """A copy of the object, which must have the fields of the dataclass ``cls``: each without a default, no other."""
    data = _object(data, where)
    needed = {field.name: field.default is MISSING for field in fields(cls)}
    if missing := [name for name in needed if needed[name] and name not in data]:
        raise ValueError(f"{where} has no {', '.join(missing)}")
    if unknown := [name for name in data if name not in needed]:
        raise ValueError(f"{where} has {', '.join(unknown)}, which no record has")
    return data


def _layout(value: Any, indent: int = 0) -> str:
    """JSON that a person and ``git diff`` can read: what fits on a line, and any list of plain values, is one line."""
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    plain = isinstance(value, list | tuple) and not any(isinstance(item, list | tuple | dict) for item in value)
    if plain or len(flat) + indent <= _WIDTH or not isinstance(value, list | tuple | dict):
        return flat
    inner = "\n" + " " * (indent + 1)
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_layout(item, indent + 1)}" for key, item in value.items()]
        return "{" + inner + ("," + inner).join(items) + "\n" + " " * indent + "}"
    return "[" + inner + ("," + inner).join(_layout(item, indent + 1) for item in value) + "\n" + " " * indent + "]"
