// Reading and writing at computed positions. What is added to one place is added by one thread, in the order of the index: so the result has the same bits each time,
// without an atomic addition. Negative numbers count from the end. One out of range is MISSING: taking from there gives NaN (integers: 0), and nothing is put there.
//
// take and gather are bound by memory: 4 bytes read and 4 written an element, and 8 of index where neighbours have not the same.
//
// put must know which positions are the same. `chain` looks for that once for all that is put at a position: a thread a position, which compares its own with those after
// it until it finds the next equal one. That is at most positions^2 / 2 comparisons, a warp reading the same 8 bytes at about the same time, from a cache: 10,000 positions take some
// ten microseconds, 100,000 some milliseconds (estimated; for more a sort would pay). Then `put` is bound by memory: a thread adds up, for one element, what is put in the
// first position and in those that are chained to it, and neighbouring threads have neighbouring elements.
//
// scatter_add has an index of its own for each row of elements along the axis, and a thread has `part` places of a row: it goes through the row's index, and adds what belongs to
// these. Rows side by side in memory are neighbouring threads'. With many rows a part is a whole row, and each element is read once; with few, parts are short, so that the
// device has enough threads, and all parts of a row read its index, from a cache (cuda.py).
#include "device.h"

constexpr int64 MISSING = -0x7fffffffffffffffLL - 1;
__device__ __forceinline__ T nothing() { return T(0.5) == T(0) || T(2) == T(1) ? T(0) : static_cast<T>(NAN); }  // 0 for integers and booleans

// The place that a number j of an index means, of `extent` places; MISSING if there is none.
__device__ __forceinline__ int64 counted(int64 j, int64 extent) {
    j = j < 0 ? j + extent : j;
    return j < 0 || j >= extent ? MISSING : j;
}

// position += (the element's number along its axis) * stride, for one of the arrays that index.
extern "C" __global__ void __launch_bounds__(256)
add_position(const Layout layout, int64* position, const int64* index, int64 extent, int64 stride, index_t n) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t at[2];
    places(layout, i, at);
    int64 j = counted(index[at[1]], extent), before = position[at[0]];
    position[at[0]] = before == MISSING || j == MISSING ? MISSING : before + j * stride;
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

// next[b]: the next position equal to position[b], or -1. first[b]: that none before it is equal.
extern "C" __global__ void __launch_bounds__(256)
chain(const int64* position, int* next, bool* first, index_t positions) {
    index_t b = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (b >= positions) return;
    int64 mine = position[b];
    index_t after = b + 1, before = b - 1;
    while (after < positions && position[after] != mine) ++after;
    while (before >= 0 && position[before] != mine) --before;
    next[b] = after < positions ? after : -1;
    first[b] = before < 0;
}

// y[..., position[b], ...] = the sum of values[b] and of those chained to it; or, unless `adds`, the last of them. values (positions, rests).
// rest: where element r of the axes that are not indexed lies in y, after where it lies in a row of values.
extern "C" __global__ void __launch_bounds__(256)
put(const Layout rest, const int64* position, const int* next, const bool* first, const T* values, T* y, index_t rests, index_t n, bool adds) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t b = i / rests, r = i % rests, at[2];
    if (position[b] == MISSING || (adds ? !first[b] : next[b] >= 0)) return;
    places(rest, r, at);
    T value = values[i];
    if (adds)
        for (int other = next[b]; other >= 0; other = next[other]) value = static_cast<T>(value + values[other * rests + r]);
    y[at[1] + position[b]] = value;
}

// Along an axis of x with `length` elements, `after` apart, of which `wanted` are read: y[b, j, a] = x[b, index[b, j, a], a].
extern "C" __global__ void __launch_bounds__(256)
gather(const T* x, const int64* index, T* y, index_t n, index_t length, index_t wanted, index_t after) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int64 j = counted(index[i], length);
    y[i] = j == MISSING ? nothing() : x[(i / after / wanted * length + j) * after + i % after];
}

// The adjoint: y[b, l, a] = the sum of values[b, j, a] over the j with index[b, j, a] = l. A thread has `part` of the l of one b and a; n threads.
extern "C" __global__ void __launch_bounds__(256)
scatter_add(const T* values, const int64* index, T* y, index_t n, index_t length, index_t wanted, index_t after, index_t part) {
    index_t i = static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= n) return;
    index_t a = i % after, parts = (length + part - 1) / part, begins = i / after % parts * part, ends = min(length, begins + part), b = i / after / parts;
    y += b * length * after + a;
    values += b * wanted * after + a;
    index += b * wanted * after + a;
    for (index_t l = begins; l < ends; ++l) y[l * after] = T(0);
    for (index_t j = 0; j < wanted; ++j) {
        int64 l = counted(index[j * after], length);
        if (l >= begins && l < ends) y[l * after] = static_cast<T>(y[l * after] + values[j * after]);
    }
}
