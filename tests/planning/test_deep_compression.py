"""The preset deep-compression: a threshold in deviations, 8 and 5 bits, Huffman codes, exact biases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz, write_safetensors

import wcodec
from wcodec.api.weights import Weights
from wcodec.codec.entropy.symbols import ZSTD
from wcodec.container.wire import FIXED, SPARSE
from wcodec.errors import RecipeError
from wcodec.pipeline.folder_decoder import places_of
from wcodec.planning.classic import THRESHOLD
from wcodec.reporting.coded_levels import read_chunks

ARRAYS = {"conv": weights(1, 3, 3, 8, 40), "dense": weights(2, 120, 70), "bias": weights(3, 70)}


def encode_small(tmp_path: Path, **words: object) -> Weights:
    source = write_npz(tmp_path / "m.npz", ARRAYS)
    wcodec.encode(source, tmp_path / "m.wcz", **({"preset": "deep-compression"} | words))
    return wcodec.open(tmp_path / "m.wcz")


def count_shared(values: np.ndarray) -> int:
    return len(np.unique(values[values != 0]))


def test_convolutions_have_255_shared_values_dense_kernels_31_and_biases_are_exact(tmp_path: Path) -> None:
    found = encode_small(tmp_path)
    assert 200 < count_shared(found["conv"]) <= 255
    assert 25 < count_shared(found["dense"]) <= 31
    assert np.array_equal(found["bias"], ARRAYS["bias"])


def test_exactly_the_weights_within_the_threshold_are_pruned(tmp_path: Path) -> None:
    found = encode_small(tmp_path)
    for name in ("conv", "dense"):
        assert np.array_equal(found[name] == 0, np.abs(ARRAYS[name]) <= THRESHOLD * ARRAYS[name].std(dtype=np.float64))


@pytest.mark.parametrize("words", [{}, {"effort": "fast"}, {"effort": "best"}, {"bits": 3}])
def test_every_kernel_has_gaps_and_codes_in_huffman_codes(words: dict[str, object], tmp_path: Path) -> None:
    encode_small(tmp_path, **words)
    for name in ("conv", "dense"):
        place = places_of(tmp_path / "m.wcz")[name]
        with place.path.open("rb") as file:
            chunks = list(
                read_chunks(file, place.container.tensors[place.number], place.container.records[place.number])
            )
        assert [chunk.coder for chunk in chunks] == [SPARSE]
        assert ZSTD not in {chunks[0].gaps[0], chunks[0].codes[0]}


def test_options_override_those_of_the_preset(tmp_path: Path) -> None:
    assert np.mean(encode_small(tmp_path, sparsity=0.9)["dense"] == 0) == pytest.approx(0.9, abs=1e-3)
    assert np.mean(encode_small(tmp_path, threshold="2std")["dense"] == 0) > 0.9
    assert count_shared(encode_small(tmp_path, bits=2)["conv"]) == 3
    found = encode_small(tmp_path, set="conv:bits=3")
    assert (count_shared(found["conv"]), count_shared(found["dense"]) > 25) == (7, True)
    assert np.array_equal(encode_small(tmp_path, exclude="dense")["dense"], ARRAYS["dense"])


@pytest.mark.parametrize(
    "words", [{"step": 0.1}, {"max_error": 0.01}, {"target_size": 9000}, {"set": "conv:step=1"}, {"bits": "auto:3"}]
)
def test_the_preset_refuses_a_size_and_a_step(words: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="preset deep-compression: expected sparsity, bits or clusters"):
        encode_small(tmp_path, **words)


@pytest.mark.parametrize("preset", ["balanced", "deep-compression"])
def test_the_fixed_coder_stores_gaps_and_codes_and_without_pruning_only_codes(preset: str, tmp_path: Path) -> None:
    for words, gaps in (({"sparsity": 0.8}, True), ({"sparsity": 0.0}, False)):
        encode_small(tmp_path, preset=preset, coder="fixed", bits=4, **words)
        place = places_of(tmp_path / "m.wcz")["dense"]
        with place.path.open("rb") as file:
            record = place.container.records[place.number]
            (chunk,) = read_chunks(file, place.container.tensors[place.number], record)
        assert (chunk.coder, bool(chunk.gap_bits)) == (FIXED, gaps)
        assert chunk.fields
        assert chunk.fields.code_bits == 4
    assert (
        encode_small(tmp_path, preset=preset, coder="fixed", bits=4)["dense"]
        == encode_small(tmp_path, bits=4, preset=preset)["dense"]
    ).all()


@pytest.mark.parametrize("coder", ["auto", "huffman", "context", "fixed"])
@pytest.mark.parametrize("dtype", ["<f4", "<f2", "<f8"])
def test_quantizer_none_keeps_every_bit_of_the_surviving_weights(dtype: str, coder: str, tmp_path: Path) -> None:
    values = weights(4, 90, 80).astype(dtype) * np.pi
    values[0, :4] = [np.nan, np.inf, 3e4, -1e-7]
    source = write_npz(tmp_path / "m.npz", {"w": values, "bias": weights(5, 90)})
    numbers = wcodec.encode(source, tmp_path / "m.wcz", quantizer="none", sparsity=0.75, coder=coder)
    found = wcodec.open(tmp_path / "m.wcz")["w"]
    assert np.array_equal(wcodec.open(tmp_path / "m.wcz")["bias"], weights(5, 90))
    kept = found != 0
    assert np.count_nonzero(kept) == pytest.approx(0.25 * values.size, abs=4)
    assert found[kept].tobytes() == values[kept].tobytes()
    assert numbers.file_bytes < 0.45 * values.nbytes
    assert numbers.tensors[0].kept == np.count_nonzero(kept)
    assert wcodec.verify(tmp_path / "m.wcz") is None


def test_quantizer_none_keeps_bfloat16_and_is_lossless_without_pruning(tmp_path: Path) -> None:
    bits = (weights(6, 50, 60).view(np.uint32) >> 16).astype(np.uint16)
    source = write_safetensors(tmp_path / "m.safetensors", {"w": bits}, frozenset({"w"}))
    wcodec.encode(source, tmp_path / "m.wcz", quantizer="none", threshold="1std")
    found = wcodec.open(tmp_path / "m.wcz").stored("w")
    assert np.array_equal(found[found != 0], bits[found != 0])
    wcodec.encode(source, tmp_path / "m.wcz", quantizer="none")
    assert np.array_equal(wcodec.open(tmp_path / "m.wcz").stored("w"), bits)


def test_subnormal_and_large_survivors_are_decoded_exactly(tmp_path: Path) -> None:
    values = (
        np.concatenate([np.full(3000, 1e-41), np.full(3000, 3e9), np.zeros(3000)]).astype(np.float32).reshape(90, 100)
    )
    source = write_npz(tmp_path / "m.npz", {"w": values})
    for coder in ("auto", "huffman"):
        wcodec.encode(source, tmp_path / "m.wcz", quantizer="none", sparsity=0.1, coder=coder)
        assert np.array_equal(wcodec.open(tmp_path / "m.wcz")["w"], values)
