"""The nets that the authors trained and released, as nets of this package.

``python data_scripts/reference_weights.py`` fetches the files. Their layers have the names of the
release's net definitions (github.com/shelhamer/fcn.berkeleyvision.org), which this module maps to
ours; the means are those that the release's data layers subtract.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcn.data import nyud, pascal_context, sift_flow, voc
from fcn.models import FCN, SKIP_SCALES, LateFusion, build
from fcn.preprocessing import MEAN_BGR, MEAN_HHA
from fcn.pretrained import load_into, read_weights
from fcn.replication.paper import RELEASE
from fcn.upsampling import Interpolation, bilinear_filter

SCORES = {32: "score_fr", 16: "score_pool4", 8: "score_pool3"}  # the release's layers by stride
FIRST = {
    "vgg16": ("conv1_1", 64),
    "alexnet": ("conv1", 96),
}  # first layer, its filters at full width
CONTEXT_MEAN_BGR = (104.007, 116.669, 122.679)  # PASCAL-Context; the release rounds it


@dataclass(frozen=True)
class Reference:
    """A file of the release: ``name`` without ``.caffemodel``, and the net in it.

    ``heads`` has the number of classes of each head, and the suffix of its layers in the file.
    ``means`` has the mean of each stream, in the order of the net's input, by the suffix of its
    layers. ``expected`` is the mean IU on seg11valid, in percent, in the release's README, if any.
    """

    name: str
    dataset: str
    stride: int
    heads: dict[str, tuple[int, str]]
    means: Mapping[str, tuple[float, ...]]
    net: str = "vgg16"
    inputs: str = "rgb"
    scaled_skips: bool = False
    expected: float | None = None

    def expectation(self) -> str:
        """The published score in one line."""
        mean_iu = f"mean IU {self.expected} on the 736 photos of seg11valid"
        published = mean_iu if self.expected else "no number"
        return f"published for {self.name}: {published} (README of the authors' release)"

    def settings(self, width: float) -> dict[str, Any]:
        """The settings of :func:`fcn.models.build`, with channels scaled by ``width``."""
        names = ("net", "stride", "inputs", "scaled_skips")
        heads = {head: classes for head, (classes, _) in self.heads.items()}
        fixed = {"alignment": "reference", "upsampling": "bilinear", "width": width}
        return {name: getattr(self, name) for name in names} | {"heads": heads} | fixed


def _references() -> Iterator[Reference]:
    objects, rgb = {"semantic": (len(voc.CLASSES), "")}, {"": MEAN_BGR}
    regions = {"semantic": (1 + len(pascal_context.CLASSES[59]), "")}
    tasks = {
        "semantic": (len(sift_flow.SEMANTIC), "_sem"),
        "geometric": (len(sift_flow.GEOMETRIC), "_geo"),
    }
    iu = {row.label: row.metrics["mean_iu"] for row in RELEASE if row.of == "seg11valid"}
    for s in (32, 16, 8):
        name = f"fcn{s}s-heavy-pascal"
        yield Reference(name, "voc", s, objects, rgb, expected=iu[f"FCN-{s}s"])
        name = f"pascalcontext-fcn{s}s-heavy"
        yield Reference(name, "pascal-context-59", s, regions, {"": CONTEXT_MEAN_BGR})
        name = f"siftflow-fcn{s}s-heavy"
        yield Reference(name, "sift-flow", s, tasks, {"": sift_flow.MEAN_BGR})
    at_once = Reference("fcn8s-atonce-pascal", "voc", 8, objects, rgb, scaled_skips=True)
    yield replace(at_once, expected=iu["FCN-8s at-once"])
    alexnet = Reference("fcn-alexnet-pascal", "voc", 32, objects, rgb, "alexnet")
    yield replace(alexnet, expected=iu["FCN-AlexNet"])
    rooms = {"semantic": (len(nyud.CLASSES), "")}
    both = {"color": nyud.MEAN_BGR, "hha": MEAN_HHA}
    streams = {"color": {"": nyud.MEAN_BGR}, "hha": {"": MEAN_HHA}, "color-hha": both}
    for name, means in streams.items():  # the release has no early fusion
        inputs, file = name.replace("color", "rgb"), f"nyud-fcn32s-{name}-heavy"
        yield Reference(file, f"nyud-{inputs}", 32, rooms, means, inputs=inputs)


REFERENCES = {reference.name: reference for reference in _references()}
"""Every file of the release by its name without ``.caffemodel``."""


def find(path: str | Path) -> Reference:
    """The file of the release with the name of ``path``. Raises ValueError if there is none."""
    name = Path(path).name.removesuffix(".caffemodel")
    if name not in REFERENCES:
        known = ", ".join(REFERENCES)
        raise ValueError(f"{path}: not a file of the release; keep its name: one of {known}")
    return REFERENCES[name]


def load(path: str | Path, warn: Callable[[str], None] = warnings.warn) -> FCN | LateFusion:
    """The net in a file of the release, with the mean of its data set, ready for evaluation.

    The release fixes its upsampling filters and skip scales; ours are the same constants, and
    ``warn`` gets one line for each that differs. A file with fewer channels yields a narrower net.
    Raises FileNotFoundError if it is missing, ValueError if it contains another net.
    """
    path, reference = Path(path), find(path)
    weights = read_weights(path, reference.net)
    layer, filters = FIRST[reference.net]
    first = f"{layer}{next(iter(reference.means))}.weight"
    wrong, remedy = f"{path}: not the net that its name says", "fetch the file again"
    if first not in weights:
        raise ValueError(f"{wrong}, without {first}; {remedy}")
    net = build(reference.settings(width=len(weights[first]) / filters))
    parts = [net.colour, net.hha] if isinstance(net, LateFusion) else [net]
    for (stream, mean), part in zip(reference.means.items(), parts, strict=True):
        names = dict(_names(part, reference, stream))
        if missing := [name for name in names.values() if name not in weights]:
            raise ValueError(f"{wrong}, without {', '.join(missing[:3])}; {remedy}")
        ours = {ours: weights.pop(theirs) for ours, theirs in names.items()}
        load_into(part, ours | {"mean": torch.tensor(mean)}, source=str(path))
    for name, constant in _constants(parts[0], reference).items():
        if name in weights and not _same(weights.pop(name), constant):
            warn(f"{path}: {name} is not the release's constant; ours is used, so scores differ")
    if weights:
        raise ValueError(f"{wrong}, with {', '.join([*weights][:3])}; {remedy}")
    return net.eval()


def _names(part: FCN, reference: Reference, stream: str) -> Iterator[tuple[str, str]]:
    """Each parameter of ``part`` and its name in the file."""
    layers = {
        f"heads.{head}.score{stride}": f"{score}{suffix}"
        for head, (_, suffix) in reference.heads.items()
        for stride, score in SCORES.items()
    }
    for ours, _ in part.named_parameters():
        layer, _, kind = ours.rpartition(".")
        yield ours, f"{layers.get(layer, layer.removeprefix('trunk.'))}{stream}.{kind}"


def _constants(part: FCN, reference: Reference) -> dict[str, Tensor]:
    """The upsampling filters and skip scales that the release fixes, by their names there."""
    last = "upscore" if reference.stride == 32 else f"upscore{reference.stride}"
    between = {32: "upscore2", 16: "upscore_pool4"}
    constants: dict[str, Tensor] = {}
    for head, (classes, suffix) in reference.heads.items():
        for ours, layer in part.heads[head].named_children():
            if isinstance(layer, Interpolation):
                stride = int(ours.removeprefix("upscore"))
                theirs = last if stride == reference.stride else between[stride]
                taps = bilinear_filter(layer.factor, 2 * layer.factor - layer.odd)
                constants[f"{theirs}{suffix}.weight"] = taps.repeat(classes, 1, 1, 1)
    if reference.scaled_skips:
        for stride, scale in SKIP_SCALES.items():
            name = f"scale_{SCORES[stride].removeprefix('score_')}.weight"
            constants[name] = torch.full((part.trunk.channels[stride],), scale)
    return constants


def _same(theirs: Tensor, ours: Tensor) -> bool:
    """True if the constants are equal; theirs may be a full bank with one filter per class."""
    if ours.ndim == 4 and theirs.ndim == 4 and theirs.shape[1] == len(ours):
        bank = torch.zeros_like(theirs)
        if theirs.shape[2:] == ours.shape[2:]:
            bank[range(len(ours)), range(len(ours))] = ours[:, 0]
        ours = bank
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-5, atol=1e-6)
