"""The authors' nets as ours: the same scores as another implementation of Caffe, on one file.

The oracle is OpenCV's reader of Caffe nets. It gets the layers of the release, as described in
fcn/replication/benchmark/caffe_nets.py, and random weights, which our net reads from the same file.
"""

import functools
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import reference_weights
import scipy.io
import torch
from PIL import Image

from fcn.__main__ import main
from fcn.data import reading, registry, sift_flow, voc
from fcn.models import LateFusion
from fcn.replication import released
from fcn.replication.benchmark.caffe_nets import NETS, CaffeNet, fcn_vgg16
from fcn.replication.released import REFERENCES

SIZES = [(61, 39), (75, 121), (17, 71)]  # height, width
TOLERANCE = 1e-4  # of the largest score
GEO_CROP = '_geo" crop_param {{ axis: 2 offset: {}'
BGR, HHA = (2, 1, 0), (0, 1, 2)  # the channels of an image in the order that the release feeds them
MEANS = {
    "pascal": (104.00699, 116.66877, 122.67892),
    "siftflow": (114.578, 115.294, 108.353),
    "pascalcontext": (104.007, 116.669, 122.679),
    "nyud": (116.190, 97.203, 92.318),
    "hha": (132.431, 94.076, 118.477),
}
Inputs = dict[str, tuple[str, tuple[int, int, int]]]


def inputs_of(name: str) -> Inputs:
    """For each input of the net, the key of its mean and the order of its channels."""
    colour, hha = ("nyud", BGR), ("hha", HHA)
    if name.startswith("nyud"):
        return {
            "nyud-fcn32s-color-heavy": {"data": colour},
            "nyud-fcn32s-hha-heavy": {"data": hha},
            "nyud-fcn32s-color-hha-heavy": {"color": colour, "hha": hha},
        }[name]
    return {"data": ("pascal" if name.endswith("-pascal") else name.partition("-")[0], BGR)}


@functools.cache
def made(name: str) -> CaffeNet:
    return NETS[name]()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Our net with the weights of a file of the release, by its name."""
    folder = tmp_path_factory.mktemp("weights")

    @functools.cache
    def load(name: str):
        return released.load(made(name).write(folder / f"{name}.caffemodel"))

    return load


def image_of(size: tuple[int, int], channels: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (channels, *size)).astype(np.float32)


def caffe_scores(
    net: CaffeNet, prototxt: str, inputs: Inputs, image: np.ndarray
) -> dict[str, np.ndarray]:
    """The scores of each head by OpenCV, for an image of bytes, C x H x W, RGB above HHA."""
    read = cv2.dnn.readNetFromCaffe(
        *(np.frombuffer(part, np.uint8) for part in (prototxt.encode(), net.caffemodel()))
    )
    for i, (name, (mean, order)) in enumerate(inputs.items()):
        channels = image[3 * i : 3 * i + 3][list(order)]
        read.setInput(
            (channels - np.array(MEANS[mean])[:, None, None])[None].astype(np.float32), name
        )
    return dict(zip(net.outputs, read.forward(list(net.outputs.values())), strict=True))


def difference(ours: dict[str, torch.Tensor], theirs: dict[str, np.ndarray]) -> float:
    """The largest of any head, as a share of the head's largest score."""
    assert ours.keys() == theirs.keys()
    for head, scores in theirs.items():
        assert ours[head].shape == scores.shape
        assert scores.std() > 10  # or there would be nothing to compare
    return max(
        np.abs(ours[head].numpy() - scores).max() / np.abs(scores).max()
        for head, scores in theirs.items()
    )


@torch.no_grad()
def compared(
    name: str, net: torch.nn.Module, size: tuple[int, int], old: str = "", new: str = ""
) -> float:
    """The difference between our scores and OpenCV's, with ``old`` replaced in its prototxt."""
    prototxt = made(name).prototxt(size)
    assert old in prototxt
    image = image_of(size, 3 * len(inputs_of(name)))
    theirs = caffe_scores(
        made(name), prototxt.replace(old, new) if old else prototxt, inputs_of(name), image
    )
    return difference(net(torch.from_numpy(image)[None] / 255), theirs)


