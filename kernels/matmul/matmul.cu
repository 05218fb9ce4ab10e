// C = A B (+ bias), for a batch of matrices that lie in any way: element (m, k) of A is a[m * a_row + k * a_column], and likewise B and C. Transposed operands are
// operands with exchanged steps.
//
// 2 M N K FLOPs; bound by arithmetic from about M, N, K > 100 on, below that by memory, or by having too few blocks. tile.h says how a tile is computed, and has the
// napkin math. Here is what is particular to plain matrices: quads go along whichever direction lies together in memory, so that a warp reads whole lines of 128 bytes.
//
//     a thread fetches, for each step:  4 consecutive elements (one load of 16 bytes where rows begin on multiples of 16, else four)
//     and stores in the end:            8 x 8 (or 4 x 4) elements of C, four at a time where they lie together: a warp writes 256 bytes of a line at once
//
// Where M and N are small and K is large there would be too few blocks: the sum over K is then split; each part is stored on its own, and `add_parts` adds them up, in order
// (so the result is the same, bit for bit, each time; atomic additions would come in any order).
#include "tile.h"

// Rows of a plain matrix: element (row, k) is x[row * row_step + k * k_step].
template <int SIDE> struct Rows {
    typename Tile<SIDE>::Place place;
    const real* next;   // of this thread's quad
    index_t step;       // from element to element in a quad
    index_t advance;    // from quad to the next step's quad
    index_t left, ends_in;  // elements to the end of the matrix, along the quad and along k
    bool whole;

    __device__ __forceinline__ Rows(const real* x, index_t row_step, index_t k_step, index_t first_row, index_t rows, index_t first_k, index_t end_k) {
        bool along_k = k_step == 1 || row_step != 1;
        place = along_k ? Tile<SIDE>::quad_along_k(false) : Tile<SIDE>::quad_along_rows(false);
        index_t row = first_row + place.row, k = first_k + place.k;
        step = along_k ? k_step : row_step;
        whole = step == 1 && aligned(x + first_row * row_step + first_k * k_step, along_k ? row_step : k_step);
        next = x + row * row_step + k * k_step;
        advance = Tile<SIDE>::DEPTH * k_step;
        bool outside = along_k && row >= rows;
        left = outside ? 0 : rows - row;
        ends_in = outside ? 0 : end_k - k;
    }
    __device__ __forceinline__ Four fetch() {
        Four quad = load_four(next, step, place.along_k ? ends_in : ends_in > 0 ? left : 0, whole);
        next += advance;
        ends_in -= Tile<SIDE>::DEPTH;
        return quad;
    }
};

// One block: one tile of C, of one matrix of the batch, and one part of the sum over K. C's parts lie one after the other, `part` elements apart.
template <int SIDE>
__device__ __forceinline__ void multiply(const Layout& batch, const real* a, index_t a_row, index_t a_column, const real* b, index_t b_row, index_t b_column, real* c,
                                         index_t c_row, index_t c_column, const real* bias, index_t M, index_t N, index_t K, index_t part_k, index_t part_c,
                                         typename Tile<SIDE>::Shared& shared) {
    constexpr int EACH = Tile<SIDE>::EACH, DEPTH = Tile<SIDE>::DEPTH;
    index_t down = (M + SIDE - 1) / SIDE, across = (N + SIDE - 1) / SIDE, block = blockIdx.x;
    index_t n0 = block % across * SIDE, m0 = block / across % down * SIDE, matrix[4];
    places(batch, block / (across * down), matrix);  // of C, A, B and the bias
    index_t k0 = blockIdx.y * part_k, k1 = min(K, k0 + part_k);

    Rows<SIDE> rows(a + matrix[1], a_row, a_column, m0, M, k0, k1), columns(b + matrix[2], b_column, b_row, n0, N, k0, k1);
    real sums[EACH][EACH];
    bool along_n = c_column == 1 || c_row != 1;  // neighbouring threads store neighbouring elements
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16, my_row = along_n ? ty : tx, my_column = along_n ? tx : ty;
    Tile<SIDE>::multiply(rows, columns, (k1 - k0 + DEPTH - 1) / DEPTH, my_row, my_column, shared, sums);

    c += matrix[0] + blockIdx.y * part_c;
    if (bias) bias += matrix[3];
    bool whole = (along_n ? c_column : c_row) == 1 && aligned(c, along_n ? c_row : c_column);
#pragma unroll
    for (int i = 0; i < EACH; i += 4)
#pragma unroll
        for (int j = 0; j < EACH; j += 4)
#pragma unroll
            for (int l = 0; l < 4; ++l) {  // quads along whichever direction lies together
                index_t m = m0 + Tile<SIDE>::place(my_row, along_n ? i + l : i), n = n0 + Tile<SIDE>::place(my_column, along_n ? j : j + l);
                if (m >= M || n >= N) continue;
                Four quad;
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    quad.x[e] = along_n ? sums[i + l][j + e] : sums[i + e][j + l];
                    if (bias && (!along_n || n + e < N)) quad.x[e] += bias[along_n ? n + e : n];
                }
                store_four(c + m * c_row + n * c_column, along_n ? c_column : c_row, along_n ? N - n : M - m, whole, quad);
            }
}

extern "C" __global__ void __launch_bounds__(THREADS)
multiply_small(const Layout batch, const real* a, index_t a_row, index_t a_column, const real* b, index_t b_row, index_t b_column, real* c, index_t c_row, index_t c_column,
            const real* bias, index_t M, index_t N, index_t K, index_t part_k, index_t part_c) {
    __shared__ __align__(16) Tile<SMALL>::Shared shared;
    multiply<SMALL>(batch, a, a_row, a_column, b, b_row, b_column, c, c_row, c_column, bias, M, N, K, part_k, part_c, shared);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
multiply_large(const Layout batch, const real* a, index_t a_row, index_t a_column, const real* b, index_t b_row, index_t b_column, real* c, index_t c_row, index_t c_column,
             const real* bias, index_t M, index_t N, index_t K, index_t part_k, index_t part_c) {
    __shared__ __align__(16) Tile<LARGE>::Shared shared;
    multiply<LARGE>(batch, a, a_row, a_column, b, b_row, b_column, c, c_row, c_column, bias, M, N, K, part_k, part_c, shared);
}

// c = the sum over `parts` of partial[part], plus the bias: a thread an element. c may lie in any way, the bias be broadcast.
extern "C" __global__ void __launch_bounds__(THREADS)
add_parts(const Layout layout, real* c, const real* partial, int parts, const real* bias, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * THREADS + threadIdx.x, at[3];
    if (i >= n) return;
    places(layout, i, at);
    real sum = 0;
    for (int part = 0; part < parts; ++part) sum += partial[part * n + at[1]];
    c[at[0]] = bias ? sum + bias[at[2]] : sum;
}
