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
# # SIFT Flow: a replication on real photographs
#
# The chapters before this one took the method apart. This one tests it as a whole: one
# net, trained on 2486 outdoor photos, says for every pixel *what* it shows and *how it
# is oriented in space*. It has a twentieth of the weights of the paper's net. How close
# does it come to the paper's results?

# %% tags=["parameters", "hide-input"]
preset = "read"  # "read", "smoke", "small" or "paper"
experiments = (
    ""  # with "paper": only these, such as "sift-flow-vgg16-32s sift-flow-vgg16-16s"
)
data_root = ""  # folder of the data sets; empty: FCN_DATA
weights_root = ""  # folder of the ImageNet weights; empty: FCN_WEIGHTS
device = "auto"
seed = 0
results_dir = "../results"
runs_dir = "../runs"

# %% tags=["remove-input"]
import presets

here = presets.check(
    preset=preset,
    experiments=experiments,
    offered=r"sift-flow-(?!.*-(keep|speedrun)).*",
    data_root=data_root,
    weights_root=weights_root,
    device=device,
    seed=seed,
    results_dir=results_dir,
    runs_dir=runs_dir,
)

# %% tags=["hide-input"]
import hashlib
from itertools import chain
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.io
import torch
from IPython.display import Markdown, display
from scipy.stats import spearmanr

import chapter_tables
import fcn
from fcn.data import sift_flow
from fcn.data.registry import dataset
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.metrics import ConfusionMatrix
from fcn.replication import paper, tables
from fcn.training.record import find
from figures import shared, style
from figures import sift_flow as figures
from photos import photo

style.use()
pd.set_option("display.max_colwidth", None, "display.max_rows", None)
SHORT, TUNED, TRIALS = chapter_tables.SHORT, chapter_tables.TUNED, chapter_tables.TRIALS
DEMO = "scenes-googlenet-8s-demo"
PAPER = paper.row("Table 5", "FCN-16s")

# %% tags=["remove-input", "nbval-ignore-output"]
file_name = f"{TUNED}.seed{here.seed}.safetensors"
shipped = Path("../weights") / file_name
weights_file = shipped if shipped.is_file() else here.runs / file_name
palettes = {"semantic": sift_flow.PALETTE, "geometric": figures.GEOMETRIC_PALETTE}
outdoors = {name: photo(name) for name in ("china", "rocket")}
if weights_file.is_file():
    trained = fcn.load(weights_file)
    on_photos = {name: shared.probabilities(trained, x) for name, x in outdoors.items()}
    shared.predictions(outdoors, on_photos, palettes, sift_flow.SEMANTIC)
    plt.show()
else:
    print(f"{weights_file.name} is missing; python -m fcn train {TUNED} makes it.")

# %% [markdown]
# :::{caption} fig-sift-photos
# :alt: A temple and a rocket on its pad, with two label maps each. Temple, trees and
# :  sky get their outlines, the water is patchy; the rocket and most of its towers
# :  become buildings. A third map is light except along the outlines, on the water, on
# :  a tower and at the foot of the rocket.
# Our tuned net on two photos that it has never seen, a temple in China (danielbuechele,
# CC BY 2.0) and a rocket (SpaceX, CC0): the class and the geometry (blue sky,
# green horizontal, red vertical) of each pixel, and the probability of that class,
# light where the net is sure. Below each photo are the classes of at least 1 % of its
# pixels, at most six.
# :::
#
# ## What you will learn
#
# - what a segmentation data set is made of, how unevenly its classes are spread, and
#   what that does to four metrics;
# - how one net learns two tasks at once, and what the second task costs;
# - how to read a results table: which numbers can be compared, and what each deviation
#   may be worth;
# - where a net that scores well goes wrong, and why it cannot say "I do not know".
#
# ## The claim
#
# In their section 5, {cite:t}`long2015` turn to SIFT Flow, outdoor photos with two
# label maps each: *what* every pixel shows, one of 33 classes such as road or tree, and
# *how it is oriented in space*: sky, horizontal or vertical. They claim that one fully
# convolutional net with two score layers learns both tasks together as well as two nets
# would, at nearly the cost of one, and beats all earlier methods on both. The row of
# their Table 5 that says so is FCN-16s on VGG16.
#
# We rerun the experiment with GoogLeNet {cite}`szegedy2015`, which has a twentieth of
# VGG16's weights. In the paper's Table 1, on PASCAL VOC, GoogLeNet is far weaker than
# VGG16. So we do not ask whether we repeat a number, but how close a small net comes,
# trained in the paper's way and in our own. [Chapter 12](12_results.ipynb) compares the
# net for both tasks with two nets for one task each.
#
# Every number below that we call ours comes from the {term}`records <record>` in
# `results/`, one file per run: the settings, the loss, whole confusion matrices, and a
# line for every deviation from the paper. Where a record is missing, you will see "not
# run" and the command that makes it.
#
# ## The data
#
# The data set is named after SIFT Flow, a method of {cite:t}`liu2011`, who used it to
# parse scenes {cite}`liu2011parsing`. Its photos, all of 256×256 pixels, come from the
# eight outdoor categories of {cite:t}`oliva2001`. People outlined and named what they
# saw in LabelMe {cite}`russell2008`, and {cite:t}`tighe2010` added the geometric
# classes. We use the image lists of the authors' release. They name 2486 training
# images, where the paper counts 2488: two, `highway_bost181` and `street_urb506`, have
# no labels at all.
#
# The authors drew no validation set. We drew one: a tenth of the training images, the
# same share of every category, chosen by the checksums of their names. We choose
# recipes there, so that the test images stay unseen until the end.

