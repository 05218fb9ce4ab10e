// Convolution as a matrix product with the unfolded image, which is never stored ("implicit GEMM"; Chetlur et al. 2014, cuDNN). operands.h says how a thread finds its
// elements, matmul/tile.h how a tile is computed.
//
//     gather:   y[n, p, q, k]  = sum over r, s, c of    x[n, pixel under tap (r, s) at (p, q), c] * w[k, r, s, c]      (+ bias[k])
//     weights:  dw[k, r, s, c] = sum over n, p, q of    dy[n, p, q, k] * x[n, pixel under tap (r, s) at (p, q), c]
//
// The gradient in the input is a gather too, from dy with the filters turned round: cuda_implicit.py says how, also for strides above 1.
//
// Napkin: 2*N*P*Q*K*(C/G)*R*S FLOPs. A block computes 128 positions x 128 filters (64 x 64 for small layers and double): for each step of 8 it loads 2 * 128 * 8 elements
// for 128 * 128 * 8 products, 32 FLOPs a byte from the L2 cache; from memory come x, w and y about once, R*S*K/4 FLOPs a byte and more, so arithmetic is the bound wherever
// the tiles are filled. What is lost: tiles at the edges, channels up to a multiple of four (C = 3 costs a third), and blocks where P*Q and K are small. There the sum
// is cut into parts (blockIdx.z), which are stored apart and added up in order by `add_parts` of matmul.cu.
//
//     a thread, in each step:   one quad of x (or dy) and one of w (or x) from memory; 8 * (8 + 8) elements from shared memory; 8 * 64 multiply-adds
//     and in the end:           8 x 8 elements of y, four channels or, in contiguous images, four pixels at a time
#include "operands.h"

// blockIdx: x tiles of positions and filters, y group, z part of the sum. Parts of y lie part_y elements apart.
template <int SIDE>
__device__ __forceinline__ void gather(const real* x, const Images& X, const real* w, const real* bias, real* y, const Images& Y, const Taps& taps, index_t positions,
                                       int part_steps, index_t part_y, typename Tile<SIDE>::Shared& shared) {
    constexpr int EACH = Tile<SIDE>::EACH, DEPTH = Tile<SIDE>::DEPTH;
    int across = (Y.channels + SIDE - 1) / SIDE, group = blockIdx.y, depth = taps.R * taps.S * up_to_four(X.channels);
    index_t first = static_cast<index_t>(blockIdx.x / across) * SIDE;
    int k0 = blockIdx.x % across * SIDE, first_step = blockIdx.z * part_steps, steps = min(part_steps, (depth + DEPTH - 1) / DEPTH - first_step);

    Patches<SIDE> patches(x + group * X.channels * X.channel, X, taps, first, positions, Y.height, Y.width, first_step * DEPTH);
    Filters<SIDE> filters(w + static_cast<index_t>(group) * Y.channels * taps.R * taps.S * X.channels, taps, X.channels, k0, Y.channels, first_step * DEPTH);
    real sums[EACH][EACH];
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    bool channels_together = Y.channel == 1;  // else pixels: neighbouring threads store neighbouring elements
    int my_row = channels_together ? ty : tx, my_column = channels_together ? tx : ty;
    Tile<SIDE>::multiply(patches, filters, steps, my_row, my_column, shared, sums);

    y += blockIdx.z * part_y + group * Y.channels * Y.channel;
    if (bias) bias += group * Y.channels;
    if (has_quads_of_pixels(y, Y)) {
#pragma unroll
        for (int i = 0; i < EACH; i += 4) {
            index_t position = first + Tile<SIDE>::place(my_row, i);
            if (position >= positions) continue;
            Wheels pixel(position, Y.height, Y.width);
            real* there = y + pixel.outer * Y.image + pixel.middle * Y.row + pixel.inner * Y.column;
#pragma unroll
            for (int j = 0; j < EACH; ++j) {
                int k = k0 + Tile<SIDE>::place(my_column, j);
                if (k >= Y.channels) continue;
                Four quad;
#pragma unroll
                for (int l = 0; l < 4; ++l) quad.x[l] = sums[i + l][j] + (bias ? bias[k] : real(0));
                *reinterpret_cast<Four*>(there + k * Y.channel) = quad;
            }
        }
        return;
    }
    bool whole = has_quads(y, Y);
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
        index_t position = first + Tile<SIDE>::place(my_row, i);
        if (position >= positions) continue;
        Wheels pixel(position, Y.height, Y.width);
        real* there = y + pixel.outer * Y.image + pixel.middle * Y.row + pixel.inner * Y.column;
#pragma unroll
        for (int j = 0; j < EACH; j += 4) {
            int k = k0 + Tile<SIDE>::place(my_column, j);
            Four quad;
#pragma unroll
            for (int l = 0; l < 4; ++l) quad.x[l] = sums[i][j + l] + (bias && k + l < Y.channels ? bias[k + l] : real(0));
            store_four(there + k * Y.channel, Y.channel, Y.channels - k, whole, quad);
        }
    }
}

