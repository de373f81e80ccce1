"""Joining a Ray cluster, for many photos (`pipeline.batch`) and for the page. Ray is an extra, and is imported once it
is asked for."""

import logging
import os
import socket
import subprocess
import sys
from typing import Any

from pipeline.errors import UserError

HERE = "local"  # Ray is started on this machine, and ends with this process
REACH_SECONDS = 5.0  # for a connection to the cluster; Ray itself tries for minutes
PROBE_SECONDS = 60.0  # for the cluster to say that it is there; the program that asks takes seconds to start
MISSING = 'Ray is not installed; please install it with: pip install -r requirements-ray.txt (or ".[ray]").'
NO_ANSWER = (
    "No Ray cluster answers at “{}”; please check the address, as `ray start --head` tells it (HOST:PORT), or leave it "
    "out."
)
TOKEN = "The Ray cluster at {} asks for its token; please copy ~/.ray/auth_token from there."
REFUSED = "The Ray cluster at {} can't be used: {}."


def imported() -> Any:
    """The package. Raises UserError where it is not installed."""
    if os.path.exists(os.path.expanduser("~/.ray/auth_token")):  # noqa: PTH110, PTH111  # also where there is no home
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when it is imported
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of what is done is told to others
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what goes wrong is said in a sentence
    try:
        import ray
    except ImportError:
        raise UserError(MISSING) from None
    return ray


def join(address: str, store: int | None = None) -> bool:
    """Connect this process to the cluster at HOST:PORT; `HERE` starts one, with a `store` of so many bytes of shared
    memory, or as many as Ray takes; "auto" is the cluster that this machine is part of. False where it is connected
    already, and nothing changes.

    Raises UserError where Ray is not installed, where nothing answers, and for a cluster that asks for a token or is of
    another version.
    """
    ray = imported()
    if ray.is_initialized():
        return False
    options = {"include_dashboard": False, "object_store_memory": store} if address == HERE else {}
    if address not in (HERE, "auto"):
        _probe(address)
    try:
        ray.init(address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR, **options)
    except (Exception, SystemExit) as error:  # Ray raises ConnectionError, RuntimeError, ValueError; and exits
        ray.shutdown()
        if isinstance(error, (ConnectionError, SystemExit)):
            raise UserError(NO_ANSWER.format(address)) from None
        raise UserError(REFUSED.format(address, " ".join(str(error).split()).rstrip("."))) from None
    return True


def _probe(address: str) -> None:
    """Raises UserError where no cluster answers at an address, or where it asks for a token."""
    client = address.startswith("ray://")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
        if client:
            return
        # Another process asks, because a connection that fails would end this one.
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
        asked = subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS)
    except (OSError, ValueError, OverflowError, subprocess.TimeoutExpired):
        raise UserError(NO_ANSWER.format(address)) from None
    if b"AuthenticationError" in asked.stderr:
        raise UserError(TOKEN.format(address))
    if asked.returncode:
        raise UserError(NO_ANSWER.format(address))
