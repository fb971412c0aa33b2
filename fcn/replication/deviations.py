"""Deviations from the paper: those written down, and those that the settings of a run imply.

``deviations.toml`` has the kinds, and the deviation that each setting makes.
"""

import inspect
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn.replication.catalogue import EXPERIMENTS, RATES, paper_recipe
from fcn.replication.experiment import Experiment
from fcn.training.recipe import HEAVY
from fcn.training.record import Deviation, Record

if TYPE_CHECKING:
    import pandas as pd

Settings = dict[str, Any]

_DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
KINDS: dict[str, dict[str, str]] = _DATA["kinds"]
"""The reason (``why``) and the ``effect`` of each kind of deviation, in the order of the tables."""


def deviations_of(run: Record | Experiment) -> list[Deviation]:
    """All deviations of a run, those written down and those derived, in the order of ``KINDS``."""
    if isinstance(run, Experiment):
        row = run.paper[1] if run.paper else ""
        found = _derived(run.net_settings, asdict(run.recipe), row, bool(run.start))
    else:
        row = run.paper.row if run.paper else ""
        start = run.initial_weights.name if run.initial_weights else ""
        executed = run.recipe | {"precision": run.precision}
        found = _derived(run.net, executed, row, ".seed" in start)
    return sorted([*run.deviations, *found], key=lambda one: [*KINDS].index(one.kind))


def _derived(net: Settings, recipe: Settings, row: str, staged: bool) -> Iterator[Deviation]:
    """Deviations from ``row`` that settings imply; ``staged``: the net starts from another FCN."""
    name, stride = net["net"], net["stride"]
    paper = Experiment("", "", name, stride, paper_recipe(name, stride))
    baseline = asdict(paper.recipe) | {"fixed_trunk": row.endswith("-fixed")}
    if is_heavy(recipe):  # compared with itself
        baseline = asdict(HEAVY) | {key: recipe[key] for key in ("learning_rate", "epochs")}
        rate = f"{recipe['learning_rate']:g}"
        yield Deviation("release", f"the authors' heavy recipe, learning rate {rate}")
    for other in (32, 16, 8):
        if other != stride and f"FCN-{other}s" in row:
            yield Deviation("net", f"FCN-{stride}s instead of FCN-{other}s")
    if stride < 32 and net["upsampling"] != "learned":
        text = "intermediate upsampling fixed to bilinear instead of learned"
        yield Deviation("release" if net["alignment"] == "reference" else "net", text)
    if stride < 32 and not staged:
        yield Deviation("recipe", "all strides trained at once instead of in stages")
    if stride == 32 and staged and net["inputs"] == "rgb":
        yield Deviation("recipe", "training continued at stride 32, without a skip")
    yield from _differences("net", net, paper.net_settings)
    yield from _differences("recipe", recipe, baseline)


def is_heavy(recipe: Settings) -> bool:
    """True if the recipe is the heavy one of the authors' release, at any rate and length."""
    keys = ("batch_size", "momentum", "reduction")
    return all(recipe[key] == getattr(HEAVY, key) for key in keys)


def _differences(part: str, here: Settings, paper: Settings) -> Iterator[Deviation]:
    for setting, rule in _DATA[part].items():
        value = here.get(setting, paper[setting])  # an older record has fewer settings
        same = _same(value, paper[setting])
        longer = setting == "epochs" and value > paper[setting]  # the paper: at least
        unused = setting == "momentum" and here["optimizer"] == "adamw"
        if not (same or longer or unused):
            text = rule["text"].format(here=_DATA["words"].get(value, value), paper=paper[setting])
            yield Deviation(rule["kind"], text)


def kinds(deviations: Iterable[Deviation]) -> list[str]:
    """The kinds of the deviations, each once, in the order of ``KINDS``."""
    found = {deviation.kind for deviation in deviations}
    return [kind for kind in KINDS if kind in found]


def by_kind(records: Sequence[Record]) -> dict[str, dict[str, list[str]]]:
    """Experiments by kind and text of their deviations, ordered by ``KINDS`` and the catalogue."""
    found: dict[str, dict[str, list[str]]] = {kind: {} for kind in KINDS}
    order = {name: i for i, name in enumerate(EXPERIMENTS)}
    for record in sorted(records, key=lambda r: order.get(r.experiment, len(order))):
        for deviation in deviations_of(record):
            names = found[deviation.kind].setdefault(deviation.text, [])
            if record.experiment not in names:
                names.append(record.experiment)
    return {kind: texts for kind, texts in found.items() if texts}


def package_defaults() -> "pd.DataFrame":
    """The deviations of every net: the authors' choice, ours, and the setting that switches."""
    import pandas as pd

    from fcn.models import FCN
    from fcn.preprocessing import MEAN_BGR
    from fcn.pretrained import PRETRAINED

    ours = {name: p.default for name, p in inspect.signature(FCN.__init__).parameters.items()}
    ours |= {"mean": ", ".join(f"{value:.1f}" for value in MEAN_BGR), **PRETRAINED}
    frame = pd.DataFrame.from_dict(_DATA["package"], orient="index")
    frame["here"] = [text.format(**ours) for text in frame["here"]]
    return frame.set_axis(["the authors", "here", "the switch"], axis="columns")


def settings(records: Sequence[Record]) -> "pd.DataFrame":
    """Settings that differ from the paper's: its value and ours, with the number of experiments."""
    import pandas as pd

    used: dict[str, dict[str, set[str]]] = {}
    papers = {}
    for record in records:
        net = record.net
        paper = asdict(paper_recipe(net["net"], net["stride"])) | {"upsampling": "learned"}
        for key, value in (record.recipe | {"upsampling": net["upsampling"]}).items():
            if isinstance(paper[key], float) and isinstance(value, bool):
                value = float(value)  # in records of when a setting was a switch
            if not _same(value, paper[key]):
                used.setdefault(key, {}).setdefault(_shown(value), set()).add(record.experiment)
                papers[key] = _shown(paper[key])
    rates = [f"{rate:g} ({net})" for net, rate in RATES.items() if net != "bvlc_alexnet"]
    papers["learning_rate"] = ", ".join(rates)
    rows = {}
    for key, values in used.items():
        here = ", ".join(f"{value} ({len(names)})" for value, names in values.items())
        rows[key] = (papers[key], here)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["the paper", "here"])


def _same(one: object, other: object) -> bool:
    return one == other or _shown(one) == _shown(other)


def _shown(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else str(value)