# %% tags=["hide-input"]
splits = {name: sift_flow.split_names(name) for name in sift_flow.SPLITS}
kinds = {
    name: pd.Series([sift_flow.scene(image) for image in images]).value_counts()
    for name, images in splits.items()
}
pd.DataFrame({**kinds}).pipe(lambda t: pd.concat([t, t.sum().to_frame("all").T]))

# %% [markdown]
# :::{caption} tab-sift-images
# Images by category and split. `trainval` is `train` and `val` together; final runs
# train on it.
# :::
#
# Not all pixels have a label, and the labels are spread very unevenly. The next cell
# counts them. It needs the label maps; without them, it loads the counts of an earlier
# run.

# %%
folder = (here.data or Path("no-data")) / "sift-flow"
maps = folder / "SemanticLabels" / sift_flow.COLLECTION


def class_counts() -> dict:
    """SIFT Flow's pixels and photos by split (training, test) and class, void last."""
    pixels, images = np.zeros((2, 34), int), np.zeros((2, 34), int)
    checksum = hashlib.sha256()
    for row, split in enumerate(("trainval", "test")):
        for name in splits[split]:
            stored = scipy.io.loadmat(maps / f"{name}.mat")["S"]
            count = np.roll(np.bincount(stored.ravel(), minlength=34), -1)  # void: 0
            pixels[row] += count
            images[row] += count > 0
            checksum.update(stored.astype(np.uint8).tobytes())
    return {
        "pixels": pixels,
        "images": images,
        "sha256_of_labels": checksum.hexdigest(),
    }


lists = [folder / "trainval.txt", folder / "test.txt"]
every = splits["trainval"] + splits["test"]
are_there = all((maps / f"{name}.mat").is_file() for name in every)
counts, is_live = here.snapshot("sift-flow-classes", class_counts, are_there, lists)

# %% tags=["remove-input", "nbval-ignore-output"]
print(
    "Counted just now."
    if is_live
    else "Counted earlier: the label maps are missing here."
)

# %% tags=["hide-input"]
labelled = (
    100 * counts["pixels"][:, :33] / counts["pixels"][:, :33].sum(1, keepdims=True)
)
shares = pd.DataFrame(labelled.T, sift_flow.SEMANTIC, ["train", "test"])
figures.frequencies(shares)
plt.show()

# %% [markdown]
# :::{caption} fig-sift-frequencies
# :alt: Bars of 33 classes on a logarithmic axis, coloured by geometric class, from sky
# :  at a quarter of the pixels down to the moon below a thousandth of a percent. Dots
# :  of the test images mostly follow the bars.
# The share of each class in the labelled pixels of the training images (bars) and of
# the test images (dots). The axis is logarithmic.
# :::

# %% tags=["remove-input"]
void = 100 * counts["pixels"][:, 33] / counts["pixels"].sum(1)
ranked = shares["train"].sort_values(ascending=False)
shared.glue_values(
    share_of_four=ranked[:4].sum(),
    share_of_rarest=ranked[-20:].sum(),
    photos_of_bird=counts["images"][0][sift_flow.SEMANTIC.index("bird")],
    void_train=void[0],
    void_test=void[1],
)

# %% [markdown]
# {numref}`fig-sift-frequencies` explains most of this chapter. The four most frequent
# classes, sky, building, mountain and tree, hold **{glue:text}`share_of_four:.0f` %**
# of the labelled training pixels; the twenty rarest together hold
# **{glue:text}`share_of_rarest:.1f` %**. The rarest in the test images, bird, appears
# in {glue:text}`photos_of_bird:.0f` training photos. Three classes, cow, desert and
# moon, have no pixel in the test images. {term}`Void <void>` covers
# {glue:text}`void_train:.1f` % of all pixels in the training set and
# {glue:text}`void_test:.1f` % in the test set.
#
# *Pixel accuracy* and *frequency weighted IU* count pixels, so the handful of classes
# at the top decides them. *Mean accuracy* and *mean IU* count classes: sky and
# streetlight have the same say. A net that never predicts the twenty rarest classes
# loses a few points of pixel accuracy at most, but more than half of what there is to
# win in mean accuracy and mean IU. ([Chapter 2](02_pixels_to_scores.ipynb) works these
# metrics by hand.)
#
# A class without a pixel in the test images has no accuracy. The paper averages over
# the other classes, and so do we; predicting such a class is still an error.
#
# ### Two label maps from one
#
# If you have the published geometric label maps, in `GeoLabels`, the code uses them.
# The committed runs were made without them: their geometric labels are derived, because
# each of the 33 classes has one place in space.

# %% tags=["remove-input"]
places = {place: [] for place in sift_flow.GEOMETRIC}
for name, place in sift_flow.GEOMETRY.items():
    places[place].append(name)
Markdown(
    "\n".join(f"- *{place}*: {', '.join(names)}" for place, names in places.items())
)

