"""The three ImageNet classifiers of the paper (section 4.1), as published, before any conversion.

Each is one flat, named sequence of layers that reads from top to bottom. Layers have the names of
the Caffe releases, with ``/`` replaced by ``.`` (``inception_3a/5x5_reduce`` becomes the parameter
``inception_3a.5x5_reduce.weight``), so weight files need no name mapping. Input: N x 3 x H x W, BGR
in [0, 255] minus the mean; output: scores N x num_classes. Max pools round up, as Caffe's do.
"""

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.geometry import ReceptiveField

Layers = list[tuple[str, nn.Module]]


class Classifier(nn.Sequential):
    """A named sequence of layers that ends in class scores.

    ``taps`` names, for each stride, the layer whose output a skip connection reads (section 4.2);
    ``input_size`` is the side, in pixels, of the square image that the classifier takes.
    """

    def __init__(self, layers: Layers, taps: dict[int, str], input_size: int) -> None:
        super().__init__(OrderedDict(layers))
        self.taps, self.input_size = taps, input_size


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
    # Without pretrained weights, this keeps activations in range, as there is no batch norm.
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _conv_relu(name: str, *sizes: int, **settings: int) -> Layers:
    return [(f"conv{name}", _conv(*sizes, **settings)), (f"relu{name}", nn.ReLU(inplace=True))]


def _linear_relu_dropout(name: str, inputs: int, outputs: int) -> Layers:
    linear = (f"fc{name}", nn.Linear(inputs, outputs))
    return [linear, (f"relu{name}", nn.ReLU(inplace=True)), (f"drop{name}", nn.Dropout(0.5))]


