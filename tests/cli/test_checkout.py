"""python cli.py in a checkout: compiles what is missing, once, or says in one line why it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG, ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources with a single kernel, not compiled yet."""
    copy = tmp_path / "checkout"
    left_out = shutil.ignore_patterns("*.so", "*.pyd", "*.pyx", "__pycache__")
    shutil.copytree(ROOT / "wcodec", copy / "wcodec", ignore=left_out)
    for name in ("cli.py", "setup.py", "pyproject.toml", "README.md", "LICENSE", "wcodec/kernels/planes.pyx"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def run(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(checkout / "cli.py"), "--version"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        line, cwd=checkout.parent, env=clean | environment, capture_output=True, text=True, timeout=HANG, check=False
    )


def test_a_checkout_compiles_its_kernels_once_and_runs(checkout: Path) -> None:
    first, second = run(checkout), run(checkout)
    assert first.stdout == second.stdout
    assert first.stdout.startswith("wcodec ")
    assert (first.stderr, second.stderr) == ("wcodec: compiling the kernels, once ...\n", "")


def test_a_machine_without_a_compiler_is_told_in_one_line(checkout: Path) -> None:
    done = run(checkout, CC="/no/such/compiler")
    assert done.returncode == 1
    assert "C compiler" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
