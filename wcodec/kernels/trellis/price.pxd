"""The cost of a level: squared error, plus bits at the prices of the context coder's estimators."""

from libc.math cimport fabs, fabsf, floor, rint
from libc.stdint cimport int32_t, uint8_t, uint16_t

from wcodec.kernels.context.model cimport S_SIGN, S_ZERO, SIGN, ZERO

cdef enum:
    SIZES_SPARSE = 640  # rows of `sizes`: dense [64][5][2], sparse [32][3][2][2]
    SIZE_WIDTH = 32


cdef struct Place:
    # the inputs of the choice of one level
    double x
    bint rated
    const float* bits           # [estimator][bit] price of an event, in squared steps
    const float* sizes          # [context][SIZE_WIDTH] price of a magnitude, from 1 on
    double sign                 # price of a sign without a prediction
    bint sparse
    int context
    int second
    double slope                # price of a unit of magnitude if the low bits are coded separately, else 0
    int[2] named                # the predicted level, for each quantiser
    int[2] fraction             # the difference between prediction and level, Q8
    bint predicted


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
    """The level to try: the nearest of its parity, the next one towards the prediction, or the predicted one."""
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
    cdef int pr, g, odd
    at.x = x
    at.context = context[0]
    at.second = context[1]
    at.slope = 0 if at.sparse else slopes[at.context]
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


cdef struct Plain:
    # the prices if nothing is predicted
    const float* zero           # [context][quantiser][not zero], with the sign
    const float* size           # [second context, or context if dense][quantiser][SIZE_WIDTH], from magnitude 0 on
    const float* slope          # [64 contexts], dense tensors only


cdef inline float cost_plain(float m, int odd, int a, const float* zero, const float* row, float slope, bint sparse) noexcept nogil:
    cdef float d = m - <float>(2 * a - (odd & (a > 0)))
    cdef float total = d * d + row[min(a, SIZE_WIDTH - 1)]
    return total + zero[a > 0] if sparse else total + slope * <float>a


cdef inline int edges_plain(const Plain* at, float x, const uint16_t* context, float* edge, bint sparse) noexcept nogil:
    """The cost for each quantiser and parity, edge[2 * quantiser + parity]; bit q of the result: the level below is better.

    Below a magnitude lies `low`, above it low + 1; low - 1, of the other's parity, may be so much cheaper that it wins.
    """
    cdef float m = -x if x < 0 else x, above, below, slope = 0
    cdef int odd, low, b, picks = 0
    cdef const float* zero = at.zero
    cdef const float* row
    if sparse:
        zero += 4 * context[0]
        row = at.size + 2 * SIZE_WIDTH * context[1]
    else:
        slope = at.slope[context[0]]
        row = at.size + 2 * SIZE_WIDTH * context[0]
    for odd in range(2):
        low = <int>((m + odd) * <float>0.5)
        b = low & 1
        edge[2 * odd + b] = cost_plain(m, odd, low, zero + 2 * odd, row + SIZE_WIDTH * odd, slope, sparse)
        above = cost_plain(m, odd, low + 1, zero + 2 * odd, row + SIZE_WIDTH * odd, slope, sparse)
        below = cost_plain(m, odd, low - (low > 0), zero + 2 * odd, row + SIZE_WIDTH * odd, slope, sparse)
        b = (low > 0) & (below < above)
        picks |= b << odd
        edge[2 * odd + 1 - (low & 1)] = below if b else above
    return picks


cdef inline int level_plain(float x, int odd, int parity, int picks) noexcept nogil:
    """The level whose cost `edges_plain` computed for a quantiser and a parity."""
    cdef int low = <int>((fabsf(x) + odd) * <float>0.5), sign = -(x < 0)
    low += ((low ^ parity) & 1) * (1 - 2 * (picks >> odd & 1))
    return (low ^ sign) - sign  # no branches: parities and signs are unpredictable
