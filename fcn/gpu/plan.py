"""The runs to be made on a GPU, in order of worth, and how long each should take.

The order says what is given up first when time is short: the paper's schedule on SIFT Flow with three seeds, stage by
stage, is worth most; then what stands beside it, one thing changed at a time; then the other data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fcn.experiments import EXPERIMENTS, Experiment
from fcn.gpu.worker import Job

SEEDS = (0, 1, 2)
ONE = (0,)
BFLOAT16 = "convolutions in bfloat16"

# Images a second that one net, alone on an H100-class GPU, should train: estimates, which the first runs correct.
# At batch 1 the launch of one graph after the other sets the pace, not the arithmetic.
IMAGES_PER_SECOND = {"googlenet": 3000.0, "bvlc_alexnet": 3000.0, "alexnet": 3000.0, "vgg16": 500.0}
SINGLE_IMAGES_PER_SECOND = 350.0
PIXELS = {"sift-flow": 256 * 256, "voc-subset": 500 * 500}  # of an image, beside those of SIFT Flow
IMAGES = {"sift-flow": 2486, "voc-subset": 437}  # to train on
UPKEEP = 0.5  # minutes: to start, to read the data, and to score the net


@dataclass(frozen=True)
class Item:
    """An experiment of the catalogue, with the seeds it is run with."""

    experiment: str
    seeds: Sequence[int] = ONE


PLAN: tuple[Item, ...] = (
    # Table 5 by the paper's solver, 175 epochs a stage
    Item("sift-flow-googlenet-32s", SEEDS),
    Item("sift-flow-googlenet-16s", SEEDS),
    Item("sift-flow-googlenet-8s", SEEDS),
    Item("sift-flow-googlenet-8s-at-once"),
    # one task in place of two
    Item("sift-flow-googlenet-32s-semantic"),
    Item("sift-flow-googlenet-32s-geometric"),
    # the authors' heavy recipe, and the best one known here
    Item("sift-flow-googlenet-32s-heavy"),
    Item("sift-flow-googlenet-8s-best"),
    Item("sift-flow-googlenet-16s-heavy"),
    Item("sift-flow-googlenet-8s-heavy"),
    # another trunk
    Item("sift-flow-bvlc_alexnet-32s"),
    # one thing changed at a time
    Item("sift-flow-googlenet-8s-at-once-bilinear"),
    Item("sift-flow-googlenet-32s-sampled50"),
    Item("sift-flow-googlenet-32s-sampled25"),
    # VOC, of which a part is at hand
    Item("voc-subset-googlenet-32s-long"),
    Item("voc-subset-googlenet-16s-long"),
    Item("voc-subset-googlenet-8s-long"),
    Item("sift-flow-googlenet-8s-best", SEEDS[1:]),
    Item("sift-flow-googlenet-8s-at-once", SEEDS[1:]),
)


def jobs(plan: Sequence[Item] = PLAN, device: str = "cuda") -> list[Job]:
    """The plan's runs, one after the other: all seeds of an item before the next item.

    On CUDA convolutions are in bfloat16 wherever the catalogue has float32, which the records name: the weights, their
    updates and the loss stay in float32. Raises ValueError for an experiment that the catalogue does not have.
    """
    missing = sorted({item.experiment for item in plan} - EXPERIMENTS.keys())
    if missing:
        raise ValueError(f"the plan names {', '.join(missing)}, which the catalogue does not have")
    return [
        Job(_on(device, EXPERIMENTS[item.experiment]), seed, minutes(EXPERIMENTS[item.experiment]))
        for item in plan
        for seed in item.seeds
    ]


def minutes(experiment: Experiment) -> float:
    """How long the run should take on a GPU of its own: an estimate, from the rates above."""
    solver = experiment.solver
    size = PIXELS.get(experiment.dataset, PIXELS["sift-flow"]) / PIXELS["sift-flow"]
    batch = solver.micro_batch or solver.batch_size
    rate = IMAGES_PER_SECOND[experiment.net] / size
    if batch == 1:
        rate = min(rate, SINGLE_IMAGES_PER_SECOND)
    images = solver.epochs * IMAGES.get(experiment.dataset, IMAGES["sift-flow"])
    return UPKEEP + images / rate / 60


def rehearsal(jobs: Sequence[Job], images: int, pretrained: bool) -> list[Job]:
    """The same runs, in the same order, at the smallest size: nets of a tenth of the width unless they start from
    ``pretrained`` weights, two steps of two of the ``images``, under names that no table asks for."""
    return [replace(job, experiment=_rehearsed(job.experiment, images, pretrained), minutes=0.05) for job in jobs]


def _rehearsed(experiment: Experiment, images: int, pretrained: bool) -> Experiment:
    solver = experiment.solver
    batch = 1 if solver.batch_size == 1 else 2
    return replace(
        experiment,
        name=f"rehearsal-{experiment.name}",
        start=tuple(f"rehearsal-{start}" for start in experiment.start),
        solver=replace(solver, epochs=2 * batch / images, batch_size=batch, micro_batch=min(solver.micro_batch, 1),
                       precision="32-true"),
        width=1.0 if pretrained else 0.1,
        paper=None,
        departures=(*experiment.departures, f"a rehearsal: two steps, on {images} photos; no result"),
    )  # fmt: skip


def departing(job: Job, lines: Sequence[str]) -> Job:
    """The job with those of ``lines``, "DATA SET: DEPARTURE", that speak of its data set, as departures of its run.

    Raises ValueError for a line without the name of a data set of the plan before its colon.
    """
    ours = []
    for line in lines:
        name, _, text = line.partition(":")
        if name not in IMAGES or not text.strip():
            raise ValueError(f'--departure "{line}": give "DATA SET: what", with one of {", ".join(IMAGES)}')
        if name == job.experiment.dataset:
            ours.append(text.strip())
    return replace(job, experiment=replace(job.experiment, departures=(*job.experiment.departures, *ours)))


def _on(device: str, experiment: Experiment) -> Experiment:
    if device != "cuda" or experiment.solver.precision != "32-true":
        return experiment
    return replace(
        experiment,
        solver=replace(experiment.solver, precision="bf16-mixed"),
        departures=(*experiment.departures, BFLOAT16),
    )
