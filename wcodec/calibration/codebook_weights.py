"""Quantisation of one kernel by a codebook of values or of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from wcodec.calibration.codebook_fitting import fit_codebook
from wcodec.calibration.gptq import Float32, correct_for_drift
from wcodec.calibration.hessian import Hessian, damp
from wcodec.calibration.linear_ops import LinearOp
from wcodec.calibration.quantizable_weights import Weight
from wcodec.codec.entropy import context, dense
from wcodec.codec.layout import (
    DENSE,
    KERNEL,
    MATRIX,
    PROJECTION,
    VECTOR,
    WITH_TAPS,
    from_rows,
    layout_families,
    to_rows,
    view_shape,
)
from wcodec.codec.quantizers.product import assign, fit_vectors, lookup, round_centroids, split_blocks
from wcodec.container.wire import CHUNK_WEIGHTS
from wcodec.model import TableWeights, TunedTensor, VectorCodebook, VectorWeights

Codes = npt.NDArray[np.int32]
Indices = npt.NDArray[np.intp]

VALUES: Final = 33
VECTORS: Final = 256
"""Default sizes of codebooks."""
BLOCK: Final = 4
MOST_TAPS: Final = 64
MEMBERS: Final = 4
"""The smallest number of blocks for each vector of a codebook (Stock et al. 2020)."""
LAYOUTS: Final = (DENSE, KERNEL, PROJECTION, MATRIX)


@dataclass(frozen=True)
class CodebookRequest:
    """Options for codebooks; None for options that are not set. `clusters` include 0.0."""

    quantizer: Literal["kmeans", "product"]
    clusters: int | None = None
    block: int | None = None

    @property
    def size(self) -> int:
        """The largest number of entries of a codebook."""
        return self.clusters or (VECTORS if self.quantizer == "product" else VALUES)

    def size_for(self, blocks: int) -> int:
        """The size of the codebook for a kernel with this number of blocks.

        A requested number of vectors is reduced so that each vector has at least MEMBERS blocks. If none is requested,
        the price of bits decides.
        """
        lowered = self.quantizer == "product" and self.clusters
        return min(self.size, max(2, blocks // MEMBERS)) if lowered else self.size


def quantize_kernel(
    kernel: Weight, hessians: tuple[Hessian, ...], sharing: CodebookRequest, rate: float, damping: float
) -> tuple[TunedTensor, int]:
    """The kernel's new weights, and their estimated bytes.

    hessians: of the rows that it multiplies, in one part; without them the codebook is fitted to the weights alone.
    rate:     the squared weight that a bit is worth.
    """
    op = kernel.op
    order = _find_order(kernel.original.shape, op) if op and len(hessians) == 1 else None
    if order is None or op is None:
        return _quantize_without_inputs(kernel.original, sharing, rate)
    layout, inputs, units = order
    shape, product = kernel.original.shape, sharing.quantizer == "product"
    block = _find_block_size(shape, layout, len(inputs), sharing) if product else 1
    (hessian,) = hessians
    h, target = damp(hessian.h, damping), op.as_matrix(kernel.original)
    if hessian.cross is not None:
        target = correct_for_drift(target, h, hessian.cross)
    target = target[np.ix_(inputs, units)]
    book, codes = fit_codebook(target, h[np.ix_(inputs, inputs)], block, sharing.size_for(target.size // block), rate)
    centroids = book.centroids
    largest = float(np.abs(centroids).max(initial=0.0))
    shared = None
    if product:
        wanted = target.reshape(-1, block, len(units)).transpose(0, 2, 1)
        lost = float(np.square(wanted - centroids[codes]).mean())
        vectors = round_centroids(centroids, np.empty(0), lost, 2 * largest)
        centroids = np.rint(centroids / vectors.step) * vectors.step
        shared = VectorCodebook(layout, vectors.entries, vectors.step)
    elif largest < float(np.finfo(np.float16).max):
        centroids = centroids.astype(np.float16).astype(np.float64)
    rows = centroids[codes].transpose(1, 0, 2).reshape(len(units), -1).astype(np.float32)
    return _as_tuned(_from_rows(rows, shape, layout), shared), _estimate_bytes(codes.T, centroids.size)


def _quantize_without_inputs(weights: Float32, sharing: CodebookRequest, rate: float) -> tuple[TunedTensor, int]:
    """A kernel in a codebook that is chosen by its weights alone, and its estimated bytes."""
    shape = weights.shape
    layout = next((one for family in layout_families(shape) for one in family if _row_fits(shape, one)), VECTOR)
    product = sharing.quantizer == "product" and layout != VECTOR
    rows = to_rows(weights, layout).reshape(view_shape(shape, layout)[0], -1)
    block = _find_block_size(shape, layout, rows.shape[1], sharing) if product else 1
    vectors = split_blocks(rows, block)
    book = fit_vectors(vectors, sharing.size_for(len(vectors)), rate * block)
    levels = assign(vectors, book)
    values = _from_rows(lookup(levels, book).astype(np.float32), shape, layout)
    shared = VectorCodebook(layout, book.entries, book.step) if product else None
    codes = np.where(levels < 0, -2 * levels - 1, 2 * levels).reshape(len(rows), -1)
    return _as_tuned(values, shared), _estimate_bytes(codes, book.entries.size)


def _as_tuned(values: Float32, shared: VectorCodebook | None) -> TunedTensor:
    """The tensor to encode: by vectors if there are any, otherwise by a table of values."""
    return VectorWeights(values, shared) if shared else TableWeights(values)


def _from_rows(rows: Float32, shape: tuple[int, ...], layout: int) -> Float32:
    return from_rows(np.ascontiguousarray(rows).reshape(view_shape(shape, layout)), shape, layout)


def _find_block_size(shape: tuple[int, ...], layout: int, width: int, sharing: CodebookRequest) -> int:
    """The largest block that divides rows of `width`, up to the requested one."""
    taps = view_shape(shape, layout)[2] if layout in WITH_TAPS else 1
    wanted = sharing.block or (taps if BLOCK <= taps <= MOST_TAPS else BLOCK)
    return max(divisor for divisor in range(1, min(wanted, width) + 1) if width % divisor == 0)


def _find_order(shape: tuple[int, ...], op: LinearOp) -> tuple[int, Indices, Indices] | None:
    """A layout whose rows are units; the order of the inputs in a row, and the order of the units."""
    places = np.arange(np.prod(shape, dtype=np.intp)).reshape(shape)
    matrix = op.as_matrix(places)
    input_of, unit_of = np.empty(places.size, np.intp), np.empty(places.size, np.intp)
    input_of[matrix] = np.arange(len(matrix))[:, None]
    unit_of[matrix] = np.arange(matrix.shape[1])
    for layout in LAYOUTS:
        if len(shape) < (3 if layout in WITH_TAPS else 2) or not _row_fits(shape, layout):
            continue
        rows = to_rows(places, layout).reshape(view_shape(shape, layout)[0], -1)
        inputs, units = input_of[rows], unit_of[rows]
        if rows.shape == matrix.shape[::-1] and (inputs == inputs[0]).all() and (units == units[:, :1]).all():
            return layout, inputs[0], units[:, 0]
    return None


def _row_fits(shape: tuple[int, ...], layout: int) -> bool:
    """Whether a row fits into a chunk."""
    _, channels, taps = view_shape(shape, layout)
    return channels * taps <= CHUNK_WEIGHTS


def _estimate_bytes(codes: Codes, entries: int) -> int:
    """The estimated bytes of codes[rows, vectors], by their entropy, and of the codebook, one byte for each entry."""
    _, ranks, members = np.unique(codes, return_inverse=True, return_counts=True)
    places = np.empty(len(members), np.int32)
    places[np.argsort(-members, kind="stable")] = np.arange(len(members))
    ranked = places[ranks.reshape(codes.shape)]
    levels = np.ascontiguousarray(np.where(ranked & 1, -(ranked >> 1) - 1, ranked >> 1), np.int32)[:, :, None]
    return min(len(context.encode(levels, effort="fast")), len(dense.encode(levels))) + entries
