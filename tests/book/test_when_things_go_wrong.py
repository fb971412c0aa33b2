"""The page "What happens when things go wrong" shows what was measured, and all of it went well."""

import json

import nightly
from mutants import PARSERS

DATA = json.loads(nightly.RESULTS.read_text())


def test_the_tables_are_those_of_the_measurement():
    page = nightly.PAGE.read_text(encoding="utf-8")
    assert page.count("% end of") == len(nightly.tables(DATA))
    assert nightly.filled(page, DATA) == page, "run tests/replication/nightly.py"


def test_what_the_page_says_in_words():
    counts = [entry["counts"] for entry in DATA["mutants"].values()]
    assert list(DATA["mutants"]) == [parser.name for parser in PARSERS]
    assert sum(sum(one.values()) for one in counts) > 10_000
    assert not any(one.get(kind) for one in counts for kind in ("changed", "unclear", "failed"))
    for kills in DATA["kills"].values():
        assert kills["killed"] > 0
        assert kills["half"] == kills["left"] == 0
        assert kills["completed"] == kills["same"] == kills["trials"]
