"""Commands import few modules, since imports take most of the start-up time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HANG

HEAVY = {"sklearn", "scipy", "tensorflow", "keras", "torch", "h5py", "pandas", "IPython"}
ABSENT_IN_HELP = HEAVY | {"numpy", "rich", "zstandard", "asyncio", "wcodec.kernels"}


def imported_by(code: str) -> set[str]:
    """The names of the modules that a new interpreter has imported after `code`."""
    script = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    elsewhere = Path(sys.executable).parent  # outside of the checkout, whose package would be imported instead
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, cwd=elsewhere, capture_output=True, text=True, timeout=HANG, check=True)
    return set(done.stderr.split())


def test_help_imports_the_standard_library_only() -> None:
    assert not imported_by("from wcodec.cli import main; main(['encode', '--help'])") & ABSENT_IN_HELP


def test_the_package_imports_none_of_its_modules() -> None:
    modules = imported_by("import wcodec; wcodec.__version__")
    assert {name for name in modules if name.startswith("wcodec")} == {"wcodec"}
    assert not modules & ABSENT_IN_HELP


@pytest.mark.parametrize(
    ("verb", "absent"),
    [("inspect", HEAVY | {"numpy", "asyncio", "rich", "wcodec.planning"}), ("verify", HEAVY)],
    ids=["inspect", "verify"],
)
def test_inspect_and_verify_import_no_large_packages(coded: Path, verb: str, absent: set[str]) -> None:
    assert not imported_by(f"from wcodec.cli import main; assert main([{verb!r}, {str(coded)!r}]) == 0") & absent


def test_encode_and_decode_never_import_a_framework_or_masked_arrays(samples: Path, tmp_path: Path) -> None:
    packed, model = tmp_path / "m.wcz", tmp_path / "m.h5"
    code = f"""
from wcodec.cli import main
assert main(["encode", {str(samples / "tutorial_cnn.h5")!r}, "-o", {str(packed)!r}]) == 0
assert main(["decode", {str(packed)!r}, "-o", {str(model)!r}]) == 0
"""
    assert not imported_by(code) & {"tensorflow", "keras", "torch", "sklearn", "scipy", "numpy.ma"}
