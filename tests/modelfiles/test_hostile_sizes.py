"""Small files that would take much memory or time are refused, or read within bounds."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from attack.small_models import weights, write_hdf5, write_keras, write_safetensors

import wcodec
from wcodec.modelfiles.extent_finder import find_extents

MEGABYTES = 300
CHILD = """
import sys, time
from attack.storm import peak_megabytes
import wcodec
try:
    if sys.argv[1] == "inspect":
        wcodec.inspect(sys.argv[2])
    else:
        wcodec.encode(sys.argv[2], sys.argv[2] + ".wcz", lossless=sys.argv[1] == "lossless", threads=1)
    print("done")
except wcodec.ModelFileError as error:
    print("refused:", error)
print(peak_megabytes(), time.process_time())
"""


def run_in_a_process(verb: str, path: Path) -> tuple[str, float, float]:
    """Run a verb in another process; return its message, peak megabytes and CPU seconds."""
    words = [sys.executable, "-P", "-c", CHILD, verb, str(path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=env, timeout=100, check=True)
    message, numbers = done.stdout.strip().split("\n")
    megabytes, seconds = map(float, numbers.split())
    return message, megabytes, seconds


def write_wrong_string(path: Path, dataset: bool, userblock: int) -> Path:
    """An HDF5 file with a string of 60 bytes whose stated length is 4 GB."""
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset("w", data=weights(1, 30, 30))
        if dataset:
            file.create_dataset("s", data=["abc" * 20], dtype=h5py.string_dtype())
        else:
            file.attrs["model_config"] = "abc" * 20
    raw = bytearray(path.read_bytes())
    heap = raw.find(b"GCOL")
    places = [i for i in range(len(raw) - 16) if struct.unpack_from("<IQ", raw, i) == (60, heap - userblock)]
    assert len(places) == 1
    struct.pack_into("<I", raw, places[0], 0xFFFFFFF0)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("dataset", [True, False])
@pytest.mark.parametrize("archived", [True, False])
def test_a_string_with_a_wrong_length_is_refused(dataset: bool, archived: bool, tmp_path: Path) -> None:
    path = write_wrong_string(tmp_path / "m.h5", dataset, 512 if archived else 0)
    if archived:
        whole = tmp_path / "m.keras"
        with zipfile.ZipFile(whole, "w") as archive:
            archive.writestr("config.json", "{}")
            archive.write(path, "model.weights.h5")
        path = whole
    message, megabytes, _ = run_in_a_process("inspect", path)
    assert "refused:" in message
    assert "a string declares more bytes" in message
    assert megabytes < MEGABYTES
    wcodec.encode(path, tmp_path / "m.wcz", lossless=True)
    wcodec.decode(tmp_path / "m.wcz", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


def test_compressed_strings_are_refused_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("s", data=["abc"] * 30, dtype=h5py.string_dtype(), compression="gzip")
    with pytest.raises(wcodec.ModelFileError, match="/s: compressed strings of variable length"):
        wcodec.inspect(tmp_path / "m.h5")


def test_a_highly_compressed_asset_is_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "m.keras", {"layers/dense/vars/0": weights(1, 30, 30)})
    archive = zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=9)
    with archive, archive.open("assets/words.txt", "w", force_zip64=True) as file:
        for _ in range(256):
            file.write(b" " * (1 << 20))
    assert path.stat().st_size < 400_000
    for verb in ("inspect", "lossy"):
        message, megabytes, _ = run_in_a_process(verb, path)
        assert "m.keras: expected at most 16777216 bytes outside of its tensors" in message
        assert megabytes < MEGABYTES


@pytest.mark.parametrize("values", ["[" + "[]," * 2_000_000 + "[]]", '{"a":' + "[" * 1_300_000])
def test_json_with_too_many_values_is_refused_before_parsing(values: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(values).to_bytes(8, "little") + values.encode())
    if values[0] == "{":
        message, megabytes, _ = run_in_a_process("inspect", path)
        assert "values, got about" in message
        assert megabytes < MEGABYTES
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = values
        file.create_dataset("w", data=weights(1, 30, 30))
    message, megabytes, _ = run_in_a_process("inspect", tmp_path / "m.h5")
    assert "configuration: expected JSON of at most" in message
    assert megabytes < MEGABYTES


def test_highly_compressed_text_of_fixed_length_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("s", (90_000,), "S1000", compression="gzip", chunks=(9_000,), fillvalue=b"")[:] = b"a"
        file.create_dataset("w", data=weights(1, 30, 30))
    message, megabytes, _ = run_in_a_process("inspect", tmp_path / "m.h5")
    assert "/s: may hold over 67108864 bytes outside of tensors" in message
    assert megabytes < MEGABYTES


def test_two_thousand_nested_groups_take_at_most_five_seconds(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("w", data=weights(1, 30, 30))
        group = file
        for _ in range(2000):
            group = group.create_group("g")
        group.create_dataset("deep", data=weights(1, 30, 30))
    message, _, seconds = run_in_a_process("lossless", tmp_path / "m.h5")
    assert message == "done"
    assert seconds < 5
    assert [extent.facts.name for extent in find_extents(tmp_path / "m.h5").extents] == ["w"]
    assert "nested more than 64 deep" in run_in_a_process("lossy", tmp_path / "m.h5")[0]


def test_the_time_is_linear_in_the_number_of_datasets(tmp_path: Path) -> None:
    seconds = []
    for count in (400, 2400):
        arrays = {f"d{i}": np.zeros(2, np.float32) for i in range(count)}
        seconds.append(run_in_a_process("inspect", write_hdf5(tmp_path / f"{count}.h5", arrays))[2])
    assert seconds[1] < 6 * seconds[0] + 1


def test_datasets_beside_a_damaged_one_are_encoded_as_numbers(tmp_path: Path) -> None:
    path = write_hdf5(tmp_path / "m.h5", {"a": weights(1, 90, 40), "b": weights(2, 90, 40)})
    raw = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        address = h5py.h5o.get_info(file["a"].id).addr
    raw[address : address + 8] = b"\xff" * 8
    path.write_bytes(raw)
    assert [extent.facts.name for extent in find_extents(path).extents] == ["b"]


def test_a_zip_with_a_huge_directory_is_refused_before_reading(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = entry * 400_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entries), 4, 0)
    (tmp_path / "m.npz").write_bytes(b"PK\3\4" + entries + end)
    message, megabytes, _ = run_in_a_process("inspect", tmp_path / "m.npz")
    assert "expected a directory of at most 8388608 bytes" in message
    assert megabytes < MEGABYTES


def test_shapes_of_many_dimensions_are_replaced_by_bytes(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F9", "shape": [2**62] * 300_000, "data_offsets": [0, 8]}})
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    assert [extent.facts.shape for extent in find_extents(path).extents] == [(1, 8)]
    assert write_safetensors(tmp_path / "n.safetensors", {"w": weights(1, 3)}).exists()
