"""SIFT Flow on disk, errors for broken files, photos of all formats, and augmentation."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from fcn.data import sift_flow
from fcn.data.augment import AUGMENTATIONS, GREY, Compose, RandomShift, augmentation
from fcn.data.reading import checked_labels, read_list, read_photo
from fcn.data.sample import VOID, Sample, list_checksum
from fcn.data.sift_flow import COLLECTION, GEOMETRIC, SEMANTIC, SiftFlow, split_names

SIZE = (12, 16)
NAMES = ["coast_a1", "street_b2", "forest_c3"]
FCN_DATA = os.environ.get("FCN_DATA")
needs_data = pytest.mark.skipif(
    not (FCN_DATA and (Path(FCN_DATA) / "sift-flow").is_dir()),
    reason="FCN_DATA names no folder with sift-flow",
)


def one_line(error: pytest.ExceptionInfo[Exception], *parts: object) -> None:
    """The message is one line and contains all parts."""
    assert "\n" not in str(error.value)
    for part in parts:
        assert str(part) in str(error.value)


# -------------------------------------------------------------------------- SIFT Flow, as published


def stored_labels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 34, SIZE).astype(np.uint8)


def write_sift_flow(root: Path, *, geometric: bool) -> Path:
    for folder in ("Images", "SemanticLabels", *(["GeoLabels"] if geometric else [])):
        (root / folder / COLLECTION).mkdir(parents=True)
    for i, name in enumerate(NAMES):
        photo = np.random.default_rng(i).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(photo).save(root / "Images" / COLLECTION / f"{name}.jpg", quality=95)
        names = np.array(SEMANTIC, dtype=object)[:, None]
        scipy.io.savemat(
            root / "SemanticLabels" / COLLECTION / f"{name}.mat",
            {"S": stored_labels(i), "names": names},
        )
        if geometric:
            stored = np.random.default_rng(i).choice([-1, 1, 2, 3], SIZE).astype(np.int16)
            scipy.io.savemat(root / "GeoLabels" / COLLECTION / f"{name}.mat", {"S": stored})
    return root


@pytest.fixture
def derived(tmp_path: Path) -> Path:
    return write_sift_flow(tmp_path / "sift-flow", geometric=False)


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    return write_sift_flow(tmp_path / "complete", geometric=True)


def test_reads_photos_and_semantic_labels(derived: Path) -> None:
    dataset = SiftFlow(derived, names=NAMES)
    assert (len(dataset), dataset.names, dataset.split) == (3, NAMES, "trainval")
    for i, sample in enumerate(dataset[k] for k in range(3)):
        assert sample.name == NAMES[i]
        assert (sample.image.dtype, sample.image.shape) == (torch.uint8, (3, *SIZE))
        expected = stored_labels(i).astype(np.int64) - 1
        expected[expected < 0] = VOID
        assert sample.labels["semantic"].dtype == torch.int64
        np.testing.assert_array_equal(sample.labels["semantic"], expected)


def test_derives_geometry_from_the_classes_where_it_is_absent(derived: Path) -> None:
    dataset = SiftFlow(derived, names=NAMES)
    assert dataset.geometry_is_derived
    labels = dataset[0].labels
    for name, geometry in sift_flow.GEOMETRY.items():
        here = labels["semantic"] == SEMANTIC.index(name)
        assert (labels["geometric"][here] == GEOMETRIC.index(geometry)).all()
    assert torch.equal(labels["geometric"] == VOID, labels["semantic"] == VOID)
    assert sift_flow.GEOMETRY["sky"] == "sky"
    assert sift_flow.GEOMETRY["road"] == "horizontal"
    assert sift_flow.GEOMETRY["building"] == "vertical"


def test_reads_the_published_geometry_where_it_is_there(complete: Path) -> None:
    dataset = SiftFlow(complete, names=NAMES)
    assert not dataset.geometry_is_derived
    for i in range(3):
        stored = np.random.default_rng(i).choice([-1, 1, 2, 3], SIZE)
        np.testing.assert_array_equal(
            dataset[i].labels["geometric"], np.where(stored == -1, VOID, stored - 1)
        )


def test_the_shipped_lists() -> None:
    trainval, train, val, test = (split_names(split) for split in sift_flow.SPLITS)
    assert [len(names) for names in (trainval, train, val, test)] == [2486, 2237, 249, 200]
    assert set(train) | set(val) == set(trainval)
    assert not set(train) & set(val)
    assert not set(test) & set(trainval)
    assert not {"highway_bost181", "street_urb506"} & (set(trainval) | set(test))


def draw_validation(names: Sequence[str], share: Fraction = Fraction(1, 10)) -> list[str]:
    """The rule that drew the shipped validation list: the same share of every kind of scene.

    Each scene contributes its share rounded down; those with the largest remainders contribute one
    more, until the total is right. Within a scene, names go in the order of their SHA-256.
    """
    scenes = Counter(map(sift_flow.scene, names))
    exact = {kind: count * share for kind, count in sorted(scenes.items())}
    quota = {kind: int(number) for kind, number in exact.items()}
    left = round(len(names) * share) - sum(quota.values())
    for kind in sorted(exact, key=lambda kind: quota[kind] - exact[kind])[:left]:
        quota[kind] += 1
    drawn: set[str] = set()
    for kind, number in quota.items():
        of_kind = [name for name in names if sift_flow.scene(name) == kind]
        of_kind.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        drawn.update(of_kind[:number])
    return [name for name in names if name in drawn]


def test_the_validation_list_follows_from_its_rule() -> None:
    trainval, val = split_names("trainval"), split_names("val")
    assert draw_validation(trainval) == val
    assert set(draw_validation(trainval[::-1])) == set(val)
    whole, drawn = (Counter(map(sift_flow.scene, names)) for names in (trainval, val))
    assert len(whole) == 8
    for kind, number in whole.items():
        assert abs(drawn[kind] - number / 10) < 1


def test_class_names_and_palettes_belong_together() -> None:
    assert len(SEMANTIC) == 33
    assert list(SEMANTIC) == sorted(SEMANTIC)
    assert (sift_flow.PALETTE.shape, sift_flow.PALETTE.dtype) == ((33, 3), np.uint8)
    assert len(np.unique(sift_flow.PALETTE, axis=0)) == 33


# ------------------------------------------------------------------------------------ what is wrong


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        SiftFlow(tmp_path / "nowhere")
    one_line(error, tmp_path / "nowhere", "FCN_DATA", "--data")


@pytest.mark.parametrize(
    ("folder", "suffix"), [("Images", ".jpg"), ("SemanticLabels", ".mat"), ("GeoLabels", ".mat")]
)
def test_missing_file(complete: Path, folder: str, suffix: str) -> None:
    file = complete / folder / COLLECTION / f"{NAMES[1]}{suffix}"
    file.unlink()
    with pytest.raises(FileNotFoundError) as error:
        SiftFlow(complete, names=NAMES)
    one_line(error, file, "1 of 3")


def test_missing_folder_of_labels(derived: Path) -> None:
    (derived / "SemanticLabels").rename(derived / "elsewhere")
    with pytest.raises(FileNotFoundError) as error:
        SiftFlow(derived, names=NAMES)
    one_line(error, derived / "SemanticLabels" / COLLECTION)


def test_unknown_split(derived: Path) -> None:
    with pytest.raises(
        ValueError, match="no split 'testing'; choose one of trainval, train, val, test"
    ):
        SiftFlow(derived, "testing")


@pytest.mark.parametrize("folder", ["SemanticLabels", "GeoLabels"])
def test_label_map_of_another_size(complete: Path, folder: str) -> None:
    file = complete / folder / COLLECTION / f"{NAMES[0]}.mat"
    scipy.io.savemat(file, {"S": np.ones((5, 7))})
    with pytest.raises(ValueError, match="5 x 7") as error:
        SiftFlow(complete, names=NAMES)[0]
    one_line(error, file, "12 x 16")


@pytest.mark.parametrize(
    ("folder", "bad"), [("SemanticLabels", 34), ("SemanticLabels", -1), ("GeoLabels", 4)]
)
def test_label_outside_the_classes(complete: Path, folder: str, bad: int) -> None:
    file = complete / folder / COLLECTION / f"{NAMES[0]}.mat"
    labels = np.ones(SIZE, np.int16)
    labels[3, 5] = bad
    scipy.io.savemat(file, {"S": labels})
    with pytest.raises(ValueError, match="row 3, column 5") as error:
        SiftFlow(complete, names=NAMES)[0]
    one_line(error, file, f"label {bad - 1}")


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file, or rather not", None])
def test_label_file_that_is_none(derived: Path, content: bytes | None) -> None:
    file = derived / "SemanticLabels" / COLLECTION / f"{NAMES[0]}.mat"
    file.write_bytes(file.read_bytes()[:180] if content is None else content)
    with pytest.raises(ValueError, match="truncated or corrupt") as error:
        SiftFlow(derived, names=NAMES)[0]
    one_line(error, file)


def test_label_file_without_its_variable(derived: Path) -> None:
    file = derived / "SemanticLabels" / COLLECTION / f"{NAMES[0]}.mat"
    scipy.io.savemat(file, {"labels": np.ones(SIZE)})
    with pytest.raises(ValueError, match="no variable S") as error:
        SiftFlow(derived, names=NAMES)[0]
    one_line(error, file)


def test_truncated_photo(derived: Path) -> None:
    file = derived / "Images" / COLLECTION / f"{NAMES[0]}.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match="truncated") as error:
        SiftFlow(derived, names=NAMES)[0]
    one_line(error, file, "download or save it again")


@pytest.mark.parametrize("content", [b"", b"no photo at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_file_that_is_no_photo(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a photo") as error:
        read_photo(file)
    one_line(error, file)


def test_photo_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        read_photo(tmp_path / "photo.jpg")
    one_line(error, tmp_path / "photo.jpg")


def test_empty_lists(derived: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the list of images is empty"):
        SiftFlow(derived, names=[])
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="the list of images is empty") as error:
        read_list(tmp_path / "empty.txt")
    one_line(error, tmp_path / "empty.txt")


def test_other_lists_that_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(ValueError, match="'a' is listed twice"):
        read_list(tmp_path / "twice.txt")
    with pytest.raises(FileNotFoundError, match="no such list"):
        read_list(tmp_path / "none.txt")


def test_checked_labels_lets_void_pass() -> None:
    labels = checked_labels(np.array([[0, 2, VOID]]), size=(1, 3), num_classes=3, file="x.png")
    assert labels.dtype == torch.int64
    assert labels.tolist() == [[0, 2, VOID]]
    with pytest.raises(ValueError, match=r"x\.png: label 3 .* 0\.\.2"):
        checked_labels(np.array([[0, 3, VOID]]), size=(1, 3), num_classes=3, file="x.png")


@pytest.mark.parametrize("name", ["../../outside/secret", "/etc/passwd", "a\\b", "x\0y", "x" * 500])
def test_lists_of_paths_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"good\n{name}\n")
    with pytest.raises(ValueError, match=r"list\.txt: '.{1,70}' is not the name of an image"):
        read_list(tmp_path / "list.txt")


def test_checksum_tells_lists_apart() -> None:
    assert list_checksum(["a", "b"]) != list_checksum(["b", "a"])
    # as `printf 'a\nb' | sha256sum` has it
    assert (
        list_checksum(["a", "b"])
        == "7e18f737311b2dc3b2f269dd78396b0351f14fb66efa879f768cb23181883c78"
    )


# ---------------------------------------------------------------------------- photos of other kinds


def saved(path: Path, image: Image.Image, **options: object) -> torch.Tensor:
    image.save(path, **options)
    return read_photo(path)


def test_grey_photo(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    photo = saved(tmp_path / "grey.png", Image.fromarray(grey))
    assert photo.shape == (3, 3, 4)
    for channel in photo:
        np.testing.assert_array_equal(channel, grey)


def test_grey_photo_of_16_bits_keeps_its_upper_eight(tmp_path: Path) -> None:
    grey = (np.arange(12, dtype=np.uint16).reshape(3, 4) * 20) << 8
    photo = saved(tmp_path / "grey.png", Image.fromarray(grey))
    np.testing.assert_array_equal(photo[1], grey >> 8)


def test_transparent_photo_shows_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = (0, 255, 128)
    photo = saved(tmp_path / "rgba.png", Image.fromarray(rgba))
    assert photo[:, 0, 0].tolist() == [255, 255, 255]
    assert photo[:, 0, 1].tolist() == [200, 0, 0]
    assert photo[:, 0, 2].tolist() == pytest.approx([227, 127, 127], abs=1)


def test_photo_with_a_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert saved(tmp_path / "plain.png", image)[:, 0].T.tolist() == [[10, 20, 30], [40, 50, 60]]
    assert saved(tmp_path / "clear.png", image, transparency=1)[:, 0].T.tolist() == [
        [10, 20, 30],
        [255, 255, 255],
    ]


def test_photo_is_turned_upright(tmp_path: Path) -> None:
    across = np.zeros((2, 3, 3), np.uint8)
    across[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    photo = saved(tmp_path / "turned.png", Image.fromarray(across), exif=exif)
    assert photo.shape == (3, 3, 2)
    assert photo[:, 0, 1].tolist() == [255, 255, 255]
    assert int(photo.sum()) == 3 * 255


# ------------------------------------------------------------------------ photo and labels together


def traced(height: int, width: int) -> Sample:
    """A sample whose image encodes each pixel's position as grey levels, its labels as indices."""
    y = torch.linspace(0, 250, height)[:, None].expand(height, width)
    x = torch.linspace(0, 250, width)[None, :].expand(height, width)
    image = torch.stack([y, x, torch.full_like(x, 200)]).round().to(torch.uint8)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return Sample(image, {"rows": rows, "columns": columns}, "traced")


