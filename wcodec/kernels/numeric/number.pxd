"""The parts of a number (sign, exponent, mantissa) in the lossless coder, and its raw bits.

Specification: `formats/wcz.md`, section 9.1.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #ifdef _MSC_VER
    #include <intrin.h>
    static __inline int wcodec_length(unsigned long long x) { unsigned long at; return _BitScanReverse64(&at, x) ? (int)at + 1 : 0; }
    static __inline int wcodec_zeros(unsigned long long x) { unsigned long at; _BitScanForward64(&at, x); return (int)at; }
    #else
    static inline int wcodec_length(unsigned long long x) { return x ? 64 - __builtin_clzll(x) : 0; }
    static inline int wcodec_zeros(unsigned long long x) { return __builtin_ctzll(x); }
    #endif
    """
    int bit_length "wcodec_length" (uint64_t x) noexcept nogil
    int trailing_zeros "wcodec_zeros" (uint64_t x) noexcept nogil  # x > 0

ctypedef fused word_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t

cdef enum:
    CENTRE = 10         # bits of the scaled magnitude of a number of the middle exponent
    CAP = 16383         # the largest scaled magnitude


cdef struct Kind:
    int bits            # of a word
    int exponent_bits   # 0: integers
    int mantissa_bits
    int middle          # the exponent of a usual number
    uint64_t offset     # integers: the value that stands for zero


cdef struct Number:
    int negative
    int exponent        # the field of a float; of an integer, the bits of its magnitude
    int digits          # of the mantissa
    uint64_t mantissa


cdef inline Number split_word(const Kind* kind, uint64_t word) noexcept nogil:
    """Inverse: `join_word`."""
    cdef Number x
    cdef uint64_t top
    if kind.exponent_bits:
        x.digits = kind.mantissa_bits
        x.mantissa = word & ((<uint64_t>1 << x.digits) - 1)
        x.exponent = <int>(word >> x.digits) & ((1 << kind.exponent_bits) - 1)
        x.negative = <int>(word >> (kind.bits - 1))
        return x
    top = <uint64_t>1 << (kind.bits - 1)
    word = (word - kind.offset) & (2 * top - 1)
    x.negative = word >= top
    if x.negative:
        word = (0 - word) & (2 * top - 1)
    x.exponent = bit_length(word)
    x.digits = max(x.exponent - 1, 0)
    x.mantissa = word & ((<uint64_t>1 << x.digits) - 1) if word else 0
    return x


cdef inline uint64_t join_word(const Kind* kind, Number x) noexcept nogil:
    """Inverse: `split_word`."""
    cdef uint64_t word
    if kind.exponent_bits:
        return <uint64_t>x.negative << (kind.bits - 1) | <uint64_t>x.exponent << kind.mantissa_bits | x.mantissa
    word = <uint64_t>1 << x.digits | x.mantissa if x.exponent else 0
    return (0 - word if x.negative else word) + kind.offset


cdef inline int scaled(const Kind* kind, Number x) noexcept nogil:
    """The magnitude in units that give the middle exponent CENTRE bits; rounded down, at most CAP."""
    cdef uint64_t whole
    cdef int shift = x.digits - (x.exponent - kind.middle + CENTRE - 1)
    if kind.exponent_bits and not x.exponent:
        whole = x.mantissa << 1
    else:
        whole = <uint64_t>1 << x.digits | x.mantissa if x.exponent else 0
    if shift >= 0:
        whole = whole >> shift if shift < 64 else 0
    elif whole:
        whole = CAP if shift < -14 or whole > CAP else whole << -shift
    return <int>min(whole, <uint64_t>CAP)


cdef struct Raw:
    uint8_t* bytes
    Py_ssize_t size
    Py_ssize_t bit
    uint64_t word       # for the writer: the bits not written yet,
    int fill            # and how many they are, 0 to 7
    int fault           # 1: out of room, or ended early


cdef inline void put_bits(Raw* raw, uint64_t value, int bits) noexcept nogil:
    """At most 56 bits. Inverse: `take_bits`."""
    cdef Py_ssize_t at = raw.bit >> 3
    if at + 8 > raw.size:
        raw.fault = 1
        return
    raw.word |= value << raw.fill
    raw.fill += bits
    raw.bit += bits
    memcpy(raw.bytes + at, &raw.word, 8)
    raw.word >>= raw.fill & ~7
    raw.fill &= 7


cdef inline uint64_t take_bits(Raw* raw, int bits) noexcept nogil:
    """Inverse: `put_bits`."""
    cdef Py_ssize_t at = raw.bit >> 3, i
    cdef uint64_t word = 0
    if at + 8 <= raw.size:
        memcpy(&word, raw.bytes + at, 8)
    else:
        for i in range(at, raw.size):
            word |= <uint64_t>raw.bytes[i] << (8 * (i - at))
        if raw.bit + bits > 8 * raw.size:
            raw.fault = 1
            return 0
    word >>= raw.bit & 7
    raw.bit += bits
    return word & ((<uint64_t>1 << bits) - 1)


cdef inline void put_wide(Raw* raw, uint64_t value, int bits) noexcept nogil:
    """At most 64 bits. Inverse: `take_wide`."""
    if bits > 56:
        put_bits(raw, value & <uint32_t>0xFFFFFFFF, 32)
        value >>= 32
        bits -= 32
    put_bits(raw, value, bits)


cdef inline uint64_t take_wide(Raw* raw, int bits) noexcept nogil:
    """Inverse: `put_wide`."""
    cdef uint64_t low
    if bits <= 56:
        return take_bits(raw, bits)
    low = take_bits(raw, 32)
    return take_bits(raw, bits - 32) << 32 | low
