// CUDA C++ as a kernel sees it, for an ordinary C++ compiler. Included by device.h in place of CUDA's own headers.
//
// Supported: the language; shuffles, votes and barriers in their _sync form; atomics; vector types; half; cp.async and mma by the names of device.h.
// Not supported, and not compiled: wgmma, TMA, cooperative groups, textures, __constant__ memory set by the host, warp operations without _sync.
#pragma once
#include <cmath>
#include <cstdio>  // printf
#include <cstring>
#include <type_traits>

#include "runtime.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __restrict__ __restrict
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("simulated_shared")))  // one section, which the runtime fills with NaN before every block
#define DYNAMIC_SHARED(type, name) type* name = reinterpret_cast<type*>(simulator::dynamic_shared())

#ifdef __SANITIZE_THREAD__
#define threadIdx (simulator::position().thread)
#define blockIdx (simulator::position().block)
#define blockDim (simulator::position().block_size)
#define gridDim (simulator::position().grid_size)
#else
#define threadIdx (simulator::here.thread)
#define blockIdx (simulator::here.block)
#define blockDim (simulator::here.block_size)
#define gridDim (simulator::here.grid_size)
#endif
constexpr int warpSize = 32;

#define CALLED_FROM const char *file = __builtin_FILE(), int line = __builtin_LINE()  // as a default argument: where the kernel calls

// ---- vector types

#define SIMULATED_VECTORS(type, name, alignment_of_4)                                            \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                     \
    struct name##3 { type x, y, z; };                                                            \
    struct alignas(alignment_of_4) name##4 { type x, y, z, w; };                                 \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                             \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                  \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
SIMULATED_VECTORS(float, float, 16)
SIMULATED_VECTORS(double, double, 16)
SIMULATED_VECTORS(int, int, 16)
SIMULATED_VECTORS(unsigned char, uchar, 4)
#undef SIMULATED_VECTORS
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// ---- threads that wait for each other

inline void __syncthreads(CALLED_FROM) { simulator::block_barrier(file, line); }
inline void __syncwarp(unsigned mask = ~0u, CALLED_FROM) { simulator::warp_meeting(mask, nullptr, 0, "__syncwarp", file, line); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { simulator::fail("__trap()"); }

namespace simulator {
template <class T> T value_of_lane(unsigned meeting, int lane) {
    T value;
    value_of(meeting, lane, &value, sizeof value);
    return value;
}
}  // namespace simulator

// Each lane reads the value of another; lanes beyond the group of `width` keep their own.
template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, CALLED_FROM) {
    unsigned meeting = simulator::warp_meeting(mask, &value, sizeof value, "__shfl_sync", file, line);
    int lane = simulator::position().lane;
    return simulator::value_of_lane<T>(meeting, (lane & ~(width - 1)) + (source & (width - 1)));
}
template <class T> T __shfl_down_sync(unsigned mask, T value, int delta, int width = 32, CALLED_FROM) {
    unsigned meeting = simulator::warp_meeting(mask, &value, sizeof value, "__shfl_down_sync", file, line);
    int lane = simulator::position().lane;
    return simulator::value_of_lane<T>(meeting, (lane & (width - 1)) + delta < width ? lane + delta : lane);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, int delta, int width = 32, CALLED_FROM) {
    unsigned meeting = simulator::warp_meeting(mask, &value, sizeof value, "__shfl_up_sync", file, line);
    int lane = simulator::position().lane;
    return simulator::value_of_lane<T>(meeting, (lane & (width - 1)) - delta >= 0 ? lane - delta : lane);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, CALLED_FROM) {
    unsigned meeting = simulator::warp_meeting(mask, &value, sizeof value, "__shfl_xor_sync", file, line);
    int lane = simulator::position().lane, source = lane ^ bits;
    return simulator::value_of_lane<T>(meeting, source / width > lane / width ? lane : source);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CALLED_FROM) {
    int vote = predicate != 0;
    unsigned meeting = simulator::warp_meeting(mask, &vote, sizeof vote, "__ballot_sync", file, line);
    unsigned votes = 0, voters = mask & simulator::lanes_in_warp();
    for (int lane = 0; lane < 32; ++lane)
        if (voters >> lane & 1) votes |= unsigned(simulator::value_of_lane<int>(meeting, lane)) << lane;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate, CALLED_FROM) { return __ballot_sync(mask, predicate, file, line) != 0; }
inline int __all_sync(unsigned mask, int predicate, CALLED_FROM) { return __ballot_sync(mask, predicate, file, line) == (mask & simulator::lanes_in_warp()); }

// ---- memory

template <class T> T __ldg(const T* p) { return *p; }

namespace simulator {
template <class T, class Change> __forceinline__ T change_atomically(T* p, Change change) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    Bits before = __atomic_load_n(reinterpret_cast<Bits*>(p), __ATOMIC_RELAXED), after;
    T old;
    do {
        memcpy(&old, &before, sizeof old);
        T changed = change(old);
        memcpy(&after, &changed, sizeof changed);
    } while (!__atomic_compare_exchange_n(reinterpret_cast<Bits*>(p), &before, after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}
}  // namespace simulator
template <class T, class V> __forceinline__ T atomicAdd(T* p, V value) { return simulator::change_atomically(p, [&](T old) { return T(old + T(value)); }); }
template <class T, class V> __forceinline__ T atomicMax(T* p, V value) { return simulator::change_atomically(p, [&](T old) { return old < T(value) ? T(value) : old; }); }
template <class T, class V> __forceinline__ T atomicMin(T* p, V value) { return simulator::change_atomically(p, [&](T old) { return T(value) < old ? T(value) : old; }); }
template <class T, class V> __forceinline__ T atomicExch(T* p, V value) { return simulator::change_atomically(p, [&](T) { return T(value); }); }
template <class T> __forceinline__ T atomicCAS(T* p, T expected, T value) { return simulator::change_atomically(p, [&](T old) { return old == expected ? value : old; }); }

// ---- arithmetic

template <class T, class U> constexpr auto min(T a, U b) -> std::common_type_t<T, U> { return a < b ? a : b; }
template <class T, class U> constexpr auto max(T a, U b) -> std::common_type_t<T, U> { return a < b ? b : a; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
inline int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
using std::abs;  // of int, float and double, as CUDA has it: C's is of int alone
using std::isfinite;
using std::isinf;
using std::isnan;

#include "half.h"
#include "tensor_cores.h"
#include "kernel.h"
