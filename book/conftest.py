"""`pytest --nbval book/` runs the committed notebooks again, in the environment that made them, and compares."""

import os
from collections.abc import Generator
from unittest.mock import patch

import pytest

import build

collect_ignore_glob = ["[!0-9]*"]  # nothing but the chapters
KERNELS = pytest.StashKey[dict[str, str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set nbval's options, and find the environment of the kernels."""
    if config.getoption("nbval", False):
        config.option.nbval_current_env = True
        config.option.nbval_sanitize_with = str(build.BOOK / "sanitize.cfg")
        with patch.dict(os.environ):
            build.prepare_environment()
            config.stash[KERNELS] = dict(os.environ)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Before its first cell, nbval starts a chapter's kernel: it gets another environment than the tests."""
    with patch.dict(os.environ, item.config.stash[KERNELS], clear=True):
        yield
