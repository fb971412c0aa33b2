"""Export a net to ONNX, for runtimes without torch: ``fcn predict``, browsers, phones.

The graph takes ``images``, N x 3 x H x W, RGB in [0, 1], at least 32 pixels (``smallest``) high and
wide, and returns the scores of each head, N x C x H x W. Its metadata holds the metadata of the
.safetensors file (settings, classes, palette), its SHA-256 (``source``) and the net's ``mean``.
"""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn

from fcn import models
from fcn.environment import atomic_write, sha256

if TYPE_CHECKING:
    import onnx

OPSET = 20
SIZES = ((1, 64, 96), (2, 97, 33), (1, 131, 250))  # images, height, width: where outputs must agree
TOLERANCE = 1e-4  # of the scores, relative to the largest


class _Scores(nn.Module):
    """A net with its scores as a tuple, in the order of its heads."""

    def __init__(self, net: models.Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        scores = self.net(images)
        return (scores,) if isinstance(scores, Tensor) else tuple(scores.values())


def export(weights: Path, path: Path) -> None:
    """Save the net ``weights`` (.safetensors) as ONNX to ``path``.

    Weights that 16 bits hold exactly are stored in 16 bits, and cast by the graph. Before the file
    is written, ONNX Runtime must find the classes that torch finds. Raises FileNotFoundError and
    ValueError as ``models.load`` does, ArithmeticError if the scores differ.
    """
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401 (torch needs it)

    if Path(path).suffix.lower() != ".onnx":
        raise ValueError(f"{path}: not a name for an ONNX file; give one that ends in .onnx")
    net = models.load(weights)
    if not isinstance(net, models.FCN) or net.inputs != "rgb":
        inputs = net.settings["inputs"].upper()
        raise ValueError(f"{weights}: a net for {inputs}; give one for colour photos")
    with safe_open(weights, "np") as file:
        metadata = file.metadata()
    metadata |= {"settings": json.dumps(net.settings), "source": sha256(weights)}
    metadata |= {"smallest": json.dumps(models.SMALLEST)}
    metadata |= {"mean": json.dumps(net.mean.flip(0).tolist())}  # RGB

    module = _Scores(net)
    model = traced(module, list(net.classes))
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    in_16_bits(model)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for size in SIZES:
        _check(module, session, size)
    with atomic_write(path) as partial:
        partial.write_bytes(data)


def traced(module: nn.Module, heads: list[str]) -> "onnx.ModelProto":
    """The graph of a net, for any number of images of any size, without traces of its source."""
    batch, height, width = (
        torch.export.Dim(name, min=low)
        for name, low in (("batch", 1), ("height", models.SMALLEST), ("width", models.SMALLEST))
    )
    with warnings.catch_warnings(action="ignore"):  # deprecations inside torch
        program = torch.onnx.export(
            module,
            (torch.rand(2, 3, 96, 128),),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            dynamic_shapes=({0: batch, 2: height, 3: width},),
            input_names=["images"],
            output_names=heads,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    parts: list[Any] = [model.graph, *model.graph.node]
    for part in parts:
        del part.metadata_props[:]  # quotes from the source, with paths
    del model.graph.value_info[:]
    for output in model.graph.output:
        for axis, name in {2: "height", 3: "width"}.items():
            output.type.tensor_type.shape.dim[axis].dim_param = name
    return model


def in_16_bits(model: "onnx.ModelProto") -> None:
    """Store the float32 tensors that 16 bits hold exactly in 16 bits, followed by a cast."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = model.graph, []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size > 16 and np.array_equal(half, values):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        graph.node.insert(0, cast)


def _check(module: nn.Module, session: Any, size: tuple[int, int, int]) -> None:
    """Raise ArithmeticError unless ONNX Runtime's scores for noise of this size are torch's."""
    count, height, width = size
    images = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = [scores.numpy() for scores in module(images)]
    found = session.run(None, {"images": images.numpy()})
    names = [output.name for output in session.get_outputs()]
    for name, ours, theirs in zip(names, found, expected, strict=True):
        where = f"{name} of {height} x {width} pixels"
        if ours.shape != theirs.shape:
            raise ArithmeticError(f"not saved: {where} have the shape {ours.shape}")
        worst = np.abs(ours - theirs).max()
        if not worst <= TOLERANCE * np.abs(theirs).max():
            raise ArithmeticError(f"not saved: {where} differ from torch's by {worst:g}")
        ordered = np.sort(theirs, axis=1)
        clear = ordered[:, -1] - ordered[:, -2:][:, 0] > 2 * worst
        if (ours.argmax(1) != theirs.argmax(1))[clear].any():
            raise ArithmeticError(f"not saved: {where} have other classes than torch's")
