"""The graph of the replication: every experiment once, stages from left to right."""

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from figures import workflow
from matplotlib.colors import to_hex

from fcn.replication.catalogue import EXPERIMENTS

ALL = list(EXPERIMENTS.values())


def test_every_experiment_has_a_dot_of_its_own_right_of_what_it_starts_from():
    at, _ = workflow.places(ALL)
    assert at.keys() == EXPERIMENTS.keys()
    assert len(set(at.values())) == len(at)
    for experiment in ALL:
        for start in experiment.start:
            assert at[start][0] < at[experiment.name][0]


def test_bands_do_not_overlap_and_hold_their_dots():
    at, bands = workflow.places(ALL)
    for band, (first, last) in bands.items():
        for experiment in ALL:
            is_inside = first <= at[experiment.name][1] <= last
            assert is_inside == experiment.dataset.startswith(band)


def test_recorded_experiments_are_filled_and_counted():
    figure = workflow.graph(ALL, {"nyud-vgg16-32s-rgb"})
    (axes,) = figure.axes
    faces = [to_hex(dot.get_facecolor()[0]) for dot in axes.collections]
    assert len(faces) == len(ALL)
    assert faces.count("#ffffff") == len(ALL) - 1
    assert "NYUDv2\n1 of 5" in [text.get_text() for text in axes.texts]
    plt.close(figure)
