"""The paper's claims about training (``claims.csv``), each tested by a pair of runs.

The two runs differ in one thing. Most are short, and all use GoogLeNet on SIFT Flow, so they cannot
overturn a finding on other data with another backbone. A difference counts only if it is larger
than the spread between seeds.
"""

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import pandas as pd
from scipy.stats import t

from fcn.replication.tables import ABSENT, COLUMNS, MEASURED, NOT_RUN, final
from fcn.training.record import Record

Expected = Literal["higher", "lower", "same", "not higher"]

SPREAD_ELSEWHERE = 0.6
"""Standard deviation between seeds, in points of mean IU, of another replication
(``fcn.replication.paper.OTHERS``): used if none of our experiments has two seeds."""
WIDE = 2.0  # points: an interval this wide cannot show that a change does nothing
SURE = 0.95  # confidence level of the intervals


@dataclass(frozen=True)
class Claim:
    """A statement of the paper about ``change`` and the runs that test it.

    ``expected`` compares the run ``changed`` with the run ``base``. ``full`` names the experiment
    on the paper's own terms. In ``section``, "release" is the authors' release.
    """

    id: str
    section: str
    change: str
    says: str
    changed: str
    base: str
    expected: Expected
    full: str = ""
    metric: str = "mean_iu"


def _claims(runs: str) -> tuple[Claim, ...]:
    with Path(__file__).with_name("claims.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line.pop("runs") == runs]
    return tuple(Claim(**line) for line in lines)  # type: ignore[arg-type]


CLAIMS = _claims("short")
LONG_CLAIMS = _claims("long")
"""Claims tested by runs of the paper's recipe at full length, which need a GPU."""


def claim(name: str, claims: Sequence[Claim] = CLAIMS) -> Claim:
    """The claim with this id. Raises KeyError if there is none."""
    return {one.id: one for one in claims}[name]


@dataclass(frozen=True)
class Comparison:
    """A claim and its runs: ``changed`` and ``base`` hold one value per seed, in percent.

    ``uncertain`` is half the width, in points, of the confidence interval of the difference.
    """

    claim: Claim
    changed: tuple[float, ...]
    base: tuple[float, ...]
    uncertain: float

    @property
    def difference(self) -> float:
        """Mean with the change less mean without it, in points."""
        return statistics.fmean(self.changed) - statistics.fmean(self.base)

    @property
    def outcome(self) -> Literal["higher", "lower", "unclear"]:
        """Unclear if within the interval, or if below one point between single runs."""
        single = min(len(self.changed), len(self.base)) < 2
        if abs(self.difference) <= self.uncertain or (single and abs(self.difference) < 1):
            return "unclear"
        return "higher" if self.difference > 0 else "lower"

    @property
    def verdict(self) -> str:
        """The outcome compared with the claim, in a few words."""
        if self.outcome == "unclear" and self.uncertain > WIDE:
            return "undecided: too uncertain to tell"
        expected = self.claim.expected
        if self.outcome == "unclear":
            agrees, seen = expected in ("same", "not higher"), "no difference seen"
            return f"{seen}, as the paper says" if agrees else f"undecided: {seen}"
        agrees = self.outcome == {"not higher": "lower"}.get(expected, expected)
        return "as the paper says" if agrees else "not what the paper says"


def spread(records: Sequence[Record], metric: str = "mean_iu") -> tuple[float, int]:
    """The standard deviation between seeds, in points, and its degrees of freedom.

    Pooled over all experiments with several seeds; (``SPREAD_ELSEWHERE``, 0) if there is none.
    """
    names = dict.fromkeys(n for c in (*CLAIMS, *LONG_CLAIMS) for n in (c.base, c.changed))
    groups = [_values(records, name, metric) for name in names]
    several = [group for group in groups if len(group) > 1]
    if not several:
        return SPREAD_ELSEWHERE, 0
    free = sum(len(group) - 1 for group in several)
    pooled = sum(statistics.variance(group) * (len(group) - 1) for group in several) / free
    return math.sqrt(pooled), free


def compare(claim: Claim, records: Sequence[Record]) -> Comparison | None:
    """The claim with its final runs, or None if one of them has no record."""
    changed, base = (_values(records, name, claim.metric) for name in (claim.changed, claim.base))
    if not changed or not base:
        return None
    std, free = spread(records, claim.metric)
    times = t.ppf((1 + SURE) / 2, free) if free else 2.0
    uncertain = float(times * std * math.sqrt(1 / len(changed) + 1 / len(base)))
    return Comparison(claim, changed, base, uncertain)


def table(
    records: Sequence[Record], claims: Sequence[Claim] = CLAIMS, results: str = "results"
) -> pd.DataFrame:
    """The claims, their runs with and without the change, the difference and the verdict.

    Runs are Markdown links to their records below ``results``, or "not run".
    """
    rows = {}
    for one in claims:
        found = compare(one, records)
        rows[f"{one.section}: {one.change}"] = {
            "the paper says": one.says,
            "with": _linked(records, one.changed, one.metric, results),
            "without": _linked(records, one.base, one.metric, results),
            "difference": f"{found.difference:+.1f} ± {found.uncertain:.1f}" if found else NOT_RUN,
            "here": found.verdict if found else NOT_RUN,
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
            cells[COLUMNS[metric]] = f"{found.difference:+.1f}"
    return pd.DataFrame.from_dict(rows, orient="index").fillna(ABSENT)


def missing(records: Sequence[Record], claims: Sequence[Claim] = CLAIMS) -> list[str]:
    """The commands for the runs that ``table`` shows as not run."""
    names = dict.fromkeys(name for one in claims for name in (one.base, one.changed))
    return [f"python -m fcn train {name}" for name in names if not final(records, name)]


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
