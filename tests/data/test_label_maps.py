"""Label maps in every form that tools write: through their colours, or by number."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_folder import outcome, refused
from test_photos import deep_png

from fcn.data.folder import Folder, checked
from fcn.data.sample import VOID

COLOURS = np.array([[135, 206, 235], [90, 120, 60], [200, 40, 40]], np.uint8)
LIST = "sky #87ceeb\nground #5a783c\nthing #c82828\nvoid #000000\n"
LABELS = np.random.default_rng(0).integers(0, 3, (9, 13)).astype(np.uint8)
WITH_VOID = np.where(LABELS == 2, VOID, LABELS).astype(np.uint8)


class Data:
    """A folder of photos with these label maps."""

    def __init__(self, root: Path) -> None:
        self.root, self.log = root, []
        for name in ("photos", "labels"):
            (root / name).mkdir()

    def add(self, image: Image.Image, name: str = "a", **options: object) -> None:
        Image.new("RGB", image.size, (50, 90, 20)).save(self.root / "photos" / f"{name}.png")
        image.save(self.root / "labels" / f"{name}.png", **options)

    def read(self, classes: str, index: int = 0) -> np.ndarray:
        (self.root / "classes.txt").write_text(classes)
        folder, _ = checked(*self.files, log=self.log.append)
        return folder[index].labels["semantic"].numpy()

    @property
    def files(self) -> list[Path]:
        return [self.root / name for name in ("photos", "labels", "classes.txt")]


@pytest.fixture
def data(tmp_path) -> Data:
    return Data(tmp_path)


def paletted(labels: np.ndarray, palette: np.ndarray) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(palette.tobytes())
    return image


# With colours in the list


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]])
@pytest.mark.parametrize("bits", [{}, {"bits": 2}])
def test_a_palette_is_read_through_its_colours(data, order, bits):
    data.add(paletted(np.argsort(order).astype(np.uint8)[LABELS], COLOURS[order]), **bits)
    assert np.array_equal(data.read(LIST), LABELS)
    data.add(Image.fromarray(COLOURS[LABELS]).convert("P", palette=Image.Palette.ADAPTIVE))
    assert np.array_equal(data.read(LIST), LABELS)


def test_255_is_void_in_a_palette_whatever_its_colour(data):
    full = np.full((256, 3), 7, np.uint8)
    full[:3] = COLOURS
    data.add(paletted(WITH_VOID, full))
    assert np.array_equal(data.read(LIST), WITH_VOID)


def test_a_palette_that_disagrees_is_refused(data):
    data.add(paletted(LABELS, COLOURS + 1))
    refused(lambda: data.read(LIST), ValueError, "palette has colour #", "not in", "by number")
    assert np.array_equal(data.read("sky\nground\nthing\n"), LABELS)


def test_grey_numbers_with_colours(data):
    """The book's own case: the list has colours to draw with, the maps have numbers."""
    data.add(Image.fromarray(WITH_VOID))
    data.add(Image.fromarray(np.zeros_like(LABELS)), "b")
    for classes in (LIST, "sky #87ceeb\nground #000000\nthing #010203\n"):
        assert np.array_equal(data.read(classes), WITH_VOID)
        assert not data.read(classes, 1).any()


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "LA", "P"])
def test_black_and_white_with_colours(data, mode):
    data.add(Image.fromarray((LABELS == 2) * np.uint8(255)).convert(mode))
    assert np.array_equal(data.read("back #000000\nobject #ffffff\n"), LABELS == 2)
    assert np.array_equal(data.read("object #ffffff\nback #000000\n"), LABELS != 2)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_grey_map_among_coloured_ones_is_read_by_colour(data, mode):
    """Black is void here, or no class; never the class of number 0."""
    data.add(Image.fromarray(COLOURS[LABELS]))
    data.add(Image.new("L", LABELS.shape[::-1]).convert(mode), "b")
    assert (data.read(LIST, 1) == VOID).all()
    without = LIST.replace("void #000000\n", "")
    refused(lambda: data.read(without), ValueError, "b.png: colour #000000 at row 0, column 0")


def test_masks_of_two_classes_with_colours_to_draw_with(data):
    data.add(Image.fromarray((LABELS == 2) * np.uint8(255)))
    assert np.array_equal(data.read("back #102030\nobject #aabbcc\n"), LABELS == 2)
    assert "0 and 255" in data.log[0]


