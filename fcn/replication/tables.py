"""Results beside the paper's: every table is made from the published rows of the catalogue and the recorded runs.

    python -m fcn.tables README.md          writes the results at a glance between the markers of a text file

Numbers are percent, with one decimal, as the paper prints them. Only final runs on real images enter; a run without a
record shows "not run" and the command that records it. Several seeds give their mean and, after ±, their sample
standard deviation.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from fcn.replication import deviations
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.experiment import Experiment
from fcn.replication.paper import METRICS, OTHERS, RELEASE, TABLES, TITLES, Row
from fcn.training import record as recorded
from fcn.training.record import Record

COLUMNS = {
    "pixel_accuracy": "pixel acc.", "mean_accuracy": "mean acc.", "mean_iu": "mean IU",
    "frequency_weighted_iu": "f.w. IU", "geometric_accuracy": "geometric acc.", "forward_ms": "forward, ms",
}  # fmt: skip
MEASURED = (
    *METRICS,
    "geometric_accuracy",
)  # what a record holds; forward times are the paper's own
NETS = {"alexnet": "AlexNet", "bvlc_alexnet": "AlexNet", "vgg16": "VGG16", "googlenet": "GoogLeNet"}
ABSENT, NOT_RUN = "-", "not run"
SYNTHETIC = ("scenes",)

# The runs that a small machine can make; whatever else has been recorded joins them.
GLANCE = (
    "sift-flow-googlenet-32s-short",
    "sift-flow-googlenet-16s-short",
    "sift-flow-googlenet-8s-short",
    "sift-flow-googlenet-8s-tuned",
)
BEGIN = "<!-- results at a glance, written by: python -m fcn.tables README.md -->"
END = "<!-- end of results at a glance -->"


def scores(record: Record) -> dict[str, float]:
    """The four metrics of a record's main head, in percent, and the geometric head's pixel accuracy where it has one.

    The main head is ``semantic`` where there are several, and otherwise the only one.
    """
    main = record.heads.get("semantic") or next(iter(record.heads.values()))
    found = {name: getattr(main.metrics, name) for name in METRICS}
    if "geometric" in record.heads:
        found["geometric_accuracy"] = record.heads["geometric"].metrics.pixel_accuracy
    return found


def final(records: Sequence[Record], experiment: str) -> list[Record]:
    """The records of an experiment that may stand beside a published row: final runs on real images, by seed."""
    return [r for r in recorded.find(records, experiment) if r.dataset.name not in SYNTHETIC]


def table(name: str, records: Sequence[Record]) -> pd.DataFrame:
    """A table of the paper by its name ("Table 5"): its published rows, then a row for each experiment made for it.

    The index holds the paper's labels and the experiments' names, ``source`` the paper's table or "ours"; all is text.
    Results of the PASCAL test server (Table 3) have no experiment, since only that server can score them. Raises
    ValueError for an unknown table.
    """
    if name not in TITLES:
        raise ValueError(f'the paper has no results in "{name}": choose one of {", ".join(TITLES)}')
    published = [row for row in TABLES if row.table == name]
    ours = [e for e in EXPERIMENTS.values() if e.paper is not None and e.paper[0] == name]
    return _frame(published, ours, records)


def beside(name: str, records: Sequence[Record]) -> pd.DataFrame:
    """A table of the paper with all that stands beside it: the paper's rows, those of the authors' release, those of
    other replications, and ours, each that is recorded followed by its difference from the row that it replicates.

    As ``table``, with ``source`` also "release", "others" or "difference" (in points), and with a last column that says
    in words what sets a row apart from the paper's, for ours the kinds of their deviations. What has no record says
    "not run" once, under mean IU: ``python -m fcn train`` and its name record it. Raises ValueError for an unknown
    table.
    """
    frame = table(name, records)
    apart = {
        "release": {_label(row): "the authors' later recipe and net" for row in RELEASE},
        "others": {row.label: row.note for row in OTHERS},
    }
    frames = [frame[frame["source"] != "ours"]]
    for source, rows in (("release", RELEASE), ("others", OTHERS)):
        if chosen := [row for row in rows if row.table == name]:
            frames.append(_frame(chosen, [], records).assign(source=source))
    for label, row in frame[frame["source"] == "ours"].iterrows():
        experiment, runs = EXPERIMENTS[str(label)], final(records, str(label))
        if not runs:
            row = pd.Series(
                {**row.replace(NOT_RUN, ABSENT), "mean IU": NOT_RUN, "record": ABSENT}, name=label
            )
        frames.append(row.to_frame().T)
        lines = (
            {line: None for run in runs for line in run.deviations}
            if runs
            else experiment.deviations
        )
        apart.setdefault("ours", {})[str(label)] = ", ".join(deviations.kinds(lines)) or ABSENT
        target = replicated(experiment)
        if runs and target is not None:
            less = difference(mean_scores(runs), target.metrics)
            cells = {COLUMNS[metric]: f"{points:+.1f}" for metric, points in less.items()}
            frames.append(
                pd.DataFrame([{"source": "difference", **cells}], [f"less {_label(target)}"])
            )
    whole = pd.concat(frames).fillna(ABSENT)
    columns = [c for c in ("source", "of", *COLUMNS.values(), "record") if c in whole.columns]
    whole = whole[columns]
    whole["what sets it apart"] = [
        apart.get(source, {}).get(label, ABSENT)
        for label, source in zip(whole.index, whole["source"], strict=True)
    ]
    return whole


def ours(names: Sequence[str], records: Sequence[Record]) -> pd.DataFrame:
    """The rows of some experiments alone, for runs that stand beside no published row."""
    return _frame([], [EXPERIMENTS[name] for name in names], records).drop(columns="source")


def coverage(records: Sequence[Record]) -> pd.DataFrame:
    """How many experiments of the catalogue stand beside each table, how many are recorded, by how many final runs."""
    rows = {}
    for name in (*TITLES, "no table"):
        members = [
            e.name for e in EXPERIMENTS.values() if (e.paper[0] if e.paper else "no table") == name
        ]
        found = [final(records, member) for member in members]
        if members:
            rows[name] = {
                "experiments": len(members),
                "recorded": sum(map(bool, found)),
                "runs": sum(map(len, found)),
            }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return pd.concat([frame, frame.sum().to_frame("all").T])


def replicated(experiment: Experiment) -> Row | None:
    """The published row that an experiment replicates, of the authors' release if it follows that, or None.

    Where one label stands for several class sets, it is the row of an experiment on the same data.
    """
    if named := [row for row in (*RELEASE, *TABLES) if row.experiment == experiment.name]:
        return named[0]
    rows = [row for row in TABLES if (row.table, row.label) == experiment.paper]
    same = [
        r for r in rows if r.experiment and EXPERIMENTS[r.experiment].dataset == experiment.dataset
    ]
    return next(iter(same + rows), None)


def mean_scores(runs: Sequence[Record]) -> dict[str, float]:
    """The scores of several runs of one experiment, their mean over the seeds."""
    found = [scores(run) for run in runs]
    return {key: statistics.fmean(values[key] for values in found) for key in found[0]}


def difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, float]:
    """``ours`` less ``theirs`` in points, of the figures as a table prints them, where both have the metric."""
    return {
        m: round(ours[m], 1) - round(theirs[m], 1) for m in MEASURED if m in ours and m in theirs
    }


def at_a_glance(records: Sequence[Record]) -> pd.DataFrame:
    """The runs of this project (``GLANCE`` and all that are recorded), below the paper's rows that they follow."""
    ours = [
        e for e in EXPERIMENTS.values() if e.paper and (e.name in GLANCE or final(records, e.name))
    ]
    rows = {e.paper for e in ours}
    frames = [
        _frame(
            [row for row in TABLES if row.table == name and (row.table, row.label) in rows],
            [e for e in ours if e.paper and e.paper[0] == name],
            records,
        )
        for name in TITLES
        if any(table == name for table, _ in filter(None, rows))
    ]
    return pd.concat(frames).fillna(ABSENT)


