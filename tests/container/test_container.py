"""The container: its fields are those of the specification, it is small, and it is read as written."""

from __future__ import annotations

import io
import tempfile
import zlib
from pathlib import Path

import pytest
from attack.file_fields import Entry, dissect, varint
from attack.hostile import good
from attack.small_models import encode_small, two_layers, weights
from hypothesis import given
from hypothesis import strategies as st

from wcodec.container.model_section import MAX_LENGTH, STORED, pack_model_section, parse_model_section
from wcodec.container.reader import parse, read_section
from wcodec.container.records import KINDS, pack_error, parse_error
from wcodec.container.wire import put_varint, take_varint
from wcodec.container.writer import EncodedSections, Writer
from wcodec.errors import ContainerError, CorruptError, ModelFileError, TruncatedError
from wcodec.model import DTYPE_IDS, TensorSpec
from wcodec.pipeline.decoder import verify
from wcodec.reporting.inspection import inspect

FACTS = st.builds(
    TensorSpec,
    st.text(min_size=1, max_size=12).filter(lambda name: name.encode("utf-8", "replace").decode() == name),
    st.sampled_from(sorted(DTYPE_IDS)),
    st.lists(st.integers(0, 300), max_size=5).map(tuple),
)
CODED = st.builds(
    EncodedSections,
    st.lists(st.binary(max_size=200), min_size=1, max_size=3).map(tuple),
    st.integers(0, (1 << 32) - 1),
    st.none() | st.floats(0, 1e6, width=32),
    st.just(0),
)


@given(st.lists(st.tuples(FACTS, CODED), max_size=5, unique_by=lambda pair: pair[0].name), st.binary(max_size=300))
def test_a_container_is_read_as_written(tensors: list[tuple[TensorSpec, EncodedSections]], skeleton: bytes) -> None:
    with tempfile.TemporaryFile("w+b") as file:
        writer = Writer(file)
        for _, tensor in tensors:
            writer.add(tensor)
        length = writer.finish("npz", [facts for facts, _ in tensors], skeleton, 12345, 0.25)
        container = parse(file)
        assert container.file_bytes == length == file.seek(0, io.SEEK_END)
        assert (container.kind, container.skeleton) == ("npz", skeleton)
        assert (container.source_bytes, container.error) == (12345, 0.25)
        assert list(container.tensors) == [facts for facts, _ in tensors]
        for record, (_, tensor) in zip(container.records, tensors, strict=True):
            assert record.digest == tensor.digest
            assert tuple(read_section(file, section, "") for section in record.sections) == tensor.sections
            assert (record.error is None) == (tensor.error is None)
            assert record.error is None or 0 <= record.error - (tensor.error or 0) <= 2**-7 * record.error + 1e-40
        file.seek(0)
        assert dissect(file.read()).skeleton == skeleton


def test_the_fields_of_a_file_are_written_to_the_same_file(tmp_path: Path) -> None:
    for kind, words in (("hdf5", {"bits": 3}), ("npz", {"exclude": "."}), ("safetensors", {"sparsity": 0.5})):
        packed = encode_small(tmp_path, kind, two_layers(), **words)
        before = dissect(packed.read_bytes())
        packed.write_bytes(before.to_bytes())
        assert dissect(packed.read_bytes()) == before
        assert KINDS[before.kind] == verify(packed).kind == kind


def test_a_model_of_one_layer_has_little_overhead(tmp_path: Path) -> None:
    arrays = {"dense/kernel": weights(1, 24, 20), "dense/bias": weights(2, 20)}
    for kind in ("hdf5", "npz", "safetensors"):
        for words in ({}, {"exclude": "."}, {"bits": 4}):
            packed = encode_small(tmp_path, kind, arrays, **words)
            numbers = inspect(packed)
            overhead = numbers.file_bytes - numbers.weight_bytes - numbers.parts.skeleton
            assert overhead == numbers.parts.index + numbers.parts.container
            assert overhead <= 48 + 10 * len(arrays)
            assert numbers.parts.skeleton <= 100


def test_the_parts_are_in_the_order_of_the_specification(tmp_path: Path) -> None:
    file = encode_small(tmp_path, "npz", two_layers(), bits=4).read_bytes()
    assert file[:5] == b"\x89WCZ\x01"
    assert int.from_bytes(file[8:16], "little") == len(file)
    index = file[-int.from_bytes(file[16:20], "little") :]
    assert zlib.crc32(file[:20] + index) == int.from_bytes(file[20:24], "little")
    assert index[0] == 2


def test_a_duplicate_shares_the_sections_of_the_first() -> None:
    fields = good()
    facts = fields.tensors[0]
    twice = fields.with_tensors([facts, TensorSpec("again", facts.dtype, facts.shape)])
    file = type(fields)((*fields.entries, Entry(duplicate_of=0)), twice.table, twice.skeleton).to_bytes()
    with tempfile.TemporaryFile("w+b") as handle:
        handle.write(file)
        container = parse(handle)
    assert container.resolve(1) is container.records[0]
    assert container.records[1].nbytes == 0


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=3))
def test_varints_are_read_as_written(value: int, before: bytes) -> None:
    out = bytearray(before)
    put_varint(out, value)
    assert take_varint(bytes(out) + b"\x80", len(before)) == (value, len(out))
    assert bytes(out[len(before) :]) == varint(value)
    for size in range(len(before), len(out)):
        with pytest.raises(TruncatedError):
            take_varint(bytes(out[:size]), len(before))


@given(st.binary(min_size=1, max_size=12))
def test_a_value_has_only_one_valid_varint(encoded: bytes) -> None:
    try:
        value, end = take_varint(encoded, 0)
    except ContainerError:
        return
    assert varint(value) == encoded[:end]
    assert value < 1 << 64


@given(st.floats(0, 3e38))
def test_relative_errors_are_rounded_up(error: float) -> None:
    stated = parse_error(pack_error(error))
    assert error <= stated * (1 + 2**-23) + 1e-45
    assert stated <= error * (1 + 2**-7) + 1e-40


@pytest.mark.parametrize("half", [0x7F80, 0x7FC0, 0x8000, 0xFFFF])
def test_an_error_that_is_infinite_nan_or_negative_is_refused(half: int) -> None:
    with pytest.raises(CorruptError, match="relative error"):
        parse_error(half)


@given(st.lists(FACTS, max_size=20, unique_by=lambda facts: facts.name), st.binary(max_size=2000))
def test_the_model_section_is_read_as_written_and_never_larger(tensors: list[TensorSpec], skeleton: bytes) -> None:
    section = pack_model_section(tensors, skeleton)
    assert parse_model_section(section, len(tensors)) == (tuple(tensors), skeleton, None)
    assert len(section.stored) <= section.length


def test_a_model_that_readers_would_refuse_is_not_written() -> None:
    for tensors, skeleton in (
        ([], bytes(MAX_LENGTH)),
        ([TensorSpec("n" * 70_000, "float32", ())], b""),
        ([TensorSpec("n", "float32", (1,) * 33)], b""),
    ):
        with pytest.raises(ModelFileError, match="expected"):
            pack_model_section(tensors, skeleton)


def test_similar_names_take_at_most_four_bytes_each() -> None:
    tensors = [TensorSpec(f"model.layers.{i}.attention.query.weight", "bfloat16", (1024, 1024)) for i in range(200)]
    section = pack_model_section(tensors, b"")
    assert section.coding != STORED
    assert len(section.stored) <= 4 * len(tensors)
