"""The figures of chapter 7 show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from book_records import head
from figures import style, voc

from fcn.data.sample import VOID
from fcn.data.voc import CLASSES, PALETTE

PERSON, CAT, COW = (CLASSES.index(name) for name in ("person", "cat", "cow"))


@pytest.fixture(autouse=True)
def _closed():
    style.use()
    yield
    plt.close("all")


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def of_counts(cat, cow):
    """A head with these numbers of correct pixels, and twice as many predicted as background."""
    matrix = np.zeros((21, 21), int)
    for c, count in ((CAT, cat), (COW, cow)):
        matrix[c, c], matrix[c, 0] = count, 2 * count
    return head(CLASSES, matrix.tolist())


# Label maps


def test_a_border_is_void_on_both_sides_of_a_line_and_nowhere_else():
    labels = torch.zeros(9, 12, dtype=torch.int64)
    labels[:, 6:] = PERSON
    bordered = voc.with_border(labels, 2)
    assert (bordered[:, 4:8] == VOID).all()
    assert torch.equal(bordered[:, :4], labels[:, :4])
    assert torch.equal(bordered[:, 8:], labels[:, 8:])
    assert torch.equal(voc.with_border(labels, 0), labels)


def test_the_drawn_label_map_lies_on_the_photo():
    labels = voc.drawn_labels()
    assert (labels.shape, labels.dtype) == ((512, 512), torch.int64)
    assert {*labels.unique().tolist()} == {0, PERSON, VOID}
    assert labels[100, 230] == PERSON  # the face
    assert labels[450, 400] == VOID  # the helmet
    assert labels[100, 420] == labels[400, 10] == 0  # the model of the shuttle, the flag
    narrow, wide = (voc.drawn_labels(reach) == VOID for reach in (1, 3))
    assert (wide | ~narrow).all()
    assert wide.sum() > narrow.sum()


def test_a_photo_its_labels_and_a_detail():
    labels = torch.tensor([[0, PERSON, VOID, VOID]])
    figure = voc.labelled(torch.zeros(3, 1, 4), labels, (slice(0, 1), slice(1, 3)))
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(shown[1], style.colour(labels, PALETTE))
    np.testing.assert_array_equal(shown[2], style.colour(labels[:, 1:3], PALETTE))
    assert entries(figure) == ["background", "person", "void"]


def test_answers_have_red_errors_and_pale_void():
    labels = torch.tensor([[0, PERSON, VOID, VOID]])
    figure = voc.answers(labels, {"a": torch.tensor([[0, 0, 0, PERSON]]), "truth": labels})
    wrong, right = (axes.images[0].get_array() for axes in figure.axes)
    assert wrong[0, 0].tolist() == right[0, 0].tolist() == PALETTE[0].tolist()
    assert wrong[0, 1].tolist() == list(voc.WRONG_COLOUR)
    assert right[0, 1].tolist() == PALETTE[PERSON].tolist()
    assert (wrong[0, 2:] > 150).all()  # pale
    assert entries(figure)[:3] == ["background", "person", "wrong"]


# Other figures


def test_frequencies_puts_a_dot_at_every_share_and_none_at_zero():
    shares = pd.DataFrame(
        {"train": [70.0, 5.0, 0.1], "other": [60.0, 0.0, 0.2]}, ["background", "cat", "boat"]
    )
    (axes,) = voc.frequencies(shares).axes
    dots = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert dots == {"train": [[70, 0], [5, 1], [0.1, 2]], "other": [[60, 0], [0.2, 2]]}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["background", "cat", "boat"]


def test_sizes_puts_width_before_height_and_names_what_is_frequent():
    heights, widths = (
        np.array([375] * 30 + [500] * 10 + [200]),
        np.array([500] * 30 + [375] * 10 + [100]),
    )
    (axes,) = voc.sizes(heights, widths).axes
    assert axes.collections[0].get_offsets().tolist() == [[100, 200], [375, 500], [500, 375]]
    assert [t.get_text() for t in axes.texts] == ["375 x 500: 10 photos", "500 x 375: 30 photos"]


def test_per_class_draws_a_bar_for_each_net_and_class():
    heads = {"FCN-GoogLeNet, 32s": of_counts(1, 3), "FCN-GoogLeNet, 8s": of_counts(1, 0)}
    (axes,) = voc.per_class(heads, ("cat", "cow")).axes
    expected = [100 / 3, 100 / 3, 100 / 3, 0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(expected)
