"""FCN-32s, FCN-16s and FCN-8s: backbone, score layers with skips, upsampling (section 4).

The net of the paper's figure 3 in one file: a 1x1 convolution scores the coarsest map; for each
skip, the scores are upsampled and the scores of the finer map added; the last upsampling reaches
the pixels.
"""

import json
import math
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fcn import pretrained
from fcn.classifiers import CLASSIFIERS
from fcn.convolutionalize import Backbone, backbone
from fcn.environment import atomic_write, machine_fault
from fcn.geometry import IMAGE, ReceptiveField, offset_between, receptive_field
from fcn.preprocessing import MEANS, Inputs, as_caffe
from fcn.pretrained import LoadReport, first_few
from fcn.upsampling import (
    CoarseScores,
    Upsampling,
    bilinear_matrix,
    crop,
    upsample_onto,
    upsampler,
)

SMALLEST = 32  # pixels: with tight alignment, smaller images are padded to one cell at stride 32
SKIPS = {32: (), 16: (16,), 8: (16, 8)}  # strides of the skips of each net
SKIP_SCALES = {16: 0.01, 8: 0.0001}  # factors for the skips' maps in the authors' at-once net
Fusion = Literal["sum", "max", "finest"]
SPARE = 1 << 24  # numbers, 64 MB: classifiers have layers that their FCN does not keep


class Head(nn.ModuleDict):
    """Scores of one task: one score layer per stride, fused from coarse to fine, upsampled.

    ``score{s}`` scores the map at stride s; ``upscore{s}`` upsamples the scores at s. Score layers
    start at zero (section 4.1), so a new skip changes nothing until it has learned something.
    """

    def __init__(self, features: Backbone, num_classes: int, settings: dict[str, Any]) -> None:
        super().__init__()
        stride, fusion = settings["stride"], settings["fusion"]
        upsampling: Upsampling = settings["upsampling"]
        self.strides = (stride,) if fusion == "finest" else (32, *SKIPS[stride])
        self.skips = self.strides[1:]
        self.fuse = torch.maximum if fusion == "max" else torch.add
        self.scales = SKIP_SCALES if settings["scaled_skips"] else {}
        self.fields: dict[int, ReceptiveField] = {**features.fields, 1: IMAGE}
        for s in self.strides:
            self[f"score{s}"] = nn.Conv2d(features.channels[s], num_classes, 1)
            for parameter in self[f"score{s}"].parameters():
                nn.init.zeros_(parameter)
        for coarse, fine in pairwise((*self.strides, 1)):
            # Only intermediate layers learn; the last is fixed to bilinear (section 4.3).
            kind = "bilinear" if fine == 1 and upsampling == "learned" else upsampling
            grids = self.fields[coarse], self.fields[fine]
            self[f"upscore{coarse}"] = upsampler(num_classes, *grids, kind)

    def forward(self, maps: dict[int, Tensor], size: Sequence[int]) -> Tensor:
        """Scores N x C x H x W for an image of ``size`` (H, W), from the maps of the backbone."""
        return self.upsample(self.fused(maps), self.strides[-1], 1, size)

    def fused(self, maps: dict[int, Tensor]) -> Tensor:
        """The scores at the finest stride, skips included: N x C x h x w."""
        scores = self.score(maps, self.strides[0])
        for coarse, fine in pairwise(self.strides):
            skip = self.score(maps, fine)
            scores = self.fuse(skip, self.upsample(scores, coarse, fine, skip.shape[-2:]))
        return scores

    def coarse(self, maps: dict[int, Tensor], size: Sequence[int]) -> CoarseScores:
        """The result of ``forward`` before the last upsampling, which no setting learns."""
        return self.factors(self.fused(maps), self.fields[self.strides[-1]], size, replicate=True)

    @staticmethod
    def factors(
        cells: Tensor, grid: ReceptiveField, size: Sequence[int], replicate: bool
    ) -> CoarseScores:
        """Scores on ``grid`` with the matrices that upsample them to the pixels."""
        rows, columns = (
            bilinear_matrix(c, n, grid, IMAGE, replicate, cells.device)
            for c, n in zip(cells.shape[-2:], size, strict=True)
        )
        return CoarseScores(cells, rows, columns)

    def score(self, maps: dict[int, Tensor], stride: int) -> Tensor:
        """The scores of the map at ``stride`` alone."""
        features = maps[stride] * self.scales[stride] if stride in self.scales else maps[stride]
        return self[f"score{stride}"](features)

    def upsample(self, scores: Tensor, coarse: int, fine: int, size: Sequence[int]) -> Tensor:
        """Scores at stride ``coarse``, upsampled onto the first ``size`` cells at ``fine``."""
        layer = self[f"upscore{coarse}"]
        return upsample_onto(scores, layer, self.fields[coarse], self.fields[fine], size)


