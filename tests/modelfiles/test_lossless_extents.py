"""Tensors that `--lossless` encodes as numbers in unusual files, and missing external data."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_hdf5, write_npz, write_safetensors

import wcodec
from wcodec.modelfiles.extent_finder import find_extents


def round_trip(source: Path, **words: object) -> int:
    """Encode a file losslessly and decode it; return the bytes of the .wcz."""
    packed, back = source.with_name("x.wcz"), source.with_name("back")
    wcodec.encode(source, packed, lossless=True, **words)
    wcodec.decode(packed, back)
    assert back.read_bytes() == source.read_bytes()
    return packed.stat().st_size


def safetensors(path: Path, entries: dict[str, object], body: bytes) -> Path:
    """A file with any header."""
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    return path


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize("dtype", ["F8_E8M0", "F8_E4M3FNUZ", "F4", "F6_E2M3", "NEW"])
def test_tensors_beside_one_of_an_unknown_type_are_encoded_as_numbers(dtype: str, tmp_path: Path) -> None:
    plain = weights(1, 400, 300)
    brain_floats = (plain.view(np.uint32) >> 16).astype(np.uint16)
    scales = np.random.default_rng(1).integers(118, 126, 4000).astype(np.uint8)
    alone = round_trip(write_safetensors(tmp_path / "a.safetensors", {"w": brain_floats}, frozenset({"w"})))
    entries = {"w": entry("BF16", [400, 300], 0, brain_floats.nbytes)}
    entries["s"] = entry(dtype, [400, 10 * 2], brain_floats.nbytes, brain_floats.nbytes + 4000)
    both = safetensors(tmp_path / "b.safetensors", entries, brain_floats.tobytes() + scales.tobytes())
    layout = find_extents(both)
    assert [(extent.facts.name, extent.facts.dtype, extent.facts.nbytes) for extent in layout.extents] == [
        ("w", "bfloat16", 240000), ("s", "bytes1", 4000),
    ]  # fmt: skip
    assert round_trip(both) < alone + 4000
    with pytest.raises(wcodec.ModelFileError, match=dtype):
        wcodec.encode(both, tmp_path / "lossy.wcz")


def test_gaps_trailing_bytes_and_shared_ranges_are_restored(tmp_path: Path) -> None:
    array = weights(1, 200, 100)
    n = array.nbytes
    entries = {
        "gap": entry("F32", [200, 100], 16, 16 + n), "twice": entry("F32", [200, 100], 16, 16 + n),
        "part": entry("F32", [100, 100], 16, 16 + n // 2), "wrong": entry("F32", [7], 16 + n, 16 + n + 40),
        "outside": entry("F32", [9], n, 9 * n), "odd": {"dtype": 3}, "negative": entry("F32", [2], -8, 0),
    }  # fmt: skip
    path = safetensors(tmp_path / "x.safetensors", entries, bytes(16) + array.tobytes() + b"0123456789" * 9)
    names = {extent.facts.name: extent.facts.dtype for extent in find_extents(path).extents}
    assert names == {"gap": "float32", "wrong": "bytes1"}
    assert round_trip(path) < 0.95 * n


def test_a_base_can_have_the_same_unknown_type(tmp_path: Path) -> None:
    codes = np.random.default_rng(1).integers(0, 255, 3000).astype(np.uint8)
    old = safetensors(tmp_path / "old.safetensors", {"w": entry("F8_E4M3FNUZ", [50, 60], 0, 3000)}, codes.tobytes())
    codes[::7] += 1
    new = safetensors(tmp_path / "new.safetensors", {"w": entry("F8_E4M3FNUZ", [50, 60], 0, 3000)}, codes.tobytes())
    wcodec.encode(new, tmp_path / "x.wcz", lossless=True, base=old)
    wcodec.decode(tmp_path / "x.wcz", tmp_path / "back", base=old)
    assert (tmp_path / "back").read_bytes() == new.read_bytes()


def test_missing_external_data_is_an_error_and_the_model_is_encoded_if_lossless(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def model(location: str) -> Path:
        tensor = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], bytes(64), raw=True)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "64")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        inside = helper.make_tensor("v", TensorProto.FLOAT, [40, 40], weights(1, 40, 40).tobytes(), raw=True)
        graph = helper.make_graph([], "g", [], [], [tensor, inside])
        folder = tmp_path / location.replace("/", "_").replace(".", "_")
        folder.mkdir()
        path = folder / "m.onnx"
        path.write_bytes(helper.make_model(graph).SerializeToString())
        return path

    for location in ("gone.bin", "../elsewhere.bin", "/etc/passwd"):
        path = model(location)
        before = path.read_bytes()
        with pytest.raises(wcodec.ModelFileError, match="external data"):
            wcodec.encode(path, path.with_name("lossy.wcz"))
        round_trip(path)
        assert [extent.facts.name for extent in find_extents(path).extents] == ["v"]
        path.with_name("back").unlink()
        path.with_name("x.wcz").unlink()
        wcodec.encode(path.parent, tmp_path / f"{path.parent.name}.wcz", lossless=True)
        wcodec.decode(tmp_path / f"{path.parent.name}.wcz", tmp_path / "folder")
        assert (tmp_path / "folder" / "m.onnx").read_bytes() == before
        (tmp_path / "folder" / "m.onnx").unlink()
        (tmp_path / "folder").rmdir()


def test_best_is_not_larger_than_xz(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "formats" / "wcz.md").read_bytes()[:20_000]
    rng = np.random.default_rng(1)
    words = [bytes(rng.integers(97, 123, rng.integers(3, 9)).astype(np.uint8)) for _ in range(900)]
    prose = b" ".join(words[i] for i in rng.zipf(1.3, 30_000) % 900)
    (tmp_path / "text.md").write_bytes(text)
    (tmp_path / "prose.txt").write_bytes(prose * 8)
    (tmp_path / "vocabulary.json").write_text(json.dumps({w.decode(): i for i, w in enumerate(words * 3)}))
    order = np.sort(rng.integers(0, 1 << 40, 9000))
    write_npz(tmp_path / "order.npz", {"order": order, "again": order[::2].copy()})
    write_hdf5(tmp_path / "small.h5", {f"a/{i}": np.arange(i, i + 99, dtype=np.float32) for i in range(40)})
    (tmp_path / "noise.bin").write_bytes(rng.bytes(5000))
    for path in sorted(tmp_path.iterdir()):
        xz = len(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
        assert round_trip(path, effort="best") <= 1.01 * xz + 48, path.name
