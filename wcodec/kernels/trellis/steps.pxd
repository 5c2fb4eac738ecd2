"""One step of the Viterbi algorithm, for one weight: from the least costs of the states before it to those after it.

edge[2 * quantiser + parity]: the cost of the weight. Costs are sums of two floats, or the lesser of two floats, so every
machine gets the same.
"""

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__SSE2__) || defined(_M_X64)
    #include <emmintrin.h>
    #define TRELLIS_PATTERN(e, d, c, b, a) _mm_shuffle_ps(e, e, _MM_SHUFFLE(d, c, b, a))
    /* From states i and 64 + i, with i from 4 g on, to states 2 i (u = 0) and 2 i + 1 (u = 1). Bits of the masks: 64 + i costs less. */
    static inline __m128i trellis_four(const float *from, float *to, int g, __m128 same, __m128 other, __m128i *odd) {
        __m128 low = _mm_loadu_ps(from + 4 * g), high = _mm_loadu_ps(from + 64 + 4 * g);
        __m128 a = _mm_add_ps(low, same), b = _mm_add_ps(high, other);
        __m128 c = _mm_add_ps(low, other), d = _mm_add_ps(high, same);
        __m128 x = _mm_min_ps(b, a), y = _mm_min_ps(d, c);
        _mm_storeu_ps(to + 8 * g, _mm_unpacklo_ps(x, y));
        _mm_storeu_ps(to + 8 * g + 4, _mm_unpackhi_ps(x, y));
        *odd = _mm_castps_si128(_mm_cmplt_ps(d, c));
        return _mm_castps_si128(_mm_cmplt_ps(b, a));
    }
    static inline uint32_t trellis_bits(const __m128i *mask) {
        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(mask[0], mask[1]), _mm_packs_epi32(mask[2], mask[3])));
    }
    static inline void trellis_step_of_128(const float *from, float *to, const float *edge, uint32_t *turn) {
        /* [parities of the bits of g that select the quantiser and the parity of the level] */
        __m128 e = _mm_loadu_ps(edge), pattern[2][2];
        int h, j, g, q, p;
        pattern[0][0] = TRELLIS_PATTERN(e, 1, 3, 2, 0);
        pattern[0][1] = TRELLIS_PATTERN(e, 0, 2, 3, 1);
        pattern[1][0] = TRELLIS_PATTERN(e, 3, 1, 0, 2);
        pattern[1][1] = TRELLIS_PATTERN(e, 2, 0, 1, 3);
        for (h = 0; h < 4; h++) {
            __m128i even[4], odd[4];
            for (j = 0; j < 4; j++) {
                g = 4 * h + j;
                q = (g >> 1 ^ g >> 3) & 1;
                p = (g ^ g >> 1) & 1;
                even[j] = trellis_four(from, to, g, pattern[q][p], pattern[q][1 - p], &odd[j]);
            }
            turn[h] = trellis_bits(even) | trellis_bits(odd) << 16;
        }
    }
    #else
    static inline void trellis_step_of_128(const float *from, float *to, const float *edge, uint32_t *turn) {
        int i, q, p;
        for (i = 0; i < 4; i++)
            turn[i] = 0;
        for (i = 0; i < 64; i++) {
            q = (i ^ i >> 1 ^ i >> 3 ^ i >> 5) & 1;
            p = (i >> 1 ^ i >> 2 ^ i >> 3) & 1;
            float a = from[i] + edge[2 * q + p], b = from[64 + i] + edge[2 * q + 1 - p];
            float c = from[i] + edge[2 * q + 1 - p], d = from[64 + i] + edge[2 * q + p];
            to[2 * i] = b < a ? b : a;
            to[2 * i + 1] = d < c ? d : c;
            turn[i >> 4] |= (uint32_t)(b < a) << (i & 15) | (uint32_t)(d < c) << (16 + (i & 15));
        }
    }
    #endif
    #if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
    #include <immintrin.h>
    static int trellis_can(void) { return __builtin_cpu_supports("avx2") != 0; }
    /* the same step for eight states, with i from 8 g on */
    __attribute__((target("avx2"))) static void trellis_steps_avx2(float *from, float *to, const float *edges, int count, uint32_t *turns) {
        /* [parities of the bits of g that select the quantiser and the parity of the level]: 2 * quantiser + parity, for i = 0 to 7 */
        const __m256i index = _mm256_setr_epi32(0, 2, 3, 1, 1, 3, 2, 0);
        const __m256i flips[2][2] = {{index, _mm256_xor_si256(index, _mm256_set1_epi32(1))},
            {_mm256_xor_si256(index, _mm256_set1_epi32(2)), _mm256_xor_si256(index, _mm256_set1_epi32(3))}};
        float *swap;
        int i, g, q, p;
        for (i = 0; i < count; i++) {
            __m256 e = _mm256_broadcast_ps((const __m128 *)(edges + 4 * i)), pattern[2][2];
            uint8_t *turn = (uint8_t *)(turns + 4 * i);
            for (q = 0; q < 2; q++)
                for (p = 0; p < 2; p++) pattern[q][p] = _mm256_permutevar_ps(e, flips[q][p]);
            for (g = 0; g < 8; g++) {
                __m256 low = _mm256_loadu_ps(from + 8 * g), high = _mm256_loadu_ps(from + 64 + 8 * g);
                __m256 same = pattern[(g ^ g >> 2) & 1][g & 1], other = pattern[(g ^ g >> 2) & 1][1 - (g & 1)];
                __m256 a = _mm256_add_ps(low, same), b = _mm256_add_ps(high, other);
                __m256 c = _mm256_add_ps(low, other), d = _mm256_add_ps(high, same);
                __m256 x = _mm256_min_ps(b, a), y = _mm256_min_ps(d, c);
                __m256 first = _mm256_unpacklo_ps(x, y), second = _mm256_unpackhi_ps(x, y);
                _mm256_storeu_ps(to + 16 * g, _mm256_permute2f128_ps(first, second, 0x20));
                _mm256_storeu_ps(to + 16 * g + 8, _mm256_permute2f128_ps(first, second, 0x31));
                turn[4 * (g >> 1) + (g & 1)] = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(b, a, _CMP_LT_OQ));
                turn[4 * (g >> 1) + 2 + (g & 1)] = (uint8_t)_mm256_movemask_ps(_mm256_cmp_ps(d, c, _CMP_LT_OQ));
            }
            swap = from, from = to, to = swap;
        }
    }
    #else
    static int trellis_can(void) { return 0; }
    static void trellis_steps_avx2(float *from, float *to, const float *edges, int count, uint32_t *turns) {}
    #endif
    static void trellis_steps_of_128(float *from, float *to, const float *edges, int count, uint32_t *turns, int wide) {
        float *swap;
        int i;
        if (wide) {
            trellis_steps_avx2(from, to, edges, count, turns);
            return;
        }
        for (i = 0; i < count; i++) {
            trellis_step_of_128(from, to, edges + 4 * i, turns + 4 * i);
            swap = from, from = to, to = swap;
        }
    }
    """
    int trellis_can() noexcept nogil
    void trellis_steps_of_128(float* before, float* after, const float* edges, int count, uint32_t* turns, int wide) noexcept nogil


cdef inline int parity(int bits) noexcept nogil:
    """The parity of seven bits."""
    bits ^= bits >> 4
    bits ^= bits >> 2
    return (bits ^ bits >> 1) & 1


cdef inline int back_of_128(const uint32_t* turn, int state, int* odd, int* level) noexcept nogil:
    """The state before `state`. Sets odd and level: the number of the quantiser at that state, and the parity of the level.

    A state is here the last seven inputs (the last one lowest). `TRELLIS_NEXT` is the same code; its states are sums of the inputs.
    """
    cdef int i = state >> 1, before
    before = i | <int>(turn[i >> 4] >> ((i & 15) + 16 * (state & 1)) & 1) << 6
    odd[0] = parity(before & 43)
    level[0] = parity(before & 78) ^ (state & 1)
    return before


cdef inline int step_of_eight(float* cost, const float* edge) noexcept nogil:
    """The step of the 8-state trellis, unrolled from TRELLIS_NEXT. Returns a bit for each state: its second predecessor costs less."""
    cdef float a0 = cost[0] + edge[0], b0 = cost[4] + edge[1]
    cdef float a1 = cost[2] + edge[0], b1 = cost[6] + edge[1]
    cdef float a2 = cost[0] + edge[1], b2 = cost[4] + edge[0]
    cdef float a3 = cost[2] + edge[1], b3 = cost[6] + edge[0]
    cdef float a4 = cost[3] + edge[3], b4 = cost[5] + edge[2]
    cdef float a5 = cost[1] + edge[2], b5 = cost[7] + edge[3]
    cdef float a6 = cost[3] + edge[2], b6 = cost[5] + edge[3]
    cdef float a7 = cost[1] + edge[3], b7 = cost[7] + edge[2]
    cost[0] = b0 if b0 < a0 else a0
    cost[1] = b1 if b1 < a1 else a1
    cost[2] = b2 if b2 < a2 else a2
    cost[3] = b3 if b3 < a3 else a3
    cost[4] = b4 if b4 < a4 else a4
    cost[5] = b5 if b5 < a5 else a5
    cost[6] = b6 if b6 < a6 else a6
    cost[7] = b7 if b7 < a7 else a7
    return (
        (b0 < a0) | (b1 < a1) << 1 | (b2 < a2) << 2 | (b3 < a3) << 3
        | (b4 < a4) << 4 | (b5 < a5) << 5 | (b6 < a6) << 6 | (b7 < a7) << 7
    )


cdef inline int step_of_four(float* cost, const float* edge) noexcept nogil:
    """The same step of the 4-state trellis."""
    cdef float a0 = cost[0] + edge[0], b0 = cost[1] + edge[1]
    cdef float a1 = cost[2] + edge[2], b1 = cost[3] + edge[3]
    cdef float a2 = cost[0] + edge[1], b2 = cost[1] + edge[0]
    cdef float a3 = cost[2] + edge[3], b3 = cost[3] + edge[2]
    cost[0] = b0 if b0 < a0 else a0
    cost[1] = b1 if b1 < a1 else a1
    cost[2] = b2 if b2 < a2 else a2
    cost[3] = b3 if b3 < a3 else a3
    return (b0 < a0) | (b1 < a1) << 1 | (b2 < a2) << 2 | (b3 < a3) << 3
