"""Modules, names and scripts that the chapters and READMEs mention exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXTS = [
    *sorted((ROOT / "book").glob("[0-9]*.py")),
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("[!._]*/README.md")),
    ROOT / "Makefile",
]


def resolves(name: str) -> bool:
    """True if the dotted ``name`` is a module of the package or an attribute below one."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_text_mentions_exists(path):
    text = path.read_text(encoding="utf-8")
    scripts = set(re.findall(r"\b(?:book|data_scripts|tests|fcn)/[\w/]+\.py\b", text))
    assert [script for script in sorted(scripts) if not (ROOT / script).is_file()] == []
    names = set(re.findall(r"\bfcn(?:\.[A-Za-z_]\w*)+", re.sub(r"https?://\S+", "", text)))
    assert [name for name in sorted(names) if not resolves(name)] == []


def test_a_name_that_is_gone_does_not_resolve():
    assert resolves("fcn.metrics.ConfusionMatrix.metrics")
    assert not resolves("fcn.datasets.voc")
    assert not resolves("fcn.metrics.Confusion")
