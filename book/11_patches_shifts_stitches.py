# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Patches, shifts and stitches
#
# Before it settles on upsampling and on training with whole images, the paper looks at two older tools and puts both
# aside. To get scores at every pixel one can run a coarse net on many shifted copies of the image and stitch the
# answers together; to train, one can draw patches at random. Each turns out to be something else in disguise, and the
# disguise is what this chapter takes off.
#
# ## What you will learn
#
# - that *shift-and-stitch* and a net with *dilated* filters are one and the same function, and under which conditions
#   "the same" means "to the last digits";
# - what either costs, counted and timed, beside the upsampling that the paper prefers;
# - how taking away only the last strides leads to the nets that came after the paper;
# - that training on patches is training on whole images with part of the loss left out, and how much noise that adds;
# - Figure 5: what sampling does to training, against iterations and against images.

# %% tags=["parameters"]
preset = "read"  # "read", "smoke", "small" or "paper"
experiments = ""  # with "paper": only these, such as "sift-flow-googlenet-32s-keep50"
data_root = ""  # folder of the data sets; empty: FCN_DATA
weights_root = ""  # folder of the ImageNet weights; empty: FCN_WEIGHTS
device = "auto"
seed = 0
results_dir = "../results"
runs_dir = "../runs"

# %%
import presets

here = presets.check(
    preset=preset,
    experiments=experiments,
    offered=r"sift-flow-.*-keep.*",
    data_root=data_root,
    weights_root=weights_root,
    device=device,
    seed=seed,
    results_dir=results_dir,
    runs_dir=runs_dir,
)

# %%
import timeit
from pathlib import Path
from time import perf_counter, process_time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import fcn
import figure_5
import photos
from fcn.classifiers import alexnet, googlenet, vgg16
from fcn.convolutionalize import backbone
from fcn.data.synthetic.outdoor import Scenes
from fcn.data.synthetic.palette import CLASSES
from fcn.dilation import dilated, shift_and_stitch, unpadded
from fcn.losses import pixel_softmax_loss
from fcn.pretrained import load_into, read_weights
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.snapshots import provenance
from fcn.training.record import find
from figures import dilation as figures
from figures import sampling, shared, style

torch.manual_seed(here.seed)
style.use()

# %% [markdown]
# ## Shift and stitch
#
# A net of stride $f$ gives one score for every $f \times f$ pixels. The input can be moved, though. Shift the image by
# one pixel, and the cells fall on other pixels; shift it by every combination of 0 to $f - 1$ pixels down and across,
# and each pixel gets its cell in one of the $f^2$ maps. Interlacing them, the *stitch*, gives scores at every pixel,
# each computed by the net as it is, with nothing interpolated. ({cite:t}`long2015`, section 3.2; OverFeat
# {cite:p}`sermanet2014` had done so.)
#
# Here it is for a net of two layers: a pooling of 2×2 with stride 2, and a filter of 3×3.

# %%
net = nn.Sequential(nn.MaxPool2d(2, stride=2), nn.Conv2d(1, 1, 3, bias=False))
net[1].weight.data = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None]

image = torch.randint(0, 10, (1, 1, 9, 11)).float()
with torch.no_grad():
    coarse, stitched = net(image)[0, 0], shift_and_stitch(net, image, stride=2)[0, 0]
print("the net's own scores:", coarse.tolist())
pd.DataFrame(stitched.int().numpy())

# %% [markdown]
# Every second row and column of the table, from the first on, are the net's own scores; the others belong to the three
# shifted copies. The function that did it is short:
#
# ```python
# maps = [[net(images[..., dy:, dx:]) for dx in range(stride)] for dy in range(stride)]
# for dy, row in enumerate(maps):
#     for dx, one in enumerate(row):
#         scores[..., dy::stride, dx::stride] = one
# ```
#
# It shifts by leaving out the first rows and columns. The paper shifts the other way, by adding some; with as much
# padding added beforehand the two make the same set of images.
#
# ## Filter rarefaction
#
# The paper offers a second way to the same map. Let the pooling move by one pixel in place of two. Its map is now twice
# as fine, so what used to be neighbours lie two cells apart, and the filter behind it has to reach for them: put zeros
# between its weights. If a layer of stride $s$ is followed by a filter $f$, then
#
# $$
# f'_{ij} = \begin{cases} f_{i/s,\,j/s} & \text{if } s \text{ divides both } i \text{ and } j, \\ 0 & \text{otherwise,}
# \end{cases}
# $$
#
# takes the filter's place. The paper calls it *filter rarefaction*; it goes back to the *algorithme à trous* of
# wavelets, and is known today as *dilated* convolution {cite:p}`yu2016`.

# %%
figures.dilated_filter(net[1].weight.detach()[0, 0], stride=2)
plt.show()

# %% [markdown]
# *The filter, and the filter rarefied for a stride of 2. No new weights: the zeros are never multiplied.*
#
# `dilated` does this to a net, layer by layer, and carries the product of the strides it has taken away along.

