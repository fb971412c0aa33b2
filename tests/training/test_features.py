"""Frozen first layers, whose features are kept; half-size images; mirrored copies in turn."""

from collections import defaultdict
from dataclasses import replace
from functools import partial

import pytest
import torch
from test_loop import Kept

from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import Scenes
from fcn.models import FCN, LateFusion
from fcn.training import features
from fcn.training.features import Features, LaterLayers, first_layers
from fcn.training.gpu import Resident, draw
from fcn.training.loader import load_batch, load_sized, load_step
from fcn.training.loop import train
from fcn.training.recipe import Recipe

RECIPE = Recipe(
    learning_rate=1e-3,
    epochs=4,
    batch_size=2,
    optimizer="adamw",
    frozen="pool2",
    small=2,
    schedule="triangle",
    warmup=1,
    augment="alternate",
)


@pytest.fixture(scope="module")
def scenes():
    return Resident(Scenes(5, (64, 80)))


@pytest.fixture(scope="module")
def uneven():
    return Resident(Kept([*Scenes(3, (64, 80)), *Scenes(2, (48, 64), seed=1)]))


def net(seed=0):
    torch.manual_seed(seed)
    heads = {head: len(names) for head, names in Scenes.heads.items()}
    return FCN("googlenet", 8, heads=heads, width=1 / 8, upsampling="interpolate")


def trained(scenes, recipe=RECIPE, **more):
    result = net()
    train(result, scenes, recipe, device="cpu", log=lambda line: None, **more)
    return result.state_dict()


@pytest.mark.parametrize("last", ["pool2", "inception_5b"])
def test_kept_features_train_like_features_computed_each_time(scenes, monkeypatch, last):
    recipe = replace(RECIPE, frozen=last)
    kept = trained(scenes, recipe)
    monkeypatch.setattr(features, "SHARE", 0)
    computed = trained(scenes, recipe)
    assert all(torch.equal(kept[key], computed[key]) for key in kept)


def test_a_captured_step_takes_features(scenes):
    plain, captured = trained(scenes), trained(scenes, capture=True)  # on a CPU: not captured
    assert all(torch.equal(plain[key], captured[key]) for key in plain)


def test_frozen_layers_keep_their_weights_and_the_others_learn(scenes):
    before, after = net().state_dict(), trained(scenes)
    frozen = ("trunk.conv1", "trunk.conv2")
    for key, weight in after.items():
        if key.endswith("weight"):
            assert torch.equal(weight, before[key]) == key.startswith(frozen), key


@pytest.mark.parametrize("data", ["scenes", "uneven"])
def test_a_resumed_run_on_features_equals_one_that_is_not_interrupted(data, request, tmp_path):
    from fcn.training.checkpoint import Stopped

    scenes = request.getfixturevalue(data)
    stops = iter([False, False, False, True])
    checkpoint = tmp_path / "run.checkpoint"
    with pytest.raises(Stopped):
        trained(scenes, checkpoint=checkpoint, stop=lambda: next(stops))
    resumed = trained(scenes, checkpoint=checkpoint, resume=True)
    unbroken = trained(scenes)
    assert all(torch.equal(resumed[key], unbroken[key]) for key in unbroken)


@pytest.mark.parametrize("last", ["pool2", "inception_3b", "pool4", "inception_5b"])
def test_later_layers_score_like_the_whole_net(scenes, last):
    whole = net().eval()
    for parameter in whole.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    later = LaterLayers(whole, last)
    images = scenes.images[:2].float() / 255
    with torch.no_grad():
        scores = later(later.features(images), images.shape[-2:])
        for head, expected in whole(images).items():
            torch.testing.assert_close(scores[head], expected)


def test_later_layers_score_images_smaller_than_a_cell_like_the_whole_net():
    whole = net().eval()
    for parameter in whole.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    later, images = LaterLayers(whole, "pool2"), torch.rand(2, 3, 20, 40)
    with torch.no_grad():
        scores = later(later.features(images), images.shape[-2:])
        for head, expected in whole(images).items():
            torch.testing.assert_close(scores[head], expected)


def test_features_are_computed_once_for_each_mirrored_copy_and_size(scenes):
    calls = []
    later = LaterLayers(net(), "pool2")
    later.features = lambda images: calls.append(len(images)) or {0: images[..., ::8, ::8]}
    kept = Features(later, lambda *a: load_sized(scenes.batch, *a), 5, torch.device("cpu"))
    batches = [
        kept.batch([0, 3], "alternate", [epoch, epoch + 1], half)
        for half in (False, True)
        for epoch in range(3)
    ]
    assert calls == [2, 2, 2, 2]
    assert torch.equal(batches[0][0][0], batches[2][0][0])
    assert not torch.equal(batches[0][0][0], batches[1][0][0])
    for maps, labels in batches[3:]:
        assert maps[0].shape[-2:] == (4, 5)
        assert {y.shape[-2:] for y in labels.values()} == {(32, 40)}


