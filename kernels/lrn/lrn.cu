// Local response normalisation across channels and its gradient (see reference.py): one thread, one element.
//
// Memory: forward reads 4 bytes an element and writes 8, backward reads 12 and writes 4. The neighbours that a thread looks at lie `after` apart (1 for channels-last
// memory, a map otherwise); other threads read them at about the same time, so they come from a cache. A power takes some thirty instructions, and backward takes
// one for each neighbour: with AlexNet's five the arithmetic is about as long as the memory.
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

extern "C" __global__ void __launch_bounds__(256)
backward(const real* dy, const real* x, const real* base, real* dx, index_t n, index_t channels, index_t after, int below, int above, real alpha, real beta) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t c = i / after % channels;
    real through_base = 0;
    for (index_t j = max(index_t(0), c - below); j <= min(channels - 1, c + above); ++j) {
        index_t at = i + (j - c) * after;
        through_base += dy[at] * x[at] * power(base[at], -beta) / base[at];
    }
    dx[i] = dy[i] * power(base[i], -beta) - 2 * alpha * beta * x[i] * through_base;
}
