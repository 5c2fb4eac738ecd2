"""A binary range coder with a 64-bit window and adaptive bit estimators; see `formats/wcz.md`, section range coder.

`code_bit` and similar functions are written once for both directions: the encoder takes the bit and returns it, the decoder
ignores the argument and returns the bit it read. All state is integer. (Martin 1979; estimators: adaptive counts.)
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    /* The coder's state stays in registers only if every step is part of the loop. */
    #if defined(__GNUC__)
    #undef CYTHON_INLINE
    #define CYTHON_INLINE __inline__ __attribute__((always_inline))
    #endif
    """

cdef extern from *:
    bint unlikely(bint) nogil   # Cython's own hint to the compiler

cdef enum:
    COUNT_LIMIT = 500   # an estimator averages over about this many bits
    LOWEST = 4 << 6     # probabilities stay in [4, 65532] / 65536
    HIGHEST = 65532 << 6
    TAIL = 8            # the number of zero bytes that follow the end of a stream


cdef struct Encoder:
    uint64_t low
    uint64_t range
    uint8_t* out
    Py_ssize_t at
    Py_ssize_t size
    const uint32_t* rate
    int fault           # 1: out of room


cdef struct Decoder:
    uint64_t code
    uint64_t range
    const uint8_t* src
    Py_ssize_t at
    Py_ssize_t size
    const uint32_t* rate
    int fault           # 1: ended early; 2: an invalid number


ctypedef fused Coder:
    Encoder
    Decoder


cdef inline void put_word(Encoder* c) noexcept nogil:
    cdef int i
    if c.at + 4 > c.size:
        c.fault = 1
    else:
        for i in range(4):
            c.out[c.at + i] = <uint8_t>(c.low >> (56 - 8 * i))
        c.at += 4
    c.low <<= 32
    c.range <<= 32


cdef inline void carry(Encoder* c) noexcept nogil:
    cdef Py_ssize_t i = c.at - 1
    while i >= 0 and c.out[i] == 255:
        c.out[i] = 0
        i -= 1
    if i >= 0:
        c.out[i] += 1


cdef inline void take_word(Decoder* c) noexcept nogil:
    cdef int i
    cdef uint64_t word = 0
    if c.at + 4 <= c.size:
        for i in range(4):
            word = word << 8 | c.src[c.at + i]
    else:
        for i in range(4):
            word = word << 8 | (c.src[c.at + i] if c.at + i < c.size else 0)
        if c.at + 4 > c.size + TAIL:
            c.fault |= 1
    c.at += 4
    c.code = c.code << 32 | word
    c.range <<= 32


cdef inline int code_bit(Coder* c, uint32_t* state, int bit) noexcept nogil:
    """One bit whose estimator is `state`: P(1) in 22 bits above a count in 10."""
    cdef uint32_t s = state[0]
    cdef uint32_t n = s & 1023
    cdef uint64_t bound = (c.range >> 16) * (s >> 16)
    cdef int64_t p = s >> 10
    if Coder is Encoder:
        if bit:
            c.range = bound
        else:
            c.low += bound
            c.range -= bound
            if c.low < bound:
                carry(c)
        if unlikely(c.range >> 32 == 0):
            put_word(c)
    else:
        bit = c.code < bound
        c.code -= 0 if bit else bound
        c.range = bound if bit else c.range - bound
        if unlikely(c.range >> 32 == 0):
            take_word(c)
    p += (((HIGHEST if bit else LOWEST) - p) * c.rate[n]) >> 16
    state[0] = <uint32_t>p << 10 | (n + (n < COUNT_LIMIT))
    return bit