# %%
fine = dilated(net)
print(fine)
with torch.no_grad():
    print("the same as stitched:", torch.equal(fine(image)[0, 0], stitched))

# %% [markdown]
# Why the same? Draw who reads whom, along one dimension. A cell of the shifted net reads pooled cells that are two
# pixels apart, and so does a cell of the dilated net. The cells of the dilated map fall into classes, as many as there
# are shifts, that have nothing to do with one another. Each class *is* the net on one of the shifted images.

# %%
figures.connections([(2, 2), (3, 1)], ["image", "pooled", "scores"], pixels=12)
plt.show()

# %% [markdown]
# *Left and middle: the net on the image and on the image shifted by one pixel. Right: the dilated net. It draws the
# lines of both, and no others.*
#
# The difference is one of economy. Where two shifted images need the same number, as in the first layers of a deep net,
# shift-and-stitch computes it again and the dilated net does not. The same can be done without zeros, by splitting the
# maps into such classes after every pooling {cite:p}`giusti2013`.
#
# ## On the paper's nets
#
# The paper's backbones have more than pools and filters: strides of 4, groups, response normalisation, inceptions with
# four branches, pools that round up. And padding, which is where the equality has a border. A layer that pads puts
# zeros around *its map*. Shifting the image moves the map's edge, and with it the zeros. So there are two statements,
# and we test each.
#
# **First: without padding the two are equal, everywhere.** `unpadded` takes the padding out of a net; the branches of
# an inception, which then differ in size, are cut to what all of them have. What remains are the cells whose whole
# receptive field lies in the image, so the images have to be large. Narrow nets with random weights will do, since the
# statement is about any weights, and double precision, so that rounding does not hide anything. AlexNet runs on all
# 1024 shifts; of the others, which take longer, we look at twelve.


# %%
def random_backbone(build, width):
    """A narrow backbone in double precision, with biases, which tell zeros from activations."""
    torch.manual_seed(here.seed + 3)
    classifier = build(num_classes=10, width=width)
    for layer in classifier.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=0.1)
    return backbone(classifier).double().eval()


def smooth_noise(height, width):
    coarse = torch.rand(1, 3, height // 24, width // 24, dtype=torch.float64) + 0.5
    return nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


TWELVE = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 3), (3, 5), (4, 8), (5, 13), (6, 21), (7, 31), (8, 30), (8, 16)]
rows = {}
with torch.no_grad():
    for build, width in ((alexnet, 1 / 48), (vgg16, 1 / 24), (googlenet, 1 / 64)):
        net = unpadded(random_backbone(build, width)).eval()
        field = fcn.receptive_field(net)
        every_shift = build is alexnet
        x = smooth_noise(field.size + (31 if every_shift else 8), field.size + 31)
        dense = dilated(net)(x)
        if every_shift:
            pairs = [(shift_and_stitch(net, x, 32), dense)]
        else:
            pairs = [(net(x[..., dy:, dx:]), dense[..., dy::32, dx::32]) for dy, dx in TWELVE]
        worst = max(float((one - other).abs().max()) for one, other in pairs) / float(dense.std((-2, -1)).max())
        shifts = 1024 if every_shift else len(TWELVE)
        rows[build.__name__] = [field.size, " x ".join(map(str, x.shape[-2:])), shifts, worst < 1e-10]
pd.DataFrame(rows, index=["receptive field", "image", "shifts", "equal to 1e-10"]).T

# %% [markdown]
# (Differences are measured against how much a channel varies from cell to cell, so that maps without any variation
# would not pass.) Pools that round up do no harm: the part of a window that they add lies at the bottom and at the
# right of the map, where all shifted images end alike.
#
# **Second: with the padding that the nets are published with, every 32nd cell of the dilated net is the net's own.** No
# cell is excepted, at the border or anywhere: `dilated` pads by as many cells as a filter's reach has grown by, so
# that each class of cells finds its zeros where it had them. For stride 16, 8, and so on likewise.

# %%
rows = {}
x = smooth_noise(150, 181)
with torch.no_grad():
    for build in (alexnet, vgg16, googlenet):
        net = random_backbone(build, 1 / 32)
        own = net(x)[32]
        rows[build.__name__] = []
        for stride in (16, 8, 4, 2, 1):
            every = 32 // stride
            cells = dilated(net, stride)(x)[..., ::every, ::every]
            rows[build.__name__].append(cells.shape == own.shape and bool((cells - own).abs().max() < 1e-10))
pd.DataFrame(rows, index=[f"stride {s}" for s in (16, 8, 4, 2, 1)]).T

# %% [markdown]
# What fails with padding is only shift-and-stitch itself, and only where a receptive field reaches over the edge of
# the image. Here is GoogLeNet as far as its map of stride 8, whose cells see 91 pixels, with all 64 shifts:

