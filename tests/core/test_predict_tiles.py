"""Tiles, and photos larger than a net or a machine takes at once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn import models
from fcn.models import FCN
from fcn.predict import photo as photos
from fcn.predict import tiles
from fcn.predict.segmenter import Segmenter, scaled_size

SHIPPED = Path(__file__).parents[2] / "weights" / "sift-flow-googlenet-8s-tuned.seed0.safetensors"


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo of coarse and fine noise, so that labels differ everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 24 + 1, width // 24 + 1, 3)).astype(np.uint8)
    large = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return (np.asarray(large) // 2 + rng.integers(0, 128, (height, width, 3))).astype(np.uint8)


def net_file(folder: Path, name: str, stride: int, **settings) -> Path:
    """A narrow net with random scores, whose means are equal, saved."""
    torch.manual_seed(0)
    net = FCN(name, stride, heads={"semantic": 5}, width=0.1, **settings).eval()
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    photo = torch.from_numpy(noise(300, 400)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        net.heads["semantic"]["score32"].bias -= net(photo)["semantic"].mean((0, 2, 3))
    path = folder / f"{name}-{stride}.safetensors"
    models.save(net, path, {"classes": json.dumps({"semantic": [*"abcde"]})}, half=False)
    return path


@pytest.mark.parametrize(
    ("name", "stride", "settings"),
    [
        ("alexnet", 8, {}),
        ("alexnet", 32, {"alignment": "reference"}),
        ("vgg16", 8, {}),
        ("vgg16", 16, {"alignment": "reference"}),
        ("googlenet", 8, {"upsampling": "interpolate"}),
        ("googlenet", 32, {}),
    ],
)
@pytest.mark.parametrize("size", [(455, 901), (1001, 390)])
def test_tiles_have_the_labels_of_the_whole_photo(tmp_path, name, stride, settings, size):
    segmenter = Segmenter(net_file(tmp_path, name, stride, **settings))
    margin = tiles.margin(segmenter.net.settings)
    assert max(size) > 64 + margin + 64  # windows end inside the photo
    photo = noise(*size)
    whole = segmenter.labels(photo, None)
    assert len(np.unique(whole)) > 2
    scores = segmenter.score([photo])[0]
    np.testing.assert_array_equal(whole, scores.argmax(0))
    differ = segmenter.labels(photo, None, core=288) != whole
    second, first = np.sort(scores, axis=0)[-2:]
    assert ((first - second)[differ] < 1e-6 * np.abs(scores).max()).all()  # a tie, but for rounding
    assert differ.mean() < 1e-5


def test_a_smaller_margin_would_change_labels(tmp_path, monkeypatch):
    segmenter = Segmenter(net_file(tmp_path, "vgg16", 8))
    photo = noise(390, 901)
    whole = segmenter.labels(photo, None)
    monkeypatch.setattr(tiles, "margin", lambda settings: 64)
    assert (segmenter.labels(photo, None, core=288) != whole).any()


@pytest.mark.parametrize("side", [300, 499])
def test_tiles_of_a_shrunk_photo_are_enlarged_alike(tmp_path, side):
    segmenter = Segmenter(net_file(tmp_path, "alexnet", 8))
    photo = noise(800, 611)
    whole = segmenter.labels(photo, side)
    np.testing.assert_array_equal(segmenter.labels(photo, side, core=96), whole)


def test_the_shipped_net_has_equal_labels_in_tiles():
    segmenter = Segmenter(SHIPPED)
    photo = noise(333, 1111)
    np.testing.assert_array_equal(
        segmenter.labels(photo, None, core=576), segmenter.labels(photo, None)
    )


def test_the_margin_is_the_reach_of_the_receptive_field():
    settings = {"net": "vgg16", "stride": 8, "alignment": "tight"}
    assert (
        tiles.margin(settings) == 288
    )  # 404 / 2, and cells of 32, 16 and 8 pixels, in steps of 32
    assert tiles.margin(settings | {"stride": 32}) == 256


@pytest.mark.parametrize(("cells", "core"), [(1, 32), (31, 32), (32, 32), (33, 32), (1000, 96)])
def test_tiles_cover_each_cell_once(cells, core):
    made = tiles.tiles(cells, core, 64)
    assert [i for t in made for i in range(t.start, t.stop)] == [*range(cells)]
    for tile in made:
        assert tile.window.start % tiles.COARSEST == 0
        assert tile.window.start in (0, tile.start - 64)
        assert tile.window.stop in (cells, tile.stop + 64)


# ------------------------------------------------------------------------------------ large photos


@pytest.fixture
def small_limit(monkeypatch):
    """Photos above 10,000 pixels count as large."""
    monkeypatch.setattr(photos, "LARGE", 10_000)
    monkeypatch.setattr(photos, "STRIP", 7_000)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("side", [None, 256])
def test_strips_read_what_the_whole_photo_holds(tmp_path, small_limit, mode, side):
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture = Image.fromarray(noise(300, 421))
    if mode == "I;16":
        Image.fromarray(np.asarray(picture)[..., 0].astype(np.uint16) << 8).save(path)
    else:
        picture = picture.convert(mode)
        if mode == "RGBA":
            picture.putalpha(Image.fromarray(noise(300, 421, 1)[..., 0]))
        picture.save(path)
    own = photos.photos.read_pixels(path)
    found = photos.read(path, side)
    assert (found.height, found.width) == (300, 421)
    size = scaled_size(300, 421, side)
    expected = Image.fromarray(own).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found.shrunk[:, :], np.asarray(expected) if side else own)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_large_photos_on_their_side_are_those_that_small_ones_are(
    tmp_path, monkeypatch, suffix, orientation
):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(301, 420)).save(path, exif=exif)
    for side in (None, 256):
        small = photos.read(path, side)
        with monkeypatch.context() as patch:
            patch.setattr(photos, "LARGE", 10_000)
            patch.setattr(photos, "STRIP", 7_000)
            large = photos.read(path, side)
        assert (large.height, large.width) == (small.height, small.width)
        np.testing.assert_array_equal(large.shrunk[:, :], small.shrunk[:, :])
        np.testing.assert_array_equal(large.page, small.page)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_photos_are_upright(tmp_path, small_limit, orientation):
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (200, 120), "white")
    picture.paste("red", (0, 0, 60, 30))
    picture.save(path, exif=exif, quality=95)
    own = photos.photos.read_pixels(path)
    found = photos.read(path, None)
    assert (found.height, found.width) == own.shape[:2]
    np.testing.assert_array_equal(found.shrunk[:, :], own)
    small = photos.read(path, 50)
    assert small.shrunk.shape == ((30, 50, 3) if orientation < 5 else (50, 30, 3))


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, small_limit, monkeypatch):
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(800, 1200)).save(path)
    sizes = []
    bands = photos._bands
    monkeypatch.setattr(
        photos, "_bands", lambda image, *rest: sizes.append(image.size) or bands(image, *rest)
    )
    photos.read(path, 64, page=False)
    assert sizes == [(150, 100)]


MEASURE = """
import resource, sys
from fcn.__main__ import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(*arguments: object) -> int:
    """The peak memory of ``fcn ARGUMENTS`` in MiB."""
    code = MEASURE.format(arguments=[*map(str, arguments)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.rsplit("peak ", 1)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes are those of Linux")
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_memory_grows_by_few_bytes_per_pixel(tmp_path, suffix):
    for name, size in {"small": (900, 600), "large": (5400, 3600)}.items():
        Image.new("RGB", size, "green").save(tmp_path / f"{name}.{suffix}")
    small, large = (
        peak("predict", tmp_path / f"{name}.{suffix}", "--out", tmp_path, "--side", 64)
        for name in ("small", "large")
    )
    megapixels = 5.4 * 3.6
    assert large - small < (3 if suffix == "jpg" else 7) * megapixels  # 12000 x 9000: under 1 GB
    with Image.open(tmp_path / "large.labels.png") as labels:
        assert labels.size == (5400, 3600)


def printed(code: str, *arguments: object) -> list[int]:
    """The numbers that a script prints."""
    command = [sys.executable, "-c", MEGABYTES + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [*map(int, done.stdout.split())]


MEGABYTES = """
import re, sys
from pathlib import Path
def megabytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1000
"""
READ = """
from fcn.predict import photo
photo.STRIP = 2**18
before = megabytes("VmHWM")
read = photo.read(Path(sys.argv[1]), None, page=False)
print(megabytes("VmHWM") - before, megabytes("VmRSS") - before, read.shrunk[8:9, 7:9].sum())
"""
KEEP = """
import numpy
from fcn.cpu.allocator import KEPT, keep_freed_memory, return_freed_memory
kept = keep_freed_memory() == KEPT
before = megabytes("VmRSS")
array, small = numpy.ones(100_000_000, numpy.uint8), numpy.ones(100)
del array
print(int(kept), megabytes("VmRSS") - before)
return_freed_memory()
array = numpy.ones(100_000_000, numpy.uint8)
del array
print(megabytes("VmRSS") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_photo_to_be_tiled_is_in_memory_once_while_it_is_read(tmp_path):
    Image.fromarray(noise(3600, 5400)).save(tmp_path / "a.png", compress_level=1)
    peak, rest, total = printed(READ, tmp_path / "a.png")
    assert peak < 5.5 * 5.4 * 3.6  # Pillow has four bytes per pixel
    assert rest < 40
    with Image.open(tmp_path / "a.png") as picture:
        assert total == np.asarray(picture)[8:9, 7:9].sum()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_a_net_keeps_is_returned_for_large_photos():
    kept, before, after = printed(KEEP)
    if not kept:
        pytest.skip("another allocator")
    assert before > 90
    assert after < 20
