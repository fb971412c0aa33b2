"""FCN-32s, FCN-16s and FCN-8s: a trunk, score layers on maps of several strides, and upsampling (section 4).

The net of the paper's figure 3 in one file: a 1x1 convolution scores the coarsest map; for each finer stride the scores
so far are upsampled twice and the scores of a skip are added; the last upsampling reaches the pixels.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fcn.classifiers import CLASSIFIERS
from fcn.convolutionalize import Backbone, backbone
from fcn.environment import atomic_write
from fcn.geometry import IMAGE, offset_between
from fcn.preprocessing import MEANS, Inputs, as_caffe
from fcn.pretrained import (
    _check_finite,
    _read_file,
    LoadReport,
    _some,
    load_into,
    load_pretrained,
)
from fcn.upsampling import Upsampling, crop, size_of, upsample_onto, upsampler

SMALLEST = 32  # pixels: one cell of the coarsest map; smaller images are padded up to it (tight alignment)
DIVISIONS = {32: (), 16: (16,), 8: (16, 8)}  # the strides of the skips of each net
SKIP_SCALES = {16: 0.01, 8: 0.0001}  # of the maps that at-once nets score, in the authors' release
Fusion = Literal["sum", "max", "finest"]


class Head(nn.Module):
    """The scores of one task: a score layer for each stride, summed from coarse to fine, upsampled to the pixels.

    Score layers start at zero (section 4.1), so a new skip changes nothing until it has learned something.
    """

    def __init__(
        self, features: Backbone, stride: int, num_classes: int, alignment: str, upsampling: Upsampling,
        fusion: Fusion, scaled_skips: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.reference = alignment == "reference"
        self.first, *self.skips = (stride,) if fusion == "finest" else (32, *DIVISIONS[stride])
        self.fuse = torch.maximum if fusion == "max" else torch.add
        self.scales = SKIP_SCALES if scaled_skips else {}
        self.fields = features.fields
        for s in (self.first, *self.skips):
            score = nn.Conv2d(features.channels[s], num_classes, 1)
            for parameter in score.parameters():
                nn.init.zeros_(parameter)
            self.add_module(f"score{s}", score)
        grid = self.fields[self.first]
        for s in self.skips:
            layer = upsampler(num_classes, grid, self.fields[s], upsampling)
            self.add_module(f"upscore{2 * s}", layer)
            grid = grid.then(layer.field) if self.reference else self.fields[s]
        # Only intermediate layers learn; the last one is fixed to bilinear interpolation (section 4.3).
        last: Upsampling = "interpolate" if upsampling == "interpolate" else "bilinear"
        self.add_module(f"upscore{stride}", upsampler(num_classes, grid, IMAGE, last))
        self.stride = stride

    def forward(self, maps: dict[int, Tensor], size: tuple[int, int]) -> Tensor:
        """Scores N x C x H x W for the image ``size`` (H, W), from the trunk's maps."""
        scores, grid = self.score(maps, self.first), self.fields[self.first]
        for s in self.skips:
            upscore, skip, fine = getattr(self, f"upscore{2 * s}"), self.score(maps, s), self.fields[s]
            if self.reference:  # both are cropped to what they share, whose border lies outside the image
                scores, grid = upscore(scores), grid.then(upscore.field)
                skip = crop(skip, offset_between(fine, grid), size_of(scores))
                scores = self.fuse(skip, crop(scores, 0, size_of(skip)))
            else:
                scores, grid = self.fuse(skip, upsample_onto(scores, upscore, grid, fine, size_of(skip))), fine
        last = getattr(self, f"upscore{self.stride}")
        if self.reference:
            return crop(last(scores), offset_between(grid.then(last.field), IMAGE), size)
        return upsample_onto(scores, last, grid, IMAGE, size)

    def score(self, maps: dict[int, Tensor], stride: int) -> Tensor:
        """The scores of the map at ``stride`` alone, on its own grid."""
        features = maps[stride] * self.scales[stride] if stride in self.scales else maps[stride]
        return getattr(self, f"score{stride}")(features)


