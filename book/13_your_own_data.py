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
# # Train it on your own data
#
# ## What you will learn
#
# - how a folder of photos, a folder of label maps and a list of classes become a trained net, by one command;
# - what to look at before you train: sizes, void, and how unevenly the classes are spread;
# - how to read scores on photos that were held out, class by class, and what they cannot tell you;
# - which mistakes are found for you, and what to try when a run goes wrong.

# %% tags=["parameters"]
preset = "read"  # "read", "smoke": 60 scenes, 2 epochs; "small", "paper": more of both
device = "auto"
seed = 0

# %%
import presets

here = presets.check(preset=preset, device=device, seed=seed)

# %%
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from fcn.__main__ import DEFAULT_NET
from fcn.data.folder import Folder
from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import PALETTE, Scenes
from fcn.predict import Segmenter
from fcn.training import finetune, record
from figures import own_data as figures
from figures import style

style.use()

# %% [markdown]
# ## A net that has seen photos before
#
# {cite:t}`long2015` train no net from nothing. Each of their FCNs begins with the layers of a classifier that has learned
# from ImageNet's photos; what is new is a 1×1 convolution that scores classes on the maps those layers
# compute (section 4.1). The smallest training set in the paper, NYUDv2's, holds 795 photos. Your own may be smaller
# still, and the same argument holds with more force: edges, textures and parts need not be learned again, only what
# *your* classes look like in those terms.
#
# This project ships a net that has been through ImageNet and SIFT Flow (chapter [6](06_sift_flow.ipynb)). We take its
# backbone, throw its score layers away, put new ones on, zero as in the paper, and train all of it on photos and labels
# that the net has never seen. Nothing is downloaded.
#
# ## Three things on a disk
#
# What you bring is
#
# - a folder of photos, of any sizes (`.jpg`, `.png`, `.webp` and some more);
# - a folder of label maps, one PNG a photo, of the same name and size. A pixel holds the number of its class, counted
#   from 0, or 255 where you do not want to say: void. Grey and palette PNGs will do, which tools for
#   labelling write. So will maps in colours, if the list of classes has them;
# - a text file that names the classes, one a line, in the order of their numbers, each with a colour if you like.
#
# Photos of yours we cannot have here. So we play the stranger: the procedural scenes of this project are written to
# disk, in three sizes, as though someone had photographed and labelled them, and then read back with no other knowledge
# than a stranger's files contain.

# %%
start = DEFAULT_NET  # in weights/, the net that `python -m fcn predict` uses
temporary = tempfile.TemporaryDirectory()
home = Path(temporary.name)
photos, labels, classes = home / "photos", home / "labels", home / "classes.txt"

SIZES = {"read": (60, 1), "small": (300, 1.5), "paper": (1000, 2)}
count, scale = (SIZES | {"smoke": SIZES["read"]})[here.preset]
sizes = [(96, 128), (104, 120), (128, 96)]

photos.mkdir()
labels.mkdir()
for i in range(count):
    height, width = sizes[i % 3]
    scene = Scenes(count, (int(scale * height), int(scale * width)), seed=here.seed)[i]
    Image.fromarray(scene.image.permute(1, 2, 0).numpy()).save(photos / f"scene-{i:04d}.jpg", quality=92)
    Image.fromarray(scene.labels["semantic"].numpy().astype(np.uint8)).save(labels / f"scene-{i:04d}.png")
lines = [
    f"{name} #{bytes(colour.tolist()).hex()}" for name, colour in zip(Scenes.heads["semantic"], PALETTE, strict=True)
]
classes.write_text("\n".join(lines) + "\n")
print(classes.read_text())

# %% [markdown]
# ## Look before you train
#
# `Folder` pairs the files by name and checks what it can without opening them; a photo is read when it is asked for.

# %%
data = Folder(photos, labels, classes)
sample = data[0]
print(len(data), "photos,", len(data.classes.names), "classes")
print(sample.name, tuple(sample.image.shape), sample.image.dtype)
print("labels", tuple(sample.labels["semantic"].shape), sorted(sample.labels["semantic"].unique().tolist()))

# %%
figures.pairs([data[i] for i in (4, 1, 5, 3)], data.classes.names, data.palette)
plt.show()

# %% [markdown]
# *Figure: four of the stranger's photos and their label maps, drawn at one scale. Light pixels are void: here the
# border between two classes, which nobody can place to the pixel.*
#
# Looking at twenty such pairs is the best minute you can spend. A map that is shifted or mirrored against its photo,
# or whose numbers are off by one, raises no error, and no training will mend it.
#
# Then count. How many pixels of each class, and in how many photos?