class ReleaseHead(Head):
    """The head of the authors' release, for the maps of a padded image.

    Upsampled scores keep their own grid; skips are cropped to it, and the result to the image.
    """

    def forward(self, maps: dict[int, Tensor], size: Sequence[int]) -> Tensor:
        scores, grid = self.placed(maps)
        layer = self[f"upscore{self.strides[-1]}"]
        return crop(layer(scores), offset_between(grid.then(receptive_field(layer)), IMAGE), size)

    def placed(self, maps: dict[int, Tensor]) -> tuple[Tensor, ReceptiveField]:
        """The scores at the finest stride, skips included, and their grid."""
        scores, grid = self.score(maps, self.strides[0]), self.fields[self.strides[0]]
        for coarse, fine in pairwise(self.strides):
            layer = self[f"upscore{coarse}"]
            scores, grid = layer(scores), grid.then(receptive_field(layer))
            offset = offset_between(self.fields[fine], grid)
            skip = crop(self.score(maps, fine), offset, scores.shape[-2:])
            scores = self.fuse(skip, crop(scores, 0, skip.shape[-2:]))
        return scores, grid

    def coarse(self, maps: dict[int, Tensor], size: Sequence[int]) -> CoarseScores:
        return self.factors(*self.placed(maps), size, replicate=False)


