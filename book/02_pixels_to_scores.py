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
# # From pixels to scores
#
# Before we build a net that labels pixels, we need to know what makes a labelling good.
# The paper scores its nets by four numbers, all computed from one table of counts. They
# often disagree: a labelling can have nearly every pixel right and miss three classes
# out of ten. We work the four numbers out by hand on sixteen pixels, then watch them
# judge label maps that are wrong in ways we know.

# %% tags=["parameters", "hide-input"]
preset = "read"  # "read", "smoke", "small" or "paper": how many scenes are scored
seed = 0

# %% tags=["remove-input"]
import presets

here = presets.check(preset=preset, seed=seed)

# %% tags=["hide-input"]
from fractions import Fraction

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy import ndimage

import widgets
from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.losses import pixel_softmax_loss
from fcn.metrics import ConfusionMatrix
from figures import labelling, shared, style

style.use()
NAMES = Scenes.heads["semantic"]

# %% tags=["remove-input"]
street = Scenes(12, (192, 256), seed=here.seed, split="test").scene(11)
image, labels = street.image.permute(1, 2, 0).numpy(), street.semantic.numpy()
things = [NAMES.index(name) for name in ("pole", "car", "tree")]
labelling.tasks(image, labels, NAMES, PALETTE, things)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-tasks
# :alt: A street scene, shown four times. Classification lists the names of its classes.
# :  Detection draws boxes around trees, lamp posts and cars. Segmentation colours every
# :  pixel by its class, with thin white borders between the classes.
# One scene, three tasks. The boxes were drawn around the connected pieces of the label
# map; the classification is the list of its classes. A segmentation contains both,
# except that it does not count objects.
# :::
#
# ## What you will learn
#
# - what semantic segmentation asks for, and how label maps, void pixels and scores look
#   as arrays;
# - how the four metrics of the paper follow from one confusion matrix;
# - why pixel accuracy flatters, what mean IU sees instead, and what frequency weighting
#   does to it;
# - why a split has *one* matrix, and how classes that it lacks are treated;
# - how the loss that trains the net treats each pixel, and void.
#
# ## What, where, and how exactly
#
# Each of the three tasks in {numref}`fig-label-tasks` asks more of the same photo than
# the one before. *Classification* names what it shows. *Detection* puts a box around
# each thing that can be counted. *Semantic segmentation* gives every pixel a class. The
# outline of a tree now matters, and so do sky and road, which have no sensible box. Two
# overlapping cars are not separated: both are *car*. (Telling them apart is called
# instance segmentation, which the paper leaves to others.)
#
# :::{note}
# The scenes of this chapter are synthetic, so their labels are exact, which no
# hand-labelled photo can claim. No net is scored here: we damaged label maps on purpose
# to see how the metrics react. How many points a metric loses depends on these scenes;
# why it loses them does not.
# :::
#
# ## Label maps and void
#
# A **label map** is an array with one whole number per pixel: 0 for the first class, 1
# for the next. The value 255 is **void**: *nobody says what this is*. Data sets use it
# for the outlines of objects, where a pixel holds a little of both and two people would
# draw two different lines (PASCAL VOC {cite:p}`everingham2010`). They also mark parts
# that were never labelled or belong to none of the classes (SIFT Flow
# {cite:p}`liu2011`, whose files store 0 there, which becomes 255 when we read them).
# Void is not a class. The net is not asked to find it, a void pixel adds nothing to the
# loss, and no metric counts it.

# %%
print("shape", labels.shape, " values", np.unique(labels).tolist())
print(f"void: {100 * (labels == VOID).mean():.1f} % of the pixels")

