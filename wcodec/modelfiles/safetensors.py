"""`.safetensors`: 8 bytes of length, a JSON header, the values. https://github.com/huggingface/safetensors"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wcodec.container.wire import MAX_DIMS, put_varint, take_varint
from wcodec.errors import CorruptError, ModelFileError
from wcodec.model import AnyArray, Model, TensorSpec
from wcodec.modelfiles.extents import Extent, tensor_of
from wcodec.modelfiles.json_text import Json, parse_json

CANONICAL, VERBATIM = 0, 1
MAX_HEADER_BYTES = 100_000_000
TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool", "C64": "complex64",
}  # fmt: skip
ALIKE = {
    "F8_E4M3FNUZ": "float8_e4m3", "F8_E4M3FN": "float8_e4m3", "F8_E4M3B11FNUZ": "float8_e4m3",
    "F8_E5M2FNUZ": "float8_e5m2",
}  # fmt: skip
"""Types that are opaque here, with the type that has the same bit layout."""
NAMES = {ours: theirs for theirs, ours in TYPES.items()}


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the model of a `.safetensors` file, with tensors in the order of its header. Inverse:
    `write`.

    Raises: ModelFileError.
    """
    header, metadata, extents = _open(path)
    facts = [extent.facts for extent in extents]
    padding = len(header) - len(header.rstrip(b" "))
    skeleton = bytearray()
    if header == _write_canonical(facts, metadata, padding):
        skeleton.append(CANONICAL)
        put_varint(skeleton, padding)
        skeleton += metadata
    else:
        skeleton.append(VERBATIM)
        skeleton += header
    tensors = tuple(tensor_of(path, extent) for extent in extents)
    yield Model("safetensors", tensors, bytes(skeleton), path.stat().st_size)


def canonical_skeleton(tensors: Sequence[TensorSpec], metadata: Mapping[str, str] | None = None) -> bytes:
    """The skeleton of a file of these tensors, with its header padded as the library pads it.

    Raises: ModelFileError for a type that the format lacks.
    """
    for facts in tensors:
        if facts.dtype not in NAMES:
            raise ModelFileError(f"{facts.name}: .safetensors has no type {facts.dtype}")
    said = b"" if metadata is None else _write_json(dict(metadata)).encode()
    skeleton = bytearray((CANONICAL,))
    put_varint(skeleton, -len(_write_canonical(tensors, said, 0)) % 8)
    return bytes(skeleton) + said


def find_extents(path: Path) -> list[Extent]:
    """The extents of the tensors, as far as the header is understood.

    Tensors of unknown types, or of a size that their type and shape do not explain, are opaque bytes. Raises:
    ModelFileError.
    """
    header, _ = _read_header(path)
    try:
        parsed = parse_json(header.decode(), f"{path}, header")
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a readable safetensors header: {error}") from error
    said = parsed.items() if isinstance(parsed, dict) else ()
    found = (_find_extent(name, facts, 8 + len(header)) for name, facts in said if name != "__metadata__")
    return [extent for extent in found if extent]


