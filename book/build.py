"""The book's command line: run the chapters, check them and the site.

A chapter is a text file, NN_name.py (jupytext, percent format); the site shows the same chapter executed,
NN_name.ipynb. Two runs on one machine are equal byte for byte.

    execute         run the chapters with papermill into _build/executed; each takes the parameters that it declares
    notebooks       run the chapters with their default parameters and replace the committed notebooks
    prose           copy changed prose, captions and tags into the committed notebooks, without running them
    check           compare the committed notebooks with their sources, without running them
    links           check the links of the built site, and that it needs nothing from other hosts
    load            measure how long each page of the built site takes to load in Chromium, on a slow CPU
    pdf             print the whole book with Chromium into _build/book.pdf
    readme-picture  draw book/assets/results.png
    live            draw book/assets/live.jpg, and measure the live net of the first page in Chromium (live.json)
"""

import argparse
import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from PIL import Image

import links
import load_times
from fcn.environment import atomic_write

BOOK = Path(__file__).resolve().parent
BUILD = BOOK.parent / "_build"
MODES = (
    "execute", "notebooks", "prose", "check", "links", "load", "pdf", "readme-picture", "live"
)  # fmt: skip
PARAMETERS = (
    "preset", "experiments", "data_root", "weights_root", "device", "seed", "results_dir", "runs_dir"
)  # fmt: skip
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)  # more threads change the last digits
REPEATABLE = dict.fromkeys(THREADS, "1") | {
    # The instructions that all x86 CPUs of the last decade share: others change the last digits, too.
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "FCN_MEMORY_FORMAT": "channels_last",  # not what a probe finds faster
    "PYTHONHASHSEED": "0",
}
"""For outputs that are equal in every run."""
ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # the debugger warns on standard error
    "IPYTHONDIR": str(
        BUILD / "ipython"
    ),  # without the user's start-up files and settings
}
PRINTABLE = """async () => {
    document.querySelectorAll("details").forEach(one => one.open = true);
    document.querySelectorAll("img").forEach(one => one.loading = "eager");
    await Promise.all([...document.images].map(one => one.decode().catch(() => {})));
    while (document.querySelector(".math") && !window.MathJax?.startup?.promise) {
        await new Promise(resolve => setTimeout(resolve, 100));
    }
    await window.MathJax?.startup?.promise;
}"""
KEPT = ("tags", "slideshow", "mystnb")  # entries of a cell's metadata
USER_FOLDERS = (
    "FCN_DATA",
    "FCN_WEIGHTS",
)  # the committed notebooks are executed without them


class ChapterError(Exception):
    """A chapter that fails or differs from its source; the message names the chapter and the remedy."""


def sources(book: Path = BOOK, only: list[str] | None = None) -> list[Path]:
    """The chapters' sources in order; ``only`` selects by the beginning of the name (``05`` or ``05_skips``)."""
    found = sorted(book.glob("[0-9][0-9]_*.py"))
    for start in only or []:
        if not any(path.stem.startswith(start) for path in found):
            names = ", ".join(path.stem for path in found) or "none"
            raise ChapterError(
                f"no chapter begins with {start!r}; choose one of {names}"
            )
    return [path for path in found if not only or path.stem.startswith(tuple(only))]


