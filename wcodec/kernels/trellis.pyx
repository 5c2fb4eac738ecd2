"""Rate-distortion optimal choice of levels: alone, or along a trellis of 4 or 8 states. For the encoder; floats decide."""

from libc.stdint cimport int32_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc

from wcodec.kernels.context_model cimport STATES, S_ZERO, TRELLIS_NEXT, ZERO
from wcodec.kernels.trellis_price cimport (
    SIZE_WIDTH, SIZES_SPARSE, Place, Plain, best, candidate, edges_plain, level_plain, look,
)


cdef enum:
    SETTLE = 63                 # costs start from 0 again after so many weights, which keeps them exact enough


cdef inline int step_of_eight(float* cost, const float* edge) noexcept nogil:
    """One weight's step of the 8-state trellis, written out from TRELLIS_NEXT; bit s: the second way into state s."""
    cdef float a0 = cost[0] + edge[0], b0 = cost[4] + edge[1]
    cdef float a1 = cost[2] + edge[0], b1 = cost[6] + edge[1]
    cdef float a2 = cost[0] + edge[1], b2 = cost[4] + edge[0]
    cdef float a3 = cost[2] + edge[1], b3 = cost[6] + edge[0]
    cdef float a4 = cost[3] + edge[3], b4 = cost[5] + edge[2]
    cdef float a5 = cost[1] + edge[2], b5 = cost[7] + edge[3]
    cdef float a6 = cost[3] + edge[2], b6 = cost[5] + edge[3]
    cdef float a7 = cost[1] + edge[3], b7 = cost[7] + edge[2]
    cost[0] = b0 if b0 < a0 else a0
    cost[1] = b1 if b1 < a1 else a1
    cost[2] = b2 if b2 < a2 else a2
    cost[3] = b3 if b3 < a3 else a3
    cost[4] = b4 if b4 < a4 else a4
    cost[5] = b5 if b5 < a5 else a5
    cost[6] = b6 if b6 < a6 else a6
    cost[7] = b7 if b7 < a7 else a7
    return (
        (b0 < a0) | (b1 < a1) << 1 | (b2 < a2) << 2 | (b3 < a3) << 3
        | (b4 < a4) << 4 | (b5 < a5) << 5 | (b6 < a6) << 6 | (b7 < a7) << 7
    )


cdef inline int step_of_four(float* cost, const float* edge) noexcept nogil:
    """The same of the 4-state trellis."""
    cdef float a0 = cost[0] + edge[0], b0 = cost[1] + edge[1]
    cdef float a1 = cost[2] + edge[2], b1 = cost[3] + edge[3]
    cdef float a2 = cost[0] + edge[1], b2 = cost[1] + edge[0]
    cdef float a3 = cost[2] + edge[3], b3 = cost[3] + edge[2]
    cost[0] = b0 if b0 < a0 else a0
    cost[1] = b1 if b1 < a1 else a1
    cost[2] = b2 if b2 < a2 else a2
    cost[3] = b3 if b3 < a3 else a3
    return (b0 < a0) | (b1 < a1) << 1 | (b2 < a2) << 2 | (b3 < a3) << 3


cdef inline void settle(float* cost) noexcept nogil:
    cdef int s
    cdef float least = cost[0]
    for s in range(1, 8):
        least = min(least, cost[s])
    for s in range(8):
        cost[s] -= least


