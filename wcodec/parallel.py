"""Work on several tensors at once, results in order, with a bound on what is under way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from wcodec.model import TensorFacts
from wcodec.wire import CHUNK_WEIGHTS

Item = TypeVar("Item")
Result = TypeVar("Result")


class Map(Protocol):
    """`map` over one iterable, or a pool's."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterable[Result]: ...


def thread_count(threads: int) -> int:
    """Threads to use: as asked, or as many as there are cores to run on where 0 is asked."""
    return (
        threads
        if threads > 0
        else len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


def tensor_by_tensor(
    work: Callable[[int, Map], Result], tensors: Iterable[TensorFacts], threads: int
) -> Iterator[Result]:
    """work(number, map) of each tensor, in order. Large tensors spread their chunks over the pool by the given map, one
    tensor at a time; small ones run beside each other. At most a few of them are held at once.
    """
    workers = thread_count(threads)
    if workers == 1:
        for number, _ in enumerate(tensors):
            yield work(number, map)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="wcodec")
    pending: deque[Future[Result]] = deque()
    try:
        for number, tensor in enumerate(tensors):
            if tensor.count > CHUNK_WEIGHTS:
                done: Future[Result] = Future()
                done.set_result(work(number, pool.map))
                pending.append(done)
            else:
                pending.append(pool.submit(work, number, map))
            while len(pending) > 2 * workers or (pending and pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
