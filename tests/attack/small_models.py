"""Model files of one or two kilobytes of each kind, and their .wcz files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe

Arrays = Mapping[str, npt.NDArray[np.generic]]


def weights(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    """float32[shape] with a distribution typical of layers."""
    return (np.random.default_rng(seed).standard_t(5, shape) * 0.1).astype(np.float32)


def two_layers() -> dict[str, npt.NDArray[np.generic]]:
    """A kernel, a bias, a duplicate of the kernel, a matrix of few values and a counter."""
    kernel = weights(1, 16, 12)
    few = (np.random.default_rng(2).integers(-2, 3, (10, 9)) * 0.25).astype(np.float32)
    return {
        "a/kernel": kernel,
        "a/bias": weights(3, 12),
        "b/tied": kernel,
        "b/few": few,
        "b/step": np.array(7, np.int64),
    }


def write_npz(path: Path, arrays: Arrays) -> Path:
    """Write an .npz, whose members have no date."""
    np.savez(path, **dict(arrays.items()))
    return path


def write_hdf5(path: Path, arrays: Arrays) -> Path:
    """Write an .h5 of datasets in groups."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


def write_keras(path: Path, arrays: Arrays) -> Path:
    """Write a .keras archive with an empty configuration."""
    import zipfile

    inner = write_hdf5(path.with_suffix(".inner"), arrays)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (
            ("metadata.json", b"{}"),
            ("config.json", b"{}"),
            ("model.weights.h5", inner.read_bytes()),
        ):
            archive.writestr(zipfile.ZipInfo(name), content)
    inner.unlink()
    return path


NAMES = {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64", "i4": "I32", "i1": "I8", "u1": "U8", "b1": "BOOL"}


def write_safetensors(path: Path, arrays: Arrays, bfloat16: frozenset[str] = frozenset()) -> Path:
    """Write a .safetensors file; uint16 arrays named in `bfloat16` are the bits of that type."""
    header, body = {}, b""
    for name, array in arrays.items():
        kind = "BF16" if name in bfloat16 else NAMES[array.dtype.str[1:]]
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + array.nbytes],
        }
        body += array.tobytes()
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


WRITERS: dict[str, Callable[[Path, Arrays], Path]] = {
    "hdf5": write_hdf5, "keras": write_keras, "npz": write_npz, "safetensors": write_safetensors,
}  # fmt: skip
SUFFIXES = {"hdf5": ".h5", "keras": ".keras", "npz": ".npz", "safetensors": ".safetensors"}


def encode_small(folder: Path, kind: str, arrays: Arrays, **words: object) -> Path:
    """Write a model file of that kind with these tensors to `folder`, encode it, and return the .wcz."""
    source = WRITERS[kind](folder / f"model{SUFFIXES[kind]}", arrays)
    target = source.with_name(source.name + ".wcz")
    encode(source, target, parse_recipe(words), threads=1)
    return target
