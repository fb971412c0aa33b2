"""The committed records: their schema is published, their settings are those of the catalogue."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from fcn.replication import paper
from fcn.replication.catalogue import EXPERIMENTS
from fcn.replication.claims import CLAIMS, LONG_CLAIMS, compare, converged
from fcn.training.record import Record, load_records

RESULTS = Path(__file__).parents[2] / "results"
RECORDS = load_records(RESULTS)


def test_the_published_schema_is_that_of_the_code():
    published = json.loads((RESULTS / "schema.json").read_text(encoding="utf-8"))
    assert published == Record.model_json_schema(), (
        "write Record.model_json_schema() to results/schema.json"
    )


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.file_name)
def test_a_record_has_the_settings_of_its_experiment(record):
    experiment = EXPERIMENTS[record.experiment]
    assert record.net == experiment.net_settings
    later = {"frozen": "", "small": 0.0}  # settings that older records do not have
    assert later | record.recipe == asdict(experiment.recipe)
    assert record.dataset.name == experiment.dataset
    written = record.deviations[: len(experiment.deviations)]
    assert written == experiment.deviations
    assert (record.paper is None) == (experiment.paper is None)


def test_the_readme_says_what_the_results_at_a_glance_rest_on():
    """The sentences above the table are written by hand: a new record may make them untrue."""
    readme = " ".join((RESULTS.parent / "README.md").read_text(encoding="utf-8").split())
    shown = [run for run in RECORDS if run.paper and run.purpose == "final"]
    assert "GoogLeNet instead of VGG16, our own short recipes" in readme
    assert "instead of at least 175 epochs, and one seed each" in readme
    assert {(run.net["net"], run.seed) for run in shown} == {("googlenet", 0)}
    assert not any(converged(run) for run in shown)
    best = max(run.scores["mean_iu"] for run in shown)
    row = paper.row("Table 5", "FCN-16s").metrics["mean_iu"]
    assert f"our {best:.1f} does not beat the paper's {row:.1f}" in readme
    assert "None of the paper's claims about training has a verdict yet" in readme
    found = [compare(one, RECORDS) for one in (*CLAIMS, *LONG_CLAIMS)]
    assert all(one.verdict.startswith("too early to tell") for one in found if one)
