"""The paper's tables with our results: published rows, then a row for each of our experiments.

Numbers are percent with one decimal, as the paper prints them, of final runs on real images only.
Several seeds give their mean and, after ±, their sample standard deviation.
"""

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fcn.environment import atomic_write
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.deviations import deviations_of, kinds
from fcn.replication.experiment import Experiment
from fcn.replication.paper import METRICS, OTHERS, RELEASE, TABLES, TITLES, Row
from fcn.training.record import Record, find, load_records

COLUMNS = {
    "pixel_accuracy": "pixel acc.",
    "mean_accuracy": "mean acc.",
    "mean_iu": "mean IU",
    "frequency_weighted_iu": "f.w. IU",
    "geometric_accuracy": "geometric acc.",
    "forward_ms": "forward, ms",
}
MEASURED = (*METRICS, "geometric_accuracy")  # in our records; forward times are the paper's
NETS = {"alexnet": "AlexNet", "bvlc_alexnet": "AlexNet", "vgg16": "VGG16", "googlenet": "GoogLeNet"}
ABSENT, NOT_RUN = "-", "not run"
EPOCHS = 175  # of the paper, at least (section 4.3)
LATER = "the authors' later recipe and net"

GLANCE = [f"sift-flow-googlenet-{e}" for e in ("32s-short", "16s-short", "8s-short", "8s-tuned")]
"""Always in the README, together with every other experiment that has a record."""
BEGIN = "<!-- results at a glance, written by: python -m fcn list --readme README.md -->"
END = "<!-- end of results at a glance -->"


def final(records: Sequence[Record], experiment: str) -> list[Record]:
    """The final runs of an experiment on real images, by seed: those that tables show."""
    return [run for run in find(records, experiment) if run.dataset.name != "scenes"]


def table(name: str, records: Sequence[Record]) -> pd.DataFrame:
    """A table of the paper ("Table 5"): its rows, then those of our experiments; all text.

    The index holds the paper's labels and the names of experiments; ``source`` is the paper's table
    or "ours", ``record`` names the seeds or the command that runs the experiment. Raises ValueError
    for an unknown table.
    """
    if name not in TITLES:
        raise ValueError(f'the paper has no results in "{name}": choose one of {", ".join(TITLES)}')
    return _frame(
        [row for row in TABLES if row.table == name],
        [e for e in EXPERIMENTS.values() if e.paper is not None and e.paper[0] == name],
        records,
    )


def comparison(name: str, records: Sequence[Record]) -> pd.DataFrame:
    """A table of the paper with the rows of the authors' release, of others, and ours.

    As :func:`table`, with ``source`` also "release", "others" or "difference". The last follows an
    experiment that has a record: its scores minus those of the row that it replicates, in points.
    The last column tells how a row differs from the paper's; for ours, its kinds of deviations.
    """
    frame = table(name, records)
    frames = [frame[frame["source"] != "ours"].assign(apart=ABSENT)]
    for source, rows in (("release", RELEASE), ("others", OTHERS)):
        if chosen := [row for row in rows if row.table == name]:
            notes = [f"{row.note or LATER} ([source]({row.url}))" for row in chosen]
            frames.append(_frame(chosen, [], records).assign(source=source, apart=notes))
    for label, row in frame[frame["source"] == "ours"].iterrows():
        experiment, runs = EXPERIMENTS[str(label)], final(records, str(label))
        several: Sequence[Record | Experiment] = runs or [experiment]
        found = [one for run in several for one in deviations_of(run)]
        row["apart"] = ", ".join(kinds(found)) or ABSENT
        if not runs:
            row = row.replace(NOT_RUN, ABSENT)
            row["mean IU"], row["record"] = NOT_RUN, ABSENT
        frames.append(row.to_frame().T)
        target = replicated(experiment)
        if runs and target is not None:
            line = {"source": "difference"} | _differences(runs, target)
            frames.append(pd.DataFrame([line], [f"less {_label(target)}"]))
    columns = ["source", "of", *COLUMNS.values(), "record", "apart"]
    joined = pd.concat(frames).fillna(ABSENT).filter(columns)
    return joined.rename(columns={"apart": "what sets it apart"})


def ours(names: Sequence[str], records: Sequence[Record]) -> pd.DataFrame:
    """The rows of some experiments, without published ones."""
    return _frame([], [EXPERIMENTS[name] for name in names], records).drop(columns="source")


def coverage(records: Sequence[Record]) -> pd.DataFrame:
    """The number of experiments, of those with a record, and of final runs for each table."""
    names = [e.paper[0] if e.paper else "no table" for e in EXPERIMENTS.values()]
    runs = pd.Series([len(final(records, name)) for name in EXPERIMENTS])
    rows = pd.DataFrame({"experiments": 1, "recorded": runs > 0, "runs": runs})
    frame = rows.groupby(names).sum()
    frame.loc["all"] = frame.sum()
    return frame


def replicated(experiment: Experiment) -> Row | None:
    """The published row that an experiment replicates, the paper's or the release's, or None.

    If several rows share its label, the one of an experiment on the same data.
    """
    own = [row for row in (*RELEASE, *TABLES) if row.experiment == experiment.name]
    near = [row for row in TABLES if (row.table, row.label) == experiment.paper]
    others = [(row, EXPERIMENTS.get(row.experiment)) for row in near]
    same = [row for row, other in others if other and other.dataset == experiment.dataset]
    return next(iter(own + same + near), None)


