"""Shift-and-stitch equals the dilated net, and every k-th cell of both is the plain net's own.

Equal means up to rounding, in float64 on narrow random nets and in float32 on the real weights, if
available. Next to padded borders they differ, which is tested too.
"""

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fcn.classifiers import CLASSIFIERS, ResponseNorm, googlenet
from fcn.convolutionalize import backbone, convolutionalize
from fcn.dilation import Parallel, dilated, shift_and_stitch, unpadded
from fcn.geometry import ReceptiveField, receptive_field
from fcn.pretrained import load_into, read_weights

WEIGHTS = Path(os.environ.get("FCN_WEIGHTS", "")) / "bvlc_googlenet.caffemodel"


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def classifier(name: str, width: float = 1 / 32):
    """A narrow random net in float64, with biases, so that padding differs from activations."""
    torch.manual_seed(3)
    net = CLASSIFIERS[name](10, width=width)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=0.1)
    return net.double().eval()


def up_to(net: nn.Sequential, last: str) -> nn.Sequential:
    """The layers of ``net`` up to the one named ``last``."""
    names = [name for name, _ in net.named_children()]
    return nn.Sequential(*list(net)[: names.index(last) + 1])


def image(height: int, width: int) -> Tensor:
    """Smooth noise: neighbouring windows differ, and no pixel is zero."""
    coarse = (
        torch.rand(1, 3, height // 24, width // 24, generator=torch.Generator().manual_seed(height))
        + 0.5
    )
    return nn.functional.interpolate(coarse, size=(height, width), mode="bilinear").double()


def distance(a: Tensor, b: Tensor, dense: Tensor) -> float:
    """The largest difference of two maps, relative to the spread of the cells of ``dense``."""
    assert a.shape == b.shape
    differ = dense.std((-2, -1)).max()
    assert differ > 1e-3, "cells that are all alike would agree anywhere"
    return ((a - b).abs().max() / differ).item()


def last_map(output):
    return output[32] if isinstance(output, dict) else output


# Every k-th cell


@pytest.mark.parametrize("stride", [1, 4, 8, 16, 32])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_plain_nets_cells_are_among_the_dilated_nets(name, stride):
    """Borders, padding and pools that round up included, at odd sizes."""
    net = backbone(classifier(name, width=1 / 32)).eval()
    x = image(99, 150)
    expected = last_map(net(x))
    finer = 32 // stride
    found = dilated(net, stride)(x)
    assert found.shape[-1] > finer * (expected.shape[-1] - 1)
    assert distance(found[..., ::finer, ::finer], expected, found) < 1e-10


def test_the_average_pool_of_a_classifier_is_dilated_too():
    net = convolutionalize(classifier("googlenet", width=1 / 64)).eval()
    x = image(224 + 32, 224)
    dense = dilated(net)(x)
    assert distance(dense[..., ::32, ::32], net(x), dense) < 1e-10


@pytest.mark.parametrize("stride", [1, 2, 8, 32])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_only_the_stride_changes(name, stride):
    net = backbone(classifier(name, width=1 / 64))
    field = receptive_field(net)
    for changed, one in (
        (dilated(net, stride), field),
        (dilated(unpadded(net), stride), receptive_field(unpadded(net))),
    ):
        assert receptive_field(changed) == ReceptiveField(
            one.size, type(one.stride)(stride), one.offset
        )
    assert receptive_field(unpadded(net)).offset == (
        receptive_field(unpadded(net)).size - 1
    ) / type(field.stride)(2)


def test_only_what_lies_behind_the_strides_taken_away_is_dilated():
    """VGG16 at stride 8: pool4, pool5 lose their strides; conv5 is dilated by 2, fc6 by 4."""
    plain, fine = (
        dict(net.named_modules())
        for net in (backbone(classifier("vgg16")), dilated(backbone(classifier("vgg16")), 8))
    )
    changed = {
        n: m.dilation for n, m in fine.items() if isinstance(m, nn.Conv2d) and m.dilation != (1, 1)
    }
    assert changed == {
        "conv5_1": (2, 2),
        "conv5_2": (2, 2),
        "conv5_3": (2, 2),
        "fc6": (4, 4),
        "fc7": (4, 4),
    }
    assert fine["conv5_1"].padding == (2, 2)
    assert [m.stride for n, m in fine.items() if n.startswith("pool")] == [2, 2, 2, 1, 1]
    assert plain["conv5_1"].dilation == (1, 1), "the net itself stays as it is"


# Shift and stitch


def test_a_map_by_hand():
    """Pairs of pixels are added at every second pixel; shifted by one, the pairs between them."""
    net = nn.Conv2d(1, 1, 2, stride=2, bias=False)
    nn.init.ones_(net.weight)
    x = torch.arange(20.0).view(1, 1, 4, 5)
    by_hand = [[4 * (5 * i + j) + 12 for j in range(4)] for i in range(3)]
    assert shift_and_stitch(net, x, 2)[0, 0].tolist() == by_hand
    assert dilated(nn.Sequential(net))(x)[0, 0].tolist() == by_hand


@pytest.mark.parametrize(("rows", "columns"), [(19, 20), (21, 34), (22, 23)])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("kernel", [2, 3])
def test_all_shifts_of_a_small_net(kernel, ceil_mode, rows, columns):
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), ResponseNorm()]
    pool = nn.MaxPool2d(kernel, 2, ceil_mode=ceil_mode)
    last = [nn.Conv2d(4, 4, 2, groups=2), nn.AvgPool2d(2, 1), nn.Conv2d(4, 2, 1)]
    net = nn.Sequential(*first, pool, *last).double().eval()
    x = torch.randn(2, 3, rows, columns, dtype=torch.float64)
    stitched = shift_and_stitch(net, x, 4)
    assert distance(dilated(net)(x), stitched, stitched) < 1e-10
    if not ceil_mode:
        size = receptive_field(net).size
        assert stitched.shape[-2:] == (rows - size + 1, columns - size + 1), (
            "a cell for every window"
        )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_all_shifts_of_the_first_layers(name):
    """Each backbone up to its skip at stride 8, all 64 shifts."""
    one = classifier(name, width=1 / 16)
    net = unpadded(up_to(backbone(one), one.taps[8])).eval()
    size = receptive_field(net).size
    x = image(size + 24, size + 37)
    dense = dilated(net)(x)
    assert distance(shift_and_stitch(net, x, 8), dense, dense) < 1e-10


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_some_shifts_of_the_whole_trunk(name):
    net = unpadded(
        backbone(classifier(name, width=1 / 64 if name == "googlenet" else 1 / 32))
    ).eval()
    size = receptive_field(net).size
    x = image(size + 9, size + 31)
    dense = dilated(net)(x)
    for dy, dx in ((0, 0), (1, 0), (2, 5), (7, 16), (9, 31)):
        assert distance(net(x[..., dy:, dx:]), dense[..., dy::32, dx::32], dense) < 1e-10


