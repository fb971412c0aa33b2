"""A trained net with the names and colours of its classes: photos to labels."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from fcn.data.palettes import Palette, palette
from fcn.environment import resolve_device, sha256
from fcn.predict import nets, tiles
from fcn.predict.enlarge import Axis, Labels, enlarged_strips, joined
from fcn.predict.nets import Pixels, Scores

if TYPE_CHECKING:
    from torch import Tensor

DAMAGED = (
    *(LookupError, ValueError, AttributeError, TypeError, StopIteration, OverflowError),
    RecursionError,  # brackets in brackets in brackets
)


class View(Protocol):
    """The pixels of a photo, H x W x 3, of which a part can be read: an array or a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, part: tuple[slice, slice], /) -> Pixels: ...


def scaled_size(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Height and width of a photo, shrunk so that its longer side is at most ``side`` pixels."""
    scale = 1.0 if side is None else side / max(height, width)
    if scale >= 1:
        return height, width
    return max(1, round(height * scale)), max(1, round(width * scale))


class Segmenter:
    """A trained net with the names and colours of its classes.

    ``path``: a .safetensors net, as ``python -m fcn train`` saves it, or its export as .onnx. On
    the CPU, an export next to the net (of the same name) is used instead of the net. ``device``:
    one of torch's, such as "cuda:1", or "auto" for the best there is.

    Raises FileNotFoundError if ``path`` does not exist, ValueError if it contains no such net or
    there is no such device.
    """

    def __init__(self, path: str | Path, device: str = "cpu") -> None:
        path = Path(path)
        self.path = path
        found = resolve_device(device.partition(":")[0])
        self.net = nets.load(path, found if device == "auto" else device)
        if (inputs := self.net.settings["inputs"]) != "rgb":
            raise ValueError(f"{path}: a net for {inputs.upper()}; give one for colour photos")
        remedy = "give a net that `fcn train` saved"
        metadata = self.net.metadata
        try:
            heads: dict[str, list[str]] = json.loads(metadata["classes"])
            self.head, self.classes = next(iter(heads.items()))
            count = len(self.classes)
            if not all(isinstance(name, str) for name in self.classes):
                raise TypeError
            own = np.array(json.loads(metadata.get("palette", "[]")), np.uint8).reshape(-1, 3)
        except DAMAGED:
            raise ValueError(f"{path}: names no classes; {remedy}") from None
        if count != (scored := self.net.count(self.head)):
            problem = f'names {count} classes of "{self.head}", but its net scores {scored}'
            raise ValueError(f"{path}: {problem}; {remedy}")
        known = len(own) == count
        self.palette: Palette = own if known else palette(metadata.get("dataset", ""), count)

    @cached_property
    def checksum(self) -> str:
        """The net's checksum, which its export shares; of nets saved without one, the file's."""
        metadata = self.net.metadata
        return metadata.get("checksum") or metadata.get("source") or sha256(self.path)

    def __call__(self, image: "Tensor", side: int = 512) -> "Tensor":
        """:meth:`labels` for tensors: of an image 3 x H x W, uint8; returns H x W, int64."""
        import torch

        if not isinstance(image, torch.Tensor) or image.dtype != torch.uint8 or image.ndim != 3:
            given = f"{getattr(image, 'dtype', type(image).__name__)}"
            raise ValueError(
                f"an image is a tensor 3 x H x W, uint8, not {given}; for others: labels"
            )
        photo = image.permute(1, 2, 0).contiguous().cpu().numpy()
        return torch.from_numpy(self.labels(photo, side).astype(np.int64))

    def labels(self, photo: Pixels, side: int | None = 512, core: int | None = None) -> Labels:
        """The most likely class of each pixel of a photo.

        If its longer side exceeds ``side`` pixels, the photo is first shrunk to that, which bounds
        the cost and is near the scale of the training photos; then the scores are enlarged. None:
        its own size. Large photos are scored in tiles of ``core`` pixels, with equal labels.
        """
        if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.shape[2:] != (3,):
            given = f"{getattr(photo, 'dtype', type(photo).__name__)} {getattr(photo, 'shape', '')}"
            raise ValueError(f"a photo is an array H x W x 3, uint8, not {given.strip()}")
        if side is not None and side < 1:
            raise ValueError(f"side is the longer side in pixels, at least 1, not {side}")
        height, width = photo.shape[:2]
        size = scaled_size(height, width, side)
        if size != (height, width):
            picture = Image.fromarray(photo)
            photo = np.asarray(picture.resize(size[::-1], Image.Resampling.BILINEAR))
        return joined(self.strips(photo, height, width, core), height)

    def strips(
        self, photo: View, height: int, width: int, core: int | None = None
    ) -> Iterator[Labels]:
        """The labels H x W of a photo that has been shrunk to ``photo``, some rows at a time."""
        if core is None and self.at_once(photo):
            return self.enlarged(self.score([photo[:, :]])[0], height, width)
        return self._tiled(photo, height, width, core)

    def at_once(self, photo: View) -> bool:
        """True if a photo is scored without tiles."""
        return _pixels(photo) <= self._net(photo).whole

    def score(self, photos: Sequence[Pixels]) -> Scores:
        """The scores, N x C x h x w, of photos of one size."""
        return self._net(photos[0]).batch(np.stack(photos), self.head)

    def enlarged(self, scores: Scores, height: int, width: int) -> Iterator[Labels]:
        """The labels H x W of scores C x h x w, some rows at a time."""
        rows, columns = Axis.of(scores.shape[1], height), Axis.of(scores.shape[2], width)
        return enlarged_strips(scores, rows, columns)

    def _net(self, photo: View) -> nets.TorchNet | nets.OnnxNet:
        return self.net if _pixels(photo) <= self.net.whole else self._larger

    @cached_property
    def _larger(self) -> nets.TorchNet | nets.OnnxNet:
        return nets.for_large(self.net, self.path)

    def _tiled(self, photo: View, height: int, width: int, core: int | None) -> Iterator[Labels]:
        margin = tiles.margin(self.net.settings)
        net = self._larger
        core = core or tiles.plan(margin, net.whole)
        h, w = photo.shape[:2]
        rows, columns = Axis.of(h, height), Axis.of(w, width)
        for down in tiles.tiles(h, core, margin):
            y = rows.pixels(down.start, down.stop)
            labels = np.empty((y.stop - y.start, width), np.min_scalar_type(len(self.classes)))
            for across in tiles.tiles(w, core, margin):
                x = columns.pixels(across.start, across.stop)
                window = photo[down.window, across.window]
                scores = net.part(window, self.head, down.inside(h), across.inside(w))
                parts = rows.part(y, down.start), columns.part(x, across.start)
                labels[:, x] = joined(enlarged_strips(scores, *parts), len(labels))
            yield labels


def _pixels(photo: View) -> int:
    return photo.shape[0] * photo.shape[1]