# %% [markdown]
# Three entries are a matter of judgement. A staircase is horizontal because one walks
# on it; rocks are vertical because most are cliffs here; a bridge is vertical because
# it shows its side.
#
# We may not reprint SIFT Flow's photos. The procedural scenes of this project have two
# label maps, too:

# %% tags=["hide-input"]
scenes = Scenes(6, (192, 192), split="test")
classes = scenes.heads["semantic"]
figures.two_label_sets([scenes[0], scenes[3]], classes, PALETTE)
plt.show()

# %% [markdown]
# :::{caption} fig-two-label-maps
# :alt: Two painted outdoor scenes in rows, each with a map of semantic labels and a map
# :  of geometric labels; thin light lines between the regions are void.
# Two procedural scenes with their semantic and geometric labels. Light pixels are void.
# :::
#
# ## One backbone, two heads
#
# The net is that of [chapter 5](05_skips.ipynb), with two sets of score layers instead
# of one. Both read the same maps of the same backbone. With $\ell_s$ and $\ell_g$ the
# mean softmax losses over the labelled pixels of the two tasks, training minimises
#
# $$\ell(\theta, w_s, w_g) = \ell_s(\theta, w_s) + \ell_g(\theta, w_g).$$
#
# The backbone's weights $\theta$ follow the sum of the two gradients, while each head's
# weights $w$ see only the loss of their own task. Nothing else in the net or in the
# training knows that there are two tasks.

# %%
tasks = sift_flow.SiftFlow.heads
heads = {head: len(names) for head, names in tasks.items()}
net = fcn.FCN("googlenet", stride=8, heads=heads, upsampling="interpolate")
with torch.no_grad():
    scores = net(torch.rand(1, 3, 64, 96))
{head: tuple(values.shape) for head, values in scores.items()}


# %%
def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


sizes = pd.Series({"backbone": parameters(net.trunk)})
for head in heads:
    sizes[f"{head} head"] = parameters(net.heads[head])
sizes["all"] = parameters(net)
pd.DataFrame(
    {"parameters": sizes.map("{:,}".format), "%": (100 * sizes / sizes["all"]).round(2)}
)

# %% [markdown]
# :::{caption} tab-sift-sizes
# Parameters of FCN-8s on GoogLeNet with both heads.
# :::

# %% tags=["remove-input"]
shared.glue_values(
    second_task=100 * sizes["geometric head"] / sizes["all"],
    millions=sizes["all"] / 1e6,
    times_fewer=134e6 / sizes["all"],
)

# %% [markdown]
# The second task adds **{glue:text}`second_task:.2f` %** to the parameters. The whole
# net has {glue:text}`millions:.1f` million, **{glue:text}`times_fewer:.0f` times
# fewer** than the 134 million that the paper's Table 1 gives for FCN-VGG16.
#
# ## Two recipes
#
# The paper trains slowly: stochastic gradient descent with momentum at a small fixed
# rate, at least 175 epochs per net, days on a GPU. Our runs are made on a small machine
# and need compromises. We make them in two ways.
#
# - The *short* recipe keeps the paper's procedure: FCN-32s first, then FCN-16s from its
#   weights, then FCN-8s from those, with the same optimiser, momentum, decay and batch
#   size. But it has a much larger learning rate and only a few epochs. Where the paper
#   divides the rate by 100 at each new stride, this recipe halves it for 16s and keeps
#   it for 8s.
# - The *tuned* recipe keeps the net and gives up the procedure: all three strides at
#   once, an adaptive optimiser, a rate that warms up and decays to zero, mirrored
#   photos.
#
# These are all settings, as the catalogue `fcn.replication.catalogue` holds them:

# %% tags=["hide-input", "full-width"]
names = {
    "paper, 32s": "sift-flow-googlenet-32s",
    **{f"short, {stride}": name for stride, name in SHORT.items()},
    "tuned, 8s": TUNED,
}
chapter_tables.recipes(names)

# %% [markdown]
# :::{caption} tab-sift-recipes
# The settings that the paper gives for GoogLeNet on PASCAL VOC, and those of our runs.
# :::
#
# A row that is empty or holds only zeros or `False` is an option that only other
# experiments use. The rates of different optimisers cannot be compared: AdamW divides
# each gradient by its own size.
#
# ## Running the experiments
#
# On request, this chapter trains every experiment that its tables and figures show,
# from Table 5's own net on VGG16 to the two trial recipes:
#
# ```
# papermill book/06_sift_flow.ipynb sift_flow.ipynb --cwd book -p preset paper \
#     -p data_root DATA -p weights_root WEIGHTS -p device cuda
# ```
#
# It skips experiments that have a record, resumes interrupted ones, and reports each
# one that lacks its data or weights in one line. Records go to `results_dir`, nets and
# checkpoints to `runs_dir`. To train only some of them, name them: `-p experiments
# "sift-flow-vgg16-32s sift-flow-vgg16-16s"`. With `-p preset small`, the same code
# trains a net a quarter as wide on procedural scenes, in minutes. With `smoke`, every
# experiment takes two steps on a handful of images.

# %% tags=["full-width", "nbval-ignore-output"]
made = here.run(chapter_tables.SIFT_FLOW_RUNS, small=[DEMO])
if made.empty:
    print("Nothing was trained just now: the tables below are read from the records.")
else:
    display(made)

