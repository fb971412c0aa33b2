"""The command line: ``python -m fcn list | train | evaluate | predict | export | fit | …``."""

import atexit
import io
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fcn.environment import INSTALLED, KEPT_NETS, RESULTS, is_main_process

if TYPE_CHECKING:
    from fcn.replication.experiment import Experiment
    from fcn.training.record import Head, Record

DEFAULT_NET = KEPT_NETS / "sift-flow-googlenet-8s-tuned.seed0.safetensors"
EXTRAS = {  # of packages that neither the core nor `train` brings
    "matplotlib": "book",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pillow_heif": "formats",
    "pycocotools": "formats",
    "rasterio": "formats",
    "ray": "ray",
}
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
        if is_main_process():
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

    Runs that have a record are skipped. With --resume or --minutes, or if there are several runs,
    interrupted ones continue. If the net that a run starts from has no record, it is trained first.
    SIGINT, SIGTERM, SIGUSR1, SIGHUP and SIGQUIT stop at a checkpoint (status 75), --minutes too
    (status 0); failed runs are reported and the rest continues (status 1). --validation holds out
    the validation split of the training images and scores on it. --smoke tests that experiments
    run, with all files in OUT/smoke. Under torchrun, several processes share each batch.
    """
    from fcn.replication import catalogue, run
    from fcn.training.record import Deviation, read

    names = list(catalogue.BY_WORTH) if by_worth else experiments or []
    if not names:
        raise ValueError("name an experiment: `python -m fcn list` shows all, or give --by-worth")
    chosen = [catalogue.find(name) for name in names]

    def show(path: Path) -> None:
        for name, head in read(path).heads.items():
            _print_metrics(name, head.metrics, head.classes_counted, len(head.classes))

    if (last := seed + seeds - 1) >= 2**32:
        raise ValueError(f"--seeds {seeds}: the last seed would be {last}; the largest is 2^32 - 1")
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


SCORED = typer.Argument(
    metavar="EXPERIMENT | PHOTOS LABELS CLASSES",
    help="A name from `list`, which sets data and split; or your own folders, as for `fit`.",
)


@app.command()
def evaluate(
    scored_on: Annotated[list[str], SCORED],
    weights: Annotated[Path, option("A net that was saved here, or the authors' .caffemodel.")],
    data: DataOption = None,
    device: DeviceOption = "auto",
    validation: Annotated[bool, option("Score on the validation split.", "--validation")] = False,
    side: Annotated[
        int | None, option("Own photos: longer side, px; default: as in `fit`.")
    ] = None,
    as_json: Annotated[
        bool, option("Print scores and confusion matrix as JSON.", "--json")
    ] = False,
) -> None:
    """Score a net on an experiment's test split, or on your own photos and label maps."""
    from fcn.environment import resolve_device, sha256

    own = len(scored_on) == 3
    if not own and len(scored_on) != 1:
        raise ValueError(
            f"evaluate takes an experiment, or PHOTOS LABELS CLASSES, not {len(scored_on)} names"
        )
    unused = {"--data": data, "--validation": validation or None} if own else {"--side": side}
    if given := [name for name, value in unused.items() if value is not None]:
        raise ValueError(f"{given[0]}: only for {'experiments' if own else 'your own photos'}")
    heads: dict[str, Head]
    settings: dict[str, Any]
    log = _log_to_stderr if as_json else _log
    if own:
        from fcn.training.own_photos import evaluate_folder, per_class

        settings = {"side": side, "device": resolve_device(device), "log": log}
        photos, labels, classes = scored_on
        heads = evaluate_folder(photos, labels, classes, weights, **settings)
    else:
        from fcn.replication import catalogue, run

        try:
            found = catalogue.find(scored_on[0])
        except ValueError as error:
            raise ValueError(f"{error}; or give PHOTOS LABELS CLASSES of your own") from None
        settings = {"data": data, "device": device, "log": log}
        heads = run.score(found, weights, purpose="validation" if validation else None, **settings)
    if not is_main_process():
        return
    if as_json:
        scores = {name: head.model_dump() for name, head in heads.items()}
        about = {"scored_on": scored_on, "weights": str(weights), "sha256": sha256(weights)}
        print(json.dumps(about | {"heads": scores}, ensure_ascii=False))
        return
    for name, head in heads.items():
        _print_metrics(name, head.metrics, head.classes_counted, len(head.classes))
        if own:
            print(per_class(head).to_string(na_rep="-"))
    if weights.suffix == ".caffemodel" and not validation:
        from fcn.replication import released

        print(released.find(weights).expectation())