# Without


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_fewer_than_8_bits_is_read_raw(data, bits):
    """Pillow scales such greys to 0..255."""
    labels = LABELS % (1 << bits)
    rows = np.unpackbits(labels[..., None], axis=2, bitorder="little")[..., :bits][..., ::-1]
    packed = np.packbits(rows.reshape(len(labels), -1), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in packed)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", *labels.shape[::-1], bits, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(content)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    data.add(Image.fromarray(labels))
    (data.root / "labels" / "a.png").write_bytes(png)
    assert bits == 1 or Image.open(io.BytesIO(png)).getextrema() == (0, {2: 170, 4: 34}[bits])
    assert np.array_equal(data.read("sky\nground\nthing\n"), labels)


def test_rgb_of_equal_channels_is_grey(data):
    data.add(Image.fromarray(np.repeat(WITH_VOID[..., None], 3, axis=2)))
    assert np.array_equal(data.read("sky\nground\nthing\n"), WITH_VOID)
    assert np.array_equal(data.read(LIST.replace("void #000000\n", "")), WITH_VOID)


def test_masks_of_0_and_255_are_two_classes_and_a_line_says_so(data):
    mask = (LABELS == 2) * np.uint8(255)
    for name in "abc":
        data.add(Image.fromarray(mask * (name != "c")), name)
    assert np.array_equal(data.read("back\nobject\n"), LABELS == 2)
    assert data.log == ["the label maps hold only 0 and 255: read as 'back' and 'object'"]
    assert not data.read("back\nobject\n", 2).any()


def test_255_is_void_if_any_map_has_a_1_or_the_list_says_so(data):
    mask = (LABELS == 2) * np.uint8(255)
    data.add(Image.fromarray(mask))
    for classes in ("__ignore__\nback\nobject\n", "back\nobject\nvoid 255\n"):
        assert set(np.unique(data.read(classes))) == {0, VOID}
    data.add(Image.fromarray(LABELS % 2), "b")
    assert np.array_equal(data.read("back\nobject\n"), mask)
    assert data.log[-1:] != ["the label maps hold only"]


@pytest.mark.parametrize("deep", [np.uint8, np.uint16])
def test_other_void_values_and_numbered_classes(data, deep):
    data.add(Image.fromarray(np.array([[11, 1, 2], [0, 255, 2]], deep)))
    assert data.read("a\nb\nc\nvoid 11\n").tolist() == [[VOID, 1, 2], [0, VOID, 2]]
    assert data.read("2 c\n1 b\nvoid 0\n11 d\n").tolist() == [[2, 0, 1], [VOID, VOID, 1]]
    refused(lambda: data.read("1 b\n2 c\n11 d\n"), ValueError, "label 0 at row 1, column 0")
    many = "\n".join(f"{1000 * i} n{i}" for i in range(3))
    data.add(Image.fromarray(np.array([[0, 1000, 2000]], np.uint16)))
    assert data.read(many).tolist() == [[0, 1, 2]]


# Transparency, orientation, size


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA"])
def test_transparent_pixels_are_void_and_counted(data, mode):
    alpha = np.where(LABELS == 1, 0, 255).astype(np.uint8)
    if mode == "P":
        data.add(paletted(LABELS, COLOURS), transparency=b"\xff\0\xff")
    elif mode == "LA":
        data.add(Image.merge("LA", [Image.fromarray(LABELS), Image.fromarray(alpha)]))
    else:
        data.add(Image.fromarray(np.dstack([COLOURS[LABELS], alpha])))
    assert np.array_equal(data.read(LIST), np.where(LABELS == 1, VOID, LABELS))
    assert data.log == ["1 of 1 label maps are transparent in parts: void"]


@pytest.mark.parametrize("clear", [0, 1])
@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint16])
def test_the_transparent_value_of_a_grey_map_is_void(data, kind, clear):
    data.add(Image.fromarray((LABELS == 2).astype(kind)), transparency=clear)
    expected = np.where((LABELS == 2) == clear, VOID, LABELS == 2)
    assert np.array_equal(data.read("back\nobject\n"), expected)
    assert data.log == ["1 of 1 label maps are transparent in parts: void"]


def exif(orientation: int) -> Image.Exif:
    note = Image.Exif()
    note[0x112] = orientation
    return note


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_treated_alike_in_photo_and_map(data, orientation):
    photo = Image.fromarray(COLOURS[LABELS])
    for folder, image in (("photos", photo), ("labels", Image.fromarray(LABELS))):
        image.save(data.root / folder / "a.png", exif=exif(orientation))
    labels = data.read("sky\nground\nthing\n")
    image = Folder(*data.files)[0].image.permute(1, 2, 0).numpy()
    assert labels.shape == (LABELS.shape if orientation < 5 else LABELS.shape[::-1])
    assert np.array_equal(COLOURS[labels], image)
    assert len(data.log) == (2 if orientation > 1 else 0)
    assert all("1 of 1" in line and "EXIF orientation" in line for line in data.log)


