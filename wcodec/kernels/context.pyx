"""The context model of levels: one loop for both directions. `formats/wcz.md`, section context coder, is its text."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from wcodec.kernels.range_coder cimport (
    Coder, Decoder, Encoder,
    code_bit, code_exp, code_raw, finish_decoder, finish_encoder, start_decoder, start_encoder,
)

cdef enum:
    FEATURES = 13
    CAP = 1023          # features see no magnitude above this
    UNARY = 14
    PAD = 256           # columns of zeros on both sides of a row, for lags
    MOST = (1 << 30) - 1
    WINDOW = 255
    SCALE_MOST = 1 << 19
    # where each family of estimators starts
    ZERO = 0            # [64 class][8 fraction][2 quantiser]
    SIZE = 1024         # [64 class][5 agreement][2 quantiser][16]
    SIGN = 11264        # [8 fraction][16 class / 4], then [9 neighbours]
    HIGH = 11408        # [32 class - 32][16]
    LOW = 11920         # [6], [4][2]
    TAIL_DENSE = 11936  # [32]
    TAIL_HIGH = 11968   # [32]
    S_ZERO = 12000      # [64 class][2 left][2 up][4 prediction][2 quantiser]
    S_SIZE = 14048      # [32 class][3 agreement][2 left][2 quantiser][16]
    S_SIGN = 20192      # [8 prediction], then [9 neighbours]
    S_TAIL = 20224      # [32]
    S_ROW = 20256       # [1]
    SIDE = 20257        # [13 feature][32]
    SIDE_COEF = 20673   # [16 class][32]
    SIDE_SIGN = 21185   # [3]
    STATES = 21188

STATE_COUNT = STATES

cdef uint32_t[1024] RATE
cdef uint32_t[256] SHARE        # 65536 / n
cdef uint8_t[4096] CLASS
cdef int[2][8][2] NEXT
NEXT[0] = [[0, 2], [2, 0], [1, 3], [3, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
NEXT[1] = [[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]]


cdef void fill_tables():
    cdef int n, e
    for n in range(1024):
        RATE[n] = (655360 + 5 * n + 8) // (10 * n + 16)
    SHARE[0] = 65536
    for n in range(1, 256):
        SHARE[n] = 65536 // n
    for n in range(4096):
        e = max(n, 4).bit_length() - 1
        CLASS[n] = min(63, 4 * (e - 2) + ((max(n, 4) >> (e - 2)) & 3))


fill_tables()


cdef struct Model:
    Py_ssize_t rows, channels, taps, columns
    int sparse, states, grain, predictor, lags, offset
    int[2] near                 # taps == 1: the lags of feature 9
    int[16] up                  # the predictor's neighbours: rows above,
    int[16] back                # columns back
    int64_t start
    const int32_t* weights      # [FEATURES][taps]
    const int32_t* side         # coefficients in 1/64: [lags][taps]
    uint32_t* state
    int64_t* tap_sum            # [taps], with tap_n: the mean of each tap over the rows above
    int64_t tap_n
    uint32_t* tap_mean          # [taps]
    uint32_t* row_sum           # [taps]
    int32_t* base               # [columns] the columns' part of S << 7
    int32_t* fast               # [columns] decaying mean, Q12
    int32_t* slow               # [columns] sum over slow_n rows
    int slow_n
    int32_t* slow_mean          # [columns] Q8
    int32_t* channel            # [channels] decaying mean of kernel means, Q12
    int32_t* nonzero            # [columns] decaying mean of magnitude - 1 where not zero, Q8
    uint16_t* x                 # [2][PAD + columns + PAD] magnitudes as features see them
    int16_t* value              # [3][PAD + columns + PAD] reconstructed, clipped
    int row_mean                # sparse: decaying mean of magnitude - 1, Q8
    int trellis                 # state of the dependent quantiser
    uint32_t* tap_prefix        # [taps] sum of tap_mean of the taps before
    int32_t* predictions        # for the encoder, or NULL: [rows, columns] predicted values, Q8
    uint16_t* contexts          # for the encoder, or NULL: [rows, columns, 2]
    int32_t* samples            # for the encoder, or NULL: [.., FEATURES + 2] of every `every`th row
    Py_ssize_t every


cdef inline int class_of(uint32_t s) noexcept nogil:
    cdef uint32_t x = s + 6
    return CLASS[x] if x < 4096 else min(63, CLASS[x >> 8] + 32)


cdef void before_row(Model* m, Py_ssize_t r) noexcept nogil:
    """The part of S that the rows above decide, for every column of row `r`."""
    cdef Py_ssize_t c, k, j, taps = m.taps, columns = m.columns
    cdef const int32_t* w = m.weights
    cdef const uint16_t* up = m.x + (1 - r % 2) * (columns + 2 * PAD) + PAD
    cdef int32_t* base = m.base
    cdef int32_t* mean = m.slow_mean
    cdef const int32_t* slow = m.slow
    cdef const int32_t* fast = m.fast
    cdef int32_t t, share, ch
    cdef int32_t w0, w1, w2, w10
    if r == 0:
        for j in range(columns):
            k = j % taps
            t = m.tap_mean[k]
            mean[j] = t
            base[j] = (w[k] + w[taps + k] + w[2 * taps + k] + w[3 * taps + k] + w[4 * taps + k]) * t
            if taps == 1:
                base[j] += w[10] * t
        return
    share = 16384 // m.slow_n
    for j in range(columns):
        mean[j] = slow[j] * share >> 6
    if taps == 1:
        w0, w1, w2, w10 = w[0] << 8, w[1], w[2], w[10] << 7
        t = (w[3] + w[4]) * <int32_t>m.tap_mean[0]
        for j in range(columns):
            base[j] = w0 * up[j] + w1 * (fast[j] >> 4) + w2 * mean[j] + t + w10 * (up[j - 1] + up[j + 1])
        return
    for c in range(m.channels):
        ch = m.channel[c] >> 4
        j = c * taps
        for k in range(taps):
            base[j + k] = (
                (w[k] << 8) * up[j + k] + w[taps + k] * (fast[j + k] >> 4) + w[2 * taps + k] * mean[j + k]
                + w[3 * taps + k] * ch + w[4 * taps + k] * <int32_t>m.tap_mean[k]
            )


cdef void after_row(Model* m, Py_ssize_t r) noexcept nogil:
    """Moves the columns' and taps' means on by row `r`."""
    cdef Py_ssize_t c, k, j, taps = m.taps, columns = m.columns
    cdef const uint16_t* x = m.x + (r % 2) * (columns + 2 * PAD) + PAD
    cdef int32_t* slow = m.slow
    cdef int32_t* fast = m.fast
    cdef int32_t share, total
    cdef int64_t row
    share = max(16, 256 // (r + 1)) if r < 16 else 16
    for j in range(columns):
        fast[j] += ((<int32_t>x[j] << 12) - fast[j]) * share >> 8
    for j in range(columns):
        slow[j] += x[j]
    m.slow_n += 1
    if m.slow_n > WINDOW:
        for j in range(columns):
            slow[j] >>= 1
        m.slow_n = 128
    if taps == 1:
        row = 0
        for j in range(columns):
            row += x[j]
        m.tap_sum[0] += row << 8
    else:
        for c in range(m.channels):
            total = 0
            for k in range(taps):
                total += x[c * taps + k]
                m.tap_sum[k] += <int32_t>x[c * taps + k] << 8
            total = (total << 8) // <int32_t>taps
            m.channel[c] += ((total << 4) - m.channel[c]) * share >> 8
    m.tap_n += m.channels
    for k in range(taps):
        m.tap_mean[k] = <uint32_t>(m.tap_sum[k] // m.tap_n)
    if m.tap_n >= 1 << 20:
        m.tap_n >>= 1
        for k in range(taps):
            m.tap_sum[k] >>= 1


cdef inline int64_t predict(Model* m, Py_ssize_t j, Py_ssize_t k, int16_t** rows) noexcept nogil:
    """What the coded neighbours say of the value in column `j`, in units of 1/256 step."""
    cdef int i
    cdef int32_t total = 0
    for i in range(m.lags):
        total += m.side[i * m.taps + k] * rows[m.up[i]][j - m.back[i]]
    return <int64_t>total << 2


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


cdef void put_sample(Model* m, int32_t* sample, Py_ssize_t r, Py_ssize_t j, Py_ssize_t k, const uint16_t* up) noexcept nogil:
    """The features that `before_row` has used."""
    cdef int32_t t = m.tap_mean[k]
    sample[0] = up[j] << 8 if r else t
    sample[1] = m.fast[j] >> 4 if r else t
    sample[2] = m.slow_mean[j]
    sample[3] = m.channel[j // m.taps] >> 4 if r else t
    sample[4] = t
    sample[10] = (up[j - 1] + up[j + 1]) << 7 if r else t


cdef int code_row(Model* m, Coder* outer, Py_ssize_t r, int32_t* levels) noexcept nogil:
    """Codes the levels of row `r` (reads them when encoding, writes them when decoding)."""
    cdef Py_ssize_t taps = m.taps, columns = m.columns, stride = columns + 2 * PAD, j, k = 0
    cdef uint32_t* st = m.state
    cdef uint32_t* cell
    cdef const int32_t* w = m.weights
    cdef const int32_t* wk
    cdef uint16_t* x = m.x + (r % 2) * stride + PAD
    cdef const uint16_t* up = m.x + (1 - r % 2) * stride + PAD
    cdef int16_t* value = m.value + (r % 3) * stride + PAD
    cdef int16_t* up_value = m.value + ((r + 2) % 3) * stride + PAD
    cdef int16_t* rows[3]
    cdef int sparse = m.sparse, grain = m.grain, predictor = m.predictor, states = m.states, trellis = m.trellis
    cdef int rows_seen = 4, odd = 0, q, shift, v, negative, flip, agree, fa, qf, bit, i, context, left, above, size
    cdef int32_t p = 0, f = 0
    cdef int64_t pr = 0, g
    cdef uint32_t s, a, seen, x1, x2, x3, ratio = 256, kernel = 0, ema, rm, near, side, product, strength = 0
    cdef int32_t* sample = NULL
    cdef Coder local = outer[0]
    cdef Coder* c = &local
    if m.samples != NULL and r % m.every == 0:
        sample = m.samples + r // m.every * columns * (FEATURES + 2)
    rows[0] = value
    rows[1] = up_value
    rows[2] = m.value + ((r + 1) % 3) * stride + PAD
    g = 0
    for k in range(taps):
        m.row_sum[k] = m.tap_mean[k] * 4
        m.tap_prefix[k] = <uint32_t>g
        g += m.tap_mean[k]
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
                if m.contexts != NULL:
                    m.contexts[2 * (r * columns + j)] = 0
                    m.contexts[2 * (r * columns + j) + 1] = 0
            if states:
                for i in range(columns & 3):    # zeros lead every state of the trellis round in 1, 2 or 4 steps
                    trellis = NEXT[states >> 3][trellis][0]
                m.trellis = trellis
            outer[0] = local
            return 0
    k = 0
    for j in range(columns):
        # --- what is expected: the scale s (Q8), the value pr (Q8) ---------------------------------------------
        wk = w + k
        rm = <uint32_t>(m.row_sum[k] * <uint64_t>SHARE[rows_seen] >> 16)
        if taps == 1:
            near = <uint32_t>(x[j - m.near[0]] + x[j - m.near[1]]) << 7
            side = 0
            if j & 15 == 0:
                ratio = min(4095, (rm << 8) // (m.tap_mean[0] + 1))
            product = m.slow_mean[j] * ratio >> 8
        else:
            near = kernel * SHARE[k] >> 8 if k else ema >> 4
            side = <uint32_t>x[j - taps] << 8 if j >= taps else m.tap_mean[k]
            ratio = min(4095, (((kernel << 8) + m.tap_mean[0]) << 4) // (((m.tap_prefix[k] + m.tap_mean[0]) >> 4) + 1))
            product = rm * ratio >> 8
        product = min(CAP << 8, product)
        if predictor:
            if predictor == 2:
                pr = <int64_t>m.offset << 8
            else:
                pr = predict(m, j, k, &rows[0])
            strength = <uint32_t>min(CAP << 8, (pr if pr >= 0 else -pr) >> grain)
        s = (<uint32_t>m.base[j] + wk[5 * taps] * rm + wk[6 * taps] * (ema >> 4) + wk[7 * taps] * (x1 << 8)
             + wk[8 * taps] * ((x2 + x3) << 7) + wk[9 * taps] * near + wk[10 * taps] * side + wk[11 * taps] * product
             + wk[12 * taps] * strength)
        s = min(s >> 7, SCALE_MOST)
        q = class_of(s)
        if sample != NULL:
            put_sample(m, sample, r, j, k, up)
            sample[5] = rm
            sample[6] = ema >> 4
            sample[7] = x1 << 8
            sample[8] = (x2 + x3) << 7
            sample[9] = near
            if taps > 1:
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
        left = value[j - 1 if taps == 1 else j - taps]
        above = up_value[j]
        if sparse:
            context = ((q * 2 + (left != 0)) * 2 + (above != 0)) * 4 + min(3, fa >> 5)
            size = class_of(<uint32_t>(m.row_mean + m.nonzero[j]) >> 1) >> 1
            if m.contexts != NULL:
                m.contexts[2 * (r * columns + j)] = <uint16_t>context
                m.contexts[2 * (r * columns + j) + 1] = <uint16_t>(size * 2 + (left != 0))
            bit = code_bit(c, st + S_ZERO + context * 2 + odd, a > 0)
            if bit:
                if predictor:
                    negative = code_bit(c, st + S_SIGN + min(7, fa >> 5), negative ^ flip) ^ flip
                    agree = 1 if negative == flip else 2
                else:
                    i = 3 * ((left > 0) - (left < 0)) + (above > 0) - (above < 0)
                    negative = code_bit(c, st + S_SIGN + 12 + i, negative)
                    agree = 0
                cell = st + S_SIZE + (((size * 3 + agree) * 2 + (left != 0)) * 2 + odd) * 16
                a = code_size(c, cell, st + S_TAIL, a)
                i = <int>min(a - 1, CAP) << 8
                m.row_mean += (i - m.row_mean) >> 4
                m.nonzero[j] += (i - m.nonzero[j]) >> 4
            else:
                a = 0
            seen = 16 if bit else 0
        else:
            qf = min(7, fa >> 4)
            if m.contexts != NULL:
                m.contexts[2 * (r * columns + j)] = <uint16_t>q
            shift = grain + (0 if q < 32 else (q >> 2) - 7)
            if predictor:
                cell = st + SIGN + qf * 16 + (q >> 2)
            else:
                cell = st + SIGN + 132 + 3 * ((left > 0) - (left < 0)) + (above > 0) - (above < 0)
            if shift == 0:
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
        if m.predictions != NULL:
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
            trellis = NEXT[states >> 3][trellis][g & 1]
            g = 2 * g + (odd if g < 0 else -odd if g > 0 else 0)
        value[j] = <int16_t>min(max(g, -32767), 32767)
        x[j] = <uint16_t>seen
        if sample != NULL:
            sample[13] = seen << 8
            sample[14] = <int32_t>k
            sample += FEATURES + 2
        ema += <uint32_t>(<int32_t>((seen << 12) - ema) >> 5)
        x3 = x2
        x2 = x1
        x1 = seen
        m.row_sum[k] += seen << 8
        kernel += seen
        k += 1
        if k == taps:
            k = 0
            kernel = 0
            rows_seen += 1
            if rows_seen > WINDOW:
                rows_seen = 128
                for i in range(taps):
                    m.row_sum[i] >>= 1
    m.trellis = trellis
    outer[0] = local
    return 0


cdef void code_side(Model* m, Coder* c, int32_t* weights, Py_ssize_t sets, int32_t* side, Py_ssize_t count) noexcept nogil:
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


cdef void run(Model* m, Coder* c, int32_t* levels, int32_t* weights, Py_ssize_t sets, Py_ssize_t fitted, int32_t* side,
              Py_ssize_t count, int32_t* expanded, Py_ssize_t* head) noexcept nogil:
    """Codes the side information, then the rows; stops at the first fault."""
    cdef Py_ssize_t r, i, k
    code_side(m, c, weights, fitted, side, count)
    head[0] = c.at
    for k in range(m.taps):
        for i in range(FEATURES):
            expanded[i * m.taps + k] = weights[(k if sets > 1 else 0) * FEATURES + i]
    for r in range(m.rows):
        if c.fault:
            return
        before_row(m, r)
        code_row(m, c, r, levels + r * m.columns)
        after_row(m, r)


cdef int open_model(Model* m, const int32_t[::1] facts, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t taps,
                    const uint32_t[::1] template) except -1:
    """Allocates and starts everything; `facts`: sparse, states, grain, predictor, lags, offset, start, near[2], up[16], back[16]."""
    cdef Py_ssize_t columns = channels * taps, stride = columns + 2 * PAD, i
    cdef Py_ssize_t need = (
        8 * taps + 4 * STATES + 4 * (FEATURES + 3) * taps + 4 * 5 * columns + 4 * channels + 2 * 5 * stride
    )
    cdef uint8_t* block
    memset(m, 0, sizeof(Model))
    if len(facts) != 41 or len(template) != STATES or facts[4] > 16 or facts[4] < 0 or taps > 64:
        raise ValueError("facts or template of the wrong size")
    block = <uint8_t*>calloc(need, 1)
    if block == NULL:
        raise MemoryError
    m.tap_sum = <int64_t*>block
    block += 8 * taps
    m.state = <uint32_t*>block
    block += 4 * STATES
    m.weights = <int32_t*>block
    block += 4 * FEATURES * taps
    m.tap_mean = <uint32_t*>block
    m.row_sum = m.tap_mean + taps
    m.tap_prefix = m.row_sum + taps
    block += 4 * 3 * taps
    m.base = <int32_t*>block
    m.fast = m.base + columns
    m.slow = m.fast + columns
    m.slow_mean = m.slow + columns
    m.nonzero = m.slow_mean + columns
    m.channel = m.nonzero + columns
    block += 4 * (5 * columns + channels)
    m.x = <uint16_t*>block
    m.value = <int16_t*>block + 2 * stride
    m.rows, m.channels, m.taps, m.columns = rows, channels, taps, columns
    m.sparse, m.states, m.grain, m.predictor, m.lags, m.offset = facts[0], facts[1], facts[2], facts[3], facts[4], facts[5]
    m.start = facts[6]
    m.near[0], m.near[1] = facts[7], facts[8]
    for i in range(16):
        m.up[i] = facts[9 + i]
        m.back[i] = facts[25 + i]
        if i < m.lags and not (0 <= m.up[i] <= 2 and (1 if m.up[i] == 0 else -PAD) <= m.back[i] <= PAD):
            free(m.tap_sum)
            raise ValueError("a lag outside the rows kept")
    for i in range(STATES):
        m.state[i] = template[i]
    m.row_mean = 128
    for i in range(columns):
        m.nonzero[i] = 128
    m.tap_n = 16
    for i in range(taps):
        m.tap_mean[i] = facts[6]
        m.tap_sum[i] = m.start * 16
    for i in range(columns):
        m.fast[i] = facts[6] << 4
    for i in range(channels):
        m.channel[i] = facts[6] << 4
    return 0


def encode(
    const int32_t[:, :, ::1] levels, const int32_t[::1] facts, const uint32_t[::1] template, int32_t[::1] weights,
    Py_ssize_t fitted, int32_t[::1] side, uint8_t[::1] out,
    uint16_t[:, :, ::1] contexts=None, int32_t[:, ::1] predictions=None, int32_t[:, ::1] samples=None, Py_ssize_t every=1,
    uint32_t[::1] states_out=None,
):
    """Writes the coded side information and levels to `out`: (bytes written or -1 if too few, bytes of side information)."""
    cdef Model m
    cdef Encoder c
    cdef Py_ssize_t head = 0, rows = levels.shape[0], columns = levels.shape[1] * levels.shape[2], i
    cdef Py_ssize_t sets = len(weights) // FEATURES
    if (sets != 1 and sets != levels.shape[2]) or rows * columns == 0 or fitted not in (0, sets):
        raise ValueError("weights or levels of the wrong size")
    if contexts is not None and (contexts.shape[0] != rows or contexts.shape[1] != columns or contexts.shape[2] != 2):
        raise ValueError("contexts of the wrong shape")
    if predictions is not None and (predictions.shape[0] != rows or predictions.shape[1] != columns):
        raise ValueError("predictions of the wrong shape")
    if samples is not None and (samples.shape[0] < (rows + every - 1) // every * columns or samples.shape[1] != FEATURES + 2):
        raise ValueError("samples of the wrong shape")
    open_model(&m, facts, rows, levels.shape[1], levels.shape[2], template)
    m.side = &side[0] if len(side) else NULL
    m.every = every
    if contexts is not None:
        m.contexts = &contexts[0, 0, 0]
    if predictions is not None:
        m.predictions = &predictions[0, 0]
    if samples is not None:
        m.samples = &samples[0, 0]
    with nogil:
        start_encoder(&c, &out[0], len(out), RATE)
        run[Encoder](&m, &c, <int32_t*>&levels[0, 0, 0], &weights[0], sets, fitted, <int32_t*>m.side, len(side), <int32_t*>m.weights, &head)
        finish_encoder(&c)
    if states_out is not None:
        for i in range(STATES):
            states_out[i] = m.state[i]
    free(m.tap_sum)
    return (-1 if c.fault else c.at), head


def decode(
    const uint8_t[::1] payload, const int32_t[::1] facts, const uint32_t[::1] template, int32_t[::1] weights,
    Py_ssize_t fitted, int32_t[::1] side, int32_t[:, :, ::1] levels,
):
    """Fills `levels` from `payload`: (0 well, 1 ended early, 2 impossible; bytes of side information). Inverse: `encode`."""
    cdef Model m
    cdef Decoder c
    cdef Py_ssize_t head = 0, sets = len(weights) // FEATURES
    if (sets != 1 and sets != levels.shape[2]) or levels.shape[0] * levels.shape[1] * levels.shape[2] == 0 or fitted not in (0, sets):
        raise ValueError("weights or levels of the wrong size")
    open_model(&m, facts, levels.shape[0], levels.shape[1], levels.shape[2], template)
    m.side = &side[0] if len(side) else NULL
    with nogil:
        start_decoder(&c, &payload[0] if len(payload) else NULL, len(payload), RATE)
        run[Decoder](&m, &c, &levels[0, 0, 0], &weights[0], sets, fitted, <int32_t*>m.side, len(side), <int32_t*>m.weights, &head)
        if c.fault == 0:
            finish_decoder(&c)
    free(m.tap_sum)
    return c.fault, head
