"""Conversion between a tree and skeleton bytes. `formats/keras.md` is the specification.

Facts of the table of tensors are not repeated: a slot is one byte, a group on the path of a slot takes its name from
that path, and the attributes in which Keras lists names are derived from the tree.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from wcodec.container.wire import MAX_DIMS, put_varint, take_varint
from wcodec.errors import CorruptError, TruncatedError
from wcodec.model import ITEM_BYTES
from wcodec.model.dataclass import dataclass, field, replace
from wcodec.modelfiles.hdf5.tree import MAX_DEPTH, Attribute, Group, Link, Node, Slot, Stored, Values, slot_paths

END, SLOT, GROUP_OF_SLOT, GROUP, SLOT_WITH, STORED, LINK = range(7)
PLAIN, NULL, DERIVED = range(3)
LINKS_ORDERED, ATTRIBUTES_ORDERED = 1, 2

TYPE = re.compile(r"[<>|][fiucbV][1-9][0-9]{0,8}|s[tns][au](?:0|[1-9][0-9]{0,8})")
DEFAULT_TYPES = {
    "float32": "<f4", "float16": "<f2", "bfloat16": "|V2", "float64": "<f8",
    "uint8": "|u1", "int8": "|i1", "uint16": "<u2", "int16": "<i2", "uint32": "<u4", "int32": "<i4",
    "uint64": "<u8", "int64": "<i8", "bool": "|b1", "complex64": "<c8", "complex128": "<c16",
    "float8_e4m3": "|V1", "float8_e5m2": "|V1", "bytes2": "|V2", "bytes1": "|V1",
}  # fmt: skip
"""The element type on disk of each tensor type, unless the skeleton gives another."""


def item_bytes(type_text: str) -> int:
    """Bytes of an element; 0 for a variable-length string."""
    return int(type_text[3:] if type_text[0] == "s" else type_text[2:])


def pack(tree: Group, dtypes: Sequence[str]) -> bytes:
    """The skeleton bytes of a tree whose slots have these tensor types, in preorder. Inverse: `parse`."""
    out = bytearray()
    _put_group(out, tree, iter(dtypes).__next__)
    return bytes(out)


def parse(data: bytes, names: Sequence[str], dtypes: Sequence[str]) -> Group:
    """The tree of `data`, whose slots are the tensors `names`, in preorder. Inverse: `pack`.

    Raises: CorruptError, TruncatedError. Memory is bounded by a small multiple of the arguments.
    """
    reader = _Reader(data, names, dtypes)
    tree = reader.group("", "", 0)
    if reader.at != len(data):
        raise CorruptError(f"skeleton at byte {reader.at}: expected its end, got {len(data) - reader.at} more bytes")
    if reader.slot != len(names):
        raise CorruptError(f"skeleton: expected places for {len(names)} tensors, got {reader.slot}")
    return tree


def _put_group(out: bytearray, group: Group, next_dtype: Callable[[], str]) -> None:
    out.append(LINKS_ORDERED * group.links_ordered | ATTRIBUTES_ORDERED * group.attributes_ordered)
    put_varint(out, len(group.attributes))
    for attribute in group.attributes:
        _put_text(out, attribute.name)
        _put_values(out, attribute.values, _is_derived(group, attribute))
    for child in group.children:
        match child:
            case Group():
                if next(slot_paths(child), None) is None:
                    out.append(GROUP)
                    _put_text(out, child.name)
                else:
                    out.append(GROUP_OF_SLOT)
                _put_group(out, child, next_dtype)
            case Slot():
                default = DEFAULT_TYPES[next_dtype()] == child.type
                if default and not child.attributes and not child.attributes_ordered:
                    out.append(SLOT)
                else:
                    out.append(SLOT_WITH)
                    _put_text(out, "" if default else child.type)
                    _put_attributes(out, child)
            case Stored():
                out.append(STORED)
                _put_text(out, child.name)
                _put_values(out, child.values)
                _put_attributes(out, child)
            case Link():
                out.append(LINK)
                _put_text(out, child.name)
                put_varint(out, child.target)
    out.append(END)


def _put_attributes(out: bytearray, dataset: Slot | Stored) -> None:
    out.append(ATTRIBUTES_ORDERED * dataset.attributes_ordered)
    put_varint(out, len(dataset.attributes))
    for attribute in dataset.attributes:
        _put_text(out, attribute.name)
        _put_values(out, attribute.values)


def _put_values(out: bytearray, values: Values, derived: bool = False) -> None:
    _put_text(out, values.type)
    out.append(DERIVED if derived else NULL if values.shape is None else PLAIN)
    if derived or values.shape is None:
        return
    put_varint(out, len(values.shape))
    for size in values.shape:
        put_varint(out, size)
    if item_bytes(values.type):
        out += values.items[0]
    else:
        for item in values.items:
            put_varint(out, len(item))
            out += item


def _put_text(out: bytearray, text: str) -> None:
    raw = text.encode()
    put_varint(out, len(raw))
    out += raw


def _list_names(group: Group, attribute: str, type_text: str) -> Values | None:
    """The names that Keras writes into an attribute, derived from the tree; None for other attributes and types."""
    if attribute == "layer_names":
        names = [c.name for c in group.children if isinstance(c, Group) and c.name != "top_level_model_weights"]
    elif attribute == "weight_names":
        names = list(slot_paths(group))
    else:
        return None
    items = tuple(name.encode() for name in names)
    if type_text[0] != "s" or ((size := item_bytes(type_text)) and any(len(item) > size for item in items)):
        return None
    return Values(type_text, (len(items),), (b"".join(i.ljust(size, b"\0") for i in items),) if size else items)


def _is_derived(group: Group, attribute: Attribute) -> bool:
    return attribute.values == _list_names(group, attribute.name, attribute.values.type)


@dataclass
class _Reader:
    """A position in skeleton bytes and among the names of the tensors."""

    data: bytes
    names: Sequence[str]
    dtypes: Sequence[str]
    at: int = 0
    slot: int = 0
    done: list[bool] = field(default_factory=list)

    def group(self, name: str, path: str, depth: int) -> Group:
        if depth > MAX_DEPTH:
            raise CorruptError(f"skeleton at byte {self.at}: expected at most {MAX_DEPTH} nested groups, got more")
        number = self.begin()
        flags = self.byte("group flags", LINKS_ORDERED | ATTRIBUTES_ORDERED)
        attributes, derived = self.attributes()
        children: list[Node] = []
        while (tag := self.byte("tag", LINK)) != END:
            children.append(self.child(tag, path, depth))
        if len({child.name for child in children}) != len(children):
            raise CorruptError(f"skeleton, group /{path}: two children have one name")
        self.done[number] = True
        group = Group(name, tuple(children), (), bool(flags & LINKS_ORDERED), bool(flags & ATTRIBUTES_ORDERED))
        return replace(group, attributes=self.complete(group, attributes, derived))

    def child(self, tag: int, path: str, depth: int) -> Node:
        if tag in (SLOT, GROUP_OF_SLOT, SLOT_WITH):
            name = self.name_of_slot(path, leaf=tag != GROUP_OF_SLOT)
            if tag == GROUP_OF_SLOT:
                return self.group(name, f"{path}{name}/", depth + 1)
            return self.dataset(name, plain=tag == SLOT)
        name = self.text()
        if name in ("", ".") or "/" in name or "\0" in name:
            raise CorruptError(f"skeleton at byte {self.at}: {name!r} cannot name an object")
        if tag == GROUP:
            return self.group(name, f"{path}{name}/", depth + 1)
        if tag == LINK:
            target = self.varint()
            if target >= len(self.done) or not self.done[target]:
                raise CorruptError(f"skeleton, link {path}{name}: expected a finished object, got number {target}")
            return Link(name, target)
        values = self.values(self.type())
        if values is None:
            raise CorruptError(f"skeleton, dataset {path}{name}: expected stored values, got derived ones")
        number = self.begin()
        ordered = self.byte("dataset flags", ATTRIBUTES_ORDERED)
        attributes = self.read_attributes()
        self.done[number] = True
        return Stored(name, values, attributes, bool(ordered))

    def dataset(self, name: str, plain: bool) -> Slot:
        default = DEFAULT_TYPES[self.dtypes[self.slot]]
        size = ITEM_BYTES[self.dtypes[self.slot]]
        self.slot += 1
        number = self.begin()
        self.done[number] = True
        if plain:
            return Slot(name, default)
        type_text = self.type(default)
        if item_bytes(type_text) != size or type_text[0] == "s":
            raise CorruptError(f"skeleton, tensor {self.names[self.slot - 1]}: type {type_text} is not of {size} bytes")
        ordered = self.byte("dataset flags", ATTRIBUTES_ORDERED)
        return Slot(name, type_text, self.read_attributes(), bool(ordered))

    def name_of_slot(self, path: str, leaf: bool) -> str:
        if self.slot >= len(self.names):
            raise CorruptError(f"skeleton at byte {self.at}: expected {len(self.names)} tensors, got more")
        whole = self.names[self.slot]
        name, rest = [*whole[len(path) :].split("/", 1), ""][:2] if whole.startswith(path) else ("", "")
        if name in ("", ".") or "\0" in name or (rest == "") != leaf:
            raise CorruptError(f"skeleton at byte {self.at}: tensor {whole!r} is not where group /{path} has it")
        return name

    def begin(self) -> int:
        self.done.append(False)
        return len(self.done) - 1

    def complete(self, group: Group, attributes: list[Attribute], derived: list[bool]) -> tuple[Attribute, ...]:
        result = []
        for attribute, missing in zip(attributes, derived, strict=True):
            values = _list_names(group, attribute.name, attribute.values.type) if missing else attribute.values
            if values is None:
                raise CorruptError(f"skeleton, attribute {attribute.name}: nothing to derive it from")
            result.append(Attribute(attribute.name, values))
        return tuple(result)

    def read_attributes(self) -> tuple[Attribute, ...]:
        attributes, derived = self.attributes()
        if any(derived):
            raise CorruptError(f"skeleton at byte {self.at}: a dataset's attribute cannot be derived")
        return tuple(attributes)

    def attributes(self) -> tuple[list[Attribute], list[bool]]:
        attributes, derived = [], []
        for _ in range(self.varint()):
            name, type_text = self.text(), self.type()
            if not name or "\0" in name:
                raise CorruptError(f"skeleton at byte {self.at}: {name!r} cannot name an attribute")
            values = self.values(type_text)
            attributes.append(Attribute(name, values or Values(type_text, None, ())))
            derived.append(values is None)
        if len({attribute.name for attribute in attributes}) != len(attributes):
            raise CorruptError(f"skeleton at byte {self.at}: two attributes have one name")
        return attributes, derived

    def values(self, type_text: str) -> Values | None:
        kind = self.byte("kind of values", DERIVED)
        if kind != PLAIN:
            return None if kind == DERIVED else Values(type_text, None, ())
        dims = self.varint()
        if dims > MAX_DIMS:
            raise CorruptError(f"skeleton at byte {self.at}: expected at most {MAX_DIMS} dimensions, got {dims}")
        shape = tuple(self.varint() for _ in range(dims))
        count = math.prod(shape)
        if size := item_bytes(type_text):
            return Values(type_text, shape, (self.take(count * size),))
        if count > len(self.data) - self.at:
            raise TruncatedError(f"skeleton at byte {self.at}: ended early; needed {count} strings")
        return Values(type_text, shape, tuple(self.take(self.varint()) for _ in range(count)))

    def type(self, default: str = "") -> str:
        text = self.text() or default
        if not TYPE.fullmatch(text):
            raise CorruptError(f"skeleton at byte {self.at}: expected an element type, got {text!r}")
        return text

    def text(self) -> str:
        raw = self.take(self.varint())
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise CorruptError(f"skeleton at byte {self.at}: expected UTF-8, got {error}") from error

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            left = len(self.data) - self.at
            raise TruncatedError(f"skeleton at byte {self.at}: ended early; needed {size} bytes, got {left}")
        self.at += size
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        value, self.at = take_varint(self.data, self.at)
        return value

    def byte(self, what: str, largest: int) -> int:
        value = self.take(1)[0]
        if value > largest:
            raise CorruptError(f"skeleton at byte {self.at - 1}: expected a {what} of at most {largest}, got {value}")
        return value
