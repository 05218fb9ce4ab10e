// What the harness itself runs on a GPU: the most that the device can do, as seconds of kernels that do nothing else.
//
// multiply_add and tensor_cores touch memory once; they are bound by the arithmetic units, which have independent work enough to hide their latency (CHAINS in each
// thread, times eight warps for each scheduler). copy is bound by memory: 16 bytes a thread, neighbours beside each other.
#include "device.h"

constexpr int CHAINS = 8;

// CHAINS * steps multiply-adds in each thread. One small block of it is also how the device is kept busy while calls are queued.
extern "C" __global__ void __launch_bounds__(256) multiply_add(float* out, int steps) {
    float factor = 1.0f - threadIdx.x * 1e-7f, term = blockIdx.x * 1e-3f, sum[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; ++i) sum[i] = i;
#pragma unroll 4
    for (int step = 0; step < steps; ++step)
#pragma unroll
        for (int i = 0; i < CHAINS; ++i) sum[i] = sum[i] * factor + term;
    for (int i = 1; i < CHAINS; ++i) sum[0] += sum[i];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum[0];  // or the compiler would leave all of it out
}

// CHAINS * steps products of 16 x 8 by 8 x 8 in TF32 in each warp.
extern "C" __global__ void __launch_bounds__(256) tensor_cores(float* out, int steps) {
    unsigned a[4], b[2];
    for (int i = 0; i < 4; ++i) a[i] = to_tf32(threadIdx.x * 1e-3f + i);
    for (int i = 0; i < 2; ++i) b[i] = to_tf32(threadIdx.x * 1e-4f - i);
    float sum[CHAINS][4] = {};
    for (int step = 0; step < steps; ++step)
#pragma unroll
        for (int i = 0; i < CHAINS; ++i) mma_m16n8k8_tf32(sum[i], a, b);
    for (int i = 1; i < CHAINS; ++i)
        for (int j = 0; j < 4; ++j) sum[0][j] += sum[i][j];
    out[blockIdx.x * blockDim.x + threadIdx.x] = sum[0][0] + sum[0][1] + sum[0][2] + sum[0][3];
}

// y = x. n is a multiple of 4.
extern "C" __global__ void __launch_bounds__(256) copy(const float* x, float* y, index_t n) {
    index_t i = 4 * (static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x);
    if (i < n) *reinterpret_cast<float4*>(y + i) = *reinterpret_cast<const float4*>(x + i);
}
