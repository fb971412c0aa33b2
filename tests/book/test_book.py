"""The committed chapters, the command line that runs them, the link check of the site."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import build
import links
import nbformat
import pytest
import yaml

BOOK = Path(build.BOOK)
GLUED = "application/papermill.record/"  # prefix of glued outputs
CHAPTERS = sorted(BOOK.glob("[0-9][0-9]_*.py"))
# The chapters


def committed(source: Path) -> nbformat.NotebookNode:
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def printed(output: nbformat.NotebookNode) -> str:
    """What an output says in words; pictures are left out."""
    pieces = [output.get("text", ""), *output.get("traceback", [])]
    pieces += [
        value for kind, value in output.get("data", {}).items() if not kind.startswith("image/png")
    ]
    return "\n".join(map(str, pieces))


def test_the_table_of_contents_lists_the_chapters_in_order():
    """And number them as their files are numbered: the prose says "chapter 7"."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    chapters, others = toc["parts"]
    assert (toc["root"], chapters["numbered"]) == ("index", 1)
    assert [entry["file"] for entry in others["chapters"]] == ["when_things_go_wrong", "references"]
    files = [entry["file"] for entry in chapters["chapters"]]
    assert files == [source.stem for source in CHAPTERS]
    assert [int(file[:2]) for file in files] == list(range(1, len(files) + 1))


def test_no_notebook_is_without_a_source():
    build.check()


