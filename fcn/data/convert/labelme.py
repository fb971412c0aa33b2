"""labelme: a folder with one JSON file per photo."""

import base64
import binascii
import io
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, FiniteFloat, PositiveInt

from fcn.data.class_lists import Classes
from fcn.data.convert import files
from fcn.data.convert.writing import Annotations, Item, Labels, ellipse, paste, polygon
from fcn.data.photos import Unusable

IGNORED = "__ignore__"
FLAT = ("line", "linestrip", "point", "points")  # shapes without an area


class _Shape(BaseModel):
    label: str
    points: list[tuple[FiniteFloat, FiniteFloat]]
    shape_type: str | None = None
    mask: str | None = None


class _File(BaseModel):
    shapes: list[_Shape]
    imagePath: str | None = None
    imageData: str | None = None
    imageHeight: PositiveInt | None = None
    imageWidth: PositiveInt | None = None


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
            content = files.read_json(path, _File, "labelme")
            found.items.append(_item(path, content, photos))
        except (FileNotFoundError, ValueError) as problem:
            found.problems.append(problem)
            continue
        skipped.update(s.shape_type for s in content.shapes if s.shape_type in FLAT)
        names.update(s.label for s in content.shapes if s.shape_type not in FLAT)
    for kind, count in skipped.items():
        log(f"{count} shapes of kind '{kind}' have no area: left out")
    first = sorted(name for name in names if name == "_background_")
    found.names = first + sorted(names - {IGNORED, *first})
    return found


def _item(path: Path, content: _File, photos: Path | None) -> Item:
    height, width = content.imageHeight, content.imageWidth
    size = (height, width) if height and width else None
    stored = (content.imagePath or "").replace("\\", "/")
    photo = (photos or path.parent) / (Path(stored).name if photos else stored)
    paint = partial(_paint, path, content.shapes)
    if stored and photo.is_file():
        return Item(path.stem, photo, size, paint)
    if not content.imageData:
        raise FileNotFoundError(f"{path}: its photo, {photo}, is missing; give --photos")
    try:
        inside = base64.b64decode(content.imageData, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{path}: the photo inside it is damaged; give --photos") from None
    return Item(path.stem, inside, size, paint)


def _paint(path: Path, shapes: list[_Shape], labels: Labels, index: dict[str, int]) -> None:
    """Draw the shapes in their order, the later above the earlier, as labelme does."""
    for number, shape in enumerate(shapes, 1):
        if shape.shape_type in FLAT:
            continue
        try:
            if shape.label not in index:
                raise ValueError(f"class '{shape.label}' is not in the list of classes")
            _draw(shape, labels, index[shape.label])
        except (ValueError, OSError) as error:
            raise Unusable(f"shape {number} in {path.name}: {error}") from None


def _draw(shape: _Shape, labels: Labels, label: int) -> None:
    kind, points = shape.shape_type or "polygon", shape.points
    if kind in ("polygon", "oriented_rectangle"):
        polygon(labels, label, points)
    elif kind == "rectangle" and len(points) > 1:
        (left, top), (right, bottom) = np.min(points, axis=0), np.max(points, axis=0)
        polygon(labels, label, [(left, top), (right, top), (right, bottom), (left, bottom)])
    elif kind == "circle" and len(points) == 2:
        (x, y), (edge_x, edge_y) = points
        radius = float(np.hypot(edge_x - x, edge_y - y))
        ellipse(labels, label, (x, y), (radius, radius))
    elif kind == "mask" and shape.mask and points:
        with Image.open(io.BytesIO(base64.b64decode(shape.mask))) as image:
            mask = np.array(image.convert("L")) > 0
        left, top = points[0]
        paste(labels, label, mask, int(left), int(top))
    else:
        raise ValueError(f"a shape of kind '{kind}' with {len(points)} points is not read")
