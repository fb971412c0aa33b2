"""The nightly measurements: many damaged files and killed runs, saved and shown in the book.

``FCN_NIGHTLY`` names the file of results; without it, the tests try few. As a program, writes the
tables into the book's page.
"""

import json
import os
import platform
from typing import Any

from filelock import FileLock

from fcn.environment import PROJECT, atomic_write
from fcn.training.provenance import environment

FILE = os.environ.get("FCN_NIGHTLY", "")
RESULTS = PROJECT / "results" / "reliability.json"
PAGE = PROJECT / "book" / "when_things_go_wrong.md"
Entry = dict[str, Any]
SECONDS = 100  # for the killed runs of a command, at night
PARTS = ("completed", "same")


def count(few: int, many: int) -> int:
    """The number of trials: ``few`` in the tests, ``many`` at night."""
    return many if FILE else few


def save(kind: str, name: str, entry: Entry) -> None:
    """Add the result ``name`` of a ``kind`` to the file, if one is named."""
    if not FILE:
        return
    path = PROJECT / FILE
    with FileLock(path.with_suffix(".lock")):
        data: Entry = json.loads(path.read_text()) if path.is_file() else {}
        data.setdefault(kind, {})[name] = entry
        about = environment("cpu")
        data |= {
            "hardware": about["hardware"],
            "system": f"{platform.system()}, {about['versions']['python']}",
        }
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(data, indent=1) + "\n")
    path.with_suffix(".lock").unlink(missing_ok=True)


def tables(data: Entry) -> dict[str, str]:
    """The tables of the page by name, in Markdown."""
    kills, mutants = data["kills"], data["mutants"]
    rows = [
        [name, k["killed"], k["half"], *(f"{k[e]} of {k['trials']}" for e in PARTS), k["left"]]
        for name, k in kills.items()
    ]
    heads = [
        "command",
        "kills",
        "half files under a final name",
        "completed",
        "same result",
        "files left",
    ]
    files = [
        [
            name,
            sum(m["counts"].values()),
            *(m["counts"].get(key, 0) for key in ("refused", "same", "read")),
        ]
        for name, m in mutants.items()
    ]
    total = ["**all**", *(sum(row[i] for row in files) for i in range(1, 5))]
    kinds = ["file", "damaged", "refused", "same content", "other content"]
    return {"kills": _markdown(heads, rows), "mutants": _markdown(kinds, [*files, total])}


def _markdown(heads: list[str], rows: list[list[Any]]) -> str:
    right = ["---", *["--:"] * (len(heads) - 1)]
    shown = [[f"{x:,}" if isinstance(x, int) else x for x in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, right, *shown])


def filled(page: str, data: Entry) -> str:
    """The page with the tables of ``data`` between their marks."""
    for name, table in tables(data).items():
        before, _, rest = page.partition(f"% {name}\n")
        _, _, after = rest.partition(f"% end of {name}\n")
        page = f"{before}% {name}\n\n{table}\n\n% end of {name}\n{after}"
    return page


if __name__ == "__main__":
    text = filled(PAGE.read_text(encoding="utf-8"), json.loads(RESULTS.read_text()))
    PAGE.write_text(text, encoding="utf-8")
