"""The rows of the catalogue: their names, what they start from, what they serve."""

import subprocess
import sys
from pathlib import Path

import pytest

from fcn.replication.catalogue import BY_WORTH, EXPERIMENTS, SPEEDRUN, find
from fcn.replication.claims import ALL_CLAIMS, LONGER
from fcn.replication.paper import RELEASE, TABLES

RESULTS = Path(__file__).parents[2] / "results"


def test_experiments_start_from_nets_of_the_catalogue():
    for name, e in EXPERIMENTS.items():
        assert e.name == name
        assert f"-{e.net}-{e.stride}s" in name
        assert set(e.start) <= EXPERIMENTS.keys()
    assert set(BY_WORTH) <= EXPERIMENTS.keys()
    assert len(set(BY_WORTH)) == len(BY_WORTH)


def test_every_experiment_has_a_row_a_claim_a_record_or_serves_one_that_has():
    tested = {name for c in (*ALL_CLAIMS, LONGER) for name in (c.changed, c.base, c.full)}
    recorded = {path.name.partition(".")[0] for path in RESULTS.glob("*.seed*.json")}
    rows = {row.experiment for row in (*TABLES, *RELEASE)}
    needed = {name for name, e in EXPERIMENTS.items() if e.paper} | tested | recorded | rows
    needed |= SPEEDRUN.keys()
    for _ in range(2):
        needed |= {start for name in needed if name for start in EXPERIMENTS[name].start}
    assert EXPERIMENTS.keys() - needed == {"scenes-googlenet-8s-demo"}  # needs no data


def test_an_unknown_experiment_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match='"voc-vgg16-9s": did you mean voc-vgg16-8s'):
        find("voc-vgg16-9s")


def test_the_catalogue_imports_neither_torch_nor_pandas():
    code = "import sys, fcn.replication.catalogue; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "pandas", "numpy"} & set(done.stdout.split())
