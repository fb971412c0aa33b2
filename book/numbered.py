"""Sphinx extension: captions for what code cells show, numbers for all displayed equations, and typeset numbers.

A markdown cell below the code cell that draws a figure or shows a table holds its caption:

    :::{caption} fig-heatmap
    :alt: A photo of a cat; the heatmap is bright on the cat and dark elsewhere.
    The probability of a cat, after {cite:t}`long2015`.
    :::

Names begin with ``fig-`` or ``tab-``; ``{numref}`fig-heatmap` `` refers to the figure. A figure needs ``alt``, which
says what the picture shows to a reader who cannot see it. The caption is prose like any other: links, maths, glued
numbers. Further paragraphs become the figure's legend.

Tables of pandas get one row of headers instead of two, and negative numbers in tables and sentences a minus sign
instead of a hyphen.
"""

import re
from collections.abc import Iterator

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

LEGIBLE = 530  # a picture of this many CSS pixels may shrink to a phone's width: its text is still 9 pixels high

HEADERS = re.compile(
    r"(<tr[^>]*>\s*)((?:<th></th>\s*)+)(<th[^>]*>[^<].*?</tr>)\s*<tr>\s*((?:<th>[^<]+</th>\s*)+)(?:<th></th>\s*)+</tr>",
    flags=re.DOTALL,
)
"""Names of the columns, then a row with those of the index alone."""
NEGATIVE = re.compile(r"(?<=>)-(?=\d)")
ALONE = re.compile(r"[-+]?\d[\d.,]*( ± [\d.,]+)?")
"""A number, with its interval if it has one, that is all of a glued text or of a cell."""


class OutputTable(nodes.figure):
    """A table that a cell shows, with its caption; numbered with the other tables."""


class Caption(SphinxDirective):
    """Make a numbered figure or table of what the code cell above shows."""

    required_arguments = 1
    option_spec = {"alt": directives.unchanged_required}
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Wrap the output above in place; the caption leaves nothing where it was written."""
        name = self.arguments[0]
        is_figure = name.startswith("fig-")
        if not is_figure and not name.startswith("tab-"):
            raise self.error(f"caption {name!r}: a name begins with fig- or tab-")
        if not self.content or is_figure != ("alt" in self.options):
            raise self.error(
                f"caption {name!r}: a figure needs a text and :alt:, a table only a text"
            )
        found = [
            output
            for output in self._outputs_above()
            if is_figure == bool(_pictures(output))
        ]
        if len(found) != 1:
            kind = "picture" if is_figure else "table"
            raise self.error(
                f"caption {name!r}: the code cell above shows {len(found)} {kind}s without caption, not 1"
            )
        output = found[0]
        figure = nodes.figure() if is_figure else OutputTable()
        output.replace_self(figure)
        for picture in _pictures(output):
            picture["alt"] = self.options["alt"]
            picture["loading"] = "lazy"
            if int(picture.get("width", 0)) > LEGIBLE:
                picture["classes"].append("wide")

        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        first, *rest = text.children
        caption = nodes.caption(first.rawsource, "", *first.children)
        legend = [nodes.legend("", *rest)] if rest else []
        figure += (
            [output, caption, *legend] if is_figure else [caption, *legend, output]
        )
        self.set_source_info(figure)
        self.options["name"] = name
        self.add_name(figure)
        return []

    def _outputs_above(self) -> Iterator[nodes.Element]:
        """Pictures and tables of the last code cell so far that have no caption yet."""
        cells = [*self.state.document.findall(lambda node: _is(node, "cell_code"))]
        for output in (
            [*cells[-1].findall(lambda node: _is(node, "mime_bundle"))] if cells else []
        ):
            raw = " ".join(node.astext() for node in output.findall(nodes.raw))
            is_table = "<table" in raw or any(output.findall(nodes.table))
            if not isinstance(output.parent, nodes.figure) and (
                is_table or _pictures(output)
            ):
                yield output


def _is(node: nodes.Node, element: str) -> bool:
    """True if the node is this kind of element of a notebook."""
    return isinstance(node, nodes.container) and node.get("nb_element") == element


def _pictures(output: nodes.Element) -> list[nodes.image]:
    return [*output.findall(nodes.image)]


def number_equations(app: Sphinx, document: nodes.document) -> None:
    """Number the displayed equations without a label as well."""
    for count, block in enumerate(document.findall(nodes.math_block), start=1):
        if not block.get("nowrap") and not block.get("number"):
            block["number"] = (
                count  # replaced by chapter and number when the page is written
            )
            block["ids"].append(f"equation-{count}")


def typeset(app: Sphinx, document: nodes.document) -> None:
    """Give tables one row of headers, and numbers in tables or glued to sentences a minus sign and an unbroken ±."""
    for raw in document.findall(nodes.raw):
        if "<table" in raw.astext():
            table = HEADERS.sub(_one_row, raw.astext())
            table = NEGATIVE.sub("\N{MINUS SIGN}", table)
            raw[:] = [nodes.Text(table.replace("± ", "±\N{NO-BREAK SPACE}"))]
    for text in [*document.findall(nodes.Text)]:
        alone = isinstance(text.parent, nodes.inline) or isinstance(
            text.parent.parent, nodes.entry
        )
        if alone and ALONE.fullmatch(text):
            number = text.replace("-", "\N{MINUS SIGN}", 1)
            number = number.replace("± ", "±\N{NO-BREAK SPACE}")
            text.parent.replace(text, nodes.Text(number))


def _one_row(rows: re.Match[str]) -> str:
    start, empty, columns, names = rows.groups()
    same = empty.count("<th") == names.count("<th")
    return start + names + columns if same else rows[0]


def _visit(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.visit_figure(node)


def _depart(translator: HTML5Translator, node: nodes.Element) -> None:
    translator.depart_figure(node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("caption", Caption)
    app.add_enumerable_node(OutputTable, "table", html=(_visit, _depart))
    app.connect("doctree-read", number_equations)
    app.connect("doctree-read", typeset)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
