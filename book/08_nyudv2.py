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
# # NYUDv2: colour and depth
#
# A depth camera gives each pixel a distance beside its colour. How does a net trained on colour photos take in a fourth
# number? The paper tries three ways, on indoor photos, and its Table 4 sets them beside colour alone.
#
# ## What you will learn
#
# - what depth, log depth and HHA are, and how HHA is computed from depth, a camera and the direction of gravity;
# - how early fusion gives a trained net a fourth channel without disturbing it;
# - how late fusion averages two nets, and why the average can be taken anywhere after the last score layer;
# - how to tell what fusion gains from what more training gains.

# %% tags=["parameters"]
preset = "read"  # "read", "smoke", "small" or "paper"
experiments = ""  # with "paper": only these, such as "nyud-vgg16-32s-rgb"
data_root = ""  # folder of the data sets; empty: FCN_DATA
weights_root = ""  # folder of the ImageNet weights; empty: FCN_WEIGHTS
device = "auto"
seed = 0
results_dir = "../results"
runs_dir = "../runs"

# %%
import presets

here = presets.check(
    preset=preset,
    experiments=experiments,
    offered=r"nyud-.*",
    data_root=data_root,
    weights_root=weights_root,
    device=device,
    seed=seed,
    results_dir=results_dir,
    runs_dir=runs_dir,
)

# %%
import copy
import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor, nn

import chapter_tables
from fcn import FCN
from fcn.data import nyud
from fcn.data.hha import estimate_gravity, hha, surface_normals
from fcn.data.nyud import CLASSES, PALETTE, Nyud
from fcn.data.sample import Sample
from fcn.metrics import Metrics
from fcn.models import LateFusion, Net
from fcn.preprocessing import MEAN_HHA, MEAN_LOG_DEPTH
from fcn.replication import tables
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.paper import TABLES
from fcn.training.evaluate import evaluate
from fcn.training.loop import train
from fcn.training.recipe import Recipe
from figures import nyud as figures
from figures import shared, style
from rooms import room, write_nyud

style.use()
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## The claim
#
# NYUDv2 {cite}`silberman2012` holds 1449 photos of rooms, taken with a Kinect, with depth and labels. {cite:t}`gupta2013`
# sorted the labels into 40 classes, 795 photos are for training and 654 for testing. In section 5 of their paper,
# {cite:t}`long2015` train FCN-32s on colour alone, on colour with depth as a fourth channel, on an encoding of depth
# called HHA {cite}`gupta2014`, on colour and HHA together, and finally add the skip of FCN-16s. The published rows:

# %%
published = [row for row in TABLES if row.table == "Table 4"]
figures.table_4([(row.label, row.metrics["mean_iu"]) for row in published])
plt.show()

# %% [markdown]
# *Figure: mean IU on the 654 test photos, as published in Table 4. Grey: not an FCN.*

# %%
iu = {row.label.removeprefix("FCN-"): row.metrics["mean_iu"] for row in published}
shared.glue_values(
    depth_gain=iu["32s RGBD"] - iu["32s RGB"],
    hha_loss=iu["32s RGB"] - iu["32s HHA"],
    fusion_gain=iu["32s RGB-HHA"] - iu["32s RGB"],
    skip_gain=iu["16s RGB-HHA"] - iu["32s RGB-HHA"],
)

# %% [markdown]
# Depth as a fourth channel gains {glue:text}`depth_gain:.1f` points over colour alone. HHA alone is
# {glue:text}`hha_loss:.1f` points *worse* than colour alone; yet both together, fused late, gain
# {glue:text}`fusion_gain:.1f`, and the skip {glue:text}`skip_gain:.1f` more.
#
# ### What this run computed
#
# Each FCN row is an experiment of the catalogue. With `preset="paper"`, the next cell trains and scores all five, the
# single nets first, because the fused nets start from them. It lists the runs made now; `preset="read"` makes none.

