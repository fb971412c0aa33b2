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
# Before we build a net that labels pixels, we need to know what a good labelling is. The paper scores its nets by four
# numbers, all computed from one table of counts. This chapter defines them, works them out by hand on sixteen pixels,
# and then watches them judge label maps that are wrong in ways we know.
#
# ## What you will learn
#
# - what semantic segmentation asks for, and how a label map, its void pixels and a net's scores look as arrays;
# - how the four metrics of the paper follow from one confusion matrix;
# - why pixel accuracy flatters, what mean IU sees instead, and what frequency weighting does to it;
# - why a split has *one* matrix, and what becomes of classes that it lacks;
# - how the loss that trains the net treats each pixel, and void.

# %% tags=["parameters"]
preset = "read"  # "read", "smoke", "small" or "paper": how many scenes are scored
seed = 0

# %%
import presets

here = presets.check(preset=preset, seed=seed)

# %%
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

# %% [markdown]
# ## What, where, and how exactly
#
# Three tasks ask more and more of the same photo. *Classification* names what it shows. *Detection* puts a box around
# each thing that can be counted. *Semantic segmentation* gives every pixel a class, so that the outline of a tree
# matters, and so do sky and road, which have no sensible box. It does not tell two cars apart that overlap: both are
# *car*. (Keeping them apart is called instance segmentation, which the paper leaves to others.)
#
# The scenes of this chapter are painted by the project. Their labels are exact, which no hand-labelled photo can claim.

# %%
street = Scenes(12, (192, 256), seed=here.seed, split="test").scene(11)
image, labels = street.image.permute(1, 2, 0).numpy(), street.semantic.numpy()
things = [NAMES.index(name) for name in ("pole", "car", "tree")]
labelling.tasks(image, labels, NAMES, PALETTE, things)
style.plt.show()

# %% [markdown]
# *One scene, three questions. The boxes were drawn around the connected pieces of the label map; the classification is
# the list of its classes. A segmentation contains both, save that it does not count.*
#
# ## Label maps and void
#
# A **label map** is an array of whole numbers, one for each pixel: 0 for the first class, 1 for the next. The value 255
# is **void**: *nobody says what this is*. Data sets use it for the outlines of objects, where a pixel holds a little of
# both and two people would draw two lines (PASCAL VOC {cite:p}`everingham2010`), and for parts that were never labelled
# or belong to none of the classes (SIFT Flow {cite:p}`liu2011`). Void is not a class. The net is not asked to find
# it, a void pixel gives no loss, and no metric counts it.

# %%
print("shape", labels.shape, " values", np.unique(labels).tolist())
print(f"void: {100 * (labels == VOID).mean():.1f} % of the pixels")
labelling.zoom(labels, PALETTE, corner=(130, 150), side=14)
style.plt.show()

# %% [markdown]
# *Where two classes meet, a border of void (dots) takes the place of a doubtful outline. Thin things keep their pixels.*
#
# A net does not print labels. For each class it gives a **score** at each pixel: an array of C × H × W real numbers. The
# prediction is the class with the largest score, `scores.argmax(0)`. So a prediction, unlike a label map, is never void.
#
# ## The metrics, by hand
#
# Let $n_{ij}$ be the number of pixels of class $i$ that are predicted as class $j$. The table of these numbers is the
# **confusion matrix**; its rows are the truth, its columns the prediction. Here are sixteen pixels of three classes.

# %%
classes, colours = ("sky", "tree", "pole"), PALETTE[[NAMES.index(name) for name in ("sky", "tree", "pole")]]
V = VOID
truth = np.array([[0, 0, 0, 2], [0, 0, 1, 2], [V, 1, 1, 2], [1, 1, 1, V]])
guess = np.array([[0, 0, 0, 0], [0, 1, 1, 2], [1, 1, 1, 2], [1, 1, 0, 2]])

n = np.zeros((3, 3), dtype=int)
for true, predicted in zip(truth.flat, guess.flat, strict=True):
    if true != VOID:
        n[true, predicted] += 1
labelling.by_hand(truth, guess, n, classes, colours)
style.plt.show()

