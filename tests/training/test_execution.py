"""Precision, memory format, allocator and memory suit the machine; results stay the same."""

import copy
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from test_loop import RECIPE, Kept, Tiny, assert_same_weights, net_for, run, same_run, stopped

from fcn.cpu import allocator
from fcn.data.synthetic.outdoor import Scenes
from fcn.training import execution, memory
from fcn.training.checkpoint import read_checkpoint
from fcn.training.distributed import launch_fabric
from fcn.training.execution import FORMATS, executed_precision, has_fast_bfloat16, memory_format
from fcn.training.memory import InMemory, in_memory
from fcn.training.recipe import Recipe
from fcn.training.record import Execution

ISA = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")


@pytest.fixture(autouse=True)
def unpinned(monkeypatch):
    for name in (*ISA, "FCN_MEMORY_FORMAT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def scenes():
    return Kept(Scenes(4, (32, 48)))


def cpu(monkeypatch, *, machine="x86_64", aten="AVX512", bf16=False, amx=False, arm=False):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: aten)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: arm, raising=False)


@pytest.mark.parametrize(
    ("machine", "fast"),
    [
        ({"aten": "AVX2"}, False),
        ({}, False),
        ({"bf16": True}, True),
        ({"amx": True}, True),
        ({"bf16": True, "aten": "AVX2"}, False),  # ATEN_CPU_CAPABILITY
        ({"machine": "aarch64", "aten": "DEFAULT", "arm": True}, True),
        ({"machine": "arm64", "aten": "DEFAULT"}, False),
    ],
)
def test_bfloat16_is_fast_where_there_are_instructions(monkeypatch, machine, fast):
    cpu(monkeypatch, **machine)
    assert has_fast_bfloat16() is fast


@pytest.mark.parametrize(
    ("limits", "fast"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        ({"DNNL_MAX_CPU_ISA": "avx512_core_vnni"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "avx512_core_bf16"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "ALL", "DNNL_MAX_CPU_ISA": "AVX2"}, True),  # the first one counts
        ({"ONEDNN_MAX_CPU_ISA": "", "DNNL_MAX_CPU_ISA": "AVX2"}, False),
    ],
)
def test_bfloat16_is_slow_where_onednn_is_restricted(monkeypatch, limits, fast):
    cpu(monkeypatch, bf16=True, amx=True)
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    assert has_fast_bfloat16() is fast


@pytest.mark.parametrize(
    ("asked", "device", "fast", "executed"),
    [
        ("bf16-mixed", "cpu", False, "32-true"),
        ("bf16-mixed", "cpu", True, "bf16-mixed"),
        ("32-true", "cpu", True, "32-true"),
        ("bf16-mixed", "cuda", False, "bf16-mixed"),
    ],
)
def test_the_log_says_where_bfloat16_is_replaced(monkeypatch, asked, device, fast, executed):
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda: fast)
    monkeypatch.setattr(execution, "resolve_device", lambda device: device)
    lines = []
    assert executed_precision(asked, device, lines.append) == executed
    assert [line.startswith("float32 instead of bfloat16") for line in lines] == (
        [True] * (asked != executed)
    )


def probed(monkeypatch, last, first):
    """The probe's result from now on, and the shapes of the images that it is given."""
    shapes = []

    def probe(net, images, fabric):
        shapes.append(tuple(images.shape))
        return {"channels_last": last, "contiguous": first}

    monkeypatch.setattr(execution, "probe", probe)
    return shapes


@pytest.mark.parametrize(
    ("passes", "last", "first", "found", "lines"),
    [
        (1000, 1.0, 0.7, "contiguous", 1),
        (1000, 1.0, 0.95, "channels_last", 1),  # noise
        (1000, 0.05, 0.01, "channels_last", 0),  # 50 seconds in all
        (199, 1.0, 0.1, "channels_last", 0),
    ],
)
def test_the_memory_format_is_the_faster_one_in_long_runs(
    monkeypatch, scenes, passes, last, first, found, lines
):
    shapes, logged = probed(monkeypatch, last, first), []
    assert memory_format(Tiny(), scenes, passes, 8, launch_fabric("cpu"), logged.append) == found
    assert shapes == [(8, 3, 32, 48)] * (passes >= 200)
    assert [line.startswith(f"memory format: {found}") for line in logged] == [True] * lines


