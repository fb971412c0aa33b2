"""The kernels of `pytest --nbval`: copies of one process, which end when nobody needs them."""

import ast
import sys
import time

import kernels
import psutil
import pytest
from jupyter_client.manager import KernelManager

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, no process is copied")
PROOF = "(os.getpid(), os.getcwd(), os.environ['PROOF'], {'torch', 'pandas'} & {*sys.modules})"


def gone(pid, seconds=20):
    """Whether this process ends in time."""
    end = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_kernel_has_the_imports_and_ends_with_who_asked_for_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PROOF", "seen")
    found = []
    with kernels.served() as address:
        command = kernels.command(address)
        for _ in range(2):
            manager = KernelManager(kernel_name="python3")
            manager.kernel_spec.argv = command
            manager.start_kernel(cwd=str(tmp_path))
            client = manager.client()
            client.start_channels()
            client.wait_for_ready(timeout=60)
            said = []
            client.execute_interactive(f"import os, sys\nprint({PROOF})", output_hook=said.append)
            [text] = [one["content"]["text"] for one in said if one["msg_type"] == "stream"]
            pid, *rest = ast.literal_eval(text)
            assert rest == [str(tmp_path), "seen", {"torch"}]
            client.stop_channels()
            found.append((pid, manager))
        (first, asked), (second, other) = found
        asked.shutdown_kernel(now=True)
        assert gone(first)
        assert psutil.pid_exists(second)
    assert gone(second)
    other.shutdown_kernel(now=True)
