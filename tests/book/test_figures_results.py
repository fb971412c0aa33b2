"""The figures of chapter 12 show every run."""

import chapter_tables
import matplotlib.pyplot as plt
import pytest
from book_records import record
from figures import results as figures

from fcn.replication import claims, tables
from fcn.replication.paper import row

CLAIM = claims.claim("scores-only")
PAPER = row("Table 5", "FCN-16s")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_every_run_is_a_dot_in_every_metric():
    geometric = (("sky", "vertical"), [[9, 1], [0, 10]])
    heads = {"semantic": (("sky", "tree"), [[8, 2], [4, 6]]), "geometric": geometric}
    short, tuned = "sift-flow-googlenet-8s-short", "sift-flow-googlenet-8s-tuned"
    runs = [record(short, heads), record(tuned, heads), record(tuned, heads, seed=1)]
    ours = chapter_tables.replications(runs, PAPER.table, PAPER.label)
    axes = figures.against_paper(PAPER, ours).axes[0]
    dots = [line for line in axes.lines if line.get_marker() != "None"]
    assert sum(len(line.get_xdata()) for line in dots) == 3 * 5
    assert float(dots[0].get_xdata()[0]) == pytest.approx(70.0 - 85.2)


def test_each_change_has_its_interval_and_is_filled_once_it_has_a_verdict():
    early = claims.Comparison(CLAIM, (31.0, 30.0), (32.0, 31.5))
    single = claims.Comparison(CLAIM, (31.0,), (32.0, 31.5, 31.0))
    clear = claims.Comparison(CLAIM, (15.0, 15.1, 14.9), (32.0, 32.1, 31.9))
    axes = figures.one_change([early, single, clear]).axes[0]
    one, two, three = [c for c in axes.containers if hasattr(c, "lines")]
    (segment,) = one.lines[2][0].get_segments()
    ends = [early.difference - early.uncertain, early.difference + early.uncertain]
    assert segment[:, 0].tolist() == pytest.approx(ends)
    assert not two.has_xerr
    faces = [dots.lines[0].get_markerfacecolor() for dots in (one, two, three)]
    assert faces == ["white", "white", figures.style.COLOURS["ours"]]
    diamonds = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert diamonds == [CLAIM.effect] * 3


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("semantic-alone", (-1, 1)),
        ("geometric-alone", (-0.35, 0.35)),
        ("random-scores", (-9, 1)),
        ("max-fusion", (-9, 0)),
        ("skip-or-epochs", (0, 9)),
    ],
)
def test_the_papers_words_are_a_band(name, band):
    assert figures._band(claims.claim(name), 9) == band


def test_coverage_shows_what_was_not_run():
    frame = tables.coverage([record("sift-flow-googlenet-8s-tuned")])
    axes = figures.coverage(frame).axes[0]
    every, recorded = axes.containers
    assert sum(bar.get_width() for bar in every) == frame.loc["all", "experiments"]
    assert sum(bar.get_width() for bar in recorded) == 1
    assert sum(text.get_text().strip().startswith("1 of") for text in axes.texts) == 1
