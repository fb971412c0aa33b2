"""Reading ``.caffemodel`` files: the small part of Caffe's message format that holds names and numbers.

The message types are built when this module is imported, so no generated code is tied to one version of protobuf.
Field numbers are those of ``caffe.proto`` in BVLC Caffe 1.0.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from torch import Tensor

_Field = descriptor_pb2.FieldDescriptorProto

# message -> [(field, number, type)]; a type in capitals is one of the messages, "*" marks a repeated field.
_SCHEMA: dict[str, list[tuple[str, int, str]]] = {
    "BlobShape": [("dim", 1, "int64*")],
    "BlobProto": [
        ("num", 1, "int32"), ("channels", 2, "int32"), ("height", 3, "int32"), ("width", 4, "int32"),
        # Caffe says "repeated float, packed": on disk that is a run of raw bytes. Read as bytes, tens of megabytes
        # need no Python object for each number; the format allows several runs, hence repeated.
        ("data", 5, "bytes*"),
        ("shape", 7, "BlobShape"),
    ],
    "LayerParameter": [("name", 1, "string"), ("type", 2, "string"), ("blobs", 7, "BlobProto*")],
    "V1LayerParameter": [("name", 4, "string"), ("type", 5, "int32"), ("blobs", 6, "BlobProto*")],
    "NetParameter": [("name", 1, "string"), ("layers", 2, "V1LayerParameter*"), ("layer", 100, "LayerParameter*")],
}  # fmt: skip

_INNER_PRODUCT = (14, "InnerProduct")  # in V1LayerParameter's enumeration and in LayerParameter


def _build_net_parameter() -> Any:
    # proto3 differs from Caffe's proto2 in nothing that is on disk, and it refuses names that are not text.
    file = descriptor_pb2.FileDescriptorProto(name="fcn_caffe_subset.proto", package="fcn_caffe", syntax="proto3")
    for message_name, fields in _SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            field = message.field.add(name=name, number=number)
            field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if kind in _SCHEMA:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".fcn_caffe.{kind}"
            else:
                field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("fcn_caffe.NetParameter"))


NetParameter = _build_net_parameter()
"""The message class of a whole file: ``NetParameter.FromString(bytes)``, ``message.SerializeToString()``."""


def read_caffemodel(path: str | Path) -> dict[str, Tensor]:
    """Read every weight of a ``.caffemodel`` file, newest (``layer``) and older (``layers``) format alike.

    Returns ``{"<layer>.weight": ..., "<layer>.bias": ...}`` in float32, with ``/`` in a layer's name read as ``.``.
    Convolutions: outputs x inputs / groups x height x width, fully connected layers: outputs x inputs, as in PyTorch;
    a third and later blob of a layer is named ``<layer>.2`` and so on. Caffe's nets take BGR images in 0..255 minus
    the mean, which the file does not hold.

    Raises FileNotFoundError where there is no such file, ValueError for a truncated or foreign one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weight file; give the path of a .caffemodel file")
    try:
        net = NetParameter.FromString(path.read_bytes())
    except DecodeError:
        raise ValueError(f"{path}: truncated, or not a .caffemodel file; fetch it again") from None

    tensors: dict[str, Tensor] = {}
    for layer in [*net.layers, *net.layer]:
        for i, blob in enumerate(layer.blobs):
            name = f"{layer.name.replace('/', '.')}.{('weight', 'bias')[i] if i < 2 else i}"
            rank = 1 if i == 1 else 2 if layer.type in _INNER_PRODUCT else 4
            shape, data = _shape(blob, rank), b"".join(blob.data)
            if min(shape, default=0) < 0 or 4 * math.prod(shape) != len(data):
                raise ValueError(f"{path}: {name} holds {len(data)} bytes for the shape {shape}; fetch the file again")
            tensors[name] = torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float32).reshape(shape))
    if not tensors:
        raise ValueError(f"{path}: holds no weights; a .caffemodel file is needed, not a net's description")
    return tensors


def _shape(blob: Any, rank: int) -> tuple[int, ...]:
    """The shape of a blob. Before Caffe had shapes all blobs were 4-d, filled with ones in front; these ones go."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    sides = (blob.num, blob.channels, blob.height, blob.width)
    return sides[4 - rank :] if all(side == 1 for side in sides[: 4 - rank]) else sides
