// Implicit GEMM on tensor cores (sm_80 and later): what implicit.cu computes, with factors of fewer bits. `input` is float, whose factors are rounded to the 10 bits of TF32, or
// half; sums are in float.
//
// An mma instruction multiplies 16 x 8 (half: 16 x 16) by 8 x 8 (16 x 8) elements, spread over the registers of a warp as device.h says. A block computes SIDE x SIDE sums, its
// 8 warps SIDE/4 rows x SIDE/2 columns each. Such products take a step's operands in a fraction of the time that memory takes to bring them, so several steps are under way:
// cp.async copies chunks of 16 bytes from global to shared memory, past the registers, into the next of STAGES buffers.
//
// Napkin (H100): 490 TFLOP/s in TF32, 980 in half. A step of 64 bytes a row costs 2 * 128 * 64 bytes from the L2 cache for 2 * 128 * 128 * 16 (32) FLOPs: 32 (64) FLOPs a byte,
// so at 5.5 TB/s from L2 at most 180 (360) TFLOP/s. mma.sync reaches about 60% of the peak at best; more needs wgmma, which this does not use.
//
//     a thread, in each step:   SIDE/64 chunks of each operand, 16 bytes each (element by element where channels do not lie together or are no multiple of a chunk)
//     a warp, in each step:     2 * SIDE/64 * SIDE/16 mma for 2 * (SIDE/64 * 4 + SIDE/16 * 2) words from shared memory a thread; rows there are padded, so that the words that a
//                               warp reads at once lie in different banks
#include "tensor_operands.h"

constexpr int THREADS = 256, STAGES = 3, SMALL = 64, LARGE = 128;

// ---- the product

__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], float) { mma_m16n8k8_tf32(c, a, b); }
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], half) { mma_m16n8k16_half(c, a, b); }

// Where sum number (i, j, e) of a thread belongs in the tile.
template <int SIDE> __device__ __forceinline__ int row_of(int i, int e) { return threadIdx.x / 32 % 4 * (SIDE / 4) + i * 16 + threadIdx.x % 32 / 4 + e / 2 * 8; }
template <int SIDE> __device__ __forceinline__ int column_of(int j, int e) { return threadIdx.x / 128 * (SIDE / 2) + j * 8 + threadIdx.x % 4 * 2 + e % 2; }

template <int SIDE, class Lie, class A, class B> __device__ __forceinline__ void multiply(A& a, B& b, index_t steps, input* shared, float (&sums)[SIDE / 64][SIDE / 16][4]) {
    constexpr int BUFFER = Lie::ELEMENTS;
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, row = threadIdx.x / 32 % 4 * (SIDE / 4) + g, column = threadIdx.x / 128 * (SIDE / 2) + g;
#pragma unroll
    for (int i = 0; i < SIDE / 64; ++i)
#pragma unroll
        for (int j = 0; j < SIDE / 16; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e) sums[i][j][e] = 0;
    auto load = [&](index_t step) {
        if (step < steps) {
            input* buffer = shared + step % STAGES * (2 * BUFFER);
            a.load(buffer);
            b.load(buffer + BUFFER);
        }
        cp_async_commit();  // an empty group too, so that there is one for each step
    };
    for (int step = 0; step < STAGES - 1; ++step) load(step);
    for (index_t step = 0; step < steps; ++step) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();  // this step is there, for all; and nobody reads the one before any more
        load(step + STAGES - 1);
        const input* tile = shared + step % STAGES * (2 * BUFFER);
#pragma unroll
        for (int k = 0; k < 16; k += 8) {  // words
            unsigned rows[SIDE / 64][4], columns[2];
#pragma unroll
            for (int i = 0; i < SIDE / 64; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e) rows[i][e] = Lie::fragment(tile, row + i * 16 + e % 2 * 8, k + t + e / 2 * 4);
#pragma unroll
            for (int j = 0; j < SIDE / 16; ++j) {
#pragma unroll
                for (int e = 0; e < 2; ++e) columns[e] = Lie::fragment(tile + BUFFER, column + j * 8, k + t + e * 4);
#pragma unroll
                for (int i = 0; i < SIDE / 64; ++i) multiply_add(sums[i][j], rows[i], columns, input());
            }
        }
    }
}

// ---- the two operations; parameters as in implicit.cu

