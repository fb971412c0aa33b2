"""HHA against planes and rooms whose disparity, height and angle are known in closed form."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rooms import Room, room, write_nyud

from fcn.data.hha import DOWN, KINECT, Camera, estimate_gravity, hha, surface_normals
from fcn.data.nyud import CLASSES, INPUTS, Nyud
from fcn.data.sample import VOID

SIZE = (40, 56)
CAMERA = Camera(50.0, 52.0, 27.3, 19.6)
WALL, FLOOR, CEILING = 128, 38, 218  # 90, 0 and 180 degrees, plus 38


def plane(
    normal: tuple[float, float, float], distance: float, camera: Camera = CAMERA
) -> np.ndarray:
    """The depth of the plane ``normal . p = distance``, 0 where a pixel's ray does not meet it."""
    x, y = camera.rays(SIZE)
    towards = normal[0] * x + normal[1] * y + normal[2]
    return np.where(towards > 1e-3, distance / np.where(towards > 1e-3, towards, 1), 0)


def test_a_wall_straight_ahead() -> None:
    channels = hha(plane((0, 0, 1), 2.5), CAMERA)
    assert (channels.dtype, channels.shape) == (np.uint8, (*SIZE, 3))
    assert (channels[..., 0] == 124).all()  # 310 / 2.5
    assert (channels[..., 2] == WALL).all()
    # Its lowest point is 2.5 x 19.4 / 52 = 0.93 m below the camera: in view, and so the ground.
    rows = np.arange(SIZE[0])
    expected = np.rint(100 * 2.5 * (39 - rows) / 52).clip(0, 255)
    np.testing.assert_array_equal(channels[..., 1], np.broadcast_to(expected[:, None], SIZE))


def test_a_floor_that_a_level_camera_sees() -> None:
    depth = plane(DOWN, 1.4)
    channels, below = hha(depth, CAMERA), depth > 0
    assert 0.4 < below.mean() < 0.6
    assert (channels[~below] == 0).all()
    assert (channels[below][:, 1:] == (0, FLOOR)).all()
    np.testing.assert_array_equal(
        channels[below][:, 0], np.rint(310 / depth[below].clip(1)).clip(0, 255)
    )


def test_a_ceiling_where_no_ground_is_in_view() -> None:
    depth = plane((0, -1, 0), 0.9)
    channels = hha(depth, CAMERA)[depth > 0]
    assert (channels[:, 1:] == (220, CEILING)).all()  # the camera is assumed 1.3 m above the ground


def test_channels_stop_at_255_and_depth_at_a_metre() -> None:
    channels = hha(plane((0, 0, 1), 0.2), CAMERA)
    assert (channels[..., 0] == 255).all()
    high = hha(plane((0, 0, 1), 9.0), CAMERA)
    assert high[0, 0, 1] == 255
    assert (high[..., 0] == 34).all()


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(*[st.floats(-0.35, 0.35)] * 2),
    st.floats(0.5, 8),
    st.floats(30, 90),
    st.floats(15, 40),
    st.floats(15, 25),
)
def test_the_normal_of_any_plane(
    slant: tuple, distance: float, focal: float, cx: float, cy: float
) -> None:
    camera = Camera(focal, 1.1 * focal, cx, cy)
    normal = np.array([*slant, 1]) / np.linalg.norm([*slant, 1])
    depth = plane(tuple(normal), distance, camera)
    found = surface_normals(depth, camera)
    seen = depth > 0
    whole = seen & ~np.isnan(found[..., 0])
    assert whole.sum() > 0.95 * seen.sum()
    np.testing.assert_allclose(found[whole], np.broadcast_to(normal, found[whole].shape), atol=1e-5)


def test_gravity_of_any_length_and_a_camera_that_looks_down() -> None:
    # The same floor, seen by a camera that looks down by 30 degrees: gravity turns the other way.
    gravity = np.array([0, np.cos(np.radians(30)), np.sin(np.radians(30))])
    depth = plane(tuple(gravity), 1.4)
    seen = depth > 0
    for given_gravity in (gravity, 9.81 * gravity, None):  # None: estimated from the floor
        assert (hha(depth, CAMERA, given_gravity)[seen][:, 1:] == (0, FLOOR)).all()
    assert (
        hha(depth, CAMERA)[seen][:, 2] == FLOOR + 30
    ).all()  # the default assumes a level camera


def test_unknown_depth_is_zero_and_spoils_nothing_beside_it() -> None:
    depth = plane((0, 0, 1), 2.0)
    depth[10:20, 15:30] = 0
    depth[12, 3] = np.nan
    channels = hha(depth, CAMERA)
    unknown = ~(depth > 0)
    assert (channels[unknown] == 0).all()
    assert (channels[~unknown][:, 2] == WALL).all()


