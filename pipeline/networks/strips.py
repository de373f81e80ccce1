"""Features in strips of rows that stay in a core's cache, a core for each."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

STRIP = 2**20  # values of the features of a strip


def draw_in_strips(
    x: Tensor, channels: int, part: Callable[[Tensor, slice], Tensor], finish: Callable[[Tensor, slice], Tensor]
) -> Tensor:
    """What `finish` makes of a block's features, of which `part` draws some rows, strip by strip."""
    height = x.shape[2]

    def strip(first: int, end: int) -> Tensor:
        # Two convolutions reach two rows beyond a strip, which is one row before the resolution doubles.
        above, below = max(0, first - 1), min(height, end + 1)
        y = part(x[:, :, above:below], slice(2 * above, 2 * below))
        return finish(y[:, :, 2 * (first - above) : 2 * (end - above)], slice(2 * first, 2 * end))

    return torch.cat(in_strips(strip, height, 2 * 2 * x.shape[3] * channels), 2)


def in_strips(work: Callable[[int, int], Tensor], height: int, row: int) -> list[Tensor]:
    """What `work` returns for the first row and the end of each strip, without gradients. A strip has about `STRIP`
    values, a `row` having so many, and a core of its own."""
    rows = max(1, STRIP // row)
    firsts = range(0, height, rows)
    if len(firsts) == 1:
        return [torch.no_grad()(work)(0, height)]
    ends = [min(first + rows, height) for first in firsts]
    return list(_workers(torch.get_num_threads()).map(torch.no_grad()(work), firsts, ends))


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    """Threads that compute on one core each. Two cores that share each operation wait for one another hundreds of times
    a picture, and for long where other programs run."""
    pool = ThreadPoolExecutor(count, "strips", lambda: torch.set_num_threads(1))
    started = threading.Barrier(count)
    list(pool.map(lambda _: started.wait(), range(count)))
    torch.set_num_threads(count)  # the last call counts for threads that begin later
    return pool


os.register_at_fork(after_in_child=_workers.cache_clear)
