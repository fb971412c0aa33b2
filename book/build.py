"""Runs the chapters of the book.

A chapter is a text file, ``NN_name.py`` (jupytext, percent format), and beside it the same chapter executed,
``NN_name.ipynb``, which is what the site shows. Four things can be done with them:

    execute    run every chapter through papermill into _build/executed (the committed notebooks stay as they are)
    notebooks  the same with the default parameters, then replace the committed notebooks
    check      compare the committed notebooks with their sources, cell by cell, without running anything
    compare    run the committed notebooks again (pytest --nbval) and compare what they print with what is stored

Executed notebooks hold no time, no host and no version of Python, and a cell keeps its name for as long as it keeps
its text: two runs on one machine are equal byte for byte.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jupytext
import nbformat
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

BOOK = Path(__file__).resolve().parent
EXECUTED = BOOK.parent / "_build" / "executed"

# What a chapter finds around it. One thread, since sums in another order are other numbers in the last digit.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # a warning of the debugger, on standard error
    "IPYTHONDIR": str(BOOK.parent / "_build" / "ipython"),  # no start-up files or settings of the reader's own
}
# Where a reader's own data and weights lie. The committed notebooks are made without them, as most will read them.
READERS_OWN = ("FCN_DATA", "FCN_WEIGHTS")


class ChapterError(Exception):
    """A chapter that cannot be run, or that differs from its source; the message says which one and how to mend it."""


def sources(book: Path = BOOK, only: list[str] | None = None) -> list[Path]:
    """The chapters' sources in reading order; ``only`` keeps those whose names begin so (``05`` or ``05_skips``)."""
    found = sorted(book.glob("[0-9][0-9]_*.py"))
    for start in only or []:
        if not any(path.stem.startswith(start) for path in found):
            names = ", ".join(path.stem for path in found) or "none"
            raise ChapterError(f"no chapter's name begins with {start!r}; there are: {names}")
    return [path for path in found if not only or path.stem.startswith(tuple(only))]


def read_source(source: Path) -> NotebookNode:
    """A chapter's source as a notebook that has not been run."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for cell in notebook.cells:
        cell.metadata = {name: value for name, value in cell.metadata.items() if name in ("tags", "slideshow")}
    return name_cells(notebook)


def name_cells(notebook: NotebookNode) -> NotebookNode:
    """Names each cell after its text, so that a change in one cell leaves the others' names as they are."""
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def strip(notebook: NotebookNode) -> NotebookNode:
    """Takes out what differs from run to run or from machine to machine and says nothing to a reader."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):  # papermill adds an empty list
            del cell.metadata["tags"]
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)
    return name_cells(notebook)


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs with what was printed in a row as one: the kernel sends it in parts, wherever its clock cuts."""
    whole: list[NotebookNode] = []
    for output in outputs:
        if whole and output.output_type == whole[-1].output_type == "stream" and output.name == whole[-1].name:
            whole[-1].text += output.text
        else:
            whole.append(output)
    return whole


def write(notebook: NotebookNode, path: Path) -> None:
    """Writes a notebook whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def execute(source: Path, parameters: dict[str, object], folder: Path = EXECUTED) -> tuple[Path, float]:
    """Runs one chapter through papermill, in the folder of its source.

    Returns the executed notebook, which lies in ``folder``, and the seconds it took. Raises ChapterError, naming the
    line, where a cell fails; the notebook up to that cell stays in ``folder``.
    """
    import papermill  # slow to import, and needed only here

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}.ipynb"
    begun = time.monotonic()
    try:
        executed = papermill.execute_notebook(
            read_source(source),
            str(target),
            parameters=parameters,
            kernel_name="python3",
            language="python",
            cwd=str(source.parent),
            progress_bar=False,
        )
    except papermill.PapermillExecutionError as error:
        line = _failing_line(source, error.source, error.traceback)
        raise ChapterError(
            f"{_shown(source)}, line {line}: {error.ename}: {error.evalue} (the run up to there: {_shown(target)})"
        ) from None
    except DeadKernelError:
        raise ChapterError(f"{_shown(source)}: its process died, most likely for want of memory") from None
    write(strip(executed), target)
    return target, time.monotonic() - begun


def _failing_line(source: Path, cell: str, traceback: list[str]) -> int:
    """The line of the source at which a cell failed, from the cell's text and the traceback's first frame."""
    cell_begins = source.read_text(encoding="utf-8").partition(cell)[0].count("\n") + 1
    frame = re.search(r"Cell In\[\d+\], line (\d+)", re.sub(r"\x1b\[[\d;]*m", "", "\n".join(traceback)))
    return cell_begins + (int(frame[1]) - 1 if frame else 0)


def _shown(path: Path) -> str:
    """A path as a reader at the project's root would type it."""
    return str(path.relative_to(BOOK.parent)) if path.is_relative_to(BOOK.parent) else str(path)


def prepare_environment(readers_own: bool) -> None:
    """Sets what the chapters' processes inherit; with ``readers_own`` false they do not see the reader's own data."""
    os.environ.update(ENVIRONMENT)
    profile = Path(ENVIRONMENT["IPYTHONDIR"]) / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # Its start and its end are no news: a warning that loopback is not encrypted, an interrupt where it is shut down.
    (profile / "ipython_kernel_config.py").write_text('get_config().IPKernelApp.log_level = "CRITICAL"\n')
    for name in READERS_OWN:
        folder = os.environ.pop(name, None)
        if folder and readers_own:
            os.environ[name] = os.path.abspath(folder)  # a chapter runs in book/, the reader typed the path elsewhere


