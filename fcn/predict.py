"""A photo in, a coloured label map and an overlay with a legend out."""

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from fcn import models
from fcn.data import voc
from fcn.data.palettes import palette, voc_palette
from fcn.data.reading import read_photo
from fcn.environment import atomic_write, check_writable

SUBMISSION = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")
"""Where VOC's test server looks for label maps: those of nets that other data than VOC's, too, were trained on."""


class Segmenter:
    """A trained net with the names and colours of its classes, as saved by ``python -m fcn train``.

    Raises FileNotFoundError, or ValueError naming the file, where ``path`` holds no such net.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        net = models.load(path)
        if (inputs := net.settings.get("inputs", "rgb")) != "rgb":
            raise ValueError(
                f"{path}: a net for {inputs.upper()} images; give one that was trained on colour photos"
            )
        self.net = net.to(device)
        self.device = device
        with safe_open(path, "pt") as file:
            about = file.metadata()
        try:
            heads: dict[str, list[str]] = json.loads(about["classes"])
            self.head, self.classes = next(iter(heads.items()))
            named = len(self.classes)
            own = np.array(json.loads(about.get("palette", "[]"))).reshape(-1, 3).astype(np.uint8)
        except (KeyError, ValueError, AttributeError, TypeError, StopIteration):
            raise ValueError(
                f"{path}: does not name its classes; give a net that `fcn train` saved"
            ) from None
        scored = self.net.classes.get("scores" if self.net.single else self.head)
        if named != scored:
            raise ValueError(
                f'{path}: names {named} classes of "{self.head}", of which its net scores {scored or "none"}; '
                "give a net that `fcn train` saved"
            )
        self.palette = own if len(own) == named else palette(about.get("dataset", ""), named)

    @torch.no_grad()
    def __call__(self, image: Tensor, side: int = 512) -> Tensor:
        """The most likely class of each pixel, H x W, int64, for an image 3 x H x W, uint8, of any size.

        A photo whose longer side exceeds ``side`` pixels is scored at that size, nearer to the scale of the training
        photos and at a bounded cost, and the scores, not the labels, are brought back to the photo's own size.
        """
        height, width = image.shape[-2:]
        x = image[None].to(self.device).float() / 255
        scale = side / max(height, width)
        if scale < 1:
            smaller = (max(1, round(height * scale)), max(1, round(width * scale)))
            x = F.interpolate(x, size=smaller, mode="bilinear", antialias=True)
        scores = self.net(x)
        scores = scores[self.head] if isinstance(scores, dict) else scores
        return _enlarged_argmax(scores, height, width)


def _enlarged_argmax(scores: Tensor, height: int, width: int) -> Tensor:
    """The best class at H x W of 1 x C x h x w scores brought to that size; row by row, so that memory holds."""
    if scores.shape[-2:] == (height, width):
        return scores[0].argmax(0)
    # Rows first come from linear interpolation between the two nearest rows of scores, columns from torch's own.
    y = (
        (torch.arange(height, device=scores.device) + 0.5) * scores.shape[-2] / height - 0.5
    ).clamp(min=0)
    above = y.floor().long().clamp(max=scores.shape[-2] - 1)
    below = (above + 1).clamp(max=scores.shape[-2] - 1)
    part = (y - above)[:, None]
    labels = []
    for i in range(0, height, 64):
        a, b, t = above[i : i + 64], below[i : i + 64], part[i : i + 64]
        rows = scores[0][:, a] * (1 - t) + scores[0][:, b] * t
        labels.append(F.interpolate(rows[None], size=(len(a), width), mode="bilinear")[0].argmax(0))
    return torch.cat(labels)


def shares(labels: Tensor, classes: Sequence[str]) -> list[tuple[str, float]]:
    """The classes found in ``labels`` (H x W) with their share of the pixels in percent, largest first."""
    counts = torch.bincount(labels.flatten(), minlength=len(classes)).tolist()
    found = [(name, 100 * n / labels.numel()) for name, n in zip(classes, counts, strict=True) if n]
    return sorted(found, key=lambda pair: -pair[1])


def write(
    photo: Path, segmenter: Segmenter, out: Path, side: int = 512
) -> tuple[list[Path], list[tuple[str, float]]]:
    """Segment the photo in a file; write ``NAME.labels.png`` (palette PNG) and ``NAME.overlay.png`` into ``out``.

    Returns the two paths and the share of each class. Nothing is written where the photo cannot be read. Raises
    ValueError, naming the folder, where ``out`` takes no files.
    """
    image = read_photo(photo)
    labels = segmenter(image, side).cpu()
    found = shares(labels, segmenter.classes)
    check_writable(out, "--out")
    paths = [out / f"{photo.stem}.labels.png", out / f"{photo.stem}.overlay.png"]
    _save(paths[0], label_map(labels, segmenter.palette))
    _save(paths[1], overlay(image, labels, segmenter, found))
    return paths, found


def submit(
    photo: Path, segmenter: Segmenter, out: Path, side: int = 512
) -> tuple[Path, list[tuple[str, float]]]:
    """Segment the photo in a file; write its label map below ``out`` where PASCAL VOC's test server looks for it.

    The server takes one archive of the folder ``results``, in it ``VOC2012/Segmentation/comp6_test_cls/NAME.png``: the
    class of each pixel as the index of a palette PNG of the photo's own size, 0 background, 1..20, in VOC's colours.

    Returns the path and the share of each class. Raises ValueError for a net with other classes than VOC's, and where
    ``out`` takes no files.
    """
    if segmenter.classes != [*voc.CLASSES]:
        raise ValueError(
            f"--submission: PASCAL VOC's test server scores {len(voc.CLASSES)} classes, {voc.CLASSES[0]} to "
            f"{voc.CLASSES[-1]}, and this net has {len(segmenter.classes)}, {segmenter.classes[0]} to "
            f"{segmenter.classes[-1]}; give --weights of a net trained on PASCAL VOC or SBD"
        )
    labels = segmenter(read_photo(photo), side).cpu()
    path = out / SUBMISSION / f"{photo.stem}.png"
    check_writable(path.parent, "--submission")
    _save(path, label_map(labels, voc_palette(256)))
    return path, shares(labels, segmenter.classes)


def label_map(labels: Tensor, palette: np.ndarray) -> Image.Image:
    """A palette picture of ``labels``, H x W, 0..255, in the colours of ``palette``, C x 3, RGB."""
    picture = Image.fromarray(labels.numpy().astype(np.uint8))
    picture.putpalette(palette.astype(np.uint8).tobytes())
    return picture


def overlay(
    image: Tensor, labels: Tensor, segmenter: Segmenter, found: list[tuple[str, float]]
) -> Image.Image:
    """The photo (3 x H x W, uint8) under its label map (H x W), with a legend of the classes below it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height, width = labels.shape
    colours = segmenter.palette[labels.numpy()]
    blend = (0.45 * image.permute(1, 2, 0).numpy() + 0.55 * colours).astype(np.uint8)
    entries = [f"{name}  {share:.1f} %" for name, share in found if share >= 0.05]
    wide = min(
        8.0, 10.0 * width / height
    )  # inches; a photo fills the width of the page or else its height
    tall = wide * height / width
    page = (8.0, tall + 0.28 * -(-len(entries) // 4) + 0.2)
    with matplotlib.rc_context(
        {"font.size": 10, "font.family": "sans-serif", "figure.constrained_layout.use": False}
    ):
        figure = Figure(figsize=page, dpi=max(100, min(300, width / wide)))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 1 - tall / page[1], wide / page[0], tall / page[1]))
        axes.imshow(blend, aspect="auto")
        axes.set_axis_off()
        index = list(segmenter.classes).index
        patches = [
            Patch(color=segmenter.palette[index(name)] / 255)
            for name, share in found
            if share >= 0.05
        ]
        figure.legend(patches, entries, loc="lower left", ncols=4, frameon=False, fontsize=9)
        figure.canvas.draw()
        return Image.fromarray(np.asarray(figure.canvas.buffer_rgba()).copy()).convert("RGB")  # type: ignore[attr-defined]


def _save(path: Path, picture: Image.Image) -> None:
    with atomic_write(path) as partial:
        picture.save(partial, format="PNG")
