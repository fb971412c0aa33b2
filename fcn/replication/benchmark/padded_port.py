"""FCN-8s as most people meet it in PyTorch: the authors' padded net, translated layer by layer.

The architecture of wkentaro/pytorch-fcn, written again: the image is padded by 100 pixels, the
upsampling runs through dense filters (one per pair of classes, zero off the diagonal), and skips
and output are cropped by constants. A peer to measure against; the book uses :class:`fcn.FCN`.
"""

import torch
from torch import Tensor, nn

from fcn.models import FCN
from fcn.upsampling import bilinear_filter

BLOCKS = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)]  # convolutions, channels


class PaddedPort(nn.Module):
    """Scores N x C x H x W of images N x 3 x H x W: BGR in [0, 255] minus the mean.

    As published, the fixed filters compute gradients that the optimizer ignores.
    """

    def __init__(self, num_classes: int = 21, width: float = 1.0) -> None:
        super().__init__()
        inputs, fc = 3, round(4096 * width)
        blocks = []
        for depth, full in BLOCKS:
            outputs = round(full * width)
            layers: list[nn.Module] = []
            for _ in range(depth):
                padding = 100 if inputs == 3 else 1
                layers += [nn.Conv2d(inputs, outputs, 3, padding=padding), nn.ReLU(inplace=True)]
                inputs = outputs
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            blocks.append(nn.Sequential(*layers))
        self.to_pool3 = nn.Sequential(*blocks[:3])
        self.to_pool4, self.to_pool5 = blocks[3:]
        fc6 = [nn.Conv2d(inputs, fc, 7), nn.ReLU(inplace=True), nn.Dropout2d()]
        fc7 = [nn.Conv2d(fc, fc, 1), nn.ReLU(inplace=True), nn.Dropout2d()]
        self.classifier = nn.Sequential(*fc6, *fc7)
        self.score_fr = nn.Conv2d(fc, num_classes, 1)
        self.score_pool4 = nn.Conv2d(round(512 * width), num_classes, 1)
        self.score_pool3 = nn.Conv2d(round(256 * width), num_classes, 1)
        self.upscore2 = _upsampling(num_classes, 2)
        self.upscore_pool4 = _upsampling(num_classes, 2)
        self.upscore8 = _upsampling(num_classes, 8)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        pool3 = self.to_pool3(x)
        pool4 = self.to_pool4(pool3)
        scores = self.upscore2(self.score_fr(self.classifier(self.to_pool5(pool4))))
        scores = scores + _cropped(self.score_pool4(pool4), 5, scores)
        scores = self.upscore_pool4(scores)
        scores = scores + _cropped(self.score_pool3(pool3), 9, scores)
        return self.upscore8(scores)[..., 31 : 31 + height, 31 : 31 + width].contiguous()

    def learned(self) -> list[nn.Parameter]:
        """The parameters that the optimizer updates: all except the fixed filters."""
        return [p for name, p in self.named_parameters() if not name.startswith("upscore")]

    @torch.no_grad()
    def copy_from(self, net: FCN) -> None:
        """Copy the weights of an FCN-8s on VGG16 with the same width and number of classes."""
        theirs = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
        ours = [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]
        for to, source in zip(ours, theirs, strict=True):
            to.load_state_dict(source.state_dict())


def _upsampling(classes: int, factor: int) -> nn.ConvTranspose2d:
    layer = nn.ConvTranspose2d(classes, classes, 2 * factor, stride=factor, bias=False)
    dense = torch.eye(classes)[..., None, None] * bilinear_filter(factor)
    with torch.no_grad():
        layer.weight.copy_(dense)
    return layer


def _cropped(skip: Tensor, start: int, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return skip[..., start : start + height, start : start + width]
