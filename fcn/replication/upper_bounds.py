"""Upper bounds on mean IU: the best score of a net that predicts on a coarse grid (Appendix A).

Ground truth is reduced to one cell per ``factor`` x ``factor`` pixels, enlarged, and scored as a
prediction. The paper gives one number per factor but no protocol. These are the plain ones:

* down: ``sample`` takes the label of the middle pixel of each cell, ``vote`` the most frequent
  label (the lowest in a tie), ``mean`` the share of each label. The grid starts in the upper
  left corner; the image's edge cuts the last cells.
* up: ``repeat`` gives each pixel the label of its cell; ``bilinear`` interpolates one channel per
  label between the middles of the cells and takes the largest.
* void: ``votes`` as one more label, so it can be predicted, or ``abstains``; if no other label is
  near, the prediction is class 0. A pixel predicted as void is an error or is left out.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

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
"""The paper's mean IU in percent by factor: PASCAL VOC, the 736 images of seg11valid."""
FACTORS = tuple(PAPER)


class Protocol(NamedTuple):
    """A way to reduce and enlarge ground truth."""

    down: str  # sample, vote or mean
    up: str  # repeat or bilinear
    void: str  # votes or abstains

    def __str__(self) -> str:
        return f"{self.down}, {self.up}, void {self.void}"


PROTOCOLS = tuple(
    Protocol(down, up, void)
    for void in ("votes", "abstains")
    for down, up in product(("sample", "vote", "mean"), ("repeat", "bilinear"))
    if (down, up) != ("mean", "repeat")  # the same as ("vote", "repeat")
)


@dataclass
class Bounds:
    """Confusion matrices of each protocol and factor, summed over label maps: int64.

    Void is one more class, the last, which is predicted but absent from the ground truth.
    """

    num_classes: int
    factors: tuple[int, ...] = FACTORS
    protocols: tuple[Protocol, ...] = PROTOCOLS

    def __post_init__(self) -> None:
        shape, pairs = (self.num_classes + 1,) * 2, product(self.protocols, self.factors)
        self.matrices = {pair: np.zeros(shape, np.int64) for pair in pairs}

    def update(self, labels: Tensor) -> None:
        """Count one label map: H x W integers, 0..C-1 and void 255."""
        size, labelled = self.num_classes + 1, labels.numpy() != VOID
        rows = labels.numpy()[labelled].astype(np.int64) * size
        for protocol, factor, predicted in predictions(labels, self.factors, self.protocols):
            columns = predicted[labelled].clip(max=self.num_classes)
            counts = np.bincount(rows + columns, minlength=size**2)
            self.matrices[protocol, factor] += counts.reshape(size, size)

    def metrics(self, protocol: Protocol, factor: int, *, score_void: bool = True) -> Metrics:
        """Metrics in percent; predicted void is an error, or left out without ``score_void``."""
        counts = self.matrices[protocol, factor].copy()
        if not score_void:
            counts[:, -1] = 0
        return ConfusionMatrix.from_matrix(torch.from_numpy(counts)).metrics()


def predictions(
    labels: Tensor, factors: Iterable[int] = FACTORS, protocols: Iterable[Protocol] = PROTOCOLS
) -> Iterator[tuple[Protocol, int, NDArray[np.int64]]]:
    """The label map reduced and enlarged by each protocol and factor: int64, H x W, void 255.

    ``labels``: H x W integers, void 255. Raises ValueError for another shape or no pixels.
    """
    if labels.ndim != 2 or labels.numel() == 0:
        raise ValueError(f"a label map is H x W with at least one pixel, not {tuple(labels.shape)}")
    # One channel per label in the map; class 0 first, void last.
    present = torch.cat([torch.tensor([0, VOID]), labels.flatten().long()]).unique()
    pixels = torch.stack([labels == label for label in present]).float()
    for factor in factors:
        sampled = _sample(pixels, factor)
        counted = F.avg_pool2d(pixels, factor, ceil_mode=True, divisor_override=1)
        for protocol in protocols:
            votes = sampled if protocol.down == "sample" else counted
            if protocol.void == "abstains":
                votes = votes.clone()
                votes[-1] = 0
            if protocol.down == "mean":
                votes = votes / votes.sum(0).clamp(min=1)
            elif protocol.down == "vote":
                winners = F.one_hot(votes.max(0).indices, len(present)).permute(2, 0, 1)
                votes = winners * votes.any(0).float()
            in_play = votes.flatten(1).any(1)  # skip the labels that win nowhere
            in_play[0] = True
            winner = _enlarge(votes[in_play], factor, protocol.up, pixels.shape[1:])
            yield protocol, factor, present[in_play][winner].numpy()