def test_swapped_sides_are_told_why(data):
    photo = Image.fromarray(COLOURS[LABELS])
    data.add(Image.fromarray(LABELS))
    photo.save(data.root / "photos" / "a.png", exif=exif(6))
    parts = "9 x 13 but its photo is 13 x 9", "EXIF orientation (6)", "remove the orientation"
    refused(lambda: data.read("a\nb\nc\n"), ValueError, "labels/a.png", *parts)
    photo.save(data.root / "photos" / "a.png")
    Image.fromarray(LABELS).save(data.root / "labels" / "a.png", exif=exif(8))
    refused(lambda: data.read("a\nb\nc\n"), ValueError, "its EXIF orientation (8)")
    Image.fromarray(LABELS.T).save(data.root / "labels" / "a.png")
    refused(lambda: data.read("a\nb\nc\n"), ValueError, "sides swapped", "quarter turn")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_costs_nothing(data):
    """One kind exceeds Pillow's limit, the other only the photo's size."""
    data.add(Image.fromarray(LABELS))
    for side, part in ((20_000, "400 megapixels"), (13_000, "13000 x 13000")):
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        body = b"IHDR" + header
        chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
        content = struct.pack(">I", 10) + b"IDAT" + b"\0" * 14
        path = data.root / "labels" / "a.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + content)
        tracemalloc.start()
        refused(lambda: data.read("a\nb\nc\n"), ValueError, str(path), part)
        assert tracemalloc.get_traced_memory()[1] < 5e6
        tracemalloc.stop()


# All problems at once


