"""Weight files: Caffe's, torchvision's and our own, read into nets by name."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import AlexNet_Weights, VGG16_Weights
from torchvision.models import vgg16 as torchvision_vgg16

from fcn import models, pretrained
from fcn.caffemodel import NetParameter, read_caffemodel
from fcn.classifiers import CLASSIFIERS, alexnet, googlenet, vgg16
from fcn.convolutionalize import convolutionalize
from fcn.environment import PROJECT, sha256
from fcn.models import FCN, load, save
from fcn.pretrained import load_into, read_tensors, read_weights

WIDTH = 0.05  # the smallest nets with every layer


def write_caffemodel(path, tensors, field="layer", shapes=True, runs=1):
    """Write tensors as Caffe does, in any of its formats."""
    net = NetParameter(name="written by a test")
    layers = {}
    for name, tensor in tensors.items():
        layer_name, _, kind = name.rpartition(".")
        if layer_name not in layers:
            layer = getattr(net, field).add(name=layer_name.replace(".", "/"))
            if kind == "weight" and tensor.dim() == 2:
                layer.type = "InnerProduct" if field == "layer" else 14
            layers[layer_name] = layer
        blob = layers[layer_name].blobs.add()
        values = np.array_split(tensor.numpy().astype("<f4").ravel(), runs)
        blob.data.extend(run.tobytes() for run in values)
        if shapes:
            blob.shape.dim.extend(tensor.shape)
        else:
            blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - tensor.dim()) + tuple(
                tensor.shape
            )
    path.write_bytes(net.SerializeToString())
    return path


def random_tensors(module):
    """Random numbers for every parameter, other than its own."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(p.shape, generator=generator) for name, p in module.named_parameters()
    }


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


TENSORS = {
    "conv1.7x7_s2.weight": torch.randn(4, 3, 3, 3),
    "conv1.7x7_s2.bias": torch.randn(4),
    "one.weight": torch.randn(1, 1, 2, 2),
    "one.bias": torch.randn(1),
    "grey.weight": torch.randn(3, 1, 1, 1),
    "grey.bias": torch.randn(3),
    "fc.weight": torch.randn(1, 6),
    "fc.bias": torch.randn(1),
}


# Reading Caffe's files


@pytest.mark.parametrize("field", ["layer", "layers"])
@pytest.mark.parametrize("shapes", [True, False], ids=["shape", "4-d"])
def test_both_formats_and_both_kinds_of_blob_read_the_same(tmp_path, field, shapes):
    path = write_caffemodel(tmp_path / "net.caffemodel", TENSORS, field, shapes)
    read = read_caffemodel(path)
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == torch.float32
        assert torch.equal(read[name], tensor), name


def test_field_numbers_are_caffes(tmp_path):
    # Written by hand from caffe.proto, independently of our schema:
    # layer (100) {name (1): "ip", blobs (7) {data (5): 1.0, 2.0, shape (7) {dim (1): 1, 2}}}
    blob = b"\x2a\x08" + np.array([1, 2], "<f4").tobytes() + b"\x3a\x04\x0a\x02\x01\x02"
    layer = b"\x0a\x02ip" + b"\x3a" + bytes([len(blob)]) + blob
    new = b"\xa2\x06" + bytes([len(layer)]) + layer
    # layers (2) {blobs (6) {num, channels, height, width (1 to 4): 1, 1, 1, 2, data (5)},
    # name (4), type (5): 14}
    blob = b"\x08\x01\x10\x01\x18\x01\x20\x02" + b"\x2a\x08" + np.array([1, 2], "<f4").tobytes()
    layer = b"\x32" + bytes([len(blob)]) + blob + b"\x22\x02ip" + b"\x28\x0e"
    old = b"\x12" + bytes([len(layer)]) + layer
    for data in (new, old):
        path = tmp_path / "net.caffemodel"
        path.write_bytes(data)
        (read,) = read_caffemodel(path).items()
        assert read[0] == "ip.weight"
        assert read[1].tolist() == [[1.0, 2.0]]


def test_numbers_in_several_runs_are_joined(tmp_path):
    path = write_caffemodel(tmp_path / "net.caffemodel", TENSORS, runs=3)
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in read_caffemodel(path).items())


