"""The confusion matrix and the four metrics, by hand and against scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, recall_score

from fcn.metrics import ConfusionMatrix, Metrics

VOID = 255
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    """A number of classes, labels (some void) and predictions; at least one pixel is labelled."""
    num_classes = draw(st.integers(1, 9))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=7))
    classes = st.integers(0, num_classes - 1)
    labels = draw(hnp.arrays(np.int64, shape, elements=classes | st.just(VOID)))
    labels.flat[0] = draw(classes)
    return num_classes, labels, draw(hnp.arrays(np.int64, shape, elements=classes))


def counted(num_classes: int, labels: np.ndarray, predictions: np.ndarray) -> ConfusionMatrix:
    confusion = ConfusionMatrix(num_classes)
    confusion.update(torch.from_numpy(labels), torch.from_numpy(predictions))
    return confusion


# A single class is one of the cases.
@pytest.mark.filterwarnings("ignore:A single label was found")
@given(label_maps())
@settings(deadline=None)
def test_agrees_with_scikit_learn(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    num_classes, labels, predictions = case
    confusion = counted(*case)
    truth, predicted = labels[labels != VOID], predictions[labels != VOID]
    present = np.unique(truth)
    over_present = {"labels": present, "zero_division": 0}

    expected = confusion_matrix(truth, predicted, labels=range(num_classes))
    np.testing.assert_array_equal(confusion.matrix.numpy(), expected)
    assert confusion.matrix.dtype == torch.int64

    metrics = confusion.metrics()
    assert metrics.classes_counted == len(present)
    assert metrics.pixel_accuracy == pytest.approx(100 * accuracy_score(truth, predicted))
    assert metrics.mean_accuracy == pytest.approx(
        100 * recall_score(truth, predicted, average="macro", **over_present)
    )
    assert metrics.mean_iu == pytest.approx(
        100 * jaccard_score(truth, predicted, average="macro", **over_present)
    )
    weighted = jaccard_score(truth, predicted, average="weighted", **over_present)
    assert metrics.frequency_weighted_iu == pytest.approx(100 * weighted)
    per_class = jaccard_score(
        truth, predicted, average=None, labels=range(num_classes), zero_division=0
    )
    assert metrics.iu_per_class == tuple(
        pytest.approx(100 * iu) if i in present else None for i, iu in enumerate(per_class)
    )


@given(label_maps(), st.integers(0, 7))
@settings(deadline=None)
def test_merged_parts_equal_the_whole(case: tuple[int, np.ndarray, np.ndarray], cut: int) -> None:
    num_classes, labels, predictions = case
    whole = counted(*case)
    first = counted(num_classes, labels[:cut], predictions[:cut])
    second = counted(num_classes, labels[cut:], predictions[cut:])
    total = first + second
    assert torch.equal(total.matrix, whole.matrix)
    assert torch.equal(
        first.matrix, counted(num_classes, labels[:cut], predictions[:cut]).matrix
    ), "+ changed a part"


@pytest.mark.parametrize("device", DEVICES)
def test_worked_by_hand(device: str) -> None:
    labels = torch.tensor([[0, 0, 1], [1, 2, VOID]], device=device)
    predictions = torch.tensor([[0, 1, 1], [1, 0, 2]], device=device)
    confusion = ConfusionMatrix(3, device=device)
    confusion.update(labels, predictions)
    assert confusion.matrix.device.type == device
    assert confusion.matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    metrics = confusion.metrics()
    assert metrics.pixel_accuracy == pytest.approx(100 * 3 / 5)
    assert metrics.mean_accuracy == pytest.approx(100 * (1 / 2 + 2 / 2 + 0 / 1) / 3)
    assert metrics.mean_iu == pytest.approx(100 * (1 / 3 + 2 / 3 + 0) / 3)
    assert metrics.frequency_weighted_iu == pytest.approx(100 * (2 * 1 / 3 + 2 * 2 / 3 + 1 * 0) / 5)
    assert metrics.classes_counted == 3
    assert metrics.iu_per_class == pytest.approx((100 / 3, 200 / 3, 0.0))


def test_absent_class_is_left_out_of_the_means_but_predicting_it_is_an_error() -> None:
    metrics = counted(3, np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1])).metrics()
    assert metrics == Metrics(
        pixel_accuracy=75.0,
        mean_accuracy=pytest.approx(100 * (2 / 3 + 1) / 2),  # type: ignore[arg-type]
        mean_iu=pytest.approx(100 * (2 / 3 + 1) / 2),  # type: ignore[arg-type]
        frequency_weighted_iu=pytest.approx(100 * (3 * 2 / 3 + 1) / 4),  # type: ignore[arg-type]
        classes_counted=2,
        iu_per_class=(pytest.approx(200 / 3), 100.0, None),  # type: ignore[arg-type]
    )


def test_one_matrix_is_not_a_mean_over_images() -> None:
    labels = np.array([[0, 0, 0, 1], [1, 1, 1, 1]])
    predictions = np.array([[0, 0, 1, 1], [1, 1, 1, 0]])
    whole = counted(2, labels, predictions).metrics().mean_iu
    image_by_image = np.mean(
        [counted(2, *pair).metrics().mean_iu for pair in zip(labels, predictions, strict=True)]
    )
    assert whole == pytest.approx(100 * (2 / 4 + 4 / 6) / 2)
    assert abs(whole - image_by_image) > 1


def test_counts_beyond_float32_are_exact() -> None:
    large = 2**53 // 4
    confusion = ConfusionMatrix.from_matrix([[large, 1], [0, large]])
    assert (confusion + confusion).matrix.tolist() == [[2 * large, 2], [0, 2 * large]]
    assert confusion.metrics().pixel_accuracy < 100


def test_no_pixel_has_no_metrics() -> None:
    confusion = ConfusionMatrix(21)
    confusion.update(torch.full((2, 4, 4), VOID), torch.zeros(2, 4, 4, dtype=torch.int64))
    assert confusion.matrix.sum() == 0
    with pytest.raises(ValueError, match="no labelled pixel"):
        confusion.metrics()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_whole_numbers_will_do(dtype: torch.dtype) -> None:
    confusion = ConfusionMatrix(200)
    confusion.update(
        torch.tensor([199, 5, VOID], dtype=dtype), torch.tensor([199, 199, 7], dtype=dtype)
    )
    assert confusion.matrix[199, 199] == confusion.matrix[5, 199] == 1
    assert confusion.matrix.sum() == 2


@pytest.mark.parametrize("void", [-1, 3, 7, 255, 256, 10**6])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_void_may_be_any_number_but_a_class(void: int, dtype: torch.dtype) -> None:
    """Predictions of void pixels are not looked at."""
    labels = torch.tensor([0, 1, 2, 2, void, void], dtype=dtype)
    for ignored in (0, 99, -5):
        confusion = ConfusionMatrix(3, void)
        confusion.update(labels, torch.tensor([0, 2, 2, 1, 1, ignored], dtype=dtype))
        assert confusion.matrix.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    for wrong in (-2, 4, void + 10):
        with pytest.raises(ValueError, match=f"label {wrong} is outside"):
            confusion.update(torch.full_like(labels, wrong), torch.zeros_like(labels))
    assert confusion.matrix.sum() == 4


def test_void_is_not_taken_for_its_uint8_twin() -> None:
    confusion = ConfusionMatrix(256, void=-1)  # -1 is 255 in uint8, and 255 is a class here
    confusion.update(torch.tensor([255], dtype=torch.uint8), torch.tensor([255], dtype=torch.uint8))
    assert confusion.matrix[255, 255] == 1


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 33], [0, 0], r"^label 33 is outside the 33 classes \(0 to 32, and 255 for void\)$"),
        ([0, -2], [0, 0], "^label -2 is outside the 33 classes"),
        ([0, 1], [0, 34], r"^prediction 34 is outside the 33 classes \(0 to 32\)$"),
        ([0, 1], [0, VOID], "^prediction 255 is outside the 33 classes"),
        ([0, 1], [0], r"labels \(2,\) and predictions \(1,\) differ in shape.*argmax"),
        ([0.0, 1.0], [0, 1], "labels are integers.*float32"),
        ([0, 1], [0.0, 1.0], "predictions are integers.*float32"),
    ],
)
def test_bad_input_is_named_and_nothing_is_counted(
    labels: list, predictions: list, message: str
) -> None:
    confusion = ConfusionMatrix(33)
    with pytest.raises(ValueError, match=message):
        confusion.update(torch.tensor(labels), torch.tensor(predictions))
    assert confusion.matrix.sum() == 0


def test_from_matrix_copies() -> None:
    counts = torch.tensor([[3, 1], [0, 2]])
    confusion = ConfusionMatrix.from_matrix(counts)
    confusion.update(torch.tensor([1]), torch.tensor([0]))
    assert counts.tolist() == [[3, 1], [0, 2]]
    assert confusion.matrix.tolist() == [[3, 1], [1, 2]]
    assert (
        ConfusionMatrix.from_matrix(counts.tolist()).metrics()
        == ConfusionMatrix.from_matrix(counts).metrics()
    )


@pytest.mark.parametrize(
    "matrix", [[[1, 2]], [1, 2], [], [[1.5]], [[-1]], [[1, 2], [3]], [["a"]], None]
)
def test_from_matrix_refuses_what_is_no_confusion_matrix(matrix: object) -> None:
    with pytest.raises(ValueError, match="a confusion matrix"):
        ConfusionMatrix.from_matrix(matrix)  # type: ignore[arg-type]


def test_mismatched_or_impossible_matrices_are_refused() -> None:
    with pytest.raises(ValueError, match="21 and 33 classes"):
        ConfusionMatrix(21) + ConfusionMatrix(33)
    with pytest.raises(ValueError, match="void 255 is one of the 459 classes"):
        ConfusionMatrix(459)
    with pytest.raises(ValueError, match="at least one class"):
        ConfusionMatrix(0)


def test_unsigned_predictions_count_and_a_broken_number_of_classes_does_not() -> None:
    confusion = ConfusionMatrix(3)
    confusion.update(torch.tensor([1]).to(torch.uint16), torch.tensor([2]).to(torch.uint16))
    assert confusion.matrix[1, 2] == 1
    with pytest.raises(ValueError, match="at least one class"):
        ConfusionMatrix(2.5)  # type: ignore[arg-type]


def test_the_number_of_classes_may_be_numpys():
    assert ConfusionMatrix(np.int64(3)).matrix.shape == (3, 3)
    with pytest.raises(ValueError, match="at least one class"):
        ConfusionMatrix(2.0)
