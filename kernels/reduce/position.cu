// Where the largest or smallest element along an axis is: the first, if several. BEATS says whether a is preferred to b (cuda.py): NaN to any number.
//
// Bound by memory: each element is read once, 4 bytes. A team of threads finds a position (block.h): every member keeps its best element and where it was.
#include "device.h"

#include "block.h"

struct Best {
    X value;
    index_t at;  // -1: none yet
};

__device__ __forceinline__ bool beats(X a, X b) { return BEATS; }

__device__ __forceinline__ Best better(Best a, Best b) {
    if (a.at < 0 || b.at < 0) return a.at < 0 ? b : a;
    if (beats(a.value, b.value)) return a;
    return beats(b.value, a.value) || b.at < a.at ? b : a;
}

// The elements of a result lie `after` apart (see `around` in cuda/memory.py).
extern "C" __global__ void __launch_bounds__(BLOCK)
position(const X* x, int64* y, index_t results, index_t length, index_t after, int size) {
    __shared__ Best shared[BLOCK];
    Team team(size, after == 1);
    index_t result = team.result<index_t>();
    Best mine = {X(0), -1};
    if (result < results) {
        index_t begins = result / after * length * after + result % after;
        for (index_t i = team.member; i < length; i += team.size) mine = better(mine, {x[begins + i * after], i});
    }
    mine = team.together(mine, shared, better);
    if (team.member == 0 && result < results) y[result] = mine.at;
}
