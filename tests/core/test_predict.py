"""Segmentation of photos: enlarged scores, the overlay, and what the import of the module costs."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from fcn.predict import enlarged_argmax, overlay, shares

UNNEEDED = [
    "lightning",
    "lightning_fabric",
    "matplotlib",
    "pandas",
    "scipy",
    "torch",
    "torchvision",
]


def test_import_loads_few_modules_and_no_heavy_dependency():
    code = "import sys, fcn.predict; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    ours = [name for name in loaded if name.split(".")[0] == "fcn"]
    assert len(ours) <= 15, ours
    assert not set(UNNEEDED) & set(loaded)


@pytest.mark.parametrize("size", [(9, 13), (150, 200), (64, 31), (5, 7), (1, 300)])
@pytest.mark.parametrize("cells", [(9, 13), (1, 13), (9, 1)])
@pytest.mark.parametrize("smooth", [False, True])
def test_enlarged_scores_have_the_classes_of_torchs_interpolation(size, cells, smooth):
    scores = torch.randn(1, 4, *cells, generator=torch.Generator().manual_seed(0)).double()
    if smooth:  # large areas of one class
        scores[:, 1] += torch.linspace(-9, 9, cells[1])
    whole = interpolate(scores, size=size, mode="bilinear")
    margin = whole[0].topk(2, dim=0).values.diff(dim=0)[0].abs() > 1e-5
    found = torch.from_numpy(enlarged_argmax(scores[0].numpy(), *size).astype(int))
    assert found.shape == size
    assert torch.equal(found[margin], whole[0].argmax(0)[margin])
    assert margin.float().mean() > 0.9


def test_shares_are_in_percent_largest_first():
    labels = torch.tensor([[0, 2, 2], [2, 2, 0]])
    found = shares(labels, ["sky", "sea", "sand"])
    assert found == [("sand", pytest.approx(400 / 6)), ("sky", pytest.approx(200 / 6))]


def test_void_has_no_share():
    labels = np.array([[0, 255, 255], [255, 1, 1]], np.uint8)
    found = shares(labels, ["sky", "sea"])
    assert found == [("sea", pytest.approx(200 / 3)), ("sky", pytest.approx(100 / 3))]
    assert shares(np.full((2, 2), 255), ["sky"]) == []


def drawn(height: int, width: int, names: list[str]) -> Image.Image:
    """The overlay of a white photo whose classes are vertical stripes."""
    palette = np.array([(250, 0, 0), (0, 0, 250), (0, 250, 0)], np.uint8)[: len(names)]
    labels = np.tile(np.arange(width) * len(names) // width, (height, 1)).astype(np.uint8)
    net = SimpleNamespace(classes=names, palette=palette)
    white = np.full((height, width, 3), 255, np.uint8)
    return overlay(white, labels, net, shares(labels, names))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "page", "photo"),
    [
        ((30, 40), 800, (800, 600)),
        ((300, 1000), 1000, (1000, 300)),
        ((3000, 4000), 1600, (1600, 1200)),
        ((900, 300), 800, (333, 1000)),
        ((1, 700), 800, (800, 1)),
        ((700, 1), 800, (1, 1000)),
    ],
)
def test_an_overlay_is_a_page_with_the_photo_above_the_legend(size, page, photo):
    picture = drawn(*size, ["sky", "sea"])
    pixels = np.asarray(picture)
    assert picture.width == page
    below = pixels[photo[1] :]
    assert 0.03 * page < len(below) < 0.05 * page
    assert (below < 128).all(-1).any()  # letters
    for colour in ((250, 0, 0), (0, 0, 250)) if min(size) > 1 else ():
        assert (below == colour).all(-1).sum() > 100  # its square in the legend
        blend = [0.45 * 255 + 0.55 * value for value in colour]
        near = np.abs(pixels[: photo[1], : photo[0]] - np.array(blend)).max(-1) < 3
        assert near.mean() == pytest.approx(0.5, abs=0.01)
    assert (pixels[: photo[1] - 1, photo[0] :] == 255).all()


@pytest.mark.parametrize("name", ["Straße", "天空", "سماء", "a\nb", "", "long " * 60, "\x00"])
def test_a_legend_can_hold_any_name(name):
    assert drawn(60, 80, [name, "sea", "sky"]).width == 800


def test_letters_beyond_ascii_are_not_boxes():
    line = [np.asarray(drawn(60, 80, [name]))[600:] for name in ("ä", "ö", "ß", "я")]
    assert len({letters.tobytes() for letters in line}) == 4
