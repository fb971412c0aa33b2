"""The figures of chapter 5 show what they are given."""

from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import skips, style
from matplotlib.colors import to_hex

from fcn.data.sample import VOID
from fcn.geometry import ReceptiveField

NAMES = ("sky", "tree", "pole")
PALETTE = np.array([(10, 20, 30), (40, 50, 60), (70, 80, 90)], np.uint8)
LABELS = np.array([[0, 0, 1], [VOID, 1, 1], [0, 0, 1]])
IMAGE = np.full((3, 3, 3), 128, np.uint8)


@pytest.fixture(autouse=True)
def _closed():
    style.use()
    yield
    plt.close("all")


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def pictures(axes):
    return axes.images[0].get_array()


def test_taps_draws_each_field_around_a_cell_and_each_cell_at_its_centre():
    fields = {s: ReceptiveField(3 * s, Fraction(s), Fraction(s - 1, 2)) for s in (8, 16, 32)}
    figure = skips.taps(np.zeros((96, 128, 3), np.uint8), fields, centre=(40, 70))
    left, right = figure.axes
    widest = max(left.patches, key=lambda patch: patch.get_width())
    assert widest.get_width() == 96
    assert tuple(widest.get_center()) == (
        79.5,
        47.5,
    )  # the cell of stride 32 nearest to row 40, column 70
    cells = {to_hex(dots.get_facecolor()[0]): dots.get_offsets() for dots in right.collections}
    assert sorted(map(len, cells.values())) == [3 * 4, 6 * 8, 12 * 16]
    assert "stride 16, sees 48 px" in entries(figure)


def test_training_joins_the_fixed_losses_of_two_stages():
    first = [{"images": 8, "loss": 2.0}, {"images": 16, "loss": 1.0}]
    second = [{"images": 8, "loss": 1.4}]
    figure = skips.training(
        {"32s": [(0, first, [2.3, 1.5, 0.9])], "16s": [(16, second, [0.9, 0.7])]}
    )
    (axes,) = figure.axes
    bold = [line for line in axes.lines if line.get_linewidth() == 2]
    (coarse, fine) = (line.get_xydata().tolist() for line in bold)
    assert coarse == [[0, 2.3], [8, 1.5], [16, 0.9]]
    assert fine == [[16, 0.9], [24, 0.7]]
    faint = [line.get_xydata().tolist() for line in axes.lines if line.get_alpha() == 0.3]
    assert faint == [[[8, 2.0], [16, 1.0]], [[24, 1.4]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["FCN-32s", "FCN-16s"]


def test_against_distance_marks_the_last_ring_as_open():
    errors = {"32s": np.array([50.0, 30.0, 10.0]), skips.LONGER: np.array([40.0, 20.0, 5.0])}
    axes, below = skips.against_distance(errors, np.array([20.0, 30.0, 50.0])).axes
    assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]
    assert [label.get_text() for label in below.get_xticklabels()] == ["1", "2", "3+"]
    assert [bar.get_height() for bar in below.patches] == [20, 30, 50]


def test_streams_add_up_and_what_all_classes_share_does_not_show():
    rng = np.random.default_rng(0)
    scores = {s: rng.normal(size=(3, 3, 3)) for s in (32, 16, 8)}
    shifted = {s: score + rng.normal(size=(1, 3, 3)) for s, score in scores.items()}
    figure = skips.streams(IMAGE, LABELS, shifted, [1], NAMES, PALETTE)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "image",
        "stride 32 alone",
        "stride 16 alone",
        "stride 8 alone",
        "sum",
        "tree",
        "",
        "",
        "",
        "",
    ]
    total = sum(scores.values())
    np.testing.assert_array_equal(pictures(figure.axes[4]), PALETTE[total.argmax(0)])
    np.testing.assert_allclose(pictures(figure.axes[9]), (total - total.mean(0))[1])
    limits = {axes.images[0].get_clim() for axes in figure.axes[6:]}
    assert len(limits) == 1  # one scale a row
