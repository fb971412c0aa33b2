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
# # The paper in one sitting
#
# {cite:t}`long2015` in about twenty pictures, all drawn by this book. Each comes with
# what the paper says and what we found. This is the short way through the book: most
# sections link to the chapter with the details.

# %% tags=["parameters", "hide-input"]
seed = 0
results_dir = "../results"

# %% tags=["remove-input"]
import presets

here = presets.check(seed=seed, results_dir=results_dir)

# %% tags=["hide-input"]
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import chapter_tables
import fcn
import figure_5
import photos
from fcn.classifiers import CLASSIFIERS, INCEPTIONS, alexnet
from fcn.convolutionalize import convolutionalize
from fcn.data.sample import VOID
from fcn.data.sift_flow import PALETTE, SEMANTIC
from fcn.data.synthetic import outdoor, palette
from fcn.metrics import ConfusionMatrix
from fcn.preprocessing import as_caffe
from fcn.replication import claims, paper, snapshots, tables, upper_bounds
from fcn.replication.benchmark.record import Variant, load_benchmarks
from fcn.replication.catalogue import find

# %% tags=["hide-input"]
from figures import (
    context,
    how_fast,
    labelling,
    nyud,
    one_sitting,
    results,
    sampling,
    shared,
    sift_flow,
    skips,
    stages,
    style,
    upsampling,
    welcome,
)
from figures import convolutionalization as conv
from figures import upper_bounds as bounds

torch.manual_seed(here.seed)
style.use()
found = here.records()

# %% tags=["remove-input"]
stages.staged()
plt.show()

# %% [markdown]
# :::{caption} fig-sitting-stages
# :alt: A temple and a rocket on its pad, and three label maps of each. FCN-32s shows
# :  round blobs, FCN-16s rough shapes, FCN-8s the eaves of the temple and the thin
# :  rocket.
# The paper's figure 4 with our nets, trained in stages on SIFT Flow
# ([chapter 6](06_sift_flow.ipynb)). FCN-32s scores one cell per 32×32 pixels, FCN-16s
# and FCN-8s add the scores of finer maps. With each such skip, borders get sharper.
# :::
#
# ## What you will learn
#
# - the paper's argument from end to end: classifier, convolution, upsampling, skips;
# - what the paper reports on each of its four data sets;
# - which of its claims we tested, and what our runs can show;
# - the words that the rest of the book uses, in a [glossary](#glossary).
#
# :::{note}
# Our runs are short and use GoogLeNet instead of VGG16, many with one seed. They can
# show that something works, not that it works as well as in the paper. We have
# neither NYUDv2 nor PASCAL-Context, and only a part of PASCAL VOC's photos. [Chapter
# 12](12_results.ipynb) has the rules for our verdicts.
# :::
#
# ## From classifiers to dense prediction
#
# ### The classifiers

# %% tags=["remove-input"]
LAYERS = {"AlexNet": 8, "VGG16": 16, "GoogLeNet": 22, "ResNet-152": 152}  # with weights
with torch.device("meta"):  # shapes without numbers
    nets = {
        name: CLASSIFIERS[name.lower()]() for name in ("AlexNet", "VGG16", "GoogLeNet")
    }
    nets["ResNet-152"] = torchvision.models.resnet152()
    fcns = {name: fcn.FCN(name, 32, num_classes=21) for name in ("vgg16", "googlenet")}
millions = {
    name: sum(p.numel() for p in net.parameters()) / 1e6 for name, net in nets.items()
}
welcome.timeline({name: (LAYERS[name], millions[name]) for name in nets})
plt.show()

shared.glue_values(
    field_vgg16=fcn.receptive_field(fcns["vgg16"]).size,
    field_googlenet=fcn.receptive_field(fcns["googlenet"]).size,
)

# %% [markdown]
# :::{caption} fig-sitting-timeline
# :alt: A timeline from 2012 to 2016. On the left are the classifiers AlexNet, VGG16,
# :  GoogLeNet and ResNet-152, on the right the dense nets. Arrows lead from classifiers
# :  to dense nets that start from them; three green ones lead to FCN.
# Classifiers, with discs in proportion to their parameters, and nets for dense
# prediction, by their first publication.
# :::
#
# AlexNet {cite:p}`krizhevsky2012` made deep classifiers work on ImageNet. VGG
# {cite:p}`simonyan2015` went deeper with 3×3 filters, GoogLeNet {cite:p}`szegedy2015`
# with parallel branches, and a year after the FCN, ResNet {cite:p}`he2016` with blocks
# that add their input to their output. The paper turns the first three into FCNs and
# finds VGG16 the best (its Table 1).
#
# *What we found.* The printed numbers of parameters, strides and receptive fields agree
# with ours, such as {glue:text}`field_vgg16:.0f` pixels for VGG16, except one. For
# GoogLeNet the paper prints a receptive field of 907 pixels; without the average pool
# that the FCN drops, it is {glue:text}`field_googlenet:.0f` ([chapter
# 3](03_convolutionalization.ipynb)).
#
# ### A fully connected layer fixes the size and loses the place

