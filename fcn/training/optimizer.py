"""The optimizer a recipe defines."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fcn.training.recipe import Recipe


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


def optimizer_for(net: nn.Module, recipe: Recipe, fused: bool = False) -> torch.optim.Optimizer:
    """The recipe's optimizer, with a group of parameters for each multiplier of the rate.

    ``fused`` asks for the update of all parameters in one go, which a CUDA graph can hold, where torch has one.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        bias = name.endswith(".bias")
        score = name.split(".")[-2].startswith("score")
        rate = (recipe.bias_rate if bias else 1.0) * (recipe.score_rate if score else 1.0)
        groups.setdefault((rate, 0.0 if bias else recipe.weight_decay), []).append(parameter)
    parameters: list[dict[str, Any]] = [
        {"params": members, "multiplier": rate, "weight_decay": decay} for (rate, decay), members in groups.items()
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, fused=fused or None, capturable=fused)
    if recipe.optimizer == "caffe":
        return CaffeSGD(parameters, recipe.learning_rate, recipe.momentum)
    return torch.optim.SGD(parameters, lr=recipe.learning_rate, momentum=recipe.momentum, fused=fused or None)


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


def prepare(net: nn.Module, recipe: Recipe) -> None:
    """Make of ``net`` what the recipe trains: which parameters learn, and what its dropout drops."""
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not (recipe.fixed_trunk and "trunk" in name.split(".")))
    kind, other = (nn.Dropout2d, nn.Dropout) if recipe.dropout == "channel" else (nn.Dropout, nn.Dropout2d)
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child) is other:
                setattr(module, name, kind(child.p))
