"""Photos in parallel, one thread each, on a CPU.

PyTorch splits every operation among all threads, which then wait for each other. If operations are
short, as those on a strip of one photo, most of the time is spent waiting.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Inside, each operation runs on one thread; yields the number of threads outside.

    Where PyTorch does not use OpenMP, the number of threads cannot change, and stays.
    """
    threads = torch.get_num_threads()
    if not torch.backends.openmp.is_available():
        yield 1
        return
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def for_each_photo(function: Callable[..., Tensor], *batches: Tensor, threads: int) -> list[Tensor]:
    """``function`` of each photo of ``batches`` (N x ..., all of the same N), in their order.

    This thread works, too: with OpenMP, a team of threads stays awake for milliseconds after its
    last operation, and would compete with ``threads`` further ones. Raises what ``function`` does.
    """
    photos = list(zip(*batches, strict=True))
    found: dict[int, Tensor] = {}
    numbers = iter(range(len(photos)))  # shared: each thread takes the next
    inference = torch.is_inference_mode_enabled()  # new threads do not inherit it

    def work() -> None:
        with torch.inference_mode() if inference else nullcontext():
            for number in numbers:
                found[number] = function(*photos[number])

    with ThreadPoolExecutor(max(1, threads)) as pool:
        others = [pool.submit(work) for _ in range(min(threads, len(photos)) - 1)]
        work()
    for other in others:
        other.result()
    return [found[number] for number in range(len(photos))]
