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
# Does the paper hold up? This chapter puts every table of {cite:t}`long2015` next to
# what we ran, and tests the paper's remarks on training. The short answer:
#
# | results | |
# | :-- | :-- |
# | agrees | parameters, strides and receptive fields, except GoogLeNet's 907 pixels; Appendix A's upper bounds except the coarsest, by the nearest of fifteen protocols, to about a point |
# | not comparable | SIFT Flow, mean IU: **{glue:text}`tuned:.1f`** with FCN-8s on GoogLeNet, our recipe and one seed; in the paper {glue:text}`paper_16s:.1f` with FCN-16s on VGG16 |
# | claims on training | **{glue:text}`claims:.0f` tests** in three tables, most claims at several lengths of training; {glue:text}`compared:.0f` have runs on both sides: **{glue:text}`agree:.0f`** agree, **{glue:text}`differ:.0f`** do not, **{glue:text}`early:.0f`** are too early to tell |
# | not run | Tables 1 to 4 and 6; Table 5 on VGG16 |
#
# Below, the tables are folded: open the ones you need.

# %% tags=["parameters", "hide-input"]
results_dir = "../results"

# %% tags=["remove-input"]
import presets

here = presets.check(results_dir=results_dir)

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import chapter_tables
import fcn
import figure_5
from fcn.replication import (
    claims,
    cost,
    deviations,
    paper,
    snapshots,
    tables,
    upper_bounds,
)
from fcn.replication.catalogue import EXPERIMENTS
from figures import results as figures
from figures import shared, style, workflow

style.use()
pd.set_option("display.max_colwidth", None, "display.max_rows", None)

found = here.records()
finals = [run for run in found if run.purpose == "final"]


def linked(frame: pd.DataFrame) -> Markdown:
    """A table whose seeds link to their records."""
    return Markdown(tables.markdown(frame, results="../results"))


# %% tags=["remove-input"]
covered = tables.coverage(found)
PAPER = paper.row("Table 5", "FCN-16s")
shared.glue_values(
    experiments=covered.loc["all", "experiments"],
    recorded=covered.loc["all", "recorded"],
    paper_16s=PAPER.metrics["mean_iu"],
    **chapter_tables.verdicts(found),
    **chapter_tables.effort(found),
)
if tuned := tables.final(found, chapter_tables.TUNED):
    scores = [run.scores["mean_iu"] for run in tuned]
    shared.glue_values(tuned=np.mean(scores))

figures.coverage(covered)
plt.show()

