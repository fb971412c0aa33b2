"""PASCAL VOC 2012 and, on request, the lists and label maps of VOC 2011.

    python data_scripts/voc.py [--data DIR] [--with-2011]

Creates ``DIR/pascal/VOCdevkit/VOC2012`` as published, plus ``seg11valid.txt`` in
``ImageSets/Segmentation``: the 736 images of VOC 2011 val that are not among SBD's training images,
the validation set of the paper's Table 2. ``--with-2011`` adds ``VOC2011`` with its lists (1112
train, 1111 val) and label maps, for Table 1; its photos are among those of VOC 2012.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import archives
import checks
import fetch
import numpy as np

HOSTS = ("https://thor.robots.ox.ac.uk/pascal/VOC", "http://host.robots.ox.ac.uk/pascal/VOC")
ARCHIVES = {
    "2010": fetch.Published(
        "VOCtrainval_03-May-2010.tar",
        tuple(f"{host}/voc2010/VOCtrainval_03-May-2010.tar" for host in HOSTS),
        "md5:da459979d0c395079b5c75ee67908abb",
    ),
    "2011": fetch.Published(
        "VOCtrainval_25-May-2011.tar",
        tuple(f"{host}/voc2011/VOCtrainval_25-May-2011.tar" for host in HOSTS),
        "md5:6c3384ef61512963050cb5d687e5bf1e",
    ),
    "2012": fetch.Published(
        "VOCtrainval_11-May-2012.tar",
        (
            *(f"{host}/voc2012/VOCtrainval_11-May-2012.tar" for host in HOSTS),
            "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
        ),
        "md5:6cd6e144f989b92b3379bac3b3de84fd",
    ),
}
COUNTS = {
    "2011": {"train": 1112, "val": 1111},
    "2012": {"train": 1464, "val": 1449, "trainval": 2913, "seg11valid": 736},
}
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
SHARES = {
    "background": 72.87,
    "person": 6.19,
    "chair": 1.62,
    "sofa": 1.54,
    "cat": 1.17,
    "void": 4.19,
}
"""Percent of pixels in the sampled label maps of seg11valid, as measured by this project."""
SEG11VALID = checks.LISTS / "voc_seg11valid.txt"


def prepare(data: Path, with_2011: bool = False) -> None:
    """Download and unpack what is missing, check everything, and print counts and shares."""
    root = unpack_year(data, "2012")
    checks.write_list(lists(root) / "seg11valid.txt", checks.read_list(SEG11VALID))
    names = check_year(root, "2012")
    checks.need_files(root / "JPEGImages", names["trainval"], ".jpg")
    if missing := set(names["seg11valid"]) - set(names["val"]):
        raise ValueError(
            f"{lists(root) / 'seg11valid.txt'}: {min(missing)} is not in val; delete the list and "
            f"run this again"
        )
    if with_2011:
        names_2011 = check_year(unpack_year(data, "2011", wanted_of_2011), "2011")
        checks.need_files(root / "JPEGImages", names_2011["train"] + names_2011["val"], ".jpg")
    drawn = checks.sample(names["seg11valid"])
    shares = checks.class_shares(
        label_maps(root, drawn), len(CLASSES), str(root / "SegmentationClass")
    )
    checks.need_shares(shares, CLASSES, SHARES, str(root / "SegmentationClass"))
    checks.print_shares(shares, CLASSES, f"{len(drawn)} label maps of seg11valid")


def unpack_year(data: Path, year: str, wanted: archives.Wanted = lambda path: True) -> Path:
    """The folder of that year's VOC, downloaded and unpacked if missing."""
    root = data / "pascal" / "VOCdevkit" / f"VOC{year}"
    if not root.is_dir():
        archive = fetch.download(ARCHIVES[year], data / "downloads", to_unpack=True)
        with archives.unpacked(archive, root.parent, wanted) as folder:
            archives.place(archives.find(folder, "ImageSets/Segmentation"), root)
    print(f"PASCAL VOC {year}: {root}")
    return root


def wanted_of_2011(path: PurePosixPath) -> bool:
    """True for segmentation lists and label maps."""
    return "SegmentationClass" in path.parts or path.match("ImageSets/Segmentation/*")


def lists(root: Path) -> Path:
    return root / "ImageSets" / "Segmentation"


def check_year(root: Path, year: str) -> dict[str, list[str]]:
    """The segmentation lists of a year, with checked counts and label maps."""
    names = {split: checks.read_list(lists(root) / f"{split}.txt") for split in COUNTS[year]}
    for split, expected in COUNTS[year].items():
        checks.need_count(names[split], expected, f"VOC {year} {split}")
        checks.need_files(root / "SegmentationClass", names[split], ".png")
    return names


def label_maps(root: Path, names: list[str]) -> Iterator[np.ndarray]:
    """Label maps, H x W: 0 background, 1..20 the classes, void 255."""
    for name in names:
        yield checks.label_map(root / "SegmentationClass" / f"{name}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--with-2011", action="store_true", help="also fetch the lists and label maps of VOC 2011"
    )
    checks.run(prepare, __doc__, parser)
