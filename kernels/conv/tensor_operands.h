// What a convolution multiplies on tensor cores: the operands of operands.h, in chunks of 16 bytes that are copied past the registers, and how they lie in shared memory.
//
// cp.async brings a chunk; where channels do not lie together, or are no multiple of a chunk, a thread copies its elements one by one. Rows in shared memory are padded, so
// that the words that a warp reads at once lie in different banks.
#pragma once
#include "window.h"

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
