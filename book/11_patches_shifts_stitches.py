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
# The paper weighs two older tools and drops both. *Shift-and-stitch* runs a coarse net
# on shifted copies of the image to get scores at every pixel. *Patch sampling* trains
# on random patches instead of whole images. Each turns out to be something else in
# disguise: the first is a net with dilated filters, the second is a loss with some of
# its terms left out.

# %% tags=["parameters", "hide-input"]
preset = "read"  # "read", "smoke", "small" or "paper"
experiments = ""  # with "paper": only these, such as "sift-flow-googlenet-32s-keep50"
data_root = ""  # folder of the data sets; empty: FCN_DATA
weights_root = ""  # folder of the ImageNet weights; empty: FCN_WEIGHTS
device = "auto"
seed = 0
results_dir = "../results"
runs_dir = "../runs"

# %% tags=["remove-input"]
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

# %% tags=["hide-input"]
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
from figures import dilation as figures
from figures import sampling, shared, style

torch.manual_seed(here.seed)
style.use()

# %% tags=["remove-input"]
figures.connections([(2, 2), (3, 1)], ["image", "pooled", "scores"], pixels=12)
plt.show()

# %% [markdown]
# :::{caption} fig-stitch-connections
# :alt: Three drawings of a two-layer net on twelve pixels, with a line from each cell
# :  to its inputs. The net on the image is teal, the net on the shifted image is brown.
# :  The third drawing, the dilated net, is the first two laid over each other.
# Left and middle: a net with a stride of 2, on an image and on the same image shifted
# by one pixel. Right: the dilated net. It has the connections of both and no others.
# :::
#
# ## What you will learn
#
# - that shift-and-stitch and a net with *dilated* filters compute the same function,
#   and when "the same" holds to the last digits;
# - what each of them costs, counted and timed, compared with the paper's upsampling;
# - how removing only the last strides leads to the nets that came after the paper;
# - that training on patches is training on whole images with part of the loss left out,
#   and how much noise this adds;
# - Figure 5 of the paper: how sampling changes training, per iteration and per image.
#
# :::{note}
# The equality of the two methods is tested with random weights, most of them in narrow
# nets. The times come from one machine. In our version of Figure 5, each curve is one
# run of at most two epochs, at a learning rate far above the paper's. The ± in its
# table comes from the scatter of one curve, whose neighbouring points are not
# independent. And a training loss says nothing about other images.
# :::
#
# ## Part 1: Shift-and-stitch is dilation
#
# This part is about prediction: how to get scores at every pixel from a net that scores
# one cell per 32×32 pixels, without upsampling.
#
# ### Shift and stitch
#
# A net of stride $f$ outputs one score per $f \times f$ pixels. But we can move the
# input. Shift the image by one pixel, and the cells fall on other pixels. Shift it by
# every combination of 0 to $f - 1$ pixels down and across, and each pixel gets a cell
# in one of the $f^2$ maps. Interlacing the maps is the *stitch*. It yields scores at
# every pixel, all computed by the unchanged net, none interpolated ({cite:t}`long2015`,
# section 3.2, after OverFeat {cite:p}`sermanet2014`).
#
# Here it is for a net of two layers: 2×2 pooling with stride 2, then a 3×3 filter.

# %%
net = nn.Sequential(nn.MaxPool2d(2, stride=2), nn.Conv2d(1, 1, 3, bias=False))
net[1].weight.data = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None]

image = torch.randint(0, 10, (1, 1, 9, 11)).float()
with torch.no_grad():
    coarse, stitched = net(image)[0, 0], shift_and_stitch(net, image, stride=2)[0, 0]
print("the net's own scores:", coarse.tolist())
pd.DataFrame(stitched.int().numpy())

# %% [markdown]
# :::{caption} tab-stitch-scores
# The stitched scores. Every second row and column, from the first on, holds the net's
# own scores; the others come from the three shifted copies.
# :::
#
# The function is short:
#
# ```python
# maps = [
#     [net(images[..., dy:, dx:]) for dx in range(stride)] for dy in range(stride)
# ]
# for dy, row in enumerate(maps):
#     for dx, one in enumerate(row):
#         scores[..., dy::stride, dx::stride] = one
# ```
#
# It shifts by dropping the first rows and columns. The paper shifts the other way, by
# adding some. If we pad the image by the same amount first, both produce the same set
# of images.
#
# ### Dilated filters
#
# The paper has a second way to the same map. Let the pooling move by one pixel instead
# of two. Its map becomes twice as fine, so cells that were neighbours are now two
# apart. The filter of the next layer has to reach for them: put zeros between its
# weights. If a layer of stride $s$ is followed by a filter $f$, replace the filter by
#
# $$
# f'_{ij} = \begin{cases} f_{i/s,\,j/s} & s \text{ divides } i \text{ and } j, \\
# 0 & \text{otherwise.} \end{cases}
# $$
#
# The paper calls this *filter rarefaction*. It goes back to the *algorithme à trous* of
# wavelets, and today's name is *dilated* convolution {cite:p}`yu2016`.

# %% tags=["remove-input"]
figures.dilated_filter(net[1].weight.detach()[0, 0], stride=2)
plt.show()

# %% [markdown]
# :::{caption} fig-dilation-filter
# :alt: A 3×3 filter with the numbers 1, 2, 1, then 2, 4, 2, then 1, 2, 1. An arrow
# :  leads to a 5×5 filter with the same numbers in every second row and column and
# :  zeros elsewhere.
# A filter, and the same filter dilated because a stride of 2 was removed. It has no new
# weights, and nothing is multiplied by the zeros.
# :::
#
# `dilated` does this to a whole net, layer by layer, and keeps track of the product of
# the strides that it has removed.

# %%
fine = dilated(net)
print(fine)
with torch.no_grad():
    print("the same as stitched:", torch.equal(fine(image)[0, 0], stitched))

