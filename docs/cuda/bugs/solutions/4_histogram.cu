// How often each of 16 values occurs.
//
// The solution.
#include "device.h"

extern "C" __global__ void histogram(const int* x, int* counts, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&counts[x[i] % 16], 1);  // read, add and write are one step: nobody comes between
}

/* check
n = 1000
x = random(n, dtype=np.int32)
counts = np.zeros(16, np.int32)
launch("histogram", blocks(n, 256), 256, x, counts, n)
expect(counts, np.bincount(x % 16, minlength=16))
*/
