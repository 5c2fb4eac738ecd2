"""ONNX: the extents of the tensors in initializers, Constant nodes and subgraphs.
https://onnx.ai/onnx/repo-docs/IR.html

The fields of the file are walked without loading it, so its size does not matter and no library is needed. Values that
are not a range of bytes (numbers as varints, strings) belong to the remainder.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from wcodec.container.wire import MAX_DIMS
from wcodec.errors import ModelFileError
from wcodec.files import is_portable
from wcodec.model import Model, Role, TensorSpec
from wcodec.model.dataclass import dataclass, field, replace
from wcodec.modelfiles.extents import SUFFIXES, Extent, make_layout, model_of
from wcodec.modelfiles.onnx_roles import Node, roles_of
from wcodec.modelfiles.onnx_task import tasks_of
from wcodec.modelfiles.protobuf import BYTES, VARINT, Field, fields, varint

TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3",
    18: "bytes1", 19: "float8_e5m2", 20: "bytes1",
}  # fmt: skip
MAX_DEPTH = 32
MAX_OUTERMOST = 1 << 16
"""The largest number of fields of the outermost message: a graph, and a few for each operator set, function and
metadata entry."""
MAX_FIELDS = 1 << 21
"""The largest number of fields of all messages; models of a hundred thousand operators have fewer."""
FEW = 64
"""Constants with fewer than two dimensions and at most this many elements are parameters of operators, not weights."""
_FLOATS, _RAW, _DOUBLES = 4, 9, 10


class UnreadableError(ModelFileError):
    """The file is not an ONNX model that can be read."""


@dataclass(frozen=True)
class Outside:
    """Values in another file: its path as the model gives it, and their position there.

    problem: why they cannot be read, or None.
    """

    location: str
    extent: Extent
    problem: str | None = None


@dataclass
class GraphWalk:
    """The state of a walk. `scales` are the names of tensors that belong to integers and must stay exact."""

    path: Path
    file: mmap.mmap
    extents: list[Extent] = field(default_factory=list)
    outside: list[Outside] = field(default_factory=list)
    scales: set[str] = field(default_factory=set)
    nodes: list[Node] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    fields_left: int = MAX_FIELDS

    def fields(self, begin: int, end: int) -> list[Field]:
        """The fields of the message at `begin`.

        Raises: ValueError if it is not a message, or if the file has more than MAX_FIELDS.
        """
        found = list(islice(fields(self.file, begin, end), self.fields_left + 1))
        self.fields_left -= len(found)
        if self.fields_left < 0:
            raise ValueError(f"expected at most {MAX_FIELDS} fields")
        return found


@contextmanager
def read(path: Path, keep_optimizer: bool) -> Iterator[Model]:
    """A context manager of the model of an `.onnx` file, without external data; tensors can be read until it ends.

    Raises: ModelFileError.
    """
    found = find_tensors(path)
    for one in found.outside:
        if one.problem is not None:
            raise ModelFileError(f"{path}, {one.extent.facts.name}: {one.problem}")
    model = model_of(path, make_layout(SUFFIXES.index(".onnx"), path.stat().st_size, found.extents))
    # The graph gives the use of every tensor, so that names are not needed.
    roles: dict[str, Role | None] = dict.fromkeys(tensor.name for tensor in model.tensors)
    shapes = {tensor.name: tensor.shape for tensor in model.tensors}
    tasks = tasks_of(found.nodes, found.outputs, shapes)
    yield replace(model, roles=roles | roles_of(found.nodes), tasks=tasks)


def is_onnx(path: Path) -> bool:
    """Whether the file is a message with a version and a graph, as an ONNX model is."""
    try:
        with _open_mapped(path) as file:
            walk = fields(file, 0, len(file))
            numbers = {one.number for one in islice(walk, MAX_OUTERMOST)}
            return {1, 7} <= numbers and next(walk, None) is None
    except (ValueError, OSError):
        return False


def find_tensors(path: Path) -> GraphWalk:
    """All facts about the values in an `.onnx` file.

    Raises: ModelFileError.
    """
    try:
        with _open_mapped(path) as file:
            found = GraphWalk(path, file)
            _read_model(found)
    except (ValueError, OSError) as error:
        raise UnreadableError(f"{path}: not a readable ONNX model: {error}") from error
    return found


def find_extents(path: Path) -> list[Extent]:
    """The extents of an `.onnx` file, up to the point where it is not understood."""
    with suppress(ValueError, OSError), _open_mapped(path) as file:
        found = GraphWalk(path, file)
        with suppress(ValueError):
            _read_model(found)
        return found.extents
    return []


def _read_model(found: GraphWalk) -> None:
    for one in found.fields(0, len(found.file)):
        if one.wire == BYTES and one.number == 7:
            _read_graph(found, one, "", 0)
        elif one.wire == BYTES and one.number == 25:
            _read_function(found, one)


@contextmanager
def _open_mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        yield mapped


def _list_messages(fields: list[Field], *numbers: int) -> Iterator[Field]:
    """The fields with these numbers that are bytes: messages, texts and values."""
    return (one for one in fields if one.number in numbers and one.wire == BYTES)


def _read_first_text(found: GraphWalk, fields: list[Field], number: int) -> str:
    return next((_read_text(found, one) for one in _list_messages(fields, number)), "")


def _read_graph(found: GraphWalk, graph: Field, prefix: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"graphs are nested more than {MAX_DEPTH} deep")
    inside = found.fields(graph.begin, graph.end)
    for one in _list_messages(inside, 1):
        _read_node(found, one, prefix, depth)
    if not depth:
        results = (found.fields(one.begin, one.end) for one in _list_messages(inside, 12))
        found.outputs.extend(_read_first_text(found, result, 1) for result in results)
    for one in _list_messages(inside, 5, 15):
        (_read_tensor if one.number == 5 else _read_sparse)(found, one, prefix, None)


def _read_function(found: GraphWalk, function: Field) -> None:
    inside = found.fields(function.begin, function.end)
    name = _read_first_text(found, inside, 1)
    for one in _list_messages(inside, 7):
        _read_node(found, one, f"{name}/", 0)


def _read_node(found: GraphWalk, node: Field, prefix: str, depth: int) -> None:
    inside = [one for one in found.fields(node.begin, node.end) if one.wire == BYTES]
    texts = {n: [_read_text(found, one) for one in inside if one.number == n] for n in (1, 2, 3, 4)}
    kind = "".join(texts[4]).lower()
    if "quantize" in kind or "qlinear" in kind or "integer" in kind:
        found.scales.update(prefix + name for name in texts[1])
    name = next(iter([*texts[2], *texts[3]]), "")
    found.nodes.append(Node("".join(texts[4]), *(tuple(prefix + one for one in texts[n]) for n in (1, 2))))
    for one in _list_messages(inside, 5):
        parts = found.fields(one.begin, one.end)
        attribute = _read_first_text(found, parts, 1)
        for part in _list_messages(parts, 5, 10, 22, 23, 6, 11):
            if part.number in (6, 11):
                _read_graph(found, part, f"{prefix}{name}/{attribute}/", depth + 1)
            else:
                (_read_tensor if part.number in (5, 10) else _read_sparse)(found, part, prefix, name)


def _read_sparse(found: GraphWalk, sparse: Field, prefix: str, name: str | None) -> None:
    for one in _list_messages(found.fields(sparse.begin, sparse.end), 1, 2):
        _read_tensor(found, one, prefix, name)


def _read_tensor(found: GraphWalk, tensor: Field, prefix: str, constant: str | None) -> None:
    """One tensor. constant: the name of the node that holds it; None for an initializer."""
    inside = found.fields(tensor.begin, tensor.end)
    dims = _read_dims(found, inside)
    kind = next((one.value for one in inside if one.number == 2 and one.wire == VARINT), 0)
    own = _read_first_text(found, inside, 8)
    dtype = TYPES.get(kind, "uint8")
    if len(dims) > MAX_DIMS:  # no array can have that many: the values are opaque bytes
        dims, dtype = (), "uint8"
    name = _make_unique(found, prefix + (own if constant is None else constant))
    small = len(dims) < 2 and (constant is not None or not dims) and max((1, *dims)) <= FEW
    exact = small or prefix + own in found.scales or (constant is not None and prefix + constant in found.scales)
    layer = name.replace("/", ".").rpartition(".")[0]
    facts = TensorSpec(name, dtype, dims)
    if any(one.number == 14 and one.value == 1 for one in inside):
        found.outside.append(_parse_outside(found, inside, Extent(facts, 0, 0, layer, exact)))
        return
    held = list(_list_messages(inside, _FLOATS, _RAW, _DOUBLES))
    if len(held) != 1 or held[0].end == held[0].begin:
        return
    (values,) = held
    size = values.end - values.begin
    if values.number != _RAW and facts.dtype != {_FLOATS: "float32", _DOUBLES: "float64"}[values.number]:
        return
    if facts.nbytes != size:
        facts, exact = TensorSpec(name, "uint8", (size,)), True
    found.extents.append(Extent(facts, values.begin, 0, layer, exact))


def _read_dims(found: GraphWalk, inside: list[Field]) -> tuple[int, ...]:
    dims: list[int] = []
    for one in inside:
        if one.number == 1 and one.wire == VARINT:
            dims.append(one.value)
        elif one.number == 1 and one.wire == BYTES:
            at = one.begin
            while at < one.end:
                value, at = varint(found.file, at, one.end)
                dims.append(value)
    return tuple(dims)


def _parse_outside(found: GraphWalk, inside: list[Field], extent: Extent) -> Outside:
    said: dict[str, str] = {}
    for one in _list_messages(inside, 13):
        pair = {part.number: _read_text(found, part) for part in found.fields(one.begin, one.end)}
        said[pair.get(1, "")] = pair.get(2, "")
    location = said.get("location", "")
    if not is_portable(location):
        return Outside(location, extent, f"expected external data inside the model's folder, got {location[:80]!r}")
    try:
        begin, length = int(said.get("offset", "0")), int(said.get("length", "0")) or extent.facts.nbytes
    except ValueError as error:
        return Outside(location, extent, f"expected an offset and a length, got {error}")
    if begin < 0 or length < 0:
        return Outside(location, extent, f"expected an offset and a length from 0 on, got {begin} and {length}")
    facts = extent.facts if length == extent.facts.nbytes else TensorSpec(extent.facts.name, "uint8", (length,))
    exact = extent.exact or facts != extent.facts
    return Outside(location, Extent(facts, begin, 0, extent.layer, exact))


def _make_unique(found: GraphWalk, name: str) -> str:
    name = name or "tensor"
    while again := found.names.get(name, 0):
        found.names[name] = again + 1
        name = f"{name}#{again + 1}"
    found.names[name] = 1
    return name


def _read_text(found: GraphWalk, one: Field) -> str:
    return bytes(found.file[one.begin : min(one.end, one.begin + 4096)]).decode("utf-8", "replace")
