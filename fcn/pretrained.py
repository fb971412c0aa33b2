"""Pretrained weights: read other people's files, copy them into a net by layer name.

Every source (``.caffemodel``, ``.pth``, ``.safetensors``, torchvision's enums) becomes a dictionary
of tensors under Caffe's layer names, for one input convention: BGR in [0, 255] minus the mean.
"""

import hashlib
import json
import math
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from torch import Tensor, nn

from fcn.classifiers import CLASSIFIERS
from fcn.environment import machine_fault
from fcn.preprocessing import Inputs

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

PRETRAINED = {
    "alexnet": "bvlc_reference_caffenet.caffemodel",
    "bvlc_alexnet": "bvlc_alexnet.caffemodel",
    "vgg16": "VGG_ILSVRC_16_layers.caffemodel",
    "googlenet": "bvlc_googlenet.caffemodel",
}
"""File name of the ImageNet weights of each classifier, as released for Caffe."""

IMAGENET_ONLY = ("fc8.", "loss1.", "loss2.", "loss3.")
"""Layers that score ImageNet's classes, which no backbone has."""


def read_weights(source: "str | Path | WeightsEnum", architecture: str) -> dict[str, Tensor]:
    """Read weights for the classifier ``architecture``, by layer name.

    ``source``: a .caffemodel, .safetensors, .pth or .pt file, or a member of torchvision's
    ``VGG16_Weights``, whose normalisation is folded into the first convolution, and whose mean
    (BGR) is returned as ``mean``.

    Raises FileNotFoundError if the file is missing or cannot be downloaded; ValueError for a
    truncated file, an unknown format or architecture, and torchvision weights of another net.
    """
    if architecture not in CLASSIFIERS:
        choices = ", ".join(CLASSIFIERS)
        raise ValueError(f"{architecture}: not a classifier; choose one of {choices}")
    if not isinstance(source, (str, Path)):
        return _from_torchvision(_download(source, architecture), source, architecture)
    tensors = read_tensors(Path(source))
    if any(_TORCHVISION_NAME.fullmatch(name) for name in tensors):
        tensors = _from_torchvision(tensors, _published_as(Path(source)), architecture)
    return tensors


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a .caffemodel, .safetensors, .pth or .pt file as a dictionary of tensors.

    Raises FileNotFoundError if it is missing; ValueError if it has another format, is truncated, or
    contains NaN or infinity, or if it has checksums and does not match them.
    """
    if path.suffix not in (".caffemodel", ".safetensors", ".pth", ".pt"):
        raise ValueError(f"{path}: unknown weight format; give .caffemodel, .safetensors or .pth")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file; check the path")
    if path.suffix == ".caffemodel":
        from fcn.caffemodel import read_caffemodel  # imports protobuf

        tensors = read_caffemodel(path)
    else:
        tensors = _read_state_dict(path)
    if bad := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{path}: NaN or infinity in {first_few(bad)}; download or train it again")
    return tensors


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    metadata: dict[str, str] = {}
    problem = "truncated, or not a file of plain tensors"
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors: object = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        else:
            if not intact(path):
                problem = "damaged, its checksum differs"
                raise ValueError(problem)
            with warnings.catch_warnings(action="ignore"):  # about what we refuse, or need not know
                tensors = torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # the two raise a dozen types for a file they cannot read
        if machine_fault(error):
            raise
        raise ValueError(f"{path}: {problem}; download or save it again") from None
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in tensors.items()
    ):
        raise ValueError(f"{path}: not a dictionary of tensors; save a net's state_dict()")
    # Damage to the entry leaves either its name or the beginning of its value.
    stored = metadata.get(CHECKSUM) or next(
        (value for value in metadata.values() if value.startswith("sha256:")), None
    )
    if stored and stored != checksum(tensors, metadata):
        raise ValueError(f"{path}: damaged, its checksum differs; download or train it again")
    return dict(tensors)


def intact(path: Path) -> bool:
    """True unless a checksum in a file of torch.save differs: torch.load does not compare them.

    Files of PyTorch before 1.6, which are not zip files, have none.
    """
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


CHECKSUM = "checksum"
"""The entry of a net's metadata with its checksum."""


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The SHA-256 of all tensors and of the metadata, except for the checksum itself."""
    entries = sorted((key, value) for key, value in metadata.items() if key != CHECKSUM)
    digest = hashlib.sha256(json.dumps(entries).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), *tensor.shape]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256:{digest.hexdigest()}"


def first_few(names: Sequence[str]) -> str:
    """``names``, for a message: the first three and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "no parameters"


_TORCHVISION_NAME = re.compile(r"(features|classifier)\.(\d+)\.(weight|bias)")