class FCN(nn.Module):
    """A fully convolutional net for images of any size (section 4).

    net: "alexnet" (CaffeNet), "bvlc_alexnet", "vgg16" or "googlenet"; stride: 32, 16 or 8.
    num_classes: for one task; or heads: {name: classes} for several on one backbone (section 5).
    alignment: "tight" (maps cover just the image) or "reference" (padding and crops, as released).
    upsampling: "bilinear", "learned" (except for the last layer) or "interpolate" (as "bilinear",
    faster on a CPU, for tight alignment only); width: scales the number of channels.
    inputs: "rgb", "hha" (depth as three channels) or "rgbd" (a fourth channel: early fusion).
    fusion: "sum" of the scores, their "max", or only the "finest" (section 4.2).
    scaled_skips: multiply the maps of the skips by ``SKIP_SCALES``, as the at-once nets do.

    Takes N x 3 x H x W, RGB in [0, 1] ("rgbd": N x 4 x H x W); returns scores N x C x H x W, or
    {head: scores}. With ``upsample=False`` they are ``fcn.upsampling.CoarseScores``, from which
    ``fcn.losses`` computes the loss without storing the scores of all pixels. Raises ValueError for
    an invalid setting or images of the wrong shape or type.
    """

    mean: Tensor

    def __init__(
        self,
        net: str = "vgg16",
        stride: int = 8,
        num_classes: int | None = None,
        *,
        heads: dict[str, int] | None = None,
        alignment: str = "tight",
        upsampling: Upsampling = "bilinear",
        width: float = 1.0,
        inputs: Inputs = "rgb",
        fusion: Fusion = "sum",
        scaled_skips: bool = False,
    ) -> None:
        super().__init__()
        _check_choice("net", net, CLASSIFIERS)
        stride, num_classes = _whole(stride), _whole(num_classes)
        heads = heads and {name: _whole(count) for name, count in heads.items()}
        if not isinstance(stride, int) or stride not in SKIPS:
            raise ValueError(f"unknown stride {stride!r}: choose 32, 16 or 8")
        _check_choice("upsampling", upsampling, get_args(Upsampling))
        _check_choice("inputs", inputs, get_args(Inputs))
        _check_choice("fusion", fusion, get_args(Fusion))
        if alignment == "reference" and upsampling == "interpolate":
            raise ValueError('upsampling="interpolate" needs alignment="tight"')
        if not 0 < width < math.inf:
            raise ValueError(f"width scales the channels: it must be above 0, not {width}")
        if (num_classes is None) == (heads is None):
            raise ValueError("give either num_classes, for one task, or heads, for several")
        self.single = heads is None
        self.classes = {"scores": num_classes} if num_classes is not None else dict(heads or {})
        _check_heads(self.classes)
        self.settings: dict[str, Any] = {"net": net, "stride": stride, "num_classes": num_classes}
        self.settings |= {"heads": heads, "alignment": alignment}
        self.settings |= {"upsampling": upsampling, "width": float(width), "inputs": inputs}
        self.settings |= {"fusion": fusion, "scaled_skips": bool(scaled_skips)}
        self.inputs: Inputs = inputs
        self.channels = len(MEANS[inputs])
        self.register_buffer("mean", torch.tensor(MEANS[inputs]))
        # "trunk", not "backbone": saved weights contain the name.
        self.trunk = backbone(CLASSIFIERS[net](width=width, channels=self.channels), alignment)
        kind = Head if alignment == "tight" else ReleaseHead
        self.heads = nn.ModuleDict(
            {name: kind(self.trunk, c, self.settings) for name, c in self.classes.items()}
        )

    def branches(self) -> list[list[nn.Module]]:
        """The layers before the coarsest scores, for ``fcn.receptive_field``."""
        coarsest = self.settings["stride"] if self.settings["fusion"] == "finest" else 32
        last = next(name for name, stride in self.trunk.taps.items() if stride == coarsest)
        layers = dict(self.trunk.named_children())
        return [list(layers.values())[: list(layers).index(last) + 1]]

    def forward(self, images: Tensor, upsample: bool = True) -> Any:
        if images.ndim != 4 or images.shape[1] != self.channels or 0 in images.shape[2:]:
            expected = f"N x {self.channels} x H x W, {self.inputs.upper()}, divided by 255"
            raise ValueError(f"images must be {expected}, not {[*images.shape]}")
        if not images.is_floating_point():
            raise ValueError(f"images must be in [0, 1], not {images.dtype}: divide bytes by 255")
        return self.score(self.trunk(self.prepared(images)), images.shape[-2:], upsample)

    def prepared(self, images: Tensor) -> Tensor:
        """``images`` as the backbone takes them: preprocessed, and small ones padded."""
        height, width = images.shape[-2:]
        x = as_caffe(images, self.inputs, self.mean)
        if min(height, width) < SMALLEST and self.settings["alignment"] == "tight":
            x = F.pad(x, (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height)))
        return x

    def score(self, maps: dict[int, Tensor], size: Sequence[int], upsample: bool = True) -> Any:
        """The result of ``forward`` for images of ``size`` (H, W), from the backbone's maps."""
        scores = {
            name: head(maps, size) if upsample else cast(Head, head).coarse(maps, size)
            for name, head in self.heads.items()
        }
        return scores["scores"] if self.single else scores

    def load_pretrained(self, source: Any) -> LoadReport:
        """Copy the weights of a classifier into the backbone: ``pretrained.load_pretrained``."""
        return pretrained.load_pretrained(self, source, self.settings["net"], self.inputs)

    @torch.no_grad()
    def upgrade_from(self, coarser: "FCN") -> None:
        """Copy the backbone and score layers of a coarser FCN (section 4.2: 32s to 16s to 8s).

        New score layers stay at zero, so predictions start unchanged, up to rounding, if cell
        centres fall on pixels (GoogLeNet, AlexNet). If they fall between pixels (VGG16), upsampling
        twice differs from upsampling once near cell centres. Raises ValueError if the nets differ
        in more than stride and upsampling, or ``coarser`` is finer.
        """
        ours, theirs = self.settings, coarser.settings
        skips = theirs["stride"] < 32
        shared = ["net", "num_classes", "heads", "alignment", "width", "inputs"]
        for key in shared + ["fusion", "scaled_skips"] * skips:
            if ours[key] != theirs[key]:
                values = f"{ours[key]} here and {theirs[key]} in the coarser net"
                raise ValueError(f"cannot upgrade: {key} is {values}")
        if ours["stride"] > theirs["stride"]:
            strides = f"{theirs['stride']} is finer than {ours['stride']}"
            raise ValueError(f"cannot upgrade: stride {strides}")
        if skips and (ours["upsampling"] == "learned") != (theirs["upsampling"] == "learned"):
            raise ValueError("cannot upgrade: only one of the nets learns its upsampling")
        self.load_state_dict(coarser.state_dict(), strict=False)


