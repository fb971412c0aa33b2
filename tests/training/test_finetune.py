"""Fine-tuning on your own photos: end to end through the command line, and early errors."""

import json
import math
import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import test_cli
import torch
from figures import own_data as figures
from PIL import Image
from safetensors.torch import load_file
from test_loop import after

from fcn import environment, models
from fcn.data.folder import Folder
from fcn.data.sample import Sample
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN
from fcn.predict import Segmenter
from fcn.training import finetune, pipeline
from fcn.training import record as records
from fcn.training.checkpoint import Stopped
from fcn.training.loader import pixels_per_class
from fcn.training.recipe import TUNED

cli = test_cli.cli  # the fixture
refused = test_cli.refused

COLOURS = {"sky": (10, 20, 250), "land": (20, 200, 30), "post": (250, 240, 10)}
SIZES = ((32, 48), (40, 36))


def draw(root: Path, count: int = 12) -> None:
    """Photos of a blue sky over green land, with their labels; "post" is named but never seen."""
    for name in ("photos", "labels"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        rng = np.random.default_rng(i)
        height, width = SIZES[i % 2]
        labels = np.zeros((height, width), np.uint8)
        labels[int(rng.integers(10, 22)) :] = 1
        photo = np.array(list(COLOURS.values()))[labels] + rng.integers(-10, 10, (height, width, 3))
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(root / "photos" / f"{i}.png")
        labels[rng.random((height, width)) < 0.1] = 255
        Image.fromarray(labels).save(root / "labels" / f"{i}.png")
    lines = [f"{name} #{bytes(colour).hex()}\n" for name, colour in COLOURS.items()]
    (root / "classes.txt").write_text("".join(lines))


@pytest.fixture
def root(tmp_path) -> Path:
    draw(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A narrow net for other classes, whose trunk is to be gone on with."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("nets") / "start.safetensors"
    net = FCN("googlenet", 32, heads={"a": 4, "b": 2}, width=0.1)
    net.mean += 1
    models.save(net, path, {})
    return path


def arguments(root: Path, start: object, *more: object) -> list[object]:
    basic = ["--start", start, "--epochs", 4, "--batch", 4, "--device", "cpu", "--out", "out"]
    return ["fit", root / "photos", root / "labels", root / "classes.txt", *basic, *more]


# End to end


def test_one_command_from_photos_to_a_net_that_predicts(cli, root, start):
    code, out, err = cli(*arguments(root, start))
    assert (code, err) == (0, "")
    assert "11 training photos, 1 held out, 3 classes" in out
    assert "no training pixels, so never predicted: post" in out
    assert "(2 of 3 classes present)" in out
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "own-googlenet-8s.seed0.held-out.txt",
        "own-googlenet-8s.seed0.safetensors",
        "own-googlenet-8s.seed0.validation.json",
    ]

    record = records.read(Path("out", "own-googlenet-8s.seed0.validation.json"))
    head = record.heads["semantic"]
    assert (record.purpose, head.classes) == ("validation", tuple(COLOURS))
    assert head.recomputed() == head
    assert f"pixel acc. {head.metrics.pixel_accuracy:.2f}" in out
    assert (record.dataset.trained_on.images, record.dataset.scored_on.images) == (11, 1)
    assert record.images_seen == 44
    assert record.recipe["optimizer"] == TUNED.optimizer
    assert record.initial_weights == records.InitialWeights(
        "start.safetensors", environment.sha256(start)
    )

    net = Path("out", "own-googlenet-8s.seed0.safetensors")
    segmenter = Segmenter(net)
    assert (segmenter.classes, segmenter.palette.tolist()) == (
        list(COLOURS),
        [list(c) for c in COLOURS.values()],
    )
    assert segmenter.net.settings["width"] == 0.1

    code, out, err = cli("predict", root / "photos" / "0.png", "--weights", net)
    assert (code, err) == (0, "")
    assert Image.open("0.labels.png").getpalette()[:9] == [
        value for colour in COLOURS.values() for value in colour
    ]
    assert Image.open("0.overlay.png").width > 300


def test_it_learns(root, start, tmp_path):
    fitted = finetune.fit(
        root / "photos",
        root / "labels",
        root / "classes.txt",
        start=start,
        stride=16,
        epochs=20,
        batch_size=4,
        device="cpu",
        out=tmp_path / "out",
        log=lambda line: None,
    )
    assert fitted.weights.name == "own-googlenet-16s.seed0.safetensors"
    assert fitted.scores.metrics.pixel_accuracy > 80
    assert records.read(fitted.record).heads["semantic"] == fitted.scores


@pytest.fixture
def fit(root, start, tmp_path, monkeypatch):
    """Fine-tune for three steps into a folder, or stop after two of them."""
    train = pipeline.train

    def call(out: str, *, stop: bool = False, **more: object) -> finetune.FineTuned:
        changes = {"stop": after(2)} if stop else {}
        monkeypatch.setattr(pipeline, "train", lambda *a, **named: train(*a, **(named | changes)))
        files = (root / name for name in ("photos", "labels", "classes.txt"))
        settings = {"start": start, "epochs": 1, "batch_size": 4, "device": "cpu"} | more
        return finetune.fit(*files, out=tmp_path / out, log=lambda line: None, **settings)

    return call


def assert_same_net(a: finetune.FineTuned, b: finetune.FineTuned) -> None:
    tensors, others = load_file(a.weights), load_file(b.weights)
    assert all(torch.equal(others[name], tensor) for name, tensor in tensors.items())


def test_a_run_that_was_stopped_goes_on_to_the_same_net(fit, tmp_path):
    with pytest.raises(Stopped, match="at step 2 of 3"):
        fit("parts", stop=True)
    checkpoint = tmp_path / "parts/own-googlenet-8s.seed0.checkpoint"
    assert list((tmp_path / "parts").iterdir()) == [checkpoint]
    with pytest.raises(FileExistsError, match=r"checkpoint: exists; continue it with --resume"):
        fit("parts")
    other = tmp_path / "other"
    assert fit("other").weights.parent == other  # as the message says
    assert_same_net(fit("parts", resume=True), fit("whole"))
    assert not checkpoint.exists()


def other_names(root: Path) -> dict[str, object]:
    (root / "classes.txt").write_text("water\nsand\nrock\n")
    return {}


def other_labels(root: Path) -> dict[str, object]:
    relabel(root, lambda labels: np.array([1, 0, 2, *range(3, 256)])[labels], ["0"])
    return {}


def other_held_out_label(root: Path) -> dict[str, object]:
    held_out = Folder(root / "photos", root / "labels", root / "classes.txt", "val").names
    relabel(root, np.zeros_like, held_out)
    return {}


def other_colours(root: Path) -> dict[str, object]:
    """Maps in colours have other labels if two classes swap colours; no label file changes."""
    text = (root / "classes.txt").read_text()
    sky, land = ("#" + bytes(COLOURS[name]).hex() for name in ("sky", "land"))
    text = text.replace(sky, "#").replace(land, sky).replace("#\n", f"{land}\n")
    (root / "classes.txt").write_text(text)
    return {}


def other_val_list(root: Path) -> dict[str, object]:
    (root / "val.txt").write_text("3\n4\n")
    return {"val": root / "val.txt"}


def other_photo(root: Path) -> dict[str, object]:
    path = root / "photos/0.png"
    Image.fromarray(255 - np.array(Image.open(path))).save(path)
    return {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda root: {"start": "scratch"}, r"start was 'start\.safetensors' and is 'scratch'"),
        (lambda root: {"balance": 0.5}, r"recipe balance was 0\.0 and is 0\.5"),
        (lambda root: {"micro_batch": 2}, "recipe micro_batch was 0 and is 2"),
        (lambda root: {"side": 32}, "input size was 512 and is 32"),
        (lambda root: {"rate": 1e-5}, "recipe learning_rate was 0.0002 and is 1e-05"),
        (other_names, r"class names semantic was \('sky', 'land', 'post'\) and is \('water'"),
        (other_labels, "other images and labels"),
        (other_held_out_label, "other held-out images and labels"),
        (other_colours, r"class colours was \["),
        (other_val_list, "other list of images"),
        (other_photo, "other images and labels"),
    ],
)
def test_a_run_resumes_with_its_own_settings_only(fit, root, tmp_path, change, says):
    """A record never states what was not so."""
    with pytest.raises(Stopped):
        fit("parts", stop=True)
    shutil.copytree(root, tmp_path / "as it was")
    more = change(root)
    with pytest.raises(ValueError, match=f"checkpoint: from another run: .*{says}") as refusal:
        fit("parts", resume=True, **more)
    assert "\n" not in str(refusal.value)
    shutil.copytree(tmp_path / "as it was", root, dirs_exist_ok=True)
    fit("parts", resume=True)  # nothing is lost


