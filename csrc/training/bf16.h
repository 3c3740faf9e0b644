/* Products of bf16 matrices with sums in fp32, and the layouts that they need.
 *
 * A bf16 number is the upper half of a float. A matrix is stored in blocks: 32 rows and 32 columns are
 * together, row by row, and so are the blocks of 32 rows. The number of rows is filled up to whole
 * blocks.
 *
 * An instruction multiplies pairs: the sum of two products goes to one float. So the second factor
 * B (K, N) of a product is packed into panels of 32 columns. A panel has a step for each 32 rows, which
 * is two tiles of 16 columns: row p of a tile has the pairs (B[2p][n], B[2p + 1][n]). AMX multiplies
 * whole tiles; AVX-512 with BF16 a row of pairs at a time; other processors compute with floats.
 */
#pragma once
#include "kernels.h"

typedef uint16_t bf16;
typedef uint16_t hvec __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

#define SIDE 32       /* rows and columns of a block */
#define TILE_SIZE 512 /* numbers of a tile */
#define BLOCK_SIZE (SIDE * SIDE)

INLINE vec widen(const bf16 *p)
{
    return (vec)(__builtin_convertvector(*(const hvec *)p, uvec) << 16);
}

/* Rounds to the nearest, halves to even. */
INLINE void narrow(bf16 *p, vec x)
{
#if defined(__AVX512BF16__)
    *(hvec *)p = (hvec)_mm512_cvtneps_pbh((__m512)x);
#else
    uvec bits = (uvec)x;
    bits += 0x7fff + ((bits >> 16) & 1);
    *(hvec *)p = __builtin_convertvector(bits >> 16, hvec);
#endif
}

/* Where a row has its column, from its column 0 on, in a matrix of blocks. */
INLINE int64_t in_block(int64_t column) { return column / SIDE * BLOCK_SIZE + column % SIDE; }

INLINE void *memory(int64_t bytes) { return scratch((bytes + 3) / 4); }

/* 16 rows of 16 pairs -> their transpose. */
INLINE void transpose_pairs(const bf16 *from, bf16 *to)
{
#if LANES == 16
    typedef int32_t pairs __attribute__((vector_size(64), aligned(2), may_alias));
    pairs a[16], b[16];
#define EACH _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++)
/* Of two rows in each four pairs: the first two of both in turn, the last two; the first two of one and
 * then of the other, the last two; the first four pairs of each eight, the last four; each half. */
#define LOW_1(x, y) SWAP(x, y, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH_1(x, y) SWAP(x, y, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW_2(x, y) SWAP(x, y, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH_2(x, y) SWAP(x, y, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define LOW_4(x, y) SWAP(x, y, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define HIGH_4(x, y) SWAP(x, y, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define LOW_8(x, y) SWAP(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define HIGH_8(x, y) SWAP(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
    /* Each step puts pairs next to each other that were 1, 2, 4 and 8 rows apart. */
    EACH a[i] = *(const pairs *)(from + i * 32);
    EACH b[i] = i % 2 ? HIGH_1(a[i - 1], a[i]) : LOW_1(a[i], a[i + 1]);
    /* a[4 g + c] will have, in its l-th four pairs, column 4 l + c of rows 4 g to 4 g + 3. */
    EACH {
        const int first = i / 4 * 4 + i % 4 / 2; /* and the row after the next */
        a[i] = i % 2 ? HIGH_2(b[first], b[first + 2]) : LOW_2(b[first], b[first + 2]);
    }
    /* b[8 h + c]: columns c and 8 + c of the rows of half h; b[8 h + 4 + c]: 4 + c and 12 + c. */
    EACH b[i] = i % 8 < 4 ? LOW_4(a[i], a[i + 4]) : HIGH_4(a[i - 4], a[i]);
    EACH a[i] = i < 8 ? LOW_8(b[i % 8], b[i % 8 + 8]) : HIGH_8(b[i % 8], b[i % 8 + 8]);
    EACH *(pairs *)(to + i * 32) = a[i];
#undef EACH
#else
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 16; column++)
            memcpy(to + row * 32 + 2 * column, from + column * 32 + 2 * row, 4);
#endif
}

