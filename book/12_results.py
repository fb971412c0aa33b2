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
# # Results: every table, side by side
#
# ## What you will learn
#
# - what of the paper has been run again here, what came out, and what has not been run;
# - how to read a difference: what may have caused it, and when it is no difference at all;
# - which of the paper's remarks about training a short experiment can test, and which it cannot;
# - every way in which our runs deviate from the paper, with the reason.

# %% tags=["parameters"]
preset = "read"
data_root = ""
device = "cpu"
seed = 0
results_dir = "../results"

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import chapter_tables
import fcn
import figure_5
from fcn.replication import claims, deviations, paper, snapshots, tables, upper_bounds
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import load_records
from figures import results as figures
from figures import shared, style

style.use()
torch.set_num_threads(1)
pd.set_option("display.max_colwidth", None, "display.max_rows", None)

found = load_records(results_dir)
finals = [run for run in found if run.purpose == "final"]


def beside(name: str) -> Markdown:
    """A table of the paper with all that stands beside it; records are linked."""
    return Markdown(tables.markdown(tables.comparison(name, found), results="../results"))


# %% [markdown]
# ## How to read the tables
#
# A replication that shows only its best number shows nothing. This chapter is the ledger: Tables 1 to 6, Appendix A and
# Figure 5 of {cite:t}`long2015`, row by row, and what the text says beside the tables. It argues little. The other
# chapters do that.
#
# The column *source* says whose number it is.
#
# - *Table 1* and so on: the paper's, as printed.
# - *release*: the nets that the authors released later, trained by another recipe, as their README reports them.
# - *others*: other people's replications and relatives. The last column says what sets each apart.
# - *ours*: computed from a record, one file a run, which the column *record* links. It holds whole confusion matrices;
#   a test computes every metric from them again. Several seeds give their mean and, after ±, their standard deviation.
# - *difference*: ours less the row that we replicate, in points of the printed figures. The last column of our row says
#   in a word what differs; the [deviations](#deviations-from-the-paper) below say it in full.
#
# Where nothing is on record, a row says "not run", and **`python -m fcn train NAME`**, with the name of the row, records
# it. All numbers are percent. Only *final* runs stand in these tables: trained on all the training images, and scored
# once, with their last weights, on images that nothing was chosen by.

# %%
tables.coverage(found).rename_axis("beside")

# %% [markdown]
# *Experiments of the catalogue by the table they stand beside, how many of them have a record, and how many final runs
# that makes. Beside no table stand runs that take one thing at a time apart, and those on data of their own.*
#
# Most rows are not run, for two reasons. Of the data sets only SIFT Flow is whole at hand here, and of the paper's
# classifiers neither VGG16 nor CaffeNet. And the paper's training takes days on a GPU. What can be said without them is
# that the experiments exist and work: each is one command, and the tests run every one of them on a tiny data set in
# the official layout.
#
# ## Table 1: three backbones

# %% tags=["full-width", "wrap-last-column"]
beside("Table 1")

# %% [markdown]
# *Mean IU on the validation images of PASCAL VOC 2011. The times are the paper's, on a K40c; `python -m fcn benchmark`
# times its nets on yours. Chapter [7](07_pascal_voc.ipynb) is about Tables 1 to 3.*
#
# The AlexNet that the authors released later scores eight points more, on a part of the same photos: another recipe, and
# SBD's labels to learn from. Keep that size in mind whenever two backbones are compared by one recipe.
#
# Three columns of Table 1 need no training. We compute them from our nets:


# %%
def computed(net: str) -> dict[str, str]:
    with torch.device("meta"):  # shapes without numbers
        model = fcn.FCN(net, stride=32, num_classes=21)
    field = fcn.receptive_field(model)
    return {
        "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M",
        "receptive field": str(field.size),
        "max stride": str(field.stride),
    }


pd.DataFrame({name: computed(name) for name in ("alexnet", "vgg16", "googlenet")}).T

