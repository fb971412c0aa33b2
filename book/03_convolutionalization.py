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
# ## What you will learn
#
# - why a fully connected layer ties a classifier to one size of image, and how the same weights, laid out as a
#   convolution, set it free;
# - what a cell of the resulting map of scores has seen, to the pixel, and why "the classifier on that window" is
#   almost but not quite the whole truth;
# - why one pass over a large image costs a fraction of classifying its patches, counted and then measured on your
#   machine;
# - what a 1×1 convolution is, and why a loss summed over the cells trains on every patch of the image at once.

# %% tags=["parameters"]
preset = "read"  # "read", "smoke", "small" or "paper": how many times each pass is timed
weights_root = ""  # folder of the ImageNet weights; empty: FCN_WEIGHTS
device = "auto"
seed = 0
results_dir = "../results"

# %%
import presets

here = presets.check(preset=preset, weights_root=weights_root, device=device, seed=seed, results_dir=results_dir)

# %%
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
backbones = {name: CLASSIFIERS[name] for name in ("alexnet", "vgg16", "googlenet")}  # the paper's three

# %% [markdown]
# ## The claim
#
# The classifiers of the day end in fully connected layers: they take a map of fixed size, forget that it was a map,
# and put out one vector of scores. {cite:t}`long2015` (section 3.1) read these layers differently. A fully connected
# layer *is* a convolution, whose kernel happens to cover its whole input. Written so, the net takes an image of any
# size and puts out a map of scores instead of a single vector, with the weights it was trained with and at a fraction
# of the cost of classifying patch by patch.
#
# Nets had run on larger inputs before, as the paper's section on related work says. {cite:t}`matan1991` extended a
# digit classifier to strings of digits; as far as the paper's authors know, it was the first convnet for inputs of
# arbitrary size. {cite:t}`wolf1994` computed two-dimensional maps of detection scores for the four corners of the
# address block on pieces of mail. OverFeat {cite:p}`sermanet2014` slid a classifier over photos to find objects. What
# the FCN adds is to train the whole net, end to end, for a label at every pixel.
#
# ## An example that fits on the page
#
# Take a fully connected layer with one output that reads a 2×2 map. It flattens the map to four numbers, multiplies
# them with four weights and adds up:

# %%
layer = nn.Linear(4, 1)
layer.weight.data = torch.tensor([[1.0, -1.0, 0.0, 2.0]])
layer.bias.data = torch.tensor([0.0])

small = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
layer(small.flatten()).item()

# %% [markdown]
# $2 \cdot 1 + 0 \cdot (-1) + 1 \cdot 0 + 1 \cdot 2 = 4$. Give it a map of 3×4 cells and it stops with an error:
# twelve numbers do not fit four weights. Now lay the four weights out as the 2×2 kernel of a convolution. Nothing is
# computed anew, the tensor only gets another shape:

# %%
convolution = as_convolution(layer, kernel=2)
print(tuple(layer.weight.shape), "->", tuple(convolution.weight.shape))

large = torch.tensor([[2.0, 0.0, 1.0, 3.0], [1.0, 1.0, 0.0, 2.0], [0.0, 2.0, 1.0, 1.0]])
with torch.no_grad():
    print("the small map:", convolution(small[None, None])[0, 0].tolist())
    scores = convolution(large[None, None])[0, 0]
scores.tolist()

# %% [markdown]
# On the small map the convolution has room for one position, and gives the same 4. On the larger map it gives six
# scores, each of them what the layer would say of that window:

# %%
figures.windows(large, convolution.weight.detach()[0, 0], scores, cell=(0, 2))
plt.show()

# %% [markdown]
# :::{caption} fig-windows
# :alt: A map of 3 by 4 numbers, convolved with a kernel of 2 by 2, gives a map of 2 by 3 scores. A frame marks
# :  the window at the upper right of the map and the score computed from it, 2.
# The framed score is the layer's answer to the framed window:
# $1 \cdot 1 + 3 \cdot (-1) + 0 \cdot 0 + 2 \cdot 2 = 2$.
# :::
#
# With $C$ channels and $K$ outputs nothing changes but the bookkeeping: the $K \times C k^2$ matrix of the layer is
# read as $K$ kernels of $C \times k \times k$. The layers after it, which read a vector, now read one vector a
# position: kernels of 1×1.
#
# ## Three classifiers, freed
#
# `convolutionalize` does this to a whole classifier. Here are the fully connected layers of the paper's three nets
# before and after. (Built on PyTorch's `meta` device, which knows shapes and stores no numbers.)

