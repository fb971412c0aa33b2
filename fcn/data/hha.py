"""HHA: depth as three channels that mean something (Gupta et al. 2014), the third input of the paper's Table 4.

For each pixel: the *horizontal disparity* (nearness), the *height above ground*, and the *angle with gravity* of the
surface that is seen there. The authors of the paper take the HHA images that Gupta and others published; this module
computes them from depth, for photos of one's own. What each channel is, and its scale, follow the code that was
published with that work (``saveHHA.m``); how the surface at a pixel is found is written anew and differs in details.

Coordinates are the camera's: x to the right, y down, z ahead, in metres. A level camera sees gravity along +y.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter

Floats = NDArray[np.float64]

DOWN = (0.0, 1.0, 0.0)
"""Gravity as a level camera sees it: down its image."""
DISPARITY = 310.0  # of a surface one metre away; the published code writes 31000 over centimetres
NEAREST = 1.0  # metres: what is nearer counts as this far, lest its disparity be huge
OFFSET = 38.0  # 128 - 90, so that walls, whose normal is level, are 128
HELD_AT = 1.3  # metres: how high the camera is held where the ground is not in view
IN_VIEW = 0.9  # metres: the ground is in view where something lies at least so far below the camera


class Camera(NamedTuple):
    """A pinhole camera: focal lengths and principal point in pixels. Column u, row v sees along
    ((u - cx) / fx, (v - cy) / fy, 1); pixels are counted from 0."""

    fx: float
    fy: float
    cx: float
    cy: float

    def rays(self, shape: tuple[int, int]) -> tuple[Floats, Floats]:
        """x / z and y / z of what each pixel sees, two arrays H x W."""
        rows, columns = np.mgrid[: shape[0], : shape[1]].astype(float)
        return (columns - self.cx) / self.fx, (rows - self.cy) / self.fy


KINECT = Camera(518.85790, 519.46961, 325.58245 - 1, 253.73617 - 1)
"""The colour camera of NYUDv2, 640 x 480, as its toolbox gives it, less one since MATLAB counts pixels from 1. A crop
of its images has its principal point nearer to the corner, by as much as was cut off there."""


def hha(depth: ArrayLike, camera: Camera = KINECT, gravity: ArrayLike | None = DOWN) -> NDArray[np.uint8]:
    """The three channels of a depth image, uint8, H x W x 3, in the order disparity, height, angle.

    ``depth``: H x W, metres along the camera's axis; 0 or not a number where it is unknown, which is 0 in all channels.
    ``gravity``: the direction of gravity in the camera's coordinates, of any length; by default a level camera's. With
    None it is estimated from the surfaces (:func:`estimate_gravity`).

    * disparity: 310 / z, at most 255, with z at least 1 m. It falls with distance as a stereo camera's would.
    * height: centimetres above the lowest point, at most 255. Where nothing lies 0.9 m or more below the camera, the
      ground is out of view and taken to be 1.3 m below it.
    * angle: between gravity and the surface's normal, which points away from the camera, in degrees, plus 38: the
      floor is 38, walls are 128, the ceiling is 218. Where the surface is unknown, 0.

    Raises ValueError for a depth image of another shape, without any depth, or negative, and for no direction.
    """
    z, known = _checked(depth)
    normals = surface_normals(z, camera)
    down = estimate_gravity(normals) if gravity is None else _direction(gravity)
    x, y = camera.rays((z.shape[0], z.shape[1]))
    above = -z * (x * down[0] + y * down[1] + down[2])  # metres above the camera
    lowest = above[known].min()
    ground = lowest if lowest <= -IN_VIEW else -HELD_AT
    angle = np.degrees(np.arccos(np.clip(normals @ down, -1, 1)))  # nan where the surface is unknown
    channels = np.stack([DISPARITY / z.clip(NEAREST), 100 * (above - ground), np.nan_to_num(angle + OFFSET)], axis=-1)
    channels[~known] = 0
    return np.rint(channels).clip(0, 255).astype(np.uint8)


def surface_normals(depth: ArrayLike, camera: Camera, radius: int = 3) -> Floats:
    """The normal of the surface that each pixel sees, H x W x 3, of length 1, pointing away from the camera.

    A plane ``n . p = d`` is seen at the point ``p = z (x, y, 1)``, so ``1 / z = (n . (x, y, 1)) / d``: over a plane,
    the inverse of depth is linear in the image. So a linear function is fitted to 1 / z in a window of
    ``2 radius + 1`` pixels, by least squares; its three coefficients are the normal, up to its length. Pixels without
    depth do not take part. Where what is left of a window is next to nothing or lies on a line, the normal is nan.
    """
    z, known = _checked(depth)
    x, y = camera.rays((z.shape[0], z.shape[1]))
    terms = np.stack([x, y, np.ones_like(x)], -1) * known[..., None]
    inverse = np.where(known, 1 / np.where(known, z, 1), 0)
    window = (2 * radius + 1, 2 * radius + 1)

    def around(values: Floats) -> Floats:
        """The sum over each pixel's window, but for a constant factor."""
        return uniform_filter(values, (*window, *(1,) * (values.ndim - 2)), mode="constant")

    squares = around(terms[..., :, None] * terms[..., None, :])
    products = around(terms * inverse[..., None])
    # Determinants are compared with that of a full window: the scale of x and y is the camera's.
    full = (np.array([1 / camera.fx, 1 / camera.fy]) ** 2).prod() * (radius * (radius + 1) / 3) ** 2
    solvable = known & (np.linalg.det(squares) > 1e-4 * full)
    normals = np.full((*z.shape, 3), np.nan)
    solved = np.linalg.solve(squares[solvable], products[solvable][..., None])[..., 0]
    # 1 / z > 0 makes n . p > 0: it points away from the camera already.
    normals[solvable] = solved / np.linalg.norm(solved, axis=-1, keepdims=True)
    return normals


