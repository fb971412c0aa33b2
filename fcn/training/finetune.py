"""Training on photos and labels of one's own: what ``python -m fcn fit`` does.

The net is the paper's, the recipe is ours (``fcn.experiments.TUNED``), and the trunk begins with what another net has
learned, for which a few dozen photos can be enough. A tenth of the photos is held out and scored once, at the end.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from fcn import environment as environment_module
from fcn import models, pretrained
from fcn.data.folder import Folder
from fcn.data.sample import VOID
from fcn.models import FCN
from fcn.pretrained import PRETRAINED
from fcn.replication import run
from fcn.training import checkpoint as checkpoint_module
from fcn.training import evaluate, loop, provenance
from fcn.training import record as records
from fcn.training.recipe import TUNED, Recipe

Log = Callable[[str], None]


@dataclass(frozen=True)
class Fitted:
    """What became of it: the files of the net and its record, the held-out photos' scores, and the number of labelled
    pixels of each class in the photos it learned from."""

    weights: Path
    record: Path
    scores: records.Head
    learned_from: tuple[int, ...]

    def per_class(self) -> pd.DataFrame:
        """A row a class: its share of the labelled pixels learned from and held out, its accuracy and IU (percent),
        and the class that most of its missed pixels were taken for. NaN where no held-out pixel is of the class."""
        counts = torch.tensor(self.scores.confusion_matrix, dtype=torch.float64)
        right, true = counts.diagonal(), counts.sum(1)
        missed, taken_for = (counts - torch.diag(right)).max(1)
        learned = torch.tensor(self.learned_from, dtype=torch.float64)
        columns = {
            "% of training": 100 * learned / learned.sum(),
            "% of held-out": 100 * true / true.sum(),
            "accuracy": 100 * right / true,
            "IU": [float("nan") if iu is None else iu for iu in self.scores.metrics.iu_per_class],
        }
        table = pd.DataFrame(columns, list(self.scores.classes), dtype=float).round(1)
        names = self.scores.classes
        return table.assign(
            **{
                "most taken for": [
                    names[i] if n else "" for i, n in zip(taken_for, missed, strict=True)
                ]
            }
        )


def recipe(epochs: float, batch_size: int, rate: float, device: str) -> Recipe:
    """The tuned recipe with so many epochs, photos a batch and this learning rate; in 16 bits on NVIDIA's GPUs."""
    precision = "bf16-mixed" if device == "cuda" else "32-true"
    return replace(
        TUNED, epochs=epochs, batch_size=batch_size, learning_rate=rate, precision=precision
    )


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
    width: float = 1.0,
    device: str = "auto",
    seed: int = 0,
    out: Path = Path("runs/own"),
    resume: bool = False,
    log: Log = print,
) -> Fitted:
    """Train an FCN on all but the held-out tenth of a :class:`~fcn.datasets.folder.Folder`, save, score and record it.

    ``start`` is where the trunk begins: a net that this package saved, whose trunk is copied and whose kind and width
    are kept; "imagenet", GoogLeNet's weights in the folder that FCN_WEIGHTS names; or "scratch", a GoogLeNet of
    ``width`` with random weights. Photos are learned and scored with a longer side of at most ``side`` pixels. All
    photos and labels are read once before the training, so that none can stop it halfway.

    Raises what Folder and ``fcn.training.train`` raise, and ValueError where the labels leave nothing to learn or to
    score.
    """
    device = environment_module.resolve_device(device)
    settings = recipe(epochs, batch_size, rate, device)
    part = {split: Folder(photos, labels, classes, split, side=side) for split in ("train", "val")}
    evaluate.seed_everything(seed)
    net, initial = begin(
        start, stride, {head: len(names) for head, names in part["train"].heads.items()}, width
    )
    name = f"own-{net.settings['net']}-{stride}s"
    kept, checkpoint = (
        out / f"{name}.seed{seed}.{ending}" for ending in ("safetensors", "checkpoint")
    )
    if out.resolve() in (Path(photos).resolve(), Path(labels).resolve()):
        raise ValueError(
            f"{out}: holds photos or label maps, and nothing else may; name another folder with --out"
        )
    environment_module.check_writable(out, "--out")
    environment = provenance.environment(device)

    learned_from, held_out = (census(data, log) for data in part.values())
    _check_census(learned_from, held_out, part["train"], labels)
    log(
        f"{len(part['train'])} photos to learn from, {len(part['val'])} held out, {len(learned_from)} classes"
    )
    if absent := [
        c for c, n in zip(part["train"].classes.names, learned_from, strict=True) if not n
    ]:
        log(f"no pixel to learn from, so never to be found: {', '.join(absent)}")

    with checkpoint_module.interruptible(log) as stop:
        done = loop.train(
            net, part["train"], settings, seed=seed, device=device, checkpoint=checkpoint, resume=resume, log=log,
            stop=stop,
        )  # fmt: skip
    if evaluate.is_main_process():
        models.save(net, kept, run.describe(part["train"], name) | _palette(part["train"]))
    evaluate.wait()
    matrix = evaluate.evaluate(models.load(kept), part["val"], device=device)["semantic"]
    record = records.Record(
        experiment=name,
        purpose="validation",
        heads={"semantic": records.Head.scored(part["val"].classes.names, matrix)},
        recipe=asdict(settings),
        seed=seed,
        images_seen=done.images_seen,
        curve=done.curve,
        dataset=records.Data(
            Folder.name, *(records.Split(d.split, len(d), d.checksum) for d in part.values())
        ),
        initial_weights=initial,
        seconds=round(done.seconds, 1),
        deviations=(
            "photos and labels of one's own in place of the paper's data",
            f"photos learned and scored with a longer side of at most {side} pixels",
            f"our recipe in place of the paper's: {epochs:g} epochs of AdamW, rate {rate:g}, batches of {batch_size}",
        ),
        **environment,
    )
    path = out / record.file_name
    if evaluate.is_main_process():
        records.write(record, out)
        checkpoint.unlink(missing_ok=True)
    return Fitted(kept, path, record.heads["semantic"], tuple(learned_from))


