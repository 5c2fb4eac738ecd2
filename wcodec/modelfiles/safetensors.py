"""`.safetensors`: 8 bytes of length, a JSON header, the values. https://github.com/huggingface/safetensors"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wcodec.container.wire import MAX_DIMS, put_varint, take_varint
from wcodec.errors import CorruptError, ModelFileError
from wcodec.model import AnyArray, Model, TensorSpec
from wcodec.modelfiles.extents import Extent, tensor_of
from wcodec.modelfiles.hdf5.layers import Json

CANONICAL, VERBATIM = 0, 1
MAX_HEADER_BYTES = 100_000_000
TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
NAMES = {ours: theirs for theirs, ours in TYPES.items()}


@dataclass(frozen=True)
class Entry:
    """One tensor of the header: where its values lie, from the end of the header."""

    facts: TensorSpec
    begin: int
    end: int

    def extent(self, start: int) -> Extent:
        """In the file, whose header ends at `start`."""
        return Extent(self.facts, start + self.begin, layer=self.facts.name.rpartition(".")[0])


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """The model of a `.safetensors` file, tensors in the order of its header. Inverse: `write`.

    Raises: ModelFileError.
    """
    size = path.stat().st_size
    start, header = _header(path, size)
    metadata, entries = _parsed(path, header, size - start)
    facts = [entry.facts for entry in entries]
    padding = len(header) - len(header.rstrip(b" "))
    skeleton = bytearray()
    if header == _canonical(facts, metadata, padding):
        skeleton.append(CANONICAL)
        put_varint(skeleton, padding)
        skeleton += metadata
    else:
        skeleton.append(VERBATIM)
        skeleton += header
    tensors = tuple(tensor_of(path, entry.extent(start)) for entry in entries)
    yield Model("safetensors", tensors, bytes(skeleton), size)


def canonical_skeleton(tensors: Sequence[TensorSpec]) -> bytes:
    """The skeleton of a file of just these tensors, its header padded as the library does.

    Raises: ModelFileError for a type that the format lacks.
    """
    for facts in tensors:
        if facts.dtype not in NAMES:
            raise ModelFileError(f"{facts.name}: .safetensors has no type {facts.dtype}")
    skeleton = bytearray((CANONICAL,))
    put_varint(skeleton, -len(_canonical(tensors, b"", 0)) % 8)
    return bytes(skeleton)


def extents_of(path: Path) -> list[Extent]:
    """Where the tensors lie.

    Raises: ModelFileError.
    """
    size = path.stat().st_size
    start, header = _header(path, size)
    return [entry.extent(start) for entry in _parsed(path, header, size - start)[1]]


def _header(path: Path, size: int) -> tuple[int, bytes]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise ModelFileError(f"{path}: expected a header within {size} bytes, got one of {length}")
        return 8 + length, file.read(length)


def _parsed(path: Path, header: bytes, left: int) -> tuple[bytes, list[Entry]]:
    try:
        return _parse(header, left)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a readable safetensors header: {error}") from error


def write(path: Path, skeleton: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Writes a new file, its header byte for byte the one that was read. Inverse: `read`.

    Raises: CorruptError, TruncatedError.
    """
    if skeleton[:1] == bytes([CANONICAL]):
        padding, at = take_varint(skeleton, 1)
        if padding > 64 + len(skeleton):
            raise CorruptError(f"skeleton: expected a few spaces behind the header, got {padding}")
        header = _canonical(tensors, skeleton[at:], padding)
    elif skeleton[:1] == bytes([VERBATIM]):
        header = skeleton[1:]
    else:
        raise CorruptError(f"skeleton: expected a kind of header of 0 or 1, got {skeleton[:1].hex() or 'nothing'}")
    try:
        _, entries = _parse(header, sum(facts.nbytes for facts in tensors))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"skeleton: not a header: {error}") from error
    if [entry.facts for entry in entries] != [TensorSpec(t.name, t.dtype, t.shape) for t in tensors]:
        raise CorruptError("skeleton: the header does not list the tensors of the container")
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for entry in entries:
            tensor = next(values, None)
            if tensor is None or tensor.nbytes != entry.facts.nbytes:
                raise CorruptError(f"{entry.facts.name}: expected {entry.facts.nbytes} bytes of values, got others")
            file.seek(8 + len(header) + entry.begin)
            file.write(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)


def _parse(header: bytes, left: int) -> tuple[bytes, list[Entry]]:
    """JSON of `__metadata__` (b"" where there is none) and the tensors, which must fill the `left` bytes exactly.

    Raises: ValueError that says what is wrong.
    """
    parsed: Json = json.loads(header.decode(), object_pairs_hook=_without_repeats)
    if not isinstance(parsed, dict):
        raise ValueError("expected an object")
    metadata = _json(parsed.pop("__metadata__")).encode() if "__metadata__" in parsed else b""
    entries = [_entry(name, facts) for name, facts in parsed.items()]
    at = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != at or entry.end - entry.begin != entry.facts.nbytes:
            place = f"{entry.begin}:{entry.end}"
            raise ValueError(f"{entry.facts.name}: expected {entry.facts.nbytes} bytes at {at}, got {place}")
        at = entry.end
    if at != left:
        raise ValueError(f"expected values of {at} bytes, got {left}")
    return metadata, entries


def _entry(name: str, facts: Json) -> Entry:
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = facts["dtype"], _sizes(name, facts["shape"]), _sizes(name, facts["data_offsets"])
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise ValueError(f"{name}: tensors of type {dtype} are not supported")
    if len(offsets) != 2 or len(shape) > MAX_DIMS:
        raise ValueError(f"{name}: expected two offsets and at most {MAX_DIMS} dimensions")
    made = TensorSpec(name, TYPES[dtype], shape)
    if not made.is_possible or name.encode(errors="replace").decode() != name:
        raise ValueError(f"{name[:80]!r}: expected a name in UTF-8 and less than 2**62 bytes, got shape {shape}")
    return Entry(made, *offsets)


def _sizes(name: str, sizes: Json) -> tuple[int, ...]:
    whole = [size for size in sizes if type(size) is int and 0 <= size < 1 << 63] if isinstance(sizes, list) else []
    if not isinstance(sizes, list) or len(whole) != len(sizes):
        raise ValueError(f"{name}: expected whole numbers, got {sizes!r:.80}")
    return tuple(whole)


def _without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name occurs twice")
    return made


def _canonical(tensors: Sequence[TensorSpec], metadata: bytes, padding: int) -> bytes:
    """The header that the library itself writes: no spaces, metadata first, offsets in the order of the names."""
    parts = [f'"__metadata__":{metadata.decode("utf-8", "replace")}'] if metadata else []
    at = 0
    for facts in tensors:
        end = at + facts.nbytes
        entry: Json = {"dtype": NAMES.get(facts.dtype), "shape": list(facts.shape), "data_offsets": [at, end]}
        parts.append(f"{_json(facts.name)}:{_json(entry)}")
        at = end
    return f"{{{','.join(parts)}}}".encode("utf-8", "surrogatepass") + b" " * padding


def _json(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
