"""Many photos: inputs and names, failures, shards, memory, text of any kind."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFont
from safetensors import safe_open

from fcn import models
from fcn.data import voc
from fcn.models import FCN
from fcn.predict import command, inputs, legend, output, run
from fcn.predict.command import SOME_FAILED, predict_photos
from fcn.predict.inputs import Inputs, Source
from fcn.predict.run import Progress, printable
from fcn.predict.segmenter import Segmenter


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    """A narrow net of three classes."""
    torch.manual_seed(0)
    made = FCN("alexnet", 32, heads={"semantic": 3}, width=0.02)
    for parameter in made.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    models.save(made, path, {"classes": json.dumps({"semantic": ["sky", "sea", "sand"]})})
    return path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def save(path: str, size: tuple[int, int] = (20, 16), seed: int = 0) -> Path:
    """A photo of noise, ``size`` (width, height)."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return Path(path)


def found(*arguments: str, out: str = "out") -> dict[str, str]:
    """The photos that arguments name, with the stems of their results."""
    return {str(photo): str(stem) for photo, stem in Inputs(arguments, Path(out))}


def files(folder: str) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())


def predict(*arguments: str, net: Path, **settings) -> int:
    settings = {"out": Path("out"), "side": 64, "device": "cpu"} | settings
    return predict_photos(arguments, weights=net, **settings)


# ------------------------------------------------------------------------------- inputs and names


def test_results_mirror_a_folder():
    for name in ("a.jpg", "b/a.png", "b/c/d.JPEG", "b/.hidden.png", "b/note.txt", ".git/x.png"):
        save(f"in/{name}.png").rename(f"in/{name}")
    for name in ("a.labels.png", "a.labels.tif", "a.overlay.png"):
        save(f"in/{name}")
    assert found("in") == {"in/a.jpg": "a", "in/b/a.png": "b/a", "in/b/c/d.JPEG": "b/c/d"}


def test_links_to_folders_are_followed_once():
    save("in/a.jfif.png").rename("in/a.jfif")
    save("elsewhere/b.png"), save("in/real/c.png")
    Path("in/album").symlink_to("../elsewhere")
    Path("in/again").symlink_to("real")
    Path("in/up").symlink_to("..")
    Path("elsewhere/loop").symlink_to(".")
    assert found("in") == {"in/a.jfif": "a", "in/album/b.png": "album/b", "in/real/c.png": "real/c"}


def test_a_list_of_failures_loses_only_photos_that_are_done(net):
    save("in/a.png")
    Path("in/b.png").write_text("")
    Path("out").mkdir()
    Path("out/failures.txt").write_text("elsewhere/c.png\nin/a.png\n")
    assert predict("in", net=net) == SOME_FAILED
    assert Path("out/failures.txt").read_text() == "in/b.png\nelsewhere/c.png\n"
    Path("out/failures.txt").write_text("in/b.png\n")
    save("in/b.png")
    assert predict("in/b.png", net=net) == 0  # a single photo leaves the list alone
    assert predict("in", net=net, resume=True) == 0
    assert "failures.txt" not in files("out")
    Path("out/failures.txt").write_text("keep\n")
    assert predict("in", net=net) == 0
    assert Path("out/failures.txt").read_text() == "keep\n"


def test_photos_done_since_leave_the_list_of_failures(net):
    save("a.png"), save("c.png")
    Path("out").mkdir()
    Path("out/failures.txt").write_bytes(b"a.png\n\xff.png\n")
    assert predict("a.png", "c.png", net=net, overlay=False) == 0
    assert Path("out/failures.txt").read_bytes() == b"\xff.png\n"


def test_failures_are_not_the_fault_of_the_list_of_them(net, monkeypatch):
    save("in/a.png")
    Path("in/0.png").write_text("")

    def unread(result, *_):
        if not result.error:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(command, "show", unread)
    with pytest.raises(BrokenPipeError):
        predict("in", net=net, overlay=False)


def test_results_inside_the_folder_are_no_photos():
    save("in/a.jpg")
    save("in/out/a.png")
    assert found("in", out="in/out") == {"in/a.jpg": "a"}


