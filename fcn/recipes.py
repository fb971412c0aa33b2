"""What an experiment is, and the recipes of the catalogue: the paper's, the authors' heavy one and our own."""

from dataclasses import dataclass, field, replace
from typing import Any

from fcn.models import Fusion
from fcn.solver import Solver
from fcn.upsampling import Upsampling


@dataclass(frozen=True)
class Experiment:
    """A run: which net, on which data, by which recipe, and how it departs from the paper.

    ``start`` names the experiments whose nets it goes on from (section 4.2): one, or one for each stream of a net of
    two. Without any it starts from ImageNet weights, ``weights`` or those of its trunk in ``PRETRAINED``. ``paper`` is
    the table and the row that it replicates, or comes nearest to; ``task`` the one head that is trained and scored
    where that is not all of them. The other settings are those of ``fcn.FCN``.
    """

    name: str
    dataset: str
    net: str
    stride: int
    solver: Solver
    paper: tuple[str, str] | None
    start: tuple[str, ...] = ()
    upsampling: Upsampling = "learned"
    alignment: str = "tight"
    fusion: Fusion = "sum"
    scaled_skips: bool = False
    width: float = 1.0
    task: str = ""
    weights: str = ""
    random_scores: bool = False  # score layers start at random, not at zero
    departures: tuple[str, ...] = field(default=())

    @property
    def inputs(self) -> str:
        """What the net is given: ``rgb``, or the inputs of NYUDv2 that the data set's name ends in."""
        return self.dataset.removeprefix("nyud-") if self.dataset.startswith("nyud-") else "rgb"

    @property
    def initial_weights(self) -> str:
        """The file of ImageNet weights that the trunk starts from; empty for a net that starts at random."""
        return (self.weights or PRETRAINED[self.net]) if self.width == 1 and not self.start else ""

    def but(self, variant: str, *departures: str, solver: dict[str, Any] | None = None, **changes: Any) -> "Experiment":
        """The same run with something changed, called ``<name>-<variant>``; ``solver`` are changes of the recipe."""
        return replace(
            self, name=f"{self.name}-{variant}", solver=replace(self.solver, **(solver or {})),
            departures=self.departures + departures, **changes,
        )  # fmt: skip


PRETRAINED = {
    "alexnet": "bvlc_reference_caffenet.caffemodel",
    "bvlc_alexnet": "bvlc_alexnet.caffemodel",
    "vgg16": "VGG_ILSVRC_16_layers.caffemodel",
    "googlenet": "bvlc_googlenet.caffemodel",
}

# The paper's recipe: the rates of section 4.3 for FCN-32s; "its learning rate is decreased by 100" for each finer net
# (section 4.2). Photos of many sizes are scored one at a time.
RATES = {"alexnet": 1e-3, "bvlc_alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}


def paper_solver(net: str, stride: int, micro_batch: int = 0) -> Solver:
    return Solver(learning_rate=RATES[net] * {32: 1, 16: 1e-2, 8: 1e-4}[stride], micro_batch=micro_batch)


def in_stages(
    name: str, dataset: str, net: str, table: str, rows: dict[int, str], departures: tuple[str, ...] = (),
    micro_batch: int = 0,
) -> list[Experiment]:  # fmt: skip
    """FCN-32s and the finer nets that go on from it, by the paper's recipe; ``rows`` by their stride."""
    return [
        Experiment(
            name.format(stride=f"{s}s"), dataset, net, s, paper_solver(net, s, micro_batch), (table, row),
            start=(name.format(stride=f"{2 * s}s"),) if s < 32 else (), departures=departures,
        )
        for s, row in rows.items()
    ]  # fmt: skip


ALL_STRIDES = {s: f"FCN-{s}s" for s in (32, 16, 8)}

# The heavy recipe of the authors' release: single images drawn with replacement, a summed loss, a high momentum.
HEAVY = Solver(
    learning_rate=1e-10, batch_size=1, optimizer="caffe", momentum=0.99, reduction="sum", replacement=True,
)  # fmt: skip
RELEASED = "the recipe and the net of the authors' release, not the paper's"


def heavily(
    name: str, dataset: str, rates: dict[int, float], images: int, table: str, rows: dict[int, str],
    iterations: int = 100_000,
) -> list[Experiment]:  # fmt: skip
    """FCN-32s and finer VGG16 nets by the heavy recipe, with fixed upsampling and padding as in the release."""
    return [
        Experiment(
            name.format(stride=f"{s}s"), dataset, "vgg16", s,
            replace(HEAVY, learning_rate=rate, epochs=iterations / images), (table, rows[s]),
            start=(name.format(stride=f"{2 * s}s"),) if s < 32 else (),
            upsampling="bilinear", alignment="reference", departures=(RELEASED,),
        )
        for s, rate in rates.items()
    ]  # fmt: skip


# Our own recipe, chosen on the validation part of the training images: all strides at once, AdamW, a decaying rate.
TUNED = Solver(
    learning_rate=2e-4, epochs=9, batch_size=8, optimizer="adamw", weight_decay=0.02, bias_rate=1.0, score_rate=5.0,
    schedule="poly", warmup=0.1, clip=1.0, augment="mirror", precision="bf16-mixed",
)  # fmt: skip
