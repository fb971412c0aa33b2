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
# # Welcome
#
# A classifier says what a photo shows. A fully convolutional network (FCN) says it for
# every pixel, and {cite:t}`long2015` found that a classifier needs little change to
# become one. This book rebuilds their network from its parts, trains it on real
# photographs, and compares the results with the published ones.
#
# :::{figure} assets/results.png
# :name: fig-welcome-results
# :alt: A temple by a lake and a rocket between towers; below each photo its label
# :  map, in which sky, trees and buildings have clean outlines and the water and the
# :  foot of the rocket are patchy.
#
# Two photos, and the labels that our FCN-8s, trained on SIFT Flow, predicts for their
# pixels. It has no class for rockets. Photos: temple by danielbuechele (CC BY 2.0),
# rocket by SpaceX (CC0).
# :::
#
# ## What you will learn
#
# - how image classifiers led to nets that label every pixel;
# - why a fully connected layer accepts only one image size, and forgets where things
#   are;
# - the FCN in one figure: a backbone, score layers, skips and upsampling;
# - what this book replicates, how close it comes, and how to read, rerun and cite it.

# %% tags=["parameters", "hide-input"]
seed = 0
results_dir = "../results"  # the records of the runs

# %% tags=["remove-input"]
import presets

here = presets.check(seed=seed, results_dir=results_dir)

# %% tags=["hide-input"]
import re

import pandas as pd
import torch
import torchvision
from torch import nn

import fcn
from fcn.classifiers import CLASSIFIERS
from fcn.convolutionalize import convolutionalize
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.replication import tables
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.paper import TABLES, TITLES
from figures import style
from figures import welcome as figures

style.use()
torch.manual_seed(here.seed)
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## The road
#
# **A classifier** takes an image of a fixed size and outputs one score per class.
# AlexNet {cite:p}`krizhevsky2012` showed in 2012 how far a deep one gets when it learns
# from the million labelled photos of ImageNet {cite:p}`deng2009,russakovsky2015`. In
# 2014 two nets went deeper in different ways. VGG {cite:p}`simonyan2015` stacks small
# 3×3 filters; GoogLeNet {cite:p}`szegedy2015` runs filters of several sizes in parallel
# and saves parameters with 1×1 convolutions {cite:p}`lin2014`. These three are the
# backbones of the FCN paper. ResNet {cite:p}`he2016` followed a year later. It adds
# each block's input to its output, which makes a hundred layers trainable; many dense
# nets since then use it as their backbone and keep the FCN's idea.
#
# How large are they? A net built on PyTorch's *meta* device has shapes but no numbers,
# so we can simply count:


# %%
def size(net: nn.Module) -> tuple[int, float]:
    """Layers with weights on the longest path, and parameters in millions."""

    def depth(module: nn.Module) -> int:
        if isinstance(module, nn.Conv2d | nn.Linear):
            return 1
        if hasattr(module, "branches"):  # the parallel branches of GoogLeNet's blocks
            return max(sum(map(depth, branch)) for branch in module.branches())
        return sum(
            depth(child)
            for name, child in module.named_children()
            if name != "downsample"
        )

    return depth(net), sum(p.numel() for p in net.parameters()) / 1e6


with torch.device("meta"):
    nets = {
        "AlexNet": CLASSIFIERS["alexnet"](),
        "VGG16": CLASSIFIERS["vgg16"](),
        # without the two auxiliary classifiers of its training
        "GoogLeNet": CLASSIFIERS["googlenet"](),
        "ResNet-152": torchvision.models.resnet152(),
    }
sizes = {name: size(net) for name, net in nets.items()}
pd.DataFrame(
    sizes.values(), index=list(sizes), columns=["layers", "parameters (millions)"]
).round(1)