def test_patterns_mirror_the_folders_after_their_fixed_part():
    for name in ("x/a.jpg", "x/y/b.jpg", "x/y/b.png"):
        save(f"in/{name}")
    assert found("in/**/*.jpg") == {"in/x/a.jpg": "x/a", "in/x/y/b.jpg": "x/y/b"}
    save("[a].jpg")
    assert found("[a].jpg") == {"[a].jpg": "[a]"}  # a file, not a pattern


def test_lists_and_standard_input(monkeypatch):
    Path("list.txt").write_bytes("\ufeffa.jpg\r\n\n../b/ü.jpg\n/c/d.jpg\n".encode())
    expected = {"a.jpg": "a", "../b/ü.jpg": "__/b/ü", "/c/d.jpg": "c/d"}
    assert found("@list.txt") == expected
    Path("list.txt").write_bytes(b"a")
    assert found("@list.txt") == {"a": "a"}
    content = b"a.jpg\0/b/\xff.jpg\0"  # not UTF-8
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert [*found("-")] == ["a.jpg", os.fsdecode(b"/b/\xff.jpg")]
    with pytest.raises(FileNotFoundError, match=r"no\.txt: no such list"):
        Inputs(["@no.txt"], Path())


def test_a_line_without_a_name_is_a_photo_that_fails(net, monkeypatch, capsys):
    save("a.png")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b".\n./a.png\n/\n..\n")))
    assert predict("-", net=net, overlay=False) == SOME_FAILED  # as from ``find .``
    assert files("out") == ["a.labels.png", "failures.txt"]
    assert Path("out/failures.txt").read_text() == ".\n/\n..\n"
    assert "cannot be read as a photo" in capsys.readouterr().err


def test_no_two_photos_have_results_of_one_name():
    names = ["a.jpg", "a.png", "x/a.jpg", "y/a.jpg", "A.jpg", "x/../a.jpg", "x/a.png"]
    stems = found(*names)
    assert stems.keys() == {*names} - {"x/../a.jpg"}  # the same file again
    assert len({stem.casefold() for stem in stems.values()}) == 6
    assert [stems[n] for n in names[:4]] == ["a", "a.png", "x/a", "y/a"]
    composed, decomposed = "\u00e9.jpg", "e\u0301.jpg"
    assert len({*found(composed, decomposed).values()}) == 2
    assert found("a.jpg", "a.png", "x/a.jpg") == {n: stems[n] for n in names[:3]}  # always alike


def test_a_million_names_take_the_memory_of_a_thousand():
    def listed(count: int) -> int:
        lines = b"".join(b"/photos/%d/%d.jpg\n" % (i % 100, i) for i in range(count))
        names = inputs._Names()
        tracemalloc.start()
        try:
            for path in inputs._lines(io.BytesIO(lines)):
                assert names.claim(path, inputs.relative(path))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            names.close()

    listed(5_000)  # strings that Python interns
    assert listed(5_000) < listed(500) + 300_000


# -------------------------------------------------------------------------------- going on, failing


def test_a_bad_photo_does_not_stop_the_others(net, capsys):
    for i in range(4):
        save(f"in/{i}.png", seed=i)
    Path("in/1.png").write_bytes(Path("in/1.png").read_bytes()[:200])
    Path("in/2.png").write_text("")
    assert predict("in", net=net) == SOME_FAILED
    assert files("out") == [
        *(f"{i}.{kind}.png" for i in (0, 3) for kind in ("labels", "overlay")),
        "failures.txt",
    ]
    assert Path("out/failures.txt").read_text() == "in/1.png\nin/2.png\n"
    out, err = capsys.readouterr()
    assert out.startswith("in/0.png: ")
    bad = [line.partition(": ")[2][:8] for line in err.splitlines()]
    assert bad == ["in/1.png", "in/2.png", "2 of 4 p"]
    assert err.endswith("fcn: 2 of 4 photos failed; listed in out/failures.txt\n")

    save("in/2.png")
    assert predict("@out/failures.txt", net=net) == SOME_FAILED  # which is a list of photos
    assert Path("out/failures.txt").read_text() == "in/1.png\n"
    save("in/1.png")
    assert predict("@out/failures.txt", net=net) == 0
    assert "failures.txt" not in files("out")


