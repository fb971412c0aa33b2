"""Segmentation of photos: strips of rows, and what the import of the module costs."""

import subprocess
import sys

import pytest
import torch
from torch.nn.functional import interpolate

from fcn.predict import _enlarged_argmax, shares

UNNEEDED = ["lightning", "lightning_fabric", "matplotlib", "pandas", "scipy", "torchvision"]


def test_import_loads_at_most_15_modules_and_no_heavy_dependency():
    code = "import sys, fcn.predict; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    ours = [name for name in loaded if name.split(".")[0] == "fcn"]
    assert "fcn.models" in ours
    assert len(ours) <= 15, ours
    assert not [name for name in ours if name.startswith(("fcn.replication", "fcn.training"))]
    assert not set(UNNEEDED) & set(loaded)


@pytest.mark.parametrize("size", [(9, 13), (150, 200), (64, 31), (5, 7)])
def test_strips_of_rows_are_the_whole_image(size):
    scores = torch.randn(1, 4, 9, 13, generator=torch.Generator().manual_seed(0)).double()
    whole = interpolate(scores, size=size, mode="bilinear")[0].argmax(0)
    assert torch.equal(_enlarged_argmax(scores, *size), whole)


def test_shares_are_in_percent_largest_first():
    labels = torch.tensor([[0, 2, 2], [2, 2, 0]])
    found = shares(labels, ["sky", "sea", "sand"])
    assert found == [("sand", pytest.approx(400 / 6)), ("sky", pytest.approx(200 / 6))]
