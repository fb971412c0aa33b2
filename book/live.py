"""The live net of the first page: a Sphinx extension that adds what the browser loads to the built site.

The scripts are in ``assets/live``, with four files of ONNX Runtime Web, two for the CPU and two for WebGPU, whose
WebAssembly is gzipped (npm's package onnxruntime-web, folder dist). This module adds the net, exported from the
weights of this project, its classes with their colours, and three photos. Pages can name numbers of the record
``live.json``: ``{{ live_megabytes }}``, ``{{ live_seconds }}``, ``{{ live_milliseconds }}``, ``{{ live_on }}``.
"""

import gzip
import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from torch import Tensor, nn

from fcn import export, models, preprocessing
from fcn.environment import PACKAGE, atomic_write
from fcn.predict import Segmenter, shares
from fcn.training.provenance import hardware
from load_times import running
from photos import photo

BOOK = Path(__file__).resolve().parent
ASSETS = BOOK / "assets" / "live"
RECORD = BOOK / "live.json"
STILL = BOOK / "assets" / "live.jpg"
CACHE = BOOK.parent / "_build" / "live"  # the export takes half a minute
NET = BOOK.parent / "weights" / "sift-flow-googlenet-8s-tuned.seed0.safetensors"
MADE_BY = (NET, Path(__file__), *sorted(PACKAGE.glob("*.py")))
STAGES = ("32s", "16s", "8s")
PHOTOS = {"china": "temple", "rocket": "rocket", "camera": "photographer"}
SIDE = 512  # of a photo, in pixels
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LOCAL = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # no other host can be reached
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", LOCAL]


class Stages(nn.Module):
    """A net trained as FCN-8s, stopped early: its scores at stride 32, those plus stride 16, and all three.

    Takes N x 3 x H x W, RGB in [0, 1]; returns the label maps of the first head, N x 1 x H x W, uint8, for each stage.
    """

    def __init__(self, net: models.FCN) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        net = self.net
        maps = net.trunk(preprocessing.as_caffe(images, net.inputs, net.mean))
        head: Any = net.heads[next(iter(net.classes))]
        sums = [head.score(maps, head.strides[0])]
        for coarse, fine in pairwise(head.strides):
            skip = head.score(maps, fine)
            sums = [
                head.upsample(scores, coarse, fine, skip.shape[-2:]) for scores in sums
            ]
            sums.append(sums[-1] + skip)
        pixels = (
            head.upsample(scores, head.strides[-1], 1, images.shape[-2:])
            for scores in sums
        )
        return tuple(
            scores.argmax(1, keepdim=True).to(torch.uint8) for scores in pixels
        )


def load() -> Stages:
    """The net of the page, in torch."""
    net = models.load(NET)
    assert isinstance(net, models.FCN)
    return Stages(net)