# %%
pixels = np.zeros(VOID + 1, int)
shown_in = np.zeros(VOID + 1, int)
for i in range(len(data)):
    of_one = np.bincount(data[i].labels["semantic"].flatten(), minlength=VOID + 1)
    pixels += of_one
    shown_in += of_one > 0
names = data.classes.names
shares = 100 * pixels[: len(names)] / pixels[: len(names)].sum()
print(f"void: {100 * pixels[VOID] / pixels.sum():.1f} % of all pixels")
pd.DataFrame({"% of labelled pixels": shares.round(1), "photos that show it": shown_in[: len(names)]}, names)

# %%
figures.balance(shares, names, data.palette)
plt.show()

# %% [markdown]
# *Figure: the same shares on a logarithmic axis. What stands alone and thin in a scene, a
# pole, a boat, a car, has a hundredth of the pixels or less.*
#
# A tenth of the photos is held out: those whose names have the lowest checksums, the same on every machine and
# at every run, so that two runs can be compared. The net never learns from them.

# %%
train, held_out = (Folder(photos, labels, classes, split) for split in ("train", "val"))
print(len(train), "to learn from;", len(held_out), "held out:", ", ".join(held_out.names))

# %% [markdown]
# If your photos come in near duplicates, frames of a video, the same wall ten times, then drawing by name puts
# twins on both sides, and the score on the held-out ones flatters the net. Give the folder one photo of each group,
# or hold out a whole place: `--val-folders PHOTOS LABELS` takes the folders of its photos and label maps, `--val-list`
# the names of its photos.
#
# ## One command
#
# On the command line it reads
#
# ```
# python -m fcn fit photos labels classes.txt --epochs 2 --batch 4
# ```
#
# and from Python as below. The default is 20 epochs. Two, on a few small scenes, are only a demonstration.


# %%
def say(line: str, folder: Path = home) -> None:
    """Print a line with paths relative to the folder."""
    print(line.replace(f"{folder}/", ""))


EPOCHS = {"read": 2, "smoke": 2, "small": 10, "paper": 20}
fitted = finetune.fit(
    photos,
    labels,
    classes,
    start=start,
    epochs=EPOCHS[here.preset],
    batch_size=4,
    device=here.device,
    seed=here.seed,
    out=home / "out",
    log=lambda line: None if line.startswith("step") else say(line),
)
print(*sorted(path.name for path in (home / "out").iterdir()), sep="\n")

# %% [markdown]
# What it did:
#
# 1. It read every photo and every label map once, so that a bad file stops the run now and not in its last hour.
# 2. It built FCN-8s on GoogLeNet's backbone, with one score for each of your classes, and copied the backbone's weights from
#    the net in `--start`.
# 3. It trained by the tuned recipe of chapter [6](06_sift_flow.ipynb): AdamW, a rate that decays to zero, mirrored
#    photos. Photos of a batch that differ in size are padded to the largest, and the padding is void.
# 4. It saved the net, in 16 bits, with the names and colours of your classes inside, read that file back, and scored it
#    on the held-out photos: what you keep is what was scored.
# 5. It wrote a record beside it: every setting, the loss on the way, the whole confusion matrix, versions and hardware.

# %%
curve = record.read(fitted.record).curve
_, axes = plt.subplots(figsize=(6.4, 2.4))
axes.plot([point["images"] for point in curve], [point["loss"] for point in curve], color=style.COLOURS["loss"])
axes.set(xlabel="images seen", ylabel="loss, nats per pixel", ylim=(0, None))
plt.show()

# %% [markdown]
# *Figure: the training loss. It starts at the logarithm of the number of classes, since score layers that are zero
# give each class the same probability.*

# %%
print(f"first loss {curve[0]['loss']:.3f}, ln({len(names)}) = {np.log(len(names)):.3f}")

# %% [markdown]
# ## What came out
#
# The four metrics of chapter [2](02_pixels_to_scores.ipynb), in percent, on the held-out photos. These are scores on a
# handful of synthetic scenes after little training: they show that every step works, and say nothing about photos.

# %% tags=["nbval-ignore-output"]
metrics = fitted.scores.metrics
shown = {
    "pixel acc.": metrics.pixel_accuracy,
    "mean acc.": metrics.mean_accuracy,
    "mean IU": metrics.mean_iu,
    "f.w. IU": metrics.frequency_weighted_iu,
}
pd.DataFrame(shown, ["held-out scenes"]).round(1)