class LateFusion(nn.Module):
    """Two FCNs, for colour and for HHA, whose scores are averaged (section 5, NYUDv2: RGB-HHA).

    Upsampling is linear, so averaging at the pixels equals averaging the last scores. Accepts the
    arguments of ``FCN`` except ``inputs``. Takes N x 6 x H x W, RGB then HHA, divided by 255.
    """

    def __init__(
        self, net: str = "vgg16", stride: int = 32, num_classes: int | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.colour = FCN(net, stride, num_classes, inputs="rgb", **settings)
        self.hha = FCN(net, stride, num_classes, inputs="hha", **settings)
        self.settings: dict[str, Any] = self.colour.settings | {"inputs": "rgb-hha"}
        self.single, self.classes = self.colour.single, self.colour.classes

    def branches(self) -> list[list[nn.Module]]:
        """The layers before the coarsest scores, for ``fcn.receptive_field``."""
        return self.colour.branches() + self.hha.branches()

    def forward(self, images: Tensor, upsample: bool = True) -> Any:
        if images.ndim != 4 or images.shape[1] != 6:
            raise ValueError(f"images must be N x 6 x H x W, RGB then HHA, not {[*images.shape]}")
        colour = self.colour(images[:, :3], upsample)
        hha = self.hha(images[:, 3:], upsample)
        if self.single:
            return _mean(colour, hha)
        return {head: _mean(colour[head], hha[head]) for head in colour}

    def load_pretrained(self, source: Any) -> LoadReport:
        """Copy ImageNet weights into both backbones; the report covers the first."""
        report = self.colour.load_pretrained(source)
        with warnings.catch_warnings(action="ignore"):  # the same warning again
            self.hha.load_pretrained(source)
        return report

    def upgrade_from(self, coarser: "LateFusion | FCN", hha: FCN | None = None) -> None:
        """Copy a coarser late fusion net, or one net for colour and one for HHA.

        Raises ValueError as ``FCN.upgrade_from`` does, and if one of the two nets is missing.
        """
        colour = coarser.colour if isinstance(coarser, LateFusion) else coarser
        hha = coarser.hha if isinstance(coarser, LateFusion) else hha
        if hha is None:
            raise ValueError("cannot upgrade: late fusion needs two nets, for colour and for HHA")
        self.colour.upgrade_from(colour)
        self.hha.upgrade_from(hha)


def _mean(one: Any, other: Any) -> Any:
    if isinstance(one, CoarseScores):
        return one._replace(cells=_mean(one.cells, other.cells))
    return (one + other) / 2


def _check_choice(setting: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f'unknown {setting} "{value}": choose one of {", ".join(choices)}')


def _whole(value: Any) -> Any:
    """A whole number as an int, whichever library's it is, so that settings can be stored as JSON.

    What is no whole number stays as it is.
    """
    try:
        return operator.index(value)
    except TypeError:
        return value


def _check_heads(classes: dict[str, int]) -> None:
    if not classes or not all(isinstance(c, int) and c >= 1 for c in classes.values()):
        raise ValueError(f"a net needs at least one head, a head at least one class, not {classes}")
    for name in classes:
        if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict(), name):
            raise ValueError(f"a head cannot be named {name!r}: choose another name, without dots")


