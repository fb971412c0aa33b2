"""Where the cells of a feature map look in the image: receptive field, stride and offset of a stack of layers.

Section 3 of the paper: a layer with kernel k and stride s on top of one with k' and s' has the kernel k' + (k - 1) s'
and the stride s s'. The same composition carries a third number, the offset of the first cell's centre, and the three
together say everything that cropping and aligning score maps needs. No crop offset of this project is typed in.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import ceil

from torch import nn


@dataclass(frozen=True)
class ReceptiveField:
    """Cell i of a map sees ``size`` pixels of the input, centred on pixel ``stride * i + offset``, along either axis.

    Pixel centres have whole coordinates, the first at 0. Exact fractions: a stride below 1 belongs to a map that is
    finer than its input, as the output of a transposed convolution is.
    """

    size: int = 1
    stride: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def then(self, layer: "ReceptiveField") -> "ReceptiveField":
        """The field of ``layer``'s cells in the input of this map: the composition rule of section 3."""
        return ReceptiveField(
            size=self.size + ceil((layer.size - 1) * self.stride),
            stride=self.stride * layer.stride,
            offset=self.offset + layer.offset * self.stride,
        )

    def beside(self, other: "ReceptiveField") -> "ReceptiveField":
        """The field of two maps of one grid that are added or concatenated: the larger of the two.

        Raises ValueError where the maps do not share a grid.
        """
        if (self.stride, self.offset) != (other.stride, other.offset):
            raise ValueError(f"maps on different grids cannot be joined cell by cell: {self} and {other}")
        return self if self.size >= other.size else other


IMAGE = ReceptiveField()


def receptive_field(module: nn.Module) -> ReceptiveField:
    """Receptive field, stride and offset, in pixels, of the cells that ``module`` puts out.

    A module of several layers is composed layer by layer; one that names parallel ``branches()`` is joined from them.
    For an FCN this is the field of its coarsest scores. Raises TypeError, naming the layer, for a layer whose cells
    have no fixed place: a fully connected layer sees its whole input, so convolutionalize a classifier first.
    """
    if isinstance(field := getattr(module, "field", None), ReceptiveField):  # a layer of this package states its own
        return field
    if callable(branches := getattr(module, "branches", None)):
        return reduce(ReceptiveField.beside, (compose(branch) for branch in branches()))
    if isinstance(module, nn.Sequential):
        return compose(list(module))
    if isinstance(module, nn.ConvTranspose2d):
        size = one_of_pair(module.dilation) * (one_of_pair(module.kernel_size) - 1) + 1
        return transposed(size, one_of_pair(module.stride), one_of_pair(module.padding))
    if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        dilation = one_of_pair(getattr(module, "dilation", 1))
        size = dilation * (one_of_pair(module.kernel_size) - 1) + 1
        return ReceptiveField(
            size, Fraction(one_of_pair(module.stride)), Fraction(size - 1, 2) - one_of_pair(module.padding)
        )
    if isinstance(module, nn.ZeroPad2d):
        return ReceptiveField(offset=Fraction(-one_of_pair(module.padding[::2])))
    if isinstance(module, nn.ReLU | nn.Dropout | nn.Dropout2d | nn.Identity):
        return ReceptiveField()
    raise TypeError(f"{type(module).__name__} has no receptive field of its own: convolutionalize the net first")


def compose(layers: list[nn.Module]) -> ReceptiveField:
    """The field of the last of ``layers``, applied one after the other."""
    return reduce(lambda field, layer: field.then(receptive_field(layer)), layers, IMAGE)


def transposed(kernel: int, stride: int, padding: int = 0) -> ReceptiveField:
    """The field of a transposed convolution: the grid of its output is the inverse of a convolution's (section 3.3)."""
    return ReceptiveField(ceil(kernel / stride), Fraction(1, stride), (padding - Fraction(kernel - 1, 2)) / stride)


def offset_between(source: ReceptiveField, target: ReceptiveField) -> int:
    """How many cells of ``source`` lie before the first cell of ``target``: the crop that puts one onto the other.

    Raises ValueError where the two maps differ in stride or are shifted by a part of a cell.
    """
    shift = (target.offset - source.offset) / target.stride
    if source.stride != target.stride or shift.denominator != 1:
        raise ValueError(f"no whole number of cells aligns {source} with {target}")
    return int(shift)


def one_of_pair(value: int | tuple[int, ...] | str) -> int:
    """The one number behind a layer's pair of equal numbers. Raises TypeError where the layer is not square."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) or len(set(value)) != 1:
        raise TypeError(f"only square layers have one receptive field, not {value!r}")
    return value[0]