def read_source(source: Path) -> NotebookNode:
    """A chapter's source as a notebook without outputs."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = {
        "kernelspec": {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
    }
    for cell in notebook.cells:
        cell.metadata = {
            name: value for name, value in cell.metadata.items() if name in KEPT
        }
    return name_cells(notebook)


def name_cells(notebook: NotebookNode) -> NotebookNode:
    """Derive each cell's id from its source, so that a change in one cell leaves the other ids unchanged."""
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[
            :12
        ]
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def strip(notebook: NotebookNode) -> NotebookNode:
    """Remove what differs between runs or machines, and make pictures small; glued values, which are outputs, stay."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):  # papermill adds an empty list
            del cell.metadata["tags"]
        if "outputs" in cell:
            cell.outputs = join_streams(cell.outputs)
            for output in cell.outputs:
                if "image/png" in output.get(
                    "metadata", {}
                ):  # a picture with two pixels per pixel of the page
                    output.data["image/png"] = with_palette(output.data["image/png"])
    return name_cells(notebook)


def join_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Merge consecutive outputs of one stream, which the kernel splits at arbitrary points."""
    merged: list[NotebookNode] = []
    for output in outputs:
        if (
            merged
            and output.output_type == merged[-1].output_type == "stream"
            and output.name == merged[-1].name
        ):
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def with_palette(picture: str) -> str:
    """A PNG (base64) with at most 256 colours: a third of the size, and no loss for drawings."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    buffer = io.BytesIO()
    image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT).save(
        buffer, "PNG", optimize=True
    )
    return base64.b64encode(buffer.getvalue()).decode()


def write(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook atomically."""
    with atomic_write(path) as partial:
        partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def execute(
    source: Path, parameters: dict[str, object], folder: Path = BUILD / "executed"
) -> tuple[Path, float]:
    """Run one chapter with papermill, in the folder of its source; returns the executed notebook and the seconds.

    Raises ChapterError, naming the line, if a cell fails; the notebook up to that cell stays in ``folder``.
    """
    import papermill  # slow to import

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{source.stem}.ipynb"
    start = time.monotonic()
    try:
        options = {
            "kernel_name": "python3",
            "language": "python",
            "cwd": str(source.parent),
            "progress_bar": False,
        }
        executed = papermill.execute_notebook(
            read_source(source), str(target), parameters, **options
        )
    except papermill.PapermillExecutionError as error:
        line = _failing_line(source, error.source, error.traceback)
        message = f"{_shown(source)}, line {line}: {error.ename}: {error.evalue} (run so far: {_shown(target)})"
        raise ChapterError(message) from None
    except DeadKernelError:
        raise ChapterError(
            f"{_shown(source)}: the kernel died, most likely out of memory"
        ) from None
    write(strip(executed), target)
    return target, time.monotonic() - start


def _failing_line(source: Path, cell: str, traceback: list[str]) -> int:
    """The failing line of the source, from the cell's text and the traceback's first frame."""
    first = source.read_text(encoding="utf-8").partition(cell)[0].count("\n") + 1
    frame = re.search(
        r"Cell In\[\d+\], line (\d+)",
        re.sub(r"\x1b\[[\d;]*m", "", "\n".join(traceback)),
    )
    return first + (int(frame[1]) - 1 if frame else 0)


def _shown(path: Path) -> str:
    """A path relative to the project."""
    return (
        str(path.relative_to(BOOK.parent))
        if path.is_relative_to(BOOK.parent)
        else str(path)
    )


def prepare_environment(*, committed: bool = True, repeatable: bool = True) -> None:
    """Set the environment of the chapters' processes.

    ``committed``: as for the committed notebooks, without the user's data, weights and GPU. ``repeatable``: one thread
    and the instructions that all machines have; slower.
    """
    os.environ.update(ENVIRONMENT | (REPEATABLE if repeatable else {}))
    if committed:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    profile = Path(ENVIRONMENT["IPYTHONDIR"]) / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # No warning that loopback is not encrypted, no message about the interrupt at shutdown.
    (profile / "ipython_kernel_config.py").write_text(
        'get_config().IPKernelApp.log_level = "CRITICAL"\n'
    )
    for name in USER_FOLDERS:
        folder = os.environ.pop(name, None)
        if folder and not committed:
            os.environ[name] = os.path.abspath(folder)  # chapters run in book/


def declared(source: Path, parameters: dict[str, object]) -> dict[str, object]:
    """Those of the parameters that the chapter declares in its cell ``parameters``."""
    cells = [
        cell.source
        for cell in read_source(source).cells
        if "parameters" in cell.metadata.get("tags", [])
    ]
    names = re.findall(r"^(\w+) *=", "\n".join(cells), flags=re.MULTILINE)
    return {name: value for name, value in parameters.items() if name in names}


def execute_all(
    chapters: list[Path], parameters: dict[str, object], jobs: int
) -> list[Path]:
    """Run all chapters, ``jobs`` at a time, and print the seconds of each; errors are raised together at the end."""
    executed, errors = [], []
    with ProcessPoolExecutor(jobs) as pool:
        runs = {
            chapter: pool.submit(execute, chapter, declared(chapter, parameters))
            for chapter in chapters
        }
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