def test_all_problems_of_all_files_are_listed_at_once(data):
    for i, name in enumerate("abcdefg"):
        data.add(Image.fromarray(LABELS + (3 if i % 2 else 0)), name)
    (data.root / "labels" / "a.png").unlink()
    (data.root / "photos" / "x.gif").touch()
    (data.root / "photos" / "c.png").write_bytes(b"\x89PNG")
    (data.root / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(ValueError, match="6 files cannot be used") as error:
        data.read("a\nb\nc\n")
    notes = error.value.__notes__
    assert len(notes) == 6
    for name in ("x.gif", "a.png: has no label map", "b.png", "c.png", "d.png", "f.png"):
        assert any(name in note for note in notes), notes


def test_accents_in_both_forms_of_unicode_are_one_name(data):
    data.add(Image.fromarray(LABELS), "Caf\u00e9 \u00fc")
    (data.root / "photos" / "Caf\u00e9 \u00fc.png").rename(
        data.root / "photos" / "Cafe\u0301 u\u0308.png"
    )
    assert np.array_equal(data.read("a\nb\nc\n"), LABELS)
    assert Folder(*data.files).names == ["Caf\u00e9 \u00fc"]


# Odd files


def test_colours_of_16_bits_are_refused(data):
    deep = np.repeat(LABELS[..., None], 3, axis=2).astype(np.uint16) * 257
    data.add(Image.fromarray(LABELS))
    (data.root / "labels" / "a.png").write_bytes(deep_png(deep))
    refused(lambda: data.read(LIST), ValueError, "a.png: its colours have 16 bits")


def test_a_palette_that_is_too_short_has_no_colours_for_the_rest(data):
    data.add(paletted(LABELS + 1, COLOURS), bits=8)
    refused(lambda: data.read(LIST), ValueError, "no colour for label 3")


@pytest.mark.parametrize("options", [{"interlace": 1}, {"save_all": True}])
def test_interlaced_and_animated_maps(data, options):
    if "save_all" in options:
        options["append_images"] = [Image.fromarray(LABELS.T.reshape(LABELS.shape))]
    data.add(Image.fromarray(LABELS), **options)
    assert np.array_equal(data.read("a\nb\nc\n"), LABELS)


@given(st.integers(0, 200), st.binary(max_size=4), st.sampled_from(["L", "P", "RGB", "RGBA"]))
@settings(max_examples=150)
def test_damaged_maps_are_read_or_refused(tmp_path_factory, at, put, mode):
    data = Data(tmp_path_factory.mktemp("maps"))
    image = Image.fromarray(COLOURS[LABELS]).convert(mode)
    data.add(Image.fromarray(LABELS) if mode == "L" else image)
    path = data.root / "labels" / "a.png"
    content = path.read_bytes()
    path.write_bytes(content[:at] + put + content[at + len(put) :])
    labels, message = outcome(lambda: data.read(LIST))
    assert str(path) in message if labels is None else labels.shape == LABELS.shape


# Formats

LOSSLESS = {
    "png": {},
    "tif": {"compression": "tiff_lzw"},
    "tiff": {},
    "bmp": {},
    "gif": {},
    "webp": {"lossless": True, "exact": True},
}


def replace(data: Data, image: Image.Image, ending: str, **options: object) -> None:
    """The label map of a photo of another format, and no other."""
    Image.new("RGB", image.size, (50, 90, 20)).save(data.root / "photos" / "a.png")
    image.save(data.root / "labels" / f"a.{ending}", **options)


@pytest.mark.parametrize("ending", LOSSLESS)
@pytest.mark.parametrize("form", ["grey", "palette", "colours"])
def test_a_lossless_format_is_read_as_png(data, ending, form):
    image = {
        "grey": Image.fromarray(WITH_VOID),
        "palette": paletted(LABELS, COLOURS),
        "colours": Image.fromarray(COLOURS[LABELS]),
    }[form]
    replace(data, image, ending, **LOSSLESS[ending])
    assert np.array_equal(data.read(LIST), WITH_VOID if form == "grey" else LABELS)


@pytest.mark.parametrize("ending", ["tif", "bmp", "gif"])
def test_masks_of_one_bit_in_other_formats(data, ending):
    replace(data, Image.fromarray(LABELS == 2), ending)
    assert np.array_equal(data.read("back\nobject\n"), LABELS == 2)


def test_gifs_are_read_by_colour_as_tools_number_their_colours_anew(data):
    image = paletted(LABELS + np.uint8(1), COLOURS[[0, 0, 1, 2]])
    replace(data, image, "gif", optimize=True)
    assert np.array_equal(data.read(LIST), LABELS)
    refused(lambda: data.read("a\nb\nc\nd\n"), ValueError, "a.gif: a label map in colours, but")


def test_transparent_parts_are_void(data):
    image = Image.fromarray(COLOURS[LABELS])
    image.putalpha(Image.fromarray((LABELS != 2) * np.uint8(255)))
    for ending in ("tif", "webp"):
        replace(data, image, ending, **LOSSLESS[ending])
        assert np.array_equal(data.read(LIST), WITH_VOID)
        (data.root / "labels" / f"a.{ending}").unlink()


def test_a_map_on_its_side_in_a_tiff_is_turned_upright(data):
    data.add(Image.fromarray(LABELS))
    (data.root / "labels" / "a.png").unlink()
    turned = Image.fromarray(np.rot90(LABELS).copy())  # orientation 6 turns it clockwise
    turned.save(data.root / "labels" / "a.tif", exif=exif(6))
    assert np.array_equal(data.read("a\nb\nc\n"), LABELS)
    assert "1 of 1 label maps are rotated" in data.log[0]


@pytest.mark.parametrize(("kind", "low"), [("int32", 0), (">u2", 0), ("<u2", 0), ("int32", -1)])
def test_more_than_8_bits_in_a_tiff(data, kind, low):
    labels = LABELS.astype(np.int32)
    replace(data, Image.fromarray(labels.astype(kind)), "tif")
    assert np.array_equal(data.read("a\nb\nc\n"), LABELS)
    if kind == "int32":
        labels[3, 4] = low or 65536  # not 0, which its lower 16 bits are
        replace(data, Image.fromarray(labels), "tif")
        problem = "label -1 is negative" if low else "label 65536 needs more"
        refused(lambda: data.read("a\nb\nc\n"), ValueError, problem)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("png", {"format": "JPEG"}),
        ("tif", {"compression": "jpeg"}),
        ("webp", {"quality": 90}),
        ("webp", {"quality": 90, "exif": b"Exif\0\0"}),
    ],
)
def test_lossy_compression_is_refused(data, ending, options):
    replace(data, Image.fromarray(COLOURS[LABELS]), ending, **options)
    parts = [f"a.{ending}: a ", "lossy compression changes labels", "does not restore them"]
    refused(lambda: data.read(LIST), ValueError, *parts)


def test_several_pictures_in_one_file_are_refused(data):
    image = Image.fromarray(LABELS)
    other = Image.fromarray(2 - LABELS)
    for ending in ("tif", "gif"):
        replace(data, image, ending, save_all=True, append_images=[other])
        parts = [f"a.{ending}", "of 2 pictures", "one label map per file"]
        refused(lambda: data.read("a\nb\nc\n"), ValueError, *parts)
        (data.root / "labels" / f"a.{ending}").unlink()


def test_two_label_maps_of_one_photo_are_refused(data):
    data.add(Image.fromarray(LABELS))
    Image.fromarray(LABELS).save(data.root / "labels" / "a.tif")
    refused(lambda: data.read(LIST), ValueError, "a.tif: same name as a.png", "remove one")