# %% [markdown]
# :::{caption} tab-welcome-nets
# The layers with weights on the longest path through each classifier, and its
# parameters.
# :::
#
# **Dense prediction** wants an answer for each place instead of one per image. Before
# the FCN, convolutional nets got there by detours. {cite:t}`farabet2013` and
# {cite:t}`pinheiro2014` trained nets on the patch around a pixel; the former smoothed
# the result over superpixels. R-CNN {cite:p}`girshick2014` and SDS
# {cite:p}`hariharan2014` let a classifier judge boxes and regions that another method
# had proposed. OverFeat {cite:p}`sermanet2014` slid a classifier over the whole image,
# as we will, but to find boxes. What was missing was one net that maps a whole image to
# a whole label map and is trained end to end.

# %% tags=["remove-input"]
figures.timeline(sizes)
style.plt.show()

# %% [markdown]
# :::{caption} fig-timeline
# :alt: A time line that runs down from 2012 to 2016. Discs on the left are the
# :  classifiers AlexNet, VGG16, GoogLeNet and ResNet-152; VGG16 is the largest. Green
# :  lines lead from the first three to the FCN of November 2014 on the right, grey
# :  lines to other nets for dense prediction.
# Classifiers (left; the area of a disc is proportional to the number of parameters) and
# nets for dense prediction (right), each column in the order in which they first
# appeared; close neighbours are moved apart, so compare dates in one column only. A
# line leads from a classifier to a net that uses its layers: green for the FCN's three
# backbones, grey for the others. After the FCN, DeepLab {cite:p}`chen2015,chen2018`
# kept a finer stride by dilation. DeconvNet {cite:p}`noh2015` put a decoder as deep as
# its encoder on top of VGG16. U-Net {cite:p}`ronneberger2015` also has a deep decoder,
# but does not start from a pretrained classifier.
# :::
#
# ## What a fully connected layer does to an image
#
# The last layers of AlexNet and VGG16 are *fully connected*: each output is a weighted
# sum of all cells of the map before it, with its own weights for each cell. The image
# size for which the net was made fixes the number of cells, and with it the number of
# weights. Here is AlexNet at an eighth of its width:

# %%
classifier = CLASSIFIERS["alexnet"](num_classes=5, width=1 / 8).eval()


@torch.no_grad()
def shape_or_error(net: nn.Module, height: int, width: int) -> str:
    try:
        return " x ".join(map(str, net(torch.rand(1, 3, height, width)).shape))
    except RuntimeError as error:  # "... shapes cannot be multiplied (... and ...)"
        return "do not fit: " + re.findall(r"\((.*)\)", str(error))[0]


for image_size in [(227, 227), (227, 323), (451, 451)]:
    print(image_size, "->", shape_or_error(classifier, *image_size))

# %% [markdown]
# The fully connected layer reads 6×6 cells of 32 channels, 1152 numbers, and has one
# column of weights for each. A wider image has more cells, and no weights for them. (In
# VGG16 the map is 7×7.)
#
# The layer also loses *place*. It sees a list of cells, not a map: shuffle the list,
# shuffle the columns of the weights in the same way, and nothing changes. It does not
# know which cells are neighbours, and its scores say *what* but not *where*.

# %%
cells, layer, shuffled = torch.rand(1, 1152), nn.Linear(1152, 5), nn.Linear(1152, 5)
order = torch.randperm(1152)
shuffled.load_state_dict({"weight": layer.weight[:, order], "bias": layer.bias})
print(
    "same scores from shuffled cells:",
    torch.allclose(layer(cells), shuffled(cells[:, order]), atol=1e-5),
)

# %% [markdown]
# To fix both, look at the weights again. One column for each cell of a 6×6 map *is* a
# 6×6 filter. Slide it like every other filter of the net, and the layer takes a map of
# any size. A map larger than the filter yields a map of scores, each of which belongs
# to a place.

# %%
convolutional = convolutionalize(classifier).eval()
for image_size in [(227, 227), (227, 323), (451, 451)]:
    print(image_size, "->", shape_or_error(convolutional, *image_size))

# %% tags=["remove-input"]
town = Scenes(1, (192, 288), seed=here.seed, split="test").scene(0)
figures.fully_connected(town.image.permute(1, 2, 0).numpy())
style.plt.show()

