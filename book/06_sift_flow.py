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
# ## What you will learn
#
# - what a segmentation data set is made of, how unevenly its classes are spread, and what that does to four metrics;
# - how one net learns two tasks at once, and what the second task costs;
# - how to read a results table: which numbers may stand beside each other, and what each departure may be worth;
# - where a net that scores well goes wrong, and why it cannot say "I do not know".

# %% tags=["parameters"]
preset = "read"
data_root = ""
device = "cpu"
seed = 0
results_dir = "../results"

# %%
import hashlib
import os
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy.io
import torch
from IPython.display import Markdown
from scipy.stats import spearmanr

import fcn
from fcn import records, runs, tables
from fcn.datasets import sift_flow
from fcn.datasets.scenes import PALETTE, Scenes
from fcn.experiments import EXPERIMENTS, METRICS, TABLES
from fcn.figures import siftflow as figures
from fcn.figures import style
from fcn.figures.photos import photo
from fcn.recorded import recorded

style.use()
torch.set_num_threads(1)
pd.set_option("display.max_colwidth", None, "display.max_columns", None, "display.max_rows", None)

# %% [markdown]
# ## The claim
#
# The chapters before this one took the method apart. This one puts the whole to the test. In their section 5,
# {cite:t}`long2015` turn to SIFT Flow, outdoor photos with two label maps each: *what* every pixel shows, one of 33
# classes such as road or tree, and *how it lies in space*, one of three, sky, horizontal or vertical. They claim that
# one fully convolutional net with two score layers learns both tasks together as well as two nets would, at nearly the
# cost of one, and that it is better than everything before it on both. The row of their Table 5 that says so is
# FCN-16s, on VGG16's trunk.
#
# We rerun the experiment with another trunk: GoogLeNet {cite}`szegedy2015`, whose weights are a twentieth of VGG16's.
# In their Table 1, on PASCAL VOC, the paper's authors found it far weaker than VGG16. So the question is not whether we
# repeat a number, but how near a small net comes, with the paper's way of training and with one of our own.
# Whether two nets, one for each task, would do as well was not run here.
#
# Everything below that is called ours is read from the records in `results/`, one file a run: the settings, the loss,
# whole confusion matrices, and a line for every departure from the paper. Where a record is missing, you will see "not
# run" and the command that makes it.

# %% [markdown]
# ## The data
#
# SIFT Flow bears the name of the method of {cite:t}`liu2011`, whose authors used it to parse scenes
# {cite}`liu2011parsing`. Its photos, all of 256 by 256 pixels, come from
# the eight outdoor categories of {cite:t}`oliva2001`; people outlined and named what they saw in LabelMe
# {cite}`russell2008`, and {cite:t}`tighe2010` added the geometric classes. The lists of images below are those
# of the authors' release. They name 2486 training images where the paper counts 2488: two, `highway_bost181` and
# `street_urb506`, carry no labels at all. The authors drew no validation set. We did, once: a tenth of the training
# images, the same share of every category, chosen by the checksums of their names. Recipes are chosen there, so that
# the test images stay unseen until the end.

# %%
splits = {name: sift_flow.split_names(name) for name in sift_flow.SPLITS}
kinds = pd.DataFrame(
    {name: pd.Series([sift_flow.scene(image) for image in splits[name]]).value_counts() for name in splits}
)
kinds.loc["all"] = kinds.sum()
kinds

# %% [markdown]
# `trainval` is `train` and `val` together: final runs train on it. Not all of its pixels have a label, and those that
# have are spread very unevenly. The next cell counts them. It needs the label maps; if you have not downloaded them, it
# reads the counts that we recorded.

# %%
folder = Path(data_root or os.environ.get("FCN_DATA") or "no-data") / "sift-flow"


