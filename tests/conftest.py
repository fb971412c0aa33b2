"""Settings of all tests."""

import hypothesis
import pytest
import torch

# How long an example takes says more about what else the machine does than about the code; and the same code is given
# the same examples, so that a run says something of the change and not of the draw.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The same random nets whatever ran before: a very narrow one can be born with all its units dead."""
    torch.manual_seed(0)
