"""Rate-distortion optimal choice of levels: alone, or along a trellis of 4 or 8 states. For the encoder; floats decide."""

from libc.stdint cimport int32_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc

from wcodec.kernels.context_model cimport STATES, TRELLIS_NEXT
from wcodec.kernels.trellis_price cimport (
    SIZE_WIDTH, Place, best, candidate, edges_plain, look,
)


cdef inline int step_of_eight(double* cost, const double* edge) noexcept nogil:
    """One weight's step of the 8-state trellis, written out from TRELLIS_NEXT; bit s: the second way into state s."""
    cdef double a0 = cost[0] + edge[0], b0 = cost[4] + edge[1]
    cdef double a1 = cost[2] + edge[0], b1 = cost[6] + edge[1]
    cdef double a2 = cost[0] + edge[1], b2 = cost[4] + edge[0]
    cdef double a3 = cost[2] + edge[1], b3 = cost[6] + edge[0]
    cdef double a4 = cost[3] + edge[3], b4 = cost[5] + edge[2]
    cdef double a5 = cost[1] + edge[2], b5 = cost[7] + edge[3]
    cdef double a6 = cost[3] + edge[2], b6 = cost[5] + edge[3]
    cdef double a7 = cost[1] + edge[3], b7 = cost[7] + edge[2]
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


def choose(
    const float[::1] values, int states, double rate, bint sparse, bint predicted, const uint16_t[:, ::1] contexts,
    const int32_t[::1] predictions, const float[:, ::1] bits, const float[:, ::1] sizes, const float[::1] slopes, int32_t[::1] levels,
):
    """Levels of least d^2 + rate * bits for `values` in steps; 0, 4 or 8 states, starting in state 0.

    bits, sizes and slopes come multiplied by the rate.
    """
    cdef Py_ssize_t n = len(values), i
    cdef Place at
    cdef float[SIZE_WIDTH] nothing
    cdef double[8] cost
    cdef double[8] fresh
    cdef double[2][2] edge
    cdef double other
    cdef uint8_t* turn          # bit s: the second way into state s
    cdef uint8_t* picks         # 2 bits for each quantiser and parity
    cdef uint8_t which, turns
    cdef int[8][2] origin
    cdef int[8][2] carried
    cdef int[8][2] doors        # the quantiser and parity of either way, as an index of `edge`
    cdef int[8] seen
    cdef int s, b, odd, table = states >> 3, kind
    cdef double* flat = &edge[0][0]
    cdef const uint16_t* context
    cdef const int32_t* prediction
    if n == 0:
        return
    if len(levels) != n or contexts.shape[0] != n or contexts.shape[1] != 2 or (predicted and len(predictions) != n):
        raise ValueError("levels, contexts and values of different sizes")
    if bits.shape[0] < STATES or bits.shape[1] != 2 or sizes.shape[0] < 1024 or sizes.shape[1] != SIZE_WIDTH or len(slopes) < 64:
        raise ValueError("rate tables of the wrong size")
    for i in range(n):
        if contexts[i, 0] >= (1024 if sparse else 64) or (sparse and contexts[i, 1] >= 64):
            raise ValueError("a context outside the tables")
    at.rated, at.sparse, at.predicted, at.sign = rate > 0, sparse, predicted, rate
    at.bits, at.sizes = &bits[0, 0], &sizes[0, 0]
    for s in range(SIZE_WIDTH):
        nothing[s] = 0
    at.nothing = at.row[0] = at.row[1] = nothing
    for s in range(2):
        at.named[s] = at.fraction[s] = 0
        at.zero[s][0] = at.zero[s][1] = 0
    context = &contexts[0, 0]
    prediction = &predictions[0] if predicted else NULL
    if states == 0:
        with nogil:
            for i in range(n):
                look(&at, values[i], context + 2 * i, prediction + i if predicted else NULL, &slopes[0], 0)
                best(&at, 0, 0, 0, &which)
                levels[i] = candidate(&at, 0, 0, which, 0)
        return
    turn = <uint8_t*>malloc(2 * n)
    if turn == NULL:
        raise MemoryError
    picks = turn + n
    with nogil:
        for s in range(8):
            seen[s] = 0
            cost[s] = 0 if s == 0 else 1e30
        for s in range(states):
            for b in range(2):
                kind = TRELLIS_NEXT[table][s][b]
                origin[kind][seen[kind]] = s
                carried[kind][seen[kind]] = b
                doors[kind][seen[kind]] = 2 * (s & 1 if states == 8 else s >> 1) + b
                seen[kind] += 1
        for i in range(n):
            look(&at, values[i], context + 2 * i, prediction + i if predicted else NULL, &slopes[0], states)
            if predicted:
                picks[i] = 0
                for odd in range(2):
                    for b in range(2):
                        edge[odd][b] = best(&at, odd, b, states, &which)
                        picks[i] |= which << (4 * odd + 2 * b)
            else:
                picks[i] = <uint8_t>edges_plain(&at, edge)
            if states == 8:
                turn[i] = <uint8_t>step_of_eight(cost, flat)
                continue
            turns = 0
            for s in range(states):
                fresh[s] = cost[origin[s][0]] + flat[doors[s][0]]
                other = cost[origin[s][1]] + flat[doors[s][1]]
                turns |= (other < fresh[s]) << s
                fresh[s] = other if other < fresh[s] else fresh[s]
            turn[i] = turns
            for s in range(states):
                cost[s] = fresh[s]
        s = 0
        for kind in range(1, states):
            if cost[kind] < cost[s]:
                s = kind
        for i in range(n - 1, -1, -1):
            b = turn[i] >> s & 1
            kind = carried[s][b]
            s = origin[s][b]
            odd = s & 1 if states == 8 else s >> 1
            look(&at, values[i], context + 2 * i, prediction + i if predicted else NULL, &slopes[0], states)
            levels[i] = candidate(&at, odd, kind, picks[i] >> (4 * odd + 2 * kind) & 3, states)
    free(turn)


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
