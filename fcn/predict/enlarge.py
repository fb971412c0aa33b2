"""The classes of bilinearly enlarged scores, without enlarging them."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.unsignedinteger[Any]]
STRIP = 64  # rows enlarged at a time, to bound memory


class Axis(NamedTuple):
    """For each pixel along one axis, the cells around its centre and the weight of the second."""

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    weight: NDArray[np.float32]

    @classmethod
    def of(cls, cells: int, pixels: int) -> "Axis":
        """``pixels`` over the extent of ``cells``."""
        place = ((np.arange(pixels) + 0.5) * cells / pixels - 0.5).clip(min=0)
        before = place.astype(np.intp).clip(max=cells - 1)
        return cls(before, (before + 1).clip(max=cells - 1), (place - before).astype(np.float32))

    def pixels(self, start: int, stop: int) -> slice:
        """The pixels that need cells ``start`` to ``stop``, the latter included if it exists."""
        first, last = np.searchsorted(self.before, (start, stop))
        return slice(int(first), int(last))

    def part(self, pixels: slice, start: int = 0) -> "Axis":
        """The axis of some ``pixels``, for cells counted from ``start``."""
        return Axis(self.before[pixels] - start, self.after[pixels] - start, self.weight[pixels])


def enlarged_argmax(scores: NDArray[np.floating[Any]], height: int, width: int) -> Labels:
    """The best class, H x W, of scores C x h x w enlarged to that size bilinearly."""
    rows, columns = Axis.of(scores.shape[1], height), Axis.of(scores.shape[2], width)
    return joined(enlarged_strips(scores, rows, columns), height)


def joined(strips: Iterable[Labels], height: int) -> Labels:
    """The strips as one array of ``height`` rows, without a second copy of all of them."""
    top = 0
    for strip in strips:
        if len(strip) == height:
            return strip
        if top == 0:
            labels = np.empty((height, strip.shape[1]), strip.dtype)
        labels[top : top + len(strip)] = strip
        top += len(strip)
    return labels


def enlarged_strips(
    scores: NDArray[np.floating[Any]], rows: Axis, columns: Axis
) -> Iterator[Labels]:
    """The best class of enlarged scores C x h x w, ``STRIP`` rows at a time.

    Among four neighbouring cells with the same best class, that class wins everywhere. So only the
    pixels among cells that disagree are interpolated: at most borders, a small part of a photo.
    """
    kind = np.min_scalar_type(len(scores))  # with room for void
    if not (rows.weight.any() or columns.weight.any()):  # pixels are cells
        best = scores.argmax(0).astype(kind)
        yield best[rows.before][:, columns.before]
        return
    best = np.empty(scores.shape[1:], kind)
    for top in range(0, len(best), STRIP):
        best[top : top + STRIP] = scores[:, top : top + STRIP].argmax(0)
    down = np.append(best[1:], best[-1:], axis=0)
    agree = best == down
    agree[:, :-1] &= (best[:, 1:] == best[:, :-1]) & (down[:, 1:] == best[:, :-1])
    left, right, x = columns
    for top in range(0, len(rows.before), STRIP):
        above, below, y = rows.part(slice(top, top + STRIP))
        labels = best[above][:, left]
        row, column = np.nonzero(~agree[above][:, left])
        first, last = above[0], below[-1] + 1
        cells = np.ascontiguousarray(scores[:, first:last].transpose(1, 2, 0))  # h x w x C
        a, b, t = above[row] - first, below[row] - first, y[row, None]
        c, d, s = left[column], right[column], x[column, None]
        upper = cells[a, c] * (1 - s) + cells[a, d] * s
        lower = cells[b, c] * (1 - s) + cells[b, d] * s
        labels[row, column] = (upper * (1 - t) + lower * t).argmax(-1)
        yield labels
