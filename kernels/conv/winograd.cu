// Winograd's F(4x4, 3x3): the transforms around 36 matrix products (winograd_forms.py says where the matrices come from, cuda_winograd.py what is done in which order).
//
//     filters     U[e] = (G w G^T)[e]      for each filter and channel: 9 elements become 36
//     inputs      V[e] = (B^T D B)[e]      for each tile and channel: 6 x 6 pixels become 36 elements
//                 M[e] = V[e] U[e]         36 matrix products (tiles x C) (C x K), by matmul.cu
//     outputs     Y = A^T M A (+ bias)     for each tile and filter: 36 elements become 4 x 4 pixels
//
// and for the gradient in the weights, the adjoints: outputs_grad, A dY A^T, and filters_grad, G^T X G.
//
// Napkin: 36 products where the definition has 144, so a quarter of its FLOPs (from memory's point of view: V and M are written and read, 2 * 36 / 16 * (C + K) elements
// for a pixel of 9 * C * K products). The transforms have about 10 FLOPs for an element that they move: memory is their bound. They pay for themselves from about 60 channels on.
//
//     a thread:   one tile (or filter) of one channel, all in registers: up to 36 loads, 36 stores. Element e of all tiles and channels lies together, and neighbouring threads
//                 are neighbours there and, of channels-last images, in the images too; in contiguous images neighbours are tiles, four pixels apart: a warp uses
//                 a quarter of each line that a load touches, and its other loads find the rest in the L1 cache.
#include "operands.h"

struct Tiling {
    int down, across, start_h, start_w;  // tiles of an image; where the first begins
    bool channels_first;                 // the order of tiles and channels in V and M
};
struct Steps {
    index_t group, filter, channel, row, column;
};

// ---- the matrices, for the points 0, +-a, +-b, infinity

constexpr real a = real(0.70710678118654752440), b = real(1.41421356237309504880);

struct Input {  // B^T
    static constexpr int ROWS = 6, COLUMNS = 6;
    static __device__ __forceinline__ constexpr real at(int i, int j) {
        constexpr real m[6][6] = {{1, 0, -2.5, 0, 1, 0}, {0, -b, -2, a, 1, 0}, {0, b, -2, -a, 1, 0}, {0, -a, -0.5, b, 1, 0}, {0, a, -0.5, -b, 1, 0}, {0, 1, 0, -2.5, 0, 1}};
        return m[i][j];
    }
};
struct Filter {  // G
    static constexpr int ROWS = 6, COLUMNS = 3;
    static __device__ __forceinline__ constexpr real at(int i, int j) {
        constexpr real s = real(-2) / 3, t = real(1) / 6, u = real(1) / 3;
        constexpr real m[6][3] = {{1, 0, 0}, {s, s * a, s / 2}, {s, -s * a, s / 2}, {t, t * b, u}, {t, -t * b, u}, {0, 0, 1}};
        return m[i][j];
    }
};
struct Output {  // A^T
    static constexpr int ROWS = 4, COLUMNS = 6;
    static __device__ __forceinline__ constexpr real at(int i, int j) {
        constexpr real m[4][6] = {{1, 1, 1, 1, 1, 0}, {0, a, -a, b, -b, 0}, {0, 0.5, 0.5, 2, 2, 0}, {0, a / 2, -a / 2, 2 * b, -2 * b, 1}};
        return m[i][j];
    }
};
template <class M> struct Adjoint {
    static constexpr int ROWS = M::COLUMNS, COLUMNS = M::ROWS;
    static __device__ __forceinline__ constexpr real at(int i, int j) { return M::at(j, i); }
};

// M x M^T. All loops are unrolled, so that the matrix is part of the instructions, and what is 0 in it costs nothing.
template <class M> __device__ __forceinline__ void both_sides(const real (&x)[M::COLUMNS][M::COLUMNS], real (&y)[M::ROWS][M::ROWS]) {
    real half[M::ROWS][M::COLUMNS];
#pragma unroll
    for (int i = 0; i < M::ROWS; ++i)
#pragma unroll
        for (int j = 0; j < M::COLUMNS; ++j) {
            half[i][j] = 0;
#pragma unroll
            for (int k = 0; k < M::COLUMNS; ++k)
                if (M::at(i, k) != 0) half[i][j] += M::at(i, k) * x[k][j];
        }
#pragma unroll
    for (int i = 0; i < M::ROWS; ++i)
#pragma unroll
        for (int j = 0; j < M::ROWS; ++j) {
            y[i][j] = 0;
#pragma unroll
            for (int k = 0; k < M::COLUMNS; ++k)
                if (M::at(j, k) != 0) y[i][j] += half[i][k] * M::at(j, k);
        }
}

