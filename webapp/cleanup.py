"""What visitors leave behind, cleared away an hour later: their sessions, and files, also of an app that was killed.

Not by Gradio's `delete_cache`: it knows the files that a component showed, not those that a session holds or a process
before left; it ends with the first file that a visitor adds while it looks; and a page that ends would delete what
other pages and studios show from the same folder, as the example faces. Visits are dropped by `webapp.visits`.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import gradio as gr
from gradio.routes import App
from gradio.utils import get_upload_folder

from webapp.files import OWN_FOLDER
from webapp.session import Session
from webapp.visits import Pages

AN_HOUR = 3600.0
EVERY = 60.0  # seconds
M_ARENA_MAX = -8  # of malloc.h
OURS = re.compile(r"[0-9a-f]{16,}|deep_links")  # folders of uploads, of `webapp.files`, and of Gradio's links
BROKEN_OFF = re.compile(r"tmp[a-z0-9_]{8}")  # an upload that has not ended yet, or never will

log = logging.getLogger(__name__)


@asynccontextmanager
async def tidying(app: App) -> AsyncIterator[None]:
    """A lifespan for `launch(app_kwargs={"lifespan": tidying})`."""
    task = asyncio.create_task(_again_and_again(app))
    try:
        yield
    finally:
        task.cancel()


async def _again_and_again(app: App) -> None:
    while True:
        await asyncio.sleep(EVERY)
        try:
            await anyio.to_thread.run_sync(tidy, app, AN_HOUR)
        except Exception:
            log.exception("could not clear everything away")


def tidy(app: App, age: float) -> None:
    """Clear away what nobody has used for `age` seconds; what the page shows to everybody stays."""
    page = app.get_blocks()
    forget(app.state_holder, age)
    for visit, events in list(page._queue.pending_event_ids_session.items()):
        if not events and visit not in app.state_holder:
            page._queue.pending_event_ids_session.pop(visit, None)
    for block in list(page.blocks.values()):
        for path in tuple(block.keep_in_cache):
            with suppress(OSError):
                os.utime(path)
        if isinstance(block, gr.State) and isinstance(block.value, Session):
            block.value.touch()
    clear(Path(get_upload_folder()), age)
    for known in page.temp_file_sets:  # they grow for as long as the app runs
        known.difference_update([path for path in tuple(known) if not Path(path).exists()])
    give_back()


def forget(pages: Pages, age: float) -> None:
    """Drop the visits that nothing has been asked in for `age` seconds; pages without a visit, which are those of
    programs, after a minute."""
    pages.forget(age, min(age, EVERY))


def give_back() -> None:
    """Return freed memory to the system, which the allocator of Linux (glibc) otherwise keeps."""
    if libc := _glibc():
        gc.collect()
        libc.malloc_trim(0)


def few_arenas() -> None:
    """Let all threads allocate from two heaps: one for each, as glibc has it, took 300 MB more with twenty visitors."""
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, 2)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") else None


def clear(folder: Path, age: float) -> None:
    """Delete files in `folder` that are older, and folders in which nothing has changed for so long.

    In a folder that this app made all of them; in one that somebody else chose, those that Gradio and this app make.
    """
    everything = folder.name.startswith(OWN_FOLDER)
    shared = folder.resolve() == Path(tempfile.gettempdir()).resolve()  # where tmp... may be any program's
    for inner in list(folder.iterdir()) if folder.is_dir() else ():
        broken_off = BROKEN_OFF.fullmatch(inner.name) and inner.is_file() and not shared
        if everything or broken_off or OURS.fullmatch(inner.name):
            _clear(inner, age)


def _clear(path: Path, age: float) -> None:
    with suppress(OSError):  # gone meanwhile, or somebody else's
        old = _idle(path) > age
        if path.is_dir() and not path.is_symlink():
            for inner in list(path.iterdir()):
                _clear(inner, age)
            if old:
                path.rmdir()
        elif old:
            path.unlink()


def _idle(path: Path) -> float:
    """Seconds since it was written, copied or touched."""
    status = path.lstat()
    return time.time() - max(status.st_mtime, status.st_ctime)
