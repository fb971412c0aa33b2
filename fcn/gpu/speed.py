"""How fast the nets are on the device at hand: forward pass and training step, one image and the best batch.

    python -m fcn.gpu speed --device cuda --minutes 4

One file, ``results/gpu-speed.json``, takes a row for each net, task, precision, way of launching and batch as soon as
it is measured; a further call goes on with the rows that are missing. Beside the paper's nets stand torchvision's
fcn_resnet50 and the plain port: 100 pixels of padding and a full bank of filters in every deconvolution, as the
authors' release is usually carried over. Inputs are random, and lie on the device before a call begins.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fcn.capture import Captured
from fcn.files import whole
from fcn.losses import pixel_softmax_loss
from fcn.models import FCN
from fcn.records import environment
from fcn.upsampling import Deconvolution

FILE = "gpu-speed.json"
CLASSES = 21
BATCHES = (1, 2, 4, 8, 16, 32, 64)
WARM_UP, FEWEST, MOST = 5, 5, 50  # calls
SECONDS = 0.5  # that a measurement goes on for, between the fewest calls and the most
GAIN = 1.02  # by which a larger batch has to be faster to be better

Task = Literal["forward", "training step"]
Precision = Literal["fp32", "tf32", "bf16"]
Mode = Literal["eager", "captured", "compiled"]


def plain_port(net: str, stride: int, width: float = 1.0) -> FCN:
    """The net as it is often ported: padded by 100 pixels, and every class upsampled from every class."""
    model = FCN(net, stride, CLASSES, alignment="reference", width=width)
    for head in model.heads.values():
        for name, layer in list(head.named_children()):
            if isinstance(layer, Deconvolution):
                dense = Deconvolution(CLASSES, layer.factor, layer.weight.shape[-1], grouped=False)
                setattr(head, name, dense)
    return model


class _Torchvision(nn.Module):
    """torchvision's fcn_resnet50, untrained, returning its scores alone."""

    def __init__(self, width: float = 1.0) -> None:
        from torchvision.models.segmentation import fcn_resnet50

        super().__init__()
        self.net = fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)["out"]


NETS: dict[str, Callable[..., nn.Module]] = {
    "FCN-GoogLeNet": partial(FCN, "googlenet", 32, CLASSES),
    "FCN-VGG16": partial(FCN, "vgg16", 32, CLASSES),
    "FCN-AlexNet": partial(FCN, "alexnet", 32, CLASSES),
    "FCN-8s VGG16": partial(FCN, "vgg16", 8, CLASSES),
    "plain port of FCN-8s VGG16": partial(plain_port, "vgg16", 8),
    "torchvision fcn_resnet50": _Torchvision,
    "plain port of FCN-VGG16": partial(plain_port, "vgg16", 32),
}


@dataclass(frozen=True)
class Case:
    """What one row measures; ``best`` asks for the batch with the most images a second, in place of one image."""

    net: str
    task: Task
    precision: Precision
    mode: Mode
    best: bool


def cases(compiled: bool) -> list[Case]:
    """Every row, those of most worth first: one image before batches, the forward pass before the training step."""
    tasks: tuple[Task, ...] = ("forward", "training step")
    precisions: tuple[Precision, ...] = ("tf32", "bf16", "fp32")
    modes: tuple[Mode, ...] = ("eager", "captured")
    rows = [
        Case(net, task, precision, mode, best)
        for best in (False, True) for task in tasks for precision in precisions for mode in modes for net in NETS
    ]  # fmt: skip
    # Compiling takes up to a minute a row: the two nets that the tables ask about, in the fastest precision.
    slow = [Case(net, task, "bf16", "compiled", True) for task in tasks for net in ("FCN-GoogLeNet", "FCN-8s VGG16")]
    return rows + (slow if compiled else [])


def measure(
    case: Case, device: torch.device, size: tuple[int, int] = (500, 500), width: float = 1.0, batch: int = 0
) -> dict[str, Any]:
    """One row: milliseconds a call (median), images a second, the peak of memory in MiB, the batch.

    ``batch`` 0 means 1, or the best one where the case asks for it; nets take time for their size, not for their
    weights, which are random. Raises what torch raises where the batch does not fit.
    """
    net = NETS[case.net](width=width).to(device).to(memory_format=torch.channels_last)
    if batch == 0 and case.best:
        batch = _best_batch(case, net, device, size)
    return _timed(case, net, device, size, batch or 1)


def _best_batch(case: Case, net: nn.Module, device: torch.device, size: tuple[int, int]) -> int:
    """The batch with the most images a second, launched eagerly; searched upwards until it gains no more."""
    eager = Case(case.net, case.task, case.precision, "eager", True)
    best, speed = 1, 0.0
    for batch in BATCHES:
        try:
            found = _timed(eager, net, device, size, batch, fewest=3)["images_per_second"]
        except torch.OutOfMemoryError:
            break
        if found < GAIN * speed:
            break
        best, speed = batch, found
    return best


def _timed(
    case: Case, net: nn.Module, device: torch.device, size: tuple[int, int], batch: int, fewest: int = FEWEST
) -> dict[str, Any]:
    images = torch.rand(batch, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch, *size), device=device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with _precision(case.precision, device):
        call = _call(case, net, device)
        taken = times(lambda: call(images, labels), device, fewest)
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    milliseconds = statistics.median(taken)
    return {
        **asdict(case), "batch": batch, "ms": round(milliseconds, 3), "calls": len(taken),
        "images_per_second": round(1000 * batch / milliseconds, 1), "memory_mib": peak and round(peak),
    }  # fmt: skip


