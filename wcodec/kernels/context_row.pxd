"""One row of levels through the context model, in either direction. `formats/wcz.md`, section context coder, is its text."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from wcodec.kernels.context_model cimport *
from wcodec.kernels.range_coder cimport Coder, Encoder, Decoder, code_bit, code_exp, code_raw


cdef inline uint32_t code_size(Coder* c, uint32_t* cell, uint32_t* tail, uint32_t a) noexcept nogil:
    """A magnitude known to be at least 1: adaptive unary up to 14, then Exp-Golomb."""
    cdef uint32_t i
    for i in range(1, UNARY):
        if not code_bit(c, cell + (i - 1), a > i):
            return i
    return UNARY + code_exp(c, tail, a - UNARY)


cdef inline uint32_t code_shifted(Coder* c, uint32_t* st, int q, int shift, uint32_t a) noexcept nogil:
    """A magnitude whose `shift` >= 1 low bits are coded apart from the rest: the first two in context, the others raw."""
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


cdef inline void put_sample(Model* m, int32_t* sample, Py_ssize_t r, Py_ssize_t j, Py_ssize_t k, const uint16_t* up) noexcept nogil:
    """The features that `before_row` has used."""
    cdef int32_t t = m.tap_mean[k]
    sample[0] = up[j] << 8 if r else t
    sample[1] = m.fast[j] >> 4 if r else t
    sample[2] = m.slow_mean[j]
    sample[3] = m.channel[j // m.taps] >> 4 if r else t
    sample[4] = t
    sample[10] = (up[j - 1] + up[j + 1]) << 7 if r else t


cdef inline void code_row(Model* m, Coder* outer, Py_ssize_t r, int32_t* levels, bint sparse, bint single, bint watched) noexcept nogil:
    """Codes the levels of row `r` (reads them when encoding, writes them when decoding).

    The flags are constants at every call, so that each has a loop of its own; single: one tap; watched: fill the dumps.
    """
    cdef Py_ssize_t taps = 1 if single else m.taps, columns = m.columns, stride = columns + 2 * PAD, j, k = 0
    cdef uint32_t* st = m.state
    cdef uint32_t* cell
    cdef const int32_t* w = m.weights
    cdef const int32_t* wk
    cdef const uint32_t* share = m.share
    cdef const uint8_t* classes = m.classes
    cdef const int* next_state = m.next
    cdef const int32_t* base = m.base
    cdef const int32_t* slow_mean = m.slow_mean
    cdef const uint32_t* tap_mean = m.tap_mean
    cdef const uint32_t* tap_most = m.tap_most
    cdef const uint64_t* tap_share = m.tap_share
    cdef uint32_t* row_sum = m.row_sum
    cdef int32_t* nonzero = m.nonzero
    cdef uint16_t* x = m.x + (r % 2) * stride + PAD
    cdef const uint16_t* near1 = x - m.near[0]
    cdef const uint16_t* near2 = x - m.near[1]
    cdef const uint16_t* up = m.x + (1 - r % 2) * stride + PAD
    cdef int16_t* value = m.value + (r % 3) * stride + PAD
    cdef int16_t* up_value = m.value + ((r + 2) % 3) * stride + PAD
    cdef int16_t* rows[3]
    cdef int grain = m.grain, predictor = m.predictor, states = m.states, trellis = m.trellis
    cdef int rows_seen = 4, odd = 0, q, shift, v, negative, flip, agree, fa, qf, bit, i, context, left, above, size
    cdef int32_t p = 0, f = 0
    cdef int64_t pr = 0, g
    cdef uint32_t s, a, seen, x1, x2, x3, ratio = 256, kernel = 0, ema, rm, near, side, product, strength = 0
    cdef int32_t* sample = NULL
    cdef Coder local = outer[0]
    cdef Coder* c = &local
    if watched and m.samples != NULL and r % m.every == 0:
        sample = m.samples + r // m.every * columns * (FEATURES + 2)
    rows[0] = value
    rows[1] = up_value
    rows[2] = m.value + ((r + 1) % 3) * stride + PAD
    g = 0
    for k in range(taps):
        row_sum[k] = tap_mean[k] * 4
        s = (<uint32_t>(g + tap_mean[0]) >> 4) + 1
        m.tap_most[k] = 4096 * s - 1
        m.tap_share[k] = (<uint64_t>1 << 51) // s + 1
        g += tap_mean[k]
    ema = <uint32_t>(g // taps) << 4
    x1 = x2 = x3 = (ema + 2048) >> 12
    if sparse:
        bit = 1
        if Coder is Encoder:
            bit = 0
            for j in range(columns):
                if levels[j]:
                    bit = 1
                    break
        if not code_bit(c, st + S_ROW, bit):
            for j in range(columns):
                levels[j] = 0
                x[j] = 0
                value[j] = 0
                if watched and m.contexts != NULL:
                    m.contexts[2 * (r * columns + j)] = 0
                    m.contexts[2 * (r * columns + j) + 1] = 0
                if watched and m.predictions != NULL:
                    m.predictions[r * columns + j] = 0
            if states:
                for i in range(columns & 3):    # zeros lead every state of the trellis round in 1, 2 or 4 steps
                    trellis = next_state[2 * trellis]
                m.trellis = trellis
            outer[0] = local
            return
    k = 0
    for j in range(columns):
        # --- what is expected: the scale s (Q8), the value pr (Q8) ---------------------------------------------
        wk = w + k
        rm = <uint32_t>(row_sum[k] * <uint64_t>share[rows_seen] >> 16)
        if single:
            near = <uint32_t>(near1[j] + near2[j]) << 7
            side = 0
            if j & 15 == 0:
                ratio = min(4095, (rm << 8) // (tap_mean[0] + 1))
            product = slow_mean[j] * ratio >> 8
        else:
            near = kernel * share[k] >> 8 if k else ema >> 4
            side = <uint32_t>x[j - taps] << 8 if j >= taps else tap_mean[k]
            ratio = quotient(((kernel << 8) + tap_mean[0]) << 4, tap_most[k], tap_share[k])
            product = rm * ratio >> 8
        product = min(CAP << 8, product)
        if predictor:
            if predictor == 2:
                pr = <int64_t>m.offset << 8
            else:
                pr = predict(m, j, &rows[0])
            strength = <uint32_t>min(CAP << 8, (pr if pr >= 0 else -pr) >> grain)
        s = (<uint32_t>base[j] + wk[5 * taps] * rm + wk[6 * taps] * (ema >> 4) + wk[7 * taps] * (x1 << 8)
             + wk[8 * taps] * ((x2 + x3) << 7) + wk[9 * taps] * near + wk[10 * taps] * side + wk[11 * taps] * product
             + wk[12 * taps] * strength)
        s = min(s >> 7, SCALE_MOST)
        q = class_of(classes, s)
        if watched and sample != NULL:
            put_sample(m, sample, r, j, k, up)
            sample[5] = rm
            sample[6] = ema >> 4
            sample[7] = x1 << 8
            sample[8] = (x2 + x3) << 7
            sample[9] = near
            if not single:
                sample[10] = side
            sample[11] = product
            sample[12] = strength
        # --- the level that the prediction names, and what it misses by ------------------------------------------
        odd = 0
        g = pr
        if states:
            odd = trellis & 1 if states == 8 else trellis >> 1
            if predictor:
                if odd == 0:
                    g = pr >> 1 if pr >= 0 else -(-pr >> 1)
                elif pr > 128:
                    g = (pr + 256) >> 1
                elif pr < -128:
                    g = -((256 - pr) >> 1)
        if predictor and not sparse:
            p = <int32_t>((g + 128) >> 8)
            f = <int32_t>(g - (<int64_t>p << 8))
        else:
            f = <int32_t>min(max(g, -32768), 32767)
        flip = f < 0
        fa = -f if flip else f
        v = levels[j] - p if Coder is Encoder else 0
        negative = v < 0
        a = <uint32_t>(-v if negative else v)
        # --- the code of v -----------------------------------------------------------------------------------------
        left = value[j - 1 if single else j - taps]
        above = up_value[j]
        if sparse:
            context = ((q * 2 + (left != 0)) * 2 + (above != 0)) * 4 + min(3, fa >> 5)
            size = class_of(classes, <uint32_t>(m.row_mean + nonzero[j]) >> 1) >> 1
            if watched and m.contexts != NULL:
                m.contexts[2 * (r * columns + j)] = <uint16_t>context
                m.contexts[2 * (r * columns + j) + 1] = <uint16_t>(size * 2 + (left != 0))
            bit = a > 0 if watched and m.quiet else code_bit(c, st + S_ZERO + context * 2 + odd, a > 0)
            if bit:
                if watched and m.quiet:
                    pass
                elif predictor:
                    negative = code_bit(c, st + S_SIGN + min(7, fa >> 5), negative ^ flip) ^ flip
                    agree = 1 if negative == flip else 2
                else:
                    i = 3 * ((left > 0) - (left < 0)) + (above > 0) - (above < 0)
                    negative = code_bit(c, st + S_SIGN + 12 + i, negative)
                    agree = 0
                if not (watched and m.quiet):
                    cell = st + S_SIZE + (((size * 3 + agree) * 2 + (left != 0)) * 2 + odd) * 16
                    a = code_size(c, cell, st + S_TAIL, a)
                i = <int>min(a - 1, CAP) << 8
                m.row_mean += (i - m.row_mean) >> 4
                nonzero[j] += (i - nonzero[j]) >> 4
            else:
                a = 0
            seen = 16 if bit else 0
        else:
            qf = min(7, fa >> 4)
            if watched and m.contexts != NULL:
                m.contexts[2 * (r * columns + j)] = <uint16_t>q
            shift = min(MOST_SHIFT, grain + (0 if q < 32 else (q >> 2) - 7))
            if predictor:
                cell = st + SIGN + qf * 16 + (q >> 2)
            else:
                cell = st + SIGN + 132 + 3 * ((left > 0) - (left < 0)) + (above > 0) - (above < 0)
            if watched and m.quiet:
                pass
            elif shift == 0:
                if code_bit(c, st + ZERO + (q * 8 + qf) * 2 + odd, a > 0):
                    negative = code_bit(c, cell, negative ^ flip) ^ flip
                    agree = 2 if fa < 16 else (3 + (fa >= 64) if negative == flip else 1 - (fa >= 64))
                    a = code_size(c, st + SIZE + ((q * 5 + agree) * 2 + odd) * 16, st + TAIL_DENSE, a)
                else:
                    a = 0
            else:
                a = code_shifted(c, st, 0 if q < 32 else q - 32, shift, a)
                if a:
                    negative = code_bit(c, cell, negative ^ flip) ^ flip
            seen = min(a >> grain, CAP)
        if watched and m.predictions != NULL:
            m.predictions[r * columns + j] = <int32_t>pr
        if Coder is Decoder:
            g = p + (-<int64_t>a if negative else <int64_t>a)
            if g > MOST or g < -MOST:
                c.fault |= 2
                g = 0
            levels[j] = <int32_t>g
        # --- moving on -----------------------------------------------------------------------------------------------
        g = levels[j]
        if states:
            trellis = next_state[2 * trellis + (g & 1)]
            g = 2 * g + (odd if g < 0 else -odd if g > 0 else 0)
        value[j] = <int16_t>min(max(g, -32767), 32767)
        x[j] = <uint16_t>seen
        if watched and sample != NULL:
            sample[13] = seen << 8
            sample[14] = <int32_t>k
            sample += FEATURES + 2
        ema += <uint32_t>(<int32_t>((seen << 12) - ema) >> 5)
        x3 = x2
        x2 = x1
        x1 = seen
        row_sum[k] += seen << 8
        kernel += seen
        k += 1
        if k == taps:
            k = 0
            kernel = 0
            rows_seen += 1
            if rows_seen > WINDOW:
                rows_seen = 128
                for i in range(taps):
                    row_sum[i] >>= 1
    m.trellis = trellis
    outer[0] = local


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