# %% tags=["remove-input"]
labelling.zoom(labels, PALETTE, corner=(130, 150), side=14)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-zoom
# :alt: Left, the label map of the street, with a small frame at the edge of a car.
# :  Right, the 14 by 14 numbers in the frame, 8 for the car at the upper right and 4
# :  for the road, separated by a band of dots.
# A label map and its numbers. Where two classes meet, a border of void (dots) replaces
# a doubtful outline. The border is taken from the farther class, so thin things in
# front keep their pixels.
# :::
#
# A net does not output labels. For each class it outputs a **score** at each pixel: an
# array of C × H × W real numbers. The prediction is the class with the largest score,
# `scores.argmax(0)`. So a prediction, unlike a label map, is never void.
#
# ## The metrics, by hand
#
# Let $n_{ij}$ be the number of pixels of class $i$ that are predicted as class $j$. The
# table of these numbers is the **confusion matrix**; its rows are the truth, its
# columns the prediction. Here are sixteen pixels of three classes.

# %%
classes = ("sky", "tree", "pole")
colours = PALETTE[[NAMES.index(name) for name in classes]]
V = VOID
truth = np.array([[0, 0, 0, 2], [0, 0, 1, 2], [V, 1, 1, 2], [1, 1, 1, V]])
guess = np.array([[0, 0, 0, 0], [0, 1, 1, 2], [1, 1, 1, 2], [1, 1, 0, 2]])

n = np.zeros((3, 3), dtype=int)
for true, predicted in zip(truth.flat, guess.flat, strict=True):
    if true != VOID:
        n[true, predicted] += 1

# %% tags=["remove-input"]
labelling.by_hand(truth, guess, n, classes, colours)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-sixteen
# :alt: Two grids of 4 by 4 pixels, the ground truth and the prediction, and the
# :  confusion matrix of sky, tree and pole. The matrix has 4, 5 and 2 on the diagonal
# :  and three errors elsewhere.
# Fourteen labelled pixels, three of them wrong (red frames). The two void pixels are in
# no cell of the matrix, whatever was predicted there.
# :::
#
# Let $t_i = \sum_j n_{ij}$ be the number of pixels of class $i$, here 5, 6 and 3, and
# $n_\mathrm{cl}$ the number of classes. The paper defines four metrics (section 5).
#
# **Pixel accuracy** $\;\sum_i n_{ii} \,/\, \sum_i t_i\;$ is the share of the labelled
# pixels that are right:
#
# $$\frac{4 + 5 + 2}{14} = \frac{11}{14} \approx 78.6\,\%$$
#
# **Mean accuracy** $\;\frac{1}{n_\mathrm{cl}} \sum_i n_{ii} / t_i\;$ takes that share
# for each class, and averages:
#
# $$\frac13\left(\frac45 + \frac56 + \frac23\right) = \frac{23}{30} \approx 76.7\,\%$$
#
# The accuracy of a class looks only at the pixels of that class: a net that calls
# everything *tree* gets every tree right. **Intersection over union** (IU; others write
# IoU, or Jaccard index) therefore compares two sets of pixels: those that *are* the
# class and those that *were called* it. Pixels in both sets are the intersection.
# Pixels in either are the union, $t_i + \sum_j n_{ji} - n_{ii}$. A pixel called *tree*
# by mistake counts twice: it makes the union of *tree* larger, and its true class
# misses it.

# %% tags=["remove-input"]
labelling.unions(truth, guess, classes, colours)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-unions
# :alt: Three grids of 4 by 4 pixels, one per class. Sky has 4 of 7 pixels ticked, tree
# :  5 of 7 and pole 2 of 3. The other pixels of each union are marked as missed or
# :  wrong.
# For each class: the pixels that are right (✓), missed, and wrongly called that class
# (*wrong*). Each title counts intersection and union.
# :::
#
# **Mean IU**
# $\;\frac{1}{n_\mathrm{cl}} \sum_i n_{ii} \,/\, (t_i + \sum_j n_{ji} - n_{ii})\;$
# averages over the classes, each with one vote:
#
# $$\frac13\left(\frac47 + \frac57 + \frac23\right) = \frac{41}{63} \approx 65.1\,\%$$
#
# **Frequency weighted IU**
# $\;(\sum_k t_k)^{-1} \sum_i t_i\, n_{ii} / (t_i + \sum_j n_{ji} - n_{ii})\;$ gives
# each class as many votes as it has pixels:
#
# $$
# \begin{aligned}
# &\frac{1}{14}\left(5\cdot\frac47 + 6\cdot\frac57 + 3\cdot\frac23\right) \\
# &= \frac{32}{49} \approx 65.3\,\%
# \end{aligned}
# $$
#
# Here is the same in code, first with exact fractions:

