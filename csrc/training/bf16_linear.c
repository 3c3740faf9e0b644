/* Linear layers over bf16 matrices in blocks; weights and their gradients are fp32, by rows. */
#include "bf16.h"

#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static int64_t works;

/* When the library is loaded: Linux gives a process the tiles' registers if it asks for them. */
__attribute__((constructor)) static void ask_for_instructions(void)
{
#if defined(__AMX_BF16__) && defined(__linux__)
    const long request = 0x1023, registers = 18; /* ARCH_REQ_XCOMP_PERM of the tiles' data */
    works = syscall(SYS_arch_prctl, request, registers) == 0;
#elif defined(__AVX512BF16__) && !defined(__AMX_BF16__)
    works = 1;
#endif
}

/* Whether this process has the instructions for products of bf16 that this was compiled with. Without
 * any, the functions below are slower than those of fp32. */
int64_t bf16_works(void) { return works; }

/* 1/2 + x P(x^2), where P has the given coefficients, the highest power first. Beyond 4 it stays. */
INLINE vec rising(vec x, const float coefficients[8])
{
    const vec c = larger(smaller(x, splat(4.0f)), splat(-4.0f)), u = c * c;
    vec p = splat(coefficients[0]);
    UNROLL for (int i = 1; i < 8; i++)
        p = p * u + coefficients[i];
    return p * c + 0.5f;
}

/* Phi for GELU, x Phi(x), with an error below 4e-5, a hundredth of bf16's: fitted on [-4, 4], where it
 * ends at 0 and 1. */
INLINE vec rough_cdf(vec x)
{
    static const float fitted[8] = {-1.32833233e-9f, 1.07379002e-7f,  -3.77769175e-6f, 7.69877588e-5f,
                                    -1.02600118e-3f, 9.59699601e-3f, -6.60854131e-2f, 3.98813784e-1f};
    return rising(x, fitted);
}

/* GELU's derivative Phi(x) + x phi(x), with an error below 5e-4, fitted likewise. */
INLINE vec rough_slope(vec x)
{
    static const float fitted[8] = {-1.98860821e-8f, 1.42897875e-6f, -4.38470197e-5f, 7.57157744e-4f,
                                    -8.17636866e-3f, 5.77314831e-2f, -2.65164107e-1f, 7.98475504e-1f};
    return rising(x, fitted);
}

/* W (N, K) fp32 -> a product's second factor: by inputs it is W^T (K, N), for y = x W^T, otherwise W, for
 * dx = dy W. */
void bf16_pack(const float *W, bf16 *packed, int64_t by_inputs, int64_t N, int64_t K)
{
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < N; n += SIDE) {
        bf16 block[BLOCK_SIZE];
        for (int64_t k = 0; k < K; k += SIDE) {
            for (int64_t i = 0; i < SIDE; i++)
                for (int64_t j = 0; j < SIDE; j += LANES)
                    narrow(block + i * SIDE + j, load(W + (n + i) * K + k + j));
            if (by_inputs)
                turn_block(block, packed + n * K + k * SIDE); /* of panel n / 32 */
            else
                pair_block(block, packed + k * N + n * SIDE); /* of panel k / 32 */
        }
    }
}

enum { PLAIN, GELU, GELU_BACKWARD };

/* A block whose sums are known, and what becomes of them. `h` are the inputs of GELU: written, or read
 * for its slope. */
typedef struct {
    const float *sums, *bias;
    bf16 *h, *y;
    int64_t done; /* of its rows */
} Block;

INLINE void finish(Block *block, int64_t steps, int how)
{
    const int64_t end = block->done + (SIDE + steps - 1) / steps;
    for (; block->done < SIDE && block->done < end; block->done++)
        for (int64_t j = 0; j < SIDE; j += LANES) {
            const int64_t at = block->done * SIDE + j;
            vec x = load(block->sums + at);
            if (how != GELU_BACKWARD && block->bias)
                x += load(block->bias + j);
            if (how == GELU) {
                narrow(block->h + at, x);
                x *= rough_cdf(x);
            } else if (how == GELU_BACKWARD)
                x *= rough_slope(widen(block->h + at));
            narrow(block->y + at, x);
        }
}

INLINE void finish_plain(void *block, int64_t steps) { finish(block, steps, PLAIN); }
INLINE void finish_gelu(void *block, int64_t steps) { finish(block, steps, GELU); }
INLINE void finish_gelu_backward(void *block, int64_t steps) { finish(block, steps, GELU_BACKWARD); }

#define CHUNK_ROWS 256 /* rows of A that stay in the second cache while columns of B pass by */
#define GROUP 128      /* columns of a task */

