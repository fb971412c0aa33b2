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
# In 2012 a convolutional net learned to say what a photo shows. Two years later {cite:t}`long2015` asked such nets a
# harder question, *what is at each pixel*, and found that they needed little change to answer it. This book rebuilds
# their fully convolutional network (FCN) from its parts, runs it again on real photographs, and compares the results
# with the published ones.
#
# ## What you will learn
#
# - which road led from classifiers of images to nets that label every pixel;
# - why a fully connected layer accepts one size of image only, and forgets where things are;
# - how the FCN is built: a backbone, score layers, skips and upsampling, in one figure;
# - what this book replicates, how near it comes, and how to read it, run it again and cite it.

# %% tags=["parameters", "hide-input"]
seed = 0
results_dir = "../results"  # the records of the runs

# %% tags=["hide-input"]
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
# **A classifier** takes an image of a fixed size and gives one score for each class. AlexNet {cite:p}`krizhevsky2012`
# showed in 2012 how far a deep one gets when it learns from the million labelled photos of ImageNet
# {cite:p}`deng2009,russakovsky2015`. In 2014 two nets went deeper in different ways: VGG
# {cite:p}`simonyan2015` stacks small 3×3 filters, GoogLeNet {cite:p}`szegedy2015` runs filters of several sizes side by
# side and saves parameters with 1×1 convolutions {cite:p}`lin2014`. These three are the backbones of the FCN paper.
# ResNet {cite:p}`he2016`, which adds each block's input to its output and so makes a hundred layers trainable, came a
# year after it; many dense nets since then build on a ResNet, and still on the FCN's idea.
#
# How large are they? We need not look it up: a net that is built on the *meta* device has shapes but no numbers.


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
# **Dense prediction** wants an answer for each place instead of one for the image. Before the FCN, convolutional nets
# took a detour to it. {cite:t}`farabet2013` and {cite:t}`pinheiro2014` trained nets on the patch around a pixel; the
# former smoothed the result over superpixels. R-CNN {cite:p}`girshick2014` and SDS {cite:p}`hariharan2014` let a
# classifier judge boxes and regions that another method had proposed. OverFeat {cite:p}`sermanet2014` slid a classifier
# over the whole image, as we shall, but to find boxes. What was missing was one net that takes the image whole, gives
# the label map whole, and learns all that lies between from end to end.

# %% tags=["remove-input"]
figures.timeline(sizes)
style.plt.show()

# %% [markdown]
# :::{caption} fig-timeline
# :alt: A time line from 2012 to 2018. Discs on the left are the classifiers AlexNet, VGG16,
# :  GoogLeNet and ResNet-152, the largest disc being VGG16. Lines lead from three of them to
# :  the FCN of November 2014 and on to later nets for dense prediction on the right.
# Classifiers (left; the area of a disc is proportional to the number of parameters) and
# nets for dense prediction (right), by the month in which each first appeared. A line leads
# from a classifier to a net that uses its layers: green for the FCN's three backbones, grey
# for the others. After the FCN, DeepLab {cite:p}`chen2015,chen2018` kept a finer stride by
# dilation. DeconvNet {cite:p}`noh2015` put a decoder as deep as its encoder on top of VGG16.
# U-Net {cite:p}`ronneberger2015` also has a deep decoder, but does not start from a
# pretrained classifier.
# :::
#
# ## What a fully connected layer does to an image
#
# The last layers of AlexNet and VGG16 are *fully connected*: each output is a weighted sum of all cells of the map
# before it, one weight for each cell. The number of weights is therefore the number of cells, and that is fixed once
# and for all by the size of the images the net was made for. Here is AlexNet, an eighth as wide as the real one:

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
# The fully connected layer reads 6×6 cells of 32 channels, 1152 numbers, and has one column of weights for each; a wider
# image has more cells and no weights for them. (In VGG16 the map is 7×7.)
#
# It also loses *place*. To the layer the cells are a list, not a map: shuffle the list, shuffle the columns of the
# weights in the same way, and nothing changes. The layer does not know which cells are neighbours, and its output, one
# score per class, says *what* but not *where*.

# %%
cells, layer, shuffled = torch.rand(1, 1152), nn.Linear(1152, 5), nn.Linear(1152, 5)
order = torch.randperm(1152)
shuffled.load_state_dict({"weight": layer.weight[:, order], "bias": layer.bias})
print(
    "same scores from shuffled cells:",
    torch.allclose(layer(cells), shuffled(cells[:, order]), atol=1e-5),
)

