"""Damaged files, by the hundred, for every parser: seeded, so that a number always means the same.

A parser must refuse a mutant in one line that names the file, or read it. Where the format has a
checksum, it may read only what the whole file says.
"""

import copy
import hashlib
import json
import random
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import archives
import numpy as np
import pack
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file

from fcn import models
from fcn.caffemodel import NetParameter
from fcn.data import reading
from fcn.data.folder import Folder
from fcn.data.synthetic.outdoor import Scenes
from fcn.metrics import ConfusionMatrix
from fcn.predict import Segmenter
from fcn.pretrained import checksum, read_tensors
from fcn.replication import catalogue, snapshots
from fcn.training import record as records
from fcn.training.checkpoint import read_checkpoint, write_checkpoint
from fcn.training.loop import train
from fcn.training.recipe import Recipe
from fcn.training.record import Data, Head, Record, Split

OUTCOMES = ("same", "read", "refused", "changed", "unclear", "failed")
SLOW = 10.0  # seconds
SIZE = (24, 32)


@dataclass(frozen=True)
class Parser:
    """A kind of file: how to write a whole one and how to read it, up to what it is used for.

    ``sealed``: what is read from a damaged file must be what the whole one says. ``structured``
    changes values and writes the file anew, with valid checksums inside.
    """

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    sealed: bool = False
    structured: Callable[[Path, random.Random], None] | None = None


@dataclass
class Outcome:
    """What became of the mutants of one parser; ``examples`` of those that should not be."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return sum(self.counts[kind] for kind in ("changed", "unclear", "failed"))


def run(parser: Parser, folder: Path, count: int) -> Outcome:
    """Read ``count`` mutants of the parser's file, which is written to ``folder``."""
    path = parser.write(folder)
    whole, expected = path.read_bytes(), str(parser.read(path))
    found = Outcome()
    for number in range(count):
        rng = random.Random(f"{parser.name} {number}")
        if parser.structured and rng.random() < 0.5:
            path.write_bytes(whole)
            parser.structured(path, rng)
            sealed = False
        else:
            path.write_bytes(damaged(whole, rng))
            sealed = parser.sealed
        started = time.perf_counter()
        try:
            same = str(parser.read(path)) == expected
            kind, message = "same" if same else "changed" if sealed else "read", ""
        except (OSError, ValueError, ArithmeticError) as error:
            message = str(error)
            clear = folder.name in message and "\n" not in message and len(message) < 1000
            kind = "refused" if clear else "unclear"
            message = f"{type(error).__name__}: {message}"
        except Exception as error:
            kind, message = "failed", f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        found.slowest = max(found.slowest, seconds)
        if seconds > SLOW:
            kind, message = "failed", f"{seconds:.0f} seconds"
        found.counts[kind] += 1
        if kind in ("changed", "unclear", "failed"):
            found.examples.append(f"{parser.name} {number}: {kind}: {message[:300]}")
    path.write_bytes(whole)
    return found


