"""Settings of all tests."""

import hypothesis
import pytest
import torch

# The time of an example says more about the load of the machine than about the code. The same code
# always gets the same examples, so a result depends on the change and not on the draw.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed each test alike: a very narrow random net may have only dead units."""
    torch.manual_seed(0)
