"""PASCAL VOC and SBD in their official layouts: reading, training, scoring, errors."""

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from fcn.data import registry
from fcn.data.sample import VOID, Sample, SegmentationDataset, validation_part
from fcn.data.sbd import Sbd
from fcn.data.voc import CLASSES, PALETTE, Voc, read_labels, split_names
from fcn.models import FCN
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training import evaluate, loop, recipe

SIZES = {"2007_000001": (40, 56), "2008_000002": (56, 40), "2011_000003": (48, 48)}  # height, width
NAMES = list(SIZES)
FCN_DATA = os.environ.get("FCN_DATA")
needs_voc = pytest.mark.skipif(
    not (FCN_DATA and (Path(FCN_DATA) / "pascal/VOCdevkit/VOC2012").is_dir()),
    reason="FCN_DATA names no folder with pascal/VOCdevkit/VOC2012",
)


def one_line(error: pytest.ExceptionInfo[Exception], *parts: object) -> None:
    assert "\n" not in str(error.value)
    for part in parts:
        assert str(part) in str(error.value)


def trained_and_scored(trained_on: SegmentationDataset, scored_on: SegmentationDataset) -> int:
    """One step of a tiny net, then its scores: the number of pixels in its confusion matrix."""
    torch.manual_seed(0)
    net = FCN("alexnet", 32, heads={h: len(c) for h, c in trained_on.heads.items()}, width=0.05)
    settings = recipe.Recipe(learning_rate=1e-3, epochs=1, batch_size=len(trained_on))
    done = loop.train(net, trained_on, settings, device="cpu", log=lambda line: None)
    assert done.step == 1
    assert 0 < done.curve[-1]["loss"] < 10
    return int(evaluate.evaluate(net, scored_on, device="cpu")["semantic"].matrix.sum())


def labels_of(name: str, *, void: bool = True) -> np.ndarray:
    rng = np.random.default_rng(NAMES.index(name))
    labels = rng.integers(0, 21, SIZES[name]).astype(np.uint8)
    if void:
        labels[:, :5] = VOID
    return labels


def photo_of(name: str) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(9).integers(0, 256, (*SIZES[name], 3)).astype(np.uint8)
    )


