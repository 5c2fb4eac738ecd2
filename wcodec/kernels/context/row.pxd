"""Coding of one row of levels, in both directions. Specification: `formats/wcz.md`, section context coder."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from wcodec.kernels.context.level cimport Expected, code_dense, code_sparse, expected
from wcodec.kernels.context.model cimport *
from wcodec.kernels.range_coder cimport Coder, Decoder, Encoder, code_bit


cdef struct Row:
    # the state while a row is coded
    uint16_t* x
    const uint16_t* up
    int16_t* value
    const int16_t* up_value
    int32_t* levels
    int32_t* sample             # where the next sample goes, or NULL
    int trellis                 # twice the state of the dependent quantiser
    uint32_t ema, x1, x2, x3    # decaying mean of the magnitudes (Q12), the last three of them


cdef struct Seen:
    # the features that depend only on the position of the level in the row
    uint32_t mean, near, product, strength


cdef inline void put_sample(Model* m, Row* w, Py_ssize_t r, Py_ssize_t j, Py_ssize_t k, const Seen* f) noexcept nogil:
    """Store all features of a level; the level is stored once it is known."""
    cdef int32_t t = m.tap_mean[k]
    cdef int32_t* sample = w.sample
    sample[0] = w.up[j] << 8 if r else t
    sample[1] = m.fast[j] >> 4 if r else t
    sample[2] = m.slow[j] * (16384 // m.slow_n) >> 6 if r else t
    sample[3] = m.channel[j // m.taps] >> 4 if r else t
    sample[4] = t
    sample[5] = f.mean
    sample[6] = w.ema >> 4
    sample[7] = w.x1 << 8
    sample[8] = (w.x2 + w.x3) << 7
    sample[9] = f.near
    if m.taps > 1:
        sample[10] = w.x[j - m.taps] << 8 if j >= m.taps else t
    else:
        sample[10] = (w.up[j - 1] + w.up[j + 1]) << 7 if r else t
    sample[11] = f.product
    sample[12] = f.strength
    sample[14] = <int32_t>k


cdef inline void code_level(Model* m, Coder* c, Row* w, Py_ssize_t r, Py_ssize_t j, Py_ssize_t k, Seen* f, uint32_t s, const Tap* t,
                            int64_t pr, int turn, bint sparse, bint predicted, bint watched) noexcept nogil:
    """Code the level in column `j`, with the expectation `s` / 128 so far, and update the state of the row."""
    cdef int odd = w.trellis >> m.odd_shift & 1, q, context, size, left, above
    cdef uint32_t seen
    cdef int32_t level = w.levels[j] if Coder is Encoder else 0
    cdef Expected e
    cdef int64_t g
    s += t.ema * (w.ema >> 4) + t.last * w.x1 + t.before * (w.x2 + w.x3) + t.near * f.near + t.product * f.product
    if predicted:
        s += t.strength * f.strength
        e = expected(pr, m.states, odd, sparse)
    s = min(s >> 7, SCALE_MOST)
    q = class_of(m.classes, s)
    if watched and w.sample != NULL:
        put_sample(m, w, r, j, k, f)
    if sparse:
        left = w.value[j - m.taps]
        above = w.up_value[j]
        context = ((q * 2 + (left != 0)) * 2 + (above != 0)) * 4
        if predicted:
            context += min(3, (-e.rest if e.rest < 0 else e.rest) >> 5)
        size = class_of(m.classes, <uint32_t>(m.row_mean + m.nonzero[j]) >> 1) >> 1
        if watched and m.contexts != NULL:
            m.contexts[2 * (r * m.columns + j)] = <uint16_t>context
            m.contexts[2 * (r * m.columns + j) + 1] = <uint16_t>(size * 2 + (left != 0))
        level = code_sparse(c, m, j, context, size, odd, &e, left, above, level, predicted, watched and m.quiet, &seen)
    else:
        if watched and m.contexts != NULL:
            m.contexts[2 * (r * m.columns + j)] = <uint16_t>q
        level = code_dense(c, m, q, odd, &e, turn, level, predicted, watched and m.quiet, &seen)
    if watched and m.predictions != NULL:
        m.predictions[r * m.columns + j] = <int32_t>pr
    if Coder is Decoder:
        w.levels[j] = level
    w.trellis = m.next[w.trellis | (level & 1)]
    if predicted:
        g = (<int64_t>level << m.doubled) + (odd if level < 0 else -odd if level > 0 else 0)
        w.value[j] = <int16_t>min(max(g, -32767), 32767)
    else:
        w.value[j] = level >> 31 | (level != 0)     # only the sign of the value is used
    w.x[j] = <uint16_t>seen
    if watched and w.sample != NULL:
        w.sample[13] = seen << 8
        w.sample += FEATURES + 2
    w.ema += <uint32_t>(<int32_t>((seen << 12) - w.ema) >> 5)
    w.x3 = w.x2
    w.x2 = w.x1
    w.x1 = seen


cdef inline void code_single(Model* m, Coder* c, Row* w, Py_ssize_t r, bint sparse, bint predicted, bint watched) noexcept nogil:
    """Code the levels of a row of kernels of one tap."""
    cdef const uint16_t* near1 = w.x - m.near[0]
    cdef const uint16_t* near2 = w.x - m.near[1]
    cdef int16_t* rows[3]
    cdef uint32_t ratio = 256, total = m.tap_mean[0] * 4
    cdef int rows_seen = 4
    cdef int64_t pr = 0
    cdef Tap t = m.tap[0]
    cdef Seen f
    cdef Py_ssize_t j
    for j in range(3):
        rows[j] = m.value + ((r + 3 - j) % 3) * (m.columns + 2 * PAD) + PAD
    f.strength = 0
    for j in range(m.columns):
        f.mean = <uint32_t>(total * <uint64_t>m.share[rows_seen] >> 16)
        f.near = <uint32_t>(near1[j] + near2[j]) << 7
        if j & 15 == 0:
            ratio = min(4095, (f.mean << 8) // (m.tap_mean[0] + 1))
        f.product = min(CAP << 8, m.slow_mean[j] * ratio >> 8)
        if predicted:
            pr = <int64_t>m.offset << 8 if m.predictor == 2 else predict(m, j, &rows[0])
            f.strength = <uint32_t>min(CAP << 8, (pr if pr >= 0 else -pr) >> m.grain)
        code_level(m, c, w, r, j, 0, &f, <uint32_t>m.base[j] + t.mean * f.mean, &t, pr, 3 * w.value[j - 1] + w.up_value[j],
                   sparse, predicted, watched)
        total += w.x1 << 8
        rows_seen += 1
        if rows_seen > WINDOW:
            rows_seen = 128
            total >>= 1


cdef inline void know(Model* m, Row* w, Py_ssize_t r, Py_ssize_t c, uint32_t share) noexcept nogil:
    """Sum the features of all taps of the kernel in channel `c` that are known before it is coded."""
    cdef Py_ssize_t k, taps = m.taps, j = c * taps
    cdef Tap* t = m.tap
    cdef const uint16_t* up = w.up + j
    cdef const uint16_t* left = w.x + j - taps
    cdef const int16_t* above = w.up_value + j
    cdef const int16_t* before = w.value + j - taps
    cdef const int32_t* fast = m.fast + j
    cdef const int32_t* slow = m.slow + j
    cdef int32_t slow_share = 16384 // m.slow_n if r else 0
    cdef uint32_t channel = <uint32_t>(m.channel[c] >> 4), side
    for k in range(taps):
        t.row_mean = <uint32_t>(t.total * <uint64_t>share >> 16)
        side = <uint32_t>left[k] << 8 if c else m.tap_mean[k]
        t.turn = 3 * before[k] + above[k]
        t.known = t.constant + t.mean * t.row_mean + t.side * side
        if r:
            t.known += (
                t.above * up[k] + t.fast * <uint32_t>(fast[k] >> 4) + t.slow * <uint32_t>(slow[k] * slow_share >> 6)
                + t.channel * channel
            )
        t += 1


cdef inline void code_kernels(Model* m, Coder* coder, Row* w, Py_ssize_t r, bint sparse, bint predicted, bint watched) noexcept nogil:
    """Code the levels of a row of kernels of several taps. Features known before a kernel are summed for all taps at once."""
    cdef Py_ssize_t taps = m.taps, j, c, k
    cdef uint32_t first = m.tap_mean[0], kernel, ratio
    cdef int32_t share = channel_share(r)
    cdef int rows_seen = 4
    cdef int64_t pr = 0, g = 0
    cdef Tap* t
    cdef Seen f
    f.strength = 0
    for k in range(taps):
        t = m.tap + k
        t.total = m.tap_mean[k] * 4
        ratio = (<uint32_t>(g + first) >> 4) + 1
        t.most = 4096 * ratio - 1
        t.quotient = (<uint64_t>1 << 51) // ratio + 1
        g += m.tap_mean[k]
    if predicted:
        pr = <int64_t>m.offset << 8
        f.strength = <uint32_t>min(CAP << 8, (pr if pr >= 0 else -pr) >> m.grain)
    for c in range(m.channels):
        j = c * taps
        know(m, w, r, c, m.share[rows_seen])
        kernel = 0
        t = m.tap
        f.near = w.ema >> 4
        for k in range(taps):
            f.mean = t.row_mean
            ratio = quotient(((kernel << 8) + first) << 4, t.most, t.quotient)
            f.product = min(CAP << 8, f.mean * ratio >> 8)
            code_level(m, coder, w, r, j + k, k, &f, t.known, t, pr, t.turn, sparse, predicted, watched)
            kernel += w.x1
            t.total += w.x1 << 8
            t.sum += w.x1
            t += 1
            f.near = kernel * t.share >> 8
        m.channel[c] += ((<int32_t>((kernel << 8) // <uint32_t>taps) << 4) - m.channel[c]) * share >> 8
        rows_seen += 1
        if rows_seen > WINDOW:
            rows_seen = 128
            for k in range(taps):
                m.tap[k].total >>= 1


cdef inline bint all_zero(Model* m, Coder* c, Row* w, Py_ssize_t r, bint watched) noexcept nogil:
    """Code whether a row of a sparse tensor is all zero, which then codes the whole row."""
    cdef Py_ssize_t j
    cdef int some = 1, i
    if Coder is Encoder:
        some = 0
        for j in range(m.columns):
            if w.levels[j]:
                some = 1
                break
    if code_bit(c, m.state + S_ROW, some):
        return False
    for j in range(m.columns):
        w.levels[j] = 0
        w.x[j] = 0
        w.value[j] = 0
        if watched and m.contexts != NULL:
            m.contexts[2 * (r * m.columns + j)] = 0
            m.contexts[2 * (r * m.columns + j) + 1] = 0
        if watched and m.predictions != NULL:
            m.predictions[r * m.columns + j] = 0
    if m.taps > 1:
        for j in range(m.channels):
            m.channel[j] += -m.channel[j] * channel_share(r) >> 8
    # under zeros every state of a trellis returns to itself: in 1, 2 or 4 steps, with 128 states in 1 or 127
    for i in range(m.columns % 127 if m.states == 128 else m.columns & 3):
        m.trellis = m.next[m.trellis]
    return True


cdef inline void code_row(Model* m, Coder* outer, Py_ssize_t r, int32_t* levels, bint sparse, bint single, bint predicted, bint watched) noexcept nogil:
    """Code the levels of row `r` (read when encoding, written when decoding).

    The flags are constants at every call, which gives specialised loops; single: one tap; watched: fill the traces.
    """
    cdef Py_ssize_t stride = m.columns + 2 * PAD, k
    cdef uint64_t total = 0
    cdef Coder local = outer[0]
    cdef Row w
    w.x = m.x + (r % 2) * stride + PAD
    w.up = m.x + (1 - r % 2) * stride + PAD
    w.value = m.value + (r % 3) * stride + PAD
    w.up_value = m.value + ((r + 2) % 3) * stride + PAD
    w.levels = levels
    w.sample = NULL
    if watched and m.samples != NULL and r % m.every == 0:
        w.sample = m.samples + r // m.every * m.columns * (FEATURES + 2)
    if sparse and all_zero(m, &local, &w, r, watched):
        outer[0] = local
        return
    for k in range(m.taps):
        total += m.tap_mean[k]
    w.ema = <uint32_t>(total // m.taps) << 4
    w.x1 = w.x2 = w.x3 = (w.ema + 2048) >> 12
    w.trellis = m.trellis
    if single:
        code_single(m, &local, &w, r, sparse, predicted, watched)
    else:
        code_kernels(m, &local, &w, r, sparse, predicted, watched)
    m.trellis = w.trellis
    outer[0] = local
