"""Tables of the chapters: published numbers as printed, ours from the records, or "not run"."""

from dataclasses import asdict

import chapter_tables
import numpy as np
import pytest
from book_records import head, points, record, timed
from chapter_tables import SHORT, SUBSET, TABLE_1, TUNED

from fcn.data.voc import CLASSES
from fcn.replication import cost, paper, upper_bounds
from fcn.replication.benchmark import paper_times
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import ALL_CLAIMS, LONG_CLAIMS, claim
from fcn.training.record import Deviation

# Several chapters


@pytest.mark.parametrize("names", [chapter_tables.SIFT_FLOW_RUNS, chapter_tables.VOC_RUNS])
def test_every_net_is_trained_before_those_that_start_from_it(names):
    for i, name in enumerate(names):
        assert {*EXPERIMENTS[name].start} <= {*names[:i]}
    assert EXPERIMENTS[names[0]].paper is not None


def test_a_start_is_moved_before_its_nets_and_tables_come_first():
    names = ("sift-flow-vgg16-16s-semantic", "sift-flow-vgg16-32s-semantic", "voc-vgg16-32s")
    ordered = ("voc-vgg16-32s", "sift-flow-vgg16-32s-semantic", "sift-flow-vgg16-16s-semantic")
    assert chapter_tables.starts_first(EXPERIMENTS[name] for name in names) == ordered


def test_the_chapters_run_what_they_show():
    shown = {*SHORT.values(), TUNED, *chapter_tables.TRIALS.values(), f"{SHORT['32s']}-lower-rate"}
    tables = {name: one.paper[0] for name, one in EXPERIMENTS.items() if one.paper}
    assert shown | {n for n in tables if tables[n] == "Table 5"} < {*chapter_tables.SIFT_FLOW_RUNS}
    voc = {n for n in tables if tables[n] in ("Table 1", "Table 2")} | {*SUBSET.values()}
    assert voc < {*chapter_tables.VOC_RUNS}
    assert not any("-keep" in name for name in chapter_tables.SIFT_FLOW_RUNS)  # chapter 11's


def test_scores_are_means_over_seeds():
    accuracies = ([[8, 2], [4, 6]], [[10, 0], [2, 8]])
    runs = [
        record(TUNED, {"semantic": (("sky", "tree"), matrix)}, seed=seed)
        for seed, matrix in enumerate(accuracies)
    ]
    assert chapter_tables.mean_scores(runs, TUNED)["pixel_accuracy"] == pytest.approx(80.0)
    first, second = (run.scores["mean_iu"] for run in runs)
    assert chapter_tables.widest_range(runs, "sift-flow") == pytest.approx(second - first)
    assert chapter_tables.widest_range(runs, "voc") == 0
    with pytest.raises(ValueError, match=f"python -m fcn train {SHORT['8s']}"):
        chapter_tables.mean_scores(runs, SHORT["8s"])


# Chapter 6


def test_confused_pairs_are_the_largest_in_order():
    matrix = [[90, 10, 0], [30, 60, 10], [0, 0, 100]]
    pairs = chapter_tables.confused_pairs(head(("sky", "sea", "sand"), matrix), 2)
    assert pairs.values.tolist() == [["sea", "sky", 60.0, 30.0], ["sky", "sea", 20.0, 10.0]]


def test_a_head_without_errors_has_no_confused_pairs():
    assert chapter_tables.confused_pairs(head(("sky", "sea"), [[4, 0], [0, 5]])).empty


def test_no_pair_without_a_pixel_is_named():
    matrix = [[9, 1, 0], [0, 9, 0], [0, 0, 9]]
    assert len(chapter_tables.confused_pairs(head(("sky", "sea", "sand"), matrix), 10)) == 1


def test_deviations_are_marked_for_the_runs_that_have_them():
    x, y, z = (Deviation("other", name) for name in "xyz")
    runs = {"a": record(TUNED, deviations=(x, y)), "b": record(TUNED, deviations=(y, z))}
    table = chapter_tables.deviation_marks(runs)
    written = table[table["deviation"].isin([*"xyz"])]
    assert written.values.tolist() == [["x", "", "x"], ["x", "x", "y"], ["", "x", "z"]]
    assert (table.drop(written.index)[["a", "b"]] == "x").all(axis=None), "derived from one recipe"
    assert list(table.index) == list(range(1, len(table) + 1))


def test_overview_has_a_row_for_each_run_in_the_order_of_the_catalogue():
    names = (TUNED, SHORT["16s"], SHORT["32s"])
    table = chapter_tables.overview([record(name, images_seen=40) for name in names])
    assert list(table.index) == ["32s-short", "16s-short", "8s-tuned"]
    row = table.iloc[0].to_dict()
    shown = (row["trained on"], row["scored on"], row["images seen"], row["hours"])
    assert shown == (2486, 200, "40", 1.0)


