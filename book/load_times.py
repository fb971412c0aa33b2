"""The time that the site's pages take to load: headless Chromium, CPU slowed down, nothing cached."""

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

Running = TypeVar("Running", bound=ThreadingHTTPServer)
SLOWDOWN = 4  # of the CPU: a laptop's becomes a cheap phone's


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server that does not mind a page closed in the middle of a file."""

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder, served on a free port of this machine."""
    handler = partial(Quiet, directory=str(folder))
    with running(Server(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def running(server: Running) -> Iterator[Running]:
    """A server that answers in a thread of its own, until the end."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def measure(
    browser: Any, address: str, pages: list[str], repeats: int = 5
) -> dict[str, float]:
    """Milliseconds from the request of each page to its load event, median of ``repeats``."""
    times: dict[str, list[float]] = {page: [] for page in pages}
    for _ in range(repeats):
        for name, found in times.items():
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            session = context.new_cdp_session(page)
            session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
            page.goto(f"{address}/{name}.html")
            entry = "performance.getEntriesByType('navigation')[0]"
            found.append(page.evaluate(f"{entry}.loadEventStart"))
            context.close()
    return {name: statistics.median(found) for name, found in times.items()}
