"""Threads with work of their own, and Winograd's convolutions, against plain ones in float64."""

import threading

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fcn.cpu import winograd
from fcn.cpu.threads import for_each, one_thread_each


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


# Convolutions


def slopes(y):
    return torch.cos(torch.arange(y.numel()).view(y.shape))


def convolved(x, layer, rectified):
    """The result and the gradients with respect to input, weight and bias."""
    x = x.clone(memory_format=torch.channels_last).requires_grad_()
    y = winograd.convolution(x, layer, rectified)
    return [y, *torch.autograd.grad(y, [x, layer.weight, layer.bias], slopes(y))]


def exactly(x, layer, passed):
    """The same in float64, with zero for the results that do not pass the ReLU."""
    inputs = [one.detach().double().requires_grad_() for one in (x, layer.weight, layer.bias)]
    y = F.conv2d(*inputs, padding=1) * passed
    return [y, *torch.autograd.grad(y, inputs, slopes(y).double())]


@hypothesis.settings(
    max_examples=25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    batch=st.integers(1, 3),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    rectified=st.booleans(),
)
def test_result_and_gradients(threads, batch, inputs, outputs, height, width, rectified):
    torch.manual_seed(0)
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    x = torch.randn(batch, inputs, height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "FEWEST", 0)
        patch.setattr(winograd, "CHANNELS", 0)
        patch.setattr(winograd, "TILES", 20)  # several strips
        found = convolved(x, layer, rectified)
    passed = found[0] > 0 if rectified else torch.tensor(1)
    for one, exact in zip(found, exactly(x, layer, passed), strict=True):
        assert (one.double() - exact).abs().max() <= 3e-5 * max(exact.abs().max(), 0.1)


def test_the_result_is_channels_last_and_the_input_is_unchanged(threads):
    layer = nn.Conv2d(32, 48, 3, padding=1)
    x = torch.randn(2, 32, 64, 64).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    with torch.inference_mode():
        y = winograd.convolution(x, layer, rectified=True)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert y.min() == 0 < y.max()
    assert torch.equal(x, before)
    torch.testing.assert_close(y, layer(x).relu(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "side"), [(31, 64), (32, 28)])
def test_few_channels_or_tiles_are_convolved_plainly(threads, inputs, side):
    layer = nn.Conv2d(inputs, 8, 3, padding=1)
    x = torch.randn(1, inputs, side, side).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert torch.equal(winograd.convolution(x, layer, rectified=False), layer(x))
        assert torch.equal(winograd.convolution(x, layer, rectified=True), layer(x).relu())


def test_it_cannot_be_differentiated_twice(threads):
    layer = nn.Conv2d(32, 8, 3, padding=1)
    x = torch.randn(1, 32, 64, 64).contiguous(memory_format=torch.channels_last)
    y = winograd.convolution(x, layer, rectified=False)
    [slope] = torch.autograd.grad((y**2).sum(), [layer.weight], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_the_gradient_of_what_does_not_learn_is_not_computed(threads, monkeypatch):
    layer = nn.Conv2d(32, 8, 3, padding=1).requires_grad_(False)
    layer.bias.requires_grad_()
    monkeypatch.setattr(winograd, "_weight_gradient", None)
    x = torch.randn(1, 32, 64, 64).contiguous(memory_format=torch.channels_last)
    winograd.convolution(x, layer, rectified=False).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((8,), 64.0 * 64))


# Threads


def test_each_item_is_worked_on_once_and_the_results_are_in_order():
    batch, seen = torch.arange(20), []
    both_at_work = threading.Barrier(2, timeout=30)

    def double(photo, other):
        seen.append(threading.get_ident())
        if len(seen) <= 2:
            both_at_work.wait()
        return photo + other

    found = for_each(double, batch, batch, threads=2)
    assert torch.equal(torch.stack(found), 2 * batch)
    assert len(seen) == 20
    assert len(set(seen)) == 2
    assert threading.get_ident() in seen


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_any_item_is_raised(threads):
    def fail(photo):
        if photo == 2:
            raise IndexError("photo 2")
        return photo

    with pytest.raises(IndexError, match="photo 2"):
        for_each(fail, torch.arange(4), threads=threads)


def test_the_number_of_threads_returns_also_after_an_error():
    before = torch.get_num_threads()

    def fail():
        with one_thread_each() as threads:
            assert (threads, torch.get_num_threads()) == (before, 1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == before
