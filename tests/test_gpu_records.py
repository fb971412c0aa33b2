"""The records of a GPU, rehearsed on the CPU: plan, budget, interrupts and resuming, and the speed of the nets.

The runs are those of the plan at the smallest size, on a tiny SIFT Flow in its official layout. Processes are forked
here, which is quick, and which only a GPU forbids.
"""

import json
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import lightning.fabric  # noqa: F401 - so that forked processes need not
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from fcn import records, weights
from fcn.datasets import packed, sift_flow
from fcn.experiments import EXPERIMENTS
from fcn.gpu import __main__ as program
from fcn.gpu import plan, schedule, speed, together
from fcn.gpu.plan import Item
from fcn.gpu.worker import Job, Place

IMAGES = 3
FEW = (Item("sift-flow-googlenet-32s", (0, 1)), Item("sift-flow-googlenet-16s"), Item("sift-flow-googlenet-8s-best"))


@pytest.fixture(autouse=True)
def forked(monkeypatch):
    monkeypatch.setattr(together, "processes", lambda: multiprocessing.get_context("fork"))
    monkeypatch.setattr(schedule, "processes", lambda: multiprocessing.get_context("fork"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The first photos of each list of SIFT Flow, 40 x 40 pixels of noise, where the data set has them."""
    root = tmp_path_factory.mktemp("data") / "sift-flow"
    for folder in ("Images", "SemanticLabels"):
        (root / folder / sift_flow.COLLECTION).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in [name for split in ("trainval", "test") for name in sift_flow.split_names(split)[:IMAGES]]:
        photo = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(photo).save(root / "Images" / sift_flow.COLLECTION / f"{name}.jpg", quality=95)
        labels = rng.integers(0, 34, (40, 40)).astype(np.uint8)
        scipy.io.savemat(root / "SemanticLabels" / sift_flow.COLLECTION / f"{name}.mat", {"S": labels})
    return root.parent


@pytest.fixture
def place(data, tmp_path) -> Place:
    (tmp_path / "out").mkdir()
    return Place(data, None, tmp_path / "out", tmp_path / "results", "cpu", IMAGES)


def tiny(items=FEW, steps: int = 2) -> list[Job]:
    """The jobs of a plan as a rehearsal has them, narrower still, with so many steps."""
    jobs = plan.rehearsal(plan.jobs(items, "cpu"), IMAGES, pretrained=False)
    return [
        replace(job, experiment=replace(e, width=0.02, solver=replace(s, epochs=steps * s.batch_size / IMAGES)))
        for job, e, s in ((job, job.experiment, job.experiment.solver) for job in jobs)
    ]


def stems(jobs) -> list[str]:
    return [job.stem.removeprefix("rehearsal-sift-flow-googlenet-") for job in jobs]


# --------------------------------------------------------------------------------------------------------- the plan


def test_the_plan_is_in_order_and_can_be_carried_out():
    jobs = plan.jobs()
    assert [job.experiment.name for job in jobs[:9]] == [
        f"sift-flow-googlenet-{stride}s" for stride in (32, 16, 8) for _ in plan.SEEDS
    ]
    assert len({job.stem for job in jobs}) == len(jobs)
    for i, job in enumerate(jobs):
        solver, catalogue = job.experiment.solver, EXPERIMENTS[job.experiment.name]
        before = [f"{start}.seed{job.seed}" for start in job.experiment.start]
        assert set(before) <= {earlier.stem for earlier in jobs[:i]}  # a stage comes after the one it starts from
        assert solver.precision == "bf16-mixed"
        assert job.experiment.departures[-1] == plan.BFLOAT16
        assert replace(solver, precision=catalogue.solver.precision) == catalogue.solver
        assert job.experiment.width == 1
        assert 0.5 < job.minutes < 10
    for job in jobs[:9]:
        assert job.experiment.solver.epochs >= 175
        assert job.experiment.solver.optimizer == "sgd"
    assert plan.jobs(device="cpu")[0].experiment == EXPERIMENTS["sift-flow-googlenet-32s"]
    with pytest.raises(ValueError, match="the plan names nothing-8s"):
        plan.jobs([Item("nothing-8s")])


def test_a_rehearsal_is_every_run_at_the_smallest_size_under_another_name():
    jobs = plan.jobs()
    small = plan.rehearsal(jobs, IMAGES, pretrained=False)
    assert len(small) == len(jobs)
    for job, tried in zip(jobs, small, strict=True):
        assert tried.experiment.name == f"rehearsal-{job.experiment.name}"
        assert tried.experiment.name not in EXPERIMENTS
        assert tried.experiment.solver.epochs * IMAGES / tried.experiment.solver.batch_size == pytest.approx(2)
        assert "no result" in tried.experiment.departures[-1]
        assert (tried.experiment.width, tried.experiment.paper) == (0.1, None)


def test_a_run_is_chosen_that_ends_in_time():
    long, short, longer = (replace(job, minutes=m) for job, m in zip(plan.jobs()[:3], (5, 2, 9), strict=True))

    def chosen(left):
        return schedule.choose([long, short, longer], lambda job: job.minutes, left)

    assert chosen(10) == long  # the worthiest
    assert chosen(4) == short  # the worthiest that ends
    assert chosen(1.5) == long  # none ends: the worthiest, up to a checkpoint
    assert chosen(0.5) is None  # not worth the start
    assert schedule.choose([], lambda job: job.minutes, 10) is None


# --------------------------------------------------------------------------------------------------------- the runs


def test_runs_are_recorded_once_and_stages_follow_each_other(place):
    lines: list[str] = []
    outcome = schedule.record(tiny(), place, minutes=5, workers=2, log=lines.append)
    assert sorted(stems(outcome.recorded)) == ["16s.seed0", "32s.seed0", "32s.seed1", "8s-best.seed0"]
    assert (outcome.failed, outcome.stopped, outcome.waiting, outcome.interrupted) == ({}, [], [], False)
    found = {record.experiment.removeprefix("rehearsal-sift-flow-googlenet-"): record
             for record in records.load(place.results) if record.seed == 0}  # fmt: skip
    assert found["16s"].initial_weights is not None
    assert found["16s"].initial_weights.name == "rehearsal-sift-flow-googlenet-32s.seed0.safetensors"
    assert found["16s"].dataset.trained_on.images == IMAGES
    assert found["8s-best"].solver["average"] == 0.999
    assert not list(place.out.glob("*.checkpoint"))
    weights.load_model(place.out / "rehearsal-sift-flow-googlenet-8s-best.seed0.safetensors")

    before = {path: path.stat().st_mtime_ns for path in place.results.iterdir()}
    lines.clear()
    again = schedule.record(tiny(), place, minutes=5, workers=2, log=lines.append)
    assert (again.recorded, len(lines)) == ([], 4)
    assert all(line.startswith("recorded already: ") for line in lines)
    assert {path: path.stat().st_mtime_ns for path in place.results.iterdir()} == before


def interrupted(place, jobs, what, monkeypatch, minutes=5.0):
    """The outcome of a call in whose first run ``what`` happens after its first step, and its lines."""
    monkeypatch.setattr(schedule, "STATUS_EVERY", 0.0)
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if "step " in line and not any("step " in earlier for earlier in lines[:-1]):
            what()

    return schedule.record(jobs, place, minutes=minutes, workers=1, log=log), lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_saves_what_runs_and_the_next_call_goes_on_from_it(place, monkeypatch, number):
    jobs = tiny([FEW[0]], steps=12)
    outcome, _ = interrupted(place, jobs, lambda: os.kill(os.getpid(), number), monkeypatch)
    assert outcome.interrupted
    assert (stems(outcome.stopped), stems(outcome.waiting), outcome.recorded) == (["32s.seed0"], ["32s.seed1"], [])
    assert place.checkpoint(jobs[0]).is_file()
    assert not place.results.exists() or not list(place.results.iterdir())
    assert 0 < schedule._share_left(place, jobs[0]) < 1

    lines: list[str] = []
    done = schedule.record(jobs[:1], place, minutes=5, workers=1, log=lines.append)
    assert "from its checkpoint" in lines[0]
    assert stems(done.recorded) == ["32s.seed0"]
    resumed = place.out / f"{jobs[0].stem}.safetensors"
    (place.out / "whole").mkdir()
    whole = replace(place, out=place.out / "whole", results=place.out / "whole")
    schedule.record(jobs[:1], whole, minutes=5, workers=1, log=lines.append)
    assert "from its checkpoint" not in lines[-2]
    ours, expected = weights.load_model(resumed), weights.load_model(whole.out / resumed.name)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), expected.parameters(), strict=True))


def test_a_budget_that_is_spent_leaves_a_checkpoint(place, monkeypatch):
    monkeypatch.setattr(schedule, "WORTH_STARTING", 0.0)
    jobs = tiny([FEW[0]], steps=10_000)
    began = schedule.time.time()
    outcome = schedule.record(jobs, place, minutes=0.05, workers=1, log=lambda line: None)
    assert schedule.time.time() - began < 30
    assert (stems(outcome.stopped), stems(outcome.waiting)) == (["32s.seed0"], ["32s.seed1"])
    assert not outcome.interrupted
    assert place.checkpoint(jobs[0]).is_file()


def test_a_process_that_is_killed_is_started_again(place, monkeypatch):
    jobs = tiny([Item("sift-flow-googlenet-32s")], steps=12)
    outcome, lines = interrupted(place, jobs, lambda: multiprocessing.active_children()[0].kill(), monkeypatch)
    assert stems(outcome.recorded) == ["32s.seed0"]
    assert any("its process ended with -9" in line for line in lines)


def test_a_run_that_fails_leaves_the_others_alone_and_is_not_tried_again(place):
    wild, fine = tiny([FEW[0]], steps=4)
    solver = replace(wild.experiment.solver, learning_rate=1e30)
    wild = replace(wild, experiment=replace(wild.experiment, solver=solver))
    lines: list[str] = []
    outcome = schedule.record([wild, fine], place, minutes=5, workers=1, log=lines.append)
    assert stems(outcome.recorded) == ["32s.seed1"]
    assert "Diverged: the loss is" in outcome.failed[wild.stem]
    again = schedule.record([wild, fine], place, minutes=5, workers=1, log=lines.append)
    assert again.failed.keys() == {wild.stem}
    assert str(place.failure(wild)) in lines[-2]


# ------------------------------------------------------------------------------------------------------ the program


def call(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["gpu", *map(str, arguments)])
    code: object = 0
    try:
        program.main()
    except SystemExit as end:
        code = end.code or 0
    assert isinstance(code, int)
    return code, *capsys.readouterr()


def test_one_command_from_parts_to_records(data, tmp_path, monkeypatch, capsys):
    """As ``make records-gpu`` runs it: parts unpacked, the speed measured, the plan recorded; and then skipped."""
    monkeypatch.setattr(plan, "PLAN", FEW[:1])
    monkeypatch.setattr(plan.jobs, "__defaults__", (FEW[:1], "cuda"))
    fast = [speed.Case("FCN-GoogLeNet", task, "bf16", mode, best)
            for task, mode, best in (("forward", "eager", False), ("training step", "captured", True))]  # fmt: skip
    monkeypatch.setattr(speed, "cases", lambda compiled: fast)
    monkeypatch.setattr(speed, "BATCHES", (1, 2))
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    packed.pack(data, tmp_path / "parts")
    given = ("records", "--data", tmp_path / "parts", "--minutes", 3, "--device", "cpu", "--out", tmp_path / "out",
             "--rehearse", IMAGES, "--departure", "sift-flow: photos of noise")  # fmt: skip
    code, out, err = call(monkeypatch, capsys, *given)
    assert (code, err) == (0, ""), out
    results = tmp_path / "out" / "rehearsal" / "results"
    assert sorted(path.name for path in results.iterdir()) == [
        "gpu-speed.json", "rehearsal-sift-flow-googlenet-32s.seed0.json", "rehearsal-sift-flow-googlenet-32s.seed1.json"
    ]  # fmt: skip
    assert "images/s of nets at once" in out
    record = records.read(results / "rehearsal-sift-flow-googlenet-32s.seed1.json")
    assert "photos of noise" in record.departures
    found = json.loads((results / "gpu-speed.json").read_text())
    assert found["rows"][0]["batch"] == 1
    for row in found["rows"]:
        assert row["images_per_second"] == pytest.approx(1000 * row["batch"] / row["ms"], rel=0.01, abs=0.06)
        percent = row["images_per_second"] * row["gflop_per_image"] / found["matrix_tflops"]["bf16"] / 10
        assert row["percent_of_matrix_rate"] == pytest.approx(percent, abs=0.02)
    code, again, _ = call(monkeypatch, capsys, *given, "--workers", 1, "--no-capture")
    assert code == 0
    assert again.count("recorded already") == 2
    assert "FCN-GoogLeNet" not in again  # the speed is known
    assert json.loads((results / "gpu-speed.json").read_text()) == found


@pytest.mark.parametrize(("arguments", "says"), [
    (("--data", "nowhere", "--device", "abacus"), "--device abacus"),
    (("--data", "nowhere", "--device", "cpu"), "--weights"),
    (("--data", ".", "--device", "cpu", "--weights", "."), "bvlc_googlenet.caffemodel"),
    (("--data", "nowhere", "--device", "cpu", "--rehearse", 2, "--out", "o"), "nowhere: no such folder"),
    (("--data", ".", "--device", "cpu", "--rehearse", 2, "--out", "o", "--departure", "photos"), '"photos"'),
])  # fmt: skip
def test_bad_input_is_one_line(monkeypatch, capsys, tmp_path, arguments, says):
    monkeypatch.chdir(tmp_path)
    code, _, err = call(monkeypatch, capsys, "records", *arguments)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("guess",), ("records",), ("records", "--data", ".", "--minutes", "few")])
def test_arguments_that_make_no_sense_are_refused_without_a_trace(monkeypatch, capsys, arguments):
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert "Usage: " in out + err
    assert "Traceback" not in err


def test_the_plan_is_printed_with_its_minutes(monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "plan")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == len(plan.jobs()) + 1
    assert "sift-flow-googlenet-32s.seed0" in lines[0]


# -------------------------------------------------------------------------------------------------------- the speed


def test_operations_are_counted_in_convolutions():
    """Layer by layer: two operations for each weight at each place of the output."""
    net = speed.NETS["FCN-GoogLeNet"]()
    by_hand = 0
    sizes: list[tuple[torch.nn.Conv2d, torch.Size]] = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, _, out: sizes.append((m, out.shape)))
    with torch.inference_mode():
        net(torch.rand(1, 3, 64, 64))
    for layer, shape in sizes:
        by_hand += 2 * layer.weight.numel() * shape[2] * shape[3]
    deconvolution = 2 * 21 * (64 // 32) ** 2 * 63**2  # at most: a cell of the coarse scores goes to 63 x 63 pixels
    counted = 1e9 * speed.gigaflops("FCN-GoogLeNet", "forward", (64, 64))
    assert by_hand <= counted <= by_hand + 4 * deconvolution
    assert 2.5 < speed.gigaflops("FCN-GoogLeNet", "training step", (64, 64)) * 1e9 / counted < 3.1


def test_the_plain_port_upsamples_every_class_from_every_class():
    ours, plain = (make("vgg16", 8, width=0.02) for make in (port_of, speed.plain_port))
    plain.load_state_dict(ours.state_dict())
    images = torch.rand(1, 3, 40, 50)
    torch.testing.assert_close(plain.eval()(images), ours.eval()(images), atol=1e-4, rtol=1e-3)
    assert {m.groups for m in plain.modules() if isinstance(m, speed.Deconvolution)} == {1}


def port_of(net, stride, width):
    torch.manual_seed(0)
    model = speed.FCN(net, stride, speed.CLASSES, alignment="reference", width=width)
    for head in model.heads.values():
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter)
    return model


def test_the_speed_of_other_hardware_is_not_mixed_in(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "cases", lambda compiled: [])
    path = speed.record(tmp_path, "cpu", minutes=1, size=(32, 32), side=32, log=lambda line: None)
    found = json.loads(path.read_text())
    assert found["matrix_tflops"].keys() == {"bf16", "tf32", "fp32"}
    path.write_text(path.read_text().replace(found["hardware"], "an abacus"))
    with pytest.raises(ValueError, match="other hardware"):
        speed.record(tmp_path, "cpu", minutes=1, size=(32, 32), side=32)


def test_a_row_that_fails_says_why_and_the_others_go_on(tmp_path, monkeypatch):
    def failing(**how):
        raise torch.OutOfMemoryError("too large\nfor this")

    monkeypatch.setitem(speed.NETS, "FCN-AlexNet", failing)
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    rows = [speed.Case(net, "forward", "fp32", "eager", False) for net in ("FCN-AlexNet", "FCN-GoogLeNet")]
    monkeypatch.setattr(speed, "cases", lambda compiled: rows)
    path = speed.record(tmp_path, "cpu", minutes=1, size=(32, 32), width=0.05, side=32, log=lambda line: None)
    first, second = json.loads(path.read_text())["rows"]
    assert first["error"].startswith("OutOfMemoryError: too large")
    assert second["ms"] > 0


def test_as_many_processes_as_gain_something():
    assert together.best_count({1: 100.0, 2: 180.0, 3: 182.0, 4: 183.0}) == 2
    assert together.best_count({1: 100.0, 2: 101.0, 3: 150.0}) == 3
    assert together.best_count({1: 100.0, 2: 90.0}) == 1
