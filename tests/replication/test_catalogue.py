"""Every experiment of the catalogue, run for a step on a tiny data set in its official layout.

The nets are a fiftieth as wide as the paper's; all else is what the catalogue says. The official data need only take
the place of the tiny ones.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_cli import data as sift_flow_data  # noqa: F401 - fixtures
from test_datasets_nyud_context import NAMES as INDOORS
from test_datasets_nyud_context import context, indoors  # noqa: F401
from test_datasets_voc import NAMES, write_list
from test_datasets_voc import data as pascal  # noqa: F401

from fcn import models
from fcn.data import nyud, registry
from fcn.replication import run
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.experiment import Experiment
from fcn.training import record as records

FIXTURES = {"nyud": "indoors", "pascal-context": "context", "sift-flow": "sift_flow_data", "voc": "pascal"}
WIDTH = 0.02


def small(e: Experiment) -> Experiment:
    """The experiment with a narrow net and one or two steps of training."""
    few = {"epochs": 1, "batch_size": min(2, e.recipe.batch_size), "micro_batch": min(1, e.recipe.micro_batch)}
    recipe = replace(e.recipe, **few, warmup=0.0, precision="32-true")
    return replace(e, width=WIDTH, recipe=recipe)


@pytest.fixture
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets in which the experiment's lies."""
    name = request.node.callspec.params["e"].dataset
    fixture = next(fixture for start, fixture in FIXTURES.items() if name.startswith(start))
    made: Path = request.getfixturevalue(fixture)
    if fixture == "indoors":
        monkeypatch.setattr(nyud, "split_names", lambda split: INDOORS[:2] if split == "trainval" else INDOORS[2:])
    if fixture == "pascal":
        shipped = made / "seg11valid.txt"
        write_list(shipped, NAMES[2:])
        monkeypatch.setattr("fcn.data.voc.SEG11VALID", shipped)
        lists = made / "pascal/VOCdevkit/VOC2012/ImageSets/Segmentation"
        write_list(lists / "train_with_photos.txt", NAMES[:2])
        write_list(lists / "val_with_photos.txt", NAMES[2:])
    return made.parent if fixture in ("indoors", "context") else made


@pytest.mark.parametrize("e", [e for e in EXPERIMENTS.values() if e.dataset != "scenes"], ids=lambda e: e.name)
def test_an_experiment_trains_scores_and_records(e: Experiment, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    trained_on = registry.dataset(e.dataset, "trainval", folder)
    for name in e.start:
        start = EXPERIMENTS[name]
        before = run.build(small(start), {head: len(c) for head, c in run.heads_of(start, trained_on).items()})
        models.save(before, out / f"{name}.seed0.safetensors", {})
    path = run.run(small(e), data=folder, device="cpu", out=out, results=tmp_path / "results", log=lambda line: None)
    record = records.read(path)
    assert set(record.heads) == {e.task} if e.task else set(record.heads) == set(trained_on.heads)
    scored_on = registry.dataset(e.dataset, "test", folder)
    for head, scored in record.heads.items():
        labelled = sum(int((scored_on[i].labels[head] != 255).sum()) for i in range(len(scored_on)))
        assert sum(map(sum, scored.confusion_matrix)) == labelled
    kept = models.load(out / f"{e.name}.seed0.safetensors")
    assert {"stride": e.stride, "fusion": e.fusion, "inputs": e.inputs}.items() <= kept.settings.items()
    assert (record.initial_weights is None) == (not e.start)
    assert all(torch.isfinite(value).all() for value in kept.state_dict().values())
