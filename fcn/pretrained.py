"""Weights in and out of a net, by the names of its layers.

Other people's files (``.caffemodel``, ``.pth``, ``.safetensors``, torchvision's enums) become one dictionary of tensors
under Caffe's layer names, for one kind of input: BGR in 0..255 minus the mean. The net's own weights are written as
safetensors.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fcn.caffemodel import read_caffemodel
from fcn.classifiers import CLASSIFIERS

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

    from fcn.models import FCN


def read_weights(source: "str | Path | WeightsEnum", architecture: str) -> dict[str, Tensor]:
    """Read weights for the classifier ``architecture`` as tensors under its layers' names.

    ``source``: a path ending in .caffemodel, .safetensors, .pth or .pt, or a member of torchvision's ``VGG16_Weights``.
    The weights returned take BGR images in 0..255 minus the mean. Where that mean is known to differ from the net's
    own, it is returned as ``mean`` (3 values, BGR): so for torchvision's weights, whose own normalisation (RGB in 0..1,
    divided by the standard deviation) is folded into the first convolution.

    Raises FileNotFoundError where there is no such file, or no connection to fetch it; ValueError for a truncated or
    foreign file, a kind of file or an architecture that is not known, and torchvision weights of another net.
    """
    if architecture not in CLASSIFIERS:
        raise ValueError(f"{architecture}: no such classifier; choose one of {', '.join(CLASSIFIERS)}")
    if isinstance(source, (str, Path)):
        tensors = _read_file(Path(source))
        if any(_TORCHVISION_NAME.fullmatch(name) for name in tensors):
            tensors = _from_torchvision(tensors, _member_published_as(Path(source)), architecture)
    else:
        tensors = _from_torchvision(_fetch(source, architecture), source, architecture)
    _check_finite(tensors, source)
    return tensors


def _check_finite(tensors: Mapping[str, Tensor], source: object) -> None:
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{source}: not every number is finite in {_some(bad)}; fetch or train the weights again")


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".caffemodel":
        return read_caffemodel(path)
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"{path}: unknown kind of weight file; give a .caffemodel, .safetensors, .pth or .pt file")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file; check the path")
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception:  # the two libraries raise a dozen kinds, for what is one trouble to the reader
        raise ValueError(f"{path}: truncated, or not a file of plain tensors; fetch or save it again") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"{path}: holds no dictionary of tensors; save a net's state_dict()")
    return dict(tensors)


_TORCHVISION_NAME = re.compile(r"(features|classifier)\.(\d+)\.(weight|bias)")


def _fetch(member: "WeightsEnum", architecture: str) -> dict[str, Tensor]:
    from torchvision.models import VGG16_Weights  # here, since it takes seconds to import and few calls need it

    if not isinstance(member, VGG16_Weights) or architecture != "vgg16":
        raise ValueError(
            f"{member}: torchvision has no weights for this {architecture}; it has VGG16_Weights for vgg16, "
            "for the others give a .caffemodel file"
        )
    try:
        return dict(member.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:  # the latter for a file whose checksum is wrong
        raise FileNotFoundError(
            f"{member}: cannot be fetched from {member.url} ({error}); fetch it elsewhere and give the file's path"
        ) from None


def _member_published_as(path: Path) -> "WeightsEnum":
    """The enum's member whose published file this is. A file with torchvision's names does not say whether its net
    takes RGB or BGR, 0..1 or 0..255, and conversions of all kinds are about: only the publisher's own are clear."""
    from torchvision.models import VGG16_Weights

    for member in VGG16_Weights:
        if member.url.endswith(f"/{path.name}"):
            return member
    names = " or ".join(Path(member.url).name for member in VGG16_Weights)
    raise ValueError(
        f"{path}: torchvision's layer names, but its input convention is unknown; "
        f"give a member of VGG16_Weights or its published file ({names})"
    )


