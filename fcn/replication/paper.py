"""What others published: the paper's tables row by row, the authors' release, and other replications.

Numbers are percent, times milliseconds. A row names the experiment of the catalogue that replicates it.
"""

from dataclasses import dataclass

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")


@dataclass(frozen=True)
class Row:
    """One published row: the table it stands in, its label there, its numbers, and the experiment that replicates it.

    ``metrics`` are of the head or class set named in ``of``; what a row does not report is absent. ``note`` says what
    sets a number that others published apart from the paper's.
    """

    table: str
    label: str
    metrics: dict[str, float]
    of: str = ""
    experiment: str = ""
    note: str = ""


def _row(
    table: str,
    label: str,
    *values: float | None,
    of: str = "",
    experiment: str = "",
    note: str = "",
    **more: float,
) -> Row:
    named = {m: v for m, v in zip(METRICS, values, strict=False) if v is not None}
    return Row(table, label, named | more, of, experiment, note)


TITLES = {
    "Table 1": "Three classifiers made fully convolutional, PASCAL VOC 2011 val",
    "Table 2": "Skip connections, the seg11valid part of PASCAL VOC 2011 val",
    "Table 3": "PASCAL VOC 2011 and 2012 test",
    "Table 4": "NYUDv2, 40 classes",
    "Table 5": "SIFT Flow, 33 semantic and 3 geometric classes",
    "Table 6": "PASCAL-Context, 59 and 33 classes",
}

TABLES: tuple[Row, ...] = (
    _row(
        "Table 1", "FCN-AlexNet", None, None, 39.8, experiment="voc2011-alexnet-32s", forward_ms=50
    ),
    _row("Table 1", "FCN-VGG16", None, None, 56.0, experiment="voc2011-vgg16-32s", forward_ms=210),
    _row(
        "Table 1",
        "FCN-GoogLeNet",
        None,
        None,
        42.5,
        experiment="voc2011-googlenet-32s",
        forward_ms=59,
    ),
    _row("Table 2", "FCN-32s-fixed", 83.0, 59.7, 45.4, 72.0, experiment="voc-vgg16-32s-fixed"),
    _row("Table 2", "FCN-32s", 89.1, 73.3, 59.4, 81.4, experiment="voc-vgg16-32s"),
    _row("Table 2", "FCN-16s", 90.0, 75.7, 62.4, 83.0, experiment="voc-vgg16-16s"),
    _row("Table 2", "FCN-8s", 90.3, 75.9, 62.7, 83.2, experiment="voc-vgg16-8s"),
    _row("Table 3", "R-CNN", None, None, 47.9, of="VOC 2011"),
    _row("Table 3", "SDS", None, None, 52.6, of="VOC 2011"),
    _row("Table 3", "SDS", None, None, 51.6, of="VOC 2012", forward_ms=50_000),
    _row("Table 3", "FCN-8s", None, None, 62.7, of="VOC 2011", experiment="voc-vgg16-8s"),
    _row(
        "Table 3",
        "FCN-8s",
        None,
        None,
        62.2,
        of="VOC 2012",
        experiment="voc-vgg16-8s",
        forward_ms=175,
    ),
    _row("Table 4", "Gupta et al. 2014", 60.3, None, 28.6, 47.0),
    _row("Table 4", "FCN-32s RGB", 60.0, 42.2, 29.2, 43.9, experiment="nyud-vgg16-32s-rgb"),
    _row("Table 4", "FCN-32s RGBD", 61.5, 42.4, 30.5, 45.5, experiment="nyud-vgg16-32s-rgbd"),
    _row("Table 4", "FCN-32s HHA", 57.1, 35.2, 24.2, 40.4, experiment="nyud-vgg16-32s-hha"),
    _row("Table 4", "FCN-32s RGB-HHA", 64.3, 44.9, 32.8, 48.0, experiment="nyud-vgg16-32s-rgb-hha"),
    _row("Table 4", "FCN-16s RGB-HHA", 65.4, 46.1, 34.0, 49.5, experiment="nyud-vgg16-16s-rgb-hha"),
    _row("Table 5", "Liu et al. 2011", 76.7),
    _row("Table 5", "Tighe et al. 2010", geometric_accuracy=90.8),
    _row("Table 5", "Tighe et al. 2013 (1), exemplar SVM", 75.6, 41.1),
    _row("Table 5", "Tighe et al. 2013 (2), SVM + MRF", 78.6, 39.2),
    _row("Table 5", "Farabet et al. 2013 (1), balanced", 72.3, 50.8),
    _row("Table 5", "Farabet et al. 2013 (2), natural", 78.5, 29.6),
    _row("Table 5", "Pinheiro et al. 2014", 77.7, 29.8),
    _row(
        "Table 5",
        "FCN-16s",
        85.2,
        51.7,
        39.5,
        76.1,
        experiment="sift-flow-vgg16-16s",
        geometric_accuracy=94.3,
    ),
    _row("Table 6", "O2P", None, None, 18.1, of="59 classes"),
    _row("Table 6", "CFM", None, None, 31.5, of="59 classes"),
    _row(
        "Table 6",
        "FCN-32s",
        63.8,
        42.7,
        31.8,
        48.3,
        of="59 classes",
        experiment="pascal-context-59-vgg16-32s",
    ),
    _row(
        "Table 6",
        "FCN-16s",
        65.7,
        46.2,
        34.8,
        50.7,
        of="59 classes",
        experiment="pascal-context-59-vgg16-16s",
    ),
    _row(
        "Table 6",
        "FCN-8s",
        65.9,
        46.5,
        35.1,
        51.0,
        of="59 classes",
        experiment="pascal-context-59-vgg16-8s",
    ),
    _row("Table 6", "O2P", None, None, 29.2, of="33 classes"),
    _row("Table 6", "CFM", None, None, 46.1, of="33 classes"),
    _row(
        "Table 6",
        "FCN-32s",
        69.8,
        65.1,
        50.4,
        54.9,
        of="33 classes",
        experiment="pascal-context-33-vgg16-32s",
    ),
    _row(
        "Table 6",
        "FCN-16s",
        71.8,
        68.0,
        53.4,
        57.5,
        of="33 classes",
        experiment="pascal-context-33-vgg16-16s",
    ),
    _row(
        "Table 6",
        "FCN-8s",
        71.8,
        67.6,
        53.5,
        57.7,
        of="33 classes",
        experiment="pascal-context-33-vgg16-8s",
    ),
)

