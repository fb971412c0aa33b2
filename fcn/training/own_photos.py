"""Score a saved net on your own photos (``python -m fcn evaluate PHOTOS LABELS CLASSES``)."""

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from fcn import models
from fcn.data.class_lists import read_classes
from fcn.data.folder import Folder, checked
from fcn.data.sample import VOID, Sample, SegmentationDataset
from fcn.models import FCN, LateFusion
from fcn.training.evaluate import evaluate
from fcn.training.record import Head

if TYPE_CHECKING:
    import pandas as pd

SIDE = 512
"""Photos are scaled to a longer side of at most this many pixels, unless asked otherwise."""
SAVED = "give the .safetensors file of a net that `fcn fit` or `fcn train` saved"


def evaluate_folder(
    photos: str | Path,
    labels: str | Path,
    classes: str | Path,
    weights: str | Path,
    *,
    side: int | None = None,
    device: str = "auto",
    log: Callable[[str], None] = print,
) -> dict[str, Head]:
    """The scores, by head, of a saved net on your own photos: a :class:`~fcn.data.folder.Folder`.

    Classes are matched by name, in any order; those that only the net has are absent from the
    ground truth, and predicting them is an error. Of a net with several heads, the first one that
    has all the classes is scored. ``side``: photos are scaled to a longer side of at most that many
    pixels; by default as in the training by ``fcn fit``, otherwise 512.

    Every file is checked before the first is scored. Raises what Folder raises, for all files at
    once, and ValueError for a net that takes more than RGB, for a class that no head of it has and
    if no pixel is labelled.
    """
    if Path(weights).suffix != ".safetensors":
        raise ValueError(f"{quote(str(weights))}: {SAVED}")
    net = models.load(weights)
    if (inputs := net.settings.get("inputs", "rgb")) != "rgb":
        raise ValueError(f"{quote(str(weights))}: a net for {inputs.upper()}, not for photos alone")
    heads, trained_at = _described(Path(weights), net)
    head = _matching_head(heads, read_classes(classes).names, classes, weights)
    side = trained_at if side is None else side
    folder, counts = checked(photos, labels, classes, side=side, log=log)
    if not any(pixels.any() for pixels in counts.values()):
        raise ValueError(f"{quote(str(labels))}: no labelled pixel; label some of the photos")
    own, known = ([_nfc(name) for name in names] for names in (folder.classes.names, heads[head]))
    if missing := [name for name in heads[head] if _nfc(name) not in own]:
        number = f"{len(missing)} of the net's {len(known)} classes"
        log(f"{number} are not in {quote(str(classes))}; predicting them counts as an error")
    elif own != known:
        log(f"{quote(str(classes))}: another order than the net's; classes are matched by name")
    matched = Matched(folder, [known.index(name) for name in own], head, heads)
    log(f"scoring {len(matched)} photos, longer side at most {folder.side} pixels")
    matrix = evaluate(net, matched, device=device, log=log)[head]
    return {head: Head.scored(heads[head], matrix)}


class Matched(SegmentationDataset):
    """Your own photos, with the labels and heads of a net; every other head is void.

    ``labels``: the net's label for each of yours.
    """

    def __init__(
        self, folder: Folder, labels: Sequence[int], head: str, heads: dict[str, tuple[str, ...]]
    ) -> None:
        self.name, self.split, self.names = folder.name, folder.split, folder.names
        self.heads, self._folder, self._head = {head: heads[head], **heads}, folder, head
        self._labels = torch.full((VOID + 1,), VOID)
        self._labels[: len(labels)] = torch.tensor(labels)

    def __getitem__(self, index: int) -> Sample:
        sample = self._folder[index]
        (stored,) = sample.labels.values()
        labels = {head: torch.full_like(stored, VOID) for head in self.heads}
        return sample._replace(labels=labels | {self._head: self._labels[stored]})

    def files(self, index: int) -> list[Path]:
        return self._folder.files(index)


def _described(path: Path, net: FCN | LateFusion) -> tuple[dict[str, tuple[str, ...]], int]:
    """The classes of each head and the input size, as the net's file says."""
    with safe_open(path, "pt") as file:
        about = file.metadata()
    try:
        heads = {head: tuple(names) for head, names in json.loads(about["classes"]).items()}
        side = int(about.get("input size", SIDE))
        counts = {head: len(names) for head, names in heads.items()}
        if counts == (dict.fromkeys(heads, net.classes["scores"]) if net.single else net.classes):
            return heads, side
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    raise ValueError(f"{quote(str(path))}: does not name its classes; {SAVED}")


def _matching_head(
    heads: dict[str, tuple[str, ...]], own: Sequence[str], classes: str | Path, weights: str | Path
) -> str:
    """The first head that has all classes. Raises ValueError, naming those that none has."""
    unknown = {
        head: [name for name in own if _nfc(name) not in map(_nfc, names)]
        for head, names in heads.items()
    }
    head = min(unknown, key=lambda head: len(unknown[head]))
    if not unknown[head]:
        return head
    similar = {name.casefold(): name for name in heads[head]}
    listed = ", ".join(
        f"'{name}'" + (f" (it has '{near}')" if (near := similar.get(name.casefold())) else "")
        for name in unknown[head]
    )
    raise ValueError(
        f"{quote(str(classes))}: the net in {quote(str(weights))} has no class {listed}; rename "
        f"or relabel: it has {', '.join(heads[head])}"
    )


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def per_class(head: Head, learned_from: Sequence[int] | None = None) -> "pd.DataFrame":
    """One row per class: its share of the labelled pixels, accuracy and IU, in percent, and the
    class it is most often mistaken for. NaN without labelled pixels.

    ``learned_from``: the labelled training pixels of each class, for their share in the training.
    """
    import pandas as pd

    counts = torch.tensor(head.confusion_matrix, dtype=torch.float64)
    right, true = counts.diagonal(), counts.sum(1)
    missed, taken_for = (counts - torch.diag(right)).max(1)
    columns: dict[str, Any] = {}
    if learned_from is not None:
        learned = torch.tensor(learned_from, dtype=torch.float64)
        columns["% of training"] = 100 * learned / learned.sum()
    scored_on = "% of pixels" if learned_from is None else "% of held-out"
    columns |= {
        scored_on: 100 * true / true.sum(),
        "accuracy": 100 * right / true,
        "IU": head.iu_per_class,
    }
    table = pd.DataFrame(columns, list(head.classes), dtype=float).round(1)
    confused = [head.classes[i] if n else "" for i, n in zip(taken_for, missed, strict=True)]
    return table.assign(**{"most taken for": confused})
