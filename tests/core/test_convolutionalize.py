"""A convolutionalized classifier computes in each cell what the classifier computes on a window.

A padded classifier sees zeros around its image, the dense net sees pixels around the window. So the
two agree, up to rounding, not on plain crops but in three cases:

- the dense net on an image of one window;
- both without padding, on windows of a receptive field (355, 404, 907 pixels), at every cell whose
  window is inside the image (pools that round up may add a last one beyond the border);
- the dense net as is, at every cell whose receptive field is inside the image, and the classifier
  without padding on that receptive field.
"""

import copy
import types

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fcn.classifiers import CLASSIFIERS, Inception, alexnet, googlenet, vgg16
from fcn.convolutionalize import (
    REFERENCE_PADDING,
    Backbone,
    WindowConvolution,
    as_convolution,
    backbone,
    convolutionalize,
)
from fcn.cpu import winograd
from fcn.geometry import receptive_field

WIDTH = 1 / 16
CLASSES = 10


@pytest.fixture(scope="module", params=CLASSIFIERS)
def classifier(request):
    """A small random classifier in float64, whose scores differ between images."""
    torch.manual_seed(3)
    net = CLASSIFIERS[request.param](CLASSES, width=WIDTH)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=0.1)  # so that padding differs from activations
    return net.double().eval()


def image(height, width=None):
    """Smooth noise: neighbouring windows differ, and no pixel is zero."""
    generator = torch.Generator().manual_seed(height)
    coarse = torch.rand(1, 3, 12, 12, generator=generator, dtype=torch.float64)
    return nn.functional.interpolate(coarse, size=(height, width or height), mode="bicubic") + 0.5


