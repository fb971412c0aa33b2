"""How a net is trained, as data: the recipe, and the optimizer and the net that it asks for (section 4.3)."""

import math
from dataclasses import dataclass
from typing import get_args

from fcn.losses import Reduction


@dataclass(frozen=True)
class Recipe:
    """How a net is trained. The defaults are the paper's (section 4.3), but for the rate, which depends on the net."""

    learning_rate: float
    epochs: float = 175  # "at least 175"; an epoch is as many images as the data set has
    batch_size: int = 20
    micro_batch: int = 0  # images scored at a time, the gradients of a batch added up; 0: the whole batch at once
    optimizer: str = "sgd"  # "caffe", the same with the rate inside the momentum, or "adamw"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    bias_rate: float = 2.0  # biases learn at twice the rate, without decay, as in Caffe's nets
    score_rate: float = 1.0  # the new layers' rate over the trunk's; the paper has one for all
    fixed_trunk: bool = False  # only the heads learn (FCN-32s-fixed)
    dropout: str = "unit"  # what is dropped: single units, as in Caffe, or whole channels ("channel")
    schedule: str = "fixed"  # or "poly", (1 - t)^0.9, down to zero
    warmup: float = 0.0  # epochs of linear growth of the rate from zero
    clip: float = 0.0  # largest norm of the gradient; 0 leaves it alone
    average: float = 0.0  # the net that is kept is a running mean of the weights with this decay; 0: the last ones
    reduction: Reduction = "mean"  # of the loss over labelled pixels; the authors' heavy recipe has "sum"
    balance: bool = False  # weight rare classes up, by ``fcn.losses.balanced_weights``
    keep: float = 1.0  # the probability of keeping an output cell in the loss (section 3.4)
    replacement: bool = False  # draw images with replacement
    augment: str = "none"  # "mirror", "mirror+jitter" or "mirror+scale"
    precision: str = "32-true"  # or "bf16-mixed", where the machine has it

    def __post_init__(self) -> None:
        choices = {
            "optimizer": ("sgd", "caffe", "adamw"), "schedule": ("fixed", "poly"), "dropout": ("unit", "channel"),
            "reduction": get_args(Reduction),
        }  # fmt: skip
        for setting, known in choices.items():
            if getattr(self, setting) not in known:
                names = " or ".join(f'"{name}"' for name in known)
                raise ValueError(f'unknown {setting} "{getattr(self, setting)}": choose {names}')
        for setting in ("learning_rate", "momentum", "weight_decay", "bias_rate", "score_rate", "warmup", "clip"):
            if not 0 <= getattr(self, setting) < math.inf:
                raise ValueError(f"{setting} is {getattr(self, setting)}: give a number, 0 or more")
        if not 0 < self.epochs < math.inf:
            raise ValueError(f"epochs is {self.epochs}: give a number above 0")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}: give a whole number of images, 1 or more")
        if not isinstance(self.micro_batch, int) or self.micro_batch < 0 or self.batch_size % (self.micro_batch or 1):
            raise ValueError(f"micro_batch is {self.micro_batch}: give a divisor of the batch size, {self.batch_size}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average is {self.average}: give a decay, 0 or more and below 1")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is {self.keep}: give a probability above 0, 1 at most")

    @property
    def steady(self) -> bool:
        """Whether the learning rate is the same from the first step to the last."""
        return self.schedule == "fixed" and not self.warmup

    def rate_at(self, epoch: float) -> float:
        """The learning rate after ``epoch`` epochs."""
        rate = self.learning_rate
        if self.schedule == "poly":
            rate *= max(0.0, 1 - epoch / self.epochs) ** 0.9
        return rate * min(1.0, epoch / self.warmup) if epoch < self.warmup else rate


# The heavy recipe of the authors' release: single images drawn with replacement, a summed loss, a high momentum.
HEAVY = Recipe(
    learning_rate=1e-10, batch_size=1, optimizer="caffe", momentum=0.99, reduction="sum", replacement=True,
)  # fmt: skip


# Our own recipe, chosen on the validation part of the training images: all strides at once, AdamW, a decaying rate.
TUNED = Recipe(
    learning_rate=2e-4, epochs=9, batch_size=8, optimizer="adamw", weight_decay=0.02, bias_rate=1.0, score_rate=5.0,
    schedule="poly", warmup=0.1, clip=1.0, augment="mirror", precision="bf16-mixed",
)  # fmt: skip
