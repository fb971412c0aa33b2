"""Frozen first layers: their features are computed once and kept in memory.

Layers that keep their weights output the same in every epoch. So after the first, they cost
nothing, and neither does the backward pass through them.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn

from fcn.models import FCN, LateFusion
from fcn.training.gpu import draw
from fcn.training.loader import SizedLoader
from fcn.training.memory import available_memory

SHARE = 0.5  # of the available memory that features may take
OUTPUT = 0  # the key of the output of the last frozen layer; the others are strides

Maps = dict[int, Tensor]
"""Features: the maps of the frozen layers that the others read, N x C x h x w each."""

Key = tuple[bool, bool, int, int]
"""Mirrored, at half the size, height and width in pixels of the padded image."""


def first_layers(net: FCN | LateFusion, last: str) -> list[tuple[str, nn.Module]]:
    """The layers of the backbone up to and including ``last``, with their names.

    Raises ValueError if there is no such layer, and for late fusion.
    """
    if isinstance(net, LateFusion):
        raise ValueError("frozen: not available for late fusion, which has two backbones")
    layers = list(net.trunk.named_children())
    names = [name for name, _ in layers]
    if last not in names:
        raise ValueError(f'frozen is "{last}": the backbone has the layers {", ".join(names)}')
    return layers[: names.index(last) + 1]


class LaterLayers(nn.Module):
    """``net`` without its layers up to ``last``: takes their features instead of images.

    Raises ValueError as ``first_layers`` does.
    """

    def __init__(self, net: FCN | LateFusion, last: str) -> None:
        super().__init__()
        self.first = len(first_layers(net, last))
        self.net = cast(FCN, net)

    def forward(self, maps: Maps, size: Sequence[int], upsample: bool = True) -> Any:
        """Scores as of ``net``, for images of ``size`` (H, W)."""
        x, maps = maps[OUTPUT], {key: x for key, x in maps.items() if key != OUTPUT}
        for name, layer in list(self.net.trunk.named_children())[self.first :]:
            x = layer(x)
            if name in self.net.trunk.taps:
                maps[self.net.trunk.taps[name]] = x
        return self.net.score(maps, size, upsample)

    @torch.no_grad()
    def features(self, images: Tensor) -> Maps:
        """The features of ``images``, N x 3 x H x W in [0, 1]."""
        x, maps = self.net.prepared(images), {}
        for name, layer in list(self.net.trunk.named_children())[: self.first]:
            x = layer(x)
            stride = self.net.trunk.taps.get(name, 0)
            if stride >= self.net.settings["stride"]:
                maps[stride] = x
        return maps | {OUTPUT: x}


class Features:
    """Batches of features of the frozen layers, instead of images.

    ``load`` loads the images. The features of an image and of its mirror image, at either size, are
    computed on first use, in ``autocast``, and kept in bfloat16 if there is room for those of all
    images in a ``SHARE`` of the available memory. An image that is padded to another size, that of
    its batch, has other features. ``images`` is the number of images.
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
        self.room = SHARE * _free_memory(device)
        self.kept: dict[Key, Maps] = {}  # images x h x w x C
        self.known: dict[Key, list[bool]] = {}
        self.dtype = torch.float32  # of the features as computed

    def batch(
        self, indices: Sequence[int], augment: str, seeds: Sequence[int], half: bool
    ) -> tuple[Maps, dict[str, Tensor]]:
        """Features and labels, on the device. See ``fcn.training.loader``."""
        images, labels = self.load(indices, augment, seeds, half)
        changes = [draw(augment, seed) for seed in seeds]
        if any(right or down for _, right, down in changes):
            return self._as_computed(self.features(images)), labels
        height, width = images.shape[-2:]
        keys = [(mirrored, half, height, width) for mirrored, _, _ in changes]
        new = [n for n, (i, k) in enumerate(zip(indices, keys, strict=True)) if not self._has(k, i)]
        if new:
            computed = self.features(images[new])
            if not all(self._fits(keys[n], computed) for n in new):
                return self._as_computed(self.features(images)), labels
            for place, n in enumerate(new):
                for stride, maps in computed.items():
                    self.kept[keys[n]][stride][indices[n]] = maps[place].permute(1, 2, 0)
                self.known[keys[n]][indices[n]] = True
        found = [self.kept[k] for k in keys]
        kept = {
            stride: torch.stack([maps[stride][i] for maps, i in zip(found, indices, strict=True)])
            for stride in found[0]
        }
        return self._as_computed({s: x.permute(0, 3, 1, 2) for s, x in kept.items()}), labels

    def features(self, images: Tensor) -> Maps:
        """The features of ``images`` (N x 3 x H x W, uint8): bfloat16, channels last."""
        inputs = images.to(self.device).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            maps = self.net.features(inputs.float() / 255)
        self.dtype = maps[OUTPUT].dtype
        return {
            stride: x.bfloat16().contiguous(memory_format=torch.channels_last)
            for stride, x in maps.items()
        }

    def _as_computed(self, maps: Maps) -> Maps:
        return {stride: x.to(self.dtype) for stride, x in maps.items()}

    def _has(self, key: Key, index: int) -> bool:
        return key in self.known and self.known[key][index]

    def _fits(self, key: Key, computed: Maps) -> bool:
        """True if such features can be kept; makes room for all images on the first call."""
        if key not in self.kept:
            used = sum(maps.nbytes for kept in self.kept.values() for maps in kept.values())
            values = sum(maps[0].numel() for maps in computed.values())
            if used + 2 * self.images * values > self.room:
                return False
            self.kept[key] = {
                stride: maps.new_empty(self.images, *maps.shape[2:], maps.shape[1])
                for stride, maps in computed.items()
            }
            self.known[key] = [False] * self.images
        return True


def _free_memory(device: torch.device) -> int:
    """Bytes."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory()
