# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Upsampling
#
# A net that answers once per 32 pixels has to get back to the pixels somehow. The paper
# does it inside the net, with one more layer: a transposed convolution, in which every
# cell stamps a small filter onto a finer grid. With the right filter this is bilinear
# interpolation, and the filter can also be learned. The hard part is alignment: a map
# that is half a cell off loses many points of mean IU, while learning the filter gains
# next to nothing.

# %% tags=["parameters", "hide-input"]
preset = "read"  # "read", "smoke", "small" or "paper": how many scenes are shifted
seed = 0
results_dir = "../results"

# %% tags=["remove-input"]
import presets

here = presets.check(preset=preset, seed=seed, results_dir=results_dir)

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import fcn
import widgets
from fcn.data.synthetic.outdoor import Scenes
from fcn.data.synthetic.palette import CLASSES
from fcn.geometry import IMAGE, ReceptiveField, offset_between
from fcn.metrics import ConfusionMatrix
from fcn.replication import claims
from fcn.upsampling import (
    Deconvolution,
    bilinear_filter,
    crop,
    upsample_onto,
    upsampler,
)
from figures import shared, style
from figures import upsampling as figures

torch.manual_seed(here.seed)
style.use()

# %% tags=["remove-input"]
figures.tents(torch.tensor([1.0, 3.0, 2.0, 2.5]), 4)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-tents
# :alt: Four coloured tents over an axis of 16 pixels, with heights 1, 3, 2 and 2.5.
# :  Dots mark their sum at each pixel; between the peaks they are on straight lines,
# :  and at both ends they fall.
# Four scores, upsampled by a factor of 4. Where two tents overlap, their sum is the
# straight line between the scores. At both ends a neighbour is missing and the sum
# falls towards zero, a detail that we come back to.
# :::
#
# ## What you will learn
#
# - two ways to read interpolation: each pixel gathers from cells, or each cell stamps a
#   tent. The second is a transposed convolution;
# - what exactly is transposed, and why the authors' name for it, *backwards
#   convolution*, is the better one;
# - when a transposed convolution equals bilinear interpolation, what happens at the
#   borders, and what a learned filter looks like;
# - why half a cell matters, and where the crop offsets 19, 27, 5, 9 and 31 of the
#   authors' nets come from: you will never hard-code one again.
#
# ## The claim
#
# [Chapter 3](03_convolutionalization.ipynb) left us with a map of scores, one cell
# every 32 pixels. The task asks for one answer per pixel. {cite:t}`long2015` (section
# 3.3) close the gap inside the net. Upsampling by a factor $f$ is a convolution with a
# stride of $1/f$: take a convolution of stride $f$, exchange its forward and backward
# passes, and you have a layer that turns each coarse cell into many fine ones. Bilinear
# interpolation is one choice of its filter. Since upsampling is now a layer like any
# other, the filter can also be learned, and the loss can be computed where we want it,
# at the pixels.
#
# :::{note}
# The demonstrations of this chapter use label maps of synthetic scenes, which are
# easier than the scores of a net: they are never wrong, only coarse. The experiment
# with a learned filter is a single run with one channel and a factor of 2. Equalities
# and crops are exact and hold for any net.
# :::
#
# ## Interpolation, read in two ways
#
# Take the four scores of {numref}`fig-upsampling-tents` and a factor of 4. Each cell
# sits in the middle of its four pixels. In linear interpolation a pixel takes a
# weighted average of the two cells around it, and the weight of a cell falls from 1 at
# its centre to 0 one cell further on:

# %%
scores = torch.tensor([1.0, 3.0, 2.0, 2.5])
factor = 4
centres = factor * torch.arange(4) + (factor - 1) / 2
pixels = torch.arange(4 * factor)
distance = (pixels[:, None] - centres).abs() / factor  # pixels x cells
weights = (1 - distance).clamp(min=0)
print(weights[4:9])
print("pixels 4 to 8:", (weights @ scores)[4:9].tolist())

# %% [markdown]
# Read this matrix row by row, and every pixel *gathers*: pixel 4 takes 0.375 of the
# first cell and 0.625 of the second. Read it column by column, and every cell
# *spreads*: it stamps a tent, as high as its score and two cells wide, and the tents
# add up. The sum is the same.
#
# ## Transposed convolution, step by step
#
# The second reading is the layer. Each cell of a map stamps a filter onto a finer map,
# scaled by the cell's value. The stamps are `stride` fine cells apart, and where they
# overlap, they add up. That is all:


