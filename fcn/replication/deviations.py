"""Deviations from the paper: those written down, and those that the settings of a run imply."""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from fcn.replication.catalogue import EXPERIMENTS, RATES, STRIDES, paper_recipe
from fcn.replication.experiment import Experiment
from fcn.training.recipe import HEAVY
from fcn.training.record import Deviation, Record

if TYPE_CHECKING:
    import pandas as pd


class Kind(NamedTuple):
    """The reason for a kind of deviation and what it may change."""

    why: str
    effect: str


_ABLATION = "measured by the runs that change one thing, where they exist"
KINDS = {
    "backbone": Kind(
        "not all weights of the paper's classifiers are available, and two cores train a small net",
        "either way: in Table 1 GoogLeNet is far below VGG16, on other data and by another recipe",
    ),
    "data": Kind(
        "the whole of PASCAL VOC is not available",
        "everything: such a score cannot be compared with a published one",
    ),
    "images": Kind(
        "the photos are available only in this form; two have no labels, as in the release",
        "probably little; not measured",
    ),
    "labels": Kind(
        "the official geometric labels are not available",
        "geometric accuracy, by as much as the two sets of labels differ; not measured",
    ),
    "net": Kind(
        "finer nets are part of the method, and SIFT Flow's table has one stride only; other "
        "changes are the question that the run asks; fixed upsampling as in the authors' release",
        _ABLATION,
    ),
    "recipe": Kind(
        "at least 175 epochs took days on the paper's GPU; most runs took minutes or hours on a "
        "CPU",
        "lower where training stopped early; higher where a decaying learning rate and an adaptive "
        "optimizer learn faster",
    ),
    "release": Kind(
        "the released nets are better than the paper's, and others compare with them",
        "compare with the rows of the release, not with the paper's",
    ),
    "loss": Kind("the question that the run asks (sections 3.4, 4.3 and 5)", _ABLATION),
    "augmentation": Kind(
        "it is free, and a short training may gain from it; the paper saw no noticeable gain",
        _ABLATION,
    ),
    "precision": Kind(
        "it halves the memory traffic of the convolutions in a training step",
        "probably little; not measured",
    ),
    "other": Kind("as stated", "not measured"),
}
"""Every kind of :class:`~fcn.training.record.Deviation`, in the order of the tables."""

RECIPE = {
    "learning_rate": ("recipe", "learning rate {here:g} instead of {paper:g}"),
    "epochs": ("recipe", "{here:g} of at least {paper:g} epochs"),
    "batch_size": ("recipe", "batch size {here} instead of {paper}"),
    "optimizer": ("recipe", "AdamW instead of SGD"),
    "momentum": ("recipe", "momentum {here:g} instead of {paper:g}"),
    "weight_decay": ("recipe", "weight decay {here:g} instead of {paper:g}"),
    "bias_rate": ("recipe", "learning rate of biases times {here:g} instead of {paper:g}"),
    "score_rate": ("recipe", "learning rate of score layers times {here:g}"),
    "fixed_trunk": ("recipe", "only the score layers learn"),
    "schedule": ("recipe", "learning rate decayed to zero instead of fixed"),
    "warmup": ("recipe", "learning rate warmed up for {here:g} epochs"),
    "clip": ("recipe", "gradient clipped to norm {here:g}"),
    "ema": ("recipe", "EMA of the weights with decay {here:g} instead of the last weights"),
    "replacement": ("recipe", "images drawn with replacement"),
    "reduction": ("loss", "loss summed over pixels instead of averaged"),
    "balance": ("loss", "rare classes weighted up"),
    "keep": ("loss", "{here:.0%} of the output cells in the loss"),
    "augment": ("augmentation", "{here}"),
    "precision": ("precision", "convolutions in bfloat16"),
}
NET = {
    "alignment": ("release", "100 pixels of padding, then crops, as in the authors' release"),
    "width": ("net", "channels scaled by {here:g}"),
    "fusion": ("net", "{here}"),
    "scaled_skips": ("net", "skips scaled by constants, as in the authors' release"),
    "random_scores": ("net", "score layers initialized at random instead of at zero"),
    "task": ("loss", "trained for the {here} task only"),
}
"""Kind and text of a deviation by setting, with its value ``here`` and in the ``paper``."""

WORDS = {
    "mirror": "mirrored photos",
    "mirror+jitter": "photos mirrored and shifted by up to 32 pixels",
    "max": "maximum of the skips instead of their sum",
    "finest": "scores of the finest skip only",
}


Settings = dict[str, Any]


def derived(net: Settings, recipe: Settings, row: str = "", staged: bool = True) -> list[Deviation]:
    """The deviations that settings imply: the entries ``net`` and ``recipe`` of a record.

    ``row`` is the label of the row of the paper that the run replicates; ``staged`` is True if it
    starts from a coarser FCN. A recipe that follows the authors' heavy one is compared with that.
    """
    name, stride = net["net"], net["stride"]
    paper = Experiment("", "", name, stride, paper_recipe(name, stride))
    baseline = asdict(paper.recipe) | {"fixed_trunk": row.endswith("-fixed")}
    found = []
    if all(recipe[key] == getattr(HEAVY, key) for key in ("batch_size", "momentum", "reduction")):
        baseline = asdict(HEAVY) | {key: recipe[key] for key in ("learning_rate", "epochs")}
        rate = f"{recipe['learning_rate']:g}"
        found.append(Deviation("release", f"the authors' heavy recipe, learning rate {rate}"))
    for other in STRIDES:
        if other != stride and f"FCN-{other}s" in row:
            found.append(Deviation("net", f"FCN-{stride}s instead of FCN-{other}s"))
    if stride < 32 and net["upsampling"] != "learned":
        kind = "release" if net["alignment"] == "reference" else "net"
        text = "intermediate upsampling fixed to bilinear instead of learned"
        found.append(Deviation(kind, text))
    if stride < 32 and not staged:
        found.append(Deviation("recipe", "all strides trained at once instead of in stages"))
    if stride == 32 and staged and net["inputs"] == "rgb":
        found.append(Deviation("recipe", "training continued at stride 32, without a skip"))
    found += _differences(NET, net, paper.net_settings)
    return [*found, *_differences(RECIPE, recipe, baseline)]


