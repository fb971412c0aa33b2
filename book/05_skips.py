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
# # Skip connections: combining what and where
#
# By the time a net knows *what* is in an image, it has forgotten *where*. FCN-32s
# answers once for every 32×32 pixels and interpolates in between. The paper's second
# idea is to let earlier layers correct that answer: they see less, but their cells are
# closer together.

# %% tags=["parameters", "hide-input"]
preset = "read"  # "read", "smoke": a tiny net; "small", "paper": a larger one
device = "auto"
seed = 0
results_dir = "../results"

# %% tags=["remove-input"]
import presets

here = presets.check(preset=preset, device=device, seed=seed, results_dir=results_dir)

# %% tags=["hide-input"]
import copy
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor, nn
from torch.nn import functional as F

import photos
import widgets
from fcn import FCN
from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.data.synthetic.palette import CLASSES
from fcn.losses import pixel_softmax_loss
from fcn.metrics import ConfusionMatrix, Metrics
from fcn.replication import claims, upper_bounds
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.paper import TABLES
from fcn.training.loop import Run, train
from fcn.training.recipe import Recipe
from figures import shared, stages, style
from figures import skips as figures

style.use()

# %% tags=["remove-input"]
stages.staged()
plt.show()

# %% [markdown]
# :::{caption} fig-stages
# :alt: A temple and a rocket on its pad. The label map of FCN-32s shows round blobs,
# :  that of FCN-16s rough shapes, and that of FCN-8s the eaves of the temple and the
# :  thin rocket.
# Two photos, labelled by nets that were trained in stages on SIFT Flow ([chapter
# 6](06_sift_flow.ipynb)): the paper's figure 4 with our nets. With each skip, roofs and
# towers get their outlines.
# :::
#
# ## What you will learn
#
# - what the true labels themselves lose at stride 32, 16 and 8;
# - why depth trades *where* for *what*: receptive field against stride;
# - how a skip adds scores to scores, and why it starts at zero and changes nothing at
#   first;
# - how to write FCN-8s and its training step in plain PyTorch;
# - how to compare nets that were trained in stages without mistaking more training for
#   a better net.
#
# ## The claim
#
# {cite:t}`long2015` (section 4.2) find the output of FCN-32s too coarse. They add
# connections that skip ahead to the output: a score layer on a map of stride 16 makes
# **FCN-16s**, and another on a map of stride 8 makes **FCN-8s**. Each net starts from
# the weights of the coarser one. On PASCAL VOC the first skip gains 3.0 points of mean
# IU and the second 0.3. The authors stop there, because the returns diminish. Taking
# the maximum of the two scores instead of their sum made learning hard, they report.
#
# :::{note}
# **How far this chapter goes.** All caveats are collected here.
#
# - *A demonstration is not evidence.* The nets are tiny, a program paints their scenes,
#   and each net is trained once. A control that trains as long without skips shows that
#   in this run most of the gain is due to the skips, not to more training. It does not
#   show how much skips gain on photographs.
# - *The second skip gains far more here than in the paper.* The scenes are small, their
#   objects are a few cells wide, and the backbone learns its shallow filters together
#   with the skips.
# - *The last digits depend on the machine.* Rounding in another order changes them, and
#   a few hundred steps of training amplify the change.
# - *Bounds from the ground truth are approximate.* So the paper calls them, too. The
#   scores of a net can do better (exercise 1).
# - *A receptive field says what a cell* can *see.* A trained net may use less of it.
# :::
#
# ## What labels lose at stride 32
#
# Suppose a net is never wrong but answers only once for each block of 32×32 pixels. How
# good can its labelling be? We ask the ground truth. The pixels of each block vote, the
# block keeps the *winner*, and the winners are upsampled bilinearly, as a net would do
# it. Void pixels have no vote. Alternatively, each block keeps its *shares*, say 40 %
# tree and 60 % sky, and those are upsampled.


# %%
def coarsened(labels: Tensor, factor: int, down: str = "vote") -> Tensor:
    """Label maps N x H x W, reduced to blocks of ``factor`` pixels and enlarged."""
    protocol = upper_bounds.Protocol(down, "bilinear", void="abstains")
    maps = [
        found
        for one in labels
        for _, _, found in upper_bounds.predictions(one, [factor], [protocol])
    ]
    return torch.from_numpy(np.stack(maps))


# %% [markdown]
# The images are the procedural scenes of [chapter 2](02_pixels_to_scores.ipynb), some
# for training and others for scoring. The settings of this chapter were chosen on a
# third set.

# %% tags=["hide-input"]
SIZES = {
    "smoke": {"side": 96, "width": 1 / 8, "scenes": (24, 12), "steps": (10, 10, 10)},
    "read": {"side": 96, "width": 1 / 8, "scenes": (160, 60), "steps": (160, 80, 80)},
    "small": {
        "side": 128,
        "width": 1 / 4,
        "scenes": (400, 100),
        "steps": (1600, 600, 600),
    },
}
size = SIZES["small" if here.preset == "paper" else here.preset]


