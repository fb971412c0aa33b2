"""The nets of the authors' release, defined again, for an independent implementation of Caffe.

OpenCV runs them: a peer to measure against, and the oracle for our replica of the release. Nothing
here is read off our own nets: layers, names, paddings and crops are those of the release's net
definitions, so that a mistake of ours cannot be on both sides. Weights are random.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from fcn.caffemodel import NetParameter

Arrays = list[np.ndarray]


@dataclass
class CaffeNet:
    """Layers and weights in Caffe's terms. ``inputs``: name and channels of each input."""

    inputs: dict[str, int]
    width: float = 1 / 16
    seed: int = 0
    # Name of the scores of each of our heads.
    outputs: dict[str, str] = field(default_factory=dict)
    channels: dict[str, int] = field(init=False)
    blobs: dict[str, Arrays] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channels = dict(self.inputs)  # channels of every top
        self.random = np.random.default_rng(self.seed)

    def prototxt(self, size: tuple[int, int]) -> str:
        """The definition of the net for one image of ``size`` (height, width)."""
        inputs = [
            f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
            f"dim: 1 dim: {channels} dim: {size[0]} dim: {size[1]} }} }} }}"
            for name, channels in self.inputs.items()
        ]
        return "\n".join(inputs + self.text)

    def caffemodel(self) -> bytes:
        """The weights in Caffe's format."""
        net = NetParameter(name="random weights")
        for name, blobs in self.blobs.items():
            layer = net.layer.add(name=name)
            for values in blobs:
                blob = layer.blobs.add()
                blob.shape.dim.extend(values.shape)
                blob.data.append(values.astype("<f4").tobytes())
        return net.SerializeToString()

    def write(self, path: Path) -> Path:
        path.write_bytes(self.caffemodel())
        return path

    # Layers

    def layer(
        self, name: str, kind: str, bottoms: str, parameters: str = "", channels: int = 0
    ) -> str:
        """Add a layer on ``bottoms`` (separated by blanks) and return its top, of the same name."""
        first = bottoms.split()[0]
        below = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
        self.text.append(
            f'layer {{ name: "{name}" type: "{kind}" {below} top: "{name}" {parameters} }}'
        )
        self.channels[name] = channels or self.channels[first]
        return name

    def scaled(self, channels: int) -> int:
        return max(2, round(channels * self.width / 2) * 2)

    def convolution(
        self,
        name: str,
        bottom: str,
        outputs: int,
        kernel: int,
        pad: int = 0,
        stride: int = 1,
        group: int = 1,
        gain: float = 1.0,
    ) -> str:
        inputs = self.channels[bottom] // group
        scale = gain * np.sqrt(2 / (inputs * kernel**2))
        weights = self.random.normal(0, scale, (outputs, inputs, kernel, kernel))
        # Biases as large as the activations, so that a wrong border shows.
        self.blobs[name] = [weights, self.random.normal(0, 5, outputs)]
        sizes = f"num_output: {outputs} kernel_size: {kernel} pad: {pad} stride: {stride}"
        parameters = f"convolution_param {{ {sizes} group: {group} }}"
        return self.layer(name, "Convolution", bottom, parameters, outputs)

    def conv_relu(self, name: str, bottom: str, channels: int, kernel: int, **more: int) -> str:
        top = self.convolution(name, bottom, self.scaled(channels), kernel, **more)
        return self.layer(name.replace("conv", "relu").replace("fc", "relu"), "ReLU", top)

    def dropout(self, name: str, bottom: str) -> str:
        return self.layer(name, "Dropout", bottom, "dropout_param { dropout_ratio: 0.5 }")

    def pool(self, name: str, bottom: str, kernel: int) -> str:
        return self.layer(
            name,
            "Pooling",
            bottom,
            f"pooling_param {{ pool: MAX kernel_size: {kernel} stride: 2 }}",
        )

    def response_norm(self, name: str, bottom: str) -> str:
        return self.layer(
            name, "LRN", bottom, "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }"
        )

    def deconvolution(self, name: str, bottom: str, kernel: int, stride: int) -> str:
        """Bilinear upsampling, as a full bank of filters with zeros between classes."""
        classes = self.channels[bottom]
        near = 1 - np.abs(np.arange(kernel) - (kernel - 1) / 2) / stride
        bank = np.zeros((classes, classes, kernel, kernel))
        bank[range(classes), range(classes)] = near[:, None] * near
        self.blobs[name] = [bank]
        parameters = (
            f"num_output: {classes} bias_term: false kernel_size: {kernel} stride: {stride}"
        )
        return self.layer(name, "Deconvolution", bottom, f"convolution_param {{ {parameters} }}")

    def crop(self, name: str, bottom: str, like: str, offset: int) -> str:
        return self.layer(
            name, "Crop", f"{bottom} {like}", f"crop_param {{ axis: 2 offset: {offset} }}"
        )

    def sum(self, name: str, bottoms: str, coefficients: str = "") -> str:
        return self.layer(
            name, "Eltwise", bottoms, f"eltwise_param {{ operation: SUM {coefficients} }}"
        )

    def scale(self, name: str, bottom: str, value: float) -> str:
        self.blobs[name] = [np.full(self.channels[bottom], value)]
        return self.layer(name, "Scale", bottom)

    # Nets

    def vgg16(self, data: str = "data", suffix: str = "") -> dict[str, str]:
        """The backbone; returns the tops that scores read."""
        top, tops = data, {}
        for block, (convolutions, channels) in enumerate(
            [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], start=1
        ):
            for i in range(1, convolutions + 1):
                pad = 100 if (block, i) == (1, 1) else 1
                top = self.conv_relu(f"conv{block}_{i}{suffix}", top, channels, 3, pad=pad)
            top = tops[f"pool{block}"] = self.pool(f"pool{block}{suffix}", top, 2)
        for fc, kernel in (("6", 7), ("7", 1)):
            top = self.conv_relu(f"fc{fc}{suffix}", top, 4096, kernel)
            top = tops[f"fc{fc}"] = self.dropout(f"drop{fc}{suffix}", top)
        return tops

    def alexnet(self) -> str:
        """CaffeNet's backbone; returns its last top."""
        top = self.conv_relu("conv1", "data", 96, 11, stride=4, pad=100)
        top = self.response_norm("norm1", self.pool("pool1", top, 3))
        top = self.conv_relu("conv2", top, 256, 5, pad=2, group=2)
        top = self.response_norm("norm2", self.pool("pool2", top, 3))
        top = self.conv_relu("conv3", top, 384, 3, pad=1)
        top = self.conv_relu("conv4", top, 384, 3, pad=1, group=2)
        top = self.conv_relu("conv5", top, 256, 3, pad=1, group=2)
        top = self.conv_relu("fc6", self.pool("pool5", top, 3), 4096, 6)
        return self.dropout("drop7", self.conv_relu("fc7", self.dropout("drop6", top), 4096, 1))

    def head(
        self,
        tops: dict[str, str],
        stride: int,
        classes: int,
        suffix: str = "",
        head: str = "semantic",
        scales: tuple[float, float] | None = None,
    ) -> None:
        """Scores, skips, upsampling and crops; ``scales``: of the maps of pool4 and pool3."""
        top = self.convolution(f"score_fr{suffix}", tops["fc7"], classes, 1)
        skips = {32: (), 16: (("pool4", 5),), 8: (("pool4", 5), ("pool3", 9))}[stride]
        upscore = "upscore2"
        for i, (pool, offset) in enumerate(skips):
            coarse = self.deconvolution(f"{upscore}{suffix}", top, 4, 2)
            below, gain = tops[pool], 1.0
            # Larger weights make up for the scaled maps, or the skip would not count.
            if scales:
                below, gain = self.scale(f"scale_{pool}", below, scales[i]), 1 / scales[i]
            skip = self.convolution(f"score_{pool}{suffix}", below, classes, 1, gain=gain)
            skip = self.crop(f"{skip}c", skip, coarse, offset)
            top = self.sum(f"fuse_{pool}{suffix}", f"{coarse} {skip}")
            upscore = f"upscore_{pool}"
        last = {32: "upscore", 16: "upscore16", 8: "upscore8"}[stride]
        top = self.deconvolution(f"{last}{suffix}", top, 2 * stride, stride)
        self.outputs[head] = self.crop(
            f"score{suffix}", top, next(iter(self.inputs)), {32: 19, 16: 27, 8: 31}[stride]
        )


