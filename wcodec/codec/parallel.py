"""Work on several tensors at once, results in order, with a bound on what is under way."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar, cast

from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.model import TensorSpec

HELD = 1 << 23
"""Weights of tensors that are worked on at once."""
AHEAD: Final = 1 << 26
"""Bytes of pieces that are worked on at once, or one piece of more."""
MOST: Final = 64
"""Pieces that are worked on at once, however small."""
LARGE: Final = 4
"""A piece is large where a thread has less than so many times its bytes before it."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Map(Protocol):
    """`map` over one iterable, or a pool's."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterable[Result]: ...


def thread_count(threads: int) -> int:
    """Threads to use: as asked, or as many as there are cores to run on where 0 is asked."""
    if threads > 0:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, nbytes: Callable[[Item], int]
) -> Iterator[Result]:
    """work(item) of each item, in order; MOST of them and AHEAD bytes are under way at once, drawn as they fit.

    nbytes: bytes of an item, by which large ones begin before smaller ones that lie ahead of them: so that the last
            work to end is not a large one that began late.
    """
    workers = thread_count(threads)
    if workers == 1:
        yield from map(work, items)
        return
    waiting: list[_Waiting[Item, Result]] = []
    pending: deque[_Waiting[Item, Result]] = deque()
    lock, held = Lock(), 0

    def begin() -> None:
        with lock:
            first = max(waiting, key=lambda each: each.nbytes)
            if first.nbytes * LARGE * workers < sum(each.nbytes for each in waiting):
                first = waiting[0]
            waiting.remove(first)
        first.run(work)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="wcodec-piece")
    try:
        for item in items:
            size = nbytes(item)
            while pending and (held + size > AHEAD or len(pending) >= MOST):
                held -= pending[0].nbytes
                yield pending.popleft().future.result()
            pending.append(_Waiting(item, size))
            held += size
            with lock:
                waiting.append(pending[-1])
            pool.submit(begin)
        while pending:
            yield pending.popleft().future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item whose turn has not come, and what will become of it."""

    item: Item
    nbytes: int
    future: Future[Result] = field(default_factory=Future)

    def run(self, work: Callable[[Item], Result]) -> None:
        try:
            self.future.set_result(work(self.item))
        except BaseException as error:  # whoever asks for the result gets it
            self.future.set_exception(error)


def map_tensors(work: Callable[[int, Map], Result], tensors: Sequence[TensorSpec], threads: int) -> Iterator[Result]:
    """work(number, map) of each tensor, in order; work begins at once, before the first result is asked for.

    Tensors are worked on beside each other, and large ones spread their chunks over the threads by the given map. What
    is begun and not yet taken is bounded: HELD weights, or one tensor of more.
    """
    workers = thread_count(threads)
    if workers == 1:
        return (work(number, map) for number, _ in enumerate(tensors))
    results = _ahead(work, tensors, workers)
    next(results)
    return cast(Iterator[Result], results)


def _ahead(work: Callable[[int, Map], Result], tensors: Sequence[TensorSpec], workers: int) -> Iterator[Result | None]:
    """Nothing, once work has begun; then the results. Tensors wait for their chunks in threads of their own."""
    chunks = ThreadPoolExecutor(workers, thread_name_prefix="wcodec-chunk")
    whole = ThreadPoolExecutor(workers, thread_name_prefix="wcodec-tensor")
    pending: deque[tuple[Future[Result], int]] = deque()
    begun = held = 0
    try:
        for taken in range(len(tensors) + 1):
            while begun < len(tensors) and len(pending) <= 3 * workers:
                count = tensors[begun].count
                if pending and held + count > HELD:
                    break
                chunk_map: Map = chunks.map if count > CHUNK_WEIGHTS else map
                pending.append((whole.submit(work, begun, chunk_map), count))
                held += count
                begun += 1
            if taken == 0:
                yield None
            if pending:
                future, count = pending[0]
                yield future.result()
                pending.popleft()
                held -= count
    finally:
        whole.shutdown(wait=True, cancel_futures=True)
        chunks.shutdown(wait=True, cancel_futures=True)
