"""Segment photos with a saved net: write coloured label maps and overlays with a legend."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from fcn import models
from fcn.data.palettes import Palette, palette, voc_palette
from fcn.data.reading import read_photo
from fcn.environment import atomic_write, check_writable

# The folder that PASCAL VOC's test server expects; comp6 allows other training data.
SUBMISSION = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")
Shares = list[tuple[str, float]]  # classes with their share of the pixels, in percent


class Segmenter:
    """A trained net with the names and colours of its classes, as ``python -m fcn train`` saves it.

    Raises FileNotFoundError if ``path`` does not exist, ValueError if it contains no such net.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        self.net = models.load(path).to(device)
        self.device = device
        if (inputs := self.net.settings["inputs"]) != "rgb":
            raise ValueError(f"{path}: a net for {inputs.upper()}; give one for colour photos")
        remedy = "give a net that `fcn train` saved"
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        try:
            heads: dict[str, list[str]] = json.loads(metadata["classes"])
            self.head, self.classes = next(iter(heads.items()))
            count = len(self.classes)
            own = np.array(json.loads(metadata.get("palette", "[]")), np.uint8).reshape(-1, 3)
        except (LookupError, ValueError, AttributeError, TypeError, StopIteration, OverflowError):
            raise ValueError(f"{path}: names no classes; {remedy}") from None
        scored = self.net.classes.get("scores" if self.net.single else self.head, 0)
        if count != scored:
            problem = f'names {count} classes of "{self.head}", but its net scores {scored}'
            raise ValueError(f"{path}: {problem}; {remedy}")
        known = len(own) == count
        self.palette: Palette = own if known else palette(metadata.get("dataset", ""), count)

    @torch.no_grad()
    def __call__(self, image: Tensor, side: int = 512) -> Tensor:
        """The most likely class of each pixel, H x W, int64, of an image 3 x H x W, uint8.

        If its longer side exceeds ``side`` pixels, the image is first shrunk to that, which bounds
        the cost and is near the scale of the training photos; then the scores are enlarged.
        """
        height, width = image.shape[-2:]
        x = image[None].to(self.device).float() / 255
        scale = side / max(height, width)
        if scale < 1:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        scores = self.net(x)
        scores = scores[self.head] if isinstance(scores, dict) else scores
        return _enlarged_argmax(scores, height, width)


def _enlarged_argmax(scores: Tensor, height: int, width: int) -> Tensor:
    """The best class, H x W, of scores 1 x C x h x w enlarged to that size; strips save memory."""
    if scores.shape[-2:] == (height, width):
        return scores[0].argmax(0)
    rows = torch.arange(height, device=scores.device)
    y = ((rows + 0.5) * scores.shape[-2] / height - 0.5).clamp(min=0)
    above = y.floor().long().clamp(max=scores.shape[-2] - 1)
    below = (above + 1).clamp(max=scores.shape[-2] - 1)
    part = (y - above)[:, None]
    labels = []
    for i in range(0, height, 64):
        a, b, t = above[i : i + 64], below[i : i + 64], part[i : i + 64]
        strip = scores[0][:, a] * (1 - t) + scores[0][:, b] * t
        strip = F.interpolate(strip[None], size=(len(a), width), mode="bilinear")
        labels.append(strip[0].argmax(0))
    return torch.cat(labels)


def shares(labels: Tensor, classes: Sequence[str]) -> Shares:
    """The share of pixels of each class in ``labels`` (H x W), in percent, largest first."""
    counts = torch.bincount(labels.flatten(), minlength=len(classes)).tolist()
    found = [(name, 100 * n / labels.numel()) for name, n in zip(classes, counts, strict=True) if n]
    return sorted(found, key=lambda pair: -pair[1])


def write(
    photo: Path, segmenter: Segmenter, out: Path, side: int = 512
) -> tuple[list[Path], Shares]:
    """Segment a photo; write ``NAME.labels.png`` (palette) and ``NAME.overlay.png`` to ``out``.

    Returns the two paths and the share of each class. Raises ValueError if ``out`` is not writable.
    """
    image = read_photo(photo)
    labels = segmenter(image, side).cpu()
    found = shares(labels, segmenter.classes)
    check_writable(out, "--out")
    paths = [out / f"{photo.stem}.labels.png", out / f"{photo.stem}.overlay.png"]
    _save(paths[0], label_map(labels, segmenter.palette))
    _save(paths[1], overlay(image, labels, segmenter, found))
    return paths, found


def submit(photo: Path, segmenter: Segmenter, out: Path, side: int = 512) -> tuple[Path, Shares]:
    """Segment a photo; write its label map below ``out`` as PASCAL VOC's test server expects it.

    The server accepts an archive of the folder ``results`` with one palette PNG per photo, of the
    same size: 0 background, 1..20 objects, in VOC's colours. Returns the path and the share of each
    class. Raises ValueError if the net's classes are not VOC's or ``out`` is not writable.
    """
    from fcn.data.voc import CLASSES

    if segmenter.classes != [*CLASSES]:
        own, theirs = (f"{len(c)} classes, {c[0]} to {c[-1]}" for c in (segmenter.classes, CLASSES))
        problem = f"PASCAL VOC's test server expects {theirs}; this net has {own}"
        raise ValueError(f"--submission: {problem}; give --weights trained on PASCAL VOC or SBD")
    labels = segmenter(read_photo(photo), side).cpu()
    path = out / SUBMISSION / f"{photo.stem}.png"
    check_writable(path.parent, "--submission")
    _save(path, label_map(labels, voc_palette(256)))
    return path, shares(labels, segmenter.classes)


def label_map(labels: Tensor, colours: Palette) -> Image.Image:
    """A palette image of ``labels`` (H x W, 0..255) in ``colours`` (C x 3, RGB)."""
    picture = Image.fromarray(labels.numpy().astype(np.uint8))
    picture.putpalette(colours.tobytes())
    return picture


def overlay(image: Tensor, labels: Tensor, segmenter: Segmenter, found: Shares) -> Image.Image:
    """The photo (3 x H x W, uint8) blended with its label map, above a legend of the classes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height, width = labels.shape
    colours = segmenter.palette[labels.numpy()]
    blend = (0.45 * image.permute(1, 2, 0).numpy() + 0.55 * colours).astype(np.uint8)
    shown = [(name, share) for name, share in found if share >= 0.05]
    wide = min(8.0, 10.0 * width / height)  # inches: the page's width, or less for a tall photo
    tall = wide * height / width
    page = (8.0, tall + 0.28 * -(-len(shown) // 4) + 0.2)
    figure = Figure(figsize=page, dpi=max(100, min(300, width / wide)))
    figure.set_layout_engine("none")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 1 - tall / page[1], wide / page[0], tall / page[1]))
    axes.imshow(blend, aspect="auto")
    axes.set_axis_off()
    colour = dict(zip(segmenter.classes, segmenter.palette / 255, strict=True))
    patches = [Patch(color=colour[name]) for name, _ in shown]
    entries = [f"{name}  {share:.1f} %" for name, share in shown]
    figure.legend(patches, entries, loc="lower left", ncols=4, frameon=False, fontsize=9)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba()).copy()).convert("RGB")


def _save(path: Path, picture: Image.Image) -> None:
    with atomic_write(path) as partial:
        picture.save(partial, format="PNG")
