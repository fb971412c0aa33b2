"""The figures of chapter 12 show every run."""

import chapter_tables
import matplotlib.pyplot as plt
import pytest
from book_records import record
from figures import results as figures

from fcn.replication import claims
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
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert sum(len(line.get_xdata()) for line in dots) == 3 * 5
    assert float(dots[0].get_xdata()[0]) == pytest.approx(70.0 - 85.2)


def test_each_change_has_its_interval_and_colour():
    wide = claims.Comparison(CLAIM, (31.0,), (32.0,), 2.0)
    narrow = claims.Comparison(CLAIM, (31.0, 31.0), (32.0, 32.0), 0.5)
    axes = figures.one_change([wide, narrow]).axes[0]
    bars = [container.lines[2][0] for container in axes.containers]
    ends = [bar.get_segments()[0][:, 0].tolist() for bar in bars]
    assert ends == [[-3.0, 1.0], [-1.5, -0.5]]
    dots = [container.lines[0].get_color() for container in axes.containers]
    assert dots == [figures.OUTCOMES["unclear"], figures.OUTCOMES["lower"]]
