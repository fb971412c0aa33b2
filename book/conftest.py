"""`pytest --nbval book/` runs the committed notebooks again, in the environment that made them, and compares."""

import pytest

import build

collect_ignore_glob = ["[!0-9]*"]  # nothing but the chapters


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Set nbval's options and the environment of the kernels."""
    if config.getoption("nbval", False):
        config.option.nbval_current_env = True
        config.option.nbval_sanitize_with = str(build.BOOK / "sanitize.cfg")
        build.prepare_environment()
