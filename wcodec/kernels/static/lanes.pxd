"""The eight lanes of the static coder: the rows of each lane, and the states of its trellis."""

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

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


cdef struct Walk:
    # a row of each lane that has one left, step by step: which rows they are and where their trellises are
    Py_ssize_t rows
    Py_ssize_t step             # rows that every lane has behind it
    int states
    uint8_t[256] after          # of `fill_next`
    int lanes                   # of this step, in order
    Py_ssize_t[8] row
    int[8] which
    uint8_t[8] state


cdef inline void begin(Walk* walk, Py_ssize_t rows, int states) noexcept nogil:
    walk.rows, walk.step, walk.states = rows, -1, states
    memset(walk.state, 0, sizeof(walk.state))
    fill_next(states, walk.after)


cdef inline bint step_on(Walk* walk) noexcept nogil:
    """Whether there is a further step; then its rows."""
    cdef int l
    cdef Py_ssize_t row
    walk.step += 1
    walk.lanes = 0
    for l in range(LANES):
        row = first_row(walk.rows, l) + walk.step
        if row < first_row(walk.rows, l + 1):
            walk.row[walk.lanes], walk.which[walk.lanes] = row, l
            walk.lanes += 1
    return walk.lanes > 0


cdef inline void follow_eight(Walk* walk, const int32_t* levels, Py_ssize_t n, bint linear, uint8_t* odd) noexcept nogil:
    """The eight trellises side by side: none has to wait for its own. linear: of 128 states, which sums give."""
    cdef Py_ssize_t j
    cdef int l, s
    cdef int[8] state
    cdef const int32_t* level[8]
    for l in range(8):
        level[l], state[l] = levels + walk.row[l] * n, walk.state[l]
    for j in range(n):
        for l in range(8):
            s = state[l]
            odd[l * n + j] = <uint8_t>(s & 1)
            if linear:
                state[l] = s >> 1 ^ (-(s & 1) & 78) ^ (-(level[l][j] & 1) & 43)
            else:
                state[l] = walk.after[2 * s + (level[l][j] & 1)]
    for l in range(8):
        walk.state[l] = <uint8_t>state[l]


cdef inline void follow(Walk* walk, const int32_t* levels, Py_ssize_t n, uint8_t* odd) noexcept nogil:
    """odd[lane * n + column]: 1 where the second quantiser is in force at a level of the step's rows; levels of all rows."""
    cdef Py_ssize_t j
    cdef int i, s
    cdef const int32_t* level
    if walk.states == 0:
        memset(odd, 0, walk.lanes * n)
    elif walk.lanes == LANES and walk.states == 128:
        follow_eight(walk, levels, n, True, odd)
    elif walk.lanes == LANES:
        follow_eight(walk, levels, n, False, odd)
    else:
        for i in range(walk.lanes):
            level = levels + walk.row[i] * n
            s = walk.state[walk.which[i]]
            for j in range(n):
                odd[i * n + j] = <uint8_t>(s & 1)
                s = walk.after[2 * s + (level[j] & 1)]
            walk.state[walk.which[i]] = <uint8_t>s
