"""One step of training: the gradient of a batch, part by part, and the recipe's update."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fcn.losses import multi_head_loss
from fcn.training.capture import Captured
from fcn.training.evaluate import by_head
from fcn.training.loader import Batch
from fcn.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule


class Step:
    """A step of ``recipe``: called with the batches to take from and the learning rate, it returns the loss, on the
    device.

    A batch is scored in ``parts``, one after the other, or in several processes at once: gradients are averaged between
    processes and added up within one. A mean of pixels is then that of the parts' means, as in Caffe; a sum stays one.
    ``heads`` are those that the net scores, ``weights`` those of each head's classes. With ``log``, and where a batch
    is one part, a GPU carries the step out as one CUDA graph, and ``log`` is told where it cannot.
    """

    def __init__(
        self, fabric: "Fabric", model: "_FabricModule", optimizer: torch.optim.Optimizer, recipe: Recipe,
        heads: list[str], weights: dict[str, Tensor] | None, parts: int, log: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.fabric, self.model, self.optimizer, self.recipe = fabric, model, optimizer, recipe
        self.heads, self.weights, self.parts = heads, weights, parts
        self.share = fabric.world_size if recipe.reduction == "sum" else 1 / parts
        self.captured = Captured(self._whole, log) if log and parts == 1 and fabric.world_size == 1 else None
        if self.captured and fabric.device.type == "cuda" and not recipe.steady:
            for group in optimizer.param_groups:  # a number on the device, which the graph reads anew at each replay
                group["lr"] = torch.zeros((), device=fabric.device)

    def __call__(self, supply: Iterator[Batch], rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * group["multiplier"])
            else:
                group["lr"] = rate * group["multiplier"]
        if self.captured:
            images, labels = next(supply)
            return self.captured(images, *(labels[head] for head in self.heads)).clone()
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.fabric.device)
        for part in range(self.parts):
            images, labels = next(supply)
            with self.fabric.no_backward_sync(self.model, enabled=part < self.parts - 1):
                loss += self._gradient(images, *(labels[head] for head in self.heads))
        self._update()
        return loss if self.recipe.reduction == "sum" else loss / self.parts

    def _whole(self, images: Tensor, *labels: Tensor) -> Tensor:
        """The step of a batch in one part."""
        self.optimizer.zero_grad()
        loss = self._gradient(images, *labels)
        self._update()
        return loss

    def _gradient(self, images: Tensor, *labels: Tensor) -> Tensor:
        """The loss of one part of a batch; its gradient is added to what there is."""
        to_device = self.fabric.to_device
        scores = self.model(to_device(images).contiguous(memory_format=torch.channels_last).float() / 255)
        truth = {head: to_device(label) for head, label in zip(self.heads, labels, strict=True)}
        loss = multi_head_loss(
            by_head(scores, self.heads), truth, self.recipe.reduction, self.recipe.keep, weights=self.weights
        )
        self.fabric.backward(loss * self.share)
        return loss.detach()

    def _update(self) -> None:
        if self.recipe.clip:
            self.fabric.clip_gradients(self.model, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False)
        self.optimizer.step()


