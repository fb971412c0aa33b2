"""The scripts that download data sets, with a local server and tiny official archives."""

import hashlib
import io
import re
import runpy
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import archives
import checks
import fetch
import imagenet_weights
import numpy as np
import nyud
import pascal_context
import pytest
import reference_weights
import sbd
import scipy.io
import sift_flow
import voc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fcn.data.nyud import CLASSES as NYUD_CLASSES
from fcn.data.nyud import Nyud
from fcn.data.pascal_context import PascalContext
from fcn.data.sbd import Sbd
from fcn.data.sift_flow import SiftFlow
from fcn.data.voc import CLASSES as VOC_CLASSES
from fcn.data.voc import Voc

PROJECT = Path(__file__).parents[2]
CONTENT = bytes(np.random.default_rng(0).integers(0, 256, 120_000, np.uint8))
BREAK = 2 * fetch.CHUNK


class Served:
    """A file on the server and its behaviour; ``requests``: the headers of its requests."""

    def __init__(
        self,
        content=CONTENT,
        *,
        status=200,
        ranges=True,
        breaks=0,
        version="",
        kind="application/x-tar",
    ):
        self.content, self.status, self.ranges = content, status, ranges
        self.breaks, self.kind = breaks, kind
        self.version = version
        self.requests = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        served = self.server.files.get(self.path)
        if served is None or served.status != 200:
            self.server.requested[self.path] += 1
            self.send_error(served.status if served else 404)
            return
        served.requests.append(dict(self.headers))
        self.server.requested[self.path] += 1
        begin, size = 0, len(served.content)
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if (
            asked
            and served.ranges
            and self.headers.get("If-Range", served.version) == served.version
        ):
            begin = int(asked[1])
            if begin >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        else:
            self.send_response(200)
        if served.version:
            self.send_header("ETag", served.version)
        self.send_header("Content-Type", served.kind)
        self.send_header("Content-Length", str(size - begin))
        self.end_headers()
        if served.breaks:
            served.breaks -= 1
            self.wfile.write(served.content[begin : begin + BREAK])  # and the connection is closed
            self.close_connection = True
        else:
            self.wfile.write(served.content[begin:])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(running_server, monkeypatch):
    """A server: ``files`` by path, ``requested`` counts; without proxies or pauses."""
    monkeypatch.setattr(fetch, "PAUSE", 0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running_server.files, running_server.requested = {}, Counter()
    return running_server


def address(server, path):
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def md5(content):
    return f"md5:{hashlib.md5(content).hexdigest()}"


def published(server, *paths, checksum=md5(CONTENT)):  # noqa: B008
    return fetch.Published("file.tar", tuple(address(server, path) for path in paths), checksum)


DEAD = "http://127.0.0.1:9/file.tar"  # the discard port: nobody answers


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text
    for part in parts:
        assert str(part) in text
    return True


def tree(folder):
    """Everything below a folder, as relative paths."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Downloads


def test_download_and_again(server, tmp_path):
    server.files["/a"] = Served()
    file = published(server, "/a")
    assert fetch.download(file, tmp_path / "in").read_bytes() == CONTENT
    assert fetch.download(file, tmp_path / "in") == tmp_path / "in" / "file.tar"
    assert server.requested["/a"] == 1
    assert tree(tmp_path) == ["in", "in/file.tar"]


@pytest.mark.parametrize("version", ["", '"v1"'])
def test_interrupted_download_goes_on(server, tmp_path, version):
    server.files["/a"] = served = Served(breaks=2, version=version)
    assert fetch.download(published(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert [request.get("Range") for request in served.requests] == [
        None,
        f"bytes={BREAK}-",
        f"bytes={2 * BREAK}-",
    ]
    assert [request.get("If-Range") for request in served.requests[1:]] == [version or None] * 2
    assert tree(tmp_path) == ["file.tar"]


def test_interrupted_download_starts_over_without_ranges(server, tmp_path):
    server.files["/a"] = served = Served(breaks=1, ranges=False)
    assert fetch.download(published(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert len(served.requests) == 2


def test_no_blind_resuming_without_version_or_checksum(server, tmp_path):
    server.files["/a"] = served = Served(breaks=1)
    assert fetch.download(published(server, "/a", checksum=None), tmp_path).read_bytes() == CONTENT
    assert served.requests[1].get("Range") is None


def test_a_later_run_goes_on(server, tmp_path):
    server.files["/a"] = served = Served(breaks=10**6, ranges=False)
    with pytest.raises(fetch.DownloadError) as error:
        fetch.download(published(server, "/a"), tmp_path)
    assert one_line(error, f"the connection broke after {BREAK:,} bytes", tmp_path / "file.tar")
    assert not (tmp_path / "file.tar").exists()
    served.breaks, served.ranges = 0, True
    served.requests.clear()
    assert fetch.download(published(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert [request["Range"] for request in served.requests] == [f"bytes={BREAK}-"]


def test_part_of_another_version_is_dropped(server, tmp_path):
    """No checksum: If-Range makes the server send the whole new version."""
    server.files["/a"] = served = Served(
        bytes(120_000), breaks=10**6, version='"old"', ranges=False
    )
    with pytest.raises(fetch.DownloadError):
        fetch.download(published(server, "/a", checksum=None), tmp_path)
    server.files["/a"] = served = Served(version='"new"')
    assert fetch.download(published(server, "/a", checksum=None), tmp_path).read_bytes() == CONTENT
    assert served.requests[0]["If-Range"] == '"old"'


def test_patched_file_is_fetched_anew(server, tmp_path):
    """A checksum, but no version: the part is of another file, which only the end shows."""
    (tmp_path / "file.tar.part").write_bytes(bytes(BREAK))
    server.files["/a"] = served = Served()
    assert fetch.download(published(server, "/a"), tmp_path).read_bytes() == CONTENT
    assert [request.get("Range") for request in served.requests] == [f"bytes={BREAK}-", None]


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_part_that_is_whole_or_longer(server, tmp_path, extra):
    (tmp_path / "file.tar.part").write_bytes(CONTENT + extra)
    server.files["/a"] = Served()
    assert fetch.download(published(server, "/a"), tmp_path).read_bytes() == CONTENT


def test_corrupt_download_leaves_nothing(server, tmp_path):
    server.files["/a"] = served = Served(CONTENT[:-1] + b"x")
    with pytest.raises(fetch.DownloadError) as error:
        fetch.download(published(server, "/a"), tmp_path)
    assert one_line(error, "not the published file", md5(CONTENT), tmp_path / "file.tar")
    assert len(served.requests) == 1
    assert tree(tmp_path) == []


def test_corrupt_download_that_breaks_off_too_comes_to_an_end(server, tmp_path):
    server.files["/a"] = served = Served(CONTENT[:-1] + b"x", breaks=10**6)
    with pytest.raises(fetch.DownloadError, match="not the published file"):
        fetch.download(published(server, "/a"), tmp_path)
    assert [request.get("Range") for request in served.requests].count(None) == 2
    assert tree(tmp_path) == []


def test_next_address_where_the_first_is_dead_or_corrupt(server, tmp_path):
    server.files["/corrupt"] = Served(b"x")
    server.files["/gone"] = Served(status=410)
    server.files["/page"] = Served(b"<html>moved</html>", kind="text/html; charset=utf-8")
    server.files["/a"] = Served()
    file = published(server, "/corrupt", "/gone", "/page", "/missing", "/a")
    file = fetch.Published(file.name, (DEAD, *file.addresses), file.checksum)
    assert fetch.download(file, tmp_path).read_bytes() == CONTENT
    assert server.requested == Counter(
        {"/corrupt": 1, "/gone": 1, "/page": 1, "/missing": 1, "/a": 1}
    )


def test_dead_addresses_and_a_file_put_by_hand(server, tmp_path):
    server.files["/page"] = Served(b"<html>moved</html>", kind="text/html")
    file = fetch.Published(
        "file.tar", (DEAD, address(server, "/page"), address(server, "/no")), md5(CONTENT)
    )
    with pytest.raises(fetch.DownloadError) as error:
        fetch.download(file, tmp_path / "downloads")
    by_hand = tmp_path / "downloads" / "file.tar"
    assert one_line(error, f"put it at {by_hand}", "no connection", "a web page", "HTTP 404")
    by_hand.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="not the published file") as wrong:
        fetch.download(file, tmp_path / "downloads")
    assert one_line(wrong, by_hand, md5(CONTENT).split(":")[1])
    assert by_hand.read_bytes() == CONTENT[:-1]
    by_hand.write_bytes(CONTENT)
    server.requested.clear()
    assert fetch.download(file, tmp_path / "downloads") == by_hand
    assert not server.requested


def little_space(monkeypatch, free):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 10**12 - free, free)
    )


@pytest.mark.parametrize(("to_unpack", "enough"), [(False, len(CONTENT)), (True, 2 * len(CONTENT))])
def test_no_space_for_the_download(server, tmp_path, monkeypatch, to_unpack, enough):
    server.files["/a"] = Served()
    little_space(monkeypatch, enough - 1)
    with pytest.raises(fetch.NoSpaceError) as error:
        fetch.download(published(server, "/a"), tmp_path, to_unpack=to_unpack)
    assert one_line(error, "file.tar", tmp_path, "GB are free")
    assert tree(tmp_path) == []
    little_space(monkeypatch, enough)
    fetch.download(published(server, "/a"), tmp_path, to_unpack=to_unpack)


# Archives


def tar_of(path, files, mode="w"):
    """A tar archive of files, given as bytes by name, and of members made elsewhere."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def zip_of(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def special(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def zip_link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


OUTSIDE = [
    "../evil",
    "good/../../evil",
    "/evil",
    "good/../evil",
    "..\\evil",
    "C:\\evil",
    "C:evil",
    "\\evil",
    "//evil",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_names_that_lead_outside(tmp_path, name, make):
    archive = make(tmp_path / f"a.{make.__name__[:3]}", {"good/file": b"1", name: b"evil"})
    refused(archive, tmp_path, "outside the target")


@pytest.mark.parametrize(
    "members",
    [
        [special("link", tarfile.SYMTYPE, "/etc"), special("link/evil", tarfile.REGTYPE)],
        [special("link", tarfile.SYMTYPE, "..")],
        [special("in/link", tarfile.SYMTYPE, "../../up")],
        [special("link", tarfile.LNKTYPE, "../secret")],
        [special("link", tarfile.LNKTYPE, "/etc/passwd")],
        [special("device", tarfile.CHRTYPE)],
        [special("device", tarfile.BLKTYPE)],
        [special("pipe", tarfile.FIFOTYPE)],
    ],
)
def test_links_that_lead_outside_and_devices(tmp_path, members):
    (tmp_path / "secret").write_bytes(b"secret")
    archive = tar_of(tmp_path / "a.tar", {str(i): member for i, member in enumerate(members)})
    refused(archive, tmp_path, "do not trust")


def test_zipped_links_that_lead_outside_and_devices(tmp_path):
    refused(zip_of(tmp_path / "a.zip", {zip_link("link"): b"../secret"}), tmp_path, "do not trust")
    device = zipfile.ZipInfo("device")
    device.external_attr = stat.S_IFCHR << 16
    refused(zip_of(tmp_path / "a.zip", {device: b""}), tmp_path, "do not trust")


def refused(archive, folder, reason):
    before = tree(folder)
    with (
        pytest.raises(ValueError, match=reason) as error,
        archives.unpacked(archive, folder / "target"),
    ):
        pass
    assert one_line(error, archive)
    assert tree(folder) == sorted({*before, "target"})


def test_links_inside_make_no_links(tmp_path):
    members = {
        "in/file": b"content",
        "in/hard": special("in/hard", tarfile.LNKTYPE, "in/file"),
        "in/soft": special("in/soft", tarfile.SYMTYPE, "../in/file"),
        "in/soft/below": b"in a folder, not behind the link",
    }
    with archives.unpacked(tar_of(tmp_path / "a.tar", members), tmp_path / "target") as folder:
        assert tree(folder) == ["in", "in/file", "in/hard", "in/soft", "in/soft/below"]
        assert (folder / "in" / "hard").read_bytes() == b"content"
        assert not any(path.is_symlink() for path in folder.rglob("*"))
        assert (folder / "in" / "hard").stat().st_nlink == 1
    with archives.unpacked(
        zip_of(tmp_path / "a.zip", {zip_link("in/soft"): b"file", "in/file": b""}), tmp_path
    ) as folder:
        assert tree(folder) == ["in", "in/file"]


@pytest.mark.parametrize(
    "member",
    [special("link", tarfile.LNKTYPE, "missing"), special("file", tarfile.LNKTYPE, "file")],
)
def test_links_to_nothing(tmp_path, member):
    refused(tar_of(tmp_path / "a.tar", {"link": member}), tmp_path, "cannot be unpacked")


PARTS = st.sampled_from(["..", ".", "", "a", "b", "C:", "~", "..."])
NAMES = st.lists(PARTS, min_size=1, max_size=5).flatmap(
    lambda parts: st.sampled_from(["/", "\\"]).map(lambda separator: separator.join(parts))
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])


@given(members=st.lists(st.tuples(NAMES, KINDS, NAMES), min_size=1, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_ever_lands_outside(tmp_path, members):
    shutil.rmtree(tmp_path)
    (tmp_path / "target").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    archive = tar_of(
        tmp_path / "a.tar", {str(i): special(*member) for i, member in enumerate(members)}
    )
    try:
        with archives.unpacked(archive, tmp_path / "target") as folder:
            assert not any(
                path.is_symlink() or path.stat().st_ino == 0 for path in folder.rglob("*")
            )
            assert not any(
                path.is_file() and path.read_bytes() == b"secret" for path in folder.rglob("*")
            )
    except (ValueError, IsADirectoryError, NotADirectoryError, FileExistsError):
        pass
    assert tree(tmp_path) == ["a.tar", "secret", "target"]


def test_broken_archives_leave_nothing(tmp_path):
    whole = tar_of(tmp_path / "a.tgz", {"in/file": CONTENT}, "w:gz").read_bytes()
    for name, content in {
        "cut.tgz": whole[: len(whole) // 2],
        "empty.tar": b"",
        "text.tar": b"not found" * 1000,
        "changed.tgz": whole[:-8] + b"12345678",
        "cut.tar": tar_of(tmp_path / "a.tar", {"in/file": CONTENT}).read_bytes()[:30_000],
        "cut.zip": zip_of(tmp_path / "a.zip", {"in/file": CONTENT}).read_bytes()[:-30],
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, tmp_path, "cannot be unpacked")
        shutil.rmtree(tmp_path / "target")


def test_a_plain_tar_with_a_damaged_header_is_not_taken_for_a_shorter_one(tmp_path):
    members = {f"in/{i}": bytes(1000 + i) for i in range(5)}
    path = tar_of(tmp_path / "a.tar", members)
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        headers = [member.offset for member in archive]
        end = archive.offset
    for at in headers[1:]:
        damaged = bytearray(whole)
        damaged[at + 3] ^= 1  # a bit of the name
        path.write_bytes(damaged)
        refused(path, tmp_path, "cannot be unpacked")
        path.write_bytes(whole[:at])  # between two members
        refused(path, tmp_path, "cannot be unpacked")
    path.write_bytes(whole[: end + 512])  # without the blocks that fill the last record
    with archives.unpacked(path, tmp_path / "target") as folder:
        assert len(list((folder / "in").iterdir())) == 5


def test_archives_that_unpack_to_a_multiple_of_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 1 << 20)
    zeros = {f"in/{i}": bytes(1 << 20) for i in range(3)}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in zeros.items():
            archive.writestr(name, content)
    refused(tmp_path / "a.zip", tmp_path, "more than 1,[0-9,]+ bytes unpacked")
    refused(tar_of(tmp_path / "a.tgz", zeros, "w:gz"), tmp_path, "bytes unpacked; nothing was")
    assert tree(tar_of(tmp_path / "a.tar", zeros).parent)


@pytest.mark.parametrize("name", ["in/" + "x" * 300, "in/file/below"])
def test_names_that_no_disk_can_hold(tmp_path, name):
    archive = zip_of(tmp_path / "a.zip", {"in/file": b"1", name: b"2"})
    refused(
        archive, tmp_path, r"cannot be unpacked.*\((file name too long|not a directory|file ex)"
    )


def test_label_maps_too_large_or_damaged_are_named(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (13_000, 13_000)).save(path)
    with pytest.raises(ValueError, match=r"a\.png: cannot be read.*13000 x 13000 pixels") as error:
        checks.label_map(path)
    assert one_line(error, path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as a label map"):
        checks.label_map(path)


def test_no_space_to_unpack(tmp_path, monkeypatch):
    archive = tar_of(tmp_path / "a.tar", {"1": b"1", "2": CONTENT})
    little_space(monkeypatch, archives.RESERVE + len(CONTENT) - 1)
    with pytest.raises(fetch.NoSpaceError) as error, archives.unpacked(archive, tmp_path):
        pass
    assert one_line(error, "GB are free")
    assert tree(tmp_path) == ["a.tar"]


def test_what_a_killed_run_left_is_cleared(tmp_path):
    archive = tar_of(tmp_path / "a.tar", {"file": b"1"})
    (tmp_path / ".unpacking-a.tar" / "content").mkdir(parents=True)
    (tmp_path / ".unpacking-a.tar" / "content" / "half").write_bytes(b"")
    with archives.unpacked(archive, tmp_path) as folder:
        assert tree(folder) == ["file"]
        archives.place(folder / "file", tmp_path / "placed" / "file")
        (tmp_path / "other").mkdir()
        with pytest.raises(FileExistsError, match="already exists"):
            archives.place(folder, tmp_path / "other")
    assert tree(tmp_path) == ["a.tar", "other", "placed", "placed/file"]


def test_another_archive(tmp_path):
    archive = tar_of(tmp_path / "a.tar", {"deep/in/here/x/file": b"1", "x": b"2"})
    with archives.unpacked(archive, tmp_path) as folder:
        assert archives.find(folder, "x/*") == folder / "deep" / "in" / "here"
        with pytest.raises(ValueError, match=r"^a\.tar: contains no folder with x, y") as error:
            archives.find(folder, "x", "y")
    assert one_line(error)


# Tiny data sets in their official layouts


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def jpg():
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "JPEG")
    return buffer.getvalue()


def mat(**variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=True)
    return buffer.getvalue()


def lines(names):
    return "".join(f"{name}\n" for name in names).encode()


def labels(*values):
    return np.array(values, np.uint8).reshape(2, 2)


def read(dataset, head="semantic"):
    """The labels of the first sample, as the package reads them from what a script made."""
    return dataset[0].labels[head].flatten().tolist()


def serve(server, monkeypatch, module, name, path):
    """Let the server provide a file instead of the published one named in the module."""
    served = Served(path.read_bytes())
    server.files[f"/{path.name}"] = served
    file = fetch.Published(path.name, (address(server, f"/{path.name}"),), md5(served.content))
    container, key = name if isinstance(name, tuple) else (module.__dict__, name)
    monkeypatch.setitem(container, key, file)


def prepared(server, prepare, data, capsys, **options):
    """Run a script twice: the second run makes no request and prints the same report."""
    prepare(data, **options)
    first = capsys.readouterr().out
    server.requested.clear()
    before = tree(data)
    prepare(data, **options)
    second = capsys.readouterr().out
    assert not server.requested
    assert tree(data) == before
    assert not [path for path in before if ".unpacking" in path or ".part" in path]
    report = [
        line for line in first.splitlines() if not re.search("downloading|unpacking|checksum", line)
    ]
    assert second.splitlines() == report
    return second


@pytest.fixture
def voc_served(server, monkeypatch, tmp_path):
    names = {
        "train": ["t1", "t2"],
        "val": ["v1", "v2", "v3"],
        "trainval": ["t1", "t2", "v1", "v2", "v3"],
    }
    root = "VOCdevkit/VOC2012"
    files = {
        f"{root}/ImageSets/Segmentation/{split}.txt": lines(listed)
        for split, listed in names.items()
    }
    for name in names["trainval"]:
        files[f"{root}/JPEGImages/{name}.jpg"] = jpg()
        files[f"{root}/SegmentationClass/{name}.png"] = png(labels(0, 0, 15, 255))
    serve(server, monkeypatch, voc, (voc.ARCHIVES, "2012"), tar_of(tmp_path / "voc12.tar", files))
    root = "TrainVal/VOCdevkit/VOC2011"
    files = {
        f"{root}/ImageSets/Segmentation/train.txt": lines(["t1"]),
        f"{root}/ImageSets/Segmentation/val.txt": lines(["v1", "v3"]),
        f"{root}/ImageSets/Main/train.txt": lines(["t1", "x"]),
        f"{root}/JPEGImages/t1.jpg": b"jpeg",
    }
    files |= {
        f"{root}/SegmentationClass/{name}.png": png(labels(0, 1, 1, 1))
        for name in ("t1", "v1", "v3")
    }
    serve(server, monkeypatch, voc, (voc.ARCHIVES, "2011"), tar_of(tmp_path / "voc11.tar", files))
    counts = {
        "2011": {"train": 1, "val": 2},
        "2012": {"train": 2, "val": 3, "trainval": 5, "seg11valid": 2},
    }
    monkeypatch.setattr(voc, "COUNTS", counts)
    monkeypatch.setattr(voc, "SHARES", {"person": 25.05, "cat": 0, "void": 24.95})
    (tmp_path / "seg11valid.txt").write_bytes(lines(["v1", "v3"]))
    monkeypatch.setattr(voc, "SEG11VALID", tmp_path / "seg11valid.txt")
    return server


def test_voc(voc_served, tmp_path, monkeypatch, capsys):
    report = prepared(voc_served, voc.prepare, tmp_path / "data", capsys)
    root = tmp_path / "data" / "pascal" / "VOCdevkit" / "VOC2012"
    assert (root / "ImageSets" / "Segmentation" / "seg11valid.txt").read_text() == "v1\nv3\n"
    assert (root / "JPEGImages" / "v2.jpg").is_file()
    assert "VOC 2012 seg11valid: 2 images" in report
    assert "background 50.0, person 25.0, void 25.0" in report
    assert not (root.parent / "VOC2011").exists()
    assert read(Voc(root, "val")) == [0, 0, 15, 255]
    monkeypatch.setitem(voc.SHARES, "cat", 0.2)
    with pytest.raises(ValueError, match=r"cat has 0.00 % of pixels, expected 0.20 %") as error:
        voc.prepare(tmp_path / "data")
    assert one_line(error, root / "SegmentationClass")


def test_voc_2011(voc_served, tmp_path, capsys):
    report = prepared(voc_served, voc.prepare, tmp_path / "data", capsys, with_2011=True)
    assert "VOC 2011 train: 1 images" in report
    root = tmp_path / "data" / "pascal" / "VOCdevkit" / "VOC2011"
    assert read(Voc(root, "train")) == [0, 1, 1, 1]
    assert tree(root) == [
        "ImageSets",
        "ImageSets/Segmentation",
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Segmentation/val.txt",
        "SegmentationClass",
        *(f"SegmentationClass/{name}.png" for name in ("t1", "v1", "v3")),
    ]


def test_voc_that_is_not_whole(voc_served, tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    voc.prepare(data)
    root = data / "pascal" / "VOCdevkit" / "VOC2012"
    label = root / "SegmentationClass" / "v1.png"
    label.write_bytes(png(labels(0, 21, 0, 0)))
    with pytest.raises(ValueError, match="label 21 is outside the 21 classes") as error:
        voc.prepare(data)
    assert one_line(error, root / "SegmentationClass")
    label.unlink()
    with pytest.raises(FileNotFoundError) as error:
        voc.prepare(data)
    assert one_line(error, label, "1 of 3 are missing")
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("t1\n")
    with pytest.raises(ValueError, match="VOC 2012 train: 1 images, expected 2") as error:
        voc.prepare(data)
    assert one_line(error)
    assert voc_served.requested == Counter({"/voc12.tar": 1})


def sbd_files(train):
    root = "benchmark_RELEASE/dataset"
    files = {
        f"{root}/train.txt": lines(train),
        f"{root}/val.txt": lines(["v2"]),
        "benchmark_RELEASE/README": b"",
    }
    for name in [*train, "v2"]:
        files[f"{root}/img/{name}.jpg"] = jpg()
        files[f"{root}/cls/{name}.mat"] = mat(
            GTcls={"Segmentation": labels(0, 0, 0, 20), "CategoriesPresent": 20}
        )
    return files


def test_sbd(voc_served, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sbd, "COUNTS", {"train": 2, "val": 1})
    archive = tar_of(tmp_path / "benchmark.tgz", sbd_files(["t1", "t2"]), "w:gz")
    serve(voc_served, monkeypatch, sbd, "ARCHIVE", archive)
    report = prepared(voc_served, sbd.prepare, tmp_path / "data", capsys)
    dataset = Sbd(tmp_path / "data" / "sbd" / "benchmark_RELEASE" / "dataset", "train")
    assert read(dataset) == [0, 0, 0, 20]
    assert "SBD train and seg11valid: disjoint" in report
    assert "background 75.0, tvmonitor 25.0" in report


def test_sbd_that_holds_validation_images(voc_served, tmp_path, monkeypatch):
    monkeypatch.setattr(sbd, "COUNTS", {"train": 2, "val": 1})
    archive = tar_of(tmp_path / "benchmark.tgz", sbd_files(["t1", "v3"]), "w:gz")
    serve(voc_served, monkeypatch, sbd, "ARCHIVE", archive)
    with pytest.raises(
        ValueError, match="SBD train and seg11valid: share 1 images, such as v3"
    ) as error:
        sbd.prepare(tmp_path / "data")
    assert one_line(error)


@pytest.mark.parametrize("geometric", [True, False])
def test_sift_flow(server, tmp_path, monkeypatch, capsys, geometric):
    names = {
        split: checks.read_list(checks.LISTS / f"sift_flow_{split}.txt")[:2]
        for split in ("trainval", "test")
    }
    shipped = tmp_path / "lists"
    shipped.mkdir()
    for split, listed in names.items():
        (shipped / f"sift_flow_{split}.txt").write_bytes(lines(listed))
    monkeypatch.setattr(checks, "LISTS", shipped)
    monkeypatch.setattr(sift_flow, "COUNTS", {"trainval": 2, "test": 2})
    monkeypatch.setattr(sift_flow, "SHARES", {"sky": 75, "void": 25})
    files = {}
    classes = np.array([["awning"], ["sky"]], object)
    for name in names["trainval"] + names["test"]:
        files[f"Images/{sift_flow.COLLECTION}/{name}.jpg"] = jpg()
        files[f"SemanticLabels/{sift_flow.COLLECTION}/{name}.mat"] = mat(
            S=labels(0, 2, 2, 2), names=classes
        )
        if geometric:
            files[f"GeoLabels/{sift_flow.COLLECTION}/{name}.mat"] = mat(
                S=labels(1, 1, 3, 3).astype(np.int16) * -1 + 2
            )
    serve(
        server, monkeypatch, sift_flow, "ARCHIVE", zip_of(tmp_path / "SiftFlowDataset.zip", files)
    )
    report = prepared(server, sift_flow.prepare, tmp_path / "data", capsys)
    dataset = SiftFlow(tmp_path / "data" / "sift-flow", names=names["test"])
    assert read(dataset) == [255, 1, 1, 1]
    assert dataset.geometry_is_derived != geometric
    if geometric:
        assert read(dataset, "geometric") == [0, 0, 255, 255]
    assert "sky 75.0, void 25.0" in report
    assert ("sky 50.0, void 50.0" in report) == geometric
    assert ("GeoLabels is missing" in report) != geometric


def test_nyud(server, tmp_path, monkeypatch, capsys):
    shipped = {"train": ["5001", "5002"], "val": ["5003"], "test": ["6001"]}
    for split, names in shipped.items():
        (tmp_path / f"nyud_{split}.txt").write_bytes(lines(names))
    monkeypatch.setattr(nyud, "SHIPPED", tmp_path)
    monkeypatch.setattr(nyud, "COUNTS", {"train": 2, "val": 1, "trainval": 3, "test": 1})
    files = {}
    for name in ["5001", "5002", "5003", "6001"]:
        files |= {
            f"nyud/data/{part}/img_{name}.png": png(labels(1, 2, 3, 4))
            for part in ("images", "depth", "hha")
        }
        files[f"nyud/segmentation/img_{name}.mat"] = mat(segmentation=labels(0, 1, 40, 40))
    serve(server, monkeypatch, nyud, "ARCHIVE", tar_of(tmp_path / "nyud.tar.gz", files, "w:gz"))
    report = prepared(server, nyud.prepare, tmp_path / "data", capsys)
    root = tmp_path / "data" / "nyud"
    assert (root / "trainval.txt").read_text() == "5001\n5002\n5003\n"
    assert read(Nyud(root, inputs="rgb-hha", names=["6001"])) == [255, 0, 39, 39]
    assert Nyud(root, inputs="rgbd", names=["5003"])[0].image.shape == (4, 2, 2)
    assert "otherprop 50.0, wall 25.0, void 25.0" in report


@pytest.mark.parametrize("names_inside", [True, False])
def test_pascal_context(server, tmp_path, monkeypatch, capsys, names_inside):
    monkeypatch.setattr(pascal_context, "COUNTS", {"train": 2, "val": 1})
    root = "VOCdevkit/VOC2010"
    listed = {"train": ["2008_1", "2008_2"], "val": ["2009_1"]}
    files = {f"{root}/ImageSets/Main/{split}.txt": lines(names) for split, names in listed.items()}
    files[f"{root}/ImageSets/Segmentation/train.txt"] = lines(["2008_1"])
    names = [*listed["train"], *listed["val"]]
    files |= {f"{root}/JPEGImages/{name}.jpg": jpg() for name in names}
    serve(server, monkeypatch, voc, (voc.ARCHIVES, "2010"), tar_of(tmp_path / "voc10.tar", files))
    all_names = lines(f"{i}: class {i}" for i in range(1, 460))
    files = {
        f"trainval/{name}.mat": mat(LabelMap=np.array([[0, 459], [2, 2]], np.uint16))
        for name in names
    }
    if names_inside:
        files["labels.txt"] = all_names
    archive = tar_of(tmp_path / "trainval.tar.gz", files, "w:gz")
    serve(server, monkeypatch, pascal_context, "TRAINVAL", archive)
    for task, count in (("59", 59), ("33", 33)):
        files = {
            f"{task}_context_labels/{name}.png": png(labels(0, count, count, count))
            for name in names
        }
        archive = tar_of(tmp_path / f"{task}_context_labels.tar.gz", files, "w:gz")
        serve(server, monkeypatch, pascal_context, (pascal_context.LABELS, task), archive)
        (tmp_path / f"{task}_labels.txt").write_bytes(
            b"0: background\n"
            + lines(f"{i}: of {task}, {i}" for i in range(1, count + 1))
            + b"\nNote: more text\n"
        )
        serve(
            server,
            monkeypatch,
            pascal_context,
            (pascal_context.NAMES, task),
            tmp_path / f"{task}_labels.txt",
        )
    report = prepared(server, pascal_context.prepare, tmp_path / "data", capsys)
    root = tmp_path / "data" / "pascal-context"
    assert tree(root)[:2] == ["33_context_labels", "33_context_labels/2008_1.png"]
    assert read(PascalContext(root, "val", 33)) == [0, 33, 33, 33]
    assert read(PascalContext(root, "val", 59)) == [
        0,
        0,
        1,
        1,
    ]  # of the 459, the last is none of the 59
    assert (root / "labels.txt").is_file() == names_inside
    assert "of 59, 59 75.0, background 25.0" in report
    assert "of 33, 33 75.0, background 25.0" in report
    (root / "labels.txt").write_bytes(lines(f"{i}: class {i}" for i in range(1, 400)))
    with pytest.raises(ValueError, match="not a list of 459 classes"):
        pascal_context.prepare(tmp_path / "data")


def test_weights(server, tmp_path, capsys):
    server.files["/a"] = Served(b"\x0a\x03net" + CONTENT)
    server.files["/b"] = Served(b"<!DOCTYPE html>")
    weights = {
        "gone": fetch.Published("gone.caffemodel", (address(server, "/gone"),)),
        "a": fetch.Published(
            "a.caffemodel", (address(server, "/a"),), md5(b"\x0a\x03net" + CONTENT)
        ),
    }
    with pytest.raises(fetch.DownloadError) as error:
        checks.prepare_weights(weights, tmp_path)
    assert one_line(error, "1 of 2 files", tmp_path / "gone.caffemodel")
    assert tree(tmp_path) == ["a.caffemodel"]
    assert "a.caffemodel, 0 MB" in capsys.readouterr().out
    weights = {"b": fetch.Published("b.caffemodel", (address(server, "/b"),))}
    with pytest.raises(ValueError, match=r"not a \.caffemodel"):
        checks.prepare_weights(weights, tmp_path)


# The command line, and what is written down


def test_a_broken_file_put_by_hand_is_one_line_and_status_2(tmp_path):
    """As a user runs it: in its own process."""
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "nyud.tar.gz").write_bytes(b"<html>")
    command = [sys.executable, PROJECT / "data_scripts" / "nyud.py", "--data", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: .*nyud\.tar\.gz: cannot be unpacked.*\n", done.stderr)
    assert tree(tmp_path) == ["downloads", "downloads/nyud.tar.gz"]


def script(name, *arguments, monkeypatch):
    """Run a script in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    try:
        runpy.run_path(str(PROJECT / "data_scripts" / f"{name}.py"), run_name="__main__")
    except SystemExit as end:
        return end.code
    return 0


def test_unknown_weights_are_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    assert (
        script("reference_weights", "voc-fcn4s", "--weights", tmp_path, monkeypatch=monkeypatch)
        == 2
    )
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no weights 'voc-fcn4s'; choose from voc-fcn32s" in error


@pytest.mark.parametrize("name", ["voc", "sbd", "nyud", "sift_flow", "pascal_context"])
def test_every_script_says_what_it_is(name, monkeypatch, capsys):
    assert script(name, "--help", monkeypatch=monkeypatch) == 0
    assert "--data DIR" in capsys.readouterr().out


def test_folder_of_the_environment(tmp_path, monkeypatch, capsys):
    (tmp_path / "sbd" / "benchmark_RELEASE").mkdir(parents=True)
    monkeypatch.setenv("FCN_DATA", str(tmp_path))
    assert script("sbd", monkeypatch=monkeypatch) == 2
    assert (
        str(tmp_path / "sbd" / "benchmark_RELEASE" / "dataset" / "train.txt")
        in capsys.readouterr().err
    )


def test_counts_of_the_official_sets_and_shipped_lists():
    seg11valid = checks.read_list(voc.SEG11VALID)
    assert len(seg11valid) == voc.COUNTS["2012"]["seg11valid"] == 736
    assert voc.COUNTS["2012"]["train"] + voc.COUNTS["2012"]["val"] == voc.COUNTS["2012"]["trainval"]
    assert sum(sbd.COUNTS.values()) == 11355
    shipped = {
        split: checks.read_list(checks.LISTS / f"nyud_{split}.txt")
        for split in ("train", "val", "test")
    }
    assert {split: len(names) for split, names in shipped.items()} == {
        "train": 381,
        "val": 414,
        "test": 654,
    }
    assert nyud.COUNTS["trainval"] == len(set(shipped["train"]) | set(shipped["val"])) == 795
    assert not set(shipped["test"]) & (set(shipped["train"]) | set(shipped["val"]))
    assert sum(pascal_context.COUNTS.values()) == 10103
    assert voc.CLASSES == VOC_CLASSES
    assert nyud.CLASSES == NYUD_CLASSES


def test_addresses_and_checksums_are_well_formed():
    files = [
        *voc.ARCHIVES.values(),
        sbd.ARCHIVE,
        sift_flow.ARCHIVE,
        nyud.ARCHIVE,
        pascal_context.TRAINVAL,
    ]
    files += [*pascal_context.LABELS.values(), *pascal_context.NAMES.values()]
    files += [*imagenet_weights.WEIGHTS.values(), *reference_weights.WEIGHTS.values()]
    assert len({file.name for file in files}) == len(files)
    for file in files:
        assert file.addresses
        assert all(
            re.fullmatch(rf"https?://[\w.~/-]+/{re.escape(file.name)}", address)
            for address in file.addresses
        )
        assert file.checksum is None or re.fullmatch(
            "md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}", file.checksum
        )