# %%
names = [name for name, e in EXPERIMENTS.items() if e.paper and e.paper[0] == "Table 4"]
computed = here.run(names)
computed if len(computed) else None

# %% [markdown]
# The table has the published rows and all recorded runs. A row without a record shows the command that makes one.

# %% tags=["full-width"]
tables.table("Table 4", here.records())

# %% [markdown]
# The data set comes in the layout of the authors' release, and `python data_scripts/nyud.py --data DIR` prepares it (see
# `data_scripts/README.md`). The rest of the chapter needs no download: it paints rooms with exact depth, writes them to
# disk in that layout, and shows every part at work on them.

# %%
counts = pd.Series({split: len(nyud.split_names(split)) for split in nyud.SPLITS}, name="photos")
counts.to_frame().T

# %% [markdown]
# ## A room with depth
#
# A room is a box, its furniture a few more. A ray through each pixel meets the nearest of them at a known distance:
# that is `book/rooms.py`. The colours are drawn by chance for every room, on purpose. A net cannot learn that
# beds are blue; what it can learn is shape.

# %%
one = room(12, (144, 192))
figures.room(one, CLASSES, PALETTE)
plt.show()

# %% [markdown]
# *Figure: a painted room, its labels (light outlines are void) and its depth along the camera's axis.*
#
# The authors store depth in millimetres and feed its *logarithm*. Sensors measure near things more finely than
# far ones, and to the logarithm a step from 1 to 2 metres is as large as one from 2 to 4. It is also a small number:

# %%
log_depth = np.log(1000 * one.depth)
span = pd.DataFrame(
    {
        "colour, less its mean": (one.image - one.image.mean((0, 1))).ravel(),
        "log depth, less its mean": np.resize(log_depth - MEAN_LOG_DEPTH, one.image.size),
    }
)
span.agg(["min", "max", "std"]).T.round(1)

# %% [markdown]
# ## HHA: depth that says something
#
# A distance depends on where the photographer stood. What tells a table from a floor is that both are level but one
# is higher. {cite:t}`gupta2014` therefore encode depth as three channels that a net trained on colour can take:
#
# $$
# D = \frac{310}{\max(z, 1)}, \qquad
# H = 100\,(h - h_{\min}), \qquad
# A = 38 + \frac{180}{\pi}\arccos(n \cdot g),
# $$
#
# with depth $z$ and height $h$ in metres, the surface's unit normal $n$, pointing away from the camera, and the unit
# direction of gravity $g$; each is rounded and kept within 0 to 255. **H**orizontal disparity is nearness, as a stereo
# camera would measure it. **H**eight counts centimetres from the lowest point. The **a**ngle is 38 for floors, 128 for
# walls and 218 for ceilings. The scales are those of the code published with that paper; `fcn.data.hha` is our own.

# %%
encoded = hha(one.depth, one.camera, one.gravity)
figures.channels(encoded)
plt.show()

# %% [markdown]
# *Figure: the three channels of the room above. In the third, all level surfaces share one value and all upright
# ones another, wherever they are.*
#
# In a painted room the answer is known, so the code can be checked. Well inside the surfaces:

# %%
inner = minimum_filter(one.labels, 9) == maximum_filter(one.labels, 9)  # one label within 4 pixels
rows = {}
for name in ("floor", "bed", "wall"):
    values = encoded[inner & (one.labels == CLASSES.index(name))]
    rows[name] = dict(zip(("D", "H", "A"), np.median(values, 0).astype(int), strict=True))
pd.DataFrame(rows).T

