"""The eight lanes of the static coder: the rows of each lane, and the state of its trellis."""

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from wcodec.kernels.trellis.states cimport TRELLIS_NEXT, table_of

cdef enum:
    LANES = 8
    PRECISION = 12              # the frequencies of a table have the sum 1 << PRECISION
    SLOTS = 1 << PRECISION
    SYMBOLS = 256               # symbol 0 is the escape; symbol s is the level s - ZERO
    ZERO = 128
    LARGEST = 127               # the largest magnitude that has a symbol


cdef inline Py_ssize_t first_row(Py_ssize_t rows, int lane) noexcept nogil:
    return rows * lane // LANES


cdef inline void fill_next(int states, uint8_t* after) noexcept nogil:
    """Set after[2 * state + parity of the level] to the next state. The lowest bit of a state is the number of its quantiser."""
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
    """The integer, in steps, that a level represents. odd: 1 if the second quantiser is active."""
    if not trellis:
        return level
    return 2 * level - (odd & (level != 0)) * ((level >> 31) | 1)


cdef struct Walk:
    # an iteration over rows: each step has the next row of every lane that still has one
    Py_ssize_t rows
    Py_ssize_t step             # the number of rows of every lane before this step; -1 before the first
    int states
    uint8_t[256] after          # see `fill_next`
    int lanes                   # the number of lanes in this step
    Py_ssize_t[8] row           # [lane of this step]
    int[8] which                # [lane of this step] number of the lane, ascending
    uint8_t[8] state            # [number of the lane] state of the trellis before its row


cdef inline void begin(Walk* walk, Py_ssize_t rows, int states) noexcept nogil:
    walk.rows, walk.step, walk.states = rows, -1, states
    memset(walk.state, 0, sizeof(walk.state))
    fill_next(states, walk.after)


cdef inline bint step_on(Walk* walk) noexcept nogil:
    """Go to the next step. Returns False if no lane has a row left."""
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
    """`follow` for eight lanes. They are interleaved because each state depends on the one before it.

    linear: the trellis has 128 states; its next state is a sum over GF(2), which is computed without the table.
    """
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
    """Set odd[lane of this step * n + column] to 1 if the second quantiser is active at that level, else to 0.

    levels: of all rows.
    """
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