def class_counts() -> dict:
    """SIFT Flow's pixels by split (training, test) and class, void last; the number of photos that show each class."""
    pixels, images, labels = np.zeros((2, 34), int), np.zeros((2, 34), int), hashlib.sha256()
    for row, split in enumerate(("trainval", "test")):
        for name in splits[split]:
            stored = scipy.io.loadmat(folder / "SemanticLabels" / sift_flow.COLLECTION / f"{name}.mat")["S"]
            count = np.roll(np.bincount(stored.ravel(), minlength=34), -1)  # void is stored as 0
            pixels[row] += count
            images[row] += count > 0
            labels.update(stored.astype(np.uint8).tobytes())
    return {"pixels": pixels, "images": images, "sha256_of_labels": labels.hexdigest()}


lists = [folder / "trainval.txt", folder / "test.txt"]
counts, is_live = recorded("sift-flow-classes", class_counts, folder.is_dir(), results_dir, lists)

# %% tags=["nbval-ignore-output"]
print("Counted just now." if is_live else "These counts were recorded: SIFT Flow's label maps are not at hand here.")

# %%
labelled = counts["pixels"][:, :33]
shares = pd.DataFrame((100 * labelled / labelled.sum(1, keepdims=True)).T, sift_flow.SEMANTIC, ["train", "test"])
figures.frequencies(shares)
plt.show()

# %% [markdown]
# *Figure: the share of each class in the labelled pixels, on a logarithmic axis, from sky at the top down to the moon.*

# %%
most = shares["train"].sort_values(ascending=False)
absent = [name for name in shares.index if shares["test"][name] == 0]
rarest = most.drop(absent).index[-1]
void = 100 * counts["pixels"][:, 33] / counts["pixels"].sum(1)
Markdown(
    f"The four most frequent classes, {', '.join(most.index[:4])}, hold **{most.iloc[:4].sum():.0f} %** of the labelled "
    f"training pixels; the twenty rarest together **{most.iloc[-20:].sum():.1f} %**. The rarest that the test images hold, "
    f"{rarest}, is seen in {counts['images'][0][sift_flow.SEMANTIC.index(rarest)]} training photos. "
    f"{len(absent)} classes, {', '.join(absent)}, have no pixel in the test images. "
    f"Void are {void[0]:.1f} % of the training pixels and {void[1]:.1f} % of the test pixels."
)

# %% [markdown]
# This one figure explains most of what follows. *Pixel accuracy* and *frequency weighted IU* count pixels, so they
# are decided by the handful of classes at the top. *Mean accuracy* and *mean IU* count classes: sky and streetlight
# have the same say. A net that never once predicts the twenty rarest classes loses next to nothing in the first two,
# and most of what there is to win in the others. (Chapter [2](02_pixels_to_scores.ipynb) works these metrics by hand.)
#
# A class without a pixel in the test images has no accuracy. The paper takes its means over the others, and so do we;
# predicting such a class is still an error.
#
# ### Two label maps from one
#
# The published geometric label maps are used where you have them, in `GeoLabels`. They were not at hand for
# the runs recorded here, so the geometric labels are derived: each of the 33 classes has one place in space.

# %%
pd.Series(
    {
        place: ", ".join(name for name in sift_flow.SEMANTIC if sift_flow.GEOMETRY[name] == place)
        for place in sift_flow.GEOMETRIC
    },
    name="classes",
).to_frame()

# %% [markdown]
# Three entries are a matter of judgement: one walks on a staircase, so it is horizontal; the rocks here are mostly
# cliffs, so they are vertical; a bridge shows its side. The published maps may differ in such pixels, and they may
# label pixels that are void in ours. Our geometric accuracy and the paper's are therefore scores of the same task on
# *nearly* the same labels.
#
# We may not reprint SIFT Flow's photos. This is what a photo with two label maps looks like, in the procedural scenes
# that this project paints for itself:

# %%
scenes = Scenes(6, (192, 192), split="test")
figures.two_label_sets([scenes[0], scenes[3]], scenes.heads["semantic"], PALETTE)
plt.show()

