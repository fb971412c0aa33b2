"""3 x 3 convolutions with a quarter of the multiplications (Lavin and Gray, CVPR 2016).

Four outputs of a filter with three taps take twelve multiplications. Winograd's algorithm takes
six: it evaluates filter and inputs as polynomials at six points (0, 1, -1, 2, -2 and infinity),
multiplies the values, and combines the products (chapter 14 of the book derives it). In two
dimensions, a tile of 4 x 4 outputs takes 36 multiplications instead of 144. Over all channels,
those at each of the 36 points are one product of matrices.

Each thread works through strips of rows of tiles, whose values stay in its core's cache. Values at
2 and -2 are large and cancel, so the error is about 1e-5 of the largest output: more than that of a
plain convolution in float32, much less than bfloat16's.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fcn.cpu.threads import for_each, one_thread_each

TILES = 256  # of a strip
FEWEST = 60  # tiles per thread with which this is faster than a plain convolution
CHANNELS = 32  # likewise: with few, evaluating at points takes longer than multiplying
G = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""Three taps to their values at the six points, scaled so that no other matrix has fractions."""
POINTS = torch.einsum("ia,jb->jiab", G, G).reshape(36, 9)

Strip = tuple[int, int, int]  # a photo, its first row of tiles, the number of rows


def convolution(x: Tensor, layer: nn.Conv2d, rectified: bool) -> Tensor:
    """``layer`` of ``x`` (float32, N x C x H x W, channels last), and a ReLU if ``rectified``.

    The kernel is 3 x 3, with stride and padding 1. Uses a plain convolution where that is faster.
    The result is channels last, too. It cannot be differentiated twice.
    """
    tiles = len(x) * _tiles(x.shape[2]) * _tiles(x.shape[3])
    if layer.in_channels < CHANNELS or tiles < FEWEST * torch.get_num_threads():
        y: Tensor = layer(x)
        return y.relu_() if rectified else y
    y = _Convolution.apply(x, layer.weight, layer.bias, rectified)
    return y


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rectified: bool) -> Tensor:
        y = _convolved(x, weight, bias, rectified)
        ctx.save_for_backward(x, weight, *[y] * rectified)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, weight, *ys = ctx.saved_tensors
        for y in ys:
            slope = torch.ops.aten.threshold_backward(slope, y, 0)
        slope = slope.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).transpose(0, 1)
            of_x = _convolved(slope, turned, slope.new_zeros(len(turned)), False)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, slope)
        if ctx.needs_input_grad[2]:
            of_bias = slope.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None