_SEG11VALID = "seg11valid"
RELEASE: tuple[Row, ...] = (
    _row(
        "Table 1",
        "FCN-AlexNet",
        None,
        None,
        48.0,
        of=_SEG11VALID,
        experiment="voc-alexnet-32s-release",
    ),
    _row("Table 2", "FCN-32s", None, None, 63.6, of=_SEG11VALID, experiment="voc-vgg16-32s-heavy"),
    _row("Table 2", "FCN-16s", None, None, 65.0, of=_SEG11VALID, experiment="voc-vgg16-16s-heavy"),
    _row("Table 2", "FCN-8s", None, None, 65.5, of=_SEG11VALID, experiment="voc-vgg16-8s-heavy"),
    _row(
        "Table 2",
        "FCN-8s at-once",
        None,
        None,
        65.4,
        of=_SEG11VALID,
        experiment="voc-vgg16-8s-heavy-at-once",
    ),
    _row("Table 3", "FCN-8s", None, None, 67.2, of="VOC 2012", experiment="voc-vgg16-8s-heavy"),
)
"""The nets that the authors released later, trained by the heavy recipe, as their README reports them."""

_WKENTARO = "converted Caffe VGG16; channel dropout; no replacement; repeats of one recipe spread by about 0.6"
_OWN_VGG = "the same code with PyTorch's own VGG16 weights"
_COCO = "COCO val2017 with VOC's labels: not VOC val"
_DILATED = "dilated ResNet, no skips"
OTHERS: tuple[Row, ...] = (
    _row("Table 2", "pytorch-fcn FCN-32s", None, None, 62.84, of=_SEG11VALID, note=_WKENTARO),
    _row("Table 2", "pytorch-fcn FCN-16s", None, None, 64.91, of=_SEG11VALID, note=_WKENTARO),
    _row("Table 2", "pytorch-fcn FCN-8s", None, None, 65.49, of=_SEG11VALID, note=_WKENTARO),
    _row(
        "Table 2", "pytorch-fcn FCN-8s at-once", None, None, 64.74, of=_SEG11VALID, note=_WKENTARO
    ),
    _row(
        "Table 2",
        "pytorch-fcn FCN-32s, by its users",
        None,
        None,
        57.8,
        of=_SEG11VALID,
        note=_OWN_VGG,
    ),
    _row(
        "Table 2",
        "pytorch-fcn FCN-8s at-once, by its users",
        None,
        None,
        59.0,
        of=_SEG11VALID,
        note=_OWN_VGG,
    ),
    _row("Table 2", "torchvision fcn_resnet50", 91.4, None, 60.5, of="COCO", note=_COCO),
    _row("Table 2", "torchvision fcn_resnet101", 91.9, None, 63.7, of="COCO", note=_COCO),
    _row(
        "Table 2",
        "mmsegmentation FCN R50-D8, 20k",
        None,
        None,
        67.08,
        of="VOC 2012 val",
        note=_DILATED,
    ),
    _row(
        "Table 2",
        "mmsegmentation FCN R50-D8, 40k",
        None,
        None,
        66.97,
        of="VOC 2012 val",
        note=_DILATED,
    ),
    _row(
        "Table 6", "mmsegmentation FCN R101, 40k", None, None, 48.42, of="59 classes", note=_DILATED
    ),
    _row(
        "Table 6", "mmsegmentation FCN R101, 80k", None, None, 49.35, of="59 classes", note=_DILATED
    ),
)
"""Other replications and relatives; none of them is the paper's net on the paper's terms, and ``note`` says why."""
