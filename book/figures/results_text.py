"""What the chapter of results says of the records, in sentences and small tables.

All of it is computed, so that it holds whichever way the runs came out, and says so where runs are missing.
"""

import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from fcn.replication import deviations
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import SURE, WIDE, Comparison, spread
from fcn.replication.paper import TABLES
from fcn.replication.tables import final, scores
from fcn.replication.upper_bounds import Line
from fcn.training.record import Record

PAPER = next(row for row in TABLES if (row.table, row.label) == ("Table 5", "FCN-16s"))
TRAINING_IMAGES = {"voc2011": 1112, "voc": 8498, "nyud-rgb": 795, "sift-flow": 2486, "pascal-context-59": 4998}
"""How many images the paper's experiments train on, by data set (sections 4.3 and 5, and the authors' lists)."""


def beside_paper(records: Sequence[Record]) -> dict[str, list[dict[str, float]]]:
    """The scores of all recorded experiments that stand beside Table 5's FCN-16s, one entry a seed."""
    return {
        name.removeprefix("sift-flow-"): [scores(run) for run in runs]
        for name, experiment in EXPERIMENTS.items()
        if experiment.paper == (PAPER.table, PAPER.label) and (runs := final(records, name))
    }


def ranges(ours: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """How far our own runs lie apart in the metric that counts pixels and in the one that counts classes."""
    apart = {}
    for metric in ("pixel_accuracy", "mean_accuracy"):
        values = [run[metric] for seeds in ours.values() for run in seeds]
        if len(values) < 2:
            return "Not run: a comparison needs two runs."
        apart[metric] = round(max(values) - min(values), 1)
    pixels, classes = apart["pixel_accuracy"], apart["mean_accuracy"]
    rare = ": how a net is trained shows above all in the rare classes" if classes > pixels else ""
    return (
        f"Between our own runs, pixel accuracy differs by {pixels:.1f} points at the most, and mean accuracy by "
        f"{classes:.1f}{rare}."
    )


def bounds_table(lines: Sequence[Line]) -> pd.DataFrame:
    """The paper's row of Appendix A, the protocols nearest to it and farthest from it, and the nearest less the
    paper's, by factor; ``lines`` as ``fcn.bounds.beside_paper`` gives them."""
    paper, nearest, farthest = lines[0], lines[1], lines[-1]
    frame = pd.DataFrame({line.label: line.mean_iu for line in (paper, nearest, farthest)}).T.round(1)
    frame.loc["nearest less paper"] = frame.iloc[1] - frame.iloc[0]
    return frame.map("{:.1f}".format).rename_axis("factor", axis="columns")


def bounds_caption(lines: Sequence[Line]) -> str:
    """How many protocols there were, and how near they come."""
    return (
        f"*Mean IU on the label maps of seg11valid, by factor. Of {len(lines) - 1} protocols, the nearest lies "
        f"{lines[1].distance:.1f} points from the paper's row on average, the farthest {lines[-1].distance:.1f}. The "
        "[record](../results/recorded/appendix-a.json) says what was computed, with which code.*"
    )


def seeds(records: Sequence[Record]) -> str:
    """When a difference counts."""
    deviation, free = spread(records)
    whose = (
        "pooled over the experiments below that have several seeds, "
        f"with {free} degree{'s' if free > 1 else ''} of freedom"
        if free
        else "that of pytorch-fcn, since no experiment of ours has two seeds"
    )
    return (
        f"- The spread between seeds of one experiment is **{deviation:.2f}** points of mean IU (standard deviation, "
        f"{whose}).\n"
        f"- A difference is given ± the half width of its {100 * SURE:.0f} % interval"
        f"{', by Student’s t' if free else ', twice its standard error'}. Geometric accuracy has a spread of its own.\n"
        "- A difference smaller than that, or below one point between single runs, is **no difference seen**. Where "
        f"the interval is wider than ± {WIDE:g} points, even that would say too much, and the claim is **undecided**."
    )


def verdicts(compared: Sequence[Comparison]) -> str:
    """The changes by what the runs say of them."""
    said = {one.verdict: [f"*{c.claim.change}*" for c in compared if c.verdict == one.verdict] for one in compared}
    lines = [f"- **{verdict}**: {', '.join(said[verdict])}" for verdict in sorted(said)]
    return "\n".join(lines) or "Not run: no pair is complete."


def share_without_the_trunk(compared: Sequence[Comparison]) -> str:
    """What part of a whole net's mean IU is reached where only the score layers learn: here and in Table 2."""
    rows = {row.label: row.metrics["mean_iu"] for row in TABLES if row.table == "Table 2"}
    fixed, whole = rows["FCN-32s-fixed"], rows["FCN-32s"]
    paper = f"In the paper's Table 2 it is {100 * fixed / whole:.0f} %, {fixed} of {whole}."
    for one in compared:
        if one.claim.change == "only the score layers learn":
            mine = 100 * statistics.fmean(one.changed) / statistics.fmean(one.base)
            early = (
                " It may be that a whole net needs more than an epoch for what the paper saw; and the other metrics, "
                "below, need not say the same."
                if mine > 100 * fixed / whole
                else ""
            )
            return (
                f"On the 70 %: with the trunk left as ImageNet made it, our net reaches **{mine:.0f} %** of the mean "
                f"IU of the one that learns whole, after one epoch each. {paper}{early}"
            )
    return f"On the 70 %: not run here. {paper}"


def kinds(records: Sequence[Record]) -> pd.DataFrame:
    """The kinds of the records' deviations: why, what they may change, and how many lines are of each."""
    rows = {
        kind.name: {"why": kind.why, "what it may change": kind.effect, "lines": len(lines)}
        for kind, lines in deviations.by_kind(records).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["why", "what it may change", "lines"])


def every_departure(records: Sequence[Record]) -> pd.DataFrame:
    """Every line of the records' deviations below its kind, with the experiments that have it (names, or their number
    where there are more than two)."""
    rows = [
        (kind.name, line, ", ".join(f"`{n}`" for n in names) if len(names) < 3 else f"{len(names)} experiments")
        for kind, lines in deviations.by_kind(records).items()
        for line, names in lines.items()
    ]
    return pd.DataFrame([row[1:] for row in rows], [row[0] for row in rows], ["deviation", "in"])


def images_to_see() -> dict[str, int]:
    """The images that one experiment on each data set sees over all its epochs, by the paper's recipe."""
    wanted = ("voc2011-vgg16-32s", "voc-vgg16-32s", "nyud-vgg16-32s-rgb", "sift-flow-vgg16-16s",
              "pascal-context-59-vgg16-32s")  # fmt: skip
    return {n: round(EXPERIMENTS[n].recipe.epochs * TRAINING_IMAGES[EXPERIMENTS[n].dataset]) for n in wanted}


def cost(records: Sequence[Record]) -> pd.DataFrame:
    """The same as a table, with the largest run on record below."""
    images = images_to_see()
    if records:
        largest = max(records, key=lambda run: run.images_seen)
        images[f"{largest.experiment} (recorded)"] = largest.images_seen
    return pd.Series({name: f"{seen:,}" for name, seen in images.items()}, name="images").to_frame()


def pace(records: Sequence[Record]) -> str:
    """What the largest run's pace would make of Table 2's FCN-32s."""
    if not records:
        return "Not run."
    largest = max(records, key=lambda run: run.images_seen)
    hours = images_to_see()["voc-vgg16-32s"] / largest.images_seen * largest.seconds / 3600
    return (
        f"The largest run took {largest.seconds / 3600:.1f} hours on {largest.hardware}. Even at its pace, with a "
        f"smaller trunk on smaller photos, Table 2's FCN-32s would take {hours:.0f} hours on the same machine."
    )