# %%
t, hit = n.sum(1), np.diag(n)
union = t + n.sum(0) - hit
acc = [Fraction(int(h), int(k)) for h, k in zip(hit, t, strict=True)]
iu = [Fraction(int(h), int(u)) for h, u in zip(hit, union, strict=True)]
print("pixel accuracy ", Fraction(int(hit.sum()), int(t.sum())))
print("mean accuracy  ", sum(acc) / 3)
print("mean IU        ", sum(iu) / 3)
print(
    "f.w. IU        ",
    sum(int(k) * i for k, i in zip(t, iu, strict=True)) / int(t.sum()),
)

# %% [markdown]
# Then with `ConfusionMatrix`, which scores every net of this book. It counts with one
# `bincount` over the numbers $C \cdot \text{truth} + \text{prediction}$, and computes
# the metrics, in percent, from the matrix:

# %%
confusion = ConfusionMatrix(num_classes=3)
confusion.update(torch.from_numpy(truth), torch.from_numpy(guess))
print(confusion.matrix.tolist())
metrics = confusion.metrics()
SHORT = {
    "pixel_accuracy": "pixel acc.",
    "mean_accuracy": "mean acc.",
    "mean_iu": "mean IU",
    "frequency_weighted_iu": "f.w. IU",
}
{short: round(getattr(metrics, name), 1) for name, short in SHORT.items()}

# %% [markdown]
# ## On whole label maps
#
# Now a whole split: the scenes of the `val` split, and three predictions whose faults
# we know, since we make them from the truth. (A prediction must name a class where the
# truth is void. It takes that of the nearest labelled pixel.)
#
# - **shifted**: everything is right, but 3 pixels to the right and 3 down;
# - **nothing thin**: poles, cars and boats are missing, and their neighbours fill the
#   gaps;
# - **one class**: the commonest class of the split, everywhere.

# %%
count = {"read": 60, "smoke": 30, "small": 240, "paper": 1000}[here.preset]
dataset = Scenes(count, (96, 128), seed=here.seed, split="val")
scenes = [dataset.scene(i) for i in range(count)]
truths = [scene.semantic.numpy() for scene in scenes]
pixels = sum(np.bincount(labels.flat, minlength=VOID + 1) for labels in truths)
COMMONEST = int(pixels[: len(NAMES)].argmax())

# %%
SMALL = [NAMES.index(name) for name in ("pole", "car", "boat")]


