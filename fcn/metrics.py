"""One confusion matrix, and the paper's four metrics computed from it (section 5).

With ``n_ij`` the number of pixels of class i predicted as class j, ``t_i = sum_j n_ij`` the number
of pixels of class i, and ``n_cl`` the number of classes:

- pixel accuracy          ``sum_i n_ii / sum_i t_i``
- mean accuracy           ``(1 / n_cl) sum_i n_ii / t_i``
- mean IU                 ``(1 / n_cl) sum_i n_ii / (t_i + sum_j n_ji - n_ii)``
- frequency weighted IU   ``(sum_k t_k)^-1 sum_i t_i n_ii / (t_i + sum_j n_ji - n_ii)``

One matrix covers a whole split: the mean of the IUs of single images is a different number. A class
without pixels in the ground truth (``t_i = 0``) is left out of both means, as in the paper, where 3
of the 33 classes of SIFT Flow are absent from the test images. Predicting it is still an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metrics:
    """The paper's metrics in percent, over the ``classes_counted`` classes in the ground truth."""

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float
    classes_counted: int
    iu_per_class: tuple[float | None, ...]  # of every class; None if absent from the ground truth


class ConfusionMatrix:
    """Pixel counts by true and predicted class, accumulated over batches or processes.

    ``matrix`` is int64, C x C, on ``device``: row i, column j is ``n_ij``, the pixels of class i
    predicted as j. Pixels labelled ``void`` are not counted. Raises ValueError if ``num_classes``
    is not a positive integer or ``void`` is one of the classes.
    """

    def __init__(
        self, num_classes: int, void: int = 255, device: torch.device | str | None = None
    ) -> None:
        if not hasattr(num_classes, "__index__") or num_classes < 1:
            raise ValueError(f"a confusion matrix needs at least one class, not {num_classes}")
        if 0 <= void < num_classes:
            raise ValueError(f"void {void} is one of the {num_classes} classes: choose another")
        self.num_classes = index(num_classes)
        self.void = void
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    @classmethod
    def from_matrix(cls, matrix: Tensor | Sequence[Sequence[int]], void: int = 255) -> Self:
        """A copy of the given counts. Raises ValueError if they are not C x C integers >= 0."""
        try:
            counts = torch.as_tensor(matrix)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"a confusion matrix is C x C integers: {error}") from error
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"a confusion matrix is C x C, not of shape {tuple(counts.shape)}")
        inexact = counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool
        if inexact or (counts < 0).any():
            raise ValueError("a confusion matrix counts pixels: its entries are integers >= 0")
        confusion = cls(len(counts), void, counts.device)
        confusion.matrix += counts
        return confusion

    def update(self, labels: Tensor, predictions: Tensor) -> None:
        """Count a batch: ``labels`` and ``predictions`` are integers of equal shape, on any device.

        Raises ValueError if the shapes differ, a label is neither a class nor void, or a labelled
        pixel is predicted as no class. To evaluate predictions that may be void, count void as an
        extra class, which is absent from the ground truth and adds only errors.
        """
        if labels.shape != predictions.shape:
            shapes = f"labels {tuple(labels.shape)} and predictions {tuple(predictions.shape)}"
            raise ValueError(f"{shapes} differ in shape: predictions are scores.argmax(1)")
        _check_integers(labels, "label")
        _check_integers(predictions, "prediction")
        device, n = predictions.device, self.num_classes
        rows = self.void + 1 if 0 <= self.void <= 255 else n  # void pixels are counted, too
        valid = _below(labels, rows) and _below(predictions, n)
        labels, predictions = labels.to(device, torch.int64), predictions.long()
        if not valid:
            check_classes(labels, n, "label", self.void)
            labelled = labels != self.void
            labels, predictions = labels[labelled], predictions[labelled]
            check_classes(predictions, n, "prediction")
        pairs = torch.add(predictions, labels, alpha=n).flatten()
        counts = torch.bincount(pairs, minlength=rows * n).view(rows, n)
        if counts[n : self.void].any():
            check_classes(labels, n, "label", self.void)
        self.matrix += counts[:n].to(self.matrix.device)

    def __add__(self, other: "ConfusionMatrix") -> Self:
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot add {self.num_classes} and {other.num_classes} classes")
        return self.from_matrix(self.matrix + other.matrix.to(self.matrix.device), self.void)

    def metrics(self) -> Metrics:
        """The metrics in percent, in float64. Raises ValueError if no pixel was counted."""
        n = self.matrix.cpu().double()  # not every accelerator has float64
        t = n.sum(1)
        if t.sum() == 0:
            raise ValueError("the confusion matrix is empty: no labelled pixel was counted")
        hit, union = n.diagonal(), t + n.sum(0) - n.diagonal()
        present = t > 0
        accuracy, iu = (hit / t)[present], (hit / union)[present]
        percent_iu = iter((100 * iu).tolist())
        return Metrics(
            pixel_accuracy=100 * (hit.sum() / t.sum()).item(),
            mean_accuracy=100 * accuracy.mean().item(),
            mean_iu=100 * iu.mean().item(),
            frequency_weighted_iu=100 * ((t[present] * iu).sum() / t.sum()).item(),
            classes_counted=int(present.sum()),
            iu_per_class=tuple(next(percent_iu) if p else None for p in present.tolist()),
        )


def check_classes(values: Tensor, num_classes: int, what: str, void: int | None = None) -> None:
    """Raise ValueError, naming ``what``, unless ``values`` are 0..num_classes-1 or ``void``.

    This synchronizes with the device: negligible in evaluation, too slow for the training loop.
    """
    _check_integers(values, what)
    values = values.long()  # in uint8, -1 would equal 255
    outside = (values < 0) | (values >= num_classes)
    if void is not None:
        outside &= values != void
    if outside.any():
        allowed = f"0 to {num_classes - 1}" + ("" if void is None else f", and {void} for void")
        value = values[outside][0].item()
        raise ValueError(f"{what} {value} is outside the {num_classes} classes ({allowed})")


def _check_integers(values: Tensor, what: str) -> None:
    if values.is_floating_point() or values.is_complex():
        raise ValueError(f"{what}s are integers, one class per pixel, not {values.dtype}")


def _below(values: Tensor, limit: int) -> bool:
    """True if all values are in 0..limit-1."""
    if not values.numel():
        return True
    if values.dtype != torch.uint8:  # one byte per value is faster
        values = values.long()  # there is no minimum of other unsigned types
    low, high = torch.stack(values.aminmax()).tolist()
    return bool(low >= 0 and high < limit)
