"""Tiles of a photo whose labels are those of the whole photo.

A net sees the border of its image: convolutions pad it with zeros, pools round up, upsampling
repeats the outermost scores. So a tile is scored inside a window that reaches as far beyond it as
the net sees (section 3), unless the photo ends there. Windows start at multiples of the coarsest
stride, which puts their score maps on the grid of the photo's.
"""

from functools import lru_cache
from itertools import pairwise
from math import isqrt
from typing import Any, NamedTuple

COARSEST = 32  # the coarsest stride of our nets


class Tile(NamedTuple):
    """Along one axis: cells ``start`` to ``stop`` of a photo, scored in a window around them."""

    start: int
    stop: int
    window: slice

    def inside(self, cells: int) -> slice:
        """The tile in its window, with one more cell, for enlargement, if the photo has one."""
        return slice(self.start - self.window.start, min(self.stop + 1, cells) - self.window.start)


def tiles(cells: int, core: int, margin: int) -> list[Tile]:
    """Tiles of ``core`` cells (a multiple of ``COARSEST``, as the margin) along an axis."""
    return [
        Tile(start, stop, slice(max(0, start - margin), min(cells, stop + margin)))
        for start in range(0, cells, core)
        for stop in [min(cells, start + core)]
    ]


def plan(margin: int, whole: int) -> int:
    """The largest core whose window, on both sides of it a margin, has at most ``whole`` pixels."""
    return max(COARSEST * 4, (isqrt(whole) - 2 * margin) // COARSEST * COARSEST)


def margin(settings: dict[str, Any]) -> int:
    """The distance in pixels, a multiple of ``COARSEST``, beyond which a net sees nothing.

    Half the receptive field of the coarsest scores, and one cell for each bilinear upsampling on
    the way to the pixels. ``settings``: the net's. Imports torch.
    """
    return _margin(settings["net"], settings["stride"], settings["alignment"])


@lru_cache
def _margin(net: str, stride: int, alignment: str) -> int:
    import torch

    from fcn.geometry import receptive_field
    from fcn.models import FCN, SKIPS

    with torch.device("cpu"):
        narrow = FCN(net, stride, num_classes=1, alignment=alignment, width=0.01)
    field = receptive_field(narrow)
    reach = field.size // 2 + sum(coarse for coarse, _ in pairwise((32, *SKIPS[stride], 1)))
    return -(-(reach + 2) // COARSEST) * COARSEST
