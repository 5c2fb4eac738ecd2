"""Sums over levels or weights, by which the encoder of the static coder fits scales and tables. All sums are of integers."""

from libc.math cimport fabsf
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from wcodec.kernels.static.lanes cimport LANES, LARGEST, Walk, begin, follow, step_on, value_of

cdef enum:
    SAFE = 1 << 18              # so many prices below 2^13 have a sum within 32 bits


def add_magnitudes(const float[:, ::1] values, int64_t[::1] rows, int64_t[::1] columns):
    """Add min(|value|, 2^20), in units of 1/256, to the sum of its row and to the sum of its column."""
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
    """The same sums as `add_magnitudes`, for the integers, in steps, of the codes of `fill_codes`."""
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


cdef void values_of_row(const int32_t* levels, const uint8_t* odd, Py_ssize_t n, bint trellis, int32_t* values) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(n):
        values[j] = value_of(levels[j], odd[j], trellis)


cdef void codes_of_row(const int32_t* levels, const uint8_t* odd, Py_ssize_t n, uint8_t* codes) noexcept nogil:
    cdef Py_ssize_t j
    cdef int32_t a
    for j in range(n):
        a = -levels[j] if levels[j] < 0 else levels[j]
        codes[j] = <uint8_t>(2 * min(a, <int32_t>LARGEST) + odd[j])


def fill_values(const int32_t[:, ::1] levels, int states, int32_t[:, ::1] values):
    """Set `values` to the integers, in steps, that the levels represent. Each lane has its own trellis path, which starts at state 0."""
    cdef Py_ssize_t n = levels.shape[1]
    cdef int i
    cdef Walk walk
    cdef uint8_t* odd
    if values.shape[0] != levels.shape[0] or values.shape[1] != n or states not in (0, 4, 8, 128):
        raise ValueError("values of another shape, or unknown states")
    odd = <uint8_t*>malloc(LANES * n + 1)
    if odd == NULL:
        raise MemoryError
    with nogil:
        begin(&walk, levels.shape[0] if n else 0, states)
        while step_on(&walk):
            follow(&walk, &levels[0, 0], n, odd)
            for i in range(walk.lanes):
                values_of_row(&levels[walk.row[i], 0], odd + i * n, n, states > 0, &values[walk.row[i], 0])
    free(odd)


def fill_codes(const int32_t[:, ::1] levels, int states, uint8_t[:, ::1] codes):
    """Set codes = 2 * min(|level|, 127) + q; q is 1 if the second quantiser of the trellis is active at the level, else 0. Each lane has
    its own trellis path."""
    cdef Py_ssize_t n = levels.shape[1]
    cdef int i
    cdef Walk walk
    cdef uint8_t* odd
    if codes.shape[0] != levels.shape[0] or codes.shape[1] != n or states not in (0, 4, 8, 128):
        raise ValueError("codes of another shape, or unknown states")
    odd = <uint8_t*>malloc(LANES * n + 1)
    if odd == NULL:
        raise MemoryError
    with nogil:
        begin(&walk, levels.shape[0] if n else 0, states)
        while step_on(&walk):
            follow(&walk, &levels[0, 0], n, odd)
            for i in range(walk.lanes):
                codes_of_row(&levels[walk.row[i], 0], odd + i * n, n, &codes[walk.row[i], 0])
    free(odd)


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
    """Add 1 to counts[classes[row's scale + column's scale + 1], code] for every code."""
    cdef Py_ssize_t r, j, n = codes.shape[1]
    cdef const uint8_t* own
    cdef const uint8_t* code
    cdef const uint16_t* column
    cdef int64_t* found
    check(codes.shape[0], n, rows, columns, classes, counts.shape[0])
    if counts.shape[1] != 256:
        raise ValueError("counts of the wrong shape")
    if n == 0 or codes.shape[0] == 0:
        return
    column, found = &columns[0], &counts[0, 0]
    with nogil:
        for r in range(codes.shape[0]):
            own, code = &classes[rows[r] + 1], &codes[r, 0]
            for j in range(n):
                found[(<int>own[column[j]] << 8) + code[j]] += 1


