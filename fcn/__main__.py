"""The command line: ``python -m fcn list | train | evaluate | predict | export | fit | …``."""

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn.environment import PROJECT

if TYPE_CHECKING:
    from fcn.replication.experiment import Experiment
    from fcn.training.record import Purpose, Record

RESULTS = PROJECT / "results"
DEFAULT_NET = PROJECT / "weights" / "sift-flow-googlenet-8s-tuned.seed0.safetensors"
ABOUT = "Fully convolutional networks: rerun the paper's experiments, segment photos, fine-tune."

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=ABOUT,
)


def option(text: str, *names: str, **limits: Any) -> Any:
    """An option of a command with this help text."""
    return typer.Option(*names, help=text, **limits)


DataOption = Annotated[Path | None, option("Folder of the data sets; by default FCN_DATA.")]
DeviceOption = Annotated[str, option('"auto", "cpu", "cuda" or "mps".')]
SeedOption = Annotated[int, option("Random seed.", min=0, max=2**32 - 1)]
ResumeOption = Annotated[bool, option("Continue from the checkpoint, if any.", "--resume")]


@contextmanager
def stoppable() -> Iterator[None]:
    """Exit with status 75 when one of ``fcn.training.signals`` has stopped a command."""
    from fcn.training import signals

    try:
        with signals.interruptible():
            yield
    except signals.Interrupted as stopped:
        if os.environ.get("RANK", "0") == "0":
            with suppress(OSError):  # the terminal may be gone
                print(f"fcn: {stopped}", file=sys.stderr, flush=True)
        raise typer.Exit(signals.EXIT_STATUS) from None


@app.command("list")
def list_experiments(
    as_json: Annotated[bool, option("Print everything as JSON.", "--json")] = False,
    results: Annotated[Path, option("Folder of the records.")] = RESULTS,
    readme: Annotated[Path | None, option("Update the results table in this file.")] = None,
) -> None:
    """List every experiment with the published numbers and ours, or the command that runs it."""
    from fcn.replication.catalogue import EXPERIMENTS
    from fcn.replication.paper import TITLES
    from fcn.training.record import load_records

    if readme is not None:
        from fcn.replication.tables import update_readme

        update_readme(readme, results)
        return
    records = load_records(results) if results.is_dir() or results != RESULTS else []
    entries = [_entry(experiment, records) for experiment in EXPERIMENTS.values()]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    groups: dict[str, Table] = {}
    for title in [
        *TITLES,
        *(f"No table: {e.dataset}" for e in EXPERIMENTS.values() if not e.paper),
    ]:
        groups.setdefault(title, Table(box=None, show_header=False))
    for experiment, entry in zip(EXPERIMENTS.values(), entries, strict=True):
        title = experiment.paper[0] if experiment.paper else f"No table: {experiment.dataset}"
        groups[title].add_row(*_cells(entry))
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 200, soft_wrap=not terminal)
    console.print("Percent: pixel acc. / mean acc. / mean IU / f.w. IU. --json prints everything.")
    for title, table in groups.items():
        if table.row_count:
            heading = f"{title}: {TITLES[title]}" if title in TITLES else title
            console.print(f"\n{heading}", highlight=False)
            console.print(table)


def _entry(experiment: "Experiment", records: list["Record"]) -> dict[str, Any]:
    from fcn.replication.deviations import deviations_of
    from fcn.replication.paper import TABLES

    own = [row for row in TABLES if row.experiment == experiment.name]
    near = [row for row in TABLES if (row.table, row.label) == experiment.paper]
    return {
        "experiment": experiment.name,
        "paper": ", ".join(experiment.paper) if experiment.paper else "none",
        "published": next((row.metrics for row in own + near), {}),
        "recorded": [
            {"seed": r.seed, "purpose": r.purpose, "file": r.file_name, "metrics": r.scores}
            for r in records
            if r.experiment == experiment.name
        ],
        "deviations": [asdict(deviation) for deviation in deviations_of(experiment)],
        "command": f"python -m fcn train {experiment.name}",
    }


def _cells(entry: dict[str, Any]) -> list[str]:
    """One line of the list: the experiment, the published row, and our scores or the command."""
    row = entry["paper"].partition(", ")[2]
    ours = [
        f"{_numbers(r['metrics'])} (seed {r['seed']}, {r['purpose']})" for r in entry["recorded"]
    ]
    published = [f"{row} {_numbers(entry['published'])}"] if row else []
    return [entry["experiment"], *published, "; ".join(ours) or f"not run: {entry['command']}"]


def _numbers(metrics: dict[str, float]) -> str:
    from fcn.replication.paper import METRICS

    return " / ".join(f"{metrics[m]:.1f}" if m in metrics else "-" for m in METRICS)


Names = Annotated[
    list[str] | None, typer.Argument(metavar="EXPERIMENT...", help="Names from `list`.")
]


