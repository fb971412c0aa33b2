"""The speedrun's ledger: which rows count, what the clock includes, how work is counted."""

import math
from dataclasses import replace

import pytest
import torch
from test_tables import record

from fcn.metrics import ConfusionMatrix
from fcn.replication import speedrun
from fcn.replication.catalogue import EXPERIMENTS, SPEEDRUN, find
from fcn.training.record import Head

RACE = "sift-flow-googlenet-8s-speedrun"
HEADS = f"{RACE}-heads"
SHORT = f"{RACE}-short"
"""A row of a single stage."""


def runs(name, scores, seconds=100.0, hardware="a CPU"):
    """One record per seed with this mean IU, in percent, to two decimals."""
    made = []
    for seed, score in enumerate(scores):
        hit = round(100 * score)  # of 10,000 pixels; the others are void in the prediction
        matrix = torch.tensor([[hit, 0, 10_000 - hit], [0, hit, 10_000 - hit], [0, 0, 0]])
        head = Head.scored(("sky", "tree", "absent"), ConfusionMatrix.from_matrix(matrix))
        entries = {"heads": {"semantic": head}, "seconds": seconds, "hardware": hardware}
        made.append(record(name, seed, **entries))
    return made


def row(records, name=SHORT):
    return next(one for one in speedrun.attempts(records) if one.experiment == name)


@pytest.mark.parametrize(
    ("scores", "hardware", "counts"),
    [
        ([40.0, 40.2, 40.1], "a CPU", True),
        ([40.0, 40.2], "a CPU", False),  # two seeds
        ([39.6, 41.9, 38.7], "a CPU", False),  # above, but not surely
        ([39.4, 39.3, 39.4], "a CPU", False),
        ([40.0, 40.2, 40.1], "NVIDIA H100", False),  # five on a GPU
        ([40.0, 40.2, 40.1, 40.3, 39.9], "NVIDIA H100", True),
    ],
)
def test_a_row_counts_with_enough_seeds_surely_above_the_target(scores, hardware, counts):
    assert row(runs(SHORT, scores, hardware=hardware)).counts is counts


def test_the_p_value_is_that_of_a_one_sided_t_test():
    # mean 40.1, standard deviation 0.1: t = 0.6 / (0.1 / sqrt 3) = 10.39, two degrees of freedom
    assert row(runs(SHORT, [40.0, 40.1, 40.2])).p_value == pytest.approx(0.00457, rel=0.01)
    assert math.isnan(row(runs(SHORT, [40.0])).p_value)


def test_the_clock_runs_through_all_stages_of_a_seed():
    stages = runs(HEADS, [35, 35], seconds=30) + runs(RACE, [40, 40, 40], seconds=200)
    found = row(stages, RACE)
    assert found.seconds == 230
    assert len(found.runs) == 2, "the third seed has no record of its first stage"
    assert found.scores == pytest.approx([40, 40])


def test_runs_on_a_gpu_have_a_row_of_their_own():
    on_gpu = [
        run.model_copy(update={"seed": run.seed + 10})
        for run in runs(SHORT, [40.0, 40.2, 40.1, 40.3, 39.9], 10.0, "NVIDIA H100")
    ]
    records = on_gpu + runs(SHORT, [40.0, 40.1, 40.2])
    rows = [one for one in speedrun.attempts(records) if one.experiment == SHORT]
    assert [(one.on_gpu, len(one.runs), one.seconds) for one in rows] == [
        (False, 3, 100),
        (True, 5, 10),
    ]
    assert all(one.counts for one in rows)
    table = speedrun.ledger(records)
    assert table.loc[SHORT, "hardware"].tolist() == ["a CPU", "NVIDIA H100"]
    assert table.loc[SHORT, "p"].tolist() == ["0.005", "< 0.001"]


def test_the_ledger_has_every_row_with_or_without_runs():
    table = speedrun.ledger(runs(SHORT, [40.0, 40.2, 40.1]))
    assert list(table.index) == list(SPEEDRUN)
    assert table.loc[SHORT, ["seconds", "mean IU", "counts"]].tolist() == [
        "100",
        "40.10 ± 0.10",
        "yes",
    ]
    assert table.loc[RACE, ["seconds", "mean IU", "counts"]].tolist() == ["-", "not run", "no"]


def test_its_short_name_finds_the_best_row():
    assert find("speedrun").name == list(SPEEDRUN)[-1]
    assert [one.name for one in speedrun.stages_of(RACE)] == [HEADS, RACE]


def test_frozen_layers_count_once_per_copy_and_size():
    one = replace(EXPERIMENTS[SHORT], width=1 / 8)
    recipe = replace(one.recipe, epochs=4, augment="alternate")

    def work(**changes):
        return speedrun.operations(replace(one, recipe=replace(recipe, **changes)))

    assert work(epochs=8) == 2 * work()
    first = work(frozen="pool2") - work(frozen="pool2", augment="none")
    assert work(frozen="pool2", epochs=8) - 2 * work(frozen="pool2") == pytest.approx(-2 * first)
    assert work(frozen="pool2") < work()
    assert work(small=4) < work() / 3
