"""The experiments: those that replicate the paper's rows, and those that change one thing.

Names are ``<data>-<net>-<stride>[-variant]``. ``fcn.replication.paper`` holds published numbers.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

from fcn.replication.experiment import Experiment
from fcn.training.recipe import HEAVY, TUNED, Recipe
from fcn.training.record import Deviation

# Recipes, for each of STRIDES where there are several

STRIDES = (32, 16, 8)
RATES = {"alexnet": 1e-3, "bvlc_alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}
"""Learning rates of FCN-32s by net (section 4.3)."""


def paper_recipe(net: str, stride: int, micro_batch: int = 0) -> Recipe:
    """The paper's recipe; the learning rate is divided by 100 for each finer net (section 4.2)."""
    rate = RATES[net] * {32: 1, 16: 1e-2, 8: 1e-4}[stride]
    return Recipe(learning_rate=rate, micro_batch=micro_batch)


def heavy_recipes(images: int, *rates: float) -> list[Recipe]:
    """The heavy recipe of the authors' release: 100,000 steps of one image."""
    return [replace(HEAVY, learning_rate=rate, epochs=100_000 / images) for rate in rates]


VGG16 = [paper_recipe("vgg16", stride) for stride in STRIDES]
VGG16_SINGLE = [paper_recipe("vgg16", stride, micro_batch=1) for stride in STRIDES]
GOOGLENET = [paper_recipe("googlenet", stride) for stride in STRIDES]
VOC_HEAVY = heavy_recipes(8498, 1e-10, 1e-12, 1e-14)
SIFT_FLOW_HEAVY = heavy_recipes(2486, 1e-10, 1e-12, 1e-12)
CONTEXT_HEAVY = heavy_recipes(4998, 1e-10, 1e-12, 1e-14)
ALEXNET_RELEASE = Recipe(
    learning_rate=1e-4, epochs=20 * 100_000 / 8498, micro_batch=1, replacement=True
)
# The paper's recipe at 200 times its learning rate, for a fraction of its epochs
SHORT = [
    Recipe(learning_rate=rate, epochs=epochs, precision="bf16-mixed")
    for rate, epochs in ((1e-2, 4), (5e-3, 2), (5e-3, 2))
]
SAMPLING = replace(SHORT[0], epochs=0.5, batch_size=8)  # 155 steps
BRIEF = replace(TUNED, epochs=1, augment="none")
BRIEF_SGD = replace(SHORT[1], epochs=1, batch_size=8, schedule="poly")
SUBSET_RECIPES = [
    replace(TUNED, learning_rate=rate, epochs=epochs, micro_batch=1)
    for rate, epochs in ((2e-4, 5), (1e-4, 2), (1e-4, 2))
]
DEMO = Recipe(learning_rate=1e-3, epochs=4, batch_size=8, optimizer="adamw", clip=1.0)

# Deviations that no setting can express, by data set and net

SMALL_BACKBONE = Deviation(
    "backbone", "GoogLeNet (6 million parameters) instead of VGG16 (134 million)"
)
CONV1_5 = Deviation(
    "backbone",
    "BVLC's AlexNet (normalization before pooling), its conv1 to conv5 quantized to 1/256",
)
NO_FC6 = Deviation("backbone", "fc6 and fc7 initialized at random: their weights are missing")
GEOMETRY = Deviation("labels", "geometric labels derived from the semantic ones")
UNLABELLED = Deviation(
    "images",
    "2486 of the 2488 training images, as in the authors' release: the other two have no labels",
)
SUBSET = Deviation(
    "data",
    "trained on 437 photos of VOC 2012 train and scored on 445 of val, of six classes: "
    "not the benchmark",
)
SCENES = Deviation("data", "procedural scenes instead of photos")
ALEXNET_BIASES = Deviation(
    "release",
    "all biases at twice the learning rate and without decay; in the release only the scores'",
)

DEVIATIONS = {
    ("sift-flow", "vgg16"): (GEOMETRY, UNLABELLED),
    ("sift-flow", "googlenet"): (SMALL_BACKBONE, GEOMETRY, UNLABELLED),
    ("voc-subset", "googlenet"): (SMALL_BACKBONE, SUBSET),
    ("voc-subset", "bvlc_alexnet"): (CONV1_5, NO_FC6, SUBSET),
    ("scenes", "googlenet"): (SCENES,),
}

