"""The parameters of the chapters, and the experiments that their presets run."""

import ast
import re
import subprocess
import sys
from dataclasses import replace

import build
import chapter_tables
import figure_5
import pytest
import torch
from presets import COMMITTED, ParameterError, Settings, check

from fcn.replication import run, smoke, snapshots
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import read, write

CHAPTERS = build.sources()
DEFAULTS = {
    "preset": "read",
    "experiments": "",
    "data_root": "",
    "weights_root": "",
    "device": "auto",
    "seed": 0,
    "results_dir": "../results",
    "runs_dir": "../runs",
}
USES = {
    "preset": {"preset", "run", "snapshot"},
    "experiments": {"run"},
    "data_root": {"data", "run"},
    "weights_root": {"weights", "run"},
    "device": {"device", "run"},
    "seed": {"seed", "run"},
    "results_dir": {"results", "records", "snapshot", "run"},
    "runs_dir": {"runs", "run"},
}
"""For each parameter the attributes of ``here`` that depend on it."""
TRAINED = "sift-flow-googlenet-32s"
TRIAL = "sift-flow-googlenet-8s-trial-adamw"
WITHOUT_DATA = "nyud-vgg16-32s-rgb"


# What the chapters declare


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_declares_parameters_of_the_book(self, source):
        declared = self.declared(source)
        assert declared
        assert declared.items() <= DEFAULTS.items()

    def test_checks_and_uses_what_it_declares_and_nothing_else(self, source):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        (call,) = [node for node in ast.walk(tree) if is_call(node, "presets", "check")]
        passed = {one.arg: one.value.id for one in call.keywords if one.arg != "offered"}
        declared = self.declared(source)
        assert passed == {name: name for name in declared}
        raw = [node.id for node in outside_functions(tree) if isinstance(node, ast.Name)]
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "here"
        }
        for name in declared:
            assert used & USES[name], f"{name} is declared but changes nothing"
            assert raw.count(name) == 2, f"{name} is used without its check"
        if "run" in used:
            assert declared.keys() == DEFAULTS.keys()
        for name in DEFAULTS.keys() - declared.keys():
            only = USES[name] - set().union(*(USES[other] for other in declared))
            assert not used & only, f"{name} is used but not declared"

    def test_is_tried_by_make_book_if_it_runs_experiments(self, source):
        makefile = (build.BOOK.parent / "Makefile").read_text()
        (tried,) = re.findall(r"^EXPERIMENTS := (.*)$", makefile, re.MULTILINE)
        if "experiments" in self.declared(source):
            assert source.stem[:2] in tried.split()

    def test_is_checked_before_anything_is_imported(self, source):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert [name.name for name in imports[0].names] == ["presets"]
        (call,) = [node for node in ast.walk(tree) if is_call(node, "presets", "check")]
        assert all(node.lineno > call.lineno for node in imports[1:])

    def declared(self, source):
        return {
            node.targets[0].id: ast.literal_eval(node.value)
            for cell in build.read_source(source).cells
            if "parameters" in cell.metadata.get("tags", [])
            for node in ast.parse(cell.source).body
        }

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
    def test_works_on_cuda(self, source, tmp_path):
        given = {"preset": "smoke", "device": "cuda", "runs_dir": str(tmp_path / "runs")}
        build.execute(source, build.declared(source, given), tmp_path)