def damaged(whole: bytes, rng: random.Random) -> bytes:
    """Other bytes: flipped bits, a part that is cut off, missing, doubled, zero or noise."""
    data, at = bytearray(whole), rng.randrange(len(whole))
    end = min(len(whole), at + rng.choice((1, 8, 64, 512)))
    kind = rng.randrange(8)
    if kind <= 1:
        for _ in range(rng.choice((1, 1, 1, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[at:end]
    elif kind == 4:
        data[at:at] = data[at:end]
    elif kind == 5:
        data[at:end] = bytes(end - at)
    elif kind == 6:
        data[at:end] = rng.randbytes(end - at)
    else:  # near the beginning, where the headers are
        data[rng.randrange(min(64, len(data)))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(data)


ODD: tuple[Any, ...] = (
    None, True, [], {}, "", "x", -1, 0, 0.5, 2**31, 2**63, 10**400, float("inf"), float("nan"),
    "../../etc/passwd", "/etc/passwd", "<b>x</b>", "\0", "x" * 5000, [[]], {"a": None},
)  # fmt: skip


def with_odd_value(data: Any, rng: random.Random) -> Any:
    """A copy of nested ``data`` with one value replaced, removed, or nested a thousandfold."""
    data = copy.deepcopy(data)
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in list(pairs):
            places.append((node, key))
            if isinstance(value, dict | list):
                visit(value)

    visit(data)
    if not places:
        return rng.choice(ODD)
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    elif rng.random() < 0.1 and isinstance(node, dict):
        node[rng.choice(("other", "", "class"))] = node.pop(key)
    else:
        node[key] = rng.choice(ODD)
    return data


def odd_json(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.05:
        path.write_text("[" * 100_000)
        return
    path.write_text(json.dumps(with_odd_value(json.loads(path.read_bytes()), rng)))


# The files


def _net(folder: Path) -> Path:
    torch.manual_seed(0)
    net = models.FCN("alexnet", 32, 3, width=0.01)
    about = {"classes": json.dumps({"scores": ["sky", "land", "sea"]}), "dataset": "scenes"}
    models.save(net, folder / "net.safetensors", about)
    return folder / "net.safetensors"


def _weights(net: models.Net) -> str:
    return checksum(net.state_dict(), {"settings": json.dumps(net.settings)})


def _odd_net(path: Path, rng: random.Random) -> None:
    """Other settings or classes, in a file without a checksum, as anybody can write it."""
    with models.safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del metadata["checksum"]
    key = rng.choice(("settings", "classes", "palette"))
    value = json.loads(metadata.get(key, "[[1, 2, 3], [4, 5, 6], [7, 8, 9]]"))
    deep = rng.random() < 0.1
    metadata[key] = "[" * 100_000 if deep else json.dumps(with_odd_value(value, rng))
    save_file(tensors, path, metadata)


def _segmented(path: Path) -> object:
    segmenter = Segmenter(path)
    photo = np.zeros((*SIZE, 3), np.uint8)
    return segmenter.classes, segmenter.palette.tolist(), segmenter.labels(photo).sum()


def _state_dict(folder: Path) -> Path:
    torch.save({"conv1.weight": torch.ones(4, 3, 3, 3)}, folder / "net.pth")
    return folder / "net.pth"


def _caffemodel(folder: Path) -> Path:
    net = NetParameter(name="net")
    for name, shape in {"conv1": (4, 3, 3, 3), "fc8": (5, 4)}.items():
        blob = net.layer.add(name=name, type="Convolution").blobs.add()
        blob.shape.dim.extend(shape)
        blob.data.append(np.ones(shape, "<f4").tobytes())
    (folder / "net.caffemodel").write_bytes(net.SerializeToString())
    return folder / "net.caffemodel"


IDENTITY = {"seed": 0}
STATE = {
    "net": {"weight": torch.arange(30.0)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []},
    "ema": [torch.ones(30)],
    "run": {"step": 3, "images_seen": 6, "seconds": 1.5, "curve": []},
    "losses": [0.5, 0.25],
}


def _checkpoint(folder: Path) -> Path:
    write_checkpoint(folder / "a.checkpoint", IDENTITY, STATE)
    return folder / "a.checkpoint"


class _Resumed:
    """A run of two steps at its end, whose checkpoint is read and continued."""

    scenes = Scenes(2, SIZE)
    recipe = Recipe(1e-3, epochs=2, batch_size=2, optimizer="adamw", ema=0.5)

    def train(self, path: Path, resume: bool) -> object:
        torch.manual_seed(0)
        net = models.FCN("alexnet", 32, heads={"semantic": 10}, width=0.01)
        quiet: dict[str, Any] = {"log": lambda line: None, "device": "cpu", "workers": 0}
        run = train(net, self.scenes, self.recipe, checkpoint=path, resume=resume, **quiet)
        return run.step, run.images_seen, [p["loss"] for p in run.curve], _weights(net)

    def write(self, folder: Path) -> Path:
        self.train(folder / "b.checkpoint", False)
        return folder / "b.checkpoint"

    def read(self, path: Path) -> object:
        return self.train(path, True)


def _odd_state(path: Path, rng: random.Random) -> None:
    state = torch.load(path, weights_only=True)
    torch.save(with_odd_value(state, rng), path)


def _record(folder: Path) -> Path:
    head = Head.scored(("sky", "land"), ConfusionMatrix.from_matrix([[5, 1], [2, 8]]))
    splits = Split("train", 4, "a" * 64), Split("test", 2, "b" * 64)
    entries: dict[str, Any] = {
        "experiment": "x", "purpose": "final", "seed": 0, "deviations": (),
        "dataset": Data("scenes", *splits), "initial_weights": None,
        "weights": records.Weights("weights/x.safetensors", "c" * 64),
        "net": {"net": "alexnet"}, "recipe": {"epochs": 2}, "images_seen": 8, "versions": {},
        "commit": None, "hardware": "a CPU", "seconds": 1.5, "heads": {"semantic": head},
        "curve": [{"step": 1, "images": 4, "loss": 1.5, "learning_rate": 0.1}],
    }  # fmt: skip
    return records.write(Record(**entries), folder)


def _used_record(path: Path) -> object:
    (record,) = records.load_records(path.parent)
    for head in record.heads.values():
        head.recomputed()
    return record.model_dump(), record.scores, record.precision


def _odd_record(path: Path, rng: random.Random) -> None:
    data = json.loads(path.read_bytes())
    del data["checksum"]
    path.write_text(json.dumps(data))
    odd_json(path, rng)


def _catalogue(folder: Path) -> Path:
    source = Path(catalogue.__file__).with_suffix(".toml").read_text(encoding="utf-8")
    (folder / "catalogue.toml").write_text(source, encoding="utf-8")
    return folder / "catalogue.toml"


FILES = {f"set/{name}": name.encode() * 300 for name in ("a.jpg", "b.png", "lists/c.txt")}


def _tar(name: str, mode: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with tarfile.open(folder / name, mode) as archive:  # type: ignore[call-overload]
            for file, content in FILES.items():
                (folder / "member").write_bytes(content)
                archive.add(folder / "member", file)
        return folder / name

    return write


def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return folder / "set.zip"


def _unpacked(path: Path, contents: bool) -> object:
    with archives.unpacked(path, path.parent / "target", log=False) as folder:
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        return [
            (str(f.relative_to(folder)), f.read_bytes() if contents else f.stat().st_size)
            for f in files
        ]


def _packed(folder: Path) -> Path:
    (folder / "data").mkdir()
    (folder / "data" / "a.txt").write_text("a" * 400)
    pack.pack(folder / "data", folder / "parts")
    return folder / "parts" / pack.LIST


def _repacked(path: Path) -> object:
    there = path.parent.parent / "there"
    for left in there.rglob("*") if there.is_dir() else ():
        if left.is_file():
            left.unlink()
    pack.unpack(path.parent, there)
    return (there / "a.txt").read_text()


def _label_map(folder: Path) -> Path:
    labels = np.indices(SIZE).sum(0).astype(np.uint8) % 3
    Image.fromarray(labels).save(folder / "a.png")
    return folder / "a.png"


def _own(folder: Path) -> Path:
    """A folder of a photo and its label map in colours; the label map is damaged."""
    for name in ("photos", "labels"):
        (folder / name).mkdir()
    colours = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    labels = np.indices(SIZE).sum(0) % 2
    Image.fromarray(colours[labels]).save(folder / "photos" / "a.png")
    Image.fromarray(colours[labels]).save(folder / "labels" / "a.png")
    (folder / "classes.txt").write_text("sky #0a141e\nland #28323c\n")
    return folder / "labels" / "a.png"


def _classes(folder: Path) -> Path:
    _own(folder)
    return folder / "classes.txt"


def _own_sample(root: Path) -> object:
    own = Folder(root / "photos", root / "labels", root / "classes.txt")
    return own.classes, own[0].labels["semantic"].sum()


def _photo(folder: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(noise).save(folder / "a.jpg")
    return folder / "a.jpg"


def _list(folder: Path) -> Path:
    (folder / "train.txt").write_text("".join(f"2007_{i:06}\n" for i in range(40)))
    return folder / "train.txt"


def _listed(path: Path) -> object:
    """The files of a list that exist: none may be outside the folder."""
    try:
        return reading.checked_files(path.parent, reading.read_list(path), "{}.jpg", "photos")
    except FileNotFoundError:
        return "missing"


def _mat(folder: Path) -> Path:
    labels = np.indices(SIZE).sum(0).astype(np.uint8) % 3 + 1
    scipy.io.savemat(folder / "a.mat", {"S": labels}, do_compression=True)
    return folder / "a.mat"


def _snapshot(folder: Path) -> Path:
    def squares() -> dict[str, Any]:
        """Squares."""
        return {"squares": np.arange(50) ** 2}

    return snapshots.save("squares", squares, folder)


def _sum_of_snapshot(path: Path) -> object:
    return {k: v.tolist() for k, v in snapshots.load("squares", path.parent.parent).items()}


def _digest(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


_resumed = _Resumed()
PARSERS = (
    Parser("saved nets", _net, lambda path: _weights(models.load(path)), True, _odd_net),
    Parser("classes of nets", _net, _segmented, True, _odd_net),
    Parser("other weights (.pth)", _state_dict, lambda path: str(read_tensors(path))),
    Parser("Caffe's nets", _caffemodel, lambda path: str(read_tensors(path))),
    Parser("checkpoints", _checkpoint, lambda path: read_checkpoint(path, IDENTITY), True),
    Parser("continued runs", _resumed.write, _resumed.read, True, _odd_state),
    Parser("records", _record, _used_record, True, _odd_record),
    Parser("the catalogue", _catalogue, lambda path: catalogue.read(path)),
    Parser("tar", _tar("set.tar", "w"), lambda path: _unpacked(path, False), True),
    Parser("tar.gz", _tar("set.tgz", "w:gz"), lambda path: _unpacked(path, True), True),
    Parser("zip", _zip, lambda path: _unpacked(path, True)),
    Parser("parts for transfer", _packed, _repacked, False, odd_json),
    Parser("label maps", _label_map, lambda path: _digest(reading.read_png(path))),
    Parser("your label maps", _own, lambda path: _own_sample(path.parent.parent)),
    Parser("your class lists", _classes, lambda path: _own_sample(path.parent)),
    Parser("photos", _photo, lambda path: _digest(reading.read_photo(path))),
    Parser("lists of images", _list, _listed),
    Parser(
        "MATLAB files",
        _mat,
        lambda path: _digest(reading.read_mat_labels("S", "SIFT Flow", path, 3, SIZE)),
    ),
    Parser("snapshots", _snapshot, _sum_of_snapshot, True),
)