# %% [markdown]
# *Fourteen labelled pixels, three of them wrong (red frames). The two void pixels are in no cell of the matrix, whatever
# was predicted there.*
#
# Let $t_i = \sum_j n_{ij}$ be the pixels of class $i$, here 5, 6 and 3, and $n_\mathrm{cl}$ the number of classes. The
# paper's four metrics (its section 5) are:
#
# **Pixel accuracy** $\;\sum_i n_{ii} \,/\, \sum_i t_i\;$ asks: how many of the labelled pixels are right?
#
# $$\frac{4 + 5 + 2}{14} = \frac{11}{14} \approx 78.6\,\%$$
#
# **Mean accuracy** $\;\frac{1}{n_\mathrm{cl}} \sum_i n_{ii} / t_i\;$ asks it of each class, and averages:
#
# $$\frac13\left(\frac45 + \frac56 + \frac23\right) = \frac{23}{30} \approx 76.7\,\%$$
#
# The accuracy of a class looks at its own pixels only: who calls everything *tree* has every tree right. **Intersection
# over union** (IU; others write
# IoU, or Jaccard index) of a class therefore compares two sets of pixels, those that *are* the class and those that *were
# called* it. Pixels in both are the intersection, pixels in either are the union, $t_i + \sum_j n_{ji} - n_{ii}$: a pixel
# called *tree* by mistake makes the union of *tree* larger, and that of its true class misses it.

# %%
labelling.unions(truth, guess, classes, colours)
style.plt.show()

# %% [markdown]
# *For each class: right (✓), missed, and wrongly called so. The title counts intersection and union.*
#
# **Mean IU** $\;\frac{1}{n_\mathrm{cl}} \sum_i n_{ii} \,/\, (t_i + \sum_j n_{ji} - n_{ii})\;$ averages over the classes,
# each with one vote:
#
# $$\frac13\left(\frac47 + \frac57 + \frac23\right) = \frac{41}{63} \approx 65.1\,\%$$
#
# **Frequency weighted IU** $\;\left(\sum_k t_k\right)^{-1} \sum_i t_i\, n_{ii} \,/\, (t_i + \sum_j n_{ji} - n_{ii})\;$
# gives each class as many votes as it has pixels:
#
# $$\frac{1}{14}\left(5\cdot\frac47 + 6\cdot\frac57 + 3\cdot\frac23\right) = \frac{32}{49} \approx 65.3\,\%$$
#
# The same in code, first with exact fractions:

# %%
t, hit = n.sum(1), np.diag(n)
union = t + n.sum(0) - hit
iu = [Fraction(int(h), int(u)) for h, u in zip(hit, union, strict=True)]
print("pixel accuracy ", Fraction(int(hit.sum()), int(t.sum())))
print("mean accuracy  ", sum(Fraction(int(h), int(k)) for h, k in zip(hit, t, strict=True)) / 3)
print("mean IU        ", sum(iu) / 3)
print("f.w. IU        ", sum(int(k) * i for k, i in zip(t, iu, strict=True)) / int(t.sum()))

# %% [markdown]
# and then with the class that scores every net of this book. It counts with one `bincount` over the numbers
# $C \cdot \text{truth} + \text{prediction}$, and computes the metrics, in percent, from the matrix:

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
# ## On real label maps
#
# Now a whole split: scenes of the `val` split, and three predictions whose faults we know, since we make them from the
# truth. (A prediction must name a class where the truth is void: take the nearest.)
#
# - **shifted**: everything is right, but 3 pixels to the right and 3 down;
# - **nothing thin**: poles, cars and boats are overlooked, and what lies next to them is put in their place;
# - **one class**: the commonest class of the split, everywhere.

# %%
count = {"read": 60, "smoke": 30, "small": 240, "paper": 1000}[here.preset]
dataset = Scenes(count, (96, 128), seed=here.seed, split="val")
scenes = [dataset.scene(i) for i in range(count)]
truths = [scene.semantic.numpy() for scene in scenes]
pixels = sum(np.bincount(labels.flat, minlength=VOID + 1) for labels in truths)[: len(NAMES)]
COMMONEST = int(pixels.argmax())