def begin(
    start: str | Path, stride: int, heads: dict[str, int], width: float = 1.0
) -> tuple[FCN, records.InitialWeights | None]:
    """A net with new score layers, at zero, on the trunk that ``start`` names (see :func:`fit`), and what that is.

    Raises FileNotFoundError where the file of weights is missing and ValueError where it holds no such net.
    """
    if start == "scratch":
        return FCN("googlenet", stride, heads=heads, upsampling="interpolate", width=width), None
    if start == "imagenet":
        if not os.environ.get("FCN_WEIGHTS"):
            raise FileNotFoundError(
                "--start imagenet: set FCN_WEIGHTS to the folder of the ImageNet weights"
            )
        path = Path(os.environ["FCN_WEIGHTS"]) / PRETRAINED["googlenet"]
        net = FCN("googlenet", stride, heads=heads, upsampling="interpolate")
        net.load_pretrained(path)
    else:
        path = Path(start)
        if path.suffix != ".safetensors":
            raise ValueError(
                f'--start {start}: give a .safetensors file that `fcn train` saved, "imagenet" or "scratch"'
            )
        net = copy_trunk(path, stride, heads)
    return net, records.InitialWeights(path.name, environment_module.sha256(path))


def copy_trunk(path: Path, stride: int, heads: dict[str, int]) -> FCN:
    """An FCN whose trunk, with the mean that it subtracts, is that of the net saved at ``path``; its scores are new.

    Raises FileNotFoundError where there is no such file and ValueError where it holds no net for photos in colour.
    """
    other = models.load(path)
    settings = other.settings
    if not isinstance(other, FCN) or settings.get("inputs", "rgb") != "rgb":
        raise ValueError(
            f"{path}: a net for more than colours; give one that learned from photos alone"
        )
    net = FCN(
        settings["net"], stride, heads=heads, upsampling="interpolate", width=settings["width"]
    )
    state = other.state_dict()
    trunk = {
        name: tensor
        for name, tensor in state.items()
        if name == "mean" or name.startswith("trunk.")
    }
    pretrained.load_into(net, trunk, allow_missing=("heads",), source=str(path))
    return net


def census(data: Folder, log: Log) -> list[int]:
    """The labelled pixels of each class. To count them is to read every photo and label map once, which checks them."""
    counts = torch.zeros(VOID + 1, dtype=torch.int64)
    for i in range(len(data)):
        labels: Tensor = data[i].labels["semantic"]
        counts += torch.bincount(labels.flatten(), minlength=VOID + 1)
        if (i + 1) % 200 == 0:
            log(f"checked {i + 1} of {len(data)} photos and their labels")
    return counts[: len(data.classes.names)].tolist()


def _check_census(
    learned_from: list[int], held_out: list[int], data: Folder, labels: str | Path
) -> None:
    found = [name for name, n in zip(data.classes.names, learned_from, strict=True) if n]
    if len(found) < 2:
        what = f"one class alone, {found[0]}" if found else "no labelled pixel"
        raise ValueError(
            f"{labels}: {what}, in the {len(data)} photos to learn from; label two classes at least "
            f"({VOID} is void: a mask of 0 and {VOID} has to be saved as 0 and 1)"
        )
    if not sum(held_out):
        raise ValueError(
            f"{labels}: no labelled pixel in the photos held out for scoring; label more photos"
        )


def _palette(data: Folder) -> dict[str, str]:
    """The colours of the classes, for the file of weights; nothing where the list of classes has none."""
    return {} if data.palette is None else {"palette": json.dumps(data.palette.tolist())}