# Experiments


class Stages(NamedTuple):
    """FCN-32s, FCN-16s and FCN-8s, each starting from the one before (section 4.2).

    Their names are ``<dataset>-<net>-<stride>s<variant>``; ``{}`` in the row is the stride.
    """

    dataset: str
    net: str
    variant: str
    recipes: Sequence[Recipe]
    paper: tuple[str, str] | None
    settings: dict[str, Any]

    def experiments(self) -> Iterator[Experiment]:
        """The three experiments, coarse to fine."""
        start: tuple[str, ...] = ()
        for stride, recipe in zip(STRIDES, self.recipes, strict=True):
            name = f"{self.dataset}-{self.net}-{stride}s{self.variant}"
            paper = (self.paper[0], self.paper[1].format(stride)) if self.paper else None
            yield Experiment(
                name, self.dataset, self.net, stride, recipe, paper, start, **self.settings
            )
            start = (name,)


class Variants(NamedTuple):
    """Experiments ``<base>-<variant>``: for each variant, the settings in which it differs.

    They replicate no row of the paper unless ``paper`` is among these settings.
    """

    base: str
    changes: dict[str, dict[str, Any]]

    def of(self, base: Experiment) -> Iterator[Experiment]:
        """The experiments, given their base."""
        settings = {field.name for field in fields(Recipe)}
        for variant, changes in self.changes.items():
            others = {k: v for k, v in changes.items() if k not in settings}
            changed = replace(base, **({"name": f"{base.name}-{variant}", "paper": None} | others))
            of_recipe = {k: v for k, v in changes.items() if k in settings}
            yield replace(changed, recipe=replace(changed.recipe, **of_recipe))


TABLE_2, TABLE_5, TABLE_6 = ("Table 2", "FCN-{}s"), ("Table 5", "FCN-16s"), ("Table 6", "FCN-{}s")
ALEXNET = ("Table 1", "FCN-AlexNet")
BILINEAR: dict[str, Any] = {"upsampling": "bilinear"}
INTERPOLATE: dict[str, Any] = {"upsampling": "interpolate"}
RELEASE = BILINEAR | {"alignment": "reference"}
AT_ONCE = {"start": (), "scaled_skips": True}
OURS = INTERPOLATE | {"start": ()}
SAMPLED = INTERPOLATE | {"recipe": SAMPLING}


def fcn_32s(
    name: str, dataset: str, net: str, paper: tuple[str, str], **changes: Any
) -> Experiment:
    """FCN-32s by the paper's recipe with ``changes``."""
    return Experiment(name, dataset, net, 32, replace(paper_recipe(net, 32), **changes), paper)


