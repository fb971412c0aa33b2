"""Threads with work of their own, instead of all threads at each operation."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Inside, each operation runs on one thread; yields the number of threads outside.

    PyTorch splits every operation among all threads, which then wait for each other. If operations
    are short, as those on a strip of one photo, most of the time is spent waiting. Where PyTorch
    does not use OpenMP, the number of threads cannot change, and stays.
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


def for_each(
    function: Callable[..., Result], *batches: Iterable[object], threads: int
) -> list[Result]:
    """``function`` of each item of ``batches`` (all of the same length), in order, no gradients.

    This thread works, too: with OpenMP, a team of threads stays awake for milliseconds after its
    last operation, and would compete with ``threads`` further ones. Raises what ``function`` does.
    """
    items = list(zip(*batches, strict=True))
    found: dict[int, Result] = {}
    numbers = iter(range(len(items)))  # shared: each thread takes the next
    inference = torch.is_inference_mode_enabled()  # new threads do not inherit it

    def work() -> None:
        with torch.inference_mode() if inference else torch.no_grad():
            for number in numbers:
                found[number] = function(*items[number])

    with ThreadPoolExecutor(max(1, threads)) as pool:
        others = [pool.submit(work) for _ in range(min(threads, len(items)) - 1)]
        work()
    for other in others:
        other.result()
    return [found[number] for number in range(len(items))]
