"""Chapter 14: its tables and figures show what the record of a benchmark holds."""

import chapter_tables
import matplotlib.pyplot as plt
import pytest
from book_records import timed
from figures import how_fast as figures

from fcn.replication.benchmark.record import Case, Command, Part, Profile, Variant, Workload

FORWARD = Workload("forward", "vgg16", 8, 375, 500, 1)
STEP = Workload("training step", "vgg16", 8, 375, 500, 1)
PORT, ONNX = Variant("padded port"), Variant("ONNX Runtime")
COMPILED = Variant(mode="compiled")
PROFILE = Profile("training", 8, [Part("forward", [2.0]), Part("optimizer", [5.0, 6.0, 9.0])])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def found():
    made = timed({FORWARD: [900, 1000, 1100], STEP: [4000, 4000, 4000]})
    for variant, seconds, first in ((PORT, 2.5, 3), (ONNX, 0.5, 21), (COMPILED, 1.5, 41)):
        made.cases.append(Case(FORWARD, variant, [seconds] * 3, first, 2e9, 1e9))
    made.cases.append(Case(STEP, PORT, [6.0], 7.0, None, None))
    made.commands.append(Command("list", [0.5, 0.7, 0.6], 8e7))
    made.profiles.append(PROFILE)
    return made


def test_times_are_compared_with_the_padded_port(found):
    table = chapter_tables.speed(found, FORWARD)
    assert table["seconds"].tolist() == ["1", "1", "2.5", "0.5", "1.5"]
    assert table.loc["ours", "quartiles"] == "0.95 to 1.05"
    assert table.loc["ONNX Runtime", "port / this"] == "5.00"
    assert table.loc["padded port", "% of matrix rate"] == "40"
    assert table.loc["padded port", "GB"] == "2.00"
    assert chapter_tables.speed(found, STEP).loc["ours", "port / this"] == "1.50"


def test_formats_are_those_of_the_default_settings(found):
    assert chapter_tables.formats(found).empty
    last = Variant(memory_format="channels last")
    found.cases.append(Case(STEP, last, [5.0], 1.0, None, None))
    table = chapter_tables.formats(found)
    assert table.index.tolist() == [str(STEP)]
    assert table.loc[str(STEP)].to_dict() == {
        "contiguous, float32": "4",
        "channels last, float32": "5",
    }


def test_a_preparation_pays_after_the_photos_that_make_up_for_it(found):
    table = chapter_tables.first_results(found)
    # 20 s more until the first result, half a second less for each photo
    assert table.loc["ONNX Runtime", "pays after photos"] == "40"
    assert table.loc["ours, compiled", "pays after photos"] == "never"


def test_parts_commands_and_verdicts(found):
    assert chapter_tables.profile(PROFILE)["% of the time"].tolist() == ["25.0", "75.0"]
    assert chapter_tables.profile(PROFILE)["ms per image"].tolist() == ["250.0", "750.0"]
    assert chapter_tables.commands(found).loc["python -m fcn list"].tolist() == ["0.60", "80"]
    judged = chapter_tables.judged(found)["verdict"].to_dict()
    assert judged["fcn list: seconds"] == "reached"
    assert judged["forward: time of ONNX Runtime / ours"] == "missed"
    assert judged["forward: time of the padded port / ours"] == "reached"
    assert judged["fcn predict: seconds"] == "not measured"
    late = [*judged.values()].count("missed")
    assert chapter_tables.missed([found]) == f"{late} ({found.hardware})"
    assert chapter_tables.missed([]) == "-"


def test_every_peer_is_a_bar_with_its_time(found):
    forward, step = figures.seconds_per_photo(found).axes
    labels = [text.get_text() for text in forward.get_yticklabels()]
    assert labels[0] == "padded PyTorch port"
    assert labels[-1] == "ONNX Runtime, our export"
    assert len(forward.patches) == 5
    assert len(step.patches) == 3
    assert {text.get_text() for text in step.texts} == {"6 s", "4 s"}


def test_the_parts_fill_the_bar():
    (axes,) = figures.parts([PROFILE]).axes
    assert sum(bar.get_width() for bar in axes.patches) == pytest.approx(100)
    assert [text.get_text() for text in axes.texts] == ["forward\n25 %", "optimizer\n75 %"]


def test_parts_too_narrow_for_their_names_are_in_the_legend():
    parts = [Part("forward", [9.5]), Part("metric", [0.5])]
    figure = figures.parts([Profile("evaluation", 8, parts)])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["metric"]
