"""Published numbers (``published.csv``), in percent and milliseconds: the paper's and others'."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

TEXTS = ("table", "label", "of", "experiment", "note", "url")
METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")
TITLES = {
    "Table 1": "Three classifiers made fully convolutional, PASCAL VOC 2011 val",
    "Table 2": "Skip connections, the seg11valid part of PASCAL VOC 2011 val",
    "Table 3": "PASCAL VOC 2011 and 2012 test",
    "Table 4": "NYUDv2, 40 classes",
    "Table 5": "SIFT Flow, 33 semantic and 3 geometric classes",
    "Table 6": "PASCAL-Context, 59 and 33 classes",
}


@dataclass(frozen=True)
class Row:
    """A published row; metrics that it does not report are absent.

    ``of`` names the head, classes or images that ``metrics`` cover; ``experiment``, the one of the
    catalogue that replicates the row. Rows of the release and of others have a ``url``; ``note``
    says how other people's differ from the paper's.
    """

    table: str
    label: str
    metrics: dict[str, float]
    of: str = ""
    experiment: str = ""
    note: str = ""
    url: str = ""


def _rows(source: str) -> tuple[Row, ...]:
    with Path(__file__).with_name("published.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["source"] == source]
    columns = (*METRICS, "geometric_accuracy", "forward_ms")
    metrics = [{key: json.loads(line[key]) for key in columns if line[key]} for line in lines]
    texts = [{k: line[k] for k in TEXTS} for line in lines]
    return tuple(Row(metrics=m, **t) for m, t in zip(metrics, texts, strict=True))


TABLES = _rows("paper")
RELEASE = _rows("release")
"""The nets of the authors' later release, trained by the heavy recipe, as its README reports."""
OTHERS = _rows("others")
"""Other replications and relatives: none is the paper's net on the paper's terms."""


def row(table: str, label: str, of: str = "") -> Row:
    """The paper's row with this label, and with ``of`` if given. Raises KeyError if absent."""
    for one in TABLES:
        if (one.table, one.label) == (table, label) and of in ("", one.of):
            return one
    raise KeyError(f"{table} has no row {label} {of}".rstrip())
