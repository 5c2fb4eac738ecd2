"""Codeword lengths, their storage, and the canonical code (`codec/entropy/huffman.py`)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, qsort

cdef enum:
    LIMIT = 12
    LONGER = 0  # the two bits after a 1 in the table of lengths; a 0 means "the same length as before"
    SHORTER = 1
    ABSENT = 2
    EXPLICIT = 3


def code_lengths(const int64_t[::1] counts, int limit, uint8_t[::1] lengths, int64_t[:, ::1] sums, uint8_t[:, ::1] leaf):
    """Optimal codeword lengths of at most `limit` bits: package-merge (Larmore and Hirschberg 1990).

    `counts` int64[m] ascends, 2 <= m <= 2**limit; `sums` int64[2, 2m] and `leaf` uint8[limit, 2m] are scratch.
    """
    cdef Py_ssize_t m = counts.shape[0]
    if len(lengths) != m or m < 2 or sums.shape[0] != 2 or sums.shape[1] < 2 * m or leaf.shape[0] < limit or leaf.shape[1] < 2 * m:
        raise ValueError("lengths or scratch of the wrong size")
    with nogil:
        merge(&counts[0], m, limit, &lengths[0], &sums[0, 0], &sums[1, 0], &leaf[0, 0], leaf.shape[1])


cdef void merge(const int64_t* counts, Py_ssize_t m, int limit, uint8_t* lengths, int64_t* before, int64_t* after, uint8_t* leaf,
                Py_ssize_t width) noexcept nogil:
    """`code_lengths`; leaf[level * width + place]."""
    cdef Py_ssize_t size = m, merged, i, j, take, leaves
    cdef int level
    cdef int64_t package
    for i in range(m):
        before[i] = counts[i]
        leaf[i] = 1
        lengths[i] = 0
    for level in range(1, limit):
        merged = i = j = 0  # i: next leaf, j: next package; a leaf goes before a package of the same sum
        while i < m or 2 * j + 1 < size:
            if 2 * j + 1 < size:
                package = before[2 * j] + before[2 * j + 1]
            else:
                package = -1
            if i < m and (package < 0 or counts[i] <= package):
                after[merged] = counts[i]
                leaf[level * width + merged] = 1
                i += 1
            else:
                after[merged] = package
                leaf[level * width + merged] = 0
                j += 1
            merged += 1
        before, after = after, before
        size = merged
    take = 2 * m - 2
    for level in range(limit - 1, -1, -1):
        leaves = 0
        for i in range(take):
            leaves += leaf[level * width + i]
        for i in range(leaves):
            lengths[i] += 1
        take = 2 * (take - leaves)


cdef struct Token:
    int64_t count
    int64_t number


cdef int in_order(const void* a, const void* b) noexcept nogil:
    """Sort by count, then by number."""
    cdef const Token* one = <const Token*>a
    cdef const Token* other = <const Token*>b
    if one.count != other.count:
        return 1 if one.count > other.count else -1
    return 1 if one.number > other.number else -1


cdef int64_t bits_of_table(const Token* tokens, const uint8_t* lengths, Py_ssize_t m) noexcept nogil:
    """The number of bits that `write_table` writes for these tokens, which ascend; all others are absent."""
    cdef Py_ssize_t i
    cdef int64_t bits = 0, run, next_one = 0
    cdef int previous = 4
    for i in range(m):
        run = tokens[i].number - next_one
        next_one = tokens[i].number + 1
        if run:
            bits += 4
            while run > 1:
                bits += 2
                run >>= 1
        bits += 1 if lengths[i] == previous else 3 if -1 <= lengths[i] - previous <= 1 else 7
        previous = lengths[i]
    return bits


cdef struct Scratch:
    Token* tokens
    Token* sorted
    int64_t* counts
    int64_t* sums
    uint8_t* lengths
    uint8_t* ordered
    uint8_t* leaf


cdef int64_t bytes_of(const int64_t* symbols, const int64_t* counts, Py_ssize_t n, int precision, Scratch* own) noexcept nogil:
    """Bytes of table and bits of the optimal code of a precision, or -1 if there is none."""
    cdef Py_ssize_t i, m = 0
    cdef int64_t bits = 0, token
    cdef int raw
    for i in range(n):
        raw = 0
        while symbols[i] >> raw >> precision + 1:
            raw += 1
        token = (<int64_t>raw << precision) + (symbols[i] >> raw)
        if m == 0 or own.tokens[m - 1].number != token:
            own.tokens[m].number, own.tokens[m].count = token, 0
            m += 1
        own.tokens[m - 1].count += counts[i]
        bits += counts[i] * raw
    if not 2 <= m <= 1 << LIMIT:
        return -1
    for i in range(m):
        own.sorted[i].count, own.sorted[i].number = own.tokens[i].count, i
    qsort(own.sorted, m, sizeof(Token), in_order)
    for i in range(m):
        own.counts[i] = own.sorted[i].count
    merge(own.counts, m, LIMIT, own.ordered, own.sums, own.sums + 2 * n, own.leaf, 2 * n)
    for i in range(m):
        own.lengths[own.sorted[i].number] = own.ordered[i]
        bits += own.counts[i] * own.ordered[i]
    return (bits_of_table(own.tokens, own.lengths, m) + 7 >> 3) + (bits + 7 >> 3)


def best_precision(const int64_t[::1] symbols, const int64_t[::1] counts, int finest):
    """The precision up to `finest` with the smallest code, the highest of equals; -1 if there is no code.

    symbols: ascending and not negative; symbol i occurs counts[i] > 0 times. The table counts too, see `write_table`.
    """
    cdef Py_ssize_t n = len(symbols)
    cdef int precision, best = -1
    cdef int64_t size, least = -1
    cdef Scratch own
    if len(counts) != n or not 0 <= finest < LIMIT:
        raise ValueError("counts of other symbols, or a precision outside the range")
    if n < 2:
        return -1
    own.tokens = <Token*>malloc(n * (2 * sizeof(Token) + 5 * sizeof(int64_t) + 2 + 2 * LIMIT))
    if own.tokens == NULL:
        raise MemoryError
    own.sorted = own.tokens + n
    own.counts = <int64_t*>(own.sorted + n)
    own.sums = own.counts + n
    own.lengths = <uint8_t*>(own.sums + 4 * n)
    own.ordered = own.lengths + n
    own.leaf = own.ordered + n
    with nogil:
        for precision in range(finest, -1, -1):
            size = bytes_of(&symbols[0], &counts[0], n, precision, &own)
            if size >= 0 and (least < 0 or size < least):
                best, least = precision, size
    free(own.tokens)
    return best


cdef inline void put(uint8_t[::1] out, Py_ssize_t *at, uint32_t value, int bits):
    cdef int i
    for i in range(bits):
        if value >> i & 1:
            out[at[0] >> 3] |= <uint8_t>(1 << (at[0] & 7))
        at[0] += 1


cdef inline int get(const uint8_t[::1] payload, Py_ssize_t *at, int bits):
    """Read `bits` <= 30 bits, the first one lowest. Returns -1 if the payload ends."""
    cdef int i, value = 0
    if at[0] + bits > 8 * payload.shape[0]:
        return -1
    for i in range(bits):
        value |= (payload[at[0] >> 3] >> (at[0] & 7) & 1) << i
        at[0] += 1
    return value


def write_table(const uint8_t[::1] lengths, uint8_t[::1] out):
    """Write the lengths of all tokens (0: absent) into zeroed `out`; return its bytes. Inverse: `read_table`."""
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
    """Read lengths into zeroed `lengths` until they form a complete code. Inverse: `write_table`.

    Returns (bytes consumed, tokens); consumed is -1 if the payload ends early, -2 if the table is not valid.
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