# %% tags=["remove-input"]
town = outdoor.Scenes(1, (192, 288), seed=here.seed, split="test").scene(0)
welcome.fully_connected(town.image.permute(1, 2, 0).numpy())
plt.show()

# %% [markdown]
# :::{caption} fig-sitting-connected
# :alt: Three rows. A map flattened into a list that fits the weights; a wider map with
# :  cells for which there are no weights; the same weights as a filter that slides over
# :  the wider map.
# A fully connected layer, the same layer on a wider image, and its weights as the
# filter of a convolution. The cells are those of the last map before the layer.
# :::
#
# A fully connected layer has a weight for every cell of its input, so the input cannot
# grow. It reads the cells as a list, so its output no longer says where anything is.
# The paper's answer (section 3.1): the layer *is* a convolution whose kernel covers its
# whole input. Let it slide, and it takes images of any size:

# %%
classifier = alexnet(num_classes=5, width=1 / 8).eval()  # an eighth of the channels
dense = convolutionalize(classifier).eval()  # the same weights
image = torch.rand(1, 3, 227, 227)
with torch.no_grad():
    torch.testing.assert_close(dense(image).flatten(1), classifier(image))
    print("227 x 227 pixels:", tuple(dense(image).shape))
    print("500 x 500 pixels:", tuple(dense(torch.rand(1, 3, 500, 500)).shape))


# %% tags=["hide-input"]
def multiplications(net: nn.Module, *shape: int) -> float:
    """10^9 multiplications of one pass over an input of this shape, only counted."""
    net = copy.deepcopy(net).to("meta")
    with torch.no_grad(), FlopCounterMode(display=False) as count:
        net(torch.empty(*shape, device="meta"))
    return count.get_total_flops() / 2e9  # a multiplication and an addition each


one_pass = multiplications(convolutionalize(nets["AlexNet"]), 1, 3, 500, 500)
patches = 100 * multiplications(nets["AlexNet"], 1, 3, 227, 227)
shared.glue_values(pass_times=patches / one_pass)

# %% [markdown]
# *What we found.* Classifier and convolution compute the same scores, asserted above.
# For the 10×10 cells of a 500×500 image, 100 patches take {glue:text}`pass_times:.1f`
# times the multiplications of one pass of AlexNet; the paper measures "more than 5
# times faster" ([chapter 3](03_convolutionalization.ipynb)).
#
# ### Heatmaps

# %% tags=["remove-input"]
heat = snapshots.load("googlenet-heatmap", here.folder_of("googlenet-heatmap"))
tiles = [["coffee", "china", "flower"], ["rocket", "chelsea", "astronaut"]]
sheet = photos.sheet(tiles, tile=(300, 450))[0]
field = fcn.receptive_field(convolutionalize(nets["GoogLeNet"]))
conv.answers(sheet, field, 224, heat["cat"], heat["names"], heat["sure"])
plt.show()

