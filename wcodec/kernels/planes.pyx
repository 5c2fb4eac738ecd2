"""Loops that split words into byte planes (`codec/lossless/byte_planes.py`)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

ctypedef fused word_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t


def split(const word_t[::1] words, uint8_t[:, ::1] planes, bint rotated=True):
    """planes[k, i] = byte k, lowest first, of words[i], rotated left by one bit or not. Inverse: `join`, `weave`."""
    cdef Py_ssize_t i, k, n = words.shape[0], size = sizeof(word_t)
    cdef word_t word
    cdef uint8_t *p
    if planes.shape[0] != size or planes.shape[1] != n:
        raise IndexError("the planes do not fit the words")
    if n == 0:
        return
    p = &planes[0, 0]
    with nogil:
        if not rotated:
            for i in range(n):
                for k in range(<Py_ssize_t>sizeof(word_t)):
                    p[k * n + i] = <uint8_t>(words[i] >> (8 * k))
        else:
            for i in range(n):
                word = words[i]
                word = <word_t>(word << 1 | word >> (8 * sizeof(word_t) - 1))
                for k in range(<Py_ssize_t>sizeof(word_t)):
                    p[k * n + i] = <uint8_t>(word >> (8 * k))


def join(const uint8_t[:, ::1] planes, word_t[::1] words):
    """Inverse: `split`."""
    cdef Py_ssize_t i, k, n = words.shape[0], size = sizeof(word_t)
    cdef word_t word
    cdef const uint8_t *p
    if planes.shape[0] != size or planes.shape[1] != n:
        raise IndexError("the planes do not fit the words")
    if n == 0:
        return
    p = &planes[0, 0]
    with nogil:
        for i in range(n):
            word = 0
            for k in range(<Py_ssize_t>sizeof(word_t)):
                word |= <word_t>p[k * n + i] << (8 * k)
            words[i] = <word_t>(word >> 1 | word << (8 * sizeof(word_t) - 1))


def weave(planes, word_t[::1] words, bint rotated):
    """Join separate planes: a sequence of one uint8[words] for each byte of a word. Inverse: `split`."""
    cdef Py_ssize_t i, k, n = words.shape[0], size = sizeof(word_t)
    cdef word_t word
    cdef const uint8_t[::1] plane
    cdef const uint8_t *p[8]
    if len(planes) != size or n == 0:
        raise IndexError("the planes do not fit the words")
    for k in range(size):
        plane = planes[k]
        if plane.shape[0] != n:
            raise IndexError("a plane does not fit the words")
        p[k] = &plane[0]
    with nogil:
        if not rotated:
            for i in range(n):
                word = 0
                for k in range(<Py_ssize_t>sizeof(word_t)):
                    word |= <word_t>p[k][i] << (8 * k)
                words[i] = word
        else:
            for i in range(n):
                word = 0
                for k in range(<Py_ssize_t>sizeof(word_t)):
                    word |= <word_t>p[k][i] << (8 * k)
                words[i] = <word_t>(word >> 1 | word << (8 * sizeof(word_t) - 1))