def execute_all(chapters: list[Path], parameters: dict[str, object], jobs: int) -> list[Path]:
    """Runs chapters, ``jobs`` at a time, and prints the seconds each took. All are run, even where one fails."""
    executed, errors = [], []
    with ProcessPoolExecutor(jobs) as pool:
        runs = {chapter: pool.submit(execute, chapter, parameters) for chapter in chapters}
        for chapter, run in runs.items():
            try:
                target, seconds = run.result()
            except ChapterError as error:
                errors.append(str(error))
                continue
            print(f"{_shown(chapter)}: {seconds:.0f} s", flush=True)
            executed.append(target)
    if errors:
        raise ChapterError("\n".join(errors))
    return executed


def differences(source: Path) -> list[str]:
    """What sets a committed notebook apart from its source; empty where they agree."""
    path = source.with_suffix(".ipynb")
    if not path.exists():
        return [f"{_shown(path)} is missing: run `make notebooks`"]
    wanted, found = read_source(source).cells, nbformat.read(path, as_version=4).cells

    def content(cell: NotebookNode) -> tuple[str, str, list[str]]:
        return cell.cell_type, cell.source, cell.metadata.get("tags", [])

    for number, (want, have) in enumerate(zip(wanted, found, strict=False), start=1):
        if content(want) != content(have):
            return [f"{_shown(path)}, cell {number} differs from {_shown(source)}: run `make notebooks`"]
        if have.cell_type == "code" and have.source and have.execution_count is None:
            return [f"{_shown(path)}, cell {number} was not run: run `make notebooks`"]
    if len(wanted) != len(found):
        return [f"{_shown(path)} has {len(found)} cells, {_shown(source)} {len(wanted)}: run `make notebooks`"]
    return []


def check(book: Path = BOOK) -> None:
    """Raises ChapterError where a committed notebook and its source disagree, or where one is without the other."""
    found = [line for source in sources(book) for line in differences(source)]
    for notebook in sorted(book.glob("[0-9][0-9]_*.ipynb")):
        if not notebook.with_suffix(".py").exists():
            found.append(f"{_shown(notebook)} has no source: write {notebook.stem}.py or delete it")
    if found:
        raise ChapterError("\n".join(found))


def compare(chapters: list[Path], jobs: int) -> int:
    """Runs the committed notebooks again under pytest --nbval; returns its exit status."""
    notebooks = [str(chapter.with_suffix(".ipynb")) for chapter in chapters]
    nbval = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with", str(BOOK / "sanitize.cfg")]
    side_by_side = ["-n", str(jobs), "--dist", "loadfile"]
    return subprocess.call([sys.executable, "-m", "pytest", *nbval, *side_by_side, *notebooks], cwd=BOOK.parent)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run the chapters of the book.")
    parser.add_argument("mode", choices=["execute", "notebooks", "check", "compare"])
    parser.add_argument("--only", action="append", metavar="NN", help="a chapter, by the beginning of its name")
    parser.add_argument("--jobs", type=int, default=2, help="chapters run at a time (default 2)")
    given = parser.add_argument_group("parameters of the chapters (execute only)")
    given.add_argument("--preset", choices=["read", "small", "paper"], help="how much is computed")
    given.add_argument("--data-root", type=Path, help="folder of the data sets")
    given.add_argument("--device", help="cpu, cuda, ...")
    given.add_argument("--seed", type=int)
    given.add_argument("--results-dir", type=Path, help="folder of the recorded runs")
    options = parser.parse_args(arguments)

    # Only what was asked for is passed on: a run with the defaults, which stand in the chapters, adds no cell.
    names = ("preset", "data_root", "device", "seed", "results_dir")
    asked = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    parameters = {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in asked.items()}
    if parameters and options.mode != "execute":
        parser.error(f"{options.mode} takes no parameters of the chapters: the committed notebooks hold the defaults")

    for option, folder in (("--data-root", options.data_root), ("--results-dir", options.results_dir)):
        if folder is not None and not folder.is_dir():
            parser.error(f"argument {option}: {folder}: no such folder")
    if options.jobs < 1:
        parser.error(f"argument --jobs: {options.jobs}: at least one chapter is run at a time")
    try:
        sources(only=options.only)
    except ChapterError as error:
        parser.error(f"argument --only: {error}")

    prepare_environment(readers_own=options.mode == "execute")
    try:
        chapters = sources(only=options.only)
        if not chapters:
            raise ChapterError("book/ holds no chapter (NN_name.py)")
        if options.mode == "check":
            check()
        elif options.mode == "compare":
            return compare(chapters, options.jobs)
        else:
            executed = execute_all(chapters, parameters, options.jobs)
            if options.mode == "notebooks":
                for chapter, notebook in zip(chapters, executed, strict=True):
                    write(nbformat.read(notebook, as_version=4), chapter.with_suffix(".ipynb"))
    except ChapterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
