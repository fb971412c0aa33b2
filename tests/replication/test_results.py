"""The committed records: their schema is published, their settings are those of the catalogue."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from fcn.replication.catalogue import EXPERIMENTS
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
    assert record.recipe == asdict(experiment.recipe)
    assert record.dataset.name == experiment.dataset
    written = record.deviations[: len(experiment.deviations)]
    assert written == experiment.deviations
    assert (record.paper is None) == (experiment.paper is None)
