"""What the SIFT Flow chapter says of its records, in sentences and small tables.

All of it is computed, so that it holds whichever way the runs came out. Numbers are percent, differences are points.
Where runs are missing it says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from fcn.data.sift_flow import SEMANTIC
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.paper import METRICS, TABLES
from fcn.replication.tables import COLUMNS, MEASURED, scores
from fcn.training.record import Head, Record, find

PAPER = next(row for row in TABLES if row.table == "Table 5" and row.label == "FCN-16s")
SHORT = {stride: f"sift-flow-googlenet-{stride}-short" for stride in ("32s", "16s", "8s")}
TUNED = "sift-flow-googlenet-8s-tuned"
TRIALS = {"SGD": "sift-flow-googlenet-8s-trial-sgd", "AdamW": "sift-flow-googlenet-8s-trial-adamw"}
TABLE_2 = {
    stride: next(row.metrics for row in TABLES if (row.table, row.label) == ("Table 2", f"FCN-{stride}"))
    for stride in SHORT
}
PREFIX = "sift-flow-googlenet-"


def spread(shares: pd.DataFrame, photos: NDArray[np.int64], void: Sequence[float]) -> str:
    """How unevenly the classes are spread: ``shares`` of the labelled pixels by class (columns ``train``, ``test``),
    ``photos`` the number of training photos that show each class, ``void`` the share of both splits without a label."""
    most = shares["train"].sort_values(ascending=False)
    absent = [name for name in SEMANTIC if shares["test"][name] == 0]
    rarest = most.drop(absent).index[-1]
    return (
        f"The four most frequent classes, {', '.join(most.index[:4])}, hold **{most.iloc[:4].sum():.0f} %** of the "
        f"labelled training pixels; the twenty rarest together **{most.iloc[-20:].sum():.1f} %**. The rarest that the "
        f"test images hold, {rarest}, is seen in {photos[SEMANTIC.index(rarest)]} training photos. {len(absent)} "
        f"classes, {', '.join(absent)}, have no pixel in the test images. Void are {void[0]:.1f} % of the training "
        f"pixels and {void[1]:.1f} % of the test pixels."
    )


def recipes(names: Mapping[str, str]) -> pd.DataFrame:
    """Every setting of experiments, {label: name}, side by side."""
    experiments = {label: EXPERIMENTS[name] for label, name in names.items()}
    starts = {
        label: {"starts from": " + ".join(e.start).removeprefix(PREFIX) or "ImageNet"}
        for label, e in experiments.items()
    }
    return pd.DataFrame({label: starts[label] | asdict(e.recipe) for label, e in experiments.items()}).map(str)


def overview(runs: Sequence[Record]) -> pd.DataFrame:
    """What each run on SIFT Flow was for, what it saw and how long it took, final runs first, as in the catalogue."""
    order = list(EXPERIMENTS)
    runs = sorted(
        (run for run in runs if run.dataset.name == "sift-flow"),
        key=lambda r: (r.purpose, order.index(r.experiment) if r.experiment in order else len(order), r.seed),
    )
    rows = [
        {
            "seed": run.seed, "purpose": run.purpose, "trained on": run.dataset.trained_on.images,
            "scored on": run.dataset.scored_on.images, "images seen": f"{run.images_seen:,}",
            "hours": round(run.seconds / 3600, 2), "mean IU": round(scores(run)["mean_iu"], 1),
        }
        for run in runs
    ]  # fmt: skip
    return pd.DataFrame(rows, [run.experiment.removeprefix(PREFIX) for run in runs])


def choice(records: Sequence[Record]) -> str:
    """Which recipe the validation images spoke for: the trials of one epoch each, and what followed from them."""
    trials = {name: next(iter(find(records, experiment, "validation")), None) for name, experiment in TRIALS.items()}
    missing = [TRIALS[name] for name, trial in trials.items() if trial is None]
    if missing:
        return "Not run: " + ", ".join(f"`python -m fcn train {name} --validation`" for name in missing) + "."
    ius = {name: trial.heads["semantic"].metrics for name, trial in trials.items() if trial is not None}
    best = max(ius, key=lambda name: ius[name].mean_iu)
    listed = ", ".join(f"{name} {m.mean_iu:.1f} (pixel accuracy {m.pixel_accuracy:.1f})" for name, m in ius.items())
    counted = ", ".join(str(count) for count in sorted({m.classes_counted for m in ius.values()}))
    return (
        f"One epoch of each recipe gave these mean IUs on the validation images, over the {counted} classes present "
        f"there: {listed}. {best} was taken, and given more epochs and mirrored photos; no third "
        "recipe was tried. These numbers are for comparing recipes with each other: the test images hold other "
        "classes, and stand in the tables below."
    )


def against_paper(ours: Mapping[str, Record]) -> str:
    """Each of ``ours`` ({label: record}) less the paper's row, metric by metric."""
    lines = [f"- **{label}**: {difference(scores(run), PAPER.metrics)}" for label, run in ours.items()]
    return "\n".join(["Ours less the paper's FCN-16s on VGG16, in points:\n", *lines] if lines else ["Not run."])


def difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    """``ours`` less ``theirs``, metric by metric, in points of the figures as a table prints them."""
    parts = []
    for metric in MEASURED:
        if metric in ours and metric in theirs:
            mine, other = round(ours[metric], 1), round(theirs[metric], 1)
            parts.append(f"{COLUMNS[metric]} {_points_apart(mine, other)} ({mine} for {other})")
    return "; ".join(parts)


def skip_sentence(values: Mapping[str, float], metric: str = "mean IU") -> str:
    """How ``values`` ({stride: percent}, coarse to fine) compare with the order of the paper's Table 2."""
    pairs = list(pairwise(values))
    steps = [f"{b} stands {_points_apart(values[b], values[a])} points from {a}" for a, b in pairs]
    rising = all(values[fine] > values[coarse] for coarse, fine in pairs)
    order = "the order of the paper's Table 2" if rising else "in Table 2 each finer net is the better one; here not"
    return f"In {metric}, {' and '.join(steps)}: {order}."


def skips(short: Mapping[str, Record]) -> str:
    """What the runs at three strides, {stride: record}, say of skips."""
    if list(short) != list(SHORT):
        return "Not run: the comparison needs the short runs at all three strides."
    found = {stride: scores(run) for stride, run in short.items()}
    changes = [f"{COLUMNS[m]} {_points_apart(found['8s'][m], found['32s'][m])}" for m in METRICS]
    coarse, fine = (short[stride].heads["semantic"].metrics.iu_per_class for stride in ("32s", "8s"))
    gains = [
        (b - a, name) for name, a, b in zip(SEMANTIC, coarse, fine, strict=True) if a is not None and b is not None
    ]
    up = [f"{name} {gain:+.1f}" for gain, name in sorted(gains, reverse=True)[:4] if gain > 0]
    down = [f"{name} {gain:+.1f}" for gain, name in sorted(gains)[:4] if gain < 0]
    seen = np.cumsum([run.images_seen for run in short.values()])
    return (
        f"{skip_sentence({stride: values['mean_iu'] for stride, values in found.items()})} From 32s to 8s: "
        f"{', '.join(changes)}. The largest gains of single classes in IU: {', '.join(up) or 'none'}; the largest "
        f"losses: {', '.join(down) or 'none'}. But each finer net was also *trained longer*: by its end FCN-32s had "
        f"seen {seen[0]:,} images, FCN-16s {seen[1]:,} and FCN-8s {seen[2]:,}, the nets they went on from included."
    )


def without_skip(records: Sequence[Record]) -> str:
    """What part of the step from FCN-32s to FCN-16s comes with the training alone."""
    names = (SHORT["32s"], f"{SHORT['32s']}-lower-rate", SHORT["16s"])
    found = [next(iter(find(records, name)), None) for name in names]
    if missing := [name for name, run in zip(names, found, strict=True) if run is None]:
        return "Not run: " + ", ".join(f"`python -m fcn train {name}`" for name in missing) + "."
    before, without, after = (scores(run)["mean_iu"] for run in found if run is not None)
    return (
        f"In mean IU, FCN-32s goes from {before:.1f} to {without:.1f} without a skip, and FCN-16s comes to "
        f"{after:.1f}: of its {after - before:+.1f} points, {without - before:+.1f} came with the training alone, and "
        f"the skip is worth {after - without:+.1f}, with one seed each. The coarse net was far from trained here; the "
        "paper lowers its rate after at least 175 epochs."
    )


