"""A folder of photos and one of label maps: reading, splits, and an error for each mistake."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn.data.class_lists import read_classes
from fcn.data.folder import Folder
from fcn.data.sample import VOID, validation_part
from fcn.training.loader import collate

NAMES = ("sky", "floor mat", "tree")
COLOURS = ("#0000ff", "#804000", "#00ff00")
VOID_COLOUR = "#e0e0c0"
SIZES = {"a": (40, 56), "b": (33, 48), "c": (64, 40)}


def rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour[1:]))


def labels_of(name: str) -> np.ndarray:
    """Labels 0..2 and void."""
    labels = (
        np.random.default_rng(ord(name[0]))
        .integers(0, len(NAMES) + 1, SIZES[name])
        .astype(np.uint8)
    )
    return np.where(labels == len(NAMES), VOID, labels).astype(np.uint8)


def painted(labels: np.ndarray) -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)
    table[: len(NAMES)] = [rgb(colour) for colour in COLOURS]
    table[VOID] = rgb(VOID_COLOUR)
    return table[labels]


@pytest.fixture
def root(tmp_path) -> Path:
    """Three photos of three sizes and formats, grey label maps, classes without colours, junk."""
    for folder in ("photos", "labels"):
        (tmp_path / folder).mkdir()
        for junk in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.jpg", "a.jpg:Zone.Identifier"):
            (tmp_path / folder / junk).write_bytes(b"\0")
        (tmp_path / folder / "__MACOSX").mkdir()
    for name, ending in (("a", "jpg"), ("b", "PNG"), ("c", "webp")):
        photo = (
            np.random.default_rng(ord(name)).integers(0, 256, (*SIZES[name], 3)).astype(np.uint8)
        )
        Image.fromarray(photo).save(tmp_path / "photos" / f"{name}.{ending}")
        Image.fromarray(labels_of(name)).save(tmp_path / "labels" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return tmp_path


def folder(root: Path, split: str = "all", **more: int) -> Folder:
    return Folder(root / "photos", root / "labels", root / "classes.txt", split, **more)


def colour_list(root: Path) -> None:
    lines = [f"{name}  {colour}" for name, colour in zip(NAMES, COLOURS, strict=True)]
    (root / "classes.txt").write_text("\n".join([*lines, f"Void {VOID_COLOUR}"]) + "\n")


# ------------------------------------------------------------------------------------------ reading


def test_photos_and_labels_come_in_pairs_and_junk_is_ignored(root):
    data = folder(root)
    assert data.names == ["a", "b", "c"]
    assert (data.name, data.split, data.heads, data.palette) == (
        "folder",
        "all",
        {"semantic": NAMES},
        None,
    )
    for sample in (data[i] for i in range(len(data))):
        assert (sample.image.dtype, sample.image.shape) == (torch.uint8, (3, *SIZES[sample.name]))
        assert sample.labels["semantic"].dtype == torch.int64
        assert np.array_equal(sample.labels["semantic"].numpy(), labels_of(sample.name))
    stored = np.array(Image.open(root / "photos" / "b.PNG"))
    assert np.array_equal(data[1].image.permute(1, 2, 0).numpy(), stored)


@pytest.mark.parametrize("mode", ["palette", "RGB", "RGBA", "16 bits"])
def test_a_label_map_says_the_same_in_every_form(root, mode):
    colour_list(root)
    labels, path = labels_of("a"), root / "labels" / "a.png"
    if mode == "palette":
        image = Image.fromarray(labels)
        image.putpalette(painted(np.arange(256)).tobytes())
    elif mode == "16 bits":
        image = Image.fromarray(labels.astype(np.uint16))
    else:
        image = Image.fromarray(painted(labels)).convert(mode)
    image.save(path)
    assert np.array_equal(folder(root)[0].labels["semantic"].numpy(), labels)


def test_a_mask_of_one_bit(root):
    mask = labels_of("a") == 1
    Image.fromarray(mask).save(root / "labels" / "a.png")
    assert Image.open(root / "labels" / "a.png").mode == "1"
    assert np.array_equal(folder(root)[0].labels["semantic"].numpy(), mask.astype(int))


def test_colours_are_the_palette_and_void_is_no_class(root):
    colour_list(root)
    data = folder(root)
    assert data.heads == {"semantic": NAMES}
    assert data.palette is not None
    assert data.palette.dtype == np.uint8
    assert data.palette.tolist() == [rgb(colour) for colour in COLOURS]
    assert data.classes.void == tuple(rgb(VOID_COLOUR))


def test_a_list_as_windows_writes_it(root):
    (root / "classes.txt").write_bytes("\ufeffsky\t#0000FF\r\n\r\n floor mat #804000 \r\n".encode())
    classes = read_classes(root / "classes.txt")
    assert classes.names == ("sky", "floor mat")
    assert classes.palette is not None
    assert classes.palette.tolist() == [[0, 0, 255], [128, 64, 0]]


def test_larger_photos_are_read_at_a_size_that_fits(root):
    whole, data = folder(root), folder(root, side=42)
    assert [tuple(data[i].image.shape[1:]) for i in range(3)] == [(30, 42), (29, 42), (42, 26)]
    for i in range(3):
        labels = data[i].labels["semantic"]
        assert labels.shape == data[i].image.shape[1:]
        assert set(labels.unique().tolist()) == {0, 1, 2, VOID}  # no label in between
        assert abs(data[i].image.float().mean() - whole[i].image.float().mean()) < 2
    assert torch.equal(folder(root, side=64)[2].image, whole[2].image)


def test_photo_and_labels_shrink_together(tmp_path):
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    left = np.zeros((64, 128), np.uint8)
    left[:, :48] = 1
    Image.fromarray(255 * left).save(tmp_path / "photos" / "x.png")
    Image.fromarray(left).save(tmp_path / "labels" / "x.png")
    (tmp_path / "classes.txt").write_text("right\nleft\n")
    image, labels, _ = folder(tmp_path, side=32)[0]
    assert torch.equal(labels["semantic"], (image[0] > 127).long())


def test_photos_of_mixed_sizes_make_a_batch(root):
    data = folder(root)
    images, labels = collate([data[i] for i in range(3)])
    assert images.shape == (3, 3, 64, 56)
    assert (labels["semantic"][0, 40:] == VOID).all()


# ------------------------------------------------------------------------------------------- splits


@given(count=st.integers(2, 60), seed=st.integers(0, 9))
@settings(max_examples=15)
def test_a_tenth_is_held_out_the_same_whatever_the_order(tmp_path_factory, count, seed):
    root = tmp_path_factory.mktemp("folder")
    for name in ("photos", "labels"):
        (root / name).mkdir()
    names = [f"photo {i}" for i in range(count)]
    for name in np.random.default_rng(seed).permutation(names):
        (root / "photos" / f"{name}.jpg").touch()
        (root / "labels" / f"{name}.png").touch()
    (root / "classes.txt").write_text("a\nb\n")
    train, held_out = folder(root, "train"), folder(root, "val")
    assert sorted(train.names + held_out.names) == sorted(names) == folder(root).names
    assert len(held_out) == max(1, round(count / 10))
    assert train.checksum != held_out.checksum
    assert set(held_out.names) == (validation_part(names) or {min(names)})


# ----------------------------------------------------------------------------------------- mistakes


def refused(make: Callable[[], object], kind: type[Exception], *parts: str) -> None:
    """The error is one line and contains all parts."""
    with pytest.raises(kind) as error:
        make()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def outcome(call: Callable[[], object]) -> tuple[object, str]:
    """What a call returns, or the message of its ValueError, which is one line."""
    try:
        return call(), ""
    except ValueError as error:
        message = str(error)
    assert message
    assert "\n" not in message
    return None, message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["number of classes is 0"]),
        ("\n \n", ["number of classes is 0"]),
        ("road\n", ["number of classes is 1", "background is one"]),
        ("\n".join(f"class {i}" for i in range(256)), ["number of classes is 256", "255"]),
        ("sky\nroad\nsky\n", ["class 'sky' appears twice"]),
        ("sky #0000ff\nroad #0000FF\n", ["colour '#0000ff' appears twice"]),
        ("sky #0000ff\nroad\n", ["'road' has no colour"]),
        ("sky #0000ff\nroad #00f\n", ["'road #00f'", "#9ecae1"]),
        ("sky #0000ff\nroad #00000g\n", ["'road #00000g'"]),
        ("# my classes\nsky\nroad\n", ["'# my classes'"]),
        ("#0000ff\n#00ff00\n", ["'#0000ff'"]),
        ("sky\nvoid\nroad\n", ["'void' is not a class but label 255"]),
        ("sky #0000ff\nvoid #000000\n", ["number of classes is 1"]),
    ],
)
def test_a_wrong_list_of_classes_is_named(root, text, parts):
    (root / "classes.txt").write_text(text)
    refused(lambda: folder(root), ValueError, str(root / "classes.txt"), *parts)


def test_a_list_that_is_none(root):
    refused(
        lambda: read_classes(root / "none.txt"), FileNotFoundError, "none.txt", "one class per line"
    )
    refused(lambda: read_classes(root), FileNotFoundError, str(root))
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00s")
    refused(lambda: folder(root), ValueError, "classes.txt", "UTF-8")


def touch(*parts: str) -> Callable[[Path], None]:
    return lambda root: root.joinpath(*parts).touch()


def remove(*parts: str) -> Callable[[Path], None]:
    return lambda root: root.joinpath(*parts).unlink()


def emptied(name: str) -> Callable[[Path], None]:
    def empty(root: Path) -> None:
        for path in (root / name).iterdir():
            if path.is_file():
                path.unlink()

    return empty


@pytest.mark.parametrize(
    ("spoil", "kind", "parts"),
    [
        (
            remove("labels", "b.png"),
            FileNotFoundError,
            ["b.PNG: has no label map", "b.png", "1 of 3"],
        ),
        (remove("photos", "c.webp"), FileNotFoundError, ["c.png: has no photo", "1 of 3"]),
        (
            touch("photos", "a.tiff"),
            ValueError,
            ["a.tiff", "a.jpg", "same name", "their own folder"],
        ),
        (touch("labels", "a.PNG"), ValueError, ["a.PNG", "a.png", "same name"]),
        (touch("photos", "d.gif"), ValueError, ["d.gif", "save it as PNG"]),
        (touch("labels", "a.jpg"), ValueError, ["a.jpg", ".png", "lossy compression", "as PNG"]),
        (touch("labels", "a.tif"), ValueError, ["a.tif", "a.png", "same name", "remove one"]),
        (touch("photos", "notes"), ValueError, ["notes", "remove it"]),
        (lambda root: (root / "photos" / "more").mkdir(), ValueError, ["more", "directly into"]),
        (emptied("photos"), ValueError, ["photos: contains no photos"]),
        (emptied("labels"), ValueError, ["labels: contains no label maps"]),
    ],
)
def test_a_wrong_folder_is_named_before_anything_is_read(root, spoil, kind, parts):
    spoil(root)
    refused(lambda: folder(root), kind, str(root), *parts)


def test_a_folder_that_is_none(root):
    for folders in (("x", "labels"), ("photos", "x")):
        refused(
            lambda folders=folders: Folder(
                *(root / name for name in folders), root / "classes.txt"
            ),
            FileNotFoundError,
            str(root / "x"),
            "check the path",
        )


def test_a_split_or_a_size_that_is_none(root):
    refused(lambda: folder(root, "test"), ValueError, "'test'", "all, train, val")
    refused(lambda: folder(root, side=31), ValueError, "31", "32 pixels")


def test_one_photo_cannot_be_split(root):
    for name in ("b.PNG", "c.webp"):
        (root / "photos" / name).unlink()
        (root / "labels" / f"{name[0]}.png").unlink()
    assert len(folder(root)) == 1
    refused(lambda: folder(root, "train"), ValueError, "photos", "the only photo")


def save(labels: np.ndarray, **more: str) -> Callable[[Path], None]:
    return lambda root: Image.fromarray(labels).save(root / "labels" / "a.png", **more)


OUTSIDE = labels_of("a").copy()
OUTSIDE[5, 7] = 3


def smoothed(root: Path) -> None:
    """All maps in colours, one with a colour of its own."""
    for name in SIZES:
        colours = painted(labels_of(name))
        if name == "a":
            colours[2, 9] = (1, 2, 255)
        Image.fromarray(colours).save(root / "labels" / f"{name}.png")


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (
            save(OUTSIDE),
            ["label 3 at row 5, column 7", "classes 0..2", "void is 255", "classes.txt", "label 0"],
        ),
        (save(labels_of("a").astype(np.uint16) + 900), ["label 90", "outside the classes"]),
        (save(labels_of("b")), ["33 x 48", "photo is 40 x 56", "height x width"]),
        (
            smoothed,
            ["#0102ff at row 2, column 9", "classes.txt", "void #rrggbb", "smoothing"],
        ),
        (
            save(labels_of("a"), format="JPEG"),
            ["a JPEG file: lossy compression changes labels", "as PNG"],
        ),
        (
            lambda root: (root / "labels" / "a.png").write_bytes(b"\x89PNG"),
            ["cannot be read as a label map"],
        ),
    ],
)
def test_a_wrong_label_map_is_named_on_reading(root, spoil, parts):
    colour_list(root)
    spoil(root)
    data = folder(root)
    refused(lambda: data[0], ValueError, str(root / "labels" / "a.png"), *parts)
    data[1]  # the others are as good as before


def test_a_label_map_in_colours_without_a_list_of_them(root):
    save(painted(labels_of("a")))(root)
    refused(
        lambda: folder(root)[0], ValueError, "a.png", "in colours", "classes.txt", "sky #9ecae1"
    )


def test_a_photo_that_cannot_be_read(root):
    path = root / "photos" / "a.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    refused(lambda: folder(root)[0], ValueError, str(path), "truncated")
