"""The figures of chapters 1 and 2: correct, and legible at the width of a phone."""

import warnings

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figures import labelling, shared, style, welcome
from matplotlib.text import Text

from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import PALETTE, Scenes

NAMES = Scenes.heads["semantic"]


@pytest.fixture(scope="module")
def scene():
    found = Scenes(1, (64, 96), split="test").scene(0)
    return found.image.permute(1, 2, 0).numpy(), found.semantic.numpy()


def test_coarse_labels_take_the_majority_and_void_has_no_vote():
    labels = np.array([[1, 1, VOID, VOID], [1, 2, VOID, 3], [VOID, VOID, 0, 0], [VOID, VOID, 4, 4]])
    assert welcome.coarse_labels(labels, 2).tolist() == [[1, 3], [VOID, 0]]
    assert np.array_equal(welcome.coarse_labels(labels, 1), labels)


def test_boxes_hold_each_connected_piece_and_leave_out_small_ones():
    labels = np.zeros((10, 10), int)
    labels[1:4, 2:5] = 7
    labels[6:8, 6:10] = 7
    labels[9, 0] = 7
    assert labelling.boxes(labels, [7], least=2) == [
        (7, slice(1, 4), slice(2, 5)),
        (7, slice(6, 8), slice(6, 10)),
    ]
    assert len(labelling.boxes(labels, [7], least=1)) == 3
    assert labelling.boxes(labels, [5]) == []


def test_every_line_of_the_timeline_joins_two_of_its_works():
    for *_, classifiers in welcome.DENSE.values():
        assert {*classifiers} <= {*welcome.CLASSIFIERS}


def test_the_timeline_draws_u_net_on_no_classifier():
    sources = {name: classifiers for name, (*_, classifiers) in welcome.DENSE.items()}
    assert sources["DeconvNet"] == ("VGG16",)
    assert sources["U-Net"] == ()


def figures(image, labels):
    truth = np.array([[0, 0, VOID], [1, 1, 2]])
    guess = np.array([[0, 1, 1], [1, 1, 0]])
    three, colours = NAMES[:3], PALETTE[:3]
    matrix = np.eye(10, dtype=int) * 5
    scores = np.random.default_rng(0).normal(size=(10, *labels.shape))
    sizes = dict.fromkeys(welcome.CLASSIFIERS, (8, 61.0))
    tap = {8: "a", 16: "b", 32: "c"}
    yield welcome.timeline(sizes)
    yield welcome.fully_connected(image)
    yield welcome.architecture(image, labels, PALETTE, tap, {8: 1, 16: 2, 32: 3})
    yield labelling.tasks(image, labels, NAMES, PALETTE, [6])
    yield labelling.zoom(labels, PALETTE, (3, 4), 8)
    yield labelling.by_hand(truth, guess, np.eye(3, dtype=int), three, colours)
    yield labelling.unions(truth, guess, three, colours)
    yield labelling.predictions(image, labels, {"same": (labels, "below")}, NAMES, PALETTE)
    yield labelling.shifts([0, 1], {"mean IU": [100, 60], "IU of poles": [100, 59]})
    yield labelling.rare_and_frequent(
        [90, 9.5, 0.5], [80, 20, None], {"f.w. IU": 74, "mean IU": 50}, three, colours
    )
    yield labelling.per_image([10, 40, 41], 30.3, 35)
    yield shared.confusion(matrix, NAMES)
    yield labelling.losses(scores, labels, scores[0] ** 2, NAMES, PALETTE, [0, 1, 2])


def test_figures_are_drawn_without_a_warning_and_can_be_read_on_a_phone(scene):
    style.use()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures(*scene):
            figure.canvas.draw()
            assert figure.get_figwidth() <= 8
            texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
            assert min(t.get_fontsize() for t in texts) >= 9
            plt.close(figure)


@pytest.mark.parametrize("draw", ["architecture", "fully_connected"])
def test_no_word_of_the_drawings_leaves_the_page_or_lies_on_another(draw):
    style.use()
    wide = Scenes(12, (192, 256), split="test").scene(11)
    image, labels = wide.image.permute(1, 2, 0).numpy(), wide.semantic.numpy()
    if draw == "architecture":
        names, channels = {8: "pool3", 16: "pool4", 32: "fc7"}, {8: 256, 16: 512, 32: 4096}
        figure = welcome.architecture(image, labels, PALETTE, names, channels)
    else:
        figure = welcome.fully_connected(image)
    figure.canvas.draw()
    page = figure.bbox
    boxes = [
        t.get_window_extent()
        for t in figure.findobj(Text)
        if t.get_text().strip() and t.get_visible()
    ]
    for i, box in enumerate(boxes):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
    plt.close(figure)
