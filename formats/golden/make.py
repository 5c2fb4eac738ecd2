"""python formats/golden/make.py: write the golden containers anew, with what must come of them.

good/*.wcz  decode, for ever, to the tensors whose SHA-256 (little-endian bytes, C order) is in good/expected.json
bad/*.wcz   are refused, for ever, with the error named in bad/expected.json
sizes.csv   what an encoder makes of the same models: a change of it is a change of compression, to be looked at

After a release files may be added, never changed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path += [str(ROOT), str(ROOT / "tests"), str(HERE)]

from attack import hostile, hostile_tensors
from attack.file_fields import Entry, FileFields, one_tensor, skeleton_of, table_of, varint
from attack.small_models import SUFFIXES, WRITERS, weights, write_safetensors
from make_rules import alone, by_rule

from wcodec.container.wire import REST
from wcodec.model import TensorSpec
from wcodec.pipeline.decoder import decode, open_container
from wcodec.pipeline.encoder import encode
from wcodec.planning.parsing import parse_recipe

Array = npt.NDArray[np.generic]
Arrays = dict[str, Array]
Words = Mapping[str, object]

BAD = (
    "empty", "another-magic", "magic-alone", "header-cut", "body-cut", "a-byte-more", "future-version",
    "reserved-byte", "unknown-feature", "header-checksum", "section-checksum", "unknown-kind-of-model-file", "hole",
    "record-cut", "unknown-coding-of-the-model-section", "varint-not-shortest", "a-record-too-many",
    "duplicate-of-itself", "duplicate-of-a-duplicate", "duplicate-of-another-shape", "digest", "error-not-a-number",
    "table-unknown-type", "table-name-not-utf-8", "table-repeated-name", "table-product-of-many-bits",
    "model-section-declares-too-much", "model-section-behind-the-frame", "model-section-bomb", "head-flag-7",
    "head-unknown-rule-9", "head-unknown-layout", "head-layout-of-kernels", "head-integers-by-rule-2",
    "chunk-of-a-huge-tensor", "chunks-too-many", "chunks-of-nothing", "patches-behind-the-end", "patches-cut",
    "codebook-descending", "codebook-too-small", "step-0", "float-magnitude-of-32-bits", "steps-cut", "steps-0",
    "coder-unknown", "dense-a-byte-more", "dense-unknown-symbols", "dense-zstd-bomb", "sparse-gap-behind-the-end",
    "fixed-weights-without-an-entry", "fixed-level-too-large",
    "static-no-class", "static-hazard-64", "static-escapes-too-many", "static-states-0",
    "hashed-of-a-vector", "hashed-too-many-buckets", "hashed-sections",
    "product-of-a-vector", "product-codebook-too-large", "product-code-outside", "sparse-entries-too-many",
    "lossless-unknown-method", "lossless-stored-too-short", "file-without-its-feature", "file-feature-of-another-kind",
)  # fmt: skip


def every_type() -> Arrays:
    """A tensor of each type that numpy has, a scalar, an empty one."""
    types = ["f4", "f2", "f8", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?", "c8", "c16"]
    arrays: Arrays = {name: (np.arange(12).reshape(3, 4) % 5).astype(name) for name in types}
    return arrays | {"scalar": np.array(2.5, np.float32), "empty": np.empty((3, 0, 2), np.float32)}


def columns() -> Arrays:
    """Integers of which each column is foretold by those before it."""
    rng = np.random.default_rng(17)
    steps = rng.integers(-2, 3, (512, 32)) + rng.integers(-2, 3, (512, 1)) // 2
    return {"c": np.cumsum(steps, 1).clip(-128, 127).astype(np.int8)}


def numbers() -> Arrays:
    """Zeros, rows of shorter floats, values on a grid, rows alike, what is not a number."""
    pruned, short = weights(18, 30, 20), weights(19, 30, 20)
    pruned[np.abs(pruned) < 0.05] = 0
    short[::3] = short[::3].astype(np.float16)
    return {
        "pruned": pruned, "short": short, "grid": (np.rint(weights(20, 30, 20) * 9000) / 32768).astype(np.float32),
        "alike": np.cumsum(weights(21, 40, 10), 0).astype(np.float16), "odd": irregular()["kernel"][:8],
    }  # fmt: skip


def blocks() -> Arrays:
    """Floats of several sizes."""
    fine = weights(22, 20, 24)
    narrow, wide, whole = fine.astype(np.float16), fine[:5].astype(np.float64), (fine * 99).astype(np.int8)
    return {"f4": fine, "f2": narrow, "f8": wide, "i1": whole}


def irregular() -> Arrays:
    """Weights among which some are not."""
    kernel = weights(7, 40, 24)
    kernel[0, 0], kernel[3, 4], kernel[3, 5], kernel[39, 23] = np.nan, np.inf, -np.inf, 1e30
    return {"kernel": kernel}


def layers() -> Arrays:
    """A small network."""
    return {
        "conv/kernel": weights(1, 3, 3, 4, 8), "conv/bias": weights(2, 8), "dense/kernel": weights(3, 40, 30),
        "dense/bias": weights(4, 30), "tied/kernel": weights(3, 40, 30), "seen": np.array(7, np.int64),
    }  # fmt: skip


MODELS: dict[str, tuple[str, Callable[[], Arrays], Words]] = {
    "exact-planes": ("npz", lambda: {"w": weights(1, 24, 16)}, {"exclude": "."}),
    "exact-types": ("npz", every_type, {"exclude": "."}),
    "exact-kernel": ("npz", lambda: {"k": smooth(3, 3, 8, 16), "t": smooth(3, 3, 8, 8).T.copy()}, {"exclude": "."}),
    "exact-columns": ("npz", columns, {"exclude": "."}),
    "exact-numbers": ("npz", numbers, {"exclude": "."}),
    "exact-blocks": ("npz", blocks, {"exclude": ".", "effort": "fast"}),
    "table-dense": ("npz", lambda: {"w": weights(2, 40, 30)}, {"bits": 3, "coder": "huffman"}),
    "table-sparse": ("npz", lambda: {"w": weights(3, 60, 50)}, {"bits": 4, "sparsity": 0.93, "coder": "huffman"}),
    "table-context": ("npz", lambda: {"w": weights(4, 40, 30)}, {"bits": 3}),
    "step-dense": ("npz", lambda: {"w": weights(5, 40, 30)}, {"step": 0.02, "coder": "huffman"}),
    "step-context": ("npz", lambda: {"w": weights(6, 40, 30)}, {"step": 0.02, "sparsity": 0.5}),
    "step-trellis": ("npz", lambda: {"w": weights(7, 60, 40)}, {}),
    "transform": ("npz", lambda: {"w": smooth(5, 5, 8, 16)}, {"step": 0.02}),
    "patches": ("npz", irregular, {"bits": 4}),
    "float": ("npz", lambda: {"gamma": np.abs(weights(8, 300)) + 1, "w": weights(9, 30, 20)}, {"preset": "small"}),
    "product": ("npz", lambda: {"w": weights(16, 60, 50)}, {"quantizer": "product", "clusters": 64}),
    "product-kernel": ("npz", lambda: {"k": smooth(3, 3, 8, 16)}, {"quantizer": "product", "block": 4}),
    "float16": ("npz", lambda: {"w": weights(10, 40, 30).astype(np.float16)}, {"bits": 5}),
    "float64": ("npz", lambda: {"w": weights(11, 40, 30).astype(np.float64)}, {"bits": 5}),
    "duplicates": ("npz", layers, {"bits": 4}),
    "rows": ("npz", layers, {"quantizer": "asymmetric", "bits": 4, "per_channel": True}),
    "signs": ("npz", layers, {"quantizer": "binary", "per_channel": True, "sparsity": 0.3}),
    "shorter": ("npz", layers, {"quantizer": "float16"}),
    "hdf5": ("hdf5", layers, {}),
    "keras": ("keras", layers, {"preset": "small"}),
    "safetensors": ("safetensors", lambda: layers() | {"seen": np.arange(3, dtype=np.int64)}, {"sparsity": 0.5}),
}


def smooth(*shape: int) -> npt.NDArray[np.float32]:
    """Kernels whose neighbouring taps are alike."""
    fine = weights(12, *shape)
    return (np.cumsum(np.cumsum(fine, axis=0), axis=1) / 4).astype(np.float32)


def encode_model(name: str, folder: Path) -> Path:
    """The .wcz of a model of `MODELS`."""
    kind, arrays, words = MODELS[name]
    source = WRITERS[kind](folder / f"{name}{SUFFIXES[kind]}", arrays())
    encode(source, folder / f"{name}.wcz", parse_recipe(words), threads=1)
    return folder / f"{name}.wcz"


def bfloat16(folder: Path) -> Path:
    """A type that numpy lacks."""
    bits = (weights(13, 40, 30).view(np.uint32) >> 16).astype(np.uint16)
    source = write_safetensors(folder / "b.safetensors", {"w": bits}, frozenset({"w"}))
    encode(source, folder / "bfloat16.wcz", parse_recipe({"bits": 5}), threads=1)
    return folder / "bfloat16.wcz"


def files(folder: Path) -> list[Path]:
    """Identical files: of each kind that has extents, one that is not understood, two whose remainder is a tensor."""
    strange = {"big": weights(15, 9, 5).astype(">f4"), "fortran": np.asfortranarray(weights(16, 7, 5).astype(">f8"))}
    sources = [
        WRITERS["hdf5"](folder / "identical-hdf5", layers()),
        WRITERS["safetensors"](folder / "identical-safetensors", layers() | {"seen": np.arange(3, dtype=np.int64)}),
        WRITERS["npz"](folder / "identical-npz.npz", strange),
    ]
    for name, content in (("text", b"no model\n" * 9), ("nothing", b""), ("apart", (bytes(999) + b"!") * 1100)):
        sources.append(folder / f"identical-{name}")
        sources[-1].write_bytes(content)
    sources.append(folder / "identical-lzma")
    sources[-1].write_text("".join(f"{number} times {number} is {number * number}.\n" for number in range(300)))
    for source in sources:
        words = {"lossless": True, "effort": "best" if source.stem == "identical-lzma" else "normal"}
        encode(source, source.with_suffix(".wcz"), parse_recipe(words), threads=1)
    return [source.with_suffix(".wcz") for source in sources]


def craft() -> dict[str, bytes]:
    """What encoders write for large tensors only: several chunks."""
    step = varint(int.from_bytes(struct.pack(">f", 0.25), "little"))
    levels = np.arange(-10, 10, dtype=np.int32).reshape(5, 4)
    values = (levels * np.float32(0.25)).astype(np.float32)
    chunks = [hostile_tensors.pack_fixed(levels[i : i + 2].ravel().tolist(), 6) for i in (0, 2, 4)]
    halves = np.array([0x3E80, 0x3F80, 0x3F00, 0x4000, 0x3E80], np.uint16)
    grown = (levels * (halves.astype(np.uint32) << 16).view(np.float32)[:, None]).astype(np.float32)
    steps = b"\2\x0b\0" + halves.astype("<u2").tobytes()
    patched = values.copy()
    patched[4, 3] = np.inf
    levels[4, 3] = 0
    last = hostile_tensors.pack_fixed(levels[4:].ravel().tolist(), 6)
    patch = varint(1) + varint(19) + struct.pack("<f", np.inf)
    rows, vector = TensorSpec("rows", "float32", (5, 4)), TensorSpec("vector", "float32", (20,))
    exact = [b"\0" + values.ravel()[i : i + 8].tobytes() for i in (0, 8, 16)]
    parts = [hostile_tensors.pack_fixed((values.ravel()[i : i + 8] * 4).astype(int).tolist(), 6) for i in (0, 8, 16)]
    tensors = [rows, TensorSpec("again", "float32", (5, 4))]
    both = (lossy(values, b"\2\2\1" + step + chunks[0], *chunks[1:]), Entry(duplicate_of=0))
    return {
        "chunks-exact": one_tensor(vector, b"\0\x08" + exact[0], *exact[1:], digest=zlib.crc32(values)).to_bytes(),
        "chunks-of-rows": FileFields(both, table_of(tensors), skeleton_of(tensors)).to_bytes(),
        "chunks-of-a-vector": alone(vector, lossy(values, b"\2\x08\0" + step + parts[0], *parts[1:])),
        "chunks-of-steps": alone(rows, lossy(grown, b"\6\2\1" + steps + chunks[0], *chunks[1:])),
        "chunks-patched": alone(rows, lossy(patched, b"\x42\2\1" + patch + step + chunks[0], chunks[1], last)),
    }


def lossy(values: npt.NDArray[np.float32], *sections: bytes) -> Entry:
    """The record of tensor sections that decode to the values."""
    return Entry(sections, zlib.crc32(values), 0, int(np.count_nonzero(values)))


def description(packed: Path) -> dict[str, object]:
    """What must come of a good container."""
    with open_container(packed) as opened:
        tensors = {
            facts.name: {
                "dtype": facts.dtype,
                "shape": list(facts.shape),
                "sha256": hashlib.sha256(opened[facts.name].tobytes()).hexdigest(),
            }
            for facts in opened.container.tensors
            if facts.name != REST
        }
        said: dict[str, object] = {"kind": opened.container.kind, "tensors": tensors}
    if said["kind"] == "file":
        with tempfile.TemporaryDirectory() as folder:
            decode(packed, Path(folder) / "file")
            said["file"] = hashlib.sha256((Path(folder) / "file").read_bytes()).hexdigest()
    return said


def write_once(path: Path, content: bytes) -> None:
    """A good file stays as the encoder of its day wrote it: that is what readers must go on reading."""
    if not path.exists():
        path.write_bytes(content)


def main() -> None:
    """Write everything but the good files that are there."""
    good, bad = HERE / "good", HERE / "bad"
    for old in bad.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as temporary:
        made = [encode_model(name, Path(temporary)) for name in MODELS]
        for path in [*made, bfloat16(Path(temporary)), *files(Path(temporary))]:
            write_once(good / path.name, path.read_bytes())
        with (HERE / "sizes.csv").open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["model", "bytes"])
            rows.writerows((path.stem, path.stat().st_size) for path in made)
    for name, content in (craft() | by_rule()).items():
        write_once(good / f"{name}.wcz", content)
    expected = {path.name: description(path) for path in sorted(good.glob("*.wcz"))}
    (good / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    errors = {}
    for name, content, error in hostile.every():
        if name in BAD:
            (bad / f"{name}.wcz").write_bytes(content)
            errors[f"{name}.wcz"] = error.__name__
    (bad / "expected.json").write_text(json.dumps(errors, indent=1) + "\n")


if __name__ == "__main__":
    main()