def strayed(changed: Sample, size: tuple[int, int]) -> tuple[float, float]:
    """The largest shift between labels and photo, in the interior and at the border.

    In pixels of the original. One grey level is allowed for rounding: half a level when the
    original is drawn and half when it is resampled.
    """
    inside, border = 0.0, 0.0
    for head, channel, side in (("rows", 0, size[0]), ("columns", 1, size[1])):
        index, level = changed.labels[head], changed.image[channel].float()
        away = ((level - index * 250 / (side - 1)).abs() - 1) * (side - 1) / 250
        covered, edge = index != VOID, (index < 2) | (index >= side - 2)
        inside = max([inside, *away[covered & ~edge].tolist()])
        border = max([border, *away[covered & edge].tolist()])
    return inside, border


# The best possible bounds for resampling: the nearest label is up to half a pixel of the original
# away from where the photo is read, and at the border, where an antialiasing filter has only its
# inner half, up to a quarter of a pixel more.
@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(AUGMENTATIONS)),
    st.integers(0, 10_000),
    st.integers(40, 90),
    st.integers(40, 90),
)
def test_every_augmentation_keeps_labels_on_their_pixels(
    name: str, seed: int, height: int, width: int
) -> None:
    sample = traced(height, width)
    torch.manual_seed(seed)
    changed = augmentation(name)(sample)
    assert (changed.image.dtype, changed.image.shape) == (torch.uint8, sample.image.shape)
    assert type(changed.image) is torch.Tensor
    assert all(
        type(labels) is torch.Tensor and labels.dtype == torch.int64
        for labels in changed.labels.values()
    )
    inside, border = strayed(changed, (height, width))
    assert inside <= 0.5
    assert border <= 0.75
    # Uncovered pixels are void in every head and grey in the photo.
    void = changed.labels["rows"] == VOID
    assert torch.equal(void, changed.labels["columns"] == VOID)
    assert torch.equal(void, changed.image[2] == GREY)