# %% [markdown]
# Why are they the same? {numref}`fig-stitch-connections` shows which cell reads which,
# along one dimension. A cell of the shifted net reads pooled cells that are two pixels
# apart, and so does a cell of the dilated net. The cells of the dilated map form
# groups, one per shift, that share no connection between pooling and scores. Each group
# *is* the net on one of the shifted images.
#
# The two methods differ in cost. If two shifted images need the same number, as in the
# early layers of a deep net, shift-and-stitch computes it again and the dilated net
# does not. {cite:t}`giusti2013` get the same saving without zeros: they split the maps
# into these groups after every pooling.
#
# ### On the paper's nets
#
# The paper's backbones have more than pools and filters: strides of 4, groups, response
# normalisation, inceptions with four branches, and pools that round up. They also have
# padding, which limits the equality. A padded layer puts zeros around *its map*.
# Shifting the image moves the edge of the map, and the zeros with it. So we make two
# statements and test each.
#
# **First: without padding, the two are equal everywhere.** `unpadded` removes the
# padding from a net and crops the branches of an inception, whose sizes then differ, to
# the cells they share. Only cells whose whole {term}`receptive field` is inside the
# image remain, so the images have to be large. The statement holds for any weights, so
# narrow nets with random weights will do. Double precision keeps rounding from hiding a
# difference.


# %%
def random_backbone(build, width):
    """A narrow backbone in double precision; biases tell padding from activations."""
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


# %% [markdown]
# Of the 1024 shifts we test twelve. We divide the largest difference by the standard
# deviation, from cell to cell, of the channel that varies most, so maps without any
# variation would not pass.

# %%
TWELVE = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 3), (3, 5)]
TWELVE += [(4, 8), (5, 13), (6, 21), (7, 31), (8, 30), (8, 16)]


def shifted_and_dense(net, x):
    """Pairs of maps that should be equal, and the dilated net's whole map."""
    dense = dilated(net)(x)
    return [(net(x[..., a:, b:]), dense[..., a::32, b::32]) for a, b in TWELVE], dense


rows = {}
with torch.no_grad():
    for build, width in ((alexnet, 1 / 48), (vgg16, 1 / 24), (googlenet, 1 / 64)):
        net = unpadded(random_backbone(build, width)).eval()
        field = fcn.receptive_field(net)
        x = smooth_noise(field.size + 8, field.size + 31)
        pairs, dense = shifted_and_dense(net, x)
        worst = max(float((one - other).abs().max()) for one, other in pairs)
        equal = worst / float(dense.std((-2, -1)).max()) < 1e-10
        size = " x ".join(map(str, x.shape[-2:]))
        rows[build.__name__] = [field.size, size, equal]
pd.DataFrame(rows, index=["receptive field", "image", "equal to 1e-10"]).T

# %% [markdown]
# :::{caption} tab-stitch-unpadded
# Twelve shifts and the dilated net without padding. The sizes are in pixels.
# :::
#
# Pools that round up do no harm. The part of a window that they add is at the bottom
# and right of the map, where all shifted images end at the same place.
#
# **Second: with the padding of the published nets, every 32nd cell of the dilated net
# is the net's own.** This includes the cells at the border: `dilated` pads by as many
# cells as the reach of a filter has grown, so each group of cells finds its zeros where
# they were. The same holds for every 16th cell at stride 2, every 8th at stride 4, and
# so on.

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
            equal = cells.shape == own.shape and bool((cells - own).abs().max() < 1e-10)
            rows[build.__name__].append(equal)
pd.DataFrame(rows, index=[f"stride {s}" for s in (16, 8, 4, 2, 1)]).T

# %% [markdown]
# :::{caption} tab-dilation-own-cells
# With padding: True where the cells of the dilated net that coincide with the net's own
# cells equal them to 1e-10.
# :::
#
# With padding, only shift-and-stitch itself fails, and only where a receptive field
# reaches over the edge of the image. {numref}`fig-stitch-borders` shows it for
# GoogLeNet up to its map of stride 8, with all 64 shifts.


# %%
def relative_difference(one: Tensor, other: Tensor) -> np.ndarray:
    """Root mean square difference of each cell, over that of all of ``other``."""
    height, width = (
        min(a, b) for a, b in zip(one.shape[-2:], other.shape[-2:], strict=True)
    )
    one, other = one[..., :height, :width], other[..., :height, :width]
    rms = (one - other).square().mean(1)[0].sqrt()
    return (rms / other.square().mean().sqrt()).numpy()


names = [name for name, _ in backbone(googlenet(width=1 / 16)).named_children()]
stages = list(random_backbone(googlenet, 1 / 16).children())
padded = nn.Sequential(*stages[: names.index("inception_3b") + 1]).eval()
x = photos.filled(photos.photo("coffee"), (256, 256)).double()
with torch.no_grad():
    differences = {
        label: relative_difference(shift_and_stitch(one, x, 8), dilated(one)(x))
        for label, one in (("with padding", padded), ("without", unpadded(padded)))
    }
field = fcn.receptive_field(padded)
inside = int((field.size - 1) / 2 - field.offset) + 7  # inside all shifted images
with_padding = differences["with padding"]
agree = bool(with_padding[inside:, inside:].max() < 1e-10)
print(f"a cell sees {field.size} pixels")
print(f"largest difference from row and column {inside} on below 1e-10:", agree)
reaches = bool(with_padding.max() > 0.1)
print("it reaches a tenth of the scores' size elsewhere:", reaches)

# %% tags=["remove-input"]
figures.borders(x[0].movedim(0, -1).numpy(), differences)
plt.show()

