"""NYUDv2 and PASCAL-Context in their official layouts: reading, training, scoring, errors."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from fcn.data import nyud, pascal_context, registry
from fcn.data.nyud import Nyud
from fcn.data.pascal_context import ALL, PascalContext, task_of_all
from fcn.data.sample import VOID, SegmentationDataset
from fcn.models import FCN
from fcn.preprocessing import MEAN_LOG_DEPTH
from fcn.training import evaluate, loop, recipe

SIZE = (44, 52)  # height, width
NAMES = ["5001", "5002", "6003"]
PHOTOS = ["2008_000001", "2009_000002", "2010_000003"]


def one_line(error: pytest.ExceptionInfo[Exception], *parts: object) -> None:
    assert "\n" not in str(error.value)
    for part in parts:
        assert str(part) in str(error.value)


def trained_and_scored(dataset: SegmentationDataset) -> int:
    """One step of a tiny net, then its scores: the number of pixels in its confusion matrix."""
    torch.manual_seed(0)
    net = FCN("alexnet", 32, heads={h: len(c) for h, c in dataset.heads.items()}, width=0.05)
    settings = recipe.Recipe(learning_rate=1e-3, epochs=1, batch_size=len(dataset))
    assert loop.train(net, dataset, settings, device="cpu", log=lambda line: None).step == 1
    return int(evaluate.evaluate(net, dataset, device="cpu")["semantic"].matrix.sum())


def drawn(seed: int, low: int, high: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (*SIZE, *channels))


# ------------------------------------------------------------------------------------------- NYUDv2


@pytest.fixture
def indoors(tmp_path: Path) -> Path:
    root = tmp_path / "nyud"
    for part in ("data/images", "data/hha", "data/depth", "segmentation"):
        (root / part).mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.fromarray(drawn(i, 0, 256, 3).astype(np.uint8)).save(
            root / f"data/images/img_{name}.png"
        )
        Image.fromarray(drawn(10 + i, 0, 256, 3).astype(np.uint8)).save(
            root / f"data/hha/img_{name}.png"
        )
        Image.fromarray(drawn(20 + i, 0, 9000).astype(np.uint16)).save(
            root / f"data/depth/img_{name}.png"
        )
        labels = drawn(30 + i, 0, 41).astype(np.uint8)
        scipy.io.savemat(root / f"segmentation/img_{name}.mat", {"segmentation": labels})
    return root


def test_nyud_reads_photos_and_labels(indoors: Path) -> None:
    dataset = Nyud(indoors, "test", names=NAMES)
    assert (dataset.name, dataset.split, dataset.names, len(dataset)) == ("nyud", "test", NAMES, 3)
    for i, sample in enumerate(dataset[k] for k in range(3)):
        assert (sample.name, sample.image.dtype) == (NAMES[i], torch.uint8)
        np.testing.assert_array_equal(sample.image.permute(1, 2, 0), drawn(i, 0, 256, 3))
        stored = drawn(30 + i, 0, 41)
        assert sample.labels["semantic"].dtype == torch.int64
        np.testing.assert_array_equal(
            sample.labels["semantic"], np.where(stored == 0, VOID, stored - 1)
        )


def test_nyud_gives_what_each_net_of_table_4_is_given(indoors: Path) -> None:
    photo, hha = (torch.from_numpy(drawn(seed, 0, 256, 3)).permute(2, 0, 1) for seed in (0, 10))
    images = {inputs: Nyud(indoors, inputs=inputs, names=NAMES)[0].image for inputs in nyud.INPUTS}
    assert torch.equal(images["hha"].long(), hha)
    assert torch.equal(images["rgb-hha"].long(), torch.cat([photo, hha]))
    assert [images[inputs].dtype for inputs in ("hha", "rgb-hha", "rgbd")] == [
        torch.uint8,
        torch.uint8,
        torch.float32,
    ]
    assert torch.equal(images["rgbd"][:3].long(), photo)
    depth = drawn(20, 0, 9000)
    assert (depth == 0).any() or depth.min() < 50
    np.testing.assert_allclose(images["rgbd"][3][depth > 0], np.log(depth[depth > 0]), rtol=1e-6)


def test_depth_that_was_not_measured_is_the_mean(indoors: Path) -> None:
    depth = drawn(20, 1, 9000).astype(np.uint16)
    depth[3, 4] = 0
    Image.fromarray(depth).save(indoors / f"data/depth/img_{NAMES[0]}.png")
    image = Nyud(indoors, inputs="rgbd", names=NAMES)[0].image
    assert image[3, 3, 4].item() == pytest.approx(MEAN_LOG_DEPTH)
    assert torch.isfinite(image).all()


@pytest.mark.parametrize("inputs", ["rgb", "hha"])
def test_a_net_learns_from_nyud(indoors: Path, inputs: str) -> None:
    labelled = sum(int((drawn(30 + i, 0, 41) > 0).sum()) for i in range(3))
    assert trained_and_scored(Nyud(indoors, inputs=inputs, names=NAMES)) == labelled


def test_the_shipped_lists_of_nyud() -> None:
    lists = {split: nyud.split_names(split) for split in nyud.SPLITS}
    assert {split: len(names) for split, names in lists.items()} == {
        "trainval": 795,
        "train": 381,
        "val": 414,
        "test": 654,
    }
    assert lists["trainval"] == lists["train"] + lists["val"]
    assert len({*lists["trainval"], *lists["test"]}) == 1449
    assert len(nyud.CLASSES) == len(nyud.PALETTE) == 40


def test_nyud_of_the_catalogue(indoors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        nyud, "split_names", lambda split, root: NAMES[:2] if split == "trainval" else NAMES[2:]
    )
    for inputs, channels in (("rgb", 3), ("hha", 3), ("rgbd", 4), ("rgb-hha", 6)):
        trained = registry.dataset(f"nyud-{inputs}", "trainval", indoors.parent)
        assert (len(trained), trained[0].image.shape) == (2, (channels, *SIZE))
        assert registry.dataset(f"nyud-{inputs}", "test", indoors.parent).names == NAMES[2:]


def test_nyud_that_is_broken(indoors: Path) -> None:
    with pytest.raises(ValueError, match="no split 'all'"):
        Nyud(indoors, "all")
    with pytest.raises(ValueError, match="no inputs 'depth'") as error:
        Nyud(indoors, inputs="depth")
    one_line(error, "rgb, hha, rgbd, rgb-hha")
    with pytest.raises(FileNotFoundError, match="795 are missing") as error:
        Nyud(indoors)
    one_line(error, "img_5449.png")
    labels = indoors / f"segmentation/img_{NAMES[0]}.mat"
    scipy.io.savemat(labels, {"segmentation": np.full(SIZE, 41)})
    with pytest.raises(ValueError, match="label 40 at row 0") as error:
        Nyud(indoors, names=NAMES)[0]
    one_line(error, labels)
    hha = indoors / f"data/hha/img_{NAMES[1]}.png"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(hha)
    with pytest.raises(ValueError, match="44 x 52 and 9 x 9") as error:
        Nyud(indoors, inputs="rgb-hha", names=NAMES)[1]
    one_line(error, f"img_{NAMES[1]}")
    depth = indoors / f"data/depth/img_{NAMES[2]}.png"
    for content in (b"", hha.read_bytes()):
        depth.write_bytes(content)
        with pytest.raises(ValueError, match="depth image") as error:
            Nyud(indoors, inputs="rgbd", names=NAMES)[2]
        one_line(error, depth)


# ----------------------------------------------------------------------------------- PASCAL-Context


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root, voc = tmp_path / "pascal-context", tmp_path / "pascal/VOCdevkit/VOC2010"
    for folder in (
        root / "trainval",
        root / "33_context_labels",
        voc / "JPEGImages",
        voc / "ImageSets/Main",
    ):
        folder.mkdir(parents=True)
    for i, name in enumerate(PHOTOS):
        Image.fromarray(drawn(i, 0, 256, 3).astype(np.uint8)).save(
            voc / "JPEGImages" / f"{name}.jpg"
        )
        scipy.io.savemat(
            root / "trainval" / f"{name}.mat", {"LabelMap": drawn(40 + i, 0, 460).astype(np.uint16)}
        )
        Image.fromarray(drawn(50 + i, 0, 34).astype(np.uint8)).save(
            root / "33_context_labels" / f"{name}.png"
        )
    (voc / "ImageSets/Main/train.txt").write_text("\n".join(PHOTOS[:2]) + "\n")
    (voc / "ImageSets/Main/val.txt").write_text(PHOTOS[2] + "\n")
    return root


def test_the_lists_of_classes() -> None:
    tasks = pascal_context.CLASSES
    assert (len(ALL), len(set(ALL)), len(tasks[59]), len(tasks[33])) == (459, 459, 59, 33)
    assert set(tasks[33]) <= set(tasks[59])
    assert (ALL[0], ALL[1], ALL[458], tasks[59][0], tasks[59][58]) == (
        "accordion",
        "aeroplane",
        "wool",
        "aeroplane",
        "wood",
    )


@pytest.mark.parametrize("task", [59, 33])
def test_classes_are_found_among_all_by_name_where_names_clash_too(task: int) -> None:
    labels = task_of_all(task)
    assert sorted(labels[labels > 0]) == list(
        range(1, task + 1)
    )  # each class has exactly one label
    assert labels[0] == 0
    of = {name: labels[1 + i] for i, name in enumerate(ALL)}
    names = ("background", *pascal_context.CLASSES[task])
    assert names[of["table"]] == "diningtable"
    assert names[of["pool table"]] == "background"
    assert names[of["sky"]] == "sky"
    if task == 59:
        assert names[of["cloth"]] == "clothes"
        assert names[of["bedclothes"]] == "bedcloth"
        assert names[of["keyboard"]] == "keyboard"
    renamed = set(pascal_context.SAME.values())
    assert all(
        names[label] in ("background", name) for name, label in of.items() if name not in renamed
    )


def test_context_of_59_with_background_as_a_class_or_void(context: Path) -> None:
    dataset = PascalContext(context)
    assert (dataset.names, dataset.split, dataset.labels_are_derived) == (PHOTOS[:2], "train", True)
    classes = dataset.heads["semantic"]
    assert (len(classes), classes[0], classes[1]) == (60, "background", "aeroplane")
    bare = PascalContext(context, background=False)
    assert bare.heads["semantic"] == classes[1:]
    for i in range(2):
        stored = drawn(40 + i, 0, 460)
        labels = dataset[i].labels["semantic"]
        assert labels.dtype == torch.int64
        for name, stored_as in (
            ("sky", "sky"),
            ("clothes", "cloth"),
            ("diningtable", "table"),
            ("wood", "wood"),
        ):
            assert torch.equal(
                labels == classes.index(name), torch.from_numpy(stored == 1 + ALL.index(stored_as))
            )
        without = bare[i].labels["semantic"]
        assert torch.equal(without == VOID, labels == 0)
        assert torch.equal(without[labels > 0], labels[labels > 0] - 1)


def test_context_of_33_as_published_or_picked_by_name(context: Path) -> None:
    published = PascalContext(context, "val", 33)
    assert not published.labels_are_derived
    np.testing.assert_array_equal(published[0].labels["semantic"], drawn(52, 0, 34))
    (context / "33_context_labels").rename(context / "elsewhere")
    derived = PascalContext(context, "val", 33)
    assert derived.labels_are_derived
    np.testing.assert_array_equal(derived[0].labels["semantic"], task_of_all(33)[drawn(42, 0, 460)])


def test_a_net_learns_from_context(context: Path) -> None:
    assert trained_and_scored(PascalContext(context)) == 2 * SIZE[0] * SIZE[1]


def test_context_of_the_catalogue(context: Path) -> None:
    for task in (59, 33):
        trained, scored = (
            registry.dataset(f"pascal-context-{task}", s, context.parent)
            for s in ("trainval", "test")
        )
        assert (trained.names, scored.names) == (PHOTOS[:2], PHOTOS[2:])
        assert len(trained.heads["semantic"]) == task + 1


def test_context_that_is_broken(context: Path) -> None:
    with pytest.raises(ValueError, match="no task of 60 classes"):
        PascalContext(context, task=60)
    with pytest.raises(ValueError, match="no split 'test'"):
        PascalContext(context, "test")
    with pytest.raises(FileNotFoundError) as error:
        PascalContext(context, voc=context / "VOC2010")
    one_line(error, "VOC2010")
    file = context / "trainval" / f"{PHOTOS[0]}.mat"
    scipy.io.savemat(file, {"LabelMap": np.full(SIZE, 460)})
    with pytest.raises(ValueError, match=r"outside 0\.\.459") as error:
        PascalContext(context)[0]
    one_line(error, file)
    scipy.io.savemat(file, {"LabelMap": np.ones((3, 4))})
    with pytest.raises(ValueError, match="3 x 4 but its photo is 44 x 52"):
        PascalContext(context)[0]
    file.unlink()
    with pytest.raises(FileNotFoundError, match="1 of 2") as error:
        PascalContext(context)
    one_line(error, file)
