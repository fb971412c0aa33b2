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
# # PASCAL-Context: every pixel has a name
#
# In PASCAL VOC most of a photo is "background". PASCAL-Context gives the same photos a name for every pixel, sky
# and wall and grass, from a list of 459. The paper's last table is on its tasks of 59 and 33 classes. Half of the work is
# in the names.
#
# ## What you will learn
#
# - how 459 names become 59, and why matching names needs more care than it seems;
# - what *stuff* and *things* are, and what it changes when background is a class;
# - what a task of 33 classes leaves out, and why its scores are not comparable with those of 59;
# - how to follow the whole path, from the files of the official layout to a score, without the data.

# %% tags=["parameters"]
preset = "read"  # "read": a tiny net for seconds; "small" and "paper": a larger one, for minutes
data_root = ""
device = "cpu"
seed = 0
results_dir = "../results"

# %%
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.io
import torch
from IPython.display import Markdown
from PIL import Image
from torch import nn

from fcn import FCN
from fcn.data import voc
from fcn.data.pascal_context import ALL, CLASSES, PALETTE, SAME, PascalContext, task_of_all
from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import Scenes
from fcn.data.synthetic.palette import CLASSES as PAINTED
from fcn.replication import tables
from fcn.replication.paper import OTHERS, TABLES
from fcn.training.evaluate import evaluate
from fcn.training.loop import train
from fcn.training.recipe import Recipe
from fcn.training.record import load_records
from figures import context as figures
from figures import shared, style

style.use()
torch.set_num_threads(1)
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## The claim
#
# {cite:t}`mottaghi2014` labelled the photos of VOC 2010 in full: 4998 to train on and 5105 to validate.
# {cite:t}`long2015` train FCN-32s, 16s and 8s for the task of 59 classes and for that of 33, and set them beside two
# earlier methods, O2P {cite}`carreira2012` and CFM {cite}`dai2015`:

# %%
published = [row for row in TABLES if row.table == "Table 6"]
by_task = {
    task: [(row.label, row.metrics["mean_iu"]) for row in published if row.of == task]
    for task in ("59 classes", "33 classes")
}
figures.table_6(by_task)
plt.show()

# %% [markdown]
# *Figure: mean IU on the 5105 validation photos, as published in Table 6. Brown: the paper's nets.*

# %%
mean_iu = {(row.of, row.label): row.metrics["mean_iu"] for row in published}
for task in (59, 33):
    coarse, middle, fine = (mean_iu[f"{task} classes", f"FCN-{stride}s"] for stride in (32, 16, 8))
    above_cfm = fine - mean_iu[f"{task} classes", "CFM"]
    gains = {"above_cfm": above_cfm, "first_skip": middle - coarse, "second_skip": fine - middle}
    shared.glue_values(**{f"{name}_{task}": gain for name, gain in gains.items()})

# %% [markdown]
# FCN-8s is {glue:text}`above_cfm_59:.1f` points above CFM on 59 classes and {glue:text}`above_cfm_33:.1f` on 33. The
# skips gain {glue:text}`first_skip_59:.1f` and {glue:text}`second_skip_59:.1f` points on 59 classes,
# {glue:text}`first_skip_33:.1f` and {glue:text}`second_skip_33:.1f` on 33: the same diminishing returns as on VOC (3.0
# and 0.3, [chapter 5](05_skips.ipynb)).
#
# The data were not at hand for this project, so that our rows are commands:

# %% tags=["full-width"]
tables.table("Table 6", load_records(results_dir))

# %% [markdown]
# Others have gone on with the 59 classes:

# %%
others_of_59 = [row for row in OTHERS if row.table == "Table 6"]
pd.DataFrame(
    {"mean IU": [f"{row.metrics['mean_iu']:.1f}" for row in others_of_59], "net": [row.note for row in others_of_59]},
    [row.label for row in others_of_59],
)

# %%
theirs = [row.metrics["mean_iu"] - mean_iu["59 classes", "FCN-8s"] for row in others_of_59]
shared.glue_values(lower_gap=min(theirs), upper_gap=max(theirs))

