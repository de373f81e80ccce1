"""The studio on replicas of Ray Serve: the page's process has no network's weights, and asks whichever replica is free.

A page has an application of its own, which ends with it. Each replica is a process with the model, and decides itself
whose turn it is to compute there. Calls are made again where a replica died on the way; of a run the visitor is told.
This module is imported only where Ray is asked for: requirements-ray.txt has it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import ray
from PIL import Image
from ray import serve
from ray.exceptions import ActorDiedError, RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from pipeline import StyleCLIP
from pipeline.errors import UserError
from pipeline.faces.detection import Face
from pipeline.faces.photos import Photo
from pipeline.models.family import Family
from pipeline.models.registry import GENERATOR, OVERLAY, REGISTRY
from webapp.backends import CALLS, Backend, turn_of
from webapp.backends.travelling import answered, packed, unpacked, unpacked_request
from webapp.backends.weightless import known_of
from webapp.jobs import LONGEST_RUN, TELL_EVERY, Scheduler
from webapp.process import StartError

ANSWERS = 16  # calls and runs that a replica takes at a time; the others wait in the page's process
WAITING = 2  # calls and runs for each replica, above which one is added where their number may grow
CPUS = 2  # of a replica, where their number may grow and there is no GPU
START_SECONDS = 600.0  # for the replicas to load the model, which may have to be downloaded
CALL_SECONDS = 600.0  # for an answer; to repeat a long run takes minutes

GONE = (
    "The replica that worked on this has ended, perhaps for want of memory. Your pictures are still here; please try "
    "again."
)
NO_ANSWER = "No replica of the studio answers; your pictures are still here, please try again in a few minutes."

log = logging.getLogger(__name__)


@ray.remote(num_cpus=0, max_restarts=-1)
class Page:
    """A process that lives for as long as the page's: by it the replicas know that they are still wanted."""

    def is_there(self) -> bool:
        return True


class Replica:
    """One process that computes. Serve makes as many as were asked for, and another where one dies."""

    def __init__(self, page: Any, model: str, registry: str | Path) -> None:
        self._page, self._jobs = page, Scheduler()
        self._wrong: UserError | None = None
        self._threads = ThreadPoolExecutor(ANSWERS)
        try:
            self._studio = StyleCLIP.from_pretrained(model, registry=registry)
        except UserError as error:  # which `known` tells; Serve would try again and again
            self._wrong = error

    async def check_health(self) -> None:
        """Serve asks every ten seconds. Where the page was killed, nobody else ends its replicas."""
        try:
            await self._page.is_there.remote()
        except ActorDiedError:
            name = serve.get_replica_context().app_name
            await asyncio.wrap_future(self._threads.submit(serve.delete, name, _blocking=False))

    async def known(self) -> bytes:
        """What the page has to know of the model; what is wrong with it, where it can't be had."""
        return packed(self._wrong or known_of(self._studio.family))

    async def call(self, request: bytes, pictures: bool) -> bytes:
        """The answer to a call, with the `pictures` of edits or without."""
        return await asyncio.wrap_future(self._threads.submit(self._answer, request, pictures))

    def _answer(self, request: bytes, pictures: bool) -> bytes:
        with unpacked_request(request, self._studio) as (name, make):
            if name == "thumbnails":
                with self._jobs.background(TELL_EVERY) as mine:
                    return answered(make) if mine else packed({})
            with getattr(self._jobs, turn_of(name, self._studio))():
                return answered(make, pictures)

    async def run(self, request: bytes) -> AsyncIterator[bytes]:
        """The steps of a run. It ends after the step that is computed when nobody listens any more."""
        steps = self._steps(request)
        step = self._threads.submit(next, steps, None)
        try:
            while (content := await asyncio.wrap_future(step)) is not None:
                yield content
                step = self._threads.submit(next, steps, None)
        finally:
            step.add_done_callback(lambda _: steps.close())

    def _steps(self, request: bytes) -> Iterator[bytes]:
        whole = self._studio.family.generator.size
        with unpacked_request(request, self._studio) as (_, begin):
            try:
                with closing(begin()) as steps:
                    while True:
                        with self._jobs.batch():
                            if (step := next(steps, None)) is None:
                                return
                            content = packed(step, pictures=step.image.width == whole)  # or drawn when it is asked for
                        yield content
            except UserError as error:
                yield packed(error)


