"""Queues of runs: in order, resumable, within a time budget, and not stopped by a failed run."""

import contextlib
import os
import signal
from dataclasses import replace
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
from test_tables import record

from fcn.data.synthetic.outdoor import Scenes
from fcn.replication import run
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training import pipeline
from fcn.training import record as record_module
from fcn.training.evaluate import evaluate
from fcn.training.gpu import Resident
from fcn.training.record import load_records, read
from fcn.training.signals import Interrupted

BASE = EXPERIMENTS["sift-flow-googlenet-32s"]
SHORT = replace(BASE.recipe, learning_rate=1e-3, epochs=2, batch_size=2)
COARSE = replace(BASE, name="coarse", width=0.05, recipe=SHORT)
FINE = replace(COARSE, name="fine", stride=16, start=("coarse",))
WILD = replace(COARSE, name="wild", recipe=replace(SHORT, learning_rate=1e30))


def scenes(name, split, data):
    return Scenes(4, split=split if split in ("val", "test") else "train", size=(48, 48))


@pytest.fixture(autouse=True)
def _scenes(monkeypatch):
    monkeypatch.setattr(run, "dataset", scenes)


@pytest.fixture
def queue(tmp_path):
    """A queue below ``folder`` that returns its failures and its log."""

    def call(*experiments, folder="a", **options):
        lines = []
        place = {"out": tmp_path / folder / "runs", "results": tmp_path / folder / "results"}
        failed = run.run_queue(experiments, device="cpu", log=lines.append, **place, **options)
        return failed, [line for line in lines if not line.startswith(("step", "scored"))]

    return call


def test_a_queue_runs_in_order_and_skips_what_is_recorded(queue, tmp_path):
    failed, lines = queue(COARSE, FINE, seeds=range(2))
    assert failed == {}
    stems = [f"{name}.seed{seed}" for name in ("coarse", "fine") for seed in (0, 1)]
    assert [line.partition(":")[0] for line in lines] == [stem for stem in stems for _ in range(2)]
    assert [path.stem for path in sorted((tmp_path / "a/results").iterdir())] == stems
    fine = read(tmp_path / "a/results/fine.seed1.json")
    assert fine.initial_weights.name == "coarse.seed1.safetensors"
    before = {path: path.read_bytes() for path in (tmp_path / "a/results").iterdir()}
    failed, lines = queue(COARSE, FINE, seeds=range(2))
    folder = tmp_path / "a/results"
    assert lines == [
        f"{stem}: skipped, recorded in {os.path.relpath(folder / stem)}.json; "
        "to run it anew, move that file"
        for stem in stems
    ]
    assert {path: path.read_bytes() for path in (tmp_path / "a/results").iterdir()} == before


def test_data_on_a_device_stay_there(queue, tmp_path, monkeypatch):
    """No copy of the test images, which worker processes could not read from a GPU."""
    monkeypatch.setattr(
        run, "dataset", lambda name, split, data: Resident(scenes(name, split, data))
    )
    scored = []

    def noted(net, dataset, **options):
        scored.append(dataset)
        return evaluate(net, dataset, **options)

    monkeypatch.setattr(pipeline, "evaluate", noted)
    assert queue(COARSE)[0] == {}
    assert [type(one) for one in scored] == [Resident]


def test_a_queue_stops_at_a_checkpoint_and_the_same_call_continues(queue, tmp_path, monkeypatch):
    clock = chain([0.0, 59.9], repeat(60.0))  # at the start of the queue, of the run, later
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    failed, lines = queue(COARSE, FINE, minutes=1)
    assert failed == {}
    assert lines[-1] == (
        "time is up at step 1 of 4: the same command continues with coarse.seed0, fine.seed0 "
        "(2 of 2 runs)"
    )
    assert (tmp_path / "a/runs/coarse.seed0.checkpoint").is_file()
    assert not (tmp_path / "a/results/coarse.seed0.json").exists()
    failed, lines = queue(COARSE, FINE)
    assert failed == {}
    assert lines[0] == "coarse.seed0: resumed"
    queue(COARSE, FINE, folder="b")
    ours, uninterrupted = (load_records(tmp_path / folder / "results") for folder in ("a", "b"))
    assert [one.heads for one in ours] == [one.heads for one in uninterrupted]
    for one, other in zip(ours, uninterrupted, strict=True):
        assert [point["loss"] for point in one.curve] == [point["loss"] for point in other.curve]
    assert not (tmp_path / "a/runs/coarse.seed0.checkpoint").exists()


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_signal_after_the_last_image_leaves_a_finished_run(queue, tmp_path, monkeypatch, seeds):
    def write(*arguments):
        path = original(*arguments)
        signal.raise_signal(signal.SIGTERM)
        return path

    original = record_module.write
    monkeypatch.setattr(record_module, "write", write)
    left = contextlib.nullcontext() if seeds == 1 else pytest.raises(Interrupted, match="SIGTERM")
    with left:  # status 0 for a single run: otherwise Snakemake would delete the record
        queue(COARSE, seeds=range(seeds))
    assert [path.name for path in (tmp_path / "a/results").iterdir()] == ["coarse.seed0.json"]


def test_a_queue_without_time_starts_nothing(queue, tmp_path):
    (tmp_path / "a/results").mkdir(parents=True)
    _, lines = queue(COARSE, minutes=-1)
    assert lines == ["time is up: the same command continues with coarse.seed0 (1 of 1 runs)"]


def test_a_queue_goes_on_after_a_failed_run(queue, tmp_path):
    orphan = replace(FINE, name="orphan", start=("nobody",))
    failed, lines = queue(orphan, WILD, COARSE)
    assert list(failed) == ["orphan.seed0", "wild.seed0"]
    assert "nobody.seed0.safetensors" in failed["orphan.seed0"]
    assert "the loss is" in failed["wild.seed0"]
    assert f"wild.seed0: failed: {failed['wild.seed0']}" in lines
    assert [path.name for path in (tmp_path / "a/results").iterdir()] == ["coarse.seed0.json"]


