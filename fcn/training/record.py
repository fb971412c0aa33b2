"""Run records: one JSON file per run, from which every table of the book is computed.

A record holds the training set, every setting, the initial weights, the code version, the hardware
and the time of a run, its confusion matrices, from which every metric can be recomputed, and its
deviations from the paper. No record, no number.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # pydantic requires it below Python 3.12

from fcn.environment import atomic_write
from fcn.training.validation import one_line

if TYPE_CHECKING:
    from fcn.data.sample import SegmentationDataset
    from fcn.metrics import ConfusionMatrix

STRICT = ConfigDict(extra="forbid", strict=True)
Purpose = Literal["final", "validation", "demonstration"]
Precision = Literal["32-true", "bf16-mixed"]
MemoryFormat = Literal["channels_last", "contiguous"]
Pixels = Annotated[int, Field(ge=0, lt=2**63)]
WIDTH = 118


@dataclass(frozen=True, config=STRICT)
class Deviation:
    """A deviation from the paper that no setting of the recipe or the net can express."""

    kind: Literal[
        "backbone",
        "data",
        "images",
        "labels",
        "net",
        "recipe",
        "release",
        "loss",
        "augmentation",
        "precision",
        "other",
    ]
    text: str


@dataclass(frozen=True, config=STRICT)
class Paper:
    """The table and the row of the paper that a run replicates: ``Paper("Table 5", "FCN-16s")``."""

    table: str
    row: str


@dataclass(frozen=True, config=STRICT)
class Split:
    """A list of images: the name of the split, their number, the SHA-256 of the list, and that of
    the list with the checksums of the image and label files; null in records of older versions."""

    split: str
    images: int
    checksum: str
    contents: str | None = None


@dataclass(frozen=True, config=STRICT)
class Data:
    """The name of the data set, the training images and the evaluation images."""

    name: str
    trained_on: Split
    scored_on: Split

    @classmethod
    def of(cls, name: str, *parts: "SegmentationDataset") -> Self:
        """The entry for a training set and a test set."""
        entries = [(p.split, len(p), p.checksum, p.contents) for p in parts]
        return cls(name, *(Split(*entry) for entry in entries))


@dataclass(frozen=True, config=STRICT)
class InitialWeights:
    """The weights a run starts from: name and SHA-256 of the file; two files are joined by "+"."""

    name: str
    checksum: str


@dataclass(frozen=True, config=STRICT)
class Weights:
    """The trained net: its path below the project, with ``/``, and the file's SHA-256."""

    path: Annotated[str, Field(pattern=r"^[^/\\:.][^/\\:]*(/[^/\\:.][^/\\:]*)*$")]
    sha256: str


@dataclass(frozen=True, config=STRICT)
class PaperMetrics:
    """The four metrics of section 5, in percent."""

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float


class Head(BaseModel, frozen=True, strict=True, extra="forbid"):
    """The evaluation of one head on the whole split, metrics in percent.

    ``classes`` are in label order; the ``classes_counted`` in the ground truth have an IU.
    ``confusion_matrix``: C x C pixels, rows = ground truth.
    """

    metrics: PaperMetrics
    classes_counted: NonNegativeInt
    iu_per_class: tuple[float | None, ...]
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[Pixels, ...], ...]

    @model_validator(mode="after")
    def _square(self) -> Self:
        n, rows = len(self.classes), self.confusion_matrix
        if {len(self.iu_per_class), len(rows), *map(len, rows)} != {n}:
            raise ValueError(f"{n} classes need a square confusion matrix and one IU each")
        return self

    @classmethod
    def scored(cls, classes: Sequence[str], confusion: "ConfusionMatrix") -> Self:
        """Score a head with these classes. Raises ValueError if no labelled pixel was counted."""
        *metrics, counted, iu_per_class = astuple(confusion.metrics())
        return cls(
            metrics=PaperMetrics(*metrics),
            classes_counted=counted,
            iu_per_class=iu_per_class,
            classes=tuple(classes),
            confusion_matrix=tuple(map(tuple, confusion.matrix.tolist())),
        )

    def recomputed(self) -> Self:
        """The same head with all metrics recomputed from the confusion matrix."""
        from fcn.metrics import ConfusionMatrix  # imports torch

        matrix = ConfusionMatrix.from_matrix(self.confusion_matrix, void=-1)
        return type(self).scored(self.classes, matrix)


@dataclass(frozen=True, config=STRICT)
class Execution:
    """The execution of the training, where the recipe leaves the machine a choice.

    ``precision`` is the recipe's, or float32 on a CPU without instructions for bfloat16. Both that
    and the memory format are those of the first step; ``threads``, per process, and the
    ``allocator`` of the main memory are those of the last one.
    """

    precision: Precision
    memory_format: MemoryFormat
    threads: int
    allocator: str


class Point(TypedDict):
    """A point of the learning curve: the mean ``loss`` of the steps since the previous point."""

    step: int
    images: int
    loss: float
    learning_rate: float


