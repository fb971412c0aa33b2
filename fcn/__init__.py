"""Fully Convolutional Networks for Semantic Segmentation (Long, Shelhamer, Darrell 2015), replicated."""

from fcn import metrics, records
from fcn.geometry import receptive_field
from fcn.models import FCN, load

__all__ = ["FCN", "load", "metrics", "receptive_field", "records"]
