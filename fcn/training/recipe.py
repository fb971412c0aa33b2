"""Training hyperparameters (section 4.3), the authors' recipe and ours."""

import math
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from fcn.training.validation import readable

Positive = Annotated[int | float, Field(gt=0, lt=math.inf)]
NonNegative = Annotated[int | float, Field(ge=0, lt=math.inf)]


@readable
@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Recipe:
    """Training hyperparameters; the defaults are the paper's, except for the learning rate.

    Raises ValueError, naming the setting and the rule, for a value outside its range.
    """

    learning_rate: NonNegative
    epochs: Positive = 175  # "at least 175"; an epoch: as many images as in the data set
    batch_size: PositiveInt = 20
    micro_batch: NonNegativeInt = 0  # images per forward pass, gradients accumulate; 0: the batch
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: NonNegative = 0.9
    weight_decay: NonNegative = 5e-4
    bias_rate: NonNegative = 2.0  # rate multiplier of biases, which do not decay, as in Caffe
    score_rate: NonNegative = 1.0  # rate multiplier of the score layers; the paper has one rate
    fixed_trunk: bool = False  # train the heads only (FCN-32s-fixed)
    frozen: str = ""  # the backbone's layers up to this one keep their weights
    small: NonNegative = 0.0  # first epochs on images of half the size
    # poly: (1 - t)^0.9, down to zero; triangle: down to zero on a straight line after the warm-up
    schedule: Literal["fixed", "poly", "triangle"] = "fixed"
    warmup: NonNegative = 0.0  # epochs of linear growth of the rate from zero
    clip: NonNegative = 0.0  # largest gradient norm; 0: no clipping
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the weights' EMA; 0: no EMA
    reduction: Literal["mean", "sum"] = "mean"  # of the loss over labelled pixels
    # exponent of ``fcn.losses.balanced_weights``: 0: all classes weigh the same; 1: in inverse
    # proportion to their pixels
    balance: Annotated[int | float, Field(ge=0, le=1)] = 0.0
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of cells in the loss (section 3.4)
    replacement: bool = False  # draw images with replacement
    augment: str = "none"  # a name in ``fcn.data.augment.AUGMENTATIONS``
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.batch_size % (self.micro_batch or 1):
            raise ValueError(
                f"micro_batch is {self.micro_batch}: must divide the batch size, {self.batch_size}"
            )
        return self

    def rate_of(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 1: that of the schedule in its middle.

        So no step is without a rate where the schedule starts or ends at zero, even a single one.
        """
        return self.rate_at((step - 0.5) / steps * self.epochs)

    def rate_at(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs."""
        rate = self.learning_rate
        if self.schedule == "poly":
            rate *= max(0.0, 1 - epoch / self.epochs) ** 0.9
        elif self.schedule == "triangle" and epoch > self.warmup:
            rate *= max(0.0, (self.epochs - epoch) / (self.epochs - self.warmup))
        return rate * min(1.0, epoch / self.warmup) if epoch < self.warmup else rate


# The heavy recipe of the authors' release. Caffe applies the rate inside the momentum and torch
# outside: at a fixed rate the two are the same.
HEAVY = Recipe(learning_rate=1e-10, batch_size=1, momentum=0.99, reduction="sum", replacement=True)

# Our recipe, all strides at once. AdamW was chosen on the validation split; chapter 6 tells how.
TUNED = Recipe(
    learning_rate=2e-4,
    epochs=9,
    batch_size=8,
    optimizer="adamw",
    weight_decay=0.02,
    bias_rate=1.0,
    score_rate=5.0,
    schedule="poly",
    warmup=0.1,
    clip=1.0,
    augment="mirror",
    precision="bf16-mixed",
)
