"""Golden containers of rules and states that encoders choose for large tensors only, under each level coder."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from attack.file_fields import Entry, FileFields, skeleton_of, table_of
from attack.small_models import weights

from wcodec.codec import dequantization as dq
from wcodec.codec.entropy.level_coders import as_decoded, encode_chunk
from wcodec.codec.layout import DENSE, KERNEL, KERNEL_BY_INPUT, MATRIX, from_rows, view_shape
from wcodec.codec.quantizers.kmeans import make_codebook
from wcodec.codec.quantizers.product import join_blocks
from wcodec.codec.quantizers.transform import compute_moments, make_dct_basis, make_klt_basis
from wcodec.codec.tensor_header import NO_POSITIONS, TensorHeader, pack_header
from wcodec.container.dtypes import from_float
from wcodec.model import TensorSpec


def by_rule() -> dict[str, bytes]:
    """Rules and states that encoders choose for large tensors only, under each level coder."""
    rng = np.random.default_rng(14)
    kernel, matrix = TensorSpec("k", "float32", (3, 3, 5, 6)), TensorSpec("m", "float16", (9, 30))
    gaps, outliers = TensorSpec("rows of zeros", "float32", (40, 30)), TensorSpec("outliers", "float32", (20, 30))
    klt = make_klt_basis(compute_moments(weights(15, 6, 5, 9)))
    rules: dict[str, tuple[dq.Dequantizer, TensorSpec, int, str]] = {
        "states-4": (dq.UniformDequantizer(0.125, 4), matrix, DENSE, "context"),
        "states-8-dense": (dq.UniformDequantizer(0.125, 8), matrix, DENSE, "dense"),
        "states-4-sparse": (dq.UniformDequantizer(0.125, 4), matrix, MATRIX, "sparse"),
        "transform-dct": (dq.TransformDequantizer(0.0625, make_dct_basis(3, 3), 8), kernel, KERNEL, "context"),
        "transform-klt": (dq.TransformDequantizer(0.0625, klt, 0), kernel, KERNEL_BY_INPUT, "dense"),
        "float-offset": (dq.TruncatedFloatDequantizer(16, 15000), matrix, DENSE, "context"),
        "rows-of-float32": (dq.PerRowDequantizer(np.linspace(0.1, 3, 30, dtype=np.float32)), matrix, DENSE, "sparse"),
        "states-128": (dq.UniformDequantizer(0.125, 128), matrix, DENSE, "context"),
        "states-128-gaps": (dq.UniformDequantizer(0.125, 128), gaps, MATRIX, "context"),
        "states-128-turned": (dq.TransformDequantizer(0.125, make_dct_basis(3, 3), 128), kernel, KERNEL, "context"),
        "static": (dq.UniformDequantizer(0.125), matrix, DENSE, "static"),
        "static-4": (dq.UniformDequantizer(0.125, 4), matrix, MATRIX, "static"),
        "static-8-escapes": (dq.UniformDequantizer(0.125, 8), outliers, MATRIX, "static"),
        "static-128-turned": (dq.TransformDequantizer(0.125, make_dct_basis(3, 3), 128), kernel, KERNEL, "static"),
        "static-rows": (dq.PerRowDequantizer(np.linspace(0.1, 3, 30, dtype=np.float32)), matrix, DENSE, "static"),
        "fixed": (dq.UniformDequantizer(0.125), matrix, DENSE, "fixed"),
        "fixed-gaps": (dq.UniformDequantizer(0.125), gaps, MATRIX, "fixed"),
        "groups": (_groups(30), matrix, DENSE, "context"),
        "groups-of-float32": (_groups(6, short=False), kernel, KERNEL, "dense"),
        "hashed": (dq.HashedDequantizer(0.125, 2463534242, 40, 30, 9), matrix, DENSE, "context"),
        "hashed-kernel": (dq.HashedDequantizer(0.0625, 7, 17, 6, 45), kernel, KERNEL, "dense"),
    }
    return {name: _by_rule(rule, *rest, rng) for name, (rule, *rest) in rules.items()}


def _groups(rows: int, short: bool = True) -> dq.Dequantizer:
    """Groups of 4 of 9 weights, or of 7 of 45, and points for levels up to 40."""
    group, width = (4, 9) if short else (7, 45)
    steps = np.geomspace(0.25, 4, rows * -(-width // group), dtype=np.float32).reshape(rows, -1)
    steps = (steps.view(np.uint32) >> 16 << 16).view(np.float32) if short else steps
    return dq.GroupDequantizer(group, make_codebook(np.arange(-40, 41, dtype=np.float32) / 4), steps)


def _by_rule(rule: dq.Dequantizer, facts: TensorSpec, layout: int, coder: str, rng: np.random.Generator) -> bytes:
    shape = view_shape(facts.shape, layout)
    levels = np.rint(rng.standard_t(3, rule.level_shape(shape))).astype(np.int32)
    levels[np.arange(len(levels)) % 5 > (0 if facts.name == "rows of zeros" else 4)] = 0
    if facts.name == "outliers":
        levels[::7, ::11] *= 1000
    integers, replayed = as_decoded(levels, rule.states, (coder,))
    weights = (replace(rule, states=0) if replayed else rule).dequantize(integers, facts.dtype == "float32")
    values = from_rows(from_float(join_blocks(weights, shape), facts.dtype), facts.shape, layout)
    head = pack_header(facts, TensorHeader(rule, layout, shape[0], NO_POSITIONS, np.empty((0, 0), np.uint8)), 1)
    section = head + encode_chunk(levels, rule.states, (coder,), "normal")
    return alone(facts, Entry((section,), zlib.crc32(values), 0, int(np.count_nonzero(levels))))


def alone(facts: TensorSpec, entry: Entry) -> bytes:
    """A container of one tensor."""
    return FileFields((entry,), table_of([facts]), skeleton_of([facts])).to_bytes()