def _find_extent(name: str, facts: Json, start: int) -> Extent | None:
    if not isinstance(facts, dict):
        return None
    try:
        begin, end = _check_sizes(name, facts.get("data_offsets"))
        shape = _check_sizes(name, facts.get("shape"))
    except ValueError:
        return None
    dtype, shape = str(facts.get("dtype")), shape if len(shape) <= MAX_DIMS else ()
    if dtype in TYPES:
        made = TensorSpec(name, TYPES[dtype], shape)
        if made.nbytes == end - begin:
            return Extent(made, start + begin)
    if end <= begin:
        return None
    # Rows of whole bytes: three quarters of the number of elements with 6 bits, one half with 4.
    rows = math.prod(shape[:-1])
    rows = rows if 0 < rows <= end - begin and (end - begin) % rows == 0 else 1
    made = TensorSpec(name, "bytes1", (rows, (end - begin) // rows))
    return Extent(made, start + begin, coded_as=ALIKE.get(dtype, "uint8"))


def _open(path: Path) -> tuple[bytes, bytes, list[Extent]]:
    """The header, its metadata and the extents of the tensors."""
    header, size = _read_header(path)
    try:
        return header, *_parse(header, size)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a readable safetensors header: {error}") from error


def _read_header(path: Path) -> tuple[bytes, int]:
    """The header, and the size of the file in bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise ModelFileError(f"{path}: expected a header within {size} bytes, got one of {length}")
        return file.read(length), size


def write(path: Path, skeleton: bytes, tensors: Sequence[TensorSpec], values: Iterator[AnyArray]) -> None:
    """Write a new file, with the header byte for byte as it was read. Inverse: `read`.

    Raises: CorruptError, TruncatedError.
    """
    if skeleton[:1] == bytes([CANONICAL]):
        padding, at = take_varint(skeleton, 1)
        if padding > 64 + len(skeleton):
            raise CorruptError(f"skeleton: expected a few spaces after the header, got {padding}")
        header = _write_canonical(tensors, skeleton[at:], padding)
    elif skeleton[:1] == bytes([VERBATIM]):
        header = skeleton[1:]
    else:
        raise CorruptError(f"skeleton: expected a kind of header of 0 or 1, got {skeleton[:1].hex() or 'nothing'}")
    try:
        _, extents = _parse(header, 8 + len(header) + sum(facts.nbytes for facts in tensors))
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"skeleton: not a header: {error}") from error
    if [extent.facts for extent in extents] != [TensorSpec(t.name, t.dtype, t.shape) for t in tensors]:
        raise CorruptError("skeleton: the header does not list the tensors of the container")
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for extent in extents:
            tensor = next(values, None)
            if tensor is None or tensor.nbytes != extent.facts.nbytes:
                raise CorruptError(f"{extent.facts.name}: expected {extent.facts.nbytes} bytes of values, got others")
            file.seek(extent.begin)
            file.write(np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data)


def _parse(header: bytes, size: int) -> tuple[bytes, list[Extent]]:
    """The JSON of `__metadata__` (b"" if there is none) and the tensors, which must exactly fill a file of `size`
    bytes.

    Raises: ValueError that says what is wrong.
    """
    parsed = parse_json(header.decode(), "header", _without_repeats)
    if not isinstance(parsed, dict):
        raise ValueError("expected an object")
    metadata = _write_json(parsed.pop("__metadata__")).encode() if "__metadata__" in parsed else b""
    at = start = 8 + len(header)
    extents = [_read_extent(name, facts, start) for name, facts in parsed.items()]
    for extent in sorted(extents, key=lambda extent: (extent.begin, extent.end)):
        if extent.begin != at:
            raise ValueError(f"{extent.facts.name}: expected values at {at - start}, got {extent.begin - start}")
        at = extent.end
    if at != size:
        raise ValueError(f"expected values of {at - start} bytes, got {size - start}")
    return metadata, extents


def _read_extent(name: str, facts: Json, start: int) -> Extent:
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name}: expected dtype, shape and data_offsets")
    dtype, shape, offsets = (
        facts["dtype"],
        _check_sizes(name, facts["shape"]),
        _check_sizes(name, facts["data_offsets"]),
    )
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise ValueError(f"{name}: tensors of type {dtype} are not supported")
    if len(offsets) != 2 or len(shape) > MAX_DIMS:
        raise ValueError(f"{name}: expected two offsets and at most {MAX_DIMS} dimensions")
    made = TensorSpec(name, TYPES[dtype], shape)
    if not made.is_possible or name.encode(errors="replace").decode() != name:
        raise ValueError(f"{name[:80]!r}: expected a name in UTF-8 and less than 2**62 bytes, got shape {shape}")
    if offsets[1] - offsets[0] != made.nbytes:
        raise ValueError(f"{name}: expected {made.nbytes} bytes, got those of {offsets[0]}:{offsets[1]}")
    return Extent(made, start + offsets[0], layer=name.rpartition(".")[0])


def _check_sizes(name: str, sizes: Json) -> tuple[int, ...]:
    whole = [size for size in sizes if type(size) is int and 0 <= size < 1 << 63] if isinstance(sizes, list) else []
    if not isinstance(sizes, list) or len(whole) != len(sizes):
        raise ValueError(f"{name}: expected whole numbers, got {sizes!r:.80}")
    return tuple(whole)


def _without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name occurs twice")
    return made


def _write_canonical(tensors: Sequence[TensorSpec], metadata: bytes, padding: int) -> bytes:
    """The header as the library writes it: no spaces, metadata first, offsets in the order of the names."""
    parts = [f'"__metadata__":{metadata.decode("utf-8", "replace")}'] if metadata else []
    at = 0
    for facts in tensors:
        end = at + facts.nbytes
        entry: Json = {"dtype": NAMES.get(facts.dtype), "shape": list(facts.shape), "data_offsets": [at, end]}
        parts.append(f"{_write_json(facts.name)}:{_write_json(entry)}")
        at = end
    return f"{{{','.join(parts)}}}".encode("utf-8", "surrogatepass") + b" " * padding


def _write_json(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