# %% [markdown]
# :::{caption} fig-results-coverage
# :alt: A bar per table of the paper for the number of experiments, partly filled for
# :  those with a final run. Only the bars of Table 5 and of the experiments without a
# :  table are partly filled; all others are empty.
# Experiments by the table of the paper whose rows they replicate, and how many of them
# have a final run. "No table": pairs of runs that differ in one thing, and runs on data
# outside the paper's tables.
# :::
#
# ## What you will learn
#
# - how far the paper is confirmed here, row by row, and what keeps the other rows from
#   being run;
# - how to read a table of results: whose number it is, and what may be compared with
#   what;
# - how many runs it takes to confirm a remark on training, and what fewer runs can
#   show;
# - how a run deviates from the paper, and what the whole paper costs.
#
# ## Reproducibility summary
#
# This section follows the template of the ML Reproducibility Challenge.
#
# **Scope.** The paper claims that classifiers, made fully convolutional and fine-tuned
# end to end, beat earlier methods on four data sets, and that one skip adds 3.0 points
# of mean IU and a second one 0.3. It also makes a dozen remarks about training. Our
# catalogue has **{glue:text}`experiments:.0f` experiments**: at least one per row of
# the paper's own nets, except for Table 3's test server, and pairs of runs that differ
# in one thing.
#
# **Method.** We wrote our own PyTorch code and tested it against Caffe nets with the
# same weights. We had SIFT Flow, a small part of PASCAL VOC's photos with the label
# maps of seg11valid, and ImageNet weights for GoogLeNet but not for VGG16. We had two
# CPU cores, and a GPU for five seeds of the speedrun, hence at most nine epochs per run
# instead of 175. **{glue:text}`recorded:.0f` experiments have a final run.** A claim
# gets a [verdict](#the-rules-for-a-verdict) only from converged runs with three seeds
# on both sides.
#
# **Easy.** The method itself: the geometry of the nets follows from their layers, and
# each experiment is one command.
#
# **Hard.** Getting data and weights; the authors' GoogLeNet was never released. The
# paper does not say how Appendix A resamples, and misprints a learning rate as
# 5<sup>−5</sup>. Above all, its schedule takes days per net on a GPU.
#
# **Cost.** {glue:text}`runs:.0f` runs, which saw {glue:text}`all_images:,.0f` images in
# **{glue:text}`all_hours:.1f` hours** on {glue:text}`machines`. Many runs shared their
# machine with other work. In the paper: three days for FCN-32s on a K40c, about one
# more for each finer net.
#
# **Communication with the authors.** None.
#
# ## How to read the tables
#
# The column *source* says whose number it is.
#
# - *Table 1* and so on: the paper's, as printed.
# - *release*: the nets that the authors released later, trained by another recipe, as
#   their README reports them.
# - *others*: other people's replications and relatives. The last column says what
#   differs and links the source.
# - *ours*: computed from a {term}`record`, one file per run, which the column *record*
#   links. A record holds whole confusion matrices, and a test recomputes every metric
#   from them. A row with several seeds shows their mean and, after ±, their standard
#   deviation.
# - *difference*: ours minus the row that we replicate, in points of the printed
#   figures. The last column of our row names the kinds of deviations; the
#   [deviations](#deviations-from-the-paper) below give them in full.
#
# A row without a record says "not run"; **`python -m fcn train NAME`**, with the name
# of the row, runs it. All numbers are in percent. Only *final* runs enter these tables:
# trained on all the training images, and scored once, with their last weights. The test
# images played no part in the choice of a recipe, except for three rows of the
# speedrun, as [chapter 15](15_speedrun.ipynb) explains.
#
# :::{note}
# Most rows have not been run, for two reasons. Of the data sets, only SIFT Flow is
# complete here, and of the paper's classifiers, VGG16 and CaffeNet are missing. And the
# paper's training takes days on a GPU. The tests run each experiment on a tiny data
# set in the official layout, which shows that it works and not what it scores.
#
# In our runs on SIFT Flow, the backbone and the recipe differ from the paper's, and in
# all but one the stride too, so a difference from its row does not show which of them
# caused it. The pairs that test its remarks have at most fourteen epochs in all stages:
# none of their numbers may be compared with a table of the paper, only with each other.
# The subset of PASCAL VOC is not its benchmark.
# :::
#
# ## Table 1: three backbones
#
# The times in this table are the paper's, on a K40c; `python -m fcn benchmark` times
# its nets on your machine. Chapter [7](07_pascal_voc.ipynb) is about Tables 1 to 3.

# %% tags=["remove-input", "hide-output", "full-width", "wrap-last-column"] mystnb={"code_prompt_show": "Show Table 1"}
linked(tables.comparison("Table 1", found))

# %% [markdown]
# :::{caption} tab-results-1
# The paper's Table 1: mean IU of three backbones on the validation images of PASCAL VOC
# 2011.
# :::
#
# The AlexNet that the authors released later scores eight points higher, on a part of
# the same photos: another recipe, and SBD's labels to learn from. Keep the size of that
# gap in mind whenever two backbones are compared under one recipe.
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


names = ("alexnet", "vgg16", "googlenet")
pd.DataFrame({name: computed(name) for name in names}).T

# %% [markdown]
# :::{caption} tab-results-sizes
# Three columns of the paper's Table 1, computed from our nets.
# :::
#
# The paper prints 57M, 134M and 6M parameters, receptive fields of 355, 404 and 907
# pixels, and a stride of 32. All agree except one: GoogLeNet's 907 includes the average
# pool of the classifier, $6 \cdot 32$ pixels more, which section 4.1 says was
# discarded.
#
# ## Table 2: skips
#
# All of the paper's rows have VGG16's backbone and are trained on SBD's labels.

# %% tags=["remove-input", "hide-output", "full-width", "wrap-last-column"] mystnb={"code_prompt_show": "Show Table 2"}
linked(tables.comparison("Table 2", found))

# %% [markdown]
# :::{caption} tab-results-2
# The paper's Table 2: skips, on the 736 photos of seg11valid.
# :::

# %% tags=["remove-input"]
shared.glue_values(repeats=chapter_tables.repeats_apart())

