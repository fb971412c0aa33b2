"""Forward times: only the pass is timed, and the times are printed and saved."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fcn.__main__ import main
from fcn.models import FCN
from fcn.replication import benchmark, snapshots


class Slow(nn.Module):
    """Takes 2 ms, the first time 60 ms; keeps its inputs and modes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append((tuple(images.shape), self.training, torch.is_inference_mode_enabled()))
        time.sleep(0.002 if self.calls[1:] else 0.06)
        return images


def test_all_trials_are_timed_but_not_the_warm_up() -> None:
    net = Slow()
    times = benchmark.forward_ms(net, (7, 9), trials=5, warm_up=1)
    assert net.calls == [((1, 3, 7, 9), False, True)] * 6
    assert net.training
    assert len(times) == 5
    assert all(2 <= trial < 60 for trial in times)


def test_median_and_quartiles() -> None:
    assert benchmark.quartiles((4.0, 1.0, 100.0, 2.0, 3.0)) == [2, 3, 4]


def test_the_device_is_synchronized_around_each_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: order.append("wait"))
    net = FCN("googlenet", 32, 2, width=0.05)
    net.register_forward_hook(lambda *_: order.append("pass"))
    device = "meta"  # computes nothing
    benchmark.forward_ms(net, (64, 64), trials=2, device=device, warm_up=1)
    assert order == ["wait", "pass", "wait"] * 3


def test_at_least_one_trial_is_needed() -> None:
    with pytest.raises(ValueError, match="trials: at least one"):
        benchmark.forward_ms(Slow(), trials=0)


def test_the_nets_are_those_that_the_paper_times() -> None:
    paper = {"FCN-AlexNet": 50, "FCN-VGG16": 210, "FCN-GoogLeNet": 59, "FCN-8s": 175}
    assert paper == benchmark.PAPER
    assert benchmark.PAPER.keys() == benchmark.NETS.keys()


def test_times_are_printed_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def narrow(net: str, stride: int, classes: int, alignment: str) -> FCN:
        built.append((net, stride, classes, alignment))
        return FCN("googlenet", 32, 2, width=0.05)

    monkeypatch.setattr(benchmark, "FCN", narrow)
    monkeypatch.setattr(benchmark, "SIZE", (64, 64))
    monkeypatch.setattr(benchmark, "TRIALS", 3)
    printed = list(benchmark.benchmark(save=tmp_path))
    assert built[:2] == [("alexnet", 32, 21, "tight"), ("alexnet", 32, 21, "reference")]
    assert built[2] == ("vgg16", 32, 21, "tight")
    assert built[-1] == ("vgg16", 8, 21, "reference")

    found = snapshots.load("forward-times", tmp_path)
    assert found["milliseconds"].shape == (8, 3)
    assert (found["milliseconds"] > 0).all()
    about = snapshots.provenance("forward-times", tmp_path)
    assert about["computed_by"] == "forward_times"
    assert str(found["hardware"]) == about["hardware"]

    assert len(printed) == 9
    assert str(found["hardware"]) in printed[0]
    assert printed[3].split()[:2] == ["FCN-VGG16", "tight"]
    median = np.median(found["milliseconds"][2])
    assert float(printed[3].split()[2]) == pytest.approx(median, abs=0.051)
    assert printed[3].split()[-1] == "210"


def test_a_missing_device_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fcn", "benchmark", "--device", "abacus"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--device abacus" in capsys.readouterr().err
