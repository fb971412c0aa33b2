"""Training and evaluation: recipes, resuming bit for bit, stops, and several processes."""

import copy
import math
import multiprocessing
import os
import re
import shutil
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.data.synthetic.outdoor import Scenes
from fcn.losses import multi_head_loss
from fcn.metrics import ConfusionMatrix
from fcn.models import FCN
from fcn.training import loop
from fcn.training.checkpoint import Stopped, read_checkpoint
from fcn.training.evaluate import evaluate
from fcn.training.gpu import Resident, loading_processes, pins_memory
from fcn.training.loader import collate, prefetch
from fcn.training.loop import Diverged, train
from fcn.training.recipe import Recipe
from fcn.training.signals import SIGNALS

WIDTH = 1 / 16
HEADS = {head: len(names) for head, names in Scenes.heads.items()}
RECIPE = Recipe(learning_rate=1e-3, epochs=2, batch_size=2, augment="mirror")


class Kept(SegmentationDataset):
    """Samples of a data set, kept in memory."""

    name, split = "kept", "train"

    def __init__(self, samples, heads=Scenes.heads):
        self.samples, self.heads = list(samples), heads
        self.names = [sample.name for sample in self.samples]

    def __getitem__(self, index):
        return self.samples[index]


@pytest.fixture(scope="module")
def scenes():
    """Six scenes, one of them larger than the others."""
    return Kept([*Scenes(5, (48, 64)), Scenes(1, (70, 52), seed=1)[0]])


@pytest.fixture(scope="module")
def stamps():
    """Four scenes of the size of stamps, for runs of many steps."""
    return Kept(Scenes(4, (8, 12)))


class Tiny(nn.Module):
    """A net with nothing but dropout and scores, for runs of many steps."""

    single, classes, settings = False, HEADS, {"net": "tiny"}

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Dropout(0.5))
        self.heads = nn.ModuleDict(
            {head: nn.Sequential(nn.Conv2d(4, n, 1)) for head, n in HEADS.items()}
        )

    def forward(self, images, upsample=True):
        maps = self.trunk(images)
        return {name: head(maps) for name, head in self.heads.items()}


def net_for(name="alexnet", seed=0, **settings):
    torch.manual_seed(seed)
    return FCN(
        name, **({"stride": 16, "heads": HEADS, "upsampling": "learned", "width": WIDTH} | settings)
    )


def run(net, dataset, recipe, **more):
    return train(net, dataset, recipe, device="cpu", **({"log": lambda line: None} | more))


def after(steps):
    """A ``stop`` that is True after this many steps."""
    return iter([False] * (steps - 1) + [True]).__next__


def stopped(net, dataset, recipe, checkpoint, steps, **more):
    with pytest.raises(Stopped):
        run(net, dataset, recipe, checkpoint=checkpoint, stop=after(steps), **more)


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert list(a) == list(b)
    different = [name for name in a if not torch.equal(a[name], b[name])]
    assert not different


class Killed(BaseException):
    """What no handler of the loop catches, as no handler catches a kill."""


# Recipes


def test_a_fixed_rate_stays():
    assert {Recipe(0.1).rate_at(epoch) for epoch in (0, 1, 174.9, 200)} == {0.1}


def test_a_poly_rate_falls_to_zero():
    recipe = Recipe(0.1, epochs=10, schedule="poly")
    assert recipe.rate_at(0) == 0.1
    assert recipe.rate_at(5) == pytest.approx(0.1 * 0.5**0.9)
    assert recipe.rate_at(10) == 0
    assert recipe.rate_at(10.5) == 0  # of a last batch that goes past the end


def test_warming_up_is_linear_and_ends():
    recipe = Recipe(0.1, warmup=2)
    assert [recipe.rate_at(e) for e in (0, 0.5, 1, 2, 3)] == pytest.approx(
        [0, 0.025, 0.05, 0.1, 0.1]
    )
    both = replace(recipe, schedule="poly", epochs=10)
    assert both.rate_at(1) == pytest.approx(0.5 * 0.1 * 0.9**0.9)


