"""Run records: one JSON file per run, from which every table of the book is computed.

A record holds the training set, every setting, the initial weights, the code version, the hardware
and the time of a run, its confusion matrices, from which every metric can be recomputed, and its
deviations from the paper. No record, no number.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
    with_config,
)
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # pydantic requires it below Python 3.12

from fcn.environment import atomic_write
from fcn.training.validation import one_line

if TYPE_CHECKING:
    from fcn.metrics import ConfusionMatrix

STRICT = ConfigDict(extra="forbid", strict=True)
Purpose = Literal["final", "validation", "demonstration"]
PURPOSES: dict[Purpose, str] = {
    "final": "trained on all training images; its last weights scored once on the test split",
    "validation": "trained without the validation part of the training images and scored on it",
    "demonstration": "trained and scored on synthetic images; never next to real results",
}
Pixels = Annotated[int, Field(ge=0, lt=2**63)]
_WIDTH = 118


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
    """The table and the row of the paper that a run replicates: ``Paper("5", "FCN-16s")``."""

    table: str
    row: str


@dataclass(frozen=True, config=STRICT)
class Split:
    """A list of images: the name of the split, their number, the SHA-256 of the list."""

    split: str
    images: int
    checksum: str


@dataclass(frozen=True, config=STRICT)
class Data:
    """The name of the data set, the training images and the evaluation images."""

    name: str
    trained_on: Split
    scored_on: Split


@dataclass(frozen=True, config=STRICT)
class InitialWeights:
    """The weights a run starts from: the name and the SHA-256 of the file, or of two with "+"."""

    name: str
    checksum: str


@dataclass(frozen=True, config=STRICT)
class Weights:
    """The trained net: its path relative to the project, with ``/``, and the file's SHA-256."""

    path: str
    sha256: str

    @model_validator(mode="after")
    def _relative(self) -> Self:
        if PurePosixPath(self.path).is_absolute() or PureWindowsPath(self.path).drive:
            raise ValueError(f"{self.path} is an absolute path; make it relative to the project")
        return self


@dataclass(frozen=True, config=STRICT)
class PaperMetrics:
    """The four metrics of section 5, in percent."""

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float


class Head(BaseModel, frozen=True):
    """The evaluation of one head on the whole split.

    ``metrics`` and ``iu_per_class`` are in percent; ``classes_counted`` is the number of classes in
    the ground truth, the others have no IU. ``classes`` names the labels in order;
    ``confusion_matrix`` is C x C pixels, rows = ground truth.
    """

    model_config = STRICT

    metrics: PaperMetrics
    classes_counted: NonNegativeInt
    iu_per_class: tuple[float | None, ...]
    classes: tuple[str, ...]
    confusion_matrix: tuple[tuple[Pixels, ...], ...]

    @model_validator(mode="after")
    def _square(self) -> Self:
        lengths = {len(self.iu_per_class), len(self.confusion_matrix)}
        lengths |= {len(row) for row in self.confusion_matrix}
        if lengths != {len(self.classes)}:
            raise ValueError(
                f"{len(self.classes)} classes need a square confusion matrix of that size and as "
                f"many entries in iu_per_class, not {len(self.confusion_matrix)} rows and "
                f"{len(self.iu_per_class)} entries"
            )
        return self

    @classmethod
    def scored(cls, classes: Sequence[str], confusion: "ConfusionMatrix") -> Self:
        """The head with these class names. Raises ValueError if no labelled pixel was counted."""
        m = confusion.metrics()
        return cls(
            metrics=PaperMetrics(
                m.pixel_accuracy, m.mean_accuracy, m.mean_iu, m.frequency_weighted_iu
            ),
            classes_counted=m.classes_counted,
            iu_per_class=m.iu_per_class,
            classes=tuple(classes),
            confusion_matrix=tuple(map(tuple, confusion.matrix.tolist())),
        )

    def recomputed(self) -> Self:
        """The same head with all metrics recomputed from the confusion matrix."""
        from fcn.metrics import ConfusionMatrix  # imports torch

        matrix = ConfusionMatrix.from_matrix(self.confusion_matrix, void=-1)
        return type(self).scored(self.classes, matrix)


