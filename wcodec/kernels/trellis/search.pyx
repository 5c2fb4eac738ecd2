"""The choice of levels with the least rate-distortion cost, for each weight by itself or along a trellis. The encoder uses floats here."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc

from wcodec.kernels.context.model cimport STATES
from wcodec.kernels.static.lanes cimport LANES, first_row
from wcodec.kernels.trellis.price cimport SIZE_WIDTH, Place, Plain, best, candidate, look
from wcodec.kernels.trellis.states cimport TRELLIS_NEXT, table_of
from wcodec.kernels.trellis.steps cimport trellis_can
from wcodec.kernels.trellis.viterbi cimport Seen, forward_pass, plain_prices, traceback


AVX2 = trellis_can() != 0
"""Whether `choose` with `wide` uses AVX2 for steps of 128 states and for plain prices."""

cdef struct Room:
    # the buffers of a search, in one allocation
    uint32_t* turn              # 128 states: [weight][4], see `back_of_128`; else a byte a weight, see `step_of_eight`
    uint8_t* picks              # with a prediction 2 bits for each quantiser and parity, else 1 bit for each quantiser
    float* tables               # of `plain`


cdef int take_room(Room* room, Py_ssize_t n, int states) except -1:
    cdef Py_ssize_t width = 16 if states == 128 else 1 if states else 0, tables = (4096 + 128 * SIZE_WIDTH) * sizeof(float)
    room.tables = <float*>malloc(tables + (width + 1) * n)
    if room.tables == NULL:
        raise MemoryError
    room.turn = <uint32_t*>(room.tables + 4096 + 128 * SIZE_WIDTH)
    room.picks = <uint8_t*>room.turn + width * n
    return 0


cdef void lay_out(Place* at, Plain* plain, Room* room, const float* slopes, double rate) noexcept nogil:
    """The tables of prices."""
    cdef int i, s
    plain_prices(at.bits, at.sizes, <float>rate, at.sparse, room.tables, room.tables + 4096)
    for i in range(64 if not at.sparse else 0):
        if slopes[i] > 0:
            for s in range(2 * SIZE_WIDTH):
                room.tables[4096 + i * 2 * SIZE_WIDTH + s] = 0
    plain.zero, plain.size, plain.slope = room.tables, room.tables + 4096, slopes


cdef void search(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, int states, Room* room, int32_t* levels) noexcept nogil:
    """The levels of `n` weights."""
    cdef Py_ssize_t i
    cdef uint8_t which
    cdef int s
    if states == 0:
        for i in range(n):
            look(at, seen.values[i], seen.contexts + seen.apart * i, seen.predictions + i if at.predicted else NULL, plain.slope, 0)
            best(at, 0, 0, 0, &which)
            levels[i] = 0 if seen.zeros and seen.values[i] == 0 else candidate(at, 0, 0, which, 0)
        return
    if states == 128:
        s = forward_pass(seen, at, plain, n, 128, room.turn, room.picks)
    elif states == 8:
        s = forward_pass(seen, at, plain, n, 8, room.turn, room.picks)
    else:
        s = forward_pass(seen, at, plain, n, 4, room.turn, room.picks)
    traceback(seen, at, plain, n, states, s, room.turn, room.picks, levels)


cdef int check(int states, const float[:, ::1] bits, const float[:, ::1] sizes, const float[::1] slopes) except -1:
    if states not in (0, 4, 8, 128):
        raise ValueError("unknown states")
    if bits.shape[0] < STATES or bits.shape[1] != 2 or sizes.shape[0] < 1024 or sizes.shape[1] != SIZE_WIDTH or len(slopes) < 64:
        raise ValueError("rate tables of the wrong size")
    return 0


def choose(
    const float[::1] values, int states, double rate, bint sparse, bint predicted, const uint16_t[:, ::1] contexts,
    const int32_t[::1] predictions, const float[:, ::1] bits, const float[:, ::1] sizes, const float[::1] slopes, int32_t[::1] levels,
    bint wide=True, bint zeros=False,
):
    """Levels of least d^2 + rate * bits for `values` in steps; 0, 4, 8 or 128 states, starting in state 0.

    bits, sizes and slopes come multiplied by the rate. wide: by AVX2, where there is that, which chooses the same.
    zeros: a value of 0 becomes the level 0.
    """
    cdef Py_ssize_t n = len(values), i
    cdef Seen seen
    cdef Place at
    cdef Plain plain
    cdef Room room
    if n == 0:
        return
    check(states, bits, sizes, slopes)
    if len(levels) != n or contexts.shape[0] != n or contexts.shape[1] != 2 or (predicted and len(predictions) != n):
        raise ValueError("levels, contexts and values of different sizes")
    seen.wide, seen.flat, seen.zeros, seen.apart = wide and AVX2, True, zeros, 2
    seen.values, seen.contexts, seen.predictions = &values[0], &contexts[0, 0], &predictions[0] if predicted else NULL
    for i in range(n):
        if seen.contexts[2 * i] >= (1024 if sparse else 64) or (sparse and seen.contexts[2 * i + 1] >= 64):
            raise ValueError("a context outside the tables")
        if not sparse and slopes[seen.contexts[2 * i]] > 0:
            seen.flat = False
    at.rated, at.sparse, at.predicted, at.sign = rate > 0, sparse, predicted, rate
    at.bits, at.sizes = &bits[0, 0], &sizes[0, 0]
    at.named[0] = at.named[1] = at.fraction[0] = at.fraction[1] = 0
    take_room(&room, n, states)
    with nogil:
        lay_out(&at, &plain, &room, &slopes[0], rate)
        search(&seen, &at, &plain, n, states, &room, &levels[0])
    free(room.tables)


def choose_in_lanes(
    const float[:, ::1] values, int states, double rate, const uint8_t[::1] rows, const uint16_t[::1] columns, const uint8_t[::1] classes,
    const float[:, ::1] bits, const float[:, ::1] sizes, int32_t[:, ::1] levels, bint wide=True, bint zeros=False,
):
    """`choose` for the static coder: each lane has its own trellis path. The context of a level is classes[row's code + column's code]."""
    cdef Py_ssize_t n = values.shape[1], count = values.shape[0], r, j, first, last
    cdef Seen seen
    cdef Place at
    cdef Plain plain
    cdef Room room
    cdef float[64] slopes
    cdef uint16_t* contexts
    cdef const uint8_t* own
    cdef int l, top = 0
    if n == 0 or count == 0:
        return
    check(states, bits, sizes, slopes)
    if levels.shape[0] != count or levels.shape[1] != n or len(rows) != count or len(columns) != n:
        raise ValueError("levels, scales and values of different sizes")
    for r in range(count):
        top = max(top, rows[r])
    for j in range(n):
        if top + columns[j] >= len(classes):
            raise ValueError("a scale outside the classes")
    for j in range(len(classes)):
        if classes[j] >= 64:
            raise ValueError("a context outside the tables")
    for j in range(64):
        slopes[j] = 0
    seen.wide, seen.flat, seen.zeros, seen.apart, seen.predictions = wide and AVX2, True, zeros, 1, NULL
    at.rated, at.sparse, at.predicted, at.sign = rate > 0, False, False, rate
    at.bits, at.sizes = &bits[0, 0], &sizes[0, 0]
    at.named[0] = at.named[1] = at.fraction[0] = at.fraction[1] = 0
    first = (count + LANES - 1) // LANES * n
    contexts = <uint16_t*>malloc((first + 1) * sizeof(uint16_t))
    if contexts == NULL:
        raise MemoryError
    contexts[first] = 0         # is read, but has no effect
    try:
        take_room(&room, first, states)
    except MemoryError:
        free(contexts)
        raise
    with nogil:
        lay_out(&at, &plain, &room, slopes, rate)
        for l in range(LANES):
            first, last = first_row(count, l), first_row(count, l + 1)
            for r in range(first, last):
                own = &classes[rows[r]]
                for j in range(n):
                    contexts[(r - first) * n + j] = own[columns[j]]
            if last > first:
                seen.values, seen.contexts = &values[first, 0], contexts
                search(&seen, &at, &plain, (last - first) * n, states, &room, &levels[first, 0])
    free(room.tables)
    free(contexts)


def replay(const int32_t[::1] levels, int states, int32_t[::1] values):
    """The values, in steps, of the levels of a trellis, by integer arithmetic. Inverse of `choose`, up to its error."""
    cdef Py_ssize_t i, n = len(levels)
    cdef int state = 0, odd, table = table_of(states), level
    if len(values) != n:
        raise ValueError("levels and values of different sizes")
    with nogil:
        for i in range(n):
            level = levels[i]
            odd = state & 1 if table else state >> 1
            state = TRELLIS_NEXT[table][state][level & 1]
            values[i] = 2 * level - (odd if level > 0 else -odd if level < 0 else 0)
