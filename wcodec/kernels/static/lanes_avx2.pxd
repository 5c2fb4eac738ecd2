"""Decoding of one row of each of the eight lanes with AVX2. The integers equal those of `row_of_lanes` in coder.pyx."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    typedef struct {
        const uint8_t *symbols;     /* [table][4096] symbol of a slot; three bytes after the last are readable */
        const uint32_t *ranges;     /* [table][256] frequency << 16 | first slot */
        const uint16_t *columns;    /* [n] codes of the columns' scales */
        const uint16_t *words;      /* [most + 8] */
        ptrdiff_t n, most;          /* the number of columns, and of words without the eight after them */
        int top, quantisers, states;
        const uint8_t *after;       /* [2 * state + parity of the level] next state */
        const int32_t *escaped;
        ptrdiff_t *places;          /* [escape] 2 * (row * n + column) + quantiser */
        ptrdiff_t escapes, used;    /* the number of escapes, and of those that are decoded */
    } StaticRow;

    #if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
    #include <immintrin.h>
    #define STATIC_AVX2 __attribute__((target("avx2,popcnt")))

    static uint8_t static_spread[256][8];
    static int static_can(void) {
        int m, l, k;
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("popcnt")) return 0;
        for (m = 0; m < 256; m++)
            for (l = k = 0; l < 8; k += m >> l & 1, l++) static_spread[m][l] = (uint8_t)k;
        return 1;
    }

    /* Write eight integers of each lane. code: 2 * symbol + quantiser, of eight lanes for each of eight columns. */
    STATIC_AVX2 static inline void static_put(const __m128i *code, int trellis, const ptrdiff_t *row, ptrdiff_t n, ptrdiff_t j, int32_t *values) {
        __m128i a[8], b[8];
        const __m128i one = _mm_set1_epi16(1), zero = _mm_set1_epi16(128);
        int l;
        for (l = 0; l < 4; l++) {
            a[2 * l] = _mm_unpacklo_epi16(code[2 * l], code[2 * l + 1]);
            a[2 * l + 1] = _mm_unpackhi_epi16(code[2 * l], code[2 * l + 1]);
        }
        for (l = 0; l < 2; l++) {
            b[4 * l] = _mm_unpacklo_epi32(a[4 * l], a[4 * l + 2]);
            b[4 * l + 1] = _mm_unpackhi_epi32(a[4 * l], a[4 * l + 2]);
            b[4 * l + 2] = _mm_unpacklo_epi32(a[4 * l + 1], a[4 * l + 3]);
            b[4 * l + 3] = _mm_unpackhi_epi32(a[4 * l + 1], a[4 * l + 3]);
        }
        for (l = 0; l < 8; l++) {
            __m128i own = l & 1 ? _mm_unpackhi_epi64(b[l >> 1], b[4 + (l >> 1)]) : _mm_unpacklo_epi64(b[l >> 1], b[4 + (l >> 1)]);
            __m128i level = _mm_sub_epi16(_mm_srli_epi16(own, 1), zero);
            if (trellis) level = _mm_sub_epi16(_mm_add_epi16(level, level), _mm_sign_epi16(_mm_and_si128(own, one), level));
            _mm256_storeu_si256((__m256i *)(values + row[l] * n + j), _mm256_cvtepi16_epi32(level));
        }
    }

    STATIC_AVX2 static inline ptrdiff_t static_row_of(StaticRow *t, int states, const ptrdiff_t *row, const uint32_t *codes, uint32_t *x8,
                                                      uint32_t *s8, ptrdiff_t at, int32_t *values) {
        __m256i x = _mm256_loadu_si256((const __m256i *)x8), s = _mm256_loadu_si256((const __m256i *)s8);
        const __m256i code = _mm256_loadu_si256((const __m256i *)codes), top = _mm256_set1_epi32(t->top), none = _mm256_setzero_si256();
        const __m256i slots = _mm256_set1_epi32(4095), byte = _mm256_set1_epi32(255), low = _mm256_set1_epi32(65535), one = _mm256_set1_epi32(1);
        const __m256i high = _mm256_set1_epi32((int)0x80808000), after = states == 8 ? _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)t->after)) : none;
        ptrdiff_t j;
        __m128i held[8];
        int i, l;
        for (j = 0; j < t->n; j++) {
            __m256i k, slot, symbol, range, spare, word, odd, was = s;
            uint32_t mask;
            if (at > t->most) return -1;
            k = _mm256_add_epi32(code, _mm256_set1_epi32((int16_t)t->columns[j]));
            k = _mm256_min_epi32(_mm256_max_epi32(k, none), top);
            odd = _mm256_and_si256(s, one);
            if (states) k = _mm256_add_epi32(_mm256_add_epi32(k, k), odd);
            slot = _mm256_and_si256(x, slots);
            symbol = _mm256_i32gather_epi32((const int *)t->symbols, _mm256_add_epi32(_mm256_slli_epi32(k, 12), slot), 1);
            symbol = _mm256_and_si256(symbol, byte);
            range = _mm256_i32gather_epi32((const int *)t->ranges, _mm256_add_epi32(_mm256_slli_epi32(k, 8), symbol), 4);
            x = _mm256_mullo_epi32(_mm256_srli_epi32(range, 16), _mm256_srli_epi32(x, 12));
            x = _mm256_add_epi32(x, _mm256_sub_epi32(slot, _mm256_and_si256(range, low)));
            spare = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), none);
            mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(spare));
            word = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(t->words + at)));
            word = _mm256_permutevar8x32_epi32(word, _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)static_spread[mask])));
            x = _mm256_blendv_epi8(x, _mm256_or_si256(_mm256_slli_epi32(x, 16), word), spare);
            at += _mm_popcnt_u32(mask);
            if (states == 128) {
                s = _mm256_xor_si256(_mm256_srli_epi32(s, 1), _mm256_and_si256(_mm256_sub_epi32(none, odd), _mm256_set1_epi32(78)));
                s = _mm256_xor_si256(s, _mm256_and_si256(_mm256_sub_epi32(none, _mm256_and_si256(symbol, one)), _mm256_set1_epi32(43)));
            } else if (states) {
                s = _mm256_or_si256(_mm256_add_epi32(s, s), _mm256_and_si256(symbol, one));
                s = _mm256_and_si256(_mm256_shuffle_epi8(after, _mm256_or_si256(s, high)), byte);
            }
            range = _mm256_add_epi32(_mm256_add_epi32(symbol, symbol), odd);
            range = _mm256_permute4x64_epi64(_mm256_packus_epi32(range, range), 0x08);
            held[j & 7] = _mm256_castsi256_si128(range);
            mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(symbol, none)));
            if (__builtin_expect(mask != 0, 0)) {
                uint32_t before[8], now[8];
                _mm256_storeu_si256((__m256i *)before, was);
                _mm256_storeu_si256((__m256i *)now, s);
                for (l = 0; l < 8; l++) {
                    if (!(mask >> l & 1)) continue;
                    if (t->used == t->escapes) return -1;
                    now[l] = t->after[2 * before[l] + (t->escaped[t->used] & 1)];
                    t->places[t->used++] = 2 * (row[l] * t->n + j) + (before[l] & 1);
                }
                s = _mm256_loadu_si256((const __m256i *)now);
            }
            if ((j & 7) == 7) static_put(held, states, row, t->n, j - 7, values);
        }
        for (j = t->n & ~(ptrdiff_t)7, i = 0; j < t->n; j++, i++) {
            uint16_t own[8];
            _mm_storeu_si128((__m128i *)own, held[i]);
            for (l = 0; l < 8; l++) {
                int level = (own[l] >> 1) - 128, sign = (level > 0) - (level < 0);
                values[row[l] * t->n + j] = states ? 2 * level - (own[l] & 1) * sign : level;
            }
        }
        _mm256_storeu_si256((__m256i *)x8, x);
        _mm256_storeu_si256((__m256i *)s8, s);
        return at;
    }

    STATIC_AVX2 static ptrdiff_t static_row_avx2(StaticRow *t, const ptrdiff_t *row, const uint32_t *codes, uint32_t *x8, uint32_t *s8, ptrdiff_t at,
                                                 int32_t *values) {
        if (t->states == 128) return static_row_of(t, 128, row, codes, x8, s8, at, values);
        if (t->states) return static_row_of(t, 8, row, codes, x8, s8, at, values);
        return static_row_of(t, 0, row, codes, x8, s8, at, values);
    }
    #else
    static int static_can(void) { return 0; }
    static ptrdiff_t static_row_avx2(StaticRow *t, const ptrdiff_t *row, const uint32_t *codes, uint32_t *x8, uint32_t *s8, ptrdiff_t at, int32_t *values) {
        return -1;
    }
    #endif
    """
    ctypedef struct StaticRow:
        const uint8_t* symbols
        const uint32_t* ranges
        const uint16_t* columns
        const uint16_t* words
        Py_ssize_t n, most
        int top, quantisers, states
        const uint8_t* after
        const int32_t* escaped
        Py_ssize_t* places
        Py_ssize_t escapes, used
    int static_can() noexcept nogil
    Py_ssize_t static_row_avx2(StaticRow* t, const Py_ssize_t* row, const uint32_t* codes, uint32_t* x, uint32_t* s, Py_ssize_t at,
                               int32_t* values) noexcept nogil
