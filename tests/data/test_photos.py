"""Photos in every format: read alike by fit and predict, or refused for the true reason."""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_folder import refused

from fcn.data.folder import Folder
from fcn.data.photos import read, read_pixels

SMOOTH = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4
COLOURS = np.dstack([SMOOTH, 255 - SMOOTH, SMOOTH // 2]).astype(np.uint8)


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, H x W x 3 or 4, which Pillow does not write."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@pytest.mark.parametrize("ending", ["heic", "avif", "webp", "tif", "bmp", "png", "jpg"])
def test_formats_are_read_alike(tmp_path, ending):
    if ending == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    for name in ("photos", "labels"):
        (tmp_path / name).mkdir()
    path = tmp_path / "photos" / f"a.{ending}"
    Image.fromarray(COLOURS).save(path, **({"quality": 95} if ending != "tif" else {}))
    Image.fromarray(SMOOTH // 200).save(tmp_path / "labels" / "a.png")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    data = Folder(*(tmp_path / name for name in ("photos", "labels", "classes.txt")))
    assert np.array_equal(data[0].image.permute(1, 2, 0).numpy(), read_pixels(path))
    assert np.abs(read_pixels(path).astype(int) - COLOURS).mean() < 6


def test_heic_needs_an_extra(tmp_path, monkeypatch):
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    refused(lambda: read(path), ValueError, "phone.heic", "cannot be read as a photo")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refused(lambda: read(path), ValueError, "phone.heic: HEIC needs", "fcn-book[formats]")


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_16_bits_is_scaled_to_the_bits_it_uses(tmp_path, ending, bits):
    path = tmp_path / f"x.{ending}"
    Image.fromarray(SMOOTH.astype(np.uint16) << (bits - 8)).save(path)
    pixels, _, brightened = read(path)
    assert np.array_equal(pixels, np.repeat(SMOOTH[..., None], 3, axis=2))
    assert brightened == (bits < 16)


@pytest.mark.parametrize(("saturated", "bits"), [(7, 12), (8, 16)])
def test_a_few_saturated_pixels_do_not_darken_a_photo(tmp_path, saturated, bits):
    """Up to 1 in 10,000, of 76,800 here."""
    deep = np.tile(SMOOTH.astype(np.uint16) << 4, (10, 10))
    deep[0, :saturated] = 0xFFFF
    Image.fromarray(deep).save(tmp_path / "x.tif")
    pixels, _, brightened = read(tmp_path / "x.tif")
    assert np.array_equal(pixels[..., 0], (deep >> (bits - 8)).clip(max=255))
    assert brightened == (bits < 16)


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_are_never_read_as_black(tmp_path, channels):
    path = tmp_path / "x.png"
    deep = np.dstack([COLOURS, np.full_like(SMOOTH, 255)])[..., :channels].astype(np.uint16)
    path.write_bytes(deep_png(deep * 257))
    assert np.array_equal(read_pixels(path), COLOURS)
    deep[..., :3] <<= 4
    deep[..., 3:] *= 257
    path.write_bytes(deep_png(deep))
    refused(lambda: read(path), ValueError, "x.png", "lower 14 bits", "8 bits per channel")
    many = np.tile(deep, (10, 10, 1))
    many[0, :7, :3] = 0xFFFF  # saturated
    path.write_bytes(deep_png(many))
    refused(lambda: read(path), ValueError, "x.png", "lower 14 bits")


def test_cmyk(tmp_path):
    Image.fromarray(COLOURS).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    assert np.abs(read_pixels(tmp_path / "x.jpg").astype(int) - COLOURS).mean() < 6


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_the_true_reason(tmp_path):
    floats = saved(tmp_path / "f.tif", Image.fromarray(SMOOTH.astype(np.float32)))
    refused(lambda: read(floats), ValueError, "f.tif: floating-point", "8 bits per pixel")
    wide = saved(tmp_path / "i.tif", Image.fromarray(SMOOTH.astype(np.int32) << 20))
    refused(lambda: read(wide), ValueError, "i.tif: 32-bit")
    scan = saved(tmp_path / "scan.png", Image.new("1", (20000, 10000)))
    refused(lambda: read(scan), ValueError, "scan.png: a photo of 200 megapixels", "shrink it")
    for content in (b"", b"<html>", bytes(100)):
        (tmp_path / "x.jpg").write_bytes(content)
        refused(lambda: read(tmp_path / "x.jpg"), ValueError, "x.jpg", "format is unknown")


def several(path: Path, *subfiles: int, **options: object) -> Path:
    """A file of COLOURS and one more picture for each of ``subfiles``, which says its kind."""
    more = [Image.fromarray(COLOURS // (i + 2)) for i in range(len(subfiles))]
    for image, subfile in zip(more, subfiles, strict=True):
        image.encoderinfo = {"tiffinfo": {254: subfile}} if path.suffix == ".tif" else {}
    Image.fromarray(COLOURS).save(path, save_all=True, append_images=more, **options)
    return path


@pytest.mark.parametrize(
    ("ending", "subfiles", "pictures"),
    [("tif", (0, 0), 3), ("tif", (1, 2, 4), 2), ("webp", (0, 0), 3), ("avif", (0,), 2)],
)
def test_several_pictures_in_one_file_are_refused(tmp_path, ending, subfiles, pictures):
    path = several(tmp_path / f"x.{ending}", *subfiles)
    problem = f"file of {pictures} pictures; save one photo per file"
    refused(lambda: read(path), ValueError, path.name, problem)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "heic"])
def test_a_photo_with_thumbnails_or_further_shots_is_its_first_picture(tmp_path, ending):
    if ending == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    note = Image.Exif()
    note[0x112] = 6
    options = {"tif": {"exif": note}, "jpg": {"format": "MPO"}}.get(ending, {})
    path = several(tmp_path / f"x.{ending}", 1, 4, 5, **options)
    with Image.open(path) as opened:
        assert opened.n_frames == 4
    photo = read(path)
    expected = np.rot90(COLOURS, -1) if ending == "tif" else COLOURS
    assert photo.pixels.shape == expected.shape
    assert np.abs(photo.pixels.astype(int) - expected).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path, orientation):
    note = Image.Exif()
    note[0x112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, "PNG", exif=note)
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    photo = read(tmp_path / "x.png")
    assert photo.orientation == orientation
    turned = COLOURS.transpose(1, 0, 2) if orientation > 4 else COLOURS
    corners = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1)}
    corners |= {5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    down, across = corners[orientation]
    assert np.array_equal(photo.pixels, turned[::down, ::across])