def markdown(frame: pd.DataFrame, results: str = "results") -> str:
    """The table in Markdown; experiments and commands as code, seeds as links to their records below ``results``."""
    lines = [
        ["", *frame.columns],
        [":--", *("--:" if c in COLUMNS.values() else ":--" for c in frame.columns)],
    ]
    for name, row in frame.iterrows():
        cells = {column: str(value) for column, value in row.items()}
        run = cells.get("record", "")
        if run.startswith("python"):
            cells["record"] = f"`{run}`"
        elif run.startswith("seed"):
            seeds = [s.strip() for s in run.split(maxsplit=1)[1].split(",")]
            cells["record"] = ", ".join(f"[seed {s}]({results}/{name}.seed{s}.json)" for s in seeds)
        label = f"`{name}`" if name in EXPERIMENTS else str(name)
        lines.append(
            [f"*{label}*" if cells.get("source") == "difference" else label, *cells.values()]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def block(records: Sequence[Record]) -> str:
    """What stands between the markers of the README, the markers included."""
    return f"{BEGIN}\n\n{markdown(at_a_glance(records))}\n\n{END}"


def with_block(text: str, new: str, file: str | Path) -> str:
    """``text`` with ``new`` from marker to marker. Raises ValueError, naming ``file``, where one is missing."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(
            f"{file}: the markers of the results at a glance are missing; add the lines {BEGIN} and {END}"
        )
    return before + new + after


def write(path: Path) -> None:
    """Write the results at a glance, from the records in ``results`` beside the file, between the file's markers."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; give the text file that holds the markers, README.md"
        )
    text = with_block(
        path.read_text(encoding="utf-8"),
        block(recorded.load_records(path.parent / "results")),
        path,
    )
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _frame(published: list[Row], ours: list[Experiment], records: Sequence[Record]) -> pd.DataFrame:
    """Published rows above ours, with the columns that any of them has."""
    names, lines = [], []
    for row in published:
        values = {
            key: f"{value:g}" if key == "forward_ms" else f"{value:.1f}"
            for key, value in row.metrics.items()
        }
        names.append(_label(row))
        lines.append({"source": row.table, "of": row.of, **values, "record": ABSENT})
    runs = {experiment.name: final(records, experiment.name) for experiment in ours}
    found = {name: [scores(run) for run in of_one] for name, of_one in runs.items()}
    # Without any record, what is not run is said of mean IU.
    seen = {"mean_iu"}.union(*lines, *(score for of_one in found.values() for score in of_one))
    for name, of_one in found.items():
        values = {
            key: _several([score[key] for score in of_one if key in score])
            for key in seen & {*MEASURED}
        }
        target = replicated(EXPERIMENTS[name])
        names.append(name)
        lines.append(
            {
                "source": "ours",
                "of": target.of if target else "",
                **values,
                "record": _run(name, runs[name]),
            }
        )
    columns = [
        key for key in ("source", "of", *COLUMNS, "record") if any(line.get(key) for line in lines)
    ]
    return (
        pd.DataFrame(lines, index=names)
        .reindex(columns=columns)
        .replace("", ABSENT)
        .fillna(ABSENT)
        .rename(columns=COLUMNS)
    )


def _run(name: str, runs: list[Record]) -> str:
    """Where a row's numbers come from, or, without any, the command that records them."""
    seeds = ", ".join(str(run.seed) for run in runs)
    return f"seed{'s' if len(runs) > 1 else ''} {seeds}" if runs else f"python -m fcn train {name}"


def _label(row: Row) -> str:
    """The paper's label, with the net where the label leaves it out."""
    net = NETS[EXPERIMENTS[row.experiment].net] if row.experiment else ""
    return row.label if net in row.label else f"{row.label}, {net}"


def _several(values: list[float]) -> str:
    if not values:
        return NOT_RUN
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        write(Path(sys.argv[1]))
    except UnicodeDecodeError:
        print(
            f"{sys.argv[1]}: no text in UTF-8; give the text file that holds the markers, README.md",
            file=sys.stderr,
        )
        sys.exit(2)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