cdef int32_t* side_by_side(const uint8_t[::1] classes, const int32_t[:, ::1] prices) except NULL:
    """The prices of each code at a scale one smaller, at the scale itself and at one larger, as [scale][code][4]. One load reads those of
    a level. The caller frees the array."""
    cdef Py_ssize_t scale, count = len(classes) - 2
    cdef int code, k
    cdef int32_t* found
    if prices.shape[1] != 256:
        raise ValueError("prices of the wrong shape")
    found = <int32_t*>malloc(count * 256 * 4 * sizeof(int32_t))
    if found == NULL:
        raise MemoryError
    with nogil:
        for scale in range(count):
            for code in range(256):
                for k in range(3):
                    found[(scale * 256 + code) * 4 + k] = prices[classes[scale + k], code]
                found[(scale * 256 + code) * 4 + 3] = 0
    return found


def add_prices_of_rows(const uint8_t[:, ::1] codes, const uint8_t[::1] rows, const uint16_t[::1] columns, const uint8_t[::1] classes,
                       const int32_t[:, ::1] prices, int64_t[:, ::1] of_rows):
    """Add the total price of the codes of each row to of_rows[row], at a row's scale one smaller, at the scale itself and at one larger.

    prices: [class, code], below 2^13.
    """
    cdef Py_ssize_t r, j, end, n = codes.shape[1]
    cdef int32_t[4] total
    cdef int32_t* every
    cdef const int32_t* price
    cdef const uint8_t* code
    cdef const uint16_t* column
    cdef int k
    check(codes.shape[0], n, rows, columns, classes, prices.shape[0])
    if of_rows.shape[0] != codes.shape[0] or of_rows.shape[1] != 3:
        raise ValueError("sums of the wrong shape")
    if n == 0 or codes.shape[0] == 0:
        return
    every, column = side_by_side(classes, prices), &columns[0]
    with nogil:
        for r in range(codes.shape[0]):
            code, j = &codes[r, 0], 0
            while j < n:
                end = min(n, j + SAFE)
                for k in range(4):
                    total[k] = 0
                while j < end:
                    price = every + ((<Py_ssize_t>rows[r] + column[j] << 8) + code[j]) * 4
                    for k in range(4):
                        total[k] += price[k]
                    j += 1
                for k in range(3):
                    of_rows[r, k] += total[k]
    free(every)


def add_prices_of_columns(const uint8_t[:, ::1] codes, const uint8_t[::1] rows, const uint16_t[::1] columns, const uint8_t[::1] classes,
                          const int32_t[:, ::1] prices, int64_t[:, ::1] of_columns):
    """The same sums as `add_prices_of_rows`, for each column and its scale."""
    cdef Py_ssize_t r, j, end, n = codes.shape[1]
    cdef int32_t* total
    cdef int32_t* every
    cdef const int32_t* price
    cdef const uint8_t* code
    cdef const uint16_t* column
    cdef int k
    check(codes.shape[0], n, rows, columns, classes, prices.shape[0])
    if of_columns.shape[0] != n or of_columns.shape[1] != 3:
        raise ValueError("sums of the wrong shape")
    if n == 0 or codes.shape[0] == 0:
        return
    every, column = side_by_side(classes, prices), &columns[0]
    total = <int32_t*>malloc(n * 4 * sizeof(int32_t))
    if total == NULL:
        free(every)
        raise MemoryError
    with nogil:
        r = 0
        while r < codes.shape[0]:
            end = min(codes.shape[0], r + SAFE)
            memset(total, 0, n * 4 * sizeof(int32_t))
            while r < end:
                code = &codes[r, 0]
                for j in range(n):
                    price = every + ((<Py_ssize_t>rows[r] + column[j] << 8) + code[j]) * 4
                    for k in range(4):
                        total[4 * j + k] += price[k]
                r += 1
            for j in range(n):
                for k in range(3):
                    of_columns[j, k] += total[4 * j + k]
    free(total)
    free(every)