cdef inline int code_even(Coder* c, uint32_t* state, int bit) noexcept nogil:
    """`code_bit` without a branch, for a bit that branch prediction would miss half of the time."""
    cdef uint32_t s, n
    cdef uint64_t bound, rest, chosen
    cdef int64_t p
    if Coder is Encoder:
        return code_bit(c, state, bit)
    else:
        s = state[0]
        n = s & 1023
        bound = (c.range >> 16) * (s >> 16)
        rest = c.range - bound
        chosen = <uint64_t>0 - <uint64_t>(c.code < bound)   # all ones for a 1
        c.code -= bound & ~chosen
        c.range = rest ^ ((rest ^ bound) & chosen)
        if unlikely(c.range >> 32 == 0):
            take_word(c)
        p = s >> 10
        p += ((LOWEST + <int64_t>((HIGHEST - LOWEST) & chosen) - p) * c.rate[n]) >> 16
        state[0] = <uint32_t>p << 10 | (n + (n < COUNT_LIMIT))
        return chosen & 1


cdef inline uint32_t code_raw(Coder* c, uint32_t value, int bits) noexcept nogil:
    """`bits` bits of probability 1/2, most significant first."""
    cdef uint32_t got = 0
    cdef uint64_t half
    cdef int i, bit
    for i in range(bits - 1, -1, -1):
        half = c.range >> 1
        if Coder is Encoder:
            bit = value >> i & 1
            if bit:
                c.range = half
            else:
                c.low += half
                c.range -= half
                if c.low < half:
                    carry(c)
            if unlikely(c.range >> 32 == 0):
                put_word(c)
        else:
            bit = c.code < half
            c.code -= 0 if bit else half
            c.range = half if bit else c.range - half
            if unlikely(c.range >> 32 == 0):
                take_word(c)
        got = got << 1 | bit
    return got


cdef inline uint32_t code_exp(Coder* c, uint32_t* states, uint32_t value) noexcept nogil:
    """An Exp-Golomb number of order 0 below 2^31 - 1: length in adaptive unary (31 estimators), the rest raw."""
    cdef int length = 0
    cdef uint32_t more = value + 1
    while True:
        if not code_bit(c, states + length, more >> (length + 1) != 0):
            break
        length += 1
        if length == 31:
            c.fault |= 2
            return 0
    return (<uint32_t>1 << length | code_raw(c, more & ((<uint32_t>1 << length) - 1), length)) - 1


cdef inline void start_encoder(Encoder* c, uint8_t* out, Py_ssize_t size, const uint32_t* rate) noexcept nogil:
    c.low = 0
    c.range = <uint64_t>0 - 1
    c.out = out
    c.at = 0
    c.size = size
    c.rate = rate
    c.fault = 0


cdef inline void finish_encoder(Encoder* c) noexcept nogil:
    """Write the fewest bytes that, followed by zeros, are a number inside the range; the lowest such number."""
    cdef int zeros, i
    cdef uint64_t mask, value
    for zeros in range(TAIL, -1, -1):
        mask = <uint64_t>0 - 1 if zeros == TAIL else (<uint64_t>1 << (8 * zeros)) - 1
        value = (c.low + mask) & ~mask
        if value - c.low < c.range:
            break
    if value < c.low:
        carry(c)
    if c.at + TAIL > c.size:
        c.fault = 1
        return
    for i in range(TAIL - zeros):
        c.out[c.at + i] = <uint8_t>(value >> (56 - 8 * i))
    c.at += TAIL - zeros


cdef inline void start_decoder(Decoder* c, const uint8_t* src, Py_ssize_t size, const uint32_t* rate) noexcept nogil:
    c.code = 0
    c.range = 0
    c.src = src
    c.at = 0
    c.size = size
    c.rate = rate
    c.fault = 0
    take_word(c)
    take_word(c)
    c.range = <uint64_t>0 - 1


cdef inline void finish_decoder(Decoder* c) noexcept nogil:
    """Set the fault if the stream is not the one that `finish_encoder` would have written."""
    cdef Py_ssize_t zeros = c.at - c.size
    cdef uint64_t above
    if zeros > TAIL:
        c.fault |= 1
    elif zeros < 0 or c.code >= c.range:
        c.fault |= 2
    elif zeros < TAIL:
        if c.code >> (8 * zeros) != 0 or c.src[c.size - 1] == 0:
            c.fault |= 2
        else:
            above = (<uint64_t>256 - c.src[c.size - 1]) << (8 * zeros)
            if (above != 0 or c.size == 0) and above < c.range - c.code:
                c.fault |= 2
