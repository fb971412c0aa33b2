"""Upsampling as transposed convolution (section 3.3), and the alignment of score maps."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.geometry import ReceptiveField, offset_between, receptive_field, transposed

Upsampling = Literal["bilinear", "learned", "interpolate"]
ENOUGH = 2  # cells that upsampling may have to add behind the last: the most that our nets need


def bilinear_filter(factor: int, size: int | None = None) -> Tensor:
    """The filter with which a transposed convolution of stride ``factor`` interpolates bilinearly.

    Two sizes are exact: ``2 * factor`` (the default; cell centres fall between pixels) and
    ``2 * factor - 1`` (centres fall on pixels). Raises ValueError otherwise.
    """
    size = 2 * factor if size is None else size
    if factor < 1 or size not in (2 * factor - 1, 2 * factor):
        sizes = f"{2 * factor - 1} or {2 * factor}"
        raise ValueError(f"a bilinear filter for factor {factor} has {sizes} taps, not {size}")
    line = 1 - (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs() / factor
    return torch.outer(line, line).float()


class Deconvolution(nn.Module):
    """Transposed convolution that starts as bilinear interpolation, N x C x h x w to N x C x H x W.

    One filter per class, as in the authors' nets. ``learned``: it is a parameter, not a constant.
    """

    def __init__(self, channels: int, factor: int, size: int, *, learned: bool = False) -> None:
        super().__init__()
        self.factor = factor
        filters = bilinear_filter(factor, size).repeat(channels, 1, 1, 1)
        if learned:
            self.weight = nn.Parameter(filters)
        else:  # determined by the factor, so not saved with the weights
            self.register_buffer("weight", filters, persistent=False)
        self.field = transposed(size, factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, stride=self.factor, groups=len(self.weight))


class Interpolation(nn.Module):
    """Bilinear upsampling by torch's interpolation: faster than a deconvolution, nothing to learn.

    ``odd``: cell centres fall on pixels (``align_corners``), otherwise between them. ``fading``:
    the output is that of the deconvolution, which fades to zero beyond the outermost centres (of
    its up to 64 x 64 taps, only 4 reach each pixel); otherwise it ends where the cells do.

    Raises ValueError for an odd ``factor`` with ``fading`` and cells between pixels.
    """

    def __init__(self, factor: int, odd: bool, fading: bool = False) -> None:
        super().__init__()
        if fading and not odd and factor % 2:
            raise ValueError(f"an odd factor, {factor}, cannot fade between pixels")
        self.factor, self.odd, self.fading = factor, odd, fading
        if fading:
            self.field = transposed(2 * factor - odd, factor)
        else:
            offset = Fraction(0) if odd else Fraction(1 - factor, 2 * factor)
            self.field = ReceptiveField(2, Fraction(1, factor), offset)

    def forward(self, x: Tensor) -> Tensor:
        if self.fading:
            x = F.pad(x, (1, 1, 1, 1))  # a border of zeros
        extra = self.factor - 1 if self.odd else 0
        height, width = (side * self.factor - extra for side in x.shape[-2:])
        # Contiguous, not channels-last: twice as fast from here to the loss, on a CPU.
        x = x.contiguous()
        x = F.interpolate(x, (height, width), mode="bilinear", align_corners=self.odd)
        if self.fading:
            excess = 1 if self.odd else self.factor // 2  # pixels that no cell's filter reaches
            x = x[..., excess:-excess, excess:-excess]
        return x


def upsampler(
    channels: int, coarse: ReceptiveField, fine: ReceptiveField, kind: Upsampling
) -> Deconvolution | Interpolation:
    """The layer that upsamples from the grid ``coarse`` to the stride of ``fine``, exactly aligned.

    The filter is odd if the centres of coarse cells fall on fine cells, even if they fall between
    two. Raises ValueError for an unknown ``kind``.
    """
    factor = int(coarse.stride / fine.stride)
    odd = ((coarse.offset - fine.offset) / fine.stride).denominator == 1
    if kind == "interpolate":
        return Interpolation(factor, odd)
    if kind == "bilinear" and (odd or factor % 2 == 0):
        return Interpolation(factor, odd, fading=True)
    if kind in ("bilinear", "learned"):
        return Deconvolution(channels, factor, 2 * factor - odd, learned=kind == "learned")
    raise ValueError(f'unknown upsampling "{kind}": choose "bilinear", "learned" or "interpolate"')


def upsample_onto(
    x: Tensor, layer: nn.Module, coarse: ReceptiveField, fine: ReceptiveField, size: Sequence[int]
) -> Tensor:
    """``x`` (N x C x h x w), upsampled from ``coarse`` onto the first ``size`` cells of ``fine``.

    Border cells are replicated where the fine grid extends beyond their centres: a transposed
    convolution would fade to zero there.
    """
    start, factor, parts = first_centre(coarse, fine)
    before = max(0, -(-start // factor))
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        after = [ENOUGH, ENOUGH]  # the sizes are symbols, which cannot decide anything
    else:
        after = [
            max(0, -(-((n - 1) * parts - start) // factor) - (cells - 1))
            for n, cells in zip(size, x.shape[-2:], strict=True)
        ]
    if before or any(after):
        x = F.pad(x, (before, after[1], before, after[0]), mode="replicate")
    padded = ReceptiveField(coarse.size, coarse.stride, coarse.offset - before * coarse.stride)
    return crop(layer(x), offset_between(padded.then(receptive_field(layer)), fine), size)


def first_centre(coarse: ReceptiveField, fine: ReceptiveField) -> tuple[int, int, int]:
    """The first centre of ``coarse`` and its stride in 1/n of a fine cell, and n.

    Plain integers, so that sizes may be symbols of a graph that is exported.
    """
    shift, factor = (coarse.offset - fine.offset) / fine.stride, coarse.stride / fine.stride
    parts = math.lcm(shift.denominator, factor.denominator)
    return int(shift * parts), int(factor * parts), parts


class CoarseScores(NamedTuple):
    """Scores before the last upsampling, which is linear: two products with thin matrices.

    The scores of the pixels, N x C x H x W, are ``rows @ cells @ columns.T``. ``cells``: N x C x h
    x w; ``rows``: H x h; ``columns``: W x w. A pixel has at most two non-zero weights on each axis.
    """

    cells: Tensor
    rows: Tensor
    columns: Tensor

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """That of the scores of the pixels."""
        return (*self.cells.shape[:2], len(self.rows), len(self.columns))

    def upsampled(self) -> Tensor:
        """The scores of the pixels, in float32 at least."""
        dtype = torch.promote_types(self.cells.dtype, torch.float32)
        with torch.autocast(self.cells.device.type, enabled=False):
            return self.rows.to(dtype) @ self.cells.to(dtype) @ self.columns.to(dtype).T


def bilinear_matrix(
    cells: int,
    pixels: int,
    coarse: ReceptiveField,
    fine: ReceptiveField,
    replicate: bool,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The weight of each cell of ``coarse`` at each cell of ``fine``: pixels x cells, float32.

    Beyond the outermost centres, the border cells are either replicated or fade to zero.
    """
    start, factor, parts = first_centre(coarse, fine)
    # In coarse cells, and exact: our factors are powers of two.
    place = (torch.arange(pixels, dtype=torch.float32, device=device) * parts - start) / factor
    if replicate:
        place = place.clamp(0, cells - 1)
    distance = (place[:, None] - torch.arange(cells, device=device)).abs()
    return (1 - distance).clamp(min=0)


def crop(x: Tensor, start: int, size: Sequence[int]) -> Tensor:
    """The ``size`` cells of ``x`` (N x C x h x w) starting at cell ``start``, along both axes."""
    if torch.compiler.is_exporting() and not torch.onnx.is_in_onnx_export():
        # A slice asks whether it ends inside: torch.export cannot tell if sizes are symbols.
        for axis, length in zip((-2, -1), size, strict=True):
            x = x.index_select(axis, torch.arange(start, start + length, device=x.device))
        return x
    return x[..., start : start + size[0], start : start + size[1]]
