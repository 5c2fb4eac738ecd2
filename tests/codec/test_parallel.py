"""Work spread over threads: results in order, errors at once, few results held."""

from __future__ import annotations

import threading
import time

import pytest
from conftest import HANG

from wcodec.codec.parallel import AHEAD, BESIDE, FEW, HELD, Map, map_ordered, map_tensors, thread_count
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.model import TensorSpec

SMALL, LARGE = TensorSpec("s", "float32", (3,)), TensorSpec("l", "float32", (CHUNK_WEIGHTS + 1,))
MIXED = [SMALL, SMALL, LARGE, SMALL, LARGE, LARGE, SMALL] * 4


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_are_in_the_order_of_the_jobs(threads: int) -> None:
    def work(number: int, chunk_map: Map) -> list[int]:
        time.sleep(0.002 * (number % 3))
        return list(chunk_map(lambda k: 10 * number + k, range(3)))

    assert list(map_tensors(work, MIXED, threads)) == [[10 * n, 10 * n + 1, 10 * n + 2] for n in range(len(MIXED))]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_reaches_the_caller_and_the_threads_end(threads: int) -> None:
    def work(number: int, chunk_map: Map) -> int:
        if number == 9:
            raise ValueError("tensor 9")
        return number

    before = threading.active_count()
    done = []
    with pytest.raises(ValueError, match="tensor 9"):
        done.extend(map_tensors(work, MIXED, threads))
    assert threading.active_count() == before


def test_no_thread_remains_after_a_caller_stops_early() -> None:
    before = threading.active_count()
    results = map_tensors(lambda number, _: number, MIXED, 3)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before


def test_few_results_are_held_at_once() -> None:
    started: list[int] = []
    results = map_tensors(lambda number, _: started.append(number), [SMALL] * 100, 2)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 8


def test_chunks_of_a_large_tensor_run_in_parallel() -> None:
    barrier = threading.Barrier(2, timeout=HANG)

    def work(number: int, chunk_map: Map) -> int:
        return len(set(chunk_map(lambda _: barrier.wait(), range(2))))

    assert list(map_tensors(work, [LARGE], 2)) == [2]


def test_small_tensors_are_coded_in_the_thread_of_the_caller() -> None:
    done: list[tuple[int, int]] = []
    tensors = [TensorSpec("few", "float32", (FEW,)), TensorSpec("more", "float32", (FEW + 1,))] * 3
    results = map_tensors(lambda number, _: done.append((number, threading.get_ident())), tensors, 2)
    assert next(results) is None
    time.sleep(0.05)
    here = [number for number, thread in done if thread == threading.get_ident()]
    assert here == [0]
    assert sorted(number for number, _ in done) == [0, 1, 3, 5]
    results.close()


def test_tensors_run_in_parallel_with_a_larger_one_and_with_the_caller() -> None:
    large, middle = TensorSpec("l", "float32", (HELD + 1,)), TensorSpec("m", "float32", (BESIDE // 2,))
    begun: list[int] = []
    beside = threading.Event()

    def work(number: int, _: Map) -> None:
        begun.append(number)
        if number == 2:
            beside.set()
        elif number == 0:
            assert beside.wait(HANG)

    results = map_tensors(work, [large, middle, middle, middle, large], 2)
    next(results)
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2, 3]
    assert list(results) == [None] * 4


@pytest.mark.parametrize(("kept", "most"), [(1.0, 4), (0.5, 7), (0.0, 20)])
def test_the_number_of_weights_at_work_is_bounded(kept: float, most: int) -> None:
    started: list[int] = []
    tensors = [TensorSpec("q", "float32", (HELD // 4,))] * 20
    results = map_tensors(lambda number, _: started.append(number), tensors, 2, kept)
    time.sleep(0.05)
    assert len(started) == most
    results.close()


def test_without_a_number_of_threads_every_core_is_used() -> None:
    assert thread_count(0) >= 1
    assert thread_count(7) == 7


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_pieces_of_any_sizes_are_in_order(threads: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return -number

    sizes = [1, 9, 0, 4] * 10
    assert list(map_ordered(work, range(40), threads, sizes.__getitem__)) == [-n for n in range(40)]


def test_a_large_piece_starts_before_small_pieces_in_front_of_it() -> None:
    begun: list[int] = []
    busy, hold = threading.Barrier(3, timeout=HANG), threading.Event()
    sizes = [1, 1, 1, 1, 1, 1, 100, 1]

    def work(number: int) -> None:
        begun.append(number)
        if number < 2:
            busy.wait()
            hold.wait(HANG)

    def size_of(number: int) -> int:
        if number == 2:  # both threads work
            busy.wait()
        elif number == 7:  # all pieces before it wait
            hold.set()
        return sizes[number]

    assert list(map_ordered(work, range(8), 2, size_of)) == [None] * 8
    assert sorted(begun) == list(range(8))
    assert begun.index(6) in {2, 3}


def test_the_bytes_of_pieces_at_work_are_bounded() -> None:
    started: list[int] = []
    results = map_ordered(started.append, range(100), 2, lambda _: AHEAD // 4)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 5
    results.close()
    started.clear()
    results = map_ordered(started.append, range(1000), 2, lambda _: 0)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 65
    results.close()


def test_an_error_of_a_piece_reaches_the_caller() -> None:
    def work(number: int) -> int:
        return 1 // (5 - number)

    with pytest.raises(ZeroDivisionError):
        list(map_ordered(work, range(50), 2, lambda _: 1))