rows, columns = np.nonzero(heat["cat"] > 0.5)
centres = conv.field_centres(field, max(heat["cat"].shape))
hit = {
    tiles[int(centres[r] // 300)][int(centres[c] // 450)]
    for r, c in zip(rows, columns, strict=True)
}
shared.glue_values(cat_cells=len(rows))
assert hit == {"chelsea"}

# %% [markdown]
# :::{caption} fig-sitting-heatmap
# :alt: A sheet of six photos, shown twice. Above, class names mark the cells that are
# :  surest. Below, a heatmap lights up on the photo of the cat and is dark elsewhere.
# BVLC's GoogLeNet, trained on ImageNet and made convolutional, on six photos at once:
# the surest classes, and the probability of a cat.
# :::
#
# A classifier that slides outputs a map of scores for every class: a heatmap. No
# training label has told it where a cat is.
#
# *What we found.* In {glue:text}`cat_cells:.0f` cells the probability of a cat is above
# one half, and all of them are on the cat's photo ([chapter
# 3](03_convolutionalization.ipynb)).
#
# ### Network in network: 1×1 convolutions

# %% tags=["hide-input"]
SIDES = {"3": 28, "4": 14, "5": 7}  # cells per side, for 224 x 224 pixels


def without_reductions(block: nn.Module) -> nn.Module:
    """The block with 3x3 and 5x5 filters that read all of its input channels."""
    plain, inputs = copy.deepcopy(block), block.get_submodule("1x1").in_channels
    for name in ("3x3", "5x5"):
        old = plain.get_submodule(name)
        new = nn.Conv2d(inputs, old.out_channels, old.kernel_size, padding=old.padding)
        plain.add_module(name, new)
        plain.add_module(f"{name}_reduce", nn.Identity())
    return plain


blocks = {
    name: nets["GoogLeNet"].get_submodule(f"inception_{name}") for name in INCEPTIONS
}
counts = {"with 1×1 reductions": {}, "without": {}}
for name, block in blocks.items():
    channels, side = block.get_submodule("1x1").in_channels, SIDES[name[0]]
    shape = (1, channels, side, side)
    counts["with 1×1 reductions"][name] = multiplications(block, *shape)
    counts["without"][name] = multiplications(without_reductions(block), *shape)

# %% tags=["remove-input"]
ways = ("without", "with 1×1 reductions")
one_sitting.reductions({way: counts[way] for way in ways})
plt.show()

reduced, full = (sum(blocks.values()) for blocks in counts.values())
shared.glue_values(reduced=reduced, full=full, reduction=full / reduced)

# %% [markdown]
# :::{caption} fig-sitting-reductions
# :alt: Pairs of bars for the nine inceptions 3a to 5b. Without 1×1 reductions, each
# :  inception needs several times as many multiplications.
# Multiplications of GoogLeNet's inceptions for one image of 224×224 pixels, counted on
# PyTorch's `meta` device, with and without the 1×1 convolutions before 3×3 and 5×5.
# :::
#
# A 1×1 convolution is a linear layer that is applied at every cell; several of them,
# with nonlinearities between, are a small *network in network* {cite:p}`lin2014`.
# GoogLeNet uses 1×1 convolutions to reduce the channels before larger filters, the FCN
# to score the classes.
#
# *What we found.* The inceptions take {glue:text}`reduced:.1f` billion multiplications.
# Without the reductions they would take {glue:text}`full:.1f` billion,
# {glue:text}`reduction:.1f` times as many.
#
# ## The net
#
# ### Downsampling as an encoder

# %% tags=["remove-input"]
photo = photos.photo("china")
trunk = fcns["vgg16"].trunk
with torch.device("meta"):
    fields = fcn.FCN("vgg16", 8, num_classes=1, width=1 / 16).trunk.fields
skips.taps(photo[0].permute(1, 2, 0).numpy(), fields, centre=(190, 330))
plt.show()

with torch.no_grad():
    deepest = fcns["vgg16"].trunk(torch.empty_like(photo, device="meta"))[32]
shared.glue_values(cells=deepest[0, 0].numel(), pixels=photo[0, 0].numel())

# %% [markdown]
# :::{caption} fig-sitting-encoder
# :alt: A photo of a temple with three squares around one place, small at stride 8,
# :  larger at stride 16, nearly the whole height at stride 32; next to it an enlarged
# :  part with the centres of the cells, dense at stride 8 and sparse at stride 32.
# Left, what one cell of VGG16 sees at stride 8, 16 and 32. Right, the dashed part of
# the photo with the centres of all its cells.
# :::
#
# Convolutions and pools are an encoder: with every halving, a cell sees more of the
# photo and there are fewer cells. Depth knows *what* and forgets *where*.
#
# *What we found.* At stride 32, VGG16 has {glue:text}`cells:.0f` cells for the
# {glue:text}`pixels:,.0f` pixels of this photo ([chapter 5](05_skips.ipynb)).
#
# ### Four steps

# %% tags=["remove-input"]
coarse = fcn.load(stages.STAGES["FCN-32s"]).eval()
small = photos.resized(photo, (256, 384))
with torch.no_grad():
    maps = coarse.trunk(as_caffe(small, coarse.inputs, coarse.mean))
    cells = coarse.heads["semantic"].fused(maps)[0]
    scores = coarse(small)["semantic"][0]
labels = scores.argmax(0)
largest = int(labels.flatten().bincount().argmax())
one_sitting.four_steps(
    small[0],
    maps[32][0].numpy(),
    (cells.argmax(0), labels),
    scores[largest],
    SEMANTIC,
    PALETTE,
)
plt.show()

shared.glue_values(
    step_rows=cells.shape[1], step_columns=cells.shape[2], step_class=SEMANTIC[largest]
)

# %% [markdown]
# :::{caption} fig-sitting-steps
# :alt: A photo of a temple, four coarse feature maps, a grid of coloured cells, a
# :  smooth map of one class's score, and a label map with rounded regions.
# FCN-32s at work, with the score of {glue:text}`step_class` as the example of step 3.
# :::
#
# An FCN labels a photo in four steps: *feature extraction* by the backbone,
# *feature-level classification* by a 1×1 convolution, *upsampling* of the scores, and
# *segmentation*: the class with the largest score at each pixel. All of them are one
# net, trained end to end with a loss at the pixels.
#
# *What we found.* Our FCN-32s on GoogLeNet labels this photo from only
# {glue:text}`step_rows:.0f`×{glue:text}`step_columns:.0f` cells, so its regions are
# round ([chapter 6](06_sift_flow.ipynb)).
#
# ### Upsampling is a convolution backwards

# %% tags=["remove-input"]
stamped = torch.tensor([[4.0, 8.0], [0.0, 12.0]])
tent = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 0.25]])
upsampling.stamps(stamped, tent, stride=2)
plt.show()

