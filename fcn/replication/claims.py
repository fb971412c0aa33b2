"""What sections 4.2, 4.3 and 5 of the paper say in words, each beside a pair of runs with one thing changed.

The runs are on SIFT Flow, with GoogLeNet's trunk, most of them short: they can agree with the paper or not, but not
overturn what was found on other data with another trunk. A difference counts only where it is larger than what seeds
make.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd
from scipy.stats import t

from fcn.replication.tables import ABSENT, COLUMNS, MEASURED, NOT_RUN, final, scores
from fcn.training.record import Record

Expected = Literal["higher", "lower", "same", "not higher"]

SPREAD_ELSEWHERE = 0.6
WIDE = 2.0  # points: so wide an interval cannot show that a change does nothing
"""Points of mean IU by which repeats of one recipe spread in another replication (``fcn.published.OTHERS``), taken
where none of our experiments has two seeds."""
SURE = 0.95  # the level of the intervals


@dataclass(frozen=True)
class Claim:
    """A statement of the paper, the runs ``changed`` and ``base`` that test it, and what it leads one to expect of the
    first beside the second; ``full`` names the experiment on the paper's own terms."""

    section: str
    change: str
    says: str
    changed: str
    base: str
    expected: Expected
    full: str = ""
    metric: str = "mean_iu"


_BRIEF, _SHORT = "sift-flow-googlenet-8s-brief", "sift-flow-googlenet-{}-short"
_FINE, _COARSE = _SHORT.format("16s"), _SHORT.format("32s")

CLAIMS = (
    Claim("4.2", "one skip: 16s, not 32s", "3.0 points better", "sift-flow-googlenet-16s-brief",
          "sift-flow-googlenet-32s-brief", "higher", "voc-vgg16-16s"),
    Claim("4.2", "a second skip: 8s, not 16s", "a minor gain", _BRIEF, "sift-flow-googlenet-16s-brief", "higher",
          "voc-vgg16-8s"),
    Claim("4.2", "a lower rate, no skip", "an insignificant gain", f"{_COARSE}-lower-rate", _COARSE, "same",
          "voc-vgg16-32s-lower-rate"),
    Claim("4.2", "a skip, beside a lower rate alone", "the gain is the skip's", _FINE, f"{_COARSE}-lower-rate",
          "higher", "voc-vgg16-16s"),
    Claim("4.2", "the scores of the skip alone", "poor", f"{_FINE}-pool4", _FINE, "lower", "voc-vgg16-16s-pool4"),
    Claim("4.2", "the maximum of the skips", "made learning hard", f"{_BRIEF}-max", _BRIEF, "lower",
          "voc-vgg16-16s-max"),
    Claim("4.2", "the maximum of the skips, in stages", "made learning hard", f"{_FINE}-max", _FINE, "lower",
          "voc-vgg16-16s-max"),
    Claim("4.3", "only the score layers learn", "70 % of full fine-tuning", f"{_BRIEF}-fixed", _BRIEF, "lower",
          "voc-vgg16-32s-fixed"),
    Claim("4.3", "score layers start at random", "neither better nor faster", f"{_BRIEF}-random", _BRIEF, "not higher",
          "voc-vgg16-32s-random-scores"),
    Claim("4.3", "rare classes weighted up", "unnecessary", f"{_BRIEF}-balanced", _BRIEF, "not higher",
          "voc-vgg16-32s-balanced"),
    Claim("4.3", "mirrored photos", "no noticeable gain", f"{_BRIEF}-mirror", _BRIEF, "not higher",
          "voc-vgg16-32s-jitter"),
    Claim("4.3", "mirrored and shifted photos", "no noticeable gain", f"{_BRIEF}-jitter", _BRIEF, "not higher",
          "voc-vgg16-32s-jitter"),
    Claim("4.3", "intermediate upsampling learned", "learned; the release: no difference", f"{_BRIEF}-learned", _BRIEF,
          "same", "voc-vgg16-16s-bilinear"),
    Claim("5", "the semantic task alone", "two tasks together do as well", f"{_BRIEF}-semantic", _BRIEF, "same",
          "sift-flow-vgg16-16s-semantic"),
    Claim("5", "the geometric task alone", "two tasks together do as well", f"{_BRIEF}-geometric", _BRIEF, "same",
          "sift-flow-vgg16-16s-geometric", "geometric_accuracy"),
)  # fmt: skip

