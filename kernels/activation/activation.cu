// The rectifier (see reference.py for what it computes): one thread, one element.
//
// Bound by memory: relu reads 4 bytes an element and writes 4, relu_backward reads 8 and writes 4. Neighbouring threads touch neighbouring elements, so that a warp's
// 32 accesses are one transaction of 128 bytes.
#include "device.h"

extern "C" __global__ void relu(const real* x, real* y, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] < 0 ? real(0) : x[i];  // in this form NaN stays NaN
}

extern "C" __global__ void relu_backward(const real* dy, const real* y, real* dx, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < n) dx[i] = y[i] <= 0 ? real(0) : dy[i];
}