def test_recipes_hold_every_setting():
    table = chapter_tables.recipes({"tuned": TUNED, "short": SHORT["8s"]})
    assert list(table.loc["starts from"]) == ["ImageNet", "16s-short"]
    assert set(table.index) == {"starts from", *asdict(EXPERIMENTS[TUNED].recipe)}


# Chapter 7


def run(experiment, dataset="voc-subset", **counts):
    """A run with ``counts`` correct pixels per class, and twice as many predicted as background."""
    matrix = np.zeros((21, 21), int)
    for name, count in counts.items():
        matrix[CLASSES.index(name), CLASSES.index(name)] = count
        if name != "background":
            matrix[CLASSES.index(name), 0] = 2 * count
    return record(experiment, {"semantic": (CLASSES, matrix.tolist())}, dataset)


def test_the_computed_columns_are_below_the_papers():
    computed = {
        net: {column: f"{net} {column}" for column in line} for net, line in TABLE_1.items()
    }
    table = chapter_tables.structure(computed)
    assert table.loc[("FCN-VGG16", "paper")].tolist() == ["16", "134M", "404", "32"]
    assert table.loc[("FCN-VGG16", "computed"), "parameters"] == "FCN-VGG16 parameters"
    assert len(table) == 6


def test_every_run_of_the_chapters_is_in_the_catalogue():
    assert {*SUBSET.values(), *SHORT.values(), TUNED} < {*EXPERIMENTS}
    assert {*chapter_tables.TRIALS.values()} < {*EXPERIMENTS}


def test_the_tables_show_what_was_published_and_what_was_not_run():
    first, second = chapter_tables.table_1([]), chapter_tables.table_2([])
    third = chapter_tables.table_3()
    command = "python -m fcn train voc2011-vgg16-32s"
    assert first.loc["FCN-VGG16"].tolist() == ["56.0", "not run", command]
    printed = ["89.1", "73.3", "59.4", "81.4", "63.6", "62.8", "not run", "not run"]
    assert second.loc["FCN-32s"].tolist() == printed
    at_once = ["-"] * 4 + ["65.4", "64.7", "not run", "not run"]
    assert second.loc["FCN-8s at-once"].tolist() == at_once
    assert second.loc["FCN-32s-fixed", "ours, heavy"] == "-"
    assert third.loc["FCN-8s"].tolist() == ["62.7", "62.2", "~175 ms"]
    assert third.loc["SDS"].tolist() == ["52.6", "51.6", "~50 s"]
    assert third.loc["FCN-8s, released later", "VOC 2012"] == "67.2"
    assert {row.label for row in paper.TABLES if row.table == "Table 3"} < {*third.index}


def test_a_record_takes_its_place():
    names = ("voc-vgg16-16s", "voc2011-googlenet-32s")
    found = [run(name, "voc", background=3, cat=1) for name in names]
    expected = f"{100 * (3 / 5 + 1 / 3) / 2:.1f}"
    assert chapter_tables.table_2(found).loc["FCN-16s", "ours"] == expected
    assert chapter_tables.table_1(found)["ours"].tolist() == ["not run", "not run", expected]


def test_claims_are_next_to_the_runs_that_test_them():
    plain, changed = "sift-flow-googlenet-8s-brief", "sift-flow-googlenet-8s-brief-max"
    both = [
        run(plain, "sift-flow", background=9, cat=1),
        run(changed, "sift-flow", background=3, cat=1),
        run("voc-vgg16-16s-max", "voc", background=9, cat=1),
    ]
    table = chapter_tables.voc_claims(both)
    a, b = 100 * (3 / 5 + 1 / 3) / 2, 100 * (9 / 11 + 1 / 3) / 2
    said, on_voc, difference, verdict = table.loc["the maximum of the skips"]
    assert (said, on_voc, difference) == ("made learning hard", f"{b:.1f}", f"{a - b:+.1f}")
    assert verdict.startswith("too early to tell")
    missing = ["unnecessary", "not run", "not run", "-"]
    assert table.loc["rare classes weighted up"].tolist() == missing
    assert not any("task alone" in change for change in table.index)  # of SIFT Flow's own section


