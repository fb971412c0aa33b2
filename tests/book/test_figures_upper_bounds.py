"""The figures of chapter 10 show what they are given."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import style
from figures import upper_bounds as bounds

from fcn.data.sample import VOID
from fcn.replication.upper_bounds import FACTORS, PAPER, PROTOCOLS

NAMES = ("sky", "tree", "pole")
PALETTE = np.array([(10, 20, 30), (40, 50, 60), (70, 80, 90)], np.uint8)


@pytest.fixture(autouse=True)
def _closed():
    style.use()
    yield
    plt.close("all")


def test_round_trips_mark_wrong_pixels_and_leave_void_alone():
    labels = np.array([[0, 0, VOID, 1], [0, 0, VOID, 1]])
    back = np.array([[0, 1, 0, 1], [0, 0, 1, 1]])
    image = np.zeros((2, 4, 3), np.uint8)
    figure = bounds.round_trips(image, labels, {4: back[:1, :1]}, {4: back}, NAMES, PALETTE)
    wrong = figure.axes[5]
    assert wrong.get_title() == "16.7 % wrong"  # one of six labelled pixels
    picture = np.asarray(wrong.images[0].get_array())
    assert (picture == bounds._WRONG).all(-1).tolist() == [[False, True, False, False], [False] * 4]
    assert (picture == style.VOID_COLOUR).all(-1).sum() == 2
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "tree"]


def test_every_protocol_is_a_line_less_the_papers_numbers():
    paper = np.array(list(PAPER.values()))
    scores = paper[None, :, None] + np.arange(len(PROTOCOLS))[:, None, None] + np.zeros((1, 1, 2))
    axes = bounds.against_paper(scores).axes[0]
    lines = [line.get_ydata() for line in axes.lines[1:]]
    assert len(lines) == 15  # void that votes can be scored in two ways
    assert sorted({round(float(line[0])) for line in lines}) == list(range(len(PROTOCOLS)))
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        f"1/{factor}" for factor in FACTORS
    ]


def test_classes_are_sorted_by_what_a_grid_of_32_leaves():
    iu = np.tile(np.array([50.0, 90.0, 10.0]), (len(FACTORS), 1))
    axes = bounds.per_class(iu, NAMES).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["tree", "sky", "pole"]
    assert [text.get_text() for text in axes.texts][:: len(FACTORS)] == ["90", "50", "10"]


def test_names_are_left_out_where_they_would_overlap():
    spread, crowd = np.array([10.0, 40, 80]), np.r_[0, np.linspace(50, 51, 28), 100]
    names = [f"class {i}" for i in range(30)]
    figure = bounds.against_border(spread, spread, NAMES, 32)
    assert {text.get_text() for text in figure.axes[0].texts} == set(NAMES)
    drawn = bounds.against_border(crowd, crowd, names, 32).axes[0].texts
    texts = [text for text in drawn if text.get_text()]  # without the lines to their points
    assert 0 < len(texts) < 30
    boxes = [text.get_window_extent() for text in texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert "within 16 px" in figure.axes[0].get_xlabel()


def test_headroom_and_stripes_write_their_numbers():
    figure = bounds.headroom({32: 59.4, 8: 62.7}, PAPER)
    assert {text.get_text() for text in figure.axes[0].texts} == {"59.4", "86.1", "62.7", "96.4"}
    drawn = (
        bounds.stripes([2, 4], {"vote": np.array([0.0, 50])}, {"vote": "black"}, 32)
        .axes[0]
        .lines[0]
    )
    assert drawn.get_ydata().tolist() == [0, 50]
