"""Claims: the runs exist, only differences beyond the spread of seeds count, verdicts follow."""

import math
from typing import get_args

import pytest
from test_tables import record

from fcn.replication import claims
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import CLAIMS, LONG_CLAIMS, Claim, Comparison, Expected, claim

RANDOM = claim("random-scores")


def test_every_claim_compares_two_experiments_on_the_same_data_and_net():
    for one in (*CLAIMS, *LONG_CLAIMS):
        changed, base = EXPERIMENTS[one.changed], EXPERIMENTS[one.base]
        assert one.full in EXPERIMENTS
        assert (changed.dataset, changed.net) == (base.dataset, base.net)
        assert changed.name != base.name
        assert one.expected in get_args(Expected)


def test_claims_are_found_by_id():
    assert RANDOM.change == "score layers start at random"
    for several in (CLAIMS, LONG_CLAIMS):
        assert len({one.id for one in several}) == len(several)
    assert claim("skip-16s", LONG_CLAIMS).changed == "sift-flow-googlenet-16s"
    with pytest.raises(KeyError):
        claim("skip-4s")


def made_up(expected):
    """A claim of no paper."""
    return Claim("", "4", "", "", "a", "b", expected)


@pytest.mark.parametrize(
    ("expected", "changed", "outcome", "verdict"),
    [
        ("higher", (32.0, 32.0), "higher", "as the paper says"),
        ("higher", (28.0, 28.0), "lower", "not what the paper says"),
        ("higher", (30.5, 30.5), "unclear", "undecided: no difference seen"),
        ("lower", (28.0, 28.0), "lower", "as the paper says"),
        ("same", (30.5, 30.5), "unclear", "no difference seen, as the paper says"),
        ("same", (28.0, 28.0), "lower", "not what the paper says"),
        ("not higher", (28.0, 28.0), "lower", "as the paper says"),
        ("not higher", (32.0, 32.0), "higher", "not what the paper says"),
        ("not higher", (29.0,), "unclear", "no difference seen, as the paper says"),
    ],
)
def test_the_verdict_follows_from_what_was_expected_and_what_was_seen(
    expected, changed, outcome, verdict
):
    found = Comparison(made_up(expected), changed, (30.0, 30.0), 1.0)
    assert (found.outcome, found.verdict) == (outcome, verdict)


@pytest.mark.parametrize("expected", ["same", "higher"])
def test_a_wide_interval_shows_nothing(expected):
    small, large = (
        Comparison(made_up(expected), values, (30.0, 30.0), 2.5)
        for values in ((30.5, 30.5), (35.0, 35.0))
    )
    assert small.verdict == "undecided: too uncertain to tell"
    assert large.outcome == "higher"


def test_a_difference_below_one_point_between_single_runs_is_unclear_whatever_the_spread():
    single = Comparison(made_up("higher"), (30.9,), (30.0,), 0.1)
    several = Comparison(made_up("higher"), (30.9, 30.9), (30.0, 30.0), 0.1)
    assert single.outcome == "unclear"
    assert several.outcome == "higher"


def runs(experiment, *hits):
    """One run per seed: ``hit`` of 10 pixels of the first class are right, 6 of the second."""
    return [
        record(experiment, seed, hits=((hit, 10 - hit), (4, 6))) for seed, hit in enumerate(hits)
    ]


def test_the_spread_is_pooled_over_experiments_with_several_seeds():
    two, three = runs(RANDOM.base, 8, 6), runs(RANDOM.changed, 9, 9, 9)
    (a, b) = (run.scores["mean_iu"] for run in two)
    deviation, free = claims.spread([*two, *three])
    assert free == 3
    assert deviation == pytest.approx(math.sqrt((a - b) ** 2 / 2 / 3))
    assert claims.spread(runs(RANDOM.base, 8)) == (claims.SPREAD_ELSEWHERE, 0)


def test_intervals_widen_with_few_seeds():
    found = claims.compare(RANDOM, [*runs(RANDOM.base, 8, 6), *runs(RANDOM.changed, 9)])
    deviation, free = claims.spread(runs(RANDOM.base, 8, 6))
    assert free == 1
    student = 12.706  # t of one degree of freedom, 95 %
    assert found.uncertain == pytest.approx(student * deviation * math.sqrt(1 + 1 / 2), rel=1e-4)
    single = claims.compare(RANDOM, [*runs(RANDOM.base, 8), *runs(RANDOM.changed, 9)])
    assert single.uncertain == pytest.approx(2 * 0.6 * math.sqrt(2))


def test_without_records_all_is_not_run_and_the_commands_are_named():
    frame = claims.table([])
    assert set(frame["difference"]) == set(frame["with"]) == {"not run"}
    assert len(frame) == len(CLAIMS)
    assert "python -m fcn train sift-flow-googlenet-8s-brief" in claims.missing([])
    assert claims.metric_by_metric([]).empty


def test_records_are_linked_by_seed():
    found = [*runs(RANDOM.base, 8, 6), *runs(RANDOM.changed, 9)]
    row = claims.table(found, results="../results").loc["4.3: score layers start at random"]
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