@app.command()
def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Photos of any size, folders, patterns, @LIST files, or - for stdin."),
    ] = None,
    listed: Annotated[Path | None, option("A list of photos, one per line.", "--list")] = None,
    weights: Annotated[Path, option("The net; default: trained on SIFT Flow.")] = DEFAULT_NET,
    out: Annotated[Path, option("Folder for label maps and overlays.")] = Path("."),
    side: Annotated[int, option("Shrink larger photos to this longer side, px.", min=32)] = 512,
    tile: Annotated[bool, option("Score photos at their own size, in tiles.", "--tile")] = False,
    device: DeviceOption = "cpu",
    overlay: Annotated[bool, option("Write overlays, too.")] = True,
    as_json: Annotated[bool, option("Print one line of JSON per photo.", "--json")] = False,
    resume: Annotated[bool, option("Skip photos that have results.", "--resume")] = False,
    shard: Annotated[int | None, option("Write archives of this many label maps.", min=1)] = None,
    submission: Annotated[Path | None, option("Write only the folder for VOC's server.")] = None,
) -> None:
    """Segment photos: a label map (palette PNG), an overlay with a legend, class shares.

    Results mirror the folders of the photos. A photo that cannot be read does not stop the others:
    it is listed in OUT/failures.txt, and the exit status is 3 (2 if nothing could be done). Photos
    with a georeference (GeoTIFF) get label maps with the same. Memory does not grow with the size
    or number of photos. A net that `export` has saved (--weights NET.onnx, or NET.onnx next to
    NET.safetensors) starts faster and needs less memory, where onnxruntime is installed and the
    device is the CPU.
    """
    from fcn.environment import resolve_device
    from fcn.predict.command import predict_photos

    arguments = list(images or ())
    if listed is not None:
        arguments.append("-" if str(listed) == "-" else f"@{listed}")
    if not arguments:
        raise ValueError("name photos, folders, @LIST files, or - for a list on standard input")
    status = predict_photos(
        arguments,
        weights=weights,
        out=out,
        side=None if tile else side,
        device=resolve_device(device),
        submission=submission,
        as_json=as_json,
        overlay=overlay,
        shard=shard,
        resume=resume,
    )
    raise typer.Exit(status)


HeldOut = tuple[Path, Path] | None
START = option("A saved net, 'imagenet' or 'scratch'.", show_default="trained on SIFT Flow")


@app.command()
@stoppable()
def fit(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, any sizes.")],
    labels: Annotated[Path, typer.Argument(help="Folder of label maps, named alike; void: 255.")],
    classes: Annotated[Path, typer.Argument(help="Text file, one class per line: sky #9ecae1")],
    start: Annotated[str, START] = str(DEFAULT_NET),
    stride: Annotated[int, option("Stride of the finest scores: 32, 16 or 8.")] = 8,
    epochs: Annotated[float, option("Passes over the photos.")] = 20,
    batch: Annotated[int, option("Batch size.")] = 8,
    micro_batch: Annotated[int, option("Photos per pass, to save memory; 0: --batch.")] = 0,
    rate: Annotated[float | None, option("Learning rate; lower if diverging.")] = None,
    balance: Annotated[float, option("Favour rare classes; 1: inversely to their pixels.")] = 0,
    side: Annotated[int, option("Shrink larger photos to this longer side, px.")] = 512,
    val_list: Annotated[Path | None, option("Names of photos to hold out, one per line.")] = None,
    val_folders: Annotated[HeldOut, option("Photos and label maps to hold out instead.")] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    out: Annotated[Path, option("Folder for the net and its record.")] = Path("runs/own"),
    resume: ResumeOption = False,
) -> None:
    """Fine-tune on your own photos and labels; a tenth is held out and scored at the end.

    A run never replaces another one's files: give each its own folder with --out.
    """
    from fcn.training import finetune

    if val_list and val_folders:
        raise ValueError("--val-list and --val-folders: give one of them")
    net: dict[str, Any] = {"start": start, "stride": stride}
    recipe: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "micro_batch": micro_batch}
    recipe |= {"balance": balance, "side": side, "val": val_list or val_folders}
    if rate is not None:
        recipe["rate"] = rate
    run: dict[str, Any] = {"device": device, "seed": seed, "out": out, "resume": resume}
    fitted = finetune.fit(photos, labels, classes, **net, **recipe, **run, log=_log)
    if is_main_process():
        head = fitted.scores
        _print_metrics("held-out photos", head.metrics, head.classes_counted, len(head.classes))
        print(fitted.per_class().to_string(na_rep="-"))
        weights, record = (quote(str(path)) for path in (fitted.weights, fitted.record))
        print(f"saved {weights} and {record}")
        print(f"try it: python -m fcn predict PHOTO --weights {weights}")


