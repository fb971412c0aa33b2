"""What an experiment is, and the recipes of the catalogue: the paper's, the authors' heavy one and our own."""

from dataclasses import dataclass, field, replace
from typing import Any

from fcn.models import Fusion
from fcn.pretrained import PRETRAINED
from fcn.training.recipe import Recipe
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
    recipe: Recipe
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
    deviations: tuple[str, ...] = field(default=())

    @property
    def inputs(self) -> str:
        """What the net is given: ``rgb``, or the inputs of NYUDv2 that the data set's name ends in."""
        return self.dataset.removeprefix("nyud-") if self.dataset.startswith("nyud-") else "rgb"

    @property
    def initial_weights(self) -> str:
        """The file of ImageNet weights that the trunk starts from; empty for a net that starts at random."""
        return (self.weights or PRETRAINED[self.net]) if self.width == 1 and not self.start else ""

    def but(self, variant: str, *deviations: str, recipe: dict[str, Any] | None = None, **changes: Any) -> "Experiment":
        """The same run with something changed, called ``<name>-<variant>``; ``recipe`` are changes of the recipe."""
        return replace(
            self, name=f"{self.name}-{variant}", recipe=replace(self.recipe, **(recipe or {})),
            deviations=self.deviations + deviations, **changes,
        )  # fmt: skip