def test_all_photos_failed(net):
    assert predict("no.jpg", "none.jpg", net=net) == 2
    with pytest.raises(ValueError, match=r"no\.jpg: no such photo"):
        predict("no.jpg", net=net)
    Path("empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no photos there"):
        predict("empty", net=net)


def test_json_is_one_line_per_photo(net, capsys):
    save("in/天.png", (30, 20))
    Path("in/b.png").touch()
    assert predict("in", net=net, as_json=True) == SOME_FAILED
    out, _ = capsys.readouterr()
    assert out.isascii()
    bad, good = map(json.loads, out.splitlines())
    assert bad["photo"] == "in/b.png"
    assert "cannot be read" in bad["error"]
    assert (good["photo"], good["height"], good["width"]) == ("in/天.png", 20, 30)
    assert good["files"] == ["out/天.labels.png", "out/天.overlay.png"]
    assert sum(good["shares"].values()) == pytest.approx(100)


def test_done_photos_are_skipped_when_resuming(net, capsys):
    for i in range(3):
        save(f"in/{i}.png", seed=i)
    assert predict("in/0.png", "in/1.png", net=net, overlay=False) == 0
    Path("out/1.labels.png").unlink()
    before = Path("out/0.labels.png").stat().st_mtime_ns
    capsys.readouterr()
    assert predict("in", net=net, overlay=False, resume=True) == 0
    assert files("out") == ["0.labels.png", "1.labels.png", "2.labels.png"]
    assert Path("out/0.labels.png").stat().st_mtime_ns == before
    assert "1 photos were done before" in capsys.readouterr().err


def saved_again(net: Path, path: Path) -> Path:
    """Another net of the same classes."""
    with safe_open(net, "np") as file:
        models.save(models.load(net), path, file.metadata() | {"note": "another"})
    return path


def test_results_of_another_net_or_side_are_not_taken_for_done(net, tmp_path):
    save("in/a.png"), save("in/b.png")
    assert predict("in/a.png", net=net, overlay=False) == 0
    other = saved_again(net, tmp_path / "other.safetensors")
    said = r"out/a\.labels\.png: by another net or --side; give the same, or another --out"
    for change in ({"net": other}, {"side": 40}, {"side": None}):
        with pytest.raises(ValueError, match=said):
            predict("in", overlay=False, resume=True, **{"net": net} | change)
    assert files("out") == ["a.labels.png"]
    assert predict("in", net=net, overlay=False, resume=True) == 0
    assert predict("in", net=other, overlay=False) == 0
    assert predict("in", net=other, resume=True) == 0  # now with overlays
    assert predict("in", net=net, overlay=False) == 0
    with pytest.raises(ValueError, match=r"out/a\.overlay\.png: by another net"):
        predict("in", net=net, resume=True)


def test_results_of_another_photo_and_damaged_ones_are_made_again(net, capsys):
    save("in/a.png", (30, 20))
    assert predict("in", net=net, overlay=False) == 0
    save("in/a.jpg", (20, 30))
    assert predict("in", net=net, overlay=False, resume=True) == 0
    for name, size in {"a": (20, 30), "in/a": (30, 20)}.items():
        with Image.open(f"out/{name}.labels.png") as labels:
            assert labels.size == size
    Path("out/a.labels.png").write_bytes(b"")
    Image.new("P", (9, 9)).save("out/in/a.labels.png")  # by an earlier version, perhaps
    capsys.readouterr()
    assert predict("in", net=net, overlay=False, resume=True) == 0
    assert "1 photos were done before" in capsys.readouterr().err
    assert Path("out/a.labels.png").stat().st_size
    with Image.open("out/in/a.labels.png") as labels:
        assert labels.size == (9, 9)


def test_a_submission_is_resumed_with_one_photo_per_name(tmp_path):
    made = FCN("alexnet", 32, heads={"semantic": 21}, width=0.02)
    net = tmp_path / "voc.safetensors"
    models.save(made, net, {"classes": json.dumps({"semantic": voc.CLASSES})})
    save("in/a/x.jpg"), save("in/b/y.jpg")
    settings = {"net": net, "submission": Path("hand-in"), "resume": True}
    for _ in range(2):
        assert predict("in", **settings) == 0
    with pytest.raises(ValueError, match=r"x\.png: by another net .* or another --submission"):
        predict("in", **settings, side=40)
    save("in/b/x.jpg")
    with pytest.raises(ValueError, match=r'in/b/x\.jpg: another photo is named "x", too'):
        predict("in", **settings)


