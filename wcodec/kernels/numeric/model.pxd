"""The context model of the lossless coder of numbers, by rows. Specification: `formats/wcz.md`, section 9.1."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from wcodec.kernels.numeric.number cimport (
    CAP, CENTRE, Kind, Number, Raw, bit_length, join_word, put_wide, scaled, split_word, take_wide, trailing_zeros, word_t,
)
from wcodec.kernels.range_coder cimport Coder, Encoder, code_bit, code_raw

cdef enum:
    TOP = 2             # leading bits of the mantissa that have estimators
    MOST_UP = 7
    MOST_DOWN = 15
    LEAST_GRID = 4      # the smallest number of trailing zeros that the mantissas of a row share
    # the first estimator of each family
    SIZE = 0            # [10 prediction][4 quarter][24: first, 7 up, 15 down]
    SIGN = 960          # [10 prediction][8 size]
    LEAD = 1040         # [8 size][4 quarter][4 prefix], with a prediction [5 distance][2 agreement][4 lead][8 size][4 prefix]
    ZEROS = 2320        # [32 exponent][64 zeros]
    NOTHING = 4368      # [8 row][8 column][2 left][2 above]
    SAME = 4624         # [1]
    GRID = 4625         # [64]
    COEF = 4689         # [16 class][32]
    STATES = 5201


cdef struct Model:
    Kind kind
    Py_ssize_t rows, channels, taps, columns
    Py_ssize_t row_step, channel_step, tap_step     # of words
    bint predicted      # from earlier taps; with one tap from the words to the left and above
    bint sparse         # zeros have a flag, and means exclude them; with one tap only
    bint gridded        # the mantissas of a row may share zeros
    uint32_t grid       # exponents, from the middle on, whose trailing zeros are coded
    uint32_t* state
    const uint32_t* share       # [256] 65536 / n
    const int16_t* coefs        # [taps][taps] in 1/64, those of tap k in row k; with one tap: left, above
    int32_t* column     # [columns] decaying mean of magnitudes, Q8
    int32_t* tap_mean   # [taps] over the rows above, Q8
    int64_t* tap_sum    # [taps], Q8
    int64_t tap_count
    int64_t* row_sum    # [taps], Q8
    uint64_t* inverse   # [taps] 2^36 / (tap means before, and the first one, Q4, + 1)
    int16_t* value      # [2][columns + 1] scaled numbers of this row and the one above, a zero before each
    uint16_t* seldom    # [columns] sparse: decaying share of numbers that are not zero, Q16


cdef inline int class_of(uint64_t s) noexcept nogil:
    """Four classes an octave; s >= 8."""
    cdef int e = bit_length(s) - 1
    return e << 2 | <int>(s >> (e - 2) & 3)


cdef inline int seldom_class(uint32_t share) noexcept nogil:
    """0 to 7, from one number in 64 or fewer to nearly all."""
    if share < 16384:
        return max(bit_length(share), 10) - 10
    return 5 + (share >= 32768) + (share >= 57344)


cdef inline int clip(int x, int least, int most) noexcept nogil:
    return least if x < least else most if x > most else x


cdef inline int code_grid(Model* m, Coder* c, int before, int shared) noexcept nogil:
    """Code the trailing zeros that the mantissas of a row share; those of the row above are `before`."""
    cdef int node = 1, i
    if code_bit(c, m.state + SAME, <int>(shared == before)):
        return before
    for i in range(5, -1, -1):
        node = node << 1 | code_bit(c, m.state + GRID + node, shared >> i & 1)
    return node & 63


cdef inline int code_size(Model* m, Coder* c, uint32_t* states, int exponent, int usual) noexcept nogil:
    """Code the exponent relative to `usual`, upwards or downwards; raw if it is far."""
    cdef int steps = 0, far, most = MOST_UP, way = 1
    if not code_bit(c, states, <int>(exponent >= usual)):
        most, way = MOST_DOWN, -1
        usual -= 1
        states += MOST_UP
    far = (exponent - usual) * way
    states += 1
    while steps < most:
        if not code_bit(c, states + steps, <int>(far > steps)):
            return usual + steps * way
        steps += 1
    return <int>code_raw(c, <uint32_t>exponent, m.kind.exponent_bits if m.kind.exponent_bits else 7)


cdef inline int predict(const Model* m, const int16_t* row, const int16_t* above, Py_ssize_t j, int k) noexcept nogil:
    """The prediction from the numbers coded before, scaled, in 1/64."""
    cdef int total = 0, i
    cdef const int16_t* coefs = m.coefs
    if m.taps == 1:
        return coefs[0] * row[j - 1] + coefs[1] * above[j]
    coefs += k * m.taps
    row += j - k
    for i in range(k):
        total += coefs[i] * row[i]
    return total


cdef inline int agreement_class(int ahead) noexcept nogil:
    """1 to 9 from the prediction's lead over the usual size, in quarter octaves."""
    if ahead < 1:
        return 1 + (ahead >= -10) + (ahead >= -6) + (ahead >= -3) + (ahead >= -1)
    return 6 + (ahead >= 3) + (ahead >= 5) + (ahead >= 8)


