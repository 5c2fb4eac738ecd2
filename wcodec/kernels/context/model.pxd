"""The state of the context model, and its updates for each row. Specification: `formats/wcz.md`, section context coder."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    FEATURES = 13
    CAP = 1023          # the largest magnitude in features
    UNARY = 14
    PAD = 256           # columns of zeros on both sides of a row, for lags
    MOST = (1 << 30) - 1
    MOST_SHIFT = 30
    WINDOW = 255
    SCALE_MOST = 1 << 19
    # the first estimator of each family
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


cdef struct Tap:
    # the scale weights of one tap, shifted by the bits that their features leave out
    uint32_t above, fast, slow, channel, still, mean, ema, last, before, near, side, product, strength
    # taps > 1: 65536 / place in the kernel / 256, as `share`; 4096 d - 1 and floor(2^51 / d) + 1, for the divisor
    # d = ((sum of tap_mean of the taps before + tap_mean[0]) >> 4) + 1: see `quotient`
    uint32_t share, most
    uint64_t quotient
    uint32_t constant           # the part of S << 7 that the whole row shares
    uint32_t total, sum         # of the magnitudes in this row: Q8 and decaying by halves, and as they are
    uint32_t row_mean, known    # of the current kernel: the row's mean, and the part of S << 7 before it
    int turn                    # 3 * sign to the left + sign above


cdef struct Model:
    Py_ssize_t rows, channels, taps, columns
    int sparse, states, grain, predictor, lags, offset
    int[2] near                 # taps == 1: the lags of feature 9
    int[16] up                  # the predictor's neighbours: rows above,
    int[16] back                # columns back
    int64_t start
    const int32_t* side         # [lags] coefficients in 1/64
    uint32_t* state
    const uint32_t* share       # [256] 65536 / n
    const uint8_t* classes      # [4096]
    const int* next             # [8][2] twice the trellis's next state, by the level's parity
    int64_t* tap_sum            # [taps], with tap_n: the mean of each tap over the rows above
    int64_t tap_n
    uint32_t* tap_mean          # [taps]
    Tap* tap                    # [taps]
    int32_t* base               # [columns], taps == 1: the columns' part of S << 7
    int32_t* fast               # [columns] decaying mean, Q12
    int32_t* slow               # [columns] sum over slow_n rows
    int slow_n
    int32_t* slow_mean          # [columns], taps == 1: Q8
    int32_t* channel            # [channels] decaying mean of kernel means, Q12
    int32_t* nonzero            # [columns] decaying mean of magnitude - 1 where not zero, Q8
    uint16_t* x                 # [2][PAD + columns + PAD] magnitudes for features
    int16_t* value              # [3][PAD + columns + PAD] reconstructed values, clipped; signs if nothing is predicted
    int row_mean                # sparse: decaying mean of magnitude - 1, Q8
    int trellis                 # twice the state of the dependent quantiser
    int odd_shift, doubled      # the bit of it that selects the quantiser; whether values are twice the levels
    int32_t* predictions        # for the encoder, or NULL: [rows, columns] predicted values, Q8
    uint16_t* contexts          # for the encoder, or NULL: [rows, columns, 2]
    int32_t* samples            # for the encoder, or NULL: [.., FEATURES + 2] of every `every`th row
    Py_ssize_t every
    bint quiet                  # for the encoder: compute contexts only; no level is coded, no estimator is updated


cdef inline int class_of(const uint8_t* classes, uint32_t s) noexcept nogil:
    cdef uint32_t x = s + 6
    return classes[x] if x < 4096 else min(63, classes[x >> 8] + 32)


cdef inline uint32_t quotient(uint32_t n, uint32_t most, uint64_t share) noexcept nogil:
    """min(4095, n // d), exactly, for n * d < 2^51; most = 4096 d - 1, share = 2^51 // d + 1."""
    return <uint32_t>(min(n, most) * share >> 51)


cdef inline int channel_share(Py_ssize_t r) noexcept nogil:
    """The weight, in 1/256, of row `r` in the decaying means of columns and channels."""
    return max(16, 256 // <int>(r + 1)) if r < 16 else 16


cdef inline void before_row(Model* m, Py_ssize_t r) noexcept nogil:
    """The part of S that depends on the rows above: for every column if kernels have one tap, otherwise for the whole row `r`."""
    cdef Py_ssize_t j, k, columns = m.columns
    cdef const uint16_t* up = m.x + (1 - r % 2) * (columns + 2 * PAD) + PAD
    cdef int32_t* base = m.base
    cdef int32_t* mean = m.slow_mean
    cdef const int32_t* slow = m.slow
    cdef const int32_t* fast = m.fast
    cdef Tap* t
    cdef int32_t share, still, w0, w1, w2, w10
    for k in range(m.taps):
        t = m.tap + k
        t.sum = 0
        t.constant = t.still * m.tap_mean[k]
        if r == 0:
            t.constant += ((t.above >> 8) + t.fast + t.slow) * m.tap_mean[k]
        if r == 0 or m.taps == 1:
            t.constant += t.channel * m.tap_mean[k]
    if m.taps > 1:
        return
    t = m.tap
    still = t.constant
    w0, w1, w2, w10 = t.above, t.fast, t.slow, t.side << 7
    if r == 0:
        for j in range(columns):
            mean[j] = m.tap_mean[0]
            base[j] = still + t.side * m.tap_mean[0]
        return
    share = 16384 // m.slow_n
    for j in range(columns):
        mean[j] = slow[j] * share >> 6
    for j in range(columns):
        base[j] = w0 * up[j] + w1 * (fast[j] >> 4) + w2 * mean[j] + still + w10 * (up[j - 1] + up[j + 1])


cdef inline void after_row(Model* m, Py_ssize_t r) noexcept nogil:
    """Update the means of columns and taps with row `r`."""
    cdef Py_ssize_t k, j, columns = m.columns
    cdef const uint16_t* x = m.x + (r % 2) * (columns + 2 * PAD) + PAD
    cdef int32_t* slow = m.slow
    cdef int32_t* fast = m.fast
    cdef int32_t share = channel_share(r)
    cdef int64_t row = 0
    for j in range(columns):
        fast[j] += ((<int32_t>x[j] << 12) - fast[j]) * share >> 8
    for j in range(columns):
        slow[j] += x[j]
    m.slow_n += 1
    if m.slow_n > WINDOW:
        for j in range(columns):
            slow[j] >>= 1
        m.slow_n = 128
    if m.taps == 1:
        for j in range(columns):
            row += x[j]
        m.tap_sum[0] += row << 8
    for k in range(m.taps if m.taps > 1 else 0):
        m.tap_sum[k] += <int64_t>m.tap[k].sum << 8
    m.tap_n += m.channels
    for k in range(m.taps):
        m.tap_mean[k] = <uint32_t>(m.tap_sum[k] // m.tap_n)
    if m.tap_n >= 1 << 20:
        m.tap_n >>= 1
        for k in range(m.taps):
            m.tap_sum[k] >>= 1


cdef inline int64_t predict(const Model* m, Py_ssize_t j, int16_t** rows) noexcept nogil:
    """The prediction of the value in column `j` from coded neighbours, in units of 1/256 step."""
    cdef int i
    cdef int32_t total = 0
    for i in range(m.lags):
        total += m.side[i] * rows[m.up[i]][j - m.back[i]]
    return <int64_t>total << 2
