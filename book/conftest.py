"""`pytest --nbval book/` runs the committed notebooks again, in the environment that made them, and compares."""

import os
from collections.abc import Generator

import pytest

import build

collect_ignore_glob = ["[!0-9]*"]  # nothing but the chapters


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set nbval's options."""
    if config.getoption("nbval", False):
        config.option.nbval_current_env = True
        config.option.nbval_sanitize_with = str(build.BOOK / "sanitize.cfg")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """Before its first cell, nbval starts a chapter's kernel: it gets another environment than the tests."""
    before = dict(os.environ)
    build.prepare_environment()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
