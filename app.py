"""Start the studio: `python app.py [--model NAME] [--share]`; also what a Space runs, see docs/deploy.md.

The model family is STYLECLIP_MODEL's where --model is not given; host and port go by Gradio's own conventions
(GRADIO_SERVER_NAME, GRADIO_SERVER_PORT). The page has a menu to change the model, except with --share and on a Space;
only a browser on the same machine may use it. Another model is another page at the same address.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import math
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from webapp import process

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read by Gradio when it is imported
# Not the folder of all Gradio apps: what is old in it is cleared away, whoever left it there.
USER = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / f"styleclip-studio-{USER}"))
process.prepare()
with process.told_in_a_sentence(), process.without_proxies():  # Gradio makes clients when it is imported
    process.check_environment()
    if process.on_zero_gpu():
        import spaces  # noqa: F401  # before torch, in which it puts its own CUDA

    from pipeline import StyleCLIP
    from pipeline.errors import UserError
    from pipeline.models.registry import BUILT_IN, DEFAULT, GENERATOR, family_row
    from pipeline.ray_cluster import HERE, join
    from webapp.access import hide_endpoints_before_login
    from webapp.backends.zero_gpu import on_gpu
    from webapp.cleanup import few_arenas, tidying
    from webapp.files import make_private
    from webapp.monitoring import write_events
    from webapp.page import LAUNCH, TRAINING_MINUTES, build

OBJECT_STORE = 2**28  # bytes of shared memory of a Ray of one's own, through which pictures go


def credentials(text: str) -> tuple[str, str]:
    """USER:PASSWORD as a pair. Raises argparse's error, which never repeats the text."""
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("please give a name and a password, as in --auth maker:secret")
    return user, password


def minutes(text: str | float) -> float:
    """A number of minutes, 0 or more. Raises argparse's error for anything else."""
    with contextlib.suppress(ValueError):
        if 0 <= (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"please give a number of minutes, 0 or more, instead of {text}")


def replicas(text: str) -> int | None:
    """A number of replicas, 1 or more; None for "auto". Raises argparse's error for anything else."""
    if text == "auto":
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 1000:
        return int(text)
    raise argparse.ArgumentTypeError(f"please give a number of replicas, 1 to 1000, or auto, instead of {text}")


def main() -> None:
    """Load one model family and serve its page."""
    process.open_streams()
    parser = argparse.ArgumentParser(description="Edit faces with words.")
    parser.add_argument(
        "--model",
        default=os.environ.get("STYLECLIP_MODEL"),
        help=f"model family, see `python -m pipeline.models list` (default: STYLECLIP_MODEL, or else {DEFAULT}, or "
        f"where that can't be had {BUILT_IN})",
    )
    parser.add_argument("--generator", metavar="FILE", help="your own StyleGAN2, as the model “custom”")
    parser.add_argument(
        "--training",
        metavar="MINUTES",
        type=minutes,
        default=os.environ.get("STYLECLIP_TRAINING") or TRAINING_MINUTES,
        help="how long a visitor may train a mapper or a style; 0 switches it off (default: STYLECLIP_TRAINING, or "
        f"else {TRAINING_MINUTES:g})",
    )
    parser.add_argument("--share", action="store_true", help="also make a public link through gradio.live")
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        type=credentials,
        default=os.environ.get("STYLECLIP_AUTH"),
        help="ask everybody for this name and password (better in STYLECLIP_AUTH: the command line is seen by others)",
    )
    parser.add_argument("--mcp", action="store_true", help="also serve the endpoints as MCP tools, see docs/api.md")
    parser.add_argument(
        "--ray",
        metavar="HOST:PORT",
        nargs="?",
        const="",
        help="compute on replicas of Ray Serve, on the cluster at this address, or else on this machine; see "
        "docs/deploy.md",
    )
    parser.add_argument(
        "--replicas",
        metavar="N",
        type=replicas,
        default="auto",
        help="with --ray: how many replicas; auto for as many as visitors need (the default)",
    )
    options = parser.parse_args()
    if options.ray is None and options.replicas is not None:
        parser.error("--replicas needs --ray: without it this process computes")
    if options.ray is not None and importlib.util.find_spec("ray") is None:
        parser.error("--ray needs a package more: pip install -r requirements-ray.txt")
    if options.mcp and options.auth:
        parser.error("--mcp and --auth exclude each other: Gradio's MCP server knows no login; let a proxy ask for it")
    if options.mcp and importlib.util.find_spec("mcp") is None:
        parser.error("--mcp needs a package more: pip install -r requirements-mcp.txt")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    write_events()
    with process.told_in_a_sentence():
        serve(options)


def serve(options: argparse.Namespace) -> None:
    """Serve the page until the process is stopped."""
    if options.generator:
        os.environ[GENERATOR], options.model = options.generator, "custom"
    few_arenas()
    process.more_files()
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    make_private(folder)
    with process.in_use(folder) as alone:
        process.serve_until_stopped(launched(options), partial(launch, options), folder, alone)


def loaded(model: str | None, load: Callable[[str], Any] | None = None) -> Any:
    """The family that was asked for; without a name the default, or the built-in one where files of the default can't
    be had, which is said in a sentence. `load` makes it of its name: in this process unless it is given."""
    load = load or StyleCLIP.from_pretrained
    if model:
        return load(model)
    try:
        return load(DEFAULT)
    except UserError as error:
        if DEFAULT == BUILT_IN or not family_row(DEFAULT).missing():
            raise
        built_in = family_row(BUILT_IN)
        print(f"{error} The studio starts with the model “{built_in.title}” instead.", flush=True)
        return load(BUILT_IN)


def loader(options: argparse.Namespace) -> Callable[[str], Any] | None:
    """What loads a model on replicas of Ray Serve; None where this process does."""
    if options.ray is None:
        return None
    join(options.ray or HERE, OBJECT_STORE)
    from webapp.backends import ray_serve  # which imports Ray

    return lambda model: ray_serve.deployed(model, options.replicas)


def launched(options: argparse.Namespace) -> Any:
    """The page, which visitors can open."""
    print(f"Loading the model “{family_row(options.model or DEFAULT).title}”, which takes a moment.", flush=True)
    studio = loaded(options.model, loader(options))
    # The menu changes the model for everybody: not where strangers share the page. A link of --share would change too.
    changes = not options.share and options.ray is None and "SPACE_ID" not in os.environ
    # A GPU that is lent for each call is not lent for minutes, and a process without weights can't train.
    training = 0 if process.on_zero_gpu() or options.ray is not None else options.training
    backend = studio if options.ray is not None else on_gpu(studio)
    try:
        page = build(backend, StyleCLIP.from_pretrained if changes else None, training)
        launch(options, page)
    except BaseException:
        if options.ray is not None:
            backend.close()
        raise
    return page


def launch(options: argparse.Namespace, page: Any, server_port: int | None = None) -> None:
    """Let visitors open a page, at a port of Gradio's choice unless one is given."""
    if options.auth:
        hide_endpoints_before_login()
    # Only the public link is made elsewhere; the rest of the launch asks nobody but this machine.
    with contextlib.nullcontext() if options.share else process.without_proxies():
        page.queue().launch(
            server_port=server_port,
            share=options.share,
            auth=options.auth,
            mcp_server=options.mcp,
            app_kwargs={"lifespan": tidying},
            prevent_thread_lock=True,
            **LAUNCH,
        )


if __name__ == "__main__":
    main()
