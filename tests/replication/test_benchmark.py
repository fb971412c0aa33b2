"""Forward times: what is timed and what is not, what is recorded, and what the command prints."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fcn import models
from fcn.models import FCN
from fcn.replication import benchmark, snapshots


class Slow(nn.Module):
    """Takes 2 ms, the first time 60 ms; notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append((tuple(images.shape), self.training, torch.is_inference_mode_enabled()))
        time.sleep(0.002 if self.calls[1:] else 0.06)
        return images


def test_every_trial_is_timed_and_the_first_passes_are_not() -> None:
    net = Slow()
    times = benchmark.forward_ms(net, (7, 9), trials=5, warm_up=1)
    assert net.calls == [((1, 3, 7, 9), False, True)] * 6
    assert net.training
    assert len(times.trials) == 5
    assert all(2 <= trial < 60 for trial in times.trials)


def test_the_middle_of_the_trials() -> None:
    times = benchmark.Times((4.0, 1.0, 100.0, 2.0, 3.0))
    assert times.median == 3
    assert times.quartiles == (2, 4)


def test_a_queue_is_waited_for_before_and_after_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: order.append("wait"))
    net = FCN("googlenet", 32, 2, width=0.05)
    net.register_forward_hook(lambda *_: order.append("pass"))
    benchmark.forward_ms(net, (64, 64), trials=2, device="meta", warm_up=1)  # a device that computes nothing
    assert order == ["wait", "pass", "wait"] * 3


def test_no_trials_are_no_time() -> None:
    with pytest.raises(ValueError, match="trials: at least one"):
        benchmark.forward_ms(Slow(), trials=0)


def test_the_paper_times_the_nets_that_are_timed_here() -> None:
    assert benchmark.PAPER == {"FCN-AlexNet": 50, "FCN-VGG16": 210, "FCN-GoogLeNet": 59, "FCN-8s": 175}
    assert benchmark.PAPER.keys() == benchmark.NETS.keys()


def test_times_are_printed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built = []

    def narrow(net: str, stride: int, classes: int, alignment: str) -> FCN:
        built.append((net, stride, classes, alignment))
        return FCN("googlenet", 32, 2, width=0.05)

    monkeypatch.setattr(models, "FCN", narrow)
    monkeypatch.setattr(benchmark, "SIZE", (64, 64))
    monkeypatch.setattr(benchmark, "TRIALS", 3)
    benchmark.main(["--record", str(tmp_path)])
    assert built[:3] == [("alexnet", 32, 21, "tight"), ("alexnet", 32, 21, "reference"), ("vgg16", 32, 21, "tight")]
    assert built[-1] == ("vgg16", 8, 21, "reference")

    found, live = snapshots.recorded("forward-times", dict, False, tmp_path)
    assert not live
    assert found["milliseconds"].shape == (8, 3)
    assert (found["milliseconds"] > 0).all()
    about = snapshots.provenance("forward-times", tmp_path)
    assert about["computed_by"] == "forward_times"
    assert str(found["hardware"]) == about["hardware"]

    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 9
    assert str(found["hardware"]) in printed[0]
    assert printed[3].split()[:2] == ["FCN-VGG16", "tight"]
    assert float(printed[3].split()[2]) == pytest.approx(np.median(found["milliseconds"][2]), abs=0.051)
    assert printed[3].split()[-1] == "210"


def test_a_device_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmark.main(["--device", "abacus"])
    assert "--device abacus" in capsys.readouterr().err
