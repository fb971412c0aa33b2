"""The command line: its output and files; for bad input, one line on stderr and exit status 2."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

from fcn import __main__, export, models
from fcn.__main__ import DEFAULT_NET, _log, _log_to_stderr, main
from fcn.data import nyud, pascal_context, reading, sift_flow, voc
from fcn.data.palettes import voc_palette
from fcn.data.synthetic import outdoor
from fcn.data.synthetic.outdoor import Scenes
from fcn.models import FCN
from fcn.predict import Segmenter
from fcn.replication import catalogue
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.experiment import Experiment
from fcn.training import record as records
from fcn.training.checkpoint import exclusive
from fcn.training.recipe import Recipe

SIZE = (40, 56)
TRAINVAL, TEST = ["coast_a", "coast_b", "street_a", "street_b"], ["coast_c", "forest_a"]
RECIPE = Recipe(learning_rate=1e-3, epochs=1, batch_size=2, optimizer="adamw")
TINY = Experiment(
    "tiny-8s", "sift-flow", "googlenet", 8, RECIPE, None, upsampling="interpolate", width=0.1
)
COARSE = replace(TINY, name="tiny-32s", stride=32)
STAGED = replace(TINY, name="tiny-8s-staged", start=("tiny-32s",))
WILD = replace(
    TINY, name="tiny-wild", recipe=replace(RECIPE, optimizer="sgd", learning_rate=1e30, epochs=2)
)

Outcome = tuple[int, str, str]
Cli = Callable[..., Outcome]


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path) -> Cli:
    """Run ``fcn ARGUMENTS`` in an empty folder; return exit status, stdout and stderr."""
    for variable in ("FCN_DATA", "FCN_WEIGHTS", "FCN_DEBUG"):
        monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fcn", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        assert isinstance(code, int)
        return code, *capsys.readouterr()

    return run


def refused(outcome: Outcome, *parts: object) -> None:
    """Exit status 2, and one line on stderr that contains every part."""
    code, _, err = outcome
    assert code == 2
    assert err.startswith("fcn: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert str(part) in err


def failed(outcome: Outcome, *parts: object) -> None:
    """Exit status 1, and one line on stdout that says what failed and contains every part."""
    code, out, err = outcome
    (line,) = [line for line in out.splitlines() if ": failed: " in line]
    assert (code, err) == (1, f"fcn: 1 failed: {line.partition(':')[0]}\n")
    for part in parts:
        assert str(part) in line


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A data folder with a tiny SIFT Flow in its official layout and matching lists."""
    for experiment in (TINY, COARSE, STAGED, WILD):
        monkeypatch.setitem(EXPERIMENTS, experiment.name, experiment)
    lists = tmp_path / "lists"
    lists.mkdir()
    monkeypatch.setattr(reading, "LISTS", lists)
    for split, names in {"trainval": TRAINVAL, "val": ["street_b"], "test": TEST}.items():
        (lists / f"sift_flow_{split}.txt").write_text("\n".join(names) + "\n")
    root = tmp_path / "data" / "sift-flow"
    for folder in ("Images", "SemanticLabels"):
        (root / folder / sift_flow.COLLECTION).mkdir(parents=True)
    for i, name in enumerate(TRAINVAL + TEST):
        rng = np.random.default_rng(i)
        photo = rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(photo).save(
            root / "Images" / sift_flow.COLLECTION / f"{name}.jpg", quality=95
        )
        scipy.io.savemat(
            label_file(root.parent, name), {"S": rng.integers(0, 34, SIZE).astype(np.uint8)}
        )
    return root.parent


def label_file(data: Path, name: str) -> Path:
    return data / "sift-flow" / "SemanticLabels" / sift_flow.COLLECTION / f"{name}.mat"


def photo_file(data: Path, name: str) -> Path:
    return data / "sift-flow" / "Images" / sift_flow.COLLECTION / f"{name}.jpg"


@pytest.fixture(scope="module")
def net_file(tmp_path_factory) -> Path:
    """A tiny untrained net for the classes of the scenes, saved as ``train`` does."""
    torch.manual_seed(0)
    heads = {head: len(names) for head, names in Scenes.heads.items()}
    net = FCN("googlenet", 8, heads=heads, upsampling="interpolate", width=0.1)
    for head in net.heads.values():
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("nets") / "tiny.safetensors"
    about = {"classes": json.dumps(Scenes.heads), "dataset": "scenes", "experiment": "tiny"}
    models.save(net, path, about)
    return path


# --------------------------------------------------------------------------------------------- list


def test_list_names_every_experiment_and_what_would_record_it(cli):
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    for name in EXPERIMENTS:
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
        assert f"python -m fcn train {name}" in line or "seed" in line
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["voc-vgg16-8s"]]
    assert "90.3 / 75.9 / 62.7 / 83.2" in line


