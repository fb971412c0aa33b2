"""Appendix A: ground truth reduced and enlarged again, by hand and by its properties."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn.data.sample import VOID
from fcn.replication import snapshots, upper_bounds
from fcn.replication.upper_bounds import (
    FACTORS,
    PAPER,
    PROTOCOLS,
    Bounds,
    Protocol,
    near_border,
    predictions,
    ranked,
)

RESULTS = Path(__file__).parents[2] / "results"

# Two cells of 4 x 4. Left: 9 pixels of class 1, 7 of class 0, the middle pixel 0. Right: 8 void, 5
# of class 2, 3 of 0.
MAP = torch.tensor(
    [
        [1, 1, 1, 1, VOID, VOID, VOID, VOID],
        [1, 1, 1, 1, VOID, VOID, VOID, VOID],
        [1, 0, 0, 0, 2, 2, 2, 2],
        [0, 0, 0, 0, 2, 0, 0, 0],
    ]
)


def predicted(labels: torch.Tensor, factor: int, protocol: Protocol) -> list[list[int]]:
    ((_, _, result),) = predictions(labels, [factor], [protocol])
    return result.tolist()


@pytest.mark.parametrize(
    ("protocol", "left", "right"),
    [
        (Protocol("sample", "repeat", "votes"), 0, 2),
        (Protocol("vote", "repeat", "votes"), 1, VOID),
        (Protocol("vote", "repeat", "abstains"), 1, 2),
    ],
)
def test_each_pixel_gets_the_label_of_its_cell(protocol: Protocol, left: int, right: int) -> None:
    assert predicted(MAP, 4, protocol) == [[left] * 4 + [right] * 4] * 4


def test_bilinear_meets_half_way_between_the_middles_of_the_cells() -> None:
    # Equal cells of two labels: the border stays where it was, between the cells.
    halves = torch.tensor([[1] * 4 + [2] * 4] * 4)
    for down in ("sample", "vote", "mean"):
        assert predicted(halves, 4, Protocol(down, "bilinear", "votes")) == halves.tolist()
    # Shares of 9/16 and 5/8: label 1 falls from 9/16 to 0, label 2 rises to 5/8, label 0 goes from
    # 7/16 to 3/8. Between the middles (columns 1.5 and 5.5) label 1 leads up to a share t with
    # 9 (1 - t) > 7 (1 - t) + 6 t, t < 1/4, label 0 up to 7 (1 - t) + 6 t > 10 t, t < 7/11, and then
    # label 2; columns 2, 3, 4 and 5 are at 1/8, 3/8, 5/8 and 7/8.
    bilinear = predicted(MAP, 4, Protocol("mean", "bilinear", "abstains"))
    assert bilinear == [[1, 1, 1, 0, 0, 2, 2, 2]] * 4


def test_cells_that_the_edge_cuts() -> None:
    labels = torch.tensor([[0, 0, 0, 3, 3], [0, 0, 3, 3, 3], [0, 0, 0, 3, 4]])
    assert predicted(labels, 4, Protocol("vote", "repeat", "votes")) == [[0, 0, 0, 0, 3]] * 3


def test_the_prediction_is_class_0_where_all_abstain() -> None:
    labels = torch.full((5, 9), VOID)
    labels[:, 8] = 3
    for protocol in PROTOCOLS:
        if protocol.void == "abstains" and protocol.up == "repeat":
            assert predicted(labels, 4, protocol) == [[0] * 8 + [3]] * 5


def test_scores_of_a_map_by_hand() -> None:
    counted = Bounds(3, (4,), (PROTOCOLS[2],))
    counted.update(MAP)
    counted.update(MAP)
    ((protocol, factor),) = counted.matrices
    assert str(protocol) == "vote, repeat, void votes"
    # Left cell all 1, right cell all void: 9 of 1 right; 7 of class 0 predicted as 1; 5 of 2 and
    # 3 of 0 predicted as void.
    assert counted.matrices[protocol, factor].tolist() == [
        [0, 14, 0, 6],
        [0, 18, 0, 0],
        [0, 0, 0, 10],
        [0, 0, 0, 0],
    ]
    mean_iu = counted.metrics(protocol, factor).mean_iu
    assert mean_iu == pytest.approx(100 * (0 + 9 / 16 + 0) / 3)
    # Left out, those pixels take class 2 with them, and the mean is over two classes.
    mean_iu = counted.metrics(protocol, factor, score_void=False).mean_iu
    assert mean_iu == pytest.approx(100 * (0 + 9 / 16) / 2)


def blobs(seed: int, height: int, width: int) -> torch.Tensor:
    """A few discs of three classes on background, a border of void around each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int64)
    for label in (1, 2, 3, 1):
        radius, top, left = rng.uniform(5, 20), rng.uniform(0, height), rng.uniform(0, width)
        distance = np.hypot(y - top, x - left)
        labels[distance < radius + 1] = VOID
        labels[distance < radius] = label
    return torch.from_numpy(labels)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 70), st.integers(1, 70))
