"""What the chapter on PASCAL VOC says in numbers: tables and sentences made from published rows and records."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pandas as pd

from fcn.data.voc import CLASSES
from fcn.replication import paper as published
from fcn.replication import tables
from fcn.replication.benchmark import NETS, PAPER, Times
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import CLAIMS, compare
from fcn.replication.paper import METRICS
from fcn.replication.tables import ABSENT, COLUMNS, NOT_RUN
from fcn.training.record import Record, find

TABLE_1 = {
    "FCN-AlexNet": {"conv. layers": "8", "parameters": "57M", "receptive field": "355", "max stride": "32"},
    "FCN-VGG16": {"conv. layers": "16", "parameters": "134M", "receptive field": "404", "max stride": "32"},
    "FCN-GoogLeNet": {"conv. layers": "22", "parameters": "6M", "receptive field": "907", "max stride": "32"},
}
"""The structural columns of Table 1, as printed."""

SUBSET = {
    "FCN-AlexNet, 32s": "voc-subset-bvlc_alexnet-32s",
    "FCN-GoogLeNet, 32s": "voc-subset-googlenet-32s",
    "FCN-GoogLeNet, 16s": "voc-subset-googlenet-16s",
    "FCN-GoogLeNet, 8s": "voc-subset-googlenet-8s",
}
"""Our runs on the photos of VOC at hand, by the names that the chapter gives their nets."""
SIX = ("cat", "cow", "dog", "horse", "person", "sheep")
"""The classes that these photos are of: five animals, and the people with them."""


def beside_published(computed: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The structural columns of Table 1, a row for the paper's and one for ours of each net."""
    rows = [
        pd.Series(values, name=(net, whose))
        for net in TABLE_1
        for whose, values in (("paper", TABLE_1[net]), ("computed", computed[net]))
    ]
    return pd.DataFrame(rows)


def ious(records: Sequence[Record], experiment: str) -> str:
    """The mean IU of an experiment's final runs, or "not run"."""
    runs = tables.final(records, experiment)
    return f"{sum(tables.scores(r)['mean_iu'] for r in runs) / len(runs):.1f}" if runs else NOT_RUN


def table_1(records: Sequence[Record]) -> pd.DataFrame:
    """Mean IU of the three trunks on VOC 2011 val: the paper's and ours."""
    rows = [row for row in published.TABLES if row.table == "Table 1"]
    return pd.DataFrame(
        [{"paper": f"{r.metrics['mean_iu']:.1f}", "ours": ious(records, r.experiment),
          "command": f"python -m fcn train {r.experiment}"} for r in rows],
        [row.label for row in rows],
    )  # fmt: skip


def forward_times(found: Mapping[str, Mapping[str, object]]) -> pd.DataFrame:
    """Milliseconds of a forward pass: the paper's on a K40c, and ``found`` ({machine: what ``fcn.speed`` measured}),
    the median of the trials, for both alignments; in brackets how many times as long as FCN-VGG16 in its column."""
    columns = {"K40c": dict(PAPER)}
    for machine, arrays in found.items():
        keys = zip(arrays["nets"], arrays["alignments"], strict=True)  # type: ignore[call-overload]
        for (net, alignment), trials in zip(keys, arrays["milliseconds"], strict=True):  # type: ignore[call-overload]
            columns.setdefault(f"{machine}, {alignment}", {})[str(net)] = Times(tuple(trials)).median
    return pd.DataFrame(
        {name: [f"{ms[net]:,.0f} ({ms[net] / ms['FCN-VGG16']:.2f})" for net in NETS] for name, ms in columns.items()},
        list(NETS),
    )


def table_2(records: Sequence[Record]) -> pd.DataFrame:
    """Table 2: the paper's metrics, then the mean IU of the authors' release, of pytorch-fcn, and ours by the paper's
    recipe and by that of the release."""

    def others(rows: Sequence[published.Row], label: str) -> str:
        return next((f"{r.metrics['mean_iu']:.1f}" for r in rows if (r.table, r.label) == ("Table 2", label)), ABSENT)

    paper = {row.label: row.metrics for row in published.TABLES if row.table == "Table 2"}
    lines = {}
    for label in (*paper, "FCN-8s at-once"):
        name = f"voc-vgg16-{label.removeprefix('FCN-').replace(' ', '-')}"
        heavy = "voc-vgg16-8s-heavy-at-once" if label.endswith("at-once") else f"{name}-heavy"
        lines[label] = {
            **{COLUMNS[m]: f"{paper[label][m]:.1f}" if label in paper else ABSENT for m in METRICS},
            "release": others(published.RELEASE, label),
            "pytorch-fcn": others(published.OTHERS, f"pytorch-fcn {label}"),
            "ours": ious(records, name),
            "ours, heavy": ious(records, heavy) if heavy in EXPERIMENTS else ABSENT,
        }
    return pd.DataFrame(lines).T