# %%
names = [name for name, _ in backbone(googlenet(width=1 / 16)).named_children()]
padded = nn.Sequential(*list(random_backbone(googlenet, 1 / 16).children())[: names.index("inception_3b") + 1]).eval()
x = photos.filled(photos.photo("coffee"), (256, 256)).double()


def relative_difference(one: Tensor, other: Tensor) -> np.ndarray:
    """At each cell the root mean square over the channels of the difference, over that of the scores everywhere."""
    height, width = (min(a, b) for a, b in zip(one.shape[-2:], other.shape[-2:], strict=True))
    one, other = one[..., :height, :width], other[..., :height, :width]
    return ((one - other).square().mean(1)[0].sqrt() / other.square().mean().sqrt()).numpy()


with torch.no_grad():
    differences = {
        "with padding": relative_difference(shift_and_stitch(padded, x, 8), dilated(padded)(x)),
        "without": relative_difference(shift_and_stitch(unpadded(padded), x, 8), dilated(unpadded(padded))(x)),
    }
field = fcn.receptive_field(padded)
inside = int((field.size - 1) / 2 - field.offset) + 7  # inside all shifted images
agree = bool(differences["with padding"][inside:, inside:].max() < 1e-10)
print(f"a cell sees {field.size} pixels; largest difference from row and column {inside} on below 1e-10:", agree)
print("above and left of them it reaches a tenth of the scores' size:", bool(differences["with padding"].max() > 0.1))

# %%
figures.borders(x[0].movedim(0, -1).numpy(), differences)
plt.show()

# %% [markdown]
# *Coffee (photo: Rachel Michetti, CC0), and the difference between shift-and-stitch and the dilated net. Only the upper
# and the left edge move with a shift. Black is zero, to rounding: with a published net the two agree inside the image
# and not along these edges, except at every eighth row and column: there lie the cells of the image that was not
# shifted, as the second statement has it. Random weights.*
#
# Neither answer near the edge is the wrong one. They differ in what they take to lie beyond the image.
#
# ## What it costs
#
# Multiply-adds can be counted without computing anything, on tensors that have a shape and no content. For an image of
# 256×256 pixels, SIFT Flow's size, at full width: the backbone as it is (stride 32), the backbone dilated to finer and
# finer strides, and shift-and-stitch, which needs $(32/s)^2$ passes to reach stride $s$. The paper's own way is there too:
# the FCNs, whose skips have strides of 16 and 8 and which interpolate the rest.


# %%
def multiply_adds(net: nn.Module, size: int) -> float:
    """10^9 multiply-adds for one image of ``size`` x ``size``; the net must be on the "meta" device."""
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 2e9  # two operations, as it counts, to a multiply-add


