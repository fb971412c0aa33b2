"""The forward times that the paper reports (Tables 1 and 3), and ours of the same nets."""

from fcn.replication.benchmark.record import Benchmark, Case, Variant, Workload
from fcn.replication.paper import TABLES

SIZE = 500  # pixels of the side of the image in Table 1
NETS = {
    "FCN-AlexNet": ("alexnet", 32),
    "FCN-VGG16": ("vgg16", 32),
    "FCN-GoogLeNet": ("googlenet", 32),
    "FCN-8s": ("vgg16", 8),
}
"""Backbone and stride of the nets that the paper times."""
_TIMED = {row.label: row.metrics["forward_ms"] for row in TABLES if "forward_ms" in row.metrics}
PAPER = {name: _TIMED[name] for name in NETS}
"""The paper's forward times on a K40c, in milliseconds."""
WORKLOADS = {name: Workload("forward", *net, SIZE, SIZE, 1) for name, net in NETS.items()}


def measured_times(found: Benchmark) -> dict[str, dict[str, Case]]:
    """{alignment: {net: case}} of a record, in float32 and contiguous memory.

    Raises ValueError if one of the nets was not measured.
    """
    times: dict[str, dict[str, Case]] = {}
    for alignment in ("tight", "reference"):
        variant = Variant(alignment=alignment)
        for name, work in WORKLOADS.items():
            if variant not in (cases := found.of(work)):
                raise ValueError(f"{found.file_name}: no case {work}: {variant}")
            times.setdefault(alignment, {})[name] = cases[variant]
    return times
