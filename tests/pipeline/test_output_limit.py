"""The limit on the bytes that a file decodes to, and duplicates, which are stored and decoded once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from attack.file_fields import Entry, dissect, one_tensor
from attack.hostile_tensors import EXACT, VALUES, VECTOR
from attack.small_models import encode_small, two_layers, weights, write_safetensors

import wcodec
from wcodec.cli.main import main
from wcodec.codec import tensor_decoder
from wcodec.container.records import Section
from wcodec.container.wire import REST
from wcodec.model import TensorSpec
from wcodec.pipeline import decoder, duplicates
from wcodec.pipeline.decoder import open_container
from wcodec.pipeline.output_limit import count_decoded_bytes

BYTES = 1 << 25


@pytest.fixture(name="bomb", scope="module")
def write_bomb(tmp_path_factory: pytest.TempPathFactory, copies: int = 100) -> Path:
    """A valid container of some kilobytes whose tensors are duplicates of 32 MiB of zeros; tests only read it."""
    array, path = np.zeros((BYTES // 4,), np.float32), tmp_path_factory.mktemp("bomb")
    source = write_safetensors(path / "bomb.safetensors", {f"w{i:03}": array for i in range(2)})
    packed = path / "bomb.wcz"
    wcodec.encode(source, packed)
    fields = dissect(packed.read_bytes())
    facts = [TensorSpec(f"w{i:03}", "float32", array.shape) for i in range(copies)]
    entries = (fields.entries[0], *(Entry(duplicate_of=0) for _ in facts[1:]))
    packed.write_bytes(replace(fields, kind=2, entries=entries, features=0).with_tensors(facts).to_bytes())
    return packed


@pytest.mark.parametrize(
    "call",
    [
        lambda path: wcodec.decode(path, path.with_name("out.npz"), max_output="2MB"),
        lambda path: wcodec.verify(path, max_output=2_000_000),
        lambda path: wcodec.open(path, max_output="2MB"),
        lambda path: wcodec.inspect(path, max_output="2MB"),
    ],
)
def test_an_output_above_the_limit_is_refused_before_allocation(
    call: Callable[[Path], None], bomb: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "bomb.wcz"
    packed.write_bytes(bomb.read_bytes())
    assert packed.stat().st_size < 10_000
    before = sorted(tmp_path.iterdir())
    tracemalloc.start()
    try:
        with pytest.raises(wcodec.UnsupportedError, match=r"bomb.wcz: expected .* at most 2000000 bytes.* got 3355"):
            call(packed)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert sorted(tmp_path.iterdir()) == before


def test_load_model_and_evaluate_refuse_an_output_above_the_limit(bomb: Path) -> None:
    with pytest.raises(wcodec.UnsupportedError, match="at most 2000000 bytes"):
        wcodec.load_model(bomb, max_output="2MB")
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(wcodec.UnsupportedError, match="at most 2000000 bytes"):
        wcodec.evaluate(bomb, (x, x), max_output=2_000_000)


def test_the_command_refuses_an_output_above_the_limit_with_exit_code_5(
    bomb: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["decode"],
        ["verify"],
        ["inspect"],
        ["inspect", "--tensor", "w001"],
        ["decode", "--tensor", "w001"],
        ["evaluate", "--score", "math:fsum"],
    ):
        assert main([*words, str(bomb), "--max-output", "2MB"]) == 5
        assert "expected to decode to at most 2000000 bytes" in capfd.readouterr().err
    assert main(["decode", str(bomb), "--max-output", "lots"]) == 2
    assert "--max-output: expected a number with B, kB" in capfd.readouterr().err


@pytest.mark.parametrize("kind", ["hdf5", "npz", "safetensors", "keras"])
@pytest.mark.parametrize("lossless", [True, False])
def test_the_limit_includes_the_bytes_of_the_written_file(kind: str, lossless: bool, tmp_path: Path) -> None:
    packed = encode_small(tmp_path, kind, two_layers(), lossless=lossless)
    out = tmp_path / "out"
    wcodec.decode(packed, out)
    with open_container(packed) as opened:
        needed = max(out.stat().st_size, count_decoded_bytes(opened.container))
        assert needed < 1.5 * out.stat().st_size
    wcodec.decode(packed, out, max_output=needed)
    wcodec.verify(packed, max_output=needed)
    out.unlink()
    with pytest.raises(wcodec.UnsupportedError, match=f"at most {needed - 1} bytes"):
        wcodec.decode(packed, out, max_output=needed - 1)
    assert not out.exists()


def test_the_limit_includes_all_files_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for i in range(3):
        write_safetensors(folder / f"m{i}.safetensors", {"w": weights(i, 50, 40)})
    wcodec.encode(folder, tmp_path / "m.wcz", lossless=True)
    total = sum(path.stat().st_size for path in folder.iterdir())
    wcodec.decode(tmp_path / "m.wcz", tmp_path / "out", max_output=total)
    for call in (
        lambda: wcodec.decode(tmp_path / "m.wcz", tmp_path / "out2", max_output=total - 1),
        lambda: wcodec.verify(tmp_path / "m.wcz", max_output=total - 1),
        lambda: wcodec.open(tmp_path / "m.wcz", max_output=total - 1),
        lambda: wcodec.inspect(tmp_path / "m.wcz", max_output=total - 1),
    ):
        with pytest.raises(wcodec.UnsupportedError, match=f"at most {total - 1} bytes"):
            call()
    assert not (tmp_path / "out2").exists()


def test_a_skeleton_above_the_limit_is_not_decompressed(tmp_path: Path) -> None:
    packed = tmp_path / "m.wcz"
    plain = one_tensor(VECTOR, EXACT)
    packed.write_bytes(replace(plain, decoded_length=50 << 20).to_bytes())
    with pytest.raises(wcodec.UnsupportedError, match="model section: expected to decode to at most 1000 bytes"):
        wcodec.verify(packed, max_output=1000)
    assert len(VALUES) < 1000


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_duplicates_are_decoded_once(
    lossless: bool, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = weights(1, 60, 40), weights(2, 60, 40)
    arrays = {f"{i}/w": (one, two)[i % 2] for i in range(9)}
    packed = encode_small(tmp_path, "safetensors", arrays, lossless=lossless)
    read: list[str] = []
    original = tensor_decoder.read_section

    def count_calls(file: BinaryIO, section: Section, where: str) -> bytes:
        read.append(where)
        return original(file, section, where)

    monkeypatch.setattr(tensor_decoder, "read_section", count_calls)
    out = tmp_path / "out.safetensors"
    wcodec.decode(packed, out, threads=threads)
    assert sorted(read) == ["0/w, section 0", "1/w, section 0"]
    if lossless:
        assert out.read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    # Duplicates above the limit of memory are decoded again, to the same file.
    monkeypatch.setattr(duplicates, "KEPT", one.nbytes)
    again, names = tmp_path / "again.safetensors", []
    decoder.decode(packed, again, threads=threads, progress=lambda facts: names.append(facts.name))
    assert again.read_bytes() == out.read_bytes()
    assert len(read) == 2 + 5
    assert [name for name in names if name != REST] == list(arrays)
