"""Every option of the command line is a keyword of Python, with its type and its description."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wcodec
from wcodec.api.request import EncodeRequest, parse_request
from wcodec.api.words import PYTHON_HELP, EncodeWords, PythonWords, RequestWords
from wcodec.cli.parser import build_parser
from wcodec.planning.options import OPTIONS
from wcodec.planning.run_options import FLAGS, REQUEST_OPTIONS

OF_THE_TERMINAL = {"source", "output", "json", "stages", "scheduler", "quiet", "verbose", "debug", "run", "parser"}
"""Options that are arguments in Python, or `executor`, or that Python does not have."""


def test_every_option_of_the_command_line_is_a_keyword() -> None:
    args = vars(build_parser().parse_args(["encode", "m.h5"]))
    words = set(EncodeWords.__annotations__) | {"dry_run"}
    assert set(args) - OF_THE_TERMINAL <= words
    assert {option.word for option in REQUEST_OPTIONS} == set(RequestWords.__annotations__)
    assert set(PYTHON_HELP) == set(PythonWords.__annotations__)
    assert {option.word for option in REQUEST_OPTIONS} <= set(EncodeRequest.__dataclass_fields__)


def test_the_docstring_lists_each_option_with_its_type_and_description() -> None:
    text, signature = wcodec.encode.__doc__ or "", inspect.signature(wcodec.encode)
    for option in (*OPTIONS, *REQUEST_OPTIONS):
        assert f"    {option.word} (" in text
        assert (option.help or option.switches[0][2]).partition("--")[0] in text
        assert signature.parameters[option.word].default is None
    assert signature.parameters["max_drop"].annotation == "float"
    assert signature.parameters["force"].default is True
    assert "second moments E[x x'] of the inputs by tensor, without data" in text
    assert list(signature.parameters)[:3] == ["source", "target", "dry_run"]


def test_errors_name_the_keywords_of_python() -> None:
    arrays = {"w": np.ones((20, 10), np.float32)}
    with pytest.raises(wcodec.RecipeError, match=r"^max_drop: expected data D with it"):
        wcodec.encode(arrays, max_drop=0.5)
    with pytest.raises(wcodec.RecipeError, match=r"^method: expected finetune EPOCHS with it"):
        wcodec.encode(arrays, data="d.npz", method="gradual")
    with pytest.raises(wcodec.RecipeError, match=r"^time_limit: expected a number with s, m or h"):
        wcodec.encode(arrays, data="d.npz", time_limit="soon")
    assert FLAGS["--import"] == "imports"


def test_options_without_a_value_have_their_defaults() -> None:
    assert parse_request({"data": None, "threads": None}) == EncodeRequest(listeners=parse_request({}).listeners)
    assert parse_request({"time_limit": "5m", "tune": "3"}).time_limit == 300


SCRIPT = """
import io
import numpy as np
import wcodec

def show(event: wcodec.ProgressEvent) -> None:
    print(event.text)

coded: bytes = wcodec.encode({"w": np.ones((3, 4), np.float32)}, bits=4, progress=show)
numbers: wcodec.Inspection = wcodec.encode("m.h5", "m.wcz", lossless=True, force=True, data=(np.ones(3), np.ones(3)))
dry: wcodec.Inspection = wcodec.encode(io.BytesIO(coded), dry_run=True, set={"conv": {"bits": 8}})
plain: bytes = wcodec.decode(coded)
wcodec.decode("m.wcz", "m.h5")
with wcodec.open("m.wcz", threads=2) as weights:
    shape: tuple[int, ...] = weights["dense/kernel"].shape
    shapes: dict[str, tuple[int, ...]] = weights.shapes()
total: int = sum(values.nbytes for values in wcodec.load("m.wcz").values())
ratio: float = numbers.ratio
wcodec.verify("m.wcz")
"""


WRONG = 'import wcodec\n\nwcodec.encode("m.h5", bitz=4)\n'
CONFIGURATION = """
[mypy]
strict = true
incremental = false
follow_imports = silent
[mypy-torch.*,onnx.*,onnxruntime.*,dask.*,distributed.*,optuna.*,keras.*,tensorflow.*,h5py.*,rich.*,sklearn.*,numcodecs.*]
follow_imports = skip
"""
"""mypy does not read frameworks: the script has none of their types."""


def test_a_script_passes_strict_type_checking_and_a_misspelt_keyword_is_found(tmp_path: Path) -> None:
    for name, text in {"script.py": SCRIPT, "wrong.py": WRONG, "mypy.ini": CONFIGURATION}.items():
        (tmp_path / name).write_text(text, "utf-8")
    words = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "script.py", "wrong.py"]
    home = Path(wcodec.__file__).parent.parent  # mypy does not find packages that are installed in place
    environment = os.environ if home.name == "site-packages" else os.environ | {"MYPYPATH": str(home)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert errors, done.stdout + done.stderr
    assert all(line.startswith("wrong.py:3: ") for line in errors), done.stdout
    assert "bitz" in errors[0]