@pytest.mark.parametrize("schedule", ["fixed", "poly", "triangle"])
@pytest.mark.parametrize("warmup", [0, 0.1, 1, 5])
@pytest.mark.parametrize("epochs", [0.01, 1, 9])
def test_no_step_is_without_a_rate(schedule, warmup, epochs):
    recipe = Recipe(0.1, epochs=epochs, schedule=schedule, warmup=warmup)
    for steps in (1, 2, 3, 7, 100):
        rates = [recipe.rate_of(step, steps) for step in range(1, steps + 1)]
        assert all(0 < rate <= 0.1 for rate in rates), rates
    if not warmup:  # the mean rate is that of the schedule, whatever the number of steps
        mean = {"fixed": 0.1, "poly": 0.1 / 1.9, "triangle": 0.05}[schedule]
        assert sum(rates) / steps == pytest.approx(mean, rel=1e-3)


@pytest.mark.parametrize("setting", ["optimizer", "schedule"])
def test_unknown_settings_are_refused(setting):
    with pytest.raises(ValueError, match=f"{setting} is 'Adam': must be '"):
        Recipe(0.1, **{setting: "Adam"})


def test_an_unknown_augmentation_is_refused(scenes):
    with pytest.raises(ValueError, match='unknown augmentation "flip"'):
        run(Tiny(), scenes, replace(RECIPE, augment="flip"))


def test_the_defaults_are_the_papers():
    recipe = Recipe(1e-4)
    assert (recipe.momentum, recipe.batch_size, recipe.weight_decay, recipe.bias_rate) == (
        0.9,
        20,
        5e-4,
        2,
    )
    assert (recipe.epochs, recipe.schedule, recipe.augment, recipe.reduction) == (
        175,
        "fixed",
        "none",
        "mean",
    )


# One step, by hand


def one_step(net, sample, recipe):
    """The loss, and what a first step of SGD should change: -rate * (gradient + decay * weight)."""
    net = copy.deepcopy(net).train()
    scores = net(sample.image[None] / 255)
    scores = scores if isinstance(scores, dict) else {"semantic": scores}
    loss = multi_head_loss(scores, {head: labels[None] for head, labels in sample.labels.items()})
    loss.backward()
    steps = {}
    for name, p in net.named_parameters():
        bias, score = name.endswith("bias"), name.split(".")[-2] in ("score32", "score16")
        rate = (
            recipe.learning_rate
            * (recipe.bias_rate if bias else 1)
            * (recipe.score_rate if score else 1)
        )
        steps[name] = -rate * (p.grad + (0 if bias else recipe.weight_decay) * p.detach())
    return loss.item(), steps


