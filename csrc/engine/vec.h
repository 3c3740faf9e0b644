// Vectors of 16 numbers in as many registers as a machine needs for them, with the same results on
// all of them: lanes are added in one order, and products are only fused where the code says so.
//
// A machine's file defines, before it includes this one: REGISTER (bytes of a register), and as
// functions of one register what GCC's vector extensions don't have.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model.h"

#define INLINE static inline __attribute__((always_inline))
#define ALL _Pragma("GCC unroll 16")
// Of functions that are long and called in several places: a page loads one copy, and elsewhere each
// place has its own.
#if defined(__wasm__)
#define ONE_COPY static __attribute__((noinline))
#else
#define ONE_COPY INLINE
#endif

namespace onelayer {
namespace {

constexpr int WIDTH = REGISTER / 4, PARTS = LANES / WIDTH;
typedef float FloatPart __attribute__((vector_size(REGISTER)));
typedef int32_t IntPart __attribute__((vector_size(REGISTER)));
typedef FloatPart FloatMemory __attribute__((aligned(4), may_alias));
typedef IntPart IntMemory __attribute__((aligned(4), may_alias));

struct Floats {
    FloatPart part[PARTS];
};

struct Ints {
    IntPart part[PARTS];
};

#define EACH ALL for (int i = 0; i < PARTS; i++)

INLINE Floats load(const float *p)
{
    Floats x;
    EACH x.part[i] = *(const FloatMemory *)(p + i * WIDTH);
    return x;
}

INLINE void store(float *p, Floats x) { EACH *(FloatMemory *)(p + i * WIDTH) = x.part[i]; }

INLINE Ints load(const int32_t *p)
{
    Ints x;
    EACH x.part[i] = *(const IntMemory *)(p + i * WIDTH);
    return x;
}

INLINE void store(int32_t *p, Ints x) { EACH *(IntMemory *)(p + i * WIDTH) = x.part[i]; }

INLINE Floats splat(float value)
{
    Floats x;
    EACH x.part[i] = value - FloatPart{};
    return x;
}

INLINE Ints splat(int32_t value)
{
    Ints x;
    EACH x.part[i] = value - IntPart{};
    return x;
}

#define LANEWISE(TYPE, OPERATOR)                                                                   \
    INLINE TYPE operator OPERATOR(TYPE a, TYPE b)                                                  \
    {                                                                                              \
        EACH a.part[i] = a.part[i] OPERATOR b.part[i];                                             \
        return a;                                                                                  \
    }
LANEWISE(Floats, +)
LANEWISE(Floats, -)
LANEWISE(Floats, *)
LANEWISE(Floats, /)
LANEWISE(Ints, &)
LANEWISE(Ints, |)

// Whole numbers wrap: those that are the bits of a float may be any.
using UnsignedPart = unsigned __attribute__((vector_size(sizeof(IntPart))));
#define LANEWISE_UNSIGNED(OPERATOR)                                                                \
    INLINE Ints operator OPERATOR(Ints a, Ints b)                                                  \
    {                                                                                              \
        EACH a.part[i] = (IntPart)((UnsignedPart)a.part[i] OPERATOR(UnsignedPart) b.part[i]);      \
        return a;                                                                                  \
    }
LANEWISE_UNSIGNED(+)
LANEWISE_UNSIGNED(*)

INLINE Ints operator<<(Ints a, int bits)
{
    EACH a.part[i] = (IntPart)((UnsignedPart)a.part[i] << bits);
    return a;
}

INLINE Ints operator>>(Ints a, int bits)
{
    EACH a.part[i] >>= bits;
    return a;
}

// The larger number of each lane; b if they are equal, or if one is no number.
INLINE Floats larger(Floats a, Floats b)
{
    EACH a.part[i] = larger_part(a.part[i], b.part[i]);
    return a;
}

INLINE Floats smaller(Floats a, Floats b)
{
    EACH a.part[i] = smaller_part(a.part[i], b.part[i]);
    return a;
}

// a b + c, rounded once.
INLINE Floats fused(Floats a, Floats b, Floats c)
{
    EACH c.part[i] = fused_part(a.part[i], b.part[i], c.part[i]);
    return c;
}

// All bits where a > b, and none elsewhere.
INLINE Ints above(Floats a, Floats b)
{
    Ints x;
    EACH x.part[i] = a.part[i] > b.part[i];
    return x;
}

INLINE Ints bits_of(Floats x)
{
    Ints bits;
    EACH bits.part[i] = (IntPart)x.part[i];
    return bits;
}

INLINE Floats from_bits(Ints bits)
{
    Floats x;
    EACH x.part[i] = (FloatPart)bits.part[i];
    return x;
}

INLINE Floats to_float(Ints x)
{
    Floats y;
    EACH y.part[i] = __builtin_convertvector(x.part[i], FloatPart);
    return y;
}

// a where the mask has bits, b elsewhere.
INLINE Floats choose(Ints mask, Floats a, Floats b)
{
    Floats x;
    EACH x.part[i] =
        (FloatPart)((mask.part[i] & (IntPart)a.part[i]) | (~mask.part[i] & (IntPart)b.part[i]));
    return x;
}

// |x|: the sign bit cleared.
INLINE Floats size(Floats x) { return from_bits(bits_of(x) & splat(0x7fffffff)); }

INLINE Floats negative(Floats x)
{
    EACH x.part[i] = -x.part[i];
    return x;
}

// A register with its halves, quarters, ... swapped.
#define SWAP __builtin_shufflevector
#if REGISTER == 64
#define SWAP_8(x) SWAP(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define SWAP_4(x) SWAP(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define SWAP_2(x) SWAP(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define SWAP_1(x) SWAP(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)
#elif REGISTER == 32
#define SWAP_4(x) SWAP(x, x, 4, 5, 6, 7, 0, 1, 2, 3)
#define SWAP_2(x) SWAP(x, x, 2, 3, 0, 1, 6, 7, 4, 5)
#define SWAP_1(x) SWAP(x, x, 1, 0, 3, 2, 5, 4, 7, 6)
#else
#define SWAP_2(x) SWAP(x, x, 2, 3, 0, 1)
#define SWAP_1(x) SWAP(x, x, 1, 0, 3, 2)
#endif

INLINE FloatPart plus_part(FloatPart a, FloatPart b) { return a + b; }

// Combines lane i with lane i ^ 8, then i ^ 4, i ^ 2, i ^ 1: a sum or maximum over 16 lanes takes
// four steps, in the same order on every machine, so the bits are the same too.
#if REGISTER == 64
#define ACROSS(x, OF)                                                                              \
    FloatPart y = OF(x.part[0], SWAP_8(x.part[0]));                                                \
    y = OF(y, SWAP_4(y))
#elif REGISTER == 32
#define ACROSS(x, OF)                                                                              \
    FloatPart y = OF(x.part[0], x.part[1]);                                                        \
    y = OF(y, SWAP_4(y))
#else
#define ACROSS(x, OF) FloatPart y = OF(OF(x.part[0], x.part[2]), OF(x.part[1], x.part[3]))
#endif

INLINE float sum(Floats x)
{
    ACROSS(x, plus_part);
    y = y + SWAP_2(y);
    y = y + SWAP_1(y);
    return y[0];
}

INLINE float maximum(Floats x)
{
    ACROSS(x, larger_part);
    y = larger_part(y, SWAP_2(y));
    y = larger_part(y, SWAP_1(y));
    return y[0];
}

// The nearest integer of each number, in the low bits: adding 1.5 x 2^23 moves it there.
constexpr float MAGIC = 0x1.8p23f;

// 2^x for x <= 0, with a relative error of 3e-7; 0 below -126.
ONE_COPY Floats exp2_neg(Floats x)
{
    x = larger(x, splat(-127.0f));
    const Floats rounded = x + splat(MAGIC);          // at 1.5 x 2^23 a float has no bits for
    const Floats f = x - (rounded - splat(MAGIC));    // fractions: f is in [-1/2, 1/2]
    Floats p = splat(1.5403530e-4f); // 2^f by its minimax polynomial of degree 6
    p = fused(p, f, splat(1.3333558e-3f));
    p = fused(p, f, splat(9.6181291e-3f));
    p = fused(p, f, splat(5.5504109e-2f));
    p = fused(p, f, splat(2.4022651e-1f));
    p = fused(p, f, splat(6.9314718e-1f));
    p = fused(p, f, splat(1.0f));
    // Adding to the exponent field multiplies by 2^integer. Below -126 the field would wrap around,
    // so the result is set to 0 there.
    const Ints exponent = bits_of(rounded) << 23;
    return from_bits((bits_of(p) + exponent) & above(x, splat(-126.0f)));
}

} // namespace
} // namespace onelayer
