"""The command line: ``python -m fcn.gpu records | speed | plan``; ``make records-gpu`` calls the first."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from fcn.datasets import packed
from fcn.experiments import PRETRAINED
from fcn.runs import PROJECT, checked_device, writable

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

DeviceOption = Annotated[str, typer.Option(help='"cuda", "cpu" or "auto".')]
ResultsOption = Annotated[Path, typer.Option(help="Where records go.")]


WORKERS = 3  # where it cannot be measured how many gain


def say(line: str) -> None:
    """One line on standard output, with the time of day."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


@app.command()
def records(
    data: Annotated[Path, typer.Option(help="Folder of the data sets, or of their parts.")],
    weights: Annotated[Path | None, typer.Option(help="Folder of the ImageNet weights.")] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="For everything, speed included.")] = 25,
    speed_minutes: Annotated[float, typer.Option(min=0, help="Of these for the speed of the nets, first.")] = 4,
    workers: Annotated[int, typer.Option(min=0, help="Nets at once; 0: as many as train the most images.")] = 0,
    device: DeviceOption = "auto",
    out: Annotated[Path, typer.Option(help="Where checkpoints, nets and logs go.")] = PROJECT / "runs" / "gpu",
    results: ResultsOption = PROJECT / "results",
    capture: Annotated[bool, typer.Option(help="Launch each training step as one CUDA graph.")] = True,
    rehearse: Annotated[int, typer.Option(min=0, help="Photos of each split: everything at the smallest size.")] = 0,
    departure: Annotated[list[str] | None, typer.Option(help='"DATA SET: what sets these data apart"')] = None,
) -> None:
    """Make the records of the plan, in order of worth, within the minutes; run it again to go on."""
    from fcn.gpu import plan, schedule, speed
    from fcn.gpu.together import at_once, best_count
    from fcn.gpu.worker import Place

    began = time.time()
    device = checked_device(device)
    if rehearse:
        out, results = out / "rehearsal", out / "rehearsal" / "results"
    elif weights is None or not (weights / PRETRAINED["googlenet"]).is_file():
        raise ValueError(f"--weights: name the folder that holds {PRETRAINED['googlenet']}")
    if not data.is_dir():
        raise FileNotFoundError(f"{data}: no such folder; name the folder of the data sets with --data")
    for folder, option in ((out, "--out"), (results, "--results")):
        writable(folder, option)
    if packed.is_packed(data):
        data = packed.unpack(data, out / "data")
    signal.signal(signal.SIGTERM, _interrupt)  # before the runs begin; they have their own way to end

    wanted = plan.jobs(device=device)
    sizes = {"size": (64, 64), "width": 0.05, "side": 64} if rehearse else {}
    wanted = [plan.departing(job, departure or ()) for job in wanted]
    if rehearse:
        wanted = plan.rehearsal(wanted, rehearse, weights is not None)
    if speed_minutes:
        try:
            speed.record(results, device, minutes=speed_minutes, log=say, **sizes)  # type: ignore[arg-type]
        except (ValueError, RuntimeError) as error:  # no reason to go without the records
            say(f"speed: {error}")
    if not workers:
        workers = WORKERS
        try:
            found = at_once(device, (1, 2), 0.5, 2, 64, 0.1) if rehearse else at_once(device)
            workers = best_count(found)
            say(f"images/s of nets at once: {json.dumps(found)}; so {workers} at a time")
        except RuntimeError as error:
            say(f"{error}; so {workers} at a time")
    left = minutes - (time.time() - began) / 60
    place = Place(data, weights, out, results, device, rehearse, capture)
    outcome = schedule.record(wanted, place, minutes=left, workers=workers, log=say)
    say(f"recorded {len(outcome.recorded)}, at a checkpoint {len(outcome.stopped)}, failed {len(outcome.failed)}, "
        f"waiting {len(outcome.waiting)}, in {(time.time() - began) / 60:.1f} min")  # fmt: skip
    if outcome.stopped or outcome.waiting:
        say("the same command goes on from here")
    sys.exit(130 if outcome.interrupted else 1 if outcome.failed else 0)


@app.command("speed")
def speed_command(
    minutes: Annotated[float, typer.Option(min=0, help="At most.")] = 10,
    device: DeviceOption = "auto",
    results: ResultsOption = PROJECT / "results",
) -> None:
    """Measure the forward pass and the training step of each net; run it again for the rows that are missing."""
    from fcn.gpu import speed

    writable(results, "--results")
    print(speed.record(results, checked_device(device), minutes=minutes, log=say))


@app.command("plan")
def plan_command(results: ResultsOption = PROJECT / "results") -> None:
    """The runs in order of worth, the minutes each should take on a GPU of its own, and which are recorded."""
    from fcn.gpu import plan

    total = 0.0
    for job in plan.jobs():
        done = (results / f"{job.stem}.json").is_file()
        total += 0 if done else job.minutes
        print(f"{job.minutes:6.1f} min  {job.stem}{'  recorded' if done else ''}")
    print(f"{total:6.1f} min  for those that are not recorded, one after the other")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; bad input is one line on standard error and exit status 2."""
    try:
        app(standalone_mode=True)
    except (OSError, ValueError) as error:
        print("fcn:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
