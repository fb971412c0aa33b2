"""Every figure of the book has a name, a caption and a text for readers who cannot see it."""

import re
from pathlib import Path

import build
import nbformat
import pytest

CHAPTERS = sorted(Path(build.BOOK).glob("[0-9][0-9]_*.py"))
CAPTION = re.compile(r":::\{caption\} (fig-[a-z0-9-]+)\n((?::.*\n)+)((?:(?!:::).*\n)+):::")


def captions(text: str) -> dict[str, str]:
    """Alt texts by name of the captions in a markdown cell; every caption has a text."""
    return {
        name: " ".join(line.lstrip(":").strip() for line in options.splitlines())
        for name, options, prose in CAPTION.findall(text)
        if prose.strip()
    }


def pictures(cell: nbformat.NotebookNode) -> list[str]:
    return [
        kind
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
        if kind.startswith("image/")
    ]


@pytest.fixture(params=[source.name[:2] for source in CHAPTERS])
def cells(request):
    (source,) = (path for path in CHAPTERS if path.stem.startswith(request.param))
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells


def test_every_figure_has_a_caption_and_alt_text(cells):
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if pictures(cell):
            assert len(pictures(cell)) == 1, f"{cell.id}: two pictures in one cell"
            assert getattr(after, "source", "").startswith(":::{caption} fig-"), cell.source
            alt = next(iter(captions(after.source).values()))
            assert re.fullmatch(r"alt: .{40,400}\.", alt), alt


def test_figures_are_sharp(cells):
    """Two pixels of the picture per pixel of the page; the page gets the size from the metadata."""
    for cell in cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert "width" in output.metadata.get("image/png", {}), cell.source


def test_names_are_unique_and_references_have_a_figure():
    texts = [
        cell.source
        for source in CHAPTERS
        for cell in build.read_source(source).cells
        if cell.cell_type == "markdown"
    ]
    names = re.findall(r":::\{caption\} (\S+)", "\n".join(texts))
    sources = "\n".join(source.read_text() for source in CHAPTERS)
    names += re.findall(r'"name": "((?:fig|tab)-.+?)"', sources)  # myst-nb's own figures
    assert len(set(names)) == len(names)
    assert set(re.findall(r"\{numref\}`((?:fig|tab)-.+?)`", "\n".join(texts))) <= set(names)
