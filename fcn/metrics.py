"""One confusion matrix, and the four metrics of the paper computed from it (section 5, "Metrics").

With ``n_ij`` the number of pixels of class i predicted as class j, ``t_i = sum_j n_ij`` the pixels of class i, and
``n_cl`` the number of classes:

- pixel accuracy          ``sum_i n_ii / sum_i t_i``
- mean accuracy           ``(1 / n_cl) sum_i n_ii / t_i``
- mean IU                 ``(1 / n_cl) sum_i n_ii / (t_i + sum_j n_ji - n_ii)``
- frequency weighted IU   ``(sum_k t_k)^-1 sum_i t_i n_ii / (t_i + sum_j n_ji - n_ii)``

There is one matrix for a whole split, not one an image: a mean over images of their IUs is a different number. A class
with no pixel in the ground truth (``t_i = 0``) has no accuracy and is left out of both means, as the paper does with
the 3 of the 33 classes of SIFT Flow that its test images lack. Pixels predicted as such a class are still errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Metrics:
    """The paper's metrics, in percent (0..100), over the ``classes_counted`` classes present in the ground truth.

    ``iu_per_class`` has one entry for every class, in percent, and None for a class absent from the ground truth.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float
    classes_counted: int
    iu_per_class: tuple[float | None, ...]


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, for a split seen batch by batch, or by several processes.

    ``matrix`` is int64, C x C, on ``device``: row i, column j holds ``n_ij``, the pixels of class i predicted as j.
    Pixels labelled ``void`` are never counted. Raises ValueError if ``void`` is itself one of the classes 0..C-1.
    """

    def __init__(self, num_classes: int, void: int = 255, device: torch.device | str | None = None) -> None:
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f"a confusion matrix needs at least one class, a whole number, not {num_classes}")
        if 0 <= void < num_classes:
            raise ValueError(f"void {void} is one of the {num_classes} classes: choose a value outside them")
        self.num_classes = num_classes
        self.void = void
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    @classmethod
    def from_matrix(cls, matrix: Tensor | Sequence[Sequence[int]], void: int = 255) -> Self:
        """The confusion matrix with a copy of these counts, C x C whole numbers, as a record holds them.

        Raises ValueError if they are not square, not whole numbers or negative.
        """
        try:
            counts = torch.as_tensor(matrix)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"a confusion matrix is C x C whole numbers: {error}") from error
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"a confusion matrix is square, C x C: this one has shape {tuple(counts.shape)}")
        if counts.dtype == torch.bool or counts.is_floating_point() or counts.is_complex() or (counts < 0).any():
            raise ValueError("a confusion matrix counts pixels: its entries are whole numbers, 0 or more")
        confusion = cls(len(counts), void, counts.device)
        confusion.matrix += counts
        return confusion

    def update(self, labels: Tensor, predictions: Tensor) -> None:
        """Count the pixels of one batch: ``labels`` and ``predictions`` of any one shape, whole numbers, on any device.

        Raises ValueError if the shapes differ, a label is neither a class nor void, or a labelled pixel is predicted as
        something that is not a class. To score predictions that may be void, count void as one class more: it has
        no pixel in the ground truth, so that it adds errors and nothing else.
        """
        if labels.shape != predictions.shape:
            raise ValueError(
                f"labels {tuple(labels.shape)} and predictions {tuple(predictions.shape)} differ in shape: "
                "predictions are one class a pixel, scores.argmax(1)"
            )
        check_classes(labels, self.num_classes, "label", self.void)
        labels = labels.to(predictions.device, torch.int64)
        labelled = labels != self.void
        truth, predicted = labels[labelled], predictions[labelled]
        check_classes(predicted, self.num_classes, "prediction")
        pairs = truth * self.num_classes + predicted.long()  # int64: one number for each pair of classes
        counts = torch.bincount(pairs, minlength=self.num_classes**2)
        self.matrix += counts.view_as(self.matrix).to(self.matrix.device)

    def merge(self, other: "ConfusionMatrix") -> Self:
        """Add the counts of ``other``, from another part of the split, to these; returns this matrix.

        Raises ValueError if the two count different numbers of classes.
        """
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge confusion matrices of {self.num_classes} and {other.num_classes} classes")
        self.matrix += other.matrix.to(self.matrix.device)
        return self

    def __add__(self, other: "ConfusionMatrix") -> Self:
        return self.from_matrix(self.matrix, self.void).merge(other)

    def metrics(self) -> Metrics:
        """The metrics (section 5), in percent, computed in float64.

        Raises ValueError if no labelled pixel was counted: there is then nothing to divide by.
        """
        n = self.matrix.cpu().double()  # not every accelerator has float64
        t = n.sum(1)
        if t.sum() == 0:
            raise ValueError("the confusion matrix is empty: no labelled pixel was counted, so there are no metrics")
        hit = n.diagonal()
        present = t > 0
        accuracy = hit[present] / t[present]
        iu = hit[present] / (t + n.sum(0) - hit)[present]
        percent_iu = iter((100 * iu).tolist())
        return Metrics(
            pixel_accuracy=100 * (hit.sum() / t.sum()).item(),
            mean_accuracy=100 * accuracy.mean().item(),
            mean_iu=100 * iu.mean().item(),
            frequency_weighted_iu=100 * ((t[present] * iu).sum() / t.sum()).item(),
            classes_counted=int(present.sum()),
            iu_per_class=tuple(next(percent_iu) if here else None for here in present.tolist()),
        )


def check_classes(values: Tensor, num_classes: int, what: str = "label", void: int | None = None) -> None:
    """Raise ValueError, naming the value, unless each of ``values`` is a class 0..num_classes-1 or, if given, ``void``.

    ``what`` says in the message what the values are. Reads two numbers back from the device: of no weight beside an
    evaluation, but more than the inner loop of a training on an accelerator should pay.
    """
    if values.is_floating_point() or values.is_complex():
        raise ValueError(f"{what}s are whole numbers, one class a pixel, not {values.dtype}")
    values = values.long()  # in uint8, -1 would equal 255
    outside = (values < 0) | (values >= num_classes)
    if void is not None:
        outside &= values != void
    if outside.any():
        allowed = f"0 to {num_classes - 1}" + ("" if void is None else f", and {void} for void")
        raise ValueError(f"{what} {values[outside][0].item()} is outside the {num_classes} classes ({allowed})")
