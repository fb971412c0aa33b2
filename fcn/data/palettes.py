"""Colours of the classes, C x 3, uint8, RGB, by data set."""

import numpy as np
from numpy.typing import NDArray

Palette = NDArray[np.uint8]


def voc_palette(n: int) -> Palette:
    """The ``n`` first colours of PASCAL VOC, n x 3, uint8, as in its development kit.

    The bits of a label, three at a time, become the high bits of red, green and blue.
    """
    labels, channel, bit = np.arange(n)[:, None, None], np.arange(3)[:, None], np.arange(8)
    return ((labels >> (3 * bit + channel) & 1) << (7 - bit)).sum(2).astype(np.uint8)


def _colours(*rows: str) -> Palette:
    return np.frombuffer(bytes.fromhex("".join(rows)), np.uint8).reshape(-1, 3).copy()


PALETTES: dict[str, Palette] = {
    # Similar things have similar colours: plants are green, water is blue, houses are brown.
    "sift-flow": _colours(
        "e88e44 dea484 463a68 f8e8d0 966870",  # awning, balcony, bird, boat, bridge
        "c47458 ce3e2c a61e4a 603c2c e4e4ea",  # building, bus, car, cow, crosswalk
        "deb474 844622 aa8e5c ccca68 9cc052",  # desert, door, fence, field, grass
        "f6f4b0 9484a0 ee5480 68a060 f2c02c",  # moon, mountain, person, plant, pole
        "60acbe 64646c 7a725c f4daa6 2c6a9e",  # river, road, rock, sand, sea
        "acaab0 e080be a4cce8 d6acbe ff9c14",  # sidewalk, sign, sky, staircase, streetlight
        "ffe060 2c663c 7088c4",  # sun, tree, window
    ),
    "scenes": _colours(
        "9ecae1 8c7d96 3e7ca6 b2c468 707074",  # sky, mountain, water, ground, road
        "ca8462 3c7642 f0c43c b42c38 f8f0e2",  # building, tree, pole, car, boat
    ),
    "voc": voc_palette(21),
    "sbd": voc_palette(21),
    "nyud": voc_palette(41)[1:],
    "pascal-context": voc_palette(60),  # background first
}

# From "turbo" (Mikhailov, 2019), without its darkest ends.
_TURBO = _colours("3c358b 467af2 28bbeb 20e9ac 78fe59", "c3f133 f6c23a fa7d20 dd3c07 a01101")


def palette(dataset: str, count: int) -> Palette:
    """The colours of a data set's ``count`` classes, C x 3; evenly spaced hues if it has none."""
    known = PALETTES.get(dataset, np.empty((0, 3), np.uint8))
    if dataset == "pascal-context":
        known = known[:count]  # 59 or 33 classes from one palette
    if len(known) == count:
        return known
    at = np.linspace(0, len(_TURBO) - 1, count)
    bands = [np.interp(at, range(len(_TURBO)), band) for band in _TURBO.T]
    return np.stack(bands, axis=1).astype(np.uint8)