# %%
rows = []
for name, build in backbones.items():
    with torch.device("meta"):
        before = dict(build().named_modules())
        after = dict(convolutionalize(build()).named_modules())
    for key, module in before.items():
        if isinstance(module, nn.Linear):
            kernel = f"{after[key].kernel_size[0]}x{after[key].kernel_size[1]}"
            rows.append((name, key, module.in_features, module.out_features, kernel, after[key].in_channels))
pd.DataFrame(rows, columns=["net", "layer", "inputs", "outputs", "kernel", "channels"]).set_index("net")

# %% [markdown]
# :::{caption} tab-connected
# The fully connected layers of three classifiers, and their kernels as convolutions.
# :::
#
# On an image of the classifier's own size both forms put out the same numbers. Checked here on narrow copies of the
# nets (an eighth of the channels) with random weights, since the identity holds whatever the weights are:

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
# And this is the gain: the same net on larger images, none of which the classifier would have taken. The paper's own
# example is an AlexNet on 500×500 pixels, which gives a map of 10×10.

# %%
sizes = [(224, 224), (227, 227), (256, 320), (375, 500), (500, 500), (1080, 1920)]
table = {}
for name, build in backbones.items():
    with torch.device("meta"):
        dense = convolutionalize(build())
        for height, width in sizes:
            fits = min(height, width) >= build().input_size
            h, w = dense(torch.empty(1, 3, height, width)).shape[-2:] if fits else (0, 0)
            table.setdefault(name, []).append(f"{h} x {w}" if fits else "too small")
pd.DataFrame(table, index=pd.Index([f"{h} x {w}" for h, w in sizes], name="image"))

# %% [markdown]
# :::{caption} tab-sizes
# Cells of the map of scores for images of several sizes, in pixels.
# :::
#
# ## What a cell has seen
#
# Each step from cell to cell is a step of 32 pixels in the image: the product of the strides on the way. It is
# tempting to say that a cell holds what the classifier would say of its window of 227×227 pixels. Let us be exact.
# `receptive_field` composes the layers by the rule of section 3: a layer with kernel $k$ and stride $s$ on top of one
# with $k'$ and $s'$ has the kernel $k' + (k - 1)\,s'$ and the stride $s\,s'$.

# %%
classifier = alexnet(width=0.125).eval()
dense = convolutionalize(classifier).eval()
field = fcn.receptive_field(dense)
print(f"classifier's window {classifier.input_size} pixels, receptive field {field.size} pixels")
print(f"cell i is centred on pixel {field.stride} i + {field.offset}")