// dw lies as (parts, groups, K, R, S, C). DY are dy's images; `count` how many there are.
template <int SIDE>
__device__ __forceinline__ void weights(const real* dy, const Images& DY, const real* x, const Images& X, real* dw, const Taps& taps, int count, int part_steps,
                                        typename Tile<SIDE>::Shared& shared) {
    constexpr int EACH = Tile<SIDE>::EACH, DEPTH = Tile<SIDE>::DEPTH;
    int K = DY.channels, C = X.channels, padded = up_to_four(C), RS = taps.R * taps.S, across = (RS * padded + SIDE - 1) / SIDE, group = blockIdx.y;
    int k0 = blockIdx.x / across * SIDE, column0 = blockIdx.x % across * SIDE;
    index_t positions = static_cast<index_t>(count) * DY.height * DY.width, first = static_cast<index_t>(blockIdx.z) * part_steps;
    index_t steps = min(static_cast<index_t>(part_steps), (positions + DEPTH - 1) / DEPTH - first);

    const Taps itself{1, 1, 0, 0, 1, 1, 0, 0};
    Pixels<SIDE> filters(dy + group * K * DY.channel, DY, itself, k0, count, DY.height, DY.width, first * DEPTH);
    Pixels<SIDE> pixels(x + group * C * X.channel, X, taps, column0, count, DY.height, DY.width, first * DEPTH);
    real sums[EACH][EACH];
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    Tile<SIDE>::multiply(filters, pixels, steps, ty, tx, shared, sums);

    dw += (static_cast<index_t>(blockIdx.z) * gridDim.y + group) * K * RS * C;
#pragma unroll
    for (int j = 0; j < EACH; ++j) {
        int column = column0 + Tile<SIDE>::place(tx, j), tap = column / padded, c = column % padded;
        if (tap >= RS || c >= C) continue;
#pragma unroll
        for (int i = 0; i < EACH; ++i) {
            int k = k0 + Tile<SIDE>::place(ty, i);
            if (k < K) dw[static_cast<index_t>(k) * RS * C + tap * C + c] = sums[i][j];
        }
    }
}

// ---- the kernels

extern "C" __global__ void __launch_bounds__(THREADS)
gather_small(const real* x, const Images X, const real* w, const real* bias, real* y, const Images Y, const Taps taps, index_t positions, int part_steps, index_t part_y) {
    __shared__ __align__(16) Tile<SMALL>::Shared shared;
    gather<SMALL>(x, X, w, bias, y, Y, taps, positions, part_steps, part_y, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
gather_large(const real* x, const Images X, const real* w, const real* bias, real* y, const Images Y, const Taps taps, index_t positions, int part_steps, index_t part_y) {
    __shared__ __align__(16) Tile<LARGE>::Shared shared;
    gather<LARGE>(x, X, w, bias, y, Y, taps, positions, part_steps, part_y, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
weights_small(const real* dy, const Images DY, const real* x, const Images X, real* dw, const Taps taps, int count, int part_steps) {
    __shared__ __align__(16) Tile<SMALL>::Shared shared;
    weights<SMALL>(dy, DY, x, X, dw, taps, count, part_steps, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
weights_large(const real* dy, const Images DY, const real* x, const Images X, real* dw, const Taps taps, int count, int part_steps) {
    __shared__ __align__(16) Tile<LARGE>::Shared shared;
    weights<LARGE>(dy, DY, x, X, dw, taps, count, part_steps, shared);
}