@settings(max_examples=50, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_anywhere_is_named_or_lacks_whole_layers(tmp_path_factory, share):
    path = tmp_path_factory.getbasetemp() / "cut.caffemodel"
    data = write_caffemodel(path, TENSORS).read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    try:
        read = read_caffemodel(path)
    except ValueError as error:
        assert "cut.caffemodel" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert read
        assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in read.items())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>Not Found</html>",
        b"\xff\xd8\xff\xe0JFIF",
        b'name: "GoogleNet"',
        b"\xa2\x06\x04\x0a\x02\xff\xfe",
    ],
    ids=["empty", "page", "jpeg", "prototxt", "not-text"],
)
def test_a_foreign_file_is_named(tmp_path, data):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"net\.caffemodel: ") as error:
        read_caffemodel(path)
    one_line(error)


def test_numbers_that_do_not_fill_their_shape_are_named(tmp_path):
    net = NetParameter()
    blob = net.layer.add(name="conv1").blobs.add(data=[b"\0" * 12])
    blob.shape.dim.extend([2, 2])
    path = tmp_path / "net.caffemodel"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(ValueError, match=r"net\.caffemodel: conv1\.weight holds 12 bytes"):
        read_caffemodel(path)


def test_a_missing_file_is_named(tmp_path):
    for suffix in (".caffemodel", ".safetensors", ".pth"):
        with pytest.raises(
            FileNotFoundError, match=f"nothing{suffix}: no such weight file"
        ) as error:
            read_weights(tmp_path / f"nothing{suffix}", "vgg16")
        one_line(error)


# Into nets


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifiers_file_fills_the_classifier(tmp_path, name):
    net = CLASSIFIERS[name](num_classes=7, width=WIDTH)
    tensors = random_tensors(net)
    path = write_caffemodel(tmp_path / "net.caffemodel", tensors, "layers", shapes=False)
    report = load_into(net, read_weights(path, name), source=str(path))
    assert set(report.loaded) == net.state_dict().keys()
    assert not report.missing + report.left_over
    assert all(torch.equal(p, tensors[n]) for n, p in net.named_parameters())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_one_file_serves_the_classifier_and_the_convolutionalized_net(name):
    classifier = CLASSIFIERS[name](num_classes=7, width=WIDTH).eval()
    dense = convolutionalize(CLASSIFIERS[name](num_classes=7, width=WIDTH)).eval()
    report = load_into(dense, classifier.state_dict())
    assert len(report.loaded) == len(classifier.state_dict())
    x = torch.randn(1, 3, classifier.input_size, classifier.input_size)
    with torch.no_grad():
        torch.testing.assert_close(dense(x).flatten(1), classifier(x))


def test_the_trunk_of_an_fcn_takes_the_classifiers_file(tmp_path):
    classifier = vgg16(width=WIDTH)
    path = write_caffemodel(tmp_path / "net.caffemodel", random_tensors(classifier))
    net = FCN("vgg16", 8, 5, width=WIDTH)
    report = net.load_pretrained(path)
    assert report.missing == ()
    assert report.left_over == ("fc8.weight", "fc8.bias")
    assert torch.equal(net.trunk.fc6.weight.flatten(1), random_tensors(classifier)["fc6.weight"])


def test_the_file_of_a_classifier_loads_without_a_warning(tmp_path):
    """Nor for layers only ImageNet's classes need: the last one, GoogLeNet's auxiliary ones."""
    for name in CLASSIFIERS:
        tensors = random_tensors(CLASSIFIERS[name](width=WIDTH))
        if name == "googlenet":
            tensors["loss1.fc.weight"] = torch.zeros(4, 4)
        path = write_caffemodel(tmp_path / f"{name}.caffemodel", tensors)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report = FCN(name, 32, 5, width=WIDTH).load_pretrained(path)
        assert report.left_over
        assert not report.missing


