"""FCNs: inputs, outputs, alignment of scores with the image, upgrades, settings."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import fcn
from fcn.classifiers import CLASSIFIERS, Inception, ResponseNorm
from fcn.convolutionalize import backbone
from fcn.models import FCN, SMALLEST, build, load, save

WIDTH = 1 / 32
STRIDES = (32, 16, 8)
ALIGNMENTS = ("tight", "reference")
NETS = tuple(CLASSIFIERS)


def scored(net):
    """``net`` in evaluation mode with random score layers instead of zeros.

    Features are positive: weights that sum to zero keep one class from winning everywhere.
    """
    generator = torch.Generator().manual_seed(5)
    for head in net.heads.values():
        for s in (32, *head.skips):
            weight = getattr(head, f"score{s}").weight
            nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
            weight.data -= weight.data.mean(dim=1, keepdim=True)
    return net.eval()


def smooth(height, width, cells=5, channels=3):
    """Smooth random images in [0, 1]."""
    coarse = torch.rand(
        1, channels, cells, cells, generator=torch.Generator().manual_seed(height + width)
    )
    return nn.functional.interpolate(
        coarse, size=(height, width), mode="bicubic", align_corners=True
    ).clamp(0, 1)


# Table 1


@pytest.mark.parametrize(("name", "millions"), [("alexnet", 57), ("vgg16", 134), ("googlenet", 6)])
def test_parameters_of_table_1(name, millions):
    """Upsampling has no parameters: it is fixed in FCN-32s."""
    with torch.device("meta"):
        net = FCN(name, 32, num_classes=21)
    assert round(sum(p.numel() for p in net.parameters()) / 1e6) == millions


@pytest.mark.parametrize(("name", "layers"), [("alexnet", 8), ("vgg16", 16), ("googlenet", 22)])
def test_convolution_layers_of_table_1(name, layers):
    """Counted along the longest path from image to scores, the score layer included.

    An inception counts as two (1x1, then 3x3 or 5x5) of its six convolutions: only so has GoogLeNet
    22, not 58.
    """

    def depth(module):
        if isinstance(module, Inception):
            return max(sum(depth(layer) for layer in branch) for branch in module.branches())
        if isinstance(module, nn.Sequential):
            return sum(depth(layer) for layer in module)
        return int(isinstance(module, nn.Conv2d))

    assert depth(backbone(CLASSIFIERS[name](width=WIDTH))) + 1 == layers


# Any image


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", NETS)
def test_scores_have_the_size_of_any_image(name, alignment):
    nets = [scored(FCN(name, stride, 3, alignment=alignment, width=WIDTH)) for stride in STRIDES]
    sizes = [(1, 1), (1, 67), (33, 2), (31, 32), (33, 31), (65, 64), (97, 40), (127, 129)]
    for height, width in sizes:
        for net in nets:
            scores = net(smooth(height, width))
            assert scores.shape == (1, 3, height, width)
            assert scores.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", NETS)
def test_scores_of_a_photo_of_pascal_voc(name, stride):
    for alignment in ALIGNMENTS:
        net = scored(FCN(name, stride, 21, alignment=alignment, width=WIDTH))
        assert net(torch.rand(1, 3, 375, 500)).shape == (1, 21, 375, 500)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", NETS)
def test_every_size_modulo_the_stride_is_covered(name, alignment):
    """33 shapes, without data."""
    with torch.device("meta"):
        net = FCN(name, 8, 2, alignment=alignment, width=WIDTH)
    for height in range(96, 129):
        width = 300 - 5 * (height - 96)
        assert net(torch.empty(1, 3, height, width, device="meta")).shape == (1, 2, height, width)


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_a_small_image_is_the_corner_of_a_grey_one(name):
    net = scored(FCN(name, 8, 2, width=WIDTH))
    image = torch.rand(1, 3, 7, 11)
    larger = (net.mean.flip(0) / 255).view(1, 3, 1, 1).repeat(1, 1, SMALLEST, SMALLEST)
    larger[..., :7, :11] = image
    torch.testing.assert_close(net(image), net(larger)[..., :7, :11], atol=1e-3, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_images_of_a_batch_do_not_meet(name):
    net = scored(FCN(name, 8, 3, width=WIDTH))
    images = torch.cat([smooth(70, 90), 1 - smooth(70, 90)])
    torch.testing.assert_close(net(images)[1:], net(images[1:]), atol=1e-4, rtol=1e-4)


# Alignment


def averaging(net, active):
    """``net`` as a known linear map: each layer averages channels at the centre of its window.

    Max-pools average, and of the scores only those of stride ``active`` are passed on. So each cell
    holds the image around the place that geometry gives it.
    """
    for module in list(net.trunk.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(
                    child.kernel_size, child.stride, child.padding, child.ceil_mode, False
                )
                setattr(module, name, pool)
            elif isinstance(child, ResponseNorm):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.Conv2d):
                pass_on(child)
    for s in (32, *net.heads["scores"].skips):
        layer = getattr(net.heads["scores"], f"score{s}")
        pass_on(layer)
        if s != active:
            nn.init.zeros_(layer.weight)
    net.mean.zero_()
    return net.eval()


def pass_on(layer):
    k = layer.kernel_size[0]
    middle = slice((k - 1) // 2, k // 2 + 1)  # two cells of an even kernel
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight[:, :, middle, middle] = 1
        layer.weight /= layer.weight[0].sum()


def known_maps(name, alignment):
    for stride in STRIDES:
        for active in (s for s in STRIDES if s >= stride):
            yield averaging(FCN(name, stride, 2, alignment=alignment, width=WIDTH), active)


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", NETS)
def test_a_pixels_score_is_read_at_that_pixel(name, alignment):
    """An image of coordinates is mapped to coordinates, to a fraction of a pixel, by every path.

    Away from the border, where an average of coordinates is another one's.
    """
    size = (310, 330)
    rows, columns = torch.meshgrid(*(torch.arange(n).float() for n in size), indexing="ij")
    inside = (slice(140, -140), slice(140, -140))
    images = torch.stack([rows, columns])[:, None].expand(-1, 3, -1, -1) / 255
    for net in known_maps(name, alignment):
        scores = net(images)[:, 0]
        assert (scores[0] - rows)[inside].abs().max() < 0.05
        assert (scores[1] - columns)[inside].abs().max() < 0.05


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("place", [(131, 166), (150, 140)])
def test_a_blob_stays_where_it_is(name, alignment, place):
    rows, columns = torch.meshgrid(torch.arange(300.0), torch.arange(320.0), indexing="ij")
    blob = torch.exp(-((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / (2 * 25**2))
    for net in known_maps(name, alignment):
        scores = net((blob / 255).expand(1, 3, -1, -1))[0, 0]
        mass = scores.sum()
        centre = (scores * rows).sum() / mass, (scores * columns).sum() / mass
        assert centre[0].item() == pytest.approx(place[0], abs=0.6)
        assert centre[1].item() == pytest.approx(place[1], abs=0.6)


@torch.no_grad()
@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", NETS)
def test_an_impulse_comes_out_around_its_place(name, alignment, axis):
    """The mean response to a line, over eight phases on the grid of FCN-8s, is centred on it."""
    net = averaging(FCN(name, 8, 2, alignment=alignment, width=WIDTH), 8)
    images = torch.zeros(8, 3, 40, 207)
    for shift in range(8):
        images[shift, ..., 100 + shift] = 1
    scores = (net(images.mT).mT if axis == "rows" else net(images))[:, 0]
    moved = sum(scores[shift, :, shift : 200 + shift] for shift in range(8))  # the line back at 100
    profile = moved.sum(0) / moved.sum()
    assert (profile * torch.arange(200)).sum().item() == pytest.approx(100, abs=0.01)
    torch.testing.assert_close(profile[60:141], profile[60:141].flip(0), atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_an_image_moved_by_32_pixels_moves_its_scores_by_32(name, alignment):
    """With max pools, normalisation and random weights, out of reach of the border."""
    field = fcn.receptive_field(FCN(name, 32, 2, width=WIDTH)).size
    reach = field // 2 + 32
    whole = smooth(2 * reach + 96, 2 * reach + 96, cells=20)
    net = scored(FCN(name, 8, 3, alignment=alignment, width=WIDTH))
    a, b = net(whole[..., :-32, :-32]), net(whole[..., 32:, 32:])
    inside = slice(reach, reach + 32)
    there, here = a[..., 32:, 32:][..., inside, inside], b[..., :-32, :-32][..., inside, inside]
    assert there.std() > 100 * (there - here).abs().max()


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_googlenets_scores_move_by_32_too(alignment):
    """Only the skips: the field of the coarsest scores, 715 pixels, needs too large an image."""
    net = scored(FCN("googlenet", 8, 3, alignment=alignment, width=WIDTH))
    nn.init.zeros_(net.heads["scores"].score32.weight)
    nn.init.zeros_(net.heads["scores"].score16.weight)
    whole = smooth(320, 320, cells=20)
    a, b = net(whole[..., :-32, :-32]), net(whole[..., 32:, 32:])
    there, here = a[..., 32:, 32:], b[..., :-32, :-32]
    inside = slice(96, 160)
    there, here = there[..., inside, inside], here[..., inside, inside]
    assert there.std() > 100 * (there - here).abs().max()


@torch.no_grad()
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", NETS)
def test_three_ways_of_upsampling_start_equal(name, stride):
    fixed = scored(FCN(name, stride, 3, width=WIDTH))
    image = smooth(101, 134, cells=9)
    expected = fixed(image)
    for upsampling in ("interpolate", "learned"):
        net = FCN(name, stride, 3, upsampling=upsampling, width=WIDTH).eval()
        net.load_state_dict(fixed.state_dict(), strict=False)
        assert (net(image) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_only_intermediate_upsampling_is_learned():
    net = FCN("googlenet", 8, 3, upsampling="learned", width=WIDTH)
    learned = [name for name, _ in net.named_parameters() if "upscore" in name]
    assert learned == ["heads.scores.upscore32.weight", "heads.scores.upscore16.weight"]
    assert not [
        n
        for n, _ in FCN("googlenet", 32, 3, upsampling="learned").named_parameters()
        if "upscore" in n
    ]


# Heads


@torch.no_grad()
def test_heads_share_a_trunk_and_score_on_their_own():
    net = scored(FCN("googlenet", 8, heads={"semantic": 33, "geometric": 3}, width=WIDTH))
    scores = net(smooth(40, 50))
    assert {head: s.shape for head, s in scores.items()} == {
        "semantic": (1, 33, 40, 50),
        "geometric": (1, 3, 40, 50),
    }
    alone = FCN("googlenet", 8, 3, width=WIDTH).eval()
    alone.trunk.load_state_dict(net.trunk.state_dict())
    alone.heads["scores"].load_state_dict(net.heads["geometric"].state_dict())
    torch.testing.assert_close(alone(smooth(40, 50)), scores["geometric"])


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_scores_start_at_zero(name):
    for stride in STRIDES:
        assert not FCN(name, stride, 4, width=WIDTH).eval()(torch.rand(1, 3, 40, 40)).any()


def test_a_loss_reaches_every_parameter():
    for name in NETS:
        net = scored(FCN(name, 8, heads={"a": 2, "b": 3}, upsampling="learned", width=WIDTH))
        scores = net(smooth(64, 64))
        sum(s.square().mean() for s in scores.values()).backward()
        assert not [n for n, p in net.named_parameters() if p.grad is None]


@torch.no_grad()
def test_bgr_minus_the_mean():
    """The mean colour is all zeros to the first layer; red is the last of its channels."""
    net = FCN("vgg16", 32, 2, width=WIDTH).eval()
    fed = []
    net.trunk.conv1_1.register_forward_pre_hook(lambda _, inputs: fed.append(inputs[0]))
    mean = torch.tensor([122.67892, 116.66877, 104.00699]) / 255  # RGB
    net(mean.view(1, 3, 1, 1).expand(1, 3, 40, 40))
    assert fed[0].abs().max() < 1e-4
    red = torch.tensor([1.0, 0, 0])
    net(red.view(1, 3, 1, 1).expand(1, 3, 40, 40))
    torch.testing.assert_close(fed[1][0, :, 0, 0] + net.mean, torch.tensor([0.0, 0, 255]))


# From coarse to fine


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
def test_an_upgrade_keeps_every_prediction(name, alignment):
    nets = [scored(FCN(name, 32, 5, alignment=alignment, width=WIDTH))]
    for stride in (16, 8):
        nets.append(FCN(name, stride, 5, alignment=alignment, width=WIDTH).eval())
        nets[-1].upgrade_from(nets[-2])
    nets.append(FCN(name, 8, 5, alignment=alignment, width=WIDTH).eval())
    nets[-1].upgrade_from(nets[0])
    image = smooth(150, 203, cells=12)
    expected = nets[0](image)
    assert expected.std() > 0
    for net in nets[1:]:
        assert (net(image) - expected).abs().max() < 1e-5 * expected.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_an_upgrade_of_vgg16_rounds_the_corners_only(alignment):
    """Cells fall between pixels, and two interpolations in a row round the corner at a centre.

    The coarse scores are the same; what an upgrade changes is at most an eighth of how much the
    scores bend from cell to cell (their second difference), for each axis and each step, and
    nothing where they do not bend.
    """
    nets = [scored(FCN("vgg16", 32, 5, alignment=alignment, width=WIDTH))]
    for stride in (16, 8):
        nets.append(FCN("vgg16", stride, 5, alignment=alignment, width=WIDTH).eval())
        nets[-1].upgrade_from(nets[-2])
    cells = []
    for net in nets:
        net.heads["scores"].score32.register_forward_hook(lambda *call: cells.append(call[2]))
    image = smooth(300, 340, cells=6)
    scores = [net(image) for net in nets]
    assert torch.equal(cells[0], cells[1])
    assert torch.equal(cells[0], cells[2])
    # The authors' nets fade to zero past the last cell.
    beyond = "replicate" if alignment == "tight" else "constant"
    bent = sum(
        nn.functional.pad(cells[0], (2,) * 4, mode=beyond).diff(2, axis).abs().max()
        for axis in (2, 3)
    )
    for finer in scores[1:]:
        change = (finer - scores[0]).abs().max()
        assert 0 < change <= bent / 8 * 1.25  # the second step bends a quarter as much
        assert (finer.argmax(1) == scores[0].argmax(1)).float().mean() > 0.9
    assert len(scores[0].argmax(1).unique()) > 1  # not a single class everywhere


@torch.no_grad()
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_an_upgrade_of_vgg16_keeps_the_borders_of_smooth_scores(alignment):
    """If scores change slowly from cell to cell, almost no pixel changes its class."""
    predictions = []
    for stride in STRIDES:
        net = FCN("vgg16", stride, 5, alignment=alignment, width=WIDTH).eval()
        net.heads["scores"].score32.register_forward_hook(
            lambda _, inputs, x: smooth(*x.shape[2:], cells=3, channels=5)
        )
        predictions.append(net(smooth(400, 420)).argmax(1))
    assert len(predictions[0].unique()) > 2
    for finer in predictions[1:]:
        assert (finer == predictions[0]).float().mean() > 0.99


def test_an_upgrade_takes_the_learned_filters_along():
    coarser = FCN("googlenet", 16, 3, upsampling="learned", width=WIDTH)
    nn.init.normal_(coarser.heads["scores"].upscore32.weight)
    finer = FCN("googlenet", 8, 3, upsampling="learned", width=WIDTH)
    finer.upgrade_from(coarser)
    assert torch.equal(
        finer.heads["scores"].upscore32.weight, coarser.heads["scores"].upscore32.weight
    )


def test_an_upgrade_leaves_the_coarser_net_its_own_weights():
    coarser, finer = FCN("alexnet", 32, 3, width=WIDTH), FCN("alexnet", 16, 3, width=WIDTH)
    finer.upgrade_from(coarser)
    kept = copy.deepcopy(coarser.state_dict())
    for parameter in finer.parameters():
        parameter.data.zero_()
    assert all(torch.equal(value, kept[name]) for name, value in coarser.state_dict().items())


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (
            {},
            {"net": "vgg16"},
            "cannot upgrade: net is googlenet here and vgg16 in the coarser net",
        ),
        ({}, {"num_classes": 4}, "num_classes is 3 here and 4"),
        ({}, {"num_classes": None, "heads": {"a": 3}}, "num_classes is 3 here and None"),
        ({}, {"alignment": "reference"}, "alignment is tight here and reference"),
        ({}, {"width": WIDTH / 2}, f"width is {WIDTH} here and {WIDTH / 2}"),
        ({"stride": 32}, {"stride": 8}, "cannot upgrade: stride 8 is finer than 32"),
        (
            {"stride": 8, "upsampling": "learned"},
            {"stride": 16},
            "only one of the nets learns its upsampling",
        ),
        (
            {"stride": 8},
            {"stride": 16, "upsampling": "learned"},
            "only one of the nets learns its upsampling",
        ),
    ],
)
def test_upgrades_between_other_nets_are_refused(ours, theirs, message):
    settings = {"net": "googlenet", "stride": 16, "num_classes": 3, "width": WIDTH}
    net = build(settings | ours)
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=message):
        net.upgrade_from(build(settings | {"stride": 32} | theirs))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# Settings


def test_settings_build_the_net_again():
    net = FCN(
        "alexnet", 16, heads={"a": 2}, alignment="reference", upsampling="learned", width=WIDTH
    )
    again = build(net.settings)
    assert again.settings == net.settings
    again.load_state_dict(net.state_dict())


def test_settings_are_no_mans_but_the_nets():
    heads = {"a": 2}
    net = FCN("alexnet", 16, heads=heads, width=WIDTH)
    heads["b"] = 3
    assert net.settings["heads"] == {"a": 2}


def test_numbers_may_be_those_of_numpy(tmp_path):
    width, skips = np.float32(WIDTH), np.bool_(True)
    for classes in ({"num_classes": np.int64(3)}, {"heads": {"a": np.uint8(2), "b": 3}}):
        net = FCN("alexnet", np.int32(16), **classes, width=width, scaled_skips=skips)
        save(net, tmp_path / "net.safetensors", {})
        assert load(tmp_path / "net.safetensors").settings == net.settings
    for wrong in ({"stride": np.float64(8)}, {"stride": "8"}):
        with pytest.raises(ValueError, match="unknown stride"):
            FCN("alexnet", **wrong, num_classes=2, width=WIDTH)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"net": "resnet"},
            'unknown net "resnet": choose one of alexnet, bvlc_alexnet, vgg16, googlenet',
        ),
        ({"stride": 4}, "unknown stride 4: choose 32, 16 or 8"),
        ({"num_classes": None}, "give either num_classes, for one task, or heads, for several"),
        ({"heads": {"a": 2}}, "give either num_classes, for one task, or heads, for several"),
        ({"num_classes": 0}, "at least one class"),
        ({"num_classes": None, "heads": {}}, "at least one head"),
        ({"num_classes": None, "heads": {"a": 2, "b": 0}}, "at least one class"),
        ({"alignment": "loose"}, 'unknown alignment "loose": choose "tight" or "reference"'),
        ({"upsampling": "cubic"}, 'unknown upsampling "cubic": choose'),
        ({"upsampling": "cubic", "stride": 32}, 'unknown upsampling "cubic": choose'),
        ({"alignment": "reference", "upsampling": "interpolate"}, 'needs alignment="tight"'),
        ({"width": 0}, "width scales the channels: it must be above 0, not 0"),
        ({"width": -1.0}, "width scales the channels: it must be above 0"),
    ],
)
def test_settings_that_make_no_net_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as error:
        FCN(**({"net": "googlenet", "num_classes": 2, "width": WIDTH} | settings))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(3, 40, 40), (1, 1, 40, 40), (1, 4, 40, 40), (40, 40)])
def test_images_of_another_shape_are_refused(shape):
    net = FCN("googlenet", 32, 2, width=WIDTH)
    with pytest.raises(
        ValueError, match=rf"images must be N x 3 x H x W.*not \[{', '.join(map(str, shape))}\]"
    ):
        net(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3, 0, 40), (1, 3, 40, 0)])
def test_images_without_pixels_are_refused(shape):
    net = FCN("googlenet", 32, 2, width=WIDTH)
    with pytest.raises(ValueError, match="images must be N x 3 x H x W"):
        net(torch.zeros(shape))


def test_images_in_bytes_are_refused():
    """Multiplied by 255, they would wrap around."""
    with pytest.raises(
        ValueError, match=r"images must be in \[0, 1\], not torch.uint8: divide bytes by 255"
    ):
        FCN("googlenet", 32, 2, width=WIDTH)(torch.zeros(1, 3, 40, 40, dtype=torch.uint8))


def test_width_scales_the_trunk():
    half, whole = (FCN("vgg16", 8, 2, width=w).trunk.channels for w in (1 / 16, 1 / 8))
    assert all(2 * half[s] == whole[s] for s in STRIDES)


@pytest.mark.parametrize(
    "heads", [{"a.b": 3}, {"": 3}, {"items": 3}, {"training": 3}, {1: 3}, {"a": 2.5}, {"a": "3"}]
)
def test_heads_that_cannot_be_are_refused(heads: dict) -> None:
    with pytest.raises(ValueError, match="head"):
        fcn.FCN("googlenet", 32, heads=heads, width=0.05)


@pytest.mark.parametrize("width", [float("nan"), float("inf")])
def test_a_width_that_is_no_number_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        fcn.FCN("googlenet", 32, 3, width=width)


def test_images_of_another_precision_are_brought_to_the_nets() -> None:
    net = fcn.FCN("googlenet", 32, 3, width=0.05).eval()
    image = torch.rand(1, 3, 40, 40)
    assert torch.equal(net(image.double()), net(image))
    assert net.double()(image).dtype == torch.float64