# %% [markdown]
# The way out is to look again at what the weights are. One column for each cell of a 6×6 map *is* a 6×6 filter. Let it
# slide, as every other filter of the net does, and the layer takes a map of any size; where the map is larger than the
# filter it gives a map of scores, each of which belongs to a place.

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
# :alt: Three rows. A 6 by 6 map is flattened into a column that meets one column of weights.
# :  A wider map leaves grey cells without weights. The same weights, arranged as a 6 by 6
# :  filter, slide over the wider map.
# Above: a fully connected layer on the map it was made for, flattened row by row (each cell
# stands for all of its channels). Middle: a wider image leaves cells without weights. Below:
# the same weights as the filter of a convolution, at the last of its four places.
# :::
#
# No weight was changed. [Chapter 3](03_convolutionalization.ipynb) does this to all three classifiers with their real
# weights, and measures what is saved by sliding instead of cutting out patches.
#
# ## What the FCN did about it
#
# A classifier that slides gives scores on a coarse grid: the five halvings of its resolution leave one cell for every
# 32×32 pixels. The paper's second half is the way back to pixels, and its answer has three parts:
#
# - **Score layers.** A 1×1 convolution turns the features of a cell into a score for each class.
# - **Upsampling inside the net.** A transposed convolution takes coarse scores to finer ones; it starts as bilinear
#   interpolation, and because it is a layer, the loss is taken at the pixels and reaches the whole net
#   ([chapter 4](04_upsampling.ipynb)). With only this, the net is **FCN-32s**.
# - **Skips.** The maps at stride 16 and stride 8 lie earlier in the backbone: they know less about *what* and more about
#   *where*. They get score layers of their own, whose scores are added to the upsampled coarse ones. One skip makes
#   **FCN-16s**, two make **FCN-8s** ([chapter 5](05_skips.ipynb)).

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
# :alt: A painted street on the left, followed by ever smaller and deeper blocks, the maps of
# :  VGG16. Below three of them are coarse label maps at strides 32, 16 and 8, which are
# :  upsampled and added from right to left until a full label map is reached.
# The FCN on VGG16. From left to right: the backbone, whose maps shrink and deepen (not to
# scale). Downwards: score layers at strides 8, 16 and 32. From right to left: scores
# upsampled, and added to those of the next finer stride where the paths meet (+). Dashed:
# the ways that FCN-16s and FCN-32s take to the pixels. This project draws the street, and the
# score maps show its true labels at each stride: they are not predictions, but the best that
# so few cells can express.
# :::
#
# Everything in the figure is a convolution, a pooling, a sum or an interpolation, and each takes maps of any size. So
# does the net:

# %%
net = fcn.FCN("vgg16", stride=8, num_classes=21, width=1 / 16).eval()
for image_size in [(192, 256), (97, 131), (1, 1)]:
    print(image_size, "->", shape_or_error(net, *image_size))

# %% [markdown]
# ## What the paper claims
#
# In short: classifiers trained on ImageNet become good nets for segmentation when they are made fully convolutional and
# trained on, end to end, on whole images; adding skips makes the result finer; and one pass over an image replaces
# slow machinery of proposals and superpixels. On the test images of PASCAL VOC {cite:p}`everingham2010` it put these
# numbers next to the best methods before it, as percent of *mean IU* ([chapter 2](02_pixels_to_scores.ipynb)):

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
# The journal version {cite:p}`shelhamer2017` adds experiments and analysis; the parts are the same.
#
# ## What this book replicates
#
# The package `fcn` beside this book holds the three classifiers, their conversion, the nets at strides 32, 16 and 8, the
# paper's losses, metrics and recipe. Its catalogue lists every row of the paper's tables of results with the published
# numbers and, for the paper's own nets, the experiments that would replicate them (Table 3 has none: only the server of
# PASCAL VOC can score its test images):

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
columns = ["published rows", "experiments", "recorded", "on what"]
pd.DataFrame(overview, index=list(TITLES), columns=columns)

