"""Loops of the relative index (`codec/entropy/sparse.py`)."""

from libc.stdint cimport int32_t, int64_t, uint32_t


def zero_runs(const int32_t[::1] levels, uint32_t[::1] runs):
    """runs[k] = the number of zeros directly before the k-th survivor; returns the number of survivors. `runs` is as long as `levels`."""
    cdef Py_ssize_t i, n = levels.shape[0], survivors = 0, before = 0
    if runs.shape[0] < n:
        raise IndexError("too little room for the runs")
    with nogil:
        for i in range(n):
            if levels[i] != 0:
                runs[survivors] = <uint32_t>(i - before)
                survivors += 1
                before = i + 1
    return survivors


def sparsify(const int32_t[::1] levels, int gap_bits, uint32_t[::1] gaps, uint32_t[::1] codes):
    """Write one entry for each survivor, and a filler (longest gap, code 0) for each 2**gap_bits zeros; return their number.

    Inverse: `densify`.
    """
    cdef Py_ssize_t i, n = levels.shape[0], entries = 0, room = min(gaps.shape[0], codes.shape[0])
    cdef uint32_t gap = 0, longest = (1U << gap_bits) - 1, fillers = 0
    cdef int32_t level
    cdef bint ok = True
    with nogil:
        for i in range(n):
            level = levels[i]
            if level == 0:
                if gap == longest:
                    fillers += 1
                    gap = 0
                else:
                    gap += 1
                continue
            if entries + fillers >= room:
                ok = False
                break
            while fillers:
                gaps[entries] = longest
                codes[entries] = 0
                entries += 1
                fillers -= 1
            gaps[entries] = gap
            codes[entries] = (<uint32_t>level << 1) ^ <uint32_t>(level >> 31)
            entries += 1
            gap = 0
    if not ok:
        raise IndexError("too little room for the entries")
    return entries


def densify(const uint32_t[::1] gaps, const uint32_t[::1] codes, int gap_bits, int32_t[::1] levels):
    """Write the survivors into zeroed `levels`; return -1, or the index of the first entry that is not valid.

    Not valid: a gap beyond the longest or the end, a code beyond 2**31 - 2, a filler that is shorter or the last entry.
    Inverse: `sparsify`.
    """
    cdef Py_ssize_t i, entries = gaps.shape[0], at = 0, n = levels.shape[0], bad = -1
    cdef uint32_t code, longest = (1U << gap_bits) - 1
    if codes.shape[0] != entries:
        raise IndexError("as many gaps as codes are needed")
    with nogil:
        for i in range(entries):
            code = codes[i]
            at += gaps[i]
            if gaps[i] > longest or at >= n or code > 0x7FFFFFFEU:
                bad = i
                break
            if code == 0 and (gaps[i] != longest or i == entries - 1):
                bad = i
                break
            levels[at] = <int32_t>((code >> 1) ^ (0 - (code & 1)))
            at += 1
    return bad
