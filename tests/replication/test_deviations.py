"""Deviations: none without its kind, those of records grouped, and what the settings themselves say."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
from test_tables import record

from fcn.replication import deviations
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training import record as records
from fcn.training.recipe import Recipe

ROOT = Path(__file__).parents[2]


def test_every_departure_of_the_catalogue_and_of_the_records_has_its_reason():
    lines = {line for experiment in EXPERIMENTS.values() for line in experiment.deviations}
    lines |= {line for run in records.load(ROOT / "results") for line in run.deviations}
    assert [line for line in lines if deviations.kind_of(line) is deviations.OTHER] == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("GoogLeNet's trunk (6 million parameters) in place of VGG16's (134 million)", "trunk"),
        ("FCN-8s in place of FCN-16s", "net"),
        ("batches of 8 in place of 20", "recipe"),
        ("the recipe and the net of the authors' release, not the paper's", "the release's recipe"),
        ("mirrored photos", "augmentation"),
        ("trained on a Tuesday", "other"),
    ],
)
def test_a_line_finds_its_kind(line, kind):
    assert deviations.kind_of(line).name == kind


def test_kinds_stand_once_and_in_order():
    lines = ["convolutions in bfloat16", "FCN-8s in place of FCN-16s", "FCN-32s in place of FCN-16s"]
    assert deviations.kinds(lines) == ["net", "precision"]


def test_records_are_grouped_by_kind_and_each_line_names_its_experiments_once():
    one = replace(record("sift-flow-googlenet-32s-short"), deviations=("mirrored photos", "convolutions in bfloat16"))
    two = replace(one, experiment="sift-flow-googlenet-8s-short", deviations=("mirrored photos",))
    grouped = {kind.name: lines for kind, lines in deviations.by_kind([two, one, replace(one, seed=1)]).items()}
    assert grouped == {
        "augmentation": {"mirrored photos": ["sift-flow-googlenet-32s-short", "sift-flow-googlenet-8s-short"]},
        "precision": {"convolutions in bfloat16": ["sift-flow-googlenet-32s-short"]},
    }


def test_settings_other_than_the_papers_are_found_even_where_no_line_says_so():
    recipe = asdict(Recipe(5e-5, batch_size=8, augment="mirror"))
    run = replace(record("sift-flow-googlenet-32s-brief"), recipe=recipe)
    frame = deviations.settings([run, replace(run, seed=1), replace(run, experiment="sift-flow-googlenet-32s-short")])
    assert frame.to_dict("index") == {
        "batch_size": {"the paper": "20", "here": "8 (2)"},
        "augment": {"the paper": "none", "here": "mirror (2)"},
        "upsampling": {"the paper": "learned", "here": "interpolate (2)"},
    }


def test_the_papers_rate_is_that_of_the_net():
    run = replace(record("voc-vgg16-32s"), recipe=asdict(Recipe(5e-5)))
    assert deviations.settings([run]).loc["learning_rate", "here"] == "5e-05 (1)"
    assert deviations.settings([replace(run, recipe=asdict(Recipe(1e-4)))]).empty
    finer = replace(run, experiment="voc-vgg16-16s")  # a hundredth of the rate, within rounding
    assert deviations.settings([replace(finer, recipe=asdict(Recipe(1e-6)))]).empty