@app.command()
@stoppable()
def train(
    experiments: Names = None,
    data: DataOption = None,
    weights: Annotated[Path | None, option("ImageNet weights; by default FCN_WEIGHTS.")] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    seeds: Annotated[int, option("Number of seeds, from --seed up.", min=1)] = 1,
    minutes: Annotated[float | None, option("Stop after this many minutes.", min=0.01)] = None,
    by_worth: Annotated[bool, option("Run the GPU experiments, best first.", "--by-worth")] = False,
    resume: ResumeOption = False,
    validation: Annotated[bool, option("Score on the validation split.", "--validation")] = False,
    out: Annotated[Path, option("Folder for checkpoints and nets.")] = Path("runs"),
    results: Annotated[Path | None, option("Folder for records.")] = None,
    smoke: Annotated[bool, option("Two steps of a tiny net on tiny data.", "--smoke")] = False,
    deviation: Annotated[list[str] | None, option("A deviation to note; repeatable.")] = None,
) -> None:
    """Train and score experiments in order, and write a record of each run.

    Runs that have a record are skipped. With --resume, or if there are several runs, interrupted
    ones continue. If the net that a run starts from has no record, it is trained first. SIGINT,
    SIGTERM, SIGUSR1, SIGHUP and SIGQUIT stop at a checkpoint (status 75), --minutes too (status 0);
    failed runs are reported and the rest continues (status 1). --validation holds out the
    validation split of the training images and scores on it. --smoke tests that experiments run,
    with all files in OUT/smoke. Under torchrun, several processes share each batch.
    """
    from fcn.replication import catalogue, run
    from fcn.training.distributed import is_main_process
    from fcn.training.record import Deviation, read

    names = list(catalogue.BY_WORTH) if by_worth else experiments or []
    if not names:
        raise ValueError("name an experiment: `python -m fcn list` shows all, or give --by-worth")
    chosen = [catalogue.find(name) for name in names]

    def show(path: Path) -> None:
        for name, head in read(path).heads.items():
            _print_metrics(name, head.metrics, head.classes_counted, len(head.classes))

    settings: dict[str, Any] = {
        "minutes": minutes,
        "purpose": "validation" if validation else None,
        "data": data,
        "weights_root": weights,
        "device": device,
        "out": out,
        "results": results or RESULTS,
        "deviations": tuple(Deviation("other", text) for text in deviation or ()),
        "resume": resume or len(chosen) * seeds > 1 or minutes is not None,
        "log": _log,
        "done": show,
    }
    with tempfile.TemporaryDirectory() as folder:
        if smoke:
            from fcn.replication import smoke as tiny

            for name in {experiment.dataset for experiment in chosen}:
                tiny.write_data(name, Path(folder))
            settings |= {"change": tiny.shrink, "data": Path(folder), "out": out / "smoke"}
            settings["results"] = results or out / "smoke" / "results"
        failed = run.run_queue(chosen, range(seed, seed + seeds), **settings)
    if failed and is_main_process():
        print(f"fcn: {len(failed)} failed: {', '.join(failed)}", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


@app.command()
def evaluate(
    experiment: Annotated[str, typer.Argument(help="A name from `list`; sets data and split.")],
    weights: Annotated[Path, option("A net that `train` saved, or the authors' .caffemodel.")],
    data: DataOption = None,
    device: DeviceOption = "auto",
    validation: Annotated[bool, option("Score on the validation split.", "--validation")] = False,
) -> None:
    """Score a net on an experiment's test split."""
    from fcn.replication import catalogue, released, run

    found = catalogue.find(experiment)
    purpose: Purpose | None = "validation" if validation else None
    matrices = run.score(found, weights, data=data, device=device, purpose=purpose)
    for name, matrix in matrices.items():
        metrics = matrix.metrics()
        _print_metrics(name, metrics, metrics.classes_counted, matrix.num_classes)
    if weights.suffix == ".caffemodel" and not validation:
        print(released.find(weights).expectation())


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Photos of any size.")],
    weights: Annotated[Path, option("The net; default: trained on SIFT Flow.")] = DEFAULT_NET,
    out: Annotated[Path, option("Folder for label maps and overlays.")] = Path("."),
    side: Annotated[int, option("Shrink larger photos to this longer side, px.", min=32)] = 512,
    device: DeviceOption = "cpu",
    submission: Annotated[Path | None, option("Write only the folder for VOC's server.")] = None,
) -> None:
    """Segment photos: a label map (palette PNG), an overlay with a legend, class shares.

    A net that `export` has saved (--weights NET.onnx, or NET.onnx next to NET.safetensors) starts
    faster and needs less memory, where onnxruntime is installed and the device is the CPU.
    """
    from fcn.environment import resolve_device
    from fcn.predict import Segmenter, submit, write

    named = {image.stem: image for image in images}
    if twins := [image for image in images if named[image.stem] is not image]:
        raise ValueError(
            f"{twins[0]} and {named[twins[0].stem]}: both results would have the same name; "
            "predict one at a time"
        )
    segmenter = Segmenter(weights, resolve_device(device))
    for image in images:
        if submission is None:
            paths, found = write(image, segmenter, out, side)
        else:
            path, found = submit(image, segmenter, submission, side)
            paths = [path]
        print(f"{image}: " + ", ".join(f"{name} {share:.1f} %" for name, share in found))
        print("  wrote " + " and ".join(str(path) for path in paths))
    if submission is not None:
        print(f"to submit: tar czf results.tgz -C {submission} results")


