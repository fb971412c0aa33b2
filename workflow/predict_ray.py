"""Label photos on many machines with Ray Data: a list of paths to Parquet files of label maps.

    python workflow/predict_ray.py photos.txt OUT --workers 8

Each worker keeps one net. OUT/labels has a row per photo: its path (``text``), ``labels`` (a PNG),
``shares`` (JSON: percent of the pixels per class) or ``error``. OUT/checkpoint has the paths of
rows that are written: the same command continues an interrupted run, and a worker that dies loses
and doubles nothing. OUT/made_by.json has the net and side, and others are refused. All machines
need the photos, OUT and the net under the same paths.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import ray
import typer
from ray.data.checkpoint import CheckpointConfig

from fcn.environment import KEPT_NETS, atomic_write, sha256
from fcn.predict import Segmenter, label_map, shares
from fcn.predict import photo as photos
from fcn.predict.enlarge import joined
from fcn.predict.output import OTHERS, png

DEFAULT_NET = KEPT_NETS / "sift-flow-googlenet-8s-tuned.seed0.safetensors"
SPARE = 2  # CPUs, as Ray counts them, for reading and writing: otherwise they wait for ever
ID = "text"  # the column of ``read_text``


class Predictor:
    """A worker with one net: batches of paths to batches of rows."""

    def __init__(self, weights: Path, side: int = 512) -> None:
        self.segmenter, self.side = Segmenter(weights), side

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = [self.row(str(path)) for path in batch[ID]]
        return {key: np.array([row[key] for row in rows], object) for key in rows[0]}

    def row(self, path: str) -> dict[str, Any]:
        """The labels of a photo, or what is wrong with it."""
        try:
            photo = photos.read(Path(path), self.side, page=False)
            strips = self.segmenter.strips(photo.shrunk, photo.height, photo.width)
            labels = joined(photo.masked(strips), photo.height)
        except (OSError, ValueError) as error:
            return {ID: path, "labels": b"", "shares": "", "error": str(error)}
        net = self.segmenter
        found = json.dumps(dict(shares(labels, net.classes)))
        return {
            ID: path,
            "labels": png(label_map(labels, net.palette)),
            "shares": found,
            "error": "",
        }


def predict(
    listed: Annotated[Path, typer.Argument(help="Text file, one path per line, each once.")],
    out: Path,
    weights: Path = DEFAULT_NET,
    side: int = 512,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    batch: int = 16,
    blocks: Annotated[int, typer.Option(help="Parts of the list, each written at once.")] = 200,
) -> None:
    """Label the photos in a list; continue if that was interrupted."""
    if not ray.is_initialized():  # on this machine alone, workers may use every CPU
        ray.init(num_cpus=None if "RAY_ADDRESS" in os.environ else workers + SPARE)
    most = int(ray.cluster_resources()["CPU"]) - SPARE
    if workers > most:
        raise typer.BadParameter(f"{workers} workers: this cluster has room for {most}")
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    made_by = json.dumps({"net": sha256(weights), "side": side})
    known = out / "made_by.json"
    if not known.is_file():
        with atomic_write(known) as partial:
            partial.write_text(made_by)
    elif known.read_text() != made_by:
        raise typer.BadParameter(f"{out}: {OTHERS} OUT")
    ray.data.DataContext.get_current().checkpoint_config = CheckpointConfig(
        ID, f"{out}/checkpoint", delete_checkpoint_on_success=False
    )
    ray.data.read_text(str(listed.resolve()), override_num_blocks=blocks).map_batches(
        Predictor,
        fn_constructor_kwargs={"weights": weights.resolve(), "side": side},
        batch_size=batch,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    ).write_parquet(f"{out}/labels")


if __name__ == "__main__":
    typer.run(predict)
