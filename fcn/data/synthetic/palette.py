"""What procedural scenes are made of; :mod:`fcn.datasets.scenes` puts them together.

``painting`` is the canvas and the camera, ``land`` sky, mountains, ground, water and roads, ``things`` what stands or
floats there, ``kinds`` the six kinds of scene. Every part draws its own chances from the generator it is given, the
same number of them whatever the canvas's size. Lengths are in metres, places on the canvas in pixels.
"""

import numpy as np

from fcn.data.synthetic.canvas import Array, rgb

Colour = tuple[float, float, float]

CLASSES = ("sky", "mountain", "water", "ground", "road", "building", "tree", "pole", "car", "boat")
SKY, MOUNTAIN, WATER, GROUND, ROAD, BUILDING, TREE, POLE, CAR, BOAT = range(len(CLASSES))

PLASTER = ((0.86, 0.80, 0.68), (0.80, 0.62, 0.46), (0.68, 0.42, 0.34), (0.88, 0.86, 0.82), (0.62, 0.66, 0.70),
           (0.84, 0.72, 0.48), (0.72, 0.56, 0.50))  # fmt: skip
TILES = ((0.62, 0.30, 0.22), (0.50, 0.26, 0.22), (0.36, 0.36, 0.42), (0.56, 0.38, 0.28))
PAINT = ((0.72, 0.14, 0.14), (0.90, 0.90, 0.90), (0.14, 0.22, 0.42), (0.58, 0.62, 0.66), (0.86, 0.66, 0.16),
         (0.12, 0.42, 0.44))  # fmt: skip
LEAVES = ((0.24, 0.40, 0.14), (0.32, 0.46, 0.16), (0.20, 0.36, 0.18), (0.42, 0.48, 0.18))
AUTUMN = ((0.74, 0.44, 0.12), (0.66, 0.30, 0.12), (0.78, 0.58, 0.18), (0.42, 0.46, 0.16))
GRASS = ((0.36, 0.50, 0.20), (0.44, 0.54, 0.22), (0.50, 0.52, 0.26))
STUBBLE = ((0.56, 0.52, 0.26), (0.62, 0.54, 0.30))
BARK = (0.32, 0.23, 0.16)
LAMPLIGHT = (1.0, 0.84, 0.52)


def choose(rng: np.random.Generator, colours: tuple[Colour, ...], spread: float = 0.04) -> Array:
    """One of the colours, a little changed."""
    return rgb(np.clip(np.asarray(colours[rng.integers(len(colours))]) + rng.uniform(-spread, spread, 3), 0, 1))