# %% [markdown]
# :::{caption} fig-stitch-borders
# :alt: A photo of a cup of coffee and two maps. With padding, a band along the top and
# :  left edges is bright, crossed by thin black lines, and everything else is black.
# :  Without padding, the whole map is black.
# Coffee (photo: Rachel Michetti, CC0), and the difference between shift-and-stitch and
# the dilated net, with random weights. Black is zero, up to rounding. Only the upper
# and left edges move with a shift. The black lines are every eighth row and column, the
# cells of the unshifted image, where the second statement holds.
# :::
#
# Near the edge, neither answer is wrong. They differ in what they assume outside the
# image.
#
# ### What it costs
#
# We can count multiply-adds without computing anything, on tensors that have a shape
# and no content. We count for an image of 256×256 pixels, the size of SIFT Flow's, at
# full width. There are three ways: the paper's FCNs, whose skips have strides of 16 and
# 8 and which interpolate the rest; the backbone dilated to finer and finer strides; and
# shift-and-stitch, which needs $(32/s)^2$ passes to reach stride $s$.


# %%
def multiply_adds(net: nn.Module, size: int) -> float:
    """10^9 multiply-adds for one image of ``size`` x ``size``; ``net`` is on "meta"."""
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 2e9  # it counts two operations per multiply-add


