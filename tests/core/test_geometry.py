"""Receptive fields and crop offsets, against Table 1, the authors' release and gradients."""

import copy
from fractions import Fraction
from math import ceil

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from fcn.classifiers import CLASSIFIERS, googlenet
from fcn.convolutionalize import backbone, convolutionalize
from fcn.geometry import IMAGE, ReceptiveField, compose, offset_between, receptive_field, transposed
from fcn.models import FCN

WIDTH = 1 / 32


def averaging(net):
    """``net`` with positive weights and average pools: cells have a gradient to all they see."""
    net = copy.deepcopy(net).double()
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(module, name, pool)
            elif isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.constant_(child.weight, 1 / child.weight[0].numel())
                nn.init.zeros_(child.bias)
    return net.eval()


def seen_by(cells, image):
    """First and last row and column to which a cell has a gradient, and whether all between do."""
    (gradient,) = torch.autograd.grad(cells.sum(), image, retain_graph=True)
    seen = gradient.abs().sum((0, 1)) > 0
    rows, columns = (seen.any(axis).nonzero().flatten() for axis in (1, 0))
    edges = [(int(line[0]), int(line[-1])) for line in (rows, columns)]
    box = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return edges, bool(box.all())


def window(field, cell):
    """First and last pixel that ``cell`` sees, according to the geometry."""
    centre, reach = field.stride * cell + field.offset, Fraction(field.size - 1, 2)
    assert (centre - reach).denominator == 1, "a window starts on a pixel"
    return int(centre - reach), int(centre + reach)


def first_inside(field):
    """The first cell whose window is inside the image."""
    return max(0, ceil((Fraction(field.size - 1, 2) - field.offset) / field.stride))


# Published numbers


@pytest.mark.parametrize(("name", "size"), [("alexnet", 355), ("vgg16", 404), ("googlenet", 907)])
def test_receptive_fields_and_stride_of_table_1(name, size):
    """GoogLeNet's 907 is the classifier's, with the 7 x 7 average pool that section 4.1 drops."""
    field = receptive_field(convolutionalize(CLASSIFIERS[name](width=WIDTH)))
    assert (field.size, field.stride) == (size, 32)


@pytest.mark.parametrize("alignment", ["tight", "reference"])
@pytest.mark.parametrize(("name", "size"), [("alexnet", 355), ("vgg16", 404), ("googlenet", 715)])
def test_receptive_fields_of_the_fcns(name, size, alignment):
    """Padding moves a field but keeps its size; 715 is GoogLeNet's without the average pool."""
    field = receptive_field(FCN(name, num_classes=2, width=WIDTH, alignment=alignment))
    assert (field.size, field.stride) == (size, 32)


@pytest.mark.parametrize(("stride", "size"), [(8, 44), (16, 100), (32, 404)])
def test_the_field_of_the_finest_scores_is_that_of_the_map_they_score(stride, size):
    net = FCN("vgg16", stride, 2, fusion="finest", width=WIDTH)
    assert receptive_field(net) == net.trunk.fields[stride]
    assert (receptive_field(net).size, receptive_field(net).stride) == (size, stride)


def test_the_average_pool_is_what_separates_715_from_907():
    layers = list(convolutionalize(googlenet(width=WIDTH)))
    without = [layer for layer in layers if not isinstance(layer, nn.AvgPool2d)]
    assert (compose(layers).size, compose(without).size) == (907, 715)
    assert 715 + (7 - 1) * 32 == 907


@pytest.mark.parametrize(
    ("name", "stride", "filters", "crops"),
    [
        ("vgg16", 32, [64], [19]),
        ("vgg16", 16, [4, 32], [5, 27]),
        ("vgg16", 8, [4, 4, 16], [5, 9, 31]),
        ("alexnet", 32, [63], [18]),
    ],
)
def test_crop_offsets_of_the_authors_release(name, stride, filters, crops):
    net = FCN(name, stride, 2, alignment="reference", width=WIDTH)
    head, grid = net.heads["scores"], net.trunk.fields[32]
    found, taps = [], []
    for s in head.skips:  # a skip is cropped to the scores
        layer = getattr(head, f"upscore{2 * s}")
        grid = grid.then(layer.field)
        taps.append(2 * layer.factor - layer.odd)  # of the filter, applied as an interpolation
        found.append(offset_between(net.trunk.fields[s], grid))
    last = getattr(head, f"upscore{stride}")  # and the pixels to the image
    taps.append(2 * last.factor - last.odd)
    found.append(offset_between(grid.then(last.field), IMAGE))
    assert (taps, found) == (filters, crops)


# Gradients


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("alignment", ["tight", "reference"])
def test_a_cell_of_the_trunk_sees_exactly_its_window(name, alignment):
    features = backbone(CLASSIFIERS[name](width=WIDTH), alignment)
    cells = {stride: first_inside(field) for stride, field in features.fields.items()}
    side = max(window(field, cells[stride])[1] for stride, field in features.fields.items()) + 9
    image = torch.ones(1, 3, side, side + 5, dtype=torch.float64, requires_grad=True)
    maps = averaging(features)(image)
    assert list(features.fields) == [8, 16, 32]
    for stride, field in features.fields.items():
        expected = window(field, cells[stride])
        edges, filled = seen_by(maps[stride][..., cells[stride], cells[stride]], image)
        assert edges == [expected, expected]
        assert filled


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_cell_of_the_classifier_sees_exactly_its_window(name):
    net = convolutionalize(CLASSIFIERS[name](num_classes=2, width=WIDTH))
    field = receptive_field(net)
    cell = first_inside(field)
    first, last = window(field, cell)
    image = torch.ones(1, 3, last + 9, last + 9, dtype=torch.float64, requires_grad=True)
    edges, filled = seen_by(averaging(net)(image)[..., cell, cell], image)
    assert edges == [(first, last)] * 2
    assert filled


