"""Division of weights by a step, and rounding to levels, the first operations of every quantiser, in one pass each."""

from libc.math cimport fabsf
from libc.stdint cimport int32_t


def divide(const float[::1] values, float step, float most, float[::1] out):
    """out = values / step, limited to -most .. most, with 0 for NaN. Returns the largest magnitude."""
    cdef Py_ssize_t i, n = len(values)
    cdef const float* source
    cdef float* sink
    cdef float v, largest = 0
    if len(out) != n:
        raise ValueError("values of different sizes")
    if n == 0:
        return 0.0
    source, sink = &values[0], &out[0]
    with nogil:
        for i in range(n):
            v = source[i] / step
            v = v if v == v else 0
            v = v if v < most else most
            v = v if v > -most else -most
            sink[i] = v
            largest = fabsf(v) if fabsf(v) > largest else largest
    return largest


def to_levels(const float[::1] values, float scale, float offset, int32_t[::1] levels):
    """levels = sign(value) * floor(|value| * scale + offset), which is below 2^31; 0 <= offset < 1."""
    cdef Py_ssize_t i, n = len(values)
    cdef const float* source
    cdef int32_t* sink
    cdef int32_t level
    cdef float v
    if len(levels) != n:
        raise ValueError("values and levels of different sizes")
    if n == 0:
        return
    source, sink = &values[0], &levels[0]
    with nogil:
        for i in range(n):
            v = source[i]
            level = <int32_t>(fabsf(v) * scale + offset)
            sink[i] = -level if v < 0 else level
