"""Records: written and read back unchanged; broken files are named; stored metrics are correct."""

import hashlib
import json
import math
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fcn.metrics import ConfusionMatrix
from fcn.training import provenance
from fcn.training import record as records
from fcn.training.record import (
    Data,
    Deviation,
    Execution,
    Head,
    InitialWeights,
    Paper,
    Record,
    Split,
    Weights,
)

ROOT = Path(__file__).parents[2]
RECORDED = sorted((ROOT / "results").glob("*.seed*.json"))


def random_head(num_classes: int, seed: int = 0) -> Head:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(10**6, (num_classes, num_classes), generator=generator)
    matrix[1] = 0  # a class that the split lacks
    return Head.scored(
        [f"class {i}" for i in range(num_classes)], ConfusionMatrix.from_matrix(matrix)
    )


def example(**changes: object) -> Record:
    settings: dict[str, Any] = {
        "experiment": "sift-flow-googlenet-8s",
        "purpose": "final",
        "paper": Paper("5", "FCN-16s"),
        "heads": {"semantic": random_head(33), "geometric": random_head(3)},
        "net": {"net": "googlenet", "stride": 8, "width": 1.0},
        "recipe": {
            "optimizer": "sgd",
            "learning_rate": 0.1 + 0.2,
            "mirror": True,
            "steps": [1, 2],
            "clip": None,
        },
        "seed": 0,
        "images_seen": 9944,
        "curve": [
            {"step": 10 * i, "images": 80 * i, "loss": 3.5 / i, "learning_rate": 0.01 * 0.9**i}
            for i in range(1, 40)
        ],
        "dataset": Data(
            "sift-flow",
            Split("trainval", 2486, "a" * 64),
            Split("test", 200, "b" * 64, contents="e" * 64),
        ),
        "initial_weights": InitialWeights("bvlc_googlenet.caffemodel", "c" * 64),
        "weights": Weights("weights/sift-flow-googlenet-8s.safetensors", "d" * 64),
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "commit": "0123abc",
        "hardware": "a CPU, 2 cores",
        "seconds": 3214.25,
        "deviations": (
            Deviation("backbone", "GoogLeNet instead of VGG16"),
            Deviation("recipe", "a rate that falls — not a fixed one"),
        ),
    }
    return Record(**(settings | changes))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_recorded_runs_hold_what_they_claim(path: Path) -> None:
    record = records.read(path)
    for name, head in record.heads.items():
        again = head.recomputed()
        per_class = [
            None if iu is None else pytest.approx(iu, rel=1e-9) for iu in again.iu_per_class
        ]
        assert list(head.iu_per_class) == per_class, name
        assert vars(head.metrics) == pytest.approx(vars(again.metrics), rel=1e-9), name
        assert head.classes_counted == again.classes_counted, name
    if record.weights is not None:
        contents = (ROOT / record.weights.path).read_bytes()
        assert hashlib.sha256(contents).hexdigest() == record.weights.sha256
    assert record.curve == sorted(record.curve, key=lambda point: point["step"])
    assert record.curve[-1]["images"] <= record.images_seen


@pytest.mark.parametrize("bare", [False, True])
def test_read_returns_what_was_written(bare: bool, tmp_path: Path) -> None:
    record = (
        example(paper=None, weights=None, initial_weights=None, commit=None) if bare else example()
    )
    path = records.write(record, tmp_path / "new" / "results")
    assert path == tmp_path / "new" / "results" / "sift-flow-googlenet-8s.seed0.json"
    again = records.read(path)
    for point, read in zip(record.curve, again.curve, strict=True):
        assert read == {key: float(f"{value:.6g}") for key, value in point.items()}
    assert again.model_copy(update={"curve": record.curve}) == record
    assert again.heads["semantic"].recomputed() == record.heads["semantic"]
    assert records.write(again, tmp_path).read_bytes() == path.read_bytes(), (
        "a second writing changes nothing"
    )


def test_the_file_has_the_documented_shape(tmp_path: Path) -> None:
    path = records.write(example(), tmp_path)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert list(data) == list(Record.model_fields)
    semantic = data["heads"]["semantic"]
    assert set(semantic) == {
        "classes",
        "metrics",
        "classes_counted",
        "iu_per_class",
        "confusion_matrix",
    }
    assert set(semantic["metrics"]) == {
        "pixel_accuracy",
        "mean_accuracy",
        "mean_iu",
        "frequency_weighted_iu",
    }
    assert semantic["classes_counted"] == 32
    assert semantic["iu_per_class"][1] is None
    assert data["recipe"]["learning_rate"] == 0.1 + 0.2, "only the curve is rounded"
    assert data["curve"][2]["loss"] == 1.16667
    assert data["dataset"]["scored_on"] == {
        "split": "test",
        "images": 200,
        "checksum": "b" * 64,
        "contents": "e" * 64,
    }
    assert data["paper"] == {"table": "5", "row": "FCN-16s"}
    assert data["deviations"][0] == {"kind": "backbone", "text": "GoogLeNet instead of VGG16"}


