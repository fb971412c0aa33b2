"""Claims: the runs exist; a verdict needs converged runs, three seeds and a clear interval."""

import math
from dataclasses import asdict, replace
from typing import get_args

import pytest
from scipy.stats import t
from test_tables import record

from fcn.replication import claims, paper
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import (
    ALL_CLAIMS,
    CLAIMS,
    FAST_CLAIMS,
    LONG_CLAIMS,
    TESTED,
    Claim,
    Comparison,
    Expected,
    claim,
)
from fcn.replication.paper import RELEASE, TABLES
from fcn.training.recipe import HEAVY, Recipe

RANDOM = claim("random-scores")


def test_every_claim_compares_two_experiments_on_the_same_data_and_net():
    for one in ALL_CLAIMS:
        changed, base = EXPERIMENTS[one.changed], EXPERIMENTS[one.base]
        assert one.full in EXPERIMENTS
        assert (changed.dataset, changed.net) == (base.dataset, base.net)
        assert changed.name != base.name
        assert one.expected in get_args(Expected)


def test_claims_are_found_by_id():
    assert RANDOM.change == "score layers start at random"
    for several in (CLAIMS, FAST_CLAIMS, LONG_CLAIMS):
        assert len({one.id for one in several}) == len(several)
    assert claim("skip-16s", LONG_CLAIMS).changed == "sift-flow-googlenet-16s"
    with pytest.raises(KeyError):
        claim("skip-4s")


def made_up(expected, effect=None, metric="mean_iu", runs="long"):
    """A claim of no paper."""
    return Claim(runs, "", "4", "", "", expected, effect, metric, "a", "b", "")


def compared(expected, difference, uncertain, effect=None, metric="mean_iu"):
    """A comparison of three seeds a side with this difference and interval, in points."""
    around = (30 + difference - 1, 30 + difference, 30 + difference + 1)
    found = Comparison(made_up(expected, effect, metric), around, (29.0, 30.0, 31.0))
    spread = uncertain / found.uncertain
    assert math.isfinite(spread)
    scaled = tuple(30 + difference + spread * step for step in (-1, 0, 1))
    return replace(found, changed=scaled, base=tuple(30 + spread * step for step in (-1, 0, 1)))


AGREES, DISAGREES = "as the paper says", "not what the paper says"
SMALLER, LARGER = "smaller than in the paper", "larger than in the paper"
WIDE = "too early to tell (interval ± {:.1f})"


@pytest.mark.parametrize(
    ("expected", "effect", "difference", "uncertain", "verdict"),
    [
        # a difference whose size the paper does not give: the interval must leave out zero
        ("higher", None, 1.1, 1.0, AGREES),
        ("higher", None, 0.9, 1.0, WIDE),
        ("higher", None, -0.9, 1.0, WIDE),
        ("higher", None, -1.1, 1.0, DISAGREES),
        ("lower", None, -1.1, 1.0, AGREES),
        ("lower", None, -0.9, 1.0, WIDE),
        ("lower", None, 1.1, 1.0, DISAGREES),
        # with its size: the interval must also hold it
        ("higher", 3.0, 2.1, 1.0, AGREES),
        ("higher", 3.0, 1.9, 1.0, SMALLER),
        ("higher", 3.0, 0.5, 1.0, SMALLER),
        ("higher", 3.0, 0.5, 2.6, WIDE),
        ("higher", 3.0, 3.9, 1.0, AGREES),
        ("higher", 3.0, 4.1, 1.0, LARGER),
        ("higher", 3.0, -1.1, 1.0, DISAGREES),
        ("lower", -14.0, -13.5, 1.0, AGREES),
        ("lower", -14.0, -12.5, 1.0, SMALLER),
        ("lower", -14.0, -15.5, 1.0, LARGER),
        ("lower", -14.0, 1.1, 1.0, DISAGREES),
        # equally good: the whole interval within a margin of one point, or outside of it
        ("same", None, 0.4, 0.5, AGREES),
        ("same", None, -0.4, 0.5, AGREES),
        ("same", None, 0.6, 0.5, WIDE),
        ("same", None, 0.0, 1.1, WIDE),
        ("same", None, 1.4, 0.5, WIDE),
        ("same", None, 1.6, 0.5, DISAGREES),
        ("same", None, -1.6, 0.5, DISAGREES),
        ("not higher", None, -5.0, 0.5, AGREES),
        ("not higher", None, 0.4, 0.5, AGREES),
        ("not higher", None, 0.6, 0.5, WIDE),
        ("not higher", None, 1.6, 0.5, DISAGREES),
    ],
)
def test_the_interval_decides_between_converged_runs(
    expected, effect, difference, uncertain, verdict
):
    found = compared(expected, difference, uncertain, effect)
    assert found.verdict == verdict.format(uncertain)