class MaxPool(nn.MaxPool2d):
    """Max pooling whose windows at the border may reach beyond it (``ceil_mode``).

    On a CPU, torch pools several times faster in channels last, so other maps take the detour. An
    exported pool rounds down, over one more row and column of zeros: the same for the maps of our
    nets, which are not negative. ``torch.export`` and some runtimes cannot round up.
    """

    def __init__(self, kernel: int, stride: int, padding: int = 0) -> None:
        super().__init__(kernel, stride, padding, ceil_mode=stride > 1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            padded = F.pad(x, (0, 1, 0, 1)) if self.ceil_mode else x
            return F.max_pool2d(padded, self.kernel_size, self.stride, self.padding)
        if x.device.type != "cpu" or x.is_mkldnn or not x.is_contiguous():
            return super().forward(x)
        pooled: Tensor = super().forward(x.contiguous(memory_format=torch.channels_last))
        return pooled.contiguous()


def _scaled(width: float) -> Callable[[int], int]:
    """Scale a number of channels by ``width``; the result is even, as AlexNet has two groups."""
    return lambda channels: max(2, round(channels * width / 2) * 2)


class ResponseNorm(nn.Module):
    """Local response normalisation over five channels: x / (1 + 1e-4 / 5 * sum of x^2)^0.75.

    Equal to ``nn.LocalResponseNorm(5, 1e-4, 0.75)``, whose 3-d average pooling takes half of a
    training step on a CPU. Here, the sum is a 1x1 convolution with a band matrix. Half precision
    is converted to float32 in between.
    """

    field = ReceptiveField()  # acts on each cell separately

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad and not torch.jit.is_tracing():
            normalized: Tensor = _Normalize.apply(x)
            return normalized
        with _full_precision(x):
            wide = _at_least_single(x)
            return _power(_inverse_root(wide)).mul_(wide).to(x.dtype)


class _Normalize(torch.autograd.Function):
    """``ResponseNorm`` with its gradient written out: a third of the passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        with _full_precision(x):
            wide = _at_least_single(x)
            root = _inverse_root(wide)
            ctx.save_for_backward(x, root)
            return _power(root).mul_(wide).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        x, root = ctx.saved_tensors
        with _full_precision(x):
            wide = _at_least_single(x)
            if torch.is_grad_enabled():  # will be differentiated again, but ``root`` is a constant
                root = _inverse_root(wide)
            scaled = slope * _power(root)
            shared = _five_channels(wide * scaled * root.square())
            return (scaled - 2 * 0.75 * 1e-4 / 5 * wide * shared).to(x.dtype)


def _full_precision(x: Tensor) -> AbstractContextManager[object]:
    """No autocast, where there is one (not on "meta")."""
    device = x.device.type
    if torch.amp.autocast_mode.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _at_least_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _inverse_root(x: Tensor) -> Tensor:
    """(1 + 1e-4 / 5 * sum of x^2)^-0.5."""
    return _five_channels(x.square()).mul_(1e-4 / 5).add_(1).rsqrt_()


def _power(root: Tensor) -> Tensor:
    """``root`` ^ 1.5; in place, where nothing will be differentiated: maps are large."""
    power = root.sqrt()
    if power.requires_grad or torch.jit.is_tracing():
        return power * root
    return power.mul_(root)


def _five_channels(x: Tensor) -> Tensor:
    """The sum over each channel and its two neighbours on either side."""
    band = x.new_ones(x.shape[1], x.shape[1]).tril(2).triu(-2)
    return F.conv2d(x, band[..., None, None])


def alexnet(
    num_classes: int = 1000, width: float = 1.0, channels: int = 3, norm_first: bool = False
) -> Classifier:
    """AlexNet as the public CaffeNet: two groups in conv2, conv4 and conv5, norm after pooling.

    ``norm_first`` normalises before pooling, as Krizhevsky's net and the BVLC AlexNet release do.
    """
    c = _scaled(width)

    def pool_norm(i: int) -> Layers:
        layers: Layers = [(f"pool{i}", MaxPool(3, stride=2)), (f"norm{i}", ResponseNorm())]
        return layers[::-1] if norm_first else layers

    layers = [
        *_conv_relu("1", channels, c(96), 11, stride=4),
        *pool_norm(1),
        *_conv_relu("2", c(96), c(256), 5, padding=2, groups=2),
        *pool_norm(2),
        *_conv_relu("3", c(256), c(384), 3, padding=1),
        *_conv_relu("4", c(384), c(384), 3, padding=1, groups=2),
        *_conv_relu("5", c(384), c(256), 3, padding=1, groups=2),
        ("pool5", MaxPool(3, stride=2)),
        ("flatten", nn.Flatten()),
        *_linear_relu_dropout("6", c(256) * 6 * 6, c(4096)),
        *_linear_relu_dropout("7", c(4096), c(4096)),
        ("fc8", nn.Linear(c(4096), num_classes)),
    ]
    last = "pool" if norm_first else "norm"
    return Classifier(layers, {8: f"{last}1", 16: f"{last}2"}, input_size=227)


def vgg16(num_classes: int = 1000, width: float = 1.0, channels: int = 3) -> Classifier:
    """VGG-16, configuration D: 13 convolutions in five blocks, three fully connected layers."""
    c = _scaled(width)
    layers: Layers = []
    inputs = channels
    blocks = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]
    for block, (depth, outputs) in enumerate(blocks, start=1):
        for i in range(1, depth + 1):
            layers += _conv_relu(f"{block}_{i}", inputs, c(outputs), 3, padding=1)
            inputs = c(outputs)
        layers.append((f"pool{block}", MaxPool(2, stride=2)))
    layers.append(("flatten", nn.Flatten()))
    layers += _linear_relu_dropout("6", c(512) * 7 * 7, c(4096))
    layers += _linear_relu_dropout("7", c(4096), c(4096))
    layers.append(("fc8", nn.Linear(c(4096), num_classes)))
    return Classifier(layers, {8: "pool3", 16: "pool4"}, input_size=224)


class Inception(nn.Module):
    """Parallel branches (1x1, 3x3, 5x5, pool), concatenated; a ReLU follows each convolution."""

    def __init__(self, inputs: int, n1: int, r3: int, n3: int, r5: int, n5: int, proj: int) -> None:
        super().__init__()
        self.channels = n1 + n3 + n5 + proj
        self.add_module("1x1", _conv(inputs, n1, 1))
        self.add_module("3x3_reduce", _conv(inputs, r3, 1))
        self.add_module("3x3", _conv(r3, n3, 3, padding=1))
        self.add_module("5x5_reduce", _conv(inputs, r5, 1))
        self.add_module("5x5", _conv(r5, n5, 5, padding=2))
        self.add_module("pool", MaxPool(3, stride=1, padding=1))
        self.add_module("pool_proj", _conv(inputs, proj, 1))
        self.add_module("relu", nn.ReLU(inplace=True))

    def branches(self) -> list[list[nn.Module]]:
        """The layers of each branch, in order, also for ``receptive_field``."""
        names = ["1x1 relu", "3x3_reduce relu 3x3 relu", "5x5_reduce relu 5x5 relu"]
        names.append("pool pool_proj relu")
        return [[getattr(self, name) for name in branch.split()] for branch in names]

    def forward(self, x: Tensor) -> Tensor:
        outputs = [reduce(lambda y, layer: layer(y), branch, x) for branch in self.branches()]
        return torch.cat(outputs, dim=1)


INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Channels of GoogLeNet's inceptions: 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj."""


def googlenet(num_classes: int = 1000, width: float = 1.0, channels: int = 3) -> Classifier:
    """GoogLeNet in the BVLC layout, without the two auxiliary classifiers used in training."""
    c = _scaled(width)
    conv1 = [
        ("7x7_s2", _conv(channels, c(64), 7, stride=2, padding=3)),
        ("relu", nn.ReLU(inplace=True)),
    ]
    conv2 = [("3x3_reduce", _conv(c(64), c(64), 1)), ("relu_reduce", nn.ReLU(inplace=True))]
    conv2 += [("3x3", _conv(c(64), c(192), 3, padding=1)), ("relu", nn.ReLU(inplace=True))]
    layers: Layers = [("conv1", nn.Sequential(OrderedDict(conv1))), ("pool1", MaxPool(3, stride=2))]
    layers += [("norm1", ResponseNorm()), ("conv2", nn.Sequential(OrderedDict(conv2)))]
    layers += [("norm2", ResponseNorm()), ("pool2", MaxPool(3, stride=2))]
    inputs = c(192)
    for name, sizes in INCEPTIONS.items():
        block = Inception(inputs, *map(c, sizes))
        inputs = block.channels
        layers.append((f"inception_{name}", block))
        if name in ("3b", "4e"):
            layers.append((f"pool{name[0]}", MaxPool(3, stride=2)))
    layers += [("pool5", nn.AvgPool2d(7, stride=1)), ("drop", nn.Dropout(0.4))]
    loss3 = nn.Sequential(OrderedDict(classifier=nn.Linear(inputs, num_classes)))
    layers += [("flatten", nn.Flatten()), ("loss3", loss3)]
    return Classifier(layers, {8: "inception_3b", 16: "inception_4e"}, input_size=224)


CLASSIFIERS: dict[str, Callable[..., Classifier]] = {
    "alexnet": alexnet,
    "bvlc_alexnet": partial(alexnet, norm_first=True),
    "vgg16": vgg16,
    "googlenet": googlenet,
}
