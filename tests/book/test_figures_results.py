"""The chapter of results: its sentences follow from the records, and its figures show every run."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
from figures import results as figures
from figures import results_text as text
from test_tables import record

from fcn.replication import claims, upper_bounds

SHORT, TUNED = "sift-flow-googlenet-8s-short", "sift-flow-googlenet-8s-tuned"
CLAIM = next(claim for claim in claims.CLAIMS if claim.change == "only the score layers learn")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_without_records_every_sentence_says_so():
    assert text.beside_paper([]) == {}
    said = [text.ranges({}), text.verdicts([]), text.share_without_the_trunk([]), text.pace([])]
    assert all("ot run" in sentence for sentence in said)
    assert "pytorch-fcn" in text.seeds([])
    assert list(text.kinds([]).columns) == ["why", "what it may change", "lines"]
    assert text.every_departure([]).empty


def test_ranges_are_between_our_own_runs():
    ours = text.beside_paper([record(SHORT), record(TUNED, hits=((9, 1), (2, 8))), record(TUNED, purpose="validation")])
    assert list(ours) == ["googlenet-8s-short", "googlenet-8s-tuned"]
    assert text.ranges(ours) == (
        "Between our own runs, pixel accuracy differs by 15.0 points at the most, and mean accuracy by 15.0."
    )  # 14 of 20 pixels and 17 of 20: two classes of ten pixels, so that both metrics are one


def test_the_bounds_nearest_to_the_paper_stand_first():
    near, far = (upper_bounds.Line(name, {32: 86.1 + by, 16: 92.8 - by}, by) for name, by in (("near", 0.5), ("far", 3.0)))
    frame = text.bounds_table([upper_bounds.Line("the paper", {32: 86.1, 16: 92.8}, 0.0), near, far])
    assert list(frame.loc["nearest less paper"]) == ["0.5", "-0.5"]
    assert list(frame.index) == ["the paper", "near", "far", "nearest less paper"]


def test_the_share_without_the_trunk_stands_beside_table_2s():
    found = claims.Comparison(CLAIM, (15.0, 17.0), (32.0,), 1.0)
    sentence = text.share_without_the_trunk([found])
    assert "**50 %**" in sentence
    assert "76 %, 45.4 of 59.4" in sentence


def test_verdicts_gather_the_changes():
    lower = claims.Comparison(CLAIM, (15.0,), (32.0,), 1.0)
    higher = replace(lower, changed=(40.0,))
    assert text.verdicts([lower, higher, lower]).splitlines() == [
        "- **as the paper says**: *only the score layers learn*, *only the score layers learn*",
        "- **not what the paper says**: *only the score layers learn*",
    ]


def test_departures_name_two_experiments_and_count_more():
    runs = [replace(record(name), deviations=("mirrored photos",)) for name in (SHORT, TUNED)]
    assert text.every_departure(runs).loc["augmentation", "in"] == f"`{SHORT}`, `{TUNED}`"
    third = replace(runs[0], experiment="sift-flow-googlenet-16s-short")
    assert text.every_departure([*runs, third]).loc["augmentation", "in"] == "3 experiments"
    assert text.kinds(runs).loc["augmentation", "lines"] == 1


def test_cost_is_epochs_times_images():
    assert text.images_to_see()["voc-vgg16-32s"] == 175 * 8498
    run = replace(record(TUNED), images_seen=175 * 8498 // 2, seconds=7200.0, hardware="a machine")
    assert text.cost([run]).loc[f"{TUNED} (recorded)", "images"] == f"{175 * 8498 // 2:,}"
    assert "4 hours on the same machine" in text.pace([run])


def test_every_run_is_a_dot_in_every_metric():
    ours = text.beside_paper([record(SHORT), record(TUNED), record(TUNED, seed=1)])
    axes = figures.apart(text.PAPER, ours).axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 3 * 5
    assert float(dots[0].get_xdata()[0]) == pytest.approx(70.0 - 85.2)


def test_each_change_has_its_interval_and_colour():
    wide, narrow = (
        claims.Comparison(CLAIM, (31.0,), (32.0,), 2.0),
        claims.Comparison(CLAIM, (31.0, 31.0), (32.0, 32.0), 0.5),
    )
    axes = figures.one_change([wide, narrow]).axes[0]
    bars = [container.lines[2][0] for container in axes.containers]
    assert [bar.get_segments()[0][:, 0].tolist() for bar in bars] == [[-3.0, 1.0], [-1.5, -0.5]]
    dots = [container.lines[0].get_color() for container in axes.containers]
    assert dots == [figures.OUTCOMES["unclear"], figures.OUTCOMES["lower"]]
