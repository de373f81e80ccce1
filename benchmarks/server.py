"""The app as a process of its own, for the benchmarks that visit or attack it. What it holds is read from /proc, which
Linux has."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parents[1]


class Server:
    """The process of the app, its address, and the folder of its visitors' files."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, cache: Path) -> None:
        self.process, self.url, self.cache = process, url, cache

    def megabytes(self) -> float:
        """Memory that is its own: weights that are mapped from files come and go as the system likes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

    def counts(self) -> tuple[int, int, int]:
        """Open files, threads, files in the cache."""
        proc = Path(f"/proc/{self.process.pid}")
        return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir())), self.files()

    def files(self) -> int:
        """How many files of visitors there are."""
        return sum(path.is_file() for path in self.cache.rglob("*"))


@contextlib.contextmanager
def serving(model: str = "demo", checkout: Path = HERE, options: Sequence[str] = ()) -> Iterator[Server]:
    """The app of a checkout with these options, ready for its first visitor. What it logs as an error is printed in the
    end."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        cache, log = Path(folder) / "cache", Path(folder) / "log"
        environment = os.environ | {"GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(cache)}
        with log.open("wb") as said:
            command = [sys.executable, "app.py", "--model", model, *options]
            process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=said, stderr=said)
        try:
            while process.poll() is None:
                with socket.socket() as door:
                    if door.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield Server(process, f"http://127.0.0.1:{port}", cache)
        finally:
            process.terminate()
            process.wait()
            print("\n".join(line for line in log.read_text().splitlines() if " ERROR " in line), file=sys.stderr)
