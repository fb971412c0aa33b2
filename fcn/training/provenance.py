"""Provenance of a run: package versions, commit, hardware."""

import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fcn.environment import PROJECT, available_cores
from fcn.training.distributed import processes

PACKAGES = ("torch", "torchvision", "lightning-fabric", "lightning", "numpy", "pillow")


def environment(device: str) -> dict[str, Any]:
    """The entries ``versions``, ``commit`` and ``hardware`` of a record.

    Call it when the run starts: files of a checkout may change during the run.
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    versions["torch"] = str(torch.__version__)  # with the build, such as +cu132
    return {"versions": versions, "commit": commit(), "hardware": hardware(device)}


def commit(root: Path = PROJECT) -> str | None:
    """The commit of the checkout at ``root``, or None if it is not a checkout.

    "+changes" is appended if the package ``fcn`` differs from the commit or has untracked files.
    FCN_COMMIT names the commit of a copy without git history; raises ValueError if it is invalid.
    """
    root = root.resolve()
    git = ("git", "-C", str(root))
    try:
        top, head = _output(*git, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        changes = _output(*git, "status", "--porcelain", "--", "fcn")
    except (OSError, subprocess.CalledProcessError):
        given = os.environ.get("FCN_COMMIT") or None
        if given and not re.fullmatch(r"[0-9a-f]{40}(\+changes)?", given):
            raise ValueError(f"FCN_COMMIT is {given!r}: give the 40 digits of a commit") from None
        return given
    if Path(top).resolve() != root:  # installed inside another project's checkout
        return None
    return head + ("+changes" if changes else "")


def hardware(device: str) -> str:
    """The number of processes, if several, and the GPU or the CPU with its available cores."""
    if device == "cuda":
        name = torch.cuda.get_device_name()
    elif device == "cpu":
        name = f"{_cpu_model()}, {available_cores()} cores"
    else:
        name = f"{device} of {_cpu_model()}"
    return f"{processes()} x {name}" if processes() > 1 else name


def _cpu_model() -> str:
    try:
        if platform.system() == "Darwin":
            return _output("sysctl", "-n", "machdep.cpu.brand_string")
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, subprocess.CalledProcessError, StopIteration):  # Windows, Linux on ARM
        return platform.processor() or platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
