"""The cost of the levels of many weights for each quantiser and parity, with AVX2. The floats equal those of `price.edges_plain`."""

from libc.stdint cimport uint8_t, uint16_t

cdef extern from *:
    """
    #include <stdint.h>
    #if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
    #include <immintrin.h>
    #define EDGES_COST(a, row) _mm256_add_ps(_mm256_mul_ps(d, d), _mm256_i32gather_ps(size, _mm256_add_epi32(row, _mm256_min_epi32(a, most)), 4))
    /* Eight weights at a time. apart: the distance of their contexts; size: [context][quantiser][32]. */
    __attribute__((target("avx2"))) static void edges_avx2(const float *values, const uint16_t *contexts, int apart, int eights, const float *size,
                                                           float *edges, uint8_t *picks) {
        const __m256i most = _mm256_set1_epi32(31), one = _mm256_set1_epi32(1), none = _mm256_setzero_si256();
        const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff)), half = _mm256_set1_ps(0.5f);
        int n, k, odd;
        for (n = 0; n < eights; n++, values += 8, contexts += 8 * apart, edges += 32, picks += 8) {
            __m256 m = _mm256_and_ps(_mm256_loadu_ps(values), magnitude), e[4];
            __m256i where, picked = none;
            int own[8];
            if (apart == 1) where = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)contexts));
            else {
                for (k = 0; k < 8; k++) own[k] = contexts[k * apart];
                where = _mm256_loadu_si256((const __m256i *)own);
            }
            where = _mm256_slli_epi32(where, 6);
            for (odd = 0; odd < 2; odd++) {
                __m256i quantiser = _mm256_set1_epi32(odd), row = _mm256_add_epi32(where, _mm256_set1_epi32(32 * odd));
                __m256i low = _mm256_cvttps_epi32(_mm256_mul_ps(_mm256_add_ps(m, _mm256_set1_ps((float)odd)), half));
                __m256i positive = _mm256_cmpgt_epi32(low, none), over = _mm256_add_epi32(low, one), under = _mm256_add_epi32(low, positive);
                __m256i is_odd = _mm256_cmpeq_epi32(_mm256_and_si256(low, one), one), better;
                __m256 d, same, above, below;
                d = _mm256_sub_ps(m, _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_add_epi32(low, low), _mm256_and_si256(quantiser, positive))));
                same = EDGES_COST(low, row);
                d = _mm256_sub_ps(m, _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_add_epi32(over, over), quantiser)));
                above = EDGES_COST(over, row);
                d = _mm256_sub_ps(m, _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_add_epi32(under, under),
                                                                         _mm256_and_si256(quantiser, _mm256_cmpgt_epi32(under, none)))));
                below = EDGES_COST(under, row);
                better = _mm256_and_si256(positive, _mm256_castps_si256(_mm256_cmp_ps(below, above, _CMP_LT_OQ)));
                picked = _mm256_or_si256(picked, _mm256_and_si256(better, _mm256_set1_epi32(1 << odd)));
                above = _mm256_blendv_ps(above, below, _mm256_castsi256_ps(better));
                e[2 * odd] = _mm256_blendv_ps(same, above, _mm256_castsi256_ps(is_odd));
                e[2 * odd + 1] = _mm256_blendv_ps(above, same, _mm256_castsi256_ps(is_odd));
            }
            {
                __m256 a = _mm256_unpacklo_ps(e[0], e[1]), b = _mm256_unpackhi_ps(e[0], e[1]);
                __m256 c = _mm256_unpacklo_ps(e[2], e[3]), d = _mm256_unpackhi_ps(e[2], e[3]), f[4];
                f[0] = _mm256_shuffle_ps(a, c, 0x44), f[1] = _mm256_shuffle_ps(a, c, 0xee);
                f[2] = _mm256_shuffle_ps(b, d, 0x44), f[3] = _mm256_shuffle_ps(b, d, 0xee);
                for (k = 0; k < 4; k++) {
                    _mm_storeu_ps(edges + 4 * k, _mm256_castps256_ps128(f[k]));
                    _mm_storeu_ps(edges + 16 + 4 * k, _mm256_extractf128_ps(f[k], 1));
                }
            }
            picked = _mm256_packus_epi16(_mm256_packus_epi32(picked, picked), none);
            *(uint32_t *)picks = (uint32_t)_mm256_extract_epi32(picked, 0);
            *(uint32_t *)(picks + 4) = (uint32_t)_mm256_extract_epi32(picked, 4);
        }
    }
    #else
    static void edges_avx2(const float *values, const uint16_t *contexts, int apart, int eights, const float *size, float *edges, uint8_t *picks) {}
    #endif
    """
    void edges_avx2(const float* values, const uint16_t* contexts, int apart, int eights, const float* size, float* edges, uint8_t* picks) noexcept nogil