# %% [markdown]
# Read the rows of others from top to bottom. The release is four points above the paper
# at stride 32, with the same backbone and another recipe.
# [pytorch-fcn](https://github.com/wkentaro/pytorch-fcn) follows the release, and comes
# within a point of it everywhere; [two
# runs](https://github.com/wkentaro/pytorch-fcn/pull/89) of one of its recipes differ by
# {glue:text}`repeats:.1f`. [Its](https://github.com/wkentaro/pytorch-fcn/issues/75)
# [users](https://github.com/wkentaro/pytorch-fcn/issues/84), with other ImageNet
# weights for the same layers, lose five to six points. The skips add three points in
# the paper and two in the release, so weights and recipe each matter about as much as
# the skips, or more. A replication has to fix both before it can say anything about
# skips.
#
# If you have the authors' weights, you can score them with our nets: `python -m fcn
# evaluate voc-vgg16-8s-heavy --weights fcn8s-heavy-pascal.caffemodel` prints the
# metrics and the number to expect.
#
# ## Table 3: the test server
#
# Only the server of PASCAL VOC can score its test photos; `python -m fcn predict
# PHOTO... --submission DIR` writes the files that it takes.

# %% tags=["remove-input", "hide-output", "full-width", "wrap-last-column"] mystnb={"code_prompt_show": "Show Table 3"}
linked(tables.comparison("Table 3", found))

# %% [markdown]
# :::{caption} tab-results-3
# The paper's Table 3: mean IU on the test photos of PASCAL VOC.
# :::
#
# ## Table 4: colour and depth
#
# NYUDv2: 795 training images, 654 test images. Chapter [8](08_nyudv2.ipynb) is about
# colour and depth.

# %% tags=["remove-input", "hide-output", "full-width", "wrap-last-column"] mystnb={"code_prompt_show": "Show Table 4"}
linked(tables.comparison("Table 4", found))

# %% [markdown]
# :::{caption} tab-results-4
# The paper's Table 4: colour and depth on NYUDv2.
# :::
#
# ## Table 5: two tasks at once
#
# SIFT Flow: means over the 30 classes that occur in its 200 test photos. Chapter
# [6](06_sift_flow.ipynb) is about these runs.

# %% tags=["remove-input", "hide-output", "full-width", "wrap-last-column"] mystnb={"code_prompt_show": "Show Table 5"}
linked(tables.comparison("Table 5", found))

# %% [markdown]
# :::{caption} tab-results-5
# The paper's Table 5: SIFT Flow.
# :::

# %% tags=["remove-input"]
ours = chapter_tables.replications(found, PAPER.table, PAPER.label)
if ours:
    figures.against_paper(PAPER, ours)
    plt.show()

# %% [markdown]
# :::{caption} fig-results-against-paper
# :alt: Five metrics in rows, with one marker per run for its difference from the paper.
# :  The tuned run is above the paper in all metrics except mean accuracy. The three
# :  short runs are below it, by up to 20 points in mean accuracy.
# Our runs minus the paper's FCN-16s on VGG16, in points; one marker per seed. The
# vertical line is the paper's row.
# :::

# %% tags=["remove-input"]
if ours:
    for metric in ("pixel_accuracy", "mean_accuracy"):
        values = [scores[metric] for seeds in ours.values() for scores in seeds]
        shared.glue_values(**{f"range_{metric}": max(values) - min(values)})

# %% [markdown]
# Among our own runs, pixel accuracy differs by at most
# {glue:text}`range_pixel_accuracy:.1f` points, and mean accuracy by
# {glue:text}`range_mean_accuracy:.1f`: recipe and stride show above all in the rare
# classes.
#
# ## Table 6: whole scenes
#
# PASCAL-Context: the photos of VOC 2010, labelled as whole scenes. Chapter
# [9](09_pascal_context.ipynb) is about it.

# %% tags=["remove-input", "hide-output", "full-width", "wrap-last-column"] mystnb={"code_prompt_show": "Show Table 6"}
linked(tables.comparison("Table 6", found))

# %% [markdown]
# :::{caption} tab-results-6
# The paper's Table 6: PASCAL-Context.
# :::
#
# ## Appendix A: upper bounds
#
# What is the best score of a net that predicts on a grid with one cell per 8, 16, ...
# pixels? The paper scales the ground truth down and up again, and scores the result. It
# does not say how, so we tried {glue:text}`protocols:.0f` ways (chapter
# [10](10_how_good_can_it_get.ipynb)).

# %% tags=["remove-input"]
bounds = snapshots.load("appendix-a", here.folder_of("appendix-a"))
lines = upper_bounds.ranked(bounds)
shared.glue_values(
    protocols=len(lines) - 1, nearest=lines[1].distance, farthest=lines[-1].distance
)
chapter_tables.bounds(lines)