@pytest.mark.parametrize("name", NETS)
def test_scores_are_those_of_another_implementation_of_caffe(name, loaded):
    for size in SIZES:
        assert compared(name, loaded(name), size) < TOLERANCE, size


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("fcn32s-heavy-pascal", "pad: 100", "pad: 99"),
        ("fcn32s-heavy-pascal", "offset: 19", "offset: 20"),
        ("fcn16s-heavy-pascal", "offset: 5", "offset: 6"),
        ("fcn16s-heavy-pascal", "offset: 27", "offset: 26"),
        ("fcn8s-heavy-pascal", "offset: 5", "offset: 4"),
        ("fcn8s-heavy-pascal", "offset: 9", "offset: 10"),
        ("fcn8s-heavy-pascal", "offset: 31", "offset: 32"),
        ("fcn8s-atonce-pascal", "offset: 5", "offset: 6"),
        ("fcn8s-atonce-pascal", "offset: 9", "offset: 8"),
        ("fcn-alexnet-pascal", "offset: 18", "offset: 19"),
        ("fcn-alexnet-pascal", "alpha: 0.0001", "alpha: 0.0002"),
        ("fcn-alexnet-pascal", "kernel_size: 3 stride: 2", "kernel_size: 3 stride: 2 pad: 1"),
        ("siftflow-fcn8s-heavy", GEO_CROP.format(31), GEO_CROP.format(30)),
        ("nyud-fcn32s-color-hha-heavy", "coeff: 0.5 coeff: 0.5", "coeff: 0.6 coeff: 0.4"),
    ],
)
def test_a_net_that_differs_in_one_number_is_told_apart(name, old, new, loaded):
    assert compared(name, loaded(name), (61, 39), old, new) > 20 * TOLERANCE


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("fcn32s-heavy-pascal", {"data": ("pascal", HHA)}),
        ("fcn32s-heavy-pascal", {"data": ("siftflow", BGR)}),
        ("nyud-fcn32s-hha-heavy", {"data": ("hha", BGR)}),
        ("nyud-fcn32s-color-hha-heavy", {"color": ("nyud", BGR), "hha": ("nyud", HHA)}),
    ],
    ids=["channels", "mean", "channels of HHA", "mean of HHA"],
)
def test_an_image_prepared_otherwise_is_told_apart(name, wrong, loaded):
    image = image_of((61, 39), 3 * len(wrong))
    with torch.no_grad():
        ours = loaded(name)(torch.from_numpy(image)[None] / 255)
    theirs = caffe_scores(made(name), made(name).prototxt((61, 39)), wrong, image)
    assert difference(ours, theirs) > 20 * TOLERANCE


# The table of files


def test_every_file_of_the_release_is_known_by_its_name():
    assert REFERENCES.keys() == NETS.keys() == set(reference_weights.FILES.values())
    assert {r.dataset for r in REFERENCES.values()} <= set(registry.DATASETS)


def test_the_published_scores_are_those_of_the_readme():
    published = {name: r.expected for name, r in REFERENCES.items() if r.expected is not None}
    assert published == {
        "fcn32s-heavy-pascal": 63.6,
        "fcn16s-heavy-pascal": 65.0,
        "fcn8s-heavy-pascal": 65.5,
        "fcn8s-atonce-pascal": 65.4,
        "fcn-alexnet-pascal": 48.0,
    }


@pytest.mark.parametrize("name", NETS)
def test_each_net_subtracts_the_mean_of_its_data(name, loaded):
    net = loaded(name)
    parts = [net.colour, net.hha] if isinstance(net, LateFusion) else [net]
    for part, (mean, _) in zip(parts, inputs_of(name).values(), strict=True):
        assert part.mean.tolist() == pytest.approx(MEANS[mean], rel=1e-6)
    assert not net.training


