// A matrix transposed in three ways: what `tinycnn cuda trace` is for.
//
// Reading a row and writing a column, one of the two is strided: 32 lanes touch 32 sectors for 128 bytes. Through shared memory both are rows, but then a column of the tile
// is read, and a tile 32 words wide has a whole column in one bank. One word more for each row, and a column goes through all banks.
#include "device.h"

constexpr int TILE = 32, ROWS = 8;  // a block of 32 x 8 threads transposes a tile of 32 x 32

extern "C" __global__ void __launch_bounds__(256) transpose_naive(const float* x, float* y, int height, int width) {
    int column = blockIdx.x * TILE + threadIdx.x;
    for (int row = blockIdx.y * TILE + threadIdx.y; row < min((blockIdx.y + 1) * TILE, height); row += ROWS)
        if (column < width)
            y[column * height + row] =
                x[row * width + column];
}

template <int WIDTH> __device__ __forceinline__ void through_shared(float (*tile)[WIDTH], const float* x, float* y, int height, int width) {
    int left = blockIdx.x * TILE, top = blockIdx.y * TILE;
    for (int i = threadIdx.y; i < TILE; i += ROWS)
        if (top + i < height && left + threadIdx.x < width)
            tile[i][threadIdx.x] =
                x[(top + i) * width + left + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += ROWS)
        if (left + i < width && top + threadIdx.x < height)
            y[(left + i) * height + top + threadIdx.x] =
                tile[threadIdx.x][i];
}

extern "C" __global__ void __launch_bounds__(256) transpose_tiled(const float* x, float* y, int height, int width) {
    __shared__ float tile[TILE][TILE];
    through_shared<TILE>(tile, x, y, height, width);
}

extern "C" __global__ void __launch_bounds__(256) transpose_padded(const float* x, float* y, int height, int width) {
    __shared__ float tile[TILE][TILE + 1];
    through_shared<TILE + 1>(tile, x, y, height, width);
}

/* check
height, width = 64, 96
x = random(height, width)
for kernel in ("transpose_naive", "transpose_tiled", "transpose_padded"):
    y = empty(width, height)
    launch(kernel, (width // 32, height // 32), (32, 8), x, y, height, width)
    expect(y, x.T)
*/