def test_the_check_of_alignment_sees_half_a_pixel() -> None:
    # The older nearest-neighbour rule (pixel corners, not centres) is off by up to a pixel.
    sample = traced(60, 60)
    image = F.resize(tv_tensors.Image(sample.image), [42, 42], antialias=True)
    for mode, kept in ((InterpolationMode.NEAREST_EXACT, True), (InterpolationMode.NEAREST, False)):
        labels = {
            head: F.resize(tv_tensors.Mask(label), [42, 42], interpolation=mode, antialias=False)
            for head, label in sample.labels.items()
        }
        assert (strayed(Sample(image, labels, "scaled"), (60, 60))[0] <= 0.5) == kept


def test_a_shift_moves_image_and_labels_alike() -> None:
    sample = traced(50, 60)
    shift = RandomShift(8)
    for right, down in ((8, -3), (-5, 0), (0, 7)):
        for before in (tv_tensors.Image(sample.image), tv_tensors.Mask(sample.labels["rows"])):
            after = shift.transform(before, {"right": right, "down": down})
            kept = after[..., max(down, 0) : 50 + min(down, 0), max(right, 0) : 60 + min(right, 0)]
            source = before[
                ..., max(-down, 0) : 50 + min(-down, 0), max(-right, 0) : 60 + min(-right, 0)
            ]
            assert torch.equal(kept, source)


