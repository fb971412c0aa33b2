"""Tables of chapters 6, 7, 12 and 14, from published rows and records. Numbers are percent, differences points."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

import fcn
from fcn.data.voc import CLASSES
from fcn.replication import claims, cost, paper, speedrun, tables
from fcn.replication.benchmark.paper_times import NETS, PAPER, measured_times
from fcn.replication.benchmark.record import (
    Benchmark,
    Case,
    Profile,
    Variant,
    Workload,
    quartiles,
    targets,
)
from fcn.replication.catalogue import EXPERIMENTS, SPEEDRUN
from fcn.replication.catalogue import find as find_experiment
from fcn.replication.claims import (
    ALL_CLAIMS,
    CLAIMS,
    FAST_CLAIMS,
    LONG_CLAIMS,
    Comparison,
    compare,
)
from fcn.replication.deviations import KINDS, by_kind, deviations_of
from fcn.replication.experiment import Experiment
from fcn.replication.paper import METRICS
from fcn.replication.tables import ABSENT, COLUMNS, NOT_RUN, over_seeds
from fcn.replication.upper_bounds import Line
from fcn.training.features import first_layers
from fcn.training.record import Head, Record, find


def starts_first(experiments: Iterable[Experiment]) -> tuple[str, ...]:
    """Names in the order to run: rows of the paper's tables first, each net before those that start from it."""
    chosen = {one.name: one for one in experiments}
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        for start in chosen[name].start:
            if start in chosen:
                add(start)
        ordered.setdefault(name)

    for name in sorted(chosen, key=lambda name: chosen[name].paper is None):
        add(name)
    return tuple(ordered)


def mean_scores(records: Sequence[Record], experiment: str) -> dict[str, float]:
    """Each score of an experiment's final runs, averaged over the seeds. Raises ValueError if there is no run."""
    runs = tables.final(records, experiment)
    if not runs:
        raise ValueError(
            f"{experiment}: no final run is recorded; python -m fcn train {experiment} makes one"
        )
    return {
        metric: float(np.mean([run.scores[metric] for run in runs]))
        for metric in runs[0].scores
    }


def widest_range(records: Sequence[Record], dataset: str) -> float:
    """The largest difference in mean IU, in points, between seeds of one experiment on ``dataset``; 0 without any."""
    names = {run.experiment for run in records if run.dataset.name == dataset}
    groups = [
        [run.scores["mean_iu"] for run in tables.final(records, name)] for name in names
    ]
    return max((max(group) - min(group) for group in groups if group), default=0.0)


# Chapter 6: SIFT Flow

RACE = "-speedrun"
SIFT_FLOW_RUNS = starts_first(
    one
    for one in EXPERIMENTS.values()
    if one.dataset == "sift-flow" and "-keep" not in one.name and RACE not in one.name
)
"""The experiments of the chapter: all on SIFT Flow except for those of Figure 5 (chapter 11) and the race (15)."""
PREFIX = "sift-flow-googlenet-"
SHORT = {stride: f"{PREFIX}{stride}-short" for stride in ("32s", "16s", "8s")}
TUNED = f"{PREFIX}8s-tuned"
TRIALS = {"SGD": f"{PREFIX}8s-trial-sgd", "AdamW": f"{PREFIX}8s-trial-adamw"}


def recipes(names: Mapping[str, str]) -> pd.DataFrame:
    """Every setting of some experiments, {label: name}."""
    columns = {}
    for label, name in names.items():
        experiment = EXPERIMENTS[name]
        start = " + ".join(experiment.start).removeprefix(PREFIX) or "ImageNet"
        columns[label] = {"starts from": start, **vars(experiment.recipe)}
    return pd.DataFrame(columns).map(str)


def overview(records: Sequence[Record]) -> pd.DataFrame:
    """Purpose, images, hours and mean IU of each run on SIFT Flow, final runs first, in the order of the catalogue."""
    order = list(EXPERIMENTS)
    runs = [run for run in records if run.dataset.name == "sift-flow"]
    rows = {
        run.file_name: {
            "run": run.experiment.removeprefix(PREFIX),
            "seed": run.seed,
            "purpose": run.purpose,
            "trained on": run.dataset.trained_on.images,
            "scored on": run.dataset.scored_on.images,
            "images seen": f"{run.images_seen:,}",
            "hours": round(run.seconds / 3600, 2),
            "mean IU": round(run.scores["mean_iu"], 1),
        }
        for run in sorted(
            runs, key=lambda run: (run.purpose, order.index(run.experiment), run.seed)
        )
    }
    return (
        pd.DataFrame.from_dict(rows, orient="index").set_index("run").rename_axis(None)
    )


