"""The catalogue: the runs that replicate the paper's rows, and those that take one thing at a time apart, as data.

Names are ``<data>-<net>-<stride>[-variant]``. ``fcn.replication.paper`` holds what others published, row by row.
"""

import difflib
from dataclasses import replace

from fcn.replication.experiment import Experiment
from fcn.training.recipe import HEAVY, TUNED, Recipe

# The paper's recipe: the rates of section 4.3 for FCN-32s; "its learning rate is decreased by 100" for each finer net
# (section 4.2). Photos of many sizes are scored one at a time.
RATES = {"alexnet": 1e-3, "bvlc_alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}


def paper_recipe(net: str, stride: int, micro_batch: int = 0) -> Recipe:
    return Recipe(learning_rate=RATES[net] * {32: 1, 16: 1e-2, 8: 1e-4}[stride], micro_batch=micro_batch)


def in_stages(
    name: str, dataset: str, net: str, table: str, rows: dict[int, str], deviations: tuple[str, ...] = (),
    micro_batch: int = 0,
) -> list[Experiment]:  # fmt: skip
    """FCN-32s and the finer nets that go on from it, by the paper's recipe; ``rows`` by their stride."""
    return [
        Experiment(
            name.format(stride=f"{s}s"), dataset, net, s, paper_recipe(net, s, micro_batch), (table, row),
            start=(name.format(stride=f"{2 * s}s"),) if s < 32 else (), deviations=deviations,
        )
        for s, row in rows.items()
    ]  # fmt: skip


ALL_STRIDES = {s: f"FCN-{s}s" for s in (32, 16, 8)}


RELEASED = "the recipe and the net of the authors' release, not the paper's"


def heavily(
    name: str, dataset: str, rates: dict[int, float], images: int, table: str, rows: dict[int, str],
    iterations: int = 100_000,
) -> list[Experiment]:  # fmt: skip
    """FCN-32s and finer VGG16 nets by the heavy recipe, with fixed upsampling and padding as in the release."""
    return [
        Experiment(
            name.format(stride=f"{s}s"), dataset, "vgg16", s,
            replace(HEAVY, learning_rate=rate, epochs=iterations / images), (table, rows[s]),
            start=(name.format(stride=f"{2 * s}s"),) if s < 32 else (),
            upsampling="bilinear", alignment="reference", deviations=(RELEASED,),
        )
        for s, rate in rates.items()
    ]  # fmt: skip


# PASCAL VOC: Tables 1 to 3, what sections 4.2 and 4.3 say in words, and what moved other people's results


def _voc() -> list[Experiment]:
    by_net = [
        Experiment(f"voc2011-{net}-32s", "voc2011", net, 32, paper_recipe(net, 32, 1), ("Table 1", label))
        for net, label in (("alexnet", "FCN-AlexNet"), ("vgg16", "FCN-VGG16"), ("googlenet", "FCN-GoogLeNet"))
    ]
    staged = in_stages("voc-vgg16-{stride}", "voc", "vgg16", "Table 2", ALL_STRIDES, micro_batch=1)
    coarse, middle, fine = staged
    heavy = heavily("voc-vgg16-{stride}-heavy", "voc", {32: 1e-10, 16: 1e-12, 8: 1e-14}, 8498, "Table 2", ALL_STRIDES)
    released = heavy[0]
    at_once = {"start": (), "scaled_skips": True, "paper": None}
    return [
        *by_net,
        replace(coarse, name="voc-vgg16-32s-fixed", paper=("Table 2", "FCN-32s-fixed"),
                recipe=replace(coarse.recipe, fixed_trunk=True)),
        *staged,
        coarse.but("lower-rate", "no skip, only the rate of FCN-16s", start=(coarse.name,), paper=None,
                   recipe={"learning_rate": middle.recipe.learning_rate}),
        middle.but("pool4", "the scores of pool4 alone", fusion="finest", paper=None),
        middle.but("max", "the maximum of the skips in place of their sum", fusion="max", paper=None),
        fine.but("at-once", "trained at once, with scaled skips", **at_once, recipe={"learning_rate": 1e-4}),
        coarse.but("balanced", "rare classes weighted up", paper=None, recipe={"balance": True}),
        coarse.but("jitter", "mirrored and shifted by up to 32 pixels", paper=None,
                   recipe={"augment": "mirror+jitter"}),
        coarse.but("random-scores", "score layers start at random", random_scores=True, paper=None),
        middle.but("bilinear", "intermediate upsampling fixed", upsampling="bilinear", paper=None),
        *(coarse.but(f"keep{round(100 * keep)}", f"{keep:.0%} of the output cells in the loss, larger batches",
                     paper=None, recipe={"keep": keep, "batch_size": round(20 / keep)})
          for keep in (0.5, 0.25)),
        *heavy,
        heavy[2].but("at-once", **at_once, recipe={"learning_rate": 1e-10, "epochs": 300_000 / 8498}),
        Experiment("voc-alexnet-32s-release", "voc", "alexnet", 32,
                   Recipe(learning_rate=1e-4, epochs=20 * 100_000 / 8498, optimizer="caffe", micro_batch=1,
                          replacement=True),
                   ("Table 1", "FCN-AlexNet"), upsampling="bilinear", alignment="reference",
                   deviations=(RELEASED, "all biases at twice the rate and without decay, there only the scores'")),
        released.but("torchvision", "torchvision's ImageNet weights", weights="vgg16-397923af.pth", paper=None),
        released.but("mean-loss", "a mean over pixels, at 200 000 times the rate", paper=None,
                     recipe={"reduction": "mean", "learning_rate": 2e-5}),
        released.but("momentum", "momentum 0.9 at ten times the rate", paper=None,
                     recipe={"momentum": 0.9, "learning_rate": 1e-9}),
        released.but("batch", "20 images a batch, as many images in all", paper=None,
                     recipe={"batch_size": 20, "micro_batch": 1}),
        released.but("channel-dropout", "whole channels dropped", paper=None, recipe={"dropout": "channel"}),
        released.but("no-replacement", "every image once an epoch", paper=None, recipe={"replacement": False}),
        replace(released, name="voc-2011-labels-vgg16-32s-heavy", dataset="voc-2011-labels", paper=None,
                deviations=(RELEASED, "scored on the label maps of VOC 2011, not 2012")),
    ]  # fmt: skip


# NYUDv2: Table 4


def _nyud() -> list[Experiment]:
    single = {
        inputs: Experiment(f"nyud-vgg16-32s-{inputs.lower()}", f"nyud-{inputs.lower()}", "vgg16", 32,
                           paper_recipe("vgg16", 32), ("Table 4", f"FCN-32s {inputs}"))
        for inputs in ("RGB", "RGBD", "HHA")
    }  # fmt: skip
    late = replace(
        single["RGB"], name="nyud-vgg16-32s-rgb-hha", dataset="nyud-rgb-hha", paper=("Table 4", "FCN-32s RGB-HHA"),
        start=(single["RGB"].name, single["HHA"].name),
    )  # fmt: skip
    fine = replace(
        late, name="nyud-vgg16-16s-rgb-hha", stride=16, start=(late.name,), paper=("Table 4", "FCN-16s RGB-HHA"),
        recipe=paper_recipe("vgg16", 16),
    )  # fmt: skip
    return [*single.values(), late, fine]


# What is at hand of AlexNet's weights
_CONV1_5 = (
    "BVLC's AlexNet (normalisation before pooling), its conv1 to conv5 quantised to 1/256",
    "fc6 and fc7 start at random: their weights are not at hand",
)

# SIFT Flow: Table 5, on the paper's trunk and on a small one, and the runs that a small machine can make

_SMALL_TRUNK = "GoogLeNet's trunk (6 million parameters) in place of VGG16's (134 million)"
_GEOMETRY = "geometric labels derived from the semantic ones, where the official ones are not at hand"
_TWO_VOID = "2486 of the 2488 training images, as in the authors' release: the other two carry no labels"
_SIFT_FLOW = (_SMALL_TRUNK, _GEOMETRY, _TWO_VOID)
_FIXED = "upsampling fixed to bilinear, not learned"


def _other_stride(stride: int) -> tuple[str, ...]:
    """The deviation of a net that stands beside Table 5's only FCN, which is FCN-16s."""
    return () if stride == 16 else (f"FCN-{stride}s in place of FCN-16s",)


# What fits a small machine: the paper's recipe with a rate two hundred times as large and a fraction of its epochs.
_SHORT = Recipe(learning_rate=1e-2, epochs=4, precision="bf16-mixed")


def _short(stride: int, rate: float, epochs: int) -> Experiment:
    paper = paper_recipe("googlenet", stride)
    return Experiment(
        f"sift-flow-googlenet-{stride}s-short", "sift-flow", "googlenet", stride,
        replace(_SHORT, learning_rate=rate, epochs=epochs), ("Table 5", "FCN-16s"),
        start=(f"sift-flow-googlenet-{2 * stride}s-short",) if stride < 32 else (),
        upsampling="interpolate",
        deviations=(
            *_SIFT_FLOW,
            *_other_stride(stride),
            f"{epochs} epochs at a fixed rate of {rate:g} in place of at least 175 at {paper.learning_rate:g}",
            "intermediate upsampling fixed to bilinear, not learned, as in the authors' release",
            "convolutions in bfloat16",
        ),
    )  # fmt: skip


# What the recipe was chosen between: one epoch each, on the training images without the validation part.
_TRIALS = {
    "sgd": Recipe(learning_rate=5e-3, epochs=1, batch_size=8, schedule="poly", precision="bf16-mixed"),
    "adamw": replace(TUNED, epochs=1, augment="none"),
}


def _sift_flow() -> list[Experiment]:
    rows = dict.fromkeys((32, 16, 8), "FCN-16s")
    coarse, middle, fine = _short(32, 1e-2, 4), _short(16, 5e-3, 2), _short(8, 5e-3, 2)
    vgg16 = in_stages("sift-flow-vgg16-{stride}", "sift-flow", "vgg16", "Table 5", rows, (_GEOMETRY, _TWO_VOID))
    return [
        *vgg16,
        *(vgg16[1].but(task, f"trained for the {task} task alone", task=task, paper=None,
                       start=(f"{vgg16[0].name}-{task}",)) for task in ("semantic", "geometric")),
        *(vgg16[0].but(task, f"trained for the {task} task alone", task=task, paper=None)
          for task in ("semantic", "geometric")),
        *heavily("sift-flow-vgg16-{stride}-heavy", "sift-flow", {32: 1e-10, 16: 1e-12, 8: 1e-12}, 2486, "Table 5",
                 rows),
        *_long(rows),
        coarse, middle, fine,
        # What the step from FCN-32s to FCN-16s owes to the skip: the same two epochs without it, or with it alone.
        coarse.but("lower-rate", "2 more epochs at 0.005 without a skip", start=(coarse.name,), paper=None,
                   recipe={"learning_rate": 5e-3, "epochs": 2}),
        middle.but("pool4", "the scores of the skip alone", fusion="finest", paper=None),
        middle.but("max", "the maximum of the skips in place of their sum", fusion="max", paper=None),
        Experiment(
            "sift-flow-googlenet-8s-tuned", "sift-flow", "googlenet", 8, TUNED, ("Table 5", "FCN-16s"),
            upsampling="interpolate",
            deviations=(
                *_SIFT_FLOW,
                *_other_stride(8),
                "trained at once, not in stages",
                "AdamW (rate 2e-4, decay 0.02, gradient clipped to norm 1) in place of SGD with momentum 0.9",
                "batches of 8 in place of 20",
                "9 epochs with a rate that decays to zero in place of at least 175 at a fixed one",
                "score layers at five times the trunk's rate, biases at the same rate as weights",
                "mirrored photos",
                "upsampling fixed to bilinear, not learned",
                "convolutions in bfloat16",
            ),
        ),
        *(
            Experiment(f"sift-flow-googlenet-8s-trial-{name}", "sift-flow", "googlenet", 8, recipe, None,
                       upsampling="interpolate", deviations=(*_SIFT_FLOW, "one epoch, to choose a recipe by"))
            for name, recipe in _TRIALS.items()
        ),
        *_one_change(),
        # Figure 5: the same number of steps with all cells in the loss, half of them, and a quarter; and, as a control,
        # all cells in batches as large as the quarter's.
        *(
            Experiment(
                f"sift-flow-googlenet-32s-keep{round(100 * keep)}{control}", "sift-flow", "googlenet", 32,
                Recipe(learning_rate=1e-2, epochs=batch / 16, batch_size=batch, keep=keep, precision="bf16-mixed"),
                None, upsampling="interpolate",
                deviations=(*_SIFT_FLOW, "155 steps at a rate of 0.01, to compare losses by",
                            f"batches of {batch} in place of 20", _FIXED, "convolutions in bfloat16"),
            )
            for keep, batch, control in ((1.0, 8, ""), (0.5, 16, ""), (0.25, 32, ""), (1.0, 32, "-batch32"))
        ),
    ]  # fmt: skip


def _long(rows: dict[int, str]) -> list[Experiment]:
    """The paper's recipe at its full length on the small trunk, and what stands beside it: hours on a CPU, minutes on a
    GPU (``python -m fcn.gpu plan``)."""
    staged = in_stages("sift-flow-googlenet-{stride}", "sift-flow", "googlenet", "Table 5", rows, _SIFT_FLOW)
    coarse, _, fine = staged
    at_once = fine.but(
        "at-once",
        "trained at once, with scaled skips",
        start=(),
        scaled_skips=True,
        paper=None,
        recipe={"learning_rate": RATES["googlenet"]},
    )
    return [
        *staged,
        at_once,
        at_once.but("bilinear", "intermediate upsampling fixed", upsampling="bilinear"),
        *(coarse.but(task, f"trained for the {task} task alone", task=task, paper=None)
          for task in ("semantic", "geometric")),
        *(coarse.but(f"sampled{round(100 * keep)}", f"{keep:.0%} of the output cells in the loss, larger batches",
                     paper=None, recipe={"keep": keep, "batch_size": round(20 / keep)})
          for keep in (0.5, 0.25)),
        # The authors' recipe without their padding, so that nothing but the recipe differs.
        *(
            replace(
                net, name=f"{net.name}-heavy", paper=None, upsampling="bilinear",
                start=tuple(f"{start}-heavy" for start in net.start),
                recipe=replace(HEAVY, learning_rate=rate, epochs=100_000 / 2486),
                deviations=(*_SIFT_FLOW, "the heavy recipe of the authors' release: 100000 steps at VGG16's rates"),
            )
            for net, rate in zip(staged, (1e-10, 1e-12, 1e-12), strict=True)
        ),
        Experiment(
            "sift-flow-googlenet-8s-best", "sift-flow", "googlenet", 8,
            replace(TUNED, epochs=90, augment="mirror+scale", average=0.999), None,
            upsampling="interpolate",
            deviations=(
                *_SIFT_FLOW,
                *_other_stride(8),
                "trained at once, not in stages",
                "AdamW (rate 2e-4, decay 0.02, gradient clipped to norm 1) in place of SGD with momentum 0.9",
                "batches of 8 in place of 20",
                "90 epochs with a rate that decays to zero in place of at least 175 at a fixed one",
                "score layers at five times the trunk's rate, biases at the same rate as weights",
                "photos mirrored and scaled by 0.5 to 2",
                "a running mean of the weights (decay 0.999: some three epochs) in place of the last ones",
                "upsampling fixed to bilinear, not learned",
                "convolutions in bfloat16",
            ),
        ),
        Experiment(
            "sift-flow-bvlc_alexnet-32s", "sift-flow", "bvlc_alexnet", 32, paper_recipe("bvlc_alexnet", 32),
            None, weights="bvlc_alexnet_conv1-5.caffemodel",
            deviations=(*_CONV1_5, _GEOMETRY, _TWO_VOID, *_other_stride(32)),
        ),
    ]  # fmt: skip


def _one_change() -> list[Experiment]:
    """One epoch by our own recipe, and the same with one thing changed: what sections 4.2 and 4.3 say in words."""
    brief = Experiment(
        "sift-flow-googlenet-8s-brief", "sift-flow", "googlenet", 8, replace(TUNED, epochs=1, augment="none"), None,
        upsampling="interpolate",
        deviations=(*_SIFT_FLOW, "one epoch of AdamW, all strides at once, to compare runs by",
                    "batches of 8 in place of 20", _FIXED, "convolutions in bfloat16"),
    )  # fmt: skip
    return [
        brief,
        *(replace(brief, name=f"sift-flow-googlenet-{stride}s-brief", stride=stride) for stride in (16, 32)),
        *(brief.but(task, f"trained for the {task} task alone", task=task) for task in ("semantic", "geometric")),
        brief.but("fixed", "only the score layers learn", recipe={"fixed_trunk": True}),
        brief.but("balanced", "rare classes weighted up", recipe={"balance": True}),
        brief.but("mirror", "mirrored photos", recipe={"augment": "mirror"}),
        brief.but("jitter", "photos mirrored and shifted by up to 32 pixels", recipe={"augment": "mirror+jitter"}),
        replace(
            brief.but("learned", upsampling="learned"),
            deviations=tuple(line for line in brief.deviations if line != _FIXED),
        ),
        brief.but("random", "score layers start at random", random_scores=True),
        brief.but("max", "the maximum of the skips in place of their sum", fusion="max"),
    ]


# The photos of VOC at hand, named as the subset they are

_SUBSET = "437 photos of VOC 2012 train to learn from and 445 of val to score, of six classes: not the benchmark"


def _voc_subset() -> list[Experiment]:
    recipe = replace(TUNED, epochs=5, micro_batch=1)
    recipe_lines = ("batches of 8 in place of 20", _FIXED, "convolutions in bfloat16")
    deviations = (_SUBSET, "AdamW, 5 epochs, mirrored photos", *recipe_lines)
    coarse = Experiment("voc-subset-googlenet-32s", "voc-subset", "googlenet", 32, recipe, None,
                        upsampling="interpolate", deviations=(_SMALL_TRUNK, *deviations))  # fmt: skip
    middle = replace(
        coarse, name="voc-subset-googlenet-16s", stride=16, start=(coarse.name,),
        recipe=replace(recipe, epochs=2, learning_rate=1e-4),
        deviations=(_SMALL_TRUNK, _SUBSET, "AdamW, 2 more epochs at half the rate, mirrored photos", *recipe_lines),
    )  # fmt: skip
    return [
        coarse,
        middle,
        replace(middle, name="voc-subset-googlenet-8s", stride=8, start=(middle.name,)),
        replace(coarse, name="voc-subset-bvlc_alexnet-32s", net="bvlc_alexnet",
                weights="bvlc_alexnet_conv1-5.caffemodel",
                deviations=(*_CONV1_5, *deviations)),
        *(
            replace(net, paper=None)
            for net in in_stages("voc-subset-googlenet-{stride}-long", "voc-subset", "googlenet", "", ALL_STRIDES,
                                 (_SMALL_TRUNK, _SUBSET, "batches of 20 photos padded to the largest of them"))
        ),
    ]  # fmt: skip


# PASCAL-Context: Table 6


def _pascal_context() -> list[Experiment]:
    rates = {32: 1e-10, 16: 1e-12, 8: 1e-14}
    return [
        experiment
        for classes in (59, 33)
        for name, data in [(f"pascal-context-{classes}-vgg16-{{stride}}", f"pascal-context-{classes}")]
        for experiment in (
            *in_stages(name, data, "vgg16", "Table 6", ALL_STRIDES, micro_batch=1),
            *(heavily(f"{name}-heavy", data, rates, 4998, "Table 6", ALL_STRIDES) if classes == 59 else ()),
        )
    ]


_DEMO = Experiment(
    "scenes-googlenet-8s-demo", "scenes", "googlenet", 8,
    Recipe(learning_rate=1e-3, epochs=4, batch_size=8, optimizer="adamw", clip=1.0), None,
    upsampling="interpolate", width=0.25, deviations=("procedural scenes in place of photos",),
)  # fmt: skip

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e for e in (*_voc(), *_voc_subset(), *_nyud(), *_sift_flow(), *_pascal_context(), _DEMO)
}


def find(name: str) -> Experiment:
    """The experiment called ``name``. Raises ValueError, with the nearest names, where there is none."""
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=3) or list(EXPERIMENTS)[:3]
        raise ValueError(f'unknown experiment "{name}": did you mean {" or ".join(near)}? "fcn list" names all')
    return EXPERIMENTS[name]
