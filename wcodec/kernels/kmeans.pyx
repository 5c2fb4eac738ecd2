"""Loops of one-dimensional k-means over sorted weights (`codec/quantizers/kmeans.py`)."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    BLOCK = 64


def anchor(const float[::1] ordered, Py_ssize_t middle, double[::1] sums):
    """sums[b] = sum(ordered[middle : 64 b]), negative sums before `middle`, for later `range_sum`s.

    The sums start from the weights nearest to 0, so that an outlier of 1e30 does not absorb the others.
    `sums` has ceil(n / 64) + 1 entries; the last one stands for n.
    """
    cdef Py_ssize_t b, i, n = ordered.shape[0], blocks = (n + BLOCK - 1) // BLOCK
    cdef Py_ssize_t home = middle // BLOCK
    cdef double total = 0
    if sums.shape[0] != blocks + 1 or not 0 <= middle <= n:
        raise IndexError("the table of sums does not fit the weights")
    with nogil:
        i = middle
        for b in range(home + 1, blocks + 1):
            while i < min(b * BLOCK, n):
                total += ordered[i]
                i += 1
            sums[b] = total
        total = 0
        i = middle
        for b in range(home, -1, -1):
            while i > b * BLOCK:
                i -= 1
                total -= ordered[i]
            sums[b] = total


cdef double sum_to(const float[::1] ordered, Py_ssize_t middle, const double[::1] sums, Py_ssize_t i) noexcept nogil:
    """sum(ordered[middle : i]), negative before `middle`; always from the anchor nearer to 0."""
    cdef Py_ssize_t b = i // BLOCK, j
    cdef double total
    if i >= middle:
        if b * BLOCK < middle:
            total, j = 0, middle
        else:
            total, j = sums[b], b * BLOCK
        while j < i:
            total += ordered[j]
            j += 1
        return total
    b += 1
    if b * BLOCK > middle:
        total, j = 0, middle
    else:
        total, j = sums[b], b * BLOCK
    while j > i:
        j -= 1
        total -= ordered[j]
    return total


cdef Py_ssize_t rank(const float[::1] ordered, double bound, Py_ssize_t low) noexcept nogil:
    """How many weights are <= bound; at least `low`."""
    cdef Py_ssize_t high = ordered.shape[0], between
    while low < high:
        between = (low + high) >> 1
        if ordered[between] <= bound:
            low = between + 1
        else:
            high = between
    return low


cdef double log2_of(double x) noexcept nogil:
    """log2 by rounded IEEE operations alone, so that every machine gets the same codebook; x >= 1."""
    cdef double whole = 0, t, u, power, total
    cdef int k
    while x >= 1.4142135623730951:
        x *= 0.5
        whole += 1
    t = (x - 1) / (x + 1)
    u = t * t
    power = t
    total = 0
    for k in range(14):
        total += power / (2 * k + 1)
        power *= u
    return whole + 2 * total * 1.4426950408889634


def lloyd(const float[::1] ordered, Py_ssize_t middle, const double[::1] sums, double[::1] centroids, int64_t[::1] starts,
          double[::1] prices, Py_ssize_t fixed, int64_t zeros, double rate, int rounds):
    """Lloyd's rounds until no centroid moves; returns the remaining number of clusters.

    ordered:   float32[n], ascending; `middle` and `sums` from `anchor`.
    centroids: float64[k], ascending, in and out; starts: int64[k + 1], starts[j] is the first weight of cluster j.
    prices:    float64[k], rate * bits of each cluster, in and out. If rate > 0 (entropy-constrained: Chou, Lookabaugh
               and Gray 1989) clusters without members are removed; if it is 0 they stay.
    fixed:     the centroid that stays at 0.0 and also owns `zeros` weights outside `ordered`; -1 for none.
    Its index may change. It is removed if it is cheapest for no weight.
    """
    cdef Py_ssize_t n = ordered.shape[0], k = centroids.shape[0], j, kept, first
    cdef int turn
    cdef int64_t members
    cdef bint moved
    if starts.shape[0] != k + 1 or prices.shape[0] != k or n == 0 or k == 0:
        raise IndexError("the tables of clusters do not fit each other")
    with nogil:
        for turn in range(rounds):
            # the lower envelope of the parabolas (w - c)^2 + price, by a stack: a cluster that is cheapest for no w is removed
            if rate > 0:
                kept = 0
                for j in range(k):
                    if kept and centroids[kept - 1] == centroids[j]:
                        if j != fixed and (kept - 1 == fixed or prices[kept - 1] <= prices[j]):
                            continue
                        kept -= 1
                    while kept >= 2 and (crossing(centroids, prices, kept - 1, j)
                                         <= crossing(centroids, prices, kept - 2, kept - 1)):
                        kept -= 1
                        if kept == fixed:
                            fixed = -1
                    centroids[kept] = centroids[j]
                    prices[kept] = prices[j]
                    if j == fixed:
                        fixed = kept
                    kept += 1
                k = kept
            moved = False
            first = 0
            for j in range(1, k):
                first = rank(ordered, crossing(centroids, prices, j - 1, j), first)
                if starts[j] != first:
                    moved = True
                    starts[j] = first
            starts[0] = 0
            if starts[k] != n:
                moved = True
                starts[k] = n
            kept = 0
            for j in range(k):
                members = starts[j + 1] - starts[j]
                if members and j != fixed:
                    centroids[j] = (sum_to(ordered, middle, sums, starts[j + 1])
                                    - sum_to(ordered, middle, sums, starts[j])) / members
                if rate > 0:
                    if j == fixed:
                        members += zeros
                        if members == 0:
                            members = 1
                    if members == 0:
                        moved = True
                        continue
                    prices[kept] = rate * log2_of(<double>(n + zeros + 1) / members)
                    centroids[kept] = centroids[j]
                    starts[kept + 1] = starts[j + 1]
                    if j == fixed:
                        fixed = kept
                    kept += 1
            if rate > 0:
                k = kept
            if not moved and turn > 0:
                break
    return k


cdef inline double crossing(const double[::1] centroids, const double[::1] prices, Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """The weight for which both clusters, centroids[a] < centroids[b], have equal cost."""
    cdef double gap = centroids[b] - centroids[a]
    cdef double half = 0.5 * centroids[a] + 0.5 * centroids[b]
    if gap <= 0:
        return half
    return half + (prices[b] - prices[a]) / (2 * gap)


def assign(const float[::1] weights, const double[::1] bounds, const int32_t[::1] choices, int32_t zero, int32_t[::1] levels):
    """levels[i] = choices[bounds below weights[i]], or `zero` for a weight of 0; a weight on a bound goes below it.

    `bounds` ascends and is one shorter than `choices`. Returns False if a weight is NaN.
    """
    cdef Py_ssize_t i, n = weights.shape[0], low, length, half, most = bounds.shape[0]
    cdef float weight
    cdef bint numbers = True
    if levels.shape[0] < n or choices.shape[0] != most + 1:
        raise IndexError("the tables of levels do not fit each other")
    with nogil:
        for i in range(n):
            weight = weights[i]
            if weight == 0:
                levels[i] = zero
                continue
            if weight != weight:
                numbers = False
            low, length = 0, most  # no branches on weights: they would be mispredicted half the time
            while length > 1:
                half = length >> 1
                low += half * (bounds[low + half - 1] < weight)
                length -= half
            if length == 1:
                low += bounds[low] < weight
            levels[i] = choices[low]
    return numbers


def lookup(const int32_t[::1] levels, const float[::1] values, int32_t negatives, float[::1] weights):
    """weights[i] = values[levels[i] + negatives]; returns -1, or the position of the first level outside the codebook."""
    cdef Py_ssize_t i, n = levels.shape[0], size = values.shape[0], bad = -1
    cdef int64_t at
    if weights.shape[0] < n:
        raise IndexError("too little room for the weights")
    with nogil:
        for i in range(n):
            at = <int64_t>levels[i] + negatives
            if at < 0 or at >= size:
                bad = i
                break
            weights[i] = values[at]
    return bad
