// Batch normalisation (see reference.py for the formulas): sums of every channel, then a pass over the elements.
//
// Bound by memory. Forward reads x twice, for its sums and for y, and writes y: 12 bytes an element. Backward reads dy and x twice and writes dx: 20 bytes. With a
// residual 4 more forward, and y besides backward.
//
// Mean and variance come from one pass: the sums of x - pivot and of its square, pivot being the channel's first element, so that a mean much larger than the
// deviation costs no digits. (Doubles: with M elements the variance is off by M * 1e-16 of itself at most, when the first is all the deviation there is.)
//
// In the sums a team of threads (block.h) has a channel, or a part of one, another block's each; element m of channel c lies at (m / after * C + c) * after + m % after,
// where `after` is the size of a map in contiguous memory and 1 in channels-last memory. Sums are kept in double, a partial one for each part, and added in the order
// of the parts. As on the CPU (cpu.py) y = (x - centre) * scale + shift with the mean rounded to the centre, and what the rounding left moved to the shift.
#include "device.h"

#include "block.h"

__device__ __forceinline__ float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ __forceinline__ double multiply_add(double a, double b, double c) { return fma(a, b, c); }

// What a channel does to its elements.
class Affine {
  public:
    real centre, scale, shift;

    __device__ __forceinline__ Affine(const real* weight, const real* bias, double mean, double var, double eps, index_t c) {
        double factor = (weight ? weight[c] : 1) / sqrt(var + eps);
        centre = static_cast<real>(mean);
        scale = static_cast<real>(factor);
        shift = static_cast<real>((bias ? bias[c] : 0) - (mean - centre) * factor);
    }

    // Kept in `numbers` (3, C) for the pass over the elements.
    __device__ __forceinline__ Affine(const real* numbers, index_t C, index_t c) : centre(numbers[c]), scale(numbers[C + c]), shift(numbers[2 * C + c]) {}
    __device__ __forceinline__ void keep(real* numbers, index_t C, index_t c) const {
        numbers[c] = centre;
        numbers[C + c] = scale;
        numbers[2 * C + c] = shift;
    }

    // z before the rectifier: one formula for all kernels, so that a mask made anew is that of the output to the bit.
    __device__ __forceinline__ real of(real x) const { return multiply_add(x - centre, scale, shift); }

    // The dy that passes the rectifier: all of it if there is none. y: the output, where something was added before the rectifier; else it is made from x anew.
    __device__ __forceinline__ real passing(const real* dy, const real* x, const real* y, index_t i, bool relu) const {
        if (!relu) return dy[i];
        real rectified = y ? y[i] : of(x[i]);
        return rectified <= 0 ? real(0) : dy[i];
    }
};

// For each member, add(index of an element, two sums) over its share of the part of its channel; the team's sums go to partial[part][0][c] and partial[part][1][c].
template <class Add>
__device__ __forceinline__ void two_sums(Team team, index_t M, index_t C, index_t after, index_t part, double* partial, double* shared, Add add) {
    index_t c = team.result<index_t>(), first = blockIdx.y * part, last = min(M, first + part);
    double one = 0, other = 0;
    if (c < C) {
#pragma unroll 1
        for (index_t m = first + team.member; m < last; m += team.size) add((m / after * C + c) * after + m % after, one, other);
    }
    one = team.sum(one, shared);
    other = team.sum(other, shared);
    if (team.member != 0 || c >= C) return;
    index_t at = static_cast<index_t>(blockIdx.y) * 2 * C + c;
    partial[at] = one;
    partial[at + C] = other;
}

extern "C" __global__ void __launch_bounds__(BLOCK) sums(const real* x, double* partial, index_t M, index_t C, index_t after, index_t part, int size) {
    __shared__ double shared[BLOCK];
    Team team(size, after > 1);
    double pivot = x[min(team.result<index_t>(), C - 1) * after];
    two_sums(team, M, C, after, part, partial, shared, [=](index_t i, double& sum, double& squares) {
        double distance = x[i] - pivot;
        sum += distance;
        squares += distance * distance;
    });
}

// Of dy and of dy * (x - centre).
extern "C" __global__ void __launch_bounds__(BLOCK)
gradient_sums(const real* dy, const real* x, const real* y, const real* weight, const real* bias, const double* mean, const double* var, double eps, bool relu,
              double* partial, index_t M, index_t C, index_t after, index_t part, int size) {
    __shared__ double shared[BLOCK];
    Team team(size, after > 1);
    index_t c = min(team.result<index_t>(), C - 1);
    Affine channel(weight, bias, mean[c], var[c], eps, c);
    two_sums(team, M, C, after, part, partial, shared, [=](index_t i, double& sum, double& product) {
        double passed = channel.passing(dy, x, y, i, relu);
        sum += passed;
        product += passed * (x[i] - channel.centre);
    });
}

