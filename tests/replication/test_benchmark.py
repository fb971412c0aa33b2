"""The benchmark: peers compute the same, work is counted and timed, the record is judged."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fcn.__main__ import main
from fcn.models import FCN
from fcn.replication.benchmark import measure, paper_times, peers, profiles, run
from fcn.replication.benchmark.padded_port import PaddedPort
from fcn.replication.benchmark.peers import Peers, Unavailable, variants, workloads
from fcn.replication.benchmark.record import (
    Benchmark,
    Case,
    Command,
    Part,
    Profile,
    Target,
    Variant,
    Workload,
    load_benchmarks,
    quartiles,
    targets,
)

FORWARD = Workload("forward", "vgg16", 8, 41, 56, 1)
TRAINING = replace(FORWARD, task="training step")
NARROW = 1 / 16


@pytest.fixture(scope="module")
def narrow() -> Peers:
    return Peers("cpu", NARROW)


@pytest.fixture(scope="module", autouse=True)
def one_export() -> Iterator[None]:
    """Equal nets are exported once."""
    kept: dict[bytes, bytes] = {}

    def export(weights: Path, path: Path) -> None:
        net = weights.read_bytes()
        if net not in kept:
            slow(weights, path)
            kept[net] = path.read_bytes()
        path.write_bytes(kept[net])

    slow = peers.export
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peers, "export", export)
        yield


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Benchmark, Path, list[str]]:
    """The record of a quick run, its file, and what was printed."""
    folder = tmp_path_factory.mktemp("results")
    printed = list(run.benchmark(quick=True, save=folder))
    [found] = load_benchmarks(folder)
    return found, folder / "benchmarks" / found.file_name, printed


# The peers


def test_the_padded_port_scores_as_our_reference_alignment(narrow: Peers) -> None:
    with torch.no_grad():
        ours, port = (
            narrow.net(FORWARD, variant).eval()
            for variant in (Variant(alignment="reference"), Variant("padded port"))
        )
        assert isinstance(port, PaddedPort)
        images = narrow.batch(FORWARD, Variant())[0]
        scores = ours(images)
        same = port(narrow.batch(FORWARD, Variant("padded port"))[0])
    assert scores.std() > 0.1
    torch.testing.assert_close(same, scores, rtol=1e-4, atol=1e-4)


def test_the_port_learns_everything_but_its_filters() -> None:
    port = PaddedPort(3, NARROW)
    fixed = {name for name, _ in port.named_parameters() if name.startswith("upscore")}
    assert len(fixed) == 3
    assert len(port.learned()) == len([*port.parameters()]) - 3


@pytest.mark.parametrize(
    "variant",
    [
        Variant(memory_format="channels last"),
        Variant(upsampling="interpolate"),
        Variant(upsampling="learned"),
        Variant("ONNX Runtime"),
    ],
    ids=str,
)
def test_variants_compute_the_same_scores(narrow: Peers, variant: Variant) -> None:
    if variant.peer == "ONNX Runtime":
        pytest.importorskip("onnxruntime")
    scores = torch.as_tensor(narrow.trial(FORWARD, Variant())())
    found = narrow.trial(FORWARD, variant)()
    same = torch.as_tensor(found[0] if isinstance(found, list) else found)
    assert scores.shape == (1, peers.CLASSES, 41, 56)
    torch.testing.assert_close(same, scores, rtol=1e-3, atol=1e-3)


def test_opencv_runs_the_authors_net(narrow: Peers) -> None:
    pytest.importorskip("cv2")
    assert narrow.trial(FORWARD, Variant("OpenCV"))().shape == (1, peers.CLASSES, 41, 56)
    with pytest.raises(Unavailable, match="on VGG16 only"):
        narrow.trial(replace(FORWARD, net="googlenet"), Variant("OpenCV"))


def test_a_package_that_is_missing_is_named(narrow: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match="onnx is missing; pip install"):
        narrow.trial(FORWARD, Variant("ONNX Runtime"))
    with pytest.raises(Unavailable, match="OpenCV is missing"):
        narrow.trial(FORWARD, Variant("OpenCV"))


def test_nothing_is_compiled_without_a_compiler(
    narrow: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    with pytest.raises(Unavailable, match=r"needs a C\+\+ compiler"):
        narrow.trial(FORWARD, Variant(mode="compiled"))


@pytest.mark.parametrize("variant", [Variant(), Variant("padded port")], ids=str)
def test_a_training_step_changes_the_weights(narrow: Peers, variant: Variant) -> None:
    built, net_of = [], narrow.net

    def keep(*arguments: object) -> torch.nn.Module:
        built.append(net_of(*arguments))  # type: ignore[arg-type]
        return built[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(narrow, "net", keep)
        step = narrow.trial(TRAINING, variant)
    [net] = built
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    assert torch.as_tensor(step()) > 0
    changed = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if not name.startswith("upscore")}
    assert net.training
    assert all(p.grad is None for p in getattr(net, "learned", net.parameters)())


def test_every_workload_has_variants_and_the_paper_s_nets_are_among_them() -> None:
    for device in ("cpu", "cuda"):
        found = workloads(device, quick=False)
        assert len({*found}) == len(found)
        for work in found:
            assert Variant() in variants(work, device)
            assert len({*variants(work, device)}) == len(variants(work, device))
        assert {*paper_times.WORKLOADS.values()} < {*found}
    main = Workload("forward", "vgg16", 8, 375, 500, 1)
    shown = {one.peer for one in variants(main, "cpu")}
    assert shown == {"ours", "padded port", "fcn_resnet50", "OpenCV", "ONNX Runtime"}
    modes = {one.mode for one in variants(replace(main, task="training step"), "cuda")}
    assert "captured" in modes


# The measures


def test_the_padded_net_does_twice_the_work_of_ours() -> None:
    """By count of the multiplications, for a photo of 500 x 375 pixels."""
    work = Workload("forward", "vgg16", 8, 375, 500, 1)
    full = Peers("cpu")
    ours, port = (full.operations(work, v) for v in (Variant(), Variant("padded port")))
    assert 1.75 < port / ours < 1.85
    step = full.operations(replace(work, task="training step"), Variant())
    assert 2.9 < step / ours <= 3.0


def test_operations_are_two_per_multiplication() -> None:
    build = lambda: torch.nn.Conv2d(3, 5, 3, padding=1)  # noqa: E731
    assert measure.operations(build, (1, 3, 4, 6), training=False) == 2 * 3 * 5 * 9 * 4 * 6


def test_a_trial_is_timed_until_the_device_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: order.append("wait"))
    measure.seconds(lambda: order.append("work"), "cuda")
    assert order == ["wait", "work", "wait"]
    order.clear()
    assert measure.seconds(lambda: time.sleep(0.01), "cpu") >= 0.01
    assert not order


MEMORY = """
import time, torch
from fcn.replication.benchmark import measure

