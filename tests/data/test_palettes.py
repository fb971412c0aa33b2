"""Colours by data set, and data sets by name without importing all of them."""

import subprocess
import sys

import numpy as np
import pytest

from fcn.data import nyud, pascal_context, registry, sift_flow, voc
from fcn.data.palettes import PALETTES, palette
from fcn.data.synthetic.outdoor import Scenes


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("sift-flow", len(sift_flow.SEMANTIC)),
        ("scenes", len(Scenes.heads["semantic"])),
        ("voc", len(voc.CLASSES)),
        ("sbd", len(voc.CLASSES)),
        ("nyud", len(nyud.CLASSES)),
        ("pascal-context", 1 + len(pascal_context.CLASSES[59])),
    ],
)
def test_every_class_has_its_own_colour(name: str, count: int) -> None:
    colours = palette(name, count)
    assert (colours.shape, colours.dtype) == ((count, 3), np.uint8)
    assert len(np.unique(colours, axis=0)) == count
    np.testing.assert_array_equal(colours, PALETTES[name])


def test_both_tasks_of_pascal_context_share_colours() -> None:
    np.testing.assert_array_equal(palette("pascal-context", 34), PALETTES["pascal-context"][:34])


@pytest.mark.parametrize(("name", "count"), [("folder", 5), ("sift-flow", 7), ("voc", 3)])
def test_other_class_counts_have_evenly_spaced_hues(name: str, count: int) -> None:
    colours = palette(name, count)
    assert (colours.shape, colours.dtype) == ((count, 3), np.uint8)
    assert len(np.unique(colours, axis=0)) == count


def test_the_inputs_of_nyud_are_data_sets() -> None:
    assert {f"nyud-{inputs}" for inputs in nyud.INPUTS} <= set(registry.DATASETS)
    with pytest.raises(ValueError, match='unknown data set "cityscapes"; choose one of sift-flow'):
        registry.dataset("cityscapes", "test")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("palettes", ["torch", "matplotlib", "PIL"]),
        ("registry", ["torch", "matplotlib", "scipy", "torchvision", "fcn.data.voc"]),
        ("reading", ["scipy", "torchvision", "matplotlib"]),
    ],
)
def test_modules_import_what_they_need_only(module: str, absent: list[str]) -> None:
    code = f"import sys, fcn.data.{module}; print(*sys.modules.keys() & {set(absent)!r})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
