"""The built site in headless Chromium: for every reader, light, and complete without a network."""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import build
import load_times
import pytest

PAGES = ["index", *(path.stem for path in build.sources())]
PAGES += ["when_things_go_wrong", "references", "search"]
DARK = ("in", "01", "03", "12", "re")  # one page of each kind: a minute less
WIDTHS = {"light": 1280, "dark": 390}  # of the screens on which a reader prefers these colours
MEGABYTES = 3.0  # per page, all pictures included, before a reader clicks anything
SECONDS = 4  # to the load event on a slow CPU; an idle machine takes a fraction of it
DISTORTED = """() => [...document.images].filter(image => {
    const padding = 2 * parseFloat(getComputedStyle(image).paddingLeft);
    const width = image.clientWidth - padding, height = image.clientHeight - padding;
    return Math.abs(width * image.naturalHeight / (height * image.naturalWidth) - 1) > 0.1;
}).map(image => image.alt)"""
ONE_WORD_PER_COLOUR = """() => {
    const seen = new Set();
    document.querySelectorAll(".highlight pre span").forEach(word => {
        if (seen.has(word.className)) word.replaceWith(word.textContent);
        else seen.add(word.className);
    });
}"""
"""Thousands of coloured words of code take seconds to check; those of one class have one colour."""
SHOW_ALL = """async () => {
    document.querySelectorAll("img").forEach(image => image.loading = "eager");
    await Promise.all([...document.images].map(image => image.decode()));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built with warnings as errors; that of `make site` if it is up to date."""
    made = build.BUILD / "html"
    files = [path for path in build.BOOK.rglob("*") if path.is_file() and "cache" not in str(path)]
    latest = max(path.stat().st_mtime for path in [*files, build.BOOK.parent / "_config.yml"])
    if (made / "search.html").is_file() and (made / "search.html").stat().st_mtime > latest:
        return made
    target = tmp_path_factory.mktemp("site")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", build.BOOK, "-W", "-q"]
    options = ["--config", build.BOOK.parent / "_config.yml", "--path-output", target]
    done = subprocess.run(
        [*command, "--keep-going", *options], cwd=build.BOOK.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target / "_build" / "html"


def test_links_to_references_and_the_glossary_show_their_text(site):
    links = r'<a class="reference internal" href="[^"#]*#(id\d+|term-[^"]+)"( title="[^"]{20,})?'
    found = [one for path in site.glob("*.html") for one in re.findall(links, path.read_text())]
    assert len({name for name, _ in found if name.startswith("term-")}) >= 10
    assert len({name for name, _ in found if name.startswith("id")}) >= 30
    assert [name for name, title in found if not title] == []


@pytest.fixture(scope="module")
def address(site):
    with load_times.served(site) as address:
        yield address


@dataclass
class Visit:
    """A page that was loaded once, what that took, and what went wrong."""

    name: str
    page: Any
    sizes: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def show(self, scheme: str) -> None:
        """Give the page to a reader who prefers this colour scheme."""
        self.page.set_viewport_size({"width": WIDTHS[scheme], "height": 844})
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(f"document.documentElement.dataset.theme == '{scheme}'")


@pytest.fixture(scope="module")
def visit(request, browser, address):
    context = browser.new_context(
        viewport={"width": WIDTHS["dark"], "height": 844},
        color_scheme="dark",
        reduced_motion="reduce",
    )
    visit = Visit(request.param, context.new_page())
    page, errors = visit.page, visit.errors
    page.on("response", lambda got: visit.sizes.update({got.url: len(got.body())}))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and errors.append(line.text))
    page.goto(f"{address}/{visit.name}.html", wait_until="networkidle")
    yield visit
    context.close()


def test_links_and_references_lead_somewhere(site):
    build.check_links(site)


@pytest.mark.parametrize("visit", PAGES, indirect=True)
def test_a_page_is_light_complete_and_fits_a_phone(visit, address):
    page, sizes = visit.page, visit.sizes
    page.evaluate(SHOW_ALL)
    assert page.evaluate(DISTORTED) == []
    assert visit.errors == []
    assert [url for url in sizes if not url.startswith(address)] == []
    assert sum(sizes.values()) < MEGABYTES * 1e6, sorted(sizes.items(), key=lambda one: -one[1])[:5]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("meta[name=description]").count() == (visit.name != "search")
    nameless = page.locator("img:not([alt]), img[alt=''], img[alt^='_images']")
    assert nameless.count() == 0


@pytest.mark.parametrize("visit", PAGES, indirect=True)
def test_a_page_is_accessible(visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here")
    visit.page.evaluate(ONE_WORD_PER_COLOUR)
    grave = []
    for scheme in ["dark", "light"] if visit.name[:2] in DARK else ["light"]:
        visit.show(scheme)
        found = axe.Axe().run(visit.page, options={"resultTypes": ["violations"]}).response
        grave += [
            f"{scheme}: {one['impact']}: {one['help']}: {node['html'][:200]}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]
    assert not grave, "\n".join(grave)


def test_the_largest_page_loads_soon(browser, address, site):
    largest = max(site.glob("*.html"), key=lambda path: path.stat().st_size).stem
    found = load_times.measure(browser, address, [largest], repeats=3)
    assert max(found.values()) < SECONDS * 1000, found


def test_the_keyboard_reaches_everything(browser, address):
    page = browser.new_page(viewport={"width": WIDTHS["light"], "height": 844})
    page.goto(f"{address}/03_convolutionalization.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main-content"
    solution = page.locator("details summary").first
    solution.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.keyboard.press("Control+k")
    page.keyboard.type("heatmap")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=heatmap**")
    page.wait_for_selector("#search-results li a")
    page.close()