def test_shifts_reach_their_limit_and_go_no_farther() -> None:
    torch.manual_seed(0)
    drawn = [RandomShift(3).make_params([]) for _ in range(300)]
    assert {p["right"] for p in drawn} == {p["down"] for p in drawn} == set(range(-3, 4))


def test_a_seed_repeats_a_change() -> None:
    sample = traced(50, 60)
    change = AUGMENTATIONS["mirror+jitter"]

    def seeded() -> torch.Tensor:
        torch.manual_seed(3)
        return change(sample).image

    assert torch.equal(seeded(), seeded())
    assert not torch.equal(change(sample).image, change(sample).image)


def test_mirroring_happens_in_one_case_of_two() -> None:
    sample = traced(4, 60)
    torch.manual_seed(0)
    mirror = Compose(v2.RandomHorizontalFlip())
    mirrored = [not torch.equal(mirror(sample).image, sample.image) for _ in range(200)]
    assert 80 < sum(mirrored) < 120


def test_unknown_augmentation() -> None:
    with pytest.raises(
        ValueError, match=r'unknown augmentation "shake": choose one of none, mirror, .*'
    ) as error:
        augmentation("shake")
    one_line(error)


# ------------------------------------------------------------------------------------ the real data


def class_shares(dataset: SiftFlow, head: str = "semantic") -> dict[str, float]:
    """The percentage of the data set's pixels in each class and in void."""
    counts = torch.zeros(VOID + 1, dtype=torch.int64)
    for i in range(len(dataset)):
        counts += torch.bincount(dataset[i].labels[head].flatten(), minlength=VOID + 1)
    share = (100 * counts.double() / counts.sum()).tolist()
    return dict(zip(dataset.heads[head], share, strict=False)) | {"void": share[VOID]}


