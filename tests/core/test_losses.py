"""The pixel softmax loss: value, gradient, void, sampling (section 3.4) and several heads."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from fcn.losses import (
    Reduction,
    multi_head_loss,
    pixel_softmax_loss,
)
from fcn.models import FCN

VOID = 255
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def batch(
    seed: int = 0, n: int = 2, classes: int = 5, side: int = 6, void: float = 0.3
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(n, classes, side, side + 1, generator=generator)
    labels = torch.randint(classes, (n, side, side + 1), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < void] = VOID
    return scores, labels


def by_definition(scores: Tensor, labels: Tensor) -> list[float]:
    """-log softmax of the true class, one labelled pixel at a time, in Python."""
    losses = []
    for n, y, x in (labels != VOID).nonzero().tolist():
        cell = scores[n, :, y, x].tolist()
        losses.append(math.log(sum(math.exp(score) for score in cell)) - cell[labels[n, y, x]])
    return losses


@given(st.integers(0, 2**31), st.floats(0, 0.9))
@settings(deadline=None, max_examples=25)
def test_value_by_definition(seed: int, void: float) -> None:
    scores, labels = batch(seed, void=void)
    labels[0, 0, 0] = 0
    expected = by_definition(scores, labels)
    assert pixel_softmax_loss(scores, labels, "sum").item() == pytest.approx(
        sum(expected), rel=1e-5
    )
    assert pixel_softmax_loss(scores, labels).item() == pytest.approx(
        sum(expected) / len(expected), rel=1e-5
    )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradient(reduction: Reduction) -> None:
    scores, labels = batch(side=3)
    scores = scores.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: pixel_softmax_loss(s, labels, reduction), scores)


def test_gradient_at_void_is_zero() -> None:
    scores, labels = batch()
    pixel_softmax_loss(scores.requires_grad_(), labels, "sum").backward()
    assert scores.grad is not None
    at_pixels = scores.grad.abs().sum(1)
    assert (at_pixels[labels == VOID] == 0).all()
    assert (at_pixels[labels != VOID] > 0).all()


def test_summed_loss_of_an_image_is_the_sum_over_its_parts() -> None:
    scores, labels = batch()
    parts = [
        pixel_softmax_loss(s, y, "sum")
        for s, y in zip(scores.split(2, 2), labels.split(2, 1), strict=True)
    ]
    torch.testing.assert_close(pixel_softmax_loss(scores, labels, "sum"), torch.stack(parts).sum())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_no_labelled_pixel_gives_zero_and_a_zero_gradient(
    reduction: Reduction, device: str
) -> None:
    scores = batch()[0].to(device).requires_grad_()
    loss = pixel_softmax_loss(scores, torch.full((2, 6, 7), VOID, device=device), reduction)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("device", DEVICES)
def test_float32_under_autocast(device: str) -> None:
    scores, labels = (t.to(device) for t in batch())
    half = scores.bfloat16().requires_grad_()
    with torch.autocast(device, dtype=torch.bfloat16):
        loss = pixel_softmax_loss(half, labels, "sum")
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, pixel_softmax_loss(half.float(), labels, "sum"))
    loss.backward()
    assert half.grad is not None


def test_large_sum_does_not_lose_pixels() -> None:
    """A sum over pixels beyond the precision of float16 and bfloat16."""
    scores = torch.zeros(1, 2, 512, 512, dtype=torch.float16)
    loss = pixel_softmax_loss(scores, torch.zeros(1, 512, 512, dtype=torch.int64), "sum")
    assert loss.item() == pytest.approx(512 * 512 * math.log(2), rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 0.2, 3.0, 0.0, 1.0])])
def test_losses_of_shares_add_up_to_the_mean_over_the_batch(weights: Tensor | None) -> None:
    """Which the mean of the shares' means is not: they differ in labelled pixels."""
    scores, labels = batch(n=5)
    labels[:2, 2:] = VOID
    labels[4] = VOID
    divisor = (labels != VOID).sum() if weights is None else weights[labels[labels != VOID]].sum()
    counts: list[Tensor] = []

    def all_reduce(count: Tensor) -> Tensor:
        counts.append(count)
        return divisor

    shares = [
        pixel_softmax_loss(*share, weights=weights, all_reduce=all_reduce)
        for share in zip(scores.split(2), labels.split(2), strict=True)
    ]
    torch.testing.assert_close(torch.stack(counts).sum(), divisor)
    whole = pixel_softmax_loss(scores, labels, weights=weights)
    torch.testing.assert_close(torch.stack(shares).sum(), whole)