def update_prose(source: Path) -> None:
    """Give the committed notebook its source's prose and tags; its outputs stay.

    Raises ChapterError if the code has changed as well, for then the outputs may be others.
    """
    path, wanted = source.with_suffix(".ipynb"), read_source(source)
    stored = nbformat.read(path, as_version=4) if path.exists() else wanted
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    places = [
        place for place, cell in enumerate(wanted.cells) if cell.cell_type == "code"
    ]
    same = [cell.source for cell in code] == [
        wanted.cells[place].source for place in places
    ]
    if not same or any(cell.source and cell.execution_count is None for cell in code):
        raise ChapterError(
            f"{_shown(source)}: the code has changed, too: run `make notebooks`"
        )
    for place, cell in zip(places, code, strict=True):
        cell.metadata = wanted.cells[place].metadata
        wanted.cells[place] = cell
    stored.cells = wanted.cells
    write(strip(stored), path)


def differences(source: Path) -> list[str]:
    """The first difference between a committed notebook and its source, as one line; empty if they agree."""
    path, remedy = source.with_suffix(".ipynb"), "run `make notebooks`"
    if not path.exists():
        return [f"{_shown(path)} is missing: {remedy}"]
    wanted, found = read_source(source).cells, nbformat.read(path, as_version=4).cells
    for number, (want, have) in enumerate(zip(wanted, found, strict=False), start=1):
        pairs = [
            (cell.cell_type, cell.source, cell.metadata.get("tags", []))
            for cell in (want, have)
        ]
        if pairs[0] != pairs[1]:
            return [
                f"{_shown(path)}, cell {number} differs from {_shown(source)}: {remedy}"
            ]
        if have.cell_type == "code" and have.source and have.execution_count is None:
            return [f"{_shown(path)}, cell {number} was not run: {remedy}"]
    if len(wanted) != len(found):
        return [
            f"{_shown(path)} has {len(found)} cells, {_shown(source)} {len(wanted)}: {remedy}"
        ]
    return []


def check(book: Path = BOOK) -> None:
    """Raise ChapterError if a committed notebook and its source differ, or if one of them is missing."""
    found = [line for source in sources(book) for line in differences(source)]
    for notebook in sorted(book.glob("[0-9][0-9]_*.ipynb")):
        if not notebook.with_suffix(".py").exists():
            found.append(
                f"{_shown(notebook)} has no source: write {notebook.stem}.py or delete it"
            )
    if found:
        raise ChapterError("\n".join(found))


def check_links(site: Path = BUILD / "html") -> None:
    """Raise ChapterError with one line per broken link of the built site."""
    _need(site)
    if found := links.broken(site):
        raise ChapterError("\n".join(found))


def _need(site: Path) -> None:
    if not (site / "index.html").is_file():
        raise ChapterError(f"{_shown(site)}: no site; run `make site` first")


def print_load_times(site: Path = BUILD / "html") -> None:
    """Print the time that each page of the built site takes to load, the slowest first."""
    _need(site)
    pages = sorted(path.stem for path in site.glob("*.html"))
    with chromium() as browser, load_times.served(site) as address:
        found = load_times.measure(browser, address, pages)
    print(
        f"milliseconds to the load event, CPU slowed down {load_times.SLOWDOWN} times"
    )
    for page, milliseconds in sorted(found.items(), key=lambda one: -one[1]):
        print(f"{milliseconds:6.0f}  {page}")


@contextmanager
def chromium() -> Iterator[Any]:
    """Headless Chromium. Raises ChapterError if there is none."""
    from playwright.sync_api import Error, sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=browser)
        except Error:
            raise ChapterError(
                "no Chromium found: install it, or run `playwright install chromium`"
            ) from None
        yield started
        started.close()