# %% [markdown]
# :::{caption} tab-results-bounds
# Upper bounds by factor, mean IU on the label maps of seg11valid: the paper's row, the
# nearest of our protocols, the farthest, and the differences of the nearest. The
# nearest is {glue:text}`nearest:.1f` points from the paper's row on average, the
# farthest {glue:text}`farthest:.1f`. The
# [snapshot](../results/snapshots/appendix-a.json) says what was computed, with which
# code.
# :::
#
# These numbers are for the paper's own images, and nothing had to be trained. The
# remaining difference may come from a protocol that we did not think of, or from the
# label maps: 2011's in the paper, 2012's of the same photos here.
#
# ## Figure 5: sampling the loss
#
# Does it help to learn from a random part of the output cells, with more images per
# batch in exchange? The paper shows curves and no numbers. Section 4.3 concludes that
# sampling has no significant effect on convergence, and costs time. Our runs have one
# seed each; chapter [11](11_patches_shifts_stitches.ipynb) draws their curves.

# %% tags=["remove-input", "full-width"]
sampled = figure_5.find(found)
numbers = figure_5.values(sampled) | figure_5.control_values(sampled, found)
named = ("keep25_step", "common_steps", "quarter_less_control")
shared.glue_values(**{name: numbers[name] for name in named if name in numbers})
if missing := figure_5.not_run(sampled):
    print(missing)
figure_5.compared(sampled) if len(sampled) > 1 else None

# %% [markdown]
# :::{caption} tab-results-sampling
# Training loss of FCN-32s on SIFT Flow, with GoogLeNet's backbone, mean ± standard
# error over the last fifth.
# :::

# %% tags=["remove-input"]
links = [
    f"[{100 * keep:g} % of the cells](../results/{run.file_name})"
    for keep, run in sampled.items()
]
Markdown("Records: " + (", ".join(links) or "none") + ".")

# %% [markdown]
# After {glue:text}`common_steps:.0f` iterations, the loss is
# {glue:text}`keep25_step:.1f` % lower with a quarter of the cells than with all. But a
# pixel says nearly what its neighbours say, so a quarter of the pixels of four times as
# many images is in effect a larger batch. A control with all cells, in batches as large
# as the quarter's, differs from the quarter by {glue:text}`quarter_less_control:.1f` %,
# the same within the scatter of the curves. So in these runs the images make the
# difference, not the cells that are left out.
#
# ## What the text says
#
# Besides its tables, the paper makes remarks: what was tried, and what did not help.
# They are worth testing: readers remember them, and the paper does not print the runs
# behind them. We test them in pairs of runs that differ in one thing, on SIFT Flow with
# GoogLeNet's backbone.
#
# ### The rules for a verdict
#
# 1. **Converged runs.** A run has converged if it is as long as the paper's,
#    {glue:text}`rule_epochs:.0f` epochs, or as the release's,
#    {glue:text}`rule_steps:,.0f` iterations of its recipe. A flat loss is not enough:
#    over the last two fifths of our one-epoch FCN-8s the loss changes by
#    {glue:text}`flat:.1f` %, because the learning rate decays to zero, and yet nine
#    epochs of almost the same recipe score {glue:text}`after_flat:.1f` points higher.
# 2. **Three seeds**, at least, with the change and without it.
# 3. **A clear interval.** The interval of a difference is Student's, from the pooled
#    variance of these two groups of seeds. It borrows none from other experiments,
#    whose spread may differ, but assumes that the two have the same. It is corrected by
#    Bonferroni for all claims of its table, {glue:text}`m_short:.0f`,
#    {glue:text}`m_fast:.0f` or {glue:text}`m_long:.0f`, so that with 95 % confidence
#    *every* interval of the table covers its difference. With three seeds on both sides
#    of the longer runs, it extends {glue:text}`width:.1f` standard deviations to either
#    side.
# 4. **The paper's size.** Where the paper gives a number, the interval has to exclude
#    zero and contain that number; an interval entirely below or above it says that the
#    effect is *smaller* or *larger than in the paper*. Where the paper gives a
#    direction only, the interval has to exclude zero. Where it finds no difference, the
#    whole interval has to lie within a margin, ± {glue:text}`margin:g` point of mean IU
#    or ± {glue:text}`geometric_margin:g` points of geometric accuracy; where it finds
#    no gain, below that margin. Each margin is a tenth of what the paper gained over
#    the best earlier method in that metric (Tables 3 and 5).
#
# Everything else is **too early to tell**, with the reason in brackets. The column *so
# far* shows the difference and, with at least two seeds on each side, its interval. It
# suggests what to follow up. It is not a finding: a change that slows learning down
# looks bad after one epoch even if it would catch up, and one that prevents overfitting
# cannot help yet.

# %% tags=["remove-input"]
shared.glue_values(**chapter_tables.rules(found))

# %% [markdown]
# ### One epoch

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show the claims: one epoch"}
linked(claims.table(found, results="../results"))