class Kept(Scenes):
    """Scenes that are painted once."""

    def __init__(self, count: int, split: str, seed: int) -> None:
        super().__init__(count, (size["side"], size["side"]), split=split, seed=seed)
        self.kept = [super(Kept, self).__getitem__(i) for i in range(count)]

    def __getitem__(self, index: int):
        return self.kept[index]


training, held_out = (
    Kept(size["scenes"][0], "train", here.seed),
    Kept(size["scenes"][1], "test", here.seed + 1),
)
images = torch.stack([sample.image for sample in held_out.kept])  # N x 3 x H x W, uint8
labels = torch.stack(
    [sample.labels["semantic"] for sample in held_out.kept]
)  # N x H x W


# %%
def scored(predictions: Tensor) -> Metrics:
    """The metrics of label maps N x H x W for the held-out scenes."""
    confusion = ConfusionMatrix(len(CLASSES))
    confusion.update(labels, predictions)
    return confusion.metrics()


oracle = {
    (kept, f"1/{factor}"): scored(coarsened(labels, factor, down))
    for kept, down in (("winners", "vote"), ("shares", "mean"))
    for factor in (32, 16, 8, 4)
}
table = pd.DataFrame(
    {key: [m.pixel_accuracy, m.mean_iu] for key, m in oracle.items()},
    ["pixel accuracy", "mean IU"],
)
table.round().astype(int).stack(level=0, future_stack=True)[
    ["1/32", "1/16", "1/8", "1/4"]
]

# %% [markdown]
# :::{caption} tab-skips-oracle
# The ground truth of the held-out scenes, coarsened and scored as a prediction, in
# percent.
# :::

# %% tags=["hide-input"]
SHOWN = [2, 9, 1]
pictures = [images[i].permute(1, 2, 0).numpy() for i in SHOWN]
truth = [labels[i].numpy() for i in SHOWN]
columns = {
    f"1/{factor}": coarsened(labels[SHOWN], factor).numpy() for factor in (32, 16, 8)
}
shared.labellings(pictures, {"ground truth": truth, **columns}, CLASSES, PALETTE)
plt.show()

# %% [markdown]
# :::{caption} fig-skips-coarsened
# :alt: Three scenes with their ground truth and its winners at 1/32, 1/16 and 1/8. At
# :  1/32 the cars, the boat, the street lamps and the trunk of the tree are gone; at
# :  1/8 the cars and the boat are back as rough shapes, and of the lamps a few scraps.
# Ground truth and the winners of its blocks. Light outlines are void.
# :::
#
# Most pixels survive, because most are inside large regions
# ({numref}`fig-skips-coarsened`). Whatever is thinner than a block is lost. Mean IU
# shows it, because it counts a class of poles as much as a class of sky:

# %% tags=["hide-input"]
iu = {
    factor: metrics.iu_per_class
    for (kept, factor), metrics in oracle.items()
    if kept == "winners"
}
tints = dict(zip(iu, ("#8da0cb", "#66a5ad", "#1b7f79", "#444b54"), strict=True))
shared.per_class(iu, CLASSES, tints, "IU (%) of the coarsened ground truth")
plt.show()

# %% [markdown]
# :::{caption} fig-skips-oracle-classes
# :alt: One line of dots per class for 1/32, 1/16, 1/8 and 1/4. Sky, road and ground
# :  keep over 60 percent at 1/32. Car, boat and pole are near zero there, and pole
# :  reaches only 25 percent at 1/8.
# The best that one vote per block leaves of each class.
# :::
#
# {cite:t}`long2015` make the same computation in their appendix A, on PASCAL VOC:

# %% tags=["hide-input"]
pd.DataFrame(
    {f"1/{factor}": [upper_bounds.PAPER[factor]] for factor in (32, 16, 8, 4)},
    index=["PASCAL VOC"],
)

# %% [markdown]
# :::{caption} tab-skips-appendix
# Mean IU of the coarsened ground truth of PASCAL VOC, as the paper prints it.
# :::
#
# Those images are about five times as wide as our scenes and their objects are larger.
# What counts is the size of things *in cells*. On these images, even the bound at
# stride 32, 86.1, is far above the 62.7 of the paper's FCN-8s. As the paper remarks, a
# good mean IU does not need exact borders and, conversely, says little about them.
# [Chapter 10](10_how_good_can_it_get.ipynb) takes these bounds apart.
#
# ## What against where
#
# Why not simply keep a finer stride? Because each halving of the resolution doubles the
# step by which later layers widen their view. [Chapter
# 3](03_convolutionalization.ipynb) composed the layers one by one. Here are the three
# maps that an FCN scores, for the three backbones, with the pixels that one cell of
# each can see:

# %%
rows = {}
for name in ("alexnet", "vgg16", "googlenet"):
    backbone = FCN(name, stride=8, num_classes=1, width=1 / 16).trunk
    taps = {stride: layer for layer, stride in backbone.taps.items()}
    rows[name] = {
        f"stride {s}": f"{taps[s]}: {backbone.fields[s].size} px" for s in (8, 16, 32)
    }
    if name == "vgg16":
        fields = backbone.fields
pd.DataFrame(rows).T

# %% [markdown]
# :::{caption} tab-skips-fields
# The layers that FCN-8s scores, and the width of their receptive fields. (`drop7` and
# `drop` are the dropout layers at the end of the backbone.)
# :::

