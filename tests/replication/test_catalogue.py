"""Every experiment of the catalogue, run for a step on a tiny data set in its official layout.

The nets are a fiftieth as wide as the paper's; all else is as in the catalogue.
"""

import subprocess
import sys
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
from fcn.replication.catalogue import BY_WORTH, EXPERIMENTS, find
from fcn.replication.claims import CLAIMS, LONG_CLAIMS
from fcn.replication.experiment import Experiment
from fcn.replication.paper import RELEASE, TABLES
from fcn.training import record as records

FIXTURES = {
    "nyud": "indoors",
    "pascal-context": "context",
    "sift-flow": "sift_flow_data",
    "voc": "pascal",
}
WIDTH = 0.02
RESULTS = Path(__file__).parents[2] / "results"


def small(e: Experiment) -> Experiment:
    """The experiment with a narrow net and one or two steps of training."""
    few = {
        "epochs": 1,
        "batch_size": min(2, e.recipe.batch_size),
        "micro_batch": min(1, e.recipe.micro_batch),
    }
    recipe = replace(e.recipe, **few, warmup=0.0, precision="32-true")
    return replace(e, width=WIDTH, recipe=recipe)


@pytest.fixture
def folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the data set of the experiment."""
    name = request.node.callspec.params["e"].dataset
    fixture = next(fixture for start, fixture in FIXTURES.items() if name.startswith(start))
    made: Path = request.getfixturevalue(fixture)
    if fixture == "indoors":
        monkeypatch.setattr(
            nyud,
            "split_names",
            lambda split, root: INDOORS[:2] if split == "trainval" else INDOORS[2:],
        )
    if fixture == "pascal":
        shipped = made / "seg11valid.txt"
        write_list(shipped, NAMES[2:])
        monkeypatch.setattr("fcn.data.voc.SEG11VALID", shipped)
        lists = made / "pascal/VOCdevkit/VOC2012/ImageSets/Segmentation"
        write_list(lists / "train_with_photos.txt", NAMES[:2])
        write_list(lists / "val_with_photos.txt", NAMES[2:])
    return made.parent if fixture in ("indoors", "context") else made


@pytest.mark.parametrize(
    "e", [e for e in EXPERIMENTS.values() if e.dataset != "scenes"], ids=lambda e: e.name
)
def test_an_experiment_trains_scores_and_records(
    e: Experiment, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    trained_on = registry.dataset(e.dataset, "trainval", folder)
    for name in e.start:
        start = small(EXPERIMENTS[name])
        before = models.build(start.settings | {"heads": run.heads_of(start, trained_on)})
        models.save(before, out / f"{name}.seed0.safetensors", {})
    path = run.run(
        small(e),
        data=folder,
        device="cpu",
        out=out,
        results=tmp_path / "results",
        log=lambda line: None,
    )
    record = records.read(path)
    assert set(record.heads) == {e.task} if e.task else set(record.heads) == set(trained_on.heads)
    scored_on = registry.dataset(e.dataset, "test", folder)
    for head, scored in record.heads.items():
        labelled = sum(int((scored_on[i].labels[head] != 255).sum()) for i in range(len(scored_on)))
        assert sum(map(sum, scored.confusion_matrix)) == labelled
    kept = models.load(out / f"{e.name}.seed0.safetensors")
    settings = {"stride": e.stride, "fusion": e.fusion, "inputs": e.inputs}
    assert settings.items() <= kept.settings.items()
    assert record.net == small(e).net_settings
    assert (record.initial_weights is None) == (not e.start)
    assert all(torch.isfinite(value).all() for value in kept.state_dict().values())


def test_experiments_start_from_nets_of_the_catalogue():
    for name, e in EXPERIMENTS.items():
        assert e.name == name
        assert f"-{e.net}-{e.stride}s" in name
        assert set(e.start) <= EXPERIMENTS.keys()
    assert set(BY_WORTH) <= EXPERIMENTS.keys()
    assert len(set(BY_WORTH)) == len(BY_WORTH)


def test_every_experiment_has_a_row_a_claim_a_record_or_serves_one_that_has():
    tested = {name for c in (*CLAIMS, *LONG_CLAIMS) for name in (c.changed, c.base, c.full)}
    recorded = {path.name.partition(".")[0] for path in RESULTS.glob("*.seed*.json")}
    rows = {row.experiment for row in (*TABLES, *RELEASE)}
    needed = {name for name, e in EXPERIMENTS.items() if e.paper} | tested | recorded | rows
    for _ in range(2):
        needed |= {start for name in needed if name for start in EXPERIMENTS[name].start}
    assert EXPERIMENTS.keys() - needed == {"scenes-googlenet-8s-demo"}  # needs no data


def test_an_unknown_experiment_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match='"voc-vgg16-9s": did you mean voc-vgg16-8s'):
        find("voc-vgg16-9s")


def test_the_catalogue_imports_neither_torch_nor_pandas():
    code = "import sys, fcn.replication.catalogue; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "numpy"} & set(done.stdout.split())
