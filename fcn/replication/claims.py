"""The paper's claims about training (``claims.csv``), each tested by a pair of runs.

The two runs differ in one thing. All use GoogLeNet on SIFT Flow, so they cannot overturn a finding
on other data with another backbone. A verdict needs, on both sides, runs that are long enough
(:func:`converged`) and at least three seeds; then the interval of the difference decides, which is
corrected for the number of claims and compared with the size of the effect in the paper. Everything
else is too early to tell.
"""

import csv
import json
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import pandas as pd
from scipy.stats import t

from fcn.replication.deviations import is_heavy
from fcn.replication.tables import ABSENT, COLUMNS, EPOCHS, MEASURED, NOT_RUN, final
from fcn.training.record import Record

Expected = Literal["higher", "lower", "same", "not higher"]

HEAVY_STEPS = 100_000  # of the authors' release
SEEDS = 3  # on both sides
SURE = 0.95  # confidence that all intervals of a list of claims cover their differences
AGREES = "as the paper says"
MARGINS = {"mean_iu": 1.0, "geometric_accuracy": 0.35}
"""Points within which two nets count as equally good: a tenth of the paper's gain over the best
earlier result, in mean IU on PASCAL VOC (Table 3) and in geometric accuracy (Table 5)."""


@dataclass(frozen=True)
class Claim:
    """A statement of the paper about ``change`` and the runs that test it.

    ``expected`` compares the run ``changed`` with the run ``base``; ``effect`` is the difference in
    points that the paper or the release reports, if any. ``runs`` are the "short", the "fast" (the
    speedrun's recipe) or the "long" ones, ``full`` names the experiment on the paper's own terms.
    In ``section``, "release" is the authors' release.
    """

    runs: str
    id: str
    section: str
    change: str
    says: str
    expected: Expected
    effect: float | None
    metric: str
    changed: str
    base: str
    full: str


