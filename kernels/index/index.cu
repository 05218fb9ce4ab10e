// Reading and writing at computed positions: one thread, one element of the result. So what is added to one place is added by one thread, in the order of the index, and
// the result has the same bits each time, without an atomic addition.
//
// take and gather are bound by memory: 4 bytes read and 4 written an element, and 8 of index where neighbours have not the same. put and scatter_add look through all
// positions for those that are theirs: elements x positions comparisons, read from a cache by all threads at once. Networks write at few positions (a class for each
// image); for many a sort would pay. A position out of range is MISSING: taking from it gives NaN or 0, and nothing is put there.
#include "device.h"

constexpr int64 MISSING = -0x7fffffffffffffffLL - 1;
__device__ __forceinline__ T nothing() { return T(0.5) == T(0) || T(2) == T(1) ? T(0) : static_cast<T>(NAN); }  // 0 for integers and booleans

// position += (the element's number along its axis) * stride, for one of the arrays that index; negative numbers count from the end.
extern "C" __global__ void __launch_bounds__(256)
add_position(const Layout layout, int64* position, const int64* index, int64 extent, int64 stride, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t at[2];
    places(layout, i, at);
    int64 j = index[at[1]], before = position[at[0]];
    j = j < 0 ? j + extent : j;
    position[at[0]] = before == MISSING || j < 0 || j >= extent ? MISSING : before + j * stride;
}

// y[..., b, ...] = x[..., position[b], ...]: the walk is along y; a position is an offset in x, in elements.
extern "C" __global__ void __launch_bounds__(256)
take(const Layout layout, const T* x, const int64* position, T* y, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t at[3];
    places(layout, i, at);
    int64 offset = position[at[2]];
    y[at[0]] = offset == MISSING ? nothing() : x[at[1] + offset];
}

// rest: where element r of the axes that are not indexed lies in y, after where it lies in a row of values. indexed: where combination j of those that are lies from there, in the same way as positions count.
// values (positions, rests): added up where several have one position, or the last of them (adds: false), where y stays as it is if there is none.
extern "C" __global__ void __launch_bounds__(256)
put(const Layout rest, const Layout indexed, const int64* position, const T* values, T* y, index_t positions, index_t rests, index_t n, bool adds) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t r = i % rests, at_rest[2], offset[1];
    places(rest, r, at_rest);
    places(indexed, i / rests, offset);
    T value = 0;
    bool found = adds;
    for (index_t b = 0; b < positions; ++b)
        if (position[b] == offset[0]) {
            value = adds ? static_cast<T>(value + values[b * rests + r]) : values[b * rests + r];
            found = true;
        }
    if (found) y[at_rest[1] + offset[0]] = value;
}

// Along an axis of x with `length` elements, `after` apart, of which `wanted` are read: y[b, j, a] = x[b, index[b, j, a], a].
extern "C" __global__ void __launch_bounds__(256)
gather(const T* x, const int64* index, T* y, index_t n, index_t length, index_t wanted, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int64 j = index[i];
    y[i] = j < 0 || j >= length ? nothing() : x[(i / after / wanted * length + j) * after + i % after];
}

// The adjoint: y[b, l, a] = the sum of values[b, j, a] over the j with index[b, j, a] = l.
extern "C" __global__ void __launch_bounds__(256)
scatter_add(const T* values, const int64* index, T* y, index_t n, index_t length, index_t wanted, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t before = i / after / length, l = i / after % length;
    T sum = 0;
    for (index_t j = 0; j < wanted; ++j) {
        index_t at = (before * wanted + j) * after + i % after;
        if (index[at] == l) sum = static_cast<T>(sum + values[at]);
    }
    y[i] = sum;
}