# %% [markdown]
# :::{caption} fig-connected
# :alt: Three rows. Top, a 6 by 6 map is flattened into a strip of 36 cells above 36
# :  columns of weights. Middle, a 6 by 9 map has 54 cells, and the last ones have no
# :  weights. Bottom, the same weights slide over the wider map as a 6 by 6 filter and
# :  output four scores for each class.
# Top: a fully connected layer on the map it was made for, flattened row by row (each
# cell stands for all of its channels). Middle: a wider image leaves cells without
# weights. Bottom: the same weights as the filter of a convolution, at the last of its
# four places.
# :::
#
# No weight was changed. [Chapter 3](03_convolutionalization.ipynb) converts all three
# classifiers with their real weights in this way, and measures how much time sliding
# saves over cutting out patches.
#
# ## How the FCN gets back to pixels
#
# A sliding classifier outputs scores on a coarse grid: it halves the resolution five
# times, which leaves one cell for every 32×32 pixels. The paper's second half is the
# way back to pixels. It has three parts:
#
# - **Score layers.** A 1×1 convolution turns the features of a cell into one score per
#   class.
# - **Upsampling inside the net.** A {term}`transposed convolution` turns coarse scores
#   into finer ones and starts as bilinear interpolation. Because it is a layer, the
#   loss is taken at the pixels and its gradient reaches the whole net ([chapter
#   4](04_upsampling.ipynb)). With only this, the net is **FCN-32s**.
# - **Skips.** The maps at strides 16 and 8 come earlier in the backbone: they know less
#   about *what* and more about *where*. They get score layers of their own, whose
#   scores are added to the upsampled coarse ones. One skip makes **FCN-16s**, two make
#   **FCN-8s** ([chapter 5](05_skips.ipynb)).

# %% tags=["hide-input"]
with torch.device("meta"):
    vgg = fcn.FCN("vgg16", stride=8, num_classes=21)
street = Scenes(12, (192, 256), seed=here.seed, split="test").scene(11)
figures.architecture(
    street.image.permute(1, 2, 0).numpy(),
    street.semantic.numpy(),
    PALETTE,
    names={8: "pool3", 16: "pool4", 32: "fc7"},
    channels=vgg.trunk.channels,
)
style.plt.show()

# %% [markdown]
# :::{caption} fig-architecture
# :alt: A painted street on the left, followed by ever smaller and deeper blocks,
# :  the maps of VGG16. Below three of them are coarse label maps at strides 8, 16 and
# :  32, which are upsampled and added from right to left until a full label map is
# :  reached.
# The FCN on VGG16. From left to right: the backbone, whose maps shrink and deepen (not
# to scale). Downwards: score layers at strides 8, 16 and 32. From right to left: scores
# are upsampled, and added to those of the next finer stride where the paths meet (+).
# Dashed: the paths of FCN-16s and FCN-32s to the pixels. The street is painted by this
# project, and the score maps show its true labels at each stride: not predictions, but
# one label per cell.
# :::
#
# The net consists of convolutions, pooling, sums and interpolation. Each accepts maps
# of any size, and so does the net:

# %%
net = fcn.FCN("vgg16", stride=8, num_classes=21, width=1 / 16).eval()
for image_size in [(192, 256), (97, 131), (1, 1)]:
    print(image_size, "->", shape_or_error(net, *image_size))

# %% [markdown]
# ## What the paper claims
#
# Classifiers trained on ImageNet become good nets for segmentation when they are made
# fully convolutional and fine-tuned end to end on whole images. Skips make the result
# finer. One pass over an image replaces slow pipelines of proposals and superpixels. On
# the test images of PASCAL VOC {cite:p}`everingham2010`, the paper compares itself with
# the best methods before it, in percent of *mean IU* ([chapter
# 2](02_pixels_to_scores.ipynb)):

# %%
headline = [row for row in TABLES if row.table == "Table 3"]
pd.DataFrame(
    [
        (row.of, row.metrics["mean_iu"], row.metrics.get("forward_ms", "-"))
        for row in headline
    ],
    index=[row.label for row in headline],
    columns=["test set", "mean IU", "ms per image (about)"],
)