_LONG = "sift-flow-googlenet-{}".format
LONG_CLAIMS = (
    Claim("4.2", "one skip: 16s, not 32s", "3.0 points better", _LONG("16s"), _LONG("32s"), "higher", "voc-vgg16-16s"),
    Claim("4.2", "a second skip: 8s, not 16s", "a minor gain", _LONG("8s"), _LONG("16s"), "higher", "voc-vgg16-8s"),
    Claim("release", "all strides at once", "as good as in stages", _LONG("8s-at-once"), _LONG("8s"), "same",
          "voc-vgg16-8s-heavy-at-once"),
    Claim("release", "intermediate upsampling fixed", "no difference", _LONG("8s-at-once-bilinear"),
          _LONG("8s-at-once"), "same", "voc-vgg16-16s-bilinear"),
    *(Claim("release", f"the heavy recipe, {s}", "better", _LONG(f"{s}-heavy"), _LONG(s), "higher",
            f"voc-vgg16-{s}-heavy") for s in ("32s", "16s", "8s")),
    Claim("4.3", "half of the cells in the loss", "no gain, more time", _LONG("32s-sampled50"), _LONG("32s"),
          "not higher", "voc-vgg16-32s-keep50"),
    Claim("4.3", "a quarter of the cells in the loss", "no gain, more time", _LONG("32s-sampled25"), _LONG("32s"),
          "not higher", "voc-vgg16-32s-keep25"),
    Claim("5", "the semantic task alone", "two tasks together do as well", _LONG("32s-semantic"), _LONG("32s"), "same",
          "sift-flow-vgg16-32s-semantic"),
    Claim("5", "the geometric task alone", "two tasks together do as well", _LONG("32s-geometric"), _LONG("32s"),
          "same", "sift-flow-vgg16-32s-geometric", "geometric_accuracy"),
)  # fmt: skip
"""The same for runs by the paper's recipe at its full length, which ask for a GPU; "release": what the authors' release
says or reports, in place of the paper."""


@dataclass(frozen=True)
class Comparison:
    """A claim with what was recorded: ``changed`` and ``base`` are percent, a value for each seed; ``uncertain`` is
    the half width, in points, of the interval in which the difference lies with a confidence of ``SURE``."""

    claim: Claim
    changed: tuple[float, ...]
    base: tuple[float, ...]
    uncertain: float

    @property
    def difference(self) -> float:
        """The mean with the change less the mean without, in points."""
        return statistics.fmean(self.changed) - statistics.fmean(self.base)

    @property
    def outcome(self) -> Literal["higher", "lower", "unclear"]:
        """Unclear is a difference that seeds alone may make, or one under a point between single runs."""
        single = min(len(self.changed), len(self.base)) < 2
        if abs(self.difference) <= self.uncertain or (single and abs(self.difference) < 1):
            return "unclear"
        return "higher" if self.difference > 0 else "lower"

    @property
    def verdict(self) -> str:
        """What the runs say of the claim."""
        if self.outcome == "unclear" and self.uncertain > WIDE:
            return "undecided: too uncertain to tell"
        if self.outcome == "unclear":
            nothing = self.claim.expected in ("same", "not higher")
            return (
                "no difference seen, as the paper says"
                if nothing
                else "undecided: no difference seen"
            )
        wanted = {"higher": ("higher",), "lower": ("lower",), "same": (), "not higher": ("lower",)}
        return (
            "as the paper says"
            if self.outcome in wanted[self.claim.expected]
            else "not what the paper says"
        )


