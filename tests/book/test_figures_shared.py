"""Figures and numbers that several chapters share."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from book_records import points
from figures import shared, skips, style
from matplotlib.colors import to_rgb
from torch import nn

from fcn.data.sample import VOID
from fcn.data.voc import CLASSES, PALETTE
from fcn.models import FCN

NAMES = ("sky", "tree", "pole")
COLOURS = np.array([(10, 20, 30), (40, 50, 60), (70, 80, 90)], np.uint8)
LABELS = np.array([[0, 0, 1], [VOID, 1, 1], [0, 0, 1]])
IMAGE = np.full((3, 3, 3), 128, np.uint8)


@pytest.fixture(autouse=True)
def _closed():
    plt.switch_backend("agg")
    style.use()
    yield
    plt.close("all")


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# Numbers for sentences


def test_differences_are_those_of_the_printed_figures():
    assert shared.points(39.46, 39.5) == 0.0
    assert shared.points(38.2, 39.5) == -1.3
    assert shared.points(85.04, 85.0) == 0.0
    assert f"{shared.points(39.5, 39.52):+.1f}" == "+0.0"  # never -0.0


def test_values_are_glued_as_plain_numbers_and_text_without_being_shown(monkeypatch):
    glued = {}

    def glue(name, value, display):
        glued[name] = value, type(value), display

    monkeypatch.setattr(shared, "glue", glue)
    shared.glue_values(gain=np.float64(1.23456789), images=np.int64(12345), net="FCN-8s")
    assert glued["gain"] == (1.23457, float, False)
    assert glued["images"] == (12345.0, float, False)
    assert glued["net"] == ("FCN-8s", str, False)


def test_values_are_moved_apart_and_keep_their_order():
    assert shared.apart([5, 4, 50], 2) == pytest.approx([5.5, 3.5, 50])
    first, second, third = shared.apart([1.0, 1.5, 9.0], 3)
    assert second - first == pytest.approx(3)
    assert third == 9.0


# Training


def test_each_run_is_behind_the_images_seen_before_it():
    curve = points([1, 1 / 2, 1 / 3, 1 / 4], batch=8)
    runs = {"FCN-32s": [(0, curve)], "FCN-32s, longer": [(32, curve), (64, curve)]}
    figure = shared.losses(runs, dict.fromkeys(runs, "black"), "loss")
    ends = {line.get_xdata()[-1] for line in figure.axes[0].lines if len(line.get_xdata()) == 4}
    assert ends == {32, 64, 96}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == [*runs]


def test_stages_are_drawn_one_after_the_other():
    stages = {"a": [(0, points([3.0, 2.0]))], "b": [(40, points([1.9, 1.8, 1.7]))]}
    (axes,) = shared.losses(stages, {"a": "red", "b": "blue"}, "loss").axes
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 3]
    assert list(drawn[0]) == [60, 80, 100]
    assert len(shared.losses({"c": [(0, points([1.0, 0.5]))]}, {"c": "red"}, "loss").axes) == 1


def test_a_running_mean_keeps_a_constant_to_its_ends():
    np.testing.assert_allclose(shared.running_mean(np.full(20, 3.0)), 3.0)


# Classes


def test_per_class_orders_by_the_last_column_and_leaves_absent_classes_out():
    ius = {"32s": (50.0, None, 10.0), "8s": (60.0, None, 80.0)}
    axes = shared.per_class(ius, NAMES, skips.SERIES).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "pole", "mean IU"]
    means = [dots.get_offsets()[-1][0] for dots in axes.collections if len(dots.get_offsets()) == 3]
    assert means == [30.0, 70.0]


def test_confusion_is_in_percent_of_the_true_class_and_leaves_absent_rows_out():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 1, 9]])
    (axes,) = shared.confusion(matrix, NAMES).axes
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(drawn, [[75, 25, 0], [0, 10, 90]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "pole"]
    assert [text.get_text() for text in axes.texts] == ["75", "25", "10", "90"]
    (axes,) = shared.confusion(matrix, NAMES, order=[2, 1, 0], least=50).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["pole", "tree", "sky"]
    assert [text.get_text() for text in axes.texts] == ["90", "75"]


# Label maps


def test_labellings_shows_a_row_an_image_and_names_only_the_classes_in_it():
    maps = {"truth": [LABELS, LABELS], "net": [LABELS * 0, LABELS]}
    figure = shared.labellings([IMAGE, IMAGE], maps, NAMES, COLOURS)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["image", "truth", "net", "", "", ""]
    assert entries(figure) == ["sky", "tree"]  # neither void nor the pole, which is absent
    drawn = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(drawn[2], np.broadcast_to(COLOURS[0], (3, 3, 3)))
    np.testing.assert_array_equal(drawn[5][1, 1], COLOURS[1])


def test_labellings_of_tensors_are_as_tall_as_those_of_arrays():
    maps = {"truth": [LABELS]}
    arrays = shared.labellings([IMAGE], maps, NAMES, COLOURS)
    tensors = shared.labellings([torch.from_numpy(IMAGE).permute(2, 0, 1)], maps, NAMES, COLOURS)
    assert tuple(tensors.get_size_inches()) == tuple(arrays.get_size_inches())


@pytest.mark.parametrize("size", [(300, 500), (40, 30)])
def test_probabilities_of_both_heads_sum_to_one(size):
    torch.manual_seed(0)
    heads = {"semantic": 33, "geometric": 3}
    net = FCN("googlenet", 8, heads=heads, width=0.1, upsampling="interpolate").eval()
    photo = torch.rand(1, 3, *size)
    found = shared.probabilities(net, photo, side=64)
    assert max(found["semantic"].shape[1:]) == min(64, max(size))
    shape = found["geometric"].shape[1:]
    torch.testing.assert_close(found["geometric"].sum(0), torch.ones(shape))
    palettes = {"semantic": np.zeros((33, 3), np.uint8), "geometric": np.zeros((3, 3), np.uint8)}
    both = {"a": photo, "b": photo}
    figure = shared.predictions(both, {"a": found, "b": found}, palettes, [""] * 33)
    assert len(figure.subfigs) == 2
    assert [axes.get_title() for axes in figure.axes[:3]] == ["a", "semantic", "geometric"]


def test_predictions_name_what_the_net_sees():
    cat = CLASSES.index("cat")

    class Certain(nn.Module):
        def forward(self, images):
            scores = torch.eye(21)[cat].view(1, 21, 1, 1)
            return {"semantic": scores.expand(1, 21, *images.shape[2:])}

    photos = {"a cat": torch.rand(1, 3, 40, 50)}
    found = {name: shared.probabilities(Certain(), photo) for name, photo in photos.items()}
    assert torch.allclose(found["a cat"]["semantic"].sum(0), torch.ones(40, 50))
    figure = shared.predictions(photos, found, {"semantic": PALETTE}, CLASSES)
    assert figure.axes[0].get_title() == "a cat"
    drawn = figure.axes[1].images[0].get_array()
    np.testing.assert_array_equal(drawn, np.broadcast_to(PALETTE[cat], (40, 50, 3)))
    (strip,) = figure.subfigs
    assert entries(strip) == ["cat 100 %"]


def test_colours_differ_for_readers_who_confuse_red_and_green():
    """In CIELAB, as seen with normal vision, deuteranopia and protanopia (Machado et al., 2009)."""
    seen_as = (
        np.eye(3),
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    )
    to_xyz = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8730]]

    def lab(colour, vision):
        value = np.array(to_rgb(colour))
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        x, y, z = np.cbrt(to_xyz @ np.clip(vision @ linear, 0, 1))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for vision in map(np.array, seen_as):
        tints = [lab(tint, vision) for tint in (*style.COLOURS.values(), style.TUNED)]
        distances = [np.linalg.norm(a - b) for a, b in combinations(tints, 2) if (a != b).any()]
        assert min(distances) > 15


def test_a_name_that_stands_off_has_a_line_to_its_point():
    _, axes = plt.subplots(figsize=(4, 3), layout="constrained")
    alone, crowd = (0.2, 0.2), [(0.7, 0.7), (0.73, 0.7), (0.67, 0.7), (0.7, 0.74), (0.7, 0.66)]
    axes.scatter(*zip(alone, *crowd, strict=True))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    style.name_points(axes, [alone, *crowd], ["alone", *"abcde"])
    named = {text.get_text(): text for text in axes.texts if text.get_text()}
    lines = [text for text in axes.texts if text.arrow_patch]
    assert "alone" in named
    assert {line.xy for line in lines} == {
        text.xy for text in named.values() if all(text.get_position())
    }
    assert alone not in {line.xy for line in lines}


@pytest.mark.parametrize(
    ("tint", "ink"), [("#1b7f79", "white"), ("#4a8fc2", "black"), ("#dfe4e6", "black")]
)
def test_ink_is_legible(tint, ink):
    assert style.ink_on(tint) == ink