@app.command()
def convert(
    tool: Annotated[str, typer.Argument(help='"labelme", "coco", "cvat" or "voc".')],
    source: Annotated[Path, typer.Argument(help="The tool's folder, .json or .xml.")],
    out: Annotated[Path, option("A new folder for photos/, labels/ and classes.txt.")],
    photos: Annotated[Path | None, option("Folder of the photos.")] = None,
    classes: Annotated[Path | None, option("List of classes that sets their order.")] = None,
    unlabelled: Annotated[str, option('Pixels outside: "background" or "void".')] = "background",
) -> None:
    """Convert the annotations of a labelling tool to the folder that `fit` takes."""
    from fcn.data.convert import run

    settings: dict[str, Any] = {"photos": photos, "classes": classes, "unlabelled": unlabelled}
    names = run.convert(tool, source, out, **settings, log=_log)
    print(f"saved {out}: {len(list((out / 'photos').iterdir()))} photos, {len(names)} classes")
    print(f"train: python -m fcn fit {out}/photos {out}/labels {out}/classes.txt")


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="A net that `train` saved, or 'default'.")],
    out: Annotated[Path | None, option("The file; by default WEIGHTS with suffix .onnx.")] = None,
) -> None:
    """Save a net as ONNX, for images of any size; checked against torch at several sizes."""
    from fcn.export import export as save

    if weights.endswith(".onnx"):
        remedy = f"give a .safetensors net or 'default', and --out {weights}"
        raise ValueError(f"{weights}: not a net to export; {remedy}")
    source = DEFAULT_NET if weights == "default" else Path(weights)
    folder = Path() if INSTALLED and source == DEFAULT_NET else source.parent
    path = out or folder / f"{source.stem}.onnx"
    save(source, path)
    print(f"saved {path}")


@app.command()
def benchmark(
    device: DeviceOption = "cpu",
    save: Annotated[Path | None, option("Save a record in this results folder.")] = None,
    quick: Annotated[bool, option("Narrow nets and tiny photos: try the code.")] = False,
    only: Annotated[str, option("Measure only cases with this text in their names.")] = "",
    rounds: Annotated[int | None, option("Trials of each case.", min=1)] = None,
    minutes: Annotated[
        float | None, option("Start no case after this many minutes.", min=0.01)
    ] = None,
) -> None:
    """Time our nets next to what people would use instead, in turn, in about ten minutes."""
    from fcn.environment import resolve_device
    from fcn.replication.benchmark import run

    settings: dict[str, Any] = {"quick": quick, "only": only, "rounds": rounds, "minutes": minutes}
    for line in run.benchmark(resolve_device(device), save=save, **settings):
        print(line, flush=True)


def _log(line: str) -> None:
    if not is_main_process():
        return
    try:
        print(line, flush=True)
    except OSError:  # nobody reads it any more; that must not end a run
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log_to_stderr(line: str) -> None:
    if is_main_process():
        print(line, file=sys.stderr, flush=True)


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
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(standalone_mode=True)
    except (OSError, ValueError, ArithmeticError) as error:
        _fail(error, re.sub(r"\s*\n\s*", " ", str(error)))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "fcn":
            raise
        extra = EXTRAS.get(error.name.partition(".")[0], "train")
        _fail(error, f'{error.name} is missing; install it with: pip install "fcn-book[{extra}]"')
    except (MemoryError, RuntimeError) as error:
        # torch.OutOfMemoryError, by name: importing torch here would slow every command down.
        exhausted = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not exhausted and "allocate memory" not in str(error):
            raise
        smaller = {"fit": "a smaller --micro-batch or --side", "predict": "a smaller --side"}
        advice = smaller.get(sys.argv[1], "")
        _fail(error, f"not enough memory; use {advice}{', or ' * bool(advice)}a larger machine")


def _fail(error: Exception, line: str) -> None:
    if os.environ.get("FCN_DEBUG"):
        raise error
    print("\n".join([f"fcn: {line}", *getattr(error, "__notes__", ())]), file=sys.stderr)
    sys.exit(2)


def program() -> None:
    """:func:`main` as a process of its own.

    After ``predict`` it ends at once: unloading torch takes half a second and 100 MB of memory.
    """
    try:
        main()
    except SystemExit as end:
        if sys.argv[1:2] == ["predict"] and isinstance(end.code, int):
            with suppress(OSError):  # of a pipe or disk; then Python reports it, as always
                sys.stdout.flush()
                sys.stderr.flush()
                atexit._run_exitfuncs()
                os._exit(end.code)
        raise


if __name__ == "__main__":
    program()
