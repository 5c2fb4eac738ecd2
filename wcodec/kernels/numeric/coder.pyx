"""The lossless coder of numbers: `encode`, `decode`, and statistics for the encoder. `formats/wcz.md`, section 9.1."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from wcodec.kernels.numeric.number cimport Kind, Number, Raw, scaled, split_word, trailing_zeros, word_t
from wcodec.kernels.numeric.model cimport *
from wcodec.kernels.range_coder cimport (
    Coder, Decoder, Encoder, code_bit, code_exp, code_raw, finish_decoder, finish_encoder, start_decoder, start_encoder,
)

START = 600 << 8
cdef uint32_t[1024] RATE
cdef uint32_t[256] SHARE        # 65536 / n


cdef void fill_tables():
    cdef int n
    for n in range(1024):
        RATE[n] = (655360 + 5 * n + 8) // (10 * n + 16)
    SHARE[0] = 65536
    for n in range(1, 256):
        SHARE[n] = 65536 // n


fill_tables()


cdef inline void code_coefs(Model* m, Coder* c, int16_t* coefs) noexcept nogil:
    """Code coefficients in -127 .. 127: for every tap those of earlier taps; with one tap those of left and above."""
    cdef Py_ssize_t k, i, taps = m.taps
    cdef int32_t mean = 64, a
    for k in range(2 if taps == 1 else taps):
        for i in range(1 if taps == 1 else k):
            a = coefs[k * taps + i]
            a = <int32_t>code_exp(c, m.state + COEF + 32 * min(15, mean >> 6), <uint32_t>(a if a >= 0 else -a))
            if a > 127:
                c.fault |= 2
                return
            mean += ((a << 6) - mean) >> 3
            if a and code_raw(c, coefs[k * taps + i] < 0, 1):
                a = -a
            coefs[k * taps + i] = <int16_t>a


cdef void run(Model* m, Coder* c, Raw* raw, word_t* words, int16_t* coefs, const uint8_t* zeros) noexcept nogil:
    """Code the coefficients, then the rows, up to the first fault."""
    cdef Py_ssize_t r
    cdef int shared = 0
    if m.predicted:
        code_coefs(m, c, coefs)
    for r in range(m.rows):
        if c.fault or raw.fault:
            return
        if m.gridded:
            shared = code_grid(m, c, shared, zeros[r] if Coder is Encoder else 0)
        before_row(m)
        code_row(m, c, raw, words, r, shared)
        after_row(m, r)


cdef class Params:
    """The parameters of the coder, by name; `NumericParams` explains them.

    exponent_bits: 0 for integers; outermost: whether taps are; shared: whether rows share trailing zeros of mantissas.
    """
    cdef int exponent_bits, mantissa_bits, middle
    cdef uint64_t offset
    cdef int64_t rows, channels, taps
    cdef bint outermost, predicted, sparse, shared
    cdef uint32_t grid

    def __init__(self, *, int exponent_bits, int mantissa_bits, int middle, uint64_t offset, int64_t rows, int64_t channels,
                 int64_t taps, bint outermost, bint predicted, bint sparse, bint shared, uint32_t grid):
        if not 0 <= exponent_bits <= 11 or not 0 <= mantissa_bits <= 52 or not 0 <= middle <= 2047:
            raise ValueError("params out of range")
        self.exponent_bits, self.mantissa_bits, self.middle, self.offset = exponent_bits, mantissa_bits, middle, offset
        self.rows, self.channels, self.taps, self.outermost = rows, channels, taps, outermost
        self.predicted, self.sparse, self.shared, self.grid = predicted, sparse, shared, grid


cdef int read_kind(Kind* kind, Params params, Py_ssize_t size) except -1:
    if params.exponent_bits and params.exponent_bits + params.mantissa_bits + 1 != 8 * size:
        raise ValueError("the words do not fit the params")
    kind.bits = <int>(8 * size)
    kind.exponent_bits, kind.mantissa_bits, kind.middle = params.exponent_bits, params.mantissa_bits, params.middle
    kind.offset = params.offset
    return 0


cdef int open_model(Model* m, Params params, Py_ssize_t count, Py_ssize_t size) except -1:
    """Allocate and initialise the model."""
    cdef Py_ssize_t taps, columns, i
    cdef uint8_t* block
    memset(m, 0, sizeof(Model))
    read_kind(&m.kind, params, size)
    m.rows, m.channels, m.taps = params.rows, params.channels, params.taps
    if min(m.rows, m.channels, m.taps) < 1 or m.taps > 512 or count < 1 or max(m.rows, m.channels) > count:
        raise ValueError("rows, channels or taps out of range")
    if <double>m.rows * m.channels * m.taps != count or (params.sparse and m.taps > 1):
        raise ValueError("rows, channels and taps do not come to the words")
    taps, columns = m.taps, m.channels * m.taps
    m.columns = columns
    if params.outermost:
        m.row_step, m.channel_step, m.tap_step = m.channels, 1, m.rows * m.channels
    else:
        m.row_step, m.channel_step, m.tap_step = columns, taps, 1
    m.predicted, m.sparse, m.gridded = params.predicted, params.sparse, params.shared
    m.grid, m.share = params.grid, SHARE
    block = <uint8_t*>calloc(24 * taps + 4 * STATES + 4 * taps + 4 * columns + 4 * (columns + 1) + 2 * columns + 16, 1)
    if block == NULL:
        raise MemoryError
    m.tap_sum = <int64_t*>block
    m.row_sum = m.tap_sum + taps
    m.inverse = <uint64_t*>(m.row_sum + taps)
    m.state = <uint32_t*>(m.inverse + taps)
    m.tap_mean = <int32_t*>(m.state + STATES)
    m.column = m.tap_mean + taps
    m.value = <int16_t*>(m.column + columns)
    m.seldom = <uint16_t*>(m.value + 2 * (columns + 1))
    for i in range(STATES):
        m.state[i] = <uint32_t>1 << 31
    m.tap_count = 16
    for i in range(taps):
        m.tap_mean[i], m.tap_sum[i] = START, 16 * START
    for i in range(columns):
        m.column[i], m.seldom[i] = START, 1 << 15
    return 0


def encode(const word_t[::1] words, Params params not None, int16_t[:, ::1] coefs, const uint8_t[::1] zeros,
           uint8_t[::1] coded, uint8_t[::1] raw_bits):
    """Write range coded bytes to `coded`, raw bits to `raw_bits`: (bytes of the first, or -1 if too small; raw bits).

    coefs: int16[taps, taps] in 1/64, one tap: int16[2, 1] those of left and above; zeros: uint8[rows] shared zeros.
    """
    cdef Model m
    cdef Encoder c
    cdef Raw raw
    if params.predicted and (coefs.shape[0] != (2 if params.taps == 1 else params.taps) or coefs.shape[1] != params.taps):
        raise ValueError("coefficients of the wrong shape")
    if len(zeros) != params.rows or not len(coded) or not len(raw_bits):
        raise ValueError("room or zeros of the wrong size")
    open_model(&m, params, len(words), sizeof(word_t))
    memset(&raw, 0, sizeof(Raw))
    raw.bytes, raw.size = &raw_bits[0], len(raw_bits)
    m.coefs = &coefs[0, 0] if coefs.shape[0] else NULL
    with nogil:
        start_encoder(&c, &coded[0], len(coded), RATE)
        run[Encoder, word_t](&m, &c, &raw, <word_t*>&words[0], <int16_t*>m.coefs, &zeros[0])
        finish_encoder(&c)
    free(m.tap_sum)
    if c.fault & 2:
        raise ValueError("a coefficient out of range")
    return (-1 if c.fault or raw.fault else c.at), raw.bit


def decode(const uint8_t[::1] coded, const uint8_t[::1] raw_bits, Params params not None, int16_t[:, ::1] coefs, word_t[::1] words):
    """Fill `words` and `coefs`: (0: correct, 1: ended early, 2: invalid; raw bits consumed). Inverse: `encode`."""
    cdef Model m
    cdef Decoder c
    cdef Raw raw
    if params.predicted and (coefs.shape[0] != (2 if params.taps == 1 else params.taps) or coefs.shape[1] != params.taps):
        raise ValueError("coefficients of the wrong shape")
    open_model(&m, params, len(words), sizeof(word_t))
    memset(&raw, 0, sizeof(Raw))
    raw.bytes, raw.size = <uint8_t*>&raw_bits[0] if len(raw_bits) else NULL, len(raw_bits)
    m.coefs = &coefs[0, 0] if coefs.shape[0] else NULL
    with nogil:
        start_decoder(&c, &coded[0] if len(coded) else NULL, len(coded), RATE)
        run[Decoder, word_t](&m, &c, &raw, &words[0], <int16_t*>m.coefs, NULL)
        if c.fault == 0 and raw.fault == 0:
            finish_decoder(&c)
    free(m.tap_sum)
    return (1 if raw.fault else c.fault), raw.bit


def look(const word_t[::1] words, Params params not None, Py_ssize_t columns, int64_t[:, ::1] counts, uint8_t[::1] zeros):
    """Count numbers by exponent and by trailing zeros of the mantissa; and the zeros that each run of `columns` words shares.

    counts: int64[2^exponent bits or bits + 1, digits + 1]; of the params only the kind and the offset are used.
    """
    cdef Kind kind
    cdef Py_ssize_t i, r, n = len(words)
    cdef Number x
    cdef uint64_t seen
    read_kind(&kind, params, sizeof(word_t))
    if columns < 1 or n % columns or len(zeros) != n // columns:
        raise ValueError("rows of the wrong size")
    if counts.shape[0] < (1 << kind.exponent_bits if kind.exponent_bits else kind.bits + 1) or counts.shape[1] < (kind.mantissa_bits + 1 if kind.exponent_bits else kind.bits):
        raise ValueError("counts of the wrong shape")
    with nogil:
        for r in range(n // columns):
            seen = 0
            for i in range(r * columns, (r + 1) * columns):
                x = split_word(&kind, words[i])
                x.mantissa |= <uint64_t>1 << x.digits
                seen |= x.mantissa
                counts[x.exponent, trailing_zeros(x.mantissa)] += 1
            zeros[r] = <uint8_t>trailing_zeros(seen)


def scale(const word_t[::1] words, Params params not None, int16_t[::1] values):
    """values[i] = words[i], scaled for the predictor."""
    cdef Kind kind
    cdef Py_ssize_t i
    cdef Number x
    cdef int a
    read_kind(&kind, params, sizeof(word_t))
    if len(values) != len(words):
        raise ValueError("values of the wrong size")
    with nogil:
        for i in range(len(words)):
            x = split_word(&kind, words[i])
            a = scaled(&kind, x)
            values[i] = <int16_t>(-a if x.negative else a)
