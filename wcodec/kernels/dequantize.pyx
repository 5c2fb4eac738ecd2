"""From levels to weights, and from rows of weights to the tensor: the last steps of decoding. Each product is rounded once."""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport free, malloc

from wcodec.kernels.trellis.states cimport TRELLIS_NEXT, table_of

cdef enum:
    MOST_TAPS = 64
    BLOCK = 16          # rows that are written together, because their elements often share a cache line
    HELD = 288          # elements of a row that wait for the others of their block

ctypedef fused weight_t:
    float
    double


cdef inline int32_t replayed(int32_t level, int table, int* state) noexcept nogil:
    """The integer, in steps, that a level represents, see `trellis.replay`. Without a trellis (table < 0) it is the level."""
    cdef int odd
    if table < 0:
        return level
    odd = state[0] & 1 if table else state[0] >> 1
    state[0] = TRELLIS_NEXT[table][state[0]][level & 1]
    return 2 * level - (odd & (level != 0)) * ((level >> 31) | 1)


cdef inline void scaled(const int32_t* levels, Py_ssize_t n, int table, double step, weight_t* out) noexcept nogil:
    cdef Py_ssize_t i
    cdef int state = 0
    for i in range(n):
        out[i] = <weight_t>(<double>replayed(levels[i], table, &state) * step)


def scale(const int32_t[::1] levels, int states, double step, weight_t[::1] out):
    """out = the integers of the levels with 0, 4, 8 or 128 trellis states, times the step."""
    cdef Py_ssize_t n = len(levels)
    if len(out) != n or states not in (0, 4, 8, 128):
        raise ValueError("levels and weights of different sizes, or unknown states")
    with nogil:
        if n and states == 0:
            scaled(&levels[0], n, -1, step, &out[0])
        elif n and states == 4:
            scaled(&levels[0], n, 0, step, &out[0])
        elif n and states == 8:
            scaled(&levels[0], n, 1, step, &out[0])
        elif n:
            scaled(&levels[0], n, 2, step, &out[0])


cdef inline void turned(const int32_t* levels, Py_ssize_t n, Py_ssize_t taps, int table, const double* matrix, double step,
                        weight_t* out) noexcept nogil:
    """The sums are of integers below 2^53, so their order does not matter."""
    cdef Py_ssize_t at, i, t
    cdef int state = 0
    cdef double q
    cdef double[MOST_TAPS] total
    at = 0
    while at < n:
        for t in range(taps):
            total[t] = 0
        for i in range(taps):
            q = replayed(levels[at + i], table, &state)
            for t in range(taps):
                total[t] += q * matrix[i * taps + t]
        for t in range(taps):
            out[at + t] = <weight_t>(total[t] * step)
        at += taps


def turn(const int32_t[::1] levels, int states, const double[:, ::1] matrix, double step, weight_t[::1] out):
    """`scale` for kernels of up to 64 taps: their integers times the integer matrix, times the step."""
    cdef Py_ssize_t n = len(levels), taps = matrix.shape[0]
    cdef int table = table_of(states)
    if len(out) != n or states not in (0, 4, 8, 128):
        raise ValueError("levels and weights of different sizes, or unknown states")
    if matrix.shape[1] != taps or not 0 < taps <= MOST_TAPS or n % taps:
        raise ValueError("a basis and kernels of different sizes")
    if n == 0:
        return
    with nogil:
        if taps == 9:
            turned(&levels[0], n, 9, table, &matrix[0, 0], step, &out[0])
        elif taps == 25:
            turned(&levels[0], n, 25, table, &matrix[0, 0], step, &out[0])
        else:
            turned(&levels[0], n, taps, table, &matrix[0, 0], step, &out[0])


cdef inline void weigh(const int32_t* levels, Py_ssize_t n, Py_ssize_t taps, const double* matrix, double step, float* out) noexcept nogil:
    """`scale`, or with a matrix `turn`, of integers that are not levels of a trellis."""
    if matrix == NULL:
        scaled(levels, n, -1, step, out)
    elif taps == 9:
        turned(levels, n, 9, -1, matrix, step, out)
    else:
        turned(levels, n, taps, -1, matrix, step, out)


def put(const int32_t[:, :, ::1] levels, const double[:, ::1] matrix, double step, float[::1] out, Py_ssize_t first, Py_ssize_t row,
        Py_ssize_t vector, Py_ssize_t tap):
    """`scale`, or with a matrix of taps x taps `turn`, of integers[rows, vectors, taps], and `place`, in one pass.

    Without a matrix (0 x 0) the taps are not turned. The last three are distances in elements, none negative.
    """
    cdef Py_ssize_t n = levels.shape[0], vectors = levels.shape[1], taps = levels.shape[2]
    cdef Py_ssize_t begin, end, r, v, w, t, some, stride = vectors * taps
    cdef const double* basis = NULL
    cdef float* held
    cdef float* sink
    if matrix.shape[0]:
        if matrix.shape[0] != taps or matrix.shape[1] != taps or taps > MOST_TAPS:
            raise ValueError("a basis and kernels of different sizes")
        basis = &matrix[0, 0]
    if n * stride == 0:
        return
    if first < 0 or row < 0 or vector < 0 or tap < 0:
        raise IndexError("a negative distance")
    if (first + n - 1) * row + (vectors - 1) * vector + (taps - 1) * tap >= len(out):
        raise IndexError("rows that do not fit")
    if row == stride and vector == taps and (taps == 1 or tap == 1):
        with nogil:
            weigh(&levels[0, 0, 0], n * stride, taps, basis, step, &out[first * row])
        return
    some = min(vectors, max(1, HELD // taps))
    held = <float*>malloc(BLOCK * some * taps * sizeof(float))
    if held == NULL:
        raise MemoryError
    with nogil:
        begin = 0
        while begin < n:
            end = min(n, begin + BLOCK)
            v = 0
            while v < vectors:
                w = min(some, vectors - v)
                for r in range(begin, end):
                    weigh(&levels[r, v, 0], w * taps, taps, basis, step, held + (r - begin) * some * taps)
                for t in range(w * taps):
                    sink = &out[(first + begin) * row + (v + t // taps) * vector + t % taps * tap]
                    for r in range(end - begin):
                        sink[r * row] = held[r * some * taps + t]
                v += w
            begin += BLOCK
    free(held)


def place(const uint32_t[:, :, ::1] rows, uint32_t[::1] out, Py_ssize_t first, Py_ssize_t row, Py_ssize_t channel, Py_ssize_t tap):
    """out[(first + r) row + c channel + t tap] = rows[r, c, t]; the last three are distances in elements, none negative."""
    cdef Py_ssize_t r, c, t, begin, end, n = rows.shape[0], channels = rows.shape[1], taps = rows.shape[2]
    cdef Py_ssize_t stride = channels * taps
    cdef const uint32_t* source
    cdef uint32_t* sink
    if n * channels * taps == 0:
        return
    if first < 0 or row < 0 or channel < 0 or tap < 0:
        raise IndexError("a negative distance")
    if (first + n - 1) * row + (channels - 1) * channel + (taps - 1) * tap >= len(out):
        raise IndexError("rows that do not fit")
    with nogil:
        begin = 0
        while begin < n:
            end = min(n, begin + BLOCK)
            for c in range(channels):
                for t in range(taps):
                    source = &rows[begin, c, t]
                    sink = &out[(first + begin) * row + c * channel + t * tap]
                    for r in range(end - begin):
                        sink[r * row] = source[r * stride]
            begin += BLOCK
