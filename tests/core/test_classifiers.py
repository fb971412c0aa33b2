"""The three classifiers as published: layers, sizes, shapes, and layers that torch implements."""

import pytest
import torch
from torch import nn

from fcn.classifiers import CLASSIFIERS, Inception, ResponseNorm, alexnet, googlenet, vgg16

WIDTH = 1 / 16


def on_meta(name, **more):
    with torch.device("meta"):  # full width without allocating memory
        return CLASSIFIERS[name](**more)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("alexnet", 60_965_224), ("vgg16", 138_357_544), ("googlenet", 6_998_552)],
)
def test_as_many_parameters_as_the_public_nets_have(name, parameters):
    """CaffeNet, VGG-16, and GoogLeNet without auxiliary classifiers; cf. torchvision's last two."""
    assert sum(p.numel() for p in on_meta(name).parameters()) == parameters


def test_vgg16_and_googlenet_as_torchvision_has_them():
    """torchvision's GoogLeNet is another net: 3x3 for 5x5, and batch normalisation."""
    from torchvision import models

    with torch.device("meta"):
        vgg = models.vgg16()
    shapes = [tuple(p.shape) for p in vgg.parameters()]
    assert [tuple(p.shape) for p in on_meta("vgg16").parameters()] == shapes
    inceptions = [m for m in on_meta("googlenet").modules() if isinstance(m, Inception)]
    assert [m.channels for m in inceptions] == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


def test_groups_of_alexnet():
    groups = {
        name: m.groups
        for name, m in alexnet(width=WIDTH).named_modules()
        if isinstance(m, nn.Conv2d)
    }
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}


def test_normalisation_follows_pooling_in_caffenet_and_precedes_it_in_alexnet():
    names = [n for n, _ in alexnet(width=WIDTH).named_children() if n.startswith(("pool", "norm"))]
    assert names == ["pool1", "norm1", "pool2", "norm2", "pool5"]
    names = [
        n
        for n, _ in alexnet(width=WIDTH, norm_first=True).named_children()
        if n.startswith(("pool", "norm"))
    ]
    assert names == ["norm1", "pool1", "norm2", "pool2", "pool5"]


@pytest.mark.parametrize("net", CLASSIFIERS)
def test_pools_round_up_as_caffes_do(net):
    strided = [
        m
        for m in CLASSIFIERS[net](width=WIDTH).modules()
        if isinstance(m, nn.MaxPool2d) and m.stride == 2
    ]
    assert len(strided) == {"alexnet": 3, "bvlc_alexnet": 3, "vgg16": 5, "googlenet": 4}[net]
    assert all(pool.ceil_mode for pool in strided)


@torch.no_grad()
@pytest.mark.parametrize("net", CLASSIFIERS)
def test_scores_of_a_batch(net):
    classifier = CLASSIFIERS[net](7, width=WIDTH).eval()
    images = 50 * torch.randn(2, 3, classifier.input_size, classifier.input_size)
    scores = classifier(images)
    assert scores.shape == (2, 7)
    assert scores.isfinite().all()
    # Images of a batch are independent.
    torch.testing.assert_close(classifier(images[1:]), scores[1:], rtol=1e-3, atol=1e-3)
    with pytest.raises(RuntimeError):  # a fully connected layer fixes the input size
        classifier(images[..., :-40])


def test_names_are_caffes():
    """``/`` becomes ``.``, so weight files need no name mapping."""
    names = {name.rpartition(".")[0] for name, _ in googlenet(width=WIDTH).named_parameters()}
    assert {
        "conv1.7x7_s2",
        "conv2.3x3_reduce",
        "inception_3a.5x5_reduce",
        "inception_5b.pool_proj",
    } <= names
    assert "loss3.classifier" in names
    assert len(names) == 58  # 57 convolutions and the classifier
    assert [n for n, _ in vgg16(width=WIDTH).named_children()][-1] == "fc8"


@pytest.mark.parametrize("channels", [1, 2, 4, 6, 96])
def test_response_normalisation_is_torchs(channels):
    x = 100 * torch.randn(2, channels, 5, 4)
    torch.testing.assert_close(ResponseNorm()(x), nn.LocalResponseNorm(5, 1e-4, 0.75)(x))


def test_response_normalisation_has_torchs_gradient():
    ours = (100 * torch.randn(2, 6, 3, 3)).requires_grad_()
    torchs = ours.detach().clone().requires_grad_()
    ResponseNorm()(ours).square().sum().backward()
    nn.LocalResponseNorm(5, 1e-4, 0.75)(torchs).square().sum().backward()
    torch.testing.assert_close(ours.grad, torchs.grad, rtol=1e-4, atol=1e-4)


def test_response_normalisation_has_a_second_derivative():
    torch.manual_seed(0)
    x = (100 * torch.randn(1, 6, 2, 1, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradgradcheck(ResponseNorm(), x, atol=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("grad", [True, False])
def test_traced_response_normalisation_has_a_gradient(grad):
    x = 100 * torch.randn(1, 6, 3, 3)
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(ResponseNorm(), (x.clone().requires_grad_(grad),))
    ours, again = x.clone().requires_grad_(), x.clone().requires_grad_()
    traced(ours).square().sum().backward()
    ResponseNorm()(again).square().sum().backward()
    torch.testing.assert_close(ours.grad, again.grad, rtol=1e-4, atol=1e-4)


def test_response_normalisation_keeps_half_precision():
    x = 100 * torch.randn(1, 8, 3, 3)
    half = ResponseNorm()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), ResponseNorm()(x), rtol=0.02, atol=0.1)


def test_an_inception_is_its_four_branches_side_by_side():
    torch.manual_seed(0)
    block = Inception(6, 2, 4, 8, 2, 4, 6)
    x = torch.randn(1, 6, 7, 5)
    layers = dict(block.named_children())
    branches = [
        layers["1x1"](x).relu(),
        layers["3x3"](layers["3x3_reduce"](x).relu()).relu(),
        layers["5x5"](layers["5x5_reduce"](x).relu()).relu(),
        layers["pool_proj"](layers["pool"](x)).relu(),
    ]
    assert block.channels == 20
    torch.testing.assert_close(block(x), torch.cat(branches, 1))


@pytest.mark.parametrize("width", [0.001, 1 / 3, 0.5])
@pytest.mark.parametrize("net", CLASSIFIERS)
def test_width_scales_channels_and_keeps_them_even(net, width):
    full, scaled = on_meta(net), on_meta(net, width=width)
    for a, b in zip(full.modules(), scaled.modules(), strict=True):
        if isinstance(a, nn.Conv2d):
            assert b.out_channels % 2 == 0
            assert b.out_channels >= 2
            assert abs(b.out_channels - a.out_channels * width) <= 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_response_normalisation_has_the_values_and_gradient_of_torchs_own(dtype):
    torch.manual_seed(0)
    x = (30 * torch.randn(2, 9, 5, 4)).to(dtype).requires_grad_()
    slope = torch.randn(x.shape, dtype=dtype)
    ours = ResponseNorm()(x)
    (gradient,) = torch.autograd.grad(ours, x, slope)
    exact = x.detach().double().requires_grad_()
    theirs = nn.LocalResponseNorm(5, 1e-4, 0.75)(exact)
    (expected,) = torch.autograd.grad(theirs, exact, slope.double())
    assert ours.dtype == dtype
    assert torch.equal(ResponseNorm()(x.detach()), ours), "with and without a gradient"
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    for found, right in ((ours, theirs), (gradient, expected)):
        torch.testing.assert_close(found.double(), right, rtol=tolerance, atol=tolerance)