# %% tags=["hide-input", "nbval-ignore-output"]
if here.preset == "small":
    record = Path(made["record"][0])
    demo = fcn.load(record.parents[1] / f"{record.stem}.safetensors").eval()
    painted = [dataset("scenes", "test")[i] for i in (0, 3, 6)]
    images = [sample.image for sample in painted]
    with torch.no_grad():
        answers = [demo(image[None] / 255)["semantic"][0].argmax(0) for image in images]
    truths = [sample.labels["semantic"] for sample in painted]
    shared.labellings(images, {"labels": truths, "FCN-8s": answers}, classes, PALETTE)
    plt.show()

# %% [markdown]
# ## The runs
#
# Each record states its purpose. A *validation* run trains without the validation
# images and is scored on them: such runs serve to compare recipes. A *final* run trains
# on all training images, and its last weights are scored once on the test images. No
# checkpoint was picked by its test score, and nothing was tuned after a test score was
# known. No score chose the rates and epochs of the short recipe: the epochs are those
# that the time allowed, the rate one at which the training loss fell and did not
# diverge.
#
# The AdamW trial first ran before the tuned run began, and the SGD trial ran alongside
# it. Neither left a record. We repeated both from a clean checkout and got the same
# numbers. The records are those of the repetitions, so their commit is later than that
# of the tuned run.

# %% tags=["hide-input", "full-width"]
found = here.records()
finals = {name: find(found, name) for name in (*SHORT.values(), TUNED)}
validation = {name: find(found, name, "validation") for name in TRIALS.values()}
for name, seeds in {**finals, **validation}.items():
    if not seeds:
        print("not run: python -m fcn train", name)
short = {stride: finals[name][0] for stride, name in SHORT.items() if finals[name]}
tuned = next(iter(finals[TUNED]), None)
trials = {
    label: validation[name][0] for label, name in TRIALS.items() if validation[name]
}
chapter_tables.overview([*chain(*finals.values(), *validation.values())])

# %% [markdown]
# :::{caption} tab-sift-runs
# The runs with GoogLeNet; their names lack the prefix `sift-flow-googlenet-`. Mean IU
# in percent.
# :::

# %% tags=["remove-input"]
for name, run in trials.items():
    shared.glue_values(
        **{
            f"{name}_iu": run.scores["mean_iu"],
            f"{name}_pixels": run.scores["pixel_accuracy"],
        }
    )
if trials:
    shared.glue_values(trial_classes=trials["AdamW"].heads["semantic"].classes_counted)

# %% [markdown]
# Two trials of one epoch compared optimisers for the tuned recipe, both with all
# strides at once, batches of 8 and a rate that decays: SGD from 0.005 and AdamW from
# 0.0002. On the validation images, over the {glue:text}`trial_classes:.0f` classes
# present there, SGD reaches a mean IU of {glue:text}`SGD_iu:.1f` (pixel accuracy
# {glue:text}`SGD_pixels:.1f`) and AdamW {glue:text}`AdamW_iu:.1f` (pixel accuracy
# {glue:text}`AdamW_pixels:.1f`). The tuned recipe is the AdamW trial with more epochs
# and mirrored photos; we tried no other.
#
# {numref}`fig-sift-losses` shows how the loss falls. The vertical lines mark where a
# stage of the short recipe ends and the next one starts from its weights. New score
# layers start at zero, so each stage starts with the predictions of the one before it.
# A bump soon after a line may mean that the first steps of the stage undo some of what
# was learned, but the 32s curve has similar bumps where no stage begins. The high one
# follows the second line, where the rate stays the same; we have not tested its cause.
# In [chapter 5](05_skips.ipynb), with AdamW and a rate that restarts, a hundredth of
# the rate removes such a bump. The paper lowers its rate at each new stride.

# %% tags=["hide-input"]
curves, seen_before = {}, 0
for stride, run in short.items():
    curves[f"short, {stride}"] = [(seen_before, run.curve)]
    seen_before += run.images_seen
if tuned:
    curves["tuned, 8s"] = [(0, tuned.curve)]
if curves:
    shared.losses(curves, figures.LINES, "loss of both heads, nats per pixel")
    plt.show()

# %% [markdown]
# :::{caption} fig-sift-losses
# :alt: Loss against images seen. The three stages of the short recipe follow each
# :  other, each ending lower than the one before, the third after a high bump. The
# :  curve of the tuned recipe falls faster and ends lowest.
# Training loss, the sum of both heads, against images seen. Thin lines are the means
# that a record holds, bold ones a running mean of nine of them. The tuned recipe sees
# mirrored photos, which are a little harder, and batches of another size.
# :::
#
# ## Table 5
#
# Here are the paper's rows and ours, whose names lack the prefix `sift-flow-`.
# Geometric accuracy is the pixel accuracy of the second head. Several seeds are shown
# as mean ± standard deviation. To make a row that is "not run", use `python -m fcn
# train sift-flow-NAME`.

# %% tags=["hide-input", "full-width"]
shown = tables.table("Table 5", found).drop(columns=["source", "record"])
shown.rename(
    index=lambda name: name.removeprefix("sift-flow-"),
    columns={"geometric acc.": "geom. acc."},
)

