"""labelme: a folder with one JSON file per photo."""

import base64
import binascii
import io
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcn.data.class_lists import Classes
from fcn.data.convert import files
from fcn.data.convert.writing import Annotations, Item, Labels, ellipse, paste, polygon
from fcn.data.photos import Unusable

IGNORED = "__ignore__"
FLAT = ("line", "linestrip", "point", "points")  # shapes without an area


def read(
    source: Path, photos: Path | None, classes: Classes | None, log: Callable[[str], None]
) -> Annotations:
    """The annotations in a folder of JSON files; photos next to them, or inside."""
    paths = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    found = Annotations(source, [], [], classes=classes)
    skipped: Counter[str] = Counter()
    names: set[str] = set()
    for path in paths:
        try:
            content = files.read_json(path, "shapes", "labelme")
            item = _item(path, content, photos)
        except (FileNotFoundError, ValueError) as problem:
            found.problems.append(problem)
            continue
        shapes = content["shapes"]
        skipped.update(s["shape_type"] for s in shapes if s.get("shape_type") in FLAT)
        names.update(s["label"] for s in shapes if s.get("shape_type") not in FLAT)
        found.items.append(item)
    for kind, count in skipped.items():
        log(f"{count} shapes of kind '{kind}' have no area: left out")
    first = sorted(name for name in names if name == "_background_")
    found.names = first + sorted(names - {IGNORED, *first})
    return found


def _item(path: Path, content: dict[str, Any], photos: Path | None) -> Item:
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not all(
        isinstance(s, dict) and isinstance(s.get("label"), str) for s in shapes
    ):
        raise ValueError(f"{path}: not labelme's shapes with labels; save it again in labelme")
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    stored = str(content.get("imagePath") or "").replace("\\", "/")
    photo = (photos or path.parent) / (Path(stored).name if photos else stored)
    paint = partial(_paint, path, shapes)
    if stored and photo.is_file():
        return Item(path.stem, photo, size, paint)
    if not content.get("imageData"):
        raise FileNotFoundError(f"{path}: its photo, {photo}, is missing; give --photos")
    try:
        inside = base64.b64decode(content["imageData"], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise ValueError(f"{path}: the photo inside it is damaged; give --photos") from None
    return Item(path.stem, inside, size, paint)


def _paint(path: Path, shapes: list[dict[str, Any]], labels: Labels, index: dict[str, int]) -> None:
    """Draw the shapes in their order, the later above the earlier, as labelme does."""
    for number, shape in enumerate(shapes, 1):
        if shape.get("shape_type") in FLAT:
            continue
        try:
            if shape["label"] not in index:
                raise ValueError(f"class '{shape['label']}' is not in the list of classes")
            _draw(shape, labels, index[shape["label"]])
        except (KeyError, TypeError, ValueError, OSError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise Unusable(f"shape {number} in {path.name}: {reason}") from None


def _draw(shape: dict[str, Any], labels: Labels, label: int) -> None:
    kind, points = shape.get("shape_type") or "polygon", list(_points(shape["points"]))
    if kind in ("polygon", "oriented_rectangle"):
        polygon(labels, label, points)
    elif kind == "rectangle":
        (left, top), (right, bottom) = np.min(points, axis=0), np.max(points, axis=0)
        polygon(labels, label, [(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle":
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        ellipse(labels, label, (x, y), (radius, radius))
    elif kind == "mask":
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            mask = np.array(image.convert("L")) > 0
        paste(labels, label, mask, *(int(value) for value in points[0]))
    else:
        raise ValueError(f"unknown kind '{kind}'")


def _points(points: Any) -> Iterator[tuple[float, float]]:
    for x, y in points:
        if not np.isfinite([x, y]).all():
            raise ValueError("a coordinate is not a finite number")
        yield float(x), float(y)
