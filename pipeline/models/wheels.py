"""Wheels from the user's own package index, by pip's own client: downloaded, never installed."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

OPTIONS = "--no-deps --only-binary=:all: --no-input --disable-pip-version-check --retries=2 --quiet"
LOOK_EVERY = 0.2  # seconds


class WheelError(Exception):
    """What pip said when it could not get a wheel."""


def download_wheel(requirement: str, target: Path, progress: Callable[[int], object]) -> None:
    """Downloads the wheel of a `requirement`, NAME==VERSION, to the file `target`.

    Mirrors, proxies and caches are those that pip is set up for. `progress` is called with the bytes that are here, and
    may raise to stop the download. Raises WheelError when pip can't get it, OSError when it can't be kept; nothing is
    left then.
    """
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", suffix=".part", dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", *OPTIONS.split(), "--dest", folder, requirement]
        with (
            (Path(folder) / "messages").open("w+") as messages,
            subprocess.Popen(command, stdout=messages, stderr=messages, env=os.environ | {"TMPDIR": folder}) as pip,
        ):
            try:
                while pip.poll() is None:  # pip tells its progress to terminals only; what it has is in the folder
                    progress(_largest(Path(folder)))
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        pip.wait(LOOK_EVERY)
            except BaseException:
                pip.kill()
                raise
            messages.seek(0)
            said = messages.read().strip()
        wheels = list(Path(folder).glob("*.whl"))
        if pip.returncode or len(wheels) != 1:
            raise WheelError(said)
        wheels[0].replace(target)


def _largest(folder: Path) -> int:
    """Bytes of the largest wheel under a folder, in which pip moves and removes files."""
    size = 0
    for path in folder.rglob("*.whl"):
        with contextlib.suppress(FileNotFoundError):
            size = max(size, path.stat().st_size)
    return size