# %% [markdown]
# :::{caption} fig-sitting-stamps
# :alt: Four cells in four colours; each stamps a filter of 3 by 3, and the sum of the
# :  overlapping stamps is a map of 5 by 5.
# A transposed convolution with stride 2: each cell stamps the filter, scaled by its
# value, and stamps add up where they overlap.
# :::
#
# Section 3.3: upsampling by a factor *f* is a convolution of stride *f* run backwards,
# a layer like any other. Bilinear interpolation is one choice of its filter.
#
# *What we found.* With this filter, PyTorch's transposed convolution and its bilinear
# interpolation agree inside the map:

# %%
one = F.conv_transpose2d(stamped[None, None], tent[None, None], stride=2)
other = F.interpolate(
    stamped[None, None], size=(3, 3), mode="bilinear", align_corners=True
)
torch.testing.assert_close(one[..., 1:-1, 1:-1], other)

# %% [markdown]
# They differ only at the border, where neighbours are missing
# ([chapter 4](04_upsampling.ipynb)).
#
# ### Bilinear against learned upsampling

# %% tags=["remove-input"]
compared = [claims.compare(one, found) for one in claims.CLAIMS]
results.one_change([one for one in compared if one])
plt.show()

by_id = {one.claim.id: one for one in compared if one}
learned = by_id["learned-upsampling"]
fast = claims.compare(claims.claim("learned-upsampling", claims.FAST_CLAIMS), found)
shared.glue_values(
    learned=learned.difference,
    learned_verdict=learned.verdict,
    learned_fast=fast.so_far,
)

# %% [markdown]
# :::{caption} fig-sitting-changes
# :alt: One row for each of thirteen changes, with an open dot for our difference. For
# :  learned upsampling it is near zero. For training only the score layers it is right
# :  of zero, and the paper's diamond far to the left. The three intervals are wide.
# One change at a time, on SIFT Flow with GoogLeNet: mean IU with the change less that
# without it, and what the paper says (geometric accuracy for the geometric task). Our
# runs are short, with one or two seeds each.
# :::
#
# One might expect learned upsampling to do much better than bilinear. The paper starts
# the intermediate layers as bilinear, learns them and fixes the last; the authors'
# release fixes all of them, and says that learning them made no significant difference.
#
# *What we found.* Learning them changes [mean IU](#metrics) by
# {glue:text}`learned:+.1f` points in a short run: {glue:text}`learned_verdict`. In
# three epochs of the fast recipe, with three seeds or more on each side, the change is
# {glue:text}`learned_fast`, with a 95 % interval that allows for the other tests.
# Trained alone, from random numbers, a filter becomes a tent like the bilinear one
# ([chapter 4](04_upsampling.ipynb)). [Chapter 12](12_results.ipynb) explains the other
# rows.
#
# ### Skips

# %% tags=["remove-input"]
street = outdoor.Scenes(12, (192, 256), seed=here.seed, split="test").scene(11)
with torch.device("meta"):
    vgg_8s = fcn.FCN("vgg16", 8, num_classes=21)
welcome.architecture(
    street.image.permute(1, 2, 0).numpy(),
    street.semantic.numpy(),
    outdoor.PALETTE,
    names={8: "pool3", 16: "pool4", 32: "fc7"},
    channels=vgg_8s.trunk.channels,
)
plt.show()

shared.glue_values(maximum=by_id["max-fusion"].difference)

# %% [markdown]
# :::{caption} fig-sitting-architecture
# :alt: An image, a row of shrinking maps, score maps at strides 8, 16 and 32 below
# :  them, two sums, and an upsampled label map at the lower left.
# FCN-32s, 16s and 8s on VGG16. The small maps are the scene's true labels at each
# stride.
# :::
#
# Section 4.2: score an earlier, finer map as well and add its scores to the upsampled
# coarse ones. New score layers start at zero, so a skip changes nothing until it has
# learned something. Taking the maximum instead of the sum made learning hard.
#
# *What we found.* {numref}`fig-sitting-stages` shows the gain in detail. The maximum
# instead of the sum changed mean IU by {glue:text}`maximum:+.1f` points in a run of one
# epoch and one seed ([chapter 5](05_skips.ipynb)).
#
# ### 32s, 16s, 8s

# %% tags=["remove-input"]
published = {s: paper.row("Table 2", f"FCN-{s}").metrics for s in ("32s", "16s", "8s")}
ours = {
    stride: chapter_tables.mean_scores(found, name)
    for stride, name in chapter_tables.SHORT.items()
}
sift_flow.skips(published, ours)
plt.show()

iu_32s, iu_16s, iu_8s = (scores["mean_iu"] for scores in ours.values())
control = f"{chapter_tables.SHORT['32s']}-lower-rate"
iu_control = chapter_tables.mean_scores(found, control)["mean_iu"]
shared.glue_values(
    step_16s=iu_16s - iu_32s, step_8s=iu_8s - iu_16s, from_skip=iu_16s - iu_control
)

