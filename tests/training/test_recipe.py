"""Caffe's update rule, followed step by step: the authors' heavy recipe, exactly.

Caffe's SGD is written out here in numpy, in double precision. Only the gradients come from torch:
those of a copy of the net at the weights that numpy has arrived at.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from test_loop import after
from torch import nn

from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.models import FCN
from fcn.training.checkpoint import Stopped
from fcn.training.loop import train
from fcn.training.recipe import Recipe

CLASSES, STEPS = 3, 10
RATE, DECAY = 1e-6, 50.0
# Summed loss, batches of one image, momentum 0.99. The rate moves so small a net in ten steps, and
# the decay is as strong as the gradient.
HEAVY = Recipe(
    learning_rate=RATE,
    epochs=STEPS,
    batch_size=1,
    momentum=0.99,
    weight_decay=DECAY,
    reduction="sum",
    replacement=True,
)
CHANGING = replace(HEAVY, learning_rate=2e-6, schedule="poly", warmup=4)
Weights = dict[str, np.ndarray]


class OnePhoto(SegmentationDataset):
    """A data set of one photo, so that every step of every order sees the same."""

    name, split, heads = "one photo", "train", {"scores": ("a", "b", "c")}
    names = ["photo"]

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        labels = random.integers(0, CLASSES, (33, 47))
        labels[:4] = VOID
        image = random.integers(0, 256, (3, 33, 47)).astype(np.uint8)
        self.sample = Sample(torch.from_numpy(image), {"scores": torch.from_numpy(labels)}, "photo")

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self.sample


@dataclass
class Rule:
    """Caffe's SGD recipe, and, each switched off by itself, what makes it Caffe's."""

    momentum: float = 0.99
    rate_inside: bool = True
    bias_rate: float = 2.0  # lr_mult of biases
    bias_decay: float = 0.0  # their decay_mult
    decay: float = DECAY

    def __post_init__(self) -> None:
        self.velocity: Weights = {}

    def step(self, weights: Weights, gradients: Weights, rate: float) -> Weights:
        after = {}
        for name, w in weights.items():
            bias = name.endswith("bias")
            local_rate = rate * (self.bias_rate if bias else 1)
            change = gradients[name] + self.decay * (self.bias_decay if bias else 1) * w
            before = self.velocity.get(name, np.zeros_like(w))
            if self.rate_inside:
                self.velocity[name] = self.momentum * before + local_rate * change
                after[name] = w - self.velocity[name]
            else:  # as torch has it
                self.velocity[name] = self.momentum * before + change
                after[name] = w - local_rate * self.velocity[name]
        return after


def fixed(step: int) -> float:
    return RATE


def changing(step: int) -> float:
    """The rate in the middle of a step, the first being 1: linear over four, times (1 - t)^0.9."""
    middle = step - 0.5
    return 2e-6 * (1 - middle / STEPS) ** 0.9 * min(1, middle / 4)


def net_with_scores() -> FCN:
    """A narrow FCN-16s with learned upsampling and random scores: every layer has a gradient."""
    torch.manual_seed(1)
    net = FCN("vgg16", 16, CLASSES, upsampling="learned", width=1 / 16)
    for name, parameter in net.named_parameters():
        if "score" in name and parameter.ndim == 4 and parameter.shape[-1] == 1:
            nn.init.normal_(parameter, std=0.02)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def gradients_at(weights: Weights, sample: Sample) -> Weights:
    """The gradients of the summed loss, in double precision."""
    net = net_with_scores().double()
    net.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()}, strict=False)
    logarithms = net(sample.image[None].double() / 255).log_softmax(1)[0]
    labels = sample.labels["scores"]
    rows, columns = torch.nonzero(labels != VOID, as_tuple=True)
    (-logarithms[labels[rows, columns], rows, columns].sum()).backward()
    return {name: p.grad.numpy() for name, p in net.named_parameters() if p.grad is not None}


def by_numpy(rule: Rule, steps: int, rate_at: Callable[[int], float] = fixed) -> Weights:
    weights = {
        name: p.detach().double().numpy() for name, p in net_with_scores().named_parameters()
    }
    for step in range(1, steps + 1):
        weights = rule.step(weights, gradients_at(weights, OnePhoto().sample), rate_at(step))
    return weights


def by_training(recipe: Recipe, steps: int) -> Weights:
    net = net_with_scores()
    stopped = pytest.raises(Stopped, match=f"at step {steps} of {STEPS}")
    with stopped if steps < STEPS else nullcontext():
        train(net, OnePhoto(), recipe, device="cpu", log=lambda line: None, stop=after(steps))
    return {name: p.detach().numpy() for name, p in net.named_parameters()}


def apart(some: Weights, others: Weights) -> float:
    """The largest difference between two nets in any layer, relative to how far the first moved."""
    start = {name: p.detach().numpy() for name, p in net_with_scores().named_parameters()}
    assert some.keys() == others.keys() == start.keys()
    shares = []
    for name, w in start.items():
        moved = np.abs(some[name] - w).max()
        assert moved > 1e-6 * np.abs(w).max(), f"{name} does not learn"
        shares.append(np.abs(some[name] - others[name]).max() / moved)
    return max(shares)


@pytest.fixture(scope="module")
def after_ten_steps() -> Weights:
    return by_numpy(Rule(), STEPS)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_each_step_is_caffes(steps):
    assert apart(by_numpy(Rule(), steps), by_training(HEAVY, steps)) < 1e-3


def test_ten_steps_are_caffes(after_ten_steps):
    assert apart(after_ten_steps, by_training(HEAVY, STEPS)) < 1e-3


@pytest.mark.parametrize(
    "rule",
    [Rule(bias_rate=1.0), Rule(bias_decay=1.0), Rule(decay=0.0), Rule(momentum=0.98)],
    ids=["biases at one rate", "biases decay", "no decay", "less momentum"],
)
def test_a_rule_that_is_not_caffes_ends_elsewhere(rule, after_ten_steps):
    assert apart(after_ten_steps, by_numpy(rule, STEPS)) > 0.1


def test_the_rate_may_be_outside_the_momentum_if_it_is_fixed(after_ten_steps):
    """Caffe has it inside, torch outside; they part where the rate changes."""
    assert apart(after_ten_steps, by_numpy(Rule(rate_inside=False), STEPS)) < 1e-9
    caffes, outside = (by_numpy(Rule(rate_inside=r), STEPS, changing) for r in (True, False))
    ended = by_training(CHANGING, STEPS)
    assert apart(caffes, ended) > 0.1
    assert apart(outside, ended) < 1e-3


def test_torchs_sgd_at_a_fixed_rate_is_caffes_rule():
    """v = m v + lr (g + wd w); w -= v, for twenty steps in float64."""
    random = np.random.default_rng(0)
    w = random.normal(size=50)
    gradients = random.normal(size=(20, 50))
    parameter = nn.Parameter(torch.from_numpy(w.copy()))
    optimizer = torch.optim.SGD([parameter], lr=0.01, momentum=0.99, weight_decay=0.1)
    v = np.zeros_like(w)
    for gradient in gradients:
        v = 0.99 * v + 0.01 * (gradient + 0.1 * w)
        w = w - v
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        np.testing.assert_allclose(parameter.detach().numpy(), w, rtol=1e-12, atol=1e-14)