def confused_pairs(head: Head, count: int = 10) -> pd.DataFrame:
    """Pairs (true class, predicted class) with the most wrong pixels, in percent of all errors and of the class."""
    matrix = np.array(head.confusion_matrix, dtype=float)
    wrong = matrix - np.diag(matrix.diagonal())
    pairs = [
        np.unravel_index(i, wrong.shape)
        for i in np.argsort(-wrong, axis=None, kind="stable")[:count]
    ]
    rows = [
        (
            head.classes[i],
            head.classes[j],
            100 * wrong[i, j] / wrong.sum(),
            100 * wrong[i, j] / matrix[i].sum(),
        )
        for i, j in pairs
        if wrong[i, j] > 0
    ]
    return pd.DataFrame(
        rows, columns=["true class", "predicted", "of all errors, %", "of the class, %"]
    ).round(1)


def deviation_marks(runs: Mapping[str, Record]) -> pd.DataFrame:
    """All deviations of ``runs`` ({label: record}), with an x in the columns of the runs that have them."""
    texts = {
        label: [one.text for one in deviations_of(run)] for label, run in runs.items()
    }
    lines = list(dict.fromkeys(text for found in texts.values() for text in found))
    marks = {
        label: ["x" if line in found else "" for line in lines]
        for label, found in texts.items()
    }
    return pd.DataFrame({**marks, "deviation": lines}, range(1, len(lines) + 1))


# Chapter 7: PASCAL VOC

VOC_RUNS = starts_first(
    one
    for one in EXPERIMENTS.values()
    if one.dataset in ("voc2011", "voc", "voc-subset")
)
"""The experiments of the chapter: all on PASCAL VOC."""
TABLE_1 = {
    "FCN-AlexNet": {
        "conv. layers": "8",
        "parameters": "57M",
        "receptive field": "355",
        "max stride": "32",
    },
    "FCN-VGG16": {
        "conv. layers": "16",
        "parameters": "134M",
        "receptive field": "404",
        "max stride": "32",
    },
    "FCN-GoogLeNet": {
        "conv. layers": "22",
        "parameters": "6M",
        "receptive field": "907",
        "max stride": "32",
    },
}
"""The structural columns of Table 1, as printed."""

SUBSET = {
    "FCN-AlexNet, 32s": "voc-subset-bvlc_alexnet-32s",
    "FCN-GoogLeNet, 32s": "voc-subset-googlenet-32s",
    "FCN-GoogLeNet, 16s": "voc-subset-googlenet-16s",
    "FCN-GoogLeNet, 8s": "voc-subset-googlenet-8s",
}
"""Our runs on the 882 photos of VOC, by the names of their nets in the chapter."""
SIX = ("cat", "cow", "dog", "horse", "person", "sheep")
"""The classes of these photos."""