# %% [markdown]
# *Figure: two procedural scenes with their semantic and geometric labels. Light pixels are void.*
#
# ## One trunk, two heads
#
# The net is the one of chapter [5](05_skips.ipynb), with two sets of score layers in place of one. Both read the
# same maps of the same trunk. With $\ell_s$ and $\ell_g$ the mean softmax losses over the labelled pixels of the two
# tasks, it minimises
#
# $$\ell(\theta, w_s, w_g) = \ell_s(\theta, w_s) + \ell_g(\theta, w_g),$$
#
# so that the trunk's weights $\theta$ follow the sum of the two gradients, while each head's weights $w$ see only
# their own task's loss. Nothing else in the net or in the training knows that there are two tasks.

# %%
heads = {head: len(names) for head, names in sift_flow.SiftFlow.heads.items()}
net = fcn.FCN("googlenet", stride=8, heads=heads, upsampling="interpolate")
with torch.no_grad():
    {head: tuple(scores.shape) for head, scores in net(torch.rand(1, 3, 64, 96)).items()}


# %%
def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


sizes = pd.Series({"trunk": parameters(net.trunk), **{f"{head} head": parameters(net.heads[head]) for head in heads}})
sizes["all"] = sizes.sum()
pd.DataFrame({"parameters": sizes.map("{:,}".format), "%": (100 * sizes / sizes["all"]).round(2)})

# %%
VGG16_PARAMETERS = 134e6  # Table 1 of the paper
Markdown(
    f"The second task adds **{100 * sizes['geometric head'] / sizes['all']:.2f} %** to the parameters. "
    f"The whole net has {sizes['all'] / 1e6:.1f} million, **{VGG16_PARAMETERS / sizes['all']:.0f} times fewer** than the "
    f"{VGG16_PARAMETERS / 1e6:.0f} million that the paper's Table 1 gives for FCN-VGG16."
)

# %% [markdown]
# ## Two recipes
#
# The paper trains slowly: plain stochastic gradient descent at a small fixed rate, for at least 175 epochs a net, days
# on a GPU. Our runs are made on a small machine, which asks for compromises, and we make them in two ways.
#
# - The *short* recipe keeps the paper's procedure. FCN-32s first, then FCN-16s from its weights, then FCN-8s from
#   those; the same optimiser, momentum, decay and batch. Only the rate is much larger and the epochs are few.
# - The *tuned* recipe keeps the net and gives up the procedure: all three strides at once, an adaptive optimiser, a
#   rate that warms up and decays to zero, mirrored photos.
#
# Here is every setting, as the catalogue `fcn.experiments` holds them, the paper's own first:

# %%
SHORT = {f"{stride}s": f"sift-flow-googlenet-{stride}s-short" for stride in (32, 16, 8)}
TUNED = "sift-flow-googlenet-8s-tuned"
columns = {
    "paper's, 32s": "sift-flow-googlenet-32s",
    **{f"short, {stride}": name for stride, name in SHORT.items()},
    "tuned, 8s": TUNED,
}
settings = {
    label: {"starts from": EXPERIMENTS[name].start or "ImageNet", **asdict(EXPERIMENTS[name].solver)}
    for label, name in columns.items()
}
pd.DataFrame(settings).map(str)

# %% [markdown]
# Rates of different optimisers cannot be compared: AdamW divides each gradient by its own size. `epochs` of the
# short recipe look few beside the paper's, and are; the section on departures comes back to what this costs.
#
# To make the runs yourself, set the parameter `preset` to `paper`, or use the commands below. With `small` a
# net of a quarter of the width is trained on procedural scenes in minutes, through the very same code.

# %%
PLANS = {
    "read": [],
    "small": ["scenes-googlenet-8s-demo"],
    "paper": [name for name in EXPERIMENTS if name.startswith("sift-flow-googlenet-")],
}
for name in PLANS[preset]:
    made = runs.run(
        EXPERIMENTS[name],
        data=folder.parent if folder.is_dir() else None,
        device=device,
        seed=seed,
        out=Path("../runs"),
        results=Path(results_dir) if preset == "paper" else Path("../runs"),
    )
    print(f"recorded: {made.name}")
if preset == "read":
    print(*(f"python -m fcn train {name}" for name in (*SHORT.values(), TUNED)), sep="\n")