# %% [markdown]
# :::{caption} tab-claims-short
# What the paper says, and what our shortest runs show: mean IU on the test photos, or
# geometric accuracy where it says so. The number before a colon is the section of the
# paper; *in points* is what the paper says, as rule 4 reads it.
# :::
#
# "Two more epochs", "a skip, compared with two more epochs", "the scores of the skip
# alone" and "the maximum, in stages" use the short runs of chapter
# [6](06_sift_flow.ipynb), trained in the paper's stages. In all other pairs both runs
# are one epoch from ImageNet's weights: there, a 16s does not start from a 32s, as the
# paper's does. The paper lowers the learning rate a hundredfold and sees an
# insignificant gain; our net had been stopped early, so two more epochs at half the
# rate mostly show that.

# %% tags=["remove-input"]
pairs = [claims.compare(claim, found) for claim in claims.CLAIMS]
if compared := [pair for pair in pairs if pair]:
    figures.one_change(compared)
    plt.show()

# %% [markdown]
# :::{caption} fig-claims-short
# :alt: One row per claim with a dot for our difference in points. All dots are open.
# :  The few intervals are wide and cross zero. Most dots are within the shaded bands.
# :  The row in which only the score layers learn is farthest from the paper's number.
# The differences of {numref}`tab-claims-short`. An open dot is too early to tell. Bars
# are the corrected intervals, where both sides have at least two seeds. A diamond is
# the paper's number; a shaded band is where its words put the difference.
# :::

# %% tags=["remove-input"]
rows = [paper.row("Table 2", label) for label in ("FCN-32s-fixed", "FCN-32s")]
fixed, whole = (row.metrics["mean_iu"] for row in rows)
shared.glue_values(fixed_in_paper=100 * fixed / whole)
for pair in compared:
    if pair.claim.id == "scores-only":
        shared.glue_values(fixed_here=100 * np.mean(pair.changed) / np.mean(pair.base))

# %% [markdown]
# The paper's 70 % needs a closer look. With the backbone left as ImageNet made it, our
# net reaches **{glue:text}`fixed_here:.0f` %** of the mean IU of the net that is
# trained whole, after one epoch each. In the paper's Table 2 it is
# {glue:text}`fixed_in_paper:.0f` %, 45.4 of 59.4. It may be that a whole net needs more
# than an epoch to show what the paper saw. Other metrics disagree: pixel accuracy is
# lower with the backbone fixed ({numref}`tab-claims-metrics`).
#
# One metric is not everything. Weights for rare classes, for example, are meant to
# raise mean accuracy, and their cost shows in pixel accuracy.
# {numref}`tab-claims-metrics` has no intervals, so only large differences mean
# anything.

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show all metrics"}
if missing := claims.missing(found):
    print("not run:", *missing, sep="\n  ")
claims.metric_by_metric(found) if compared else None

# %% [markdown]
# :::{caption} tab-claims-metrics
# The differences in every metric, in points.
# :::
#
# ### Three epochs of a fast recipe
#
# The row `8s-speedrun-brief` of chapter [15](15_speedrun.ipynb) reaches the paper's
# mean IU in ten minutes on two CPU cores, so several seeds of a pair are affordable. It
# has two stages: the score layers alone on the frozen backbone, then three epochs of
# all later layers. Each pair differs in one thing, in both stages where it matters to
# both; pairs that differ in mirroring, shifts or the layers that learn share the first
# stage. Five of the eight seeds of `8s-speedrun-brief` ran on a GPU, all other runs on
# CPUs. Rule 1 has a counterpart here: the runs are long enough if twice as many epochs
# of the second stage score no better, by rule 4.

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show the claims: three epochs"}
linked(claims.table(found, claims.FAST_CLAIMS, results="../results"))

# %% [markdown]
# :::{caption} tab-claims-fast
# What the paper says, and what three epochs of the speedrun's recipe show.
# :::

# %% tags=["remove-input"]
pairs = [claims.compare(claim, found) for claim in claims.FAST_CLAIMS]
if fast := [pair for pair in pairs if pair]:
    figures.one_change(fast)
    plt.show()

# %% [markdown]
# :::{caption} fig-claims-fast
# :alt: One row per claim, with an open dot for our difference in points and its
# :  interval; in four rows a diamond, the paper's number, outside of it, in the others
# :  a shaded band. With skips, all is above zero; with the score layers alone or the
# :  maximum, below. With weights for rare classes and the geometric task alone, the
# :  interval begins at or just above zero; elsewhere it crosses zero.
# The differences of {numref}`tab-claims-fast`, drawn as in {numref}`fig-claims-short`.
# :::