def test_sampling_keeps_each_labelled_cell_with_probability_keep() -> None:
    scores = torch.zeros(1, 2, 400, 400, requires_grad=True)
    labels = torch.zeros(1, 400, 400, dtype=torch.int64)
    labels[:, :100] = VOID
    loss = pixel_softmax_loss(
        scores, labels, "sum", keep=0.25, generator=torch.Generator().manual_seed(0)
    )
    loss.backward()
    assert scores.grad is not None
    kept = scores.grad.abs().sum(1) > 0
    assert not kept[:, :100].any()
    cells = 400 * 300
    deviation = math.sqrt(cells * 0.25 * 0.75)
    assert abs(kept.sum().item() - 0.25 * cells) < 5 * deviation
    assert loss.item() == pytest.approx(kept.sum().item() * math.log(2), rel=1e-5)
    # Cells are independent of their neighbours.
    neighbours = (kept[:, 100:, 1:] & kept[:, 100:, :-1]).float().mean().item()
    assert neighbours == pytest.approx(0.25**2, abs=0.01)


def test_sampled_mean_is_over_the_kept_cells() -> None:
    loss = pixel_softmax_loss(
        torch.zeros(1, 3, 50, 50), torch.zeros(1, 50, 50, dtype=torch.int64), keep=0.5
    )
    assert loss.item() == pytest.approx(math.log(3), rel=1e-5)