def _convolved(x: Tensor, weight: Tensor, bias: Tensor, rectified: bool) -> Tensor:
    outputs, inputs = weight.shape[:2]
    result = torch.empty(len(x), outputs, *x.shape[2:], memory_format=torch.channels_last)
    images, y = x.permute(0, 2, 3, 1), result.permute(0, 2, 3, 1)
    taps = weight.permute(2, 3, 0, 1).flatten(0, 1)
    filters = x.new_empty(36, outputs, inputs)

    def filters_at_points(some: slice) -> None:
        filters[:, some] = (POINTS @ taps[:, some].flatten(1)).view(36, -1, inputs)

    def one(strip: Strip) -> None:
        photo, top, rows = strip
        values = _tiles_at_points(images[photo], top, rows)
        columns = values.shape[2]
        products = torch.bmm(values.flatten(1, 2), filters.transpose(1, 2))
        by_row = products.new_empty(4, 6, rows, columns, outputs)
        _interpolate(products.view(6, 6, rows, columns, outputs), by_row)
        tiles = products.new_empty(rows, 4, columns, 4, outputs)
        _interpolate(by_row.transpose(0, 1), tiles.permute(1, 3, 0, 2, 4))
        into = y[photo, 4 * top : 4 * (top + rows)]
        torch.add(tiles.view(4 * rows, -1, outputs)[: len(into), : into.shape[1]], bias, out=into)
        if rectified:
            into.relu_()

    with one_thread_each() as threads:
        step = -(-outputs // threads)
        shares = [slice(start, start + step) for start in range(0, outputs, step)]
        for_each(filters_at_points, shares, threads=threads)
        for_each(one, _strips(images, threads), threads=threads)
    return result


def _weight_gradient(x: Tensor, slope: Tensor) -> Tensor:
    """The gradient with respect to the weights, given that with respect to the outputs."""
    images, slopes = x.permute(0, 2, 3, 1), slope.permute(0, 2, 3, 1)
    inputs, outputs = x.shape[1], slope.shape[1]

    def some(strips: Sequence[Strip]) -> Tensor:
        total = x.new_zeros(36, outputs, inputs)
        for photo, top, rows in strips:
            values = _tiles_at_points(images[photo], top, rows)
            columns = values.shape[2]
            tiles = slope.new_zeros(rows, 4, columns, 4, outputs)
            of = slopes[photo, 4 * top : 4 * (top + rows)]
            tiles.view(4 * rows, -1, outputs)[: len(of), : of.shape[1]] = of
            by_row = slope.new_empty(4, 6, rows, columns, outputs)
            _spread(tiles.permute(1, 3, 0, 2, 4), by_row.transpose(0, 1))
            products = slope.new_empty(6, 6, rows, columns, outputs)
            _spread(by_row, products)
            total.baddbmm_(products.view(36, -1, outputs).transpose(1, 2), values.flatten(1, 2))
        return total

    with one_thread_each() as threads:
        strips = _strips(images, threads)
        totals = for_each(some, [strips[i::threads] for i in range(threads)], threads=threads)
    total = torch.stack(totals).sum(0).flatten(1)
    return (POINTS.T @ total).view(3, 3, outputs, inputs).permute(2, 3, 0, 1)


def _tiles(pixels: int) -> int:
    """The number of tiles that cover a row or a column of pixels."""
    return -(-pixels // 4)


def _strips(images: Tensor, threads: int) -> list[Strip]:
    """Strips that cover ``images`` (N x H x W x C), at least one for each thread if possible."""
    photos, height, width = images.shape[:3]
    rows, columns = _tiles(height), _tiles(width)
    most = max(1, min(TILES // columns, -(-rows * photos // threads), rows))
    tops = range(0, rows, most)
    return [(photo, top, min(most, rows - top)) for photo in range(photos) for top in tops]


def _tiles_at_points(image: Tensor, top: int, rows: int) -> Tensor:
    """A strip of ``image`` (H x W x C) at the points: 36 x rows x columns x C."""
    height, width, channels = image.shape
    columns = _tiles(width)
    padded = image.new_zeros(4 * rows + 2, 4 * columns + 2, channels)
    first = 4 * top - 1
    low, high = max(first, 0), min(first + len(padded), height)
    padded[low - first : high - first, 1 : width + 1] = image[low:high]
    by_row = image.new_empty(6, rows, padded.shape[1], channels)
    _evaluate([padded[i : i + 4 * rows - 3 : 4] for i in range(6)], by_row)
    values = image.new_empty(6, 6, rows, columns, channels)
    _evaluate([by_row[:, :, j : j + 4 * columns - 3 : 4] for j in range(6)], values)
    return values.flatten(0, 1)


def _evaluate(d: Sequence[Tensor], v: Tensor) -> None:
    """B^T of the paper: six inputs to their values ``v`` at the six points."""
    even, odd = torch.add(d[4], d[2], alpha=-4), torch.add(d[3], d[1], alpha=-4)
    torch.add(even, odd, out=v[1])
    torch.sub(even, odd, out=v[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=v[3])
    torch.add(even, odd, alpha=-2, out=v[4])
    torch.add(even, torch.sub(d[0], d[2], out=v[0]), alpha=4, out=v[0])
    torch.add(torch.sub(d[5], d[3], out=v[5]), odd, alpha=-4, out=v[5])


def _interpolate(m: Tensor, y: Tensor) -> None:
    """A^T: the products at the six points to four outputs ``y``."""
    ones, signs = m[1] + m[2], m[1] - m[2]
    twos, signed_twos = m[3] + m[4], m[3] - m[4]
    torch.add(signs, signed_twos, alpha=2, out=y[1])
    torch.add(ones, twos, alpha=4, out=y[2])
    torch.add(signs.add_(signed_twos, alpha=8), m[5], out=y[3])
    torch.add(ones.add_(twos), m[0], out=y[0])


def _spread(y: Tensor, m: Tensor) -> None:
    """A: the gradient with respect to four outputs to that with respect to the products ``m``."""
    m[0], m[5] = y[0], y[3]
    even, odd = y[0] + y[2], y[1] + y[3]
    torch.add(even, odd, out=m[1])
    torch.sub(even, odd, out=m[2])
    torch.add(y[0], y[2], alpha=4, out=even)
    torch.add(y[1], y[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=m[3])
    torch.add(even, odd, alpha=-2, out=m[4])