memory = measure.Memory("cpu")
kept = torch.ones(4_000_000)  # 16 MB

def work():
    torch.ones(16_000_000)  # 64 MB
    time.sleep(0.02)

print(memory.peak(work), memory.peak(lambda: time.sleep(0.02)))
"""


@pytest.mark.skipif(not measure.STATUS.is_file(), reason="needs /proc")
def test_the_memory_of_the_work_is_counted_and_freed_memory_is_not() -> None:
    # In a process of its own: training lets a process keep the memory that it frees.
    output = subprocess.check_output([sys.executable, "-c", MEMORY], text=True)
    working, waiting = map(float, output.split())
    assert working == pytest.approx(80e6, rel=0.2)
    assert waiting == pytest.approx(16e6, rel=0.5)


def test_memory_is_counted_in_the_pages_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "statm").write_text("90 7 0 0 0 0 0")
    monkeypatch.setattr(measure, "STATUS", tmp_path / "statm")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 65536}.get)
    assert measure.Memory("cpu").before == 7 * 65536


def test_precision_is_set_and_restored() -> None:
    a = torch.ones(2, 2)
    with measure.precision("bf16", "cpu"):
        assert (a @ a).dtype == torch.bfloat16
    assert (a @ a).dtype == torch.float32
    before = torch.get_float32_matmul_precision()
    with measure.precision("tf32", "cpu"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def test_nets_without_initialization_are_filled_by_a_copy() -> None:
    net = FCN("googlenet", 32, 2, width=0.05)
    with measure.NoInit():
        other = FCN("googlenet", 32, 2, width=0.05)
    other.load_state_dict(net.state_dict())
    image = torch.rand(1, 3, 40, 40)
    torch.testing.assert_close(other.eval()(image), net.eval()(image))


def test_laps_add_up() -> None:
    laps = profiles.Laps("cpu")
    for _ in range(3):
        time.sleep(0.005)
        laps.lap("sleep")
        laps.lap("nothing")
    sleep, nothing = laps.parts(warm_up=1)
    assert (sleep.name, nothing.name) == ("sleep", "nothing")
    assert len(sleep.seconds) == 2
    assert min(sleep.seconds) >= 0.005 > max(nothing.seconds)


def test_a_command_that_fails_is_reported() -> None:
    with pytest.raises(RuntimeError, match="fcn --no-such-option ended with status 2"):
        profiles._run(["--no-such-option"])


def test_median_and_quartiles() -> None:
    assert quartiles((4.0, 1.0, 100.0, 2.0, 3.0)) == [2, 3, 4]
    assert quartiles([3.0]) == [3, 3, 3]


# The record


def test_a_quick_run_measures_everything(quick: tuple[Benchmark, Path, list[str]]) -> None:
    found, path, printed = quick
    assert path.is_file()
    assert json.loads(path.read_text())["hardware"] == found.hardware
    assert found.threads == torch.get_num_threads()
    for work in workloads("cpu", quick=True):
        measured = found.of(work)
        assert len(measured) + sum(line.startswith(f"{work}: ") for line in found.skipped) == len(
            variants(work, "cpu")
        )
        assert {Variant(), Variant("padded port")} < {*measured}
        assert all(len(case.seconds) == 2 for case in measured.values())
    assert [one.name for one in found.profiles] == ["training", "evaluation"]
    assert [one.command for one in found.commands] == ["--help"]
    for one in found.profiles:
        assert sum(one.shares().values()) == pytest.approx(100)
        assert one.images_per_second > 0
    text = "\n".join(printed)
    assert str(FORWARD).partition(",")[0] in text
    assert "upsampling and loss" in text
    assert "GFLOP/s" in printed[0]
    assert found.total < 120


def test_only_chooses_cases_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run.measured(quick=True, only="Forward, FCN-8s VGG16, 64x48, batch 1: ours, ref")
    reference = Variant(alignment="reference")
    measured = [case.variant for case in found.cases]
    assert measured == [reference, replace(reference, memory_format="channels last")]
    assert not found.profiles + found.commands  # type: ignore[operator]
    with pytest.raises(ValueError, match="--only abacus: no case"):
        run.measured(quick=True, only="abacus")


def test_an_error_without_a_text_is_named_and_the_other_cases_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check(session: run._Session, variant: Variant) -> None:
        if variant.memory_format == "channels last":
            raise AssertionError

    monkeypatch.setattr(run._Session, "check", check)
    only = "forward, FCN-8s VGG16, 64x48, batch 1: ours, reference"
    found = run.measured(quick=True, only=only, rounds=1)
    assert [case.variant for case in found.cases] == [Variant(alignment="reference")]
    assert found.skipped == [f"{only}, channels last: AssertionError"]
    assert "(" in next(line for line in run.report(found) if line.startswith("  ours"))


def test_when_the_time_is_up_the_rest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, step = [0.0], run._Session.check

    def slow(session: run._Session, variant: Variant) -> None:
        step(session, variant)
        clock[0] += 40

    monkeypatch.setattr(run._Session, "check", slow)
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    found = run.measured(quick=True, only="forward, FCN-8s VGG16, 64x48, batch 1: ours", minutes=1)
    assert len(found.cases) == 2
    assert found.skipped
    assert all(line.endswith("the time was up") for line in found.skipped)


def test_a_cpu_that_is_slow_in_bf16_skips_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"float32": 2e9, "bf16": 1e9}
    channels_last = "forward, FCN-8s VGG16, 64x48, batch 1: ours, channels last"
    monkeypatch.setattr(measure.Product, "rate", lambda self: rates[self.name])
    found = run.measured(quick=True, only=channels_last)
    assert {case.variant.precision for case in found.cases} == {"float32"}
    assert "slower in bf16 than in float32, 1 against 2 GFLOP/s" in found.skipped[0]
    rates["bf16"] = 4e9
    found = run.measured(quick=True, only=channels_last)
    assert {case.variant.precision for case in found.cases} == {"float32", "bf16"}


def record(**times: float) -> Benchmark:
    """A record with one case per peer or setting, {name: seconds}, of a forward pass."""
    work = Workload("forward", "vgg16", 8, 375, 500, 1)
    kinds = {
        "port": Variant("padded port"),
        "onnx": Variant("ONNX Runtime"),
        "ours": Variant(),
        "bf16": Variant(precision="bf16"),
        "compiled": Variant(mode="compiled"),
        "reference": Variant(alignment="reference"),
    }
    cases = [Case(work, kinds[name], [t, t, t], t, None, 3e9) for name, t in times.items()]
    return Benchmark(
        device="cpu",
        hardware="Abacus (TM), 2 cores",
        threads=2,
        versions={},
        commit=None,
        rates={"float32": [1e9, 3e9, 2e9]},
        cases=cases,
        profiles=[],
        commands=[Command("predict PHOTO", [3.0, 4.0, 9.0], 8e8)],
        skipped=[],
        total=1,
    )


def verdicts(found: Benchmark) -> dict[str, str]:
    return {target.text: target.verdict for target in targets(found)}


def test_targets_are_judged_by_the_fastest_of_ours_in_float32() -> None:
    found = record(port=3.0, onnx=1.0, ours=1.2, compiled=0.9, bf16=0.1, reference=3.1)
    judged = verdicts(found)
    assert judged["forward: time of ONNX Runtime / ours"] == "reached"
    assert judged["forward: time of the padded port / ours"] == "reached"
    assert judged["forward: time of the padded port / ours, reference"] == "missed"
    assert judged["training step: time of the padded port / ours"] == "not measured"
    assert judged["fcn predict: seconds"] == "reached"
    assert judged["fcn predict: megabytes"] == "missed"
    slower = record(port=2.0, onnx=1.0, ours=1.2, bf16=0.1)
    assert verdicts(slower)["forward: time of ONNX Runtime / ours"] == "missed"
    assert verdicts(slower)["forward: time of the padded port / ours"] == "missed"


def test_shares_are_of_the_rate_of_the_same_precision() -> None:
    found = record(ours=3.0, bf16=1.0)
    shares = [found.share(case) for case in found.cases]
    assert shares == [pytest.approx(50.0), None]


def test_a_target_names_its_bound() -> None:
    assert Target("t", 2.0, most=2.0).verdict == "reached"
    assert Target("t", 2.1, most=2.0).verdict == "missed"
    assert Target("t", None, least=1).bound == "at least 1"


def test_a_profile_is_the_sum_of_its_medians() -> None:
    one = Profile("training", 8, [Part("a", [1.0, 3.0, 2.0]), Part("b", [6.0])])
    assert one.images_per_second == 1
    assert one.shares() == {"a": 25.0, "b": 75.0}


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    found = record(port=2.000001, ours=1 / 3)
    path = found.save(tmp_path)
    assert path == tmp_path / "benchmarks" / "cpu-abacus-tm-2-cores.json"
    again = Benchmark.load(path)
    assert again.cases[1].median == pytest.approx(1 / 3, rel=1e-4)
    assert again.model_copy(update={"cases": []}) == found.model_copy(update={"cases": []})
    path.write_text(path.read_text().replace('"threads"', '"thread"'))
    with pytest.raises(ValueError, match=rf"{path.name}: thread"):
        Benchmark.load(path)


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="choose another with --save"):
        next(run.benchmark(save=tmp_path / "file"))


# The paper's times


def test_the_nets_are_those_that_the_paper_times() -> None:
    paper = {"FCN-AlexNet": 50, "FCN-VGG16": 210, "FCN-GoogLeNet": 59, "FCN-8s": 175}
    assert paper == paper_times.PAPER
    assert paper_times.PAPER.keys() == paper_times.NETS.keys()


def test_the_papers_nets_are_found_in_a_record() -> None:
    found = record()
    with pytest.raises(ValueError, match="no case forward, FCN-32s AlexNet, 500x500, batch 1"):
        paper_times.measured_times(found)
    for alignment in ("tight", "reference"):
        for i, work in enumerate(paper_times.WORKLOADS.values()):
            variant = Variant(alignment=alignment)
            found.cases.append(Case(work, variant, [float(i)], 0.0, None, None))
    times = paper_times.measured_times(found)
    assert [case.median for case in times["reference"].values()] == [0, 1, 2, 3]
    assert statistics.median(times["tight"]["FCN-8s"].seconds) == 3


def test_a_missing_device_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fcn", "benchmark", "--device", "abacus"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "--device abacus" in capsys.readouterr().err