def structure(computed: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """The structural columns of Table 1: the paper's row and ours for each net."""
    rows = {
        (net, source): values[net]
        for net in TABLE_1
        for source, values in (("paper", TABLE_1), ("computed", computed))
    }
    return pd.DataFrame(rows).T


def mean_ius(records: Sequence[Record], experiment: str) -> str:
    """Mean IU of an experiment's final runs over the seeds, or "not run"."""
    runs = tables.final(records, experiment)
    return over_seeds([run.scores["mean_iu"] for run in runs])


def table_1(records: Sequence[Record]) -> pd.DataFrame:
    """Mean IU of the three backbones on VOC 2011 val: the paper's and ours."""
    rows = {
        one.label: {
            "paper": f"{one.metrics['mean_iu']:.1f}",
            "ours": mean_ius(records, one.experiment),
            "command": f"python -m fcn train {one.experiment}",
        }
        for one in paper.TABLES
        if one.table == "Table 1"
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def forward_times(found: Mapping[str, Benchmark]) -> pd.DataFrame:
    """Milliseconds per forward pass: the paper's on a K40c, and medians of ``found``, {machine: record}.

    In brackets the time relative to FCN-VGG16 in the same column.
    """
    columns = {"K40c": dict(PAPER)}
    for machine, benchmark in found.items():
        for alignment, cases in measured_times(benchmark).items():
            columns[f"{machine}, {alignment}"] = {
                net: 1000 * case.median for net, case in cases.items()
            }
    shown = {
        name: [f"{ms[n]:,.0f} ({ms[n] / ms['FCN-VGG16']:.2f})" for n in NETS]
        for name, ms in columns.items()
    }
    return pd.DataFrame(shown, list(NETS))


def table_2(records: Sequence[Record]) -> pd.DataFrame:
    """Table 2, then mean IU alone: the authors' release, pytorch-fcn, ours by the paper's and the release's recipe."""

    def others(rows: Sequence[paper.Row], label: str) -> str:
        return next(
            (
                f"{r.metrics['mean_iu']:.1f}"
                for r in rows
                if (r.table, r.label) == ("Table 2", label)
            ),
            ABSENT,
        )

    published = {
        one.label: one.metrics for one in paper.TABLES if one.table == "Table 2"
    }
    lines = {}
    for label in (*published, "FCN-8s at-once"):
        name = f"voc-vgg16-{label.removeprefix('FCN-').replace(' ', '-')}"
        heavy = (
            "voc-vgg16-8s-heavy-at-once"
            if label.endswith("at-once")
            else f"{name}-heavy"
        )
        metrics = {
            COLUMNS[m]: f"{published[label][m]:.1f}" if label in published else ABSENT
            for m in METRICS
        }
        lines[label] = metrics | {
            "release": others(paper.RELEASE, label),
            "pytorch-fcn": others(paper.OTHERS, f"pytorch-fcn {label}"),
            "ours": mean_ius(records, name),
            "ours, heavy": mean_ius(records, heavy) if heavy in EXPERIMENTS else ABSENT,
        }
    return pd.DataFrame(lines).T


def repeats_apart() -> float:
    """The difference in mean IU, in points, between two runs of one recipe by pytorch-fcn's author."""
    first, second = (
        r.metrics["mean_iu"] for r in paper.OTHERS if r.label.endswith("of two runs")
    )
    return abs(first - second)


def voc_claims(records: Sequence[Record]) -> pd.DataFrame:
    """The paper's remarks on variants, our mean IU on VOC, and what the change did on SIFT Flow, with the verdict.

    The runs on SIFT Flow are the long ones if both have a record, otherwise the fast or the short ones.
    """
    lines = {}
    tests = [
        one
        for one in ALL_CLAIMS
        if one.full.startswith("voc-") and one.section != "release"
    ]
    for claim in tests:
        same = [
            one
            for runs in ("long", "fast", "short")
            for one in tests
            if (one.runs, one.id, one.change) == (runs, claim.id, claim.change)
        ]
        found = next((pair for one in same if (pair := compare(one, records))), None)
        lines[claim.change] = {
            "the paper": claim.says,
            "VOC, VGG16": mean_ius(records, claim.full),
            "SIFT Flow, GoogLeNet": found.so_far if found else NOT_RUN,
            "verdict": found.verdict if found else ABSENT,
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def table_3() -> pd.DataFrame:
    """Table 3, and the score of the authors' released net on the same server."""
    lines: dict[str, dict[str, str]] = {}
    released = next(r for r in paper.RELEASE if r.table == "Table 3")
    rows = [(one.label, one) for one in paper.TABLES if one.table == "Table 3"]
    for label, one in (*rows, ("FCN-8s, released later", released)):
        line = lines.setdefault(
            label, {"VOC 2011": ABSENT, "VOC 2012": ABSENT, "time": ABSENT}
        )
        line[one.of] = f"{one.metrics['mean_iu']:.1f}"
        if "forward_ms" in one.metrics and one is not released:
            ms = one.metrics["forward_ms"]
            line["time"] = f"~{ms / 1000:g} s" if ms >= 1000 else f"~{ms:g} ms"
    return pd.DataFrame(lines).T


def subset(records: Sequence[Record]) -> dict[str, Record]:
    """Our final runs on the subset, the first seed of each, by net."""
    return {
        net: runs[0] for net, name in SUBSET.items() if (runs := find(records, name))
    }


def mean_iu(run: Record, classes: Sequence[str] = ("background", *SIX)) -> float:
    """Mean IU over some of a run's classes."""
    head = run.heads["semantic"]
    return sum(
        head.iu_per_class[head.classes.index(name)] or 0.0 for name in classes
    ) / len(classes)


def subset_table(records: Sequence[Record]) -> pd.DataFrame:
    """Our runs on the subset: images seen, metrics over all classes present, mean IU of background and the six."""
    lines = {}
    for net, name in SUBSET.items():
        runs = find(records, name)
        lines[net] = (
            {
                "images seen": f"{runs[0].images_seen:,}",
                **{
                    COLUMNS[m]: over_seeds([run.scores[m] for run in runs])
                    for m in METRICS
                },
                f"mean IU of {1 + len(SIX)}": over_seeds(
                    [mean_iu(run) for run in runs]
                ),
                "classes": f"{runs[0].heads['semantic'].classes_counted}",
                "record": f"seed{'s' * (len(runs) > 1)} {', '.join(str(run.seed) for run in runs)}",
            }
            if runs
            else {"record": f"python -m fcn train {name}"}
        )
    table = pd.DataFrame.from_dict(lines, orient="index").fillna(NOT_RUN)
    return table[[*table.columns.drop("record"), "record"]]


def subset_classes(
    records: Sequence[Record], photos: Mapping[str, Sequence[int]]
) -> pd.DataFrame:
    """IU of every class in the scored photos for each of our nets, next to the number of ``photos`` of the class.

    ``photos``: {column: one number per class}; the last column sorts the rows.
    """
    frame = pd.DataFrame(photos, list(CLASSES))
    for net, run in subset(records).items():
        frame[net] = [
            ABSENT if iu is None else f"{iu:.1f}"
            for iu in run.heads["semantic"].iu_per_class
        ]
    last = list(photos)[-1]
    return frame[frame[last] > 0].sort_values(last, ascending=False, kind="stable")


# Chapter 12: results


def verdicts(records: Sequence[Record]) -> dict[str, int]:
    """The number of claims: all, those with runs on both sides, and of these by their verdict."""
    found = [pair.verdict for one in ALL_CLAIMS if (pair := compare(one, records))]
    agree = sum(verdict == claims.AGREES for verdict in found)
    early = sum(verdict.startswith("too early") for verdict in found)
    counts = {"claims": len(ALL_CLAIMS), "compared": len(found)}
    return counts | {
        "agree": agree,
        "early": early,
        "differ": len(found) - agree - early,
    }


def effort(records: Sequence[Record]) -> dict[str, float | str]:
    """All runs together: their number, hours, training images and machines."""
    return {
        "runs": len(records),
        "all_hours": sum(run.seconds for run in records) / 3600,
        "all_images": sum(run.images_seen for run in records),
        "machines": "; ".join(sorted({run.hardware for run in records}))
        or "no machine",
    }


def rules(records: Sequence[Record]) -> dict[str, float]:
    """The numbers in the rules for a verdict, and what shows that a flat loss is not enough."""
    seeds = (-1.0, 0.0, 1.0)  # three, with a standard deviation of one
    numbers: dict[str, float] = {
        "rule_epochs": tables.EPOCHS,
        "rule_steps": claims.HEAVY_STEPS,
        "m_short": len(CLAIMS),
        "m_fast": len(FAST_CLAIMS),
        "m_long": len(LONG_CLAIMS),
        "width": Comparison(LONG_CLAIMS[0], seeds, seeds).uncertain,
        "margin": claims.MARGINS["mean_iu"],
        "geometric_margin": claims.MARGINS["geometric_accuracy"],
    }
    brief, tuned = find(records, f"{PREFIX}8s-brief"), find(records, TUNED)
    if brief and tuned:
        losses = np.array([point["loss"] for point in brief[0].curve])
        before, last = (part.mean() for part in np.array_split(losses, 5)[-2:])
        numbers["flat"] = abs(100 * (last / before - 1))
        numbers["after_flat"] = tuned[0].scores["mean_iu"] - brief[0].scores["mean_iu"]
    return numbers


def replications(
    records: Sequence[Record], table: str, label: str
) -> dict[str, list[dict[str, float]]]:
    """Scores of all final runs that replicate a row of the paper, by experiment, one entry per seed."""
    return {
        name.removeprefix("sift-flow-"): [run.scores for run in runs]
        for name, experiment in EXPERIMENTS.items()
        if experiment.paper == (table, label) and (runs := tables.final(records, name))
    }


def bounds(lines: Sequence[Line]) -> pd.DataFrame:
    """Appendix A by factor: the paper, the nearest and the farthest protocol, and the nearest less the paper."""
    frame = pd.DataFrame(
        {line.label: line.mean_iu for line in (lines[0], lines[1], lines[-1])}
    ).T.round(1)
    frame.loc["nearest less paper"] = frame.iloc[1] - frame.iloc[0]
    return frame.map("{:.1f}".format).rename_axis("factor", axis="columns")


def deviation_kinds(records: Sequence[Record]) -> pd.DataFrame:
    """Kinds of the records' deviations: the reason, the possible effect, and the number of deviations."""
    rows = {
        kind: {
            "why": KINDS[kind]["why"],
            "what it may change": KINDS[kind]["effect"],
            "lines": len(texts),
        }
        for kind, texts in by_kind(records).items()
    }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["why", "what it may change", "lines"]
    )


def deviations(records: Sequence[Record]) -> pd.DataFrame:
    """All deviations of the records by kind, with their experiments (names, or the number if more than two)."""
    rows = [
        (
            kind,
            text,
            ", ".join(f"`{n}`" for n in names)
            if len(names) < 3
            else f"{len(names)} experiments",
        )
        for kind, texts in by_kind(records).items()
        for text, names in texts.items()
    ]
    return pd.DataFrame(
        [row[1:] for row in rows], [row[0] for row in rows], ["deviation", "in"]
    )


def costs_by_table(costs: pd.DataFrame) -> pd.DataFrame:
    """The cost of the experiments (``fcn.replication.cost.costs``) by table of the paper; hours per seed."""
    table = cost.by_table(costs).rename(index={"one change": "no table"})
    low, high = (table[f"gpu_hours_{end}"] for end in ("low", "high"))
    return pd.DataFrame(
        {
            "experiments": table["experiments"],
            "with a record": table["recorded"],
            "10^18 operations": table["exaflops"].round(2),
            "GPU hours, modelled": [
                f"{x:.1f} to {y:.1f}" for x, y in zip(low, high, strict=True)
            ],
            "hours, measured": table["measured_hours"].round(1),
        }
    )


def modelled(costs: pd.DataFrame) -> dict[str, float | str]:
    """The numbers in the sentences on the cost of the whole paper."""
    total = cost.by_table(costs).loc["all"].to_dict()
    done = costs.dropna(subset="measured_hours")
    # The work of frozen layers, whose features are kept, is not modelled.
    whole = done[[not EXPERIMENTS[name].recipe.frozen for name in done.index]]
    rate = whole["exaflops"].sum() / whole["measured_hours"].sum()  # of all machines
    return {
        "graph_experiments": len(costs),
        "graph_recorded": len(done),
        "gpu_least": 100 * min(cost.UTILIZATION),
        "gpu_most": 100 * max(cost.UTILIZATION),
        "gpu_low": total["gpu_hours_low"],
        "gpu_high": total["gpu_hours_high"],
        "measured_hours": total["measured_hours"],
        "measured_gigaflops": 1e9 * rate / 3600,
        "years": total["exaflops"] / rate / 24 / 365,
        "measured_on": " and ".join(sorted(done["hardware"].unique())),
    }


# Chapter 14: speed


def speed(found: Benchmark, work: Workload) -> pd.DataFrame:
    """One row per variant of a workload: seconds, time of the padded port / this, memory, share of the matrix rate."""
    cases = found.of(work)
    port = cases.get(Variant("padded port"))

    def line(case: Case) -> dict[str, str]:
        low, median, high = quartiles(case.seconds)
        share = found.share(case)
        return {
            "seconds": f"{median:.3g}",
            "quartiles": f"{low:.3g} to {high:.3g}",
            "port / this": f"{port.median / median:.2f}" if port else ABSENT,
            "% of matrix rate": ABSENT if share is None else f"{share:.0f}",
            "GB": ABSENT if case.memory is None else f"{case.memory / 1e9:.2f}",
        }

    return pd.DataFrame({str(variant): line(case) for variant, case in cases.items()}).T


def formats(found: Benchmark) -> pd.DataFrame:
    """Seconds of our nets with default settings, per workload, in both memory formats and each precision."""
    rows = {}
    for work in found.workloads():
        plain = {
            v: c
            for v, c in found.of(work).items()
            if v.peer == "ours" and v.mode == "eager"
        }
        plain = {
            v: c
            for v, c in plain.items()
            if (v.alignment, v.upsampling) == ("tight", "bilinear")
        }
        if len(plain) > 1:
            rows[str(work)] = {
                f"{v.memory_format}, {v.precision}": f"{c.median:.3g}"
                for v, c in plain.items()
            }
    return pd.DataFrame(rows).T.fillna(ABSENT)


def profile(one: Profile) -> pd.DataFrame:
    """The parts of a profile: milliseconds per image and shares in percent."""
    milliseconds = [1000 * np.median(part.seconds) / one.images for part in one.parts]
    shares = [*one.shares().values()]
    columns = {
        "ms per image": [f"{ms:.1f}" for ms in milliseconds],
        "% of the time": [f"{s:.1f}" for s in shares],
    }
    return pd.DataFrame(columns, [part.name for part in one.parts])


def commands(found: Benchmark) -> pd.DataFrame:
    """Seconds and megabytes of each command that was timed."""
    rows = {
        f"python -m fcn {one.command}": {
            "seconds": f"{np.median(one.seconds):.2f}",
            "MB": ABSENT if one.memory is None else f"{one.memory / 1e6:.0f}",
        }
        for one in found.commands
    }
    return pd.DataFrame(rows, ["seconds", "MB"]).T


def first_results(found: Benchmark) -> pd.DataFrame:
    """Seconds until the first result and per photo of one photo's forward pass, and photos after which a mode pays.

    A mode pays once its later photos have made up for its preparation, compared with our net as it is.
    """
    cases = found.main("forward")
    rows, plain = {}, cases.get(Variant())
    for variant in (Variant(), Variant(mode="compiled"), Variant("ONNX Runtime")):
        if plain is None or (case := cases.get(variant)) is None:
            continue
        saved = plain.median - case.median
        pays = (
            f"{max(0, (case.first - plain.first) / saved):.0f}"
            if saved > 0
            else "never"
        )
        texts = (
            f"{case.first:.1f}",
            f"{case.median:.3g}",
            ABSENT if variant == Variant() else pays,
        )
        rows[str(variant)] = dict(
            zip(
                ("first result, s", "per photo, s", "pays after photos"),
                texts,
                strict=True,
            )
        )
    return pd.DataFrame(rows).T


def judged(found: Benchmark) -> pd.DataFrame:
    """Every target with the value measured and its verdict."""
    rows = [
        {
            "target": one.text,
            "bound": one.bound,
            "measured": ABSENT if one.value is None else f"{one.value:.3g}",
            "verdict": one.verdict,
        }
        for one in targets(found)
    ]
    return pd.DataFrame(rows).set_index("target")


def missed(records: Iterable[Benchmark]) -> str:
    """The number of targets that each record misses, with its hardware."""
    late = {
        found.hardware: sum(one.verdict == "missed" for one in targets(found))
        for found in records
    }
    return ", ".join(f"{count} ({name})" for name, count in late.items()) or "-"


# Chapter 15: the speedrun

SPEEDRUN_RUNS = starts_first(
    stage for name in SPEEDRUN for stage in speedrun.stages_of(name)
)
"""The experiments of the ledger, and the stages that they start from."""


def speedrun_ledger(records: Sequence[Record]) -> pd.DataFrame:
    """The ledger with shorter names."""
    frame = speedrun.ledger(records)
    return frame.rename(index=lambda name: name.removeprefix(PREFIX))


def difference(changed: Sequence[float], base: Sequence[float]) -> str:
    """The difference of two means with its 95 % interval, for several seeds each."""
    half = claims.uncertainty(changed, base)
    if np.isinf(half):
        return NOT_RUN
    return f"{np.mean(changed) - np.mean(base):+z.1f} ± {half:.1f}"


def speedrun_numbers(attempts: Sequence[speedrun.Attempt]) -> dict[str, float | str]:
    """Numbers for the chapter's sentences, of the last rows on a CPU, on a CPU with two stages, and on a GPU."""
    nothing = speedrun.Attempt(attempts[-1].experiment, "", ())
    on_cpu = [one for one in attempts if not one.on_gpu]
    gpu = ([nothing] + [one for one in attempts if one.on_gpu])[-1]
    best = on_cpu[-1]
    staged = [one for one in on_cpu if EXPERIMENTS[one.experiment].start][-1]
    heads, later = speedrun.stages_of(staged.experiment)
    first_stages = [runs[0] for runs in staged.stages]
    work = [
        sum(map(speedrun.operations, speedrun.stages_of(one.experiment)))
        for one in (attempts[0], best)
    ]
    net = fcn.FCN("googlenet", 8, 33)
    parameters = sum(map(torch.numel, net.parameters()))
    frozen = sum(
        p.numel()
        for _, layer in first_layers(net, later.recipe.frozen)
        for p in layer.parameters()
    )
    with torch.device("meta"):
        papers = sum(map(torch.numel, fcn.FCN("vgg16", 16, 33).parameters()))
    rows = {one.experiment.removeprefix(f"{PREFIX}8s-speedrun-"): one for one in on_cpu}
    short, frozen_layers, weighted, direct, unmirrored = (
        rows[name] for name in ("short", "frozen", "weighted", "direct", "unmirrored")
    )

    return {
        "size_times": papers / parameters,
        "frozen_share": 100 * frozen / parameters,
        "seconds": best.seconds,
        "scores": over_seeds(best.scores),
        "seeds": len(best.stages),
        "hardware": best.hardware,
        "gpu_seconds": gpu.seconds,
        "gpu_scores": over_seeds(gpu.scores),
        "gpu_seeds": len(gpu.stages),
        "gpu_row": gpu.experiment.removeprefix(PREFIX),
        "gpu": gpu.hardware,
        "work_times": work[0] / work[1],
        "heads_epochs": heads.recipe.epochs,
        "heads_scores": over_seeds([run.scores["mean_iu"] for run in first_stages]),
        "heads_seconds": float(np.mean([run.seconds for run in first_stages]))
        if first_stages
        else np.nan,
        "staged_scores": over_seeds(staged.scores),
        "staged_seconds": staged.seconds,
        "staged_row": staged.experiment.removeprefix(PREFIX),
        "epochs": later.recipe.epochs,
        "balance": later.recipe.balance,
        "frozen_saves": 100 * (1 - frozen_layers.seconds / short.seconds),
        "frozen_gain": difference(frozen_layers.scores, short.scores),
        "weighted_gain": difference(weighted.scores, frozen_layers.scores),
        "direct_gain": difference(direct.scores, weighted.scores),
        "direct_scores": over_seeds(direct.scores),
        "mirror_saves": 100 * (1 - unmirrored.seconds / direct.seconds),
        "mirror_gain": difference(unmirrored.scores, direct.scores),
    }


def speedrun_trials(records: Sequence[Record]) -> pd.DataFrame:
    """Validation runs of the race: mean IU on the validation images, images seen, settings that differ."""
    rows = {}
    best = find_experiment("speedrun").recipe
    for run in records:
        if RACE in run.experiment and run.purpose == "validation":
            changed = {
                key: run.recipe[key]
                for key, value in vars(best).items()
                if run.recipe.get(key, value) != value
            }
            start = EXPERIMENTS[run.experiment].start
            differs = [f"starts from {one.removeprefix(PREFIX)}" for one in start]
            differs += [f"{key} {value}" for key, value in changed.items()]
            rows[run.experiment.removeprefix(PREFIX)] = {
                "mean IU": f"{run.scores['mean_iu']:.1f}",
                "images": f"{run.images_seen:,}",
                "differs from the last row": ", ".join(differs) or ABSENT,
            }
    return pd.DataFrame.from_dict(rows, orient="index")
