"""Our nets and their peers, each as a function that does one trial of a workload."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn import models
from fcn.export import export
from fcn.losses import multi_head_loss
from fcn.models import FCN
from fcn.preprocessing import as_caffe
from fcn.replication.benchmark import measure, paper_times
from fcn.replication.benchmark.padded_port import PaddedPort
from fcn.replication.benchmark.record import Precision, Task, Variant, Workload
from fcn.training.gpu import Step, captured_step
from fcn.training.loader import Batch
from fcn.training.optimizer import optimizer_for, set_rate
from fcn.training.recipe import HEAVY

CLASSES = 21
Trial = Callable[[], object]


class Unavailable(Exception):
    """A variant that this machine or installation cannot run; the message is one line."""


class Peers:
    """Builds the variants of workloads on one device.

    ``width`` scales the channels of the nets; ``seed`` determines images, labels and weights.
    """

    def __init__(self, device: str, width: float = 1.0, seed: int = 0) -> None:
        self.device, self.width, self.seed = device, width, seed
        self.template = cache(self._template)

    def trial(self, work: Workload, variant: Variant) -> Trial:
        """A function that does ``work`` once. Raises Unavailable."""
        if variant.peer == "OpenCV":
            return self._opencv(work)
        if variant.peer == "ONNX Runtime":
            return self._onnx(work, variant)
        step = self._training if work.task == "training step" else self._forward
        return step(work, variant)

    def operations(self, work: Workload, variant: Variant) -> float:
        """The operations of one trial."""
        shape = (work.batch, 3, work.height, work.width)
        if variant.peer == "OpenCV":  # the padded net, too
            variant = Variant("padded port")
        return measure.operations(
            lambda: self._built(work, variant), shape, work.task == "training step"
        )

    def _built(self, work: Workload, variant: Variant) -> nn.Module:
        """The net of a variant in PyTorch."""
        if variant.peer == "padded port":
            return PaddedPort(CLASSES, self.width)
        if variant.peer == "fcn_resnet50":
            if not find_spec("torchvision"):
                raise Unavailable("torchvision is missing")
            from torchvision.models.segmentation import fcn_resnet50  # slow to import

            peer: nn.Module = fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)
            return _OnlyScores(peer)
        settings: dict[str, Any] = {"alignment": variant.alignment}
        settings["upsampling"] = variant.upsampling
        return FCN(work.net, work.stride, CLASSES, width=self.width, **settings)

    def _template(self, net: str, stride: int) -> FCN:
        """Random weights that all variants of a net share."""
        torch.manual_seed(self.seed)
        built = FCN(net, stride, CLASSES, alignment="reference", width=self.width)
        for parameter in built.heads.parameters():  # zero, so far
            nn.init.normal_(parameter, std=0.01)
        return built.to(self.device)

    def net(self, work: Workload, variant: Variant) -> nn.Module:
        """The net of a variant with the weights of its kind, on the device."""
        if variant.peer == "fcn_resnet50":
            net = self._built(work, variant)
        else:
            template = self.template(work.net, work.stride)
            with measure.NoInit(), torch.device(self.device):
                net = self._built(work, variant)
            if isinstance(net, PaddedPort):
                net.copy_from(template)
            else:
                net.load_state_dict(template.state_dict(), strict=False)
        if variant.memory_format == "channels last":
            net.to(memory_format=torch.channels_last)
        return net.to(self.device)

    def batch(self, work: Workload, variant: Variant) -> tuple[Tensor, Tensor]:
        """Random images and labels, as the peer expects them."""
        generator = torch.Generator().manual_seed(self.seed)
        size = work.height, work.width
        images = torch.rand(work.batch, 3, *size, generator=generator)
        labels = torch.randint(CLASSES, (work.batch, *size), generator=generator)
        if variant.peer in ("padded port", "OpenCV"):
            images = as_caffe(images, "rgb", self.template(work.net, work.stride).mean.cpu())
        if variant.memory_format == "channels last":
            images = images.contiguous(memory_format=torch.channels_last)
        return images.to(self.device), labels.to(self.device)

    def _forward(self, work: Workload, variant: Variant) -> Trial:
        net, (images, _) = self.net(work, variant).eval(), self.batch(work, variant)
        run: Callable[[Tensor], Tensor] = net
        if variant.mode == "compiled":
            if self.device == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
                raise Unavailable("torch.compile needs a C++ compiler, and none was found")
            torch.compiler.reset()
            run = torch.compile(net, options={"freezing": True})

        def trial() -> Tensor:
            with torch.no_grad(), measure.precision(variant.precision, self.device):
                return run(images)

        return trial

    def _training(self, work: Workload, variant: Variant) -> Trial:
        net, (images, labels) = self.net(work, variant).train(), self.batch(work, variant)
        if isinstance(net, FCN):
            optimizer = optimizer_for(net, HEAVY)
            set_rate(optimizer, HEAVY.learning_rate)
        else:
            learned = net.learned() if isinstance(net, PaddedPort) else net.parameters()
            optimizer = torch.optim.SGD(
                learned, HEAVY.learning_rate, HEAVY.momentum, weight_decay=HEAVY.weight_decay
            )

        def step(parts: list[Batch]) -> Tensor:
            [(images, truth)] = parts
            with measure.precision(variant.precision, self.device):
                if isinstance(net, FCN):
                    scores = net(images, upsample=False)
                    loss = multi_head_loss({"scores": scores}, truth, HEAVY.reduction)
                else:
                    loss = F.cross_entropy(net(images), truth["scores"], reduction="sum")
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        run: Step = step
        if variant.mode == "captured":
            run = captured_step(step, ["scores"], optimizer, _no_capture)
            set_rate(optimizer, HEAVY.learning_rate)
        return lambda: run([(images, {"scores": labels})])

    def _onnx(self, work: Workload, variant: Variant) -> Trial:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            if not find_spec(name):
                raise Unavailable(f'{name} is missing; pip install "fcn-book[export]"')
        import onnxruntime

        images = self.batch(work, variant)[0].cpu().numpy()
        net: Any = self.net(work, variant)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        with tempfile.TemporaryDirectory() as folder:
            weights, exported = Path(folder) / "net.safetensors", Path(folder) / "net.onnx"
            models.save(net, weights, {}, half=False)
            export(weights, exported)
            session = onnxruntime.InferenceSession(
                exported, options, providers=["CPUExecutionProvider"]
            )
        return lambda: session.run(None, {"images": images})

    def _opencv(self, work: Workload) -> Trial:
        if not find_spec("cv2"):
            raise Unavailable("OpenCV is missing; install opencv-python-headless below version 5")
        import cv2

        from fcn.replication.benchmark.caffe_nets import fcn_vgg16

        if work.net != "vgg16":
            raise Unavailable("OpenCV runs the authors' FCN-8s on VGG16 only")
        definition = fcn_vgg16(work.stride, CLASSES, width=self.width)
        prototxt = definition.prototxt((work.height, work.width)).encode()
        files = (np.frombuffer(one, np.uint8) for one in (prototxt, definition.caffemodel()))
        net = cv2.dnn.readNetFromCaffe(*files)
        cv2.setNumThreads(torch.get_num_threads())
        images = self.batch(work, Variant("OpenCV"))[0].cpu().numpy()
        [output] = definition.outputs.values()

        def trial() -> Any:
            net.setInput(np.ascontiguousarray(images))
            return net.forward(output)

        return trial


class _OnlyScores(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.net(images)["out"]
        return scores


def _no_capture(line: str) -> None:
    raise Unavailable(line)


def variants(work: Workload, device: str) -> list[Variant]:
    """The variants of ours and the peers that are measured on a workload, the peers last."""
    plain, training, gpu = Variant(), work.task == "training step", device != "cpu"
    last = replace(plain, memory_format="channels last")
    reference = replace(plain, alignment="reference")
    peers = [Variant("padded port")] if (work.net, work.stride) == ("vgg16", 8) else []
    if work.height == work.width:  # the paper's Tables 1 and 3
        return [plain, reference, *peers]
    if work.batch > 1 and not gpu:
        return [plain, last, *peers]
    ours = [plain, last, reference, replace(last, alignment="reference")]
    ours.append(replace(plain, upsampling="learned"))
    ours += [replace(one, precision="bf16") for one in (plain, last)]
    if training and device == "cuda":
        ours += [replace(last, precision=p, mode="captured") for p in get_args(Precision)]
    if not training:
        ours += [replace(plain, upsampling="interpolate"), replace(plain, mode="compiled")]
        peers += [] if gpu else [Variant("ONNX Runtime")]
        if peers and work.net == "vgg16":
            peers += [Variant("fcn_resnet50")] + ([] if gpu else [Variant("OpenCV")])
    if device == "cuda":
        ours.append(replace(last, precision="tf32"))
        halves: tuple[Precision, ...] = ("tf32", "bf16")
        peers += [replace(one, precision=p) for one, p in product(peers, halves)]
    return ours + peers


def workloads(device: str, quick: bool) -> list[Workload]:
    """The workloads: photos of 500 x 375 pixels, and the 500 x 500 of the paper's Table 1.

    On a CPU, training steps have one photo: eight take half a minute with the padded port.
    """
    if quick:
        tasks: list[Task] = ["forward", "training step"]
        return [Workload(task, "vgg16", 8, 48, 64, 1) for task in tasks]
    size = 375, 500
    nets = [("vgg16", 8), ("googlenet", 8), ("alexnet", 32)]
    found = [Workload("forward", *net, *size, 1) for net in nets]
    found += [Workload("training step", *net, *size, 1) for net in nets]
    found.append(Workload("forward", "vgg16", 8, *size, 8))
    if device != "cpu":
        found.append(Workload("training step", "vgg16", 8, *size, 8))
    return found + list(paper_times.WORKLOADS.values())
