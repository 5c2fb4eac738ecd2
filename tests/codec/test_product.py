"""Product quantisation: codebooks of vectors, the codes of blocks, and files that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attack.small_models import weights, write_npz
from hypothesis import given
from hypothesis import strategies as st
from twins import product as twin

import wcodec
from wcodec.codec.dequantization import ProductDequantizer
from wcodec.codec.quantizers.product import (
    ProductCodebook,
    assign,
    fit_vectors,
    join_blocks,
    lookup,
    pack_codebook,
    parse_codebook,
    split_blocks,
)
from wcodec.container.reader import open_file, parse
from wcodec.errors import CorruptError, RecipeError
from wcodec.kernels import nearest as kernel
from wcodec.reporting.coded_levels import read_chunks, read_header


def mixture(count: int, block: int, kinds: int) -> np.ndarray:
    """Vectors around a few centres."""
    rng = np.random.default_rng(count)
    centres = rng.normal(size=(kinds, block))
    return (centres[rng.integers(0, kinds, count)] + 0.01 * rng.normal(size=(count, block))).astype(np.float32)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 12), st.integers(0, 1 << 20))
def test_the_codes_of_the_kernel_equal_those_of_its_twin(count: int, block: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = np.round(rng.normal(size=(count, block)), 1).astype(np.float32)
    centroids = np.round(rng.normal(size=(block, size)), 1).astype(np.float32)
    offsets = np.round(rng.random(size), 1).astype(np.float32)
    codes = np.empty(count, np.int32)
    kernel.nearest(vectors, centroids, offsets, np.empty(size, np.float32), codes)
    assert codes.tolist() == twin.nearest(vectors, centroids, offsets.tolist())


def test_the_kernel_refuses_arrays_that_do_not_fit() -> None:
    room, codes = np.empty(3, np.float32), np.empty(2, np.int32)
    odd = (((2, 4), (3, 3), 3), ((2, 4), (4, 2), 3), ((2, 4), (4, 0), 0), ((5, 4), (4, 3), 3))
    for vectors, centroids, offsets in odd:
        arrays = [np.zeros(shape, np.float32) for shape in (vectors, centroids, offsets)]
        with pytest.raises(IndexError):
            kernel.nearest(*arrays, room, codes)


def test_well_separated_vectors_have_one_centroid_each() -> None:
    vectors = mixture(3000, 5, 12)
    book = fit_vectors(vectors, 13, 0.0)
    error = np.square(vectors - lookup(assign(vectors, book), book)).mean()
    assert len(book.entries) == 13
    assert error < 3 * 0.01**2


def test_a_price_of_bits_gives_fewer_vectors_and_shorter_codes() -> None:
    vectors = weights(3, 4000, 4)
    free, priced = (fit_vectors(vectors, 64, rate) for rate in (0.0, 0.02))

    def entropy(book: ProductCodebook) -> float:
        part = np.unique(assign(vectors, book), return_counts=True)[1] / len(vectors)
        return float(-(part * np.log2(part)).sum())

    assert len(priced.entries) < len(free.entries)
    assert entropy(priced) < 0.8 * entropy(free)


@pytest.mark.parametrize("vectors", [
    np.zeros((0, 3), np.float32), np.zeros((5, 3), np.float32), np.full((1, 3), 2.5, np.float32),
    np.full((9, 2), 3e38, np.float32), np.full((9, 2), 1e-42, np.float32), np.eye(4, dtype=np.float32),
], ids=["none", "zeros", "one", "huge", "tiny", "few"])  # fmt: skip
def test_unusual_shapes_of_vectors_have_a_codebook(vectors: np.ndarray) -> None:
    book = fit_vectors(vectors, 16, 0.0)
    values = lookup(assign(vectors, book), book).astype(np.float32)
    assert np.isfinite(values).all()
    assert not values[~vectors.any(axis=1)].any()
    assert np.abs(values - vectors).max(initial=0.0) <= max(0.01 * np.abs(vectors).max(initial=0.0), book.step)


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 1 << 20))
def test_a_codebook_is_read_as_written(size: int, block: int, seed: int) -> None:
    entries = np.random.default_rng(seed).integers(-200, 200, (size, block), np.int32)
    entries[0] = 0
    packed = bytearray(b"in front")
    pack_codebook(packed, ProductCodebook(entries, 0.5))
    back, at = parse_codebook(memoryview(bytes(packed) + b"behind"), 8, 0.5)
    assert at == len(packed)
    assert np.array_equal(back.entries, entries)


def test_rows_that_blocks_do_not_divide_are_padded() -> None:
    book = ProductCodebook(np.arange(12, dtype=np.int32).reshape(3, 4) - np.arange(4, dtype=np.int32), 0.5)
    book.entries[0] = 0
    rule, shape = ProductDequantizer(book), (2, 3, 2)
    assert rule.level_shape(shape) == (2, 2, 1)
    assert split_blocks(np.ones((2, 6), np.float32), 4).tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]] * 2
    levels = np.array([[[-1], [1]], [[1], [0]]], np.int32)
    values = join_blocks(rule.dequantize(levels, True), shape).reshape(2, 6)
    assert values.tolist() == [[2, 2, 2, 2, 4, 4], [4, 4, 4, 4, 0, 0]]
    with pytest.raises(CorruptError, match="codes under 3, got 3"):
        rule.dequantize(np.full((2, 2, 1), -2, np.int32), True)


@pytest.mark.parametrize("words", [
    {}, {"clusters": 32, "block": 7}, {"bits": 5}, {"sparsity": 0.8}, {"coder": "huffman"}, {"coder": "context"},
    {"preset": "small", "effort": "best"}, {"effort": "fast"},
], ids=str)  # fmt: skip
def test_the_tensors_of_a_file_of_codes_are_read_one_by_one(words: dict[str, object], tmp_path: Path) -> None:
    arrays = {
        "conv/kernel": weights(1, 3, 3, 8, 24), "conv/bias": weights(2, 24), "dense/kernel": weights(3, 70, 50),
        "half/kernel": weights(4, 33, 40).astype(np.float16), "narrow/kernel": weights(5, 300, 1),
    }  # fmt: skip
    arrays["dense/kernel"][3, 4] = np.inf
    source = write_npz(tmp_path / "m.npz", arrays)
    numbers = wcodec.encode(source, tmp_path / "m.wcz", quantizer="product", **words)
    opened = wcodec.open(tmp_path / "m.wcz")
    assert numbers.parts.total() == (tmp_path / "m.wcz").stat().st_size
    assert 0.0 < numbers.relative_error < 0.8
    for tensor in numbers.tensors:
        name = tensor.name
        assert opened[name].shape == arrays[name].shape
        assert tensor.kept is None or tensor.kept <= tensor.weights
    assert opened["dense/kernel"][3, 4] == np.inf
    wcodec.verify(tmp_path / "m.wcz")


def test_the_requested_error_is_met(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(3, 100, 80)})
    numbers = wcodec.encode(source, tmp_path / "m.wcz", quantizer="product", block=2, max_error=0.05)
    assert 0.03 < numbers.relative_error <= 0.05


def test_a_block_without_its_quantizer_is_refused(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(3, 100, 80)})
    with pytest.raises(RecipeError, match="block: expected the quantizer product with it"):
        wcodec.encode(source, tmp_path / "m.wcz", block=4, bits=4)
    with pytest.raises(RecipeError, match="block: expected 1 to 256, got 0"):
        wcodec.encode(source, tmp_path / "m.wcz", quantizer="product", block=0)


@pytest.mark.parametrize(("words", "width"), [({}, 1), ({"clusters": 300}, 2), ({"clusters": 20, "block": 8}, 1)])
def test_aligned_codes_can_be_looked_up_in_the_bytes_of_the_file(
    words: dict[str, int], width: int, tmp_path: Path
) -> None:
    array = weights(3, 160, 96)
    source = write_npz(tmp_path / "m.npz", {"w": array})
    numbers = wcodec.encode(source, tmp_path / "m.wcz", quantizer="product", aligned=True, **words)
    with open_file(tmp_path / "m.wcz") as file:
        container = parse(file)
        facts, record = container.tensors[0], container.records[0]
        rule = read_header(file, facts, record)[0].dequantizer
        (chunk,) = read_chunks(file, facts, record)
    assert isinstance(rule, ProductDequantizer)
    entries, half = rule.codebook.entries * np.float32(rule.codebook.step), 1 << (8 * width - 1)
    codes = np.frombuffer(chunk.codes, f"<u{width}").astype(int)
    assert len(codes) * entries.shape[1] == array.size
    vectors = np.where(codes == 0, 0, np.where(codes > half, 2 * (codes - half), 2 * half + 1 - 2 * codes))
    back = wcodec.open(tmp_path / "m.wcz")["w"]
    assert np.array_equal(np.sort(entries[vectors], axis=None), np.sort(back, axis=None))
    plain = wcodec.encode(source, tmp_path / "p.wcz", quantizer="product", **{"clusters": 256} | words)
    assert plain.relative_error == numbers.relative_error
    assert plain.file_bytes < numbers.file_bytes


def test_aligned_codes_require_the_quantizer_of_vectors_and_exclude_coders(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "m.npz", {"w": weights(3, 100, 80)})
    with pytest.raises(RecipeError, match="aligned: expected the quantizer product with it, got none"):
        wcodec.encode(source, tmp_path / "m.wcz", aligned=True)
    with pytest.raises(RecipeError, match="aligned: expected no coder with it, got both"):
        wcodec.encode(source, tmp_path / "m.wcz", quantizer="product", aligned=True, coder="huffman")