@with_config(STRICT)
class Point(TypedDict):
    """A point of the learning curve: the mean ``loss`` of the steps since the previous point."""

    step: int
    images: int
    loss: float
    learning_rate: float


class Record(BaseModel, frozen=True):
    """One run. Times are in seconds, metrics in percent, losses as the recipe reduces them.

    ``net`` and ``recipe`` hold every setting as JSON values. None means: ``paper``, the run
    replicates no row; ``initial_weights``, the net starts at random; ``weights``, the trained net
    was not kept; ``commit``, the code ran outside a checkout. A real run scored on its training
    images is refused.
    """

    model_config = STRICT

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
    images_seen: NonNegativeInt
    versions: dict[str, str]
    commit: str | None
    hardware: str
    seconds: float
    heads: Annotated[dict[str, Head], Field(min_length=1)]
    curve: list[Point]

    @model_validator(mode="after")
    def _held_out(self) -> Self:
        trained, scored = self.dataset.trained_on, self.dataset.scored_on
        same = trained.split == scored.split or trained.checksum == scored.checksum
        if same and self.purpose != "demonstration":
            raise ValueError(f"a {self.purpose} run must not be scored on its training images")
        return self

    @property
    def file_name(self) -> str:
        """``<experiment>.seed<N>.json``, with the purpose before ``.json`` unless it is final."""
        purpose = "" if self.purpose == "final" else f".{self.purpose}"
        return f"{self.experiment}.seed{self.seed}{purpose}.json"

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
    """Write the record atomically, replacing that of the same experiment, seed and purpose.

    Makes the directory if needed and returns the path of the file. Raises ValueError for values
    that JSON cannot hold.
    """
    path = Path(directory) / record.file_name
    data = record.model_dump()
    for point in data["curve"]:
        point |= {key: float(f"{point[key]:.6g}") for key in ("loss", "learning_rate")}
    try:
        text = _layout(data) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: the record cannot be written as JSON: {error}") from error
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def read(path: str | Path) -> Record:
    """Read one record.

    Raises FileNotFoundError for a missing file, and ValueError, naming the file, the fault and the
    remedy, for anything but a valid record under its own name.
    """
    path = Path(path)
    try:
        record = Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such record") from None
    except ValidationError as error:
        remedy = "restore the file from version control or run the experiment again"
        raise ValueError(f"{path}: not a valid record: {one_line(error)}; {remedy}") from None
    if path.name != record.file_name:
        raise ValueError(f"{path}: holds {record.file_name}; rename the file to that")
    return record


def load_records(directory: str | Path) -> list[Record]:
    """Read all records (``*.seed*.json``), sorted by experiment, purpose (final first) and seed.

    Raises FileNotFoundError for a missing directory, and ValueError as ``read`` does.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"{directory}: no such folder; name the folder of the records")
    records = [read(p) for p in directory.glob("*.seed*.json") if not p.name.startswith(".")]
    order = list(PURPOSES)
    return sorted(records, key=lambda r: (r.experiment, order.index(r.purpose), r.seed))


def find(records: Iterable[Record], experiment: str, purpose: str = "final") -> list[Record]:
    """The records of one experiment and purpose, sorted by seed."""
    found = [r for r in records if (r.experiment, r.purpose) == (experiment, purpose)]
    return sorted(found, key=lambda record: record.seed)


def _layout(value: Any, indent: int = 0) -> str:
    """JSON with readable diffs: one line for what fits on it and for every list of plain values."""
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if not isinstance(value, list | tuple | dict) or len(flat) + indent <= _WIDTH:
        return flat
    if not isinstance(value, dict) and not any(isinstance(v, list | tuple | dict) for v in value):
        return flat
    inner = "\n" + " " * (indent + 1)
    if isinstance(value, dict):
        start, end = "{", "}"
        items = [
            f"{json.dumps(key, ensure_ascii=False)}: {_layout(item, indent + 1)}"
            for key, item in value.items()
        ]
    else:
        start, end = "[", "]"
        items = [_layout(item, indent + 1) for item in value]
    return start + inner + ("," + inner).join(items) + "\n" + " " * indent + end
