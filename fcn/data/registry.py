"""Data sets by name. The module of a data set is imported when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fcn.environment import folder_of

if TYPE_CHECKING:
    from fcn.data.sample import SegmentationDataset

_NYUD = ("nyud-rgb", "nyud-hha", "nyud-rgbd", "nyud-rgb-hha")
_CONTEXT = ("pascal-context-59", "pascal-context-33")
_VOC = ("voc", "voc2011", "voc-subset")
DATASETS = ("sift-flow", "scenes", *_VOC, *_CONTEXT, *_NYUD)


def dataset(name: str, split: str, data: Path | None = None) -> SegmentationDataset:
    """The data set ``name`` from its folder below ``data``, by default below FCN_DATA.

    ``split``: ``trainval`` or ``test``, which final runs train on and are scored on, or ``train``
    or ``val``, the two parts of ``trainval``. ``voc-subset`` is the part of VOC 2012 given by its
    lists ``train_with_photos`` and ``val_with_photos``.

    Raises FileNotFoundError for a missing folder and ValueError for an unknown name.
    """
    if name not in DATASETS:
        raise ValueError(f'unknown data set "{name}"; choose one of {", ".join(DATASETS)}')
    if name == "scenes":
        from fcn.data.synthetic.outdoor import Scenes

        return Scenes(800 if split == "train" else 100, split=split)
    folder = folder_of(data, "FCN_DATA", "--data")
    if name == "sift-flow":
        from fcn.data.sift_flow import SiftFlow

        return SiftFlow(folder / name, split)
    if name in _NYUD:
        from fcn.data.nyud import Nyud

        return Nyud(folder / "nyud", split, name.removeprefix("nyud-"))
    found = _pascal(name, folder, "val" if split == "test" else "train")
    if split in ("train", "val"):
        from fcn.data.sample import validation_part

        held_out = validation_part(found.names)
        found.names = [name for name in found.names if (name in held_out) == (split == "val")]
        found.split += f", {'without ' * (split == 'train')}the tenth held out"
    return found


def _pascal(name: str, folder: Path, split: str) -> SegmentationDataset:
    """The training set (``train``) or the test set (``val``) of a data set with PASCAL's photos."""
    years = folder / "pascal" / "VOCdevkit"
    if name in _CONTEXT:
        from fcn.data.pascal_context import PascalContext

        task = int(name.removeprefix("pascal-context-"))
        return PascalContext(folder / "pascal-context", split, task)
    from fcn.data.voc import Voc

    if name == "voc2011":
        return Voc(years / "VOC2011", split)
    if name == "voc-subset":
        return Voc(years / "VOC2012", f"{split}_with_photos")
    if split == "val":
        return Voc(years / "VOC2012", "seg11valid")
    from fcn.data.sbd import Sbd

    return Sbd(folder / "sbd" / "benchmark_RELEASE" / "dataset")
