"""Provenance of a run: package versions, commit and hardware."""

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TypedDict

import torch


class Environment(TypedDict):
    """With what and where a run is made: three entries of a record."""

    versions: dict[str, str]
    commit: str | None
    hardware: str


def environment(device: torch.device | str = "auto") -> Environment:
    """The versions, commit and hardware of a run on ``device``: ``Record(..., **environment())``.

    Ask when the run starts: the files of a checkout may change while it goes on.
    """
    packages = ("torchvision", "lightning-fabric", "numpy", "pillow")
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {
        "versions": versions | {name: metadata.version(name) for name in packages},
        "commit": commit(),
        "hardware": hardware(device),
    }


def commit(root: Path | None = None) -> str | None:
    """The commit of the checkout at ``root`` (the one this package lies in), or None where that is no checkout.

    "+changes" follows it where the package ``fcn`` differs from the commit, files that are not in it included. A copy
    of a checkout's files, without its history, is what FCN_COMMIT says it is; raises ValueError if that is no commit.
    """
    root = (root or Path(__file__).parents[2]).resolve()

    def git(*arguments: str) -> list[str]:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()

    try:
        top, head = git("rev-parse", "--show-toplevel", "HEAD")
        changes = git("status", "--porcelain", "--", "fcn")
    except (OSError, subprocess.CalledProcessError):
        said = os.environ.get("FCN_COMMIT") or None
        if said and not re.fullmatch(r"[0-9a-f]{40}(\+changes)?", said):
            raise ValueError(
                f"FCN_COMMIT is {said!r}: give the 40 letters and digits of a commit"
            ) from None
        return said
    if Path(top).resolve() != root:  # installed somewhere inside a checkout of something else
        return None
    return head + ("+changes" if changes else "")


def hardware(device: torch.device | str = "auto") -> str:
    """What ``device`` is: the name of a GPU, or of the CPU with the number of cores that this process may use.

    "auto" and "gpu" mean the accelerator, or the CPU where there is none. Processes of one run are counted.
    """
    if str(device) in ("auto", "gpu"):
        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    device = torch.device(device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        name = f"{_cpu_model()}, {cores} cores"
    else:
        name = f"{device.type} of {_cpu_model()}"
    return f"{processes} x {name}" if processes > 1 else name


def _cpu_model() -> str:
    try:
        if platform.system() == "Darwin":
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, subprocess.CalledProcessError, StopIteration):  # Windows, and Linux on ARM
        return platform.processor() or platform.machine()