# %% [markdown]
# A number needs another one beside it. The simplest rival says the most frequent class everywhere:

# %%
true = np.array(fitted.scores.confusion_matrix).sum(1)
most = 100 * true[np.argmax(fitted.learned_from)] / true.sum()
print(f"saying '{names[np.argmax(fitted.learned_from)]}' everywhere: pixel acc. {most:.1f}")
print("the net's is at least 30 points above:", metrics.pixel_accuracy > most + 30)

# %% [markdown]
# Then class by class. `most taken for` names the class that most of the missed pixels were given to;
# NaN stands where no held-out pixel is of the class.

# %% tags=["nbval-ignore-output"]
fitted.per_class()

# %% [markdown]
# The classes at the bottom of the figure of shares, the thin and the rare, are the ones found worst, if at all. In pixel
# accuracy they hardly count; in mean IU each counts as much as the sky. Which of the two matters to you is a
# question about your task, and worth an answer before the first run.
#
# A file of weights saved this way is used as any other: `python -m fcn predict PHOTO --weights FILE` writes a label map
# and an overlay in your colours. In Python:

# %%
segmenter = Segmenter(fitted.weights, here.device)
chosen = [held_out[i] for i in range(3)]
found = [segmenter(sample.image).cpu() for sample in chosen]
figures.predictions(chosen, found, segmenter.classes, segmenter.palette)
plt.show()

# %% [markdown]
# *Figure: three held-out scenes, their labels, what the net makes of them, and in red where it errs (void apart). The
# errors sit at borders, where stride 8 is coarse, and on whole things that it has seldom seen.*
#
# ## What mistakes print
#
# Data made by hand has mistakes in it. Each of these is made in a fresh copy of the folder, and what you see is the
# line that the command prints, after which it ends with status 2. A label map is checked when it is read; all are read
# before the training begins.

# %%
intact = home / "intact"
for folder in (photos, labels):
    (intact / folder.name).mkdir(parents=True)
    for path in sorted(folder.iterdir())[:4]:
        shutil.copy(path, intact / folder.name)
shutil.copy(classes, intact)


