"""Fine-tune an FCN on your own photos (``python -m fcn fit``).

The backbone starts from another net's, so that a few dozen photos can be enough. A tenth of the
photos is held out and scored once, at the end.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fcn import models
from fcn.data.folder import Folder
from fcn.data.sample import VOID
from fcn.environment import check_writable, folder_of, resolve_device, sha256
from fcn.models import FCN
from fcn.pretrained import PRETRAINED, load_into
from fcn.training.pipeline import train_and_record
from fcn.training.recipe import TUNED, Recipe
from fcn.training.record import Deviation, Head, InitialWeights

if TYPE_CHECKING:
    import pandas as pd

Log = Callable[[str], None]


@dataclass(frozen=True)
class FineTuned:
    """Files of the net and its record, held-out scores, labelled training pixels per class."""

    weights: Path
    record: Path
    scores: Head
    learned_from: tuple[int, ...]

    def per_class(self) -> "pd.DataFrame":
        """One row per class: shares of the labelled pixels, accuracy and IU in percent, and the
        class that most of its missed pixels were taken for. NaN without held-out pixels."""
        import pandas as pd

        counts = torch.tensor(self.scores.confusion_matrix, dtype=torch.float64)
        learned = torch.tensor(self.learned_from, dtype=torch.float64)
        right, true = counts.diagonal(), counts.sum(1)
        missed, taken_for = (counts - torch.diag(right)).max(1)
        names = self.scores.classes
        columns = {
            "% of training": 100 * learned / learned.sum(),
            "% of held-out": 100 * true / true.sum(),
            "accuracy": 100 * right / true,
            "IU": self.scores.iu_per_class,
        }
        table = pd.DataFrame(columns, list(names), dtype=float).round(1)
        confused = [names[i] if n else "" for i, n in zip(taken_for, missed, strict=True)]
        return table.assign(**{"most taken for": confused})


def fit(
    photos: str | Path,
    labels: str | Path,
    classes: str | Path,
    *,
    start: str | Path,
    stride: int = 8,
    epochs: float = 20,
    batch_size: int = 8,
    rate: float = TUNED.learning_rate,
    side: int = 512,
    device: str = "auto",
    seed: int = 0,
    out: Path = Path("runs/own"),
    resume: bool = False,
    log: Log = print,
) -> FineTuned:
    """Fine-tune on a :class:`~fcn.data.folder.Folder`; save, score and record the net in ``out``.

    ``start`` is a net saved by this package, whose backbone is copied; "imagenet", the GoogLeNet
    weights in FCN_WEIGHTS; or "scratch". Photos are scaled to a longer side of at most ``side``.
    All files are read once before training, so that none stops it halfway.

    Raises what Folder and :func:`~fcn.training.pipeline.train_and_record` raise, and ValueError if
    there is nothing to learn or to score.
    """
    device = resolve_device(device)
    recipe = fit_recipe(epochs, batch_size, rate, device)
    training, held_out = (Folder(photos, labels, classes, s, side=side) for s in ("train", "val"))
    torch.manual_seed(seed)
    heads = {head: len(names) for head, names in training.heads.items()}
    net, initial = starting_net(start, stride, heads)
    if out.resolve() in (Path(photos).resolve(), Path(labels).resolve()):
        raise ValueError(f"{out}: holds your photos or label maps; choose another with --out")
    check_writable(out, "--out")
    learned_from = census(training, log)
    _check_census(learned_from, census(held_out, log), training, labels)
    log(f"{len(training)} training photos, {len(held_out)} held out, {len(learned_from)} classes")
    names = zip(training.classes.names, learned_from, strict=True)
    if absent := [name for name, pixels in names if not pixels]:
        log(f"no training pixels, so never predicted: {', '.join(absent)}")
    name = f"own-{net.settings['net']}-{stride}s"
    weights = out / f"{name}.seed{seed}.safetensors"
    settings = {k: v for k, v in net.settings.items() if k not in ("heads", "num_classes")}
    palette = training.palette
    record = train_and_record(
        net,
        training,
        held_out,
        recipe,
        experiment=name,
        purpose="validation",
        dataset=Folder.name,
        net_settings=settings | {"random_scores": False, "task": ""},
        initial_weights=initial,
        deviations=(
            Deviation("data", "your own photos and labels"),
            Deviation("images", f"photos scaled to a longer side of at most {side} pixels"),
        ),
        weights=weights,
        results=out,
        metadata={} if palette is None else {"palette": json.dumps(palette.tolist())},
        seed=seed,
        device=device,
        resume=resume,
        log=log,
    )
    scores = record.heads["semantic"]
    return FineTuned(weights, out / record.file_name, scores, tuple(learned_from))


def fit_recipe(epochs: float, batch_size: int, rate: float, device: str) -> Recipe:
    """``TUNED`` with these settings, in bfloat16 on CUDA."""
    changed = replace(TUNED, epochs=epochs, batch_size=batch_size, learning_rate=rate)
    return replace(changed, precision="bf16-mixed" if device == "cuda" else "32-true")


def starting_net(
    start: str | Path, stride: int, heads: dict[str, int], width: float = 1.0
) -> tuple[FCN, InitialWeights | None]:
    """The net that :func:`fit` trains, its score layers at zero, and where its backbone is from.

    ``width`` scales the channels of a net from scratch. Raises FileNotFoundError for a missing
    weight file and ValueError for one that holds no net for RGB photos.
    """
    if start == "scratch":
        return FCN("googlenet", stride, heads=heads, upsampling="interpolate", width=width), None
    if start == "imagenet":
        path = folder_of(None, "FCN_WEIGHTS") / PRETRAINED["googlenet"]
        net = FCN("googlenet", stride, heads=heads, upsampling="interpolate")
        net.load_pretrained(path)
    elif (path := Path(start)).suffix == ".safetensors":
        net = _copy_backbone(path, stride, heads)
    else:
        raise ValueError(
            f"--start {start}: give a .safetensors file that `fcn train` saved, "
            '"imagenet" or "scratch"'
        )
    return net, InitialWeights(path.name, sha256(path))


def _copy_backbone(path: Path, stride: int, heads: dict[str, int]) -> FCN:
    """An FCN with the backbone and the mean colour of the net at ``path`` and new score layers."""
    other = models.load(path)
    if not isinstance(other, FCN) or other.settings.get("inputs", "rgb") != "rgb":
        raise ValueError(f"{path}: takes more than RGB; choose a net trained on photos alone")
    kind, width = other.settings["net"], other.settings["width"]
    net = FCN(kind, stride, heads=heads, upsampling="interpolate", width=width)
    state = other.state_dict()
    kept = {n: tensor for n, tensor in state.items() if n == "mean" or n.startswith("trunk.")}
    load_into(net, kept, allow_missing=("heads",), source=str(path))
    return net


def census(data: Folder, log: Log) -> list[int]:
    """The labelled pixels of each class. Reads, and so checks, every photo and label map."""
    counts = torch.zeros(VOID + 1, dtype=torch.int64)
    for i in range(len(data)):
        counts += torch.bincount(data[i].labels["semantic"].flatten(), minlength=VOID + 1)
        if (i + 1) % 200 == 0:
            log(f"checked {i + 1} of {len(data)} photos and their labels")
    return counts[: len(data.classes.names)].tolist()


def _check_census(
    learned_from: list[int], held_out: list[int], data: Folder, labels: str | Path
) -> None:
    found = [name for name, n in zip(data.classes.names, learned_from, strict=True) if n]
    if len(found) < 2:
        content = f"only one class, {found[0]}," if found else "no labelled pixel"
        raise ValueError(
            f"{labels}: {content} in the {len(data)} training photos; label at least two classes "
            f"({VOID} is void: save a mask of 0 and {VOID} as 0 and 1)"
        )
    if not sum(held_out):
        raise ValueError(f"{labels}: no labelled pixel in the held-out photos; label more photos")
