"""Rate-distortion optimal choice of levels: alone, or along a trellis of 4 or 8 states. Used by the encoder; floats decide."""

from libc.math cimport fabs, floor, rint
from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc

cdef enum:
    ZERO = 0            # the layout of the estimators in kernels/context.pyx
    SIGN = 11264
    S_ZERO = 12000
    S_SIGN = 20192
    SIZES_SPARSE = 640  # rows of `sizes`: dense [64][5][2], sparse [32][3][2][2]
    SIZE_WIDTH = 32

cdef int[2][8][2] NEXT      # [states >> 3][state][parity of the level]
NEXT[0] = [[0, 2], [2, 0], [1, 3], [3, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
NEXT[1] = [[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]]


cdef struct Place:
    # what one weight's choice depends on
    double x
    bint rated
    const float* bits           # [estimator][bit] squared steps that an event costs
    const float* sizes          # [context][SIZE_WIDTH] the same of a magnitude, from 1
    double sign                 # the same of a sign that nothing foretells
    bint sparse
    int context
    int second
    double slope                # > 0: bits a unit of magnitude, for scales whose low bits are coded apart
    int[2] named                # the level that the prediction names, for either quantiser
    int[2] fraction             # and what is left of it, Q8
    bint predicted
    float[2][2] zero            # without prediction: [quantiser][not zero], the sign included
    const float* row[2]
    const float* nothing


cdef inline double bits_of(const Place* at, int odd, int level) noexcept nogil:
    cdef int v = level - at.named[odd], a = -v if v < 0 else v
    cdef int f = at.fraction[odd], fa = -f if f < 0 else f, qf, agree, row, extra
    cdef bint against = (v < 0) != (f < 0)
    cdef double total
    if at.slope > 0:
        return at.slope * fabs(v - f / 256.0)
    extra = 0 if a < SIZE_WIDTH else a - SIZE_WIDTH + 1
    if at.sparse:
        total = at.bits[2 * (S_ZERO + at.context * 2 + odd) + (a > 0)]
        if a:
            if at.predicted:
                total += at.bits[2 * (S_SIGN + min(7, fa >> 5)) + against]
                agree = 2 if against else 1
            else:
                total += at.sign
                agree = 0
            row = SIZES_SPARSE + (((at.second >> 1) * 3 + agree) * 2 + (at.second & 1)) * 2 + odd
            total += at.sizes[row * SIZE_WIDTH + a - extra]
        return total
    qf = min(7, fa >> 4)
    total = at.bits[2 * (ZERO + (at.context * 8 + qf) * 2 + odd) + (a > 0)]
    if a:
        if at.predicted:
            total += at.bits[2 * (SIGN + qf * 16 + (at.context >> 2)) + against]
        else:
            total += at.sign
        agree = 2 if fa < 16 else (3 + (fa >= 64) if not against else 1 - (fa >= 64))
        total += at.sizes[((at.context * 5 + agree) * 2 + odd) * SIZE_WIDTH + a - extra]
    return total


cdef inline int candidate(const Place* at, int odd, int parity, int which, int states) noexcept nogil:
    """The level to try: the nearest of its parity, the next one towards what is predicted, or the predicted one."""
    cdef double m = fabs(at.x)
    cdef int low, level, named = at.named[odd]
    if states == 0:
        level = <int>rint(at.x)
        if which == 1:
            return level - 1 if level > named else level + 1
        return named if which == 2 else level
    low = <int>floor((m + odd) * 0.5)
    if (low ^ parity) & 1:
        low += 1
    level = -low if at.x < 0 else low
    if which == 1:
        return level - 2 if level > named else level + 2
    return named if which == 2 else level


cdef inline double price(const Place* at, int odd, int level, int states) noexcept nogil:
    cdef double d
    cdef int value = level
    if states:
        value = 2 * level - (odd if level > 0 else -odd if level < 0 else 0)
    d = at.x - value
    d *= d
    if at.rated:
        d += bits_of(at, odd, level)
    return d


cdef inline double best(const Place* at, int odd, int parity, int states, uint8_t* which) noexcept nogil:
    cdef int level = candidate(at, odd, parity, 0, states), named = at.named[odd], gap = level - named
    cdef double least = price(at, odd, level, states), other
    which[0] = 0
    if not at.rated:
        return least
    if gap < 0:
        gap = -gap
    if states:
        if gap >= 2:
            other = price(at, odd, candidate(at, odd, parity, 1, states), states)
            if other < least:
                least = other
                which[0] = 1
            if gap > 2 and gap & 1 == 0:
                other = price(at, odd, named, states)
                if other < least:
                    least = other
                    which[0] = 2
    elif gap:
        other = price(at, odd, candidate(at, odd, parity, 1, states), states)
        if other < least:
            least = other
            which[0] = 1
        if gap > 1:
            other = price(at, odd, named, states)
            if other < least:
                least = other
                which[0] = 2
    return least


cdef inline void look(Place* at, float x, const uint16_t* context, const int32_t* prediction, const float* slopes, int states) noexcept nogil:
    cdef int pr, g, odd, cell, row
    at.x = x
    at.context = context[0]
    at.second = context[1]
    at.slope = 0 if at.sparse else slopes[at.context]
    if not at.predicted and at.rated:
        for odd in range(2):
            if at.sparse:
                cell = S_ZERO + at.context * 2 + odd
                row = SIZES_SPARSE + ((at.second >> 1) * 6 + (at.second & 1)) * 2 + odd
            else:
                cell = ZERO + at.context * 16 + odd
                row = (at.context * 5 + 2) * 2 + odd
            at.row[odd] = at.nothing if at.slope > 0 else at.sizes + row * SIZE_WIDTH
            at.zero[odd][0] = 0 if at.slope > 0 else at.bits[2 * cell]
            at.zero[odd][1] = 0 if at.slope > 0 else at.bits[2 * cell + 1] + <float>at.sign
    if at.predicted:
        pr = prediction[0]
        for odd in range(2 if states else 1):
            g = pr
            if states:
                if odd == 0:
                    g = pr >> 1 if pr >= 0 else -(-pr >> 1)
                elif pr > 128:
                    g = (pr + 256) >> 1
                elif pr < -128:
                    g = -((256 - pr) >> 1)
            at.named[odd] = 0 if at.sparse else (g + 128) >> 8
            at.fraction[odd] = g - (at.named[odd] << 8)


cdef inline double cost_plain(const Place* at, double m, int odd, int a) noexcept nogil:
    cdef double d = m - (2 * a - (odd if a else 0))
    return d * d + at.zero[odd][a > 0] + at.row[odd][min(a, SIZE_WIDTH - 1)] + at.slope * a


cdef inline int edges_plain(const Place* at, double[2]* edge) noexcept nogil:
    """`best` for both quantisers and parities at once where no value is predicted; the picks, 2 bits each."""
    cdef double m = fabs(at.x), other
    cdef int odd, low, b, picks = 0
    for odd in range(2):
        low = <int>((m + odd) * 0.5)
        b = low & 1
        edge[odd][b] = cost_plain(at, m, odd, low)
        edge[odd][1 - b] = cost_plain(at, m, odd, low + 1)
        if low == 0 or not at.rated:
            continue
        other = cost_plain(at, m, odd, low - 1)
        if other < edge[odd][1 - b]:
            edge[odd][1 - b] = other
            picks |= 1 << (4 * odd + 2 - 2 * b)
        if low == 1:
            continue
        other = cost_plain(at, m, odd, low - 2)
        if other < edge[odd][b]:
            edge[odd][b] = other
            picks |= 1 << (4 * odd + 2 * b)
        if low == 2:
            continue
        other = cost_plain(at, m, odd, 0)
        if other < edge[odd][0]:
            edge[odd][0] = other
            picks = (picks & ~(3 << (4 * odd))) | 2 << (4 * odd)
    return picks


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
    if bits.shape[0] < 20257 or bits.shape[1] != 2 or sizes.shape[0] < 1024 or sizes.shape[1] != SIZE_WIDTH or len(slopes) < 64:
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
                kind = NEXT[table][s][b]
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
            state = NEXT[table][state][level & 1]
            values[i] = 2 * level - (odd if level > 0 else -odd if level < 0 else 0)