# %% [markdown]
# ## The runs
#
# A record says of itself what it is for. A *validation* run trains without the validation images and is scored on them:
# such runs are there to choose a recipe by. A *final* run trains on all training images, and its last weights
# are scored once on the test images. No checkpoint was picked by its test score, and nothing was tuned after it.

# %%
found = records.load(results_dir)
ours = [record for record in found if record.dataset.name == "sift-flow"]
short = {stride: of_one[0] for stride, name in SHORT.items() if (of_one := records.find(ours, name))}
tuned = next(iter(records.find(ours, TUNED)), None)
final = {f"short, {stride}": record for stride, record in short.items()} | ({"tuned, 8s": tuned} if tuned else {})
missing = [name for name in (*SHORT.values(), TUNED) if not records.find(ours, name)]
print(*(f"not run: python -m fcn train {name}" for name in missing), sep="\n")
in_order = list(EXPERIMENTS)
figures.overview(
    sorted(ours, key=lambda r: (r.purpose, in_order.index(r.experiment) if r.experiment in in_order else -1))
)


# %%
def test_after_validation() -> str:
    """What choosing on the validation images has to do with the score on the test images, recipe by recipe."""
    lines = []
    for run in records.find(ours, TUNED, "validation"):
        if tuned:
            there, here = tables.scores(run)["mean_iu"], tables.scores(tuned)["mean_iu"]
            lines.append(
                f"The tuned recipe reached a mean IU of {there:.1f} on the validation images "
                f"({run.heads['semantic'].metrics.classes_counted} classes present, {run.images_seen:,} images seen) and, "
                f"trained on all training images, {here:.1f} on the test images "
                f"({tuned.heads['semantic'].metrics.classes_counted} classes, {tuned.images_seen:,} images seen). The "
                "two are means over different classes of different images: the first is for comparing recipes with each "
                "other, not for foretelling the second."
            )
    return "\n\n".join(lines) or "No validation run of the tuned recipe is recorded."


Markdown(test_after_validation())

# %% [markdown]
# The loss falls as follows. The vertical lines mark where a stage of the short recipe ends and the next one goes on
# from its weights; since new score layers start at zero, the loss does not jump there.

# %%
if final:
    figures.loss_curves(short, tuned)
    plt.show()

# %% [markdown]
# *Figure: training loss, the sum of both heads, against images seen. Thin lines are the means that a record holds, bold
# ones a running mean of nine of them. Training loss only: neither curve says how well a net does on photos it has not
# seen. The tuned recipe sees mirrored photos, which are a little harder, and batches of another size.*
#
# ## Table 5
#
# The paper's rows and ours. Geometric accuracy is the pixel accuracy of the second head.

# %%
tables.table("Table 5", found)

# %%
published = [row for row in TABLES if row.table == "Table 5"]
reference = next(row for row in published if row.label == "FCN-16s")
shown = {label: tables.scores(final[label]) for label in ("short, 8s", "tuned, 8s") if label in final}
if shown:
    figures.side_by_side(published, reference.label, shown)
    plt.show()

# %% [markdown]
# *Figure: Table 5 at a glance. Most earlier methods report one or two of the five numbers.*

# %%
Markdown(
    "Ours less the paper's FCN-16s on VGG16, in points:\n\n"
    + "\n".join(f"- **{label}**: {figures.difference(values, reference.metrics)}" for label, values in shown.items())
    if shown
    else "Not run: there is nothing to compare yet."
)

# %% [markdown]
# How to read this. The two trunks differ in more than their size: VGG16 was the better of the two in the
# paper's own Table 1 by a wide margin, on PASCAL VOC. Four things keep the comparison from being exact. The
# recipe is another one. There is one run of each, and a repetition with another seed would come out a little
# different; how much, one run cannot tell. The geometric labels are derived. And the training photos had been saved
# again by the time they reached us. The test images, their labels and the metrics are the same.
#
# ## What the skips bring
#
# Table 2 of the paper measures skips on PASCAL VOC with VGG16. The short runs allow the same comparison here, on
# other data with another trunk, so the figure shows gains and leaves the heights out.

