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
# # Fully connected layers are convolutions
#
# A classifier takes an image of one fixed size and names what it shows. Lay out the
# weights of its last layers as convolutions, and the same net takes an image of any
# size and shows *where*: it outputs a map of answers instead of one. Nothing is trained
# anew, and all the answers together cost a fraction of what they would cost patch by
# patch. Everything else in the paper builds on this.

# %% tags=["parameters", "hide-input"]
preset = "read"  # "read", "smoke", "small" or "paper": how often passes are timed
weights_root = ""  # folder of the ImageNet weights; empty: FCN_WEIGHTS
device = "auto"
seed = 0
results_dir = "../results"

# %% tags=["remove-input"]
import presets

here = presets.check(
    preset=preset,
    weights_root=weights_root,
    device=device,
    seed=seed,
    results_dir=results_dir,
)

# %% tags=["hide-input"]
import time
from functools import cache, partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import fcn
import photos
from fcn.classifiers import CLASSIFIERS, alexnet, googlenet
from fcn.convolutionalize import as_convolution, convolutionalize
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.data.synthetic.palette import CLASSES
from fcn.losses import pixel_softmax_loss
from fcn.pretrained import load_into, read_weights
from figures import convolutionalization as figures
from figures import shared, style

torch.manual_seed(here.seed)
style.use()
backbones = {name: CLASSIFIERS[name] for name in ("alexnet", "vgg16", "googlenet")}

# %% tags=["remove-input"]
kernel = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
large = torch.tensor([[2.0, 0.0, 1.0, 3.0], [1.0, 1.0, 0.0, 2.0], [0.0, 2.0, 1.0, 1.0]])
scores = nn.functional.conv2d(large[None, None], kernel[None, None])[0, 0]
figures.windows(large, kernel, scores, cell=(0, 2))
plt.show()

# %% [markdown]
# :::{caption} fig-windows
# :alt: A map of 3 by 4 numbers, convolved with a kernel of 2 by 2, gives a map of 2 by
# :  3 scores. A frame marks the window at the upper right of the map and the score
# :  computed from it, 2.
# A fully connected layer that reads a map of 2×2, used as a convolution on a larger
# map. The framed score is the layer's answer to the framed window:
# $1 \cdot 1 + 3 \cdot (-1) + 0 \cdot 0 + 2 \cdot 2 = 2$.
# :::
#
# ## What you will learn
#
# - why a fully connected layer ties a classifier to one size of image, and how the same
#   weights, laid out as a convolution, remove that limit;
# - what a cell of the resulting score map has seen, to the pixel, and why "the
#   classifier on that window" is almost, but not quite, the whole truth;
# - why one pass over a large image costs a fraction of classifying its patches, counted
#   and then measured on your machine;
# - what a 1×1 convolution is and what it saves, and why a loss summed over the cells
#   trains on every patch of the image at once.
#
# ## The claim
#
# The classifiers of the day end in fully connected layers: they take a map of fixed
# size, forget that it was a map, and output one vector of scores. {cite:t}`long2015`
# (section 3.1) read these layers differently. A fully connected layer *is* a
# convolution whose kernel happens to cover its whole input. Written that way, the net
# takes an image of any size and outputs a map of scores.
#
# Nets had run on larger inputs before, as the paper's section on related work says.
# {cite:t}`matan1991` extended a digit classifier to strings of digits: the first
# convnet for inputs of arbitrary size, as far as the FCN's authors know.
# {cite:t}`wolf1994` computed two-dimensional maps of detection scores for the four
# corners of postal address blocks. OverFeat {cite:p}`sermanet2014` slid a classifier
# over photos to find objects. The FCN trains the whole net, end to end, for a label at
# every pixel.
#
# :::{note}
# Three limits of this chapter. Times were measured when the page was made, on other
# hardware and with other software than the paper's (a GPU and Caffe), so compare orders
# of magnitude. GoogLeNet on six photos is a demonstration, not an evaluation. The net
# with 1×1 convolutions is trained and scored on synthetic scenes.
# :::
#
# ## An example that fits on the page
#
# Take a fully connected layer with one output that reads a 2×2 map. It flattens the map
# to four numbers, multiplies them by four weights and adds up:

