"""Predict many photos: read ahead, batched by size, resumable, with what failed listed.

Threads read and write while the net runs (Pillow and zlib release Python's lock). At any moment a
few photos are in memory, however many there are.
"""

import json
import sys
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fcn.environment import check_writable, machine_fault, replacing, sha256
from fcn.predict import photo as photos
from fcn.predict.enlarge import Labels
from fcn.predict.geotiff import Unreadable
from fcn.predict.inputs import Source
from fcn.predict.legend import Named
from fcn.predict.output import OTHERS, Result, Shard
from fcn.predict.photo import Photo
from fcn.predict.segmenter import Segmenter

AHEAD = 4  # small photos per thread, and groups of one size, that wait
PER_PHOTO = (MemoryError, RuntimeError, Unreadable)  # perhaps: see ``_own``
T = TypeVar("T")
U = TypeVar("U")
Read = tuple[Source, Photo]


class Target(Protocol):
    """Where results go: ``Files``, ``Submission`` or a ``Shard``."""

    overlay: bool

    def save(self, photo: Photo, stem: Path, strips: Iterable[Labels], net: Named) -> Result: ...


def predict(
    sources: Iterable[Source],
    segmenter: Segmenter,
    to: Target,
    *,
    side: int | None = 512,
    threads: int = 2,
    batch: int = 1,
) -> Iterator[Result]:
    """Segment photos and save what is found; a photo that cannot be read is a result, too.

    ``batch``: photos of one size that the net scores together; results of other sizes may overtake.
    Raises OSError and ValueError if results cannot be written.
    """

    def read(source: Source) -> Read | Result:
        try:
            return source, photos.read(source.photo, side, to.overlay)
        except (OSError, ValueError, MemoryError) as error:
            return _failed(source, error)

    pool = ThreadPoolExecutor(threads)
    try:
        writing: deque[Future[Result]] = deque()
        small = side is not None and side**2 <= segmenter.net.whole
        most = AHEAD * threads if small else 1
        for group in _grouped(_ahead(pool, read, sources, most), segmenter, batch):
            if isinstance(group, Result):
                writing.append(_done(group))
            elif not segmenter.at_once(group[0][1].shrunk):  # no tile waits for another photo
                writing.append(_done(_tiled(*group[0], segmenter, to)))
            else:
                writing += _scored(group, segmenter, to, pool)
            del group  # before the next photo is read
            while len(writing) > threads * batch:
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _scored(
    group: list[Read], segmenter: Segmenter, to: Target, pool: ThreadPoolExecutor
) -> list[Future[Result]]:
    """The results of photos of one size, which the pool enlarges and saves."""
    try:
        scores = segmenter.score([photo.shrunk[:, :] for _, photo in group])
    except PER_PHOTO as error:
        return [_done(_failed(source, _own(error))) for source, _ in group]

    def save(source: Source, photo: Photo, i: int) -> Result:
        strips = segmenter.enlarged(scores[i], photo.height, photo.width)
        return _saved(source, photo, strips, segmenter, to)

    return [pool.submit(save, *one, i) for i, one in enumerate(group)]


def _tiled(source: Source, photo: Photo, segmenter: Segmenter, to: Target) -> Result:
    strips = segmenter.strips(photo.shrunk, photo.height, photo.width)
    return _saved(source, photo, strips, segmenter, to)


def _saved(
    source: Source, photo: Photo, strips: Iterable[Labels], segmenter: Segmenter, to: Target
) -> Result:
    """The result of a photo whose labels are saved as they are found, or its failure."""
    try:
        return to.save(photo, source.stem, photo.masked(strips), segmenter)
    except PER_PHOTO as error:
        return _failed(source, _own(error))


def _own(error: Exception) -> Exception:
    """An error that a photo causes, by its pixels or the memory that it needs; raises others."""
    if isinstance(error, Unreadable):
        return error
    if machine_fault(error):
        return MemoryError("not enough memory; give a smaller --side")
    raise error


