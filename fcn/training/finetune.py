"""Fine-tune an FCN on your own photos (``python -m fcn fit``).

The backbone starts from another net's, so that a few dozen photos can be enough. Some photos are
held out, by default a tenth, and scored once, at the end.
"""

import copy
import json
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np
import torch

from fcn import models
from fcn.data.class_lists import read_classes
from fcn.data.folder import Folder, checked
from fcn.data.photos import HEIC, PHOTOS
from fcn.data.reading import checked_names, read_lines
from fcn.data.sample import VOID, list_checksum
from fcn.environment import check_writable, folder_of, resolve_device, sha256
from fcn.models import FCN
from fcn.pretrained import PRETRAINED
from fcn.training.checkpoint import tidy
from fcn.training.own_photos import SIDE, per_class
from fcn.training.pipeline import train_and_record
from fcn.training.recipe import TUNED
from fcn.training.record import Data, Deviation, Head, InitialWeights, Plan

if TYPE_CHECKING:
    import pandas as pd

Held = str | Path | tuple[str | Path, str | Path]
"""The photos to hold out: a list of their names, or a folder of photos and one of label maps."""
SHOWN = 10  # names in a line of the log, at most


@dataclass(frozen=True)
class FineTuned:
    """The saved net and record, held-out scores, and labelled training pixels per class."""

    weights: Path
    record: Path
    scores: Head
    learned_from: tuple[int, ...]

    def per_class(self) -> "pd.DataFrame":
        """The held-out scores by class: :func:`~fcn.training.own_photos.per_class`."""
        return per_class(self.scores, self.learned_from)


