"""Loops over streams of symbols: signed levels as unsigned symbols, and fixed-width packing."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


def zigzag(const int32_t[::1] levels, uint32_t[::1] symbols):
    """0, -1, 1, -2, 2, ... become 0, 1, 2, 3, 4, ... Inverse: `unzigzag`."""
    cdef Py_ssize_t i, n = levels.shape[0]
    cdef int32_t level
    if symbols.shape[0] < n:
        raise IndexError("too little room for the symbols")
    with nogil:
        for i in range(n):
            level = levels[i]
            symbols[i] = (<uint32_t>level << 1) ^ <uint32_t>(level >> 31)


def unzigzag(const uint32_t[::1] symbols, int32_t[::1] levels):
    """Inverse of `zigzag`; returns the largest symbol."""
    cdef Py_ssize_t i, n = symbols.shape[0]
    cdef uint32_t symbol, most = 0
    if levels.shape[0] < n:
        raise IndexError("too little room for the levels")
    with nogil:
        for i in range(n):
            symbol = symbols[i]
            most = symbol if symbol > most else most
            levels[i] = <int32_t>((symbol >> 1) ^ (0 - (symbol & 1)))
    return most


def pack(const uint32_t[::1] symbols, int bits, uint8_t[::1] out):
    """Write each symbol in `bits` bits, lowest first, into exactly ceil(n * bits / 8) bytes. Inverse: `unpack`."""
    cdef Py_ssize_t i, at = 0
    cdef uint64_t word = 0
    cdef int fill = 0
    if out.shape[0] * 8 < symbols.shape[0] * bits:
        raise IndexError("too little room for the bits")
    with nogil:
        for i in range(symbols.shape[0]):
            word |= <uint64_t>symbols[i] << fill
            fill += bits
            while fill >= 8:
                out[at] = <uint8_t>word
                at += 1
                word >>= 8
                fill -= 8
        if fill:
            out[at] = <uint8_t>word


def unpack(const uint8_t[::1] payload, int bits, uint32_t[::1] symbols):
    """Inverse of `pack`; returns the remaining bits of the last byte (0 in a valid payload)."""
    cdef Py_ssize_t i, at = 0
    cdef uint64_t word = 0
    cdef uint32_t mask = <uint32_t>((<uint64_t>1 << bits) - 1)
    cdef int fill = 0
    if payload.shape[0] * 8 < symbols.shape[0] * bits:
        raise IndexError("the payload is too short")
    with nogil:
        for i in range(symbols.shape[0]):
            while fill < bits:
                word |= <uint64_t>payload[at] << fill
                at += 1
                fill += 8
            symbols[i] = <uint32_t>word & mask
            word >>= bits
            fill -= bits
    return word