def after(mistake) -> None:
    """Make a mistake in a copy of the data and print what the command says about it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(intact, copy)
        mistake(copy)
        data = copy / "photos", copy / "labels", copy / "classes.txt"
        try:
            finetune.fit(*data, start=start, device=here.device, out=copy / "out", log=lambda line: None)
        except (OSError, ValueError) as error:
            say(f"fcn: {error}", copy)


def renamed(old: str, new: str):
    """A mistake: a file of the copy has another name."""
    return lambda copy: (copy / old).rename(copy / new)


def changed(edit, files: str = "scene-0002.png"):
    """A mistake: the label maps that match ``files`` are edited."""

    def mistake(copy: Path) -> None:
        for path in (copy / "labels").glob(files):
            Image.fromarray(edit(np.array(Image.open(path)))).save(path)

    return mistake


# %% [markdown]
# A label map is missing, or is called otherwise than its photo:

# %%
after(renamed("labels/scene-0002.png", "labels/scene-0002_mask.png"))

# %% [markdown]
# Labels count from 1, as many tools do, or the list of classes is too short:

# %%
after(changed(lambda stored: np.where(stored == VOID, VOID, stored + 4).astype(np.uint8)))

# %% [markdown]
# The photo was resized and its label map was not:

# %%
after(changed(lambda stored: stored[::2, ::2]))

# %% [markdown]
# A map in colours was resized with smoothing, so that it shows colours that are no class's:


# %%
def smoothed(stored: np.ndarray) -> np.ndarray:
    painted = Image.fromarray(style.colour(stored, PALETTE))
    return np.array(painted.resize((64, 64)).resize(painted.size))


after(changed(smoothed))

# %% [markdown]
# A mask of two values was saved as black and white, 0 and 255, and 255 is void:

# %%
after(changed(lambda stored: np.where(stored == 0, 255, 0).astype(np.uint8), "*.png"))

# %% [markdown]
# A class is listed twice; a photo is of a kind that is not read:

# %%
twice = classes.read_text().replace("road", "ground")
after(lambda copy: (copy / "classes.txt").write_text(twice))
after(renamed("photos/scene-0001.jpg", "photos/scene-0001.gif"))

# %% [markdown]
# What no check can find is a label map that is valid and wrong. For those there is only the look.
#
# ## Advice
#
# Some of what follows the paper measured, and we say so; the rest is experience, to be tried on the held-out photos.
#
# **How many photos.** There is no number. Start with a few dozen, train, and look at the held-out predictions: they
# tell you which photos to label next, namely those that resemble the errors. If the training loss goes far below what
# the held-out photos suggest, more photos help more than more epochs.
#
# **Void.** Label what you are sure of and leave the rest void: borders of a few pixels, crowds, what is too far away. Void
# costs nothing in the loss and nothing in the score. But a class that is void wherever it is difficult is never
# learned where it is difficult, and the score will not tell. And void is not background: what is none of your
# classes needs a class of its own, or the net will call it one of them.
#
# **Balance.** The paper finds that balancing the classes in the loss is unnecessary (section 4.3). `--balance 0.5` does it
# by half, `--balance 1` in inverse proportion to the pixels. A rare class is served better by more photos that show it.
#
# **Stride.** `--stride 8` is the default, and the finest. `--stride 32` costs a little less and blurs what is thin
# (chapter [5](05_skips.ipynb)). Take it to see what the skips are worth on your data, not to save time.
#
# **Size.** Larger photos are learned, and scored, with a longer side of 512 pixels (`--side`). If what you look for is a
# few pixels wide at that size, raise it, at a cost that grows with its square, or cut the photos into pieces. `predict`
# has the same option and the same default; give both the same value.
#
# **Where to begin.** The backbone of the shipped net suits photos of the world outdoors. `--start imagenet` takes
# GoogLeNet's own weights from the folder `FCN_WEIGHTS` (chapter [3](03_convolutionalization.ipynb)), and `--start` takes
# any net that this package saved: for instance your own of last week, after you have labelled more. For
# pictures that are no photos, microscope slides or maps, the same backbones are still worth a try before `--start scratch`.
#
# **Longer runs, GPU, stops.** `--epochs` is the first thing to raise, as long as the held-out score rises with it.
# `--device auto` uses a GPU where there is one. A checkpoint is written about every two minutes; after a stop, the same
# command with `--resume` goes on from it to the net that an undisturbed run would have given.
#
# **What is chosen on the held-out photos is no longer measured by them.** Try ten settings and keep the best, and its
# score is a little too good. Keep some photos in another folder and score the net on them once, at the end:
# `python -m fcn evaluate PHOTOS LABELS classes.txt --weights FILE`.
#
# **A run never replaces another.** If `--out` has the net of an earlier run, the command says so and stops. Give each run
# a folder of its own.
#
# ### When it goes wrong
#
# | what you see | what it may be | what to try |
# | :-- | :-- | :-- |
# | `the loss is nan at step …` | the rate is too high for this start | `--rate 1e-4`, or lower |
# | one class everywhere | far too few steps, or nearly all of the labels are that class | more epochs; count the pixels |
# | good loss, poor held-out score | too few photos, or ones that differ from the held-out | more, and more various, photos |
# | a class is never found | rare, thin, or absent from training (the run says so) | photos that show it; `--side` |
# | two classes mixed up | labelled by two rules, or not to be told apart | look at their labels; merge them |
# | right shapes, shifted | photos rotated by the camera's note and labels not, or resized apart | look at the pairs |
# | not enough memory | large photos, many at once | `--micro-batch 1`, then `--side 384` |
#
# ## Summary
#
# - Two folders and a list of classes become a trained net by `python -m fcn fit PHOTOS LABELS CLASSES`; the net keeps
#   the names and colours of its classes, and `predict` uses them.
# - The backbone is taken from a net that has seen photos, the score layers begin at zero, and all of it is trained.
# - A fixed tenth of the photos is held out. Its scores are read class by class and beside a simple rival, and are no
#   measure any more of what was chosen by them.
# - Files that do not fit are named before the training. Labels that fit and are wrong are found by looking.
#
# ## Exercises
#
# 1. Train with `start="scratch"` and the same two epochs. How much of the net's score came with the backbone?
# 2. Train with `stride=32`. Which classes lose most, and were they the thin ones?
# 3. Label only every other photo: move half of them away, and compare the score on the same held-out photos. (Take care
#    that they stay the same: which photos have the lowest checksums depends on those that are there. `--val-list` takes
#    the list of names that a run leaves next to its net.)
# 4. Make 5 % of the label maps wrong by exchanging two of them. Does anything complain? How would you find them with
#    the trained net?
# 5. Write the label maps in colours, with a `void #rrggbb` line in the list of classes, and check that `Folder` reads
#    the same labels.
