"""Read ``.caffemodel`` files: the small part of Caffe's format that holds names and numbers.

The message types are built on import, so no generated code ties us to one version of protobuf.
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

# message -> {field: (number, type)}; a capitalized type is a message, "*" marks a repeated field
_SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "int64*")},
    "BlobProto": {
        **{side: (i, "int32") for i, side in enumerate(("num", "channels", "height", "width"), 1)},
        "data": (5, "bytes*"),  # packed floats, read as raw bytes: no Python object per number
        "shape": (7, "BlobShape"),
    },
    "LayerParameter": {"name": (1, "string"), "type": (2, "string"), "blobs": (7, "BlobProto*")},
    "V1LayerParameter": {"name": (4, "string"), "type": (5, "int32"), "blobs": (6, "BlobProto*")},
    "NetParameter": {
        "name": (1, "string"),
        "layers": (2, "V1LayerParameter*"),
        "layer": (100, "LayerParameter*"),
    },
}

_INNER_PRODUCT = (14, "InnerProduct")  # in V1LayerParameter's enum and in LayerParameter


def _build_net_parameter() -> Any:
    # On disk, proto3 equals Caffe's proto2; it also rejects names that are not UTF-8.
    file = descriptor_pb2.FileDescriptorProto(
        name="fcn_caffe_subset.proto", package="fcn_caffe", syntax="proto3"
    )
    for message_name, fields in _SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
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


MOST_SIDES = 32  # of a blob, in Caffe

NetParameter = _build_net_parameter()
"""Message class of a file: ``NetParameter.FromString(bytes)``, ``.SerializeToString()``."""


def read_caffemodel(path: str | Path) -> dict[str, Tensor]:
    """Read all weights of a ``.caffemodel`` file, in the newer or the older (``layers``) format.

    Returns ``{"<layer>.weight": ..., "<layer>.bias": ...}`` in float32, with ``/`` in layer names
    replaced by ``.``; further blobs of a layer are ``<layer>.2`` and so on. As in PyTorch,
    convolutions are outputs x inputs / groups x height x width, fully connected layers outputs x
    inputs. Caffe's nets expect BGR in [0, 255] minus a mean that the file does not contain.

    Raises ValueError if the file is truncated or has another format.
    """
    try:
        net = NetParameter.FromString(Path(path).read_bytes())
    except DecodeError:
        raise ValueError(f"{path}: truncated, or not a .caffemodel file") from None

    tensors: dict[str, Tensor] = {}
    for layer in [*net.layers, *net.layer]:
        for i, blob in enumerate(layer.blobs):
            name = f"{layer.name.replace('/', '.')}.{('weight', 'bias')[i] if i < 2 else i}"
            rank = 1 if i == 1 else 2 if layer.type in _INNER_PRODUCT else 4
            shape, data = _shape(blob, rank), b"".join(blob.data)
            wrong = len(shape) > MOST_SIDES or min(shape, default=0) < 0
            if wrong or 4 * math.prod(shape) != len(data):
                sides = f"{len(shape)} sides" if len(shape) > MOST_SIDES else f"shape {shape}"
                problem = f"{name} holds {len(data)} bytes for {sides}"
                raise ValueError(f"{path}: {problem}; download it again")
            array = np.frombuffer(data, "<f4").astype(np.float32).reshape(shape)
            tensors[name] = torch.from_numpy(array)
    if not tensors:
        raise ValueError(f"{path}: contains no weights; is it the description of a net?")
    return tensors


def _shape(blob: Any, rank: int) -> tuple[int, ...]:
    """The shape of a blob; older files have 4-d shapes with leading ones, which are dropped."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    sides = (blob.num, blob.channels, blob.height, blob.width)
    return sides[4 - rank :] if all(side == 1 for side in sides[: 4 - rank]) else sides