def make_pdf(target: Path = BUILD / "book.pdf") -> Path:
    """Print the book, built as one page, with Chromium; returns the PDF's path."""
    jupyter_book = [
        str(Path(sys.executable).with_name("jupyter-book")),
        "build",
        str(BOOK),
        "--all",
        "-W",
        "-q",
    ]
    options = [
        "--config",
        str(BOOK.parent / "_config.yml"),
        "--path-output",
        str(BOOK.parent),
    ]
    if subprocess.call(
        [*jupyter_book, *options, "--builder", "singlehtml"], stdout=subprocess.DEVNULL
    ):
        raise ChapterError(
            "jupyter-book could not build the book as one page; see above"
        )
    with chromium() as browser:
        page = browser.new_page()
        page.goto((BUILD / "singlehtml" / "index.html").as_uri(), timeout=120_000)
        page.evaluate(PRINTABLE)
        page.pdf(
            path=target,
            format="A4",
            margin={"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"},
            outline=True,
            tagged=True,
        )
    return target


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, dict[str, object]]:
    """The options and the chapters' parameters; wrong ones end the program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mode", choices=MODES)
    parser.add_argument(
        "--only",
        action="append",
        metavar="NN",
        help="a chapter, by the beginning of its name",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        help="chapters to run in parallel (default 2; small and paper: 1)",
    )
    group = parser.add_argument_group("parameters of the chapters (execute only)")
    group.add_argument(
        "--preset",
        choices=["read", "smoke", "small", "paper"],
        help="amount of computation",
    )
    group.add_argument(
        "--experiments", metavar="NAMES", help="with the preset paper: only these"
    )
    group.add_argument(
        "--data-root", type=Path, help="folder of the data sets (default: FCN_DATA)"
    )
    group.add_argument(
        "--weights-root",
        type=Path,
        help="folder of the ImageNet weights (default: FCN_WEIGHTS)",
    )
    group.add_argument("--device", help="auto, cpu, cuda, ...")
    group.add_argument("--seed", type=int)
    group.add_argument(
        "--results-dir", type=Path, help="folder of the records, new or not"
    )
    group.add_argument(
        "--runs-dir", type=Path, help="folder of checkpoints and nets, new or not"
    )
    options = parser.parse_args(arguments)

    # Only given parameters are passed: without any, papermill adds no cell.
    given = {
        name: value
        for name, value in vars(options).items()
        if name in PARAMETERS and value is not None
    }
    parameters = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in given.items()
    }
    if parameters and options.mode != "execute":
        parser.error(
            f"{options.mode} takes no parameters of the chapters: the committed notebooks use the defaults"
        )
    for name, value in given.items():
        if name in ("data_root", "weights_root") and not Path(str(value)).is_dir():
            parser.error(
                f"argument --{name.replace('_', '-')}: {value}: no such folder"
            )
    if options.jobs is None:
        options.jobs = (
            1 if options.preset in ("small", "paper") else 2
        )  # these use all cores
    if options.jobs < 1:
        parser.error(f"argument --jobs: {options.jobs}: must be at least 1")
    try:
        sources(only=options.only)
    except ChapterError as error:
        parser.error(f"argument --only: {error}")
    return options, parameters


def main(arguments: list[str] | None = None) -> int:
    """Run one mode; returns the exit status."""
    options, parameters = parse(arguments)
    prepare_environment(
        committed=options.mode != "execute",
        repeatable=options.preset in (None, "read", "smoke"),
    )
    chapters = sources(only=options.only)
    try:
        if options.mode == "check":
            check()
        elif options.mode == "prose":
            for chapter in chapters:
                update_prose(chapter)
        elif options.mode == "links":
            check_links()
        elif options.mode == "load":
            print_load_times()
        elif options.mode == "pdf":
            print(make_pdf())
        elif options.mode == "readme-picture":
            from readme_picture import draw  # imports torch

            draw(BOOK / "assets" / "results.png")
        elif options.mode == "live":
            import live  # imports torch

            live.draw()
            live.record()
        else:
            executed = execute_all(chapters, parameters, options.jobs)
            if options.mode == "notebooks":
                for chapter, notebook in zip(chapters, executed, strict=True):
                    write(
                        nbformat.read(notebook, as_version=4),
                        chapter.with_suffix(".ipynb"),
                    )
    except ChapterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
