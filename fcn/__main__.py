"""The command line: ``python -m fcn list | train | evaluate | predict | fit``."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from fcn import metrics
from fcn.replication import catalogue, paper, tables
from fcn.replication import experiment as experiment_module
from fcn.training import recipe, record

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "results"
DEFAULT_NET = PROJECT / "weights" / "sift-flow-googlenet-8s-tuned.seed0.safetensors"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Fully convolutional networks for semantic segmentation: rerun the paper's experiments, segment photos.",
)  # fmt: skip

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the data sets; by default FCN_DATA.")]
DeviceOption = Annotated[str, typer.Option(help='"auto", "cpu", "cuda" or "mps".')]


@app.command("list")
def list_experiments(
    as_json: Annotated[bool, typer.Option("--json", help="Everything as JSON.")] = False,
    results: Annotated[Path, typer.Option(help="Folder of the records.")] = RESULTS,
) -> None:
    """Every experiment: the published numbers, ours, or the command that would record them."""
    recorded = record.load(results) if results.is_dir() or results != RESULTS else []
    entries = [_entry(e, recorded) for e in catalogue.EXPERIMENTS.values()]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    console = Console(width=None if sys.stdout.isatty() else 200, soft_wrap=not sys.stdout.isatty())
    console.print("Percent: pixel acc. / mean acc. / mean IU / f.w. IU. --json gives everything.")
    for title, members in _grouped(entries).items():
        table = Table(box=None, show_header=False)
        for entry in members:
            table.add_row(*(part for part in _parts(entry) if part))
        console.print(f"\n{title}", highlight=False)
        console.print(table)


def _grouped(entries: list[dict]) -> dict[str, list[dict]]:
    """The entries below the titles of the paper's tables, then those that stand in none, by their data."""
    titles = {name: f"{name}: {title}" for name, title in paper.TITLES.items()}
    groups: dict[str, list[dict]] = {title: [] for title in titles.values()}
    for entry in entries:
        table = entry["paper"].partition(",")[0]
        data = catalogue.EXPERIMENTS[entry["experiment"]].dataset
        groups.setdefault(titles.get(table, f"Beside the tables: {data}"), []).append(entry)
    return {title: members for title, members in groups.items() if members}


def _parts(entry: dict) -> tuple[str, str, str]:
    """What a line of the list says: the experiment, the published row, and ours or the command that records it."""
    row = entry["paper"].partition(", ")[2]
    ours = "; ".join(f"{_numbers(r['metrics'])} (seed {r['seed']}, {r['purpose']})" for r in entry["recorded"])
    published = f"{row} {_numbers(entry['published'])}" if row else ""
    return entry["experiment"], published, ours or f"not run: {entry['command']}"


def _entry(e: experiment_module.Experiment, recorded: list[record.Record]) -> dict:
    rows = [r for r in paper.TABLES if r.experiment == e.name or (r.table, r.label) == e.paper]
    published = next((r.metrics for r in sorted(rows, key=lambda r: r.experiment != e.name)), {})
    ours = [r for r in recorded if r.experiment == e.name]
    return {
        "experiment": e.name,
        "paper": ", ".join(e.paper) if e.paper else "none",
        "published": published,
        "recorded": [
            {
                "seed": r.seed,
                "purpose": r.purpose,
                "file": r.file_name,
                "metrics": tables.scores(r),
            }
            for r in ours
        ],
        "deviations": list(e.deviations),
        "command": f"python -m fcn train {e.name}",
    }


def _numbers(metrics: dict[str, float]) -> str:
    return " / ".join(f"{metrics[m]:.1f}" if m in metrics else "-" for m in paper.METRICS)


@app.command()
def train(
    experiment: Annotated[str, typer.Argument(help="A name from `list`.")],
    data: DataOption = None,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    validation: Annotated[
        bool, typer.Option("--validation", help="Train without the validation part and score on it.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where checkpoints and the net go.")] = Path("runs"),
    results: Annotated[Path, typer.Option(help="Where the record goes.")] = RESULTS,
    deviation: Annotated[
        list[str] | None, typer.Option(help="A deviation from the paper that this run alone has; may be repeated.")
    ] = None,
) -> None:
    """Train, score and record an experiment. Under torchrun, several processes share each batch."""
    from fcn.replication import run
    from fcn.training.evaluate import is_main_process

    path = run.run(
        catalogue.find(experiment), purpose="validation" if validation else "final", data=data, device=device,
        seed=seed, resume=resume, out=out, results=results, deviations=tuple(deviation or ()),
        log=lambda line: print(line, flush=True),
    )  # fmt: skip
    if is_main_process():
        for name, head in record.read(path).heads.items():
            _print_metrics(name, head.metrics, len(head.classes))
        print(f"recorded in {path}")


