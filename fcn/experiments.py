"""The catalogue: every row of every results table of the paper, as data, and the runs that this project makes of them.

``TABLES`` holds what others published, figure by figure; ``EXPERIMENTS`` what can be run here. A row of a table names
the experiment that replicates it. Numbers are percent.
"""

import difflib
from dataclasses import dataclass, field, replace

from fcn.training import Solver
from fcn.upsampling import Upsampling

METRICS = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")


@dataclass(frozen=True)
class Row:
    """One published row: the table it stands in, its label there, its numbers, and the experiment that replicates it.

    ``metrics`` are of the head or class set named in ``of``; what a row does not report is absent.
    """

    table: str
    label: str
    metrics: dict[str, float]
    of: str = ""
    experiment: str = ""


def _row(table: str, label: str, *values: float | None, of: str = "", experiment: str = "", **more: float) -> Row:
    named = {m: v for m, v in zip(METRICS, values, strict=False) if v is not None}
    return Row(table, label, named | more, of, experiment)


TITLES = {
    "Table 1": "Three classifiers made fully convolutional, PASCAL VOC 2011 val",
    "Table 2": "Skip connections, the seg11valid part of PASCAL VOC 2011 val",
    "Table 3": "PASCAL VOC 2011 and 2012 test",
    "Table 4": "NYUDv2, 40 classes",
    "Table 5": "SIFT Flow, 33 semantic and 3 geometric classes",
    "Table 6": "PASCAL-Context, 59 and 33 classes",
}

TABLES: tuple[Row, ...] = (
    _row("Table 1", "FCN-AlexNet", None, None, 39.8, experiment="voc2011-alexnet-32s", forward_ms=50),
    _row("Table 1", "FCN-VGG16", None, None, 56.0, experiment="voc2011-vgg16-32s", forward_ms=210),
    _row("Table 1", "FCN-GoogLeNet", None, None, 42.5, experiment="voc2011-googlenet-32s", forward_ms=59),
    _row("Table 2", "FCN-32s-fixed", 83.0, 59.7, 45.4, 72.0, experiment="voc-vgg16-32s-fixed"),
    _row("Table 2", "FCN-32s", 89.1, 73.3, 59.4, 81.4, experiment="voc-vgg16-32s"),
    _row("Table 2", "FCN-16s", 90.0, 75.7, 62.4, 83.0, experiment="voc-vgg16-16s"),
    _row("Table 2", "FCN-8s", 90.3, 75.9, 62.7, 83.2, experiment="voc-vgg16-8s"),
    _row("Table 3", "R-CNN", None, None, 47.9, of="VOC 2011"),
    _row("Table 3", "SDS", None, None, 52.6, of="VOC 2011"),
    _row("Table 3", "SDS", None, None, 51.6, of="VOC 2012", forward_ms=50_000),
    _row("Table 3", "FCN-8s", None, None, 62.7, of="VOC 2011", experiment="voc-vgg16-8s"),
    _row("Table 3", "FCN-8s", None, None, 62.2, of="VOC 2012", experiment="voc-vgg16-8s", forward_ms=175),
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
    _row("Table 5", "FCN-16s", 85.2, 51.7, 39.5, 76.1, experiment="sift-flow-vgg16-16s", geometric_accuracy=94.3),
    _row("Table 6", "O2P", None, None, 18.1, of="59 classes"),
    _row("Table 6", "CFM", None, None, 31.5, of="59 classes"),
    _row("Table 6", "FCN-32s", 63.8, 42.7, 31.8, 48.3, of="59 classes", experiment="pascal-context-59-vgg16-32s"),
    _row("Table 6", "FCN-16s", 65.7, 46.2, 34.8, 50.7, of="59 classes", experiment="pascal-context-59-vgg16-16s"),
    _row("Table 6", "FCN-8s", 65.9, 46.5, 35.1, 51.0, of="59 classes", experiment="pascal-context-59-vgg16-8s"),
    _row("Table 6", "O2P", None, None, 29.2, of="33 classes"),
    _row("Table 6", "CFM", None, None, 46.1, of="33 classes"),
    _row("Table 6", "FCN-32s", 69.8, 65.1, 50.4, 54.9, of="33 classes", experiment="pascal-context-33-vgg16-32s"),
    _row("Table 6", "FCN-16s", 71.8, 68.0, 53.4, 57.5, of="33 classes", experiment="pascal-context-33-vgg16-16s"),
    _row("Table 6", "FCN-8s", 71.8, 67.6, 53.5, 57.7, of="33 classes", experiment="pascal-context-33-vgg16-8s"),
)