# %% [markdown]
# The receptive field is *larger* than the classifier's input. That is no mistake: layers inside the net pad their
# maps with zeros, so on its own image part of what the classifier "sees" is padding. Two experiments on one cell tell
# the difference. First cut out the cell's receptive field and put it through alone:

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
    j = int((field.size // 2 - field.offset) / field.stride)  # where the same cell lies in the smaller map
    torch.testing.assert_close(alone[..., j, j], scores)
    print(f"a map of {tuple(alone.shape[-2:])}; its cell ({j}, {j}) is the cell ({i}, {i}) of the whole image")

# %% [markdown]
# A cell depends on its receptive field and on nothing else: the same numbers. Now the classifier, as published, on
# the window that it was made for:

# %%
with torch.no_grad():
    windowed = classifier(cut_out(classifier.input_size))
difference = (windowed - scores).square().mean().sqrt() / scores.std()
print(f"typical difference between the two: {difference:.2f} standard deviations of the scores")

# %% [markdown]
# Near, and not the same: in the window, zeros stand where the larger image has its surroundings. Only a net without
# padding gives every window's classification exactly; you meet one at the end of this chapter. For the published
# nets, dense evaluation is the classifier *with real surroundings in place of zeros*.
#
# ## A classifier that shows where
#
# Time for real weights. BVLC's GoogLeNet {cite:p}`szegedy2015,jia2014`, trained on the 1000 classes of ImageNet
# {cite:p}`russakovsky2015`, is used twice, first as it was published, on a photo of Chelsea the cat. If the folder
# `weights_root` holds the weights, the answers are computed; if not, the page shows the ones that this project saved.

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
    from torchvision.models import GoogLeNet_Weights  # the same 1000 classes in the same order

    return np.array(GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"])


@torch.no_grad()
def classify_cat():
    """The five likeliest ImageNet classes of the middle of scikit-image's chelsea, 224 x 224."""
    image = photos.filled(photos.photo("chelsea"), (224, 224))
    probabilities, classes = bvlc_googlenet()(as_caffe(image)).softmax(1)[0].topk(5)
    return {"probabilities": probabilities, "names": class_names()[classes]}


# %% tags=["nbval-ignore-output"]
guess, live = here.snapshot("googlenet-cat", classify_cat, weights.is_file(), [weights])
print(here.source("googlenet-cat", live))

# %%
figures.guesses(photos.filled(photos.photo("chelsea"), (224, 224))[0], guess["names"], guess["probabilities"])
plt.show()

# %% [markdown]
# :::{caption} fig-guesses
# :alt: Left, the face of a ginger cat. Right, bars of the five likeliest classes, three domestic cats at the top, then
# :  two wild cats.
# Chelsea (photo: Stéfan van der Walt, CC0) and the five likeliest of 1000 classes. The first three are domestic cats,
# the others their wild relatives: the net hesitates over the breed, not the animal.
# :::
#
# A classifier says *what*. Now the same weights, convolutionalized, on a sheet of six photos of 600×1350 pixels. It
# was never trained to say where anything is, and nobody drew a box.

# %%
tiles = [["coffee", "china", "flower"], ["rocket", "chelsea", "astronaut"]]
sheet = photos.sheet(tiles, tile=(300, 450))
with torch.device("meta"):
    field = fcn.receptive_field(convolutionalize(googlenet()))


@torch.no_grad()
def find_cat():
    """What GoogLeNet, convolutionalized, makes of each window of a sheet of six photos, one of them of a cat."""
    probabilities = convolutionalize(bvlc_googlenet()).eval()(as_caffe(sheet)).softmax(1)[0]
    sure, classes = probabilities.max(0)
    return {"cat": probabilities[CATS].sum(0), "sure": sure, "names": class_names()[classes]}


# %% tags=["nbval-ignore-output"]
found, live = here.snapshot("googlenet-heatmap", find_cat, weights.is_file(), [weights])
print(here.source("googlenet-heatmap", live))

# %%
figures.answers(sheet[0], field, googlenet().input_size, found["cat"], found["names"], found["sure"])
plt.show()

# %% [markdown]
# :::{caption} fig-heatmap
# :alt: A sheet of six photos, shown twice. Above, class names mark the cells that are surest of their class. Below, a
# :  heatmap lights up on the photo of the cat and is dark on the other five.
# Above: the likeliest of 1000 classes, at cells that are more than half sure of it. There is no dahlia among the
# 1000, so it is called a honeycomb. Below: the probability of the five breeds of cat together, over the area that has
# cells; the dashed square is the window of the cell that is surest. Photos: Rachel Michetti, SpaceX, Stéfan van der
# Walt (CC0), NASA (public domain), danielbuechele and vultilion (CC BY 2.0).
# :::

# %%
rows, columns = np.nonzero(found["cat"] > 0.5)
centres = figures.field_centres(field, 36)
tiles_hit = {tiles[int(centres[r] // 300)][int(centres[c] // 450)] for r, c in zip(rows, columns, strict=True)}
print("photos in which a cell is more than half sure to see a cat:", ", ".join(sorted(tiles_hit)))

# %% [markdown]
# The map is coarse, one cell every 32 pixels, and its cells stop half a window short of the edges of the sheet. It
# knows roughly where, not to the pixel. What is missing is a way back to the pixels ([chapter
# 4](04_upsampling.ipynb)) and a finer sense of place ([chapter 5](05_skips.ipynb)).
#
# ## What it costs
#
# Patch by patch, the windows of neighbouring cells overlap almost entirely, and the convolutions are done again for
# each. In one pass over the image the overlap is computed once. How much does that save? Count the multiply-adds for
# the 10×10 map of the paper's example, and for the other two nets on the same 500×500 image.


# %%
def multiply_adds(net, size):
    """For one image: 10^9 multiply-adds of convolutions, those of (once) fully connected layers, cells of the map."""
    counts = [0, 0]

    def count(once_connected, layer, inputs, output):
        counts[once_connected] += layer.weight.numel() * output[0, 0].numel()  # every weight, at every cell

    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(partial(count, name.startswith(("fc", "loss3"))))
    cells = net(torch.empty(1, 3, size, size))[0, 0].numel()
    return counts[0] / 1e9, counts[1] / 1e9, cells


rows, counted = [], {}
for name, build in backbones.items():
    with torch.device("meta"):
        *one_pass, cells = multiply_adds(convolutionalize(build()), 500)
        *one_patch, _ = multiply_adds(build(), build().input_size)
    patches = [cells * work for work in one_patch]
    counted[name] = {"in one pass": one_pass, "patch by patch": patches}
    rows.append((name, cells, round(sum(one_pass), 1), round(sum(patches), 1), round(sum(patches) / sum(one_pass), 1)))
pd.DataFrame(rows, columns=["net", "cells", "in one pass", "patch by patch", "times less"]).set_index("net")

# %% [markdown]
# :::{caption} tab-multiply-adds
# Multiply-adds, in 10⁹, for all cells of a 500×500 image.
# :::
#
# AlexNet saves least, because more than half of its work in one pass lies in the layers that were fully connected:
# each cell has its own window there, and nothing is shared. Now measure the time of one pass over a 500×500 image and
# of 100 patches, forward and backward. The paper's measurement, on a GPU, took 22 ms against $100 \times 1.2$ ms
# forward, and 37 ms against $100 \times 2.4$ ms backward: "more than 5 times faster". Its 1.2 ms is the time of a
# patch in a batch; alone, a patch takes 5.4 ms. So we vary the batch size, and time the convolutional and the fully
# connected layers separately.

# %%
TRIES = {"read": 2, "smoke": 1, "small": 4, "paper": 20}[here.preset]


def clock():
    """Seconds; with one CPU thread, processor time, which other work does not distort."""
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


classifier = alexnet().to(here.device)
whole = torch.rand(1, 3, 500, 500, device=here.device)
measured = {"one pass": both_parts(convolutionalize(classifier), whole)}
for batch in (1, 10, 100):
    patches = torch.rand(batch, 3, 227, 227, device=here.device)
    spent = 100 / batch * both_parts(classifier, patches)
    measured[f"100 patches, batches of {batch}"] = spent

# %% tags=["nbval-ignore-output"]
parts = ["conv1 to pool5", "fc6 to fc8"]
columns = pd.MultiIndex.from_product([parts, ["forward", "backward"]])
table = pd.DataFrame.from_dict(measured, orient="index", columns=columns)
table.map("{:.3f} s".format)

# %% tags=["nbval-ignore-output"]
both = table.T.groupby(level=1, sort=False).sum().T
ratios = both.iloc[1:] / both.loc["one pass"]  # times as fast
ratios.round(1)

# %% tags=["nbval-ignore-output"]
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
# :alt: Left, stacked bars of multiply-adds: patch by patch needs several times as many as one pass, and most of the
# :  difference lies in the convolutions. Right, bars of the speed-up of one pass, counted, on this machine and in the
# :  paper, forward and backward.
# AlexNet on 500×500 pixels. Left: multiply-adds for the 100 cells. Right: how many times as fast one pass is as
# patches in batches of 100. The bars of this machine were measured when this page was made; run the chapter to
# measure yours.
# :::
#
# The overall ratio hides two different ones. The patches overlap in the convolutional layers, and there one pass is
# {glue:text}`shared_backward:.0f` times as fast backward. The fully connected layers need as many multiply-adds for 100
# cells as for 100 patches, so nothing is shared, and they take {glue:text}`connected_share:.0f` % of the backward time
# of the one pass. The batch size matters too. A backward pass writes a gradient for each of AlexNet's 61 million
# weights, once per batch: one pass is {glue:text}`alone:.0f` times as fast backward as patches one by one, but
# {glue:text}`batched:.1f` times as fast as a batch of 100. The paper's 6.5 comes from a GPU and from Caffe, so expect
# the same order of magnitude, not the same number.
#
# ## The three nets as FCNs
#
# Without the last layer, which knows only ImageNet's classes, and with a new 1×1 convolution that scores 21 classes
# of PASCAL VOC, the classifiers become FCNs (section 4.1). Table 1 of the paper compares them. Its mean IU and its
# times need training and its GPU; the other columns are properties of the nets and can be computed here and now:


# %%
def conv_layers(module):
    """Convolutions on the longest way through a module: the depth of a net, as the paper counts it."""
    if isinstance(module, nn.Conv2d):
        return 1
    if hasattr(module, "branches"):
        return max(sum(map(conv_layers, branch)) for branch in module.branches())
    return sum(conv_layers(child) for child in module.children())


published = {"alexnet": (8, "57M", 355), "vgg16": (16, "134M", 404), "googlenet": (22, "6M", 907)}
table = {}
for name, build in backbones.items():
    with torch.device("meta"):
        net = fcn.FCN(name, stride=32, num_classes=21)
        whole_classifier = convolutionalize(build())
    layers, field = conv_layers(net.trunk) + 1, fcn.receptive_field(net)  # and the score layer
    parameters = f"{sum(p.numel() for p in net.parameters()) / 1e6:.0f}M"
    table[name] = [layers, parameters, field.size, fcn.receptive_field(whole_classifier).size, int(field.stride)]
    table[f"{name}, paper"] = [*published[name], "", 32]
index = ["layers", "parameters", "field", "classifier's field", "stride"]
pd.DataFrame(table, index=index).T

# %% [markdown]
# :::{caption} tab-nets
# Properties of the three FCNs of stride 32, computed here and as Table 1 of the paper gives them.
# :::
#
# Everything agrees but one number. The paper gives GoogLeNet a receptive field of 907 pixels; composing the layers of
# its FCN gives 715. The difference, $6 \times 32$, is the classifier's final 7×7 average pool, which section 4.1 says
# was discarded. So 907 is the field of the classifier and 715 that of the FCN.
#
# ## 1×1 convolutions
#
# The score layer that was just added is a convolution with a kernel of one cell. There is no neighbourhood in it: it
# is one linear classifier that reads the channels of a cell and is applied to each cell in turn.

# %%
score = nn.Conv2d(512, 21, kernel_size=1)
linear = nn.Linear(512, 21)
linear.weight.data, linear.bias.data = score.weight.data.flatten(1), score.bias.data

cells = torch.randn(1, 512, 12, 16)
torch.testing.assert_close(score(cells), linear(cells.movedim(1, -1)).movedim(-1, 1))

# %% [markdown]
# Several of them with nonlinearities between make a small network that runs at every cell: the *network in network*
# of {cite:t}`lin2014`, from which GoogLeNet took the idea.

# %%
with torch.device("meta"):
    convolutions = [m for m in googlenet().modules() if isinstance(m, nn.Conv2d)]
print(f"{sum(m.kernel_size == (1, 1) for m in convolutions)} of GoogLeNet's {len(convolutions)} convolutions are 1x1")

# %% [markdown]
# What can such a network tell on its own, straight from the pixels? Train one on a few procedural scenes. It sees
# three numbers, the colour of one pixel, and has to name the class of that pixel.


# %%
def batch_of(scenes):
    samples = [scenes[i] for i in range(len(scenes))]
    images = torch.stack([sample.image for sample in samples]) / 255
    return images, torch.stack([sample.labels["semantic"] for sample in samples])


images, labels = batch_of(Scenes(16, (48, 48), seed=here.seed))
torch.manual_seed(here.seed)
pixel_net = nn.Sequential(
    nn.Conv2d(3, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, len(CLASSES), 1)
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
    f"from each pixel's colour alone\n({accuracy:.0f} % of the pixels right)": guessed[:3],
}
shared.labellings(images[:3], columns, CLASSES, PALETTE)
plt.show()

# %% [markdown]
# :::{caption} fig-pixel-net
# :alt: Three procedural scenes in rows. The guesses in the last column have the sharp edges of the labels in the middle
# :  one, but grey and green areas are often given the wrong class.
# Scenes that the net has not seen, their labels, and its guesses.
# :::
#
# A colour goes a surprisingly long way, and every edge is sharp. But grey may be a road, a wall or a mountain, and
# from one pixel nobody can tell. This net knows *where* to the pixel and is poor at *what*. The deep nets above have
# the opposite trouble: a cell has seen hundreds of pixels around it, but there is only one every 32 pixels. Putting
# the two together is the subject of [chapter 5](05_skips.ipynb).
#
# ## A loss over cells is a batch of patches
#
# One more thing follows, and the paper begins with it (section 3). Put a loss on every cell and add up. Then
#
# $$
# \ell(x; \theta) = \sum_{ij} \ell'(x_{ij}; \theta)
# \quad\text{and so}\quad
# \nabla_\theta\, \ell(x; \theta) = \sum_{ij} \nabla_\theta\, \ell'(x_{ij}; \theta),
# $$
#
# with $x_{ij}$ the receptive field of cell $(i, j)$. The right-hand side is the gradient of a batch that holds each
# receptive field as an image of its own. Stochastic gradient descent on whole images *is* patchwise training, with
# all the patches of the image as the batch. A small net without padding shows it exactly:

# %%
net = nn.Sequential(nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 4, 3)).double()
window, step = fcn.receptive_field(net).size, int(fcn.receptive_field(net).stride)
image = torch.randn(1, 3, 21, 21, dtype=torch.float64)
patches = image.unfold(2, window, step).unfold(3, window, step).movedim(1, 3).reshape(-1, 3, window, window)
labels = torch.randint(0, 4, (1, 7, 7))


def gradient(images, labels):
    net.zero_grad()
    pixel_softmax_loss(net(images), labels, reduction="sum").backward()
    return torch.cat([parameter.grad.flatten() for parameter in net.parameters()])


on_the_image = gradient(image, labels)
on_the_patches = gradient(patches, labels.reshape(-1, 1, 1))
torch.testing.assert_close(on_the_image, on_the_patches)
print(f"one image of {tuple(image.shape[2:])}, or {len(patches)} patches of {window} x {window}: the same gradient")

# %% [markdown]
# Patchwise training had one freedom: it could draw its patches at random. Section 3.4 gives it back by dropping cells
# from the sum (`pixel_softmax_loss(..., keep=0.25)`), and finds that whole images converge as fast and run faster.
#
# ## Summary
#
# - A fully connected layer is a convolution whose kernel covers its input. Reshape its weights, and a classifier of
#   one image becomes a map of answers for an image of any size. Nothing is trained anew.
# - A cell depends on its receptive field. For nets with padding that is more than the classifier's window, so dense
#   evaluation and cropping agree nearly, not exactly.
# - One pass shares the convolutions of overlapping windows. What is not shared is what was fully connected.
# - A 1×1 convolution is a classifier at each cell; as the score layer it turns features into class scores.
# - A loss summed over cells trains on every receptive field at once.
#
# ## Exercises
#
# 1. **Where patches win.** The saving comes from overlap. Suppose that you want only a few answers. Use
#    `multiply_adds` to find the step between patches at which classifying AlexNet's patches costs no more than one
#    pass. What does that say about sparse detection?
#
#    :::{dropdown} Solution
#    Divide the work of one pass by the work of one patch: in the table above, `sum(one_pass) / sum(one_patch)`. For
#    AlexNet it is $9.3 / 0.724 \approx 13$. Thirteen patches instead of 100 cells are a step of $\sqrt{100 / 13} \approx
#    2.8$ cells, or about 90 pixels. A detector that asks about fewer windows than that is better off with patches; one
#    that asks about hundreds of overlapping windows is not.
#    :::
#
# 2. **Shift and stitch.** Shift the sheet by 16 pixels to the right, down, and both, run the convolutionalized
#    GoogLeNet on each (section 3.2; it needs the weights), and interlace the four maps into one of stride 16. Compare
#    it with the stride-32 map interpolated to the same grid. What did the fourfold cost buy?
#
#    :::{dropdown} Solution
#    Stack the four maps as `torch.stack([m00, m01, m10, m11])` and let `F.pixel_shuffle` interlace them. At the cells
#    of the unshifted map both results agree. In between, interpolation can only average the neighbours, while the
#    shifted passes compute what the classifier says of that very window. So the stitched map can show something that
#    no cell of the coarse map has seen in its middle; the cells' receptive fields are as large as before.
#    Chapter [11](11_patches_shifts_stitches.ipynb) shows how to get the same map in one pass.
#    :::
#
# 3. **Trading the average pool.** GoogLeNet averages 7×7 cells and then classifies linearly. Both steps are linear.
#    Show that scoring each cell of `inception_5b` first and averaging the scores afterwards gives the same map, then
#    leave the average out. Which receptive field does each cell have now, and what becomes of the cat?
#
#    :::{dropdown} Solution
#    With the cells $x_1, \dots, x_{49}$ of a window, $\frac{1}{49} \sum_i (W x_i + b) = W \left(\frac{1}{49} \sum_i
#    x_i\right) + b$: the order of averaging and scoring does not matter. Without the average, a cell's receptive field
#    shrinks from 907 to 715 pixels, and its score is no longer the mean of 49. The heatmap of the cat gets three more
#    cells on each side and is less smooth. This is what section 4.1 of the paper does before it adds a score layer.
#    :::
