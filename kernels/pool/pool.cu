// Pooling, forward and backward (see reference.py): one thread, one element of the result, which looks for what it needs. So nothing is added by two threads.
//
// Bound by memory: forward reads x once (windows that overlap read it again, from a cache) and writes y, for maxima with one byte more each, who won. Backward reads
// dy and writes dx. Neighbouring threads have neighbouring elements, in contiguous images along a row, in channels-last ones along the channels.
//
// Which elements a window sees is in tables of its two axes (cuda.py): window p sees count[p] elements of its axis from first[p] on, `step` apart; an element is under
// tap taps[i] of windows[i] for starts[h] <= i < starts[h + 1]. An image is (before, H, W, after): `after` is the channels, if they lie innermost, else 1.
// Windows are short, so their loops are not unrolled: that would take registers and gain nothing.
#include "device.h"

struct Sizes {
    index_t n, H, W, P, Q, after;  // n: elements of the result
    int row_step, column_step, columns_of_taps;
};

struct Place {
    index_t before, row, column, after;
};

// The thread's element of a result whose maps are `height` x `width`.
__device__ __forceinline__ Place place_of(index_t i, index_t height, index_t width, index_t after) {
    index_t pixel = i / after;
    return {pixel / width / height, pixel / width % height, pixel % width, i % after};
}
__device__ __forceinline__ index_t index_of(const Place& at, index_t row, index_t column, index_t height, index_t width, index_t after) {
    return ((at.before * height + row) * width + column) * after + at.after;
}
__device__ __forceinline__ index_t this_thread() { return static_cast<index_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

// y, and unless it is null `winners`, the number of the tap that won. Of equals the first wins; the last NaN wins over all.
extern "C" __global__ void __launch_bounds__(256)
max_forward(const real* x, real* y, winner_t* winners, const int* first_row, const int* rows, const int* first_column, const int* columns, const Sizes s) {
    index_t i = this_thread();
    if (i >= s.n) return;
    Place at = place_of(i, s.P, s.Q, s.after);
    real most = 0;
    int winner = -1;
    for (int r = 0; r < rows[at.row]; ++r)
#pragma unroll 1
        for (int c = 0; c < columns[at.column]; ++c) {
            real value = x[index_of(at, first_row[at.row] + r * s.row_step, first_column[at.column] + c * s.column_step, s.H, s.W, s.after)];
            if (winner < 0 || value > most || value != value) {
                most = value;
                winner = r * s.columns_of_taps + c;
            }
        }
    y[i] = most;
    if (winners) winners[i] = static_cast<winner_t>(winner);
}

// dx: the dy of all windows above the element that it won.
extern "C" __global__ void __launch_bounds__(256)
max_backward(const real* dy, const winner_t* winners, real* dx, const int* row_starts, const int* row_windows, const int* row_taps, const int* column_starts,
             const int* column_windows, const int* column_taps, const Sizes s) {
    index_t i = this_thread();
    if (i >= s.n) return;
    Place at = place_of(i, s.H, s.W, s.after);
    real sum = 0;
    for (int r = row_starts[at.row]; r < row_starts[at.row + 1]; ++r)
#pragma unroll 1
        for (int c = column_starts[at.column]; c < column_starts[at.column + 1]; ++c) {
            index_t window = index_of(at, row_windows[r], column_windows[c], s.P, s.Q, s.after);
            if (winners[window] == row_taps[r] * s.columns_of_taps + column_taps[c]) sum += dy[window];
        }
    dx[i] = sum;
}

// The element that won: its number h * W + w, or (where `x` is given) its value.
extern "C" __global__ void __launch_bounds__(256)
max_look_up(const winner_t* winners, const real* x, real* values, int64* indices, const int* first_row, const int* first_column, const Sizes s) {
    index_t i = this_thread();
    if (i >= s.n) return;
    Place at = place_of(i, s.P, s.Q, s.after);
    int tap = winners[i];
    index_t row = first_row[at.row] + tap / s.columns_of_taps * s.row_step, column = first_column[at.column] + tap % s.columns_of_taps * s.column_step;
    if (values)
        values[i] = x[index_of(at, row, column, s.H, s.W, s.after)];
    else
        indices[i] = static_cast<int64>(row) * s.W + column;
}

// numbers (P, Q): what each window's sum is divided by.
extern "C" __global__ void __launch_bounds__(256)
avg_forward(const real* x, real* y, const real* numbers, const int* first_row, const int* rows, const int* first_column, const int* columns, const Sizes s) {
    index_t i = this_thread();
    if (i >= s.n) return;
    Place at = place_of(i, s.P, s.Q, s.after);
    real sum = 0;
    for (int r = 0; r < rows[at.row]; ++r)
#pragma unroll 1
        for (int c = 0; c < columns[at.column]; ++c)
            sum += x[index_of(at, first_row[at.row] + r * s.row_step, first_column[at.column] + c * s.column_step, s.H, s.W, s.after)];
    y[i] = sum / numbers[at.row * s.Q + at.column];
}

extern "C" __global__ void __launch_bounds__(256)
avg_backward(const real* dy, real* dx, const real* numbers, const int* row_starts, const int* row_windows, const int* column_starts, const int* column_windows,
             const Sizes s) {
    index_t i = this_thread();
    if (i >= s.n) return;
    Place at = place_of(i, s.H, s.W, s.after);
    real sum = 0;
    for (int r = row_starts[at.row]; r < row_starts[at.row + 1]; ++r)
#pragma unroll 1
        for (int c = column_starts[at.column]; c < column_starts[at.column + 1]; ++c) {
            index_t p = row_windows[r], q = column_windows[c];
            sum += dy[index_of(at, p, q, s.P, s.Q, s.after)] / numbers[p * s.Q + q];
        }
    dx[i] = sum;
}