def _call(case: Case, net: nn.Module, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """The case's task as a function of images (N x 3 x H x W, RGB in 0..1) and labels (N x H x W)."""
    model = torch.compile(net, dynamic=False) if case.mode == "compiled" else net
    cast = torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16")
    if case.task == "forward":
        net.eval()

        def forward(images: Tensor, labels: Tensor) -> Tensor:
            with torch.inference_mode() if case.mode != "captured" else torch.no_grad(), cast:
                return model(images)

        return Captured(forward) if case.mode == "captured" else forward
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9, fused=device.type == "cuda")

    def step(images: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        with cast:
            loss = pixel_softmax_loss(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Captured(step) if case.mode == "captured" else step


def times(call: Callable[[], Any], device: torch.device, fewest: int = FEWEST) -> list[float]:
    """Milliseconds of each of several calls, after some that do not count; on CUDA between events on the device."""
    for _ in range(WARM_UP if device.type == "cuda" else 1):
        call()
    wait(device)
    began = time.perf_counter()
    taken: list[float] = []
    while len(taken) < fewest or (len(taken) < MOST and time.perf_counter() - began < SECONDS):
        if device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            end.synchronize()
            taken.append(start.elapsed_time(end))
        else:
            start_time = time.perf_counter()
            call()
            wait(device)
            taken.append(1000 * (time.perf_counter() - start_time))
    return taken


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


@contextmanager
def _precision(name: Precision, device: torch.device) -> Iterator[None]:
    """Whether the matrix units may round float32 to TF32; as it was, afterwards."""
    earlier = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = earlier[:2]
        torch.backends.cudnn.benchmark = earlier[2]


def matrix_rate(precision: Precision, device: torch.device, side: int = 8192) -> float:
    """The device's rate on the product of two square random matrices, in TFLOP/s: the ceiling for the nets."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    with _precision(precision, device):
        return 2 * side**3 / statistics.median(times(lambda: a @ b, device)) / 1e9


def gigaflops(net: str, task: Task, size: tuple[int, int], width: float = 1.0) -> float:
    """Billions of operations in the net's convolutions for one image; a multiplication and an addition are two."""
    with torch.device("meta"):
        model = NETS[net](width=width).train()
        images, counter = torch.rand(1, 3, *size), FlopCounterMode(display=False)
        with counter:
            scores = model(images)
            if task == "training step":
                scores.sum().backward()
    return counter.get_total_flops() / 1e9


def record(
    results: Path, device: str, *, minutes: float, size: tuple[int, int] = (500, 500), width: float = 1.0,
    side: int = 8192, log: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Measure the rows that ``results/gpu-speed.json`` lacks, for ``minutes`` at most, and return its path.

    A row that fails says why in ``error``, and is not tried again. Raises ValueError where the file was measured on
    other hardware or other sizes.
    """
    path = results / FILE
    deadline = time.perf_counter() + 60 * minutes
    where = environment(device)
    held = {"image": list(size), "width": width, "hardware": where["hardware"]}
    found: dict[str, Any] = {**held, "versions": where["versions"], "commit": where["commit"]}
    found |= {"matrix_tflops": {}, "rows": []}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if any(found.get(key) != value for key, value in held.items()):
            raise ValueError(f"{path}: measured on other hardware or sizes; move it away to measure anew")
    torch_device = torch.device(device)

    def keep() -> None:
        with whole(path) as partial:
            partial.write_text(_text(found), encoding="utf-8")

    precisions: tuple[Precision, ...] = ("bf16", "tf32", "fp32")
    for precision in precisions:
        if precision not in found["matrix_tflops"]:
            found["matrix_tflops"][precision] = round(matrix_rate(precision, torch_device, side), 6)
            keep()
    measured = {Case(**{key: row[key] for key in Case.__dataclass_fields__}) for row in found["rows"]}
    for case in (case for case in cases(torch_device.type == "cuda") if case not in measured):
        if time.perf_counter() > deadline:
            log(f"out of time: {len(cases(torch_device.type == 'cuda')) - len(found['rows'])} rows are left")
            break
        try:
            row = measure(case, torch_device, size, width)
            work = round(gigaflops(case.net, case.task, size, width), 6)
            rate = row["images_per_second"] * work / 1000
            share = 100 * rate / found["matrix_tflops"][case.precision]
            row |= {"gflop_per_image": work, "percent_of_matrix_rate": round(share, 2)}
        except Exception as error:  # out of memory, or what a backend cannot do: the other rows go on
            row = asdict(case) | {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        found["rows"].append(row)
        keep()
        came = row.get("error") or f"batch {row['batch']}, {row['ms']} ms, {row['images_per_second']} images/s"
        log(f"{case.net}, {case.task}, {case.precision}, {case.mode}: {came}")
    return path


def _text(found: dict[str, Any]) -> str:
    """JSON with a line for each row."""
    rows = ",\n  ".join(json.dumps(row) for row in found["rows"])
    head = {key: value for key, value in found.items() if key != "rows"}
    return json.dumps(head, indent=1)[:-2] + ',\n "rows": [\n  ' + rows + "\n ]\n}\n"
