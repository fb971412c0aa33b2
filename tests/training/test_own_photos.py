"""Scores of a saved net on your own photos: ``fcn evaluate PHOTOS LABELS CLASSES``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import test_cli
import test_finetune
import torch
from PIL import Image

from fcn import models
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN
from fcn.training import own_photos
from fcn.training.record import Head

cli = test_cli.cli  # the fixture
refused = test_cli.refused
root = test_finetune.root  # the fixture
NAMES = ("sky", "land", "post")


def saved(path: Path, heads: dict[str, tuple[str, ...]], **about: str) -> Path:
    """A narrow net with random score layers, so that it finds several classes."""
    torch.manual_seed(3)
    sizes = {head: len(names) for head, names in heads.items()}
    net = FCN("googlenet", 16, heads=sizes, upsampling="interpolate", width=0.1)
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    models.save(net, path, {"classes": json.dumps(heads)} | about)
    return path


@pytest.fixture
def net(tmp_path) -> Path:
    return saved(tmp_path / "net.safetensors", {"semantic": NAMES})


def command(root: Path, weights: Path, *more: object) -> list[object]:
    files = (root / "photos", root / "labels", root / "classes.txt")
    return ["evaluate", *files, "--weights", weights, "--device", "cpu", *more]


def scores(outcome: tuple[int, str, str]) -> dict:
    """The JSON on stdout: one object and nothing else."""
    code, out, err = outcome
    assert code == 0, err
    return json.loads(out)["heads"]["semantic"]


def test_the_held_out_score_of_a_run_is_scored_again(cli, root, net):
    """A net remembers the size of its photos."""
    Path("val.txt").write_text("3\n8\n")
    more = ("--side", 36, "--val-list", "val.txt")
    assert cli(*test_finetune.arguments(root, net, *more))[0] == 0
    held_out = root.parent / "held out"
    for folder in ("photos", "labels"):
        (held_out / folder).mkdir(parents=True)
        for name in ("3.png", "8.png"):
            shutil.copy(root / folder / name, held_out / folder)
    shutil.copy(root / "classes.txt", held_out)
    (record,) = (json.loads(path.read_text()) for path in Path("out").glob("*.json"))
    weights = Path("out/own-googlenet-8s.seed0.safetensors")
    assert scores(cli(*command(held_out, weights, "--json"))) == record["heads"]["semantic"]
    other = scores(cli(*command(held_out, weights, "--json", "--side", 512)))
    assert np.sum(other["confusion_matrix"]) > np.sum(
        record["heads"]["semantic"]["confusion_matrix"]
    )


def test_the_table_by_class_and_the_json_agree(cli, root, net):
    code, out, err = cli(*command(root, net))
    assert (code, err) == (0, "")
    found = scores(cli(*command(root, net, "--json")))
    assert found["classes"] == list(NAMES)
    assert f"semantic: pixel acc. {found['metrics']['pixel_accuracy']:.2f}  mean acc." in out
    (sky,) = [line.split() for line in out.splitlines() if line.startswith("sky")]
    matrix = np.array(found["confusion_matrix"])
    assert float(sky[1]) == pytest.approx(100 * matrix[0].sum() / matrix.sum(), abs=0.051)
    assert float(sky[2]) == pytest.approx(100 * matrix[0, 0] / matrix[0].sum(), abs=0.051)
    assert float(sky[3]) == pytest.approx(found["iu_per_class"][0], abs=0.051)
    assert sky[4] == NAMES[int((matrix[0] * [0, 1, 1]).argmax())]
    assert "scoring 12 photos, longer side at most 512 pixels" in out


def test_classes_in_another_order_are_matched_by_name(cli, root, net):
    before = scores(cli(*command(root, net, "--json")))
    lines = (root / "classes.txt").read_text().splitlines()
    (root / "classes.txt").write_text("\n".join([lines[2], lines[0], lines[1]]))
    test_finetune.relabel(root, lambda y: np.where(y == 255, y, y + 1), [str(i) for i in range(12)])
    outcome = cli(*command(root, net, "--json"))
    assert scores(outcome) == before
    assert "classes.txt: another order than the net's; classes are matched by name" in outcome[2]


def test_a_net_may_have_more_classes(cli, root, tmp_path):
    names = ("road", "land", "post", "sky")
    path = saved(tmp_path / "more.safetensors", {"semantic": names})
    outcome = cli(*command(root, path, "--json"))
    found = scores(outcome)
    assert "1 of the net's 4 classes are not in" in outcome[2]
    assert (found["classes"], found["classes_counted"]) == (list(names), 2)
    assert not any(found["confusion_matrix"][0])
    assert found["iu_per_class"][0] is None


def test_the_head_with_these_classes_is_scored(cli, root, tmp_path):
    heads = {"other": ("a", "b"), "semantic": NAMES}
    found = scores(cli(*command(root, saved(tmp_path / "two.safetensors", heads), "--json")))
    assert found["classes"] == list(NAMES)
    assert sum(map(sum, found["confusion_matrix"])) > 0


def test_names_are_equal_however_their_accents_are_stored(cli, root, tmp_path):
    path = saved(tmp_path / "cafe.safetensors", {"semantic": ("sky", "caf\u00e9", "post")})
    (root / "classes.txt").write_text("sky\ncafe\u0301\npost\n", encoding="utf-8")
    assert scores(cli(*command(root, path, "--json")))["classes"][1] == "caf\u00e9"


@pytest.mark.parametrize(
    ("listed", "parts"),
    [
        ("sky\nLand\nposts\n", ["no class 'Land' (it has 'land'), 'posts'", "sky, land, post"]),
        ("sky\nland\npost\ncar\n", ["classes.txt", "no class 'car'"]),
    ],
)
def test_classes_that_the_net_lacks_are_refused(cli, root, net, listed, parts):
    (root / "classes.txt").write_text(listed)
    refused(cli(*command(root, net)), net, *parts)


def test_what_cannot_be_scored_is_refused(cli, root, net, tmp_path):
    nameless = tmp_path / "nameless.safetensors"
    models.save(models.load(net), nameless, {})
    refused(cli(*command(root, nameless)), nameless, "does not name its classes", "fcn fit")
    short = saved(tmp_path / "short.safetensors", {"semantic": NAMES}, classes='{"semantic": []}')
    refused(cli(*command(root, short)), short, "does not name its classes")
    refused(cli(*command(root, tmp_path / "none.safetensors")), "none.safetensors", "no such")
    for other in ("net.onnx", "voc-fcn8s-heavy.caffemodel"):
        refused(cli(*command(root, other)), f"{other}: give the .safetensors file")
    hha = tmp_path / "hha.safetensors"
    about = {"classes": json.dumps({"semantic": NAMES})}
    models.save(FCN("googlenet", 32, heads={"semantic": 3}, inputs="hha", width=0.1), hha, about)
    refused(cli(*command(root, hha)), hha, "a net for HHA")
    for path in (root / "labels").iterdir():
        Image.fromarray(np.full_like(np.array(Image.open(path)), 255)).save(path)
    refused(cli(*command(root, net)), root / "labels", "no labelled pixel")


def test_the_arguments_say_what_is_scored(cli, root, net):
    weights = ("--weights", net)
    refused(cli("evaluate", root / "photos", root / "labels", *weights), "not 2 names")
    refused(cli(*command(root, net, "--validation")), "--validation: only for experiments")
    refused(cli(*command(root, net, "--data", root)), "--data: only for experiments")
    refused(cli("evaluate", "voc-vgg16-8s", *weights, "--side", 64), "--side: only for your own")
    refused(cli("evaluate", "own-googlenet-8s", *weights), "PHOTOS LABELS CLASSES")


def test_a_bad_label_map_is_named(cli, root, net):
    test_finetune.relabel(root, lambda labels: labels + (labels == 1) * 2, ["3"])
    refused(cli(*command(root, net)), root / "labels" / "3.png", "label 3")


def test_files_are_checked_after_the_classes_and_before_the_first_is_scored(cli, root, net):
    for name in ("3", "8"):
        (root / "labels" / f"{name}.png").write_bytes(b"damaged")
    code, _, err = cli(*command(root, net))
    assert code == 2
    assert all(f"{root / 'labels' / name}.png" in err for name in ("3", "8"))
    (root / "classes.txt").write_text("sky\nland\ncar\n")
    refused(cli(*command(root, net)), "no class 'car'")


def test_the_table_of_a_confusion_matrix_by_hand():
    matrix = ((6, 2, 0), (3, 1, 0), (0, 0, 0))
    table = own_photos.per_class(Head.scored(NAMES, ConfusionMatrix.from_matrix(matrix)))
    assert table.columns.tolist() == ["% of pixels", "accuracy", "IU", "most taken for"]
    assert table["% of pixels"].tolist() == [66.7, 33.3, 0]
