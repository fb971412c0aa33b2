"""Bilinear filters, transposed convolutions and interpolation, against NumPy's interpolation."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fcn.geometry import IMAGE, ReceptiveField, receptive_field, transposed
from fcn.upsampling import (
    Deconvolution,
    Interpolation,
    bilinear_filter,
    crop,
    upsample_onto,
    upsampler,
)

FACTORS = st.integers(1, 20)


def linear(x, positions):
    """``x`` (h x w) interpolated at ``positions`` (rows, columns), constant beyond the border."""
    rows, columns = positions
    down = np.stack([np.interp(rows, np.arange(len(x)), column) for column in x.T], axis=1)
    return np.stack([np.interp(columns, np.arange(x.shape[1]), row) for row in down])


# The filter


def test_filters_as_written_in_books():
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(bilinear_filter(2), torch.outer(line, line))
    line = torch.tensor([0.5, 1, 0.5])
    assert torch.equal(bilinear_filter(2, 3), torch.outer(line, line))
    assert torch.equal(bilinear_filter(1, 1), torch.ones(1, 1))


@given(FACTORS, st.booleans())
def test_filters_are_a_partition_of_unity(factor, odd):
    """In each phase of the stride the weights sum to one, so a constant stays constant."""
    size = 2 * factor - odd
    taps = F.pad(bilinear_filter(factor, size), (0, 2 * factor - size) * 2)
    phases = taps.unfold(0, factor, factor).unfold(1, factor, factor).sum((0, 1))
    torch.testing.assert_close(phases, torch.ones(factor, factor))
    assert torch.equal(taps[:size, :size], taps[:size, :size].flip(0, 1))


@pytest.mark.parametrize(("factor", "size"), [(4, 6), (4, 9), (0, None), (-2, None), (1, 3)])
def test_filters_of_other_sizes_are_refused(factor, size):
    with pytest.raises(ValueError, match=f"factor {factor} has"):
        bilinear_filter(factor, size)


# Transposed convolution and interpolation


@given(st.integers(1, 10), st.integers(1, 5), st.integers(1, 6))
def test_even_filters_interpolate_between_pixels(half, h, w):
    factor = 2 * half
    x = torch.randn(1, 3, h, w)
    up = Deconvolution(3, factor, 2 * factor)(x)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    # Between the outermost centres.
    inside = ..., slice(half, factor * h - half), slice(half, factor * w - half)
    torch.testing.assert_close(
        crop(up, half, expected.shape[-2:])[inside], expected[inside], atol=1e-5, rtol=1e-5
    )


@given(FACTORS, st.integers(1, 5), st.integers(1, 6))
def test_odd_filters_interpolate_on_pixels(factor, h, w):
    x = torch.randn(2, 3, h, w)
    size = ((h - 1) * factor + 1, (w - 1) * factor + 1)
    up = crop(Deconvolution(3, factor, 2 * factor - 1)(x), factor - 1, size)
    expected = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(up, expected, atol=1e-5, rtol=1e-5)
    # A pixel on a cell's centre has the cell's value, up to rounding.
    torch.testing.assert_close(up[..., ::factor, ::factor], x, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("size", [3, 4])
def test_gradients(size):
    layer = Deconvolution(2, 2, size, learned=True).double()
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)

    def upsampled(x, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(upsampled, (x, layer.weight.detach().requires_grad_()))


@pytest.mark.parametrize("odd", [True, False])
def test_gradients_of_interpolation(odd):
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Interpolation(4, odd), (x,))


@pytest.mark.parametrize("size", [7, 8])
def test_learned_filters_start_as_the_fixed_ones(size):
    x = torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(
        Deconvolution(5, 4, size, learned=True)(x), Deconvolution(5, 4, size)(x)
    )


def test_only_learned_filters_are_parameters_and_are_saved():
    fixed, learned = Deconvolution(2, 2, 4), Deconvolution(2, 2, 4, learned=True)
    assert not list(fixed.parameters())
    assert not fixed.state_dict()
    assert list(learned.state_dict()) == ["weight"]
    assert [p.requires_grad for p in learned.parameters()] == [True]


@pytest.mark.parametrize("factor", [2, 3, 8, 32])
@pytest.mark.parametrize("odd", [True, False])
def test_a_fading_interpolation_equals_the_deconvolution(factor, odd):
    """Borders and single rows of cells included."""
    if factor == 3 and not odd:
        with pytest.raises(ValueError, match="odd factor, 3, cannot fade"):
            Interpolation(factor, odd, fading=True)
        return
    layer, deconvolution = (
        Interpolation(factor, odd, fading=True),
        Deconvolution(3, factor, 2 * factor - odd),
    )
    assert receptive_field(layer) == receptive_field(deconvolution)
    for height, width in ((5, 4), (1, 6)):
        x = torch.randn(2, 3, height, width)
        torch.testing.assert_close(layer(x), deconvolution(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("learned", [True, False])
def test_each_class_has_a_filter_that_can_be_changed(learned):
    x = torch.ones(1, 3, 2, 2)
    layer = Deconvolution(3, 2, 4, learned=learned)
    nn.init.zeros_(layer.weight[1:].detach())
    assert [bool(c.any()) for c in layer(x)[0]] == [True, False, False]


@pytest.mark.parametrize("odd", [True, False])
def test_both_kinds_know_the_same_grid(odd):
    """Both write the centre of a cell where their field says."""
    for layer in (
        Deconvolution(1, 4, 8 - odd),
        Interpolation(4, odd),
        Interpolation(4, odd, fading=True),
    ):
        x = torch.zeros(1, 1, 5, 5)
        x[..., 2, 2] = 1
        profile = layer(x)[0, 0].sum(0)
        centre = float((profile * torch.arange(len(profile))).sum() / profile.sum())
        assert float(layer.field.stride * Fraction(centre) + layer.field.offset) == pytest.approx(2)


# Onto another grid


@st.composite
def grids(draw):
    """Two grids with any overlap: coarse centres on fine cells, or halfway between two."""
    odd = draw(st.booleans())
    factor = draw(FACTORS) if odd else 2 * draw(st.integers(1, 10))
    shift = draw(st.integers(-2 * factor, 3 * factor)) + (Fraction(0) if odd else Fraction(1, 2))
    fine = ReceptiveField(
        draw(st.integers(1, 9)),
        Fraction(draw(st.sampled_from([1, 2, 8]))),
        Fraction(draw(st.integers(-100, 100)), 2),
    )
    return ReceptiveField(30, fine.stride * factor, fine.offset + shift * fine.stride), fine


@settings(max_examples=150)
@given(
    grids(),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.sampled_from(["bilinear", "learned", "interpolate"]),
)
def test_upsample_onto_is_linear_interpolation_everywhere(pair, cells, size, kind):
    coarse, fine = pair
    x = torch.randn(1, 2, *cells, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        up = upsample_onto(x, upsampler(2, coarse, fine, kind), coarse, fine, size)
    shift = float(fine.offset - coarse.offset)
    pixels = [shift + float(fine.stride) * np.arange(n) for n in size]
    centres = [p / float(coarse.stride) for p in pixels]
    assert up.shape == (1, 2, *size)
    for c in range(2):
        np.testing.assert_allclose(up[0, c], linear(x[0, c].numpy(), centres), atol=2e-5)


@given(st.integers(1, 9), st.booleans())
def test_the_geometry_chooses_the_filter(factor, odd):
    offset = Fraction(5) if odd else Fraction(11, 2)
    grid = ReceptiveField(9, Fraction(factor), offset)
    learned, fixed = (upsampler(3, grid, IMAGE, kind) for kind in ("learned", "bilinear"))
    assert learned.weight.shape == (3, 1, 2 * factor - odd, 2 * factor - odd)
    assert not list(fixed.parameters())
    for layer in (learned, fixed):
        assert receptive_field(layer) == transposed(2 * factor - odd, factor)


def test_a_filter_that_the_geometry_forbids_is_refused():
    coarse = ReceptiveField(9, Fraction(4), Fraction(1, 3))
    with pytest.raises(ValueError, match="no whole number of cells"):
        upsample_onto(
            torch.zeros(1, 1, 2, 2), upsampler(1, coarse, IMAGE, "bilinear"), coarse, IMAGE, (4, 4)
        )


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match='unknown upsampling "cubic": choose'):
        upsampler(1, ReceptiveField(9, Fraction(4)), IMAGE, "cubic")