@app.command()
def evaluate(
    experiment: Annotated[str, typer.Argument(help="A name from `list`: says the data and the split.")],
    weights: Annotated[Path, typer.Option(help="The net: what `train` saved, or the authors' .caffemodel.")],
    data: DataOption = None,
    device: DeviceOption = "auto",
    validation: Annotated[bool, typer.Option("--validation", help="Score on the validation part.")] = False,
) -> None:
    """Score a net on an experiment's test split."""
    from fcn.replication import released, run

    found = catalogue.find(experiment)
    purpose = "validation" if validation else "final"
    for name, matrix in run.score(found, weights, data=data, device=device, purpose=purpose).items():
        _print_metrics(name, matrix.metrics(), matrix.num_classes)
    if weights.suffix == ".caffemodel" and not validation:
        print(released.find(weights).expectation())


def _print_metrics(head: str, m: "metrics.Metrics", classes: int) -> None:
    print(
        f"{head}: pixel acc. {m.pixel_accuracy:.2f}  mean acc. {m.mean_accuracy:.2f}  mean IU {m.mean_iu:.2f}  "
        f"f.w. IU {m.frequency_weighted_iu:.2f}  ({m.classes_counted} of {classes} classes present)"
    )


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Photos of any size.")],
    weights: Annotated[Path, typer.Option(help="The net; by default the one trained on SIFT Flow.")] = DEFAULT_NET,
    out: Annotated[Path, typer.Option(help="Where the label maps and overlays go.")] = Path("."),
    side: Annotated[int, typer.Option(min=32, help="Larger photos are scored at this size (longer side, px).")] = 512,
    device: DeviceOption = "cpu",
    submission: Annotated[
        Path | None, typer.Option(help="Write only the folder that PASCAL VOC's test server takes, and here.")
    ] = None,
) -> None:
    """Segment photos: a label map (palette PNG), an overlay with a legend, and the share of each class."""
    from fcn.environment import resolve_device
    from fcn.predict import Segmenter, submit, write

    named = {image.stem: image for image in images}
    if twins := [image for image in images if named[image.stem] is not image]:
        raise ValueError(
            f"{twins[0]} and {named[twins[0].stem]}: their results would have one name; predict one by one"
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
        print(f"to hand in: tar czf results.tgz -C {submission} results")


@app.command()
def fit(
    photos: Annotated[Path, typer.Argument(help="Folder of photos, of any sizes.")],
    labels: Annotated[Path, typer.Argument(help="Folder of label maps: PNGs of the same names, void 255.")],
    classes: Annotated[Path, typer.Argument(help="Text file: a class a line, from label 0 on; or: sky #9ecae1")],
    start: Annotated[
        str,
        typer.Option(
            help='Where the trunk begins: a net that was saved, "imagenet" or "scratch".',
            show_default="the net trained on SIFT Flow",
        ),
    ] = str(DEFAULT_NET),
    stride: Annotated[int, typer.Option(help="Of the finest scores: 32, 16 or 8.")] = 8,
    epochs: Annotated[float, typer.Option(help="How often each photo is seen.")] = 20,
    batch: Annotated[int, typer.Option(help="Photos a step.")] = 8,
    rate: Annotated[
        float, typer.Option(help="The learning rate; lower it where the loss is not finite.")
    ] = recipe.TUNED.learning_rate,
    side: Annotated[int, typer.Option(help="Larger photos are learned at this size (longer side, px).")] = 512,
    device: DeviceOption = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything random.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the net and its record go.")] = Path("runs/own"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
) -> None:
    """Train on photos and labels of your own; a tenth is held out, and scored at the end."""
    from fcn.training import finetune
    from fcn.training.evaluate import is_main_process

    fitted = finetune.fit(
        photos, labels, classes, start=start, stride=stride, epochs=epochs, batch_size=batch, rate=rate,
        side=side, device=device, seed=seed, out=out, resume=resume, log=lambda line: print(line, flush=True),
    )  # fmt: skip
    if is_main_process():
        _print_metrics("held-out photos", fitted.scores.metrics, len(fitted.scores.classes))
        print(fitted.per_class().to_string(na_rep="-"))
        print(f"saved {fitted.weights} and {fitted.record}")
        print(f"try it: python -m fcn predict PHOTO --weights {fitted.weights}")


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit status 2."""
    warnings.filterwarnings("ignore", module="PIL")  # of a photo that is then read, or refused in a line of our own
    try:
        app(standalone_mode=True)
    except (OSError, ValueError, ArithmeticError) as error:
        if os.environ.get("FCN_DEBUG"):
            raise
        print("fcn:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
        if os.environ.get("FCN_DEBUG") or not out_of_memory:
            raise
        print("fcn: not enough memory; score photos at a smaller --side, or use a larger machine", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
