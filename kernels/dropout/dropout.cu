// Dropout with counted random numbers: the same mask as on the CPU, bit for bit (see reference.py for the generator).
//
// forward reads 4 bytes an element and writes 4. A call of Philox makes the words of four elements in ten rounds of two multiplications, about 25 instructions an
// element, which fits beside the memory traffic. In contiguous memory a thread has the four elements of a call. In channels-last memory the four lie in four
// different pixels; there a thread has one element and makes its call alone, four times the arithmetic, rather than have its warp touch memory in 128 places.
#include "device.h"

__device__ __forceinline__ uint4 philox(uint64 quad, uint64 call, uint64 seed) {
    unsigned c0 = quad, c1 = quad >> 32, c2 = call, c3 = call >> 32, k0 = seed, k1 = seed >> 32;
    for (int round = 0; round < 10; ++round) {
        unsigned left_low = c0 * 0xD2511F53u, left_high = __umulhi(c0, 0xD2511F53u);
        unsigned right_low = c2 * 0xCD9E8D57u, right_high = __umulhi(c2, 0xCD9E8D57u);
        c0 = right_high ^ c1 ^ k0;
        c1 = right_low;
        c2 = left_high ^ c3 ^ k1;
        c3 = left_low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}

__device__ __forceinline__ unsigned word(const uint4& words, int i) { return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w; }

extern "C" __global__ void __launch_bounds__(256) mask(bool* kept, index_t n, uint64 threshold, uint64 seed, uint64 call) {
    index_t quad = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    uint4 words = philox(quad, call, seed);
    for (int k = 0; k < 4; ++k)
        if (4 * quad + k < n) kept[4 * quad + k] = word(words, k) >= threshold;
}

// later: what a graph adds to the number of the call (cuda/graph.py); null where the launch is no part of one.
extern "C" __global__ void __launch_bounds__(256)
forward(const real* x, real* y, index_t n, uint64 threshold, real scale, uint64 seed, uint64 call, const uint64* later) {
    index_t quad = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    uint4 words = philox(quad, later ? call + *later : call, seed);
    for (int k = 0; k < 4; ++k) {
        index_t i = 4 * quad + k;
        if (i < n) y[i] = word(words, k) >= threshold ? x[i] * scale : real(0);
    }
}

// The element at place i of channels-last memory, pixel by pixel, has another number in logical order.
extern "C" __global__ void __launch_bounds__(256)
forward_channels_last(const real* x, real* y, index_t n, index_t channels, index_t pixels, uint64 threshold, real scale, uint64 seed, uint64 call, const uint64* later) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t c = i % channels, pixel = i / channels % pixels, image = i / channels / pixels;
    index_t logical = (image * channels + c) * pixels + pixel;
    y[i] = word(philox(logical / 4, later ? call + *later : call, seed), logical % 4) >= threshold ? x[i] * scale : real(0);
}