# %%
layer = nn.Linear(4, 1)
layer.weight.data = torch.tensor([[1.0, -1.0, 0.0, 2.0]])
layer.bias.data = torch.tensor([0.0])

small = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
layer(small.flatten()).item()

# %% [markdown]
# $2 \cdot 1 + 0 \cdot (-1) + 1 \cdot 0 + 1 \cdot 2 = 4$. Give it a map of 3×4 cells and
# it stops with an error: twelve numbers do not fit four weights. Now lay out the four
# weights as the 2×2 kernel of a convolution. Nothing is recomputed; the tensor only
# gets another shape:

# %%
convolution = as_convolution(layer, kernel=2)
print(tuple(layer.weight.shape), "->", tuple(convolution.weight.shape))

large = torch.tensor([[2.0, 0.0, 1.0, 3.0], [1.0, 1.0, 0.0, 2.0], [0.0, 2.0, 1.0, 1.0]])
with torch.no_grad():
    print("the small map:", convolution(small[None, None])[0, 0].tolist())
    scores = convolution(large[None, None])[0, 0]
scores.tolist()

# %% [markdown]
# On the small map the convolution has room for one position and outputs the same 4. On
# the larger map it outputs six scores, one for each window, each what the layer would
# answer to that window alone ({numref}`fig-windows`).
#
# With $C$ channels and $K$ outputs only the bookkeeping changes: the $K \times C k^2$
# matrix of the layer is read as $K$ kernels of $C \times k \times k$. The layers after
# it, which read a vector, now read one vector per position: their kernels are 1×1.
#
# ## Three classifiers without a fixed size
#
# `convolutionalize` does this to a whole classifier. Here are the fully connected
# layers of the paper's three nets, before and after. (They are built on PyTorch's
# `meta` device, which knows shapes and stores no numbers.)

# %%
rows = []
for name, build in backbones.items():
    with torch.device("meta"):
        before = dict(build().named_modules())
        after = dict(convolutionalize(build()).named_modules())
    for key, module in before.items():
        if isinstance(module, nn.Linear):
            conv = after[key]
            kernel = f"{conv.kernel_size[0]}x{conv.kernel_size[1]}"
            sizes = (module.in_features, module.out_features, kernel, conv.in_channels)
            rows.append((name, key, *sizes))
columns = ["net", "layer", "inputs", "outputs", "kernel", "channels"]
pd.DataFrame(rows, columns=columns).set_index("net")

# %% [markdown]
# :::{caption} tab-conv-layers
# The fully connected layers of the three classifiers: inputs and outputs before, kernel
# and input channels after the conversion.
# :::
#
# On an image of the classifier's own size both forms output the same numbers. We check
# this on narrow copies of the nets (an eighth of the channels) with random weights,
# since the identity holds for any weights:

# %%
for name, build in backbones.items():
    classifier = build(width=0.125).eval()
    dense = convolutionalize(classifier).eval()
    image = torch.randn(1, 3, classifier.input_size, classifier.input_size)
    with torch.no_grad():
        vector, map_of_scores = classifier(image), dense(image)
    torch.testing.assert_close(map_of_scores.flatten(1), vector)
    print(f"{name}: {tuple(vector.shape)} and {tuple(map_of_scores.shape)}, equal")

# %% [markdown]
# ## Any size of image
#
# Now the same net runs on larger images, which the classifier would have refused. The
# paper's own example is AlexNet on 500×500 pixels, which results in a map of 10×10.

# %%
sizes = [(224, 224), (227, 227), (256, 320), (375, 500), (500, 500), (1080, 1920)]
table = {}
for name, build in backbones.items():
    with torch.device("meta"):
        dense = convolutionalize(build())
        for height, width in sizes:
            fits = min(height, width) >= build().input_size
            h, w = (
                dense(torch.empty(1, 3, height, width)).shape[-2:] if fits else (0, 0)
            )
            table.setdefault(name, []).append(f"{h} x {w}" if fits else "too small")
pd.DataFrame(table, index=pd.Index([f"{h} x {w}" for h, w in sizes], name="image"))

