"""The drawn examples of chapters 3 and 4 show the results of the operations; the photos."""

import matplotlib.pyplot as plt
import photos
import pytest
import torch
import torch.nn.functional as F
from figures import convolutionalization, grids, upsampling


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def printed(figure):
    """The numbers written into a figure's squares, in the order in which they were drawn."""
    texts = [text.get_text().replace("−", "-") for text in figure.axes[0].texts]
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(text)
    return numbers


def after(numbers, title, count):
    """The ``count`` numbers drawn before their title, which is written after them."""
    end = numbers.index(title)
    return numbers[end - count : end]


def test_windows_shows_a_convolution():
    values, kernel = torch.arange(12.0).view(3, 4), torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    scores = F.conv2d(values[None, None], kernel[None, None])[0, 0]
    figure = convolutionalization.windows(values, kernel, scores, (0, 2))
    assert after(printed(figure), "one score per window", 6) == scores.flatten().tolist()


def test_stamps_add_up_to_a_transposed_convolution():
    cells, kernel = (
        torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
        torch.tensor([[1.0, 0, 2], [0, 3, 0], [4, 0, 5]]),
    )
    expected = F.conv_transpose2d(cells[None, None], kernel[None, None], stride=2)[0, 0]
    numbers = printed(upsampling.stamps(cells, kernel, stride=2))
    assert after(numbers, "the sum of the four stamps", 25) == expected.flatten().tolist()
    for value in (1, 2, 3, 4):
        assert after(numbers, f"{value} × filter", 9) == (value * kernel).flatten().tolist()


def test_cells_that_are_not_numbers_stay_blank():
    axes = plt.figure().add_subplot()
    grids.draw(axes, [[1.0, float("nan")]], (0, 0))
    assert [text.get_text() for text in axes.texts] == ["1", ""]  # and the title


@pytest.mark.parametrize("name", photos.PHOTOS)
def test_photos(name):
    photo = photos.photo(name)
    assert photo.shape[:2] == (1, 3)
    assert photo.dtype == torch.float32
    assert 0 <= photo.min() < 0.2
    assert 0.8 < photo.max() <= 1


def test_filled_squashes_nothing():
    circle = (
        (torch.arange(100)[:, None] - 49.5) ** 2 + (torch.arange(150) - 74.5) ** 2 < 30**2
    ).float()
    filled = photos.filled(circle.expand(1, 3, 100, 150), (50, 50))[0, 0] > 0.5
    assert filled.shape == (50, 50)
    across, down = filled.any(0).sum(), filled.any(1).sum()
    assert abs(across - 30) <= 1
    assert abs(down - 30) <= 1


def test_sheet():
    sheet = photos.sheet([["coffee", "chelsea"], ["rocket", "china"]], tile=(30, 40))
    assert sheet.shape == (1, 3, 60, 80)
    torch.testing.assert_close(
        sheet[..., :30, 40:], photos.filled(photos.photo("chelsea"), (30, 40))
    )


def test_no_such_photo():
    with pytest.raises(ValueError, match="choose one of chelsea"):
        photos.photo("dog")
