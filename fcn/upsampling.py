"""From coarse scores to pixels: upsampling as transposed convolution (section 3.3), and maps put onto each other."""

from fractions import Fraction
from math import ceil
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.geometry import ReceptiveField, offset_between, transposed


def bilinear_filter(factor: int, size: int | None = None) -> Tensor:
    """The ``size`` x ``size`` filter with which a transposed convolution of stride ``factor`` interpolates linearly.

    Two sizes are exact: ``2 * factor`` (the default; every cell's centre falls between pixels, as it does behind
    even pooling windows) and ``2 * factor - 1`` (centres fall on pixels, as behind odd ones). Raises ValueError for
    another size or a factor below 1.
    """
    size = 2 * factor if size is None else size
    if factor < 1 or size not in (2 * factor - 1, 2 * factor):
        raise ValueError(f"a bilinear filter for factor {factor} has {2 * factor - 1} or {2 * factor} taps, not {size}")
    line = 1 - (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / factor
    return torch.outer(line, line).float()


class Deconvolution(nn.Module):
    """Upsampling by a transposed convolution that starts as bilinear interpolation; N x C x h x w to N x C x H x W.

    One filter for each class (``grouped``), as in the authors' nets, or a full bank from every class to every class.
    ``learned`` says whether the filter is a parameter or a constant. On CUDA a constant one for each class is carried
    out as ``interpolated``: there a transposed convolution goes through 63 x 63 taps for the 4 that count.
    """

    def __init__(self, channels: int, factor: int, size: int, *, learned: bool = False, grouped: bool = True) -> None:
        super().__init__()
        self.factor = factor
        self.groups = channels if grouped else 1
        filters = torch.zeros(channels, 1 if grouped else channels, size, size)
        diagonal = torch.arange(channels)
        filters[diagonal, 0 if grouped else diagonal] = bilinear_filter(factor, size)
        if learned:
            self.weight = nn.Parameter(filters)
        else:  # a constant that the factor alone determines has no place in a weight file
            self.register_buffer("weight", filters, persistent=False)
        self.field = transposed(size, factor)
        self.fixed = grouped and not learned and factor % 2 == 0

    def forward(self, x: Tensor) -> Tensor:
        if self.fixed and x.is_cuda:
            return self.interpolated(x)
        return F.conv_transpose2d(x, self.weight, stride=self.factor, groups=self.groups)

    def interpolated(self, x: Tensor) -> Tensor:
        """What a fixed filter for each class gives, by torch's interpolation: beyond the border the scores are zero."""
        odd = self.weight.shape[-1] % 2 == 1
        beyond = 1 if odd else self.factor // 2  # of what is interpolated, but no filter of a cell reaches
        scores = Interpolation(self.factor, odd)(F.pad(x, (1, 1, 1, 1)))
        return scores[..., beyond:-beyond, beyond:-beyond]


class Interpolation(nn.Module):
    """The same bilinear upsampling by torch's interpolation: faster on a CPU, and nothing to learn.

    ``odd`` puts cells onto pixels (``align_corners``), otherwise they fall between them. Unlike a deconvolution it puts
    out nothing beyond its cells' own extent.
    """

    def __init__(self, factor: int, odd: bool) -> None:
        super().__init__()
        self.factor, self.odd = factor, odd
        offset = Fraction(0) if odd else Fraction(1 - factor, 2 * factor)
        self.field = ReceptiveField(2, Fraction(1, factor), offset)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        size = (
            ((h - 1) * self.factor + 1, (w - 1) * self.factor + 1) if self.odd else (h * self.factor, w * self.factor)
        )
        # Rows of pixels rather than of channels: twice as fast from here to the loss, on a CPU.
        return F.interpolate(x.contiguous(), size=size, mode="bilinear", align_corners=self.odd)


Upsampling = Literal["bilinear", "learned", "interpolate"]


def upsampler(
    channels: int, coarse: ReceptiveField, fine: ReceptiveField, kind: Upsampling
) -> Deconvolution | Interpolation:
    """The layer that takes a map on the grid ``coarse`` to the stride of ``fine``, exactly aligned.

    Whether a cell's centre falls on a cell of the finer grid or between two decides between an odd and an even filter.
    Raises ValueError for an unknown ``kind``.
    """
    factor = int(coarse.stride / fine.stride)
    shift = (coarse.offset - fine.offset) / fine.stride
    odd = shift.denominator == 1
    if kind == "interpolate":
        return Interpolation(factor, odd)
    if kind in ("bilinear", "learned"):
        return Deconvolution(channels, factor, 2 * factor - 1 if odd else 2 * factor, learned=kind == "learned")
    raise ValueError(f'unknown upsampling "{kind}": choose "bilinear", "learned" or "interpolate"')


def upsample_onto(
    x: Tensor, layer: nn.Module, coarse: ReceptiveField, fine: ReceptiveField, size: tuple[int, int]
) -> Tensor:
    """``x`` (N x C x h x w on the grid ``coarse``) upsampled by ``layer`` onto the first ``size`` cells of ``fine``.

    The border cells of ``x`` are repeated as far as the finer grid reaches beyond their centres: a transposed
    convolution would otherwise fade to zero there, and a map smaller than the target would not cover it.
    """
    shift = (coarse.offset - fine.offset) / fine.stride  # of the first coarse centre, in fine cells
    factor = coarse.stride / fine.stride
    before = max(0, ceil(shift / factor))
    after = [max(0, ceil((n - 1 - shift) / factor) - (cells - 1)) for n, cells in zip(size, x.shape[-2:], strict=True)]
    if before or any(after):
        x = F.pad(x, (before, after[1], before, after[0]), mode="replicate")
    padded = ReceptiveField(coarse.size, coarse.stride, coarse.offset - before * coarse.stride)
    start = offset_between(padded.then(layer.field), fine)  # type: ignore[arg-type]
    return crop(layer(x), start, size)


def size_of(x: Tensor) -> tuple[int, int]:
    """Height and width of N x C x H x W, in cells."""
    return x.shape[-2], x.shape[-1]


def crop(x: Tensor, start: int, size: tuple[int, int]) -> Tensor:
    """The ``size`` cells of ``x`` (N x C x h x w) from cell ``start`` on, along both axes."""
    return x[..., start : start + size[0], start : start + size[1]]
