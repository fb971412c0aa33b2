"""``python -m fcn convert``: read one tool's annotations, write photos, label maps and classes."""

from collections.abc import Callable
from pathlib import Path

from fcn.data.class_lists import read_classes
from fcn.data.convert import coco, cvat, labelme, voc
from fcn.data.convert.writing import write
from fcn.data.reading import check_choice

READERS = {"labelme": labelme.read, "coco": coco.read, "cvat": cvat.read, "voc": voc.read}


def convert(
    tool: str,
    source: Path,
    out: Path,
    *,
    photos: Path | None = None,
    classes: Path | None = None,
    unlabelled: str = "background",
    log: Callable[[str], None] = print,
) -> list[str]:
    """Write ``out``/photos, ``out``/labels and ``out``/classes.txt; returns the class names.

    ``tool``: ``labelme`` (a folder of JSON files), ``coco`` (a JSON file), ``cvat`` (an XML file,
    "CVAT for images"), or ``voc`` (a folder with SegmentationClass, as CVAT and labelme export it,
    too). ``photos``: their folder, by default the one that the tool uses. ``classes``: a list of
    classes that sets their order. ``unlabelled``: pixels outside all shapes are ``background`` or
    ``void``.

    Raises FileExistsError if ``out`` contains anything, and otherwise FileNotFoundError or
    ValueError for everything that cannot be converted; then nothing is written.
    """
    check_choice("convert", "format", tool, READERS)
    check_choice("--unlabelled", "value", unlabelled, ("background", "void"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out}: exists and is not empty; choose another with --out")
    if photos is not None and not photos.is_dir():
        raise FileNotFoundError(f"{photos}: no such folder of photos; check --photos")
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or folder of annotations; check the path")
    given = None if classes is None else read_classes(classes)
    return write(READERS[tool](source, photos, given, log), out, unlabelled, log)