# %% [markdown]
# The two rows of mmsegmentation are fully convolutional nets of another generation: a dilated ResNet of 101 layers and
# no skips. They are {glue:text}`lower_gap:.1f` and {glue:text}`upper_gap:.1f` points above FCN-8s. Backbone, dilation and
# recipe differ at once, and perhaps what counts as background (below), so the gap belongs to no one of them.
#
# ## From 459 names to 59
#
# The annotators of PASCAL-Context used whatever words they needed. The published label maps (`LabelMap`, one `.mat` file
# a photo) hold 459 different ones. The task keeps 59 of them, and the rest is background.

# %%
both, first = len(set(CLASSES[33])), len(set(CLASSES[59]) - set(CLASSES[33]))
figures.waffle(both, first, len(ALL))
plt.show()

# %% [markdown]
# *Figure: the 459 classes, a square each, and what becomes of them.*
#
# The two lists, of 459 and of 59, are numbered differently, so classes have to be matched by name. Most names are the
# same. These are not:

# %%
absent = {task: [name for name in CLASSES[task] if name not in ALL] for task in (59, 33)}
absent

# %% [markdown]
# A program that skips what it does not find would lose three classes without a word: 56 remain, and the mean
# over 59 counts three classes with an IU of zero. A program that looks for similar names does worse:

# %%
pd.DataFrame(
    {
        "names that contain it": [", ".join(other for other in ALL if name in other) or "none" for name in absent[59]],
        "is called": [SAME[name] for name in absent[59]],
    },
    absent[59],
)

# %% [markdown]
# `clothes` is contained in `bedclothes`, which is another class of the 59 by another spelling, and in `clothes tree`,
# which is a piece of furniture. It is neither; it is `cloth`. A diningtable is a `table`, but not a `pool table`. The
# resolution is the one that the authors' release has, three pairs in `fcn.data.pascal_context.SAME`; all
# other names must match exactly. How needed that is, a count of near misses shows:

# %%
near_misses = {name: [other for other in ALL if name in other and other != name] for name in CLASSES[59]}
near_misses = {name: others for name, others in near_misses.items() if others}
print(f"{len(near_misses)} of the 59 names are contained in other names, among them:")
for name in ("wall", "rock", "tree", "car", "water"):
    print(f"  {name:6} in {', '.join(near_misses[name])}")

# %% [markdown]
# `task_of_all` turns this into a table, from each label of a `LabelMap` to a label of the task. Every class of the
# task has exactly one label among the 459, and everything else is 0, background:

# %%
for task in (59, 33):
    mapping = task_of_all(task)
    used = Counter(mapping.tolist())
    once = all(used[label] == 1 for label in range(1, task + 1))
    print(f"{task} classes: {len(mapping)} labels, {used[0]} of them background, each class once: {once}")
print("clothes come from:", ALL[int(np.flatnonzero(task_of_all(59) == 1 + CLASSES[59].index("clothes"))[0]) - 1])

# %% [markdown]
# ## Stuff and things
#
# The first 20 classes are VOC's objects: *things*, which can be counted and have a shape. Most of what was
# background in VOC is *stuff*: sky, water, wall, which have a texture and fill whatever room there is. Which of the other
# 39 are stuff is a matter of judgement; this is ours:

# %%
STUFF = (
    "building", "ceiling", "fence", "floor", "food", "grass", "ground", "mountain", "platform", "road", "rock", "sidewalk",
    "sky", "snow", "track", "tree", "wall", "water", "wood", "clothes", "bedcloth", "curtain",
)  # fmt: skip
objects = [name for name in voc.CLASSES if name in CLASSES[59]]
others = [name for name in CLASSES[59] if name not in STUFF and name not in objects]
print("VOC's objects, in VOC's order:", list(CLASSES[59][:20]) == objects == list(voc.CLASSES[1:]))
Markdown(f"- *stuff* ({len(STUFF)}): {', '.join(STUFF)}\n- *other things* ({len(others)}): {', '.join(others)}")

