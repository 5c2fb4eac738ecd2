"""Rate-distortion optimal choice of levels: alone, or along a trellis of states. For the encoder; floats decide."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc

from wcodec.kernels.context.model cimport STATES, S_ZERO, ZERO
from wcodec.kernels.trellis.price cimport (
    SIZE_WIDTH, SIZES_SPARSE, Place, Plain, best, candidate, edges_plain, level_plain, look, price,
)
from wcodec.kernels.trellis.states cimport TRELLIS_NEXT, table_of
from wcodec.kernels.trellis.steps cimport back_of_128, step_of_eight, step_of_four, trellis_can, trellis_steps_of_128


AVX2 = trellis_can() != 0
"""Whether steps of 128 states are taken by AVX2 unless `choose` is told not to."""

cdef enum:
    SETTLE = 63                 # costs start from 0 again after so many weights, which keeps them exact enough


cdef struct Seen:
    # the weights, in steps, and what the coder makes of them
    const float* values
    const uint16_t* contexts    # [weight][2]
    const int32_t* predictions  # NULL if nothing is predicted
    bint wide                   # by AVX2
    bint zeros                  # zeros stay zeros


cdef inline void settle(float* cost, int states) noexcept nogil:
    cdef int s
    cdef float least = cost[0]
    for s in range(1, states):
        least = min(least, cost[s])
    for s in range(states):
        cost[s] -= least


cdef inline int ways(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, bint sparse, bint predicted, int states,
                     uint32_t* turn, uint8_t* picks) noexcept nogil:
    """The forward pass, from state 0; the state that costs least at the end. The flags are constants at every call."""
    cdef Py_ssize_t i
    cdef float[2][128] cost
    cdef float[64 * 4] edges
    cdef float* before = cost[0]
    cdef float* after = cost[1]
    cdef float* swap
    cdef float* edge
    cdef uint8_t which
    cdef int s, b, odd, count
    for s in range(states):
        before[s] = 0 if s == 0 else <float>1e30
    for i in range(n):
        edge = edges + 4 * (i & SETTLE)
        if predicted:
            look(at, seen.values[i], seen.contexts + 2 * i, seen.predictions + i, plain.slope, states)
            picks[i] = 0
            for odd in range(2):
                for b in range(2):
                    edge[2 * odd + b] = <float>best(at, odd, b, states, &which)
                    picks[i] |= which << (4 * odd + 2 * b)
        else:
            picks[i] = <uint8_t>edges_plain(plain, seen.values[i], seen.contexts + 2 * i, edge, sparse)
        if seen.zeros and seen.values[i] == 0:
            # The level 0, which either quantiser has: the other parity costs more than any way.
            edge[1] = edge[3] = <float>1e30
            picks[i] = 0
            for odd in range(2 if predicted else 0):
                edge[2 * odd] = <float>price(at, odd, 0, states)
        if states == 128:
            if i & SETTLE == SETTLE or i == n - 1:
                count = <int>(i & SETTLE) + 1
                trellis_steps_of_128(before, after, edges, count, turn + 4 * (i + 1 - count), seen.wide)
                if count & 1:
                    swap, before, after = before, after, before
        elif states == 8:
            (<uint8_t*>turn)[i] = <uint8_t>step_of_eight(before, edge)
        else:
            (<uint8_t*>turn)[i] = <uint8_t>step_of_four(before, edge)
        if i & SETTLE == SETTLE:
            settle(before, states)
    s = 0
    for b in range(1, states):
        if before[b] < before[s]:
            s = b
    return s


cdef inline int all_ways(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, int states, uint32_t* turn,
                         uint8_t* picks) noexcept nogil:
    if at.predicted:
        return ways(seen, at, plain, n, False, True, states, turn, picks)
    if at.sparse:
        return ways(seen, at, plain, n, True, False, states, turn, picks)
    return ways(seen, at, plain, n, False, False, states, turn, picks)


cdef void way_back(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, int states, int state, const uint32_t* turn,
                   const uint8_t* picks, int32_t* levels) noexcept nogil:
    """The levels along the way that ends in `state`."""
    cdef Py_ssize_t i
    cdef int[8][2] origin
    cdef int[8][2] carried
    cdef int[8] count
    cdef int s, b, odd, chosen, after, table = table_of(states)
    for s in range(8):
        count[s] = 0
    if states <= 8:
        for s in range(states):
            for b in range(2):
                after = TRELLIS_NEXT[table][s][b]
                origin[after][count[after]] = s
                carried[after][count[after]] = b
                count[after] += 1
    for i in range(n - 1, -1, -1):
        if states == 128:
            state = back_of_128(turn + 4 * i, state, &odd, &chosen)
        else:
            b = (<const uint8_t*>turn)[i] >> state & 1
            chosen = carried[state][b]
            state = origin[state][b]
            odd = state & 1 if states == 8 else state >> 1
        if at.predicted:
            look(at, seen.values[i], seen.contexts + 2 * i, seen.predictions + i, plain.slope, states)
            levels[i] = candidate(at, odd, chosen, picks[i] >> (4 * odd + 2 * chosen) & 3, states)
        else:
            levels[i] = level_plain(seen.values[i], odd, chosen, picks[i])


cdef void plain_prices(const float* bits, const float* sizes, float sign, bint sparse, float* zero, float* size) noexcept nogil:
    """The tables of `Plain`: zero [1024][2][2] and size [64][2][SIZE_WIDTH]."""
    cdef int q, odd, a, cell, row
    for q in range(1024 if sparse else 64):
        for odd in range(2):
            cell = S_ZERO + q * 2 + odd if sparse else ZERO + q * 16 + odd
            zero[4 * q + 2 * odd] = bits[2 * cell]
            zero[4 * q + 2 * odd + 1] = bits[2 * cell + 1] + sign
    for q in range(64):
        for odd in range(2):
            row = SIZES_SPARSE + ((q >> 1) * 6 + (q & 1)) * 2 + odd if sparse else (q * 5 + 2) * 2 + odd
            for a in range(SIZE_WIDTH):
                size[(2 * q + odd) * SIZE_WIDTH + a] = sizes[row * SIZE_WIDTH + a] if a else 0
                if not sparse:
                    size[(2 * q + odd) * SIZE_WIDTH + a] += zero[4 * q + 2 * odd + (a > 0)]


def choose(
    const float[::1] values, int states, double rate, bint sparse, bint predicted, const uint16_t[:, ::1] contexts,
    const int32_t[::1] predictions, const float[:, ::1] bits, const float[:, ::1] sizes, const float[::1] slopes, int32_t[::1] levels,
    bint wide=True, bint zeros=False,
):
    """Levels of least d^2 + rate * bits for `values` in steps; 0, 4, 8 or 128 states, starting in state 0.

    bits, sizes and slopes come multiplied by the rate. wide: by AVX2, where there is that, which chooses the same.
    zeros: a value of 0 becomes the level 0.
    """
    cdef Py_ssize_t n = len(values), i, width = 16 if states == 128 else 1
    cdef Seen seen
    cdef Place at
    cdef Plain plain
    cdef uint32_t* turn         # [weight][4] as `back_of_128` reads them; else bytes, bit s: the second way into state s
    cdef uint8_t* picks         # predicted: 2 bits for each quantiser and parity, else one for each quantiser
    cdef float* tables          # of `plain`
    cdef uint8_t which
    cdef int s
    if n == 0:
        return
    if states not in (0, 4, 8, 128):
        raise ValueError("unknown states")
    if len(levels) != n or contexts.shape[0] != n or contexts.shape[1] != 2 or (predicted and len(predictions) != n):
        raise ValueError("levels, contexts and values of different sizes")
    if bits.shape[0] < STATES or bits.shape[1] != 2 or sizes.shape[0] < 1024 or sizes.shape[1] != SIZE_WIDTH or len(slopes) < 64:
        raise ValueError("rate tables of the wrong size")
    seen.wide, seen.zeros = wide and AVX2, zeros
    seen.values, seen.contexts, seen.predictions = &values[0], &contexts[0, 0], &predictions[0] if predicted else NULL
    for i in range(n):
        if seen.contexts[2 * i] >= (1024 if sparse else 64) or (sparse and seen.contexts[2 * i + 1] >= 64):
            raise ValueError("a context outside the tables")
    at.rated, at.sparse, at.predicted, at.sign = rate > 0, sparse, predicted, rate
    at.bits, at.sizes = &bits[0, 0], &sizes[0, 0]
    for s in range(2):
        at.named[s] = at.fraction[s] = 0
    if states == 0:
        with nogil:
            for i in range(n):
                look(&at, seen.values[i], seen.contexts + 2 * i, seen.predictions + i if predicted else NULL, &slopes[0], 0)
                best(&at, 0, 0, 0, &which)
                levels[i] = 0 if zeros and seen.values[i] == 0 else candidate(&at, 0, 0, which, 0)
        return
    turn = <uint32_t*>malloc((width + 1) * n)
    tables = <float*>malloc((4096 + 128 * SIZE_WIDTH) * sizeof(float))
    if turn == NULL or tables == NULL:
        free(turn)
        free(tables)
        raise MemoryError
    picks = <uint8_t*>turn + width * n
    with nogil:
        plain_prices(at.bits, at.sizes, <float>rate, sparse, tables, tables + 4096)
        for i in range(64 if not sparse else 0):
            if slopes[i] > 0:
                for s in range(2 * SIZE_WIDTH):
                    tables[4096 + i * 2 * SIZE_WIDTH + s] = 0
        plain.zero, plain.size, plain.slope = tables, tables + 4096, &slopes[0]
        if states == 128:
            s = all_ways(&seen, &at, &plain, n, 128, turn, picks)
        elif states == 8:
            s = all_ways(&seen, &at, &plain, n, 8, turn, picks)
        else:
            s = all_ways(&seen, &at, &plain, n, 4, turn, picks)
        way_back(&seen, &at, &plain, n, states, s, turn, picks, &levels[0])
    free(turn)
    free(tables)


def replay(const int32_t[::1] levels, int states, int32_t[::1] values):
    """The values, in steps, that levels of a trellis stand for; integers throughout. Inverse (of its choice): `choose`."""
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