def test_a_device_that_is_missing_is_one_line(net, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    for device in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match="--device cuda: not available; choose one of cpu"):
            Segmenter(net, device)


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_of_one_size_have_the_labels_of_single_photos(net, batch):
    sizes = [(40, 30), (30, 40), (40, 30), (100, 75), (40, 30), (50, 50), (30, 40)]
    paths = [save(f"in/{i}.png", size, i) for i, size in enumerate(sizes)]
    segmenter = Segmenter(net)
    counts = []
    score = segmenter.score
    segmenter.score = lambda photos: counts.append(len(photos)) or score(photos)  # type: ignore
    sources = [Source(path, Path(path.stem)) for path in paths]
    to = output.Files(Path("out"), overlay=False)
    done = [*run.predict(sources, segmenter, to, side=40, batch=batch)]
    assert sorted(result.photo for result in done) == paths
    assert max(counts) == batch
    assert sum(counts) == len(paths)
    for path, size in zip(paths, sizes, strict=True):
        with Image.open(f"out/{path.stem}.labels.png") as written:
            assert written.size == size
            expected = Segmenter(net).labels(np.asarray(Image.open(path)), 40)
            assert (np.asarray(written) == expected).mean() > 0.999


def test_few_photos_are_in_memory_however_many_there_are(net):
    photo = save("a.png", (200, 200))
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield Source(photo, Path(f"{read % 7}"))

    results = run.predict(endless(), Segmenter(net), output.Files(Path("out"), False), side=32)
    done = len([*islice(results, 40)])
    results.close()
    assert done == 40
    assert read <= 40 + 4 * run.AHEAD


