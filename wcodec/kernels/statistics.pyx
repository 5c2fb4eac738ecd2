"""Statistics of all weights of a tensor, each in one pass. Sums have eight lanes and are equal on every machine."""

from libc.math cimport fabsf
from libc.stdint cimport uint32_t

cdef enum:
    LANES = 8           # a literal where it is the step of a range: an enum would be a Python object there
    BLOCK = 16          # rows that are read together, because their elements often share a cache line


cdef inline Py_ssize_t within(const float* values, Py_ssize_t n, float bound) noexcept nogil:
    cdef Py_ssize_t i, count = 0
    for i in range(n):
        count += fabsf(values[i]) <= bound
    return count


def describe(const float[::1] values, float limit, double[::1] out):
    """out = the number of |values| <= limit, the lowest and the highest of them (0 if there are none), their energy."""
    cdef Py_ssize_t i, k, n = len(values), even = n & ~<Py_ssize_t>(LANES - 1)
    cdef double[LANES] energy
    cdef float[LANES] low
    cdef float[LANES] high
    cdef Py_ssize_t[LANES] count
    cdef float v
    cdef bint regular
    cdef const float* value
    if len(out) != 4:
        raise ValueError("four results are needed")
    if n == 0:
        out[:] = 0
        return
    value = &values[0]
    with nogil:
        i = 0
        while i < n and not fabsf(value[i]) <= limit:
            i += 1
        v = value[i] if i < n else 0
        for k in range(LANES):
            energy[k], low[k], high[k], count[k] = 0, v, v, 0
        if within(value, n, limit) == n:     # nearly always; this loop is vectorised
            for i in range(0, even, 8):
                for k in range(LANES):
                    v = value[i + k]
                    low[k] = v if v < low[k] else low[k]
                    high[k] = v if v > high[k] else high[k]
                    energy[k] += <double>v * v
            count[0] = even
        else:
            for i in range(0, even, 8):
                for k in range(LANES):
                    v = value[i + k]
                    regular = fabsf(v) <= limit
                    count[k] += regular
                    low[k] = v if regular and v < low[k] else low[k]
                    high[k] = v if regular and v > high[k] else high[k]
                    v = v if regular else 0
                    energy[k] += <double>v * v
        for i in range(even, n):
            v = value[i]
            if fabsf(v) <= limit:
                count[0] += 1
                low[0] = min(low[0], v)
                high[0] = max(high[0], v)
                energy[0] += <double>v * v
        for k in range(1, LANES):
            count[0] += count[k]
            low[0] = min(low[0], low[k])
            high[0] = max(high[0], high[k])
            energy[0] += energy[k]
    out[0], out[1], out[2], out[3] = <double>count[0], low[0], high[0], energy[0]


def count_within(const float[::1] values, float bound):
    """The number of |values| <= bound, without NaN."""
    return within(&values[0], len(values), bound) if len(values) else 0


def distance(const float[::1] first, const float[::1] second):
    """The sum of the squared differences, each rounded to float32 before it is squared."""
    cdef Py_ssize_t i, k, n = len(first), even = n & ~<Py_ssize_t>(LANES - 1)
    cdef double[LANES] total
    cdef float d
    cdef const float* one
    cdef const float* other
    if len(second) != n:
        raise ValueError("values of different sizes")
    if n == 0:
        return 0.0
    one, other = &first[0], &second[0]
    with nogil:
        for k in range(LANES):
            total[k] = 0
        for i in range(0, even, 8):
            for k in range(LANES):
                d = one[i + k] - other[i + k]
                total[k] += <double>d * d
        for i in range(even, n):
            d = one[i] - other[i]
            total[0] += <double>d * d
        for k in range(1, LANES):
            total[0] += total[k]
    return total[0]


def take(const uint32_t[::1] values, uint32_t[:, :, ::1] rows, Py_ssize_t row, Py_ssize_t channel, Py_ssize_t tap):
    """rows[r, c, t] = values[r row + c channel + t tap], distances in elements. Inverse: `dequantize.place`."""
    cdef Py_ssize_t r, c, t, begin, end, n = rows.shape[0], channels = rows.shape[1], taps = rows.shape[2]
    cdef Py_ssize_t stride = channels * taps
    cdef const uint32_t* source
    cdef uint32_t* sink
    if n * channels * taps == 0:
        return
    if row < 0 or channel < 0 or tap < 0:
        raise IndexError("a negative distance")
    if (n - 1) * row + (channels - 1) * channel + (taps - 1) * tap >= len(values):
        raise IndexError("rows outside the values")
    with nogil:
        begin = 0
        while begin < n:
            end = min(n, begin + BLOCK)
            for c in range(channels):
                for t in range(taps):
                    source = &values[begin * row + c * channel + t * tap]
                    sink = &rows[begin, c, t]
                    for r in range(end - begin):
                        sink[r * stride] = source[r * row]
            begin += BLOCK