class FCN(nn.Module):
    """A fully convolutional net for images of any size (section 4).

    net: "alexnet" (CaffeNet), "bvlc_alexnet", "vgg16" or "googlenet"; stride: 32, 16 or 8, of the finest scores.
    num_classes: for one task; or heads: {name: classes} for several on one trunk, as for SIFT Flow (section 5).
    alignment: "tight" (the maps cover the image and no more) or "reference" (100 pixels of padding and crops, as the
    authors' release); upsampling: "bilinear" (fixed), "learned" (intermediate layers learned, the last one fixed) or
    "interpolate" (the same values as "bilinear", faster on a CPU; tight alignment only); width scales the channels.
    inputs: "rgb", "hha" (depth in three channels) or "rgbd" (colour and log depth in four: early fusion, section 5).
    fusion: "sum" of the skips, their "max", which the authors gave up, or the "finest" alone, without the coarser
    (section 4.2); scaled_skips multiplies the skips' maps by ``SKIP_SCALES``, as the nets do that are trained at once.

    Called with images N x 3 x H x W, RGB in 0..1, it returns scores N x C x H x W, or {head: scores} for ``heads``.
    Other inputs are divided by 255 in the same way: N x 4 x H x W for "rgbd".
    Raises ValueError for an unknown setting, and for images of another shape or in bytes.
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
        if net not in CLASSIFIERS:
            raise ValueError(f'unknown net "{net}": choose one of {", ".join(CLASSIFIERS)}')
        if not isinstance(stride, int) or stride not in DIVISIONS:
            raise ValueError(f"unknown stride {stride!r}: choose 32, 16 or 8")
        if (num_classes is None) == (heads is None):
            raise ValueError("give either num_classes, for one task, or heads, for several")
        choices = {"upsampling": (upsampling, Upsampling), "inputs": (inputs, Inputs), "fusion": (fusion, Fusion)}
        for setting, (value, kind) in choices.items():
            if value not in get_args(kind):
                raise ValueError(f'unknown {setting} "{value}": choose one of {", ".join(get_args(kind))}')
        if alignment == "reference" and upsampling == "interpolate":
            raise ValueError('upsampling="interpolate" has no border to crop: use it with alignment="tight"')
        self.single = heads is None
        self.classes = {"scores": num_classes} if num_classes is not None else dict(heads or {})
        if not self.classes or not all(isinstance(c, int) and c >= 1 for c in self.classes.values()):
            raise ValueError(f"each head has at least one class, and there is at least one head, not {self.classes}")
        for name in self.classes:
            if not isinstance(name, str) or not name or "." in name or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"a head cannot be called {name!r}: choose another name, without dots")
        if not 0 < width < math.inf:
            raise ValueError(f"width scales the channels: above 0, not {width}")
        self.settings: dict[str, Any] = {
            "net": net, "stride": stride, "num_classes": num_classes, "heads": heads and dict(heads),
            "alignment": alignment, "upsampling": upsampling, "width": width,
            "inputs": inputs, "fusion": fusion, "scaled_skips": scaled_skips,
        }  # fmt: skip
        self.inputs: Inputs = inputs
        self.channels = len(MEANS[inputs])
        self.register_buffer("mean", torch.tensor(MEANS[inputs]))
        self.trunk = backbone(CLASSIFIERS[net](width=width, channels=self.channels), alignment)
        self.heads = nn.ModuleDict(
            {name: Head(self.trunk, stride, classes, alignment, upsampling, fusion, scaled_skips)
             for name, classes in self.classes.items()}
        )  # fmt: skip

    def branches(self) -> list[list[nn.Module]]:
        """The layers that lead to the coarsest scores, for ``fcn.receptive_field``."""
        return [list(self.trunk)]

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        if images.ndim != 4 or images.shape[1] != self.channels or 0 in images.shape[2:]:
            wanted = f"N x {self.channels} x H x W, {self.inputs.upper()}, divided by 255"
            raise ValueError(f"images must be {wanted}, not {' x '.join(map(str, images.shape))}")
        if not images.is_floating_point():
            raise ValueError(f"images must be {self.inputs.upper()} in 0..1, not {images.dtype}: divide bytes by 255")
        height, width = images.shape[-2:]
        x = as_caffe(images, self.inputs, self.mean)
        if min(height, width) < SMALLEST and self.settings["alignment"] == "tight":
            x = F.pad(x, (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height)))
        maps = self.trunk(x)
        scores = {name: head(maps, (height, width)) for name, head in self.heads.items()}
        return scores["scores"] if self.single else scores

    def load_pretrained(self, source: Any) -> "LoadReport":
        """Copy ImageNet weights into the trunk: a .caffemodel, a .safetensors file or a torchvision weights enum.

        Returns what was loaded, missing, left over and of another shape, by name.
        """
        return load_pretrained(self, source)

    @torch.no_grad()
    def upgrade_from(self, coarser: "FCN") -> None:
        """Take over the trunk and the scores of an FCN of a coarser stride (section 4.2: 32s to 16s to 8s).

        The new score layers stay at zero, so that the predictions start where the coarser net's ended: to the last
        bit of rounding where cells fall on pixels (GoogLeNet, AlexNet), and up to the kinks between cells where they
        fall between pixels (VGG16), since two linear interpolations in a row then round the corners of one. Raises
        ValueError where the two nets differ in anything but their stride and upsampling, or where ``coarser`` is finer.
        """
        ours, theirs = self.settings, coarser.settings
        keys = ["net", "num_classes", "heads", "alignment", "width", "inputs"]
        for key in keys + ["fusion", "scaled_skips"] * (theirs["stride"] < 32):
            if ours[key] != theirs[key]:
                raise ValueError(f"cannot upgrade: {key} is {ours[key]} here and {theirs[key]} in the coarser net")
        if ours["stride"] > theirs["stride"]:
            raise ValueError(f"cannot upgrade: stride {theirs['stride']} is finer than {ours['stride']}")
        if theirs["stride"] < 32 and (ours["upsampling"] == "learned") != (theirs["upsampling"] == "learned"):
            raise ValueError("cannot upgrade: one net learns its upsampling and the other does not")
        self.load_state_dict(coarser.state_dict(), strict=False)


class LateFusion(nn.Module):
    """Two FCNs, one of colour and one of HHA, whose scores are averaged (section 5, NYUDv2: RGB-HHA).

    Upsampling is linear, so that averaging at the pixels is averaging at the last layer of scores. Takes what an
    ``FCN`` takes, but for ``inputs``; called with images N x 6 x H x W, RGB above HHA, both divided by 255.
    """

    def __init__(self, net: str = "vgg16", stride: int = 32, num_classes: int | None = None, **settings: Any) -> None:
        super().__init__()
        self.colour = FCN(net, stride, num_classes, inputs="rgb", **settings)
        self.hha = FCN(net, stride, num_classes, inputs="hha", **settings)
        self.settings: dict[str, Any] = self.colour.settings | {"inputs": "rgb-hha"}
        self.single, self.classes = self.colour.single, self.colour.classes

    def branches(self) -> list[list[nn.Module]]:
        """The layers that lead to the coarsest scores, for ``fcn.receptive_field``."""
        return self.colour.branches() + self.hha.branches()

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        if images.ndim != 4 or images.shape[1] != 6:
            raise ValueError(f"images must be N x 6 x H x W, RGB above HHA, not {' x '.join(map(str, images.shape))}")
        colour, hha = self.colour(images[:, :3]), self.hha(images[:, 3:])
        if self.single:
            return (colour + hha) / 2
        return {head: (colour[head] + hha[head]) / 2 for head in colour}

    def load_pretrained(self, source: Any) -> "LoadReport":
        """Copy ImageNet weights into both trunks, as ``FCN.load_pretrained`` does; returns the report of the first."""
        report = self.colour.load_pretrained(source)
        self.hha.load_pretrained(source)
        return report

    def upgrade_from(self, coarser: "LateFusion | FCN", hha: FCN | None = None) -> None:
        """Take over a coarser two-stream net, or a net of colour and one of HHA that were trained apart.

        Raises ValueError as ``FCN.upgrade_from`` does, and where a stream has no net to start from.
        """
        colour = coarser.colour if isinstance(coarser, LateFusion) else coarser
        hha = coarser.hha if isinstance(coarser, LateFusion) else hha
        if hha is None:
            raise ValueError("cannot upgrade: two streams start from two nets, one of colour and one of HHA")
        self.colour.upgrade_from(colour)
        self.hha.upgrade_from(hha)


def build(settings: dict[str, Any]) -> FCN | LateFusion:
    """The net that ``settings`` (a net's own ``settings``) describe."""
    if settings.get("inputs") == "rgb-hha":
        return LateFusion(**{key: value for key, value in settings.items() if key != "inputs"})
    return FCN(**settings)


def save(module: nn.Module, path: str | Path, metadata: Mapping[str, str], half: bool = True) -> None:
    """Write a net's parameters and buffers as safetensors, with ``metadata`` and the net's own ``settings`` as JSON.

    ``half`` writes parameters in 16 bits (buffers keep theirs: the mean needs them). The file appears whole or not at
    all. Raises ValueError where a number is not finite, or too large for 16 bits.
    """
    path = Path(path)
    parameters = {name for name, _ in module.named_parameters()}
    tensors = {
        name: (tensor.half() if half and name in parameters else tensor).cpu().contiguous()
        for name, tensor in module.state_dict().items()
    }
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path}: not written, numbers not finite or too large for 16 bits in {_some(bad)}")
    metadata = dict(metadata)
    if hasattr(module, "settings"):
        metadata["settings"] = json.dumps(module.settings)
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata)


def load(path: str | Path) -> "FCN | LateFusion":
    """Rebuild the net that ``save`` wrote to ``path``, in evaluation mode.

    Raises FileNotFoundError where there is no such file, ValueError where it is truncated, foreign or incomplete.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: not a net of this package; give the .safetensors file that it saved")
    tensors = _read_file(path)
    _check_finite(tensors, path)
    try:
        with safe_open(path, "pt") as file:
            net = build(json.loads(file.metadata()["settings"]))
    except (TypeError, KeyError, ValueError, RuntimeError, MemoryError):  # the last two for a net too large to be one
        raise ValueError(f"{path}: does not say which net it is for; give a file that this package saved") from None
    report = load_into(net, tensors, source=str(path))
    if absent := net.state_dict().keys() - set(report.loaded):
        raise ValueError(f"{path}: incomplete, without {_some(sorted(absent))}; fetch or train the weights again")
    return net.eval()