# %%
def stamped(cells, kernel, stride):
    (h, w), k = cells.shape, len(kernel)
    fine = torch.zeros(stride * (h - 1) + k, stride * (w - 1) + k)
    for i in range(h):
        for j in range(w):
            y, x = stride * i, stride * j
            fine[y : y + k, x : x + k] += cells[i, j] * kernel
    return fine


cells = torch.tensor([[4.0, 8.0], [0.0, 12.0]])
kernel = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])
fine = stamped(cells, kernel, stride=2)
same = F.conv_transpose2d(cells[None, None], kernel[None, None], stride=2)[0, 0]
torch.testing.assert_close(fine, same)

# %% tags=["remove-input"]
figures.stamps(cells, kernel, stride=2)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-stamps
# :alt: A map of 2 by 2 cells and a filter of 3 by 3 give a map of 5 by 5. Below, four
# :  grids of 5 by 5 show the stamps of the cells, one in each corner, overlapping in
# :  the middle row and column.
# Two by two cells, a filter of 3×3, a stride of 2. Below: the stamp of each cell in its
# colour. Above: their sum, in the colours of the stamps that reached each place. Find
# the four cells again in the sum, and the averages between them: this filter
# interpolates.
# :::
#
# Below, you place the stamps one by one and can change the filter. Which filters keep a
# map of ones constant, away from the border?

# %% tags=["remove-input"]
widgets.stamps([[4, 8, 4], [0, 12, 8], [4, 0, 4]], stride=2)

# %% [markdown]
# ## What is transposed
#
# A convolution is linear, so it is a matrix. Here is one along one axis, with the
# filter $(1, 2, 3)$ and a stride of 2, from nine cells to four:

# %%
kernel = torch.tensor([1.0, 2.0, 3.0])
unit = torch.eye(9)[:, None]  # nine inputs, each with a single 1
matrix = F.conv1d(unit, kernel[None, None], stride=2)[:, 0].T

# %% tags=["remove-input"]
figures.matrices(matrix)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-matrices
# :alt: Left, a matrix of 4 rows and 9 columns; each row holds 1, 2, 3, two columns
# :  further right than the row above. Right, the same matrix transposed, with 9 rows
# :  and 4 columns.
# Left: each row gathers three neighbours, and the next row starts two cells further on.
# Right: the same matrix, transposed. Its columns are the stamps.
# :::
#
# Two checks. The transposed convolution multiplies by the transposed matrix, and so
# does the backward pass of the convolution:

# %%
coarse, fine = torch.randn(4), torch.randn(9, requires_grad=True)
spread = F.conv_transpose1d(coarse[None, None], kernel[None, None], stride=2)[0, 0]
torch.testing.assert_close(spread, matrix.T @ coarse)

# The backward pass of the convolution, with `coarse` as the gradient of its output:
F.conv1d(fine[None, None], kernel[None, None], stride=2)[0, 0].backward(coarse)
torch.testing.assert_close(spread, fine.grad)

# %% [markdown]
# The second check explains the paper's name. Every framework that trains convolutions
# has had this operation all along {cite:p}`dumoulin2016`. The other common name,
# *deconvolution*, promises too much, because nothing is undone. A convolution followed
# by its transpose is not the identity:

# %%
(matrix.T @ matrix)[:3, :5].int()

# %% [markdown]
# ## The bilinear filter
#
# For a transposed convolution to interpolate, its filter must be the tent, sampled at
# the fine cells. Where the samples fall depends on the centre of a cell: it can be
# between fine cells, like the centre of an even block, or on one.

# %%
factor = 4
even, odd = bilinear_filter(factor), bilinear_filter(factor, size=2 * factor - 1)

# %% tags=["remove-input"]
figures.filters(even, odd)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-filters
# :alt: Left, a tent with 8 round and 7 square samples; only the squares include the
# :  peak. Right, the two filters as images of 8 by 8 and 7 by 7, bright in the middle.
# The same tent, sampled at $2f$ places between the grid points or at $2f - 1$ places on
# them. In two dimensions the filter is the product of two tents.
# :::
#
# Does a filter keep a constant map constant? Its *taps*, the numbers in it, tell. A
# fine cell is reached only by taps that are a whole number of strides apart. If the
# taps of each such set add up to 1, the constant survives. Both filters pass:

