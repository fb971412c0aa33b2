"""PASCAL VOC's folders: SegmentationClass and JPEGImages, as CVAT and labelme export them, too."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fcn.data.class_lists import Classes, read_classes
from fcn.data.convert.writing import Annotations, Item, Labels
from fcn.data.label_maps import Grey, check_sides, grey_kind, read_label_map
from fcn.data.palettes import voc_palette
from fcn.data.photos import HEIC, PHOTOS

MAPS = ("SegmentationClass", "SegmentationClassPNG")
LISTS = ("labelmap.txt", "class_names.txt", "labels.txt")


def read(
    source: Path, photos: Path | None, classes: Classes | None, log: Callable[[str], None]
) -> Annotations:
    """The label maps that have photos; classes of ``labelmap.txt``, or else VOC's own."""
    maps = next((source / name for name in MAPS if (source / name).is_dir()), None)
    folder = photos or source / "JPEGImages"
    if maps is None or not folder.is_dir():
        missing = source / MAPS[0] if maps is None else folder
        raise FileNotFoundError(f"{missing}: no such folder; check the path, or give --photos")
    listed = next((source / name for name in LISTS if (source / name).is_file()), None)
    if classes is None:
        classes = _voc() if listed is None else read_classes(listed)
    paths = sorted(path for path in maps.iterdir() if path.suffix.lower() == ".png")
    kind = grey_kind(classes, paths)
    found = Annotations(source, classes.names, [], classes=classes)
    endings = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in PHOTOS + HEIC}
    for path in paths:
        if path.stem not in endings:
            problem = f"{path}: has no photo in {folder}; add it, or give --photos"
            found.problems.append(FileNotFoundError(problem))
            continue
        paint = partial(_paint, path, classes, listed or source, kind)
        found.items.append(Item(path.stem, endings[path.stem], None, paint))
    if others := len(endings) - len(found.items):
        log(f"{others} of {len(endings)} photos have no label map: left out")
    return found


def _paint(
    path: Path, classes: Classes, source: Path, kind: Grey, labels: Labels, _: dict[str, int]
) -> None:
    height, width = labels.shape
    found = read_label_map(path, classes, source, (height, width), lambda: kind)
    check_sides(path, found, (height, width), 1)
    labels[:] = found.labels


def _voc() -> Classes:
    from fcn.data.voc import CLASSES

    palette, void = voc_palette(256), (224, 224, 192)
    return Classes(tuple(CLASSES), palette[: len(CLASSES)], void, tuple(range(len(CLASSES))))
