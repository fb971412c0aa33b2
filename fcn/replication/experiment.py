"""An experiment: one row of the catalogue, with everything that a run needs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fcn.training.recipe import Recipe
from fcn.training.record import Deviation, Purpose

if TYPE_CHECKING:
    from fcn.models import Fusion
    from fcn.upsampling import Upsampling


@dataclass(frozen=True)
class Experiment:
    """A net, its data and the recipe that trains it. The other settings are those of ``fcn.FCN``.

    ``paper`` is the table and row that the experiment replicates, or comes closest to. ``start``
    names the experiments whose nets it starts from (section 4.2): one, or one per stream of late
    fusion. If empty, the backbone starts from ImageNet weights: the file ``weights``, or that
    of ``fcn.pretrained.PRETRAINED``. ``task`` is the only head that is trained and scored; empty:
    all of them. ``deviations`` from the paper are those that no setting can express; the others
    are derived (``fcn.replication.deviations``). ``purpose``: trials of a recipe are scored on the
    validation part of the training images, never on the test images.
    """

    name: str
    dataset: str
    net: str
    stride: int
    recipe: Recipe
    paper: tuple[str, str] | None = None
    start: tuple[str, ...] = ()
    upsampling: "Upsampling" = "learned"
    alignment: str = "tight"
    fusion: "Fusion" = "sum"
    scaled_skips: bool = False
    width: float = 1.0
    task: str = ""
    weights: str = ""
    random_scores: bool = False  # initialize score layers at random instead of at zero
    deviations: tuple[Deviation, ...] = ()
    purpose: Purpose = "final"

    @property
    def inputs(self) -> str:
        """The images that the net takes: ``rgb``, or the suffix of an NYUDv2 data set."""
        return self.dataset.removeprefix("nyud-") if self.dataset.startswith("nyud-") else "rgb"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of ``fcn.models.build``, without the heads."""
        names = ("net", "stride", "alignment", "upsampling", "width", "inputs", "fusion")
        return {name: getattr(self, name) for name in (*names, "scaled_skips")}

    @property
    def net_settings(self) -> dict[str, Any]:
        """The entry ``net`` of a record: ``settings``, initial scores and task."""
        return self.settings | {"random_scores": self.random_scores, "task": self.task}

    @property
    def initial_weights(self) -> str:
        """The file of ImageNet weights that the backbone starts from; empty if it has none."""
        from fcn.pretrained import PRETRAINED  # imports torch

        return (self.weights or PRETRAINED[self.net]) if self.width == 1 and not self.start else ""
