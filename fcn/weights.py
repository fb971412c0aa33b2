"""Pretrained weights from other people's files, into the same named layers, and weights of our own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcn.caffe import read_caffemodel

__all__ = ["LoadReport", "load_into", "read_caffemodel"]


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor of a weight file, by name.

    ``loaded`` are the net's parameters and buffers that were set; ``missing`` its parameters that the file does not
    hold and that keep the values they had; ``left_over`` the file's tensors that the net has no place for;
    ``wrong_shape`` those whose name fits and whose shape does not, with both shapes.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    wrong_shape: tuple[str, ...]

    def summary(self) -> str:
        """One line a kind, the names of everything that did not fit included."""
        lines = [f"{self.source}: {len(self.loaded)} tensors loaded"]
        for kind in ("missing", "left_over", "wrong_shape"):
            if names := getattr(self, kind):
                lines.append(f"{kind.replace('_', ' ')} ({len(names)}): {', '.join(names)}")
        return "\n".join(lines)

    def raise_if_bad(self) -> None:
        """Raise ValueError where nothing was loaded, or where a shape does not fit: these are another net's weights."""
        if self.wrong_shape:
            raise ValueError(f"{self.source}: weights of another net, wrong shapes: {', '.join(self.wrong_shape)}")
        if not self.loaded:
            raise ValueError(
                f"{self.source}: weights of another net, no layer of the same name; "
                f"the file has {_some(self.left_over)}, the net {_some(self.missing)}"
            )


def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], *, allow_missing: Iterable[str] = (), source: str = "weights"
) -> LoadReport:
    """Copy tensors into the parameters and buffers of the same names, in a classifier or in a net with a ``trunk``.

    A name that the module does not have is looked for below its ``trunk``, so that one file serves the classifier and
    the FCN made from it. A fully connected weight (outputs x inputs) is reshaped to the kernel of a convolution of
    the same name (section 3.1). ``mean``, the BGR mean that the file's weights expect to be subtracted, goes to the
    module's buffer of that name. Parameters of the layers named in ``allow_missing`` are not reported as missing;
    buffers, whose values a net computes for itself, never are. ``source`` names the file in messages.

    Raises ValueError, before anything is copied, where nothing fits or a shape does not.
    """
    targets = module.state_dict(keep_vars=True)
    parameters = {name for name, _ in module.named_parameters()}
    fits: dict[str, Tensor] = {}
    left_over, wrong_shape = [], []
    for name, tensor in tensors.items():
        target_name = name if name in targets else f"trunk.{name}"
        if target_name not in targets:
            left_over.append(name)
            continue
        shape = targets[target_name].shape
        if tensor.shape == shape or _is_convolutionalized(tensor, shape):
            fits[target_name] = tensor.reshape(shape)
        else:
            wrong_shape.append(f"{name} {_sides(tensor.shape)} for {_sides(shape)}")
    allowed = tuple(f"{layer}." for layer in allow_missing)
    missing = [
        name for name in targets
        if name in parameters and name not in fits and not name.removeprefix("trunk.").startswith(allowed)
    ]  # fmt: skip
    loaded = tuple(fits) if parameters & fits.keys() else ()
    report = LoadReport(source, loaded, tuple(missing), tuple(left_over), tuple(wrong_shape))
    report.raise_if_bad()
    with torch.no_grad():
        for name, tensor in fits.items():
            targets[name].copy_(tensor)
    return report


def _is_convolutionalized(tensor: Tensor, shape: torch.Size) -> bool:
    return tensor.dim() == 2 and len(shape) == 4 and tensor.shape[0] == shape[0] and tensor.numel() == shape.numel()


def _sides(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
