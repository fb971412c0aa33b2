"""`pytest --nbval book/` runs the committed notebooks again, in the environment that made them, and compares."""

import os
import sys
from collections.abc import Generator
from contextlib import ExitStack
from unittest.mock import patch

import pytest

import build
import kernels

collect_ignore_glob = ["[!0-9]*"]  # nothing but the chapters
FORKS = sys.platform == "linux"  # elsewhere, each kernel is a process of its own
ADDRESS = "FCN_BOOK_KERNELS"  # read by the processes of pytest-xdist
KERNELS = pytest.StashKey[dict[str, str]]()
OPENED = pytest.StashKey[ExitStack]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set nbval's options, find the environment of the kernels, and serve kernels where processes can be copied."""
    if not config.getoption("nbval", False):
        return
    config.option.nbval_current_env = True
    config.option.nbval_sanitize_with = str(build.BOOK / "sanitize.cfg")
    opened = config.stash[OPENED] = ExitStack()
    address = os.environ.get(ADDRESS, "")
    with patch.dict(os.environ):
        build.prepare_environment()
        config.stash[KERNELS] = dict(os.environ)
        if FORKS and not hasattr(config, "workerinput"):
            address = opened.enter_context(kernels.served())
    if FORKS:
        os.environ[ADDRESS] = address
        command = kernels.command(address)
        opened.enter_context(
            patch("ipykernel.kernelspec.make_ipkernel_cmd", lambda **_: command)
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the kernels."""
    if OPENED in config.stash:
        config.stash[OPENED].close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Before its first cell, nbval starts a chapter's kernel: it gets another environment than the tests."""
    with patch.dict(os.environ, item.config.stash[KERNELS], clear=True):
        yield
