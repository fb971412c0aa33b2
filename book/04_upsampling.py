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
# ## What you will learn
#
# - that interpolation can be read in two ways, each pixel gathering from cells or each cell stamping a tent, and that
#   the second is a transposed convolution;
# - what exactly is transposed, and why the authors' name for it, *backwards convolution*, is the better one;
# - when a transposed convolution equals bilinear interpolation, what happens at the borders, and what it learns if it
#   may;
# - why half a cell matters, and where the crop offsets 19, 27, 5, 9 and 31 of the authors' nets come from: you will
#   never type one in again.

# %% tags=["parameters"]
preset = "read"  # "read", "smoke", "small" or "paper": how many scenes are shifted
seed = 0

# %%
import presets

here = presets.check(preset=preset, seed=seed)

# %%
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
from fcn.upsampling import Deconvolution, bilinear_filter, crop, upsample_onto, upsampler
from figures import style
from figures import upsampling as figures

torch.manual_seed(here.seed)
style.use()

# %% [markdown]
# ## The claim
#
# [Chapter 3](03_convolutionalization.ipynb) left us with a map of scores with one cell every 32 pixels. The task asks
# for one answer a pixel. {cite:t}`long2015` (section 3.3) close the gap inside the net. Upsampling by a factor $f$ is
# a convolution with a stride of $1/f$: run a convolution of stride $f$ backwards, exchanging its forward and its
# backward pass, and you have a layer that turns each coarse cell into many fine ones. Bilinear interpolation is one
# choice of its filter. Since it is a layer like any other, the filter can also be learned, and the loss can be taken
# where it is wanted, at the pixels.
#
# ## Interpolation, read in two ways
#
# Four scores in a row, and a factor of 4. Each cell stands in the middle of its four pixels. Interpolating linearly,
# a pixel takes a weighted average of the two cells around it, and the weight of a cell falls from 1 at its centre to
# 0 one cell further on:

# %%
scores = torch.tensor([1.0, 3.0, 2.0, 2.5])
factor = 4
centres = factor * torch.arange(4) + (factor - 1) / 2
pixels = torch.arange(4 * factor)
weights = (1 - (pixels[:, None] - centres).abs() / factor).clamp(min=0)  # pixels x cells
print(weights[4:9])
print("pixels 4 to 8:", (weights @ scores)[4:9].tolist())

# %% [markdown]
# Read this matrix row by row, and every pixel *gathers*: pixel 4 takes 0.375 of the first cell and 0.625 of the
# second. Read it column by column, and every cell *spreads*: it stamps a tent, as high as its score and two cells
# wide, and the tents add up. The sum is the same.

# %%
figures.tents(scores, factor)
plt.show()

# %% [markdown]
# *Where two tents overlap their sum is the straight line between the scores. At both ends a neighbour is missing, and
# the sum falls towards zero: a detail to come back to.*
#
# ## Transposed convolution, step by step
#
# The second reading is the layer. Each cell of a map stamps a filter onto a finer map, scaled by the cell's value;
# the stamps are set `stride` fine cells apart; where they overlap, they add up. That is all there is to it:


# %%
def stamped(cells, kernel, stride):
    (h, w), k = cells.shape, len(kernel)
    fine = torch.zeros(stride * (h - 1) + k, stride * (w - 1) + k)
    for i in range(h):
        for j in range(w):
            fine[stride * i : stride * i + k, stride * j : stride * j + k] += cells[i, j] * kernel
    return fine


cells = torch.tensor([[4.0, 8.0], [0.0, 12.0]])
kernel = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])
fine = stamped(cells, kernel, stride=2)
torch.testing.assert_close(fine, F.conv_transpose2d(cells[None, None], kernel[None, None], stride=2)[0, 0])

figures.stamps(cells, kernel, stride=2)
plt.show()

# %% [markdown]
# *Two by two cells, a filter of 3×3, a stride of 2. Below, the stamp of each cell in its colour; above, their sum, in
# the colours of the stamps that reached each place. Find the four cells again in the sum, and the averages between
# them: this filter interpolates.*
#
# Here you set the stamps one by one, and the filter is yours to change. Which filters leave a map of ones constant,
# away from the border?