// ---- a thread, a channel

__device__ __forceinline__ double total(const double* partial, int parts, int which, index_t C, index_t c) {
    double sum = 0;
    for (int part = 0; part < parts; ++part) sum += partial[(static_cast<index_t>(part) * 2 + which) * C + c];
    return sum;
}

extern "C" __global__ void __launch_bounds__(BLOCK)
statistics(const real* x, const double* partial, int parts, const real* weight, const real* bias, double eps, double* mean, double* var, real* numbers, index_t M,
           index_t C, index_t after) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c >= C) return;
    double off = total(partial, parts, 0, C, c) / M, square = total(partial, parts, 1, C, c) / M - off * off;
    mean[c] = x[c * after] + off;
    var[c] = square < 0 ? 0 : square;  // in this form NaN stays NaN
    Affine(weight, bias, mean[c], var[c], eps, c).keep(numbers, C, c);
}

// The same of given statistics, in either type.
extern "C" __global__ void __launch_bounds__(BLOCK)
coefficients(const real* weight, const real* bias, const double* mean, const double* var, double eps, real* numbers, index_t C) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c < C) Affine(weight, bias, mean[c], var[c], eps, c).keep(numbers, C, c);
}

extern "C" __global__ void __launch_bounds__(BLOCK)
running_coefficients(const real* weight, const real* bias, const real* mean, const real* var, double eps, real* numbers, index_t C) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c < C) Affine(weight, bias, mean[c], var[c], eps, c).keep(numbers, C, c);
}

// The running statistics move towards those of a batch. momentum: negative for that of a plain average. One block: all read the counter before it is raised.
extern "C" __global__ void __launch_bounds__(BLOCK)
follow(real* running_mean, real* running_var, long long* batches, const double* mean, const double* var, double unbiased, double momentum, index_t C) {
    long long seen = batches ? *batches + 1 : 1;
    double part = momentum < 0 ? 1. / seen : momentum;
    real old = static_cast<real>(1 - part), fresh = static_cast<real>(part);
    for (index_t c = threadIdx.x; c < C; c += BLOCK) {
        if (running_mean) running_mean[c] = old * running_mean[c] + fresh * static_cast<real>(mean[c]);
        if (running_var) running_var[c] = old * running_var[c] + fresh * static_cast<real>(var[c] * unbiased);
    }
    __syncthreads();
    if (threadIdx.x == 0 && batches) *batches = seen;
}

// dweight and dbias; and for the pass over the elements, in `numbers` (5, C), besides those of forward what every dx of the channel loses: `common`, and `along` times
// x - centre.
extern "C" __global__ void __launch_bounds__(BLOCK)
parameter_gradients(const double* partial, int parts, const real* weight, const real* bias, const double* mean, const double* var, double eps, real* dweight, real* dbias,
                    real* numbers, index_t M, index_t C) {
    index_t c = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (c >= C) return;
    Affine channel(weight, bias, mean[c], var[c], eps, c);
    double inverse_std = 1 / sqrt(var[c] + eps), rest = mean[c] - channel.centre;
    double sum = total(partial, parts, 0, C, c), product = (total(partial, parts, 1, C, c) - rest * sum) * inverse_std;
    double slope = product * inverse_std / M;
    dbias[c] = static_cast<real>(sum);
    dweight[c] = static_cast<real>(product);
    channel.keep(numbers, C, c);
    numbers[3 * C + c] = static_cast<real>(sum / M - rest * slope);
    numbers[4 * C + c] = static_cast<real>(slope);
}

// ---- a thread, an element

extern "C" __global__ void __launch_bounds__(BLOCK)
normalise(const real* x, const real* added, const real* numbers, bool relu, real* y, index_t n, index_t C, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    real z = Affine(numbers, C, i / after % C).of(x[i]);
    if (added) z += added[i];
    y[i] = relu && z < 0 ? real(0) : z;  // in this form NaN stays NaN
}

// dx, and in `passed` (unless it is null) the gradient of what was added.
extern "C" __global__ void __launch_bounds__(BLOCK)
project(const real* dy, const real* x, const real* y, const real* numbers, bool relu, real* dx, real* passed, index_t n, index_t C, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    index_t c = i / after % C;
    Affine channel(numbers, C, c);
    real gradient = channel.passing(dy, x, y, i, relu), common = numbers[3 * C + c], along = numbers[4 * C + c];
    if (passed) passed[i] = gradient;
    dx[i] = channel.scale * (gradient - common - (x[i] - channel.centre) * along);
}
