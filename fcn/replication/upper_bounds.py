"""Upper bounds on mean IU: how well a net could do that predicts on a coarse grid (Appendix A of the paper).

Ground truth is taken down to one cell in ``factor`` x ``factor`` pixels and up again, and the result scored as if it
were a prediction. The paper gives one number a factor and does not say how it went down and up, nor what became of
void. The protocols here are the plain answers to both questions.

Down, each cell of a grid that starts in the upper left corner, the last ones cut by the image's edge:

* ``sample``: the label of its middle pixel;
* ``vote``: the label that most of its pixels have, of equal ones the lowest;
* ``mean``: the share of each label among its pixels.

Up: ``repeat`` gives each pixel its cell's label, ``bilinear`` interpolates between the middles of the cells, one
channel a label, and takes the largest.

Void: it ``votes`` as one label more, and can then be predicted, or it ``abstains``, and where nothing else is near the
prediction is class 0. A pixel predicted as void counts as an error, or is left out of the score like true void.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from fcn.data.sample import VOID
from fcn.data.voc import CLASSES, read_labels, split_names
from fcn.metrics import ConfusionMatrix, Metrics

PAPER = {128: 50.9, 64: 73.3, 32: 86.1, 16: 92.8, 8: 96.4, 4: 98.5}
"""The paper's mean IU, percent, by factor: PASCAL VOC, the 736 images of seg11valid."""
FACTORS = tuple(PAPER)


Down = Literal["sample", "vote", "mean"]
Up = Literal["repeat", "bilinear"]


class Protocol(NamedTuple):
    """How ground truth is taken down and up, and whether void votes."""

    down: Down
    up: Up
    void: Literal["votes", "abstains"]

    def __str__(self) -> str:
        return f"{self.down}, {self.up}, void {self.void}"


# The mean, repeated, would be the vote, repeated.
_WAYS: tuple[tuple[Down, Up], ...] = (
    ("sample", "repeat"),
    ("sample", "bilinear"),
    ("vote", "repeat"),
    ("vote", "bilinear"),
    ("mean", "bilinear"),
)
PROTOCOLS = (
    *(Protocol(down, up, "votes") for down, up in _WAYS),
    *(Protocol(down, up, "abstains") for down, up in _WAYS),
)


@dataclass
class Bounds:
    """Counts of pixels by true and predicted class for each protocol and factor, summed over label maps.

    A matrix is int64, C x (C + 1): rows are ground truth, void left out, and the last column predicted void.
    """

    num_classes: int
    factors: tuple[int, ...] = FACTORS
    protocols: tuple[Protocol, ...] = PROTOCOLS
    matrices: dict[tuple[Protocol, int], NDArray[np.int64]] = field(default_factory=dict)

    def update(self, labels: Tensor) -> None:
        """Count one label map: H x W whole numbers, 0..C-1 and void 255."""
        columns = self.num_classes + 1
        labelled = labels.numpy() != VOID
        rows = labels.numpy()[labelled].astype(np.int64) * columns
        column = np.append(
            np.arange(self.num_classes), np.full(VOID + 1 - self.num_classes, self.num_classes)
        )
        for protocol, factor, predicted in predictions(labels, self.factors, self.protocols):
            counts = np.bincount(
                rows + column[predicted[labelled]], minlength=self.num_classes * columns
            )
            known = self.matrices.get((protocol, factor), 0)
            self.matrices[protocol, factor] = known + counts.reshape(self.num_classes, columns)

    def metrics(self, protocol: Protocol, factor: int, *, score_void: bool = True) -> Metrics:
        """The metrics, in percent; a pixel predicted as void is an error, or with ``score_void=False`` left out."""
        square = np.zeros((self.num_classes + 1,) * 2, np.int64)
        square[:-1] = self.matrices[protocol, factor]
        if not score_void:
            square[:, -1] = 0
        return ConfusionMatrix.from_matrix(torch.from_numpy(square)).metrics()

    def mean_iu(self, protocol: Protocol, factor: int, *, score_void: bool = True) -> float:
        """Mean IU, percent; a pixel predicted as void is an error, or with ``score_void=False`` left out."""
        return self.metrics(protocol, factor, score_void=score_void).mean_iu


def predictions(
    labels: Tensor, factors: Iterable[int] = FACTORS, protocols: Iterable[Protocol] = PROTOCOLS
) -> Iterator[tuple[Protocol, int, NDArray[np.int64]]]:
    """The label map taken down and up again by each protocol and factor: int64, H x W, void 255.

    ``labels``: H x W whole numbers, void 255. Raises ValueError for a map that has no pixels.
    """
    if labels.ndim != 2 or labels.numel() == 0:
        raise ValueError(
            f"a label map is H x W, one number a pixel: this one has shape {tuple(labels.shape)}"
        )
    # One channel for each label that is in the map; class 0 first, void last.
    present = torch.cat([torch.tensor([0, VOID]), labels.flatten().long()]).unique()
    pixels = torch.stack([labels == label for label in present]).float()
    for factor in factors:
        cells = {down: _down(pixels, factor, down) for down in ("sample", "count")}
        for protocol in protocols:
            votes = cells["sample" if protocol.down == "sample" else "count"]
            if protocol.void == "abstains":
                votes = votes.clone()
                votes[-1] = 0
            if protocol.down == "mean":
                votes = votes / votes.sum(0).clamp(min=1)
            elif protocol.down == "vote":
                votes = (
                    F.one_hot(_largest(votes), len(present)).permute(2, 0, 1) * votes.any(0).float()
                )
            in_play = votes.flatten(1).any(1)  # the others can win nowhere: not worth interpolating
            in_play[0] = True
            winner = _up(votes[in_play], factor, protocol.up, pixels.shape[1:])
            yield protocol, factor, present[in_play][winner].numpy()


