"""Sphinx extension: what the site's pages need besides their text.

Each page has a description and a preview picture for links to it; links to words of the glossary show their definition;
the buttons of the repository appear once its address is set; and the site sheds what no page uses.
"""

import io
import re
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.config import Config

PREVIEW = "_static/results.png"
LONGEST = 160  # characters of a description that search engines show
LARGE = 20_000  # bytes; larger pictures are sent as WebP
UNUSED = (
    "scripts/fontawesome.js*",
    "scripts/*.map",
    "scripts/*.LICENSE.txt",
    "vendor/**/*.ttf",
    "locales/**/*",
)
"""Files of the themes: icons come from the font of the style sheet, all browsers read WOFF2."""
MATHJAX = """<script>addEventListener("load", () => {
    document.head.append(Object.assign(document.createElement("script"), {src: "\\1"}));
})</script>"""
EDITS = (
    # Icons come from the style sheet's font; nothing runs code in the page.
    (
        r'\s*<script [^>]*src="[^"]*(?:scripts/fontawesome|sphinx-thebe)\.js[^"]*"></script>',
        "",
    ),
    (r'\s*<link [^>]*href="[^"]*sphinx-thebe\.css[^>]*>', ""),
    (
        r"\s*<script[^>]*>(?:const THEBE_JS_URL|kernelName =|\s*{\s*requestKernel).*?</script>",
        "",
    ),
    # Scripts run once the page is read, in their order; the lines between them need only the options.
    (
        r'<script ((?![^>]*\bdefer)[^>]*src="(?![^"]*documentation_options))',
        r"<script defer \1",
    ),
    # The colours are known before anything is drawn: no second style of the whole page, no flash of white.
    (
        r'(dataset\.theme =) localStorage\.getItem\("theme"\) \|\| "auto";',
        r"\1 document.documentElement.dataset.mode.replace("
        r"""'auto', matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");""",
    ),
    # A picture's size keeps its place until it is there, and may shrink with the page.
    (r'style="width: (\d+)px; height: (\d+)px;"', r'width="\1" height="\2"'),
    # Formulas are set once the page is there.
    (r'<script defer="defer" src="([^"]*mathjax/[^"]*)"></script>', MATHJAX),
    # Wide tables scroll, with the keyboard as well; entries of the list of references are not list items.
    (r"<table ", '<table tabindex="0" '),
    (r'<div role="list" class="citation-list">', '<div class="citation-list">'),
    # Chapters are edited in their sources, not in the notebooks.
    (r'(href="[^"]*/edit/[^"]*)\.ipynb"', r'\1.py"'),
)
FORMULAS = re.compile(
    r'\s*<script(?:>window\.MathJax = .*?| [^>]*src="[^"]*mathjax/[^"]*">)</script>',
    re.DOTALL,
)
"""The scripts that set formulas."""
PICTURE = re.compile(r'(?<=src=")_images/([^"]+\.png)(?=")')


def set_buttons(app: Sphinx, config: Config) -> None:
    """Show the buttons for the repository, edits, issues and Binder if ``repository.url`` is set."""
    theme = config.html_theme_options
    shown = bool(theme.get("repository_url"))
    for name in ("use_repository_button", "use_edit_page_button", "use_issues_button"):
        theme[name] = shown
    theme["launch_buttons"] = {"binderhub_url": "https://mybinder.org"} if shown else {}


def add_description(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    document: nodes.document,
) -> None:
    """Add the description, the page's first sentences, and the preview picture to the head of the page."""
    if not document:
        return
    paragraphs = [
        one
        for one in document.findall(nodes.paragraph)
        if isinstance(one.parent, nodes.section)
    ]
    text = next(
        (text for text in map(_text, paragraphs) if len(text) > 80),
        app.config.html_title,
    )
    if len(text) > LONGEST:
        text = text[: LONGEST - 1].rpartition(" ")[0] + "…"
    picture = (
        urljoin(app.config.html_baseurl, PREVIEW)
        if app.config.html_baseurl
        else context["pathto"](PREVIEW, 1)
    )
    title = unescape(re.sub("<.*?>", "", context["title"]))
    tags = {
        "og:type": "article",
        "og:title": title,
        "og:description": text,
        "og:image": picture,
    }
    head = [f'<meta name="description" content="{escape(text)}">']
    head += [
        f'<meta property="{name}" content="{escape(value)}">'
        for name, value in tags.items()
    ]
    context["metatags"] = context.get("metatags", "") + "\n".join(head)


def _text(paragraph: nodes.paragraph) -> str:
    return " ".join(paragraph.astext().split())


def define_terms(app: Sphinx, document: nodes.document, page: str) -> None:
    """Show the definition of a word of the glossary when the pointer rests on a link to it."""
    found: dict[str, dict[str, str]] = {}  # by chapter: each is read once
    for link in document.findall(nodes.reference):
        chapter, _, name = link.get("refuri", f"#{link.get('refid')}").partition("#")
        if name.startswith("term-"):
            source = Path(chapter).stem or page
            if source not in found:
                found[source] = _definitions(app.env.get_doctree(source))
            link["reftitle"] = found[source][name]


def _definitions(document: nodes.document) -> dict[str, str]:
    """The definitions in a glossary, without links to chapters, by the ids of their words."""
    return {
        name: re.sub(
            r" \(chapter \d+\)", "", _text(next(item.findall(nodes.paragraph)))
        )
        for item in document.findall(nodes.definition_list_item)
        for term in item.findall(nodes.term)
        for name in term["ids"]
    }


def trim(app: Sphinx, error: Exception | None) -> None:
    """Remove what no page uses, and send large pictures as WebP; a downloaded notebook keeps its PNG."""
    if error or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for pattern in UNUSED:
        for path in site.joinpath("_static").glob(pattern):
            if path.is_file():
                path.unlink()
    smaller = {path.name: path.name for path in site.joinpath("_images").glob("*.png")}
    for picture in site.joinpath("_images").glob("*.png"):
        webp = picture.with_suffix(".webp")
        if picture.stat().st_size > LARGE:
            image = Image.open(picture).convert("RGB")
            for options in ({"quality": 85}, {"lossless": True}):  # photos; drawings
                encoded = io.BytesIO()
                image.save(encoded, "WebP", method=4, **options)
                best = min(
                    path.stat().st_size for path in (webp, picture) if path.is_file()
                )
                if len(encoded.getvalue()) < best:
                    webp.write_bytes(encoded.getvalue())
            if webp.is_file():
                smaller[picture.name] = webp.name
    for page in site.glob("*.html"):
        text = lighter(page.read_text(encoding="utf-8"))
        text = PICTURE.sub(lambda match: f"_images/{smaller[match[1]]}", text)
        page.write_text(text, encoding="utf-8")


def lighter(page: str) -> str:
    """A page's HTML without what it does not use."""
    if 'class="math' not in page:
        page = FORMULAS.sub("", page)
    for pattern, replacement in EDITS:
        page = re.sub(pattern, replacement, page, flags=re.DOTALL)
    return page


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the steps with Sphinx."""
    app.connect(
        "config-inited", set_buttons, priority=100
    )  # before the theme reads its options
    app.connect("html-page-context", add_description)
    app.connect("doctree-resolved", define_terms)
    app.connect("build-finished", trim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
