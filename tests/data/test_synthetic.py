"""Procedural scenes: deterministic, exactly labelled, of any size."""

import numpy as np
import pytest
import torch

from fcn.data.sample import VOID, Sample
from fcn.data.synthetic.canvas import FAR
from fcn.data.synthetic.outdoor import PALETTE, Scenes, with_void_border
from fcn.data.synthetic.palette import CLASSES


def one_line(error: pytest.ExceptionInfo[Exception]) -> None:
    assert "\n" not in str(error.value)


def test_palette_has_a_colour_for_each_class() -> None:
    assert (PALETTE.shape, PALETTE.dtype) == ((len(CLASSES), 3), np.uint8)
    assert len(np.unique(PALETTE, axis=0)) == len(CLASSES)


def test_an_empty_list_of_scenes() -> None:
    with pytest.raises(ValueError, match="the list of scenes is empty"):
        Scenes(0)


def test_a_scene_depends_on_seed_split_and_index_alone() -> None:
    first, again = Scenes(4, (48, 64), seed=5), Scenes(9, (48, 64), seed=5)
    for i in range(4):
        a, b = first.scene(i), again.scene(i)
        assert a.kind == b.kind
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.semantic, b.semantic)
        assert torch.equal(a.depth, b.depth)
    for other in (Scenes(4, (48, 64), seed=6), Scenes(4, (48, 64), seed=5, split="val")):
        assert not torch.equal(other[0].image, first[0].image)
        assert other.checksum != first.checksum


def test_a_scene_is_a_sample_like_any_other() -> None:
    dataset = Scenes(3, (40, 56))
    sample = dataset[1]
    assert isinstance(sample, Sample)
    assert (sample.image.dtype, sample.image.shape) == (torch.uint8, (3, 40, 56))
    assert set(sample.labels) == set(dataset.heads)
    for head, labels in sample.labels.items():
        assert (labels.dtype, labels.shape) == (torch.int64, (40, 56))
        assert set(labels.unique().tolist()) <= {*range(len(dataset.heads[head])), VOID}
    assert sample.name == dataset.names[1]
    assert torch.equal(dataset.depth(1), dataset.scene(1).depth)
    assert len(list(dataset)) == 3


def test_labels_geometry_and_depth_of_scenes_agree() -> None:
    for scene in map(Scenes(24, (64, 64)).scene, range(24)):
        sky = scene.semantic == CLASSES.index("sky")
        assert torch.equal(scene.geometric == 0, sky)
        assert (scene.depth[sky] == FAR).all()
        assert torch.equal(scene.semantic == VOID, scene.geometric == VOID)
        upright = torch.tensor([CLASSES.index(name) for name in ("building", "tree", "pole")])
        vertical = torch.isin(scene.semantic, upright)
        assert (scene.geometric[vertical] == 2).all()
        assert (scene.depth > 0).all()
        assert (scene.depth[~sky & (scene.semantic != VOID)] < FAR).all()
        # Flat ground gets closer from row to row.
        road = scene.semantic == CLASSES.index("road")
        below = road[1:] & road[:-1]
        assert (scene.depth[1:][below] < scene.depth[:-1][below]).all()


def test_scenes_contain_every_class_and_thin_poles() -> None:
    counts, kinds = torch.zeros(VOID + 1), set()
    thin = 0
    for scene in map(Scenes(60, (96, 96)).scene, range(60)):
        counts += torch.bincount(scene.semantic.flatten(), minlength=VOID + 1)
        kinds.add(scene.kind)
        pole = scene.semantic == CLASSES.index("pole")
        left, right = pole.roll(1, 1) & pole.roll(2, 1), pole.roll(-1, 1) & pole.roll(-2, 1)
        thin += int((pole & ~left & ~right).sum())
    shares = counts / counts.sum()
    assert len(kinds) == 6
    assert (shares[: len(CLASSES)] > 0.001).all()
    assert 0.02 < shares[VOID] < 0.10
    assert thin > 500  # pixels of poles less than three pixels wide


def test_a_scene_keeps_its_shape_at_another_size() -> None:
    small, large = Scenes(12, (48, 48)), Scenes(12, (144, 144))
    for i in range(12):
        a, b = small.scene(i).semantic, large.scene(i).semantic[1::3, 1::3]
        labelled = (a != VOID) & (b != VOID)
        assert (a[labelled] == b[labelled]).float().mean() > 0.96


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 200), (200, 5), (33, 47)])
def test_scenes_of_any_size(size: tuple[int, int]) -> None:
    for scene in map(Scenes(12, size).scene, range(12)):
        assert scene.image.shape == (3, *size)
        assert scene.semantic.shape == scene.geometric.shape == scene.depth.shape == size
        assert torch.isfinite(scene.depth).all()


@pytest.mark.parametrize("arguments", [{"size": (0, 5)}, {"seed": -1}, {"split": "testing"}])
def test_invalid_arguments(arguments: dict) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is checked below
        Scenes(1, **arguments)
    one_line(error)


def test_the_void_border_is_on_the_farther_side() -> None:
    label = np.zeros((5, 7), np.uint8)
    label[:, 3] = 1
    depth = np.where(label == 1, 2.0, 9.0).astype(np.float32)
    assert with_void_border(label, depth, 1)[2].tolist() == [0, 0, VOID, 1, VOID, 0, 0]
    assert with_void_border(label, depth, 2)[2].tolist() == [0, VOID, VOID, 1, VOID, VOID, 0]
    assert with_void_border(np.zeros((4, 4), np.uint8), np.ones((4, 4), np.float32), 2).max() == 0