STRIDES = (32, 16, 8, 4, 2, 1)
counts: dict[str, dict[str, dict[int, float]]] = {}
for build in (alexnet, vgg16, googlenet):
    name = build.__name__
    with torch.device("meta"):
        net = backbone(build())
        nets = {s: fcn.FCN(name, s, num_classes=21, upsampling="interpolate") for s in (32, 16, 8)}
    by_stride = {s: multiply_adds(dilated(net, s), 256) for s in STRIDES}
    counts[name] = {
        "dilated": by_stride,
        "shift-and-stitch": {s: (32 // s) ** 2 * by_stride[32] for s in STRIDES},
        "FCN": {s: multiply_adds(one, 256) for s, one in nets.items()},
    }
table = {
    (way, f"stride {s}"): [counts[net][way][s] for net in counts]
    for way, strides in (("FCN", (32, 8)), ("dilated", STRIDES[1:]), ("shift-and-stitch", (1,)))
    for s in strides
}
pd.DataFrame(table, index=list(counts)).T.round(1)

# %%
figures.costs(counts, "multiply-adds (10$^9$)")
plt.show()

# %% [markdown]
# *Multiply-adds for 256×256 pixels, on a logarithmic scale.*

# %%
ratio = {net: ways["shift-and-stitch"][1] / ways["dilated"][1] for net, ways in counts.items()}
more = {net: ways["dilated"][1] / ways["FCN"][8] for net, ways in counts.items()}
shared.glue_values(**{f"fewer_{net}": times for net, times in ratio.items()})
shared.glue_values(**{f"more_{net}": times for net, times in more.items()})

# %% [markdown]
# For scores at every pixel, the dilated net needs {glue:text}`fewer_alexnet:.1f` (AlexNet), {glue:text}`fewer_vgg16:.1f`
# (VGG16) and {glue:text}`fewer_googlenet:.1f` times (GoogLeNet) fewer multiply-adds than shift-and-stitch, and
# **{glue:text}`more_alexnet:.0f`** (AlexNet), **{glue:text}`more_vgg16:.0f`** (VGG16) and
# **{glue:text}`more_googlenet:.0f` times** (GoogLeNet) as many as FCN-8s, whose skips and interpolation are all but free.
#
# Sharing saves little on AlexNet, whose work lies late, in the layers that were fully connected and that no shift
# shares with another; and more where the early layers, which a dilated net computes once, are the expensive ones.
#
# Counting is not timing. A dilated filter gathers its cells from far apart, and the maps of stride 1 no longer fit
# the processor's caches. So here are times, of GoogLeNet with its ImageNet weights on Chelsea the cat, all 1024 shifts
# run one after the other. They take minutes, so `preset="read"` shows recorded ones; `preset="small"` and
# `preset="paper"` measure them again if the folder of the ImageNet weights has `bvlc_googlenet.caffemodel`.
# On a CPU we count processor time, summed over threads, so other work on the machine does not distort it.

# %%
weights = (here.weights or Path()) / "bvlc_googlenet.caffemodel"
SIDE = 256


def seconds(work, repeat: int) -> float:
    """The fastest of some tries; on a CPU, this process's time over all threads."""
    on_cpu = here.device == "cpu"

    def finished():
        work()
        if not on_cpu:
            torch.accelerator.synchronize()

    timer = process_time if on_cpu else perf_counter
    return min(timeit.repeat(finished, number=1, repeat=repeat, timer=timer))


@torch.no_grad()
def shift_and_stitch_times():
    """Seconds for dense scores of GoogLeNet by each way, one image, 256 x 256, and how far the ways agree."""
    classifier = googlenet().eval()
    load_into(classifier, read_weights(weights, "googlenet"))
    net = backbone(classifier).eval().to(here.device)
    options = {"num_classes": 21, "upsampling": "interpolate"}
    nets = {s: fcn.FCN("googlenet", s, **options) for s in (32, 16, 8)}
    for one in nets.values():
        one.trunk.load_state_dict(net.state_dict())
        one.eval().to(here.device)
    photo = photos.filled(photos.photo("chelsea"), (SIDE, SIDE)).to(here.device)
    mean = torch.tensor([104.0, 117.0, 123.0], device=here.device).view(1, 3, 1, 1)
    x = photo.flip(1) * 255 - mean
    shifted = nn.functional.pad(x, (31, 0, 31, 0))  # the paper's shifts: to the right and down

    def crop(image):
        return net(image[..., :SIDE, :SIDE])[32]

    taken = {}
    for s in STRIDES:
        fine = dilated(net, s)
        taken["dilated", s] = seconds(lambda fine=fine: fine(x), repeat=5 if s > 2 else 1)
    for s, one in nets.items():
        taken["FCN", s] = seconds(lambda one=one: one(photo), repeat=5)
    kept = []
    taken["shift-and-stitch", 1] = seconds(lambda: kept.append(shift_and_stitch(crop, shifted, 32)), repeat=1)
    difference = relative_difference(kept[0].cpu(), fine(shifted).cpu())

    # Without padding, on a photo that is large enough for a receptive field and a few cells more.
    bare = unpadded(net).eval()
    size = fcn.receptive_field(bare).size
    large = photos.filled(photos.photo("chelsea"), (size + 8, size + 31)).to(here.device)
    large = large.flip(1) * 255 - mean
    dense = dilated(bare)(large)
    pairs = [(bare(large[..., a:, b:]), dense[..., a::32, b::32]) for a, b in TWELVE]
    ways, strides = zip(*taken, strict=True)
    return {
        "ways": ways,
        "strides": strides,
        "seconds": list(taken.values()),
        "median_difference": np.median(difference),
        "unpadded": max(float((one - other).abs().max() / dense.abs().max()) for one, other in pairs),
    }


# %% tags=["nbval-ignore-output"]
again = here.preset in ("small", "paper") and weights.is_file()
name = "shift-and-stitch"
timed, live = here.snapshot(name, shift_and_stitch_times, again, [weights])
taken = {(way, int(s)): t for way, s, t in zip(timed["ways"], timed["strides"], timed["seconds"], strict=True)}
about = provenance(name, here.folder_of(name))
print("measured just now" if live else f"measured on: {about['hardware']}")
rows = [
    (way, s, taken[way, s], taken[way, s] / taken["FCN", 8], counts["googlenet"][way][s])
    for way, s in (("FCN", 32), ("FCN", 16), ("FCN", 8), ("dilated", 8), ("dilated", 1), ("shift-and-stitch", 1))
]
columns = ["way", "stride", "seconds", "times FCN-8s", "multiply-adds (10^9)"]
pd.DataFrame(rows, columns=columns).set_index(["way", "stride"]).round(2)

# %%
by_way = {way: {s: t for (w, s), t in taken.items() if w == way} for way in counts["googlenet"]}
figures.costs({"googlenet": by_way}, "seconds")
plt.show()

# %% [markdown]
# *Seconds for one image of 256×256 pixels, GoogLeNet.*

# %% tags=["nbval-ignore-output"]
stitch, dense, skip = taken["shift-and-stitch", 1], taken["dilated", 1], taken["FCN", 8]
shared.glue_values(
    stitch_over_dense=stitch / dense,
    dense_over_skip=dense / skip,
    shifts=len(TWELVE),
    exact=timed["unpadded"],
    median_difference=100 * timed["median_difference"],
    pixels_seen=fcn.receptive_field(backbone(googlenet(width=1 / 16))).size,
)

# %% [markdown]
# Here the dilated net is **{glue:text}`stitch_over_dense:.1f` times** as fast as shift-and-stitch, where the count
# promises {glue:text}`fewer_googlenet:.1f`; FCN-8s is **{glue:text}`dense_over_skip:.0f` times** as fast as the dilated
# net, where the count promises {glue:text}`more_googlenet:.0f`.
#
# With these weights, in single precision and without padding, the {glue:text}`shifts:.0f` shifts above agree with the
# dilated net to {glue:text}`exact:.0e` of the largest score. With padding, on the small image, no cell is so far inside
# that its {glue:text}`pixels_seen:.0f` pixels of receptive field do not reach an edge: the typical difference (median
# over the cells) is **{glue:text}`median_difference:.0f` %** of the scores' size.

# %% [markdown]
# That last number is worth a thought. On images smaller than the receptive field, which is most of the images that
# these nets are used on, zeros beyond the edge are part of every answer.
#
# ## Taking away only the last strides
#
# The strides need not all go. `dilated(net, 8)` keeps the first ones, down to stride 8, and dilates only what lies
# behind the pools that lost theirs. On VGG16 these are `pool4` and `pool5`:

# %%
with torch.device("meta"):
    net = dilated(backbone(vgg16()), stride=8)
changed = {
    name: [" x ".join(map(str, layer.dilation)), fcn.receptive_field(layer).size]
    for name, layer in net.named_modules()
    if isinstance(layer, nn.Conv2d) and max(layer.dilation) > 1
}
pd.DataFrame(changed, index=["dilation", "cells from end to end"]).T

# %% [markdown]
# (`fc7` is 1×1, and has nothing to spread.) This is the net that DeepLab {cite:p}`chen2015` began from: the last two
# pools without their stride, the filters behind them à trous, fine-tuned at stride 8, and interpolated from there. Dilation
# became the common way to dense features {cite:p}`yu2016,chen2018`. Compared with the paper's FCN-8s, in pixels that a
# cell sees and in 10⁹ multiply-adds:

# %%
rows = {}
for build in (alexnet, vgg16, googlenet):
    name = build.__name__
    with torch.device("meta"):
        net, skips = backbone(build()), fcn.FCN(name, 8, num_classes=21)
    taps = skips.trunk.fields
    rows[name] = [
        fcn.receptive_field(dilated(net, 8)).size,
        round(counts[name]["dilated"][8], 1),
        f"{taps[8].size}, {taps[16].size}, {taps[32].size}",
        round(counts[name]["FCN"][8], 1),
    ]
index = ["dilated: sees", "work", "FCN-8s: maps see", "work"]
pd.DataFrame(rows, index=index).T

# %% [markdown]
# Two answers to one question. FCN-8s asks shallow layers, which see little, for the *where*. The dilated net asks the
# deepest layer for both, at sixteen times as many places, and pays for it.
#
# Does it buy finer information? Shift-and-stitch tells: its cells are the coarse net's own answers, from filters that
# still read cells 32 pixels apart, as they did in training. There are more answers, and none of them looks closer.
# Taking strides away *without* dilating would make filters look closer, at the price of a smaller receptive field and
# of weights that were trained for something else. The paper weighs these trades, leaves
# shift-and-stitch out of its final model, and upsamples instead, with skips ([chapter 4](04_upsampling.ipynb),
# [chapter 5](05_skips.ipynb)). A dilated net becomes more than a stitched one only when it is *trained* at its fine
# stride, as its successors were: then the loss reaches every cell.
#
# ## Patches
#
# Now to training. Before fully convolutional nets, dense prediction was learned patch by patch: draw a pixel, cut out
# its surroundings, classify, repeat. [Chapter 3](03_convolutionalization.ipynb) showed two things that we build on. A
# loss summed over cells has as its gradient the sum over the cells' receptive fields, so one image is one batch of
# patches; and one pass over it is several times cheaper than its patches one by one (for AlexNet's 100 cells of a
# 500×500 image, the paper measures 22 ms against 100 × 1.2 ms). Here are the patches of a real net: GoogLeNet as far as
# stride 8, without padding, a score layer on top, on a scene with labels and void.

# %%
torch.manual_seed(here.seed)
stage = unpadded(padded)
net = nn.Sequential(stage, nn.Conv2d(padded[-1].channels, len(CLASSES), 1).double())
field = fcn.receptive_field(net)
window, step = field.size, int(field.stride)
side = window + 7 * step
scene = Scenes(1, (side, side), seed=here.seed)[0]
image = scene.image[None].double() / 255
with torch.no_grad():
    rows, columns = net(image).shape[-2:]
centres = (torch.arange(rows) * step + int(field.offset)).clamp(max=side - 1)
labels = scene.labels["semantic"][None][:, centres][:, :, centres]
patches = image.unfold(2, window, step).unfold(3, window, step).movedim(1, 3).reshape(-1, 3, window, window)


def gradient(net, images, labels, **sampled):
    loss = pixel_softmax_loss(net(images), labels, reduction="sum", **sampled)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])