# %% tags=["hide-input"]
figures.taps(
    (photos.photo("china")[0].permute(1, 2, 0).numpy()), fields, centre=(190, 330)
)
plt.show()

# %% [markdown]
# :::{caption} fig-skips-fields
# :alt: A temple by a lake, twice. Left, three nested squares around the end of a roof,
# :  the largest almost as high as the photo. Right, a detail with a coarse grid of
# :  large dots, a finer grid and a dense grid of small dots.
# VGG16 on a photo of 427×640 pixels. A cell at stride 32 sees most of the photo, but
# there are few such cells. A cell at stride 8 sees a window or the end of a roof, and
# there is one every 8 pixels. Dashed: the detail on the right.
# :::

# %% tags=["remove-input"]
widgets.receptive_field(
    photos.photo("china"),
    "A tower with four tiled roofs rises above trees, with a lake behind it.",
)

# %% [markdown]
# The deep map can tell a pagoda from a house because it sees all of it, but it cannot
# say on which pixel the roof ends. The shallow map is the reverse: an edge, certainly,
# but of what? The two know different things, and that is why adding them helps.
#
# ## First, a net at stride 32
#
# Now a real net, if a small one: FCN-AlexNet with an eighth of the channels. It learns
# from random weights in a few seconds. (With `preset="small"` it has a quarter of the
# channels and takes minutes.)
# AlexNet is the fastest of the paper's three backbones (its Table 1). The paper adds
# skips only to VGG16, at `pool4` and `pool3`; {numref}`tab-skips-fields` names the maps
# of the same strides in AlexNet.
#
# Two things differ from the paper on purpose. There are no ImageNet weights: the
# backbone starts from random filters, scaled so that the signal keeps its size from
# layer to layer. And the recipe is made for seconds instead of days: AdamW, a learning
# rate that warms up and then falls to zero, and mirroring.


# %%
def new_net(stride: int) -> FCN:
    net = FCN(
        "alexnet", stride, len(CLASSES), upsampling="interpolate", width=size["width"]
    )
    return net.to(here.device)


def scale_filters(net: FCN) -> None:
    """Draw filters that keep the size of the signal; the first also divide by 64."""
    filters = [layer for layer in net.trunk.modules() if isinstance(layer, nn.Conv2d)]
    for layer in filters:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    filters[0].weight.data /= 64


# %% [markdown]
# `learn` runs one stage. To compare losses across stages, it also measures the loss on
# a fixed set of scenes at each point of the curve.


# %% tags=["hide-input"]
@torch.no_grad()
def fixed_loss(net: FCN) -> float:
    """The loss on the first 8 training scenes, without dropout."""
    scenes = training.kept[:8]
    scene_images = torch.stack([sample.image for sample in scenes]).to(here.device)
    scene_labels = torch.stack([sample.labels["semantic"] for sample in scenes])
    net.eval()
    loss = pixel_softmax_loss(net(scene_images / 255), scene_labels.to(here.device))
    net.train()
    return loss.item()


# %% tags=["hide-input"]
def learn(net: FCN, stage: int, **changes: float | str) -> tuple[Run, list[float]]:
    """Train for one stage; also the fixed loss before it and at each point.

    Equal stages see equal batches, whatever the net.
    """
    batch = 8
    recipe = Recipe(
        learning_rate=3e-3 if stage == 0 else 1.5e-3,
        epochs=size["steps"][stage] * batch / len(training),
        batch_size=batch,
        optimizer="adamw",
        weight_decay=1e-4,
        bias_rate=1,
        schedule="poly",
        clip=1,
        augment="mirror",
        warmup=30 * batch / len(training) if stage == 0 else 0,
    )
    losses = [fixed_loss(net)]
    run = train(
        net,
        training,
        replace(recipe, **changes),
        seed=here.seed + stage,
        device=here.device,
        workers=0,  # the scenes are in memory
        log=lambda line: losses.append(fixed_loss(net)),  # called once per point
    )
    return run, losses


# %%
@torch.no_grad()
def scores_of(net: FCN) -> Tensor:
    """The net's scores for the held-out scenes, N x C x H x W."""
    return net.eval()(images.to(here.device) / 255).cpu()


torch.manual_seed(here.seed)
nets, runs, fixed = {"32s": new_net(32)}, {}, {}
scale_filters(nets["32s"])
runs["32s"], fixed["32s"] = learn(nets["32s"], stage=0)
first, last = (runs["32s"].curve[i]["loss"] for i in (0, -1))
print(
    f"{runs['32s'].step} steps, {runs['32s'].images_seen} images;",
    f"loss at first {first:.2f}, at last below 1: {last < 1}",
)