def test_a_lone_pixel_has_no_angle() -> None:
    depth = np.zeros(SIZE)
    depth[5, 5] = 2.0
    depth[30, :] = 2.0  # nor has a line
    channels = hha(depth, CAMERA)
    assert (channels[depth > 0][:, 0] == 155).all()
    assert (channels[depth > 0][:, 2] == 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_rooms(seed: int) -> None:
    """Height and angle of every floor, bed and wall pixel that is well inside its surface."""
    one = room(seed, roll=5.0 * (seed - 2))
    channels = hha(one.depth, one.camera, one.gravity)
    normals = surface_normals(one.depth, one.camera, radius=1)
    inside = inner(one)
    floor, wall = (inside & (one.labels == CLASSES.index(name)) for name in ("floor", "wall"))
    assert floor.sum() > 50
    assert (channels[floor][:, 1:] == (0, FLOOR)).all()
    assert wall.sum() > 500
    assert (channels[wall][:, 2] == WALL).all()
    np.testing.assert_allclose(normals[wall] @ one.gravity, 0, atol=1e-6)


def inner(one: Room, margin: int = 4) -> np.ndarray:
    """Pixels whose window of ``2 margin + 1`` has one label and one plane (1 / z is linear)."""
    inverse = 1 / one.depth
    same = np.ones_like(one.labels, bool)
    same[margin:-margin, margin:-margin] = True
    for axis in (0, 1):
        bend = np.abs(np.diff(inverse, 2, axis=axis))
        smooth = np.pad(bend < 1e-9, [(1, 1) if a == axis else (0, 0) for a in (0, 1)])
        same &= smooth
    whole = np.zeros_like(same)
    height, width = same.shape
    for row in range(margin, height - margin):
        for column in range(margin, width - margin):
            window = np.s_[row - margin : row + margin + 1, column - margin : column + margin + 1]
            whole[row, column] = (
                same[window].all() and (one.labels[window] == one.labels[row, column]).all()
            )
    return whole


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (15, 0), (25, -8), (-10, 12)])
def test_gravity_is_found_from_the_surfaces_of_a_room(pitch: float, roll: float) -> None:
    for seed in range(4):
        one = room(seed, pitch=pitch, roll=roll)
        found = estimate_gravity(surface_normals(one.depth, one.camera))
        assert np.linalg.norm(found) == pytest.approx(1)
        assert np.degrees(np.arccos(np.clip(found @ one.gravity, -1, 1))) < 1


def test_a_room_is_what_it_says() -> None:
    one = room(3, pitch=10)
    again, other = room(3, pitch=10), room(4, pitch=10)
    assert np.array_equal(one.image, again.image)
    assert not np.array_equal(one.depth, other.depth)
    assert np.isfinite(one.depth).all()
    assert one.depth.min() > 0
    np.testing.assert_allclose(one.gravity, (0, np.cos(np.radians(10)), np.sin(np.radians(10))))
    x, y = one.camera.rays(one.depth.shape)
    below = one.depth * (x * one.gravity[0] + y * one.gravity[1] + one.gravity[2])
    floor = one.labels == CLASSES.index("floor")
    np.testing.assert_allclose(below[floor], one.height)
    assert below.max() <= one.height + 1e-9


def test_rooms_in_the_layout_of_nyud(tmp_path: Path) -> None:
    rooms = [room(i) for i in range(2)]
    names = write_nyud(tmp_path, rooms, first=5)
    assert names == ["5", "6"]
    for inputs in INPUTS:
        for one, sample in zip(rooms, Nyud(tmp_path, inputs=inputs, names=names), strict=False):
            np.testing.assert_array_equal(sample.labels["semantic"], one.labels)
            if inputs in ("rgb-hha", "hha"):
                expected = torch.from_numpy(hha(one.depth, one.camera, one.gravity)).permute(
                    2, 0, 1
                )
                assert torch.equal(sample.image[-3:], expected)
            if inputs == "rgbd":
                np.testing.assert_allclose(sample.image[3], np.log(1000 * one.depth), atol=2e-3)
    assert {VOID, CLASSES.index("bed")} <= {*np.unique(rooms[0].labels).tolist()}


@pytest.mark.parametrize(
    ("depth", "gravity", "words"),
    [
        (np.ones((2, 3, 3)), DOWN, "H x W"),
        (np.zeros((4, 5)), DOWN, "no known depth"),
        (np.full((4, 5), np.nan), DOWN, "no known depth"),
        (np.full((4, 5), -1.0), DOWN, "-1 m is behind"),
        (np.ones((4, 5)), (0, 0, 0), "three numbers"),
        (np.ones((4, 5)), (0, 1), "three numbers"),
    ],
)
def test_what_cannot_be_encoded(depth: np.ndarray, gravity: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        hha(depth, KINECT, gravity)
    assert "\n" not in str(error.value)


def test_gravity_needs_a_surface() -> None:
    with pytest.raises(ValueError, match="give its direction"):
        estimate_gravity(np.full((3, 3, 3), np.nan))