# %% [markdown]
# :::{caption} tab-conv-sizes
# The size of the score map for images of six sizes (height × width).
# :::
#
# Windows of 227 pixels at steps of 32 fit only nine times into 500 pixels. The tenth
# cell comes from the max pools: they round the size of their output up, as Caffe's do,
# so that a last window may reach beyond the map.
#
# ## What a cell has seen
#
# Neighbouring cells are 32 pixels apart in the image: the product of the strides on the
# way. It is tempting to say that a cell holds the classifier's answer to its window of
# 227×227 pixels. Let us be exact. `receptive_field` composes the layers by the rule of
# section 3: a layer with kernel $k$ and stride $s$, on top of one with $k'$ and $s'$,
# has the kernel $k' + (k - 1)\,s'$ and the stride $s\,s'$.

# %%
classifier = alexnet(width=0.125).eval()
dense = convolutionalize(classifier).eval()
field = fcn.receptive_field(dense)
print(f"classifier's window {classifier.input_size} pixels,", end=" ")
print(f"receptive field {field.size} pixels")
print(f"cell i is centred on pixel {field.stride} i + {field.offset}")

# %% [markdown]
# The receptive field is *larger* than the classifier's input. That is no mistake:
# layers inside the net pad their maps with zeros, so on its own image part of what the
# classifier "sees" is padding. Two experiments on one cell show the difference. First,
# cut out the cell's receptive field and run the net on nothing else:

# %%
image = torch.randn(1, 3, 500, 500)
i = 3  # the cell in row 3 and column 3
centre = int(field.stride * i + field.offset)


def cut_out(side):
    first = centre - side // 2
    return image[..., first : first + side, first : first + side]


