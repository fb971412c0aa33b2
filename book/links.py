"""Checks the built site: every link inside it leads somewhere, and no page needs anything from another host.

    python book/links.py _build/html

Links to other sites are not followed. A script, style sheet, font or picture from another host is an error: the book
is read without a network too.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Pages the theme makes itself, whose links are filled in by a script.
MADE_BY_THEME = ("search.html", "genindex.html")


class Page(HTMLParser):
    """The ids, the links and the embedded files of one page."""

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
        elif tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon"):
            self.embedded.append(values.get("href", ""))
        elif "src" in values:
            self.embedded.append(values["src"])


def broken(site: Path) -> list[str]:
    """One line for each link of the site that leads nowhere and each embedded file that is elsewhere or missing."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        if "_static" in name.parts or name.name in MADE_BY_THEME:
            continue
        for link in page.links + page.embedded:
            url = urlsplit(link)
            if url.scheme == "data" or (link in page.links and (url.scheme or url.netloc)):
                continue
            if url.scheme or url.netloc:
                found.append(f"{name}: needs {link} from another host")
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.exists():
                found.append(f"{name}: no file for {link}")
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids:
                found.append(f"{name}: no such place on its page: {link}")
    return found


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    site = Path(sys.argv[1])
    if not (site / "index.html").is_file():
        print(f"{site}: no site here; run `make site` first", file=sys.stderr)
        return 2
    found = broken(site)
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
