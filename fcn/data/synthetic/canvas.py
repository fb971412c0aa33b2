"""A canvas for procedural scenes: a camera above flat ground, soft-edged painting from far to near, and noise.

What is painted carries a colour, a class and a depth. An edge is soft in the colour and sharp in the class, as in a
photo and its label map. World coordinates are in metres: x to the right of the camera, z ahead of it; pixel centres
lie at whole numbers plus one half.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
"""Of float32 throughout: two scalars in a formula are enough for numpy's types to lose sight of it."""

FAR = 10_000.0
"""The depth in metres that the sky is given."""


def clip01(x: Array) -> Array:
    """What is below 0 or above 1 becomes 0 or 1; for the small arrays here quicker than ``np.clip``."""
    return np.minimum(np.maximum(x, np.float32(0)), np.float32(1))


def smoothstep(x: Array, low: float = 0.0, high: float = 1.0) -> Array:
    """Rises from 0 at ``low`` to 1 at ``high`` without a corner."""
    t = clip01((x - low) * np.float32(1 / (high - low)))
    return t * t * (3 - 2 * t)


def rgb(colour: ArrayLike) -> Array:
    """A colour as 3 x 1 x 1, or colours, 3 x h x w, as they are: planes first, so that shades multiply them."""
    planes = np.asarray(colour, np.float32)
    return planes.reshape(3, 1, 1) if planes.ndim == 1 else planes


def mix(a: ArrayLike, b: ArrayLike, share: Array | float) -> Array:
    """Colour ``a`` with a share, h x w or a number, of colour ``b``."""
    first = rgb(a)
    return first + (rgb(b) - first) * share