def write_list(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of data sets with a tiny VOC 2012, a VOC 2011 without photos, and an SBD."""
    years = tmp_path / "pascal" / "VOCdevkit"
    voc, earlier, sbd = (
        years / "VOC2012",
        years / "VOC2011",
        tmp_path / "sbd/benchmark_RELEASE/dataset",
    )
    for folder in (
        voc / "JPEGImages",
        voc / "SegmentationClass",
        earlier / "SegmentationClass",
        sbd / "img",
        sbd / "cls",
    ):
        folder.mkdir(parents=True)
    for name in NAMES:
        photo_of(name).save(voc / "JPEGImages" / f"{name}.jpg")
        photo_of(name).save(sbd / "img" / f"{name}.jpg")
        for root in (voc, earlier):
            map_ = Image.fromarray(labels_of(name)).convert("P")
            map_.putdata(labels_of(name).ravel().tolist())
            map_.putpalette(PALETTE.ravel().tolist() + [0] * (3 * 234) + [224, 224, 192])
            map_.save(root / "SegmentationClass" / f"{name}.png")
        struct = {
            "Segmentation": labels_of(name, void=False),
            "Boundaries": np.zeros(1),
            "CategoriesPresent": [1],
        }
        scipy.io.savemat(sbd / "cls" / f"{name}.mat", {"GTcls": struct})
    for root in (voc, earlier):
        lists = root / "ImageSets" / "Segmentation"
        for split, names in {
            "train": NAMES[:2],
            "val": NAMES[2:],
            "trainval": NAMES,
            "own": NAMES[::-1],
        }.items():
            write_list(lists / f"{split}.txt", names)
    write_list(sbd / "train.txt", NAMES[:2])
    write_list(sbd / "val.txt", NAMES[2:])
    return tmp_path


@pytest.fixture
def voc(data: Path) -> Path:
    return data / "pascal/VOCdevkit/VOC2012"


@pytest.fixture
def sbd(data: Path) -> Path:
    return data / "sbd/benchmark_RELEASE/dataset"


def checked(sample: Sample, name: str, *, void: bool) -> None:
    assert sample.name == name
    assert (sample.image.dtype, sample.image.shape) == (torch.uint8, (3, *SIZES[name]))
    assert sample.labels["semantic"].dtype == torch.int64
    np.testing.assert_array_equal(sample.labels["semantic"], labels_of(name, void=void))


def test_reads_voc_at_its_own_sizes_with_void(voc: Path) -> None:
    dataset = Voc(voc, "trainval")
    assert (dataset.name, dataset.split, dataset.names, len(dataset)) == (
        "voc",
        "trainval",
        NAMES,
        3,
    )
    assert dataset.heads == {"semantic": CLASSES}
    for i, name in enumerate(NAMES):
        checked(dataset[i], name, void=True)
    assert Voc(voc, "own").names == NAMES[::-1]
    assert Voc(voc, "own").checksum != dataset.checksum
    assert Voc(voc, names=NAMES[1:]).names == NAMES[1:]


def test_a_year_without_photos_takes_those_of_2012(voc: Path) -> None:
    checked(Voc(voc.parent / "VOC2011", "val")[0], NAMES[2], void=True)


def test_reads_sbd_which_has_no_void(sbd: Path) -> None:
    assert Sbd(sbd, "val").names == NAMES[2:]
    dataset = Sbd(sbd)
    assert (dataset.name, dataset.split, dataset.names) == ("sbd", "train", NAMES[:2])
    for i, name in enumerate(dataset.names):
        checked(dataset[i], name, void=False)


def test_a_net_learns_from_sbd_and_is_scored_on_voc(voc: Path, sbd: Path) -> None:
    scored = Voc(voc, "val")
    assert trained_and_scored(Sbd(sbd), scored) == 48 * (48 - 5)


def test_the_colours_of_voc() -> None:
    # aeroplane, bicycle, person and tvmonitor, as the development kit shows them
    named = dict(zip(CLASSES, PALETTE.tolist(), strict=True))
    assert (named["background"], named["aeroplane"]) == ([0, 0, 0], [128, 0, 0])
    assert (named["bicycle"], named["person"]) == ([0, 128, 0], [192, 128, 128])
    assert named["tvmonitor"] == [0, 64, 128]
    assert len({tuple(colour) for colour in PALETTE.tolist()}) == len(CLASSES) == 21


def test_seg11valid_is_shipped(voc: Path) -> None:
    names = split_names(voc, "seg11valid")
    assert len(names) == len(set(names)) == 736
    assert names == sorted(names)


# -------------------------------------------------------------------------- data sets by their name


def test_the_data_sets_of_the_catalogue_are_known() -> None:
    assert {experiment.dataset for experiment in EXPERIMENTS.values()} <= set(registry.DATASETS)


def test_voc_of_the_catalogue_is_sbd_and_seg11valid(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = data / "seg11valid.txt"
    write_list(shipped, NAMES[2:])
    monkeypatch.setattr("fcn.data.voc.SEG11VALID", shipped)
    trained, scored = (
        registry.dataset("voc", "trainval", data),
        registry.dataset("voc", "test", data),
    )
    assert (trained.name, trained.names, scored.name, scored.names) == (
        "sbd",
        NAMES[:2],
        "voc",
        NAMES[2:],
    )
    assert registry.dataset("voc2011", "trainval", data).names == NAMES[:2]
    assert registry.dataset("voc2011", "test", data).names == NAMES[2:]


def test_what_is_held_out_of_the_training_images(data: Path, sbd: Path) -> None:
    many = [f"photo{i}" for i in range(25)]
    for name in many:
        photo_of(NAMES[0]).save(sbd / "img" / f"{name}.jpg")
        (sbd / "cls" / f"{name}.mat").touch()
    write_list(sbd / "train.txt", many)
    train, val = (registry.dataset("voc", split, data) for split in ("train", "val"))
    assert set(val.names) == validation_part(many) == validation_part(many[::-1])
    assert len(val) == 2
    assert sorted(train.names + val.names) == sorted(many)
    assert train.split != val.split


# ----------------------------------------------------------------------------------- what is broken


def test_splits_and_folders_that_are_not_there(voc: Path, sbd: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        Voc(voc, "testing")
    one_line(error, "testing.txt", "own, seg11valid, train, trainval, val")
    with pytest.raises(ValueError, match="SBD has no split 'trainval'") as error:
        Sbd(sbd, "trainval")
    one_line(error, "train, val")
    for make in (Voc, Sbd):
        with pytest.raises(FileNotFoundError) as error:
            make(voc / "nowhere")
        one_line(error, "nowhere", "FCN_DATA")


def test_files_that_are_missing(voc: Path, sbd: Path) -> None:
    for folder, suffix, make in (
        (voc / "JPEGImages", ".jpg", lambda: Voc(voc)),
        (sbd / "cls", ".mat", lambda: Sbd(sbd)),
        (voc / "SegmentationClass", ".png", lambda: Voc(voc)),
    ):
        file = folder / f"{NAMES[0]}{suffix}"
        kept = file.read_bytes()
        file.unlink()
        with pytest.raises(FileNotFoundError, match="1 of 2") as error:
            make()
        one_line(error, file)
        file.write_bytes(kept)


def test_label_maps_that_are_none(voc: Path, sbd: Path) -> None:
    file = voc / "SegmentationClass" / f"{NAMES[0]}.png"
    whole = file.read_bytes()
    for content, reason in (
        (whole[: len(whole) // 2], "cannot be read as a label map"),
        (b"", "cannot be read"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=reason) as error:
            Voc(voc)[0]
        one_line(error, file)
    photo_of(NAMES[0]).save(file)
    with pytest.raises(ValueError, match="colours") as error:
        Voc(voc)[0]
    one_line(error, file)
    Image.fromarray(np.full(SIZES[NAMES[0]], 21, np.uint8)).save(file)
    with pytest.raises(ValueError, match=r"label 21 .* 0\.\.20") as error:
        Voc(voc)[0]
    one_line(error, file)
    Image.fromarray(labels_of(NAMES[1])).save(file)
    with pytest.raises(ValueError, match="56 x 40 but its photo is 40 x 56") as error:
        Voc(voc)[0]
    one_line(error, file)
    file = sbd / "cls" / f"{NAMES[0]}.mat"
    for stored, reason in (
        ({"GTinst": 1}, "no variable GTcls"),
        ({"GTcls": {"Other": 1}}, "no Segmentation"),
    ):
        scipy.io.savemat(file, stored)
        with pytest.raises(ValueError, match=reason) as error:
            Sbd(sbd)[0]
        one_line(error, file)


# ------------------------------------------------------------------------------------ the real data


@needs_voc
def test_the_real_voc_has_the_published_counts() -> None:
    root = Path(str(FCN_DATA)) / "pascal/VOCdevkit/VOC2012"
    lists = {
        split: split_names(root, split) for split in ("train", "val", "trainval", "seg11valid")
    }
    assert {split: len(names) for split, names in lists.items()} == {
        "train": 1464,
        "val": 1449,
        "trainval": 2913,
        "seg11valid": 736,
    }
    assert set(lists["train"]) | set(lists["val"]) == set(lists["trainval"])
    assert set(lists["seg11valid"]) <= set(lists["val"])
    counts = sum(
        torch.bincount(read_labels(root, n).flatten(), minlength=256)
        for n in lists["seg11valid"][::24]
    )
    assert int(counts[21:VOID].sum()) == 0
    assert 0.03 < counts[VOID] / counts.sum() < 0.08  # outlines
    assert 0.6 < counts[0] / counts.sum() < 0.85


@needs_voc
def test_the_part_of_the_real_voc_that_has_photos() -> None:
    root = Path(str(FCN_DATA)) / "pascal/VOCdevkit/VOC2012"
    if not (root / "ImageSets/Segmentation/train_with_photos.txt").is_file():
        pytest.skip("no list train_with_photos: a whole VOC 2012 has all photos")
    trained, scored = (
        registry.dataset("voc-subset", split, Path(str(FCN_DATA))) for split in ("trainval", "test")
    )
    assert (len(trained), len(scored)) == (437, 445)
    assert not set(trained.names) & set(scored.names)
    assert len({scored[i].image.shape for i in range(0, 445, 60)}) > 1
    with pytest.raises(FileNotFoundError, match="736 are missing"):
        Voc(root, "seg11valid")
