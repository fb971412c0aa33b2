"""COCO: one JSON file of instances, as polygons or run-length encoded masks."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcn.data.class_lists import Classes
from fcn.data.convert import files
from fcn.data.convert.writing import Annotations, Item, Labels, flat, photo_in
from fcn.data.photos import Unusable


def read(
    source: Path, photos: Path | None, classes: Classes | None, log: Callable[[str], None]
) -> Annotations:
    """The instances of all photos; classes in the order of the categories' numbers."""
    content = files.read_json(source, "annotations", "COCO")
    try:
        images = {one["id"]: one for one in content["images"]}
        categories = {one["id"]: str(one["name"]) for one in content["categories"]}
        groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for one in content["annotations"]:
            groups[one["image_id"]].append(one)
        if any("segments_info" in one for one in content["annotations"]):
            raise ValueError(f"{source}: panoptic annotations; give COCO's instances")
        named = [
            (one["file_name"], (int(one["height"]), int(one["width"])), groups[number])
            for number, one in images.items()
        ]
    except (KeyError, TypeError, AttributeError) as error:
        problem = f"not COCO's images, categories and annotations ({error!r})"
        raise ValueError(f"{source}: {problem}; export it again") from None
    names = [categories[number] for number in sorted(categories)]
    found = Annotations(source, names, [], classes=classes)
    if lost := groups.keys() - images.keys():
        problem = f"annotations of unknown images, such as {next(iter(lost))}"
        found.problems.append(ValueError(f"{source}: {problem}; export it again"))
    default = source.parent / "images"
    folder = photos or (default if default.is_dir() else source.parent)
    for name, size, annotations in named:
        try:
            paint = partial(_paint, annotations, categories)
            found.items.append(Item(flat(name), photo_in(folder, name), size, paint))
        except (FileNotFoundError, ValueError) as problem:
            found.problems.append(problem)
    if bare := sum(not annotations for _, _, annotations in named):
        log(f"{bare} of {len(named)} photos have no annotation")
    return found


def _paint(
    annotations: list[dict[str, Any]],
    categories: dict[Any, str],
    labels: Labels,
    index: dict[str, int],
) -> None:
    """Draw the instances by their size, the smaller above the larger."""
    masks = []
    for one in annotations:
        number, category = one.get("id"), categories.get(one.get("category_id"))
        if category not in index:
            raise Unusable(f"annotation {number}: category {one.get('category_id')} is unknown")
        try:
            mask = _mask(one.get("segmentation"), labels.shape)
        except (TypeError, ValueError, KeyError) as error:
            raise Unusable(f"annotation {number}: {error}") from None
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