def test_what_is_left_out_of_a_released_net_is_warned_about(tmp_path):
    tensors = random_tensors(vgg16(width=WIDTH))
    tensors |= {
        "score_fr.weight": torch.randn(5, 4, 1, 1),
        "upscore2.weight": torch.randn(5, 1, 4, 4),
    }
    path = write_caffemodel(tmp_path / "fcn16s-heavy-pascal.caffemodel", tensors)
    net = FCN("vgg16", 16, 5, width=WIDTH)
    with pytest.warns(
        UserWarning, match=r"heavy-pascal\.caffemodel: left out score_fr\.weight, ups"
    ) as seen:
        report = net.load_pretrained(path)
    (warning,) = seen
    assert "fcn.replication.released.load" in str(warning.message)
    assert "`python -m fcn evaluate EXPERIMENT --weights FILE`" in str(warning.message)
    assert "fc8" not in str(warning.message)
    assert "\n" not in str(warning.message)
    assert warning.filename == __file__
    assert report.left_over == ("fc8.weight", "fc8.bias", "score_fr.weight", "upscore2.weight")
    assert not net.heads["scores"].score32.weight.any()


def test_what_is_left_out_of_a_saved_net_is_warned_about(tmp_path):
    other = FCN("googlenet", 16, heads={"semantic": 7}, width=WIDTH)
    save(other, tmp_path / "net.safetensors", {}, half=False)
    net = FCN("googlenet", 16, 5, width=WIDTH)
    message = (
        r"net\.safetensors: left out heads\.semantic\.sc.* and 1 more; .*fcn\.load .*upgrade_from"
    )
    with pytest.warns(UserWarning, match=message):
        report = net.load_pretrained(tmp_path / "net.safetensors")
    assert len(report.left_over) == 4
    assert torch.equal(net.trunk.conv1[0].weight, other.trunk.conv1[0].weight)


def test_layers_that_a_file_lacks_are_warned_about(tmp_path):
    tensors = random_tensors(alexnet(width=WIDTH))
    tensors = {name: tensor for name, tensor in tensors.items() if name.startswith("conv")}
    path = write_caffemodel(tmp_path / "conv1-5.caffemodel", tensors)
    message = (
        r"conv1-5\.caffemodel: lacks trunk\.fc6\.weight.* and 1 more, which keep their initial"
    )
    with pytest.warns(UserWarning, match=message) as seen:
        report = FCN("alexnet", 32, 5, width=WIDTH).load_pretrained(path)
    assert len(seen) == 1
    assert report.missing == tuple(
        f"trunk.fc{i}.{kind}" for i in (6, 7) for kind in ("weight", "bias")
    )


def test_the_report_names_what_does_not_fit():
    net = alexnet(num_classes=7, width=WIDTH)
    tensors = {n: t for n, t in random_tensors(net).items() if not n.startswith(("fc7", "fc8"))}
    tensors["loss1.classifier.weight"] = torch.zeros(1)
    report = load_into(net, tensors, source="net.caffemodel")
    assert report.missing == ("fc7.weight", "fc7.bias", "fc8.weight", "fc8.bias")
    assert report.left_over == ("loss1.classifier.weight",)