# %% tags=["remove-input"]
widgets.stamps([[4, 8, 4], [0, 12, 8], [4, 0, 4]], stride=2)

# %% [markdown]
# ## What is transposed
#
# A convolution is linear, so it is a matrix. Along one axis, with the filter $(1, 2, 3)$ and a stride of 2, from nine
# cells to four:

# %%
kernel = torch.tensor([1.0, 2.0, 3.0])
matrix = F.conv1d(torch.eye(9)[:, None], kernel[None, None], stride=2)[:, 0].T  # what becomes of each fine cell
figures.matrices(matrix)
plt.show()

# %% [markdown]
# *Left: each row gathers three neighbours, and the next row starts two cells further on. Right: the same matrix,
# transposed. Its columns are the stamps.*

# %%
coarse, fine = torch.randn(4), torch.randn(9, requires_grad=True)
spread = F.conv_transpose1d(coarse[None, None], kernel[None, None], stride=2)[0, 0]
torch.testing.assert_close(spread, matrix.T @ coarse)

# The backward pass of the convolution, given `coarse` as the gradient of its output:
F.conv1d(fine[None, None], kernel[None, None], stride=2)[0, 0].backward(coarse)
torch.testing.assert_close(spread, fine.grad)

# %% [markdown]
# The second check is where the paper's name comes from. The backward pass of a convolution multiplies with its
# transposed matrix; every framework with convolutions has had this operation all along {cite:p}`dumoulin2016`. The
# other common name, *deconvolution*, promises too much: nothing is undone. A convolution followed by its transpose is
# not the identity:

# %%
(matrix.T @ matrix)[:3, :5].int()

# %% [markdown]
# ## The bilinear filter
#
# For a transposed convolution to interpolate, its filter has to be the tent, sampled at the fine cells. Where the
# samples fall depends on where a cell's centre lies: between fine cells, as the centre of an even block does, or on
# one.

# %%
factor = 4
even, odd = bilinear_filter(factor), bilinear_filter(factor, size=2 * factor - 1)
figures.filters(even, odd)
plt.show()

# %% [markdown]
# *The same tent, sampled at $2f$ places between the grid points or at $2f - 1$ places on them. In two dimensions the
# filter is the product of two tents.*
#
# Both leave a constant map constant, and whether a filter does so can be read off its taps. A fine cell is reached
# only by the taps that lie a whole number of strides apart. If the taps of each such set add up to 1, it does.

# %%
for name, filters in (("even", even), ("odd", odd)):
    sums = torch.stack([filters[i::factor, j::factor].sum() for i in range(factor) for j in range(factor)])
    print(f"{name}: {tuple(filters.shape)} taps, the {len(sums)} sums lie between {sums.min():g} and {sums.max():g}")

# %% [markdown]
# Both agree with `F.interpolate`, once the maps are laid over each other: the odd filter with cells on pixels
# (`align_corners=True`), the even one with cells between them (`align_corners=False`), if the border cells are
# repeated first.

