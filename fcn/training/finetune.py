"""Fine-tune an FCN on your own photos (``python -m fcn fit``).

The backbone starts from another net's, so that a few dozen photos can be enough. A tenth of the
photos is held out and scored once, at the end.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fcn import models
from fcn.data.folder import Folder
from fcn.data.sample import VOID
from fcn.environment import check_writable, folder_of, resolve_device, sha256
from fcn.models import FCN
from fcn.pretrained import PRETRAINED
from fcn.training.loader import pixels_per_class
from fcn.training.pipeline import train_and_record
from fcn.training.recipe import TUNED
from fcn.training.record import Data, Deviation, Head, InitialWeights, Plan

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class FineTuned:
    """The saved net and record, held-out scores, and labelled training pixels per class."""

    weights: Path
    record: Path
    scores: Head
    learned_from: tuple[int, ...]

    def per_class(self) -> "pd.DataFrame":
        """One row per class: its shares of the labelled pixels, accuracy and IU, in percent, and
        the class it is most often mistaken for. NaN without held-out pixels."""
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
    log: Callable[[str], None] = print,
) -> FineTuned:
    """Fine-tune on a :class:`~fcn.data.folder.Folder`; save net and record in ``out``.

    ``start`` is a net saved by this package, whose backbone is copied; "imagenet", the GoogLeNet
    weights in FCN_WEIGHTS; or "scratch". Convolutions are in bfloat16 on CUDA. Photos are scaled to
    a longer side of at most ``side``. All are read once before training, so that no bad
    file stops it halfway.

    Raises what Folder and :func:`~fcn.training.pipeline.train_and_record` raise, and ValueError if
    there is nothing to learn or to score.
    """
    device = resolve_device(device)
    recipe = replace(TUNED, epochs=epochs, batch_size=batch_size, learning_rate=rate)
    recipe = replace(recipe, precision="bf16-mixed" if device == "cuda" else "32-true")
    training, held_out = (Folder(photos, labels, classes, s, side=side) for s in ("train", "val"))
    torch.manual_seed(seed)
    net, initial = starting_net(start, stride, {"semantic": len(training.classes.names)})
    if out.resolve() in (Path(photos).resolve(), Path(labels).resolve()):
        raise ValueError(f"{out}: contains your photos or label maps; choose another with --out")
    check_writable(out, "--out")
    counts = pixels_per_class(training, log)["semantic"].tolist()
    pixels = dict(zip(training.classes.names, counts, strict=True))
    found = [name for name, n in pixels.items() if n]
    if len(found) < 2:
        content = f"only one class, {found[0]}," if found else "no labelled pixel"
        raise ValueError(
            f"{labels}: {content} in the {len(training)} training photos; label at least two "
            f"classes ({VOID} is void: save a mask of 0 and {VOID} as 0 and 1)"
        )
    if not pixels_per_class(held_out, log)["semantic"].any():
        raise ValueError(f"{labels}: no labelled pixel in the held-out photos; label more photos")
    log(f"{len(training)} training photos, {len(held_out)} held out, {len(counts)} classes")
    if absent := [name for name, n in pixels.items() if not n]:
        log(f"no training pixels, so never predicted: {', '.join(absent)}")
    name = f"own-{net.settings['net']}-{stride}s"
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
    weights = out / f"{name}.seed{seed}.safetensors"
    palette = training.palette
    record = train_and_record(
        net,
        training,
        held_out,
        plan,
        weights=weights,
        results=out,
        device=device,
        metadata={} if palette is None else {"palette": json.dumps(palette.tolist())},
        identity={"input size": side},
        resume=resume,
        overwrite=True,
        log=log,
    )
    return FineTuned(weights, out / plan.file_name, record.heads["semantic"], tuple(counts))


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