// ---- tiles of images

struct Spot {
    index_t image;
    int h, w, channel;  // of the tile's first pixel
};
__device__ __forceinline__ Spot spot(index_t i, const Tiling& tiling, index_t tiles, int channels) {
    index_t tile = tiling.channels_first ? i % tiles : i / channels;
    int channel = tiling.channels_first ? i / tiles : i % channels, in_image = tile % (tiling.down * tiling.across);
    return {tile / (tiling.down * tiling.across), in_image / tiling.across * 4 + tiling.start_h, in_image % tiling.across * 4 + tiling.start_w, channel};
}

// v[e][i] = (M D M^T)[e], for tile and channel number i of n.
template <class M> __device__ __forceinline__ void from_images(const real* x, const Images& X, const Tiling& tiling, real* v, index_t tiles) {
    index_t i = static_cast<index_t>(blockIdx.x) * THREADS + threadIdx.x, n = tiles * X.channels;
    if (i >= n) return;
    Spot at = spot(i, tiling, tiles, X.channels);
    x += at.image * X.image + at.channel * X.channel;
    real in[M::COLUMNS][M::COLUMNS], out[M::ROWS][M::ROWS];
#pragma unroll
    for (int r = 0; r < M::COLUMNS; ++r)
#pragma unroll
        for (int s = 0; s < M::COLUMNS; ++s) {
            int h = at.h + r, w = at.w + s;
            in[r][s] = 0 <= h && h < X.height && 0 <= w && w < X.width ? x[h * X.row + w * X.column] : real(0);
        }
    both_sides<M>(in, out);
#pragma unroll
    for (int e = 0; e < 36; ++e) v[e * n + i] = out[e / 6][e % 6];
}

extern "C" __global__ void __launch_bounds__(THREADS) inputs(const real* x, const Images X, const Tiling tiling, real* v, index_t tiles) {
    from_images<Input>(x, X, tiling, v, tiles);
}
extern "C" __global__ void __launch_bounds__(THREADS) outputs_grad(const real* dy, const Images DY, const Tiling tiling, real* v, index_t tiles) {
    from_images<Adjoint<Output>>(dy, DY, tiling, v, tiles);
}

extern "C" __global__ void __launch_bounds__(THREADS) outputs(const real* m, const real* bias, real* y, const Images Y, const Tiling tiling, index_t tiles) {
    index_t i = static_cast<index_t>(blockIdx.x) * THREADS + threadIdx.x, n = tiles * Y.channels;
    if (i >= n) return;
    Spot at = spot(i, tiling, tiles, Y.channels);
    y += at.image * Y.image + at.channel * Y.channel;
    real in[6][6], out[4][4], added = bias ? bias[at.channel] : real(0);
#pragma unroll
    for (int e = 0; e < 36; ++e) in[e / 6][e % 6] = m[e * n + i];
    both_sides<Output>(in, out);
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
        for (int s = 0; s < 4; ++s)
            if (at.h + r < Y.height && at.w + s < Y.width) y[(at.h + r) * Y.row + (at.w + s) * Y.column] = out[r][s] + added;
}

// ---- filters

// u (36, groups, channels, filters); number i of the n = groups * channels * filters is one filter's channel.
extern "C" __global__ void __launch_bounds__(THREADS) filters(const real* w, const Steps step, real* u, int channels, int count, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= n) return;
    w += i % count * step.filter + i / count % channels * step.channel + i / count / channels * step.group;
    real in[3][3], out[6][6];
#pragma unroll
    for (int r = 0; r < 3; ++r)
#pragma unroll
        for (int s = 0; s < 3; ++s) in[r][s] = w[r * step.row + s * step.column];
    both_sides<Filter>(in, out);
#pragma unroll
    for (int e = 0; e < 36; ++e) u[e * n + i] = out[e / 6][e % 6];
}

// dw (n, 3, 3) from the sum, in order, of the parts of x (parts, 36, n).
extern "C" __global__ void __launch_bounds__(THREADS) filters_grad(const real* x, int parts, real* dw, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= n) return;
    real in[6][6] = {}, out[3][3];
    for (int part = 0; part < parts; ++part, x += 36 * n)
#pragma unroll
        for (int e = 0; e < 36; ++e) in[e / 6][e % 6] += x[e * n + i];
    both_sides<Adjoint<Filter>>(in, out);
#pragma unroll
    for (int e = 0; e < 9; ++e) dw[i * 9 + e] = out[e / 3][e % 3];
}