# %% [markdown]
# :::{caption} tab-sift-table-5
# Table 5 of {cite:t}`long2015` and our rows, in percent. Ours are read from
# `results/sift-flow-NAME.seedN.json`.
# :::

# %% tags=["hide-input"]
ours = {"short, 8s": short["8s"]} if "8s" in short else {}
if tuned:
    ours["tuned, 8s"] = tuned
names = {label: run.experiment for label, run in ours.items()}
means = {
    label: chapter_tables.mean_scores(found, name) for label, name in names.items()
}
if ours:
    published = [row for row in paper.TABLES if row.table == "Table 5"]
    figures.table_5(published, PAPER.label, means)
    plt.show()

# %% [markdown]
# :::{caption} fig-table-5
# :alt: One line of dots for each of five metrics, with earlier methods in grey, the
# :  paper's FCN-16s as a diamond and our two nets below. The tuned net is to the right
# :  of the paper's in every metric but mean accuracy.
# Table 5 at a glance. Most earlier methods report one or two of the five numbers.
# :::

# %% tags=["hide-input"]
columns = {metric: tables.COLUMNS[metric] for metric in tables.MEASURED}
less = {
    label: {m: shared.points(scores[m], PAPER.metrics[m]) for m in columns}
    for label, scores in means.items()
}
pd.DataFrame(less).T.rename(columns=columns).map("{:+.1f}".format)

# %% [markdown]
# :::{caption} tab-sift-less-paper
# Our nets minus the paper's FCN-16s on VGG16, in points.
# :::

# %% tags=["remove-input"]
shared.glue_values(between_seeds=chapter_tables.widest_range(found, "sift-flow"))

# %% [markdown]
# :::{note}
# **How far these numbers carry.** All caveats of this chapter are collected here.
#
# - *Backbone, stride and recipe change together.* Our rows use GoogLeNet, stride 8 and
#   our recipes; the paper's row uses VGG16, stride 16 and its own. So a tuned net above
#   the paper's row has not beaten VGG16: in the paper's Table 1, VGG16 is far better
#   than GoogLeNet, and we have not trained it with the tuned recipe. Only our own rows,
#   which share a backbone, show the effect of a recipe.
# - *Few seeds.* A row without ± is a single run. Among our runs, two seeds of one
#   recipe differ by up to {glue:text}`between_seeds:.1f` points of mean IU, so a
#   smaller difference between single runs may be chance.
# - *Short schedules.* The short runs stop long before they converge and do not show
#   what the paper's recipe reaches in its own time. A net that starts from another has
#   also been trained longer, in the paper as well as here. The runs of chapter 12 that
#   compare one task with two last one to three epochs, too short for a verdict.
# - *Two trials compare recipes, not optimisers.* Each had one learning rate, and the
#   AdamW trial also warmed up, clipped its gradients and trained the score layers five
#   times as fast. The validation images hold other classes than the test images, so the
#   scores of the two sets cannot be compared. Training losses say nothing about new
#   photos.
# - *Data.* The geometric labels are derived: the published maps may differ in some
#   pixels and may label pixels that are void in ours. The training photos were
#   recompressed before they reached us. The test images, their semantic labels and the
#   metrics are the paper's.
# :::
#
# ## What the skips bring
#
# Table 2 of the paper measures skips on PASCAL VOC with VGG16. The short runs make the
# same comparison with other data and another backbone, so {numref}`fig-sift-skips`
# shows gains over FCN-32s instead of scores. {numref}`fig-stages` shows what these
# three nets make of two photos.

# %% tags=["hide-input"]
if len(short) > 1:
    table_2 = {
        stride: paper.row("Table 2", f"FCN-{stride}").metrics for stride in SHORT
    }
    by_stride = {s: chapter_tables.mean_scores(found, SHORT[s]) for s in short}
    figures.skips(table_2, by_stride)
    plt.show()

# %% [markdown]
# :::{caption} fig-sift-skips
# :alt: Two panels of lines from 32s to 16s to 8s, one line per metric. In both panels
# :  the first skip gains most and the second little.
# Gains of each metric over FCN-32s. Left as published in Table 2, right from our
# records.
# :::

# %% tags=["remove-input"]
if len(short) == len(SHORT):
    coarse, middle, fine = (scores["mean_iu"] for scores in by_stride.values())
    seen = np.cumsum([run.images_seen for run in short.values()])
    by_class = pd.DataFrame(
        {stride: run.heads["semantic"].iu_per_class for stride, run in short.items()},
        sift_flow.SEMANTIC,
        dtype=float,
    )
    gains = by_class["8s"] - by_class["32s"]
    shared.glue_values(
        step_16s=middle - coarse,
        step_8s=fine - middle,
        **{
            f"gain_{m}": by_stride["8s"][m] - by_stride["32s"][m] for m in paper.METRICS
        },
        **{
            f"gain_{name}": gains[name]
            for name in ("staircase", "plant", "field", "sand")
        },
        **{
            f"seen_{stride}": images for stride, images in zip(short, seen, strict=True)
        },
    )

