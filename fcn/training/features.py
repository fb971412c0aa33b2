"""Frozen first layers: their features are computed once and kept in memory.

The first layers of an ImageNet classifier change little in training. If they stay as they are,
their output is the same in every epoch, so neither they nor the backward pass through them cost
anything after the first.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from fcn.models import FCN, LateFusion
from fcn.preprocessing import as_caffe
from fcn.training.gpu import draw
from fcn.training.loader import Batch, SizedLoader

MEMORY = 8 << 30  # bytes of features to keep at most


def first_layers(net: FCN | LateFusion, last: str) -> list[nn.Module]:
    """The layers of the backbone up to and including ``last``.

    Raises ValueError if there is no such layer, for late fusion, and if a skip needs the output of
    an earlier layer.
    """
    if isinstance(net, LateFusion):
        raise ValueError("frozen: not available for late fusion, which has two backbones")
    names = [name for name, _ in net.trunk.named_children()]
    if last not in names:
        raise ValueError(f'frozen is "{last}": the backbone has the layers {", ".join(names)}')
    position = names.index(last)
    for name, stride in net.trunk.taps.items():
        if stride >= net.settings["stride"] and names.index(name) < position:
            raise ValueError(f'frozen is "{last}": the net scores {name}, an earlier layer')
    return list(net.trunk)[: position + 1]


class LaterLayers(nn.Module):
    """``net`` without its layers up to ``last``: takes their features instead of images.

    Raises ValueError as ``first_layers`` does.
    """

    def __init__(self, net: FCN | LateFusion, last: str) -> None:
        super().__init__()
        self.first = len(first_layers(net, last))
        self.net = cast(FCN, net)

    def forward(self, features: Tensor, size: Sequence[int], upsample: bool = True) -> Any:
        """Scores as of ``net``, for images of ``size`` (H, W)."""
        half = torch.is_autocast_enabled(features.device.type)
        taps, maps, x = self.net.trunk.taps, {}, features if half else features.float()
        for i, (name, layer) in enumerate(self.net.trunk.named_children(), start=1):
            if i > self.first:
                x = layer(x)
            if i >= self.first and name in taps:
                maps[taps[name]] = x
        return self.net.score(maps, size, upsample)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """The features of ``images``, N x 3 x H x W in [0, 1]."""
        x = as_caffe(images, self.net.inputs, self.net.mean)
        for layer in list(self.net.trunk)[: self.first]:
            x = layer(x)
        return x


class Features:
    """Batches of features of the frozen layers, instead of images.

    ``load`` loads the images. The features of an image and of its mirror image, at either size, are
    computed on first use, in ``autocast``, and kept in bfloat16 if all images have one size and
    ``MEMORY`` suffices. ``images`` is the number of images.
    """

    def __init__(
        self,
        net: LaterLayers,
        load: SizedLoader,
        images: int,
        device: torch.device,
        autocast: Callable[[], Any] = nullcontext,
    ) -> None:
        self.net, self.load, self.images = net, load, images
        self.device, self.autocast = device, autocast
        self.kept: dict[tuple[bool, bool], Tensor] = {}  # by mirrored and half: images x h x w x C
        self.known: dict[tuple[bool, bool], list[bool]] = {}

    def batch(
        self, indices: Sequence[int], augment: str, seeds: Sequence[int], half: bool
    ) -> Batch:
        """Features N x C x h x w and labels, on the device. See ``fcn.training.loader``."""
        images, labels = self.load(indices, augment, seeds, half)
        changes = [draw(augment, seed) for seed in seeds]
        if any(right or down for _, right, down in changes):
            return self.features(images), labels
        keys = [(mirrored, half) for mirrored, _, _ in changes]
        new = [n for n, (i, k) in enumerate(zip(indices, keys, strict=True)) if not self._has(k, i)]
        if new:
            computed = self.features(images[new]).permute(0, 2, 3, 1)
            if not all(self._fits(keys[n], computed[0]) for n in new):
                return self.features(images), labels
            for n, feature in zip(new, computed, strict=True):
                self.kept[keys[n]][indices[n]] = feature
                self.known[keys[n]][indices[n]] = True
        rows = [self.kept[k][i] for i, k in zip(indices, keys, strict=True)]
        return torch.stack(rows).permute(0, 3, 1, 2), labels

    def features(self, images: Tensor) -> Tensor:
        """The features of ``images`` (N x 3 x H x W, uint8): bfloat16, channels last."""
        inputs = images.to(self.device).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            return self.net.features(inputs.float() / 255).bfloat16()

    def _has(self, key: tuple[bool, bool], index: int) -> bool:
        return key in self.known and self.known[key][index]

    def _fits(self, key: tuple[bool, bool], feature: Tensor) -> bool:
        """True if ``feature`` can be kept; makes room for all images on the first call."""
        if key not in self.kept:
            used = sum(kept.numel() for kept in self.kept.values())
            if 2 * (used + self.images * feature.numel()) > MEMORY:
                return False
            self.kept[key] = feature.new_empty(self.images, *feature.shape)
            self.known[key] = [False] * self.images
        return self.kept[key].shape[1:] == feature.shape
