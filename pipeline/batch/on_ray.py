"""The same on a cluster, by Ray Data: tasks find faces, actors that hold the models edit them and write the pictures,
and rows stream back. Ray is imported once it is asked for."""

import logging
import pickle
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from pipeline.batch.edits import Editor
from pipeline.batch.results import Row, not_written
from pipeline.batch.rows import Drawer, Pictures, at_once, editing_threads
from pipeline.batch.stages import Search, Task, find_packed, in_this_process
from pipeline.checks import device_of
from pipeline.errors import UserError
from pipeline.models.family import load_family
from pipeline.models.registry import Row as FamilyRow
from pipeline.ray_cluster import MISSING, imported, join
from pipeline.styleclip import StyleCLIP

DIED = (
    "The process that worked on this photo was ended twice, perhaps for want of memory; please save the photo smaller, "
    "or use machines with more memory."
)
GAVE_UP = "Ray gave up ({}); once that is mended, start the same command again to go on."
SHARE = 0.5  # of a CPU, that a task takes, and an actor without a GPU: on one core there is room for both


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Ray at an address, as `ray_cluster.join` takes it, until the end of the block; where this process is connected
    already, nothing changes. Raises UserError as that does."""
    joined = join(address)
    try:
        try:
            import ray.data  # noqa: F401  # a part that may be missing
        except ImportError:
            raise UserError(MISSING) from None
        yield
    finally:
        if joined:
            imported().shutdown()


def finished_on_ray(
    todo: Sequence[Task],
    studio: StyleCLIP,
    tune: bool,
    pictures: Pictures,
    search: Search,
    actors: int | None,
) -> Iterator[list[Row]]:
    """The rows of photos, in the order in which they are finished. So many `actors` hold a model; None: one a GPU of
    the cluster, or one for two CPUs where it has none.

    A process that dies takes its photos along; they are tried once more, each alone, and then get rows that say so.
    """
    left = dict(enumerate(todo))
    family = studio.family
    given = (family.row, family.dtype, family.digests, tune, pictures)
    for alone in (False, True):
        if left:
            for number, rows in _stream(left, given, search, actors, alone):
                if isinstance(rows, UserError):
                    raise rows
                del left[number]
                yield rows
    for task in left.values():
        yield [task.row() | {"error": DIED}]


def _stream(
    tasks: dict[int, Task], given: tuple[Any, ...], search: Search, actors: int | None, alone: bool
) -> Iterator[tuple[int, list[Row] | UserError]]:
    """Numbers and rows of those tasks that come through. A photo is a block of its own, so that only it is lost with
    its task; `alone`, an actor has one at a time."""
    import ray.data

    context = ray.data.DataContext.get_current()
    before = context.max_errored_blocks, context.enable_progress_bars, context.print_on_execution_start
    context.max_errored_blocks, context.enable_progress_bars, context.print_on_execution_start = -1, False, False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # what it says of photos that are lost, the rows say
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    resources = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": SHARE}
    calls = 1 if alone else at_once(bool(gpus))
    pool = ray.data.ActorPoolStrategy(
        size=actors or gpus or max(1, int(there.get("CPU", 1)) // 2),
        max_concurrent_calls_per_actor=calls,
        max_tasks_in_flight_per_actor=calls if alone else 2 * calls,
        enable_true_multi_threading=True,
    )
    items = [{"number": number, "task": pickle.dumps(task)} for number, task in tasks.items()]
    try:
        with warnings.catch_warnings(action="ignore"):  # that a later Ray will have other names for the retries
            found = ray.data.from_items(items, override_num_blocks=len(items)).map(
                find_packed, fn_args=(search,), num_cpus=SHARE, max_retries=0
            )
            rows = found.map(ModelActor, fn_constructor_args=given, compute=pool, max_task_retries=0, **resources)
        for row in rows.iter_rows():
            yield row["number"], pickle.loads(row["rows"])
    except ray.exceptions.RayError as error:
        raise UserError(GAVE_UP.format(_first_line(error))) from None
    finally:
        context.max_errored_blocks, context.enable_progress_bars, context.print_on_execution_start = before
        logger.setLevel(level)


class ModelActor:
    """Holds a model in a process of the cluster, edits the faces of a photo, and writes the pictures.

    What keeps all photos from being edited is answered as a UserError, which ends the run.
    """

    def __init__(self, row: FamilyRow, dtype: str, digests: dict[str, str], tune: bool, pictures: Pictures) -> None:
        self.pictures, self.broken, self.stack = pictures, None, ExitStack()
        try:
            studio = StyleCLIP(load_family(row, device_of(None), getattr(torch, dtype)))
            if studio.family.digests != digests:
                raise UserError(
                    f"The files of the model “{row.name}” on {socket.gethostname()} are others than here; please give "
                    "all machines the same ones."
                )
            editing = self.stack.enter_context(editing_threads(studio, 1))
            self.draw = Drawer(Editor(studio, tune), editing, in_this_process, pictures)
        except UserError as error:
            self.broken = error

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A photo's number, its task and what was found in it; its number and rows."""
        task, found = pickle.loads(row["task"]), pickle.loads(row["found"])
        try:
            if self.broken:
                raise self.broken
            if isinstance(found, OSError):
                raise found
            rows = self.draw(task, found)
        except UserError as error:
            rows = error
        except OSError as error:
            rows = not_written(self.pictures.out, error)
        return {"number": row["number"], "rows": pickle.dumps(rows)}


def _first_line(error: Exception) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)