# %% [markdown]
# From 32s to 16s, mean IU changes by {glue:text}`step_16s:+.1f` points, which is more
# than any two seeds of one recipe differ here. The {glue:text}`step_8s:+.1f` from 16s
# to 8s is less than that, so these runs do not tell which of the two is better. From
# 32s to 8s, pixel accuracy changes by {glue:text}`gain_pixel_accuracy:+.1f`, mean
# accuracy by {glue:text}`gain_mean_accuracy:+.1f`, mean IU by
# {glue:text}`gain_mean_iu:+.1f` and frequency weighted IU by
# {glue:text}`gain_frequency_weighted_iu:+.1f`. The largest gains in IU are those of
# staircase ({glue:text}`gain_staircase:+.1f`) and plant ({glue:text}`gain_plant:+.1f`),
# the largest losses those of field ({glue:text}`gain_field:+.1f`) and sand
# ({glue:text}`gain_sand:+.1f`).
#
# But each finer net was also *trained longer*. Including the nets they started from,
# FCN-32s had seen {glue:text}`seen_32s:,.0f` images by its end, FCN-16s
# {glue:text}`seen_16s:,.0f` and FCN-8s {glue:text}`seen_8s:,.0f`. Part of a gain may
# come from the added training. [Chapter 5](05_skips.ipynb) removes this confound on
# small painted scenes. Here, one control removes it for the first skip: FCN-32s,
# trained for as many more images as FCN-16s at the same rate, without the skip.

# %% tags=["remove-input"]
controls = find(found, f"{SHORT['32s']}-lower-rate")
if controls and len(short) == len(SHORT):
    control = chapter_tables.mean_scores(found, controls[0].experiment)["mean_iu"]
    shared.glue_values(
        iu_32s=coarse,
        iu_control=control,
        iu_16s=middle,
        from_training=control - coarse,
        from_skip=middle - control,
    )

# %% [markdown]
# In mean IU, FCN-32s goes from {glue:text}`iu_32s:.1f` to {glue:text}`iu_control:.1f`
# without a skip, and FCN-16s reaches {glue:text}`iu_16s:.1f`: of its
# {glue:text}`step_16s:+.1f` points, {glue:text}`from_training:+.1f` came with the
# training alone. The other {glue:text}`from_skip:+.1f` are no more than two seeds of
# one recipe can differ by, so these runs do not show that the skip helps. The control
# gains this much because the coarse net was far from converged; the paper starts its
# finer nets after at least 175 epochs.
#
# ## Class by class
#
# A mean over classes hides its classes. Here they are, sorted by frequency in the
# training images:

# %% tags=["hide-input"]
semantic = {label: run.heads["semantic"] for label, run in ours.items()}
if semantic:
    figures.iu_per_class(semantic, shares["train"])
    plt.show()

# %% [markdown]
# :::{caption} fig-sift-classes
# :alt: Two bars for each of 30 classes, most frequent at the top. Bars get shorter
# :  towards the rare classes, with exceptions; the tuned net's are longer almost
# :  everywhere.
# The IU of every class in the test images, with the class's share of the training
# pixels. Where no bar can be seen, the net found next to nothing of that class.
# :::

# %% tags=["remove-input"]
neighbours = {"short, 8s": ["plant", "car"], "tuned, 8s": ["sun", "bird"]}
for label, head in semantic.items():
    iu = pd.Series(head.iu_per_class, head.classes, dtype=float).dropna()
    correlation = spearmanr(iu, shares["train"][iu.index]).statistic
    values = {"best": iu.max(), "correlation": correlation, **iu[neighbours[label]]}
    shared.glue_values(
        **{f"{label.split(',')[0]}_{name}": value for name, value in values.items()}
    )

# %% [markdown]
# In both runs the IU of the 30 classes ranges from 0 for bird up to
# {glue:text}`short_best:.0f` (short) and {glue:text}`tuned_best:.0f` (tuned) for sky.
# The short run leaves five classes below 1: bird, boat, bus, streetlight and sun. The
# tuned run leaves only bird there. The rank correlation of IU with frequency is
# {glue:text}`short_correlation:.2f` in the short run and
# {glue:text}`tuned_correlation:.2f` in the tuned one. Yet neighbours in frequency can
# be far apart: in the short run plant at {glue:text}`short_plant:.0f` and car at
# {glue:text}`short_car:.0f`, in the tuned one sun at {glue:text}`tuned_sun:.0f` and
# bird at {glue:text}`tuned_bird:.0f`.
#
# Frequency is not everything. A class that covers large areas of one texture is easier
# than one of thin or small things, and one that always looks the same is easier than
# one of many shapes. The paper finds it unnecessary to weight rare classes up, and the
# two recipes of this chapter do not weight them either; that of [chapter
# 15](15_speedrun.ipynb) does, a little. Whether weights help depends on the metric:
# those that raise mean accuracy cost pixel accuracy, as the two rows of
# {cite:t}`farabet2013` in Table 5, balanced and natural, show.
#
# ## What is taken for what
#
# The confusion matrix shows where the wrong pixels go. Each row is a true class,
# divided by its number of pixels; the diagonal is what the net found.

# %% tags=["hide-input"]
if semantic:
    best = list(semantic)[-1]  # tuned, if it is there
    head = semantic[best]
    order = [head.classes.index(name) for name in ranked.index]
    shared.confusion(np.array(head.confusion_matrix), head.classes, order, least=20)
    plt.show()

