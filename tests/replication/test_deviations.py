"""Deviations: settings imply their own, every one has its kind, and records group them."""

from dataclasses import asdict, fields, replace
from typing import get_args

import pytest
from test_tables import ROOT, SHORT, record

from fcn.replication import deviations
from fcn.replication.catalogue import EXPERIMENTS, paper_recipe
from fcn.replication.deviations import KINDS, deviations_of
from fcn.training.recipe import Recipe
from fcn.training.record import Deviation, load_records

TUNED = EXPERIMENTS["sift-flow-googlenet-8s-tuned"]


def texts(experiment):
    """The deviations of an experiment as (kind, text)."""
    return [(one.kind, one.text) for one in deviations_of(experiment)]


def test_every_deviation_of_the_catalogue_and_of_the_records_has_its_reason():
    runs = [*EXPERIMENTS.values(), *load_records(ROOT / "results")]
    found = {one.kind for run in runs for one in deviations_of(run)}
    assert [kind for kind in found if kind == "other"] == []
    assert found <= KINDS.keys()
    assert all(kind["why"] and kind["effect"] for kind in KINDS.values())


def test_the_kinds_are_those_of_the_records():
    (kind,) = [field.type for field in fields(Deviation) if field.name == "kind"]
    assert set(get_args(kind)) == KINDS.keys()


@pytest.mark.parametrize(
    ("experiment", "kind", "text"),
    [
        (TUNED, "backbone", "GoogLeNet (6 million parameters) instead of VGG16 (134 million)"),
        (TUNED, "net", "FCN-8s instead of FCN-16s"),
        (TUNED, "net", "intermediate upsampling fixed to bilinear instead of learned"),
        (TUNED, "recipe", "batch size 8 instead of 20"),
        (TUNED, "recipe", "AdamW instead of SGD"),
        (TUNED, "recipe", "9 of at least 175 epochs"),
        (TUNED, "recipe", "all strides trained at once instead of in stages"),
        (EXPERIMENTS["voc-vgg16-32s-heavy"], "release", "the authors' heavy recipe"),
        (EXPERIMENTS["voc-vgg16-32s-lower-rate"], "recipe", "training continued at stride 32"),
        (TUNED, "augmentation", "mirrored photos"),
        (
            replace(TUNED, deviations=(Deviation("other", "trained on a Tuesday"),)),
            "other",
            "trained on a Tuesday",
        ),
    ],
)
def test_a_deviation_is_written_or_derived_with_its_kind(experiment, kind, text):
    assert [k for k, line in texts(experiment) if line.startswith(text)] == [kind]


@pytest.mark.parametrize(
    "name",
    ["voc-vgg16-32s-fixed", "voc-vgg16-8s", "nyud-vgg16-32s-rgb-hha", "voc2011-googlenet-32s"],
)
def test_the_papers_own_rows_deviate_in_nothing(name):
    assert texts(EXPERIMENTS[name]) == []


def test_every_change_of_a_setting_is_a_deviation():
    paper = replace(EXPERIMENTS["voc-vgg16-16s"], recipe=paper_recipe("vgg16", 16))
    nets = {
        "alignment": "reference",
        "upsampling": "interpolate",
        "width": 0.5,
        "fusion": "max",
        "scaled_skips": True,
        "random_scores": True,
        "task": "semantic",
        "start": (),
        "paper": ("Table 2", "FCN-8s"),
    }
    for setting, value in nets.items():
        assert len(texts(replace(paper, **{setting: value}))) == 1, setting
    assert {*paper.net_settings} - {"net", "stride", "inputs"} <= nets.keys()
    recipes = {
        "learning_rate": 1e-3,
        "epochs": 20,
        "batch_size": 8,
        "optimizer": "adamw",
        "momentum": 0.5,
        "weight_decay": 0.1,
        "bias_rate": 1.0,
        "score_rate": 5.0,
        "fixed_trunk": True,
        "frozen": "pool2",
        "small": 2,
        "schedule": "poly",
        "warmup": 0.1,
        "clip": 1.0,
        "ema": 0.9,
        "reduction": "sum",
        "balance": 0.5,
        "keep": 0.5,
        "replacement": True,
        "augment": "mirror",
        "precision": "bf16-mixed",
    }
    for setting, value in recipes.items():
        changed = replace(paper, recipe=replace(paper.recipe, **{setting: value}))
        assert len(texts(changed)) == 1, setting
    # Accumulated gradients are not one.
    assert {field.name for field in fields(Recipe)} - recipes.keys() == {"micro_batch"}
    longer = replace(paper, recipe=replace(paper.recipe, epochs=200))
    assert texts(longer) == []  # "at least 175"