def claims(records: Sequence[Record]) -> pd.DataFrame:
    """What the text says of variants, our runs of them on VOC, and what a pair of runs on SIFT Flow showed: the
    difference that the change made, in points of mean IU, and how that goes with the paper."""
    lines = {}
    for claim in CLAIMS:
        if claim.full.startswith("voc-"):
            found = compare(claim, records)
            lines[claim.change] = {
                "the paper": claim.says,
                "VOC, VGG16": ious(records, claim.full),
                "SIFT Flow, GoogLeNet": f"{found.difference:+.1f}: {found.verdict}" if found else NOT_RUN,
            }
    return pd.DataFrame.from_dict(lines, orient="index")


def table_3() -> pd.DataFrame:
    """Table 3, and what the authors' released net reached on the same server."""
    rows = [r for r in published.TABLES if r.table == "Table 3"]
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        line = lines.setdefault(row.label, {"VOC 2011": ABSENT, "VOC 2012": ABSENT, "time": ABSENT})
        line[row.of] = f"{row.metrics['mean_iu']:.1f}"
        if "forward_ms" in row.metrics:
            ms = row.metrics["forward_ms"]
            line["time"] = f"~{ms / 1000:g} s" if ms >= 1000 else f"~{ms:g} ms"
    released = next(r for r in published.RELEASE if r.table == "Table 3")
    lines["FCN-8s, released later"] = {"VOC 2011": ABSENT, released.of: f"{released.metrics['mean_iu']:.1f}",
                                       "time": ABSENT}  # fmt: skip
    return pd.DataFrame(lines).T


def subset(records: Sequence[Record]) -> dict[str, Record]:
    """Our final runs on the subset, the first seed of each, by net."""
    return {net: runs[0] for net, name in SUBSET.items() if (runs := find(records, name))}


def mean_iu(run: Record, classes: Sequence[str] = ("background", *SIX)) -> float:
    """The mean IU, percent, over some of a run's classes."""
    head = run.heads["semantic"]
    found = [head.metrics.iu_per_class[head.classes.index(name)] for name in classes]
    return sum(iu for iu in found if iu is not None) / len(found)


def subset_table(records: Sequence[Record]) -> pd.DataFrame:
    """Our runs on the subset: what they saw, and their metrics on its 445 photos, over all classes present there and
    over background and the six classes that the photos are of."""
    found = subset(records)
    lines = {}
    for net, name in SUBSET.items():
        if net not in found:
            lines[net] = {"record": f"python -m fcn train {name}"}
            continue
        run, metrics = found[net], found[net].heads["semantic"].metrics
        lines[net] = {
            "images seen": f"{run.images_seen:,}",
            **{COLUMNS[m]: f"{tables.scores(run)[m]:.1f}" for m in METRICS},
            f"mean IU of {1 + len(SIX)}": f"{mean_iu(run):.1f}",
            "classes": f"{metrics.classes_counted}",
            "record": f"seed {run.seed}",
        }
    table = pd.DataFrame.from_dict(lines, orient="index").fillna(NOT_RUN)
    return table[[*table.columns.drop("record"), "record"]]


def subset_classes(records: Sequence[Record], photos: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """The IU of every class that the subset's scored photos hold, for each of our nets, beside the number of ``photos``
    ({column: one number a class}) that show it; the classes of most photos first."""
    frame = pd.DataFrame(photos, list(CLASSES))
    for net, run in subset(records).items():
        ius = pd.Series(run.heads["semantic"].metrics.iu_per_class, list(CLASSES), dtype=object)
        frame[net] = [ABSENT if iu is None else f"{iu:.1f}" for iu in ius]
    last = list(photos)[-1]
    return frame[frame[last] > 0].sort_values(last, ascending=False, kind="stable")


def subset_order(records: Sequence[Record]) -> str:
    """What the runs on the subset say of skips and of the two trunks."""
    found = {net: mean_iu(run) for net, run in subset(records).items()}
    missing = [f"`python -m fcn train {SUBSET[net]}`" for net in SUBSET if net not in found]
    said = []
    steps = [net for net in SUBSET if "GoogLeNet" in net and net in found]
    for coarse, fine in pairwise(steps):
        apart = round(found[fine], 1) - round(found[coarse], 1)
        said.append(f"{fine} stands {apart:+.1f} points from {coarse}")
    both = [net for net in ("FCN-AlexNet, 32s", "FCN-GoogLeNet, 32s") if net in found]
    if len(both) == 2:
        said.append(f"{both[0]} reaches {found[both[0]]:.1f} and {both[1]} {found[both[1]]:.1f}")
    sentence = f"In the mean IU of background and the six classes, {'; '.join(said)}. " if said else ""
    return sentence + (f"Not run: {', '.join(missing)}." if missing else "")