def fcn_vgg16(
    stride: int,
    classes: int = 21,
    scales: tuple[float, float] | None = None,
    width: float = 1 / 16,
) -> CaffeNet:
    net = CaffeNet({"data": 3}, width)
    net.head(net.vgg16(), stride, classes, scales=scales)
    return net


def fcn_alexnet() -> CaffeNet:
    net = CaffeNet({"data": 3})
    top = net.deconvolution("upscore", net.convolution("score_fr", net.alexnet(), 21, 1), 63, 32)
    net.outputs["semantic"] = net.crop("score", top, "data", 18)
    return net


def sift_flow(stride: int) -> CaffeNet:
    net = CaffeNet({"data": 3})
    tops = net.vgg16()
    net.head(tops, stride, 33, "_sem", "semantic")
    net.head(tops, stride, 3, "_geo", "geometric")
    return net


def late_fusion() -> CaffeNet:
    net = CaffeNet({"color": 3, "hha": 3})
    scores = [
        net.convolution(f"score_fr{data}", net.vgg16(data, data)["fc7"], 40, 1)
        for data in ("color", "hha")
    ]
    top = net.sum("score_fused", " ".join(scores), "coeff: 0.5 coeff: 0.5")
    net.outputs["semantic"] = net.crop(
        "score", net.deconvolution("upscore", top, 64, 32), "color", 19
    )
    return net


NETS: dict[str, Callable[[], CaffeNet]] = {
    **{f"fcn{s}s-heavy-pascal": partial(fcn_vgg16, s) for s in (32, 16, 8)},
    "fcn8s-atonce-pascal": partial(fcn_vgg16, 8, scales=(0.01, 0.0001)),
    "fcn-alexnet-pascal": fcn_alexnet,
    **{f"siftflow-fcn{s}s-heavy": partial(sift_flow, s) for s in (32, 16, 8)},
    **{f"pascalcontext-fcn{s}s-heavy": partial(fcn_vgg16, s, 60) for s in (32, 16, 8)},
    **{f"nyud-fcn32s-{inputs}-heavy": partial(fcn_vgg16, 32, 40) for inputs in ("color", "hha")},
    "nyud-fcn32s-color-hha-heavy": late_fusion,
}
"""Each file of the release by its name, narrow and with random weights."""