# What is said of files


def test_constants_that_differ_are_named_in_a_line_each(tmp_path):
    net = fcn_vgg16(8, scales=(0.01, 0.0001))
    net.blobs["upscore2"][0][3, 3] += 1e-3
    net.blobs["upscore8"][0][3, 4] += 1e-3  # another class's
    net.blobs["scale_pool3"][0] *= 2
    lines: list[str] = []
    read = released.load(net.write(tmp_path / "fcn8s-atonce-pascal.caffemodel"), lines.append)
    assert sorted(line.split()[1] for line in lines) == [
        "scale_pool3.weight",
        "upscore2.weight",
        "upscore8.weight",
    ]
    assert all("\n" not in line and "fcn8s-atonce-pascal" in line for line in lines)
    kept = released.load(
        NETS["fcn8s-atonce-pascal"]().write(tmp_path / "fcn8s-atonce-pascal.caffemodel")
    )
    image = torch.rand(1, 3, 40, 33)
    assert torch.equal(read(image)["semantic"], kept(image)["semantic"])


def test_constants_that_agree_or_are_not_in_the_file_are_not_spoken_of(tmp_path):
    net = NETS["fcn8s-atonce-pascal"]()
    path = net.write(tmp_path / "fcn8s-atonce-pascal.caffemodel")
    released.load(path, pytest.fail)
    for name in ("upscore2", "upscore_pool4", "upscore8", "scale_pool4", "scale_pool3"):
        del net.blobs[name]
    released.load(net.write(path), pytest.fail)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ("fcn16s-heavy-pascal", "fcn8s-heavy-pascal", "without score_pool3.weight"),
        (
            "fcn8s-heavy-pascal",
            "fcn16s-heavy-pascal",
            "with upscore_pool4.weight, score_pool3.weight",
        ),
        ("fcn8s-atonce-pascal", "fcn8s-heavy-pascal", "with scale_pool"),
        ("pascalcontext-fcn8s-heavy", "fcn8s-heavy-pascal", "60x256x1x1 instead of 21x256x1x1"),
        ("nyud-fcn32s-color-heavy", "nyud-fcn32s-color-hha-heavy", "without conv1_1color"),
        ("fcn-alexnet-pascal", "fcn32s-heavy-pascal", "without conv1_1"),
        ("fcn8s-heavy-pascal", "vgg16-something", "keep its name"),
    ],
)
def test_another_net_under_the_name_is_refused(tmp_path, content, name, said):
    path = made(content).write(tmp_path / f"{name}.caffemodel")
    with pytest.raises(ValueError, match=said) as error:
        released.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="fcn8s-heavy-pascal"):
        released.load(tmp_path / "fcn8s-heavy-pascal.caffemodel")


# One command: evaluate EXPERIMENT --weights FILE


