"""The Viterbi algorithm over weights: the forward pass with its prices, and the traceback."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from wcodec.kernels.context.model cimport S_ZERO, ZERO
from wcodec.kernels.trellis.edges cimport edges_avx2
from wcodec.kernels.trellis.price cimport SIZE_WIDTH, SIZES_SPARSE, Place, Plain, best, candidate, edges_plain, level_plain, look, price
from wcodec.kernels.trellis.states cimport TRELLIS_NEXT, table_of
from wcodec.kernels.trellis.steps cimport back_of_128, step_of_eight, step_of_four, trellis_steps_of_128

cdef enum:
    BLOCK = 64                  # the least cost is subtracted from all costs after so many weights, so that they stay exact enough


cdef struct Seen:
    # the weights, in steps, and their contexts
    const float* values
    const uint16_t* contexts    # [weight][apart]; sparse levels have a second context
    int apart
    const int32_t* predictions  # NULL if nothing is predicted
    bint wide                   # use AVX2
    bint flat                   # no context has a slope
    bint zeros                  # zeros stay zeros


cdef inline void settle(float* cost, int states) noexcept nogil:
    cdef int s
    cdef float least = cost[0]
    for s in range(1, states):
        least = min(least, cost[s])
    for s in range(states):
        cost[s] -= least


cdef inline void price_block(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t first, int count, bint sparse, bint predicted,
                             int states, float* edges, uint8_t* picks) noexcept nogil:
    """The costs of the `count` weights from `first` on, edges[weight][2 * quantiser + parity], and their levels."""
    cdef Py_ssize_t i
    cdef int k, b, odd, ready = 0
    cdef uint8_t which
    cdef float* edge
    if not (sparse or predicted) and seen.wide and seen.flat:
        edges_avx2(seen.values + first, seen.contexts + first * seen.apart, seen.apart, count >> 3, plain.size, edges, picks + first)
        ready = count & ~7
    for k in range(ready, count):
        i, edge = first + k, edges + 4 * k
        if predicted:
            look(at, seen.values[i], seen.contexts + seen.apart * i, seen.predictions + i, plain.slope, states)
            picks[i] = 0
            for odd in range(2):
                for b in range(2):
                    edge[2 * odd + b] = <float>best(at, odd, b, states, &which)
                    picks[i] |= which << (4 * odd + 2 * b)
        else:
            picks[i] = <uint8_t>edges_plain(plain, seen.values[i], seen.contexts + seen.apart * i, edge, sparse)
    if not seen.zeros:
        return
    for k in range(count):
        i, edge = first + k, edges + 4 * k
        if seen.values[i] == 0:
            # Level 0 exists in both quantisers: the other parity costs more than any path.
            edge[1] = edge[3] = <float>1e30
            picks[i] = 0
            if predicted:
                look(at, 0, seen.contexts + seen.apart * i, seen.predictions + i, plain.slope, states)
                for odd in range(2):
                    edge[2 * odd] = <float>price(at, odd, 0, states)


cdef inline int ways(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, bint sparse, bint predicted, int states,
                     uint32_t* turn, uint8_t* picks) noexcept nogil:
    """The forward pass, from state 0; returns the state of least cost at the end. The flags are constants at every call."""
    cdef Py_ssize_t i = 0
    cdef float[2][128] cost
    cdef float[BLOCK * 4] edges
    cdef float* before = cost[0]
    cdef float* after = cost[1]
    cdef float* swap
    cdef int s, k, count
    for s in range(states):
        before[s] = 0 if s == 0 else <float>1e30
    while i < n:
        count = <int>min(BLOCK, n - i)
        price_block(seen, at, plain, i, count, sparse, predicted, states, edges, picks)
        if states == 128:
            trellis_steps_of_128(before, after, edges, count, turn + 4 * i, seen.wide)
            if count & 1:
                swap, before, after = before, after, before
        else:
            for k in range(count):
                if states == 8:
                    (<uint8_t*>turn)[i + k] = <uint8_t>step_of_eight(before, edges + 4 * k)
                else:
                    (<uint8_t*>turn)[i + k] = <uint8_t>step_of_four(before, edges + 4 * k)
        if count == BLOCK:
            settle(before, states)
        i += count
    s = 0
    for k in range(1, states):
        if before[k] < before[s]:
            s = k
    return s


cdef inline int forward_pass(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, int states, uint32_t* turn,
                         uint8_t* picks) noexcept nogil:
    if at.predicted:
        return ways(seen, at, plain, n, False, True, states, turn, picks)
    if at.sparse:
        return ways(seen, at, plain, n, True, False, states, turn, picks)
    return ways(seen, at, plain, n, False, False, states, turn, picks)


cdef inline void traceback(const Seen* seen, Place* at, const Plain* plain, Py_ssize_t n, int states, int state, const uint32_t* turn,
                   const uint8_t* picks, int32_t* levels) noexcept nogil:
    """The levels along the path that ends in `state`."""
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
            look(at, seen.values[i], seen.contexts + seen.apart * i, seen.predictions + i, plain.slope, states)
            levels[i] = candidate(at, odd, chosen, picks[i] >> (4 * odd + 2 * chosen) & 3, states)
        else:
            levels[i] = level_plain(seen.values[i], odd, chosen, picks[i])


cdef inline void plain_prices(const float* bits, const float* sizes, float sign, bint sparse, float* zero, float* size) noexcept nogil:
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
