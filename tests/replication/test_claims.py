"""Claims: the pairs of runs exist, differences count only beyond the spread of seeds, verdicts follow."""

import math
from dataclasses import replace

import pytest
from test_tables import record

from fcn.replication import claims, tables
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import CLAIMS, LONG_CLAIMS, Claim, Comparison

RANDOM = next(claim for claim in CLAIMS if claim.change == "score layers start at random")


def test_every_claim_names_experiments_that_differ_in_no_more_than_one_thing_from_their_base():
    for claim in (*CLAIMS, *LONG_CLAIMS):
        changed, base = EXPERIMENTS[claim.changed], EXPERIMENTS[claim.base]
        assert claim.full in EXPERIMENTS
        assert (changed.dataset, changed.net) == (base.dataset, base.net)
        assert changed.name != base.name


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
def test_the_verdict_follows_from_what_was_expected_and_what_was_seen(expected, changed, outcome, verdict):
    found = Comparison(Claim("4", "", "", "a", "b", expected), changed, (30.0, 30.0), 1.0)
    assert (found.outcome, found.verdict) == (outcome, verdict)


@pytest.mark.parametrize("expected", ["same", "higher"])
def test_a_wide_interval_shows_nothing(expected):
    claim = Claim("4", "", "", "a", "b", expected)
    assert Comparison(claim, (30.5, 30.5), (30.0, 30.0), 2.5).verdict == "undecided: too uncertain to tell"
    assert Comparison(claim, (35.0, 35.0), (30.0, 30.0), 2.5).outcome == "higher"


def test_a_difference_below_one_point_between_single_runs_is_unclear_whatever_the_spread():
    claim = Claim("4", "", "", "a", "b", "higher")
    assert Comparison(claim, (30.9,), (30.0,), 0.1).outcome == "unclear"
    assert Comparison(claim, (30.9, 30.9), (30.0, 30.0), 0.1).outcome == "higher"


def runs(experiment, *hits):
    """A run a seed; the first class has ``hit`` of its 10 pixels found, of the second's 6."""
    return [record(experiment, seed, hits=((hit, 10 - hit), (4, 6))) for seed, hit in enumerate(hits)]


def test_the_spread_is_pooled_over_experiments_with_several_seeds():
    two, three = runs(RANDOM.base, 8, 6), runs(RANDOM.changed, 9, 9, 9)
    (a, b) = (tables.scores(run)["mean_iu"] for run in two)
    deviation, free = claims.spread([*two, *three])
    assert free == 3
    assert deviation == pytest.approx(math.sqrt((a - b) ** 2 / 2 / 3))
    assert claims.spread(runs(RANDOM.base, 8)) == (claims.SPREAD_ELSEWHERE, 0)


def test_intervals_widen_with_few_seeds():
    found = claims.compare(RANDOM, [*runs(RANDOM.base, 8, 6), *runs(RANDOM.changed, 9)])
    deviation, free = claims.spread(runs(RANDOM.base, 8, 6))
    assert free == 1
    assert found.uncertain == pytest.approx(12.706 * deviation * math.sqrt(1 + 1 / 2), rel=1e-4)  # Student's t
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
    alone = next(claim for claim in CLAIMS if claim.change == "the geometric task alone")
    (one,) = runs(alone.changed, 8)
    one = replace(one, heads={"geometric": one.heads["geometric"]})
    frame = claims.metric_by_metric([one, *runs(alone.base, 6)])
    assert dict(frame.loc["5: the geometric task alone"]) == {"geometric acc.": "+0.0"}
