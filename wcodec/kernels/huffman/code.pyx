"""Codeword lengths, how they are stored, and the canonical code they make (`entropy/huffman.py`)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    LIMIT = 12
    LONGER = 0  # what follows a 1 in the table of lengths, as two bits; a 0 is "as long as the one before"
    SHORTER = 1
    ABSENT = 2
    EXPLICIT = 3


def code_lengths(const int64_t[::1] counts, int limit, uint8_t[::1] lengths, int64_t[:, ::1] sums, uint8_t[:, ::1] leaf):
    """Optimal codeword lengths of at most `limit` bits: package-merge (Larmore and Hirschberg 1990).

    `counts` int64[m] ascends, 2 <= m <= 2**limit; `sums` int64[2, 2m] and `leaf` uint8[limit, 2m] are scratch.
    """
    cdef Py_ssize_t m = counts.shape[0], size = m, merged, i, j, take, leaves
    cdef int level, now = 0
    cdef int64_t package
    with nogil:
        for i in range(m):
            sums[0, i] = counts[i]
            leaf[0, i] = 1
            lengths[i] = 0
        for level in range(1, limit):
            merged = i = j = 0  # i: next leaf, j: next package; a leaf goes before a package of the same sum
            while i < m or 2 * j + 1 < size:
                if 2 * j + 1 < size:
                    package = sums[now, 2 * j] + sums[now, 2 * j + 1]
                else:
                    package = -1
                if i < m and (package < 0 or counts[i] <= package):
                    sums[1 - now, merged] = counts[i]
                    leaf[level, merged] = 1
                    i += 1
                else:
                    sums[1 - now, merged] = package
                    leaf[level, merged] = 0
                    j += 1
                merged += 1
            now = 1 - now
            size = merged
        take = 2 * m - 2
        for level in range(limit - 1, -1, -1):
            leaves = 0
            for i in range(take):
                leaves += leaf[level, i]
            for i in range(leaves):
                lengths[i] += 1
            take = 2 * (take - leaves)


cdef inline void put(uint8_t[::1] out, Py_ssize_t *at, uint32_t value, int bits):
    cdef int i
    for i in range(bits):
        if value >> i & 1:
            out[at[0] >> 3] |= <uint8_t>(1 << (at[0] & 7))
        at[0] += 1


cdef inline int get(const uint8_t[::1] payload, Py_ssize_t *at, int bits):
    """The next `bits` <= 30 bits, first one lowest; -1 where the payload ends."""
    cdef int i, value = 0
    if at[0] + bits > 8 * payload.shape[0]:
        return -1
    for i in range(bits):
        value |= (payload[at[0] >> 3] >> (at[0] & 7) & 1) << i
        at[0] += 1
    return value


def write_table(const uint8_t[::1] lengths, uint8_t[::1] out):
    """Writes the lengths of all tokens (0: absent) into zeroed `out`; returns its bytes. Inverse: `read_table`."""
    cdef Py_ssize_t at = 0, i = 0, run, n = lengths.shape[0]
    cdef int previous = 4, length, size
    while i < n:
        length = lengths[i]
        if length == 0:
            run = 1
            while i + run < n and lengths[i + run] == 0:
                run += 1
            size = 0
            while run >> (size + 1):
                size += 1
            put(out, &at, 1 | ABSENT << 1, 3)
            put(out, &at, (1 << size) - 1, size + 1)
            put(out, &at, <uint32_t>(run - (<Py_ssize_t>1 << size)), size)
            i += run
            continue
        if length == previous:
            put(out, &at, 0, 1)
        elif length == previous + 1:
            put(out, &at, 1 | LONGER << 1, 3)
        elif length == previous - 1:
            put(out, &at, 1 | SHORTER << 1, 3)
        else:
            put(out, &at, 1 | EXPLICIT << 1, 3)
            put(out, &at, length, 4)
        previous = length
        i += 1
    return (at + 7) >> 3


def read_table(const uint8_t[::1] payload, uint8_t[::1] lengths):
    """Reads lengths into zeroed `lengths` until they make a complete code. Inverse: `write_table`.

    Returns (bytes consumed, tokens); consumed is -1 where the payload ends early, -2 where the table is not valid.
    """
    cdef Py_ssize_t at = 0, token = 0
    cdef int previous = 4, kraft = 0, op, size, run
    while kraft < 1 << LIMIT:
        op = get(payload, &at, 1)
        if op == 1:
            op = get(payload, &at, 2)
            if op == ABSENT:
                size = 0
                run = get(payload, &at, 1)
                while run == 1 and size < 20:
                    size += 1
                    run = get(payload, &at, 1)
                if run == 1:
                    return -2, 0
                if run == 0:
                    run = get(payload, &at, size)
                if run < 0:
                    return -1, 0
                token += run + (1 << size)
                continue
            if op == LONGER:
                previous += 1
            elif op == SHORTER:
                previous -= 1
            elif op == EXPLICIT:
                previous = op = get(payload, &at, 4)
        if op < 0:
            return -1, 0
        if previous < 1 or previous > LIMIT or token >= lengths.shape[0]:
            return -2, 0
        lengths[token] = <uint8_t>previous
        token += 1
        kraft += 1 << (LIMIT - previous)
    if kraft > 1 << LIMIT:
        return -2, 0
    while at & 7:
        if get(payload, &at, 1) != 0:
            return -2, 0
    return at >> 3, token


def codewords(const uint8_t[::1] lengths, uint32_t[::1] codes):
    """The canonical code: codes[token] = codeword, first bit lowest, << 4 | its length; 0 for an absent token."""
    cdef int length, bit
    cdef uint32_t word = 0, turned
    cdef Py_ssize_t token
    for length in range(1, LIMIT + 1):
        word <<= 1
        for token in range(lengths.shape[0]):
            if lengths[token] == length:
                turned = 0
                for bit in range(length):
                    turned |= (word >> bit & 1) << (length - 1 - bit)
                codes[token] = turned << 4 | length
                word += 1


def fill_table(const uint32_t[::1] codes, int width, uint32_t[::1] table):
    """table[next `width` bits of a stream] = token << 4 | codeword length; `codes` is complete, `width` its longest."""
    cdef Py_ssize_t token
    cdef uint32_t length, at
    for token in range(codes.shape[0]):
        length = codes[token] & 15
        if length:
            at = codes[token] >> 4
            while at < 1U << width:
                table[at] = <uint32_t>token << 4 | length
                at += 1U << length