def test_a_full_disk_stops_the_run(net, monkeypatch):
    for i in range(3):
        save(f"in/{i}.png")

    def full(path: Path, *_) -> None:
        raise OSError(f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr(output, "save", full)
    with pytest.raises(OSError, match="No space left"):
        predict("in", net=net)


def run_predict(code: str, net: Path) -> subprocess.CompletedProcess[str]:
    """``fcn predict a.png`` in a process of its own, once it has run ``code``."""
    arguments = ["fcn", "predict", "a.png", "--weights", str(net), "--out", "out"]
    code = f"import sys\n{code}\nfrom fcn.__main__ import main\nsys.argv = {arguments}\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done


KILLED = """
import os, signal
from PIL import Image
save, saved = Image.Image.save, []
def half(self, path, **options):
    saved.append(path)
    if len(saved) == FILE:
        path.write_bytes(b"half a file")
        os.kill(os.getpid(), signal.SIGTERM)
    save(self, path, **options)
Image.Image.save = half
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_run_leaves_no_half_file_and_the_next_one_cleans_up(net, home, monkeypatch):
    temporary = home / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    save("a.png", (200, 150))
    for file, whole in ((1, []), (2, ["a.labels.png"])):
        killed = run_predict(KILLED.replace("FILE", str(file)), net)
        assert killed.returncode == -signal.SIGTERM
        left = files("out")
        assert [name for name in left if not name.startswith(".")] == whole
        assert len(left) == len(whole) + 1  # and no more: each run cleans up
    with Image.open("out/a.labels.png") as labels:
        labels.load()
    assert run_predict("", net).returncode == 0
    assert files("out") == ["a.labels.png", "a.overlay.png"]
    assert files("tmp") == []


FULL = """
import resource
sys.dont_write_bytecode = True  # cut off, too
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits")
def test_files_that_cannot_be_finished_are_not_left(net):
    save("a.png", (200, 150))
    full = run_predict(FULL, net)
    assert full.returncode == 2
    assert "cannot be written (File too large); free some space" in full.stderr
    assert full.stderr.count("\n") == 1
    assert files("out") in ([], ["a.labels.png"])


def test_too_little_memory_for_one_photo_is_its_failure(net, monkeypatch):
    save("in/a.png"), save("in/b.png", (31, 30))
    score = Segmenter.score

    def exhausted(self, photos):
        if photos[0].shape[0] == 30:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return score(self, photos)

    monkeypatch.setattr(Segmenter, "score", exhausted)
    assert predict("in", net=net, overlay=False) == SOME_FAILED
    assert files("out") == ["a.labels.png", "failures.txt"]


# ------------------------------------------------------------------------------------------ shards


def shard_index(number: int) -> list[dict]:
    return output.Shard.read(Path(f"out/shard-{number:06d}.tar"))[1]


def test_shards_hold_each_photo_once_and_resume_after_the_last_whole_one(net, monkeypatch):
    for i in range(7):
        save(f"in/x/{i}.png", (20 + i, 20), i)
    Path("in/x/4.png").write_text("no photo")
    saves = 0
    save_one = output.Shard.save

    def killed(self, photo, *rest):
        nonlocal saves
        saves += 1
        if saves == 5:
            raise KeyboardInterrupt
        return save_one(self, photo, *rest)

    monkeypatch.setattr(output.Shard, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        predict("in", net=net, shard=3)
    assert files("out") == ["shard-000000.tar"]
    monkeypatch.setattr(output.Shard, "save", save_one)
    assert predict("in", net=net, shard=3) == SOME_FAILED
    assert [len(shard_index(i)) for i in range(3)] == [3, 3, 1]
    photos = [line["photo"] for i in range(3) for line in shard_index(i)]
    assert photos == [f"in/x/{i}.png" for i in range(7)]
    assert "error" in shard_index(1)[1]
    with tarfile.open("out/shard-000001.tar") as archive:
        labels = {"x/3.labels.png", "x/5.labels.png"}
        assert {*archive.getnames()} == {*labels, "index.jsonl", "made_by.json"}
        content = archive.extractfile("x/3.labels.png")
        assert content
        with Image.open(content) as labels:
            expected = Segmenter(net).labels(np.asarray(Image.open("in/x/3.png")), 64)
            np.testing.assert_array_equal(np.asarray(labels), expected)

    before = {name: Path("out", name).stat().st_mtime_ns for name in files("out")}
    assert predict("in", net=net, shard=3) == SOME_FAILED
    after = {name: Path("out", name).stat().st_mtime_ns for name in files("out")}
    assert before | {"failures.txt": 0} == after | {"failures.txt": 0}


def test_shards_of_other_photos_are_not_taken_for_done(net):
    save("in/a.png"), save("in/b.png")
    assert predict("in", net=net, shard=1) == 0
    save("in/aa.png")
    with pytest.raises(ValueError, match=r"shard-000001\.tar: of other photos"):
        predict("in", net=net, shard=1)
    with pytest.raises(ValueError, match=r"shard-000000\.tar: by another net or --side"):
        predict("in", net=net, shard=1, side=40)
    Path("out/shard-000000.tar").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"shard-000000\.tar: not an archive"):
        predict("in", net=net, shard=1)
    with pytest.raises(ValueError, match="--shard and --resume"):
        predict("in", net=net, shard=1, resume=True)


def test_an_archive_is_read_once_and_damage_to_it_is_not_overlooked(net, monkeypatch):
    save("in/a.png")
    assert predict("in", net=net, shard=1) == 0
    archive, opened = Path("out/shard-000000.tar"), []
    open_tar = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *how: opened.append(how) or open_tar(*how))
    assert predict("in", net=net, shard=1) == 0
    assert len(opened) == 1
    content = archive.read_bytes()
    for whole, damaged in ((b'{"net"', b'{"net '), (b'{"photo"', b'{"photo ')):
        archive.write_bytes(content.replace(whole, damaged))
        with pytest.raises(ValueError, match=r"shard-000000\.tar: not an archive"):
            predict("in", net=net, shard=1)


@pytest.mark.parametrize("shard", [None, 2])
def test_a_fault_of_the_net_is_not_blamed_on_a_file(net, monkeypatch, shard):
    save("in/a.png"), save("in/b.png")

    def failing(self, photos):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(Segmenter, "score", failing)
    with pytest.raises(RuntimeError, match="CUDA error"):
        predict("in", net=net, shard=shard)


