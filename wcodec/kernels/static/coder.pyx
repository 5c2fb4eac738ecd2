"""Eight interleaved rANS states over static tables (Duda 2013; Giesen 2014). They code the levels of a chunk as 16-bit words."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from wcodec.kernels.static.lanes cimport (
    LANES, PRECISION, SLOTS, SYMBOLS, ZERO, Walk, fill_next, first_row, follow, step_on, value_of,
)
from wcodec.kernels.static.lanes cimport begin as begin_walk
from wcodec.kernels.static.lanes_avx2 cimport StaticRow, static_can, static_row_avx2

cdef enum:
    LOWEST = 1 << 16            # a state is always in LOWEST .. 2^32 - 1

AVX2 = static_can() != 0
"""Whether `decode` with `wide` uses AVX2 instructions."""


cdef inline Py_ssize_t row_of_lanes(StaticRow* t, int lanes, const int* which, const Py_ssize_t* row, const uint32_t* codes, uint32_t* x,
                                    uint32_t* s, Py_ssize_t at, int32_t* values) noexcept nogil:
    """Decode one row of each of the lanes `which`, column by column. Returns the index of the next word, or -1 if there are too few
    words or escapes."""
    cdef Py_ssize_t j
    cdef int i, l, k, odd, symbol
    cdef uint32_t slot, range_, state, spare
    cdef int32_t level
    for j in range(t.n):
        if at > t.most:
            return -1
        for i in range(lanes):
            l = which[i]
            odd = s[l] & 1
            k = min(max(<int32_t>codes[l] + t.columns[j], 0), t.top) * t.quantisers + odd
            slot = x[l] & (SLOTS - 1)
            symbol = t.symbols[(k << PRECISION) + slot]
            range_ = t.ranges[(k << 8) + symbol]
            state = (range_ >> 16) * (x[l] >> PRECISION) + slot - (range_ & 0xFFFF)
            spare = <uint32_t>((<uint64_t>state - LOWEST) >> 32)    # all ones if the state is below LOWEST
            x[l] = state << (spare & 16) | (t.words[at] & spare)
            at += spare & 1
            level = symbol - ZERO
            if symbol == 0:
                if t.used == t.escapes:
                    return -1
                level = t.escaped[t.used]
                t.places[t.used] = 2 * (row[l] * t.n + j) + odd
                t.used += 1
            s[l] = t.after[2 * s[l] + (level & 1)]
            values[row[l] * t.n + j] = value_of(level, odd, t.quantisers > 1)
    return at


cdef Py_ssize_t all_rows(StaticRow* t, const uint8_t* rows, Py_ssize_t count, int first, bint wide, uint32_t* x, int32_t* values) noexcept nogil:
    """Decode all rows. Returns the number of words read, or -1."""
    cdef Py_ssize_t at = 0, step, least = count // LANES
    cdef Py_ssize_t[LANES] row
    cdef uint32_t[LANES] s
    cdef uint32_t[LANES] codes
    cdef int[LANES] which
    cdef int l, lanes
    for l in range(LANES):
        s[l] = 0
    for step in range(least + 1):
        lanes = 0
        for l in range(LANES):
            row[l] = first_row(count, l) + step
            if row[l] < first_row(count, l + 1):
                codes[l] = <uint32_t>(rows[row[l]] - first)
                which[lanes] = l
                lanes += 1
        if lanes == LANES and wide:
            at = static_row_avx2(t, row, codes, x, s, at, values)
        elif lanes == LANES:
            at = row_of_lanes(t, LANES, which, row, codes, x, s, at, values)
        elif lanes:
            at = row_of_lanes(t, lanes, which, row, codes, x, s, at, values)
        if at < 0:
            return -1
    return at


def decode(
    const uint16_t[::1] words, Py_ssize_t count, const uint32_t[::1] begin, const uint8_t[::1] rows, const uint16_t[::1] columns,
    int first, const uint32_t[::1] lookups, const int32_t[::1] escaped, int states, int32_t[:, ::1] values, bint wide=True,
):
    """Decode `count` words to `values`, integers in steps. Returns False if the words are not a valid coding. Inverse: `encode`.

    words:   at least eight more than `count`, which are not decoded.
    begin:   the initial states of the eight lanes.
    rows, columns, first: the codes of the scales of rows and columns, and that of the first class, see `encode`.
    lookups: the tables, see `fill_lookups`.
    escaped: the levels of the escapes, in the order of decoding.
    states:  of the trellis, 0 without one.
    wide:    use AVX2 if the processor has it.
    """
    cdef Py_ssize_t i, n = len(columns), tables = len(lookups) // (SLOTS // 4 + SYMBOLS), at
    cdef StaticRow t
    cdef uint8_t[256] after
    cdef uint32_t[LANES] x
    cdef int l
    cdef bint good = True
    if states not in (0, 4, 8, 128) or len(begin) != LANES or len(words) < count + LANES or not 0 <= first < 1 << 16:
        raise ValueError("unknown states, or lanes without them")
    if values.shape[0] != len(rows) or values.shape[1] != n or len(rows) == 0 or n == 0:
        raise ValueError("values of another shape than the scales")
    t.quantisers = 2 if states else 1
    if tables == 0 or tables % t.quantisers or len(lookups) != tables * (SLOTS // 4 + SYMBOLS):
        raise ValueError("look-ups of the wrong size")
    for i in range(n):
        if columns[i] > 1 << 14:
            raise ValueError("a column's code outside the range")
    for l in range(LANES):
        x[l] = begin[l]
        good = good and x[l] >= LOWEST
    t.places = <Py_ssize_t*>malloc((len(escaped) + 1) * sizeof(Py_ssize_t))
    if t.places == NULL:
        raise MemoryError
    t.symbols, t.ranges = <const uint8_t*>&lookups[0], &lookups[0] + tables * (SLOTS // 4)
    t.columns, t.words, t.n, t.most = &columns[0], &words[0], n, count
    t.top, t.states, t.after = <int>(tables // t.quantisers - 1), states, after
    t.escaped, t.escapes, t.used = &escaped[0] if len(escaped) else NULL, len(escaped), 0
    wide = wide and AVX2
    with nogil:
        memset(after, 0, sizeof(after))
        fill_next(states, after)
        at = all_rows(&t, &rows[0], values.shape[0], first, wide, x, &values[0, 0]) if good else -1
        good = at == count and t.used == t.escapes
        for l in range(LANES):
            good = good and x[l] == LOWEST
        for i in range(t.escapes if good else 0):
            (&values[0, 0])[t.places[i] >> 1] = value_of(escaped[i], <int>(t.places[i] & 1), states > 0)
    free(t.places)
    return good


cdef struct Scales:
    const uint8_t* rows         # [row] code of the row's scale
    const uint16_t* columns     # [column] code of the column's scale
    const uint32_t* ranges      # [table][symbol] frequency << 16 | first slot
    int first
    int top
    int quantisers


cdef struct Slots:
    # the slots of one symbol among the 4096 of its table; they determine how the symbol changes a state
    uint64_t inverse            # 2^44 / frequency, rounded up: state * inverse >> 44 is the exact quotient for every state
    uint32_t frequency
    uint32_t start


cdef inline Py_ssize_t symbols_of_row(const int32_t* levels, const uint8_t* odd, const Scales* scales, int own, Py_ssize_t n,
                                      uint16_t* symbols) noexcept nogil:
    """Set the symbols of a row, as table << 8 | symbol. Returns the number of escapes. own: the code of the row less the first class."""
    cdef Py_ssize_t j, escapes = 0
    cdef uint32_t table, level
    for j in range(n):
        table = <uint32_t>(min(max(own + scales.columns[j], 0), scales.top) * scales.quantisers + odd[j]) << 8
        level = <uint32_t>(levels[j] + ZERO)
        level = level if level < SYMBOLS else 0
        level = level if scales.ranges[table + level] >> 16 else 0
        escapes += level == 0
        symbols[j] = <uint16_t>(table + level)
    return escapes


cdef Py_ssize_t look_ahead(const int32_t* levels, const Scales* scales, int states, Py_ssize_t rows, Py_ssize_t n, uint8_t* odd,
                           uint16_t* symbols) noexcept nogil:
    """Set the symbols of all levels, see `symbols_of_row`. Returns the number of escapes. odd: a buffer of LANES * n bytes."""
    cdef Py_ssize_t escapes = 0, at
    cdef int i
    cdef Walk walk
    begin_walk(&walk, rows, states)
    while step_on(&walk):
        follow(&walk, levels, n, odd)
        for i in range(walk.lanes):
            at = walk.row[i] * n
            escapes += symbols_of_row(levels + at, odd + i * n, scales, scales.rows[walk.row[i]] - scales.first, n, symbols + at)
    return escapes


cdef void fill_slots(const uint32_t* ranges, Py_ssize_t tables, Slots* slots) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(tables * SYMBOLS):
        slots[i].frequency, slots[i].start = ranges[i] >> 16, ranges[i] & 0xFFFF
        slots[i].inverse = ((<uint64_t>1 << 44) + slots[i].frequency - 1) // max(slots[i].frequency, 1)


cdef inline Py_ssize_t put_row(const Slots* slots, int lanes, const int* which, const Py_ssize_t* row, Py_ssize_t n, const uint16_t* symbols,
                               uint32_t* x, uint16_t* words, Py_ssize_t left) noexcept nogil:
    """Encode one row of each of the lanes `which`, backwards from the last column. Returns the index of the word written last."""
    cdef Py_ssize_t j
    cdef int i
    cdef uint32_t state, full
    cdef const Slots* slot
    for j in range(n - 1, -1, -1):
        for i in range(lanes - 1, -1, -1):
            slot = slots + symbols[row[i] * n + j]
            state = x[which[i]]
            full = state >= <uint64_t>slot.frequency << (32 - PRECISION)
            words[left - 1] = <uint16_t>state       # is not counted unless the state is full
            left -= full
            state >>= full << 4
            x[which[i]] = state + <uint32_t>(<uint64_t>state * slot.inverse >> 44) * (SLOTS - slot.frequency) + slot.start
    return left


cdef Py_ssize_t put_words(const Slots* slots, Py_ssize_t rows, Py_ssize_t n, const uint16_t* symbols, uint32_t* x, uint16_t* words,
                          Py_ssize_t room) noexcept nogil:
    """Write the words, backwards from words + room; `room` is at least the number of levels. Returns the number of words."""
    cdef Py_ssize_t t, left = room
    cdef Walk walk
    begin_walk(&walk, rows, 0)
    for t in range(rows // LANES, -1, -1):
        walk.step = t - 1
        if step_on(&walk):
            if walk.lanes == LANES:
                left = put_row(slots, LANES, walk.which, walk.row, n, symbols, x, words, left)
            else:
                left = put_row(slots, walk.lanes, walk.which, walk.row, n, symbols, x, words, left)
    return room - left


cdef void list_escapes(const int32_t* levels, Py_ssize_t rows, Py_ssize_t n, const uint16_t* symbols, int32_t* escaped) noexcept nogil:
    cdef Py_ssize_t t, j, at, count = 0
    cdef int l
    for t in range(rows // LANES + 1):
        for j in range(n):
            for l in range(LANES):
                at = first_row(rows, l) + t
                if at < first_row(rows, l + 1) and symbols[at * n + j] & 0xFF == 0:
                    escaped[count] = levels[at * n + j]
                    count += 1


def encode(
    const int32_t[:, ::1] levels, const uint8_t[::1] rows, const uint16_t[::1] columns, int first, const uint32_t[::1] lookups, int states,
    uint16_t[::1] words, uint32_t[::1] begin, int32_t[::1] escaped,
):
    """Encode the levels. Returns the number of words and of escapes. Inverse: `decode`.

    rows, columns, first: the class of a level is rows[row] + columns[column] - first, limited to the range of classes.
    lookups: the tables, see `fill_lookups`. states: of the trellis, 0 without one.
    words:   gets the words at its end; has at least as many elements as there are levels.
    begin:   gets the states from which decoding starts.
    escaped: gets the levels of the escapes, in the order of decoding. If there are more escapes than elements, nothing is written.
    """
    cdef Py_ssize_t i, n = len(columns), size = levels.shape[0] * levels.shape[1], escapes, count = 0
    cdef Py_ssize_t tables = len(lookups) // (SLOTS // 4 + SYMBOLS)
    cdef Scales scales
    cdef uint16_t* symbols
    cdef uint8_t* odd
    cdef Slots* slots
    cdef int l
    if states not in (0, 4, 8, 128) or len(begin) != LANES or len(words) < size:
        raise ValueError("unknown states, or no room")
    if levels.shape[0] != len(rows) or levels.shape[1] != n or size == 0:
        raise ValueError("levels of another shape than the scales")
    scales.quantisers = 2 if states else 1
    if not 0 < tables <= 128 or tables % scales.quantisers or len(lookups) != tables * (SLOTS // 4 + SYMBOLS):
        raise ValueError("look-ups of the wrong size")
    scales.ranges = &lookups[0] + tables * (SLOTS // 4)
    for i in range(tables):
        if scales.ranges[i * SYMBOLS] >> 16 == 0:
            raise ValueError("a table without an escape")
    slots = <Slots*>malloc(tables * SYMBOLS * sizeof(Slots) + 2 * size + LANES * n)
    if slots == NULL:
        raise MemoryError
    symbols = <uint16_t*>(slots + tables * SYMBOLS)
    odd = <uint8_t*>(symbols + size)
    scales.rows, scales.columns, scales.first, scales.top = &rows[0], &columns[0], first, <int>(tables // scales.quantisers - 1)
    with nogil:
        escapes = look_ahead(&levels[0, 0], &scales, states, levels.shape[0], n, odd, symbols)
        if escapes <= len(escaped):
            for l in range(LANES):
                begin[l] = LOWEST
            fill_slots(scales.ranges, tables, slots)
            count = put_words(slots, levels.shape[0], n, symbols, &begin[0], &words[0], len(words))
            if escapes:
                list_escapes(&levels[0, 0], levels.shape[0], n, symbols, &escaped[0])
    free(slots)
    return count, escapes
