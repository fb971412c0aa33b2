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
    "nyud": _colours(
        "d9d2c5 b08d64 8a5a36 5b7fa8 c8553d",  # wall, floor, cabinet, bed, chair
        "a83a5b e0a458 6f4a8e 9fc9e4 6b4f3a",  # sofa, table, door, window, bookshelf
        "e889a6 97a0a8 cfe0c8 c9782f 7d6b4f",  # picture, counter, blinds, desk, shelves
        "7a9e58 a8744a b6a7d6 c4e8ee 8c2f39",  # curtain, dresser, pillow, mirror, floor mat
        "d65db1 f3efe4 2f7f6f 6d8fa0 2b2f3a",  # clothes, ceiling, books, refrigerator, television
        "f7f4ff 49b6a8 5fa5d9 d1b06b e6f2f7",  # paper, towel, shower curtain, box, whiteboard
        "f0523d 946c9c b9c7d9 4f9bc4 ffd23f",  # person, night stand, toilet, sink, lamp
        "86b6b0 3f5f3a a09c8f 7f7168 5c6470",  # bathtub, bag, other structure, furniture, prop
    ),
    "pascal-context": _colours(
        "000000 5a6f9c b0509a 46396a f1e3cf",  # background, aeroplane, bicycle, bird, boat
        "1f8a70 ce3e2c a61e4a d98c2b b5563a",  # bottle, bus, car, cat, chair
        "5e3a2c d9a45b 9c6a2f 7a4526 8d2f6b",  # cow, diningtable, dog, horse, motorbike
        "f0523d 4f9e57 e9dfc6 93405f 6b1f2a",  # person, pottedplant, sheep, sofa, train
        "2b2f4a 6a5a8c 5b7fa8 b98a5e 2f7f8f",  # tvmonitor, bag, bed, bench, book
        "c47458 84563a efe9dc d65db1 4a5568",  # building, cabinet, ceiling, clothes, computer
        "63c2b5 774a8e aa8e5c b59a78 ff6fa8",  # cup, door, fence, floor, flower
        "e8b23a 9cc052 c8b48a 5f6b7a fff07a",  # food, grass, ground, keyboard, light
        "9484a0 3a3f46 7a9e58 a8a2b0 e080be",  # mountain, mouse, curtain, platform, sign
        "c9d7e6 6c6c74 7a725c 7d6248 b4b2b8",  # plate, road, rock, shelves, sidewalk
        "a4cce8 f4f8fc 8fb0dc 57504a 2c663c",  # sky, snow, bedcloth, track, tree
        "d1603d d8cfc0 2c6a9e 7db4d8 9e6b3f",  # truck, wall, water, window, wood
    ),
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