def _claims() -> tuple[Claim, ...]:
    with Path(__file__).with_name("claims.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    effects = [json.loads(line.pop("effect") or "null") for line in lines]
    return tuple(
        Claim(effect=effect, **line)  # type: ignore[arg-type]
        for line, effect in zip(lines, effects, strict=True)
    )


ALL_CLAIMS = _claims()
CLAIMS = tuple(one for one in ALL_CLAIMS if one.runs == "short")
FAST_CLAIMS = tuple(one for one in ALL_CLAIMS if one.runs == "fast")
"""Claims tested by runs of the speedrun's recipe."""
LONG_CLAIMS = tuple(one for one in ALL_CLAIMS if one.runs == "long")
"""Claims tested by runs of the paper's recipe at full length, which need a GPU."""
LONGER = Claim(
    "longer", "twice-as-long", "", "twice the epochs", "", "not higher", None, "mean_iu",
    "sift-flow-googlenet-8s-speedrun-longer", "sift-flow-googlenet-8s-speedrun-brief", "",
)  # fmt: skip
"""The fast runs are long enough if their recipe scores no better with twice the epochs."""
TESTED = Counter(one.runs for one in (*ALL_CLAIMS, LONGER))


def claim(name: str, claims: Sequence[Claim] = CLAIMS) -> Claim:
    """The claim with this id. Raises KeyError if there is none."""
    return {one.id: one for one in claims}[name]


def converged(run: Record) -> bool:
    """True if a run is as long as the paper's, or as the release's if it follows that recipe.

    The learning curve cannot tell: a curve also goes flat when the learning rate decays to zero.
    """
    epochs = run.recipe["epochs"]
    if is_heavy(run.recipe):
        images = run.dataset.trained_on.images
        return round(epochs * images / run.recipe["batch_size"]) >= HEAVY_STEPS
    return bool(epochs >= EPOCHS)


def uncertainty(changed: Sequence[float], base: Sequence[float], tested: int = 1) -> float:
    """Half the width of the interval of a difference of means; infinite for a single seed.

    Student's t with the pooled variance of the two groups and their own degrees of freedom,
    Bonferroni-corrected for this number of differences.
    """
    groups = (changed, base)
    if min(map(len, groups)) < 2:
        return math.inf
    free = sum(len(group) - 1 for group in groups)
    pooled = sum(statistics.variance(group) * (len(group) - 1) for group in groups) / free
    times = t.ppf(1 - (1 - SURE) / 2 / tested, free)
    return float(times * math.sqrt(pooled * sum(1 / len(group) for group in groups)))


@dataclass(frozen=True)
class Comparison:
    """A claim and its runs: ``changed`` and ``base`` hold one value per seed, in percent.

    ``epochs`` is the length of the shortest run that has not converged (or, for fast claims, is not
    long enough, see ``LONGER``), or None. ``mixed`` is True
    if some runs were computed in another precision than others.
    """

    claim: Claim
    changed: tuple[float, ...]
    base: tuple[float, ...]
    epochs: float | None = None
    mixed: bool = False

    @property
    def difference(self) -> float:
        """Mean with the change less mean without it, in points."""
        return statistics.fmean(self.changed) - statistics.fmean(self.base)

    @property
    def uncertain(self) -> float:
        """Half the width of the interval of the difference, corrected for the list's claims."""
        return uncertainty(self.changed, self.base, TESTED[self.claim.runs])

    @property
    def so_far(self) -> str:
        """The difference, with its interval if there is one."""
        interval = "" if math.isinf(self.uncertain) else f" ± {self.uncertain:.1f}"
        return f"{self.difference:+z.1f}{interval}"

    @property
    def verdict(self) -> str:
        """Agreement with the paper in a few words, or why it is too early to tell."""
        seeds = min(len(self.changed), len(self.base))
        reasons = []
        if self.epochs is not None:
            reasons.append(f"{self.epochs:g} epoch{'s' * (self.epochs != 1)}")
        if seeds < SEEDS:
            reasons.append(f"{seeds} seed{'s' * (seeds != 1)}")
        if self.mixed:
            reasons.append("different precisions")
        if not reasons:
            if decided := self._decided():
                return decided
            reasons.append(f"interval ± {self.uncertain:.1f}")
        return f"too early to tell ({', '.join(reasons)})"

    def _decided(self) -> str:
        """The verdict by the interval alone; empty if it does not decide."""
        low, high = self.difference - self.uncertain, self.difference + self.uncertain
        agrees, disagrees = AGREES, "not what the paper says"
        expected, effect = self.claim.expected, self.claim.effect
        if expected in ("same", "not higher"):
            margin = MARGINS[self.claim.metric]
            too_low = expected == "same" and high < -margin
            within = high < margin and (expected == "not higher" or low > -margin)
            return agrees if within else disagrees if low > margin or too_low else ""
        if expected == "lower":
            low, high = -high, -low
        if high < 0:
            return disagrees
        if effect is not None and not low <= abs(effect) <= high:
            return f"{'smaller' if high < abs(effect) else 'larger'} than in the paper"
        return agrees if low > 0 else ""


def compare(claim: Claim, records: Sequence[Record]) -> Comparison | None:
    """The claim with its final runs, or None if one of them has no record."""
    changed, base = (_values(records, name, claim.metric) for name in (claim.changed, claim.base))
    if not changed or not base:
        return None
    runs = [*final(records, claim.changed), *final(records, claim.base)]
    enough = claim == LONGER or (claim.runs == "fast" and _settled(records))
    short = [run.recipe["epochs"] for run in runs if not (enough or converged(run))]
    mixed = len({run.precision for run in runs}) > 1
    return Comparison(claim, changed, base, min(short, default=None), mixed)


def _settled(records: Sequence[Record]) -> bool:
    found = compare(LONGER, records)
    return found is not None and found.verdict == AGREES


def table(
    records: Sequence[Record], claims: Sequence[Claim] = CLAIMS, results: str = "results"
) -> pd.DataFrame:
    """The claims, the difference so far, the verdict, and the runs with and without the change.

    Runs are Markdown links to their records below ``results``, or "not run".
    """
    rows = {}
    for one in claims:
        found = compare(one, records)
        rows[f"{one.section}: {one.change}"] = {
            "the paper says": one.says,
            "in points": _criterion(one),
            "so far": found.so_far if found else ABSENT,
            "verdict": found.verdict if found else NOT_RUN,
            "with": _linked(records, one.changed, one.metric, results),
            "without": _linked(records, one.base, one.metric, results),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def metric_by_metric(records: Sequence[Record], claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """The difference in points, by metric, for claims whose runs exist; "-" without the head."""
    rows: dict[str, dict[str, str]] = {}
    for one, metric in product(claims, MEASURED):
        head = "geometric" if metric == "geometric_accuracy" else "semantic"
        runs = [run for run in records if head in run.heads]  # a single task may lack it
        if found := compare(replace(one, metric=metric), runs):
            cells = rows.setdefault(f"{one.section}: {one.change}", {})
            cells[COLUMNS[metric]] = f"{found.difference:+z.1f}"
    return pd.DataFrame.from_dict(rows, orient="index").fillna(ABSENT)


def missing(records: Sequence[Record], claims: Sequence[Claim] = CLAIMS) -> list[str]:
    """The commands for the runs that ``table`` shows as not run."""
    names = dict.fromkeys(name for one in claims for name in (one.base, one.changed))
    return [f"python -m fcn train {name}" for name in names if not final(records, name)]


def _criterion(claim: Claim) -> str:
    """The difference, in points, that would agree with the paper."""
    if claim.expected in ("same", "not higher"):
        sign = "±" if claim.expected == "same" else "below +"
        return f"{sign}{MARGINS[claim.metric]:g}"
    sign = "above 0" if claim.expected == "higher" else "below 0"
    return sign if claim.effect is None else f"{claim.effect:+.1f}"


def _values(records: Sequence[Record], experiment: str, metric: str) -> tuple[float, ...]:
    runs = final(records, experiment)
    return tuple(run.scores[metric] for run in runs if metric in run.scores)


def _linked(records: Sequence[Record], experiment: str, metric: str, results: str) -> str:
    values, runs = _values(records, experiment, metric), final(records, experiment)
    if not values:
        return NOT_RUN
    links = ", ".join(f"[{run.seed}]({results}/{run.file_name})" for run in runs)
    of = "" if metric == "mean_iu" else f" {COLUMNS[metric]}"
    return f"{statistics.fmean(values):.1f}{of} (seed{'s' * (len(values) > 1)} {links})"
