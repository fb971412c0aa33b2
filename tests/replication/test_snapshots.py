"""Arrays that a chapter shows: computed where possible, read otherwise, and never the one taken for the other."""

import json
from pathlib import Path

import numpy as np
import pytest

from fcn.replication.snapshots import LARGEST, provenance, record, recorded, source


def heatmap():
    """Scores of one class.

    More is said below the first line.
    """
    return {"scores": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), "names": ["tabby", "tiger cat"]}


def must_not_run():
    """Nothing."""
    raise AssertionError("computed although its files are not at hand")


@pytest.fixture(autouse=True)
def _no_recording(monkeypatch):
    monkeypatch.delenv("FCN_RECORD", raising=False)


def test_computed_where_at_hand(tmp_path):
    arrays, is_live = recorded("cat", heatmap, True, tmp_path)
    assert is_live
    assert arrays["scores"].shape == (3, 4)
    assert arrays["names"].tolist() == ["tabby", "tiger cat"]
    assert list(tmp_path.iterdir()) == [], "a reader's run leaves no file behind"


def test_read_where_not_at_hand(tmp_path):
    record("cat", heatmap, tmp_path)
    arrays, is_live = recorded("cat", must_not_run, False, tmp_path)
    assert not is_live
    live = recorded("cat", heatmap, True, tmp_path)[0]
    assert arrays.keys() == live.keys()
    for key in arrays:
        assert arrays[key].dtype == live[key].dtype
        np.testing.assert_array_equal(arrays[key], live[key])


def test_a_maintainers_run_writes_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_RECORD", "1")
    shown, is_live = recorded("cat", heatmap, True, tmp_path)
    assert is_live
    monkeypatch.delenv("FCN_RECORD")
    read, _ = recorded("cat", must_not_run, False, tmp_path)
    np.testing.assert_array_equal(shown["scores"], read["scores"])


def test_provenance(tmp_path):
    weights = tmp_path / "net.caffemodel"
    weights.write_bytes(b"abc")
    path = record("cat", heatmap, tmp_path, [weights])
    about = provenance("cat", tmp_path)
    assert about["what"] == "Scores of one class."
    assert about["computed_by"] == "heatmap"
    assert about["from"] == [
        {"name": "net.caffemodel", "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    ]
    assert about["arrays"] == {"scores": "float32 3 x 4", "names": "<U9 2"}
    assert {"versions", "commit", "hardware", "sha256"} <= about.keys()
    assert str(tmp_path) not in path.with_suffix(".json").read_text(), "no path of one machine"
    assert sorted(file.name for file in path.parent.iterdir()) == ["cat.json", "cat.npz"]


def test_the_same_arrays_make_the_same_file(tmp_path):
    assert record("cat", heatmap, tmp_path / "a").read_bytes() == record("cat", heatmap, tmp_path / "b").read_bytes()


def test_the_line_says_which_of_the_two(tmp_path):
    weights = tmp_path / "net.caffemodel"
    weights.write_bytes(b"abc")
    record("cat", heatmap, tmp_path, [weights])
    assert source("cat", True, tmp_path).startswith("Computed just now")
    assert source("cat", False, tmp_path) == "Recorded by this project: net.caffemodel is not at hand here."


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_at_hand_and_nothing_recorded(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        recorded("cat", must_not_run, False, tmp_path)
    assert "cat.npz" in one_line(error)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": "0"}', "{"])
def test_a_description_of_other_arrays(tmp_path, text):
    record("cat", heatmap, tmp_path).with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match="version control") as error:
        recorded("cat", must_not_run, False, tmp_path)
    assert "cat.json" in one_line(error)


def test_truncated_arrays(tmp_path):
    path = record("cat", heatmap, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not the arrays") as error:
        recorded("cat", must_not_run, False, tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.random.default_rng(0).random(LARGEST // 4), "bytes are more than"),
        (np.array([None, {}]), "neither numbers nor text"),
    ],
)
def test_what_cannot_be_recorded_leaves_nothing_behind(tmp_path, values, complaint):
    def compute():
        """Too much."""
        return {"values": values}

    with pytest.raises(ValueError, match=complaint) as error:
        record("cat", compute, tmp_path)
    one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_what_is_computed_has_to_be_said(tmp_path):
    def compute():
        return {}

    with pytest.raises(ValueError, match="docstring"):
        record("cat", compute, tmp_path)


@pytest.mark.parametrize("name", ["", "../cat", "Cat", "cat heatmap", "cat.npz"])
def test_names_make_file_names(tmp_path, name):
    with pytest.raises(ValueError, match="hyphens"):
        recorded(name, heatmap, False, tmp_path)


def test_what_is_committed_can_be_read():
    folder = Path(__file__).parents[2] / "results" / "recorded"
    names = sorted(path.stem for path in folder.glob("*.npz"))
    assert names == sorted(path.stem for path in folder.glob("*.json"))
    for name in names:
        arrays, _ = recorded(name, must_not_run, False, folder.parent)
        described = json.loads((folder / f"{name}.json").read_text())
        assert arrays.keys() == described["arrays"].keys()
        anywhere = not described["from"] and not name.startswith("forward-times")  # a time belongs to its machine
        assert not anywhere, "what could be computed anywhere needs no recording"
