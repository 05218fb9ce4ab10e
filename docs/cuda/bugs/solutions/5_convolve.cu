// A convolution in one dimension, y[i] = w[0] x[i] + ... + w[4] x[i + 4], for the n - 4 elements that have all neighbours. Every x is read from global memory once: a block
// brings its part of x, and four elements more, to shared memory.
//
// The solution.
#include "device.h"

constexpr int THREADS = 64, TAPS = 5;

extern "C" __global__ void __launch_bounds__(THREADS) convolve(const float* x, const float* w, float* y, int n) {
    __shared__ float s[THREADS + TAPS - 1];
    int first = blockIdx.x * THREADS, i = threadIdx.x;
    if (first + i < n) s[i] = x[first + i];
    if (i < TAPS - 1 && first + THREADS + i < n) s[THREADS + i] = x[first + THREADS + i];
    __syncthreads();
    if (first + i > n - TAPS) return;
    float sum = 0;
    for (int tap = 0; tap < TAPS; ++tap) sum += w[tap] * s[i + tap];
    y[first + i] = sum;
}

/* check
n = 200
x, w = random(n), random(5)
y = empty(n - 4)
launch("convolve", blocks(n - 4, 64), 64, x, w, y, n)
expect(y, np.convolve(x, w[::-1], "valid"), atol=1e-5)
*/