def without_padding(net):
    """``net`` without padding; the branches of an inception are cropped to the cells they share."""

    def common(self, x):
        outputs = []
        for branch in self.branches():
            y = x
            for layer in branch:
                y = layer(y)
                y = y.relu() if isinstance(layer, nn.Conv2d) else y
            outputs.append(y)
        rows, columns = (min(y.shape[axis] for y in outputs) for axis in (-2, -1))
        cuts = [((y.shape[-2] - rows) // 2, (y.shape[-1] - columns) // 2) for y in outputs]
        return torch.cat(
            [
                y[..., i : i + rows, j : j + columns]
                for y, (i, j) in zip(outputs, cuts, strict=True)
            ],
            1,
        )

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
        elif isinstance(module, nn.MaxPool2d):
            module.padding = 0
        elif isinstance(module, Inception):
            module.forward = types.MethodType(common, module)
    return net


def distance(a, b, scale):
    return ((a - b).abs().max() / scale.std()).item()


@torch.no_grad()
def test_one_window_gives_the_classifiers_scores(classifier):
    x = image(classifier.input_size)
    dense = convolutionalize(classifier).eval()(x)
    expected = classifier(x)
    assert dense.shape == (1, CLASSES, 1, 1)
    assert distance(dense.flatten(1), expected, expected) < 1e-6


@torch.no_grad()
def test_without_padding_every_cell_is_the_classifier_on_its_window(classifier):
    dense = convolutionalize(classifier).eval()
    field = receptive_field(dense)
    dense = without_padding(dense)  # now the first window starts at the first pixel
    patchwise = without_padding(copy.deepcopy(classifier))
    x = image(field.size + 64 + 9, field.size + 32 + 31)
    scores = dense(x)
    assert scores.shape[2] >= 3  # pools round up: a last cell may look past the border
    assert scores.shape[3] >= 2
    for i in range(3):
        for j in range(2):
            crop = x[..., 32 * i : 32 * i + field.size, 32 * j : 32 * j + field.size]
            assert distance(scores[..., i, j], patchwise(crop), scores) < 1e-6
    assert distance(scores[..., 0, 0], scores[..., 2, 1], scores) > 0.01  # cells do differ


@torch.no_grad()
def test_inside_the_image_padding_changes_nothing(classifier):
    """Its cells do differ from the classifier on crops of its own size, which zeros surround."""
    dense = convolutionalize(classifier).eval()
    field = receptive_field(dense)
    # The first cell whose field is inside.
    first = int(-(-((field.size - 1) / 2 - field.offset) // 32))
    start = int(32 * first + field.offset - (field.size - 1) / 2)
    x = image(start + field.size + 32 + 5)
    scores = dense(x)
    patchwise = without_padding(copy.deepcopy(classifier))
    for i, j in ((0, 0), (0, 1), (1, 0)):
        top, left = start + 32 * i, start + 32 * j
        window = x[..., top : top + field.size, left : left + field.size]
        cell = scores[..., first + i, first + j]
        assert distance(cell, patchwise(window), scores) < 1e-6
        margin = (field.size - classifier.input_size) // 2
        middle = window[
            ..., margin : margin + classifier.input_size, margin : margin + classifier.input_size
        ]
        assert distance(cell, classifier(middle), scores) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 1, 31, 32, 63, 65])
def test_a_cell_more_for_every_32_pixels(classifier, extra):
    """Pools that round up may add a cell; none is lost."""
    size = classifier.input_size + extra
    cells = convolutionalize(classifier).eval()(image(size)).shape[-1]
    assert cells in (extra // 32 + 1, -(-extra // 32) + 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_convolution_keeps_the_precision_of_its_layer(dtype):
    layer = as_convolution(nn.Linear(12, 5, dtype=dtype), 2)
    assert {p.dtype for p in layer.parameters()} == {dtype}


def test_weights_are_copied_and_layers_keep_their_names(classifier):
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    dense = convolutionalize(classifier)
    assert list(dense.state_dict()) == list(before)
    for parameter in dense.parameters():
        parameter.data.fill_(7)
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_a_fully_connected_layer_is_a_convolution_that_covers_its_input():
    linear = nn.Linear(4 * 3 * 3, 5)
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(as_convolution(linear, 3)(x).flatten(1), linear(x.flatten(1)))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "padding"), [(7, 3), (7, 0), (1, 0)])
def test_a_connected_layer_is_a_product_over_windows_channels_last(kernel, padding, memory_format):
    layer = as_convolution(nn.Linear(3 * kernel * kernel, 5), kernel).double()
    layer.padding = (padding, padding)
    layer.to(memory_format=memory_format)
    fast, x = WindowConvolution.of(layer), torch.randn(2, 3, 9, 12, dtype=torch.double)
    convolutions = []
    results = []
    for one in (layer, fast):
        images = x.to(memory_format=memory_format).requires_grad_()
        maps = one(images)
        convolutions.append("Convolution" in type(maps.grad_fn).__name__)
        assert maps.is_contiguous(memory_format=memory_format)
        (maps**2).sum().backward()
        results.append((maps, images.grad, layer.weight.grad, layer.bias.grad))
        layer.zero_grad()
    assert convolutions == [True, memory_format == torch.contiguous_format]
    torch.testing.assert_close(*results)


def test_inputs_that_are_no_maps_are_refused():
    with pytest.raises(ValueError, match="35 inputs do not form 3 x 3 maps"):
        as_convolution(nn.Linear(35, 5), 3)


# The backbone


@pytest.fixture
def fast(monkeypatch):
    """The number of maps that Winograd's algorithm computes, in a list, for nets of any width."""
    monkeypatch.setattr(winograd, "FEWEST", 0)
    monkeypatch.setattr(winograd, "CHANNELS", 0)
    computed = []
    convolved = winograd._convolved
    monkeypatch.setattr(
        winograd, "_convolved", lambda *a: computed.append(len(a[0])) or convolved(*a)
    )
    return computed


@pytest.mark.parametrize(("name", "convolutions"), [("vgg16", 13), ("alexnet", 1)])
@pytest.mark.parametrize("batch", [1, 2])
def test_fewer_multiplications_have_the_same_result(name, convolutions, batch, fast, monkeypatch):
    torch.manual_seed(0)
    features = backbone(CLASSIFIERS[name](CLASSES, width=WIDTH)).train()
    for layer in features.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    x, results = image(96, 130).float().expand(batch, -1, -1, -1).contiguous(), []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(Backbone, "_may_be_fast", lambda *_: False)
        maps = features.train()(x)
        assert all(one.is_contiguous() for one in maps.values())
        sum((one**2).sum() for one in maps.values()).backward()
        gradients = [parameter.grad.clone() for parameter in features.parameters()]
        features.zero_grad()
        with torch.no_grad():
            results.append((maps, features.eval()(x), gradients))
    backward = convolutions - (name == "vgg16")  # the photo needs no gradient
    assert len(fast) == 2 * convolutions + backward  # of training and inference
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-3)