# %% tags=["remove-input"]
one = {pair.claim.id: pair for pair in fast}
twice = claims.compare(claims.LONGER, found)
scores = one["scores-only"]
metrics = claims.metric_by_metric(found, [one["balanced"].claim]).iloc[0]
shared.glue_values(
    fast_twice=twice.so_far if twice else "not yet measured",
    fast_seeds=min(len(side) for pair in fast for side in (pair.changed, pair.base)),
    fast_first_skip=one["skip-16s"].difference,
    fast_second_skip=one["skip-8s"].difference,
    fast_maximum=-one["max-fusion"].difference,
    fast_scores_only_share=100 * np.mean(scores.changed) / np.mean(scores.base),
    fast_balanced=one["balanced"].so_far,
    fast_balanced_accuracy=metrics["mean acc."],
    fast_balanced_pixels=metrics["pixel acc."],
    fast_random=one["random-scores"].so_far,
    fast_mirrored=one["mirrored"].so_far,
    fast_jittered=one["jittered"].so_far,
    fast_learned=one["learned-upsampling"].so_far,
    fast_sampled=one["half-sampled"].so_far,
    fast_semantic=one["semantic-alone"].so_far,
    fast_geometric=one["geometric-alone"].so_far,
)

# %% [markdown]
# The runs may well be too short: three seeds with twice the epochs of the second stage
# differ from them by {glue:text}`fast_twice` points. What they show so far is below,
# each with at least {glue:text}`fast_seeds:.0f` seeds on both sides; none of it is a
# verdict.
#
# - **Skips pay, the first one most.** FCN-16s is {glue:text}`fast_first_skip:.1f`
#   points of mean IU above FCN-32s, and FCN-8s {glue:text}`fast_second_skip:.1f` above
#   FCN-16s.
# - **A sum is better than a maximum.** With the maximum of the scores instead of their
#   sum, FCN-8s is {glue:text}`fast_maximum:.1f` points lower.
# - **Fine-tuning the backbone pays.** With the score layers alone, mean IU is
#   {glue:text}`fast_scores_only_share:.0f` % of that of the nets trained whole. After
#   one epoch of the tuned recipe it was {glue:text}`fixed_here:.0f` %.
# - **Weights for rare classes trade accuracies.** With the recipe's mild ones, mean
#   accuracy changes by {glue:text}`fast_balanced_accuracy` points, pixel accuracy by
#   {glue:text}`fast_balanced_pixels`, and mean IU by {glue:text}`fast_balanced`.
# - **Score layers that start at random lose nothing that three seeds can show.** Mean
#   IU changes by {glue:text}`fast_random` points compared with a start at zero.
# - **Mirrored or shifted photos gain nothing that three seeds can show.** Mean IU
#   changes by {glue:text}`fast_mirrored` points with mirrored photos, and by
#   {glue:text}`fast_jittered` with photos that are mirrored and shifted.
# - **Learned upsampling gains nothing that three seeds can show.** With learned
#   intermediate upsampling, mean IU changes by {glue:text}`fast_learned` points.
# - **Sampling the loss gains nothing that three seeds can show.** With half of the
#   cells and twice the photos in each step, mean IU changes by
#   {glue:text}`fast_sampled` points.
# - **The second task costs mean IU little, geometric accuracy perhaps.** With the
#   semantic task alone, mean IU changes by {glue:text}`fast_semantic` points; with the
#   geometric task alone, geometric accuracy changes by {glue:text}`fast_geometric`.
#
# The intervals of the first four changes and of the geometric task alone exclude zero,
# that of the weights only just; all others contain it. Those of the weights and of the
# geometric task depend on the pooled variance: with Welch's formula, which assumes no
# common spread, both contain zero. All these runs except `8s-speedrun-brief` shared
# their machine with other work: ignore their times.

# %% tags=["remove-input", "hide-output"] mystnb={"code_prompt_show": "Show the missing runs"}
if missing := claims.missing(found, claims.FAST_CLAIMS):
    print("not run:", *missing, sep="\n  ")

# %% [markdown]
# ### At full length
#
# These pairs test the same remarks, and what the authors' release reports about its own
# nets, with the paper's recipe for 175 epochs or the release's for 100,000 iterations.
# They need a GPU. A finer net starts from the coarser one, as in the paper, and has
# then been trained for longer.

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show the claims: full length"}
linked(claims.table(found, claims.LONG_CLAIMS, results="../results"))

# %% [markdown]
# :::{caption} tab-claims-long
# What the paper says, and what runs at full length show.
# :::

# %% tags=["remove-input"]
pairs = [claims.compare(claim, found) for claim in claims.LONG_CLAIMS]
if long := [pair for pair in pairs if pair]:
    figures.one_change(long)
    plt.show()

