"""Snapshots: computed if possible, loaded otherwise, and readers know which."""

import json
from pathlib import Path

import numpy as np
import pytest

from fcn.replication.snapshots import (
    LARGEST,
    compute_or_load,
    load,
    provenance,
    save,
    source,
)


def heatmap():
    """Scores of one class.

    More is said below the first line.
    """
    return {
        "scores": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
        "names": ["tabby", "tiger cat"],
    }


def must_not_run():
    """Nothing."""
    raise AssertionError("computed although its files are missing")


@pytest.fixture(autouse=True)
def _no_saving(monkeypatch):
    monkeypatch.delenv("FCN_SNAPSHOT", raising=False)


def test_computed_if_available(tmp_path):
    arrays, is_live = compute_or_load("cat", heatmap, True, tmp_path)
    assert is_live
    assert arrays["scores"].shape == (3, 4)
    assert arrays["names"].tolist() == ["tabby", "tiger cat"]
    assert list(tmp_path.iterdir()) == [], "a reader's run leaves no file behind"


def test_loaded_if_not_available(tmp_path):
    save("cat", heatmap, tmp_path)
    arrays, is_live = compute_or_load("cat", must_not_run, False, tmp_path)
    assert not is_live
    live = compute_or_load("cat", heatmap, True, tmp_path)[0]
    assert arrays.keys() == live.keys()
    for key in arrays:
        assert arrays[key].dtype == live[key].dtype
        np.testing.assert_array_equal(arrays[key], live[key])


def test_a_maintainers_run_saves_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_SNAPSHOT", "1")
    shown, is_live = compute_or_load("cat", heatmap, True, tmp_path)
    assert is_live
    monkeypatch.delenv("FCN_SNAPSHOT")
    read, _ = compute_or_load("cat", must_not_run, False, tmp_path)
    np.testing.assert_array_equal(shown["scores"], read["scores"])


def test_provenance(tmp_path):
    weights = tmp_path / "net.caffemodel"
    weights.write_bytes(b"abc")
    path = save("cat", heatmap, tmp_path, [weights])
    about = provenance("cat", tmp_path)
    assert about["what"] == "Scores of one class."
    assert about["computed_by"] == "heatmap"
    assert about["from"] == [
        {
            "name": "net.caffemodel",
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }
    ]
    assert about["arrays"] == {"scores": "float32 3 x 4", "names": "<U9 2"}
    assert {"versions", "commit", "hardware", "sha256"} <= about.keys()
    assert str(tmp_path) not in path.with_suffix(".json").read_text(), "no path of one machine"
    assert sorted(file.name for file in path.parent.iterdir()) == ["cat.json", "cat.npz"]


def test_the_same_arrays_make_the_same_file(tmp_path):
    first, second = (save("cat", heatmap, tmp_path / folder) for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_readers_know_which_of_the_two_they_see(tmp_path):
    weights = tmp_path / "net.caffemodel"
    weights.write_bytes(b"abc")
    save("cat", heatmap, tmp_path, [weights])
    assert source("cat", True, tmp_path).startswith("Computed just now")
    said = "Computed earlier by this project: net.caffemodel is missing here."
    assert source("cat", False, tmp_path) == said


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_nothing_available_and_nothing_saved(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        compute_or_load("cat", must_not_run, False, tmp_path)
    assert "cat.npz" in one_line(error)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"sha256": "0"}', "{"])
def test_a_description_of_other_arrays(tmp_path, text):
    save("cat", heatmap, tmp_path).with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match="version control") as error:
        compute_or_load("cat", must_not_run, False, tmp_path)
    assert "cat.json" in one_line(error)


def test_truncated_arrays(tmp_path):
    path = save("cat", heatmap, tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not the arrays") as error:
        compute_or_load("cat", must_not_run, False, tmp_path)
    one_line(error)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.random.default_rng(0).random(LARGEST // 4), "bytes are more than"),
        (np.array([None, {}]), "neither numbers nor text"),
    ],
)
def test_what_cannot_be_saved_leaves_nothing_behind(tmp_path, values, complaint):
    def compute():
        """Too much."""
        return {"values": values}

    with pytest.raises(ValueError, match=complaint) as error:
        save("cat", compute, tmp_path)
    one_line(error)
    assert list(tmp_path.iterdir()) == []


def test_arrays_need_a_description(tmp_path):
    def compute():
        return {}

    with pytest.raises(ValueError, match="docstring"):
        save("cat", compute, tmp_path)


@pytest.mark.parametrize("name", ["", "../cat", "Cat", "cat heatmap", "cat.npz"])
def test_names_make_file_names(tmp_path, name):
    with pytest.raises(ValueError, match="hyphens"):
        compute_or_load(name, heatmap, False, tmp_path)


def test_committed_snapshots_can_be_loaded():
    folder = Path(__file__).parents[2] / "results" / "snapshots"
    names = sorted(path.stem for path in folder.glob("*.npz"))
    assert names == sorted(path.stem for path in folder.glob("*.json"))
    for name in names:
        arrays = load(name, folder.parent)
        described = json.loads((folder / f"{name}.json").read_text())
        assert arrays.keys() == described["arrays"].keys()
        excepted = name == "late-fusion-rooms"  # takes longer than a reader waits
        assert described["from"] or excepted, "what can be computed at once needs no snapshot"