# %% [markdown]
# The paper prints 57M, 134M and 6M parameters, fields of 355, 404 and 907 pixels, and a stride of 32. All agree but
# one: GoogLeNet's 907 includes the average pool of the classifier, $6 \cdot 32$ pixels more, which section 4.1 says was
# discarded.
#
# ## Table 2: skips

# %% tags=["full-width", "wrap-last-column"]
beside("Table 2")

# %% [markdown]
# *The 736 photos of seg11valid, VGG16, trained on SBD's labels.*
#
# Read the rows of others downwards. The release is four points above the paper at stride 32, with the same backbone and
# another recipe. pytorch-fcn follows the release, and comes within a point of it everywhere, where repeats of one of its
# recipes spread by about 0.6. Its users, with other ImageNet weights for the same layers, lose five points and more. So
# weights and recipe each move the result about as far as the skips or farther, which bring three points in the paper
# and two in the release. A replication has to fix both before it can speak of skips.
#
# Whoever has the authors' weights can score them with our nets: `python -m fcn evaluate voc-vgg16-8s-heavy --weights
# fcn8s-heavy-pascal.caffemodel` prints the metrics, and beside them the number to expect.
#
# ## Table 3: the test server

# %% tags=["full-width", "wrap-last-column"]
beside("Table 3")

# %% [markdown]
# *Mean IU. Only the server of PASCAL VOC can score its test photos: `python -m fcn predict PHOTO... --submission DIR`
# writes what it takes.*
#
# ## Table 4: colour and depth

# %% tags=["full-width", "wrap-last-column"]
beside("Table 4")

# %% [markdown]
# *NYUDv2: 795 images to train on, 654 to score. Chapter [8](08_nyudv2.ipynb) is about colour and depth.*
#
# ## Table 5: two tasks at once

# %% tags=["full-width", "wrap-last-column"]
beside("Table 5")

# %% [markdown]
# *SIFT Flow: means over the 30 classes that its 200 test photos hold. Chapter [6](06_sift_flow.ipynb) is about these
# runs.*

# %%
PAPER = paper.row("Table 5", "FCN-16s")
ours = chapter_tables.replications(found, PAPER.table, PAPER.label)
if ours:
    figures.against_paper(PAPER, ours)
    plt.show()

# %% [markdown]
# *Figure: every run of ours less the paper's FCN-16s on VGG16, in points; a dot a seed. The line is the paper's row.*
#
# Backbone, recipe and stride differ from the paper's at once, so no dot says which of them did it.

# %%
if ours:
    for metric in ("pixel_accuracy", "mean_accuracy"):
        values = [scores[metric] for seeds in ours.values() for scores in seeds]
        shared.glue_values(**{f"range_{metric}": max(values) - min(values)})

# %% [markdown]
# Between our own runs, pixel accuracy differs by at most {glue:text}`range_pixel_accuracy:.1f` points, and mean accuracy
# by {glue:text}`range_mean_accuracy:.1f`: the training of a net shows above all in the rare classes.
#
# ## Table 6: whole scenes

# %% tags=["full-width", "wrap-last-column"]
beside("Table 6")

# %% [markdown]
# *PASCAL-Context: VOC 2010's photos, labelled to the last pixel. More in chapter [9](09_pascal_context.ipynb).*
#
# ## Appendix A: upper bounds
#
# How well can a net do that predicts on a grid of a cell in 8, 16, ... pixels? The paper takes ground truth down and up
# again, and scores it. It does not say how (chapter [10](10_how_good_can_it_get.ipynb)). Of the ways that we tried, the
# nearest to its row, the farthest, and the differences of the nearest:

# %%
lines = upper_bounds.ranked(snapshots.load("appendix-a", results_dir))
chapter_tables.bounds(lines)

# %%
shared.glue_values(protocols=len(lines) - 1, nearest=lines[1].distance, farthest=lines[-1].distance)