def test_weights_of_another_net_are_refused_and_change_nothing():
    net = googlenet(num_classes=7, width=WIDTH)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(
        ValueError, match=r"vgg\.caffemodel: weights of another net, no layer of the same name"
    ) as error:
        load_into(net, random_tensors(vgg16(width=WIDTH)), source="vgg.caffemodel")
    one_line(error)
    with pytest.raises(
        ValueError, match=r"wide\.pth: weights of another net, wrong shapes: conv1\.7x7_s2\.weight"
    ) as error:
        load_into(net, random_tensors(googlenet(num_classes=7, width=0.1)), source="wide.pth")
    assert "(6x3x7x7 instead of 4x3x7x7)" in one_line(error)
    # An equal number of elements is not enough.
    with pytest.raises(ValueError, match="wrong shapes"):
        load_into(net, {"conv1.7x7_s2.weight": torch.zeros(4, 7, 7, 3)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_a_mean_alone_is_not_weights():
    with pytest.raises(ValueError, match="weights of another net"):
        load_into(FCN("googlenet", 32, 5, width=WIDTH), {"mean": torch.zeros(3)})


def test_the_mean_reaches_the_net():
    net = FCN("vgg16", 32, 5, width=WIDTH)
    report = load_into(
        net, random_tensors(vgg16(width=WIDTH)) | {"mean": torch.tensor([1.0, 2.0, 3.0])}
    )
    assert "mean" in report.loaded
    assert net.mean.tolist() == [1, 2, 3]


# torchvision


@pytest.fixture(scope="module")
def torchvision_state():
    """The state of torchvision's VGG-16: random convolutions, constant fully connected layers.

    The latter are expanded from one number each, so they take no memory.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        on_meta = torchvision_vgg16(weights=None).state_dict()

    def tensor(name, shape):
        if len(shape) == 4:
            return torch.randn(shape, generator=generator) * (2 / (9 * shape[1])) ** 0.5
        if name.startswith("features"):
            return torch.randn(shape, generator=generator) / 10
        return torch.full((), float(name.split(".")[1])).expand(shape)

    return {name: tensor(name, value.shape) for name, value in on_meta.items()}


@pytest.mark.parametrize("member", list(VGG16_Weights), ids=lambda member: member.name)
def test_torchvisions_vgg16_computes_the_same_from_bgr(torchvision_state, monkeypatch, member):
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda *_, **__: torchvision_state)
    tensors = read_weights(member, "vgg16")
    mean = tensors["mean"]
    with torch.device("meta"):
        whole = vgg16()
        theirs = torchvision_vgg16(weights=None).features
    features_only = member == VGG16_Weights.IMAGENET1K_FEATURES
    expected = {
        n: p.shape
        for n, p in whole.state_dict().items()
        if not features_only or n.startswith("conv")
    }
    assert {n: t.shape for n, t in tensors.items() if n != "mean"} == expected
    if not features_only:  # each fully connected layer comes from its counterpart
        assert [tensors[f"fc{i}.bias"][0].item() for i in (6, 7, 8)] == [0, 3, 6]

    ours = nn.Sequential()
    for name, layer in whole.named_children():
        if name == "flatten":
            break
        ours.add_module(name, layer)
    ours.to_empty(device="cpu")
    report = load_into(ours, tensors)
    assert not report.missing
    assert len(report.loaded) == 26
    theirs.load_state_dict(
        {
            n.removeprefix("features."): t
            for n, t in torchvision_state.items()
            if n.startswith("features")
        },
        assign=True,
    )
    rgb = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    normalisation = member.transforms()
    std = torch.tensor(normalisation.std).view(3, 1, 1)
    with torch.no_grad():
        reference = theirs((rgb - torch.tensor(normalisation.mean).view(3, 1, 1)) / std)
        result = ours(rgb.flip(1) * 255 - mean.view(3, 1, 1))
    assert reference.std() > 1e-3
    torch.testing.assert_close(
        result, reference, rtol=1e-3, atol=1e-4 * reference.abs().max().item()
    )


def test_torchvisions_published_file_is_known_by_its_name(torchvision_state, tmp_path):
    state = torchvision_state
    path = tmp_path / "vgg16-397923af.pth"
    # Expanded tensors are saved unexpanded, so the file is small.
    torch.save(state, path)
    tensors = read_weights(path, "vgg16")
    assert tensors["mean"].tolist() == pytest.approx([103.53, 116.28, 123.675])
    torch.testing.assert_close(
        tensors["conv1_1.weight"][:, 2], state["features.0.weight"][:, 0] / (255 * 0.229)
    )
    assert torch.equal(tensors["conv5_3.weight"], state["features.28.weight"])
    renamed = path.rename(tmp_path / "vgg16_from_caffe.pth")
    with pytest.raises(
        ValueError, match=r"vgg16_from_caffe\.pth: .* input convention is unknown"
    ) as error:
        read_weights(renamed, "vgg16")
    one_line(error)


def test_torchvisions_weights_of_other_nets_are_refused(torchvision_state, monkeypatch):
    for member, architecture in [
        (AlexNet_Weights.DEFAULT, "alexnet"),
        (VGG16_Weights.DEFAULT, "googlenet"),
    ]:
        with pytest.raises(
            ValueError, match=f"{member}: torchvision has no weights for this {architecture}"
        ) as error:
            read_weights(member, architecture)
        one_line(error)
    batch_norm = torchvision_state | {"features.1.running_mean": torch.zeros(64)}
    monkeypatch.setattr(VGG16_Weights, "get_state_dict", lambda *_, **__: batch_norm)
    with pytest.raises(ValueError, match="not weights of vgg16"):
        read_weights(VGG16_Weights.DEFAULT, "vgg16")


@pytest.mark.parametrize(
    "failure", [URLError("no route to host"), RuntimeError('invalid hash value (expected "3")')]
)
def test_a_failed_download_is_one_clear_line(monkeypatch, failure):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", fail)
    with pytest.raises(
        FileNotFoundError, match=r"cannot be downloaded from https://.*(no route|invalid hash)"
    ) as error:
        read_weights(VGG16_Weights.DEFAULT, "vgg16")
    one_line(error)


# Files of tensors


def test_files_of_tensors_load_like_caffes(tmp_path):
    tensors = random_tensors(googlenet(num_classes=7, width=WIDTH))
    save_file(tensors, tmp_path / "net.safetensors")
    torch.save(tensors, tmp_path / "net.pth")
    for suffix in (".safetensors", ".pth"):
        read = read_weights(str(tmp_path / f"net{suffix}"), "googlenet")
        assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


class Payload:
    """An object in a pickle, which must never be unpickled."""


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_broken_files_of_tensors_are_named(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    tensors = {"conv1.weight": torch.randn(50, 50)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    whole = path.read_bytes()
    for data in (b"", b"\0" * 100, b"<html>", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(data)
        with pytest.raises(
            ValueError, match=f"net{suffix}: truncated, or not a file of plain tensors"
        ) as error:
            read_weights(path, "vgg16")
        one_line(error)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_flipped_bit_in_a_file_of_tensors_is_refused(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    weight = torch.randn(50, 50)
    torch.save({"conv1.weight": weight}, path)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(weight.numpy().tobytes()) + 4001] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=f"net{suffix}: damaged, its checksum differs; d") as error:
        read_tensors(path)
    one_line(error)


def test_files_of_old_versions_have_no_checksums_and_are_read(tmp_path):
    tensors = {"conv1.weight": torch.randn(5, 5)}
    torch.save(tensors, tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(tmp_path / "net.pth")["conv1.weight"], tensors["conv1.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Payload(), "not a file of plain tensors"),
        ([torch.zeros(1)], "not a dictionary of tensors"),
        ({"state_dict": {"a": torch.zeros(1)}}, "not a dictionary of tensors"),
        (
            {"conv1.weight": torch.tensor([1.0, float("nan")])},
            r"NaN or infinity in conv1\.weight",
        ),
    ],
    ids=["object", "list", "nested", "nan"],
)
def test_files_with_something_else_inside_are_named(tmp_path, content, message):
    path = tmp_path / "net.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=rf"net\.pth: .*{message}") as error:
        read_weights(path, "alexnet")
    one_line(error)


def test_unknown_kinds_of_file_and_net_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"net\.h5: unknown weight format"):
        read_weights(tmp_path / "net.h5", "vgg16")
    with pytest.raises(
        ValueError,
        match="resnet: not a classifier; choose one of alexnet, bvlc_alexnet, vgg16, googlenet",
    ):
        read_weights(tmp_path / "net.pth", "resnet")


# The net's own files


@pytest.fixture
def fcn():
    net = FCN(
        "googlenet", 16, heads={"semantic": 5, "geometric": 3}, upsampling="learned", width=WIDTH
    )
    load_into(net, random_tensors(net))
    return net.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("half", [True, False])
def test_a_saved_net_comes_back(tmp_path, fcn, half):
    path = tmp_path / "new" / "net.safetensors"
    save(fcn, path, {"experiment": "scenes-googlenet-16s"}, half=half)
    with safe_open(path, "pt") as file:
        assert file.metadata()["experiment"] == "scenes-googlenet-16s"
        assert json.loads(file.metadata()["settings"])["heads"] == {"semantic": 5, "geometric": 3}
    stored = load_file(path)
    assert stored["mean"].dtype == torch.float32
    assert stored["trunk.conv1.7x7_s2.weight"].dtype == (torch.float16 if half else torch.float32)

    again = load(path)
    assert not again.training
    assert again.settings == fcn.settings
    assert torch.equal(again.mean, fcn.mean)
    for (name, ours), theirs in zip(fcn.named_parameters(), again.parameters(), strict=True):
        assert theirs.dtype == torch.float32
        assert torch.equal(theirs, ours.half().float() if half else ours), name


def test_saving_replaces_a_file_whole_or_not_at_all(tmp_path, fcn, monkeypatch):
    path = tmp_path / "net.safetensors"
    save(fcn, path, {})
    checksum = sha256(path)

    def fail(*_):
        raise OSError("no space left on device")

    for spoilt, error in [("replace", OSError), ("nan", ValueError), ("large", ValueError)]:
        with monkeypatch.context() as patch, torch.no_grad():
            if spoilt == "replace":
                patch.setattr(os, "replace", fail)
            else:
                fcn.trunk.conv1[0].bias[0] = float("nan") if spoilt == "nan" else 1e5
            with pytest.raises(error):
                save(fcn, path, {})
        assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
        assert sha256(path) == checksum
    with pytest.raises(
        ValueError, match=r"net\.safetensors: not saved.*trunk\.conv1\.7x7_s2\.bias"
    ):
        save(fcn, path, {})
    save(fcn, path, {}, half=False)  # 1e5 fits into float32


def test_files_of_equal_nets_are_equal(tmp_path, fcn):
    about = {"classes": '["sky"]', "dataset": "a", "experiment": "é\x7f\u2028"}
    code = "import sys; from fcn import models; n = models.load(sys.argv[1]); "
    code += f"models.save(n, sys.argv[1], {dict(reversed(about.items()))!r})"
    save(fcn, tmp_path / "net.safetensors", about)
    before = (tmp_path / "net.safetensors").read_bytes()
    command = [sys.executable, "-c", code, str(tmp_path / "net.safetensors")]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(PROJECT)})
    assert (tmp_path / "net.safetensors").read_bytes() == before


def test_a_changed_net_is_refused(tmp_path, fcn):
    path = tmp_path / "net.safetensors"
    save(fcn, path, {"classes": '["sky"]'})
    whole = path.read_bytes()
    size = 8 + int.from_bytes(whole[:8], "little")
    places = [whole.index(b'"sky'), whole.index(b'"checksum'), whole.index(b"sha256:")]
    for at in (*(place + 2 for place in places), size + 100, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"net\.safetensors: damaged, its checksum differs"):
            load(path)


@pytest.mark.parametrize("values", [None, [], 3, "x", {"width": 30.0}, {"num_classes": 10**9}])
def test_settings_of_another_kind_or_of_a_wide_net_are_refused_at_once(tmp_path, values):
    net = FCN("googlenet", 32, 3, width=0.05)
    given = net.settings | values if isinstance(values, dict) else values
    path = tmp_path / "net.safetensors"
    save_file(net.state_dict(), path, {"settings": json.dumps(given)})
    with pytest.raises(ValueError, match=r"net\.safetensors: (no settings|weights of another)"):
        load(path)


@pytest.mark.parametrize("net", ["vgg16", "alexnet"])
def test_a_net_in_its_full_width_is_within_the_limit(tmp_path, monkeypatch, net):
    """At full width the spare numbers are few against those of the fully connected layers."""
    monkeypatch.setattr(models, "SPARE", 0)
    save(FCN(net, 32, 3, width=0.1), tmp_path / "net.safetensors", {})
    assert load(tmp_path / "net.safetensors").settings["net"] == net


def test_too_little_memory_is_not_blamed_on_the_file(tmp_path, fcn, monkeypatch):
    save(fcn, tmp_path / "net.safetensors", {})
    torch.save({"a": torch.ones(2)}, tmp_path / "net.pth")

    def exhausted(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(torch, "load", exhausted)
    monkeypatch.setattr(pretrained, "safe_open", exhausted)
    for name in ("net.safetensors", "net.pth"):
        with pytest.raises(RuntimeError, match="allocate memory"):
            read_tensors(tmp_path / name)


def test_files_that_hold_no_net_of_ours_are_named(tmp_path, fcn):
    path = tmp_path / "net.safetensors"
    stored = {name: tensor.contiguous() for name, tensor in fcn.state_dict().items()}
    for metadata, tensors, message in [
        (None, stored, "no settings"),
        ({"settings": "{"}, stored, "no settings"),
        ({"settings": '{"net": "resnet"}'}, stored, "no settings"),
        ({"settings": '{"depth": 50}'}, stored, "no settings"),
        (
            {"settings": json.dumps(fcn.settings | {"net": "vgg16"})},
            stored,
            "weights of another net",
        ),
        (
            {"settings": json.dumps(fcn.settings)},
            {n: t for n, t in stored.items() if n != "mean"},
            "incomplete.*mean",
        ),
    ]:
        save_file(tensors, path, metadata)
        with pytest.raises(ValueError, match=rf"net\.safetensors: {message}") as error:
            load(path)
        one_line(error)
    more = stored | {"heads.other.score32.bias": torch.zeros(2)}
    save_file(more, path, {"settings": json.dumps(fcn.settings)})
    with pytest.raises(
        ValueError, match=r"net\.safetensors: its net has no heads\.other\.score32\.bias"
    ):
        load(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"net\.safetensors: truncated"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match=r"not a \.safetensors net of this package"):
        load(tmp_path / "net.caffemodel")


def test_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert (
        sha256(tmp_path / "abc")
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


# The real files


@pytest.fixture(scope="module")
def folder():
    if "FCN_WEIGHTS" not in os.environ:
        pytest.skip("FCN_WEIGHTS names no folder with the released weights")
    return Path(os.environ["FCN_WEIGHTS"])


def test_googlenet_knows_a_cat(folder):
    from skimage import data, transform

    net = googlenet().eval()
    path = folder / "bvlc_googlenet.caffemodel"
    report = load_into(net, read_weights(path, "googlenet"), source=str(path))
    convolutions = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 57
    assert len(report.loaded) == 2 * (57 + 1)
    assert not report.missing + report.left_over

    photo = data.chelsea()  # 300 x 451
    rgb = transform.resize(photo[:, 75:375], (224, 224), anti_aliasing=True)
    bgr = torch.tensor(rgb[..., ::-1].copy() * 255 - [104, 117, 123], dtype=torch.float32).permute(
        2, 0, 1
    )
    with torch.no_grad():
        scores = net(bgr[None])[0].softmax(0)
    assert scores.argmax().item() in range(281, 286)  # tabby, tiger, Persian, Siamese, Egyptian cat
    assert scores[281:286].sum() > 0.5


def test_alexnets_convolutions_load_and_its_classifier_is_missing(folder):
    path = folder / "bvlc_alexnet_conv1-5.caffemodel"
    with torch.device("meta"):  # skip drawing 61 million numbers
        net = alexnet(norm_first=True)
    net.to_empty(device="cpu")
    report = load_into(net, read_weights(path, "alexnet"), source=str(path))
    assert len(report.loaded) == 10
    assert report.missing == tuple(
        f"fc{i}.{kind}" for i in (6, 7, 8) for kind in ("weight", "bias")
    )
    assert not report.left_over


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_net_whose_numbers_are_not_finite_is_not_loaded(tmp_path, value):
    net = FCN("googlenet", 32, 3, width=0.05)
    tensors = net.state_dict()
    tensors["heads.scores.score32.bias"][0] = value
    save_file(tensors, tmp_path / "net.safetensors", {"settings": json.dumps(net.settings)})
    with pytest.raises(ValueError, match=r"net\.safetensors: NaN or infinity in"):
        load(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    "change", [{"width": float("inf")}, {"num_classes": 10**11}, {"num_classes": 2.5}]
)
def test_a_net_of_impossible_settings_is_named(tmp_path, change):
    net = FCN("googlenet", 32, 3, width=0.05)
    save_file(
        net.state_dict(),
        tmp_path / "net.safetensors",
        {"settings": json.dumps(net.settings | change)},
    )
    with pytest.raises(ValueError, match=r"net\.safetensors: (no settings|weights of another net)"):
        load(tmp_path / "net.safetensors")


def test_a_negative_side_in_a_caffemodel_is_named(tmp_path):
    net = NetParameter()
    blob = net.layer.add(name="conv1").blobs.add()
    blob.shape.dim.extend([-1, -1, 1, 1])
    blob.data.append(bytes(4))
    (tmp_path / "net.caffemodel").write_bytes(net.SerializeToString())
    with pytest.raises(ValueError, match=r"net\.caffemodel: conv1\.weight"):
        read_caffemodel(tmp_path / "net.caffemodel")
