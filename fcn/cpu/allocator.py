"""The memory allocator of a run on a CPU.

A training step allocates and frees arrays of many megabytes. By default, glibc returns each to the
system at once, which then has to clear the pages of the next one: on two cores, a fifth of a step.
"""

import ctypes
import os
import platform
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

KEPT = "glibc, keeps freed memory"
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
MAPS = Path("/proc/self/maps")
OTHERS = re.compile(r"lib(tcmalloc|jemalloc|mimalloc)\w*[-.]")


@lru_cache(maxsize=1)
def keep_freed_memory() -> str:
    """Let the process keep the memory it frees, for its next allocations; says who allocates.

    That is glibc on Linux, unless another allocator is preloaded or the environment configures
    glibc's (``MALLOC_...``, ``GLIBC_TUNABLES``): such choices are left alone.
    """
    if other := _preloaded():
        return other
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return f"default of {platform.system()}"
    tuned = "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or any(name.startswith("MALLOC_") for name in os.environ):
        return "glibc, set by the environment"
    libc = ctypes.CDLL(None)
    # No array in pages of its own, and no free pages returned: -1 means never.
    if libc.mallopt(M_MMAP_MAX, 0) and libc.mallopt(M_TRIM_THRESHOLD, -1):
        return KEPT
    return "glibc"


def return_freed_memory() -> None:
    """Undo :func:`keep_freed_memory`, for arrays so large that the process has no room for gaps."""
    if keep_freed_memory() == KEPT:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 65536)
        libc.mallopt(M_TRIM_THRESHOLD, 128 * 1024)
        libc.malloc_trim(0)


def _preloaded() -> str:
    """The name of the allocator that replaces the system's, if any."""
    with suppress(OSError):
        if found := OTHERS.search(MAPS.read_text(errors="replace")):
            return found[1]
    return ""