# %% [markdown]
# The loss begins at $\ln 10$: the score layer is zero, so all ten classes are equally
# likely. On 96×96 pixels the coarsest map has 3×3 cells (4×4 with `preset="small"`),
# and each cell sees the whole scene. That is all FCN-32s has to paint with.
#
# ## FCN-8s in plain PyTorch
#
# FCN-16s puts a second score layer, $W_{16}$, on the map $h_{16}$ of stride 16. It
# upsamples the old scores by two ($U_2$) and adds the new ones. FCN-8s does the same
# once more with $h_8$:
#
# $$
# s_{16} = U_2\,(W_{32} h_{32}) + W_{16} h_{16}, \qquad
# s_8 = U_2\,(s_{16}) + W_8 h_8, \qquad
# \text{scores} = U_8\,(s_8).
# $$ (eq-skips)
#
# Here is the whole net of the paper's figure 3, FCN-8s on VGG16. It needs two helpers:
# a block of VGG16, and upsampling. `fc6` and `fc7` are convolutions now ([chapter
# 3](03_convolutionalization.ipynb)), every layer is padded so that the maps cover the
# image, and upsampling is bilinear ([chapter 4](04_upsampling.ipynb)).


# %%
def block(inputs: int, outputs: int, count: int) -> nn.Sequential:
    """``count`` 3 x 3 convolutions, then a pool that halves the map, rounding up."""
    layers = []
    for n in range(count):
        layers.append(nn.Conv2d(inputs if n == 0 else outputs, outputs, 3, padding=1))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True))


def up(scores: Tensor, factor: int, like: Tensor) -> Tensor:
    """Upsample ``scores`` onto the grid of ``like``."""
    fine = F.interpolate(scores, scale_factor=factor, mode="bilinear")
    return fine[..., : like.shape[2], : like.shape[3]]


