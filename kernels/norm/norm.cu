// Batch normalisation (see reference.py for the formulas): sums of every channel, then a pass over the elements.
//
// Bound by memory. Forward reads x three times, for the mean, for the variance and for y, and writes y: 16 bytes an element. Backward reads dy and x twice and writes
// dx: 20 bytes. With a residual 4 more forward, and y besides backward.
//
// In the sums a team of threads (block.h) has a channel, or a part of one, another block's each; element m of channel c lies at (m / after * C + c) * after + m % after,
// where `after` is the size of a map in contiguous memory and 1 in channels-last memory. Sums are kept in double, a partial one for each part, and added in the order
// of the parts. As on the CPU (cpu.py) y = (x - centre) * scale + shift with the mean rounded to the centre, and what the rounding left moved to the shift.
#include "device.h"

#include "block.h"

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// z before the rectifier: one formula for all kernels, so that a mask made anew is that of the output to the bit.
__device__ __forceinline__ real normal(real x, real centre, real scale, real shift) { return multiply_add(x - centre, scale, shift); }

// For each member, f(index of the element) over its share of the part of its channel; the team's sum goes to partial[part][c].
template <class F>
__device__ __forceinline__ void sum_channel(index_t M, index_t C, index_t after, index_t part, int size, double* partial, double* shared, F f) {
    Team team(size, after > 1);
    index_t c = team.result<index_t>(), first = blockIdx.y * part, last = min(M, first + part);
    double mine = 0;
    if (c < C)
        for (index_t m = first + team.member; m < last; m += team.size) mine += f((m / after * C + c) * after + m % after, c);
    mine = team.sum(mine, shared);
    if (team.member == 0 && c < C) partial[static_cast<index_t>(blockIdx.y) * C + c] = mine;
}

extern "C" __global__ void __launch_bounds__(BLOCK) sums(const real* x, double* partial, index_t M, index_t C, index_t after, index_t part, int size) {
    __shared__ double shared[BLOCK];
    sum_channel(M, C, after, part, size, partial, shared, [=](index_t i, index_t) { return double(x[i]); });
}

extern "C" __global__ void __launch_bounds__(BLOCK)
squares(const real* x, const double* mean, double* partial, index_t M, index_t C, index_t after, index_t part, int size) {
    __shared__ double shared[BLOCK];
    sum_channel(M, C, after, part, size, partial, shared, [=](index_t i, index_t c) {
        double distance = x[i] - mean[c];
        return distance * distance;
    });
}

// The dy that passes the rectifier: all of it if there is none. y: the output, where something was added before the rectifier; else it is made from x anew.
__device__ __forceinline__ real passing(const real* dy, const real* x, const real* y, index_t i, real centre, real scale, real shift, bool relu) {
    if (!relu) return dy[i];
    real rectified = y ? y[i] : normal(x[i], centre, scale, shift);
    return rectified <= 0 ? real(0) : dy[i];
}

// The sums of dy and of dy * (x - centre): partial[part][0][c] and partial[part][1][c].
extern "C" __global__ void __launch_bounds__(BLOCK)
gradient_sums(const real* dy, const real* x, const real* y, const real* centre, const real* scale, const real* shift, bool relu, double* partial, index_t M, index_t C,
              index_t after, index_t part, int size) {
    __shared__ double shared[BLOCK];
    Team team(size, after > 1);
    index_t c = team.result<index_t>(), first = blockIdx.y * part, last = min(M, first + part);
    double sum = 0, product = 0;
    if (c < C) {
        real middle = centre[c], factor = scale[c], rest = shift[c];
#pragma unroll 1
        for (index_t m = first + team.member; m < last; m += team.size) {
            index_t i = (m / after * C + c) * after + m % after;
            double passed = passing(dy, x, y, i, middle, factor, rest, relu);
            sum += passed;
            product += passed * (x[i] - middle);
        }
    }
    sum = team.sum(sum, shared);
    product = team.sum(product, shared);
    if (team.member != 0 || c >= C) return;
    index_t at = static_cast<index_t>(blockIdx.y) * 2 * C + c;
    partial[at] = sum;
    partial[at + C] = product;
}

// ---- a thread, a channel

__device__ __forceinline__ double total(const double* partial, int parts, int quantities, int which, index_t C, index_t c) {
    double sum = 0;
    for (int part = 0; part < parts; ++part) sum += partial[(static_cast<index_t>(part) * quantities + which) * C + c];
    return sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK) means(const double* partial, int parts, double* mean, index_t C, index_t M) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c < C) mean[c] = total(partial, parts, 1, 0, C, c) / M;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
coefficients(const real* weight, const real* bias, const double* mean, const double* var, double eps, real* centre, real* scale, real* shift, index_t C) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c >= C) return;
    real rounded = static_cast<real>(mean[c]);
    double factor = (weight ? weight[c] : 1) / sqrt(var[c] + eps);
    centre[c] = rounded;
    scale[c] = static_cast<real>(factor);
    shift[c] = static_cast<real>((bias ? bias[c] : 0) - (mean[c] - rounded) * factor);
}

// dweight and dbias; and what every dx of the channel loses: `common`, and `along` times x - centre.
extern "C" __global__ void __launch_bounds__(BLOCK)
parameter_gradients(const double* partial, int parts, const double* mean, const double* var, double eps, const real* centre, real* dweight, real* dbias, real* common,
                    real* along, index_t C, index_t M) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c >= C) return;
    double inverse_std = 1 / sqrt(var[c] + eps), rest = mean[c] - centre[c];
    double sum = total(partial, parts, 2, 0, C, c), product = (total(partial, parts, 2, 1, C, c) - rest * sum) * inverse_std;
    double slope = product * inverse_std / M;
    dbias[c] = static_cast<real>(sum);
    dweight[c] = static_cast<real>(product);
    along[c] = static_cast<real>(slope);
    common[c] = static_cast<real>(sum / M - rest * slope);
}

// ---- a thread, an element

extern "C" __global__ void __launch_bounds__(BLOCK)
normalise(const real* x, const real* added, const real* centre, const real* scale, const real* shift, bool relu, real* y, index_t n, index_t C, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    index_t c = i / after % C;
    real z = normal(x[i], centre[c], scale[c], shift[c]);
    if (added) z += added[i];
    y[i] = relu && z < 0 ? real(0) : z;  // in this form NaN stays NaN
}

// dx, and in `passed` (unless it is null) the gradient of what was added.
extern "C" __global__ void __launch_bounds__(BLOCK)
project(const real* dy, const real* x, const real* y, const real* centre, const real* scale, const real* shift, const real* common, const real* along, bool relu,
        real* dx, real* passed, index_t n, index_t C, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    index_t c = i / after % C;
    real gradient = passing(dy, x, y, i, centre[c], scale[c], shift[c], relu);
    if (passed) passed[i] = gradient;
    dx[i] = scale[c] * (gradient - common[c] - (x[i] - centre[c]) * along[c]);
}