STRIDES = (32, 16, 8, 4, 2, 1)
INTERPOLATED = {"num_classes": 21, "upsampling": "interpolate"}
counts: dict[str, dict[str, dict[int, float]]] = {}
for build in (alexnet, vgg16, googlenet):
    name = build.__name__
    with torch.device("meta"):
        net = backbone(build())
        nets = {s: fcn.FCN(name, s, **INTERPOLATED) for s in (32, 16, 8)}
    by_stride = {s: multiply_adds(dilated(net, s), 256) for s in STRIDES}
    counts[name] = {
        "dilated": by_stride,
        "shift-and-stitch": {s: (32 // s) ** 2 * by_stride[32] for s in STRIDES},
        "FCN": {s: multiply_adds(one, 256) for s, one in nets.items()},
    }

# %% tags=["remove-input"]
shown = (("FCN", (32, 8)), ("dilated", STRIDES[1:]), ("shift-and-stitch", (1,)))
table = {
    (way, f"stride {s}"): [counts[net][way][s] for net in counts]
    for way, strides in shown
    for s in strides
}
pd.DataFrame(table, index=list(counts)).T.round(1)

# %% [markdown]
# :::{caption} tab-dilation-costs
# 10⁹ multiply-adds for 256×256 pixels.
# :::

# %% tags=["remove-input"]
figures.costs(counts, "multiply-adds (10$^9$)")
plt.show()

# %% [markdown]
# :::{caption} fig-dilation-costs
# :alt: Three panels, one per backbone, with multiply-adds against the stride of the
# :  scores on a logarithmic scale. The lines of shift-and-stitch and of the dilated net
# :  rise steeply as the stride falls to 1, shift-and-stitch above. The points of the
# :  FCNs stay level.
# Multiply-adds for 256×256 pixels, on a logarithmic scale.
# :::

# %% tags=["remove-input"]
ratio = {
    net: ways["shift-and-stitch"][1] / ways["dilated"][1]
    for net, ways in counts.items()
}
more = {net: ways["dilated"][1] / ways["FCN"][8] for net, ways in counts.items()}
shared.glue_values(**{f"fewer_{net}": times for net, times in ratio.items()})
shared.glue_values(**{f"more_{net}": times for net, times in more.items()})

# %% [markdown]
# For scores at every pixel, shift-and-stitch needs {glue:text}`fewer_alexnet:.1f`
# (AlexNet), {glue:text}`fewer_vgg16:.1f` (VGG16) and {glue:text}`fewer_googlenet:.1f`
# times (GoogLeNet) the multiply-adds of the dilated net. The dilated net in turn needs
# **{glue:text}`more_alexnet:.0f`**, **{glue:text}`more_vgg16:.0f`** and
# **{glue:text}`more_googlenet:.0f` times** those of FCN-8s, whose skips and
# interpolation are almost free.
#
# Sharing saves little on AlexNet. Most of its work is in the layers that were fully
# connected, and those share nothing between shifts. It saves more where the early
# layers, which a dilated net computes once, are the expensive ones.
#
# Counts are not times. A dilated filter gathers cells that are far apart, and the maps
# of stride 1 no longer fit the caches of the processor. So we time GoogLeNet with its
# ImageNet weights on a photo of Chelsea the cat, with all 1024 shifts one after the
# other. This takes minutes: `preset="read"` shows saved times, and `"small"` and
# `"paper"` measure again if the folder of the ImageNet weights has
# `bvlc_googlenet.caffemodel`. On a CPU we count processor time, summed over threads, so
# that other work on the machine does not distort it.

# %% tags=["hide-input"]
weights = (here.weights or Path()) / "bvlc_googlenet.caffemodel"
SIDE = 256


def seconds(work, repeat: int) -> float:
    """The fastest of several tries; on a CPU, this process's time over all threads."""
    on_cpu = here.device == "cpu"

    def finished():
        work()
        if not on_cpu:
            torch.accelerator.synchronize()

    timer = process_time if on_cpu else perf_counter
    return min(timeit.repeat(finished, number=1, repeat=repeat, timer=timer))


def chelsea(height: int, width: int) -> Tensor:
    """The photo as an FCN takes it: RGB from 0 to 1."""
    return photos.filled(photos.photo("chelsea"), (height, width)).to(here.device)


def preprocessed(photo: Tensor) -> Tensor:
    """The photo as the backbone takes it: BGR from 0 to 255, less the mean."""
    mean = torch.tensor([104.0, 117.0, 123.0], device=here.device).view(1, 3, 1, 1)
    return photo.flip(1) * 255 - mean


# %% tags=["hide-input"]
@torch.no_grad()
def dense_times(net):
    """Seconds for dense scores of one image by each way, and how they differ."""
    nets = {s: fcn.FCN("googlenet", s, **INTERPOLATED) for s in (32, 16, 8)}
    for one in nets.values():
        one.trunk.load_state_dict(net.state_dict())
        one.eval().to(here.device)
    photo = chelsea(SIDE, SIDE)
    x = preprocessed(photo)
    shifted = nn.functional.pad(x, (31, 0, 31, 0))  # the paper's shifts: right and down

    taken, kept = {}, []
    for s in STRIDES:
        fine = dilated(net, s)
        taken["dilated", s] = seconds(lambda f=fine: f(x), repeat=5 if s > 2 else 1)
    for s, one in nets.items():
        taken["FCN", s] = seconds(lambda one=one: one(photo), repeat=5)

    def crop(image):
        return net(image[..., :SIDE, :SIDE])[32]

    def stitch():
        kept.append(shift_and_stitch(crop, shifted, 32))

    taken["shift-and-stitch", 1] = seconds(stitch, repeat=1)
    difference = relative_difference(kept[0].cpu(), fine(shifted).cpu())
    return taken, np.median(difference)


# %% tags=["hide-input"]
@torch.no_grad()
def unpadded_difference(net):
    """The largest difference without padding, over the largest score."""
    bare = unpadded(net).eval()
    size = fcn.receptive_field(bare).size
    x = preprocessed(chelsea(size + 8, size + 31))
    pairs, dense = shifted_and_dense(bare, x)
    return max(
        float((one - other).abs().max() / dense.abs().max()) for one, other in pairs
    )


def shift_and_stitch_times():
    """The contents of the snapshot."""
    classifier = googlenet().eval()
    load_into(classifier, read_weights(weights, "googlenet"))
    net = backbone(classifier).eval().to(here.device)
    taken, median = dense_times(net)
    ways, strides = zip(*taken, strict=True)
    return {
        "ways": ways,
        "strides": strides,
        "seconds": list(taken.values()),
        "median_difference": median,
        "unpadded": unpadded_difference(net),
    }


# %% tags=["nbval-ignore-output", "hide-input"]
again = here.preset in ("small", "paper") and weights.is_file()
name = "shift-and-stitch"
timed, live = here.snapshot(name, shift_and_stitch_times, again, [weights])
keys = zip(timed["ways"], map(int, timed["strides"]), strict=True)
taken = dict(zip(keys, timed["seconds"], strict=True))
about = provenance(name, here.folder_of(name))
print("measured just now" if live else f"measured on: {about['hardware']}")
shown = (("FCN", (32, 16, 8)), ("dilated", (8, 1)), ("shift-and-stitch", (1,)))
rows = [
    (
        way,
        s,
        taken[way, s],
        taken[way, s] / taken["FCN", 8],
        counts["googlenet"][way][s],
    )
    for way, strides in shown
    for s in strides
]
columns = ["way", "stride", "seconds", "times FCN-8s", "multiply-adds (10^9)"]
pd.DataFrame(rows, columns=columns).set_index(["way", "stride"]).round(2)

# %% [markdown]
# :::{caption} tab-dilation-times
# Measured times for one image of 256×256 pixels, GoogLeNet.
# :::

# %% tags=["remove-input"]
by_way = {
    way: {s: t for (w, s), t in taken.items() if w == way}
    for way in counts["googlenet"]
}
figures.costs({"googlenet": by_way}, "seconds")
plt.show()

# %% [markdown]
# :::{caption} fig-dilation-times
# :alt: Seconds against the stride of the scores on a logarithmic scale. The points of
# :  the FCNs stay level, the line of the dilated net rises steeply towards stride 1,
# :  and the one point of shift-and-stitch is above it.
# Seconds for one image of 256×256 pixels, GoogLeNet, on a logarithmic scale.
# :::

# %% tags=["nbval-ignore-output", "remove-input"]
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
# Here the dilated net is **{glue:text}`stitch_over_dense:.1f` times** as fast as
# shift-and-stitch, while the count promises {glue:text}`fewer_googlenet:.1f`. FCN-8s is
# **{glue:text}`dense_over_skip:.0f` times** as fast as the dilated net, while the count
# promises {glue:text}`more_googlenet:.0f`.
#
# With these weights, in single precision and without padding, the
# {glue:text}`shifts:.0f` shifts above agree with the dilated net to
# {glue:text}`exact:.0e` of the largest score. With padding, on the small image, the
# {glue:text}`pixels_seen:.0f` pixels of a receptive field reach over an edge from every
# cell. The typical difference (the median over the cells) is
# **{glue:text}`median_difference:.0f` %** of the scores' size. On images smaller than
# the receptive field, as SIFT Flow's are for all three nets and PASCAL VOC's (about
# 500×375 pixels) for GoogLeNet and, along the shorter side, for VGG16, the zeros
# outside the image are part of every answer.
#
# ### Removing only the last strides
#
# We need not remove all strides. `dilated(net, 8)` keeps the first ones, down to a
# stride of 8, and dilates only the layers after the pools that lost their stride, which
# on VGG16 are `pool4` and `pool5`:

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
# :::{caption} tab-dilation-vgg16
# The dilated layers of VGG16 at stride 8. `fc7` is 1×1 and has nothing to spread.
# :::
#
# DeepLab {cite:p}`chen2015` started from this net: the last two pools without their
# stride, the filters after them à trous, fine-tuned at stride 8 and interpolated from
# there. Dilation became the usual way to dense features {cite:p}`yu2016,chen2018`.

# %% tags=["hide-input"]
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
# :::{caption} tab-dilation-against-skips
# The dilated net of stride 8 compared with FCN-8s: the pixels that a cell sees, and 10⁹
# multiply-adds.
# :::
#
# These are two answers to one question: *what* is *where*? FCN-8s asks shallow layers,
# which see little, for the *where*. The dilated net asks the deepest layer for both, at
# sixteen times as many places, and pays for it.
#
# Does it buy finer information? Shift-and-stitch has the answer: its cells are the
# coarse net's own, computed by filters that still read cells 32 pixels apart, as they
# did in training. There are more cells, and none of them looks closer. Removing
# strides *without* dilating would make the filters look closer, but it shrinks the
# receptive field and uses weights that were trained for something else. The paper
# weighs these trade-offs, leaves shift-and-stitch out of its final model, and upsamples
# with skips instead ([chapter 4](04_upsampling.ipynb), [chapter 5](05_skips.ipynb)). A
# dilated net becomes more than a stitched one only when it is *trained* at its fine
# stride, as the nets after the paper were: then the loss reaches every cell.
#
# ## Part 2: Patches are cells of a loss
#
# This part is about training. Before fully convolutional nets, dense prediction was
# learned patch by patch: draw a pixel, cut out its surroundings, classify, repeat. What
# is lost when a net trains on whole images instead, and can sampling bring it back?
#
# ### One image is a batch of patches
#
# We build on two results of [chapter 3](03_convolutionalization.ipynb). The gradient of
# a loss summed over cells is the sum over the receptive fields of these cells, so one
# image is one batch of patches. And one pass over the image is several times cheaper
# than one pass per patch: for AlexNet's 100 cells of a 500×500 image, the paper
# measures 22 ms against 100 × 1.2 ms.
#
# Here are the patches of a real net: GoogLeNet up to stride 8, without padding, with a
# score layer on top, on a scene with labels and void.

# %%
torch.manual_seed(here.seed)
stage = unpadded(padded)
score = nn.Conv2d(padded[-1].channels, len(CLASSES), 1).double()
net = nn.Sequential(stage, score)
field = fcn.receptive_field(net)
window, step = field.size, int(field.stride)
side = window + 7 * step
scene = Scenes(1, (side, side), seed=here.seed)[0]
image = scene.image[None].double() / 255
with torch.no_grad():
    rows, columns = net(image).shape[-2:]
centres = (torch.arange(rows) * step + int(field.offset)).clamp(max=side - 1)
labels = scene.labels["semantic"][None][:, centres][:, :, centres]
windows = image.unfold(2, window, step).unfold(3, window, step)
patches = windows.movedim(1, 3).reshape(-1, 3, window, window)
void = int((labels == 255).sum())
print(f"{rows} x {columns} cells, {len(patches)} patches of {window} x {window} pixels")
print(f"{void} of them void at the centre")


# %%
def gradient(net, images, labels, **sampled):
    loss = pixel_softmax_loss(net(images), labels, reduction="sum", **sampled)
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    return torch.cat([one.flatten() for one in gradients])


whole = gradient(net, image, labels)
one_by_one = sum(
    gradient(net, patch[None], label.view(1, 1, 1))
    for patch, label in zip(patches, labels.flatten(), strict=True)
)
equal = bool((whole - one_by_one).norm() < 1e-10 * whole.norm())
print("the same gradient:", equal)

# %% tags=["remove-input"]
sampling.windows(scene.image.movedim(0, -1).numpy(), window, step, (rows, columns))
plt.show()

# %% [markdown]
# :::{caption} fig-patches-windows
# :alt: Left, a painted scene covered by a grid of overlapping square windows; the first
# :  and the last are outlined in red. Right, a map of the number of windows per pixel,
# :  dark at the edges and brightest in the middle.
# Left: the windows of all cells; two are marked. Right: the number of windows that
# contain each pixel.
# :::

# %% tags=["remove-input"]
net = net.float().to("meta")
saved = len(patches) * multiply_adds(net, window) / multiply_adds(net, side)
shared.glue_values(saved=saved, patches=len(patches))

# %% [markdown]
# Patch by patch, the same gradient takes **{glue:text}`saved:.0f` times** the
# multiply-adds. A pixel in the middle is part of all {glue:text}`patches:.0f` windows
# ({numref}`fig-patches-windows`), and patch by patch its features are computed once for
# each.
#
# But we lost one freedom. Patches can be drawn at random: not all patches of an image,
# and not all from one image. The paper gets it back by leaving cells out of the loss at
# random (section 3.4). Let $z_{ij} = 1$ with probability $p$, and 0 otherwise:
#
# $$
# \begin{gathered}
# \ell_p(x) = \sum_{ij} z_{ij}\, \ell'(x_{ij}), \\
# \mathbb{E}\,\ell_p = p\,\ell, \qquad
# \mathbb{E}\,\nabla \ell_p = p\,\nabla \ell .
# \end{gathered}
# $$
#
# So training on patches *is* loss sampling. A cell that is left out is a patch that was
# not drawn, although it was computed. To keep the number of patches per batch, use
# $1/p$ times as many images. In `fcn`, sampling is one argument,
# `pixel_softmax_loss(..., reduction="sum", keep=0.25)`. (The default, a mean, divides
# by the number of cells kept.)
#
# ### The noise of sampling
#
# Sampling is unbiased; its price is noise. Divide the loss by $p$, so that its scale
# stays the same. Its variance is that of independent coin tosses:
#
# $$
# \begin{aligned}
# & \operatorname{Var}\left[\frac{1}{p} \sum z_{ij}\,\ell'_{ij}\right] \\
# & \qquad = \frac{1 - p}{p} \sum \ell'^{\,2}_{ij} .
# \end{aligned}
# $$ (eq-sampling-variance)
#
# To measure it we need a net that has learned a little: FCN-32s on AlexNet's backbone
# with an eighth of the channels, trained for a few seconds on procedural scenes.

# %%
scenes = [Scenes(64, (64, 64), seed=here.seed)[i] for i in range(64)]
images = torch.stack([s.image for s in scenes]) / 255
labels = torch.stack([s.labels["semantic"] for s in scenes])

torch.manual_seed(here.seed)
small = fcn.FCN(
    "alexnet", 32, num_classes=len(CLASSES), upsampling="interpolate", width=1 / 8
)
# random filters expect inputs of about 1, not of 128
next(small.trunk.parameters()).data /= 64
optimizer = torch.optim.Adam(small.parameters(), lr=2e-3)
for _ in range(60):
    batch = torch.randint(0, 64, (8,))
    optimizer.zero_grad()
    pixel_softmax_loss(small(images[batch]), labels[batch]).backward()
    optimizer.step()
small.eval()
with torch.no_grad():
    learned = pixel_softmax_loss(small(images), labels) < np.log(len(CLASSES))
print("loss below that of guessing, ln 10:", bool(learned))

# %% tags=["nbval-ignore-output"]
KEEP = (0.5, 0.25, 0.1, 0.01)
batch = slice(0, 8)
generator = torch.Generator().manual_seed(here.seed)
with torch.no_grad():
    scores = small(images[batch])
    cells = nn.functional.cross_entropy(
        scores, labels[batch], ignore_index=255, reduction="none"
    )
cells = cells.flatten().double()
total = cells.sum()
spread, formula, unbiased = {}, {}, {}
for keep in KEEP:
    kept = torch.rand(500, len(cells), generator=generator) < keep
    draws = kept.double() @ cells / keep
    variance = (1 - keep) / keep * cells.square().sum()
    spread[keep] = float(100 * draws.std() / total)
    formula[keep] = float(100 * variance.sqrt() / total)
    error = draws.std() / len(draws) ** 0.5
    unbiased[keep] = bool((draws.mean() - total).abs() < 4 * error)
print("mean of the draws within four standard errors:", all(unbiased.values()))
table = pd.DataFrame({"measured": spread, "by the formula": formula})
index = [f"{100 * keep:g} %" for keep in KEEP]
table.index = pd.Index(index, name="standard deviation, %")
table.round(1)

# %% [markdown]
# :::{caption} tab-sampling-loss
# Standard deviation of the sampled loss of one batch, in percent of the whole loss, by
# the share of the cells that are kept. The formula is {eq}`eq-sampling-variance`.
# :::
#
# A training step follows the gradient, so its noise is what counts. A batch's gradient
# is noisy even with every cell, since it comes from a few images out of many. Let $V$
# be the variance among the gradients of the images, and $C_p$ the variance that
# sampling adds to the gradient of one image. The mean gradient of $n$ images has the
# first of the following variances, that of $n/p$ images the second:
#
# $$
# \frac{V + C_p}{n}, \qquad \frac{p\,(V + C_p)}{n} .
# $$
#
# We measure both on all parameters of the net: $V$ from the gradients of the 64 images,
# $C_p$ from draws of `keep` on fixed images.


# %%
def sampled_gradient(which, keep=1.0):
    sampled = {"keep": keep, "generator": generator}
    return gradient(small, images[which], labels[which], **sampled).double() / keep


each = torch.stack([sampled_gradient([i]) for i in range(64)])
among_images = float((each - each.mean(0)).square().sum(1).sum() / 63)
full = each[batch].sum(0)
added, centred = {1.0: 0.0}, {}
for keep in KEEP:
    off = torch.stack([sampled_gradient(batch, keep) - full for _ in range(20)])
    squares = off.square().sum(1).mean()
    added[keep] = float(squares / 8)
    centred[keep] = bool(off.mean(0).square().sum() < 2 * squares / 20)
relative = {p: (among_images + c) / among_images for p, c in added.items()}
by_batch = {
    "as many images": relative,
    "1/p times as many": {p: p * variance for p, variance in relative.items()},
}
print(
    "the mean of the draws is the full gradient within its noise:",
    all(centred.values()),
)
little = added[0.25] < 0.1 * among_images
print("sampling a quarter of the cells adds less than a tenth to the variance:", little)

# %% tags=["remove-input"]
sampling.noise(spread, formula, by_batch)
plt.show()

# %% [markdown]
# :::{caption} fig-sampling-noise
# :alt: Two panels against the share of cells kept, from 1 to 100 percent. Left,
# :  measured deviations of the loss lie on the line of the formula and grow as the
# :  share falls. Right, the variance of the gradient stays near 1 down to 10 percent
# :  for equal batches, and falls in proportion to the share for larger batches.
# Left: the loss of one batch of eight images under sampling. Right: the variance of a
# batch's gradient relative to whole images, if the batch stays the same and if it grows
# by $1/p$.
# :::
#
# For this small net and these scenes, leaving out three of four pixels adds hardly any
# noise to the gradient. The pixels of one image are much alike, and at stride 32 the
# scores of neighbouring pixels are interpolated from the same few cells, so most pixels
# repeat what their neighbours say. The noise in a batch's gradient comes from *which
# images* are in it. More images reduce it in proportion. Sampling does not hurt here,
# and does not save anything either, since the dropped cells are computed anyway. A
# sampled batch with $1/p$ times as many images has a steadier gradient, for $1/p$ times
# the work. Whether this pays depends on whether noise is what holds training back.
#
# (The training loop divides by the number of pixels kept, which is itself random. With
# a million labelled pixels in a batch, as in the runs below, it varies by about 0.1 %.)
#
# ### Figure 5
#
# The paper's Figure 5 is this experiment. It compares the training loss with all cells,
# with 50 % and with 25 % of them, in batches that grow accordingly, per iteration and
# per image. Ours is FCN-32s on GoogLeNet and SIFT Flow, with the settings in
# {numref}`tab-sampling-recipes`. All runs take the same number of iterations. A fourth
# run, the control, follows further down.
#
# With `preset="paper"`, the next cell trains those of the four nets that have no record
# and lists the new runs. With `preset="read"` it trains none.

# %%
computed = here.run([*figure_5.EXPERIMENTS.values(), figure_5.CONTROL])
computed if len(computed) else None

# %% tags=["hide-input"]
records = here.records()
runs = figure_5.find(records, here.seed)
print(figure_5.not_run(runs) or "all three runs have a record")

# %% tags=["remove-input"]
if runs:
    settings = ("keep", "batch_size", "epochs", "learning_rate", "momentum")
    settings += ("weight_decay", "optimizer", "schedule")
    recipes = {f"{100 * keep:g} %": run.recipe for keep, run in runs.items()}
    table = pd.DataFrame(recipes).reindex(settings)
table if runs else None

# %% [markdown]
# :::{caption} tab-sampling-recipes
# Settings of the three runs, by the share of the cells that they keep.
# :::

# %% tags=["remove-input"]
if runs:
    sampling.curves(runs)
    plt.show()

# %% [markdown]
# :::{caption} fig-sampling-curves
# :alt: Training loss of three runs. Against iterations, the run with all cells is
# :  highest and noisiest, the run with 25 percent lowest. Against images processed, the
# :  curves are closer together, the run with all cells is still highest, and the
# :  sampled runs continue further right.
# Our version of the paper's Figure 5: the training loss, summed over both heads. Thin
# lines are the values of single iterations, bold ones a running mean of nine points.
# With sampling, it is the loss of the cells that were kept.
# :::

# %% tags=["remove-input", "full-width"]
figure_5.compared(runs) if runs else None

# %% [markdown]
# :::{caption} tab-sampling-losses
# Training loss after equal iterations and after equal numbers of images: mean ±
# standard error over the last fifth.
# :::

# %% tags=["remove-input"]
shared.glue_values(**figure_5.values(runs))

# %% [markdown]
# - **After {glue:text}`common_steps:.0f` iterations**, the loss with 50 % of the cells
#   is **{glue:text}`keep50_step:.1f` %** lower than with whole images, and with 25 % it
#   is **{glue:text}`keep25_step:.1f` %** lower.
# - **After {glue:text}`common_images:.0f` images**, it is
#   **{glue:text}`keep50_images:.1f` %** lower with 50 % of the cells, and
#   **{glue:text}`keep25_images:.1f` %** lower with 25 %.
#
# In the paper, sampling makes no notable difference per iteration and costs time,
# because more images have to be processed. From then on, the authors train on whole
# images. Our runs differ, and not only at equal iterations: after as many images, in
# fewer steps, the sampled runs are lower too.

# %% tags=["hide-input"]
if len(runs) == 3:
    last = [run.curve[-1]["step"] for run in runs.values()]
    ends = zip(runs.values(), last, strict=True)
    at_end = [figure_5.level(run, "step", step)[0] for run, step in ends]
    tails = [[point["loss"] for point in run.curve[-31:]] for run in runs.values()]
    scatter = [float(np.std(tail)) for tail in tails]
    paper_rate = EXPERIMENTS["sift-flow-googlenet-32s"].recipe.learning_rate
    our_rate = runs[1.0].recipe["learning_rate"]
    print("at equal iterations, with more images in a batch:")
    print("- the loss is lower:", at_end == sorted(at_end, reverse=True))
    print("- it scatters less:", scatter == sorted(scatter, reverse=True))
    print(f"our learning rate over the paper's: {our_rate / paper_rate:.0f}")

# %% [markdown]
# Does it follow that leaving out cells helps? No: the runs differ in two things, the
# share of the cells and the number of images in a batch. The measurement above, on a
# smaller net and synthetic scenes, shows that the images affect the gradient and the
# share hardly does. Noise seems to hold these runs back: to save time, their learning
# rate is far above the paper's, and with batches of 8 the loss climbs again for a
# while, where with batches of 32 it falls. At a small rate, training averages over many
# batches by itself. A steadier gradient is then worth less, and the curves against
# iterations should come closer together, as they do in the paper.
#
# One more run tests half of this explanation: batches of 32 photos, as for the quarter,
# but with *all* their cells.

# %% tags=["remove-input"]
shared.glue_values(**figure_5.control_values(runs, records, here.seed))

# %% [markdown]
# After {glue:text}`control_steps:.0f` iterations with batches of 32, the loss is
# {glue:text}`control_loss:.3f` ± {glue:text}`control_error:.3f` with all cells and
# {glue:text}`quarter_loss:.3f` ± {glue:text}`quarter_error:.3f` with a quarter of them:
# the same within the scatter of the curves (a difference of
# {glue:text}`quarter_less_control:.1f` %).
#
# If leaving out cells were what helped, the run with all cells would have the higher
# loss. The two agree, so in these runs, of one seed each, the images made the
# difference. The paper has no such control: its batches grow by $1/p$. The other half
# of the explanation, that a small rate brings the curves together, is not tested here
# (exercise 5).
#
# ## Summary
#
# - Shift-and-stitch and a dilated net compute the same scores: the cells of the dilated
#   map form groups, and each group is the net on one shifted image. They agree to the
#   last digits without padding, and inside the image with it.
# - The dilated net shares the work that shifted images have in common. For scores at
#   every pixel, both need more than a hundred times the multiply-adds of an FCN that
#   upsamples.
# - Removing only the last strides is affordable, and later nets did so.
# - Patches are cells of a loss. In our measurement, sampling them adds little noise to
#   the gradient, since the cells of an image are alike. It saves nothing, since they
#   are computed anyway.
# - Sampling comes with more images per batch, and these make the gradient steadier. In
#   our short runs at a high rate the sampled runs reach a lower loss; in the paper's
#   Figure 5 they do not. A control with one seed says that the batch made the
#   difference, not the sampling.
#
# ## Exercises
#
# 1. *Fragments.* Write a third way: pad before each strided layer, run it on all
#    $s^2$ shifts of the padded map, keep the results as separate maps, continue with
#    the plain net on each, and interlace at the end {cite:p}`giusti2013`. With padding
#    as published, which of the other two does it agree with everywhere, and why?
#
#    :::{dropdown} Solution
#    With the dilated net. A plain layer that pads a fragment puts its zeros directly
#    around the cells of that group. `dilated` multiplies the padding by the dilation,
#    so each group of the dilated map meets the same number of zeros before its first
#    cell and after its last one. On narrow AlexNet, VGG16 and GoogLeNet with random
#    weights, the difference is exactly zero. Shift-and-stitch differs: its first layers
#    pad each shifted image at its own edge, where the other two still see pixels.
#    :::
#
# 2. *Dilate and train.* Build an FCN from `dilated(backbone(alexnet(width=1/8)), 8)`
#    and a score layer. Train it on the scenes of [chapter 5](05_skips.ipynb) for as
#    many multiply-adds as FCN-8s there. Which one is better near borders?
#
#    :::{dropdown} Solution
#    ```python
#    from fcn.geometry import IMAGE
#    from fcn.upsampling import upsample_onto, upsampler
#
#    trunk = backbone(alexnet(width=1 / 8))
#    fine = dilated(trunk, 8)
#    net = nn.Sequential(fine, nn.Conv2d(trunk.channels[32], len(CLASSES), 1))
#    field = fcn.receptive_field(fine)
#    layer = upsampler(len(CLASSES), field, IMAGE, "interpolate")
#
#
#    def upsampled(image):
#        """Scores at the pixels of a preprocessed image."""
#        return upsample_onto(net(image), layer, field, IMAGE, image.shape[-2:])
#    ```
#
#    On 96×96 pixels it needs 6.3 times the multiply-adds of FCN-8s, so it gets 51 of
#    320 steps. In our trials, with batches drawn in the same way for both and seeds 0,
#    1 and 2, FCN-8s was far ahead on the held-out scenes. It had far fewer wrong pixels
#    within four pixels of a border, and hardly any from nine pixels on, where the
#    dilated net still had many. So skips win near borders and away from them. Equal
#    work is hard on the dilated net, but it was also clearly behind FCN-8s after 51
#    steps each and, with seed 0, after all 320. Longer training from ImageNet's weights
#    may change the order.
#    :::
#
# 3. *Another sampler.* The paper notes that patches can be drawn to balance classes.
#    Keep the cells of a class with a probability inversely proportional to its
#    frequency (at most 1), and weight each cell by the inverse of its probability. Is
#    the gradient still unbiased? Compare the variance of the loss with that of uniform
#    sampling of as many cells; does it grow or shrink?
#
#    :::{dropdown} Solution
#    It is unbiased: a cell with the probability $p_i$ counts $1/p_i$ times, so its
#    expectation is its loss. The variance is $\sum \frac{1 - p_i}{p_i}\,\ell_i'^{\,2}$.
#    It is smallest, for a given number of cells, where $p_i$ is proportional to the
#    loss. If all losses were equal, balancing $C$ classes with frequencies $f_c$ would
#    multiply the variance by $C \sum f_c^2 \ge 1$, for small $p$. But this net has its
#    largest losses on poles, boats and cars, and balancing keeps all of these. So in
#    our trials, with a quarter of the cells, the variance clearly shrank. That of the
#    gradient hardly changed, now smaller, now larger: it does not follow the loss.
#    :::
#
# 4. *Whole cells.* Sample at stride 32 instead of at the pixels: keep or drop blocks
#    of 32×32 pixels together. Predict the variance of the loss from
#    {eq}`eq-sampling-variance`, then measure it, and $C_p$ as well.
#
#    :::{dropdown} Solution
#    A block is one coin toss, so the formula holds with the sums over the blocks,
#    $L_b$, instead of the losses of the pixels: $\frac{1 - p}{p} \sum_b L_b^2$. If all
#    pixels of a block had the same loss, each $L_b^2$ would be $1024^2$ times the
#    square of one pixel's loss, while the 1024 squares of its pixels add up to 1024
#    times it. So the variance is up to 1024 times as large, and the standard deviation
#    up to 32 times. The same argument holds for the gradients of the blocks and $C_p$.
#    :::
#
# 5. *Cells or images?* With `dataclasses.replace`, derive one more experiment from
#    `sift-flow-googlenet-32s-keep25`: a quarter of the cells with batches of 8. Add its
#    curve, and the control's, to Figure 5. Then divide the rate of all runs by ten, and
#    multiply the steps. What is left of the differences?
#
#    :::{dropdown} Solution
#    Half an epoch in batches of 8 has as many iterations as the other runs:
#
#    ```python
#    from dataclasses import replace
#
#    from fcn.replication.run import run_queue
#    from fcn.training.record import find, load_records
#
#    quarter = EXPERIMENTS[figure_5.EXPERIMENTS[0.25]]
#    recipe = replace(quarter.recipe, batch_size=8, epochs=0.5)
#    small = replace(quarter, name=f"{quarter.name}-batch8", recipe=recipe)
#    run_queue([small], results=Path("../trials"))
#    (run,) = find(load_records(Path("../trials")), small.name)
#    plt.plot(figure_5.curve(run, "step"), figure_5.curve(run, "loss"))
#    ```
#
#    We have not run it. By {numref}`fig-sampling-noise` we expect its curve to follow
#    that of all cells with the same batch, as the control follows the quarter with
#    batches of 32. At a tenth of the rate, with `learning_rate=1e-3` and ten times the
#    epochs, the five runs see 148,800 images. Each step is then small, and the average
#    over many batches takes over from the batch: we expect the curves to come closer
#    against iterations. Against images the small batches should then be ahead, because
#    they take more steps.
#    :::
