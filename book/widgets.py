"""Interactive figures: each function returns the HTML that a script in assets/widgets turns into one.

All numbers are computed here and stored in the page as JSON. Where the script does not run (another viewer, no
JavaScript), a sentence refers to a figure of the chapter that shows the same without moving.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from IPython.display import HTML
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from fcn import FCN
from fcn.geometry import ReceptiveField
from fcn.replication.upper_bounds import FACTORS, Line
from fcn.upsampling import bilinear_filter
from figures.style import Names, Palette

BACKBONES = {"alexnet": "AlexNet", "vgg16": "VGG16", "googlenet": "GoogLeNet"}
STRIDES = (32, 16, 8)


def receptive_field(photo: Tensor, alt: str) -> HTML:
    """The receptive field of the cell under the pointer, for each backbone and stride.

    ``photo``: 1 x 3 x H x W, in 0..1; ``alt`` describes it.
    """
    height, width = photo.shape[2:]
    nets = {}
    for name, title in BACKBONES.items():
        with (
            torch.random.fork_rng(),
            torch.no_grad(),
        ):  # leave the chapter's random numbers alone
            backbone = FCN(name, stride=8, num_classes=1, width=1 / 16).trunk
            maps = backbone(torch.zeros(1, 3, height, width))
        layers = {stride: layer for layer, stride in backbone.taps.items()}
        nets[title] = [
            _map(layers[s], backbone.fields[s], maps[s].shape[2:]) for s in STRIDES
        ]
    picture = {
        "src": _picture(255 * photo[0]),
        "width": width,
        "height": height,
        "alt": alt,
    }
    still = "The figure above shows the cells of one net at one place."
    return _widget(
        "receptive_field",
        "A receptive field under the pointer",
        still,
        photo=picture,
        nets=nets,
    )


def _map(layer: str, field: ReceptiveField, shape: Sequence[int]) -> dict[str, Any]:
    place = {
        "size": field.size,
        "stride": int(field.stride),
        "offset": float(field.offset),
    }
    return {"layer": layer} | place | {"rows": shape[0], "columns": shape[1]}


def stamps(cells: ArrayLike, stride: int) -> HTML:
    """A transposed convolution of ``cells`` (h x w), one stamp at a time, with a choice of filters."""
    filters = {
        "bilinear, 3 × 3": bilinear_filter(2, 3),
        "bilinear, 4 × 4": bilinear_filter(2),
        "nearest, 2 × 2": torch.ones(2, 2),
        "equal taps, 3 × 3": torch.full((3, 3), 0.5),
    }
    taps = {name: kernel.tolist() for name, kernel in filters.items()}
    numbers = np.asarray(cells, float).tolist()
    still = "The figure above shows all stamps of a smaller map."
    return _widget(
        "stamps",
        "A transposed convolution, step by step",
        still,
        cells=numbers,
        filters=taps,
        stride=stride,
    )


def example(
    title: str,
    truth: np.ndarray,
    starts: Mapping[str, np.ndarray],
    names: Names,
    palette: Palette,
) -> dict[str, Any]:
    """An example for ``mask``: the truth (H x W, void 255) and predictions to start from, the first one shown."""
    maps = {name: _runs(labels) for name, labels in starts.items()}
    described = {"names": list(names), "palette": palette.tolist()}
    return {
        "title": title,
        "width": truth.shape[1],
        "truth": _runs(truth),
        "starts": maps,
    } | described


def mask(*examples: dict[str, Any]) -> HTML:
    """A prediction to paint, with the four metrics next to it."""
    still = "The figure above shows three predictions and their metrics."
    return _widget(
        "mask", "Paint a prediction and watch the metrics", still, examples=examples
    )


def bounds(
    labels: Sequence[Tensor], lines: Sequence[Line], names: Names, palette: Palette
) -> HTML:
    """A round trip of ground truth through a grid, by any protocol, and the ``lines`` that VOC has for it.

    ``labels``: H x W, void 255; ``lines``: from ``upper_bounds.ranked``.
    """
    scenes = [
        {"width": truth.shape[1], "height": truth.shape[0], "labels": _runs(truth)}
        for truth in labels
    ]
    table = {
        line.label: [round(line.mean_iu[factor], 4) for factor in FACTORS]
        for line in lines
    }
    described = {"names": list(names), "palette": palette.tolist(), "factors": FACTORS}
    still = "The chapter's first figure shows four grids."
    return _widget(
        "bounds",
        "Down to a grid and up again",
        still,
        scenes=scenes,
        table=table,
        **described,
    )


def stages(
    images: Sequence[Tensor],
    maps: Mapping[str, Sequence[np.ndarray]],
    names: Names,
    palette: Palette,
) -> HTML:
    """Label maps of the same images under a slider, {title: maps of all images}; the last title is the ground truth."""
    scenes = [
        {"src": _picture(image), "width": image.shape[2], "height": image.shape[1]}
        | {"maps": {title: _runs(labels[i]) for title, labels in maps.items()}}
        for i, image in enumerate(images)
    ]
    still = "The figure above shows the same maps side by side."
    return _widget(
        "stages",
        "From 32s to 8s",
        still,
        scenes=scenes,
        names=list(names),
        palette=palette.tolist(),
    )


def _widget(name: str, title: str, still: str, **data: Any) -> HTML:
    """The container that assets/widgets/widgets.js looks for; ``still`` names the figure that replaces it."""
    stored = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace(
        "</", "<\\/"
    )
    note = f"<em>{title}.</em> Interactive on the book's site, in browsers with JavaScript. {still}"
    return HTML(
        f'<section class="explorable" data-widget="{name}" aria-label="{title}">\n'
        f'<p>{note}</p>\n<script type="application/json">{stored}</script>\n</section>'
    )


def _picture(image: Tensor) -> str:
    """An image (3 x H x W, 0..255) as a data URI."""
    file = io.BytesIO()
    Image.fromarray(image.round().byte().permute(1, 2, 0).numpy()).save(
        file, "JPEG", quality=85
    )
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _runs(labels: ArrayLike) -> list[int]:
    """The run lengths of a label map, row by row: [label, count, label, count, ...]."""
    flat = np.asarray(labels).ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    return (
        np.column_stack([flat[starts], np.diff(starts, append=len(flat))])
        .ravel()
        .tolist()
    )