# %% [markdown]
# :::{caption} fig-sift-confusion
# :alt: A matrix of 30 true by 33 predicted classes. The diagonal is dark for the
# :  frequent classes at the top and fades downwards; the column of building is dark in
# :  many rows, that of sky in the rows of bird and of thin things such as sign and
# :  pole.
# Row-normalised confusion of the semantic classes on the test images, frequent classes
# first; entries of 20 % and more are printed. Columns are all 33 classes, rows those
# that the test images hold.
# :::
#
# A column that is dark in many rows is a class that swallows others: here, above all,
# building. These pairs hold the most wrong pixels:

# %% tags=["hide-input"]
pairs = chapter_tables.confused_pairs(semantic[best]) if semantic else pd.DataFrame()
pairs

# %% [markdown]
# :::{caption} tab-sift-confused
# The ten pairs of a true and a predicted class with the most wrong pixels of the tuned
# net.
# :::

# %% tags=["remove-input"]
if len(pairs):
    shared.glue_values(of_all_errors=pairs["of all errors, %"].sum())

# %% [markdown]
# These ten pairs hold **{glue:text}`of_all_errors:.0f` %** of all wrong pixels of the
# tuned net.
#
# Read the pairs as a person would. Some are not blunders but disputes: where a
# mountain's forest ends and the mountain begins, whether a strip of green is plant,
# grass, tree or field, whether a window is still the building it belongs to. The people
# who drew the labels had to choose one word as well. Where two of them would have
# chosen differently, no net can be right about both.
#
# ## A closed world
#
# Our tuned net (its weights are in `weights/`, in 16 bits) did well on the temple and
# the rocket of {numref}`fig-sift-photos`. Now for something it was not made for: a cup
# of coffee (Rachel Michetti, CC0) and the cat Chelsea (Stéfan van der Walt, CC0). Guess
# how each will come out before you look.

# %% tags=["hide-input", "nbval-ignore-output"]
indoors = {name: photo(name) for name in ("coffee", "chelsea")}
if weights_file.is_file():
    on_photos |= {name: shared.probabilities(trained, x) for name, x in indoors.items()}
    shared.predictions(indoors, on_photos, palettes, sift_flow.SEMANTIC)
    plt.show()

# %% [markdown]
# :::{caption} fig-sift-closed-world
# :alt: A cup of coffee and a cat, with two label maps each. Most of both becomes
# :  mountain, with patches of sky, sea, sand, tree and plant; the geometry is mostly
# :  vertical. The probability is dark in broad areas, with light ones between.
# Two photos without any of the 33 classes. Columns as in {numref}`fig-sift-photos`.
# :::

# %% tags=["hide-input", "nbval-ignore-output"]
if weights_file.is_file():
    print("pixels whose class has a probability above 0.9:")
    for name, found_there in on_photos.items():
        sure = 100 * (found_there["semantic"].amax(0) > 0.9).float().mean()
        print(f"  {name:8} {sure:3.0f} %")

# %% [markdown]
# The temple is what the net was made for: an outdoor photo, taken from where people
# stand, of things that have a class. The rocket is a stranger, but it stands outdoors
# like a tower and becomes a building. The cup and the cat have no class at all, nor
# anything like one. The net has no output for "none of these": the softmax shares out
# all of its probability among 33 classes, so the cat *must* become mountain or sand or
# whatever its fur resembles most, and the geometric head must find sky and ground on a
# table. This is the *closed world* of a classifier. The benchmark does not punish it,
# because its test images come from the same eight categories as its training images.
#
# Does the net know that it does not know? The probability is only a hint. On average it
# is lower where there is nothing to recognise, but not everywhere. Look for light
# patches on the cup and the cat, where the net is nearly certain of a wrong class, and
# for the dark outline of the temple, where it is unsure and nearly right.
#
# Try your own photos: `python -m fcn predict photo.jpg`.
#
# ## Deviations from the paper, and their cost
#
# Every record lists its deviations.

# %% tags=["hide-input", "wrap-last-column"]
chapter_tables.deviation_marks({**short, **({"tuned": tuned} if tuned else {})})

# %% [markdown]
# :::{caption} tab-sift-deviations
# Deviations of the short runs at the three strides and of the tuned run.
# :::

# %% tags=["remove-input"]
if tuned and len(short) == len(SHORT):
    vgg16, googlenet = (
        paper.row("Table 1", f"FCN-{n}").metrics["mean_iu"]
        for n in ("VGG16", "GoogLeNet")
    )
    shared.glue_values(
        table_1_vgg16=vgg16,
        table_1_googlenet=googlenet,
        table_1_gap=vgg16 - googlenet,
        tuned_less_paper=less["tuned, 8s"]["mean_iu"],
        **{
            f"recipe_{m}": means["tuned, 8s"][m] - means["short, 8s"][m]
            for m in columns
        },
        seen_tuned=tuned.images_seen,
        seen_paper=175 * tuned.dataset.trained_on.images,
    )

# %% tags=["remove-input"]
if tuned:  # the solution of exercise 1
    head = tuned.heads["semantic"]
    matrix = np.array(head.confusion_matrix)
    rare = [head.classes.index(name) for name in ranked.index[-10:]]
    moved = matrix.copy()
    moved[:, rare] = 0
    moved[range(len(moved)), moved.argmax(1)] += matrix[:, rare].sum(1)
    before, after = (
        ConfusionMatrix.from_matrix(counted).metrics() for counted in (matrix, moved)
    )
    shared.glue_values(
        moved_pixels=100 * matrix[:, rare].sum() / matrix.sum(),
        moved_right=100 * matrix.diagonal()[rare].sum() / matrix[:, rare].sum(),
        **{f"moved_{m}": getattr(after, m) - getattr(before, m) for m in paper.METRICS},
    )