# %% [markdown]
# What has been run is above all the experiment on **SIFT Flow** {cite:p}`liu2011`: outdoor photos whose pixels carry one
# of 33 semantic classes and one of three geometric ones, predicted by one net with two heads
# ([chapter 6](06_sift_flow.ipynb)). The paper used VGG16 for it. Here GoogLeNet is the backbone, with its public ImageNet
# weights and about a twentieth of VGG16's parameters: small enough to train without a large machine, and a net that the paper
# tried on one data set only and whose FCN was never released. Beside it stand short runs that change one thing at a
# time, and runs on a small part of PASCAL VOC's photos; [chapter 12](12_results.ipynb) has them all. Every other
# experiment is run by the tests, on a tiny data set in the official layout, and waits for data, weights or time.
#
# Rules that hold on every page:
#
# - **No record, no number.** A result of ours is in a table only if a file under `results/` says how it came about:
#   settings, seed, images, weights, versions, machine, and the confusion matrices it was computed from. Otherwise the
#   table says *not run* and gives the command.
# - **Published numbers are quoted, not computed.** They are copied from the paper and from other projects into one file,
#   `fcn/replication/published.csv`, with a link for each that is not the paper's.
# - **Nothing is chosen on the images that are reported.** Recipes are chosen on a fixed tenth of the training images; the
#   last weights of the final run are scored once on the test images.
# - **Deviations are named**, each in the record of its run and in chapter 12.
# - **Drawn scenes are for learning, not for results.** Many pages use scenes that this project paints, since they need no
#   download and their labels are exact. Nothing measured on them stands beside a number of the paper.
#
# ## The results at a glance
#
# Percent on the 200 test images of SIFT Flow, the paper's row first. `short` marks runs by the paper's recipe at a
# higher rate for a fraction of its epochs, in the paper's stages from 32s to 8s. `tuned` marks a recipe of our own. We
# made one choice in it on the validation part of the training images: its AdamW recipe scored higher there than an SGD
# recipe after one epoch of each. The nine epochs and the mirrored photos were then added without another trial
# ([chapter 6](06_sift_flow.ipynb)). The names below omit their common beginning, `sift-flow-googlenet-`.

# %% tags=["full-width"]
shown = tables.at_a_glance(records).drop(columns="source")
shown.rename(
    index=lambda name: name.removeprefix("sift-flow-googlenet-"),
    columns={"geometric acc.": "geom. acc."},
)

# %% [markdown]
# Read our rows beside the paper's, not against it. They differ from it in more than one thing at once: the backbone, the
# recipe, in most rows the stride (the paper's is FCN-16s), training photos that had been saved again as JPEG, and
# geometric labels derived from the semantic ones, which makes the last column a score on nearly the same labels only.
# And each is a single run with one seed. [Chapter 6](06_sift_flow.ipynb) tells what each deviation may cost or bring.