whole = gradient(net, image, labels)
one_by_one = sum(
    gradient(net, patch[None], label.view(1, 1, 1)) for patch, label in zip(patches, labels.flatten(), strict=True)
)
void = int((labels == 255).sum())
print(
    f"{rows} x {columns} cells, {len(patches)} patches of {window} x {window} pixels, {void} of them void at the centre"
)
print("the same gradient:", bool((whole - one_by_one).norm() < 1e-10 * whole.norm()))

# %%
net = net.float().to("meta")
saved = len(patches) * multiply_adds(net, window) / multiply_adds(net, side)
sampling.windows(scene.image.movedim(0, -1).numpy(), window, step, (rows, columns))
plt.show()

# %% [markdown]
# *The windows of all cells; two are marked. Right: in how many windows a pixel lies.*

# %%
shared.glue_values(saved=saved, patches=len(patches))

# %% [markdown]
# Patch by patch the same gradient takes **{glue:text}`saved:.0f` times** the multiply-adds: a pixel in the middle lies
# in all {glue:text}`patches:.0f` windows, and its features are computed as often.
#
# One freedom was lost on the way. Patches can be drawn at random: not all of an image's, and not all from one image.
# The paper gives it back (section 3.4): leave cells out of the loss at random. With $z_{ij} = 1$ with probability $p$
# and otherwise 0,
#
# $$
# \ell_p(x) = \sum_{ij} z_{ij}\, \ell'(x_{ij}), \qquad
# \mathbb{E}\,\ell_p = p\,\ell, \qquad
# \mathbb{E}\,\nabla \ell_p = p\,\nabla \ell .
# $$
#
# Training on patches *is* loss sampling. A cell that is left out is a patch that was not drawn, though it was computed.
# To have as many patches in a batch as before, the batch takes $1/p$ times as many images. In `fcn` it is one argument,
# `pixel_softmax_loss(..., keep=0.25)`.
#
# ## How much noise is that?
#
# Sampling is unbiased; the price is noise. For the loss, divided by $p$ so that it stays on one scale, the variance is
# that of independent coin tosses:
#
# $$
# \operatorname{Var}\left[\frac{1}{p} \sum z_{ij}\,\ell'_{ij}\right] = \frac{1 - p}{p} \sum \ell'^{\,2}_{ij} .
# $$
#
# A net that has learned a little serves to measure it: FCN-32s on AlexNet's backbone, an eighth of the channels, trained on
# procedural scenes for some seconds.