def nearest(labels: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """The label map; each unknown pixel gets the label of the nearest known one."""
    rows, columns = ndimage.distance_transform_edt(
        unknown, return_distances=False, return_indices=True
    )
    return labels[rows, columns]


def shifted(labels: np.ndarray, distance: int = 3) -> np.ndarray:
    filled = np.pad(nearest(labels, labels == VOID), (distance, 0), mode="edge")
    return filled[: labels.shape[0], : labels.shape[1]]


def nothing_thin(labels: np.ndarray) -> np.ndarray:
    return nearest(labels, (labels == VOID) | np.isin(labels, SMALL))


def one_class(labels: np.ndarray) -> np.ndarray:
    return np.full_like(labels, COMMONEST)


# %% [markdown]
# All label maps of the split go into one confusion matrix:


# %%
def score(predict, truths=truths) -> ConfusionMatrix:
    """One confusion matrix over all the label maps."""
    confusion = ConfusionMatrix(len(NAMES))
    for truth in truths:
        confusion.update(torch.from_numpy(truth), torch.from_numpy(predict(truth)))
    return confusion


def row(confusion: ConfusionMatrix) -> list[float]:
    metrics = confusion.metrics()
    return [round(getattr(metrics, name), 1) for name in SHORT]


PREDICTIONS = {
    "shifted": shifted,
    "nothing thin": nothing_thin,
    f"one class: {NAMES[COMMONEST]}": one_class,
}
split = {name: score(predict) for name, predict in PREDICTIONS.items()}
rows = [row(confusion) for confusion in split.values()]
pd.DataFrame(rows, index=list(split), columns=list(SHORT.values()))

# %% [markdown]
# :::{caption} tab-label-predictions
# The four metrics of the three predictions on the whole split, in percent.
# :::

# %% tags=["hide-input"]
both = {NAMES.index("pole"), NAMES.index("car")}
show = next(i for i, labels in enumerate(truths) if both <= {*labels.flat})
guesses = {}
for name, predict in PREDICTIONS.items():
    of_one = score(predict, truths[show : show + 1]).metrics()
    below = f"pixel acc. {of_one.pixel_accuracy:.1f}, mean IU {of_one.mean_iu:.1f}"
    guesses[name] = (predict(truths[show]), below)
photo = scenes[show].image.permute(1, 2, 0).numpy()
labelling.predictions(photo, truths[show], guesses, NAMES, PALETTE)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-predictions
# :alt: A street scene, its label map, and three predictions. The first is the label map
# :  moved to the lower right. The second has no lamp post and no cars. The third is all
# :  ground.
# One scene of the split with its three predictions, and their scores on this one image.
# :::
#
# Now make mistakes of your own, on the same scene at a quarter of its size. Start from
# *all right*. Which single stroke costs the most mean IU and the least pixel accuracy?

# %% tags=["remove-input"]
small = truths[show][2::4, 2::4]
starts = {
    "nothing thin": nothing_thin(small),
    "shifted by 1": shifted(small, 1),
    "one class": one_class(small),
    "all right": nearest(small, small == VOID),
}
widgets.mask(
    widgets.example("the scene", small, starts, NAMES, PALETTE),
    widgets.example("the sixteen pixels", truth, {"as above": guess}, classes, colours),
)

# %% [markdown]
# ### Pixel accuracy flatters
#
# Poles, cars and boats have few pixels, so missing all of them costs little pixel
# accuracy ({numref}`tab-label-predictions`). Mean IU gives each class one vote, and
# three of its ten classes now have an IU of zero. The prediction that says one class
# everywhere is useless, yet its pixel accuracy is the share of that class.
#
# The shift shows what the metrics think of outlines. Move the labels by 1 pixel, 2
# pixels and so on:

# %%
distances = list(range(13))
moved = [score(lambda labels, d=d: shifted(labels, d)).metrics() for d in distances]
curves = {short: [getattr(m, name) for m in moved] for name, short in SHORT.items()}
curves["IU of poles"] = [m.iu_per_class[NAMES.index("pole")] for m in moved]

# %% tags=["remove-input"]
labelling.shifts(distances, curves)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-shifts
# :alt: Five curves fall from 100 percent as the shift grows to 12 pixels. Pixel
# :  accuracy falls least, then come frequency weighted IU, mean accuracy and mean IU.
# :  The IU of poles drops steeply within the first three pixels.
# The four metrics and the IU of one thin class, against the shift (right and down at
# once). At a shift of 0 every labelled pixel is right, whatever the prediction says at
# void.
# :::
#
# A pole is a few pixels wide. Once the shift exceeds its width, the two sets of pixels
# share only what falls on another pole. A net that predicts only once per 32 pixels is
# in no better position. That is why [chapter 5](05_skips.ipynb) adds scores from finer
# maps, and why it measures the gain by mean IU.
#
# ### Weighting by frequency
#
# Mean IU and frequency weighted IU average the same ten numbers with different weights:

# %% tags=["hide-input"]
m = split["shifted"].metrics()
counts = split["shifted"].matrix.sum(1)
share = (100 * counts / counts.sum()).tolist()
lines = {"f.w. IU": m.frequency_weighted_iu, "mean IU": m.mean_iu}
labelling.rare_and_frequent(share, m.iu_per_class, lines, NAMES, PALETTE)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-frequency
# :alt: A scatter plot of ten classes, IU against the share of pixels. Pole, boat and
# :  car are at the lower left, with few pixels and a low IU. Sky, ground and road are
# :  at the upper right. The line of frequency weighted IU is above that of mean IU.
# The shifted prediction: IU of each class against its share of the pixels. Rare classes
# are small things, small things are mostly outline, and a shift gets outlines wrong.
# With one vote per class they pull the mean down; weighted by pixels they hardly count.
# :::
#
# Neither average is the right one. Frequency weighted IU tells how well a net outlines
# the regions that fill most of a photo; mean IU tells whether it knows each of its
# classes. The paper reports all four numbers, and so does this book for every run.
#
# ### Where the errors went
#
# The matrix holds more than its four summaries. For *nothing thin* it shows what the
# lost pixels became:

# %% tags=["remove-input"]
shared.confusion(split["nothing thin"].matrix.numpy(), NAMES)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-confusion
# :alt: The confusion matrix of ten classes in percent. Seven classes have 100 on the
# :  diagonal. The pixels of pole, car and boat are spread over other classes, most of
# :  them over building, road and water.
# Each row is a class and shows where its pixels went, in percent; shares below half a
# percent are left out. A prediction without errors has 100 along the diagonal.
# :::
#
# ## One matrix for the whole split
#
# The sums in the formulas run over all pixels of the split. Some libraries compute the
# mean IU of each image and average those. That is a *different number*:

# %%
each = [score(shifted, [labels]).metrics().mean_iu for labels in truths]
pooled = split["shifted"].metrics().mean_iu
print(f"one matrix: {pooled:.1f}   mean over {len(each)} images: {np.mean(each):.1f}")

# %% tags=["remove-input"]
labelling.per_image(each, float(np.mean(each)), pooled)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-per-image
# :alt: A histogram of the mean IU of single images, with two peaks, one below and one
# :  above 55 percent. Two vertical lines mark their average and, further right, the
# :  mean IU from one matrix.
# The shifted prediction: mean IU of single images, their average, and the mean IU of
# all pixels in one matrix.
# :::
#
# The two may differ in either direction. An image of sea and sky has few classes and
# straight borders. It scores well alone, and in the average it weighs as much as a busy
# street: that raises the average. But in a single image a sliver of mountain between
# two houses has the full vote of its class, and a shift ruins slivers: that lowers the
# average, and here it prevails. In one matrix the sliver is a few of the many pixels of
# its class. A result is comparable with the paper's only if it was computed the paper's
# way.
#
# The matrix is a sum over pixels, so several processes can each count a part of a split
# and add up their matrices. Here the parts are the kinds of scene. Their matrices add
# up to that of the split, but the mean IU of the split does not follow from the mean
# IUs of the parts:

# %%
by_kind = {}
for scene, labels in zip(scenes, truths, strict=True):
    so_far = by_kind.get(scene.kind, ConfusionMatrix(len(NAMES)))
    by_kind[scene.kind] = so_far + score(shifted, [labels])
total = sum(by_kind.values(), ConfusionMatrix(len(NAMES)))
print("the parts add up:", torch.equal(total.matrix, split["shifted"].matrix))
parts = {kind: part.metrics().mean_iu for kind, part in by_kind.items()}
pd.Series(parts | {"all": pooled}, name="mean IU").round(1).to_frame()

# %% [markdown]
# :::{caption} tab-label-kinds
# Mean IU of the shifted prediction, in percent, by kind of scene and for all scenes.
# :::
#
# ## Classes that a split lacks
#
# A class without a pixel in the ground truth has no accuracy: $n_{ii} / t_i$ is $0/0$.
# Take only the scenes at the sea:

# %%
sea = [
    labels
    for scene, labels in zip(scenes, truths, strict=True)
    if scene.kind == "coast"
]
by_sea = score(shifted, sea).metrics()
ius = zip(NAMES, by_sea.iu_per_class, strict=True)
absent = [name for name, value in ius if value is None]
print(len(sea), "scenes;", by_sea.classes_counted, "classes counted")
print("absent:", ", ".join(absent))

present = [value for value in by_sea.iu_per_class if value is not None]
conventions = {
    "left out of the mean (the paper)": by_sea.mean_iu,
    "counted as 0": sum(present) / len(NAMES),
    "counted as 100": (sum(present) + 100 * len(absent)) / len(NAMES),
}
pd.Series(conventions, name="mean IU").round(1).to_frame()

# %% [markdown]
# :::{caption} tab-label-absent
# Mean IU of one prediction, in percent, by the treatment of absent classes.
# :::
#
# This book follows the paper: both means leave out classes that are absent from the
# ground truth of the split, and the record of a run says how many classes were counted.
# On SIFT Flow three of the 33 classes (cow, desert, moon) have no pixel in the 200 test
# images. The net may still predict them, and each such pixel is an error: it is missing
# from the intersection of its true class. If the three counted as zeros, they would cap
# the score:

# %%
print(f"a perfect prediction would have a mean IU of {100 * 30 / 33:.1f}")

# %% [markdown]
# ## The loss
#
# Counting has no gradient, so IU itself cannot train a net. The paper uses the loss
# that its classifiers were trained with, softmax and cross-entropy, at every pixel.
# With scores $x_c$ and the true class $y$ of a pixel,
#
# $$\ell = -\log \frac{e^{x_y}}{\sum_c e^{x_c}},$$
#
# and the loss of an image is the sum of this over its labelled pixels. (The mean
# differs from it by a factor, which the learning rate can absorb.) The sum makes one
# image a whole batch: its gradient is the sum of the gradients of all its pixels, each
# seen through its own receptive field, the part of the image that its scores depend on
# (section 3 of the paper).
#
# We have no net yet, so we invent scores: the true classes, blurred as a coarse net
# would blur them, plus some noise.

# %%
generator = torch.Generator().manual_seed(here.seed)
labels, truth = street.semantic.numpy(), street.semantic
filled = torch.from_numpy(nearest(labels, labels == VOID))
onehot = F.one_hot(filled, len(NAMES)).permute(2, 0, 1).float()
blurred = torch.from_numpy(ndimage.gaussian_filter(onehot.numpy(), (0, 6, 6)))
scores = 8 * blurred + 0.4 * torch.randn(blurred.shape, generator=generator)

log_p = scores.log_softmax(0)
loss = -log_p.gather(0, truth.masked_fill(truth == VOID, 0)[None])[0]
labelled = truth != VOID
for reduction, by_hand in (
    ("sum", loss[labelled].sum()),
    ("mean", loss[labelled].mean()),
):
    ours = pixel_softmax_loss(scores[None], truth[None], reduction)
    print(
        f"{reduction}: agrees with the formula:",
        torch.allclose(ours, by_hand, rtol=1e-4),
    )

# %% tags=["remove-input"]
chosen = [NAMES.index(name) for name in ("building", "tree", "car")]
labelling.losses(scores.numpy(), labels, loss.numpy(), NAMES, PALETTE, chosen)
style.plt.show()

# %% [markdown]
# :::{caption} fig-label-losses
# :alt: Above, blurred score maps of building, tree and car. Below, the prediction with
# :  soft outlines, in which the near lamp posts are missing and the far ones merge into
# :  blobs; the ground truth; and a map of the loss that traces lamp posts and outlines.
# Above: invented scores of three classes. Below: the class with the largest score, the
# truth, and the loss of each pixel. The loss is high (dark) at outlines and on whatever
# is thinner than the blur. Void pixels are blank.
# :::
#
# **Void** pixels are left out of the sum, and of the number that the mean divides by.
# They have no gradient, whatever the scores there. A batch without a single labelled
# pixel has a loss of zero, not 0/0:

# %%
scores.requires_grad_()
pixel_softmax_loss(scores[None], truth[None]).backward()
print("gradient at void pixels:", scores.grad[:, ~labelled].abs().max().item())
only_void = torch.full_like(truth, VOID)[None]
print("a batch of void alone:", pixel_softmax_loss(scores[None], only_void).item())

# %% [markdown]
# The loss counts pixels as pixel accuracy does, so common classes dominate it. One
# could give rare classes a larger weight; the paper finds that unnecessary. Its answer
# to thin things is not in the loss but in the net, and that is where we go next.
#
# ## Summary
#
# - A segmentation gives each pixel a class. Label maps hold whole numbers; 255 is void,
#   where nobody says what it is. Void enters neither the loss nor the metrics. A net
#   outputs C scores per pixel and predicts the class with the largest score.
# - One confusion matrix over all pixels of the split holds everything the metrics need.
#   Pixel accuracy counts pixels, mean accuracy and mean IU give each class one vote,
#   frequency weighted IU gives each class as many votes as it has pixels.
# - Pixel accuracy hardly notices small things. IU punishes both missed pixels and false
#   ones.
# - An average over images is another number, and so is a mean that counts absent
#   classes. Say which one you computed.
# - The loss is the sum, or the mean, over labelled pixels of the softmax loss that
#   classifiers are trained with.
#
# ## Exercises
#
# 1. *IU and accuracy.* Show that the IU of a class is never larger than its accuracy
#    $n_{ii}/t_i$. When are they equal? Then find a prediction for the sixteen pixels
#    above whose mean accuracy is higher and whose mean IU is lower than those of ours.
#
#    :::{dropdown} Solution
#    Both have the numerator $n_{ii}$, and the union holds all $t_i$ pixels of the
#    class. The two are equal if no other pixel was given that class, or if no pixel of
#    the class is right. For the prediction, correct the sky pixel that was called
#    *tree*, and call one of the right tree pixels *pole*. The mean accuracy rises to
#    $\frac13(\frac55 + \frac46 + \frac23) = \frac79 \approx 77.8\,\%$: sky gains a
#    fifth, tree loses a sixth. The mean IU falls to
#    $\frac13(\frac57 + \frac46 + \frac24) = \frac{79}{126} \approx 62.7\,\%$, because
#    the false pole makes the small union of *pole* larger.
#    :::
#
# 2. *Two errors of the same size.* Write a prediction `speckled` that replaces a random
#    share of the pixels by random classes, and choose the share so that its pixel
#    accuracy on the split equals that of `shifted`. Whose mean IU is lower, and which
#    classes make the difference? Explain it with the unions.
#
#    :::{dropdown} Solution
#    If a share $s$ of the pixels gets one of ten classes at random, a pixel stays right
#    with probability $a = 1 - 0.9\,s$, and $a$ is the pixel accuracy: choose
#    $s = (1 - a) / 0.9$. Of a class with a share $p$ of the pixels, $a p$ are hits, and
#    $0.1\,s\,(1 - p)$ are given that class by mistake. Its IU is about
#    $a \,/\, (1 + 0.1\,s\,(1/p - 1))$. It depends on $p$ alone: for a rare class $1/p$
#    is large, and false pixels swamp its union. A shift adds only as many false pixels
#    as the outline is long, so it spares what is rare but compact, such as boats and
#    cars, better than speckles do, and it ruins what is thin, such as poles, of which
#    speckles leave most pixels right. In the mean the two effects nearly cancel: the
#    mean IUs are within two points of each other, and the shift has the lower one.
#    :::
#
# 3. *Void matters.* Score `shifted` again as if the border were not void: use
#    `nearest(labels, labels == VOID)` as ground truth. How does each metric change, and
#    which class changes most? What does that say about comparing results on data sets
#    with and without void borders?
#
#    :::{dropdown} Solution
#    Pixel accuracy and frequency weighted IU fall by one or two points: the border is
#    where the shift is wrong, and now it counts. Mean accuracy and mean IU hardly
#    change and even rise a little. Every large class loses, building most, but boats,
#    poles and cars gain: the filled border makes small things larger, and a larger
#    thing overlaps more with its shifted copy. Boats change most, by about five points.
#    So scores with and without void borders are not comparable, and the difference does
#    not even have one sign.
#    :::