# %% [markdown]
# How does one find the normal at a pixel? There is a pretty way. A plane $n \cdot p = d$, seen at the point
# $p = z\,(x, y, 1)$, satisfies
#
# $$
# \frac{1}{z} = \frac{1}{d}\, n \cdot (x, y, 1):
# $$
#
# over a plane, the *inverse* of depth is linear in the image. So a linear function is fitted to $1 / z$ in a window of
# 7×7 pixels; its three coefficients are the normal, up to length. No points have to be moved to space for it.
#
# ### Which way is down?
#
# The height and the angle need the direction of gravity. A level camera sees it along its own axis, $(0, 1, 0)$, and that is
# the default. This camera is not level. Where no one has measured it, the surfaces can tell: in a room, most of them are
# level or upright. Starting from $(0, 1, 0)$, {cite:t}`gupta2013` take the normals near that direction for floors, those
# near a right angle with it for walls, and turn the direction to lie along the former and across the latter, again
# and again.

# %%
tilted = room(12, (144, 192), pitch=22, roll=9)
found = estimate_gravity(surface_normals(tilted.depth, tilted.camera))
figures.angles(
    {
        "taken for level": hha(tilted.depth, tilted.camera),
        "estimated": hha(tilted.depth, tilted.camera, None),
        "true": hha(tilted.depth, tilted.camera, tilted.gravity),
    }
)
plt.show()


# %%
def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


print(f"off by {degrees_between(np.array([0, 1, 0]), tilted.gravity):.0f} degrees when taken for level,", end=" ")
print("by less than one when estimated:", degrees_between(found, tilted.gravity) < 1)

# %% [markdown]
# *Figure: the angle with gravity of what a camera sees that looks down by 22 degrees and is turned by 9.*
#
# On real depth, with noise, holes and few walls in view, the estimate will be worse than here. For NYUDv2 it is not
# needed: the data in the authors' layout hold HHA ready made, as images, and the data set's loader reads those.
# The mean of those images, which the nets subtract, is consistent with the scales above: a mean disparity of
# 132 is a distance of 2.3 metres, a mean height of 94 is 94 centimetres, and a mean angle of 118 lies between floors
# and walls, nearer to walls.

# %%
disparity, height, angle = MEAN_HHA
print(
    f"mean distance (of the mean disparity): {310 / disparity:.1f} m; height {height:.0f} cm; angle {angle - 38:.0f} degrees"
)

# %% [markdown]
# ## Two ways to fuse
#
# *Early fusion* makes depth a fourth channel of the input. *Late fusion* trains two nets apart, one on colour and one on
# HHA, and averages their scores; then both are trained together, end to end.

# %%
figures.fusions()
plt.show()

# %% [markdown]
# *Figure: early fusion is one net, late fusion two.*
#
# ### A fourth channel that changes nothing, at first
#
# ImageNet's classifiers have filters for three channels. The authors' release gives the new channel the mean of the three
# colour filters: if depth has edges where colours have, such a filter finds them. Depth enters minus its mean, 7.844. So
# where a room's log depth is at its mean everywhere, the new channel is zero, and the net is the colour net. No real
# weights are needed to see it; here a random classifier is written to a file and read into both nets:

# %%
torch.manual_seed(here.seed)
HEADS = {"semantic": len(CLASSES)}
SMALL_NET = {"heads": HEADS, "width": 1 / 8, "upsampling": "interpolate"}


def random_net(inputs: str) -> FCN:
    return FCN("alexnet", stride=8, inputs=inputs, **SMALL_NET)


def give_it_a_voice(net: FCN) -> None:
    """Random score layers: those of a new net are zero, and every comparison would be of zeros."""
    generator = torch.Generator().manual_seed(here.seed)
    for parameter in net.heads.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1


colour, four = random_net("rgb").eval(), random_net("rgbd").eval()
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "imagenet.safetensors"
    save_file(colour.trunk.state_dict(), file)
    four.load_pretrained(file)  # three channels become four
give_it_a_voice(colour)
give_it_a_voice(four)

first_colour, first_four = (next(net.trunk.parameters()).data for net in (colour, four))
print("filters of the first layer:", *(" x ".join(map(str, w.shape)) for w in (first_colour, first_four)), sep="\n  ")
print("the fourth is the mean of the three:", bool(torch.allclose(first_four[:, 3], first_colour.mean(1))))