def _download(member: "WeightsEnum", architecture: str) -> dict[str, Tensor]:
    from torchvision.models import VGG16_Weights  # takes seconds to import

    if not isinstance(member, VGG16_Weights) or architecture != "vgg16":
        problem = f"torchvision has no weights for this {architecture}"
        given = str(member) if isinstance(member, Enum) else f"a {type(member).__name__}"
        raise ValueError(f"{given}: {problem}; give VGG16_Weights for vgg16 or a .caffemodel file")
    try:
        return dict(member.get_state_dict(progress=True, check_hash=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: wrong checksum
        problem = f"cannot be downloaded from {member.url} ({error})"
        raise FileNotFoundError(f"{member}: {problem}; give the path of the file") from None


def _published_as(path: Path) -> "WeightsEnum":
    """The member of ``VGG16_Weights`` published under the name of ``path``.

    Layer names do not tell whether a net expects RGB or BGR, [0, 1] or [0, 255].
    """
    from torchvision.models import VGG16_Weights

    for member in VGG16_Weights:
        if member.url.endswith(f"/{path.name}"):
            return member
    names = " or ".join(Path(member.url).name for member in VGG16_Weights)
    problem = "torchvision's layer names, but its input convention is unknown"
    raise ValueError(f"{path}: {problem}; give VGG16_Weights or its published file ({names})")


def _from_torchvision(
    state: Mapping[str, Tensor], member: "WeightsEnum", architecture: str
) -> dict[str, Tensor]:
    """Rename torchvision's tensors, in order, to those of ``architecture``.

    The first convolution is rewritten for BGR in [0, 255] minus the mean:
    ``w (x / 255 - mean) / std`` equals ``(w / (255 std)) (x - 255 mean)``.
    """
    with torch.device("meta"):  # only the names are needed
        ours = list(CLASSIFIERS[architecture]().state_dict())
    if len(state) != len(ours) or not all(_TORCHVISION_NAME.fullmatch(name) for name in state):
        raise ValueError(f"{member}: not weights of {architecture}: {first_few(list(state))}")
    # Features first, then by number, weight before bias.
    theirs = sorted(state, key=lambda n: (n[0] == "c", int(n.split(".")[1]), n.endswith("bias")))
    if member.meta["categories"] is None:  # only the convolutions of this member were trained
        theirs = [name for name in theirs if name.startswith("features")]
    tensors = {name: state[other] for name, other in zip(ours, theirs, strict=False)}
    normalisation = member.transforms()
    std = torch.tensor(normalisation.std).view(1, 3, 1, 1)
    tensors[ours[0]] = (tensors[ours[0]] / (255 * std)).flip(1)
    tensors["mean"] = 255 * torch.tensor(normalisation.mean).flip(0)
    return tensors


@dataclass(frozen=True)
class LoadReport:
    """Names of tensors, after loading a file into a net."""

    loaded: tuple[str, ...]  # parameters and buffers of the net that were set
    missing: tuple[str, ...]  # parameters of the net that the file does not contain
    left_over: tuple[str, ...]  # tensors of the file that the net does not have


def load_into(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str = "weights"
) -> LoadReport:
    """Copy ``tensors`` into the parameters and buffers of ``module`` of the same names.

    Other names are looked up in its ``trunk``, so one file serves both the classifier and its FCN;
    fully connected weights become convolutions (section 3.1). Raises ValueError, naming ``source``,
    before copying anything, if no name matches or a shape differs.
    """
    targets = module.state_dict(keep_vars=True)
    parameters = [name for name, _ in module.named_parameters()]
    found: dict[str, Tensor] = {}
    left_over, wrong = [], []
    for name, tensor in tensors.items():
        target = name if name in targets else f"trunk.{name}"
        if target not in targets:
            left_over.append(name)
            continue
        found[target] = tensor
        shape = targets[target].shape
        flat = (shape[0], math.prod(shape[1:])) if len(shape) == 4 else shape
        if tensor.shape not in (shape, flat):
            sides, expected = ("x".join(map(str, s)) for s in (tensor.shape, shape))
            wrong.append(f"{name} ({sides} instead of {expected})")
    if wrong:
        raise ValueError(f"{source}: weights of another net, wrong shapes: {first_few(wrong)}")
    if found.keys().isdisjoint(parameters):
        names = f"the file has {first_few(left_over)}; the net has {first_few(parameters)}"
        raise ValueError(f"{source}: weights of another net, no layer of the same name; {names}")
    with torch.no_grad():
        for name, tensor in found.items():
            targets[name].copy_(tensor.reshape(targets[name].shape))
    missing = tuple(name for name in parameters if name not in found)
    return LoadReport(tuple(found), missing, tuple(left_over))


def load_pretrained(
    net: nn.Module, source: "str | Path | WeightsEnum", architecture: str, inputs: Inputs
) -> LoadReport:
    """Copy ImageNet weights for ``architecture`` into the backbone of ``net``, an FCN.

    For "rgbd" the first filters get the mean of their colours as a fourth channel, as in the
    authors' release. Warns if the file contains more than a classifier or lacks layers.
    """
    tensors = read_weights(source, architecture)
    if inputs == "hha":
        tensors.pop("mean", None)  # a mean colour, no use for HHA
    if inputs == "rgbd":
        first = next(name for name, _ in net.get_submodule("trunk").named_parameters())
        if first in tensors and tensors[first].ndim == 4:
            depth = tensors[first].mean(dim=1, keepdim=True)
            tensors[first] = torch.cat((tensors[first], depth), dim=1)
        if "mean" in tensors:
            tensors["mean"] = torch.cat((tensors["mean"], net.get_buffer("mean")[3:].cpu()))
    report = load_into(net, tensors, str(source))
    report = replace(report, missing=tuple(n for n in report.missing if n.startswith("trunk.")))
    problems = []
    if report.missing:
        problems.append(f"lacks {first_few(report.missing)}, which keep their initial values")
    if unused := [name for name in report.left_over if not name.startswith(IMAGENET_ONLY)]:
        problems.append(f"left out {first_few(unused)}")
        if str(source).endswith(".safetensors"):
            problems.append("for the whole net call fcn.load or, to start from it, upgrade_from")
        elif any(name.startswith("score") for name in unused):  # a net of the authors' release
            problems.append(
                "for the whole net call fcn.replication.released.load or run "
                "`python -m fcn evaluate EXPERIMENT --weights FILE`"
            )
    if problems:
        warnings.warn(f"{source}: {'; '.join(problems)}", stacklevel=3)  # names the user's line
    return report