@needs_data
def test_the_real_sift_flow_has_the_published_counts() -> None:
    root = Path(str(FCN_DATA)) / "sift-flow"
    for split, count in (("trainval", 2486), ("train", 2237), ("val", 249), ("test", 200)):
        assert len(SiftFlow(root, split)) == count
    test = SiftFlow(root, "test")
    sample = test[0]
    assert sample.image.shape == (3, 256, 256)
    assert sample.labels["semantic"].shape == sample.labels["geometric"].shape == (256, 256)
    shares = class_shares(test)
    assert [name for name, share in shares.items() if share == 0] == ["cow", "desert", "moon"]
    assert class_shares(test, "geometric")["void"] == pytest.approx(shares["void"], abs=2.0)


@needs_data
def test_the_real_training_photos_have_the_published_mean_and_share_of_void() -> None:
    dataset = SiftFlow(Path(str(FCN_DATA)) / "sift-flow")
    assert class_shares(dataset)["void"] == pytest.approx(8.35, abs=0.05)
    mean = torch.stack(
        [dataset[i].image.double().mean((1, 2)) for i in range(0, len(dataset), 20)]
    ).mean(0)
    assert mean.flip(0).tolist() == pytest.approx(sift_flow.MEAN_BGR, abs=6)


def test_a_list_that_is_no_text_is_named(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"list\.txt: not a UTF-8 text file"):
        read_list(tmp_path / "list.txt")