START = option("A saved net, 'imagenet' or 'scratch'.", show_default="trained on SIFT Flow")


@app.command()
@stoppable()
def fit(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, any sizes.")],
    labels: Annotated[Path, typer.Argument(help="Folder of PNGs with the same names; void: 255.")],
    classes: Annotated[Path, typer.Argument(help="Text file, one class per line: sky #9ecae1")],
    start: Annotated[str, START] = str(DEFAULT_NET),
    stride: Annotated[int, option("Stride of the finest scores: 32, 16 or 8.")] = 8,
    epochs: Annotated[float, option("Passes over the photos.")] = 20,
    batch: Annotated[int, option("Batch size.")] = 8,
    rate: Annotated[float | None, option("Learning rate; lower if diverging.")] = None,
    side: Annotated[int, option("Shrink larger photos to this longer side, px.")] = 512,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    out: Annotated[Path, option("Folder for the net and its record.")] = Path("runs/own"),
    resume: ResumeOption = False,
) -> None:
    """Fine-tune on your own photos and labels; a tenth is held out and scored at the end."""
    from fcn.training import finetune
    from fcn.training.distributed import is_main_process

    net: dict[str, Any] = {"start": start, "stride": stride}
    recipe: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "side": side}
    if rate is not None:
        recipe["rate"] = rate
    run: dict[str, Any] = {"device": device, "seed": seed, "out": out, "resume": resume}
    fitted = finetune.fit(photos, labels, classes, **net, **recipe, **run, log=_log)
    if is_main_process():
        head = fitted.scores
        _print_metrics("held-out photos", head.metrics, head.classes_counted, len(head.classes))
        print(fitted.per_class().to_string(na_rep="-"))
        print(f"saved {fitted.weights} and {fitted.record}")
        print(f"try it: python -m fcn predict PHOTO --weights {fitted.weights}")


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="A net that `train` saved, or 'default'.")],
    out: Annotated[Path | None, option("The file; by default WEIGHTS with suffix .onnx.")] = None,
) -> None:
    """Save a net as ONNX, for images of any size; checked against torch at several sizes."""
    from fcn.export import export as save

    source = DEFAULT_NET if weights == "default" else Path(weights)
    path = out or source.with_suffix(".onnx")
    save(source, path)
    print(f"saved {path}")


@app.command()
def benchmark(
    device: DeviceOption = "cpu",
    save: Annotated[Path | None, option("Save a record in this results folder.")] = None,
    quick: Annotated[bool, option("Narrow nets and tiny photos: try the code.")] = False,
    only: Annotated[str, option("Measure only cases with this text in their names.")] = "",
    rounds: Annotated[int | None, option("Trials of each case.", min=1)] = None,
) -> None:
    """Time our nets next to what people would use instead, in turn, in about ten minutes."""
    from fcn.environment import resolve_device
    from fcn.replication.benchmark import run

    settings: dict[str, Any] = {"save": save, "quick": quick, "only": only, "rounds": rounds}
    for line in run.benchmark(resolve_device(device), **settings):
        print(line, flush=True)


def _log(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # nobody reads it any more; that must not end a run
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_metrics(head: str, metrics: Any, present: int, classes: int) -> None:
    print(
        f"{head}: pixel acc. {metrics.pixel_accuracy:.2f}  mean acc. {metrics.mean_accuracy:.2f}  "
        f"mean IU {metrics.mean_iu:.2f}  f.w. IU {metrics.frequency_weighted_iu:.2f}  "
        f"({present} of {classes} classes present)"
    )


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit status 2."""
    # Pillow warns about photos that we then read anyway, or reject with a message of our own.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        app(standalone_mode=True)
    except (OSError, ValueError, ArithmeticError) as error:
        _fail(error, " ".join(str(error).split()))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "fcn":
            raise
        extra = "export" if error.name.startswith("onnx") else "train"
        _fail(error, f"{error.name} is missing; install it with: pip install 'fcn-book[{extra}]'")
    except (MemoryError, RuntimeError) as error:
        # torch.OutOfMemoryError, by name: importing torch here would slow every command down.
        exhausted = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not exhausted and "allocate memory" not in str(error):
            raise
        _fail(error, "not enough memory; score photos at a smaller --side, or use a larger machine")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: Exception, line: str) -> None:
    if os.environ.get("FCN_DEBUG"):
        raise error
    print("fcn:", line, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