# %% tags=["remove-input", "hide-output"] mystnb={"code_prompt_show": "Show the missing runs"}
if missing := claims.missing(found, claims.LONG_CLAIMS):
    print("not run:", *missing, sep="\n  ")

# %% [markdown]
# ## A part of PASCAL VOC
#
# We have 882 of VOC's photos, chosen for six classes: 437 of *train* for training and
# 445 of *val* for scoring. These runs compare our nets with each other. The paper's
# numbers are for other photos with all classes, so **the two must not be compared**.
# Chapter [7](07_pascal_voc.ipynb) goes through the results class by class.

# %% tags=["remove-input", "full-width"]
subset = [name for name, e in EXPERIMENTS.items() if e.dataset == "voc-subset"]
linked(tables.ours(subset, found))

# %% [markdown]
# :::{caption} tab-results-subset
# Our nets on the 445 photos; means over the classes that occur in them.
# :::
#
# ## Deviations from the paper
#
# Every record lists its deviations from the paper. {numref}`tab-deviation-kinds` has
# their kinds, why they were made and what they may change; {numref}`tab-deviations` has
# every deviation of every final run.

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show the kinds of deviations"}
linked(chapter_tables.deviation_kinds(finals))

# %% [markdown]
# :::{caption} tab-deviation-kinds
# Kinds of deviations, with the number of different lines of each kind.
# :::

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show all deviations"}
linked(chapter_tables.deviations(finals))

# %% [markdown]
# :::{caption} tab-deviations
# Every deviation of every final run.
# :::
#
# A deviation written by hand can be forgotten; a setting is always in the record.
# {numref}`tab-deviation-settings` has all settings in our records that differ from the
# paper's, validation runs included.

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show all settings"}
linked(deviations.settings(found))

# %% [markdown]
# :::{caption} tab-deviation-settings
# Settings that differ from the paper's, with the number of experiments that use each
# value. The paper's learning rates are for FCN-32s; it divides them by 100 for each
# finer net.
# :::
#
# Some deviations belong to the package, not to a run. They hold for each of our nets
# unless a switch turns them off:

# %% tags=["remove-input", "hide-output", "full-width"] mystnb={"code_prompt_show": "Show the defaults"}
linked(deviations.package_defaults())

# %% [markdown]
# :::{caption} tab-deviation-defaults
# Defaults of the package that differ from the authors' code.
# :::
#
# With `alignment="reference"` our nets compute what the released ones do: a test gives
# both the same weights and compares their scores, through a reader of Caffe's nets that
# is not ours.
#
# ## The whole paper as a graph
#
# The experiments depend on each other: a finer net starts from the coarser one, late
# fusion from two nets, every table from the records of its runs. `workflow/Snakefile`
# states these dependencies for [Snakemake](https://snakemake.readthedocs.io), generated
# from the catalogue: data and ImageNet weights, the stages from 32s to 8s, records,
# chapters, site. `make paper` runs what is missing, on one machine, or with the same
# graph on a Slurm or Kubernetes cluster; `make paper DRY=1` only prints it. A run with
# a record is done, a stopped run continues from its checkpoint, and a failed run holds
# up only the runs that start from it.

# %% tags=["remove-input"]
workflow.graph(list(EXPERIMENTS.values()), {run.experiment for run in found})
plt.show()

# %% [markdown]
# :::{caption} fig-results-graph
# :alt: Dots for experiments, grouped by data set, with lines from a first stage to a
# :  second and third. Some dots of SIFT Flow and of PASCAL VOC are filled, and none of
# :  NYUDv2, PASCAL-Context and the scenes.
# The {glue:text}`graph_experiments:.0f` experiments of the catalogue, one dot each,
# filled if there is a record of any run, final or not
# ({glue:text}`graph_recorded:.0f`). Lines lead from a net to those that start from it.
# Dots without lines start from no other run, and none starts from them.
# :::
#
# What does the whole paper cost? The hours of our runs are measured. For all
# experiments, run or not, we count the multiply-adds of a forward pass, take three
# passes per training step (one if the backbone is fixed, and as many with frozen first
# layers as without), and assume that an H100 sustains between
# {glue:text}`gpu_least:.0f` and {glue:text}`gpu_most:.0f` % of its peak in bfloat16.
# These hours are modelled, for one seed per experiment and without scoring the test
# images.

# %% tags=["remove-input"]
costs = cost.costs(found)
shared.glue_values(**chapter_tables.modelled(costs))
chapter_tables.costs_by_table(costs)

