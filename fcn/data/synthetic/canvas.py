"""A canvas for procedural scenes: a camera above flat ground, anti-aliased brushes, and noise.

Scenes are painted from far to near. Every stroke has a colour, a class and a depth; its edge is
soft in the colour and sharp in the class, as in a photo and its label map. World coordinates are in
metres, x to the right of the camera and z ahead. Pixel centres are at whole numbers plus one half.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rng = np.random.Generator
Array = NDArray[Any]  # usually float32, which NumPy's stubs lose track of in mixed expressions
Number = Array | float
Colour = tuple[float, float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

FAR = 10_000.0
"""Depth of the sky in metres."""


def clip01(x: Array) -> Array:
    """Clip to 0..1; faster than ``np.clip`` on small arrays."""
    return np.minimum(np.maximum(x, np.float32(0)), np.float32(1))


def smoothstep(x: Array, low: float, high: float) -> Array:
    """Cubic ramp from 0 at ``low`` to 1 at ``high``."""
    t = clip01((x - low) * np.float32(1 / (high - low)))
    return t * t * (3 - 2 * t)


def rgb(colour: ArrayLike) -> Array:
    """A single colour as 3 x 1 x 1; an image, 3 x h x w, is returned unchanged."""
    planes = np.asarray(colour, np.float32)
    return planes.reshape(3, 1, 1) if planes.ndim == 1 else planes


def mix(a: ArrayLike, b: ArrayLike, share: Number) -> Array:
    """Blend from colour ``a`` (share 0) to colour ``b`` (share 1)."""
    first = rgb(a)
    return first + (rgb(b) - first) * share


_CELLS = 64  # side of the table of random numbers
_FINE = 16  # texture samples per cell
_TABLE = np.random.default_rng(2015).random((_CELLS, _CELLS), dtype=np.float32)


class Noise:
    """Smooth noise in 0..1 from one table of random numbers, read from a random start.

    Coordinates are in cells of the coarsest octave. Nothing depends on the size of the canvas, so a
    scene keeps its shape at any resolution.
    """

    def __init__(self, rng: Rng) -> None:
        self.start = rng.uniform(0, _CELLS, 2)

    def plane(self, y: Array, x: Array, octaves: int, shift: float) -> Array:
        """Noise on the grid y (h) by x (w), h x w."""
        total = np.zeros((len(y), len(x)), np.float32)
        for octave in range(octaves):
            scale, offset = 2.0**octave, shift + 17.3 * octave
            rows = _weights(y * scale + offset + self.start[0])
            columns = _weights(x * scale + offset + self.start[1])
            total += rows @ _TABLE @ columns.T / scale
        return total / np.float32(2 - 2.0 ** (1 - octaves))

    def field(self, y: Array, x: Array) -> Array:
        """Noise of two octaves at any coordinates: a fast table lookup."""
        texture = _texture()
        row = ((y + float(self.start[0])) * _FINE).astype(np.int64) % len(texture)
        column = ((x + float(self.start[1])) * _FINE).astype(np.int64) % len(texture)
        return texture.ravel()[row * len(texture) + column]

    def line(self, x: Array, octaves: int, shift: float, decay: float = 0.5) -> Array:
        """Noise at x (n); a higher ``decay`` makes it rougher."""
        total = np.zeros(len(x), np.float32)
        for octave in range(octaves):
            row = _TABLE[(int(shift * 7 + self.start[0]) + 5 * octave) % _CELLS]
            total += decay**octave * (_weights(x * 2.0**octave + shift + self.start[1]) @ row)
        return total * np.float32((1 - decay) / (1 - decay**octaves))

    def lot(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Array:
        """A random number in 0..1 for each pair of integers."""
        return _TABLE[y % _CELLS, x % _CELLS]


@cache
def _texture() -> Array:
    """Two octaves of smooth noise that tile seamlessly."""
    at = np.arange(_CELLS * _FINE, dtype=np.float32) / _FINE
    coarse, fine = _weights(at), _weights(2 * at + 17)
    return (coarse @ _TABLE @ coarse.T + fine @ _TABLE.T @ fine.T / 2) / np.float32(1.5)


def _weights(at: Array) -> Array:
    """Interpolation weights of n coordinates along one side of the table, n x CELLS."""
    cell = np.floor(at)
    rest = smoothstep(at - cell, 0.0, 1.0)
    index = cell.astype(np.int64) % _CELLS
    rows = np.arange(len(at))
    weights = np.zeros((len(at), _CELLS), np.float32)
    weights[rows, index] = 1 - rest
    weights[rows, (index + 1) % _CELLS] = rest
    return weights


class Camera(NamedTuple):
    """A level camera: ``height`` above ground in metres, the rest in pixels.

    It sees points ``x`` to its right, ``z`` ahead and ``above`` ground.
    """

    focal: float
    height: float
    horizon: float
    centre: float

    def row(self, z: float, above: float = 0.0) -> float:
        return self.horizon + self.focal * (self.height - above) / z

    def column(self, x: float, z: float) -> float:
        return self.centre + self.focal * x / z

    def foot(self, x: float, z: float) -> tuple[float, float, float]:
        """Pixels per metre at ``z``, and column and row of the ground at (x, z)."""
        return self.focal / z, self.column(x, z), self.row(z)


class Light(NamedTuple):
    """Colours of a time of day; visibility in metres, the sun in shares of the image's sides."""

    zenith: Colour
    horizon: Colour
    sun: Colour
    tint: Colour
    cloud: Colour
    visibility: float
    lamps: bool
    sun_at: tuple[float, float]

    @property
    def side(self) -> float:
        """Position of the sun from -1 (left) to 1 (right)."""
        return min(max(2 * self.sun_at[0] - 1, -1.0), 1.0)