def test_kinds_are_named_once_and_in_order():
    several = [Deviation(kind, "") for kind in ("precision", "net", "net")]
    assert deviations.kinds(several) == ["net", "precision"]


def test_a_record_and_its_experiment_deviate_alike():
    for run in load_records(ROOT / "results"):
        ours, planned = deviations_of(run), deviations_of(EXPERIMENTS[run.experiment])
        assert [one for one in planned if one not in ours] == []
        assert {one.kind for one in ours if one not in planned} <= {"images"}


def test_records_are_grouped_by_kind_and_each_text_names_its_experiments_once():
    names = ["sift-flow-googlenet-32s-short", SHORT]
    net = EXPERIMENTS["sift-flow-googlenet-8s"].net_settings
    mirrored = asdict(paper_recipe("googlenet", 8)) | {"augment": "mirror"}
    both = mirrored | {"precision": "bf16-mixed"}
    one, again = (record(names[0], seed, net=net, recipe=both) for seed in (0, 1))
    two = record(names[1], net=net, recipe=mirrored)
    grouped = deviations.by_kind([two, one, again])
    assert grouped == {
        "recipe": {"all strides trained at once instead of in stages": names},
        "augmentation": {"mirrored photos": names},
        "precision": {"convolutions in bfloat16": names[:1]},
    }


def test_settings_other_than_the_papers_are_found():
    recipe = asdict(Recipe(learning_rate=5e-5, batch_size=8, augment="mirror"))
    brief, short = "sift-flow-googlenet-32s-brief", "sift-flow-googlenet-32s-short"
    runs = [record(brief, recipe=recipe), record(brief, 1, recipe=recipe)]
    frame = deviations.settings([*runs, record(short, recipe=recipe)])
    assert frame.to_dict("index") == {
        "batch_size": {"the paper": "20", "here": "8 (2)"},
        "augment": {"the paper": "none", "here": "mirror (2)"},
        "upsampling": {"the paper": "learned", "here": "interpolate (2)"},
    }


def test_the_papers_rate_is_that_of_the_net():
    coarse, fine = "voc-vgg16-32s", "voc-vgg16-16s"
    rates = {rate: asdict(Recipe(learning_rate=rate)) for rate in (5e-5, 1e-4, 1e-6)}
    found = deviations.settings([record(coarse, recipe=rates[5e-5])])
    assert found.loc["learning_rate", "here"] == "5e-05 (1)"
    assert deviations.settings([record(coarse, recipe=rates[1e-4])]).empty
    assert deviations.settings([record(fine, recipe=rates[1e-6])]).empty  # a hundredth


def test_the_defaults_of_the_package_are_read_from_the_code():
    frame = deviations.package_defaults()
    assert frame.loc["border", "here"] == 'alignment="tight"'
    assert "BGR 104.0, 116.7, 122.7" in frame.loc["mean of the pixels", "here"]


def test_a_recipe_that_differs_from_the_heavy_one_is_compared_with_it():
    heavy = EXPERIMENTS["sift-flow-googlenet-32s-heavy"]
    recipe = replace(heavy.recipe, augment="mirror")
    assert texts(replace(heavy, recipe=recipe, paper=None, deviations=())) == [
        ("release", "the authors' heavy recipe, learning rate 1e-10"),
        ("augmentation", "mirrored photos"),
    ]
