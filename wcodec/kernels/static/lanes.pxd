"""The eight lanes of the static coder: which rows each has, and how the trellis of each goes on."""

from libc.stdint cimport int32_t, uint8_t

from wcodec.kernels.trellis.states cimport TRELLIS_NEXT, table_of

cdef enum:
    LANES = 8
    PRECISION = 12              # frequencies of a table add up to 1 << PRECISION
    SLOTS = 1 << PRECISION
    SYMBOLS = 256               # symbol 0 is the escape, symbol s the level s - ZERO
    ZERO = 128
    LARGEST = 127               # magnitude that a symbol can have


cdef inline Py_ssize_t first_row(Py_ssize_t rows, int lane) noexcept nogil:
    return rows * lane // LANES


cdef inline void fill_next(int states, uint8_t* after) noexcept nogil:
    """after[2 * state + parity of the level], states numbered so that the lowest bit says which quantiser is in force."""
    cdef int s, b, table = table_of(states), state
    if table < 0:
        after[0] = after[1] = 0
        return
    for s in range(states):
        for b in range(2):
            state = TRELLIS_NEXT[table][s][b]
            if states == 4:
                after[2 * (s >> 1 | (s & 1) << 1) + b] = <uint8_t>(state >> 1 | (state & 1) << 1)
            else:
                after[2 * s + b] = <uint8_t>state


cdef inline int32_t value_of(int32_t level, int odd, bint trellis) noexcept nogil:
    """The integer, in steps, that a level stands for."""
    if not trellis:
        return level
    return 2 * level - (odd & (level != 0)) * ((level >> 31) | 1)