def test_labels_read_otherwise_are_another_run(fit, root):
    """Whatever decodes them otherwise: here, the same files in colours, which swap classes."""
    palette = np.array([*COLOURS.values(), (0, 0, 0)], np.uint8)
    with (root / "classes.txt").open("a") as file:
        file.write("void #000000\n")
    relabel(root, lambda labels: palette[np.minimum(labels, 3)], [str(i) for i in range(12)])
    with pytest.raises(Stopped):
        fit("parts", stop=True)
    other_colours(root)
    with pytest.raises(ValueError, match="other labels as read"):
        fit("parts", resume=True)


def test_another_file_of_start_weights_is_another_run(fit, start, tmp_path):
    with pytest.raises(Stopped):
        fit("parts", stop=True)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / start.name
    net = models.load(start)
    net.mean += 1
    models.save(net, other, {})
    with pytest.raises(ValueError, match="from another run: other start weights;"):
        fit("parts", resume=True, start=other)


# Earlier runs


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_run_leaves_the_first_alone(cli, root, start):
    assert cli(*arguments(root, start))[0] == 0
    first = content(Path("out"))
    net, record = (f"own-googlenet-8s.seed0.{s}" for s in ("safetensors", "validation.json"))
    (root / "photos" / "0.png").write_bytes(b"unreadable, but not read")
    for more in ([], ["--rate", 1e-5], ["--resume"]):
        outcome = cli(*arguments(root, start, *more))
        refused(outcome, f"out/{record}: exists, from a finished run", "--out")
    left, lock = (Path("out", net).with_suffix(s) for s in (".checkpoint", ".lock"))
    for path in (left, lock):  # killed after the record was written
        path.touch()
    os.utime(left, (0, 0))
    refused(cli(*arguments(root, start, "--resume")), "from a finished run")
    assert content(Path("out")) == first
    left.touch()  # of a run that was begun anew: not ours to delete
    refused(cli(*arguments(root, start, "--resume")), "from a finished run")
    left.unlink()
    Path("out", record).unlink()  # a net without its record is somebody's net, too
    refused(cli(*arguments(root, start)), f"out/{net}: exists, from a finished run", "--out")
    Path("out", record).write_bytes(first[record])
    assert content(Path("out")) == first