# %%
photo = torch.from_numpy(one.image).permute(2, 0, 1)[None] / 255  # N x 3 x H x W
depth = torch.from_numpy(log_depth).float()[None, None] / 255  # every channel is divided by 255, and multiplied again
flat = torch.full_like(depth, MEAN_LOG_DEPTH / 255)

with torch.no_grad():
    plain = colour(photo)["semantic"]
    at_mean = four(torch.cat([photo, flat], 1))["semantic"]
    with_depth = four(torch.cat([photo, depth], 1))["semantic"]


def share(a: Tensor, b: Tensor) -> float:
    """How far two maps of scores lie apart, as a share of how much the first varies over the image."""
    return ((a - b).square().mean() / (a - a.mean((2, 3), keepdim=True)).square().mean()).sqrt().item()


print("with depth at its mean, the same scores as from colour alone:", share(plain, at_mean) < 1e-4)
print("with the room's depth, other scores:", share(plain, with_depth) > 1e-4)
print(f"by less than a tenth of what the scores vary: {share(plain, with_depth) < 0.1}")

# %% [markdown]
# The last line is worth a thought. Log depth varies by less than one, colours by dozens (the table above), and both
# meet filters of the same size, so to begin with the fourth channel whispers. That may be one reason why early fusion
# gains little in Table 4. It need not be the only one (exercise 2).
#
# ### A mean of two nets
#
# Late fusion is a line of `fcn.models.LateFusion`: `(colour + hha) / 2`. The paper speaks of a sum, the release takes
# half of it. Both have the same largest class, but not the same softmax loss. Where should it stand? The authors'
# release averages the coarse scores and upsamples the mean; here the upsampled scores are averaged. Upsampling is
# linear, so both are the same:

# %%
hha_net = random_net("hha").eval()
give_it_a_voice(hha_net)
late = LateFusion("alexnet", stride=8, **SMALL_NET).eval()
late.upgrade_from(colour, hha_net)
second = torch.from_numpy(encoded).permute(2, 0, 1)[None] / 255
with torch.no_grad():
    fused = late(torch.cat([photo, second], 1))["semantic"]
    apart = colour(photo)["semantic"], hha_net(second)["semantic"]
print("six channels in:", tuple(torch.cat([photo, second], 1).shape))
print("late fusion is the mean of the two nets' scores:", bool(torch.allclose(fused, sum(apart) / 2, atol=1e-5)))
sizes = {
    name: sum(p.numel() for p in net.parameters())
    for name, net in {"RGB": colour, "RGBD": four, "RGB-HHA": late}.items()
}
print("parameters, in those of the colour net:", {name: round(n / sizes["RGB"], 2) for name, n in sizes.items()})

# %% [markdown]
# One fact to keep in mind: late fusion has twice the parameters and twice the time. A fair control would be two
# colour nets, trained from different seeds and averaged. The paper does not report one.
#
# ## All four on painted rooms
#
# Rooms are written to a folder in the layout of NYUDv2: photos, depth in millimetres, HHA, labels as MATLAB files.
# The loader of the real data set reads them. Three small nets, for colour, colour with depth, and HHA, learn from them
# for the same number of steps, from the same random filters. Late fusion, the fourth, begins where two of them end.


# %%
class Size(NamedTuple):
    rooms: tuple[int, int]  # to train on, and held out
    side: tuple[int, int]
    steps: int
    together: int  # more steps, for late fusion and for its control


SHORT = Size((120, 40), (72, 96), steps=52, together=26)
LONG = Size((600, 100), (96, 128), steps=600, together=300)
workspace = tempfile.TemporaryDirectory()  # gone when the chapter ends


