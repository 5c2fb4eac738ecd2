"""Dask's connect_workers encode the files of a folder; collected where the extra `dask` is installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attack.small_models import weights, write_safetensors
from conftest import HANG, Run
from distributed import Client
from round_trips import checkpoint, contents

import wcodec as package


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler and two connect_workers, each a process of its own, as on three machines that share a folder."""
    folder = tmp_path_factory.mktemp("dask")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    said = folder / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    started = [subprocess.Popen([*dask, "--scheduler-file", str(said)], env=environment, **quiet)]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(said), "--no-dashboard"]
    started += [subprocess.Popen([*worker, "--nthreads", "1"], env=environment, **quiet) for _ in range(2)]
    try:
        with Client(scheduler_file=str(said), timeout=HANG) as client:
            client.wait_for_workers(2, timeout=HANG)
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(HANG)


def test_the_bytes_are_those_of_one_process(scheduler: str, wcodec: Run, tmp_path: Path) -> None:
    checkpoint(tmp_path / "m")
    for words in ([], ["--lossless"]):
        assert wcodec("encode", tmp_path / "m", "-o", tmp_path / "alone", "-f", *words).returncode == 0
        done = wcodec("encode", tmp_path / "m", "-o", tmp_path / "many", "-f", "--scheduler", scheduler, *words)
        assert done.returncode == 0, done.stderr
        assert contents(tmp_path / "many") == contents(tmp_path / "alone")


def test_a_worker_killed_in_the_middle_does_not_matter(scheduler: str, tmp_path: Path) -> None:
    index = checkpoint(tmp_path / "m", 4)
    for number, path in enumerate(sorted((tmp_path / "m").glob("*.safetensors"))):
        write_safetensors(path, {f"{number}.{i}": weights(20 * number + i, 500, 600) for i in range(2)})
    package.encode(index, tmp_path / "alone", bits=4)
    with Client(scheduler) as client:
        connect_workers = client.run(os.getpid)
        executor = client.get_executor(pure=False, retries=3)
        killed = executor.submit(_kill_soon, min(connect_workers.values()))
        package.encode(index, tmp_path / "many", executor=executor, bits=4)
        assert killed.exception() is None or len(client.scheduler_info()["connect_workers"]) >= 1
        assert len(client.run(os.getpid)) >= 1
    assert contents(tmp_path / "many") == contents(tmp_path / "alone")


def _kill_soon(pid: int) -> None:
    if pid != os.getpid():
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
