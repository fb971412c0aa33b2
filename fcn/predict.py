"""Segment photos with a saved net: write coloured label maps and overlays with a legend.

The net runs in torch, or in ONNX Runtime if ``fcn export`` has saved it; then torch, which takes
seconds to import, is not needed. Arrays are numpy's: photos H x W x 3, uint8, RGB; labels H x W.
"""

import importlib.util
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open

from fcn.data.palettes import Palette, palette, voc_palette
from fcn.data.photos import read_pixels
from fcn.environment import atomic_write, check_writable, cores, sha256

if TYPE_CHECKING:
    from torch import Tensor

# The folder that PASCAL VOC's test server expects; comp6 allows other training data.
SUBMISSION = Path("results", "VOC2012", "Segmentation", "comp6_test_cls")
Shares = list[tuple[str, float]]  # classes with their share of the pixels, in percent
Pixels = NDArray[np.uint8]
Labels = NDArray[np.unsignedinteger[Any]]


class TorchNet:
    """A net that ``fcn train`` saved, run by torch."""

    def __init__(self, path: Path, device: str) -> None:
        from fcn import models  # imports torch

        self.net = models.load(path).to(device)
        self.device = device
        self.settings = self.net.settings
        with safe_open(path, "np") as file:
            self.metadata: dict[str, str] = file.metadata()

    def count(self, head: str) -> int:
        """The number of classes that ``head`` scores; 0 if there is no such head."""
        return self.net.classes.get("scores" if self.net.single else head, 0)

    def scores(self, photo: Pixels, head: str) -> NDArray[np.float32]:
        """The scores of ``head``, C x H x W."""
        import torch

        x = torch.tensor(photo, device=self.device).permute(2, 0, 1)[None].contiguous()
        with torch.inference_mode():
            scores = self.net(x.float() / 255)
        scores = scores[head] if isinstance(scores, dict) else scores
        return scores[0].cpu().numpy()


