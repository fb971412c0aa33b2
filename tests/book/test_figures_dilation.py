"""The figures of section 3.2 show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import dilation as figures
from figures import style


@pytest.fixture(autouse=True)
def _closed():
    plt.switch_backend("agg")
    style.use()
    yield
    plt.close("all")


def lines(axes):
    return {tuple(map(tuple, line.get_xydata().tolist())) for line in axes.lines}


def test_the_dilated_net_has_the_lines_of_all_shifts_and_no_others():
    figure = figures.connections([(2, 2), (3, 1)], ["image", "pooled", "scores"], 12)
    *shifts, dilated = figure.axes
    assert len(shifts) == 2
    assert lines(shifts[0]).isdisjoint(lines(shifts[1]))
    assert lines(dilated) == lines(shifts[0]) | lines(shifts[1])
    assert ((2.0, 0.0), (2.5, 1.0)) in lines(shifts[0]), (
        "pixel 2 to the pooled cell between 2 and 3"
    )
    assert ((2.5, 1.0), (4.5, 2.0)) in lines(shifts[0]), (
        "a filter of three cells that lie two pixels apart"
    )
    tops = sorted(x for line in lines(dilated) for x, y in line if y == 2)
    assert sorted({*tops}) == [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5], (
        "a score for each of 12 - 6 + 1 windows"
    )


def test_a_filter_is_dilated_with_zeros():
    axes = figures.dilated_filter([[1, 2], [3, 4]], 3).axes[0]
    numbers = [text.get_text() for text in axes.texts if text.get_text().isdigit()]
    assert numbers == [*"1234", *"1002", *"0000", *"0000", *"3004"]


def test_borders_shows_differences_on_one_logarithmic_scale():
    picture = np.zeros((4, 4, 3))
    figure = figures.borders(picture, {"with": np.full((2, 2), 1e-2), "without": np.zeros((2, 2))})
    drawn = [axes.images[0] for axes in figure.axes[1:3]]
    assert [image.get_array()[0, 0] for image in drawn] == [-2, -8]
    assert {image.get_clim() for image in drawn} == {(-8, 0)}
    assert [axes.get_title() for axes in figure.axes[:3]] == ["the image", "with", "without"]


def test_costs_draws_finer_strides_to_the_right():
    ways = {
        "dilated": {32: 1.0, 1: 100.0},
        "shift-and-stitch": {32: 1.0, 1: 1024.0},
        "FCN": {32: 1.0, 8: 1.1},
    }
    figure = figures.costs({"vgg16": ways, "googlenet": ways}, "multiply-adds")
    assert [axes.get_title() for axes in figure.axes] == ["vgg16", "googlenet"]
    axes = figure.axes[0]
    assert axes.get_xlim()[0] > axes.get_xlim()[1]
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 100], [1, 1024], [1, 1.1]]
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys == ["dilated", "shift-and-stitch", "FCN-32s, 16s, 8s: then upsampled"]


def test_times_draws_one_net():
    figure = figures.costs({"googlenet": {"dilated": {8: 0.2, 1: 9.0}}}, "seconds")
    (axes,) = figure.axes
    assert axes.get_ylabel() == "seconds"
    assert list(axes.lines[0].get_xdata()) == [3, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dilated"]
