"""Least squares for the scale weights of the context coder; for the encoder, in floats."""

from libc.stdint cimport int32_t

cdef enum:
    FEATURES = 13


def moments(const int32_t[:, ::1] samples, const double[::1] preset, double[:, :, ::1] gram, double[:, ::1] right):
    """Add features x features and features x magnitude of each tap, weighted by 1 / expectation^2, to `gram` and `right`.

    samples: [n, FEATURES + 2]: the features, the magnitude (both in 1/256), the tap. preset: the weights that give the expectation.
    """
    cdef Py_ssize_t n, i, j, k, sets = gram.shape[0]
    cdef double expected, weight
    cdef double[FEATURES] f
    cdef bint fits = True
    if samples.shape[1] != FEATURES + 2 or gram.shape[1] != FEATURES or gram.shape[2] != FEATURES:
        raise ValueError("samples or moments of the wrong size")
    if len(preset) != FEATURES or right.shape[0] != sets or right.shape[1] != FEATURES:
        raise ValueError("samples or moments of the wrong size")
    with nogil:
        for n in range(samples.shape[0]):
            k = samples[n, FEATURES + 1] if sets > 1 else 0
            if not 0 <= k < sets:
                fits = False
                break
            expected = 12.8
            for i in range(FEATURES):
                f[i] = samples[n, i]
                expected += preset[i] * f[i]
            weight = 1 / (expected * expected)
            for i in range(FEATURES):
                for j in range(i + 1):
                    gram[k, i, j] += weight * f[i] * f[j]
                right[k, i] += weight * f[i] * samples[n, FEATURES]
        for k in range(sets):
            for i in range(FEATURES):
                for j in range(i):
                    gram[k, j, i] = gram[k, i, j]
    if not fits:
        raise ValueError("a tap outside the kernel")


def descend(const double[:, ::1] gram, const double[::1] right, double[::1] weights, int rounds):
    """Minimise w G w / 2 - b w over w >= 0 by coordinate descent, in place."""
    cdef Py_ssize_t i, j, size = len(weights)
    cdef double slope
    cdef int turn
    if gram.shape[0] != size or gram.shape[1] != size or len(right) != size:
        raise ValueError("moments and weights of different sizes")
    for turn in range(rounds):
        for i in range(size):
            if gram[i, i] <= 0:
                continue
            slope = -right[i]
            for j in range(size):
                slope += gram[i, j] * weights[j]
            weights[i] = max(0.0, weights[i] - slope / gram[i, i])
