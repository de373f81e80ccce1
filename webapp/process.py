"""The process around the studio: what it needs from its environment, how it says why it can't start, how it ends.

Imports nothing but the standard library at first, so that it can speak before Gradio and PyTorch are there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# What Gradio reads as a whole number without looking, and the least and the most that it can be.
NUMBERS = {
    "GRADIO_SERVER_PORT": (1, 65535),
    "GRADIO_NUM_PORTS": (1, 65535),
    "GRADIO_NODE_SERVER_PORT": (1, 65535),
    "GRADIO_NODE_NUM_PORTS": (1, 65535),
    "GRADIO_NUM_WORKERS": (0, 64),
    "GRADIO_DEBUG": (0, 1),
    "GRADIO_ANALYTICS_MAX_EVENTS": (1, 10**9),
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": (1, 10**9),
    "GRADIO_DEFAULT_CONCURRENCY_LIMIT": (1, 10**9),
}
PATIENCE = 3.0  # seconds that a studio waits for another one that clears the folder
TRIES = 10  # to serve another model at the same port, one a second; meanwhile another program may have the port
OPEN_FILES = 4096  # of one process; a visitor has two connections, and many systems allow 1,024 where nobody asks


class StartError(Exception):
    """The studio can't start; the message is a sentence for who started it."""


def on_zero_gpu() -> bool:
    """Whether this is a Space whose GPU is lent for each call."""
    return os.environ.get("SPACES_ZERO_GPU") == "true"


def prepare() -> None:
    """Set what the packages find when they are imported: the environment, and standard streams, which may be closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which else a socket would get
    exempt = [os.environ.get(name, "") for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)]
    exempt += [*LOOPBACK, os.environ.get("GRADIO_SERVER_NAME", "")]
    # Gradio asks itself whether it is there, and a proxy elsewhere can't answer that.
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys(filter(None, exempt)))
    try:
        Path.home()
    except RuntimeError:  # an account without HOME that the system doesn't know, as in many containers
        os.environ["HOME"] = tempfile.gettempdir()


@contextlib.contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Whatever stops the start ends the process with one sentence, and Ctrl-C with none."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        logging.getLogger(__name__).debug("the start failed", exc_info=True)
        sys.exit(_sentence(error))


def _sentence(error: Exception) -> str:
    if isinstance(error, StartError) or type(error).__name__ == "UserError":
        return str(error)
    ours = ("pipeline", "webapp", "families")
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] not in ours:
        return f"The package {error.name} is missing; pip install -r requirements.txt brings it."
    if isinstance(error, OSError) and "empty port" in str(error):
        first, most = os.environ.get("GRADIO_SERVER_PORT", "7860"), os.environ.get("GRADIO_NUM_PORTS", "100")
        return f"Port {first} is taken, and so are all of the {most} from there; GRADIO_SERVER_PORT names another."
    if isinstance(error, OSError) and error.filename:
        return f"The studio can't start: {error.filename}: {error.strerror}."
    reason = " ".join(str(error).split())[:300].rstrip(".")
    return f"The studio can't start: {type(error).__name__}{reason and f', {reason}'}."


def check_environment() -> None:
    """Raises StartError for a variable whose value Gradio can't use."""
    for name, (least, most) in NUMBERS.items():
        text = os.environ.get(name, "").strip()
        if name == "GRADIO_DEFAULT_CONCURRENCY_LIMIT" and text.lower() == "none":
            continue
        if name in os.environ and not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise StartError(f"{name} is “{os.environ[name]}”; it must be a whole number from {least} to {most}.")
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    try:
        with socket.socket() as door:
            door.bind((host, 0))
    except (OSError, UnicodeError):
        raise StartError(f"GRADIO_SERVER_NAME is “{host}”, which is no IPv4 address of this machine.") from None


@contextlib.contextmanager
def without_proxies() -> Iterator[None]:
    """Hide the environment's proxies: one of a kind that httpx doesn't know would fail even what goes around it."""
    names = [name for name in os.environ if name.lower() in PROXIES]
    kept = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(kept)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


class _Forgiving:
    """A stream that nobody may read any more, or that can't write every character: what fails is left out."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_streams() -> None:
    """Make printing harmless: where a stream is closed, a pipe's reader has gone, the disk is full, or the terminal
    knows no such character, nothing fails."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or _nowhere()
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")
        setattr(sys, name, _Forgiving(stream))


def more_files() -> None:
    """Let the process open as many files as a crowd needs, where the system lets it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _share(lock: int) -> None:
    """Take a lock that others may have too. One that ends and clears the folder has it alone for a moment.

    Raises OSError where somebody has it alone for longer.
    """
    import fcntl

    end = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[Callable[[], bool]]:
    """Hold a folder that several studios of one account may share; gives a function that says whether this is the only
    one left. To be called before a studio writes there: another one that ends clears what nobody holds."""
    with contextlib.ExitStack() as stack:
        try:
            import fcntl  # not on Windows

            lock = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, lock)
            _share(lock)
        except (ImportError, OSError):
            yield lambda: False
            return

        def alone() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        yield alone


def _stopped(*_: Any) -> None:
    raise KeyboardInterrupt


def serve_until_stopped(page: Any, launch: Callable[..., Any], folder: Path, alone: Callable[[], bool]) -> None:
    """Serve a page that was launched until Ctrl-C, SIGTERM or the end of its terminal. Then end the process in a few
    seconds: jobs stop at their next step, visitors are told so, and their files go if `alone()`, see `in_use`.

    `launch` serves the page of another model, where this one has a successor. Where that fails, the files go as well.
    """
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in numbers:
            if before[number] != signal.SIG_IGN:  # nohup lets a program outlive its terminal
                signal.signal(number, _stopped)
        while page.is_running:
            time.sleep(0.1)
            if page.successor:
                page = succeeded(page, launch)
    except KeyboardInterrupt:
        _end(page, folder, alone)
    finally:
        _clear(folder, alone)
        for number in numbers:
            signal.signal(number, before[number])


def succeeded(page: Any, launch: Callable[..., Any]) -> Any:
    """Serve the successor of a page at its address; gives the successor. What still runs ends, and who opened the old
    page is told that the model was changed. Raises StartError where another program keeps the port."""
    from webapp.jobs import CHANGED

    fresh, port = page.successor, page.server_port
    page.end(CHANGED)
    page.app.state_holder.outdate()
    for _ in range(TRIES):
        with contextlib.suppress(OSError):
            launch(fresh, server_port=port)
            return fresh
        time.sleep(1)
    raise StartError(f"Another program took port {port} while the model was changed; please start the studio again.")


def _clear(folder: Path, alone: Callable[[], bool]) -> None:
    from webapp.cleanup import clear

    with contextlib.suppress(Exception):
        if alone():
            clear(folder, -1)


def _end(page: Any, folder: Path, alone: Callable[[], bool]) -> None:
    from gradio.tunneling import CURRENT_TUNNELS

    from webapp.jobs import STOPPING

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(1))  # who asks twice means it
    print("Stopping: jobs end at their next step. Once more, and it ends at once.")
    logging.disable(logging.CRITICAL)  # what is cut off below is not worth a traceback
    if page.is_running:
        page.end(STOPPING)
    _clear(folder, alone)
    for tunnel in CURRENT_TUNNELS:
        tunnel.kill()
    sys.stdout.flush()
    # Threads in PyTorch, or that wait for a server, can't be ended otherwise; where they outlive Python, it aborts.
    os._exit(0)
