"""Data on the device as bytes: the same batches as from files, and the same training."""

from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from test_loop import after
from torch import nn

from fcn.data.augment import AUGMENTATIONS, augmentation
from fcn.data.sample import VOID, Sample, SegmentationDataset, list_checksum
from fcn.data.synthetic.outdoor import Scenes
from fcn.models import FCN
from fcn.training import loop
from fcn.training.checkpoint import Stopped
from fcn.training.gpu import Captured, Resident, draw
from fcn.training.loader import collate
from fcn.training.loop import Diverged, train
from fcn.training.recipe import Recipe

HEADS = {head: len(names) for head, names in Scenes.heads.items()}
RECIPE = Recipe(learning_rate=1e-3, epochs=3, batch_size=2, augment="mirror")


class Noise(SegmentationDataset):
    """Samples of the given sizes, every pixel drawn at random, so that no two are alike."""

    name, split = "noise", "train"
    heads = {"semantic": tuple("abcdefg"), "geometric": tuple("xyz")}

    def __init__(self, *sizes, channels=3):
        generator = torch.Generator().manual_seed(0)
        self.samples = []
        for i, (height, width) in enumerate(sizes):
            image = torch.randint(
                256, (channels, height, width), generator=generator, dtype=torch.uint8
            )
            labels = {
                h: torch.randint(len(c), (height, width), generator=generator)
                for h, c in self.heads.items()
            }
            labels["semantic"][torch.rand(height, width, generator=generator) < 0.1] = VOID
            self.samples.append(Sample(image, labels, str(i)))
        self.names = [sample.name for sample in self.samples]

    def __getitem__(self, index):
        return self.samples[index]


def changed_on_the_cpu(dataset, augment, indices, seeds):
    samples = []
    for index, seed in zip(indices, seeds, strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            samples.append(augmentation(augment)(dataset[index]))
    return collate(samples)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_batches_are_those_of_the_cpu(augment):
    """Every pixel of photos of four sizes."""
    dataset = Noise((40, 56), (37, 64), (70, 33), (64, 64))
    resident = Resident(dataset)
    before = torch.get_rng_state()
    for first in range(0, 120, 3):
        indices, seeds = (
            [first % 4, (first + 1) % 4, (first + 3) % 4],
            [first, first + 1, first + 2],
        )
        images, labels = changed_on_the_cpu(dataset, augment, indices, seeds)
        ours, our_labels = resident.batch(indices, augment, seeds)
        assert ours.dtype == torch.uint8
        assert torch.equal(ours, images)
        assert our_labels.keys() == labels.keys()
        for head, expected in labels.items():
            assert torch.equal(our_labels[head], expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_resident_sample_is_the_data_set_s():
    dataset = Noise((40, 56), (37, 64), (70, 33))
    resident = Resident(dataset)
    assert (len(resident), resident.names, resident.one_size) == (3, ["0", "1", "2"], False)
    assert resident.checksum == list_checksum(["0", "1", "2"])
    for i in range(3):
        sample = resident[i]
        assert sample.name == dataset[i].name
        assert torch.equal(sample.image, dataset[i].image)
        assert all(torch.equal(sample.labels[h], dataset[i].labels[h]) for h in dataset.heads)
        sample.image.zero_()
        assert torch.equal(resident[i].image, dataset[i].image), "a copy"


def test_what_cannot_be_held_is_refused():
    with pytest.raises(ValueError, match="0: 4 channels"):
        Resident(Noise((8, 8), channels=4))
    with pytest.raises(ValueError, match='"upside down"'):
        draw("upside down", 0)


# Training


@pytest.fixture(scope="module")
def scenes():
    return Scenes(4, (40, 40))


def trained(dataset, recipe=RECIPE, **how):
    torch.manual_seed(0)
    net = FCN("googlenet", 8, heads=HEADS, upsampling="learned", width=1 / 16)
    done = train(net, dataset, recipe, device="cpu", log=lambda line: None, **how)
    return net, done


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) for name in ours
    )


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, optimizer="adamw", schedule="poly", clip=1.0, keep=0.5),
        replace(RECIPE, micro_batch=1, replacement=True, augment="mirror+jitter"),
    ],
    ids=["sgd", "adamw", "micro"],
)
@pytest.mark.parametrize("capture", [False, True])
def test_training_is_the_same_from_bytes_and_by_captured_steps(scenes, recipe, capture):
    """Bit for bit on a CPU: the same images in the same order, dropout and updates."""
    plain, expected = trained(scenes, recipe)
    ours, done = trained(Resident(scenes), recipe, capture=capture)
    assert same(ours, plain)
    assert [point["loss"] for point in done.curve] == pytest.approx(
        [point["loss"] for point in expected.curve]
    )


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, monkeypatch, ema):
    """Stopped in the middle of a stretch of the curve, with losses not read yet."""
    monkeypatch.setattr(loop, "CURVE_POINTS", 4)
    recipe = replace(RECIPE, epochs=20, batch_size=4, optimizer="adamw", schedule="poly", ema=ema)
    small = Resident(Noise((32, 32), (32, 32), (32, 32), (32, 32)))
    heads = {head: len(names) for head, names in small.heads.items()}
    checkpoint = tmp_path / "run.checkpoint"

    def go(**how):
        torch.manual_seed(0)
        net = FCN("googlenet", 32, heads=heads, upsampling="interpolate", width=0.02)
        return net, train(
            net, small, recipe, device="cpu", log=lambda line: None, capture=True, **how
        )

    whole, expected = go(checkpoint=tmp_path / "whole.checkpoint")
    calls = iter(range(20))
    with pytest.raises(Stopped, match="at step 7 of 20"):
        go(checkpoint=checkpoint, stop=lambda: next(calls) == 6)
    resumed, done = go(checkpoint=checkpoint, resume=True)
    assert same(resumed, whole)
    assert done.curve == expected.curve
    assert [point["step"] for point in done.curve] == [5, 10, 15, 20]