# %% [markdown]
# ## How to read it
#
# Each chapter takes half an hour, and has a summary and three exercises or more.
#
# | chapter | the question it answers |
# | :-- | :-- |
# | [2. From pixels to scores](02_pixels_to_scores.ipynb) | What is a segmentation, and how is it scored? |
# | [3. Fully connected layers are convolutions](03_convolutionalization.ipynb) | How does a classifier become a map of scores? |
# | [4. Upsampling](04_upsampling.ipynb) | How do coarse scores reach the pixels, in the right place? |
# | [5. Skip connections](05_skips.ipynb) | What is lost at stride 32, and what brings it back? |
# | [6. SIFT Flow](06_sift_flow.ipynb) | How near does it come on real photographs? |
# | [7. PASCAL VOC](07_pascal_voc.ipynb) | What do three backbones, the skips and the speed amount to on the paper's main benchmark? |
# | [8. NYUDv2](08_nyudv2.ipynb) | How does a net take depth beside colour? |
# | [9. PASCAL-Context](09_pascal_context.ipynb) | What changes when every pixel has a class? |
# | [10. How good can it get?](10_how_good_can_it_get.ipynb) | How much does the coarse grid cost at most? |
# | [11. Patches, shifts and stitches](11_patches_shifts_stitches.ipynb) | Which two ideas did the paper weigh and leave? |
# | [12. All results](12_results.ipynb) | What was published, what did we measure, and why do they differ? |
# | [13. Train it on your own data](13_your_own_data.ipynb) | How do your photos and labels become a net? |
# | [14. How fast?](14_how_fast.ipynb) | What does a photo cost, next to what people would use instead? |
# | [15. The speedrun](15_speedrun.ipynb) | How few minutes of training does the paper's number take? |
#
# Chapters 2 to 6 build on each other; the others can be read in any order after them.
#
# You should know what a convolution and a gradient are, and read Python; PyTorch {cite:p}`paszke2019` explains itself on
# the way. Every page is a program: what you see printed or drawn was computed by the code above it.
#
# ## How to run it again
#
# With `python3` and `make`, and nothing else installed:
#
# ```
# make book      # sets up an environment, tries every chapter, builds these pages
# make serve     # shows them at http://127.0.0.1:8000
# make test      # all tests, and every chapter run again and compared with what is printed here
# make paper     # runs every experiment and chapter as a graph of jobs; DRY=1 only prints the graph
# ```
#
# Each chapter is a notebook with parameters in its first code cell. Papermill, which is part of that environment
# (`source .venv/bin/activate`), runs it with other values:
#
# ```
# papermill book/05_skips.ipynb out.ipynb --cwd book -p preset small
# papermill book/06_sift_flow.ipynb out.ipynb --cwd book -p preset paper \
#     -p data_root DATA -p weights_root WEIGHTS -p device cuda
# ```
#
# `preset` says how much the chapter computes:
#
# | preset | what it computes |
# | :-- | :-- |
# | `read` | the default, and what these pages show: small demonstrations in seconds, and tables from the records |
# | `smoke` | the same, and two steps of each of the chapter's experiments, on a few images written on the spot |
# | `small` | the demonstrations at a convincing size: minutes on a CPU |
# | `paper` | the experiments of the chapter's own tables and figures, on the real data; recorded runs are skipped, interrupted ones resume |
#
# The other parameters:
#
# - `experiments`: with `paper`, the names of the only experiments to run, separated by spaces;
# - `data_root` and `weights_root`: the folders of the data sets and of the ImageNet weights (if empty, those that the
#   environment variables `FCN_DATA` and `FCN_WEIGHTS` name);
# - `device`: `auto` (a GPU if there is one), `cpu`, `cuda` or `mps`;
# - `seed`: the random seed;
# - `results_dir` and `runs_dir`: the folders of new records, and of nets and checkpoints.
#
# All folders are relative to `book/`. A chapter declares only the parameters it uses (this one, `seed` and
# `results_dir`) and refuses a bad value before it computes anything. The experiments also have a command line:
#
# ```
# python -m fcn list                                 # all experiments, with their records or the commands that make them
# python -m fcn train sift-flow-googlenet-32s-short  # train one and record it
# python -m fcn evaluate sift-flow-googlenet-32s-short --weights FILE
# python -m fcn predict photo.jpg                    # label a photo of yours
# python -m fcn fit photos labels classes.txt        # train on photos and labels of yours (chapter 13)
# ```
#
# Photos, label maps and ImageNet weights belong to others and are not part of this project. Pages that can use them say
# whether they did.
#
# ## How to cite it
#
# Cite the paper for the method {cite:p}`long2015,shelhamer2017`. If you use a number, a figure or the code of this book,
# cite it too; the entry is kept in the file `CITATION.cff` at the root of the project, and the commit that a record names
# says which state of the code made it.
#
# ## Summary
#
# - Classifiers grew deep between 2012 and 2015; dense prediction used them by detours until the FCN made one net of it.
# - A fully connected layer has one weight for each cell of its input. This fixes the size of the input, and its output
#   has no place. The same weights, read as a filter, slide over a map of any size and give a map of scores.
# - An FCN is a classifier's backbone, 1×1 score layers at strides 32, 16 and 8, sums, and upsampling; it maps an image of
#   any size to scores of the same size.
# - The tables of this book show our records next to the paper's rows.
#
# ## Exercises
#
# 1. *Weights and cells.* VGG16's first fully connected layer sees a 7×7 map of 512 channels and has 4096 outputs. How
#    many weights has it, and what share of the net's parameters is that? Check with `nets["VGG16"].fc6`. Which share has
#    the fully connected layer of GoogLeNet, and why is it so much smaller?
# 2. *Sizes.* Find, by trying heights between 227 and 300 with `shape_or_error(convolutional, height, 227)`, the heights at
#    which the map of scores gains a row. What is the step between them, and where in the architecture does it come from?
# 3. *The best of few cells.* Use `figures.coarse_labels` on a few scenes to find which classes vanish at stride 32.
#    Before reading chapter 5: what would a net have to do with the maps at stride 8 to bring a lamp post back?