# %% [markdown]
# *Mean IU on the label maps of seg11valid, by factor. Of {glue:text}`protocols:.0f` protocols, the nearest is
# {glue:text}`nearest:.1f` points from the paper's row on average, the farthest {glue:text}`farthest:.1f`. The
# [snapshot](../results/snapshots/appendix-a.json) says what was computed, with which code.*
#
# These are ours on the paper's own images, with nothing trained. What remains is a protocol that we did not
# think of, or label maps that differ: 2011's in the paper, 2012's of the same photos here.
#
# ## Figure 5: sampling the loss
#
# Does it help to learn from a random part of the output cells, with more images a batch in exchange? The paper shows
# curves and no numbers. Section 4.3 concludes that sampling has no significant effect on convergence, and costs time.
# Chapter [11](11_patches_shifts_stitches.ipynb) draws our curves and asks why they differ.

# %% tags=["full-width"]
sampled = figure_5.find(found)
if missing := figure_5.not_run(sampled):
    print(missing)
figure_5.compared(sampled) if len(sampled) > 1 else None

# %%
shared.glue_values(**figure_5.values(sampled))

# %% [markdown]
# - **After {glue:text}`common_steps:.0f` iterations**, the loss with 50 % of the cells is
#   **{glue:text}`keep50_step:.1f` %** lower than with whole images, with 25 % **{glue:text}`keep25_step:.1f` %** lower.
# - **After {glue:text}`common_images:.0f` images**, it is **{glue:text}`keep50_images:.1f` %** lower with 50 % of the
#   cells, and **{glue:text}`keep25_images:.1f` %** lower with 25 %.

# %%
linked = [f"[{100 * keep:g} % of the cells](../results/{run.file_name})" for keep, run in sampled.items()]
Markdown("Records: " + (", ".join(linked) or "none") + ".")

# %% [markdown]
# *Training loss of FCN-32s on SIFT Flow, with GoogLeNet's backbone, mean ± standard error over the last fifth.*
#
# Read this with care. The cells that are kept or dropped here are those of the upsampled scores, the pixels. A pixel
# says nearly what its neighbours say, so a quarter of the pixels of four times as many images is in effect a larger
# batch, and a few steps at a large rate reward a larger batch. Where a sampled run has the lower loss, that speaks of
# the batch before it speaks of the sampling: even after as many images, where batches of 8 are too noisy for the rate.
# One more run is the control, with all cells in batches as large as the quarter's:

# %%
control = next((run for run in found if run.experiment == figure_5.CONTROL and run.seed == 0), None)
if control and 0.25 in sampled:
    steps, _ = figure_5.common({1.0: control, 0.25: sampled[0.25]})
    for name, run in (("control", control), ("quarter", sampled[0.25])):
        loss, error = figure_5.level(run, "step", steps)
        shared.glue_values(**{f"{name}_loss": loss, f"{name}_error": error})
    percent, _ = figure_5.difference(sampled[0.25], control, "step", steps)
    shared.glue_values(control_steps=steps, quarter_less_control=abs(percent))

# %% [markdown]
# After {glue:text}`control_steps:.0f` iterations with batches of 32, the loss is {glue:text}`control_loss:.3f` ±
# {glue:text}`control_error:.3f` with all cells and {glue:text}`quarter_loss:.3f` ± {glue:text}`quarter_error:.3f` with a
# quarter of them: the same within the scatter of the curves (a difference of {glue:text}`quarter_less_control:.1f` %).
#
# ## What the text says
#
# Beside its tables the paper makes remarks: what was tried and did not help. They are worth testing, since they are what
# a reader takes home, and since nobody prints the runs behind them. We test them in pairs of runs that differ in one
# thing, on SIFT Flow with GoogLeNet's backbone, most of them one epoch long. **None of these numbers stands beside a
# table of the paper's**: they are for comparing with each other.
#
# One epoch is little. A change that slows learning down looks bad here even where it would catch up; one that
# prevents overfitting cannot help yet. And two runs that differ in nothing but their seed differ, too. How much, a few
# seeds tell badly, and the intervals are as wide as that makes them. "No difference seen" beside a wide interval is
# silence: it does not speak against the paper, and hardly for it. So:

# %%
deviation, free = claims.spread(found)
shared.glue_values(spread=deviation, degrees_of_freedom=free)

# %% [markdown]
# - The spread between seeds of one experiment is **{glue:text}`spread:.2f`** points of mean IU (standard deviation, pooled
#   over the experiments below that have several seeds, with {glue:text}`degrees_of_freedom:.0f` degrees of freedom).
# - A difference is given ± the half width of its 95 % interval, by Student's t. Geometric accuracy has a spread of its
#   own.
# - A difference smaller than that, or below one point between single runs, is **no difference seen**. Where the interval
#   is wider than ± 2 points, even that would say too much, and the claim is **undecided**.

# %% tags=["full-width"]
Markdown(tables.markdown(claims.table(found, results="../results")))

# %% [markdown]
# *Mean IU on the test photos, or geometric accuracy where it says so. The number before a colon is the section of the
# paper. "A lower rate", "a skip, compared with a lower rate alone", "the scores of the skip alone" and "the maximum, in stages"
# are about the short runs of chapter [6](06_sift_flow.ipynb), in the paper's stages. In all others both runs are one
# epoch from ImageNet's weights: there a 16s does not go on from a 32s, as the paper's does.*

# %%
compared = [one for claim in claims.CLAIMS if (one := claims.compare(claim, found))]
if compared:
    figures.one_change(compared)
    plt.show()

# %% [markdown]
# *Figure: the same. A grey bar crosses zero, or belongs to two single runs less than a point apart.*

# %%
verdicts: dict[str, list[str]] = {one.verdict: [] for one in compared}
for one in compared:
    verdicts[one.verdict].append(one.claim.change)
pd.DataFrame({"changes": {verdict: "; ".join(changes) for verdict, changes in sorted(verdicts.items())}})

# %%
fixed, whole = (paper.row("Table 2", label).metrics["mean_iu"] for label in ("FCN-32s-fixed", "FCN-32s"))
shared.glue_values(fixed_in_paper=100 * fixed / whole)
for one in compared:
    if one.claim.id == "scores-only":
        shared.glue_values(fixed_here=100 * np.mean(one.changed) / np.mean(one.base))

# %% [markdown]
# On the 70 %: with the backbone left as ImageNet made it, our net reaches **{glue:text}`fixed_here:.0f` %** of the mean
# IU of the net that learns whole, after one epoch each. In the paper's Table 2 it is {glue:text}`fixed_in_paper:.0f` %,
# 45.4 of 59.4. It may be that a whole net needs more than an epoch for what the paper saw; and the other metrics, below,
# need not say the same.
#
# One metric is not all. Weights for rare classes, for one, are made to raise mean accuracy, and what they cost shows in
# pixel accuracy. Differences in points, with no interval, and so only for what stands out:

# %% tags=["full-width"]
if missing := claims.missing(found):
    print("not run:", *missing, sep="\n  ")
claims.metric_by_metric(found) if compared else None

# %% [markdown]
# ### At full length
#
# The same, and what the authors' release says of its own nets, by the paper's recipe over its 175 epochs or the
# release's 100 000 iterations. These runs are made for a GPU. A finer net goes on from the coarser one, here as in the
# paper, and has then been trained for longer.

# %% tags=["full-width"]
Markdown(tables.markdown(claims.table(found, claims.LONG_CLAIMS, results="../results")))

# %%
long = [one for claim in claims.LONG_CLAIMS if (one := claims.compare(claim, found))]
if long:
    figures.one_change(long)
    plt.show()

# %%
if missing := claims.missing(found, claims.LONG_CLAIMS):
    print("not run:", *missing, sep="\n  ")

# %% [markdown]
# ## A part of PASCAL VOC
#
# Of VOC's photos 882 are at hand, chosen for six classes: 437 of *train*, to learn from, and 445 of *val*. The
# runs below are on this subset. They compare our nets with each other. The paper's numbers are on other photos with
# all classes, so **none of them may be put beside these**. Means run over the classes that the scored photos hold;
# chapter [7](07_pascal_voc.ipynb) goes through them class by class.

