"""The pixel softmax loss: the multinomial logistic loss summed, or averaged, over the output cells (section 3).

A loss that is a sum over output cells has as its gradient the sum of theirs, so that one step on a whole image is one
step on the batch of all its patches. Leaving out cells at random samples from that batch (section 3.4).
"""

from collections.abc import Mapping
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
) -> Tensor:
    """The cross-entropy, in nats, of ``scores`` (N x C x H x W) at the labelled pixels of ``labels`` (N x H x W).

    ``reduction`` "sum" adds the pixels up (the authors' heavy recipe); "mean" divides by the number of pixels that
    count, over the batch, not image by image. Void pixels do not count; a batch without any labelled pixel has a loss
    of exactly zero and a gradient of zero.

    ``keep`` is p of section 3.4: each output cell counts with this probability, drawn with ``generator``. Nothing is
    scaled by 1/p: the paper takes 1/p times as many images a batch instead, which keeps the expected number of cells.

    ``weights`` (C) multiply the loss of each class's pixels (``balanced_weights``); a mean is then weighted too.

    Scores of half precision are raised to float32, under autocast too.

    Raises ValueError if the shapes do not fit, labels are not whole numbers, ``keep`` is not in (0, 1], or, on the CPU,
    a label is neither a class nor void. On an accelerator that check would make each step wait for the device, which
    stops with its own assertion: check labels where they are read (``fcn.metrics.check_classes``).
    """
    _check_fit(scores, labels)
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction is "mean" or "sum", not {reduction!r}')
    if keep != 1.0:
        labels = labels.masked_fill(~_kept_cells(labels, keep, generator), void)
    labels = labels.long()
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    try:
        total = F.cross_entropy(scores, labels, weights, ignore_index=void, reduction="sum")
    except IndexError:  # the CPU looks at each label anyway: only a wrong one is worth a search for its value
        check_classes(labels, scores.shape[1], "label", void)
        raise
    if reduction == "sum":
        return total
    labelled = labels != void
    if weights is None:
        return total / labelled.sum().clamp(min=1)
    return total / weights[labels[labelled]].sum().clamp(min=torch.finfo(weights.dtype).tiny)


def balanced_weights(pixels: Tensor) -> Tensor:
    """The weight of each class, float32, C, that makes classes count alike, from the ``pixels`` of each in training.

    The median class has weight 1, one with a tenth of its pixels weight 10; a class without pixels has weight 0. The
    paper reports that its data, mostly background, need no such balancing (section 4.3).
    """
    present = pixels > 0
    median = pixels[present].double().quantile(0.5) if present.any() else pixels.new_zeros((), dtype=torch.float64)
    return torch.where(present, median / pixels.clamp(min=1), 0).float()


def multi_head_loss(
    scores: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    reduction: Reduction = "mean",
    keep: float = 1.0,
    generator: torch.Generator | None = None,
    void: int = 255,
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The sum over the heads of ``pixel_softmax_loss``: two tasks trained as one, as the paper does on SIFT Flow.

    ``scores`` and ``labels`` map each head's name to N x C x H x W and N x H x W; labels of heads that the net lacks
    are left alone. With ``keep`` below 1 the heads share one draw of cells, since a sample drops a patch, not a task.
    ``weights`` holds those of the classes of each head, where they are to have any.

    Raises ValueError as ``pixel_softmax_loss`` does, and if a head has no labels.
    """
    if not scores:
        raise ValueError("scores holds no head to take the loss of")
    if missing := sorted(set(scores) - set(labels)):
        raise ValueError(f"no labels for head {', '.join(missing)}: there are labels for {', '.join(labels) or 'none'}")
    wanted = {head: labels[head] for head in scores}
    for head in scores:
        _check_fit(scores[head], wanted[head])
    if keep != 1.0:
        kept = _kept_cells(next(iter(wanted.values())), keep, generator)
        wanted = {head: values.masked_fill(~kept, void) for head, values in wanted.items()}
    losses = [
        pixel_softmax_loss(scores[head], wanted[head], reduction, void=void, weights=(weights or {}).get(head))
        for head in scores
    ]
    return torch.stack(losses).sum()


def _check_fit(scores: Tensor, labels: Tensor) -> None:
    if scores.ndim != 4 or labels.shape != (len(scores), *scores.shape[2:]):
        raise ValueError(
            f"scores {tuple(scores.shape)} do not fit labels {tuple(labels.shape)}: N x C x H x W goes with N x H x W"
        )
    if labels.is_floating_point():
        raise ValueError(f"labels are whole numbers, one class a pixel, not {labels.dtype}")


def _kept_cells(labels: Tensor, keep: float, generator: torch.Generator | None) -> Tensor:
    """A mask like ``labels``, true with probability ``keep``; drawn where the generator lives, so that a CPU generator
    gives the same cells on any device."""
    if not 0 < keep <= 1:
        raise ValueError(f"keep is the probability of keeping an output cell, above 0 and at most 1, not {keep}")
    device = labels.device if generator is None else generator.device
    return (torch.rand(labels.shape, generator=generator, device=device) < keep).to(labels.device)
