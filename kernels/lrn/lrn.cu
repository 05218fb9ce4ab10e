// Local response normalisation across channels and its gradient (see reference.py).
//
// Memory: forward reads 4 bytes an element and writes 8, backward reads 12 and writes 4. The neighbours that a thread looks at lie `after` apart (1 for channels-last
// memory, a map otherwise); other threads read them at about the same time, so they come from a cache.
//
//     forward     a thread takes one element: a power, some thirty instructions, and a multiply-add for each neighbour
//     backward    every channel's term takes a power too, and is part of the sums of all its neighbours. So a thread takes EACH = 4 channels of a place, makes the terms of
//                 these and of those around them, once, and adds each to the sums that it belongs to: for a window of five, 8 powers and 24 loads for 4 elements (one thread an
//                 element would make 24 powers and 68 loads). Some 110 instructions an element: an H200 can execute about 120 while memory brings 16 bytes. In channels-last
//                 memory lanes lie 16 bytes apart: a request is 16 sectors, and the thread's next ones find the rest of each in the L1 cache.
#include "device.h"

__device__ __forceinline__ real power(real x, real exponent) { return pow(x, exponent); }

extern "C" __global__ void __launch_bounds__(256)
forward(const real* x, real* y, real* base, index_t n, index_t channels, index_t after, int below, int above, real alpha, real beta, real k) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t c = i / after % channels;
    real sum = 0;
    for (index_t j = max(index_t(0), c - below); j <= min(channels - 1, c + above); ++j) {
        real neighbour = x[i + (j - c) * after];
        sum += neighbour * neighbour;
    }
    real damping = k + alpha * sum;
    base[i] = damping;
    y[i] = x[i] * power(damping, -beta);
}

constexpr int EACH = 4;

// n threads: chunks of EACH channels of all places.
extern "C" __global__ void __launch_bounds__(256)
backward(const real* dy, const real* x, const real* base, real* dx, index_t n, index_t channels, index_t after, int below, int above, real alpha, real beta) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t chunks = (channels + EACH - 1) / EACH, first = i / after % chunks * EACH, begins = i / after / chunks * channels * after + i % after;
    real values[EACH] = {}, damped[EACH] = {}, through_base[EACH] = {};
#pragma unroll 2  // two channels' loads under way; more take registers, and so warps
    for (index_t j = max(index_t(0), first - below); j <= min(channels - 1, first + EACH - 1 + above); ++j) {
        index_t at = begins + j * after;
        real value = x[at], damping = base[at], passed = dy[at] * power(damping, -beta), term = passed * value / damping;
#pragma unroll
        for (int l = 0; l < EACH; ++l) {
            index_t c = first + l;
            if (c - below <= j && j <= c + above) through_base[l] += term;
            if (c == j) values[l] = value, damped[l] = passed;
        }
    }
#pragma unroll
    for (int l = 0; l < EACH; ++l)
        if (first + l < channels) dx[begins + (first + l) * after] = damped[l] - 2 * alpha * beta * values[l] * through_base[l];
}
