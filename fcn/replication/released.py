"""The nets that the authors of the paper trained and released, as nets of this package.

``python data_scripts/reference_weights.py`` fetches their files. The layers in them are called as in the net
definitions of the release (github.com/shelhamer/fcn.berkeleyvision.org), which this module translates into ours; the
means are those that the release's data layers subtract.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcn.data import nyud, pascal_context, sift_flow, voc
from fcn.models import FCN, SKIP_SCALES, LateFusion, build
from fcn.preprocessing import MEAN_BGR, MEAN_HHA
from fcn.pretrained import load_into, read_weights
from fcn.replication.paper import RELEASE
from fcn.upsampling import Deconvolution


@dataclass(frozen=True)
class Reference:
    """One file of the release: ``name`` without ``.caffemodel``, and the net in it.

    ``dataset`` is a name of the catalogue; ``heads`` the number of classes of each head, and ``suffixes`` what the
    release appends to the names of a head's layers. ``mean`` is in the order of the net's input, for each stream by
    what the release appends to the names of its layers. ``label`` is that of the net's row in ``published.RELEASE``,
    empty where the release's README reports no number.
    """

    name: str
    dataset: str
    stride: int
    heads: dict[str, int]
    mean: dict[str, tuple[float, ...]]
    net: str = "vgg16"
    inputs: str = "rgb"
    scaled_skips: bool = False
    label: str = ""
    suffixes: dict[str, str] = field(default_factory=lambda: {"semantic": ""})

    @property
    def expected(self) -> float | None:
        """The mean IU in percent on the 736 photos of seg11valid that the release's README reports, if it does."""
        rows = [row for row in RELEASE if (row.label, row.of) == (self.label, "seg11valid")]
        return rows[0].metrics["mean_iu"] if rows else None

    def expectation(self) -> str:
        """What the release's README leads one to expect, in a line."""
        number = (
            "no number"
            if self.expected is None
            else f"mean IU {self.expected} on the 736 photos of seg11valid"
        )
        return f"published for {self.name}: {number} (README of the authors' release)"

    def settings(self, width: float = 1.0) -> dict[str, Any]:
        """What ``fcn.models.build`` makes the net of, with its channels scaled by ``width``."""
        return {
            "net": self.net, "stride": self.stride, "heads": self.heads, "alignment": "reference",
            "upsampling": "bilinear", "width": width, "inputs": self.inputs, "scaled_skips": self.scaled_skips,
        }  # fmt: skip


def _voc(name: str, stride: int, label: str, **more: Any) -> Reference:
    heads = {"semantic": len(voc.CLASSES)}
    return Reference(f"{name}-pascal", "voc", stride, heads, {"": MEAN_BGR}, label=label, **more)


def _nyud(inputs: str, name: str, mean: dict[str, tuple[float, ...]]) -> Reference:
    heads = {"semantic": len(nyud.CLASSES)}
    return Reference(f"nyud-fcn32s-{name}-heavy", f"nyud-{inputs}", 32, heads, mean, inputs=inputs)


REFERENCES: dict[str, Reference] = {
    r.name: r
    for r in [
        *(_voc(f"fcn{stride}s-heavy", stride, f"FCN-{stride}s") for stride in (32, 16, 8)),
        _voc("fcn8s-atonce", 8, "FCN-8s at-once", scaled_skips=True),
        _voc("fcn-alexnet", 32, "FCN-AlexNet", net="alexnet"),
        *(
            Reference(
                f"siftflow-fcn{stride}s-heavy", "sift-flow", stride,
                {"semantic": len(sift_flow.SEMANTIC), "geometric": len(sift_flow.GEOMETRIC)},
                {"": sift_flow.MEAN_BGR}, suffixes={"semantic": "_sem", "geometric": "_geo"},
            )
            for stride in (32, 16, 8)
        ),
        *(
            Reference(
                f"pascalcontext-fcn{stride}s-heavy", "pascal-context-59", stride,
                {"semantic": 1 + len(pascal_context.CLASSES[59])}, {"": (104.007, 116.669, 122.679)},
            )
            for stride in (32, 16, 8)
        ),
        _nyud("rgb", "color", {"": nyud.MEAN_BGR}),
        _nyud("hha", "hha", {"": MEAN_HHA}),
        _nyud("rgb-hha", "color-hha", {"color": nyud.MEAN_BGR, "hha": MEAN_HHA}),
    ]
}  # fmt: skip
"""Every file of the release by its name without ``.caffemodel``. Of NYUDv2's early fusion the release names none."""