@pytest.mark.parametrize(
    ("chapter", "names"),
    [
        ("06_sift_flow", chapter_tables.SIFT_FLOW_RUNS),
        ("07_pascal_voc", chapter_tables.VOC_RUNS),
        ("08_nyudv2", [e.name for e in EXPERIMENTS.values() if e.paper and "4" in e.paper[0]]),
        (
            "09_pascal_context",
            [e.name for e in EXPERIMENTS.values() if e.paper and "6" in e.paper[0]],
        ),
        ("15_speedrun", chapter_tables.SPEEDRUN_RUNS),
        ("11_patches_shifts_stitches", [*figure_5.EXPERIMENTS.values(), figure_5.CONTROL]),
    ],
)
def test_a_chapter_offers_what_it_runs(chapter, names):
    tree = ast.parse(build.BOOK.joinpath(f"{chapter}.py").read_text(encoding="utf-8"))
    (call,) = [node for node in ast.walk(tree) if is_call(node, "presets", "check")]
    (pattern,) = [one.value.value for one in call.keywords if one.arg == "offered"]
    assert {name for name in EXPERIMENTS if re.fullmatch(pattern, name)} == set(names)
    other = next(name for name in EXPERIMENTS if name not in names)
    with pytest.raises(ParameterError, match=f"{other}.*no experiment of this chapter"):
        check(preset="paper", experiments=other, offered=pattern)


def outside_functions(node):
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ListComp | ast.DictComp):
            yield child
            yield from outside_functions(child)


def is_call(node, owner, name):
    function = getattr(node, "func", None)
    return getattr(function, "attr", "") == name and getattr(function.value, "id", "") == owner


# Bad values


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("preset", "medium", "choose one of read, smoke, small, paper"),
        ("preset", 3, "choose one of read, smoke, small, paper"),
        ("experiments", "sift-flow-vgg-32s", "did you mean sift-flow-vgg16-32s"),
        ("experiments", TRAINED, "add -p preset paper"),
        ("experiments", 3, "names of experiments, separated by spaces"),
        ("data_root", "no/such", "no such folder"),
        ("data_root", 3, "give a folder"),
        ("weights_root", "no/such", "no such folder"),
        ("device", "gpu", "choose one of"),
        ("device", 0, '"auto", "cpu", "cuda" or "mps"'),
        ("seed", "x", "a whole number from 0"),
        ("seed", 1.5, "a whole number from 0"),
        ("seed", -1, "a whole number from 0"),
        ("seed", True, "a whole number from 0"),
        ("results_dir", "", "a folder, new or not"),
        ("results_dir", "presets.py", "a folder, new or not"),
        ("runs_dir", None, "give a folder"),
    ],
)
def test_a_bad_value_is_refused_in_one_line(name, value, remedy):
    with pytest.raises(ParameterError) as error:
        check(**{name: value})
    assert str(error.value).startswith(f"{name} = {value!r}: ")
    assert remedy in str(error.value)
    assert error.value._render_traceback_() == [f"ParameterError: {error.value}"]
    assert "\n" not in str(error.value)


def test_a_missing_folder_of_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("FCN_DATA", "/no/such")
    assert check().data is None  # not declared
    with pytest.raises(ParameterError, match="FCN_DATA = '/no/such': no such folder"):
        check(data_root="")


