"""CVAT: one XML file, "CVAT for images 1.1", of polygons, boxes, ellipses and masks."""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from fcn.data.class_lists import Classes
from fcn.data.convert import files
from fcn.data.convert.writing import (
    Annotations,
    Item,
    Labels,
    ellipse,
    flat,
    paste,
    photo_in,
    polygon,
)
from fcn.data.photos import Unusable

AREAS = ("polygon", "box", "ellipse", "mask")
OTHERS = ("polyline", "points", "cuboid", "skeleton", "tag")


def read(
    source: Path, photos: Path | None, classes: Classes | None, log: Callable[[str], None]
) -> Annotations:
    """The shapes of all photos; classes in the order of the task's labels, with its colours."""
    path = source / "annotations.xml" if source.is_dir() else source
    root = files.read_xml(path)
    if root.tag != "annotations" or root.find(".//track") is not None:
        problem = "a video's tracks" if root.tag == "annotations" else "not CVAT's annotations"
        raise ValueError(f'{path}: {problem}; export as "CVAT for images 1.1"')
    names, colours = [], {}
    for label in root.findall("./meta//label"):
        name, colour = label.findtext("name"), (label.findtext("color") or "").removeprefix("#")
        if name and label.findtext("parent") is None:
            names.append(name)
            if re.fullmatch("[0-9a-fA-F]{6}", colour):
                red, green, blue = bytes.fromhex(colour)
                colours[name] = (red, green, blue)
    found = Annotations(path, names, [], colours, classes)
    default = path.parent / "images"
    folder = photos or (default if default.is_dir() else path.parent)
    skipped: Counter[str] = Counter()
    for image in root.findall("image"):
        skipped.update(shape.tag for shape in image if shape.tag in OTHERS)
        shapes = [shape for shape in image if shape.tag in AREAS]
        names.extend({s.get("label", "") for s in shapes} - {*names, ""})
        try:
            name = image.attrib["name"]
            size = (int(image.attrib["height"]), int(image.attrib["width"]))
            item = Item(flat(name), photo_in(folder, name), size, partial(_paint, shapes))
        except KeyError as error:
            found.problems.append(ValueError(f"{path}: an image has no {error}"))
        except (FileNotFoundError, ValueError) as problem:
            found.problems.append(problem)
        else:
            found.items.append(item)
    for kind, count in skipped.items():
        log(f"{count} shapes of kind '{kind}' are not areas: left out")
    return found


def _paint(shapes: list[ET.Element], labels: Labels, index: dict[str, int]) -> None:
    """Draw the shapes by their ``z_order``, then in their order."""
    for shape in sorted(shapes, key=lambda shape: int(shape.get("z_order", 0))):
        name = shape.get("label", "")
        if name not in index:
            raise Unusable(f"class '{name}' is not in the list of classes")
        try:
            _draw(shape, labels, index[name])
        except KeyError as error:
            raise Unusable(f"a {shape.tag} of '{name}' has no {error}") from None
        except ValueError as error:
            raise Unusable(f"a {shape.tag} of '{name}': {error}") from None


def _draw(shape: ET.Element, labels: Labels, label: int) -> None:
    def numbers(*keys: str) -> list[float]:
        found = [float(shape.attrib[key]) for key in keys]
        if not np.abs(found).max() < 1e6:
            raise ValueError("a place far outside the photo")
        return found

    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in shape.attrib["points"].split(";")]
        polygon(labels, label, [(float(x), float(y)) for x, y in pairs])
    elif shape.tag == "box":
        left, top, right, bottom = numbers("xtl", "ytl", "xbr", "ybr")
        polygon(labels, label, [(left, top), (right, top), (right, bottom), (left, bottom)])
    elif shape.tag == "ellipse":
        x, y, across, down = numbers("cx", "cy", "rx", "ry")
        ellipse(labels, label, (x, y), (across, down))
    else:
        left, top, width, height = (int(n) for n in numbers("left", "top", "width", "height"))
        runs = [int(run) for run in shape.attrib["rle"].split(",")]
        if min(runs) < 0 or sum(runs) > height * width:
            raise ValueError("its run lengths exceed its size")
        flags = np.arange(len(runs)) % 2 == 1  # background first
        inside = np.repeat(flags, runs)
        mask = np.zeros(height * width, bool)
        mask[: len(inside)] = inside
        paste(labels, label, mask.reshape(height, width), left, top)
