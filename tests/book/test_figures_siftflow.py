"""What the SIFT Flow chapter says of its records: sentences and figures that hold however the runs came out."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch
from figures import siftflow as figures
from figures import siftflow_text as text
from matplotlib import pyplot as plt

from fcn.data.sift_flow import SEMANTIC
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.paper import METRICS
from fcn.training.record import Data, Head, Record, Split


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def head(classes, matrix) -> Head:
    return Head.scored(classes, ConfusionMatrix.from_matrix(matrix))


def sift_flow_head(seed: int) -> Head:
    """A head of 33 classes of which the last two are absent from the ground truth."""
    matrix = np.random.default_rng(seed).integers(0, 50, (33, 33)) + 400 * np.eye(33, dtype=int)
    matrix[31:] = 0
    return head(SEMANTIC, matrix.tolist())


def record(name: str, losses: list[float], deviations: tuple[str, ...] = ()) -> Record:
    curve = [{"step": i + 1.0, "images": 20.0 * (i + 1), "loss": x, "learning_rate": 0.1} for i, x in enumerate(losses)]
    heads = {"semantic": sift_flow_head(0), "geometric": head("abc", [[3, 1, 0]] * 3)}
    return Record(
        experiment=name, purpose="final", heads=heads,
        recipe={}, seed=0, images_seen=20 * len(losses), curve=curve,
        dataset=Data("sift-flow", Split("trainval", 2486, "a"), Split("test", 200, "b")), versions={}, commit=None,
        hardware="", seconds=3600.0, deviations=deviations, initial_weights=None,
    )  # fmt: skip


SHARES = pd.DataFrame({"train": np.linspace(0.1, 6, 33), "test": np.r_[np.linspace(0.1, 6, 31), 0, 0]}, SEMANTIC)


def test_confused_pairs_are_the_largest_in_order():
    pairs = text.confused_pairs(head(("sky", "sea", "sand"), [[90, 10, 0], [30, 60, 10], [0, 0, 100]]), 2)
    assert pairs.values.tolist() == [["sea", "sky", 60.0, 30.0], ["sky", "sea", 20.0, 10.0]]


def test_a_head_without_errors_has_no_confused_pairs():
    assert text.confused_pairs(head(("sky", "sea"), [[4, 0], [0, 5]])).empty


def test_no_pair_without_a_pixel_is_named():
    assert len(text.confused_pairs(head(("sky", "sea", "sand"), [[9, 1, 0], [0, 9, 0], [0, 0, 9]]), 10)) == 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            (20.0, 22.5, 23.0),
            ["16s stands +2.5 points from 32s", "8s stands +0.5 points from 16s", "the order of the paper"],
        ),
        ((20.0, 22.5, 22.4), ["8s stands -0.1 points from 16s", "here not"]),
        ((23.0, 22.0, 21.0), ["16s stands -1.0 points from 32s", "here not"]),
        ((20.0, 20.0, 21.0), ["16s stands +0.0 points from 32s", "here not"]),
    ],
)
def test_the_skip_sentence_is_right_for_any_order(values, says):
    sentence = text.skip_sentence(dict(zip(("32s", "16s", "8s"), values, strict=True)))
    assert all(part in sentence for part in says), sentence
    assert ("the order of" in sentence) != ("here not" in sentence)


def test_differences_are_those_of_the_printed_figures():
    said = text.difference({"mean_iu": 39.46, "pixel_accuracy": 85.0}, {"mean_iu": 39.5, "geometric_accuracy": 94.3})
    assert said == "mean IU +0.0 (39.5 for 39.5)"
    assert text.difference({"mean_iu": 38.2}, {"mean_iu": 39.5}) == "mean IU -1.3 (38.2 for 39.5)"


def test_departures_are_marked_for_the_runs_that_have_them():
    table = text.deviations({"a": record("a", [1.0], ("x", "y")), "b": record("b", [1.0], ("y", "z"))})
    assert table.values.tolist() == [["x", "", "x"], ["x", "x", "y"], ["", "x", "z"]]  # the last is the deviation


def test_overview_has_a_row_for_each_run_in_the_order_of_the_catalogue():
    names = ["8s-tuned", "16s-short", "32s-short"]
    table = text.overview([record(f"sift-flow-googlenet-{name}", [1.0, 0.5]) for name in names])
    assert list(table.index) == ["32s-short", "16s-short", "8s-tuned"]
    row = table.iloc[0].to_dict()
    assert (row["trained on"], row["scored on"], row["images seen"], row["hours"]) == (2486, 200, "40", 1.0)
    assert text.overview([]).empty


SHORT = {stride: record(name, [1.0, 0.5]) for stride, name in text.SHORT.items()}
TUNED = record(text.TUNED, [1.0, 0.5, 0.25])


def test_the_report_on_skips_counts_all_the_images_seen():
    said = text.skips(SHORT)
    assert "FCN-32s had seen 40 images, FCN-16s 80 and FCN-8s 120" in said
    assert "gains of single classes in IU: none" in said  # the same matrix at each stride
    assert text.skips({"32s": SHORT["32s"], "8s": SHORT["8s"]}).startswith("Not run")


def test_costs_are_read_from_the_records():
    said = text.costs([*SHORT.values(), TUNED])
    assert "13.5 points for a net of a twentieth" in said
    assert "together saw 120 images, the tuned one 60; 175 epochs, the least" in said
    assert "are 435,050" in said
    assert f"comes out {round(TUNED.heads['semantic'].metrics.mean_iu, 1) - 39.5:+.1f} points" in said
    assert "Not run" in text.costs([])


def test_the_better_trial_is_named_as_the_choice():
    guess = ConfusionMatrix.from_matrix(np.ones((33, 33), int).tolist())
    data = Data("sift-flow", Split("train", 3, "a"), Split("val", 2, "b"))
    good, bad = (
        replace(TUNED, experiment=text.TRIALS[name], purpose="validation", dataset=data, heads=heads)
        for name, heads in (("AdamW", TUNED.heads), ("SGD", {"semantic": Head.scored(SEMANTIC, guess)}))
    )
    said = text.choice([bad, good])
    assert "AdamW was taken" in said
    assert f"AdamW {good.heads['semantic'].metrics.mean_iu:.1f}" in said
    assert f"train {text.TRIALS['AdamW']} --validation" in text.choice([bad])


def test_against_the_paper():
    said = text.against_paper({"tuned": TUNED})
    assert "- **tuned**: pixel acc." in said
    assert "geometric acc. -61.0 (33.3 for 94.3)" in said
    assert text.against_paper({}) == "Not run."


def test_the_spread_of_the_classes():
    photos = np.arange(33)
    said = text.spread(SHARES, photos, [8.3, 6.7])
    assert "window, tree, sun, streetlight, hold" in said
    assert "2 classes, tree, window, have no pixel" in said
    assert "test images hold, awning, is seen in 0 training photos" in said


def test_classes_are_reported_with_those_that_are_never_found():
    matrix = np.diag(np.arange(33) + 1)
    matrix[0] = 0
    matrix[0, 5] = 7
    said = text.classes({"tuned": head(SEMANTIC, matrix.tolist())}, SHARES["train"])
    assert "of the 33 classes runs from 0 (awning) to 100" in said
    assert "1 of them below 1 (awning)" in said
    assert "balcony at 100 and awning at 0 the farthest" in said
    assert text.classes({}, SHARES["train"]) == "Not run."


def test_recipes_hold_every_setting():
    table = text.recipes({"tuned": text.TUNED, "short": text.SHORT["8s"]})
    assert list(table.loc["starts from"]) == ["ImageNet", "16s-short"]
    assert set(table.index) == {"starts from", *asdict(EXPERIMENTS[text.TUNED].recipe)}


def test_stages_are_drawn_one_after_the_other():
    stages = {"32s": record("a", [3.0, 2.0]), "16s": record("b", [1.9, 1.8, 1.7])}
    (axes,) = figures.loss_curves(stages, None).axes
    drawn = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 3]
    assert list(drawn[0]) == [60, 80, 100]
    assert len(figures.loss_curves({}, record("c", [1.0, 0.5])).axes) == 1


def test_classes_are_sorted_by_frequency_and_absent_ones_left_out():
    (axes,) = figures.iu_per_class({"short": sift_flow_head(1), "tuned": sift_flow_head(2)}, SHARES["train"]).axes
    labels = [label.get_text().split("  ")[0] for label in axes.get_yticklabels()]
    assert labels == list(SEMANTIC[30::-1])
    drawn = figures.confusion(sift_flow_head(1), SHARES["train"]).axes[0].images[0].get_array()
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


@pytest.mark.parametrize("size", [(300, 500), (40, 30)])
def test_probabilities_of_both_heads_sum_to_one(size):
    torch.manual_seed(0)
    net = FCN("googlenet", 8, heads={"semantic": 33, "geometric": 3}, width=0.1, upsampling="interpolate").eval()
    photo = torch.rand(1, 3, *size)
    found = figures.probabilities(net, photo, side=64)
    assert max(found["semantic"].shape[1:]) == min(64, max(size))
    torch.testing.assert_close(found["geometric"].sum(0), torch.ones(found["geometric"].shape[1:]))
    palette = np.zeros((33, 3), np.uint8)
    figure = figures.predictions({"a": photo, "b": photo}, {"a": found, "b": found}, palette)
    assert len(figure.subfigs) == 2