def test_papermill_shows_one_line_before_anything_is_computed(tmp_path):
    """``papermill -p preset medium`` on a chapter, as a reader types it."""
    source = next(path for path in CHAPTERS if path.stem.startswith("02"))
    build.write(build.read_source(source), tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", tmp_path / "in.ipynb", tmp_path / "out.ipynb"]
    command += ["--cwd", build.BOOK, "-p", "preset", "medium"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    line = "ParameterError: preset = 'medium': choose one of read, smoke, small, paper"
    assert done.stderr.count(line) == 1
    assert "KeyError" not in done.stderr
    assert 'Exception encountered at "In [3]"' in done.stderr  # after both cells of parameters


# Good values


def test_folders_are_relative_to_the_book(monkeypatch, tmp_path):
    monkeypatch.setenv("FCN_DATA", str(tmp_path))
    monkeypatch.delenv("FCN_WEIGHTS", raising=False)
    monkeypatch.chdir(tmp_path)
    here = check(data_root="", weights_root="", results_dir="../results", runs_dir="../new")
    assert (here.data, here.weights) == (tmp_path, None)
    assert (here.results, here.runs) == (COMMITTED, build.BOOK.parent / "new")
    assert check(weights_root="../fcn").weights == build.BOOK.parent / "fcn"


def test_experiments_are_separated_by_commas_or_spaces():
    names = (TRAINED, TRIAL)
    for given in (f"{TRAINED} {TRIAL}", f"{TRAINED}, {TRIAL}", [TRAINED, TRIAL, TRAINED]):
        assert check(preset="paper", experiments=given).experiments == names


def test_only_read_and_smoke_compute_with_one_thread(monkeypatch):
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    for preset in ("small", "paper"):
        check(preset=preset)
    assert threads == []
    for preset in ("read", "smoke"):
        check(preset=preset)
    assert threads == [1, 1]


def test_of_two_records_of_a_run_the_committed_one_is_shown(tmp_path):
    committed = check().records()
    first = committed[0]
    write(first.model_copy(update={"seconds": 1.0}), tmp_path)
    write(first.model_copy(update={"seed": 999}), tmp_path)
    found = check(results_dir=str(tmp_path)).records()
    assert len(found) == len(committed) + 1
    same = [one for one in found if one.experiment == first.experiment]
    assert [one.seconds for one in same if one.seed == first.seed] == [first.seconds]
    assert same[-1].seed == 999 or same[-1].purpose != first.purpose  # in the order of the seeds


def test_a_snapshot_is_computed_if_it_can_be_and_saved_for_the_paper(tmp_path):
    def compute():
        """Two numbers."""
        return {"a": [1, 2]}

    here = Settings(preset="paper", results=tmp_path)
    arrays, live = here.snapshot("two-numbers", compute, available=True)
    assert (arrays["a"].tolist(), live) == ([1, 2], True)
    arrays, live = here.snapshot("two-numbers", dict, available=False)
    assert (arrays["a"].tolist(), live) == ([1, 2], False)
    kept = (tmp_path / "snapshots/two-numbers.npz").read_bytes()
    here.snapshot("two-numbers", lambda: {"a": [3]}, available=True)
    assert (tmp_path / "snapshots/two-numbers.npz").read_bytes() == kept
    name = next((COMMITTED / "snapshots").glob("*.npz")).stem
    arrays, live = here.snapshot(name, dict, available=False)  # not in its results
    assert not live
    assert arrays.keys() == snapshots.load(name, COMMITTED).keys()
    Settings(results=tmp_path).snapshot("other", compute, available=True)
    assert not (tmp_path / "snapshots/other.npz").exists()


# Runs


@pytest.fixture
def lines(monkeypatch):
    """What a notebook would show, one line per run, each as it was last updated."""
    shown = []

    class Line:
        def update(self, data, raw):
            shown[self.index] = data["text/plain"]

    def display(data, raw, display_id):
        line = Line()
        line.index = len(shown)
        shown.append(data["text/plain"])
        return line

    monkeypatch.setattr("presets.display", display)
    return shown


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """Settings for the paper on tiny data; the experiments are shrunk but keep their purposes."""
    experiments = {
        name: replace(smoke.shrink(e), purpose=e.purpose) for name, e in EXPERIMENTS.items()
    }
    monkeypatch.setattr("presets.EXPERIMENTS", experiments)
    monkeypatch.setattr(run, "EXPERIMENTS", experiments)
    monkeypatch.setattr("presets.COMMITTED", tmp_path / "committed")
    monkeypatch.delenv("FCN_DATA", raising=False)
    smoke.write_data("sift-flow", tmp_path / "data")
    return Settings(
        preset="paper",
        data=tmp_path / "data",
        results=tmp_path / "results",
        runs=tmp_path / "runs",
    )


def test_the_paper_is_run_recorded_and_not_repeated(paper, lines, tmp_path):
    names = [TRAINED, WITHOUT_DATA, TRIAL]
    made = paper.run(names)
    assert made["run"].tolist() == [TRAINED, TRIAL]
    assert made["purpose"].tolist() == ["final", "validation"]
    files = [f"{TRAINED}.seed0.json", f"{TRIAL}.seed0.validation.json"]
    assert sorted(path.name for path in paper.results.iterdir()) == sorted(files)
    trial = read(paper.results / files[1])
    assert (trial.dataset.trained_on.images, trial.dataset.scored_on.images) == (5, 1)
    assert (paper.runs / f"{TRAINED}.seed0.safetensors").is_file()
    assert [line.partition(":")[0] for line in lines] == [
        f"{TRAINED}.seed0",
        f"{WITHOUT_DATA}.seed0",
        f"{TRIAL}.seed0.validation",
    ]
    assert "mean IU" in lines[0]
    assert files[0] in lines[0]
    assert "NYUDv2 not found; set FCN_DATA or -p data_root to the folder" in lines[1]
    assert not any("\n" in line for line in lines)
    before = {path: path.read_bytes() for path in paper.results.iterdir()}
    assert paper.run(names).empty
    assert {path: path.read_bytes() for path in paper.results.iterdir()} == before


def test_a_failed_run_names_the_parameter_that_helps(paper, lines, monkeypatch, tmp_path):
    monkeypatch.delenv("FCN_WEIGHTS", raising=False)
    replace(paper, data=None).run([TRAINED])
    full = replace(smoke.shrink(EXPERIMENTS[TRAINED]), width=1.0, purpose="final")
    monkeypatch.setattr("presets.EXPERIMENTS", {TRAINED: full})
    for folder in (None, tmp_path):
        replace(paper, weights=folder).run([TRAINED])
    for line, parameter in zip(lines, ("data_root", "weights_root", "weights_root"), strict=True):
        assert line.startswith(f"{TRAINED}.seed0: failed: ")
        assert f"-p {parameter}" in line
        assert "\n" not in line
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="choose another with -p results_dir"):
        replace(paper, results=tmp_path / "file").run([TRAINED])


def test_what_is_committed_is_neither_repeated_nor_touched(paper, lines, tmp_path):
    committed = tmp_path / "committed"
    committed.mkdir()
    write(check().records()[0].model_copy(update={"experiment": TRAINED, "seed": 0}), committed)
    (file,) = committed.iterdir()
    before = file.read_bytes()
    assert paper.run([TRAINED]).empty
    assert file.read_bytes() == before
    assert not [*paper.results.glob("*")]
    assert "skipped, recorded in" in lines[0]


def test_experiments_narrow_the_paper(paper):
    here = replace(paper, experiments=(TRIAL,))
    assert here.run([TRAINED, TRIAL])["run"].tolist() == [TRIAL]
    with pytest.raises(ParameterError, match=f"did you mean {TRAINED}"):
        here.run([TRAINED])


def test_smoke_leaves_no_records_and_needs_no_data(lines, tmp_path, monkeypatch):
    monkeypatch.delenv("FCN_DATA", raising=False)
    here = check(preset="smoke", results_dir=str(tmp_path / "new"), runs_dir=str(tmp_path / "runs"))
    made = here.run(["sift-flow-vgg16-16s", TRIAL])
    ran = ["sift-flow-vgg16-32s", "sift-flow-vgg16-16s", TRIAL]  # the first is started from
    assert made["run"].tolist() == ran
    assert set(made["purpose"]) == {"demonstration"}
    written = {path.name for path in (tmp_path / "runs/smoke").rglob("*.json")}
    assert set(made.record) == written
    assert not (tmp_path / "new").exists()


def test_read_and_small_run_what_they_are_told_to(lines, tmp_path):
    assert Settings(runs=tmp_path).run([TRAINED], small=[TRAINED]).empty
    assert Settings(preset="small", runs=tmp_path).run([TRAINED]).empty
    assert lines == []
    assert not list(tmp_path.iterdir())
