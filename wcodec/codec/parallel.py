"""Ordered, bounded thread pools: several tensors, chunks or pieces at once, with results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock, RLock
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar, cast

from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.model import TensorSpec
from wcodec.model.dataclass import dataclass, field

if TYPE_CHECKING:
    from concurrent.futures import Future

HELD = 1 << 23
"""The most weights of the tensors in flight."""
MOST_TENSORS: Final = 256
"""The most tensors in flight."""
BESIDE: Final = HELD // 4
"""The most weights beside a larger tensor."""
FEW: Final = 2048
"""Threads that share so few weights wait for each other: two take longer than one."""
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


def _make_future() -> Future[Result]:
    from concurrent.futures import Future

    return Future()


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item that waits for a thread, and its future result."""

    item: Item
    nbytes: int
    future: Future[Result] = field(default_factory=_make_future)

    def run(self, work: Callable[[Item], Result]) -> None:
        try:
            self.future.set_result(work(self.item))
        except BaseException as error:  # it is raised again where the result is requested
            self.future.set_exception(error)


def map_tensors(
    work: Callable[[int, Map], Result], tensors: Sequence[TensorSpec], threads: int, kept: float = 1.0
) -> Iterator[Result]:
    """Yield work(number, map) for each tensor, in order; the work starts before the first result is requested.

    Tensors run in parallel, and large ones distribute their chunks over the threads by the given map. Those of at most
    FEW weights are done by the caller's thread when their results are requested. At most HELD weights are in flight, or
    the largest tensor and BESIDE weights.
    kept: the share of the memory that work takes which its result holds until it is requested.
    """
    workers = thread_count(threads)
    if workers == 1 or all(tensor.count <= FEW for tensor in tensors):
        return (work(number, map) for number, _ in enumerate(tensors))
    results = _start_first(_InFlight(work, [tensor.count for tensor in tensors], workers, kept))
    next(results)
    return cast(Iterator[Result], results)


def _start_first(tensors: _InFlight[Result]) -> Iterator[Result | None]:
    """None, once work has started; then the results."""
    try:
        tensors.begin()
        yield None
        for number, count in enumerate(tensors.counts):
            yield tensors.work(number, map) if count <= FEW else tensors.take(number)
    finally:
        tensors.end()


class _InFlight(Generic[Result]):
    """Tensors of known counts of weights that threads work on. They wait for their chunks in threads of their own."""

    def __init__(self, work: Callable[[int, Map], Result], counts: Sequence[int], workers: int, kept: float) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self.work, self.counts, self.kept = work, counts, kept
        self._chunks = ThreadPoolExecutor(workers, thread_name_prefix="wcodec-chunk")
        self._whole = ThreadPoolExecutor(workers, thread_name_prefix="wcodec-tensor")
        self._later = deque(number for number, count in enumerate(counts) if count > FEW)
        self._pending: dict[int, Future[Result]] = {}
        self._lock, self._begins = RLock(), False

    def begin(self, _: object = None) -> None:
        """Begin what fits; a thread that finishes a tensor calls this too."""
        with self._lock:
            if self._begins:
                return
            self._begins = True
            while self._later and self._has_room(self.counts[self._later[0]]):
                number = self._later.popleft()
                chunk_map: Map = self._chunks.map if self.counts[number] > CHUNK_WEIGHTS else map
                self._pending[number] = self._whole.submit(self.work, number, chunk_map)
                self._pending[number].add_done_callback(self.begin)
            self._begins = False

    def _has_room(self, count: int) -> bool:
        """Whether a tensor of `count` weights may be in flight too."""
        shares = ((number, self.kept if future.done() else 1.0) for number, future in self._pending.items())
        every = [count, *(share * self.counts[number] for number, share in shares)]
        small = sum(every) <= HELD or sum(every) - max(every) <= BESIDE
        return not self._pending or (small and len(self._pending) < MOST_TENSORS)

    def take(self, number: int) -> Result:
        """The result, which is no longer in flight while the caller uses it."""
        result = self._pending[number].result()
        with self._lock:
            del self._pending[number]
        self.begin()
        return result

    def end(self) -> None:
        """Wait for what has begun, and leave out the rest."""
        with self._lock:
            self._later.clear()
        self._whole.shutdown(wait=True, cancel_futures=True)
        self._chunks.shutdown(wait=True, cancel_futures=True)
