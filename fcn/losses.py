"""The pixel softmax loss: multinomial logistic loss summed or averaged over the output (section 3).

The gradient of a sum over output cells is the sum of their gradients, so one step on a whole image
is one step on the batch of all its patches. Ignoring cells at random samples from that batch
(section 3.4).
"""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.cpu.threads import for_each, one_thread_each
from fcn.metrics import check_classes
from fcn.upsampling import CoarseScores

Reduction = Literal["mean", "sum"]
STRIP = 2**18  # scores of pixels at a time, which stay in the cache of a CPU core
FAR = 115.0  # below 2^-115, numbers become denormal and a hundred times slower


def pixel_softmax_loss(
    scores: Tensor | CoarseScores,
    labels: Tensor,
    reduction: Reduction = "mean",
    keep: float = 1.0,
    generator: torch.Generator | None = None,
    void: int = 255,
    weights: Tensor | None = None,
    all_reduce: Callable[[Tensor], Tensor] = lambda count: count,
) -> Tensor:
    """Cross-entropy, in nats, of ``scores`` (N x C x H x W) given ``labels`` (N x H x W).

    ``reduction``: the "sum" over the pixels (the authors' heavy recipe) or their "mean" over the
    batch. Void pixels are ignored; if no pixel is labelled, loss and gradient are zero.
    ``keep``: p of section 3.4, the probability of keeping a cell, drawn with ``generator``. A sum
    is not scaled by 1/p (the paper uses 1/p times as many images), a mean is over the cells kept.
    ``weights``: C, of the classes (see ``balanced_weights``); a mean is then a weighted mean.
    ``all_reduce``: sums the divisor of a mean (the number of labelled pixels, or their weight) over
    the processes that share the batch, so that the sum of their losses is the mean over the batch.
    Scores in half precision are converted to float32, under autocast too. On a CPU the scores of
    all pixels that ``CoarseScores`` stand for are never in memory at once, which is several times
    faster; elsewhere strips would be many small kernels.

    Raises ValueError if the shapes do not match, labels are floating point, ``keep`` is not in
    (0, 1], or, on the CPU, a label is neither a class nor void. On an accelerator that check would
    synchronize every step: check labels when reading them (``fcn.metrics.check_classes``).
    """
    _check_shapes(scores, labels)
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction is "mean" or "sum", not {reduction!r}')
    labels = labels.long()
    if keep != 1.0:
        labels = labels.masked_fill(~_kept_cells(labels, keep, generator), void)
    if isinstance(scores, CoarseScores) and scores.cells.device.type != "cpu":
        scores = scores.upsampled()
    try:
        if isinstance(scores, CoarseScores):
            total, divisor = _UpsampledCrossEntropy.apply(*scores, labels, void, weights)
        else:
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
            total = F.cross_entropy(scores, labels, weights, ignore_index=void, reduction="sum")
            divisor = _scales(labels, void, weights).sum()
    except (IndexError, RuntimeError):  # on the CPU, and without the label, which is slow to find
        check_classes(labels, scores.shape[1], "label", void)
        raise
    if reduction == "sum":
        return total
    least = 1 if weights is None else torch.finfo(weights.dtype).tiny
    return total / all_reduce(divisor).to(total.dtype).clamp(min=least)


def _scales(labels: Tensor, void: int, weights: Tensor | None) -> Tensor:
    """The weight of each pixel in the loss; without ``weights``, whether it is labelled."""
    labelled = labels != void
    return labelled if weights is None else weights[labels.where(labelled, 0)] * labelled