def test_a_run_that_was_stopped_while_scoring_can_be_resumed(fit, tmp_path, monkeypatch):
    def stopped(*arguments: object, **more: object) -> None:
        raise Stopped("while scoring the images")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "evaluate", stopped)
        with pytest.raises(Stopped):
            fit("parts")
    assert (tmp_path / "parts/own-googlenet-8s.seed0.safetensors").is_file()
    with pytest.raises(FileExistsError, match="continue it with --resume"):
        fit("parts")
    assert fit("parts", resume=True).record.is_file()


# Photos to hold out


@pytest.mark.parametrize("listed", ["7\n3\n", "7.png\n3.png\n", "photos/7.png\nmine/3.png\n"])
def test_the_photos_of_a_list_are_held_out(root, tmp_path, listed):
    (tmp_path / "val.txt").write_text(listed)
    folder = Folder(root / "photos", root / "labels", root / "classes.txt")
    training, held_out = finetune.split(folder, tmp_path / "val.txt")
    assert held_out.names == ["3", "7"]
    assert training.names == sorted({str(i) for i in range(12)} - {"3", "7"})


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("listed", ["plage d'été", "photos/plage d'été.png"])
def test_a_name_is_found_in_both_forms_of_its_accents(root, tmp_path, listed, form):
    for folder in ("photos", "labels"):
        (root / folder / "3.png").rename(root / folder / "plage d'été.png")
    (tmp_path / "val.txt").write_text(unicodedata.normalize(form, listed), encoding="utf-8")
    folder = Folder(root / "photos", root / "labels", root / "classes.txt")
    assert finetune.split(folder, tmp_path / "val.txt")[1].names == ["plage d'été"]


def test_names_with_dots_are_not_cut(root, tmp_path):
    for folder in ("photos", "labels"):
        (root / folder / "3.png").rename(root / folder / "3.png.png")
    (tmp_path / "val.txt").write_text("3.png\n")
    folder = Folder(root / "photos", root / "labels", root / "classes.txt")
    assert finetune.split(folder, tmp_path / "val.txt")[1].names == ["3.png"]


