"""Receptive field, stride and offset of the cells of a feature map (section 3).

A layer with kernel k and stride s on top of one with k' and s' has the kernel k' + (k - 1) s' and
the stride s s'. The offset of the first cell's centre composes in the same way. These three numbers
determine how score maps have to be cropped to align, so no crop offset is hard-coded.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil

from torch import nn


@dataclass(frozen=True)
class ReceptiveField:
    """Cell i of a map sees ``size`` pixels, centred on pixel ``stride * i + offset``, on each axis.

    Pixel centres have integer coordinates, starting at 0. Fractions are exact; a stride below 1
    belongs to a map finer than its input, such as the output of a transposed convolution.
    """

    size: int = 1
    stride: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def then(self, layer: "ReceptiveField") -> "ReceptiveField":
        """The field of ``layer`` applied to this map: the composition rule of section 3."""
        return ReceptiveField(
            size=self.size + ceil((layer.size - 1) * self.stride),
            stride=self.stride * layer.stride,
            offset=self.offset + layer.offset * self.stride,
        )

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        """The larger field of two combined maps. Raises ValueError if their grids differ."""
        if (self.stride, self.offset) != (other.stride, other.offset):
            raise ValueError(f"maps on different grids cannot be combined: {self} and {other}")
        return self if self.size >= other.size else other


IMAGE = ReceptiveField()


def receptive_field(module: nn.Module) -> ReceptiveField:
    """Receptive field, stride and offset, in pixels, of the output cells of ``module``.

    Sequential modules are composed layer by layer; parallel ``branches()`` are combined. The field
    of an FCN is that of its coarsest scores. Raises TypeError for a layer whose cells have no fixed
    position, such as a fully connected one.
    """
    field = getattr(module, "field", None)  # layers of this package have one
    if isinstance(field, ReceptiveField):
        return field
    if callable(branches := getattr(module, "branches", None)):
        return reduce(ReceptiveField.union, (compose(branch) for branch in branches()))
    if isinstance(module, nn.Sequential):
        return compose(list(module))
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        size = square(getattr(module, "dilation", 1)) * (square(module.kernel_size) - 1) + 1
        stride, padding = square(module.stride), square(module.padding)
        if isinstance(module, nn.ConvTranspose2d):
            return transposed(size, stride, padding)
        return ReceptiveField(size, Fraction(stride), Fraction(size - 1, 2) - padding)
    if isinstance(module, nn.ZeroPad2d):
        return ReceptiveField(offset=Fraction(-square(module.padding[::2])))
    if isinstance(module, nn.ReLU | nn.BatchNorm2d | nn.Dropout | nn.Dropout2d | nn.Identity):
        return ReceptiveField()
    kind = type(module).__name__
    if isinstance(module, nn.Linear | nn.Flatten):
        raise TypeError(f"{kind} has no receptive field: convolutionalize the classifier first")
    raise TypeError(f"the receptive field of {kind} is not known")


def compose(layers: list[nn.Module]) -> ReceptiveField:
    """The receptive field of ``layers`` applied one after the other."""
    return reduce(lambda field, layer: field.then(receptive_field(layer)), layers, IMAGE)


def transposed(kernel: int, stride: int, padding: int = 0) -> ReceptiveField:
    """The field of a transposed convolution: the grid of a convolution inverted (section 3.3)."""
    offset = (padding - Fraction(kernel - 1, 2)) / stride
    return ReceptiveField(ceil(kernel / stride), Fraction(1, stride), offset)


def offset_between(source: ReceptiveField, target: ReceptiveField) -> int:
    """The crop, in cells, that puts the first cell of ``source`` onto the first of ``target``.

    Raises ValueError if that is not a whole number of cells.
    """
    shift = (target.offset - source.offset) / target.stride
    if source.stride != target.stride or shift.denominator != 1:
        raise ValueError(f"no whole number of cells aligns {source} with {target}")
    return int(shift)


def square(value: int | tuple[int, ...] | str) -> int:
    """The value of a setting that torch may store per axis. TypeError if the axes differ."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) or len(set(value)) != 1:
        raise TypeError(f"only square layers have a receptive field, not {value!r}")
    return value[0]
