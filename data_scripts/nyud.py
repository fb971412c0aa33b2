"""NYUDv2 (Silberman et al. 2012), 40 classes (Gupta et al. 2013), as in the authors' release.

    python data_scripts/nyud.py [--data DIR]

Creates ``DIR/nyud``: ``data/images/img_N.png``, ``data/depth/img_N.png``, ``data/hha/img_N.png``,
``segmentation/img_N.mat`` (variable segmentation: 0 void, 1..40 classes), and the lists of the
release, ``train.txt``, ``val.txt``, ``trainval.txt`` and ``test.txt``, one N per line.
"""

from collections.abc import Iterator
from pathlib import Path

import archives
import checks
import fetch
import numpy as np

ARCHIVE = fetch.Published("nyud.tar.gz", ("http://dl.caffe.berkeleyvision.org/nyud.tar.gz",))
COUNTS = {"train": 381, "val": 414, "trainval": 795, "test": 654}
SHIPPED = checks.LISTS
CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
    "floor mat", "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel",
    "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip
PARTS = {"data/images": ".png", "data/depth": ".png", "data/hha": ".png", "segmentation": ".mat"}


def prepare(data: Path) -> None:
    """Download and unpack what is missing, check everything, and print counts and shares."""
    root = data / "nyud"
    if not root.is_dir():
        archive = fetch.download(ARCHIVE, data / "downloads", to_unpack=True)
        with archives.unpacked(archive, data) as folder:
            archives.place(archives.find(folder, *PARTS), root)
    shipped = {
        split: checks.read_list(SHIPPED / f"nyud_{split}.txt") for split in ("train", "val", "test")
    }
    shipped["trainval"] = shipped["train"] + shipped["val"]
    for split, names in shipped.items():
        checks.write_list(root / f"{split}.txt", names)
    print(f"NYUDv2: {root}")
    names_of = {split: checks.read_list(root / f"{split}.txt") for split in COUNTS}
    for split, expected in COUNTS.items():
        checks.need_count(names_of[split], expected, f"NYUDv2 {split}")
        for part, suffix in PARTS.items():
            checks.need_files(root / part, names_of[split], suffix, prefix="img_")
    checks.need_disjoint(names_of["trainval"], names_of["test"], "NYUDv2 trainval and test")
    drawn = checks.sample(names_of["trainval"])
    shares = checks.class_shares(label_maps(root, drawn), len(CLASSES), str(root / "segmentation"))
    checks.print_shares(shares, CLASSES, f"{len(drawn)} label maps of trainval")


def label_maps(root: Path, names: list[str]) -> Iterator[np.ndarray]:
    """Label maps, H x W, as 0..39 and void 255."""
    for name in names:
        stored = checks.matlab(root / "segmentation" / f"img_{name}.mat", "segmentation").astype(
            np.int64
        )
        yield np.where(stored < 1, checks.VOID, stored - 1)


if __name__ == "__main__":
    checks.run(prepare, __doc__)