def test_with_padding_they_agree_inside_and_not_at_the_border():
    one = classifier("vgg16", width=1 / 16)
    # Up to pool2: stride 4, each convolution padded.
    net = nn.Sequential(*list(backbone(one).children())[:10])
    field = receptive_field(net)
    x = image(96, 96)
    difference = (shift_and_stitch(net, x, 4) - dilated(net)(x)).abs().amax((0, 1))
    # Inside all shifted images.
    inside = -int(field.offset - (field.size - 1) / type(field.stride)(2)) + 3
    assert difference[inside:, inside:].max() < 1e-10
    assert difference[0].max() > 1e-3
    assert difference[:, 1].max() > 1e-3


# Sharing and errors


def test_weights_are_shared():
    net = backbone(classifier("googlenet"))
    ours = {id(parameter) for parameter in net.parameters()}
    for other in (dilated(net), unpadded(net), dilated(unpadded(net), 8)):
        assert {id(parameter) for parameter in other.parameters()} == ours


def test_a_dilated_net_can_be_trained():
    with torch.enable_grad():
        net = backbone(classifier("alexnet"))
        dilated(net, 8)(image(96, 96)).sum().backward()
        assert net.get_parameter("conv1.weight").grad.abs().max() > 0


def test_the_mode_is_kept():
    net = backbone(classifier("alexnet"))
    assert not dilated(net.eval()).training
    assert not unpadded(net).training
    assert dilated(net.train()).training


def test_the_field_of_branches_is_the_widest():
    narrow, wide = nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Sequential(nn.Conv2d(1, 1, 5, padding=2))
    assert receptive_field(Parallel([narrow, wide])).size == 5


@pytest.mark.parametrize("stride", [0, 3, 64])
def test_a_stride_that_cannot_be_reached_is_refused(stride):
    with pytest.raises(
        ValueError, match=f"a stride of 32 can be reduced to its divisors, not to {stride}"
    ):
        dilated(backbone(classifier("alexnet")), stride)


def test_a_stride_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="a stride of 3 cannot be reduced to 2"):
        dilated(nn.Sequential(nn.MaxPool2d(3), nn.MaxPool2d(2)), 2)


@pytest.mark.parametrize(
    "layer", [nn.ConvTranspose2d(3, 3, 4, 2), nn.Flatten(), nn.AvgPool2d(2, ceil_mode=True)]
)
def test_a_layer_without_a_dilated_form_is_refused(layer):
    with pytest.raises(TypeError):
        dilated(nn.Sequential(nn.MaxPool2d(2), layer))


def test_another_stride_than_the_nets_is_seen():
    net = nn.MaxPool2d(2)
    with pytest.raises(ValueError, match="is the stride 4"):
        shift_and_stitch(net, torch.rand(1, 1, 12, 12), 4)
    with pytest.raises(ValueError, match="1 or more, not 0"):
        shift_and_stitch(net, torch.rand(1, 1, 12, 12), 0)


# With real weights, at full width


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="FCN_WEIGHTS holds no bvlc_googlenet.caffemodel")
def test_real_weights_at_full_width():
    """All shifts of GoogLeNet up to its skip at stride 8; the full backbone is a snapshot."""
    one = googlenet().eval()
    load_into(one, read_weights(WEIGHTS, "googlenet"))
    net = unpadded(up_to(backbone(one), one.taps[8])).eval()
    size = receptive_field(net).size
    x = 255 * (image(size + 8, size + 11).float() - 1)
    dense = dilated(net)(x)
    assert (shift_and_stitch(net, x, 8) - dense).abs().max() < 1e-5 * dense.abs().max()


def test_padding_that_is_not_zero_and_other_divisors_are_refused():
    padded = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    for change in (dilated, unpadded):
        with pytest.raises(TypeError, match='pads by "reflect"'):
            change(padded)
    with pytest.raises(TypeError, match="divides by another number"):
        dilated(nn.Sequential(nn.AvgPool2d(2, divisor_override=1)))