def deviations_of(run: Record | Experiment) -> list[Deviation]:
    """All deviations of a run, written and derived, in the order of ``KINDS``."""
    if isinstance(run, Experiment):
        row = run.paper[1] if run.paper else ""
        found = derived(run.net_settings, asdict(run.recipe), row, staged=bool(run.start))
    else:
        row = run.paper.row if run.paper else ""
        staged = run.initial_weights is not None and ".seed" in run.initial_weights.name
        found = derived(run.net, run.recipe, row, staged)
    return sorted([*run.deviations, *found], key=lambda one: [*KINDS].index(one.kind))


def _differences(
    texts: dict[str, tuple[Any, str]], here: Settings, paper: Settings
) -> Iterator[Deviation]:
    for setting, (kind, text) in texts.items():
        value = here[setting]
        if _shown(value) == _shown(paper[setting]):
            continue
        if setting == "epochs" and value > paper[setting]:  # the paper: at least
            continue
        if setting == "momentum" and here["optimizer"] == "adamw":
            continue
        yield Deviation(kind, text.format(here=WORDS.get(value, value), paper=paper[setting]))


def kinds(deviations: Iterable[Deviation]) -> list[str]:
    """The kinds of the deviations, each once, in the order of ``KINDS``."""
    found = {deviation.kind for deviation in deviations}
    return [kind for kind in KINDS if kind in found]


def by_kind(records: Sequence[Record]) -> dict[str, dict[str, list[str]]]:
    """All deviations of the records: for each kind, its texts with the experiments that have them.

    Kinds are in the order of ``KINDS``, experiments in that of the catalogue.
    """
    found: dict[str, dict[str, list[str]]] = {kind: {} for kind in KINDS}
    order = {name: i for i, name in enumerate(EXPERIMENTS)}
    for record in sorted(records, key=lambda r: order.get(r.experiment, len(order))):
        for deviation in deviations_of(record):
            names = found[deviation.kind].setdefault(deviation.text, [])
            if record.experiment not in names:
                names.append(record.experiment)
    return {kind: texts for kind, texts in found.items() if texts}


def package_defaults() -> "pd.DataFrame":
    """The deviations of every net of this package: the authors' choice, ours, and the switch.

    Ours is read from the code.
    """
    import pandas as pd

    from fcn.models import FCN
    from fcn.preprocessing import MEAN_BGR
    from fcn.pretrained import PRETRAINED

    default = {name: p.default for name, p in inspect.signature(FCN.__init__).parameters.items()}
    mean = ", ".join(f"{value:.1f}" for value in MEAN_BGR)
    rows = {
        "border": (
            "100 pixels of padding, then crops (release)",
            f'alignment="{default["alignment"]}"',
            'alignment="reference"',
        ),
        "upsampling": (
            "intermediate layers learned (paper), all fixed (release)",
            f'upsampling="{default["upsampling"]}"',
            'upsampling="learned"',
        ),
        "GoogLeNet's weights": (
            "the authors' own, never released",
            PRETRAINED["googlenet"],
            "none",
        ),
        "AlexNet's weights": (
            "CaffeNet",
            PRETRAINED["alexnet"] + ", or what is available of BVLC's AlexNet",
            'net="alexnet"',
        ),
        "mean of the pixels": (
            "of each data set (release)",
            f"ImageNet's, BGR {mean}, for all of them",
            "nets read from the release's files keep theirs",
        ),
        "stored weights": ("32 bits", "16 bits: the saved net is the one that is scored", "none"),
        "classes absent from the test images": (
            "counted by the release's script, not by the paper",
            "not counted",
            "none",
        ),
        "photos of a batch": (
            "20 at once, or single ones (release)",
            "20 at once, or one by one with accumulated gradients",
            "micro_batch",
        ),
    }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["the authors", "here", "the switch"]
    )


def settings(records: Sequence[Record]) -> "pd.DataFrame":
    """The settings in which runs differ from the paper's recipe and upsampling.

    For each, its value in the paper and all others, with the number of experiments that use them.
    """
    import pandas as pd

    used: dict[str, dict[str, set[str]]] = {}
    for record in records:
        net = record.net
        paper = _paper_settings(net["net"], net["stride"])
        for key, value in (record.recipe | {"upsampling": net["upsampling"]}).items():
            if _shown(value) != _shown(paper[key]):
                used.setdefault(key, {}).setdefault(_shown(value), set()).add(record.experiment)
    rates = ", ".join(f"{rate:g} ({net})" for net, rate in RATES.items() if net != "bvlc_alexnet")
    paper = _paper_settings("vgg16", 32)
    rows = {
        key: (
            rates if key == "learning_rate" else _shown(paper[key]),
            ", ".join(f"{value} ({len(names)})" for value, names in values.items()),
        )
        for key, values in used.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["the paper", "here"])


def _paper_settings(net: str, stride: int) -> Settings:
    return asdict(paper_recipe(net, stride)) | {"upsampling": "learned"}


def _shown(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else str(value)
