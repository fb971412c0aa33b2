"""SIGINT, SIGTERM and SIGUSR1: a run ends at a checkpoint within seconds, and continues from it."""

import os
import signal
import threading
import time

import pytest
import torch
from test_loop import Tiny, assert_same_weights, run, same_run, stamps  # noqa: F401 - fixture

from fcn.training import signals
from fcn.training.recipe import Recipe
from fcn.training.signals import Interrupted, interruptible

ALL = pytest.mark.parametrize("number", signals.SIGNALS, ids=lambda number: number.name)


@pytest.fixture(autouse=True)
def _defaults():
    """The handlers of a program in the foreground."""
    handlers = dict.fromkeys(signals.SIGNALS, signal.SIG_DFL)
    handlers[signal.SIGINT] = signal.default_int_handler
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    for number, handler in before.items():
        signal.signal(number, handler)


@ALL
def test_a_signal_ends_a_run_at_a_checkpoint_from_which_it_continues(number, stamps, tmp_path):  # noqa: F811
    torch.manual_seed(0)
    nets = [Tiny() for _ in range(3)]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    recipe = Recipe(1e-2, epochs=3, batch_size=1, optimizer="adamw")
    expected = run(nets[0], stamps, recipe)
    lines = []

    def log(line):
        lines.append(line)
        if line.startswith("step 5/"):
            signal.raise_signal(number)

    path = tmp_path / "a.checkpoint"
    message = f"^stopped by {number.name} at step 5 of 12; the same command with --resume continues"
    with pytest.raises(Interrupted, match=message), interruptible() as stop:
        run(nets[1], stamps, recipe, checkpoint=path, log=log, stop=stop)
    assert "step 6/" not in str(lines)
    assert same_run(run(nets[2], stamps, recipe, checkpoint=path, resume=True), expected)
    assert_same_weights(nets[2], nets[0])


@ALL
def test_before_the_first_step_a_signal_ends_the_run_at_once(number):
    with pytest.raises(Interrupted, match=f"stopped by {number.name};"), interruptible():  # noqa: PT012
        signal.raise_signal(number)
        pytest.fail("still here")


def test_what_comes_after_the_last_step_is_finished_and_not_interrupted():
    done = []
    with interruptible() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGTERM)
        done.append("the record")
    assert done
    with interruptible() as stop:
        assert not stop()  # the signal is forgotten


def test_a_finished_part_leaves_its_signal_to_the_next():
    with pytest.raises(Interrupted, match="SIGTERM"), interruptible():  # noqa: PT012
        with interruptible() as stop:
            stop()
            signal.raise_signal(signal.SIGTERM)
        signals.check()
        pytest.fail("still here")


def test_a_second_signal_does_not_wait(monkeypatch):
    monkeypatch.setattr(signals, "REPEATED", 0.05)
    with pytest.raises(KeyboardInterrupt) as ended, interruptible() as stop:  # noqa: PT012
        stop()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the same key press, passed on by a launcher
        assert stop()
        time.sleep(0.06)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("still here")
    assert not isinstance(ended.value, Interrupted)


def test_contexts_can_be_nested():
    with pytest.raises(Interrupted, match="SIGUSR1"), interruptible():  # noqa: PT012
        with interruptible() as stop:
            stop()
        signal.raise_signal(signal.SIGUSR1)
        pytest.fail("still here")


def test_a_signal_that_something_else_handles_is_left_to_it():
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interruptible() as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_outside_the_main_thread_nothing_happens():
    found = []

    def work():
        with interruptible() as stop:
            found.append((stop(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.SIG_DFL)]
