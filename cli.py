"""Run wcodec from a checkout without installing it: python cli.py encode model.h5

The kernels are compiled beside their sources the first time, which needs setuptools, Cython and a C compiler.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

HERE = Path(__file__).resolve().parent
KERNELS = HERE / "wcodec" / "kernels"


def outdated() -> bool:
    """Whether a kernel is not compiled for this Python, or is older than its source."""
    for source in KERNELS.rglob("*.pyx"):
        compiled = source.with_name(source.stem + EXTENSION_SUFFIXES[0])
        if not compiled.exists() or compiled.stat().st_mtime < source.stat().st_mtime:
            return True
    return False


def build() -> None:
    """Compile the kernels in place; on failure say in one line why, and stop."""
    print("wcodec: compiling the kernels, once ...", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        sys.exit(f"wcodec: the kernels did not compile; 'python setup.py build_ext --inplace' tells more: {last}")


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    if outdated():
        build()
    try:
        from wcodec.cli import main
    except ModuleNotFoundError as error:
        sys.exit(f"wcodec: needs the package {error.name}; 'pip install {HERE}' installs all that it needs")
    sys.exit(main())