# %%
class FCN8s(nn.Module):
    """Takes N x 3 x H x W, BGR less the mean; returns N x classes x H x W."""

    def __init__(self, classes: int, c: int = 64, fc: int = 4096):
        super().__init__()
        pool1, pool2 = block(3, c, 2), block(c, 2 * c, 2)
        self.to_pool3 = nn.Sequential(pool1, pool2, block(2 * c, 4 * c, 3))
        self.to_pool4 = block(4 * c, 8 * c, 3)
        fc6 = nn.Conv2d(8 * c, fc, 7, padding=3), nn.ReLU(), nn.Dropout()
        fc7 = nn.Conv2d(fc, fc, 1), nn.ReLU(), nn.Dropout()
        self.to_fc7 = nn.Sequential(block(8 * c, 8 * c, 3), *fc6, *fc7)
        self.score32 = nn.Conv2d(fc, classes, 1)
        self.score16 = nn.Conv2d(8 * c, classes, 1)
        self.score8 = nn.Conv2d(4 * c, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        pool3 = self.to_pool3(image)
        pool4 = self.to_pool4(pool3)
        scores = self.score32(self.to_fc7(pool4))
        scores = self.score16(pool4) + up(scores, 2, pool4)
        scores = self.score8(pool3) + up(scores, 2, pool3)
        return up(scores, 8, image)


# %% [markdown]
# The `forward` method is {eq}`eq-skips`. The package's `fcn.FCN` adds options for other
# backbones, strides and alignments, but it is this net. With the same weights, here at
# a sixteenth of the width, both output the same scores:

# %%
torch.manual_seed(0)
package = FCN("vgg16", stride=8, num_classes=len(CLASSES), width=1 / 16).eval()
plain = FCN8s(len(CLASSES), c=4, fc=256).eval()
for layer in package.heads["scores"].values():
    for parameter in layer.parameters():  # score layers are zero in a new net
        nn.init.normal_(parameter, std=0.1)
for ours, theirs in zip(plain.parameters(), package.parameters(), strict=True):
    ours.data.copy_(theirs.data)


def caffe(image: Tensor) -> Tensor:
    """RGB in 0 to 1 as BGR in 0 to 255, less the mean colour of ImageNet."""
    return (
        255 * image.flip(1)
        - torch.tensor([104.00699, 116.66877, 122.67892])[:, None, None]
    )


image = torch.rand(2, 3, 75, 100)
torch.testing.assert_close(plain(caffe(image)), package(image))

# %% [markdown]
# The paper's training step (section 4.3) is just as short: the softmax loss of every
# labelled pixel, and gradient descent with momentum. Biases learn at twice the rate
# and, as in the authors' release, do not decay.


# %%
def paper_optimizer(net: nn.Module, rate: float) -> torch.optim.Optimizer:
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    weights = [p for name, p in net.named_parameters() if not name.endswith("bias")]
    groups = [
        {"params": weights, "weight_decay": 5e-4},
        {"params": biases, "weight_decay": 0, "lr": 2 * rate},
    ]
    return torch.optim.SGD(groups, lr=rate, momentum=0.9)


def training_step(net: nn.Module, optimizer, image: Tensor, label: Tensor) -> float:
    loss = F.cross_entropy(net(caffe(image)), label, ignore_index=VOID)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


# %% [markdown]
# Three of these steps equal three steps of the package's `train`. Each batch holds all
# images, and dropout is off because it would draw different masks.

# %%
scenes, rate = Scenes(2, (64, 96)), 1e-4
batch = [scenes[i] for i in range(2)]
image = torch.stack([sample.image for sample in batch]) / 255
label = torch.stack([sample.labels["semantic"] for sample in batch]).long()
for layer in (*plain.modules(), *package.modules()):
    if isinstance(layer, nn.Dropout):
        layer.p = 0.0

optimizer = paper_optimizer(plain.train(), rate)
losses = [training_step(plain, optimizer, image, label) for _ in range(3)]
paper_recipe = Recipe(learning_rate=rate, epochs=3, batch_size=2)
quiet = {"workers": 0, "log": lambda line: None}
run = train(package, scenes, paper_recipe, seed=0, device="cpu", **quiet)

for ours, theirs in zip(plain.parameters(), package.parameters(), strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
print("the loss falls:", losses[0] > losses[1] > losses[2])

# %% [markdown]
# ## A skip that changes nothing, at first
#
# A new score layer starts at zero. So FCN-16s begins where FCN-32s ended:

# %%
coarser = nets["32s"]
nets["16s"] = new_net(16)
nets["16s"].upgrade_from(coarser)

before, after = scores_of(coarser), scores_of(nets["16s"])
changed = (before - after).abs().max() / before.abs().max()
print(
    "the scores are the same, to the rounding of their last digits:",
    bool(changed < 1e-5),
)

# %% [markdown]
# This holds on AlexNet and GoogLeNet. On VGG16, whose cells are between pixels,
# upsampling twice differs a little from upsampling once, so the start is only nearly
# the same (exercise 1 of [chapter 4](04_upsampling.ipynb)).
#
# Does a layer of zeros learn? Let $g$ be the gradient of the loss at $s_{16}$. The
# gradient of the layer is the sum over cells of $g\,h_{16}^\top$, which is not zero
# because $h_{16}$ is not. What *is* zero at the first step is the gradient that the
# skip sends down to the backbone, $W_{16}^\top g$. No random weights shake the features
# that FCN-32s has found.


# %%
def gradients(net: FCN) -> dict[str, Tensor]:
    """The gradient of each parameter on eight held-out scenes, without dropout."""
    net = copy.deepcopy(net).eval()
    scores = net(images[:8].to(here.device) / 255)
    pixel_softmax_loss(scores, labels[:8].to(here.device)).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def same(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-3 * b.abs().max())


old, new = gradients(coarser), gradients(nets["16s"])
skip = "heads.scores.score16.weight"
print(
    "the skip's weights are zero:", bool((nets["16s"].get_parameter(skip) == 0).all())
)
print("their gradient is zero:", bool((new[skip] == 0).all()))
print(
    "every other gradient is as before:",
    all(same(new[name], old[name]) for name in old),
)

# %% [markdown]
# ## Three stages, and a control
#
# Now the skip learns, then we add the second one and it learns too. Do the finer nets
# gain from their skips, or merely from training longer? To find out, a copy of FCN-32s
# goes through the same two further stages, with the same batches in the same order and
# at the same rates, but stays at stride 32.

# %%
runs["16s"], fixed["16s"] = learn(nets["16s"], stage=1)

nets["8s"] = new_net(8)
nets["8s"].upgrade_from(nets["16s"])
runs["8s"], fixed["8s"] = learn(nets["8s"], stage=2)

longer = copy.deepcopy(coarser)
control = [learn(longer, stage=1), learn(longer, stage=2)]
nets[figures.LONGER] = longer
print(
    "images seen by FCN-8s, all stages:", sum(run.images_seen for run in runs.values())
)
seen_by_control = runs["32s"].images_seen + sum(run.images_seen for run, _ in control)
print("images seen by the control:       ", seen_by_control)

# %% tags=["hide-input"]
second = runs["32s"].images_seen
third = second + runs["16s"].images_seen
curves = {
    "32s": [(0, runs["32s"].curve, fixed["32s"])],
    "16s": [(second, runs["16s"].curve, fixed["16s"])],
    "8s": [(third, runs["8s"].curve, fixed["8s"])],
    figures.LONGER: [
        (before, run.curve, losses)
        for before, (run, losses) in zip((second, third), control, strict=True)
    ],
}
figures.training(curves)
plt.show()

# %% [markdown]
# :::{caption} fig-skips-losses
# :alt: Loss against images seen. FCN-32s falls from 2.3 to below 0.8 within 1280
# :  images. FCN-16s and then FCN-8s continue from there, down to 0.6 and 0.4, and rise
# :  at the start of their stages, FCN-8s to above 1. The control rises as well and ends
# :  above 0.6.
# Bold: the loss on 8 fixed training scenes, without dropout. Faint: the training loss
# of each batch. The bold curves join at the grey lines, where each finer net starts
# from the coarser one.
# :::
#
# Right after each grey line the loss rises, for the control as for the nets with a new
# skip, most of all for FCN-8s. The cause is the learning rate. It falls to zero by the
# end of a stage and restarts at $1.5 \cdot 10^{-3}$, and in its first steps AdamW
# moves every weight by about that much, however small the gradient. To check this, we
# repeat the first ten steps of FCN-8s with the same batches and the same dropout, at
# that rate and at a hundredth of it:

# %% tags=["nbval-ignore-output"]
seam = {}
for rate in (1.5e-3, 1.5e-5):
    trial = new_net(8)
    trial.upgrade_from(nets["16s"])
    ten_steps = {"epochs": 10 * 8 / len(training), "schedule": "fixed"}
    run, losses = learn(trial, stage=2, learning_rate=rate, **ten_steps)
    batches = np.mean([point["loss"] for point in run.curve])
    seam[f"rate {rate:g}"] = (batches, losses[0], losses[-1])
columns = ["ten training batches", "fixed scenes, before", "fixed scenes, after"]
end = [
    point["loss"]
    for point in runs["16s"].curve
    if point["step"] > runs["16s"].step - 10
]
print(f"last ten training batches of FCN-16s: {np.mean(end):.2f}")
pd.DataFrame.from_dict(seam, orient="index", columns=columns).round(2)

# %% [markdown]
# :::{caption} tab-skips-seam
# Losses of the first ten steps of FCN-8s at two learning rates.
# :::
#
# At a hundredth of the rate, the loss on the fixed scenes does not rise, and the ten
# batches cost about as much as the last ten of FCN-16s. So neither the new batches nor
# dropout, which is on before and after the line, explains the rise.

# %% tags=["hide-input"]
predictions = {name: scores_of(net).argmax(1) for name, net in nets.items()}
columns = {
    f"FCN-{name}": predictions[name][SHOWN].numpy() for name in ("32s", "16s", "8s")
}
shared.labellings(pictures, {"ground truth": truth, **columns}, CLASSES, PALETTE)
plt.show()

# %% [markdown]
# :::{caption} fig-skips-predictions
# :alt: Three held-out scenes with ground truth and the label maps of FCN-32s, FCN-16s
# :  and FCN-8s. All get the layout. FCN-8s draws the finest trees and shore; most cars,
# :  the street lamps and the boat are missing in all.
# Scenes that no net has trained on. From left to right, blobs become regions with
# borders.
# :::

# %% tags=["remove-input", "nbval-ignore-output"]
widgets.stages(
    [images[i] for i in SHOWN], columns | {"ground truth": truth}, CLASSES, PALETTE
)

# %% [markdown]
# The scores over all held-out scenes:

# %% tags=["hide-input", "nbval-ignore-output"]
metrics = {name: scored(prediction) for name, prediction in predictions.items()}
pd.DataFrame(
    [
        (m.pixel_accuracy, m.mean_accuracy, m.mean_iu, m.frequency_weighted_iu)
        for m in metrics.values()
    ],
    index=[f"FCN-{name}" for name in metrics],
    columns=["pixel acc.", "mean acc.", "mean IU", "f.w. IU"],
).round(1)

# %% [markdown]
# :::{caption} tab-skips-scores
# The nets of the three stages and the control, in percent.
# :::

# %%
control_iu = metrics[figures.LONGER].mean_iu
print(
    "mean IU of FCN-8s at least five points above the control's:",
    metrics["8s"].mean_iu > control_iu + 5,
)

# %% tags=["hide-input"]
iu = {name: metrics[name].iu_per_class for name in (figures.LONGER, "32s", "16s", "8s")}
shared.per_class(iu, CLASSES, figures.SERIES)
plt.show()

# %% [markdown]
# :::{caption} fig-skips-classes
# :alt: One line of dots per class. FCN-8s leads in every class but pole, over FCN-16s
# :  by about 2 to 16 points. The control is between FCN-32s and FCN-16s in most
# :  classes. Car and boat stay below 20 percent, pole near zero.
# IU of each class; the mean at the top.
# :::
#
# FCN-8s leads in every class but one. The exception is the pole: it is thin and rare,
# and even the coarsened ground truth keeps few of its pixels at stride 8
# ({numref}`fig-skips-oracle-classes`). The nets of `preset="read"` never learn it.
#
# ## Where the gain is
#
# If skips add *where*, FCN-8s should gain most near borders and least deep inside a
# region. In the scenes void marks every border, so a pixel's distance from the nearest
# border is its distance from the nearest void pixel.

# %%
FARTHEST = 12
distance = np.stack(
    [distance_transform_edt(map_ != VOID) for map_ in labels.numpy()]
)  # 0 on void itself
ring = distance.round().astype(int).clip(max=FARTHEST)
pixels = np.bincount(ring.ravel(), minlength=FARTHEST + 1)[1:]


def error_by_distance(prediction: Tensor) -> np.ndarray:
    """The percentage of wrong pixels at 1, 2, ... pixels from the nearest border."""
    wrong = (prediction != labels).numpy() & (ring > 0)
    return 100 * np.bincount(ring[wrong], minlength=FARTHEST + 1)[1:] / pixels


errors = {
    name: error_by_distance(prediction) for name, prediction in predictions.items()
}
figures.against_distance(errors, 100 * pixels / pixels.sum())
plt.show()

# %% [markdown]
# :::{caption} fig-skips-distance
# :alt: Percentage of wrong pixels against distance from the nearest border. All four
# :  curves fall from about 50 percent or more at one pixel to below 5 percent from
# :  twelve on. FCN-8s is lowest throughout, FCN-16s between it and the control.
# Errors at each distance from a border, and the share of the pixels there.
# :::

# %%
near, far = slice(0, 4), slice(8, None)
gain = {
    where: (errors[figures.LONGER] - errors["8s"])[part].mean()
    for where, part in (("near", near), ("far", far))
}
print(
    "FCN-8s errs less than the control at every distance:",
    bool((errors["8s"] < errors[figures.LONGER]).all()),
)
print(
    "and gains more within 4 pixels of a border than beyond 8:",
    bool(gain["near"] > gain["far"]),
)

# %% [markdown]
# The gain is not largest at the border itself. It grows up to a distance of four or
# five pixels, half a cell of stride 8, and shrinks from there: closer than that, FCN-8s
# cannot place a border either.
#
# ## Which stream says what
#
# Upsampling is linear, so the sums of {eq}`eq-skips` can be expanded. The scores at the
# pixels are a sum of three streams,
#
# $$
# \text{scores} = U_{32} W_{32} h_{32} + U_{16} W_{16} h_{16} + U_8 W_8 h_8 ,
# $$
#
# where $U_{16} = U_8 U_2$ and $U_{32} = U_8 U_2 U_2$ are the upsamplings on the way
# to the pixels, and we can look at each one alone by setting the score layers of the
# others to zero.


# %%
def only(net: FCN, *kept: int) -> FCN:
    """A copy of the net in which only the streams of these strides speak."""
    net = copy.deepcopy(net)
    for stride in {32, 16, 8} - {*kept}:
        for parameter in getattr(net.heads["scores"], f"score{stride}").parameters():
            nn.init.zeros_(parameter)
    return net


streams = {stride: scores_of(only(nets["8s"], stride)) for stride in (32, 16, 8)}
together = scores_of(nets["8s"])
print("the streams add up to the net's scores:", same(sum(streams.values()), together))

# %% tags=["hide-input"]
which = SHOWN[2]
present = (
    labels[which][labels[which] != VOID]
    .bincount(minlength=len(CLASSES))
    .argsort(descending=True)[:3]
    .tolist()
)
figures.streams(
    pictures[2],
    truth[2],
    {s: scores[which].numpy() for s, scores in streams.items()},
    present,
    CLASSES,
    PALETTE,
)
plt.show()

# %% [markdown]
# :::{caption} fig-skips-streams
# :alt: A meadow with a tree in front of mountains. Stride 32 alone has two bands,
# :  mountain above ground. Stride 16 alone surrounds the mountains with water. Stride 8
# :  alone outlines the tree but calls mountains and sky car. The sum has sky,
# :  mountains, tree and ground in their places.
# Top: the labels that each stream would predict alone, and those of their sum. Below:
# scores for the three largest classes of the scene (red for, blue against), on one
# scale in each row.
# :::
#
# Stride 32 alone lays out the scene and little else. Stride 8 alone follows outlines.
# Both finer streams give some regions names that make no sense there. They need not
# make sense alone: they were trained to correct a sum whose other parts say what is
# likely.
#
# ## Why the sum, and why zero
#
# What if we joined the two scores by their maximum? With a skip at zero, the maximum is
# $\max(s, 0)$. Every negative score is lost at once, so the net no longer starts where
# the coarser one ended. And the gradient reaches only the larger of the two, so where
# one stream leads, the other learns nothing. We test this at the pixels; in the net,
# the two would meet at the cells of stride 16.

# %%
start, by_sum, by_maximum = (
    pixel_softmax_loss(s, labels) for s in (before, after, before.clamp(min=0))
)
print(
    "loss with a silent skip, joined by sum, as before:",
    bool(torch.isclose(by_sum, start)),
)
print("joined by maximum, larger by a tenth at least:", bool(by_maximum > 1.1 * start))
print(
    "scores from which the coarse stream would learn no more, above half:",
    bool((before < 0).float().mean() > 0.5),
)

# %% [markdown]
# This fits the paper's remark. The next table compares nets trained on SIFT Flow with
# the maximum and with the sum, in one epoch with one seed on the maximum's side, and in
# three epochs of a faster recipe with three. [Chapter 12](12_results.ipynb) explains
# the verdicts and the interval after ±.

# %% tags=["hide-input"]
asked = [claims.claim(f"max-fusion{how}") for how in ("", "-staged")]
asked.append(claims.claim("max-fusion", claims.FAST_CLAIMS))
pairs = [claims.compare(one, here.records()) for one in asked]
pd.DataFrame(
    {pair.claim.changed: (pair.so_far, pair.verdict) for pair in pairs if pair},
    index=["mean IU, maximum less sum", "verdict"],
).T

# %% [markdown]
# :::{caption} tab-skips-maximum
# Maximum instead of sum, from the records of runs on SIFT Flow.
# :::
#
# ## What the paper measured

# %% tags=["hide-input"]
published = [row for row in TABLES if row.table == "Table 2"]
table = pd.DataFrame(
    [row.metrics for row in published], index=[row.label for row in published]
)
table.columns = ["pixel acc.", "mean acc.", "mean IU", "f.w. IU"]
table["gain"] = (
    table["mean IU"]
    .diff()
    .round(1)
    .map(lambda gain: "" if np.isnan(gain) else f"+{gain}")
)
table["rate"] = [
    f"{EXPERIMENTS[row.experiment].recipe.learning_rate:g}" for row in published
]
table

# %% [markdown]
# :::{caption} tab-skips-published
# Table 2 of {cite:t}`long2015`: FCN-VGG16 on 736 images of PASCAL VOC, the gain of each
# step in mean IU, and the learning rates of our catalogue. FCN-32s-fixed trains its
# last layer only.
# :::
#
# **Small rates.** A finer net starts from a good one and should not wreck it, so
# section 4.2 divides the learning rate by 100 for FCN-16s. Our catalogue divides once
# more for FCN-8s, as the authors' release does. This chapter cannot afford such small
# steps: after a few hundred batches a net still has much to learn, so the later stages
# keep half the rate of the first.
#
# **Diminishing returns.** The first skip gains ten times as much as the second.
#
# **Stages are a convenience.** The authors' release also trains FCN-8s at once, with
# all skips from the start and the maps of `pool4` and `pool3` scaled by 0.01 and
# 0.0001. It reaches 65.4 mean IU, compared with 65.5 in stages. (These are their
# numbers, from the release, whose recipe differs from the paper's.) By this pair,
# staged training is not what makes skips work.
#
# ## On real photographs
#
# In [chapter 6](06_sift_flow.ipynb) the same three stages run on real photographs with
# a shortened recipe and a control for the first skip. Every number there has a record.
# These commands run the stages, and the paper's full recipe on PASCAL VOC:

# %%
for family in ("sift-flow-googlenet-{}s-short", "voc-vgg16-{}s"):
    for stride in (32, 16, 8):
        print("python -m fcn train", EXPERIMENTS[family.format(stride)].name)

# %% [markdown]
# ## Summary
#
# - A labelling on a grid of stride 32 loses thin things completely and borders in
#   general; at stride 8 much less is lost.
# - Deep cells see much and are far apart; shallow cells see little and are close
#   together. Adding the scores of both combines what with where.
# - A skip whose score layer starts at zero leaves predictions and the backbone's
#   gradients as they were, and learns from its first step.
# - Because upsampling is linear, the result is a sum of streams that we can inspect one
#   by one.
# - Rule out more training before you credit a skip with a gain: give the control the
#   same steps.
#
# ## Exercises
#
# 1. *The best scores.* What is the best labelling FCN-32s could paint? Its last step
#    is linear and the softmax loss is convex in the scores, so we can find the best
#    coarse scores for a scene: make 3×3 cells of scores a parameter, upsample them with
#    `F.interpolate`, and let an optimiser minimise `pixel_softmax_loss` on the ground
#    truth. Compare the resulting mean IU with winners, shares and the nets. Why is even
#    that not a strict bound on mean IU?
#
#    :::{dropdown} Solution
#    `best_scores` in [chapter 10](10_how_good_can_it_get.ipynb) does this, on larger
#    scenes. The best scores beat shares, and shares beat winners: a large score pushes
#    a border past the middle between two cells. They are no strict bound because the
#    softmax loss is not mean IU. The loss counts pixels and can give up a pole for the
#    sky around it; mean IU counts classes.
#    :::
#
# 2. *At once.* Train an FCN-8s from `scale_filters` on for as many steps as all three
#    stages have. Does it reach the staged net? Draw its loss over
#    {numref}`fig-skips-losses`. Then scale the skips down as the authors do, with
#    `FCN(..., scaled_skips=True)`, and try again.
#
#    :::{dropdown} Solution
#    ```python
#    settings = {"upsampling": "interpolate", "width": size["width"]}
#    net = FCN("alexnet", 8, len(CLASSES), **settings).to(here.device)
#    scale_filters(net)
#    epochs = sum(size["steps"]) * 8 / len(training)
#    run, losses = learn(net, stage=0, epochs=epochs)
#    figures.training(curves)
#    plt.plot([0, *(point["images"] for point in run.curve)], losses)
#    ```
#
#    In our trials with seeds 0, 1 and 2 it clearly beat the staged net. The skips had
#    all steps to learn in, and the full rate, instead of the later stages' steps at a
#    lower rate. After 300,000 steps, in the release, there is no such difference.
#    Scaled down, the skips hardly joined in: mean IU was clearly below the staged net's
#    and about that of our FCN-16s. AdamW moves each weight by about the learning rate,
#    however small its gradient. So scores from a map that is multiplied by 0.0001 grow
#    ten thousand times more slowly. The authors' factors are made for their features
#    and for SGD.
#    :::
#
# 3. *Maximum.* Train stages two and three with `FCN(..., fusion="max")`, which joins
#    by `torch.maximum`. What happens to the loss at the first step of each stage? What
#    could the skip start from, other than zero, so that the predictions stay the same,
#    and which gradient would it then have?
#
#    :::{dropdown} Solution
#    A zero skip raises the loss at once, because it replaces all negative scores by
#    zero. Set the bias of the new score layer to a number below every score instead,
#    such as −1000. The coarse score is then the larger one everywhere and the
#    predictions stay the same. But the maximum passes the gradient only to the larger
#    input, so the skip's gradient is zero, and it never learns. The sum can have both:
#    it changes nothing at the start and learns from the first step.
#    :::