template <int SIDE>
__device__ __forceinline__ void gather(const input* x, const Images& X, const input* w, const float* bias, float* y, const Images& Y, const Taps& taps, index_t positions,
                                       int part_steps, index_t part_y, input* shared) {
    int across = (Y.channels + SIDE - 1) / SIDE, group = blockIdx.y, depth = taps.R * taps.S * up_to_chunk(X.channels);
    index_t first = static_cast<index_t>(blockIdx.x / across) * SIDE;
    int k0 = blockIdx.x % across * SIDE, first_step = blockIdx.z * part_steps, steps = min(part_steps, (depth + DEPTH - 1) / DEPTH - first_step);
    Patches<SIDE> patches(x + group * X.channels * X.channel, X, taps, first, positions, Y.height, Y.width, first_step * DEPTH);
    Filters<SIDE> filters(w + static_cast<index_t>(group) * Y.channels * taps.R * taps.S * X.channels, taps, X.channels, k0, Y.channels, first_step * DEPTH);
    float sums[SIDE / 64][SIDE / 16][4];
    multiply<SIDE, RowByRow<SIDE>>(patches, filters, steps, shared, sums);

    y += blockIdx.z * part_y + group * Y.channels * Y.channel;
#pragma unroll
    for (int i = 0; i < SIDE / 64; ++i)
#pragma unroll
        for (int down = 0; down < 4; down += 2) {
            index_t position = first + row_of<SIDE>(i, down);
            Wheels pixel(position, Y.height, Y.width);
            float* there = y + pixel.outer * Y.image + pixel.middle * Y.row + pixel.inner * Y.column;
#pragma unroll
            for (int j = 0; j < SIDE / 16; ++j)
#pragma unroll
                for (int e = down; e < down + 2; ++e) {
                    int k = k0 + column_of<SIDE>(j, e);
                    if (position < positions && k < Y.channels) there[k * Y.channel] = sums[i][j][e] + (bias ? bias[group * Y.channels + k] : 0.f);
                }
        }
}

template <int SIDE>
__device__ __forceinline__ void weights(const input* dy, const Images& DY, const input* x, const Images& X, float* dw, const Taps& taps, int count, int part_steps, input* shared) {
    int K = DY.channels, C = X.channels, padded = up_to_chunk(C), RS = taps.R * taps.S, across = (RS * padded + SIDE - 1) / SIDE, group = blockIdx.y;
    int k0 = blockIdx.x / across * SIDE, column0 = blockIdx.x % across * SIDE;
    index_t positions = static_cast<index_t>(count) * DY.height * DY.width, first = static_cast<index_t>(blockIdx.z) * part_steps;
    index_t steps = min(static_cast<index_t>(part_steps), (positions + DEPTH - 1) / DEPTH - first);
    const Taps itself{1, 1, 0, 0, 1, 1, 0, 0};
    Pixels<SIDE> filters(dy + group * K * DY.channel, DY, itself, k0, count, DY.height, DY.width, first * DEPTH);
    Pixels<SIDE> pixels(x + group * C * X.channel, X, taps, column0, count, DY.height, DY.width, first * DEPTH);
    float sums[SIDE / 64][SIDE / 16][4];
    multiply<SIDE, StepByStep<SIDE>>(filters, pixels, steps, shared, sums);

    dw += (static_cast<index_t>(blockIdx.z) * gridDim.y + group) * K * RS * C;
#pragma unroll
    for (int j = 0; j < SIDE / 16; ++j)
#pragma unroll
        for (int right = 0; right < 2; ++right) {
            int column = column0 + column_of<SIDE>(j, right), tap = column / padded, c = column % padded;
            if (tap >= RS || c >= C) continue;
#pragma unroll
            for (int i = 0; i < SIDE / 64; ++i)
#pragma unroll
                for (int e = right; e < 4; e += 2) {
                    int k = k0 + row_of<SIDE>(i, e);
                    if (k < K) dw[static_cast<index_t>(k) * RS * C + tap * C + c] = sums[i][j][e];
                }
        }
}

extern "C" __global__ void __launch_bounds__(THREADS)
gather_small(const input* x, const Images X, const input* w, const float* bias, float* y, const Images Y, const Taps taps, index_t positions, int part_steps, index_t part_y) {
    DYNAMIC_SHARED(input, shared);
    gather<SMALL>(x, X, w, bias, y, Y, taps, positions, part_steps, part_y, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
gather_large(const input* x, const Images X, const input* w, const float* bias, float* y, const Images Y, const Taps taps, index_t positions, int part_steps, index_t part_y) {
    DYNAMIC_SHARED(input, shared);
    gather<LARGE>(x, X, w, bias, y, Y, taps, positions, part_steps, part_y, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
weights_small(const input* dy, const Images DY, const input* x, const Images X, float* dw, const Taps taps, int count, int part_steps) {
    DYNAMIC_SHARED(input, shared);
    weights<SMALL>(dy, DY, x, X, dw, taps, count, part_steps, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
weights_large(const input* dy, const Images DY, const input* x, const Images X, float* dw, const Taps taps, int count, int part_steps) {
    DYNAMIC_SHARED(input, shared);
    weights<LARGE>(dy, DY, x, X, dw, taps, count, part_steps, shared);
}