def _from_torchvision(state: Mapping[str, Tensor], member: "WeightsEnum", architecture: str) -> dict[str, Tensor]:
    """torchvision's ``features.N`` and ``classifier.N``, in order, under the names of the layers of ``architecture``.

    The first convolution is rewritten for BGR in 0..255 minus the mean: ``w (x / 255 - mean) / std`` is
    ``(w / (255 std)) (x - 255 mean)``.
    """
    with torch.device("meta"):  # for the names alone
        ours = list(CLASSIFIERS[architecture]().state_dict())
    if len(state) != len(ours) or not all(_TORCHVISION_NAME.fullmatch(name) for name in state):
        raise ValueError(f"{member}: weights of another net than {architecture}: {_some(list(state))}")
    theirs = sorted(state, key=_place)
    if member.meta["categories"] is None:  # published for their features: the fully connected layers hold nothing
        theirs = [name for name in theirs if name.startswith("features")]
    tensors = {name: state[other] for name, other in zip(ours, theirs, strict=False)}
    normalisation = member.transforms()
    std = torch.tensor(normalisation.std).view(1, 3, 1, 1)
    tensors[ours[0]] = (tensors[ours[0]] / (255 * std)).flip(1)
    tensors["mean"] = 255 * torch.tensor(normalisation.mean).flip(0)
    return tensors


def _place(name: str) -> tuple[bool, int, bool]:
    """Where in torchvision's net a tensor stands: features first, then by number, the weight before the bias."""
    part, number, kind = name.split(".")
    return part == "classifier", int(number), kind == "bias"


# Into a net


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
            raise ValueError(f"{self.source}: weights of another net, wrong shapes: {_some(self.wrong_shape)}")
        if not self.loaded:
            raise ValueError(
                f"{self.source}: weights of another net, no layer of the same name; "
                f"the file has {_some(self.left_over)}; the net has {_some(self.missing)}"
            )


def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], *, allow_missing: Iterable[str] = (), source: str = "weights"
) -> LoadReport:
    """Copy tensors into the parameters and buffers of the same names, in a classifier or in a net with a ``trunk``.

    A name that the module does not have is looked for below its ``trunk``, so that one file serves the classifier and
    the FCN made from it. A fully connected weight (outputs x inputs) is reshaped to the kernel of a convolution of
    the same name (section 3.1). ``mean``, the BGR mean that the file's weights expect to be subtracted, goes to the
    module's buffer of that name; a classifier has none, and its caller subtracts it. Parameters of the layers named in
    ``allow_missing`` are not reported as missing; buffers, whose values a net computes for itself, never are.
    ``source`` names the file in messages.

    Raises ValueError, before anything is copied, where no parameter's name fits or a shape does not.
    """
    targets = module.state_dict(keep_vars=True)
    parameters = {name for name, _ in module.named_parameters()}
    fits: dict[str, Tensor] = {}
    left_over, wrong_shape = [], []
    for name, tensor in tensors.items():
        target = name if name in targets else f"trunk.{name}"
        if target not in targets:
            left_over.append(name)
            continue
        fits[target] = tensor
        shape = targets[target].shape
        if tensor.shape != shape and not _is_fully_connected(tensor, shape):
            wrong_shape.append(f"{name} ({_sides(tensor.shape)} for {_sides(shape)})")
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
            targets[name].copy_(tensor.reshape(targets[name].shape))
    return report


def _is_fully_connected(tensor: Tensor, shape: torch.Size) -> bool:
    """Whether ``tensor`` is the matrix of a fully connected layer that is now a convolution of ``shape``."""
    return tensor.dim() == 2 and len(shape) == 4 and tensor.shape[0] == shape[0] and tensor.numel() == shape.numel()


def load_pretrained(net: "FCN", source: "str | Path | WeightsEnum") -> LoadReport:
    """Read an ImageNet classifier's weights into the trunk of ``net``; its heads are not expected in the file.

    The first filters of a net with a fourth channel, depth, get the mean of the three colours' there, as in the
    authors' release. Raises what ``read_weights`` and ``load_into`` raise.
    """
    tensors = read_weights(source, net.settings["net"])
    if net.inputs == "hha":
        tensors.pop("mean", None)  # of colours
    if net.inputs == "rgbd":
        first = next(iter(net.trunk.state_dict()))
        if first in tensors and tensors[first].ndim == 4:
            tensors[first] = torch.cat((tensors[first], tensors[first].mean(dim=1, keepdim=True)), dim=1)
        if "mean" in tensors:
            tensors["mean"] = torch.cat((tensors["mean"], net.mean[3:].cpu()))
    return load_into(net, tensors, allow_missing=("heads",), source=str(source))


# The net's own files








def _sides(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "no parameters"


PRETRAINED = {
    "alexnet": "bvlc_reference_caffenet.caffemodel",
    "bvlc_alexnet": "bvlc_alexnet.caffemodel",
    "vgg16": "VGG_ILSVRC_16_layers.caffemodel",
    "googlenet": "bvlc_googlenet.caffemodel",
}
