// The rectifier (see reference.py for what it computes): one thread, four elements.
//
// Bound by memory: relu reads 4 bytes an element and writes 4, relu_backward reads 8 and writes 4. Neighbouring threads touch neighbouring elements, so that a warp's
// 32 accesses are one transaction of 128 bytes. With one element a thread these kernels moved 2.4 TB/s on an H200 that copies 4.3: too few loads were under way to hide
// the time that memory takes to answer. So a thread first loads EACH elements, a block's width apart, and then stores them, as elementwise.cu does, which reaches 3.9.
#include "device.h"

constexpr int BLOCK = 256, EACH = 4;

extern "C" __global__ void __launch_bounds__(BLOCK) relu(const real* x, real* y, index_t n) {
    index_t start = static_cast<index_t>(blockIdx.x) * (BLOCK * EACH) + threadIdx.x;
    real a[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (start + k * BLOCK < n) a[k] = x[start + k * BLOCK];
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (start + k * BLOCK < n) y[start + k * BLOCK] = a[k] < 0 ? real(0) : a[k];  // in this form NaN stays NaN
}

extern "C" __global__ void __launch_bounds__(BLOCK) relu_backward(const real* dy, const real* y, real* dx, index_t n) {
    index_t start = static_cast<index_t>(blockIdx.x) * (BLOCK * EACH) + threadIdx.x;
    real a[EACH], b[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (start + k * BLOCK < n) a[k] = dy[start + k * BLOCK], b[k] = y[start + k * BLOCK];
#pragma unroll
    for (int k = 0; k < EACH; ++k)
        if (start + k * BLOCK < n) dx[start + k * BLOCK] = b[k] <= 0 ? real(0) : a[k];
}