class OnReplicas(Backend):
    """A studio whose calls and runs replicas make. It knows the model, without its weights."""

    calls = CALLS | {"align"}

    def __init__(self, handle: Any, family: Family, replicas: int, close: Callable[[], None]) -> None:
        """`handle` is Serve's, `family` has no weights, `replicas` is how many there are at most."""
        super().__init__(StyleCLIP(family))
        self._handle, self.replicas, self.close = handle, replicas, close
        self._alive, self._counting = replicas, Lock()

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self._ask(True, name, *args, **kwargs)

    def align(self, photo: Photo) -> list[Face]:
        """As the studio's. The file goes to the replica as it is, and is opened there."""
        if isinstance(photo, str | Path) and Path(photo).is_file():
            photo = BytesIO(Path(photo).read_bytes())
        elif not isinstance(photo, Image.Image | str | Path):
            photo.seek(0)
            photo = BytesIO(photo.read())
        return self._ask(True, "align", photo)

    def _ask(self, pictures: bool, name: str, /, *args: Any, **kwargs: Any) -> Any:
        request, call = (
            packed((name, args, kwargs), pictures=False, files=True),
            self._handle.options(method_name="call"),
        )
        for again in (True, False):
            try:
                return self._opened(call.remote(request, pictures).result(timeout_s=CALL_SECONDS))
            except RayTaskError as error:  # what the call raised
                raise error.cause from None
            except (TimeoutError, RayServeException):
                raise UserError(NO_ANSWER) from None
            except RayError as error:  # a call changes nothing, so that another replica may make it
                log.warning("a replica ended during %s: %s", name, type(error).__name__)
                if not again:
                    raise UserError(GONE) from None

    def run(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Any]:
        super().run(name, *args, **kwargs)  # raises what is wrong with the arguments; computes only when iterated
        return self._steps(name, packed((name, args, kwargs), pictures=False))

    def _steps(self, name: str, request: bytes) -> Iterator[Any]:
        steps = self._handle.options(method_name="run", stream=True).remote(request)
        try:
            for step in steps:
                yield self._opened(step)
        except RayTaskError as error:
            raise error.cause from None
        except RayServeException:
            raise UserError(NO_ANSWER) from None
        except RayError as error:
            log.warning("a replica ended during %s: %s", name, type(error).__name__)
            raise UserError(GONE) from None
        finally:
            steps.cancel()

    def _opened(self, content: bytes) -> Any:
        return unpacked(content, partial(self.call, "image"))

    def alive_replicas(self) -> int:
        """How many replicas answer now, as Serve says; 0 where nothing of it answers. One thread at a time waits for
        Serve, whose answer may not come; the others are told its last one."""
        if self._counting.acquire(blocking=False):
            try:
                states = serve.status().applications[self._handle.app_name].deployments.values()
                self._alive = sum(deployment.replica_states.get("RUNNING", 0) for deployment in states)
            except (RayError, RayServeException, KeyError):
                self._alive = 0
            finally:
                self._counting.release()
        return self._alive

    @property
    def sketching(self) -> _Sketching:
        return _Sketching(self)


class _Sketching:
    """The studio, whose edits come without a picture, which is drawn if it is asked for."""

    def __init__(self, studio: OnReplicas) -> None:
        self._studio = studio

    def __getattr__(self, name: str) -> Any:
        return partial(self._studio._ask, False, name) if name in CALLS else getattr(self._studio, name)


# The cluster


