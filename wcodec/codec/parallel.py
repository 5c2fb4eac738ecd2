"""Ordered, bounded thread pools: several tensors, chunks or pieces at once, with results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from threading import Lock
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast

from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.model import TensorSpec
from wcodec.model.lazy import dataclass

if TYPE_CHECKING:
    from concurrent.futures import Future

HELD = 1 << 23
"""The most weights of the tensors in flight."""
AHEAD: Final = 1 << 26
"""The most bytes of the pieces in flight; a larger piece runs alone."""
MOST: Final = 64
"""The most pieces in flight."""
LARGE: Final = 4
"""The largest piece starts first once the queue of a worker is shorter than this many times its bytes."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Map(Protocol):
    """`map` over one iterable, or that of a pool."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterable[Result]: ...


def thread_count(threads: int) -> int:
    """The number of threads: the requested one, or for 0 the number of available cores."""
    if threads > 0:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, nbytes: Callable[[Item], int]
) -> Iterator[Result]:
    """Yield work(item) for each item, in order; at most MOST items and AHEAD bytes are in flight.

    nbytes: bytes of an item. Large items start before smaller ones that precede them, so that no large one starts last.
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

    from concurrent.futures import ThreadPoolExecutor

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


def _new_future() -> Future[Result]:
    from concurrent.futures import Future

    return Future()


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item that waits for a thread, and its future result."""

    item: Item
    nbytes: int
    future: Future[Result] = field(default_factory=_new_future)

    def run(self, work: Callable[[Item], Result]) -> None:
        try:
            self.future.set_result(work(self.item))
        except BaseException as error:  # it is raised again where the result is requested
            self.future.set_exception(error)


def map_tensors(work: Callable[[int, Map], Result], tensors: Sequence[TensorSpec], threads: int) -> Iterator[Result]:
    """Yield work(number, map) for each tensor, in order; the work starts before the first result is requested.

    Tensors run in parallel, and large ones distribute their chunks over the threads by the given map. At most HELD
    weights, or one larger tensor, are in flight.
    """
    workers = thread_count(threads)
    if workers == 1:
        return (work(number, map) for number, _ in enumerate(tensors))
    results = _ahead(work, tensors, workers)
    next(results)
    return cast(Iterator[Result], results)


def _ahead(work: Callable[[int, Map], Result], tensors: Sequence[TensorSpec], workers: int) -> Iterator[Result | None]:
    """None, once work has started; then the results. Tensors wait for their chunks in threads of their own."""
    from concurrent.futures import ThreadPoolExecutor

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