def test_the_tenth_is_that_of_the_folder(root):
    files = (root / "photos", root / "labels", root / "classes.txt")
    parts = finetune.split(Folder(*files))
    for part, name in zip(parts, ("train", "val"), strict=True):
        same = Folder(*files, name)
        assert (part.names, part.contents, part.split) == (same.names, same.contents, name)


def test_one_photo_cannot_be_split(cli, root, start):
    for folder in ("photos", "labels"):
        for i in range(1, 12):
            (root / folder / f"{i}.png").unlink()
    refused(cli(*arguments(root, start)), root / "photos" / "0.png", "the only photo")


@pytest.mark.parametrize(
    ("listed", "parts"),
    [
        ("3\n33\n44\n", ["val.txt", "no photo 33, 44 (2 of 3 names)"]),
        ("3\n3.png\n", ["val.txt", "'3' is listed twice"]),
        ("", ["val.txt", "list of images is empty"]),
        ("\n".join(str(i) for i in range(12)), ["val.txt", "lists all photos"]),
    ],
)
def test_a_list_that_does_not_split_is_refused(cli, root, start, listed, parts):
    Path("val.txt").write_text(listed)
    refused(cli(*arguments(root, start, "--val-list", "val.txt")), *parts)
    assert not list(Path("out").iterdir())


def test_the_list_of_one_run_is_the_list_of_the_next(cli, root, start):
    code, out, _ = cli(*arguments(root, start))
    (name,) = Folder(root / "photos", root / "labels", root / "classes.txt", "val").names
    assert (code, f"held out: {name}\n" in out) == (0, True)
    written = Path("out", "own-googlenet-8s.seed0.held-out.txt")
    assert written.read_text() == f"{name}\n"
    more = ("--val-list", written, "--out", "again")
    code, out, _ = cli(*arguments(root, start, *more))
    assert (code, f"held out: {name}\n" in out) == (0, True)
    pair = [json.loads(path.read_text()) for path in sorted(Path().glob("*/*.validation.json"))]
    assert pair[0]["dataset"] == pair[1]["dataset"]
    assert pair[0]["heads"] == pair[1]["heads"]


def test_the_record_is_written_last(cli, root, start, monkeypatch):
    """A run that has a record is finished, and is not run again."""
    seen, write = [], records.write

    def seeing(written, results):
        seen.extend(sorted(path.suffix for path in results.iterdir()))
        return write(written, results)

    monkeypatch.setattr(pipeline.record, "write", seeing)
    assert cli(*arguments(root, start))[0] == 0
    assert seen == [".checkpoint", ".lock", ".safetensors", ".txt"]


def test_a_folder_is_held_out_whose_photos_have_the_same_names(cli, root, start):
    draw(root.parent / "more", 16)
    for folder in ("photos", "labels"):  # twelve photos under the names of the training photos
        for i in range(4, 16):
            path = root.parent / "more" / folder / f"{i}.png"
            path.rename(root.parent / "more" / folder / f"{i - 4}.png")
    more = root.parent / "more"
    # photos 8 to 11 of the first are photos 4 to 7 of the others
    held_out = ("--val-folders", more / "photos", more / "labels")
    outcome = cli(*arguments(root, start, *held_out))
    refused(outcome, more / "photos", root / "photos", "8 of 12 are among the training photos")
    for i in range(8):
        for folder in ("photos", "labels"):
            (more / folder / f"{i}.png").unlink()
    for i in range(8, 12):
        for folder in ("photos", "labels"):
            (more / folder / f"{i}.png").rename(more / folder / f"{i - 8}.png")
    code, out, err = cli(*arguments(root, start, *held_out))
    assert (code, err) == (0, "")
    assert "12 training photos, 4 held out" in out
    assert not Path("out", "own-googlenet-8s.seed0.held-out.txt").exists()


def test_a_folder_of_the_same_list_of_names_is_not_the_training_photos(cli, root, start):
    draw(root.parent / "all", 24)
    for folder in ("photos", "labels"):
        for i in range(12):
            (root.parent / "all" / folder / f"{i}.png").unlink()
            path = root.parent / "all" / folder / f"{12 + i}.png"
            path.rename(root.parent / "all" / folder / f"{i}.png")
    others = [root.parent / "all" / folder for folder in ("photos", "labels")]
    code, out, err = cli(*arguments(root, start, "--epochs", 1, "--val-folders", *others))
    assert (code, err) == (0, "")
    assert "12 training photos, 12 held out" in out


