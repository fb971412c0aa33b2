"""The figures of chapters 8 and 9 show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import context, nyud, style
from rooms import room

from fcn.data.hha import hha
from fcn.data.nyud import CLASSES, PALETTE


@pytest.fixture(autouse=True)
def _closed():
    style.use()
    yield
    plt.close("all")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_room_and_its_channels():
    one = room(0, (48, 64))
    figure = nyud.room(one, CLASSES, PALETTE)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), one.image)
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), one.depth)
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"wall", "floor"} <= shown <= set(CLASSES)
    encoded = hha(one.depth, one.camera, one.gravity)
    for i, axes in enumerate(nyud.channels(encoded).axes[:3]):
        np.testing.assert_array_equal(axes.images[0].get_array(), encoded[..., i])
    axes = nyud.angles({"true": encoded, "again": encoded}).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), encoded[..., 2] - 38.0)


def test_table_4_as_bars_from_top_to_bottom():
    axes = nyud.table_4([("others", 28.6), ("FCN", 34.0)]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [28.6, 34.0]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in axes.patches] == [1, 0]
    assert texts(axes) == ["28.6", "34.0"]


def test_the_diagram_names_both_fusions():
    said = texts(nyud.fusions().axes[0])
    assert {"early fusion", "late fusion", "mean of\nthe scores"} <= set(said)


def test_a_square_a_class():
    figure = context.waffle(33, 26, 459)
    squares = figure.axes[0].collections[0].get_array()
    assert np.ma.masked_invalid(squares).count() == 459
    assert [int((squares == shade).sum()) for shade in range(3)] == [33, 26, 400]
    assert figure.legends[0].get_texts()[2].get_text() == "background in both: 400"


def test_table_6_has_a_panel_a_task_with_nets_in_the_papers_colour():
    figure = context.table_6({"59": [("O2P", 18.1), ("FCN-8s", 35.1)], "33": [("CFM", 46.1)]})
    first = figure.axes[0]
    assert texts(first) == ["18.1", "35.1"]
    colours = [bar.get_facecolor() for bar in first.patches]
    assert colours[0] != colours[1]
    assert figure.axes[1].get_title() == "33"


def test_frequencies_are_sorted_and_coloured_by_kind():
    shares, tints = (
        {"sky": 60.0, "car": 1.0, "tree": 39.0},
        {"stuff": "#111111", "things": "#222222"},
    )
    kinds = {"sky": "stuff", "tree": "stuff", "car": "things"}
    axes = context.frequencies(shares, tints, kinds).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["car", "tree", "sky"]
    assert (
        axes.patches[0].get_facecolor()
        != axes.patches[1].get_facecolor()
        == axes.patches[2].get_facecolor()
    )