@pytest.mark.parametrize("source", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_notebook_agrees_with_its_source(self, source):
        assert build.differences(source) == []

    def test_outputs_are_the_same_for_every_reader(self, source):
        elsewhere = re.compile(
            r"(?<![\w.:/])/(?:home|root|tmp|work|Users|private|opt|usr|var|mnt)/|[A-Z]:\\Users"
        )
        for cell in committed(source).cells:
            for output in cell.get("outputs", []):
                assert output.output_type != "error", f"{cell.id} failed"
                assert output.get("name") != "stderr", (
                    f"{cell.id} wrote to standard error: {printed(output)}"
                )
                assert not [kind for kind in output.get("data", {}) if "widget" in kind], (
                    f"{cell.id} holds a widget"
                )
                assert not elsewhere.search(printed(output)), (
                    f"{cell.id} names a path of one machine"
                )
                assert not re.search(r" at 0x[0-9a-f]+>", printed(output)), (
                    f"{cell.id} prints a memory address"
                )

    def test_every_number_in_the_prose_is_glued_once(self, source):
        cells = committed(source).cells
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        glued = [
            output.metadata["scrapbook"]["name"]
            for output in outputs
            if any(kind.startswith(GLUED) for kind in output.get("data", {}))
        ]
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        used = {name.partition(":")[0] for name in re.findall(r"\{glue:text\}`(.+?)`", prose)}
        assert sorted(glued) == sorted(used)

    def test_notebook_is_stripped(self, source):
        notebook = committed(source)
        assert nbformat.writes(notebook) + "\n" == source.with_suffix(".ipynb").read_text(
            encoding="utf-8"
        )
        assert build.strip(committed(source)) == notebook
        assert "version" not in notebook.metadata.get("language_info", {})

    def test_ends_with_a_summary_and_three_exercises(self, source):
        prose = "\n\n".join(
            cell.source for cell in build.read_source(source).cells if cell.cell_type == "markdown"
        )
        assert prose.lstrip().startswith("# "), "a chapter begins with its title"
        headings = re.findall(r"^## (.+)$", prose, flags=re.MULTILINE)
        assert headings[-2:] == ["Summary", "Exercises"]
        exercises = prose.rpartition("## Exercises")[2]
        assert (
            len(re.findall(r"^(?:\d\.|###|:::+\{exercise\}) ?", exercises, flags=re.MULTILINE)) >= 3
        )


# The engine

TOY = """\
    # %% [markdown]
    # # A toy chapter

    # %% tags=["parameters"]
    preset = "read"
    seed = 0

    # %%
    import random

    random.seed(seed)
    preset, random.random()

    # %%
    print("the same cell")

    # %%
    print("the same cell")
    """


@pytest.fixture
def toy(tmp_path):
    source = tmp_path / "book" / "01_toy.py"
    source.parent.mkdir()
    source.write_text(textwrap.dedent(TOY))
    return source


@pytest.fixture
def executed_toy(toy):
    """A chapter with a committed notebook that agrees with it, not really executed."""
    notebook = build.read_source(toy)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
    build.write(notebook, toy.with_suffix(".ipynb"))
    return toy


def test_two_runs_are_equal_byte_for_byte(toy, tmp_path):
    first, _ = build.execute(toy, {}, tmp_path / "first")
    second, _ = build.execute(toy, {}, tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()

    notebook = nbformat.read(first, as_version=4)
    nbformat.validate(notebook)
    assert "0.8444218515250481" in notebook.cells[2].outputs[0].data["text/plain"]
    assert "papermill" not in first.read_text()
    toy.with_suffix(".ipynb").write_bytes(first.read_bytes())
    assert build.differences(toy) == []


def test_parameters_reach_the_chapter(toy, tmp_path):
    target, _ = build.execute(toy, {"preset": "small", "seed": 1}, tmp_path / "run")
    outputs = [
        cell.outputs for cell in nbformat.read(target, as_version=4).cells if cell.get("outputs")
    ]
    assert outputs[0][0].data["text/plain"] == "('small', 0.13436424411240122)"


def test_a_chapter_receives_the_parameters_that_it_declares(toy, tmp_path, monkeypatch):
    given = {"preset": "small", "seed": 1, "runs_dir": "/runs", "random": 3}
    assert build.declared(toy, given) == {"preset": "small", "seed": 1}
    assert build.declared(toy, {}) == {}


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
def test_the_environment_of_the_chapters(monkeypatch, tmp_path, committed, repeatable):
    monkeypatch.setattr(os, "environ", {"FCN_DATA": "data", "OMP_NUM_THREADS": "4"})
    monkeypatch.setitem(build.ENVIRONMENT, "IPYTHONDIR", str(tmp_path))
    build.prepare_environment(committed=committed, repeatable=repeatable)
    assert os.environ.get("FCN_DATA") == (None if committed else os.path.abspath("data"))
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == ("" if committed else None)
    assert os.environ["OMP_NUM_THREADS"] == ("1" if repeatable else "4")
    assert ("MKL_CBWR" in os.environ) == repeatable


def test_nbval_compares_in_the_environment_of_the_committed_notebooks(toy, tmp_path):
    """As with the real chapters: the folder is all that is named, and only chapters are read."""
    toy.write_text(
        toy.read_text() + "\n# %%\nimport os\n\nprint(os.environ.get('FCN_DATA'), "
        "os.environ['OMP_NUM_THREADS'], os.environ['PYTHONHASHSEED'])\n"
        "\n# %%\nimport time\n\nprint(f'{time.perf_counter():.4f} s')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(BOOK), "FCN_DATA": "data"}
    script = "import sys, pathlib, build; source, run = map(pathlib.Path, sys.argv[1:]); "
    script += "build.prepare_environment(); build.execute(source, {}, run)"
    command = [sys.executable, "-c", script, toy, tmp_path / "run"]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    text = (tmp_path / "run" / "01_toy.ipynb").read_text()
    assert "None 1 0" in text
    shutil.copy(BOOK / "conftest.py", toy.parent)
    (toy.parent / "helpers").mkdir()
    (toy.parent / "helpers" / "broken.ipynb").write_text("no notebook")

    def compared(text: str) -> subprocess.CompletedProcess[str]:
        toy.with_suffix(".ipynb").write_text(text)
        command = [sys.executable, "-m", "pytest", "--nbval", "book/", "-p", "no:cacheprovider"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    assert "6 passed" in compared(text).stdout
    assert "1 failed, 5 passed" in compared(text.replace("None 1 0", "None 2 0")).stdout


def test_a_failing_chapter_names_the_line_and_leaves_the_committed_notebook(executed_toy, tmp_path):
    before = executed_toy.with_suffix(".ipynb").read_bytes()
    executed_toy.write_text(executed_toy.read_text() + "\n# %%\nfine = 1\nfine / 0\n")
    line = executed_toy.read_text().splitlines().index("fine / 0") + 1
    with pytest.raises(
        build.ChapterError, match=rf"01_toy\.py, line {line}: ZeroDivisionError: division by zero"
    ):
        build.execute(executed_toy, {}, tmp_path / "run")
    assert executed_toy.with_suffix(".ipynb").read_bytes() == before


def test_what_is_printed_in_a_row_becomes_one_output():
    def stream(name, text):
        return nbformat.v4.new_output("stream", name=name, text=text)

    value = nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=1)
    out, more, err = stream("stdout", "a\n"), stream("stdout", "b\n"), stream("stderr", "c\n")
    found = build.join_streams([out, more, err, value, stream("stdout", "d\n")])
    assert [output.get("text") for output in found] == ["a\nb\n", "c\n", None, "d\n"]
    kinds = [output.output_type for output in found]
    assert kinds == ["stream", "stream", "execute_result", "stream"]


def test_glued_values_are_stored_and_nothing_else_of_them(toy, tmp_path):
    glued = '\n# %%\nfrom myst_nb import glue\n\nglue("gain", 1.25, display=False)\n'
    toy.write_text(toy.read_text() + glued)
    target, _ = build.execute(toy, {}, tmp_path / "run")
    (output,) = nbformat.read(target, as_version=4).cells[-1].outputs
    assert dict(output.data) == {f"{GLUED}text/plain": "1.25"}
    assert output.metadata["scrapbook"]["name"] == "gain"


def test_a_cell_keeps_its_name_when_another_changes(toy):
    before = [cell.id for cell in build.read_source(toy).cells]
    assert len(set(before)) == len(before)
    toy.write_text(toy.read_text().replace("# # A toy chapter", "# # Another title"))
    after = [cell.id for cell in build.read_source(toy).cells]
    assert after[0] != before[0]
    assert after[1:] == before[1:]


def test_agreement_is_seen(executed_toy):
    assert build.differences(executed_toy) == []
    build.check(executed_toy.parent)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seed = 0", "seed = 2", "cell 2 differs from"),
        ('tags=["parameters"]', "", "cell 2 differs from"),
        ("# # A toy chapter", "# # A play chapter", "cell 1 differs from"),
        ("random.seed(seed)\n", "", "cell 3 differs from"),
        ('\n# %%\nprint("the same cell")\n', "", "has 5 cells"),
    ],
)
def test_a_changed_source_is_seen(executed_toy, old, new, complaint):
    changed = executed_toy.read_text().replace(old, new, 1)
    assert changed != executed_toy.read_text()
    executed_toy.write_text(changed)
    (line,) = build.differences(executed_toy)
    assert complaint in line
    assert "make notebooks" in line
    with pytest.raises(build.ChapterError, match=complaint):
        build.check(executed_toy.parent)


def test_changed_prose_and_tags_need_no_run(toy, executed_toy):
    text = toy.read_text().replace("A toy chapter", "A new title")
    toy.write_text(text.replace("# %%\nimport random", '# %% tags=["hide-input"]\nimport random'))
    assert build.differences(toy) != []
    before = nbformat.read(toy.with_suffix(".ipynb"), as_version=4)
    build.update_prose(toy)
    after = nbformat.read(toy.with_suffix(".ipynb"), as_version=4)
    assert build.differences(toy) == []
    assert after.cells[2].metadata.tags == ["hide-input"]
    assert after.cells[0].source == "# A new title"
    assert [cell.get("outputs") for cell in after.cells] == [
        cell.get("outputs") for cell in before.cells
    ]
    toy.write_text(toy.read_text().replace("seed = 0", "seed = 1"))
    with pytest.raises(build.ChapterError, match="the code has changed, too"):
        build.update_prose(toy)
    assert nbformat.read(toy.with_suffix(".ipynb"), as_version=4) == after


def test_a_notebook_that_was_not_run_is_seen(toy):
    build.write(build.read_source(toy), toy.with_suffix(".ipynb"))
    assert "cell 2 was not run" in build.differences(toy)[0]


def test_a_missing_notebook_and_a_missing_source_are_seen(executed_toy):
    executed_toy.rename(executed_toy.with_name("02_moved.py"))
    with pytest.raises(
        build.ChapterError, match=r"02_moved\.ipynb is missing[^\0]*01_toy\.ipynb has no source"
    ):
        build.check(executed_toy.parent)


def test_chapters_are_chosen_by_the_beginning_of_their_names(toy):
    assert build.sources(toy.parent, ["01"]) == [toy]
    assert build.sources(toy.parent) == [toy]
    with pytest.raises(build.ChapterError, match=r"begins with '07'; choose one of 01_toy"):
        build.sources(toy.parent, ["07"])


def test_committed_notebooks_take_no_parameters(capsys):
    with pytest.raises(SystemExit, match="2"):
        build.main(["notebooks", "--preset", "small"])
    assert "takes no parameters" in capsys.readouterr().err


# The check of the built site


def test_broken_links_are_found(tmp_path):
    (tmp_path / "index.html").write_text(
        '<a href="b.html#here">1</a> <a href="b.html#nowhere">2</a> <a href="c.html">3</a>'
        '<a href="#top">4</a>'
        '<a id="top" href="https://example.org/">5</a> <script src="https://example.org/x.js"></script>'
        '<img src="a%20b.png"> <img src="data:image/png;base64,AA==">'
    )
    (tmp_path / "b.html").write_text('<h2 id="here"></h2>')
    (tmp_path / "a b.png").write_bytes(b"")
    assert links.broken(tmp_path) == [
        "index.html: no such place on its page: b.html#nowhere",
        "index.html: no file for c.html",
        "index.html: needs https://example.org/x.js from another host",
    ]


def test_broken_links_fail_the_check_one_per_line(tmp_path):
    with pytest.raises(build.ChapterError, match="run `make site` first"):
        build.check_links(tmp_path)
    (tmp_path / "index.html").write_text('<a href="c.html">1</a> <a href="d.html">2</a>')
    with pytest.raises(build.ChapterError, match=r"no file for c\.html\nindex.*d\.html"):
        build.check_links(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [["--only", "99"], ["--jobs", "0"], ["--data-root", "no/such"], ["--weights-root", "no/such"]],
)
def test_a_wrong_argument_is_named_before_anything_runs(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        build.main(["execute", *wrong])
    assert f"argument {wrong[0]}: " in capsys.readouterr().err