def test_the_margin_is_that_of_the_metric():
    inside, outside = (compared("same", x, 0.1, metric="geometric_accuracy") for x in (0.2, 0.5))
    assert (inside.verdict, outside.verdict) == (AGREES, DISAGREES)


def test_the_margins_are_a_tenth_of_the_papers_gain_over_the_best_before():
    ours, before = (
        paper.row("Table 3", x, "VOC 2012").metrics["mean_iu"] for x in ("FCN-8s", "SDS")
    )
    assert (ours - before) / 10 == pytest.approx(claims.MARGINS["mean_iu"], abs=0.1)
    fcn, tighe = (
        paper.row("Table 5", x).metrics["geometric_accuracy"]
        for x in ("FCN-16s", "Tighe et al. 2010")
    )
    assert (fcn - tighe) / 10 == pytest.approx(claims.MARGINS["geometric_accuracy"])


@pytest.mark.parametrize(
    ("name", "rows", "row", "reference"),
    [
        ("skip-16s", TABLES, "FCN-16s", "FCN-32s"),
        ("skip-8s", TABLES, "FCN-8s", "FCN-16s"),
        ("skips", TABLES, "FCN-8s", "FCN-32s"),
        ("scores-only", TABLES, "FCN-32s-fixed", "FCN-32s"),
        ("heavy-32s", RELEASE, "FCN-32s", "FCN-32s"),
        ("heavy-16s", RELEASE, "FCN-16s", "FCN-16s"),
        ("heavy-8s", RELEASE, "FCN-8s", "FCN-8s"),
    ],
)
def test_effects_are_differences_of_table_2(name, rows, row, reference):
    (mean_iu,) = (r.metrics["mean_iu"] for r in rows if (r.table, r.label) == ("Table 2", row))
    effect = round(mean_iu - paper.row("Table 2", reference).metrics["mean_iu"], 1)
    found = [one.effect for one in ALL_CLAIMS if one.id == name]
    assert found == [effect] * len(found)
    assert found


def test_without_three_seeds_on_both_sides_it_is_too_early():
    clear = compared("higher", 5.0, 1.0)
    assert clear.verdict == AGREES
    for few in ({"base": clear.base[:2]}, {"changed": clear.changed[:2]}):
        assert replace(clear, **few).verdict == "too early to tell (2 seeds)"
    single = replace(clear, changed=clear.changed[:1], base=clear.base[:1])
    assert single.verdict == "too early to tell (1 seed)"


def test_before_the_runs_converge_it_is_too_early():
    clear = compared("higher", 5.0, 1.0)
    assert replace(clear, epochs=1).verdict == "too early to tell (1 epoch)"
    assert (
        replace(clear, epochs=2.5, base=(30.0,)).verdict == "too early to tell (2.5 epochs, 1 seed)"
    )


def test_the_interval_is_students_corrected_for_the_claims_of_the_list():
    found = Comparison(made_up("higher"), (31.0, 32.0, 33.0), (30.0, 30.5, 31.0))
    assert (TESTED["short"], TESTED["long"]) == (len(CLAIMS), len(LONG_CLAIMS))
    pooled = math.sqrt((1.0 + 0.25) / 2)
    times = t.ppf(1 - 0.05 / 2 / len(LONG_CLAIMS), 4)
    assert times > t.ppf(1 - 0.05 / 2, 4)
    assert found.uncertain == pytest.approx(times * pooled * math.sqrt(2 / 3))
    more = replace(found, claim=replace(found.claim, runs="short"))
    assert len(CLAIMS) > len(LONG_CLAIMS)
    assert more.uncertain > found.uncertain
    assert found.so_far == f"+1.5 ± {found.uncertain:.1f}"


