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


def test_labellings_shows_a_row_an_image_and_names_only_the_classes_in_it():
    figure = skips.labellings([IMAGE, IMAGE], {"truth": [LABELS, LABELS], "net": [LABELS * 0, LABELS]}, NAMES, PALETTE)
    assert [axes.get_title() for axes in figure.axes] == ["image", "truth", "net", "", "", ""]
    assert entries(figure) == ["sky", "tree"]  # neither void nor the pole, which is nowhere
    np.testing.assert_array_equal(pictures(figure.axes[2]), np.broadcast_to(PALETTE[0], (3, 3, 3)))
    np.testing.assert_array_equal(pictures(figure.axes[5])[1, 1], PALETTE[1])


def test_taps_draws_each_field_around_a_cell_and_each_cell_at_its_centre():
    fields = {s: ReceptiveField(3 * s, Fraction(s), Fraction(s - 1, 2)) for s in (8, 16, 32)}
    figure = skips.taps(np.zeros((96, 128, 3), np.uint8), fields, centre=(40, 70))
    left, right = figure.axes
    widest = max(left.patches, key=lambda patch: patch.get_width())
    assert widest.get_width() == 96
    assert tuple(widest.get_center()) == (79.5, 47.5)  # the cell of stride 32 nearest to row 40, column 70
    cells = {to_hex(dots.get_facecolor()[0]): dots.get_offsets() for dots in right.collections}
    assert sorted(map(len, cells.values())) == [3 * 4, 6 * 8, 12 * 16]
    assert "stride 16, sees 48 px" in entries(figure)


def test_losses_puts_each_run_behind_the_images_seen_before_it():
    curve = [{"images": 8 * i, "loss": 1.0 / i} for i in range(1, 5)]
    figure = skips.losses({"32s": [(0, curve)], skips.LONGER: [(32, curve), (64, curve)]})
    ends = {line.get_xdata()[-1] for line in figure.axes[0].lines}
    assert ends == {32, 64, 96}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["FCN-32s", "FCN-32s, longer"]


def test_per_class_orders_by_the_last_column_and_leaves_absent_classes_out():
    ius = {"32s": (50.0, None, 10.0), "8s": (60.0, None, 80.0)}
    axes = skips.per_class(ius, NAMES, skips.SERIES).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "pole", "mean IU"]
    means = [dots.get_offsets()[-1][0] for dots in axes.collections if len(dots.get_offsets()) == 3]
    assert means == [30.0, 70.0]


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
    assert titles == ["image", "stride 32 alone", "stride 16 alone", "stride 8 alone", "sum", "tree", "", "", "", ""]
    total = sum(scores.values())
    np.testing.assert_array_equal(pictures(figure.axes[4]), PALETTE[total.argmax(0)])
    np.testing.assert_allclose(pictures(figure.axes[9]), (total - total.mean(0))[1])
    limits = {axes.images[0].get_clim() for axes in figure.axes[6:]}
    assert len(limits) == 1  # one scale a row


def test_a_running_mean_keeps_a_constant_to_its_ends():
    np.testing.assert_allclose(skips._smooth(np.full(20, 3.0)), 3.0)
