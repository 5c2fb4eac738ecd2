"""Model files made by hand, with everything that such files can have."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save_file

RNG = np.random.default_rng(7)


def keras2_h5(path: Path) -> None:
    """The layout of Keras 2: fixed-length byte strings, `kernel:0`, a nested model under one group."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.15.0"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = '{"class_name": "Sequential", "config": {"name": "s", "layers": []}}'
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"dense_2", b"dense_10", b"relu"]
        for layer, shape in (("dense_10", (4, 3)), ("dense_2", (3, 4))):
            group = weights.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
            group[f"{layer}/kernel:0"] = RNG.normal(size=shape).astype(np.float32)
            group[f"{layer}/bias:0"] = np.zeros(shape[1], np.float32)
        weights.create_group("relu").attrs["weight_names"] = np.zeros(0)
        file.create_group("optimizer_weights")["adam/m"] = np.ones((4, 3), np.float32)


def strange_h5(path: Path) -> None:
    """What HDF5 can hold and a model file seldom does."""
    with h5py.File(path, "w", track_order=True) as file:
        file["zwei/größe"] = RNG.normal(size=(3, 2))
        file["a"] = np.arange(6, dtype=">i4").reshape(2, 3)
        file["half"] = np.float16([[1, np.nan], [np.inf, -0.0]])
        file["flag"] = np.array([True, False])
        file["complex"] = np.array([1 + 2j, -0j], ">c16")
        file["scalar"] = np.float32(2.5)
        file["nothing"] = np.zeros((0, 5), np.float32)
        file["opaque"] = np.frombuffer(b"abcdef", "V2")
        file["again"] = file["a"]
        file["zwei/loop"] = file["a"]
        file["packed"] = h5py.Empty("f4")
        file.create_dataset("chunked", data=np.zeros((64, 64), "f4"), chunks=(16, 64), compression="gzip", shuffle=True)
        file["words"] = np.array([b"ab", b"c\0"], "S2")
        file.create_dataset("lines", data=["eins", "zwei", "größe"], dtype=h5py.string_dtype())
        file.create_group("empty/inside", track_order=True)
        file["words"].attrs["more"] = "text"
        odd = {"int": np.int16(-3), "array": np.eye(2), "bytes": np.bytes_("raw"), "list": ["x"], "true": np.True_}
        for name, value in (odd | {"null": h5py.Empty("S1"), "big": np.array([1, 2], ">u8")}).items():
            file["a"].attrs[name] = value
            file.attrs[name] = value


def large_attributes_h5(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.ones((2, 2), np.float32)
        file["w"].attrs["long"] = RNG.integers(0, 255, 100_000, np.uint8)


def keras_zip(path: Path, deflated: bool = False) -> None:
    """A `.keras` by hand, with assets, weights not last."""
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        file["layers/dense/vars/0"] = RNG.normal(size=(5, 4)).astype(np.float32)
        file["layers/dense/vars"].attrs["name"] = "mine"
        file["layers/normalization/vars/0"] = np.ones((2, 2), np.float32)
        file["optimizer/vars/0"] = np.ones(3)
        file.create_group("vars")
    compression = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", held.getvalue())
        archive.writestr("config.json", '{"config": {"layers": []}}')
        archive.writestr("assets/größe.txt", "eins\nzwei" * 20)


def arrays_npz(path: Path) -> None:
    arrays = {
        "a": RNG.normal(size=(4, 3)), "f": np.asfortranarray(RNG.normal(size=(4, 3)).astype("f4")),
        "b": np.arange(6, dtype=">i4").reshape(2, 3), "bf": np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3)),
        "s": np.float16(3), "none": np.zeros((0, 4), bool), "v": np.frombuffer(b"ab", "V2"), "c": np.array([1j], "c8"),
        "layer/größe": np.arange(3, dtype=np.uint64),
    }  # fmt: skip
    np.savez(path, **arrays)


def compressed_npz(path: Path) -> None:
    np.savez_compressed(path, a=np.zeros((100, 100)), b=RNG.normal(size=70))


def library_safetensors(path: Path) -> None:
    tensors = {"b.weight": RNG.normal(size=(3, 4)), "a": np.arange(3, dtype=np.int8), "z": np.array(1.0, "f4")}
    save_file(tensors | {"é": np.zeros((0, 2))}, path, {"format": "pt", "who": 'a "b"'})


def odd_safetensors(path: Path) -> None:
    """Spaces, metadata last, names not in the order of the offsets, types that numpy lacks."""
    header = b'{ "x": {"shape": [2], "dtype": "BF16", "data_offsets": [4, 8]},'
    header += b' "w":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}, "__metadata__": {"k":"v"}}   '
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"abcdefgh")


FILES = {
    "keras2.h5": keras2_h5, "strange.h5": strange_h5, "large.h5": large_attributes_h5, "stored.keras": keras_zip,
    "deflated.keras": lambda path: keras_zip(path, deflated=True), "arrays.npz": arrays_npz,
    "compressed.npz": compressed_npz, "library.safetensors": library_safetensors, "odd.safetensors": odd_safetensors,
}  # fmt: skip