def test_a_missing_package_ends_a_queue(queue, monkeypatch):
    def incomplete(*arguments, **options):
        raise ModuleNotFoundError("No module named 'lightning'", name="lightning")

    monkeypatch.setattr(run, "run", incomplete)
    with pytest.raises(ModuleNotFoundError):  # for the command line, which knows its extra
        queue(COARSE, FINE)


def test_on_cuda_steps_are_captured_and_convolutions_are_in_bfloat16(queue, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(run, "resolve_device", lambda name: "cuda")
    monkeypatch.setattr(run, "run", lambda e, **options: calls.append((e, options)) or tmp_path)
    queue(COARSE)
    ((experiment, options),) = calls
    assert experiment == replace(COARSE, recipe=replace(SHORT, precision="bf16-mixed"))
    assert options["capture"]
    assert options["load"].__wrapped__.func is run._resident


def test_a_run_records_its_own_deviations_after_those_of_its_experiment(tmp_path):
    extra = record("coarse", deviations=EXPERIMENTS["voc-alexnet-32s-release"].deviations)
    path = run.run(
        COARSE,
        device="cpu",
        out=tmp_path,
        results=tmp_path,
        deviations=extra.deviations,
        log=lambda line: None,
    )
    assert read(path).deviations == COARSE.deviations + extra.deviations


def test_a_record_that_another_process_wrote_meanwhile_is_kept(queue, tmp_path, monkeypatch):
    queue(COARSE)
    (path,) = (tmp_path / "a/results").iterdir()
    before = path.read_bytes()
    train = run.run

    def late(*arguments, **options):  # the record is written while this one loads its data
        path.write_bytes(before)
        return train(*arguments, **options)

    path.unlink()
    monkeypatch.setattr(run, "run", late)
    failed, lines = queue(COARSE)
    assert failed == {}
    assert [line.partition(",")[0] for line in lines] == [
        "coarse.seed0: started",
        "coarse.seed0: skipped",
    ]
    assert path.read_bytes() == before


def test_records_elsewhere_count_too(queue, tmp_path):
    queue(COARSE)
    failed, lines = queue(COARSE, folder="b", recorded=[tmp_path / "a/results"])
    assert failed == {}
    assert len(lines) == 1
    assert lines[0].startswith("coarse.seed0: skipped, recorded in ")
    assert "a/results/coarse.seed0.json; to run it anew, move that file" in lines[0]
    assert not list((tmp_path / "b/results").iterdir())


def test_what_a_run_starts_from_runs_first_wherever_it_is_in_the_list(queue, tmp_path):
    paths = []
    failed, lines = queue(FINE, COARSE, done=paths.append)
    assert failed == {}
    assert lines[0] == "fine.seed0: starts from coarse.seed0, which runs first"
    assert [path.stem for path in paths] == ["coarse.seed0", "fine.seed0"]
    assert lines[-1].startswith("coarse.seed0: skipped")


def test_what_starts_from_a_failed_run_fails_and_the_failed_run_is_not_repeated(queue):
    failed, lines = queue(replace(FINE, start=("wild",)), WILD)
    assert failed["fine.seed0"] == "starts from wild.seed0, which failed"
    assert list(failed) == ["wild.seed0", "fine.seed0"]
    assert lines.count("wild.seed0: started") == 1


def test_what_runs_first_has_the_same_purpose_and_the_same_change(queue, tmp_path):
    """A validation run starts from a net that has not seen the validation images, either."""

    def change(e):
        return replace(e, recipe=replace(SHORT, epochs=0.5))

    failed, _ = queue(FINE, COARSE, purpose="validation", change=change)
    assert failed == {}
    coarse, fine = load_records(tmp_path / "a/results")
    assert (coarse.purpose, fine.purpose) == ("validation", "validation")
    assert coarse.recipe["epochs"] == fine.recipe["epochs"] == 0.5
    assert fine.initial_weights.name == "coarse.seed0.validation.safetensors"


def test_trials_are_never_scored_on_the_test_images(queue, tmp_path):
    trials = [e for e in EXPERIMENTS.values() if "-trial-" in e.name]
    assert {e.purpose for e in trials} == {"validation"}
    queue(replace(COARSE, purpose="validation"))
    (record,) = load_records(tmp_path / "a/results")
    assert record.file_name == "coarse.seed0.validation.json"
    assert record.dataset.scored_on.split == "val"


def test_a_record_tells_which_images_and_labels_were_used(queue, tmp_path):
    queue(COARSE)
    (record,) = load_records(tmp_path / "a/results")
    trained, scored = record.dataset.trained_on, record.dataset.scored_on
    assert trained.contents == Scenes(4, (48, 48)).contents
    assert scored.contents == Scenes(4, (48, 48), split="test").contents


def test_a_net_that_is_kept_with_the_project_is_found(queue, tmp_path, monkeypatch):
    queue(COARSE)
    monkeypatch.setattr(run, "KEPT_NETS", tmp_path / "a/runs")
    failed, lines = queue(FINE, folder="b")
    assert failed == {}
    assert lines[0] == "fine.seed0: started"


def test_the_name_of_a_run_has_its_purpose_unless_it_is_final():
    assert run.name(COARSE, 2) == "coarse.seed2"
    assert run.name(COARSE, 2, "validation") == "coarse.seed2.validation"
    demo = EXPERIMENTS["scenes-googlenet-8s-demo"]
    assert run.name(demo, 0, "validation") == "scenes-googlenet-8s-demo.seed0.demonstration"
