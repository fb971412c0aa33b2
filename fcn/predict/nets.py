"""A saved net, run by torch or by ONNX Runtime: photos to scores."""

import importlib.util
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from fcn.environment import cores, sha256

SMALL = 1024**2  # pixels of which torch may keep the memory that it frees
Pixels = NDArray[np.uint8]
Scores = NDArray[np.float32]


class TorchNet:
    """A net that ``fcn train`` saved, run by torch."""

    whole = 1504**2  # pixels of a photo scored at once: about 0.8 GB for the widest net here

    def __init__(self, path: Path, device: str) -> None:
        if device == "cpu":
            from fcn.cpu.allocator import keep_freed_memory

            # Room for the convolutions of one size of photo. By default oneDNN keeps those of many.
            os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
            keep_freed_memory()
        from fcn import models  # imports torch

        self.net = models.load(path).to(device)
        self.device = device
        self.settings = self.net.settings
        with safe_open(path, "np") as file:
            self.metadata: dict[str, str] = file.metadata()

    def count(self, head: str) -> int:
        """The number of classes that ``head`` scores; 0 if there is no such head."""
        return self.net.classes.get("scores" if self.net.single else head, 0)

    def scores(self, photo: Pixels, head: str) -> Scores:
        """The scores of ``head``, C x H x W."""
        return self.batch(photo[None], head)[0]

    def batch(self, photos: Pixels, head: str) -> Scores:
        """The scores of ``head``, N x C x H x W, of photos N x H x W x 3."""
        return self._run(photos, head, upsample=True).cpu().numpy()

    def part(self, photo: Pixels, head: str, rows: slice, columns: slice) -> Scores:
        """The scores of ``head`` for some rows and columns of a photo.

        Only these are upsampled, which saves most of the memory.
        """
        cells, down, across = self._run(photo[None], head, upsample=False)
        down, across = down[rows], across[columns]
        near, beside = (one.any(0).nonzero().squeeze(1) for one in (down, across))
        cells = cells[0, :, near[0] : near[-1] + 1, beside[0] : beside[-1] + 1]
        down = down[:, near[0] : near[-1] + 1]
        across = across[:, beside[0] : beside[-1] + 1]
        return (down @ cells @ across.T).cpu().numpy()

    def _run(self, photos: Pixels, head: str, upsample: bool) -> Any:
        import torch

        from fcn.cpu.allocator import return_freed_memory

        if self.device == "cpu" and photos.size > 3 * SMALL:
            return_freed_memory()
        x = torch.tensor(photos, device=self.device).permute(0, 3, 1, 2).contiguous()
        x = x.float().div_(255)  # the bytes are not kept beside it
        with torch.inference_mode():
            scores = self.net(x, upsample)
        return scores[head] if isinstance(scores, dict) else scores


class OnnxNet:
    """A net that ``fcn export`` saved, run by ONNX Runtime on the CPU."""

    whole = 1024**2  # as above; it takes more memory per pixel

    def __init__(self, path: Path) -> None:
        import onnxruntime

        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such weight file; check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 3  # errors only
        options.enable_mem_pattern = False  # one per size of photo: a third more memory
        providers = ["CPUExecutionProvider"]
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=providers)
            self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
            self.settings: dict[str, Any] = json.loads(self.metadata["settings"])
            self.smallest: int = json.loads(self.metadata["smallest"])
            self.mean: list[float] = json.loads(self.metadata["mean"])
        except Exception:  # onnxruntime raises many kinds of error for a file it cannot read
            raise ValueError(
                f"{path}: not a net that `fcn export` wrote; export it again"
            ) from None
        self.outputs = {one.name: one.shape[1] for one in self.session.get_outputs()}

    def count(self, head: str) -> int:
        """The number of classes that ``head`` scores; 0 if there is no such head."""
        return self.outputs.get(self._output(head), 0)

    def scores(self, photo: Pixels, head: str) -> Scores:
        """The scores of ``head``, C x H x W."""
        return self.batch(photo[None], head)[0]

    def batch(self, photos: Pixels, head: str) -> Scores:
        """The scores of ``head``, N x C x H x W, of photos N x H x W x 3."""
        count, height, width = photos.shape[:3]
        x = photos.transpose(0, 3, 1, 2).astype(np.float32) / 255
        short = [max(0, self.smallest - side) for side in (height, width)]
        if any(short):  # as the net pads small images: by its mean, which becomes zero
            colour = np.array(self.mean, np.float32)[:, None, None] / 255
            padded = np.broadcast_to(colour, (count, 3, height + short[0], width + short[1])).copy()
            padded[..., :height, :width] = x
            x = padded
        (scores,) = self.session.run([self._output(head)], {"images": x})
        return scores[..., :height, :width]

    def part(self, photo: Pixels, head: str, rows: slice, columns: slice) -> Scores:
        """The scores of ``head`` for some rows and columns of a photo."""
        return self.scores(photo, head)[:, rows, columns]

    def _output(self, head: str) -> str:
        return "scores" if list(self.outputs) == ["scores"] else head


def load(path: Path, device: str) -> TorchNet | OnnxNet:
    """The net in a file; on the CPU, the export next to it (of the same name), if there is one.

    Raises FileNotFoundError if ``path`` does not exist, ValueError if it contains no net.
    """
    if path.suffix != ".onnx":
        export = _exported(path) if device == "cpu" else None
        return export or TorchNet(path, device)
    if device != "cpu":
        problem = "an exported net runs on the CPU"
        raise ValueError(f"{path}: {problem}; give --device cpu, or the .safetensors net")
    return OnnxNet(path)


def for_large(net: TorchNet | OnnxNet, path: Path) -> TorchNet | OnnxNet:
    """The net in torch, if it was exported and its source is still there, to score more at once."""
    source = path.with_suffix(".safetensors")
    if isinstance(net, TorchNet) or not source.is_file():
        return net
    return TorchNet(source, "cpu") if net.metadata.get("source") == sha256(source) else net


def _exported(path: Path) -> OnnxNet | None:
    """The current export of a saved net that lies next to it, where ONNX Runtime can run it."""
    export = path.with_suffix(".onnx")
    if path.is_file() and export.is_file() and importlib.util.find_spec("onnxruntime"):
        with suppress(ValueError):  # a file that was copied in part, or of somebody else
            net = OnnxNet(export)
            return net if net.metadata.get("source") == sha256(path) else None
    return None
