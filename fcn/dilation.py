"""A score at every pixel without upsampling: shift-and-stitch, and filter rarefaction, which computes the same (3.2).

Shift-and-stitch runs a net of stride f on f x f shifted copies of the image and interlaces the maps. Filter rarefaction
takes the stride s of a layer away and spreads the filters of all later layers instead, f'_ij = f_(i/s, j/s) where s
divides i and j and 0 elsewhere: what is now called dilation, or a trous.

The two are equal, borders included, where no layer pads at its top or its left: ``unpadded`` makes a net so. A layer
that pads puts its zeros at the edge of the map it is given, and the edge of a shifted image is another one; with
padding the two therefore agree at the cells whose receptive field lies inside all the shifted images, and only there.
Pools that round up are no obstacle: what they add lies at the bottom and at the right, where every shift ends alike.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.classifiers import Inception
from fcn.geometry import IMAGE, ReceptiveField, compose, one_of_pair, receptive_field


def shift_and_stitch(net: Callable[[Tensor], Tensor], images: Tensor, stride: int) -> Tensor:
    """The scores of ``net``, whose stride is ``stride``, for every pixel: N x C x H x W (section 3.2).

    ``images`` (N x 3 x H x W) are shifted by leaving out their first rows and columns, 0 to ``stride - 1`` of each; the
    paper shifts the other way, by padding, which gives the same cells after as much padding beforehand. Row i and
    column j of the result belong to the pixel at i + o, j + o, with o the offset of the net's first cell.

    Raises ValueError where the maps of the shifted images do not interlace: the net then has another stride.
    """
    if stride < 1:
        raise ValueError(f"the stride of a net is 1 or more, not {stride}")
    maps = [[net(images[..., dy:, dx:]) for dx in range(stride)] for dy in range(stride)]
    first = maps[0][0]
    height, width = sum(row[0].shape[-2] for row in maps), sum(one.shape[-1] for one in maps[0])
    scores = first.new_empty(*first.shape[:2], height, width)
    for dy, row in enumerate(maps):
        for dx, one in enumerate(row):
            place = scores[..., dy::stride, dx::stride]
            if place.shape != one.shape:
                raise ValueError(
                    f"shifted by {dy} and {dx}, the net gives {one.shape[-2]} x {one.shape[-1]} cells where "
                    f"{place.shape[-2]} x {place.shape[-1]} interlace: is its stride {stride}?"
                )
            place.copy_(one)
    return scores


def dilated(net: nn.Sequential, stride: int = 1) -> nn.Sequential:
    """``net`` with an overall stride of ``stride``: later strides become 1, and the filters behind them are dilated.

    The first layers keep their strides as long as ``stride`` allows. Every ``k``-th cell of the result, ``k`` times
    finer than ``net``'s map, is ``net``'s own, padding and pools that round up included; receptive fields and offset
    stay as they are. Weights are shared with ``net``, not copied; of a trunk only the last map is put out.

    Raises ValueError where ``stride`` cannot be reached by taking strides away, and TypeError for a layer that has no
    dilated form.
    """
    whole = receptive_field(net).stride
    if stride < 1 or whole % stride:
        raise ValueError(f"a net of stride {whole} can be rarefied to a divisor of it, not to {stride}")
    return _Rarefaction(stride).sequential(net).train(net.training)


def unpadded(net: nn.Sequential) -> nn.Sequential:
    """``net`` without any padding: only cells whose receptive field lies inside the image remain.

    The branches of an inception are cut to the cells that all of them have. Weights are shared with ``net``.
    """
    return _bare_sequence(net).train(net.training)


class Parallel(nn.Module):
    """Branches side by side on one map (N x C x H x W), each a sequence of layers, concatenated along the channels."""

    def __init__(self, branches: list[nn.Sequential]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(branches)

    def branches(self) -> list[nn.Sequential]:
        """The layers of each branch; geometry reads them too."""
        return list(self.parts)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], dim=1)


class Pool(nn.Module):
    """A maximum or an average over ``kernel`` x ``kernel`` cells that lie ``dilation`` apart.

    ``padding`` cells on all sides and ``more`` at the bottom and the right hold nothing: no maximum sees them. An
    average has no padding. (torch dilates no average, and rounds up only together with a stride.)
    """

    def __init__(self, kernel: int, stride: int, dilation: int, padding: int, more: int, average: bool) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation, self.average = kernel, stride, dilation, average
        self.sides = (padding, padding + more) * 2
        size = dilation * (kernel - 1) + 1
        self.field = ReceptiveField(size, Fraction(stride), Fraction(size - 1, 2) - padding)

    def extra_repr(self) -> str:
        kind = "average" if self.average else "maximum"
        return f"{kind}, kernel_size={self.kernel}, stride={self.stride}, dilation={self.dilation}"

    def forward(self, x: Tensor) -> Tensor:
        if self.average:
            filters = x.new_full((x.shape[1], 1, self.kernel, self.kernel), 1 / self.kernel**2)
            return F.conv2d(x, filters, stride=self.stride, dilation=self.dilation, groups=x.shape[1])
        x = F.pad(x, self.sides, value=float("-inf"))
        return F.max_pool2d(x, self.kernel, self.stride, dilation=self.dilation)


class _Rarefaction:
    """One walk through a net, from its first layer to its last."""

    def __init__(self, target: int) -> None:
        self.left = target  # of the stride that may be kept
        self.dilation = 1  # the product of the strides taken away so far: how far apart the cells of a filter now lie

    def sequential(self, net: nn.Sequential) -> nn.Sequential:
        return nn.Sequential(OrderedDict((name, self.layer(layer)) for name, layer in net.named_children()))

    def layer(self, layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.Sequential):
            return self.sequential(layer)
        if isinstance(layer, Inception | Parallel):
            return Parallel([self.sequential(branch) for branch in _branches(layer)])  # whose strides are all 1
        if isinstance(layer, nn.ZeroPad2d):
            return nn.ZeroPad2d(tuple(side * self.dilation for side in layer.padding))  # type: ignore[arg-type]
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            return self.strided(layer)
        if receptive_field(layer) != IMAGE:
            raise TypeError(f"{type(layer).__name__} has no dilated form here: rarefy the layers before it")
        return copy.deepcopy(layer)  # each cell for itself

    def strided(self, layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> nn.Module:
        kernel, stride, padding = one_of_pair(layer.kernel_size), one_of_pair(layer.stride), one_of_pair(layer.padding)
        dilation = self.dilation * one_of_pair(getattr(layer, "dilation", 1))
        kept = min(stride, self.left)
        if stride % kept or self.left % kept:
            raise ValueError(f"a stride of {stride} cannot be divided into {kept} that is kept and a rest")
        padding_here, dilation_here = padding * self.dilation, dilation
        more = (stride - 1) * self.dilation if getattr(layer, "ceil_mode", False) else 0
        self.left //= kept
        self.dilation *= stride // kept
        if isinstance(layer, nn.Conv2d):
            return _like(layer, kept, padding_here, dilation_here)
        average = isinstance(layer, nn.AvgPool2d)
        if average and (padding or more):
            raise TypeError("an average pool that pads or rounds up has no dilated form here")
        return Pool(kernel, kept, dilation_here, padding_here, more, average)


def _bare(layer: nn.Module) -> nn.Module:
    """A layer without its padding."""
    if isinstance(layer, nn.Sequential):
        return _bare_sequence(layer)
    if isinstance(layer, Inception | Parallel):
        branches = [_bare_sequence(branch) for branch in _branches(layer)]
        reach = [int(compose(list(branch)).offset) for branch in branches]  # to a branch's first cell
        for branch, cells in zip(branches, reach, strict=True):
            branch.insert(0, nn.ZeroPad2d(cells - max(reach)))  # below zero: cells are cut off
        return Parallel(branches)
    if isinstance(layer, nn.Conv2d):
        return _like(layer, one_of_pair(layer.stride), 0, one_of_pair(layer.dilation))
    if isinstance(layer, nn.ZeroPad2d):
        return nn.Identity()
    layer = copy.deepcopy(layer)
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
        layer.padding = 0
    return layer


def _bare_sequence(net: nn.Sequential) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, _bare(layer)) for name, layer in net.named_children()))


def _branches(block: Inception | Parallel) -> list[nn.Sequential]:
    """The branches as sequences, with the ReLU that follows each convolution of an inception written out."""
    if isinstance(block, Parallel):
        return block.branches()
    return [
        nn.Sequential(
            *(m for layer in branch for m in ((layer, nn.ReLU()) if isinstance(layer, nn.Conv2d) else (layer,)))
        )
        for branch in block.branches()
    ]


def _like(layer: nn.Conv2d, stride: int, padding: int, dilation: int) -> nn.Conv2d:
    """The convolution with the same weights, and with another stride, padding and dilation."""
    with torch.device("meta"):
        new = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            one_of_pair(layer.kernel_size),
            stride,
            padding,
            dilation,
            layer.groups,
        )
    new.weight, new.bias = layer.weight, layer.bias
    return new