with torch.no_grad():
    scores = dense(image)[..., i, i]
    alone = dense(cut_out(field.size))
    # the same cell in the smaller map
    j = int((field.size // 2 - field.offset) / field.stride)
    torch.testing.assert_close(alone[..., j, j], scores)
    print(f"a map of {tuple(alone.shape[-2:])};", end=" ")
    print(f"its cell ({j}, {j}) is the cell ({i}, {i}) of the whole image")

# %% [markdown]
# The cut-out is larger than the classifier's window, so it yields 5×5 cells; the middle
# one has the whole cut-out as its receptive field. Its numbers are the same as before:
# a cell depends on its receptive field and on nothing else. Second, run the classifier
# itself, with its fully connected layers, on the window that it was made for:

# %%
with torch.no_grad():
    windowed = classifier(cut_out(classifier.input_size))
difference = (windowed - scores).square().mean().sqrt() / scores.std()
print(f"typical difference: {difference:.2f} standard deviations of the scores")

# %% [markdown]
# Near, for these random weights, but not the same: the window has zeros where the
# larger image has its surroundings. Only a net without padding reproduces the
# classification of every window exactly; the end of this chapter has one. For the
# published nets, dense evaluation is the classifier *with real surroundings instead of
# zeros*.
#
# ## A classifier that shows where
#
# Time for real weights. We use the GoogLeNet of BVLC, the group behind Caffe
# {cite:p}`szegedy2015,jia2014`, twice. It was trained on the 1000 classes of ImageNet
# {cite:p}`russakovsky2015`. First, as it was published, on a photo of Chelsea the cat.
# If the folder `weights_root` holds the weights, this page computes the answers;
# otherwise it shows the ones that this project saved.

# %%
weights = (here.weights or Path()) / "bvlc_googlenet.caffemodel"
CATS = slice(281, 286)  # tabby, tiger cat, Persian cat, Siamese cat, Egyptian cat


@cache
def bvlc_googlenet():
    net = googlenet().eval()
    load_into(net, read_weights(weights, "googlenet"))
    return net


def as_caffe(images):
    """RGB in 0..1 to BGR in 0..255 minus the mean, as the weights expect."""
    return images.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)


def class_names():
    # torchvision lists the same 1000 classes in the same order
    from torchvision.models import GoogLeNet_Weights

    return np.array(GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"])


@torch.no_grad()
def classify_cat():
    """The five likeliest classes of the middle of scikit-image's chelsea, 224 x 224."""
    image = photos.filled(photos.photo("chelsea"), (224, 224))
    probabilities, classes = bvlc_googlenet()(as_caffe(image)).softmax(1)[0].topk(5)
    return {"probabilities": probabilities, "names": class_names()[classes]}


# %% tags=["hide-input", "nbval-ignore-output"]
guess, live = here.snapshot("googlenet-cat", classify_cat, weights.is_file(), [weights])
print(here.source("googlenet-cat", live))

# %% tags=["remove-input"]
cat = photos.filled(photos.photo("chelsea"), (224, 224))[0]
figures.guesses(cat, guess["names"], guess["probabilities"])
plt.show()

# %% [markdown]
# :::{caption} fig-guesses
# :alt: Left, the face of a ginger cat. Right, bars of the five likeliest classes, three
# :  domestic cats at the top, then two wild cats.
# Chelsea (photo: Stéfan van der Walt, CC0) and the five likeliest of 1000 classes. The
# first three are domestic cats, the others their wild relatives: the net hesitates over
# the breed, not the animal.
# :::
#
# A classifier says *what*. Now take the same weights, convolutionalized, and a sheet of
# six photos, 600×1350 pixels. The net was never trained to say where anything is, and
# nobody drew a box.

# %%
tiles = [["coffee", "china", "flower"], ["rocket", "chelsea", "astronaut"]]
sheet = photos.sheet(tiles, tile=(300, 450))
with torch.device("meta"):
    field = fcn.receptive_field(convolutionalize(googlenet()))


@torch.no_grad()
def find_cat():
    """The answers of a convolutionalized GoogLeNet to each window of the sheet."""
    dense = convolutionalize(bvlc_googlenet()).eval()
    probabilities = dense(as_caffe(sheet)).softmax(1)[0]
    sure, classes = probabilities.max(0)
    return {
        "cat": probabilities[CATS].sum(0),
        "sure": sure,
        "names": class_names()[classes],
    }


# %% tags=["hide-input", "nbval-ignore-output"]
found, live = here.snapshot("googlenet-heatmap", find_cat, weights.is_file(), [weights])
print(here.source("googlenet-heatmap", live))

# %% tags=["remove-input"]
window = googlenet().input_size
figures.answers(sheet[0], field, window, found["cat"], found["names"], found["sure"])
plt.show()

# %% [markdown]
# :::{caption} fig-heatmap
# :alt: A sheet of six photos, shown twice. Above, class names mark the cells that are
# :  surest of their class. Below, a heatmap lights up on the photo of the cat and is
# :  dark on the other five.
# Above: the likeliest of 1000 classes, at the surest cells, all more than half sure and
# well apart. The 1000 include no dahlia, so the flower is called a honeycomb. Below:
# the total probability of the five classes of domestic cat, over the (darker) area that
# has cells; the dashed square is the window of the surest cell. Photos: Rachel
# Michetti, SpaceX, Stéfan van der Walt (CC0), NASA (public domain), danielbuechele and
# vultilion (CC BY 2.0).
# :::

# %% tags=["hide-input"]
centres = figures.field_centres(field, 36)
hits = np.argwhere(found["cat"] > 0.5)
photos_hit = {tiles[int(centres[r] // 300)][int(centres[c] // 450)] for r, c in hits}
print("photos with a cell more than half sure of a cat:", ", ".join(sorted(photos_hit)))

# %% [markdown]
# The map is coarse, one cell every 32 pixels, and its cells stop half a window short of
# the edges of the sheet. It knows roughly where the cat is, not to the pixel. Two
# things are missing: a way back to the pixels ([chapter 4](04_upsampling.ipynb)) and a
# finer sense of place ([chapter 5](05_skips.ipynb)).
#
# ## What it costs
#
# Patch by patch, the windows of neighbouring cells overlap almost entirely, and the net
# repeats the convolutions for each. One pass over the image computes the overlap once.
# How much does that save? We count multiply-adds for the 10×10 map of the paper's
# example, and for the other two nets on the same 500×500 image.


# %%
def multiply_adds(net, size):
    """10^9 multiply-adds of convolutions and of (once) connected layers, and cells."""
    counts = [0, 0]

    def count(once_connected, layer, inputs, output):
        # every weight, at every cell
        counts[once_connected] += layer.weight.numel() * output[0, 0].numel()

    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            connected = name.startswith(("fc", "loss3"))
            layer.register_forward_hook(partial(count, connected))
    cells = net(torch.empty(1, 3, size, size))[0, 0].numel()
    return counts[0] / 1e9, counts[1] / 1e9, cells


# %%
rows, counted = [], {}
for name, build in backbones.items():
    with torch.device("meta"):
        *one_pass, cells = multiply_adds(convolutionalize(build()), 500)
        *one_patch, _ = multiply_adds(build(), build().input_size)
    patches = [cells * work for work in one_patch]
    counted[name] = {"in one pass": one_pass, "patch by patch": patches}
    work = (sum(one_pass), sum(patches), sum(patches) / sum(one_pass))
    rows.append((name, cells, *(round(number, 1) for number in work)))
columns = ["net", "cells", "in one pass", "patch by patch", "ratio"]
pd.DataFrame(rows, columns=columns).set_index("net")

# %% [markdown]
# :::{caption} tab-conv-work
# Billions of multiply-adds for all cells of a 500×500 image, in one pass and patch by
# patch, and the ratio of the two.
# :::
#
# AlexNet saves least: more than half of its work in one pass is in the layers that were
# fully connected, where each cell has its own window and shares nothing. Now measure
# the time of one pass over a 500×500 image and of 100 patches, forward and backward.
# The paper measured on a GPU: 22 ms against $100 \times 1.2$ ms forward, "more than 5
# times faster", and 37 ms against $100 \times 2.4$ ms backward. Its 1.2 ms is the time
# of a patch in a batch; alone, a patch takes 5.4 ms. So we vary the batch size, and
# time the convolutional and the fully connected layers separately.

# %%
TRIES = {"read": 2, "smoke": 1, "small": 4, "paper": 20}[here.preset]


def clock():
    """Seconds; of processor time with one CPU thread, to ignore other work."""
    if here.device != "cpu":
        torch.accelerator.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def seconds(layers, maps):
    """Fastest forward and fastest backward pass, and the output."""
    times = []
    for _ in range(TRIES):
        layers.zero_grad()
        start = clock()
        output = layers(maps)
        middle = clock()
        output.sum().backward()
        times.append((middle - start, clock() - middle))
    forward, backward = np.min(times, axis=0)
    return forward, backward, output.detach().requires_grad_()


def both_parts(net, images):
    """Seconds of the convolutional layers, forward and backward, then of the others."""
    layers = dict(net.named_children())
    fc6 = [*layers].index("pool5") + 1
    first, second = [*layers.values()][:fc6], [*layers.values()][fc6:]
    *convolutional, maps = seconds(nn.Sequential(*first), images)
    *connected, _ = seconds(nn.Sequential(*second), maps)
    return np.array([*convolutional, *connected])


# %%
classifier = alexnet().to(here.device)
whole = torch.rand(1, 3, 500, 500, device=here.device)
measured = {"one pass": both_parts(convolutionalize(classifier), whole)}
for batch in (1, 10, 100):
    patches = torch.rand(batch, 3, 227, 227, device=here.device)
    spent = 100 / batch * both_parts(classifier, patches)
    measured[f"100 patches, batches of {batch}"] = spent

# %% tags=["hide-input", "nbval-ignore-output"]
parts = ["conv1 to pool5", "fc6 to fc8"]
columns = pd.MultiIndex.from_product([parts, ["forward", "backward"]])
table = pd.DataFrame.from_dict(measured, orient="index", columns=columns)
table.map("{:.3f} s".format)

# %% [markdown]
# :::{caption} tab-conv-times
# Measured seconds for 100 cells of AlexNet, in one pass and as patches.
# :::

# %% tags=["hide-input", "nbval-ignore-output"]
both = table.T.groupby(level=1, sort=False).sum().T
ratios = both.iloc[1:] / both.loc["one pass"]  # times as fast
ratios.round(1)

# %% [markdown]
# :::{caption} tab-conv-speedup
# The speed-up of one pass over 100 patches, forward and backward.
# :::

# %% tags=["remove-input", "nbval-ignore-output"]
in_batches = ratios.loc["100 patches, batches of 100"]
one_pass, patchwise = counted["alexnet"].values()
forward = {
    "counted": sum(patchwise) / sum(one_pass),
    "this machine": in_batches["forward"],
    "the paper": 100 * 1.2 / 22,
}
backward = {"this machine": in_batches["backward"], "the paper": 100 * 2.4 / 37}
figures.costs(counted["alexnet"], {"forward": forward, "backward": backward})
plt.show()
shared.glue_values(
    shared_backward=table.iloc[-1, 1] / table.iloc[0, 1],
    connected_share=100 * table.iloc[0, 3] / both.loc["one pass", "backward"],
    alone=ratios["backward"].iloc[0],
    batched=ratios["backward"].iloc[-1],
)

# %% [markdown]
# :::{caption} fig-costs
# :alt: Left, stacked bars of multiply-adds. Patch by patch needs several times as many
# :  as one pass, and most of the difference is in the convolutions. Right, bars of the
# :  speed-up of one pass, on this machine and in the paper, forward and backward, and
# :  for forward as counted.
# AlexNet on 500×500 pixels. Left: multiply-adds for the 100 cells. Right: the speed-up
# of one pass over patches in batches of 100. The bars of this machine were measured
# when this page was made; run the chapter to measure yours.
# :::
#
# The overall ratio hides two different ones. The patches overlap in the convolutional
# layers, and there one pass is {glue:text}`shared_backward:.0f` times as fast backward.
# The fully connected layers need as many multiply-adds for 100 cells as for 100
# patches. They share nothing, and take {glue:text}`connected_share:.0f` % of the
# backward time of the one pass.
#
# The batch size matters too. A backward pass writes a gradient for each of AlexNet's 61
# million weights, once per batch. So, backward, one pass is {glue:text}`alone:.0f`
# times as fast as patches one by one, but only {glue:text}`batched:.1f` times as fast
# as a batch of 100. With the paper's backward times, the latter ratio is 6.5.
#
# ## The three nets as FCNs
#
# Drop the last layer, which knows only ImageNet's classes, add a 1×1 convolution that
# scores the 21 classes of PASCAL VOC, and the classifiers become FCNs (section 4.1):

# %%
table = {}
for name, build in backbones.items():
    with torch.device("meta"):
        net = fcn.FCN(name, stride=32, num_classes=21)
        whole_classifier = convolutionalize(build())
    table[name] = {
        "parameters": f"{sum(p.numel() for p in net.parameters()) / 1e6:.0f}M",
        "field": fcn.receptive_field(net).size,
        "classifier's field": fcn.receptive_field(whole_classifier).size,
        "stride": int(fcn.receptive_field(net).stride),
    }
pd.DataFrame(table).T

# %% [markdown]
# :::{caption} tab-conv-nets
# The three nets: parameters, receptive field of the FCN and of the whole classifier,
# and stride.
# :::
#
# GoogLeNet's classifier ends with an average over 7×7 cells, which widens its receptive
# field by $6 \times 32$ pixels. Its FCN goes without, as section 4.1 says. [Chapter
# 7](07_pascal_voc.ipynb) compares these nets with the paper's Table 1.
#
# ## 1×1 convolutions
#
# The score layer that we just added is a convolution with a kernel of one cell. It has
# no neighbourhood: it is one linear classifier that reads the channels of a cell,
# applied to each cell in turn.

# %%
score = nn.Conv2d(512, 21, kernel_size=1)
linear = nn.Linear(512, 21)
linear.weight.data, linear.bias.data = score.weight.data.flatten(1), score.bias.data

cells = torch.randn(1, 512, 12, 16)
torch.testing.assert_close(score(cells), linear(cells.movedim(1, -1)).movedim(-1, 1))

# %% [markdown]
# Several of them with nonlinearities in between make a small network that runs at every
# cell: the *network in network* of {cite:t}`lin2014`, from which GoogLeNet took the
# idea.

# %%
with torch.device("meta"):
    modules = [*googlenet().modules()]
convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
pointwise = sum(m.kernel_size == (1, 1) for m in convolutions)
print(f"{pointwise} of GoogLeNet's {len(convolutions)} convolutions are 1x1")

# %% [markdown]
# GoogLeNet uses them to save work. In each of its inception blocks, a 1×1 convolution
# reduces the channels before the 3×3 and the 5×5 convolution read them. How many
# multiplications does that save per cell of the map? Every weight multiplies once, so
# we count weights, and compare them with a block whose 3×3 and 5×5 kernels read all
# channels themselves:


# %%
def multiplications(block, reduced):
    """Per cell, with the 1x1 reductions or without them."""
    total = 0
    for name, layer in block.named_children():
        if isinstance(layer, nn.Conv2d) and (reduced or not name.endswith("_reduce")):
            inputs = (
                layer.in_channels if reduced else block.get_submodule("1x1").in_channels
            )
            total += inputs * layer.out_channels * layer.kernel_size[0] ** 2
    return total


blocks = [m for m in modules if hasattr(m, "branches")]
work = [(multiplications(m, True), multiplications(m, False)) for m in blocks]
print("inception_3a: {:,} multiplications per cell instead of {:,}".format(*work[0]))
savings = [without / reduced for reduced, without in work]
print(f"all {len(blocks)} blocks: {min(savings):.1f} to {max(savings):.1f} times fewer")

# %% [markdown]
# How much can a network of *only* 1×1 convolutions tell? Train one on a few synthetic
# scenes. It sees three numbers, the colour of one pixel, and has to name the class of
# that pixel.


# %%
def batch_of(scenes):
    samples = [scenes[i] for i in range(len(scenes))]
    images = torch.stack([sample.image for sample in samples]) / 255
    return images, torch.stack([sample.labels["semantic"] for sample in samples])


images, labels = batch_of(Scenes(16, (48, 48), seed=here.seed))
torch.manual_seed(here.seed)
pixel_net = nn.Sequential(
    nn.Conv2d(3, 32, 1),
    nn.ReLU(),
    nn.Conv2d(32, 32, 1),
    nn.ReLU(),
    nn.Conv2d(32, len(CLASSES), 1),
)
optimizer = torch.optim.Adam(pixel_net.parameters(), lr=0.01)
for _ in range(120):
    optimizer.zero_grad()
    pixel_softmax_loss(pixel_net(images - 0.5), labels).backward()
    optimizer.step()

# %%
images, labels = batch_of(Scenes(12, (128, 128), seed=here.seed, split="test"))
with torch.no_grad():
    guessed = pixel_net(images - 0.5).argmax(1)
confusion = fcn.metrics.ConfusionMatrix(len(CLASSES))
confusion.update(labels, guessed)
accuracy = confusion.metrics().pixel_accuracy
columns = {
    "its labels": labels[:3],
    f"from each pixel's colour alone\n({accuracy:.0f} % of the pixels right)": guessed[
        :3
    ],
}
shared.labellings(images[:3], columns, CLASSES, PALETTE)
plt.show()

# %% [markdown]
# :::{caption} fig-pixel-net
# :alt: Three synthetic scenes in rows. The guesses in the last column have the sharp
# :  edges of the labels in the middle one, but grey and green areas are often given the
# :  wrong class.
# Scenes that the net has not seen, their labels, and its guesses.
# :::
#
# Colour says a surprising amount, and every edge is sharp. But grey may be a road, a
# wall or a mountain, and from one pixel nobody can tell. This net knows *where* to the
# pixel and is poor at *what*. The deep nets above have the opposite trouble: a cell has
# seen hundreds of pixels around it, but there is only one every 32 pixels. [Chapter
# 5](05_skips.ipynb) combines the two.
#
# ## A loss over cells is a batch of patches
#
# One more thing follows, and the paper begins with it (section 3). Put a loss on every
# cell and add up. Then
#
# $$
# \begin{aligned}
# \ell(x; \theta) &= \sum_{ij} \ell'(x_{ij}; \theta) \quad\text{and so} \\
# \nabla_\theta\, \ell(x; \theta) &= \sum_{ij} \nabla_\theta\, \ell'(x_{ij}; \theta),
# \end{aligned}
# $$
#
# with $x_{ij}$ the receptive field of cell $(i, j)$. The right-hand side is the
# gradient of a batch that holds each receptive field as a separate image. Stochastic
# gradient descent on whole images *is* patchwise training, with all the patches of the
# image as the batch. A small net without padding shows it exactly:

# %%
net = nn.Sequential(
    nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 4, 3)
).double()
window, step = fcn.receptive_field(net).size, int(fcn.receptive_field(net).stride)
image = torch.randn(1, 3, 21, 21, dtype=torch.float64)
patches = image.unfold(2, window, step).unfold(3, window, step)
patches = patches.movedim(1, 3).reshape(-1, 3, window, window)
labels = torch.randint(0, 4, (1, 7, 7))


def gradient(images, labels):
    net.zero_grad()
    pixel_softmax_loss(net(images), labels, reduction="sum").backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


on_the_image = gradient(image, labels)
on_the_patches = gradient(patches, labels.reshape(-1, 1, 1))
torch.testing.assert_close(on_the_image, on_the_patches)
print(f"one image of {tuple(image.shape[2:])},", end=" ")
print(f"or {len(patches)} patches of {window} x {window}: the same gradient")

# %% [markdown]
# Patchwise training had one freedom: it could draw its patches at random. Section 3.4
# restores it by dropping cells from the sum (`pixel_softmax_loss(..., keep=0.25)`).
# Section 4.3 finds that this does not speed up convergence and takes more time
# (chapter 11 has our runs).
#
# ## Summary
#
# - A fully connected layer is a convolution whose kernel covers its input. Reshape its
#   weights, and a classifier of one image becomes a map of answers for an image of any
#   size. Nothing is trained anew.
# - A cell depends on its receptive field. For nets with padding that is more than the
#   classifier's window, so dense evaluation and cropping agree nearly, not exactly.
# - One pass shares the convolutions of overlapping windows. The layers that were fully
#   connected share nothing.
# - A 1×1 convolution is a classifier at each cell. As the score layer it turns features
#   into class scores; as a reduction it saves multiplications.
# - A loss summed over cells trains on every receptive field at once.
#
# ## Exercises
#
# 1. *Where patches win.* The saving comes from overlap. Suppose that you want only a
#    few answers. Use `multiply_adds` to find the step between patches at which
#    classifying AlexNet's patches costs no more than one pass. What does that say about
#    sparse detection?
#
#    :::{dropdown} Solution
#    One pass costs 9.3 billion multiply-adds, a patch 72.4 / 100, so one pass costs as
#    much as 12.8 patches. The 10×10 cells are 32 pixels apart. At every third cell (96
#    pixels) there are 4×4 = 16 patches, still too many. At every fourth (128 pixels)
#    there are 3×3 = 9, and patches win. So a detector that proposes up to a dozen
#    windows per image may as well cut them out; one that looks everywhere should not.
#    :::
#
# 2. *Shift and stitch.* Shift the sheet by 16 pixels to the right, down, and both,
#    run the convolutionalized GoogLeNet on each (section 3.2; this needs the weights),
#    and interlace the four maps into one of stride 16. Compare it with the stride-32
#    map interpolated to the same grid. What did the fourfold cost buy?
#
#    :::{dropdown} Solution
#    Moved to the right by 16 pixels, the sheet has at cell $i$ what was 16 pixels
#    further left: the cell is centred on pixel $32\,i + o - 16$ of the original, $o$
#    being the offset of the map. So each shifted map fills the gaps of the first, in
#    columns, in rows or in both. Where the first map has a cell, the interlaced and the
#    interpolated map agree. Between its cells, the interlaced map holds the net's
#    answer for that place, the interpolated map an average of the neighbours' answers.
#    But every answer still has the same receptive field: the cost buys a finer grid,
#    not a finer eye ([chapter 11](11_patches_shifts_stitches.ipynb)). To see how much
#    that changes the outline of the cat, run it with the weights.
#    :::
#
# 3. *Trading the average pool.* GoogLeNet averages 7×7 cells and then classifies
#    linearly. Both steps are linear. Show that scoring each cell of `inception_5b`
#    first and averaging the scores afterwards results in the same map, then leave out
#    the average. What is the receptive field of each cell now, and what happens to the
#    cat?
#
#    :::{dropdown} Solution
#    The score of an average is the average of the scores,
#    $W \frac1n \sum_i x_i + b = \frac1n \sum_i (W x_i + b)$, so the order of the two
#    steps does not matter. (Dropout, between them, does nothing outside training.)
#    Without the average the receptive field of a cell is 715 pixels instead of 907
#    ({numref}`tab-conv-nets`), and the map is 6 cells larger in each direction: 15×15
#    instead of 9×9 on 500×500 pixels. To see what happens to the cat, run it with the
#    weights.
#    :::