def test_the_file_is_compact_and_readable(tmp_path: Path) -> None:
    record = example()
    text = records.write(record, tmp_path).read_text(encoding="utf-8")
    lines = [line.strip().removesuffix(",") for line in text.splitlines()]
    assert text.endswith("}\n")
    for row in record.heads["semantic"].confusion_matrix:
        assert json.dumps(row) in lines, "a row of a matrix is one line"
    assert sum(line.startswith('{"step"') and line.endswith("}") for line in lines) == len(
        record.curve
    )
    assert len(lines) < 150
    assert "—" in text, "text is text, not escapes"


def test_scores_are_the_main_heads_and_the_geometric_accuracy() -> None:
    record = example()
    heads = record.heads
    geometric = heads["geometric"].metrics.pixel_accuracy
    assert record.scores == vars(heads["semantic"].metrics) | {"geometric_accuracy": geometric}
    assert example(heads={"x": heads["semantic"]}).scores == vars(heads["semantic"].metrics)


def test_file_names_tell_seed_and_purpose() -> None:
    assert example(seed=3).file_name == "sift-flow-googlenet-8s.seed3.json"
    assert example(purpose="validation").file_name == "sift-flow-googlenet-8s.seed0.validation.json"
    assert (
        example(purpose="demonstration").file_name
        == "sift-flow-googlenet-8s.seed0.demonstration.json"
    )


def test_load_sorts_and_find_selects(tmp_path: Path) -> None:
    b, a = "sift-flow-googlenet-8s", "sift-flow-googlenet-16s"
    for experiment, purpose, seed in [
        (b, "validation", 0),
        (b, "final", 10),
        (b, "final", 2),
        (a, "final", 0),
    ]:
        records.write(example(experiment=experiment, purpose=purpose, seed=seed), tmp_path)
    (tmp_path / "heatmap.json").write_text("[]")  # not a record
    loaded = records.load_records(str(tmp_path))
    order = [(record.experiment, record.purpose, record.seed) for record in loaded]
    assert order == [(a, "final", 0), (b, "final", 2), (b, "final", 10), (b, "validation", 0)]
    assert [record.seed for record in records.find(reversed(loaded), b)] == [2, 10]
    assert [record.purpose for record in records.find(loaded, b, "validation")] == ["validation"]
    assert records.find(loaded, "voc-vgg16-8s") == []


def test_writing_replaces_the_same_run_and_leaves_nothing_else(tmp_path: Path) -> None:
    records.write(example(), tmp_path)
    path = records.write(example(seconds=1.0), tmp_path)
    assert os.listdir(tmp_path) == [path.name]
    assert records.read(path).seconds == 1.0
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask(), "readable as any other file"


def test_a_failed_writing_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = records.write(example(), tmp_path)
    before = path.read_bytes()
    for broken in (
        example(seconds=math.nan),
        example(curve=[{"step": 1, "images": 1, "loss": math.inf, "learning_rate": 0.1}]),
        example(recipe={"dtype": torch.float16}),
    ):
        with pytest.raises(ValueError, match=r"seed0\.json: the record cannot be written as JSON"):
            records.write(broken, tmp_path)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        records.write(example(seconds=2.0), tmp_path)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before


def without(*keys: str) -> Callable[[dict], None]:
    def change(data: dict) -> None:
        for key in keys[:-1]:
            data = data[key]
        del data[keys[-1]]

    return change