def fit(
    photos: str | Path,
    labels: str | Path,
    classes: str | Path,
    *,
    start: str | Path,
    stride: int = 8,
    epochs: float = 20,
    batch_size: int = 8,
    micro_batch: int = 0,
    rate: float = TUNED.learning_rate,
    balance: float = 0.0,
    side: int = SIDE,
    val: Held | None = None,
    device: str = "auto",
    seed: int = 0,
    out: Path = Path("runs/own"),
    resume: bool = False,
    log: Callable[[str], None] = print,
) -> FineTuned:
    """Fine-tune on a :class:`~fcn.data.folder.Folder`; save net and record in ``out``.

    ``start`` is a net saved by this package, whose backbone is copied; "imagenet", the GoogLeNet
    weights in FCN_WEIGHTS; or "scratch". Convolutions are in bfloat16 on CUDA. Photos are scaled to
    a longer side of at most ``side``. All are read once before training, so that no bad
    file stops it halfway. ``balance`` and ``micro_batch`` are those of a
    :class:`~fcn.training.recipe.Recipe`. ``val`` says which photos are held out; without it, a
    fixed tenth, whose names are written next to the net.

    Raises what Folder and :func:`~fcn.training.pipeline.train_and_record` raise; FileExistsError if
    ``out`` has the net of an earlier run; and ValueError if ``out`` is among the photos or label
    maps, held-out photos are among the training photos, or there is nothing to learn or to score.
    """
    _check_outside(out, [photos, labels, *(val if isinstance(val, tuple) else ())])
    device = resolve_device(device)
    if rate == 0:
        raise ValueError(
            f"--rate is 0: no weight would change; the default is {TUNED.learning_rate}"
        )
    recipe = replace(
        TUNED,
        epochs=epochs,
        batch_size=batch_size,
        micro_batch=micro_batch,
        learning_rate=rate,
        balance=balance,
        precision="bf16-mixed" if device == "cuda" else "32-true",
    )
    names = read_classes(classes).names
    torch.manual_seed(seed)
    net, initial = starting_net(start, stride, {"semantic": len(names)})
    name = f"own-{net.settings['net']}-{stride}s"
    weights = out / f"{name}.seed{seed}.safetensors"
    _check_new(weights, resume)
    check_writable(out, "--out")
    folder, counted = checked(photos, labels, classes, side=side, log=log)
    if isinstance(val, tuple):
        training = _part(folder, "train", folder.names)
        others, counted_others = checked(*val, classes, side=side, log=log)
        held_out = _part(others, "val", others.names)
    else:
        training, held_out = split(folder, val)
        counted_others = counted
    more = len(held_out) - SHOWN
    shown = ", ".join(held_out.names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    log(f"held out: {shown}")
    if twins := _shared(training, held_out):
        one, other = twins[0]
        same = f"{quote(str(one))}: held out, but the same photo as {quote(str(other))}"
        same += f" ({len(twins)} of {len(held_out)} are among the training photos)"
        if val is not None:
            raise ValueError(f"{same}; take them out of one of the two")
        log(f"{same}, which flatters the score")
    learned, scored = (
        np.stack([counts[name] for name in part.names])
        for part, counts in ((training, counted), (held_out, counted_others))
    )
    counts = learned.sum(0).tolist()
    pixels = dict(zip(names, counts, strict=True))
    found = [name for name, n in pixels.items() if n]
    if len(found) < 2:
        content = f"only one class, {found[0]}," if found else "no labelled pixel"
        raise ValueError(
            f"{quote(str(labels))}: {content} in the {len(training)} training photos; label at "
            f"least two classes ({VOID} is void: save a mask of 0 and {VOID} as 0 and 1)"
        )
    if not scored.any():
        theirs = quote(str(val[1] if isinstance(val, tuple) else labels))
        raise ValueError(
            f"{theirs}: no labelled pixel in the held-out photos ({shown}); label some of them"
        )
    log(f"{len(training)} training photos, {len(held_out)} held out, {len(counts)} classes")
    if absent := [name for name, n in pixels.items() if not n]:
        log(f"no training pixels, so never predicted: {', '.join(absent)}")
    settings = {k: v for k, v in net.settings.items() if k not in ("heads", "num_classes")}
    plan = Plan(
        experiment=name,
        purpose="validation",
        seed=seed,
        deviations=(
            Deviation("data", "your own photos and labels"),
            Deviation("images", f"photos scaled to a longer side of at most {side} pixels"),
        ),
        dataset=Data.of(Folder.name, training, held_out),
        initial_weights=initial,
        net=settings | {"random_scores": False, "task": ""},
        recipe=asdict(recipe),
    )
    palette = None if training.palette is None else training.palette.tolist()
    record = train_and_record(
        net,
        training,
        held_out,
        plan,
        weights=weights,
        results=out,
        device=device,
        metadata={"input size": str(side)} | ({"palette": json.dumps(palette)} if palette else {}),
        identity={
            "start": initial.name if initial else "scratch",
            "input size": side,
            "class colours": palette,
            "labels as read": list_checksum([*map(str, learned.tolist())]),
            "held-out images and labels": held_out.contents,
            "held-out labels as read": list_checksum([*map(str, scored.tolist())]),
        },
        held_out=held_out.names if val is None else (),
        resume=resume,
        log=log,
    )
    head = record.heads["semantic"]
    if everywhere := _one_answer(head):
        steps = record.curve[-1]["step"]
        log(f"it finds '{everywhere}' everywhere after {steps} steps; train longer with --epochs")
    return FineTuned(weights, out / plan.file_name, head, tuple(counts))


def split(folder: Folder, held_out: str | Path | None = None) -> tuple[Folder, Folder]:
    """The photos to learn from, and those to hold out: the names in a list, or else a tenth.

    Raises ValueError for a name in the list that no photo has, and if no training photo is left.
    """
    known = set(folder.names)
    if held_out is None:
        chosen = folder.tenth()
    else:
        listed = [_stem(name, known) for name in read_lines(held_out, "held-out photos", "name")]
        chosen = set(checked_names(listed, held_out))
        where = quote(str(held_out))
        if unknown := sorted(chosen - known):
            raise ValueError(
                f"{where}: there is no photo {', '.join(unknown[:SHOWN])} ({len(unknown)} of "
                f"{len(chosen)} names); list the names of your photos"
            )
        if chosen == known:
            raise ValueError(f"{where}: lists all photos; leave some to learn from")
    return _part(folder, "train", known - chosen), _part(folder, "val", chosen)


def _part(folder: Folder, split: str, names: Iterable[str]) -> Folder:
    part = copy.copy(folder)
    part.split, part.names = split, sorted(names)
    part.__dict__.pop("contents", None)
    return part


def _stem(name: str, known: set[str]) -> str:
    """The name of a photo as in a Folder, without its folder and the ending of its file."""
    path = Path(name := unicodedata.normalize("NFC", name))
    return path.stem if name not in known and path.suffix.lower() in PHOTOS + HEIC else name


def _shared(training: Folder, held_out: Folder) -> list[tuple[Path, Path]]:
    """The held-out photos whose file equals that of a training photo, each with that photo."""
    learned, scored = (
        [part.files(i)[0] for i in range(len(part))] for part in (training, held_out)
    )
    sizes = {path.stat().st_size for path in scored}
    known = {sha256(path): path for path in learned if path.stat().st_size in sizes}
    return [(path, known[found]) for path in scored if (found := sha256(path)) in known]


def _check_outside(out: Path, folders: Iterable[str | Path]) -> None:
    """Raise ValueError if ``out`` is one of the ``folders`` or below it."""
    above = [path for path in (out.resolve(), *out.resolve().parents) if path.is_dir()]
    for folder in map(Path, folders):
        if folder.is_dir() and any(path.samefile(folder) for path in above):
            raise ValueError(
                f"{quote(str(out))}: among the photos or label maps in {quote(str(folder))}; "
                "choose another with --out"
            )


def _check_new(weights: Path, resume: bool) -> None:
    """Raise FileExistsError if a run has written ``weights`` or, without ``resume``, has begun."""
    checkpoint, record = (weights.with_suffix(s) for s in (".checkpoint", ".validation.json"))
    if record.is_file() or (weights.is_file() and not checkpoint.is_file()):
        found = record if record.is_file() else weights
        tidy(weights, record)
        kept = "exists, from a finished run"
        raise FileExistsError(f"{quote(str(found))}: {kept}; give another folder with --out")
    if checkpoint.is_file() and not resume:
        raise FileExistsError(
            f"{quote(str(checkpoint))}: exists; continue it with --resume, delete it, or give "
            "another folder with --out"
        )


def _one_answer(head: Head) -> str | None:
    """The class that a net finds in every pixel of photos that show several, if there is one."""
    counts = torch.tensor(head.confusion_matrix)
    predicted = counts.sum(0).nonzero().flatten().tolist()
    return head.classes[predicted[0]] if len(predicted) == 1 < head.classes_counted else None


def starting_net(
    start: str | Path, stride: int, heads: dict[str, int]
) -> tuple[FCN, InitialWeights | None]:
    """The net that :func:`fit` trains, its score layers at zero, and its initial weights.

    Raises FileNotFoundError for a missing weight file and ValueError for one that holds no net for
    RGB photos.
    """
    if start in ("scratch", "imagenet"):
        net = FCN("googlenet", stride, heads=heads, upsampling="interpolate")
        if start == "scratch":
            return net, None
        path = folder_of(None, "FCN_WEIGHTS") / PRETRAINED["googlenet"]
        net.load_pretrained(path)
    elif (path := Path(start)).suffix == ".safetensors":
        other = models.load(path)
        if not isinstance(other, FCN) or other.settings.get("inputs", "rgb") != "rgb":
            raise ValueError(f"{path}: takes more than RGB; choose a net trained on photos alone")
        kind, width = other.settings["net"], other.settings["width"]
        net = FCN(kind, stride, heads=heads, upsampling="interpolate", width=width)
        net.mean.copy_(other.mean)
        net.trunk.load_state_dict(other.trunk.state_dict())
    else:
        raise ValueError(
            f"--start {start}: give a .safetensors file that `fcn train` saved, "
            '"imagenet" or "scratch"'
        )
    return net, InitialWeights(path.name, sha256(path))
