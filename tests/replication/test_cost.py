"""The cost of the experiments: work counted from the nets, hours from stated assumptions."""

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fcn.models import FCN
from fcn.replication import cost
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import load_records

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture(scope="module")
def costs():
    return cost.costs(load_records(RESULTS))


def test_work_is_three_passes_over_all_images_and_one_with_a_fixed_trunk(costs):
    full, fixed = costs.loc["voc-vgg16-32s"], costs.loc["voc-vgg16-32s-fixed"]
    assert full.images == 175 * 8498
    work = 6 * cost.multiply_adds(EXPERIMENTS["voc-vgg16-32s"]) * full.images
    assert full.exaflops == pytest.approx(work / 1e18)
    assert fixed.exaflops == pytest.approx(full.exaflops / 3)


def test_multiply_adds_are_those_of_the_layers_and_skips_add_one_per_cent_at_most():
    with torch.device("meta"), torch.no_grad():
        net = FCN("googlenet", 8, num_classes=33)
        with FlopCounterMode(display=False) as counter:
            net(torch.empty(1, 3, 256, 256))
    counted = cost.multiply_adds(EXPERIMENTS["sift-flow-googlenet-8s"])
    assert counted <= counter.get_total_flops() / 2 <= 1.013 * counted


def test_hours_of_a_gpu_follow_from_peak_and_utilization():
    exact = cost.costs([], utilization=(0.5, 0.25)).loc["sift-flow-vgg16-32s"]
    assert exact.gpu_hours_low == pytest.approx(exact.exaflops * 1e18 / 989e12 / 0.5 / 3600)
    assert exact.gpu_hours_high == pytest.approx(2 * exact.gpu_hours_low)


def test_measured_hours_are_those_of_the_records(costs):
    (record,) = [r for r in load_records(RESULTS) if r.experiment == "sift-flow-googlenet-8s-tuned"]
    assert costs.loc[record.experiment].measured_hours == pytest.approx(record.seconds / 3600)
    images = costs.loc[record.experiment].images
    assert images == pytest.approx(record.images_seen, rel=0.001)


def test_every_record_saw_as_many_images_as_its_experiment_costs(costs):
    for record in load_records(RESULTS):
        if record.purpose == "final":
            ours = costs.loc[record.experiment].images
            assert ours == pytest.approx(record.images_seen, rel=0.005), record.file_name


def test_tables_add_up(costs):
    table = cost.by_table(costs)
    assert table.loc["all", "experiments"] == len(EXPERIMENTS)
    assert table.drop("all").gpu_hours_high.sum() == pytest.approx(costs.gpu_hours_high.sum())
    assert table.loc["all", "recorded"] == costs.measured_hours.notna().sum() > 0