def test_the_environment_decides_on_the_memory_format(monkeypatch, scenes):
    shapes = probed(monkeypatch, 1.0, 0.1)
    of = (Tiny(), scenes, 1000, 8, launch_fabric("cpu"), print)
    monkeypatch.setenv("FCN_MEMORY_FORMAT", "channels_last")
    assert memory_format(*of) == "channels_last"
    monkeypatch.setenv("FCN_MEMORY_FORMAT", "nchw")
    with pytest.raises(ValueError, match="FCN_MEMORY_FORMAT is nchw: choose one of channels_last"):
        memory_format(*of)
    assert not shapes


@pytest.mark.parametrize("training", [True, False])
def test_a_probe_leaves_no_trace(scenes, training):
    net = net_for().train(training)
    net.trunk.requires_grad_(not training)
    before, state = copy.deepcopy(net), torch.get_rng_state()
    images = scenes[0].image.expand(2, -1, -1, -1)
    seconds = execution.probe(net, images, launch_fabric("cpu"))
    assert list(seconds) == list(FORMATS)
    assert all(0 < s < 60 for s in seconds.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_weights(net, before)
    assert all(p.grad is None for p in net.parameters())
    assert net.training is training


def test_a_probe_differentiates_what_learns(scenes):
    net, calls = net_for(), []
    for parameter in net.parameters():
        parameter.register_hook(calls.append)
    images = scenes[0].image.expand(1, -1, -1, -1)
    execution.probe(net.eval(), images, launch_fabric("cpu"))
    assert not calls
    execution.probe(net.train(), images, launch_fabric("cpu"))
    assert calls


# In a run


def test_a_run_says_how_it_was_executed(monkeypatch, scenes):
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda: False)
    lines = []
    done = run(net_for(), scenes, replace(RECIPE, precision="bf16-mixed"), log=lines.append)
    assert done.execution == Execution(
        "32-true", "channels_last", torch.get_num_threads(), allocator.keep_freed_memory()
    )
    assert lines[0].startswith("float32 instead of bfloat16")
    exact = run(net_for(), scenes, RECIPE)
    assert same_run(done, exact)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_run_resumes_as_it_began(monkeypatch, scenes, tmp_path, precision):
    """Bit for bit, though the machine would choose otherwise now."""
    fast = precision == "bf16-mixed"
    recipe = replace(RECIPE, precision="bf16-mixed")
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda: fast)
    monkeypatch.setenv("FCN_MEMORY_FORMAT", "contiguous")
    whole, resumed = net_for(), net_for()
    expected = run(whole, scenes, recipe)
    checkpoint = tmp_path / "a.checkpoint"
    stopped(resumed, scenes, recipe, checkpoint, 2)
    monkeypatch.setenv("FCN_MEMORY_FORMAT", "channels_last")
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda: True)
    done = run(resumed, scenes, recipe, checkpoint=checkpoint, resume=True)
    assert (done.execution.precision, done.execution.memory_format) == (precision, "contiguous")
    assert same_run(done, expected)
    assert_same_weights(resumed, whole)


def test_a_run_in_bfloat16_goes_on_where_that_is_slow(monkeypatch, scenes, tmp_path):
    recipe = replace(RECIPE, precision="bf16-mixed")
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda: True)
    net, checkpoint, lines = net_for(), tmp_path / "a.checkpoint", []
    stopped(net, scenes, recipe, checkpoint, 2)
    monkeypatch.setattr(execution, "has_fast_bfloat16", lambda: False)
    done = run(net, scenes, recipe, checkpoint=checkpoint, resume=True, log=lines.append)
    assert lines[0].startswith("float32 instead of bfloat16")
    assert done.execution.precision == "bf16-mixed"  # of the first step


def test_a_checkpoint_of_an_older_version_resumes(scenes, tmp_path):
    net, checkpoint = net_for(), tmp_path / "a.checkpoint"
    stopped(net, scenes, RECIPE, checkpoint, 2)
    state = torch.load(checkpoint, weights_only=True)
    del state["run"]["execution"]
    torch.save(state, checkpoint)
    assert read_checkpoint(checkpoint, state["identity"])["run"]["step"] == 2
    assert run(net, scenes, RECIPE, checkpoint=checkpoint, resume=True).execution is not None


# The allocator