# %% [markdown]
# :::{caption} tab-welcome-voc
# The paper's Table 3: mean IU on the test images of PASCAL VOC, and inference time.
# :::

# %%
on_2012 = {row.label: row.metrics for row in headline if row.of == "VOC 2012"}
before, after = on_2012["SDS"], on_2012["FCN-8s"]
gain = after["mean_iu"] / before["mean_iu"] - 1
speed = before["forward_ms"] / after["forward_ms"]
print(
    f"On VOC 2012: {100 * gain:.0f} % better than SDS, relatively,",
    f"and about {speed:.0f} times its speed",
)

# %% [markdown]
# The journal version {cite:p}`shelhamer2017` adds experiments and analysis; the parts
# are the same.
#
# ## What this book replicates
#
# The package `fcn` contains the three classifiers, their conversion, the nets at
# strides 32, 16 and 8, and the paper's losses, metrics and recipe. Its catalogue lists
# every row of the paper's result tables: the published numbers and, for the paper's own
# nets, the experiments that would replicate them. Table 3 has no experiment, because
# only the server of PASCAL VOC can score its test images.

# %% tags=["wrap-last-column"]
records = here.records()
recorded = {name for name in EXPERIMENTS if tables.final(records, name)}
overview = []
for name, title in TITLES.items():
    experiments = [
        e.name
        for e in EXPERIMENTS.values()
        if e.paper is not None and e.paper[0] == name
    ]
    rows = sum(row.table == name for row in TABLES)
    overview.append(
        (
            rows,
            len(experiments),
            len(recorded.intersection(experiments)),
            title.split(",")[0],
        )
    )
columns = ["published rows", "experiments", "with a record", "on what"]
pd.DataFrame(overview, index=list(TITLES), columns=columns)

# %% [markdown]
# :::{caption} tab-welcome-tables
# The paper's result tables, and how many of our experiments for them have a record.
# :::
#
# Most of our runs are on **SIFT Flow** {cite:p}`liu2011`: outdoor photos whose pixels
# carry one of 33 semantic classes and one of three geometric ones, predicted by one net
# with two heads ([chapter 6](06_sift_flow.ipynb)). The paper used VGG16. We use
# GoogLeNet with its public ImageNet weights: it has about a twentieth of VGG16's
# parameters, so we can train it without a large machine. The paper tried it on one data
# set only and never released its FCN. Further short runs change one thing at a time,
# and some use a small part of PASCAL VOC's photos; [chapter 12](12_results.ipynb) has
# them all. Every other experiment waits for data, weights or time. Until then the tests
# run it on a tiny data set in the official layout.
#
# Rules that hold on every page:
#
# - **No record, no number.** A table shows a score of ours on real photos only if a
#   file under `results/` says how it was obtained: settings, seed, images, weights,
#   versions, machine, and the confusion matrices it was computed from. Otherwise the
#   table says *not run*. Scores on painted scenes come from the code on the page.
# - **Published numbers are quoted, not computed.** The published scores are in one
#   file, `fcn/replication/published.csv`, with a link for each that is not the paper's.
# - **Recipes are not chosen on test images.** Where a score decides, it is one on a
#   fixed tenth of the training images. We score the last weights of the final run once
#   on the test images. The speedrun is the exception: it was shortened after a test
#   score was known, and the ideas of its last two rows came from such scores ([chapter
#   15](15_speedrun.ipynb)).
# - **Deviations are named**, in the record of each run and in chapter 12.
# - **Painted scenes are for learning, not for results.** They need no download and
#   their labels are exact. No table mixes scores on them with the paper's.
#
# ## The results at a glance
#
# Percent on the 200 test images of SIFT Flow, the paper's row first. `short` marks the
# paper's recipe at a higher learning rate for a fraction of its epochs, in the paper's
# stages from 32s to 8s. `tuned` marks our own recipe. It uses AdamW, which scored
# higher than SGD on the validation split after one epoch of each, though that trial of
# SGD ended only when the tuned run had begun; its nine epochs and mirrored photos were
# added without another trial ([chapter 6](06_sift_flow.ipynb)). The names omit
# `sift-flow-googlenet-`.