def test_features_of_a_padded_photo_are_those_of_its_size_in_the_batch(uneven):
    later, load = LaterLayers(net(), "pool2"), partial(load_sized, uneven.batch)
    kept = Features(later, load, 5, torch.device("cpu"))
    for indices in ([0, 3], [1, 4], [3, 4], [4, 2], [3, 3]):  # photos 3 and 4 are smaller
        maps, _ = kept.batch(indices, "none", [0, 0], False)
        fresh = Features(later, load, 5, torch.device("cpu"))
        expected, _ = fresh.batch(indices, "none", [0, 0], False)
        assert all(torch.equal(maps[key], expected[key]) for key in expected)


def test_processes_share_the_room_for_features(monkeypatch):
    alone = features._free_memory(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert features._free_memory(torch.device("cpu")) == pytest.approx(alone / 4, rel=0.5)


def test_shifted_images_are_not_kept(scenes):
    later = LaterLayers(net(), "pool2")
    kept = Features(later, lambda *a: load_sized(scenes.batch, *a), 5, torch.device("cpu"))
    kept.batch([0, 1], "mirror+jitter", [1, 2], False)
    assert not kept.kept


def test_half_size_images_are_means_and_their_labels_every_other_pixel():
    image = torch.tensor([[0, 2, 9], [4, 6, 9], [9, 9, 9]], dtype=torch.uint8)
    batch = image.expand(1, 3, 3, 3), {"semantic": torch.arange(9).view(1, 3, 3)}
    images, labels = load_sized(lambda *_: batch, [0], "none", [0], True)
    assert images.tolist() == [[[[3]]] * 3]
    assert labels["semantic"].tolist() == [[[0]]]
    assert load_sized(lambda *_: batch, [0], "none", [0], False) is not None


@pytest.mark.parametrize("images", [5, 6])
def test_alternate_mirrors_each_image_in_every_other_epoch(images):
    seen = defaultdict(list)

    def load(indices, augment, seeds, half):
        for index, seed in zip(indices, seeds, strict=True):
            seen[index].append(draw(augment, seed))
        return torch.zeros(0), {}

    recipe = Recipe(learning_rate=1, epochs=4, batch_size=images, augment="alternate")
    for step in range(4):
        load_step(load, images, recipe, 0, 0, 1, step)
    firsts = set()
    for changes in seen.values():
        mirrored = [change[0] for change in changes]
        assert mirrored == [mirrored[0], not mirrored[0]] * 2
        assert all(change[1:] == (0, 0) for change in changes)
        firsts.add(mirrored[0])
    assert firsts == {True, False}


def test_alternate_mirrors_on_a_device_what_it_mirrors_in_files(scenes):
    dataset = Scenes(5, (64, 80))
    for seeds in ([4, 7], [5, 8]):
        images, labels = load_batch(dataset, [1, 2], "alternate", seeds)
        on_device, labels_there = scenes.batch([1, 2], "alternate", seeds)
        assert torch.equal(images, on_device)
        assert all(torch.equal(labels[head], labels_there[head]) for head in labels)


def test_the_triangle_rises_to_the_rate_and_falls_to_zero():
    recipe = Recipe(learning_rate=1.0, epochs=5, schedule="triangle", warmup=1)
    rates = [recipe.rate_at(epoch) for epoch in (0, 0.5, 1, 3, 5)]
    assert rates == [0, 0.5, 1, 0.5, 0]


@pytest.mark.parametrize(
    ("build", "last", "message"),
    [
        (lambda: net(), "pool9", 'frozen is "pool9": the backbone has the layers conv1, pool1'),
        (lambda: LateFusion("alexnet", 32, 3, width=1 / 16), "conv1", "late fusion"),
    ],
)
def test_layers_that_cannot_be_frozen_are_refused(build, last, message):
    with pytest.raises(ValueError, match=message):
        first_layers(build(), last)


def test_void_survives_halving(scenes):
    labels = torch.full((1, 4, 4), VOID)
    _, halved = load_sized(
        lambda *_: (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), {"a": labels}), [0], "", [0], True
    )
    assert halved["a"].eq(VOID).all()