def exported() -> Path:
    """The net as gzipped ONNX with 16-bit weights, from the cache if nothing it depends on has changed."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in MADE_BY))
    path = CACHE / f"net-{digest.hexdigest()[:16]}.onnx.gz"
    if not path.is_file():
        stages = load()
        model = export.traced(stages, list(STAGES))
        export.in_16_bits(model)
        shutil.rmtree(CACHE, ignore_errors=True)
        with atomic_write(path) as file:
            file.write_bytes(gzip.compress(model.SerializeToString(), mtime=0))
    return path


def picture(name: str) -> Image.Image:
    """The photo called ``name`` with a longer side of ``SIDE`` pixels."""
    image = Image.fromarray(
        (photo(name)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    )
    image.thumbnail((SIDE, SIDE))
    return image


def write(folder: Path) -> None:
    """Write the net, its settings and the photos to ``folder``, next to the scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(exported(), folder / "net.onnx.gz")
    segmenter = Segmenter(NET)
    settings = {
        "classes": segmenter.classes,
        "palette": segmenter.palette.tolist(),
        "photos": [],
    }
    for name, title in PHOTOS.items():
        picture(name).save(folder / f"{name}.jpg", quality=88)
        settings["photos"].append({"file": f"{name}.jpg", "name": title})
    (folder / "net.json").write_text(json.dumps(settings))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("config-inited", fill_in)
    app.connect("build-finished", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def fill_in(app: Sphinx, config: Config) -> None:
    """Let pages name the numbers of the record."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    config.myst_substitutions |= {
        "live_megabytes": f"{record['bytes'] / 1e6:.0f}",
        "live_seconds": f"{record['seconds']:.1f}",
        "live_milliseconds": f"{record['milliseconds']:.0f}",
        "live_on": f"{record['browser']} ({record['hardware']})",
    }


def add(app: Sphinx, error: Exception | None) -> None:
    """Add the net and the photos to the site. Raises ExtensionError if a package for the export is missing."""
    if error is not None or app.builder.format != "html":
        return
    try:
        write(Path(app.outdir) / "_static" / "live")
    except ModuleNotFoundError as missing:
        raise ExtensionError(
            f"{missing.name} is missing, which exports the live net: run `make setup`"
        ) from None


# Outside Sphinx: the still picture, and what a browser takes


def draw(path: Path = STILL) -> None:
    """Draw a photo and its three label maps, which the page shows until a reader starts the net."""
    import matplotlib.pyplot as plt

    from figures import style

    style.use()
    image = picture("china")
    pixels = torch.tensor(list(image.tobytes()), dtype=torch.uint8).view(
        image.height, image.width, 3
    )
    with torch.inference_mode():
        maps = [
            labels[0, 0].numpy()
            for labels in load()(pixels.permute(2, 0, 1)[None] / 255)
        ]
    segmenter = Segmenter(NET)
    figure, axes = plt.subplots(
        2, 2, figsize=(5, 4.3)
    )  # inches: legible at the width of a phone
    style.show(axes.flat[0], pixels.numpy(), "photo")
    for one, labels, stage in zip(axes.flat[1:], maps, STAGES, strict=True):
        style.show(one, style.colour(labels, segmenter.palette), stage)
    large = dict.fromkeys(
        name
        for labels in maps
        for name, share in shares(labels, segmenter.classes)
        if share >= 1
    )
    present = [segmenter.classes.index(name) for name in large]
    style.legend(
        figure,
        segmenter.classes,
        segmenter.palette,
        present,
        loc="outside lower center",
        ncols=3,
    )
    figure.savefig(path, dpi=256, pil_kwargs={"quality": 85})


class Server(ThreadingHTTPServer):
    """Serves a folder on a free port of this machine and counts the bytes of each file it sends."""

    folder: Path
    sent: dict[str, int]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    server: Server

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        self.server.sent[self.path] = len(content)
        outputfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A page at ``folder`` with nothing but the live net, served."""
    shutil.copytree(ASSETS, folder / "live", dirs_exist_ok=True)
    write(folder / "live")
    shutil.copyfile(STILL, folder / "live.jpg")
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>live</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        '<img id="live" src="live.jpg" alt="still" style="width: 100%">'
        '<link rel="stylesheet" href="live/live.css"><script defer src="live/live.js"></script></html>'
    )
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.folder, server.sent = folder, {}
    with running(server):
        yield server


def await_labels(page: Any, choose: Callable[[], object]) -> None:
    """Choose a photo on a Playwright page, and wait until its label map is shown."""
    count = "Number(document.querySelector('.live').dataset.labelled ?? 0)"
    before = page.evaluate(count)
    choose()
    page.wait_for_function(f"{count} > {before}", timeout=120_000)


def measure(page: Any, server: Server, repeats: int = 5) -> dict[str, float]:
    """Start the net on a Playwright page: bytes and seconds from the click to the first label map, then milliseconds.

    ``milliseconds`` is the median of ``repeats`` further runs on the same photo, as the page shows it.
    """
    page.goto(server.url)
    page.wait_for_selector(".live-run")
    server.sent.clear()
    start = time.perf_counter()
    await_labels(page, partial(page.click, ".live-run"))
    seconds = time.perf_counter() - start
    total = sum(server.sent.values())
    times = []
    for _ in range(repeats):
        await_labels(page, partial(page.click, ".live-thumb"))
        times.append(page.evaluate("document.querySelector('.live').milliseconds"))
    return {
        "bytes": total,
        "seconds": round(seconds, 2),
        "milliseconds": round(statistics.median(times)),
    }


def record() -> None:
    """Measure the live net in headless Chromium and write the record."""
    from playwright.sync_api import sync_playwright

    with (
        TemporaryDirectory() as folder,
        served(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        found = measure(browser.new_page(), server)
        about = {
            "browser": f"Chromium {browser.version.split('.')[0]}",
            "hardware": hardware("cpu"),
        }
        browser.close()
    RECORD.write_text(json.dumps(found | about, indent=1) + "\n", encoding="utf-8")
