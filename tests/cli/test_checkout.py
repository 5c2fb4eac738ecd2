"""`python cli.py` in a checkout compiles missing kernels once, or prints in one line why it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG, ROOT


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a single small kernel, not compiled yet."""
    copy = tmp_path_factory.mktemp("copy") / "checkout"
    left_out = shutil.ignore_patterns("*.so", "*.pyd", "*.pyx", "__pycache__")
    shutil.copytree(ROOT / "wcodec", copy / "wcodec", ignore=left_out)
    for name in ("cli.py", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    (copy / "wcodec/kernels/planes.pyx").write_text("def double(int number):\n    return 2 * number\n")
    return copy


def run(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(checkout / "cli.py"), "--version"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean |= {"CFLAGS": "-O0 -g0"} | environment  # the kernel is compiled, not used
    return subprocess.run(
        line, cwd=checkout.parent, env=clean, capture_output=True, text=True, timeout=HANG, check=False
    )


@pytest.fixture(scope="module")
def refused(checkout: Path) -> subprocess.CompletedProcess[str]:
    """The result of a run without a compiler and without compiled kernels."""
    return run(checkout, CC="/no/such/compiler")


def test_without_a_compiler_the_error_is_one_line(refused: subprocess.CompletedProcess[str]) -> None:
    assert refused.returncode == 1
    assert "C compiler" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


@pytest.mark.usefixtures("refused")
def test_a_checkout_compiles_its_kernels_once_and_runs(checkout: Path) -> None:
    first, second = run(checkout), run(checkout)
    assert first.stdout == second.stdout
    assert first.stdout.startswith("wcodec ")
    assert (first.stderr, second.stderr) == ("wcodec: compiling the kernels, once ...\n", "")
