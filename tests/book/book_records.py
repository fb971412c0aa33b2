"""Records made up for the tests of the book."""

from dataclasses import asdict

from fcn.metrics import ConfusionMatrix
from fcn.replication.benchmark.record import Benchmark, Case, Variant
from fcn.replication.catalogue import EXPERIMENTS
from fcn.training.record import Data, Head, Record, Split

TWO_CLASSES = {"semantic": (("sky", "tree"), [[8, 2], [4, 6]])}
TUNED = EXPERIMENTS["sift-flow-googlenet-8s-tuned"]


def head(classes, matrix) -> Head:
    return Head.scored(tuple(classes), ConfusionMatrix.from_matrix(matrix))


def record(experiment, heads=None, dataset="sift-flow", purpose="final", **fields) -> Record:
    """A run of ``experiment``; ``heads`` are classes and confusion matrices by name."""
    usual = {
        "seed": 0,
        "deviations": (),
        "dataset": Data(dataset, Split("trainval", 2486, "a"), Split("test", 200, "b")),
        "initial_weights": None,
        "net": TUNED.net_settings,
        "recipe": asdict(TUNED.recipe),
        "images_seen": 1,
        "versions": {},
        "commit": None,
        "hardware": "",
        "seconds": 3600.0,
        "curve": [],
    }
    heads = {name: head(*of_one) for name, of_one in (heads or TWO_CLASSES).items()}
    return Record(experiment=experiment, purpose=purpose, heads=heads, **(usual | fields))


def points(losses, batch=20, start=1):
    """A learning curve with these losses."""
    return [
        {"step": i, "images": batch * i, "loss": float(loss), "learning_rate": 0.01}
        for i, loss in enumerate(losses, start=start)
    ]


def timed(trials, hardware="", **fields) -> Benchmark:
    """A benchmark of plain nets of ours with these trials, {workload: milliseconds}."""
    usual = {
        "device": "cpu",
        "hardware": hardware,
        "threads": 2,
        "versions": {},
        "commit": None,
        "rates": {"float32": [1e9]},
        "profiles": [],
        "commands": [],
        "skipped": [],
        "total": 1.0,
    }
    cases = [
        Case(work, Variant(alignment=alignment), [t / 1000 for t in times], 1.0, None, None)
        for work, times in trials.items()
        for alignment in ("tight", "reference")
    ]
    return Benchmark(cases=cases, **(usual | fields))