@st.composite
def layers(draw):
    kernel = draw(st.integers(1, 5))
    stride = draw(st.integers(1, 3))
    padding = draw(st.integers(0, kernel // 2))
    match draw(st.sampled_from(["conv", "pool", "pad", "relu"])):
        case "conv":
            return nn.Conv2d(1, 1, kernel, stride, padding, dilation=draw(st.integers(1, 2)))
        case "pool":
            return nn.MaxPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))
        case "pad":
            return nn.ZeroPad2d((padding, draw(st.integers(0, 2))) * 2)
        case _:
            return nn.ReLU()


@settings(max_examples=60)
@given(st.lists(layers(), min_size=1, max_size=5))
def test_random_stacks_see_what_composition_says(stack):
    """Only edges are compared: strides above the kernel, and dilation, leave holes in a window."""
    net = nn.Sequential(*stack)
    field = receptive_field(net)
    cell = first_inside(field)
    expected = window(field, cell)
    assume(expected[1] < 400)
    # Wide enough to keep away from the far border and its padding.
    image = torch.ones(
        1, 1, expected[1] + 40, 3 + expected[1] + 40, dtype=torch.float64, requires_grad=True
    )
    edges, _ = seen_by(averaging(net)(image)[..., cell, cell], image)
    assert edges == [expected, expected]


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 3), st.integers(1, 2))
def test_a_transposed_convolution_is_the_inverse_grid(kernel, stride, padding, dilation):
    """Seen from the output, input cell i is at ``stride * i``: the middle of what it writes."""
    size = dilation * (kernel - 1) + 1
    assume(padding <= (size - 1) // 2)
    layer = nn.ConvTranspose2d(
        1, 1, kernel, stride, padding, dilation=dilation, bias=False
    ).double()
    nn.init.ones_(layer.weight)
    impulse = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    impulse[..., 4, 4] = 1
    written = layer(impulse)[0, 0].sum(0).nonzero().flatten()
    field = receptive_field(layer)
    middle = Fraction(int(written[0] + written[-1]), 2)
    assert field.stride * middle + field.offset == 4
    assert field == transposed(size, stride, padding)


# Composition


fields = st.builds(
    ReceptiveField,
    st.integers(1, 50),
    st.integers(1, 8).map(Fraction),
    st.fractions(min_value=-20, max_value=20, max_denominator=2),
)


@given(st.integers(1, 11), st.integers(1, 8), st.integers(1, 11), st.integers(1, 8))
def test_two_layers_compose_as_section_3_says(k_below, s_below, k, s):
    both = receptive_field(nn.Sequential(nn.Conv2d(1, 1, k_below, s_below), nn.MaxPool2d(k, s)))
    assert (both.size, both.stride) == (k_below + (k - 1) * s_below, s_below * s)


@given(fields, fields, fields)
def test_composition_is_associative_and_pixels_are_its_unit(a, b, c):
    assert a.then(b).then(c) == a.then(b.then(c))
    assert IMAGE.then(a) == a == a.then(IMAGE)


def test_parallel_branches_see_what_the_widest_sees():
    block = googlenet(width=WIDTH).inception_3a
    assert receptive_field(block) == ReceptiveField(5)  # of its 5 x 5 convolution


def test_branches_on_different_grids_are_refused():
    with pytest.raises(ValueError, match="different grids"):
        ReceptiveField(3).union(ReceptiveField(3, offset=Fraction(1, 2)))


@pytest.mark.parametrize(
    "other", [ReceptiveField(stride=Fraction(2)), ReceptiveField(offset=Fraction(1, 2))]
)
def test_maps_that_no_crop_aligns_are_refused(other):
    with pytest.raises(ValueError, match="no whole number of cells"):
        offset_between(IMAGE, other)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_has_to_be_converted_first(name):
    with pytest.raises(TypeError, match="Flatten has no receptive field: convolutionalize"):
        receptive_field(CLASSIFIERS[name](width=WIDTH))


def test_layers_of_single_cells_and_unknown_ones():
    block = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d())
    assert receptive_field(block) == receptive_field(block[0])
    with pytest.raises(TypeError, match="the receptive field of PixelShuffle is not known"):
        receptive_field(nn.PixelShuffle(2))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 1, (3, 5)),
        nn.Conv2d(1, 1, 3, stride=(1, 2)),
        nn.MaxPool2d((2, 3)),
        nn.Conv2d(1, 1, 3, padding="same"),
        nn.ZeroPad2d((1, 1, 2, 2)),
    ],
    ids=str,
)
def test_layers_that_are_not_square_are_refused(layer):
    with pytest.raises(TypeError, match="only square layers"):
        receptive_field(layer)