def evaluate(monkeypatch, experiment: str, weights: Path, data: Path) -> int | str | None:
    monkeypatch.setattr(
        sys,
        "argv",
        [
            "fcn",
            "evaluate",
            experiment,
            "--weights",
            str(weights),
            "--data",
            str(data),
            "--device",
            "cpu",
        ],
    )
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Two photos each of VOC 2012, SIFT Flow and NYUDv2, official layouts, random labels."""
    random = np.random.default_rng(3)
    size, names = (40, 57), ["1", "2"]
    photos = [
        Image.fromarray(random.integers(0, 256, (*size, 3)).astype(np.uint8)) for _ in range(4)
    ]
    root = tmp_path / "data"

    def folder(*parts: str) -> Path:
        (made := root.joinpath(*parts)).mkdir(parents=True, exist_ok=True)
        return made

    lists = folder("lists")
    for name in ("nyud_test", "sift_flow_test", "voc_seg11valid"):
        (lists / f"{name}.txt").write_text("\n".join(names))
    monkeypatch.setattr(reading, "LISTS", lists)
    monkeypatch.setattr(voc, "SEG11VALID", lists / "voc_seg11valid.txt")
    year, flow, rooms = ("pascal", "VOCdevkit", "VOC2012"), sift_flow.COLLECTION, ("nyud", "data")
    for name, photo, other in zip(names, photos[:2], photos[2:], strict=True):
        photo.save(folder(*year, "JPEGImages") / f"{name}.jpg")
        labels = random.integers(0, 21, size).astype(np.uint8)
        labels[:5] = 255
        Image.fromarray(labels).save(folder(*year, "SegmentationClass") / f"{name}.png")
        photo.save(folder("sift-flow", "Images", flow) / f"{name}.jpg")
        for kind, classes in (("SemanticLabels", 33), ("GeoLabels", 3)):
            labels = random.integers(1, classes + 1, size)
            scipy.io.savemat(folder("sift-flow", kind, flow) / f"{name}.mat", {"S": labels})
        photo.save(folder(*rooms, "images") / f"img_{name}.png")
        other.save(folder(*rooms, "hha") / f"img_{name}.png")
        labels = random.integers(0, 41, size)
        scipy.io.savemat(
            folder("nyud", "segmentation") / f"img_{name}.mat", {"segmentation": labels}
        )
    return root


def test_evaluate_scores_a_released_net_as_caffe_does(data, tmp_path, monkeypatch, capsys):
    name = "fcn8s-heavy-pascal"
    weights = made(name).write(tmp_path / f"{name}.caffemodel")
    assert evaluate(monkeypatch, "voc-vgg16-8s", weights, data) in (0, None)
    right = labelled = 0
    for photo in ("1", "2"):
        year = data / "pascal/VOCdevkit/VOC2012"
        image = np.array(Image.open(year / "JPEGImages" / f"{photo}.jpg"), np.float32).transpose(
            2, 0, 1
        )
        labels = np.array(Image.open(year / "SegmentationClass" / f"{photo}.png"))
        scores = caffe_scores(
            made(name), made(name).prototxt(labels.shape), inputs_of(name), image
        )["semantic"][0]
        right += (scores.argmax(0) == labels)[labels != 255].sum()
        labelled += (labels != 255).sum()
    ours, published = capsys.readouterr().out.splitlines()
    assert ours.startswith(f"semantic: pixel acc. {100 * right / labelled:.2f}  ")
    assert published.startswith(f"published for {name}: mean IU 65.5 on ")


@pytest.mark.parametrize(
    ("experiment", "name", "heads"),
    [
        ("sift-flow-vgg16-8s-heavy", "siftflow-fcn8s-heavy", 2),
        ("nyud-vgg16-32s-rgb-hha", "nyud-fcn32s-color-hha-heavy", 1),
        ("nyud-vgg16-32s-hha", "nyud-fcn32s-hha-heavy", 1),
    ],
)
def test_evaluate_says_where_no_score_is_published(
    experiment, name, heads, data, tmp_path, monkeypatch, capsys
):
    weights = made(name).write(tmp_path / f"{name}.caffemodel")
    assert evaluate(monkeypatch, experiment, weights, data) in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == heads + 1
    assert f"published for {name}: no number" in lines[-1]


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("nyud-vgg16-32s-rgb", "nyud-fcn32s-hha-heavy"),
        ("nyud-vgg16-32s-hha", "nyud-fcn32s-color-hha-heavy"),
        ("voc-vgg16-8s", "siftflow-fcn8s-heavy"),
        ("voc-vgg16-8s", "somebody-elses"),
    ],
)
def test_evaluate_refuses_a_net_of_other_data(
    experiment, name, data, tmp_path, monkeypatch, capsys
):
    weights = tmp_path / f"{name}.caffemodel"
    made(name if name in NETS else "fcn8s-heavy-pascal").write(weights)
    assert evaluate(monkeypatch, experiment, weights, data) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert weights.name in printed.err
    assert not printed.out
