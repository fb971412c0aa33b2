"""COCO: one JSON file of instances, as polygons or run-length encoded masks."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, PositiveInt

from fcn.data.class_lists import Classes
from fcn.data.convert import files
from fcn.data.convert.writing import Annotations, Item, Labels, flat, photo_in
from fcn.data.photos import Unusable


class _Image(BaseModel):
    id: int | str
    file_name: str
    height: PositiveInt
    width: PositiveInt


class _Category(BaseModel):
    id: int
    name: str


class _Annotation(BaseModel):
    id: int | str | None = None
    image_id: int | str
    category_id: int
    segmentation: Any = None


class _Instances(BaseModel):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation]


def read(
    source: Path, photos: Path | None, classes: Classes | None, log: Callable[[str], None]
) -> Annotations:
    """The instances of all photos; classes in the order of the categories' numbers."""
    content = files.read_json(source, _Instances, "COCO's instances")
    categories = {one.id: one.name for one in content.categories}
    groups: dict[int | str, list[_Annotation]] = {one.id: [] for one in content.images}
    lost = [one for one in content.annotations if one.image_id not in groups]
    for one in content.annotations:
        groups.setdefault(one.image_id, []).append(one)
    names = [categories[number] for number in sorted(categories)]
    found = Annotations(source, names, [], classes=classes)
    if lost:
        problem = f"{len(lost)} annotations of unknown images, such as {lost[0].image_id}"
        found.problems.append(ValueError(f"{source}: {problem}; export it again"))
    default = source.parent / "images"
    folder = photos or (default if default.is_dir() else source.parent)
    for image in content.images:
        name, size = image.file_name, (image.height, image.width)
        try:
            paint = partial(_paint, groups[image.id], categories)
            found.items.append(Item(flat(name), photo_in(folder, name), size, paint))
        except (FileNotFoundError, ValueError) as problem:
            found.problems.append(problem)
    if bare := sum(not groups[image.id] for image in content.images):
        log(f"{bare} of {len(content.images)} photos have no annotation")
    return found


def _paint(
    annotations: list[_Annotation],
    categories: dict[int, str],
    labels: Labels,
    index: dict[str, int],
) -> None:
    """Draw the instances by their size, the smaller above the larger."""
    masks = []
    for one in annotations:
        category = categories.get(one.category_id, "")
        if category not in index:
            raise Unusable(f"annotation {one.id}: category {one.category_id} is unknown")
        try:
            mask = _mask(one.segmentation, labels.shape)
        except (TypeError, ValueError, KeyError) as error:
            raise Unusable(f"annotation {one.id}: {error}") from None
        masks.append((int(mask.sum()), index[category], mask))
    for _, label, mask in sorted(masks, key=lambda entry: -entry[0]):
        labels[mask] = label


def _mask(segmentation: Any, size: tuple[int, ...]) -> NDArray[np.bool_]:
    from pycocotools import mask as coco  # type: ignore[import-untyped]  # extra "formats"

    height, width = size
    if not segmentation:
        raise ValueError("has no segmentation, only a box; label its shape, or remove it")
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"its mask is {segmentation['size']} and its photo {height} x {width}")
        encoded = segmentation
        if isinstance(segmentation["counts"], list):
            if sum(segmentation["counts"]) != height * width or min(segmentation["counts"]) < 0:
                raise ValueError("its run lengths do not add up to its photo")
            encoded = coco.frPyObjects(segmentation, height, width)
        return coco.decode(encoded).astype(bool)
    for ring in segmentation:
        if len(ring) < 6 or len(ring) % 2 or not np.isfinite(ring).all():
            raise ValueError("a polygon needs three or more points x, y")
    return coco.decode(coco.merge(coco.frPyObjects(segmentation, height, width))).astype(bool)