class OnnxNet:
    """A net that ``fcn export`` saved, run by ONNX Runtime on the CPU."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such weight file; check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 3  # errors only
        providers = ["CPUExecutionProvider"]
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=providers)
            self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
            self.settings: dict[str, Any] = json.loads(self.metadata["settings"])
            self.smallest: int = json.loads(self.metadata["smallest"])
            self.mean: list[float] = json.loads(self.metadata["mean"])
        except Exception:  # onnxruntime raises many kinds of error for a file it cannot read
            raise ValueError(
                f"{path}: not a net that `fcn export` wrote; export it again"
            ) from None
        self.outputs = {one.name: one.shape[1] for one in self.session.get_outputs()}

    def count(self, head: str) -> int:
        """The number of classes that ``head`` scores; 0 if there is no such head."""
        return self.outputs.get(self._output(head), 0)

    def scores(self, photo: Pixels, head: str) -> NDArray[np.float32]:
        """The scores of ``head``, C x H x W."""
        height, width = photo.shape[:2]
        x = photo.transpose(2, 0, 1).astype(np.float32) / 255
        short = [max(0, self.smallest - side) for side in (height, width)]
        if any(short):  # as the net pads small images: by its mean, which becomes zero
            colour = np.array(self.mean, np.float32)[:, None, None] / 255
            padded = np.broadcast_to(colour, (3, height + short[0], width + short[1])).copy()
            padded[:, :height, :width] = x
            x = padded
        (scores,) = self.session.run([self._output(head)], {"images": x[None]})
        return scores[0, :, :height, :width]

    def _output(self, head: str) -> str:
        return "scores" if list(self.outputs) == ["scores"] else head


def _exported(path: Path) -> OnnxNet | None:
    """The export of a saved net that lies next to it, unless it is stale or ONNX Runtime absent."""
    export = path.with_suffix(".onnx")
    if not (path.is_file() and export.is_file() and importlib.util.find_spec("onnxruntime")):
        return None
    net = OnnxNet(export)
    return net if net.metadata.get("source") == sha256(path) else None


class Segmenter:
    """A trained net with the names and colours of its classes.

    ``path``: a .safetensors net, as ``python -m fcn train`` saves it, or its export as .onnx. On
    the CPU, an export next to the net (of the same name) is used instead of the net.

    Raises FileNotFoundError if ``path`` does not exist, ValueError if it contains no such net.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        path = Path(path)
        if path.suffix == ".onnx":
            if device != "cpu":
                problem = "an exported net runs on the CPU"
                raise ValueError(f"{path}: {problem}; give --device cpu, or the .safetensors net")
            self.net: TorchNet | OnnxNet = OnnxNet(path)
        else:
            export = _exported(path) if device == "cpu" else None
            self.net = export or TorchNet(path, device)
        if (inputs := self.net.settings["inputs"]) != "rgb":
            raise ValueError(f"{path}: a net for {inputs.upper()}; give one for colour photos")
        remedy = "give a net that `fcn train` saved"
        metadata = self.net.metadata
        try:
            heads: dict[str, list[str]] = json.loads(metadata["classes"])
            self.head, self.classes = next(iter(heads.items()))
            count = len(self.classes)
            own = np.array(json.loads(metadata.get("palette", "[]")), np.uint8).reshape(-1, 3)
        except Exception:  # anybody may have written it: a dozen types
            raise ValueError(f"{path}: names no classes; {remedy}") from None
        if count != (scored := self.net.count(self.head)):
            problem = f'names {count} classes of "{self.head}", but its net scores {scored}'
            raise ValueError(f"{path}: {problem}; {remedy}")
        known = len(own) == count
        self.palette: Palette = own if known else palette(metadata.get("dataset", ""), count)

    def __call__(self, image: "Tensor", side: int = 512) -> "Tensor":
        """:meth:`labels` for tensors: of an image 3 x H x W, uint8; returns H x W, int64."""
        import torch

        photo = image.permute(1, 2, 0).contiguous().cpu().numpy()
        return torch.from_numpy(self.labels(photo, side).astype(np.int64))

    def labels(self, photo: Pixels, side: int = 512) -> Labels:
        """The most likely class of each pixel of a photo.

        If its longer side exceeds ``side`` pixels, the photo is first shrunk to that, which bounds
        the cost and is near the scale of the training photos; then the scores are enlarged.
        """
        height, width = photo.shape[:2]
        scale = side / max(height, width)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            photo = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR))
        return enlarged_argmax(self.net.scores(photo, self.head), height, width)


def enlarged_argmax(scores: NDArray[np.floating[Any]], height: int, width: int) -> Labels:
    """The best class, H x W, of scores C x h x w enlarged to that size bilinearly.

    Among four neighbouring cells with the same best class, that class wins everywhere. So only the
    pixels among cells that disagree are interpolated: at most borders, a small part of a photo.
    """
    cells = np.ascontiguousarray(scores.transpose(1, 2, 0))  # h x w x C
    best = cells.argmax(-1).astype(np.min_scalar_type(len(scores) - 1))
    if best.shape == (height, width):
        return best
    above, below, y = _neighbours(best.shape[0], height)
    left, right, x = _neighbours(best.shape[1], width)
    labels = best[above][:, left]
    down = np.append(best[1:], best[-1:], axis=0)
    agree = best == down
    agree[:, :-1] &= (best[:, 1:] == best[:, :-1]) & (down[:, 1:] == best[:, :-1])
    for top in range(0, height, 64):  # in strips, to bound memory
        strip = slice(top, top + 64)
        row, column = np.nonzero(~agree[above[strip]][:, left])
        a, b, t = above[strip][row], below[strip][row], y[strip][row, None]
        c, d, s = left[column], right[column], x[column, None]
        upper = cells[a, c] * (1 - s) + cells[a, d] * s
        lower = cells[b, c] * (1 - s) + cells[b, d] * s
        labels[strip][row, column] = (upper * (1 - t) + lower * t).argmax(-1)
    return labels


def _neighbours(cells: int, pixels: int) -> tuple[Any, Any, NDArray[np.float32]]:
    """For each of ``pixels``, the cells around its centre and the weight of the second."""
    place = ((np.arange(pixels) + 0.5) * cells / pixels - 0.5).clip(min=0)
    before = place.astype(np.intp).clip(max=cells - 1)
    return before, (before + 1).clip(max=cells - 1), (place - before).astype(np.float32)


