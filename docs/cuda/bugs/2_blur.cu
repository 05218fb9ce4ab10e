// Every element becomes the mean of itself and its two neighbours. The ends have one neighbour: there the end itself stands in for the other.
//
// One bug is planted. The result is right all the same.
#include "device.h"

extern "C" __global__ void blur(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float left = x[max(i - 1, 0)];
    float right = x[i + 1];
    if (i == n - 1) right = x[i];
    y[i] = (left + x[i] + right) / 3;
}

/* check
n = 1000
x = random(n)
y = empty(n)
launch("blur", blocks(n, 128), 128, x, y, n)
around = np.pad(x, 1, mode="edge")
expect(y, (around[:-2] + around[1:-1] + around[2:]) / 3)
*/