# %%
scenes = [Scenes(64, (64, 64), seed=here.seed)[i] for i in range(64)]
images = torch.stack([s.image for s in scenes]) / 255
labels = torch.stack([s.labels["semantic"] for s in scenes])

torch.manual_seed(here.seed)
small = fcn.FCN("alexnet", 32, num_classes=len(CLASSES), upsampling="interpolate", width=1 / 8)
next(small.trunk.parameters()).data /= 64  # random filters expect inputs of about 1, not of 128
optimizer = torch.optim.Adam(small.parameters(), lr=2e-3)
for _ in range(60):
    batch = torch.randint(0, 64, (8,))
    optimizer.zero_grad()
    pixel_softmax_loss(small(images[batch]), labels[batch]).backward()
    optimizer.step()
small.eval()
with torch.no_grad():
    print("loss below that of guessing, ln 10:", bool(pixel_softmax_loss(small(images), labels) < np.log(len(CLASSES))))

# %% tags=["nbval-ignore-output"]
KEEP = (0.5, 0.25, 0.1, 0.01)
batch = slice(0, 8)
generator = torch.Generator().manual_seed(here.seed)
with torch.no_grad():
    scores = small(images[batch])
    cells = nn.functional.cross_entropy(scores, labels[batch], ignore_index=255, reduction="none").flatten().double()
total = cells.sum()
spread, formula, unbiased = {}, {}, {}
for keep in KEEP:
    kept = torch.rand(500, len(cells), generator=generator) < keep
    sampled_losses = kept.double() @ cells / keep
    spread[keep] = float(100 * sampled_losses.std() / total)
    formula[keep] = float(100 * ((1 - keep) / keep * cells.square().sum()).sqrt() / total)
    error = sampled_losses.std() / len(sampled_losses) ** 0.5
    unbiased[keep] = bool((sampled_losses.mean() - total).abs() < 4 * error)