def without_chance(net):
    """``net`` without dropout and with random score layers and biases."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(p, std=0.1)
        elif name.split(".")[-2] in ("score32", "score16"):
            nn.init.normal_(p, std=0.1)
            p.data -= p.data.mean(dim=1, keepdim=True)
    return net


@pytest.mark.parametrize(
    "settings", [{}, {"num_classes": 10, "heads": None}], ids=["two heads", "one task"]
)
def test_biases_learn_at_twice_the_rate_and_do_not_decay(scenes, settings):
    """Score layers have a rate of their own if the recipe gives one; upsampling never has."""
    net = without_chance(net_for(**settings))
    recipe = Recipe(1e-3, epochs=1, batch_size=1, weight_decay=0.5, score_rate=7)
    loss, steps = one_step(net, scenes[0], recipe)
    before = copy.deepcopy(net)
    done = run(net, Kept([scenes[0]]), recipe)
    assert done.curve == [
        {"step": 1, "images": 1, "loss": pytest.approx(loss, rel=1e-5), "learning_rate": 1e-3}
    ]
    for (name, new), old in zip(net.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(
            new - old, steps[name], atol=1e-6 + 1e-3 * steps[name].abs().max().item(), rtol=0
        )


def test_clipping_bounds_a_step(scenes):
    net = without_chance(net_for())
    before = copy.deepcopy(net)
    run(
        net,
        Kept([scenes[0]]),
        Recipe(1.0, epochs=1, batch_size=1, weight_decay=0, bias_rate=1, clip=1e-3),
    )
    moved = sum(
        (a - b).square().sum() for a, b in zip(net.parameters(), before.parameters(), strict=True)
    ).sqrt()
    assert moved.item() == pytest.approx(1e-3, rel=0.01)


# The run


def test_the_loss_falls(scenes):
    """From the logarithm of the number of classes, at zero scores, to below two thirds of it."""
    done = run(
        net_for(),
        scenes,
        Recipe(3e-3, epochs=16, batch_size=3, optimizer="adamw", augment="mirror"),
    )
    losses = [point["loss"] for point in done.curve]
    assert losses[0] == pytest.approx(float(torch.tensor([10.0, 3.0]).log().sum()), rel=1e-4)
    assert sum(losses[-4:]) / 4 < losses[0] * 2 / 3
    assert (done.step, done.images_seen) == (32, 96)


def test_a_run_is_what_its_seed_says(scenes):
    nets = [net_for(), net_for(), net_for(), net_for()]
    for net, seed, augment in zip(
        nets, (0, 0, 1, 0), ("mirror", "mirror", "mirror", "none"), strict=True
    ):
        run(net, scenes, replace(RECIPE, augment=augment), seed=seed)
    assert_same_weights(nets[0], nets[1])
    for other in nets[2:]:
        with pytest.raises(AssertionError):
            assert_same_weights(nets[0], other)


def test_dropout_and_mirroring_are_drawn_anew_for_every_step(scenes):
    """At a rate of zero, on one image, the loss moves with nothing but chance."""
    recipe = Recipe(0.0, epochs=12, batch_size=1)
    net = Tiny()
    losses = [
        [point["loss"] for point in run(net, Kept([scenes[0]]), recipe, seed=seed).curve]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]
    assert len(set(losses[0])) == 12
    mirrored = run(without_chance(net_for()), Kept([scenes[0]]), replace(recipe, augment="mirror"))
    assert len({point["loss"] for point in mirrored.curve}) == 2


class Watched(Kept):
    """Notes which samples are asked for, unless they are all read up front."""

    def __getitem__(self, index):
        self.asked.append(index)
        return super().__getitem__(index)

    asked: list[int]


@pytest.fixture
def unread(monkeypatch):
    """Samples are not read before they are needed."""
    monkeypatch.setattr(loop, "in_memory", lambda dataset: dataset)


@pytest.mark.usefixtures("unread")
def test_an_epoch_shows_every_image_once(scenes):
    """Whether or not the batches end where the epochs do."""
    data = Watched(list(scenes)[:5])
    data.asked = []
    run(Tiny(), data, Recipe(1e-3, epochs=4, batch_size=2))
    epochs = [data.asked[i : i + 5] for i in range(0, 20, 5)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(5))] * 4
    assert len({tuple(epoch) for epoch in epochs}) > 1  # in another order


@pytest.mark.usefixtures("unread")
def test_drawing_with_replacement_does_not(scenes):
    data = Watched(scenes)
    data.asked = []
    run(Tiny(), data, Recipe(1e-3, epochs=10, batch_size=1, replacement=True))
    epochs = [data.asked[i : i + 6] for i in range(0, 60, 6)]
    assert len(data.asked) == 60
    assert any(sorted(epoch) != list(range(6)) for epoch in epochs)


def test_the_curve_has_about_200_points_that_average_the_steps_between(stamps):
    lines = []
    recipe = Recipe(1e-2, epochs=100, batch_size=1, schedule="poly", warmup=10)
    done = run(Tiny(), stamps, recipe, log=lines.append)
    assert [point["step"] for point in done.curve] == list(range(2, 401, 2))
    assert [point["images"] for point in done.curve] == [point["step"] for point in done.curve]
    rates = [point["learning_rate"] for point in done.curve]
    in_the_middle = [recipe.rate_at((point["step"] - 0.5) / 4) for point in done.curve]
    assert rates == pytest.approx(in_the_middle)
    assert max(rates) == pytest.approx(1e-2 * 0.9**0.9, rel=0.02)  # at the end of the warm-up
    assert rates[-1] == pytest.approx(1e-2 * (0.5 / 400) ** 0.9)
    assert len(lines) == 200
    assert "step 2/400" in lines[0]
    assert "images/s" in lines[0]
    assert "min left" in lines[0]


def test_a_diverging_run_stops_and_says_where(scenes, tmp_path):
    with pytest.raises(
        Diverged,
        match=r"the loss is (inf|nan) at step [1-5] of 6, at a learning rate of 1e\+06: lower",
    ) as e:
        run(
            without_chance(net_for()),
            scenes,
            replace(RECIPE, learning_rate=1e6),
            checkpoint=tmp_path / "a.pt",
        )
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_a_diverging_run_names_the_rate_of_its_last_update(scenes):
    """The loss is read later, at another rate, which may be near zero."""
    recipe = replace(RECIPE, learning_rate=1e6, schedule="triangle")
    with pytest.raises(Diverged, match="at step") as e:
        run(without_chance(net_for()), scenes, recipe)
    step, rate = re.findall(r"at step (\d) of 6, at a learning rate of (\S+):", str(e.value))[0]
    assert float(rate) == pytest.approx(recipe.rate_of(int(step), 6), rel=1e-3)


def test_weights_that_diverge_in_the_last_step_are_not_saved(scenes, tmp_path):
    """Their loss was computed before the update."""
    recipe = replace(RECIPE, learning_rate=1e30, epochs=1 / 3, schedule="triangle")
    wrong = r"the weights are NaN or beyond 16 bits at step 1 of 1, at a learning rate of 5e\+29:"
    with pytest.raises(Diverged, match=wrong):
        run(without_chance(net_for()), scenes, recipe, checkpoint=tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_a_net_that_starts_without_numbers_does_not_blame_the_rate(scenes):
    net = net_for()
    next(net.trunk.parameters()).data.fill_(math.nan)
    with pytest.raises(Diverged, match="nan before the first step: check the weights") as e:
        run(net, scenes, RECIPE)
    assert "rate" not in str(e.value)


def test_an_image_without_labels_teaches_nothing(scenes):
    empty = Sample(
        scenes[0].image, {h: torch.full_like(x, VOID) for h, x in scenes[0].labels.items()}, "empty"
    )
    net = without_chance(net_for())
    before = copy.deepcopy(net)
    done = run(net, Kept([empty]), Recipe(0.1, epochs=3, batch_size=1, weight_decay=0))
    assert [point["loss"] for point in done.curve] == [0, 0, 0]
    assert_same_weights(net, before)
    assert not any(
        matrix.matrix.any() for matrix in evaluate(net, Kept([empty]), device="cpu").values()
    )


# Killed and resumed


def same_run(a, b):
    return (a.step, a.images_seen, a.curve) == (b.step, b.images_seen, b.curve)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "adamw", "clip": 0.5},
        {"keep": 0.5, "replacement": True, "schedule": "poly", "reduction": "sum"},
    ],
    ids=["sgd", "adamw", "heavy"],
)
def test_a_killed_run_resumes_bit_for_bit(scenes, tmp_path, change):
    recipe = replace(RECIPE, **change)
    if recipe.reduction == "sum":
        recipe = replace(recipe, learning_rate=1e-7)
    whole = net_for()
    expected = run(whole, scenes, recipe)

    def kill_at_4(line):
        if line.startswith("step 4/6"):
            raise Killed

    checkpoint = tmp_path / "runs" / "a.checkpoint"
    killed = net_for()
    with pytest.raises(Killed):
        run(killed, scenes, recipe, checkpoint=checkpoint, checkpoint_every=0, log=kill_at_4)
    resumed = net_for(seed=9)  # whatever it holds before
    torch.rand(7)  # and whatever was drawn
    lines = []
    done = run(resumed, scenes, recipe, checkpoint=checkpoint, resume=True, log=lines.append)
    assert lines[0].startswith("step 4/6")  # the checkpoint after step 3 was the last one
    assert same_run(done, expected)
    assert_same_weights(resumed, whole)
    assert [path.name for path in checkpoint.parent.iterdir()] == ["a.checkpoint"]


def test_stopped_anywhere_a_run_goes_on(stamps, tmp_path):
    """Between two points of the curve too, and more than once."""
    recipe = Recipe(1e-2, epochs=101, batch_size=1, optimizer="adamw", augment="mirror")
    torch.manual_seed(0)
    whole = Tiny()
    parts = [copy.deepcopy(whole) for _ in range(3)]
    expected = run(whole, stamps, recipe)
    assert len(expected.curve) == 202  # a point for every two steps
    checkpoint = tmp_path / "a.pt"
    for net, steps, resume in zip(parts[:2], (1, 100), (False, True), strict=True):
        stopped(net, stamps, recipe, checkpoint, steps, resume=resume)
        assert torch.load(checkpoint, weights_only=True)["run"]["step"] == (101 if resume else 1)
    done = run(parts[2], stamps, recipe, checkpoint=checkpoint, resume=True)
    assert done.step == 404
    assert same_run(done, expected)
    assert_same_weights(parts[-1], whole)


def test_a_checkpoint_is_written_between_two_points_of_the_curve_and_never_of_what_diverged(
    stamps, tmp_path
):
    recipe = Recipe(
        1e-2, epochs=1000, batch_size=1, optimizer="adamw"
    )  # a point for every 20 steps
    paths = [tmp_path / name for name in ("a.pt", "b.pt")]

    def seen():
        return paths[0].is_file()

    with pytest.raises(Stopped, match="at step 2 of 4000"):
        run(Tiny(), stamps, recipe, checkpoint=paths[0], checkpoint_every=0, stop=seen)
    wild = replace(recipe, learning_rate=1e38, optimizer="sgd")
    with pytest.raises(Diverged, match=r"at step [1-9] of 4000"):
        run(Tiny(), stamps, wild, checkpoint=paths[1], checkpoint_every=0)
    assert not paths[1].exists()  # its first update is beyond 16 bits


def test_a_finished_run_resumed_stays_as_it_is(scenes, tmp_path):
    nets = [net_for(), net_for(seed=1)]
    recipe = replace(RECIPE, epochs=1)
    done = [
        run(net, scenes, recipe, checkpoint=tmp_path / "a.pt", resume=net is nets[1])
        for net in nets
    ]
    assert same_run(*done)
    assert_same_weights(*nets)
    assert not nets[1].training


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(scenes, tmp_path, monkeypatch):
    checkpoint = tmp_path / "a.pt"
    stopped(Tiny(), scenes, RECIPE, checkpoint, 2)
    before = checkpoint.read_bytes()

    def full(state, path):
        Path(path).write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space left"):
        stopped(Tiny(), scenes, RECIPE, checkpoint, 2)
    assert checkpoint.read_bytes() == before
    lines = []
    more = {"checkpoint": checkpoint, "resume": True, "checkpoint_every": 0}
    run(Tiny(), scenes, RECIPE, **more, log=lines.append)
    assert any("no checkpoint at step 3, training continues: " in line for line in lines)
    run(Tiny(), scenes, RECIPE, checkpoint=checkpoint, resume=True, log=lines.append)
    assert "no checkpoint of the last step" in lines[-1]  # and the net is returned
    assert checkpoint.read_bytes() == before


def test_without_a_checkpoint_to_resume_a_run_starts_from_the_beginning(stamps, tmp_path):
    nets = [Tiny() for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    done = [
        run(net, stamps, RECIPE, checkpoint=tmp_path / f"{resume}.pt", resume=resume)
        for net, resume in zip(nets, (False, True), strict=True)
    ]
    assert same_run(*done)
    assert_same_weights(*nets)


def test_the_identity_of_a_run_is_the_callers_too(stamps, tmp_path):
    checkpoint = tmp_path / "a.pt"
    stopped(Tiny(), stamps, RECIPE, checkpoint, 1, identity={"initial weights": "a"})
    stopped(Tiny(), stamps, RECIPE, checkpoint, 1, identity={"initial weights": "a"}, resume=True)
    with pytest.raises(ValueError, match=r"a\.pt: .*another run"):
        run(
            Tiny(),
            stamps,
            RECIPE,
            checkpoint=checkpoint,
            identity={"initial weights": "b"},
            resume=True,
        )


@pytest.mark.parametrize("content", [b"", b"no zip file at all", "half"])
def test_a_broken_checkpoint_is_named(scenes, tmp_path, content):
    checkpoint = tmp_path / "a.pt"
    stopped(Tiny(), scenes, RECIPE, checkpoint, 1)
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match=r"a\.pt: not a complete checkpoint; delete it") as error:
        run(Tiny(), scenes, RECIPE, checkpoint=checkpoint, resume=True)
    assert "\n" not in str(error.value)


def test_weights_are_no_checkpoint(scenes, tmp_path):
    torch.save(Tiny().state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match="not a complete checkpoint"):
        run(Tiny(), scenes, RECIPE, checkpoint=tmp_path / "a.pt", resume=True)


@pytest.mark.parametrize("other", ["recipe", "seed", "data", "net"])
def test_the_checkpoint_of_another_run_is_refused(scenes, tmp_path, other):
    stopped(Tiny(), scenes, RECIPE, tmp_path / "a.pt", 1)
    net, data, recipe, seed = Tiny(), scenes, RECIPE, 0
    match other:
        case "recipe":
            recipe = replace(RECIPE, momentum=0.8)
        case "seed":
            seed = 1
        case "data":
            data = Kept(list(scenes)[:5])
        case "net":
            net.settings = {"net": "another"}
    with pytest.raises(ValueError, match=r"a\.pt: from another run"):
        run(net, data, recipe, seed=seed, checkpoint=tmp_path / "a.pt", resume=True)


# Loading


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_processes_loads_the_same_batches(stamps, workers):
    recipe = replace(RECIPE, batch_size=3, augment="mirror+jitter")
    torch.manual_seed(0)
    nets = [Tiny()]
    nets.append(copy.deepcopy(nets[0]))
    done = [run(net, stamps, recipe, workers=n) for net, n in zip(nets, (0, workers), strict=True)]
    assert same_run(*done)
    assert_same_weights(*nets)
    matrices = [evaluate(nets[0], stamps, device="cpu", workers=n) for n in (0, workers)]
    for head in HEADS:
        assert torch.equal(*(m[head].matrix for m in matrices))
    assert not multiprocessing.active_children()


class Unreadable(Kept):
    def __getitem__(self, index):
        if index == 2:
            raise ValueError("2.jpg: cannot be read as a photo; download it again")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_cannot_be_read_is_one_line_from_any_process(stamps, workers):
    data = Unreadable(stamps)
    for use in (
        lambda: run(Tiny(), data, RECIPE, workers=workers),
        lambda: evaluate(Tiny(), data, device="cpu", workers=workers),
    ):
        with pytest.raises(ValueError, match=r"^2\.jpg: cannot be read as a photo; download it"):
            use()
    assert not multiprocessing.active_children()


def blocked(index):
    return signal.pthread_sigmask(signal.SIG_BLOCK, []) >= {*SIGNALS}


def test_processes_that_load_ignore_signals_and_end_with_the_iterator():
    """A scheduler that signals all processes of a job leaves the run its checkpoint."""
    with closing(prefetch(blocked, range(6), 2, False)) as items:
        assert next(items)
        for worker in multiprocessing.active_children():
            for number in SIGNALS:
                os.kill(worker.pid, number)
        assert list(items) == [True] * 5
    assert not multiprocessing.active_children()
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {*SIGNALS}


def test_a_gpu_has_up_to_eight_processes_that_load(stamps, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(20), raising=False)
    memory = SimpleNamespace(total=64 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: memory)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert loading_processes(stamps, cuda, None) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert loading_processes(stamps, cuda, None) == 5
    assert loading_processes(stamps, cpu, None) == 0
    assert loading_processes(stamps, cpu, 3) == 3
    assert loading_processes(Resident(stamps), cuda, 3) == 0
    memory.total = 64 << 20  # a container's default
    assert loading_processes(stamps, cuda, None) == 0
    assert loading_processes(stamps, cuda, 3) == 3


def test_only_batches_in_main_memory_are_pinned(stamps):
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert pins_memory(stamps, cuda)
    assert not pins_memory(stamps, cuda, features=True)  # computed on the device
    assert not pins_memory(Resident(stamps), cuda)
    assert not pins_memory(stamps, cpu)


def test_features_are_never_pinned(monkeypatch, stamps):
    pinned = []
    monkeypatch.setattr(loop, "pins_memory", lambda *_, features: pinned.append(features) or False)
    for frozen in ("", "conv1"):
        run(net_for(), stamps, replace(RECIPE, epochs=1, frozen=frozen))
    assert pinned == [False, True]


# Batches


def test_a_batch_pads_with_void():
    shapes = [(4, 6), (5, 3), (5, 6)]
    samples = [
        Sample(
            torch.full((3, h, w), 9, dtype=torch.uint8),
            {"a": torch.ones(h, w).long(), "b": torch.zeros(h, w).long()},
            "",
        )
        for h, w in shapes
    ]
    images, labels = collate(samples)
    assert images.shape == (3, 3, 5, 6)
    assert images.dtype == torch.uint8
    for i, (h, w) in enumerate(shapes):
        for head, value in (("a", 1), ("b", 0)):
            assert labels[head].dtype == torch.int64
            assert (labels[head][i, :h, :w] == value).all()
            assert (labels[head][i] == VOID).sum() == 30 - h * w
        assert (images[i, :, :h, :w] == 9).all()


# Scores


def test_one_matrix_for_a_split_is_the_sum_of_its_images(scenes):
    net = without_chance(net_for())
    matrices = evaluate(net, scenes, device="cpu")
    assert not net.training
    for head, classes in HEADS.items():
        expected = ConfusionMatrix(classes)
        for sample in scenes:
            with torch.no_grad():
                prediction = net(sample.image[None] / 255)[head].argmax(1)
            expected.update(sample.labels[head][None], prediction)
        assert torch.equal(matrices[head].matrix, expected.matrix)
        assert matrices[head].matrix.sum() == sum((s.labels[head] != VOID).sum() for s in scenes)
        assert len(matrices[head].matrix.sum(0).nonzero()) > 1  # more than one class is predicted


def test_a_net_for_one_task_scores_the_first_head(scenes):
    net = without_chance(net_for(num_classes=10, heads=None))
    assert list(evaluate(net, scenes, device="cpu")) == ["semantic"]


def test_a_net_may_leave_a_head_out(scenes):
    assert list(evaluate(net_for(heads={"geometric": 3}), scenes, device="cpu")) == ["geometric"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"num_classes": 21, "heads": None},
            'the net scores 21 classes for "semantic", but kept has 10',
        ),
        (
            {"heads": {"semantic": 10, "geometric": 4}},
            'the net scores 4 classes for "geometric", but kept has 3',
        ),
        ({"heads": {"depth": 8}}, 'the net scores 8 classes for "depth", but kept has 0'),
    ],
)
def test_a_net_of_other_classes_is_refused(scenes, settings, message):
    for use in (
        lambda net: evaluate(net, scenes, device="cpu"),
        lambda net: run(net, scenes, RECIPE),
    ):
        with pytest.raises(ValueError, match=message):
            use(net_for(**settings))


def test_scoring_stops_between_two_images(scenes):
    with pytest.raises(Stopped, match="while scoring"):
        evaluate(Tiny(), scenes, device="cpu", stop=after(2))
    evaluate(Tiny(), scenes, device="cpu", stop=after(6))  # there is nothing left to do


def test_scoring_tells_how_far_it_is(scenes):
    lines = []
    evaluate(Tiny(), Kept(list(scenes) * 17), device="cpu", log=lines.append)
    assert lines == ["scored 50 of 102 images", "scored 100 of 102 images"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("learning_rate", float("nan")),
        ("learning_rate", -1),
        ("learning_rate", float("inf")),
        ("epochs", -1),
        ("epochs", 0),
        ("epochs", float("nan")),
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("momentum", -1),
        ("clip", float("nan")),
        ("warmup", -1),
        ("keep", 0),
        ("keep", 2),
        ("reduction", "max"),
    ],
)
def test_an_invalid_setting_is_named_with_its_value(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{setting}.*{value}") as error:
        Recipe(**{"learning_rate": 0.1, setting: value})
    assert "\n" not in str(error.value)


def test_a_checkpoint_that_lacks_its_net_is_refused(tmp_path: Path) -> None:
    torch.save({"identity": {}}, tmp_path / "it.checkpoint")
    with pytest.raises(ValueError, match="not a complete checkpoint"):
        read_checkpoint(tmp_path / "it.checkpoint", {})
