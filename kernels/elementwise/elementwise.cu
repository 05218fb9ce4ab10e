// Any formula of up to three operands, element by element: y = FORMULA(a, b, c). The launch gives the formula (cuda.py has the table), and the types:
// A, B, C of the operands in memory, T in which to compute, Y of the result. An operand is an array, or, where its pointer is null, a number.
//
// Bound by memory: an addition of float32 reads 8 bytes an element and writes 4. A GPU hides the half microsecond that memory takes to answer only if enough loads
// are under way; so in `dense` a thread first loads EACH elements, and then computes and stores them. Neighbouring threads touch neighbouring elements.
#include "device.h"

constexpr int BLOCK = 256, EACH = 4;

// ---- what formulas use beyond C's own operators and functions

template <class T> __device__ __forceinline__ T sign(T a) { return a > 0 ? T(1) : a < 0 ? T(-1) : a; }  // NaN stays NaN
template <class T> __device__ __forceinline__ T larger(T a, T b) { return a > b || a != a ? a : b; }    // NaN if either is
template <class T> __device__ __forceinline__ T smaller(T a, T b) { return a < b || a != a ? a : b; }
template <class T> __device__ __forceinline__ T absolute(T a) { return a < 0 ? T(-a) : a == 0 ? T(0) : a; }
template <class T> __device__ __forceinline__ T sigmoid(T a) {
    T small = exp(-absolute(a));  // at most 1: no overflow on either side
    return a >= 0 ? 1 / (1 + small) : small / (1 + small);
}

// The rest of a division, with the sign of b. Integers have no rest of a division by 0; NumPy says 0.
__device__ __forceinline__ float with_sign_of(float a, float b) { return copysignf(a, b); }
__device__ __forceinline__ double with_sign_of(double a, double b) { return copysign(a, b); }
__device__ __forceinline__ float rest(float a, float b) { return fmodf(a, b); }
__device__ __forceinline__ double rest(double a, double b) { return fmod(a, b); }
template <class T> __device__ __forceinline__ T rest(T a, T b) { return b == 0 ? T(0) : T(a % b); }
template <class T> __device__ __forceinline__ T with_sign_of(T a, T) { return a; }
template <class T> __device__ __forceinline__ T modulo(T a, T b) {
    T r = rest(a, b);
    return r == 0 ? with_sign_of(r, b) : (r < 0) != (b < 0) ? T(r + b) : r;
}
template <class T> __device__ __forceinline__ T floor_quotient(T a, T b) {
    T r = rest(a, b);
    bool rounds_up = r != 0 && (r < 0) != (b < 0);
    if (T(0.5) == 0) return b == 0 ? T(0) : T((a - r) / b - rounds_up);  // integers
    if (b == 0) return a / b;
    T quotient = (a - r) / b - rounds_up, whole = T(floor(static_cast<double>(quotient)));  // double: compiled for integers too, which floor does not take
    return quotient - whole > T(0.5) ? whole + 1 : whole;
}
__device__ __forceinline__ float power(float a, float b) { return powf(a, b); }
__device__ __forceinline__ double power(double a, double b) { return pow(a, b); }
template <class T> __device__ __forceinline__ T power(T a, T b) {
    T result = 1;
    for (; b > 0; b /= 2, a = T(a * a))
        if (b % 2) result = T(result * a);
    return result;
}

// ---- the two kernels

__device__ __forceinline__ Y formula(T a, T b, T c) { return static_cast<Y>(FORMULA); }

template <class X> __device__ __forceinline__ T take(const X* array, T number, index_t i) { return array ? static_cast<T>(array[i]) : number; }

// All arrays have the shape of y and lie as y does: one index serves all.
extern "C" __global__ void __launch_bounds__(BLOCK)
dense(const A* a_array, T a_number, const B* b_array, T b_number, const C* c_array, T c_number, Y* y, index_t n) {
    index_t start = static_cast<index_t>(blockIdx.x) * (BLOCK * EACH) + threadIdx.x;
    T a[EACH], b[EACH], c[EACH];
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        index_t i = start + k * BLOCK;
        if (i >= n) break;
        a[k] = take(a_array, a_number, i);
        b[k] = take(b_array, b_number, i);
        c[k] = take(c_array, c_number, i);
    }
#pragma unroll
    for (int k = 0; k < EACH; ++k) {
        index_t i = start + k * BLOCK;
        if (i < n) y[i] = formula(a[k], b[k], c[k]);
    }
}

// Arrays that are broadcast, or lie otherwise: each has strides of its own.
extern "C" __global__ void __launch_bounds__(BLOCK)
general(const Layout layout, const A* a_array, T a_number, const B* b_array, T b_number, const C* c_array, T c_number, Y* y, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * BLOCK + threadIdx.x;
    if (i >= n) return;
    index_t at[4];
    places(layout, i, at);
    y[at[0]] = formula(take(a_array, a_number, at[1]), take(b_array, b_number, at[2]), take(c_array, c_number, at[3]));
}