cdef inline void ways(const float* values, const uint16_t* contexts, const Plain* at, Py_ssize_t n, bint sparse, bint eight,
                      float* cost, uint8_t* turn, uint8_t* picks) noexcept nogil:
    """The forward pass where no value is predicted; the flags are constants at every call."""
    cdef Py_ssize_t i
    cdef float[8] c
    cdef float[4] edge
    cdef int s
    for s in range(8):
        c[s] = cost[s]
    for i in range(n):
        picks[i] = <uint8_t>edges_plain(at, values[i], contexts + 2 * i, edge, sparse)
        turn[i] = <uint8_t>(step_of_eight(c, edge) if eight else step_of_four(c, edge))
        if i & SETTLE == SETTLE:
            settle(c)
    for s in range(8):
        cost[s] = c[s]


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
):
    """Levels of least d^2 + rate * bits for `values` in steps; 0, 4 or 8 states, starting in state 0.

    bits, sizes and slopes come multiplied by the rate.
    """
    cdef Py_ssize_t n = len(values), i
    cdef Place at
    cdef Plain plain
    cdef float[8] cost
    cdef float[4] edge
    cdef uint8_t* turn          # bit s: the second way into state s
    cdef uint8_t* picks         # predicted: 2 bits for each quantiser and parity, else one for each quantiser
    cdef float* tables          # of `plain`
    cdef uint8_t which
    cdef int[8][2] origin
    cdef int[8][2] carried
    cdef int[8] seen
    cdef int s, b, odd, table = states >> 3, kind
    cdef const uint16_t* context
    cdef const int32_t* prediction
    if n == 0:
        return
    if len(levels) != n or contexts.shape[0] != n or contexts.shape[1] != 2 or (predicted and len(predictions) != n):
        raise ValueError("levels, contexts and values of different sizes")
    if bits.shape[0] < STATES or bits.shape[1] != 2 or sizes.shape[0] < 1024 or sizes.shape[1] != SIZE_WIDTH or len(slopes) < 64:
        raise ValueError("rate tables of the wrong size")
    context = &contexts[0, 0]
    for i in range(n):
        if context[2 * i] >= (1024 if sparse else 64) or (sparse and context[2 * i + 1] >= 64):
            raise ValueError("a context outside the tables")
    at.rated, at.sparse, at.predicted, at.sign = rate > 0, sparse, predicted, rate
    at.bits, at.sizes = &bits[0, 0], &sizes[0, 0]
    for s in range(2):
        at.named[s] = at.fraction[s] = 0
    prediction = &predictions[0] if predicted else NULL
    if states == 0:
        with nogil:
            for i in range(n):
                look(&at, values[i], context + 2 * i, prediction + i if predicted else NULL, &slopes[0], 0)
                best(&at, 0, 0, 0, &which)
                levels[i] = candidate(&at, 0, 0, which, 0)
        return
    turn = <uint8_t*>malloc(2 * n)
    tables = <float*>malloc((4096 + 128 * SIZE_WIDTH) * sizeof(float))
    if turn == NULL or tables == NULL:
        free(turn)
        free(tables)
        raise MemoryError
    picks = turn + n
    with nogil:
        plain_prices(at.bits, at.sizes, <float>rate, sparse, tables, tables + 4096)
        for i in range(64 if not sparse else 0):
            if slopes[i] > 0:
                for s in range(2 * SIZE_WIDTH):
                    tables[4096 + i * 2 * SIZE_WIDTH + s] = 0
        plain.zero, plain.size, plain.slope = tables, tables + 4096, &slopes[0]
        for s in range(8):
            seen[s] = 0
            cost[s] = 0 if s == 0 else <float>1e30
        for s in range(states):
            for b in range(2):
                kind = TRELLIS_NEXT[table][s][b]
                origin[kind][seen[kind]] = s
                carried[kind][seen[kind]] = b
                seen[kind] += 1
        if not predicted:
            if sparse and states == 8:
                ways(&values[0], context, &plain, n, True, True, cost, turn, picks)
            elif sparse:
                ways(&values[0], context, &plain, n, True, False, cost, turn, picks)
            elif states == 8:
                ways(&values[0], context, &plain, n, False, True, cost, turn, picks)
            else:
                ways(&values[0], context, &plain, n, False, False, cost, turn, picks)
        for i in range(n if predicted else 0):
            look(&at, values[i], context + 2 * i, prediction + i, &slopes[0], states)
            picks[i] = 0
            for odd in range(2):
                for b in range(2):
                    edge[2 * odd + b] = <float>best(&at, odd, b, states, &which)
                    picks[i] |= which << (4 * odd + 2 * b)
            turn[i] = <uint8_t>(step_of_eight(cost, edge) if states == 8 else step_of_four(cost, edge))
            if i & SETTLE == SETTLE:
                settle(cost)
        s = 0
        for kind in range(1, states):
            if cost[kind] < cost[s]:
                s = kind
        for i in range(n - 1, -1, -1):
            b = turn[i] >> s & 1
            kind = carried[s][b]
            s = origin[s][b]
            odd = s & 1 if states == 8 else s >> 1
            if predicted:
                look(&at, values[i], context + 2 * i, prediction + i, &slopes[0], states)
                levels[i] = candidate(&at, odd, kind, picks[i] >> (4 * odd + 2 * kind) & 3, states)
            else:
                levels[i] = level_plain(values[i], odd, kind, picks[i])
    free(turn)
    free(tables)


def replay(const int32_t[::1] levels, int states, int32_t[::1] values):
    """The values, in steps, that levels of a trellis stand for; integers throughout. Inverse (of its choice): `choose`."""
    cdef Py_ssize_t i, n = len(levels)
    cdef int state = 0, odd, table = states >> 3, level
    if len(values) != n:
        raise ValueError("levels and values of different sizes")
    with nogil:
        for i in range(n):
            level = levels[i]
            odd = state & 1 if table else state >> 1
            state = TRELLIS_NEXT[table][state][level & 1]
            values[i] = 2 * level - (odd if level > 0 else -odd if level < 0 else 0)
