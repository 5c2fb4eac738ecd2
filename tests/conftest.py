"""Shared parts of all tests: the command as it is installed, the sample models, and how thorough the tests are."""

from __future__ import annotations

import atexit
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings

gc.disable()  # until all tests are collected: imports and collection make many objects that stay
atexit.register(gc.freeze)  # nor is anything collected at the end
sys.dont_write_bytecode = False  # or each worker compiles every test, and each process that is started all of wcodec
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # for formats/ and tests/, behind an installed wcodec

EXTRAS = ("dask", "numcodecs", "onnx", "onnxruntime", "torch")
collect_ignore_glob = [f"*/test_extra_{extra}*.py" for extra in EXTRAS if find_spec(extra) is None]
"""Tests of what an extra adds, where that extra is not installed."""
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
collect_ignore_glob += [] if BROWSER else ["*/test_pages_in_a_browser.py"]


def pytest_collection_finish() -> None:
    """Collect garbage from here on as the program does, and never what was imported."""
    if "keras" in sys.modules:
        gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    gc.enable()


def pytest_report_header() -> str:
    """The reason why pages are not looked at, where they are not."""
    return "" if BROWSER else "pages are not looked at: no chromium (apt install chromium)"


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_threads, "1")  # a worker is a thread: more of them wait for each other where cores are few

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # commands inherit what a shell ignores
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # by nohup
    signal.signal(signal.SIGHUP, lambda *_: None)  # ignored here, but not in commands, which do not inherit handlers

THOROUGH = os.environ.get("THOROUGH") == "1"
"""Whether the long forms of the tests run (`make test-thorough`)."""
SEED = int(os.environ.get("TEST_SEED", "0"))
"""What networks without a seed of their own begin with; other seeds show which tests pass by luck."""
HANG = 600
"""Seconds after which a process hangs; no test ends by the clock otherwise."""

settings.register_profile("quick", max_examples=20, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=400, deadline=None)
settings.load_profile("thorough" if THOROUGH else "quick")

Item, Other = TypeVar("Item"), TypeVar("Other")


def pairs_of(first: Iterable[Item], second: Sequence[Other]) -> list[tuple[Item, Other]]:
    """All pairs in a thorough run; otherwise each item of `first` with one of `second`, these taking turns."""
    if THOROUGH:
        return list(product(first, second))
    return [(one, second[number % len(second)]) for number, one in enumerate(first)]


INSTALLED = Path(sys.executable).parent / "wcodec"
if not INSTALLED.exists():
    os.environ["PYTHONPATH"] = str(ROOT)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command() -> list[str]:
    """The installed program, or the checkout's package where nothing is installed."""
    return [str(INSTALLED)] if INSTALLED.exists() else [sys.executable, "-m", "wcodec"]


def _seed_everything() -> None:
    """Draw the weights of networks without a seed from the same numbers in every run."""
    random.seed(SEED)
    if (keras := sys.modules.get("keras")) is not None:
        keras.utils.set_random_seed(SEED)


@pytest.fixture(autouse=True, scope="module")
def _keras_as_found() -> Iterator[None]:
    """Each file begins with Keras' counters of layer names at zero and leaves its registered layers as they were."""
    _seed_everything()
    keras = sys.modules.get("keras")
    if keras is None:
        yield
        return
    keras.utils.clear_session()
    gc.freeze()  # TensorFlow's objects stay, and Keras collects garbage often
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    yield
    registered.clear()
    registered.update(before)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """No test depends on the numbers that the tests before it drew."""
    _seed_everything()


def in_a_process(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    given = {"capture_output": True} | options if not options.keys() & {"stdout", "stderr"} else options
    return subprocess.run([*command(), *map(str, words)], text=True, timeout=HANG, check=False, **given)


@pytest.fixture
def wcodec(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command: wcodec("encode", path) -> its exit code, stdout and stderr.

    It runs in this process, for each start takes a quarter of a second, and six with Keras; in one of its own where it
    is given options of one (cwd, stdout, ...). Tests of signals, pipes and starts use `command()`.
    """

    def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        if options:
            return in_a_process(*words, **options)
        from wcodec.cli import main

        capsys.readouterr()
        code = main([str(word) for word in words])
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of the sample models."""
    return ROOT / "samples"


@pytest.fixture(scope="session")
def small_network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network of 2,000 weights that is good at its 1,200 examples with labels, and these; read only."""
    from small_problem import write_files

    return write_files(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def coded(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """A small model as a .wcz; read only."""
    target = tmp_path_factory.mktemp("coded") / "tutorial_cnn.h5.wcz"
    words = ["encode", str(samples / "tutorial_cnn.h5"), "-o", str(target), "-q"]
    subprocess.run([*command(), *words], check=True, timeout=HANG)
    return target
