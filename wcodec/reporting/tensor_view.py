"""A view of one tensor of a .wcz: dequantizer, layout, values with their codewords, gaps, and a histogram of the
weights.

`bitarray` represents the codewords; it is imported only if some are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from wcodec.codec.dequantization import CodebookDequantizer, Dequantizer
from wcodec.codec.entropy import huffman, sparse, symbols
from wcodec.codec.entropy.fixed_fields import codes_of
from wcodec.codec.layout import view_shape
from wcodec.codec.tensor_header import TensorHeader
from wcodec.container.dtypes import to_float32
from wcodec.container.wire import CONTEXT, DENSE, FIXED, SPARSE, STATIC
from wcodec.kernels.huffman import code as code_kernel
from wcodec.kernels.symbols import zigzag
from wcodec.model import FLOATS, TensorSpec
from wcodec.model.dataclass import dataclass
from wcodec.pipeline.folder_decoder import Place, base_of
from wcodec.pipeline.open_container import OpenContainer
from wcodec.reporting.coded_levels import CodedChunk, read_chunks, read_header

RULES: Final = {
    1: "codebook", 2: "step", 3: "transform and step", 4: "float32 without low bits", 5: "codebook of vectors",
    6: "a step a row",
}  # fmt: skip
LAYOUTS: Final = (
    "all weights in one row", "a row for each entry of the first dimension", "a row for each output",
    "kernels, a row for each output", "kernels, a row for each input", "kernels, a row for each output",
    "kernels, a row for each input", "a row for each head's entry",
)  # fmt: skip
CODERS: Final = {
    DENSE: "Huffman", SPARSE: "gaps and codes", CONTEXT: "contexts", STATIC: "static scales", FIXED: "fixed fields"
}  # fmt: skip
BINS: Final = 24
MOST_VALUES: Final = 1 << 12
"""The largest number of distinct levels that are listed."""


@dataclass(frozen=True)
class CodedValue:
    """A level or a gap that occurs.

    value: the weight of the level; for a gap its length; None if it differs from row to row.
    count: how many times it is used.
    bits:  length of `word`; 0 if the coder has no codewords.
    word:  its codeword, with the raw bits after it as "x".
    """

    level: int
    value: float | None
    count: int
    word: str = ""
    bits: int = 0


@dataclass(frozen=True)
class TensorView:
    """The facts of a tensor.

    name, user_name: in the file, and the user's if it is different.
    rows:            rows, channels and taps of its layout.
    coders:          of its chunks, each once, in order; words are those of the first chunk.
    step:            of the values, 0.0 if there is none.
    low, high, bins: ends and counts of the histogram of the non-zero weights.
    """

    name: str
    user_name: str
    shape: tuple[int, ...]
    dtype: str
    rule: str
    layout: str
    rows: tuple[int, ...]
    chunks: int
    coders: tuple[str, ...]
    states: int
    outliers: int
    step: float
    gap_bits: int
    fillers: int
    values: tuple[CodedValue, ...]
    gaps: tuple[CodedValue, ...]
    zeros: int
    low: float
    high: float
    bins: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        """The keys of `inspect --tensor --json`."""
        return asdict(self)


def view_tensor(place: Place, base: Path | None = None) -> TensorView:
    """The view of a tensor. base: the file against which the container is coded.

    Raises: ContainerError and its kinds; RecipeError without a base that is needed.
    """
    number = place.container.records[place.number].duplicate_of
    number = place.number if number is None else number
    facts, record = place.container.tensors[number], place.container.records[number]
    with place.path.open("rb") as file:
        header, _ = read_header(file, facts, record)
        chunks = list(read_chunks(file, facts, record))
        weights = OpenContainer(file, place.container, base_of(place, base)).values(number)
    shown = place.container.tensors[place.number]
    finite = _take_finite(to_float32(weights, facts.dtype)) if facts.dtype in FLOATS else np.empty(0, np.float32)
    low, high, bins = _make_histogram(finite)
    gaps, fillers = _list_gaps(chunks)
    rule = header.dequantizer
    return TensorView(
        name=shown.name,
        user_name=place.user_name,
        shape=shown.shape,
        dtype=shown.dtype,
        rule=RULES[rule.number] if rule else "exact",
        layout=LAYOUTS[header.layout] if rule else "as it lies",
        rows=view_shape(facts.shape, header.layout) if rule else (),
        chunks=len(record.sections),
        coders=tuple(dict.fromkeys(CODERS[chunk.coder] for chunk in chunks)),
        states=rule.states if rule else 0,
        outliers=int(header.positions.size),
        step=float(getattr(rule, "step", 0.0)),
        gap_bits=max((chunk.gap_bits for chunk in chunks), default=0),
        fillers=fillers,
        values=_list_values(header, chunks, facts),
        gaps=gaps,
        zeros=int(weights.size - np.count_nonzero(weights)),
        low=low,
        high=high,
        bins=bins,
    )


def _take_finite(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    flat = weights.reshape(-1)
    return np.compress(np.isfinite(flat) & (flat != 0), flat)


def _make_histogram(weights: npt.NDArray[np.float32]) -> tuple[float, float, tuple[int, ...]]:
    if not weights.size:
        return 0.0, 0.0, ()
    counts, edges = np.histogram(weights.astype(np.float64), BINS)
    return float(edges[0]), float(edges[-1]), tuple(map(int, counts))


def _list_values(header: TensorHeader, chunks: Sequence[CodedChunk], facts: TensorSpec) -> tuple[CodedValue, ...]:
    """The levels that occur, ascending, and unused codebook entries; none if there are too many."""
    if not chunks or header.dequantizer is None:
        return ()
    levels = np.concatenate([chunk.levels for chunk in chunks])
    used, first, counts = np.unique(levels, return_index=True, return_counts=True)
    if len(used) > MOST_VALUES:
        return ()
    meaning = _find_weights(header.dequantizer, chunks, used, first)
    if isinstance(header.dequantizer, CodebookDequantizer):
        book = header.dequantizer.codebook
        every = np.arange(len(book.values)) - book.negatives
        meaning = dict(zip(every.tolist(), book.values.tolist(), strict=True))
        counts = np.bincount(levels + book.negatives, minlength=len(every))
        used = every
    words = _find_codewords(chunks[0], used)
    return tuple(
        CodedValue(level, meaning.get(level), count, *words.get(level, ("", 0)))
        for level, count in zip(used.tolist(), counts.tolist(), strict=True)
    )


def _find_weights(
    rule: Dequantizer, chunks: Sequence[CodedChunk], used: npt.NDArray[np.int32], first: npt.NDArray[np.intp]
) -> dict[int, float]:
    """The weight of each level, if it is the same in all rows."""
    if rule.states or rule.number not in {1, 2, 4} or any(chunk.values is None for chunk in chunks):
        return {}
    values = np.concatenate([chunk.values for chunk in chunks if chunk.values is not None])
    return dict(zip(used.tolist(), values[first].tolist(), strict=True))


def _list_gaps(chunks: Sequence[CodedChunk]) -> tuple[tuple[CodedValue, ...], int]:
    """The gaps that occur with their codewords, and the number of fillers."""
    found = [_find_gaps(chunk) for chunk in chunks if chunk.gap_bits]
    if not found:
        return (), 0
    gaps, counts = np.unique(np.concatenate([gaps for gaps, _ in found]), return_counts=True)
    first = next(chunk for chunk in chunks if chunk.gap_bits)
    words = _read_codewords(first.gaps, gaps) if first.coder == SPARSE else _write_bits(gaps, first.gap_bits)
    rows = [
        CodedValue(gap, float(gap), count, *words.get(gap, ("", 0)))
        for gap, count in zip(gaps.tolist(), counts.tolist(), strict=True)
    ]
    return tuple(rows), sum(fillers for _, fillers in found)


def _find_gaps(chunk: CodedChunk) -> tuple[npt.NDArray[np.uint32], int]:
    runs = sparse.zero_runs(chunk.levels)
    gaps, _ = sparse.sparsify(chunk.levels, runs, chunk.gap_bits)
    return gaps, len(gaps) - len(runs)


def _find_codewords(chunk: CodedChunk, levels: npt.NDArray[np.integer]) -> dict[int, tuple[str, int]]:
    """By level its codeword in the stream of codes; in sparse rows that of level 0 is for a filler."""
    if chunk.fields and chunk.fields.entries:
        codes = codes_of(levels.astype(np.int32), chunk.fields.negatives)
        words = _write_bits(codes, chunk.fields.code_bits)
        pairs = zip(levels.tolist(), codes.tolist(), strict=True)
        return {level: words[code] for level, code in pairs if code in words}
    if chunk.coder not in {DENSE, SPARSE}:
        return {}
    signs = np.empty(len(levels), np.uint32)
    zigzag(levels.astype(np.int32), signs)
    words = _read_codewords(chunk.codes, signs)
    pairs = zip(levels.tolist(), signs.tolist(), strict=True)
    return {level: words[symbol] for level, symbol in pairs if symbol in words}


def _read_codewords(stream: bytes, wanted: npt.NDArray[np.uint32]) -> dict[int, tuple[str, int]]:
    """By symbol its codeword in a stream; none if its coder has no codewords."""
    if len(stream) > 1 and stream[0] == symbols.FIXED:
        return _write_bits(wanted, stream[1])
    if not stream or stream[0] != symbols.HUFFMAN:
        return {}
    from bitarray.util import int2ba  # noqa: PLC0415 - only what shows code words needs it

    precision, lengths, _ = huffman.take_code(stream[1:], 32)
    codes = np.zeros(len(lengths), np.uint32)
    code_kernel.codewords(lengths, codes)
    tokens = huffman.tokens_of(wanted.astype(np.int64), precision)
    raw = huffman.symbols_of(tokens, precision)[1]
    found = {}
    for symbol, token, more in zip(wanted.tolist(), tokens.tolist(), raw.tolist(), strict=True):
        if token < len(lengths) and lengths[token]:
            length = int(lengths[token])
            word = int2ba(int(codes[token]) >> 4, length, endian="little").to01() + "x" * more
            found[symbol] = word, length + more
    return found


def _write_bits(numbers: npt.NDArray[np.uint32], bits: int) -> dict[int, tuple[str, int]]:
    """The numbers in `bits` bits, highest bit first."""
    from bitarray.util import int2ba  # noqa: PLC0415

    return {number: (int2ba(number, bits).to01(), bits) for number in numbers.tolist() if number < 1 << bits}