/* Two rows of 32 numbers -> their pairs: the first 16 to `low`, the others to `high`. */
INLINE void pair_rows(const bf16 *first, const bf16 *second, bf16 *low, bf16 *high)
{
#if LANES == 16
    typedef uint16_t wide __attribute__((vector_size(64), aligned(2), may_alias));
    const wide a = *(const wide *)first, b = *(const wide *)second;
    *(wide *)low = SWAP(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10,
                        42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
    *(wide *)high = SWAP(a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56,
                         25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
#else
    for (int i = 0; i < 16; i++) {
        low[2 * i] = first[i], low[2 * i + 1] = second[i];
        high[2 * i] = first[16 + i], high[2 * i + 1] = second[16 + i];
    }
#endif
}

/* The step of a panel of B: a block of B. */
INLINE void pair_block(const bf16 *block, bf16 *step)
{
    for (int64_t i = 0; i < SIDE; i += 2, block += 2 * SIDE, step += SIDE)
        pair_rows(block, block + SIDE, step, step + TILE_SIZE);
}

/* The step of a panel of B = R^T: a block of R. */
INLINE void turn_block(const bf16 *block, bf16 *step)
{
    transpose_pairs(block, step);
    transpose_pairs(block + TILE_SIZE, step + TILE_SIZE);
}

/* A block -> its transpose. */
INLINE void transpose_block(const bf16 *block, bf16 *to)
{
    bf16 pairs[BLOCK_SIZE] __attribute__((aligned(64)));
    pair_block(block, pairs);
    transpose_pairs(pairs, to);
    transpose_pairs(pairs + TILE_SIZE, to + TILE_SIZE);
}

/* The product of a block ------------------------------------------------------------------------
 * C (32, 32) = or += A (32, K) B (K, 32), where K is a multiple of 32. A's rows are blocks one after
 * another, B is a panel, and C is fp32 with rows of `ldc`.
 */

/* Called in each step of a product with the number of its steps: vectors can compute something else
 * while tiles are multiplied. */
typedef void Meanwhile(void *state, int64_t steps);

#if defined(__AMX_BF16__) && defined(__AMX_TILE__)
typedef struct {
    uint8_t palette, start, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64))) TileShapes;

/* Each thread that multiplies opens the tiles first, and closes them so that the system needn't save
 * them whenever it switches to another thread. */
INLINE void open_tiles(void)
{
    static const TileShapes whole = {
        1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&whole);
}
INLINE void close_tiles(void) { _tile_release(); }

/* Tiles 0 to 3 are sums, 4 and 5 rows of A, 6 and 7 columns of B. */
INLINE void multiply_block(const bf16 *A, const bf16 *B, int64_t K, float *C, int64_t ldc, int add,
                           Meanwhile *meanwhile, void *state)
{
    __asm__ volatile("" ::: "memory"); /* GCC doesn't know that loading a tile reads memory */
    const int64_t row = 4 * ldc;
    float *low = C + 16 * ldc;
    if (add) {
        _tile_loadd(0, C, row);
        _tile_loadd(1, C + 16, row);
        _tile_loadd(2, low, row);
        _tile_loadd(3, low + 16, row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t k = 0; k < K; k += SIDE, A += BLOCK_SIZE, B += BLOCK_SIZE) {
        _tile_loadd(6, B, 64);
        _tile_loadd(4, A, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, B + TILE_SIZE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, A + TILE_SIZE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        if (meanwhile)
            meanwhile(state, K / SIDE);
    }
    _tile_stored(0, C, row);
    _tile_stored(1, C + 16, row);
    _tile_stored(2, low, row);
    _tile_stored(3, low + 16, row);
    __asm__ volatile("" ::: "memory");
}
#else
INLINE void open_tiles(void) {}
INLINE void close_tiles(void) {}

#define HIGH (8 * LANES / 16) /* rows whose sums stay in registers */

INLINE void multiply_block(const bf16 *A, const bf16 *B, int64_t K, float *C, int64_t ldc, int add,
                           Meanwhile *meanwhile, void *state)
{
    enum { V = SIDE / LANES };
    if (meanwhile)
        meanwhile(state, 1);
    for (int64_t i = 0; i < SIDE; i += HIGH) {
        vec c[HIGH][V];
        UNROLL for (int r = 0; r < HIGH; r++) UNROLL for (int v = 0; v < V; v++)
            c[r][v] = add ? load(C + (i + r) * ldc + v * LANES) : splat(0);
        for (int64_t k = 0; k < K; k += 2) {
            const bf16 *pairs = B + k / SIDE * BLOCK_SIZE + k % SIDE * 16;
            const bf16 *a = A + i * SIDE + k / SIDE * BLOCK_SIZE + k % SIDE;
            UNROLL for (int v = 0; v < V; v++) {
                const int64_t at = v * LANES / 16 * TILE_SIZE + v * LANES % 16 * 2;
                const uvec b = *(const uvec *)(pairs + at);
                UNROLL for (int r = 0; r < HIGH; r++) {
                    uint32_t pair;
                    memcpy(&pair, a + r * SIDE, 4);
#if defined(__AVX512BF16__)
                    c[r][v] = (vec)_mm512_dpbf16_ps((__m512)c[r][v],
                                                    (__m512bh)_mm512_set1_epi32((int)pair), (__m512bh)b);
#else
                    const union { uint32_t bits; float number; } first = {pair << 16},
                                                                 second = {pair & 0xffff0000u};
                    c[r][v] += first.number * (vec)(b << 16);
                    c[r][v] += second.number * (vec)(b & 0xffff0000u);
#endif
                }
            }
        }
        UNROLL for (int r = 0; r < HIGH; r++) UNROLL for (int v = 0; v < V; v++)
            store(C + (i + r) * ldc + v * LANES, c[r][v]);
    }
}
#endif