# %% [markdown]
# - *The backbone.* In the paper's Table 1, GoogLeNet reaches a mean IU of
#   {glue:text}`table_1_googlenet:.1f` on PASCAL VOC, and VGG16
#   {glue:text}`table_1_vgg16:.1f`: {glue:text}`table_1_gap:.1f` points for a net one
#   twentieth the size. Our tuned net differs from the paper's FCN-16s on VGG16 by
#   {glue:text}`tuned_less_paper:+.1f` points.
# - *The recipe.* From short to tuned, on the same backbone: pixel accuracy
#   {glue:text}`recipe_pixel_accuracy:+.1f`, mean accuracy
#   {glue:text}`recipe_mean_accuracy:+.1f`, mean IU {glue:text}`recipe_mean_iu:+.1f`,
#   frequency weighted IU {glue:text}`recipe_frequency_weighted_iu:+.1f`, geometric
#   accuracy {glue:text}`recipe_geometric_accuracy:+.1f`. All stages of the short recipe
#   together saw {glue:text}`seen_8s:,.0f` images, the tuned one
#   {glue:text}`seen_tuned:,.0f`. The paper trains one net for at least 175 epochs, or
#   {glue:text}`seen_paper:,.0f` images.
# - *Geometric labels derived from the semantic ones.* Not measured. It may make the two
#   tasks easier to learn together: whoever knows the class knows the geometry.
# - *Two images without labels left out.* Nothing: a pixel without a label has no loss.
#   - *Upsampling fixed.* The authors' release fixes it too. In short runs of ours,
#   learning it made no difference that we could show (chapter
#   [4](04_upsampling.ipynb)).
# - *Training photos re-saved, convolutions in bfloat16.* Not measured.
#
# Each of these lines can become a run of its own: change one setting, keep the rest,
# choose on the validation images.
#
# ## Summary
#
# - SIFT Flow's classes are spread very unevenly. Its frequent classes decide the pixel
#   metrics, its rare ones the class metrics.
# - Two tasks on one backbone need two losses and one sum. The second head costs next to
#   nothing.
# - Records make a table that can be checked: every number leads to its settings, its
#   confusion matrix and its deviations. No test score chose these recipes or a
#   checkpoint, and the test images are scored once per run.
# - Three strides, each trained from the one before, repeat the paper's comparison of
#   skips, with the same confound: the finer net has also been trained longer.
# - A net knows only its classes and gives one of them to everything else.
#
# ## Exercises
#
# 1. *Metrics against each other.* Take the confusion matrix of the tuned run from its
#    record. For each true class, move all pixels that were predicted as one of the ten
#    rarest classes to the most frequently predicted of the others, and compute the four
#    metrics again with `ConfusionMatrix.from_matrix` of `fcn.metrics`. Which of them
#    fall, which rise, and why?
#
#    :::{dropdown} Solution
#    None rises. Pixel accuracy changes by {glue:text}`moved_pixel_accuracy:+.1f`
#    points, mean accuracy by {glue:text}`moved_mean_accuracy:+.1f`, mean IU by
#    {glue:text}`moved_mean_iu:+.1f` and frequency weighted IU by
#    {glue:text}`moved_frequency_weighted_iu:+.1f`. Only {glue:text}`moved_pixels:.2f` %
#    of the labelled pixels move, so the metrics that count pixels hardly notice. But
#    {glue:text}`moved_right:.0f` % of these were right, and the classes they belonged
#    to drop to an accuracy and IU of zero: each weighs as much as sky in the metrics
#    that count classes.
#    :::
#
# 2. *Skips or time?* With `dataclasses.replace`, make an experiment that starts from
#    `sift-flow-googlenet-32s-short` at stride 32 and trains for as many epochs as the
#    16s and 8s stages together. Run it with `purpose="validation"`, like the three
#    stages. How much of the difference between 32s and 8s is left?
#
#    :::{dropdown} Solution
#    The catalogue has half of it: `sift-flow-googlenet-32s-short-lower-rate`, the
#    control above. Give it four epochs instead of two. We have not run that, but the
#    control tells what to expect. On the test images, after two of the four epochs, it
#    had already closed {glue:text}`from_training:.1f` of the
#    {glue:text}`gain_mean_iu:.1f` points between 32s and 8s.
#    :::
#
# 3. *A way to say no.* For each of the four photos, compute the mean over its pixels of
#    the largest probability, of the entropy of the 33 probabilities, and of the largest
#    score before the softmax. Which of the three best sets the coffee and the cat apart
#    from the temple? Try it on ten outdoor and ten indoor photos of your own before you
#    trust it.
#
#    :::{dropdown} Solution
#    The largest score does. With photos of at most 512 pixels, its mean is positive on
#    the temple and the rocket and negative on the coffee and the cat. The probability
#    and the entropy rank the four photos in the same two groups, but the groups are
#    closer together. The softmax sees only the differences between scores: where all
#    scores are low, it forgets that they are.
#    :::