class _UpsampledCrossEntropy(torch.autograd.Function):
    """The summed cross-entropy of ``CoarseScores``, strip by strip, and the pixels' summed weight.

    The gradient with respect to the cells is computed along with the loss, while a strip is in the
    cache, as the softmax is needed for both: ``backward`` only scales it. Scores are in bits, for
    on some CPUs 2^x is much faster than e^x.
    """

    @staticmethod
    def forward(
        ctx: Any,
        cells: Tensor,
        rows: Tensor,
        columns: Tensor,
        labels: Tensor,
        void: int,
        weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(cells.dtype, torch.float32)
        rows, columns = rows.to(dtype), columns.to(dtype)
        classes, width = cells.shape[1], len(columns)
        strips = []
        height = max(1, STRIP // (classes * width))
        for start in range(0, len(rows), height):
            strip = slice(start, start + height)
            used = rows[strip].any(dim=0).nonzero()  # the cells that these rows read
            reach = slice(int(used[0]), int(used[-1]) + 1)
            strips.append((strip, reach, rows[strip, reach]))

        def one(image: Tensor, label: Tensor, slope: Tensor) -> Tensor:
            with torch.autocast(cells.device.type, enabled=False):
                low, high = image.aminmax()
                # Pixels are averages of cells: where no cells are far apart, no pixel's scores are.
                near = bool(high - low < FAR)
                wide = ((image - high) @ columns.T).flatten(1)  # h x (C W)
                wide_slope = torch.zeros_like(wide)
                classed = label.where(label != void, 0)
                scales = _scales(label, void, weights).to(dtype)
                total = scales.new_zeros((), dtype=torch.float64)
                for strip, reach, weight in strips:
                    target, scale = classed[strip, None], scales[strip, None]
                    scores = (weight @ wide[reach]).view(-1, classes, width)
                    if not near:
                        scores -= scores.amax(1, keepdim=True)
                    picked = scores.gather(1, target)
                    slopes = (scores if near else scores.clamp_(min=-FAR)).exp2_()
                    share = slopes.sum(1, keepdim=True)
                    total += ((share.log2() - picked) * scale).sum()
                    slopes.mul_(scale / share).scatter_add_(1, target, -scale)
                    wide_slope[reach].addmm_(weight.T, slopes.flatten(1))
                torch.matmul(wide_slope.view(-1, classes, width), columns, out=slope)
                return torch.stack([total, scales.sum(dtype=torch.float64)])

        alone = len(cells) == 1  # all threads share its operations
        with nullcontext(1) if alone else one_thread_each() as threads:
            # Rows before channels: then each upsampling is one product of two matrices.
            by_row = cells.detach().to(dtype).permute(0, 2, 1, 3) / math.log(2)  # N x h x C x w
            gradient = torch.empty(by_row.shape, dtype=dtype)
            sums = for_each(one, by_row, labels, gradient, threads=threads)
            total, scales = torch.stack(sums).sum(0)
        gradient = gradient.permute(0, 2, 1, 3)
        ctx.save_for_backward(gradient)
        ctx.dtype = cells.dtype
        ctx.mark_non_differentiable(scales)
        return (total * math.log(2)).to(dtype), scales

    @staticmethod
    def backward(ctx: Any, slope: Tensor, _: None) -> Any:
        if torch.is_grad_enabled():  # the softmax's own slope is not kept
            raise RuntimeError("CoarseScores have no second derivative: take net(images)")
        (gradient,) = ctx.saved_tensors
        return (gradient * slope).to(ctx.dtype), None, None, None, None, None


def balanced_weights(pixels: Tensor, exponent: float = 1.0) -> Tensor:
    """Class weights (float32, C) inversely proportional to the number of training ``pixels`` (C).

    The median class has weight 1, one without pixels 0. An ``exponent`` below 1 brings the weights
    closer together. The paper finds balancing unnecessary, although most of its pixels are
    background (section 4.3).
    """
    present = pixels > 0
    if not present.any():
        return torch.zeros_like(pixels, dtype=torch.float32)
    median = pixels[present].double().quantile(0.5)
    return torch.where(present, (median / pixels.clamp(min=1)) ** exponent, 0).float()


def multi_head_loss(
    scores: Mapping[str, Tensor | CoarseScores],
    labels: Mapping[str, Tensor],
    reduction: Reduction = "mean",
    keep: float = 1.0,
    generator: torch.Generator | None = None,
    void: int = 255,
    weights: Mapping[str, Tensor] | None = None,
    all_reduce: Callable[[Tensor], Tensor] = lambda count: count,
) -> Tensor:
    """The sum of ``pixel_softmax_loss`` over heads: joint training of tasks, as on SIFT Flow.

    ``scores``, ``labels`` and, optionally, ``weights`` map heads to tensors; labels of other heads
    are ignored. With ``keep`` below 1 all heads keep the same cells: sampling drops a patch, not a
    task. Raises ValueError as ``pixel_softmax_loss`` does, and if a head has no labels.
    """
    if not scores:
        raise ValueError("scores has no head")
    if missing := sorted(set(scores) - set(labels)):
        known = ", ".join(labels) or "none"
        raise ValueError(f"no labels for head {', '.join(missing)}: there are labels for {known}")
    losses, kept = [], None
    for head, of_head in scores.items():
        target, balance = labels[head], (weights or {}).get(head)
        _check_shapes(of_head, target)
        if keep != 1.0:
            kept = _kept_cells(target, keep, generator) if kept is None else kept
            target = target.long().masked_fill(~kept, void)
        losses.append(
            pixel_softmax_loss(
                of_head, target, reduction, void=void, weights=balance, all_reduce=all_reduce
            )
        )
    return torch.stack(losses).sum()


def _check_shapes(scores: Tensor | CoarseScores, labels: Tensor) -> None:
    if len(scores.shape) != 4 or labels.shape != (scores.shape[0], *scores.shape[2:]):
        shapes = f"scores {tuple(scores.shape)} do not fit labels {tuple(labels.shape)}"
        raise ValueError(f"{shapes}: expected N x C x H x W and N x H x W")
    if labels.is_floating_point():
        raise ValueError(f"labels are integers, one class per pixel, not {labels.dtype}")


def _kept_cells(labels: Tensor, keep: float, generator: torch.Generator | None) -> Tensor:
    """A mask like ``labels``, true with probability ``keep``, drawn on the generator's device."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep is a probability, above 0 and at most 1, not {keep}")
    device = labels.device if generator is None else generator.device
    return (torch.rand(labels.shape, generator=generator, device=device) < keep).to(labels.device)
