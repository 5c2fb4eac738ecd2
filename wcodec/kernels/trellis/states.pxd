"""The state transitions of the trellises. Specification: `formats/wcz.md`, section trellis states."""

cdef extern from *:
    """
    #define AFTER(s, times) {((s) >> 1 ^ 78 * ((s) & 1)) * (times), ((s) >> 1 ^ 78 * ((s) & 1) ^ 43) * (times)}
    #define AFTER_4(s, times) AFTER(s, times), AFTER((s) + 1, times), AFTER((s) + 2, times), AFTER((s) + 3, times)
    #define AFTER_16(s, times) AFTER_4(s, times), AFTER_4((s) + 4, times), AFTER_4((s) + 8, times), AFTER_4((s) + 12, times)
    #define AFTER_64(s, times) AFTER_16(s, times), AFTER_16((s) + 16, times), AFTER_16((s) + 32, times), AFTER_16((s) + 48, times)
    /* [table][state][parity of the level] next state; the tables have 4, 8 and 128 states */
    static const int TRELLIS_NEXT[3][128][2] = {
        {{0, 2}, {2, 0}, {1, 3}, {3, 1}},
        {{0, 2}, {5, 7}, {1, 3}, {6, 4}, {2, 0}, {4, 6}, {3, 1}, {7, 5}},
        {AFTER_64(0, 1), AFTER_64(64, 1)},
    };
    /* the same with twice the numbers of the states, and without a trellis */
    static const int TRELLIS_TWICE[3][128][2] = {
        {{0, 4}, {4, 0}, {2, 6}, {6, 2}},
        {{0, 4}, {10, 14}, {2, 6}, {12, 8}, {4, 0}, {8, 12}, {6, 2}, {14, 10}},
        {AFTER_64(0, 2), AFTER_64(64, 2)},
    };
    static const int TRELLIS_NONE[128][2] = {{0, 0}};
    """
    const int[3][128][2] TRELLIS_NEXT
    const int[3][128][2] TRELLIS_TWICE
    const int[128][2] TRELLIS_NONE


cdef inline int table_of(int states) noexcept nogil:
    """The table of a trellis with 4, 8 or 128 states; -1 without a trellis."""
    return -1 if states == 0 else 0 if states == 4 else 1 if states == 8 else 2