# %% [markdown]
# :::{caption} fig-sitting-skips
# :alt: Two panels of lines from 32s to 16s to 8s, one line per metric. In both, the
# :  first skip gains most and the second little.
# Gains of each metric over FCN-32s: the paper's Table 2, and our short runs (one seed).
# :::
#
# The first skip gains 3.0 points of mean IU, the second 0.3, and there the paper stops.
#
# *What we found.* In stages, with one seed, {glue:text}`step_16s:+.1f` and
# {glue:text}`step_8s:+.1f` points. Each finer net is also trained longer. Compared with
# FCN-32s trained as long, the first skip is worth {glue:text}`from_skip:+.1f` ([chapter
# 6](06_sift_flow.ipynb)).
#
# ### U-Net's skips are different

# %% tags=["remove-input"]
one_sitting.ladders()
plt.show()

head = vgg_8s.heads["scores"]
added = sum(p.numel() for s in head.skips for p in head[f"score{s}"].parameters())
shared.glue_values(
    skip_weights=added, all_weights=sum(p.numel() for p in vgg_8s.parameters()) / 1e6
)

# %% [markdown]
# :::{caption} fig-sitting-ladders
# :alt: Two ladders of boxes. FCN-8s has a long way down and two red arrows across at
# :  strides 16 and 8, then one jump to the pixels; U-Net has as many boxes on the way
# :  up as on the way down, and a red arrow across at every stride but the coarsest.
# Where the skips (red) go. Grey boxes are features, coloured ones class scores.
# :::
#
# The FCN has no decoder to speak of: two sums of class scores, then one interpolation
# by a factor of eight. Symmetric nets with a skip of *features* at every stride came
# half a year later, with U-Net {cite:p}`ronneberger2015`.
#
# *What we found.* The score layers of the two skips add {glue:text}`skip_weights:,.0f`
# weights to FCN-8s, a net of {glue:text}`all_weights:.0f` million. We trained no U-Net.
#
# ## Scoring and training
#
# ### Metrics

# %% tags=["remove-input"]
names = ("sky", "tree", "pole")
colours = outdoor.PALETTE[[palette.CLASSES.index(name) for name in names]]
V = VOID
truth = np.array([[0, 0, 0, 2], [0, 0, 1, 2], [V, 1, 1, 2], [1, 1, 1, V]])
guess = np.array([[0, 0, 0, 0], [0, 1, 1, 2], [1, 1, 1, 2], [1, 1, 0, 2]])
confusion = ConfusionMatrix(3)
confusion.update(torch.from_numpy(truth), torch.from_numpy(guess))
labelling.by_hand(truth, guess, confusion.matrix.numpy(), names, colours)
plt.show()

scored = confusion.metrics()
shared.glue_values(
    hand_pixel=scored.pixel_accuracy,
    hand_mean=scored.mean_accuracy,
    hand_iu=scored.mean_iu,
    hand_fw=scored.frequency_weighted_iu,
)

# %% [markdown]
# :::{caption} fig-sitting-metrics
# :alt: A ground truth and a prediction of four by four cells, three of them wrong and
# :  framed in red, and the confusion matrix of three classes that counts their pairs.
# Errors have a red frame. The two void pixels (grey) are not counted.
# :::
#
# The paper reports four metrics of one confusion matrix over the whole split: pixel
# accuracy, mean accuracy over the classes, mean intersection over union (mean IU), and
# IU weighted by frequency.
#
# *What we found.* In this example they are {glue:text}`hand_pixel:.1f`,
# {glue:text}`hand_mean:.1f`, {glue:text}`hand_iu:.1f` and {glue:text}`hand_fw:.1f` %.
# Averaging the IU of single images gives another number, and so does counting absent
# classes ([chapter 2](02_pixels_to_scores.ipynb)).
#
# ### Whole images or patches

# %% tags=["remove-input"]
sampled = figure_5.find(found)
sampling.curves(sampled)
plt.show()

(large,) = tables.final(found, figure_5.CONTROL)
steps, _ = figure_5.common({1.0: large, 0.25: sampled[0.25]})
less, _ = figure_5.difference(sampled[0.25], large, "step", steps)
shared.glue_values(
    keep25=figure_5.values(sampled)["keep25_step"], keep25_control=abs(less)
)

# %% [markdown]
# :::{caption} fig-sitting-sampling
# :alt: Two panels with three falling loss curves each, for 100, 50 and 25 % of the
# :  cells, against iterations and against images.
# Training loss of FCN-32s on SIFT Flow, with all cells in the loss and with a random
# part of them, one seed each.
# :::
#
# A loss summed over cells trains on all patches of an image at once; drawing patches
# means dropping cells. Section 4.3 finds that sampling does not speed up convergence,
# and that whole images take less time.
#
# *What we found.* With a quarter of the cells and four times the images per batch, the
# loss is {glue:text}`keep25:.1f` % lower after as many iterations. Compared with all
# cells in batches as large, the difference is {glue:text}`keep25_control:.1f` %, which
# is within the scatter of the curves. So the larger batch helped, not the sampling, in
# these runs of one seed at a high learning rate ([chapter
# 11](11_patches_shifts_stitches.ipynb)).
#
# ## The results
#
# ### PASCAL VOC

