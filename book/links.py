"""Link check of the built site: every internal link has a target, and no page needs anything from another host.

Links to other sites are not followed. A script, style sheet, font or picture from another host is an error, because
the book must also work without a network.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

GENERATED = (
    "search.html",
    "genindex.html",
)  # pages of the theme, whose links a script fills in


class Page(HTMLParser):
    """Ids, links and embedded files of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.embedded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value for name, value in attrs if value}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in (
            "stylesheet",
            "icon",
            "preload",
            "shortcut icon",
        ):
            self.embedded.append(values.get("href", ""))
        elif "src" in values:
            self.embedded.append(values["src"])


def broken(site: Path) -> list[str]:
    """One line per internal link without a target and per embedded file that is missing or on another host."""
    pages = {
        path.resolve(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        if "_static" in name.parts or name.name in GENERATED:
            continue
        for link in page.links + page.embedded:
            url = urlsplit(link)
            if url.scheme == "data" or (
                link in page.links and (url.scheme or url.netloc)
            ):
                continue
            if url.scheme or url.netloc:
                found.append(f"{name}: needs {link} from another host")
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.exists():
                found.append(f"{name}: no file for {link}")
            elif (
                url.fragment
                and target in pages
                and unquote(url.fragment) not in pages[target].ids
            ):
                found.append(f"{name}: no such place on its page: {link}")
    return found