# %%
phases = [(i, j) for i in range(factor) for j in range(factor)]
for name, filters in (("even", even), ("odd", odd)):
    sums = torch.stack([filters[i::factor, j::factor].sum() for i, j in phases])
    print(f"{name}: {tuple(filters.shape)} taps,", end=" ")
    print(f"the {len(sums)} sums are between {sums.min():g} and {sums.max():g}")

# %% [markdown]
# Both also agree with `F.interpolate`, once the maps are aligned: the odd filter with
# cells on pixels (`align_corners=True`), the even one with cells between them
# (`align_corners=False`), if the border cells are repeated first. `Deconvolution` is
# the package's layer with this filter. Its output extends beyond the cells on all
# sides, and `crop` cuts it.

# %%
maps = torch.randn(1, 3, 6, 7)
padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
for factor in (2, 4, 8, 32):
    size = (5 * factor + 1, 6 * factor + 1)
    on = Deconvolution(3, factor, 2 * factor - 1)(maps)
    on = crop(on, factor - 1, size)
    theirs = F.interpolate(maps, size, mode="bilinear", align_corners=True)
    torch.testing.assert_close(on, theirs)

    size = (6 * factor, 7 * factor)
    between = Deconvolution(3, factor, 2 * factor)(padded)
    between = crop(between, factor + factor // 2, size)
    theirs = F.interpolate(maps, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(between, theirs)
    print(f"factor {factor}: equal, odd and even")

# %% [markdown]
# ## Where the cells are
#
# Which of the two filters does a net need, and where does its output belong? The layers
# of the backbone answer both. For every map, `fcn.geometry` composes not only receptive
# field and stride, but also the pixel on which its first cell is centred.

# %%
fields = {}
with torch.device("meta"):
    for name in ("alexnet", "vgg16", "googlenet"):
        fields[name] = fcn.FCN(name, stride=8, num_classes=2).trunk.fields
first = {
    name: {f"stride {s}": float(f.offset) for s, f in sorted(fields[name].items())}
    for name in fields
}
pd.DataFrame(first)

# %% [markdown]
# :::{caption} tab-upsampling-offsets
# The pixel on which the first cell of each map is centred, counted from 0.
# :::
#
# VGG16 pools over 2×2 cells, so a cell is in the middle of its block, between pixels:
# at 3.5, 7.5 and 15.5. AlexNet and GoogLeNet pool over 3×3 cells at a stride of 2.
# Their cells are on pixels, but not in the middle of the 8, 16 or 32 pixels that they
# stand for. GoogLeNet's first cell of stride 32 is centred on pixel 30. (The nets here
# are padded so that their maps begin at the edge of the image. In [chapter
# 3](03_convolutionalization.ipynb), AlexNet was not, and its first cell was centred on
# pixel 113.)

# %% tags=["remove-input"]
figures.centres(fields, width=112)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-centres
# :alt: Nine rows of dots and rings over 112 pixels, for three nets at three strides. In
# :  the rows of VGG16 every ring surrounds its dot. In those of AlexNet and GoogLeNet
# :  they are apart, least for AlexNet at stride 8, most for GoogLeNet at stride 32.
# Dots: the centres of the cells of each map. Rings: where they end up if the map is
# simply stretched over the image, as `F.interpolate(scores, size=...)` does, here an
# image whose sides are multiples of 32. On such images the two agree for VGG16, so the
# mistake goes unnoticed. For GoogLeNet at stride 32 the stretched map is 14.5 pixels
# off.
# :::
#
# ## What a shift costs
#
# Does it matter? Take the true label maps of some synthetic scenes and average them
# over cells, which is about as much as the cells of a net could say at that stride.
# Then upsample them with a wrong offset: `upsample_onto` does its work correctly, on
# the wrong grid. (`IMAGE` is the grid of the pixels.)

# %%
count = {"read": 6, "smoke": 4, "small": 40, "paper": 200}[here.preset]
scenes = Scenes(count, (256, 256), seed=here.seed)
classes = torch.arange(len(CLASSES)).view(1, -1, 1, 1)


def coarsened(labels, stride, shift):
    """Labels (1 x H x W), averaged over cells, upsampled ``shift`` pixels too far."""
    cells = F.avg_pool2d((labels[:, None] == classes).float(), stride)
    true = fcn.receptive_field(nn.AvgPool2d(stride, stride))
    wrong = ReceptiveField(true.size, true.stride, true.offset + shift)
    layer = upsampler(len(CLASSES), wrong, IMAGE, "interpolate")
    return upsample_onto(cells, layer, wrong, IMAGE, labels.shape[-2:]).argmax(1)


curves = {}
for stride in (32, 16, 8):
    for shift in range(0, stride + 1, stride // 8):
        confusion = ConfusionMatrix(len(CLASSES))
        for scene in scenes:
            labels = scene.labels["semantic"][None]
            confusion.update(labels, coarsened(labels, stride, shift))
        curves.setdefault(f"{stride}s", []).append((shift, confusion.metrics().mean_iu))

# %% tags=["hide-input"]
example = scenes[3]
labels = example.labels["semantic"][None]
tree = CLASSES.index("tree")
masks = {
    "stride 32, aligned": coarsened(labels, 32, 0)[0] == tree,
    "stride 32, 16 pixels off": coarsened(labels, 32, 16)[0] == tree,
    "stride 8, 4 pixels off": coarsened(labels, 8, 4)[0] == tree,
}
masks = {title: mask.numpy() for title, mask in masks.items()}
figures.shifted(example.image, masks, curves)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-shifts
# :alt: Above, a street three times with the outline of what is labelled tree. At stride
# :  32 the outlines are blobs on the trees, shifted by 16 pixels they miss much of
# :  them, and at stride 8, 4 pixels off, they follow each tree. Below, mean IU falls
# :  with the shift for strides 32, 16 and 8, fastest for stride 8.
# Above: the outline of what is labelled tree after a round trip through cells of 32
# pixels (and of 8). Below: mean IU of the true labels after that trip, against the
# shift. At a shift of zero the curves show what the stride alone loses, the subject of
# [chapter 5](05_skips.ipynb).
# :::
#
# Now read off the cost of stretching a map with GoogLeNet's strides and offsets, even
# if its cells know the truth:

# %%
shifts, scores = zip(*curves["32s"], strict=True)
off = float(fields["googlenet"][32].offset) - (32 - 1) / 2
stretched = np.interp(off, shifts, scores)
print(f"mean IU at stride 32: {scores[0]:.0f} %; {off} pixels off: {stretched:.0f} %")

# %% [markdown]
# A net that is trained on a wrong grid may learn to compensate for part of this, since
# its cells see far around them. It should not have to.
#
# ## Borders
#
# Back to the ends of the tents. A transposed convolution fades at the border: beyond
# the last centre there is no second cell to add its share. Upsample a score that is 1
# everywhere onto the first pixels of an image of 224×224:

# %%
profiles = {}
for name in ("vgg16", "googlenet"):
    grid = fields[name][32]
    ones = torch.ones(1, 1, 7, 7)
    layer = upsampler(1, grid, IMAGE, "bilinear")
    before = offset_between(grid.then(layer.field), IMAGE)  # fine cells to crop
    plain = crop(layer(ones), before, (64, 64))
    repeated = upsample_onto(ones, layer, grid, IMAGE, (64, 64))
    profiles[name] = (plain[0, 0, 40], repeated[0, 0, 40])

# %% tags=["remove-input"]
figures.borders(profiles)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-borders
# :alt: Two lines rise from the edge of the image to 1, that of VGG16 from about one
# :  half within 16 pixels, that of GoogLeNet from nearly zero within 30. A dashed line
# :  stays at 1.
# Solid: the result of a plain transposed convolution for a constant score near the edge
# of the image. Dashed: the same with the border cells repeated, as `upsample_onto`
# does.
# :::
#
# The fading scales the scores of *all* classes at a pixel by the same number, so the
# largest stays the largest. An answer is lost only where the factor is zero. Everywhere
# else the confidence changes, and with it the loss:

# %%
grid = fields["googlenet"][32]
scores = torch.randn(1, 21, 7, 7)
layer = upsampler(21, grid, IMAGE, "bilinear")
before = offset_between(grid.then(layer.field), IMAGE)
plain = crop(layer(scores), before, (224, 224))
repeated = upsample_onto(scores, layer, grid, IMAGE, (224, 224))
same = (plain.argmax(1) == repeated.argmax(1)).float().mean()
print(f"pixels with the same answer: {100 * same:.1f} %")
corner = [float(x[0, :, 0, 0].softmax(0).max()) for x in (plain, repeated)]
print("largest probability in the corner:", end=" ")
print(f"{corner[0]:.2f} faded, {corner[1]:.2f} repeated")

# %% [markdown]
# The authors' release does it differently. It pads every image by 100 pixels, so that
# the stamps of the outermost cells reach beyond the image on every side, and crops what
# is outside. The crop offsets in the released nets look like magic numbers: 19 for
# FCN-32s, 5 and 27 for FCN-16s, and 5, 9 and 31 for FCN-8s. None of them is arbitrary.
#
# ## Deriving the crops
#
# Follow the centre of the first cell, in pixels of the image. A padding of $p$ moves it
# by $-p$. A kernel of $k$ cells moves it by $(k - 1)/2$ cells. A transposed convolution
# with $k$ taps moves it back by $(k - 1)/2$ of the *finer* cells. For FCN-32s on VGG16:

# %%
SHOWN = ("conv1_1", "pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7")
with torch.device("meta"):
    net = fcn.FCN("vgg16", stride=32, num_classes=21, alignment="reference")
field, rows = IMAGE, []
for name, layer in net.trunk.named_children():
    field = field.then(fcn.receptive_field(layer))
    if name in SHOWN:
        rows.append((name, field.size, int(field.stride), float(field.offset)))
upscore = net.heads["scores"].upscore32.field
field = field.then(upscore)
rows.append(("upscore", field.size, int(field.stride), float(field.offset)))
columns = ["after", "receptive field", "stride", "first cell centred on pixel"]
pd.DataFrame(rows, columns=columns)

# %% [markdown]
# :::{caption} tab-upsampling-crop
# FCN-32s on VGG16, layer by layer, with the padding of the authors' release.
# :::
#
# The padding of 100 and half of the 3×3 kernel put the first cell at $-100 + 1 = -99$.
# The other 3×3 convolutions are padded by one cell and move nothing. Each pool moves
# the centre by half a cell of its finer map. `fc6`, seven cells wide and no longer
# padded, moves it by 3 cells of 32 pixels, into the image, to 12.5. The 64 taps of the
# upsampling reach back by 31.5. So the first upsampled value belongs to pixel $-19$:
# crop 19. (The first cell is still centred inside the image, so the first 13 pixels
# fade, but all are covered.)
#
# The skips need one crop per fusion, of the finer map onto the upsampled coarser one:


# %%
def crops(name, stride):
    """Crops of the reference alignment, at each skip and at the pixels."""
    with torch.device("meta"):
        net = fcn.FCN(name, stride=stride, num_classes=21, alignment="reference")
    head, grid, found = net.heads["scores"], net.trunk.fields[32], {}
    for s in head.skips:
        grid = grid.then(getattr(head, f"upscore{2 * s}").field)
        found[f"scores of stride {s}"] = offset_between(net.trunk.fields[s], grid)
    last = getattr(head, f"upscore{stride}").field
    return found | {"pixels": offset_between(grid.then(last), IMAGE)}


table = pd.DataFrame({f"FCN-{s}s": crops("vgg16", s) for s in (8, 16, 32)})
table.map(lambda crop: "" if np.isnan(crop) else f"{crop:g}")

# %% [markdown]
# :::{caption} tab-upsampling-crops
# The crops of the three nets on VGG16, as the layers determine them.
# :::
#
# These are the numbers of the release. This project hard-codes no crop:
# `offset_between` derives each one when the net is built, and refuses a net whose maps
# do not fall on one grid. The default (`alignment="tight"`) also saves the wasted
# border: the maps cover the image and no more, and the border cells are repeated.
#
# ## Learning the filter
#
# So far we chose the filter. Now let a transposed convolution learn its own, from
# random numbers. The task is to restore label maps that were averaged over 2×2 cells.


# %%
def one_hot(count, split):
    """The maps of single classes (N x 1 x 64 x 64), without the nearly empty ones."""
    scenes = Scenes(count, (64, 64), seed=here.seed, split=split)
    labels = [scene.labels["semantic"][None] for scene in scenes]
    maps = torch.cat([(one == classes[0]).float() for one in labels])[:, None]
    return maps[maps.mean((1, 2, 3)) > 0.02]


average = nn.AvgPool2d(2, stride=2)
grid = fcn.receptive_field(average)


def error(layer, maps):
    upsampled = upsample_onto(average(maps), layer, grid, IMAGE, maps.shape[-2:])
    return (upsampled - maps).square().mean()


# %%
maps, new_maps = one_hot(24, "train"), one_hot(12, "test")
fixed, learned = Deconvolution(1, 2, 4), Deconvolution(1, 2, 4, learned=True)
torch.manual_seed(here.seed)
nn.init.normal_(learned.weight, std=0.3)

STEPS = 300
optimizer = torch.optim.Adam(learned.parameters(), lr=0.3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
snapshots, curve = {"random start": learned.weight[0, 0].detach().clone()}, []
for step in range(1, STEPS + 1):
    optimizer.zero_grad()
    loss = error(learned, maps[torch.randint(len(maps), (32,))])
    loss.backward()
    optimizer.step()
    schedule.step()
    curve.append(loss.item())
    if step in (10, STEPS):
        snapshots[f"after {step} steps"] = learned.weight[0, 0].detach().clone()
snapshots["bilinear"] = fixed.weight[0, 0]

# %% tags=["hide-input"]
nearest = Deconvolution(1, 2, 4)
nearest.weight.zero_()
nearest.weight[..., 1:3, 1:3] = 1  # each cell stamps its own four pixels
layers = {"nearest": nearest, "bilinear": fixed, "learned": learned}
with torch.no_grad():
    errors = {
        name: error(layer, new_maps).sqrt().item() for name, layer in layers.items()
    }
    baseline = error(fixed, maps).item()
figures.learning(snapshots, errors, curve, baseline)
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-learning
# :alt: Above, filters of 4 by 4 numbers at the start, after 10 and after 300 steps, and
# :  the bilinear one; the last two look alike, with larger values in the middle of the
# :  learned one. Below, the loss falls to that of the bilinear filter within 50 steps,
# :  and bars of the error of three filters are nearly equal.
# Above: the filter on its way from random numbers, and the bilinear one. Below: the
# loss of each step, and the root mean square error on the label maps of new scenes.
# :::

# %% tags=["remove-input"]
found, fast = (
    claims.compare(claims.claim("learned-upsampling", among), here.records())
    for among in (claims.CLAIMS, claims.FAST_CLAIMS)
)
shared.glue_values(
    rmse_fixed=errors["bilinear"],
    rmse_learned=errors["learned"],
    learned_iu=sum(found.changed) / len(found.changed),
    fixed_iu=sum(found.base) / len(found.base),
    learned_gain=found.difference,
    learned_fast=fast.so_far,
    learned_seeds=len(fast.changed),
)

# %% [markdown]
# The layer finds a tent of its own: the same form, but steeper, since the edges of
# label maps are sharp. The gain is small: the error falls from
# {glue:text}`rmse_fixed:.3f` to {glue:text}`rmse_learned:.3f`.
#
# It is often said that learned upsampling is much better than interpolation. Nothing
# that we measured supports it. We trained FCN-8s on GoogLeNet for one epoch of SIFT
# Flow both ways: mean IU is {glue:text}`learned_iu:.1f` with learned upsampling and
# {glue:text}`fixed_iu:.1f` with fixed, a difference of {glue:text}`learned_gain:+.1f`
# points. So short a comparison, with one seed on the learned side, cannot exclude a
# small effect in either direction. With three epochs of a faster recipe and
# {glue:text}`learned_seeds:.0f` seeds on the learned side, the difference is
# {glue:text}`learned_fast` points, with a 95 % interval ([chapter
# 12](12_results.ipynb), "intermediate upsampling learned"). The paper learns the
# intermediate upsamplings, starting from bilinear, and fixes the last. The authors'
# release fixes all of them, and its README says that learning them made no significant
# difference.
#
# A learned filter also has a risk that a fixed one does not have. Nothing keeps the
# sums of its taps equal. Where they differ, a smooth map comes out with a pattern that
# repeats with the stride: the *checkerboards* of {cite:t}`odena2016`. They are worst if
# the size of the filter is not a multiple of the stride, because some fine cells then
# get more stamps than others:

# %%
ones = torch.ones(1, 1, 9, 9)
torch.manual_seed(here.seed)
kernels = {
    "3×3 of equal taps": torch.full((1, 1, 3, 3), 4 / 9),
    "4×4 of random taps": torch.rand(1, 1, 4, 4) / 2,
    "4×4, bilinear": bilinear_filter(2)[None, None],
}
maps = {
    name: F.conv_transpose2d(ones, k, stride=2)[0, 0] for name, k in kernels.items()
}

# %% tags=["remove-input"]
figures.checkerboards({name: fine[4:14, 4:14] for name, fine in maps.items()})
plt.show()

# %% [markdown]
# :::{caption} fig-upsampling-checkerboards
# :alt: Three squares of 10 by 10 cells. The first is a checkerboard of three shades,
# :  the second a weaker pattern that repeats every two cells, the third a single
# :  colour.
# A constant map, upsampled by a factor of 2 with three filters. Only the last one keeps
# it constant.
# :::
#
# ## Summary
#
# - Interpolation is a sum of stamped tents. A transposed convolution is a sum of stamps
#   of any form: the backward pass of a convolution, its matrix transposed.
# - With the bilinear filter ($2f$ taps if cells are between pixels, $2f - 1$ if they
#   are on them) it equals `F.interpolate`, except at the borders.
# - Each map has a grid, whose stride and offset follow from the layers. Stretching a
#   map over the image ignores the offset, and half a cell of shift is expensive.
# - The authors' crops 19, 27, 5, 9 and 31 follow from the layers, and so does every
#   crop here.
# - A learned filter becomes a steeper tent. We found no gain worth having, and the
#   authors report none for their nets.
#
# ## Exercises
#
# 1. *Two steps or one.* Upsample a random map twice by 2 and once by 4, both
#    bilinearly, on the grids that their filters define. Where do the results agree,
#    where do they differ, and by how much? Try the odd filters, then the even ones, and
#    explain why FCN-16s, which upsamples by 2 and then by 16 ([chapter
#    5](05_skips.ipynb)), can start with exactly the predictions of FCN-32s on GoogLeNet
#    but not on VGG16.
#
#    :::{dropdown} Solution
#    Upsample a single 1. With the odd filters both ways give the same tent, 4, 8, 12,
#    16, 12, 8, 4 (in sixteenths, along one axis): the samples of a straight line,
#    interpolated again, stay on the line. With the even filters two steps give ten
#    taps, 1, 3, 6, 10, 12, 12, 10, 6, 3, 1, and one step gives eight, 2, 6, 10, 14, 14,
#    10, 6, 2. The outermost of the ten extend one fine cell further. Two steps flatten
#    the peak, by 2 of 14, because no sample of the first step was at the centre of the
#    cell. GoogLeNet's cells are on pixels and need odd filters, so two steps equal one.
#    VGG16's are between pixels and need even ones.
#    :::
#
# 2. *A cubic stamp.* Build the filter of bicubic interpolation (four cells wide) as
#    the stamp of a transposed convolution. Check that the sums of its taps are 1, and
#    add its error to the bars of {numref}`fig-upsampling-learning`. Why may a filter
#    with negative taps be a bad idea for scores that are probabilities?
#
#    :::{dropdown} Solution
#    Along one axis the filter has $4f$ taps: the cubic kernel at the distances of the
#    fine cells from the centre of the coarse one, in coarse cells. For a factor of 2
#    these are ±0.25, ±0.75, ±1.25 and ±1.75. With $a = -0.75$, the constant of
#    `F.interpolate`, the taps are 0.879, 0.262, −0.105 and −0.035. The two sets of taps
#    that are two apart each hold all four of these numbers, which add up to 1. Take the
#    outer product with itself, apply it with `F.conv_transpose2d`, crop 3 fine cells,
#    and compare with `F.interpolate(mode="bicubic")` away from the border. Because of
#    the negative taps the result can leave the range of its cells: next to a sharp edge
#    probabilities fall below 0 and rise above 1.
#    :::
#
# 3. *Enough padding.* With a padding of 100 the first pixels of FCN-32s on VGG16 are
#    faded. Derive the smallest padding of the first layer at which they are not. What
#    is the crop then? Check it with `offset_between`, on a backbone whose first layer
#    has this padding. What decides whether the last pixels fade?
#
#    :::{dropdown} Solution
#    A padding of $p$ puts the first centre at $112.5 - p$. It must not be to the right
#    of pixel 0, so the smallest padding is 113: the centre is at $-0.5$, the first
#    upsampled value at $-0.5 - 31.5 = -32$, and the crop is 32. At the other end the
#    last centre must not be to the left of the last pixel. The centres are 32 pixels
#    apart, so this depends on the size of the image as well as on the padding.
#    :::