def at_a_glance(records: Sequence[Record]) -> pd.DataFrame:
    """``GLANCE`` and all experiments with a record, below the rows that they replicate."""
    shown = [e for e in EXPERIMENTS.values() if e.name in GLANCE or final(records, e.name)]
    frames = []
    for name in TITLES:
        if members := [e for e in shown if e.paper and e.paper[0] == name]:
            rows = [r for r in TABLES if (r.table, r.label) in {e.paper for e in members}]
            frame = _frame(rows, members, records)
            training = [_published(row) for row in rows] + [_training(e) for e in members]
            frame.insert(len(frame.columns) - 1, "net, training", training)
            frames.append(frame)
    return pd.concat(frames).fillna(ABSENT)


def markdown(frame: pd.DataFrame, results: str = "results") -> str:
    """The table in Markdown; experiments and commands are code, seeds links to their records.

    Names of classes may be anything: what would be a tag in HTML, or end a cell, becomes text.
    """
    sides = ["--:" if _numeric(frame[column]) else ":--" for column in frame]
    lines = [["", *map(_text, frame.columns)], [":--", *sides]]
    for name, row in frame.iterrows():
        cells = {column: _text(value) for column, value in row.items()}
        run = cells.get("record", "")
        if run.startswith("python"):
            cells["record"] = f"`{run}`"
        elif run.startswith("seed"):
            seeds = re.findall(r"\d+", run)
            links = [f"[seed {seed}]({results}/{name}.seed{seed}.json)" for seed in seeds]
            cells["record"] = ", ".join(links)
        label = f"`{name}`" if name in EXPERIMENTS else _text(name)
        label = f"*{label}*" if cells.get("source") == "difference" else label
        lines.append([label, *cells.values()])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _numeric(column: pd.Series) -> bool:
    """True if the column has numbers, or nothing but missing ones under the name of a metric."""
    cells = [str(cell) for cell in column if str(cell) not in (ABSENT, NOT_RUN)]
    numbers = all(re.fullmatch(r"[-−+<]? ?[\d,.]+( ± [\d.]+)?", cell) for cell in cells)
    return numbers if cells else column.name in COLUMNS.values()


def _text(value: object) -> str:
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", str(value)).replace("|", r"\|")


def update_readme(path: Path, results: Path) -> None:
    """Replace the results at a glance between the markers of a file by those in ``results``.

    Raises FileNotFoundError for a missing file, ValueError for one without text or markers.
    """
    hint = "give the one with the markers, README.md"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {hint}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file in UTF-8; {hint}") from None
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        missing = "the markers of the results at a glance are missing; add the lines"
        raise ValueError(f"{path}: {missing} {BEGIN} and {END}")
    table = markdown(at_a_glance(load_records(results)))
    with atomic_write(path) as partial:
        partial.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def _frame(
    published: Sequence[Row], ours: Sequence[Experiment], records: Sequence[Record]
) -> pd.DataFrame:
    """Published rows above ours, with the columns that any of them has."""
    names, lines = [], []
    for row in published:
        values = {k: f"{v:g}" if k == "forward_ms" else f"{v:.1f}" for k, v in row.metrics.items()}
        names.append(_label(row))
        lines.append({"source": row.table, "of": row.of, **values, "record": ABSENT})
    runs = {experiment.name: final(records, experiment.name) for experiment in ours}
    # Without a record, mean IU says that the experiment was not run.
    seen = {"mean_iu"}.union(*lines, *(run.scores for found in runs.values() for run in found))
    for name, found in runs.items():
        target = replicated(EXPERIMENTS[name])
        seeds = ", ".join(str(run.seed) for run in found)
        line = {"source": "ours", "of": target.of if target else ""}
        for key in seen & {*MEASURED}:
            line[key] = over_seeds([run.scores[key] for run in found if key in run.scores])
        seeds = f"seed{'s' * (len(found) > 1)} {seeds}"
        line["record"] = seeds if found else f"python -m fcn train {name}"
        names.append(name)
        lines.append(line)
    columns = [
        k for k in ("source", "of", *COLUMNS, "record") if any(line.get(k) for line in lines)
    ]
    frame = pd.DataFrame(lines, index=names).reindex(columns=columns)
    return frame.replace("", ABSENT).fillna(ABSENT).rename(columns=COLUMNS)


def _differences(runs: Sequence[Record], row: Row) -> dict[str, str]:
    """The mean scores of runs minus those of the row, in points, from the printed digits."""
    cells = {}
    for metric, column in COLUMNS.items():
        if metric in runs[0].scores and metric in row.metrics:
            ours = statistics.fmean(run.scores[metric] for run in runs)
            cells[column] = f"{round(ours, 1) - round(row.metrics[metric], 1):+z.1f}"
    return cells


def _published(row: Row) -> str:
    """The net of a published row, its epochs and optimizer."""
    experiment = EXPERIMENTS[row.experiment]
    least = "at least " if experiment.recipe.epochs == EPOCHS else ""
    return f"{NETS[experiment.net]}, {least}{experiment.recipe.epochs:g} epochs of SGD"


def _training(experiment: Experiment) -> str:
    """The net of an experiment, its epochs ("more" if it starts from a coarser net), optimizer."""
    recipe, more = experiment.recipe, " more" if experiment.start else ""
    optimizer = {"sgd": "SGD", "adamw": "AdamW"}[recipe.optimizer]
    return f"{NETS[experiment.net]}, {recipe.epochs:g}{more} epochs of {optimizer}"


def _label(row: Row) -> str:
    """The paper's label, with the net if the label leaves it out."""
    net = NETS[EXPERIMENTS[row.experiment].net] if row.experiment else ""
    return row.label if net in row.label else f"{row.label}, {net}"


def over_seeds(values: Sequence[float]) -> str:
    """The mean with one decimal and, of several values, ± their sample standard deviation."""
    if not values:
        return NOT_RUN
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"
