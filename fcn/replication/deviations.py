"""Deviations from the paper: what kind each is of, why it was made, and what it may change.

Records say in one line each how a run departs from the paper. Here every such line finds its kind, so that the book can
group them; a test sees to it that no line of the catalogue or of a record goes without its reason.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from fcn.models import FCN
from fcn.preprocessing import MEAN_BGR
from fcn.pretrained import PRETRAINED
from fcn.replication.catalogue import EXPERIMENTS, RATES, paper_recipe
from fcn.training.recipe import Recipe
from fcn.training.record import Record


@dataclass(frozen=True)
class Kind:
    """A kind of deviation: the lines that belong to it (a regular expression), why, and what they may change."""

    name: str
    lines: str
    why: str
    effect: str


KINDS = (
    Kind(
        "trunk", r"GoogLeNet's trunk|AlexNet's trunk|BVLC's AlexNet|fc6 and fc7 start|torchvision's ImageNet",
        "the paper's classifiers were not at hand with all their weights; and a small net is what two cores can train",
        "either way: in Table 1 GoogLeNet is far below VGG16, on other data and by another recipe",
    ),
    Kind(
        "data", r"437 photos|procedural scenes",
        "the whole of PASCAL VOC was not at hand",
        "everything: such a score stands beside no published one",
    ),
    Kind(
        "images", r"photos saved again|photos re-compressed|2486 of the 2488|photos of a batch padded",
        "the photos reached us so; two of them have no labels, in the authors' release neither",
        "little, one expects; not measured",
    ),
    Kind(
        "labels", r"geometric labels derived|label maps of VOC 2011",
        "the official geometric labels were not at hand",
        "geometric accuracy by as much as the two sets of labels differ: not measured",
    ),
    Kind(
        "net", r"FCN-\d+s in place|scores of the skip alone|scores of pool4 alone|maximum of the skips|scaled skips"
               r"|upsampling (fixed|learned)|score layers start at random",
        "finer nets are part of the method, and SIFT Flow's table shows one stride alone; other changes are the "
        "question that the run asks; fixed upsampling as in the authors' release",
        "what the one-change runs measure, where they are recorded",
    ),
    Kind(
        "recipe", r"epoch|AdamW|in stages|batches of|five times the trunk|\d+ steps|lower rate|only the rate"
                  r"|only the score layers learn|over pixels|times the rate|images a batch|channels dropped"
                  r"|every image once|running mean of the weights|all biases",
        "at least 175 epochs took days on the paper's GPU; most of these runs were made on a CPU in minutes or hours",
        "lower where training stopped early; higher where a rate that decays and an adaptive optimiser learn faster",
    ),
    Kind(
        "the release's recipe", r"recipe (and the net )?of the authors' release",
        "the released nets are better than the paper's, and others compare with them",
        "compare with the release's rows, not with the paper's",
    ),
    Kind(
        "loss", r"rare classes weighted|output cells in the loss|for the \w+ task alone",
        "the question that the run asks (sections 3.4, 4.3 and 5)",
        "what the one-change runs measure, where they are recorded",
    ),
    Kind(
        "augmentation", r"mirrored",
        "it costs nothing, and a short training may gain by it; the paper saw no noticeable gain",
        "what the one-change runs measure, where they are recorded",
    ),
    Kind(
        "precision", r"bfloat16",
        "it halves what the convolutions of a training step have to move",
        "little, one expects; not measured",
    ),
)  # fmt: skip


OTHER = Kind("other", "", "as its line says", "not measured")
"""The kind of a line that none of ``KINDS`` knows, as a run may be given on the command line."""


_PAPER: dict[str, object] = {**asdict(Recipe(1.0)), "upsampling": "learned"}


def kind_of(line: str) -> Kind:
    """The kind of a deviation: the first of ``KINDS`` that knows the line, or ``OTHER``."""
    return next((kind for kind in KINDS if re.search(kind.lines, line)), OTHER)


def kinds(lines: Iterable[str]) -> list[str]:
    """The names of the kinds that the deviations are of, in the order of ``KINDS``."""
    found = {kind_of(line).name for line in lines}
    return [kind.name for kind in (*KINDS, OTHER) if kind.name in found]


def by_kind(records: Sequence[Record]) -> dict[Kind, dict[str, list[str]]]:
    """Every deviation of the records: for each kind, its lines, each with the runs that have it, both in order."""
    found: dict[Kind, dict[str, list[str]]] = {kind: {} for kind in (*KINDS, OTHER)}
    order = list(EXPERIMENTS)
    for record in sorted(records, key=lambda r: order.index(r.experiment) if r.experiment in order else len(order)):
        for line in record.deviations:
            runs = found[kind_of(line)].setdefault(line, [])
            if record.experiment not in runs:
                runs.append(record.experiment)
    return {kind: lines for kind, lines in found.items() if lines}


def standing() -> pd.DataFrame:
    """What every net of this package does otherwise than the authors', unless it is told to: theirs, ours, and the
    switch to theirs. What is ours is read from the code."""
    defaults = {name: p.default for name, p in inspect.signature(FCN.__init__).parameters.items()}
    mean = ", ".join(f"{value:.1f}" for value in MEAN_BGR)
    rows = {
        "border": ("100 pixels of padding, then crops (release)", f'alignment="{defaults["alignment"]}"',
                   'alignment="reference"'),
        "upsampling": ("intermediate layers learned (paper), all fixed (release)",
                       f'upsampling="{defaults["upsampling"]}"', 'upsampling="learned"'),
        "GoogLeNet's weights": ("the authors' own, never released", PRETRAINED["googlenet"], "none"),
        "AlexNet's weights": ("CaffeNet", PRETRAINED["alexnet"] + ", or what is at hand of BVLC's AlexNet",
                              'net="alexnet"'),
        "mean of the pixels": ("of each data set (release)", f"ImageNet's, BGR {mean}, for all of them",
                               "nets read from the release's files keep theirs"),
        "stored weights": ("32 bits", "16 bits: the net that is scored is the one that is kept", "none"),
        "classes absent from the test images": ("counted by the release's script, not by the paper",
                                                "not counted", "none"),
        "photos of a batch": ("20 at once, or single ones (release)", "20 at once, or one by one with their gradients "
                              "added up", "micro_batch"),
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=["the authors", "here", "the switch"])


def settings(records: Sequence[Record]) -> pd.DataFrame:
    """Settings in which the recipes of the records differ from the paper's: setting by setting, its value in the
    paper and every other that was used, with the number of experiments that used it.

    The paper's are the defaults of ``fcn.recipe.Recipe``, with the rate of section 4.3 for the net, divided by 100
    for each finer stride, and intermediate upsampling that is learned.
    """
    used: dict[str, dict[str, set[str]]] = {}
    for record in records:
        experiment = EXPERIMENTS.get(record.experiment)
        net, stride = (experiment.net, experiment.stride) if experiment else ("vgg16", 32)
        paper = {**_PAPER, "learning_rate": paper_recipe(net, stride).learning_rate}
        here = record.recipe | ({"upsampling": experiment.upsampling} if experiment else {})
        for key, value in here.items():
            if _shown(value) != _shown(paper.get(key)):
                used.setdefault(key, {}).setdefault(_shown(value), set()).add(record.experiment)
    rates = ", ".join(f"{rate:g} ({net})" for net, rate in RATES.items() if not net.startswith("bvlc"))
    rows = {
        key: {
            "the paper": rates if key == "learning_rate" else _shown(_PAPER.get(key)),
            "here": ", ".join(f"{value} ({len(names)})" for value, names in values.items()),
        }
        for key, values in used.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["the paper", "here"])


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
