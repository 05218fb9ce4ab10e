// Softmax and its logarithm along one axis, and their gradients (see reference.py for the formulas).
//
// Bound by memory where rows are many: an element is read once from memory and again from a cache (maximum, sum, result), 4 bytes, and 4 are written. A team of
// threads (block.h) takes a row, that is the elements along the axis; its members meet for the maximum and for the sum. A row's elements lie `after` apart.
// Loops are not unrolled: several exponentials of double at once would take more registers than there are.
#include "device.h"

#include "block.h"

struct Row {
    index_t begins;
    bool exists;
};

__device__ __forceinline__ Row row_of(const Team& team, index_t rows, index_t length, index_t after) {
    index_t row = team.result<index_t>();
    return {row / after * length * after + row % after, row < rows};
}

// The maximum, and the sum of e^(x - maximum), of a team's row.
__device__ __forceinline__ void exponentials(const real* x, const Team& team, const Row& row, index_t length, index_t after, real* shared, real& most, real& total) {
    real mine = -INFINITY;
    if (row.exists)
#pragma unroll 1
        for (index_t i = team.member; i < length; i += team.size) {
            real value = x[row.begins + i * after];
            mine = mine > value || mine != mine ? mine : value;  // NaN stays
        }
    most = team.together(mine, shared, [](real a, real b) { return a > b || a != a ? a : b; });
    mine = 0;
    if (row.exists)
#pragma unroll 1
        for (index_t i = team.member; i < length; i += team.size) mine += exp(x[row.begins + i * after] - most);
    total = team.sum(mine, shared);
}

extern "C" __global__ void __launch_bounds__(BLOCK) softmax(const real* x, real* y, index_t rows, index_t length, index_t after, int size) {
    __shared__ real shared[BLOCK];
    Team team(size, after == 1);
    Row row = row_of(team, rows, length, after);
    real most, total;
    exponentials(x, team, row, length, after, shared, most, total);
    if (!row.exists) return;
#pragma unroll 1
    for (index_t i = team.member; i < length; i += team.size) {
        index_t at = row.begins + i * after;
        y[at] = exp(x[at] - most) / total;
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK) log_softmax(const real* x, real* y, index_t rows, index_t length, index_t after, int size) {
    __shared__ real shared[BLOCK];
    Team team(size, after == 1);
    Row row = row_of(team, rows, length, after);
    real most, total;
    exponentials(x, team, row, length, after, shared, most, total);
    if (!row.exists) return;
    real log_total = log(total);
#pragma unroll 1
    for (index_t i = team.member; i < length; i += team.size) {
        index_t at = row.begins + i * after;
        y[at] = x[at] - most - log_total;
    }
}

// dx = y * (dy - sum of dy * y)
extern "C" __global__ void __launch_bounds__(BLOCK)
softmax_backward(const real* dy, const real* y, real* dx, index_t rows, index_t length, index_t after, int size) {
    __shared__ real shared[BLOCK];
    Team team(size, after == 1);
    Row row = row_of(team, rows, length, after);
    real mine = 0;
    if (row.exists)
#pragma unroll 1
        for (index_t i = team.member; i < length; i += team.size) mine += dy[row.begins + i * after] * y[row.begins + i * after];
    real common = team.sum(mine, shared);
    if (!row.exists) return;
#pragma unroll 1
    for (index_t i = team.member; i < length; i += team.size) {
        index_t at = row.begins + i * after;
        dx[at] = y[at] * (dy[at] - common);
    }
}

// dx = dy - e^y * sum of dy
extern "C" __global__ void __launch_bounds__(BLOCK)
log_softmax_backward(const real* dy, const real* y, real* dx, index_t rows, index_t length, index_t after, int size) {
    __shared__ real shared[BLOCK];
    Team team(size, after == 1);
    Row row = row_of(team, rows, length, after);
    real mine = 0;
    if (row.exists)
#pragma unroll 1
        for (index_t i = team.member; i < length; i += team.size) mine += dy[row.begins + i * after];
    real total = team.sum(mine, shared);
    if (!row.exists) return;
#pragma unroll 1
    for (index_t i = team.member; i < length; i += team.size) {
        index_t at = row.begins + i * after;
        dx[at] = dy[at] - exp(y[at]) * total;
    }
}
