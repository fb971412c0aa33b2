"""Turn a classifier into a fully convolutional net (sections 3.1 and 4.1).

A fully connected layer is a convolution whose kernel covers its whole input. Rewritten this way, a
classifier accepts images of any size and outputs a map of scores; without its last layer, it is the
backbone of an FCN.
"""

import copy
import math
from collections import OrderedDict
from itertools import pairwise
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from fcn.classifiers import Classifier, Inception, MaxPool
from fcn.cpu import winograd
from fcn.geometry import ReceptiveField, compose

REFERENCE_PADDING = 100  # pixels around the image in the release: enough to crop to any size


def as_convolution(layer: nn.Linear, kernel: int) -> nn.Conv2d:
    """The ``kernel`` x ``kernel`` convolution equal to ``layer`` on a flattened map.

    Raises ValueError if the number of inputs is not a multiple of ``kernel * kernel``.
    """
    channels, rest = divmod(layer.in_features, kernel * kernel)
    if rest:
        raise ValueError(f"{layer.in_features} inputs do not form {kernel} x {kernel} maps")
    # On "meta": nothing to initialize. `skip_init` does the same, but imports sympy, for seconds.
    convolution = nn.Conv2d(channels, layer.out_features, kernel, device="meta")
    weight = layer.weight.detach().view(convolution.weight.shape)
    convolution.weight = nn.Parameter(weight.clone())
    bias = layer.bias if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
    convolution.bias = bias
    return convolution