def spread(records: Sequence[Record], metric: str = "mean_iu") -> tuple[float, int]:
    """The standard deviation between seeds of one experiment, in points, and its degrees of freedom: pooled over the
    experiments of all claims that have several seeds. (``SPREAD_ELSEWHERE``, 0) where none has."""
    names = dict.fromkeys(
        name for claim in (*CLAIMS, *LONG_CLAIMS) for name in (claim.base, claim.changed)
    )
    groups = [_values(records, name, metric) for name in names]
    several = [group for group in groups if len(group) > 1]
    free = sum(len(group) - 1 for group in several)
    if not free:
        return SPREAD_ELSEWHERE, 0
    return math.sqrt(
        sum(statistics.variance(group) * (len(group) - 1) for group in several) / free
    ), free


def compare(claim: Claim, records: Sequence[Record]) -> Comparison | None:
    """The claim beside its final runs, or None while one of them is not on record."""
    changed, base = (_values(records, name, claim.metric) for name in (claim.changed, claim.base))
    if not changed or not base:
        return None
    deviation, free = spread(records, claim.metric)
    times = t.ppf((1 + SURE) / 2, free) if free else 2.0
    uncertain = float(times * deviation * math.sqrt(1 / len(changed) + 1 / len(base)))
    return Comparison(claim, changed, base, uncertain)


def table(
    records: Sequence[Record], claims: Sequence[Claim] = CLAIMS, results: str = "results"
) -> pd.DataFrame:
    """The claims, their runs with and without the change, with links to their records below ``results`` (Markdown), the
    difference with its interval, and the verdict; "not run" where a record is missing."""
    rows = {}
    for claim in claims:
        found = compare(claim, records)
        rows[f"{claim.section}: {claim.change}"] = {
            "the paper says": claim.says,
            "with": _linked(records, claim.changed, claim.metric, results),
            "without": _linked(records, claim.base, claim.metric, results),
            "difference": f"{found.difference:+.1f} ± {found.uncertain:.1f}" if found else NOT_RUN,
            "here": found.verdict if found else NOT_RUN,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def metric_by_metric(records: Sequence[Record], claims: Sequence[Claim] = CLAIMS) -> pd.DataFrame:
    """The difference in every metric, in points, for each claim whose runs are on record; text, "-" where a run has no
    such head."""
    rows: dict[str, dict[str, str]] = {}
    for claim in claims:
        found = {m: compare(replace(claim, metric=m), records) for m in MEASURED}
        cells = {
            COLUMNS[m]: f"{one.difference:+.1f}"
            for m, one in found.items()
            if one and _same_head(records, claim, m)
        }
        if cells:
            rows[f"{claim.section}: {claim.change}"] = cells
    return pd.DataFrame.from_dict(rows, orient="index").fillna(ABSENT)


def missing(records: Sequence[Record], claims: Sequence[Claim] = CLAIMS) -> list[str]:
    """The commands that record what ``table`` shows as not run."""
    names = dict.fromkeys(name for claim in claims for name in (claim.base, claim.changed))
    return [f"python -m fcn train {name}" for name in names if not final(records, name)]


def _same_head(records: Sequence[Record], claim: Claim, metric: str) -> bool:
    """Whether the metric is of one head in both runs: that of a single task may be the other task's."""
    heads = [{*run.heads} for name in (claim.changed, claim.base) for run in final(records, name)]
    return ("geometric" if metric == "geometric_accuracy" else "semantic") in set.intersection(
        *heads
    )


def _values(records: Sequence[Record], experiment: str, metric: str) -> tuple[float, ...]:
    return tuple(
        found[metric] for run in final(records, experiment) if metric in (found := scores(run))
    )


def _linked(records: Sequence[Record], experiment: str, metric: str, results: str) -> str:
    values = _values(records, experiment, metric)
    if not values:
        return NOT_RUN
    seeds = ", ".join(
        f"[{run.seed}]({results}/{run.file_name})" for run in final(records, experiment)
    )
    of = "" if metric == "mean_iu" else f" {COLUMNS[metric]}"
    return f"{statistics.fmean(values):.1f}{of} (seed{'s' if len(values) > 1 else ''} {seeds})"