def test_sampling_repeats_with_its_generator_and_leaves_the_labels_alone() -> None:
    scores, labels = batch()
    before = labels.clone()
    first, again, other = (
        pixel_softmax_loss(
            scores, labels, "sum", keep=0.5, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert torch.equal(labels, before)
    assert pixel_softmax_loss(scores, labels, keep=1.0) == pixel_softmax_loss(scores, labels)


@pytest.mark.parametrize("bad", [5, -1, -100, 254])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_label_outside_the_classes_is_named(bad: int, reduction: Reduction) -> None:
    scores, labels = batch()
    labels[1, 2, 3] = bad
    with pytest.raises(
        ValueError, match=rf"^label {bad} is outside the 5 classes \(0 to 4, and 255 for void\)$"
    ):
        pixel_softmax_loss(scores, labels, reduction)


def test_bad_arguments() -> None:
    scores, labels = batch()
    with pytest.raises(ValueError, match=r"scores \(2, 5, 6, 7\) do not fit labels \(2, 7, 6\)"):
        pixel_softmax_loss(scores, labels.transpose(1, 2))
    with pytest.raises(ValueError, match="do not fit"):
        pixel_softmax_loss(scores[0], labels[0])
    with pytest.raises(ValueError, match="labels are integers"):
        pixel_softmax_loss(scores, labels.float())
    with pytest.raises(ValueError, match="'none'"):
        pixel_softmax_loss(scores, labels, "none")  # type: ignore[arg-type]
    for keep in (0.0, -0.5, 1.5, math.nan):
        with pytest.raises(ValueError, match="keep is a probability"):
            pixel_softmax_loss(scores, labels, keep=keep)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_heads_add_up_and_labels_without_a_head_are_left_alone(reduction: Reduction) -> None:
    scores, labels = batch(0)
    geometric_scores, geometric = batch(1, classes=3)
    both = {"semantic": scores, "geometric": geometric_scores}
    targets = {"geometric": geometric, "semantic": labels, "depth": labels}
    expected = pixel_softmax_loss(scores, labels, reduction) + pixel_softmax_loss(
        geometric_scores, geometric, reduction
    )
    torch.testing.assert_close(multi_head_loss(both, targets, reduction), expected)


def test_heads_share_their_sample_of_cells() -> None:
    scores = {head: torch.zeros(1, 4, 40, 40, requires_grad=True) for head in ("a", "b")}
    labels = {head: torch.ones(1, 40, 40, dtype=torch.int64) for head in scores}
    multi_head_loss(
        scores, labels, "sum", keep=0.5, generator=torch.Generator().manual_seed(3)
    ).backward()
    a, b = (scores[head].grad for head in scores)
    assert a is not None
    assert b is not None
    assert 0 < (a != 0).sum() < a.numel()
    assert torch.equal(a, b)


def test_heads_that_do_not_match_are_named() -> None:
    scores, labels = batch()
    with pytest.raises(
        ValueError, match="no labels for head geometric: there are labels for semantic"
    ):
        multi_head_loss({"semantic": scores, "geometric": scores}, {"semantic": labels})
    with pytest.raises(ValueError, match="no head"):
        multi_head_loss({}, {})
    with pytest.raises(ValueError, match="do not fit"):
        multi_head_loss({"a": scores, "b": scores}, {"a": labels, "b": labels[:, :3]}, keep=0.5)


@pytest.fixture(params=["tight", "reference"])
def coarse(request):
    """A net's scores before the last upsampling, which has to replicate or to crop."""
    torch.manual_seed(0)
    net = FCN("googlenet", 8, 5, alignment=request.param, width=1 / 16).eval()
    for parameter in net.heads.parameters():
        torch.nn.init.normal_(parameter)
    images = torch.rand(2, 3, 70, 91)
    with torch.no_grad():
        full, found = net(images), net(images, upsample=False)
    torch.testing.assert_close(found.upsampled() / full.std(), full / full.std())
    return found._replace(cells=found.cells / found.cells.std())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("balance", [False, True])
@pytest.mark.parametrize("scale", [1, 300])  # 300: cells so far apart that numbers underflow
def test_the_fused_loss_equals_the_loss_of_the_upsampled_scores(coarse, reduction, balance, scale):
    dtype = torch.float32 if scale == 1 else torch.float64
    coarse = coarse._replace(cells=scale * coarse.cells.to(dtype))
    low, high = coarse.cells.flatten(1).aminmax(dim=1)
    assert torch.equal(high - low < 80, torch.tensor(scale == 1).expand(2))
    labels = torch.randint(5, (2, *coarse.shape[2:]))
    labels[0, :10] = VOID
    weights = torch.rand(5, dtype=dtype) if balance else None
    results = []
    for fused in (True, False):
        cells = coarse.cells.clone().requires_grad_()
        scores = coarse._replace(cells=cells)
        loss = pixel_softmax_loss(
            scores if fused else scores.upsampled(), labels, reduction, weights=weights
        )
        loss.backward()
        results.append((loss.detach(), cells.grad))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)


def test_the_fused_loss_computes_in_double_precision(coarse):
    cells = coarse.cells.double().requires_grad_()
    labels = torch.randint(5, (2, *coarse.shape[2:]))
    scores = coarse._replace(cells=cells)
    fused, direct = (pixel_softmax_loss(one, labels) for one in (scores, scores.upsampled()))
    assert fused.dtype == torch.float64
    torch.testing.assert_close(fused, direct)
    gradients = [torch.autograd.grad(loss, cells)[0] for loss in (fused, direct)]
    torch.testing.assert_close(*gradients)


def test_the_fused_loss_computes_in_float32_under_autocast(coarse):
    labels = torch.randint(5, (2, *coarse.shape[2:]))
    expected = pixel_softmax_loss(coarse, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pixel_softmax_loss(coarse, labels), expected)


@pytest.mark.parametrize("keep", [1.0, 0.5])
@pytest.mark.parametrize("balance", [False, True])
def test_the_loss_reads_no_value_from_the_device(coarse, balance, keep):
    """A fake tensor has no values: whoever asks for one, as for a CUDA graph, raises."""
    cells, labels = coarse.cells, torch.randint(5, (2, *coarse.shape[2:]))
    with FakeTensorMode() as fake:
        fields = [fake.from_tensor(one) for one in (cells, coarse.rows, coarse.columns)]
        scores = coarse._replace(cells=fields[0], rows=fields[1], columns=fields[2]).upsampled()
        weights = fake.from_tensor(torch.rand(5)) if balance else None
        loss = pixel_softmax_loss(
            scores.requires_grad_(), fake.from_tensor(labels), keep=keep, weights=weights
        )
        loss.backward()
        with pytest.raises(DataDependentOutputException):
            loss.item()


def test_the_fused_loss_samples_cells_like_the_other(coarse):
    labels = {"semantic": torch.randint(5, (2, *coarse.shape[2:]))}
    losses = [
        multi_head_loss(
            {"semantic": scores}, labels, keep=0.5, generator=torch.Generator().manual_seed(1)
        )
        for scores in (coarse, coarse.upsampled())
    ]
    torch.testing.assert_close(*losses)


def test_the_fused_loss_refuses_what_the_other_refuses(coarse):
    labels = torch.zeros(2, *coarse.shape[2:], dtype=torch.int64)
    with pytest.raises(ValueError, match="label 7 is outside the 5 classes"):
        pixel_softmax_loss(coarse, labels + 7)
    with pytest.raises(ValueError, match="do not fit labels"):
        pixel_softmax_loss(coarse, labels[:, 1:])
    assert pixel_softmax_loss(coarse, torch.full_like(labels, VOID)) == 0


@pytest.mark.parametrize("threads", [2, 5])
def test_the_fused_loss_does_not_depend_on_the_number_of_threads(coarse, threads):
    labels = torch.randint(5, (4, *coarse.shape[2:]))
    found = []
    before = torch.get_num_threads()
    try:
        for number in (1, threads):
            torch.set_num_threads(number)
            cells = torch.cat([coarse.cells, -coarse.cells]).requires_grad_()
            loss = pixel_softmax_loss(coarse._replace(cells=cells), labels)
            assert torch.get_num_threads() == number
            found.append((loss, *torch.autograd.grad(loss, cells)))
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_fused_loss_needs_no_gradient(coarse, mode):
    labels = torch.randint(5, (2, *coarse.shape[2:]))
    expected = pixel_softmax_loss(coarse, labels)
    with mode():
        again = coarse._replace(cells=coarse.cells.clone())
        assert torch.equal(pixel_softmax_loss(again, labels), expected)


def test_dropped_cells_are_void_whatever_the_type_of_the_labels():
    scores = torch.zeros(1, 2, 64, 64)
    scores[:, 0] = 20
    for kind in (torch.bool, torch.int8, torch.uint8, torch.int64):
        labels = torch.zeros(1, 64, 64, dtype=kind)
        assert pixel_softmax_loss(scores, labels, keep=0.5).item() < 1e-6
        assert multi_head_loss({"a": scores}, {"a": labels}, keep=0.5).item() < 1e-6


def test_the_loss_of_coarse_scores_has_no_second_derivative():
    net = FCN("alexnet", 32, 2, width=1 / 16)
    torch.nn.init.normal_(net.heads["scores"].score32.weight)
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    loss = pixel_softmax_loss(net(images, upsample=False), torch.zeros(1, 64, 64).long())
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, images, create_graph=True)
