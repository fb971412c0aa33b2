"""PASCAL-Context (Mottaghi et al. 2014): the VOC 2010 photos with full labels.

    python data_scripts/pascal_context.py [--data DIR]

Creates ``DIR/pascal/VOCdevkit/VOC2010`` (photos and lists) and ``DIR/pascal-context``:
``trainval/NAME.mat`` (variable LabelMap: 1..459), ``59_context_labels/NAME.png`` and
``33_context_labels/NAME.png`` (0 background, then the classes in ``59_labels.txt`` or
``33_labels.txt``).
"""

from collections.abc import Iterator
from pathlib import Path

import archives
import checks
import fetch
import numpy as np
import voc

SITE = "https://cs.stanford.edu/~roozbeh/pascal-context"
OTHER_SITE = "http://www.cs.stanford.edu/~roozbeh/pascal-context"


def _published(name: str, checksum: str | None = None) -> fetch.Published:
    return fetch.Published(name, (f"{SITE}/{name}", f"{OTHER_SITE}/{name}"), checksum)


TRAINVAL = _published("trainval.tar.gz", "md5:df034edb2c12aa7d33b42b20bb1796e3")
LABELS = {
    "59": _published("59_context_labels.tar.gz", "md5:f85d450010762a0e1080304286ce30ed"),
    "33": _published("33_context_labels.tar.gz", "md5:180101cfc01c71867b6686207f071eb9"),
}
NAMES = {
    "59": _published("59_labels.txt", "md5:993901f2d930cc038c406845f08fa082"),
    "33": _published("33_labels.txt", "md5:8840f5439b471aecf991ac6448b826e6"),
}
COUNTS = {"train": 4998, "val": 5105}
NUM_CLASSES = 459


def prepare(data: Path) -> None:
    """Download and unpack what is missing, check everything, and print counts and shares."""
    photos = voc.unpack_year(data, "2010")
    root = data / "pascal-context"
    unpack(data, root)
    print(f"PASCAL-Context: {root}")
    if (root / "labels.txt").is_file() and len(class_names(root / "labels.txt")) != NUM_CLASSES:
        raise ValueError(
            f"{root / 'labels.txt'}: not a list of {NUM_CLASSES} classes; move it away and run "
            f"this again"
        )
    names = {
        split: checks.read_list(photos / "ImageSets" / "Main" / f"{split}.txt") for split in COUNTS
    }
    for split, expected in COUNTS.items():
        checks.need_count(names[split], expected, f"PASCAL-Context {split}")
        checks.need_files(photos / "JPEGImages", names[split], ".jpg")
        checks.need_files(root / "trainval", names[split], ".mat")
        for task in LABELS:
            checks.need_files(root / f"{task}_context_labels", names[split], ".png")
    checks.need_disjoint(names["train"], names["val"], "PASCAL-Context train and val")
    drawn = checks.sample(names["train"])
    for task in LABELS:
        folder = root / f"{task}_context_labels"
        classes = ("background", *class_names(root / f"{task}_labels.txt"))
        shares = checks.class_shares(label_maps(folder, drawn), len(classes), str(folder))
        checks.print_shares(shares, classes, f"{len(drawn)} label maps of train, {task} classes")


def unpack(data: Path, root: Path) -> None:
    """Download and unpack missing parts, and ``labels.txt`` if the archive contains it."""
    downloads = data / "downloads"
    if not (root / "trainval").is_dir():
        archive = fetch.download(TRAINVAL, downloads, to_unpack=True)
        with archives.unpacked(archive, root) as folder:
            for all_names in folder.rglob("labels.txt"):
                if not (root / "labels.txt").is_file():
                    archives.place(all_names, root / "labels.txt")
            archives.place(archives.find(folder, "*.mat"), root / "trainval")
    for task, labels in LABELS.items():
        if not (root / f"{task}_context_labels").is_dir():
            with archives.unpacked(
                fetch.download(labels, downloads, to_unpack=True), root
            ) as folder:
                archives.place(archives.find(folder, "*.png"), root / f"{task}_context_labels")
    for names in NAMES.values():
        fetch.download(names, root)


def class_names(path: Path) -> tuple[str, ...]:
    """The names in a file of lines such as ``12: bamboo weaving``, by number, without 0."""
    numbered = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        number, colon, name = line.partition(":")
        if colon and number.strip().isdigit():
            numbered[int(number)] = name.strip()
    numbered.pop(0, None)
    if sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise ValueError(
            f"{path}: not a list of classes numbered from 1; delete it and run this again"
        )
    return tuple(numbered[i] for i in sorted(numbered))


def label_maps(folder: Path, names: list[str]) -> Iterator[np.ndarray]:
    """Label maps, H x W: 0 background, then the classes of the task."""
    for name in names:
        yield checks.label_map(folder / f"{name}.png")


if __name__ == "__main__":
    checks.run(prepare, __doc__)
