"""Settings of all tests."""

import gc

import hypothesis
import pytest
import torch

# The time of an example says more about the load of the machine than about the code. The same code
# always gets the same examples, so a result depends on the change and not on the draw.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

FIRST = (
    "test_workflow",
    "test_stopping",
    "test_distributed",
    "test_presets",
    "test_book",
    "test_export",
    "test_predict_ray",
    "test_site",
    "test_live",
    "test_kills",
    "test_install",
    "test_widgets",
)
"""The longest files, which start first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"{name}.py": i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(FIRST)))


def pytest_collection_finish() -> None:
    """Garbage is looked for among the tests' objects; those of the modules are too many."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed each test alike: a very narrow random net may have only dead units."""
    torch.manual_seed(0)
