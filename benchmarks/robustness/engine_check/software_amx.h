// The instructions of the set "amx" as plain loops, so that its kernels run on any x86 processor. What
// zmm.h and tiles.h call is replaced here by its name.
//
// A tile that is used before its shape is known, or after it was released, ends the program.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi" // vectors are passed between inlined functions only
#endif

namespace software_amx {

typedef float Floats __attribute__((vector_size(64)));
typedef int Ints __attribute__((vector_size(64)));
typedef unsigned char Bytes[64];

static inline __m512 largest(__m512 a, __m512 b)
{
    Floats x;
    for (int i = 0; i < 16; i++)
        x[i] = a[i] > b[i] ? a[i] : b[i];
    return (__m512)x;
}

static inline __m512 smallest(__m512 a, __m512 b)
{
    Floats x;
    for (int i = 0; i < 16; i++)
        x[i] = a[i] < b[i] ? a[i] : b[i];
    return (__m512)x;
}

static inline __m512 fused(__m512 a, __m512 b, __m512 c)
{
    Floats x;
    for (int i = 0; i < 16; i++)
        x[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return (__m512)x;
}

static inline __m512i splat(int value) { return (__m512i)(value - Ints{}); }

static inline __m512i load(const void *from)
{
    __m512i x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

// Four unsigned bytes by four signed ones.
static inline int dot(const unsigned char *x, const unsigned char *w)
{
    int sum = 0;
    for (int i = 0; i < 4; i++)
        sum += x[i] * (signed char)w[i];
    return sum;
}

static inline __m512i dots(__m512i sum, __m512i x, __m512i w)
{
    Bytes a, b;
    std::memcpy(a, &x, 64);
    std::memcpy(b, &w, 64);
    Ints all = (Ints)sum;
    for (int i = 0; i < 16; i++)
        all[i] += dot(a + 4 * i, b + 4 * i);
    return (__m512i)all;
}

static inline float of_bf16(int upper_half)
{
    const unsigned bits = (unsigned)upper_half << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// The upper number of a lane is added first.
static inline __m512 dots_of_bf16(__m512 sum, __m512i x, __m512i y)
{
    const Ints a = (Ints)x, b = (Ints)y;
    Floats all = (Floats)sum;
    for (int i = 0; i < 16; i++) {
        all[i] = all[i] + of_bf16(a[i] >> 16) * of_bf16(b[i] >> 16);
        all[i] = all[i] + of_bf16(a[i]) * of_bf16(b[i]);
    }
    return (__m512)all;
}

static inline __m512i extended(__m128i bytes)
{
    signed char from[16];
    std::memcpy(from, &bytes, sizeof from);
    Ints x;
    for (int i = 0; i < 16; i++)
        x[i] = from[i];
    return (__m512i)x;
}

static inline void store(__m256i *to, __m256i x) { std::memcpy(to, &x, sizeof x); }

template <class Narrow, class Result> static inline Result narrowed(__m512i x)
{
    Narrow low[16];
    for (int i = 0; i < 16; i++)
        low[i] = (Narrow)((Ints)x)[i];
    Result y;
    std::memcpy(&y, low, sizeof y);
    return y;
}

// The tiles of a thread.
struct Tiles {
    struct Shapes {
        unsigned char palette, start, unused[14];
        unsigned short bytes[16];
        unsigned char rows[16];
    } shapes;
    Bytes tile[8][16];
};
static thread_local Tiles tiles;

static inline Bytes *shaped(int t)
{
    if (tiles.shapes.palette != 1 || !tiles.shapes.rows[t] || !tiles.shapes.bytes[t]) {
        std::fprintf(stderr, "tile %d has no shape\n", t);
        std::abort();
    }
    return tiles.tile[t];
}

static inline void open(const void *shapes)
{
    std::memset(&tiles, 0, sizeof tiles);
    std::memcpy(&tiles.shapes, shapes, 64);
}

static inline void release() { std::memset(&tiles, 0, sizeof tiles); }
static inline void zero(int t) { std::memset(shaped(t), 0, sizeof(Bytes[16])); }

static inline void load_tile(int t, const void *from, long stride)
{
    Bytes *const to = shaped(t);
    for (int row = 0; row < tiles.shapes.rows[t]; row++)
        std::memcpy(to[row], (const char *)from + row * stride, tiles.shapes.bytes[t]);
}

static inline void store_tile(int t, void *to, long stride)
{
    const Bytes *const from = shaped(t);
    for (int row = 0; row < tiles.shapes.rows[t]; row++)
        std::memcpy((char *)to + row * stride, from[row], tiles.shapes.bytes[t]);
}

static inline void multiply_tiles(int sums, int a, int b)
{
    Bytes *const to = shaped(sums);
    const Bytes *const x = shaped(a), *const w = shaped(b);
    for (int row = 0; row < tiles.shapes.rows[sums]; row++)
        for (int k = 0; k < tiles.shapes.rows[b]; k++)
            for (int column = 0; column < tiles.shapes.bytes[sums] / 4; column++) {
                int sum;
                std::memcpy(&sum, to[row] + 4 * column, sizeof sum);
                sum += dot(x[row] + 4 * k, w[k] + 4 * column);
                std::memcpy(to[row] + 4 * column, &sum, sizeof sum);
            }
}

} // namespace software_amx

// What kernels.cpp asks the compiler.
#define __AVX512VNNI__ 1
#define __AVX512BF16__ 1
#define __AMX_INT8__ 1

#define _mm512_max_ps software_amx::largest
#define _mm512_min_ps software_amx::smallest
#define _mm512_fmadd_ps software_amx::fused
#define _mm512_set1_epi32 software_amx::splat
#define _mm512_loadu_si512 software_amx::load
#define _mm512_dpbusd_epi32 software_amx::dots
#define _mm512_dpbf16_ps(sum, x, y) software_amx::dots_of_bf16(sum, (__m512i)(x), (__m512i)(y))
#define _mm512_cvtepi8_epi32 software_amx::extended
#define _mm512_cvtepi32_epi8 software_amx::narrowed<signed char, __m128i>
#define _mm512_cvtepi32_epi16 software_amx::narrowed<short, __m256i>
#define _mm256_storeu_si256 software_amx::store
#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadconfig software_amx::open
#define _tile_release software_amx::release
#define _tile_zero software_amx::zero
#define _tile_loadd software_amx::load_tile
#define _tile_stored software_amx::store_tile
#define _tile_dpbusd software_amx::multiply_tiles