class Plan(BaseModel, frozen=True, strict=True, extra="forbid"):
    """The entries of a record that are known before the run, except for ``weights``."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    purpose: Purpose
    paper: Paper | None = None
    seed: int
    deviations: tuple[Deviation, ...]
    dataset: Data
    initial_weights: InitialWeights | None
    weights: Weights | None = None
    net: dict[str, Any]
    recipe: dict[str, Any]

    @model_validator(mode="after")
    def _held_out(self) -> Self:
        trained, scored = self.dataset.trained_on, self.dataset.scored_on
        lists = [(part.checksum, part.contents) for part in (trained, scored)]
        same = trained.split == scored.split or lists[0] == lists[1]
        if same and self.purpose != "demonstration":
            raise ValueError(f"a {self.purpose} run must not be scored on its training images")
        return self

    @property
    def file_name(self) -> str:
        """``<experiment>.seed<N>.json``, with the purpose before ``.json`` unless it is final."""
        purpose = "" if self.purpose == "final" else f".{self.purpose}"
        return f"{self.experiment}.seed{self.seed}{purpose}.json"


class Record(Plan, frozen=True):
    """One run. Times are in seconds, metrics in percent, losses as the recipe reduces them.

    Null ``paper``: the run replicates no row; ``initial_weights``: the net starts at random;
    ``weights``: the trained net was not kept; ``commit``: the code ran outside a checkout;
    ``execution``: an older version ran, with channels last and the recipe's precision;
    ``checksum``: it wrote the file without one.
    """

    images_seen: NonNegativeInt
    versions: dict[str, str]
    commit: str | None
    hardware: str
    execution: Execution | None = None
    seconds: float
    heads: Annotated[dict[str, Head], Field(min_length=1)]
    curve: list[Point]
    checksum: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$")] = None  # of all other entries

    @property
    def precision(self) -> Precision:
        """The precision of the first step, as executed."""
        if self.execution:
            return self.execution.precision
        return self.recipe.get("precision", "32-true")

    @property
    def scores(self) -> dict[str, float]:
        """The four metrics of the main head, in percent, and the geometric pixel accuracy if any.

        The main head is ``semantic`` if there are several, otherwise the only one.
        """
        main = self.heads.get("semantic") or next(iter(self.heads.values()))
        scores = dict(vars(main.metrics))
        if "geometric" in self.heads:
            scores["geometric_accuracy"] = self.heads["geometric"].metrics.pixel_accuracy
        return scores


def write(record: Record, directory: str | Path) -> Path:
    """Write the record atomically to its file in ``directory``; returns the path.

    Raises ValueError for values that JSON cannot hold.
    """
    path = Path(directory) / record.file_name
    data = record.model_dump(exclude={"checksum"})
    for point in data["curve"]:
        point |= {key: float(f"{point[key]:.6g}") for key in ("loss", "learning_rate")}
    try:
        text = _layout(data | {"checksum": _checksum(data)}) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the record cannot be written as JSON: {error}") from error
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def read(path: str | Path) -> Record:
    """Read one record.

    Raises FileNotFoundError, or ValueError for anything but a valid record under its own name, as
    it was written.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        record = Record.model_validate_json(content)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such record") from None
    except ValidationError as error:
        remedy = "restore the file from version control or run the experiment again"
        raise ValueError(f"{path}: not a valid record: {one_line(error)}; {remedy}") from None
    if path.name != record.file_name:
        raise ValueError(f"{path}: holds {record.file_name}; rename the file to that")
    if record.checksum and record.checksum != _checksum(json.loads(content)):
        remedy = (
            "restore the file from version control, or delete the entry checksum if you edited it"
        )
        raise ValueError(f"{path}: changed since it was written, its checksum differs; {remedy}")
    return record.model_copy(update={"checksum": None})


def _checksum(data: Mapping[str, Any]) -> str:
    """SHA-256 of all entries except for the checksum itself."""
    entries = {key: value for key, value in data.items() if key != "checksum"}
    text = json.dumps(entries, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def load_records(directory: str | Path) -> list[Record]:
    """Read all records (``*.seed*.json``), sorted by experiment, purpose (final first) and seed.

    Raises FileNotFoundError for a missing directory and ValueError for an invalid record.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such folder; name the folder of the records")
    records = map(read, directory.glob("[!.]*.seed*.json"))
    return sorted(records, key=lambda r: (r.experiment, get_args(Purpose).index(r.purpose), r.seed))


def find(records: Iterable[Record], experiment: str, purpose: str = "final") -> list[Record]:
    """The records of one experiment and purpose, sorted by seed."""
    found = [r for r in records if (r.experiment, r.purpose) == (experiment, purpose)]
    return sorted(found, key=lambda record: record.seed)


def _layout(value: Any, indent: int = 0) -> str:
    """JSON with readable diffs: one line for what fits on it and for every list of plain values."""
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if not isinstance(value, list | tuple | dict) or len(flat) + indent <= WIDTH:
        return flat
    if isinstance(value, dict):
        items = [
            f"{json.dumps(k, ensure_ascii=False)}: {_layout(value[k], indent + 1)}" for k in value
        ]
    elif any(isinstance(item, list | tuple | dict) for item in value):
        items = [_layout(item, indent + 1) for item in value]
    else:
        return flat
    line = "\n" + " " * (indent + 1)
    return flat[0] + line + ("," + line).join(items) + line[:-1] + flat[-1]
