// The sum of every row, a block for each: a tree that halves the number of threads until one is left.
//
// The solution.
#include "device.h"

constexpr int THREADS = 128;

extern "C" __global__ void __launch_bounds__(THREADS) sum_rows(const float* x, float* y, int width) {
    __shared__ float s[THREADS];
    int i = threadIdx.x;
    float sum = 0;
    for (int column = i; column < width; column += THREADS) sum += x[blockIdx.x * width + column];
    s[i] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (i < half) s[i] += s[i + half];
        __syncthreads();  // all threads of the block must reach it, those without work too
    }
    if (i == 0) y[blockIdx.x] = s[0];
}

/* check
x = random(4, 300)
y = empty(4)
launch("sum_rows", 4, 128, x, y, 300)
expect(y, x.sum(1), atol=1e-4)
*/
