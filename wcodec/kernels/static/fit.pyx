"""Sums that the static coder's encoder needs of levels or weights, to fit scales and tables. All sums are of integers."""

from libc.math cimport fabsf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from wcodec.kernels.static.lanes cimport LANES, LARGEST, fill_next, first_row, value_of


def add_magnitudes(const float[:, ::1] values, int64_t[::1] rows, int64_t[::1] columns):
    """Adds |value|, at most 2^20, in 1/256, to its row's sum and its column's."""
    cdef Py_ssize_t r, j, n = values.shape[1]
    cdef int64_t total
    cdef int32_t a
    if len(rows) != values.shape[0] or len(columns) != n:
        raise ValueError("sums of another shape")
    with nogil:
        for r in range(values.shape[0]):
            total = 0
            for j in range(n):
                a = <int32_t>(min(fabsf(values[r, j]), <float>1048576.0) * 256)
                total += a
                columns[j] += a
            rows[r] += total


def add_code_magnitudes(const uint8_t[:, ::1] codes, bint trellis, int64_t[::1] rows, int64_t[::1] columns):
    """The same of `fill_codes`: magnitudes of the integers that levels stand for, those over 127 counted as that."""
    cdef Py_ssize_t r, j, n = codes.shape[1]
    cdef int64_t total
    cdef int32_t a, level
    if len(rows) != codes.shape[0] or len(columns) != n:
        raise ValueError("sums of another shape")
    with nogil:
        for r in range(codes.shape[0]):
            total = 0
            for j in range(n):
                level = codes[r, j] >> 1
                a = 256 * (2 * level - (codes[r, j] & (level != 0)) if trellis else level)
                total += a
                columns[j] += a
            rows[r] += total


def fill_values(const int32_t[:, ::1] levels, int states, int32_t[:, ::1] values):
    """The integers, in steps, that levels stand for; each lane with a trellis of its own."""
    cdef Py_ssize_t r, j, rows = levels.shape[0], n = levels.shape[1]
    cdef int l, s
    cdef uint8_t[256] after
    if values.shape[0] != rows or values.shape[1] != n or states not in (0, 4, 8, 128):
        raise ValueError("values of another shape, or unknown states")
    with nogil:
        fill_next(states, after)
        for l in range(LANES):
            s = 0
            for r in range(first_row(rows, l), first_row(rows, l + 1)):
                for j in range(n):
                    values[r, j] = value_of(levels[r, j], s & 1, states > 0)
                    s = after[2 * s + (levels[r, j] & 1)]


def fill_codes(const int32_t[:, ::1] levels, int states, uint8_t[:, ::1] codes):
    """codes = 2 * min(|level|, 127) + 1 where the second quantiser of the trellis is in force; each lane by itself."""
    cdef Py_ssize_t r, j, rows = levels.shape[0], n = levels.shape[1]
    cdef int l, s, level
    cdef uint8_t[256] after
    if codes.shape[0] != rows or codes.shape[1] != n or states not in (0, 4, 8, 128):
        raise ValueError("codes of another shape, or unknown states")
    with nogil:
        fill_next(states, after)
        for l in range(LANES):
            s = 0
            for r in range(first_row(rows, l), first_row(rows, l + 1)):
                for j in range(n):
                    level = levels[r, j]
                    codes[r, j] = <uint8_t>(2 * min(-level if level < 0 else level, <int>LARGEST) + (s & 1))
                    s = after[2 * s + (level & 1)]


cdef int check(Py_ssize_t height, Py_ssize_t width, const uint8_t[::1] rows, const uint16_t[::1] columns, const uint8_t[::1] classes,
               Py_ssize_t count) except -1:
    cdef Py_ssize_t i, top = 0, high = 0
    if len(rows) != height or len(columns) != width:
        raise ValueError("codes of another shape than the scales")
    for i in range(height):
        top = max(top, rows[i])
    for i in range(width):
        high = max(high, columns[i])
    if len(classes) <= top + high + 2:
        raise ValueError("a scale outside the classes")
    for i in range(len(classes)):
        if classes[i] >= count:
            raise ValueError("a class that is none")
    return 0


def count(const uint8_t[:, ::1] codes, const uint8_t[::1] rows, const uint16_t[::1] columns, const uint8_t[::1] classes,
          int64_t[:, ::1] counts):
    """Adds to counts[class of row + column + 1, code]."""
    cdef Py_ssize_t r, j
    cdef const uint8_t* own
    check(codes.shape[0], codes.shape[1], rows, columns, classes, counts.shape[0])
    if counts.shape[1] != 256:
        raise ValueError("counts of the wrong shape")
    with nogil:
        for r in range(codes.shape[0]):
            own = &classes[rows[r] + 1]
            for j in range(codes.shape[1]):
                counts[own[columns[j]], codes[r, j]] += 1


def add_prices(const uint8_t[:, ::1] codes, const uint8_t[::1] rows, const uint16_t[::1] columns, const uint8_t[::1] classes,
               const int32_t[:, ::1] prices, int64_t[:, ::1] of_rows, int64_t[:, ::1] of_columns):
    """Adds what codes cost, prices[class, code], at scales one smaller, as they are, and one larger, by row and by column."""
    cdef Py_ssize_t r, j, n = codes.shape[1]
    cdef const uint8_t* own
    cdef int64_t below, same, above
    cdef int32_t a, b, c
    cdef int code
    check(codes.shape[0], n, rows, columns, classes, prices.shape[0])
    if prices.shape[1] != 256 or of_rows.shape[0] != codes.shape[0] or of_columns.shape[0] != n or of_rows.shape[1] != 3 or of_columns.shape[1] != 3:
        raise ValueError("prices of the wrong shape")
    with nogil:
        for r in range(codes.shape[0]):
            own = &classes[rows[r]]
            below = same = above = 0
            for j in range(n):
                code = codes[r, j]
                a = prices[own[columns[j]], code]
                b = prices[own[columns[j] + 1], code]
                c = prices[own[columns[j] + 2], code]
                below += a
                same += b
                above += c
                of_columns[j, 0] += a
                of_columns[j, 1] += b
                of_columns[j, 2] += c
            of_rows[r, 0] += below
            of_rows[r, 1] += same
            of_rows[r, 2] += above
