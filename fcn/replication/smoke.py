"""Smoke tests: any experiment of the catalogue in a second, on a tiny data set.

Photos and labels are random, but they are files in the official layout, and the run takes the same
path as one on the real data.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from fcn.data import nyud, pascal_context, sift_flow, voc
from fcn.data.sample import VOID
from fcn.replication.experiment import Experiment
from fcn.training.record import Deviation

WIDTH = 1 / 16
NAMES = tuple(f"2008_{i:06}" for i in range(1, 9))
"""Six training photos, the last of which is held out for validation, and two test photos."""
SPLITS = {"trainval": NAMES[:6], "train": NAMES[:5], "val": NAMES[5:6], "test": NAMES[6:]}
SIZES = ((64, 64), (56, 72), (72, 48))
"""Heights and widths of the photos of PASCAL VOC, in turn; the other data sets have one size."""
SMOKE = Deviation("other", "two steps of a net of 1/16 of the width on random images: a smoke test")


def shrink(experiment: Experiment) -> Experiment:
    """The experiment with all its switches, but a narrow random net, two small steps and float32.

    It starts from shrunk nets if the experiment has a ``start``. Its purpose is demonstration.
    """
    recipe = experiment.recipe
    batch = min(recipe.batch_size, 2)
    images = 800 if experiment.dataset == "scenes" else len(SPLITS["train"])
    recipe = replace(
        recipe,
        batch_size=batch,
        micro_batch=min(recipe.micro_batch, 1),
        epochs=2 * batch / images,
        warmup=0.0,
        precision="32-true",
    )
    deviations = (*experiment.deviations, SMOKE)
    changes: dict[str, Any] = {"recipe": recipe, "width": WIDTH, "deviations": deviations}
    return replace(experiment, purpose="demonstration", **changes)


def write_data(name: str, folder: Path) -> None:
    """Write the data set ``name``, with eight photos, below ``folder`` in its official layout.

    ``fcn.data.registry.dataset`` then reads all its splits. ``scenes`` needs no files.
    """
    if name == "sift-flow":
        _write_sift_flow(folder / "sift-flow")
    elif name.startswith("nyud-"):
        _write_nyud(folder / "nyud")
    elif name.startswith("pascal-context-"):
        _write_pascal_context(folder)
    elif name.startswith("voc"):
        _write_voc(folder)


def pixels(index: int, *channels: int, size: tuple[int, int] = SIZES[0]) -> NDArray[np.uint8]:
    """A random image."""
    return np.random.default_rng(index).integers(0, 256, (*size, *channels), np.uint8)


def labels(
    index: int, classes: int, *, size: tuple[int, int] = SIZES[0], void: bool = True
) -> NDArray[np.uint8]:
    """A random label map; two columns are void if ``void`` is True."""
    found = np.random.default_rng(100 + index).integers(0, classes, size, np.uint8)
    found[:, : 2 * void] = VOID
    return found


def _write_sift_flow(root: Path) -> None:
    for i, name in enumerate(NAMES):
        stored = labels(i, len(sift_flow.SEMANTIC)) + np.uint8(1)  # void: 0
        _save(root / "Images" / sift_flow.COLLECTION / f"{name}.jpg", pixels(i, 3))
        _save_mat(root / "SemanticLabels" / sift_flow.COLLECTION / f"{name}.mat", S=stored)
    _save_lists(root, **SPLITS)


def _write_nyud(root: Path) -> None:
    for i, name in enumerate(NAMES):
        stored = labels(i, len(nyud.CLASSES)) + np.uint8(1)  # void: 0
        depth = 40 * pixels(20 + i).astype(np.uint16)  # millimetres, with holes
        for part, image in (("images", pixels(i, 3)), ("hha", pixels(10 + i, 3)), ("depth", depth)):
            _save(root / "data" / part / f"img_{name}.png", image)
        _save_mat(root / "segmentation" / f"img_{name}.mat", segmentation=stored)
    _save_lists(root, **SPLITS)


def _write_pascal_context(folder: Path) -> None:
    year = folder / "pascal" / "VOCdevkit" / "VOC2010"
    for i, name in enumerate(NAMES):
        of_all = np.random.default_rng(i).integers(1, 1 + len(pascal_context.ALL), _size(i))
        _save(year / "JPEGImages" / f"{name}.jpg", pixels(i, 3, size=_size(i)))
        _save_mat(folder / "pascal-context" / "trainval" / f"{name}.mat", LabelMap=of_all)
    _save_lists(year / "ImageSets" / "Main", train=SPLITS["trainval"], val=SPLITS["test"])


def _write_voc(folder: Path) -> None:
    """VOC 2012; VOC 2011, which has labels and shares the photos; SBD, which has no void."""
    years = folder / "pascal" / "VOCdevkit"
    sbd = folder / "sbd" / "benchmark_RELEASE" / "dataset"
    classes = len(voc.CLASSES)
    for i, name in enumerate(NAMES):
        size = _size(i)
        for photos in (years / "VOC2012" / "JPEGImages", sbd / "img"):
            _save(photos / f"{name}.jpg", pixels(i, 3, size=size))
        for year in ("VOC2012", "VOC2011"):
            path = years / year / "SegmentationClass" / f"{name}.png"
            _save(path, labels(i, classes, size=size), voc.PALETTE)
        whole = labels(i, classes, size=size, void=False)
        _save_mat(sbd / "cls" / f"{name}.mat", GTcls={"Segmentation": whole})
    train, val = SPLITS["trainval"], SPLITS["test"]
    for year in ("VOC2012", "VOC2011"):
        lists = years / year / "ImageSets" / "Segmentation"
        _save_lists(lists, train=train, val=val, trainval=NAMES, seg11valid=val)
        _save_lists(lists, train_with_photos=train, val_with_photos=val)
    _save_lists(sbd, train=train, val=val)


def _size(index: int) -> tuple[int, int]:
    return SIZES[index % len(SIZES)]


def _save(path: Path, image: NDArray[Any], palette: NDArray[np.uint8] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = Image.fromarray(image)
    if palette is not None:
        saved.putpalette(palette.ravel().tolist())  # the mode becomes P
    saved.save(path)


def _save_mat(path: Path, **variables: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, variables)
    with path.open("r+b") as file:  # the header has the time: a resumed run would find other data
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))


def _save_lists(folder: Path, **lists: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