def nearest(labels: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """The label map with each unknown pixel given the label of the nearest known one."""
    rows, columns = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return labels[rows, columns]


def shifted(labels: np.ndarray, distance: int = 3) -> np.ndarray:
    filled = np.pad(nearest(labels, labels == VOID), (distance, 0), mode="edge")
    return filled[: labels.shape[0], : labels.shape[1]]


def nothing_thin(labels: np.ndarray) -> np.ndarray:
    small = [NAMES.index(name) for name in ("pole", "car", "boat")]
    return nearest(labels, (labels == VOID) | np.isin(labels, small))


def one_class(labels: np.ndarray) -> np.ndarray:
    return np.full_like(labels, COMMONEST)


def score(predict, truths=truths) -> ConfusionMatrix:
    """One confusion matrix over all the label maps."""
    confusion = ConfusionMatrix(len(NAMES))
    for truth in truths:
        confusion.update(torch.from_numpy(truth), torch.from_numpy(predict(truth)))
    return confusion


def row(confusion: ConfusionMatrix) -> list[float]:
    metrics = confusion.metrics()
    return [round(getattr(metrics, name), 1) for name in SHORT]


PREDICTIONS = {"shifted": shifted, "nothing thin": nothing_thin, f"one class: {NAMES[COMMONEST]}": one_class}
split = {name: score(predict) for name, predict in PREDICTIONS.items()}
pd.DataFrame([row(confusion) for confusion in split.values()], index=list(split), columns=list(SHORT.values()))

# %%
show = next(i for i, labels in enumerate(truths) if {NAMES.index("pole"), NAMES.index("car")} <= {*labels.flat})
guesses = {}
for name, predict in PREDICTIONS.items():
    of_one = score(predict, truths[show : show + 1]).metrics()
    below = f"pixel acc. {of_one.pixel_accuracy:.1f}, mean IU {of_one.mean_iu:.1f}"
    guesses[name] = (predict(truths[show]), below)
labelling.predictions(scenes[show].image.permute(1, 2, 0).numpy(), truths[show], guesses, NAMES, PALETTE)
style.plt.show()

# %% [markdown]
# *One scene of the split with its three predictions, and their numbers on this one image.*
#
# Now make mistakes of your own, on the same scene at a quarter of its size. Start from *all right*. Which single stroke
# costs the most mean IU and the least pixel accuracy?

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
# Overlooking every pole, car and boat costs almost no pixel accuracy, since they have almost no pixels. Mean IU gives
# each class one vote, and three of its ten classes have an IU of zero. The prediction that says one class everywhere is
# useless, and its pixel accuracy is the share of that class.
#
# The shift shows what the metrics think of outlines. Move the labels by 1 pixel, 2 pixels and so on, and watch:

# %%
distances = list(range(13))
moved = [score(lambda labels, d=d: shifted(labels, d)).metrics() for d in distances]
curves = {short: [getattr(m, name) for m in moved] for name, short in SHORT.items()}
curves["IU of poles"] = [m.iu_per_class[NAMES.index("pole")] for m in moved]
labelling.shifts(distances, curves)
style.plt.show()

# %% [markdown]
# *The four metrics and the IU of one thin class, against the distance of the shift (both ways at once). At 0 every
# labelled pixel is right, whatever stands in the void.*
#
# A pole is a few pixels wide: once the shift exceeds its width, the two sets of pixels have little in common but
# what falls on another pole. A net that predicts on a grid of 32 pixels is in no better position, which is why
# [chapter 5](05_skips.ipynb) looks for skips, and why it reads mean IU to see what they bring.
#
# ### Weighting by frequency
#
# Mean IU and frequency weighted IU average the same ten numbers with different weights. The figure shows the numbers.

# %%
m = split["shifted"].metrics()
share = (100 * split["shifted"].matrix.sum(1) / split["shifted"].matrix.sum()).tolist()
lines = {"f.w. IU": m.frequency_weighted_iu, "mean IU": m.mean_iu}
labelling.rare_and_frequent(share, m.iu_per_class, lines, NAMES, PALETTE)
style.plt.show()

# %% [markdown]
# *The shifted prediction: IU of each class against its share of the pixels. Rare classes are small things, small things
# are mostly outline, and outlines are what a shift gets wrong. With one vote a class they pull the mean down; weighted
# by pixels they hardly count.*
#
# Neither is the right one. Frequency weighted IU tells what share of a photo looks right; mean IU tells whether the net
# knows its classes. The paper reports all four numbers, and so does every record of this book.
#
# ### Where the errors went
#
# The matrix holds more than its four summaries. For *nothing thin* it tells what the lost pixels became:

# %%
shared.confusion(split["nothing thin"].matrix.numpy(), NAMES)
style.plt.show()

# %% [markdown]
# *Each row is a class, and says in percent where its pixels went; shares below half a percent are left out. A prediction
# without errors has 100 along the diagonal.*
#
# ## One matrix for the whole split
#
# The sums in the formulas run over all pixels of the split. It would be a *different number* to compute the mean IU of
# each image and average those, as some libraries do:

# %%
each = [score(shifted, [labels]).metrics().mean_iu for labels in truths]
pooled = split["shifted"].metrics().mean_iu
print(f"one matrix: {pooled:.1f}   mean over {len(each)} images: {np.mean(each):.1f}")
labelling.per_image(each, float(np.mean(each)), pooled)
style.plt.show()

# %% [markdown]
# *The shifted prediction: mean IU of single images, their average, and the mean IU of all pixels in one matrix.*
#
# The two may differ in either direction. An image of sea and sky has few classes and long straight borders, so it scores
# well alone, and in the average it weighs as much as a busy street; in one matrix its pixels join those of all other seas
# and skies, and a class has the vote of all its pixels, in whatever image they lie. A result is comparable with the
# paper's only if it was computed the paper's way.
#
# Since the matrix is a sum over pixels, parts of a split can be counted apart, by several processes say, and added. Here
# the parts are the kinds of scene. Their matrices add up to the split's; no such sum leads from their mean IUs to its own.

# %%
by_kind = {}
for scene, labels in zip(scenes, truths, strict=True):
    by_kind[scene.kind] = by_kind.get(scene.kind, ConfusionMatrix(len(NAMES))) + score(shifted, [labels])
total = sum(by_kind.values(), ConfusionMatrix(len(NAMES)))
print("the parts add up:", torch.equal(total.matrix, split["shifted"].matrix))
pd.Series({kind: part.metrics().mean_iu for kind, part in by_kind.items()} | {"all": pooled}, name="mean IU").round(1)

# %% [markdown]
# ## Classes that a split lacks
#
# A class without a pixel in the ground truth has no accuracy: $n_{ii} / t_i$ is $0/0$. Take the scenes at the sea alone:

# %%
sea = [labels for scene, labels in zip(scenes, truths, strict=True) if scene.kind == "coast"]
by_sea = score(shifted, sea).metrics()
absent = [name for name, value in zip(NAMES, by_sea.iu_per_class, strict=True) if value is None]
print(len(sea), "scenes;", by_sea.classes_counted, "classes counted; absent:", ", ".join(absent))

present = [value for value in by_sea.iu_per_class if value is not None]
pd.Series(
    {
        "left out of the mean (the paper)": by_sea.mean_iu,
        "counted as 0": sum(present) / len(NAMES),
        "counted as 100": (sum(present) + 100 * len(absent)) / len(NAMES),
    },
    name="mean IU",
).round(1)

# %% [markdown]
# Three conventions, three numbers, from one prediction. This book follows the paper: classes absent from the ground truth
# of the split are left out of both means, and every record says how many classes were counted. On SIFT Flow three of
# the 33 classes (cow, desert, moon) have no pixel in the 200 test images. The net may still predict them, and each such
# pixel is an error: it is missing from the intersection of its true class. Counted as zeros, the three would cap the
# score:

# %%
print(f"a perfect prediction would have a mean IU of {100 * 30 / 33:.1f}")

# %% [markdown]
# ## The loss
#
# Counting has no gradient, so a net cannot be trained on IU as it stands. The paper trains on what its classifiers were
# trained on, softmax and its logarithmic loss, at every pixel at once. With scores $x_c$ and the true class $y$ of a
# pixel,
#
# $$\ell = -\log \frac{e^{x_y}}{\sum_c e^{x_c}},$$
#
# and the loss of an image is the sum of this over its labelled pixels (or their mean, which differs by a factor that the
# learning rate can take up). The sum is what makes one image a whole batch: its gradient is the sum of the gradients of
# all its pixels, each of them seen through its own receptive field (the paper's section 3).
#
# No net yet, so let us invent scores: the true classes, blurred as a coarse net would, with some noise.

# %%
generator = torch.Generator().manual_seed(here.seed)
labels, truth = street.semantic.numpy(), street.semantic
onehot = F.one_hot(torch.from_numpy(nearest(labels, labels == VOID)), len(NAMES)).permute(2, 0, 1).float()
blurred = torch.from_numpy(ndimage.gaussian_filter(onehot.numpy(), (0, 6, 6)))
scores = 8 * blurred + 0.4 * torch.randn(blurred.shape, generator=generator)

log_p = scores.log_softmax(0)
loss = -log_p.gather(0, truth.masked_fill(truth == VOID, 0)[None])[0]
labelled = truth != VOID
for reduction, by_hand in (("sum", loss[labelled].sum()), ("mean", loss[labelled].mean())):
    ours = pixel_softmax_loss(scores[None], truth[None], reduction)
    print(f"{reduction}: agrees with the formula:", torch.allclose(ours, by_hand, rtol=1e-4))

# %%
chosen = [NAMES.index(name) for name in ("building", "tree", "car")]
labelling.losses(scores.numpy(), labels, loss.numpy(), NAMES, PALETTE, chosen)
style.plt.show()

# %% [markdown]
# *Above: invented scores of three classes. Below: the class with the largest score, the truth,
# and the loss of each pixel, dark where it is high: at outlines, and on whatever is thinner than the blur. Void pixels
# are blank.*
#
# **Void** pixels are left out of the sum, and of the number that the mean divides by. They have no gradient, whatever the
# scores there. A batch without a single labelled pixel has a loss of zero, not 0/0:

# %%
scores.requires_grad_()
pixel_softmax_loss(scores[None], truth[None]).backward()
print("gradient at void pixels:", scores.grad[:, ~labelled].abs().max().item())
print("a batch of void alone:", pixel_softmax_loss(scores[None], torch.full_like(truth, VOID)[None]).item())

# %% [markdown]
# The loss counts pixels as pixel accuracy does: a common class has most of the say. One might weight the classes, so that
# rare ones are heard; the paper tried and found it unnecessary. What it does about thin things is not in the loss but in
# the net, and that is where we go next.
#
# ## Summary
#
# - A segmentation gives each pixel a class. Label maps hold whole numbers, and 255, void, where nobody says; void enters
#   neither loss nor metrics. A net gives C scores a pixel, and predicts the largest.
# - One confusion matrix over all pixels of the split holds everything the metrics need. Pixel accuracy counts pixels,
#   mean accuracy and mean IU give each class one vote, frequency weighted IU gives it as many as it has pixels.
# - Pixel accuracy hardly notices what is small. IU punishes both what is missed and what is claimed wrongly.
# - An average over images is another number, and so is a mean that counts absent classes. Say which was computed.
# - The loss is the sum, or mean, over labelled pixels of the softmax loss that classifiers are trained on.
#
# ## Exercises
#
# 1. *IU and accuracy.* Show that the IU of a class is never larger than its accuracy $n_{ii}/t_i$. When are they equal?
#    Then find a prediction for the sixteen pixels above whose mean accuracy rises while its mean IU falls.
# 2. *Two errors of one size.* Write a prediction `speckled` that replaces a random share of the pixels by random
#    classes, and choose the share so that its pixel accuracy on the split equals that of `shifted`. Whose mean IU is
#    lower, and which classes make the difference? Explain it with the unions.
# 3. *Void matters.* Score `shifted` again as if the border were not void: use `nearest(labels, labels == VOID)` as ground
#    truth. How far does each metric fall, and which class falls furthest? What does that say about comparing results on
#    data sets with and without void borders?