def test_a_claim_is_shown_by_its_full_runs_if_they_exist():
    short = ("sift-flow-googlenet-16s-brief", "sift-flow-googlenet-32s-brief")
    full = ("sift-flow-googlenet-16s", "sift-flow-googlenet-32s")
    runs = [run(name, "sift-flow", background=3, cat=1) for name in (*short, full[0])]
    change = "one skip: 16s, not 32s"
    assert chapter_tables.voc_claims(runs).loc[change, "SIFT Flow, GoogLeNet"] == "+0.0"
    runs.append(run(full[1], "sift-flow", background=9, cat=1))
    lower = 100 * (3 / 5 - 9 / 11) / 2
    assert chapter_tables.voc_claims(runs).loc[change, "SIFT Flow, GoogLeNet"] == f"{lower:+.1f}"


def test_a_claim_is_shown_by_runs_with_the_same_change():
    plain, fast = "sift-flow-googlenet-8s-brief", "sift-flow-googlenet-8s-speedrun"
    runs = [
        run(plain, "sift-flow", background=9, cat=1),
        run(f"{plain}-balanced", "sift-flow", background=3, cat=1),
        run(f"{fast}-brief", "sift-flow", background=9, cat=1),
        run(f"{fast}-even", "sift-flow", background=9, cat=1),
    ]
    shown = chapter_tables.voc_claims(runs)["SIFT Flow, GoogLeNet"]
    lower = 100 * (3 / 5 - 9 / 11) / 2
    assert shown["rare classes weighted up"] == f"{lower:+.1f}"
    assert shown["rare classes weighted up a little"] == "+0.0"


def test_forward_times_are_medians_next_to_the_papers():
    milliseconds = [[10.0, 90, 20], [40, 40, 40], [1, 2, 3], [400, 50, 400]]
    found = timed(dict(zip(paper_times.WORKLOADS.values(), milliseconds, strict=True)))
    table = chapter_tables.forward_times({"here": found})
    assert table["K40c"].tolist() == ["50 (0.24)", "210 (1.00)", "59 (0.28)", "175 (0.83)"]
    assert table["here, tight"].tolist() == ["20 (0.50)", "40 (1.00)", "2 (0.05)", "400 (10.00)"]


def test_the_subset_is_on_its_own():
    assert chapter_tables.subset([]) == {}
    found = [
        run(SUBSET["FCN-GoogLeNet, 32s"], background=30, cat=1, cow=1, sofa=1),
        run(SUBSET["FCN-GoogLeNet, 8s"], background=90, cat=1, cow=1, sofa=1),
    ]
    table = chapter_tables.subset_table(found)
    command = f"python -m fcn train {SUBSET['FCN-AlexNet, 32s']}"
    assert table.loc["FCN-AlexNet, 32s", "record"] == command
    assert table.loc["FCN-AlexNet, 32s", "mean IU"] == "not run"
    assert table.columns[-1] == "record"
    iu = 100 * 30 / 36
    assert table.loc["FCN-GoogLeNet, 32s", "mean IU"] == f"{(iu + 100) / 4:.1f}"
    of_seven = (iu + 200 / 3) / 7  # without the sofa; four of the six have no pixel
    assert table.loc["FCN-GoogLeNet, 32s", "mean IU of 7"] == f"{of_seven:.1f}"
    finer = (100 * 90 / 96 + 200 / 3) / 7
    assert chapter_tables.mean_iu(
        chapter_tables.subset(found)["FCN-GoogLeNet, 8s"]
    ) == pytest.approx(finer)

    photos = {"scored": [9 if name in ("background", "sofa") else 0 for name in CLASSES]}
    again = run(SUBSET["FCN-GoogLeNet, 8s"], background=90, cat=1, cow=1, sofa=1)
    again = again.model_copy(update={"seed": 1})
    line = chapter_tables.subset_table([*found, again]).loc["FCN-GoogLeNet, 8s"]
    assert (line["record"], line["mean IU of 7"]) == ("seeds 0, 1", f"{finer:.1f} ± 0.0")

    by_class = chapter_tables.subset_classes(found, photos)
    assert by_class.index.tolist() == ["background", "sofa"]
    assert by_class.loc["sofa"].tolist() == [9, "33.3", "33.3"]


# Chapter 12


def test_without_records_the_tables_are_empty():
    assert chapter_tables.replications([], "Table 5", "FCN-16s") == {}
    columns = ["why", "what it may change", "lines"]
    assert list(chapter_tables.deviation_kinds([]).columns) == columns
    assert chapter_tables.deviations([]).empty


def test_replications_are_final_runs_by_experiment():
    runs = [
        record(SHORT["8s"]),
        record(TUNED, {"semantic": (("sky", "tree"), [[9, 1], [2, 8]])}),
        record(TUNED, purpose="validation"),
    ]
    found = chapter_tables.replications(runs, "Table 5", "FCN-16s")
    assert list(found) == ["googlenet-8s-short", "googlenet-8s-tuned"]
    accuracies = [scores["pixel_accuracy"] for seeds in found.values() for scores in seeds]
    assert accuracies == pytest.approx([70.0, 85.0])  # 14 and 17 of 20 pixels