# %%
table_2 = {
    row.label.removeprefix("FCN-"): row.metrics
    for row in TABLES
    if row.table == "Table 2" and row.label in ("FCN-32s", "FCN-16s", "FCN-8s")
}
by_stride = {stride: tables.scores(record) for stride, record in short.items()}
if len(by_stride) > 1:
    figures.skips(table_2, by_stride)
    plt.show()

# %% [markdown]
# *Figure: what each metric gains over FCN-32s. Left as published in Table 2, right from our records.*


# %%
def skip_report() -> str:
    """What the three short runs say of skips, in sentences."""
    if len(by_stride) < 3:
        return "Not run: the three short runs are needed for this comparison."
    change = {m: by_stride["8s"][m] - by_stride["32s"][m] for m in METRICS}
    lines = [figures.skip_sentence({stride: values["mean_iu"] for stride, values in by_stride.items()})]
    lines.append("From 32s to 8s: " + ", ".join(f"{tables.COLUMNS[m]} {change[m]:+.1f}" for m in METRICS) + " points.")
    coarse, fine = (short[stride].heads["semantic"].metrics.iu_per_class for stride in ("32s", "8s"))
    gain = pd.Series(
        {name: b - a for name, a, b in zip(sift_flow.SEMANTIC, coarse, fine, strict=True) if a is not None}
    ).sort_values()
    up, down = gain[gain > 0].iloc[::-1][:4], gain[gain < 0][:4]
    lines.append(
        "The largest gains of a single class in IU: " + ", ".join(f"{name} {by:+.1f}" for name, by in up.items()) + "."
    )
    if len(down):
        lines.append("The largest losses: " + ", ".join(f"{name} {by:+.1f}" for name, by in down.items()) + ".")
    seen = [short[stride].images_seen for stride in ("32s", "16s", "8s")]
    lines.append(
        f"But each finer net was also *trained longer*: by its end FCN-32s had seen {seen[0]:,} images, FCN-16s "
        f"{seen[0] + seen[1]:,} and FCN-8s {sum(seen):,}, counting the nets that they went on from."
    )
    return " ".join(lines)


Markdown(skip_report())

# %% [markdown]
# So the comparison is confounded, here and in the paper alike: part of a gain may come from the added training, and
# with one seed the smaller differences mean little. What speaks for the skips themselves is where they act: chapter
# [5](05_skips.ipynb) shows on labels that are known exactly that boundaries and thin things come back. To tell the two
# apart, train FCN-32s for as many images more without adding a skip (an exercise below).
#
# ## Class by class
#
# A mean over classes hides its classes. Sorted by how frequent they are in the training images:

# %%
compared = {label: final[label].heads["semantic"] for label in ("short, 8s", "tuned, 8s") if label in final}
if compared:
    figures.iu_per_class(compared, shares["train"])
    plt.show()

# %% [markdown]
# *Figure: the IU of every class that the test images hold, beside its share of the training pixels. Where no bar can
# be seen, the net found next to nothing of that class.*


# %%
def class_report(label: str, head: records.Head) -> str:
    """How IU goes with frequency, in a sentence."""
    iu = pd.Series(head.metrics.iu_per_class, head.classes, dtype=float).dropna()
    rank = spearmanr(iu, shares["train"][iu.index]).statistic
    never = [name for name in iu.index if iu[name] < 1]
    zero = f"{len(never)} of them below 1 ({', '.join(never)})" if never else "none of them below 1"
    return (
        f"**{label}**: the IU of the {len(iu)} classes runs from {iu.min():.0f} ({iu.idxmin()}) to {iu.max():.0f} "
        f"({iu.idxmax()}), {zero}. Its rank correlation with frequency is {rank:.2f}."
    )


Markdown("\n\n".join(class_report(label, head) for label, head in compared.items()) or "Not run.")