# %% tags=["remove-input"]
table_3 = [
    row for row in paper.TABLES if row.table == "Table 3" and row.of == "VOC 2011"
]
nyud.table_4([(row.label, row.metrics["mean_iu"]) for row in table_3])
plt.show()

subset = chapter_tables.subset(found)
_, *finer = (chapter_tables.mean_iu(run) for run in subset.values())
shared.glue_values(**dict(zip(("voc_32s", "voc_16s", "voc_8s"), finer, strict=True)))

# %% [markdown]
# :::{caption} fig-sitting-voc
# :alt: Three bars, R-CNN at 47.9, SDS at 52.6 and FCN-8s at 62.7.
# The paper's Table 3: mean IU on the test photos of VOC 2011.
# :::
#
# The headline: a fifth more than SDS {cite:p}`hariharan2014`, here and on the test
# photos of VOC 2012, where FCN-8s has 62.2 mean IU.
#
# *What we found.* We have not run it. We trained FCN-GoogLeNet at strides 32, 16 and 8,
# with one seed, on a small part of VOC's photos. Over background and six classes, mean
# IU is {glue:text}`voc_32s:.1f`, {glue:text}`voc_16s:.1f` and {glue:text}`voc_8s:.1f`;
# these numbers do not compare with the paper's ([chapter 7](07_pascal_voc.ipynb)).
#
# ### NYUDv2: colour and depth

# %% tags=["remove-input"]
table_4 = [row for row in paper.TABLES if row.table == "Table 4"]
nyud.table_4([(row.label, row.metrics["mean_iu"]) for row in table_4])
plt.show()

# %% [markdown]
# :::{caption} fig-sitting-nyud
# :alt: Bars of mean IU. HHA alone is shortest; RGB-HHA is longer than RGB and RGBD, and
# :  FCN-16s RGB-HHA is longest.
# The paper's Table 4: mean IU on the 654 test photos of NYUDv2.
# :::
#
# Depth as a fourth channel (RGBD) helps little. It helps more to train one net on
# colour and one on HHA, an encoding of depth {cite:p}`gupta2014`, and to add their
# scores.
#
# *What we found.* We have not run it. We built HHA and both ways to use depth, and show
# them on painted rooms ([chapter 8](08_nyudv2.ipynb)).
#
# ### SIFT Flow: two tasks, one net

# %% tags=["remove-input"]
reference = paper.row("Table 5", "FCN-16s")
rows = [row for row in paper.TABLES if row.table == "Table 5"]
tuned = chapter_tables.mean_scores(found, chapter_tables.TUNED)
sift_flow.table_5(rows, reference.label, {"short, 8s": ours["8s"], "tuned, 8s": tuned})
plt.show()

shared.glue_values(
    tuned_iu=tuned["mean_iu"],
    tuned_pixel=tuned["pixel_accuracy"],
    tuned_geometric=tuned["geometric_accuracy"],
)

# %% [markdown]
# :::{caption} fig-sitting-sift
# :alt: Dots on five lines, one per metric. Earlier methods are grey; to the right of
# :  them is a brown diamond, the paper's FCN-16s. Our short run is left of the diamond,
# :  our tuned run right of it except in mean accuracy.
# The paper's Table 5, and FCN-8s on GoogLeNet with two of our recipes.
# :::
#
# In the paper, one net with two heads predicts 33 semantic and 3 geometric classes, and
# does as well as two nets: 39.5 mean IU, 85.2 % pixel accuracy, 94.3 % geometric
# accuracy.
#
# *What we found.* With GoogLeNet, at stride 8, with our tuned recipe and one seed,
# {glue:text}`tuned_iu:.1f` mean IU, {glue:text}`tuned_pixel:.1f` % pixel accuracy and
# {glue:text}`tuned_geometric:.1f` % geometric accuracy, on geometric labels derived
# from the semantic ones ([chapter 6](06_sift_flow.ipynb)).
#
# ### PASCAL-Context: whole scenes

# %% tags=["remove-input"]
table_6 = [row for row in paper.TABLES if row.table == "Table 6"]
context.table_6(
    {
        task: [(row.label, row.metrics["mean_iu"]) for row in table_6 if row.of == task]
        for task in ("59 classes", "33 classes")
    }
)
plt.show()

# %% [markdown]
# :::{caption} fig-sitting-context
# :alt: Two panels of bars, for 59 and for 33 classes. O2P and CFM are grey and shorter;
# :  FCN-32s, 16s and 8s are longer, 16s and 8s nearly equal.
# The paper's Table 6: mean IU on the validation photos of PASCAL-Context.
# :::
#
# PASCAL-Context labels the whole photo, sky and grass included. FCN-8s beats the
# earlier O2P {cite:p}`carreira2012` and CFM {cite:p}`dai2015`, and most of its gain
# over FCN-32s comes with the first skip.
#
# *What we found.* We have not run it; the net and both tasks are shown on painted
# scenes ([chapter 9](09_pascal_context.ipynb)).
#
# ### Upper bounds

