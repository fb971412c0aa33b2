"""No damaged file crashes a parser, is taken for a whole one, or is refused without its name."""

import nightly
import pytest
from mutants import PARSERS, Parser, run

COUNT = nightly.count(20, 530)  # of each parser


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_mutants_are_refused_in_one_line_or_read(parser: Parser, tmp_path) -> None:
    found = run(parser, tmp_path, COUNT)
    entry = {"counts": dict(sorted(found.counts.items())), "slowest": round(found.slowest, 1)}
    nightly.save("mutants", parser.name, entry)
    assert not found.bad, "\n".join(found.examples)
    assert sum(found.counts.values()) == COUNT
