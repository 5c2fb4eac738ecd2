"""Small model files of every kind, and mutated copies of them, some with valid checksums."""

from __future__ import annotations

import io
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from attack.small_models import two_layers, weights, write_hdf5, write_keras, write_npz, write_safetensors

LAYER = '{"class_name": "Dense", "config": {"name": "d", "units": 3}}'
CONFIG = f'{{"class_name": "Sequential", "config": {{"name": "s", "layers": [{LAYER}]}}}}'
NUMBERS = (
    0, 1, 2, 127, 255, 256, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1,
)  # fmt: skip
WORDS = (
    b"[", b"]", b"{", b"}", b'"', b",", b":", b"F32", b"BF16", b"F8_E8M0", b"null", b"true", b"-1", b"1e9", b"\\ud800",
    b"\xff", b"__metadata__", *(str(number).encode() for number in NUMBERS),
)  # fmt: skip


def seeds(kind: str) -> list[bytes]:
    """Small valid files of that kind."""
    with tempfile.TemporaryDirectory() as folder:
        return [make(Path(folder)) for make in SEEDS[kind]]


def mutate(kind: str, file: bytes, chance: random.Random) -> bytes:
    """The file with some changes; in archives, members are changed too."""
    if kind in ("keras", "npz") and chance.random() < 0.7:
        return _mutate_archive(file, chance)
    if kind == "safetensors" and chance.random() < 0.6:
        length = int.from_bytes(file[:8], "little")
        header = _text(file[8 : 8 + length], chance)
        return len(header).to_bytes(8, "little") + header + file[8 + length :]
    return _bytes(file, chance)


def _bytes(file: bytes, chance: random.Random) -> bytes:
    """The file with one to four changes of bytes."""
    out = bytearray(file)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(out)) if out else 0
        how = chance.randrange(8)
        if how < 2:
            out[at : at + 1] = bytes((chance.randrange(256),))
        elif how < 4:
            width = chance.choice((2, 4, 8))
            out[at : at + width] = (chance.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "little")
        elif how == 4:
            del out[at : at + chance.choice((1, 2, 8, 100))]
        elif how == 5:
            out[at:at] = out[at : at + chance.choice((1, 8, 64))]
        elif how == 6:
            other = chance.randrange(len(out)) if out else 0
            out[at : at + 16] = out[other : other + 16]
        else:
            del out[chance.randrange(max(1, len(out))) :]
    return bytes(out)


def _text(text: bytes, chance: random.Random) -> bytes:
    """The text with one to three changes of words and numbers."""
    for _ in range(chance.choice((1, 2, 3))):
        at, size = chance.randrange(len(text) + 1), chance.choice((0, 1, 1, 2, 5))
        text = text[:at] + chance.choice(WORDS) * chance.choice((1, 1, 1, 1, 500)) + text[at + size :]
    return text


def _mutate_archive(file: bytes, chance: random.Random) -> bytes:
    """The archive with one of its members changed, renamed, repeated or left out."""
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    number, how = chance.randrange(len(members)), chance.randrange(8)
    name, content = members[number]
    if how == 0:
        members[number] = (_text(name.encode(), chance).decode("utf-8", "replace").replace("\0", "0")[:60000], content)
    elif how == 1:
        members.append((f"{name}{number}", content))
    elif how == 2:
        del members[number]
    else:
        members[number] = (name, (_text if name.endswith(".json") else _bytes)(content, chance))
    out = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def _hdf5(folder: Path, version: str = "earliest") -> bytes:
    path = folder / "m.h5"
    with h5py.File(path, "w", libver=(version, "latest")) as file:
        file.attrs["model_config"] = CONFIG
        file.attrs.create("layer_names", [b"d", b"e"])
        group = file.create_group("model_weights/d", track_order=version == "latest")
        group.attrs.create("weight_names", ["kernel", "bias"], dtype=h5py.string_dtype())
        group["kernel"] = weights(1, 12, 10)
        group["bias"] = weights(2, 10)
        zeros = np.zeros((20, 20), np.float32)
        file.create_dataset("model_weights/e/packed", data=zeros, compression="gzip", shuffle=True)
        file["model_weights/e/words"] = ["one", "two"]
        file["again"] = file["model_weights/d/kernel"]
    return path.read_bytes()


def _onnx(folder: Path, external: bool = False) -> bytes:
    from onnx import TensorProto, helper

    raw = helper.make_tensor("w", TensorProto.FLOAT, [8, 9], weights(1, 8, 9).tobytes(), raw=True)
    floats = helper.make_tensor("f", TensorProto.FLOAT, [6], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    outside = helper.make_tensor("o", TensorProto.FLOAT, [4], bytes(16), raw=True)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "x.bin"), ("offset", "0"), ("length", "16")):
        entry = outside.external_data.add()
        entry.key, entry.value = key, value
    then = helper.make_graph([helper.make_node("Constant", [], ["c"], value=floats)], "then", [], [])
    choice = helper.make_node("If", ["b"], ["z"], then_branch=then, else_branch=then)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), choice]
    initializers = [raw, floats, outside] if external else [raw, floats]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], initializers)).SerializeToString()


def _keras(folder: Path) -> bytes:
    path = write_keras(folder / "m.keras", two_layers())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/words.txt", b"one\ntwo\n" * 9)
    return path.read_bytes()


def _strange(folder: Path) -> bytes:
    turned = np.asfortranarray(weights(2, 6, 5))
    arrays = {"big": weights(1, 6, 5).astype(">f4"), "turned": turned, "one": np.float32(1)}
    return write_npz(folder / "s.npz", arrays).read_bytes()


SEEDS: dict[str, tuple[Callable[[Path], bytes], ...]] = {
    "hdf5": (
        _hdf5,
        lambda folder: _hdf5(folder, "latest"),
        lambda folder: write_hdf5(folder / "m.h5", two_layers()).read_bytes(),
    ),
    "keras": (_keras,),
    "npz": (lambda folder: write_npz(folder / "m.npz", two_layers()).read_bytes(), _strange),
    "safetensors": (lambda folder: write_safetensors(folder / "m.safetensors", two_layers()).read_bytes(),),
    "onnx": (_onnx, lambda folder: _onnx(folder, external=True)),
}
SUFFIXES = {"hdf5": ".h5", "keras": ".keras", "npz": ".npz", "safetensors": ".safetensors", "onnx": ".onnx"}
