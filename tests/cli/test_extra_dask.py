"""Workers of Dask encode the files of a folder; the tests need the extra `dask`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from attack.small_models import weights, write_safetensors
from conftest import HANG, Run
from distributed import Client
from round_trips import checkpoint, contents

import wcodec as package


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers in three processes, as on three machines with a shared folder."""
    folder = tmp_path_factory.mktemp("dask")
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    info = folder / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    started = [subprocess.Popen([*dask, "--scheduler-file", str(info)], env=environment, **options)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(info), "--no-dashboard"]
    started += [subprocess.Popen([*worker, "--nthreads", "1"], env=environment, **options) for _ in range(2)]
    try:
        with Client(scheduler_file=str(info), timeout=HANG) as client:
            client.wait_for_workers(2, timeout=HANG)
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(HANG)


def test_workers_and_one_process_write_the_same_bytes(scheduler: str, wcodec: Run, tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    for words in ([], ["--lossless"]):
        assert wcodec("encode", tmp_path / "m", "-o", tmp_path / "alone", "-f", *words).returncode == 0
        done = wcodec("encode", tmp_path / "m", "-o", tmp_path / "many", "-f", "--scheduler", scheduler, *words)
        assert done.returncode == 0, done.stderr
        assert contents(tmp_path / "many") == contents(tmp_path / "alone")


def test_the_death_of_a_worker_does_not_change_the_bytes(scheduler: str, tmp_path: Path) -> None:
    index = checkpoint(tmp_path / "m", 4)
    for number, path in enumerate(sorted((tmp_path / "m").glob("*.safetensors"))):
        write_safetensors(path, {f"{number}.{i}": weights(20 * number + i, 500, 600) for i in range(2)})
    package.encode(index, tmp_path / "alone", bits=4)
    with Client(scheduler) as client:
        executor = DeadlyExecutor(client.get_executor(pure=False, retries=3), tmp_path / "killed")
        package.encode(index, tmp_path / "many", executor=executor, bits=4)
    assert (tmp_path / "killed").exists()
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")


class DeadlyExecutor(Executor):
    """The executor `inner`, whose first job kills the worker that runs it. This worker makes the file `mark` before."""

    def __init__(self, inner: Executor, mark: Path) -> None:
        self.inner, self.mark = inner, mark

    def submit(self, work: Callable[..., object], *arguments: object) -> Future[object]:
        return self.inner.submit(kill_worker_or_work, self.mark, work, *arguments)


def kill_worker_or_work(mark: Path, work: Callable[..., object], *arguments: object) -> object:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return work(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
    return None
