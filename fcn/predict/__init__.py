"""Segment photos with a saved net: coloured label maps, overlays with a legend, class shares.

The net runs in torch, or in ONNX Runtime if ``fcn export`` has saved it; then torch, which takes
seconds to import, is not needed. Arrays are numpy's: photos H x W x 3, uint8, RGB; labels H x W.

``nets`` runs a net, ``segmenter`` labels photos with it (``tiles``, ``enlarge``), ``photo`` and
``geotiff`` read photos of any size, ``legend`` draws; ``inputs``, ``output`` and ``run`` do that
for millions of them.
"""

from fcn.predict.enlarge import enlarged_argmax
from fcn.predict.legend import overlay
from fcn.predict.nets import OnnxNet, TorchNet
from fcn.predict.output import Shares, label_map, shares, submit, write
from fcn.predict.segmenter import Segmenter

__all__ = [
    "OnnxNet",
    "Segmenter",
    "Shares",
    "TorchNet",
    "enlarged_argmax",
    "label_map",
    "overlay",
    "shares",
    "submit",
    "write",
]