# ---------------------------------------------------------------------------------------- progress


def test_progress_has_rate_and_time_left(monkeypatch):
    progress = Progress(5000, io.StringIO())
    progress.done, progress.failed = 120, 2
    line = progress.line(60)
    assert line == "120 of 5000 photos, 2 failed, 2.0 per second, 41 min left"
    progress.total, progress.failed = None, 0
    assert progress.line(600) == "120 photos, 5.0 s each"
    clock = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock + 3600)
    progress.add(output.Result(Path("a")))
    progress.add(output.Result(Path("a")))
    assert progress.stream.getvalue().count("\n") == 1


# -------------------------------------------------------------------------------------------- text


def test_whatever_a_name_holds_is_one_line():
    assert printable("a\nb\x1b[31m 天\udcff") == r"a\nb\u001b[31m 天\udcff"


def test_a_terminal_of_any_encoding_shows_any_name(net, tmp_path):
    path = tmp_path / "n.safetensors"
    classes = {"semantic": ["天空", "$x_1$ <b>", "é\n"]}
    models.save(models.load(net), path, {"classes": json.dumps(classes)})
    name = os.fsdecode(b"photo \xff \xe2\x82\xac.png")
    save("a.png").rename(name)
    command = [sys.executable, "-m", "fcn", "predict", name, "--weights", path, "--side", "32"]
    for encoding in ("cp1252", "utf-8"):
        env = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, env=env, capture_output=True, check=True)
        assert done.stdout.count(b"\n") == 2
        assert b"photo \\udcff " in done.stdout
        assert b"Warning" not in done.stderr


def test_a_name_without_a_font_is_its_number_and_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(legend, "others", lambda: ())
    legend._other_with.cache_clear()
    legend._said.clear()
    classes = ["sky", "天空", "sea 海", "$a$"]
    assert legend.readable(classes, classes, 20) == ["sky", "class 1", "sea (class 2)", "$a$"]
    legend.readable(classes, classes, 20)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith(r'fcn: no font here has the letters of "\u5929\u7a7a": ')
    legend._other_with.cache_clear()


def test_other_fonts_draw_what_the_first_lacks(monkeypatch, tmp_path):
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pen = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None)
    for point in ((100, 0), (100, 700), (800, 700), (800, 0)):
        (pen.lineTo if point != (100, 0) else pen.moveTo)(point)
    pen.closePath()
    empty = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen(None).glyph()
    builder.setupGlyphOrder([".notdef", "heaven"])
    builder.setupCharacterMap({ord("天"): "heaven"})
    builder.setupGlyf({".notdef": empty, "heaven": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "heaven": (900, 100)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "cjk.ttf")
    monkeypatch.setattr(legend, "others", lambda: (tmp_path / "cjk.ttf",))
    legend._other_with.cache_clear()
    assert legend.readable(["天 sky"], ["天 sky"], 20) == ["天 sky"]
    parts = legend.runs("天 sky", 20)
    assert [text.strip() for _, text in parts] == ["天", "sky"]
    assert isinstance(parts[0][0], ImageFont.FreeTypeFont)
    assert parts[0][0].getname()[0] == "Test"
    legend._other_with.cache_clear()


def test_deep_nesting_in_metadata_is_one_clear_line(net, tmp_path):
    path = tmp_path / "deep.safetensors"
    for key in ("classes", "palette"):
        metadata = {"classes": '{"semantic": ["a", "b", "c"]}'} | {key: "[" * 200_000}
        models.save(models.load(net), path, metadata)
        with pytest.raises(ValueError, match=r"deep\.safetensors: names no classes"):
            Segmenter(path)
    models.save(models.load(net), path, {"classes": '{"semantic": [1, 2, 3]}'})
    with pytest.raises(ValueError, match=r"deep\.safetensors: names no classes"):
        Segmenter(path)


def test_more_classes_than_a_palette_has_entries():
    labels = np.array([[0, 300], [255, 256]], np.uint16)
    picture = output.label_map(labels, np.zeros((301, 3), np.uint8))
    np.testing.assert_array_equal(np.asarray(picture), labels)
