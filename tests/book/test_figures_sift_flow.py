"""The figures of chapter 6 show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from book_records import head
from figures import shared
from figures import sift_flow as figures

from fcn.data.sift_flow import SEMANTIC
from fcn.replication.paper import METRICS

SHARES = pd.DataFrame(
    {"train": np.linspace(0.1, 6, 33), "test": np.r_[np.linspace(0.1, 6, 31), 0, 0]}, SEMANTIC
)


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def sift_flow_head(seed):
    """A head of 33 classes of which the last two are absent from the ground truth."""
    matrix = np.random.default_rng(seed).integers(0, 50, (33, 33)) + 400 * np.eye(33, dtype=int)
    matrix[31:] = 0
    return head(SEMANTIC, matrix.tolist())


def test_classes_are_sorted_by_frequency_and_absent_ones_left_out():
    heads = {"short, 8s": sift_flow_head(1), "tuned, 8s": sift_flow_head(2)}
    (axes,) = figures.iu_per_class(heads, SHARES["train"]).axes
    labels = [label.get_text().split("  ")[0] for label in axes.get_yticklabels()]
    assert labels == list(SEMANTIC[30::-1])
    matrix = np.array(heads["short, 8s"].confusion_matrix)
    drawn = shared.confusion(matrix, SEMANTIC, range(32, -1, -1)).axes[0].images[0].get_array()
    assert drawn is not None
    assert drawn.shape == (31, 33)
    np.testing.assert_allclose(np.asarray(drawn).sum(1), 100)


def test_every_class_has_a_bar_of_its_share():
    (axes,) = figures.frequencies(SHARES).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(sorted(SHARES["train"]))
    assert sum("absent" in text.get_text() for text in axes.texts) == 2


def test_table_2_and_ours_are_drawn_as_gains():
    values = {"32s": dict.fromkeys(METRICS, 50.0), "16s": dict.fromkeys(METRICS, 52.0)}
    left, _ = figures.skips(values, values).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[0.0, 2.0]] * 4
