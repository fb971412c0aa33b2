"""Kernels for `pytest --nbval` that start at once: copies of one process that has made the slow imports.

python kernels.py serve FD              the process that listens there, until its standard input ends
python kernels.py start ADDRESS FILE    a kernel with the connection FILE, in this folder, until it ends
"""

import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

IMPORTS = (
    "torch",
    "torchvision",
    "scipy.stats",
    "matplotlib.figure",
    "ipykernel.kernelapp",
)
"""Imports of most chapters, which take seconds. Not pandas and pyplot, which ask for the kernel that they are in."""


@contextmanager
def served() -> Iterator[str]:
    """Serve kernels that have this environment, at the address; at the end, those that still run are killed."""
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/kernels"
        listener.bind(address)
        listener.listen()
        number = listener.fileno()
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(number)],
            stdin=subprocess.PIPE,
            pass_fds=[number],
        )
        with server:
            yield address


def command(address: str) -> list[str]:
    """The command by which Jupyter starts a kernel."""
    return [sys.executable, "-S", __file__, "start", address, "{connection_file}"]


def start(address: str, connection_file: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        server.sendall(f"{os.getcwd()}\n{connection_file}\n".encode())
        server.recv(1)  # nothing comes: the kernel has ended


def serve(number: str) -> None:
    for name in IMPORTS:
        importlib.import_module(name)
    gc.freeze()
    kernels = []
    with socket.socket(fileno=int(number)) as listener:
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not (pid := os.fork()):
                listener.close()
                run(connection)
                os._exit(0)
            connection.close()
            kernels.append(pid)
    for pid in kernels:
        if os.waitpid(pid, os.WNOHANG) == (0, 0):  # it still runs
            os.kill(pid, signal.SIGKILL)
    os._exit(0)  # without the farewells of the imports


def run(connection: socket.socket) -> None:
    """Be a kernel, for as long as the process that asked for it lives."""
    from ipykernel.kernelapp import launch_new_instance

    asked = connection.makefile()
    folder, connection_file = (asked.readline().rstrip("\n") for _ in range(2))
    os.setsid()
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # as nbval does

    def watch() -> None:
        connection.recv(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    launch_new_instance(argv=["-f", connection_file])


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    serve(*given) if what == "serve" else start(*given)
