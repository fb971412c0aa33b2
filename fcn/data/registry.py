"""Data sets by name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fcn.data.nyud import INPUTS, Nyud
from fcn.data.pascal_context import PascalContext
from fcn.data.sample import SegmentationDataset, validation_part
from fcn.data.sbd import Sbd
from fcn.data.sift_flow import SiftFlow
from fcn.data.synthetic.outdoor import Scenes
from fcn.data.voc import Voc
from fcn.environment import folder_of

DATASETS = (
    "sift-flow", "scenes", "voc", "voc-2011-labels", "voc2011", "voc-subset", "pascal-context-59", "pascal-context-33",
    *(f"nyud-{inputs}" for inputs in INPUTS),
)  # fmt: skip


Loader = Callable[..., SegmentationDataset]
"""Makes a data set, of the photos given as ``names`` or of all of its split."""


def dataset(
    name: str, split: str, data: Path | None = None, *, cache: bool = True
) -> SegmentationDataset:
    """The data set ``name`` from its folder below ``data``, by default below the folder that FCN_DATA names.

    ``split``: ``trainval`` and ``test``, what final runs train and are scored on, or ``train`` and ``val``, the two
    parts of ``trainval``. The names are those of the catalogue; ``voc-subset`` is the part of VOC 2012 named in its
    lists ``train_with_photos`` and ``val_with_photos``. SIFT Flow is decoded once and kept in memory, by ``cache``.

    Raises FileNotFoundError where the folder is missing, and ValueError for a data set that has no loader.
    """
    if name == "scenes":
        return Scenes(800 if split == "train" else 100, split=split)
    if name not in DATASETS:
        raise ValueError(f'data set "{name}" has no loader; choose one of {", ".join(DATASETS)}')
    folder = folder_of(data, "FCN_DATA", "--data")
    if name == "sift-flow":
        return SiftFlow(folder / name, split, cache=cache)
    if name.startswith("nyud-"):
        return Nyud(folder / "nyud", split, name.removeprefix("nyud-"))
    trained_on, scored_on = _pascal(name, folder)
    if split == "test":
        return scored_on()
    whole = trained_on()
    if split == "trainval":
        return whole
    held_out = validation_part(whole.names)
    part = trained_on(names=[n for n in whole.names if (n in held_out) == (split == "val")])
    part.split = f"{whole.split}, " + (
        "the tenth held out" if split == "val" else "without the tenth held out"
    )
    return part


def _pascal(name: str, folder: Path) -> tuple[Loader, Loader]:
    """What makes the training and the scored part of a data set of PASCAL's photos."""
    years = folder / "pascal" / "VOCdevkit"

    def voc(year: int, split: str) -> Loader:
        return partial(Voc, years / f"VOC{year}", split)

    def context(split: str) -> Loader:
        task = int(name.removeprefix("pascal-context-"))
        return partial(PascalContext, folder / "pascal-context", split, task, voc=years / "VOC2010")

    if name.startswith("pascal-context-"):
        return context("train"), context("val")
    if name == "voc2011":
        return voc(2011, "train"), voc(2011, "val")
    if name == "voc-subset":
        return voc(2012, "train_with_photos"), voc(2012, "val_with_photos")
    labels_of = 2011 if name == "voc-2011-labels" else 2012
    return partial(Sbd, folder / "sbd" / "benchmark_RELEASE" / "dataset", "train"), voc(
        labels_of, "seg11valid"
    )