def test_a_held_out_twin_of_a_training_photo_is_named(cli, root, start):
    (name,) = Folder(root / "photos", root / "labels", root / "classes.txt", "val").names
    twin = "1" if name != "1" else "2"
    shutil.copy(root / "photos" / f"{name}.png", root / "photos" / f"{twin}.png")
    shutil.copy(root / "labels" / f"{name}.png", root / "labels" / f"{twin}.png")
    code, out, _ = cli(*arguments(root, start, "--epochs", 1))
    assert code == 0
    assert (
        f"{name}.png: held out, but the same photo as {root / 'photos' / twin}.png (1 of 1" in out
    )
    Path("val.txt").write_text(name)
    outcome = cli(*arguments(root, start, "--out", "other", "--val-list", "val.txt"))
    refused(outcome, "the same photo as", "take them out")


def test_one_way_to_hold_out(cli, root, start):
    more = ("--val-list", "val.txt", "--val-folders", root / "photos", root / "labels")
    refused(cli(*arguments(root, start, *more)), "--val-list and --val-folders")


# Nothing learned


def test_one_step_has_a_rate_and_learns(cli, root, start):
    code, out, err = cli(*arguments(root, start, "--epochs", 1, "--batch", 12))
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.startswith("step 1/1")]
    assert float(line.split("  rate ")[1].split()[0]) > 1e-4
    net = models.load("out/own-googlenet-8s.seed0.safetensors")
    assert all(head.score32.weight.any() for head in net.heads.values())


def test_an_untrained_net_is_not_saved_as_trained(cli, root, start):
    refused(cli(*arguments(root, start, "--rate", 0)), "--rate is 0")
    outcome = cli(*arguments(root, start, "--rate", 1e-12))
    refused(outcome, "not saved", "still zero after 11 steps", "higher rate")
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        ([[0, 5, 0], [0, 9, 0], [0, 0, 0]], "it finds 'land' everywhere after 3 steps"),
        ([[0, 5, 1], [0, 9, 0], [0, 0, 0]], ""),
        ([[0, 0, 0], [0, 9, 0], [0, 0, 0]], ""),  # nothing else is there
    ],
)
def test_a_net_that_finds_one_class_everywhere_is_said_to(
    cli, root, start, monkeypatch, matrix, said
):
    scored = {"semantic": ConfusionMatrix.from_matrix(matrix)}
    monkeypatch.setattr(pipeline, "evaluate", lambda *arguments, **more: scored)
    code, out, _ = cli(*arguments(root, start, "--epochs", 1))
    assert (code, said in out, "everywhere" in out) == (0, True, bool(said))


def test_class_weights_and_micro_batches_are_those_of_the_recipe(cli, root, start):
    assert cli(*arguments(root, start, "--balance", 0.5, "--micro-batch", 2))[0] == 0
    recipe = records.read(Path("out", "own-googlenet-8s.seed0.validation.json")).recipe
    assert (recipe["balance"], recipe["micro_batch"], recipe["batch_size"]) == (0.5, 2, 4)


# Parts


def test_the_trunk_is_copied_and_nothing_else(start):
    theirs = models.load(start)
    ours, initial = finetune.starting_net(start, 8, {"semantic": 3})
    assert (ours.settings["net"], ours.settings["stride"], ours.settings["width"]) == (
        "googlenet",
        8,
        0.1,
    )
    for name, tensor in theirs.trunk.state_dict().items():
        assert torch.equal(ours.trunk.state_dict()[name], tensor)
    assert torch.equal(ours.mean, theirs.mean)
    assert not any(parameter.any() for parameter in ours.heads.parameters())
    assert initial is not None
    assert initial.name == "start.safetensors"


def test_a_net_from_scratch_has_no_initial_weights():
    net, initial = finetune.starting_net("scratch", 32, {"semantic": 3})
    assert (net.settings["width"], net.settings["stride"], initial) == (1.0, 32, None)


