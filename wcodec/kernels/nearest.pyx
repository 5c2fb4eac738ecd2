"""Loops of vector quantisation (`codec/quantizers/product.py`)."""

from libc.stdint cimport int32_t


def nearest(
    const float[:, ::1] vectors, const float[:, ::1] centroids, const float[::1] offsets, float[::1] scores,
    int32_t[::1] codes,
):
    """codes[i] = the k of least offsets[k] - vectors[i] . centroids[:, k], the lower of equals.

    vectors[n, block], centroids[block, size] with at least one column; scores[size] is scratch memory. Sums are
    added in the order of the entries, one rounding each, so that all machines agree. A NaN score is never the least.
    """
    cdef Py_ssize_t n = vectors.shape[0], block = vectors.shape[1], size = offsets.shape[0], i, j, k, best
    cdef float x, least
    cdef float *score
    cdef const float *row
    if centroids.shape[0] != block or centroids.shape[1] != size or scores.shape[0] < size or codes.shape[0] < n:
        raise IndexError("vectors, centroids and codes do not fit together")
    if not size:
        raise IndexError("expected a centroid, got none")
    if not n or not block:
        codes[:n] = 0
        return
    score = &scores[0]
    with nogil:
        for i in range(n):
            for k in range(size):
                score[k] = offsets[k]
            for j in range(block):
                x = vectors[i, j]
                row = &centroids[j, 0]
                for k in range(size):
                    score[k] -= x * row[k]
            best = 0
            least = score[0]
            for k in range(1, size):
                if score[k] < least:
                    least = score[k]
                    best = k
            codes[i] = <int32_t>best
