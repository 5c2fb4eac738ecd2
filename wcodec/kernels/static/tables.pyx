"""The frequencies of the static coder's tables, computed from their hazards, and the look-up tables of the decoder.

Specification: `formats/wcz.md`.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from wcodec.kernels.static.lanes cimport SLOTS, SYMBOLS, ZERO

cdef enum:
    GROUP_COUNT = 24
    HAZARD = 63
    FIRST_HAZARD = 28           # the expected hazard of the first group of the first table: odds of 1/2
    MOST_CLASSES = 64
    ONE = 1 << 24
    EVENS = 1024                # odds of 1

GROUPS = GROUP_COUNT
"""The largest number of groups. The magnitudes of a group have one hazard. The first eight groups have one magnitude each; the others are
four an octave."""
MAX_HAZARD = HAZARD
MAX_CLASSES = MOST_CLASSES


cdef inline int expected(const uint8_t* own, int group, const uint8_t* before, int known) noexcept nogil:
    return before[group] if group < known else own[group - 1] if group else FIRST_HAZARD


cdef int check(const uint8_t[::1] groups, int quantisers, Py_ssize_t count) except -1:
    cdef Py_ssize_t table, total = 0
    if not 1 <= quantisers <= 2 or len(groups) % quantisers or len(groups) > MOST_CLASSES * quantisers:
        raise ValueError("tables that are not of so many classes")
    for table in range(len(groups)):
        if not 0 < groups[table] <= GROUP_COUNT:
            raise ValueError("groups outside their range")
        total += groups[table]
    if count != total:
        raise ValueError("hazards of another number")
    return 0


cdef inline int group_start(int group) noexcept nogil:
    return group if group < 8 else (4 + (group & 3)) << ((group >> 2) - 1)


def starts():
    """The first magnitude of every group, and the end of the last group."""
    return [group_start(group) for group in range(GROUPS + 1)]


def turn_differences(const uint8_t[::1] groups, int quantisers, const uint8_t[::1] hazards, uint32_t[::1] differences):
    """Set `differences` to hazards minus expected hazards, zigzag-coded. Inverse: `add_differences`.

    The expected hazard is that of the same group in the class before, or else that of the group before.
    """
    cdef Py_ssize_t table, at = 0, before
    cdef int group, difference
    cdef uint8_t[2 * MOST_CLASSES][GROUP_COUNT] hazard
    check(groups, quantisers, len(hazards))
    if len(differences) != len(hazards):
        raise ValueError("differences of another number")
    for table in range(len(groups)):
        before = table - quantisers if table >= quantisers else table - 1
        for group in range(groups[table]):
            hazard[table][group] = hazards[at]
            difference = hazards[at] - expected(hazard[table], group, hazard[before], groups[before] if before >= 0 else 0)
            differences[at] = 2 * difference if difference >= 0 else -2 * difference - 1
            at += 1


def add_differences(const uint8_t[::1] groups, int quantisers, const uint32_t[::1] differences, uint8_t[::1] hazards):
    """Set `hazards` from their differences. Returns False if a hazard is out of range. Inverse: `turn_differences`."""
    cdef Py_ssize_t table, at = 0, before
    cdef int group
    cdef int64_t value
    cdef uint8_t[2 * MOST_CLASSES][GROUP_COUNT] hazard
    check(groups, quantisers, len(hazards))
    if len(differences) != len(hazards):
        raise ValueError("differences of another number")
    for table in range(len(groups)):
        before = table - quantisers if table >= quantisers else table - 1
        for group in range(groups[table]):
            value = differences[at] >> 1
            value = -value - 1 if differences[at] & 1 else value
            value += expected(hazard[table], group, hazard[before], groups[before] if before >= 0 else 0)
            if not 0 <= value <= HAZARD:
                return False
            hazards[at] = hazard[table][group] = <uint8_t>value
            at += 1
    return True


def fill_frequencies(const uint8_t[::1] groups, const uint8_t[::1] hazards, uint16_t[:, ::1] frequencies):
    """Set frequencies[table, symbol].

    groups:  the number of groups of each table.
    hazards: of the groups of all tables, table by table. A hazard is the probability that a magnitude is not larger than one of the
             group if it is not smaller, as a logarithm of the odds in quarters of an octave.
    """
    cdef Py_ssize_t table, at = 0, tables = len(groups)
    cdef int group, magnitude, count, share, above, below, odds
    cdef uint64_t left
    if frequencies.shape[0] != tables or frequencies.shape[1] != SYMBOLS:
        raise ValueError("frequencies of the wrong shape")
    check(groups, 2 if tables % 2 == 0 else 1, len(hazards))
    for at in range(len(hazards)):
        if hazards[at] > HAZARD:
            raise ValueError("a hazard outside the range")
    at = 0
    with nogil:
        for table in range(tables):
            for magnitude in range(SYMBOLS):
                frequencies[table, magnitude] = 0
            count = group_start(groups[table])      # magnitudes that have symbols
            share = SLOTS // 2 - count
            left = ONE
            above = share
            magnitude = 0
            for group in range(groups[table]):
                odds = (4 + (hazards[at] & 3)) << (hazards[at] >> 2)
                at += 1
                while magnitude < group_start(group + 1):
                    left = left * EVENS // (EVENS + odds)
                    below = <int>(left * share >> 24)
                    if magnitude == 0:
                        frequencies[table, ZERO] = <uint16_t>(1 + 2 * (above - below))
                    else:
                        frequencies[table, ZERO + magnitude] = <uint16_t>(1 + above - below)
                        frequencies[table, ZERO - magnitude] = frequencies[table, ZERO + magnitude]
                    above = below
                    magnitude += 1
            frequencies[table, 0] = <uint16_t>(1 + 2 * above)


def fill_lookups(const uint16_t[:, ::1] frequencies, uint32_t[::1] lookups):
    """Set `lookups`: one byte for each of the 4096 slots of every table, its symbol; then, for each of the 256 symbols of every table,
    frequency << 16 | first slot."""
    cdef Py_ssize_t table, tables = frequencies.shape[0]
    cdef int symbol, slot, k, total
    cdef uint8_t* symbols
    cdef uint32_t* ranges
    if frequencies.shape[1] != SYMBOLS or len(lookups) != tables * (SLOTS // 4 + SYMBOLS) or tables == 0:
        raise ValueError("look-ups of the wrong size")
    for table in range(tables):
        total = 0
        for symbol in range(SYMBOLS):
            total += frequencies[table, symbol]
        if total != SLOTS:
            raise ValueError("frequencies that do not fill the slots")
    symbols, ranges = <uint8_t*>&lookups[0], &lookups[0] + tables * (SLOTS // 4)
    with nogil:
        for table in range(tables):
            slot = 0
            for symbol in range(SYMBOLS):
                ranges[table * SYMBOLS + symbol] = <uint32_t>frequencies[table, symbol] << 16 | slot
                for k in range(frequencies[table, symbol]):
                    symbols[table * SLOTS + slot + k] = <uint8_t>symbol
                slot += frequencies[table, symbol]
