"""Real processes that are killed at random moments, or that lose their disk or their reader.

No half-written file may have a final name, and the same command must end with the same result.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nightly
import numpy as np
import pytest
import run_server
import torch
from PIL import Image
from test_stopping import COMMAND, ENVIRONMENT, Run

from fcn import models
from fcn.training import record as records
from fcn.training.checkpoint import read_checkpoint

FIT = ["fit", "../photos", "../labels", "../classes.txt", "--start", "../net.safetensors"]
FIT += ["--device", "cpu", "--epochs", "4", "--batch", "2", "--out", "runs"]
PREDICT = ["predict", "PHOTOS", "--weights", "../net.safetensors", "--out", "out"]
OWN = "own-googlenet-8s.seed0"
SIZE = (40, 48)


@pytest.fixture(scope="module")
def start():
    """Starts a command in a process forked from one that has the imports."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    program = [sys.executable, run_server.__file__, "serve"]
    with subprocess.Popen(program, env=ENVIRONMENT, **pipes) as server:

        def line():
            return int(server.stdout.readline())

        def start(folder, arguments, **more):
            folder.mkdir(exist_ok=True)
            request = {"folder": str(folder), "arguments": arguments} | more
            print(json.dumps(request), file=server.stdin, flush=True)
            return Run(line(), line, folder)

        yield start


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A narrow net, photos with labels, and a data set on a slow server."""
    root = tmp_path_factory.mktemp("kills")
    rng = np.random.default_rng(0)
    for name in ("photos", "labels"):
        (root / name).mkdir()
    for i in range(6):
        labels = np.zeros(SIZE, np.uint8)
        labels[int(rng.integers(10, 30)) :] = 1
        noise = rng.integers(0, 60, (*SIZE, 3)) + 120 * labels[..., None]
        Image.fromarray(noise.astype(np.uint8)).save(root / "photos" / f"{i}.png")
        Image.fromarray(labels).save(root / "labels" / f"{i}.png")
    (root / "classes.txt").write_text("sky\nland\n")
    torch.manual_seed(0)
    net = models.FCN("googlenet", 8, heads={"semantic": 2}, upsampling="interpolate", width=0.05)
    about = {"classes": json.dumps({"semantic": ["sky", "land"]})}
    models.save(net, root / "net.safetensors", about)
    with tarfile.open(root / "set.tar", "w") as archive:
        for i in range(30):
            (root / "member").write_bytes(rng.bytes(20_000))
            archive.add(root / "member", f"set/{i}.jpg")
    return root


@pytest.fixture(scope="module")
def address(place):
    content = (place / "set.tar").read_bytes()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
            begin = int(asked)
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/")
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            for at in range(begin, len(content), 32_768):
                try:
                    self.wfile.write(content[at : min(at + 32_768, len(content))])
                except OSError:  # the other side was killed
                    return
                time.sleep(0.005)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/set.tar"
    server.shutdown()
    server.server_close()


def content(path: Path) -> object:
    """What a finished file says; raises if it is not whole."""
    if path.suffix == ".safetensors":
        models.load(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".checkpoint":
        try:
            read_checkpoint(path, {})
        except ValueError as error:
            if "from another run" not in str(error):  # a whole one is, without its settings
                raise
        return None
    if path.suffix == ".json":
        record = records.read(path)
        return record.heads, [point["loss"] for point in record.curve], record.images_seen
    if path.suffix == ".png":
        with Image.open(path) as image:
            return hashlib.sha256(image.tobytes()).hexdigest()
    return path.read_bytes() if path.suffix == ".jpg" else None


def results(folder: Path) -> dict[str, object]:
    """The content of all files that have their final names."""
    hidden = (".", "std", "downloads")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    named = [(path.relative_to(folder), path) for path in files]
    whole = [(n, p) for n, p in named if not any(part.startswith(hidden) for part in n.parts)]
    return {n.as_posix(): content(p) for n, p in whole if p.suffix != ".lock"}


def left(folder: Path) -> list[str]:
    """Files that a finished command should not have left."""
    names = [path.name for path in folder.rglob("*")]
    return [n for n in names if n.startswith(".") or n.endswith((".lock", ".part", ".checkpoint"))]


COMMANDS = {
    "fcn train": ([*COMMAND, "--resume"], {"every": 0.1}, 1),
    "fcn fit": ([*FIT, "--resume"], {"every": 0}, 2),
    "fcn predict": (PREDICT, {}, 2),
    "download and unpack": (["prepare", "ADDRESS"], {}, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS if nightly.FILE else list(COMMANDS)[1:])
def test_killed_at_a_random_moment_a_command_ends_as_if_it_had_not_been(
    name, start, place, address
):
    arguments, more, few = COMMANDS[name]
    arguments = [address if one == "ADDRESS" else one for one in arguments]
    if "PHOTOS" in arguments:
        at, photos = arguments.index("PHOTOS"), sorted((place / "photos").iterdir())
        arguments[at : at + 1] = map(str, photos)
    stem = name.replace(" ", "-")
    start(place / f"{stem}-first", arguments, **more).complete()  # slower than the next ones
    started = time.monotonic()
    start(place / stem, arguments, **more).complete()
    seconds, expected = time.monotonic() - started, results(place / stem)
    assert len(expected) >= 2
    found = dict.fromkeys(("trials", "killed", "half", "completed", "same", "left"), 0)
    until = time.monotonic() + nightly.SECONDS
    for trial in range(nightly.count(few, 100)):
        if trial >= few and time.monotonic() > until:
            break
        rng, folder = random.Random(f"{name} {trial}"), place / f"{stem}-{trial}"
        for _ in range(rng.choice((1, 1, 2))):
            run = start(folder, arguments, **more)
            time.sleep(rng.uniform(0.02, 0.7 * seconds))
            with contextlib.suppress(ProcessLookupError):  # it may have ended
                os.kill(run.pid, signal.SIGKILL)
            found["killed"] += run.status.result() == -9
            try:
                results(folder)
            except Exception as error:
                found["half"] += 1
                print(name, trial, repr(error))
        status, errors = start(folder, arguments, **more).end()
        print(errors, end="")
        found["trials"] += 1
        found["completed"] += status == 0 or "from a finished run" in errors
        found["same"] += results(folder) == expected
        found["left"] += len(left(folder))
    nightly.save("kills", name, found)
    trials = found["trials"]
    assert found["killed"] > 0
    assert found == found | {"half": 0, "completed": trials, "same": trials, "left": 0}


def test_a_disk_with_room_for_the_net_but_not_for_a_checkpoint_gets_the_net(start, place):
    start(place / "usual", FIT).complete()
    net = place / "usual" / "runs" / f"{OWN}.safetensors"
    out = start(place / "small", FIT, every=0, largest=2 * net.stat().st_size).complete()
    assert "no checkpoint at step 1, training continues: " in out
    assert "no checkpoint of the last step: " in out
    small = place / "small" / "runs" / net.name
    assert small.read_bytes() == net.read_bytes()
    assert not left(place / "small")


def test_a_run_goes_on_when_nobody_reads_what_it_prints(start, place):
    folder = place / "unread"
    folder.mkdir()
    os.mkfifo(folder / "stdout")
    run = start(folder, FIT)
    with (folder / "stdout").open() as reader:
        assert reader.readline()
    status, errors = run.end()
    assert (status, errors) == (0, "")
    assert records.read(folder / "runs" / f"{OWN}.validation.json")
