"""Inputs other than RGB, late fusion, and other ways to fuse skips (sections 4.2 and 5)."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fcn
from fcn import models, pretrained
from fcn.models import FCN, SKIP_SCALES, LateFusion, build
from fcn.preprocessing import MEAN_BGR, MEAN_HHA, MEAN_LOG_DEPTH

SIZE = (70, 101)


def alive(net):
    """``net`` with random scores, in evaluation mode."""
    for name, parameter in net.named_parameters():
        if "score" in name:
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def small(stride: int = 32, **settings) -> FCN:
    return alive(FCN("googlenet", stride, 3, width=0.1, **settings))


def test_hha_keeps_the_order_of_its_channels():
    seen = {}
    net = small(inputs="hha")
    net.trunk.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    image = torch.rand(1, 3, *SIZE)
    net(image)
    torch.testing.assert_close(seen["x"], image * 255 - torch.tensor(MEAN_HHA).view(1, 3, 1, 1))


def test_depth_follows_the_colours():
    seen = {}
    net = small(inputs="rgbd")
    net.trunk.register_forward_pre_hook(lambda _, args: seen.update(x=args[0]))
    image = torch.rand(1, 4, *SIZE)
    net(image)
    mean = torch.tensor([*MEAN_BGR, MEAN_LOG_DEPTH]).view(1, 4, 1, 1)
    torch.testing.assert_close(seen["x"], image[:, [2, 1, 0, 3]] * 255 - mean)


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "googlenet"])
def test_depth_starts_as_the_mean_of_the_colour_filters(name, tmp_path):
    colour = FCN(name, 32, 3, width=0.1)
    file = tmp_path / "imagenet.safetensors"
    save_file({k: v.contiguous() for k, v in colour.trunk.state_dict().items()}, file)
    net = FCN(name, 32, 3, width=0.1, inputs="rgbd")
    net.load_pretrained(file)
    ours, theirs = (next(iter(n.trunk.parameters())) for n in (net, colour))
    assert torch.equal(ours[:, :3], theirs)
    torch.testing.assert_close(ours[:, 3], theirs.mean(dim=1))


def test_weights_that_bring_a_mean_of_colours_leave_depth_its_own(monkeypatch):
    brought = {"conv1_1.weight": torch.rand(6, 3, 3, 3), "mean": torch.tensor([1.0, 2.0, 3.0])}
    monkeypatch.setattr(pretrained, "read_weights", lambda *_: dict(brought))
    for inputs, expected in {
        "rgb": (1, 2, 3),
        "hha": MEAN_HHA,
        "rgbd": (1, 2, 3, MEAN_LOG_DEPTH),
    }.items():
        net = FCN("vgg16", 32, 3, width=0.1, inputs=inputs)
        with pytest.warns(UserWarning, match=r"any: lacks trunk\.conv1_1\.bias"):
            net.load_pretrained("any")
        assert net.mean.tolist() == pytest.approx(expected), inputs


@pytest.mark.parametrize(("inputs", "channels"), [("rgb", 4), ("hha", 6), ("rgbd", 3)])
def test_an_image_with_other_channels_is_refused(inputs, channels):
    with pytest.raises(
        ValueError, match=rf"{inputs.upper()}, divided by 255, not \[1, {channels}, "
    ):
        small(inputs=inputs)(torch.rand(1, channels, *SIZE))


# Late fusion


def two_streams(stride: int = 32, **settings) -> LateFusion:
    return alive(LateFusion("googlenet", stride, width=0.1, **settings))


def test_late_fusion_is_the_mean_of_two_nets():
    net = two_streams(num_classes=3)
    images = torch.rand(2, 6, *SIZE)
    expected = (net.colour(images[:, :3]) + net.hha(images[:, 3:])) / 2
    torch.testing.assert_close(net(images), expected)
    assert not torch.allclose(net(images), net.colour(images[:, :3]))


def test_late_fusion_of_several_heads():
    net = two_streams(heads={"a": 2, "b": 3})
    images = torch.rand(1, 6, *SIZE)
    assert {head: scores.shape[1] for head, scores in net(images).items()} == {"a": 2, "b": 3}
    with pytest.raises(ValueError, match="N x 6 x H x W"):
        net(images[:, :3])


def test_late_fusion_starts_from_its_two_streams():
    colour, hha = small(), small(inputs="hha")
    net = two_streams(num_classes=3)
    net.upgrade_from(colour, hha)
    images = torch.rand(1, 6, *SIZE)
    torch.testing.assert_close(net(images), (colour(images[:, :3]) + hha(images[:, 3:])) / 2)
    with pytest.raises(ValueError, match="late fusion needs two nets"):
        net.upgrade_from(colour)
    with pytest.raises(ValueError, match="inputs is hha here and rgb"):
        net.upgrade_from(colour, colour)


def test_a_finer_late_fusion_starts_where_the_coarser_ended():
    coarse, fine = two_streams(num_classes=3), LateFusion("googlenet", 16, 3, width=0.1).eval()
    fine.upgrade_from(coarse)
    images = torch.rand(1, 6, *SIZE)
    torch.testing.assert_close(fine(images), coarse(images), rtol=1e-4, atol=1e-4)


def test_two_streams_are_saved_and_read_again(tmp_path):
    net = two_streams(num_classes=3)
    models.save(net, tmp_path / "net.safetensors", {}, half=False)
    again = fcn.load(tmp_path / "net.safetensors")
    assert isinstance(again, LateFusion)
    images = torch.rand(1, 6, *SIZE)
    torch.testing.assert_close(again(images), net(images))
    assert fcn.receptive_field(again) == fcn.receptive_field(net.colour)


# Fusion of skips


def test_the_maximum_of_the_skips():
    net = small(16, fusion="max")
    added = build(net.settings | {"fusion": "sum"}).eval()
    added.load_state_dict(net.state_dict())
    for n in (net, added):
        nn.init.constant_(n.heads["scores"].score16.bias, -1e4)
        nn.init.zeros_(n.heads["scores"].score16.weight)
    images = torch.rand(1, 3, *SIZE)
    coarse = FCN("googlenet", 32, 3, width=0.1).eval()
    coarse.load_state_dict(net.state_dict(), strict=False)
    # The skip never wins.
    torch.testing.assert_close(net(images), coarse(images), rtol=1e-4, atol=1e-4)
    assert (added(images) < -5e3).all()


@pytest.mark.parametrize("alignment", ["tight", "reference"])
def test_the_finest_scores_alone(alignment):
    net = small(8, fusion="finest", alignment=alignment)
    names = {
        name.split(".")[2] for name, _ in net.heads.named_parameters() if "upscore" not in name
    }
    assert names == {"weight", "bias"} or names == {"score8"}
    images = torch.rand(1, 3, *SIZE)
    before = net(images)
    assert before.shape[-2:] == SIZE
    for parameter in net.trunk.inception_5b.parameters():  # behind the skip
        nn.init.zeros_(parameter)
    assert torch.equal(net(images), before)


def test_scaled_skips_multiply_the_maps():
    net = small(8, scaled_skips=True)
    plain = build(net.settings | {"scaled_skips": False}).eval()
    plain.load_state_dict(net.state_dict())
    for stride, scale in SKIP_SCALES.items():
        getattr(plain.heads["scores"], f"score{stride}").weight.data.mul_(scale)
    images = torch.rand(1, 3, *SIZE)
    torch.testing.assert_close(net(images), plain(images))


def test_a_skip_that_joins_otherwise_is_no_upgrade():
    small(16, fusion="max").upgrade_from(small(32))
    with pytest.raises(ValueError, match="fusion is max here and sum"):
        small(8, fusion="max").upgrade_from(small(16))


@pytest.mark.parametrize(
    "settings", [{"inputs": "xyz"}, {"fusion": "mean"}], ids=lambda s: next(iter(s))
)
def test_unknown_settings_are_named(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"unknown {name}"):
        small(**settings)
