"""Loops of the Huffman coder (`codec/entropy/huffman.py`).

A symbol is split into a token (its leading `precision` + 1 bits and their place) and the raw bits below; tokens are
Huffman coded, raw bits are not. Bit i of a bitstream is bit i % 8 of byte i // 8; codewords start with their highest bit.
Arrays read as bitstreams end in at least 8 bytes of padding, which no valid stream consumes.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

ctypedef fused symbol_t:
    uint8_t
    uint32_t

cdef extern from *:
    """
    #ifdef _MSC_VER
    #include <intrin.h>
    static __inline int wcodec_top_bit(unsigned int x) { unsigned long at; _BitScanReverse(&at, x); return (int)at; }
    #else
    static inline int wcodec_top_bit(unsigned int x) { return 31 - __builtin_clz(x); }
    #endif
    """
    int top_bit "wcodec_top_bit" (uint32_t symbol) nogil  # place of the highest 1; symbol > 0


cdef inline uint32_t token_of(uint32_t symbol, int precision) noexcept nogil:
    cdef int raw
    if not symbol >> (precision + 1):
        return symbol
    raw = top_bit(symbol) - precision
    return (<uint32_t>raw << precision) + (symbol >> raw)


def histogram(const symbol_t[::1] symbols, int precision, int64_t[:, ::1] counts):
    """Count tokens in two tables, which the caller adds (with one, a run of a token would wait for its counter).

    `counts` is int64[2, tokens]; the caller made it long enough for the largest symbol.
    """
    cdef Py_ssize_t i, n = symbols.shape[0], even = n & ~<Py_ssize_t>1, tokens = counts.shape[1]
    cdef uint32_t a, b
    cdef const symbol_t *source
    cdef int64_t *first
    cdef int64_t *second
    cdef bint ok = True
    if n == 0 or counts.shape[0] != 2 or tokens == 0:
        raise IndexError("symbols and two tables of counts are needed")
    source, first, second = &symbols[0], &counts[0, 0], &counts[1, 0]
    with nogil:
        for i in range(0, even, 2):
            a = token_of(source[i], precision)
            b = token_of(source[i + 1], precision)
            if a >= tokens or b >= tokens:
                ok = False
                break
            first[a] += 1
            second[b] += 1
        if ok and even < n:
            a = token_of(source[even], precision)
            ok = a < tokens
            if ok:
                first[a] += 1
    if not ok:
        raise IndexError("a token lies outside the table of counts")


def encode(const symbol_t[::1] symbols, int precision, const uint32_t[::1] codes, uint8_t[::1] out):
    """Write the codewords of the tokens; return the bytes used. `out` has 8 bytes more than needed. Inverse: `decode`."""
    cdef Py_ssize_t i = 0, n = symbols.shape[0], at = 0, room = out.shape[0] - 8, tokens = codes.shape[0]
    cdef Py_ssize_t fours = n & ~<Py_ssize_t>3, k
    cdef uint64_t word = 0
    cdef uint32_t code, token
    cdef int fill = 0
    cdef const symbol_t *source
    cdef const uint32_t *words
    cdef uint8_t *sink
    cdef bint ok = True
    if n == 0 or tokens == 0 or room < 0:
        raise IndexError("symbols, codewords and room are needed")
    source, words, sink = &symbols[0], &codes[0], &out[0]
    with nogil:
        while i < fours:
            for k in range(i, i + 4):
                token = token_of(source[k], precision)
                ok = ok and token < tokens
                code = words[token if token < tokens else 0]
                word |= <uint64_t>(code >> 4) << fill
                fill += code & 15
            i += 4
            if at > room or not ok:
                ok = False
                break
            memcpy(sink + at, &word, 8)
            at += fill >> 3
            word >>= fill & ~7
            fill &= 7
        while i < n and ok:
            token = token_of(source[i], precision)
            ok = token < tokens and at <= room
            if ok:
                word |= <uint64_t>(words[token] >> 4) << fill
                fill += words[token] & 15
                memcpy(sink + at, &word, 8)
                at += fill >> 3
                word >>= fill & ~7
                fill &= 7
            i += 1
    if not ok:
        raise IndexError("a token without a codeword, or too little room")
    return at + (fill > 0)


def encode_raw(const uint32_t[::1] symbols, int precision, uint8_t[::1] out):
    """Write the raw bits of symbols whose token has some; return the bytes used. Inverse: `decode_raw`."""
    cdef Py_ssize_t i, at = 0, room = out.shape[0] - 8
    cdef uint64_t word = 0
    cdef uint32_t symbol
    cdef int fill = 0, raw
    cdef bint ok = True
    with nogil:
        for i in range(symbols.shape[0]):
            symbol = symbols[i]
            if symbol >> (precision + 1):
                raw = top_bit(symbol) - precision
                word |= <uint64_t>(symbol & ((1U << raw) - 1)) << fill
                fill += raw
                if at > room:
                    ok = False
                    break
                memcpy(&out[at], &word, 8)
                at += fill >> 3
                word >>= fill & ~7
                fill &= 7
    if not ok:
        raise IndexError("too little room")
    return at + (fill > 0)


cdef inline uint64_t load(const uint8_t *payload, Py_ssize_t bit) noexcept nogil:
    """At least 57 bits of the stream from `bit` on."""
    cdef uint64_t word
    memcpy(&word, payload + (bit >> 3), 8)
    return word >> (bit & 7)


cdef Py_ssize_t decode_run(const uint8_t *payload, Py_ssize_t last, Py_ssize_t bit, const uint32_t *table, uint32_t mask,
                           symbol_t *out, Py_ssize_t n) noexcept nogil:
    """Decode `n` tokens from `bit` on; return the bit after them, or -1 if a load would start after byte `last`."""
    cdef Py_ssize_t i
    cdef uint32_t entry
    for i in range(n):
        if bit >> 3 > last:
            return -1
        entry = table[load(payload, bit) & mask]
        out[i] = <symbol_t>(entry >> 4)
        bit += entry & 15
    return bit


def decode(const uint8_t[::1] payload, int64_t[::1] bits, const uint32_t[::1] table, symbol_t[::1] out):
    """Decode `out`, divided into as many equal runs (the last one shorter) as there are `bits`: the first bit of each stream.

    Sets bits[k] to the bit after stream k, or to -1 if it left the payload. `table` has 2**width entries.
    Inverse: `encode`.
    """
    cdef Py_ssize_t n = out.shape[0], streams = bits.shape[0], quarter = (n + streams - 1) // streams
    cdef Py_ssize_t last = payload.shape[0] - 8, done = 0, blocks, k
    cdef Py_ssize_t a, b, c, d
    cdef uint64_t u, v, w, x
    cdef uint32_t mask = <uint32_t>table.shape[0] - 1, e, f, g, h
    cdef const uint8_t *source
    cdef const uint32_t *entries
    cdef symbol_t *o
    cdef symbol_t *p
    cdef symbol_t *q
    cdef symbol_t *r
    if n == 0 or last < 0 or (streams - 1) * quarter > n or table.shape[0] & mask:
        raise IndexError("streams and arrays do not fit each other")
    for k in range(streams):
        if bits[k] < 0 or bits[k] >> 3 > last:
            raise IndexError("a stream starts outside the payload")
    source = &payload[0]
    entries = &table[0]
    o = &out[0]
    with nogil:
        if streams == 4:
            a, b, c, d = bits[0], bits[1], bits[2], bits[3]
            p, q, r = o + quarter, o + 2 * quarter, o + 3 * quarter
            blocks = (n - 3 * quarter) & ~<Py_ssize_t>3
            while done < blocks and a >> 3 <= last and b >> 3 <= last and c >> 3 <= last and d >> 3 <= last:
                u = load(source, a)
                v = load(source, b)
                w = load(source, c)
                x = load(source, d)
                for k in range(done, done + 4):
                    e = entries[u & mask]
                    f = entries[v & mask]
                    g = entries[w & mask]
                    h = entries[x & mask]
                    o[k] = <symbol_t>(e >> 4)
                    p[k] = <symbol_t>(f >> 4)
                    q[k] = <symbol_t>(g >> 4)
                    r[k] = <symbol_t>(h >> 4)
                    e &= 15
                    f &= 15
                    g &= 15
                    h &= 15
                    u >>= e
                    v >>= f
                    w >>= g
                    x >>= h
                    a += e
                    b += f
                    c += g
                    d += h
                done += 4
            bits[0], bits[1], bits[2], bits[3] = a, b, c, d
        for k in range(streams):
            bits[k] = decode_run(source, last, bits[k], entries, mask, o + k * quarter + done,
                                 (quarter if k < streams - 1 else n - k * quarter) - done)


def decode_raw(uint32_t[::1] symbols, int precision, const uint8_t[::1] payload, Py_ssize_t start):
    """Convert tokens to symbols in place, with raw bits from byte `start` on.

    Returns the bit after the last one; -1 if the payload ends early. Inverse: `encode_raw`.
    """
    cdef Py_ssize_t i = 0, k, n = symbols.shape[0], bit = 8 * start, last = payload.shape[0] - 8
    cdef uint32_t token, raw, every, low = (1U << precision) - 1
    cdef uint32_t *at
    cdef bint ok = True
    if start < 0:
        raise IndexError("the raw bits start outside the payload")
    if n == 0:
        return bit
    at = &symbols[0]
    with nogil:
        while i < n and ok:
            if i + 16 <= n:         # most blocks have no token with raw bits
                every = 0
                for k in range(16):
                    every |= at[i + k]
                if every >> precision < 2:
                    i += 16
                    continue
            for k in range(i, min(i + 16, n)):
                token = at[k]
                raw = token >> precision
                if raw > 1:
                    raw -= 1
                    if raw > 31 or bit >> 3 > last:
                        ok = False
                        break
                    at[k] = ((token & low) + low + 1) << raw | <uint32_t>(load(&payload[0], bit) & ((1U << raw) - 1))
                    bit += raw
            i += 16
    return bit if ok else -1