@dataclass(frozen=True)
class Experiment:
    """A run: which net, on which data, by which recipe, and how it departs from the paper.

    ``start`` names the experiment whose net it goes on from (section 4.2); without one it starts from the ImageNet
    weights of its trunk. ``paper`` is the table and the row that it replicates, or comes nearest to.
    """

    name: str
    dataset: str
    net: str
    stride: int
    solver: Solver
    paper: tuple[str, str] | None
    start: str = ""
    upsampling: Upsampling = "learned"
    width: float = 1.0
    departures: tuple[str, ...] = field(default=())
    needs: str = ""  # what the nets of this version cannot do yet; a run is refused

    @property
    def initial_weights(self) -> str:
        """The file of ImageNet weights that the trunk starts from; empty for a net that starts at random."""
        return PRETRAINED[self.net] if self.width == 1 and not self.start else ""


PRETRAINED = {
    "alexnet": "bvlc_reference_caffenet.caffemodel",
    "vgg16": "VGG_ILSVRC_16_layers.caffemodel",
    "googlenet": "bvlc_googlenet.caffemodel",
}

# Rates of section 4.3, for FCN-32s. "Its learning rate is decreased by 100" for each finer net (section 4.2).
RATES = {"alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}


def _paper_solver(net: str, stride: int) -> Solver:
    return Solver(learning_rate=RATES[net] * {32: 1, 16: 1e-2, 8: 1e-4}[stride])


def _staged(
    name: str, dataset: str, net: str, table: str, rows: dict[int, str], departures: tuple[str, ...] = ()
) -> list[Experiment]:
    """FCN-32s and the finer nets that go on from it, by the paper's recipe; ``rows`` by their stride."""
    return [
        Experiment(
            name.format(stride=f"{s}s"), dataset, net, s, _paper_solver(net, s), (table, row),
            start=name.format(stride=f"{2 * s}s") if s < 32 else "", departures=departures,
        )
        for s, row in rows.items()
    ]  # fmt: skip


_ALL_STRIDES = {s: f"FCN-{s}s" for s in (32, 16, 8)}


_SMALL_TRUNK = "GoogLeNet's trunk (6 million parameters) in place of VGG16's (134 million)"
_GEOMETRY = "geometric labels derived from the semantic ones, where the official ones are not at hand"
_TWO_VOID = "2486 of the 2488 training images, as in the authors' release: the other two carry no labels"
_SIFT_FLOW = (_SMALL_TRUNK, _GEOMETRY, _TWO_VOID)


def _other_stride(stride: int) -> tuple[str, ...]:
    """The departure of a net that stands beside Table 5's only FCN, which is FCN-16s."""
    return () if stride == 16 else (f"FCN-{stride}s in place of FCN-16s",)


# What fits a small machine: the paper's recipe with a rate two hundred times as large and a fraction of its epochs.
_SHORT = Solver(learning_rate=1e-2, epochs=4, precision="bf16-mixed")


def _short(stride: int, rate: float, epochs: int) -> Experiment:
    paper = _paper_solver("googlenet", stride)
    return Experiment(
        f"sift-flow-googlenet-{stride}s-short", "sift-flow", "googlenet", stride,
        replace(_SHORT, learning_rate=rate, epochs=epochs), ("Table 5", "FCN-16s"),
        start=f"sift-flow-googlenet-{2 * stride}s-short" if stride < 32 else "",
        upsampling="interpolate",
        departures=(
            *_SIFT_FLOW,
            *_other_stride(stride),
            f"{epochs} epochs at a fixed rate of {rate:g} in place of at least 175 at {paper.learning_rate:g}",
            "intermediate upsampling fixed to bilinear, not learned, as in the authors' release",
            "convolutions in bfloat16",
        ),
    )  # fmt: skip


_NYUD_NEEDS = {"RGBD": "a fourth input channel", "RGB-HHA": "two trunks"}

# Our own recipe, chosen on the validation part of the training images: all strides at once, AdamW, a decaying rate.
TUNED = Solver(
    learning_rate=2e-4, epochs=9, batch_size=8, optimizer="adamw", weight_decay=0.02, bias_rate=1.0, score_rate=5.0,
    schedule="poly", warmup=0.1, clip=1.0, augment="mirror", precision="bf16-mixed",
)  # fmt: skip

# What the recipe was chosen between: one epoch each, on the training images without the validation part.
_TRIALS = {
    "sgd": Solver(learning_rate=5e-3, epochs=1, batch_size=8, schedule="poly", precision="bf16-mixed"),
    "adamw": replace(TUNED, epochs=1, augment="none"),
}

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in [
        *(
            Experiment(f"voc2011-{net}-32s", "voc2011", net, 32, _paper_solver(net, 32), ("Table 1", label))
            for net, label in (("alexnet", "FCN-AlexNet"), ("vgg16", "FCN-VGG16"), ("googlenet", "FCN-GoogLeNet"))
        ),
        Experiment("voc-vgg16-32s-fixed", "voc", "vgg16", 32, _paper_solver("vgg16", 32), ("Table 2", "FCN-32s-fixed"),
                   needs="a trunk that is held fixed"),
        *_staged("voc-vgg16-{stride}", "voc", "vgg16", "Table 2", _ALL_STRIDES),
        *(
            Experiment(f"nyud-vgg16-32s-{variant.lower()}", f"nyud-{variant.lower()}", "vgg16", 32,
                       _paper_solver("vgg16", 32), ("Table 4", f"FCN-32s {variant}"),
                       needs=_NYUD_NEEDS.get(variant, ""))
            for variant in ("RGB", "RGBD", "HHA", "RGB-HHA")
        ),
        Experiment("nyud-vgg16-16s-rgb-hha", "nyud-rgb-hha", "vgg16", 16, _paper_solver("vgg16", 16),
                   ("Table 4", "FCN-16s RGB-HHA"), start="nyud-vgg16-32s-rgb-hha", needs=_NYUD_NEEDS["RGB-HHA"]),
        *_staged("sift-flow-vgg16-{stride}", "sift-flow", "vgg16", "Table 5",
                 dict.fromkeys((32, 16), "FCN-16s"), (_GEOMETRY, _TWO_VOID)),
        *_staged("sift-flow-googlenet-{stride}", "sift-flow", "googlenet", "Table 5",
                 dict.fromkeys((32, 16, 8), "FCN-16s"), _SIFT_FLOW),
        _short(32, 1e-2, 4), _short(16, 5e-3, 2), _short(8, 5e-3, 2),
        Experiment("scenes-googlenet-8s-demo", "scenes", "googlenet", 8,
                   Solver(learning_rate=1e-3, epochs=4, batch_size=8, optimizer="adamw", clip=1.0), None,
                   upsampling="interpolate", width=0.25, departures=("procedural scenes in place of photos",)),
        Experiment(
            "sift-flow-googlenet-8s-tuned", "sift-flow", "googlenet", 8, TUNED, ("Table 5", "FCN-16s"),
            upsampling="interpolate",
            departures=(
                *_SIFT_FLOW,
                *_other_stride(8),
                "trained at once, not in stages",
                "AdamW (rate 2e-4, decay 0.02, gradient clipped to norm 1) in place of SGD with momentum 0.9",
                "batches of 8 in place of 20",
                "9 epochs with a rate that decays to zero in place of at least 175 at a fixed one",
                "score layers at five times the trunk's rate, biases at the same rate as weights",
                "mirrored photos",
                "upsampling fixed to bilinear, not learned",
                "convolutions in bfloat16",
            ),
        ),
        *(
            Experiment(f"sift-flow-googlenet-8s-trial-{name}", "sift-flow", "googlenet", 8, solver, None,
                       upsampling="interpolate", departures=(*_SIFT_FLOW, "one epoch, to choose a recipe by"))
            for name, solver in _TRIALS.items()
        ),
        *(
            experiment
            for classes in (59, 33)
            for experiment in _staged(
                f"pascal-context-{classes}-vgg16-{{stride}}", f"pascal-context-{classes}", "vgg16",
                "Table 6", _ALL_STRIDES,
            )
        ),
    ]
}  # fmt: skip


def find(name: str) -> Experiment:
    """The experiment called ``name``. Raises ValueError, with the nearest names, where there is none."""
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, EXPERIMENTS, n=3) or list(EXPERIMENTS)[:3]
        raise ValueError(f'unknown experiment "{name}": did you mean {" or ".join(near)}? "fcn list" names all')
    return EXPERIMENTS[name]
