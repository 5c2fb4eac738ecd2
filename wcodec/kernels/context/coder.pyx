"""The context coder of levels: `encode` and `decode`. The specification is `formats/wcz.md`, section context coder."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from wcodec.kernels.context.model cimport *
from wcodec.kernels.context.level cimport code_side
from wcodec.kernels.context.row cimport code_row
from wcodec.kernels.range_coder cimport (
    Coder, Decoder, Encoder, finish_decoder, finish_encoder, start_decoder, start_encoder,
)
from wcodec.kernels.trellis.states cimport TRELLIS_NONE, TRELLIS_TWICE, table_of

STATE_COUNT = STATES
# the first estimator of each family that other modules initialise or read: see `model.pxd`
ZERO_AT, SIZE_AT, SIGN_AT, HIGH_AT = ZERO, SIZE, SIGN, HIGH
SPARSE_ZERO_AT, SPARSE_SIZE_AT, SPARSE_SIGN_AT = S_ZERO, S_SIZE, S_SIGN


cdef class Params:
    """The parameters of the coder, by name; `ContextParams` explains them.

    states: of the trellis; grain: low bits that features ignore; start: the initial expected magnitude, without these bits.
    """
    cdef int sparse, states, grain, predictor, offset, start, lags
    cdef int[2] near
    cdef int[16] up
    cdef int[16] back

    def __init__(self, *, bint sparse, int states, int grain, int predictor, int offset, int start, near, up, back):
        cdef int i
        if len(up) != len(back) or len(up) > 16:
            raise ValueError("lags of the wrong number")
        self.sparse, self.states, self.grain, self.predictor = sparse, states, grain, predictor
        self.offset, self.start, self.lags = offset, start, <int>len(up)
        self.near[0], self.near[1] = near
        for i in range(16):
            self.up[i], self.back[i] = (up[i], back[i]) if i < self.lags else (0, 0)


cdef uint32_t[1024] RATE
cdef uint32_t[256] SHARE        # 65536 / n
cdef uint8_t[4096] CLASS


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


cdef inline void code_rows(Model* m, Coder* c, int32_t* levels, bint sparse, bint single, bint predicted, bint watched) noexcept nogil:
    """Code all rows up to the first fault, with a specialised loop for every combination of flags."""
    cdef Py_ssize_t r
    for r in range(m.rows):
        if c.fault:
            return
        before_row(m, r)
        code_row(m, c, r, levels + r * m.columns, sparse, single, predicted, watched)
        after_row(m, r)


cdef void code_watched(Model* m, Coder* c, int32_t* levels) noexcept nogil:
    if m.sparse and m.taps > 1:
        code_rows(m, c, levels, True, False, m.predictor > 0, True)
    elif m.sparse:
        code_rows(m, c, levels, True, True, m.predictor > 0, True)
    elif m.taps > 1:
        code_rows(m, c, levels, False, False, m.predictor > 0, True)
    else:
        code_rows(m, c, levels, False, True, m.predictor > 0, True)


cdef void code_all(Model* m, Coder* c, int32_t* levels) noexcept nogil:
    if m.sparse and m.taps > 1:
        code_rows(m, c, levels, True, False, m.predictor > 0, False)
    elif m.sparse:
        code_rows(m, c, levels, True, True, m.predictor > 0, False)
    elif m.predictor and m.taps > 1:
        code_rows(m, c, levels, False, False, True, False)
    elif m.predictor:
        code_rows(m, c, levels, False, True, True, False)
    elif m.taps > 1:
        code_rows(m, c, levels, False, False, False, False)
    else:
        code_rows(m, c, levels, False, True, False, False)


cdef void run(Model* m, Coder* c, int32_t* levels, int32_t* weights, Py_ssize_t sets, Py_ssize_t fitted, int32_t* side,
              Py_ssize_t count, Py_ssize_t* side_bytes) noexcept nogil:
    """Code the side information, then the rows, up to the first fault."""
    cdef Py_ssize_t k
    cdef Tap* t
    cdef const int32_t* w
    code_side(m, c, weights, fitted, side, count)
    side_bytes[0] = c.at
    for k in range(m.taps):
        w = weights + (k if sets > 1 else 0) * FEATURES
        t = m.tap + k
        t.above, t.fast, t.slow, t.channel, t.still = <uint32_t>w[0] << 8, w[1], w[2], w[3], w[4]
        t.mean, t.ema, t.last, t.before = w[5], w[6], <uint32_t>w[7] << 8, <uint32_t>w[8] << 7
        t.near, t.side, t.product, t.strength, t.share = w[9], w[10], w[11], w[12], m.share[k]
    if Coder is Encoder and (m.samples != NULL or m.contexts != NULL):
        code_watched(m, c, levels)
    else:
        code_all(m, c, levels)


cdef int open_model(Model* m, Params params, Py_ssize_t rows, Py_ssize_t channels, Py_ssize_t taps,
                    const uint32_t[::1] initial_states) except -1:
    """Allocate and initialise the model."""
    cdef Py_ssize_t columns = channels * taps, stride = columns + 2 * PAD, i
    cdef Py_ssize_t need = (
        (8 + 4 + sizeof(Tap)) * taps + 4 * STATES + 4 * 5 * columns + 4 * channels + 2 * 5 * stride
    )
    cdef uint8_t* block
    memset(m, 0, sizeof(Model))
    if len(initial_states) != STATES or taps > 64:
        raise ValueError("estimators or taps of the wrong number")
    block = <uint8_t*>calloc(need, 1)
    if block == NULL:
        raise MemoryError
    m.tap_sum = <int64_t*>block
    block += 8 * taps
    m.tap = <Tap*>block
    block += sizeof(Tap) * taps
    m.state = <uint32_t*>block
    block += 4 * STATES
    m.tap_mean = <uint32_t*>block
    block += 4 * taps
    m.base = <int32_t*>block
    m.fast = m.base + columns
    m.slow = m.fast + columns
    m.slow_mean = m.slow + columns
    m.nonzero = m.slow_mean + columns
    m.channel = m.nonzero + columns
    block += 4 * (5 * columns + channels)
    m.x = <uint16_t*>block
    m.value = <int16_t*>block + 2 * stride
    m.share, m.classes = SHARE, CLASS
    m.next = &TRELLIS_TWICE[table_of(params.states)][0][0] if params.states else &TRELLIS_NONE[0][0]
    m.odd_shift, m.doubled = 1 + (params.states == 4), params.states > 0
    m.rows, m.channels, m.taps, m.columns = rows, channels, taps, columns
    m.sparse, m.states, m.grain, m.predictor = params.sparse, params.states, params.grain, params.predictor
    m.lags, m.offset, m.start = params.lags, params.offset, params.start
    m.near[0], m.near[1] = params.near[0], params.near[1]
    for i in range(16):
        m.up[i] = params.up[i]
        m.back[i] = params.back[i]
        if i < m.lags and not (0 <= m.up[i] <= 2 and (1 if m.up[i] == 0 else -PAD) <= m.back[i] <= PAD):
            free(m.tap_sum)
            raise ValueError("a lag outside the rows kept")
    memcpy(m.state, &initial_states[0], 4 * STATES)
    m.row_mean = 128
    for i in range(columns):
        m.nonzero[i] = 128
    m.tap_n = 16
    for i in range(taps):
        m.tap_mean[i] = params.start
        m.tap_sum[i] = m.start * 16
    for i in range(columns):
        m.fast[i] = params.start << 4
    for i in range(channels):
        m.channel[i] = params.start << 4
    return 0


def encode(
    const int32_t[:, :, ::1] levels, Params params not None, const uint32_t[::1] initial_states, int32_t[::1] weights,
    Py_ssize_t fitted, int32_t[::1] side, uint8_t[::1] out,
    uint16_t[:, :, ::1] contexts=None, int32_t[:, ::1] predictions=None, int32_t[:, ::1] samples=None, Py_ssize_t every=1,
    uint32_t[::1] states_out=None, bint quiet=False,
):
    """Write the coded side information and levels to `out`: (bytes written, or -1 if `out` is too small; bytes of side
    information).

    quiet: only fill contexts, predictions and samples; code no levels.
    """
    cdef Model m
    cdef Encoder c
    cdef Py_ssize_t side_bytes = 0, rows = levels.shape[0], columns = levels.shape[1] * levels.shape[2], i
    cdef Py_ssize_t sets = len(weights) // FEATURES
    if (sets != 1 and sets != levels.shape[2]) or rows * columns == 0 or fitted not in (0, sets):
        raise ValueError("weights or levels of the wrong size")
    if contexts is not None and (contexts.shape[0] != rows or contexts.shape[1] != columns or contexts.shape[2] != 2):
        raise ValueError("contexts of the wrong shape")
    if predictions is not None and (predictions.shape[0] != rows or predictions.shape[1] != columns):
        raise ValueError("predictions of the wrong shape")
    if samples is not None and (samples.shape[0] < (rows + every - 1) // every * columns or samples.shape[1] != FEATURES + 2):
        raise ValueError("samples of the wrong shape")
    open_model(&m, params, rows, levels.shape[1], levels.shape[2], initial_states)
    m.side = &side[0] if len(side) else NULL
    m.every = every
    m.quiet = quiet
    if contexts is not None:
        m.contexts = &contexts[0, 0, 0]
    if predictions is not None:
        m.predictions = &predictions[0, 0]
    if samples is not None:
        m.samples = &samples[0, 0]
    with nogil:
        start_encoder(&c, &out[0], len(out), RATE)
        run[Encoder](&m, &c, <int32_t*>&levels[0, 0, 0], &weights[0], sets, fitted, <int32_t*>m.side, len(side), &side_bytes)
        finish_encoder(&c)
    if states_out is not None:
        memcpy(&states_out[0], m.state, 4 * STATES)
    free(m.tap_sum)
    if c.fault & 2:
        raise ValueError("a level outside the coder's range")
    return (-1 if c.fault else c.at), side_bytes


def decode(
    const uint8_t[::1] payload, Params params not None, const uint32_t[::1] initial_states, int32_t[::1] weights,
    Py_ssize_t fitted, int32_t[::1] side, int32_t[:, :, ::1] levels,
):
    """Fill `levels` from `payload`: (0: correct, 1: ended early, 2: invalid; bytes of side information). Inverse: `encode`."""
    cdef Model m
    cdef Decoder c
    cdef Py_ssize_t side_bytes = 0, sets = len(weights) // FEATURES
    if (sets != 1 and sets != levels.shape[2]) or levels.shape[0] * levels.shape[1] * levels.shape[2] == 0 or fitted not in (0, sets):
        raise ValueError("weights or levels of the wrong size")
    open_model(&m, params, levels.shape[0], levels.shape[1], levels.shape[2], initial_states)
    m.side = &side[0] if len(side) else NULL
    with nogil:
        start_decoder(&c, &payload[0] if len(payload) else NULL, len(payload), RATE)
        run[Decoder](&m, &c, &levels[0, 0, 0], &weights[0], sets, fitted, <int32_t*>m.side, len(side), &side_bytes)
        if c.fault == 0:
            finish_decoder(&c)
    free(m.tap_sum)
    return c.fault, side_bytes