ROWS: tuple[Experiment | Stages | Variants, ...] = (
    # PASCAL VOC: Tables 1 and 2, sections 4.2 and 4.3
    fcn_32s("voc2011-alexnet-32s", "voc2011", "alexnet", ALEXNET, micro_batch=1),
    fcn_32s("voc2011-vgg16-32s", "voc2011", "vgg16", ("Table 1", "FCN-VGG16"), micro_batch=1),
    fcn_32s(
        "voc2011-googlenet-32s", "voc2011", "googlenet", ("Table 1", "FCN-GoogLeNet"), micro_batch=1
    ),
    fcn_32s(
        "voc-vgg16-32s-fixed",
        "voc",
        "vgg16",
        ("Table 2", "FCN-32s-fixed"),
        micro_batch=1,
        fixed_trunk=True,
    ),
    Stages("voc", "vgg16", "", VGG16_SINGLE, TABLE_2, {}),
    Variants(
        "voc-vgg16-32s",
        {
            "lower-rate": {"start": ("voc-vgg16-32s",), "recipe": VGG16_SINGLE[1]},
            "balanced": {"balance": True},
            "jitter": {"augment": "mirror+jitter"},
            "random-scores": {"random_scores": True},
            "keep50": {"keep": 0.5, "batch_size": 40},
            "keep25": {"keep": 0.25, "batch_size": 80},
        },
    ),
    Variants(
        "voc-vgg16-16s",
        {
            "pool4": {"fusion": "finest"},
            "max": {"fusion": "max"},
            "bilinear": {"upsampling": "bilinear"},
        },
    ),
    Stages("voc", "vgg16", "-heavy", VOC_HEAVY, TABLE_2, RELEASE),
    Variants(
        "voc-vgg16-8s-heavy",
        {"at-once": AT_ONCE | {"learning_rate": 1e-10, "epochs": 300_000 / 8498}},
    ),
    Experiment(
        name="voc-alexnet-32s-release",
        dataset="voc",
        net="alexnet",
        stride=32,
        recipe=ALEXNET_RELEASE,
        paper=ALEXNET,
        deviations=(ALEXNET_BIASES,),
        **RELEASE,
    ),
    # The photos of VOC that are available, named after the subset
    Stages("voc-subset", "googlenet", "", SUBSET_RECIPES, None, INTERPOLATE),
    Experiment(
        name="voc-subset-bvlc_alexnet-32s",
        dataset="voc-subset",
        net="bvlc_alexnet",
        stride=32,
        recipe=SUBSET_RECIPES[0],
        weights="bvlc_alexnet_conv1-5.caffemodel",
        **INTERPOLATE,
    ),
    # NYUDv2: Table 4
    fcn_32s("nyud-vgg16-32s-rgb", "nyud-rgb", "vgg16", ("Table 4", "FCN-32s RGB")),
    fcn_32s("nyud-vgg16-32s-rgbd", "nyud-rgbd", "vgg16", ("Table 4", "FCN-32s RGBD")),
    fcn_32s("nyud-vgg16-32s-hha", "nyud-hha", "vgg16", ("Table 4", "FCN-32s HHA")),
    Experiment(
        name="nyud-vgg16-32s-rgb-hha",
        dataset="nyud-rgb-hha",
        net="vgg16",
        stride=32,
        recipe=VGG16[0],
        paper=("Table 4", "FCN-32s RGB-HHA"),
        start=("nyud-vgg16-32s-rgb", "nyud-vgg16-32s-hha"),
    ),
    Experiment(
        name="nyud-vgg16-16s-rgb-hha",
        dataset="nyud-rgb-hha",
        net="vgg16",
        stride=16,
        recipe=VGG16[1],
        paper=("Table 4", "FCN-16s RGB-HHA"),
        start=("nyud-vgg16-32s-rgb-hha",),
    ),
    # SIFT Flow: Table 5
    Stages("sift-flow", "vgg16", "", VGG16, TABLE_5, {}),
    Variants(
        "sift-flow-vgg16-16s",
        {
            "semantic": {"task": "semantic", "start": ("sift-flow-vgg16-32s-semantic",)},
            "geometric": {"task": "geometric", "start": ("sift-flow-vgg16-32s-geometric",)},
        },
    ),
    Variants(
        "sift-flow-vgg16-32s",
        {"semantic": {"task": "semantic"}, "geometric": {"task": "geometric"}},
    ),
    Stages("sift-flow", "vgg16", "-heavy", SIFT_FLOW_HEAVY, TABLE_5, RELEASE),
    # The same on GoogLeNet, at full length: hours on a CPU, minutes on a GPU
    Stages("sift-flow", "googlenet", "", GOOGLENET, TABLE_5, {}),
    Variants("sift-flow-googlenet-8s", {"at-once": AT_ONCE | {"learning_rate": 5e-5}}),
    Variants("sift-flow-googlenet-8s-at-once", {"bilinear": BILINEAR}),
    Variants(
        "sift-flow-googlenet-32s",
        {
            "semantic": {"task": "semantic"},
            "geometric": {"task": "geometric"},
            "sampled50": {"keep": 0.5, "batch_size": 40},
            "sampled25": {"keep": 0.25, "batch_size": 80},
        },
    ),
    Stages("sift-flow", "googlenet", "-heavy", SIFT_FLOW_HEAVY, None, BILINEAR),
    # What two CPU cores can train
    Stages("sift-flow", "googlenet", "-short", SHORT, TABLE_5, INTERPOLATE),
    Variants(
        "sift-flow-googlenet-32s-short",
        {"lower-rate": {"start": ("sift-flow-googlenet-32s-short",), "recipe": SHORT[1]}},
    ),
    Variants(
        "sift-flow-googlenet-16s-short",
        {"pool4": {"fusion": "finest"}, "max": {"fusion": "max"}},
    ),
    # Our recipe; the two it was chosen from; one epoch of it, to change one thing at a time
    Variants(
        "sift-flow-googlenet-8s",
        {
            "tuned": OURS | {"recipe": TUNED, "paper": TABLE_5},
            "trial-sgd": OURS | {"recipe": BRIEF_SGD},
            "trial-adamw": OURS | {"recipe": BRIEF},
            "brief": OURS | {"recipe": BRIEF},
        },
    ),
    Variants("sift-flow-googlenet-16s", {"brief": OURS | {"recipe": BRIEF}}),
    Variants("sift-flow-googlenet-32s", {"brief": OURS | {"recipe": BRIEF}}),
    Variants(
        "sift-flow-googlenet-8s-brief",
        {
            "semantic": {"task": "semantic"},
            "geometric": {"task": "geometric"},
            "fixed": {"fixed_trunk": True},
            "balanced": {"balance": True},
            "mirror": {"augment": "mirror"},
            "jitter": {"augment": "mirror+jitter"},
            "learned": {"upsampling": "learned"},
            "random": {"random_scores": True},
            "max": {"fusion": "max"},
        },
    ),
    # Figure 5: the same number of steps with all, half and a quarter of the cells in the loss, and,
    # as a control, all cells of batches as large as the quarter's
    Variants(
        "sift-flow-googlenet-32s",
        {
            "keep100": SAMPLED,
            "keep50": SAMPLED | {"epochs": 1.0, "batch_size": 16, "keep": 0.5},
            "keep25": SAMPLED | {"epochs": 2.0, "batch_size": 32, "keep": 0.25},
            "keep100-batch32": SAMPLED | {"epochs": 2.0, "batch_size": 32},
        },
    ),
    # PASCAL-Context: Table 6
    Stages("pascal-context-59", "vgg16", "", VGG16_SINGLE, TABLE_6, {}),
    Stages("pascal-context-59", "vgg16", "-heavy", CONTEXT_HEAVY, TABLE_6, RELEASE),
    Stages("pascal-context-33", "vgg16", "", VGG16_SINGLE, TABLE_6, {}),
    # Needs no data
    Experiment(
        name="scenes-googlenet-8s-demo",
        dataset="scenes",
        net="googlenet",
        stride=8,
        recipe=DEMO,
        width=0.25,
        **INTERPOLATE,
    ),
)