cdef inline void before_row(Model* m) noexcept nogil:
    """The sums of the row start with the means of the taps."""
    cdef Py_ssize_t k
    cdef uint64_t before = <uint64_t>m.tap_mean[0] >> 4
    for k in range(m.taps):
        m.row_sum[k] = 4 * <int64_t>m.tap_mean[k]
        m.inverse[k] = (<uint64_t>1 << 36) // (before + 1)
        before += m.tap_mean[k] >> 4


cdef inline void code_row(Model* m, Coder* c, Raw* raw, word_t* words, Py_ssize_t r, int shared) noexcept nogil:
    """Code row `r`; the mantissas of the row end in `shared` zeros."""
    cdef Py_ssize_t ch, j = 0
    cdef int taps = <int>m.taps, k, n = 4, i
    cdef Kind kind = m.kind
    cdef int16_t* row = m.value + (r & 1) * (m.columns + 1) + 1
    cdef const int16_t* above = m.value + (1 - (r & 1)) * (m.columns + 1) + 1
    cdef word_t* at
    cdef Number x
    cdef int64_t mean, recent = 0, usual, own, ratio = 256, product, kernel
    cdef int p = 0, size_class, quarter, log, pc = 0, size, agrees = 0, lead, left, g, prefix, one, grid, context
    cdef int64_t ahead = 0
    cdef uint64_t low, bits
    cdef uint32_t share = 1 << 15
    for k in range(taps):
        recent += m.tap_mean[k]
    recent = recent // taps
    for ch in range(m.channels):
        at = words + r * m.row_step + ch * m.channel_step
        kernel = 0
        for k in range(taps):
            if Coder is Encoder:
                x = split_word(&kind, at[0])
            if m.sparse:
                context = seldom_class(share) << 3 | seldom_class(m.seldom[j])
                context = context << 2 | (row[j - 1] != 0) << 1 | (above[j] != 0)
                one = code_bit(c, m.state + NOTHING + context, <int>(x.exponent != 0 or x.mantissa != 0 or x.negative != 0))
                share = share - (share >> 5) + ((one << 16) - one >> 5)
                m.seldom[j] = <uint16_t>(m.seldom[j] - (m.seldom[j] >> 4) + ((one << 16) - one >> 4))
                if not one:
                    row[j] = 0
                    if Coder is not Encoder:
                        x.negative = x.exponent = x.digits = 0
                        x.mantissa = 0
                        at[0] = <word_t>join_word(&kind, x)
                    at += m.tap_step
                    j += 1
                    continue
            # the usual size
            mean = m.row_sum[k] * m.share[n] >> 16
            own = m.column[j]
            if taps == 1:
                if j & 15 == 0:
                    ratio = min(<int64_t>4095, (mean << 8) // (m.tap_mean[0] + 1))
                product = own * ratio >> 8
            else:
                ratio = min(<uint64_t>4095, <uint64_t>(kernel + (m.tap_mean[0] >> 4)) * m.inverse[k] >> 28)
                product = mean * ratio >> 8
            usual = max(<int64_t>8, (24 * own + 36 * mean + 4 * recent + 64 * product) >> 7)
            size_class = class_of(usual)
            quarter = size_class & 3
            log = (size_class >> 2) - 7 - CENTRE + kind.middle      # the usual exponent
            if m.predicted:
                p = predict(m, row, above, j, k)
                ahead = p if p >= 0 else -p
                pc = agreement_class(class_of(max(ahead << 2, <int64_t>8)) - size_class)
            x.exponent = code_size(m, c, m.state + SIZE + (pc << 2 | quarter) * 24, x.exponent, log)
            if Coder is not Encoder:
                if x.exponent < 0 or x.exponent > (1 << kind.exponent_bits if kind.exponent_bits else kind.bits + 1) - 1:
                    c.fault |= 2
                    return
                x.digits = kind.mantissa_bits if kind.exponent_bits else max(x.exponent - 1, 0)
                x.mantissa = 0
                x.negative = 0
            if kind.exponent_bits or x.exponent:
                size = clip(x.exponent - log + 4, 0, 7)
                if m.predicted:
                    agrees = code_bit(c, m.state + SIGN + (pc << 3 | size), <int>(x.negative == (p < 0)))
                    x.negative = agrees ^ (p >= 0)
                    i = x.exponent - kind.middle + CENTRE - bit_length(ahead) + 6
                    context = clip(i + 2, 0, 4) << 1 | agrees
                    context = (context << 2 | (<int>(ahead >> (bit_length(ahead) - 3)) & 3 if ahead >= 64 else 0)) << 3 | size
                else:
                    context = size << 2 | quarter
                lead = min(x.digits, TOP)
                left = x.digits - lead
                prefix = 1
                for i in range(lead):
                    prefix = prefix << 1 | code_bit(c, m.state + LEAD + (context << 2 | prefix), <int>(x.mantissa >> (x.digits - 1 - i) & 1))
                low = x.mantissa & ((<uint64_t>1 << left) - 1)
                grid = min(shared, left)
                if m.grid:
                    g = clip(x.exponent - kind.middle + 16, 0, 31)
                    if m.grid >> g & 1:
                        while grid < left:
                            one = code_bit(c, m.state + ZEROS + (g << 6 | grid), <int>(low >> grid & 1))
                            grid += 1
                            if one:
                                low |= <uint64_t>1 << (grid - 1)
                                break
                if m.predicted:
                    if Coder is Encoder:
                        put_wide(raw, low >> grid, left - grid)
                    else:
                        low |= take_wide(raw, left - grid) << grid
                elif Coder is Encoder:
                    put_wide(raw, low >> grid << 1 | x.negative, left - grid + 1)
                else:
                    bits = take_wide(raw, left - grid + 1)
                    x.negative = bits & 1
                    low |= bits >> 1 << grid
                if Coder is not Encoder:
                    x.mantissa = <uint64_t>(prefix - (1 << lead)) << left | low
            if Coder is not Encoder:
                at[0] = <word_t>join_word(&kind, x)
            i = scaled(&kind, x)
            row[j] = <int16_t>(-i if x.negative else i)
            m.row_sum[k] += i << 8
            kernel += i << 4
            recent += ((i << 8) - recent) >> 5
            if taps == 1 and m.sparse:
                n += 1
                if n > 255:
                    n = 128
                    m.row_sum[0] >>= 1
            at += m.tap_step
            j += 1
        if not m.sparse:
            n += 1
            if n > 255:
                n = 128
                for k in range(taps):
                    m.row_sum[k] >>= 1


cdef inline void after_row(Model* m, Py_ssize_t r) noexcept nogil:
    """Update the means of columns and taps with row `r`."""
    cdef Py_ssize_t j = 0, ch, k, taps = m.taps
    cdef const int16_t* row = m.value + (r & 1) * (m.columns + 1) + 1
    cdef int32_t share = max(4, 256 // (<int32_t>min(r, 64) + 1)), a
    for j in range(m.columns):
        a = (row[j] if row[j] >= 0 else -row[j]) << 8
        if a or not m.sparse:
            m.column[j] += (a - m.column[j]) * share >> 8
    j = 0
    for ch in range(m.channels):
        for k in range(taps):
            m.tap_sum[k] += <int32_t>(row[j] if row[j] >= 0 else -row[j]) << 8
            j += 1
    if m.sparse:
        for j in range(m.columns):
            m.tap_count += row[j] != 0
    else:
        m.tap_count += m.channels
    for k in range(taps):
        m.tap_mean[k] = <int32_t>(m.tap_sum[k] // m.tap_count)
    if m.tap_count >= 1 << 20:
        m.tap_count >>= 1
        for k in range(taps):
            m.tap_sum[k] >>= 1