def _sample(pixels: Tensor, factor: int) -> Tensor:
    """C x H x W to C x h x w: the middle pixel of each cell."""
    middles = [torch.arange(factor // 2, side + factor // 2, factor) for side in pixels.shape[1:]]
    rows, columns = (m.clamp(max=s - 1) for m, s in zip(middles, pixels.shape[1:], strict=True))
    return pixels[:, rows][:, :, columns]


def _enlarge(cells: Tensor, factor: int, up: str, size: torch.Size) -> Tensor:
    """C x h x w to the index of the largest channel at each pixel, the first in a tie."""
    mode = "nearest" if up == "repeat" else up
    fine = F.interpolate(cells[None], scale_factor=factor, mode=mode)[0]
    return fine[:, : size[0], : size[1]].max(0).indices


def near_border(
    labels: NDArray[np.integer], num_classes: int, reach: Sequence[float]
) -> NDArray[np.int64]:
    """The pixels of each class within ``reach`` pixels of another label, void included: R x C.

    ``labels``: H x W, void 255; R values of ``reach``. The image's edge does not count.
    """
    counts = np.zeros((len(reach), num_classes), np.int64)
    for label in {*np.unique(labels).tolist()} - {VOID}:
        inside = labels == label
        if not inside.all():
            distance = distance_transform_edt(inside)[inside]
            counts[:, label] = [(distance <= limit).sum() for limit in reach]
    return counts


def seg11valid(voc: str | Path) -> dict[str, NDArray[Any]]:
    """The bounds of Appendix A on the 736 label maps of seg11valid.

    ``voc`` is the folder ``VOCdevkit/VOC2012``, without photos. In percent: ``mean_iu``, protocols
    x factors x 2, predicted void an error and left out; ``iu_per_class``, protocols x factors x C,
    an error; ``near_border``, factors x C, the share of a class within half a cell of another
    label. ``pixels``: of each class and, last, of void.
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
    scored, left_out = (
        [[bounds.metrics(p, f, score_void=void) for f in FACTORS] for p in PROTOCOLS]
        for void in (True, False)
    )
    both = [[[m.mean_iu for m in row] for row in rows] for rows in (scored, left_out)]
    return {
        "mean_iu": np.dstack(both),
        "iu_per_class": np.array([[m.iu_per_class[:-1] for m in row] for row in scored], "float32"),
        "near_border": 100 * near / pixels[: len(CLASSES)].clip(min=1),
        "pixels": np.append(pixels[: len(CLASSES)], pixels[VOID]),
        "protocols": np.array([str(p) for p in PROTOCOLS]),
        "factors": np.array(FACTORS),
        "paper": np.array(list(PAPER.values())),
        "images": np.array(len(names)),
        "sha256_of_labels": np.array(checksum.hexdigest()),
    }


class Line(NamedTuple):
    """Mean IU in percent by factor, and the mean absolute difference from the paper's in points."""

    label: str
    mean_iu: dict[int, float]
    distance: float


def ranked(arrays: Mapping[str, NDArray[Any]]) -> list[Line]:
    """The paper's bounds, then those of :func:`seg11valid`, the closest protocol first."""
    lines = []
    for protocol, values in zip(PROTOCOLS, arrays["mean_iu"], strict=True):
        endings = ["an error", "left out"] if protocol.void == "votes" else [""]
        for ending, bounds in zip(endings, values.T.astype(float), strict=False):
            label = f"{protocol}, predicted void {ending}" if ending else str(protocol)
            distance = float(np.abs(bounds - list(PAPER.values())).mean())
            lines.append(Line(label, dict(zip(FACTORS, bounds.tolist(), strict=True)), distance))
    return [Line("the paper", dict(PAPER), 0.0), *sorted(lines, key=lambda line: line.distance)]