def test_factor_1_loses_nothing(seed: int, height: int, width: int) -> None:
    labels = blobs(seed, height, width)
    for protocol, _, result in predictions(labels, [1]):
        labelled = labels.numpy() != VOID
        np.testing.assert_array_equal(result[labelled], labels.numpy()[labelled])
        assert result.shape == (height, width), protocol


def test_coarser_is_worse() -> None:
    counted = Bounds(4, (64, 32, 16, 8, 4, 1))
    for seed in range(12):
        counted.update(blobs(seed, 97, 121))
    for protocol in PROTOCOLS:
        for score_void in (True, False):
            scores = [
                counted.metrics(protocol, factor, score_void=score_void).mean_iu
                for factor in counted.factors
            ]
            assert scores == sorted(scores), protocol
            assert scores[-1] == 100
    # A vote is the best that one label a cell can be, of all pixels with a label.
    vote, sample = (Protocol(down, "repeat", "abstains") for down in ("vote", "sample"))
    for factor in counted.factors:
        right = [counted.matrices[p, factor][:, :-1].trace() for p in (vote, sample)]
        assert right[0] >= right[1]


def test_pixels_near_a_border_by_hand() -> None:
    # A strip of three rows of class 1, void above it, class 0 below; the image's edge is no border.
    labels = np.array([[VOID] * 4, [1] * 4, [1] * 4, [1] * 4, [0] * 4, [0] * 4])
    counts = near_border(labels, 3, [0.5, 1, 2])
    assert counts.tolist() == [[0, 0, 0], [4, 8, 0], [8, 12, 0]]
    assert near_border(np.ones((5, 5), int), 3, [4]).tolist() == [[0, 0, 0]]


def test_a_label_map_needs_two_dimensions_and_a_pixel() -> None:
    for shape in ((0, 4), (3,), (1, 4, 4)):
        with pytest.raises(ValueError, match="H x W"):
            next(predictions(torch.zeros(shape, dtype=torch.int64)))


def test_the_saved_bounds_next_to_the_papers() -> None:
    arrays = snapshots.load("appendix-a", RESULTS)
    assert arrays["images"] == 736
    assert arrays["mean_iu"].shape == (len(PROTOCOLS), len(FACTORS), 2)
    mean_iu = arrays["iu_per_class"].mean(-1)
    np.testing.assert_allclose(mean_iu, arrays["mean_iu"][..., 0], rtol=1e-5)
    assert arrays["protocols"].tolist() == [str(p) for p in PROTOCOLS]
    assert snapshots.provenance("appendix-a", RESULTS)["from"][0]["name"] == "seg11valid.txt"
    paper, nearest, *others = ranked(arrays)
    assert (paper.label, paper.mean_iu) == ("the paper", PAPER)
    assert list(PAPER.values()) == [50.9, 73.3, 86.1, 92.8, 96.4, 98.5]
    assert nearest.label == "vote, bilinear, void votes, predicted void an error"
    assert nearest.distance == min(line.distance for line in [*others, nearest]) < 2
    assert len(others) + 1 == 15
    for line in (nearest, *others):
        assert list(line.mean_iu.values()) == sorted(line.mean_iu.values())


def test_the_table_begins_with_the_paper_and_then_the_nearest() -> None:
    off = np.arange(len(PROTOCOLS), dtype=float)[::-1, None, None]
    arrays = {
        "mean_iu": np.array(list(PAPER.values()))[None, :, None] + off + np.zeros((1, 1, 2)),
        "protocols": np.array([str(p) for p in PROTOCOLS]),
    }
    lines = ranked(arrays)
    assert [lines[0].label, lines[1].label] == ["the paper", str(PROTOCOLS[-1])]
    assert lines[1].distance == pytest.approx(0)
    assert lines[-1].label.startswith(f"{PROTOCOLS[0]}, predicted void ")
    assert lines[-1].distance == pytest.approx(9)


def test_the_whole_computation_on_a_few_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a", "b"]
    maps = {name: blobs(i, 60, 80) for i, name in enumerate(names)}
    monkeypatch.setattr(upper_bounds, "split_names", lambda root, split: names)
    monkeypatch.setattr(upper_bounds, "read_labels", lambda root, name: maps[name])
    arrays = upper_bounds.seg11valid(tmp_path)
    assert arrays["images"] == 2
    assert arrays["mean_iu"].shape == (len(PROTOCOLS), len(FACTORS), 2)
    assert (arrays["mean_iu"][:, -1] > 80).all()
    present = arrays["pixels"][:-1] > 0
    assert arrays["pixels"].sum() == 2 * 60 * 80
    assert arrays["iu_per_class"].shape == (len(PROTOCOLS), len(FACTORS), 21)
    ious = arrays["iu_per_class"]
    np.testing.assert_array_equal(np.isnan(ious), np.broadcast_to(~present, (10, 6, 21)))
    np.testing.assert_allclose(np.nanmean(ious, -1), arrays["mean_iu"][..., 0], rtol=1e-5)
    assert (np.diff(arrays["near_border"], axis=0) <= 0).all()  # a smaller factor, a narrower strip

    def compute() -> dict:
        """The bounds."""
        return arrays

    assert snapshots.save("appendix-a", compute, tmp_path).is_file()
