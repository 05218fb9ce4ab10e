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
#include "window.h"

constexpr int THREADS = 256, STAGES = 3, SMALL = 64, LARGE = 128;
constexpr int CHUNK = 16 / sizeof(input), DEPTH = 4 * CHUNK;  // elements in 16 bytes, and of the sum in a step

__device__ __forceinline__ int up_to_chunk(int channels) { return (channels + CHUNK - 1) / CHUNK * CHUNK; }

// A chunk of elements, `step` apart, into shared memory; zeros beyond `left`. It is there after the next wait and barrier.
__device__ __forceinline__ void load_chunk(input* to, const input* from, index_t step, int left) {
    if (step == 1 && left >= CHUNK && reinterpret_cast<size_t>(from) % 16 == 0) {
        cp_async_16(to, from);
    } else {
#pragma unroll
        for (int i = 0; i < CHUNK; ++i) to[i] = i < left ? from[i * step] : static_cast<input>(0.f);
    }
}
__device__ __forceinline__ void load_pixel(input* to, const input* x, const Images& lie, int h, int w, int c, bool inside) {
    inside = inside && 0 <= h && h < lie.height && 0 <= w && w < lie.width;
    load_chunk(to, x + h * lie.row + w * lie.column + c * lie.channel, lie.channel, inside ? lie.channels - c : 0);
}

// ---- how a step's operand lies in shared memory, and the word of a register of mma: one element in TF32, or two, neighbours along k, in half

__device__ __forceinline__ unsigned word(const float* p, int) { return to_tf32(*p); }
__device__ __forceinline__ unsigned word(const half* p, int step) {
    auto bits = reinterpret_cast<const unsigned short*>(p);
    return step == 1 ? *reinterpret_cast<const unsigned*>(p) : bits[0] | static_cast<unsigned>(bits[step]) << 16;
}
template <int SIDE> struct RowByRow {  // k innermost
    static constexpr int LINE = DEPTH + CHUNK, ELEMENTS = SIDE * LINE;
    static __device__ __forceinline__ unsigned fragment(const input* tile, int row, int k_word) { return word(tile + row * LINE + k_word * (CHUNK / 4), 1); }
};
template <int SIDE> struct StepByStep {  // rows innermost
    static constexpr int LINE = SIDE + 8, ELEMENTS = DEPTH * LINE;
    static __device__ __forceinline__ unsigned fragment(const input* tile, int row, int k_word) { return word(tile + k_word * (CHUNK / 4) * LINE + row, LINE); }
};

// ---- operands: `load` brings the next step into a buffer. A thread takes LOADS chunks.

// Rows are positions of the window, k runs over taps and channels.
template <int SIDE> struct Patches {
    static constexpr int LOADS = SIDE / 64;
    const Images& lie;
    const Taps& taps;
    int row, chunk;
    const input* x[LOADS];
    int h0[LOADS], w0[LOADS];
    bool exists[LOADS];
    Wheels at;

    __device__ __forceinline__ Patches(const input* images, const Images& lie, const Taps& taps, index_t first, index_t positions, int P, int Q, int first_k)
        : lie(lie), taps(taps), row(lie.channel == 1 ? threadIdx.x / 4 : threadIdx.x % 64), chunk(lie.channel == 1 ? threadIdx.x % 4 : threadIdx.x / 64),
          at(first_k + chunk * CHUNK, taps.S, up_to_chunk(lie.channels)) {
#pragma unroll
        for (int j = 0; j < LOADS; ++j) {
            index_t position = first + row + 64 * j;
            Wheels pixel(position, P, Q);
            exists[j] = position < positions;
            x[j] = images + pixel.outer * lie.image;
            h0[j] = taps.start_h + pixel.middle * taps.stride_h, w0[j] = taps.start_w + pixel.inner * taps.stride_w;
        }
    }
    __device__ __forceinline__ void load(input* tile) {
#pragma unroll
        for (int j = 0; j < LOADS; ++j)
            load_pixel(tile + (row + 64 * j) * RowByRow<SIDE>::LINE + chunk * CHUNK, x[j], lie, h0[j] + at.outer * taps.step_h, w0[j] + at.middle * taps.step_w, at.inner,
                       exists[j] && at.outer < taps.R);
        at.advance(DEPTH);
    }
};
// Rows are filters (K, R, S, C), k runs over taps and channels.
template <int SIDE> struct Filters {
    const input* w;
    int first, count, taps, channels, row, chunk;
    Wheels at;  // tap, nothing, channel

    __device__ __forceinline__ Filters(const input* w, const Taps& window, int channels, int first, int count, int first_k)
        : w(w), first(first), count(count), taps(window.R * window.S), channels(channels), row(threadIdx.x / 4), chunk(threadIdx.x % 4),
          at(first_k + chunk * CHUNK, 1, up_to_chunk(channels)) {}
    __device__ __forceinline__ void load(input* tile) {
#pragma unroll
        for (int j = 0; j < SIDE / 64; ++j) {
            int k = first + row + 64 * j;
            load_chunk(tile + (row + 64 * j) * RowByRow<SIDE>::LINE + chunk * CHUNK, w + (static_cast<index_t>(k) * taps + at.outer) * channels + at.inner, 1,
                       k < count && at.outer < taps ? channels - at.inner : 0);
        }
        at.advance(DEPTH);
    }
};
// Rows are taps and channels, k runs over positions. A thread's chunks are of one tap and the same channels, APART positions from each other.
template <int SIDE> struct Pixels {
    static constexpr int GROUPS = SIDE / CHUNK, LOADS = SIDE / 64, APART = DEPTH / LOADS;
    const input* x;
    const Images& lie;
    const Taps& taps;
    int count, k, row, h0, w0, c;
    bool exists;
    Wheels at;  // image, row and column of the position

    __device__ __forceinline__ Pixels(const input* x, const Images& lie, const Taps& taps, int first, int count, int P, int Q, index_t first_k)
        : x(x), lie(lie), taps(taps), count(count), k(lie.channel == 1 ? threadIdx.x / GROUPS : threadIdx.x % APART),
          row((lie.channel == 1 ? threadIdx.x % GROUPS : threadIdx.x / APART) * CHUNK), at(first_k + k, P, Q) {
        Wheels tap(first + row, taps.S, up_to_chunk(lie.channels));
        h0 = taps.start_h + tap.outer * taps.step_h, w0 = taps.start_w + tap.middle * taps.step_w, c = tap.inner;
        exists = tap.outer < taps.R;
    }
    __device__ __forceinline__ void load(input* tile) {
#pragma unroll
        for (int j = 0; j < LOADS; ++j) {
            load_pixel(tile + (k + j * APART) * StepByStep<SIDE>::LINE + row, x + at.outer * lie.image, lie, h0 + at.middle * taps.stride_h, w0 + at.inner * taps.stride_w, c,
                       exists && at.outer < count);
            at.advance(APART);
        }
    }
};

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