# %% [markdown]
# Frequency is not all: what helps as much is to look always the same. The sun is rare and bright;
# signs are of every shape and colour. The paper trains without weighting rare classes up, and finds it unnecessary; so
# do we. Whether it is depends on the metric: weights that raise mean accuracy cost pixel accuracy, as the two rows of
# {cite:t}`farabet2013` in Table 5, balanced and natural, show.
#
# ## What is taken for what
#
# The confusion matrix says where the wrong pixels go. Each row is a true class, divided by its number of pixels;
# the diagonal is what was found.

# %%
best = "tuned, 8s" if tuned else next(iter(compared), None)
if best:
    figures.confusion(final[best].heads["semantic"], shares["train"])
    plt.show()

# %% [markdown]
# *Figure: row-normalised confusion of the semantic classes on the test images; entries of 20 % and more are printed.
# Columns are all 33 classes, rows those that the test images hold.*
#
# A column that is dark from top to bottom is a class into which others disappear. The pairs that hold most wrong
# pixels, out of all of them:

# %%
pairs = figures.confused_pairs(final[best].heads["semantic"]) if best else pd.DataFrame()
pairs

# %%
Markdown(
    f"These {len(pairs)} pairs hold **{pairs['of all errors, %'].sum():.0f} %** of all wrong pixels ({best})."
    if len(pairs)
    else "Not run."
)

# %% [markdown]
# Read the pairs as a person would. Many are not blunders but disputes: where a mountain's forest ends and the mountain
# begins, whether a strip of green is plant, grass, tree or field, whether water behind a beach is sea or river. The
# people who drew the labels had to choose one word as well, and not all of them chose alike. Part of the distance
# to 100 % cannot be closed by any net.
#
# ## Predictions
#
# `weights/` holds the tuned net, in 16 bits. These are photos that anyone may use, and that it has never seen: a
# temple in China (danielbuechele, CC BY 2.0), a rocket on its launch pad (SpaceX, public domain), a cup of coffee
# (Rachel Michetti, CC0) and the cat Chelsea (Stéfan van der Walt, CC0). Guess how each will come out before you look.

# %% tags=["nbval-ignore-output"]
weights_file = Path(f"../weights/{TUNED}.seed{seed}.safetensors")
photos = {name: photo(name) for name in ("china", "rocket", "coffee", "chelsea")}
if weights_file.is_file():
    trained = fcn.load(weights_file)
    seen = {name: figures.probabilities(trained, x) for name, x in photos.items()}
    figures.predictions(photos, seen, sift_flow.PALETTE)
    plt.show()
else:
    print(f"{weights_file.name} is not there; python -m fcn train {TUNED} makes it.")

# %% [markdown]
# *Figure: four photos; the class and the geometry (blue sky, green horizontal, red vertical) that the net gives to each
# pixel; and the probability of that class, light where the net is sure. Below each photo the classes of at least 1 % of
# its pixels, six at the most.*

# %% tags=["nbval-ignore-output"]
if weights_file.is_file():
    sure = {name: 100 * (p["semantic"].amax(0) > 0.9).float().mean().item() for name, p in seen.items()}
    print("pixels whose class has a probability above 0.9: " + ", ".join(f"{n} {s:.0f} %" for n, s in sure.items()))

# %% [markdown]
# The temple is what the net was made for: an outdoor photo, taken from where people stand, of things that have a class.
# The rocket is a stranger, but it stands outdoors like a tower, and comes out as one. The cup and the cat have no class
# at all, nor anything like one. No output is left for "none of these": the softmax shares out all of its probability
# among 33 classes, so that a cat *must* become mountain or sand or whatever its fur is most like, and the geometric
# head must find sky and ground on a table. This is the *closed world* of a classifier. The benchmark does not punish
# it, since its test images come from the same eight categories as its training images.
#
# Does the net know that it does not know? The probability is a hint and no more. On average it is lower where
# there is nothing to recognise, but not everywhere: look for light patches on the cup and the cat, where a wrong class is
# given with near certainty, and for the dark outline of the temple, where the net is unsure and nearly right.
#
# Your own photos go the same way: `python -m fcn predict photo.jpg`.
#
# ## What departs from the paper, and what it costs
#
# Every record lists its departures. Together:

