"""Prediction under Ray Data: a worker that dies, and a run that continues."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcn import models
from fcn.models import FCN
from fcn.predict.segmenter import Segmenter

pytest.importorskip("ray.data")
rasterio = pytest.importorskip("rasterio")
ROOT = Path(__file__).parents[2]

PROGRAM = """
import os
from pathlib import Path

import predict_ray
import pytest
import ray
import typer

ray.init(num_cpus=3, include_dashboard=False, object_store_memory=100_000_000)


class Mortal(predict_ray.Predictor):
    def row(self, path):
        flag = Path("died")
        if path.endswith("5.png") and not flag.exists():
            flag.touch()
            os._exit(1)
        return super().row(path)


predict_ray.Predictor = Mortal
settings = {"weights": Path("net.safetensors"), "side": 64, "batch": 2, "blocks": 3}
with pytest.raises(typer.BadParameter, match="2 workers: .* room for 1"):
    predict_ray.predict(Path("half.txt"), Path("out"), workers=2, **settings)
assert not Path("out").exists()
predict_ray.predict(Path("half.txt"), Path("out"), **settings)
assert Path("died").exists()
predict_ray.predict(Path("list.txt"), Path("out"), **settings)
with pytest.raises(typer.BadParameter, match="by another net or --side; .* another OUT"):
    predict_ray.predict(Path("list.txt"), Path("out"), **settings | {"side": 32})
"""


def test_a_worker_that_dies_loses_and_doubles_nothing(tmp_path):
    """The list grows between two runs, as if the first had been interrupted."""
    import pyarrow.parquet

    torch.manual_seed(0)
    net = FCN("alexnet", 32, heads={"semantic": 2}, width=0.02)
    torch.nn.init.normal_(net.heads["semantic"]["score32"].weight, std=0.1)
    models.save(net, tmp_path / "net.safetensors", {"classes": '{"semantic": ["sky", "sea"]}'})
    photos = [tmp_path / f"{i}.png" for i in range(9)]
    bands = np.full((3, 20, 30), 9, np.uint8)
    bands[:, :5] = 0
    where = rasterio.transform.from_origin(500_000, 5_300_000, 1, 1)
    about = {"driver": "GTiff", "count": 3, "height": 20, "width": 30, "transform": where}
    with rasterio.open(tmp_path / "9.tif", "w", dtype="uint8", nodata=0, **about) as made:
        made.write(bands)
    for i, path in enumerate(photos[:-1]):
        pixels = np.random.default_rng(i).integers(0, 256, (30 + i, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    (tmp_path / "half.txt").write_text("".join(f"{path}\n" for path in photos[:6]))
    photos.append(tmp_path / "9.tif")
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in photos))
    command = [sys.executable, "-c", PROGRAM]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "workflow")))}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]

    files = sorted((tmp_path / "out" / "labels").iterdir())
    rows = [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]
    assert sorted(row["text"] for row in rows) == [str(path) for path in photos]
    by_name = {Path(row["text"]).name: row for row in rows}
    assert "8.png: no such photo" in by_name["8.png"]["error"]
    found = by_name["5.png"]
    expected = Segmenter(tmp_path / "net.safetensors").labels(np.asarray(Image.open(photos[5])), 64)
    with Image.open(io.BytesIO(found["labels"])) as labels:
        np.testing.assert_array_equal(np.asarray(labels), expected)
    assert sum(json.loads(found["shares"]).values()) == pytest.approx(100)
    with Image.open(io.BytesIO(by_name["9.tif"]["labels"])) as labels:
        assert (np.asarray(labels)[:5] == 255).all()
        assert (np.asarray(labels)[5:] < 2).all()
