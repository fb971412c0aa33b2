"""Several processes on two nodes compute what one process does with the same batches."""

import copy
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_loop import HEADS, Kept, Tiny, after, net_for, run, same_run, without_chance

from fcn.data.sample import VOID
from fcn.data.synthetic.outdoor import Scenes
from fcn.environment import PROJECT
from fcn.training.checkpoint import Stopped
from fcn.training.distributed import launch_fabric
from fcn.training.evaluate import evaluate
from fcn.training.recipe import Recipe

NODES, PER_NODE = 2, 2
PROCESSES = NODES * PER_NODE

# torchrun's own launcher on one of the nodes; forking spares the processes the imports.
LAUNCHER = f"""
import sys
import lightning_fabric
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from test_distributed import work

node, port, folder = sys.argv[1:]
config = LaunchConfig(
    {NODES}, {NODES}, {PER_NODE}, rdzv_backend="static", rdzv_endpoint="127.0.0.1:" + port,
    rdzv_configs={{"rank": int(node), "timeout": 500}}, start_method="fork", run_id="test",
    max_restarts=0,
)
elastic_launch(config, work)(folder)
"""

# Two steps each, on images of one size. The processes' shares of a batch have 2, 2, 1 and 1 images
# or parts, unless all have the same, and very different numbers of labelled pixels.
BASE = Recipe(learning_rate=1e-3, epochs=2, batch_size=8, weight_decay=0, augment="mirror")
UNEVEN = replace(BASE, batch_size=6, epochs=1.5)
RECIPES = {
    "equal shares": BASE,
    "uneven shares": UNEVEN,
    "whole parts": replace(UNEVEN, micro_batch=1),
    "shares of parts": replace(BASE, batch_size=12, micro_batch=6, epochs=3),
    "class weights": replace(UNEVEN, balance=1.0),
    "sum": replace(UNEVEN, reduction="sum", learning_rate=1e-6),
}
DROPOUT = replace(BASE, learning_rate=1e-2, epochs=4, optimizer="adamw")
TOO_FEW = replace(BASE, batch_size=6, micro_batch=2)


def images():
    """Eight scenes, most of them with few labelled pixels."""
    scenes = [*Scenes(8, (40, 48))]
    for i, scene in enumerate(scenes[3:]):
        for labels in scene.labels.values():
            labels[2 + i :] = VOID
    return scenes


def trained(recipe, **settings):
    """The losses of a run, and the change of every weight."""
    net = without_chance(net_for("googlenet", stride=8, **settings))
    before = copy.deepcopy(net.state_dict())
    done = run(net, Kept(images()), recipe)
    losses = [point["loss"] for point in done.curve]
    return losses, {name: value - before[name] for name, value in net.state_dict().items()}


def scored(count, **more):
    """The confusion matrices of ``count`` images of two sizes."""
    data = Kept([*Scenes(count - 1, (40, 48)), Scenes(1, (52, 33), seed=1)[0]])
    net = without_chance(net_for("googlenet", stride=8))
    matrices = evaluate(net, data, device="cpu", **more)
    return {head: matrix.matrix for head, matrix in matrices.items()}


def with_dropout(folder, **more):
    torch.manual_seed(0)
    net = Tiny()
    for head in net.heads.values():
        head[0].weight.data *= 20  # so that the loss depends on what is dropped
    done = run(net, Kept(images()), DROPOUT, checkpoint=folder / "run.checkpoint", **more)
    return done, net.state_dict()


def compute():
    """What one process computes, too."""
    runs = {name: trained(recipe) for name, recipe in RECIPES.items()}
    runs["layers without gradient"] = trained(UNEVEN, fusion="finest")
    return runs, [scored(7), scored(3)]


def interrupted(folder, rank):
    """A run with dropout, uninterrupted and stopped by one of the processes after two steps."""
    expected, weights = with_dropout(folder)
    (folder / "run.checkpoint").unlink(missing_ok=True)
    launch_fabric("cpu").barrier()
    messages = []
    try:
        with_dropout(folder, stop=after(2) if rank == 2 else lambda: False)
    except Stopped as stopped:
        messages.append(str(stopped))
    done, resumed = with_dropout(folder, resume=True)
    try:
        scored(7, stop=lambda: rank == 1)
    except Stopped as stopped:
        messages.append(str(stopped))
    try:
        run(Tiny(), Kept(images()), TOO_FEW)
    except ValueError as error:
        messages.append(str(error))
    same = same_run(done, expected) and all(map(torch.equal, resumed.values(), weights.values()))
    return same, messages, [point["loss"] for point in done.curve]


def work(folder):
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    results = (*compute(), *interrupted(Path(folder), rank))
    torch.save(results, f"{folder}/rank{rank}.pt")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of each process: two launchers, one per node, that meet on this machine."""
    try:
        port = free_port()
    except OSError as error:
        pytest.skip(f"processes cannot meet on this machine: {error}")
    folder = tmp_path_factory.mktemp("nodes")
    paths = os.pathsep.join(map(str, [Path(__file__).parent, PROJECT]))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LAUNCHER]
    nodes = [
        subprocess.Popen([*command, str(node), str(port), str(folder)], env=environment)
        for node in range(NODES)
    ]
    try:
        assert [node.wait(timeout=500) for node in nodes] == [0] * NODES
    finally:
        for node in nodes:
            node.terminate()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.fixture(scope="module")
def one_process():
    return compute()


@pytest.mark.parametrize("name", [*RECIPES, "layers without gradient"])
def test_losses_and_weights_are_those_of_one_process(results, one_process, name):
    losses, changes = one_process[0][name]
    assert len(set(losses)) == 2
    for result in results:
        shared, shared_changes = result[0][name]
        assert shared == pytest.approx(losses, rel=1e-5)
        for weight, change in changes.items():
            close = 1e-4 * change.abs().max().item() + 1e-7
            torch.testing.assert_close(shared_changes[weight], change, atol=close, rtol=0)


def test_confusion_matrices_are_exactly_those_of_one_process(results, one_process):
    """Of seven images, which four processes cannot share evenly, and of three."""
    for result in results:
        for shared, matrices in zip(result[1], one_process[1], strict=True):
            assert shared.keys() == matrices.keys() == HEADS.keys()
            assert all(torch.equal(shared[head], matrices[head]) for head in HEADS)


def test_all_stop_when_one_is_told_to_and_resume(results):
    for same, messages, _ in (result[2:] for result in results):
        assert messages[:2] == ["at step 2 of 4", "while scoring the images"]
        assert same


def test_too_many_processes_are_refused(results):
    expected = (
        "a batch of 6 images in 3 parts of 2 cannot be shared by 4 processes; start at most 3"
    )
    assert [result[3][2] for result in results] == [expected] * PROCESSES


def test_dropout_depends_on_the_number_of_processes(results, tmp_path):
    done, _ = with_dropout(tmp_path)
    losses = [point["loss"] for point in done.curve]
    assert results[0][4] == pytest.approx(losses, rel=0.2)
    assert results[0][4] != pytest.approx(losses, rel=1e-4)


def test_nodes_with_different_numbers_of_processes_are_refused(monkeypatch):
    for here in ("3", "2"):  # on either of two nodes
        for name, value in {"WORLD": "5", "LOCAL_WORLD": here, "GROUP_WORLD": "2"}.items():
            monkeypatch.setenv(f"{name}_SIZE", value)
        with pytest.raises(ValueError, match=f"5 processes on 2 nodes, {here} of them here: start"):
            launch_fabric("cpu")