# %% tags=["remove-input"]
by_stride = {int(s[:-1]): metrics["mean_iu"] for s, metrics in published.items()}
bounds.headroom(by_stride, upper_bounds.PAPER)
plt.show()

lines = upper_bounds.ranked(snapshots.load("appendix-a", here.folder_of("appendix-a")))
shared.glue_values(protocols=len(lines) - 1, nearest=lines[1].distance)

# %% [markdown]
# :::{caption} fig-sitting-bounds
# :alt: Mean IU of FCN-32s, 16s and 8s, each far below the upper bound at its stride.
# The paper's nets (Table 2, in colour) and its upper bounds (appendix A, grey), on the
# same photos.
# :::
#
# Scale the ground truth down and up again and score it: an approximate upper bound for
# nets that give each cell one label. Even at stride 32 it is 86.1, far above FCN-8s's
# 62.7.
#
# *What we found.* The paper does not say how it resamples. Of
# {glue:text}`protocols:.0f` ways to do it, the nearest differs from its row by
# {glue:text}`nearest:.1f` points on average
# ([chapter 10](10_how_good_can_it_get.ipynb)).
#
# ### Speed

# %% tags=["remove-input"]
benchmark = (load_benchmarks(here.results) or load_benchmarks(presets.COMMITTED))[0]
how_fast.seconds_per_photo(benchmark)
plt.show()

forward = benchmark.main("forward")
shared.glue_values(
    hardware=benchmark.hardware,
    threads=benchmark.threads,
    forward_ms=1000 * forward[Variant()].median,
    port_ms=1000 * forward[Variant("padded port")].median,
)

# %% [markdown]
# :::{caption} fig-sitting-speed
# :alt: Bars of seconds per photo for a forward pass and for a training step. Our nets
# :  are green; the padded port and the other peers are grey.
# Seconds per photo of 500×375 pixels, float32. Bars are medians, lines join the
# quartiles.
# :::
#
# In the paper, FCN-8s takes about 175 ms per photo, and SDS about 50 s.
#
# *What we found.* On a CPU ({glue:text}`hardware`, {glue:text}`threads:.0f` threads),
# our FCN-8s on VGG16 takes {glue:text}`forward_ms:.0f` ms and a port of the authors'
# padded net {glue:text}`port_ms:.0f` ms ([chapter 14](14_how_fast.ipynb)).
#
# ### What came after

# %% tags=["remove-input"]
later = [row for row in paper.OTHERS if row.of == "59 classes"]
context_59 = [row for row in table_6 if row.of == "59 classes" and "FCN" in row.label]
nyud.table_4([(row.label, row.metrics["mean_iu"]) for row in (*context_59, *later)])
plt.show()

race = tables.final(found, find("speedrun").name)
race_scores = [run.scores["mean_iu"] for run in race]
shared.glue_values(race=tables.over_seeds(race_scores), race_seeds=len(race))

