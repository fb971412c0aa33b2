"""The drawings of the short chapter show what its captions say."""

import numpy as np
import pytest
from figures import one_sitting, style
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch

PALETTE = np.array([(0, 0, 255), (0, 255, 0)], np.uint8)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_fcn_8s_has_two_skips_and_u_net_one_at_each_of_its_finer_strides():
    def skips(axes):
        arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
        return sum(arrow.get_edgecolor() == to_rgba(style.HIGHLIGHT) for arrow in arrows)

    assert [skips(axes) for axes in one_sitting.ladders().axes] == [2, 4]


def test_bars_are_the_multiplications_of_each_block():
    counts = {"without": {"3a": 3.0, "3b": 5.0}, "with": {"3a": 1.0, "3b": 2.0}}
    (axes,) = one_sitting.reductions(counts).axes
    assert [bar.get_height() for bar in axes.patches] == [3, 5, 1, 2]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3a", "3b"]


def test_four_steps_show_the_four_features_that_vary_most():
    features = np.ones((6, 2, 3))
    features[1:5, 0, 0] = (2, 3, 4, 5)
    cells, labels = np.zeros((2, 3), int), np.ones((64, 96), int)
    photo, score = np.zeros((64, 96, 3)), np.zeros((64, 96))
    figure = one_sitting.four_steps(photo, features, (cells, labels), score, "ab", PALETTE)
    mosaic = figure.axes[1].images[0].get_array()
    assert mosaic.shape == (8, 10)  # two by two maps of 2 x 3 with a frame of one cell
    assert sorted(np.unique(mosaic.compressed())) == pytest.approx([1 / 5, 1 / 4, 1 / 3, 1 / 2, 1])
    names = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert names == ["a", "b"]