Net = FCN | LateFusion


def build(settings: dict[str, Any]) -> Net:
    """Build a net from ``settings``, such as ``net.settings`` of another one."""
    if settings.get("inputs") == "rgb-hha":
        return LateFusion(**{key: value for key, value in settings.items() if key != "inputs"})
    return FCN(**settings)


def save(net: Net, path: str | Path, metadata: Mapping[str, str], half: bool = True) -> None:
    """Save a net's weights and settings, with ``metadata``, as .safetensors (atomically).

    The file contains a checksum; files of equal nets are equal. ``half`` stores the parameters, but
    not the buffers, in 16 bits. Raises ValueError if a value is NaN, infinite or too large for 16
    bits.
    """
    path = Path(path)
    parameters = {name for name, _ in net.named_parameters()}
    tensors = {
        name: (tensor.half() if half and name in parameters else tensor).cpu().contiguous()
        for name, tensor in net.state_dict().items()
    }
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path}: not saved, NaN or beyond 16 bits in {first_few(bad)}")
    entries = {**metadata, "settings": json.dumps(net.settings)}
    entries[pretrained.CHECKSUM] = pretrained.checksum(tensors, entries)
    data = serialized(tensors, entries)
    with atomic_write(path) as partial, partial.open("wb") as file:
        start = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:start])
        header["__metadata__"] = dict(sorted(entries.items()))  # safetensors' order is random
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(data)[start:])


def load(path: str | Path) -> Net:
    """Load a net that ``save`` wrote, in evaluation mode.

    Raises FileNotFoundError if the file is missing, ValueError if it is damaged or not ours.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        released = "for the authors' nets call fcn.replication.released.load"
        raise ValueError(f"{path}: not a .safetensors net of this package; {released}")
    tensors = pretrained.read_tensors(path)
    try:
        with safe_open(path, "pt") as file:
            settings = json.loads(file.metadata()["settings"])
        stored = sum(tensor.numel() for tensor in tensors.values())
        with _Limit(2 * stored + SPARE):
            net = build(settings)
    except _TooLarge:
        problem = "weights of another net, smaller than its settings say"
        raise ValueError(f"{path}: {problem}; download or train it again") from None
    except Exception as error:
        if machine_fault(error):
            raise
        raise ValueError(f"{path}: no settings; give a net that this package saved") from None
    report = pretrained.load_into(net, tensors, source=str(path))
    if absent := net.state_dict().keys() - set(report.loaded):
        raise ValueError(f"{path}: incomplete, lacks {first_few(sorted(absent))}")
    if report.left_over:
        raise ValueError(f"{path}: its net has no {first_few(report.left_over)}")
    return net.eval()


class _TooLarge(Exception):
    """The layers of a net have more parameters than its file."""


class _Limit(TorchFunctionMode):
    """Raise _TooLarge before the layers built in this context have more than ``numbers``."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.left = numbers

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        on_meta = kwargs is not None and kwargs.get("device") == "meta"  # without memory
        if func is torch.empty and not on_meta:  # as layers allocate their parameters
            size = args[0] if isinstance(args[0], Iterable) else args
            self.left -= math.prod(size)
            if self.left < 0:
                raise _TooLarge
        return func(*args, **(kwargs or {}))
