"""The figures and tables of chapter 7 show what they are given."""

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from figures import style, voc, voc_text
from torch import nn

from fcn.data.sample import VOID
from fcn.data.voc import CLASSES, PALETTE
from fcn.metrics import ConfusionMatrix
from fcn.replication import catalogue, paper
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training import record
from fcn.training.record import Head, Record

PERSON, CAT, COW = (CLASSES.index(name) for name in ("person", "cat", "cow"))


@pytest.fixture(autouse=True)
def _closed():
    style.use()
    yield
    plt.close("all")


def entries(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def run(experiment: str, **counts: int) -> Record:
    """A record with so many pixels of each class named right, and twice as many of it called background."""
    matrix = torch.zeros(21, 21, dtype=torch.int64)
    for name, count in counts.items():
        matrix[CLASSES.index(name), CLASSES.index(name)] = count
        if name != "background":
            matrix[CLASSES.index(name), 0] = 2 * count
    whole = record.load(Path(catalogue.__file__).parents[2] / "results")[0]
    head = Head.scored(CLASSES, ConfusionMatrix.from_matrix(matrix))
    data = replace(whole.dataset, name="voc-subset")
    return replace(whole, experiment=experiment, purpose="final", heads={"semantic": head}, dataset=data)


# -------------------------------------------------------------------------------------------------------- label maps


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


def test_drawing_paints_errors_red_but_for_void():
    labels = torch.tensor([[0, PERSON, VOID, VOID]])
    photo = torch.zeros(3, 1, 4)
    figure = voc.drawing(photo, labels, {"a": torch.tensor([[0, 0, 0, PERSON]])}, (slice(0, 1), slice(1, 3)))
    answer = next(axes for axes in figure.axes if axes.get_title() == "a").images[0].get_array()
    assert answer[0, 0].tolist() == PALETTE[0].tolist()
    assert answer[0, 1].tolist() == list(voc.WRONG_COLOUR)
    assert (answer[0, 2:] > 150).all()  # pale
    detail = next(axes for axes in figure.axes if axes.get_title() == "a detail of it").images[0].get_array()
    np.testing.assert_array_equal(detail, style.colour(labels[:, 1:3], PALETTE))
    assert entries(figure)[:2] == ["background", "person"]


# ------------------------------------------------------------------------------------------------------ other figures


def test_frequencies_puts_a_dot_at_every_share_and_none_at_zero():
    shares = pd.DataFrame({"train": [70.0, 5.0, 0.1], "other": [60.0, 0.0, 0.2]}, ["background", "cat", "boat"])
    (axes,) = voc.frequencies(shares).axes
    dots = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert dots == {"train": [[70, 0], [5, 1], [0.1, 2]], "other": [[60, 0], [0.2, 2]]}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["background", "cat", "boat"]


def test_sizes_puts_width_before_height_and_names_what_is_frequent():
    heights, widths = np.array([375] * 30 + [500] * 10 + [200]), np.array([500] * 30 + [375] * 10 + [100])
    (axes,) = voc.sizes(heights, widths).axes
    assert axes.collections[0].get_offsets().tolist() == [[100, 200], [375, 500], [500, 375]]
    assert [t.get_text() for t in axes.texts] == ["375 x 500: 10 photos", "500 x 375: 30 photos"]


def test_per_class_draws_a_bar_for_each_net_and_class():
    heads = {"FCN-GoogLeNet, 32s": run("a", cat=1, cow=3).heads["semantic"],
             "FCN-GoogLeNet, 8s": run("b", cat=1, cow=0).heads["semantic"]}  # fmt: skip
    (axes,) = voc.per_class(heads, ("cat", "cow")).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100 / 3, 100 / 3, 100 / 3, 0])


def test_predictions_name_what_the_net_sees():
    class Certain(nn.Module):
        def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"semantic": torch.eye(21)[CAT].view(1, 21, 1, 1).expand(1, 21, *images.shape[2:])}

    net = Certain()
    photos = {"a cat": torch.rand(1, 3, 40, 50)}
    found = {name: voc.probabilities(net, photo) for name, photo in photos.items()}
    assert torch.allclose(found["a cat"].sum(0), torch.ones(40, 50))
    figure = voc.predictions(photos, found)
    assert figure.axes[0].get_title() == "a cat"
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), np.broadcast_to(PALETTE[CAT], (40, 50, 3)))
    (strip,) = figure.subfigs
    assert entries(strip) == ["cat 100 %"]


# -------------------------------------------------------------------------------------------------------------- tables


def test_the_computed_columns_stand_below_the_papers():
    computed = {net: {column: f"{net} {column}" for column in line} for net, line in voc_text.TABLE_1.items()}
    table = voc_text.beside_published(computed)
    assert table.loc[("FCN-VGG16", "paper")].tolist() == ["16", "134M", "404", "32"]
    assert table.loc[("FCN-VGG16", "computed"), "parameters"] == "FCN-VGG16 parameters"
    assert len(table) == 6


