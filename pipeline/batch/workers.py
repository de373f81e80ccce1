"""The processes that open photos, find faces and write pictures."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from pipeline.errors import UserError

Answer = TypeVar("Answer")
SERVE = "from pipeline.batch.stages import serve; serve()"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
DIED = (
    "The process that worked on this photo was ended, perhaps for want of memory; please save the photo smaller, or "
    "start with fewer workers."
)
NOT_STARTED = "The processes that open photos can't be started: {}"


class Workers:
    """Processes that run functions of `stages`. One that dies takes along nothing but the photo that it worked on.

    They import neither PyTorch, but for paintings, nor the script that started this process, as those of
    `multiprocessing` would.
    """

    def __init__(self, count: int) -> None:
        self._idle: SimpleQueue[subprocess.Popen | None] = SimpleQueue()
        self._all: set[subprocess.Popen] = set()
        self._ended = False
        try:
            for process in [self._begun() for _ in range(count)]:
                self._idle.put(self._ready(process))
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __call__(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """What `work` answers in one of the processes, once one is idle. May be called by several threads.

        Raises UserError and OSError as `work` does, and UserError where the process dies.
        """
        process = self._idle.get()
        try:
            if process is None:
                process = self._ready(self._begun())
            pickle.dump((work, arguments), process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            done, answer = pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError, BrokenPipeError, ValueError):  # the last: `end` has closed it
            if process:
                self._end(process)
                process = None
            raise UserError(DIED) from None
        finally:
            self._idle.put(process)
        if not done:
            raise answer
        return answer

    def end(self) -> None:
        """End the processes; calls that wait for them raise a UserError."""
        self._ended = True
        for process in list(self._all):
            self._end(process)

    def _begun(self) -> subprocess.Popen:
        if self._ended:
            raise UserError(DIED)
        paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(paths)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        try:
            process = subprocess.Popen([sys.executable, "-P", "-c", SERVE], env=environment, **pipes)
        except OSError as error:
            raise UserError(NOT_STARTED.format(error.strerror)) from None
        self._all.add(process)
        return process

    def _ready(self, process: subprocess.Popen) -> subprocess.Popen:
        """A process that has begun to answer. Raises UserError where it doesn't."""
        try:
            pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self._end(process)
            raise UserError(NOT_STARTED.format(f"{sys.executable} ended at once")) from None
        return process

    def _end(self, process: subprocess.Popen) -> None:
        """A picture that it is writing is not there yet, see `written_whole`."""
        self._all.discard(process)
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(OSError):  # something was not sent yet
            process.stdin.close()
