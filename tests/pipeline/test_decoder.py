"""Decoding: single tensors from their own byte ranges, with checksums; files are complete or absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.file_fields import dissect
from attack.small_models import encode_small, two_layers, weights

from wcodec.errors import ContainerError, CorruptError
from wcodec.model import TensorSpec
from wcodec.pipeline.decoder import OpenContainer, decode, open_container, verify


def test_a_tensor_is_read_by_name_from_its_own_bytes(tmp_path: Path) -> None:
    arrays = two_layers()
    packed = encode_small(tmp_path, "npz", arrays, lossless=True)
    file = bytearray(packed.read_bytes())
    with open_container(packed) as opened:
        sections = {name: opened.container.resolve(i).sections for i, name in enumerate(opened.names())}
    for section in sections["b/few"]:
        file[section.offset + section.length - 1] ^= 1
    packed.write_bytes(file)
    with open_container(packed) as opened:
        for name, array in arrays.items():
            if name == "b/few":
                with pytest.raises(CorruptError, match="b/few, section 0: the checksum"):
                    opened[name]
            else:
                assert np.array_equal(opened[name], array)


def test_an_unknown_name_is_a_key_error(tmp_path: Path) -> None:
    with (
        open_container(encode_small(tmp_path, "npz", two_layers())) as opened,
        pytest.raises(KeyError, match="c/kernel"),
    ):
        opened["c/kernel"]


def test_values_have_the_shape_and_type_of_the_source_and_outlive_the_container(tmp_path: Path) -> None:
    arrays = {"a": weights(1, 3, 4, 5), "b": np.array(3.5, np.float16), "c": np.zeros((0, 4), np.int8)}
    with open_container(encode_small(tmp_path, "npz", arrays)) as opened:
        kept = {name: opened[name] for name in opened.names()}
    for name, array in arrays.items():
        assert (kept[name].shape, kept[name].dtype) == (array.shape, array.dtype)
        assert kept[name].flags.c_contiguous


def test_a_wrong_digest_is_found_if_all_checksums_match(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "npz", {"w": weights(1, 20, 10)}, lossless=True)
    fields = dissect(packed.read_bytes())
    section = bytearray(fields.entries[0].sections[0])
    section[-1] ^= 1
    packed.write_bytes(fields.with_section(0, 0, bytes(section)).to_bytes())
    with pytest.raises(CorruptError, match="digest"):
        verify(packed)


def test_verify_and_decode_report_progress_for_each_tensor(tmp_path: Path) -> None:
    packed = encode_small(tmp_path, "hdf5", two_layers())
    for run in (verify, lambda source, **how: decode(source, tmp_path / "out.h5", **how)):
        reported: list[TensorSpec] = []
        container = run(packed, threads=2, progress=reported.append)
        assert reported == list(container.tensors)


@pytest.mark.parametrize("name", ["missing.wcz", "."])
def test_a_file_that_cannot_be_read_is_a_container_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match=r"No such file|Is a directory"):
        verify(tmp_path / name)


def test_an_existing_file_survives_a_failed_decode(tmp_path: Path) -> None:
    packed, target = encode_small(tmp_path, "hdf5", two_layers()), tmp_path / "out.h5"
    target.write_bytes(b"precious")
    file = bytearray(packed.read_bytes())
    file[30] ^= 4
    packed.write_bytes(file)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorruptError):
        decode(packed, target)
    assert target.read_bytes() == b"precious"
    assert sorted(tmp_path.iterdir()) == before


def test_an_open_container_can_be_used_by_many_threads(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    arrays = {f"w{i}": weights(i, 50, 40) for i in range(12)}
    with open_container(encode_small(tmp_path, "npz", arrays, lossless=True)) as opened, ThreadPoolExecutor(4) as pool:
        assert isinstance(opened, OpenContainer)
        for (name, array), values in zip(arrays.items(), pool.map(opened.__getitem__, arrays), strict=True):
            assert np.array_equal(values, array), name