def test_every_run_that_the_chapter_asks_for_is_in_the_catalogue():
    assert {*voc_text.SUBSET.values()} < {*EXPERIMENTS}


def test_the_tables_show_what_was_published_and_what_was_not_run():
    first, second, third = voc_text.table_1([]), voc_text.table_2([]), voc_text.table_3()
    assert first.loc["FCN-VGG16"].tolist() == ["56.0", "not run", "python -m fcn train voc2011-vgg16-32s"]
    assert second.loc["FCN-32s"].tolist() == ["89.1", "73.3", "59.4", "81.4", "63.6", "62.8", "not run", "not run"]
    assert second.loc["FCN-8s at-once"].tolist() == ["-"] * 4 + ["65.4", "64.7", "not run", "not run"]
    assert second.loc["FCN-32s-fixed", "ours, heavy"] == "-"
    assert third.loc["FCN-8s"].tolist() == ["62.7", "62.2", "~175 ms"]
    assert third.loc["SDS"].tolist() == ["52.6", "51.6", "~50 s"]
    assert third.loc["FCN-8s, released later", "VOC 2012"] == "67.2"
    assert {row.label for row in paper.TABLES if row.table == "Table 3"} < {*third.index}


def test_a_record_takes_its_place():
    found = [run("voc-vgg16-16s", background=3, cat=1), run("voc2011-googlenet-32s", background=3, cat=1)]
    found = [replace(r, dataset=replace(r.dataset, name="voc")) for r in found]
    expected = f"{100 * (3 / 5 + 1 / 3) / 2:.1f}"
    assert voc_text.table_2(found).loc["FCN-16s", "ours"] == expected
    assert voc_text.table_1(found)["ours"].tolist() == ["not run", "not run", expected]


def test_claims_stand_beside_the_runs_that_test_them():
    plain, changed = "sift-flow-googlenet-8s-brief", "sift-flow-googlenet-8s-brief-max"
    both = [run(plain, background=9, cat=1), run(changed, background=3, cat=1)]
    both = [replace(r, dataset=replace(r.dataset, name="sift-flow")) for r in both]
    both.append(replace(both[0], experiment="voc-vgg16-16s-max"))
    table = voc_text.claims(both)
    a, b = 100 * (3 / 5 + 1 / 3) / 2, 100 * (9 / 11 + 1 / 3) / 2
    expected = ["made learning hard", f"{b:.1f}", f"{a - b:+.1f}: as the paper says"]
    assert table.loc["the maximum of the skips"].tolist() == expected
    assert table.loc["rare classes weighted up"].tolist() == ["unnecessary", "not run", "not run"]
    assert not any("task alone" in change for change in table.index)  # of SIFT Flow's own section


def test_forward_times_are_medians_beside_the_papers():
    arrays = {
        "nets": np.array([*voc_text.NETS]), "alignments": np.array(["tight"] * 4),
        "milliseconds": np.array([[10.0, 90, 20], [40, 40, 40], [1, 2, 3], [400, 50, 400]]),
    }  # fmt: skip
    table = voc_text.forward_times({"here": arrays})
    assert table["K40c"].tolist() == ["50 (0.24)", "210 (1.00)", "59 (0.28)", "175 (0.83)"]
    assert table["here, tight"].tolist() == ["20 (0.50)", "40 (1.00)", "2 (0.05)", "400 (10.00)"]


def test_the_subset_stands_by_itself():
    assert "not run" in voc_text.subset_order([]).lower()
    names = voc_text.SUBSET
    found = [
        run(names["FCN-GoogLeNet, 32s"], background=30, cat=1, cow=1, sofa=1),
        run(names["FCN-GoogLeNet, 8s"], background=90, cat=1, cow=1, sofa=1),
    ]
    table = voc_text.subset_table(found)
    assert table.loc["FCN-AlexNet, 32s", "record"] == f"python -m fcn train {names['FCN-AlexNet, 32s']}"
    assert table.loc["FCN-AlexNet, 32s", "mean IU"] == "not run"
    assert table.columns[-1] == "record"
    iu = 100 * 30 / 36
    assert table.loc["FCN-GoogLeNet, 32s", "mean IU"] == f"{(iu + 100) / 4:.1f}"
    of_seven = (iu + 200 / 3) / 7  # the sofa is not among them, and four of the six are nowhere
    assert table.loc["FCN-GoogLeNet, 32s", "mean IU of 7"] == f"{of_seven:.1f}"
    finer = (100 * 90 / 96 + 200 / 3) / 7
    assert f"8s stands {round(finer, 1) - round(of_seven, 1):+.1f} points" in voc_text.subset_order(found)

    photos = {"scored": [9 if name in ("background", "sofa") else 0 for name in CLASSES]}
    by_class = voc_text.subset_classes(found, photos)
    assert by_class.index.tolist() == ["background", "sofa"]
    assert by_class.loc["sofa"].tolist() == [9, "33.3", "33.3"]
