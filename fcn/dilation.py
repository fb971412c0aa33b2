"""Scores at every pixel without upsampling: shift-and-stitch and dilated filters (section 3.2).

Shift-and-stitch runs a net of stride f on f x f shifted copies of the image and interlaces the
maps. "Filter rarefaction", today called dilation, removes the stride s of a layer and spreads the
filters of all later layers instead: f'_ij = f_(i/s, j/s) where s divides i and j, and 0 elsewhere.

The two are equal, borders included, if no layer pads at its top or left (see ``unpadded``). With
padding they can differ at cells whose receptive field reaches over the top or left edge of a
shifted image. The right and bottom edges are the same for all shifts, so neither padding nor pools
that round up cause a difference there.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.classifiers import Inception
from fcn.geometry import IMAGE, ReceptiveField, compose, receptive_field, square


def shift_and_stitch(net: Callable[[Tensor], Tensor], images: Tensor, stride: int) -> Tensor:
    """The scores of ``net``, whose stride is ``stride``, at every pixel: N x C x h x w.

    h x w is H x W if the maps of ``net`` just cover the image, and less if it does not pad.
    ``images`` (N x 3 x H x W) are shifted by dropping their first 0 to ``stride - 1`` rows and
    columns; the paper shifts by padding, which yields the same cells. Row i and column j of the
    result belong to the pixel (i + o, j + o), with o the offset of the net's first cell.
    Raises ValueError if the maps do not interlace, because ``net`` has another stride.
    """
    if stride < 1:
        raise ValueError(f"the stride of a net is 1 or more, not {stride}")
    maps = [[net(images[..., dy:, dx:]) for dx in range(stride)] for dy in range(stride)]
    first = maps[0][0]
    height, width = sum(row[0].shape[-2] for row in maps), sum(m.shape[-1] for m in maps[0])
    scores = first.new_empty(*first.shape[:2], height, width)
    for dy, row in enumerate(maps):
        for dx, shifted in enumerate(row):
            cells = scores[..., dy::stride, dx::stride]
            if cells.shape != shifted.shape:
                sizes = f"{[*shifted.shape[-2:]]} cells instead of {[*cells.shape[-2:]]}"
                raise ValueError(f"shifts {dy} and {dx} yield {sizes}: is the stride {stride}?")
            cells.copy_(shifted)
    return scores


def dilated(net: nn.Sequential, stride: int = 1) -> nn.Sequential:
    """``net`` at an overall stride of ``stride``: later strides become 1, later filters dilated.

    The first layers keep their strides as far as ``stride`` allows. If the new map is ``k``
    times finer, every ``k``-th cell equals a cell of ``net``, at borders too. Receptive field and
    offset do not change. Weights are shared with ``net``; a backbone returns only its last map.

    Raises ValueError if ``stride`` cannot be reached, TypeError if a layer has no dilated form.
    """
    old = receptive_field(net).stride
    if stride < 1 or old % stride:
        raise ValueError(f"a stride of {old} can be reduced to its divisors, not to {stride}")
    return _changed(net, _Dilation(stride).layer).train(net.training)


def unpadded(net: nn.Sequential) -> nn.Sequential:
    """``net`` without padding: only cells whose receptive field is inside the image remain.

    Where a pool rounds up, the last cells still reach beyond the bottom and right edges.
    Parallel branches are cropped to the cells they share. Weights are shared with ``net``.
    """
    return _changed(net, _unpadded).train(net.training)


class Parallel(nn.ModuleList):
    """Parallel branches on one map (N x C x H x W), concatenated along the channels."""

    def branches(self) -> list[nn.Sequential]:
        """The layers of each branch, also for ``receptive_field``."""
        return list(self)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class Pool(nn.Module):
    """Maximum or average over ``kernel`` x ``kernel`` cells that are ``dilation`` apart.

    A maximum ignores ``padding`` cells on all sides and ``extra`` at the bottom and right; an
    average has neither. torch has no dilated average pool and rounds up only by whole strides.
    """

    def __init__(
        self, kernel: int, stride: int, dilation: int, padding: int, extra: int, average: bool
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation, self.average = kernel, stride, dilation, average
        self.sides = (padding, padding + extra) * 2
        size = dilation * (kernel - 1) + 1
        self.field = ReceptiveField(size, Fraction(stride), Fraction(size - 1, 2) - padding)

    def extra_repr(self) -> str:
        kind = "average" if self.average else "maximum"
        return f"{kind}, kernel_size={self.kernel}, stride={self.stride}, dilation={self.dilation}"

    def forward(self, x: Tensor) -> Tensor:
        if self.average:
            filters = x.new_full((x.shape[1], 1, self.kernel, self.kernel), 1 / self.kernel**2)
            return F.conv2d(x, filters, None, self.stride, 0, self.dilation, groups=x.shape[1])
        x = F.pad(x, self.sides, value=float("-inf"))
        return F.max_pool2d(x, self.kernel, self.stride, dilation=self.dilation)


class _Dilation:
    """One pass over the layers of a net, from first to last."""

    def __init__(self, stride: int) -> None:
        self.remaining = stride  # what later layers may keep of the overall stride
        self.dilation = 1  # product of the strides removed so far

    def layer(self, layer: nn.Module) -> nn.Module:
        if isinstance(layer, nn.Sequential):
            return _changed(layer, self.layer)
        if isinstance(layer, Inception | Parallel):  # strides are 1: branches are independent
            return Parallel(
                [nn.Sequential(*map(self.layer, branch)) for branch in layer.branches()]
            )
        if isinstance(layer, nn.ZeroPad2d):
            sides = tuple(side * self.dilation for side in layer.padding)
            return nn.ZeroPad2d(sides)  # type: ignore[arg-type]
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            return self.strided(layer)
        if receptive_field(layer) != IMAGE:
            raise TypeError(f"{type(layer).__name__} has no dilated form")
        return _copy(layer)  # acts on each cell separately

    def strided(self, layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> nn.Module:
        stride = square(layer.stride)
        kept = min(stride, self.remaining)
        if stride % kept or self.remaining % kept:
            raise ValueError(f"a stride of {stride} cannot be reduced to {kept}")
        padding = square(layer.padding) * self.dilation
        dilation = square(getattr(layer, "dilation", 1)) * self.dilation
        extra = (stride - 1) * self.dilation if getattr(layer, "ceil_mode", False) else 0
        self.remaining //= kept
        self.dilation *= stride // kept
        if isinstance(layer, nn.Conv2d):
            _check_zeros(layer)
            layer = _copy(layer)
            layer.stride, layer.padding = (kept, kept), (padding, padding)
            layer.dilation = (dilation, dilation)
            return layer
        average = isinstance(layer, nn.AvgPool2d)
        if average and (padding or extra or layer.divisor_override):
            problem = "pads, rounds up or divides by another number"
            raise TypeError(f"an average pool that {problem} has no dilated form")
        return Pool(square(layer.kernel_size), kept, dilation, padding, extra, average)


def _unpadded(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Sequential):
        return _changed(layer, _unpadded)
    if isinstance(layer, Inception | Parallel):
        branches = [nn.Sequential(*map(_unpadded, branch)) for branch in layer.branches()]
        offsets = [int(compose(list(branch)).offset) for branch in branches]
        for branch, offset in zip(branches, offsets, strict=True):
            branch.insert(0, nn.ZeroPad2d(offset - max(offsets)))  # negative: a crop
        return Parallel(branches)
    if isinstance(layer, nn.ZeroPad2d):
        return nn.Identity()
    layer = _copy(layer)
    if isinstance(layer, nn.Conv2d):
        _check_zeros(layer)
    if isinstance(layer, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        layer.padding = (0, 0)
    return layer


def _check_zeros(layer: nn.Conv2d) -> None:
    if layer.padding_mode != "zeros":
        mode = layer.padding_mode
        raise TypeError(f'a convolution that pads by "{mode}" has no such form, only by zeros')


def _changed(net: nn.Sequential, change: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, change(m)) for name, m in net.named_children()))


def _copy(layer: nn.Module) -> Any:
    """A copy of ``layer`` that shares its parameters."""
    return copy.deepcopy(layer, {id(parameter): parameter for parameter in layer.parameters()})