# %% tags=["full-width"]
shown = tables.at_a_glance(records).drop(columns="source")
shown.rename(
    index=lambda name: name.removeprefix("sift-flow-googlenet-"),
    columns={"geometric acc.": "geom. acc."},
)

# %% [markdown]
# :::{caption} tab-welcome-glance
# The paper's net and ours on SIFT Flow, in percent.
# :::
#
# **Our rows do not compete with the paper's.** They differ from it in several things at
# once: the backbone; the recipe; in most rows the stride (the paper's is FCN-16s);
# training photos that had been saved again as JPEG; and geometric labels derived from
# the semantic ones, so the last column is scored on labels that are close to the
# paper's, but not the same.
# Each row is a single run with one seed. [Chapter 6](06_sift_flow.ipynb) discusses what
# each deviation may cost or gain.

# %% [markdown]
# ## How to read it
#
# | chapter | question |
# | :-- | :-- |
# | [2. From pixels to scores](02_pixels_to_scores.ipynb) | What is a segmentation, and how is it scored? |
# | [3. Fully connected layers are convolutions](03_convolutionalization.ipynb) | How does a classifier output a map of scores? |
# | [4. Upsampling](04_upsampling.ipynb) | How do coarse scores reach the right pixels? |
# | [5. Skip connections](05_skips.ipynb) | What is lost at stride 32, and what brings it back? |
# | [6. SIFT Flow](06_sift_flow.ipynb) | How close do we come on real photographs? |
# | [7. PASCAL VOC](07_pascal_voc.ipynb) | How do three backbones and the skips compare on the paper's main benchmark? |
# | [8. NYUDv2](08_nyudv2.ipynb) | How does a net use depth as well as colour? |
# | [9. PASCAL-Context](09_pascal_context.ipynb) | What changes when every pixel has a class? |
# | [10. How good can it get?](10_how_good_can_it_get.ipynb) | What is the best score that a coarse grid allows? |
# | [11. Patches, shifts and stitches](11_patches_shifts_stitches.ipynb) | Which two ideas did the paper consider and drop? |
# | [12. All results](12_results.ipynb) | What was published, what did we measure, and why do they differ? |
# | [13. Train it on your own data](13_your_own_data.ipynb) | How do your photos and labels become a net? |
# | [14. How fast?](14_how_fast.ipynb) | How long does a photo take, and what would you use instead? |
# | [15. The speedrun](15_speedrun.ipynb) | How quickly can a net be trained to the paper's score? |
# | [16. The paper in one sitting](16_in_one_sitting.ipynb) | What does the paper claim, and what did we find? |
#
# Short of time? Chapter 16 is the whole paper in about twenty pictures. Chapters 2 to 6
# build on each other; the others can be read in any order after them.
#
# You should know what a convolution and a gradient are, and be able to read Python; you
# will pick up PyTorch {cite:p}`paszke2019` on the way. Each chapter ends with a summary
# and at least three exercises.
#
# ## How to run it again
#
# With `python3` and `make`, and nothing else installed:
#
# ```
# make book      # set up an environment, try the experiments, build these pages
# make serve     # show them at http://127.0.0.1:8000
# make test      # run all tests; rerun every chapter and compare it with these pages
# make paper     # run every experiment and chapter as a graph of jobs; DRY=1 prints it
# ```
#
# Each chapter is a notebook with parameters in its first code cell. Papermill, which is
# part of that environment (`source .venv/bin/activate`), runs it with other values:
#
# ```
# papermill book/05_skips.ipynb out.ipynb --cwd book -p preset small
# papermill book/06_sift_flow.ipynb out.ipynb --cwd book -p preset paper \
#     -p data_root DATA -p weights_root WEIGHTS -p device cuda
# ```
#
# `preset` says how much the chapter computes:
#
# | preset | computation |
# | :-- | :-- |
# | `read` | the default, and what these pages show: small demonstrations in seconds, and tables from the records |
# | `smoke` | the demonstrations, some of them smaller, and two steps of each of the chapter's experiments, on a few images written on the spot |
# | `small` | the demonstrations at a convincing size: minutes on a CPU |
# | `paper` | the experiments of the chapter's own tables and figures, on the real data; what has a record is skipped |
#
# The other parameters are `device` (`auto`, `cpu`, `cuda` or `mps`), `seed`,
# `experiments` (with `paper`, the names of the only ones to run, separated by spaces),
# `data_root` and `weights_root` (by default those in the environment variables
# `FCN_DATA` and `FCN_WEIGHTS`), and `results_dir` and `runs_dir` (for new records; for
# nets and checkpoints). Folders are relative to `book/`. A chapter declares only the
# parameters it uses, and rejects a bad value before it computes anything.
#
# The experiments also have a command line:
#
# ```
# python -m fcn list                                   # all experiments and scores
# python -m fcn train sift-flow-googlenet-32s-short    # train one and write its record
# python -m fcn evaluate sift-flow-googlenet-32s-short --weights FILE
# python -m fcn predict photo.jpg                      # label your own photo
# python -m fcn fit photos labels classes.txt          # train on your data (chapter 13)
# ```
#
# Photos, label maps and ImageNet weights belong to others and are not part of this
# project. Pages that can use them say whether they did.
#
# ## How to cite it
#
# Cite the paper for the method {cite:p}`long2015,shelhamer2017`. If you use a number, a
# figure or the code of this book, cite it as well; the entry is in `CITATION.cff` at
# the root of the project. A record names the commit that made it.
#
# ## Summary
#
# - Classifiers grew deep between 2012 and 2015. Dense prediction used them through
#   detours until the FCN made it one net, trained end to end.
# - A fully connected layer has weights for each cell of its input. This fixes the
#   input's size, and the output no longer says where anything is. The same weights,
#   used as a filter, slide over a map of any size and output a map of scores.
# - An FCN is a classifier's backbone, 1×1 score layers at strides 32, 16 and 8, sums,
#   and upsampling. It maps an image of any size to scores of the same size.
# - The tables of this book show our records next to the paper's rows.
#
# ## Exercises
#
# 1. *Weights and cells.* VGG16's first fully connected layer sees a 7×7 map of 512
#    channels and has 4096 outputs. How many weights does it have, and what share of the
#    net's parameters is that? Check with `nets["VGG16"].fc6`. GoogLeNet's only fully
#    connected layer has 1024 inputs and 1000 outputs: what is its share, and why is it
#    so much smaller?
#
#    :::{dropdown} Solution
#    VGG16: 7 · 7 · 512 · 4096 = 102.8 million, 74 % of 138.4 million. GoogLeNet: 1.0
#    million, 15 % of 7.0 million. It averages each channel over the whole map first, so
#    that its layer has weights for one cell instead of 49.
#    :::
#
# 2. *Sizes.* Call `shape_or_error(convolutional, height, 227)` for heights between 227
#    and 300. At which heights does the map of scores gain a row? What is the step
#    between them, and which layers cause it?
#
#    :::{dropdown} Solution
#    At 231, 263 and 295, in steps of 32, the product of the strides of `conv1` (4) and
#    of the three pooling layers (2 each). The first new row comes at 231, not at
#    227 + 32 = 259, because the pools round the size of their output up.
#    :::
#
# 3. *The best of few cells.* Use `figures.coarse_labels` on a few dozen scenes to find
#    which classes vanish at stride 32. Before you read chapter 5: how could the maps at
#    stride 8 bring a lamp post back?
#
#    :::{dropdown} Solution
#    Poles vanish. Of `Scenes(24, (192, 288), split="test")`, 12 show a pole, and at
#    stride 32 none of them has a cell for it. Cars are left in 4 scenes of 8, boats in
#    2 of 4. At stride 16, 8 of the 12 scenes have a cell for their poles, and at stride
#    8 all 12. A map at stride 8 sees an upright edge where the post is. Its score layer
#    can then raise *pole* and lower *sky* in that cell; the sum with the coarse scores,
#    which say that poles are likely here, does the rest.
#    :::
