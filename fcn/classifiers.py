"""The three ImageNet classifiers of the paper (section 4.1), as published, before any conversion.

Each is one flat, named sequence of layers that reads from top to bottom. The names are those of the Caffe releases,
with ``/`` read as ``.`` (``inception_3a/5x5_reduce`` is the parameter ``inception_3a.5x5_reduce.weight``), so that a
weight file needs no table of names. Input: N x 3 x H x W, BGR in 0..255 minus the mean; output: N x num_classes scores.

All max-pools round up (``ceil_mode``), as Caffe's do.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial, reduce

import torch
from torch import Tensor, nn

from fcn.geometry import ReceptiveField


class Classifier(nn.Sequential):
    """A named sequence of layers that ends in class scores.

    ``taps`` names, for each stride, the last layer at that stride whose output a skip connection reads (section 4.2);
    ``classifier`` names the last layer, which becomes no part of a fully convolutional trunk;
    ``input_size`` is the side in pixels of the square image that the classifier takes.
    """

    def __init__(
        self, layers: list[tuple[str, nn.Module]], *, taps: dict[int, str], classifier: str, input_size: int
    ) -> None:
        super().__init__(OrderedDict(layers))
        self.taps = taps
        self.classifier = classifier
        self.input_size = input_size


def _conv(
    channels_in: int, channels: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels, kernel, stride, padding, groups=groups)
    # Where no pretrained weights are loaded: keeps the size of activations through a net without batch normalisation.
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _pool(kernel: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)


class ResponseNorm(nn.Module):
    """Local response normalisation across five channels: x / (1 + 1e-4 / 5 * sum of x^2 over them)^0.75.

    The same function as ``nn.LocalResponseNorm(5, 1e-4, 0.75)``, which takes half of a training step on a CPU: summing
    five shifted views is several times faster than its 3-d average pooling, and it works in bfloat16 too.
    """

    field = ReceptiveField()  # every cell for itself

    def forward(self, x: Tensor) -> Tensor:
        squares = nn.functional.pad(x.float().square().movedim(1, -1), (2, 2))
        total = reduce(torch.add, (squares[..., i : i + x.shape[1]] for i in range(5)))
        root = torch.rsqrt(1 + 1e-4 / 5 * total)
        return x * (root * root.sqrt()).movedim(-1, 1).to(x.dtype)


def _scaled(width: float) -> Callable[[int], int]:
    """The rule that scales a layer's channels; kept even, since AlexNet splits them into two groups."""
    return lambda channels: max(2, round(channels * width / 2) * 2)


def alexnet(num_classes: int = 1000, width: float = 1.0, channels: int = 3, norm_first: bool = False) -> Classifier:
    """AlexNet as the public CaffeNet: response normalisation after pooling, two groups in conv2, conv4 and conv5.

    ``norm_first`` puts the normalisation before the pooling, as Krizhevsky's net and the BVLC AlexNet release have it.
    """
    c = _scaled(width)

    def norm_and_pool(i: int) -> list[tuple[str, nn.Module]]:
        pair = [(f"pool{i}", _pool(3)), (f"norm{i}", ResponseNorm())]
        return pair[::-1] if norm_first else pair

    return Classifier(
        [
            ("conv1", _conv(channels, c(96), 11, stride=4)), ("relu1", nn.ReLU()),
            *norm_and_pool(1),
            ("conv2", _conv(c(96), c(256), 5, padding=2, groups=2)), ("relu2", nn.ReLU()),
            *norm_and_pool(2),
            ("conv3", _conv(c(256), c(384), 3, padding=1)), ("relu3", nn.ReLU()),
            ("conv4", _conv(c(384), c(384), 3, padding=1, groups=2)), ("relu4", nn.ReLU()),
            ("conv5", _conv(c(384), c(256), 3, padding=1, groups=2)), ("relu5", nn.ReLU()),
            ("pool5", _pool(3)),
            ("flatten", nn.Flatten()),
            ("fc6", nn.Linear(c(256) * 6 * 6, c(4096))), ("relu6", nn.ReLU()), ("drop6", nn.Dropout(0.5)),
            ("fc7", nn.Linear(c(4096), c(4096))), ("relu7", nn.ReLU()), ("drop7", nn.Dropout(0.5)),
            ("fc8", nn.Linear(c(4096), num_classes)),
        ],
        taps={8: "norm1" if not norm_first else "pool1", 16: "norm2" if not norm_first else "pool2"},
        classifier="fc8",
        input_size=227,
    )  # fmt: skip


