"""Rasters with a georeference: labels get the same; any size, any bands."""

import importlib.util
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn import models
from fcn.data import voc
from fcn.data.photos import read_pixels
from fcn.models import FCN
from fcn.predict import geotiff, output
from fcn.predict import photo as photos
from fcn.predict.command import SOME_FAILED, predict_photos
from fcn.predict.nets import TorchNet
from fcn.predict.segmenter import Segmenter

rasterio = pytest.importorskip("rasterio")
ORIGIN = rasterio.transform.from_origin(500_000, 5_300_000, 0.2, 0.2)  # pixels of 20 cm


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    made = FCN("alexnet", 16, heads={"semantic": 3}, width=0.02)
    for parameter in made.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    metadata = {"classes": json.dumps({"semantic": ["road", "roof", "lawn"]})}
    models.save(made, path, metadata | {"palette": "[[9, 8, 7], [200, 0, 0], [0, 200, 0]]"})
    return path


def raster(path: Path, bands: np.ndarray, **profile) -> Path:
    """Write ``bands``, C x H x W, in UTM zone 33N."""
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "crs": "EPSG:32633", "transform": ORIGIN} | profile
    with rasterio.open(
        path,
        "w",
        count=count,
        height=height,
        width=width,
        dtype=bands.dtype,
        **profile,
    ) as made:
        made.write(bands)
    return path


def noise(channels: int, height: int, width: int, most: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, (channels, height, width)).astype(np.uint8)


@pytest.mark.parametrize("side", [None, 64])
def test_labels_have_the_georeference_of_the_photo(net, tmp_path, monkeypatch, side):
    monkeypatch.setattr(TorchNet, "whole", 200**2)  # so that windows are read
    monkeypatch.setattr(photos, "LARGE", 200**2)
    monkeypatch.setattr("fcn.predict.tiles.plan", lambda margin, whole: 96)
    bands = noise(3, 210, 330)
    path = raster(tmp_path / "field.tif", bands)
    settings = {"weights": net, "out": tmp_path / "out", "side": side, "device": "cpu"}
    assert predict_photos([str(path)], **settings) == 0
    with rasterio.open(tmp_path / "out" / "field.labels.tif") as written:
        assert written.crs.to_epsg() == 32633
        assert written.transform == ORIGIN
        assert (written.height, written.width, written.count) == (210, 330, 1)
        assert written.colormap(1)[1] == (200, 0, 0, 255)
        labels = written.read(1)
    assert len(np.unique(labels)) > 1
    if side is None:
        whole = Segmenter(net).labels(bands.transpose(1, 2, 0), None, core=10_016)
        np.testing.assert_array_equal(labels, whole)
    with Image.open(tmp_path / "out" / "field.overlay.png") as overlay:
        assert overlay.width == 800


def test_pixels_without_data_are_void(net, tmp_path):
    bands = noise(3, 60, 70, 255) + 1
    bands[:, :20] = 0
    path = raster(tmp_path / "a.tiff", bands, nodata=0)
    settings = {"weights": net, "out": tmp_path, "side": 512, "device": "cpu"}
    assert predict_photos([str(path)], **settings) == 0
    with rasterio.open(tmp_path / "a.labels.tif") as written:
        labels = written.read(1)
        assert written.nodata == 255
    assert (labels[:20] == 255).all()
    assert (labels[20:] < 3).all()