def test_maps_that_others_see_or_differentiate_twice_are_computed_plainly(fast):
    features = backbone(vgg16(CLASSES, width=WIDTH)).train()
    x = image(64).float()

    def energy(maps):
        return sum((one**2).sum() for one in maps.values())

    parameters = dict(features.named_parameters())
    torch.func.grad(lambda p: energy(torch.func.functional_call(features, p, (x,))))(parameters)
    features(x.clone().requires_grad_())
    features.double()(x.double())
    features.float().to(memory_format=torch.channels_last)(x)
    features.to(memory_format=torch.contiguous_format)
    with torch.autocast("cpu", torch.bfloat16):
        features(x)
    seen = []
    handle = features.conv2_1.register_forward_hook(lambda layer, x, y: seen.append(y))
    features(x)
    handle.remove()
    handle = features.conv2_1.register_full_backward_hook(print)
    with pytest.raises(RuntimeError, match="inplace"):  # of torch: the ReLU works in place
        features(x)
    handle.remove()
    with FlopCounterMode(display=False) as count:
        features(x)
    assert not fast
    assert seen[0].shape[1:] == (8, 32, 32)
    assert count.get_total_flops() > 0
    [slope] = torch.autograd.grad(
        energy(features.eval()(x)), [features.conv2_1.weight], create_graph=True
    )
    (slope**2).sum().backward()
    assert not fast
    features.train()(x)
    assert fast


def test_the_trunk_ends_before_the_last_layer(classifier):
    layers = [name for name, _ in backbone(classifier).named_children()]
    assert [*classifier.named_children()][-1][0] not in layers
    assert "flatten" not in layers
    assert not any(
        isinstance(layer, nn.AvgPool2d | nn.Linear) for layer in backbone(classifier).modules()
    )


@torch.no_grad()
@pytest.mark.parametrize("alignment", ["tight", "reference"])
def test_maps_have_the_channels_and_strides_that_the_trunk_names(classifier, alignment):
    features = backbone(classifier, alignment).eval()
    maps = features(image(288))
    assert {s: m.shape[1] for s, m in maps.items()} == features.channels
    assert {s: field.stride for s, field in features.fields.items()} == {8: 8, 16: 16, 32: 32}
    # Maps cover the image and no more: a cell for every 32 pixels, one more or less.
    if alignment == "tight":
        assert all(abs(m.shape[-1] - 288 // s) <= 1 for s, m in maps.items())
        assert all(0 <= field.offset < s for s, field in features.fields.items())


def test_skips_read_what_the_paper_names():
    assert vgg16(width=WIDTH).taps == {8: "pool3", 16: "pool4"}
    for net in (
        alexnet(width=WIDTH),
        alexnet(width=WIDTH, norm_first=True),
        googlenet(width=WIDTH),
    ):
        fields = backbone(net).fields
        assert {s: f.stride for s, f in fields.items()} == {8: 8, 16: 16, 32: 32}


def test_reference_alignment_pads_the_first_layer_alone(classifier):
    padded = [m for m in backbone(classifier, "reference").modules() if isinstance(m, nn.Conv2d)]
    plain = [m for m in convolutionalize(classifier).modules() if isinstance(m, nn.Conv2d)]
    assert padded[0].padding == (REFERENCE_PADDING,) * 2 == (100, 100)
    assert [m.padding for m in padded[1:]] == [m.padding for m in plain[1 : len(padded)]]


def test_another_alignment_is_refused(classifier):
    with pytest.raises(
        ValueError, match='unknown alignment "loose": choose "tight" or "reference"'
    ):
        backbone(classifier, "loose")


def test_adaptive_pools_are_refused_and_layers_without_bias_converted():
    pooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    with pytest.raises(TypeError, match="1: AdaptiveAvgPool2d has one output size"):
        convolutionalize(pooled)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(27, 2, bias=False))
    image = torch.rand(1, 3, 3, 3)
    torch.testing.assert_close(convolutionalize(plain)(image).flatten(1), plain(image))