def estimate_gravity(normals: ArrayLike, start: ArrayLike = DOWN) -> Floats:
    """The direction of gravity in a room, of length 1, from its surfaces' normals, ... x 3 (nan where unknown).

    Most surfaces in a room are level or upright. From ``start`` on, the direction is improved (Gupta et al. 2013): the
    normals within an angle of it are taken for floor-like, those as near to a right angle with it for wall-like, and
    the new direction is the one along the former and across the latter, in least squares. Five times with 45 degrees,
    five times with 15. Raises ValueError where there is no normal.
    """
    n = np.asarray(normals, float).reshape(-1, 3)
    n = n[np.isfinite(n).all(1)]
    if len(n) == 0:
        raise ValueError("no surface has a normal: gravity cannot be estimated; give its direction")
    down = _direction(start)
    for angle in [45] * 5 + [15] * 5:
        along = np.abs(n @ down)
        level, upright = n[along > np.cos(np.radians(angle))], n[along < np.sin(np.radians(angle))]
        if len(level) + len(upright):
            # The eigenvector of the smallest eigenvalue: eigh sorts them.
            best = np.linalg.eigh(upright.T @ upright - level.T @ level).eigenvectors[:, 0]
            down = best if best @ down >= 0 else -best
    return down


def _checked(depth: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    """Depth as float64, unknown depth as 0, and where it is known."""
    z = np.nan_to_num(np.asarray(depth, float), nan=0.0, posinf=0.0, neginf=-1.0)
    if z.ndim != 2:
        raise ValueError(f"a depth image is H x W, metres, not {' x '.join(map(str, z.shape))}")
    if not z.any():
        raise ValueError("the depth image holds no depth: every pixel is 0 or not a number")
    if z.min() < 0:
        raise ValueError(f"a depth of {z.min():g} m lies behind the camera; write 0 where depth is unknown")
    return z, z > 0


def _direction(vector: ArrayLike) -> Floats:
    v = np.asarray(vector, float)
    length = np.linalg.norm(v) if v.shape == (3,) else 0.0
    if not length or not np.isfinite(length):
        raise ValueError(f"gravity is a direction, three numbers x, y, z that are not all 0, not {vector!r}")
    return v / length
