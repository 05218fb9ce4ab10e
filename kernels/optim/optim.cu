// One step of an optimiser on many parameters at once (see reference.py for the formulas): a block works on up to BLOCK * EACH weights of one of them.
//
// Bound by memory: SGD with momentum reads 12 bytes a weight and writes 8, Adam reads 16 and writes 12; step by step over whole arrays it would be three times that.
// Most parameters of a network are small, and there are hundreds: to launch a kernel for each takes Python longer than the device needs for all.
// Where their arrays are is said in the kernel's own parameters, of which there may be 4 KB: nothing is copied to the device, and a graph can launch it again.
// A thread first loads all its weights, a block's width apart, and then computes, so that many loads are under way (see activation.cu).
// Measured on an H200 that copies 4.26 TB/s, 25.6 million float32 weights: SGD with momentum 0.124 ms, 4.1 TB/s (with one weight a thread 0.155), Adam 0.176, 4.1 TB/s.
// Numbers are rounded to the weights' dtype where the CPU's kernels round them.
#include "device.h"

constexpr int BLOCK = 256, EACH = 4, MOST = 64;

struct Many {
    int64 address[5][MOST];  // of each parameter, its gradient and its states; 0: absent
    int64 size[MOST];        // of each
    int first[MOST];         // the block that begins it
    int count;               // of parameters
};

// What this block works on: some weights of one parameter, of which a thread has EACH.
class Share {
    const Many& many;
    int parameter = 0, size;
    int64 start;

  public:
    __device__ __forceinline__ Share(const Many& many) : many(many) {
        int block = static_cast<int>(blockIdx.x), above = many.count;
        while (above - parameter > 1) {
            int middle = (parameter + above) / 2;
            if (many.first[middle] <= block) parameter = middle;
            else above = middle;
        }
        start = static_cast<int64>(block - many.first[parameter]) * (BLOCK * EACH);
        int64 left = many.size[parameter] - start;
        size = left < BLOCK * EACH ? static_cast<int>(left) : BLOCK * EACH;
    }

    __device__ __forceinline__ bool has(int which) const { return many.address[which][parameter] != 0; }

    __device__ __forceinline__ void load(int which, real (&values)[EACH]) const {
        const real* from = reinterpret_cast<const real*>(many.address[which][parameter]) + start;
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            int i = k * BLOCK + threadIdx.x;
            values[k] = i < size ? from[i] : real(0);
        }
    }
    __device__ __forceinline__ void store(int which, const real (&values)[EACH]) const {
        real* to = reinterpret_cast<real*>(many.address[which][parameter]) + start;
#pragma unroll
        for (int k = 0; k < EACH; ++k) {
            int i = k * BLOCK + threadIdx.x;
            if (i < size) to[i] = values[k];
        }
    }
};

// arrays: param, grad, buffer
extern "C" __global__ void __launch_bounds__(BLOCK) sgd(const Many many, real lr, real momentum, real take, real decay, bool nesterov, bool first) {
    Share share(many);
    bool moving = share.has(2);
    real param[EACH], grad[EACH], buffer[EACH] = {};
    share.load(0, param);
    share.load(1, grad);
    if (moving && !first) share.load(2, buffer);
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        real g = grad[k] + decay * param[k];
        if (moving) {
            buffer[k] = first ? g : momentum * buffer[k] + take * g;
            g = nesterov ? g + momentum * buffer[k] : buffer[k];
        }
        param[k] -= lr * g;
    }
    if (moving) share.store(2, buffer);
    share.store(0, param);
}

// arrays: param, grad, m, v, vmax.  shrink: what AdamW multiplies the weights by; correction: 1 / sqrt(1 - beta2^step)
extern "C" __global__ void __launch_bounds__(BLOCK)
adam(const Many many, real lr, real take1, real beta2, real take2, real correction, real eps, real shrink, real decay) {
    Share share(many);
    bool largest = share.has(4);
    real param[EACH], grad[EACH], m[EACH], v[EACH], vmax[EACH] = {};
    share.load(0, param);
    share.load(1, grad);
    share.load(2, m);
    share.load(3, v);
    if (largest) share.load(4, vmax);
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        real weight = param[k] * shrink, g = grad[k] + decay * weight;
        m[k] += take1 * (g - m[k]);
        v[k] = beta2 * v[k] + take2 * g * g;
        if (!largest || !(vmax[k] > v[k])) vmax[k] = v[k];
        param[k] = weight - lr * (m[k] / (sqrt(vmax[k]) * correction + eps));
    }
    share.store(2, m);
    share.store(3, v);
    if (largest) share.store(4, vmax);
    share.store(0, param);
}

// arrays: param, grad, square_avg, grad_avg, buffer
extern "C" __global__ void __launch_bounds__(BLOCK) rmsprop(const Many many, real lr, real alpha, real take, real eps, real decay, real momentum) {
    Share share(many);
    bool centred = share.has(3), moving = share.has(4);
    real param[EACH], grad[EACH], square_avg[EACH], grad_avg[EACH] = {}, buffer[EACH] = {};
    share.load(0, param);
    share.load(1, grad);
    share.load(2, square_avg);
    if (centred) share.load(3, grad_avg);
    if (moving) share.load(4, buffer);
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        real g = grad[k] + decay * param[k];
        real variance = square_avg[k] = alpha * square_avg[k] + take * g * g;
        if (centred) {
            grad_avg[k] += take * (g - grad_avg[k]);
            variance -= grad_avg[k] * grad_avg[k];
        }
        g = g / (sqrt(variance) + eps);
        if (moving) buffer[k] = g = momentum * buffer[k] + g;
        param[k] -= lr * g;
    }
    share.store(2, square_avg);
    if (centred) share.store(3, grad_avg);
    if (moving) share.store(4, buffer);
    share.store(0, param);
}
