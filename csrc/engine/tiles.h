// Products by tiles, where a processor has them: AMX. A tile register holds 16 rows of 64 bytes, and
// an instruction multiplies 16 rows of x by 16 columns of w, 64 inputs of each. Panels suit tiles as
// they are: DEPTH inputs of 16 columns are 64 bytes, and the next inputs are a panel further.
//
// Two times 16 rows and two times 16 columns are multiplied together, so that four loads feed four
// products. What is left of the inputs, fewer than 64, is added by vectors.
#pragma once
#include "gemm.h"

namespace onelayer {
namespace {

#ifdef TILES
static_assert(PANEL == UNIT && DEPTH == 4 && OFFSET == 0 && sizeof(Quantized) == 1,
              "panels are not as tiles read them");

constexpr int64_t TILE = 16;   // rows and columns of a tile of sums
constexpr int64_t INPUTS = 64; // that an instruction multiplies
// Rows of q that there must be memory for, whatever is in it: the tiles always have 16 rows, so that
// their configuration stays the same.
constexpr int64_t FEWEST_ROWS = TILE;

// Memory in the form that `ldtilecfg` reads. Eight tiles, all of them whole.
struct alignas(64) TileShapes {
    uint8_t palette, start, unused[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};
const TileShapes whole_tiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// While one of these exists, its thread can use tiles. Afterwards the system doesn't save 8 kB of
// them whenever it switches to another thread.
struct OpenTiles {
    OpenTiles() { _tile_loadconfig(&whole_tiles); }
    ~OpenTiles() { _tile_release(); }
    OpenTiles(const OpenTiles &) = delete;
    OpenTiles &operator=(const OpenTiles &) = delete;
};

// sums (32, 32) of two times 16 rows of x with 32 columns of a panel, over the first K inputs.
// Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns.
INLINE void two_by_two(const Quantized *first, const Quantized *second, int64_t ldx,
                       const int8_t *w, int64_t K, int32_t *sums)
{
    constexpr int64_t next = PANEL * DEPTH, ld = 2 * TILE * 4; // bytes
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < K; k += INPUTS, w += PANEL * INPUTS) {
        _tile_loadd(6, w, next);
        _tile_loadd(4, first + k, ldx);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, w + TILE * DEPTH, next);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(5, second + k, ldx);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums, ld);
    _tile_stored(1, sums + TILE, ld);
    _tile_stored(2, sums + 2 * TILE * TILE, ld);
    _tile_stored(3, sums + 2 * TILE * TILE + TILE, ld);
}

// sums (16, 64) of 16 rows with all columns of a panel.
INLINE void one_by_four(const Quantized *x, int64_t ldx, const int8_t *w, int64_t K, int32_t *sums)
{
    constexpr int64_t next = PANEL * DEPTH, ld = 4 * TILE * 4;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < K; k += INPUTS, w += PANEL * INPUTS) {
        _tile_loadd(4, x + k, ldx);
        _tile_loadd(6, w, next);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, w + TILE * DEPTH, next);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(6, w + 2 * TILE * DEPTH, next);
        _tile_dpbusd(2, 4, 6);
        _tile_loadd(7, w + 3 * TILE * DEPTH, next);
        _tile_dpbusd(3, 4, 7);
    }
    _tile_stored(0, sums, ld);
    _tile_stored(1, sums + TILE, ld);
    _tile_stored(2, sums + 2 * TILE, ld);
    _tile_stored(3, sums + 3 * TILE, ld);
}

// Rows `from` to `to` - 1 of V * LANES columns of y, of their sums over the first K inputs.
template <int V>
INLINE void finish_rows(const Matrix *w, int64_t column, int64_t K, const Quantized *q,
                        const Scale *scale, const int32_t *sums, int64_t from, int64_t to, float *y,
                        int64_t ldy)
{
    constexpr int R = 16 / V; // 16 registers hold sums
    for (int64_t row = from; row < to; row += R) {
        const int64_t i = row + R <= to ? row : to - R; // the last rows, if need be a second time
        Ints acc[R][V];
        ALL for (int r = 0; r < R; r++) ALL for (int v = 0; v < V; v++) acc[r][v] =
            load(sums + (i - from + r) * V * LANES + v * LANES);
        finish<R, V>(w, column, K, q + i * w->K, scale + i, acc, y + i * ldy + column, ldy);
    }
}

// The columns of a unit of y (rows, ldy) = x w + bias. Where fewer than 16 rows are left, the last 16
// are computed again: that takes as long as a smaller tile, and its y are the same.
void product_by_tiles(const Matrix *w, const Quantized *q, const Scale *scale, int64_t rows,
                      int64_t unit, float *y, int64_t ldy)
{
    // Few rows wait for the weights from memory longer than for products.
    if (rows <= TALL)
        return product(w, q, scale, rows, unit, y, ldy);
    __asm__ volatile("" ::: "memory"); // GCC doesn't know that loading a tile reads memory
    alignas(64) int32_t sums[4 * TILE * TILE];
    const int64_t K = w->K / INPUTS * INPUTS, column = unit * UNIT;
    const int64_t last = rows > TILE ? rows - TILE : 0; // where the last tile of rows begins
    const int8_t *panel = w->weight + column * w->K;
    const int64_t pairs = (rows + TILE - 1) / TILE / 2;
    // Half of a panel stays in the first cache while all rows are multiplied by it.
    for (int64_t half = 0; half < 2; half++) {
        const int64_t at = half * 2 * TILE;
        for (int64_t pair = 0; pair < pairs; pair++) {
            const int64_t first = pair * 2 * TILE;
            const int64_t second = first + TILE < last ? first + TILE : last;
            two_by_two(q + first * w->K, q + second * w->K, w->K, panel + at * DEPTH, K, sums);
            finish_rows<2>(w, column + at, K, q, scale, sums, first, first + TILE, y, ldy);
            finish_rows<2>(w, column + at, K, q, scale, sums + 2 * TILE * TILE, second,
                           second + TILE, y, ldy);
        }
    }
    if (pairs * 2 * TILE < rows) {
        one_by_four(q + last * w->K, w->K, panel, K, sums);
        finish_rows<4>(w, column, K, q, scale, sums, last, rows, y, ldy);
    }
}
#else
constexpr int64_t FEWEST_ROWS = 1;

struct OpenTiles {
    OpenTiles() {}
};

void product_by_tiles(const Matrix *w, const Quantized *q, const Scale *scale, int64_t rows,
                      int64_t unit, float *y, int64_t ldy)
{
    product(w, q, scale, rows, unit, y, ldy);
}
#endif

} // namespace
} // namespace onelayer