def test_imagenet_weights_are_looked_for_where_they_lie(monkeypatch, tmp_path):
    monkeypatch.delenv("FCN_WEIGHTS", raising=False)
    with pytest.raises(FileNotFoundError, match="set FCN_WEIGHTS"):
        finetune.starting_net("imagenet", 8, {"semantic": 3})
    monkeypatch.setenv("FCN_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"bvlc_googlenet\.caffemodel"):
        finetune.starting_net("imagenet", 8, {"semantic": 3})


def test_the_census_counts_labelled_pixels(root):
    data = Folder(root / "photos", root / "labels", root / "classes.txt", "train")
    stored = np.concatenate(
        [np.array(Image.open(root / "labels" / f"{name}.png")).ravel() for name in data.names]
    )
    counted = pixels_per_class(data, print)["semantic"].tolist()
    assert counted == np.bincount(stored, minlength=256)[:3].tolist()


def test_the_table_of_the_classes_by_hand():
    matrix = ((6, 2, 0), (3, 1, 0), (0, 0, 0))
    metrics = records.Head.scored(("a", "b", "c"), ConfusionMatrix.from_matrix(matrix))
    table = finetune.FineTuned(Path("net"), Path("record"), metrics, (30, 10, 60)).per_class()
    assert table["% of training"].tolist() == [30, 10, 60]
    assert table["% of held-out"].tolist() == [66.7, 33.3, 0]
    assert table["accuracy"].tolist()[:2] == [75, 25]
    assert table["IU"].tolist()[:2] == [54.5, 16.7]  # 6 / 11 and 1 / 6
    assert math.isnan(table.loc["c", "accuracy"])
    assert math.isnan(table.loc["c", "IU"])
    assert table["most taken for"].tolist() == ["b", "a", ""]


@pytest.mark.parametrize(("device", "precision"), [("cpu", "32-true"), ("cuda", "bf16-mixed")])
def test_sixteen_bits_on_a_gpu_alone(root, start, tmp_path, monkeypatch, device, precision):
    plans = []

    def planned(net, training, scored, plan, **options):
        plans.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "resolve_device", lambda name: device)
    monkeypatch.setattr(finetune, "train_and_record", planned)
    files = root / "photos", root / "labels", root / "classes.txt"
    with pytest.raises(KeyboardInterrupt):
        finetune.fit(*files, start=start, epochs=3, batch_size=2, rate=1e-4, out=tmp_path)
    used = {"epochs": 3, "batch_size": 2, "learning_rate": 1e-4, "precision": precision}
    assert plans[0].recipe == asdict(TUNED) | used


# Mistakes


def relabel(root: Path, change: Callable[[np.ndarray], np.ndarray], names: list[str]) -> None:
    for name in names:
        path = root / "labels" / f"{name}.png"
        Image.fromarray(change(np.array(Image.open(path))).astype(np.uint8)).save(path)


def test_a_mask_of_0_and_255_is_not_taken_for_two_classes(cli, root, start):
    relabel(root, lambda labels: np.where(labels == 1, 255, labels), [str(i) for i in range(12)])
    refused(
        cli(*arguments(root, start)),
        "labels: only one class, sky",
        "11 training photos",
        "as 0 and 1",
    )
    assert not list(Path("out").iterdir())


def test_void_alone_leaves_nothing_to_learn_or_to_score(cli, root, start):
    held_out = Folder(root / "photos", root / "labels", root / "classes.txt", "val").names
    relabel(root, lambda labels: np.full_like(labels, 255), held_out)
    refused(cli(*arguments(root, start)), "no labelled pixel in the held-out photos")
    relabel(root, lambda labels: np.full_like(labels, 255), [str(i) for i in range(12)])
    refused(cli(*arguments(root, start)), "no labelled pixel in the 11 training photos")


def test_void_in_a_held_out_folder_is_said_of_that_folder(cli, root, start):
    draw(root.parent / "more", 13)
    labels = root.parent / "more" / "labels"
    for i in range(12):
        (root.parent / "more" / "photos" / f"{i}.png").unlink()
        (labels / f"{i}.png").unlink()
    path = labels / "12.png"
    Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)
    outcome = cli(*arguments(root, start, "--val-folders", labels.parent / "photos", labels))
    refused(outcome, f"{labels}: no labelled pixel", "(12)")