/* The sums of a block are computed while those of the last one are finished. */
INLINE void multiply_all(const bf16 *A, const bf16 *B, const float *bias, bf16 *h, bf16 *y, int64_t M,
                         int64_t N, int64_t K, Meanwhile *finish_block)
{
    const int64_t groups = (N + GROUP - 1) / GROUP, chunks = (M + CHUNK_ROWS - 1) / CHUNK_ROWS;
#pragma omp parallel
    {
        float sums[2][BLOCK_SIZE] __attribute__((aligned(64)));
        Block last = {.done = SIDE};
        int64_t turn = 0;
        open_tiles();
#pragma omp for schedule(dynamic) nowait
        for (int64_t task = 0; task < groups * chunks; task++) {
            const int64_t first = task / groups * CHUNK_ROWS, from = task % groups * GROUP;
            const int64_t rows_end = first + CHUNK_ROWS < M ? first + CHUNK_ROWS : M;
            const int64_t columns_end = from + GROUP < N ? from + GROUP : N;
            for (int64_t n = from; n < columns_end; n += SIDE)
                for (int64_t m = first; m < rows_end; m += SIDE, turn = !turn) {
                    const int64_t at = m * N + n * SIDE;
                    multiply_block(A + m * K, B + n * K, K, sums[turn], SIDE, 0, finish_block, &last);
                    Block block = {sums[turn], bias ? bias + n : NULL, h ? h + at : NULL, y + at, 0};
                    last = block;
                }
        }
        finish_block(&last, 1);
        close_tiles();
    }
}

/* y (M, N) = A (M, K) B + bias, where B is packed and bias may be NULL. */
void bf16_linear(const bf16 *A, const bf16 *B, const float *bias, bf16 *y, int64_t M, int64_t N,
                 int64_t K)
{
    multiply_all(A, B, bias, NULL, y, M, N, K, finish_plain);
}

/* y = GELU(h) with h = A B + bias. */
void bf16_linear_gelu(const bf16 *A, const bf16 *B, const float *bias, bf16 *h, bf16 *y, int64_t M,
                      int64_t N, int64_t K)
{
    multiply_all(A, B, bias, h, y, M, N, K, finish_gelu);
}

/* dh = (A B) GELU'(h). */
void bf16_linear_gelu_backward(const bf16 *A, const bf16 *B, const bf16 *h, bf16 *dh, int64_t M,
                               int64_t N, int64_t K)
{
    multiply_all(A, B, NULL, (bf16 *)h, dh, M, N, K, finish_gelu_backward);
}

#define DEPTH 512 /* rows that are summed at once, and columns of x, so that both factors stay in the */
#define WIDE 768  /* second cache */

/* sums (32) = or += the sums of 32 columns of a matrix's rows; it has N columns. */
static void sum_columns(const bf16 *x, int64_t N, int64_t rows, float *sums, int add)
{
    for (int64_t j = 0; j < SIDE; j += LANES) {
        vec total = add ? load(sums + j) : splat(0);
        for (int64_t m = 0; m < rows; m += SIDE)
            for (int64_t i = 0; i < SIDE; i++)
                total += widen(x + m * N + i * SIDE + j);
        store(sums + j, total);
    }
}

/* d_weight (N, K) = dy (M, N)^T x (M, K), and d_bias (N) is the sum of dy's rows; both fp32. */
void bf16_weight_backward(const bf16 *dy, const bf16 *x, float *d_weight, float *d_bias, int64_t M,
                          int64_t N, int64_t K)
{
    const int64_t panels = N / SIDE, wides = (K + WIDE - 1) / WIDE;
    bf16 *xs = memory(2 * (M < DEPTH ? M : DEPTH) * K);
#pragma omp parallel
    {
        bf16 *ys = memory(2 * SIDE * (M < DEPTH ? M : DEPTH));
        open_tiles();
        for (int64_t m0 = 0; m0 < M; m0 += DEPTH) {
            const int64_t rows = M - m0 < DEPTH ? M - m0 : DEPTH;
#pragma omp for schedule(dynamic)
            for (int64_t k = 0; k < K; k += SIDE)
                for (int64_t m = 0; m < rows; m += SIDE)
                    pair_block(x + (m0 + m) * K + k * SIDE, xs + k * rows + m * SIDE);
#pragma omp for schedule(dynamic)
            for (int64_t task = 0; task < wides * panels; task++) {
                const int64_t n = task % panels * SIDE, k0 = task / panels * WIDE;
                const int64_t k_end = k0 + WIDE < K ? k0 + WIDE : K;
                if (k0 == 0)
                    sum_columns(dy + m0 * N + n * SIDE, N, rows, d_bias + n, m0 > 0);
                for (int64_t m = 0; m < rows; m += SIDE)
                    transpose_block(dy + (m0 + m) * N + n * SIDE, ys + m * SIDE);
                for (int64_t k = k0; k < k_end; k += SIDE)
                    multiply_block(ys, xs + k * rows, rows, d_weight + n * K + k, K, m0 > 0, NULL, NULL);
            }
        }
        close_tiles();
        free(ys);
    }
    free(xs);
}
