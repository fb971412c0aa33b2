"""FCN-32s, FCN-16s and FCN-8s: a trunk, score layers on maps of several strides, and upsampling (section 4).

The net of the paper's figure 3 in one file: a 1x1 convolution scores the coarsest map; for each finer stride the scores
so far are upsampled twice and the scores of a skip are added; the last upsampling reaches the pixels.
"""

import math
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn import weights as weight_files
from fcn.classifiers import CLASSIFIERS
from fcn.convolutionalize import Trunk, trunk
from fcn.geometry import IMAGE, offset_between
from fcn.upsampling import Upsampling, crop, size_of, upsample_onto, upsampler

MEAN_BGR = (104.00699, 116.66877, 122.67892)  # of ImageNet's pixels, as the authors' VOC nets subtract it
SMALLEST = 32  # pixels: one cell of the coarsest map; smaller images are padded up to it
DIVISIONS = {32: (), 16: (16,), 8: (16, 8)}  # the strides of the skips of each net


class Head(nn.Module):
    """The scores of one task: a score layer for each stride, summed from coarse to fine, upsampled to the pixels.

    Score layers start at zero (section 4.1), so a new skip changes nothing until it has learned something.
    """

    score32: nn.Conv2d

    def __init__(self, features: Trunk, stride: int, num_classes: int, alignment: str, upsampling: Upsampling) -> None:
        super().__init__()
        self.reference = alignment == "reference"
        self.skips = DIVISIONS[stride]
        self.fields = features.fields
        for s in (32, *self.skips):
            score = nn.Conv2d(features.channels[s], num_classes, 1)
            for parameter in score.parameters():
                nn.init.zeros_(parameter)
            self.add_module(f"score{s}", score)
        grid = self.fields[32]
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
        scores, grid = self.score32(maps[32]), self.fields[32]
        for s in self.skips:
            upscore, skip, fine = getattr(self, f"upscore{2 * s}"), getattr(self, f"score{s}")(maps[s]), self.fields[s]
            if self.reference:  # both are cropped to what they share, whose border lies outside the image
                scores, grid = upscore(scores), grid.then(upscore.field)
                skip = crop(skip, offset_between(fine, grid), size_of(scores))
                scores = skip + crop(scores, 0, size_of(skip))
            else:
                scores, grid = skip + upsample_onto(scores, upscore, grid, fine, size_of(skip)), fine
        last = getattr(self, f"upscore{self.stride}")
        if self.reference:
            return crop(last(scores), offset_between(grid.then(last.field), IMAGE), size)
        return upsample_onto(scores, last, grid, IMAGE, size)


class FCN(nn.Module):
    """A fully convolutional net for images of any size (section 4).

    net: "alexnet" (CaffeNet), "vgg16" or "googlenet"; stride: 32, 16 or 8, of the finest scores.
    num_classes: for one task; or heads: {name: classes} for several on one trunk, as for SIFT Flow (section 5).
    alignment: "tight" (the maps cover the image and no more) or "reference" (100 pixels of padding and crops, as the
    authors' release); upsampling: "bilinear" (fixed), "learned" (intermediate layers learned, the last one fixed) or
    "interpolate" (the same values as "bilinear", faster on a CPU; tight alignment only); width scales the channels.

    Called with images N x 3 x H x W, RGB in 0..1, it returns scores N x C x H x W, or {head: scores} for ``heads``.
    Raises ValueError for an unknown net, stride, alignment or upsampling, and for images of another shape or in bytes.
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
    ) -> None:
        super().__init__()
        if net not in CLASSIFIERS:
            raise ValueError(f'unknown net "{net}": choose one of {", ".join(CLASSIFIERS)}')
        if not isinstance(stride, int) or stride not in DIVISIONS:
            raise ValueError(f"unknown stride {stride!r}: choose 32, 16 or 8")
        if (num_classes is None) == (heads is None):
            raise ValueError("give either num_classes, for one task, or heads, for several")
        if upsampling not in get_args(Upsampling):
            raise ValueError(f'unknown upsampling "{upsampling}": choose one of {", ".join(get_args(Upsampling))}')
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
        }  # fmt: skip
        self.register_buffer("mean", torch.tensor(MEAN_BGR))
        self.trunk = trunk(CLASSIFIERS[net](width=width), alignment)
        self.heads = nn.ModuleDict(
            {name: Head(self.trunk, stride, c, alignment, upsampling) for name, c in self.classes.items()}
        )

    def branches(self) -> list[list[nn.Module]]:
        """The layers that lead to the coarsest scores, for ``fcn.receptive_field``."""
        return [list(self.trunk)]

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
            raise ValueError(f"images must be N x 3 x H x W, RGB in 0..1, not {' x '.join(map(str, images.shape))}")
        if not images.is_floating_point():
            raise ValueError(f"images must be RGB in 0..1, not {images.dtype}: divide bytes by 255")
        height, width = images.shape[-2:]
        images = images.to(self.mean.dtype)
        x = images.flip(1) * 255 - self.mean.view(1, 3, 1, 1)  # BGR minus the mean, as Caffe's weights expect
        if min(height, width) < SMALLEST:
            x = F.pad(x, (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height)))
        maps = self.trunk(x)
        scores = {name: head(maps, (height, width)) for name, head in self.heads.items()}
        return scores["scores"] if self.single else scores

    def load_pretrained(self, source: Any) -> "weight_files.LoadReport":
        """Copy ImageNet weights into the trunk: a .caffemodel, a .safetensors file or a torchvision weights enum.

        Returns what was loaded, missing, left over and of another shape, by name.
        """
        return weight_files.load_pretrained(self, source)

    @torch.no_grad()
    def upgrade_from(self, coarser: "FCN") -> None:
        """Take over the trunk and the scores of an FCN of a coarser stride (section 4.2: 32s to 16s to 8s).

        The new score layers stay at zero, so that the predictions start where the coarser net's ended: to the last
        bit of rounding where cells fall on pixels (GoogLeNet, AlexNet), and up to the kinks between cells where they
        fall between pixels (VGG16), since two linear interpolations in a row then round the corners of one. Raises
        ValueError where the two nets differ in anything but their stride and upsampling, or where ``coarser`` is finer.
        """
        ours, theirs = self.settings, coarser.settings
        for key in ("net", "num_classes", "heads", "alignment", "width"):
            if ours[key] != theirs[key]:
                raise ValueError(f"cannot upgrade: {key} is {ours[key]} here and {theirs[key]} in the coarser net")
        if ours["stride"] > theirs["stride"]:
            raise ValueError(f"cannot upgrade: stride {theirs['stride']} is finer than {ours['stride']}")
        if theirs["stride"] < 32 and (ours["upsampling"] == "learned") != (theirs["upsampling"] == "learned"):
            raise ValueError("cannot upgrade: one net learns its upsampling and the other does not")
        self.load_state_dict(coarser.state_dict(), strict=False)


def build(settings: dict[str, Any]) -> FCN:
    """The net that ``settings`` (an FCN's own ``settings``) describe."""
    return FCN(**settings)


def load(path: str | Path) -> FCN:
    """The net saved at ``path`` (safetensors, with its settings inside), ready for evaluation.

    Raises FileNotFoundError, or ValueError naming the file, where it holds no net of this package.
    """
    return weight_files.load_model(path)