# %% tags=["full-width"]
subset = [name for name, e in EXPERIMENTS.items() if e.dataset == "voc-subset"]
Markdown(tables.markdown(tables.ours(subset, found), results="../results"))

# %% [markdown]
# ## Deviations from the paper
#
# Every record lists its deviations from the paper, and every one is here. First their kinds, why they were made and
# what they may change; then every line of every final run.

# %% tags=["full-width"]
Markdown(tables.markdown(chapter_tables.deviation_kinds(finals)))

# %% tags=["full-width"]
Markdown(tables.markdown(chapter_tables.deviations(finals)))

# %% [markdown]
# A line of prose can be forgotten. Settings cannot: these are all settings of the recipes on record that differ from
# the paper's, with the number of experiments that use each value, validation runs included.

# %% tags=["full-width"]
Markdown(tables.markdown(deviations.settings(found)))

# %% [markdown]
# *The paper's rates are for FCN-32s; it divides them by 100 for each finer net.*
#
# Some deviations are none of a run's but the package's own. They hold for every net of ours, unless a switch turns
# them off:

# %% tags=["full-width"]
Markdown(tables.markdown(deviations.package_defaults()))

# %% [markdown]
# With `alignment="reference"` our nets compute what the released ones do: a test gives both the same weights and compares
# their scores, through a reader of Caffe's nets that is not ours.
#
# ## What it would take
#
# The number of images that a run sees, over all its epochs, is a measure of its cost that needs no machine. For those
# by the paper's own recipe, beside the largest run on record:

# %%
chapter_tables.cost(finals)

# %%
if finals:
    largest = max(finals, key=lambda run: run.images_seen)
    hours = chapter_tables.images_to_see()["voc-vgg16-32s"] / largest.images_seen * largest.seconds / 3600
    shared.glue_values(hours=largest.seconds / 3600, hours_of_paper=hours, machine=largest.hardware)

# %% [markdown]
# The largest run took {glue:text}`hours:.1f` hours on {glue:text}`machine`. Even at its pace, with a smaller backbone on
# smaller photos, Table 2's FCN-32s would take {glue:text}`hours_of_paper:.0f` hours on the same machine.
#
# ## Summary
#
# - The ledger is complete in its rows and not in its numbers: every row of the paper's own nets, Table 3's apart, is an
#   experiment that one command runs, and most are "not run", for want of data, weights and GPU days.
# - What can be computed without training agrees with the paper: the sizes of the nets, but for GoogLeNet's field, where
#   the printed number counts a layer that the text says was removed; the bounds of Appendix A to a point or so, but for
#   the coarsest.
# - On SIFT Flow a small backbone comes near the paper's row by a recipe of our own, and stays well below it in mean IU by
#   short runs of the paper's recipe. This says nothing against VGG16.
# - In other people's numbers, ImageNet weights and recipe move a result about as far as skips do, or farther. Compare
#   nets only where these are the same.
# - The paper's remarks on training can be tested cheaply, and a cheap test is a weak one: it claims nothing where seeds
#   differ as much as the runs do.
#
# ## Exercises
#
# 1. *Your own interval.* Take the runs of `sift-flow-googlenet-8s-brief` with all their seeds from `results/` and compute
#    the interval of one difference of the table by hand. What does it become if you use the two runs of that
#    experiment alone, without pooling, and why?
# 2. *How many seeds?* A remark says "no noticeable gain". Suppose that the gain is half a point. How many seeds of each of
#    the two runs does it take before the interval is narrow enough to see it? Use the spread above.
# 3. *A missing row.* Choose one command above that your machine can run, run it, and execute this chapter again. Which
#    deviations does your record list? Is there one that it should list and does not?
# 4. *Other metrics.* The verdicts above are on mean IU. Compute them for mean accuracy, with `fcn.replication.claims.compare` and
#    `dataclasses.replace(claim, metric="mean_accuracy")`. Does any verdict turn round? Which of the two would you have
#    chosen before you saw the numbers?
