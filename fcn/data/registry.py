"""Data sets by name. The module of a data set is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fcn.environment import folder_of

if TYPE_CHECKING:
    from fcn.data.sample import SegmentationDataset

    Constructor = Callable[..., SegmentationDataset]

_NYUD = ("nyud-rgb", "nyud-hha", "nyud-rgbd", "nyud-rgb-hha")
_CONTEXT = ("pascal-context-59", "pascal-context-33")
_VOC = ("voc", "voc-2011-labels", "voc2011", "voc-subset")
DATASETS = ("sift-flow", "scenes", *_VOC, *_CONTEXT, *_NYUD)


def dataset(
    name: str, split: str, data: Path | None = None, *, cache: bool = True
) -> SegmentationDataset:
    """The data set ``name`` from its folder below ``data``, by default below FCN_DATA.

    ``split``: ``trainval`` or ``test``, which final runs train on and are scored on, or ``train``
    or ``val``, the two parts of ``trainval``. ``voc-subset`` is the part of VOC 2012 given by its
    lists ``train_with_photos`` and ``val_with_photos``. ``cache``: decode SIFT Flow once and keep
    it in memory.

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

        return SiftFlow(folder / name, split, cache=cache)
    if name in _NYUD:
        from fcn.data.nyud import Nyud

        return Nyud(folder / "nyud", split, name.removeprefix("nyud-"))
    training, test = _pascal(name, folder)
    if split in ("trainval", "test"):
        return training() if split == "trainval" else test()
    return _part(training, split)


def _pascal(name: str, folder: Path) -> tuple[Constructor, Constructor]:
    """Constructors of the training set and the test set of a data set with PASCAL's photos."""
    years = folder / "pascal" / "VOCdevkit"
    if name in _CONTEXT:
        from fcn.data.pascal_context import PascalContext

        task, root = int(name.removeprefix("pascal-context-")), folder / "pascal-context"
        context = partial(PascalContext, root, task=task, voc=years / "VOC2010")
        return partial(context, split="train"), partial(context, split="val")
    from fcn.data.voc import Voc

    if name == "voc2011":
        return partial(Voc, years / "VOC2011", "train"), partial(Voc, years / "VOC2011", "val")
    voc = partial(Voc, years / "VOC2012")
    if name == "voc-subset":
        return partial(voc, "train_with_photos"), partial(voc, "val_with_photos")
    from fcn.data.sbd import Sbd

    year = "VOC2011" if name == "voc-2011-labels" else "VOC2012"
    sbd = partial(Sbd, folder / "sbd" / "benchmark_RELEASE" / "dataset", "train")
    return sbd, partial(Voc, years / year, "seg11valid")


def _part(training: Constructor, split: str) -> SegmentationDataset:
    """The held-out tenth of a training set (``val``) or the rest of it (``train``)."""
    from fcn.data.sample import validation_part

    full = training()
    held_out = validation_part(full.names)
    names = [name for name in full.names if (name in held_out) == (split == "val")]
    part = training(names=names)
    which = "the tenth held out" if split == "val" else "without the tenth held out"
    part.split = f"{full.split}, {which}"
    return part