def _experiments() -> dict[str, Experiment]:
    found: dict[str, Experiment] = {}
    for row in ROWS:
        if isinstance(row, Experiment):
            found[row.name] = row
        else:
            new = row.of(found[row.base]) if isinstance(row, Variants) else row.experiments()
            found |= {experiment.name: experiment for experiment in new}
    return {
        name: replace(e, deviations=DEVIATIONS.get((e.dataset, e.net), ()) + e.deviations)
        for name, e in found.items()
    }


EXPERIMENTS = _experiments()

BY_WORTH = (
    # Table 5 by the paper's recipe, 175 epochs per stage
    "sift-flow-googlenet-32s",
    "sift-flow-googlenet-16s",
    "sift-flow-googlenet-8s",
    "sift-flow-googlenet-8s-at-once",
    # One task instead of two
    "sift-flow-googlenet-32s-semantic",
    "sift-flow-googlenet-32s-geometric",
    # The authors' heavy recipe
    "sift-flow-googlenet-32s-heavy",
    "sift-flow-googlenet-16s-heavy",
    "sift-flow-googlenet-8s-heavy",
    # One change at a time
    "sift-flow-googlenet-8s-at-once-bilinear",
    "sift-flow-googlenet-32s-sampled50",
    "sift-flow-googlenet-32s-sampled25",
)
"""The runs for a GPU in order of worth: what comes last is given up first when time is short."""


def find(name: str) -> Experiment:
    """The experiment ``name``. Raises ValueError, with the closest names, if there is none."""
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=3) or list(EXPERIMENTS)[:3]
        raise ValueError(
            f'unknown experiment "{name}": did you mean {" or ".join(near)}? "fcn list" names all'
        )
    return EXPERIMENTS[name]