SCORES = {32: "score_fr", 16: "score_pool4", 8: "score_pool3"}
"""What the release calls the score layer of each stride."""
FIRST = {"vgg16": ("conv1_1", 64), "alexnet": ("conv1", 96)}
"""The first layer of each trunk and its filters at full width."""


def find(path: str | Path) -> Reference:
    """The file of the release that ``path`` is, by its name. Raises ValueError where the release has none of it."""
    name = Path(path).name.removesuffix(".caffemodel")
    if name not in REFERENCES:
        raise ValueError(
            f"{path}: not a file of the authors' release; keep its name: one of {', '.join(REFERENCES)}"
        )
    return REFERENCES[name]


def load(path: str | Path, say: Callable[[str], None] = warnings.warn) -> FCN | LateFusion:
    """The net in a file of the release, with the mean of its data set, ready for evaluation.

    The release fixes its upsampling to bilinear interpolation and the scale of its skips to two constants; ours are
    the same constants and are not read. Where the file's differ, ``say`` is told so in one line. Channels fewer than
    the release's, as many times in each layer, are a narrower net.

    Raises FileNotFoundError where there is no such file; ValueError for a file that is not of the release, or whose
    layers are not those of the net that its name stands for.
    """
    path = Path(path)
    reference = find(path)
    left = read_weights(path, reference.net)
    streams = tuple(reference.mean)
    layer, filters = FIRST[reference.net]
    first = f"{layer}{streams[0]}.weight"
    if first not in left:
        raise ValueError(f"{path}: not the net of its name, without {first}; fetch the file again")
    net = build(reference.settings(width=len(left[first]) / filters))
    parts = [net.colour, net.hha] if isinstance(net, LateFusion) else [net]
    for stream, part in zip(streams, parts, strict=True):
        names = dict(_names(part, reference, stream))
        if missing := [name for name in names.values() if name not in left]:
            raise ValueError(
                f"{path}: not the net of its name, without {', '.join(missing[:3])}; fetch the file again"
            )
        own = {ours: left.pop(theirs) for ours, theirs in names.items()}
        load_into(part, own | {"mean": torch.tensor(reference.mean[stream])}, source=str(path))
    for name, constant in _constants(parts[0], reference).items():
        if name in left and not _same(left.pop(name), constant):
            say(
                f"{path}: {name} is not the constant that the release fixes; ours is used, and scores will differ"
            )
    if left:
        raise ValueError(
            f"{path}: not the net of its name, with {', '.join([*left][:3])}; fetch the file again"
        )
    return net.eval()


def _names(part: FCN, reference: Reference, stream: str) -> Iterator[tuple[str, str]]:
    """Each parameter of one of our nets, and its name in the release's file."""
    layers = {
        f"heads.{head}.score{stride}": f"{score}{suffix}"
        for head, suffix in reference.suffixes.items()
        for stride, score in SCORES.items()
    }
    for ours, _ in part.named_parameters():
        layer, _, kind = ours.rpartition(".")
        yield ours, f"{layers.get(layer, layer.removeprefix('trunk.'))}{stream}.{kind}"


def _constants(part: FCN, reference: Reference) -> dict[str, Tensor]:
    """What the release's net holds fixed, by its name there: upsampling filters of each head, scales of skips."""
    last = "upscore" if reference.stride == 32 else f"upscore{reference.stride}"
    between = {32: "upscore2", 16: "upscore_pool4"}
    constants: dict[str, Tensor] = {}
    for head, suffix in reference.suffixes.items():
        for ours, layer in part.heads[head].named_children():
            if isinstance(layer, Deconvolution):
                stride = int(ours.removeprefix("upscore"))
                theirs = last if stride == reference.stride else between[stride]
                constants[f"{theirs}{suffix}.weight"] = layer.weight
    if reference.scaled_skips:
        for stride, scale in SKIP_SCALES.items():
            channels = part.trunk.channels[stride]
            constants[f"scale_{SCORES[stride].removeprefix('score_')}.weight"] = torch.full(
                (channels,), scale
            )
    return constants


def _same(theirs: Tensor, ours: Tensor) -> bool:
    """Whether a constant of the file is ours; a full bank of filters is ours where each class has them to itself."""
    if ours.ndim == 4 and theirs.ndim == 4 and theirs.shape[1] == len(ours):
        bank = torch.zeros_like(theirs)
        if theirs.shape[2:] == ours.shape[2:]:
            bank[range(len(ours)), range(len(ours))] = ours[:, 0]
        ours = bank
    return theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-5, atol=1e-6)
