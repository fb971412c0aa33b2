"""Semantic Boundaries Dataset (Hariharan et al. 2011): 8498 training images with VOC's classes.

    python data_scripts/sbd.py [--data DIR]

Creates ``DIR/sbd/benchmark_RELEASE`` as published: ``dataset/img/NAME.jpg``,
``dataset/cls/NAME.mat`` (struct GTcls, labels in its field Segmentation), ``dataset/train.txt`` and
``dataset/val.txt``.
"""

from collections.abc import Iterator
from pathlib import Path

import archives
import checks
import fetch
import numpy as np
import voc

_PATH = "eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz"
ARCHIVE = fetch.Published(
    "benchmark.tgz",
    (f"https://www2.{_PATH}", f"http://www.{_PATH}"),
    "md5:82b4d87ceb2ed10f6038a1cba92111cb",
)
COUNTS = {"train": 8498, "val": 2857}


def prepare(data: Path) -> None:
    """Download and unpack what is missing, check everything, and print counts and shares."""
    root = data / "sbd" / "benchmark_RELEASE"
    if not root.is_dir():
        archive = fetch.download(ARCHIVE, data / "downloads", to_unpack=True)
        with archives.unpacked(archive, root.parent) as folder:
            archives.place(archives.find(folder, "dataset/img", "dataset/cls"), root)
    print(f"SBD: {root}")
    dataset = root / "dataset"
    names = {split: checks.read_list(dataset / f"{split}.txt") for split in COUNTS}
    for split, expected in COUNTS.items():
        checks.need_count(names[split], expected, f"SBD {split}")
        checks.need_files(dataset / "img", names[split], ".jpg")
        checks.need_files(dataset / "cls", names[split], ".mat")
    checks.need_disjoint(names["train"], names["val"], "SBD train and val")
    checks.need_disjoint(
        names["train"], checks.read_list(voc.SEG11VALID), "SBD train and seg11valid"
    )
    drawn = checks.sample(names["train"])
    shares = checks.class_shares(label_maps(dataset, drawn), len(voc.CLASSES), str(dataset / "cls"))
    checks.print_shares(shares, voc.CLASSES, f"{len(drawn)} label maps of train")


def label_maps(dataset: Path, names: list[str]) -> Iterator[np.ndarray]:
    """Label maps, H x W: 0 background, 1..20 classes; no void."""
    for name in names:
        yield checks.matlab(dataset / "cls" / f"{name}.mat", "GTcls")["Segmentation"][0, 0]


if __name__ == "__main__":
    checks.run(prepare, __doc__)