class Rooms:
    """Painted rooms, written to disk in the layout of NYUDv2."""

    def __init__(self, size: Size) -> None:
        self.root = Path(workspace.name) / f"{size.rooms[0]} rooms" / "nyud"
        painted = [
            [room(first + i, size.side) for i in range(count)]
            for first, count in zip((0, 10_000), size.rooms, strict=True)
        ]
        self.training = write_nyud(self.root, painted[0])
        self.held_out = write_nyud(self.root, painted[1], first=5001)

    def data(self, inputs: str, names: list[str]) -> Nyud:
        return Nyud(self.root, inputs=inputs, names=names)


rooms_of = functools.cache(Rooms)
rooms = rooms_of(SHORT)
for path in sorted(rooms.root.rglob("img_1.*")):
    print(path.relative_to(rooms.root.parent))

# %%
firsts = {inputs: rooms.data(inputs, rooms.training)[0] for inputs in nyud.INPUTS}
{inputs: tuple(sample.image.shape) for inputs, sample in firsts.items()}


# %%
def new_net(inputs: str, seed: int) -> FCN:
    """A net with Kaiming's filters; that of depth is the mean of the three colours'."""
    torch.manual_seed(seed)
    net = random_net("rgb" if inputs == "rgbd" else inputs)
    layers = [layer for layer in net.trunk.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    layers[0].weight.data /= 64
    if inputs != "rgbd":
        return net
    four = random_net("rgbd")
    weights = net.state_dict() | {"mean": four.mean}
    first = next(name for name in weights if name.startswith("trunk"))
    weights[first] = torch.cat([weights[first], weights[first].mean(1, keepdim=True)], 1)
    four.load_state_dict(weights)
    return four


def learn(net: Net, data: Nyud, steps: int, rate: float, seed: int) -> None:
    recipe = Recipe(
        learning_rate=rate,
        epochs=steps * 8 / len(data),
        batch_size=8,
        optimizer="adamw",
        weight_decay=1e-4,
        bias_rate=1,
        schedule="poly",
        clip=1,
        warmup=16 * 8 / len(data),
    )
    train(net, data, recipe, seed=seed, device=here.device, log=lambda line: None)


# %% [markdown]
# Late fusion starts from the trained colour net and the trained HHA net, and trains both together. To tell what fusion
# gains from what more training gains, a copy of the HHA net trains for as many more steps: the control.


# %%
class Run(NamedTuple):
    rooms: Rooms
    nets: dict[str, Net]
    metrics: dict[str, Metrics]


def compare(size: Size, seed: int) -> Run:
    """Train and score the single nets, the fused pair and its control."""
    rooms, nets, metrics = rooms_of(size), {}, {}

    def add(name: str, net: Net, inputs: str, *recipe: float) -> None:
        if recipe:
            learn(net, rooms.data(inputs, rooms.training), *recipe)
        confusion = evaluate(net, rooms.data(inputs, rooms.held_out), device=here.device)
        nets[name], metrics[name] = net, confusion["semantic"].metrics()

    for name in ("rgb", "rgbd", "hha"):
        add(name, new_net(name, seed), name, size.steps, 3e-3, seed)
    pair = LateFusion("alexnet", stride=8, **SMALL_NET)
    pair.upgrade_from(nets["rgb"], nets["hha"])
    longer = (size.together, 1.5e-3, seed + 1)
    add("rgb-hha, averaged", copy.deepcopy(pair), "rgb-hha")
    add("rgb-hha, trained together", pair, "rgb-hha", *longer)
    add("hha, trained longer", copy.deepcopy(nets["hha"]), "hha", *longer)
    return Run(rooms, nets, metrics)


is_long = here.preset in ("small", "paper")
run = compare(LONG if is_long else SHORT, here.seed)
metrics = run.metrics

# %% tags=["nbval-ignore-output"]
pd.DataFrame(
    {name: [m.pixel_accuracy, m.mean_accuracy, m.mean_iu, m.frequency_weighted_iu] for name, m in metrics.items()},
    ["pixel acc.", "mean acc.", "mean IU", "f.w. IU"],
).T.round(1)

# %% [markdown]
# *Percent on held-out rooms, over the twelve or so classes that they show. The last digits depend on the machine.*

# %%
gain = {name: metrics[name].mean_iu - metrics["rgb"].mean_iu for name in ("rgbd", "hha")}
print("HHA gains ten points of mean IU or more over colour:", gain["hha"] > 10)
print("raw depth gains less than half of that:", gain["rgbd"] < gain["hha"] / 2)

# %%
shown = ("rgb", "rgbd", "hha, trained longer", "rgb-hha, trained together")
tints = dict(zip(shown, ("#b0722b", "#d9b382", "#66a5ad", "#1b7f79"), strict=True))
shared.per_class({name: metrics[name].iu_per_class for name in shown}, CLASSES, tints)
plt.show()

# %% [markdown]
# *Figure: IU of each class that the held-out rooms show; the mean at the top.*


# %%
def three(inputs: str) -> list[Sample]:
    held_out = run.rooms.data(inputs, run.rooms.held_out)
    return [held_out[i] for i in (0, 3, 7)]


pictures = three("rgb")
columns = {"ground truth": [p.labels["semantic"].numpy() for p in pictures]}
for title, name, inputs in (
    ("rgb", "rgb", "rgb"),
    ("hha", "hha, trained longer", "hha"),
    ("together", "rgb-hha, trained together", "rgb-hha"),
):
    images = torch.stack([sample.image for sample in three(inputs)]) / 255
    with torch.no_grad():
        scores = run.nets[name].eval()(images.to(here.device))["semantic"]
    columns[title] = list(scores.argmax(1).cpu().numpy())
shared.labellings([p.image.permute(1, 2, 0).numpy() for p in pictures], columns, CLASSES, PALETTE)
plt.show()

# %% [markdown]
# *Figure: three held-out rooms, their labels, and the predictions of three nets.*
#
# Here the order of colour and HHA is the reverse of the paper's, and that is by construction: the rooms' colours mean
# nothing and their depth is exact. In NYUDv2's photos a bed has the looks of a bed, and depth has noise and holes. What
# does carry over is how the inputs differ. HHA soon finds beds and ceilings, whose height and tilt give them away. What
# hangs on a wall comes late: a picture or a window is four centimetres thick here, a faint edge to HHA, and a short run
# learns next to nothing of it. In real depth, noise may hide such an edge altogether, and only the photo shows it. Raw
# depth, appended to colour, gains much less than HHA: a net has to work out heights and angles by itself, which HHA
# spells out.
#
# Averaging two nets that were never trained together need not beat the better of the two: the worse one has half the
# weight. In the paper the pair is trained end to end, and so is ours in the last step. What did that gain?

# %%
NAMES = ("hha", "hha, trained longer", "rgb-hha, trained together")


def late_fusion_runs():
    """Mean IU (%) on held-out painted rooms: one long run and three short ones."""
    runs = {("long", here.seed): run}
    runs |= {("short", here.seed + i): compare(SHORT, here.seed + i) for i in range(3)}
    lengths, seeds = zip(*runs, strict=True)
    scores = [[one.metrics[name].mean_iu for name in NAMES] for one in runs.values()]
    return {"lengths": lengths, "seeds": seeds, "nets": NAMES, "mean_iu": scores}


recorded, live = here.snapshot("late-fusion-rooms", late_fusion_runs, is_long)
print(here.source("late-fusion-rooms", live))
labels = (recorded["lengths"], recorded["seeds"])
rows = pd.MultiIndex.from_arrays(labels, names=["run", "seed"])
several = pd.DataFrame(recorded["mean_iu"], rows, recorded["nets"])
before, control, pair = (several[name] for name in NAMES)
several["pair less hha"], several["pair less control"] = pair - before, pair - control
several.round(1)

# %%
gaps = several["pair less control"]
shared.glue_values(
    long_gain=several["pair less hha"]["long"].iloc[0],
    long_gap=gaps["long"].iloc[0],
    least_gap=gaps["short"].min(),
    largest_gap=gaps["short"].max(),
    long_rooms=LONG.rooms[0],
    long_steps=LONG.steps,
    short_rooms=SHORT.rooms[0],
    short_steps=SHORT.steps,
    seed_range=gaps["short"].max() - gaps["short"].min(),
)
shared.glue_values(repeat_gap=chapter_tables.repeats_apart())

# %% [markdown]
# *Mean IU (%) on held-out rooms. A long run has {glue:text}`long_rooms:.0f` rooms and {glue:text}`long_steps:.0f` steps, a
# short one {glue:text}`short_rooms:.0f` rooms and {glue:text}`short_steps:.0f` steps.*
#
# Relative to the HHA net it started with, the pair scores {glue:text}`long_gain:+.1f` points in the long run. A table
# without a control would show this number alone and credit all of it to fusion. Relative to the control, the HHA net
# that trained for as many steps, the pair scores {glue:text}`long_gap:+.1f` points in the long run, and between
# {glue:text}`least_gap:+.1f` and {glue:text}`largest_gap:+.1f` in the short ones.
#
# More training alone gains much of what fusion seems to gain. What is left depends on the length of the run and on
# chance: the short runs, which differ in nothing but the seed, are {glue:text}`seed_range:.1f` points apart, and the
# long run is a single sample.
#
# In Table 4 the pair gains {glue:text}`fusion_gain:.1f` points over colour, its better half. Each row there is one run,
# without a control for the longer training or the doubled net. The paper does not say how far apart two runs of one
# recipe are on NYUDv2. On VOC, two runs of FCN-32s by the author of pytorch-fcn are [{glue:text}`repeat_gap:.1f` points
# apart](https://github.com/wkentaro/pytorch-fcn/pull/89), much less than the paper's gain; but that is one pair of
# runs, on other data.
#
# ## What the catalogue runs, and what would differ
#
# - The five experiments follow the paper's recipe (its settings for VGG16, 175 epochs). The late fusion nets start from the
#   two single nets, FCN-16s from FCN-32s.
# - The nets here subtract ImageNet's mean colour from photos, since that is what the weights were trained with; the authors'
#   release subtracts NYUDv2's. Each mean is a constant that the first layer's biases can learn to undo.
# - Pixels whose depth is unknown get the mean of log depth. The release's depth images have their holes filled.
# - The authors' release publishes trained FCN-32s for colour, for HHA and for both, by its own recipe;
#   `python -m fcn evaluate` reads them.
#
# ## Summary
#
# - Depth can enter as a number (log depth, early fusion) or as what it means (HHA: nearness, height, tilt).
# - Over a plane the inverse of depth is linear in the image, which gives normals; normals give gravity; gravity gives
#   height and angle. Rooms of known geometry confirm each step.
# - A fourth channel whose filters are the mean of the colours' changes nothing while depth is at its mean, and little
#   when it is not.
# - Late fusion is the mean of two nets' scores, before or after upsampling alike. It can pay where the two
#   err differently; it doubles the net and its training, so it wants a control.
# - Each FCN row of Table 4 is an experiment of the catalogue; `preset="paper"` runs all five.
#
# ## Exercises
#
# 1. *A control for late fusion.* Train a second colour net from another seed, average it with the first, and train both
#    on as above. How much of what late fusion gains over colour remains when measured against this pair?
# 2. *A louder depth.* Multiply the fourth filter of the early-fusion net by the ratio of the two standard deviations
#    above before training, so that depth varies as much as colour. Does it help? What do you conclude about the whisper
#    as an explanation?
# 3. *Noise.* Add noise to the rooms' depth that grows with its square, as a Kinect's does, cut holes into it,
#    and compute HHA with an estimated gravity. Which of the three channels suffers most, and which window
#    (`radius` of `surface_normals`) suffers least?
# 4. *One channel at a time.* Train on HHA with two of its channels set to their means. Which channel alone comes
#    closest to all three, for which classes?
