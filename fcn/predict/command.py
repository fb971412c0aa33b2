"""``fcn predict``: photos in, files out, a line for each on the terminal."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import Any

from fcn.environment import atomic_write, check_writable, cores
from fcn.predict.inputs import Inputs, Source
from fcn.predict.output import Files, Mark, Result, Submission
from fcn.predict.run import Progress, predict, predict_shards, printable
from fcn.predict.segmenter import Segmenter

ALL_FAILED, SOME_FAILED = 2, 3  # exit statuses
FAILURES = "failures.txt"


def predict_photos(
    arguments: Sequence[str],
    *,
    weights: Path,
    out: Path,
    side: int | None,
    device: str,
    submission: Path | None = None,
    as_json: bool = False,
    overlay: bool = True,
    shard: int | None = None,
    resume: bool = False,
) -> int:
    """Segment the photos that ``arguments`` name (see ``Inputs``) and return the exit status.

    0; 3 if some of the photos failed, 2 if all did: their paths are in ``out``/failures.txt.
    Raises ValueError and OSError if nothing can be done or written, or the only photo failed.
    """
    if shard and (submission or resume):
        option = "--submission" if submission else "--resume"
        raise ValueError(f"--shard and {option} exclude each other; archives resume by themselves")
    inputs = Inputs(arguments, submission or out)
    segmenter = Segmenter(weights, device)
    folder = submission or out
    mark = Mark(segmenter.checksum, side)
    to = Submission(submission, segmenter, mark) if submission else Files(out, overlay, mark)
    settings: dict[str, Any] = {"side": side, "threads": max(2, cores())}
    settings["batch"] = 1 if device == "cpu" else 8

    single = inputs.single
    total = inputs.count() if inputs.again and not single else None
    progress = Progress(total)
    skipped = 0
    list_of_failures = folder / FAILURES
    listed = _lines(list_of_failures)  # by an earlier run, or by somebody else
    before = len(listed)

    def wanted() -> Iterator[Source]:
        nonlocal skipped
        for source in inputs:
            if resume and to.exist(*source):
                skipped += 1
                listed.pop(str(source.photo), None)
                progress.total = progress.total and progress.total - 1
            else:
                yield source

    if shard:
        results = predict_shards(inputs, segmenter, out, shard, **settings)
    else:
        results = predict(wanted(), segmenter, to, **settings)
    with SpooledTemporaryFile(1 << 20) as failures:
        for result in results:
            progress.clear()
            show(result, as_json, single)
            listed.pop(str(result.photo), None)
            if result.error:
                if not progress.failed:
                    check_writable(folder, "--submission" if submission else "--out")
                failures.write(os.fsencode(result.photo) + b"\n")
            progress.add(result)
        progress.clear()
        if not (single or progress.failed or listed):
            list_of_failures.unlink(missing_ok=True)  # all of these photos are done now
        elif not single and (progress.failed or len(listed) < before):
            failures.seek(0)
            # Not earlier: the photos may be those of this very list.
            with atomic_write(list_of_failures) as partial, open(partial, "wb") as file:
                copyfileobj(failures, file)
                file.writelines(os.fsencode(line) + b"\n" for line in listed)
    if skipped:
        print(f"fcn: {skipped} photos were done before", file=sys.stderr)
    if not progress.done and not skipped:
        named = ", ".join(arguments[:3])
        raise FileNotFoundError(f"{named}: no photos there; give files, folders, @LIST or -")
    if progress.failed:
        count = f"{progress.failed} of {progress.done} photos failed"
        print(f"fcn: {count}; listed in {printable(list_of_failures)}", file=sys.stderr)
    if submission is not None and not as_json:
        print(f"to submit: tar czf results.tgz -C {printable(submission)} results")
    if progress.failed and progress.failed == progress.done and not skipped:
        return ALL_FAILED
    return SOME_FAILED if progress.failed else 0


def _lines(path: Path) -> dict[str, None]:
    if not path.is_file():
        return {}
    with open(path, "rb") as file:
        return dict.fromkeys(os.fsdecode(line.rstrip(b"\r\n")) for line in file)


def show(result: Result, as_json: bool, single: bool) -> None:
    """Print a result. Raises ValueError if the only photo failed."""
    if result.error and single:
        raise ValueError(result.error)
    if as_json:
        print(result.json(), flush=True)
    elif result.error:
        print("fcn:", printable(result.error), file=sys.stderr, flush=True)
    else:
        found = ", ".join(f"{printable(name)} {share:.1f} %" for name, share in result.shares)
        print(f"{printable(result.photo)}: {found}")
        print("  wrote " + " and ".join(map(printable, result.files)), flush=True)
