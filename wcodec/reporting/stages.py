"""The stages of Deep Compression (Han, Mao and Dally 2016) of every tensor of a .wcz: pruned, shared, Huffman coded.

The bytes of a stage are those of a file without the later stages: survivors and fillers as float32 with a gap each;
then a code with a gap each, and the codebook; then the real file. Widths are those of `--coder fixed`, the ones with
the fewest bits; Huffman codes can use longer gaps and fewer fillers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from wcodec.codec.dequantization import (
    CodebookDequantizer,
    HashedDequantizer,
    ProductDequantizer,
    TruncatedFloatDequantizer,
)
from wcodec.codec.entropy import fixed_fields, sparse
from wcodec.container.records import Record
from wcodec.container.wire import DENSE, FIXED, SPARSE
from wcodec.model import ITEM_BYTES, TensorSpec
from wcodec.model.dataclass import dataclass, replace
from wcodec.pipeline.folder_decoder import places_of
from wcodec.reporting.coded_levels import CodedChunk, read_chunks, read_header


@dataclass(frozen=True)
class Stages:
    """One tensor, or all of them together.

    name, user_name:           in the file, and the user's if it is different.
    kept:                      the number of non-zero weights.
    gap_bits, code_bits:       of a gap and of a code of fixed width, the widest of the chunks; 0 without gaps or codes.
    fillers:                   entries for runs of zeros that are too long for one gap of this width.
    pruned, shared, coded:     bytes after each stage; without shared values `shared` equals `pruned`.
    gap_entropy, code_entropy: bits a non-zero weight, of single gaps and codes as they are in the file.
    gap_coded, code_coded:     bits a non-zero weight that they take in the file, with Huffman tables; None if the file
                               has no separate streams for them.
    is_huffman:                whether these are Huffman codes, and not fields of fixed width.
    """

    name: str
    weights: int
    raw: int
    kept: int
    gap_bits: int
    code_bits: int
    fillers: int
    pruned: int
    shared: int
    coded: int
    gap_entropy: float = 0.0
    code_entropy: float = 0.0
    gap_coded: float | None = None
    code_coded: float | None = None
    user_name: str = ""
    is_huffman: bool = False

    @property
    def shown(self) -> str:
        """The name in tables."""
        return self.user_name or self.name

    def to_json(self) -> dict[str, object]:
        """Numbers, with the ratio of the uncompressed tensor to each stage."""
        ratios = {stage: self.ratio(stage) for stage in ("pruned", "shared", "coded")}
        from dataclasses import asdict

        return asdict(self) | {"ratios": ratios}

    def ratio(self, stage: str) -> float:
        """Bytes of the tensor divided by those of a stage."""
        after = int(getattr(self, stage))
        return self.raw / after if after else 0.0


def stages_of(source: Path) -> tuple[Stages, ...]:
    """The stages of every tensor of a .wcz that has its own bytes, in the order of the file, and their total last.

    Raises: ContainerError and its kinds.
    """
    found = []
    for place in places_of(source).values():
        facts, record = place.container.tensors[place.number], place.container.records[place.number]
        if record.duplicate_of is None:
            with place.path.open("rb") as file:
                found.append(replace(_measure_stages(file, facts, record), user_name=place.user_name))
    return (*found, _sum_stages(found))


def _measure_stages(file: BinaryIO, facts: TensorSpec, record: Record) -> Stages:
    """The stages of one tensor; exact values, and codes of blocks of weights, do not change."""
    header, _ = read_header(file, facts, record)
    raw = facts.nbytes
    rule = header.dequantizer
    if rule is None or isinstance(rule, ProductDequantizer | HashedDequantizer):
        kept = facts.count if record.kept is None else record.kept
        before = raw if rule is None else record.nbytes
        return Stages(facts.name, facts.count, raw, kept, 0, 0, 0, before, before, record.nbytes)
    chunks = list(read_chunks(file, facts, record))
    side = record.nbytes - sum(chunk.nbytes for chunk in chunks)
    parts = [_count_chunk(chunk) for chunk in chunks]
    kept = sum(part.kept for part in parts)
    entries, item = sum(part.entries for part in parts), ITEM_BYTES[facts.dtype]
    code_bits = max(part.code_bits for part in parts)
    if isinstance(rule, CodebookDequantizer):
        code_bits = max(code_bits, (len(rule.codebook.values) - 1).bit_length())
    gap_bytes = sum(-(-part.entries * part.gap_bits // 8) for part in parts)
    pruned = entries * item + gap_bytes
    is_shared = not isinstance(rule, TruncatedFloatDequantizer)
    per = 8 / kept if kept else 0.0
    has_streams = all(chunk.coder in {DENSE, SPARSE, FIXED} for chunk in chunks)
    return Stages(
        name=facts.name,
        weights=facts.count,
        raw=raw,
        kept=kept,
        gap_bits=max(part.gap_bits for part in parts),
        code_bits=code_bits if is_shared else 8 * item,
        fillers=sum(part.fillers for part in parts),
        pruned=pruned,
        shared=-(-entries * code_bits // 8) + gap_bytes + side if is_shared else pruned,
        coded=record.nbytes,
        gap_entropy=per * sum(part.gap_entropy for part in parts),
        code_entropy=per * sum(part.code_entropy for part in parts),
        gap_coded=per * sum(len(chunk.gaps) for chunk in chunks) if has_streams else None,
        code_coded=per * sum(len(chunk.codes) for chunk in chunks) if has_streams else None,
        is_huffman=all(chunk.coder in {DENSE, SPARSE} for chunk in chunks),
    )


@dataclass(frozen=True)
class _Counts:
    """The counts of one chunk. gap_entropy, code_entropy: bytes."""

    kept: int
    entries: int
    fillers: int
    gap_bits: int
    code_bits: int
    gap_entropy: float
    code_entropy: float


def _count_chunk(chunk: CodedChunk) -> _Counts:
    flat = chunk.levels
    runs = sparse.zero_runs(flat)
    if not len(runs):
        return _Counts(0, 0, 0, 0, 1, 0.0, 0.0)
    fields = chunk.fields or fixed_fields.choose_fields(flat, runs)
    fillers = fields.entries - len(runs) if fields.gap_bits else 0
    gap_bits = chunk.gap_bits or (0 if chunk.coder in {DENSE, FIXED} else fields.gap_bits)
    spread = 0.0, entropy_bytes(flat)
    if gap_bits:
        gaps, codes = sparse.sparsify(flat, runs, gap_bits)
        spread = entropy_bytes(gaps), entropy_bytes(codes)
    return _Counts(len(runs), fields.entries, fillers, fields.gap_bits, fields.code_bits, *spread)


def entropy_bytes(symbols: npt.NDArray[np.integer]) -> float:
    """The order-0 entropy of the symbols times their number, in bytes."""
    counts = np.unique(symbols, return_counts=True)[1].astype(np.float64)
    return float(counts @ np.log2(symbols.size / counts)) / 8


def _sum_stages(tensors: Sequence[Stages]) -> Stages:
    """All tensors as one; bits a weight are those of the tensors that are pruned or shared."""
    coded = [one for one in tensors if one.code_bits]
    kept = sum(one.kept for one in coded)

    def mean(values: Iterable[float | None]) -> float | None:
        known = list(values)
        if not kept or any(value is None for value in known):
            return None
        return sum((value or 0.0) * one.kept for value, one in zip(known, coded, strict=True)) / kept

    return Stages(
        name="total",
        weights=sum(one.weights for one in tensors),
        raw=sum(one.raw for one in tensors),
        kept=sum(one.kept for one in tensors),
        gap_bits=max((one.gap_bits for one in coded), default=0),
        code_bits=max((one.code_bits for one in coded), default=0),
        fillers=sum(one.fillers for one in tensors),
        pruned=sum(one.pruned for one in tensors),
        shared=sum(one.shared for one in tensors),
        coded=sum(one.coded for one in tensors),
        gap_entropy=mean(one.gap_entropy for one in coded) or 0.0,
        code_entropy=mean(one.code_entropy for one in coded) or 0.0,
        gap_coded=mean(one.gap_coded for one in coded),
        code_coded=mean(one.code_coded for one in coded),
        is_huffman=all(one.is_huffman for one in coded),
    )