def vgg16(num_classes: int = 1000, width: float = 1.0, channels: int = 3) -> Classifier:
    """VGG-16, configuration D: thirteen 3x3 convolutions in five blocks, three fully connected layers."""
    c = _scaled(width)
    layers: list[tuple[str, nn.Module]] = []
    channels_in = channels
    for block, (convs, maps) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], start=1):
        for i in range(1, convs + 1):
            layers += [(f"conv{block}_{i}", _conv(channels_in, c(maps), 3, padding=1)),
                       (f"relu{block}_{i}", nn.ReLU())]  # fmt: skip
            channels_in = c(maps)
        layers.append((f"pool{block}", _pool(2)))
    layers += [
        ("flatten", nn.Flatten()),
        ("fc6", nn.Linear(c(512) * 7 * 7, c(4096))), ("relu6", nn.ReLU()), ("drop6", nn.Dropout(0.5)),
        ("fc7", nn.Linear(c(4096), c(4096))), ("relu7", nn.ReLU()), ("drop7", nn.Dropout(0.5)),
        ("fc8", nn.Linear(c(4096), num_classes)),
    ]  # fmt: skip
    return Classifier(layers, taps={8: "pool3", 16: "pool4"}, classifier="fc8", input_size=224)


class Inception(nn.Module):
    """Four branches side by side (1x1, 3x3, 5x5, pooled), concatenated; every convolution is followed by a ReLU."""

    def __init__(self, channels_in: int, n1: int, r3: int, n3: int, r5: int, n5: int, proj: int) -> None:
        super().__init__()
        self.channels = n1 + n3 + n5 + proj
        for name, layer in {
            "1x1": _conv(channels_in, n1, 1),
            "3x3_reduce": _conv(channels_in, r3, 1),
            "3x3": _conv(r3, n3, 3, padding=1),
            "5x5_reduce": _conv(channels_in, r5, 1),
            "5x5": _conv(r5, n5, 5, padding=2),
            "pool": nn.MaxPool2d(3, stride=1, padding=1),
            "pool_proj": _conv(channels_in, proj, 1),
        }.items():
            self.add_module(name, layer)

    def branches(self) -> list[list[nn.Module]]:
        """The layers of each branch, in order; geometry reads them too."""
        names = [["1x1"], ["3x3_reduce", "3x3"], ["5x5_reduce", "5x5"], ["pool", "pool_proj"]]
        return [[getattr(self, name) for name in branch] for branch in names]

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for branch in self.branches():
            y = x
            for layer in branch:
                y = layer(y)
                if isinstance(layer, nn.Conv2d):
                    y = torch.relu_(y)
            outputs.append(y)
        return torch.cat(outputs, dim=1)


def googlenet(num_classes: int = 1000, width: float = 1.0, channels: int = 3) -> Classifier:
    """GoogLeNet in the BVLC layout, without the two auxiliary classifiers, which serve only ImageNet training."""
    c = _scaled(width)
    sizes = {
        "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
        "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
        "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
        "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
    }  # fmt: skip
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Sequential(OrderedDict([
            ("7x7_s2", _conv(channels, c(64), 7, stride=2, padding=3)), ("relu", nn.ReLU()),
        ]))),
        ("pool1", _pool(3)), ("norm1", ResponseNorm()),
        ("conv2", nn.Sequential(OrderedDict([
            ("3x3_reduce", _conv(c(64), c(64), 1)), ("relu_reduce", nn.ReLU()),
            ("3x3", _conv(c(64), c(192), 3, padding=1)), ("relu", nn.ReLU()),
        ]))),
        ("norm2", ResponseNorm()), ("pool2", _pool(3)),
    ]  # fmt: skip
    channels_in = c(192)
    for name, size in sizes.items():
        block = Inception(channels_in, *(c(n) for n in size))
        channels_in = block.channels
        layers.append((f"inception_{name}", block))
        if name in ("3b", "4e"):
            layers.append((f"pool{name[0]}", _pool(3)))
    layers += [
        ("pool5", nn.AvgPool2d(7, stride=1)), ("drop", nn.Dropout(0.4)), ("flatten", nn.Flatten()),
        ("loss3", nn.Sequential(OrderedDict([("classifier", nn.Linear(channels_in, num_classes))]))),
    ]  # fmt: skip
    return Classifier(layers, taps={8: "inception_3b", 16: "inception_4e"}, classifier="loss3", input_size=224)


CLASSIFIERS: dict[str, Callable[..., Classifier]] = {
    "alexnet": alexnet,
    "bvlc_alexnet": partial(alexnet, norm_first=True),
    "vgg16": vgg16,
    "googlenet": googlenet,
}
