"""SIFT Flow (Liu et al. 2011; labels of Tighe and Lazebnik 2010): 2688 outdoor photos.

    python data_scripts/sift_flow.py [--data DIR]

Creates ``DIR/sift-flow`` as published: ``Images``, ``SemanticLabels`` and ``GeoLabels``, each with
the folder ``spatial_envelope_256x256_static_8outdoorcategories``. The lists are those of the
authors' release, which omit the two photos without labels; they ship with the package.
"""

from collections.abc import Iterator
from pathlib import Path

import archives
import checks
import fetch
import numpy as np

ARCHIVE = fetch.Published(
    "SiftFlowDataset.zip",
    ("http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip",),
)
COLLECTION = "spatial_envelope_256x256_static_8outdoorcategories"
COUNTS = {"trainval": 2486, "test": 200}
SHARES = {
    "sky": 24.33,
    "building": 21.73,
    "tree": 10.99,
    "mountain": 10.86,
    "road": 6.55,
    "void": 8.12,
}
"""Percent of pixels in the sampled semantic label maps, as measured by this project."""
GEOMETRIC = ("sky", "horizontal", "vertical")


def prepare(data: Path) -> None:
    """Download and unpack what is missing, check everything, and print counts and shares."""
    root = data / "sift-flow"
    if not root.is_dir():
        archive = fetch.download(ARCHIVE, data / "downloads", to_unpack=True)
        with archives.unpacked(archive, data) as folder:
            archives.place(
                archives.find(folder, f"Images/{COLLECTION}", f"SemanticLabels/{COLLECTION}"), root
            )
    print(f"SIFT Flow: {root}")
    folders = [root / "SemanticLabels" / COLLECTION]
    if (root / "GeoLabels").is_dir():
        folders.append(root / "GeoLabels" / COLLECTION)
    else:
        print("  GeoLabels is missing: fcn will derive geometric labels from the semantic ones")
    names = {split: checks.read_list(checks.LISTS / f"sift_flow_{split}.txt") for split in COUNTS}
    for split, expected in COUNTS.items():
        checks.need_count(names[split], expected, f"SIFT Flow {split}")
        checks.need_files(root / "Images" / COLLECTION, names[split], ".jpg")
        for folder in folders:
            checks.need_files(folder, names[split], ".mat")
    checks.need_disjoint(names["trainval"], names["test"], "SIFT Flow trainval and test")
    drawn = checks.sample(names["trainval"])
    for folder in folders:
        classes = class_names(folder / f"{drawn[0]}.mat") if folder == folders[0] else GEOMETRIC
        shares = checks.class_shares(label_maps(folder, drawn), len(classes), str(folder))
        if folder == folders[0]:
            checks.need_shares(shares, classes, SHARES, str(folder))
        checks.print_shares(shares, classes, f"{len(drawn)} maps of {folder.parent.name}, trainval")


def class_names(path: Path) -> tuple[str, ...]:
    """The class names, which each semantic label map contains."""
    return tuple(str(name.item()) for name in checks.matlab(path, "names").ravel())


def label_maps(folder: Path, names: list[str]) -> Iterator[np.ndarray]:
    """Label maps, H x W, 0..C-1 and void 255; the files have 1..C, and 0 or -1 for void."""
    for name in names:
        stored = checks.matlab(folder / f"{name}.mat", "S").astype(np.int64)
        yield np.where(stored < 1, checks.VOID, stored - 1)


if __name__ == "__main__":
    checks.run(prepare, __doc__)