print("mean of the draws within four standard errors of the whole loss:", all(unbiased.values()))
table = pd.DataFrame({"measured": spread, "by the formula": formula})
table.index = pd.Index([f"{100 * keep:g} %" for keep in KEEP], name="standard deviation, %")
table.round(1)

# %% [markdown]
# For the step that is taken, the gradient counts. A batch's gradient is noisy even with every cell, since it is made
# from a few images out of many. With $V$ the variance among the images' gradients and $C_p$ what sampling adds to one
# image's, a batch of $n$ images has the variance
#
# $$
# \frac{V + C_p}{n}, \qquad\text{and with } n/p \text{ images in the batch} \qquad \frac{p\,(V + C_p)}{n} .
# $$
#
# Both parts are measured here on all parameters of the net: $V$ from the 64 images' gradients, $C_p$ from draws of
# `keep` on fixed images.


# %%
def sampled_gradient(which, keep=1.0):
    return gradient(small, images[which], labels[which], keep=keep, generator=generator).double() / keep


each = torch.stack([sampled_gradient([i]) for i in range(64)])
among_images = float((each - each.mean(0)).square().sum(1).sum() / 63)
full = each[batch].sum(0)
added, centred = {1.0: 0.0}, {}
for keep in KEEP:
    off = torch.stack([sampled_gradient(batch, keep) - full for _ in range(20)])
    added[keep] = float(off.square().sum(1).mean() / 8)
    centred[keep] = bool(off.mean(0).square().sum() < 2 * off.square().sum(1).mean() / 20)
by_batch = {
    "as many images": {p: (among_images + c) / among_images for p, c in added.items()},
    "1/p times as many": {p: p * (among_images + c) / among_images for p, c in added.items()},
}
print("the mean of the draws is the full gradient, within its noise:", all(centred.values()))
print("sampling a quarter of the cells adds less than a tenth to the variance:", added[0.25] < 0.1 * among_images)

# %%
sampling.noise(spread, formula, by_batch)
plt.show()

# %% [markdown]
# *Left: the loss of one batch of eight images, under sampling. Right: the variance of a batch's gradient, whole images
# being 1, where the batch stays as it is and where it grows by 1/p.*
#
# Leaving out three cells of four hardly changes the gradient. Cells of one image are much alike, and at stride 32 the
# scores of neighbouring pixels are interpolated from the same few cells, so most of them say again what the others
# said. What makes a batch's gradient noisy is *which images* are in it. More images help, in proportion; sampled
# cells neither hurt nor save, since they are computed all the same. So a sampled batch with $1/p$ times as many images
# has a steadier gradient, for $1/p$ times the work. Whether that is a good bargain depends on whether noise is what
# holds training back.
#
# (The training loop divides by the number of cells that were kept, a random number itself; with thousands of cells its
# own scatter is a matter of a per cent or so.)
#
# ## Figure 5
#
# The paper's Figure 5 makes the experiment: training loss with all cells, with 50 % and with 25 % of them, the batch
# grown accordingly, against iterations and against images. Ours is FCN-32s on GoogLeNet and SIFT Flow, by the recipe
# settings below; each run takes the same number of iterations. A fourth run, the control, comes further down.
#
# ### What this run computed
#
# With `preset="paper"`, the next cell trains the four nets, unless they are recorded, and lists the runs made now;
# `preset="read"` makes none.

# %%
computed = here.run([*figure_5.EXPERIMENTS.values(), figure_5.CONTROL])
computed if len(computed) else None

# %%
records = here.records()
runs = figure_5.find(records, here.seed)
print(figure_5.not_run(runs) or "all three runs are recorded")

# %%
if runs:
    settings = ("keep", "batch_size", "epochs", "learning_rate", "momentum", "weight_decay", "optimizer", "schedule")
    table = pd.DataFrame({f"{100 * keep:g} %": run.recipe for keep, run in runs.items()}).reindex(settings)
table if runs else None

# %%
if runs:
    sampling.curves(runs)
    plt.show()

# %% [markdown]
# *Training loss, the sum of both heads; thin as recorded, bold a running mean of nine points. With sampling it is the
# loss of the cells that were kept.*

# %% tags=["full-width"]
figure_5.compared(runs) if runs else None

# %%
shared.glue_values(**figure_5.values(runs))

# %% [markdown]
# - **After {glue:text}`common_steps:.0f` iterations**, the loss with 50 % of the cells is
#   **{glue:text}`keep50_step:.1f` %** lower than with whole images, with 25 % **{glue:text}`keep25_step:.1f` %** lower.
# - **After {glue:text}`common_images:.0f` images**, it is **{glue:text}`keep50_images:.1f` %** lower with 50 % of the
#   cells, and **{glue:text}`keep25_images:.1f` %** lower with 25 %.
#
# In the paper, sampling makes no notable difference per iteration and costs time, since more images have to be
# processed; it trains on whole images from there on. These runs come out otherwise, and not only for equal iterations:
# after as many images, in fewer steps, the sampled runs stand lower too.

