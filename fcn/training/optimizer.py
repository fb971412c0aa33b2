"""The optimizer of a recipe: parameter groups, the learning rate, frozen layers."""

from typing import Any

import torch
from torch import Tensor, nn

from fcn.models import FCN, LateFusion
from fcn.training.features import first_layers
from fcn.training.recipe import Recipe


def parameter_groups(net: FCN | LateFusion, recipe: Recipe) -> list[dict[str, Any]]:
    """One group of parameters per rate multiplier and weight decay.

    Freezes the layers that the recipe says; every other parameter learns.
    """
    kept = first_layers(net, recipe.frozen) if recipe.frozen else []
    never = {id(parameter) for _, layer in kept for parameter in layer.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        frozen = (recipe.fixed_trunk and "trunk" in name.split(".")) or id(parameter) in never
        if not parameter.requires_grad_(not frozen).requires_grad:
            continue
        bias = name.endswith(".bias")
        score = name.split(".")[-2].startswith("score")
        rate = (recipe.bias_rate if bias else 1.0) * (recipe.score_rate if score else 1.0)
        groups.setdefault((rate, 0.0 if bias else recipe.weight_decay), []).append(parameter)
    return [
        {"params": members, "multiplier": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]


def optimizer_for(net: FCN | LateFusion, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer of the net's :func:`parameter_groups`.

    On a CPU and on CUDA one kernel updates all parameters, which a CUDA graph can capture.
    """
    parameters = parameter_groups(net, recipe)
    device = next(net.parameters()).device.type
    fused = True if device in ("cpu", "cuda") else None
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters, lr=recipe.learning_rate, fused=fused, capturable=device == "cuda"
        )
    return torch.optim.SGD(
        parameters, lr=recipe.learning_rate, momentum=recipe.momentum, fused=fused
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group, times its multiplier; tensors are set in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * group["multiplier"])
        else:
            group["lr"] = rate * group["multiplier"]
