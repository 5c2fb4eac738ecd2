"""The modules for frameworks name a missing package, and lose nothing without an option."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from wcodec.api.front_doors import words_or_lossless

HIDDEN = """
import sys
for name in ("keras", "tensorflow", "torch", "numcodecs", "ml_dtypes", "pandas"):
    sys.modules[name] = None
import numpy as np
import wcodec
coded = wcodec.encode({"w": np.ones((20, 10), np.float32)})
assert wcodec.load(coded)["w"].shape == (20, 10)
assert len(wcodec.decode(coded)) > 800
print(wcodec.inspect(coded))
for name in ("wcodec.torch", "wcodec.keras", "wcodec.api.numcodecs_codec"):
    try:
        __import__(name)
    except wcodec.RecipeError as error:
        print(error)
network = wcodec.encode(sys.argv[1])
for call in (lambda: wcodec.load_model(network), lambda: wcodec.encode({"w": np.ones(3)}, data=np.ones((20, 3)))):
    try:
        call()
    except wcodec.RecipeError as error:
        print(error)
"""


def test_without_frameworks_errors_name_the_missing_package(samples: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HIDDEN, samples / "tutorial_cnn.h5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for extra in ("pip install 'wcodec[torch]'", "pip install 'wcodec[keras]'", "pip install numcodecs"):
        assert extra in done.stdout
    assert done.stdout.count("pip install 'wcodec[keras]'") == 3


def test_the_default_is_lossless_unless_an_option_is_lossy() -> None:
    assert words_or_lossless({"threads": 2, "force": False}) == {"threads": 2, "force": False, "lossless": True}
    assert words_or_lossless({"bits": 4, "threads": 2}) == {"bits": 4, "threads": 2}
    assert words_or_lossless({"lossless": False}) == {"lossless": False}