# %%
figures.departures(final)


# %%
def costs() -> str:
    """What is known of the cost of each departure, from published numbers and from our records."""
    iu = {row.label: row.metrics["mean_iu"] for row in TABLES if row.table == "Table 1"}
    lines = [
        f"- *The trunk.* In the paper's Table 1, GoogLeNet reaches a mean IU of {iu['FCN-GoogLeNet']} on PASCAL VOC where "
        f"VGG16 reaches {iu['FCN-VGG16']}: {iu['FCN-VGG16'] - iu['FCN-GoogLeNet']:.1f} points for a net of a twentieth of the size."
    ]
    if tuned:
        gap = reference.metrics["mean_iu"] - tables.scores(tuned)["mean_iu"]
        side = "below" if gap > 0 else "above"
        lines[0] += f" Here our tuned net stands {abs(gap):.1f} points {side} the paper's VGG16."
    if tuned and "8s" in short:
        gain = {m: tables.scores(tuned)[m] - tables.scores(short["8s"])[m] for m in tables.MEASURED}
        paper_images = 175 * short["8s"].dataset.trained_on.images
        lines.append(
            f"- *The recipe.* From short to tuned, on the same trunk: mean IU {gain['mean_iu']:+.1f}, mean accuracy "
            f"{gain['mean_accuracy']:+.1f}, pixel accuracy {gain['pixel_accuracy']:+.1f} points. All stages of the short recipe "
            f"together saw {sum(r.images_seen for r in short.values()):,} images, the tuned one {tuned.images_seen:,}; 175 "
            f"epochs, the least the paper trains one net, are {paper_images:,}. Neither is the paper's schedule, and the "
            "short runs do not show what its recipe reaches in its own time."
        )
    lines += [
        "- *Geometric labels derived from the semantic ones.* Not measured. It makes the two tasks easier to learn together: "
        "whoever knows the class knows the geometry.",
        "- *Two images without labels left out.* Nothing: a pixel without a label has no loss.",
        "- *Training photos saved again, convolutions in bfloat16, upsampling fixed.* Not measured. The authors' "
        "release fixes the upsampling too; learning it, they say, made no significant difference.",
    ]
    return "\n".join(lines)


Markdown(costs())

# %% [markdown]
# "Not measured" is an honest cell of a table. Each of these lines can be turned into a run of its own: change one
# setting, keep the rest, choose on the validation images.
#
# ## Summary
#
# - SIFT Flow's classes are spread very unevenly; pixel metrics are decided by its frequent classes, class metrics by
#   its rare ones.
# - Two tasks on one trunk need two losses and one sum. The second head costs next to nothing.
# - Records make a table that can be checked: every number leads to its settings, its confusion matrix and its departures,
#   recipes are chosen on validation images, and the test images are scored once.
# - Three strides, trained one from the other, let us read the comparison of skips, with the same catch as in the
#   paper: the finer net has also been trained longer.
# - A net knows only its classes, and gives everything else one of them.
#
# ## Exercises
#
# 1. *Metrics against each other.* Take the confusion matrix of the tuned run from its record. Move all pixels that were
#    predicted as one of the ten rarest classes to the class predicted most often for the same true class, and compute the four
#    metrics again with `fcn.metrics.ConfusionMatrix.from_matrix`. Which of them fall, which rise, and why?
# 2. *Skips or time?* With `dataclasses.replace`, make an experiment that goes on from `sift-flow-googlenet-32s-short` at
#    stride 32 for as many epochs as the 16s and 8s stages together. Record it with `purpose="validation"` beside
#    validation runs of the three stages. How much of the difference between 32s and 8s is left?
# 3. *A way to say no.* For each photo above, compute the mean over its pixels of the largest probability, of the entropy
#    of the 33 probabilities, and of the largest score before the softmax. Which of the three sets the coffee and the cat
#    apart from the temple best? Try it on ten outdoor and ten indoor photos of your own before you trust it.
