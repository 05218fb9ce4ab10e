// A bug of each kind, each with its repair: BUG is 1 or 0 in the launch. The comment `here` marks the line that must be named.
#include "device.h"

#if BUG
#define WRONG_OR_RIGHT(wrong, right) wrong
#else
#define WRONG_OR_RIGHT(wrong, right) right
#endif

extern "C" __global__ void after_the_end(const float* x, float* y) {
    int i = threadIdx.x;
    y[i + WRONG_OR_RIGHT(1, 0)] = x[i];  // here: after_the_end
}

extern "C" __global__ void before_the_beginning(const float* x, float* y) {
    int i = threadIdx.x;
    y[i] = x[i - WRONG_OR_RIGHT(1, 0)];  // here: before_the_beginning
}

extern "C" __global__ void shared_index(const float* x, float* y) {
    __shared__ float s[2][32];
    int i = threadIdx.x;
    s[0][i] = x[i];
    s[i / 32 + WRONG_OR_RIGHT(2, 1)][i] = x[i];  // here: shared_index
    y[i] = s[0][i];
}

extern "C" __global__ void shared_pointer(const float* x, float* y) {
    __shared__ float s[32];
    float* p = s;
    asm("" : "+r"(p));  // the compiler must not see that it is s
    int i = threadIdx.x;
    p[i + WRONG_OR_RIGHT(1, 0)] = x[i];  // here: shared_pointer
    y[i] = x[i];
}

extern "C" __global__ void dynamic_shared(const float* x, float* y) {
    DYNAMIC_SHARED(float, s);
    int i = threadIdx.x;
    s[i + WRONG_OR_RIGHT(1, 0)] = x[i];  // here: dynamic_shared
    y[i] = x[i];
}

extern "C" __global__ void misaligned(const float* x, float* y) {
    int i = threadIdx.x;
    if (i < 8) y[i] = reinterpret_cast<const float4*>(x + WRONG_OR_RIGHT(i, 4 * i))->x;  // here: misaligned
}

extern "C" __global__ void early_return(const float* x, float* y) {
    if (threadIdx.x > 16 + WRONG_OR_RIGHT(0, 32)) return;
    __syncthreads();  // here: early_return
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void two_barriers(const float* x, float* y) {
    if (threadIdx.x < WRONG_OR_RIGHT(16, 32))
        __syncthreads();  // here: two_barriers
    else
        __syncthreads();
    y[threadIdx.x] = x[threadIdx.x];
}

extern "C" __global__ void half_a_warp(const float* x, float* y) {
    float value = x[threadIdx.x];
    if (threadIdx.x < WRONG_OR_RIGHT(16, 32)) value = __shfl_xor_sync(ALL_LANES, value, 1);  // here: half_a_warp
    y[threadIdx.x] = value;
}

extern "C" __global__ void lanes_of_a_warp(const float* x, float* y) {
    __shared__ float s[32];
    s[threadIdx.x] = x[threadIdx.x];  // here: lanes_of_a_warp
    WRONG_OR_RIGHT(, __syncwarp();)
    y[threadIdx.x] = s[31 - threadIdx.x];
}

extern "C" __global__ void warps_of_a_block(const float* x, float* y) {
    DYNAMIC_SHARED(float, s);
    int i = threadIdx.x;
    for (int turn = 0; turn < 2; ++turn) {
        s[i] = x[i] + turn;  // here: warps_of_a_block
        __syncthreads();
        y[i] = s[63 - i];
        WRONG_OR_RIGHT(, __syncthreads();)
    }
}

extern "C" __global__ void blocks_of_a_grid(const float* x, float* y) {
    if (threadIdx.x == 0) WRONG_OR_RIGHT(y[0] += x[blockIdx.x], atomicAdd(y, x[blockIdx.x]));  // here: blocks_of_a_grid
}

extern "C" __global__ void fresh_memory(const float* x, float* y) {
    int i = threadIdx.x;
    WRONG_OR_RIGHT(, y[i] = 0;)
    y[i] += x[i];  // here: fresh_memory
}

extern "C" __global__ void unset_shared(const float* x, int* y) {
    __shared__ int s[32];
    int i = threadIdx.x;
    if (i < WRONG_OR_RIGHT(31, 32) || blockIdx.x == 0) s[i] = int(x[i]);  // what block 0 leaves there is not block 1's
    __syncthreads();
    y[32 * blockIdx.x + i] = s[31 - i];  // here: unset_shared
}

extern "C" __global__ void copy_not_awaited(const float* x, float* y) {
    __shared__ __align__(16) float s[128];
    cp_async_16(s + 4 * threadIdx.x, x + 4 * threadIdx.x);
    cp_async_commit();
    WRONG_OR_RIGHT(, cp_async_wait<0>();)
    y[threadIdx.x] = s[4 * threadIdx.x];  // here: copy_not_awaited
}

extern "C" __global__ void order_of_blocks(const float* x, float* y) {
    if (threadIdx.x == 0) WRONG_OR_RIGHT(atomicExch(y, x[blockIdx.x]), atomicMax(y, x[blockIdx.x]));
}

extern "C" __global__ void overflow(const float* x, int* y) {
    int i = threadIdx.x, large = WRONG_OR_RIGHT(0x7fffffff, 0x7fffff);
    y[i] = large + i;  // here: overflow
}