# %% [markdown]
# :::{caption} tab-results-cost
# The cost of the experiments by table of the paper: modelled on an H100, and measured
# for one run of each experiment that has a record.
# :::
#
# If the assumption holds, the whole catalogue takes between **{glue:text}`gpu_low:.0f`
# and {glue:text}`gpu_high:.0f` GPU hours** per seed. Our runs, counted with one seed
# each, took {glue:text}`measured_hours:.1f` hours on {glue:text}`measured_on`. Those
# without frozen layers did {glue:text}`measured_gigaflops:.0f` billion operations per
# second; at that rate, the whole catalogue would take {glue:text}`years:.1f` years.
#
# ## Summary
#
# - The list of experiments is complete; most of the results are missing. Every row of
#   the paper's own nets, except Table 3's, is an experiment that one command runs. Most
#   have not been run, for lack of data, weights and GPU days.
# - What can be computed without training agrees with the paper: the sizes of the nets,
#   except GoogLeNet's receptive field, where the printed number counts a layer that the
#   text says was removed; and, by the nearest of our protocols, the bounds of Appendix
#   A to a point or so, except the coarsest.
# - On SIFT Flow, a small backbone comes near the paper's row with our own recipe, and
#   stays well below it in mean IU with short runs of the paper's procedure. This says
#   nothing against VGG16.
# - In other people's numbers, ImageNet weights and recipe move a result about as far as
#   skips do, or farther. Compare nets only where these are the same.
# - Settling a claim about training takes converged runs with several seeds. Cheap runs
#   only tell you where to look.
#
# ## Exercises
#
# 1. *Your own interval.* Compute the interval of "only the score layers learn" by hand,
#    from the four runs in `results/`. How wide is it without Bonferroni's correction?
#    With Welch's degrees of freedom instead of the pooled variance?
#
#    :::{dropdown} Solution
#    The scores are 34.96 and 34.63 with the change, 31.95 and 32.88 without it: a
#    difference of 2.38 with a standard error of 0.49 and two degrees of freedom. The
#    corrected interval is ± 8.5, the plain one ± 2.1, which excludes zero. Welch's
#    formula yields 1.25 degrees of freedom and ± 4.0 without the correction. Two seeds
#    per side are too few to choose between these.
#    :::
#
# 2. *How many seeds?* A second skip gains 0.3 points in the paper. Suppose that seeds
#    have a standard deviation of half a point. How many seeds per side does it take
#    before an interval around 0.3 excludes zero?
#
#    :::{dropdown} Solution
#    With $n$ seeds per side, the interval is $t \cdot 0.5 \sqrt{2/n}$ to either side,
#    with $2n - 2$ degrees of freedom. It is below 0.3 from 23 seeds per side for a
#    single claim, and from 48 with the correction for the eleven claims at full length.
#    :::
#
# 3. *A missing row.* Choose one command above that your machine can run, run it, and
#    execute this chapter again. Which deviations does your record list? Is there one
#    that it should list and does not?
#
#    :::{dropdown} Solution
#    You can read the list before you train. `sift-flow-googlenet-16s-short-pool4` takes
#    two epochs on SIFT Flow:
#
#    ```python
#    experiment = EXPERIMENTS["sift-flow-googlenet-16s-short-pool4"]
#    for one in deviations.deviations_of(experiment):
#        print(f"{one.kind}: {one.text}")
#    ```
#
#    It lists 8 deviations, from the backbone to bfloat16. One is missing: the net that
#    it starts from was trained for four epochs, not 175. The record of that net has its
#    own list; this one only names the net. The
#    defaults of {numref}`tab-deviation-defaults` are in no record either. And no
#    program knows what happened to your copy of the data: name it with `--deviation
#    TEXT`, as our records name photos that were saved again as JPEG.
#    :::
#
# 4. *Other metrics.* Most claims are tested on mean IU. In the table of all metrics,
#    which differences change their sign? Which metric would you have chosen before you
#    saw the numbers?
#
#    :::{dropdown} Solution
#    Three rows of {numref}`tab-claims-metrics` have both signs. In one of them, the
#    semantic task alone, no metric moves by more than 0.3 points: too little to mean
#    anything. The other two are large. Weighting rare classes up raises mean accuracy
#    by 25.5 points and lowers all other metrics, pixel accuracy by 13.7. Training only
#    the score layers raises mean accuracy by 5.5 and mean IU by 2.4 points and lowers
#    the other three by 1.8 to 3.0. Whoever picks the metric afterwards can prove
#    either. We took mean IU in advance, because the paper ranks its nets by it. Mean
#    accuracy would be a poor choice for weights: a pixel that a rare class takes from
#    the sky costs next to nothing in it.
#    :::