# %% [markdown]
# Stuff is what context is made of: boats are on water and cars on roads, and a net that must name the water as well is
# asked to notice. Whether that helps with boats is a question the table does not answer, since no row
# of it trains on the same photos with VOC's labels.
#
# **Background.** With full labels, background means "one of the 400 names that did not make the list". It has no look
# of its own. In the authors' release it is a class all the same: the net has 60 outputs. Our loader does so by default,
# and `background=False` makes such pixels void. The two give different numbers, and a number without this word
# cannot be compared.
#
# ## What the task of 33 leaves out

# %%
dropped = [name for name in CLASSES[59] if name not in CLASSES[33]]
kinds = {
    name: "VOC's objects" if name in objects else "stuff" if name in STUFF else "other things" for name in CLASSES[59]
}
count = Counter(kinds[name] for name in dropped)
shared.glue_values(
    dropped=", ".join(dropped),
    dropped_things=count["other things"],
    dropped_stuff=count["stuff"],
    kept=", ".join(name for name in CLASSES[33] if name not in objects),
)

# %% [markdown]
# 26 of the 59: {glue:text}`dropped`. Of these, {glue:text}`dropped_things:.0f` are things and
# {glue:text}`dropped_stuff:.0f` are stuff; none is one of VOC's objects, and the 33 are those 20 with 13 more,
# {glue:text}`kept`.
#
# By their names, these are mostly things that are small or seldom seen. In Table 6, FCN-8s scores 35.1 on 59 classes and
# 53.5 on 33. That is not a better kind of net, and the photos are the same; it is first of all a mean over fewer and
# commoner classes. Pixel accuracy, which the rare classes hardly touch, moves from 65.9 to 71.8 only.
#
# The labels of the 33 are also published on their own, and are read from there where they exist. Picking them from
# the 459 by name, as the loader does where they are absent, has not been compared with those files here; the data set
# says which of the two it did (`labels_are_derived`).
#
# ## The whole path, without the data
#
# The procedural scenes of [chapter 2](02_pixels_to_scores.ipynb) can stand in for the photos. They are given names
# from the 459 and written as PASCAL-Context is published: photos and lists in VOC 2010's folder, a `LabelMap` a
# photo, and the separate label maps of the 33.

# %%
NAMED = {name: name for name in PAINTED} | {"pole": "pole"}  # "pole" is one of the 459 and not of the 59
SIZES = {"read": (80, 24, (96, 128), 60), "small": (400, 80, (128, 160), 800)}
number, held_out, side, steps = SIZES.get(preset, SIZES["small"])


def named(scene) -> np.ndarray:
    """A scene's labels as PASCAL-Context would have them: 1..459. Its void has the name "unknown", which exists."""
    labels = np.full(scene.semantic.shape, 1 + ALL.index("unknown"), np.uint16)
    for label, painted in enumerate(PAINTED):
        # In a street, what is not road is sidewalk: a class of the 59 that the 33 leave out.
        name = "sidewalk" if painted == "ground" and scene.kind == "street" else NAMED[painted]
        labels[(scene.semantic == label).numpy()] = 1 + ALL.index(name)
    return labels


workspace = tempfile.TemporaryDirectory()  # gone when the chapter ends
root = Path(workspace.name)
context, voc2010 = root / "pascal-context", root / "pascal" / "VOCdevkit" / "VOC2010"
for folder in (
    context / "trainval",
    context / "33_context_labels",
    voc2010 / "JPEGImages",
    voc2010 / "ImageSets" / "Main",
):
    folder.mkdir(parents=True)