def shares(labels: ArrayLike, classes: Sequence[str]) -> Shares:
    """The share of pixels of each class in ``labels`` (H x W), in percent, largest first."""
    flat = np.asarray(labels).ravel()
    counts = np.bincount(flat, minlength=len(classes)).tolist()
    found = [(name, 100 * n / flat.size) for name, n in zip(classes, counts, strict=True) if n]
    return sorted(found, key=lambda pair: -pair[1])


def write(
    photo: Path, segmenter: Segmenter, out: Path, side: int = 512
) -> tuple[list[Path], Shares]:
    """Segment a photo; write ``NAME.labels.png`` (palette) and ``NAME.overlay.png`` to ``out``.

    Returns the two paths and the share of each class. Raises ValueError if ``out`` is not writable.
    """
    image = read_pixels(photo)
    labels = segmenter.labels(image, side)
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
    from fcn.data.voc import CLASSES  # imports torch

    if segmenter.classes != [*CLASSES]:
        own, theirs = (f"{len(c)} classes, {c[0]} to {c[-1]}" for c in (segmenter.classes, CLASSES))
        problem = f"PASCAL VOC's test server expects {theirs}; this net has {own}"
        raise ValueError(f"--submission: {problem}; give --weights trained on PASCAL VOC or SBD")
    labels = segmenter.labels(read_pixels(photo), side)
    path = out / SUBMISSION / f"{photo.stem}.png"
    check_writable(path.parent, "--submission")
    _save(path, label_map(labels, voc_palette(256)))
    return path, shares(labels, segmenter.classes)


def label_map(labels: Labels, colours: Palette) -> Image.Image:
    """A palette image of ``labels`` (H x W, 0..255) in ``colours`` (C x 3, RGB)."""
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(colours.tobytes())
    return picture


def overlay(photo: Pixels, labels: Labels, segmenter: Segmenter, found: Shares) -> Image.Image:
    """The photo blended with its label map, above a legend of the classes.

    The page is 800 to 1600 pixels wide. The photo is as wide or, if tall, 10/8 of that high.
    """
    height, width = labels.shape
    fit = min(1.0, 1.25 * width / height)  # of the page's width
    page = round(min(1600, max(800, width / fit)))
    size = (max(1, round(fit * page)), max(1, round(fit * page * height / width)))
    picture = Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC)
    colours = label_map(labels, segmenter.palette).resize(size, Image.Resampling.NEAREST)
    blend = Image.blend(picture, colours.convert("RGB"), 0.55)

    font = _font(em := page // 64)
    colour = dict(zip(segmenter.classes, map(tuple, segmenter.palette.tolist()), strict=True))
    entries = [
        (colour[name], f"{' '.join(name.split())}  {share:.1f} %")
        for name, share in found
        if share >= 0.05
    ]
    widest = max((font.getlength(text) for _, text in entries), default=0)
    columns = max(1, min(4, int(page / (widest + 4 * em))))
    line, column = 7 * em // 4, page // columns
    sheet = Image.new("RGB", (page, size[1] + em + line * -(-len(entries) // columns)), "white")
    sheet.paste(blend)
    draw = ImageDraw.Draw(sheet)
    for i, (fill, text) in enumerate(entries):
        x, y = i % columns * column + em // 2, size[1] + em + i // columns * line
        draw.rectangle((x, y, x + 2 * em, y + em - 1), fill=fill, outline="grey")
        draw.text((x + 5 * em // 2, y + em // 2), text, fill="black", font=font, anchor="lm")
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans from matplotlib's files, as Pillow's own font has little more than ASCII."""
    found = importlib.util.find_spec("matplotlib")  # does not import it
    if found and found.origin:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)


def _save(path: Path, picture: Image.Image) -> None:
    with atomic_write(path) as partial:
        # For such pictures this strategy is several times as fast as Pillow's, with smaller files.
        picture.save(partial, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
