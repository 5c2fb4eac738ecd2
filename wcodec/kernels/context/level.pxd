"""Coding of one level in its context, in both directions. Specification: `formats/wcz.md`, section context coder."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from wcodec.kernels.context.model cimport *
from wcodec.kernels.range_coder cimport Coder, Decoder, Encoder, code_bit, code_even, code_exp, code_raw


cdef inline uint32_t code_size(Coder* c, uint32_t* cell, uint32_t* tail, uint32_t a) noexcept nogil:
    """A magnitude of at least 1: adaptive unary up to 14, then Exp-Golomb."""
    cdef uint32_t i
    for i in range(1, UNARY):
        if not code_bit(c, cell + (i - 1), a > i):
            return i
    a = UNARY + code_exp(c, tail, a - UNARY)
    if a > MOST:
        c.fault |= 2
        a = 0
    return a


cdef inline uint32_t code_shifted(Coder* c, uint32_t* st, int q, int shift, uint32_t a) noexcept nogil:
    """A magnitude whose `shift` >= 1 low bits are coded separately: the first two with contexts, the others raw."""
    cdef uint32_t h = a >> shift, i = 0, low
    cdef uint32_t* cell = st + HIGH + q * 16
    while i < UNARY and code_bit(c, cell + i, h > i):
        i += 1
    h = i if i < UNARY else UNARY + code_exp(c, st + TAIL_HIGH, h - UNARY)
    if h > <uint32_t>MOST >> shift:
        c.fault |= 2
        h = 0
    low = code_bit(c, st + LOW + min(h, 5), a >> (shift - 1) & 1)
    if shift > 1:
        low = low << 1 | code_bit(c, st + LOW + 6 + min(h, 3) * 2 + low, a >> (shift - 2) & 1)
    if shift > 2:
        low = low << (shift - 2) | code_raw(c, a & ((<uint32_t>1 << (shift - 2)) - 1), shift - 2)
    return h << shift | low


cdef struct Expected:
    # the prediction of one level
    int32_t level       # the predicted level; 0 if the prediction is only a context, or if there is none
    int32_t rest        # the difference between prediction and level, Q8


cdef inline Expected expected(int64_t pr, int states, int odd, bint sparse) noexcept nogil:
    """The level of the quantiser `odd` nearest to a predicted value of `pr` / 256 steps."""
    cdef int64_t g = pr
    cdef Expected e
    if states:
        if odd == 0:
            g = pr >> 1 if pr >= 0 else -(-pr >> 1)
        elif pr > 128:
            g = (pr + 256) >> 1
        elif pr < -128:
            g = -((256 - pr) >> 1)
    if sparse:
        e.level = 0
        e.rest = <int32_t>min(max(g, -32768), 32767)
    else:
        e.level = <int32_t>((g + 128) >> 8)
        e.rest = <int32_t>(g - (<int64_t>e.level << 8))
    return e


cdef inline int32_t signed_level(Coder* c, int32_t level, int32_t p, uint32_t a, int negative, bint predicted) noexcept nogil:
    """When encoding, the level itself; when decoding, the level at distance `a` <= MOST from the predicted `p`."""
    cdef int64_t g
    if Coder is Encoder:
        return level
    elif not predicted:
        return -<int32_t>a if negative else <int32_t>a
    else:
        g = p + (-<int64_t>a if negative else <int64_t>a)
        if g > MOST or g < -MOST:
            c.fault |= 2
            g = 0
        return <int32_t>g


cdef inline int32_t code_dense(Coder* c, const Model* m, int q, int odd, Expected* e, int turn, int32_t level, bint predicted, bint quiet,
                               uint32_t* seen) noexcept nogil:
    """Code a level of scale class `q`; turn: 3 * sign to the left + sign above. Sets `seen`, its magnitude for features."""
    cdef uint32_t* st = m.state
    cdef int32_t p = e.level if predicted else 0, f = e.rest if predicted else 0, v
    cdef int flip = f < 0, fa = -f if flip else f, qf = min(7, fa >> 4), agree = 2, negative = 0
    cdef uint32_t* cell = st + (SIGN + qf * 16 + (q >> 2) if predicted else SIGN + 132 + turn)
    cdef uint32_t a = 0
    if Coder is Encoder:
        v = level - p
        negative = v < 0
        a = <uint32_t>(-v if negative else v)
    if quiet:
        pass
    elif q < 32 and m.grain == 0:
        if code_bit(c, st + ZERO + (q * 8 + qf) * 2 + odd, a > 0):
            negative = code_even(c, cell, negative ^ flip) ^ flip
            if predicted and fa >= 16:
                agree = 3 + (fa >= 64) if negative == flip else 1 - (fa >= 64)
            a = code_size(c, st + SIZE + ((q * 5 + agree) * 2 + odd) * 16, st + TAIL_DENSE, a)
        else:
            a = 0
    else:
        a = code_shifted(c, st, 0 if q < 32 else q - 32, min(MOST_SHIFT, m.grain + (0 if q < 32 else (q >> 2) - 7)), a)
        if a:
            negative = code_even(c, cell, negative ^ flip) ^ flip
    seen[0] = min(a >> m.grain, CAP)
    return signed_level(c, level, p, a, negative, predicted)


cdef inline int32_t code_sparse(Coder* c, Model* m, Py_ssize_t j, int context, int size, int odd, Expected* e, int left, int above,
                                int32_t level, bint predicted, bint quiet, uint32_t* seen) noexcept nogil:
    """Code a level that is most likely 0; left, above: its neighbours' signs. Sets `seen`, its magnitude for features."""
    cdef uint32_t* st = m.state
    cdef int f = e.rest if predicted else 0, flip = f < 0, fa = -f if flip else f, agree = 0, negative = level < 0, i
    cdef uint32_t a = 0
    if Coder is Encoder:
        a = <uint32_t>(-level if negative else level)
    seen[0] = 0
    i = a > 0
    if not quiet:
        i = code_bit(c, st + S_ZERO + context * 2 + odd, i)
    if not i:
        return 0
    if not quiet:
        if predicted:
            negative = code_even(c, st + S_SIGN + min(7, fa >> 5), negative ^ flip) ^ flip
            agree = 1 if negative == flip else 2
        else:
            negative = code_even(c, st + S_SIGN + 12 + 3 * left + above, negative)
        a = code_size(c, st + S_SIZE + (((size * 3 + agree) * 2 + (left != 0)) * 2 + odd) * 16, st + S_TAIL, a)
    i = <int>min(a - 1, CAP) << 8
    m.row_mean += (i - m.row_mean) >> 4
    m.nonzero[j] += (i - m.nonzero[j]) >> 4
    seen[0] = 16
    return signed_level(c, level, 0, a, negative, False)


cdef inline void code_side(Model* m, Coder* c, int32_t* weights, Py_ssize_t sets, int32_t* side, Py_ssize_t count) noexcept nogil:
    """The fitted weights [sets][FEATURES] in 0..255, and the predictor's coefficients in -127..127."""
    cdef Py_ssize_t i, k
    cdef uint32_t a
    cdef int32_t v, mean = 64
    for k in range(sets):
        for i in range(FEATURES):
            a = code_exp(c, m.state + SIDE + i * 32, <uint32_t>weights[k * FEATURES + i])
            if a > 255:
                c.fault |= 2
                a = 0
            weights[k * FEATURES + i] = <int32_t>a
    for i in range(count):
        v = side[i]
        a = <uint32_t>(-v if v < 0 else v)
        a = code_exp(c, m.state + SIDE_COEF + min(15, mean >> 6) * 32, a)
        if a > 127:
            c.fault |= 2
            a = 0
        mean += (<int32_t>(a << 6) - mean) >> 3
        if a:
            v = -<int32_t>a if code_raw(c, v < 0, 1) else <int32_t>a
        else:
            v = 0
        side[i] = v
