// One step of an optimiser on one parameter, all its arrays at once (see reference.py for the formulas): one thread, one weight.
//
// Bound by memory: SGD with momentum reads 12 bytes a weight and writes 8, Adam reads 16 and writes 12; step by step over whole arrays it would be three times that.
// Numbers are rounded to the weights' dtype where the CPU's kernels round them. An absent state is a null pointer.
#include "device.h"

extern "C" __global__ void __launch_bounds__(256)
sgd(real* param, const real* grad, real* buffer, real lr, real momentum, real take, real decay, bool nesterov, bool first, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    real g = grad[i] + decay * param[i];
    if (buffer) {
        real b = first ? g : momentum * buffer[i] + take * g;
        buffer[i] = b;
        g = nesterov ? g + momentum * b : b;
    }
    param[i] -= lr * g;
}

// shrink: what AdamW multiplies the weights by; correction: 1 / sqrt(1 - beta2^step).
extern "C" __global__ void __launch_bounds__(256)
adam(real* param, const real* grad, real* m, real* v, real* vmax, real lr, real take1, real beta2, real take2, real correction, real eps, real shrink, real decay, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    real weight = param[i] * shrink, g = grad[i] + decay * weight;
    real mean = m[i] + take1 * (g - m[i]), square = beta2 * v[i] + take2 * g * g;
    m[i] = mean;
    v[i] = square;
    if (vmax) vmax[i] = square = vmax[i] > square ? vmax[i] : square;
    param[i] = weight - lr * (mean / (sqrt(square) * correction + eps));
}

extern "C" __global__ void __launch_bounds__(256)
rmsprop(real* param, const real* grad, real* square_avg, real* grad_avg, real* buffer, real lr, real alpha, real take, real eps, real decay, real momentum, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    real g = grad[i] + decay * param[i];
    real variance = alpha * square_avg[i] + take * g * g;
    square_avg[i] = variance;
    if (grad_avg) {
        real mean = grad_avg[i] + take * (g - grad_avg[i]);
        grad_avg[i] = mean;
        variance -= mean * mean;
    }
    g = g / (sqrt(variance) + eps);
    if (buffer) buffer[i] = g = momentum * buffer[i] + g;
    param[i] -= lr * g;
}
