"""Every experiment of the catalogue for two steps, on tiny data sets in their official layouts."""

from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch

from fcn import models
from fcn.data import registry
from fcn.data.sample import VOID
from fcn.replication import run, smoke
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.experiment import Experiment
from fcn.training import record as records

ON_DISK = [name for name in registry.DATASETS if name != "scenes"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in registry.DATASETS:
        smoke.write_data(name, folder)
    return folder


@pytest.mark.parametrize("name", ON_DISK)
def test_a_tiny_data_set_has_all_splits(name: str, data: Path, tmp_path: Path) -> None:
    smoke.write_data(name, tmp_path)  # alone
    parts = {s: registry.dataset(name, s, tmp_path) for s in ("trainval", "train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {
        "trainval": 6,
        "train": 5,
        "val": 1,
        "test": 2,
    }
    assert {*parts["train"].names} | {*parts["val"].names} == {*parts["trainval"].names}
    assert not {*parts["test"].names} & {*parts["trainval"].names}
    labels = torch.cat([sample.labels["semantic"].flatten() for sample in parts["trainval"]])
    seen = labels[labels != VOID].bincount(minlength=len(parts["train"].heads["semantic"]))
    assert (seen > 0).all()
    whole = registry.dataset(name, "test", data)[1]
    assert torch.equal(whole.image, parts["test"][1].image)  # the same in every folder
    sizes = {sample.image.shape[1:] for sample in parts["trainval"]}
    assert len(sizes) == (1 if name.startswith(("sift", "nyud")) else 3)


@pytest.mark.parametrize("e", EXPERIMENTS.values(), ids=lambda e: e.name)
def test_a_shrunk_experiment_keeps_its_switches(e: Experiment) -> None:
    small = smoke.shrink(e)
    changed = {f.name for f in fields(e) if getattr(e, f.name) != getattr(small, f.name)}
    assert {"width", "recipe", "deviations"} <= changed | {"recipe"}
    assert changed <= {"width", "recipe", "deviations", "purpose"}
    assert (small.purpose, small.width, small.initial_weights) == ("demonstration", 1 / 16, "")
    assert small.deviations == (*e.deviations, smoke.SMOKE)
    before, after = asdict(e.recipe), asdict(small.recipe)
    changed = {key for key in before if before[key] != after[key]}
    assert changed <= {"batch_size", "micro_batch", "epochs", "warmup", "precision"}


@pytest.mark.parametrize(
    "e", [e for e in EXPERIMENTS.values() if e.dataset != "scenes"], ids=lambda e: e.name
)
def test_an_experiment_trains_scores_and_records(e: Experiment, data: Path, tmp_path: Path) -> None:
    small, out = smoke.shrink(e), tmp_path / "out"
    out.mkdir()
    trained_on = registry.dataset(e.dataset, "train", data)
    for name in e.start:
        start = smoke.shrink(EXPERIMENTS[name])
        before = models.build(start.settings | {"heads": run.heads_of(start, trained_on)})
        models.save(before, out / f"{name}.seed0.demonstration.safetensors", {})
    path = run.run(small, data=data, device="cpu", out=out, results=tmp_path, log=lambda line: None)
    record = records.read(path)
    assert (record.purpose, record.dataset.trained_on.images) == ("demonstration", 5)
    assert record.curve[-1]["step"] == 2
    assert record.images_seen == 2 * small.recipe.batch_size
    assert smoke.SMOKE in record.deviations
    assert set(record.heads) == {e.task} if e.task else set(record.heads) == set(trained_on.heads)
    scored_on = registry.dataset(e.dataset, "test", data)
    for head, scored in record.heads.items():
        labelled = sum(int((sample.labels[head] != VOID).sum()) for sample in scored_on)
        assert sum(map(sum, scored.confusion_matrix)) == labelled
    kept = models.load(out / f"{path.stem}.safetensors")
    settings = {"stride": e.stride, "fusion": e.fusion, "inputs": e.inputs}
    assert settings.items() <= kept.settings.items()
    assert record.net == small.net_settings
    assert (record.initial_weights is None) == (not e.start)
    assert all(torch.isfinite(value).all() for value in kept.state_dict().values())