# %% [markdown]
# :::{caption} fig-sitting-after
# :alt: Five bars. The paper's three nets reach 31.8, 34.8 and 35.1; an FCN on a dilated
# :  ResNet-101, trained twice, reaches 48.4 and 49.4.
# Mean IU on PASCAL-Context with 59 classes: the paper's nets, and an FCN on ResNet-101
# with dilation instead of skips, trained for 40,000 and 80,000 iterations by
# [mmsegmentation](https://github.com/open-mmlab/mmsegmentation).
# :::
#
# The journal version {cite:p}`shelhamer2017` reaches 67.2 mean IU on VOC 2012's test
# photos. DeepLab {cite:p}`chen2015,chen2018` keeps a finer stride by dilation,
# DeconvNet {cite:p}`noh2015` and U-Net add deep decoders, and the backbone becomes a
# ResNet.
#
# *What we found.* We ran none of these. But FCN-8s on GoogLeNet, with our own recipe,
# reaches {glue:text}`race` mean IU on SIFT Flow (mean and standard deviation of
# {glue:text}`race_seeds:.0f` seeds; the ideas of its last changes came from test
# scores). The paper's FCN-16s on VGG16 has 39.5 ([chapter 15](15_speedrun.ipynb)).
#
# ## Glossary
#
# :::{glossary}
# ablation
#   A run with one part changed or left out, to see what that part is worth
#   ([chapter 12](12_results.ipynb)).
#
# backbone
#   The layers that turn an image into features: a classifier without its last layer
#   ([chapter 3](03_convolutionalization.ipynb)).
#
# bilinear interpolation
#   Upsampling by weights that fall linearly with the distance along each axis
#   ([chapter 4](04_upsampling.ipynb)).
#
# cell
#   One place of a map inside the net. A cell at stride 32 answers for 32×32 pixels
#   ([chapter 3](03_convolutionalization.ipynb)).
#
# confusion matrix
#   The number of pixels of each class (row) that were predicted as each class (column)
#   ([chapter 2](02_pixels_to_scores.ipynb)).
#
# dilation
#   Gaps between the weights of a filter, which widen its view without a larger stride
#   ([chapter 11](11_patches_shifts_stitches.ipynb)).
#
# encoder, decoder
#   The layers that reduce the resolution, and those that restore it
#   ([chapter 1](01_welcome.ipynb)).
#
# head
#   The score layers, skips and upsampling of one task. Two heads share one backbone on
#   SIFT Flow ([chapter 6](06_sift_flow.ipynb)).
#
# HHA
#   Depth as three channels: horizontal disparity, height above ground, angle
#   ([chapter 8](08_nyudv2.ipynb)).
#
# label map
#   An array with the number of the class of each pixel
#   ([chapter 2](02_pixels_to_scores.ipynb)).
#
# logits
#   The scores before the softmax, one per class and pixel
#   ([chapter 2](02_pixels_to_scores.ipynb)).
#
# mean IU
#   Intersection over union of each class, averaged over the classes
#   ([chapter 2](02_pixels_to_scores.ipynb)).
#
# receptive field
#   The pixels that a cell can see ([chapter 3](03_convolutionalization.ipynb)).
#
# record
#   The JSON file of a run: settings, data, weights, machine, confusion matrices
#   ([chapter 12](12_results.ipynb)).
#
# score layer
#   A 1×1 convolution from features to one score per class
#   ([chapter 5](05_skips.ipynb)).
#
# skip
#   A path from an earlier, finer map past the deeper layers. In an FCN it adds scores
#   ([chapter 5](05_skips.ipynb)).
#
# stage
#   One of several training runs, each starting from the net of the one before it: 32s,
#   16s, 8s ([chapter 6](06_sift_flow.ipynb)), or the score layers, then all layers
#   ([chapter 15](15_speedrun.ipynb)).
#
# stride
#   The distance in pixels between neighbouring cells
#   ([chapter 3](03_convolutionalization.ipynb)).
#
# tap
#   In a filter, one of its numbers ([chapter 4](04_upsampling.ipynb)). In a backbone, a
#   layer whose map a skip scores: `pool3` or `pool4` of VGG16
#   ([chapter 5](05_skips.ipynb)).
#
# transposed convolution
#   A convolution run backwards: each cell stamps a filter onto a finer map. The paper
#   calls it deconvolution ([chapter 4](04_upsampling.ipynb)).
#
# void
#   The label of pixels that have no class; they add nothing to the loss and are not
#   scored ([chapter 2](02_pixels_to_scores.ipynb)).
# :::
#
# ## Summary
#
# - A classifier becomes an FCN when its fully connected layers are read as
#   convolutions. It then scores a grid of cells instead of one image.
# - Upsampling brings the scores back to the pixels, and the loss with them. Skips add
#   what finer maps know about borders.
# - We confirm everything that follows from the layers alone, except one receptive
#   field. What needs training we ran only briefly, on SIFT Flow and a part of PASCAL
#   VOC.
# - Our runs are too short and too few to settle the paper's claims about training.
#
# ## Exercises
#
# 1. *Two layers.* A 3×3 convolution of stride 2 follows another of the same kind. Which
#    receptive field and which stride does the second map have?
#
#    :::{dropdown} Solution
#    Layers compose to a kernel of *k′* + (*k* − 1) *s′* = 3 + 2 · 2 = 7 pixels and a
#    stride of *s s′* = 4.
#    :::
#
# 2. *Metrics by hand.* In {numref}`fig-sitting-metrics`, let the prediction call
#    every pixel *tree*. What are pixel accuracy, mean accuracy and mean IU?
#
#    :::{dropdown} Solution
#    Six of the 14 labelled pixels are *tree*. Pixel accuracy is 6/14 ≈ 42.9 %.
#    The accuracies of the classes are 0, 1 and 0, so their mean is 33.3 %. The IU of
#    *tree* is 6/14, the others are 0, and mean IU is 6/42 ≈ 14.3 %.
#    :::
#
# 3. *Where 1×1 convolutions pay.* An inception reads 192 channels and reduces them to
#    16 before 32 filters of 5×5. How many multiplications per cell does this branch
#    take, and how many without the reduction?
#
#    :::{dropdown} Solution
#    With it, 192 · 16 + 16 · 32 · 25 = 15,872; without,
#    192 · 32 · 25 = 153,600, almost ten times as many. This is branch 5×5 of
#    inception 3a.
#    :::
#
# 4. *The next claim.* Choose a row of {numref}`fig-sitting-changes` and look up its
#    runs, and the rules for a verdict, in [chapter 12](12_results.ipynb). What is
#    missing before the row gets a verdict?
#
#    :::{dropdown} Solution
#    Length comes first: after one epoch, no number of seeds is enough. Runs as long as
#    the paper's then need at least three seeds on both sides. Whether three are enough
#    depends on the spread between seeds; exercise 2 of chapter 12 computes an example.
#    :::
