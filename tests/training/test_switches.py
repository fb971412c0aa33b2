"""The switches of a recipe: a frozen backbone, balanced classes, micro-batches."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from fcn import models
from fcn.data.synthetic.outdoor import Scenes
from fcn.losses import balanced_weights, multi_head_loss, pixel_softmax_loss
from fcn.models import FCN
from fcn.replication import run
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.experiment import Experiment
from fcn.training.loop import train
from fcn.training.recipe import Recipe

HEADS = {head: len(names) for head, names in Scenes.heads.items()}
RECIPE = Recipe(learning_rate=1e-3, epochs=1, batch_size=4)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return Scenes(4, (40, 56))


def trained(
    data: Scenes, recipe: Recipe, **settings: object
) -> tuple[FCN, dict[str, torch.Tensor]]:
    """A small net after a run, and what it was before."""
    torch.manual_seed(0)
    net = FCN("googlenet", 16, heads=HEADS, width=0.1, **settings)  # type: ignore[arg-type]
    for layer in net.modules():  # parts of a batch draw other units, and are compared without
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train(net, data, recipe, device="cpu", log=lambda line: None)
    return net, before


def test_a_fixed_trunk_stays_and_its_heads_learn(scenes):
    net, before = trained(scenes, replace(RECIPE, fixed_trunk=True, epochs=2))
    moved = {
        name for name, value in net.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved
    assert all(name.startswith("heads.") for name in moved)
    train(net, scenes, RECIPE, device="cpu", log=lambda line: None)  # and learns again when it may
    assert any(
        not torch.equal(value, before[name])
        for name, value in net.state_dict().items()
        if name.startswith("trunk.")
    )


def without_void(getitem):
    """A data set's ``__getitem__`` whose void pixels are of class 0."""

    def labelled(data, index):
        sample = getitem(data, index)
        return sample._replace(
            labels={h: v.masked_fill(v == 255, 0) for h, v in sample.labels.items()}
        )

    return labelled


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_parts_of_a_batch_add_up_to_it(scenes, reduction, monkeypatch):
    """Without void, all images have equally many labelled pixels: the mean of means is the mean."""
    monkeypatch.setattr(Scenes, "__getitem__", without_void(Scenes.__getitem__))
    rate = 1e-3 if reduction == "mean" else 1e-7
    recipe = replace(RECIPE, reduction=reduction, learning_rate=rate, epochs=2)
    whole, before = trained(scenes, recipe)
    parts, _ = trained(scenes, replace(recipe, micro_batch=1))
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    score = "heads.semantic.score32.bias"
    assert not torch.allclose(whole.state_dict()[score], before[score], atol=1e-5)


def test_a_part_is_a_divisor_of_the_batch():
    with pytest.raises(ValueError, match="micro_batch is 3: must divide the batch size, 4"):
        replace(RECIPE, micro_batch=3)


def test_balanced_weights_make_classes_count_alike():
    pixels = torch.tensor([900, 90, 9, 0])
    weights = balanced_weights(pixels)
    torch.testing.assert_close(balanced_weights(pixels, 0.5), weights.sqrt())
    assert weights.tolist() == pytest.approx([0.1, 1.0, 10.0, 0.0])
    labels = torch.repeat_interleave(torch.tensor([0, 1, 2]), pixels[:3]).view(1, 27, 37)
    scores = torch.zeros(1, 4, 27, 37, requires_grad=True)
    pixel_softmax_loss(scores, labels, "sum", weights=weights).backward()
    assert scores.grad is not None
    by_class = [scores.grad[0, c][labels[0] == c].sum().item() for c in range(3)]
    assert by_class == pytest.approx([by_class[1]] * 3, rel=1e-4)


def test_a_weighted_mean_is_one_of_weights():
    scores, labels = torch.randn(2, 3, 4, 5), torch.randint(3, (2, 4, 5))
    labels[0, 0] = 255
    weights = torch.tensor([0.5, 1.0, 4.0])
    expected = nn.functional.cross_entropy(scores, labels, weights, ignore_index=255)
    torch.testing.assert_close(pixel_softmax_loss(scores, labels, weights=weights), expected)
    both = multi_head_loss(
        {"a": scores, "b": scores}, {"a": labels, "b": labels}, weights={"a": weights}
    )
    torch.testing.assert_close(both, expected + pixel_softmax_loss(scores, labels))


def test_balancing_lifts_rare_classes(scenes):
    _, before = trained(scenes, replace(RECIPE, learning_rate=0.0))
    plain, _ = trained(scenes, replace(RECIPE, fixed_trunk=True))
    balanced, _ = trained(scenes, replace(RECIPE, fixed_trunk=True, balance=1.0))
    counts = sum(
        torch.bincount(scenes[i].labels["semantic"].flatten(), minlength=HEADS["semantic"])
        for i in range(4)
    )
    rare = counts.masked_fill(counts == 0, 1 << 40).argmin()
    score = "heads.semantic.score32.bias"
    lifted = [(net.state_dict()[score] - before[score])[rare].item() for net in (plain, balanced)]
    assert lifted[1] > lifted[0]


# From the catalogue


def built(experiment: Experiment, seed: int = 0) -> FCN:
    torch.manual_seed(seed)
    net = models.build(experiment.settings | {"width": 0.06, "heads": HEADS})
    assert isinstance(net, FCN)
    return net


def test_random_scores_start_at_random():
    e = EXPERIMENTS["sift-flow-googlenet-8s-brief-random"]
    net = built(e)
    assert run.initialize(net, replace(e, width=0.06), 0, Path("none")) is None
    weight = net.heads["semantic"].score32.weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert not net.heads["semantic"].score32.bias.any()


@pytest.mark.parametrize("e", EXPERIMENTS.values(), ids=lambda e: e.name)
def test_every_experiment_builds_and_goes_on_from_one_that_fits(e):
    classes = {"task": 3} if not e.task else {e.task: 3}
    small = {"width": 0.02, "heads": classes}
    net = models.build(e.settings | small)
    assert net.settings["stride"] == e.stride
    starts = [models.build(EXPERIMENTS[start].settings | small) for start in e.start]
    if starts:
        assert all(EXPERIMENTS[start].task == e.task for start in e.start)
        net.upgrade_from(*starts)  # type: ignore[arg-type]
