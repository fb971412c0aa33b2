"""Exported nets: the scores of torch at any size, in half the bytes; which engine a photo gets."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from fcn import export, models
from fcn.classifiers import MaxPool
from fcn.environment import sha256
from fcn.models import FCN
from fcn.predict import OnnxNet, Segmenter, TorchNet
from fcn.preprocessing import as_caffe
from fcn.upsampling import Upsampling

CLASSES = {"semantic": ["sky", "sea", "sand", "tree"], "geometric": ["a", "b"]}


def saved(path: Path, seed: int = 0) -> Path:
    """A tiny random net with two heads, saved as ``train`` does."""
    torch.manual_seed(seed)
    heads = {head: len(names) for head, names in CLASSES.items()}
    net = FCN("googlenet", 8, heads=heads, upsampling="bilinear", width=0.1)
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    models.save(net, path, {"classes": json.dumps(CLASSES), "palette": "[[9, 8, 7]]"})
    return path


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    """A saved net with its export next to it."""
    path = saved(tmp_path_factory.mktemp("nets") / "net.safetensors")
    export.export(path, path.with_suffix(".onnx"))
    return path


@pytest.fixture
def photos() -> list[np.ndarray]:
    """Noise in blobs: smaller than a cell of the coarsest scores, at odd sizes, and large."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (7, 50), (40, 31), (97, 131), (300, 222)]
    small = [rng.integers(0, 256, (-(-h // 9), -(-w // 9), 3), np.uint8) for h, w in sizes]
    grown = [np.repeat(np.repeat(blobs, 9, axis=0), 9, axis=1) for blobs in small]
    return [blobs[:h, :w] for blobs, (h, w) in zip(grown, sizes, strict=True)]


def test_both_engines_find_the_same(net: Path, photos: list[np.ndarray]) -> None:
    onnx_net, torch_net = OnnxNet(net.with_suffix(".onnx")), TorchNet(net, "cpu")
    for photo in photos:
        for head, names in CLASSES.items():
            theirs, ours = torch_net.scores(photo, head), onnx_net.scores(photo, head)
            assert ours.shape == theirs.shape == (len(names), *photo.shape[:2])
            np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_a_segmenter_takes_the_export_unless_the_net_has_changed(
    net: Path, photos: list[np.ndarray], tmp_path: Path
) -> None:
    fast = Segmenter(net)
    assert isinstance(fast.net, OnnxNet)
    assert (fast.classes, fast.palette.shape) == (CLASSES["semantic"], (4, 3))
    assert fast.net.settings == models.load(net).settings
    best = Segmenter(net, device="auto")
    assert (best.labels(photos[3]) != fast.labels(photos[3])).mean() < 0.002
    other = saved(tmp_path / "net.safetensors", seed=1)
    (tmp_path / "net.onnx").write_bytes(net.with_suffix(".onnx").read_bytes())
    slow = Segmenter(other)
    assert isinstance(slow.net, TorchNet)
    other.write_bytes(net.read_bytes())
    assert isinstance(Segmenter(other).net, OnnxNet)
    (tmp_path / "net.onnx").unlink()
    slow = Segmenter(other)
    assert isinstance(slow.net, TorchNet)
    for photo in photos:
        assert (fast.labels(photo, 150) != slow.labels(photo, 150)).mean() < 0.002
    assert len(np.unique(fast.labels(photos[-1]))) > 1


def test_what_is_no_export_of_a_net_does_not_keep_it_from_running(
    net: Path, photos: list[np.ndarray], tmp_path: Path
) -> None:
    own, other = tmp_path / "net.safetensors", tmp_path / "net.onnx"
    own.write_bytes(net.read_bytes())
    whole = net.with_suffix(".onnx").read_bytes()
    foreign = onnx.load_from_string(whole)
    del foreign.metadata_props[:]
    for content in (whole[: len(whole) // 2], b"", foreign.SerializeToString()):
        other.write_bytes(content)
        assert isinstance(Segmenter(own).net, TorchNet)
    with pytest.raises(ValueError, match=r"net\.onnx: not a net that `fcn export` wrote"):
        Segmenter(other)


def test_a_net_and_its_export_have_one_checksum(net: Path, tmp_path: Path) -> None:
    alone = tmp_path / "net.safetensors"
    alone.write_bytes(net.read_bytes())
    both = Segmenter(net.with_suffix(".onnx")), Segmenter(alone)
    for entry in ("a checksum", "none: an older file"):
        first, second = (segmenter.checksum for segmenter in both)
        assert first == second, entry
        assert len(first) >= 64
        for segmenter in both:
            del segmenter.checksum
            segmenter.net.metadata.pop("checksum", None)


def test_a_net_is_not_replaced_by_its_export(net: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(net.read_bytes())
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export.export(own, own)
    assert own.read_bytes() == net.read_bytes()


def test_what_is_no_photo_of_bytes_is_refused(net: Path, photos: list[np.ndarray]) -> None:
    segmenter, photo = Segmenter(net), photos[3]
    for wrong in (photo / 255, photo.astype(np.uint16), photo[..., 0], photo[..., :2], [photo]):
        with pytest.raises(ValueError, match="a photo is an array H x W x 3, uint8, not "):
            segmenter.labels(wrong)
    with pytest.raises(ValueError, match="a photo is an array"):
        segmenter(torch.from_numpy(photo))
    with pytest.raises(
        ValueError, match=r"an image is a tensor 3 x H x W, uint8, not torch\.float32"
    ):
        segmenter(torch.rand(3, 40, 31))
    with pytest.raises(ValueError, match="at least 1, not 0"):
        segmenter.labels(photo, 0)


def test_tensors_get_the_labels_of_arrays(net: Path, photos: list[np.ndarray]) -> None:
    segmenter = Segmenter(net)
    found = segmenter(torch.from_numpy(photos[3]).permute(2, 0, 1))
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), segmenter.labels(photos[3]))


def test_the_file_is_small_and_plain(net: Path) -> None:
    path = net.with_suffix(".onnx")
    model = onnx.load(path)
    weights = models.load(net).state_dict()
    stored = {t.name.removesuffix(".half"): t for t in model.graph.initializer}
    name = "trunk.inception_4e.3x3.weight"
    tensor = stored[f"net.{name}"]
    assert tensor.data_type == onnx.TensorProto.FLOAT16
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), weights[name].numpy())
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    assert len(pools) == 13
    assert not any(a.i for node in pools for a in node.attribute if a.name == "ceil_mode")
    for value in (*model.graph.input, *model.graph.output):
        axes = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert axes[::2] + axes[3:] == ["batch", "height", "width"]
    assert b"models.py" not in path.read_bytes()  # torch writes where each node comes from
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["source"] == sha256(net)
    assert json.loads(metadata["classes"]) == CLASSES


def test_an_export_that_differs_is_not_kept(net: Path, tmp_path: Path, monkeypatch) -> None:
    model = onnx.load(net.with_suffix(".onnx"))
    for tensor in model.graph.initializer:
        if "score8" in tensor.name and "bias" in tensor.name:
            values = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(values + values.dtype.type(1), tensor.name))
    monkeypatch.setattr(export, "traced", lambda *_: model)
    monkeypatch.setattr(export, "in_16_bits", lambda model: None)
    del model.metadata_props[:]
    with pytest.raises(ArithmeticError, match=r"semantic of 64 x 96 pixels differ from torch's"):
        export.export(net, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_only_nets_for_colour_photos_are_exported(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    models.save(FCN("googlenet", 32, 2, width=0.05, inputs="hha"), path, {})
    with pytest.raises(ValueError, match=r"net\.safetensors: a net for HHA"):
        export.export(path, tmp_path / "net.onnx")


def random_net(name: str, stride: int, upsampling: Upsampling = "bilinear") -> FCN:
    """A narrow net whose skips and upsampling matter."""
    torch.manual_seed(0)
    net = FCN(name, stride, 2, width=0.05, upsampling=upsampling).eval()
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return net


def assert_same(found: Callable[..., object], net: nn.Module, smallest: int = 32) -> None:
    """The same scores at sizes from ``smallest`` up, odd ones among them."""
    s = smallest
    for height, width in [(s, s), (s + 1, 2 * s), (97, 70), (71, 131), (128, 95), (103, 90)]:
        images = torch.rand(1, 3, height, width)
        with torch.inference_mode():
            expected = net(images)
            torch.testing.assert_close(found(images), expected, atol=1e-4, rtol=1e-4)


class AllStrides(nn.Module):
    """The scores of FCN-32s, 16s and 8s on one backbone, in one graph."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({f"{s}s": random_net(name, s) for s in (32, 16, 8)})
        for net in self.nets.values():
            net.trunk = self.nets["8s"].trunk

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one = self.nets["8s"]
        maps = one.trunk(as_caffe(images, one.inputs, one.mean))
        return tuple(net.score(maps, images.shape[2:]) for net in self.nets.values())


FREE_SIZES = pytest.mark.skipif(
    torch.__version__.startswith("2.11."), reason="torch.export of torch 2.11 has no free sizes"
)
EVERY = pytest.mark.parametrize("name", ["alexnet", "vgg16", "googlenet"])
EVERY_UPSAMPLING = pytest.mark.parametrize("upsampling", ["bilinear", "learned", "interpolate"])


@EVERY
def test_nets_can_be_traced(name: str) -> None:
    nets = AllStrides(name).eval()
    assert_same(torch.jit.trace(nets, torch.rand(1, 3, 64, 96), check_trace=False), nets)


@FREE_SIZES
def test_nets_can_be_exported_by_torch() -> None:
    """With VGG16. An export to ONNX begins like this: GoogLeNet has one above, AlexNet below."""
    nets = AllStrides("vgg16").eval()
    height, width = (torch.export.Dim(side, min=64) for side in "hw")  # more than one cell
    example, free = (torch.rand(1, 3, 96, 128),), ({2: height, 3: width},)
    assert_same(torch.export.export(nets, example, dynamic_shapes=free).module(), nets, 64)


def test_onnx_runtime_finds_the_scores_of_every_stride() -> None:
    """With AlexNet, which has every kind of layer but the modules of the GoogLeNet above."""
    nets = AllStrides("alexnet").eval()
    model = export.traced(nets, list(nets.nets))
    assert not any(a.i for n in model.graph.node for a in n.attribute if a.name == "ceil_mode")
    session = onnxruntime.InferenceSession(model.SerializeToString())

    def run(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(map(torch.from_numpy, session.run(None, {"images": images.numpy()})))

    assert_same(run, nets)


@EVERY_UPSAMPLING
def test_every_upsampling_can_be_traced(upsampling: Upsampling) -> None:
    net = random_net("alexnet", 8, upsampling)
    with pytest.warns(torch.jit.TracerWarning):  # the checks of the input are not traced
        assert_same(torch.jit.trace(net, torch.rand(1, 3, 64, 96), check_trace=False), net)


@FREE_SIZES
@EVERY_UPSAMPLING
def test_every_upsampling_can_be_exported(upsampling: Upsampling) -> None:
    net = random_net("alexnet", 8, upsampling)
    free = ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    exported = torch.export.export(net, (torch.rand(1, 3, 96, 128),), dynamic_shapes=free)
    assert_same(exported.module(), net, 64)


@pytest.mark.parametrize("kernel", [2, 3])
def test_an_exported_pool_rounds_up(kernel: int, monkeypatch) -> None:
    pool = MaxPool(kernel, stride=2)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for height, width in itertools.product(range(2, 9), repeat=2):
        maps = torch.rand(2, 3, height, width).relu()
        assert torch.equal(pool(maps), nn.MaxPool2d(kernel, 2, ceil_mode=True)(maps))


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "weights").glob("*.onnx")))
def test_shipped_exports_belong_to_the_nets_next_to_them(file: Path) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert metadata["source"] == sha256(file.with_suffix(".safetensors"))
