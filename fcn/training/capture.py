"""A training step or a forward pass as one CUDA graph: hundreds of small kernels, launched as one.

A small net at batch 1 or 20 keeps a fast GPU waiting for the next launch. A graph is recorded once, with its memory,
and replayed: it reads its inputs from, and leaves its results in, the same places every time. So shapes must stay as
they are, nothing on the way may wait for the device, and numbers that change from step to step (the learning rate) have
to be tensors. Dropout draws from the generator's seed and position at each replay, as it would without a graph.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording: libraries choose their algorithms, and optimizers make their state


class Captured:
    """``function`` of tensors, returning a tensor: called as it is at first, then recorded and replayed on CUDA.

    Every call carries ``function`` out exactly once, so that a training step may be captured. A call with inputs of
    another shape than the recorded ones, and every call on another device, goes to ``function`` itself; so does every
    call after a recording that failed, if ``log`` is there to be told: without it the error is raised.
    The result of a replay is overwritten by the next one: copy what has to last.
    """

    def __init__(self, function: Callable[..., Tensor], log: Callable[[str], None] | None = None) -> None:
        self.function, self.log = function, log
        self.calls = 0
        self.failed = False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: Sequence[Tensor] = ()
        self.result = torch.empty(0)

    def __call__(self, *inputs: Tensor) -> Tensor:
        if self.failed or inputs[0].device.type != "cuda":
            return self.function(*inputs)
        if self.graph is None:
            self.calls += 1
            if self.calls == 1:
                self.side = torch.cuda.Stream()
            if self.calls <= WARM_UP:
                return self._aside(inputs)
            try:
                self.graph = self._record(inputs)
            except RuntimeError as error:
                if self.log is None:
                    raise
                self.failed = True
                self.log(f"not captured, so launched step by step: {str(error).splitlines()[0]}")
                return self.function(*inputs)
        if [x.shape for x in inputs] != [x.shape for x in self.inputs]:
            return self.function(*inputs)
        for held, given in zip(self.inputs, inputs, strict=True):
            held.copy_(given)
        self.graph.replay()
        return self.result

    def _aside(self, inputs: Sequence[Tensor]) -> Tensor:
        """A call on the stream that will record: what the function makes on its first calls has to belong there."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            result = self.function(*inputs)
        torch.cuda.current_stream().wait_stream(self.side)
        return result

    def _record(self, inputs: Sequence[Tensor]) -> torch.cuda.CUDAGraph:
        self.inputs = [x.clone() for x in inputs]
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):
            self.result = self.function(*self.inputs)
        return graph