def test_a_difference_that_rounds_to_zero_has_no_minus():
    assert compared("same", -0.04, 1.2).so_far == "+0.0 ± 1.2"


@pytest.mark.parametrize("gain", [-60, 4, 60])  # 20 pixels are one point of mean IU
def test_fast_runs_are_long_enough_if_twice_the_epochs_score_no_better(gain):
    one, longer = claim("skip-16s", FAST_CLAIMS), claims.LONGER
    hits = {one.base: 500, one.changed: 560, longer.base: 560, longer.changed: 560 + gain}
    found = [
        record(name, seed, hits=((hit + 2 * seed, 1000 - hit - 2 * seed), (400, 600)))
        for name, hit in hits.items()
        for seed in range(3)
    ]
    early = claims.compare(one, [run for run in found if run.experiment != longer.changed])
    assert "too early to tell" in early.verdict
    enough = claims.compare(one, found)
    assert enough.verdict == (AGREES if gain < 20 else early.verdict)


def test_a_single_seed_has_no_interval():
    found = Comparison(made_up("higher"), (31.0,), (30.0, 30.5))
    assert math.isinf(found.uncertain)
    assert found.so_far == "+0.8"


@pytest.mark.parametrize(
    ("recipe", "enough"),
    [
        (Recipe(learning_rate=1e-4), True),
        (Recipe(learning_rate=1e-4, epochs=174), False),
        (Recipe(learning_rate=1e-4, epochs=1, schedule="poly"), False),
        (replace(HEAVY, epochs=100_000 / 2486), True),
        (replace(HEAVY, epochs=99_000 / 2486), False),
        (replace(HEAVY, epochs=100_000 / 2486, momentum=0.9), False),
    ],
)
def test_a_run_as_long_as_the_papers_or_the_releases_has_converged(recipe, enough):
    assert claims.converged(record(recipe=asdict(recipe))) is enough


def test_the_long_list_is_of_runs_that_are_long_enough_and_the_short_one_is_not():
    for one in LONG_CLAIMS:
        found = claims.compare(one, [record(one.base), record(one.changed)])
        assert found.epochs is None, one.id
    for one in CLAIMS:
        found = claims.compare(one, [record(one.base), record(one.changed)])
        assert "epoch" in found.verdict, one.id


def test_runs_of_different_precisions_are_no_test():
    found = compared("higher", 3.0, 0.5)
    assert found.verdict == "as the paper says"
    assert replace(found, mixed=True).verdict == "too early to tell (different precisions)"


def runs(experiment, *hits):
    """One run per seed: ``hit`` of 10 pixels of the first class are right, 6 of the second."""
    return [
        record(experiment, seed, hits=((hit, 10 - hit), (4, 6))) for seed, hit in enumerate(hits)
    ]


def test_without_records_all_is_not_run_and_the_commands_are_named():
    frame = claims.table([])
    assert set(frame["verdict"]) == set(frame["with"]) == {"not run"}
    assert len(frame) == len(CLAIMS)
    assert "python -m fcn train sift-flow-googlenet-8s-brief" in claims.missing([])
    assert claims.metric_by_metric([]).empty


def test_records_are_linked_by_seed():
    found = [*runs(RANDOM.base, 8, 6), *runs(RANDOM.changed, 9)]
    row = claims.table(found, results="../results").loc["4.3: score layers start at random"]
    assert row["verdict"] == "too early to tell (1 epoch, 1 seed)"
    assert row["in points"] == "below +1"
    assert row["without"].endswith(
        "(seeds [0](../results/sift-flow-googlenet-8s-brief.seed0.json), "
        "[1](../results/sift-flow-googlenet-8s-brief.seed1.json))"
    )
    assert f"python -m fcn train {RANDOM.base}" not in claims.missing(found)


def test_a_single_task_is_compared_in_its_own_head_alone():
    alone = claim("geometric-alone")
    (one,) = runs(alone.changed, 8)
    one = record(alone.changed, heads={"geometric": one.heads["geometric"]})
    frame = claims.metric_by_metric([one, *runs(alone.base, 6)])
    assert dict(frame.loc["5: the geometric task alone"]) == {"geometric acc.": "+0.0"}