class Noise:
    """Smooth noise in 0..1, in one and two dimensions, out of one table of random numbers, entered at random.

    A scene draws two numbers for it whatever the size of its canvas, and so keeps its shape at any resolution.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.start = rng.uniform(0, _CELLS, 2)

    def plane(self, y: Array, x: Array, octaves: int = 3, shift: float = 0.0) -> Array:
        """Noise at the grid of coordinates y (h) and x (w), in cells of the coarsest octave; h x w."""
        table = _table()
        total = np.zeros((len(y), len(x)), np.float32)
        for octave in range(octaves):
            scale, offset = 2.0**octave, shift + 17.3 * octave
            rows, columns = _weights(y * scale + offset + self.start[0]), _weights(x * scale + offset + self.start[1])
            total += rows @ table @ columns.T / scale
        return total / np.float32(2 - 2.0 ** (1 - octaves))

    def field(self, y: Array, x: Array) -> Array:
        """Noise of two octaves at any coordinates, in cells of the coarser; read from a fine grid, so rather quick."""
        texture = _texture()
        row = ((y + float(self.start[0])) * _FINE).astype(np.int64) % len(texture)
        column = ((x + float(self.start[1])) * _FINE).astype(np.int64) % len(texture)
        return texture.ravel()[row * len(texture) + column]

    def line(self, x: Array, octaves: int = 4, shift: float = 0.0, decay: float = 0.5) -> Array:
        """Noise along a line at coordinates x (n), in cells of the coarsest octave; rougher with a higher ``decay``."""
        total = np.zeros(len(x), np.float32)
        for octave in range(octaves):
            row = _table()[(int(shift * 7 + self.start[0]) + 5 * octave) % _CELLS]
            total += decay**octave * (_weights(x * 2.0**octave + shift + self.start[1]) @ row)
        return total * np.float32((1 - decay) / (1 - decay**octaves))

    def lot(self, y: NDArray[np.int64], x: NDArray[np.int64]) -> Array:
        """A random number in 0..1 for each pair of whole numbers."""
        return _table()[y % _CELLS, x % _CELLS]


_CELLS = 64  # the random numbers along each side of the table
_FINE = 16  # the samples of the texture a cell


@cache
def _table() -> Array:
    return np.random.default_rng(2015).random((_CELLS, _CELLS), dtype=np.float32)


@cache
def _texture() -> Array:
    """Two octaves of smooth noise that repeat without a seam."""
    at = np.arange(_CELLS * _FINE, dtype=np.float32) / _FINE
    coarse, fine = _weights(at), _weights(2 * at + 17)
    return (coarse @ _table() @ coarse.T + fine @ _table().T @ fine.T / 2) / np.float32(1.5)


def _weights(at: Array) -> Array:
    """For each coordinate the weights, len(at) x CELLS, with which it reads one side of the table."""
    cell = np.floor(at)
    rest = smoothstep(at - cell)
    index = cell.astype(np.int64) % _CELLS
    rows = np.arange(len(at))
    weights = np.zeros((len(at), _CELLS), np.float32)
    weights[rows, index] = 1 - rest
    weights[rows, (index + 1) % _CELLS] = rest
    return weights


@dataclass(frozen=True)
class Camera:
    """A level camera: ``focal`` in pixels, ``height`` in metres above ground, ``horizon`` and ``centre`` in pixels."""

    focal: float
    height: float
    horizon: float
    centre: float

    def row(self, z: float, above: float = 0.0) -> float:
        """The row at which something ``above`` ground, ``z`` ahead, is seen; in pixels."""
        return self.horizon + self.focal * (self.height - above) / z

    def column(self, x: float, z: float) -> float:
        """The column at which something ``x`` to the right, ``z`` ahead, is seen; in pixels."""
        return self.centre + self.focal * x / z

    def scale(self, z: float) -> float:
        """Pixels a metre at ``z`` ahead."""
        return self.focal / z


@dataclass(frozen=True)
class Light:
    """The colours of a moment of the day, and where the sun stands, in shares of the width and height of the image."""

    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    sun: tuple[float, float, float]
    tint: tuple[float, float, float]
    cloud: tuple[float, float, float]
    visibility: float
    lamps: bool
    sun_at: tuple[float, float]

    @property
    def side(self) -> float:
        """From which side the light falls: -1 left to 1 right."""
        return float(np.clip(2 * self.sun_at[0] - 1, -1, 1))


class Window(NamedTuple):
    """A rectangle of the canvas: its slices and the pixel centres in it, y as a column and x as a row."""

    at: tuple[slice, slice]
    y: Array
    x: Array


class Canvas:
    """``colour`` 3 x H x W in 0..1, ``label`` H x W, ``depth`` H x W in metres; painted from far to near."""

    def __init__(self, size: tuple[int, int], camera: Camera, light: Light, noise: Noise) -> None:
        self.height, self.width = size
        self.camera, self.light, self.noise = camera, light, noise
        self.colour = np.zeros((3, *size), np.float32)
        self.label = np.zeros(size, np.uint8)
        self.depth = np.full(size, FAR, np.float32)
        self.tint = rgb(light.tint)

    def window(self, left: float, top: float, right: float, bottom: float) -> Window | None:
        """The part of a rectangle that lies on the canvas, a pixel wider on each side; None where nothing does."""
        x0, x1 = (int(min(max(v, 0), self.width)) for v in (left - 1, right + 2))
        y0, y1 = (int(min(max(v, 0), self.height)) for v in (top - 1, bottom + 2))
        if x0 >= x1 or y0 >= y1:
            return None
        y = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5)
        x = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5)
        return Window((slice(y0, y1), slice(x0, x1)), y, x)

    def whole(self) -> Window:
        """All of the canvas."""
        return Window(
            (slice(None), slice(None)),
            np.arange(self.height, dtype=np.float32)[:, None] + np.float32(0.5),
            np.arange(self.width, dtype=np.float32)[None, :] + np.float32(0.5),
        )

    def paint(
        self,
        window: Window,
        cover: Array,
        colour: ArrayLike,
        label: int | None,
        depth: ArrayLike,
        *,
        glow: bool = False,
    ) -> None:
        """Lays a colour over the canvas where ``cover``, h x w in 0..1, says so, and class and depth where it is half.

        The light tints the colour and the air between hides it with distance, unless it glows by itself. Without a
        ``label`` (shadows, wires) class and depth stay.
        """
        z = np.asarray(depth, np.float32)
        colour = rgb(colour)
        if not glow:
            air = 1 - np.exp(z * np.float32(-1 / self.light.visibility))
            colour = mix(colour * self.tint, self.light.horizon, air)
        below = self.colour[(slice(None), *window.at)]
        below += (colour - below) * cover
        if label is not None:
            solid = cover >= 0.5
            self.label[window.at][solid] = label
            self.depth[window.at][solid] = z[solid] if z.ndim == 2 else z


def rectangle(window: Window, left: ArrayLike, top: ArrayLike, right: ArrayLike, bottom: ArrayLike) -> Array:
    """How much of each pixel a rectangle covers, nearly; its sides may vary from row to row or column to column."""
    x, y = window.x, window.y
    half = np.float32(0.5)
    across = clip01(x - left + half) + clip01(right - x + half) - np.float32(1)
    down = clip01(y - top + half) + clip01(bottom - y + half) - np.float32(1)
    return clip01(across) * clip01(down)


def ellipse(window: Window, x: float, y: float, rx: float, ry: float) -> Array:
    """How much of each pixel an ellipse around (x, y) covers, nearly."""
    q = np.sqrt(((window.x - x) / rx) ** 2 + ((window.y - y) / ry) ** 2)
    return clip01((1 - q) * min(rx, ry) + 0.5)
