"""Captions make numbered figures and tables; equations have numbers; mistakes are named."""

import base64
import io
import re

import build
import nbformat
import numbered
import pandas as pd
import pytest
from PIL import Image
from sphinx.testing.util import SphinxTestApp

CONFIG = f"""
import sys
sys.path.insert(0, {str(build.BOOK)!r})
extensions = ["myst_nb", "numbered"]
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "dollarmath"]
numfig = math_numfig = True
numfig_format = {{"figure": "Figure %s", "table": "Table %s"}}
html_theme = "basic"
"""
FIGURE = ":::{caption} fig-dot\n:alt: A black dot, on white, in the\n:  middle.\nOne *dot*.\n:::\n"
TABLE = ":::{caption} tab-one\nOne row.\n:::\n"


def png() -> str:
    buffer = io.BytesIO()
    Image.new("L", (1400, 2)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def cell(data, **metadata):
    output = nbformat.v4.new_output("display_data", data, metadata=metadata)
    return nbformat.v4.new_code_cell("show()", outputs=[output], execution_count=1)


def glued(name, text):
    metadata = {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}}
    data = {"application/papermill.record/text/plain": text}
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


@pytest.fixture
def built(tmp_path):
    """Builds a chapter with a picture and a table; returns chapter, index and warnings."""

    def build_page(*captions):
        picture = cell({"image/png": png()}, **{"image/png": {"width": 700, "height": 1}})
        numbers = pd.DataFrame({"gain": [-1.5], "a-1": [2]}, pd.Index(["8s"], name="net"))
        table = cell({"text/html": numbers.to_html(), "text/plain": "1"})
        table.outputs += [glued("drop", "-0.4"), glued("change", "'-0.5 ± 1.1'")]
        cells = [
            nbformat.v4.new_markdown_cell("# A chapter\n\n$$x = 1$$\n"),
            nbformat.v4.new_markdown_cell("| loss |\n|---|\n| -2.5 |\n| a -7 |"),
        ]
        for output, caption in zip((picture, table), captions, strict=True):
            cells += [output, nbformat.v4.new_markdown_cell(caption)]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "python"}
        nbformat.write(notebook, tmp_path / "chapter.ipynb")
        (tmp_path / "conf.py").write_text(CONFIG)
        (tmp_path / "index.md").write_text(
            "# B\n\n{numref}`fig-dot` {numref}`tab-one`\n\n```{toctree}\n:numbered:\nchapter\n```\n"
        )
        app = SphinxTestApp("html", srcdir=tmp_path)
        app.build()
        pages = [(app.outdir / name).read_text() for name in ("chapter.html", "index.html")]
        warnings = app.warning.getvalue()
        app.cleanup()
        return *pages, warnings

    return build_page


def test_captions_make_numbered_figures_and_tables(built):
    chapter, index, warnings = built(FIGURE, TABLE)
    assert "WARNING" not in warnings
    assert "ERROR" not in warnings
    figure = chapter.partition('id="fig-dot"')[2].partition("</figure>")[0]
    assert 'alt="A black dot, on white, in the middle."' in figure
    assert 'class="wide"' in figure
    assert 'loading="lazy"' in figure
    assert figure.index("<img") < figure.index("Figure 1.1") < figure.index("One <em>dot</em>.")
    table = chapter.partition('id="tab-one"')[2].partition("</figure>")[0]
    assert table.index("Table 1.1") < table.index("One row.") < table.index("<table")
    assert "(1.1)" in chapter
    assert "Figure 1.1</span></a> <a" in index
    assert "Table 1.1</span>" in index


@pytest.mark.parametrize(
    ("figure", "table", "message"),
    [
        (FIGURE.replace("fig-dot", "dot"), TABLE, "a name begins with fig- or tab-"),
        (":::{caption} fig-dot\nOne dot.\n:::\n", TABLE, "a figure needs a text and :alt:"),
        ("Nothing.", TABLE + "\n" + FIGURE, "shows 0 pictures without caption, not 1"),
        (FIGURE, TABLE + "\n" + TABLE.replace("one", "two"), "shows 0 tables without caption"),
    ],
)
def test_mistakes_are_named(built, figure, table, message):
    assert message in built(figure, table)[2]


def test_tables_have_one_row_of_headers_and_numbers_a_minus_sign(built):
    caption = TABLE.replace(
        "One row.", "A loss of {glue:text}`drop`, as in `x-1`: {glue:text}`change`."
    )
    chapter = built(FIGURE, caption)[0].partition('id="tab-one"')[2]
    names = re.findall("<th[^>]*>(.*?)</th>", chapter.partition("</table>")[0])
    assert names == ["net", "gain", "a-1", "8s"]
    assert "<td>\N{MINUS SIGN}1.5</td>" in chapter
    assert "A loss of \N{MINUS SIGN}0.4, as in" in re.sub("</?span[^>]*>", "", chapter)
    assert "x-1" in chapter
    assert "\N{MINUS SIGN}0.5 ±\N{NO-BREAK SPACE}1.1" in chapter


def test_numbers_in_cells_of_markdown_have_a_minus_sign(built):
    text = built(FIGURE, TABLE)[0]
    assert "<p>\N{MINUS SIGN}2.5</p>" in text
    assert "<p>a -7</p>" in text


def test_a_table_with_two_rows_of_columns_keeps_them():
    rows = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([["fc6"], ["in", "out"]]))
    html = rows.to_html()
    assert numbered.HEADERS.sub(numbered._one_row, html) == html