def _down(pixels: Tensor, factor: int, how: str) -> Tensor:
    """C x H x W to C x h x w: each cell's middle pixel, or how many of its pixels have each label."""
    height, width = pixels.shape[1:]
    if how == "sample":
        rows = (torch.arange(0, height, factor) + factor // 2).clamp(max=height - 1)
        columns = (torch.arange(0, width, factor) + factor // 2).clamp(max=width - 1)
        return pixels[:, rows][:, :, columns]
    whole = F.pad(pixels, (0, -width % factor, 0, -height % factor))
    return F.avg_pool2d(whole, factor, divisor_override=1)


def _up(cells: Tensor, factor: int, how: str, size: torch.Size) -> Tensor:
    """C x h x w to the number of the largest channel at each pixel, H x W."""
    height, width = size
    if how == "repeat":
        return (
            _largest(cells)
            .repeat_interleave(factor, 0)
            .repeat_interleave(factor, 1)[:height, :width]
        )
    fine = F.interpolate(cells[None], scale_factor=factor, mode="bilinear", align_corners=False)
    return _largest(fine[0, :, :height, :width])


def _largest(channels: Tensor) -> Tensor:
    """``channels.argmax(0)``, the first of equal ones; faster, since there are few channels and many pixels."""
    best, number = channels[0], torch.zeros(channels.shape[1:], dtype=torch.int64)
    for i, channel in enumerate(channels[1:], start=1):
        number.masked_fill_(channel > best, i)
        best = torch.maximum(best, channel)
    return number


def near_border(
    labels: NDArray[np.integer], num_classes: int, reach: Iterable[float]
) -> NDArray[np.int64]:
    """How many pixels of each class lie within ``reach`` pixels of a pixel with another label, void or a class.

    ``labels``: H x W, void 255. Returns R x C for R values of ``reach``. The image's edge is no border: what lies
    beyond it is not known.
    """
    limits = list(reach)
    counts = np.zeros((len(limits), num_classes), np.int64)
    for label in {*np.unique(labels).tolist()} - {VOID}:
        inside = labels == label
        if not inside.all():
            distance = distance_transform_edt(inside)[inside]
            counts[:, label] = [(distance <= limit).sum() for limit in limits]
    return counts


def seg11valid(voc: str | Path) -> dict[str, NDArray[np.generic]]:
    """The bounds of Appendix A on the 736 label maps of seg11valid, for :func:`fcn.recorded.record`.

    ``voc`` is the folder ``VOCdevkit/VOC2012``; its photos are not needed. ``mean_iu``: percent, protocols x factors x
    2, with predicted void an error and left out. ``iu_per_class``: percent, protocols x factors x C, with predicted
    void an error. ``near_border``: for each factor and class the percentage of the class's pixels that lie within half
    a cell of another label. ``pixels``: those of each class and last of void.
    """
    bounds, checksum, names = Bounds(len(CLASSES)), hashlib.sha256(), split_names(voc, "seg11valid")
    near = np.zeros((len(FACTORS), len(CLASSES)), np.int64)
    pixels = np.zeros(VOID + 1, np.int64)
    for name in names:
        labels = read_labels(voc, name)
        checksum.update(labels.to(torch.uint8).numpy().tobytes())
        bounds.update(labels)
        near += near_border(labels.numpy(), len(CLASSES), [factor / 2 for factor in FACTORS])
        pixels += np.bincount(labels.numpy().ravel(), minlength=VOID + 1)
    scored = [[bounds.metrics(p, f) for f in FACTORS] for p in PROTOCOLS]
    left_out = [[bounds.mean_iu(p, f, score_void=False) for f in FACTORS] for p in PROTOCOLS]
    by_class = [
        [[np.nan if iu is None else iu for iu in m.iu_per_class[:-1]] for m in row]
        for row in scored
    ]
    return {
        "mean_iu": np.stack(
            [np.array([[m.mean_iu for m in row] for row in scored]), np.array(left_out)], -1
        ),
        "iu_per_class": np.array(by_class, np.float32),
        "near_border": 100 * near / pixels[: len(CLASSES)].clip(min=1),
        "pixels": np.append(pixels[: len(CLASSES)], pixels[VOID]),
        "protocols": np.array([str(p) for p in PROTOCOLS]),
        "factors": np.array(FACTORS),
        "paper": np.array(list(PAPER.values())),
        "images": np.array(len(names)),
        "sha256_of_labels": np.array(checksum.hexdigest()),
    }


class Line(NamedTuple):
    """One row of the table: what was done, mean IU by factor in percent, and its mean distance from the paper's."""

    label: str
    mean_iu: dict[int, float]
    distance: float


def beside_paper(recorded: Mapping[str, NDArray[np.generic]]) -> list[Line]:
    """What :func:`seg11valid` computed, the protocol nearest to the paper first, after the paper's own row.

    The distance is the mean over the factors of the absolute difference, in points of mean IU.
    """
    lines = []
    for protocol, label in zip(PROTOCOLS, recorded["protocols"], strict=True):
        for i, predicted_void in enumerate(
            ("an error", "left out") if protocol.void == "votes" else ("",)
        ):
            values = recorded["mean_iu"][PROTOCOLS.index(protocol), :, i].astype(float)
            distance = float(np.abs(values - list(PAPER.values())).mean())
            named = f"{label}, predicted void {predicted_void}" if predicted_void else str(label)
            lines.append(Line(named, dict(zip(FACTORS, values.tolist(), strict=True)), distance))
    return [Line("the paper", dict(PAPER), 0.0), *sorted(lines, key=lambda line: line.distance)]