def convolutionalize(classifier: nn.Sequential, channels: int = 3) -> nn.Sequential:
    """A copy of ``classifier`` with every fully connected layer as a convolution (section 3.1).

    Takes N x ``channels`` x H x W, H and W at least ``classifier.input_size``; returns scores N x
    classes x h x w, one cell per stride. Where a pool rounds the size of its output up, the last
    cell's window may reach beyond the image. Layer names are unchanged. Raises TypeError for
    adaptive pools, which output one size for all images.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in classifier.named_children():
        if isinstance(layer, nn.Flatten):
            continue
        if isinstance(layer, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
            problem = "has one output size for all images"
            raise TypeError(f"{name}: {type(layer).__name__} {problem}; leave it out")
        if isinstance(layer, nn.Linear):
            layers[name] = as_convolution(layer, math.isqrt(layer.in_features // channels))
        elif isinstance(layer, nn.Sequential):
            layers[name] = convolutionalize(layer, channels)
        else:
            layers[name] = copy.deepcopy(layer)
        channels = _out_channels(layers[name]) or channels
    return nn.Sequential(layers)


class WindowConvolution(nn.Conv2d):
    """A former fully connected layer, on a CPU with channels last as a product of matrices.

    The result is that of ``nn.Conv2d``, up to rounding. There, the product of the windows with the
    weights is faster.
    """

    @classmethod
    def of(cls, layer: nn.Conv2d) -> "WindowConvolution":
        """``layer`` (stride 1, without dilation) with its own parameters."""
        one = cls(layer.in_channels, layer.out_channels, layer.kernel_size, device="meta")  # type: ignore[arg-type]
        one.padding, one.weight, one.bias = layer.padding, layer.weight, layer.bias
        return one

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if (
            x.device.type == "cpu"
            and not torch.is_autocast_enabled("cpu")
            and self.dilation == (1, 1)
            and _channels_last(x)
            and weight.is_contiguous(memory_format=torch.channels_last)
        ):
            return self._by_rows(x)
        return super().forward(x)

    def _by_rows(self, x: Tensor) -> Tensor:
        """Each row of a matrix is a window, channels last."""
        pad, kernel = int(self.padding[0]), self.kernel_size[0]
        padded = F.pad(x, (pad, pad, pad, pad))
        windows = padded.unfold(2, kernel, 1).unfold(3, kernel, 1).permute(0, 2, 3, 4, 5, 1)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # a view
        return F.linear(windows.flatten(3), weight, self.bias).permute(0, 3, 1, 2)


class Backbone(nn.Sequential):
    """A fully convolutional classifier without its last layer, with maps at several strides.

    Takes N x 3 x H x W; returns the maps that the scores read, {8: ..., 16: ..., 32: ...}.
    ``channels`` and ``fields`` are the channels and the receptive field of each.

    On a CPU, the 3 x 3 convolutions of the flat nets, VGG16 and AlexNet, need fewer multiplications
    (``fcn.cpu.winograd``), unless the net is channels last. These cannot be differentiated twice,
    so in evaluation mode gradients go through plain convolutions.
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", taps: dict[int, str]) -> None:
        super().__init__(layers)
        self.taps = {name: stride for stride, name in taps.items()} | {next(reversed(layers)): 32}
        self.channels: dict[int, int] = {}
        self.fields: dict[int, ReceptiveField] = {}
        for name, stride in self.taps.items():
            passed = list(layers.values())[: list(layers).index(name) + 1]
            self.channels[stride] = next(filter(None, map(_out_channels, reversed(passed))))
            self.fields[stride] = compose(passed)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        maps, fast, done = {}, self._may_be_fast(x), None
        after = dict(pairwise(self.children()))
        for name, layer in self.named_children():
            if fast and _is_three_by_three(layer):
                following = after.get(layer)
                done = following if isinstance(following, nn.ReLU) else None
                x = x.contiguous(memory_format=torch.channels_last)
                x = winograd.convolution(x, layer, rectified=done is not None)
            elif layer is not done:
                x = layer(x.contiguous() if fast and not isinstance(layer, MaxPool) else x)
            if name in self.taps:
                maps[self.taps[name]] = x.contiguous() if fast else x
        return maps

    def _may_be_fast(self, x: Tensor) -> bool:
        """True where nobody sees the maps in between, or differentiates them twice."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or not x.is_contiguous():
            return False
        if x.requires_grad or (torch.is_grad_enabled() and not self.training):
            return False
        if any(type(one) is not nn.Parameter or _channels_last(one) for one in self.parameters()):
            return False  # not Parameters: `torch.func`
        hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        if any(getattr(layer, name) for layer in self.children() for name in hooks):
            return False
        seen = torch.compiler.is_compiling() or torch.jit.is_tracing()
        seen = seen or is_in_torch_dispatch_mode()  # FlopCounterMode, for one
        return not seen and not torch.is_autocast_enabled("cpu")


def _is_three_by_three(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """True for a convolution of all channels with kernel 3 and stride and padding 1."""
    if type(layer) is not nn.Conv2d or layer.groups != 1 or layer.bias is None:
        return False
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return sizes == ((3, 3), (1, 1), (1, 1), (1, 1))


def backbone(classifier: Classifier, alignment: str = "tight") -> Backbone:
    """``classifier`` as the backbone of an FCN (section 4.1), without its last layer.

    GoogLeNet's average pool is dropped too. ``alignment="tight"`` pads each convolution by half its
    kernel, so that maps cover just the image; ``"reference"`` pads only the first layer, by 100
    pixels, and existing paddings stay, as in the authors' release. Others raise ValueError.
    """
    if alignment not in ("tight", "reference"):
        raise ValueError(f'unknown alignment "{alignment}": choose "tight" or "reference"')
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    connected = {n for n, layer in classifier.named_children() if isinstance(layer, nn.Linear)}
    for name, layer in convolutionalize(classifier)[:-1].named_children():
        if isinstance(layer, nn.AvgPool2d):
            continue
        if isinstance(layer, nn.Conv2d) and name in connected:
            layer = WindowConvolution.of(layer)
        if alignment == "reference" and not layers:
            first = next(m for m in layer.modules() if isinstance(m, nn.Conv2d))
            first.padding = (REFERENCE_PADDING, REFERENCE_PADDING)
        if alignment == "tight" and isinstance(layer, nn.Conv2d):
            kernel = layer.kernel_size[0]
            if kernel % 2:
                layer.padding = (kernel // 2, kernel // 2)
            else:  # an even kernel (AlexNet's fc6): one more cell before its centre than after it
                layers[f"pad_{name}"] = nn.ZeroPad2d((kernel // 2, kernel // 2 - 1) * 2)
        layers[name] = layer
    return Backbone(layers, classifier.taps)


def _channels_last(x: Tensor) -> bool:
    """True for channels last and for nothing else: maps of one channel or one pixel are both."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _out_channels(layer: nn.Module) -> int | None:
    """The number of output channels of a layer, or None if it does not change them."""
    if isinstance(layer, Inception):
        return layer.channels
    convolutions = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
    return convolutions[-1].out_channels if convolutions else None