def test_the_bounds_nearest_to_the_paper_are_first():
    near, far = (
        upper_bounds.Line(name, {32: 86.1 + by, 16: 92.8 - by}, by)
        for name, by in (("near", 0.5), ("far", 3.0))
    )
    published = upper_bounds.Line("the paper", {32: 86.1, 16: 92.8}, 0.0)
    frame = chapter_tables.bounds([published, near, far])
    assert list(frame.loc["nearest less paper"]) == ["0.5", "-0.5"]
    assert list(frame.index) == ["the paper", "near", "far", "nearest less paper"]


def test_deviations_name_two_experiments_and_count_more():
    written = (Deviation("other", "photos painted over"),)
    names = (SHORT["8s"], TUNED, SHORT["16s"])
    runs = [record(name, deviations=written) for name in names]
    table = chapter_tables.deviations(runs[:2])
    assert table.loc["other", "in"] == f"`{SHORT['8s']}`, `{TUNED}`"
    assert chapter_tables.deviations(runs).loc["other", "in"] == "3 experiments"
    assert chapter_tables.deviation_kinds(runs).loc["other", "lines"] == 1


def test_the_cost_is_modelled_for_all_experiments_and_measured_for_those_recorded():
    short = record(SHORT["8s"], seconds=7200.0, hardware="two cores")
    costs = cost.costs([short])
    table = chapter_tables.costs_by_table(costs)
    assert table.loc["Table 5", ["with a record", "hours, measured"]].tolist() == [1, 2.0]
    assert table.loc["all", "experiments"] == len(EXPERIMENTS)
    numbers = chapter_tables.modelled(costs)
    low, high = (f"{numbers[key]:.1f}" for key in ("gpu_low", "gpu_high"))
    assert table.loc["all", "GPU hours, modelled"] == f"{low} to {high}"
    rate = costs.loc[SHORT["8s"], "exaflops"] / 2
    assert numbers["measured_gigaflops"] == pytest.approx(1e9 * rate / 3600)
    assert numbers["years"] * 365 * 24 * rate == pytest.approx(costs["exaflops"].sum())
    assert (numbers["graph_recorded"], numbers["measured_on"]) == (1, "two cores")


def long_run(name, seed, hit):
    """A run of 175 epochs; ``hit`` of 1000 pixels of the first class are right."""
    recipe = asdict(EXPERIMENTS[name].recipe)
    heads = {"semantic": (("sky", "tree"), [[hit, 1000 - hit], [400, 600]])}
    return record(name, heads, seed=seed, recipe=recipe)


def test_verdicts_are_counted_over_all_lists():
    assert chapter_tables.verdicts([])["compared"] == 0
    one = claim("skip-16s", LONG_CLAIMS)
    for gain, outcome in ((62, "agree"), (400, "differ")):  # +3 points, or more than the paper's
        runs = [
            long_run(name, seed, hit + seed)
            for name, hit in ((one.base, 500), (one.changed, 500 + gain))
            for seed in range(3)
        ]
        counts = chapter_tables.verdicts(runs)
        assert counts["claims"] == len(ALL_CLAIMS)
        assert (counts["compared"], counts[outcome], counts["early"]) == (1, 1, 0)
        assert chapter_tables.verdicts(runs[:-1])["early"] == 1


def test_the_effort_is_that_of_all_runs():
    runs = [
        record(TUNED, seconds=1800.0, images_seen=5, hardware="b"),
        record(TUNED, purpose="validation", seconds=5400.0, images_seen=7, hardware="a"),
    ]
    expected = {"runs": 2, "all_hours": 2.0, "all_images": 12, "machines": "a; b"}
    assert chapter_tables.effort(runs) == expected


def test_the_width_of_an_interval_is_that_of_three_seeds_a_side():
    numbers = chapter_tables.rules([])
    assert numbers["width"] == pytest.approx(5.746 * (2 / 3) ** 0.5, abs=1e-3)
    assert "flat" not in numbers


def test_the_loss_is_flat_if_its_last_fifth_is_like_the_one_before():
    brief = record("sift-flow-googlenet-8s-brief", curve=points([9, 5, 3, 2.0, 2.2]))
    numbers = chapter_tables.rules([brief, record(TUNED)])
    assert numbers["flat"] == pytest.approx(10)
    assert numbers["after_flat"] == 0