def _failed(source: Source, error: BaseException) -> Result:
    line = " ".join(str(error).split()) or "not enough memory; give a smaller --side"
    if not line.startswith(str(source.photo)):
        line = f"{source.photo}: {line}"
    return Result(source.photo, error=line)


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[T], U], items: Iterable[T], most: int
) -> Iterator[U]:
    """``map`` with threads, in order, of which at most ``most`` results wait."""
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _grouped(
    items: Iterable[Read | Result], segmenter: Segmenter, batch: int
) -> Iterator[list[Read] | Result]:
    """Photos in groups of ``batch`` of one size; failures, and photos to tile, one by one."""
    groups: dict[tuple[int, ...], list[Read]] = {}
    for item in items:
        if isinstance(item, Result):
            yield item
            continue
        shape = item[1].shrunk.shape
        ready = not segmenter.at_once(item[1].shrunk)
        groups.setdefault(shape, []).append(item)
        del item  # before the next photo is read
        if ready or len(groups[shape]) == batch:
            yield groups.pop(shape)
        elif sum(map(len, groups.values())) >= AHEAD * batch:
            yield groups.pop(next(iter(groups)))  # the oldest
    yield from groups.values()


def predict_shards(
    sources: Iterable[Source], segmenter: Segmenter, out: Path, size: int, **settings: Any
) -> Iterator[Result]:
    """Segment photos into archives ``shard-NNNNNN.tar`` of ``size`` label maps each.

    An archive that is there is not made again, so a run that was interrupted continues. Raises
    ValueError if it is of other photos, or by another net or size of photos.
    """
    check_writable(out, "--out")
    iterator = iter(sources)
    number = 0
    made_by = {"net": sha256(segmenter.path), "side": settings["side"]}
    while chunk := list(islice(iterator, size)):
        path = out / f"shard-{number:06d}.tar"
        number += 1
        if path.is_file():
            yield from _known(path, chunk, made_by)
            continue
        order = {source.photo: i for i, source in enumerate(chunk)}
        with replacing(path, lambda partial: tarfile.open(partial, "w")) as made:
            shard = Shard(made, path)
            done = predict(chunk, segmenter, shard, **settings)
            results = sorted(done, key=lambda result: order[result.photo])
            index = "".join(f"{result.json()}\n" for result in results)
            shard.add(Shard.INDEX, index.encode())
            shard.add(Shard.MADE_BY, json.dumps(made_by).encode())
        yield from results


def _known(path: Path, chunk: Sequence[Source], made_by: dict[str, Any]) -> Iterator[Result]:
    """The results in an archive, which must be those of ``chunk`` by the same net."""
    found, lines = Shard.read(path)
    if found not in (None, made_by):
        raise ValueError(f"{path}: {OTHERS} --out")
    if [line["photo"] for line in lines] != [str(source.photo) for source in chunk]:
        raise ValueError(
            f"{path}: of other photos than those listed now; give the same list and --shard, or "
            "another --out"
        )
    for line in lines:
        files = tuple(map(Path, line.get("files", ())))
        share = [*line.get("shares", {}).items()]
        yield Result(Path(line["photo"]), files, share, error=line.get("error", ""))


class Progress:
    """Photos done, the rate and the time left: one line on a terminal, else one per minute."""

    def __init__(self, total: int | None, stream: Any = None) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.start = self.last = time.monotonic()

    def add(self, result: Result) -> None:
        """Count a result; now and then, show a line."""
        self.done += 1
        self.failed += bool(result.error)
        now = time.monotonic()
        if now - self.last >= (0.5 if self.terminal else 60):
            self.last = now
            end = "\r" if self.terminal else "\n"
            print(self.line(now - self.start).ljust(60 * self.terminal), end=end, file=self.stream)
            self.stream.flush()

    def clear(self) -> None:
        """Make room for other lines on a terminal."""
        if self.terminal and self.done:
            print("\r".ljust(61), end="\r", file=self.stream, flush=True)

    def line(self, seconds: float) -> str:
        """Such as ``120 of 5000 photos, 2 failed, 3.2 per second, 25 min left``."""
        rate = self.done / max(seconds, 1e-9)
        parts = [f"{self.done} of {self.total} photos" if self.total else f"{self.done} photos"]
        parts += [f"{self.failed} failed"] * bool(self.failed)
        parts += [f"{rate:.1f} per second" if rate >= 1 else f"{1 / rate:.1f} s each"]
        if self.total:
            parts += [f"{duration((self.total - self.done) / rate)} left"]
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``25 min``, ``7.5 h`` or ``3.2 days``."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.{int(unit == 'h')}f} {unit}"
    return f"{seconds / 86400:.1f} days"


def printable(text: object) -> str:
    """``text`` on one line, whatever a file name or a class name has in it."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in str(text))