def predict(*arguments, net, **settings) -> int:
    settings = {"out": Path("out"), "side": 64, "device": "cpu"} | settings
    return predict_photos([*map(str, arguments)], weights=net, **settings)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "settings", [{}, {"overlay": False}, {"side": None, "overlay": False}, {"shard": 3}]
)
@pytest.mark.parametrize("large", [2**24, 50**2])
def test_a_raster_that_is_cut_off_is_one_failure(net, home, monkeypatch, settings, large):
    monkeypatch.setattr(photos, "LARGE", large)
    monkeypatch.setattr(TorchNet, "whole", large)  # so that windows are read
    Path("in").mkdir()
    for name in "abc":
        path = raster(Path(f"in/{name}.tif"), noise(3, 64, 64), nodata=0)
    whole = path.read_bytes()
    Path("in/b.tif").write_bytes(whole[: len(whole) // 2])
    assert predict("in", net=net, **settings) == SOME_FAILED
    assert Path("out/failures.txt").read_text() == "in/b.tif\n"
    assert len([*Path("out").glob("*.labels.tif")]) == (0 if "shard" in settings else 2)


def test_a_raster_whose_overviews_are_whole_is_one_failure(net, home, capsys):
    Path("in").mkdir()
    for name in "ab":
        raster(Path(f"in/{name}.tif"), noise(3, 1024, 1024), driver="COG", nodata=0)
    with open("in/a.tif", "r+b") as file:  # a download that is not finished
        file.truncate(Path("in/a.tif").stat().st_size // 2)
    assert photos.read(Path("in/a.tif"), 64, page=False).shrunk.shape == (64, 64, 3)
    assert predict("in", net=net, overlay=False) == SOME_FAILED
    assert [p.name for p in Path("out").iterdir()] == ["b.labels.tif", "failures.txt"]
    assert "in/a.tif: cannot be read as a photo" in capsys.readouterr().err


def test_too_little_memory_for_a_raster_is_its_failure(net, home, monkeypatch, capsys):
    monkeypatch.setattr(TorchNet, "whole", 50**2)
    raster(Path("a.tif"), noise(3, 64, 64))
    raster(Path("b.tif"), noise(3, 40, 40))

    def exhausted(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(TorchNet, "part", exhausted)
    assert predict("a.tif", "b.tif", net=net, overlay=False) == SOME_FAILED
    assert "a.tif: not enough memory; give a smaller --side" in capsys.readouterr().err
    monkeypatch.setattr(TorchNet, "part", None)  # a fault of ours
    with pytest.raises(TypeError):
        predict("a.tif", net=net, overlay=False)


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from fcn.predict import geotiff
sys.dont_write_bytecode = True  # cut off, too
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
labels = np.random.default_rng(0).integers(0, 3, (90, 90)).astype(np.uint8)
geotiff.find(Path("a.tif")).save(Path("out/a.labels.tif"), [labels], np.zeros((3, 3), np.uint8))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits")
def test_labels_that_a_full_disk_cannot_hold_are_named(home):
    raster(Path("a.tif"), noise(3, 90, 90))
    full = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=False)
    assert "OSError: out/a.labels.tif: cannot be written" in full.stderr
    assert [*Path("out").iterdir()] == []


def test_pixels_without_data_are_void_in_every_output(net, home):
    bands = noise(3, 60, 70, 255) + 1
    bands[:, :20] = 0
    path = raster(Path("a.tif"), bands, nodata=0)
    torch.manual_seed(0)
    made = FCN("alexnet", 32, heads={"semantic": 21}, width=0.02)
    models.save(made, "voc.safetensors", {"classes": json.dumps({"semantic": voc.CLASSES})})
    for weights, colours in {net: 3, Path("voc.safetensors"): 21}.items():
        out = Path(f"out{colours}")
        assert predict(path, net=weights, out=out) == 0
        assert predict(path, net=weights, out=out, shard=1) == 0
        with rasterio.open(out / "a.labels.tif") as written:
            expected = written.read(1)
        assert (expected[:20] == 255).all()
        with tarfile.open(out / "shard-000000.tar") as archive:
            with Image.open(archive.extractfile("a.labels.png")) as labels:
                np.testing.assert_array_equal(np.asarray(labels), expected)
                assert labels.mode == "P"
            (line,) = archive.extractfile("index.jsonl")
        found = dict(output.shares(expected, Segmenter(weights).classes))
        assert json.loads(line)["shares"] == found
        assert sum(found.values()) == pytest.approx(100)
    assert predict(path, net=weights, submission=Path("hand-in")) == 0
    with Image.open(Path("hand-in") / output.SUBMISSION / "a.png") as labels:
        np.testing.assert_array_equal(np.asarray(labels), expected)


def test_void_beyond_255_classes(home):
    labels = np.array([[0, 1], [255, 65535]], np.uint16)
    picture = output.label_map(labels, np.zeros((256, 3), np.uint8))
    np.testing.assert_array_equal(np.asarray(picture), labels)


def test_a_raster_by_another_net_or_side_is_not_taken_for_done(net, home, capsys):
    raster(Path("a.tif"), noise(3, 40, 40))
    assert predict("a.tif", net=net) == 0
    with pytest.raises(ValueError, match=r"a\.labels\.tif: by another net or --side"):
        predict("a.tif", net=net, side=32, resume=True)
    capsys.readouterr()
    assert predict("a.tif", net=net, resume=True) == 0
    assert "1 photos were done before" in capsys.readouterr().err


@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (12, 4), (16, 8)])
def test_16_bits_keep_the_upper_eight_that_are_used(tmp_path, bits, shift):
    bands = np.random.default_rng(0).integers(0, 1 << bits, (4, 50, 60)).astype(np.uint16)
    bands[0, 0, 0] = (1 << bits) - 1
    photo = photos.read(raster(tmp_path / "a.tif", bands), None)
    np.testing.assert_array_equal(photo.shrunk[:, :], (bands[:3] >> shift).transpose(1, 2, 0))


def test_bits_are_counted_where_there_are_data(tmp_path):
    bands = np.random.default_rng(0).integers(0, 1 << 12, (3, 50, 60)).astype(np.uint16)
    bands[:, :9], bands[0, 20, 0] = 0xFFFF, (1 << 12) - 1
    photo = photos.read(raster(tmp_path / "a.tif", bands, nodata=0xFFFF), None)
    np.testing.assert_array_equal(photo.shrunk[9:, :], (bands[:, 9:] >> 4).transpose(1, 2, 0))
    empty = photos.read(raster(tmp_path / "b.tif", bands[:, :9], nodata=0xFFFF), None)
    assert (empty.shrunk[:, :] == 255).all()


@pytest.mark.parametrize(("bits", "shift"), [(9, 2), (11, 4), (12, 4), (13, 6), (16, 8)])
def test_a_georeference_and_saturated_pixels_do_not_change_the_brightness(tmp_path, bits, shift):
    bands = np.random.default_rng(0).integers(0, 1 << bits, (1, 200, 300)).astype(np.uint16)
    bands[0, 0, :6] = 0xFFFF  # 1 in 10,000
    path = raster(tmp_path / "a.tif", bands)
    expected = np.repeat((bands[0] >> shift).clip(max=255)[..., None], 3, axis=2)
    np.testing.assert_array_equal(photos.read(path, None).shrunk[:, :], expected)
    np.testing.assert_array_equal(read_pixels(path), expected)


def test_overviews_and_masks_are_no_further_photos(tmp_path):
    bands = noise(3, 64, 80)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = raster(tmp_path / "a.tif", bands)
        with rasterio.open(path, "r+") as made:
            made.write_mask(np.full(bands.shape[1:], 255, np.uint8))
            made.build_overviews([2, 4])
    with Image.open(path) as opened:
        assert opened.is_animated
    expected = bands.transpose(1, 2, 0)
    np.testing.assert_array_equal(photos.read(path, None).shrunk[:, :], expected)
    np.testing.assert_array_equal(read_pixels(path), expected)


def test_bands_are_found_by_their_colours(tmp_path):
    bands = noise(4, 20, 30)
    path = raster(tmp_path / "a.tif", bands)
    with rasterio.open(path, "r+") as made:
        names = ("undefined", "blue", "green", "red")
        made.colorinterp = [rasterio.enums.ColorInterp[name] for name in names]
    photo = photos.read(path, None)
    np.testing.assert_array_equal(photo.shrunk[:, :], bands[[3, 2, 1]].transpose(1, 2, 0))


def test_grey_rasters_and_parts(tmp_path):
    bands = noise(1, 40, 30)
    photo = photos.read(raster(tmp_path / "a.tif", bands), None)
    part = photo.shrunk[10:25, 5:30]
    np.testing.assert_array_equal(part, np.repeat(bands[0, 10:25, 5:30, None], 3, axis=2))


def test_fractions_are_refused_and_plain_tiffs_are_photos(tmp_path):
    path = raster(tmp_path / "a.tif", np.ones((3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"a\.tif: its pixels are float32"):
        photos.read(path)
    Image.new("RGB", (30, 20), "red").save(tmp_path / "b.tif")
    assert photos.read(tmp_path / "b.tif").raster is None


def test_without_rasterio_a_georeference_is_not_lost_silently(tmp_path, monkeypatch):
    path = raster(tmp_path / "a.tif", noise(3, 8, 8))
    Image.new("RGB", (30, 20), "red").save(tmp_path / "b.tif")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "rasterio" else find(name)
    )
    with pytest.raises(ValueError, match=r"a\.tif: a GeoTIFF; .*fcn-book\[formats\]"):
        geotiff.find(path)
    assert geotiff.find(tmp_path / "b.tif") is None


def test_rasterio_is_imported_only_for_tiffs(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    code = (
        "import sys; from pathlib import Path; from fcn.predict import photo\n"
        f"photo.read(Path({str(tmp_path / 'a.png')!r})); assert 'rasterio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