# %%
maps = torch.randn(1, 3, 6, 7)
for factor in (2, 4, 8, 32):
    size = (5 * factor + 1, 6 * factor + 1)
    on = crop(Deconvolution(3, factor, 2 * factor - 1)(maps), factor - 1, size)
    torch.testing.assert_close(on, F.interpolate(maps, size, mode="bilinear", align_corners=True))

    size = (6 * factor, 7 * factor)
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    between = crop(Deconvolution(3, factor, 2 * factor)(padded), factor + factor // 2, size)
    torch.testing.assert_close(between, F.interpolate(maps, size, mode="bilinear", align_corners=False))
    print(f"factor {factor}: equal, odd and even")

# %% [markdown]
# ## Where the cells are
#
# Which of the two filters, then, and where does its output belong? The layers of the backbone answer that.
# `fcn.geometry` composes for every map not only receptive field and stride, but also the pixel on which its first
# cell is centred.

# %%
with torch.device("meta"):
    fields = {name: fcn.FCN(name, stride=8, num_classes=2).trunk.fields for name in ("alexnet", "vgg16", "googlenet")}
pd.DataFrame({name: {f"stride {s}": float(f.offset) for s, f in sorted(fields[name].items())} for name in fields})

# %% [markdown]
# VGG16 pools over 2×2 cells: a cell lies in the middle of its block, at 3.5, 7.5 and 15.5, between pixels. AlexNet
# and GoogLeNet pool over 3×3 cells at a stride of 2: their cells lie on pixels, and not in the middle of their
# stride. GoogLeNet's first cell of stride 32 is centred on pixel 30.

# %%
figures.centres(fields, width=112)
plt.show()

# %% [markdown]
# *Dots: the centres of the cells of each map. Rings: where they end up if the map is simply stretched over the image,
# as `F.interpolate(scores, size=...)` does. For VGG16 the two agree, and the mistake goes unnoticed. For GoogLeNet at
# stride 32 the stretched map is 14.5 pixels off.*
#
# ## What a shift costs
#
# Does it matter? Take the true label maps of some procedural scenes, average them over cells, which is about as much
# as the cells of a net could say at that stride, and upsample them, but tell the code a wrong offset. `upsample_onto`
# then does its work faithfully on the wrong grid.

# %%
count = {"read": 6, "smoke": 4, "small": 40, "paper": 200}[here.preset]
scenes = Scenes(count, (256, 256), seed=here.seed)
classes = torch.arange(len(CLASSES)).view(1, -1, 1, 1)


def coarsened(labels, stride, shift):
    """Labels (1 x H x W) averaged over cells, and upsampled as if the cells lay ``shift`` pixels further on."""
    cells = F.avg_pool2d((labels[:, None] == classes).float(), stride)
    true = fcn.receptive_field(nn.AvgPool2d(stride, stride))
    told = ReceptiveField(true.size, true.stride, true.offset + shift)
    layer = upsampler(len(CLASSES), told, IMAGE, "interpolate")
    return upsample_onto(cells, layer, told, IMAGE, labels.shape[-2:]).argmax(1)


curves = {}
for stride in (32, 16, 8):
    for shift in range(0, stride + 1, stride // 8):
        confusion = ConfusionMatrix(len(CLASSES))
        for scene in scenes:
            labels = scene.labels["semantic"][None]
            confusion.update(labels, coarsened(labels, stride, shift))
        curves.setdefault(f"{stride}s", []).append((shift, confusion.metrics().mean_iu))

# %%
example = scenes[3]
labels = example.labels["semantic"][None]
tree = CLASSES.index("tree")
masks = {
    "stride 32, aligned": coarsened(labels, 32, 0)[0] == tree,
    "stride 32, 16 pixels off": coarsened(labels, 32, 16)[0] == tree,
    "stride 8, 4 pixels off": coarsened(labels, 8, 4)[0] == tree,
}
figures.shifted(example.image, {title: mask.numpy() for title, mask in masks.items()}, curves)
plt.show()

# %% [markdown]
# *Above: the outline of what is labelled tree after a trip through cells of 32 pixels (and of 8). Below: mean IU of
# the true labels after that trip, against the shift. At a shift of zero the curves show what the stride alone loses;
# [chapter 5](05_skips.ipynb) is about that loss.*
#
# Now read off what stretching costs a map with the strides and offsets of GoogLeNet's, though its cells know the
# truth:

# %%
shifts, scores = zip(*curves["32s"], strict=True)
off = float(fields["googlenet"][32].offset) - (32 - 1) / 2
print(f"mean IU at stride 32: {scores[0]:.0f} %; {off} pixels off: {np.interp(off, shifts, scores):.0f} %")

# %% [markdown]
# A net that is trained on a wrong grid may learn to make up for part of this, since its cells see far around them.
# Nothing makes that necessary.
#
# ## Borders
#
# Back to the ends of the tents. A transposed convolution fades at the border: beyond the last centre there is no
# second cell to add its share. Upsample a score that is 1 everywhere onto the first pixels of an image of 224×224:

# %%
profiles = {}
for name in ("vgg16", "googlenet"):
    grid = fields[name][32]
    ones = torch.ones(1, 1, 7, 7)
    layer = upsampler(1, grid, IMAGE, "bilinear")
    before = offset_between(grid.then(layer.field), IMAGE)  # fine cells before the first pixel
    plain = crop(layer(ones), before, (64, 64))
    repeated = upsample_onto(ones, layer, grid, IMAGE, (64, 64))
    profiles[name] = (plain[0, 0, 40], repeated[0, 0, 40])
figures.borders(profiles)
plt.show()

# %% [markdown]
# *Solid: what a plain transposed convolution leaves of a constant score near the edge of the image. Dashed: the same
# with the border cells repeated, as `upsample_onto` does.*
#
# The fading scales the scores of *all* classes at a pixel by the same number, so the largest stays the largest. Only
# where it reaches zero is an answer lost. What changes everywhere else is the confidence, and with it the loss:

# %%
grid = fields["googlenet"][32]
scores = torch.randn(1, 21, 7, 7)
layer = upsampler(21, grid, IMAGE, "bilinear")
plain = crop(layer(scores), offset_between(grid.then(layer.field), IMAGE), (224, 224))
repeated = upsample_onto(scores, layer, grid, IMAGE, (224, 224))
same = (plain.argmax(1) == repeated.argmax(1)).float().mean()
print(f"pixels with the same answer: {100 * same:.1f} %")
corner = [float(x[0, :, 0, 0].softmax(0).max()) for x in (plain, repeated)]
print(f"largest probability in the corner: {corner[0]:.2f} faded, {corner[1]:.2f} repeated")

# %% [markdown]
# The authors' release goes another way. It pads every image by 100 pixels, so that the stamps of the outermost cells
# reach beyond the image on every side, and crops what is outside. That needs crop offsets, which look like magic
# numbers in the released nets: 19 for FCN-32s, 27 for FCN-16s, and 5, 9 and 31 for FCN-8s. None of them is arbitrary.
#
# ## Deriving the crops
#
# Follow the centre of the first cell, in pixels of the image. A padding of $p$ moves it by $-p$; a kernel of $k$
# cells moves it by $(k - 1)/2$ cells; a transposed convolution with $k$ taps moves it back by $(k - 1)/2$ of the
# *finer* cells. For FCN-32s on VGG16:

# %%
with torch.device("meta"):
    net = fcn.FCN("vgg16", stride=32, num_classes=21, alignment="reference")
field, rows = IMAGE, []
for name, layer in net.trunk.named_children():
    field = field.then(fcn.receptive_field(layer))
    if name in ("conv1_1", "pool1", "pool2", "pool3", "pool4", "pool5", "fc6", "fc7"):
        rows.append((name, field.size, int(field.stride), float(field.offset)))
upscore = net.heads["scores"].upscore32.field
field = field.then(upscore)
rows.append(("upscore", field.size, int(field.stride), float(field.offset)))
pd.DataFrame(rows, columns=["after", "receptive field", "stride", "first cell centred on pixel"])

# %% [markdown]
# The padding of 100 and half of the 3×3 kernel put the first cell at $-100 + 1 = -99$. The other 3×3 convolutions are
# padded by their half and move nothing; each pool moves on by half a cell of its finer map. `fc6`, seven cells wide
# and no longer padded, moves by 3 cells of 32 pixels and brings the centre into the image, at 12.5. The 64 taps of
# the upsampling reach back by 31.5. So the first upsampled value belongs to pixel $-19$: crop 19. (The first cell is
# still centred inside the image, so the first 13 pixels fade, but all are covered.) For the skips there is one crop
# at every fusion, of the finer map onto the upsampled coarser one:


# %%
def crops(name, stride):
    """The crops of the reference alignment: of the scores of each skip, and of the pixels."""
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
# There they are. In this project no crop is typed in: `offset_between` derives each one when the net is built, and
# refuses a net whose maps do not fall on one grid. By default (`alignment="tight"`) the wasted border is left out as
# well; the maps then cover the image and no more, and the border cells are repeated.
#
# ## Learning the filter
#
# So far the filter was given. Now let a transposed convolution learn its own. The task: label maps averaged over 2×2
# cells, to be brought back. The start: random numbers.


# %%
def one_hot(count, split):
    """Each class's map of each scene, N x 1 x 64 x 64, those of which there is next to nothing left out."""
    scenes = Scenes(count, (64, 64), seed=here.seed, split=split)
    maps = torch.cat([(scene.labels["semantic"][None] == classes[0]).float() for scene in scenes])[:, None]
    return maps[maps.mean((1, 2, 3)) > 0.02]


average = nn.AvgPool2d(2, stride=2)
grid = fcn.receptive_field(average)


def error(layer, maps):
    upsampled = upsample_onto(average(maps), layer, grid, IMAGE, maps.shape[-2:])
    return (upsampled - maps).square().mean()


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

# %%
with torch.no_grad():
    nearest = Deconvolution(1, 2, 4)
    nearest.weight = torch.zeros_like(fixed.weight)
    nearest.weight[..., 1:3, 1:3] = 1  # each cell stamps its own four pixels
    errors = {
        name: error(layer, new_maps).sqrt().item()
        for name, layer in (("nearest", nearest), ("bilinear", fixed), ("learned", learned))
    }
    chance = error(fixed, maps).item()
figures.learning(snapshots, errors, curve, chance)
plt.show()

# %% [markdown]
# *The filter on its way from random numbers, and the bilinear one; below, the loss of each step and the root mean
# square error on the label maps of new scenes.*
#
# It finds a tent of its own: the same form, steeper, since the edges of label maps are sharp. The gain over the
# bilinear filter is small. That fits what is known of the whole nets. The paper learns the intermediate
# upsamplings, starting from bilinear, and fixes the last; in the authors' release all are fixed, and its README says
# that learning them made no significant difference.
#
# A learned filter has a risk that a fixed one has not. Nothing keeps its taps' sums equal, and where they differ a
# smooth map comes out with a pattern of the stride's period: the *checkerboards* of {cite:t}`odena2016`. It is worst
# where the filter's size is not a multiple of the stride, since some fine cells then get more stamps than others:

# %%
ones = torch.ones(1, 1, 9, 9)
torch.manual_seed(here.seed)
kernels = {
    "3×3 of equal taps": torch.full((1, 1, 3, 3), 4 / 9),
    "4×4 of random taps": torch.rand(1, 1, 4, 4) / 2,
    "4×4, bilinear": bilinear_filter(2)[None, None],
}
figures.checkerboards({name: F.conv_transpose2d(ones, k, stride=2)[0, 0, 4:14, 4:14] for name, k in kernels.items()})
plt.show()

# %% [markdown]
# *A constant map, upsampled by a factor of 2 with three filters. Only the last one leaves it constant.*
#
# ## Summary
#
# - Interpolation is a sum of stamped tents. A transposed convolution is a sum of stamps of any form: the backward
#   pass of a convolution, its matrix transposed.
# - With the bilinear filter, $2f$ or $2f - 1$ taps as the cells fall between pixels or on them, it equals
#   `F.interpolate`, borders apart.
# - Each map lies on a grid, of which the layers determine stride and offset. Stretching a map over the image ignores
#   the offset; half a cell of shift costs dearly.
# - The authors' crops 19, 27, 5, 9 and 31 follow from the layers, and so does every crop here.
# - Left to learn, the filter becomes a steeper tent. It is worth little here, as the authors report of their nets.
#
# ## Exercises
#
# 1. **Two steps or one.** Upsample a random map twice by 2 and once by 4, both bilinearly, on the grids that their
#    filters define. Where do the results agree, where do they differ, and by how much? Try the odd filters, then the
#    even ones, and explain why `upgrade_from` promises exact predictions for GoogLeNet but not for VGG16.
# 2. **A cubic stamp.** Build the filter of bicubic interpolation (four cells wide) as the stamp of a transposed
#    convolution. Check that its taps' sums are 1, and add its error to the bars of the learning experiment. Why may a
#    filter with negative taps be a bad idea for scores that are probabilities?
# 3. **Enough padding.** With a padding of 100 the first pixels of FCN-32s on VGG16 are faded. Derive the smallest
#    padding of the first layer at which they are not. What is the crop then? Check it with `offset_between`, on a
#    backbone whose first layer you pad so. What decides whether the last pixels fade?