def test_too_little_memory_brings_options_of_this_command(cli, root, start, monkeypatch):
    def exhausted(*arguments: object, **more: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    monkeypatch.setattr(finetune, "fit", exhausted)
    refused(cli(*arguments(root, start)), "not enough memory", "--micro-batch or --side")


def test_commands_to_copy_have_quoted_paths(cli, root, start):
    code, out, _ = cli(*arguments(root, start, "--epochs", 0.5, "--out", "my  nets"))
    assert code == 0
    net = "'my  nets/own-googlenet-8s.seed0.safetensors'"
    assert out.endswith(f"try it: python -m fcn predict PHOTO --weights {net}\n")
    assert f"saved {net} and " in out
    refused(cli(*arguments(root, start, "--out", "my  nets")), "'my  nets/own-googlenet-8s.seed0")


def test_a_wrong_label_stops_before_the_training(cli, root, start):
    relabel(root, lambda labels: labels + (labels == 1) * 2, ["3"])
    outcome = cli(*arguments(root, start))
    refused(outcome, root / "labels" / "3.png", "label 3", "classes 0..2", "classes.txt")
    assert "step" not in outcome[1]


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--start", "imagnet"], ["--start imagnet", '"imagenet" or "scratch"']),
        (["--start", "none.safetensors"], ["none.safetensors: no such weight file"]),
        (["--stride", 4], ["unknown stride 4"]),
        (["--epochs", 0], ["epochs is 0"]),
        (["--batch", 0], ["batch_size is 0"]),
        (["--rate", 1e30], ["the loss is", "lower the rate"]),
        (["--side", 8], ["side is 8"]),
        (["--device", "tpu"], ["--device tpu"]),
        (["--balance", 2], ["balance is 2"]),
        (["--micro-batch", 3], ["micro_batch is 3: must divide the batch size, 4"]),
        (["--rate", -1], ["learning_rate is -1"]),
        (["--rate", "nan"], ["learning_rate is nan"]),
    ],
)
def test_a_wrong_option_is_named(cli, root, start, more, parts):
    refused(cli(*arguments(root, start, *more)), *parts)


def test_missing_folders_are_named(cli, root, start):
    for i, what in ((1, "photos"), (2, "label maps"), (3, "list of classes")):
        given = arguments(root, start)
        given[i] = root / "nowhere"
        refused(cli(*given), root / "nowhere", what)


def test_the_net_does_not_go_among_the_photos(cli, root, start):
    (root / "link").symlink_to(root / "labels")
    (root / "photos" / "0.png").write_bytes(b"unreadable, but not read")
    for among in ("photos", "labels", "link", "photos/runs/own", "link/../photos/a"):
        before = sorted(root.rglob("*"))
        refused(cli(*arguments(root, start, "--out", root / among)), root / among, "--out")
        assert sorted(root.rglob("*")) == before
    more = ("--val-folders", root / "photos", root / "link")
    refused(cli(*arguments(root, start, "--out", root / "link/x", *more)), root / "link/x", "--out")


def test_the_net_may_go_next_to_the_photos(root, start):
    finetune._check_outside(root, [root / "photos", root / "labels"])
    finetune._check_outside(root / "photos-runs", [root / "photos", root / "labels"])


def test_a_palette_of_other_classes_is_left_alone_and_a_broken_one_named(tmp_path):
    path = tmp_path / "odd.safetensors"
    net = FCN("googlenet", 32, heads={"semantic": 3}, width=0.1)
    about = {"classes": json.dumps({"semantic": list(COLOURS)})}
    models.save(net, path, about | {"palette": "[[1, 2, 3]]"})
    assert Segmenter(path).palette.shape == (3, 3)
    models.save(net, path, about | {"palette": "[[1, 2], [3]]"})
    with pytest.raises(ValueError, match=r"odd\.safetensors"):
        Segmenter(path)


# Figures


def test_the_figure_marks_what_is_wrong_and_nothing_void():
    labels = torch.tensor([[0, 0, 255, 1], [0, 1, 255, 1]])
    found = torch.tensor([[0, 1, 0, 1], [0, 1, 1, 0]])
    sample = Sample(torch.full((3, 2, 4), 200, dtype=torch.uint8), {"semantic": labels}, "x")
    palette = np.array([(1, 2, 3), (200, 100, 0)], np.uint8)
    drawn = figures.predictions([sample], [found], ["a", "b"], palette)
    pictures = [axes.images[0].get_array() for axes in drawn.axes]
    assert pictures[2][0, 1].tolist() == [200, 100, 0]
    red = pictures[3][..., 0] != pictures[3][..., 1]
    assert red.tolist() == [[False, True, False, False], [False, False, False, True]]
    plt.close(drawn)
