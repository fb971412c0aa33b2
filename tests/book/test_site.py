"""The built site in headless Chromium: for every reader, light, and complete without a network."""

import re
import subprocess
import sys
from pathlib import Path

import build
import load_times
import pytest

PAGES = ["index", *(path.stem for path in build.sources())]
PAGES += ["when_things_go_wrong", "references", "search"]
DARK = ("in", "01", "03", "12", "re")  # one page of each kind: a minute less
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


@pytest.fixture
def scheme(request):
    return request.param


@pytest.fixture
def page(browser, scheme):
    width = {"light": 1280, "dark": 390}[scheme]
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
    )
    yield context.new_page()
    context.close()


def test_links_and_references_lead_somewhere(site):
    build.check_links(site)


@pytest.mark.parametrize(
    ("scheme", "name"),
    [*(("light", name) for name in PAGES), *(("dark", name) for name in PAGES if name[:2] in DARK)],
    indirect=["scheme"],
)
def test_a_page_is_accessible(page, address, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core here")
    page.goto(f"{address}/{name}.html")
    page.evaluate(ONE_WORD_PER_COLOUR)
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    grave = [
        f"{one['impact']}: {one['help']}: {node['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert not grave, "\n".join(grave)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["dark"], indirect=True)
def test_a_page_is_light_complete_and_fits_a_phone(page, address, name):
    sizes, errors = {}, []
    page.on("response", lambda got: sizes.update({got.url: len(got.body())}))
    page.on("requestfailed", lambda request: errors.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and errors.append(line.text))
    page.goto(f"{address}/{name}.html", wait_until="networkidle")
    page.evaluate(SHOW_ALL)
    assert page.evaluate(DISTORTED) == []
    assert errors == []
    assert [url for url in sizes if not url.startswith(address)] == []
    assert sum(sizes.values()) < MEGABYTES * 1e6, sorted(sizes.items(), key=lambda one: -one[1])[:5]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("meta[name=description]").count() == (name != "search")
    nameless = page.locator("img:not([alt]), img[alt=''], img[alt^='_images']")
    assert nameless.count() == 0


def test_the_largest_page_loads_soon(browser, address, site):
    largest = max(site.glob("*.html"), key=lambda path: path.stat().st_size).stem
    found = load_times.measure(browser, address, ["index", largest], repeats=3)
    assert max(found.values()) < SECONDS * 1000, found


@pytest.mark.parametrize("scheme", ["light"], indirect=True)
def test_the_keyboard_reaches_everything(page, address):
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
