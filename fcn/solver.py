"""How a net is trained, as data: the recipe, and the optimizer and the net that it asks for (section 4.3)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from fcn.losses import Reduction


@dataclass(frozen=True)
class Solver:
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


class CaffeSGD(torch.optim.Optimizer):
    """SGD with momentum as Caffe does it: v = momentum * v + rate * (gradient + decay * w), w = w - v.

    torch multiplies by the rate on the way out of v, Caffe on the way in: the two agree while the rate stays as it is,
    and part for 1 / (1 - momentum) steps where it changes. ``lr`` and ``weight_decay`` of each group are Caffe's
    ``base_lr * lr_mult`` and ``weight_decay * decay_mult``.
    """

    def __init__(self, parameters: list[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = torch.enable_grad()(closure)() if closure is not None else None
        for group in self.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                change = parameter.grad.add(parameter, alpha=group["weight_decay"])
                velocity = state["momentum_buffer"].mul_(group["momentum"]).add_(change, alpha=group["lr"])
                parameter.sub_(velocity)
        return loss


def optimizer_for(net: nn.Module, solver: Solver, fused: bool = False) -> torch.optim.Optimizer:
    """The solver's optimizer, with a group of parameters for each multiplier of the rate.

    ``fused`` asks for the update of all parameters in one go, which a CUDA graph can hold, where torch has one.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        bias = name.endswith(".bias")
        score = name.split(".")[-2].startswith("score")
        rate = (solver.bias_rate if bias else 1.0) * (solver.score_rate if score else 1.0)
        groups.setdefault((rate, 0.0 if bias else solver.weight_decay), []).append(parameter)
    parameters: list[dict[str, Any]] = [
        {"params": members, "multiplier": rate, "weight_decay": decay} for (rate, decay), members in groups.items()
    ]
    if solver.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=solver.learning_rate, fused=fused or None, capturable=fused)
    if solver.optimizer == "caffe":
        return CaffeSGD(parameters, solver.learning_rate, solver.momentum)
    return torch.optim.SGD(parameters, lr=solver.learning_rate, momentum=solver.momentum, fused=fused or None)


class RunningMean:
    """A mean of the weights of ``net`` over the last steps, the older the less: mean = decay * mean + (1 - decay) * w.

    A decay of 0 keeps none.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = [parameter.detach() for parameter in net.parameters()]
        self.held = [weight.clone() for weight in self.weights] if decay else []

    def update(self) -> None:
        """Take in the weights as they are after a step."""
        if self.held:
            torch._foreach_lerp_(self.held, self.weights, 1 - self.decay)

    def load(self, held: list[Tensor]) -> None:
        """Go on from the mean of an earlier run."""
        for ours, theirs in zip(self.held, held, strict=True):
            ours.copy_(theirs)

    def keep(self) -> None:
        """Make the mean the net's weights."""
        for weight, mean in zip(self.weights, self.held, strict=False):
            weight.copy_(mean)


def prepare(net: nn.Module, solver: Solver) -> None:
    """Make of ``net`` what the solver trains: which parameters learn, and what its dropout drops."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not (solver.fixed_trunk and "trunk" in name.split(".")))
    kind, other = (nn.Dropout2d, nn.Dropout) if solver.dropout == "channel" else (nn.Dropout, nn.Dropout2d)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child) is other:
                setattr(module, name, kind(child.p))