FAULTS = """
import resource, torch
from fcn.cpu import allocator

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(allocator.keep_freed_memory(), *(faults() for _ in range(20)), sep="|")
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept():
    """Pages that are used again need no zeros from the system."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    run_it = [sys.executable, "-c", FAULTS]
    name, *faults = subprocess.check_output(run_it, text=True, env=plain).split("|")
    if name in ("tcmalloc", "jemalloc", "mimalloc"):
        pytest.skip("needs glibc")
    assert name == "glibc, keeps freed memory"
    # Small arrays may be in the way at first.
    assert statistics.median(map(int, faults)) < (64 << 20) / 4096 / 10, faults


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_the_users_settings_of_the_allocator_are_left_alone(monkeypatch, name):
    monkeypatch.setattr(allocator, "_preloaded", lambda: "")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("called"))
    monkeypatch.setenv(name, "glibc.malloc.arena_max=1" if name == "GLIBC_TUNABLES" else "1")
    assert allocator.keep_freed_memory.__wrapped__() == "glibc, set by the environment"


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("/usr/lib/libtcmalloc_minimal.so.4.5.10", "tcmalloc"),
        ("/usr/lib/libjemalloc.so.2", "jemalloc"),
        ("/usr/lib/libc.so.6", ""),
    ],
)
def test_another_allocator_is_named(monkeypatch, tmp_path, file, found):
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f01 r-xp 00000000 08:01 123 {file}\n")
    monkeypatch.setattr(allocator, "MAPS", maps)
    assert allocator._preloaded() == found


# Samples in memory


def test_samples_in_memory_are_those_of_the_data_set(scenes):
    kept = InMemory(scenes)
    assert (kept.checksum, kept.contents) == (scenes.checksum, scenes.contents)
    assert (kept.name, kept.split, kept.heads) == (scenes.name, scenes.split, scenes.heads)
    for sample, expected in zip(kept, scenes, strict=True):
        assert (sample.name, sample.image.dtype) == (expected.name, torch.uint8)
        assert torch.equal(sample.image, expected.image)
        assert list(sample.labels) == list(expected.labels)
        for head, labels in expected.labels.items():
            assert sample.labels[head].dtype == torch.int64
            assert torch.equal(sample.labels[head], labels)


def test_a_sample_in_memory_is_out_of_a_callers_reach(scenes):
    kept = InMemory(scenes)
    kept[0].image.zero_()
    kept[0].labels["semantic"].zero_()
    assert torch.equal(kept[0].image, scenes[0].image)
    assert torch.equal(kept[0].labels["semantic"], scenes[0].labels["semantic"])


def test_samples_are_kept_where_they_fit(monkeypatch, scenes):
    size = 4 * 32 * 48 * (3 + len(scenes.heads))
    monkeypatch.setattr(memory, "available_memory", lambda: 4 * size)
    kept = in_memory(scenes)
    assert isinstance(kept, InMemory)
    assert in_memory(kept) is kept
    monkeypatch.setattr(memory, "available_memory", lambda: 4 * size - 4)
    assert in_memory(scenes) is scenes


def test_a_container_limits_the_memory(monkeypatch, tmp_path):
    free = memory.available_memory()
    entries = ("memory.max", "memory.current", "inactive_file")
    monkeypatch.setattr(memory, "LIMITS", {tmp_path / "none": entries, tmp_path: entries})
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 1500\ninactive_file 1000\nactive_file 500\n")
    for text, found in (("max", free), ("4096", 4096 - 3000 + 1000), ("1024", 0)):
        (tmp_path / "memory.max").write_text(f"{text}\n")
        assert memory.available_memory() == pytest.approx(found, rel=0.5)


def test_processes_share_the_memory(monkeypatch):
    alone = memory.available_memory()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert memory.available_memory() == pytest.approx(alone / 4, rel=0.5)


def test_a_run_reads_each_sample_once(scenes):
    class Counted(Kept):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    data = Counted(list(scenes))
    recipe = Recipe(1e-3, epochs=5, batch_size=2, augment="mirror")
    run(Tiny(), data, recipe)
    assert data.reads <= len(data) + 3  # three to know their size
    data.reads = 0
    run(Tiny(), data, replace(recipe, epochs=0.5))
    assert data.reads == 2  # less than an epoch: nothing to keep
