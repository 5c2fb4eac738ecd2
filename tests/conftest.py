"""What every examination may use: the command as it is installed, and the sample models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # for formats/ and tests/, behind an installed wcodec

EXTRAS = ("dask", "onnx", "torch")
collect_ignore_glob = [f"*/test_extra_{extra}.py" for extra in EXTRAS if find_spec(extra) is None]
"""Examinations of what an extra adds, where that extra is not installed."""

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

INSTALLED = Path(sys.executable).parent / "wcodec"
if not INSTALLED.exists():
    os.environ["PYTHONPATH"] = str(ROOT)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def command() -> list[str]:
    """The installed program, or the checkout's package where nothing is installed."""
    return [str(INSTALLED)] if INSTALLED.exists() else [sys.executable, "-m", "wcodec"]


@pytest.fixture(autouse=True, scope="module")
def _keras_as_found() -> Iterator[None]:
    """Each file begins with Keras' counters of layer names at zero and leaves its registered layers as they were."""
    keras = sys.modules.get("keras")
    if keras is None:
        yield
        return
    keras.utils.clear_session()
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    yield
    registered.clear()
    registered.update(before)


@pytest.fixture
def wcodec() -> Run:
    """Run the command in a process of its own: wcodec("encode", path) -> its exit code, stdout and stderr."""

    def run(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
        given = {"capture_output": True} | options if not options.keys() & {"stdout", "stderr"} else options
        return subprocess.run([*command(), *map(str, words)], text=True, timeout=120, check=False, **given)

    return run


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of the sample models."""
    return ROOT / "samples"


@pytest.fixture(scope="session")
def coded(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """A small model as a .wcz; read only."""
    target = tmp_path_factory.mktemp("coded") / "tutorial_cnn.h5.wcz"
    words = ["encode", str(samples / "tutorial_cnn.h5"), "-o", str(target), "-q"]
    subprocess.run([*command(), *words], check=True, timeout=120)
    return target
