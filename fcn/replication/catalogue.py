"""The experiments that replicate the paper's rows or change one thing (``catalogue.toml``)."""

import difflib
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcn.environment import machine_fault
from fcn.replication.experiment import Experiment
from fcn.training.recipe import HEAVY, TUNED, Recipe
from fcn.training.record import Deviation

RATES = {"alexnet": 1e-3, "bvlc_alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}
"""Learning rates of FCN-32s by net (section 4.3)."""
IMAGES = {
    "voc": 8498,
    "voc2011": 1112,
    "voc-subset": 437,
    "sift-flow": 2486,
    "scenes": 800,
    "nyud": 795,
    "pascal-context": 4998,
}
"""Training images by the beginning of a data set's name."""


def paper_recipe(net: str, stride: int) -> Recipe:
    """The paper's recipe; the learning rate is divided by 100 for each finer net (section 4.2)."""
    return Recipe(learning_rate=RATES[net] / {32: 1, 16: 100, 8: 10_000}[stride])


def of_dataset(dataset: str, values: dict[str, Any]) -> Any:
    """The value for the longest beginning of the data set's name."""
    return values[max((start for start in values if dataset.startswith(start)), key=len)]


def _resolved(name: str, rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The row with everything that it inherits through ``like``."""
    row = rows[name]
    if "like" not in row:
        return row
    parent = _resolved(row["like"], rows)
    recipe = row.get("recipe", {})
    if "base" not in recipe:
        recipe = parent.get("recipe", {}) | recipe
    return parent | {"paper": None} | row | {"recipe": recipe}


def _recipe(
    net: str, stride: int, dataset: str, base: str = "paper", steps: int = 0, **changes: Any
) -> Recipe:
    bases = {"paper": paper_recipe(net, stride), "heavy": HEAVY, "tuned": TUNED}
    recipe = replace(bases[base], **changes)
    if steps:
        recipe = replace(recipe, epochs=steps * recipe.batch_size / of_dataset(dataset, IMAGES))
    return recipe


def _experiment(name: str, data: dict[str, Any]) -> Experiment:
    row = _resolved(name, data["experiments"])
    settings = {key: value for key, value in row.items() if key != "like"}
    settings["recipe"] = _recipe(row["net"], row["stride"], row["dataset"], **row.get("recipe", {}))
    settings["start"] = tuple(row.get("start", ()))
    settings["paper"] = tuple(row["paper"]) if row.get("paper") else None
    written = [Deviation(**data["deviations"][one]) for one in row.get("deviations", ())]
    return Experiment(name=name, **settings | {"deviations": tuple(written)})


def read(path: Path) -> tuple[dict[str, Experiment], dict[str, Any]]:
    """The experiments of a catalogue, and everything that is in it.

    Raises ValueError if it is damaged.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _experiment(name, data) for name in data["experiments"]}, data
    except Exception as error:  # a dozen types, by what is wrong where
        if machine_fault(error):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: not a catalogue of experiments ({reason})") from None


EXPERIMENTS, _DATA = read(Path(__file__).with_suffix(".toml"))
SHORT_NAMES: dict[str, str] = _DATA["short_names"]
SPEEDRUN: dict[str, str] = _DATA["order"]["speedrun"]
"""The rows of the speedrun's ledger, and what each changes in the row before it."""
BY_WORTH: list[str] = _DATA["order"]["by_worth"]
"""The runs for a GPU, the most valuable first: the last are dropped when time is short."""


def find(name: str) -> Experiment:
    """The experiment ``name``, or of that short name. Raises ValueError, with the closest names."""
    name = SHORT_NAMES.get(name, name)
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=3) or list(EXPERIMENTS)[:3]
        raise ValueError(
            f'unknown experiment "{name}": did you mean {" or ".join(near)}? "fcn list" names all'
        )
    return EXPERIMENTS[name]