def test_list_as_json_holds_the_same(cli):
    code, out, _ = cli("list", "--json")
    assert code == 0
    entries = {entry["experiment"]: entry for entry in json.loads(out)}
    assert entries.keys() == EXPERIMENTS.keys()
    assert entries["voc-vgg16-8s"]["published"]["mean_iu"] == 62.7
    assert (
        entries["sift-flow-googlenet-8s-tuned"]["published"]["mean_iu"] == 39.5
    )  # the row it is compared with
    assert entries["voc-vgg16-8s"]["command"] == "python -m fcn train voc-vgg16-8s"
    assert entries["scenes-googlenet-8s-demo"]["published"] == {}


def test_list_with_a_folder_that_is_not_there(cli):
    refused(cli("list", "--results", "nowhere"), "nowhere")


# ------------------------------------------------------------------------------- train and evaluate


def test_train_records_what_evaluate_scores_again(cli, data, tmp_path):
    code, out, err = cli(
        "train",
        "tiny-8s",
        "--data",
        data,
        "--device",
        "cpu",
        "--seed",
        3,
        "--results",
        "results",
        "--deviation",
        "a tenth of the width",
        "--deviation",
        "six photos",
    )
    assert (code, err) == (0, "")
    assert files(Path()) == [
        "results/tiny-8s.seed3.json",
        "runs/tiny-8s.seed3.safetensors",
    ]  # no checkpoint is left
    (record,) = records.load_records("results")
    assert (record.purpose, record.seed, record.images_seen) == ("final", 3, 4)
    assert [deviation.text for deviation in record.deviations] == [
        "a tenth of the width",
        "six photos",
    ]
    assert {deviation.kind for deviation in record.deviations} == {"other"}
    assert (record.dataset.trained_on.images, record.dataset.scored_on.images) == (4, 2)
    assert record.recipe["learning_rate"] == 1e-3
    for head in record.heads.values():
        assert head.recomputed() == head

    code, again, err = cli(
        "evaluate",
        "tiny-8s",
        "--weights",
        "runs/tiny-8s.seed3.safetensors",
        "--data",
        data,
        "--device",
        "cpu",
    )
    assert (code, err) == (0, "")
    scores = [line for line in out.splitlines() if line.startswith(("semantic:", "geometric:"))]
    assert again.splitlines() == scores
    assert f"mean IU {record.heads['semantic'].metrics.mean_iu:.2f}" in scores[0]

    code, out, _ = cli("list", "--json", "--results", "results")
    assert code == 0
    (entry,) = [entry for entry in json.loads(out) if entry["experiment"] == "tiny-8s"]
    assert entry["recorded"][0]["metrics"]["mean_iu"] == pytest.approx(
        record.heads["semantic"].metrics.mean_iu
    )


def test_a_validation_run_sees_neither_its_images_nor_the_test_images(cli, data):
    code, *_ = cli(
        "train",
        "tiny-8s",
        "--validation",
        "--data",
        data,
        "--device",
        "cpu",
        "--results",
        "results",
    )
    assert code == 0
    assert files(Path()) == [
        "results/tiny-8s.seed0.validation.json",
        "runs/tiny-8s.seed0.validation.safetensors",
    ]
    (record,) = records.load_records("results")
    assert (record.dataset.trained_on.split, record.dataset.trained_on.images) == ("train", 3)
    assert (record.dataset.scored_on.split, record.dataset.scored_on.images) == ("val", 1)


def test_a_finer_net_goes_on_from_the_coarser_one(cli, data):
    staged = ("train", "tiny-8s-staged", "--data", data, "--device", "cpu", "--results", "results")
    code, out, _ = cli(*staged)
    assert code == 0
    assert "tiny-8s-staged.seed0: starts from tiny-32s.seed0, which runs first\n" in out
    record = records.read("results/tiny-8s-staged.seed0.json")
    assert record.initial_weights is not None
    assert record.initial_weights.name == "tiny-32s.seed0.safetensors"
    Path("results/tiny-8s-staged.seed0.json").unlink()
    Path("runs/tiny-32s.seed0.safetensors").unlink()
    says = ("tiny-32s.seed0.safetensors: missing", "copy the net", "with other folders")
    failed(cli(*staged), "tiny-8s-staged.seed0", *says)


def test_scenes_are_a_demonstration(cli, data, monkeypatch):
    demo = replace(TINY, name="tiny-scenes", dataset="scenes", purpose="demonstration")
    monkeypatch.setitem(EXPERIMENTS, demo.name, demo)
    monkeypatch.setattr(outdoor, "Scenes", lambda count, split: Scenes(4, (40, 40), split=split))
    assert cli("train", "tiny-scenes", "--device", "cpu", "--results", "results")[0] == 0
    assert files(Path("results")) == ["tiny-scenes.seed0.demonstration.json"]


