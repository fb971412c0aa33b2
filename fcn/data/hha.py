"""HHA: depth as three meaningful channels (Gupta et al. 2014), an input in the paper's Table 4.

For each pixel: *horizontal disparity*, *height above ground* and the surface's *angle with
gravity*. The paper uses the HHA images published by Gupta et al.; this module computes them from
depth, for your own photos. Channels and scales follow the published code (``saveHHA.m``); the
surface normals are estimated by our own method and differ in details.

Camera coordinates: x to the right, y down, z ahead, in metres. For a level camera gravity is +y.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

Floats = NDArray[np.float64]

DOWN = (0.0, 1.0, 0.0)
"""Gravity for a level camera."""
DISPARITY = 310.0  # of a surface at one metre; the published code divides 31000 by centimetres
NEAREST = 1.0  # metres: smaller depths are raised to this, which bounds the disparity
OFFSET = 38.0  # 128 - 90, so that walls, whose normals are horizontal, are 128
CAMERA_HEIGHT = 1.3  # metres, assumed if the ground is not in view
IN_VIEW = 0.9  # metres: the ground is in view if a point is at least this far below the camera


class Camera(NamedTuple):
    """A pinhole camera: focal lengths and principal point in pixels, counted from 0."""

    fx: float
    fy: float
    cx: float
    cy: float

    def rays(self, shape: tuple[int, ...]) -> tuple[Floats, Floats]:
        """x / z and y / z of each pixel, (u - cx) / fx and (v - cy) / fy, two arrays H x W."""
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
        return (columns - self.cx) / self.fx, (rows - self.cy) / self.fy


KINECT = Camera(518.85790, 519.46961, 325.58245 - 1, 253.73617 - 1)
"""The colour camera of NYUDv2, 640 x 480, from its toolbox (MATLAB counts pixels from 1). For a
cropped image, subtract the columns and rows cut off on the left and at the top from cx and cy."""


def hha(
    depth: ArrayLike, camera: Camera = KINECT, gravity: ArrayLike | None = DOWN
) -> NDArray[np.uint8]:
    """The three channels of a depth image, uint8, H x W x 3: disparity, height, angle.

    ``depth``: H x W, metres along the camera's axis; 0 or nan if unknown: all channels are then 0.
    ``gravity``: its direction in camera coordinates, of any length; None: estimated from the
    surfaces (:func:`estimate_gravity`).

    * disparity: 310 / z, at most 255, with z at least 1 m;
    * height: centimetres above the lowest point, at most 255. If no point is 0.9 m or more below
      the camera, the ground is out of view and assumed 1.3 m below it.
    * angle: degrees between gravity and the surface normal, which points away from the camera, plus
      38: floor 38, walls 128, ceiling 218. 0 if the surface is unknown.
    """
    z, known = _checked(depth)
    normals = surface_normals(z, camera)
    down = estimate_gravity(normals) if gravity is None else _direction(gravity)
    x, y = camera.rays(z.shape)
    above = -z * (x * down[0] + y * down[1] + down[2])  # metres above the camera
    lowest = above[known].min()
    ground = lowest if lowest <= -IN_VIEW else -CAMERA_HEIGHT
    angle = np.degrees(np.arccos(np.clip(normals @ down, -1, 1)))  # nan if unknown
    disparity, height = DISPARITY / z.clip(NEAREST), 100 * (above - ground)
    channels = np.stack([disparity, height, np.nan_to_num(angle + OFFSET)], axis=-1)
    channels[~known] = 0
    return np.rint(channels).clip(0, 255).astype(np.uint8)


def surface_normals(depth: ArrayLike, camera: Camera, radius: int = 3) -> Floats:
    """The surface normal at each pixel, H x W x 3, of length 1, pointing away from the camera.

    A plane ``n . p = d`` is seen at ``p = z (x, y, 1)``, so ``1 / z = (n . (x, y, 1)) / d``: the
    inverse depth of a plane is linear in the image. A least-squares fit of 1 / z in a window of
    ``2 radius + 1`` pixels, unknown depth excluded, yields the normal up to its length; nan if the
    known pixels of a window are too few or collinear.
    """
    z, known = _checked(depth)
    x, y = camera.rays(z.shape)
    terms = np.stack([x, y, np.ones_like(x)], -1) * known[..., None]
    inverse = np.where(known, 1 / np.where(known, z, 1), 0)
    window = (2 * radius + 1, 2 * radius + 1)

    def window_sum(values: Floats) -> Floats:  # up to a constant factor
        return uniform_filter(values, (*window, *(1,) * (values.ndim - 2)), mode="constant")

    squares = window_sum(terms[..., :, None] * terms[..., None, :])
    products = window_sum(terms * inverse[..., None])
    # Relative to the determinant of a full window, since the camera sets the scale of x and y.
    full = (np.array([1 / camera.fx, 1 / camera.fy]) ** 2).prod() * (radius * (radius + 1) / 3) ** 2
    solvable = known & (np.linalg.det(squares) > 1e-4 * full)
    normals = np.full((*z.shape, 3), np.nan)
    solved = np.linalg.solve(squares[solvable], products[solvable][..., None])[..., 0]
    # They point away from the camera: 1 / z > 0 implies n . p > 0.
    normals[solvable] = solved / np.linalg.norm(solved, axis=-1, keepdims=True)
    return normals


def estimate_gravity(normals: ArrayLike) -> Floats:
    """The direction of gravity in a room, of length 1, from its normals, ... x 3, nan if unknown.

    Most surfaces in a room are horizontal or vertical. The estimate starts from a level
    camera (Gupta et al. 2013): normals within an angle of it belong to horizontal surfaces, those
    within the same angle of its perpendicular plane to vertical ones; it is then fitted along the
    former and across the latter by least squares. Five iterations with 45 degrees, five with 15.
    """
    n = np.asarray(normals, float).reshape(-1, 3)
    n = n[np.isfinite(n).all(1)]
    if len(n) == 0:
        raise ValueError("gravity cannot be estimated without surface normals; give its direction")
    down = np.array(DOWN)
    for angle in [45] * 5 + [15] * 5:
        along = np.abs(n @ down)
        level, upright = n[along > np.cos(np.radians(angle))], n[along < np.sin(np.radians(angle))]
        if len(level) + len(upright):
            # The smallest eigenvalue comes first.
            best = np.linalg.eigh(upright.T @ upright - level.T @ level).eigenvectors[:, 0]
            down = best if best @ down >= 0 else -best
    return down


def _checked(depth: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Depth as float64 with 0 for unknown, and the mask of known depth."""
    z = np.nan_to_num(np.asarray(depth, float), nan=0.0, posinf=0.0, neginf=-1.0)
    if z.ndim != 2:
        raise ValueError(f"depth must be H x W, in metres, not {' x '.join(map(str, z.shape))}")
    if not z.any():
        raise ValueError("no known depth: every pixel is 0 or not a number")
    if z.min() < 0:
        raise ValueError(f"depth of {z.min():g} m is behind the camera; use 0 for unknown depth")
    return z, z > 0


def _direction(vector: ArrayLike) -> Floats:
    v = np.asarray(vector, float)
    length = np.linalg.norm(v) if v.shape == (3,) else 0.0
    if not length or not np.isfinite(length):
        raise ValueError(f"gravity must be a direction, three numbers not all 0, not {vector!r}")
    return v / length