def classes(heads: Mapping[str, Head], share: pd.Series) -> str:
    """How the IU of the classes goes with their ``share`` of the training pixels, for each of ``heads``."""
    lines = []
    for label, head in heads.items():
        iu = pd.Series(head.metrics.iu_per_class, head.classes, dtype=float).dropna()
        never = [name for name in iu.index if iu[name] < 1]
        by_share = [name for name in share.sort_values(ascending=False).index if name in iu.index]
        one, other = max(pairwise(by_share), key=lambda pair: abs(iu[pair[0]] - iu[pair[1]]))
        lines.append(
            f"**{label}**: the IU of the {len(iu)} classes runs from {iu.min():.0f} ({iu.idxmin()}) to {iu.max():.0f} "
            f"({iu.idxmax()}), {len(never) or 'none'} of them below 1{' (' if never else ''}{', '.join(never)}"
            f"{')' if never else ''}. Its rank correlation with frequency is "
            f"{spearmanr(iu, share[iu.index]).statistic:.2f}. Yet neighbours in frequency can lie far apart, "
            f"{one} at {iu[one]:.0f} and {other} at {iu[other]:.0f} the farthest."
        )
    return "\n\n".join(lines) or "Not run."


def confused_pairs(head: Head, count: int = 10) -> pd.DataFrame:
    """The pairs (true class, predicted class) that hold most of the wrong pixels: their share of all wrong pixels and
    of the true class's pixels, in percent."""
    matrix = np.array(head.confusion_matrix, dtype=float)
    wrong = matrix - np.diag(matrix.diagonal())
    if not wrong.sum():
        return pd.DataFrame(columns=["true class", "predicted", "of all errors, %", "of the class, %"])
    largest = [np.unravel_index(i, wrong.shape) for i in np.argsort(-wrong, axis=None, kind="stable")[:count]]
    rows = [
        (head.classes[i], head.classes[j], 100 * wrong[i, j] / wrong.sum(), 100 * wrong[i, j] / matrix[i].sum())
        for i, j in largest if wrong[i, j] > 0
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["true class", "predicted", "of all errors, %", "of the class, %"]).round(1)


def deviations(runs: Mapping[str, Record]) -> pd.DataFrame:
    """Every deviation that a record names, and which of ``runs`` ({label: record}) it holds for."""
    lines = list(dict.fromkeys(line for record in runs.values() for line in record.deviations))
    marks = {label: ["x" if line in record.deviations else "" for line in lines] for label, record in runs.items()}
    return pd.DataFrame({**marks, "deviation": lines}, range(1, len(lines) + 1))


def costs(records: Sequence[Record]) -> str:
    """What is known of the cost of each deviation, from published numbers and from the records."""
    iu = {row.label: row.metrics["mean_iu"] for row in TABLES if row.table == "Table 1"}
    small, large = iu["FCN-GoogLeNet"], iu["FCN-VGG16"]
    trunk = (
        f"- *The trunk.* In the paper's Table 1, GoogLeNet reaches a mean IU of {small} on PASCAL VOC where VGG16 "
        f"reaches {large}: {large - small:.1f} points for a net of a twentieth of the size."
    )
    recipe = "- *The recipe.* Not run."
    tuned, short = next(iter(find(records, TUNED)), None), [next(iter(find(records, n)), None) for n in SHORT.values()]
    if tuned:
        apart = _points_apart(scores(tuned)["mean_iu"], PAPER.metrics["mean_iu"])
        trunk += (
            f" Here our tuned net comes out {apart} points from the paper's FCN-16s on VGG16, by another recipe, at "
            "another stride and with one seed, which does not separate the trunk from the rest."
        )
    stages = [run for run in short if run]
    if tuned and len(stages) == len(SHORT):
        coarse, fine = scores(stages[-1]), scores(tuned)
        gain = ", ".join(f"{COLUMNS[m]} {_points_apart(fine[m], coarse[m])}" for m in MEASURED if m in fine)
        recipe = (
            f"- *The recipe.* From short to tuned, on the same trunk: {gain}. All stages of the short recipe together "
            f"saw {sum(run.images_seen for run in stages):,} images, the tuned one {tuned.images_seen:,}; 175 epochs, "
            f"the least that the paper trains one net, are {175 * tuned.dataset.trained_on.images:,}. Neither is the "
            "paper's schedule, and the short runs do not show what its recipe reaches in its own time."
        )
    rest = """\
- *Geometric labels derived from the semantic ones.* Not measured. It makes the two tasks easier to learn together: \
whoever knows the class knows the geometry.
- *Two images without labels left out.* Nothing: a pixel without a label has no loss.
- *Training photos saved again, convolutions in bfloat16, upsampling fixed.* Not measured. The authors' release fixes \
the upsampling too; learning it, they say, made no significant difference."""
    return "\n".join([trunk, recipe, rest])


def _points_apart(one: float, other: float) -> str:
    return f"{round(one - other, 1) + 0:+.1f}"  # never "-0.0"
