"""Several nets on one device at once: the processes they run in, and how many of them train the most images a second.

A small net leaves most of a large GPU idle, and a launch of a kernel takes longer than the kernel. Processes beside
each other fill the gaps, up to the number where the device itself is busy; that number is measured.
"""

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext

import torch

from fcn.capture import Captured
from fcn.losses import multi_head_loss
from fcn.models import FCN

COUNTS = (1, 2, 3, 4)
SECONDS = 4.0  # for each number of processes
GAIN = 1.03  # by which one more process has to be faster to be worth its memory
HEADS = {"semantic": 33, "geometric": 3}


def processes() -> BaseContext:
    """How processes start: from a server that has imported everything and touched no GPU, where there are such."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fcn.gpu.worker", "fcn.gpu.together", "lightning.fabric"])
    return context


def at_once(
    device: str, counts: Sequence[int] = COUNTS, seconds: float = SECONDS, batch: int = 20, side: int = 256,
    width: float = 1.0,
) -> dict[int, float]:  # fmt: skip
    """Images a second of 1, 2, ... processes together, each training FCN-GoogLeNet-32s as SIFT Flow asks, captured.

    Raises RuntimeError where a process ends before it has answered.
    """
    context = processes()
    crew = []
    try:
        for _ in range(max(counts)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_train, args=(theirs, device, batch, side, width))  # type: ignore[attr-defined]
            process.start()
            theirs.close()
            crew.append((process, ours))
        for _, connection in crew:
            _answer(connection)  # ready
        found = {}
        for count in counts:
            began = time.perf_counter()
            for _, connection in crew[:count]:
                connection.send(seconds)
            images = sum(_answer(connection) for _, connection in crew[:count])
            found[count] = round(images / (time.perf_counter() - began), 1)
        return found
    finally:
        for process, connection in crew:
            connection.close()
            process.join(timeout=10)
            if process.is_alive():
                process.kill()


def best_count(found: dict[int, float]) -> int:
    """The smallest number of processes that none of more beats by 3 %."""
    best = min(found)
    for count in sorted(found):
        if found[count] > GAIN * found[best]:
            best = count
    return best


def _answer(connection: Connection) -> int:
    try:
        return connection.recv()
    except (EOFError, OSError):
        raise RuntimeError("a process ended before it had measured anything: too little memory?") from None


def _train(connection: Connection, device: str, batch: int, side: int, width: float) -> None:
    """Train on random bytes for as many seconds as the connection says, and answer with the images seen."""
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    net = FCN("googlenet", 32, heads=HEADS, upsampling="interpolate", width=width).to(device).train()
    net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9, fused=device == "cuda")
    images = torch.randint(256, (batch, 3, side, side), dtype=torch.uint8, device=device)
    labels = {head: torch.randint(classes, (batch, side, side), device=device) for head, classes in HEADS.items()}

    def step(images: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            scores = net(images.float() / 255)
        loss = multi_head_loss(scores, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    call = Captured(step, log=lambda line: None)
    try:
        for _ in range(5 if device == "cuda" else 1):
            call(images).item()
        connection.send(0)
        while True:
            seconds, seen = connection.recv(), 0
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                for _ in range(4):
                    loss = call(images)
                    seen += batch
                loss.item()  # no further ahead of the device than four steps
            connection.send(seen)
    except (EOFError, OSError):  # the other end has what it wants
        return