def shares(replicas: int | None, cpus: Sequence[float], gpus: Sequence[float]) -> tuple[int, dict[str, float]]:
    """How many replicas a cluster has, at most, and what each takes of it, from the CPUs and GPUs of its machines. More
    than there are GPUs share them; where the number may grow (None), each has one of its own, or two CPUs."""
    count = replicas or max(1, int(sum(gpus) or sum(each // CPUS for each in cpus)))
    if any(gpus):
        return count, {"num_gpus": min(1.0, _share(count, gpus)), "num_cpus": min(1.0, _share(count, cpus))}
    return count, {"num_cpus": _share(count, cpus)}


def _share(count: int, sizes: Sequence[float]) -> float:
    """The most that each of `count` replicas can take where each is on one machine, of these sizes: a whole number, or
    below 1 a number of four digits, as Ray counts."""
    possible = {size / parts for size in sizes for parts in range(1, count + 1)}
    share = max((s for s in possible if s and sum(int(size / s + 1e-9) for size in sizes) >= count), default=0.0)
    return float(int(share)) if share >= 1 else math.floor(share * 10_000) / 10_000


def deployed(model: str, replicas: int | None, registry: str | Path = REGISTRY) -> OnReplicas:
    """The studio of a model on so many replicas of the cluster that was joined; for None, as many as visitors need.

    Raises StartError where there is no room for them, and UserError where the model can't be had."""
    has, free = ray.cluster_resources(), ray.available_resources()
    machines = [machine["Resources"] for machine in ray.nodes() if machine["Alive"]]
    count, share = shares(replicas, *([each.get(kind, 0) for each in machines] for kind in ("CPU", "GPU")))
    first = replicas or 1
    if any(free.get(name, 0) < first * share.get(f"num_{name.lower()}s", 0) for name in ("CPU", "GPU")):
        have = ", ".join(f"{free.get(name, 0):g} of {has[name]:g} {name}s" for name in ("CPU", "GPU") if name in has)
        raise StartError(f"The Ray cluster has no room for {first} replicas: free are {have or 'no CPUs'}.")
    name = f"styleclip-{secrets.token_hex(4)}"
    number = {"num_replicas": replicas}
    if replicas is None:
        growth = {"min_replicas": 1, "max_replicas": count, "target_ongoing_requests": WAITING}
        number = {"autoscaling_config": growth}
    told = {name: os.environ[name] for name in (OVERLAY, GENERATOR) if name in os.environ}
    studio = serve.deployment(
        Replica,
        name="studio",
        max_ongoing_requests=ANSWERS,
        graceful_shutdown_timeout_s=LONGEST_RUN,  # a replica that is one too many ends what it has begun
        ray_actor_options=share | ({"runtime_env": {"env_vars": told}} if told else {}),
        logging_config={"enable_access_log": False},
        **number,
    )
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    page = Page.remote()
    serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
    try:
        handle = _within(
            START_SECONDS, partial(serve.run, studio.bind(page, model, registry), name=name, route_prefix=None)
        )
        family = Family(**unpacked(handle.known.remote().result(timeout_s=CALL_SECONDS)))
    except TimeoutError:
        serve.delete(name, _blocking=False)
        raise StartError(f"The replicas were not ready after {START_SECONDS:g} s; Ray's logs say why.") from None
    except RuntimeError as error:
        serve.delete(name, _blocking=False)
        raise StartError(f"The replicas did not start ({' '.join(str(error).split())[:200]}).") from None
    except UserError:
        serve.delete(name)
        raise
    return OnReplicas(handle, family, count, partial(_end, name, page))


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of `work`. Raises TimeoutError where it takes longer; its thread does not keep the process alive."""
    done: Future = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True).start()
    return done.result(seconds)


def _end(application: str, page: Any) -> None:
    """Let the replicas finish what they have begun and end. A Ray of one's own ends too. Holds on to the `page` until
    then."""
    with suppress(Exception):
        serve.delete(application, _blocking=False)
    ray.shutdown()
