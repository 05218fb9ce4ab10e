// The one header that kernels include. For the GPU (NVRTC, nvcc): CUDA's half, and a name for each PTX instruction that C++ has no word for.
// For the CPU simulator (TINYCNN_SIMULATOR): the same names, computed by ordinary C++ (simulator/cuda.h). A kernel never sees the difference.
//
// Types come from the launch, `launch(..., real=x.dtype)`: real is then float or double, and one source serves both. `index_t` is always there: an integer
// that counts the elements of every array of the launch, 32 bits where they fit (a 64-bit division takes four times as long).
#pragma once

using int8 = signed char;
using uint8 = unsigned char;
using int16 = short;
using uint16 = unsigned short;
using int32 = int;
using uint32 = unsigned int;
using int64 = long long;
using uint64 = unsigned long long;

#ifdef TINYCNN_SIMULATOR
#include "simulator/cuda.h"
#else
#include <cuda_fp16.h>

// Shared memory whose size the launch gives (shared=bytes). One macro, since `extern __shared__` arrays of two types may not share a name.
#define DYNAMIC_SHARED(type, name)                              \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    type* name = reinterpret_cast<type*>(name##_bytes)

#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)

// cp.async: 16 bytes from global to shared memory, past the registers, while the thread goes on (sm_80). Both addresses are multiples of 16.
// Copies are committed in groups; cp_async_wait<N>() waits until at most N of the groups committed last are still under way.
__device__ __forceinline__ void cp_async_16(void* to_shared, const void* from_global) {
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(to_shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from_global) : "memory");
}
__device__ __forceinline__ void cp_async_4(void* to_shared, const void* from_global) {
    unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(to_shared));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(from_global) : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ __forceinline__ void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// Tensor cores. float rounded to the 10 bits of TF32, in the register format that mma wants.
__device__ __forceinline__ unsigned to_tf32(float value) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
    return bits;
}
// c (16 x 8, float) += a (16 x 8, TF32) b (8 x 8, TF32), by the 32 threads of a warp. With g = lane / 4 and t = lane % 4 a thread holds
// a[0..3] = A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4];  b[0..1] = B[t][g], B[t + 4][g];  c[0..3] = C[g][2t], C[g][2t + 1], C[g + 8][2t], C[g + 8][2t + 1].
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// The same for half: c (16 x 8, float) += a (16 x 16, half) b (16 x 8, half). A register holds two halves, the one of the lower column (of b: row) in its low bits:
// a[0..3] = A[g][2t..], A[g + 8][2t..], A[g][2t + 8..], A[g + 8][2t + 8..];  b[0..1] = B[2t..][g], B[2t + 8..][g];  c as above.
__device__ __forceinline__ void mma_m16n8k16_half(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

// How the elements of up to four arrays lie that are gone through together: made by `layout` in layout.py, passed by value. Element i of the walk is element
// i % extent[axes - 1], ... of the innermost axis, and so on outwards; a stride of 0 repeats an element (broadcasting).
struct Layout {
    int64 axes;
    int64 extent[8];
    int64 stride[4][8];  // of each array, in elements
};

// Where element i of the walk lies in array number `array`.
template <int ARRAYS, class index> __device__ __forceinline__ void places(const Layout& layout, index i, index (&place)[ARRAYS]) {
    for (int array = 0; array < ARRAYS; ++array) place[array] = 0;
    for (int axis = static_cast<int>(layout.axes) - 1; axis >= 0; --axis) {
        index extent = static_cast<index>(layout.extent[axis]), at = i % extent;
        i /= extent;
        for (int array = 0; array < ARRAYS; ++array) place[array] += at * static_cast<index>(layout.stride[array][axis]);
    }
}