def missing_folder(data: Path) -> str:
    (data / "sift-flow").rename(data / "elsewhere")
    return "sift-flow: SIFT Flow not found"


def missing_photo(data: Path) -> str:
    photo_file(data, "coast_b").unlink()
    return "coast_b.jpg: no such file"


def label_map_of_another_size(data: Path) -> str:
    scipy.io.savemat(label_file(data, "street_a"), {"S": np.ones((SIZE[0], SIZE[1] + 1), np.uint8)})
    return "street_a.mat: the label map is 40 x 57 but its photo is 40 x 56"


def label_outside_the_classes(data: Path) -> str:
    scipy.io.savemat(
        label_file(data, "coast_c"), {"S": np.full(SIZE, 34, np.uint8)}
    )  # a test image: seen before training
    return "coast_c.mat: label 33"


def truncated_photo(data: Path) -> str:
    path = photo_file(data, "coast_a")
    path.write_bytes(path.read_bytes()[:600])
    return "coast_a.jpg: cannot be read as a photo"


def truncated_labels(data: Path) -> str:
    path = label_file(data, "coast_a")
    path.write_bytes(path.read_bytes()[:200])
    return "coast_a.mat: cannot be read"


def empty_list(data: Path) -> str:
    (data.parent / "lists" / "sift_flow_test.txt").write_text("\n")
    return "sift_flow_test.txt: the list of images is empty"


BAD_DATA = (
    missing_folder,
    missing_photo,
    label_map_of_another_size,
    label_outside_the_classes,
    truncated_photo,
    truncated_labels,
    empty_list,
)


@pytest.mark.parametrize("damage", BAD_DATA, ids=lambda damage: damage.__name__)
def test_train_refuses_bad_data_before_it_trains(cli, data, damage):
    says = damage(data)
    outcome = cli("train", "tiny-8s", "--data", data, "--device", "cpu", "--results", "results")
    failed(outcome, says)
    assert "step" not in outcome[1]
    assert files(Path()) == []


def test_train_without_any_folder_of_data(cli, data):
    failed(cli("train", "tiny-8s"), "--data", "FCN_DATA")
    failed(cli("train", "tiny-8s", "--data", "nowhere"), "nowhere: no such folder")


def test_train_without_imagenet_weights(cli, data):
    failed(
        cli("train", "sift-flow-googlenet-8s-tuned", "--data", data, "--results", "results"),
        "FCN_WEIGHTS",
        "--weights",
    )
    assert files(Path()) == []


def test_train_where_the_data_set_has_no_loader(cli, monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "tiny-8s", replace(TINY, dataset="atlantis"))
    failed(cli("train", "tiny-8s"), '"atlantis"', "choose one of sift-flow, scenes, voc")


@pytest.mark.parametrize(
    "command", [("train",), ("evaluate", "--weights", "x.safetensors")], ids=lambda c: c[0]
)
def test_an_unknown_experiment_brings_the_nearest_names(cli, command):
    refused(
        cli(*command, "sift-flow-googlenet-8"), '"sift-flow-googlenet-8"', "sift-flow-googlenet-8s"
    )


@pytest.mark.parametrize("option", ["--out", "--results"])
def test_train_where_it_cannot_write(cli, data, option):
    Path("taken").write_text("a file")
    outcome = cli(
        "train",
        "tiny-8s",
        "--data",
        data,
        "--device",
        "cpu",
        "--results",
        "results",
        option,
        "taken",
    )
    refused(outcome, "taken", option)
    assert "step" not in outcome[1]
    assert files(Path()) == ["taken"]


def test_train_on_a_device_that_is_not_there(cli, data):
    refused(cli("train", "tiny-8s", "--data", data, "--device", "abacus"), "--device abacus", "cpu")


def test_train_that_diverges(cli, data):
    failed(
        cli("train", "tiny-wild", "--data", data, "--device", "cpu", "--results", "results"),
        "the loss is",
        "1e+30",
    )
    assert files(Path()) == []