# %%
if len(runs) == 3:
    at_end = [figure_5.level(run, "step", run.curve[-1]["step"])[0] for run in runs.values()]
    scatter = [float(np.std([p["loss"] for p in run.curve[-31:]])) for run in runs.values()]
    paper_rate, our_rate = (
        EXPERIMENTS["sift-flow-googlenet-32s"].recipe.learning_rate,
        runs[1.0].recipe["learning_rate"],
    )
    print("the more images in a batch, the lower the loss at equal iterations:", at_end == sorted(at_end, reverse=True))
    print("and the less it scatters from one iteration to the next:", scatter == sorted(scatter, reverse=True))
    print(f"our learning rate over the paper's for this backbone: {our_rate / paper_rate:.0f}")

# %% [markdown]
# Does it follow that leaving out cells helps? It does not. Two things differ between the runs, the share of the cells
# and the number of images in a batch, and the measurement above, on a smaller net and painted scenes, says which of them
# a gradient feels: the images. Noise seems to hold these runs back: their rate is far above the paper's, for want of
# time, and with batches of eight the loss climbs again on the way where with batches of 32 it falls. With a small rate a
# training run averages over many batches by itself, a steadier gradient is worth less, and the curves against iterations
# should come closer to one another, as they do in the paper.
#
# Half of that explanation can be tested by one more run: batches of 32 photos, as for the quarter, and *all* their cells.

# %%
controls = (run for run in find(records, figure_5.CONTROL) if run.seed == here.seed)
control = next(controls, None)
if control and 0.25 in runs:
    steps, _ = figure_5.common({1.0: control, 0.25: runs[0.25]})
    for name, run in (("control", control), ("quarter", runs[0.25])):
        loss, error = figure_5.level(run, "step", steps)
        shared.glue_values(**{f"{name}_loss": loss, f"{name}_error": error})
    percent, _ = figure_5.difference(runs[0.25], control, "step", steps)
    shared.glue_values(control_steps=steps, quarter_less_control=abs(percent))

# %% [markdown]
# After {glue:text}`control_steps:.0f` iterations with batches of 32, the loss is {glue:text}`control_loss:.3f` ±
# {glue:text}`control_error:.3f` with all cells and {glue:text}`quarter_loss:.3f` ± {glue:text}`quarter_error:.3f` with a
# quarter of them: the same within the scatter of the curves (a difference of {glue:text}`quarter_less_control:.1f` %).
#
# If leaving out cells were what helped, the run with all of them would have the higher loss. Where the two agree, the
# images did it, and the cells that were left out were not missed: at equal batches that is what the paper says of
# sampling. The other half, that a
# small rate brings the curves together, is not tested here (exercise 5). Mind the other limits too. Each run is one seed
# and two epochs at the most, the ± is the scatter of one curve, whose points hang together, and a training loss does not
# tell how a net would do on other images.
#
# ## Summary
#
# - Shift-and-stitch and a dilated net compute the same scores: cells of the dilated map fall into classes that are the
#   net on the shifted images. To the last digits without padding; inside the image with it.
# - The dilated net shares the work that shifted images have in common. For scores at every pixel both cost more than a
#   hundred times what an FCN costs that upsamples.
# - Taking away the last strides alone is affordable, and is where later nets went.
# - Patches are cells of a loss. Sampling them adds little noise to the gradient, since an image's cells are alike, and
#   saves nothing, since they are computed anyway.
# - What goes with sampling, more images in a batch, makes the gradient steadier. In our short runs at a high rate the
#   sampled ones reach a lower loss, in the paper's Figure 5 they do not; a control tells batch and sampling apart.
#
# ## Exercises
#
# 1. **Fragments.** Write a third way: after each strided layer, keep all $s^2$ classes of its cells as separate maps
#    (along the batch), go on with the plain net on each, and interlace at the end {cite:p}`giusti2013`. With padding as
#    published, which of the other two does it agree with, and why everywhere?
# 2. **Dilate and train.** Build an FCN from `dilated(backbone(alexnet(width=1/8)), 8)` and a score layer, train it on the
#    scenes of [chapter 5](05_skips.ipynb) for as many multiply-adds as FCN-8s there. Which one is better near borders?
# 3. **Another sampler.** The paper notes that patches can be drawn to balance classes. Keep cells of a class with
#    a probability inversely proportional to its frequency, and weight each by the inverse of its probability. Is the
#    gradient still unbiased? Measure its variance as above; does it grow or shrink?
# 4. **Whole cells.** Sample at stride 32 instead of at the pixels: keep or drop blocks of 32×32 pixels together.
#    Predict $C_p$ from the formula for the loss, then measure it.
# 5. **Cells or images?** With `dataclasses.replace`, make one more experiment of `sift-flow-googlenet-32s-keep25`: a
#    quarter of the cells with batches of 8. Put its curve, and the control's, into Figure 5. Then
#    divide the rate of all runs by ten, and multiply the steps. What is left of the differences?
