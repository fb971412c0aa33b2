"""The pixel softmax loss: multinomial logistic loss summed or averaged over the output (section 3).

The gradient of a sum over output cells is the sum of their gradients, so one step on a whole image
is one step on the batch of all its patches. Ignoring cells at random samples from that batch
(section 3.4).
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.metrics import check_classes

Reduction = Literal["mean", "sum"]


def pixel_softmax_loss(
    scores: Tensor,
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
    ``keep``: p of section 3.4, the probability of keeping a cell, drawn with ``generator``. The
    loss is not scaled by 1/p; instead, the paper uses 1/p times as many images per batch.
    ``weights``: C, of the classes (see ``balanced_weights``); a mean is then a weighted mean.
    ``all_reduce``: sums the divisor of a mean (the number of labelled pixels, or their weight) over
    the processes that share the batch, so that the sum of their losses is the mean over the batch.
    Scores in half precision are converted to float32, under autocast too.

    Raises ValueError if the shapes do not match, labels are floating point, ``keep`` is not in
    (0, 1], or, on the CPU, a label is neither a class nor void. On an accelerator that check would
    synchronize every step: check labels when reading them (``fcn.metrics.check_classes``).
    """
    _check_shapes(scores, labels)
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction is "mean" or "sum", not {reduction!r}')
    if keep != 1.0:
        labels = labels.masked_fill(~_kept_cells(labels, keep, generator), void)
    labels = labels.long()
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    try:
        total = F.cross_entropy(scores, labels, weights, ignore_index=void, reduction="sum")
    except IndexError:  # on the CPU, and without the label, which is slow to find
        check_classes(labels, scores.shape[1], "label", void)
        raise
    if reduction == "sum":
        return total
    labelled = labels != void
    if weights is None:
        return total / all_reduce(labelled.sum()).clamp(min=1)
    weight = all_reduce(weights[labels[labelled]].sum())
    return total / weight.clamp(min=torch.finfo(weights.dtype).tiny)


def balanced_weights(pixels: Tensor) -> Tensor:
    """Class weights (float32, C) inversely proportional to the number of training ``pixels`` (C).

    The median class has weight 1, one without pixels 0. The paper finds
    balancing unnecessary, although most of its pixels are background (section 4.3).
    """
    present = pixels > 0
    if not present.any():
        return torch.zeros_like(pixels, dtype=torch.float32)
    median = pixels[present].double().quantile(0.5)
    return torch.where(present, median / pixels.clamp(min=1), 0).float()


def multi_head_loss(
    scores: Mapping[str, Tensor],
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
            target = target.masked_fill(~kept, void)
        losses.append(
            pixel_softmax_loss(
                of_head, target, reduction, void=void, weights=balance, all_reduce=all_reduce
            )
        )
    return torch.stack(losses).sum()


def _check_shapes(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 4 or labels.shape != (len(scores), *scores.shape[2:]):
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
