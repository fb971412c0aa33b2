"""What the pages get besides their text, and what they shed."""

from types import SimpleNamespace

import pages
import pytest


@pytest.mark.parametrize("address", ["", "https://github.com/someone/fcn"])
def test_buttons_appear_with_the_address(address):
    theme = {"repository_url": address, "path_to_docs": "book"}
    pages.set_buttons(None, SimpleNamespace(html_theme_options=theme))
    buttons = ("use_repository_button", "use_edit_page_button", "use_issues_button")
    assert [theme[button] for button in buttons] == [bool(address)] * 3
    assert bool(theme["launch_buttons"]) == bool(address)


HEAD = """<head>
<script>
document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
</script>
<link rel="stylesheet" href="_static/sphinx-thebe.css?v=1" />
<script src="_static/documentation_options.js?v=1"></script>
<script src="_static/doctools.js?v=1"></script>
<script async="async" src="_static/sphinx-thebe.js?v=1"></script>
<script>window.MathJax = {"options": {}}</script>
<script defer="defer" src="_static/mathjax/tex-mml-chtml.js?v=1"></script>
<script>DOCUMENTATION_OPTIONS.pagename = 'index';</script>
</head>"""


def test_pages_shed_what_they_do_not_use():
    page = pages.lighter(HEAD)
    assert "thebe" not in page
    assert "athJax" not in page
    assert "tex-mml-chtml" in pages.lighter(HEAD + '<span class="math">')


def test_scripts_wait_for_the_page_and_the_theme_does_not():
    page = pages.lighter(HEAD)
    assert '<script src="_static/documentation_options.js' in page
    assert '<script defer src="_static/doctools.js' in page
    assert "matchMedia" in page