def test_the_running_mean_is_the_net_that_is_kept(scenes):
    """Its weights, followed step by step: a^n w_0 + (1 - a) sum a^(n-k) w_k."""
    recipe = replace(RECIPE, epochs=1.5)
    steps = []
    for number in range(4):
        torch.manual_seed(0)
        net = FCN("googlenet", 8, heads=HEADS, upsampling="learned", width=1 / 16)
        if number:
            stop = after(number)
            with suppress(Stopped):
                train(net, scenes, recipe, device="cpu", log=lambda line: None, stop=stop)
        steps.append([p.detach().clone() for p in net.parameters()])
    decay = 0.75
    expected = steps[0]
    for weights in steps[1:]:
        expected = [
            decay * mean + (1 - decay) * now for mean, now in zip(expected, weights, strict=True)
        ]
    averaged, _ = trained(scenes, replace(recipe, ema=decay))
    for ours, mean in zip(averaged.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.detach(), mean)
    with pytest.raises(ValueError, match="ema"):
        replace(recipe, ema=1.0)


def test_divergence_is_named_by_its_step_though_losses_are_read_late(scenes):
    wild = replace(RECIPE, learning_rate=1e30, epochs=8)
    with pytest.raises(Diverged) as plain:
        trained(scenes, wild)
    with pytest.raises(Diverged) as captured:
        trained(Resident(scenes), wild, capture=True)
    assert str(captured.value) == str(plain.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, batch_size=1, reduction="sum", learning_rate=1e-8, momentum=0.99),
        replace(
            RECIPE,
            optimizer="adamw",
            schedule="poly",
            clip=1.0,
            ema=0.9,
            augment="mirror+jitter",
            precision="bf16-mixed",
        ),
    ],
    ids=["sgd", "heavy", "adamw"],
)
def test_captured_steps_learn_what_steps_learn_on_a_gpu(scenes, recipe):
    """Equal to launching kernel by kernel, within the rounding of float32 or bfloat16."""
    logged = []
    nets = []
    for capture in (False, True):
        torch.manual_seed(0)
        net = FCN("googlenet", 8, heads=HEADS, upsampling="learned", width=1 / 16)
        data, longer = Resident(scenes, "cuda"), replace(recipe, epochs=8)
        train(net, data, longer, device="cuda", log=logged.append, capture=capture)
        nets.append(net)
    assert not [line for line in logged if "not captured" in line]
    loose = 5e-2 if recipe.precision != "32-true" else 5e-3
    for plain, ours in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert (plain - ours).norm() <= loose * plain.norm() + 1e-6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_call_is_carried_out_once_on_a_gpu():
    layer = nn.Linear(4, 4).cuda()
    total = torch.zeros((), device="cuda")

    def call(x):
        total.add_(1)
        return layer(x)

    captured = Captured(call, pytest.fail)
    for number in range(1, 8):
        x = torch.randn(2, 4, device="cuda")
        torch.testing.assert_close(captured(x), layer(x))
        assert total.item() == number
    torch.testing.assert_close(
        captured(torch.ones(3, 4, device="cuda")), layer(torch.ones(3, 4, device="cuda"))
    )