for split, count, painted_as in (("train", number, "train"), ("val", held_out, "test")):
    scenes = Scenes(count, side, seed, painted_as)
    names = [f"2010_{'1' if split == 'train' else '2'}{i:05d}" for i in range(count)]
    for i, name in enumerate(names):
        scene = scenes.scene(i)
        Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(voc2010 / "JPEGImages" / f"{name}.jpg", quality=95)
        scipy.io.savemat(context / "trainval" / f"{name}.mat", {"LabelMap": named(scene)})
        Image.fromarray(task_of_all(33)[named(scene)]).save(context / "33_context_labels" / f"{name}.png")
    (voc2010 / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
for path in sorted(p for p in root.rglob("*") if p.is_file() and ("100000" in p.name or p.suffix == ".txt")):
    print(path.relative_to(root))

# %% [markdown]
# From here on, only the loader of the real data set is used. One photo in both tasks:

# %%
tasks = {task: PascalContext(context, "train", task) for task in (59, 33)}
heads = {task: data.heads["semantic"] for task, data in tasks.items()}
shown = [  # the first photos that show these
    next(i for i, sample in enumerate(tasks[59]) if (sample.labels["semantic"] == heads[59].index(name)).any())
    for name in ("sidewalk", "boat", "mountain")
]
samples = {task: [data[i] for i in shown] for task, data in tasks.items()}
stored = [scipy.io.loadmat(context / "trainval" / f"{sample.name}.mat")["LabelMap"] for sample in samples[59]]
print(
    "names in the three files:", ", ".join(sorted({ALL[label - 1] for labels in stored for label in np.unique(labels)}))
)
print("outputs of a net:", {task: len(names) for task, names in heads.items()})
print("labels derived by name:", {task: data.labels_are_derived for task, data in tasks.items()})

# %%
photos = [sample.image.permute(1, 2, 0).numpy() for sample in samples[59]]
of_59 = np.array([heads[59].index(name) for name in heads[33]])  # the number that a class of the 33 has among the 59
bare = PascalContext(context, "train", background=False)
columns = {
    "59 classes": [sample.labels["semantic"].numpy() for sample in samples[59]],
    "33 classes": [of_59[sample.labels["semantic"].numpy()] for sample in samples[33]],
    "background void": [
        np.where((labels := bare[i].labels["semantic"].numpy()) == VOID, VOID, labels + 1) for i in shown
    ],
}
shared.labellings(photos, columns, heads[59], PALETTE)
plt.show()

# %% [markdown]
# *Figure: three painted photos as the loader gives them: the labels of the 59 with background as a class, of the 33, and
# of the 59 with background as void (light). Poles and outlines are background; sidewalks are, in the task of 33.*
#
# How unevenly are the classes spread? For the real data, `python data_scripts/pascal_context.py` prints it. For ours:

# %%
pixels = Counter()
for i in range(len(tasks[59])):
    labels, counts = tasks[59][i].labels["semantic"].unique(return_counts=True)
    pixels.update(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
shares = {heads[59][label]: 100 * count / sum(pixels.values()) for label, count in pixels.items()}
kind_of = kinds | {"background": "background"}
shades = {"stuff": "#66a5ad", "VOC's objects": "#b0722b", "background": "#9aa0a6"}
figures.frequencies(shares, shades, kind_of)
plt.show()

# %% [markdown]
# *Figure: the share of each class in the painted training photos. Stuff, all but the sidewalk, fills the photo; things
# are rare.*
#
# A small net now goes through training and scoring, on 59 classes and background. It learns from random weights for a few
# seconds, so the scores are low; what matters is that every step is the one that the real experiments take.

# %%
torch.manual_seed(seed)
net = FCN("alexnet", 8, heads={"semantic": len(heads[59])}, width=1 / 8, upsampling="interpolate")
layers = [layer for layer in net.trunk.modules() if isinstance(layer, nn.Conv2d)]
for layer in layers:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
layers[0].weight.data /= 64
recipe = Recipe(
    learning_rate=3e-3,
    epochs=steps * 8 / number,
    batch_size=8,
    optimizer="adamw",
    weight_decay=1e-4,
    bias_rate=1,
    schedule="poly",
    clip=1,
    warmup=16 * 8 / number,
)
run = train(net, tasks[59], recipe, seed=seed, device=device, log=lambda line: None)
print(f"loss at first: {run.curve[0]['loss']:.2f}, the logarithm of 60 is {np.log(60):.2f}")
print("at last below a third of that:", run.curve[-1]["loss"] < np.log(60) / 3)

# %%
confusion = evaluate(net, PascalContext(context, "val"), device=device)["semantic"]
metrics = confusion.metrics()
scored = sum(np.prod(PascalContext(context, "val")[i].image.shape[1:]) for i in range(held_out))
print("pixels in the confusion matrix:", int(confusion.matrix.sum()), "of", int(scored))
print("classes in the ground truth:", metrics.classes_counted, "of", len(heads[59]))

# %% tags=["nbval-ignore-output"]
without = confusion.matrix[1:].clone()  # rows: background left out of the ground truth, not of the predictions
iu = without[:, 1:].diagonal() / (without.sum(1) + without[:, 1:].sum(0) - without[:, 1:].diagonal())
pd.DataFrame(
    {
        "background a class": [metrics.pixel_accuracy, metrics.mean_iu],
        "background void": [
            100 * float(without[:, 1:].trace() / without.sum()),
            100 * float(iu[without.sum(1) > 0].mean()),
        ],
    },
    ["pixel acc.", "mean IU"],
).round(1)

# %% [markdown]
# *One net, one prediction, two numbers: percent, on the painted validation photos, with background scored as a class and
# with its pixels left out. (The last digits depend on the machine.)*
#
# The background of these scenes is poles and outlines, a pixel or two wide, and no net of stride 8 finds it; with it goes
# one class of a dozen. In real photos background is everything from accordions to wool, and the
# question is the same: does the mean include a class that is defined by what it is not? Table 6 does not say. The authors'
# release trains with it.
#
# ## What a full replication would take
#
# ```
# python data_scripts/pascal_context.py --data DIR          # VOC 2010's photos, the label maps, the lists of names
# python -m fcn train pascal-context-59-vgg16-32s --data DIR
# python -m fcn train pascal-context-59-vgg16-16s --data DIR
# python -m fcn train pascal-context-59-vgg16-8s --data DIR
# ```
#
# and the same with 33. Each net goes on from the coarser one. What to watch for:
#
# - the counts: 4998 photos to train on, 5105 to validate, as the script checks;
# - the three names, and whether background is scored: both change the mean without any other sign;
# - the weights: everything in the paper's table is VGG16, started from ImageNet; GoogLeNet was not tried;
# - the choice of a recipe: the validation photos are the test here, so rates and epochs have to be chosen on a held-out part
#   of the training photos (`--purpose validation`), as everywhere in this project.
#
# ## Summary
#
# - PASCAL-Context names every pixel of VOC 2010's photos. Its task of 59 classes is picked from 459 names, three of which
#   differ between the lists; similar names mislead.
# - Stuff fills photos and things are counted; background is neither, and whether it is scored must be said.
# - 33 classes score 18 points higher than 59, with the same kind of net on the same photos: means over different classes
#   are different metrics.
# - The official layout can be written by hand, so the loader, training and scoring are exercised without the data. Scores
#   of painted scenes are no result; Table 6 has not been run by this project.
#
# ## Exercises
#
# 1. *Lost names.* Take the three pairs out of `SAME` and let the mapping skip what it does not find. By how much can mean
#    IU over 59 classes fall at most, if the three classes had been average ones? Which of them would you expect to be
#    frequent? (With the data, `data_scripts/pascal_context.py` counts them.)
# 2. *From 59 to 33.* A net for 59 classes can answer the task of 33: which of its outputs would you drop, and which
#    would you merge? Score the net above that way against `PascalContext(context, "val", 33)`.
# 3. *Stuff without things.* With the scenes above, make every thing void and train again. Does the IU of stuff change?
#    Then the other way about.
# 4. *A class for nothing.* Train with `background=False` and score both nets on the same pixels. Which one is better on
#    the classes that both have?