class Canvas:
    """``colour`` 3 x H x W in 0..1, ``label`` H x W, ``depth`` H x W in metres.

    Everything random in a scene comes from ``rng``, with the same number of draws at any size.
    """

    def __init__(self, size: tuple[int, int], camera: Camera, light: Light, rng: Rng) -> None:
        self.height, self.width = size
        self.camera, self.light, self.rng, self.noise = camera, light, rng, Noise(rng)
        self.colour, self.tint = np.zeros((3, *size), np.float32), rgb(light.tint)
        self.label, self.depth = np.zeros(size, np.uint8), np.full(size, FAR, np.float32)
        self.rows, self.columns = (np.arange(n, dtype=np.float32) + np.float32(0.5) for n in size)

    def brush(self, label: int | None, depth: ArrayLike, box: Box) -> "Brush":
        """A brush for a box and a pixel around it; its arrays are empty outside of the canvas."""
        left, top, right, bottom = box
        x0, x1 = (int(min(max(v, 0), self.width)) for v in (left - 1, right + 2))
        y0, y1 = (int(min(max(v, 0), self.height)) for v in (top - 1, bottom + 2))
        at = slice(y0, y1), slice(x0, x1)
        return Brush(self, label, depth, at, self.rows[y0:y1, None], self.columns[None, x0:x1])

    def upright(
        self, label: int, x: float, z: float, half: float, high: float, below: float = 0.0
    ) -> tuple["Brush", float, float, float]:
        """A brush for an object ``high`` metres tall, ``half`` to each side, and its foot."""
        m, middle, base = self.camera.foot(x, z)
        box = middle - half * m, base - high * m, middle + half * m, base + below * m
        return self.brush(label, z, box), m, middle, base


class Brush(NamedTuple):
    """Paints one class at one depth, a number or h x w, within ``at``, a part of the canvas.

    ``y`` (h x 1) and ``x`` (1 x w) are its pixel centres. Without a label, those two are kept.
    """

    canvas: Canvas
    label: int | None
    depth: ArrayLike
    at: tuple[slice, slice]
    y: Array
    x: Array

    def paint(self, cover: Number, colour: ArrayLike, glow: bool = False) -> None:
        """Blend in a colour by the covered share of each pixel; from one half, set class and depth.

        Light tints the colour and haze fades it with distance, unless it glows.
        """
        canvas, depth, colour = self.canvas, np.asarray(self.depth, np.float32), rgb(colour)
        if not glow:
            haze = 1 - np.exp(depth * np.float32(-1 / canvas.light.visibility))
            colour = mix(colour * canvas.tint, canvas.light.horizon, haze)
        below = canvas.colour[:, *self.at]
        below += (colour - below) * cover
        if self.label is not None:
            solid = np.greater_equal(cover, 0.5)
            np.copyto(canvas.label[self.at], self.label, where=solid)
            np.copyto(canvas.depth[self.at], depth, where=solid)

    def bar(self, middle: float, half: Number, top: float, bottom: float, *style: Any) -> None:
        """Paint a rectangle ``half`` to each side of ``middle``; ``style`` is as in ``paint``."""
        self.paint(self.rectangle((middle - half, top, middle + half, bottom)), *style)

    def rectangle(self, box: tuple[Number, Number, Number, Number]) -> Array:
        """Cover of a rectangle; its sides may vary from row to row or from column to column."""
        left, top, right, bottom = box
        across = clip01(self.x - left + 0.5) + clip01(right - self.x + 0.5) - 1
        down = clip01(self.y - top + 0.5) + clip01(bottom - self.y + 0.5) - 1
        return clip01(across) * clip01(down)

    def ellipse(self, x: float, y: float, rx: float, ry: float) -> Array:
        """Approximate cover of an ellipse around (x, y)."""
        q = np.sqrt(((self.x - x) / rx) ** 2 + ((self.y - y) / ry) ** 2)
        return clip01((1 - q) * min(rx, ry) + 0.5)

    def rounded(self, strength: float, middle: float, half: Number) -> Array:
        """Change of brightness across a round object: lit from the side of the sun."""
        return strength * self.canvas.light.side * np.clip((self.x - middle) / half, -1, 1)