def test_resume_without_a_checkpoint_starts_from_the_beginning(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    code, out, err = cli("train", "tiny-8s", "--resume", *options)
    assert (code, err) == (0, "")
    assert "tiny-8s.seed0: started" in out
    assert files(Path("results")) == ["tiny-8s.seed0.json"]


def test_a_checkpoint_is_never_overwritten_by_a_new_run(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    Path("runs").mkdir()
    Path("runs/tiny-8s.seed0.checkpoint").write_text("of a week")
    outcome = cli("train", "tiny-8s", *options)
    failed(outcome, "runs/tiny-8s.seed0.checkpoint", "--resume", "delete")
    assert Path("runs/tiny-8s.seed0.checkpoint").read_text() == "of a week"
    failed(cli("train", "tiny-8s", "--resume", *options), "not a complete checkpoint")


def test_a_run_with_a_record_is_skipped(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    assert cli("train", "tiny-8s", *options)[0] == 0
    code, out, err = cli("train", "tiny-8s", *options)
    assert (code, err) == (0, "")
    skipped = "tiny-8s.seed0: skipped, recorded in results/tiny-8s.seed0.json"
    assert out == f"{skipped}; to run it anew, move that file\n"


def test_a_smoke_test_needs_no_data(cli):
    code, out, err = cli("train", "nyud-vgg16-16s-rgb-hha", "--smoke", "--device", "cpu")
    assert (code, err) == (0, "")
    assert "semantic: pixel acc." in out
    names = ["32s-hha", "32s-rgb", "32s-rgb-hha", "16s-rgb-hha"]
    print(out)
    records_ = [f"runs/smoke/results/nyud-vgg16-{n}.seed0.demonstration.json" for n in names]
    assert set(records_) <= set(files(Path()))


def test_two_processes_do_not_run_the_same_run(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    Path("runs").mkdir()
    with exclusive(Path("runs/tiny-8s.seed0.checkpoint")):
        failed(cli("train", "tiny-8s", *options), "tiny-8s.seed0 is already running here (process")
    assert cli("train", "tiny-8s", *options)[0] == 0
    assert files(Path("runs")) == ["tiny-8s.seed0.safetensors"]


def test_evaluate_with_the_weights_of_another_net(cli, data, net_file):
    refused(
        cli("evaluate", "tiny-8s", "--weights", net_file, "--data", data, "--device", "cpu"),
        net_file.name,
        "33",
    )


# ------------------------------------------------------------------------------------------ predict


def save_photo(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    """A photo of noise, ``size`` (width, height)."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = (
        np.random.default_rng(0).integers(0, 256, (size[1], size[0], *channels)).astype(np.uint8)
    )
    Image.fromarray(pixels, mode).save(path)
    return path


@pytest.mark.parametrize(
    ("size", "mode"),
    [
        ((1, 1), "RGB"),
        ((1, 700), "RGB"),
        ((700, 1), "RGB"),
        ((53, 37), "L"),
        ((31, 64), "RGBA"),
        ((1500, 1000), "RGB"),
    ],
)
def test_predict_segments_photos_of_any_size_and_mode(cli, net_file, size, mode):
    photo = save_photo(Path("my.photo.png"), size, mode)
    code, out, err = cli("predict", photo, "--weights", net_file, "--out", "deep/er", "--side", 256)
    assert (code, err) == (0, "")
    assert files(Path("deep")) == ["er/my.photo.labels.png", "er/my.photo.overlay.png"]
    labels = Image.open("deep/er/my.photo.labels.png")
    assert (labels.mode, labels.size) == ("P", size)
    palette = labels.getpalette()
    assert palette is not None
    assert palette[:3] == [158, 202, 225]  # the colour of sky
    with Image.open("deep/er/my.photo.overlay.png") as overlay:
        overlay.load()
        assert max(overlay.size) < 4000

    counts = np.bincount(np.asarray(labels).ravel(), minlength=10)
    shares = dict(
        part.rsplit(" ", 2)[:2] for part in out.splitlines()[0].partition(": ")[2].split(", ")
    )
    expected = {
        name: f"{100 * n / counts.sum():.1f}"
        for name, n in zip(Scenes.heads["semantic"], counts, strict=True)
        if n
    }
    assert shares == expected
    assert "deep/er/my.photo.labels.png" in out.splitlines()[1]


def test_predict_scores_a_photo_no_larger_than_the_side_at_its_own_size(cli, net_file):
    photo = save_photo(Path("a.png"), (60, 44))
    assert cli("predict", photo, "--weights", net_file)[0] == 0
    image = torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)
    with torch.no_grad():
        scores = models.load(net_file)(image[None].float() / 255)["semantic"]
    assert np.array_equal(np.asarray(Image.open("a.labels.png")), scores[0].argmax(0).numpy())


def test_predict_several_photos(cli, net_file):
    for name in ("a.png", "b.png"):
        save_photo(Path(name), (20, 20))
    code, out, _ = cli("predict", "a.png", "b.png", "--weights", net_file, "--out", "out")
    assert code == 0
    assert len(files(Path("out"))) == 4
    assert [line.split(":")[0] for line in out.splitlines()[::2]] == ["a.png", "b.png"]


def no_photo() -> str:
    return "photo.jpg: no such photo"


def truncated_jpeg() -> str:
    save_photo(Path("photo.jpg"), (64, 64))
    Path("photo.jpg").write_bytes(Path("photo.jpg").read_bytes()[:900])
    return "photo.jpg: cannot be read as a photo"


def a_text_file() -> str:
    Path("photo.jpg").write_text("not a photo\n")
    return "photo.jpg: cannot be read as a photo"


def an_empty_file() -> str:
    Path("photo.jpg").touch()
    return "photo.jpg: cannot be read as a photo"


def an_empty_folder() -> str:
    Path("photo.jpg").mkdir()
    return "photo.jpg: no photos there"


@pytest.mark.parametrize(
    "make",
    [no_photo, truncated_jpeg, a_text_file, an_empty_file, an_empty_folder],
    ids=lambda f: f.__name__,
)
def test_predict_refuses_what_is_no_photo(cli, net_file, make):
    says = make()
    refused(cli("predict", "photo.jpg", "--weights", net_file, "--out", "out"), says)
    assert not Path("out").exists()


def test_predict_with_weights_that_are_none(cli, net_file, tmp_path):
    photo = save_photo(Path("a.png"), (20, 20))
    Path("cut.safetensors").write_bytes(net_file.read_bytes()[:-1000])
    Path("text.safetensors").write_text("not weights")
    Path("folder.safetensors").mkdir()
    models.save(models.load(net_file), "nameless.safetensors", {})
    save_file(torch.nn.Linear(2, 2).state_dict(), "linear.safetensors")
    for name in ("nowhere", "cut", "text", "folder", "nameless", "linear"):
        refused(
            cli("predict", photo, "--weights", f"{name}.safetensors", "--out", "out"),
            f"{name}.safetensors",
        )
    refused(
        cli("predict", photo, "--weights", "net.caffemodel", "--out", "out"),
        "net.caffemodel",
        ".safetensors",
    )
    assert not Path("out").exists()


def test_predict_with_an_export_that_is_none(cli):
    photo = save_photo(Path("a.png"), (20, 20))
    Path("text.onnx").write_text("not a net")
    Path("folder.onnx").mkdir()
    for name in ("nowhere", "text", "folder"):
        refused(cli("predict", photo, "--weights", f"{name}.onnx"), f"{name}.onnx")
    if torch.cuda.is_available():
        refused(cli("predict", photo, "--weights", "text.onnx", "--device", "cuda"), "CPU")


def test_export_writes_next_to_the_net_or_where_told(cli, monkeypatch):
    done: list[tuple[Path, Path]] = []
    monkeypatch.setattr(export, "export", lambda *paths: done.append(paths))
    assert cli("export", "nets/a.safetensors")[:2] == (0, "saved nets/a.onnx\n")
    assert cli("export", "default", "--out", "b.onnx")[:2] == (0, "saved b.onnx\n")
    a = Path("nets/a.safetensors"), Path("nets/a.onnx")
    assert done == [a, (DEFAULT_NET, Path("b.onnx"))]


def test_export_of_what_is_no_net(cli):
    refused(cli("export", "nowhere.safetensors"), "nowhere.safetensors: no such weight file")
    refused(cli("export", "a.onnx"), "a.onnx: not a net to export", "--out a.onnx")
    assert files(Path()) == []


def test_predict_where_it_cannot_write(cli, net_file):
    photo = save_photo(Path("a.png"), (20, 20))
    Path("taken").write_text("a file")
    refused(cli("predict", photo, "--weights", net_file, "--out", "taken"), "taken", "--out")
    refused(cli("predict", photo, "--weights", net_file, "--out", "taken/deeper"), "taken", "--out")
    assert files(Path()) == ["a.png", "taken"]


def test_predict_two_photos_of_one_name(cli, net_file):
    Path("other").mkdir()
    save_photo(Path("a.png"), (20, 20))
    save_photo(Path("other/a.jpg"), (30, 20))
    code, _, err = cli("predict", "a.png", "other/a.jpg", "--weights", net_file, "--out", "out")
    assert (code, err) == (0, "")
    names = ("a.labels.png", "a.overlay.png")
    assert files(Path("out")) == sorted([*names, *(f"other/{name}" for name in names)])


def test_predict_of_a_folder_goes_on_after_a_bad_photo(cli, net_file):
    Path("in/b").mkdir(parents=True)
    save_photo(Path("in/a.png"), (20, 20))
    save_photo(Path("in/b/c.jpg"), (20, 20))
    Path("in/b/bad.jpg").write_text("no photo")
    Path("list.txt").write_text("in/a.png\nin/b/bad.jpg\n")
    options = ("--weights", net_file, "--no-overlay", "--json")
    code, out, err = cli("predict", "in", "--out", "out", *options)
    assert code == 3
    assert [json.loads(line)["photo"] for line in out.splitlines()] == [
        "in/a.png",
        "in/b/bad.jpg",
        "in/b/c.jpg",
    ]
    assert err == "fcn: 1 of 3 photos failed; listed in out/failures.txt\n"
    assert files(Path("out")) == ["a.labels.png", "b/c.labels.png", "failures.txt"]
    assert cli("predict", "--list", "list.txt", "--out", "listed", *options)[0] == 3
    assert files(Path("listed")) == ["failures.txt", "in/a.labels.png"]
    refused(cli("predict", "--list", "none.txt", *options), "none.txt: no such list")


def test_predict_on_a_device_that_is_not_there(cli, net_file):
    refused(
        cli("predict", "a.png", "--weights", net_file, "--device", "abacus"),
        "--device abacus",
        "cpu",
    )


def test_arguments_that_make_no_sense_are_refused_too(cli):
    for arguments in (
        "predict",
        "train",
        "predict a.png --side 3",
        "train tiny-8s --seed -1",
        "guess",
    ):
        code, _, err = cli(*arguments.split())
        assert code == 2
        assert err


@pytest.fixture(scope="module")
def voc_net(tmp_path_factory) -> Path:
    """A tiny untrained net for VOC's classes, saved as ``train`` does for SBD."""
    torch.manual_seed(0)
    net = FCN("googlenet", 8, heads={"semantic": 21}, upsampling="interpolate", width=0.1)
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("nets") / "voc.safetensors"
    models.save(net, path, {"classes": json.dumps({"semantic": voc.CLASSES}), "dataset": "sbd"})
    return path


def test_predict_writes_the_folder_that_the_test_server_of_voc_takes(cli, voc_net):
    sizes = {"2008_000006": (53, 37), "2008_000011": (31, 64)}
    photos = [save_photo(Path(f"{name}.jpg"), size) for name, size in sizes.items()]
    code, out, err = cli("predict", *photos, "--weights", voc_net, "--submission", "hand/in")
    assert (code, err) == (0, "")
    assert "tar czf results.tgz -C hand/in results" in out.splitlines()[-1]
    folder = Path("hand/in/results/VOC2012/Segmentation/comp6_test_cls")
    assert files(Path("hand")) == sorted(
        str((folder / f"{name}.png").relative_to("hand")) for name in sizes
    )
    net = models.load(voc_net)
    for photo, (name, size) in zip(photos, sizes.items(), strict=True):
        with Image.open(folder / f"{name}.png") as written:
            assert (written.mode, written.size) == ("P", size)
            assert written.getpalette() == voc_palette(256).flatten().tolist()
            with torch.no_grad():
                scores = net(
                    torch.from_numpy(np.array(Image.open(photo))).permute(2, 0, 1)[None].float()
                    / 255
                )
            assert np.array_equal(np.asarray(written), scores["semantic"][0].argmax(0))
    assert len(np.unique(np.asarray(Image.open(folder / "2008_000006.png")))) > 1


def test_predict_hands_in_nothing_of_a_net_for_other_classes(cli, net_file):
    photo = save_photo(Path("a.png"), (20, 20))
    outcome = cli("predict", photo, "--weights", net_file, "--submission", "hand-in")
    refused(
        outcome,
        "--submission",
        "21 classes, background to tvmonitor",
        "10 classes, sky to boat",
        "--weights",
    )
    assert files(Path()) == ["a.png"]


def test_predict_hands_in_one_photo_per_name(cli, voc_net):
    for folder in ("x", "y"):
        Path("in", folder).mkdir(parents=True)
        save_photo(Path("in", folder, "a.jpg"), (20, 20))
    outcome = cli("predict", "in", "--weights", voc_net, "--submission", "hand-in")
    refused(outcome, 'in/y/a.jpg: another photo is named "a", too', "--submission")


def test_predict_where_it_cannot_hand_in(cli, voc_net):
    photo = save_photo(Path("a.png"), (20, 20))
    Path("taken").write_text("a file")
    refused(
        cli("predict", photo, "--weights", voc_net, "--submission", "taken"),
        "taken",
        "--submission",
    )
    assert files(Path()) == ["a.png", "taken"]


def test_predict_with_a_net_that_sees_depth(cli, tmp_path):
    photo = save_photo(Path("a.png"), (20, 20))
    net = FCN("googlenet", 32, heads={"semantic": 1}, width=0.05, inputs="hha")
    models.save(net, tmp_path / "n.safetensors", {"classes": '{"semantic": ["a"]}'})
    refused(
        cli("predict", photo, "--weights", tmp_path / "n.safetensors"),
        "n.safetensors",
        "HHA",
        "colour",
    )


@pytest.mark.parametrize(
    ("dataset", "count", "expected"),
    [
        ("sift-flow", 33, sift_flow.PALETTE),
        ("voc", 21, voc.PALETTE),
        ("sbd", 21, voc.PALETTE),
        ("nyud", 40, nyud.PALETTE),
        ("pascal-context", 60, pascal_context.PALETTE),
        ("pascal-context", 34, pascal_context.PALETTE[:34]),
    ],
)
def test_each_data_set_has_its_colours(tmp_path, dataset, count, expected):
    names = [f"class {i}" for i in range(count)]
    net = FCN("googlenet", 32, heads={"semantic": count}, width=0.05)
    models.save(
        net,
        tmp_path / "n.safetensors",
        {"classes": json.dumps({"semantic": names}), "dataset": dataset},
    )
    assert np.array_equal(Segmenter(tmp_path / "n.safetensors").palette, expected)


@pytest.mark.parametrize(("dataset", "count"), [("sift-flow", 3), ("your own", 7)])
def test_other_classes_have_colours_that_differ(tmp_path, dataset, count):
    names = [f"class {i}" for i in range(count)]
    net = FCN("googlenet", 32, heads={"semantic": count}, width=0.05)
    models.save(
        net,
        tmp_path / "n.safetensors",
        {"classes": json.dumps({"semantic": names}), "dataset": dataset},
    )
    assert len(np.unique(Segmenter(tmp_path / "n.safetensors").palette, axis=0)) == count


# ------------------------------------------------------------------------------------- as a program


def test_the_program_itself(tmp_path):
    """Two real processes: exit status, stdout and stderr."""
    program = [sys.executable, "-m", "fcn"]
    predict = ["predict", "no-photo.jpg", "--weights", "no-net.safetensors", "--out", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    project = Path(catalogue.__file__).parents[2]
    listed = subprocess.Popen([*program, "list", "--json"], cwd=project, **pipes)
    refused = subprocess.Popen([*program, *predict], cwd=project, **pipes)
    out, err = listed.communicate(timeout=300)
    assert (listed.returncode, err) == (0, "")
    assert {entry["experiment"] for entry in json.loads(out)} == EXPERIMENTS.keys()
    out, err = refused.communicate(timeout=300)
    assert (refused.returncode, out) == (2, "")
    assert err == "fcn: no-net.safetensors: no such weight file; check the path\n"
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    "classes", ["{", "[]", "{}", "null", '{"semantic": 3}', '{"semantic": ["a"]}', '{"b": ["a"]}']
)
def test_predict_with_a_net_whose_classes_are_damaged(cli, tmp_path, classes):
    models.save(
        FCN("googlenet", 32, heads={"semantic": 3}, width=0.05),
        tmp_path / "n.safetensors",
        {"classes": classes},
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    refused(
        cli("predict", tmp_path / "photo.png", "--weights", tmp_path / "n.safetensors"),
        "n.safetensors",
        "classes",
    )


def test_predict_of_a_photo_in_fractions(cli, net_file, tmp_path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "photo.tiff")
    refused(cli("predict", tmp_path / "photo.tiff", "--weights", net_file), "photo.tiff", "8 bits")


def test_a_machine_too_small_is_one_line(cli, monkeypatch):
    def exhausted(name: str) -> Experiment:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nstack")

    monkeypatch.setattr(catalogue, "find", exhausted)
    refused(cli("train", "anything"), "not enough memory")


# ----------------------------------------------------------------------------------- queues of runs


def test_seeds_beyond_the_largest_are_refused(cli, data):
    refused(cli("train", "tiny-32s", "--seed", 2**32 - 1, "--seeds", 2), "--seeds 2: the last seed")


def test_a_queue_skips_what_is_recorded_and_continues(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    code, _, err = cli("train", "tiny-32s", "tiny-8s-staged", "--seeds", 2, *options)
    assert (code, err) == (0, "")
    assert files(Path("results")) == [
        f"{name}.seed{seed}.json" for name in ("tiny-32s", "tiny-8s-staged") for seed in (0, 1)
    ]
    before = {path: path.read_bytes() for path in Path("results").iterdir()}
    assert cli("train", "tiny-32s", "tiny-8s-staged", "--seeds", 2, *options)[0] == 0
    assert {path: path.read_bytes() for path in Path("results").iterdir()} == before


def test_a_queue_stops_at_a_checkpoint_when_its_time_is_up(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    code, *_ = cli("train", "tiny-32s", "--minutes", 0.01, *options)
    assert code == 0
    done = files(Path("results")) if Path("results").is_dir() else []
    assert done or any(name.endswith(".checkpoint") for name in files(Path("runs")))


def test_a_queue_goes_on_after_a_run_that_fails(cli, data):
    options = ("--data", data, "--device", "cpu", "--results", "results")
    code, out, _ = cli("train", "tiny-wild", "tiny-32s", *options)
    assert code == 1
    assert "tiny-wild" in out
    assert files(Path("results")) == ["tiny-32s.seed0.json"]


def test_train_without_a_name(cli):
    refused(cli("train"), "python -m fcn list", "--by-worth")


def test_list_writes_the_results_into_a_text_file(cli, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no markers here\n")
    refused(cli("list", "--readme", readme), "README.md", "markers")
    refused(cli("list", "--readme", tmp_path / "none.md"), "none.md")


# -------------------------------------------------------------------------------- imports on demand


@pytest.mark.parametrize(("rank", "lines"), [("", 1), ("0", 1), ("1", 0)])
def test_one_of_several_processes_writes_the_log(monkeypatch, capsys, rank, lines):
    monkeypatch.setenv("RANK", rank or "0")
    if not rank:
        monkeypatch.delenv("RANK")
    _log("a line")
    _log_to_stderr("a line")
    assert [text.count("\n") for text in capsys.readouterr()] == [lines, lines]


def test_an_interrupt_ends_a_command_with_its_own_status(cli, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "load_records", interrupt)
    assert cli("list")[0] == 130


HEAVY = {"torch", "torchvision", "pandas", "matplotlib", "scipy", "lightning_fabric"}


def loaded(*arguments: str) -> set[str]:
    """The modules that a real run of ``fcn ARGUMENTS`` imports; ``peak=`` its memory in KB."""
    code = (
        "import sys\nfrom fcn.__main__ import main\nsys.argv[1:] = ARGS\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "from pathlib import Path\nstatus = Path('/proc/self/status')\n"
        "peak = status.read_text().split('VmHWM:')[1].split()[0] if status.exists() else 0\n"
        "print(*sys.modules, f'peak={peak}', file=sys.stderr)"
    ).replace("ARGS", repr(list(arguments)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("list", "--json")], ids=" ".join)
def test_listing_imports_neither_torch_nor_pandas(arguments):
    assert not loaded(*arguments) & HEAVY


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "export", "benchmark"])
def test_help_imports_neither_torch_nor_pandas(command):
    assert not loaded(command, "--help") & HEAVY


@pytest.mark.skipif(not DEFAULT_NET.with_suffix(".onnx").is_file(), reason="no export is shipped")
def test_the_shipped_net_segments_a_photo_without_torch(tmp_path):
    save_photo(tmp_path / "a.png", (300, 200))
    modules = loaded("predict", str(tmp_path / "a.png"), "--out", str(tmp_path))
    assert "onnxruntime" in modules
    assert not modules & HEAVY
    assert files(tmp_path) == ["a.labels.png", "a.overlay.png", "a.png"]
    (peak,) = [name for name in modules if name.startswith("peak=")]
    assert int(peak.removeprefix("peak=")) < 400_000


def test_a_net_in_torch_needs_nothing_else_that_is_large(net_file, tmp_path):
    save_photo(tmp_path / "a.png", (60, 40))
    photo, net, out = (str(path) for path in (tmp_path / "a.png", net_file, tmp_path))
    modules = loaded("predict", photo, "--weights", net, "--out", out)
    assert "torch" in modules
    assert not modules & (HEAVY - {"torch"} | {"sympy", "google.protobuf"})


def test_a_missing_extra_is_named():
    code = (
        "import sys\nsys.modules['torchvision'] = None\nfrom fcn.__main__ import main\n"
        "sys.argv[1:] = ['train', 'scenes-googlenet-8s-demo']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    refused((done.returncode, done.stdout, done.stderr), "torchvision", '"fcn-book[train]"')
    code = code.replace("torchvision", "onnxscript").replace(
        "'train', 'scenes-googlenet-8s-demo'", "'export', 'default'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    refused((done.returncode, done.stdout, done.stderr), "onnxscript", '"fcn-book[export]"')


@pytest.mark.parametrize(("command", "ended"), [("predict", [3]), ("list", [])])
def test_predict_does_not_wait_for_libraries_to_be_unloaded(monkeypatch, command, ended):
    found = []
    monkeypatch.setattr(sys, "argv", ["fcn", command])
    monkeypatch.setattr(__main__, "main", lambda: sys.exit(3))
    monkeypatch.setattr("atexit._run_exitfuncs", lambda: None)
    monkeypatch.setattr("os._exit", found.append)
    with pytest.raises(SystemExit, match="3"):
        __main__.program()
    assert found == ended