def with_value(value: object, *keys: str) -> Callable[[dict], None]:
    def change(data: dict) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("heads"), "heads: Field required"),
        (without("purpose"), "purpose: Field required"),
        (
            without("heads", "semantic", "confusion_matrix"),
            "heads.semantic.confusion_matrix: Field required",
        ),
        (without("heads", "semantic", "metrics"), "heads.semantic.metrics: Field required"),
        (
            without("heads", "geometric", "metrics", "mean_iu"),
            "heads.geometric.metrics.mean_iu: Field required",
        ),
        (
            without("heads", "geometric", "iu_per_class"),
            "heads.geometric.iu_per_class: Field required",
        ),
        (without("dataset", "scored_on", "checksum"), "dataset.scored_on.checksum: Field required"),
        (without("initial_weights", "name"), "initial_weights.name: Field required"),
        (with_value(1, "wieghts"), "wieghts is 1: Extra inputs are not permitted"),
        (
            with_value("test", "purpose"),
            "purpose is 'test': must be 'final', 'validation' or 'demonstration'",
        ),
        (with_value([], "heads"), "heads: must be an object"),
        (with_value({}, "heads"), "heads: Dictionary should have at least 1 item"),
        (
            with_value(None, "heads", "semantic", "iu_per_class"),
            "heads.semantic.iu_per_class is None: must be a valid array",
        ),
        (
            with_value(["a"], "heads", "geometric", "classes"),
            "1 classes need a square confusion matrix",
        ),
        (
            with_value([{"step": 1}], "curve"),
            "curve.0.images: Field required",
        ),
        (with_value([1], "curve"), "curve.0 is 1: must be an object"),
        (
            with_value("/elsewhere/net.safetensors", "weights", "path"),
            "weights.path is '/elsewhere/net.safetensors': must match pattern",
        ),
        (with_value("C:/net.safetensors", "weights", "path"), "weights.path is 'C:/net"),
        (with_value("../../etc/passwd", "weights", "path"), "weights.path is '../../etc"),
        (with_value("weights/../../x", "weights", "path"), "weights.path is 'weights/../"),
        (with_value(1.25, "seconds"), "changed since it was written, its checksum differs"),
        (with_value("f" * 64, "checksum"), "changed since it was written"),
        (with_value("../x", "experiment"), r"experiment is '../x': must match pattern"),
        (
            with_value("test", "dataset", "trained_on", "split"),
            "a final run must not be scored on its training images",
        ),
        (with_value(7, "seed"), r"holds sift-flow-googlenet-8s\.seed7\.json; rename"),
    ],
)
def test_a_broken_record_is_named_with_what_is_wrong(
    change: Callable[[dict], None], message: str, tmp_path: Path
) -> None:
    path = records.write(example(), tmp_path)
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        records.load_records(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b'{"experiment": ', b"[]", b"null", b"\xff\xfe\x00", b"<<<<<<< HEAD\n{}"]
)
def test_a_file_that_is_no_record_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.seed0.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a valid record") as caught:
        records.load_records(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    assert records.load_records(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        records.load_records(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"x\.seed0\.json: no such record"):
        records.read(tmp_path / "x.seed0.json")


def test_real_runs_are_not_scored_on_their_training_images_but_demonstrations_may_be() -> None:
    same_list = Data("scenes", Split("train", 8, "a" * 64), Split("test", 8, "a" * 64))
    for purpose in ("final", "validation"):
        with pytest.raises(
            ValueError, match=f"a {purpose} run must not be scored on its training images"
        ):
            example(purpose=purpose, dataset=same_list)
    assert example(purpose="demonstration", dataset=same_list).dataset is same_list


def test_the_precision_is_the_executed_one_where_the_record_tells() -> None:
    asked = {"precision": "bf16-mixed"}
    executed = Execution("32-true", "contiguous", 2, "glibc, keeps freed memory")
    assert example().precision == "32-true"  # older than the setting
    assert example(recipe=asked).precision == "bf16-mixed"
    assert example(recipe=asked, execution=executed).precision == "32-true"


def test_environment_fills_a_record() -> None:
    environment = provenance.environment("cpu")
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["versions"]["torchvision"]
    assert environment["hardware"].endswith(" cores")
    assert example(**environment).hardware == environment["hardware"]


def test_the_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(3), raising=False)
    assert provenance.hardware("cpu").endswith(", 3 cores")


def test_processes_of_a_run_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = provenance.hardware("cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert provenance.hardware("cpu") == f"2 x {alone}"


def test_commit_tells_a_changed_package_from_a_clean_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "fcn").mkdir()
    code = tmp_path / "fcn" / "code.py"
    code.write_text("x = 1\n")
    assert provenance.commit(tmp_path) is None, "no checkout"
    monkeypatch.setenv("FCN_COMMIT", "0123456789" * 4 + "+changes")
    assert provenance.commit(tmp_path) == "0123456789" * 4 + "+changes", (
        "a copy of a checkout's files"
    )
    monkeypatch.setenv("FCN_COMMIT", "main")
    with pytest.raises(ValueError, match="FCN_COMMIT is 'main'"):
        provenance.commit(tmp_path)
    monkeypatch.delenv("FCN_COMMIT")
    git("init", "-q")
    assert provenance.commit(tmp_path) is None, "no commit yet"
    git("add", "fcn")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == head
    (tmp_path / "notes.txt").write_text("no code")
    assert provenance.commit(tmp_path) == head
    assert provenance.commit(tmp_path / "fcn") is None, (
        "a folder inside a checkout of something else"
    )
    code.write_text("x = 2\n")
    assert provenance.commit(tmp_path) == head + "+changes"
    git("checkout", "-q", "fcn")
    (tmp_path / "fcn" / "new.py").write_text("y = 1\n")
    assert provenance.commit(tmp_path) == head + "+changes"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("recipe",), None),
        (("versions",), "x"),
        (("curve",), {}),
        (("deviations",), "x"),
        (("deviations", 0, "kind"), "weather"),
        (("hardware",), 1),
        (("images_seen",), "x"),
        (("seconds",), []),
        (("heads", "scores", "metrics", "mean_iu"), None),
        (("heads", "scores", "metrics", "mean_iu"), "x"),
        (("heads", "scores", "iu_per_class", 0), "x"),
        (("heads", "scores", "confusion_matrix", 0, 0), -3),
        (("heads", "scores", "confusion_matrix", 0, 0), 2**70),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_the_name_of_the_file(
    keys: tuple, value: object, tmp_path: Path
) -> None:
    path = records.write(example(heads={"scores": random_head(3)}), tmp_path)
    data = json.loads(path.read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{path.name}: not a valid record"):
        records.read(path)


def test_brackets_without_end_are_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.seed0.json"
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ValueError, match="not a valid record"):
        records.read(path)
