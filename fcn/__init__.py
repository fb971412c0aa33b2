"""Fully Convolutional Networks for Semantic Segmentation (Long, Shelhamer and Darrell, 2015)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn import metrics as metrics
    from fcn.geometry import receptive_field
    from fcn.models import FCN, load

__all__ = ["FCN", "load", "metrics", "receptive_field"]

_HOME = {"FCN": "fcn.models", "load": "fcn.models", "receptive_field": "fcn.geometry"}


def __getattr__(name: str) -> Any:
    """Import the public names on first use (PEP 562): commands without torch start fast."""
    if name == "metrics":
        return import_module("fcn.metrics")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
